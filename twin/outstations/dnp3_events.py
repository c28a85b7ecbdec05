"""Events of one master of a DNP3 outstation: bounded, in order, kept until they are confirmed.

Where there is no room the oldest is dropped, counted, and told to the master by IIN2.3 until there is room again and a
fragment that says so has been confirmed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from twin.protocols.dnp3.application import CLASS_BITS, Iin, indications
from twin.protocols.dnp3.headers import index_header
from twin.protocols.dnp3.objects import SPECS, Item, time_octets

WAITING, SELECTED, GONE = 0, 1, 2
_CTO = bytes((51, 1, 0x07, 1))
_RELATIVE_MAX = 0xFFFF
_OVERFLOW = int(Iin.OVERFLOW)
_CLASS_BITS = [(event_class, int(bit)) for event_class, bit in CLASS_BITS.items()]


class Event:
    """One change of a point; ``t_ms`` in UTC milliseconds since 1970."""

    __slots__ = ("event_class", "flags", "group", "index", "state", "t_ms", "value", "variation")

    def __init__(
        self, group: int, variation: int, index: int, value: float, flags: int, t_ms: int, event_class: int
    ) -> None:
        self.group, self.variation, self.index = group, variation, index
        self.value, self.flags, self.t_ms = value, flags, t_ms
        self.event_class = event_class
        self.state = WAITING

    def row(self) -> list[Any]:
        """As JSON-able values."""
        return [self.group, self.variation, self.index, self.value, self.flags, self.t_ms, self.event_class]


class EventBuffer:
    """At most ``limit`` events, oldest first; ``dropped`` counts those that found no room."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.dropped = 0
        self.overflown = False
        self._told = False
        self._events: deque[Event] = deque()
        self._waiting = [0, 0, 0, 0]
        self._live = 0

    def __len__(self) -> int:
        return self._live

    def add(self, event: Event) -> None:
        """Append an event; the oldest makes room."""
        self._events.append(event)
        self._waiting[event.event_class] += 1
        self._live += 1
        if self._live > self.limit:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        oldest = next(event for event in self._events if event.state != GONE)
        self._remove(oldest)
        self._purge()
        self.dropped += 1
        self.overflown, self._told = True, False

    def _remove(self, event: Event) -> None:
        if event.state == WAITING:
            self._waiting[event.event_class] -= 1
        event.state = GONE
        self._live -= 1

    def _purge(self) -> None:
        events = self._events
        while events and events[0].state == GONE:
            events.popleft()
        if len(events) > 2 * self._live + 64:
            self._events = deque(event for event in events if event.state != GONE)

    def has(self, classes: Iterable[int]) -> bool:
        """Whether an event of one of the classes waits."""
        return any(map(self._waiting.__getitem__, classes))

    def indications(self) -> Iin:
        """Which classes have events waiting, and whether some were lost; the master is told with these."""
        self._told = self.overflown
        bits = _OVERFLOW if self.overflown else 0
        for event_class, bit in _CLASS_BITS:
            if self._waiting[event_class]:
                bits |= bit
        return indications(bits)

    def waiting(self, classes: Container[int] = (1, 2, 3)) -> Iterable[Event]:
        """The events of some classes that nobody has been sent, oldest first."""
        return (event for event in self._events if event.state == WAITING and event.event_class in classes)

    def select(self, events: Iterable[Event]) -> None:
        """They are on their way in a response."""
        for event in events:
            self._waiting[event.event_class] -= 1
            event.state = SELECTED

    def confirm(self, events: Iterable[Event]) -> None:
        """The master has them."""
        for event in events:
            if event.state == SELECTED:
                event.state = GONE
                self._live -= 1
            elif event.state == WAITING:
                self._remove(event)
        self._purge()
        if self._told and self._live < self.limit:
            self.overflown = self._told = False

    def put_back(self) -> None:
        """No confirmation came: what was on its way waits again."""
        for event in self._events:
            if event.state == SELECTED:
                event.state = WAITING
                self._waiting[event.event_class] += 1

    def clear(self) -> None:
        """Forget every event."""
        self._events.clear()
        self._waiting = [0, 0, 0, 0]
        self._live = 0
        self.overflown = False

    def position(self, events: Iterable[Event]) -> list[int]:
        """The places of events in a snapshot; those that are gone have none."""
        places = {id(event): place for place, event in enumerate(self._kept())}
        return [places[id(event)] for event in events if id(event) in places]

    def at(self, places: Iterable[int]) -> list[Event]:
        """The events at places of a snapshot."""
        kept = self._kept()
        return [kept[place] for place in places]

    def _kept(self) -> list[Event]:
        return [event for event in self._events if event.state != GONE]

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able values."""
        rows = [[*event.row(), event.state] for event in self._kept()]
        return {"dropped": self.dropped, "overflown": [self.overflown, self._told], "events": rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`snapshot`."""
        self.clear()
        self.dropped, (self.overflown, self._told) = state["dropped"], state["overflown"]
        for *row, where in state["events"]:
            event = Event(*row)
            event.state = where
            self._events.append(event)
            self._live += 1
            self._waiting[event.event_class] += where == WAITING


Choose = Callable[[Event], int]


def own_variation(event: Event) -> int:
    """The default variation of the event's point."""
    return event.variation


def write_events(events: Iterable[Event], room: int, variation: Choose = own_variation) -> tuple[bytes, list[Event]]:
    """As many of the events as ``room`` octets hold, in their order, and which they are.

    Runs of one object share a header; relative times get a common time of occurrence (g51v1) before their header.
    """
    blocks: list[bytes] = []
    taken: list[Event] = []
    run: list[Item] = []
    key: tuple[int, int, int] = (0, 0, 0)
    used = size = base = 0
    relative = False
    for event in events:
        chosen = variation(event)
        width = 1 if event.index <= 0xFF else 2
        same = key == (event.group, chosen, width) and len(run) < 0xFF
        if same and relative:
            same = 0 <= event.t_ms - base <= _RELATIVE_MAX
        if not same:
            spec = SPECS[event.group, chosen]
            head = 3 + width + (10 if spec.time == "rel" else 0)
            size = spec.size + width
            if used + head + size > room:
                break
            _close(blocks, key, run)
            run = []
            key, relative = (event.group, chosen, width), spec.time == "rel"
            base = event.t_ms if relative else 0
            if relative:
                blocks.append(_CTO + time_octets(base))
            used += head
        elif used + size > room:
            break
        used += size
        run.append((event.index, event.value, event.flags, event.t_ms - base))
        taken.append(event)
    _close(blocks, key, run)
    return b"".join(blocks), taken


def _close(blocks: list[bytes], key: tuple[int, int, int], run: list[Item]) -> None:
    if run:
        group, variation, width = key
        blocks.append(index_header(group, variation, len(run), width))
        blocks.append(SPECS[group, variation].pack_indexed(run, width))
