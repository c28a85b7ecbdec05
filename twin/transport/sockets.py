"""TCP wires on an asyncio loop in a thread of their own.

The thread that steps the simulation hands payloads over and waits for announced ones; the loop moves the
octets. One loop serves all listeners (field side) or all connections (control side).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from twin.errors import Blame, TwinError
from twin.transport.wire import WireClosedError

T = TypeVar("T")


class ListenError(TwinError):
    """A station cannot listen on its address."""

    blame = Blame.SCENARIO

    def __init__(self, station: str, host: str, port: int, reason: str) -> None:
        self.station, self.host, self.port = station, host, port
        super().__init__(f"station {station} cannot listen on {host}:{port}: {reason}")


class ConnectionFailedError(TwinError):
    """A station cannot be reached over TCP."""

    blame = Blame.PEER

    def __init__(self, station: str, host: str, port: int, reason: str) -> None:
        self.station, self.host, self.port = station, host, port
        super().__init__(f"station {station} cannot be reached at {host}:{port}: {reason}")


class IoThread:
    """An asyncio loop in a daemon thread; used from the stepping thread only."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def call(self, work: Coroutine[Any, Any, T], limit_s: float = 30.0) -> T:
        """Run ``work`` on the loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(limit_s)

    def stop(self) -> None:
        """End the loop and its thread; every transport must be closed before."""
        if self.loop.is_closed():
            return
        self.call(self._drain())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10.0)
        self.loop.close()

    async def _drain(self) -> None:
        """Let closed transports run their last callbacks."""
        for _ in range(3):
            await asyncio.sleep(0)


class SocketWire(asyncio.Protocol):
    """One TCP connection; read and written by the stepping thread, moved by the loop's."""

    def __init__(self, io: IoThread) -> None:
        self._io = io
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._closed = False
        self._arrived = threading.Condition()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        with self._arrived:
            self._buffer += data
            self._arrived.notify()

    def connection_lost(self, exc: Exception | None) -> None:
        with self._arrived:
            self._closed = True
            self._arrived.notify()

    @property
    def local_port(self) -> int:
        assert self._transport is not None
        return int(self._transport.get_extra_info("sockname")[1])

    def write(self, payload: bytes) -> None:
        if self._transport is not None and payload:
            self._io.loop.call_soon_threadsafe(self._write, self._transport, payload)

    @staticmethod
    def _write(transport: asyncio.Transport, payload: bytes) -> None:
        """On the loop; what is sent after the other end hung up goes nowhere, as on any network."""
        if not transport.is_closing():
            transport.write(payload)

    def read(self, size: int, limit_s: float) -> bytes:
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._buffer) >= size or self._closed, limit_s):
                raise TimeoutError(f"{size} octets were announced, {len(self._buffer)} came within {limit_s:g} s")
            if len(self._buffer) < size:
                raise WireClosedError(f"{size} octets were announced, {len(self._buffer)} came before the end")
            data = bytes(self._buffer[:size])
            del self._buffer[:size]
            return data

    def close(self) -> None:
        if self._transport is not None and not self._io.loop.is_closed():
            self._io.loop.call_soon_threadsafe(self._transport.close)


async def _connect(io: IoThread, host: str, port: int, limit_s: float) -> SocketWire:
    async with asyncio.timeout(limit_s):
        _, wire = await io.loop.create_connection(lambda: SocketWire(io), host, port)
    return wire


def connect(io: IoThread, station: str, host: str, port: int, limit_s: float = 10.0) -> SocketWire:
    """Open a connection.

    Raises:
        ConnectionFailedError: it was refused, or not made within ``limit_s``.
    """
    try:
        return io.call(_connect(io, host, port, limit_s))
    except TimeoutError as error:
        raise ConnectionFailedError(station, host, port, f"no answer within {limit_s:g} s") from error
    except OSError as error:
        raise ConnectionFailedError(station, host, port, _reason(error)) from error


def _reason(error: OSError) -> str:
    """What the system says, without the address that asyncio adds."""
    said = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
    return said[:1].lower() + said[1:]


class Listener:
    """The TCP listener of one station. Connections wait, by the caller's port, until they are claimed."""

    def __init__(self, io: IoThread, station: str, host: str, port: int) -> None:
        self.station = station
        self._io = io
        self._waiting: dict[int, SocketWire] = {}
        self._accepted = threading.Condition()
        try:
            self._server = io.call(self._listen(host, port))
        except OSError as error:
            raise ListenError(station, host, port, _reason(error)) from error
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    async def _listen(self, host: str, port: int) -> asyncio.Server:
        return await self._io.loop.create_server(lambda: _AcceptedWire(self._io, self), host, port, reuse_address=True)

    def _accept(self, peer_port: int, wire: SocketWire) -> None:
        with self._accepted:
            self._waiting[peer_port] = wire
            self._accepted.notify()

    def claim(self, peer_port: int, limit_s: float) -> SocketWire:
        """The connection whose caller speaks from ``peer_port``.

        Raises:
            TimeoutError: it was not accepted within ``limit_s``.
        """
        with self._accepted:
            if not self._accepted.wait_for(lambda: peer_port in self._waiting, limit_s):
                raise TimeoutError(f"station {self.station} accepted no connection from port {peer_port}")
            return self._waiting.pop(peer_port)

    def close(self) -> None:
        """Stop listening and drop connections nobody claimed."""
        for wire in self._waiting.values():
            wire.close()
        self._io.loop.call_soon_threadsafe(self._server.close)


class _AcceptedWire(SocketWire):
    """Tells its listener once the connection stands."""

    def __init__(self, io: IoThread, listener: Listener) -> None:
        super().__init__(io)
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._listener._accept(int(transport.get_extra_info("peername")[1]), self)


@dataclass(frozen=True)
class TcpEndpoint:
    """Where a station listens; ``dial`` gives the wire and the port it speaks from."""

    io: IoThread
    host: str
    port: int

    def dial(self, station: str) -> tuple[SocketWire, int]:
        """Connect.

        Raises:
            ConnectionFailedError: nobody answers there.
        """
        wire = connect(self.io, station, self.host, self.port)
        return wire, wire.local_port
