"""The fast way of an input's value into octets against the codecs and value objects it stands for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.points.model import Quality
from twin.protocols.iec104 import TYPES, TimeTag
from twin.protocols.iec104.mapping import KIND_TYPES, element_of
from twin.protocols.iec104.point_octets import TagOctets, point_octets
from twin.protocols.iec104.timetag import encode_time_tag
from twin.protocols.iec104.types import tagged_type
from twin.timebase import TimeBase

INPUT_TYPES = [int(t) for kind, types in KIND_TYPES.items() if not kind.is_output for t in types]
QUALITY = st.sampled_from([Quality(high << 4 | low) for high in range(16) for low in (0, 1)])
VALUES = st.floats() | st.integers(-(2**33), 2**33).map(float) | st.integers(0, 3).map(float)


@pytest.mark.parametrize("type_id", [*INPUT_TYPES, *(tagged_type(t) for t in INPUT_TYPES)])
def test_point_octets__equal_those_of_the_codec(type_id: int) -> None:
    octets_of = point_octets(type_id)
    whole = type_id in (3, 31, 38)

    @settings(max_examples=150, deadline=None)
    @given(st.integers(0, 3).map(float) if whole else VALUES, QUALITY)
    def compare(value: float, quality: Quality) -> None:
        assert octets_of(value, quality) == TYPES[type_id].codec.encode(element_of(type_id, value, quality))

    compare()


@settings(max_examples=200, deadline=None)
@given(st.datetimes(datetime(1990, 1, 1), datetime(2080, 1, 1)), st.lists(st.integers(0, 2**38), max_size=5))
def test_tag_octets__equal_those_of_the_time_tag(start: datetime, times: list[int]) -> None:
    base = TimeBase(start.replace(tzinfo=UTC))
    tags = TagOctets(base)
    for t_ms in times:
        for invalid in (False, True):
            assert tags.at(t_ms, invalid=invalid) == encode_time_tag(TimeTag.at(t_ms, base, invalid=invalid))
