"""Modbus with foreign peers on real sockets: pymodbus as master and as station, mbpoll (libmodbus) as master.

One register map: two units behind one address, all four tables, every word order and type.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType as SimType
from pymodbus.simulator import SimData, SimDevice

from twin.links.client import LinkClient, ReconnectSettings
from twin.links.modbus import ModbusMasterSession
from twin.links.modbus_scan import ModbusLinkSettings
from twin.links.model import ArrivedSample, CommandReply, LinkCommand, LinkEvent, ReplyKind, SessionEvent, SessionState
from twin.outstations.modbus import ModbusOutstation
from twin.outstations.model import StationCommand
from twin.outstations.server import OutstationServer
from twin.points.modbus import DataType, ModbusAddress, Table, WordOrder
from twin.points.model import PointAddress, PointDefinition, PointKind, Quality, Sample

pytestmark = pytest.mark.interop
LIMIT_S = 60.0
STATION = "RTU_1"


def now_ms() -> int:
    """A clock for the drivers."""
    return int(time.monotonic() * 1000)


def point(name: str, kind: PointKind, address: ModbusAddress) -> PointDefinition:
    """A point of the station."""
    number = sum(map(ord, name)) % 60_000 + 1
    return PointDefinition(STATION, name, kind, name, "i_a", PointAddress(1, number, 36), modbus=address)


TYPES = {
    DataType.INT16: -1234.0,
    DataType.UINT16: 54321.0,
    DataType.INT32: -123456789.0,
    DataType.UINT32: 3456789012.0,
    DataType.FLOAT32: 123.456,
}
VALUES: dict[str, float] = {}
POINTS: list[PointDefinition] = []
for table in (Table.INPUT, Table.HOLDING):
    register = 100
    for order in WordOrder:
        for data_type, number in TYPES.items():
            name = f"{table.value}-{data_type.value}-{order.value}"
            kind = PointKind.MEASURAND if table is Table.INPUT else PointKind.SETPOINT
            POINTS.append(point(name, kind, ModbusAddress(1, table, register, data_type, order)))
            VALUES[name] = number
            register += data_type.size
POINTS += [
    point("scaled", PointKind.MEASURAND, ModbusAddress(2, Table.INPUT, 7, DataType.INT16, scale=0.1)),
    point("double", PointKind.DOUBLE, ModbusAddress(1, Table.DISCRETE, 10, DataType.PAIR)),
    point("single", PointKind.SINGLE, ModbusAddress(1, Table.DISCRETE, 12, DataType.BIT)),
    point("tap", PointKind.STEP_POSITION, ModbusAddress(2, Table.INPUT, 8, DataType.INT16)),
    point("energy", PointKind.COUNTER, ModbusAddress(2, Table.INPUT, 10, DataType.UINT32)),
    point("word-single", PointKind.SINGLE, ModbusAddress(2, Table.INPUT, 12, DataType.BIT, bit=0)),
    point("word-double", PointKind.DOUBLE, ModbusAddress(2, Table.INPUT, 12, DataType.PAIR, bit=14)),
    point("word-switch", PointKind.DOUBLE_COMMAND, ModbusAddress(2, Table.HOLDING, 20, DataType.BIT, bit=3)),
    point("word-step", PointKind.STEP_COMMAND, ModbusAddress(2, Table.HOLDING, 20, DataType.PAIR, bit=8)),
    point("switch", PointKind.DOUBLE_COMMAND, ModbusAddress(1, Table.COIL, 3, DataType.BIT)),
    point("pulses", PointKind.DOUBLE_COMMAND, ModbusAddress(1, Table.COIL, 4, DataType.PAIR)),
    point("raise-lower", PointKind.STEP_COMMAND, ModbusAddress(1, Table.COIL, 6, DataType.PAIR)),
]
VALUES |= {"scaled": -12.3, "double": 2.0, "single": 1.0, "tap": -5.0, "energy": 4_000_000_000.0}
VALUES |= {"word-single": 1.0, "word-double": 2.0}
WORD = 0x8001
"""The status word of unit 2: double point closed in bits 14 and 15, single point on in bit 0."""
INPUTS = [p for p in POINTS if not p.kind.is_output]
SETPOINTS = [p for p in POINTS if p.kind is PointKind.SETPOINT]


class Device:
    """The device behind the station: takes note, and refuses what it is told to refuse."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, float]] = []
        self.refuses: set[str] = set()

    def select(self, command: StationCommand, now: int) -> str:
        return ""

    def operate(self, command: StationCommand, now: int) -> str:
        if command.point in self.refuses:
            return "interlocked"
        self.commands.append((command.point, command.value))
        self.station.finished(command.ticket, True, now)
        return ""

    def cancel(self, command: StationCommand, now: int) -> None:
        raise AssertionError("Modbus cancels nothing at the station")

    station: ModbusOutstation


def our_station() -> tuple[ModbusOutstation, Device]:
    """The station with its values."""
    device = Device()
    station = ModbusOutstation(STATION, POINTS, device)
    device.station = station
    station.update([Sample(STATION, p.name, VALUES[p.name], Quality.GOOD, 0) for p in INPUTS], 0)
    return station, device


def served(work: Callable[[str, int, Device], Awaitable[None]]) -> None:
    """Let ``work`` talk to our station."""

    async def main() -> None:
        station, device = our_station()
        server = OutstationServer(now_ms)
        host, port = await server.host(station, "127.0.0.1")
        try:
            async with asyncio.timeout(LIMIT_S):
                await work(host, port, device)
        finally:
            await server.close()

    asyncio.run(main())


async def client_of(host: str, port: int) -> AsyncModbusTcpClient:
    """A pymodbus master."""
    client = AsyncModbusTcpClient(host, port=port, timeout=5)
    assert await client.connect()
    return client


WORDS: dict[WordOrder, tuple[str, bool]] = {
    WordOrder.ABCD: ("big", False),
    WordOrder.CDAB: ("little", False),
    WordOrder.BADC: ("big", True),
    WordOrder.DCBA: ("little", True),
}
"""How pymodbus calls a word order: of words, and whether the octets in a word are swapped."""
FOREIGN = {d: getattr(ModbusClientMixin.DATATYPE, d.name) for d in TYPES}


def swapped(registers: list[int], swap: bool) -> list[int]:
    """Registers with their octets swapped."""
    return [(r >> 8) | (r & 0xFF) << 8 for r in registers] if swap else registers


def foreign_value(address: ModbusAddress, registers: list[int]) -> Any:
    """What pymodbus reads out of registers."""
    order, swap = WORDS[address.word_order]
    words: Any = order
    kind = FOREIGN[address.data_type]
    return ModbusClientMixin.convert_from_registers(swapped(registers, swap), kind, word_order=words)


def foreign_registers(address: ModbusAddress, value: float) -> list[int]:
    """The registers pymodbus makes of a value."""
    order, swap = WORDS[address.word_order]
    words: Any = order
    number: Any = value if address.data_type is DataType.FLOAT32 else int(value)
    kind = FOREIGN[address.data_type]
    return swapped(ModbusClientMixin.convert_to_registers(number, kind, word_order=words), swap)


# -- our station, pymodbus as master --------------------------------------------------------------------------------


def test_pymodbus_master__reads_every_type_in_every_word_order() -> None:
    async def work(host: str, port: int, device: Device) -> None:
        client = await client_of(host, port)
        for p in (p for p in INPUTS if p.modbus and p.modbus.table is Table.INPUT and p.modbus.unit == 1):
            a = p.modbus
            assert a is not None
            answer = await client.read_input_registers(a.register, count=a.data_type.size, device_id=1)
            assert foreign_value(a, answer.registers) == pytest.approx(VALUES[p.name], rel=1e-6), p.name
        client.close()

    served(work)


def test_pymodbus_master__reads_bits_units_and_scaled_values() -> None:
    async def work(host: str, port: int, device: Device) -> None:
        client = await client_of(host, port)
        assert (await client.read_discrete_inputs(10, count=3, device_id=1)).bits[:3] == [False, True, True]
        unit_2 = (await client.read_input_registers(7, count=5, device_id=2)).registers
        assert unit_2 == [65_536 - 123, 65_536 - 5, 0, 4_000_000_000 >> 16, 4_000_000_000 & 0xFFFF]
        assert (await client.read_input_registers(12, count=1, device_id=2)).registers == [WORD]
        client.close()

    served(work)


def test_pymodbus_master__writes_set_points_in_every_word_order() -> None:
    async def work(host: str, port: int, device: Device) -> None:
        client = await client_of(host, port)
        for p in SETPOINTS:
            a = p.modbus
            assert a is not None
            answer = await client.write_registers(a.register, foreign_registers(a, VALUES[p.name]), device_id=1)
            assert not answer.isError(), p.name
            back = await client.read_holding_registers(a.register, count=a.data_type.size, device_id=1)
            assert foreign_value(a, back.registers) == pytest.approx(VALUES[p.name], rel=1e-6)
        assert [name for name, _ in device.commands] == [p.name for p in SETPOINTS]
        assert [v for _, v in device.commands] == pytest.approx([VALUES[p.name] for p in SETPOINTS], rel=1e-6)
        client.close()

    served(work)


def test_pymodbus_master__operates_coils_and_mask_and_read_write() -> None:
    async def work(host: str, port: int, device: Device) -> None:
        client = await client_of(host, port)
        await client.write_coil(3, True, device_id=1)
        assert (await client.read_coils(3, count=1, device_id=1)).bits[0] is True
        await client.write_coil(3, False, device_id=1)
        await client.write_coil(5, True, device_id=1)
        await client.write_coil(6, True, device_id=1)
        await client.write_coils(3, [True, True, False], device_id=1)
        assert device.commands == [
            ("switch", 2.0),
            ("switch", 1.0),
            ("pulses", 2.0),
            ("raise-lower", -1.0),
            ("switch", 2.0),
            ("pulses", 1.0),
        ]
        await client.write_register(100, 0x1234, device_id=1)
        assert not (
            await client.mask_write_register(address=100, and_mask=0xFF00, or_mask=0x0056, device_id=1)
        ).isError()
        assert (await client.read_holding_registers(100, count=1, device_id=1)).registers == [0x1256]
        both = await client.readwrite_registers(
            read_address=100, read_count=1, write_address=100, values=[7], device_id=1
        )
        assert both.registers == [7]
        client.close()

    served(work)


def test_pymodbus_master__writes_bits_of_a_command_word() -> None:
    async def work(host: str, port: int, device: Device) -> None:
        client = await client_of(host, port)
        for and_mask, or_mask in ((0xFFF7, 0x0008), (0xFEFF, 0x0100), (0xFDFF, 0x0200), (0xFFF7, 0x0000)):
            answer = await client.mask_write_register(address=20, and_mask=and_mask, or_mask=or_mask, device_id=2)
            assert not answer.isError()
        assert device.commands == [("word-switch", 2.0), ("word-step", -1.0), ("word-step", 1.0), ("word-switch", 1.0)]
        await client.write_register(20, 0x0008, device_id=2)
        assert device.commands[4:] == [("word-switch", 2.0)]
        assert (await client.read_holding_registers(20, count=1, device_id=2)).registers == [0x0008]
        client.close()

    served(work)


def test_pymodbus_master__gets_the_exception_that_fits() -> None:
    async def work(host: str, port: int, device: Device) -> None:
        device.refuses = {"switch"}
        client = await client_of(host, port)
        refused: list[tuple[Coroutine[Any, Any, Any], ExcCodes]] = [
            (client.read_input_registers(0, count=1, device_id=1), ExcCodes.ILLEGAL_ADDRESS),
            (client.read_discrete_inputs(12, count=2, device_id=1), ExcCodes.ILLEGAL_ADDRESS),
            (client.read_input_registers(7, count=1, device_id=9), ExcCodes.GATEWAY_NO_RESPONSE),
            (client.write_coil(3, True, device_id=1), ExcCodes.DEVICE_FAILURE),
            (client.write_coil(99, True, device_id=1), ExcCodes.ILLEGAL_ADDRESS),
            (client.write_register(102, 1, device_id=1), ExcCodes.ILLEGAL_ADDRESS),
            (client.write_coils(4, [True, True], device_id=1), ExcCodes.ILLEGAL_VALUE),
            (client.read_exception_status(device_id=1), ExcCodes.ILLEGAL_FUNCTION),
        ]
        for request, code in refused:
            answer = await request
            assert answer.isError()
            assert answer.exception_code == code
        assert device.commands == []
        client.close()

    served(work)


def test_pymodbus_master__reads_the_device_identification() -> None:
    async def work(host: str, port: int, device: Device) -> None:
        client = await client_of(host, port)
        answer = await client.read_device_information(read_code=1, object_id=0, device_id=1)
        assert [answer.information[i] for i in range(3)] == [b"Distribution Twin", b"Emulated station", b"1.0"]
        client.close()

    served(work)


def test_two_masters__garbage_of_one_does_not_disturb_the_other() -> None:
    async def work(host: str, port: int, device: Device) -> None:
        client = await client_of(host, port)
        for noise in (b"\x00\x01\xff\xff", b"GET / HTTP/1.1\r\n\r\n", b"\x00\x01\x00\x00\x00\x01\x01", b"\x00"):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(noise)
            await writer.drain()
            if len(noise) > 1:
                assert await reader.read() == b""
            writer.close()
            answer = await client.read_discrete_inputs(10, count=3, device_id=1)
            assert answer.bits[:3] == [False, True, True]
        client.close()

    served(work)


# -- our station, mbpoll as master ------------------------------------------------------------------------------------

MBPOLL = shutil.which("mbpoll")
needs_mbpoll = pytest.mark.skipif(MBPOLL is None, reason="mbpoll is not installed")


async def mbpoll(host: str, port: int, *arguments: str) -> tuple[int, str]:
    """Exit code and output of mbpoll."""
    command = [str(MBPOLL), "-m", "tcp", "-p", str(port), "-0", *arguments[:-1], host]
    values = arguments[-1].split()
    process = await asyncio.create_subprocess_exec(
        *command, *values, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    return int(process.returncode or 0), out.decode()


def read_by(text: str) -> list[float]:
    """The values in mbpoll's output."""
    return [float(v) for v in re.findall(r"^\[\d+\]:\s+(\S+)", text, re.MULTILINE)]


@needs_mbpoll
def test_mbpoll__reads_floats_integers_and_bits() -> None:
    async def work(host: str, port: int, device: Device) -> None:
        wanted: dict[str, list[str]] = {
            "input-float32-ABCD": ["-t", "3:float", "-B"],
            "input-float32-CDAB": ["-t", "3:float"],
            "input-int32-ABCD": ["-t", "3:int", "-B"],
            "input-uint16-ABCD": ["-t", "3"],
        }
        for name, options in wanted.items():
            address = next(p.modbus for p in POINTS if p.name == name)
            assert address is not None
            code, out = await mbpoll(host, port, "-a", "1", *options, "-r", str(address.register), "-1", "")
            assert code == 0, out
            assert read_by(out) == [pytest.approx(VALUES[name], rel=1e-5)], out
        code, out = await mbpoll(host, port, "-a", "1", "-t", "1", "-r", "10", "-c", "3", "-1", "")
        assert (code, read_by(out)) == (0, [0.0, 1.0, 1.0])

    served(work)


@needs_mbpoll
def test_mbpoll__writes_a_coil_and_is_refused_by_name() -> None:
    async def work(host: str, port: int, device: Device) -> None:
        code, out = await mbpoll(host, port, "-a", "1", "-t", "0", "-r", "3", "1")
        assert code == 0, out
        assert device.commands == [("switch", 2.0)]
        device.refuses = {"switch"}
        code, out = await mbpoll(host, port, "-a", "1", "-t", "0", "-r", "3", "0")
        assert code != 0
        assert "device or server failure" in out.lower()

    served(work)


# -- our link, pymodbus as station ------------------------------------------------------------------------------------


class Foreign:
    """A pymodbus server with the same register map, and a link of ours to it."""

    def __init__(self) -> None:
        self.events: list[LinkEvent] = []
        self.written: list[tuple[int, int, list[Any]]] = []
        self.refuses: set[int] = set()
        self._arrived = asyncio.Event()
        self.session = ModbusMasterSession(
            STATION, POINTS, ModbusLinkSettings(poll_ms=50, measurand_poll_ms=50, answer_limit_ms=2_000)
        )

    async def action(
        self, code: int, start: int, address: int, count: int, registers: list[int], values: Any
    ) -> ExcCodes | None:
        if values is None:
            return None
        self.written.append((code, address, list(values)))
        return ExcCodes.DEVICE_FAILURE if address in self.refuses else None

    def devices(self) -> list[SimDevice]:
        holding = [SimData(100, values=[0] * 40, datatype=SimType.REGISTERS)]
        bits: list[bool] = [False] * 10 + [False, True, True] + [False] * 3
        unit_1 = (
            [SimData(0, values=[False] * 16, datatype=SimType.BITS)],
            [SimData(0, values=bits, datatype=SimType.BITS)],
            holding,
            [SimData(100, values=self._inputs(), datatype=SimType.REGISTERS)],
        )
        unit_2_inputs = [65_536 - 123, 65_536 - 5, 0, 4_000_000_000 >> 16, 4_000_000_000 & 0xFFFF, WORD]
        word = [SimData(20, values=[0xF000], datatype=SimType.REGISTERS)]
        no_bits = [SimData(0, values=[False] * 16, datatype=SimType.BITS)]
        unit_2 = (no_bits, no_bits, word, [SimData(7, values=unit_2_inputs, datatype=SimType.REGISTERS)])
        return [SimDevice(1, unit_1, action=self.action), SimDevice(2, unit_2, action=self.action)]

    @staticmethod
    def _inputs() -> list[int]:
        places = [(p.modbus, VALUES[p.name]) for p in INPUTS if p.modbus and p.modbus.unit == 1]
        return [r for a, value in places if a.table is Table.INPUT for r in foreign_registers(a, value)]

    def take(self, events: Any) -> None:
        self.events += events
        self._arrived.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not holds():
                self._arrived.clear()
                await self._arrived.wait()

    def has(self, state: SessionState) -> bool:
        return any(isinstance(e, SessionEvent) and e.state is state for e in self.events)

    def replies(self) -> list[CommandReply]:
        return [e for e in self.events if isinstance(e, CommandReply)]


def linked(work: Callable[[Foreign, LinkClient], Awaitable[None]]) -> None:
    """Let ``work`` use our link to a pymodbus server."""

    async def main() -> None:
        foreign = Foreign()
        server = ModbusTcpServer(foreign.devices(), address=("127.0.0.1", 0))
        await server.listen()
        port = server.transport.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        reconnect = ReconnectSettings(first_s=0.05)
        client = LinkClient(foreign.session, "127.0.0.1", port, now_ms, foreign.take, reconnect=reconnect)
        client.start()
        try:
            await foreign.until(lambda: foreign.has(SessionState.INTERROGATED))
            await work(foreign, client)
        finally:
            await client.stop()
            await server.shutdown()

    asyncio.run(main())


def test_link__reads_every_value_of_a_pymodbus_server() -> None:
    async def work(foreign: Foreign, client: LinkClient) -> None:
        found = {e.sample.point: e.sample for e in foreign.events if isinstance(e, ArrivedSample)}
        assert set(found) == {p.name for p in INPUTS}
        for name, sample in found.items():
            assert sample.value == pytest.approx(VALUES[name], rel=1e-6), name
            assert sample.quality is Quality.GOOD

    linked(work)


def test_link__writes_and_reads_back_at_a_pymodbus_server() -> None:
    async def work(foreign: Foreign, client: LinkClient) -> None:
        commands = [LinkCommand(n, STATION, p.name, VALUES[p.name]) for n, p in enumerate(SETPOINTS)]
        commands += [LinkCommand(100, STATION, "switch", 2.0), LinkCommand(101, STATION, "pulses", 1.0)]
        commands += [LinkCommand(102, STATION, "word-switch", 2.0), LinkCommand(103, STATION, "word-step", 1.0)]
        for command in commands:
            client.act(lambda session, now, c=command: session.operate(c, now))  # type: ignore[misc]
        await foreign.until(lambda: len(foreign.replies()) == len(commands))
        assert {r.kind for r in foreign.replies()} == {ReplyKind.ACTIVATED}
        by_address = {address: values for code, address, values in foreign.written if code in (6, 16)}
        for p in SETPOINTS:
            assert p.modbus is not None
            assert by_address[p.modbus.register] == foreign_registers(p.modbus, VALUES[p.name])
        assert [address for code, address, _ in foreign.written if code == 5] == [3, 4]
        assert [values for code, _, values in foreign.written if code == 22] == [[0xF008], [0xF208]]

    linked(work)


def test_link__tells_the_refusal_of_a_pymodbus_server() -> None:
    async def work(foreign: Foreign, client: LinkClient) -> None:
        p = SETPOINTS[0]
        assert p.modbus is not None
        foreign.refuses = {p.modbus.register}
        client.act(lambda session, now: session.operate(LinkCommand(1, STATION, p.name, 5.0), now))
        await foreign.until(lambda: bool(foreign.replies()))
        reply = foreign.replies()[0]
        assert (reply.kind, reply.cause) == (ReplyKind.REFUSED, "exception 4, server device failure")

    linked(work)
