"""CP56Time2a, the seven-octet binary time (IEC 60870-5-101, 7.2.6.18), always UTC here.

A tag keeps the fields as they came, also those that are no calendar date (clocks that were never
set send month 0); only :meth:`TimeTag.sim_time` judges them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from twin.protocols.iec104.errors import UnencodableValueError
from twin.timebase import SimTime, TimeBase

TIME_TAG_SIZE = 7
_LAYOUT = struct.Struct("<HBBBBB")
_MILLISECOND = timedelta(milliseconds=1)
_FIELDS = (
    ("millisecond", 0xFFFF),
    ("minute", 0x3F),
    ("hour", 0x1F),
    ("day", 0x1F),
    ("weekday", 0x07),
    ("month", 0x0F),
    ("year", 0x7F),
)


@dataclass(frozen=True, slots=True)
class TimeTag:
    """Fields as on the wire: ``millisecond`` 0…59999 within the minute, ``year`` 0…99, ``weekday`` 0 (not used)…7."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    millisecond: int
    weekday: int = 0
    invalid: bool = False
    substituted: bool = False
    summer_time: bool = False

    @classmethod
    def at(cls, t_ms: SimTime, time_base: TimeBase, *, invalid: bool = False) -> TimeTag:
        """The tag of a simulation time."""
        i = time_base.instant(t_ms)
        millisecond = i.second * 1000 + i.microsecond // 1000
        return cls(i.year % 100, i.month, i.day, i.hour, i.minute, millisecond, invalid=invalid)

    def sim_time(self, time_base: TimeBase) -> SimTime | None:
        """The simulation time of this tag, within 50 years of the run; None if it is no calendar date."""
        start = time_base.start.astimezone(UTC)
        year = start.year + (self.year - start.year + 50) % 100 - 50
        if self.millisecond > 59_999:
            return None
        try:
            minute = datetime(year, self.month, self.day, self.hour, self.minute, tzinfo=UTC)
        except ValueError:
            return None
        instant = minute + self.millisecond * _MILLISECOND
        return -((start - instant) // _MILLISECOND)  # rounded up, the inverse of the tag's rounding down


@lru_cache(maxsize=1024)
def encode_time_tag(tag: TimeTag) -> bytes:
    """The seven octets of a tag.

    Raises:
        UnencodableValueError: a field is wider than its bits.
    """
    for name, most in _FIELDS:
        if not 0 <= getattr(tag, name) <= most:
            raise UnencodableValueError(f"time tag {name}", getattr(tag, name), f"0 to {most}")
    return _LAYOUT.pack(
        tag.millisecond,
        tag.minute | tag.substituted << 6 | tag.invalid << 7,
        tag.hour | tag.summer_time << 7,
        tag.day | tag.weekday << 5,
        tag.month,
        tag.year,
    )


def decode_time_tag(octets: bytes, at: int) -> TimeTag:
    """The tag in the seven octets from ``at``; the caller has checked that they are there."""
    return _decode(octets[at : at + TIME_TAG_SIZE])


@lru_cache(maxsize=1024)
def _decode(octets: bytes) -> TimeTag:
    """Cached, as is encoding: the events of one instant share their tag."""
    millisecond, minute, hour, day, month, year = _LAYOUT.unpack(octets)
    return TimeTag(
        year & 0x7F,
        month & 0x0F,
        day & 0x1F,
        hour & 0x1F,
        minute & 0x3F,
        millisecond,
        weekday=day >> 5,
        invalid=bool(minute & 0x80),
        substituted=bool(minute & 0x40),
        summer_time=bool(hour & 0x80),
    )
