"""The mosaik simulator of the grid: demand and switch positions in, what instruments would see out.

Power flow and short circuit come from ``twin.solvers``. While a fault is fed, currents of the fault are given
apart from the load currents, and voltages are those of the power flow times what the fault leaves of them
(loads are neglected in the fault's own calculation, as IEC 60909 does).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulators.actions import Action
from simulators.cycle import CycleSimulator, RunContext
from simulators.field.bank import GridMeasurement
from simulators.grid.faults import FaultOnDeadLineError, Faults, PlantFault
from twin.journal import JournalEntry
from twin.network.model import Bools, Floats, Network
from twin.network.topology import Topology
from twin.solvers import PowerFlowResult, ShortCircuitResult, power_flow, short_circuit
from twin.timebase import SimTime

VOLTAGE_FACTOR = 1.1  # IEC 60909-0 table 1, maximum short-circuit current above 1 kV
OVERLOAD = 1.0
OVERLOAD_RESET = 0.98
BY_HAND = ("command", "local", "scenario")


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


class GridSimulator(CycleSimulator):
    """Solves the plant's network each cycle in which something changed."""

    INPUTS = ("p_kw", "q_kvar", "generation_kw", "generation_kvar", "closed", "closings", "actions")
    OUTPUTS = ("measurement", "grid_state", "grid_wanted", "grid_journal")

    def __init__(self, context: RunContext, *, network: Network) -> None:
        super().__init__(context)
        self._network = network
        self._flow = power_flow(network)
        self._short_circuit = short_circuit(network)
        self._topology = Topology(network)
        self._faults = Faults()
        self._closed = network.switches.normally_closed.copy()
        self._inputs: tuple[Any, ...] = ()
        self._result: PowerFlowResult | None = None
        self._fed_key: tuple[tuple[str, ...], bytes] = ((), b"")
        self._fed: list[tuple[PlantFault, ShortCircuitResult]] = []
        self._loops = 0
        self._interrupted = 0
        self._overloaded: dict[str, None] = {}
        self._place = _SwitchPlaces(network)
        self._journal: list[JournalEntry] = []

    def cycle(self, now: SimTime, received: dict[str, Any]) -> dict[str, Any]:
        self._closed = received["closed"]
        for action in received.get("actions", ()):
            self._act(action, now)
        flow = self._solve(received)
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
            "grid_wanted": self._faults.next_extinguishing(),
            "grid_journal": journal,
        }

    def _act(self, action: Action, now: SimTime) -> None:
        if action.kind == "fault":
            self._faults.apply(action.event_id, action.data)
        elif action.kind == "clear fault" and (fault := self._faults.clear(action.data["id"])):
            self._note(now, "fault_cleared", fault.line, id=fault.event_id, by="repair")

    def _solve(self, received: dict[str, Any]) -> PowerFlowResult:
        names = ("p_kw", "q_kvar", "generation_kw", "generation_kvar", "closed")
        inputs = tuple(received[name] for name in names)
        if self._result is not None and all(map(np.array_equal, inputs, self._inputs)):
            return self._result
        with self.context.stopwatch.watch("solver"):
            self._flow.update(**dict(zip(names, inputs, strict=True)))
            self._result = self._flow.solve()
        if not self._inputs or not np.array_equal(inputs[-1], self._inputs[-1]):
            self._loops = int(self._topology.state(self._closed).loop_edges.size)
        self._inputs = inputs
        return self._result

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
            live = self._live(fault.line, flow)
            if not live and not fault.seen_live:
                raise FaultOnDeadLineError(fault.event_id, fault.line, now)
            fault.seen_live = True
            if live:
                fault.dead_since_ms = -1
            elif fault.dead_since_ms < 0:
                fault.dead_since_ms = now

    def _fault_currents(self) -> list[tuple[PlantFault, ShortCircuitResult]]:
        """The faults that are fed, with their currents; calculated when faults or switches have changed."""
        key = (tuple(fault.event_id for fault in self._faults), self._closed.tobytes())
        if key != self._fed_key:
            with self.context.stopwatch.watch("solver"):
                results = [(fault, self._short_circuit_of(fault, self._closed)) for fault in self._faults]
            self._fed = [(fault, result) for fault, result in results if result.energised]
            self._fed_key = key
        return self._fed

    def _short_circuit_of(self, fault: PlantFault, closed: Bools) -> ShortCircuitResult:
        return self._short_circuit.solve(fault.point(self._network), closed)

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
        retained = np.ones(self._network.nodes.n)
        for result in faults:
            retained = np.minimum(retained, result.v_pu / VOLTAGE_FACTOR)
        v_pu = flow.v_pu * retained
        dead = ~flow.energised[self._network.consumers.node]
        return GridState(
            closed=self._closed,
            flow=flow,
            measurement=self._place.measure(self._closed, flow, v_pu, faults),
            v_pu=v_pu,
            supplied=~dead,
            customers_interrupted=int(self._network.consumers.customers[dead].sum()),
            loops=self._loops,
            closed_onto_fault=onto_fault,
            faulted=tuple(fault.line for fault in self._faults),
        )

    def _note(self, t_ms: SimTime, kind: str, subject: str, **data: Any) -> None:
        self._journal.append(JournalEntry(t_ms, "grid", kind, subject, data))

    def _note_supply(self, state: GridState, now: SimTime) -> None:
        if state.customers_interrupted != self._interrupted:
            self._interrupted = state.customers_interrupted
            dead = int((~state.flow.energised).sum())
            self._note(now, "supply", self._network.name, customers_interrupted=self._interrupted, dead_nodes=dead)

    def _note_overloads(self, flow: PowerFlowResult, now: SimTime) -> None:
        names = self._network.branch_names
        for row in np.flatnonzero(flow.loading > OVERLOAD):
            if names[row] not in self._overloaded:
                self._overloaded[names[row]] = None
                self._note(now, "overload", names[row], loading=round(float(flow.loading[row]), 4))
        for name in [n for n in self._overloaded if flow.loading[names.index(n)] < OVERLOAD_RESET]:
            del self._overloaded[name]
            self._note(now, "overload_ended", name)

    def snapshot(self) -> bytes:
        state = {
            "faults": self._faults.snapshot(),
            "interrupted": self._interrupted,
            "overloaded": list(self._overloaded),
        }
        return json.dumps(state).encode()

    def restore(self, state: bytes) -> None:
        saved = json.loads(state)
        self._faults.restore(saved["faults"])
        self._interrupted = saved["interrupted"]
        self._overloaded = dict.fromkeys(saved["overloaded"])


class _SwitchPlaces:
    """Picks what an instrument at each switch sees out of the results per branch end and node."""

    def __init__(self, network: Network) -> None:
        switches = network.switches
        self._network = network
        self._at_branch = switches.branch >= 0
        self._branch = np.where(self._at_branch, switches.branch, 0)
        self._side = np.where(self._at_branch, switches.side, 0)
        self._nominal_kv = network.nodes.v_nominal_kv

    def _pick(self, closed: Bools, at_from: Floats, at_to: Floats) -> Floats:
        ends = np.stack([at_from, at_to])
        seen = np.asarray(ends[self._side, self._branch])
        return np.where(closed & self._at_branch, seen, 0.0)

    def measure(
        self, closed: Bools, flow: PowerFlowResult, v_pu: Floats, faults: list[ShortCircuitResult]
    ) -> GridMeasurement:
        """What current, voltage and fault-current transformers show."""
        i_fault_a = np.zeros(len(closed))
        into = np.zeros(len(closed), dtype=np.bool_)
        for result in faults:
            current = self._pick(closed, result.i_from_a, result.i_to_a)
            towards = np.stack([result.into_from, result.into_to])[self._side, self._branch]
            larger = current > i_fault_a
            i_fault_a = np.where(larger, current, i_fault_a)
            into = np.where(larger, towards, into)
        return GridMeasurement(
            v_kv=v_pu * self._nominal_kv,
            energised=flow.energised,
            i_a=self._pick(closed, flow.i_from_a, flow.i_to_a),
            p_kw=self._pick(closed, flow.p_from_kw, flow.p_to_kw),
            q_kvar=self._pick(closed, flow.q_from_kvar, flow.q_to_kvar),
            i_fault_a=i_fault_a,
            fault_into_branch=into,
        )
