"""Earth faults by hand: neutral treatment, double earth faults, machines, Kirchhoff, many at once."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.solvers import (
    FaultKind,
    FaultPlace,
    FaultPoint,
    FaultPointError,
    InconsistentPhaseShiftError,
    MissingShortCircuitDataError,
    MissingZeroSequenceError,
    ShortCircuitSettings,
    short_circuit,
)

EARTH, DOUBLE, BOTH = FaultKind.PHASE_TO_EARTH, FaultKind.DOUBLE_EARTH, FaultKind.PHASE_TO_PHASE_TO_EARTH
E_V = 1.1 * 20e3 / math.sqrt(3.0)
OMEGA = 2 * math.pi * 50


def feeders(x0x1: float = math.inf, coil_ohm: float = math.nan, r_ohm: float = 0.0, c0_nf: float = 300.0) -> Network:
    """Two feeders of 10 km on one busbar; 1 ohm a line, 4.4 ohm the source, 3 µF to earth each line.

    ::

        GRID ─ A ─┬─ L1 ── B
                  └─ L2 ── C        COIL: neutral of A, over an earthing transformer
    """
    builder = NetworkBuilder("feeders")
    for node in "ABC":
        builder.node(node, v_kv=20.0)
    builder.source("GRID", "A", s_sc_mva=100.0, rx=0.0, x0x1=x0x1, r0x0=0.0)
    if not math.isnan(coil_ohm):
        builder.earthing("COIL", "A", r_ohm=r_ohm, x_ohm=coil_ohm)
    zero = {"r0_ohm_per_km": 0.0, "x0_ohm_per_km": 0.3, "c0_nf_per_km": c0_nf}
    for name, to in (("L1", "B"), ("L2", "C")):
        builder.line(name, "A", to, length_km=10.0, r_ohm_per_km=0.0, x_ohm_per_km=0.1, **zero)
        builder.switch(f"S_{to}", SwitchKind.BREAKER, "A", branch=name)
    return builder.build()


CLOSED = np.ones(2, dtype=np.bool_)


def test_isolated_neutral__carries_the_capacitive_current_of_the_whole_network() -> None:
    # At A: Z0 = 1 / (jωC) with C = 6 µF, less what the lines' 3 ohm change. I = 3 E / |2 · j4.4 + 1/(jωC)|
    # 1/(ωC) = 530.5 ohm: I = 3 · 12702 / (530.5 - 8.8) = 73.0 A; the healthy phases rise to √3 of the phase voltage.
    result = short_circuit(feeders()).solve(FaultPoint(EARTH, node=0), CLOSED)
    x_c = 1.0 / (OMEGA * 6e-6)
    assert result.i_fault_a == pytest.approx(3 * E_V / (x_c - 8.8), rel=2e-3)
    assert result.i_earth_a == pytest.approx(result.i_fault_a, rel=1e-9)
    v = np.abs(result.v_phase_pu[0])
    assert v[0] == pytest.approx(0.0, abs=1e-9)
    assert v[1:] / 1.1 == pytest.approx([math.sqrt(3), math.sqrt(3)], rel=0.02)
    assert result.v_pu == pytest.approx([1.1, 1.1, 1.1], rel=0.02)


def test_isolated_neutral__residual_currents_point_at_the_faulted_feeder() -> None:
    # Fault at the end of L1: its head carries the capacitive current of L2 (half of all), L2's head its own.
    network = feeders()
    result = short_circuit(network).solve(FaultPoint(EARTH, node=1), CLOSED)
    assert result.residual_from_a == pytest.approx([result.i_earth_a / 2] * 2, rel=0.01)
    assert result.residual_into_from.tolist() == [True, False]
    power = result.residual_power_pu(network.branch_from, side=0)
    assert power[0].imag * power[1].imag < 0


def test_resonant_neutral__leaves_the_resistive_rest() -> None:
    # Tuned coil: X_N = 1 / (3ωC) = 176.8 ohm, in parallel with the capacitances. With R_N = 8.84 ohm in series
    # (a twentieth) the rest is E · R_N / X_N² = 12702 · 8.84 / 176.8² = 3.6 A instead of 71.8 A.
    coil = 1.0 / (3 * OMEGA * 6e-6)
    isolated = short_circuit(feeders()).solve(FaultPoint(EARTH, node=0), CLOSED)
    tuned = short_circuit(feeders(coil_ohm=coil, r_ohm=coil / 20)).solve(FaultPoint(EARTH, node=0), CLOSED)
    assert tuned.i_fault_a == pytest.approx(E_V * (coil / 20) / coil**2, rel=0.03)
    assert tuned.i_fault_a < isolated.i_fault_a / 15


def test_resonant_neutral__wattmetric_power_tells_the_faulted_feeder() -> None:
    coil = 0.9 / (3 * OMEGA * 6e-6)
    network = feeders(coil_ohm=coil, r_ohm=coil / 20)
    result = short_circuit(network).solve(FaultPoint(EARTH, node=1), CLOSED)
    power = result.residual_power_pu(network.branch_from, side=0).real
    assert power[0] < -0.5
    assert power[1] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("r_ohm", [20.0, 40.0])
def test_neutral_resistor__limits_the_earth_fault_current(r_ohm: float) -> None:
    # No capacitance. At A: I = 3 E / |2 · j4.4 + 3 R|
    network = feeders(coil_ohm=0.0, r_ohm=r_ohm, c0_nf=0.0)
    result = short_circuit(network).solve(FaultPoint(EARTH, node=0), CLOSED)
    assert result.i_fault_a == pytest.approx(3 * E_V / abs(complex(3 * r_ohm, 8.8)), rel=1e-9)


def test_no_path_to_earth__no_current_but_the_neutral_is_displaced() -> None:
    result = short_circuit(feeders(c0_nf=0.0)).solve(FaultPoint(EARTH, node=1), CLOSED)
    assert result.energised
    assert result.i_fault_a == 0.0
    assert np.abs(result.v_phase_pu[1]) / 1.1 == pytest.approx([0.0, math.sqrt(3), math.sqrt(3)], abs=1e-9)


def test_two_phases_to_earth__without_path_to_earth_are_two_phases() -> None:
    solver = short_circuit(feeders(c0_nf=0.0))
    earth = solver.solve(FaultPoint(BOTH, node=1), CLOSED)
    assert earth.i_fault_a == pytest.approx(
        solver.solve(FaultPoint(FaultKind.PHASE_TO_PHASE, node=1), CLOSED).i_fault_a, rel=1e-9
    )
    assert earth.i_earth_a == 0.0


def double(network: Network, one: FaultPlace, two: FaultPlace) -> FaultPoint:
    return FaultPoint(DOUBLE, one.line, one.position, one.node, one.resistance_ohm, second=two)


def test_double_earth_fault__on_two_feeders_is_the_hand_calculation() -> None:
    # Isolated, no capacitance; at B and C. Loop of phase b to B and phase c to C: the source's 2 · 4.4 ohm and for each
    # line its loop with earth (2 X1 + X0) / 3 = (2 + 3) / 3 ohm. I = √3 E / (8.8 + 10/3) = 1813 A.
    network = feeders(c0_nf=0.0)
    result = short_circuit(network).solve(double(network, FaultPlace(node=1), FaultPlace(node=2)), CLOSED)
    expected = math.sqrt(3) * E_V / (8.8 + 10 / 3)
    assert result.i_fault_a == pytest.approx(expected, rel=1e-9)
    assert result.i_earth_a == pytest.approx(expected, rel=1e-9)
    assert result.residual_from_a == pytest.approx([expected, expected], rel=1e-9)
    assert np.abs(result.i_from_phase_a[0]) == pytest.approx([0, expected, 0], abs=1e-6)
    assert np.abs(result.i_from_phase_a[1]) == pytest.approx([0, 0, expected], abs=1e-6)
    assert np.abs([result.v_phase_pu[1, 1], result.v_phase_pu[2, 2]]) == pytest.approx([0, 0], abs=1e-9)


def test_double_earth_fault__with_resistances_and_along_a_line() -> None:
    # Half way along both lines and 5 and 3 ohm: the lines' loops halve. I = √3 E / |8 + j(8.8 + 5/3)|
    network = feeders(c0_nf=0.0)
    places = FaultPlace(line=0, resistance_ohm=5.0), FaultPlace(line=1, resistance_ohm=3.0)
    result = short_circuit(network).solve(double(network, *places), CLOSED)
    assert result.i_fault_a == pytest.approx(math.sqrt(3) * E_V / abs(complex(8, 8.8 + 5 / 3)), rel=1e-9)


@pytest.mark.parametrize("x0x1", [math.inf, 1.5])
def test_double_earth_fault__at_one_place_is_two_phases_to_earth(x0x1: float) -> None:
    network = feeders(x0x1=x0x1)
    solver = short_circuit(network)
    both = solver.solve(FaultPoint(BOTH, node=1), CLOSED)
    same = solver.solve(double(network, FaultPlace(node=1), FaultPlace(node=1)), CLOSED)
    assert same.v_phase_pu == pytest.approx(both.v_phase_pu, abs=1e-9)
    assert np.abs(both.i_from_phase_a[0]) == pytest.approx(np.abs(same.i_from_phase_a[0]), rel=1e-9, abs=1e-6)


def test_double_earth_fault__with_one_place_dead_is_an_earth_fault() -> None:
    network = feeders()
    solver, closed = short_circuit(network), np.array([True, False])
    one = solver.solve(double(network, FaultPlace(node=1), FaultPlace(node=2)), closed)
    assert one.i_fault_a == pytest.approx(solver.solve(FaultPoint(EARTH, node=1), closed).i_fault_a, rel=1e-12)


def test_double_earth_fault__needs_two_places_and_others_one() -> None:
    solver = short_circuit(feeders())
    with pytest.raises(FaultPointError, match="a double-earth fault needs a second place"):
        solver.solve(FaultPoint(DOUBLE, node=1), CLOSED)
    with pytest.raises(FaultPointError, match="a phase-to-earth fault has one place only"):
        solver.solve(FaultPoint(EARTH, node=1, second=FaultPlace(node=2)), CLOSED)


def test_missing_zero_sequence_data__are_named_all_at_once_and_only_where_they_matter() -> None:
    network = feeders()
    lines = network.lines
    unknown = replace(network, lines=replace(lines, x0_ohm=np.array([math.nan, lines.x0_ohm[1]])))
    with pytest.raises(MissingZeroSequenceError, match="no zero-sequence data of L1, so") as caught:
        short_circuit(unknown).solve(FaultPoint(EARTH, node=2), CLOSED)
    assert caught.value.equipment == ("L1",)
    assert short_circuit(unknown).solve(FaultPoint(EARTH, node=2), np.array([False, True])).i_fault_a > 0


# --- machines and transformers -------------------------------------------------------------------------------------


def plant(**unit: object) -> Network:
    """GRID ─ A ── L (1 ohm) ── B ─ unit."""
    builder = NetworkBuilder("plant")
    for node in "AB":
        builder.node(node, v_kv=20.0)
    builder.source("GRID", "A", s_sc_mva=100.0, rx=0.0, s_sc_min_mva=80.0)
    builder.line("L", "A", "B", length_km=1.0, r_ohm_per_km=0.0, x_ohm_per_km=1.0)
    builder.generator("G", "B", p_kw=0.0, **unit)  # type: ignore[arg-type]
    return builder.build()


NONE = np.zeros(0, dtype=np.bool_)


def test_synchronous_machine__adds_its_current_from_the_other_side() -> None:
    # Xd'' = 0.2 · 400 / 10 = 8 ohm, K_G = 1.1 / (1 + 0.2 · 0.6) = 0.982143: 7.857 ohm; at A: + 1 ohm line.
    unit = {"machine": "synchronous", "s_kva": 10_000.0, "v_rated_kv": 20.0, "cos_phi": 0.8, "xdss_pu": 0.2}
    network = plant(**unit, r_sc_ohm=0.0)
    result = short_circuit(network).solve(FaultPoint(FaultKind.THREE_PHASE, node=0), NONE)
    own = E_V / (8 * 1.1 / 1.12 + 1)
    assert result.i_from_a[0] == pytest.approx(own, rel=1e-9)
    assert result.i_fault_a == pytest.approx(own + E_V / 4.4, rel=1e-9)
    assert (result.into_from[0], result.into_to[0]) == (False, True)


def test_asynchronous_motor__feeds_the_largest_current_only() -> None:
    # Z_M = 400 / (5 · 2) = 40 ohm
    network = plant(machine="asynchronous", s_kva=2000.0, lrc_pu=5.0, rx_sc=0.0)
    fault = FaultPoint(FaultKind.THREE_PHASE, node=1)
    assert short_circuit(network).solve(fault, NONE).i_fault_a == pytest.approx(E_V / 5.4 + E_V / 40, rel=1e-9)
    least = short_circuit(network, ShortCircuitSettings(case="min")).solve(fault, NONE).i_fault_a
    assert least == pytest.approx(20e3 / math.sqrt(3) / (400 / 80 + 1), rel=1e-9)


@pytest.mark.parametrize(
    ("kind", "share"), [(FaultKind.THREE_PHASE, 1.0), (FaultKind.PHASE_TO_PHASE, math.sqrt(3) / 2)]
)
def test_converter__adds_a_limited_current_towards_the_fault(kind: FaultKind, share: float) -> None:
    # A source of current in the positive sequence alone, so that it is the same for both kinds.
    # 1.2 times 3 MVA at 20 kV: 103.9 A, over Z_AB / Z_AA = 1 to a fault at A.
    network = plant(machine="converter", s_kva=3000.0, i_sc_pu=1.2)
    result = short_circuit(network).solve(FaultPoint(kind, node=0), NONE)
    share = 1.0 if kind is FaultKind.THREE_PHASE else math.sqrt(3) / 2
    own = 1.2 * 3e6 / (math.sqrt(3) * 20e3)
    assert result.i_fault_a == pytest.approx(share * (E_V / 4.4 + own), rel=1e-9)
    assert (result.into_from[0], result.into_to[0]) == (False, True)
    assert result.i_from_a[0] == pytest.approx(own, rel=1e-9)


@pytest.mark.parametrize("second", [None, 0, 3])
def test_converter__in_a_part_without_a_fault_adds_nothing(second: int | None) -> None:
    """GRID_1 ─ A ─ L ─ B, C ─ M ─ D ─ GRID_2, the converter at B: its angle follows a place that it reaches.

    At C a fault leaves A and B at c; with a second place at A or D the current at B is that of the two places alone
    wherever they stand in the order.
    """
    builder = NetworkBuilder("parts")
    for node in "ABCD":
        builder.node(node, v_kv=20.0)
    builder.source("GRID_1", "A", s_sc_mva=300.0, x0x1=1.0, r0x0=0.1)
    builder.source("GRID_2", "D", s_sc_mva=100.0, x0x1=1.0, r0x0=0.1)
    builder.generator("PV", "B", p_kw=100.0, s_kva=2000.0, machine="converter", i_sc_pu=1.1)
    zero = {"r0_ohm_per_km": 0.6, "x0_ohm_per_km": 1.2, "c0_nf_per_km": 250.0}
    for name, one, two in (("L", "A", "B"), ("M", "C", "D")):
        builder.line(name, one, two, length_km=5.0, r_ohm_per_km=0.3, x_ohm_per_km=0.35, **zero)
    solver = short_circuit(builder.build())
    fault = FaultPoint(EARTH, node=2) if second is None else FaultPoint(DOUBLE, node=2, second=FaultPlace(node=second))
    one, study = solver.solve(fault, NONE), solver.solve_many([fault], NONE, nodes=range(4))
    assert study.v_pu[0] == pytest.approx(one.v_pu, abs=1e-9)
    assert study.i_fault_a[0] == pytest.approx(one.i_fault_a, rel=1e-9)
    if second == 0:
        turned = solver.solve(FaultPoint(DOUBLE, node=0, second=FaultPlace(node=2)), NONE)
        assert turned.i_fault_a == pytest.approx(one.i_fault_a, rel=1e-9)
    else:
        assert one.v_pu[:2] == pytest.approx([1.1, 1.1], abs=1e-12)


def test_incomplete_units__are_named_all_at_once() -> None:
    builder = NetworkBuilder("incomplete")
    builder.node("A", v_kv=20.0)
    builder.source("GRID", "A", s_sc_mva=100.0)
    builder.generator("G1", "A", p_kw=1.0, machine="synchronous", s_kva=1000.0)
    builder.generator("G2", "A", p_kw=1.0, machine="converter")
    builder.generator("G3", "A", p_kw=1.0, machine="flywheel")
    with pytest.raises(MissingShortCircuitDataError, match=r"G1 needs .*; converter unit G2 .*; .* G3 is"):
        short_circuit(builder.build()).solve(FaultPoint(FaultKind.THREE_PHASE, node=0), NONE)


def test_units_without_data__are_left_out_and_noted() -> None:
    network = plant(kind="pv")
    solver = short_circuit(network)
    result = solver.solve(FaultPoint(FaultKind.THREE_PHASE, node=1), NONE)
    assert result.i_fault_a == pytest.approx(E_V / 5.4, rel=1e-9)
    assert solver.notes == ["generating units without short-circuit data contribute nothing to fault currents: G"]


def substation(group: str, shift_deg: float = 0.0, **more: float) -> Network:
    """GRID ─ HV ─ T ─ MV, 3000 MVA, 25 MVA with 12 %."""
    builder = NetworkBuilder("substation")
    builder.node("HV", v_kv=110.0)
    builder.node("MV", v_kv=20.0)
    builder.source("GRID", "HV", s_sc_mva=3000.0, rx=0.0, x0x1=2.0, r0x0=0.0)
    rated = {"s_kva": 25_000, "v_from_kv": 110, "v_to_kv": 20, "vk_percent": 12, "vkr_percent": 0, "k_sc": 1.0}
    zero = {"vk0_percent": 10.0, "vkr0_percent": 0.0}
    builder.transformer("T", "HV", "MV", **rated, **zero, vector_group=group, shift_deg=shift_deg, **more)
    return builder.build()


def test_vector_groups__open_or_close_the_zero_sequence() -> None:
    # Z_Q = 1.1 · 400 / 3000 = 0.1467, Z_T = 0.12 · 16 = 1.92, Z_T0 = 1.6 ohm; 2 Z1 = 4.1333 ohm.
    # Dyn5: Z0 = 1.6. YNyn0: 1.6 + 2 · 0.1467. Neutral over 10 ohm: + 30. Yy0, YNd5, Dy5 and a cut neutral: none.
    fault = FaultPoint(EARTH, node=1)
    for group, more, z0 in (
        ("Dyn5", {}, 1.6j),
        ("YNyn0", {}, 1j * (1.6 + 2 * 0.44 / 3)),
        ("Dyn5", {"rn_to_ohm": 10.0}, 30 + 1.6j),
        ("Dyn5", {"xn_to_ohm": math.inf}, math.inf),
        ("Yy0", {}, math.inf),
        ("YNd5", {}, math.inf),
        ("Dy5", {}, math.inf),
        ("Dzn0", {}, 1.6j),
    ):
        result = short_circuit(substation(group, **more)).solve(fault, NONE)
        z = 2j * (0.44 / 3 + 1.92) + z0
        expected = 0.0 if z0 == math.inf else 3 * E_V / abs(z)
        assert result.i_fault_a == pytest.approx(expected, rel=1e-9), group


def test_earth_fault_behind_delta__is_a_two_phase_current_on_the_other_side() -> None:
    """Dyn5: phase to earth below is phase to phase above, 1/√3 of it by the ratio, without residual current."""
    result = short_circuit(substation("Dyn5", 150.0)).solve(FaultPoint(EARTH, node=1), NONE)
    above = np.sort(np.abs(result.i_from_phase_a[0])) * 110 / 20
    assert above == pytest.approx(np.array([0, 1, 1]) * result.i_fault_a / math.sqrt(3), abs=1e-6 * result.i_fault_a)
    assert result.residual_from_a[0] == 0.0
    assert result.residual_to_a[0] == pytest.approx(result.i_fault_a, rel=1e-9)


def test_parallel_transformers__of_different_clock_are_refused() -> None:
    builder = NetworkBuilder("clash")
    builder.node("HV", v_kv=110.0)
    builder.node("MV", v_kv=20.0)
    builder.source("GRID", "HV", s_sc_mva=3000.0)
    rated = {"s_kva": 25_000, "v_from_kv": 110, "v_to_kv": 20, "vk_percent": 12, "vkr_percent": 0.4}
    for name, shift in (("T1", 150.0), ("T2", 330.0)):
        builder.transformer(name, "HV", "MV", **rated, shift_deg=shift)
    with pytest.raises(InconsistentPhaseShiftError, match="closes a loop"):
        short_circuit(builder.build()).solve(FaultPoint(FaultKind.THREE_PHASE, node=1), NONE)


# --- properties -----------------------------------------------------------------------------------------------------


@st.composite
def meshes(draw: st.DrawFn) -> Network:
    """A tree with up to two more lines, two sources and a converter, behind switches at both ends of each line."""
    builder = NetworkBuilder("mesh")
    n = draw(st.integers(3, 10))
    for node in range(n):
        builder.node(f"N{node}", v_kv=20.0)
    builder.source("GRID_1", "N0", s_sc_mva=300.0, x0x1=draw(st.sampled_from([1.0, math.inf])), r0x0=0.1)
    builder.source("GRID_2", f"N{n - 1}", s_sc_mva=100.0, x0x1=math.inf, r0x0=0.1)
    builder.generator("PV", f"N{n // 2}", p_kw=100.0, s_kva=2000.0, machine="converter", i_sc_pu=1.1)
    ends = [(draw(st.integers(0, node - 1)), node) for node in range(1, n)]
    ends += [(0, n - 1), (1, n - 1)][: draw(st.integers(0, 2))]
    for row, (one, two) in enumerate(ends):
        zero = {"r0_ohm_per_km": 0.6, "x0_ohm_per_km": 1.2, "c0_nf_per_km": 250.0}
        length = draw(st.floats(0.1, 10.0))
        builder.line(f"L{row}", f"N{one}", f"N{two}", length_km=length, r_ohm_per_km=0.3, x_ohm_per_km=0.35, **zero)
        builder.switch(f"S{row}_1", SwitchKind.BREAKER, f"N{one}", branch=f"L{row}")
        builder.switch(f"S{row}_2", SwitchKind.BREAKER, f"N{two}", branch=f"L{row}")
    return builder.build()


def places(data: st.DataObject, network: Network) -> FaultPlace:
    resistance_ohm = data.draw(st.sampled_from([0.0, 2.0, 100.0]))
    if data.draw(st.booleans()):
        return FaultPlace(node=data.draw(st.integers(0, network.nodes.n - 1)), resistance_ohm=resistance_ohm)
    line = data.draw(st.integers(0, network.lines.n - 1))
    return FaultPlace(line=line, position=data.draw(st.floats(0, 1)), resistance_ohm=resistance_ohm)


def some_fault(data: st.DataObject, network: Network) -> FaultPoint:
    kind = data.draw(st.sampled_from(list(FaultKind)))
    one = places(data, network)
    two = places(data, network) if kind is DOUBLE else None
    return FaultPoint(kind, one.line, one.position, one.node, one.resistance_ohm, second=two)


PROPERTY = settings(max_examples=40, phases=[Phase.generate])


@PROPERTY
@given(network=meshes(), data=st.data())
def test_kirchhoff__closes_at_every_node_and_phase(network: Network, data: st.DataObject) -> None:
    """What the branches take from a node without infeed is what the fault takes there; c0 lies in the branches."""
    fault = some_fault(data, network)
    closed = np.array(data.draw(st.lists(st.booleans(), min_size=network.switches.n, max_size=network.switches.n)))
    result = short_circuit(network).solve(fault, closed | data.draw(st.booleans()))
    total = np.zeros((network.nodes.n, 3), dtype=np.complex128)
    np.add.at(total, network.branch_from, result.i_from_phase_a)
    np.add.at(total, network.branch_to, result.i_to_phase_a)
    quiet = np.ones(network.nodes.n, dtype=np.bool_)
    quiet[network.sources.node] = quiet[network.generators.node] = False
    for place in fault.places:
        if place.line < 0:
            quiet[place.node] = False
    assert np.abs(total[quiet]).max(initial=0.0) < 1e-6


@PROPERTY
@given(network=meshes(), data=st.data())
def test_many_faults__are_each_what_one_alone_is_whatever_the_workers(network: Network, data: st.DataObject) -> None:
    faults = [some_fault(data, network) for _ in range(data.draw(st.integers(1, 6)))]
    closed = np.array(data.draw(st.lists(st.booleans(), min_size=network.switches.n, max_size=network.switches.n)))
    solver = short_circuit(network)
    nodes, branches = range(network.nodes.n), range(network.n_branches)
    study = solver.solve_many(faults, closed, nodes=nodes, branches=branches, workers=2)
    alone = solver.solve_many(faults, closed, nodes=nodes, branches=branches, workers=1)
    for row, fault in enumerate(faults):
        one = solver.solve(fault, closed)
        near = {"rel": 1e-7, "abs": 1e-5}
        assert bool(study.energised[row]) is one.energised
        assert study.i_fault_a[row] == pytest.approx(one.i_fault_a, **near)
        assert study.i_earth_a[row] == pytest.approx(one.i_earth_a, **near)
        assert study.v_pu[row] == pytest.approx(one.v_pu, abs=1e-7)
        assert study.i_from_a[row] == pytest.approx(one.i_from_a, **near)
        assert study.i_to_a[row] == pytest.approx(one.i_to_a, **near)
        assert study.residual_from_a[row] == pytest.approx(one.residual_from_a, **near)
    for name in ("i_fault_a", "i_from_a", "i_to_a", "residual_from_a", "v_pu", "into_from"):
        assert np.array_equal(getattr(study, name), getattr(alone, name)), name


@PROPERTY
@given(data=st.data(), kind=st.sampled_from([k for k in FaultKind if k is not DOUBLE]))
def test_radial_feeder__fault_power_flows_towards_the_fault(data: st.DataObject, kind: FaultKind) -> None:
    """N0 is the source; on the way to the fault currents go in at the near end, everywhere else none flow."""
    builder = NetworkBuilder("radial")
    n = data.draw(st.integers(2, 12))
    parent = [-1] + [data.draw(st.integers(0, node - 1)) for node in range(1, n)]
    for node in range(n):
        builder.node(f"N{node}", v_kv=20.0)
    builder.source("GRID", "N0", s_sc_mva=300.0, x0x1=1.0, r0x0=0.1)
    zero = {"r0_ohm_per_km": 0.6, "x0_ohm_per_km": 1.2, "c0_nf_per_km": 0.0}
    for node in range(1, n):
        ends = (f"N{parent[node]}", f"N{node}")
        builder.line(f"L{node}", *ends, length_km=1.0, r_ohm_per_km=0.3, x_ohm_per_km=0.35, **zero)
    at = data.draw(st.integers(1, n - 1))
    result = short_circuit(builder.build()).solve(FaultPoint(kind, node=at), NONE)
    way = set()
    node = at
    while node > 0:
        way.add(node - 1)
        node = parent[node]
    for line in range(n - 1):
        assert bool(result.i_from_a[line] > 0) is (line in way)
        assert bool(result.into_from[line]) is (line in way)
        assert not result.into_to[line]
        if kind.to_earth:
            assert bool(result.residual_into_from[line]) is (line in way)


def test_island_of_a_synchronous_machine__feeds_its_fault_if_the_settings_say_so() -> None:
    # Xd'' = 8 ohm, K_G = 1.1 / 1.12, 1 ohm line; the source's switch is open.
    builder = NetworkBuilder("island")
    for node in "QAB":
        builder.node(node, v_kv=20.0)
    builder.source("GRID", "Q", s_sc_mva=100.0)
    builder.switch("S", SwitchKind.BREAKER, "Q", other_node="A")
    builder.line("L", "A", "B", length_km=1.0, r_ohm_per_km=0.0, x_ohm_per_km=1.0)
    unit = {"s_kva": 10_000.0, "v_rated_kv": 20.0, "cos_phi": 0.8, "xdss_pu": 0.2, "r_sc_ohm": 0.0}
    builder.generator("G", "B", p_kw=0.0, machine="synchronous", **unit)
    network, fault, opened = builder.build(), FaultPoint(FaultKind.THREE_PHASE, node=1), np.zeros(1, dtype=np.bool_)
    assert not short_circuit(network).solve(fault, opened).energised
    fed = short_circuit(network, ShortCircuitSettings(generators_feed_islands=True)).solve(fault, opened)
    assert fed.i_fault_a == pytest.approx(E_V / (8 * 1.1 / 1.12 + 1), rel=1e-9)


def test_peak_current__follows_the_equivalent_frequency() -> None:
    # R + jX = 1.6 + j6.4 ohm: at 20 Hz R/X = 1.6 / 2.56, times 20/50 again 0.25. kappa = 1.02 + 0.98 exp(-0.75).
    builder = NetworkBuilder("peak")
    for node in "AB":
        builder.node(node, v_kv=20.0)
    builder.source("GRID", "A", s_sc_mva=100.0, rx=0.0)
    builder.line("L", "A", "B", length_km=2.0, r_ohm_per_km=0.8, x_ohm_per_km=1.0)
    currents = short_circuit(builder.build()).standard_currents([FaultPoint(FaultKind.THREE_PHASE, node=1)], NONE)
    kappa = 1.02 + 0.98 * math.exp(-3 * 0.25)
    assert currents.kappa[0] == pytest.approx(kappa, rel=1e-9)
    assert currents.ip_a[0] == pytest.approx(kappa * math.sqrt(2) * E_V / math.hypot(1.6, 6.4), rel=1e-9)
    assert currents.ib_a[0] == currents.ik_a[0] == pytest.approx(currents.ikss_a[0], rel=1e-9)


def test_smallest_power__is_needed_for_smallest_currents() -> None:
    with pytest.raises(MissingShortCircuitDataError, match="source GRID states no smallest short-circuit power"):
        short_circuit(feeders(), ShortCircuitSettings(case="min")).solve(
            FaultPoint(FaultKind.THREE_PHASE, node=0), CLOSED
        )
