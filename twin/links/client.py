"""Drives a master session over TCP in real time, and connects again with a back-off when it is lost.

The session knows no socket and no clock; this module gives it both. For runs in simulated time there is
``lockstep`` instead.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict, Field

from twin.links.model import LinkEvent, MasterSession, SessionEvent, SessionState
from twin.security import TlsRefusedError, TlsSettings, TlsSetupError, check_peer, client_context, refusal
from twin.timebase import NEVER, SimTime

Clock = Callable[[], SimTime]
CLOSED_BY_PEER = "closed by the station"
CLOSED_BY_US = "closed here"
MIN_WAIT_S = 0.001
MAX_WAIT_S = 60.0


class ReconnectSettings(BaseModel):
    """How a lost connection is dialled again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_s: float = Field(default=1.0, gt=0, description="wait after the first failure")
    factor: float = Field(default=2.0, ge=1, description="by how much the wait grows from failure to failure")
    most_s: float = Field(default=30.0, gt=0, description="longest wait")
    connect_limit_s: float = Field(default=10.0, gt=0, description="how long one attempt may take")

    def wait_s(self, failures: int) -> float:
        """The wait after so many failures in a row."""
        return float(min(self.most_s, self.first_s * self.factor ** min(failures - 1, 64)))


class LinkClient:
    """One session kept connected from :meth:`start` to :meth:`stop`; used from the thread of its loop only.

    ``on_events`` gets the session's events as they come, never an empty list. ``speed`` is by how much
    simulation time runs faster than the wall clock. With ``tls`` the connection is protected; the certificates are read
    at each attempt, so that a renewed revocation list counts. ``last_failure`` says why the last attempt failed.
    """

    def __init__(
        self,
        session: MasterSession,
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
        """``source`` is the local address to connect from, empty for any."""
        self.session = session
        self.failures = 0
        self.last_failure = ""
        self._tls = tls
        self._source = source
        self._host = host
        self._port = port
        self._clock = clock
        self._on_events = on_events
        self._reconnect = reconnect or ReconnectSettings()
        self._speed = speed
        self._connection: _Connection | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect, in the running loop.

        Raises:
            TlsSetupError: the certificates cannot be used.
        """
        if self._tls is not None:
            client_context(self._tls)
        self._task = asyncio.get_running_loop().create_task(self._keep_connected())

    async def ready(self) -> None:
        """There is nothing to wait for: no process has to start."""

    async def stop(self) -> None:
        """Hang up and stay disconnected; returns when the connection is gone."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._connection is not None:
            connection = self._connection
            connection.hang_up(CLOSED_BY_US)
            await connection.gone.wait()

    def act(self, action: Callable[[MasterSession, SimTime], None]) -> None:
        """Let the session do something (select, operate, interrogate, ...) and send it at once."""
        action(self.session, self._clock())
        if self._connection is None:
            self._publish()
        else:
            self._connection.carry()

    async def _keep_connected(self) -> None:
        while True:
            connection = await self._connect()
            if connection is not None:
                await connection.gone.wait()
            self.failures += 1
            await asyncio.sleep(self._reconnect.wait_s(self.failures))

    async def _connect(self) -> _Connection | None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._reconnect.connect_limit_s):
                context = None if self._tls is None else client_context(self._tls)
                _, connection = await loop.create_connection(
                    lambda: _Connection(self),
                    self._host,
                    self._port,
                    ssl=context,
                    server_hostname="" if context else None,
                    local_addr=(self._source, 0) if self._source else None,
                )
        except ssl.SSLError as error:
            self._refused(refusal(error))
        except TlsSetupError as error:
            self.last_failure = str(error)
        except (OSError, TimeoutError) as error:
            self.last_failure = f"{self._host}:{self._port} cannot be reached: {error or 'no answer in time'}"
        else:
            return connection
        return None

    def _refused(self, why: str) -> None:
        """The other side did not prove who it is: the session is told, as of a loss, once a reason."""
        before, self.last_failure = self.last_failure, f"TLS with {self._host}:{self._port} was refused: {why}"
        if self.last_failure != before:
            self.session.disconnected(self._clock(), self.last_failure)
            self._publish()

    def _objection(self, transport: asyncio.Transport) -> str:
        """Why a station that proved who it is may still not be the one; empty if it may."""
        if self._tls is None:
            return ""
        try:
            check_peer(transport.get_extra_info("peercert"), self._tls)
        except TlsRefusedError as error:
            self.last_failure = f"TLS with {self._host}:{self._port} was refused: {error}"
            return self.last_failure
        return ""

    def _reason_of(self, exc: Exception | None) -> str:
        if isinstance(exc, ssl.SSLError):
            self.last_failure = f"TLS with {self._host}:{self._port} was refused: {refusal(exc)}"
            return self.last_failure
        return str(exc) if exc else CLOSED_BY_PEER

    def _publish(self) -> None:
        events = self.session.take_events()
        if any(isinstance(event, SessionEvent) and event.state is SessionState.STARTED for event in events):
            self.failures = 0
        if events:
            self._on_events(events)


class _Connection(asyncio.Protocol):
    """One TCP connection of a client."""

    def __init__(self, client: LinkClient) -> None:
        self.gone = asyncio.Event()
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reason = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if why := self._client._objection(transport):
            self._reason = why
            transport.abort()
            return
        self._client._connection = self
        self._client.session.connected(self._client._clock())
        self.carry()

    def data_received(self, data: bytes) -> None:
        self._client.session.receive(data, self._client._clock())
        self.carry()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        self._transport = None
        self._client._connection = None
        reason = self._reason or self._client._reason_of(exc)
        self._client.session.disconnected(self._client._clock(), reason)
        self._client._publish()
        self.gone.set()

    def hang_up(self, reason: str) -> None:
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    def carry(self) -> None:
        """Send what the session wants sent, publish its events, hang up where it asks for that, set its timer."""
        if self._transport is None:
            return
        session = self._client.session
        if data := session.payload_to_send():
            self._transport.write(data)
        if session.close_reason:
            self.hang_up(session.close_reason)
        self._client._publish()
        self._set_timer(session.next_timer())

    def _set_timer(self, due: SimTime) -> None:
        self._cancel_timer()
        if due >= NEVER or self._transport is None:
            return
        wait_s = (due - self._client._clock()) / 1000 / self._client._speed
        wait_s = min(max(wait_s, MIN_WAIT_S), MAX_WAIT_S)
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._tick)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._client.session.tick(self._client._clock())
        self.carry()
