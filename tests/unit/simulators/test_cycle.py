"""What all simulators of the world have in common."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from simulators.cycle import ENTITY, CycleSimulator, RunContext, Stopwatch
from twin.timebase import TimeBase

BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))


class Doubling(CycleSimulator):
    INPUTS = ("number",)
    OUTPUTS = ("doubled",)
    PART = "doubling"

    def cycle(self, now: int, received: dict[str, Any]) -> dict[str, Any]:
        if received.get("number") is None:
            raise ValueError(f"no number at {now}")
        return {"doubled": 2 * received["number"], "next_ms": now + 7}


def inputs(**values: Any) -> dict[str, Any]:
    return {ENTITY: {name: {"somebody": value} for name, value in values.items()}}


def test_simulator__has_one_entity_with_its_attributes() -> None:
    one = Doubling(RunContext(BASE))
    assert one.create(1, "World") == [{"eid": ENTITY, "type": "World"}]
    assert one.meta["models"]["World"]["attrs"] == ["number", "doubled", "next_ms"]
    assert one.meta["type"] == "time-based"


def test_simulator__gives_the_outputs_of_its_last_cycle() -> None:
    one = Doubling(RunContext(BASE))
    one.step(0, inputs(number=3), 10)
    assert one.get_data({ENTITY: ["doubled"]}) == {ENTITY: {"doubled": 6}}


def test_simulator__steps_when_the_clock_says_and_the_clock_when_it_says_itself() -> None:
    one = Doubling(RunContext(BASE))
    assert one.step(0, inputs(number=3, next_ms=100), 10) == 100
    assert one.step(100, inputs(number=3), 10) == 107


def test_simulator__of_a_continued_run_counts_from_its_origin() -> None:
    one = Doubling(RunContext(BASE, origin_ms=70_000))
    assert one.step(5, inputs(number=3, next_ms=70_100), 10) == 100
    assert one.step(100, inputs(number=3), 10) == 107


def test_simulator__first_failure_of_a_run_is_kept() -> None:
    context = RunContext(BASE)
    one = Doubling(context)
    for time in (5, 6):
        with pytest.raises(ValueError, match=f"no number at {time}"):
            one.step(time, {}, 10)
    assert str(context.failure) == "no number at 5"


def test_stopwatch__counts_each_part_without_the_parts_inside_it() -> None:
    watch = Stopwatch()
    with watch.watch("outer"):
        with watch.watch("inner"):
            sum(range(200_000))
        assert set(watch.seconds) == {"outer", "inner"}
    assert watch.seconds["inner"] > watch.seconds["outer"] >= 0.0


def test_stopwatch__is_stopped_by_a_failure() -> None:
    watch = Stopwatch()
    with pytest.raises(ValueError), watch.watch("outer"), watch.watch("inner"):
        raise ValueError
    assert watch._running == []


def test_simulator__time_counts_as_its_part() -> None:
    context = RunContext(BASE)
    Doubling(context).step(0, inputs(number=1), 10)
    assert list(context.stopwatch.seconds) == ["doubling"]
