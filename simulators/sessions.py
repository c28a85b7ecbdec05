"""The stations of a world, the control room's links to them, and what lies between: in lockstep, or live.

Both offer the same to the builder of a world: the driver of the stations, the sessions with the driver of the links,
where each station is, and what happens between two cycles.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from simulators.addresses import StationAddress, control_room_tls, fixed_address, live_places, reachable
from simulators.clock import Pacer
from simulators.cycle import CycleSimulator
from simulators.live import Live, Recess
from simulators.preparation import Preparation
from simulators.protocols import CLIENTS, PROTOCOLS, LiveEnd, ProtocolEntry, StationContext
from simulators.station_events import troubled_stations
from twin.links.live import LiveLinks
from twin.links.lockstep import LockstepLinks
from twin.links.model import MasterSession
from twin.outstations.live import LiveStations
from twin.outstations.lockstep import LockstepStations
from twin.outstations.misbehaviour import MisbehavingOutstation
from twin.outstations.model import CommandHandler, Outstation
from twin.outstations.silent import SilentOutstation
from twin.points.modbus_layout import with_places
from twin.points.model import PointKind
from twin.scenario.stations import ListenSettings, StationSettings
from twin.transport import (
    BARRIER_LIMIT_S,
    Acceptor,
    Endpoint,
    IoThread,
    Listener,
    MemoryListener,
    TcpEndpoint,
    TelecontrolPath,
)


class LockstepSessions:
    """Stations and links that take part in simulated time, octet by octet."""

    addresses: tuple[StationAddress, ...] = ()

    def __init__(
        self, preparation: Preparation, protocol: str | None = None, barrier_limit_s: float = BARRIER_LIMIT_S
    ) -> None:
        self.p = preparation
        self.protocol = protocol
        self.barrier_limit_s = barrier_limit_s
        self.threads: list[IoThread] = []
        self.acceptors: dict[str, Acceptor] = {}
        self.endpoints: dict[str, Endpoint] = {}

    def abandon(self) -> None:
        """Let go of what was opened before something failed."""
        for acceptor in self.acceptors.values():
            acceptor.close()

    def settings(self, station: str) -> StationSettings:
        return self.p.scenario.station(station)

    def protocol_of(self, station: str) -> ProtocolEntry:
        return PROTOCOLS[self.protocol or self.settings(station).protocol]

    def listen(self) -> None:
        """Open a listener for every telecontrolled station."""
        stations = self.p.derivation.remote_stations
        if any(self.protocol_of(s.name).over_tcp for s in stations):
            self.threads = [IoThread("field stations"), IoThread("control room links")]
        for station in stations:
            if not self.protocol_of(station.name).over_tcp:
                self.acceptors[station.name] = self.endpoints[station.name] = MemoryListener()
                continue
            host, port = fixed_address(self.settings(station.name), station.common_address)
            listener = Listener(self.threads[0], station.name, host, port)
            self.acceptors[station.name] = listener
            self.endpoints[station.name] = TcpEndpoint(self.threads[1], listener.host, listener.port)

    def paths(self, direction: str) -> dict[str, TelecontrolPath]:
        result = {}
        for station in self.p.derivation.remote_stations:
            s = self.settings(station.name)
            result[station.name] = TelecontrolPath(
                station.name, direction, s.latency, s.jitter, s.loss, self.p.scenario.seed, s.rate or 0
            )
        return result

    def contexts(self) -> list[StationContext]:
        return [self.context_of(s.name, s.common_address) for s in self.p.derivation.remote_stations]

    def context_of(self, name: str, common_address: int) -> StationContext:
        settings = self.settings(name)
        points, protocol = self.p.derivation.points.of_station(name), self.protocol or settings.protocol
        return StationContext(name, common_address, points, settings, self.p.time_base, protocol)

    def outstations(self, desk: CommandHandler) -> dict[str, Outstation]:
        return {c.station: self.outstation(c, desk) for c in self.contexts()}

    def stations(self, desk: CommandHandler) -> LockstepStations | LiveStations:
        measured = frozenset(p.name for p in self.p.derivation.points if p.kind is PointKind.MEASURAND)
        return LockstepStations(
            self.outstations(desk), self.acceptors, self.paths("down"), measured, self.barrier_limit_s
        )

    def outstation(self, context: StationContext, desk: CommandHandler) -> Outstation:
        if not context.settings.answers:
            return SilentOutstation(context.station)
        entry = self.protocol_of(context.station)
        if context.station not in troubled_stations(self.p.scenario):
            return entry.outstation(context, desk)
        make = partial(entry.outstation, context)
        return MisbehavingOutstation(context.station, make, desk, entry.framing, self.p.scenario.seed)

    def links(self) -> tuple[Mapping[str, MasterSession], LockstepLinks | LiveLinks]:
        """The control room's sessions, and what drives them."""
        sessions = {c.station: self.protocol_of(c.station).master(c) for c in self.contexts()}
        return sessions, LockstepLinks(sessions, self.endpoints, self.paths("up"), self.barrier_limit_s)

    def places(self) -> dict[str, str]:
        """Where each station is, for the run's record."""
        return {name: _where(endpoint) for name, endpoint in self.endpoints.items()}

    def recess(self, simulators: Mapping[str, CycleSimulator]) -> Recess | None:
        """What happens between two cycles."""
        return None

    def begin(self) -> None:
        """Everything is made and the run is about to start."""


class LiveSessions(LockstepSessions):
    """Stations and links that run freely against the wall clock."""

    field: LiveStations | None = None
    clients: LiveLinks | None = None

    def __init__(
        self, preparation: Preparation, pacer: Pacer, protocol: str | None = None, listen: ListenSettings | None = None
    ) -> None:
        super().__init__(preparation, protocol)
        self.pacer = pacer
        self.listen_at = listen
        self.live = Live(pacer)

    def listen(self) -> None:
        """The stations' listeners open with the stations."""
        self.threads = [IoThread("field stations"), IoThread("control room links")]

    def abandon(self) -> None:
        if self.clients is not None:
            self.clients.close()
        if self.field is not None:
            self.field.close()
        super().abandon()

    def stations(self, desk: CommandHandler) -> LiveStations:
        self.field = LiveStations(
            self.outstations(desk),
            self.paths("both"),
            live_places(self.p.scenario, self.p.derivation, self.listen_at),
            self.threads[0],
            self.live.clock,
            self.live.awake.set,
            self.pacer.speed,
        )
        return self.field

    def links(self) -> tuple[Mapping[str, MasterSession], LiveLinks]:
        clients = {c.station: partial(CLIENTS[c.settings.stack], c, self.end(c)) for c in self.contexts()}
        links = LiveLinks(clients, self.threads[1], self.live.awake.set)
        self.clients = links
        return links.sessions, links

    def end(self, context: StationContext) -> LiveEnd:
        assert self.field is not None
        host, port = self.field.addresses[context.station]
        tls = control_room_tls(context.settings, context.station, self.p.scenario.source.folder)
        return LiveEnd(reachable(host), port, self.live.clock, self.pacer.speed, tls)

    def places(self) -> dict[str, str]:
        return {row.station: f"{row.host}:{row.port}" for row in self.addresses}

    @property
    def addresses(self) -> tuple[StationAddress, ...]:  # type: ignore[override]
        """Where masters find the stations."""
        assert self.field is not None
        places = self.field.addresses
        return tuple(
            StationAddress(
                c.station,
                c.protocol,
                *places[c.station],
                _number(c),
                "TLS" if c.settings.security else "plain",
            )
            for c in self.contexts()
        )

    def recess(self, simulators: Mapping[str, CycleSimulator]) -> Recess:
        return Recess(self.live, simulators, self.p.scenario.duration)

    def begin(self) -> None:
        assert self.clients is not None
        self.clients.start(0)  # before the first cycle: processes take their time, and the clock does not run yet


def _number(context: StationContext) -> int:
    """By which number a master addresses a station."""
    if context.protocol != "modbus":
        return context.common_address
    return next((p.modbus.unit for p in with_places(context.points) if p.modbus is not None), 1)


def _where(endpoint: Endpoint) -> str:
    return f"{endpoint.host}:{endpoint.port}" if isinstance(endpoint, TcpEndpoint) else "in process"
