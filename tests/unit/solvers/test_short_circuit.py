"""Short circuits on networks small enough for hand calculation, and directions in rings."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.network.builder import NetworkBuilder
from twin.network.model import Bools, Network, SwitchKind
from twin.solvers import (
    FaultKind,
    FaultPoint,
    FaultPointError,
    InputShapeError,
    MissingShortCircuitDataError,
    MissingZeroSequenceError,
    ShortCircuitResult,
    short_circuit,
)

THREE, TWO = FaultKind.THREE_PHASE, FaultKind.PHASE_TO_PHASE


def feeder(zero_sequence: bool = False, **source: float) -> Network:
    """GRID ─ A ─S1─ L1 ── B ─S2─ L2 ── C ═S3═ D: reactances only, 1 ohm a line, 4 + 0.4 ohm the source.

    Sk'' = 100 MVA at 20 kV: Z_Q = c Un² / Sk'' = 1.1 · 400 / 100 = 4.4 ohm, R/X = 0.
    """
    builder = NetworkBuilder("feeder")
    for node in "ABCD":
        builder.node(node, v_kv=20.0)
    builder.source("GRID", "A", **({"s_sc_mva": 100.0, "rx": 0.0, "x0x1": 1.0, "r0x0": 0.0} | source))
    zero = {"r0_ohm_per_km": 0.0, "x0_ohm_per_km": 3.0, "c0_nf_per_km": 0.0} if zero_sequence else {}
    for name, one, two in (("L1", "A", "B"), ("L2", "B", "C")):
        builder.line(name, one, two, length_km=1.0, r_ohm_per_km=0.0, x_ohm_per_km=1.0, c_nf_per_km=300.0, **zero)
    builder.switch("S1", SwitchKind.BREAKER, "A", branch="L1")
    builder.switch("S2", SwitchKind.LOAD_BREAK_SWITCH, "B", branch="L2")
    builder.switch("S3", SwitchKind.DISCONNECTOR, "C", other_node="D")
    builder.consumer("LD", "D", p_kw=1000.0)
    return builder.build()


def ring(x_mb: float = 1.0) -> Network:
    """A source behind a Dy5 transformer feeding a ring from both ends of its busbar.

    ::

        GRID ─ HV ─ T1 ─ M ─S_MA─ L_MA ── A ─ L_AB ─ B ── L_BM ─S_MB─ M
                                          └ L_AC ─ C
    """
    builder = NetworkBuilder("ring")
    builder.node("HV", v_kv=110.0)
    for node in "MABC":
        builder.node(node, v_kv=20.0)
    builder.source("GRID", "HV", s_sc_mva=3000.0)
    rated = {"s_kva": 25_000, "v_from_kv": 110, "v_to_kv": 20, "vk_percent": 12, "vkr_percent": 0.4}
    builder.transformer("T1", "HV", "M", **rated, shift_deg=150)
    for name, one, two, r, x in (
        ("L_MA", "M", "A", 0.8, 0.3),
        ("L_AB", "A", "B", 0.2, 0.4),
        ("L_BM", "B", "M", 0.5, x_mb),
        ("L_AC", "A", "C", 0.2, 0.4),
    ):
        builder.line(name, one, two, length_km=2.0, r_ohm_per_km=r, x_ohm_per_km=x)
    builder.switch("S_MA", SwitchKind.BREAKER, "M", branch="L_MA")
    builder.switch("S_MB", SwitchKind.BREAKER, "M", branch="L_BM")
    return builder.build()


@cache
def closed_of(network_name: str) -> Bools:
    return np.ones({"feeder": 3, "ring": 2}[network_name], dtype=np.bool_)


def fault_on(network: Network, line: str, kind: FaultKind, position: float = 0.5, **more: float) -> FaultPoint:
    return FaultPoint(kind, line=network.lines.names.index(line), position=position, **more)


def arrows(network: Network, result: ShortCircuitResult) -> dict[str, str]:
    """Each branch that carries current with the direction at its from and to end: ``>`` is into the branch."""
    ends = zip(network.branch_names, result.i_from_a, result.into_from, result.i_to_a, result.into_to, strict=True)
    mark = {True: ">", False: "<"}
    return {
        name: (mark[bool(into_from)] if i_from else "0") + (mark[bool(into_to)] if i_to else "0")
        for name, i_from, into_from, i_to, into_to in ends
    }


def test_three_phase__current_and_retained_voltage_are_the_hand_calculation() -> None:
    # At C: X = 4.4 + 1 + 1 = 6.4 ohm. I = 1.1 · 20 kV / √3 / 6.4 ohm = 1984.64 A.
    # Retained V = I · X beyond: A 2 ohm, B 1 ohm → 1.1 · 2/6.4 = 0.34375, 1.1 · 1/6.4 = 0.171875, C and D 0.
    result = short_circuit(feeder()).solve(FaultPoint(THREE, node=2), closed_of("feeder"))
    assert result.energised
    assert result.i_fault_a == pytest.approx(1.1 * 20e3 / math.sqrt(3) / 6.4, rel=1e-6)
    assert result.i_from_a == pytest.approx([1984.64, 1984.64], rel=1e-5)
    assert result.i_to_a == pytest.approx([1984.64, 1984.64], rel=1e-5)
    assert result.v_pu == pytest.approx([0.34375, 0.171875, 0.0, 0.0], abs=1e-6)


def test_phase_to_phase__current_and_retained_voltage_are_the_hand_calculation() -> None:
    # I = 1.1 · 20 kV / (2 · 6.4 ohm) = 1718.75 A. The faulted line-to-line voltage at distance X from the fault is
    # 2 X I / Un: A 2 · 2 · 1718.75 / 20000 = 0.34375, as in the three-phase case.
    result = short_circuit(feeder()).solve(FaultPoint(TWO, node=2), closed_of("feeder"))
    assert result.i_fault_a == pytest.approx(1718.75, rel=1e-6)
    assert result.i_from_a == pytest.approx([1718.75, 1718.75], rel=1e-6)
    assert result.v_pu == pytest.approx([0.34375, 0.171875, 0.0, 0.0], abs=1e-6)


def test_fault_resistance__is_of_each_phase_or_between_phases() -> None:
    # Three-phase: |2 + j6.4| ohm a phase. Phase-to-phase: |2 + 2 · j6.4| ohm around the loop.
    solver = short_circuit(feeder())
    three = solver.solve(FaultPoint(THREE, node=2, resistance_ohm=2.0), closed_of("feeder"))
    two = solver.solve(FaultPoint(TWO, node=2, resistance_ohm=2.0), closed_of("feeder"))
    assert three.i_fault_a == pytest.approx(1.1 * 20e3 / math.sqrt(3) / math.hypot(2, 6.4), rel=1e-6)
    assert two.i_fault_a == pytest.approx(1.1 * 20e3 / math.hypot(2, 12.8), rel=1e-6)


def test_line_fault__counts_the_line_up_to_the_fault() -> None:
    # A quarter along L2: X = 4.4 + 1 + 0.25 = 5.65 ohm; nothing comes from the far end.
    network = feeder()
    result = short_circuit(network).solve(fault_on(network, "L2", THREE, 0.25), closed_of("feeder"))
    assert result.i_fault_a == pytest.approx(1.1 * 20e3 / math.sqrt(3) / 5.65, rel=1e-6)
    assert result.i_from_a[1] == pytest.approx(result.i_fault_a, rel=1e-9)
    assert result.i_to_a[1] == 0.0
    assert result.v_pu[2:].tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize(("position", "x_ohm"), [(0.0, 4.4), (1.0, 5.4)])
def test_line_fault__at_an_end_is_on_the_line_side_of_its_switch(position: float, x_ohm: float) -> None:
    network = feeder()
    solver, fault = short_circuit(network), fault_on(network, "L1", THREE, position)
    result = solver.solve(fault, closed_of("feeder"))
    assert result.i_fault_a == pytest.approx(1.1 * 20e3 / math.sqrt(3) / x_ohm, rel=1e-5)
    assert result.i_from_a[0] == pytest.approx(result.i_fault_a, rel=1e-6)
    assert not solver.solve(fault, np.array([False, True, True])).energised


def test_dead_line__has_no_fault_current_and_zeros_throughout() -> None:
    network = feeder()
    solver = short_circuit(network)
    result = solver.solve(fault_on(network, "L2", TWO), np.array([True, False, True]))
    assert not result.energised
    assert result.i_fault_a == 0.0
    assert not np.concatenate([result.v_pu, result.i_from_a, result.i_to_a]).any()
    assert not solver.solve(FaultPoint(TWO, node=3), np.array([True, True, False])).energised
    assert solver.solve(FaultPoint(TWO, node=3), closed_of("feeder")).energised


def test_earth_fault__needs_zero_sequence_data() -> None:
    solver = short_circuit(feeder())
    for kind in (FaultKind.PHASE_TO_EARTH, FaultKind.PHASE_TO_PHASE_TO_EARTH):
        with pytest.raises(MissingZeroSequenceError, match="network feeder has no zero-sequence data"):
            solver.solve(FaultPoint(kind, node=2), closed_of("feeder"))


def test_earth_fault__is_the_hand_calculation() -> None:
    # At C: X1 = X2 = 6.4, X0 = 4.4 + 3 + 3 = 10.4 ohm. I = √3 · 1.1 · 20 kV / (2 · 6.4 + 10.4) = 1642.45 A.
    result = short_circuit(feeder(zero_sequence=True)).solve(
        FaultPoint(FaultKind.PHASE_TO_EARTH, node=2), closed_of("feeder")
    )
    assert result.i_fault_a == pytest.approx(math.sqrt(3) * 1.1 * 20e3 / 23.2, rel=1e-9)
    assert result.i_from_a[0] == pytest.approx(result.i_fault_a, rel=1e-9)
    assert result.residual_from_a[0] == pytest.approx(result.i_earth_a, rel=1e-9)


def test_phase_to_phase__does_not_depend_on_zero_sequence_data() -> None:
    fault = FaultPoint(TWO, node=2)
    with_data, without = (short_circuit(feeder(zero_sequence=z)).solve(fault, closed_of("feeder")) for z in (1, 0))
    assert with_data.i_fault_a == pytest.approx(without.i_fault_a, rel=1e-9)


def test_transformer__feeds_a_fault_through_its_corrected_impedance() -> None:
    # Behind T1 at M, referred to 20 kV: Z_Q = 1.1 · 400 / 3000 = 0.14667 ohm at R/X 0.1;
    # x_T = √(12² - 0.4²) % = 11.99333 %, K_T = 0.95 · 1.1 / (1 + 0.6 · 0.1199333) = 0.974855;
    # Z_T = K_T · (0.004 + j0.1199333) · 400 / 25 = 0.062391 + j1.870674 ohm.
    x_q = 0.146667 / math.hypot(1, 0.1)
    z = complex(0.1 * x_q + 0.062391, x_q + 1.870674)
    result = short_circuit(ring()).solve(FaultPoint(THREE, node=1), closed_of("ring"))
    assert result.i_fault_a == pytest.approx(1.1 * 20e3 / math.sqrt(3) / abs(z), rel=1e-5)
    assert result.i_from_a[-1] == pytest.approx(result.i_fault_a * 20 / 110, rel=1e-6)


@pytest.mark.parametrize("kind", [THREE, TWO])
@pytest.mark.parametrize("position", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_ring__all_arrows_point_at_the_fault(kind: FaultKind, position: float) -> None:
    """The fault on L_AB is fed M → A → fault and M → B → fault; L_AC carries nothing."""
    network = ring()
    result = short_circuit(network).solve(fault_on(network, "L_AB", kind, position), closed_of("ring"))
    assert arrows(network, result) == {"L_MA": "><", "L_AB": ">>", "L_BM": "<>", "L_AC": "00", "T1": "><"}


@pytest.mark.parametrize("kind", [THREE, TWO])
def test_ring__opened_at_one_end_is_fed_from_the_other(kind: FaultKind) -> None:
    network = ring()
    solver, fault = short_circuit(network), fault_on(network, "L_AB", kind)
    from_b = solver.solve(fault, np.array([False, True]))
    from_a = solver.solve(fault, np.array([True, False]))
    assert arrows(network, from_b) == {"L_MA": "00", "L_AB": "0>", "L_BM": "<>", "L_AC": "00", "T1": "><"}
    assert arrows(network, from_a) == {"L_MA": "><", "L_AB": ">0", "L_BM": "00", "L_AC": "00", "T1": "><"}


@pytest.mark.parametrize("kind", [THREE, TWO])
def test_ring__fault_on_the_spur_and_at_the_busbar(kind: FaultKind) -> None:
    network = ring()
    solver = short_circuit(network)
    spur = solver.solve(fault_on(network, "L_AC", kind, 0.3), closed_of("ring"))
    assert arrows(network, spur) == {"L_MA": "><", "L_AB": "<>", "L_BM": "<>", "L_AC": ">0", "T1": "><"}
    busbar = solver.solve(FaultPoint(kind, node=1), closed_of("ring"))
    assert arrows(network, busbar) == {"L_MA": "00", "L_AB": "00", "L_BM": "00", "L_AC": "00", "T1": "><"}


@settings(max_examples=40)
@given(
    position=st.floats(0, 1),
    x_mb=st.floats(0.05, 20.0),
    kind=st.sampled_from([THREE, TWO]),
    resistance_ohm=st.sampled_from([0.0, 0.5, 20.0]),
)
def test_ring__currents_of_the_faulted_line_meet_in_the_fault(
    position: float, x_mb: float, kind: FaultKind, resistance_ohm: float
) -> None:
    """Whatever the R/X of the two ways, the arrows hold and what comes in is at least the fault current."""
    network = ring(x_mb)
    fault = fault_on(network, "L_AB", kind, position, resistance_ohm=resistance_ohm)
    result = short_circuit(network).solve(fault, closed_of("ring"))
    assert arrows(network, result) == {"L_MA": "><", "L_AB": ">>", "L_BM": "<>", "L_AC": "00", "T1": "><"}
    assert result.i_from_a[1] + result.i_to_a[1] >= result.i_fault_a * (1 - 1e-6)
    assert result.i_from_a[0] == pytest.approx(result.i_from_a[1], rel=1e-6)


@pytest.mark.parametrize("kind", [THREE, TWO])
def test_two_sources__feed_a_fault_from_both_sides(kind: FaultKind) -> None:
    """GRID_1 ─ A ── L1 ── B ── L2 ── C ─ GRID_2; with the fault in L1 the arrow in L2 points to B."""
    builder = NetworkBuilder("two_sources")
    for node in "ABC":
        builder.node(node, v_kv=20.0)
    builder.source("GRID_1", "A", s_sc_mva=200.0)
    builder.source("GRID_2", "C", s_sc_mva=50.0, rx=0.5)
    builder.line("L1", "A", "B", length_km=1.0, r_ohm_per_km=0.3, x_ohm_per_km=0.3)
    builder.line("L2", "B", "C", length_km=5.0, r_ohm_per_km=0.3, x_ohm_per_km=0.3)
    network = builder.build()
    solver, no_switches = short_circuit(network), np.zeros(0, dtype=np.bool_)
    assert arrows(network, solver.solve(fault_on(network, "L1", kind), no_switches)) == {"L1": ">>", "L2": "<>"}
    assert arrows(network, solver.solve(fault_on(network, "L2", kind), no_switches)) == {"L1": "><", "L2": ">>"}
    assert arrows(network, solver.solve(FaultPoint(kind, node=1), no_switches)) == {"L1": "><", "L2": "<>"}


def test_healthy_island__keeps_its_no_load_voltage() -> None:
    """GRID_1 ─ A and, apart from it, GRID_2 ─ B: a fault at A leaves c = 1.1 pu at B."""
    builder = NetworkBuilder("apart")
    builder.node("A", v_kv=20.0)
    builder.node("B", v_kv=20.0)
    builder.source("GRID_1", "A", s_sc_mva=200.0)
    builder.source("GRID_2", "B", s_sc_mva=200.0)
    result = short_circuit(builder.build()).solve(FaultPoint(THREE, node=0), np.zeros(0, dtype=np.bool_))
    assert result.v_pu == pytest.approx([0.0, 1.1], abs=1e-9)
    assert result.i_fault_a == pytest.approx(200e6 / (math.sqrt(3) * 20e3), rel=1e-9)


def test_unknown_source_impedance__is_refused_by_name() -> None:
    solver = short_circuit(feeder(s_sc_mva=math.nan))
    with pytest.raises(MissingShortCircuitDataError, match="source GRID states no short-circuit power"):
        solver.solve(FaultPoint(THREE, node=2), closed_of("feeder"))


def test_unknown_rx__is_a_tenth() -> None:
    fault = FaultPoint(THREE, node=2)
    unknown = short_circuit(feeder(rx=math.nan)).solve(fault, closed_of("feeder"))
    stated = short_circuit(feeder(rx=0.1)).solve(fault, closed_of("feeder"))
    assert unknown.i_fault_a == stated.i_fault_a


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (FaultPoint(THREE), "there is no node -1"),
        (FaultPoint(THREE, node=4), "there is no node 4"),
        (FaultPoint(THREE, line=2), "there is no line 2"),
        (FaultPoint(THREE, line=0, position=1.1), "position 1.1 is not between 0 and 1"),
        (FaultPoint(THREE, line=0, position=math.nan), "position nan is not between 0 and 1"),
        (FaultPoint(THREE, node=0, resistance_ohm=-1.0), "-1.0 ohm is no resistance"),
    ],
)
def test_fault_point__nowhere_is_refused(fault: FaultPoint, reason: str) -> None:
    with pytest.raises(FaultPointError, match=reason):
        short_circuit(feeder()).solve(fault, closed_of("feeder"))


def test_switch_states__of_wrong_shape_are_refused() -> None:
    with pytest.raises(InputShapeError, match=r"closed has the shape \(2,\) instead of \(3,\)"):
        short_circuit(feeder()).solve(FaultPoint(THREE, node=0), np.ones(2, dtype=np.bool_))


def test_many_fault_points__each_get_their_own_answer_in_any_order() -> None:
    """Along two lines, forwards and backwards."""
    network = feeder()
    solver = short_circuit(network)
    points = [fault_on(network, line, THREE, k / 20) for line in ("L1", "L2") for k in range(21)]
    first = [solver.solve(point, closed_of("feeder")).i_fault_a for point in points]
    again = [solver.solve(point, closed_of("feeder")).i_fault_a for point in reversed(points)]
    x = [4.4 + line + k / 20 for line in (0, 1) for k in range(21)]
    assert first == pytest.approx([1.1 * 20e3 / math.sqrt(3) / value for value in x], rel=1e-5)
    assert again[::-1] == first
