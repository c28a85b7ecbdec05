"""Outstations behind a server on another thread: what masters say is handed over, what is to be sent is fetched.

The server (``twin.outstations.server``) owns the sockets and lives on its loop. The stations, their sessions and the
devices behind them live on the thread that steps the plant, so that nothing of the plant needs a lock. A portal is
what the server sees of a station: it queues and never answers by itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twin.outstations.model import Outstation, OutstationSession
from twin.outstations.server import KnowsMasters
from twin.points.model import Sample
from twin.timebase import NEVER, SimTime

MOST_PENDING_OCTETS = 1 << 20
FLOODED = "more came than the station takes"
Job = Callable[[SimTime], None]


class Inbox:
    """What happened on the loop, with its time, for the thread that steps; ``wake`` is called for each."""

    def __init__(self, clock: Callable[[], SimTime], wake: Callable[[], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._lock = threading.Lock()
        self._jobs: deque[tuple[SimTime, str, Job]] = deque()

    def put(self, station: str, job: Job) -> None:
        """Something happened to a station; on the loop."""
        with self._lock:  # times must not fall, and two loops may put
            self._jobs.append((self._clock(), station, job))
        self._wake()

    def next_due(self) -> SimTime:
        """When the first of it happened; ``NEVER`` if nothing did."""
        return self._jobs[0][0] if self._jobs else NEVER

    def take(self, now: SimTime) -> tuple[SimTime, str, Job] | None:
        """The first that happened by ``now``; on the thread that steps."""
        if self.next_due() > now:
            return None
        return self._jobs.popleft()


class PortalSession:
    """One connection of a master. ``receive`` and ``payload_to_send`` belong to the loop, the rest to the stepping."""

    def __init__(self, portal: Portal, address: str) -> None:
        self.inner: OutstationSession | None = None
        self.close_reason = ""
        self.address = address
        self._portal = portal
        self._outbox: deque[bytes] = deque()
        self._came_octets = 0
        self._taken_octets = 0

    # on the loop

    def receive(self, payload: bytes, now: SimTime) -> None:
        """Hand over what a master said; one that says more than is taken is hung up on."""
        self._came_octets += len(payload)
        if self._came_octets - self._taken_octets > MOST_PENDING_OCTETS:
            self.close_reason = FLOODED
        else:
            self._portal.put(lambda at: self._take(payload, at))

    def tick(self, now: SimTime) -> None:
        """The session's timers run where it lives."""

    def next_timer(self) -> SimTime:
        return NEVER

    def payload_to_send(self) -> bytes:
        sent = []
        while self._outbox:
            sent.append(self._outbox.popleft())
        return b"".join(sent)

    # on the thread that steps

    def _take(self, payload: bytes, at: SimTime) -> None:
        self._taken_octets += len(payload)
        if self.inner is not None:
            self.inner.receive(payload, at)

    def collect(self) -> bool:
        """Fetch what the session has to say; whether there was anything."""
        if self.inner is None:
            return False
        if said := self.inner.payload_to_send():
            self._outbox.append(said)
        why = self.inner.close_reason
        news = bool(said) or (bool(why) and not self.close_reason)
        self.close_reason = self.close_reason or why
        return news


class Portal:
    """A station as the server sees it; see ``twin.outstations.model.Outstation``."""

    def __init__(self, outstation: Outstation, inbox: Inbox) -> None:
        self.station = outstation.station
        self.outstation = outstation
        self.live: list[PortalSession] = []
        self._inbox = inbox
        self._open: list[PortalSession] = []

    # on the loop

    def put(self, job: Job) -> None:
        """Let the thread that steps do something to this station."""
        self._inbox.put(self.station, job)

    @property
    def sessions(self) -> Sequence[PortalSession]:
        return self._open

    def open_session(self, now: SimTime) -> PortalSession:
        return self.open_session_from("", now)

    def open_session_from(self, address: str, now: SimTime) -> PortalSession:
        """A master connected from an IP address."""
        session = PortalSession(self, address)
        self._open.append(session)
        self.put(lambda at: self._begin(session, at))
        return session

    def close_session(self, session: PortalSession, now: SimTime) -> None:
        self._open.remove(session)
        self.put(lambda at: self._end(session, at))

    def update(self, samples: Sequence[Sample], now: SimTime) -> None:
        self.put(lambda at: self.outstation.update(samples, at))

    def finished(self, ticket: int, success: bool, now: SimTime) -> None:
        self.put(lambda at: self.outstation.finished(ticket, success, at))

    def snapshot(self) -> Mapping[str, Any]:
        return self.outstation.snapshot()

    def restore(self, state: Mapping[str, Any]) -> None:
        self.outstation.restore(state)

    # on the thread that steps

    def _begin(self, session: PortalSession, at: SimTime) -> None:
        if isinstance(self.outstation, KnowsMasters):
            session.inner = self.outstation.open_session_from(session.address, at)
        else:
            session.inner = self.outstation.open_session(at)
        self.live.append(session)

    def _end(self, session: PortalSession, at: SimTime) -> None:
        inner, session.inner = session.inner, None
        if inner is not None:
            self.live.remove(session)
            self.outstation.close_session(inner, at)

    def next_timer(self) -> SimTime:
        """When a session of this station has something due."""
        return min((s.inner.next_timer() for s in self.live if s.inner and not s.close_reason), default=NEVER)

    def tick(self, now: SimTime) -> None:
        """Run the timers of the sessions that are due."""
        for session in list(self.live):
            if session.inner is not None and session.inner.next_timer() <= now:
                session.inner.tick(now)

    def collect(self) -> bool:
        """Fetch what the sessions have to say: what one master does may give others something to hear."""
        return sum(session.collect() for session in self.live) > 0
