"""The Modbus codec: frames of the specification, round trips, drip, cut, garble and mutated frames."""

from __future__ import annotations

import itertools
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.points.modbus import DataType, ModbusAddress, Table, WordOrder
from twin.points.model import PointKind, Quality
from twin.protocols.modbus import (
    Block,
    BlockLimits,
    ExceptionCode,
    ExceptionResponse,
    Frame,
    FrameReader,
    Function,
    MalformedFrameError,
    MaskWrite,
    Read,
    ReadIdentification,
    ReadWrite,
    RefusedRequestError,
    UnencodableValueError,
    WriteBits,
    WriteRegisters,
    decode_request,
    decode_response,
    encode_frame,
    encode_request,
    plan_blocks,
    split_frames,
)
from twin.protocols.modbus.pdu import (
    MAX_READ_BITS,
    MAX_READ_REGISTERS,
    pack_bits,
    read_bits_pdu,
    read_registers_pdu,
    unpack_bits,
)
from twin.protocols.modbus.values import (
    bits_of,
    clamped_octets,
    register_octets,
    value_of_bits,
    value_of_registers,
)

# -- the examples of the specification (V1.1b3, clause 6) -----------------------------------------------------------

REQUESTS = {
    "01 0013 0013": Read(Function.READ_COILS, 19, 19),
    "02 00C4 0016": Read(Function.READ_DISCRETE_INPUTS, 196, 22),
    "03 006B 0003": Read(Function.READ_HOLDING_REGISTERS, 107, 3),
    "04 0008 0001": Read(Function.READ_INPUT_REGISTERS, 8, 1),
    "05 00AC FF00": WriteBits(172, (True,), single=True),
    "06 0001 0003": WriteRegisters(1, b"\x00\x03", single=True),
    "0F 0013 000A 02 CD01": WriteBits(19, tuple(map(bool, (1, 0, 1, 1, 0, 0, 1, 1, 1, 0)))),
    "10 0001 0002 04 000A 0102": WriteRegisters(1, b"\x00\x0a\x01\x02"),
    "16 0004 00F2 0025": MaskWrite(4, 0x00F2, 0x0025),
    "17 0003 0006 000E 0003 06 00FF 00FF 00FF": ReadWrite(3, 6, 14, b"\x00\xff" * 3),
    "2B 0E 01 00": ReadIdentification(1, 0),
}


@pytest.mark.parametrize(("octets", "request_"), REQUESTS.items())
def test_request__of_the_specification_both_ways(octets: str, request_: object) -> None:
    pdu = bytes.fromhex(octets)
    assert decode_request(pdu) == request_
    assert encode_request(request_) == pdu  # type: ignore[arg-type]


def test_response__read_coils_of_the_specification() -> None:
    """Coils 20 to 38: CD 6B 05; coil 20 is the least significant bit of the first octet."""
    bits = decode_response(bytes.fromhex("01 03 CD 6B 05"), Read(Function.READ_COILS, 19, 19))
    assert list(bits) == [1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1]


def test_response__read_holding_registers_of_the_specification() -> None:
    request = Read(Function.READ_HOLDING_REGISTERS, 107, 3)
    assert decode_response(bytes.fromhex("03 06 022B 0000 0064"), request) == bytes.fromhex("022B 0000 0064")


def test_response__exception_of_the_specification() -> None:
    request = Read(Function.READ_COILS, 0x4A1, 1)
    assert decode_response(bytes.fromhex("81 02"), request) == ExceptionResponse(1, ExceptionCode.ILLEGAL_DATA_ADDRESS)


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        ("07", ExceptionCode.ILLEGAL_FUNCTION),
        ("63 00", ExceptionCode.ILLEGAL_FUNCTION),
        ("03 0000 0000", ExceptionCode.ILLEGAL_DATA_VALUE),
        ("03 0000 007E", ExceptionCode.ILLEGAL_DATA_VALUE),
        ("01 0000 07D1", ExceptionCode.ILLEGAL_DATA_VALUE),
        ("03 FFFF 0002", ExceptionCode.ILLEGAL_DATA_ADDRESS),
        ("05 0000 1234", ExceptionCode.ILLEGAL_DATA_VALUE),
        ("0F 0000 000A 01 FF", ExceptionCode.ILLEGAL_DATA_VALUE),
        ("10 0000 0002 03 0001 02", ExceptionCode.ILLEGAL_DATA_VALUE),
        ("10 0000 0002 04 0001", ExceptionCode.ILLEGAL_DATA_VALUE),
        ("03 0000", ExceptionCode.ILLEGAL_DATA_VALUE),
        ("2B 0D 00 00", ExceptionCode.ILLEGAL_FUNCTION),
    ],
)
def test_request__that_contradicts_itself_has_its_exception(octets: str, code: ExceptionCode) -> None:
    with pytest.raises(RefusedRequestError) as refused:
        decode_request(bytes.fromhex(octets))
    assert refused.value.code == code


@pytest.mark.parametrize("octets", ["04 03 0001 02", "04 02 00", "04 02 0001 00", "03 02 0001", "84", "84 02 00", "04"])
def test_response__that_does_not_fit_its_request_is_malformed(octets: str) -> None:
    with pytest.raises(MalformedFrameError):
        decode_response(bytes.fromhex(octets), Read(Function.READ_INPUT_REGISTERS, 0, 1))


def test_response__to_a_write_must_repeat_it() -> None:
    with pytest.raises(MalformedFrameError):
        decode_response(bytes.fromhex("05 00AC 0000"), WriteBits(172, (True,), single=True))


# -- round trips ------------------------------------------------------------------------------------------------------

ADDRESSES = st.integers(0, 0xFFFF)
BITS = st.lists(st.booleans(), min_size=1, max_size=1_968).map(tuple)


@given(BITS)
def test_bits__come_back(values: tuple[bool, ...]) -> None:
    assert tuple(map(bool, unpack_bits(pack_bits(values), len(values)))) == values


@given(st.sampled_from([Function.READ_COILS, Function.READ_INPUT_REGISTERS]), st.data())
def test_read__round_trip(function: Function, data: st.DataObject) -> None:
    most = MAX_READ_BITS if function is Function.READ_COILS else MAX_READ_REGISTERS
    count = data.draw(st.integers(1, most))
    request = Read(function, data.draw(st.integers(0, 0x10000 - count)), count)
    assert decode_request(encode_request(request)) == request
    if function is Function.READ_COILS:
        bits = bytes(data.draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)))
        assert decode_response(read_bits_pdu(function, bits), request) == bits
    else:
        octets = data.draw(st.binary(min_size=2 * count, max_size=2 * count))
        assert decode_response(read_registers_pdu(function, octets), request) == octets


@given(st.integers(0, 60_000), BITS, st.binary(min_size=1, max_size=120))
def test_writes__round_trip(address: int, values: tuple[bool, ...], half: bytes) -> None:
    for request in (
        WriteBits(address, values),
        WriteBits(address, values[:1], single=True),
        WriteRegisters(address, half * 2),
        WriteRegisters(address, (half * 2)[:2], single=True),
        ReadWrite(address, 5, address, half * 2),
    ):
        assert decode_request(encode_request(request)) == request


ORDERS = st.sampled_from(WordOrder)
LIMITS = {
    DataType.INT16: (-(2**15), 2**15 - 1),
    DataType.UINT16: (0, 2**16 - 1),
    DataType.INT32: (-(2**31), 2**31 - 1),
    DataType.UINT32: (0, 2**32 - 1),
}


@given(st.sampled_from(list(LIMITS)), ORDERS, st.data())
def test_integer__comes_back_in_every_word_order(data_type: DataType, order: WordOrder, data: st.DataObject) -> None:
    address = ModbusAddress(1, Table.HOLDING, 0, data_type, order)
    count = data.draw(st.integers(*LIMITS[data_type]))
    assert value_of_registers(register_octets(count, address), address) == (count, Quality.GOOD)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), ORDERS)
def test_float__comes_back_in_every_word_order(value: float, order: WordOrder) -> None:
    address = ModbusAddress(1, Table.INPUT, 0, DataType.FLOAT32, order)
    assert value_of_registers(register_octets(value, address), address) == (value, Quality.GOOD)


@pytest.mark.parametrize(
    ("order", "octets"),
    [
        (WordOrder.ABCD, "42 F6 E9 79"),
        (WordOrder.CDAB, "E9 79 42 F6"),
        (WordOrder.BADC, "F6 42 79 E9"),
        (WordOrder.DCBA, "79 E9 F6 42"),
    ],
)
def test_word_order__of_123_456(order: WordOrder, octets: str) -> None:
    """123.456 is 0x42F6E979 as a short float."""
    address = ModbusAddress(1, Table.INPUT, 0, DataType.FLOAT32, order)
    assert register_octets(123.456, address) == bytes.fromhex(octets)


def test_scale__is_what_a_count_is_worth() -> None:
    address = ModbusAddress(1, Table.INPUT, 0, DataType.INT16, scale=0.1)
    assert register_octets(-12.34, address) == struct.pack(">h", -123)
    assert value_of_registers(struct.pack(">h", -123), address)[0] == pytest.approx(-12.3)


def test_value__that_does_not_fit_is_clamped_as_a_sample_and_refused_as_a_command() -> None:
    address = ModbusAddress(1, Table.INPUT, 0, DataType.INT16)
    assert clamped_octets(1e6, Quality.GOOD, address) == struct.pack(">h", 32_767)
    with pytest.raises(UnencodableValueError):
        register_octets(1e6, address)


def test_value__that_is_none_travels_as_no_number() -> None:
    address = ModbusAddress(1, Table.INPUT, 0, DataType.FLOAT32)
    assert value_of_registers(clamped_octets(5.0, Quality.INVALID, address), address) == (0.0, Quality.INVALID)


@pytest.mark.parametrize("value", [0.0, 1.0, 2.0, 3.0])
def test_double_point__in_two_bits_keeps_all_four_states(value: float) -> None:
    address = ModbusAddress(1, Table.DISCRETE, 0, DataType.PAIR)
    assert value_of_bits(bits_of(value, address, PointKind.DOUBLE), PointKind.DOUBLE) == value


def test_double_point__in_one_bit_is_open_or_closed() -> None:
    address = ModbusAddress(1, Table.DISCRETE, 0, DataType.BIT)
    assert [value_of_bits(bits_of(v, address, PointKind.DOUBLE), PointKind.DOUBLE) for v in (1.0, 2.0)] == [1.0, 2.0]


# -- frames: drip, cut, garble ------------------------------------------------------------------------------------

FRAMES = [Frame(n, 1 + n % 3, encode_request(request)) for n, request in enumerate(REQUESTS.values())]
STREAM = b"".join(map(encode_frame, FRAMES))


def test_stream__dripped_octet_by_octet() -> None:
    reader = FrameReader()
    found = [frame for i in range(len(STREAM)) for frame in reader.feed(STREAM[i : i + 1])]
    assert found == FRAMES


def test_stream__cut_at_every_octet_and_resumed() -> None:
    for cut in range(len(STREAM) + 1):
        reader = FrameReader()
        first = reader.feed(STREAM[:cut])
        assert first + FrameReader.resumed(reader.pending).feed(STREAM[cut:]) == FRAMES


def test_split__gives_the_frames_back() -> None:
    assert [FrameReader().feed(octets) for octets in split_frames(STREAM)] == [[frame] for frame in FRAMES]


@pytest.mark.parametrize(
    ("octets", "offset"), [("0001 0001 0006 01", 3), ("0001 FF", 2), ("0001 0000 0001 01", 4), ("0001 0000 0100 01", 4)]
)
def test_frame__that_is_no_modbus_is_refused_with_its_octet(octets: str, offset: int) -> None:
    with pytest.raises(MalformedFrameError) as refused:
        FrameReader().feed(bytes.fromhex(octets))
    assert refused.value.offset == offset


def test_mutated_frames__give_frames_exceptions_or_one_error() -> None:
    """Quick mode of the mutation fuzzer: nothing but what the codec promises gets out of it, and nothing piles up."""
    draw = random.Random(7)
    for _ in range(30_000):
        octets = bytearray(encode_frame(draw.choice(FRAMES)))
        for _ in range(draw.randint(1, 3)):
            octets[draw.randrange(len(octets))] = draw.randrange(256)
        if draw.random() < 0.3:
            octets = octets[: draw.randrange(len(octets))]
        reader = FrameReader()
        try:
            for frame in reader.feed(bytes(octets)):
                decode_request(frame.pdu)
        except (MalformedFrameError, RefusedRequestError):
            continue
        assert len(reader.pending) <= 260


# -- blocks -----------------------------------------------------------------------------------------------------------

ITEMS = st.lists(st.tuples(st.integers(0, 40), st.sampled_from([DataType.INT16, DataType.FLOAT32])), max_size=7)


def fewest(places: list[tuple[int, int]], most: int, gap: int) -> int:
    """The smallest number of requests, by trying every way to divide the sorted places into runs."""
    if not places:
        return 0
    best = len(places)
    for cuts in itertools.product((False, True), repeat=len(places) - 1):
        runs: list[list[tuple[int, int]]] = [[places[0]]]
        for cut, place in zip(cuts, places[1:], strict=True):
            runs.append([place]) if cut else runs[-1].append(place)
        if all(fits(run, most, gap) for run in runs):
            best = min(best, len(runs))
    return best


def fits(run: list[tuple[int, int]], most: int, gap: int) -> bool:
    """Whether one request may read a run."""
    end = run[0][1]
    for start, stop in run[1:]:
        if start - end > gap:
            return False
        end = max(end, stop)
    return end - run[0][0] <= most


@settings(max_examples=150)
@given(ITEMS, st.integers(2, 12), st.integers(0, 5))
def test_blocks__are_the_fewest_and_hold_every_value_whole(
    items: list[tuple[int, DataType]], most: int, gap: int
) -> None:
    addresses = [ModbusAddress(1, Table.INPUT, register, data_type) for register, data_type in items]
    blocks = plan_blocks(addresses, BlockLimits(max_registers=most, max_gap_registers=gap))
    places = sorted({(a.register, a.end) for a in addresses})
    assert len(blocks) == fewest(places, most, gap)
    for address in addresses:
        assert any(b.register <= address.register and address.end <= b.register + b.count <= 65_536 for b in blocks)
    assert all(block.count <= most for block in blocks)


def test_blocks__by_unit_and_table() -> None:
    addresses = [
        ModbusAddress(2, Table.INPUT, 0, DataType.FLOAT32),
        ModbusAddress(1, Table.INPUT, 10, DataType.FLOAT32),
        ModbusAddress(1, Table.DISCRETE, 0, DataType.PAIR),
        ModbusAddress(1, Table.INPUT, 0, DataType.INT16),
    ]
    assert plan_blocks(addresses, BlockLimits(max_gap_registers=9)) == [
        Block(1, Table.DISCRETE, 0, 2),
        Block(1, Table.INPUT, 0, 12),
        Block(2, Table.INPUT, 0, 2),
    ]
