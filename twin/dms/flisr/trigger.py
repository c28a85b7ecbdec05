"""When fault location is to start: a feeder head has tripped and will not close again by itself.

Stays quiet while the auto-recloser works and when it succeeds. Waits until nothing relevant has changed for a
while, so that late fault indications are in. Not for what is done then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from twin.timebase import NEVER, SimTime


class TriggerState(Enum):
    """Where one feeder head stands."""

    QUIET = "quiet"
    RECLOSING = "reclosing"
    SETTLING = "settling"
    STARTED = "started"


@dataclass(frozen=True, slots=True)
class HeadSigns:
    """What is telemetered of a feeder head: protection trip, known to be open, auto-reclose at work, given up."""

    tripped: bool = False
    is_open: bool = False
    reclose_active: bool = False
    lockout: bool = False

    @property
    def lost(self) -> bool:
        """Open after a trip (a lockout alone says as much)."""
        return self.is_open and (self.tripped or self.lockout)

    @property
    def given_up(self) -> bool:
        """Nothing will close it again by itself."""
        return self.lockout or not self.reclose_active


@dataclass(slots=True)
class _Head:
    signs: HeadSigns = field(default_factory=HeadSigns)
    state: TriggerState = TriggerState.QUIET
    changed_t_ms: SimTime = 0


class FlisrTrigger:
    """Says once per fault and feeder head that FLISR is to start; time is an argument throughout."""

    def __init__(self, settle_ms: int) -> None:
        self._settle_ms = settle_ms
        self._heads: dict[str, _Head] = {}

    def observe(self, head: str, signs: HeadSigns, now: SimTime) -> None:
        """Take note of a feeder head's signs; an unchanged repetition changes nothing."""
        known = self._heads.setdefault(head, _Head())
        if signs == known.signs:
            return
        known.signs = signs
        known.changed_t_ms = now
        known.state = _next_state(known.state, signs)

    def note_evidence(self, head: str, now: SimTime) -> None:
        """A fault indication or switch position of the feeder changed: wait for more to follow."""
        known = self._heads.setdefault(head, _Head())
        known.changed_t_ms = max(known.changed_t_ms, now)

    def state(self, head: str) -> TriggerState:
        """Where ``head`` stands."""
        return self._heads[head].state if head in self._heads else TriggerState.QUIET

    def due(self, now: SimTime) -> tuple[str, ...]:
        """The feeder heads that FLISR starts for now, each named once until it has closed again."""
        started = [name for name, head in sorted(self._heads.items()) if self._due_at(head) <= now]
        for name in started:
            self._heads[name].state = TriggerState.STARTED
        return tuple(started)

    def next_due(self) -> SimTime:
        """When :meth:`due` has to be asked next; ``NEVER`` if only telemetry can change that."""
        return min((self._due_at(head) for head in self._heads.values()), default=NEVER)

    def _due_at(self, head: _Head) -> SimTime:
        return head.changed_t_ms + self._settle_ms if head.state is TriggerState.SETTLING else NEVER

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data."""
        return {
            name: {"signs": asdict(head.signs), "state": head.state.value, "changed_t_ms": head.changed_t_ms}
            for name, head in self._heads.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        self._heads = {
            name: _Head(HeadSigns(**row["signs"]), TriggerState(row["state"]), row["changed_t_ms"])
            for name, row in state.items()
        }


def _next_state(state: TriggerState, signs: HeadSigns) -> TriggerState:
    if not signs.lost:
        return TriggerState.QUIET
    if state is TriggerState.STARTED:
        return TriggerState.STARTED
    return TriggerState.SETTLING if signs.given_up else TriggerState.RECLOSING
