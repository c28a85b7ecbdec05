"""Events of a station on their way out: bounded, in order, the oldest dropped and counted.

An event keeps the octets it will have on the wire, so that several masters and a take-back cost nothing more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

from twin.protocols.iec104 import capacity

CONGESTED = 100
"""With more events waiting than this, ASDUs are filled over the bounds of one update."""
MERGED = 400


class StationEvent(NamedTuple):
    """One spontaneous object; ``batch`` numbers the update it came with, ``octets`` holds address, element and tag."""

    batch: int
    type_id: int
    cause: int
    common_address: int
    octets: bytes


Packed = tuple[tuple[StationEvent, ...], bytes]
"""The events of one ASDU, and the ASDU."""


def _asdus(type_id: int, cause: int, common_address: int, events: list[StationEvent]) -> list[Packed]:
    most = _CAPACITY.get(type_id) or _CAPACITY.setdefault(type_id, capacity(type_id, sequence=False))
    tail = bytes((cause, 0)) + common_address.to_bytes(2, "little")
    packed: list[Packed] = []
    for first in range(0, len(events), most):
        some = tuple(islice(events, first, first + most))
        packed.append((some, bytes((type_id, len(some))) + tail + b"".join([event.octets for event in some])))
    return packed


_CAPACITY: dict[int, int] = {}


class EventQueue:
    """At most ``limit`` events, oldest first. ``gap``: some were dropped from before the first one, and nobody told."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.dropped = 0
        self.gap = False
        self._events: deque[StationEvent] = deque()

    def __len__(self) -> int:
        return len(self._events)

    def extend(self, events: Iterable[StationEvent]) -> None:
        """Append events; the oldest make room."""
        self._events.extend(events)
        while len(self._events) > self.limit:
            self._events.popleft()
            self.dropped += 1
            self.gap = True

    def put_back(self, events: Iterable[StationEvent]) -> None:
        """Events that did not reach their master come first again, in the order they were made; each once."""
        back = list(events)
        known = set(back)
        merged = sorted((*back, *(e for e in self._events if e not in known)), key=lambda event: event.batch)
        self._events = deque()
        self.extend(merged)

    def mark_gap(self, indication: StationEvent) -> Packed:
        """The ASDU that tells of the gap; sent before the first event, it stays before it when both are put back."""
        self.gap = False
        first = self._events[0].batch if self._events else indication.batch
        event = indication._replace(batch=first)
        return _asdus(*event[1:4], [event])[0]

    def take_all(self) -> list[StationEvent]:
        """Every event, leaving none."""
        events = list(self._events)
        self._events.clear()
        return events

    def take(self) -> list[Packed]:
        """The oldest update as spontaneous ASDUs, one run of them for each type; several updates if many wait."""
        groups: dict[tuple[int, int, int], list[StationEvent]] = {}
        for event in self._oldest():
            groups.setdefault(event[1:4], []).append(event)
        return [packed for key, events in groups.items() for packed in _asdus(*key, events)]

    def _oldest(self) -> list[StationEvent]:
        waiting = self._events
        most = MERGED if len(waiting) > CONGESTED else 0
        taken: list[StationEvent] = []
        while waiting and (len(taken) < most or not taken or waiting[0].batch == taken[-1].batch):
            taken.append(waiting.popleft())
        return taken

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able values."""
        return {"dropped": self.dropped, "gap": self.gap, "events": rows_of(self._events)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`snapshot`."""
        self.dropped, self.gap = state["dropped"], state["gap"]
        self._events = deque(events_in(state["events"]))


def rows_of(events: Iterable[StationEvent]) -> list[list[Any]]:
    """Events as JSON-able rows."""
    return [[*event[:4], event.octets.hex()] for event in events]


def events_in(rows: Iterable[list[Any]]) -> list[StationEvent]:
    """The inverse of :func:`rows_of`."""
    return [StationEvent(batch, t, cause, ca, bytes.fromhex(octets)) for batch, t, cause, ca, octets in rows]
