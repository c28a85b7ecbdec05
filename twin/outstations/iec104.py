"""An emulated IEC 60870-5-104 station: the image of its points, and one session for each master.

Not a device: commands go to a handler. What becomes an event is decided by whoever calls
:meth:`Iec104Outstation.update` (dead bands lie with the field device, unless a master loads a parameter): a sample
with ``spontaneous`` set is sent with its time tag, another one only changes the image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twin.outstations.iec104_clock import StationClock
from twin.outstations.iec104_commands import CommandDesk
from twin.outstations.iec104_events import EventQueue, StationEvent
from twin.outstations.iec104_image import InputPoint, PointMapError, StationImage
from twin.outstations.iec104_session import Iec104OutstationSession
from twin.outstations.iec104_settings import Iec104OutstationSettings, RedundancyGroupSettings
from twin.outstations.model import CommandHandler
from twin.points.model import PointDefinition, PointKind, Quality, Sample
from twin.protocols.iec104 import Asdu, Cause, mirrored, tagged_type
from twin.protocols.iec104.codecs import BCR
from twin.protocols.iec104.point_octets import TagOctets
from twin.timebase import SimTime, TimeBase

__all__ = ["Iec104Outstation", "Iec104OutstationSession", "Iec104OutstationSettings", "PointMapError"]

REMOTE_RESET = 2
"""Cause of initialisation: remote reset (IEC 60870-5-101, 7.2.6.21)."""


class RedundancyGroup:
    """Connections that share one queue of events; at most one of them has data transfer."""

    def __init__(self, settings: RedundancyGroupSettings, number: int, event_limit: int) -> None:
        self.settings = settings
        self.owner = -number
        self.events = EventQueue(event_limit)


class Iec104Outstation:
    """One emulated station; points of several common addresses make it a data concentrator.

    ``on_reset`` hears of a reset ordered by a master. ``initialization_cause`` is what the next end of
    initialisation says.

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
        on_reset: Callable[[SimTime], None] | None = None,
    ) -> None:
        self.station = station
        self.settings = settings or Iec104OutstationSettings()
        self.time_base = time_base
        self.image = StationImage(station, points, self.settings)
        self.common_addresses = sorted({definition.address.common_address for definition in points})
        self.desk = CommandDesk(handler, self.settings.select_timeout_ms)
        self.clock = StationClock(self.settings.clock)
        self.buffer = EventQueue(self.settings.event_limit)
        self.groups = [
            RedundancyGroup(group, number, self.settings.event_limit)
            for number, group in enumerate(self.settings.redundancy_groups, start=1)
        ]
        self.initialization_announced = False
        self.initialization_cause = 0
        self.batch = 0
        self.controller: int | None = None
        self._on_reset = on_reset
        self._tags = TagOctets(time_base)
        self._overflow = self._overflow_input()
        self._overflowed = False
        self._dropped_before = 0
        self._commands_of = _commands_by_feedback(points)
        self._sessions: list[Iec104OutstationSession] = []
        self._next_session = 1

    def _overflow_input(self) -> InputPoint | None:
        name = self.settings.overflow_point
        if not name:
            return None
        point = self.image.input(name)
        if point.definition.kind is not PointKind.SINGLE:
            raise PointMapError(self.station, name, "an overflow indication is a single point")
        point.quality = Quality.GOOD
        return point

    # sessions

    @property
    def sessions(self) -> Sequence[Iec104OutstationSession]:
        """The open sessions, oldest first."""
        return self._sessions

    @property
    def clock_offset_ms(self) -> int | None:
        """What the last clock synchronisation commanded minus what the clock showed; None before the first."""
        return self.clock.offset_ms

    @property
    def events_dropped(self) -> int:
        """How many events found no room, in the buffers and in the sessions now open."""
        anonymous = sum(session.events.dropped for session in self._sessions if session.group is None)
        return self.buffer.dropped + sum(group.events.dropped for group in self.groups) + anonymous

    def open_session(self, now: SimTime, address: str = "") -> Iec104OutstationSession:
        """A master connected from an IP address (empty: not known)."""
        group = next((group for group in self.groups if group.settings.takes(address)), None)
        session = Iec104OutstationSession(self, self._next_session, now, group)
        self._next_session += 1
        self._sessions.append(session)
        return session

    def open_session_from(self, address: str, now: SimTime) -> Iec104OutstationSession:
        """A master connected from an IP address."""
        return self.open_session(now, address)

    def close_session(self, session: Iec104OutstationSession, now: SimTime) -> None:
        self._sessions.remove(session)
        if session.group is None:
            self.desk.drop(session.owner, now)
            self.buffer.dropped += session.events.dropped
            self.take_back(session.undelivered(), now, gap=session.events.gap)
        else:
            session.group.events.put_back(session.unacknowledged())
            if not self._active(session.owner):
                self.desk.drop(session.owner, now)
        self.stopped(session)

    def _active(self, owner: int) -> bool:
        return any(session.owner == owner and session.started for session in self._sessions)

    def started(self, session: Iec104OutstationSession, now: SimTime) -> None:
        """A session has data transfer: others of its redundancy group lose it, their events come to this one."""
        if self.controller is None:
            self.controller = session.owner
        if session.group is None:
            waiting, gap = self.buffer.take_all(), self.buffer.gap
            self.buffer.gap = False
            session.events.gap |= gap
            session.events.extend(self._unknown_to(session, waiting))
            return
        for other in self._sessions:
            if other is not session and other.group is session.group:
                session.group.events.put_back(other.deactivate())

    def stopped(self, session: Iec104OutstationSession) -> None:
        """A master has stopped data transfer; control passes to the oldest that has it."""
        if self.controller == session.owner and not self._active(session.owner):
            self.controller = next((other.owner for other in self._sessions if other.started), None)

    def has_control(self, session: Iec104OutstationSession) -> bool:
        """Whether a master may command this station."""
        return not self.settings.one_in_control or self.controller == session.owner

    # events

    def update(self, samples: Sequence[Sample], now: SimTime) -> None:
        self.batch += 1
        events = [event for sample in samples if (event := self._apply(sample)) is not None]
        if events:
            self._publish(events, now)

    def _publish(self, events: list[StationEvent], now: SimTime) -> None:
        receivers = [session for session in self._sessions if session.started and session.group is None]
        for session in receivers:
            session.offer(events, now)
        for group in self.groups:
            group.events.extend(events)
        for session in self._sessions:
            if session.group is not None and session.started:
                session.send_events(now)
        if not receivers and not self.groups:
            self.buffer.extend(events)
        if self._overflow is not None:
            self._watch_overflow(now)

    def _apply(self, sample: Sample) -> StationEvent | None:
        target = self.image.inputs.get(sample.point)
        if target is None:
            raise PointMapError(self.station, sample.point, "it is no input of this station")
        target.value, target.quality = sample.value, sample.quality
        if not sample.spontaneous:
            return None
        if target.limits is not None and target.limits.suppresses(sample.value, sample.quality):
            return None
        return self.event(target, sample.source_t_ms)

    def event(self, point: InputPoint, t_ms: SimTime, event_type: int = 0) -> StationEvent:
        """The spontaneous object of an input as it is, stamped with an instant."""
        type_id, counter = event_type or point.event_type, point.counter
        value = point.value if counter is None else counter.count(point.value)
        octets = point.ioa_octets + point.octets_of(value, point.quality)
        if type_id != point.plain or point.event_only:
            octets += self._tags.at(self.clock.reading(t_ms), invalid=not self.clock.valid)
        return StationEvent(self.batch, type_id, self._cause(point), point.common_address, octets)

    def _cause(self, point: InputPoint) -> int:
        if self.settings.return_information and self.desk.executes(self._commands_of.get(point.name, ())):
            return _RETURN_REMOTE
        return _SPONTANEOUS

    def _watch_overflow(self, now: SimTime) -> None:
        dropped = self.events_dropped
        if dropped > self._dropped_before and not self._overflowed:
            self._indicate_overflow(True, now)
        self._dropped_before = dropped

    def overflow_event(self, now: SimTime) -> StationEvent | None:
        """The indication that events have been dropped; None where the station has no point for it."""
        if self._overflow is None:
            return None
        self._overflowed, self._overflow.value = True, 1.0
        return self.event(self._overflow, now)

    def relax(self, now: SimTime) -> None:
        """A master has taken events: an overflow is over when none waits any more."""
        if self._overflowed and not self._waiting():
            self._indicate_overflow(False, now)

    def _waiting(self) -> bool:
        queues = [self.buffer, *(group.events for group in self.groups), *(s.events for s in self._sessions)]
        return any(len(queue) for queue in queues)

    def _indicate_overflow(self, on: bool, now: SimTime) -> None:
        """Who has a gap before its events hears of an overflow there, the others at once."""
        assert self._overflow is not None
        self._overflowed = on
        self._overflow.value = float(on)
        self.batch += 1
        event = self.event(self._overflow, now)
        for session in self._sessions:
            if session.started and not session.events.gap and session.group is None:
                session.offer((event,), now)
        for group in self.groups:
            if not group.events.gap:
                group.events.extend((event,))
        for session in self._sessions:
            if session.started and session.group is not None:
                session.send_events(now)

    def take_back(self, events: Sequence[StationEvent], now: SimTime, *, gap: bool = False) -> None:
        """Events that their master did not acknowledge go to masters that came later, or wait for the next one.

        ``gap`` says that some were dropped before them.
        """
        receivers = [session for session in self._sessions if session.started and session.group is None]
        for session in receivers:
            session.events.gap |= gap
            session.offer(self._unknown_to(session, events), now)
        if not receivers:
            self.buffer.gap |= gap
            self.buffer.put_back(events)

    def _unknown_to(self, session: Iec104OutstationSession, events: Sequence[StationEvent]) -> list[StationEvent]:
        """Those of other sessions' events that this one has not had: two that break off may give the same one back."""
        new = [e for e in events if e.batch <= session.started_after_batch and e not in session.adopted]
        if any(other is not session and other.group is None for other in self._sessions):
            session.adopted.update(new)
        else:
            session.adopted.clear()
        return new

    # counters, commands, reset

    def freeze_counters(self, points: Sequence[InputPoint], now: SimTime, *, freeze: bool, reset: bool) -> None:
        """Freeze counters, reset them, or both; frozen ones are reported where the settings say so."""
        self.batch += 1
        for point in points:
            assert point.counter is not None
            if freeze:
                point.counter.freeze(point.value, point.quality)
            if reset:
                point.counter.reset(point.value)
        if freeze and self.settings.report_frozen:
            self._publish([self._frozen_event(point, now) for point in points], now)

    def _frozen_event(self, point: InputPoint, now: SimTime) -> StationEvent:
        assert point.counter is not None
        octets = point.ioa_octets + BCR.encode(point.counter.total(point.value, point.quality))
        octets += self._tags.at(self.clock.reading(now), invalid=not self.clock.valid)
        return StationEvent(self.batch, tagged_type(point.plain), _SPONTANEOUS, point.common_address, octets)

    def finished(self, ticket: int, success: bool, now: SimTime) -> None:
        execution = self.desk.finished(ticket, success)
        if execution is not None:
            self.terminate(execution.owner, execution.asdu, success, now)

    def terminate(self, owner: int, asdu: Asdu, success: bool, now: SimTime) -> None:
        """Tell the master that ordered a command how it ended, if it is still there."""
        for session in self._sessions:
            if session.owner == owner and session.started:
                session.reply(mirrored(asdu, Cause.ACTIVATION_TERMINATION, negative=not success), now)

    def reset(self, common_address: int, now: SimTime) -> None:
        """A master resets the process: selects and loaded parameters go; events, counters and connections stay."""
        self.desk.release_all(now)
        self.image.forget_parameters(common_address)
        if self._on_reset is not None:
            self._on_reset(now)
        for session in self._sessions:
            session.announce_initialization((common_address,), now, REMOTE_RESET)

    def forget_events(self) -> None:
        """Drop every event that no master has been sent."""
        for queue in (self.buffer, *(group.events for group in self.groups), *(s.events for s in self._sessions)):
            queue.take_all()

    # state as data

    def snapshot(self) -> dict[str, Any]:
        return {
            "image": self.image.values(),
            "registers": self.image.registers(),
            "buffer": self.buffer.snapshot(),
            "groups": [group.events.snapshot() for group in self.groups],
            "desk": self.desk.snapshot(),
            "clock": self.clock.snapshot(),
            "initialization": [self.initialization_announced, self.initialization_cause],
            "batch": self.batch,
            "controller": self.controller,
            "overflow": [self._overflowed, self._dropped_before],
            "next_session": self._next_session,
            "sessions": [session.snapshot() for session in self._sessions],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.image.restore(state["image"], state["registers"])
        self.buffer.restore(state["buffer"])
        for group, saved in zip(self.groups, state["groups"], strict=True):
            group.events.restore(saved)
        self.desk.restore(state["desk"])
        self.clock.restore(state["clock"])
        self.initialization_announced, self.initialization_cause = state["initialization"]
        self.batch = state["batch"]
        self.controller = state["controller"]
        self._overflowed, self._dropped_before = state["overflow"]
        self._next_session = state["next_session"]
        self._sessions = [self._restored(saved) for saved in state["sessions"]]

    def _restored(self, saved: Mapping[str, Any]) -> Iec104OutstationSession:
        group = None if saved["group"] is None else self.groups[saved["group"] - 1]
        session = Iec104OutstationSession(self, saved["number"], 0, group)
        session.restore(saved)
        return session


_SPONTANEOUS, _RETURN_REMOTE = int(Cause.SPONTANEOUS), int(Cause.RETURN_REMOTE)


def _commands_by_feedback(points: Sequence[PointDefinition]) -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for definition in points:
        if definition.feedback:
            table[definition.feedback] = (*table.get(definition.feedback, ()), definition.name)
    return table
