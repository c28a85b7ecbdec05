"""One master of an emulated IEC 60870-5-104 station: what it asks for, and the answers.

Requests are served by a table; what is absent from it is mirrored as unknown (IEC 60870-5-101, 7.2.3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twin.outstations.iec104_events import EventQueue, StationEvent, events_of
from twin.points.model import PointDefinition, PointKind
from twin.protocols.iec104 import (
    BROADCAST_COMMON_ADDRESS,
    STATION_INTERROGATION,
    TEST_PATTERN,
    TYPES,
    Asdu,
    AsduReceived,
    Cause,
    Connection,
    ConnectionClosed,
    Direction,
    Event,
    InformationObject,
    Role,
    TimeTag,
    TransferStarted,
    TransferState,
    TransferStopped,
    TypeId,
    decode_asdu,
    mirrored,
    packed,
    plain_type,
)
from twin.protocols.iec104.elements import EndOfInitialization
from twin.protocols.iec104.mapping import command_value
from twin.timebase import SimTime

if TYPE_CHECKING:
    from twin.outstations.iec104 import Iec104Outstation

GENERAL_COUNTER_REQUEST = 5


class Iec104OutstationSession:
    """The controlled side of one connection; made by :meth:`Iec104Outstation.open_session`."""

    def __init__(self, outstation: Iec104Outstation, number: int, now: SimTime) -> None:
        self.number = number
        self.events = EventQueue(outstation.settings.event_limit)
        self.started_after_batch = 0
        self._outstation = outstation
        self._connection = Connection(Role.CONTROLLED, outstation.settings.connection, now)
        self._sent_batches: deque[int] = deque()
        self._close_reason = ""

    @property
    def started(self) -> bool:
        """Whether the master has started data transfer."""
        return self._connection.state is TransferState.STARTED

    @property
    def close_reason(self) -> str:
        return self._close_reason

    def receive(self, payload: bytes, now: SimTime) -> None:
        self._act(self._connection.receive(payload, now), now)

    def tick(self, now: SimTime) -> None:
        self._outstation.desk.expire(now)
        self._act(self._connection.tick(now), now)

    def next_timer(self) -> SimTime:
        return min(self._connection.next_timer(), self._outstation.desk.next_deadline(self.number))

    def payload_to_send(self) -> bytes:
        return self._connection.data_to_send()

    def offer(self, events: Sequence[StationEvent], now: SimTime) -> None:
        """Send events as the window allows; the rest waits here."""
        self.events.extend(events)
        self._send_events(now)

    def reply(self, asdu: Asdu, now: SimTime) -> None:
        """Send an answer; without effect where the master has stopped data transfer meanwhile."""
        if self.started:
            self._send(asdu, 0, now)

    def undelivered(self) -> list[StationEvent]:
        """Events this master has not acknowledged, oldest first; they are no longer in the session."""
        unconfirmed = self._connection.unconfirmed
        self._forget_confirmed(len(unconfirmed))
        events = self._events_in(unconfirmed, list(self._sent_batches))
        return events + self.events.take_all()

    def _act(self, happened: Sequence[Event], now: SimTime) -> None:
        for event in happened:
            if isinstance(event, AsduReceived):
                self._serve(event.asdu, now)
            elif isinstance(event, TransferStarted):
                self._announce(now)
            elif isinstance(event, TransferStopped):
                self._pause(event.unsent, now)
            elif isinstance(event, ConnectionClosed):
                self._close_reason = event.reason
        self._send_events(now)

    def _announce(self, now: SimTime) -> None:
        station = self._outstation
        self.started_after_batch = station.batch
        if not station.initialization_announced:
            station.initialization_announced = True
            for common_address in station.common_addresses:
                o = InformationObject(0, EndOfInitialization())
                self.reply(Asdu(TypeId.M_EI_NA_1, Cause.INITIALIZED, common_address, (o,)), now)
        self.events.extend(station.buffer.take_all())

    def _pause(self, unsent: tuple[bytes, ...], now: SimTime) -> None:
        batches = list(self._sent_batches)[len(self._sent_batches) - len(unsent) :]
        self._sent_batches.clear()
        self._outstation.take_back(self._events_in(unsent, batches) + self.events.take_all(), now)

    @staticmethod
    def _events_in(asdus: Sequence[bytes], batches: Sequence[int]) -> list[StationEvent]:
        pairs = zip(asdus, batches, strict=True)
        return [event for octets, batch in pairs if batch for event in events_of(batch, decode_asdu(octets))]

    def _send(self, asdu: Asdu, batch: int, now: SimTime) -> None:
        self._connection.send(asdu, now)
        self._sent_batches.append(batch)
        self._forget_confirmed(len(self._connection.unconfirmed))

    def _forget_confirmed(self, unconfirmed: int) -> None:
        while len(self._sent_batches) > unconfirmed:
            self._sent_batches.popleft()

    def _send_events(self, now: SimTime) -> None:
        while self.started and len(self.events) and self._connection.window_open:
            batch, asdus = self.events.take_batch()
            for asdu in asdus:
                self._send(asdu, batch, now)

    # requests

    def _serve(self, asdu: Asdu, now: SimTime) -> None:
        service = _service(asdu.type_id)
        if service is None:
            self._reject(asdu, Cause.UNKNOWN_TYPE, now)
            return
        causes, broadcast, serve = service
        if asdu.cause not in causes:
            self._reject(asdu, Cause.UNKNOWN_CAUSE, now)
        elif asdu.common_address in self._outstation.common_addresses:
            serve(self, asdu, now)
        elif broadcast and asdu.common_address == BROADCAST_COMMON_ADDRESS:
            for common_address in self._outstation.common_addresses:
                serve(self, _addressed(asdu, common_address), now)
        else:
            self._reject(asdu, Cause.UNKNOWN_COMMON_ADDRESS, now)

    def _reject(self, asdu: Asdu, cause: Cause, now: SimTime) -> None:
        self.reply(mirrored(asdu, cause, negative=True), now)

    def _confirm(self, asdu: Asdu, positive: bool, now: SimTime) -> None:
        deactivation = asdu.cause == Cause.DEACTIVATION
        cause = Cause.DEACTIVATION_CON if deactivation else Cause.ACTIVATION_CON
        self.reply(mirrored(asdu, cause, negative=not positive), now)

    def _addresses_station(self, asdu: Asdu, now: SimTime) -> bool:
        if asdu.objects[0].ioa == 0:
            return True
        self._reject(asdu, Cause.UNKNOWN_OBJECT_ADDRESS, now)
        return False

    def _interrogate(self, asdu: Asdu, now: SimTime) -> None:
        if not self._addresses_station(asdu, now):
            return
        station_wide = asdu.objects[0].element.qualifier == STATION_INTERROGATION
        # the answer is queued as a whole, so there is never an interrogation left to deactivate
        self._confirm(asdu, station_wide and asdu.cause == Cause.ACTIVATION, now)
        if station_wide and asdu.cause == Cause.ACTIVATION:
            self._send_image(asdu, Cause.INTERROGATED_BY_STATION, lambda kind: kind is not PointKind.COUNTER, now)
            self.reply(mirrored(asdu, Cause.ACTIVATION_TERMINATION), now)

    def _interrogate_counters(self, asdu: Asdu, now: SimTime) -> None:
        if not self._addresses_station(asdu, now):
            return
        wanted = asdu.objects[0].element
        general = wanted.request == GENERAL_COUNTER_REQUEST and wanted.freeze == 0
        self._confirm(asdu, general and asdu.cause == Cause.ACTIVATION, now)
        if general and asdu.cause == Cause.ACTIVATION:
            self._send_image(asdu, Cause.REQUESTED_BY_GENERAL_COUNTER, lambda kind: kind is PointKind.COUNTER, now)
            self.reply(mirrored(asdu, Cause.ACTIVATION_TERMINATION), now)

    def _send_image(self, asdu: Asdu, cause: Cause, wanted: Callable[[PointKind], bool], now: SimTime) -> None:
        groups: dict[int, list[InformationObject]] = {}
        for definition in self._outstation.points.values():
            here = definition.address.common_address == asdu.common_address
            if here and not definition.kind.is_output and wanted(definition.kind):
                o = self._outstation.image_object(definition)
                groups.setdefault(plain_type(definition.address.type_id), []).append(o)
        for type_id in sorted(groups):
            header = Asdu(type_id, cause, asdu.common_address, test=asdu.test, originator=asdu.originator)
            for answer in packed(header, groups[type_id]):
                self.reply(answer, now)

    def _read(self, asdu: Asdu, now: SimTime) -> None:
        definition = self._outstation.by_address.get((asdu.common_address, asdu.objects[0].ioa))
        if definition is None or definition.kind.is_output:
            self._reject(asdu, Cause.UNKNOWN_OBJECT_ADDRESS, now)
            return
        o = self._outstation.image_object(definition)
        type_id = plain_type(definition.address.type_id)
        self.reply(Asdu(type_id, Cause.REQUEST, asdu.common_address, (o,), originator=asdu.originator), now)

    def _synchronize(self, asdu: Asdu, now: SimTime) -> None:
        """The confirmation carries the station's own time before synchronisation (IEC 60870-5-5, 6.7)."""
        if not self._addresses_station(asdu, now):
            return
        station, tag = self._outstation, asdu.objects[0].time
        commanded = None if tag is None or tag.invalid else tag.sim_time(station.time_base)
        if commanded is None:
            self._confirm(asdu, False, now)
            return
        if not asdu.test:
            station.clock_offset_ms = commanded - now
        own = InformationObject(0, asdu.objects[0].element, TimeTag.at(now, station.time_base))
        self._confirm(_with_object(asdu, own), True, now)

    def _test(self, asdu: Asdu, now: SimTime) -> None:
        fixed = asdu.type_id == TypeId.C_TS_NA_1
        self._confirm(asdu, not fixed or asdu.objects[0].element.value == TEST_PATTERN, now)

    def _command(self, asdu: Asdu, now: SimTime) -> None:
        o = asdu.objects[0]
        definition = self._outstation.by_address.get((asdu.common_address, o.ioa))
        if definition is None or plain_type(definition.address.type_id) != plain_type(asdu.type_id):
            self._reject(asdu, Cause.UNKNOWN_OBJECT_ADDRESS, now)
        elif asdu.cause == Cause.DEACTIVATION:
            self._confirm(asdu, self._outstation.desk.cancel(self.number, definition, now), now)
        else:
            self._activate(asdu, definition, command_value(o.element), now)

    def _activate(self, asdu: Asdu, definition: PointDefinition, value: float | None, now: SimTime) -> None:
        if value is None:
            self._confirm(asdu, False, now)
        elif asdu.test:
            self._confirm(asdu, True, now)  # the test bit exercises the transmission, never the process
        elif asdu.objects[0].element.select:
            self._confirm(asdu, self._outstation.desk.select(self.number, definition, value, now), now)
        else:
            self._execute(asdu, definition, value, now)

    def _execute(self, asdu: Asdu, definition: PointDefinition, value: float, now: SimTime) -> None:
        desk = self._outstation.desk
        ticket = desk.execute(self.number, definition, value, asdu, now)
        self._confirm(asdu, ticket is not None, now)
        if ticket is not None and (done := desk.confirmed(ticket)) is not None:
            self._outstation.terminate(done.owner, done.asdu, bool(done.outcome), now)

    # state as data

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able values."""
        return {
            "number": self.number,
            "connection": self._connection.snapshot(),
            "events": self.events.snapshot(),
            "sent_batches": list(self._sent_batches),
            "started_after_batch": self.started_after_batch,
            "close_reason": self._close_reason,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`snapshot`."""
        self._connection.restore(state["connection"])
        self.events.restore(state["events"])
        self._sent_batches = deque(state["sent_batches"])
        self.started_after_batch = state["started_after_batch"]
        self._close_reason = state["close_reason"]


def _addressed(asdu: Asdu, common_address: int) -> Asdu:
    return Asdu(asdu.type_id, asdu.cause, common_address, asdu.objects, test=asdu.test, originator=asdu.originator)


def _with_object(asdu: Asdu, o: InformationObject) -> Asdu:
    return Asdu(asdu.type_id, asdu.cause, asdu.common_address, (o,), test=asdu.test, originator=asdu.originator)


_Serve = Callable[[Iec104OutstationSession, Asdu, SimTime], None]
_Service = tuple[frozenset[int], bool, _Serve]
_ACT = frozenset({int(Cause.ACTIVATION)})
_ACT_OR_DEACT = frozenset({int(Cause.ACTIVATION), int(Cause.DEACTIVATION)})
_REQ = frozenset({int(Cause.REQUEST)})
_Session = Iec104OutstationSession
_SERVICES: dict[int, _Service] = {
    TypeId.C_IC_NA_1: (_ACT_OR_DEACT, True, _Session._interrogate),
    TypeId.C_CI_NA_1: (_ACT_OR_DEACT, True, _Session._interrogate_counters),
    TypeId.C_RD_NA_1: (_REQ, False, _Session._read),
    TypeId.C_CS_NA_1: (_ACT, True, _Session._synchronize),
    TypeId.C_TS_NA_1: (_ACT, False, _Session._test),
    TypeId.C_TS_TA_1: (_ACT, False, _Session._test),
}
"""What a station serves beside commands: allowed causes, whether the broadcast address is, and how."""

_UNSERVED_COMMANDS = {TypeId.C_BO_NA_1, TypeId.C_BO_TA_1}


def _service(type_id: int) -> _Service | None:
    spec = TYPES.get(type_id)
    if spec is not None and spec.direction is Direction.CONTROL and type_id not in _UNSERVED_COMMANDS:
        return _ACT_OR_DEACT, False, _Session._command
    return _SERVICES.get(type_id)
