"""The controlling side of an IEC 60870-5-104 session: starts it, interrogates, takes samples, sends commands.

No I/O and no retries of commands: whether to try again, and how long to wait, is for the command path.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from twin.links.iec104_answers import ANSWERS, CommandStage, PendingCommand, Step
from twin.links.iec104_requests import is_answer
from twin.links.model import (
    ArrivedSample,
    CommandReply,
    LinkCommand,
    LinkEvent,
    ReplyKind,
    SessionEvent,
    SessionState,
)
from twin.points.model import PointDefinition, PointKind, Quality, Sample, TimeSource
from twin.protocols.iec104 import (
    STATION_INTERROGATION,
    TYPES,
    Asdu,
    AsduReceived,
    Cause,
    Connection,
    ConnectionClosed,
    ConnectionSettings,
    Direction,
    Event,
    InformationObject,
    Role,
    TimeTag,
    TransferStarted,
    TransferState,
    TypeId,
    UnencodableValueError,
    tagged_type,
)
from twin.protocols.iec104.elements import CounterInterrogation, Interrogation
from twin.protocols.iec104.mapping import command_element, type_brings, value_of
from twin.protocols.iec104.types import plain_type
from twin.timebase import NEVER, SimTime, TimeBase

KEPT_ANSWERS = 64
NEGATIVE_CONFIRMATION = "negative confirmation"
NOT_STARTED = "no data transfer"
UNKNOWN_POINT = "unknown point"
NO_SELECT = "a bit string command has no select"
VALUE_NOT_ENCODABLE = "value not encodable"
UNKNOWN_CAUSES: dict[int, str] = {
    Cause.UNKNOWN_TYPE: "unknown type",
    Cause.UNKNOWN_CAUSE: "unknown cause",
    Cause.UNKNOWN_COMMON_ADDRESS: "unknown address",
    Cause.UNKNOWN_OBJECT_ADDRESS: "unknown address",
}
_SPONTANEOUS = (Cause.SPONTANEOUS, Cause.RETURN_REMOTE, Cause.RETURN_LOCAL)


class Iec104LinkSettings(BaseModel):
    """What is set at the controlling station for one session."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connection: ConnectionSettings = Field(default=ConnectionSettings(), description="window and time-outs")
    originator: int = Field(default=0, ge=0, le=255, description="originator address in every request")
    command_qualifier: int = Field(default=0, ge=0, le=31, description="qualifier QU or QL of every command")
    tagged_commands: bool = Field(default=False, description="send commands with a time tag (types 58 to 63)")
    interrogation_limit_ms: int = Field(
        default=60_000, ge=1, description="time after which an interrogation without termination is repeated"
    )
    interrogation_period_ms: int = Field(default=0, ge=0, description="time between interrogations; 0: at start only")
    clock_period_ms: int = Field(default=0, ge=0, description="time between clock synchronisations; 0: at start only")
    counter_period_ms: int = Field(default=0, ge=0, description="time between counter interrogations; 0: none")


class Iec104MasterSession:
    """One session with one station, over any number of connections one after the other.

    ``unknown_objects``, ``unsuitable_objects`` and ``unexpected_answers`` count what arrived and could not be
    used: addresses outside the point map, types that do not suit the point, answers nobody waits for.
    ``answers`` holds the last answers to what was sent by :meth:`request`.
    ``clock_offset_ms`` is how far the station's clock was ahead when it was last synchronised, None if not known.
    """

    def __init__(
        self,
        station: str,
        points: Sequence[PointDefinition],
        time_base: TimeBase,
        settings: Iec104LinkSettings | None = None,
    ) -> None:
        self.station = station
        self.settings = settings or Iec104LinkSettings()
        self.unknown_objects = 0
        self.unsuitable_objects = 0
        self.unexpected_answers = 0
        self._time_base = time_base
        self._points = {definition.name: definition for definition in points}
        self._inputs = {
            (d.address.common_address, d.address.ioa): _input_types(d.kind, d.address.type_id) for d in points
        }
        self._by_address = {(d.address.common_address, d.address.ioa): d for d in points}
        self._common_addresses = sorted({d.address.common_address for d in points})
        self._connection: Connection | None = None
        self._close_reason = ""
        self.answers: deque[Asdu] = deque(maxlen=KEPT_ANSWERS)
        self.clock_offset_ms: int | None = None
        self._clock_sent: dict[int, SimTime] = {}
        self._due = dict.fromkeys(self._periods(), NEVER)
        self._interrogating: dict[int, SimTime] = {}
        self._pending: dict[str, PendingCommand] = {}
        self._events: list[LinkEvent] = []

    @property
    def points(self) -> tuple[PointDefinition, ...]:
        """The points of the station, in the order given."""
        return tuple(self._points.values())

    # the connection

    def connected(self, now: SimTime) -> None:
        self._forget()
        self._connection = Connection(Role.CONTROLLING, self.settings.connection, now)
        self._report(SessionState.CONNECTED, now)
        self._connection.start(now)

    def go_over(self, connection: Connection, now: SimTime, reason: str) -> None:
        """Go on over another connection of the same redundancy group, on which no data transfer was started yet.

        Nothing is lost by it: points stay topical, commands wait for their answers.
        """
        pending = dict(self._pending)
        self._forget()
        self._pending.update(pending)
        self._connection = connection
        self._report(SessionState.CONNECTED, now, f"standby connection, because the other was lost: {reason}")
        connection.start(now)

    def disconnected(self, now: SimTime, reason: str) -> None:
        self._forget()
        self._report(SessionState.LOST, now, reason)

    def _forget(self) -> None:
        self._connection = None
        self._close_reason = ""
        self._interrogating.clear()
        self._pending.clear()
        self._clock_sent.clear()
        self._due = dict.fromkeys(self._due, NEVER)

    def receive(self, payload: bytes, now: SimTime) -> None:
        if self._connection is not None:
            self._act(self._connection.receive(payload, now), now)

    def tick(self, now: SimTime) -> None:
        if self._connection is None:
            return
        self._act(self._connection.tick(now), now)
        for common_address in [ca for ca, limit in self._interrogating.items() if limit <= now]:
            self._interrogate(common_address, now)
        self._run_periods(now)

    def _periods(self) -> dict[str, int]:
        s = self.settings
        return {"interrogation": s.interrogation_period_ms, "clock": s.clock_period_ms, "counter": s.counter_period_ms}

    def _run_periods(self, now: SimTime) -> None:
        actions = {"interrogation": self.interrogate, "clock": self.synchronize, "counter": self.interrogate_counters}
        for name, due in self._due.items():
            if due <= now:
                self._due[name] = now + self._periods()[name]
                actions[name](now)

    def next_timer(self) -> SimTime:
        if self._connection is None or self._close_reason:
            return NEVER
        return min(self._connection.next_timer(), *self._interrogating.values(), *self._due.values())

    def payload_to_send(self) -> bytes:
        return b"" if self._connection is None else self._connection.data_to_send()

    @property
    def close_reason(self) -> str:
        return self._close_reason

    @property
    def started(self) -> bool:
        """Whether data transfer is on."""
        return self._connection is not None and self._connection.state is TransferState.STARTED

    def take_events(self) -> list[LinkEvent]:
        events, self._events = self._events, []
        return events

    def _act(self, happened: Sequence[Event], now: SimTime) -> None:
        for event in happened:
            if isinstance(event, AsduReceived):
                self._take(event.asdu, now)
            elif isinstance(event, TransferStarted):
                self._begin(now)
            elif isinstance(event, ConnectionClosed):
                self._close_reason = event.reason
                self._interrogating.clear()

    def _report(self, state: SessionState, now: SimTime, detail: str = "") -> None:
        self._events.append(SessionEvent(self.station, state, now, detail))

    def _begin(self, now: SimTime) -> None:
        self._report(SessionState.STARTED, now)
        self._due = {name: now + period if period else NEVER for name, period in self._periods().items()}
        self.synchronize(now)
        self.interrogate(now)

    def _tag(self, now: SimTime) -> TimeTag:
        return TimeTag.at(now, self._time_base)

    def _request(self, type_id: int, common_address: int, o: InformationObject, now: SimTime) -> None:
        self._send(Asdu(type_id, Cause.ACTIVATION, common_address, (o,), originator=self.settings.originator), now)

    def _send(self, asdu: Asdu, now: SimTime) -> None:
        if self._connection is not None and self.started:
            self._connection.send(asdu, now)

    # demands

    def synchronize(self, now: SimTime) -> None:
        """Send the time to every common address; the confirmations tell ``clock_offset_ms``."""
        for common_address in self._common_addresses:
            self._clock_sent[common_address] = now
            self._request(TypeId.C_CS_NA_1, common_address, InformationObject(0, time=self._tag(now)), now)

    def read(self, point: str, now: SimTime) -> None:
        """Ask for the present value of one input; it comes as a sample that is not spontaneous."""
        address = self._points[point].address
        o = InformationObject(address.ioa)
        originator = self.settings.originator
        self._send(Asdu(TypeId.C_RD_NA_1, Cause.REQUEST, address.common_address, (o,), originator=originator), now)

    def request(self, asdu: Asdu, now: SimTime) -> None:
        """Send a test, a reset or a parameter (``iec104_requests``); what the station says is kept in ``answers``."""
        self._send(replace(asdu, originator=self.settings.originator), now)

    def interrogate_group(self, group: int, now: SimTime) -> None:
        """Ask every common address for an interrogation group, 1 to 16."""
        for common_address in self._common_addresses:
            o = InformationObject(0, Interrogation(STATION_INTERROGATION + group))
            self._request(TypeId.C_IC_NA_1, common_address, o, now)

    def interrogate_counters(self, now: SimTime, request: int = 5, freeze: int = 0) -> None:
        """Read, freeze or reset counters (QCC): ``request`` 1 to 4 for a group, 5 for all."""
        for common_address in self._common_addresses:
            o = InformationObject(0, CounterInterrogation(request, freeze))
            self._request(TypeId.C_CI_NA_1, common_address, o, now)

    def _take_clock_answer(self, asdu: Asdu, now: SimTime) -> None:
        """The confirmation holds the station's time from half-way between request and answer."""
        sent, tag = self._clock_sent.pop(asdu.common_address, None), asdu.objects[0].time
        shown = None if tag is None or asdu.negative else tag.sim_time(self._time_base)
        if sent is not None and shown is not None and asdu.cause == Cause.ACTIVATION_CON:
            self.clock_offset_ms = shown - (sent + now) // 2

    # interrogation

    def interrogate(self, now: SimTime) -> None:
        if not self.started:
            return
        for common_address in self._common_addresses:
            self._interrogate(common_address, now)
        if not self._common_addresses:
            self._report(SessionState.INTERROGATED, now)

    def _interrogate(self, common_address: int, now: SimTime) -> None:
        self._interrogating[common_address] = now + self.settings.interrogation_limit_ms
        self._request(TypeId.C_IC_NA_1, common_address, InformationObject(0, Interrogation()), now)

    def _take_interrogation_answer(self, asdu: Asdu, now: SimTime) -> None:
        if asdu.objects[0].element.qualifier != STATION_INTERROGATION:
            return
        if asdu.common_address not in self._interrogating:
            self.unexpected_answers += 1
        elif asdu.cause == Cause.ACTIVATION_TERMINATION and not asdu.negative:
            del self._interrogating[asdu.common_address]
            if not self._interrogating:
                self._report(SessionState.INTERROGATED, now)

    def _take_initialization(self, asdu: Asdu, now: SimTime) -> None:
        known = asdu.common_address in self._common_addresses
        if known and asdu.common_address not in self._interrogating:
            self._interrogate(asdu.common_address, now)

    # what arrives

    def _take(self, asdu: Asdu, now: SimTime) -> None:
        spec = TYPES.get(asdu.type_id)
        if spec is None:
            self.unsuitable_objects += max(asdu.opaque_count, 1)
        elif spec.direction is Direction.MONITOR:
            self._take_objects(asdu, now)
        elif spec.direction is Direction.CONTROL:
            self._take_command_answer(asdu, now)
        elif asdu.type_id == TypeId.C_IC_NA_1:
            self._take_interrogation_answer(asdu, now)
        elif asdu.type_id == TypeId.C_CS_NA_1:
            self._take_clock_answer(asdu, now)
        elif asdu.type_id == TypeId.M_EI_NA_1:
            self._take_initialization(asdu, now)
        elif is_answer(asdu.type_id):
            self.answers.append(asdu)

    def _take_objects(self, asdu: Asdu, now: SimTime) -> None:
        spontaneous = asdu.cause in _SPONTANEOUS
        for o in asdu.objects:
            definition = self._by_address.get((asdu.common_address, o.ioa))
            if definition is None:
                self.unknown_objects += 1
            elif asdu.type_id not in self._inputs[asdu.common_address, o.ioa]:
                self.unsuitable_objects += 1
            else:
                self._events.append(ArrivedSample(self._sample(definition, o, spontaneous, now), now))

    def _sample(self, definition: PointDefinition, o: InformationObject, spontaneous: bool, now: SimTime) -> Sample:
        value, quality = value_of(o.element)
        at = None if o.time is None or o.time.invalid else o.time.sim_time(self._time_base)
        if at is None:
            return self._stamped_here(definition, value, quality, spontaneous, now)
        return Sample(self.station, definition.name, value, quality, at, spontaneous, TimeSource.DEVICE)

    def _stamped_here(
        self, definition: PointDefinition, value: float, quality: Quality, spontaneous: bool, now: SimTime
    ) -> Sample:
        return Sample(self.station, definition.name, value, quality, now, spontaneous, TimeSource.FRONT_END)

    # commands

    def select(self, command: LinkCommand, now: SimTime) -> None:
        self._order(command, CommandStage.SELECTING, Cause.ACTIVATION, now)

    def operate(self, command: LinkCommand, now: SimTime) -> None:
        self._order(command, CommandStage.OPERATING, Cause.ACTIVATION, now)

    def cancel(self, command: LinkCommand, now: SimTime) -> None:
        self._order(command, CommandStage.CANCELLING, Cause.DEACTIVATION, now)

    def _order(self, command: LinkCommand, stage: CommandStage, cause: Cause, now: SimTime) -> None:
        definition = self._points.get(command.point)
        if definition is None or not definition.kind.is_output:
            self._reply(command.command_id, ReplyKind.REFUSED, now, UNKNOWN_POINT)
        elif not self.started:
            self._reply(command.command_id, ReplyKind.REFUSED, now, NOT_STARTED)
        elif definition.kind is PointKind.BITSTRING_COMMAND and stage is not CommandStage.OPERATING:
            self._reply(command.command_id, ReplyKind.REFUSED, now, NO_SELECT)
        else:
            self._send_command(definition, command, stage, cause, now)

    def _send_command(
        self, definition: PointDefinition, command: LinkCommand, stage: CommandStage, cause: Cause, now: SimTime
    ) -> None:
        tagged, select = self.settings.tagged_commands, stage is not CommandStage.OPERATING
        address = definition.address
        type_id = tagged_type(address.type_id) if tagged else plain_type(address.type_id)
        try:
            element = command_element(type_id, command.value, select=select, qualifier=self.settings.command_qualifier)
            o = InformationObject(address.ioa, element, self._tag(now) if tagged else None)
            self._send(Asdu(type_id, cause, address.common_address, (o,), originator=self.settings.originator), now)
        except UnencodableValueError:
            self._reply(command.command_id, ReplyKind.REFUSED, now, VALUE_NOT_ENCODABLE)
            return
        self._pending[command.point] = PendingCommand(command.command_id, stage)

    def _take_command_answer(self, asdu: Asdu, now: SimTime) -> None:
        definition = self._by_address.get((asdu.common_address, asdu.objects[0].ioa))
        pending = None if definition is None else self._pending.get(definition.name)
        if definition is None or pending is None:
            self.unexpected_answers += 1
            return
        if asdu.cause in UNKNOWN_CAUSES:
            step: Step | None = (None, ReplyKind.REFUSED)
        else:
            step = ANSWERS.get((pending.stage, Cause(asdu.cause), asdu.negative)) if asdu.cause in _CAUSES else None
        if step is None:
            self.unexpected_answers += 1
            return
        self._advance(definition.name, pending, step, asdu, now)

    def _advance(self, point: str, pending: PendingCommand, step: Step, asdu: Asdu, now: SimTime) -> None:
        stage, kind = step
        if stage is None:
            del self._pending[point]
        else:
            pending.stage = stage
        cause = UNKNOWN_CAUSES.get(asdu.cause, NEGATIVE_CONFIRMATION) if kind is ReplyKind.REFUSED else ""
        self._reply(pending.command_id, kind, now, cause)

    def _reply(self, command_id: int, kind: ReplyKind, now: SimTime, cause: str = "") -> None:
        self._events.append(CommandReply(self.station, command_id, kind, now, cause))

    # state as data

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able values; events must have been taken before.

        Raises:
            RuntimeError: events are waiting to be taken.
        """
        if self._events:
            raise RuntimeError(f"link {self.station}: snapshot with events not taken")
        return {
            "connection": None if self._connection is None else self._connection.snapshot(),
            "close_reason": self._close_reason,
            "interrogating": [[ca, limit] for ca, limit in self._interrogating.items()],
            "pending": {point: [p.command_id, p.stage.value] for point, p in self._pending.items()},
            "clock": [self.clock_offset_ms, [[ca, at] for ca, at in self._clock_sent.items()]],
            "due": self._due,
            "counts": [self.unknown_objects, self.unsuitable_objects, self.unexpected_answers],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`snapshot`, into a session made with the same points and settings."""
        self._connection = None
        if state["connection"] is not None:
            self._connection = Connection(Role.CONTROLLING, self.settings.connection, 0)
            self._connection.restore(state["connection"])
        self._close_reason = state["close_reason"]
        self._interrogating = dict(state["interrogating"])
        self.clock_offset_ms = state["clock"][0]
        self._clock_sent = dict(state["clock"][1])
        self._due = dict(state["due"])
        self._pending = {
            point: PendingCommand(command_id, CommandStage(stage))
            for point, (command_id, stage) in state["pending"].items()
        }
        self.unknown_objects, self.unsuitable_objects, self.unexpected_answers = state["counts"]
        self._events = []


@cache
def _input_types(kind: PointKind, mapped: int) -> tuple[int, ...]:
    """The types that may bring values of a point of this kind in the map's type; none for an output."""
    return () if kind.is_output else tuple(t for t in TYPES if type_brings(kind, mapped, t))


_CAUSES = {int(cause) for cause in Cause}
