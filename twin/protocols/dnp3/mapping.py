"""Between the neutral point model and DNP3: flags and quality, commands and control blocks.

BLOCKED has no flag in DNP3 and is lost on the way. RESTART (no value yet) reads as INVALID.
"""

from __future__ import annotations

import math

from twin.points.model import DoublePosition, PointKind, Quality
from twin.protocols.dnp3.controls import AnalogOutput, Control, Crob, Operation, TripClose
from twin.protocols.dnp3.errors import UnencodableValueError
from twin.protocols.dnp3.objects import (
    CHATTER_FILTER,
    COMM_LOST,
    LOCAL_FORCED,
    ONLINE,
    OVER_RANGE,
    REFERENCE_ERROR,
    REMOTE_FORCED,
    RESTART,
)

_BINARY_GROUPS = frozenset({1, 2, 3, 4, 10, 11})
_COUNTER_GROUPS = frozenset({20, 21, 22, 23})
_FLAG_OF_QUALITY = (
    (Quality.NOT_TOPICAL, COMM_LOST),
    (Quality.SUBSTITUTED, LOCAL_FORCED),
)


def _flags(quality: Quality, *, has_range: bool) -> int:
    flags = 0 if quality & Quality.INVALID else ONLINE
    for bit, flag in _FLAG_OF_QUALITY:
        flags |= flag if quality & bit else 0
    return flags | OVER_RANGE if has_range and quality & Quality.OVERFLOW else flags


_FLAGS = {has_range: tuple(_flags(Quality(q), has_range=has_range) for q in range(256)) for has_range in (False, True)}


def flags_of(quality: Quality, group: int) -> int:
    """The flag octet of a quality in objects of ``group``; binary objects have no place for OVERFLOW."""
    return _FLAGS[group not in _BINARY_GROUPS][quality]


def quality_of(flags: int, group: int) -> Quality:
    """The quality that a flag octet of ``group`` says."""
    return _QUALITIES[0 if group in _BINARY_GROUPS else 1 if group in _COUNTER_GROUPS else 2][flags]


def _quality(flags: int, kind: int) -> Quality:
    quality = Quality.GOOD if flags & ONLINE and not flags & RESTART else Quality.INVALID
    if flags & COMM_LOST:
        quality |= Quality.NOT_TOPICAL
    if flags & (LOCAL_FORCED | REMOTE_FORCED):
        quality |= Quality.SUBSTITUTED
    if kind == 0 and flags & CHATTER_FILTER:
        quality |= Quality.INVALID
    if kind and flags & OVER_RANGE:
        quality |= Quality.OVERFLOW
    if kind == 2 and flags & REFERENCE_ERROR:
        quality |= Quality.INVALID
    return quality


_QUALITIES = tuple(tuple(_quality(flags, kind) for flags in range(256)) for kind in range(3))

_CROBS: dict[PointKind, dict[float, tuple[Operation, TripClose]]] = {
    PointKind.SINGLE_COMMAND: {
        0: (Operation.LATCH_OFF, TripClose.NUL),
        1: (Operation.LATCH_ON, TripClose.NUL),
    },
    PointKind.DOUBLE_COMMAND: {
        DoublePosition.OPEN: (Operation.PULSE_ON, TripClose.TRIP),
        DoublePosition.CLOSED: (Operation.PULSE_ON, TripClose.CLOSE),
    },
    PointKind.STEP_COMMAND: {
        -1: (Operation.PULSE_ON, TripClose.TRIP),
        1: (Operation.PULSE_ON, TripClose.CLOSE),
    },
}
_OFF_ON = {
    PointKind.SINGLE_COMMAND: (0.0, 1.0),
    PointKind.DOUBLE_COMMAND: (float(DoublePosition.OPEN), float(DoublePosition.CLOSED)),
    PointKind.STEP_COMMAND: (-1.0, 1.0),
}
_MEANINGS: dict[tuple[int, int], int] = {
    (Operation.PULSE_ON, TripClose.CLOSE): 1,
    (Operation.PULSE_ON, TripClose.TRIP): 0,
    (Operation.PULSE_ON, TripClose.NUL): 1,
    (Operation.LATCH_ON, TripClose.NUL): 1,
    (Operation.LATCH_ON, TripClose.CLOSE): 1,
    (Operation.LATCH_OFF, TripClose.NUL): 0,
    (Operation.LATCH_OFF, TripClose.TRIP): 0,
    (Operation.NUL, TripClose.CLOSE): 1,
    (Operation.NUL, TripClose.TRIP): 0,
}
"""What the control codes in use ask for: 1 on, close or raise; 0 off, trip or lower."""


def control_of(kind: PointKind, value: float, variation: int, pulse_ms: int) -> Control:
    """The control block of a command.

    Raises:
        UnencodableValueError: the kind has no such command.
    """
    if kind is PointKind.SETPOINT:
        if not math.isfinite(value):
            raise UnencodableValueError("set point", value, "a number")
        return AnalogOutput(value, variation)
    code = _CROBS[kind].get(value)
    if code is None:
        raise UnencodableValueError(kind.value, value, ", ".join(f"{known:g}" for known in _CROBS[kind]))
    on_ms = pulse_ms if code[0] is Operation.PULSE_ON else 0
    return Crob.of(*code, on_ms=on_ms)


def command_value(kind: PointKind, control: Control) -> float | None:
    """What a control block asks of an output of this kind; None if it cannot be asked so."""
    if isinstance(control, AnalogOutput):
        return control.value if kind is PointKind.SETPOINT and math.isfinite(control.value) else None
    if kind is PointKind.SETPOINT or control.count != 1:
        return None
    meaning = _MEANINGS.get((control.operation, control.trip_close))
    return None if meaning is None else _OFF_ON[kind][meaning]
