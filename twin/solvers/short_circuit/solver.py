"""Short-circuit currents by IEC 60909-0:2016 on sequence networks, factorised once for each topology.

As the standard has it: an equivalent voltage source c Un/√3 at the fault, no operating state (loads, shunts, line
capacitances and magnetising currents of the positive sequence are neglected, taps stand at neutral), correction
factors for transformers, generators and power station units. The negative-sequence impedances are those of the
positive sequence.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from twin.network.model import Bools, Network
from twin.network.topology import Topology
from twin.solvers import grid_model_mapping as mapping
from twin.solvers.model import FaultKind, FaultPlace, FaultPoint, FaultStudy, InputShapeError, ShortCircuitResult
from twin.solvers.short_circuit import single
from twin.solvers.short_circuit.elements import Elements, elements
from twin.solvers.short_circuit.settings import FaultPointError, ShortCircuitSettings
from twin.solvers.short_circuit.standard import StandardCurrents, standard_currents
from twin.solvers.short_circuit.state import Site, State

CACHED_STATES = 8
"""Topologies kept factorised; the least recently used one goes."""


class SequenceShortCircuit:
    """A :class:`twin.solvers.model.ShortCircuit`.

    Earth faults need zero-sequence data of all that is connected to the fault in the zero sequence; the other kinds
    need none. ``notes`` says what was left out.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
    """

    def __init__(self, network: Network, settings: ShortCircuitSettings | None = None) -> None:
        mapping.check(network)
        self.network = network
        self.settings = settings or ShortCircuitSettings()
        self.notes: list[str] = []
        self._topology = Topology(network)
        self._compiled: Elements | None = None
        self._states: OrderedDict[bytes, State] = OrderedDict()

    def solve(self, fault: FaultPoint, closed: Bools) -> ShortCircuitResult:
        """See :meth:`twin.solvers.model.ShortCircuit.solve`.

        Retained voltages contain the voltage factor: 1.1 pu where the fault is not felt. A fault without
        supply yields zeros throughout, for voltages too. The direction compares the positive-sequence current with
        that of the fault, turned by the phase shift in between. Of a double earth fault with one place dead the
        other remains, as an earth fault.

        Raises:
            FaultPointError: no such line, node or position, or a negative resistance.
            InputShapeError: ``closed`` is not one state a switch.
            MissingZeroSequenceError: an earth fault without the data for it.
            MissingShortCircuitDataError: a source or a machine states too little.
        """
        check_fault(self.network, fault)
        state = self.state(closed)
        sites = self.sites(state, fault)
        if not sites:
            return single.dead(self.network.nodes.n, self.network.n_branches)
        return single.solve(state, fault.kind, sites)

    def solve_many(
        self,
        faults: Sequence[FaultPoint],
        closed: Bools,
        *,
        nodes: Sequence[int] = (),
        branches: Sequence[int] = (),
        workers: int | None = None,
    ) -> FaultStudy:
        """See :meth:`twin.solvers.model.ShortCircuit.solve_many`.

        Errors are those of :meth:`solve`, raised before any fault is solved.

        ``nodes`` and ``branches`` are rows whose voltages and currents are wanted for every fault. ``workers`` are
        threads of this process, by default as many as there are cores.
        """
        from twin.solvers.short_circuit.many import solve_many  # imports numba, which takes half a second

        for fault in faults:
            check_fault(self.network, fault)
        state = self.state(closed)
        return solve_many(state, [(f, self.sites(state, f)) for f in faults], nodes, branches, workers)

    def standard_currents(
        self, faults: Sequence[FaultPoint], closed: Bools, *, breaking_time_s: float = 0.1
    ) -> StandardCurrents:
        """Initial, peak, breaking and steady-state currents of the standard; errors as in :meth:`solve`."""
        for fault in faults:
            check_fault(self.network, fault)
        state = self.state(closed)
        return standard_currents(state, [(f, self.sites(state, f)) for f in faults], breaking_time_s)

    def state(self, closed: Bools) -> State:
        """The factorised topology under the switch states ``closed``."""
        if closed.shape != (self.network.switches.n,):
            raise InputShapeError("closed", (self.network.switches.n,), closed.shape)
        key = closed.tobytes()
        if key not in self._states:
            self._states[key] = State(self._elements(), self._topology, closed)
        self._states.move_to_end(key)
        if len(self._states) > CACHED_STATES:
            self._states.popitem(last=False)
        return self._states[key]

    def forget(self) -> None:
        """Drop the factorised topologies: the next fault pays for its own."""
        self._states.clear()

    def sites(self, state: State, fault: FaultPoint) -> list[Site]:
        """The places of a fault that voltage reaches."""
        sites = [site for site in map(state.site, fault.places) if site is not None]
        if fault.kind.to_earth:
            state.check_zero_sequence(sites)
        return sites

    def _elements(self) -> Elements:
        if self._compiled is None:
            self._compiled = elements(self.network, self.settings)
            self.notes += self._compiled.units.notes
        return self._compiled


def check_fault(network: Network, fault: FaultPoint) -> None:
    """Refuse a fault that is nowhere.

    Raises:
        FaultPointError: with the reason.
    """
    if (fault.second is not None) is not (fault.kind is FaultKind.DOUBLE_EARTH):
        reason = "needs a second place" if fault.second is None else "has one place only"
        raise FaultPointError(fault, f"a {fault.kind.value} fault {reason}")
    for place in fault.places:
        _check_place(network, fault, place)


def _check_place(network: Network, fault: FaultPoint, place: FaultPlace) -> None:
    on_line, at_node = 0 <= place.line < network.lines.n, 0 <= place.node < network.nodes.n
    if place.line >= 0 and not on_line:
        raise FaultPointError(fault, f"there is no line {place.line}")
    if place.line < 0 and not at_node:
        raise FaultPointError(fault, f"there is no node {place.node}")
    if on_line and not 0.0 <= place.position <= 1.0:
        raise FaultPointError(fault, f"position {place.position} is not between 0 and 1")
    if not 0.0 <= place.resistance_ohm < np.inf:
        raise FaultPointError(fault, f"{place.resistance_ohm} ohm is no resistance")
