"""Events of a station on their way out: bounded, in order, the oldest dropped and counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from twin.protocols.iec104 import Asdu, Cause, InformationObject, decode_asdu, encode_asdu, in_order


@dataclass(frozen=True, slots=True)
class StationEvent:
    """One spontaneous object; ``batch`` numbers the update it came with."""

    batch: int
    type_id: int
    common_address: int
    object: InformationObject


def events_of(batch: int, asdu: Asdu) -> list[StationEvent]:
    """The events an ASDU was made of."""
    return [StationEvent(batch, asdu.type_id, asdu.common_address, o) for o in asdu.objects]


class EventQueue:
    """At most ``limit`` events, oldest first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.dropped = 0
        self._events: deque[StationEvent] = deque()

    def __len__(self) -> int:
        return len(self._events)

    def extend(self, events: Iterable[StationEvent]) -> None:
        """Append events; the oldest make room."""
        self._events.extend(events)
        while len(self._events) > self.limit:
            self._events.popleft()
            self.dropped += 1

    def put_back(self, events: Iterable[StationEvent]) -> None:
        """Events that did not reach their master come first again, in the order they were made."""
        merged = sorted((*events, *self._events), key=lambda event: event.batch)
        self._events = deque()
        self.extend(merged)

    def take_all(self) -> list[StationEvent]:
        """Every event, leaving none."""
        events = list(self._events)
        self._events.clear()
        return events

    def take_batch(self) -> tuple[int, list[Asdu]]:
        """The oldest batch as spontaneous ASDUs, one run of them for each type, and its number."""
        batch = self._events[0].batch
        groups: dict[tuple[int, int], list[InformationObject]] = {}
        while self._events and self._events[0].batch == batch:
            event = self._events.popleft()
            groups.setdefault((event.type_id, event.common_address), []).append(event.object)
        asdus: list[Asdu] = []
        for (type_id, common_address), objects in groups.items():
            asdus += in_order(Asdu(type_id, Cause.SPONTANEOUS, common_address), objects)
        return batch, asdus

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able values; each event as an ASDU of its own."""
        rows = [
            [e.batch, encode_asdu(Asdu(e.type_id, Cause.SPONTANEOUS, e.common_address, (e.object,))).hex()]
            for e in self._events
        ]
        return {"dropped": self.dropped, "events": rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`snapshot`."""
        self.dropped = state["dropped"]
        self._events = deque(
            event for batch, asdu in state["events"] for event in events_of(batch, decode_asdu(bytes.fromhex(asdu)))
        )
