"""An emulated DNP3 outstation (IEEE 1815): the image of its points, and one association for each of its masters.

Not a device: commands go to a handler. What becomes an event is decided by whoever calls
:meth:`Dnp3Outstation.update`: a sample with ``spontaneous`` set is an event of its point's class, another one only
changes the static value. A dead band that a master writes (g34) coarsens that of the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from twin.outstations.dnp3_association import Dnp3Association
from twin.outstations.dnp3_controls import ControlDesk
from twin.outstations.dnp3_database import GROUP_OF_OUTPUT, Database, Dnp3PointError, Row
from twin.outstations.dnp3_events import Event
from twin.outstations.dnp3_services import SERVICES
from twin.outstations.dnp3_session import Dnp3OutstationSession
from twin.outstations.model import CommandHandler
from twin.points.dnp3 import assigned
from twin.points.model import DoublePosition, PointDefinition, PointKind, Sample
from twin.protocols.dnp3 import MAX_ADDRESS, Iin, LinkSettings
from twin.protocols.dnp3.attributes import Attribute
from twin.protocols.dnp3.mapping import flags_of
from twin.protocols.dnp3.objects import EVENT_OF_STATIC, ONLINE
from twin.timebase import SimTime, TimeBase

__all__ = ["Dnp3Outstation", "Dnp3OutstationSession", "Dnp3OutstationSettings", "Dnp3PointError"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Dnp3OutstationSettings(BaseModel):
    """What is set at an outstation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: int | None = Field(
        default=None, ge=0, le=MAX_ADDRESS, description="link address; the common address of the station if left out"
    )
    self_address: bool = Field(default=False, description="answer requests to 0xFFFC, whoever that is")
    masters: tuple[int, ...] = Field(default=(1,), min_length=1, description="link addresses of its masters")
    link: LinkSettings = Field(default=LinkSettings(), description="data link and transport")
    unsolicited: bool = Field(default=True, description="unsolicited responses are supported")
    unsolicited_retries: int = Field(default=3, ge=0, description="how often an unconfirmed one is sent again at once")
    unsolicited_retry_ms: int = Field(default=60_000, ge=1, description="wait before the next attempt after those")
    confirm_timeout_ms: int = Field(default=5_000, ge=1, description="limit for an application confirmation")
    select_timeout_ms: int = Field(default=10_000, ge=1, description="how long a select stands without its operate")
    event_limit: int = Field(default=1_000, ge=1, description="most events kept for a master; the oldest are dropped")
    max_controls: int = Field(default=16, ge=1, le=255, description="most control blocks in one request")
    need_time: bool = Field(default=False, description="ask for time synchronisation after the start (IIN1.4)")

    @field_validator("masters")
    @classmethod
    def _addresses(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        for address in value:
            if not 0 <= address <= MAX_ADDRESS:
                raise ValueError(f"{address} is no link address (0 to {MAX_ADDRESS})")
        if len(set(value)) < len(value):
            raise ValueError("a master is named twice")
        return value


class Dnp3Outstation:
    """One emulated outstation.

    ``clock_offset_ms`` is by how much the masters' time last differed from the simulation's; time tags carry
    simulation time whatever they say.

    Raises:
        Dnp3PointError: two points share an address, or the station has no link address.
    """

    services = SERVICES

    def __init__(
        self,
        station: str,
        points: Sequence[PointDefinition],
        handler: CommandHandler,
        time_base: TimeBase,
        settings: Dnp3OutstationSettings | None = None,
    ) -> None:
        self.station = station
        self.settings = settings or Dnp3OutstationSettings()
        self.address = _link_address(station, points, self.settings)
        self.need_time = self.settings.need_time
        self.clock_offset_ms: int | None = None
        addresses = assigned((p.name, p.kind.value, p.dnp3) for p in points)
        self.database = Database(station, points, addresses)
        self._outputs = {
            p.name: (p.kind, addresses[p.name]) for p in points if p.kind.is_output and p.name in addresses
        }
        outputs = {(addresses[p.name].group, addresses[p.name].index): p for p in points if p.name in self._outputs}
        self.desk = ControlDesk(station, outputs, handler, self.settings.select_timeout_ms, self._operated)
        self._epoch_ms = (time_base.start - _EPOCH) // _MILLISECOND
        self.associations = {master: Dnp3Association(self, master) for master in self.settings.masters}
        self._sessions: list[Dnp3OutstationSession] = []
        self._next_session = 1

    # masters

    @property
    def sessions(self) -> Sequence[Dnp3OutstationSession]:
        """The open sessions, oldest first."""
        return self._sessions

    @property
    def events_dropped(self) -> int:
        """How many events found no room, over all masters."""
        return sum(association.buffer.dropped for association in self.associations.values())

    @property
    def indications(self) -> Iin:
        """The indications that all masters share."""
        return Iin.NEED_TIME if self.need_time else Iin.NONE

    def open_session(self, now: SimTime) -> Dnp3OutstationSession:
        session = Dnp3OutstationSession(self, self._next_session, now)
        self._next_session += 1
        self._sessions.append(session)
        session.begin(now)
        return session

    def close_session(self, session: Dnp3OutstationSession, now: SimTime) -> None:
        self._sessions.remove(session)
        session.end(now)
        for other in self._sessions:
            other.begin(now)

    def restart(self, *, cold: bool, now: SimTime) -> None:
        """Begin anew for every master."""
        self.need_time = self.settings.need_time
        for association in self.associations.values():
            association.restart(cold=cold, now=now)

    # values

    def update(self, samples: Sequence[Sample], now: SimTime) -> None:
        for sample in samples:
            self._apply(sample)
        for association in self.associations.values():
            association.offer(now)

    def _apply(self, sample: Sample) -> None:
        target = self.database.inputs.get(sample.point)
        if target is None:
            raise Dnp3PointError(self.station, sample.point, "it is no input of this station")
        group, row = target
        t_ms = self._epoch_ms + sample.source_t_ms
        flags = flags_of(sample.quality, group)
        before = row.reading[1]
        row.reading = (sample.value, flags, t_ms)
        loaded = group == 30 and self.database.written_dead_bands
        if sample.spontaneous and not (loaded and self._within_dead_band(row, before)):
            row.last_event = sample.value
            self._event(group, row)

    def _within_dead_band(self, row: Row, flags_before: int) -> bool:
        if row.index not in self.database.written_dead_bands or row.reading[1] != flags_before:
            return False
        return abs(row.reading[0] - row.last_event) <= row.dead_band

    def _event(self, group: int, row: Row) -> None:
        value, flags, t_ms = row.reading
        for association in self.associations.values():
            event_class = association.event_class(group, row.index, row.event_class)
            if event_class:
                event_group = EVENT_OF_STATIC[group]
                event = Event(event_group, row.event_variation, row.index, value, flags, t_ms, event_class)
                association.buffer.add(event)

    def freeze(self, indexes: Sequence[int], *, clear: bool, now: SimTime) -> None:
        """Copy counters to their frozen counters, and set them to zero where asked."""
        counters, frozen = self.database.groups.get(20, {}), self.database.groups.get(21, {})
        t_ms = self.utc_ms(now)
        for index in indexes:
            counter = counters[index]
            value, flags, _ = counter.reading
            frozen[index].reading = (value, flags, t_ms)
            self._event(21, frozen[index])
            if clear:
                counter.reading = (0.0, flags, t_ms)

    def freeze_analogs(self, indexes: Sequence[int], now: SimTime) -> None:
        """Copy analogue inputs to their frozen objects (g31)."""
        for index in indexes:
            frozen = self.database.frozen_analog(index)
            value, flags, _ = self.database.groups[30][index].reading
            frozen.reading = (value, flags, self.utc_ms(now))
            self._event(31, frozen)

    # commands

    def _operated(self, point: str, value: float, now: SimTime) -> None:
        """The output status follows what was last operated."""
        kind, address = self._outputs[point]
        group = GROUP_OF_OUTPUT[address.group]
        row = self.database.groups[group][address.index]
        on = float(DoublePosition.CLOSED) if kind is PointKind.DOUBLE_COMMAND else 1.0
        shown = value if kind is PointKind.SETPOINT else float(value == on)
        row.reading = (shown, ONLINE, self.utc_ms(now))
        self._event(group, row)

    def finished(self, ticket: int, success: bool, now: SimTime) -> None:
        self.desk.finished(ticket)

    # time

    def utc_ms(self, now: SimTime) -> int:
        """UTC milliseconds since 1970 of a simulation time."""
        return self._epoch_ms + now

    def set_clock(self, commanded_ms: int, at: SimTime) -> None:
        """A master says that it was ``commanded_ms`` (since 1970) at ``at``."""
        self.clock_offset_ms = commanded_ms - self.utc_ms(at)
        self.need_time = False

    @property
    def attributes(self) -> dict[int, Attribute]:
        """The device attributes (group 0) by variation."""
        groups = self.database.groups
        return {
            216: self.settings.max_controls,
            220: len(groups.get(20, {})),
            229: len(groups.get(10, {})),
            233: len(groups.get(40, {})),
            239: len(groups.get(1, {})),
            240: self.settings.link.max_fragment,
            241: self.settings.link.max_fragment,
            242: "1",
            246: str(self.address),
            247: self.station,
            249: "3:2012",
            250: "emulated outstation",
            252: "distribution-twin",
        }

    # state as data

    def snapshot(self) -> dict[str, Any]:
        return {
            "database": self.database.snapshot(),
            "desk": self.desk.snapshot(),
            "associations": {str(master): a.snapshot() for master, a in self.associations.items()},
            "need_time": self.need_time,
            "clock_offset_ms": self.clock_offset_ms,
            "next_session": self._next_session,
            "sessions": [session.snapshot() for session in self._sessions],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.database.restore(state["database"])
        self.desk.restore(state["desk"])
        self.need_time, self.clock_offset_ms = state["need_time"], state["clock_offset_ms"]
        self._next_session = state["next_session"]
        self._sessions = []
        links = {}
        for saved in state["sessions"]:
            session = Dnp3OutstationSession(self, saved["number"], 0)
            links.update(session.restore(saved))
            self._sessions.append(session)
        for master, saved in state["associations"].items():
            self.associations[int(master)].restore(saved, links.get(int(master)))


def _link_address(station: str, points: Sequence[PointDefinition], settings: Dnp3OutstationSettings) -> int:
    if settings.address is not None:
        return settings.address
    common = points[0].address.common_address if points else 0
    if not 1 <= common <= MAX_ADDRESS:
        name = points[0].name if points else ""
        raise Dnp3PointError(station, name, f"common address {common} is no DNP3 link address (1 to {MAX_ADDRESS})")
    return common
