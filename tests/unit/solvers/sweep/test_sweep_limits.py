"""Where the sweep needs care or help: loops without impedance, sources in parallel, too many loops, collapse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sweep_networks import assert_agree, imbalance_kva

from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.solvers import PowerFlowDivergedError, power_flow
from twin.solvers.sweep import SweepPowerFlow
from twin.solvers.sweep.arrays import MAX_LOOPS


def line(builder: NetworkBuilder, name: str, one: str, two: str, **parameters: float) -> None:
    given: dict[str, Any] = {"length_km": 1.0, "r_ohm_per_km": 0.4, "x_ohm_per_km": 0.3, "c_nf_per_km": 200.0}
    builder.line(name, one, two, **(given | parameters))


def ladder(rungs: int, p_kw: float = 20.0) -> Network:
    """Two feeders side by side, tied at every node: one loop a rung.

    ::

        BUS ─ A0 ─ A1 ─ A2 ...
         └─── B0 ─ B1 ─ B2 ...   with A0─B0, A1─B1, ...
    """
    builder = NetworkBuilder("ladder")
    builder.node("BUS", v_kv=20.0)
    builder.source("GRID", "BUS", v_pu=1.02)
    for side in "AB":
        above = "BUS"
        for k in range(rungs):
            node = f"{side}{k}"
            builder.node(node, v_kv=20.0)
            line(builder, f"L{node}", above, node)
            builder.consumer(f"C{node}", node, p_kw=p_kw * (1 + k % 3), q_kvar=5.0)
            above = node
    for k in range(rungs):
        line(builder, f"R{k}", f"A{k}", f"B{k}")
        builder.switch(f"S{k}", SwitchKind.LOAD_BREAK_SWITCH, f"A{k}", branch=f"R{k}")
    return builder.build()


def test_line__resistive_drop_is_the_hand_calculation() -> None:
    # Per unit on 10 MVA, 20 kV: z = 4 Ω / 40 Ω = 0.1, p = 1. V (1 - V) = 0.1 p → V² - V + 0.1 = 0,
    # V = (1 + √0.6) / 2 = 0.887298; I = 1 / V pu = 1.127017 · 10 MVA / (√3 · 20 kV) = 325.342 A.
    builder = NetworkBuilder("two_nodes")
    builder.node("A", v_kv=20.0)
    builder.node("B", v_kv=20.0)
    builder.source("GRID", "A")
    line(builder, "L1", "A", "B", r_ohm_per_km=4.0, x_ohm_per_km=0.0, c_nf_per_km=0.0, i_max_a=200.0)
    builder.consumer("C1", "B", p_kw=10_000.0)
    result = power_flow(builder.build(), backend="sweep").solve()
    v = (1 + math.sqrt(0.6)) / 2
    i_base = 10_000 / (math.sqrt(3) * 20)
    assert result.v_pu == pytest.approx([1.0, v], abs=1e-9)
    assert result.i_from_a == pytest.approx([i_base / v], rel=1e-9)
    assert result.p_from_kw == pytest.approx([10_000 / v], rel=1e-9)
    assert result.p_to_kw == pytest.approx([-10_000.0], rel=1e-9)
    assert result.loading == pytest.approx([i_base / v / 200], rel=1e-9)


def test_meshes__up_to_the_limit_are_solved_by_compensation() -> None:
    network = ladder(MAX_LOOPS)
    sweep, general = SweepPowerFlow(network), power_flow(network, backend="power-grid-model")
    result = sweep.solve()
    assert sweep.notes == []
    assert_agree(result, general.solve(), v_pu=1e-8, kva=1e-3)
    assert imbalance_kva(network, result, network.switches.normally_closed) < 1e-5


def test_meshes__beyond_the_limit_go_to_the_direct_solver_with_one_note() -> None:
    network = ladder(MAX_LOOPS + 1)
    sweep, general = SweepPowerFlow(network), power_flow(network, backend="direct")
    for factor in (1.0, 0.5):
        for solver in (sweep, general):
            solver.update(p_kw=factor * network.consumers.p_kw)
        assert np.array_equal(sweep.solve().v_pu, general.solve().v_pu)
    assert sweep.notes == [
        "network ladder: more than 64 loops are closed, so the direct solver takes over from the sweep"
    ]
    sweep.notes.clear()
    sweep.solve()
    assert sweep.notes == []


def test_meshes__beyond_the_limit_return_to_the_sweep_once_opened() -> None:
    network = ladder(MAX_LOOPS + 1)
    closed = network.switches.normally_closed.copy()
    closed[5] = False
    moved, fresh = SweepPowerFlow(network), SweepPowerFlow(network)
    moved.solve()
    for solver in (moved, fresh):
        solver.update(closed=closed)
    assert np.array_equal(moved.solve().v_pu, fresh.solve().v_pu)
    assert fresh.notes == []


def test_bus_couplers__in_a_ring_and_beside_lines_join_without_a_trace() -> None:
    """BUS ─ L1 ─ A, with A═B═C═A closed and L2, L3 from BUS to B and C: A, B and C are one node."""
    builder = NetworkBuilder("couplers")
    for node in ("BUS", "A", "B", "C"):
        builder.node(node, v_kv=20.0)
    builder.source("GRID", "BUS")
    for name, node in (("L1", "A"), ("L2", "B"), ("L3", "C")):
        line(builder, name, "BUS", node)
    line(builder, "L4", "A", "B")
    for one, two in (("A", "B"), ("B", "C"), ("C", "A")):
        builder.switch(f"S{one}{two}", SwitchKind.DISCONNECTOR, one, other_node=two)
    builder.consumer("CC", "C", p_kw=6000.0, q_kvar=1500.0)
    network = builder.build()
    solver = SweepPowerFlow(network)
    result = solver.solve()
    assert solver.notes == []
    assert result.v_pu[1] == pytest.approx(result.v_pu[2], abs=1e-12)
    assert result.v_pu[2] == pytest.approx(result.v_pu[3], abs=1e-12)
    assert result.p_from_kw[:3] == pytest.approx(result.p_from_kw[0], rel=1e-9)
    assert result.p_from_kw[3] == pytest.approx(0.0, abs=1e-6)
    assert imbalance_kva(network, result, network.switches.normally_closed) < 1e-6


def two_sources(v_pu: float) -> Network:
    """GRID_1 at A and GRID_2 at B, joined by a bus coupler, with a line to C."""
    builder = NetworkBuilder("two_sources")
    for node in "ABC":
        builder.node(node, v_kv=20.0)
    builder.source("GRID_1", "A", v_pu=1.01)
    builder.source("GRID_2", "B", v_pu=v_pu)
    line(builder, "L1", "B", "C")
    builder.switch("S", SwitchKind.DISCONNECTOR, "A", other_node="B")
    builder.consumer("CC", "C", p_kw=600.0)
    return builder.build()


def test_sources__of_one_voltage_may_share_a_busbar() -> None:
    solver = SweepPowerFlow(two_sources(1.01))
    result = solver.solve()
    assert solver.notes == []
    assert_agree(result, power_flow(two_sources(1.01), backend="power-grid-model").solve(), v_pu=1e-8, kva=1e-3)


def test_sources__that_contradict_each_other_go_to_the_general_solver() -> None:
    solver = SweepPowerFlow(two_sources(1.03))
    general = power_flow(two_sources(1.03), backend="power-grid-model")
    assert np.array_equal(solver.solve().v_pu, general.solve().v_pu)
    assert "sources of different voltages are joined" in solver.notes[0]
    solver.update(closed=np.array([False]))
    assert solver.solve().v_pu[:2].tolist() == [1.01, 1.03]


def two_islands() -> Network:
    """GRID_1 ─ A ── L1 ── B and GRID_2 ─ C ── L2 ── D."""
    builder = NetworkBuilder("two_islands")
    for node in "ABCD":
        builder.node(node, v_kv=20.0)
    builder.source("GRID_1", "A")
    builder.source("GRID_2", "C")
    line(builder, "L1", "A", "B")
    line(builder, "L2", "C", "D")
    builder.consumer("C_B", "B", p_kw=500.0)
    builder.consumer("C_D", "D", p_kw=500.0)
    return builder.build()


def test_collapse__names_its_island_and_is_forgotten_once_demand_falls() -> None:
    network = two_islands()
    solver = SweepPowerFlow(network)
    expected = solver.solve().v_pu
    solver.update(p_kw=np.array([500.0, 500_000.0]))
    with pytest.raises(PowerFlowDivergedError, match=r"island of source GRID_2 at node C \(2 nodes\)"):
        solver.solve()
    assert len(solver.notes) == 1
    solver.update(p_kw=network.consumers.p_kw)
    assert np.array_equal(solver.solve().v_pu, expected)


@pytest.mark.parametrize("p_kw", [90_000.0, 200_000.0, 2e6, 1e9, -1e9, 1e300])
def test_demand__beyond_the_nose_never_leaves_as_numbers(p_kw: float) -> None:
    # 20 kV, z = 0.4 + 0.3j ohm: the largest demand at unity power factor is V² / (2 (|z| + r)) = 400 / 1.8 = 222 MW
    # without charging, so 90 and 200 MW have a solution and all others none.
    solver = SweepPowerFlow(two_islands())
    general = power_flow(two_islands(), backend="power-grid-model")
    for each in (solver, general):
        each.update(p_kw=np.array([p_kw, 0.0]))
    if p_kw in (90_000.0, 200_000.0):
        assert_agree(solver.solve(), general.solve(), v_pu=1e-7, kva=1.0)
        return
    with pytest.raises(PowerFlowDivergedError):
        solver.solve()


def test_demand__close_to_the_nose_is_solved_by_one_of_the_two() -> None:
    solver = SweepPowerFlow(two_islands(), max_iterations=5)
    solver.update(p_kw=np.array([200_000.0, 0.0]))
    result = solver.solve()
    assert "the sweep found no voltages" in solver.notes[0]
    assert imbalance_kva(solver.network, result, np.zeros(0, dtype=np.bool_), p_kw=np.array([200_000.0, 0.0])) < 1.0


def test_low_voltage_solution__is_no_solution() -> None:
    # V = 1 / (1 + x·b) with x·b = 2 → V = 1/3: the only solution, far below 0.5 pu.
    builder = NetworkBuilder("low")
    builder.node("A", v_kv=20.0)
    builder.node("B", v_kv=20.0)
    builder.source("GRID", "A")
    line(builder, "L1", "A", "B", r_ohm_per_km=0.0, x_ohm_per_km=40.0, c_nf_per_km=0.0)
    builder.shunt("REACTOR", "B", q_kvar=20_000.0)
    with pytest.raises(PowerFlowDivergedError, match=r"source GRID .* node B would be 0\.333 pu"):
        SweepPowerFlow(builder.build()).solve()


def test_parallel_transformers__of_different_taps_and_clocks_circulate() -> None:
    """Two transformers side by side, one a tap higher and turned by a source angle: a circulating current flows."""
    builder = NetworkBuilder("parallel")
    for node, v_kv in (("HV", 110.0), ("MV", 20.0), ("HV2", 110.0)):
        builder.node(node, v_kv=v_kv)
    builder.source("GRID", "HV")
    builder.source("GRID2", "HV2", v_pu=1.01, angle_rad=0.01)
    for name, node, tap in (("T1", "HV", 0), ("T2", "HV", 2), ("T3", "HV2", 0)):
        builder.transformer(
            name,
            node,
            "MV",
            s_kva=25_000,
            v_from_kv=110,
            v_to_kv=20,
            vk_percent=12,
            vkr_percent=0.4,
            shift_deg=150,
            tap_min=-2,
            tap_max=2,
            tap_step_percent=1.5,
            tap_position=tap,
        )
    builder.consumer("C", "MV", p_kw=20_000, q_kvar=6000)
    network = builder.build()
    solver = SweepPowerFlow(network)
    result = solver.solve()
    assert solver.notes == []
    assert_agree(result, power_flow(network, backend="power-grid-model").solve(), v_pu=1e-8, kva=2e-3)
    assert imbalance_kva(network, result, np.zeros(0, dtype=np.bool_)) < 1e-5
