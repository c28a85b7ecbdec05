"""The mosaik simulator of the grid: demand and switch positions in, what instruments would see out.

Power flow and short circuit come from ``twin.solvers``. While a fault is fed, currents of the fault are given
apart from the load currents, and voltages are those of the power flow times what the fault leaves of them
(loads are neglected in the fault's own calculation, as IEC 60909 does).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulators.actions import Action
from simulators.cycle import CycleSimulator, RunContext
from simulators.field.bank import GridMeasurement
from simulators.grid.faults import Faults, PlantFault
from simulators.grid.generation import Generation, UnitChange
from simulators.grid.infeeds import fault_without_terminals, without_terminals
from simulators.grid.switch_places import SwitchPlaces
from twin.journal import JournalEntry
from twin.network.model import Bools, Floats, Ints, Network
from twin.network.topology import Topology
from twin.scenario.machines import FrequencySettings
from twin.solvers import (
    PowerFlowResult,
    ShortCircuitResult,
    drain_notes,
    power_flow,
    short_circuit,
)
from twin.timebase import NEVER, SimTime

VOLTAGE_FACTOR = 1.1  # IEC 60909-0 table 1, maximum short-circuit current above 1 kV
OVERLOAD = 1.0
OVERLOAD_RESET = 0.98
BY_HAND = ("command", "local", "scenario")
OUTAGES = ("trip generator", "lose external network")
INJECTIONS = ("p_kw", "q_kvar", "generation_kw", "generation_kvar")
SOLVED_FOR = (*INJECTIONS, "closed", "tap_position", "shunt_steps")
CLOSED = SOLVED_FOR.index("closed")
GENERATION = SOLVED_FOR.index("generation_kw")


@dataclass(frozen=True)
class GridState:
    """The plant's electrical state of one cycle, for the recorder and the director."""

    closed: Bools
    flow: PowerFlowResult
    measurement: GridMeasurement
    v_pu: Floats
    supplied: Bools
    customers_interrupted: int
    loops: int
    closed_onto_fault: bool
    faulted: tuple[str, ...]
    f_hz: Floats
    frequency_min: float


class GridSimulator(CycleSimulator):
    """Solves the plant's network each cycle in which something changed."""

    INPUTS = ("p_kw", "q_kvar", "generation_kw", "generation_kvar", "closed", "closings", "regulation", "actions")
    OUTPUTS = ("measurement", "grid_state", "grid_wanted", "grid_pace_ms", "grid_journal")

    def __init__(
        self,
        context: RunContext,
        *,
        network: Network,
        frequency: FrequencySettings | None = None,
        base_step_ms: int = 1_000,
    ) -> None:
        """With ``frequency`` the infeeds can be lost and the machines in it make the frequency of their islands."""
        super().__init__(context)
        self._network = network
        # a want takes effect a cycle late, so the course must be known two base steps ahead
        self._generation = None if frequency is None else Generation(network, frequency, 2 * base_step_ms)
        solved = network if self._generation is None else self._generation.network
        self._flow = power_flow(solved)
        self._short_circuit = short_circuit(solved)
        self._topology = Topology(network)
        self._faults = Faults()
        self._closed = network.switches.normally_closed.copy()
        self._inputs: tuple[Any, ...] = ()
        self._regulation: tuple[Floats, Mapping[str, Sequence[float]], tuple[Floats, Ints, Ints]] | None = None
        self._result: PowerFlowResult | None = None
        self._fed_key: tuple[tuple[str, ...], bytes] = ((), b"")
        self._fed: list[tuple[PlantFault, ShortCircuitResult]] = []
        self._loops = 0
        self._interrupted = 0
        self._overloaded = np.zeros(network.n_branches, dtype=np.bool_)
        self._place = SwitchPlaces(network)
        self._supply = _Supply.of(network, np.ones(network.nodes.n, dtype=np.bool_))
        self._journal: list[JournalEntry] = []
        self._frequencies: tuple[Bools | None, Floats] = (None, np.zeros(0))

    def cycle(self, now: SimTime, received: dict[str, Any]) -> dict[str, Any]:
        self._closed = received["closed"]
        if self._generation is not None:
            self._note_units(self._generation.advance(now))
        for action in received.get("actions", ()):
            self._act(action, now)
        flow = self._solve(received, now)
        self._recover_arcs(now, flow)
        fed = self._fault_currents()
        onto_fault = self._closings(received.get("closings", ()), [fault for fault, _ in fed], now)
        state = self._state(flow, [result for _, result in fed], onto_fault)
        self._note_supply(state, now)
        self._note_overloads(flow, now)
        journal, self._journal = self._journal, []
        return {
            "measurement": state.measurement,
            "grid_state": state,
            "grid_wanted": self._wanted(),
            "grid_pace_ms": self._generation.pace_ms if self._generation else 0,
            "grid_journal": journal,
        }

    def _act(self, action: Action, now: SimTime) -> None:
        if action.kind == "fault":
            self._faults.apply(action.event_id, action.data)
        elif action.kind == "clear fault" and (fault := self._faults.clear(action.data["id"])):
            self._note(now, "fault_cleared", fault.line, id=fault.event_id, by="repair")
        elif action.kind in OUTAGES and self._generation is not None:
            self._note_units(self._generation.lose(action.data["name"], now, action.data["for_ms"]))

    def _wanted(self) -> SimTime:
        units = self._generation.wanted() if self._generation is not None else NEVER
        return min(self._faults.next_extinguishing(), units)

    def _note_units(self, changes: list[UnitChange]) -> None:
        for change in changes:
            self._note(change.t_ms, change.kind, change.name, cause=change.cause)

    def _solve(self, received: dict[str, Any], now: SimTime) -> PowerFlowResult:
        inputs = (*(received[name] for name in INJECTIONS), self._closed)
        if self._generation is not None:
            positions = self._generation.positions(self._closed)
            inputs = (*inputs[:2], self._generation.dispatch(inputs[2]), inputs[3], positions)
        if regulation := received.get("regulation"):
            generation_kvar, taps, steps = self._regulated(inputs[3], regulation)
            inputs = (*inputs[:3], generation_kvar, inputs[4], taps, steps)
        same = len(inputs) == len(self._inputs) and all(map(_equal, inputs, self._inputs))
        if self._result is None or not same:
            self._result = self._solve_for(inputs, now)
        if self._generation is not None:
            self._generation.balance(self._result, inputs[0], inputs[2])
        return self._result

    def _regulated(
        self, generation_kvar: Floats, regulation: Mapping[str, Sequence[float]]
    ) -> tuple[Floats, Ints, Ints]:
        """See :func:`_regulated`; the same objects while neither generation nor devices change."""
        before = self._regulation
        if before is None or before[0] is not generation_kvar or before[1] is not regulation:
            self._regulation = before = generation_kvar, regulation, _regulated(generation_kvar, regulation)
        return before[2]

    def _solve_for(self, inputs: tuple[Any, ...], now: SimTime) -> PowerFlowResult:
        with self.context.stopwatch.watch("solver"):
            known = (*self._inputs, *(None,) * len(inputs))
            given = zip(SOLVED_FOR, inputs, known, strict=False)
            self._flow.update(**{name: value for name, value, before in given if value is not before})
            result = self._flow.solve()
        for sentence in drain_notes(self._flow):
            self._note(now, "solver", self._network.name, text=sentence)
        if not self._inputs or not _equal(inputs[CLOSED], self._inputs[CLOSED]):
            self._loops = int(self._topology.state(self._closed).loop_edges.size)
        self._inputs = inputs
        return result if self._generation is None else without_terminals(result, self._network.nodes.n)

    def _live(self, line: str, flow: PowerFlowResult) -> bool:
        """True if voltage reaches any part of the line."""
        row = self._network.lines.names.index(line)
        from_on, to_on = self._topology.branch_connected(self._closed)
        ends = ((from_on[row], self._network.branch_from[row]), (to_on[row], self._network.branch_to[row]))
        return any(on and flow.energised[node] for on, node in ends)

    def _recover_arcs(self, now: SimTime, flow: PowerFlowResult) -> None:
        """Extinguish transient faults that were dead long enough, before the voltage comes back."""
        for fault, at in self._faults.extinguish(now):
            self._note(at, "fault_cleared", fault.line, id=fault.event_id, by="extinguished")
        for fault in self._faults:
            live = any(self._live(line, flow) for line in fault.lines)
            if not live and not fault.seen_live:
                self._note_dormant(fault, now)
                continue
            if not fault.seen_live and fault.told_dormant:
                self._note(now, "fault_awakes", fault.line, id=fault.event_id)
            fault.seen_live = True
            if live:
                fault.dead_since_ms = -1
            elif fault.dead_since_ms < 0:
                fault.dead_since_ms = now

    def _note_dormant(self, fault: PlantFault, now: SimTime) -> None:
        """Say once that a fault struck a dead line: it carries no current until the line is energised."""
        if not fault.told_dormant:
            fault.told_dormant = True
            self._note(now, "fault_dormant", fault.line, id=fault.event_id)

    def _fault_currents(self) -> list[tuple[PlantFault, ShortCircuitResult]]:
        """The faults that are fed, with their currents; calculated when faults or switches have changed."""
        key = (tuple(fault.event_id for fault in self._faults), self._positions(self._closed).tobytes())
        if key != self._fed_key:
            with self.context.stopwatch.watch("solver"):
                results = [(fault, self._short_circuit_of(fault, self._closed)) for fault in self._faults]
            self._fed = [(fault, result) for fault, result in results if result.energised]
            self._fed_key = key
        return self._fed

    def _short_circuit_of(self, fault: PlantFault, closed: Bools) -> ShortCircuitResult:
        positions = self._positions(closed)
        for point in fault.points(self._network):
            result = self._short_circuit.solve(point, positions)
            if result.energised:
                break
        return result if self._generation is None else fault_without_terminals(result, self._network.nodes.n)

    def _positions(self, closed: Bools) -> Bools:
        """What the solvers take for ``closed``: with the couplings of the infeeds, where there are such."""
        return closed if self._generation is None else self._generation.with_couplings(closed)

    def _closings(self, closings: Any, fed: list[PlantFault], now: SimTime) -> bool:
        """True if a switch closed by hand or command since the last cycle made a fault live."""
        guilty = [name for name, cause in closings if cause in BY_HAND and self._is_needed(name, fed)]
        for name in guilty:
            self._note(now, "closed_onto_fault", name)
        return bool(guilty)

    def _is_needed(self, switch: str, fed: list[PlantFault]) -> bool:
        """True if one of the faults would be dead with the switch open."""
        without = self._closed.copy()
        without[self._network.switches.names.index(switch)] = False
        return any(not self._short_circuit_of(fault, without).energised for fault in fed)

    def _state(self, flow: PowerFlowResult, faults: list[ShortCircuitResult], onto_fault: bool) -> GridState:
        v_pu = flow.v_pu
        if faults:
            v_pu = v_pu * np.minimum.reduce([np.ones(len(v_pu)), *(f.v_pu / VOLTAGE_FACTOR for f in faults)])
        if not np.array_equal(self._supply.energised, flow.energised):
            self._supply = _Supply.of(self._network, flow.energised)
        return GridState(
            closed=self._closed,
            flow=flow,
            measurement=self._measure(flow, v_pu, faults),
            v_pu=v_pu,
            supplied=self._supply.supplied,
            customers_interrupted=self._supply.customers_interrupted,
            loops=self._loops,
            closed_onto_fault=onto_fault,
            faulted=tuple(line for fault in self._faults for line in fault.lines),
            f_hz=self._f_hz(flow),
            frequency_min=self._frequency_min(flow),
        )

    def _measure(self, flow: PowerFlowResult, v_pu: Floats, faults: list[ShortCircuitResult]) -> GridMeasurement:
        return self._place.measure(
            self._closed,
            flow,
            v_pu,
            faults,
            generation_kw=self._inputs[GENERATION],
            f_hz=self._f_hz(flow),
            course=None if self._generation is None else self._generation.course(),
        )

    def _f_hz(self, flow: PowerFlowResult) -> Floats:
        """The frequency of each node; nominal wherever there is voltage, if the plant has no machines."""
        if self._generation is not None:
            return self._generation.f_hz(flow.energised)
        known, f_hz = self._frequencies
        energised = self._supply.energised
        if known is not energised:
            f_hz = np.where(energised, self._network.frequency_hz, 0.0)
            self._frequencies = (energised, f_hz)
        return f_hz

    def _frequency_min(self, flow: PowerFlowResult) -> float:
        if self._generation is not None:
            return self._generation.lowest_hz
        return self._network.frequency_hz if flow.energised.any() else math.nan

    def _note(self, t_ms: SimTime, kind: str, subject: str, **data: Any) -> None:
        self._journal.append(JournalEntry(t_ms, "grid", kind, subject, data))

    def _note_supply(self, state: GridState, now: SimTime) -> None:
        if state.customers_interrupted != self._interrupted:
            self._interrupted = state.customers_interrupted
            dead = int((~state.flow.energised).sum())
            self._note(now, "supply", self._network.name, customers_interrupted=self._interrupted, dead_nodes=dead)

    def _note_overloads(self, flow: PowerFlowResult, now: SimTime) -> None:
        names, before = self._network.branch_names, self._overloaded
        begun, ended = (flow.loading > OVERLOAD) & ~before, before & (flow.loading < OVERLOAD_RESET)
        for row in np.flatnonzero(begun).tolist():
            self._note(now, "overload", names[row], loading=round(float(flow.loading[row]), 4))
        for row in np.flatnonzero(ended).tolist():
            self._note(now, "overload_ended", names[row])
        self._overloaded = (before | begun) & ~ended

    def snapshot(self) -> bytes:
        state = {
            "faults": self._faults.snapshot(),
            "interrupted": self._interrupted,
            "overloaded": [self._network.branch_names[row] for row in np.flatnonzero(self._overloaded).tolist()],
            "generation": None if self._generation is None else self._generation.snapshot(),
        }
        return json.dumps(state).encode()

    def restore(self, state: bytes) -> None:
        saved = json.loads(state)
        self._faults.restore(saved["faults"])
        self._interrupted = saved["interrupted"]
        self._overloaded = np.isin(self._network.branch_names, saved["overloaded"])
        if self._generation is not None:
            self._generation.restore(saved["generation"])


@dataclass(frozen=True)
class _Supply:
    """Which consumers are supplied while ``energised`` is that of the power flow."""

    energised: Bools
    supplied: Bools
    customers_interrupted: int

    @classmethod
    def of(cls, network: Network, energised: Bools) -> _Supply:
        supplied = energised[network.consumers.node]
        return cls(energised, supplied, int(network.consumers.customers[~supplied].sum()))


def _equal(new: Any, known: Any) -> bool:
    """True if an input is what it was; what stays is mostly handed over as the same object."""
    return new is known or np.array_equal(new, known)


def _regulated(generation_kvar: Floats, regulation: Mapping[str, Sequence[float]]) -> tuple[Floats, Ints, Ints]:
    """The reactive powers, tap positions and capacitor steps that the field devices set."""
    generation_kvar = generation_kvar.copy()
    generation_kvar[np.array(regulation["units"], dtype=np.intp)] = regulation["q_kvar"]
    taps, steps = (np.array(regulation[name], dtype=np.int32) for name in ("tap_position", "shunt_steps"))
    return generation_kvar, taps, steps
