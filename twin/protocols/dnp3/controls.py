"""Control blocks (IEEE 1815, annex A.8 and A.18): CROB g12v1 and analogue outputs g41, and their status."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import IntEnum

from twin.protocols.dnp3.errors import UnencodableValueError
from twin.protocols.dnp3.headers import ObjectHeader, index_header


class CommandStatus(IntEnum):
    """What an outstation says of a control (IEEE 1815, table 11-9)."""

    SUCCESS = 0
    TIMEOUT = 1
    NO_SELECT = 2
    FORMAT_ERROR = 3
    NOT_SUPPORTED = 4
    ALREADY_ACTIVE = 5
    HARDWARE_ERROR = 6
    LOCAL = 7
    TOO_MANY_OBJECTS = 8
    NOT_AUTHORIZED = 9
    AUTOMATION_INHIBIT = 10
    PROCESSING_LIMITED = 11
    OUT_OF_RANGE = 12
    DOWNSTREAM_LOCAL = 13
    ALREADY_COMPLETE = 14
    BLOCKED = 15
    CANCELLED = 16
    BLOCKED_OTHER_MASTER = 17
    DOWNSTREAM_FAIL = 18
    NON_PARTICIPATING = 126
    UNDEFINED = 127


class Operation(IntEnum):
    """The operation type of a CROB."""

    NUL = 0
    PULSE_ON = 1
    PULSE_OFF = 2
    LATCH_ON = 3
    LATCH_OFF = 4


class TripClose(IntEnum):
    """The trip-close code of a CROB."""

    NUL = 0
    CLOSE = 1
    TRIP = 2


@dataclass(frozen=True, slots=True)
class Crob:
    """A control relay output block (g12v1). ``code`` is the control octet as on the wire; times in ms."""

    code: int
    count: int = 1
    on_ms: int = 0
    off_ms: int = 0
    status: int = CommandStatus.SUCCESS

    @classmethod
    def of(
        cls, operation: Operation, trip_close: TripClose = TripClose.NUL, *, on_ms: int = 0, off_ms: int = 0
    ) -> Crob:
        """A block of one operation."""
        return cls(operation | trip_close << 6, 1, on_ms, off_ms)

    @property
    def operation(self) -> int:
        return self.code & 0x0F

    @property
    def trip_close(self) -> int:
        return self.code >> 6


@dataclass(frozen=True, slots=True)
class AnalogOutput:
    """An analogue output block; ``variation`` of g41: 1 and 2 integers, 3 and 4 floating point."""

    value: float
    variation: int = 3
    status: int = CommandStatus.SUCCESS


Control = Crob | AnalogOutput
_CROB = struct.Struct("<BBIIB")
_ANALOG = {1: struct.Struct("<iB"), 2: struct.Struct("<hB"), 3: struct.Struct("<fB"), 4: struct.Struct("<dB")}


def encode_control(control: Control) -> bytes:
    """The octets of a control block.

    Raises:
        UnencodableValueError: a field does not fit.
    """
    try:
        if isinstance(control, Crob):
            return _CROB.pack(control.code, control.count, control.on_ms, control.off_ms, control.status)
        value = round(control.value) if control.variation < 3 else control.value
        return _ANALOG[control.variation].pack(value, control.status)
    except (struct.error, KeyError, OverflowError, ValueError) as error:
        raise UnencodableValueError("control", control, "numbers that fit its fields") from error


def controls_of(header: ObjectHeader) -> list[tuple[int, Control]]:
    """The control blocks of a header with their indexes; none if it carries no controls behind indexes."""
    if not header.data or not header.width:
        return []
    if header.group == 12 and header.variation == 1:
        blocks: list[Control] = [Crob(*_CROB.unpack(octets)) for octets in header.octets()]
    elif header.group == 41 and header.variation in _ANALOG:
        layout = _ANALOG[header.variation]
        rows = (layout.unpack(octets) for octets in header.octets())
        blocks = [AnalogOutput(float(value), header.variation, status) for value, status in rows]
    else:
        return []
    return list(zip(header.indexes, blocks, strict=True))


def group_of(control: Control) -> tuple[int, int]:
    """Group and variation of a control block."""
    return (12, 1) if isinstance(control, Crob) else (41, control.variation)


def control_block(index: int, control: Control) -> bytes:
    """One control with its header, as a master sends it."""
    width = 1 if index <= 0xFF else 2
    return index_header(*group_of(control), 1, width) + index.to_bytes(width, "little") + encode_control(control)


def answered(header: ObjectHeader, statuses: list[int]) -> bytes:
    """A header of controls as the outstation echoes it, each with its status."""
    width = header.width
    blocks = [
        index.to_bytes(width, "little") + encode_control(replace(control, status=status))
        for (index, control), status in zip(controls_of(header), statuses, strict=True)
    ]
    head = bytes((header.group, header.variation, header.qualifier)) + len(blocks).to_bytes(width, "little")
    return head + b"".join(blocks)
