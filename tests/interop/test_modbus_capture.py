"""Modbus on the loopback as tshark sees it: foreign masters at our station, our link at a foreign station.

Every function code of both sides in one capture; tshark must find nothing malformed, and read the values
that were meant.
"""

from __future__ import annotations

import asyncio
import shutil
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from capture_bench import LIMIT_S, capturing, free_port
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType as SimType
from pymodbus.simulator import SimData, SimDevice

from twin.links.client import LinkClient, ReconnectSettings
from twin.links.modbus import ModbusMasterSession
from twin.links.modbus_scan import ModbusLinkSettings
from twin.links.model import CommandReply, LinkCommand, LinkEvent, ReplyKind, SessionEvent, SessionState
from twin.outstations.modbus import ModbusOutstation
from twin.outstations.model import StationCommand
from twin.outstations.server import OutstationServer
from twin.points.modbus import DataType, ModbusAddress, Table, WordOrder
from twin.points.model import PointAddress, PointDefinition, PointKind, Quality, Sample

TSHARK, MBPOLL = shutil.which("tshark"), shutil.which("mbpoll")
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(TSHARK is None, reason="tshark is not installed"),
]
STATION = "RTU_1"
OURS, THEIRS = "127.50.2.1", "127.50.2.2"


def point(number: int, name: str, kind: PointKind, address: ModbusAddress) -> PointDefinition:
    return PointDefinition(STATION, name, kind, name, "i_a", PointAddress(1, number, 36), modbus=address)


POINTS = [
    point(1, "double", PointKind.DOUBLE, ModbusAddress(1, Table.DISCRETE, 10, DataType.PAIR)),
    point(2, "float", PointKind.MEASURAND, ModbusAddress(1, Table.INPUT, 100, DataType.FLOAT32, WordOrder.CDAB)),
    point(3, "total", PointKind.COUNTER, ModbusAddress(1, Table.INPUT, 102, DataType.UINT32)),
    point(4, "word", PointKind.SINGLE, ModbusAddress(1, Table.INPUT, 104, DataType.BIT, bit=15)),
    point(5, "switch", PointKind.DOUBLE_COMMAND, ModbusAddress(1, Table.COIL, 3, DataType.BIT)),
    point(6, "step", PointKind.STEP_COMMAND, ModbusAddress(1, Table.COIL, 4, DataType.PAIR)),
    point(7, "target", PointKind.SETPOINT, ModbusAddress(1, Table.HOLDING, 20, DataType.FLOAT32)),
    point(8, "share", PointKind.SETPOINT, ModbusAddress(1, Table.HOLDING, 22, DataType.INT16)),
    point(9, "bit", PointKind.SINGLE_COMMAND, ModbusAddress(1, Table.HOLDING, 23, DataType.BIT, bit=3)),
]
VALUES = {"double": 2.0, "float": 123.5, "total": 4_000_000_000.0, "word": 1.0}
LOW_FIRST = [*struct.unpack(">HH", struct.pack(">f", 123.5))][::-1]
TOTAL = [4_000_000_000 >> 16, 4_000_000_000 & 0xFFFF]
INPUTS = [*LOW_FIRST, *TOTAL, 0x8000]


class Device:
    """Takes every command but a share of 66."""

    station: ModbusOutstation

    def select(self, command: StationCommand, now: int) -> str:
        return ""

    def operate(self, command: StationCommand, now: int) -> str:
        if command.value == 66.0:
            return "interlocked"
        self.station.finished(command.ticket, True, now)
        return ""

    def cancel(self, command: StationCommand, now: int) -> None:
        raise AssertionError(command)


def now_ms() -> int:
    return int(time.monotonic() * 1000)


async def foreign_masters(port: int) -> None:
    """pymodbus and mbpoll at our station: each function, and each refusal."""
    device = Device()
    station = device.station = ModbusOutstation(STATION, POINTS, device)
    station.update([Sample(STATION, name, value, Quality.GOOD, 0) for name, value in VALUES.items()], 0)
    server = OutstationServer(now_ms)
    await server.host(station, OURS, port)
    client = AsyncModbusTcpClient(OURS, port=port, timeout=LIMIT_S)
    assert await client.connect()
    try:
        await client.read_coils(3, count=3, device_id=1)
        await client.read_discrete_inputs(10, count=2, device_id=1)
        await client.read_input_registers(100, count=5, device_id=1)
        await client.read_holding_registers(20, count=4, device_id=1)
        await client.write_coil(3, True, device_id=1)
        await client.write_coils(4, [True, False], device_id=1)
        await client.write_register(22, 1234, device_id=1)
        await client.write_registers(20, [0x4148, 0x0000], device_id=1)
        await client.mask_write_register(address=23, and_mask=0xFFF7, or_mask=0x0008, device_id=1)
        await client.readwrite_registers(read_address=20, read_count=4, write_address=22, values=[7], device_id=1)
        await client.read_device_information(read_code=1, object_id=0, device_id=1)
        for refused in (
            client.read_exception_status(device_id=1),
            client.read_input_registers(0, count=1, device_id=1),
            client.write_coils(4, [True, True], device_id=1),
            client.write_register(22, 66, device_id=1),
            client.read_input_registers(100, count=1, device_id=9),
        ):
            assert (await refused).isError()
        if MBPOLL is not None:
            await mbpoll(port, "-t", "3:float", "-r", "100", "-1", OURS)
            for table, first in (("0", "3"), ("1", "10"), ("4", "22")):
                await mbpoll(port, "-t", table, "-r", first, "-1", OURS)
            await mbpoll(port, "-t", "4", "-r", "22", OURS, "4321")
            await mbpoll(port, "-t", "4:float", "-B", "-r", "20", OURS, "12.5")
            await mbpoll(port, "-t", "0", "-r", "3", OURS, "0")
            await mbpoll(port, "-t", "0", "-r", "4", OURS, "0", "1")
    finally:
        client.close()
        await server.close()


async def mbpoll(port: int, *arguments: str) -> None:
    command = [str(MBPOLL), "-m", "tcp", "-p", str(port), "-0", "-a", "1", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0, arguments


async def our_link(port: int) -> None:
    """Our link at a pymodbus station: it reads all and gives each command."""
    tables = (
        [SimData(0, values=[False] * 16, datatype=SimType.BITS)],
        [SimData(0, values=[False] * 10 + [False, True] + [False] * 4, datatype=SimType.BITS)],
        [SimData(20, values=[0] * 4, datatype=SimType.REGISTERS)],
        [SimData(100, values=INPUTS, datatype=SimType.REGISTERS)],
    )
    server = ModbusTcpServer([SimDevice(1, tables)], address=(THEIRS, port))
    await server.listen()
    events: list[LinkEvent] = []
    session = ModbusMasterSession(STATION, POINTS, ModbusLinkSettings(answer_limit_ms=int(LIMIT_S * 1000)))
    client = LinkClient(session, THEIRS, port, now_ms, events.extend, reconnect=ReconnectSettings(first_s=0.1))
    client.start()
    try:
        await until(lambda: any(isinstance(e, SessionEvent) and e.state is SessionState.INTERROGATED for e in events))
        orders = [("switch", 2.0), ("step", 1.0), ("target", 12.5), ("share", 1234.0), ("bit", 1.0)]
        for number, (name, value) in enumerate(orders):
            order = LinkCommand(number, STATION, name, value)
            client.act(lambda s, now, o=order: s.operate(o, now))  # type: ignore[misc]
            await until(lambda: len(replies(events)) > number)  # noqa: B023
        assert {reply.kind for reply in replies(events)} == {ReplyKind.ACTIVATED}
    finally:
        await client.stop()
        await server.shutdown()


def replies(events: list[LinkEvent]) -> list[CommandReply]:
    return [e for e in events if isinstance(e, CommandReply)]


async def until(holds: object) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not holds():  # type: ignore[operator]
            await asyncio.sleep(0.005)


@dataclass(frozen=True)
class Captured:
    """What tshark prints of the capture."""

    file: Path
    port: int

    def read(self, *arguments: str) -> str:
        command = [str(TSHARK), "-n", "-r", str(self.file), "-o", f"mbtcp.tcp.port:{self.port}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT_S).stdout

    def fields(self, shown: str, *names: str) -> list[list[str]]:
        wanted = [word for name in names for word in ("-e", name)]
        return [line.split("\t") for line in self.read("-Y", shown, "-T", "fields", *wanted).splitlines()]


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    file = tmp_path_factory.mktemp("modbus") / "capture.pcapng"
    port = free_port((OURS, THEIRS))

    async def both() -> None:
        await foreign_masters(port)
        await our_link(port)

    with capturing(port, file) as capture:
        asyncio.run(both())
        assert capture.probe(LIMIT_S)
    return Captured(file, port)


def test_frames__are_none_of_them_malformed(captured: Captured) -> None:
    assert captured.read("-Y", "_ws.malformed || _ws.expert.severity >= 0x00800000") == ""
    assert len(captured.fields("modbus", "frame.number")) >= 50


def test_functions__of_both_sides_are_all_there_and_answered(captured: Captured) -> None:
    asked = {h: {int(r[0]) for r in captured.fields(f"ip.dst == {h} && modbus", "modbus.func_code")} for h in HOSTS}
    assert asked[OURS] == {1, 2, 3, 4, 5, 6, 7, 15, 16, 22, 23, 43}
    assert asked[THEIRS] == {1, 2, 3, 4, 5, 6, 16, 22}
    requests = captured.fields(f"modbus && ip.dst in {{{OURS}, {THEIRS}}}", "mbtcp.trans_id")
    answers = captured.fields(f"modbus && ip.src in {{{OURS}, {THEIRS}}}", "mbtcp.trans_id")
    assert requests == answers, "each request has its answer, in order"


HOSTS = (OURS, THEIRS)


def test_values__are_what_was_meant(captured: Captured) -> None:
    for host in HOSTS:
        answers = f"ip.src == {host} && modbus.func_code == 4 && modbus.regval_uint16"
        read: dict[int, int] = {}
        for numbers, values in captured.fields(answers, "modbus.regnum16", "modbus.regval_uint16"):
            read |= dict(zip(map(int, numbers.split(",")), map(int, values.split(",")), strict=True))
        assert read == dict(zip(range(100, 105), INPUTS, strict=True)), host
        assert ["0xfff7", "0x0008"] in masks(captured, host)


def masks(captured: Captured, host: str) -> list[list[str]]:
    rows = captured.fields(f"ip.dst == {host} && modbus.func_code == 22", "modbus.and_mask", "modbus.or_mask")
    return [[f"0x{int(cell, 0):04x}" for cell in row] for row in rows]


def test_exceptions__are_those_that_fit(captured: Captured) -> None:
    codes = captured.fields(f"ip.src == {OURS} && modbus.exception_code", "modbus.func_code", "modbus.exception_code")
    assert codes == [["7", "1"], ["4", "2"], ["15", "3"], ["6", "4"], ["4", "11"]]
    assert captured.fields(f"ip.src == {THEIRS} && modbus.exception_code", "modbus.exception_code") == []
