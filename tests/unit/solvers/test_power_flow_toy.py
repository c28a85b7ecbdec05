"""The power flow on networks small enough for hand calculation."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest

from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.solvers import (
    InputNotFiniteError,
    InputShapeError,
    PowerFlowDivergedError,
    TapOutOfRangeError,
    UnsolvableNetworkError,
    power_flow,
)


def two_nodes(**line: float) -> Network:
    """A ── L1 ── B, one consumer at B."""
    builder = NetworkBuilder("two_nodes")
    builder.node("A", v_kv=20.0)
    builder.node("B", v_kv=20.0)
    builder.source("GRID", "A")
    builder.line("L1", "A", "B", **({"length_km": 1.0, "r_ohm_per_km": 4.0, "x_ohm_per_km": 0.0} | line))
    builder.consumer("C1", "B", p_kw=10_000.0)
    return builder.build()


def feeder_with_switches() -> Network:
    """A ─S1─ L1 ── B ─S2─ L2 ─S3─ C ═S4═ D, consumers at B, C and D; S4 joins nodes."""
    builder = NetworkBuilder("feeder")
    for node in "ABCD":
        builder.node(node, v_kv=20.0)
    builder.source("GRID", "A")
    builder.line("L1", "A", "B", length_km=1.0, r_ohm_per_km=0.4, x_ohm_per_km=0.3, c_nf_per_km=10.0, i_max_a=100.0)
    builder.line("L2", "B", "C", length_km=1.0, r_ohm_per_km=0.4, x_ohm_per_km=0.3, i_max_a=100.0)
    builder.switch("S1", SwitchKind.BREAKER, "A", branch="L1", feeder_head=True)
    builder.switch("S2", SwitchKind.LOAD_BREAK_SWITCH, "B", branch="L2")
    builder.switch("S3", SwitchKind.LOAD_BREAK_SWITCH, "C", branch="L2")
    builder.switch("S4", SwitchKind.DISCONNECTOR, "C", other_node="D")
    for node in "BCD":
        builder.consumer(f"C_{node}", node, p_kw=300.0, q_kvar=100.0)
    return builder.build()


def transformer_network(**transformer: float) -> Network:
    """HV ─T1─ LV without load, 110/20 kV."""
    builder = NetworkBuilder("transformer")
    builder.node("HV", v_kv=110.0)
    builder.node("LV", v_kv=20.0)
    builder.source("GRID", "HV")
    rated = {"s_kva": 25_000.0, "v_from_kv": 110.0, "v_to_kv": 20.0, "vk_percent": 12.0, "vkr_percent": 0.4}
    builder.transformer("T1", "HV", "LV", **(rated | transformer))
    return builder.build()


def two_islands() -> Network:
    """GRID_1 ─ A ── L1 ── B and GRID_2 ─ C ── L2 ── D, joined by the open S1 between B and D."""
    builder = NetworkBuilder("two_islands")
    for node in "ABCD":
        builder.node(node, v_kv=20.0)
    builder.source("GRID_1", "A")
    builder.source("GRID_2", "C")
    builder.line("L1", "A", "B", length_km=1.0, r_ohm_per_km=0.4, x_ohm_per_km=0.3)
    builder.line("L2", "C", "D", length_km=1.0, r_ohm_per_km=0.4, x_ohm_per_km=0.3)
    builder.switch("S1", SwitchKind.LOAD_BREAK_SWITCH, "B", other_node="D", closed=False)
    builder.consumer("C_B", "B", p_kw=500.0)
    builder.consumer("C_D", "D", p_kw=500.0)
    return builder.build()


def test_line__resistive_drop_is_the_hand_calculation() -> None:
    # Per unit on 10 MVA, 20 kV: z = 4 Ω / 40 Ω = 0.1, p = 1. V (1 - V) = 0.1 p → V² - V + 0.1 = 0,
    # V = (1 + √0.6) / 2 = 0.887298; I = 1 / V pu = 1.127017 · 10 MVA / (√3 · 20 kV) = 325.342 A.
    v = (1 + math.sqrt(0.6)) / 2
    i_base = 10_000 / (math.sqrt(3) * 20)
    result = power_flow(two_nodes(i_max_a=200.0)).solve()
    assert result.v_pu == pytest.approx([1.0, v], abs=1e-7)
    assert result.i_from_a == pytest.approx([i_base / v], rel=1e-6)
    assert result.p_from_kw == pytest.approx([10_000 / v], rel=1e-6)
    assert result.p_to_kw == pytest.approx([-10_000.0], rel=1e-6)
    assert result.loading == pytest.approx([i_base / v / 200], rel=1e-6)


def test_line__open_end_draws_its_charging() -> None:
    # 20 km of 300 nF/km open at B: Q ≈ -ω C U² = -2π·50 · 6 µF · (20 kV)² = -753.98 kvar, with x small.
    network = two_nodes(length_km=20.0, r_ohm_per_km=1e-4, x_ohm_per_km=1e-4, c_nf_per_km=300.0)
    solver = power_flow(network)
    solver.update(p_kw=np.zeros(1))
    assert solver.solve().q_from_kvar == pytest.approx([-2 * math.pi * 50 * 6e-6 * 20e3**2 / 1e3], rel=1e-5)


def test_line__conductance_without_capacitance_draws_power() -> None:
    # 50 µS over the whole line at 20 kV: P = 50e-6 · 400e6 = 20 kW.
    solver = power_flow(two_nodes(r_ohm_per_km=1e-4, g_us_per_km=50.0))
    solver.update(p_kw=np.zeros(1))
    result = solver.solve()
    assert result.p_from_kw == pytest.approx([20.0], rel=1e-6)
    assert result.q_from_kvar == pytest.approx([0.0], abs=1e-4)


def test_line__without_impedance_joins_its_nodes() -> None:
    result = power_flow(two_nodes(r_ohm_per_km=0.0)).solve()
    assert result.v_pu[1] == pytest.approx(1.0, abs=1e-6)
    assert result.p_from_kw == pytest.approx([10_000.0], rel=1e-6)


@pytest.mark.parametrize("shift_deg", [0.0, 30.0, 150.0, -30.0, 17.5])
def test_transformer__low_side_lags_by_its_shift(shift_deg: float) -> None:
    result = power_flow(transformer_network(shift_deg=shift_deg)).solve()
    assert np.degrees(result.angle_rad) == pytest.approx([0.0, -shift_deg], abs=1e-6)


@pytest.mark.parametrize(
    ("side", "step", "position", "neutral", "v_lv"),
    [
        # High side, +2 steps of 2.5 % make the high winding 1.05 as long: V_lv = 1 / 1.05.
        (0, 2.5, 2, 0, 1 / 1.05),
        # Low side: V_lv = 1.05. Negative steps turn the direction round. The neutral shifts the count.
        (1, 2.5, 2, 0, 1.05),
        (0, -2.5, 2, 0, 1 / 0.95),
        (0, 2.5, -2, 0, 1 / 0.95),
        (1, 1.0, 5, 3, 1.02),
        (1, -1.0, 5, 3, 0.98),
    ],
)
def test_transformer__tap_sets_the_ratio(side: int, step: float, position: int, neutral: int, v_lv: float) -> None:
    taps = {"tap_side": side, "tap_step_percent": step, "tap_neutral": neutral, "tap_min": -9, "tap_max": 9}
    as_built = power_flow(transformer_network(**taps, tap_position=position))
    moved = power_flow(transformer_network(**taps, tap_position=neutral))
    moved.update(tap_position=np.array([position], dtype=np.int32))
    assert as_built.solve().v_pu == pytest.approx([1.0, v_lv], abs=1e-7)
    assert moved.solve().v_pu == pytest.approx([1.0, v_lv], abs=1e-7)


@pytest.mark.parametrize(("side", "lag_deg"), [(0, 11.30993), (1, -11.30993)])
def test_transformer__quadrature_taps_turn_the_voltage(side: int, lag_deg: float) -> None:
    # Four steps of 5 % at right angles: 1 + 0.2j turns, as long as sqrt(1.04) and ahead by atan(0.2) = 11.30993°.
    taps = {"tap_side": side, "tap_step_percent": 5.0, "tap_angle_deg": 90.0, "tap_min": -4, "tap_max": 4}
    solver = power_flow(transformer_network(**taps))
    solver.update(tap_position=np.array([4], dtype=np.int32))
    result = solver.solve()
    assert result.v_pu[1] == pytest.approx(1.04 ** (-0.5 if side == 0 else 0.5), abs=1e-9)
    assert np.degrees(result.angle_rad[1]) == pytest.approx(-lag_deg, abs=1e-5)


def test_transformer__loading_counts_each_side_against_its_rating() -> None:
    # 0 load, iron losses 25 kW and i0 0.1 % → 25 kVA of 25 MVA: 0.1 % at nominal voltage, all from the high side.
    result = power_flow(transformer_network(p_iron_kw=25.0, i0_percent=0.1)).solve()
    assert result.loading == pytest.approx([0.001], rel=1e-3)
    assert result.p_from_kw == pytest.approx([25.0], rel=1e-3)


def test_tap__out_of_range_is_refused_by_name() -> None:
    solver = power_flow(transformer_network(tap_min=-9, tap_max=9, tap_step_percent=1.0))
    with pytest.raises(TapOutOfRangeError, match=r"transformer T1 has no tap 10: its taps run from -9 to 9"):
        solver.update(tap_position=np.array([10], dtype=np.int32))


def test_shunt_and_generator__have_their_signs() -> None:
    """GRID ─ A with a capacitor of 200 kvar, a PV of 300 kW, through a line of almost nothing."""
    builder = NetworkBuilder("signs")
    builder.node("A", v_kv=20.0)
    builder.node("B", v_kv=20.0)
    builder.source("GRID", "A")
    builder.line("L1", "A", "B", length_km=1.0, r_ohm_per_km=0.0, x_ohm_per_km=0.0)
    builder.shunt("CAP", "B", q_kvar=-200.0, p_kw=5.0)
    builder.generator("PV", "B", p_kw=300.0, q_kvar=40.0)
    solver = power_flow(builder.build())
    result = solver.solve()
    assert result.p_from_kw == pytest.approx([-295.0], abs=1e-3)
    assert result.q_from_kvar == pytest.approx([-240.0], abs=1e-3)
    solver.update(generation_kw=np.array([100.0]), generation_kvar=np.zeros(1))
    assert solver.solve().p_from_kw == pytest.approx([-95.0], abs=1e-3)


def test_dead_island__is_zero_and_no_error() -> None:
    solver = power_flow(feeder_with_switches())
    solver.update(closed=np.array([True, False, True, True]))
    result = solver.solve()
    assert result.energised.tolist() == [True, True, False, False]
    assert result.v_pu[2:].tolist() == [0.0, 0.0]
    assert result.angle_rad[2:].tolist() == [0.0, 0.0]
    assert result.i_from_a[1] == result.p_to_kw[1] == result.loading[1] == 0.0
    assert result.p_from_kw[0] == pytest.approx(300.0, rel=1e-2)


def test_branch_end__is_connected_only_when_all_its_switches_are_closed() -> None:
    """A ─S1─S2─ L1 ── B: two switches in series at one end."""
    builder = NetworkBuilder("series")
    builder.node("A", v_kv=20.0)
    builder.node("B", v_kv=20.0)
    builder.source("GRID", "A")
    builder.line("L1", "A", "B", length_km=1.0, r_ohm_per_km=0.4, x_ohm_per_km=0.3)
    builder.switch("S1", SwitchKind.DISCONNECTOR, "A", branch="L1")
    builder.switch("S2", SwitchKind.BREAKER, "A", branch="L1")
    builder.consumer("C1", "B", p_kw=100.0)
    solver = power_flow(builder.build())
    alive = []
    for states in ([1, 1], [0, 1], [1, 0], [0, 0], [1, 1]):
        solver.update(closed=np.array(states, dtype=np.bool_))
        alive.append(bool(solver.solve().energised[1]))
    assert alive == [True, False, False, False, True]


def test_node_to_node_switch__joins_and_parts() -> None:
    solver = power_flow(feeder_with_switches())
    whole = solver.solve()
    assert whole.v_pu[3] == pytest.approx(whole.v_pu[2], abs=1e-7)
    assert whole.p_to_kw[1] == pytest.approx(-600.0, abs=1e-4)
    solver.update(closed=np.array([True, True, True, False]))
    parted = solver.solve()
    assert parted.energised.tolist() == [True, True, True, False]
    assert parted.p_to_kw[1] == pytest.approx(-300.0, abs=1e-4)


def test_result__is_a_snapshot() -> None:
    solver = power_flow(feeder_with_switches())
    before = solver.solve()
    kept = {name: getattr(before, name).copy() for name in (field.name for field in fields(before))}
    solver.update(p_kw=np.array([900.0, 900.0, 900.0]), closed=np.array([True, True, True, False]))
    assert not np.array_equal(solver.solve().v_pu, kept["v_pu"])
    for name, values in kept.items():
        assert np.array_equal(getattr(before, name), values), name


def test_update__copies_its_input() -> None:
    solver = power_flow(feeder_with_switches())
    p_kw = np.array([300.0, 200.0, 100.0])
    solver.update(p_kw=p_kw)
    expected = solver.solve().v_pu
    p_kw *= 0
    solver.update(q_kvar=np.array([100.0, 100.0, 100.0]))
    assert np.array_equal(solver.solve().v_pu, expected)


def test_overload__names_its_island() -> None:
    solver = power_flow(two_islands())
    solver.update(p_kw=np.array([500.0, 500_000.0]))
    with pytest.raises(PowerFlowDivergedError, match=r"island of source GRID_2 at node C \(2 nodes\)") as caught:
        solver.solve()
    assert caught.value.island == "of source GRID_2 at node C (2 nodes)"


def test_overload__is_forgotten_once_demand_falls() -> None:
    network = two_islands()
    solver = power_flow(network)
    expected = solver.solve().v_pu
    solver.update(p_kw=np.array([500.0, 500_000.0]))
    with pytest.raises(PowerFlowDivergedError):
        solver.solve()
    solver.update(p_kw=network.consumers.p_kw)
    assert np.array_equal(solver.solve().v_pu, expected)


def test_low_voltage_solution__is_no_solution() -> None:
    # A long line with capacitors at its end: V² - V·... has its only solution far below 0.5 pu under a pure
    # reactive constant admittance: V = 1 / (1 + x·b) with x·b = 2 → V = 1/3.
    builder = NetworkBuilder("low")
    builder.node("A", v_kv=20.0)
    builder.node("B", v_kv=20.0)
    builder.source("GRID", "A")
    builder.line("L1", "A", "B", length_km=1.0, r_ohm_per_km=0.0, x_ohm_per_km=40.0)
    builder.shunt("REACTOR", "B", q_kvar=20_000.0)
    with pytest.raises(PowerFlowDivergedError, match=r"source GRID .* node B would be 0\.333 pu"):
        power_flow(builder.build()).solve()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("quantity", ["p_kw", "q_kvar"])
def test_demand__not_finite_is_refused_by_name(quantity: str, value: float) -> None:
    solver = power_flow(feeder_with_switches())
    expected = solver.solve().v_pu
    with pytest.raises(InputNotFiniteError, match=f"the input {quantity} of C_C is {value}"):
        solver.update(**{quantity: np.array([1.0, value, 1.0])}, closed=np.zeros(4, dtype=np.bool_))
    assert np.array_equal(solver.solve().v_pu, expected)


def test_input__of_wrong_shape_is_refused() -> None:
    solver = power_flow(feeder_with_switches())
    with pytest.raises(InputShapeError, match=r"closed has the shape \(3,\) instead of \(4,\)"):
        solver.update(closed=np.ones(3, dtype=np.bool_))
    with pytest.raises(InputShapeError):
        solver.update(p_kw=np.ones(2))
    with pytest.raises(InputShapeError):
        solver.solve_many(np.ones((2, 3), dtype=np.bool_))


def test_network__reports_all_that_makes_it_unsolvable() -> None:
    builder = NetworkBuilder("broken")
    builder.node("A", v_kv=20.0)
    builder.node("B", v_kv=10.0)
    builder.line("L1", "A", "B", length_km=1.0, r_ohm_per_km=math.nan, x_ohm_per_km=0.3)
    builder.transformer("T1", "A", "B", s_kva=0.0, v_from_kv=20, v_to_kv=10, vk_percent=4, vkr_percent=5, shift_deg=7)
    with pytest.raises(UnsolvableNetworkError) as caught:
        power_flow(builder.build())
    assert caught.value.findings == (
        "L1 connects different nominal voltages",
        "L1 has parameters that are not finite",
        "T1 has ratings that are not finite and positive",
        "T1 has a vkr_percent above its vk_percent",
        "it has no source",
    )


def test_solve_many__equals_one_at_a_time_and_keeps_the_state() -> None:
    solver = power_flow(feeder_with_switches())
    before = solver.solve()
    candidates = np.array([[bool(n & 1 << bit) for bit in range(4)] for n in range(16)])
    many = solver.solve_many(candidates)
    assert np.array_equal(solver.solve().v_pu, before.v_pu)
    for closed, batch in zip(candidates, many, strict=True):
        solver.update(closed=closed)
        single = solver.solve()
        for name in (field.name for field in fields(single)):
            assert getattr(batch, name) == pytest.approx(getattr(single, name), abs=1e-6), name


def test_solve_many__yields_errors_beside_results() -> None:
    solver = power_flow(feeder_with_switches())
    solver.update(p_kw=np.array([300.0, 300_000.0, 300.0]))
    good, bad = solver.solve_many(np.array([[True, False, True, True], [True, True, True, True]]))
    assert not isinstance(good, PowerFlowDivergedError)
    assert isinstance(bad, PowerFlowDivergedError)
    assert bad.island == "of source GRID at node A (4 nodes)"


def test_solve_many__takes_no_candidates_and_no_switches() -> None:
    assert power_flow(feeder_with_switches()).solve_many(np.ones((0, 4), dtype=np.bool_)) == []
    many = power_flow(two_nodes()).solve_many(np.ones((2, 0), dtype=np.bool_))
    assert [result.energised.tolist() for result in many] == [[True, True], [True, True]]
