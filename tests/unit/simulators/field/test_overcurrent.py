import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.field.kernel import DeviceKernel
from simulators.field.overcurrent import (
    CURVES,
    DROP_OFF_RATIO,
    TRANSITIONS,
    OvercurrentStage,
    StageEvent,
    StageSettings,
    StageState,
    operate_time_s,
    reset_time_s,
    stages_of,
)
from twin.derive.settings import Curve, RelaySettings
from twin.timebase import NEVER

PICKUP_A = 100.0


class Relay:
    def __init__(self, **settings):
        self.log = []
        self.kernel = DeviceKernel()
        self.stage = OvercurrentStage("r", StageSettings("51", PICKUP_A, **settings), self.kernel, self)

    def picked_up(self, function, i_a, now):
        self.log.append((now, "pickup", i_a))

    def tripped(self, function, i_a, now):
        self.log.append((now, "trip", i_a))

    def see(self, i_a, now):
        self.kernel.advance(now)
        self.stage.update(i_a, now)
        return self

    def run(self, to_ms):
        self.kernel.advance(to_ms)
        return self.log


def test_stage__transition_table_is_the_whole_behaviour():
    s, e = StageState, StageEvent
    assert TRANSITIONS == {
        (s.IDLE, e.ABOVE): s.PICKED_UP,
        (s.PICKED_UP, e.BELOW): s.IDLE,
        (s.PICKED_UP, e.ELAPSED): s.TRIPPED,
        (s.TRIPPED, e.BELOW): s.IDLE,
    }


def test_stage__definite_time_trips_after_its_delay():
    assert Relay(delay_ms=150).see(101.0, 20).run(1000) == [(20, "pickup", 101.0), (170, "trip", 101.0)]


def test_stage__without_delay_trips_in_the_same_millisecond():
    assert Relay(delay_ms=0).see(101.0, 20).run(20) == [(20, "pickup", 101.0), (20, "trip", 101.0)]


def test_stage__definite_time_starts_anew_after_drop_off():
    relay = Relay(delay_ms=150).see(200.0, 0).see(0.0, 149).see(200.0, 160)
    assert relay.run(1000) == [(0, "pickup", 200.0), (160, "pickup", 200.0), (310, "trip", 200.0)]


def test_stage__keeps_timing_between_drop_off_and_pickup():
    held = Relay(delay_ms=150).see(200.0, 0).see(DROP_OFF_RATIO * PICKUP_A + 0.1, 50)
    assert held.run(1000)[-1][:2] == (150, "trip")
    dropped = Relay(delay_ms=150).see(200.0, 0).see(DROP_OFF_RATIO * PICKUP_A - 0.1, 50)
    assert len(dropped.run(1000)) == 1


def test_stage__at_its_pickup_current_never_times():
    relay = Relay(curve="standard_inverse").see(PICKUP_A, 0)
    assert relay.run(100_000) == []
    assert relay.kernel.next_due() == NEVER


def test_stage__two_halves_of_two_currents_make_one_operation():
    # very inverse, TMS 0.1: t(2) = 1.35 s, t(10) = 0.15 s. 675 ms at 2 x (one half) and 75 ms at 10 x (the other).
    relay = Relay(curve="very_inverse", time_multiplier=0.1).see(200.0, 0).see(1000.0, 675)
    assert relay.run(10_000)[-1] == (750, "trip", 1000.0)


def test_stage__trips_once_until_the_current_is_gone():
    relay = Relay(delay_ms=100).see(200.0, 0).see(210.0, 150).see(220.0, 400).see(0.0, 500).see(200.0, 600)
    assert [t for t, what, _ in relay.run(1000) if what == "trip"] == [100, 700]


def test_stage__instantaneous_reset_forgets_at_drop_off():
    # t(2) at TMS 0.1 is 1350 ms; 1000 ms of it are forgotten within 1 ms without current
    relay = Relay(curve="very_inverse", time_multiplier=0.1).see(200.0, 0).see(0.0, 1000).see(200.0, 1001)
    assert relay.run(10_000)[-1][:2] == (2351, "trip")


def test_stage__disk_turns_back_in_its_reset_time():
    # very inverse, TMS 0.1: reset from 1 to 0 at no current in 0.1 * 47.3 s = 4730 ms.
    # 675 ms at 2 x make 1/2. After 1 s without current 0.5 - 1000/4730 = 0.28858 is left, so that the operation
    # takes (1 - 0.28858) * 1350 = 960.4 -> 961 ms more.
    relay = Relay(curve="very_inverse", time_multiplier=0.1, disk_reset=True)
    relay.see(200.0, 0).see(0.0, 675).see(200.0, 1675)
    assert relay.run(10_000)[-1][:2] == (1675 + 961, "trip")
    assert relay.stage.progress(10_000) == 1.0


def test_stage__disk_is_at_rest_after_its_reset_time():
    relay = Relay(curve="very_inverse", time_multiplier=0.1, disk_reset=True).see(200.0, 0).see(0.0, 1350)
    assert relay.log[-1] == (1350, "trip", 200.0)
    assert relay.stage.progress(1350) == 1.0
    assert relay.stage.progress(1350 + 2365) == pytest.approx(0.5)
    assert relay.stage.progress(1350 + 4730) == 0.0
    assert reset_time_s("very_inverse", 0.5) == pytest.approx(47.3 / 0.75)


def test_operate_time__stays_constant_above_twenty_times_the_setting():
    assert operate_time_s("extremely_inverse", 35.0) == operate_time_s("extremely_inverse", 20.0)


def test_stages_of__gives_low_and_high_stage():
    both = stages_of(RelaySettings(breaker="B", curve=Curve.VERY_INVERSE, pickup_a=300, high_pickup_a=1500))
    assert [(s.function, s.pickup_a, s.curve) for s in both] == [
        ("51", 300.0, "very_inverse"),
        ("50", 1500.0, "definite_time"),
    ]
    assert len(stages_of(RelaySettings(breaker="B", pickup_a=300))) == 1


def integrated_trip_ms(curve, time_multiplier, course, step_ms=0.01):
    """Trip time by brute force: sum of dt / t(I) in steps of 10 us over [(duration ms, multiple)]."""
    t_ms, done = 0.0, 0.0
    for duration, multiple in course:
        n = round(duration / step_ms)
        sums = done + np.cumsum(np.full(n, step_ms / (1000 * operate_time_s(curve, multiple, time_multiplier))))
        if n and sums[-1] >= 1.0:
            return t_ms + step_ms * (int(np.searchsorted(sums, 1.0)) + 1)
        t_ms, done = t_ms + duration, float(sums[-1]) if n else done
    return None


courses = st.lists(st.tuples(st.integers(1, 400), st.floats(1.1, 25.0)), min_size=1, max_size=8)


@given(curve=st.sampled_from(sorted(CURVES)), course=courses)
def test_stage__agrees_with_numerical_integration_of_a_changing_current(curve, course):
    expected = integrated_trip_ms(curve, 0.05, course)
    relay, now = Relay(curve=curve, time_multiplier=0.05), 0
    for duration, multiple in course:
        relay.see(multiple * PICKUP_A, now)
        now += duration
    trips = [t for t, what, _ in relay.run(now) if what == "trip"]
    if expected is None:
        assert trips in ([], [now])
    elif not trips:
        assert expected == pytest.approx(now, abs=0.05)
    else:
        assert -0.05 <= trips[0] - expected <= 1.05


@given(course=courses, cut=st.integers(0, 8))
def test_stage__continues_from_a_snapshot_as_if_it_had_not_stopped(course, cut):
    relays = [Relay(curve="very_inverse", time_multiplier=0.05, disk_reset=True) for _ in range(2)]
    now = 0
    for i, (duration, multiple) in enumerate(course):
        if i == cut:
            replaced = Relay(curve="very_inverse", time_multiplier=0.05, disk_reset=True)
            replaced.log = relays[1].log
            replaced.stage.restore(json.loads(json.dumps(relays[1].stage.snapshot())))
            replaced.kernel.restore(relays[1].kernel.snapshot())
            relays[1] = replaced
        for relay in relays:
            relay.see(0.1 * multiple**2 * PICKUP_A, now)
        now += duration
    assert relays[0].run(now) == relays[1].run(now)
