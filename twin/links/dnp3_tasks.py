"""What a DNP3 master asks of an outstation, as data: one request at a time, each kind one row of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from twin.links.model import LinkCommand
from twin.protocols.dnp3.application import Function
from twin.protocols.dnp3.headers import all_header, count_header, range_header
from twin.protocols.dnp3.objects import time_octets


class TaskKind(Enum):
    """Why a request is sent; the value is what it is called in a sentence."""

    DISABLE = "disable unsolicited"
    INTEGRITY = "integrity poll"
    ENABLE = "enable unsolicited"
    CLEAR_RESTART = "clear restart"
    EVENTS = "event poll"
    RECORD_TIME = "record current time"
    WRITE_RECORDED = "write recorded time"
    MEASURE_DELAY = "measure delay"
    WRITE_TIME = "write time"
    SELECT = "select"
    OPERATE = "operate"
    DIRECT = "direct operate"
    REQUEST = "request"


COMMANDS = frozenset({TaskKind.SELECT, TaskKind.OPERATE, TaskKind.DIRECT})
"""Kinds that are never sent a second time."""

PRIORITY: Mapping[TaskKind, int] = {
    TaskKind.OPERATE: 0,
    TaskKind.DIRECT: 0,
    TaskKind.SELECT: 0,
    TaskKind.WRITE_RECORDED: 1,
    TaskKind.WRITE_TIME: 1,
    TaskKind.DISABLE: 2,
    TaskKind.CLEAR_RESTART: 3,
    TaskKind.REQUEST: 3,
    TaskKind.INTEGRITY: 4,
    TaskKind.ENABLE: 5,
    TaskKind.RECORD_TIME: 6,
    TaskKind.MEASURE_DELAY: 6,
    TaskKind.EVENTS: 7,
}
"""Which task goes first, where several wait."""


@dataclass(frozen=True, slots=True)
class Task:
    """One request. ``classes`` for polls and unsolicited responses, ``time_ms`` (UTC since 1970) for the clock."""

    kind: TaskKind
    function: int
    body: bytes = b""
    command: LinkCommand | None = None
    classes: tuple[int, ...] = ()

    def row(self) -> list[Any]:
        """As JSON-able values."""
        c = self.command
        command = None if c is None else [c.command_id, c.station, c.point, c.value]
        return [self.kind.value, self.function, self.body.hex(), command, list(self.classes)]

    @classmethod
    def from_row(cls, row: list[Any]) -> Task:
        """The inverse of :meth:`row`."""
        kind, function, body, command, classes = row
        order = None if command is None else LinkCommand(*command)
        return cls(TaskKind(kind), function, bytes.fromhex(body), order, tuple(classes))


def class_headers(classes: tuple[int, ...]) -> bytes:
    """The headers of event classes (g60v2 to v4), all of each."""
    return b"".join(all_header(60, event_class + 1) for event_class in classes)


def _classes(kind: TaskKind, function: Function) -> Callable[[tuple[int, ...]], Task]:
    return lambda classes: Task(kind, function, class_headers(classes), classes=classes)


disable_unsolicited = _classes(TaskKind.DISABLE, Function.DISABLE_UNSOLICITED)
enable_unsolicited = _classes(TaskKind.ENABLE, Function.ENABLE_UNSOLICITED)
event_poll = _classes(TaskKind.EVENTS, Function.READ)


def integrity_poll() -> Task:
    """All events, then all static values."""
    return Task(TaskKind.INTEGRITY, Function.READ, class_headers((1, 2, 3)) + all_header(60, 1))


def clear_restart() -> Task:
    """Write IIN1.7 to 0."""
    return Task(TaskKind.CLEAR_RESTART, Function.WRITE, range_header(80, 1, 7, 7) + b"\x00")


def record_time() -> Task:
    """The outstation notes when this arrives (LAN procedure)."""
    return Task(TaskKind.RECORD_TIME, Function.RECORD_CURRENT_TIME)


def write_recorded_time(utc_ms: int) -> Task:
    """When the request to record was sent."""
    return Task(TaskKind.WRITE_RECORDED, Function.WRITE, count_header(50, 3, 1) + time_octets(utc_ms))


def measure_delay() -> Task:
    """How long the way takes (non-LAN procedure)."""
    return Task(TaskKind.MEASURE_DELAY, Function.DELAY_MEASURE)


def write_time(utc_ms: int) -> Task:
    """The time at which this arrives."""
    return Task(TaskKind.WRITE_TIME, Function.WRITE, count_header(50, 1, 1) + time_octets(utc_ms))


class TaskQueue:
    """Tasks in the order of their priority, then of their arrival; a task of its own kind waits once."""

    def __init__(self) -> None:
        self._tasks: list[Task] = []

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: Task) -> None:
        """Let a task wait, unless the very same one waits already."""
        if task in self._tasks:
            return
        place = next((n for n, t in enumerate(self._tasks) if PRIORITY[t.kind] > PRIORITY[task.kind]), len(self._tasks))
        self._tasks.insert(place, task)

    def take(self, allowed: Callable[[Task], bool]) -> Task | None:
        """The first task that is allowed now."""
        for n, task in enumerate(self._tasks):
            if allowed(task):
                return self._tasks.pop(n)
        return None

    def drop_command(self, command_id: int) -> bool:
        """Take a command out; False if it does not wait here."""
        kept = [t for t in self._tasks if t.command is None or t.command.command_id != command_id]
        dropped = len(kept) < len(self._tasks)
        self._tasks = kept
        return dropped

    def clear(self) -> None:
        """Forget every task."""
        self._tasks.clear()

    def snapshot(self) -> list[Any]:
        """State as JSON-able values."""
        return [task.row() for task in self._tasks]

    def restore(self, rows: list[Any]) -> None:
        """The inverse of :meth:`snapshot`."""
        self._tasks = [Task.from_row(row) for row in rows]
