"""Last in every cycle: assembles the state, judges the expectations, writes the journal and the samples.

It also hands the state back to the director and takes snapshots, because when it runs all others are done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulators.cycle import CycleSimulator, RunContext
from simulators.grid.simulator import GridState
from twin.historian import JournalFile, SampleFile
from twin.journal import JournalEntry
from twin.network.model import Network
from twin.scenario import PlantState, Quantity
from twin.scenario.expectations import ExpectationMonitor, Verdict
from twin.timebase import SimTime

JOURNALS = ("director_journal", "grid_journal", "field_journal", "control_room_journal")
RANK = {name: rank for rank, name in enumerate(("director", "grid", "field", "session", "control_room"))}


@dataclass(frozen=True)
class ControlRoomState:
    """What scenarios may ask of the control room."""

    position: Any
    alarms_active: int = 0
    plans_made: int = 0
    plans_done: int = 0
    plans_rejected: int = 0
    calculated: Any = field(default_factory=lambda: np.zeros(0))


@dataclass
class Pictures:
    """States of the grid for the report: before the first event, at the worst, after the run."""

    states: dict[str, tuple[SimTime, GridState]] = field(default_factory=dict)
    last: tuple[SimTime, GridState] | None = None
    disturbed: bool = False

    def look(self, state: GridState, now: SimTime, disturbed: bool) -> None:
        """Keep the state where it belongs."""
        self.disturbed = self.disturbed or disturbed
        if not self.disturbed:
            self.states["before"] = (now, state)
        worst = self.states.get("fault")
        if state.customers_interrupted and (
            worst is None or state.customers_interrupted > worst[1].customers_interrupted
        ):
            self.states["fault"] = (now, state)
        self.last = (now, state)

    def in_order(self) -> dict[str, tuple[SimTime, GridState]]:
        """The pictures by their label, in the order of time."""
        kept = {name: picture for name, picture in self.states.items() if self.disturbed or name != "before"}
        return {**kept, **({"after": self.last} if self.last else {})}


class RecorderSimulator(CycleSimulator):
    """Writes what the run leaves behind."""

    INPUTS = ("grid_state", "control_room_state", *JOURNALS)
    OUTPUTS = ("plant_state", "recorded")
    PART = "recording"

    def __init__(
        self,
        context: RunContext,
        *,
        network: Network,
        monitor: ExpectationMonitor,
        journal: JournalFile,
        samples: SampleFile,
        columns: Sequence[Quantity],
        on_cycle: Callable[[SimTime, PlantState, Sequence[JournalEntry]], None],
    ) -> None:
        super().__init__(context)
        self._network = network
        self._monitor = monitor
        self._journal = journal
        self._samples = samples
        self._columns = columns
        self._on_cycle = on_cycle
        self.pictures = Pictures()
        self.cycles = 0
        self.now: SimTime = 0
        self.after_cycle: Callable[[SimTime], None] = lambda now: None

    def run_cycle(self, time: int, received: dict[str, Any], next_ms: SimTime | None) -> SimTime:
        """One cycle; when it is done, so is everybody's."""
        following = super().run_cycle(time, received, next_ms)
        self.after_cycle(self.now)
        return following

    def cycle(self, now: SimTime, received: dict[str, Any]) -> dict[str, Any]:
        self.now = now
        self.cycles += 1
        grid: GridState = received["grid_state"]
        entries = _in_order([entry for name in JOURNALS for entry in received[name]])
        state = self._plant_state(now, grid, received["control_room_state"])
        for entry in received["director_journal"]:
            self._monitor.event_happened(entry.data["id"], entry.t_ms)
        self._monitor.observe(state, now)
        self._journal.write(entries)
        self._samples.append(now, [column.getter(state) for column in self._columns])
        self.pictures.look(grid, now, disturbed=bool(received["director_journal"]))
        self._on_cycle(now, state, entries)
        return {"plant_state": state, "recorded": now}

    def _plant_state(self, now: SimTime, grid: GridState, room: ControlRoomState) -> PlantState:
        flow, seen = grid.flow, grid.measurement
        alive = grid.v_pu if flow.energised.all() else grid.v_pu[flow.energised]
        return PlantState(
            t_ms=now,
            closed=grid.closed,
            v_pu=grid.v_pu,
            energised=flow.energised,
            switch_i_a=np.maximum(seen.i_a, seen.i_fault_a),
            switch_p_kw=seen.p_kw,
            switch_q_kvar=seen.q_kvar,
            branch_i_a=np.maximum(flow.i_from_a, flow.i_to_a),
            loading=flow.loading,
            scada_position=room.position,
            customers_interrupted=grid.customers_interrupted,
            loading_max=float(flow.loading.max(initial=0.0)),
            v_min_pu=float(alive.min()) if alive.size else float("nan"),
            v_max_pu=float(alive.max()) if alive.size else float("nan"),
            loops=grid.loops,
            closed_onto_fault=grid.closed_onto_fault,
            faults_active=len(grid.faulted),
            alarms_active=room.alarms_active,
            plans_made=room.plans_made,
            plans_done=room.plans_done,
            plans_rejected=room.plans_rejected,
            calculated=room.calculated,
            f_hz=grid.f_hz,
            frequency_min=grid.frequency_min,
        )

    def finish(self) -> list[Verdict]:
        """Judge what is left, and enter the verdicts into the journal."""
        verdicts = self._monitor.finish(self.now)
        rows = (
            JournalEntry(
                self.now,
                "expectation",
                "verdict",
                v.id,
                {"passed": v.passed, "decided_t_ms": v.t_ms, "reason": v.reason},
            )
            for v in verdicts
        )
        self._journal.write(rows)
        return verdicts

    def snapshot(self) -> bytes:
        return json.dumps({"monitor": self._monitor.snapshot(), "cycles": self.cycles}).encode()

    def restore(self, state: bytes) -> None:
        saved = json.loads(state)
        self._monitor.restore(saved["monitor"])
        self.cycles = saved["cycles"]


def _in_order(entries: list[JournalEntry]) -> list[JournalEntry]:
    """By time, then by rank of the source; Python's sort keeps the order of making among equals."""
    return sorted(entries, key=lambda entry: (entry.t_ms, RANK.get(entry.source, len(RANK))))
