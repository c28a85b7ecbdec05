"""Every object, variation, flag and control of our DNP3 outstation as the masters of opendnp3 and dnp3py see them."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from capture_bench import capturing, free_port

from twin.outstations.dnp3 import Dnp3Outstation, Dnp3OutstationSettings
from twin.outstations.model import StationCommand
from twin.outstations.server import OutstationServer
from twin.points.dnp3 import Dnp3Address
from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.protocols.dnp3 import CommandStatus
from twin.timebase import TimeBase

pytestmark = pytest.mark.interop
OPENDNP3 = pytest.mark.skipif(importlib.util.find_spec("opendnp3") is None, reason="yadnp3 is not installed")
DNP3PY = pytest.mark.skipif(importlib.util.find_spec("dnp3") is None, reason="dnp3py is not installed")
PEERS = Path(__file__).parent / "peers"
BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
EPOCH_MS = int(BASE.start.timestamp() * 1000)
HOST = "127.20.0.3"
ADDRESS = 1024
LIMIT_S = 60.0
ONLINE, COMM_LOST, FORCED, OVER_RANGE = 0x01, 0x04, 0x10, 0x20
DIRECT, SELECT = ControlModel.DIRECT, ControlModel.SELECT_BEFORE_OPERATE


def point(name: str, kind: PointKind, ioa: int, **more: Any) -> PointDefinition:
    return PointDefinition("RTU_1", name, kind, "CB_1", name, PointAddress(ADDRESS, ioa, 1), **more)


QUALITIES = {
    "good": (Quality.GOOD, ONLINE),
    "invalid": (Quality.INVALID, 0),
    "lost": (Quality.NOT_TOPICAL, ONLINE | COMM_LOST),
    "forced": (Quality.SUBSTITUTED, ONLINE | FORCED),
    "over": (Quality.OVERFLOW, ONLINE | OVER_RANGE),
}
KINDS = {
    1: (PointKind.SINGLE, 1.0),
    3: (PointKind.DOUBLE, 2.0),
    20: (PointKind.COUNTER, 500.0),
    30: (PointKind.MEASURAND, -12.0),
    110: (PointKind.BITSTRING, float(0xF000000F)),
}
"""Group: kind and a value that every variation can carry."""
POINTS = [
    *(
        point(f"g{group}_{name}", kind, 100 * place + n)
        for place, (group, (kind, _)) in enumerate(KINDS.items(), 1)
        for n, name in enumerate(QUALITIES)
    ),
    point("crob_direct", PointKind.SINGLE_COMMAND, 601, control_model=DIRECT),
    point("crob_select", PointKind.DOUBLE_COMMAND, 602, control_model=SELECT),
    *(
        point(f"ao_{n}", PointKind.SETPOINT, 610 + n, dnp3=Dnp3Address(41, n, 3, 7, 1), control_model=model)
        for n, model in enumerate((DIRECT, SELECT))
    ),
]
INDEX = {name: n for n, name in enumerate(QUALITIES)}


@dataclass
class Device:
    """Takes commands, or refuses them by a rule; done with each in the loop's next turn."""

    refusal: str = ""
    seen: list[tuple[str, str, float]] = field(default_factory=list)
    server: OutstationServer | None = None

    def select(self, command: StationCommand, now: int) -> str:
        self.seen.append(("select", command.point, command.value))
        return self.refusal

    def operate(self, command: StationCommand, now: int) -> str:
        self.seen.append(("operate", command.point, command.value))
        if not self.refusal and self.server is not None:
            asyncio.get_running_loop().call_soon(self.server.finished, "RTU_1", command.ticket, True)
        return self.refusal

    def cancel(self, command: StationCommand, now: int) -> None:
        self.seen.append(("cancel", command.point, command.value))


def now_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1000)


async def until(holds: Callable[[], Any], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + LIMIT_S
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not happen within {LIMIT_S:g} s"
        await asyncio.sleep(0.003)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 4 * LIMIT_S))


@dataclass
class Bench:
    """Our station, served."""

    station: Dnp3Outstation
    device: Device
    server: OutstationServer
    port: int

    def set(self, name: str, value: float, quality: Quality, t_ms: int, *, spontaneous: bool) -> None:
        self.server.update("RTU_1", [Sample("RTU_1", name, value, quality, t_ms, spontaneous)])

    def set_all(self, *, spontaneous: bool, only: int = 0) -> None:
        """Every input, or those of one group, at successive milliseconds."""
        for place, (group, (_, value)) in enumerate(KINDS.items()):
            if only not in (0, group):
                continue
            for n, (name, (quality, _)) in enumerate(QUALITIES.items()):
                self.set(f"g{group}_{name}", value, quality, 5_000 + 10 * place + n, spontaneous=spontaneous)


@asynccontextmanager
async def bench(port: int = 0, **settings: Any) -> AsyncIterator[Bench]:
    device = Device()
    chosen = Dnp3OutstationSettings(unsolicited=False, **settings)
    station = Dnp3Outstation("RTU_1", POINTS, device, BASE, chosen)
    server = device.server = OutstationServer(now_ms)
    _, port = await server.host(station, HOST, port)
    try:
        yield Bench(station, device, server, port)
    finally:
        await server.close()


# -- opendnp3 ---------------------------------------------------------------------------------------------------------


@dataclass
class Master:
    """The process of a foreign master."""

    process: asyncio.subprocess.Process
    rows: list[dict[str, Any]] = field(default_factory=list)

    async def listen(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.rows.append(json.loads(line))

    def of(self, event: str, since: int = 0) -> list[dict[str, Any]]:
        return [row for row in self.rows[since:] if row["event"] == event]

    async def order(self, **order: Any) -> int:
        """Give an order; the row from which on its outcome is told."""
        since = len(self.rows)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        return since

    async def does(self, **order: Any) -> list[dict[str, Any]]:
        """Give an order and wait until its task is over; what was read meanwhile."""
        since = await self.order(**order)
        await until(lambda: self._ended(since), f"the end of {order}")
        assert self._ended(since)[-1]["result"] == "SUCCESS", order
        return self.of("value", since)

    def _ended(self, since: int) -> list[dict[str, Any]]:
        """Tasks that were ordered; the library has others of its own."""
        return [row for row in self.of("task", since) if row["task"] == "USER_TASK"]

    async def read(self, group: int, variation: int) -> list[dict[str, Any]]:
        return await self.does(do="scan", headers=[[group, variation]])

    async def command(self, **order: Any) -> tuple[str, int]:
        """State and status of the only point of a command."""
        since = await self.order(**order)
        await until(lambda: self.of("command", since), f"the outcome of {order}")
        ((_, state, status),) = self.of("command", since)[0]["points"]
        return state, status


@asynccontextmanager
async def opendnp3_master(b: Bench) -> AsyncIterator[Master]:
    command = [sys.executable, str(PEERS / "yadnp3_master.py"), HOST, str(b.port), str(ADDRESS)]
    pipe = asyncio.subprocess.PIPE
    master = Master(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe))
    reader = asyncio.create_task(master.listen())
    try:
        done = {"task": "STARTUP_INTEGRITY_POLL", "result": "SUCCESS"}
        await until(lambda: reader.done() or any(done.items() <= r.items() for r in master.rows), "the integrity poll")
        assert not reader.done(), "the foreign master has ended"
        yield master
    finally:
        assert master.process.stdin is not None
        master.process.stdin.close()
        await master.process.wait()
        await reader


STATIC = {1: (1, 2), 3: (2,), 20: (1, 2, 5, 6), 30: (1, 2, 3, 4, 5, 6), 110: (0,)}
EVENTS = {2: (1, 2, 3), 4: (1, 2, 3), 22: (1, 2, 5, 6), 32: (1, 2, 3, 4, 5, 6, 7, 8), 111: (0,)}
STATIC_OF = {2: 1, 4: 3, 22: 20, 32: 30, 111: 110}
WITHOUT_FLAGS = {(1, 1), (20, 5), (20, 6), (30, 3), (30, 4), (110, 0), (111, 0)}
TIMED = {(2, 2), (2, 3), (4, 2), (4, 3), (22, 5), (22, 6), *((32, v) for v in (3, 4, 7, 8))}
STATE_BITS = {1: 0x7F, 3: 0x3F}
"""opendnp3 leaves the state in the flags of binary objects."""


def expected_flags(static: int, name: str, key: tuple[int, int]) -> int | None:
    """What the master should see; binary objects have no place for OVERFLOW, some variations for no flag at all."""
    if static == 110:
        return None
    if key in WITHOUT_FLAGS:
        return ONLINE
    flags = QUALITIES[name][1]
    return flags & ~OVER_RANGE if static in (1, 3) else flags


def check_values(rows: list[dict[str, Any]], static: int, key: tuple[int, int]) -> None:
    assert [row["index"] for row in rows] == list(range(len(QUALITIES))), key
    for row, name in zip(rows, QUALITIES, strict=True):
        assert row["value"] == KINDS[static][1], (key, name)
        flags = row["flags"] if row["flags"] is None else row["flags"] & STATE_BITS.get(static, 0xFF)
        assert flags == expected_flags(static, name, key), (key, name)


@OPENDNP3
def test_opendnp3__reads_every_static_variation_with_every_flag() -> None:
    async def scenario() -> None:
        async with bench() as b, opendnp3_master(b) as master:
            b.set_all(spontaneous=False)
            for group, variations in STATIC.items():
                for variation in variations:
                    rows = await master.read(group, variation)
                    check_values(rows, group, (group, variation))
                    assert not any(row["is_event"] for row in rows)

    run(scenario())


@OPENDNP3
def test_opendnp3__reads_every_event_variation_with_flags_and_time() -> None:
    async def scenario() -> None:
        async with bench() as b, opendnp3_master(b) as master:
            for group, variations in EVENTS.items():
                static = STATIC_OF[group]
                for variation in variations:
                    b.set_all(spontaneous=True, only=static)
                    rows = await master.read(group, variation)
                    check_values(rows, static, (group, variation))
                    for n, row in enumerate(rows):
                        place = list(KINDS).index(static)
                        at = EPOCH_MS + 5_000 + 10 * place + n if (group, variation) in TIMED else 0
                        assert row["at"] == at, (group, variation)
                        assert row["is_event"] or group == 111, "opendnp3 takes these for static"

    run(scenario())


@OPENDNP3
def test_opendnp3__freezes_counters_restarts_and_assigns_classes() -> None:
    async def scenario() -> None:
        async with bench() as b, opendnp3_master(b) as master:
            b.set_all(spontaneous=False)
            await master.does(do="freeze", type="ImmediateFreeze", headers=[[20, 0]])
            b.set("g20_good", 700.0, Quality.GOOD, 6_000, spontaneous=False)
            for variation in (1, 2, 5, 6, 9, 10):
                rows = await master.read(21, variation)
                assert [row["value"] for row in rows] == [500.0] * len(QUALITIES), variation
                assert all(row["at"] >= EPOCH_MS for row in rows if variation in (5, 6))
            events = await master.read(23, 5)
            assert [row["value"] for row in events] == [500.0] * len(QUALITIES)
            await master.does(do="freeze", type="FreezeAndClear", headers=[[20, 0, 0, 0]])
            assert [row["value"] for row in await master.read(20, 1)][:2] == [0.0, 500.0]
            assert [row["value"] for row in await master.read(21, 1)][:2] == [700.0, 500.0]
            await master.read(23, 0)
            await master.does(do="function", code="ASSIGN_CLASS", headers=[[60, 4], [1, 0]])
            b.set("g1_good", 0.0, Quality.GOOD, 7_000, spontaneous=True)
            assert await master.does(do="scan", headers=[[60, 2], [60, 3]]) == []
            assert [row["object"] for row in await master.does(do="scan", headers=[[60, 4]])] == ["2Var2"]
            since = await master.order(do="restart", type="COLD")
            await until(lambda: master.of("restarted", since), "the restart")
            await until(lambda: any(row["value"] & 0x80 for row in master.of("iin", since)), "IIN1.7")
            await until(lambda: not master.of("iin", since)[-1]["value"] & 0x80, "IIN1.7 cleared")

    run(scenario())


OK = ("SUCCESS", int(CommandStatus.SUCCESS))
NUL, PULSE_ON, PULSE_OFF, LATCH_ON, LATCH_OFF = range(5)
NO_CODE, CLOSE, TRIP = range(3)
CROBS = {
    (PULSE_ON, CLOSE): 1, (PULSE_ON, TRIP): 0, (PULSE_ON, NO_CODE): 1, (LATCH_ON, NO_CODE): 1,
    (LATCH_OFF, NO_CODE): 0, (LATCH_ON, CLOSE): 1, (LATCH_OFF, TRIP): 0, (NUL, CLOSE): 1, (NUL, TRIP): 0,
    (PULSE_OFF, NO_CODE): None, (NUL, NO_CODE): None, (LATCH_ON, TRIP): None,
}  # fmt: skip
"""Operation and trip/close code: on or off, None if it is refused as not supported."""


@OPENDNP3
def test_opendnp3__crobs_of_every_code_direct_and_selected() -> None:
    async def scenario() -> None:
        async with bench() as b, opendnp3_master(b) as master:
            values = {"direct": ("crob_direct", 0, (0.0, 1.0)), "select": ("crob_select", 1, (1.0, 2.0))}
            for verb, (name, index, off_on) in values.items():
                for (operation, code), meaning in CROBS.items():
                    before = len(b.device.seen)
                    order = {"do": verb, "operation": operation, "code": code, "index": index}
                    state, status = await master.command(**order)
                    heard = b.device.seen[before:]
                    if meaning is None:
                        assert (status, heard) == (int(CommandStatus.NOT_SUPPORTED), []), order
                        continue
                    assert (state, status) == OK, order
                    verbs = ["select", "operate"] if verb == "select" else ["operate"]
                    assert heard == [(v, name, off_on[meaning]) for v in verbs]
            status_rows = await master.read(10, 2)
            assert [row["value"] for row in status_rows] == [0.0, 0.0], "what was operated last"

    run(scenario())


@OPENDNP3
def test_opendnp3__analog_outputs_of_every_variation_direct_and_selected() -> None:
    async def scenario() -> None:
        async with bench() as b, opendnp3_master(b) as master:
            sent = {1: -70_000.0, 2: -12.0, 3: 1.5, 4: -(2.0**100)}
            for verb, name, index in (("direct", "ao_0", 0), ("select", "ao_1", 1)):
                for variation, value in sent.items():
                    order = {"do": verb, "variation": variation, "value": value, "index": index}
                    assert await master.command(**order) == OK, order
                    assert b.device.seen[-1] == ("operate", name, value)
            for variation in (3, 4):
                rows = await master.read(40, variation)
                assert [row["value"] for row in rows] == [-(2.0**100)] * 2
            for variation in (5, 6, 7, 8):
                order = {"do": "direct", "variation": 3, "value": float(variation), "index": 0}
                assert await master.command(**order) == OK
                (row,) = [r for r in await master.read(42, variation) if r["value"] == float(variation)]
                assert bool(row["at"]) == (variation > 6)

    run(scenario())


REFUSALS = {
    "local_control": CommandStatus.LOCAL,
    "switch_moving": CommandStatus.ALREADY_ACTIVE,
    "x": CommandStatus.UNDEFINED,
}


@OPENDNP3
def test_opendnp3__commands_refused_have_the_status_that_fits() -> None:
    async def scenario() -> None:
        async with bench() as b, opendnp3_master(b) as master:
            pulse = {"operation": PULSE_ON, "code": CLOSE}
            wrong: list[tuple[dict[str, Any], CommandStatus]] = [
                ({"do": "direct", **pulse, "index": 1}, CommandStatus.NO_SELECT),
                ({"do": "select", **pulse, "index": 0}, CommandStatus.NOT_SUPPORTED),
                ({"do": "direct", **pulse, "index": 99}, CommandStatus.NOT_SUPPORTED),
                ({"do": "direct", **pulse, "count": 2, "index": 0}, CommandStatus.NOT_SUPPORTED),
                ({"do": "direct", "variation": 3, "value": 1.0, "index": 1}, CommandStatus.NO_SELECT),
                ({"do": "direct", "variation": 3, "value": 1.0, "index": 9}, CommandStatus.NOT_SUPPORTED),
            ]
            for order, status in wrong:
                assert (await master.command(**order))[1] == int(status), order
            assert b.device.seen == []
            for rule, status in REFUSALS.items():
                b.device.refusal = rule
                for order in (
                    {"do": "direct", **pulse, "index": 0},
                    {"do": "select", **pulse, "index": 1},
                    {"do": "direct", "variation": 1, "value": 5.0, "index": 0},
                    {"do": "select", "variation": 4, "value": 5.0, "index": 1},
                ):
                    assert (await master.command(**order))[1] == int(status), (order, rule)

    run(scenario())


UNREAD = (4, 3)
"""tshark 4.0 has no g4v3 (double-bit event with relative time) and takes its octets for malformed."""


@OPENDNP3
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark__reads_the_dialogue_with_opendnp3_without_a_flaw(tmp_path: Path) -> None:
    """Every variation, and controls taken and refused, in one capture."""
    port, file = free_port([HOST]), tmp_path / "dnp3.pcapng"

    async def scenario() -> None:
        async with bench(port) as b, opendnp3_master(b) as master:
            for group, variations in EVENTS.items():
                for variation in variations:
                    if (group, variation) != UNREAD:
                        b.set_all(spontaneous=True, only=STATIC_OF[group])
                        await master.read(group, variation)
            for group, variations in STATIC.items():
                for variation in variations:
                    await master.read(group, variation)
            await master.does(do="freeze", type="ImmediateFreeze", headers=[[20, 0]])
            await master.read(21, 5)
            await master.read(23, 5)
            for rule in ("", *REFUSALS):
                b.device.refusal = rule
                await master.command(do="direct", operation=PULSE_ON, code=CLOSE, index=0)
                await master.command(do="select", operation=PULSE_ON, code=TRIP, index=1)
                await master.command(do="direct", variation=4, value=2.5, index=0)

    with capturing(port, file) as capture:
        run(scenario())
        assert capture.probe(LIMIT_S)

    def read(*arguments: str) -> list[str]:
        command = ["tshark", "-n", "-r", str(file), "-d", f"tcp.port=={port},dnp3", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT_S)
        return done.stdout.splitlines()

    assert read("-Y", "_ws.malformed || _ws.expert.severity >= 0x00800000") == []
    assert read("-Y", "dnp3.hdr.CRC.incorrect || dnp3.data_chunk.CRC.incorrect") == []
    shown = read("-Y", f"tcp.srcport == {port} && dnp3.al.func", "-T", "fields", "-e", "dnp3.al.obj")
    objects = {int(cell, 0) for line in shown for cell in line.split(",") if cell}
    read_ones = {group << 8 | v for table in (STATIC, EVENTS) for group, row in table.items() for v in row}
    assert objects >= read_ones - {UNREAD[0] << 8 | UNREAD[1]} | {21 << 8 | 5, 23 << 8 | 5, 12 << 8 | 1, 41 << 8 | 4}
    answered = f"tcp.srcport == {port} && dnp3.al.ctrlstatus"
    statuses = {int(line) for line in read("-Y", answered, "-T", "fields", "-e", "dnp3.al.ctrlstatus")}
    assert statuses == {0, *map(int, REFUSALS.values())}


# -- dnp3py -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def dnp3py_master(b: Bench) -> AsyncIterator[tuple[Any, Any, Any]]:
    from dnp3.master import DefaultSOEHandler, Master, MasterConfig, MasterTcpRunner

    handler = DefaultSOEHandler()
    config = MasterConfig(address=1, outstation_address=ADDRESS, response_timeout=LIMIT_S)
    master = Master(handler=handler, config=config)
    async with MasterTcpRunner(master=master, host=HOST, port=b.port) as runner:
        yield master, runner, handler


def inputs_of(handler: Any) -> dict[int, dict[int, Any]]:
    found = (handler.binary_inputs, handler.double_bit_inputs, handler.counters, handler.analog_inputs)
    return dict(zip((1, 3, 20, 30), found, strict=True))


def check_dnp3py(handler: Any, group: int, *, flags: bool = True) -> None:
    values = inputs_of(handler)[group]
    for n, name in enumerate(QUALITIES):
        shown = values[n].state if group == 3 else values[n].value
        assert float(getattr(shown, "value", shown)) == KINDS[group][1], (group, name)
        if flags:
            wanted = expected_flags(group, name, (group, 99))
            assert int(values[n].quality) & STATE_BITS.get(group, 0xFF) == wanted, (group, name)


@DNP3PY
def test_dnp3py__integrity_and_class_polls_with_flags_and_time() -> None:
    async def scenario() -> None:
        async with bench() as b, dnp3py_master(b) as (_, runner, handler):
            b.set_all(spontaneous=False)
            await runner.integrity_poll()
            for group in (1, 3, 20, 30):
                check_dnp3py(handler, group)
            handler.clear()
            b.set_all(spontaneous=True)
            await runner.class_poll()
            for place, group in enumerate((1, 3, 20, 30)):
                check_dnp3py(handler, group)
                for n in range(len(QUALITIES)):
                    assert _ms(inputs_of(handler)[group][n].timestamp) == EPOCH_MS + 5_000 + 10 * place + n
            assert not b.station.associations[1].buffer, "all confirmed"

    run(scenario())


def _ms(stamp: Any) -> int:
    if isinstance(stamp, datetime):
        return round(stamp.timestamp() * 1000)
    return int(getattr(stamp, "milliseconds", stamp))


@DNP3PY
def test_dnp3py__ranges_of_every_static_variation() -> None:
    async def scenario() -> None:
        async with bench() as b, dnp3py_master(b) as (master, runner, handler):
            b.set_all(spontaneous=False)
            for group, variations in STATIC.items():
                for variation in variations:
                    if group == 110:
                        continue  # it hands octet strings to nobody
                    handler.clear()
                    await runner.request(master.build_range_poll(group, variation, 0, len(QUALITIES) - 1))
                    check_dnp3py(handler, group, flags=(group, variation) not in WITHOUT_FLAGS)

    run(scenario())


@DNP3PY
def test_dnp3py__controls_direct_and_selected() -> None:
    from dnp3.core.enums import ControlCode
    from dnp3.master.commands import ControlOperation, DirectOperateTask, OperateTask, SelectTask

    async def scenario() -> None:
        async with bench() as b, dnp3py_master(b) as (master, runner, _):
            direct = DirectOperateTask(operations=[ControlOperation(0, ControlCode.LATCH_ON)])
            await runner.request(master.build_direct_operate(direct))
            assert b.device.seen == [("operate", "crob_direct", 1.0)]
            one = [ControlOperation(1, ControlCode.CLOSE_PULSE_ON, on_time=200)]
            await runner.request(master.build_select(SelectTask(operations=one)))
            await runner.request(master.build_operate(OperateTask(operations=one)))
            assert b.device.seen[1:] == [("select", "crob_select", 2.0), ("operate", "crob_select", 2.0)]
            analog = DirectOperateTask(operations=[ControlOperation(0, analog_value=-70_000, is_analog=True)])
            await runner.request(master.build_direct_operate(analog))
            assert b.device.seen[-1] == ("operate", "ao_0", -70_000.0)
            before = len(b.device.seen)
            await runner.request(master.build_operate(OperateTask(operations=one)))
            assert len(b.device.seen) == before, "without its select nothing is operated"

    run(scenario())
