"""Bits inside registers on Modbus: status words read, command words written bit by bit, both roles on one map.

Word 5 of the input registers, from the least significant bit: 0 single, 1 and 2 double (open, closed), 15 single.
Word 9 of the holding registers: 3 breaker, 4 lamp, 6 and 7 lower and raise.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.links.modbus import ModbusMasterSession
from twin.links.modbus_scan import ModbusLinkSettings
from twin.links.model import ArrivedSample, CommandReply, LinkCommand, LinkEvent, ReplyKind
from twin.outstations.modbus import ModbusOutstation
from twin.outstations.model import StationCommand
from twin.points.modbus import DataType, ModbusAddress, Table, address_findings, from_cells, overlaps, to_cells
from twin.points.model import PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.protocols.modbus import Frame, encode_frame, split_frames
from twin.protocols.modbus.values import bits_inside, with_bits

STATION = "RTU_1"


def point(
    number: int, name: str, kind: PointKind, table: Table, register: int, pair: bool, bit: int
) -> PointDefinition:
    place = ModbusAddress(1, table, register, DataType.PAIR if pair else DataType.BIT, bit=bit)
    return PointDefinition(STATION, name, kind, name, "local", PointAddress(1, number, 30), modbus=place)


POINTS = [
    point(1, "alarm", PointKind.SINGLE, Table.INPUT, 5, False, 0),
    point(2, "position", PointKind.DOUBLE, Table.INPUT, 5, True, 1),
    point(3, "ready", PointKind.SINGLE, Table.INPUT, 5, False, 15),
    point(4, "breaker", PointKind.DOUBLE_COMMAND, Table.HOLDING, 9, False, 3),
    point(5, "lamp", PointKind.SINGLE_COMMAND, Table.HOLDING, 9, False, 4),
    point(6, "tap", PointKind.STEP_COMMAND, Table.HOLDING, 9, True, 6),
]


class Device:
    def __init__(self) -> None:
        self.commands: list[tuple[str, float]] = []
        self.refuses = ""
        self.station: ModbusOutstation

    def select(self, command: StationCommand, now: int) -> str:
        return ""

    def operate(self, command: StationCommand, now: int) -> str:
        if command.point == self.refuses:
            return "interlocked"
        self.commands.append((command.point, command.value))
        self.station.finished(command.ticket, True, now)
        return ""

    def cancel(self, command: StationCommand, now: int) -> None:
        raise AssertionError(command)


class Pair:
    """Station and link without a delay between them; ``requests`` are the link's, in hexadecimal."""

    def __init__(self, points: Sequence[PointDefinition] = POINTS) -> None:
        self.device = Device()
        self.station = self.device.station = ModbusOutstation(STATION, points, self.device)
        self.link = ModbusMasterSession(STATION, points, ModbusLinkSettings(poll_ms=100))
        self.session = self.station.open_session(0)
        self.events: list[LinkEvent] = []
        self.requests: list[str] = []
        self.link.connected(0)
        self.exchange(0)

    def exchange(self, now: int) -> None:
        while there := self.link.payload_to_send():
            self.requests += [frame[7:].hex() for frame in split_frames(there)]
            self.session.receive(there, now)
            self.link.receive(self.session.payload_to_send(), now)
        self.events += self.link.take_events()

    def set(self, name: str, value: float, now: int) -> None:
        self.station.update([Sample(STATION, name, value, Quality.GOOD, now)], now)
        self.link.tick(now)
        self.exchange(now)

    def order(self, number: int, name: str, value: float, now: int) -> CommandReply:
        self.link.operate(LinkCommand(number, STATION, name, value), now)
        self.exchange(now)
        self.link.tick(now + 50)
        self.exchange(now + 50)
        return next(e for e in self.events if isinstance(e, CommandReply) and e.command_id == number)

    def ask(self, pdu: str) -> str:
        self.session.receive(encode_frame(Frame(1, 1, bytes.fromhex(pdu))), 0)
        return split_frames(self.session.payload_to_send())[0][7:].hex()

    def latest(self) -> dict[str, float]:
        return {e.sample.point: e.sample.value for e in self.events if isinstance(e, ArrivedSample)}


def test_status_word__is_read_once_for_all_its_points() -> None:
    pair = Pair()
    assert pair.requests == ["0400050001"]
    pair.set("position", 2.0, 100)
    pair.set("ready", 1.0, 200)
    assert pair.ask("0400050001") == "04028004"
    pair.set("alarm", 1.0, 300)
    pair.set("position", 1.0, 400)
    assert pair.ask("0400050001") == "04028003"
    assert pair.latest() == {"alarm": 1.0, "position": 1.0, "ready": 1.0}


def test_commands__write_their_bit_alone_and_read_it_back() -> None:
    pair = Pair()
    pair.requests.clear()
    assert pair.order(1, "breaker", 2.0, 10).kind is ReplyKind.ACTIVATED
    assert pair.requests == ["160009fff70008", "0300090001"]
    assert pair.order(2, "lamp", 1.0, 20).kind is ReplyKind.ACTIVATED
    assert pair.order(3, "breaker", 1.0, 30).kind is ReplyKind.ACTIVATED
    assert pair.order(4, "tap", -1.0, 40).kind is ReplyKind.ACTIVATED
    assert pair.order(5, "tap", 1.0, 50).kind is ReplyKind.ACTIVATED
    assert pair.ask("0300090001") == "03020010"
    assert pair.device.commands == [
        ("breaker", 2.0), ("lamp", 1.0), ("breaker", 1.0), ("tap", -1.0), ("tap", 1.0),
    ]  # fmt: skip


def test_command__refused_by_the_device_leaves_the_word_as_it_was() -> None:
    pair = Pair()
    pair.device.refuses = "breaker"
    reply = pair.order(1, "breaker", 2.0, 10)
    assert (reply.kind, reply.cause) == (ReplyKind.REFUSED, "exception 4, server device failure")
    assert pair.ask("0300090001") == "03020000"
    assert pair.order(2, "tap", 0.0, 20).kind is ReplyKind.REFUSED


def test_whole_word__means_the_bits_that_change() -> None:
    """Functions 6 and 16 write all bits; a mask write means its own, changed or not."""
    pair = Pair()
    assert pair.ask("0600090018") == "0600090018"
    assert pair.device.commands == [("breaker", 2.0), ("lamp", 1.0)]
    assert pair.ask("1000090001020010") == "1000090001"
    assert pair.device.commands[2:] == [("breaker", 1.0)]
    assert pair.ask("160009ffef0010") == "160009ffef0010"
    assert pair.device.commands[3:] == [("lamp", 1.0)]
    assert pair.ask("06000900d0") == "8603", "lower and raise at once"


@pytest.mark.parametrize("pair", [False, True])
@given(register=st.integers(0, 0xFFFF), data=st.data())
def test_bits__come_back_and_leave_the_others(pair: bool, register: int, data: st.DataObject) -> None:
    width = 2 if pair else 1
    bit = data.draw(st.integers(0, 16 - width))
    place = ModbusAddress(1, Table.INPUT, 0, DataType.PAIR if pair else DataType.BIT, bit=bit)
    bits = bytes(data.draw(st.lists(st.integers(0, 1), min_size=width, max_size=width)))
    written = with_bits(register.to_bytes(2, "big"), bits, place)
    assert bits_inside(written, place) == bits
    assert (int.from_bytes(written, "big") ^ register) & ~place.mask == 0


def test_place__in_the_cells_of_a_map_and_what_is_wrong_there() -> None:
    place = ModbusAddress(1, Table.HOLDING, 9, DataType.PAIR, bit=14)
    names = ("modbus_unit", "modbus_table", "modbus_register", "modbus_type", "modbus_word_order", "modbus_scale")
    cells = dict(zip((*names, "modbus_bit"), to_cells(place), strict=True))
    assert from_cells(cells) == (place, [])
    assert from_cells({**cells, "modbus_bit": "x"}) == (None, [("modbus_bit", "'x' is not a whole number")])
    wrong = [
        (ModbusAddress(1, Table.HOLDING, 9, DataType.PAIR, bit=15), "15 is not within 0 to 14"),
        (ModbusAddress(1, Table.HOLDING, 9, DataType.BIT, bit=-1), "-1 is not within 0 to 15"),
        (ModbusAddress(1, Table.COIL, 9, DataType.BIT, bit=0), "only a bit or pair inside"),
        (ModbusAddress(1, Table.INPUT, 9, DataType.INT16, bit=0), "only a bit or pair inside"),
    ]
    for address, text in wrong:
        assert [(column, text in said) for column, said in address_findings(address)] == [("modbus_bit", True)]


def test_register__may_be_shared_but_no_bit_of_it() -> None:
    def taken(*places: ModbusAddress) -> int:
        return len(list(overlaps((row, 1, place) for row, place in enumerate(places))))

    low, high = (ModbusAddress(1, Table.INPUT, 5, DataType.PAIR, bit=bit) for bit in (0, 2))
    assert taken(low, high) == 0
    assert taken(low, ModbusAddress(1, Table.INPUT, 5, DataType.BIT, bit=1)) == 1
    assert taken(low, ModbusAddress(1, Table.INPUT, 5, DataType.UINT16)) == 1
    assert taken(ModbusAddress(1, Table.INPUT, 4, DataType.FLOAT32), low) == 1
