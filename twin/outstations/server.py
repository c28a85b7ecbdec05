"""Hosts outstations on TCP in real time: one asyncio loop, any number of stations and masters.

The sessions know no socket and no clock; this module gives them both. The clock is a callable from outside
(monotonic time to simulation time), so that a paced or paused run keeps its own time. For runs in simulated
time there is ``lockstep`` instead.

Each station may let in only certain addresses, only so many masters, and only over TLS; who is refused is told to
``on_refused`` in one sentence.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, field_validator

from twin.outstations.model import Outstation, OutstationSession
from twin.points.model import Sample
from twin.security import TlsRefusedError, TlsSettings, check_peer, refusal, server_context
from twin.timebase import NEVER, SimTime
from twin.transport.sockets import ListenError

Clock = Callable[[], SimTime]
ACCEPTED_AT_ONCE, WAITING_TO_BE_ACCEPTED = 16, 1024
READ_AT_ONCE = 4_096
"""Octets: a flood from one master must not keep the others waiting for longer than these take to be served."""
MIN_WAIT_S = 0.001
MAX_WAIT_S = 60.0
_log = logging.getLogger(__name__)


class AccessSettings(BaseModel):
    """Who may connect to a station."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[str, ...] = Field(default=(), description="IP addresses or networks of masters; none: any")
    most_masters: int = Field(default=32, ge=1, description="most connections at a time")
    tls: TlsSettings | None = Field(default=None, description="certificates; none: plain TCP")

    @field_validator("sources")
    @classmethod
    def _are_networks(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for source in sources:
            ipaddress.ip_network(source, strict=False)
        return sources

    def admits(self, address: str) -> bool:
        """Whether a master at this address may connect."""
        here = ipaddress.ip_address(address)
        return not self.sources or any(here in ipaddress.ip_network(s, strict=False) for s in self.sources)


@runtime_checkable
class KnowsMasters(Protocol):
    """An outstation that wants to know from where a master connects."""

    def open_session_from(self, address: str, now: SimTime) -> OutstationSession:
        """A master connected from an IP address."""
        ...


def log_refusal(sentence: str) -> None:
    """What happens to a refusal if nobody else wants it."""
    _log.warning("%s", sentence)


class OutstationServer:
    """Listens for stations and drives their sessions; used from the thread of its loop only.

    ``speed`` is by how much simulation time runs faster than the wall clock; timers follow it.
    """

    def __init__(self, clock: Clock, *, speed: float = 1.0, on_refused: Callable[[str], None] = log_refusal) -> None:
        self._clock = clock
        self._speed = speed
        self._on_refused = on_refused
        self._inbox = memoryview(bytearray(READ_AT_ONCE))
        self._hosted: dict[str, _Hosted] = {}

    async def host(
        self,
        outstation: Outstation,
        host: str,
        port: int = 0,
        access: AccessSettings | None = None,
        origin: Callable[[int], str] | None = None,
    ) -> tuple[str, int]:
        """Listen for the masters of a station; the address listened on (port 0 takes a free one).

        Where a relay stands in front, ``origin`` gives the address of a master by the port the relay dials from, empty
        for a port that is not the relay's: such a connection is refused.

        Raises:
            ListenError: the address cannot be listened on.
            TlsSetupError: the certificates cannot be used.
        """
        allowed = access or AccessSettings()
        hosted = _Hosted(outstation, self._clock, self._speed, allowed, self._on_refused, origin, self._inbox)
        loop = asyncio.get_running_loop()
        try:
            hosted.server = await loop.create_server(
                lambda: _Connection(hosted), host, port, reuse_address=True, backlog=ACCEPTED_AT_ONCE
            )
            _lengthen_queues(hosted.server)
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

    def carry(self, station: str) -> None:
        """Send what the sessions of a station have to say, and hang up where they ask for that."""
        if station in self._hosted:
            self._hosted[station].carry()

    def renew_certificates(self, station: str) -> None:
        """Read certificates and revocation list anew; connections that stand stay.

        Raises:
            TlsSetupError: the certificates cannot be used; the old ones stay in use.
        """
        self._hosted[station].load_certificates()

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

    def __init__(
        self,
        outstation: Outstation,
        clock: Clock,
        speed: float,
        access: AccessSettings,
        on_refused: Callable[[str], None],
        origin: Callable[[int], str] | None,
        inbox: memoryview,
    ) -> None:
        self.outstation = outstation
        self.inbox = inbox
        self.origin = origin
        self.clock = clock
        self.speed = speed
        self.access = access
        self.server: asyncio.Server | None = None
        self.context: ssl.SSLContext | None = None
        self.connections: list[_Connection] = []
        self.arriving: set[_Connection] = set()
        self._on_refused = on_refused
        self.load_certificates()

    def load_certificates(self) -> None:
        if self.access.tls is not None:
            self.context = server_context(self.access.tls)

    def open_session(self, address: str) -> OutstationSession:
        if isinstance(self.outstation, KnowsMasters):
            return self.outstation.open_session_from(address, self.clock())
        return self.outstation.open_session(self.clock())

    def address_of(self, peer: tuple[str, int]) -> str:
        """Where a master is, seen through the relay if there is one; empty if it went round the relay."""
        return peer[0] if self.origin is None else self.origin(peer[1])

    def objection(self, address: str) -> str:
        """Why a newcomer may not connect; empty if it may."""
        if not address:
            return "it did not come over the telecontrol network"
        if not self.access.admits(address):
            return "its address is not among those that may connect"
        if len(self.connections) + len(self.arriving) >= self.access.most_masters:
            return f"{self.access.most_masters} masters are connected already"
        return ""

    def refuse(self, address: str, why: str) -> None:
        self._on_refused(f"station {self.outstation.station} refused a connection from {address or 'here'}: {why}")

    def carry(self, acting: _Connection | None = None) -> None:
        """What one master does may give others something to hear, so all are looked at."""
        if acting is not None:
            acting.carry()
        for connection in list(self.connections):
            if connection is not acting:
                connection.carry()

    async def close(self) -> None:
        assert self.server is not None
        self.server.close()
        closing = [*self.connections, *self.arriving]
        for connection in closing:
            connection.hang_up()
        for connection in closing:
            await connection.gone.wait()
        await self.server.wait_closed()


def _lengthen_queues(server: asyncio.Server) -> None:
    """Many may wait to be accepted, though few are in one turn."""
    for listening in server.sockets:
        with socket.socket(fileno=os.dup(listening.fileno())) as same:
            same.listen(WAITING_TO_BE_ACCEPTED)


class _Connection(asyncio.BufferedProtocol):
    """The TCP connection of one master. What it sends is read in small parts, with others in between."""

    def __init__(self, hosted: _Hosted) -> None:
        self.gone = asyncio.Event()
        self._hosted = hosted
        self._address = ""
        self._session: OutstationSession | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = NEVER
        self._handshake: asyncio.Task[None] | None = None
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._address = self._hosted.address_of(transport.get_extra_info("peername")[:2])
        if why := self._hosted.objection(self._address):
            self._hosted.refuse(self._address, why)
            transport.abort()
        elif self._hosted.context is None:
            self._open()
        else:
            transport.pause_reading()
            self._hosted.arriving.add(self)
            self._handshake = asyncio.get_running_loop().create_task(self._protect(self._hosted.context))

    async def _protect(self, context: ssl.SSLContext) -> None:
        """The handshake of TLS; the session opens when the peer has proved who it is."""
        tls, plain = self._hosted.access.tls, self._transport
        assert tls is not None
        assert plain is not None
        try:
            protected = await asyncio.get_running_loop().start_tls(
                plain, self, context, server_side=True, ssl_handshake_timeout=tls.handshake_limit_s
            )
            if protected is None:
                raise ConnectionResetError
            self._transport = protected
            check_peer(protected.get_extra_info("peercert"), tls)
        except (OSError, TlsRefusedError) as error:
            self._hosted.refuse(self._address, refusal(error))
            self.hang_up()
            plain.abort()
            self._leave()
        else:
            self._hosted.arriving.discard(self)
            if not self.gone.is_set():
                self._open()

    def _open(self) -> None:
        self._session = self._hosted.open_session(self._address)
        self._hosted.connections.append(self)
        self.carry()
        early, self._early = self._early, b""
        if early:
            self._take(early)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._hosted.inbox

    def buffer_updated(self, nbytes: int) -> None:
        self._take(bytes(self._hosted.inbox[:nbytes]))

    def _take(self, data: bytes) -> None:
        """What comes with the last octets of a handshake waits for the session."""
        if self._session is None:
            self._early += data
        else:
            self._session.receive(data, self._hosted.clock())
            self._hosted.carry(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        session, self._session = self._session, None
        if session is not None:
            self._hosted.connections.remove(self)
            self._hosted.outstation.close_session(session, self._hosted.clock())
            self._hosted.carry()
        self._leave()

    def _leave(self) -> None:
        self._hosted.arriving.discard(self)
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
        session = self._session
        if session is None or self._transport is None:
            return
        if data := session.payload_to_send():
            self._transport.write(data)
        if session.close_reason:
            self._transport.close()
        self._set_timer(session.next_timer())

    def _set_timer(self, due: SimTime) -> None:
        """A timer that is set for earlier stays: when it fires, it looks again."""
        if due >= self._due:
            return
        self._cancel_timer()
        wait_s = (due - self._hosted.clock()) / 1000 / self._hosted.speed
        wait_s = min(max(wait_s, MIN_WAIT_S), MAX_WAIT_S)
        self._due = due
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._tick)

    def _cancel_timer(self) -> None:
        self._due = NEVER
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._due = NEVER
        if self._session is not None:
            self._session.tick(self._hosted.clock())
            self._hosted.carry(self)
