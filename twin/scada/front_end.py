"""The front-end processor: owns the sessions, brings what they deliver into one order, and feeds the rest.

For the way in (link events to point database, alarms and command path) and the way out (link actions to sessions).
It does no input or output: a driver moves payloads and time, dials lost connections again, and hands over the
events of all sessions once a cycle.

The order within a batch does not depend on the transport. A lost session divides the events of its station into
rounds, so that what came before the loss is not declared not topical by it. Within a round come session
states by (time, station), then replies by (time, station, order of arrival), then samples by (source time,
station, point, order of arrival), then losses by (time, station). An interrogated sample is never moved
behind an event of the same point that arrived after it: the event is newer than the answer, whatever
the stamps say. Arrival times and session states enter the journal only in lines of kind ``session``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from twin.errors import Blame, TwinError
from twin.journal import JournalEntry
from twin.links.model import ArrivedSample, CommandReply, LinkEvent, MasterSession, SessionEvent, SessionState
from twin.network.model import Network
from twin.points.model import PointDefinition
from twin.scada.alarm_rules import AlarmRule, default_rules
from twin.scada.alarms import AlarmList
from twin.scada.authority import AreaAuthority, ArmingGuard, Authority
from twin.scada.command_model import ActionKind, Command, CommandSettings, LinkAction
from twin.scada.commands import CommandPath
from twin.scada.earthing import EarthInterlock
from twin.scada.interlocks import Interlock, default_interlocks
from twin.scada.point_database import Change, PointDatabase, SnapshotMismatchError
from twin.scada.tags import Record, TagBoard
from twin.timebase import SimTime

_OUTCOMES_KEPT = 1_000
_DOWN = (SessionState.CLOSED, SessionState.LOST)


class UnknownStationError(TwinError):
    """Something is said of, or sent to, a station that has no session here."""

    def __init__(self, station: str) -> None:
        self.station = station
        super().__init__(f"the front end has no session to a station {station}")


class UnarmedOperationError(TwinError):
    """An operation on a physical station got as far as the front end without the station being armed."""

    blame = Blame.OURS

    def __init__(self, station: str, point: str, why: str) -> None:
        self.station = station
        self.point = point
        super().__init__(f"the operation of {point} was held back at the front end: {why}")


@dataclass(slots=True)
class SessionStatistics:
    """What a session has done since the start of the run. ``state_since_t_ms`` is when its state was reached."""

    state: SessionState = SessionState.CLOSED
    state_since_t_ms: SimTime = 0
    interrogations: int = 0
    losses: int = 0
    samples: int = 0
    late_samples: int = 0
    unknown_samples: int = 0
    replies: int = 0
    refusals: int = 0
    actions: int = 0
    actions_dropped: int = 0
    last_arrival_t_ms: SimTime = 0


@dataclass(slots=True)
class _Round:
    """The events of all stations between two losses of their sessions."""

    states: list[SessionEvent] = field(default_factory=list)
    replies: list[CommandReply] = field(default_factory=list)
    samples: list[ArrivedSample] = field(default_factory=list)
    losses: list[SessionEvent] = field(default_factory=list)

    def sort(self) -> None:
        """Into the order of the module's description; equal ones stay in the order of arrival."""
        self.states.sort(key=_by_time_and_station)
        self.replies.sort(key=_by_time_and_station)
        self.samples = _in_order(self.samples)
        self.losses.sort(key=_by_time_and_station)


def _by_time_and_station(event: SessionEvent | CommandReply) -> tuple[SimTime, str]:
    return event.t_ms, event.station


def _in_order(samples: Sequence[ArrivedSample]) -> list[ArrivedSample]:
    """Sorted by (source time, station, point, order of arrival), an interrogated sample not behind later events."""
    earliest: dict[str, SimTime] = {}
    keyed: list[tuple[SimTime, str, str, int]] = []
    for number in range(len(samples) - 1, -1, -1):
        sample = samples[number].sample
        t_ms = sample.source_t_ms
        bound = earliest.get(sample.point, t_ms)
        if sample.spontaneous:
            earliest[sample.point] = min(bound, t_ms)
        keyed.append((t_ms if sample.spontaneous else min(bound, t_ms), sample.station, sample.point, number))
    return [samples[number] for *_, number in sorted(keyed)]


class FrontEnd:
    """The sessions of a control room by station, and the parts they feed.

    ``record`` must be the one that the parts were built with, so that the journal keeps the order of making.
    """

    def __init__(
        self,
        sessions: Mapping[str, MasterSession],
        *,
        database: PointDatabase,
        alarms: AlarmList,
        commands: CommandPath,
        tags: TagBoard,
        arming: ArmingGuard,
        record: Record,
    ) -> None:
        self.sessions = dict(sorted(sessions.items()))
        self.database = database
        self.alarms = alarms
        self.commands = commands
        self.tags = tags
        self.arming = arming
        self._record = record
        self._statistics = {station: SessionStatistics() for station in self.sessions}
        self._doubted: dict[str, None] = {}
        self._addressed: dict[str, None] = {}
        self._outcomes: deque[Command] = deque(maxlen=_OUTCOMES_KEPT)

    # -- the way in -----------------------------------------------------------------------------------------------

    def collect(self) -> list[LinkEvent]:
        """What all sessions have to report, station by station."""
        return [event for session in self.sessions.values() for event in session.take_events()]

    def on_events(self, events: Iterable[LinkEvent], now: SimTime) -> list[Change]:
        """Take the events of one cycle; only the order within each station matters.

        Returns what changed of status points, in order; late samples are among them, marked.
        Actions that follow wait in the command path for :meth:`route`.

        Raises:
            UnknownStationError: an event is from a station without a session here.
        """
        changes: list[Change] = []
        for one in self._rounds(events):
            one.sort()
            for state in one.states:
                self._on_state(state, now)
            for reply in one.replies:
                self._on_reply(reply, now)
            changes += [change for arrived in one.samples if (change := self._on_sample(arrived, now)) is not None]
            for loss in one.losses:
                self._on_state(loss, now)
        self._interrogate_doubted(now)
        self._settle(now)
        return changes

    def _rounds(self, events: Iterable[LinkEvent]) -> list[_Round]:
        rounds = [_Round()]
        losses: dict[str, int] = {}
        for event in events:
            station = event.sample.station if isinstance(event, ArrivedSample) else event.station
            if station not in self.sessions:
                raise UnknownStationError(station)
            number = losses.get(station, 0)
            while len(rounds) <= number:
                rounds.append(_Round())
            self._sort_into(rounds[number], event)
            if isinstance(event, SessionEvent) and event.state in _DOWN:
                losses[station] = number + 1
        return rounds

    @staticmethod
    def _sort_into(one: _Round, event: LinkEvent) -> None:
        if isinstance(event, ArrivedSample):
            one.samples.append(event)
        elif isinstance(event, CommandReply):
            one.replies.append(event)
        elif event.state in _DOWN:
            one.losses.append(event)
        else:
            one.states.append(event)

    def _on_state(self, event: SessionEvent, now: SimTime) -> None:
        statistics = self._statistics[event.station]
        statistics.state, statistics.state_since_t_ms = event.state, event.t_ms
        data: dict[str, Any] = {"state": event.state.value} | ({"detail": event.detail} if event.detail else {})
        if event.state in _DOWN:
            data["points"] = self.database.session_lost(event.station, now).points
        self._record(JournalEntry(now, "session", "session", event.station, data))
        if event.state is SessionState.INTERROGATED:
            statistics.interrogations += 1
            self.alarms.on_session_restored(event.station, now)
        elif event.state is SessionState.LOST:
            statistics.losses += 1
            self.alarms.on_session_lost(event.station, now)
        if event.state in _DOWN:
            self.commands.on_session_lost(event.station, now)

    def _on_reply(self, reply: CommandReply, now: SimTime) -> None:
        statistics = self._statistics[reply.station]
        statistics.replies += 1
        statistics.refusals += bool(reply.cause)
        self.commands.on_reply(reply, now)

    def _on_sample(self, arrived: ArrivedSample, now: SimTime) -> Change | None:
        sample = arrived.sample
        statistics = self._statistics[sample.station]
        statistics.last_arrival_t_ms = max(statistics.last_arrival_t_ms, arrived.t_ms)
        if not self.database.has(sample.station, sample.point):
            statistics.unknown_samples += 1
            return None
        statistics.samples += 1
        change = self.database.apply(arrived)
        if change is not None:
            self._on_change(change, statistics, now)
        return change

    def _on_change(self, change: Change, statistics: SessionStatistics, now: SimTime) -> None:
        statistics.late_samples += change.late
        if change.contradicts:
            self._doubted[change.station] = None
        if change.is_event:
            self._record(JournalEntry(now, "control_room", "event", change.point, _event_data(change)))
        self.alarms.on_change(change, now, commanded=self.commands.expects(change))
        self.commands.on_change(change, now)

    def _interrogate_doubted(self, now: SimTime) -> None:
        """Ask the stations whose late samples contradict the image for the present state."""
        doubted, self._doubted = sorted(self._doubted), {}
        for station in doubted:
            if self._statistics[station].state is SessionState.INTERROGATED:
                self._addressed[station] = None
                self.sessions[station].interrogate(now)

    def tick(self, now: SimTime) -> None:
        """Run the time limits of commands and alarms; the sessions' own timers belong to the driver."""
        self.commands.tick(now)
        self._settle(now)

    def _settle(self, now: SimTime) -> None:
        """Carry outcomes to the alarms, and look at delays and limits."""
        for command in self.commands.take_outcomes():
            self.alarms.on_outcome(command, now)
            self._outcomes.append(command)
        self.alarms.scan(now)

    def take_addressed(self) -> list[str]:
        """The stations whose sessions were given something to send since the last call, in order, once."""
        addressed, self._addressed = list(self._addressed), {}
        return addressed

    def take_outcomes(self) -> list[Command]:
        """The commands that have reached an outcome since the last call, in order, once (the last thousand)."""
        outcomes = list(self._outcomes)
        self._outcomes.clear()
        return outcomes

    def next_timer(self) -> SimTime:
        """When :meth:`tick` is needed next; ``NEVER`` if not at all."""
        return min(self.commands.next_timer(), self.alarms.next_timer())

    # -- the way out ----------------------------------------------------------------------------------------------

    def route(self, actions: Sequence[LinkAction], now: SimTime) -> None:
        """Give each action to its station's session; what cannot be sent is dropped and will time out.

        Raises:
            UnknownStationError: there is no session to a station.
            UnarmedOperationError: the station is physical and not armed; nothing of it was sent.
        """
        for action in actions:
            station = action.command.station
            if station not in self.sessions:
                raise UnknownStationError(station)
            if action.kind is not ActionKind.CANCEL and (why := self.arming.check(station, now)):
                raise UnarmedOperationError(station, action.command.point, why)
            self._send(action, now)

    def _send(self, action: LinkAction, now: SimTime) -> None:
        statistics, session = self._statistics[action.command.station], self.sessions[action.command.station]
        if statistics.state in (*_DOWN, SessionState.CONNECTED):
            statistics.actions_dropped += 1
            return
        statistics.actions += 1
        self._addressed[action.command.station] = None
        if action.kind is ActionKind.SELECT:
            session.select(action.command, now)
        elif action.kind is ActionKind.OPERATE:
            session.operate(action.command, now)
        else:
            session.cancel(action.command, now)

    def step(self, now: SimTime) -> list[Change]:
        """One cycle: collect, take over, run time limits, route. Returns as :meth:`on_events`."""
        changes = self.on_events(self.collect(), now)
        self.tick(now)
        self.route(self.commands.take_actions(), now)
        return changes

    # -- state ----------------------------------------------------------------------------------------------------

    def state(self, station: str) -> SessionState:
        """Where the session to a station stands.

        Raises:
            UnknownStationError: there is none.
        """
        return self.statistics(station).state

    def statistics(self, station: str) -> SessionStatistics:
        """What the session to a station has done.

        Raises:
            UnknownStationError: there is none.
        """
        if station not in self._statistics:
            raise UnknownStationError(station)
        return self._statistics[station]

    def snapshot(self) -> dict[str, Any]:
        """All parts and sessions, as JSON can carry them; the arming of physical stations is left out."""
        return {
            "database": self.database.snapshot(),
            "alarms": self.alarms.snapshot(),
            "commands": self.commands.snapshot(),
            "tags": self.tags.snapshot(),
            "outcomes": [command.command_id for command in self._outcomes],
            "statistics": {name: asdict(s) | {"state": s.state.value} for name, s in self._statistics.items()},
            "sessions": {station: session.snapshot() for station, session in self.sessions.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Return to a snapshot. Physical stations are unarmed afterwards.

        Raises:
            SnapshotMismatchError: it was taken with other stations, points, outputs or rules.
        """
        if list(state["sessions"]) != list(self.sessions):
            raise SnapshotMismatchError("front end")
        self.database.restore(state["database"])
        self.alarms.restore(state["alarms"])
        self.commands.restore(state["commands"])
        self.tags.restore(state["tags"])
        self.arming.disarm_all()
        self._doubted.clear()
        self._outcomes.clear()
        self._outcomes.extend(self.commands.command(command_id) for command_id in state["outcomes"])
        for station, row in state["statistics"].items():
            self._statistics[station] = SessionStatistics(**(row | {"state": SessionState(row["state"])}))
        for station, session in self.sessions.items():
            session.restore(state["sessions"][station])


def _event_data(change: Change) -> dict[str, Any]:
    data = {
        "point": change.point,
        "value": int(change.new_value),
        "quality": int(change.new_quality),
        "source_t_ms": change.source_t_ms,
    }
    return data | ({"late": True} if change.late else {})


def build_front_end(
    definitions: Sequence[PointDefinition],
    network: Network,
    sessions: Mapping[str, MasterSession],
    record: Record,
    *,
    physical_stations: Iterable[str] = (),
    authority: Authority | None = None,
    interlocks: Sequence[Interlock] | None = None,
    more_interlocks: Sequence[Interlock] = (),
    rules: Sequence[AlarmRule] | None = None,
    command_settings: CommandSettings | None = None,
    calculated: Sequence[PointDefinition] = (),
) -> FrontEnd:
    """A whole SCADA core with what ships: default interlocks and alarm rules, and no areas of responsibility.

    ``calculated`` are the points that applications publish beside the telemetered ``definitions``; ``more_interlocks``
    are checked after those that ship.
    """
    database = PointDatabase([*definitions, *calculated])
    tags = TagBoard(record)
    arming = ArmingGuard(physical_stations, record)
    commands = CommandPath(
        definitions,
        database,
        authority=authority or AreaAuthority(),
        interlocks=(*default_interlocks(network), EarthInterlock(network), *more_interlocks)
        if interlocks is None
        else interlocks,
        tags=tags,
        arming=arming,
        record=record,
        settings=command_settings,
    )
    alarms = AlarmList(default_rules(definitions, network) if rules is None else rules, database, record)
    return FrontEnd(
        sessions, database=database, alarms=alarms, commands=commands, tags=tags, arming=arming, record=record
    )
