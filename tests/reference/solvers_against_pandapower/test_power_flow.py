"""The power flow against pandapower's Newton-Raphson: voltages, powers, currents and loading everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandapower as pp
import pandapower.networks
import pytest

from twin.network import load_network
from twin.network.model import Bools, Ints, Network
from twin.solvers import PowerFlowResult, power_flow

PandapowerOf = Callable[[Network, Bools], Any]

NETWORKS = ("cigre_mv", "mv_oberrhein", "pandapower:case33bw")
V_PU, ANGLE_RAD, REL = 1e-7, 1e-7, 1e-6
"""Tolerances; powers and currents relative to the largest of their kind."""


@cache
def network_of(name: str) -> Network:
    return load_network(name)


def run(net: Any) -> None:
    pp.runpp(net, tolerance_mva=1e-8, trafo_model="pi", calculate_voltage_angles=True, init="dc", numba=False)


def assert_agrees(result: PowerFlowResult, net: Any) -> None:
    energised = net.res_bus.vm_pu.notna().to_numpy()
    assert np.array_equal(result.energised, energised)
    assert result.v_pu == pytest.approx(net.res_bus.vm_pu.fillna(0.0).to_numpy(), abs=V_PU)
    angle = np.radians(net.res_bus.va_degree.fillna(0.0).to_numpy())
    assert np.abs(np.angle(np.exp(1j * (result.angle_rad - angle)))).max() < ANGLE_RAD
    sides = {"from": "hv", "to": "lv"}
    for side, trafo_side in sides.items():
        _assert_column(getattr(result, f"p_{side}_kw"), net, f"p_{side}_mw", f"p_{trafo_side}_mw", 1e3)
        _assert_column(getattr(result, f"q_{side}_kvar"), net, f"q_{side}_mvar", f"q_{trafo_side}_mvar", 1e3)
        _assert_column(getattr(result, f"i_{side}_a"), net, f"i_{side}_ka", f"i_{trafo_side}_ka", 1e3)
    _assert_column(result.loading, net, "loading_percent", "loading_percent", 1e-2)
    losses_kw = 1e3 * (net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum())
    assert (result.p_from_kw + result.p_to_kw).sum() == pytest.approx(losses_kw, rel=1e-5, abs=1e-3)


def _assert_column(ours: Any, net: Any, line: str, trafo: str, scale: float) -> None:
    theirs = scale * np.concatenate([net.res_line[line].fillna(0.0), net.res_trafo[trafo].fillna(0.0)])
    assert ours == pytest.approx(theirs, abs=REL * np.abs(theirs).max()), line


def branch_switches(network: Network) -> Ints:
    return np.flatnonzero(network.switches.branch >= 0)


@pytest.mark.parametrize("name", NETWORKS)
def test_normal_state__agrees(name: str, pandapower_of: PandapowerOf) -> None:
    network = network_of(name)
    net = pandapower_of(network, network.switches.normally_closed)
    run(net)
    assert_agrees(power_flow(network).solve(), net)


@pytest.mark.parametrize("name", NETWORKS)
def test_all_ties_closed__agrees_when_meshed(name: str, pandapower_of: PandapowerOf) -> None:
    network = network_of(name)
    closed = np.ones(network.switches.n, dtype=np.bool_)
    solver = power_flow(network)
    solver.update(closed=closed)
    net = pandapower_of(network, closed)
    run(net)
    assert_agrees(solver.solve(), net)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", NETWORKS)
def test_random_openings__agree_with_dead_islands_and_open_ends(
    name: str, seed: int, pandapower_of: PandapowerOf
) -> None:
    network = network_of(name)
    c = network.consumers
    consumers = replace(c, p_kw=0.3 * c.p_kw, q_kvar=0.3 * c.q_kvar)  # so that odd back-feeds have a solution
    rng = np.random.default_rng(seed)
    closed = rng.random(network.switches.n) > 0.08
    solver = power_flow(network)
    solver.update(p_kw=consumers.p_kw, q_kvar=consumers.q_kvar, closed=closed)
    net = pandapower_of(replace(network, consumers=consumers), closed)
    run(net)
    assert_agrees(solver.solve(), net)


@pytest.mark.parametrize("seed", range(3))
def test_taps_demand_and_generation__agree_after_updates(seed: int, pandapower_of: PandapowerOf) -> None:
    network = network_of("mv_oberrhein")
    rng = np.random.default_rng(seed)
    t, c, g = network.transformers, network.consumers, network.generators
    tap = rng.integers(t.tap_min, t.tap_max + 1).astype(np.int32)
    p_kw, q_kvar = c.p_kw * rng.uniform(0, 1.2, c.n), c.q_kvar * rng.uniform(-1, 1.5, c.n)
    generation_kw = g.p_kw * rng.uniform(0, 1.5, g.n)
    solver = power_flow(network)
    solver.update(p_kw=p_kw, q_kvar=q_kvar, generation_kw=generation_kw, tap_position=tap)
    changed = replace(
        network,
        transformers=replace(t, tap_position=tap),
        consumers=replace(c, p_kw=p_kw, q_kvar=q_kvar),
        generators=replace(g, p_kw=generation_kw),
    )
    net = pandapower_of(changed, network.switches.normally_closed)
    run(net)
    assert_agrees(solver.solve(), net)


@pytest.mark.parametrize(
    ("name", "create"),
    [
        ("cigre_mv", pandapower.networks.create_cigre_network_mv),
        ("mv_oberrhein", pandapower.networks.mv_oberrhein),
        ("pandapower:case33bw", pandapower.networks.case33bw),
    ],
)
def test_published_net__agrees_through_the_loader(name: str, create: Callable[[], Any]) -> None:
    """The net as pandapower ships it, not one that was made from ours."""
    net = create()
    net.trafo["tap_changer_type"] = "Ratio"
    run(net)
    result = power_flow(network_of(name)).solve()
    row = {node: i for i, node in enumerate(network_of(name).nodes.names)}
    ours = np.array([result.v_pu[row[f"N{bus}"]] for bus in net.bus.index])
    assert ours == pytest.approx(net.res_bus.vm_pu.to_numpy(), abs=V_PU)
