"""Both ends of the telecontrol network in lockstep: two stations, over memory and over TCP.

    control room ── 80 ms ── RTU_1 (breaker CB_1)
                 └─ 80 ms ── RTU_2 (breaker CB_2)

Each breaker opens or closes in 100 ms. Every dialogue is run over the in-process link and over IEC 60870-5-104
on the loopback interface, and happens at the same simulated times on both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from twin.links.iec104 import Iec104MasterSession
from twin.links.in_process import InProcessMasterSession
from twin.links.lockstep import RECONNECT_MS, LockstepLinks
from twin.links.model import ArrivedSample, CommandReply, LinkCommand, LinkEvent, MasterSession, SessionEvent
from twin.outstations.iec104 import Iec104Outstation
from twin.outstations.in_process import InProcessOutstation
from twin.outstations.lockstep import LockstepStations
from twin.outstations.model import Outstation, StationCommand
from twin.outstations.silent import SilentOutstation
from twin.points.model import DoublePosition, PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.timebase import NEVER, SimTime, TimeBase
from twin.transport import (
    BarrierTimeoutError,
    Handover,
    IoThread,
    Listener,
    MemoryListener,
    TcpEndpoint,
    TelecontrolPath,
)

BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
LATENCY, MOVING_MS = 80, 100
STATIONS = ("RTU_1", "RTU_2")
PROTOCOLS = ("in_process", "iec104")
OPEN, CLOSED = DoublePosition.OPEN, DoublePosition.CLOSED


def definitions(station: str) -> list[PointDefinition]:
    n = int(station[-1])

    def point(name: str, kind: PointKind, ioa: int, type_id: int) -> PointDefinition:
        return PointDefinition(station, f"CB_{n}.{name}", kind, f"CB_{n}", name, PointAddress(n, ioa, type_id))

    return [
        point("position", PointKind.DOUBLE, 1, 3),
        point("i_a", PointKind.MEASURAND, 2, 13),
        point("operate", PointKind.DOUBLE_COMMAND, 3, 46),
    ]


@dataclass
class Breakers:
    """The devices of all stations: each does what it is told, 100 ms later."""

    moving: list[tuple[SimTime, str, int, float]] = field(default_factory=list)

    def select(self, command: StationCommand, now: SimTime) -> str:
        return ""

    def operate(self, command: StationCommand, now: SimTime) -> str:
        self.moving.append((now + MOVING_MS, command.station, command.ticket, command.value))
        return ""

    def cancel(self, command: StationCommand, now: SimTime) -> None:
        """Nothing was reserved."""

    def due(self) -> SimTime:
        return min((row[0] for row in self.moving), default=NEVER)

    def take(self, now: SimTime) -> list[tuple[SimTime, str, int, float]]:
        done = sorted(row for row in self.moving if row[0] <= now)
        self.moving = [row for row in self.moving if row[0] > now]
        return done


class Telecontrol:
    """Steps both ends as the world does: the field, the links, and what the links say to the field's next cycle."""

    def __init__(self, protocol: str, *, step: int = 100, limit_s: float = 10.0, silent: str = "") -> None:
        self.protocol, self.step = protocol, step
        self.threads = [IoThread("field"), IoThread("room")] if protocol == "iec104" else []
        self.acceptors: dict[str, Any] = {}
        endpoints: dict[str, Any] = {}
        for station in STATIONS:
            if protocol == "in_process":
                self.acceptors[station] = endpoints[station] = MemoryListener()
            else:
                listener = Listener(self.threads[0], station, "127.0.0.1", 0)
                self.acceptors[station] = listener
                endpoints[station] = TcpEndpoint(self.threads[1], listener.host, listener.port)
        self.devices = Breakers()
        self.sessions = {station: self._session(station) for station in STATIONS}
        outstations = {s: SilentOutstation(s) if s == silent else self._outstation(s) for s in STATIONS}
        measured = frozenset(("CB_1.i_a", "CB_2.i_a"))
        self.stations = LockstepStations(outstations, self.acceptors, self._paths("down"), measured, limit_s)
        self.links = LockstepLinks(self.sessions, endpoints, self._paths("up"), limit_s)
        self.now: SimTime = -1
        self.next: SimTime = 0
        self.down: list[Handover] = []
        self.story: list[tuple[Any, ...]] = []
        self.orders: list[tuple[SimTime, str, LinkCommand]] = []
        self.values: list[tuple[SimTime, Sample]] = []
        self.cuts: list[tuple[SimTime, str, SimTime]] = []

    def _session(self, station: str) -> MasterSession:
        if self.protocol == "in_process":
            return InProcessMasterSession(station)
        return Iec104MasterSession(station, definitions(station), BASE)

    def _outstation(self, station: str) -> Outstation:
        if self.protocol == "in_process":
            return InProcessOutstation(station, definitions(station), self.devices)
        return Iec104Outstation(station, definitions(station), self.devices, BASE)

    @staticmethod
    def _paths(direction: str) -> dict[str, TelecontrolPath]:
        return {station: TelecontrolPath(station, direction, LATENCY) for station in STATIONS}

    # -- what is to happen --

    def at(self, t_ms: SimTime, point: str, value: float) -> None:
        """A device at RTU_n reports ``CB_n.point``."""
        self.values.append((t_ms, Sample(f"RTU_{point[3]}", point, value, Quality.GOOD, t_ms)))

    def order(self, t_ms: SimTime, verb: str, value: float, number: int = 7, station: str = "RTU_1") -> None:
        point = f"CB_{station[-1]}.operate"
        self.orders.append((t_ms, verb, LinkCommand(number, station, point, value)))

    def cut(self, t_ms: SimTime, station: str, until: SimTime) -> None:
        self.cuts.append((t_ms, station, until))

    # -- the cycle --

    def run(self, until: SimTime) -> Telecontrol:
        while self.next <= until:
            self.cycle(self.next)
        return self

    def cycle(self, now: SimTime) -> None:
        first, last = self.now < 0, max(self.now, 0)
        self.now = now
        self.stations.accept(self.down)
        while (due := min(self.stations.next_due(), self.devices.due())) <= now:
            at = max(due, last)
            self._devices(at)
            self.stations.advance(at)
        for _, station, until in self._taken(self.cuts, now):
            self.stations.cut(station, now, until)
            self.links.cut(station, now, until)
        if first:
            image = [
                Sample(d.station, d.name, 2.0 if d.kind is PointKind.DOUBLE else 50.0, Quality.GOOD, 0, False)
                for station in STATIONS
                for d in definitions(station)
                if not d.kind.is_output
            ]
            self.stations.update(image, now)
            self.links.start(now)
        self.stations.update([sample for _, sample in self._taken(self.values, now)], now)
        self.links.accept(self.stations.take_handovers())
        self.story += [told(event) for event in self.links.advance(now)]
        for _, verb, command in self._taken(self.orders, now):
            getattr(self.sessions[command.station], verb)(command, now)
        self.links.flush(now)
        self.down = self.links.take_handovers()
        self.next = min(now + self.step - now % self.step, *(t for t in self._wanted() if t > now), NEVER)
        urgent = any(segment.urgent for token in self.down for segment in token.segments)
        if urgent or any(t <= now for t in self._wanted()):
            self.next = min(self.next, now + 1)

    def _wanted(self) -> Iterator[SimTime]:
        yield self.stations.next_wanted()
        yield self.links.next_wanted()
        yield self.devices.due()
        for plan in (self.orders, self.values, self.cuts):
            yield min((row[0] for row in plan), default=NEVER)

    @staticmethod
    def _taken(plan: list[Any], now: SimTime) -> list[Any]:
        due = sorted((row for row in plan if row[0] <= now), key=lambda row: row[0])
        plan[:] = [row for row in plan if row[0] > now]
        return due

    def _devices(self, now: SimTime) -> None:
        for t_ms, station, ticket, value in self.devices.take(now):
            sample = Sample(station, f"CB_{station[-1]}.position", value, Quality.GOOD, t_ms)
            self.stations.update([sample], now)
            self.stations.finished(station, ticket, True, now)

    # -- state --

    def snapshot(self) -> str:
        state = {
            "now": self.now,
            "next": self.next,
            "stations": self.stations.snapshot(),
            "links": self.links.snapshot(),
            "sessions": {name: session.snapshot() for name, session in self.sessions.items()},
            "moving": self.devices.moving,
        }
        return json.dumps(state)

    def restore(self, snapshot: str, source: Telecontrol) -> Telecontrol:
        state = json.loads(snapshot)
        self.now, self.next = state["now"], state["next"]
        self.devices.moving = [tuple(row) for row in state["moving"]]
        for name, session in self.sessions.items():
            session.restore(state["sessions"][name])
        self.stations.restore(state["stations"])
        ports, self.down = self.links.restore(state["links"])
        self.stations.rewire(ports)
        return self

    def close(self) -> None:
        self.links.close()
        self.stations.close()
        for thread in self.threads:
            thread.stop()


def told(event: LinkEvent) -> tuple[Any, ...]:
    """An event of a link in one line."""
    if isinstance(event, SessionEvent):
        return event.t_ms, event.station, event.state.value, *((event.detail,) if event.detail else ())
    if isinstance(event, CommandReply):
        return event.t_ms, event.station, event.kind.value, event.command_id, *((event.cause,) if event.cause else ())
    assert isinstance(event, ArrivedSample)
    sample = event.sample
    stamp = (sample.source_t_ms,) if sample.spontaneous else ()
    return event.t_ms, sample.station, sample.point, sample.value, *stamp


@contextmanager
def telecontrol(protocol: str, **settings: Any) -> Iterator[Telecontrol]:
    t = Telecontrol(protocol, **settings)
    try:
        yield t
    finally:
        t.close()


@pytest.fixture(params=PROTOCOLS)
def world(request: pytest.FixtureRequest) -> Iterator[Telecontrol]:
    with telecontrol(request.param) as t:
        yield t


def of(world: Telecontrol, station: str, after: SimTime = 0) -> list[tuple[Any, ...]]:
    return [(row[0], *row[2:]) for row in world.story if row[1] == station and row[0] >= after]


def test_links__start_and_interrogate_every_station_in_two_round_trips(world: Telecontrol) -> None:
    world.run(1000)
    for n in (1, 2):
        assert of(world, f"RTU_{n}") == [
            (0, "connected"),
            (160, "started"),
            (320, f"CB_{n}.position", 2.0),
            (320, f"CB_{n}.i_a", 50.0),
            (320, "interrogated"),
        ]


def test_links__event_arrives_one_latency_after_its_source_time(world: Telecontrol) -> None:
    world.at(5_000, "CB_1.position", OPEN)
    world.at(5_500, "CB_2.i_a", 320.0)
    world.run(6_000)
    assert of(world, "RTU_1", 1000) == [(5_080, "CB_1.position", 1.0, 5_000)]
    assert of(world, "RTU_2", 1000) == [(5_580, "CB_2.i_a", 320.0, 5_500)]


def test_links__select_before_operate_takes_two_round_trips_and_the_movement(world: Telecontrol) -> None:
    world.order(5_000, "select", OPEN)
    world.order(5_200, "operate", OPEN)
    world.run(6_000)
    assert of(world, "RTU_1", 1000) == [
        (5_160, "selected", 7),
        (5_360, "activated", 7),
        (5_460, "CB_1.position", 1.0, 5_380),  # 5280 + 100 + 80
        (5_460, "terminated", 7),
    ]
    assert of(world, "RTU_2", 1000) == []


def test_links__operate_without_select_is_refused(world: Telecontrol) -> None:
    world.order(5_000, "operate", OPEN)
    world.run(6_000)
    assert of(world, "RTU_1", 1000) == [(5_160, "refused", 7, "negative confirmation")]


def test_links__select_runs_out_at_the_station(world: Telecontrol) -> None:
    world.order(5_000, "select", OPEN)
    world.order(15_200, "operate", OPEN)
    world.run(16_000)
    # the select of 5080 stands for 10 s, the operate comes at 15280
    assert of(world, "RTU_1", 1000) == [(5_160, "selected", 7), (15_360, "refused", 7, "negative confirmation")]


def test_cut__shorter_than_the_patience_only_delays(world: Telecontrol) -> None:
    world.cut(5_000, "RTU_1", 10_000)
    world.at(6_000, "CB_1.position", OPEN)
    world.at(6_000, "CB_2.position", OPEN)
    world.run(12_000)
    # retransmitted 200 ms after the end of the cut
    assert of(world, "RTU_1", 1000) == [(10_280, "CB_1.position", 1.0, 6_000)]
    assert of(world, "RTU_2", 1000) == [(6_080, "CB_2.position", 1.0, 6_000)]


def test_cut__longer_than_the_patience_loses_the_session_and_none_of_the_events(world: Telecontrol) -> None:
    world.cut(5_000, "RTU_1", 65_000)
    for t_ms, value in ((4_000, 0), (6_000, OPEN), (30_000, CLOSED), (60_000, OPEN), (90_000, CLOSED)):
        world.at(t_ms, "CB_1.position", value)
    world.run(100_000)
    story = of(world, "RTU_1", 4_000)
    states = [(row[0], row[1]) for row in story if row[1] in ("lost", "connected", "started", "interrogated")]
    [lost_at] = [t for t, state in states if state == "lost"]
    assert 5_000 + 15_000 < lost_at < 45_000
    # dialled every 5 s until the path is there again
    connected_at = next(lost_at + n * RECONNECT_MS for n in range(1, 20) if lost_at + n * RECONNECT_MS >= 65_000)
    assert states == [
        (lost_at, "lost"),
        (connected_at, "connected"),
        (connected_at + 160, "started"),
        (connected_at + 320, "interrogated"),
    ]
    events = [row[3:] + row[2:3] for row in story if row[1] == "CB_1.position" and len(row) == 4]
    assert sorted(set(events)) == [(4_000, 0.0), (6_000, 1.0), (30_000, 2.0), (60_000, 1.0), (90_000, 2.0)]
    assert events == sorted(events)
    assert not [row for row in of(world, "RTU_2", 1_000) if row[1] == "lost"]


def test_cut__at_the_start_delays_the_first_dialling(world: Telecontrol) -> None:
    world.cut(0, "RTU_1", 7_000)
    world.run(12_000)
    assert of(world, "RTU_1")[0] == (10_000, "connected")
    assert of(world, "RTU_2")[0] == (0, "connected")


def test_links__dialogue_is_the_same_over_memory_and_over_tcp() -> None:
    stories = []
    for protocol in PROTOCOLS:
        with telecontrol(protocol) as world:
            busy(world).run(110_000)
            stories.append([row[:3] if row[2] == "lost" else row for row in world.story])
    assert stories[0] == stories[1]


def busy(world: Telecontrol) -> Telecontrol:
    """Commands, events, a short cut and a long one."""
    world.order(2_000, "select", OPEN)
    world.order(2_170, "operate", OPEN)
    world.at(2_290, "CB_2.position", OPEN)
    world.order(2_300, "select", OPEN, 8, "RTU_2")
    world.order(2_400, "cancel", OPEN, 8, "RTU_2")
    world.at(3_000, "CB_2.i_a", 40.0)
    world.cut(4_000, "RTU_2", 6_000)
    world.at(5_000, "CB_2.position", CLOSED)
    world.cut(8_000, "RTU_1", 70_000)
    world.at(9_000, "CB_1.position", CLOSED)
    world.at(50_000, "CB_1.position", OPEN)
    world.order(90_000, "select", CLOSED, 9)
    world.order(90_200, "operate", CLOSED, 9)
    return world


class TestSnapshot:
    """Continued over new connections, a run tells what it would have told."""

    @pytest.mark.parametrize(("protocol", "every"), [("in_process", 1), ("iec104", 23)])
    def test_restore__after_any_cycle_goes_on_alike(self, protocol: str, every: int) -> None:
        with telecontrol(protocol, step=1000) as whole:
            busy(whole)
            saved: list[tuple[int, str, list[Any]]] = []
            while whole.next <= 100_000:
                whole.cycle(whole.next)
                plans = [list(plan) for plan in (whole.orders, whole.values, whole.cuts)]
                saved.append((len(whole.story), whole.snapshot(), plans))
            assert len(saved) > 120
            assert {row[2] for row in whole.story} >= {"lost", "connected", "selected", "activated", "terminated"}
            last = whole.snapshot()
        for told_before, snapshot, plans in saved[::every]:
            with telecontrol(protocol, step=1000) as again:
                again.orders, again.values, again.cuts = (list(plan) for plan in plans)
                again.restore(snapshot, whole).run(100_000)
                assert again.story == whole.story[told_before:], f"continued from {json.loads(snapshot)['now']} ms"
                assert json.loads(again.snapshot())["stations"].keys() == json.loads(last)["stations"].keys()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_links__step_longer_than_the_time_outs_loses_no_session(protocol: str) -> None:
    """The base step is a minute; test frames are due every 20 s and must be answered within 15 s."""
    with telecontrol(protocol, step=60_000) as world:
        world.at(120_000, "CB_1.position", OPEN)
        world.run(600_000)
        for n in (1, 2):
            assert [row[1] for row in of(world, f"RTU_{n}") if len(row) < 3] == ["connected", "started", "interrogated"]
        assert of(world, "RTU_1", 1_000) == [(120_080, "CB_1.position", 1.0, 120_000)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_links__session_lost_within_a_long_step_is_dialled_again(protocol: str) -> None:
    with telecontrol(protocol, step=60_000) as world:
        world.cut(60_000, "RTU_1", 150_000)
        world.run(600_000)
        states = [row[1] for row in of(world, "RTU_1") if row[1] in ("lost", "interrogated")]
        assert states == ["interrogated", "lost", "interrogated"]


def test_links__silent_station_is_given_up_and_dialled_again_and_again() -> None:
    with telecontrol("in_process", silent="RTU_1") as world:
        world.run(45_000)
        assert of(world, "RTU_1") == [
            (0, "connected"),
            (15_000, "lost", "no answer to start within 15000 ms"),
            (20_000, "connected"),
            (35_000, "lost", "no answer to start within 15000 ms"),
            (40_000, "connected"),
        ]
        assert of(world, "RTU_2")[-1] == (320, "interrogated")


def test_links__connection_that_breaks_unannounced_fails_the_run() -> None:
    with telecontrol("iec104", limit_s=0.2) as world:
        world.run(1_000)
        wire = world.stations._hosts["RTU_1"].channel._wire
        assert wire is not None
        wire.close()
        world.at(2_000, "CB_1.position", OPEN)
        with pytest.raises(BarrierTimeoutError, match="station RTU_1 does not answer"):
            world.run(3_000)


def test_links__connection_that_nobody_accepted_fails_the_run() -> None:
    with telecontrol("iec104", limit_s=0.05) as world:
        world.cycle(0)
        ports = [Handover(h.station, h.connection, h.segments, h.opened_ms, 1, h.closed_ms) for h in world.down]
        world.down = ports
        with pytest.raises(BarrierTimeoutError, match="accepted no connection from port 1"):
            world.cycle(1)


def test_links__token_of_an_old_connection_is_ignored() -> None:
    with telecontrol("in_process") as world:
        world.run(1_000)
        before = list(world.story)
        world.links.accept([Handover("RTU_1", 99, closed_ms=1_000)])
        world.run(2_000)
        assert world.story == before
