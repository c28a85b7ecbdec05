"""The real-time drivers against each other on loopback: our client, our server, and a peer that talks nonsense."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from twin.links.client import CLOSED_BY_US, LinkClient, ReconnectSettings
from twin.links.iec104 import Iec104LinkSettings, Iec104MasterSession
from twin.links.model import ArrivedSample, LinkEvent, SessionEvent, SessionState
from twin.outstations.iec104 import Iec104Outstation, Iec104OutstationSettings
from twin.outstations.model import StationCommand
from twin.outstations.server import OutstationServer
from twin.points.model import PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.protocols.iec104 import ConnectionSettings
from twin.timebase import TimeBase
from twin.transport.sockets import ListenError

BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
HOST = "127.0.41.1"
POINTS = [PointDefinition("RTU_1", "trip", PointKind.SINGLE, "CB_1", "trip", PointAddress(1, 1, 1))]
QUICK = ReconnectSettings(first_s=0.01, factor=1.0, most_s=0.01)
LIMIT_S = 10.0


class NoDevice:
    def select(self, command: StationCommand, now: int) -> str:
        return "no device"

    def operate(self, command: StationCommand, now: int) -> str:
        return "no device"

    def cancel(self, command: StationCommand, now: int) -> None:
        pass


def now_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1000)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not holds():
            await asyncio.sleep(0.002)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 2 * LIMIT_S))


def station(**times: int) -> Iec104Outstation:
    settings = Iec104OutstationSettings(connection=ConnectionSettings(**times))
    return Iec104Outstation("RTU_1", POINTS, NoDevice(), BASE, settings)


class Control:
    def __init__(self, port: int, reconnect: ReconnectSettings = QUICK, **times: int) -> None:
        settings = Iec104LinkSettings(connection=ConnectionSettings(**times))
        self.events: list[LinkEvent] = []
        session = Iec104MasterSession("RTU_1", POINTS, BASE, settings)
        self.client = LinkClient(session, HOST, port, now_ms, self.take, reconnect=reconnect)
        self.client.start()

    def take(self, events: Sequence[LinkEvent]) -> None:
        assert events
        self.events += events

    def reached(self, state: SessionState) -> bool:
        return any(isinstance(event, SessionEvent) and event.state is state for event in self.events)

    def lost(self) -> list[str]:
        lost = [event for event in self.events if isinstance(event, SessionEvent)]
        return [event.detail for event in lost if event.state is SessionState.LOST]

    def trips(self) -> list[float]:
        return [e.sample.value for e in self.events if isinstance(e, ArrivedSample) and e.sample.spontaneous]


def trip(value: float) -> list[Sample]:
    return [Sample("RTU_1", "trip", value, Quality.GOOD, now_ms())]


def test_drivers__carry_events_to_every_master_and_hang_up_in_the_end() -> None:
    async def scenario() -> None:
        server = OutstationServer(now_ms)
        _, port = await server.host(station(), HOST)
        first, second = Control(port), Control(port)
        await until(lambda: first.reached(SessionState.INTERROGATED) and second.reached(SessionState.INTERROGATED))
        assert server.connection_count("RTU_1") == 2
        server.update("RTU_1", trip(1))
        await until(lambda: first.trips() == second.trips() == [1.0])
        await first.client.stop()
        assert first.lost() == [CLOSED_BY_US]
        await until(lambda: server.connection_count("RTU_1") == 1)
        await server.close()
        await until(lambda: bool(second.lost()))
        await second.client.stop()

    run(scenario())


def test_client__connects_when_the_station_comes_and_gets_what_was_buffered() -> None:
    async def scenario() -> None:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = probe.getsockname()[1]
        control = Control(port)
        await until(lambda: control.client.failures >= 3)
        server = OutstationServer(now_ms)
        rtu = station()
        rtu.update(trip(1), 0)
        await server.host(rtu, HOST, port)
        await until(lambda: control.trips() == [1.0])
        assert control.client.failures == 0
        await control.client.stop()
        await server.close()

    run(scenario())


def test_drivers__run_the_timers_of_both_sessions() -> None:
    """t3 = 20 ms: the idle line is tested again and again, and nobody gives up."""

    async def scenario() -> None:
        server = OutstationServer(now_ms)
        rtu = station(t3_ms=20)
        _, port = await server.host(rtu, HOST)
        control = Control(port, t3_ms=20)
        await until(lambda: control.reached(SessionState.INTERROGATED))
        first_test = rtu.sessions[0].snapshot()["connection"]["test_at"]
        await until(lambda: rtu.sessions[0].snapshot()["connection"]["test_at"] > first_test + 200)
        assert control.lost() == []
        await control.client.stop()
        await server.close()

    run(scenario())


def test_client__gives_up_a_silent_station_by_t1() -> None:
    async def scenario() -> None:
        with socket.create_server((HOST, 0)) as silent:  # the backlog takes connections, nobody reads them
            control = Control(silent.getsockname()[1], t1_ms=50, t2_ms=20)
            await until(lambda: len(control.lost()) == 2)
            assert all("t1 expired: STARTDT act" in reason for reason in control.lost())
            await control.client.stop()

    run(scenario())


def test_client__backs_off_further_with_every_failure() -> None:
    settings = ReconnectSettings(first_s=0.5, factor=2.0, most_s=3.0)
    assert [settings.wait_s(n) for n in (1, 2, 3, 4, 5_000)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_client__stops_while_nobody_listens() -> None:
    async def scenario() -> None:
        control = Control(1, ReconnectSettings(first_s=60.0, most_s=60.0))
        await until(lambda: control.client.failures == 1)
        await control.client.stop()
        assert control.events == []

    run(scenario())


@pytest.mark.parametrize(
    "octets",
    [b"GET / HTTP/1.1\r\n\r\n", bytes.fromhex("680407000000 680a00000000 0d8105000100")],
    ids=["http", "cut ASDU"],
)
def test_server__hangs_up_on_nonsense_and_goes_on(octets: bytes) -> None:
    async def scenario() -> None:
        server = OutstationServer(now_ms)
        _, port = await server.host(station(), HOST)
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(octets)
        async with asyncio.timeout(LIMIT_S):
            assert len(await reader.read()) < 100  # the end of the connection
        writer.close()
        await writer.wait_closed()
        control = Control(port)
        await until(lambda: control.reached(SessionState.INTERROGATED))
        await control.client.stop()
        await server.close()

    run(scenario())


def test_server__address_in_use_is_a_clear_error() -> None:
    async def scenario() -> None:
        server = OutstationServer(now_ms)
        _, port = await server.host(station(), HOST)
        with pytest.raises(ListenError, match=f"station RTU_1 cannot listen on {HOST}:{port}"):
            await server.host(station(), HOST, port)
        await server.close()

    run(scenario())
