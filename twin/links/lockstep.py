"""Drives master sessions in lockstep with the field: simulated time, real connections, no clock.

What a station announced is waited for and given to the session at its arrival time; session timers run in
simulated time between arrivals. A lost session is dialled again after a back-off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from twin.links.model import LinkEvent, MasterSession, PolledSession
from twin.timebase import NEVER, SimTime
from twin.transport import (
    BARRIER_LIMIT_S,
    NOT_URGENT_MS,
    Condition,
    Endpoint,
    Handover,
    LockstepChannel,
    TelecontrolPath,
    Timetable,
)

RECONNECT_MS = 5_000


class _Line:
    """One session with its channel and when it is to be dialled next."""

    def __init__(self, session: MasterSession, endpoint: Endpoint, channel: LockstepChannel) -> None:
        self.session = session
        self._polled = session if isinstance(session, PolledSession) else None
        self.endpoint = endpoint
        self.channel = channel
        self.dial_at: SimTime = NEVER

    def next_due(self) -> SimTime:
        return min(self.channel.next_arrival(), self.session.next_timer(), self.dial_at)

    def times(self) -> tuple[SimTime, SimTime]:
        """When something is due, and when a simulation step is wanted.

        Wanted so that neither end runs into a time-out that is only the step's.
        """
        timer = min(self.session.next_timer(), self.dial_at)
        urgent = NEVER if self._polled is None else self._polled.next_urgent()
        wanted = min(self.channel.next_wanted(), timer + NOT_URGENT_MS, urgent)
        return min(self.channel.next_arrival(), timer), wanted

    def advance(self, now: SimTime) -> None:
        """Run arrivals, timers and dialling in the order of their times, up to ``now``."""
        while (due := self.next_due()) <= now:
            if self.dial_at <= due:
                self._dial(max(due, 0))
            elif not self.channel.deliver(partial(self._receive, due), due):
                self.session.tick(due)
                self.flush(due, urgent=False)

    def _dial(self, now: SimTime) -> None:
        if self.channel.path.is_cut(now):
            self.dial_at = now + RECONNECT_MS
            return
        self.dial_at = NEVER
        wire, port = self.endpoint.dial(self.session.station)
        self.channel.open(wire, now, self.channel.connection + 1, port)
        self.session.connected(now)
        self.flush(now, urgent=True)

    def _receive(self, at: SimTime, payload: Any, urgent: bool) -> None:
        if payload is None:
            self._lost(at, "closed by the station")
            return
        self.session.receive(payload, at)
        self.flush(at, urgent=urgent)

    def _lost(self, at: SimTime, reason: str) -> None:
        self.session.disconnected(at, reason)
        self.dial_at = at + RECONNECT_MS

    def flush(self, at: SimTime, *, urgent: bool) -> None:
        """Send what the session has to say, and hang up where it asks for that."""
        if self._polled is not None:
            urgent = self._polled.is_urgent
        self.channel.send(self.session.payload_to_send(), at, urgent=urgent)
        if self.channel.is_open and (reason := self.session.close_reason):
            self.channel.close(at)
            self._lost(at, reason)


class LockstepLinks:
    """All links of a control room in one simulated world."""

    def __init__(
        self,
        sessions: Mapping[str, MasterSession],
        endpoints: Mapping[str, Endpoint],
        paths: Mapping[str, TelecontrolPath],
        limit_s: float = BARRIER_LIMIT_S,
    ) -> None:
        """``limit_s`` is how long, by the wall clock, a barrier waits for what was announced."""
        self._lines = {
            station: _Line(session, endpoints[station], LockstepChannel(station, paths[station], limit_s))
            for station, session in sessions.items()
        }
        self._times = Timetable(self._lines, self._times_of)
        self._spoke: dict[str, None] = {}
        self._spoke_before: dict[str, None] = {}

    def _times_of(self, station: str) -> tuple[SimTime, SimTime]:
        return self._lines[station].times()

    def _touched(self, station: str) -> _Line:
        """A line that something happens to now."""
        self._times.touch(station)
        self._spoke[station] = None
        return self._lines[station]

    @property
    def has_news(self) -> bool:
        """In lockstep, nothing arrives between two cycles."""
        return False

    def start(self, now: SimTime) -> None:
        """Dial every station at ``now``."""
        for station in self._lines:
            self._touched(station).dial_at = now

    def accept(self, tokens: Iterable[Handover]) -> None:
        """Wait for what the stations announced.

        Raises:
            BarrierTimeoutError: a station did not deliver.
        """
        for token in tokens:
            self._touched(token.station).channel.accept(token)

    def advance(self, now: SimTime) -> list[LinkEvent]:
        """Everything that happens on the links up to ``now``."""
        for station in self._times.due(now):
            self._touched(station).advance(now)
        asked = {**self._spoke_before, **self._spoke}
        if not asked:
            return []
        return [event for name, line in self._lines.items() if name in asked for event in line.session.take_events()]

    def flush(self, now: SimTime, addressed: Iterable[str] | None = None) -> None:
        """Send what the control room gave to the sessions of ``addressed`` (None: to any of them)."""
        for station in self._lines if addressed is None else addressed:
            self._touched(station).flush(now, urgent=True)

    def cut(self, station: str, start_ms: SimTime, end_ms: SimTime) -> None:
        """The telecontrol path from a station is dead for a while."""
        self._touched(station).channel.path.cut(start_ms, end_ms)

    def worsen(self, station: str, condition: Condition) -> None:
        """The telecontrol path from a station is under a condition for a while."""
        self._touched(station).channel.path.worsen(condition)

    def take_handovers(self) -> list[Handover]:
        """The barrier tokens for the field."""
        asked = {**self._spoke_before, **self._spoke}
        self._spoke_before, self._spoke = self._spoke, {}
        if not asked:
            return []
        return [t for name, line in self._lines.items() if name in asked for t in line.channel.take_handovers()]

    def next_wanted(self) -> SimTime:
        """When a simulation step is wanted for something in flight, or for a session's own timers."""
        return self._times.next_wanted()

    def close(self) -> None:
        """Hang up everywhere."""
        for line in self._lines.values():
            line.channel.drop()

    def snapshot(self) -> dict[str, Any]:
        """State of the connections as JSON-able data, between two cycles; the sessions belong to their owner."""
        return {
            station: {"channel": line.channel.snapshot(), "dial_at": line.dial_at}
            for station, line in self._lines.items()
        }

    def restore(self, state: Mapping[str, Any]) -> tuple[dict[str, int], list[Handover]]:
        """Continue from :meth:`snapshot` over new connections.

        Returns:
            The port from which each connection that the stations know comes now, and the tokens to hand over again.
        """
        ports: dict[str, int] = {}
        tokens: list[Handover] = []
        for station, saved in state.items():
            line = self._touched(station)
            line.dial_at = saved["dial_at"]
            line.channel.restore(saved["channel"])
            again, port = line.channel.hand_over_again(partial(line.endpoint.dial, station))
            tokens += again
            if port is not None:
                ports[station] = port
        return ports, tokens
