"""The mosaik simulator of the field: the device bank behind real protocol sessions.

Within a cycle, device events, arriving commands and session timers run in the order of their times, to the
millisecond; then the grid's new state is measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from simulators.actions import Action
from simulators.cycle import CycleSimulator, RunContext
from simulators.field.bank import FieldBank
from simulators.station_events import condition, misbehaviour
from twin.journal import JournalEntry
from twin.outstations.live import LiveStations
from twin.outstations.lockstep import LockstepStations
from twin.outstations.model import StationCommand
from twin.timebase import SimTime

Stations = LockstepStations | LiveStations


class CommandDesk:
    """Stands between the stations and the bank: gives each operation a number of its own.

    Tickets are numbered by each station for itself; the bank reports finished ones by number alone.
    """

    def __init__(self, bank: FieldBank) -> None:
        self._bank = bank
        self._last = 0
        self._owner: dict[int, tuple[str, int]] = {}

    def select(self, command: StationCommand, now: SimTime) -> str:
        """See ``twin.outstations.model.CommandHandler``."""
        return self._bank.select(self._renumbered(command), now)

    def operate(self, command: StationCommand, now: SimTime) -> str:
        """See ``twin.outstations.model.CommandHandler``."""
        numbered = self._renumbered(command)
        rule = self._bank.operate(numbered, now)
        if not rule:
            self._owner[numbered.ticket] = (command.station, command.ticket)
        return rule

    def cancel(self, command: StationCommand, now: SimTime) -> None:
        """See ``twin.outstations.model.CommandHandler``."""
        self._bank.cancel(self._renumbered(command), now)

    def owner(self, ticket: int) -> tuple[str, int] | None:
        """The station and its ticket for a finished operation."""
        return self._owner.pop(ticket, None)

    def _renumbered(self, command: StationCommand) -> StationCommand:
        self._last += 1
        return StationCommand(command.station, command.point, command.value, self._last)

    def snapshot(self) -> dict[str, Any]:
        return {"last": self._last, "owner": [[n, *owner] for n, owner in self._owner.items()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._last = state["last"]
        self._owner = {n: (station, ticket) for n, station, ticket in state["owner"]}


class FieldSimulator(CycleSimulator):
    """All stations with their devices."""

    INPUTS = ("measurement", "actions", "tokens_down")
    OUTPUTS = ("closed", "closings", "regulation", "tokens_up", "field_wanted", "field_changed", "field_journal")
    PART = "field"

    def __init__(self, context: RunContext, *, bank: FieldBank, desk: CommandDesk, stations: Stations) -> None:
        super().__init__(context)
        self._bank = bank
        self._desk = desk
        self._stations = stations
        self._closed = bank.closed
        self._regulation = bank.regulation.settings()
        self._started = False

    def cycle(self, now: SimTime, received: dict[str, Any]) -> dict[str, Any]:
        if tokens := received.get("tokens_down"):
            with self.context.stopwatch.watch("protocol"):
                self._stations.accept(tokens)
        self._advance(now)
        for action in received.get("actions", ()):
            self._act(action, now)
        self._bank.measure(received["measurement"], now)
        if not self._started:
            self._first_image(now)
        self._tell(now)
        return self._results()

    def next_due(self) -> SimTime:
        """When :meth:`serve` has something to do."""
        return min(self._bank.next_event_ms(), self._stations.next_due())

    def serve(self, now: SimTime) -> SimTime:
        """Between two cycles of a live world: do what masters ask for; when a cycle is wanted for what came of it."""
        self._advance(now)
        self._tell(now)
        return min(self._bank.next_event_ms(), self._bank.next_wanted_ms())

    def _advance(self, now: SimTime) -> None:
        while (due := min(self._bank.next_event_ms(), self._stations.next_due())) <= now:
            at = max(due, self._bank.now)
            self._bank.advance(at)
            self._tell(at)
            with self.context.stopwatch.watch("protocol"):
                self._stations.advance(at)
            self._tell(at)
        self._bank.advance(now)

    def _first_image(self, now: SimTime) -> None:
        """The stations start with what they see; nothing of it is an event."""
        self._started = True
        self._bank.take_samples()
        self._stations.update(self._bank.image(), now)

    def _tell(self, at: SimTime) -> None:
        samples, finished = self._bank.take_samples(), self._bank.take_finished()
        if not samples and not finished:
            return
        with self.context.stopwatch.watch("protocol"):
            self._stations.update(samples, at)
            for ticket, success, _ in finished:
                if owner := self._desk.owner(ticket):
                    self._stations.finished(*owner, success, at)

    def _results(self) -> dict[str, Any]:
        closed, regulation = self._bank.closed, self._bank.regulation.settings()
        switched, regulated = not np.array_equal(closed, self._closed), regulation != self._regulation
        if switched:  # while nothing changes, the grid is given the same objects
            self._closed = closed
        if regulated:
            self._regulation = regulation
        journal = self._bank.take_journal()
        self._bank.take_closings()
        return {
            "closed": self._closed,
            "closings": [_closing(entry) for entry in journal if _is_closing(entry)],
            "regulation": self._regulation,
            "tokens_up": self._stations.take_handovers(),
            "field_wanted": min(self._bank.next_event_ms(), self._bank.next_wanted_ms(), self._stations.next_wanted()),
            "field_changed": switched or regulated,
            "field_journal": [*journal, *self._stations.take_journal()],
        }

    def _act(self, action: Action, now: SimTime) -> None:
        data = action.data
        if action.kind == "comms loss":
            self._stations.cut(data["station"], now, now + data["for_ms"])
        elif action.kind == "misbehaviour":
            self._stations.misbehave(data["station"], misbehaviour(data, now), now)
        elif action.kind == "telecontrol":
            self._stations.worsen(data["station"], condition(data, now))
        elif action.kind == "half open":
            self._stations.half_open(data["station"], now)
        elif action.kind == "operate" and data["at"] == "plant":
            self._bank.force_operate(data["switch"], data["closed"])
        elif action.kind == "device fault" and "switch" in data:
            self._bank.fail(data["switch"], data["fails_to"])
        elif action.kind == "device fault" and "measurement" in data:
            self._bank.transducer_fails(data["measurement"], data["reads"])
        elif action.kind == "device fault":
            self._bank.indicator_fails(data["indicator"], data["fails"])
        elif action.kind == "local":
            self._bank.set_local(data["switch"], True)

    def finalize(self) -> None:
        """Close every connection and listener."""
        self._stations.close()

    def snapshot(self) -> bytes:
        state = {
            "bank": json.loads(self._bank.snapshot()),
            "desk": self._desk.snapshot(),
            "stations": self._stations.snapshot(),
        }
        return json.dumps(state).encode()

    def restore(self, state: bytes) -> None:
        saved = json.loads(state)
        self._bank.restore(json.dumps(saved["bank"]).encode())
        self._desk.restore(saved["desk"])
        self._stations.restore(saved["stations"])
        self._closed = self._bank.closed
        self._regulation = self._bank.regulation.settings()
        self._started = True

    def reconnect(self, ports: Mapping[str, int]) -> None:
        """After a restore: the control room has dialled again, from these ports."""
        self._stations.rewire(ports)


def _is_closing(entry: JournalEntry) -> bool:
    return entry.kind == "breaker" and entry.data["position"] == "closed"


def _closing(entry: JournalEntry) -> tuple[str, str]:
    return entry.subject, entry.data["cause"]
