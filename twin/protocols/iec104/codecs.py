"""Codecs of the information elements: how each lies on the wire (IEC 60870-5-101, 7.2.6).

Each codec knows its size, how to read its element and how to write it; names follow the standard.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twin.points.model import Quality
from twin.protocols.iec104.elements import (
    Bitstring,
    BitstringCommand,
    CounterInterrogation,
    DoubleCommand,
    DoublePoint,
    Empty,
    EndOfInitialization,
    IntegratedTotal,
    Interrogation,
    NormalizedValue,
    PackedSinglePoints,
    ParameterActivation,
    ParameterFloat,
    ParameterNormalized,
    ParameterScaled,
    ProtectionEvent,
    ProtectionStart,
    ProtectionTrip,
    ResetProcess,
    ScaledValue,
    SetpointFloat,
    SetpointNormalized,
    SetpointScaled,
    ShortFloat,
    SingleCommand,
    SinglePoint,
    StepCommand,
    StepPosition,
    TestWord,
)
from twin.protocols.iec104.errors import UnencodableValueError

_STATUS_FLAGS = 0xF0  # BL SB NT IV, shared by SIQ and DIQ
_VALUE_FLAGS = 0xF1  # and OV, in QDS
_QUALITY = {bits: Quality(bits) for high in range(16) for bits in (high << 4, high << 4 | 1)}


@dataclass(frozen=True, slots=True)
class ElementCodec:
    """How one kind of element lies on the wire: ``decode(octets, at)`` trusts that ``size`` octets are there."""

    element: type
    size: int
    decode: Callable[[bytes, int], Any]
    encode: Callable[[Any], bytes]


_I16 = struct.Struct("<h")
_U16 = struct.Struct("<H")
_I32 = struct.Struct("<i")
_U32 = struct.Struct("<I")
_F32 = struct.Struct("<f")


def _bounded(field: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise UnencodableValueError(field, value, f"{least} to {most}")
    return value


def _flags(field: str, quality: Quality, allowed: int) -> int:
    flags = int(quality)
    if flags & ~allowed:
        raise UnencodableValueError(field, quality, f"the flags 0x{allowed:02x}")
    return flags


def _float32(value: float) -> bytes:
    try:
        return _F32.pack(value)
    except OverflowError:
        raise UnencodableValueError("short floating point number", value, "single precision") from None


def _normalized(value: float) -> bytes:
    if not -1.0 <= value < 1.0:
        raise UnencodableValueError("normalised value", value, "-1 to 1-2^-15")
    return _I16.pack(min(round(value * 32768), 32767))


def _quality(octet: int) -> Quality:
    return _QUALITY[octet & _VALUE_FLAGS]


def _decode_single_point(octets: bytes, at: int) -> SinglePoint:
    return SinglePoint(bool(octets[at] & 1), _QUALITY[octets[at] & _STATUS_FLAGS])


def _encode_single_point(e: SinglePoint) -> bytes:
    return bytes((bool(e.value) | _flags("SIQ", e.quality, _STATUS_FLAGS),))


def _decode_double_point(octets: bytes, at: int) -> DoublePoint:
    return DoublePoint(octets[at] & 3, _QUALITY[octets[at] & _STATUS_FLAGS])


def _encode_double_point(e: DoublePoint) -> bytes:
    return bytes((_bounded("double point", e.position, 0, 3) | _flags("DIQ", e.quality, _STATUS_FLAGS),))


def _decode_step_position(octets: bytes, at: int) -> StepPosition:
    raw = octets[at] & 0x7F
    return StepPosition(raw - 128 if raw > 63 else raw, bool(octets[at] & 0x80), _quality(octets[at + 1]))


def _encode_step_position(e: StepPosition) -> bytes:
    value = _bounded("step position", e.value, -64, 63) & 0x7F
    return bytes((value | e.transient << 7, _flags("QDS", e.quality, _VALUE_FLAGS)))


def _with_quality(e: Any) -> bytes:
    return bytes((_flags("QDS", e.quality, _VALUE_FLAGS),))


def _encode_integrated_total(e: IntegratedTotal) -> bytes:
    flags = _bounded("counter sequence", e.sequence, 0, 31) | e.carry << 5 | e.adjusted << 6 | e.invalid << 7
    return _I32.pack(_bounded("counter", e.count, -(2**31), 2**31 - 1)) + bytes((flags,))


def _decode_integrated_total(octets: bytes, at: int) -> IntegratedTotal:
    flags = octets[at + 4]
    (count,) = _I32.unpack_from(octets, at)
    return IntegratedTotal(count, flags & 31, bool(flags & 0x20), bool(flags & 0x40), bool(flags & 0x80))


def _encode_packed(e: PackedSinglePoints) -> bytes:
    states, changes = _bounded("states", e.states, 0, 0xFFFF), _bounded("changes", e.changes, 0, 0xFFFF)
    return _U16.pack(states) + _U16.pack(changes) + _with_quality(e)


def _decode_packed(octets: bytes, at: int) -> PackedSinglePoints:
    states, changes = _U16.unpack_from(octets, at)[0], _U16.unpack_from(octets, at + 2)[0]
    return PackedSinglePoints(states, changes, _quality(octets[at + 4]))


def _protection_quality(e: Any) -> int:
    return _flags("QDP", e.quality, _STATUS_FLAGS) | bool(e.elapsed_invalid) << 3


def _encode_protection_event(e: ProtectionEvent) -> bytes:
    head = _bounded("protection event", e.state, 0, 3) | _protection_quality(e)
    return bytes((head,)) + _U16.pack(_bounded("elapsed time", e.elapsed_ms, 0, 0xFFFF))


def _decode_protection_event(octets: bytes, at: int) -> ProtectionEvent:
    head = octets[at]
    (elapsed,) = _U16.unpack_from(octets, at + 1)
    return ProtectionEvent(head & 3, elapsed, bool(head & 8), _QUALITY[head & _STATUS_FLAGS])


def _encode_protection_bits(bits: int, most: int, e: Any, duration_ms: int) -> bytes:
    head = bytes((_bounded("protection bits", bits, 0, most), _protection_quality(e)))
    return head + _U16.pack(_bounded("duration", duration_ms, 0, 0xFFFF))


def _protection_bits(cls: type, most: int) -> Callable[[bytes, int], Any]:
    def decode(octets: bytes, at: int) -> Any:
        quality = octets[at + 1]
        (duration,) = _U16.unpack_from(octets, at + 2)
        return cls(octets[at] & most, duration, bool(quality & 8), _QUALITY[quality & _STATUS_FLAGS])

    return decode


def _qualified(e: Any, most: int, shift: int) -> int:
    return _bounded("qualifier of command", e.qualifier, 0, most) << shift | bool(e.select) << 7


def _encode_double_command(e: DoubleCommand) -> bytes:
    return bytes((_bounded("double command", e.position, 0, 3) | _qualified(e, 31, 2),))


def _encode_step_command(e: StepCommand) -> bytes:
    return bytes((_bounded("regulating step", e.step, 0, 3) | _qualified(e, 31, 2),))


def _command(cls: type, mask: int) -> Callable[[bytes, int], Any]:
    def decode(octets: bytes, at: int) -> Any:
        octet = octets[at]
        value = bool(octet & 1) if mask == 1 else octet & mask
        return cls(value, bool(octet & 0x80), octet >> 2 & 31)

    return decode


def _setpoint(cls: type, read: Callable[[bytes, int], Any], width: int) -> Callable[[bytes, int], Any]:
    return lambda octets, at: cls(read(octets, at), bool(octets[at + width] & 0x80), octets[at + width] & 0x7F)


def _setpoint_octet(e: Any) -> bytes:
    return bytes((_qualified(e, 127, 0),))


def _measured(cls: type, read: Callable[[bytes, int], Any], width: int) -> Callable[[bytes, int], Any]:
    return lambda octets, at: cls(read(octets, at), _quality(octets[at + width]))


def _parameter(cls: type, read: Callable[[bytes, int], Any], width: int) -> Callable[[bytes, int], Any]:
    return lambda octets, at: cls(read(octets, at), octets[at + width])


def _octet(e: Any) -> bytes:
    return bytes((_bounded("qualifier", e.qualifier, 0, 255),))


def _read_normalized(octets: bytes, at: int) -> float:
    return float(_I16.unpack_from(octets, at)[0]) / 32768


def _read_scaled(octets: bytes, at: int) -> int:
    return int(_I16.unpack_from(octets, at)[0])


def _read_float(octets: bytes, at: int) -> float:
    return float(_F32.unpack_from(octets, at)[0])


def _read_u32(octets: bytes, at: int) -> int:
    return int(_U32.unpack_from(octets, at)[0])


def _scaled(value: int) -> bytes:
    return _I16.pack(_bounded("scaled value", value, -32768, 32767))


def _u16(value: int) -> bytes:
    return _U16.pack(_bounded("16-bit word", value, 0, 0xFFFF))


def _u32(value: int) -> bytes:
    return _U32.pack(_bounded("bit string", value, 0, 0xFFFFFFFF))


def _encode_normalized_alone(e: NormalizedValue) -> bytes:
    _flags("normalised value without quality", e.quality, 0)
    return _normalized(e.value)


def _decode_empty(_octets: bytes, _at: int) -> Empty:
    return Empty()


def _encode_empty(_e: Empty) -> bytes:
    return b""


def _encode_single_command(e: SingleCommand) -> bytes:
    return bytes((bool(e.value) | _qualified(e, 31, 2),))


def _encode_initialization(e: EndOfInitialization) -> bytes:
    return bytes((_bounded("cause of initialisation", e.cause, 0, 127) | e.parameters_changed << 7,))


def _encode_counter_interrogation(e: CounterInterrogation) -> bytes:
    request = _bounded("counter request", e.request, 0, 63)
    return bytes((request | _bounded("counter freeze", e.freeze, 0, 3) << 6,))


EMPTY = ElementCodec(Empty, 0, _decode_empty, _encode_empty)
SIQ = ElementCodec(SinglePoint, 1, _decode_single_point, _encode_single_point)
DIQ = ElementCodec(DoublePoint, 1, _decode_double_point, _encode_double_point)
VTI_QDS = ElementCodec(StepPosition, 2, _decode_step_position, _encode_step_position)
BSI_QDS = ElementCodec(Bitstring, 5, _measured(Bitstring, _read_u32, 4), lambda e: _u32(e.value) + _with_quality(e))
NVA_QDS = ElementCodec(
    NormalizedValue,
    3,
    _measured(NormalizedValue, _read_normalized, 2),
    lambda e: _normalized(e.value) + _with_quality(e),
)
NVA = ElementCodec(
    NormalizedValue, 2, lambda octets, at: NormalizedValue(_read_normalized(octets, at)), _encode_normalized_alone
)
SVA_QDS = ElementCodec(
    ScaledValue, 3, _measured(ScaledValue, _read_scaled, 2), lambda e: _scaled(e.value) + _with_quality(e)
)
R32_QDS = ElementCodec(
    ShortFloat, 5, _measured(ShortFloat, _read_float, 4), lambda e: _float32(e.value) + _with_quality(e)
)
BCR = ElementCodec(IntegratedTotal, 5, _decode_integrated_total, _encode_integrated_total)
SCD_QDS = ElementCodec(PackedSinglePoints, 5, _decode_packed, _encode_packed)
SEP_CP16 = ElementCodec(ProtectionEvent, 3, _decode_protection_event, _encode_protection_event)
SPE_QDP_CP16 = ElementCodec(
    ProtectionStart,
    4,
    _protection_bits(ProtectionStart, 0x3F),
    lambda e: _encode_protection_bits(e.starts, 0x3F, e, e.duration_ms),
)
OCI_QDP_CP16 = ElementCodec(
    ProtectionTrip,
    4,
    _protection_bits(ProtectionTrip, 0x0F),
    lambda e: _encode_protection_bits(e.circuits, 0x0F, e, e.operating_ms),
)
SCO = ElementCodec(SingleCommand, 1, _command(SingleCommand, 1), _encode_single_command)
DCO = ElementCodec(DoubleCommand, 1, _command(DoubleCommand, 3), _encode_double_command)
RCO = ElementCodec(StepCommand, 1, _command(StepCommand, 3), _encode_step_command)
NVA_QOS = ElementCodec(
    SetpointNormalized,
    3,
    _setpoint(SetpointNormalized, _read_normalized, 2),
    lambda e: _normalized(e.value) + _setpoint_octet(e),
)
SVA_QOS = ElementCodec(
    SetpointScaled, 3, _setpoint(SetpointScaled, _read_scaled, 2), lambda e: _scaled(e.value) + _setpoint_octet(e)
)
R32_QOS = ElementCodec(
    SetpointFloat, 5, _setpoint(SetpointFloat, _read_float, 4), lambda e: _float32(e.value) + _setpoint_octet(e)
)
BSI = ElementCodec(
    BitstringCommand, 4, lambda octets, at: BitstringCommand(_read_u32(octets, at)), lambda e: _u32(e.value)
)
COI = ElementCodec(
    EndOfInitialization,
    1,
    lambda octets, at: EndOfInitialization(octets[at] & 0x7F, bool(octets[at] & 0x80)),
    _encode_initialization,
)
QOI = ElementCodec(Interrogation, 1, lambda octets, at: Interrogation(octets[at]), _octet)
QCC = ElementCodec(
    CounterInterrogation,
    1,
    lambda octets, at: CounterInterrogation(octets[at] & 0x3F, octets[at] >> 6),
    _encode_counter_interrogation,
)
QRP = ElementCodec(ResetProcess, 1, lambda octets, at: ResetProcess(octets[at]), _octet)
WORD = ElementCodec(
    TestWord, 2, lambda octets, at: TestWord(int(_U16.unpack_from(octets, at)[0])), lambda e: _u16(e.value)
)
NVA_QPM = ElementCodec(
    ParameterNormalized,
    3,
    _parameter(ParameterNormalized, _read_normalized, 2),
    lambda e: _normalized(e.value) + _octet(e),
)
SVA_QPM = ElementCodec(
    ParameterScaled, 3, _parameter(ParameterScaled, _read_scaled, 2), lambda e: _scaled(e.value) + _octet(e)
)
R32_QPM = ElementCodec(
    ParameterFloat, 5, _parameter(ParameterFloat, _read_float, 4), lambda e: _float32(e.value) + _octet(e)
)
QPA = ElementCodec(ParameterActivation, 1, lambda octets, at: ParameterActivation(octets[at]), _octet)
