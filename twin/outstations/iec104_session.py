"""One master of an emulated IEC 60870-5-104 station: its connection, its events, its cyclic values.

What a master may ask for, and the answers, are in ``iec104_services``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twin.outstations.iec104_events import EventQueue, StationEvent, events_in, rows_of
from twin.outstations.iec104_image import InputPoint
from twin.outstations.iec104_services import serve
from twin.protocols.iec104 import (
    Asdu,
    AsduReceived,
    Cause,
    Connection,
    ConnectionClosed,
    Event,
    InformationObject,
    Role,
    TransferStarted,
    TransferState,
    TransferStopped,
    TypeId,
    encode_asdu,
    mirrored,
    packed,
)
from twin.protocols.iec104.elements import EndOfInitialization
from twin.timebase import NEVER, SimTime

if TYPE_CHECKING:
    from twin.outstations.iec104 import Iec104Outstation, RedundancyGroup

REPLY: tuple[StationEvent, ...] = ()
"""What an ASDU holds that is no event: nothing to take back."""


class Iec104OutstationSession:
    """The controlled side of one connection; made by :meth:`Iec104Outstation.open_session`.

    ``owner`` identifies it in the command desk: by its redundancy group, else by its number. ``adopted`` holds events
    of other sessions that came here while yet others were open that may give the same ones back.
    """

    def __init__(
        self, outstation: Iec104Outstation, number: int, now: SimTime, group: RedundancyGroup | None = None
    ) -> None:
        self.number = number
        self.outstation = outstation
        self.group = group
        self.owner = number if group is None else group.owner
        self.events = EventQueue(outstation.settings.event_limit) if group is None else group.events
        self.started_after_batch = 0
        self.adopted: set[StationEvent] = set()
        self._connection = Connection(Role.CONTROLLED, outstation.settings.connection, now)
        self._sent: deque[tuple[StationEvent, ...]] = deque()
        self._cyclic_at = self._background_at = NEVER
        self._close_reason = ""

    @property
    def started(self) -> bool:
        """Whether the master has started data transfer."""
        return self._connection.state is TransferState.STARTED

    @property
    def close_reason(self) -> str:
        return self._close_reason

    @property
    def lags(self) -> bool:
        """Whether so many answers wait already that more of them would only pile up."""
        return self._connection.queued >= self.outstation.settings.reply_limit // 2

    def receive(self, payload: bytes, now: SimTime) -> None:
        self._act(self._connection.receive(payload, now), now)

    def tick(self, now: SimTime) -> None:
        self.outstation.desk.expire(now)
        self._act(self._connection.tick(now), now)
        self._scan(now)

    def next_timer(self) -> SimTime:
        deadline = self.outstation.desk.next_deadline(self.owner)
        return min(self._connection.next_timer(), deadline, self._cyclic_at, self._background_at)

    def payload_to_send(self) -> bytes:
        return self._connection.data_to_send()

    def _act(self, happened: Sequence[Event], now: SimTime) -> None:
        for event in happened:
            if isinstance(event, AsduReceived):
                serve(self, event.asdu, now)
            elif isinstance(event, TransferStarted):
                self._start(now)
            elif isinstance(event, TransferStopped):
                self._pause(event.unsent, now)
            elif isinstance(event, ConnectionClosed):
                self._close_reason = event.reason
        self.send_events(now)

    # answers

    def reply(self, asdu: Asdu, now: SimTime) -> None:
        """Send an answer; without effect where the master has stopped data transfer meanwhile."""
        if not self.started or self._close_reason:
            return
        if self._connection.queued >= self.outstation.settings.reply_limit:
            self._close_reason = f"{self._connection.queued} ASDUs wait for a master that does not acknowledge"
            return
        self._send(encode_asdu(asdu), REPLY, now)

    def reject(self, asdu: Asdu, cause: Cause, now: SimTime) -> None:
        """Mirror a request as one that is not known here."""
        self.reply(mirrored(asdu, cause, negative=True), now)

    def confirm(self, asdu: Asdu, positive: bool, now: SimTime) -> None:
        """Confirm an activation or a deactivation."""
        deactivation = asdu.cause == Cause.DEACTIVATION
        cause = Cause.DEACTIVATION_CON if deactivation else Cause.ACTIVATION_CON
        self.reply(mirrored(asdu, cause, negative=not positive), now)

    def send_inputs(self, header: Asdu, points: Iterable[InputPoint], now: SimTime) -> None:
        """Present values without time tag in as few ASDUs as possible; ``header`` gives cause and addresses."""
        by_type: dict[int, list[InformationObject]] = {}
        for point in points:
            by_type.setdefault(point.plain, []).append(point.present)
        for type_id in sorted(by_type):
            like = Asdu(type_id, header.cause, header.common_address, test=header.test, originator=header.originator)
            for answer in packed(like, by_type[type_id]):
                self.reply(answer, now)

    # data transfer

    def _start(self, now: SimTime) -> None:
        station = self.outstation
        self.started_after_batch = station.batch
        if not station.initialization_announced:
            station.initialization_announced = True
            self.announce_initialization(station.common_addresses, now, station.initialization_cause)
        station.started(self, now)
        settings = station.settings
        self._cyclic_at = now + settings.cyclic_ms if settings.cyclic_ms else NEVER
        self._background_at = now + settings.background_ms if settings.background_ms else NEVER

    def announce_initialization(self, common_addresses: Iterable[int], now: SimTime, cause: int) -> None:
        """Send the end of initialisation for common addresses."""
        for common_address in common_addresses:
            o = InformationObject(0, EndOfInitialization(cause))
            self.reply(Asdu(TypeId.M_EI_NA_1, Cause.INITIALIZED, common_address, (o,)), now)

    def _pause(self, unsent: tuple[bytes, ...], now: SimTime) -> None:
        held_back = _flat(list(self._sent)[len(self._sent) - len(unsent) :])
        self._sent.clear()
        self._cyclic_at = self._background_at = NEVER
        if self.group is None:
            gap, self.events.gap = self.events.gap, False
            self.outstation.take_back(held_back + self.events.take_all(), now, gap=gap)
        else:
            self.events.put_back(held_back)
        self.outstation.stopped(self)

    def deactivate(self) -> list[StationEvent]:
        """Another connection of the group has data transfer; the events this one's master did not acknowledge."""
        events = self.unacknowledged()
        self._connection.deactivate()
        self._sent = deque([REPLY] * self._connection.unconfirmed_count)
        self._cyclic_at = self._background_at = NEVER
        return events

    # events

    def offer(self, events: Sequence[StationEvent], now: SimTime) -> None:
        """Send events as the window allows; the rest waits here."""
        self.events.extend(events)
        self.send_events(now)

    def send_events(self, now: SimTime) -> None:
        """Send waiting events as the window allows."""
        sent = False
        while self.started and len(self.events) and self._connection.window_open:
            sent = True
            if self.events.gap:
                self._tell_gap(now)
            for events, octets in self.events.take():
                self._send(octets, events, now)
        if sent:
            self.outstation.relax(now)

    def _tell_gap(self, now: SimTime) -> None:
        """The overflow is indicated where the events are missing: before the first that is left."""
        indication = self.outstation.overflow_event(now)
        if indication is None:
            self.events.gap = False
            return
        events, octets = self.events.mark_gap(indication)
        self._send(octets, events, now)

    def _send(self, octets: bytes, events: tuple[StationEvent, ...], now: SimTime) -> None:
        self._connection.send_octets(octets, now)
        self._sent.append(events)
        self._forget_confirmed()

    def _forget_confirmed(self) -> None:
        for _ in range(len(self._sent) - self._connection.unconfirmed_count):
            self._sent.popleft()

    def unacknowledged(self) -> list[StationEvent]:
        """Events sent here that the master has not acknowledged, oldest first."""
        self._forget_confirmed()
        return _flat(self._sent)

    def undelivered(self) -> list[StationEvent]:
        """Events this master has not acknowledged, oldest first; they are no longer in the session."""
        return self.unacknowledged() + self.events.take_all()

    # cyclic transmission and background scan

    def _scan(self, now: SimTime) -> None:
        settings, image = self.outstation.settings, self.outstation.image
        if self._cyclic_at <= now:
            self._cyclic_at = now + settings.cyclic_ms
            self._send_scan(Cause.PERIODIC, [image.inputs[name] for name in image.cyclic], now)
        if self._background_at <= now:
            self._background_at = now + settings.background_ms
            self._send_scan(Cause.BACKGROUND_SCAN, [p for p in image.inputs.values() if p.interrogated], now)

    def _send_scan(self, cause: Cause, points: Sequence[InputPoint], now: SimTime) -> None:
        """A scan is left out while the master lags behind: the next one says more."""
        if not self._connection.window_open:
            return
        for common_address in self.outstation.common_addresses:
            here = [point for point in points if point.common_address == common_address]
            self.send_inputs(Asdu(0, cause, common_address), here, now)

    # state as data

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able values."""
        return {
            "number": self.number,
            "group": None if self.group is None else -self.group.owner,
            "connection": self._connection.snapshot(),
            "events": self.events.snapshot() if self.group is None else None,
            "sent": [rows_of(events) for events in self._sent],
            "scans": [self._cyclic_at, self._background_at],
            "started_after_batch": self.started_after_batch,
            "adopted": rows_of(sorted(self.adopted)),
            "close_reason": self._close_reason,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`snapshot`."""
        self._connection.restore(state["connection"])
        if state["events"] is not None:
            self.events.restore(state["events"])
        self._sent = deque(tuple(events_in(rows)) for rows in state["sent"])
        self._cyclic_at, self._background_at = state["scans"]
        self.started_after_batch = state["started_after_batch"]
        self.adopted = set(events_in(state["adopted"]))
        self._close_reason = state["close_reason"]


def _flat(sent: Iterable[tuple[StationEvent, ...]]) -> list[StationEvent]:
    return [event for events in sent for event in events]
