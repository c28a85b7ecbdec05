"""An emulated IEC 60870-5-104 station: the image of its points, and one session for each master.

Not a device: commands go to a handler. What becomes an event is decided by whoever calls
:meth:`Iec104Outstation.update` (dead bands lie with the field device): a sample with ``spontaneous`` set is
sent with its time tag, another one only changes the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from twin.errors import TwinError
from twin.outstations.iec104_commands import CommandDesk
from twin.outstations.iec104_events import EventQueue, StationEvent
from twin.outstations.iec104_session import Iec104OutstationSession
from twin.outstations.model import CommandHandler
from twin.points.model import PointDefinition, Quality, Sample
from twin.protocols.iec104 import (
    Asdu,
    Cause,
    ConnectionSettings,
    InformationObject,
    TimeTag,
    mirrored,
    plain_type,
    tagged_type,
)
from twin.protocols.iec104.mapping import element_of, type_suits
from twin.timebase import SimTime, TimeBase

__all__ = ["Iec104Outstation", "Iec104OutstationSession", "Iec104OutstationSettings", "PointMapError"]

UNKNOWN_VALUE = (0.0, Quality.INVALID)
"""What a point holds before its first sample."""


class PointMapError(TwinError):
    """A point of a station cannot be carried by IEC 60870-5-104 as its map says, or is not in the map."""

    def __init__(self, station: str, point: str, fault: str) -> None:
        self.station, self.point, self.fault = station, point, fault
        super().__init__(f"station {station}, point {point}: {fault}")


class Iec104OutstationSettings(BaseModel):
    """What is set at a station."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connection: ConnectionSettings = Field(default=ConnectionSettings(), description="window and time-outs")
    select_timeout_ms: int = Field(default=10_000, ge=1, description="how long a select stands without its execute")
    event_limit: int = Field(default=1_000, ge=1, description="most events kept for masters; the oldest are dropped")


class _Input:
    """Where the events of one input go."""

    __slots__ = ("common_address", "ioa", "plain", "tagged")

    def __init__(self, definition: PointDefinition) -> None:
        self.common_address = definition.address.common_address
        self.ioa = definition.address.ioa
        self.plain = plain_type(definition.address.type_id)
        self.tagged = tagged_type(definition.address.type_id)


class Iec104Outstation:
    """One emulated station.

    Raises:
        PointMapError: a point's type does not carry its kind, or two points share an address.
    """

    def __init__(
        self,
        station: str,
        points: Sequence[PointDefinition],
        handler: CommandHandler,
        time_base: TimeBase,
        settings: Iec104OutstationSettings | None = None,
    ) -> None:
        self.station = station
        self.settings = settings or Iec104OutstationSettings()
        self.time_base = time_base
        self.points = {definition.name: definition for definition in points}
        self._inputs = {d.name: _Input(d) for d in points if not d.kind.is_output}
        self.by_address = _by_address(station, points)
        self.common_addresses = sorted({definition.address.common_address for definition in points})
        self.desk = CommandDesk(station, handler, self.settings.select_timeout_ms)
        self.buffer = EventQueue(self.settings.event_limit)
        self.clock_offset_ms: int | None = None
        self.initialization_announced = False
        self.batch = 0
        self._image: dict[str, tuple[float, Quality]] = {}
        self._last_tag: tuple[SimTime, TimeTag] | None = None
        self._sessions: list[Iec104OutstationSession] = []
        self._next_session = 1

    @property
    def sessions(self) -> Sequence[Iec104OutstationSession]:
        """The open sessions, oldest first."""
        return self._sessions

    @property
    def events_dropped(self) -> int:
        """How many events found no room, in the buffer and in the sessions now open."""
        return self.buffer.dropped + sum(session.events.dropped for session in self._sessions)

    def open_session(self, now: SimTime) -> Iec104OutstationSession:
        session = Iec104OutstationSession(self, self._next_session, now)
        self._next_session += 1
        self._sessions.append(session)
        return session

    def close_session(self, session: Iec104OutstationSession, now: SimTime) -> None:
        self._sessions.remove(session)
        self.desk.drop(session.number, now)
        self.buffer.dropped += session.events.dropped
        self.take_back(session.undelivered(), now)

    def update(self, samples: Sequence[Sample], now: SimTime) -> None:
        self.batch += 1
        events = [event for sample in samples if (event := self._apply(sample)) is not None]
        if not events:
            return
        receivers = [session for session in self._sessions if session.started]
        for session in receivers:
            session.offer(events, now)
        if not receivers:
            self.buffer.extend(events)

    def _apply(self, sample: Sample) -> StationEvent | None:
        target = self._inputs.get(sample.point)
        if target is None:
            raise PointMapError(self.station, sample.point, "it is no input of this station")
        self._image[sample.point] = (sample.value, sample.quality)
        if not sample.spontaneous:
            return None
        element = element_of(target.plain, sample.value, sample.quality)
        o = InformationObject(target.ioa, element, self._tag(sample.source_t_ms))
        return StationEvent(self.batch, target.tagged, target.common_address, o)

    def _tag(self, t_ms: SimTime) -> TimeTag:
        """The tag of an instant; the samples of one update mostly share it."""
        if self._last_tag is None or self._last_tag[0] != t_ms:
            self._last_tag = (t_ms, TimeTag.at(t_ms, self.time_base))
        return self._last_tag[1]

    def finished(self, ticket: int, success: bool, now: SimTime) -> None:
        execution = self.desk.finished(ticket, success)
        if execution is not None:
            self.terminate(execution.owner, execution.asdu, success, now)

    def terminate(self, owner: int, asdu: Asdu, success: bool, now: SimTime) -> None:
        """Tell the master that ordered a command how it ended, if it is still there."""
        for session in self._sessions:
            if session.number == owner:
                session.reply(mirrored(asdu, Cause.ACTIVATION_TERMINATION, negative=not success), now)

    def take_back(self, events: Sequence[StationEvent], now: SimTime) -> None:
        """Events that their master did not acknowledge go to masters that came later, or wait for the next one."""
        receivers = [session for session in self._sessions if session.started]
        for session in receivers:
            session.offer([event for event in events if event.batch <= session.started_after_batch], now)
        if not receivers:
            self.buffer.put_back(events)

    def image_object(self, definition: PointDefinition) -> InformationObject:
        """The present value of an input as an object without time tag."""
        value, quality = self._image.get(definition.name, UNKNOWN_VALUE)
        return InformationObject(definition.address.ioa, element_of(definition.address.type_id, value, quality))

    def snapshot(self) -> dict[str, Any]:
        return {
            "image": [[point, value, int(quality)] for point, (value, quality) in self._image.items()],
            "buffer": self.buffer.snapshot(),
            "desk": self.desk.snapshot(),
            "clock_offset_ms": self.clock_offset_ms,
            "initialization_announced": self.initialization_announced,
            "batch": self.batch,
            "next_session": self._next_session,
            "sessions": [session.snapshot() for session in self._sessions],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._image = {point: (value, Quality(quality)) for point, value, quality in state["image"]}
        self.buffer.restore(state["buffer"])
        self.desk.restore(state["desk"])
        self.clock_offset_ms = state["clock_offset_ms"]
        self.initialization_announced = state["initialization_announced"]
        self.batch = state["batch"]
        self._next_session = state["next_session"]
        self._sessions = [self._restored(saved) for saved in state["sessions"]]

    def _restored(self, saved: Mapping[str, Any]) -> Iec104OutstationSession:
        session = Iec104OutstationSession(self, saved["number"], 0)
        session.restore(saved)
        return session


def _by_address(station: str, points: Sequence[PointDefinition]) -> dict[tuple[int, int], PointDefinition]:
    table: dict[tuple[int, int], PointDefinition] = {}
    for definition in points:
        address = definition.address
        if not type_suits(definition.kind, address.type_id):
            raise PointMapError(station, definition.name, f"type {address.type_id} carries no {definition.kind.value}")
        other = table.setdefault((address.common_address, address.ioa), definition)
        if other is not definition:
            raise PointMapError(station, definition.name, f"it has the address of {other.name}")
    return table
