"""Builds the mosaik world of a scenario: seven simulators, their connections, the stations and their links.

Same-cycle data flow goes clock → director → profiles → grid → field → control room → recorder; what goes
the other way is time-shifted, and a restored world starts with what was last sent that way.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from typing import Any, Literal

import mosaik
import numpy as np
from mosaik.starters import PythonStarter

from simulators.addresses import StationAddress, control_room_tls, fixed_address, live_places, reachable
from simulators.clock import ClockSimulator, Pacer
from simulators.control_room.simulator import ControlRoomSimulator
from simulators.coupling import Bundle
from simulators.cycle import CycleSimulator, RunContext
from simulators.director import DirectorSimulator
from simulators.field.bank import FieldBank
from simulators.field.simulator import CommandDesk, FieldSimulator
from simulators.grid.simulator import GridSimulator
from simulators.live import Live, Recess
from simulators.preparation import Preparation
from simulators.profiles import ProfileSimulator
from simulators.protocols import CLIENTS, PROTOCOLS, LiveEnd, ProtocolEntry, StationContext
from simulators.recorder import RecorderSimulator
from simulators.station_events import troubled_stations
from simulators.teardown import shut_down
from twin.control_room import ControlRoom
from twin.control_room.applications import room_settings
from twin.errors import Blame, TwinError
from twin.historian import JournalFile, SampleFile
from twin.journal import JournalEntry
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
from twin.scenario import PlantState
from twin.scenario.expectations import ExpectationMonitor
from twin.scenario.stations import ListenSettings, StationSettings
from twin.timebase import NEVER, SimTime
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

SAME_CYCLE = (
    ("director", "profiles", ("actions",)),
    ("director", "grid", ("actions",)),
    ("director", "field", ("actions",)),
    ("director", "control_room", ("actions",)),
    ("director", "recorder", ("director_journal",)),
    ("profiles", "grid", ("p_kw", "q_kvar", "generation_kw", "generation_kvar")),
    ("grid", "field", ("measurement",)),
    ("grid", "recorder", ("grid_state", "grid_journal")),
    ("field", "control_room", ("tokens_up",)),
    ("field", "recorder", ("field_journal",)),
    ("control_room", "recorder", ("control_room_state", "control_room_journal")),
)
NEXT_CYCLE = (
    ("director", "clock", ("director_wanted", "director_changed")),
    ("grid", "clock", ("grid_wanted", "grid_pace_ms")),
    ("field", "clock", ("field_wanted", "field_changed")),
    ("control_room", "clock", ("control_room_wanted", "control_room_changed")),
    ("recorder", "clock", ("recorded",)),
    ("recorder", "director", ("plant_state",)),
    ("field", "grid", ("closed", "closings", "regulation")),
    ("control_room", "field", ("tokens_down",)),
)

Coupling = Literal["bundled", "separate"]

SNAPSHOT_VERSION = 2
FREE_IN_A_BRANCH = {"description", "duration", "report"}
"""What a run that continues from a snapshot may have other than the run that left it."""


class SnapshotError(TwinError):
    """A snapshot cannot be continued from."""

    blame = Blame.SCENARIO


@dataclass(frozen=True)
class Outputs:
    """Where a run's records go."""

    journal: JournalFile
    samples: SampleFile
    on_cycle: Callable[[SimTime, PlantState, Sequence[JournalEntry]], None]


@dataclass
class World:
    """One world, ready to run. Use :func:`build_world`; call :meth:`close` whatever happens."""

    context: RunContext
    end_ms: SimTime
    simulators: dict[str, CycleSimulator]
    endpoints: dict[str, str]
    pacer: Pacer
    made_of: Mapping[str, str]
    _mosaik: mosaik.World
    _threads: list[IoThread] = field(default_factory=list)
    snapshots: dict[SimTime, bytes] = field(default_factory=dict)
    addresses: tuple[StationAddress, ...] = ()

    @property
    def recorder(self) -> RecorderSimulator:
        simulator = self.simulators["recorder"]
        assert isinstance(simulator, RecorderSimulator)
        return simulator

    def run(self) -> None:
        """Run to the end.

        Raises:
            TwinError: what made a simulator fail, as it was raised.
        """
        try:
            with self.context.stopwatch.watch("mosaik"):
                until = self.end_ms - self.context.origin_ms + 1
                self._mosaik.run(until=until, print_progress=False, lazy_stepping=False, shutdown=False)
        except BaseException:
            if self.context.failure is not None:
                raise self.context.failure from None
            raise

    def snapshot(self) -> bytes:
        """The whole world after a cycle; only the recorder may ask, when everybody else is done."""
        outputs = {name: simulator.outputs for name, simulator in self.simulators.items()}
        sent = {
            attr: _to_json(outputs[source][attr])
            for source, _, attrs in NEXT_CYCLE
            for attr in attrs
            if attr not in ("tokens_down", "recorded", "plant_state")
        }
        states = {name: base64.b64encode(s.snapshot()).decode() for name, s in self.simulators.items()}
        data = {
            "version": SNAPSHOT_VERSION,
            "made_of": self.made_of,
            "next_ms": outputs["clock"]["next_ms"],
            "sent": sent,
            "plant_state": _state_to_json(outputs["recorder"]["plant_state"]),
            "simulators": states,
        }
        return json.dumps(data).encode()

    def close(self) -> None:
        """End every simulator, connection, listener and thread."""
        try:
            shut_down(self._mosaik)
        finally:
            for thread in self._threads:
                thread.stop()


def build_world(
    preparation: Preparation,
    outputs: Outputs,
    pacer: Pacer,
    *,
    protocol: str | None = None,
    continue_from: bytes | None = None,
    snapshot_at: Sequence[SimTime] = (),
    barrier_limit_s: float = BARRIER_LIMIT_S,
    coupling: Coupling = "bundled",
    live: bool = False,
    listen: ListenSettings | None = None,
) -> World:
    """Wire a world.

    ``protocol`` replaces the protocol of every station; ``continue_from`` is a snapshot of the same scenario;
    at each of ``snapshot_at`` (or the first cycle after it) the world leaves one in ``snapshots``;
    ``barrier_limit_s`` is how long to wait, by the wall clock, for what was announced over a connection;
    ``coupling`` is whether mosaik steps the simulators as one or each for itself: the same journal, at another cost;
    ``live`` lets sessions run freely against the wall clock, at the places that ``listen`` (or the scenario) gives:
    the pacer must have a speed, and neither snapshots nor separate coupling go with it.
    """
    kind = _LiveBuilder if live else _Builder
    builder = kind(preparation, outputs, pacer, protocol, barrier_limit_s, coupling, listen)
    try:
        return builder.build(continue_from, sorted(snapshot_at))
    except BaseException:
        builder.abandon()
        raise


class _Builder:
    """The steps of :func:`build_world`."""

    def __init__(
        self,
        preparation: Preparation,
        outputs: Outputs,
        pacer: Pacer,
        protocol: str | None,
        barrier_limit_s: float,
        coupling: Coupling,
        listen: ListenSettings | None,
    ) -> None:
        self.p = preparation
        self.outputs = outputs
        self.pacer = pacer
        self.protocol = protocol
        self.barrier_limit_s = barrier_limit_s
        self.coupling = coupling
        self.listen_at = listen
        self.context = RunContext(preparation.time_base)
        self.threads: list[IoThread] = []
        self.acceptors: dict[str, Acceptor] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.mosaik = mosaik.World({}, skip_greetings=True, configure_logging=False)

    def abandon(self) -> None:
        """Let go of what was opened before something failed."""
        for acceptor in self.acceptors.values():
            acceptor.close()
        shut_down(self.mosaik)
        for thread in self.threads:
            thread.stop()

    # -- stations and links --

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

    def addresses(self) -> Mapping[str, str]:
        """Where each station is, for the run's record."""
        return {name: _where(endpoint) for name, endpoint in self.endpoints.items()}

    def recess(self, simulators: Mapping[str, CycleSimulator]) -> Recess | None:
        """What happens between two cycles."""
        return None

    # -- simulators --

    def start(self, name: str, simulator: CycleSimulator | Bundle) -> Any:
        """Start one simulator in mosaik; its only entity."""
        starter = PythonStarter(_Handed, kwargs={"simulator": simulator})
        return self.mosaik.start(starter, sim_id=name).World()

    def make_simulators(self) -> dict[str, CycleSimulator]:
        p, context, scenario = self.p, self.context, self.p.scenario
        bank = FieldBank(p.plant, p.derivation, scenario.seed)
        desk = CommandDesk(bank)
        loads = scenario.plant.loads
        stations = self.stations(desk)
        sessions, links = self.links()
        room = ControlRoom(
            p.control_room, p.derivation.points, sessions, room_settings(scenario.applications), p.time_base
        )
        return {
            "clock": ClockSimulator(context, base_step_ms=scenario.step, end_ms=scenario.duration, pacer=self.pacer),
            "director": DirectorSimulator(context, events=p.events),
            "profiles": ProfileSimulator(
                context,
                network=p.plant,
                profile=p.profile,
                scale=loads.scale,
                noise=loads.noise,
                seed=scenario.seed,
            ),
            "grid": GridSimulator(context, network=p.plant, frequency=p.frequency, base_step_ms=scenario.step),
            "field": FieldSimulator(context, bank=bank, desk=desk, stations=stations),
            "control_room": ControlRoomSimulator(context, room=room, links=links, names=p.namespace),
            "recorder": RecorderSimulator(
                context,
                network=p.plant,
                monitor=ExpectationMonitor(scenario, p.namespace),
                journal=self.outputs.journal,
                samples=self.outputs.samples,
                columns=p.columns,
                on_cycle=self.outputs.on_cycle,
            ),
        }

    def build(self, continue_from: bytes | None, snapshot_at: list[SimTime]) -> World:
        self.listen()
        simulators = self.make_simulators()
        initial = self.restore(simulators, continue_from) if continue_from else self.first_values(simulators)
        if self.coupling == "bundled":
            self.start("world", Bundle(simulators, SAME_CYCLE, NEXT_CYCLE, initial, self.recess(simulators)))
        else:
            entities = {name: self.start(name, simulator) for name, simulator in simulators.items()}
            self.connect(entities, initial)
        world = World(
            self.context,
            self.p.scenario.duration,
            simulators,
            dict(self.addresses()),
            self.pacer,
            made_of(self.p, self.protocol),
            self.mosaik,
            self.threads,
        )
        _arm_snapshots(world, snapshot_at)
        return world

    def connect(self, entities: Mapping[str, Any], initial: Mapping[str, Any]) -> None:
        for name, entity in entities.items():
            if name != "clock":
                self.mosaik.connect(entities["clock"], entity, "next_ms")
        for source, target, attrs in SAME_CYCLE:
            self.mosaik.connect(entities[source], entities[target], *attrs)
        for source, target, attrs in NEXT_CYCLE:
            values = {attr: initial[attr] for attr in attrs}
            self.mosaik.connect(entities[source], entities[target], *attrs, time_shifted=True, initial_data=values)

    def first_values(self, simulators: Mapping[str, CycleSimulator]) -> dict[str, Any]:
        """What the time-shifted connections carry into the first cycle."""
        return {
            "director_wanted": min((e.at_ms for e in self.p.events), default=NEVER),
            "director_changed": False,
            "grid_wanted": NEVER,
            "grid_pace_ms": 0,
            "field_wanted": NEVER,
            "field_changed": False,
            "control_room_wanted": 0,
            "control_room_changed": False,
            "recorded": 0,
            "plant_state": False,
            "closed": self.p.plant.switches.normally_closed.copy(),
            "closings": [],
            "regulation": {},
            "tokens_down": [],
        }

    def restore(self, simulators: Mapping[str, CycleSimulator], snapshot: bytes) -> dict[str, Any]:
        """Put every simulator where it was; what the time-shifted connections carried."""
        data = read_snapshot(snapshot, self.p, self.protocol)
        self.context.origin_ms = data["next_ms"]
        for name, simulator in simulators.items():
            simulator.restore(base64.b64decode(data["simulators"][name]))
        room, outside = simulators["control_room"], simulators["field"]
        assert isinstance(room, ControlRoomSimulator)
        assert isinstance(outside, FieldSimulator)
        outside.reconnect(room.ports)
        sent = data["sent"]
        return {
            **sent,
            "closed": np.array(sent["closed"], dtype=np.bool_),
            "closings": [tuple(row) for row in sent["closings"]],
            "recorded": 0,
            "plant_state": _state_from_json(data["plant_state"]),
            "tokens_down": room.tokens_again,
        }


class _LiveBuilder(_Builder):
    """The same world, whose sessions run freely against the wall clock."""

    field: LiveStations | None = None
    clients: LiveLinks | None = None

    def listen(self) -> None:
        """The stations' listeners open with the stations."""
        self.live = Live(self.pacer)
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

    def addresses(self) -> Mapping[str, str]:
        return {row.station: f"{row.host}:{row.port}" for row in self.rows()}

    def rows(self) -> tuple[StationAddress, ...]:
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

    def build(self, continue_from: bytes | None, snapshot_at: list[SimTime]) -> World:
        world = super().build(continue_from, snapshot_at)
        assert self.clients is not None
        self.clients.start(0)  # before the first cycle: processes take their time, and the clock does not run yet
        return replace(world, addresses=self.rows())


def made_of(preparation: Preparation, protocol: str | None) -> dict[str, str]:
    """What a snapshot fits to: the name of the scenario, and a digest of each part that a continued run must share.

    The end of the run and what the report shows are free.
    """
    scenario = preparation.scenario.model_dump(mode="json", by_alias=True, exclude=FREE_IN_A_BRANCH)
    stations = [station.name for station in preparation.derivation.remote_stations]
    protocols = {name: protocol or preparation.scenario.station(name).protocol for name in stations}
    parts = {**scenario, "protocols": protocols}
    digests = {name: _digest(part) for name, part in parts.items() if name != "name"}
    return {"name": preparation.scenario.name, **digests}


def _digest(part: Any) -> str:
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:16]


def read_snapshot(snapshot: bytes, preparation: Preparation, protocol: str | None) -> dict[str, Any]:
    """The data of a snapshot that fits to a scenario and, if given, the protocol of every station.

    Raises:
        SnapshotError: it is none, or was made of another scenario.
    """
    try:
        data = json.loads(snapshot)
    except ValueError as error:
        raise SnapshotError("this is no snapshot of a world: it is not JSON") from error
    if not isinstance(data, dict) or not {"version", "made_of", "simulators"} <= data.keys():
        raise SnapshotError("this is no snapshot of a world: it holds something else")
    if data["version"] != SNAPSHOT_VERSION:
        raise SnapshotError("the snapshot was made by another version of the twin")
    there, here = data["made_of"], made_of(preparation, protocol)
    if there["name"] != here["name"]:
        raise SnapshotError(f"the snapshot is of the scenario {there['name']}, not of {here['name']}")
    if other := [part for part in here if here[part] != there.get(part)]:
        raise SnapshotError(f"the snapshot does not fit: since it was made, the scenario has other {', '.join(other)}")
    return data


def _number(context: StationContext) -> int:
    """By which number a master addresses a station."""
    if context.protocol != "modbus":
        return context.common_address
    return next((p.modbus.unit for p in with_places(context.points) if p.modbus is not None), 1)


class _Handed:
    """Hands mosaik a simulator that is already made."""

    def __new__(cls, simulator: CycleSimulator | Bundle) -> Any:
        return simulator


def _where(endpoint: Endpoint) -> str:
    return f"{endpoint.host}:{endpoint.port}" if isinstance(endpoint, TcpEndpoint) else "in process"


def _arm_snapshots(world: World, times: list[SimTime]) -> None:
    """Let the recorder take a snapshot at the end of the first cycle at or after each time."""
    pending = list(times)

    def after_cycle(now: SimTime) -> None:
        while pending and pending[0] <= now:
            world.snapshots[pending.pop(0)] = world.snapshot()

    world.recorder.after_cycle = after_cycle


def _to_json(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _state_to_json(state: PlantState) -> dict[str, Any]:
    plain = {name: _to_json(value) for name, value in asdict(state).items()}
    return {name: None if value != value else value for name, value in plain.items()}


def _state_from_json(data: Mapping[str, Any]) -> PlantState:
    values = {f.name: data[f.name] for f in fields(PlantState)}
    arrays = {name: np.array(value) for name, value in values.items() if isinstance(value, list)}
    missing = {name: float("nan") for name, value in values.items() if value is None}
    return PlantState(**{**values, **arrays, **missing})
