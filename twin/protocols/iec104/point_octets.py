"""The octets of an input's value and quality, without a value object in between: the hot path of a station.

Gives what ``element_of`` and the codecs give, octet by octet; what is rare (out of range, no number) goes that way.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from twin.points.model import Quality
from twin.protocols.iec104.mapping import element_of
from twin.protocols.iec104.timetag import TimeTag, encode_time_tag
from twin.protocols.iec104.types import TYPES, TypeId, plain_type
from twin.timebase import SimTime, TimeBase

PointOctets = Callable[[float, Quality], bytes]
"""Value and quality to the octets of the element."""

_FLOAT = struct.Struct("<fB")
_I16 = struct.Struct("<hB")
_U16 = struct.Struct("<H")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FLOAT32_MAX = (2 - 2**-23) * 2.0**127
_STATUS_FLAGS = 0xF0
_OCTET = tuple(bytes((n,)) for n in range(256))


def _by_codec(type_id: int) -> PointOctets:
    encode = TYPES[type_id].codec.encode
    return lambda value, quality: encode(element_of(type_id, value, quality))


def _single(value: float, quality: Quality) -> bytes:
    return _OCTET[(value != 0) | quality._value_ & _STATUS_FLAGS]


def _double(value: float, quality: Quality) -> bytes:
    return _OCTET[int(value) & 3 | quality._value_ & _STATUS_FLAGS]


def _float(value: float, quality: Quality) -> bytes:
    if -_FLOAT32_MAX <= value <= _FLOAT32_MAX:
        return _FLOAT.pack(value, quality)
    return _SLOW_FLOAT(value, quality)


def _scaled(value: float, quality: Quality) -> bytes:
    if -32768 <= value <= 32767:
        return _I16.pack(round(value), quality)
    return _SLOW_SCALED(value, quality)


_SLOW_FLOAT = _by_codec(TypeId.M_ME_NC_1)
_SLOW_SCALED = _by_codec(TypeId.M_ME_NB_1)
_FAST: dict[int, PointOctets] = {
    TypeId.M_SP_NA_1: _single,
    TypeId.M_DP_NA_1: _double,
    TypeId.M_ME_NB_1: _scaled,
    TypeId.M_ME_NC_1: _float,
}


def point_octets(type_id: int) -> PointOctets:
    """How a point of an input type, with or without time tag, puts its value and quality into octets."""
    plain = plain_type(type_id)
    return _FAST.get(plain) or _by_codec(plain)


class TagOctets:
    """CP56Time2a of simulation times as octets; the octets of a minute are made once."""

    def __init__(self, time_base: TimeBase) -> None:
        self._time_base = time_base
        self._offset_ms = (time_base.start.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)
        self._minute = -1
        self._head = b""

    def at(self, t_ms: SimTime, *, invalid: bool = False) -> bytes:
        """The seven octets of an instant; ``invalid`` sets IV."""
        minute, millisecond = divmod(t_ms + self._offset_ms, 60_000)
        if minute != self._minute:
            self._minute = minute
            self._head = encode_time_tag(TimeTag.at(t_ms, self._time_base))[2:]
        octets = _U16.pack(millisecond) + self._head
        return octets if not invalid else octets[:2] + _OCTET[octets[2] | 0x80] + octets[3:]
