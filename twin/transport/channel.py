"""One end of a session in lockstep: what the other end says it handed over is waited for, then delivered at
its simulated arrival time.

Each end keeps a ledger of what it wrote: segments of (simulated time, size). The ledger travels through the
co-simulation as a barrier token; the receiver takes exactly the announced octets from the wire, however
TCP cut or joined them, and gives each segment to the session when the telecontrol path lets it arrive.
That makes a run over real sockets deterministic.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from twin.errors import Blame, TwinError
from twin.timebase import NEVER, SimTime
from twin.transport.telecontrol import TelecontrolPath
from twin.transport.wire import MemoryWire, Wire, WireClosedError

BARRIER_LIMIT_S = 10.0
NOT_URGENT_MS = 1_000
"""How long what is not urgent may wait for a simulation step: well below the time-outs of every protocol."""


class BarrierTimeoutError(TwinError):
    """A station's connection stands but what was handed to it never arrived."""

    blame = Blame.PEER

    def __init__(self, station: str, detail: str) -> None:
        self.station = station
        super().__init__(f"station {station} does not answer: {detail}")


@dataclass(frozen=True, slots=True)
class Segment:
    """What one flush wrote. ``urgent`` asks for a simulation step at its arrival."""

    sent_ms: SimTime
    size: int
    urgent: bool


@dataclass(frozen=True, slots=True)
class Handover:
    """The barrier token of one connection and direction: all that happened on it since the last token.

    ``opened_ms``/``closed_ms`` are -1 where nothing was opened or closed. ``local_port`` identifies the caller's
    TCP connection to the listener.
    """

    station: str
    connection: int
    segments: tuple[Segment, ...] = ()
    opened_ms: SimTime = -1
    local_port: int = 0
    closed_ms: SimTime = -1


@dataclass(frozen=True, slots=True)
class _Told:
    """A token with the payloads that it announces, kept until the other end must have taken them."""

    token: Handover
    payloads: list[Any]


@dataclass(slots=True)
class _InFlight:
    arrival_ms: SimTime
    urgent: bool
    payload: Any
    is_close: bool = False


class LockstepChannel:
    """Sends through a wire, and receives what the other end announced."""

    def __init__(self, station: str, inbound: TelecontrolPath, limit_s: float = BARRIER_LIMIT_S) -> None:
        self.station = station
        self.path = inbound
        self.connection = 0
        self._limit_s = limit_s
        self._wire: Wire | None = None
        self._segments: list[Segment] = []
        self._payloads: list[Any] = []
        self._concluded: list[_Told] = []
        self._last: list[_Told] = []
        self._opened_ms = -1
        self._closed_ms = -1
        self._local_port = 0
        self._in_flight: deque[_InFlight] = deque()

    @property
    def is_open(self) -> bool:
        return self._wire is not None

    def open(self, wire: Wire, now: SimTime, connection: int, local_port: int = 0) -> None:
        """Start using ``wire`` as the given connection of this session."""
        self._conclude()
        self.drop()
        self._wire = wire
        self.connection = connection
        self._opened_ms, self._local_port = now, local_port

    def join(self, wire: Wire, connection: int) -> None:
        """Start using ``wire`` for a connection that the other end opened."""
        self.drop()
        self._wire = wire
        self.connection = connection

    def resume(self, wire: Wire) -> None:
        """Go on with the same connection over a new wire; all that was announced had been taken."""
        self._wire = wire

    def hand_over_again(self, dial: Callable[[], tuple[Wire, int]]) -> tuple[list[Handover], int | None]:
        """After a restore, take part in the standing connection again over a new wire, and repeat the last tokens.

        The other end had not taken what they announce when the snapshot was made, so it is written again, also on a
        connection that has ended since.

        Returns:
            The tokens, and the port of the new wire of the connection that the other end knows already (None if it
            knows none).
        """
        tokens: list[Handover] = []
        known: int | None = None
        for told in self._last:
            wire, port = self._dial_again(dial, told.token.connection)
            for payload in told.payloads:
                wire.write(payload)
            if not self._stands(told.token.connection):
                wire.close()
            if told.token.opened_ms >= 0:
                tokens.append(replace(told.token, local_port=port))
            else:
                tokens.append(told.token)
                known = port
        if self.is_open and all(told.token.connection != self.connection for told in self._last):
            _, known = self._dial_again(dial, self.connection)
        return tokens, known

    def _stands(self, connection: int) -> bool:
        return self.is_open and connection == self.connection

    def _dial_again(self, dial: Callable[[], tuple[Wire, int]], connection: int) -> tuple[Wire, int]:
        wire, port = dial()
        if self._stands(connection):
            self._wire = wire
        return wire, port

    def send(self, payload: Any, now: SimTime, *, urgent: bool) -> None:
        """Write ``payload`` (octets or messages) and enter it into the ledger."""
        if self._wire is None or not payload:
            return
        self._wire.write(payload)
        self._segments.append(Segment(now, len(payload), urgent))
        self._payloads.append(payload)

    def close(self, now: SimTime) -> None:
        """End the connection from this side; the other end learns of it through the ledger."""
        if self._wire is not None:
            self._closed_ms = now
            self.drop()

    def drop(self) -> None:
        """Forget the connection and all in flight on it."""
        if self._wire is not None:
            self._wire.close()
        self._wire = None
        self._in_flight.clear()

    def take_handovers(self) -> list[Handover]:
        """What happened at this end since the last call: a token for each connection that there was."""
        self._conclude()
        self._last, self._concluded = self._concluded, []
        return [told.token for told in self._last]

    def _conclude(self) -> None:
        """Put what happened on the present connection into a token."""
        if not self._has_news:
            return
        token = Handover(
            self.station, self.connection, tuple(self._segments), self._opened_ms, self._local_port, self._closed_ms
        )
        self._concluded.append(_Told(token, self._payloads))
        self._segments, self._payloads = [], []
        self._opened_ms = self._closed_ms = -1
        self._local_port = 0

    @property
    def _has_news(self) -> bool:
        return bool(self._segments) or self._opened_ms >= 0 or self._closed_ms >= 0

    def accept(self, token: Handover) -> None:
        """Wait for what the other end announced.

        Raises:
            BarrierTimeoutError: it did not come within the wall-clock limit.
        """
        if self._wire is None or token.connection != self.connection:
            return
        for segment in token.segments:
            payload = self._read(segment.size)
            self._in_flight.append(
                _InFlight(self.path.arrival(segment.sent_ms, _octets(payload)), segment.urgent, payload)
            )
        if token.closed_ms >= 0 and not self.path.is_cut(token.closed_ms):
            at = self.path.arrival(token.closed_ms)
            self._in_flight.append(_InFlight(at, True, None, is_close=True))

    def _read(self, size: int) -> Any:
        assert self._wire is not None
        try:
            return self._wire.read(size, self._limit_s)
        except (TimeoutError, WireClosedError) as error:
            raise BarrierTimeoutError(self.station, str(error)) from error

    def next_arrival(self) -> SimTime:
        """When the next segment is due, urgent or not."""
        return self._in_flight[0].arrival_ms if self._in_flight else NEVER

    def next_wanted(self) -> SimTime:
        """When a step is wanted for what is in flight."""
        if not self._in_flight:
            return NEVER
        return min(f.arrival_ms + (0 if f.urgent else NOT_URGENT_MS) for f in self._in_flight)

    def deliver(self, receive: Callable[[Any, bool], None], now: SimTime) -> bool:
        """Hand the next segment due by ``now`` to ``receive(payload, urgent)``; True if one was.

        A close by the other end is handed over as payload None.
        """
        if not self._in_flight or self._in_flight[0].arrival_ms > now:
            return False
        item = self._in_flight.popleft()
        if item.is_close:
            self.drop()
        receive(item.payload, item.urgent)
        return True

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data; the ledger must have been taken before."""
        if self._has_news or self._concluded:
            raise RuntimeError(f"channel {self.station}: snapshot between a write and its token")
        flights = [[f.arrival_ms, f.urgent, _to_json(f.payload), f.is_close] for f in self._in_flight]
        return {
            "connection": self.connection,
            "open": self.is_open,
            "in_flight": flights,
            "last": [[asdict(told.token), [_to_json(payload) for payload in told.payloads]] for told in self._last],
            "path": self.path.snapshot(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`snapshot`. A connection that stood leads nowhere until it is given a new wire."""
        self.drop()
        self._wire = MemoryWire() if state["open"] else None
        self.connection = state["connection"]
        self.path.restore(state["path"])
        self._in_flight = deque(
            _InFlight(arrival, urgent, _from_json(payload), is_close)
            for arrival, urgent, payload, is_close in state["in_flight"]
        )
        self._last = [
            _Told(_token_from_json(token), [_from_json(payload) for payload in payloads])
            for token, payloads in state["last"]
        ]


def _octets(payload: Any) -> int:
    """How much of the line a payload takes; messages in memory take nothing."""
    return len(payload) if isinstance(payload, bytes) else 0


def _token_from_json(data: Mapping[str, Any]) -> Handover:
    segments = tuple(Segment(**segment) for segment in data["segments"])
    return Handover(**{**data, "segments": segments})


def _to_json(payload: Any) -> Any:
    if isinstance(payload, bytes):
        return {"octets": base64.b64encode(payload).decode()}
    return payload


def _from_json(payload: Any) -> Any:
    if isinstance(payload, dict) and "octets" in payload:
        return base64.b64decode(payload["octets"])
    return payload
