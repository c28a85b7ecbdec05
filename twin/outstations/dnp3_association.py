"""What a DNP3 outstation keeps for one of its masters, and the dialogue with it (IEEE 1815, 4 and 5).

A response with events waits for its confirmation before those events are forgotten; unsolicited responses are
sent one at a time. It lives as long as the station; connections come and go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twin.outstations.dnp3_events import Event, EventBuffer, write_events
from twin.outstations.dnp3_response import HEADER_OCTETS, Part
from twin.protocols.dnp3 import (
    Fragment,
    Function,
    Iin,
    LinkEnd,
    MalformedFragmentError,
    decode_fragment,
    encode_fragment,
    parse_headers,
)
from twin.protocols.dnp3.application import NO_RESPONSE, indications
from twin.protocols.dnp3.frames import BROADCAST_CONFIRMED
from twin.timebase import NEVER, SimTime

if TYPE_CHECKING:
    from twin.outstations.dnp3 import Dnp3Outstation


URGENT_CLASSES = (1,)
LOOK_AGAIN_MS = 100
_BROADCAST = int(Iin.BROADCAST)


class Dnp3Association:
    """One master of a station."""

    def __init__(self, outstation: Dnp3Outstation, master: int) -> None:
        self.outstation = outstation
        self.master = master
        self.buffer = EventBuffer(outstation.settings.event_limit)
        self.iin = Iin.RESTART
        self.enabled: set[int] = set()
        self.classes: dict[tuple[int, int], int] = {}
        self.recorded_ms: SimTime | None = None
        self._broadcast: int | None = None
        self._link: LinkEnd | None = None
        self._last_request = b""
        self._last_response = b""
        self._deferred = b""
        self._parts: deque[Part] = deque()
        self._first = True
        self._awaiting: int | None = None
        self._on_their_way: list[Event] = []
        self._confirm_by: SimTime = NEVER
        self._null_confirmed = False
        self._unsolicited_sequence = 0
        self._unsolicited = b""
        self._retries = 0
        self._retry_at: SimTime = NEVER
        self._look_at: SimTime = NEVER
        self.is_urgent = False

    # connection

    @property
    def link(self) -> LinkEnd | None:
        """The data link it is reached over now."""
        return self._link

    def bind(self, link: LinkEnd, now: SimTime) -> None:
        """The master is reached over this connection from now on."""
        self.unbind(now)
        self._link = link
        if self.outstation.settings.unsolicited:
            self._send_null(now)

    def unbind(self, now: SimTime) -> None:
        """The connection is gone: what was on its way waits again, what was selected is given back."""
        self._link = None
        self.outstation.desk.release(self.master, now)
        self._end_response()
        self._end_unsolicited()
        self._null_confirmed = False
        self._retry_at = self._look_at = NEVER
        self._last_request = self._last_response = self._deferred = b""

    def _end_response(self) -> None:
        self._parts.clear()
        self._awaiting = None
        self._confirm_by = NEVER
        self._put_back()

    def _end_unsolicited(self) -> None:
        self._unsolicited = b""
        self._confirm_by = NEVER
        self._put_back()

    def _put_back(self) -> None:
        self._on_their_way = []
        self.buffer.put_back()

    # requests

    def receive(self, octets: bytes, now: SimTime, broadcast: int | None = None) -> None:
        """Take a fragment of this master; ``broadcast`` is the address that it was sent to if not to us alone."""
        try:
            request = decode_fragment(octets)
        except MalformedFragmentError:
            return
        if request.function == Function.CONFIRM:
            self._confirmed(request, now)
        elif request.function >= Function.RESPONSE or not (request.first and request.final):
            return
        elif broadcast is not None:
            self._broadcast = broadcast
            self._perform(request, now)
        elif self._unsolicited and request.function == Function.READ:
            self._deferred = octets  # a read waits until the unsolicited response is confirmed, or given up
        else:
            self._request(request, octets, now)

    def _request(self, request: Fragment, octets: bytes, now: SimTime) -> None:
        if octets == self._last_request and request.function != Function.READ:
            self._send(self._last_response, now)  # a repetition is answered again and not carried out again
            return
        if self._awaiting is not None:
            self._end_response()
        self._deferred = b""
        self._last_request, self._last_response = octets, b""
        parts, iin = self._perform(request, now)
        if request.function not in NO_RESPONSE:
            self._respond(parts, request.sequence, iin, now)
        self.offer(now)

    def _perform(self, request: Fragment, now: SimTime) -> tuple[list[Part], Iin]:
        service = self.outstation.services.get(request.function)
        if service is None:
            return [Part()], Iin.NO_FUNCTION
        try:
            headers = parse_headers(request.body, request.function)
        except MalformedFragmentError as error:
            return [Part()], Iin.OBJECT_UNKNOWN if error.unknown_object else Iin.PARAMETER_ERROR
        return service(self, request, headers, now)

    # responses

    def _respond(self, parts: Sequence[Part], sequence: int, iin: Iin, now: SimTime) -> None:
        self._parts = deque(parts)
        self._first = True
        self._next_part(sequence, iin, now)

    def _next_part(self, sequence: int, iin: Iin, now: SimTime) -> None:
        part = self._parts.popleft()
        final = not self._parts
        confirm = bool(part.events) or not final or self._broadcast == BROADCAST_CONFIRMED
        fragment = Fragment(
            Function.RESPONSE, sequence, part.body, self._indications() | iin, self._first, final, confirm
        )
        self._first = False
        self._on_their_way = part.events
        if confirm:
            self._awaiting = sequence
            self._confirm_by = now + self.outstation.settings.confirm_timeout_ms
        self._last_response = encode_fragment(fragment)
        self._send(self._last_response, now)
        if not confirm:
            self._broadcast = None

    def _indications(self) -> Iin:
        bits = int.__or__(self.iin, self.buffer.indications())
        bits = int.__or__(bits, self.outstation.indications)
        return indications(bits | _BROADCAST if self._broadcast is not None else bits)

    def _confirmed(self, request: Fragment, now: SimTime) -> None:
        if request.unsolicited:
            if self._unsolicited and request.sequence == self._unsolicited_sequence:
                self._unsolicited_confirmed(now)
        elif self._awaiting is not None and request.sequence == self._awaiting:
            self._response_confirmed(now)

    def _response_confirmed(self, now: SimTime) -> None:
        assert self._awaiting is not None
        sequence, self._awaiting = self._awaiting, None
        self._confirm_by = NEVER
        self._broadcast = None
        self.buffer.confirm(self._on_their_way)
        self._on_their_way = []
        if self._parts:
            self._next_part((sequence + 1) & 0x0F, Iin.NONE, now)
        self.offer(now)

    # unsolicited responses

    def offer(self, now: SimTime) -> None:
        """Send what is enabled and waits, if the line is free for it."""
        free = self._link is not None and self._awaiting is None and not self._unsolicited
        if free and self._null_confirmed and self._retry_at == NEVER and self.buffer.has(self.enabled):
            self._send_events(now)
        self._look_at = now + LOOK_AGAIN_MS if self._holds_back else NEVER

    @property
    def _holds_back(self) -> bool:
        """Whether events of class 1 wait for a confirmation of something else."""
        pending = self._awaiting is not None or bool(self._unsolicited)
        return pending and self._link is not None and 1 in self.enabled and self.buffer.has(URGENT_CLASSES)

    def next_urgent(self) -> SimTime:
        """When to look again for the confirmation that events of class 1 wait for."""
        return self._look_at

    def _send_null(self, now: SimTime) -> None:
        self._begin_unsolicited(b"", now)

    def _send_events(self, now: SimTime) -> None:
        wanted = self.buffer.waiting(self.enabled)
        body, events = write_events(wanted, self.outstation.settings.link.max_fragment - HEADER_OCTETS)
        self.buffer.select(events)
        self._on_their_way = events
        self.is_urgent = any(event.event_class in URGENT_CLASSES for event in events)
        self._begin_unsolicited(body, now)

    def _begin_unsolicited(self, body: bytes, now: SimTime) -> None:
        self._retries, self._retry_at = 0, NEVER
        fragment = Fragment(
            Function.UNSOLICITED,
            self._unsolicited_sequence,
            body,
            self._indications(),
            confirm=True,
            unsolicited=True,
        )
        self._unsolicited = encode_fragment(fragment)
        self._confirm_by = now + self.outstation.settings.confirm_timeout_ms
        self._send(self._unsolicited, now)

    def _unsolicited_confirmed(self, now: SimTime) -> None:
        self.buffer.confirm(self._on_their_way)
        self._on_their_way = []
        self._null_confirmed = True
        self._finish_unsolicited(now)

    def _finish_unsolicited(self, now: SimTime) -> None:
        self._unsolicited = b""
        self._confirm_by = NEVER
        self._unsolicited_sequence = (self._unsolicited_sequence + 1) & 0x0F
        deferred, self._deferred = self._deferred, b""
        if deferred:
            self._request(decode_fragment(deferred), deferred, now)
        self.offer(now)

    # time

    def tick(self, now: SimTime) -> None:
        """Run the timers due by ``now``."""
        self.outstation.desk.expire(now)
        if self._link is not None:
            self._link.tick(now)
        if self._look_at <= now:
            self._look_at = now + LOOK_AGAIN_MS if self._holds_back else NEVER
        if self._confirm_by <= now:
            self._not_confirmed(now)
        if self._retry_at <= now:
            self._retry_at = NEVER
            if self._null_confirmed:
                self.offer(now)
            else:
                self._send_null(now)

    def _not_confirmed(self, now: SimTime) -> None:
        if self._awaiting is not None:
            self._end_response()
            self.offer(now)
            return
        settings = self.outstation.settings
        if self._retries < settings.unsolicited_retries and not self._deferred:
            self._retries += 1
            self._confirm_by = now + settings.confirm_timeout_ms
            self._send(self._unsolicited, now)
            return
        self._retry_at = now + settings.unsolicited_retry_ms
        self._end_unsolicited()
        self._finish_unsolicited(now)

    def next_timer(self) -> SimTime:
        """When :meth:`tick` is needed next."""
        if self._link is None:
            return NEVER
        timers = (self._confirm_by, self._retry_at, self._look_at, self._link.next_timer())
        return min(*timers, self.outstation.desk.next_deadline(self.master))

    def _send(self, octets: bytes, now: SimTime) -> None:
        if self._link is not None and octets:
            self._link.send(octets, now)

    # what services change

    def restart(self, *, cold: bool, now: SimTime) -> None:
        """Begin anew, as a device does after a restart; a cold one forgets its events."""
        self.iin |= Iin.RESTART
        self.enabled.clear()
        if cold:
            self.buffer.clear()
            self._on_their_way = []
        self._null_confirmed = False
        self._retry_at = now + 1 if self.outstation.settings.unsolicited else NEVER

    def event_class(self, group: int, index: int, default: int) -> int:
        """The class of a static point's events as this master assigned it."""
        return self.classes.get((group, index), default) if self.classes else default

    # state as data

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able values; the data link belongs to the session."""
        position = self.buffer.position
        return {
            "buffer": self.buffer.snapshot(),
            "iin": int(self.iin),
            "enabled": sorted(self.enabled),
            "classes": [[*key, value] for key, value in self.classes.items()],
            "recorded_ms": self.recorded_ms,
            "broadcast": self._broadcast,
            "octets": [o.hex() for o in (self._last_request, self._last_response, self._deferred, self._unsolicited)],
            "parts": [[part.body.hex(), position(part.events)] for part in self._parts],
            "first": self._first,
            "awaiting": self._awaiting,
            "on_their_way": position(self._on_their_way),
            "timers": [self._confirm_by, self._retry_at, self._look_at],
            "unsolicited": [self._null_confirmed, self._unsolicited_sequence, self._retries],
        }

    def restore(self, state: Mapping[str, Any], link: LinkEnd | None) -> None:
        """The inverse of :meth:`snapshot`."""
        self._link = link
        self.buffer.restore(state["buffer"])
        self.iin = Iin(state["iin"])
        self.enabled = set(state["enabled"])
        self.classes = {(group, index): value for group, index, value in state["classes"]}
        self.recorded_ms, self._broadcast = state["recorded_ms"], state["broadcast"]
        octets = (bytes.fromhex(text) for text in state["octets"])
        self._last_request, self._last_response, self._deferred, self._unsolicited = octets
        self._parts = deque(Part(bytes.fromhex(body), self.buffer.at(places)) for body, places in state["parts"])
        self._first, self._awaiting = state["first"], state["awaiting"]
        self._on_their_way = self.buffer.at(state["on_their_way"])
        self._confirm_by, self._retry_at, self._look_at = state["timers"]
        self._null_confirmed, self._unsolicited_sequence, self._retries = state["unsolicited"]
