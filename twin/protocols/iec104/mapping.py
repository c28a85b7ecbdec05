"""Between the neutral point model and information elements, for both sides of a session.

Values that the wire cannot carry are clamped and flagged OVERFLOW; a number that is none (NaN) travels as
zero with INVALID. Step commands are -1 (lower) and +1 (higher) in the point model.

A bit string of type 20, 39 or 40 holds two fields of the element: in its low half the states, starts or circuits, in
its high half the change marks or the time in milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from twin.points.model import PointKind, Quality
from twin.protocols.iec104.asdu import Element
from twin.protocols.iec104.elements import (
    Bitstring,
    BitstringCommand,
    DoubleCommand,
    DoublePoint,
    IntegratedTotal,
    NormalizedValue,
    PackedSinglePoints,
    ProtectionEvent,
    ProtectionStart,
    ProtectionTrip,
    ScaledValue,
    SetpointFloat,
    SetpointNormalized,
    SetpointScaled,
    ShortFloat,
    SingleCommand,
    SinglePoint,
    StepCommand,
    StepPosition,
)
from twin.protocols.iec104.errors import UnencodableValueError
from twin.protocols.iec104.types import TypeId, plain_type

KIND_TYPES: dict[PointKind, tuple[TypeId, ...]] = {
    PointKind.SINGLE: (TypeId.M_SP_NA_1,),
    PointKind.DOUBLE: (TypeId.M_DP_NA_1, TypeId.M_EP_TD_1),
    PointKind.STEP_POSITION: (TypeId.M_ST_NA_1,),
    PointKind.MEASURAND: (TypeId.M_ME_NC_1, TypeId.M_ME_NB_1, TypeId.M_ME_NA_1, TypeId.M_ME_ND_1),
    PointKind.COUNTER: (TypeId.M_IT_NA_1,),
    PointKind.BITSTRING: (TypeId.M_BO_NA_1, TypeId.M_PS_NA_1, TypeId.M_EP_TE_1, TypeId.M_EP_TF_1),
    PointKind.SINGLE_COMMAND: (TypeId.C_SC_NA_1,),
    PointKind.DOUBLE_COMMAND: (TypeId.C_DC_NA_1,),
    PointKind.STEP_COMMAND: (TypeId.C_RC_NA_1,),
    PointKind.SETPOINT: (TypeId.C_SE_NC_1, TypeId.C_SE_NB_1, TypeId.C_SE_NA_1),
    PointKind.BITSTRING_COMMAND: (TypeId.C_BO_NA_1,),
}
"""The types a kind of point may have in the map: the plain ones, and those that exist with a time tag alone."""

EVENT_ONLY_TYPES = frozenset({TypeId.M_EP_TD_1, TypeId.M_EP_TE_1, TypeId.M_EP_TF_1})
"""Events of protection equipment: spontaneous only, never interrogated or read (IEC 60870-5-101, 7.3.1.20 to 22)."""

_OWN_ELEMENT = EVENT_ONLY_TYPES | {TypeId.M_PS_NA_1}

_OVERFLOW = Quality.OVERFLOW
_STATUS = ~Quality.OVERFLOW
_FLOAT32_MAX = (2 - 2**-23) * 2.0**127
_NORMALIZED_MAX = 32767 / 32768


def type_suits(kind: PointKind, type_id: int) -> bool:
    """Whether a type (with or without time tag) may carry a point of this kind."""
    return plain_type(type_id) in KIND_TYPES[kind]


def type_brings(kind: PointKind, mapped: int, type_id: int) -> bool:
    """Whether values of a point mapped to one type may arrive in another: any measured value, else the same element."""
    alike = plain_type(mapped) == plain_type(type_id) or not {mapped, type_id} & _OWN_ELEMENT
    return type_suits(kind, type_id) and alike


def _clamped(value: float, quality: Quality, least: float, most: float) -> tuple[float, Quality]:
    if math.isnan(value):
        return 0.0, quality | Quality.INVALID
    if least <= value <= most:
        return value, quality
    return min(max(value, least), most), quality | _OVERFLOW


def _single(value: float, quality: Quality) -> SinglePoint:
    return SinglePoint(bool(value), quality & _STATUS)


def _double(value: float, quality: Quality) -> DoublePoint:
    return DoublePoint(int(value) & 3, quality & _STATUS)


def _step(value: float, quality: Quality) -> StepPosition:
    position, quality = _clamped(value, quality, -64, 63)
    return StepPosition(round(position), quality=quality)


def _normalized(value: float, quality: Quality) -> NormalizedValue:
    return NormalizedValue(*_clamped(value, quality, -1.0, _NORMALIZED_MAX))


def _scaled(value: float, quality: Quality) -> ScaledValue:
    number, quality = _clamped(value, quality, -32768, 32767)
    return ScaledValue(round(number), quality)


def _float(value: float, quality: Quality) -> ShortFloat:
    return ShortFloat(*_clamped(value, quality, -_FLOAT32_MAX, _FLOAT32_MAX))


def _counter(value: float, quality: Quality) -> IntegratedTotal:
    count, quality = _clamped(value, quality, -(2**31), 2**31 - 1)
    carry, invalid = bool(quality & _OVERFLOW), bool(quality & Quality.INVALID)
    return IntegratedTotal(round(count), carry=carry, invalid=invalid)


def _normalized_alone(value: float, quality: Quality) -> NormalizedValue:
    return NormalizedValue(_normalized(value, quality).value)


def _halves(value: float, low: int, quality: Quality) -> tuple[int, int, Quality]:
    """The low half as far as the element has bits for it, the high half, and the quality."""
    bits, quality = _clamped(value, quality, 0, 2**32 - 1)
    number = round(bits)
    return number & low, number >> 16, quality


def _packed(value: float, quality: Quality) -> PackedSinglePoints:
    return PackedSinglePoints(*_halves(value, 0xFFFF, quality))


def _protection_event(value: float, quality: Quality) -> ProtectionEvent:
    """The point model has no elapsed time: it is marked as not valid."""
    return ProtectionEvent(int(value) & 3, 0, True, quality & _STATUS)


def _protection_start(value: float, quality: Quality) -> ProtectionStart:
    starts, duration_ms, quality = _halves(value, 0x3F, quality)
    return ProtectionStart(starts, duration_ms, quality=quality & _STATUS)


def _protection_trip(value: float, quality: Quality) -> ProtectionTrip:
    circuits, operating_ms, quality = _halves(value, 0x0F, quality)
    return ProtectionTrip(circuits, operating_ms, quality=quality & _STATUS)


def _bitstring(value: float, quality: Quality) -> Bitstring:
    bits, quality = _clamped(value, quality, 0, 2**32 - 1)
    return Bitstring(round(bits), quality)


_ELEMENTS: dict[int, Callable[[float, Quality], Element]] = {
    TypeId.M_SP_NA_1: _single,
    TypeId.M_DP_NA_1: _double,
    TypeId.M_ST_NA_1: _step,
    TypeId.M_ME_NA_1: _normalized,
    TypeId.M_ME_NB_1: _scaled,
    TypeId.M_ME_NC_1: _float,
    TypeId.M_IT_NA_1: _counter,
    TypeId.M_BO_NA_1: _bitstring,
    TypeId.M_PS_NA_1: _packed,
    TypeId.M_ME_ND_1: _normalized_alone,
    TypeId.M_EP_TD_1: _protection_event,
    TypeId.M_EP_TE_1: _protection_start,
    TypeId.M_EP_TF_1: _protection_trip,
}


def element_of(type_id: int, value: float, quality: Quality) -> Element:
    """The element that carries a sample's value and quality in an input type, with or without time tag."""
    return _ELEMENTS[plain_type(type_id)](value, quality)


def _total_value(element: IntegratedTotal) -> tuple[float, Quality]:
    carry = Quality.OVERFLOW if element.carry else Quality.GOOD
    return float(element.count), carry | (Quality.INVALID if element.invalid else Quality.GOOD)


_VALUES: dict[type, Callable[[Any], tuple[float, Quality]]] = {
    SinglePoint: lambda e: (float(e.value), e.quality),
    DoublePoint: lambda e: (float(e.position), e.quality),
    IntegratedTotal: _total_value,
    PackedSinglePoints: lambda e: (float(e.states | e.changes << 16), e.quality),
    ProtectionEvent: lambda e: (float(e.state), e.quality),
    ProtectionStart: lambda e: (float(e.starts | e.duration_ms << 16), e.quality),
    ProtectionTrip: lambda e: (float(e.circuits | e.operating_ms << 16), e.quality),
}


def value_of(element: Element) -> tuple[float, Quality]:
    """The neutral value and quality of an input element; a number that is not finite is zero and INVALID."""
    read = _VALUES.get(type(element))
    if read is not None:
        return read(element)
    value = float(element.value)
    if math.isfinite(value):
        return value, element.quality
    return 0.0, element.quality | Quality.INVALID


_COMMANDS: dict[int, Callable[[float, bool, int], Element]] = {
    TypeId.C_SC_NA_1: lambda value, select, qualifier: SingleCommand(bool(value), select, qualifier),
    TypeId.C_DC_NA_1: lambda value, select, qualifier: DoubleCommand(int(value) & 3, select, qualifier),
    TypeId.C_RC_NA_1: lambda value, select, qualifier: StepCommand(2 if value > 0 else 1, select, qualifier),
    TypeId.C_SE_NC_1: SetpointFloat,
    TypeId.C_SE_NB_1: lambda value, select, qualifier: SetpointScaled(round(value), select, qualifier),
    TypeId.C_SE_NA_1: SetpointNormalized,
    TypeId.C_BO_NA_1: lambda value, _select, _qualifier: BitstringCommand(round(value)),
}


def command_element(type_id: int, value: float, *, select: bool, qualifier: int = 0) -> Element:
    """The element of a command.

    Raises:
        UnencodableValueError: the command type cannot carry the value. A bit string has neither select nor qualifier.
    """
    make = _COMMANDS.get(plain_type(type_id))
    if make is None:
        raise UnencodableValueError("command type", type_id, "types 45 to 51 and 58 to 64")
    if not math.isfinite(value):
        raise UnencodableValueError("command", value, "a finite number")
    return make(value, select, qualifier)


def command_value(element: Element) -> float | None:
    """The neutral value of a command element; None if it is not permitted (double or step 0 and 3, no number)."""
    if isinstance(element, SingleCommand):
        return float(element.value)
    if isinstance(element, DoubleCommand):
        return float(element.position) if element.position in (1, 2) else None
    if isinstance(element, StepCommand):
        return {1: -1.0, 2: 1.0}.get(element.step)
    value = float(element.value)
    return value if math.isfinite(value) else None
