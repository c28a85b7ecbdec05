"""Commands as Modbus writes, and the reads that check them."""

from __future__ import annotations

import math

from twin.points.modbus import DataType, Table
from twin.points.model import DoublePosition, PointDefinition, PointKind
from twin.protocols.modbus.errors import UnencodableValueError
from twin.protocols.modbus.pdu import Function, MaskWrite, Read, WriteBits, WriteRegisters
from twin.protocols.modbus.values import bits_of, register_octets

Write = WriteBits | WriteRegisters | MaskWrite


def write_request(output: PointDefinition, value: float) -> Write:
    """The write that gives a command: function 5 for coils, 22 for bits inside a register, 6 or 16 for registers.

    Of two coils or bits one gets a pulse.

    Raises:
        UnencodableValueError: the output cannot be given this value.
    """
    address = output.modbus
    assert address is not None
    if not math.isfinite(value):
        raise UnencodableValueError("command", value, "a finite number is needed")
    if address.table is Table.HOLDING and address.bit is None:
        octets = register_octets(value, address)
        return WriteRegisters(address.register, octets, single=len(octets) == 2)
    _check(output.kind, value)
    if address.data_type is DataType.BIT:
        place, on = 0, bool(bits_of(value, address, output.kind)[0])
    else:
        place, on = int(value > (0 if output.kind is PointKind.STEP_COMMAND else DoublePosition.OPEN)), True
    if address.bit is None:
        return WriteBits(address.register + place, (on,), single=True)
    bit = 1 << address.bit + place
    return MaskWrite(address.register, 0xFFFF & ~bit, bit * on)


def _check(kind: PointKind, value: float) -> None:
    """Coils cannot say that a value is not permitted, so it is refused before."""
    permitted = {
        PointKind.DOUBLE_COMMAND: (1, 2),
        PointKind.STEP_COMMAND: (-1, 1),
        PointKind.SINGLE_COMMAND: (0, 1),
    }.get(kind, ())
    if value not in permitted:
        raise UnencodableValueError(kind.value, value, f"only {' or '.join(map(str, permitted))} can be sent")


def read_back_request(written: Write) -> Read:
    """The read that shows whether a write has been taken."""
    match written:
        case WriteBits(address, values):
            return Read(Function.READ_COILS, address, len(values))
        case WriteRegisters(address, octets):
            return Read(Function.READ_HOLDING_REGISTERS, address, len(octets) // 2)
        case MaskWrite(address):
            return Read(Function.READ_HOLDING_REGISTERS, address, 1)


def shows(written: Write, answer: bytes) -> bool:
    """Whether what was read back (bits as one octet each, or registers) is what was written."""
    match written:
        case WriteBits(_, values):
            return answer == bytes(map(int, values))
        case WriteRegisters(_, octets):
            return answer == octets
        case MaskWrite(_, and_mask, or_mask):
            return int.from_bytes(answer, "big") & ~and_mask & 0xFFFF == or_mask & ~and_mask
