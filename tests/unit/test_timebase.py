"""Simulation time and the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.timebase import NEVER, TimeBase, clock_text

START = datetime(2026, 1, 15, 18, 0, tzinfo=UTC)


def test_time_base__counts_from_its_start() -> None:
    assert TimeBase(START).instant(61_001) == datetime(2026, 1, 15, 18, 1, 1, 1000, tzinfo=UTC)
    assert TimeBase(START).sim_time(START) == 0


def test_time_base__start_without_zone_is_utc() -> None:
    assert TimeBase(datetime(2026, 1, 15, 18, 0)) == TimeBase(START)


def test_time_base__start_of_another_zone_gives_instants_in_utc() -> None:
    base = TimeBase(datetime(2026, 1, 15, 19, 0, tzinfo=timezone(timedelta(hours=1))))
    assert base.instant(0) == START
    assert base.instant(0).tzinfo is UTC


@pytest.mark.parametrize(("microseconds", "t_ms"), [(999, 0), (1000, 1), (-1, -1), (-1000, -1)])
def test_time_base__rounds_down_to_milliseconds(microseconds: int, t_ms: int) -> None:
    assert TimeBase(START).sim_time(START + timedelta(microseconds=microseconds)) == t_ms


@settings(max_examples=50, deadline=None, database=None)
@given(st.integers(0, 10**12))
def test_time_base__is_exact_both_ways(t_ms: int) -> None:
    base = TimeBase(START)
    assert base.sim_time(base.instant(t_ms)) == t_ms


def test_time_base__runs_through_a_leap_day() -> None:
    assert TimeBase(datetime(2028, 2, 28, tzinfo=UTC)).instant(2 * 86_400_000) == datetime(2028, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("t_ms", "text"),
    [
        (0, "00:00:00.000"),
        (999, "00:00:00.999"),
        (61_001, "00:01:01.001"),
        (3_599_999, "00:59:59.999"),
        (86_400_000, "24:00:00.000"),
        (360_000_000, "100:00:00.000"),
    ],
)
def test_clock_text__is_hours_minutes_seconds_and_milliseconds(t_ms: int, text: str) -> None:
    assert clock_text(t_ms) == text


def test_never__is_later_than_a_century_and_exact_as_a_float() -> None:
    assert NEVER > 100 * 366 * 86_400_000
    assert int(float(NEVER)) == NEVER
