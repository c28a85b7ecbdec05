"""Our IEC 60870-5-104 station and link against c104 (lib60870), which runs in processes of its own.

c104 is GPL-3 and is never imported here; what it saw and was told crosses as JSON lines.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from twin.links.client import LinkClient, ReconnectSettings
from twin.links.iec104 import Iec104MasterSession
from twin.links.model import ArrivedSample, CommandReply, LinkCommand, LinkEvent, ReplyKind, SessionEvent, SessionState
from twin.outstations.iec104 import Iec104Outstation
from twin.outstations.model import StationCommand
from twin.outstations.server import OutstationServer
from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind, Quality, Sample, TimeSource
from twin.timebase import TimeBase

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(importlib.util.find_spec("c104") is None, reason="c104 is not installed"),
]

PEERS = Path(__file__).parent / "peers"
BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
START_S = BASE.start.timestamp()
HOST = "127.104.0.1"
CA = 47
COMMAND_TYPES = range(45, 65)
DOUBLE_COMMAND = 46
ACTIVATION_CON = 7
NEGATIVE = 0x40
LIMIT_S = 20.0


def point(name: str, kind: PointKind, ioa: int, type_id: int, **more: Any) -> PointDefinition:
    return PointDefinition("RTU_1", name, kind, "CB_1", name, PointAddress(CA, ioa, type_id), **more)


POINTS = [
    point("position", PointKind.DOUBLE, 1, 3),
    point("trip", PointKind.SINGLE, 2, 1),
    *(point(f"i_{n}", PointKind.MEASURAND, 10 + n, 13) for n in range(60)),
    point("tap", PointKind.STEP_POSITION, 80, 5),
    point("share", PointKind.MEASURAND, 81, 9),
    point("scaled", PointKind.MEASURAND, 82, 11),
    point("bits", PointKind.BITSTRING, 83, 7),
    point("energy", PointKind.COUNTER, 90, 15),
    point("operate", PointKind.DOUBLE_COMMAND, 100, 46),
    point("target", PointKind.SETPOINT, 101, 50, control_model=ControlModel.DIRECT),
]
TYPES = [
    (1, "M_DP_NA_1", "M_DP_TB_1"),
    (2, "M_SP_NA_1", "M_SP_TB_1"),
    *((10 + n, "M_ME_NC_1", "M_ME_TF_1") for n in range(60)),
    (80, "M_ST_NA_1", "M_ST_TB_1"),
    (81, "M_ME_NA_1", "M_ME_TD_1"),
    (82, "M_ME_NB_1", "M_ME_TE_1"),
    (83, "M_BO_NA_1", "M_BO_TB_1"),
    (90, "M_IT_NA_1", "M_IT_TB_1"),
]
PLAIN = [[ioa, plain] for ioa, plain, _ in TYPES]
TAGGED = [[ioa, tagged] for ioa, _, tagged in TYPES]
COMMANDS = [[100, "C_DC_NA_1", "select"], [101, "C_SE_NC_1", "direct"]]


def now_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1000)


async def until(holds: Callable[[], bool], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + LIMIT_S
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not happen within {LIMIT_S:g} s"
        await asyncio.sleep(0.005)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 3 * LIMIT_S))


class Peer:
    """A c104 process: orders in, what it saw out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.rows: list[dict[str, Any]] = []

    async def listen(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            if line.startswith(b"{"):
                self.rows.append(json.loads(line))

    def order(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")

    async def obeys(self, **order: Any) -> bool:
        """Give an order and wait until the library says how it went."""
        before = len(self.of("done"))
        self.order(**order)
        await until(lambda: len(self.of("done")) > before, f"order {order}")
        if order.get("do") == "command":
            return await self._executed(order)
        return bool(self.of("done")[-1]["success"])

    async def _executed(self, order: dict[str, Any], tries: int = 3) -> bool:
        """Whether our station confirmed the execution of the last command, off the wire.

        The library itself now and then reports a command as failed that succeeded, and under load it may lose the
        confirmation of a select and never send the execute: then the order is given again.
        """
        for _ in range(tries):
            answers = self._answers(order["ioa"])
            if answers and (answers[-1][8] & NEGATIVE or not _is_select(answers[-1])):
                return not answers[-1][8] & NEGATIVE
            before = len(self.of("done"))
            self.order(**order)
            await until(lambda before=before: len(self.of("done")) > before, f"order {order}")  # type: ignore[misc]
        return False

    def _answers(self, ioa: int) -> list[bytes]:
        """Confirmations of activation for an output, as they came."""
        frames = [bytes.fromhex(row["octets"]) for row in self.of("raw")]
        confirmations = [f for f in frames if len(f) > 15 and f[6] in COMMAND_TYPES and f[8] & 0x3F == ACTIVATION_CON]
        return [f for f in confirmations if int.from_bytes(f[12:15], "little") == ioa]

    def of(self, event: str) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["event"] == event]

    def points(self) -> dict[int, dict[str, Any]]:
        """The last row seen of each information object address."""
        return {row["ioa"]: row for row in self.of("point")}


def _is_select(frame: bytes) -> bool:
    """The S/E bit of a double command; set points of these tests are direct."""
    return frame[6] == DOUBLE_COMMAND and bool(frame[15] & 0x80)


@asynccontextmanager
async def peer(script: str, ip: str, port: int, points: list[Any], commands: list[Any]) -> AsyncIterator[Peer]:
    setup = {"ip": ip, "port": port, "ca": CA, "points": points, "commands": commands}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PEERS / script),
        json.dumps(setup),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    running = Peer(process)
    listening = asyncio.create_task(running.listen())
    try:
        yield running
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), LIMIT_S)
        except TimeoutError:
            process.kill()
            await process.wait()
        await listening


class Breaker:
    """The device behind our station: done with a command in the loop's next turn."""

    def __init__(self) -> None:
        self.rule = ""
        self.heard: list[tuple[str, str, float]] = []
        self.server: OutstationServer | None = None

    def select(self, command: StationCommand, now: int) -> str:
        self.heard.append(("select", command.point, command.value))
        return self.rule

    def operate(self, command: StationCommand, now: int) -> str:
        self.heard.append(("operate", command.point, command.value))
        if not self.rule:
            asyncio.get_running_loop().call_soon(self._finish, command)
        return self.rule

    def cancel(self, command: StationCommand, now: int) -> None:
        self.heard.append(("cancel", command.point, command.value))

    def _finish(self, command: StationCommand) -> None:
        assert self.server is not None
        if command.point == "operate":
            self.server.update("RTU_1", [Sample("RTU_1", "position", command.value, Quality.GOOD, now_ms())])
        self.server.finished("RTU_1", command.ticket, True)


@asynccontextmanager
async def our_station(device: Breaker) -> AsyncIterator[tuple[OutstationServer, str, int]]:
    server = OutstationServer(now_ms)
    device.server = server
    station = Iec104Outstation("RTU_1", POINTS, device, BASE)
    ip, port = await server.host(station, HOST)
    try:
        yield server, ip, port
    finally:
        await server.close()


VALUES = {
    "position": (2.0, Quality.GOOD),
    "trip": (1.0, Quality.SUBSTITUTED),
    **{
        f"i_{n}": (1.5 * n - 7.25, Quality.OVERFLOW | Quality.NOT_TOPICAL if n % 7 == 0 else Quality.GOOD)
        for n in range(60)
    },
    "tap": (-13.0, Quality.BLOCKED),
    "share": (-0.5, Quality.INVALID),
    "scaled": (-1234.0, Quality.SUBSTITUTED | Quality.OVERFLOW),
    "bits": (float(0xF000000F), Quality.NOT_TOPICAL),
}
COUNTER = {"energy": (123_456.0, Quality.GOOD)}
IOA = {definition.name: definition.address.ioa for definition in POINTS}


def samples(values: dict[str, tuple[float, Quality]], at: int, *, spontaneous: bool) -> list[Sample]:
    """Each value a millisecond after the one before."""
    return [
        Sample("RTU_1", name, value, quality, at + n, spontaneous)
        for n, (name, (value, quality)) in enumerate(values.items())
    ]


def foreign_view(rows: dict[int, dict[str, Any]]) -> dict[int, tuple[float, int]]:
    return {ioa: (row["value"], row["quality"]) for ioa, row in rows.items()}


def expected_view(values: dict[str, tuple[float, Quality]]) -> dict[int, tuple[float, int]]:
    return {IOA[name]: (value, int(quality)) for name, (value, quality) in values.items()}


async def data_transfer(*masters: Peer) -> None:
    for master in masters:
        await until(lambda m=master: any(row["state"] == "OPEN" for row in m.of("state")), "data transfer")  # type: ignore[misc]


def test_foreign_master__interrogates_our_station_value_by_value() -> None:
    async def scenario() -> None:
        async with (
            our_station(Breaker()) as (server, ip, port),
            peer("c104_client.py", ip, port, PLAIN, COMMANDS) as master,
        ):
            server.update("RTU_1", samples(VALUES | COUNTER, 0, spontaneous=False))
            await data_transfer(master)
            assert await master.obeys(do="interrogate")
            assert foreign_view(master.points()) == expected_view(VALUES)
            assert {row["cause"] for row in master.of("point")} == {"INTERROGATED_BY_STATION"}
            assert await master.obeys(do="counters")
            await until(lambda: 90 in master.points(), "the counter")
            assert foreign_view(master.points()) == expected_view(VALUES | COUNTER)
            assert await master.obeys(do="clock")
            assert await master.obeys(do="test")
            server.update("RTU_1", samples({"tap": (5.0, Quality.GOOD)}, 0, spontaneous=False))
            assert await master.obeys(do="read", ioa=80)
            await until(lambda: master.points()[80]["value"] == 5.0, "the value read")

    run(scenario())


def test_foreign_masters__both_get_our_events_with_time_and_quality() -> None:
    async def scenario() -> None:
        async with (
            our_station(Breaker()) as (server, ip, port),
            peer("c104_client.py", ip, port, TAGGED, COMMANDS) as first,
            peer("c104_client.py", ip, port, TAGGED, COMMANDS) as second,
        ):
            await data_transfer(first, second)
            sent = samples(VALUES | COUNTER, 35_250, spontaneous=True)
            server.update("RTU_1", sent)
            for master in (first, second):
                await until(lambda m=master: len(m.points()) == len(sent), "the events")  # type: ignore[misc]
                assert foreign_view(master.points()) == expected_view(VALUES | COUNTER)
                times = {ioa: round((row["recorded_at"] - START_S) * 1000) for ioa, row in master.points().items()}
                assert times == {IOA[sample.point]: sample.source_t_ms for sample in sent}
                assert {row["cause"] for row in master.of("point")} == {"SPONTANEOUS"}

    run(scenario())


def test_foreign_master__operates_our_breaker_by_select_and_execute() -> None:
    async def scenario() -> None:
        device = Breaker()
        async with our_station(device) as (_, ip, port), peer("c104_client.py", ip, port, TAGGED, COMMANDS) as master:
            await data_transfer(master)
            assert await master.obeys(do="command", ioa=100, double="OFF")
            await until(lambda: master.points().get(1, {}).get("value") == 1.0, "the position")
            assert device.heard[-2:] == [("select", "operate", 1.0), ("operate", "operate", 1.0)]
            assert await master.obeys(do="command", ioa=101, value=12.5)
            assert device.heard[-1] == ("operate", "target", 12.5)
            device.rule = "local"
            assert not await master.obeys(do="command", ioa=100, double="ON")
            assert device.heard[-1] == ("select", "operate", 2.0)

    run(scenario())


# our link against a foreign station

FOREIGN = {
    "position": {"ioa": 1, "double": "ON", "quality": 0},
    "trip": {"ioa": 2, "single": True, "quality": 0x20},
    **{f"i_{n}": {"ioa": 10 + n, "short": 2.25 * n - 3.5, "quality": 0x41 if n % 5 == 0 else 0} for n in range(60)},
    "tap": {"ioa": 80, "step": -13, "quality": 0x10},
    "share": {"ioa": 81, "normalized": -0.5, "quality": 0x80},
    "scaled": {"ioa": 82, "scaled": -1234, "quality": 0x21},
    "bits": {"ioa": 83, "bits": 0xF000000F, "quality": 0},  # c104 2.2.1 sends bit strings without their quality
}
FOREIGN_POINTS = [row for row in TAGGED if row[0] < 90]
VALUE_KEYS = ("short", "single", "step", "normalized", "scaled", "bits")


def told(order: dict[str, Any]) -> float:
    return 2.0 if "double" in order else float(next(order[key] for key in VALUE_KEYS if key in order))


class Control:
    """Our link, and all it said."""

    def __init__(self, ip: str, port: int) -> None:
        self.session = Iec104MasterSession("RTU_1", POINTS, BASE)
        self.events: list[LinkEvent] = []
        reconnect = ReconnectSettings(first_s=0.05, factor=1.5, most_s=0.5)
        self.client = LinkClient(self.session, ip, port, now_ms, self.take, reconnect=reconnect)

    def take(self, events: Sequence[LinkEvent]) -> None:
        self.events += events

    def samples(self, *, spontaneous: bool) -> dict[str, Sample]:
        arrived = [event.sample for event in self.events if isinstance(event, ArrivedSample)]
        return {sample.point: sample for sample in arrived if sample.spontaneous is spontaneous}

    def states(self) -> list[SessionState]:
        return [event.state for event in self.events if isinstance(event, SessionEvent)]

    def replies(self) -> list[tuple[int, ReplyKind, str]]:
        return [(event.command_id, event.kind, event.cause) for event in self.events if isinstance(event, CommandReply)]

    async def replied(self, count: int) -> None:
        await until(lambda: len(self.replies()) >= count, f"reply {count}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def foreign_station(port: int) -> AsyncIterator[Peer]:
    async with peer("c104_server.py", HOST, port, FOREIGN_POINTS, COMMANDS) as station:
        await until(lambda: bool(station.of("listening")), "the foreign station")
        for n, order in enumerate(FOREIGN.values()):
            assert await station.obeys(**order, at=START_S + 30 + n / 1000, send=False)
        yield station


@asynccontextmanager
async def our_link(port: int) -> AsyncIterator[Control]:
    control = Control(HOST, port)
    control.client.start()
    try:
        yield control
    finally:
        await control.client.stop()


def test_our_link__interrogates_a_foreign_station_value_by_value() -> None:
    async def scenario() -> None:
        port = free_port()
        async with foreign_station(port) as station, our_link(port) as control:
            await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
            image = control.samples(spontaneous=False)
            assert {name: (s.value, int(s.quality)) for name, s in image.items()} == {
                name: (told(order), order["quality"]) for name, order in FOREIGN.items()
            }
            assert {s.source_t_ms for s in image.values()} == set(range(30_000, 30_000 + len(FOREIGN)))
            assert control.session.unknown_objects == control.session.unsuitable_objects == 0
            await until(lambda: bool(station.of("clock")), "the clock synchronisation")
            assert abs(station.of("clock")[0]["at"] - (START_S + now_ms() / 1000)) < LIMIT_S

    run(scenario())


def test_our_link__gets_a_foreign_stations_events_with_time_and_quality() -> None:
    async def scenario() -> None:
        port = free_port()
        async with foreign_station(port) as station, our_link(port) as control:
            await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
            for n, order in enumerate(FOREIGN.values()):
                assert await station.obeys(**order, at=START_S + 40 + n / 1000, send=True)
            await until(lambda: len(control.samples(spontaneous=True)) == len(FOREIGN), "the events")
            events = control.samples(spontaneous=True)
            for n, (name, order) in enumerate(FOREIGN.items()):
                expected = Sample(
                    "RTU_1", name, told(order), Quality(order["quality"]), 40_000 + n, True, TimeSource.DEVICE
                )
                assert events[name] == expected

    run(scenario())


def test_our_link__operates_a_foreign_station() -> None:
    async def scenario() -> None:
        port = free_port()
        async with foreign_station(port) as station, our_link(port) as control:
            await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
            opening = LinkCommand(1, "RTU_1", "operate", 1.0)
            control.client.act(lambda session, now: session.operate(opening, now))
            await control.replied(1)
            assert control.replies() == [(1, ReplyKind.REFUSED, "negative confirmation")]  # it was not selected
            control.client.act(lambda session, now: session.select(opening, now))
            await control.replied(2)
            control.client.act(lambda session, now: session.operate(opening, now))
            await control.replied(4)
            assert [kind for _, kind, _ in control.replies()[1:]] == [
                ReplyKind.SELECTED, ReplyKind.ACTIVATED, ReplyKind.TERMINATED,
            ]  # fmt: skip
            assert [(row["ioa"], row["value"]) for row in station.of("command")] == [(100, 1.0)]
            refused = LinkCommand(2, "RTU_1", "target", 66.0)
            control.client.act(lambda session, now: session.operate(refused, now))
            await control.replied(5)
            assert control.replies()[4] == (2, ReplyKind.REFUSED, "negative confirmation")

    run(scenario())


def test_our_link__comes_back_when_a_foreign_station_restarts() -> None:
    async def scenario() -> None:
        port = free_port()
        async with our_link(port) as control:
            async with foreign_station(port):
                await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
            await until(lambda: SessionState.LOST in control.states(), "the loss")
            control.events.clear()
            async with foreign_station(port):
                await until(lambda: SessionState.INTERROGATED in control.states(), "the second interrogation")
                assert control.states()[:3] == [SessionState.CONNECTED, SessionState.STARTED, SessionState.INTERROGATED]

    run(scenario())
