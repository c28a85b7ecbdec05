"""Every backend against pandapower at 1e-8 MVA: voltage-dependent loads and generating units that hold voltages.

pandapower takes the mean of the shares of all loads at one bus, applies it to static generators there too, and leaves a
unit at its limit once it was there. So every bus has one load, static generators feed in nothing where loads
depend on the voltage, and limits are compared on a network where the order in which they are met does not matter.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pytest

from twin.network import load_network, load_pandapower
from twin.network.builder import NetworkBuilder
from twin.network.model import Bools, Network, SwitchKind
from twin.solvers import power_flow

PandapowerOf = Callable[[Network, Bools], Any]
backends = pytest.mark.parametrize("backend", ["sweep", "direct", "power-grid-model"])
V_PU = 1e-8


def _networks() -> Any:
    path = Path(__file__).parents[2] / "unit" / "solvers" / "sweep" / "networks.py"
    spec = importlib.util.spec_from_file_location("random_networks_for_pandapower", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


random_network = _networks().random_network


def without_static_generation(network: Network) -> Network:
    g = network.generators
    holding = ~np.isnan(g.v_set_pu)
    return replace(network, generators=replace(g, p_kw=g.p_kw * holding, q_kvar=g.q_kvar * holding))


def phasors(net: Any) -> Any:
    return net.res_bus.vm_pu.fillna(0).to_numpy() * np.exp(1j * np.radians(net.res_bus.va_degree.fillna(0).to_numpy()))


def run(net: Any, **options: Any) -> Any:
    pp.runpp(
        net, tolerance_mva=1e-8, trafo_model="pi", calculate_voltage_angles=True, init="dc", numba=False, **options
    )
    return phasors(net)


@backends
@pytest.mark.parametrize("seed", range(8))
def test_random_feeder__agrees_with_dependent_loads_meshed_and_open(
    seed: int, backend: Any, pandapower_of: PandapowerOf
) -> None:
    network = without_static_generation(random_network(seed, 20, couplers=False, dependent=True))
    closed = np.ones(network.switches.n, dtype=np.bool_) if seed % 2 else network.switches.normally_closed
    solver = power_flow(network, backend=backend)
    solver.update(closed=closed)
    result = solver.solve()
    ours = result.v_pu * np.exp(1j * result.angle_rad)
    assert np.abs(ours - run(pandapower_of(network, closed))).max() < V_PU


@pytest.mark.parametrize("seed", range(8))
def test_random_feeder__agrees_with_held_voltages(seed: int, pandapower_of: PandapowerOf) -> None:
    network = without_static_generation(random_network(seed, 20, couplers=False, holding=True))
    g = network.generators
    wide = np.full(g.n, 1e9)
    network = replace(network, generators=replace(g, q_min_kvar=-wide, q_max_kvar=wide))
    result = power_flow(network, backend="direct").solve()
    net = pandapower_of(network, network.switches.normally_closed)
    assert np.abs(result.v_pu * np.exp(1j * result.angle_rad) - run(net)).max() < V_PU
    holding = ~np.isnan(g.v_set_pu)
    assert result.generation_kvar[holding] == pytest.approx(1e3 * net.res_gen.q_mvar.to_numpy(), abs=1e-2)


def test_limits__are_those_of_pandapower(pandapower_of: PandapowerOf) -> None:
    """GRID ─ A ─ B ─ C with units at B (enough reactive power) and C (too little)."""
    builder = NetworkBuilder("limits")
    for node in "ABC":
        builder.node(node, v_kv=20.0)
    builder.source("GRID", "A", v_pu=1.0)
    for one, two in ("AB", "BC"):
        builder.line(f"L{two}", one, two, length_km=5.0, r_ohm_per_km=0.2, x_ohm_per_km=0.35, c_nf_per_km=10.0)
        builder.consumer(f"C{two}", two, p_kw=3000.0, q_kvar=1500.0)
    builder.switch("S", SwitchKind.BREAKER, "A", branch="LB")
    builder.generator("GB", "B", p_kw=500.0, v_set_pu=1.0, q_min_kvar=-5000.0, q_max_kvar=9000.0)
    builder.generator("GC", "C", p_kw=500.0, v_set_pu=1.02, q_min_kvar=-500.0, q_max_kvar=900.0)
    network = builder.build()
    result = power_flow(network, backend="direct").solve()
    net = pandapower_of(network, network.switches.normally_closed)
    assert np.abs(result.v_pu * np.exp(1j * result.angle_rad) - run(net, enforce_q_lims=True)).max() < V_PU
    assert result.generation_kvar[1] == pytest.approx(900.0, abs=1e-6)
    assert result.v_pu[1] == pytest.approx(1.0, abs=1e-10)
    assert result.v_pu[2] < 1.02


@pytest.mark.parametrize("case", ["case9", "case14", "case30", "case39", "case57"])
def test_transmission_case__agrees_through_the_loader(case: str) -> None:
    """Meshed cases with many units that hold voltages."""
    net = getattr(pp.networks, case)()
    net.trafo["tap_changer_type"] = "Ratio"
    network = load_pandapower(net, name=case)
    result = power_flow(network, backend="direct").solve()
    row = {name: k for k, name in enumerate(network.nodes.names)}
    order = np.array([row[f"N{bus}"] for bus in net.bus.index])
    ours = (result.v_pu * np.exp(1j * result.angle_rad))[order]
    assert np.abs(ours - run(net, enforce_q_lims=True)).max() < 1e-7


def test_published_feeder__agrees_with_dependent_loads_through_the_loader() -> None:
    net = pp.networks.case33bw()
    for column, percent in (("z_p", 30.0), ("i_p", 20.0), ("z_q", 10.0), ("i_q", 50.0)):
        net.load[f"const_{column}_percent"] = percent
    network = load_pandapower(net, name="case33bw")
    assert network.consumers.n == load_network("pandapower:case33bw").consumers.n
    result = power_flow(network).solve()
    assert np.abs(result.v_pu - np.abs(run(net))).max() < V_PU
