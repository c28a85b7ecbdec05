"""Commands as Modbus writes, and the reads that check them."""

from __future__ import annotations

import math

from twin.points.modbus import DataType, Table
from twin.points.model import DoublePosition, PointDefinition, PointKind
from twin.protocols.modbus.errors import UnencodableValueError
from twin.protocols.modbus.pdu import Function, Read, WriteBits, WriteRegisters
from twin.protocols.modbus.values import bits_of, register_octets


def write_request(output: PointDefinition, value: float) -> WriteBits | WriteRegisters:
    """The write that gives a command: function 5 for one coil or a pulse on one of two, 6 or 16 for registers.

    Raises:
        UnencodableValueError: the output cannot be given this value.
    """
    address = output.modbus
    assert address is not None
    if not math.isfinite(value):
        raise UnencodableValueError("command", value, "a finite number is needed")
    if address.table is Table.HOLDING:
        octets = register_octets(value, address)
        return WriteRegisters(address.register, octets, single=len(octets) == 2)
    _check(output.kind, value)
    if address.data_type is DataType.BIT:
        return WriteBits(address.register, (bool(bits_of(value, address, output.kind)[0]),), single=True)
    second = value > (0 if output.kind is PointKind.STEP_COMMAND else DoublePosition.OPEN)
    return WriteBits(address.register + second, (True,), single=True)


def _check(kind: PointKind, value: float) -> None:
    """Coils cannot say that a value is not permitted, so it is refused before."""
    permitted = {
        PointKind.DOUBLE_COMMAND: (1, 2),
        PointKind.STEP_COMMAND: (-1, 1),
        PointKind.SINGLE_COMMAND: (0, 1),
    }.get(kind, ())
    if value not in permitted:
        raise UnencodableValueError(kind.value, value, f"only {' or '.join(map(str, permitted))} can be sent")


def read_back_request(written: WriteBits | WriteRegisters) -> Read:
    """The read that shows whether a write has been taken."""
    if isinstance(written, WriteBits):
        return Read(Function.READ_COILS, written.address, len(written.values))
    return Read(Function.READ_HOLDING_REGISTERS, written.address, len(written.octets) // 2)
