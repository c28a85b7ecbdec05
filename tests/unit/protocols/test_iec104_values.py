"""Time tags and the mapping between points and elements."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.points.model import PointKind, Quality
from twin.protocols.iec104 import TimeTag, UnencodableValueError
from twin.protocols.iec104 import elements as e
from twin.protocols.iec104.mapping import command_element, command_value, element_of, type_brings, type_suits, value_of
from twin.timebase import TimeBase

START = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
CENTURY_MS = 49 * 365 * 86_400_000


def test_time_tag__of_simulation_time() -> None:
    assert TimeTag.at(35_250, START) == TimeTag(26, 1, 15, 18, 0, 35_250)


@settings(max_examples=200, deadline=None, database=None)
@given(st.integers(-CENTURY_MS, CENTURY_MS), st.integers(0, 999_999), st.integers(-12, 12))
def test_time_tag__gives_back_its_simulation_time(t_ms: int, microsecond: int, offset_h: int) -> None:
    start = datetime(2026, 1, 15, 18, 0, microsecond=microsecond, tzinfo=timezone(timedelta(hours=offset_h)))
    base = TimeBase(start)
    assert TimeTag.at(t_ms, base).sim_time(base) == t_ms


def test_time_tag__year_is_the_one_near_the_run() -> None:
    base = TimeBase(datetime(2001, 1, 1, tzinfo=UTC))
    assert TimeTag(99, 12, 31, 23, 59, 59_999).sim_time(base) == -366 * 86_400_000 - 1  # 2000 was a leap year


@pytest.mark.parametrize("field", [{"month": 0}, {"month": 13}, {"day": 31, "month": 2}, {"hour": 24}, {"minute": 60}])
def test_time_tag__that_is_no_date_has_no_simulation_time(field: dict[str, int]) -> None:
    fields = {"year": 26, "month": 1, "day": 15, "hour": 18, "minute": 0, "millisecond": 0, **field}
    assert TimeTag(**fields).sim_time(START) is None  # type: ignore[arg-type]
    assert TimeTag(26, 1, 15, 18, 0, 60_000).sim_time(START) is None


@pytest.mark.parametrize(
    ("type_id", "value", "quality", "element"),
    [
        (1, 1.0, Quality.BLOCKED, e.SinglePoint(True, Quality.BLOCKED)),
        (30, 0.0, Quality.GOOD, e.SinglePoint(False)),
        (3, 2.0, Quality.NOT_TOPICAL, e.DoublePoint(2, Quality.NOT_TOPICAL)),
        (5, -64.0, Quality.GOOD, e.StepPosition(-64)),
        (32, 70.0, Quality.GOOD, e.StepPosition(63, quality=Quality.OVERFLOW)),
        (9, 1.0, Quality.GOOD, e.NormalizedValue(32767 / 32768, Quality.OVERFLOW)),
        (11, -40_000.0, Quality.GOOD, e.ScaledValue(-32768, Quality.OVERFLOW)),
        (13, 12.5, Quality.SUBSTITUTED, e.ShortFloat(12.5, Quality.SUBSTITUTED)),
        (36, math.nan, Quality.GOOD, e.ShortFloat(0.0, Quality.INVALID)),
        (15, 7.0, Quality.INVALID, e.IntegratedTotal(7, invalid=True)),
        (37, 2.0**31, Quality.GOOD, e.IntegratedTotal(2**31 - 1, carry=True)),
        (20, float(0x8001_A5A5), Quality.OVERFLOW, e.PackedSinglePoints(0xA5A5, 0x8001, Quality.OVERFLOW)),
        (21, 0.5, Quality.INVALID, e.NormalizedValue(0.5)),
        (38, 2.0, Quality.BLOCKED, e.ProtectionEvent(2, 0, True, Quality.BLOCKED)),
        (39, float(0x01F4_0009), Quality.GOOD, e.ProtectionStart(9, 500)),
        (40, float(0x0028_00FF), Quality.INVALID, e.ProtectionTrip(15, 40, quality=Quality.INVALID)),
    ],
)
def test_mapping__value_to_element(type_id: int, value: float, quality: Quality, element: object) -> None:
    assert element_of(type_id, value, quality) == element


def test_mapping__float_beyond_single_precision_is_an_overflow() -> None:
    element = element_of(13, -math.inf, Quality.GOOD)
    assert (element.value, element.quality) == (-(2 - 2**-23) * 2.0**127, Quality.OVERFLOW)


@pytest.mark.parametrize(
    ("element", "value", "quality"),
    [
        (e.SinglePoint(True, Quality.INVALID), 1.0, Quality.INVALID),
        (e.DoublePoint(3), 3.0, Quality.GOOD),
        (e.IntegratedTotal(-5, carry=True, invalid=True), -5.0, Quality.OVERFLOW | Quality.INVALID),
        (e.ScaledValue(-7, Quality.OVERFLOW), -7.0, Quality.OVERFLOW),
        (e.ShortFloat(math.inf), 0.0, Quality.INVALID),
        (e.PackedSinglePoints(0xA5A5, 0x8001, Quality.BLOCKED), float(0x8001_A5A5), Quality.BLOCKED),
        (e.NormalizedValue(-0.25), -0.25, Quality.GOOD),
        (e.ProtectionEvent(1, 30, quality=Quality.INVALID), 1.0, Quality.INVALID),
        (e.ProtectionStart(9, 500), float(0x01F4_0009), Quality.GOOD),
        (e.ProtectionTrip(15, 40), float(0x0028_000F), Quality.GOOD),
    ],
)
def test_mapping__element_to_value(element: object, value: float, quality: Quality) -> None:
    assert value_of(element) == (value, quality)


@pytest.mark.parametrize(
    ("type_id", "value", "element"),
    [
        (45, 1.0, e.SingleCommand(True, True)),
        (46, 2.0, e.DoubleCommand(2, True)),
        (60, -1.0, e.StepCommand(1, True)),
        (47, 1.0, e.StepCommand(2, True)),
        (48, -0.5, e.SetpointNormalized(-0.5, True)),
        (49, 12.0, e.SetpointScaled(12, True)),
        (63, 12.5, e.SetpointFloat(12.5, True)),
    ],
)
def test_mapping__command_there_and_back(type_id: int, value: float, element: object) -> None:
    assert command_element(type_id, value, select=True) == element
    assert command_value(element) == value


@pytest.mark.parametrize(
    "element", [e.DoubleCommand(0), e.DoubleCommand(3), e.StepCommand(0), e.SetpointFloat(math.nan)]
)
def test_mapping__commands_that_are_not_permitted_have_no_value(element: object) -> None:
    assert command_value(element) is None


@pytest.mark.parametrize(("type_id", "value"), [(50, math.nan), (5, 1.0), (13, 1.0)])
def test_mapping__refuses_what_no_command_can_carry(type_id: int, value: float) -> None:
    with pytest.raises(UnencodableValueError):
        command_element(type_id, value, select=False)


def test_mapping__types_suit_their_kind_with_and_without_time() -> None:
    assert [t for t in range(128) if type_suits(PointKind.MEASURAND, t)] == [9, 11, 13, 21, 34, 35, 36]
    assert [t for t in range(128) if type_suits(PointKind.DOUBLE_COMMAND, t)] == [46, 59]


@pytest.mark.parametrize(
    ("kind", "mapped", "brought"),
    [
        (PointKind.DOUBLE, 31, [3, 31]),
        (PointKind.DOUBLE, 38, [38]),
        (PointKind.BITSTRING, 7, [7, 33]),
        (PointKind.BITSTRING, 20, [20]),
        (PointKind.BITSTRING, 40, [40]),
        (PointKind.MEASURAND, 9, [9, 11, 13, 21, 34, 35, 36]),
    ],
)
def test_mapping__elements_of_another_meaning_do_not_bring_values(
    kind: PointKind, mapped: int, brought: list[int]
) -> None:
    assert [t for t in range(128) if type_brings(kind, mapped, t)] == brought
