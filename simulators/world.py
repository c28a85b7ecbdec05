"""Builds the mosaik world of a scenario: seven simulators, their connections, the stations and their links.

Same-cycle data flow goes clock → director → profiles → grid → field → control room → recorder; what goes
the other way is time-shifted, and a restored world starts with what was last sent that way.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import mosaik
import numpy as np
from mosaik.starters import PythonStarter

from simulators.addresses import StationAddress
from simulators.clock import ClockSimulator, Pacer
from simulators.control_room.simulator import ControlRoomSimulator
from simulators.coupling import Bundle
from simulators.cycle import CycleSimulator, RunContext
from simulators.director import DirectorSimulator
from simulators.field.bank import FieldBank
from simulators.field.simulator import CommandDesk, FieldSimulator
from simulators.grid.simulator import GridSimulator
from simulators.preparation import Preparation
from simulators.profiles import ProfileSimulator
from simulators.recorder import RecorderSimulator
from simulators.sessions import LiveSessions, LockstepSessions
from simulators.snapshots import SNAPSHOT_VERSION, made_of, read_snapshot, state_from_json, state_to_json, to_json
from simulators.teardown import shut_down
from twin.control_room import ControlRoom
from twin.control_room.applications import room_settings
from twin.historian import JournalFile, SampleFile
from twin.journal import JournalEntry
from twin.scenario import PlantState
from twin.scenario.expectations import ExpectationMonitor
from twin.scenario.stations import ListenSettings
from twin.timebase import NEVER, SimTime
from twin.transport import (
    BARRIER_LIMIT_S,
    IoThread,
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
            attr: to_json(outputs[source][attr])
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
            "plant_state": state_to_json(outputs["recorder"]["plant_state"]),
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
    if live:
        sessions: LockstepSessions = LiveSessions(preparation, pacer, protocol, listen)
    else:
        sessions = LockstepSessions(preparation, protocol, barrier_limit_s)
    builder = _Builder(preparation, outputs, pacer, sessions, coupling)
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
        sessions: LockstepSessions,
        coupling: Coupling,
    ) -> None:
        self.p = preparation
        self.outputs = outputs
        self.pacer = pacer
        self.sessions = sessions
        self.coupling = coupling
        self.context = RunContext(preparation.time_base)
        self.mosaik = mosaik.World({}, skip_greetings=True, configure_logging=False)

    def abandon(self) -> None:
        """Let go of what was opened before something failed."""
        self.sessions.abandon()
        shut_down(self.mosaik)
        for thread in self.sessions.threads:
            thread.stop()

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
        stations = self.sessions.stations(desk)
        sessions, links = self.sessions.links()
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
        self.sessions.listen()
        simulators = self.make_simulators()
        initial = self.restore(simulators, continue_from) if continue_from else self.first_values(simulators)
        if self.coupling == "bundled":
            self.start("world", Bundle(simulators, SAME_CYCLE, NEXT_CYCLE, initial, self.sessions.recess(simulators)))
        else:
            entities = {name: self.start(name, simulator) for name, simulator in simulators.items()}
            self.connect(entities, initial)
        world = World(
            self.context,
            self.p.scenario.duration,
            simulators,
            self.sessions.places(),
            self.pacer,
            made_of(self.p, self.sessions.protocol),
            self.mosaik,
            self.sessions.threads,
            addresses=self.sessions.addresses,
        )
        _arm_snapshots(world, snapshot_at)
        self.sessions.begin()
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
        data = read_snapshot(snapshot, self.p, self.sessions.protocol)
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
            "plant_state": state_from_json(data["plant_state"]),
            "tokens_down": room.tokens_again,
        }


class _Handed:
    """Hands mosaik a simulator that is already made."""

    def __new__(cls, simulator: CycleSimulator | Bundle) -> Any:
        return simulator


def _arm_snapshots(world: World, times: list[SimTime]) -> None:
    """Let the recorder take a snapshot at the end of the first cycle at or after each time."""
    pending = list(times)

    def after_cycle(now: SimTime) -> None:
        while pending and pending[0] <= now:
            world.snapshots[pending.pop(0)] = world.snapshot()

    world.recorder.after_cycle = after_cycle
