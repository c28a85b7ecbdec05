"""Between the neutral point model and registers: data types, word orders, scales, and the bits of double points.

Modbus knows no quality. A float that is no number says that there is no value; integers have no way to say it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from twin.points.modbus import DataType, ModbusAddress, WordOrder
from twin.points.model import PointKind, Quality
from twin.protocols.modbus.errors import UnencodableValueError

_FORMATS = {
    DataType.INT16: ">h",
    DataType.UINT16: ">H",
    DataType.INT32: ">i",
    DataType.UINT32: ">I",
    DataType.FLOAT32: ">f",
}
_LIMITS = {
    DataType.INT16: (-(2**15), 2**15 - 1),
    DataType.UINT16: (0, 2**16 - 1),
    DataType.INT32: (-(2**31), 2**31 - 1),
    DataType.UINT32: (0, 2**32 - 1),
}
_FLOAT32_MAX = (2 - 2**-23) * 2.0**127
NO_NUMBER = struct.pack(">f", math.nan)


def _swap_words(octets: bytes) -> bytes:
    return octets[2:] + octets[:2] if len(octets) == 4 else octets


def _swap_octets(octets: bytes) -> bytes:
    return b"".join(octets[i : i + 2][::-1] for i in range(0, len(octets), 2))


ORDERS: dict[WordOrder, Callable[[bytes], bytes]] = {
    WordOrder.ABCD: bytes,
    WordOrder.CDAB: _swap_words,
    WordOrder.BADC: _swap_octets,
    WordOrder.DCBA: lambda octets: octets[::-1],
}
"""How the octets of a value are put in order; each is its own inverse."""


def register_octets(value: float, address: ModbusAddress) -> bytes:
    """The registers of a value, two octets each.

    Raises:
        UnencodableValueError: it does not fit its type.
    """
    data_type = address.data_type
    if data_type is DataType.FLOAT32:
        return ORDERS[address.word_order](_float_octets(value / address.scale))
    if not math.isfinite(value):
        raise UnencodableValueError(data_type.value, value, "a finite number")
    count = round(value / address.scale)
    least, most = _LIMITS[data_type]
    if not least <= count <= most:
        raise UnencodableValueError(data_type.value, value, f"a count within {least} to {most} is needed")
    return ORDERS[address.word_order](struct.pack(_FORMATS[data_type], count))


def _float_octets(value: float) -> bytes:
    if math.isnan(value):
        return NO_NUMBER
    if abs(value) > _FLOAT32_MAX:
        raise UnencodableValueError("float32", value, "it is too large")
    return struct.pack(">f", value)


def clamped_octets(value: float, quality: Quality, address: ModbusAddress) -> bytes:
    """The registers of a sample: what does not fit is clamped, a float without a value is no number."""
    data_type = address.data_type
    if quality & Quality.INVALID or math.isnan(value):
        return ORDERS[address.word_order](NO_NUMBER) if data_type is DataType.FLOAT32 else bytes(2 * data_type.size)
    count = value / address.scale
    least, most = _LIMITS.get(data_type, (-_FLOAT32_MAX, _FLOAT32_MAX))
    return register_octets(min(max(count, least), most) * address.scale, address)


def value_of_registers(octets: bytes, address: ModbusAddress) -> tuple[float, Quality]:
    """The value of registers; a float that is no number, or infinite, is 0 and INVALID."""
    (count,) = struct.unpack(_FORMATS[address.data_type], ORDERS[address.word_order](octets))
    if not math.isfinite(count):
        return 0.0, Quality.INVALID
    return count * address.scale if address.scale != 1.0 else float(count), Quality.GOOD


def bits_of(value: float, address: ModbusAddress, kind: PointKind) -> bytes:
    """The bits of an input's value, one octet (0 or 1) each: of a pair the first is open, the second closed."""
    if address.data_type is DataType.PAIR:
        return bytes((int(value) & 1, int(value) >> 1 & 1))
    return bytes((int(value == 2 if kind in _DOUBLES else value != 0),))


def with_bits(register: bytes, bits: bytes, address: ModbusAddress) -> bytes:
    """A register with the bits of one point in it replaced."""
    assert address.bit is not None
    set_bits = sum(bit << place for place, bit in enumerate(bits)) << address.bit
    return (int.from_bytes(register, "big") & ~address.mask | set_bits).to_bytes(2, "big")


def bits_inside(register: bytes, address: ModbusAddress) -> bytes:
    """The bits of a point inside a register, one octet (0 or 1) each."""
    assert address.bit is not None
    number = int.from_bytes(register, "big") >> address.bit
    return bytes(number >> place & 1 for place in range(address.data_type.size))


def value_of_cells(octets: bytes, address: ModbusAddress, kind: PointKind) -> tuple[float, Quality]:
    """The value of an input's bits (one octet each) or registers, whatever its place is."""
    if address.bit is not None:
        return value_of_bits(bits_inside(octets, address), kind), Quality.GOOD
    if address.table.is_bits:
        return value_of_bits(octets, kind), Quality.GOOD
    return value_of_registers(octets, address)


_DOUBLES = (PointKind.DOUBLE, PointKind.DOUBLE_COMMAND)


def value_of_bits(bits: bytes, kind: PointKind) -> float:
    """The value of an input's bits. A double point in one bit is open (0) or closed (1)."""
    if len(bits) == 2:
        return float(bits[0] | bits[1] << 1)
    return float(bits[0] + 1) if kind in _DOUBLES else float(bits[0])
