"""Short circuits against pandapower's IEC 60909 module, maximum case, c = 1.1, on the CIGRE MV benchmark.

pandapower gives the branch currents of a phase-to-phase fault as √3/2 of those of the three-phase fault everywhere;
on the far side of a transformer with an odd clock number the largest phase current is 2/√3 of that, so that this
side is compared with the factor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandapower as pp
import pandapower.shortcircuit
import pytest

from twin.network import load_network
from twin.network.model import Bools, Network
from twin.solvers import FaultKind, FaultPoint, ShortCircuitResult, short_circuit

PandapowerOf = Callable[[Network, Bools], Any]

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning:pandapower.*"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning:pandapower.*"),
]

FAULTS = {FaultKind.THREE_PHASE: "3ph", FaultKind.PHASE_TO_PHASE: "2ph"}
KINDS = pytest.mark.parametrize("kind", FAULTS)
STATES = pytest.mark.parametrize("state", ["normal", "meshed", "ring"])
REL = 1e-9


@cache
def cigre() -> Network:
    return load_network("cigre_mv")


def closed_in(state: str) -> Bools:
    """Ties open, all ties closed, or only the tie between the two halves of feeder 1 (S2, 6-7) closed."""
    switches = cigre().switches
    ties = np.isin(switches.names, ["TIE_2"]) if state == "ring" else np.full(switches.n, state == "meshed")
    return switches.normally_closed | ties


def with_split_line(net: Any, line: int, position: float) -> int:
    """Put a bus on a line of ``net`` whose switches are closed, and return it."""
    row = net.line.loc[line]
    middle = int(pp.create_bus(net, vn_kv=net.bus.vn_kv[row.from_bus]))
    net.switch = net.switch[~((net.switch.et == "l") & (net.switch.element == line))]
    ohms = {"r_ohm_per_km": row.r_ohm_per_km, "x_ohm_per_km": row.x_ohm_per_km}
    rest = {"c_nf_per_km": 0.0, "max_i_ka": 1.0}
    pp.create_line_from_parameters(net, middle, int(row.to_bus), length_km=1.0 - position, **ohms, **rest)
    net.line.loc[line, ["to_bus", "length_km"]] = [middle, position]
    net.line["to_bus"] = net.line.to_bus.astype(np.uint32)
    return middle


def calculate(net: Any, bus: int, kind: FaultKind) -> float:
    """Run pandapower and return its fault current in A."""
    pandapower.shortcircuit.calc_sc(net, bus=bus, fault=FAULTS[kind], case="max", branch_results=True)
    return float(1e3 * net.res_bus_sc.ikss_ka[bus])


def currents(net: Any, n_lines: int, far_side: float) -> tuple[Any, Any]:
    """From and to end currents of lines and transformers, A."""
    line, trafo = net.res_line_sc[:n_lines].fillna(0.0), net.res_trafo_sc.fillna(0.0)
    i_from = np.concatenate([line.ikss_from_ka, far_side * trafo.ikss_hv_ka])
    return 1e3 * i_from, 1e3 * np.concatenate([line.ikss_to_ka, trafo.ikss_lv_ka])


def far_side_factor(kind: FaultKind) -> float:
    odd = np.round(cigre().transformers.shift_deg / 30) % 2 == 1
    assert odd.all()
    return 1.0 if kind is FaultKind.THREE_PHASE else 2 / np.sqrt(3)


@KINDS
@STATES
def test_fault_currents__agree_at_every_node(state: str, kind: FaultKind, pandapower_of: PandapowerOf) -> None:
    network, closed = cigre(), closed_in(state)
    net = pandapower_of(network, closed)
    pandapower.shortcircuit.calc_sc(net, fault=FAULTS[kind], case="max")
    solver = short_circuit(network)
    ours = [solver.solve(FaultPoint(kind, node=node), closed).i_fault_a for node in range(network.nodes.n)]
    assert ours == pytest.approx(1e3 * net.res_bus_sc.ikss_ka.to_numpy(), rel=REL)


@KINDS
@STATES
def test_branch_currents__agree_for_node_faults(state: str, kind: FaultKind, pandapower_of: PandapowerOf) -> None:
    network, closed = cigre(), closed_in(state)
    net, solver = pandapower_of(network, closed), short_circuit(network)
    for bus in (2, 5, 8, 11, 14):
        calculate(net, bus, kind)
        result = solver.solve(FaultPoint(kind, node=bus), closed)
        i_from, i_to = currents(net, network.lines.n, far_side_factor(kind))
        assert result.i_from_a == pytest.approx(i_from, rel=REL, abs=1e-2)
        assert result.i_to_a == pytest.approx(i_to, rel=REL, abs=1e-2)
        if kind is FaultKind.THREE_PHASE:
            assert_voltages_and_directions(net, result)


def assert_voltages_and_directions(net: Any, result: ShortCircuitResult) -> None:
    """pandapower's retained voltages and the sign of P + Q, where the voltage leaves any."""
    network = cigre()
    line = net.res_line_sc
    fed = line.vm_from_pu.notna().to_numpy()
    assert result.v_pu[network.lines.node_from][fed] == pytest.approx(line.vm_from_pu[fed].to_numpy(), abs=1e-9)
    s_from, s_to = (line.p_from_mw + line.q_from_mvar).to_numpy(), (line.p_to_mw + line.q_to_mvar).to_numpy()
    n = network.lines.n
    assert np.nanmax(np.abs(s_from)) > 1
    for s, current, into in ((s_from, result.i_from_a, result.into_from), (s_to, result.i_to_a, result.into_to)):
        clear = (np.abs(np.nan_to_num(s)) > 1e-3) & (current[:n] > 0)
        assert np.array_equal(into[:n][clear], s[clear] > 0)


@pytest.mark.parametrize(("line", "position"), [("L3-8", 0.1), ("L6-7", 0.5), ("L4-5", 0.85), ("L12-13", 0.3)])
@KINDS
def test_line_faults__agree_with_a_split_line_when_meshed(
    kind: FaultKind, line: str, position: float, pandapower_of: PandapowerOf
) -> None:
    network, closed = cigre(), closed_in("meshed")
    row = network.lines.names.index(line)
    net = pandapower_of(network, closed)
    middle = with_split_line(net, row, position)
    i_fault_a = calculate(net, middle, kind)
    result = short_circuit(network).solve(FaultPoint(kind, line=row, position=position), closed)
    assert result.i_fault_a == pytest.approx(i_fault_a, rel=REL)
    i_from, i_to = currents(net, network.lines.n, far_side_factor(kind))
    i_to[row] = 1e3 * net.res_line_sc.ikss_to_ka.iloc[-1]
    assert result.i_from_a == pytest.approx(i_from, rel=REL, abs=1e-2)
    assert result.i_to_a == pytest.approx(i_to, rel=REL, abs=1e-2)
    assert result.into_from[row]
    assert result.into_to[row]
