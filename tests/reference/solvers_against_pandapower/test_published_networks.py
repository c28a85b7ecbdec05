"""The networks that pandapower and SimBench publish, as they ship them, through the loader and every backend.

Sources: pandapower.networks (CIGRE task force C6.04.02; Kerber 2011; Dickert 2013; Baran and Wu 1989; IEEE and
MATPOWER cases among others) and SimBench (Meinecke et al. 2020). They come with their packages, nothing is copied
here. The oracle is pandapower's Newton-Raphson at 1e-9 MVA with limits of reactive power enforced. Where a tap changer
states no type pandapower 3 leaves its position out; here it is one of ratio, so the nets are given the type first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandapower as pp
import pandapower.networks as published
import pytest

from twin.network import UnsupportedNetworkError
from twin.network.model import Network
from twin.network.pandapower_loader import load_pandapower
from twin.solvers import PowerFlowResult, power_flow

pytestmark = pytest.mark.filterwarnings("ignore")  # of pandapower and pandas while they build and solve their nets

V_PU, ANGLE_RAD, LOSSES = 1e-8, 1e-8, 1e-7
FLOW = 1e-7
"""Of the largest flow, and 1e-6 kW."""

DISTRIBUTION = (
    "case33bw", "create_cigre_network_hv", "create_cigre_network_lv", "create_cigre_network_mv",
    "create_dickert_lv_network", "create_kerber_dorfnetz", "create_kerber_landnetz_freileitung_1",
    "create_kerber_landnetz_freileitung_2", "create_kerber_landnetz_kabel_1", "create_kerber_landnetz_kabel_2",
    "create_kerber_vorstadtnetz_kabel_1", "create_kerber_vorstadtnetz_kabel_2", "kb_extrem_dorfnetz",
    "kb_extrem_dorfnetz_trafo", "kb_extrem_landnetz_freileitung", "kb_extrem_landnetz_freileitung_trafo",
    "kb_extrem_landnetz_kabel", "kb_extrem_landnetz_kabel_trafo",
    "example_simple", "four_loads_with_branches_out",
    "mv_oberrhein", "panda_four_load_branch", "simple_four_bus_system", "simple_mv_open_ring_net",
    "create_synthetic_voltage_control_lv_network",
)  # fmt: skip
TRANSMISSION = (
    "case4gs",
    "case5",
    "case6ww",
    "case9",
    "case14",
    "case30",
    "case_ieee30",
    "case39",
    "case57",
    "case89pegase",
)
SIMBENCH = ("1-LV-rural2--2-sw",)
"""One with storages and a tap off neutral: SimBench takes seconds to read a network."""

REFUSED = {
    "example_multivoltage": ("trafo3w", "impedance", "xward"),
    "ieee_european_lv_asymmetric": ("asymmetric_load",),
    "case118": ("trafo",),
}


def prepared(net: Any) -> Any:
    unstated = net.trafo.tap_changer_type.isna() if "tap_changer_type" in net.trafo else slice(None)
    net.trafo.loc[unstated, "tap_changer_type"] = "Ratio"
    options = {"trafo_model": "pi", "calculate_voltage_angles": True, "enforce_q_lims": True, "numba": False}
    pp.runpp(net, tolerance_mva=1e-9, **options)
    return net


def assert_agrees(result: PowerFlowResult, network: Network, net: Any) -> None:
    buses = [int(name[1:]) for name in network.nodes.names]
    assert result.v_pu == pytest.approx(net.res_bus.vm_pu.loc[buses].fillna(0.0).to_numpy(), abs=V_PU)
    angle = np.radians(net.res_bus.va_degree.loc[buses].fillna(0.0).to_numpy())
    assert np.abs(np.angle(np.exp(1j * (result.angle_rad - angle)))).max() < ANGLE_RAD
    live = set(buses)
    for side, other in (("from", "hv"), ("to", "lv")):
        for quantity, unit in (("p", "kw"), ("q", "kvar")):
            ours = getattr(result, f"{quantity}_{side}_{unit}")
            power = "mw" if quantity == "p" else "mvar"
            lines = kept(net, "line", ("from_bus", "to_bus"), live)[f"{quantity}_{side}_{power}"]
            transformers = kept(net, "trafo", ("hv_bus", "lv_bus"), live)[f"{quantity}_{other}_{power}"]
            theirs = 1e3 * np.concatenate([lines, transformers])
            assert ours == pytest.approx(theirs, abs=1e-6 + FLOW * np.abs(theirs).max(initial=0.0))
    losses_kw = 1e3 * (net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum())
    assert (result.p_from_kw + result.p_to_kw).sum() == pytest.approx(losses_kw, rel=LOSSES, abs=1e-5)


def kept(net: Any, table: str, ends: tuple[str, str], live: set[int]) -> Any:
    """The results of the branches that the loader takes, in the order of their table."""
    frame = net[table]
    rows = frame.index[frame.in_service & frame[ends[0]].isin(live) & frame[ends[1]].isin(live)]
    return net[f"res_{table}"].loc[rows].fillna(0.0)


def assert_all_backends_agree(net: Any, name: str) -> None:
    net = prepared(net)
    network = load_pandapower(net, name=name)
    for backend in ("sweep", "direct"):
        assert_agrees(power_flow(network, backend=backend).solve(), network, net)


def made(name: str) -> Any:
    net = getattr(published, name)()
    return net[0] if isinstance(net, tuple | list) else net


@pytest.mark.parametrize("name", [*DISTRIBUTION, *TRANSMISSION])
def test_network_of_pandapower__agrees(name: str) -> None:
    assert_all_backends_agree(made(name), name)


@pytest.mark.parametrize("der", ["pv_wind", "all"])
def test_cigre_mv_with_generation__agrees(der: str) -> None:
    assert_all_backends_agree(published.create_cigre_network_mv(with_der=der), f"cigre_mv_{der}")


@pytest.mark.parametrize("code", SIMBENCH)
def test_network_of_simbench__agrees(code: str) -> None:
    simbench = pytest.importorskip("simbench")
    assert_all_backends_agree(simbench.get_simbench_net(code), code)


@pytest.mark.parametrize(
    ("changer", "side", "step_percent", "step_degree", "position"),
    [("Ratio", "hv", 1.5, 60.0, 3), ("Ratio", "lv", 1.5, 90.0, -4), ("Symmetrical", "hv", 1.5, 90.0, 2),
     ("Ideal", "hv", np.nan, 5.0, 2), ("Ideal", "lv", 1.5, np.nan, -3)],
)  # fmt: skip
def test_phase_shifter__agrees_beside_a_transformer_without(
    changer: str, side: str, step_percent: float, step_degree: float, position: int
) -> None:
    net = published.example_simple()
    beside = pp.create_transformer(net, int(net.trafo.hv_bus[0]), int(net.trafo.lv_bus[0]), "25 MVA 110/20 kV")
    net.trafo.loc[beside, "tap_pos"] = 0
    columns = ["tap_changer_type", "tap_side", "tap_step_percent", "tap_step_degree", "tap_pos"]
    net.trafo.loc[0, columns] = [changer, side, step_percent, step_degree, position]
    assert_all_backends_agree(net, changer)


@pytest.mark.parametrize("name", REFUSED)
def test_network_that_is_not_supported__says_what_and_why(name: str) -> None:
    with pytest.raises(UnsupportedNetworkError) as refused:
        load_pandapower(made(name), name=name)
    assert tuple(dict.fromkeys(finding.table for finding in refused.value.findings)) == REFUSED[name]
    assert all("supported" in finding.text or "unbalanced" in finding.text for finding in refused.value.findings)
