"""Unbalanced power flow on networks small enough to calculate by hand."""

from __future__ import annotations

import numpy as np
import pytest

from twin.network.model import SwitchKind
from twin.network.three_phase import EARTH, ThreePhaseNetwork
from twin.network.three_phase_builder import CONSTANT_IMPEDANCE, ThreePhaseBuilder
from twin.network.winding_connections import Windings, delta, star, vector_group
from twin.solvers import (
    InputNotFiniteError,
    InputShapeError,
    PowerFlowDivergedError,
    TapOutOfRangeError,
    UnsolvableNetworkError,
)
from twin.solvers.three_phase import ThreePhaseResult, current_injection, three_phase_power_flow

V = 20e3 / np.sqrt(3)
A = np.exp(2j * np.pi / 3)


def _builder() -> ThreePhaseBuilder:
    b = ThreePhaseBuilder("toy")
    b.node("S", v_kv=20)
    b.source("GRID", "S")
    return b


def _solve(b: ThreePhaseBuilder) -> ThreePhaseResult:
    return three_phase_power_flow(b.build()).solve()


def _volts(result: ThreePhaseResult, node: int, nominal: float = V) -> np.ndarray:
    return nominal * result.v_pu[node] * np.exp(1j * result.angle_rad[node])


def _line(b: ThreePhaseBuilder, name: str, start: str, end: str, z: complex = 1 + 1j, mutual: complex = 0) -> None:
    b.line(name, start, end, z_ohm=(z - mutual) * np.eye(3) + mutual * np.ones((3, 3)))


def test_constant_power__drops_what_the_quadratic_says() -> None:
    """S -- 10 ohm -- N with 1,000 kW on phase B alone: v^2 - V v + R P = 0."""
    b = _builder()
    b.node("N", v_kv=20, phases=(1,))
    b.line("L", "S", "N", z_ohm=np.array([[10.0]]), phases=(1,))
    b.consumer("LD", "N", p_kw=(None, 1000, None), q_kvar=(None, 0, None), v_kv=V / 1e3)
    result = _solve(b)
    v = V / 2 + np.sqrt(V**2 / 4 - 10 * 1e6)
    assert result.v_pu[1, 1] == pytest.approx(v / V, abs=1e-10)
    assert result.angle_rad[1, 1] == pytest.approx(-2 * np.pi / 3)
    assert np.isnan(result.v_pu[1, [0, 2]]).all()
    assert result.i_from_a[0, 1] == pytest.approx(1e6 / v)
    assert result.p_from_kw[0, 1] == pytest.approx(1000 + 10 * (1e6 / v) ** 2 / 1e3)
    assert result.source_p_kw[0] == pytest.approx([0, result.p_from_kw[0, 1], 0], abs=1e-9)


def test_mutual_coupling__lifts_the_unloaded_phases_of_the_line() -> None:
    """1,000 kW constant impedance on phase A; B and C see only the coupling: V_B = E_B - z_m I_A."""
    b = _builder()
    b.node("N", v_kv=20)
    _line(b, "L", "S", "N", z=2 + 4j, mutual=0.5 + 2j)
    shares = {"zip_p": CONSTANT_IMPEDANCE, "zip_q": CONSTANT_IMPEDANCE}
    b.consumer("LD", "N", p_kw=(1000, None, None), q_kvar=(0, None, None), v_kv=V / 1e3, **shares)
    result = _solve(b)
    i = V / (2 + 4j + V**2 / 1e6)
    volts = _volts(result, 1)
    assert volts[0] == pytest.approx(i * V**2 / 1e6, rel=1e-9)
    assert volts[1] == pytest.approx(V * A**2 - (0.5 + 2j) * i, rel=1e-9)
    assert volts[2] == pytest.approx(V * A - (0.5 + 2j) * i, rel=1e-9)


def test_delta_load__draws_its_currents_from_two_phases() -> None:
    """300 kW between A and B at a stiff source: I_A = S / V_AB conjugate = - I_B, nothing in C."""
    b = _builder()
    b.node("N", v_kv=20)
    b.switch("CB", SwitchKind.BREAKER, "S", other_node="N")
    b.consumer("LD", "N", p_kw=(300, None, None), q_kvar=(0, None, None), v_kv=20, delta=True)
    result = _solve(b)
    assert result.i_switch_a[0] == pytest.approx([15, 15, 0], abs=1e-9)
    # V_A I_A* with I_A in phase with V_AB, which leads V_A by 30 degrees
    assert result.source_p_kw[0] == pytest.approx([V * 15 * np.cos(np.pi / 6) / 1e3] * 2 + [0], abs=1e-9)
    assert result.source_q_kvar[0] == pytest.approx([-V * 15 / 2e3, V * 15 / 2e3, 0], abs=1e-9)
    assert result.consumer_p_kw[0, 0] == pytest.approx(300)
    assert np.isnan(result.consumer_p_kw[0, 1:]).all()


def test_voltage_window__makes_an_impedance_of_constant_power() -> None:
    """Source at 0.8 pu, constant 90 kW down to 0.9 pu: below, 90 kW (0.8 / 0.9)^2."""
    b = ThreePhaseBuilder("toy")
    b.node("S", v_kv=20)
    b.source("GRID", "S", v_pu=0.8)
    b.consumer("LD", "S", p_kw=(90, 90, 90), q_kvar=(0, 0, 0), v_kv=V / 1e3, v_min_pu=0.9)
    assert _solve(b).consumer_p_kw[0] == pytest.approx(90 * (0.8 / 0.9) ** 2)


def test_regulator__raises_its_phase_by_its_taps() -> None:
    b = _builder()
    b.node("R", v_kv=20)
    for phase, position in enumerate((10, 0, -16)):
        ratings = {"s_kva": 1e4, "v_from_kv": V / 1e3, "v_to_kv": V / 1e3, "r_pu": 0.0, "x_pu": 0.01}
        b.regulator(f"REG{phase}", "S", "R", phase, tap_position=position, earth_ppm=0.0, **ratings)
    assert _solve(b).v_pu[1] == pytest.approx([1.0625, 1.0, 0.9])


def _dyn(b: ThreePhaseBuilder, group: str = "Dyn5", **more: float) -> None:
    b.node("H", v_kv=20)
    b.node("LV", v_kv=0.4)
    b.switch("FUSE", SwitchKind.FUSE, "S", other_node="H")
    v_from, v_to = (20 if group[0] == "D" else V / 1e3), (0.4 if "d" in group else 0.4 / np.sqrt(3))
    ratings = {"s_kva": 100.0, "r_pu": 0.01, "x_pu": 0.04, "g_pu": 1e-3, "earth_ppm": 0.0} | more
    b.transformer("TR", "H", "LV", vector_group(group), v_from_kv=v_from, v_to_kv=v_to, **ratings)


@pytest.mark.parametrize("clock", [1, 5, 7, 11])
def test_transformer__lags_by_its_clock_number(clock: int) -> None:
    b = _builder()
    _dyn(b, f"Dyn{clock}", g_pu=0.0)
    result = _solve(b)
    assert result.v_pu[2] == pytest.approx([1, 1, 1])
    expected = np.exp(-1j * np.radians(30 * clock + np.array([0, 120, 240])))
    assert np.allclose(np.exp(1j * result.angle_rad[2]), expected)


def test_blown_fuse__leaves_two_low_phases_at_half_voltage() -> None:
    """Phase A open: A-B and C-A lie in series over B-C, so that two LV phases have half their voltage, reversed."""
    b = _builder()
    _dyn(b, "Dyn11")
    flow = three_phase_power_flow(b.build())
    flow.update(closed=np.array([[False, True, True]]))
    result = flow.solve()
    assert np.sort(result.v_pu[2]) == pytest.approx([0.5, 0.5, 1.0], rel=1e-3)
    assert result.energised.all(), "phase A of the high-voltage side is fed back through the windings"
    assert result.v_pu[1, 0] == pytest.approx(0.5, rel=1e-3)
    assert result.i_switch_a[0, 0] == 0


def test_two_blown_fuses__leave_a_delta_winding_without_voltage() -> None:
    b = _builder()
    _dyn(b, "Dyn11")
    flow = three_phase_power_flow(b.build())
    flow.update(closed=np.array([[True, False, False]]))
    result = flow.solve()
    assert not result.energised[2].any()
    assert (result.v_pu[2] == 0).all()


def test_unearthed_side__without_reference_is_an_error_and_not_a_number() -> None:
    b = _builder()
    _dyn(b, "Dd0")
    with pytest.raises(PowerFlowDivergedError, match="voltages to earth are not defined"):
        _solve(b)


def test_unearthed_side__is_centred_by_its_reactance_to_earth() -> None:
    b = _builder()
    _dyn(b, "Dd0", earth_ppm=1.0)
    assert _solve(b).v_pu[2] == pytest.approx([1, 1, 1], rel=1e-2)


def test_single_phase_transformer__between_two_phases_sees_their_difference() -> None:
    b = _builder()
    b.node("LV", v_kv=0.4, phases=(0,))
    windings = Windings(((1, 2), (-1, -1), (-1, -1)), ((0, EARTH), (-1, -1), (-1, -1)))
    b.transformer("TR", "S", "LV", windings, s_kva=50, v_from_kv=20, v_to_kv=0.23, r_pu=0.01, x_pu=0.03, earth_ppm=0)
    result = _solve(b)
    assert result.v_pu[1, 0] == pytest.approx(0.23 * np.sqrt(3) / 0.4)
    assert result.angle_rad[1, 0] == pytest.approx(-np.pi / 2)


def test_open_pole__kills_one_phase_and_keeps_the_coupling_of_the_others() -> None:
    """S -- / -- L -- N, phase C open at S: its conductor carries nothing, A and B are as on a two-phase line."""
    b = _builder()
    b.node("N", v_kv=20)
    _line(b, "L", "S", "N", z=2 + 4j, mutual=0.5 + 2j)
    b.switch("LBS", SwitchKind.LOAD_BREAK_SWITCH, "S", branch="L")
    b.consumer("LD", "N", p_kw=(500, 400, 300), q_kvar=(0, 0, 0), v_kv=V / 1e3)
    flow = three_phase_power_flow(b.build())
    flow.update(closed=np.array([[True, True, False]]))
    result = flow.solve()

    two = _builder()
    two.node("N", v_kv=20, phases=(0, 1))
    two.line("L", "S", "N", z_ohm=np.array([[2 + 4j, 0.5 + 2j], [0.5 + 2j, 2 + 4j]]), phases=(0, 1))
    two.consumer("LD", "N", p_kw=(500, 400, None), q_kvar=(0, 0, None), v_kv=V / 1e3)
    expected = _solve(two)
    assert result.v_pu[1, :2] == pytest.approx(expected.v_pu[1, :2], abs=1e-12)
    assert result.energised[1].tolist() == [True, True, False]
    assert (result.v_pu[1, 2], result.i_from_a[0, 2], result.consumer_p_kw[0, 2]) == (0, 0, 0)


def test_parallel_switches__share_their_current() -> None:
    b = _builder()
    b.node("N", v_kv=20)
    for name in ("A1", "A2"):
        b.switch(name, SwitchKind.DISCONNECTOR, "S", other_node="N")
    b.consumer("LD", "N", p_kw=(100, 100, 100), q_kvar=(0, 0, 0), v_kv=V / 1e3)
    assert _solve(b).i_switch_a == pytest.approx(np.full((2, 3), 1e5 / V / 2))


def test_shunt__in_delta_is_switched_unit_by_unit() -> None:
    b = _builder()
    b.shunt("CAP", "S", q_kvar=(-300, -300, -300), v_kv=20, delta=True)
    flow = three_phase_power_flow(b.build())
    assert flow.solve().source_q_kvar.sum() == pytest.approx(-900)
    flow.update(shunt_on=np.array([[True, False, False]]))
    assert flow.solve().source_q_kvar.sum() == pytest.approx(-300)
    flow.update(shunt_on=np.array([False]))
    assert flow.solve().source_q_kvar.sum() == pytest.approx(0, abs=1e-9)


def test_source_behind_impedance__sags_under_load() -> None:
    b = ThreePhaseBuilder("toy")
    b.node("S", v_kv=20)
    b.source("GRID", "S", z_ohm=10 * np.eye(3) + 0j)
    b.consumer("LD", "S", p_kw=(1000, None, None), q_kvar=(0, None, None), v_kv=V / 1e3)
    result = _solve(b)
    v = V / 2 + np.sqrt(V**2 / 4 - 10 * 1e6)
    assert result.v_pu[0] == pytest.approx([v / V, 1, 1], abs=1e-10)
    assert result.source_p_kw[0] == pytest.approx([1000, 0, 0], abs=1e-6)


def test_generation__flows_backwards() -> None:
    b = _builder()
    b.node("N", v_kv=20)
    _line(b, "L", "S", "N")
    b.generator("PV", "N", p_kw=(None, 200, None), q_kvar=(None, 0, None))
    result = _solve(b)
    assert result.p_to_kw[0, 1] == pytest.approx(200)
    assert -200 < result.p_from_kw[0, 1] < -199
    assert result.v_pu[1, 1] > 1


def _overloaded(kw: float) -> ThreePhaseNetwork:
    """Two sources with a feeder each; the phase B of the second one has more load than it can carry.

    Its limit is V^2 / 4 R = 3,333 kW.
    """
    b = _builder()
    b.node("S2", v_kv=20)
    b.source("GRID2", "S2")
    for source, number in (("S", 1), ("S2", 2)):
        b.node(f"N{number}", v_kv=20)
        _line(b, f"L{number}", source, f"N{number}", z=10)
    b.consumer("LD1", "N1", p_kw=(100, 100, 100), q_kvar=(0, 0, 0), v_kv=V / 1e3)
    b.consumer("LD2", "N2", p_kw=(100, kw, 100), q_kvar=(0, 0, 0), v_kv=V / 1e3)
    return b.build()


def test_collapse__names_the_island_and_gives_no_number() -> None:
    with pytest.raises(PowerFlowDivergedError) as caught:
        three_phase_power_flow(_overloaded(3340)).solve()
    assert caught.value.island == "of source GRID2 at node S2 (2 nodes)"


def test_collapse__is_not_seen_before_the_limit() -> None:
    result = three_phase_power_flow(_overloaded(3332)).solve()
    assert result.v_pu[3, 1] == pytest.approx(0.5 + np.sqrt(0.25 - 10 * 3332e3 / V**2), abs=1e-6)


def test_collapse__of_one_candidate_leaves_the_others() -> None:
    b = _builder()
    b.node("N", v_kv=20)
    _line(b, "L", "S", "N", z=10)
    b.switch("LBS", SwitchKind.LOAD_BREAK_SWITCH, "S", branch="L")
    b.consumer("LD", "N", p_kw=(9000, 9000, 9000), q_kvar=(0, 0, 0), v_kv=V / 1e3)
    network = b.build()
    closed, opened = three_phase_power_flow(network).solve_many(np.array([[True], [False]]))
    assert isinstance(closed, PowerFlowDivergedError)
    assert isinstance(opened, ThreePhaseResult)
    assert not opened.energised[1].any()


def test_result__is_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        three_phase_power_flow(_overloaded(100)).solve().v_pu[0, 0] = 1


def test_update__takes_all_or_nothing() -> None:
    network = _overloaded(100)
    flow = three_phase_power_flow(network)
    before = flow.solve()
    demand = 2 * network.consumers.p_kw
    with pytest.raises(InputShapeError, match="q_kvar"):
        flow.update(p_kw=demand, q_kvar=np.zeros(2))
    with pytest.raises(InputShapeError, match="closed"):
        flow.update(p_kw=demand, closed=np.ones(5, dtype=bool))
    with pytest.raises(InputNotFiniteError, match="LD2"):
        flow.update(p_kw=demand * [[1, 1, 1], [1, np.inf, 1]])
    assert np.array_equal(flow.solve().v_pu, before.v_pu)


def test_update__keeps_no_hold_of_the_arrays_it_is_given() -> None:
    network = _overloaded(100)
    flow = three_phase_power_flow(network)
    demand = network.consumers.p_kw.copy()
    flow.update(p_kw=demand)
    before = flow.solve()
    demand[:] = 1e9
    flow.update(q_kvar=network.consumers.q_kvar)
    assert np.array_equal(flow.solve().v_pu, before.v_pu)


def test_update__refuses_taps_that_are_not_there() -> None:
    b = _builder()
    _dyn(b)
    with pytest.raises(TapOutOfRangeError, match="TR has no tap 17"):
        three_phase_power_flow(b.build()).update(tap_position=np.array([17], dtype=np.int32))


def test_check__lists_all_that_makes_a_network_unsolvable() -> None:
    b = ThreePhaseBuilder("toy")
    b.node("S", v_kv=20)
    b.node("N", v_kv=0)
    b.line("L1", "S", "N", z_ohm=np.zeros((3, 3)))
    b.line("L2", "S", "N", z_ohm=np.full((3, 3), np.nan))
    windings = Windings(delta(), star())
    b.transformer("TR", "S", "N", windings, s_kva=0, v_from_kv=20, v_to_kv=0.23, r_pu=0, x_pu=0)
    with pytest.raises(UnsolvableNetworkError) as caught:
        three_phase_power_flow(b.build())
    assert caught.value.findings == (
        "it has no source",
        "node N has no positive nominal voltage",
        "line L2 has an impedance or admittance that is no number",
        "line L1 has no impedance; it would have to be a switch",
        "transformer TR has no leakage impedance",
        "transformer TR has no positive rating",
    )


def test_large_circuit__solves_compiled_as_it_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _overloaded(900)
    expected = three_phase_power_flow(network).solve()
    monkeypatch.setattr(current_injection, "COMPILED_FROM", 0)
    got = three_phase_power_flow(network).solve()
    assert got.v_pu == pytest.approx(expected.v_pu, abs=1e-12)
    assert got.angle_rad == pytest.approx(expected.angle_rad, abs=1e-12)
