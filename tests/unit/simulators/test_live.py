"""The clock of live runs, and what of a run's settings does not go together."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from simulators.clock import OverrunPolicy, Pacer
from simulators.live import LiveClock


class Wall:
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def clock(speed: float = 1.0) -> tuple[LiveClock, Pacer, Wall]:
    wall = Wall()
    pacer = Pacer(speed, OverrunPolicy.SLIP, monotonic=wall, sleep=wall.sleep)
    return LiveClock(pacer), pacer, wall


def test_live_clock__stands_still_before_the_first_cycle_and_in_a_cycle() -> None:
    live, pacer, wall = clock()
    wall.now_s += 5.0
    assert live() == 0
    pacer.wait_for(0)
    wall.now_s += 0.25
    assert live() == 0
    live.hold(1_000)
    assert live() == 250


def test_live_clock__goes_with_the_wall_clock_up_to_the_next_cycle() -> None:
    live, pacer, wall = clock(speed=2.0)
    pacer.wait_for(0)
    live.hold(1_000)
    wall.now_s += 0.25
    assert live() == 500
    wall.now_s += 5.0
    assert live() == 1_000


def test_live_clock__a_cycle_cannot_be_before_what_happened() -> None:
    live, pacer, wall = clock()
    pacer.wait_for(0)
    live.hold(1_000)
    wall.now_s += 0.5
    assert live() == 500
    assert live.hold(300) == 500
    assert live() == 500


@given(st.lists(st.tuples(st.integers(0, 3_000), st.floats(0.0, 3.0)), max_size=30), st.sampled_from([0.5, 1.0, 20.0]))
def test_live_clock__never_goes_back_and_never_past_the_limit(steps: list[tuple[int, float]], speed: float) -> None:
    """Whatever cycles are planned and however late they are."""
    live, pacer, wall = clock(speed)
    pacer.wait_for(0)
    seen, limit = [0], 0
    for ahead, wait_s in steps:
        limit = live.hold(seen[-1] + ahead)
        wall.now_s += wait_s
        seen.append(live())
        assert seen[-1] <= limit
        pacer.wait_for(limit)
    assert all(before <= after for before, after in itertools.pairwise(seen))
