"""Stations of a world that is paced against the wall clock: any master may connect, at any time.

Takes the place of ``lockstep`` where connections run freely. Masters are served between two cycles of the world as
within them. A relay stands in front of each station and is the telecontrol network on the wire; the station itself
listens on the loopback behind it. The state of a live field cannot be saved: foreign masters cannot be taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

from twin.journal import JournalEntry
from twin.outstations.misbehaviour import MisbehavingOutstation, Misbehaviour, NotMisbehavingError
from twin.outstations.model import Outstation
from twin.outstations.portal import Inbox, Portal
from twin.outstations.server import AccessSettings, OutstationServer
from twin.points.model import Sample
from twin.timebase import NEVER, SimTime
from twin.transport import Condition, Handover, IoThread, Relay, RelayConditions, TelecontrolPath, Timetable

INSIDE = "127.0.0.1"
REFUSED = "connection_refused"
Clock = Callable[[], SimTime]


@dataclass(frozen=True)
class Place:
    """Where a station listens (port 0: a free one), and whom it lets in."""

    host: str = INSIDE
    port: int = 0
    access: AccessSettings = field(default_factory=AccessSettings)


class _Host:
    """One station: its portal, its server and the relay in front of it."""

    def __init__(self, outstation: Outstation, path: TelecontrolPath, inbox: Inbox, clock: Clock, speed: float) -> None:
        self.portal = Portal(outstation, inbox)
        self.path = path
        self.journal: list[JournalEntry] = []
        self.server = OutstationServer(clock, speed=speed, on_refused=self._refused)
        self.relay = Relay((INSIDE, 0), self._conditions(0), path.seed, speed=speed, name=outstation.station)
        self.changes_at = path.next_change(0)

    async def listen(self, place: Place) -> tuple[str, int]:
        self.relay.target = await self.server.host(self.portal, INSIDE, 0, place.access, self.relay.origin)
        return await self.relay.start(place.host, place.port)

    async def close(self) -> None:
        await self.relay.close()
        await self.server.close()

    def _refused(self, sentence: str) -> None:
        """On the loop: somebody was not let in."""
        self.portal.put(lambda at: self._note(sentence, at))

    def _note(self, sentence: str, at: SimTime) -> None:
        self.journal.append(JournalEntry(at, "field", REFUSED, self.portal.station, {"reason": sentence}))

    def _conditions(self, now: SimTime) -> RelayConditions:
        latency_ms, jitter_ms, loss, rate_bit_s = self.path.condition(now)
        return RelayConditions(
            delay_ms=latency_ms, jitter_ms=jitter_ms, loss=loss, rate_bit_s=rate_bit_s, black_hole=self.path.is_cut(now)
        )

    def changed(self, now: SimTime) -> RelayConditions:
        """How the network is from now on."""
        self.changes_at = self.path.next_change(now)
        return self._conditions(now)

    def next_due(self) -> SimTime:
        return min(self.portal.next_timer(), self.changes_at)


class LiveStations:
    """All emulated stations of a field, served to every master that comes; made and used by the stepping thread.

    ``clock`` is simulation time for the loop; ``wake`` is called from it when a master did something. Until the first
    values are there, masters are kept waiting. ``addresses`` is where each station listens.

    Raises:
        ListenError: an address cannot be listened on.
        TlsSetupError: certificates cannot be used.
    """

    def __init__(
        self,
        outstations: Mapping[str, Outstation],
        paths: Mapping[str, TelecontrolPath],
        places: Mapping[str, Place],
        io: IoThread,
        clock: Clock,
        wake: Callable[[], None],
        speed: float = 1.0,
    ) -> None:
        self._io = io
        self._inbox = Inbox(clock, wake)
        self._hosts = {s: _Host(o, paths[s], self._inbox, clock, speed) for s, o in outstations.items()}
        self._times = Timetable(self._hosts, self._times_of)
        self._started = False
        self._closed = False
        self.addresses: dict[str, tuple[str, int]] = {}
        try:
            io.call(self._listen(places))
        except BaseException:
            self.close()
            raise

    async def _listen(self, places: Mapping[str, Place]) -> None:
        for station, host in self._hosts.items():
            self.addresses[station] = await host.listen(places[station])

    def _times_of(self, station: str) -> tuple[SimTime, SimTime]:
        return self._hosts[station].next_due(), NEVER

    # -- time --

    def next_due(self) -> SimTime:
        """When :meth:`advance` has something to do."""
        return min(self._inbox.next_due(), self._times.next_due()) if self._started else NEVER

    def next_wanted(self) -> SimTime:
        """Nothing on the line needs a cycle of the world: it is served between them."""
        return NEVER

    def advance(self, now: SimTime) -> None:
        """Do what masters asked for, run timers, and change the network: all that is due by ``now``."""
        while self._started and (job := self._inbox.take(now)) is not None:
            _, station, work = job
            work(now)
            self._flush(station)
        for station in self._times.due(now):
            host = self._hosts[station]
            host.portal.tick(now)
            if host.changes_at <= now:
                self._on_loop(partial(host.relay.change, host.changed(now)))
            self._flush(station)

    def _flush(self, station: str) -> None:
        self._times.touch(station)
        host = self._hosts[station]
        if host.portal.collect():
            self._on_loop(partial(host.server.carry, station))

    def _on_loop(self, work: Callable[[], object]) -> None:
        self._io.loop.call_soon_threadsafe(work)

    # -- the devices --

    def update(self, samples: Sequence[Sample], now: SimTime) -> None:
        """Hand new values to their stations and send them."""
        self._started = True
        for station, group in groupby(sorted(samples, key=lambda s: s.station), key=lambda s: s.station):
            self._hosts[station].portal.outstation.update(list(group), now)
            self._flush(station)

    def finished(self, station: str, ticket: int, success: bool, now: SimTime) -> None:
        """A device finished an operation."""
        self._hosts[station].portal.outstation.finished(ticket, success, now)
        self._flush(station)

    # -- trouble --

    def cut(self, station: str, start_ms: SimTime, end_ms: SimTime) -> None:
        """Nothing gets through to a station, nor from it, for a while."""
        self._hosts[station].path.cut(start_ms, end_ms)
        self._shape(station, start_ms)

    def worsen(self, station: str, condition: Condition) -> None:
        """The telecontrol network to a station is under a condition for a while."""
        self._hosts[station].path.worsen(condition)
        self._shape(station, condition.start_ms)

    def _shape(self, station: str, now: SimTime) -> None:
        """The network has to be looked at again at ``now``."""
        host = self._hosts[station]
        host.changes_at = min(host.changes_at, now)
        self._times.touch(station)

    def half_open(self, station: str, now: SimTime) -> None:
        """A station loses its connections; its masters are not told."""
        self._on_loop(self._hosts[station].relay.half_open)

    def misbehave(self, station: str, misbehaviour: Misbehaviour, now: SimTime) -> None:
        """A station begins to do something wrong.

        Raises:
            NotMisbehavingError: the station was not made for that.
        """
        outstation = self._hosts[station].portal.outstation
        if not isinstance(outstation, MisbehavingOutstation):
            raise NotMisbehavingError(station)
        outstation.misbehave(misbehaviour, now)
        self._flush(station)

    # -- what the simulator of the field asks of any stations --

    def take_journal(self) -> list[JournalEntry]:
        """Who was refused since the last call."""
        found = [entry for host in self._hosts.values() for entry in host.journal]
        for host in self._hosts.values():
            host.journal.clear()
        return found

    def accept(self, tokens: Iterable[Handover]) -> None:
        """There are no barriers between live ends."""

    def take_handovers(self) -> list[Handover]:
        """There are no barriers between live ends."""
        return []

    def close(self) -> None:
        """Hang up on every master and stop listening."""
        if not self._closed:
            self._closed = True
            self._io.call(self._close())

    async def _close(self) -> None:
        for host in self._hosts.values():
            await host.close()

    def snapshot(self) -> dict[str, Any]:
        """Never: see the module."""
        raise NotImplementedError("live connections have no state that could be saved")

    def restore(self, state: Mapping[str, Any]) -> None:
        """Never: see the module."""
        raise NotImplementedError("live connections have no state that could be saved")

    def rewire(self, ports: Mapping[str, int]) -> None:
        """Never: see the module."""
        raise NotImplementedError("live connections have no state that could be saved")
