"""Tags on switches: who forbids which operation of a switch, and why.

For the safety rules of the command path and for display. Not for permits and sanctions, whose
life cycle belongs to switching management; it places and removes tags here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from twin.errors import TwinError
from twin.journal import JournalEntry
from twin.timebase import SimTime

Record = Callable[[JournalEntry], None]
"""Takes journal entries in the order in which things happen."""


class SwitchAction(Enum):
    """What a command does to a switch."""

    OPEN = "open"
    CLOSE = "close"


class TagKind(Enum):
    """Hold-off: live-line work, the circuit must not be energised again after a trip. Caution notice: a point of
    isolation, not to be touched. Do not operate: out of use for any other reason."""

    HOLD_OFF = "hold-off"
    CAUTION_NOTICE = "caution notice"
    DO_NOT_OPERATE = "do not operate"


BLOCKED_ACTIONS: Mapping[TagKind, tuple[SwitchAction, ...]] = {
    TagKind.HOLD_OFF: (SwitchAction.CLOSE,),
    TagKind.CAUTION_NOTICE: (SwitchAction.OPEN, SwitchAction.CLOSE),
    TagKind.DO_NOT_OPERATE: (SwitchAction.OPEN, SwitchAction.CLOSE),
}
"""Which operations each kind of tag forbids."""


class UnknownTagError(TwinError):
    """A tag is to be removed that hangs nowhere."""

    def __init__(self, tag_id: int) -> None:
        self.tag_id = tag_id
        super().__init__(f"there is no tag number {tag_id}")


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag on one switch."""

    tag_id: int
    switch: str
    kind: TagKind
    placed_by: str
    reason: str
    t_ms: SimTime


class TagBoard:
    """All tags in place; a switch may bear several."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._tags: dict[int, Tag] = {}
        self._last_id = 0

    def place(self, switch: str, kind: TagKind, who: str, why: str, now: SimTime) -> int:
        """Hang a tag on ``switch``; returns its number."""
        self._last_id += 1
        tag = Tag(self._last_id, switch, kind, who, why, now)
        self._tags[tag.tag_id] = tag
        self._journal(tag, "placed", who, why, now)
        return tag.tag_id

    def remove(self, tag_id: int, who: str, why: str, now: SimTime) -> Tag:
        """Take a tag off.

        Raises:
            UnknownTagError: it is not in place.
        """
        if tag_id not in self._tags:
            raise UnknownTagError(tag_id)
        tag = self._tags.pop(tag_id)
        self._journal(tag, "removed", who, why, now)
        return tag

    def on(self, switch: str) -> tuple[Tag, ...]:
        """The tags on a switch, oldest first."""
        return tuple(tag for tag in self._tags.values() if tag.switch == switch)

    @property
    def tags(self) -> tuple[Tag, ...]:
        """All tags, oldest first."""
        return tuple(self._tags.values())

    def blocking(self, switch: str, action: SwitchAction | None) -> Tag | None:
        """The first tag that forbids ``action``; None as action, a step or set point, is forbidden with every other."""
        needed = set(SwitchAction) if action is None else {action}
        return next((tag for tag in self.on(switch) if needed <= set(BLOCKED_ACTIONS[tag.kind])), None)

    def _journal(self, tag: Tag, action: str, who: str, why: str, now: SimTime) -> None:
        data = {"tag_id": tag.tag_id, "action": action, "tag": tag.kind.value, "by": who, "reason": why}
        self._record(JournalEntry(now, "control_room", "tag", tag.switch, data))

    def snapshot(self) -> dict[str, Any]:
        """All tags, as JSON can carry them."""
        rows = [asdict(tag) | {"kind": tag.kind.value} for tag in self._tags.values()]
        return {"last_id": self._last_id, "tags": rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Return to a snapshot; nothing is journalled."""
        self._last_id = state["last_id"]
        tags = [Tag(**(row | {"kind": TagKind(row["kind"])})) for row in state["tags"]]
        self._tags = {tag.tag_id: tag for tag in tags}
