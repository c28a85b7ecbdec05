"""The director lets the events of a scenario happen: at their times, or when their condition holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulators.actions import Action
from simulators.cycle import CycleSimulator, RunContext
from twin.journal import JournalEntry
from twin.timebase import NEVER, SimTime

Condition = Callable[[Any], bool]


@dataclass(frozen=True)
class PlannedEvent:
    """One event of the scenario: at ``at_ms``, or ``after_ms`` after ``condition`` first holds.

    ``subject`` is the equipment, station or person it happens to, for the journal.
    """

    event_id: str
    kind: str
    subject: str
    at_ms: SimTime = NEVER
    condition: Condition | None = None
    after_ms: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)
    journal: Mapping[str, Any] = field(default_factory=dict)


class DirectorSimulator(CycleSimulator):
    """Second in every cycle: everybody after it sees what happens at once."""

    INPUTS = ("plant_state",)
    OUTPUTS = ("actions", "director_wanted", "director_changed", "director_journal")

    def __init__(self, context: RunContext, *, events: Sequence[PlannedEvent]) -> None:
        super().__init__(context)
        self._events = list(events)
        self._due: dict[int, SimTime] = {i: e.at_ms for i, e in enumerate(events) if e.condition is None}
        self._watched = [i for i, e in enumerate(events) if e.condition is not None]

    def cycle(self, now: SimTime, received: dict[str, Any]) -> dict[str, Any]:
        if state := received.get("plant_state"):  # there is none before the first cycle
            self._watch(state, now)
        happening = sorted((at, i) for i, at in self._due.items() if at <= now)
        for _, i in happening:
            del self._due[i]
        actions = [self._action(i, now) for _, i in happening]
        return {
            "actions": actions,
            "director_wanted": min(self._due.values(), default=NEVER),
            "director_changed": bool(actions),
            "director_journal": [self._entry(i, now) for _, i in happening],
        }

    def _watch(self, state: Any, now: SimTime) -> None:
        """Put the events whose condition has come true onto the timetable."""
        for i in list(self._watched):
            condition = self._events[i].condition
            if condition is not None and condition(state):
                self._watched.remove(i)
                self._due[i] = now + self._events[i].after_ms

    def _action(self, i: int, now: SimTime) -> Action:
        event = self._events[i]
        return Action(event.kind, now, event.event_id, event.data)

    def _entry(self, i: int, now: SimTime) -> JournalEntry:
        event = self._events[i]
        data = {"id": event.event_id, **event.journal}
        return JournalEntry(now, "director", event.kind.replace(" ", "_"), event.subject, data)

    def snapshot(self) -> bytes:
        due = [[i, at] for i, at in sorted(self._due.items())]
        return json.dumps({"due": due, "watched": self._watched}).encode()

    def restore(self, state: bytes) -> None:
        saved = json.loads(state)
        self._due = dict(saved["due"])
        self._watched = saved["watched"]
