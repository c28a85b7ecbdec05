"""A link with a standby connection: the pure pair with our station, and the client with raw frames."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from twin.links.client import ReconnectSettings
from twin.links.iec104 import Iec104LinkSettings, Iec104MasterSession
from twin.links.model import ArrivedSample, LinkCommand, LinkEvent, ReplyKind, SessionEvent, SessionState
from twin.links.standby import Leg, StandbyClient, StandbyPair
from twin.outstations.iec104 import Iec104Outstation, Iec104OutstationSession, Iec104OutstationSettings
from twin.outstations.model import StationCommand
from twin.points.model import PointAddress, PointDefinition, PointKind, Sample
from twin.protocols.iec104 import ConnectionSettings
from twin.timebase import TimeBase

BASE = TimeBase(datetime(2026, 1, 15, 18, tzinfo=UTC))
POINTS = [
    PointDefinition("RTU", "i_a", PointKind.MEASURAND, "CB", "i_a", PointAddress(1, 10, 36)),
    PointDefinition("RTU", "operate", PointKind.DOUBLE_COMMAND, "CB", "operate", PointAddress(1, 60, 46)),
]
HOME = "127.0.0.2"
SETTINGS = Iec104OutstationSettings.model_validate({"redundancy_groups": [{"name": "room", "sources": [HOME]}]})
STARTDT_ACT, STARTDT_CON = bytes.fromhex("680407000000"), bytes.fromhex("68040b000000")
TESTFR_ACT, TESTFR_CON = bytes.fromhex("680443000000"), bytes.fromhex("680483000000")


class Device:
    """Agrees to everything, and remembers the number of what it was ordered last."""

    ticket = 0

    def select(self, command: StationCommand, now: int) -> str:
        return ""

    def operate(self, command: StationCommand, now: int) -> str:
        self.ticket = command.ticket
        return ""

    def cancel(self, command: StationCommand, now: int) -> None:
        """Nothing to do."""


class Bench:
    """A pair and a station, with the two connections between them."""

    def __init__(self) -> None:
        self.session = Iec104MasterSession("RTU", POINTS, BASE)
        self.pair = StandbyPair(self.session)
        self.device = Device()
        self.station = Iec104Outstation("RTU", POINTS, self.device, BASE, SETTINGS)
        self.station.update([Sample("RTU", "i_a", 0.0, 0, 0, False)], 0)
        self.lines: dict[Leg, Iec104OutstationSession] = {}
        self.events: list[LinkEvent] = []
        for leg in self.pair.legs:
            self.connect(leg, 0)

    def connect(self, leg: Leg, now: int) -> None:
        self.lines[leg] = self.station.open_session_from(HOME, now)
        leg.connected(now)
        self.carry(now)

    def cut(self, leg: Leg, now: int, reason: str = "cut") -> None:
        """The connection breaks; both ends learn of it, the control room first."""
        line = self.lines.pop(leg)
        leg.disconnected(now, reason)
        self.station.close_session(line, now)
        self.carry(now)

    def carry(self, now: int) -> None:
        moved = True
        while moved:
            moved = False
            for leg, line in list(self.lines.items()):
                if said := leg.payload_to_send():
                    line.receive(said, now)
                    moved = True
                if said := line.payload_to_send():
                    leg.receive(said, now)
                    moved = True
        self.events += self.session.take_events()

    def tick(self, now: int) -> None:
        for leg, line in list(self.lines.items()):
            if leg.next_timer() <= now:
                leg.tick(now)
            if line.next_timer() <= now:
                line.tick(now)
        self.carry(now)

    def report(self, value: float, now: int) -> None:
        self.station.update([Sample("RTU", "i_a", value, 0, now, True)], now)

    @property
    def values(self) -> list[float]:
        """The spontaneous values that arrived, in order."""
        found = [e.sample for e in self.events if isinstance(e, ArrivedSample)]
        return [sample.value for sample in found if sample.spontaneous]

    @property
    def states(self) -> list[SessionState]:
        return [e.state for e in self.events if isinstance(e, SessionEvent)]


def test_pair__starts_data_transfer_on_one_connection_alone() -> None:
    bench = Bench()
    first, second = bench.pair.legs
    assert (first.is_active, second.is_active) == (True, False)
    assert [session.started for session in bench.station.sessions] == [True, False]
    assert bench.states == [SessionState.CONNECTED, SessionState.STARTED, SessionState.INTERROGATED]


def test_pair__standby_is_supervised_by_test_frames() -> None:
    bench = Bench()
    standby = bench.pair.legs[1]
    standby.tick(standby.next_timer())
    assert standby.payload_to_send() == TESTFR_ACT
    standby.tick(standby.next_timer())
    assert standby.close_reason
    assert bench.pair.active is bench.pair.legs[0]


def test_pair__goes_over_without_a_loss_of_the_session() -> None:
    bench = Bench()
    first, second = bench.pair.legs
    bench.cut(first, 1_000)
    assert bench.pair.active is second
    assert SessionState.LOST not in bench.states
    bench.report(7.0, 1_100)
    bench.carry(1_100)
    assert bench.values == [7.0]
    bench.connect(first, 2_000)
    bench.cut(second, 3_000)
    bench.report(8.0, 3_100)
    bench.carry(3_100)
    assert list(dict.fromkeys(bench.values)) == [7.0, 8.0]  # 7 was not acknowledged yet, so it came again
    assert bench.pair.switches == 2


def test_pair__lost_without_a_standby() -> None:
    bench = Bench()
    first, second = bench.pair.legs
    bench.cut(second, 1_000)
    assert SessionState.LOST not in bench.states
    bench.cut(first, 2_000, "T1 expired")
    assert bench.states[-1] is SessionState.LOST
    bench.connect(second, 3_000)
    assert bench.pair.active is second
    assert bench.states[-1] is SessionState.INTERROGATED


def test_pair__a_standby_that_never_confirms_is_no_way_out() -> None:
    """Behind a dead network both connections stand, and neither answers: the session is lost at the second failure."""
    bench = Bench()
    first, second = bench.pair.legs
    first.disconnected(35_000, "T1 expired")
    first.connected(35_001)
    assert bench.pair.active is second
    second.disconnected(50_001, "T1 expired")
    states = [e.state for e in bench.session.take_events() if isinstance(e, SessionEvent)]
    assert states == [SessionState.CONNECTED, SessionState.LOST, SessionState.CONNECTED]


def test_pair__command_under_way_keeps_its_answer() -> None:
    bench = Bench()
    first, _ = bench.pair.legs
    command = LinkCommand(1, "RTU", "operate", 2.0)
    bench.session.select(command, 900)
    bench.carry(900)
    bench.session.operate(command, 1_000)
    bench.carry(1_000)
    line = bench.lines.pop(first)
    first.disconnected(1_100, "cut")
    bench.carry(1_100)
    bench.station.close_session(line, 1_200)  # the station learns of the cut after the control room went over
    bench.station.finished(bench.device.ticket, True, 1_500)
    bench.carry(1_500)
    kinds = [e.kind for e in bench.events if not isinstance(e, SessionEvent | ArrivedSample)]
    assert kinds == [ReplyKind.SELECTED, ReplyKind.ACTIVATED, ReplyKind.TERMINATED]


STEPS = st.lists(st.sampled_from(["report", "carry", "cut", "connect", "wait"]), max_size=60)


@given(STEPS)
def test_pair__no_event_is_lost_whatever_breaks(steps: list[str]) -> None:
    """However connections come and go: every value arrives at least once, and first arrivals keep their order."""
    bench, now, value = Bench(), 1_000, 0.0
    for step in steps:
        now += 10
        gone = [leg for leg in bench.pair.legs if leg not in bench.lines]
        if step == "report":
            value += 1.0
            bench.report(value, now)
        elif step == "carry":
            bench.carry(now)
        elif step == "cut" and bench.pair.active in bench.lines:
            assert bench.pair.active is not None
            bench.cut(bench.pair.active, now)
        elif step == "connect" and gone:
            bench.connect(gone[0], now)
        elif step == "wait":
            now += 5_000
            bench.tick(now)
    for leg in bench.pair.legs:
        if leg not in bench.lines:
            bench.connect(leg, now + 10)
    bench.carry(now + 20)
    assert list(dict.fromkeys(bench.values)) == [float(n) for n in range(1, int(value) + 1)]


class RawStation:
    """Takes connections and answers STARTDT and TESTFR octet by octet; ``heard`` is what came on each."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.news = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.writers)
        self.writers.append(writer)
        self.heard.append(b"")
        try:
            while frame := await reader.read(6):
                self.heard[number] += frame
                answer = {STARTDT_ACT: STARTDT_CON, TESTFR_ACT: TESTFR_CON}.get(frame, b"")
                writer.write(answer)
                async with self.news:
                    self.news.notify_all()
        except ConnectionError:
            """Cut by the test."""
        finally:
            writer.close()

    async def until(self, number: int, octets: bytes) -> None:
        async with self.news:
            await self.news.wait_for(lambda: len(self.heard) > number and octets in self.heard[number])


def test_client__raw_frames_on_both_connections() -> None:
    """STARTDT on the first, TESTFR alone on the second; the first is cut: STARTDT on the second, a third stands by."""
    events: list[LinkEvent] = []

    def take(new: Sequence[LinkEvent]) -> None:
        events.extend(new)

    async def main() -> None:
        station = RawStation()
        server = await asyncio.start_server(station.serve, "127.0.0.1", 0)
        quick = ConnectionSettings(t1_ms=10_000, t2_ms=100, t3_ms=200)
        session = Iec104MasterSession("RTU", [], BASE, Iec104LinkSettings(connection=quick))
        client = StandbyClient(
            session,
            *server.sockets[0].getsockname()[:2],
            lambda: int(time.monotonic() * 1_000),
            take,
            reconnect=ReconnectSettings(first_s=0.01, most_s=0.01),
        )
        client.start()
        try:
            async with asyncio.timeout(60):
                await station.until(1, TESTFR_ACT)
                active, standby = sorted((0, 1), key=lambda n: STARTDT_ACT not in station.heard[n])
                assert STARTDT_ACT in station.heard[active]
                assert STARTDT_ACT not in station.heard[standby]
                station.writers[active].transport.abort()
                await station.until(standby, STARTDT_ACT)
                await station.until(2, TESTFR_ACT)
                assert STARTDT_ACT not in station.heard[2]
        finally:
            await client.stop()
            server.close()
            await server.wait_closed()

    asyncio.run(main())
    told = [event.state for event in events if isinstance(event, SessionEvent)]
    assert told.count(SessionState.LOST) == 1  # when it hung up at the end
    assert told[-1] is SessionState.LOST
    assert told.count(SessionState.STARTED) == 2
