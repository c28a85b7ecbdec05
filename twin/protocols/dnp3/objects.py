"""The objects that carry point values and times (IEEE 1815, annex A), as one table.

A *reading* is ``(value, flags, time)``: a number, the flag octet (state bits taken out; the status octet for
command events and analogue output blocks), and UTC milliseconds since 1970 (offset to the common time of
occurrence for relative times; 0 where the object has none). Binary values are 0 or 1, double-bit 0 to 3.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twin.protocols.dnp3.errors import UnencodableValueError

Reading = tuple[float, int, int]
Item = tuple[int, float, int, int]
"""(index, value, flags, time)."""

ONLINE, RESTART, COMM_LOST, REMOTE_FORCED, LOCAL_FORCED = 0x01, 0x02, 0x04, 0x08, 0x10
CHATTER_FILTER = 0x20
ROLLOVER = 0x20
OVER_RANGE, REFERENCE_ERROR = 0x20, 0x40
MAX_TIME = 2**48 - 1
_FLOAT32_MAX = (2 - 2**-23) * 2.0**127
_TIME = {"": "", "abs": "IH", "rel": "H"}
_RANGES = {
    "b": (-128, 127),
    "h": (-(2**15), 2**15 - 1),
    "i": (-(2**31), 2**31 - 1),
    "f": (-_FLOAT32_MAX, _FLOAT32_MAX),
    "d": (-math.inf, math.inf),
}
_WRAPS = {"H": 0xFFFF, "I": 0xFFFFFFFF}


class ObjectSpec:
    """How one object is laid out: flags, value, time.

    ``value`` is ``bit`` or ``dbit`` (in the flag octet), ``packed1``/``packed2`` (bits alone, ranges only), a struct
    code, or empty for objects of time alone. ``size`` is octets an object (0 for packed ones).
    """

    def __init__(self, group: int, variation: int, value: str, *, flags: bool = False, time: str = "") -> None:
        self.group, self.variation = group, variation
        self.value, self.flags, self.time = value, flags, time
        self.bits = {"packed1": 1, "packed2": 2}.get(value, 0)
        body = "" if self.bits else ("B" if flags else "") + (value if len(value) == 1 else "") + _TIME[time]
        self.size = struct.calcsize("<" + body)
        self._plain = struct.Struct("<" + body)
        self._prefixed = {1: struct.Struct("<B" + body), 2: struct.Struct("<H" + body)}
        self._fields = _encoder(self)
        self._reading = _decoder(self)

    def __repr__(self) -> str:
        return f"g{self.group}v{self.variation}"

    def pack(self, readings: Iterable[Reading]) -> bytes:
        """Objects one after the other, without index."""
        if self.bits:
            return _pack_bits([int(value) for value, _, _ in readings], self.bits)
        pack, fields = self._plain.pack, self._fields
        return b"".join([pack(*fields(*reading)) for reading in readings])

    def pack_indexed(self, items: Iterable[Item], width: int) -> bytes:
        """Objects each behind its index of ``width`` octets (1 or 2)."""
        pack, fields = self._prefixed[width].pack, self._fields
        return b"".join([pack(index, *fields(value, flags, t)) for index, value, flags, t in items])

    def unpack(self, octets: bytes, count: int) -> list[Reading]:
        """``count`` objects without index; the caller has checked their octets."""
        if self.bits:
            return [(float(value), ONLINE, 0) for value in _unpack_bits(octets, count, self.bits)]
        reading = self._reading
        return [reading(*row) for row in self._plain.iter_unpack(octets)]

    def unpack_indexed(self, octets: bytes, width: int) -> list[Item]:
        """Objects each behind its index."""
        reading = self._reading
        return [(row[0], *reading(*row[1:])) for row in self._prefixed[width].iter_unpack(octets)]

    def octets(self, count: int) -> int:
        """The size of ``count`` objects without index."""
        return -(-count * self.bits // 8) if self.bits else count * self.size


def _pack_bits(values: Sequence[int], bits: int) -> bytes:
    number, mask = 0, (1 << bits) - 1
    for place, value in enumerate(values):
        number |= (value & mask) << place * bits
    return number.to_bytes(-(-len(values) * bits // 8), "little")


def _unpack_bits(octets: bytes, count: int, bits: int) -> list[int]:
    number, mask = int.from_bytes(octets, "little"), (1 << bits) - 1
    return [number >> place * bits & mask for place in range(count)]


def _time_fields(spec: ObjectSpec) -> Callable[[int], tuple[int, ...]]:
    if spec.time == "abs":
        return lambda t: (t & 0xFFFFFFFF, t >> 32 & 0xFFFF)
    if spec.time == "rel":
        return lambda t: (t,)
    return lambda t: ()


def _encoder(spec: ObjectSpec) -> Callable[[float, int, int], tuple[Any, ...]]:
    """(value, flags, time) to the fields of the object."""
    times = _time_fields(spec)
    if spec.value in ("bit", "dbit"):
        shift, mask, most = (7, 0x7F, 1) if spec.value == "bit" else (6, 0x3F, 3)
        return lambda value, flags, t: (flags & mask | (int(value) & most) << shift, *times(t))
    if not spec.value or spec.bits:
        return lambda value, flags, t: times(t)
    number = _number(spec.value)
    if spec.flags and spec.time == "abs" and spec.value in "fd":
        return _timed_float(number, *_RANGES[spec.value])
    if spec.flags:
        return lambda value, flags, t: (*number(value, flags), *times(t))
    return lambda value, flags, t: (number(value, flags)[1], *times(t))


def _timed_float(
    number: Callable[[float, int], tuple[int, Any]], least: float, most: float
) -> Callable[[float, int, int], tuple[Any, ...]]:
    """The usual events of measurands, with no call inside but for values that do not fit."""

    def fields(value: float, flags: int, t: int) -> tuple[Any, ...]:
        if least <= value <= most:
            return flags, value, t & 0xFFFFFFFF, t >> 32 & 0xFFFF
        return (*number(value, flags), t & 0xFFFFFFFF, t >> 32 & 0xFFFF)

    return fields


def _number(code: str) -> Callable[[float, int], tuple[int, Any]]:
    """(value, flags) to (flags, what the field holds): clamped and flagged OVER_RANGE, counters modulo their size."""
    if code == "B":
        return lambda value, flags: (flags, int(value) & 0xFF)
    if code in _WRAPS:
        mask = _WRAPS[code]
        return lambda value, flags: (flags, int(value) & mask) if math.isfinite(value) else (flags & ~ONLINE, 0)
    least, most = _RANGES[code]
    whole = code not in "fd"

    def number(value: float, flags: int) -> tuple[int, Any]:
        if least <= value <= most:
            return flags, round(value) if whole else value
        if value != value:
            return flags & ~ONLINE, 0
        return flags | OVER_RANGE, least if value < least else most

    return number


def _decoder(spec: ObjectSpec) -> Callable[..., Reading]:
    """The fields of the object to (value, flags, time)."""
    if spec.value in ("bit", "dbit"):
        shift, mask = (7, 0x7F) if spec.value == "bit" else (6, 0x3F)
        if spec.time == "abs":
            return lambda octet, low, high: (float(octet >> shift), octet & mask, low | high << 32)
        return lambda octet, t=0: (float(octet >> shift), octet & mask, t)
    if not spec.value:
        return lambda low, high=0: (0.0, ONLINE, low | high << 32)
    if spec.flags:
        if spec.time == "abs":
            return lambda flags, value, low, high: (float(value), flags, low | high << 32)
        return lambda flags, value: (float(value), flags, 0)
    return lambda value: (float(value), ONLINE, 0)


def _table() -> dict[tuple[int, int], ObjectSpec]:
    spec = ObjectSpec
    specs = [spec(1, 1, "packed1"), spec(1, 2, "bit", flags=True)]
    specs += [spec(3, 1, "packed2"), spec(3, 2, "dbit", flags=True)]
    specs += [spec(10, 1, "packed1"), spec(10, 2, "bit", flags=True), spec(80, 1, "packed1")]
    for group, value in ((2, "bit"), (4, "dbit")):
        specs += [spec(group, v, value, flags=True, time=t) for v, t in ((1, ""), (2, "abs"), (3, "rel"))]
    for group in (11, 13):
        specs += [spec(group, v, "bit", flags=True, time=t) for v, t in ((1, ""), (2, "abs"))]
    for group in (20, 21):
        specs += [spec(group, v, code, flags=True) for v, code in ((1, "I"), (2, "H"))]
    specs += [spec(20, v, code) for v, code in ((5, "I"), (6, "H"))]
    specs += [spec(21, v, code, flags=True, time="abs") for v, code in ((5, "I"), (6, "H"))]
    specs += [spec(21, v, code) for v, code in ((9, "I"), (10, "H"))]
    for group in (22, 23):
        specs += [spec(group, v, code, flags=True) for v, code in ((1, "I"), (2, "H"))]
        specs += [spec(group, v, code, flags=True, time="abs") for v, code in ((5, "I"), (6, "H"))]
    specs += [spec(30, v, code, flags=True) for v, code in ((1, "i"), (2, "h"), (5, "f"), (6, "d"))]
    specs += [spec(30, v, code) for v, code in ((3, "i"), (4, "h"))]
    specs += [spec(31, v, code, flags=True) for v, code in ((1, "i"), (2, "h"), (7, "f"), (8, "d"))]
    specs += [spec(31, v, code, flags=True, time="abs") for v, code in ((3, "i"), (4, "h"))]
    specs += [spec(31, v, code) for v, code in ((5, "i"), (6, "h"))]
    for group in (32, 33, 42, 43):
        specs += [spec(group, v, code, flags=True) for v, code in ((1, "i"), (2, "h"), (5, "f"), (6, "d"))]
        timed = ((3, "i"), (4, "h"), (7, "f"), (8, "d"))
        specs += [spec(group, v, code, flags=True, time="abs") for v, code in timed]
    specs += [spec(34, v, code) for v, code in ((1, "H"), (2, "I"), (3, "f"))]
    specs += [spec(40, v, code, flags=True) for v, code in ((1, "i"), (2, "h"), (3, "f"), (4, "d"))]
    specs += [spec(50, 1, "", time="abs"), spec(50, 3, "", time="abs"), spec(51, 1, "", time="abs")]
    specs += [spec(51, 2, "", time="abs"), spec(52, 1, "", time="rel"), spec(52, 2, "", time="rel")]
    specs += [spec(group, BITSTRING_OCTETS, "I") for group in (110, 111)]
    return {(s.group, s.variation): s for s in specs}


BITSTRING_OCTETS = 4
"""The octet strings that carry a bit string: four octets, the one with bits 0 to 7 first. Others are opaque."""

SPECS = _table()
"""Every object that carries readings, by group and variation."""

OPAQUE_SIZES = {(12, 1): 11, (41, 1): 5, (41, 2): 3, (41, 3): 5, (41, 4): 9, (50, 2): 10, (50, 4): 11}
"""Sizes of the objects that ``controls`` and ``times`` read."""

STATIC_GROUPS = (1, 3, 10, 20, 21, 30, 31, 34, 40, 110)
EVENT_OF_STATIC = {1: 2, 3: 4, 10: 11, 20: 22, 21: 23, 30: 32, 31: 33, 40: 42, 110: 111}
"""The event group of each static group."""
STATIC_OF_EVENT = {event: static for static, event in EVENT_OF_STATIC.items()}
VARIATIONS = {group: tuple(v for g, v in SPECS if g == group) for group in {g for g, _ in SPECS}}
"""The variations of each group with readings."""


def object_size(group: int, variation: int) -> int | None:
    """Octets of one object of fixed size; 0 if it is packed; None if it is unknown or of variable size."""
    spec = SPECS.get((group, variation))
    if spec is not None:
        return spec.size
    if group in (110, 111) and variation:
        return variation
    return OPAQUE_SIZES.get((group, variation))


def time_octets(t_ms: int) -> bytes:
    """UTC milliseconds since 1970 as the six octets of DNP3 time.

    Raises:
        UnencodableValueError: it does not fit 48 bits.
    """
    if not 0 <= t_ms <= MAX_TIME:
        raise UnencodableValueError("time", t_ms, "0 to 2**48 - 1")
    return t_ms.to_bytes(6, "little")
