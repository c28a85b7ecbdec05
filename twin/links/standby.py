"""A link of two connections to an IEC 60870-5-104 station, of one redundancy group (IEC 60870-5-104, 10).

One has data transfer (STARTDT); the other stands by, supervised by test frames alone (TESTFR). When the first fails,
data transfer is started on the other, and the lost one is dialled again and stands by. The station keeps what was not
acknowledged and sends it again over the new one. Each connection has a client of its own; the session is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twin.links.client import Clock, LinkClient, ReconnectSettings
from twin.links.iec104 import Iec104MasterSession
from twin.links.model import LinkCommand, LinkEvent
from twin.protocols.iec104 import Connection, ConnectionClosed, Role
from twin.security import TlsSettings
from twin.timebase import NEVER, SimTime


class Leg:
    """One of the connections, as its client drives it: the session's own, or one that stands by."""

    def __init__(self, pair: StandbyPair) -> None:
        self.station = pair.session.station
        self.client: LinkClient | None = None
        self.standby: Connection | None = None
        self._pair = pair
        self._close_reason = ""

    @property
    def is_active(self) -> bool:
        """Whether data transfer is, or is being started, on this connection."""
        return self._pair.active is self

    def connected(self, now: SimTime) -> None:
        self._close_reason = ""
        self._pair.connected(self, now)

    def disconnected(self, now: SimTime, reason: str) -> None:
        self.standby = None
        self._close_reason = ""
        self._pair.disconnected(self, now, reason)

    def receive(self, payload: bytes, now: SimTime) -> None:
        if self.is_active:
            self._pair.session.receive(payload, now)
            self._pair.look()
        elif self.standby is not None:
            self._supervise(self.standby.receive(payload, now))

    def tick(self, now: SimTime) -> None:
        if self.is_active:
            self._pair.session.tick(now)
        elif self.standby is not None:
            self._supervise(self.standby.tick(now))

    def _supervise(self, happened: Sequence[object]) -> None:
        for event in happened:
            if isinstance(event, ConnectionClosed):
                self._close_reason = event.reason

    def next_timer(self) -> SimTime:
        if self.is_active:
            return self._pair.session.next_timer()
        return NEVER if self.standby is None or self._close_reason else self.standby.next_timer()

    def payload_to_send(self) -> bytes:
        if self.is_active:
            return self._pair.session.payload_to_send()
        return b"" if self.standby is None else self.standby.data_to_send()

    @property
    def close_reason(self) -> str:
        return self._pair.session.close_reason if self.is_active else self._close_reason

    def take_events(self) -> list[LinkEvent]:
        """What the session has to report, over whichever connection it happened."""
        return self._pair.session.take_events()

    # orders go to the session, whatever the connection

    def select(self, command: LinkCommand, now: SimTime) -> None:
        self._pair.session.select(command, now)

    def operate(self, command: LinkCommand, now: SimTime) -> None:
        self._pair.session.operate(command, now)

    def cancel(self, command: LinkCommand, now: SimTime) -> None:
        self._pair.session.cancel(command, now)

    def interrogate(self, now: SimTime) -> None:
        self._pair.session.interrogate(now)

    def snapshot(self) -> Mapping[str, Any]:
        return self._pair.session.snapshot()

    def restore(self, state: Mapping[str, Any]) -> None:
        self._pair.session.restore(state)


class StandbyPair:
    """Which of two connections has data transfer. ``switches`` counts how often it went over to the other.

    ``wake`` is called with a connection that has something to send though nothing happened on it.
    """

    def __init__(self, session: Iec104MasterSession, wake: Callable[[Leg], None] = lambda leg: None) -> None:
        self.session = session
        self.switches = 0
        self.legs = (Leg(self), Leg(self))
        self.active: Leg | None = None
        self._wake = wake
        self._confirmed = False

    def look(self) -> None:
        """Data transfer may have been confirmed."""
        self._confirmed = self._confirmed or self.session.started

    def connected(self, leg: Leg, now: SimTime) -> None:
        """A connection stands: the first one gets data transfer, the other stands by."""
        if self.active is None:
            self.active, self._confirmed = leg, False
            self.session.connected(now)
        else:
            leg.standby = Connection(Role.CONTROLLING, self.session.settings.connection, now)

    def disconnected(self, leg: Leg, now: SimTime, reason: str) -> None:
        """A connection is gone, or cannot be made.

        Where data transfer was never confirmed, the standby is no way out that could be believed: the session is lost
        first, so that a station behind a dead network does not stay topical.
        """
        if self.active is not leg:
            if self.active is None:
                self.session.disconnected(now, reason)
            return
        other = next(one for one in self.legs if one is not leg)
        connection, other.standby = other.standby, None
        if connection is None or not self._confirmed:
            self.session.disconnected(now, reason)
        self.active, self._confirmed = None, False
        if connection is not None:
            self.active = other
            self.switches += 1
            self.session.go_over(connection, now, reason)
            self._wake(other)


class StandbyClient:
    """Keeps both connections from :meth:`start` to :meth:`stop`, as ``LinkClient`` keeps one."""

    def __init__(
        self,
        session: Iec104MasterSession,
        host: str,
        port: int,
        clock: Clock,
        on_events: Callable[[Sequence[LinkEvent]], None],
        *,
        reconnect: ReconnectSettings | None = None,
        speed: float = 1.0,
        tls: TlsSettings | None = None,
        source: str = "",
    ) -> None:
        """As of ``LinkClient``."""
        self.pair = StandbyPair(session, self._wake)
        for leg in self.pair.legs:
            leg.client = LinkClient(
                leg, host, port, clock, on_events, reconnect=reconnect, speed=speed, tls=tls, source=source
            )

    @property
    def clients(self) -> tuple[LinkClient, ...]:
        """The clients of both connections."""
        return tuple(leg.client for leg in self.pair.legs if leg.client is not None)

    def start(self) -> None:
        """Begin to connect, in the running loop.

        Raises:
            TlsSetupError: the certificates cannot be used.
        """
        for client in self.clients:
            client.start()

    async def ready(self) -> None:
        """There is nothing to wait for."""

    async def stop(self) -> None:
        """Hang up: the standby first, so that nobody goes over to it."""
        active = self.pair.active
        last = None if active is None else active.client
        await asyncio.gather(*(client.stop() for client in self.clients if client is not last))
        if last is not None:
            await last.stop()

    def act(self, action: Callable[[Any, SimTime], None]) -> None:
        """Let the session do something and send it at once."""
        leg = self.pair.active or self.pair.legs[0]
        assert leg.client is not None
        leg.client.act(action)

    def _wake(self, leg: Leg) -> None:
        if leg.client is not None:
            leg.client.act(lambda session, now: None)
