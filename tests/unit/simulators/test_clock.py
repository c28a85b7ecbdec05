"""When the next cycle is, and how the world is held to the wall clock; both on made-up time."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.clock import LONGEST_SLEEP_S, ClockSimulator, DeadlineMissedError, OverrunPolicy, Pacer
from simulators.cycle import RunContext
from twin.errors import ExitCode
from twin.timebase import NEVER, TimeBase

BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))


def clock(*, base_step_ms: int = 1_000, end_ms: int = 60_000) -> ClockSimulator:
    pacer = Pacer(0.0, OverrunPolicy.FAIL)
    return ClockSimulator(RunContext(BASE), base_step_ms=base_step_ms, end_ms=end_ms, pacer=pacer)


def following(one: ClockSimulator, now: int, **received: Any) -> int:
    return int(one.cycle(now, received)["next_ms"])


class TestNextCycle:
    @pytest.mark.parametrize(("now", "expected"), [(0, 1_000), (999, 1_000), (1_000, 2_000), (1_001, 2_000)])
    def test_clock__steps_by_the_base_step_on_its_grid(self, now: int, expected: int) -> None:
        assert following(clock(), now) == expected

    @pytest.mark.parametrize("who", ["director_wanted", "grid_wanted", "field_wanted", "control_room_wanted"])
    def test_clock__steps_exactly_to_what_anybody_wants(self, who: str) -> None:
        assert following(clock(), 1_000, **{who: 1_357}) == 1_357
        assert following(clock(), 1_000, **{who: 2_500}) == 2_000

    def test_clock__takes_the_earliest_of_all_wishes(self) -> None:
        assert following(clock(), 0, director_wanted=700, field_wanted=300, control_room_wanted=500) == 300

    def test_clock__lets_what_happens_now_take_effect_and_settle(self) -> None:
        one = clock()
        assert following(one, 1_357, field_wanted=1_357) == 1_358
        assert following(one, 1_358, field_wanted=NEVER) == 1_368
        assert following(one, 1_368, field_wanted=NEVER) == 2_000

    def test_clock__settles_no_longer_than_the_next_wish(self) -> None:
        one = clock()
        assert following(one, 1_357, field_wanted=1_357) == 1_358
        assert following(one, 1_358, field_wanted=1_361) == 1_361

    @pytest.mark.parametrize("who", ["director_changed", "field_changed", "control_room_changed"])
    def test_clock__settles_after_a_change(self, who: str) -> None:
        assert following(clock(), 1_000, **{who: True}) == 1_010
        assert following(clock(), 1_000, **{who: False}) == 2_000

    def test_clock__wish_of_the_past_gives_the_next_millisecond(self) -> None:
        assert following(clock(), 1_000, field_wanted=400) == 1_001

    @pytest.mark.parametrize("wanted", [59_000, NEVER])
    def test_clock__last_cycle_is_exactly_at_the_end(self, wanted: int) -> None:
        one = clock(base_step_ms=7_000)
        assert following(one, 59_500) == 60_000
        assert following(one, 60_000, field_wanted=wanted) == 60_001

    def test_clock__announces_the_time(self) -> None:
        assert clock().cycle(1_234, {})["now_ms"] == 1_234

    @settings(max_examples=50, deadline=None, database=None)
    @given(
        st.integers(0, 59_999),
        st.integers(1, 5_000),
        st.lists(st.integers(0, 70_000), max_size=3),
        st.booleans(),
    )
    def test_clock__goes_on_and_never_beyond_the_end(
        self, now: int, step: int, wishes: list[int], changed: bool
    ) -> None:
        names = ("director_wanted", "field_wanted", "control_room_wanted")
        received = dict(zip(names, wishes, strict=False))
        one = clock(base_step_ms=step)
        nxt = following(one, now, field_changed=changed, **received)
        assert now < nxt <= 60_000
        later = [wish for wish in wishes if wish > now]
        assert nxt <= min([*later, now + step, NEVER])

    def test_snapshot__keeps_that_something_takes_effect(self) -> None:
        one, other = clock(), clock()
        following(one, 1_357, field_wanted=1_357)
        other.restore(one.snapshot())
        assert following(other, 1_358) == following(one, 1_358) == 1_368
        assert json.loads(other.snapshot()) == {"taking_effect": False}


class Wall:
    """A wall clock that only sleeping and work move."""

    def __init__(self) -> None:
        self.now_s = 5_000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    def pacer(self, speed: float = 1.0, policy: OverrunPolicy = OverrunPolicy.SLIP) -> Pacer:
        return Pacer(speed, policy, monotonic=self.monotonic, sleep=self.sleep)


@pytest.fixture
def wall() -> Wall:
    return Wall()


class TestPacer:
    def test_pacer__as_fast_as_it_goes_never_sleeps(self, wall: Wall) -> None:
        pacer = wall.pacer(speed=0.0)
        for now in (0, 1_000, 1_000_000):
            pacer.wait_for(now)
        assert wall.slept == []

    @pytest.mark.parametrize(("speed", "seconds"), [(1.0, 10.0), (4.0, 2.5), (0.5, 20.0)])
    def test_pacer__sleeps_until_a_cycle_is_due(self, wall: Wall, speed: float, seconds: float) -> None:
        pacer = wall.pacer(speed)
        pacer.wait_for(0)
        pacer.wait_for(10_000)
        assert wall.now_s == pytest.approx(5_000.0 + seconds)
        assert max(wall.slept) <= LONGEST_SLEEP_S

    def test_pacer__counts_work_as_time_passed(self, wall: Wall) -> None:
        pacer = wall.pacer()
        pacer.wait_for(0)
        wall.now_s += 0.9
        pacer.wait_for(1_000)
        assert sum(wall.slept) == pytest.approx(0.1)
        assert pacer.overruns == 0

    def test_pacer__first_cycle_is_due_when_it_comes(self, wall: Wall) -> None:
        """A run that continues at 70 s does not wait 70 s."""
        pacer = wall.pacer()
        pacer.wait_for(70_000)
        assert wall.slept == []
        pacer.wait_for(70_050)
        assert sum(wall.slept) == pytest.approx(0.05)

    def test_pacer__small_lateness_is_tolerated(self, wall: Wall) -> None:
        pacer = wall.pacer(policy=OverrunPolicy.FAIL)
        pacer.wait_for(0)
        wall.now_s += 1.09
        pacer.wait_for(1_000)
        assert (pacer.overruns, pacer.worst_ms) == (0, 0.0)

    def test_catch_up__works_off_what_was_missed(self, wall: Wall) -> None:
        pacer = wall.pacer(policy=OverrunPolicy.CATCH_UP)
        pacer.wait_for(0)
        wall.now_s += 1.5
        pacer.wait_for(1_000)
        pacer.wait_for(2_000)
        assert wall.now_s == pytest.approx(5_002.0)
        assert (pacer.overruns, pacer.worst_ms) == (1, pytest.approx(500.0))

    def test_slip__goes_on_from_the_late_cycle(self, wall: Wall) -> None:
        pacer = wall.pacer(policy=OverrunPolicy.SLIP)
        pacer.wait_for(0)
        wall.now_s += 1.5
        pacer.wait_for(1_000)
        pacer.wait_for(2_000)
        assert wall.now_s == pytest.approx(5_002.5)
        assert (pacer.overruns, pacer.worst_ms) == (1, pytest.approx(500.0))

    def test_fail__ends_the_run_with_cycle_and_lateness(self, wall: Wall) -> None:
        pacer = wall.pacer(policy=OverrunPolicy.FAIL)
        pacer.wait_for(0)
        wall.now_s += 1.5
        with pytest.raises(DeadlineMissedError) as missed:
            pacer.wait_for(1_000)
        assert str(missed.value) == "the cycle at 00:00:01.000 was 500 ms late against the wall clock"
        assert (missed.value.t_ms, missed.value.late_ms) == (1_000, pytest.approx(500.0))
        assert missed.value.exit_code is ExitCode.DEADLINE_MISSED

    def test_worst__is_the_worst_of_all_overruns(self, wall: Wall) -> None:
        pacer = wall.pacer()
        pacer.wait_for(0)
        for now, work in ((1_000, 1.5), (2_000, 1.9), (3_000, 1.2)):
            wall.now_s += work
            pacer.wait_for(now)
        assert (pacer.overruns, pacer.worst_ms) == (3, pytest.approx(900.0))

    def test_cancel__ends_the_waiting(self, wall: Wall) -> None:
        pacer = wall.pacer()
        pacer.wait_for(0)

        def sleep(seconds: float) -> None:
            wall.now_s += seconds
            pacer.cancel()

        pacer._sleep = sleep
        pacer.wait_for(3_600_000)
        assert wall.now_s == pytest.approx(5_000.0 + LONGEST_SLEEP_S)

    def test_clock__waits_before_its_cycle(self, wall: Wall) -> None:
        one = ClockSimulator(RunContext(BASE), base_step_ms=1_000, end_ms=5_000, pacer=wall.pacer())
        for now in (0, 1_000, 2_000):
            one.cycle(now, {})
        assert wall.now_s == pytest.approx(5_002.0)
