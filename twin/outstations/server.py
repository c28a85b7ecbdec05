"""Hosts outstations on TCP in real time: one asyncio loop, any number of stations and masters.

The sessions know no socket and no clock; this module gives them both. The clock is a callable from outside
(monotonic time to simulation time), so that a paced or paused run keeps its own time. For runs in simulated
time there is ``lockstep`` instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from twin.outstations.model import Outstation, OutstationSession
from twin.points.model import Sample
from twin.timebase import NEVER, SimTime
from twin.transport.sockets import ListenError

Clock = Callable[[], SimTime]
MIN_WAIT_S = 0.001
MAX_WAIT_S = 60.0


class OutstationServer:
    """Listens for stations and drives their sessions; used from the thread of its loop only.

    ``speed`` is by how much simulation time runs faster than the wall clock; timers follow it.
    """

    def __init__(self, clock: Clock, *, speed: float = 1.0) -> None:
        self._clock = clock
        self._speed = speed
        self._hosted: dict[str, _Hosted] = {}

    async def host(self, outstation: Outstation, host: str, port: int = 0) -> tuple[str, int]:
        """Listen for the masters of a station; the address listened on (port 0 takes a free one).

        Raises:
            ListenError: the address cannot be listened on.
        """
        hosted = _Hosted(outstation, self._clock, self._speed)
        loop = asyncio.get_running_loop()
        try:
            hosted.server = await loop.create_server(lambda: _Connection(hosted), host, port, reuse_address=True)
        except OSError as error:
            raise ListenError(outstation.station, host, port, error.strerror or str(error)) from error
        self._hosted[outstation.station] = hosted
        bound = hosted.server.sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    def update(self, station: str, samples: Sequence[Sample]) -> None:
        """New values of a station, sent at once."""
        hosted = self._hosted[station]
        hosted.outstation.update(samples, self._clock())
        hosted.carry()

    def finished(self, station: str, ticket: int, success: bool) -> None:
        """The device of a station finished a command."""
        hosted = self._hosted[station]
        hosted.outstation.finished(ticket, success, self._clock())
        hosted.carry()

    def connection_count(self, station: str) -> int:
        """How many masters are connected to a station."""
        return len(self._hosted[station].connections)

    async def close(self) -> None:
        """Stop listening and hang up on every master; returns when all connections are gone."""
        closing = list(self._hosted.values())
        self._hosted.clear()
        for hosted in closing:
            await hosted.close()


class _Hosted:
    """One station with its listener and its connections."""

    def __init__(self, outstation: Outstation, clock: Clock, speed: float) -> None:
        self.outstation = outstation
        self.clock = clock
        self.speed = speed
        self.server: asyncio.Server | None = None
        self.connections: list[_Connection] = []

    def carry(self) -> None:
        """What one master does may give others something to hear, so all are looked at."""
        for connection in list(self.connections):
            connection.carry()

    async def close(self) -> None:
        assert self.server is not None
        self.server.close()
        closing = list(self.connections)
        for connection in closing:
            connection.hang_up()
        for connection in closing:
            await connection.gone.wait()
        await self.server.wait_closed()


class _Connection(asyncio.Protocol):
    """The TCP connection of one master."""

    def __init__(self, hosted: _Hosted) -> None:
        self.gone = asyncio.Event()
        self._hosted = hosted
        self._session: OutstationSession | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._session = self._hosted.outstation.open_session(self._hosted.clock())
        self._hosted.connections.append(self)
        self.carry()

    def data_received(self, data: bytes) -> None:
        if self._session is not None:
            self._session.receive(data, self._hosted.clock())
            self._hosted.carry()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        session, self._session = self._session, None
        if session is not None:
            self._hosted.connections.remove(self)
            self._hosted.outstation.close_session(session, self._hosted.clock())
            self._hosted.carry()
        self.gone.set()

    def pause_writing(self) -> None:
        """A master that does not read is not listened to either, so that nothing piles up."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def carry(self) -> None:
        """Send what the session wants sent, hang up where it asks for that, and set its timer."""
        if self._session is None or self._transport is None:
            return
        if data := self._session.payload_to_send():
            self._transport.write(data)
        if self._session.close_reason:
            self._transport.close()
        self._set_timer(self._session.next_timer())

    def _set_timer(self, due: SimTime) -> None:
        self._cancel_timer()
        if due >= NEVER:
            return
        wait_s = (due - self._hosted.clock()) / 1000 / self._hosted.speed
        wait_s = min(max(wait_s, MIN_WAIT_S), MAX_WAIT_S)
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._tick)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        if self._session is not None:
            self._session.tick(self._hosted.clock())
            self._hosted.carry()
