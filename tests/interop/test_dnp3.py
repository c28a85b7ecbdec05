"""Our DNP3 outstation against the masters of opendnp3 and dnp3py, our master against the outstation of opendnp3.

The C++ stack runs in processes of its own; every point kind and control model is compared value by value.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from twin.links.client import LinkClient, ReconnectSettings
from twin.links.dnp3 import Dnp3LinkSettings, Dnp3MasterSession
from twin.links.model import ArrivedSample, CommandReply, LinkCommand, LinkEvent, ReplyKind, SessionEvent, SessionState
from twin.links.opendnp3 import Opendnp3Client, dnp3_client
from twin.outstations.dnp3 import Dnp3Outstation, Dnp3OutstationSettings
from twin.outstations.model import StationCommand
from twin.outstations.server import OutstationServer
from twin.points.dnp3 import Dnp3Address
from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind, Quality, Sample, TimeSource
from twin.timebase import TimeBase

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(importlib.util.find_spec("opendnp3") is None, reason="yadnp3 is not installed"),
]

PEERS = Path(__file__).parent / "peers"
BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
EPOCH_MS = int(BASE.start.timestamp() * 1000)
HOST = "127.20.0.1"
ADDRESS = 1024
LIMIT_S = 60.0
QUALITIES = {
    "good": Quality.GOOD,
    "invalid": Quality.INVALID,
    "not_topical": Quality.NOT_TOPICAL,
    "substituted": Quality.SUBSTITUTED,
}


def point(name: str, kind: PointKind, ioa: int, **more: Any) -> PointDefinition:
    return PointDefinition("RTU_1", name, kind, "CB_1", name, PointAddress(ADDRESS, ioa, 1), **more)


def analog(name: str, index: int, variation: int, event_variation: int) -> PointDefinition:
    return point(
        name, PointKind.MEASURAND, 100 + index, dnp3=Dnp3Address(30, index, variation, event_variation, 1 + index % 3)
    )


POINTS = [
    *(point(f"single_{q}", PointKind.SINGLE, 1 + n) for n, q in enumerate(QUALITIES)),
    *(point(f"double_{n}", PointKind.DOUBLE, 10 + n) for n in range(4)),
    point("relative", PointKind.SINGLE, 20, dnp3=Dnp3Address(1, 400, 2, 3, 2)),
    *(analog(f"analog_{v}", v, min(v, 6), v) for v in range(1, 9)),
    point("over", PointKind.MEASURAND, 120),
    point("tap", PointKind.STEP_POSITION, 130),
    point("energy", PointKind.COUNTER, 140),
    point("bits", PointKind.BITSTRING, 141),
    point("operate", PointKind.DOUBLE_COMMAND, 150),
    point("lamp", PointKind.SINGLE_COMMAND, 151, control_model=ControlModel.DIRECT),
    point("step", PointKind.STEP_COMMAND, 152),
    *(
        point(
            f"target_{v}",
            PointKind.SETPOINT,
            160 + v,
            dnp3=Dnp3Address(41, v, v, 7, 0),
            control_model=(ControlModel.DIRECT, ControlModel.SELECT_BEFORE_OPERATE)[v % 2],
        )
        for v in range(1, 5)
    ),
]
ANALOG_VALUES = {1: -70_000, 2: -12, 3: 70_000, 4: 12, 5: 1.5, 6: 1e30, 7: -2.25, 8: 1 / 3}


def samples(t_ms: int) -> list[Sample]:
    """One sample for each input, at successive milliseconds."""
    told: list[tuple[str, float, Quality]] = [(f"single_{name}", 1.0, q) for name, q in QUALITIES.items()]
    told += [(f"double_{n}", float(n), Quality.GOOD) for n in range(4)]
    told += [("relative", 1.0, Quality.GOOD)]
    told += [(f"analog_{v}", value, Quality.GOOD) for v, value in ANALOG_VALUES.items()]
    told += [("over", 9.5, Quality.OVERFLOW), ("tap", -7.0, Quality.GOOD), ("energy", 70_000.0, Quality.GOOD)]
    told += [("bits", float(0xF000000F), Quality.GOOD)]
    return [Sample("RTU_1", name, value, quality, t_ms + n) for n, (name, value, quality) in enumerate(told)]


def untimed(name: str) -> bool:
    return name in ("bits", "analog_1", "analog_2", "analog_5", "analog_6")


@dataclass
class Device:
    """Takes commands, or refuses them by a rule."""

    refusal: str = ""
    seen: list[tuple[str, str, float]] = field(default_factory=list)

    def select(self, command: StationCommand, now: int) -> str:
        self.seen.append(("select", command.point, command.value))
        return self.refusal

    def operate(self, command: StationCommand, now: int) -> str:
        self.seen.append(("operate", command.point, command.value))
        return self.refusal

    def cancel(self, command: StationCommand, now: int) -> None:
        self.seen.append(("cancel", command.point, command.value))


@dataclass
class Log:
    """The link events of one client."""

    events: list[LinkEvent] = field(default_factory=list)

    def take(self, events: Sequence[LinkEvent]) -> None:
        self.events += events

    def states(self) -> list[SessionState]:
        return [e.state for e in self.events if isinstance(e, SessionEvent)]

    def replies(self, number: int) -> list[tuple[ReplyKind, str]]:
        return [(e.kind, e.cause) for e in self.events if isinstance(e, CommandReply) and e.command_id == number]

    def arrived(self, *, spontaneous: bool) -> dict[str, Sample]:
        """The latest sample of each point."""
        found = (e.sample for e in self.events if isinstance(e, ArrivedSample))
        return {s.point: s for s in found if s.spontaneous is spontaneous}


def now_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1000)


async def until(holds: Callable[[], Any], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + LIMIT_S
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not happen within {LIMIT_S:g} s"
        await asyncio.sleep(0.005)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 4 * LIMIT_S))


def free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


@dataclass
class Bench:
    """Our station, served, and the log of a client in front of it."""

    station: Dnp3Outstation
    device: Device
    server: OutstationServer
    host: str
    port: int


@asynccontextmanager
async def bench(**settings: Any) -> AsyncIterator[Bench]:
    device = Device()
    station = Dnp3Outstation("RTU_1", POINTS, device, BASE, Dnp3OutstationSettings(**settings))
    server = OutstationServer(now_ms)
    host, port = await server.host(station, HOST, 0)
    try:
        yield Bench(station, device, server, host, port)
    finally:
        await server.close()


@asynccontextmanager
async def linked(stack: str, host: str, port: int, **settings: Any) -> AsyncIterator[tuple[Any, Log]]:
    """A client of this stack, connected and interrogated."""
    log = Log()
    link = Dnp3LinkSettings(**settings)
    reconnect = ReconnectSettings(first_s=0.1)
    client = dnp3_client(stack, "RTU_1", POINTS, BASE, host, port, now_ms, log.take, settings=link, reconnect=reconnect)
    client.start()
    try:
        await until(lambda: SessionState.INTERROGATED in log.states(), "interrogation")
        yield client, log
    finally:
        await client.stop()


def expect_same(told: list[Sample], got: dict[str, Sample], *, timed: bool) -> None:
    assert set(got) >= {s.point for s in told}
    for sent in told:
        came = got[sent.point]
        assert came.value == pytest.approx(sent.value, rel=1e-7), sent.point
        assert came.quality == sent.quality, sent.point
        if timed and not untimed(sent.point):
            assert (came.source_t_ms, came.stamped_by) == (sent.source_t_ms, TimeSource.DEVICE), sent.point


STACKS = ("own", "opendnp3")


@pytest.mark.parametrize("stack", STACKS)
def test_station__every_kind_as_event_and_as_static_value(stack: str) -> None:
    async def scenario() -> None:
        async with bench() as b, linked(stack, b.host, b.port) as (client, log):
            told = samples(5_000)
            await until(lambda: b.station.associations[1].enabled == {1, 2, 3}, "unsolicited")
            b.server.update("RTU_1", told)
            await until(lambda: len(log.arrived(spontaneous=True)) == len(told), "every event")
            expect_same(told, log.arrived(spontaneous=True), timed=True)
            await until(lambda: not b.station.associations[1].buffer, "confirmation")
            log.events.clear()
            client.act(lambda session, now: session.interrogate(now))
            await until(lambda: len(log.arrived(spontaneous=False)) >= len(told), "every static value")
            expect_same(told, log.arrived(spontaneous=False), timed=False)

    run(scenario())


@pytest.mark.parametrize("stack", STACKS)
def test_station__polled_events_and_overflow(stack: str) -> None:
    """Unsolicited responses are off in the station: class polls bring the newest events and the overflow indication."""

    async def scenario() -> None:
        more: dict[str, Any] = {"unsolicited": (), "class_1_period_ms": 200, "class_2_period_ms": 200}
        async with bench(unsolicited=False, event_limit=3) as b, linked(stack, b.host, b.port, **more) as (_, log):
            log.events.clear()
            b.server.update("RTU_1", [Sample("RTU_1", "over", float(n), Quality.GOOD, n) for n in range(8)])
            await until(lambda: log.arrived(spontaneous=True), "an event")
            values = [e.sample.value for e in log.events if isinstance(e, ArrivedSample) and e.sample.spontaneous]
            assert values[:3] == [5.0, 6.0, 7.0]
            assert b.station.events_dropped == 5

    run(scenario())


@pytest.mark.parametrize("stack", STACKS)
def test_station__controls_by_every_model_taken_and_refused(stack: str) -> None:
    async def scenario() -> None:
        async with bench() as b, linked(stack, b.host, b.port) as (client, log):
            number = 0

            async def give(name: str, value: float) -> list[tuple[ReplyKind, str]]:
                nonlocal number
                number += 1
                order = LinkCommand(number, "RTU_1", name, value)
                definition = next(p for p in POINTS if p.name == name)
                if definition.control_model is ControlModel.SELECT_BEFORE_OPERATE:
                    client.act(lambda session, now: session.select(order, now))
                    await until(lambda: log.replies(order.command_id), "a select's reply")
                    if log.replies(order.command_id)[-1][0] is ReplyKind.REFUSED:
                        return log.replies(order.command_id)
                before = len(log.replies(order.command_id))
                client.act(lambda session, now: session.operate(order, now))
                await until(lambda: len(log.replies(order.command_id)) > before, "an operate's reply")
                b.station.desk.restore({**b.station.desk.snapshot(), "executions": []})
                return log.replies(order.command_id)

            chosen = [("operate", 2.0), ("operate", 1.0), ("lamp", 1.0), ("lamp", 0.0), ("step", 1.0), ("step", -1.0)]
            chosen += [("target_1", -70_000.0), ("target_2", 12.0), ("target_3", 1.5), ("target_4", 1e30)]
            for name, value in chosen:
                b.device.seen.clear()
                assert (await give(name, value))[-1] == (ReplyKind.ACTIVATED, "")
                assert b.device.seen[-1] == ("operate", name, value)
            for rule, cause in (("local_control", "local"), ("switch_moving", "already active"), ("x", "undefined")):
                b.device.refusal = rule
                assert (await give("operate", 2.0))[-1] == (ReplyKind.REFUSED, f"negative confirmation: {cause}")
                assert (await give("lamp", 1.0))[-1] == (ReplyKind.REFUSED, f"negative confirmation: {cause}")

    run(scenario())


@pytest.mark.parametrize("procedure", ["lan", "non_lan"])
@pytest.mark.parametrize("stack", STACKS)
def test_station__gets_the_time_it_needs(stack: str, procedure: str) -> None:
    async def scenario() -> None:
        async with bench(need_time=True) as b, linked(stack, b.host, b.port, time_sync=procedure):
            await until(lambda: b.station.clock_offset_ms is not None, "time")
            assert b.station.clock_offset_ms == pytest.approx(0, abs=500)
            assert not b.station.need_time

    run(scenario())


def test_opendnp3__killed_process_costs_the_connection_alone() -> None:
    async def scenario() -> None:
        async with bench() as b, linked("opendnp3", b.host, b.port) as (client, log):
            assert isinstance(client, Opendnp3Client)
            assert client.process_id is not None
            await until(lambda: b.station.associations[1].enabled, "unsolicited")
            os.kill(client.process_id, signal.SIGKILL)
            await until(lambda: SessionState.LOST in log.states(), "loss")
            b.server.update("RTU_1", [Sample("RTU_1", "single_good", 1.0, Quality.GOOD, 4_321)])
            await until(lambda: log.states().count(SessionState.INTERROGATED) == 2, "a second start")
            await until(lambda: "single_good" in log.arrived(spontaneous=True), "the event of meanwhile")
            assert log.arrived(spontaneous=True)["single_good"].source_t_ms == 4_321
            assert client.restarts == 1

    run(scenario())


def test_opendnp3__commands_before_the_start_are_refused() -> None:
    async def scenario() -> None:
        log = Log()
        client = dnp3_client("opendnp3", "RTU_1", POINTS, BASE, HOST, free_port(), now_ms, log.take)
        client.act(lambda session, now: session.select(LinkCommand(1, "RTU_1", "operate", 2.0), now))
        client.act(lambda session, now: session.select(LinkCommand(2, "RTU_1", "double_0", 2.0), now))
        assert log.replies(1) == [(ReplyKind.REFUSED, "no data transfer")]
        assert log.replies(2) == [(ReplyKind.REFUSED, "unknown point")]

    run(scenario())


# -- dnp3py -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(importlib.util.find_spec("dnp3") is None, reason="dnp3py is not installed")
def test_dnp3py__integrity_unsolicited_and_controls() -> None:
    from dnp3.master import DefaultSOEHandler, Master, MasterConfig, MasterTcpRunner

    async def scenario() -> None:
        async with bench() as b:
            told = samples(1)
            b.server.update("RTU_1", [Sample(s.station, s.point, s.value, s.quality, 1, False) for s in told])
            handler = DefaultSOEHandler()
            master = Master(handler=handler, config=MasterConfig(address=1, outstation_address=ADDRESS))
            async with MasterTcpRunner(master=master, host=b.host, port=b.port) as runner:
                await runner.integrity_poll()
                analogs = {v.index: v.value for v in handler.analog_inputs.values()}
                assert {n: analogs[n] for n in ANALOG_VALUES} == pytest.approx({**ANALOG_VALUES}, rel=1e-6)
                assert {i: v.value for i, v in handler.binary_inputs.items()}[400] is True
                assert [v.value for v in handler.counters.values()] == [70_000]
                assert len(handler.double_bit_inputs) == 4
                await runner.enable_unsolicited()
                b.server.update("RTU_1", [Sample("RTU_1", "over", 42.5, Quality.GOOD, 2_000)])
                over = b.station.database.inputs["over"][1].index
                for _ in range(int(LIMIT_S)):
                    await runner.listen_unsolicited(timeout=1)
                    if over in handler.analog_inputs and handler.analog_inputs[over].value == 42.5:
                        break
                assert handler.analog_inputs[over].value == 42.5
            await until(lambda: not b.station.associations[1].buffer, "the confirmation")

    run(scenario())


# -- our master and the outstation of opendnp3 --------------------------------------------------------------------

THEIRS = [
    *(point(f"binary_{n}", PointKind.SINGLE, 1 + n) for n in range(4)),
    *(point(f"double_{n}", PointKind.DOUBLE, 10 + n) for n in range(4)),
    *(point(f"analog_{n}", PointKind.MEASURAND, 20 + n) for n in range(4)),
    *(point(f"counter_{n}", PointKind.COUNTER, 30 + n) for n in range(4)),
    *(point(f"crob_{n}", PointKind.DOUBLE_COMMAND, 40 + n) for n in range(4)),
    *(point(f"set_{n}", PointKind.SETPOINT, 50 + n, control_model=ControlModel.DIRECT) for n in range(4)),
]
FLAGS = {
    0: (0x01, Quality.GOOD),
    1: (0x00, Quality.INVALID),
    2: (0x05, Quality.NOT_TOPICAL),
    3: (0x11, Quality.SUBSTITUTED),
}


@dataclass
class Theirs:
    """The foreign outstation's process."""

    process: asyncio.subprocess.Process
    port: int
    rows: list[dict[str, Any]] = field(default_factory=list)

    async def listen(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.rows.append(json.loads(line))

    def update(self, rows: list[list[Any]]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(rows).encode() + b"\n")


@asynccontextmanager
async def theirs() -> AsyncIterator[Theirs]:
    port = free_port()
    command = [sys.executable, str(PEERS / "yadnp3_outstation.py"), HOST, str(port), str(ADDRESS), "4"]
    pipe = asyncio.subprocess.PIPE
    peer = Theirs(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe), port)
    reader = asyncio.create_task(peer.listen())
    try:
        await until(lambda: peer.rows, "the foreign outstation")
        yield peer
    finally:
        assert peer.process.stdin is not None
        peer.process.stdin.close()
        await peer.process.wait()
        await reader


def test_our_master__with_the_outstation_of_opendnp3() -> None:
    async def scenario() -> None:
        log = Log()
        async with theirs() as peer:
            session = Dnp3MasterSession("RTU_1", THEIRS, BASE, Dnp3LinkSettings(outstation=ADDRESS))
            client = LinkClient(session, HOST, peer.port, now_ms, log.take, reconnect=ReconnectSettings(first_s=0.1))
            client.start()
            try:
                await until(lambda: SessionState.INTERROGATED in log.states(), "interrogation")
                inputs = [p.name for p in THEIRS if not p.kind.is_output]
                assert set(log.arrived(spontaneous=False)) == set(inputs)
                await until(lambda: any(row["verb"] == "time" for row in peer.rows), "time")
                await until(lambda: not session._current and not len(session._queue), "the start")
                await _values(peer, log, client)
                await _controls(peer, log, client)
                assert session.samples.unknown_objects == 0
                assert session.unexpected_answers == 0
            finally:
                await client.stop()

    run(scenario())


async def _values(peer: Theirs, log: Log, client: LinkClient) -> None:
    t_ms = EPOCH_MS + 7_000
    told: list[list[Any]] = []
    for n, (flags, _) in FLAGS.items():
        told += [["binary", n, 1, flags, t_ms + n], ["double", n, n, flags, t_ms + n]]
        told += [["analog", n, 100 + n, flags, t_ms + n], ["counter", n, 70_000 + n, flags, t_ms + n]]
    peer.update(told)
    changed = {f"{kind}_{n}": (float(value), FLAGS[n][1]) for kind, n, value, _, _ in told}
    await until(lambda: len(log.arrived(spontaneous=True)) >= len(changed) - 1, "every event")
    client.act(lambda session, now: session.interrogate(now))
    await until(lambda: log.states().count(SessionState.INTERROGATED) == 2, "a second interrogation")
    static, events = log.arrived(spontaneous=False), log.arrived(spontaneous=True)
    for name, (value, quality) in changed.items():
        assert (static[name].value, static[name].quality) == (value, quality), name
        if name in events:
            assert (events[name].value, events[name].quality) == (value, quality), name


async def _controls(peer: Theirs, log: Log, client: LinkClient) -> None:
    async def give(number: int, verb: str, name: str, value: float) -> tuple[ReplyKind, str]:
        order = LinkCommand(number, "RTU_1", name, value)
        before = len(log.replies(number))
        client.act(lambda session, now: getattr(session, verb)(order, now))
        await until(lambda: len(log.replies(number)) > before, f"the reply to {verb} {name}")
        return log.replies(number)[-1]

    refused = ReplyKind.REFUSED
    assert await give(1, "select", "crob_0", 2.0) == (ReplyKind.SELECTED, "")
    assert await give(1, "operate", "crob_0", 2.0) == (ReplyKind.ACTIVATED, "")
    assert await give(2, "select", "crob_2", 1.0) == (ReplyKind.SELECTED, "")
    assert await give(2, "operate", "crob_2", 1.0) == (ReplyKind.ACTIVATED, "")
    assert await give(3, "select", "crob_1", 2.0) == (refused, "negative confirmation: local")
    assert await give(4, "select", "crob_3", 2.0) == (refused, "negative confirmation: not supported")
    assert await give(5, "operate", "crob_0", 2.0) == (refused, "negative confirmation: no select")
    assert await give(6, "operate", "set_2", 1.5) == (ReplyKind.ACTIVATED, "")
    assert await give(7, "operate", "set_1", 1.5) == (refused, "negative confirmation: local")
    operated = [(row["kind"], row["index"], row["value"]) for row in peer.rows if row["verb"] == "operate"]
    assert operated[:3] == [
        ("ControlRelayOutputBlock", 0, [1, 1]),
        ("ControlRelayOutputBlock", 2, [1, 2]),
        ("AnalogOutputFloat32", 2, 1.5),
    ]
