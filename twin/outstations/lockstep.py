"""Drives outstations in lockstep with the control room: simulated time, real connections, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from twin.journal import JournalEntry
from twin.outstations.misbehaviour import MisbehavingOutstation, Misbehaviour, NotMisbehavingError
from twin.outstations.model import HoldingSession, Outstation, OutstationSession
from twin.points.model import Sample
from twin.timebase import NEVER, SimTime
from twin.transport import (
    BARRIER_LIMIT_S,
    NOT_URGENT_MS,
    Acceptor,
    BarrierTimeoutError,
    Condition,
    Handover,
    LockstepChannel,
    TelecontrolPath,
    Timetable,
)


class _Host:
    """One station with its listener and the session of its master."""

    def __init__(self, outstation: Outstation, acceptor: Acceptor, path: TelecontrolPath, limit_s: float) -> None:
        self.outstation = outstation
        self.acceptor = acceptor
        self.channel = LockstepChannel(outstation.station, path, limit_s)
        self._limit_s = limit_s
        self.session: OutstationSession | None = None
        self._holding: HoldingSession | None = None

    def take_over(self, session: OutstationSession | None) -> None:
        """From now on this session is the one of the connection."""
        self.session = session
        self._holding = session if isinstance(session, HoldingSession) else None

    def accept(self, token: Handover) -> None:
        if token.opened_ms >= 0:
            self._open(token)
        self.channel.accept(token)

    def _open(self, token: Handover) -> None:
        at = self.channel.path.arrival(token.opened_ms)
        if self.session is not None:
            self.outstation.close_session(self.session, at)
        self.channel.join(self._claim(token.local_port), token.connection)
        self.take_over(self.outstation.open_session(at))

    def _claim(self, port: int) -> Any:
        try:
            return self.acceptor.claim(port, self._limit_s)
        except TimeoutError as error:
            raise BarrierTimeoutError(self.outstation.station, str(error)) from error

    def rewire(self, port: int) -> None:
        """Go on over the connection that comes from ``port``."""
        if self.session is not None:
            self.channel.resume(self._claim(port))

    def next_due(self) -> SimTime:
        if self.session is None:
            return NEVER
        return min(self.channel.next_arrival(), self.session.next_timer())

    def times(self) -> tuple[SimTime, SimTime]:
        """When something is due, and when a simulation step is wanted.

        Wanted so that neither end runs into a time-out that is only the step's.
        """
        if self.session is None:
            return NEVER, NEVER
        timer = self.session.next_timer()
        urgent = NEVER if self._holding is None else self._holding.next_urgent()
        wanted = min(self.channel.next_wanted(), timer + NOT_URGENT_MS, urgent)
        return min(self.channel.next_arrival(), timer), wanted

    def advance(self, now: SimTime) -> None:
        """Deliver what has arrived and run the timers due by ``now``."""
        while self.session is not None and self.next_due() <= now:
            if not self.channel.deliver(partial(self._receive, now), now):
                self.session.tick(now)
                self.flush(now, urgent=False)

    def _receive(self, at: SimTime, payload: Any, urgent: bool) -> None:
        if self.session is None:
            return
        if payload is None:
            self._closed(at)
            return
        self.session.receive(payload, at)
        self.flush(at, urgent=urgent)

    def forget(self, at: SimTime) -> None:
        """The connection is gone at this end alone: nothing is said of it."""
        if self.session is not None:
            self.channel.drop()
            self._closed(at)

    def _closed(self, at: SimTime) -> None:
        assert self.session is not None
        self.outstation.close_session(self.session, at)
        self.take_over(None)

    def flush(self, at: SimTime, *, urgent: bool) -> None:
        """Send what the session has to say, and hang up where it asks for that."""
        if self.session is None:
            return
        urgent = urgent or (self._holding is not None and self._holding.is_urgent)
        self.channel.send(self.session.payload_to_send(), at, urgent=urgent)
        if self.session.close_reason:
            self.channel.close(at)
            self._closed(at)


class LockstepStations:
    """All emulated stations of a field in one simulated world."""

    def __init__(
        self,
        outstations: Mapping[str, Outstation],
        acceptors: Mapping[str, Acceptor],
        paths: Mapping[str, TelecontrolPath],
        measured: frozenset[str] = frozenset(),
        limit_s: float = BARRIER_LIMIT_S,
    ) -> None:
        """``measured`` names the points whose values alone do not ask for an extra step.

        ``limit_s`` is how long, by the wall clock, a barrier waits for what was announced.
        """
        self._measured = measured
        self._hosts = {
            station: _Host(outstation, acceptors[station], paths[station], limit_s)
            for station, outstation in outstations.items()
        }
        self._times = Timetable(self._hosts, self._times_of)
        self._spoke: dict[str, None] = {}
        self._spoke_before: dict[str, None] = {}

    def _times_of(self, station: str) -> tuple[SimTime, SimTime]:
        return self._hosts[station].times()

    def _touched(self, station: str) -> _Host:
        """A station that something happens to now."""
        self._times.touch(station)
        self._spoke[station] = None
        return self._hosts[station]

    def accept(self, tokens: Iterable[Handover]) -> None:
        """Take new connections and wait for what the control room announced.

        Raises:
            BarrierTimeoutError: a connection did not deliver.
        """
        for token in tokens:
            self._touched(token.station).accept(token)

    def next_due(self) -> SimTime:
        """When :meth:`advance` has something to do."""
        return self._times.next_due()

    def next_wanted(self) -> SimTime:
        """When a simulation step is wanted for something in flight."""
        return self._times.next_wanted()

    def advance(self, now: SimTime) -> None:
        """Deliver everything due by ``now``."""
        for station in self._times.due(now):
            self._touched(station).advance(now)

    def update(self, samples: Sequence[Sample], now: SimTime) -> None:
        """Hand new values to their stations and send them; measured values alone ask for no extra step."""
        for station, group in groupby(sorted(samples, key=lambda s: s.station), key=lambda s: s.station):
            batch = list(group)
            host = self._touched(station)
            host.outstation.update(batch, now)
            host.flush(now, urgent=any(sample.point not in self._measured for sample in batch))

    def finished(self, station: str, ticket: int, success: bool, now: SimTime) -> None:
        """A device finished an operation."""
        host = self._touched(station)
        host.outstation.finished(ticket, success, now)
        host.flush(now, urgent=True)

    def cut(self, station: str, start_ms: SimTime, end_ms: SimTime) -> None:
        """The telecontrol path to a station is dead for a while."""
        self._touched(station).channel.path.cut(start_ms, end_ms)

    def worsen(self, station: str, condition: Condition) -> None:
        """The telecontrol path to a station is under a condition for a while."""
        self._touched(station).channel.path.worsen(condition)

    def half_open(self, station: str, now: SimTime) -> None:
        """A station forgets its connection; the control room is not told."""
        self._touched(station).forget(now)

    def misbehave(self, station: str, misbehaviour: Misbehaviour, now: SimTime) -> None:
        """A station begins to do something wrong.

        Raises:
            NotMisbehavingError: the station was not made for that.
        """
        host = self._touched(station)
        if not isinstance(host.outstation, MisbehavingOutstation):
            raise NotMisbehavingError(station)
        host.outstation.misbehave(misbehaviour, now)
        host.flush(now, urgent=True)

    def take_journal(self) -> list[JournalEntry]:
        """Nobody else connects in lockstep, so nobody is refused."""
        return []

    def take_handovers(self) -> list[Handover]:
        """The barrier tokens for the control room."""
        asked = {**self._spoke_before, **self._spoke}
        self._spoke_before, self._spoke = self._spoke, {}
        if not asked:
            return []
        return [t for name, host in self._hosts.items() if name in asked for t in host.channel.take_handovers()]

    def close(self) -> None:
        """Close every connection and listener."""
        for host in self._hosts.values():
            host.channel.drop()
            host.acceptor.close()

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data, between two cycles."""
        return {
            station: {"outstation": dict(host.outstation.snapshot()), "channel": host.channel.snapshot()}
            for station, host in self._hosts.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`; :meth:`rewire` gives the standing connections their new wires."""
        for station, saved in state.items():
            host = self._touched(station)
            host.outstation.restore(saved["outstation"])
            host.channel.restore(saved["channel"])
            host.take_over(host.outstation.sessions[0] if host.outstation.sessions else None)

    def rewire(self, ports: Mapping[str, int]) -> None:
        """Take the connections that the control room dialled after a restore.

        Connections that the field had not learnt of yet wait for their barrier tokens.
        """
        for station, port in ports.items():
            self._touched(station).rewire(port)
