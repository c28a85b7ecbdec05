"""One fault in full: phase currents at every branch end and phase voltages at every node."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin.network.model import Bools, Floats
from twin.solvers.model import FaultKind, ShortCircuitResult
from twin.solvers.short_circuit import connection
from twin.solvers.short_circuit.connection import A2, A
from twin.solvers.short_circuit.elements import TwoPorts
from twin.solvers.short_circuit.machines import Complex
from twin.solvers.short_circuit.state import Site, State, bridge

NO_CURRENT = 1e-9
"""Currents below this share of the fault current are rounding, and reported as none."""

CODES = {
    FaultKind.THREE_PHASE: connection.THREE_PHASE,
    FaultKind.PHASE_TO_PHASE: connection.PHASE_TO_PHASE,
    FaultKind.PHASE_TO_PHASE_TO_EARTH: connection.PHASE_TO_PHASE_TO_EARTH,
    FaultKind.PHASE_TO_EARTH: connection.PHASE_TO_EARTH,
    FaultKind.DOUBLE_EARTH: connection.DOUBLE_EARTH,
}

TO_PHASES = np.array([[1, 1, 1], [A2, A, 1], [A, A2, 1]])
"""Phases a, b, c from positive, negative and zero sequence."""

Sequences = tuple[complex, complex, complex]


@dataclass(frozen=True)
class Fault:
    """The currents out of the network at each site: positive, negative and zero sequence, shift-free angles."""

    sites: list[Site]
    currents: list[Sequences]
    converters: Complex


def solve(state: State, kind: FaultKind, sites: list[Site]) -> ShortCircuitResult:
    """Currents and voltages for one fault at sites that are fed.

    The angles of the positive sequence are those of the first site; at other voltage levels the phases
    are turned by the transformers in between.
    """
    fault = fault_currents(state, kind, sites)
    v1, v2, v0 = _voltages(state, fault, kind.to_earth)
    i1, i2 = (_branch_currents(state, state.elements.positive, v, fault, s) for s, v in ((0, v1), (1, v2)))
    i0 = _branch_currents(state, state.elements.zero, v0, fault, 2)
    return _result(state, fault, (v1, v2, v0), (i1, i2, i0))


def fault_currents(state: State, kind: FaultKind, sites: list[Site]) -> Fault:
    """The connection of the sequence networks; full-size converters raise the driving voltage by their share."""
    columns = [state.positive.solve(state.injection(site)) for site in sites]
    zeros = [state.zero.solve(state.injection(site)) for site in sites] if kind.to_earth else []
    converters = state.converter_pu * _towards_fault(*(columns[site][state.converter_bus] for site in (0, -1)))
    e = [
        state.driving_voltage(site) + complex(column[state.converter_bus] @ converters)
        for site, column in zip(sites, columns, strict=True)
    ]
    z1 = _impedances(state, sites, columns, state.elements.z1)
    z0 = _impedances(state, sites, zeros, state.elements.z0) if zeros else z1
    floating = [bool(state.buses.floating0[site.a]) for site in sites]
    if len(sites) == 1:
        code = CODES[FaultKind.PHASE_TO_EARTH if kind is FaultKind.DOUBLE_EARTH else kind]
        one = connection.connect(code, e[0], z1[0], z0[0], sites[0].resistance_pu, floating[0])
        return Fault(sites, [one], converters)
    shift = float(np.subtract(*state.buses.shift_rad[[sites[1].a, sites[0].a]]))
    i_b, i_c = connection.connect_double(
        (e[0], e[1]),
        z1,
        z0,
        (sites[0].resistance_pu, sites[1].resistance_pu),
        shift,
        (floating[0], floating[1]),
        bool(state.buses.part0[sites[0].a] == state.buses.part0[sites[1].a]),
    )
    p, n, z = connection.sequences_of_c(i_c)
    turn = np.exp(1j * shift)
    return Fault(sites, [connection.sequences_of_b(i_b), (p * turn, n / turn, z)], converters)


def _towards_fault(first: Complex, last: Complex) -> Complex:
    """Unit currents in phase with the first place that a converter reaches; none from a part without a fault."""
    reach = np.where(first != 0, first, last)
    away = reach == 0
    return np.asarray(np.where(away, 0j, reach.conj() / np.where(away, 1.0, np.abs(reach))), dtype=np.complex128)


def _impedances(
    state: State, sites: list[Site], columns: list[Complex], z_line: Complex
) -> tuple[complex, complex, complex]:
    """Own impedance of the first site, mutual, own of the last."""
    own = [state.seen_at(s, c) + bridge(s, s, z_line) for s, c in zip(sites, columns, strict=True)]
    mutual = state.seen_at(sites[-1], columns[0]) + bridge(sites[0], sites[-1], z_line)
    return own[0], mutual, own[-1]


def _voltages(state: State, fault: Fault, to_earth: bool) -> tuple[Complex, Complex, Complex]:
    """Changes of the bus voltages in the three sequences."""
    drawn = np.zeros((state.buses.n, 3), dtype=np.complex128)
    for site, currents in zip(fault.sites, fault.currents, strict=True):
        for sequence, current in enumerate(currents):
            drawn[:, sequence] -= state.injection(site, current)
    np.add.at(drawn[:, 0], state.converter_bus, fault.converters)
    v1, v2 = state.positive.solve(drawn[:, :2].copy()).T
    v0 = state.zero.solve(drawn[:, 2].copy()) if to_earth else np.zeros(state.buses.n, dtype=np.complex128)
    v0 = v0 + _offset(state, fault, v1, v2, v0) if to_earth else v0
    return v1, v2, v0


def _offset(state: State, fault: Fault, v1: Complex, v2: Complex, v0: Complex) -> Complex:
    """The displacement of a part without a path to earth: as much as puts the faulted phases to earth."""
    offset = np.zeros(state.buses.n, dtype=np.complex128)
    for number, site in enumerate(fault.sites):
        if not state.buses.floating0[site.a]:
            continue
        i1, i2, i0 = fault.currents[number]
        shift = state.buses.shift_rad[site.a] - state.buses.shift_rad[fault.sites[0].a]
        e = state.driving_voltage(site)
        inner1, inner0 = bridge(site, site, state.elements.z1), bridge(site, site, state.elements.z0)
        v = [state.seen_at(site, x) for x in (v1, v2, v0)]
        turned = np.exp(-1j * shift)
        phases = TO_PHASES @ ((e + v[0] - inner1 * i1) * turned, (v[1] - inner1 * i2) / turned, v[2] - inner0 * i0)
        phase = 1 + number if len(fault.sites) > 1 or abs(i1 - i2) > 1e-12 * max(abs(i1), 1.0) else 0
        offset[state.buses.part0 == state.buses.part0[site.a]] = 3.0 * i0 * site.resistance_pu - phases[phase]
    return offset


def _branch_currents(state: State, ports: TwoPorts, v: Complex, fault: Fault, sequence: int) -> Complex:
    """Currents of one sequence into both ends of all branches, pu of each end, shape ``(2, n_branches)``."""
    live, ends = state.buses.live, state.buses.ends
    i = np.zeros(ends.shape, dtype=np.complex128)
    v_from, v_to = v[ends[:, live]]
    yff, yft, ytt = ports.y[:, live]
    i[0, live] = yff * v_from + yft * v_to
    i[1, live] = yft * v_from + ytt * v_to
    for site, currents in zip(fault.sites, fault.currents, strict=True):
        if site.line >= 0:
            i[0, site.line] += (1.0 - site.position) * currents[sequence]
            i[1, site.line] += site.position * currents[sequence]
    return i


def _result(state: State, fault: Fault, v: tuple[Complex, ...], i: tuple[Complex, ...]) -> ShortCircuitResult:
    buses, network = state.buses, state.elements.network
    first = fault.sites[0]
    shift = buses.shift_rad - buses.shift_rad[first.a]
    prior = np.where(buses.fed[buses.of_node], state.elements.c, 0.0)
    v_phase = _phases(v[0][buses.of_node] + prior, v[1][buses.of_node], v[2][buses.of_node], shift[buses.of_node])
    at = np.maximum(buses.ends, 0)
    nodes = np.stack([network.branch_from, network.branch_to])
    amperes = 1e3 / (np.sqrt(3.0) * network.nodes.v_nominal_kv[nodes])
    phases = _phases(i[0], i[1], i[2], shift[at]) * amperes[..., np.newaxis]
    largest = max(
        connection.largest_phase(*currents) * site.amperes
        for site, currents in zip(fault.sites, fault.currents, strict=True)
    )
    i_phase = np.abs(phases).max(axis=2)
    residual = 3.0 * np.abs(i[2]) * amperes
    i_phase[i_phase < NO_CURRENT * largest] = 0.0
    residual[residual < NO_CURRENT * largest] = 0.0
    into = _towards(i[0], sum(c[0] for c in fault.currents), i_phase, fault.sites)
    earth_into = _towards(i[2], sum(c[2] for c in fault.currents), residual, fault.sites)
    return ShortCircuitResult(
        energised=True,
        i_fault_a=largest,
        i_earth_a=3.0 * abs(fault.currents[0][2]) * first.amperes,
        v_pu=_least_line_to_line(v_phase),
        i_from_a=i_phase[0],
        i_to_a=i_phase[1],
        into_from=into[0],
        into_to=into[1],
        residual_from_a=residual[0],
        residual_to_a=residual[1],
        residual_into_from=earth_into[0],
        residual_into_to=earth_into[1],
        v_phase_pu=v_phase,
        i_from_phase_a=phases[0],
        i_to_phase_a=phases[1],
    )


def _phases(one: Complex, two: Complex, zero: Complex, shift: Floats) -> Complex:
    """Phase quantities from shift-free sequence quantities, phases in the last axis.

    Written out: a product of matrices would wake the threads of the linear algebra library.
    """
    turn = np.exp(-1j * shift)
    p, n = one * turn, two * turn.conj()
    return np.stack([p + n + zero, A2 * p + A * n + zero, A * p + A2 * n + zero], axis=-1)


def _towards(i: Complex, fault: complex, magnitude: Floats, sites: list[Site]) -> Bools:
    """Whether currents have the direction of the fault's; those of a faulted line always flow into it."""
    towards = ((i * np.conj(fault)).real > 0) & (magnitude > 0)
    if len(sites) == 1 and sites[0].line >= 0:
        towards[:, sites[0].line] = magnitude[:, sites[0].line] > 0
    return np.asarray(towards, dtype=np.bool_)


def _least_line_to_line(v_phase: Complex) -> Floats:
    least: Floats = np.abs(v_phase - np.roll(v_phase, 1, axis=1)).min(axis=1) / np.sqrt(3.0)
    return least


def dead(n_nodes: int, n_branches: int) -> ShortCircuitResult:
    """The result of a fault that nothing feeds."""

    def nothing() -> Floats:
        return np.zeros(n_branches)

    def nowhere() -> Bools:
        return np.zeros(n_branches, dtype=np.bool_)

    return ShortCircuitResult(
        energised=False,
        i_fault_a=0.0,
        i_earth_a=0.0,
        v_pu=np.zeros(n_nodes),
        i_from_a=nothing(),
        i_to_a=nothing(),
        into_from=nowhere(),
        into_to=nowhere(),
        residual_from_a=nothing(),
        residual_to_a=nothing(),
        residual_into_from=nowhere(),
        residual_into_to=nowhere(),
        v_phase_pu=np.zeros((n_nodes, 3), dtype=np.complex128),
        i_from_phase_a=np.zeros((n_branches, 3), dtype=np.complex128),
        i_to_phase_a=np.zeros((n_branches, 3), dtype=np.complex128),
    )
