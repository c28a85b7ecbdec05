"""Answers of a DNP3 outstation that do not fit one fragment: what each fragment holds, and the events in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from twin.outstations.dnp3_events import Choose, Event, EventBuffer, own_variation, write_events
from twin.protocols.dnp3.application import Iin
from twin.protocols.dnp3.headers import ObjectHeader
from twin.protocols.dnp3.objects import SPECS, STATIC_OF_EVENT

HEADER_OCTETS = 4
EVENT_CLASSES = {2: 1, 3: 2, 4: 3}
"""The event class of each variation of g60."""


@dataclass
class Part:
    """The objects of one fragment, and the events that it brings."""

    body: bytes = b""
    events: list[Event] = field(default_factory=list)


class ResponseWriter:
    """Fills fragments of at most ``max_fragment`` octets, one after the other."""

    def __init__(self, max_fragment: int) -> None:
        self.parts = [Part()]
        self._room = max_fragment - HEADER_OCTETS

    def blocks(self, blocks: Iterable[bytes]) -> None:
        """Append static objects; each block stays whole."""
        for block in blocks:
            if len(self.parts[-1].body) + len(block) > self._room:
                self.parts.append(Part())
            self.parts[-1].body += block

    def events(
        self, buffer: EventBuffer, wanted: Callable[[Event], bool], choose: Choose = own_variation, most: int = -1
    ) -> None:
        """Append the waiting events that are wanted, at most ``most`` of them; they count as selected."""
        left = [event for event in buffer.waiting() if wanted(event)]
        left = left if most < 0 else left[:most]
        while left:
            part = self.parts[-1]
            octets, taken = write_events(left, self._room - len(part.body), choose)
            if not taken:
                self.parts.append(Part())
                continue
            part.body += octets
            part.events += taken
            buffer.select(taken)
            left = left[len(taken) :]


def read_events(writer: ResponseWriter, buffer: EventBuffer, headers: list[ObjectHeader]) -> Iin:
    """Answer successive headers that name events: whole classes together and in order of time, the rest one by one."""
    classes = {EVENT_CLASSES[h.variation] for h in headers if h.group == 60 and h.count < 0}
    if classes:
        writer.events(buffer, lambda event: event.event_class in classes)
    iin = Iin.NONE
    for header in headers:
        if header.group == 60 and header.count < 0:
            continue
        iin |= _read_some(writer, buffer, header)
    return iin


def _read_some(writer: ResponseWriter, buffer: EventBuffer, header: ObjectHeader) -> Iin:
    if header.group == 60:
        event_class = EVENT_CLASSES[header.variation]
        writer.events(buffer, lambda event: event.event_class == event_class, most=header.count)
        return Iin.NONE
    variation = header.variation
    if variation and (header.group, variation) not in SPECS:
        return Iin.OBJECT_UNKNOWN
    choose: Choose = (lambda event: variation) if variation else own_variation
    writer.events(buffer, lambda event: event.group == header.group, choose, header.count)
    return Iin.NONE


def names_events(header: ObjectHeader) -> bool:
    """Whether a header of a read names events, whole groups or classes of them."""
    if header.count >= 0 and header.indexes:
        return False
    return header.group in STATIC_OF_EVENT or (header.group == 60 and header.variation in EVENT_CLASSES)
