"""Random networks against pandapower's IEC 60909 module and power-grid-model's short circuit.

::

    GRID ─ HV ─ T1 ─ N0 ─ tree of lines with a loop or two

pandapower (Fraunhofer IEE and University of Kassel) gives the initial currents of three kinds in both cases. It leaves
the magnetising impedance of Dyn and YNd out, which is our infinite one. Behind the delta of a YNd its zero sequence
needs the lines' capacitances: without them nothing ties that part to earth but admittances of 1e-20 pu, the pivot of
the part is what rounding leaves of their squares, and where that is nothing Z0 at the other side becomes 0 (rk0_ohm and
xk0_ohm of 1e-16 in its result) and the current √3 c Un / |2 Z1|. The networks of that group therefore have
capacitances here, and a hand calculation of its own holds the floating part;
power-grid-model (Alliander) gives phase currents of four kinds at every line, without correction factors. Its earth
fault current at a source's own node is left out: with X0/X1 other than 1 it is not c Un √3 / |2 Z1 + Z0|.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandapower as pp
import pandapower.shortcircuit
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from power_grid_model import (
    ComponentType,
    DatasetType,
    FaultPhase,
    FaultType,
    PowerGridModel,
    initialize_array,
)

from twin.network.builder import NetworkBuilder
from twin.network.model import Network
from twin.solvers import FaultKind, FaultPoint, ShortCircuitSettings, short_circuit

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning:pandapower.*"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning:pandapower.*"),
    pytest.mark.filterwarnings("ignore:Calculation does not support"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

CLOSED = np.zeros(0, dtype=np.bool_)
KINDS = {FaultKind.THREE_PHASE: "3ph", FaultKind.PHASE_TO_PHASE: "2ph", FaultKind.PHASE_TO_EARTH: "1ph"}
GROUPS = {"Dyn": 150.0, "YNyn": 0.0, "YNd": 150.0}
QUICK = settings(max_examples=5, phases=[Phase.generate])


@st.composite
def networks(draw: st.DrawFn, groups: tuple[str, ...] = tuple(GROUPS), floating: bool = False) -> Network:
    """``floating`` lets the lines behind a delta be without capacitance, where pandapower is not defined."""
    group = draw(st.sampled_from(groups))
    c0_nf_per_km = 200.0 if group == "YNd" and not floating else draw(st.sampled_from([0.0, 200.0]))
    builder = NetworkBuilder("random")
    builder.node("HV", v_kv=110.0)
    n = draw(st.integers(2, 9))
    for node in range(n):
        builder.node(f"N{node}", v_kv=20.0)
    power = draw(st.floats(500.0, 5000.0))
    builder.source(
        "GRID",
        "HV",
        s_sc_mva=power,
        rx=0.1,
        s_sc_min_mva=0.6 * power,
        rx_min=0.2,
        x0x1=draw(st.floats(0.5, 3)),
        r0x0=0.2,
    )
    v_to_kv = draw(st.sampled_from([20.0, 21.0]))
    builder.transformer(
        "T1",
        "HV",
        "N0",
        s_kva=draw(st.floats(10_000, 40_000)),
        v_from_kv=110.0,
        v_to_kv=v_to_kv,
        vk_percent=12.0,
        vkr_percent=0.5,
        shift_deg=GROUPS[group],
        vector_group=group,
        vk0_percent=10.0,
        vkr0_percent=0.4,
        mag0_percent=draw(st.sampled_from([100.0, 1000.0])) if group == "YNyn" else math.nan,
        mag0_rx=0.0,
        si0_from=0.5,
    )
    ends = [(draw(st.integers(0, node - 1)), node) for node in range(1, n)]
    ends += [(0, n - 1)] * draw(st.integers(0, 2))
    for row, (one, two) in enumerate(ends):
        builder.line(
            f"L{row}",
            f"N{one}",
            f"N{two}",
            length_km=draw(st.floats(0.2, 8.0)),
            r_ohm_per_km=draw(st.floats(0.1, 0.6)),
            x_ohm_per_km=0.35,
            r0_ohm_per_km=draw(st.floats(0.3, 1.0)),
            x0_ohm_per_km=1.4,
            c0_nf_per_km=c0_nf_per_km,
        )
    return builder.build()


def to_pandapower(network: Network) -> Any:
    net = pp.create_empty_network(f_hz=50.0, sn_mva=1.0)
    pp.create_buses(net, network.nodes.n, vn_kv=network.nodes.v_nominal_kv)
    s, t, lines = network.sources, network.transformers, network.lines
    pp.create_ext_grid(
        net,
        0,
        s_sc_max_mva=s.s_sc_mva[0],
        rx_max=s.rx[0],
        s_sc_min_mva=s.s_sc_min_mva[0],
        rx_min=s.rx_min[0],
        x0x_max=s.x0x1[0],
        r0x0_max=s.r0x0[0],
    )
    net.ext_grid["x0x_min"], net.ext_grid["r0x0_min"] = s.x0x1, s.r0x0
    pp.create_transformer_from_parameters(
        net,
        0,
        1,
        sn_mva=t.s_kva[0] / 1e3,
        vn_hv_kv=t.v_from_kv[0],
        vn_lv_kv=t.v_to_kv[0],
        vk_percent=t.vk_percent[0],
        vkr_percent=t.vkr_percent[0],
        pfe_kw=0.0,
        i0_percent=0.0,
        shift_degree=t.shift_deg[0],
        vector_group=t.vector_group[0],
        vk0_percent=t.vk0_percent[0],
        vkr0_percent=t.vkr0_percent[0],
        mag0_percent=np.nan_to_num(t.mag0_percent[0], nan=100.0),
        mag0_rx=t.mag0_rx[0],
        si0_hv_partial=t.si0_from[0],
    )
    for row in range(lines.n):
        pp.create_line_from_parameters(
            net,
            lines.node_from[row],
            lines.node_to[row],
            length_km=1.0,
            r_ohm_per_km=lines.r_ohm[row],
            x_ohm_per_km=lines.x_ohm[row],
            c_nf_per_km=0.0,
            max_i_ka=1.0,
            r0_ohm_per_km=lines.r0_ohm[row],
            x0_ohm_per_km=lines.x0_ohm[row],
            c0_nf_per_km=lines.c0_nf[row],
            endtemp_degree=80.0,
        )
    return net


@QUICK
@given(network=networks())
@pytest.mark.parametrize("case", ["max", "min"])
@pytest.mark.parametrize("kind", KINDS)
def test_initial_currents__agree_with_pandapower_at_every_node(kind: FaultKind, case: Any, network: Network) -> None:
    net = to_pandapower(network)
    pandapower.shortcircuit.calc_sc(net, fault=KINDS[kind], case=case)
    solver = short_circuit(network, ShortCircuitSettings(case=case, end_temperature_c=80.0))
    faults = [FaultPoint(kind, node=node) for node in range(network.nodes.n)]
    ours = solver.solve_many(faults, CLOSED).i_fault_a
    theirs = 1e3 * net.res_bus_sc.ikss_ka.to_numpy()
    assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6)


def grounded_star(s_sc_mva: float, rx: float, c: float, x0x1: float, transformer0: complex) -> float:
    """The initial current of a phase to earth, A, at 110 kV before a source with R0/X0 = 0.2 and a YNd transformer.

    pu of 1 MVA: |Z_Q| = c / S, X0_Q = X_Q · X0/X1; the delta short-circuits the zero sequence of the star, so
    Z0 = Z0_Q || Z0_T whatever lies behind it. I = √3 c Un / |2 Z_Q + Z0|.
    """
    x = c / s_sc_mva / math.hypot(1.0, rx)
    z1, z0_source = complex(rx * x, x), complex(0.2 * x0x1 * x, x0x1 * x)
    z0 = z0_source * transformer0 / (z0_source + transformer0)
    return math.sqrt(3.0) * c / abs(2 * z1 + z0) * 1e3 / 110.0


@pytest.mark.parametrize(
    ("case", "s_sc_mva", "rx", "c", "k_t", "i_a"),
    [("max", 2500.0, 0.1, 1.1, 0.95 * 1.1 / (1.0 + 0.6 * 0.12), 15652.43), ("min", 1500.0, 0.2, 1.0, 1.0, 9492.41)],
)
def test_earth_fault_before_a_floating_delta__is_the_hand_calculation(
    case: Any, s_sc_mva: float, rx: float, c: float, k_t: float, i_a: float
) -> None:
    # 2500 MVA (least: 1500), X0/X1 0.56; 40 MVA with 12 % and j10 % of the zero sequence. In 10^-4 pu of 1 MVA:
    # max: Z_Q = 0.43782 + j4.37816, Z0_Q = 0.49035 + j2.45177, Z0_T = 0.97481 · j25 = j24.3703,
    #      Z0 = 0.40467 + j2.23506, |2 Z_Q + Z0| = 11.06570: √3 · 1.1 · 10^4 / (110 kV · 11.06570) = 15652.43 A.
    # min: Z_Q = 1.30744 + j6.53720, Z0_Q = 0.73217 + j3.66083, Z0_T = j25,
    #      Z0 = 0.55671 + j3.20746, |2 Z_Q + Z0| = 16.58789: √3 · 10^4 / (110 kV · 16.58789) = 9492.41 A.
    builder = NetworkBuilder("delta")
    for name, v_kv in (("HV", 110.0), ("N0", 20.0), ("N1", 20.0)):
        builder.node(name, v_kv=v_kv)
    least = {"s_sc_min_mva": 1500.0, "rx_min": 0.2}
    builder.source("GRID", "HV", s_sc_mva=2500.0, rx=0.1, **least, x0x1=0.56, r0x0=0.2)
    zero = {"vk0_percent": 10.0, "vkr0_percent": 0.0, "vector_group": "YNd5", "shift_deg": 150.0}
    rated = {"s_kva": 40_000.0, "v_from_kv": 110.0, "v_to_kv": 20.0, "vk_percent": 12.0, "vkr_percent": 0.0}
    builder.transformer("T1", "HV", "N0", **rated, **zero)
    for name, length_km in (("L0", 4.0), ("L1", 3.0)):
        ohm = {"r_ohm_per_km": 0.12, "x_ohm_per_km": 0.35, "r0_ohm_per_km": 0.5, "x0_ohm_per_km": 1.4}
        builder.line(name, "N0", "N1", length_km=length_km, **ohm, c0_nf_per_km=0.0)
    solver = short_circuit(builder.build(), ShortCircuitSettings(case=case))
    ours = solver.solve_many([FaultPoint(FaultKind.PHASE_TO_EARTH, node=n) for n in range(3)], CLOSED).i_fault_a
    assert ours == pytest.approx([grounded_star(s_sc_mva, rx, c, 0.56, k_t * 0.1j / 40.0), 0.0, 0.0], rel=1e-9)
    assert ours[0] == pytest.approx(i_a, abs=0.01)


@QUICK
@given(network=networks(groups=("YNd",), floating=True))
def test_earth_fault_before_a_delta__does_not_see_what_lies_behind(network: Network) -> None:
    t, source = network.transformers, network.sources
    x, x0 = math.sqrt(0.12**2 - 0.005**2), math.sqrt(0.1**2 - 0.004**2)
    # To the base of the nodes' 110 kV: the rated voltage of that side is 110 kV whatever that of the other.
    z0 = 0.95 * 1.1 / (1.0 + 0.6 * x) * complex(0.004, x0) / (t.s_kva[0] / 1e3)
    fault = FaultPoint(FaultKind.PHASE_TO_EARTH, node=0)
    ours = short_circuit(network).solve(fault, CLOSED).i_fault_a
    assert ours == pytest.approx(grounded_star(source.s_sc_mva[0], 0.1, 1.1, source.x0x1[0], z0), rel=1e-9)


FOUR = {
    FaultKind.THREE_PHASE: (FaultType.three_phase, FaultPhase.abc),
    FaultKind.PHASE_TO_PHASE: (FaultType.two_phase, FaultPhase.bc),
    FaultKind.PHASE_TO_PHASE_TO_EARTH: (FaultType.two_phase_to_ground, FaultPhase.bc),
    FaultKind.PHASE_TO_EARTH: (FaultType.single_phase_to_ground, FaultPhase.a),
}


def grid_model(network: Network, kind: FaultKind, node: int, resistance_ohm: float) -> dict[str, Any]:
    """power-grid-model's result for the lines of a network behind one source at node 0, its impedance not shared."""
    lines, source = network.lines, network.sources
    nodes = initialize_array(DatasetType.input, ComponentType.node, network.nodes.n)
    nodes["id"], nodes["u_rated"] = np.arange(network.nodes.n), 1e3 * network.nodes.v_nominal_kv
    line = initialize_array(DatasetType.input, ComponentType.line, lines.n)
    line["id"] = 1000 + np.arange(lines.n)
    line["from_node"], line["to_node"], line["from_status"], line["to_status"] = lines.node_from, lines.node_to, 1, 1
    line["r1"], line["x1"], line["r0"], line["x0"] = lines.r_ohm, lines.x_ohm, lines.r0_ohm, lines.x0_ohm
    line["c1"], line["tan1"], line["c0"], line["tan0"] = 0.0, 0.0, 1e-9 * lines.c0_nf, 0.0
    sources = initialize_array(DatasetType.input, ComponentType.source, 1)
    sources["id"], sources["node"], sources["status"], sources["u_ref"] = 2000, source.node, 1, 1.0
    sources["sk"], sources["rx_ratio"], sources["z01_ratio"] = 1e6 * source.s_sc_mva / 1.1, source.rx, source.x0x1
    fault = initialize_array(DatasetType.input, ComponentType.fault, 1)
    fault["id"], fault["status"], fault["fault_object"] = 3000, 1, node
    fault["fault_type"], fault["fault_phase"] = FOUR[kind]
    fault["r_f"], fault["x_f"] = resistance_ohm, 0.0
    model = PowerGridModel({"node": nodes, "line": line, "source": sources, "fault": fault}, 50.0)
    return dict(model.calculate_short_circuit())


@st.composite
def plain_feeders(draw: st.DrawFn) -> Network:
    """Lines with capacitance behind a source with X0/X1 of its own and one R/X."""
    builder = NetworkBuilder("plain")
    n = draw(st.integers(2, 10))
    for node in range(n):
        builder.node(f"N{node}", v_kv=20.0)
    builder.source("GRID", "N0", s_sc_mva=draw(st.floats(50, 800)), rx=0.1, x0x1=draw(st.floats(0.5, 4)), r0x0=0.1)
    ends = [(draw(st.integers(0, node - 1)), node) for node in range(1, n)] + [(0, n - 1)] * draw(st.integers(0, 1))
    for row, (one, two) in enumerate(ends):
        builder.line(
            f"L{row}",
            f"N{one}",
            f"N{two}",
            length_km=draw(st.floats(0.2, 8.0)),
            r_ohm_per_km=0.3,
            x_ohm_per_km=0.35,
            r0_ohm_per_km=0.7,
            x0_ohm_per_km=1.4,
            c0_nf_per_km=250.0,
        )
    return builder.build()


@QUICK
@given(network=plain_feeders(), where=st.floats(0, 1), resistance_ohm=st.sampled_from([0.0, 1.0, 40.0]))
@pytest.mark.parametrize("kind", FOUR)
def test_phase_currents_and_voltages__agree_with_power_grid_model(
    kind: FaultKind, network: Network, where: float, resistance_ohm: float
) -> None:
    node = 1 + min(int(where * (network.nodes.n - 1)), network.nodes.n - 2)
    theirs = grid_model(network, kind, node, resistance_ohm)
    ours = short_circuit(network).solve(FaultPoint(kind, node=node, resistance_ohm=resistance_ohm), CLOSED)
    largest = float(theirs["fault"]["i_f"].max())
    assert ours.i_fault_a == pytest.approx(largest, rel=1e-6)
    for end, phases in (("from", ours.i_from_phase_a), ("to", ours.i_to_phase_a)):
        line = theirs["line"]
        phasors = line[f"i_{end}"] * np.exp(1j * line[f"i_{end}_angle"])
        assert np.abs(phases - phasors).max() < 1e-6 * largest
    v = theirs["node"]["u_pu"] * np.exp(1j * theirs["node"]["u_angle"])
    assert np.abs(ours.v_phase_pu - v).max() < 1e-6
