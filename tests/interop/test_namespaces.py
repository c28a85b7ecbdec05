"""Our links and stations over a wire of the kernel's: link down, black hole, lost packets, a slow line.

The session is declared dead after the protocol's timers, every point is not topical at once, it is dialled again with a
back-off, and no event is lost without an overflow indication. Needs root, iproute2 and nftables; skipped elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from namespace_bench import FIELD_ADDRESS, LIMIT_S, Loop, Network, network, or_skip

from twin.links.client import LinkClient, ReconnectSettings
from twin.links.dnp3 import Dnp3LinkSettings, Dnp3MasterSession
from twin.links.iec104 import Iec104LinkSettings, Iec104MasterSession
from twin.links.modbus import ModbusMasterSession
from twin.links.modbus_scan import ModbusLinkSettings
from twin.links.model import ArrivedSample, LinkEvent, MasterSession, SessionEvent, SessionState
from twin.outstations.dnp3 import Dnp3Outstation, Dnp3OutstationSettings
from twin.outstations.iec104 import Iec104Outstation, Iec104OutstationSettings
from twin.outstations.modbus import ModbusOutstation
from twin.outstations.model import Outstation, StationCommand
from twin.outstations.server import OutstationServer
from twin.points.model import PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.protocols.dnp3 import FrameDecoder, LinkSettings
from twin.protocols.iec104 import ConnectionSettings
from twin.scada.point_database import PointDatabase
from twin.timebase import TimeBase

pytestmark = pytest.mark.interop
BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
STATION = "RTU_1"
PROTOCOLS = ("iec104", "dnp3", "modbus")
WITH_EVENTS = ("iec104", "dnp3")
T1_MS, IDLE_MS = 1_500, 400
"""How long an answer may take, and how long a line may be idle: short, so that a dead one is found soon."""
OVERFLOW_BIT = 0x08


def point(name: str, kind: PointKind, ioa: int, type_id: int) -> PointDefinition:
    return PointDefinition(STATION, name, kind, "CB_1", name, PointAddress(1, ioa, type_id))


POINTS = [
    point("position", PointKind.DOUBLE, 1, 31),
    point("trip", PointKind.SINGLE, 2, 30),
    point("i_a", PointKind.MEASURAND, 3, 36),
    point("overflow", PointKind.SINGLE, 4, 30),
]
NAMES = tuple(p.name for p in POINTS)


class Device:
    """Nothing is commanded here."""

    def select(self, command: StationCommand, now: int) -> str:
        raise AssertionError(command)

    def operate(self, command: StationCommand, now: int) -> str:
        raise AssertionError(command)

    def cancel(self, command: StationCommand, now: int) -> None:
        raise AssertionError(command)


class Dnp3Tapped(Dnp3MasterSession):
    """Notes whether a response said that events were lost (IIN2.3)."""

    overflow_told = False
    _frames = FrameDecoder()

    def connected(self, now: int) -> None:
        self._frames = FrameDecoder()
        super().connected(now)

    def receive(self, payload: bytes, now: int) -> None:
        for frame in self._frames.receive(payload):
            data = frame.data
            if len(data) >= 5 and data[0] & 0x40:  # the first segment: transport, control, function, IIN1, IIN2
                self.overflow_told |= bool(data[4] & OVERFLOW_BIT)
        super().receive(payload, now)


def station_of(protocol: str, event_limit: int) -> Outstation:
    if protocol == "modbus":
        return ModbusOutstation(STATION, POINTS, Device())
    if protocol == "dnp3":
        link = LinkSettings(keep_alive_ms=IDLE_MS, timeout_ms=T1_MS, retries=0)
        settings = Dnp3OutstationSettings(link=link, event_limit=event_limit, confirm_timeout_ms=T1_MS)
        return Dnp3Outstation(STATION, POINTS, Device(), BASE, settings)
    connection = ConnectionSettings(t1_ms=T1_MS, t2_ms=IDLE_MS // 2, t3_ms=IDLE_MS)
    settings104 = Iec104OutstationSettings(connection=connection, event_limit=event_limit, overflow_point="overflow")
    return Iec104Outstation(STATION, POINTS, Device(), BASE, settings104)


def session_of(protocol: str) -> MasterSession:
    if protocol == "modbus":
        settings = ModbusLinkSettings(poll_ms=50, measurand_poll_ms=50, answer_limit_ms=T1_MS, retries=1)
        return ModbusMasterSession(STATION, POINTS, settings)
    if protocol == "dnp3":
        link = LinkSettings(keep_alive_ms=IDLE_MS, timeout_ms=T1_MS, retries=0)
        return Dnp3Tapped(STATION, POINTS, BASE, Dnp3LinkSettings(link=link, response_timeout_ms=T1_MS, retries=0))
    connection = ConnectionSettings(t1_ms=T1_MS, t2_ms=IDLE_MS // 2, t3_ms=IDLE_MS)
    return Iec104MasterSession(STATION, POINTS, BASE, Iec104LinkSettings(connection=connection))


class Rig:
    """A station in the field's namespace, its link in the control room's, and the point database behind the link."""

    def __init__(self, protocol: str, wire: Network, field: Loop, control: Loop, event_limit: int) -> None:
        self.protocol, self.wire = protocol, wire
        self.events: list[LinkEvent] = []
        self.database = PointDatabase(POINTS)
        self.topical_after_loss: list[int] = []
        self._field, self._control = field, control
        self._start = time.monotonic()
        self._station = station_of(protocol, event_limit)
        self._server = OutstationServer(self.now_ms)
        self.session = session_of(protocol)
        self._sent = 0

    def now_ms(self) -> int:
        return int((time.monotonic() - self._start) * 1000)

    def start(self) -> None:
        _, port = self._field.wait_for(self._server.host(self._station, FIELD_ADDRESS))
        reconnect = ReconnectSettings(first_s=0.1, factor=1.5, most_s=0.5, connect_limit_s=1.0)
        self.client = LinkClient(self.session, FIELD_ADDRESS, port, self.now_ms, self._take, reconnect=reconnect)
        self._control.do(self.client.start)
        self.until(lambda: self.count(SessionState.INTERROGATED) > 0, "the interrogation")
        if self.protocol == "dnp3":
            assert isinstance(self._station, Dnp3Outstation)
            enabled = self._station.associations[1].enabled
            self.until(lambda: enabled == {1, 2, 3}, "unsolicited responses")

    def stop(self) -> None:
        if hasattr(self, "client"):
            self._control.wait_for(self.client.stop())
        self._field.wait_for(self._server.close())

    def _take(self, events: Sequence[LinkEvent]) -> None:
        for event in events:
            if isinstance(event, ArrivedSample):
                self.database.apply(event)
            elif isinstance(event, SessionEvent) and event.state is SessionState.LOST:
                self.database.session_lost(STATION, event.t_ms)
                self.topical_after_loss.append(sum(not self._not_topical(name) for name in NAMES))
        self.events += events

    def _not_topical(self, name: str) -> bool:
        return bool(self.database.quality(name) & Quality.NOT_TOPICAL)

    def happen(self, count: int) -> None:
        """So many events of a measurand, numbered, and the last state of two indications."""
        for _ in range(count):
            self._sent += 1
            self._update("i_a", float(self._sent))
        self._update("trip", float(self._sent % 2))
        self._update("position", 1.0 + self._sent % 2)

    def _update(self, name: str, value: float) -> None:
        sample = Sample(STATION, name, value, Quality.GOOD, self.now_ms())
        self._field.do(lambda: self._server.update(STATION, [sample]))

    def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not holds():
            told = [(e.state.value, e.detail) for e in self.events if isinstance(e, SessionEvent)][-6:]
            assert time.monotonic() < deadline, f"{what} did not happen within {LIMIT_S:g} s; session: {told}"
            self._control.wait_for(asyncio.sleep(0.01))

    def count(self, state: SessionState) -> int:
        return sum(isinstance(e, SessionEvent) and e.state is state for e in list(self.events))

    def dead(self, before: int) -> None:
        """Wait until the session is declared dead; then no point is topical."""
        self.until(lambda: self.count(SessionState.LOST) > before, "the loss")
        assert set(self.topical_after_loss) == {0}
        assert all(self._not_topical(name) for name in NAMES)
        reasons = [e.detail for e in self.events if isinstance(e, SessionEvent) and e.state is SessionState.LOST]
        assert reasons[-1], "a loss has its reason"

    def back(self, before: int) -> None:
        """Wait until it is interrogated again; then all points are good and the failures forgotten."""
        self.until(lambda: self.count(SessionState.INTERROGATED) > before, "the interrogation after the loss")
        self.until(lambda: self.latest(), "the latest values")
        assert self.client.failures == 0

    def latest(self) -> bool:
        """Whether the control room has the field's latest values, all of them topical."""
        wanted = {"i_a": float(self._sent), "trip": float(self._sent % 2), "position": 1.0 + self._sent % 2}
        return all(self.database.value(n) == value and self.database.good(n) for n, value in wanted.items())

    def numbers(self) -> list[float]:
        """The numbered events as they came."""
        samples = [e.sample for e in list(self.events) if isinstance(e, ArrivedSample)]
        return [s.value for s in samples if s.point == "i_a" and s.spontaneous]

    def missing(self) -> set[float]:
        return set(map(float, range(1, self._sent + 1))) - set(self.numbers())

    def overflow_told(self) -> bool:
        """Whether the station said that events were lost."""
        if isinstance(self.session, Dnp3Tapped):
            return self.session.overflow_told
        samples = [e.sample for e in list(self.events) if isinstance(e, ArrivedSample)]
        return any(s.point == "overflow" and s.value == 1.0 for s in samples)


@dataclass
class Bench:
    """Makes rigs on one wire; they are stopped in the end."""

    wire: Network
    field: Loop
    control: Loop
    rigs: list[Rig]

    def rig(self, protocol: str, event_limit: int = 1_000) -> Rig:
        made = Rig(protocol, self.wire, self.field, self.control, event_limit)
        self.rigs.append(made)
        made.start()
        return made


@pytest.fixture
def bench() -> Iterator[Bench]:
    with network() as wire, Loop(wire.field) as field, Loop(wire.control) as control:
        made = Bench(wire, field, control, [])
        try:
            yield made
        finally:
            for rig in made.rigs:
                rig.stop()


def expect_events(rig: Rig) -> None:
    """Every event arrives; Modbus has none, there the values alone count."""
    if rig.protocol in WITH_EVENTS:
        rig.until(lambda: not rig.missing(), "every event")
        assert not rig.overflow_told()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_link_down__declares_the_session_dead_and_comes_back_with_every_event(bench: Bench, protocol: str) -> None:
    rig = bench.rig(protocol)
    rig.happen(5)
    rig.until(rig.latest, "the first values")
    lost, interrogated = rig.count(SessionState.LOST), rig.count(SessionState.INTERROGATED)
    rig.wire.carrier(up=False)
    rig.happen(50)
    rig.dead(lost)
    rig.until(lambda: rig.client.failures >= 3, "dialling in vain, with a back-off")
    assert "cannot be reached" in rig.client.last_failure
    rig.wire.carrier(up=True)
    rig.back(interrogated)
    expect_events(rig)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_black_hole__is_found_by_the_protocols_timers_alone(bench: Bench, protocol: str) -> None:
    """The carrier stands and nobody hangs up: packets vanish in both directions."""
    rig = bench.rig(protocol)
    or_skip(lambda: rig.wire.lose("meta l4proto tcp"), "nftables")
    lost, interrogated = rig.count(SessionState.LOST), rig.count(SessionState.INTERROGATED)
    rig.happen(50)
    rig.dead(lost)
    rig.until(lambda: rig.client.failures >= 2, "dialling in vain")
    assert rig.wire.lost() > 0
    rig.wire.lose_nothing()
    rig.back(interrogated)
    expect_events(rig)


@pytest.mark.parametrize("protocol", WITH_EVENTS)
def test_overflow__events_that_found_no_room_are_covered_by_an_indication(bench: Bench, protocol: str) -> None:
    rig = bench.rig(protocol, event_limit=20)
    lost, interrogated = rig.count(SessionState.LOST), rig.count(SessionState.INTERROGATED)
    rig.wire.carrier(up=False)
    rig.dead(lost)
    rig.happen(100)
    rig.wire.carrier(up=True)
    rig.back(interrogated)
    rig.until(lambda: 100.0 in rig.numbers(), "the newest event")
    assert rig.missing(), "more happened than there was room for"
    rig.until(rig.overflow_told, "the overflow indication")
    assert min(rig.missing()) == 1.0, "the oldest made room"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_loss__of_every_fifth_packet_loses_no_event_and_keeps_their_order(bench: Bench, protocol: str) -> None:
    rig = bench.rig(protocol)
    or_skip(lambda: rig.wire.lose("meta l4proto tcp numgen inc mod 5 == 0"), "numgen of nftables")
    for _ in range(10):
        rig.happen(20)
        rig.until(rig.latest, "the values of one burst")
    assert rig.wire.lost() > 0
    expect_events(rig)
    if rig.protocol in WITH_EVENTS and not rig.count(SessionState.LOST):
        assert rig.numbers() == sorted(set(rig.numbers())), "once, and in their order"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_rate__of_a_slow_line_delays_and_loses_nothing(bench: Bench, protocol: str) -> None:
    rig = bench.rig(protocol)
    rate = "8kbit" if protocol == "modbus" else "24kbit"  # a poll waits for its answer and asks for less
    or_skip(lambda: rig.wire.slow(rate), "tbf")
    rig.happen(300)
    rig.until(rig.latest, "the latest values")
    rig.until(lambda: rig.wire.held_back() > 0, "packets that wait")
    expect_events(rig)
