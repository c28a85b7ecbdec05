"""What carries payloads between the two ends of a session: bytes over a socket, or objects in memory."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from twin.errors import Blame, TwinError


class WireClosedError(TwinError):
    """The other end closed the connection before all it had announced came through."""

    blame = Blame.PEER


class Wire(Protocol):
    """One connection of a session; payloads have a size (octets, or messages)."""

    def write(self, payload: Any) -> None:
        """Hand ``payload`` over; never blocks."""
        ...

    def read(self, size: int, limit_s: float) -> Any:
        """Exactly ``size`` units of what the other end wrote.

        Raises:
            TimeoutError: they did not come within ``limit_s`` of wall-clock time.
            WireClosedError: they cannot come any more.
        """
        ...

    def close(self) -> None:
        """End the connection; harmless when it is closed."""
        ...


class MemoryWire:
    """One end of an in-process connection: hands message objects over without copying."""

    def __init__(self) -> None:
        self._inbox: deque[Any] = deque()
        self.peer: MemoryWire | None = None

    def write(self, payload: Any) -> None:
        if self.peer is not None:
            self.peer._inbox.extend(payload)

    def read(self, size: int, limit_s: float) -> Any:
        if len(self._inbox) < size:
            raise WireClosedError(f"{size} messages were announced, {len(self._inbox)} came")
        return [self._inbox.popleft() for _ in range(size)]

    def close(self) -> None:
        self.peer = None


def memory_pair() -> tuple[MemoryWire, MemoryWire]:
    """Two connected ends."""
    left, right = MemoryWire(), MemoryWire()
    left.peer, right.peer = right, left
    return left, right


class MemoryListener:
    """Accepts in-process connections of one station; both the endpoint to dial and the listener to claim from."""

    def __init__(self) -> None:
        self._waiting: dict[int, MemoryWire] = {}
        self._next = 1

    def dial(self, station: str) -> tuple[MemoryWire, int]:
        """Connect: the caller's end and its number."""
        near, far = memory_pair()
        number = self._next
        self._next += 1
        self._waiting[number] = far
        return near, number

    def claim(self, peer_port: int, limit_s: float) -> MemoryWire:
        """The station's end of connection ``peer_port``."""
        if peer_port not in self._waiting:
            raise TimeoutError(f"there is no connection number {peer_port}")
        return self._waiting.pop(peer_port)

    def close(self) -> None:
        """Forget connections nobody claimed."""
        self._waiting.clear()


class Endpoint(Protocol):
    """Where a master finds a station."""

    def dial(self, station: str) -> tuple[Wire, int]:
        """The wire of a new connection and the port (or number) it comes from."""
        ...


class Acceptor(Protocol):
    """Where a station takes connections."""

    def claim(self, peer_port: int, limit_s: float) -> Wire:
        """The connection that comes from ``peer_port``.

        Raises:
            TimeoutError: there is none within ``limit_s`` of wall-clock time.
        """
        ...

    def close(self) -> None:
        """Take no more connections."""
        ...
