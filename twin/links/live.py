"""Links of a world that is paced against the wall clock: clients on a loop of their own, at the stations' real places.

Takes the place of ``lockstep`` where connections run freely. The control room works on the thread that steps the
world; what clients report waits for its next cycle, and what it orders is handed to them at once. A client may be of
any stack: ours over TCP, or a foreign one in its own process.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from twin.links.model import LinkCommand, LinkEvent
from twin.timebase import NEVER, SimTime
from twin.transport import Condition, Handover, IoThread

START_LIMIT_S = 120.0
OnEvents = Callable[[Sequence[LinkEvent]], None]
Order = Callable[[Any, SimTime], None]


class Client(Protocol):
    """What keeps the session with one station connected; see ``twin.links.client.LinkClient``."""

    def start(self) -> None: ...
    async def ready(self) -> None: ...
    async def stop(self) -> None: ...
    def act(self, action: Order) -> None: ...


class LiveSession:
    """The session with one station as the control room sees it; see ``twin.links.model.MasterSession``."""

    def __init__(self, station: str, order: Callable[[Order], None]) -> None:
        self.station = station
        self._order = order

    def select(self, command: LinkCommand, now: SimTime) -> None:
        self._order(lambda session, at: session.select(command, at))

    def operate(self, command: LinkCommand, now: SimTime) -> None:
        self._order(lambda session, at: session.operate(command, at))

    def cancel(self, command: LinkCommand, now: SimTime) -> None:
        self._order(lambda session, at: session.cancel(command, at))

    def interrogate(self, now: SimTime) -> None:
        self._order(lambda session, at: session.interrogate(at))

    # what drives a session belongs to its client

    def connected(self, now: SimTime) -> None:
        """The client sees to it."""

    def disconnected(self, now: SimTime, reason: str) -> None:
        """The client sees to it."""

    def receive(self, payload: Any, now: SimTime) -> None:
        """The client sees to it."""

    def tick(self, now: SimTime) -> None:
        """The client sees to it."""

    def next_timer(self) -> SimTime:
        return NEVER

    def payload_to_send(self) -> Any:
        return b""

    @property
    def close_reason(self) -> str:
        return ""

    def take_events(self) -> list[LinkEvent]:
        """Events come with those of all links."""
        return []

    def snapshot(self) -> Mapping[str, Any]:
        """Live connections have no state that could be saved."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See :meth:`snapshot`."""


class LiveLinks:
    """All links of a control room, running freely; made and used by the thread that steps.

    ``make`` gives the client of each station, which reports to the function it is given; it is called on the loop.
    ``wake`` is called from the loop when something was reported.
    """

    def __init__(
        self, make: Mapping[str, Callable[[OnEvents], Client]], io: IoThread, wake: Callable[[], None]
    ) -> None:
        self._make = make
        self._io = io
        self._wake = wake
        self._lock = threading.Lock()
        self._events: deque[LinkEvent] = deque()
        self._clients: dict[str, Client] = {}
        self.sessions = {station: LiveSession(station, self._orders_to(station)) for station in make}

    def _orders_to(self, station: str) -> Callable[[Order], None]:
        def order(action: Order) -> None:
            self._io.loop.call_soon_threadsafe(self._act, station, action)

        return order

    def _act(self, station: str, action: Order) -> None:
        if client := self._clients.get(station):
            client.act(action)

    def _report(self, events: Sequence[LinkEvent]) -> None:
        """On the loop."""
        with self._lock:
            self._events.extend(events)
        self._wake()

    @property
    def has_news(self) -> bool:
        """Whether something was reported that no cycle has taken yet."""
        return bool(self._events)

    def start(self, now: SimTime) -> None:
        """Let every client connect; returns when the processes of foreign stacks are up. Once is enough.

        Raises:
            TwinError: a client cannot work as it is set.
        """
        if not self._clients:
            self._io.call(self._start(), START_LIMIT_S)

    async def _start(self) -> None:
        for station, make in self._make.items():
            client = make(self._report)
            client.start()
            self._clients[station] = client
        await asyncio.gather(*(client.ready() for client in self._clients.values()))

    def advance(self, now: SimTime) -> list[LinkEvent]:
        """What was reported since the last call."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
        return events

    def next_wanted(self) -> SimTime:
        """News wakes the world; nothing is to come."""
        return NEVER

    def accept(self, tokens: Iterable[Handover]) -> None:
        """There are no barriers between live ends."""

    def flush(self, now: SimTime, addressed: Iterable[str] | None = None) -> None:
        """Orders were handed over as they were given."""

    def take_handovers(self) -> list[Handover]:
        """There are no barriers between live ends."""
        return []

    def cut(self, station: str, start_ms: SimTime, end_ms: SimTime) -> None:
        """The network in front of the station does it, both ways."""

    def worsen(self, station: str, condition: Condition) -> None:
        """The network in front of the station does it, both ways."""

    def close(self) -> None:
        """Hang up everywhere, and end the processes of foreign stacks."""
        self._io.call(self._stop(), START_LIMIT_S)

    async def _stop(self) -> None:
        clients, self._clients = list(self._clients.values()), {}
        await asyncio.gather(*(client.stop() for client in clients))

    def snapshot(self) -> dict[str, Any]:
        """Never: foreign ends cannot be taken back."""
        raise NotImplementedError("live connections have no state that could be saved")

    def restore(self, state: Mapping[str, Any]) -> tuple[dict[str, int], list[Handover]]:
        """Never: foreign ends cannot be taken back."""
        raise NotImplementedError("live connections have no state that could be saved")
