import pytest

from simulators.field.indicator import (
    TRANSITIONS,
    Direction,
    FaultPassageIndicator,
    IndicatorEvent,
    IndicatorFailure,
    IndicatorState,
)
from simulators.field.kernel import DeviceKernel
from twin.derive.settings import IndicatorSettings
from twin.timebase import NEVER

F, R, NONE = Direction.FORWARD, Direction.REVERSE, Direction.NONE
PICKUP_A, MINIMUM_MS, RESET_MS = 600.0, 40, 60_000


class Cable:
    def __init__(self, directional=True):
        self.log = []
        self.kernel = DeviceKernel()
        settings = IndicatorSettings(switch="s", pickup_a=PICKUP_A, directional=directional)
        self.indicator = FaultPassageIndicator("s/fpi", settings, self.kernel, self)

    def indication_changed(self, direction, now):
        self.log.append((now, direction))

    def sees(self, now, fault_a, *, forward=True, healthy=False):
        self.kernel.advance(now)
        self.indicator.update(fault_a, forward, healthy, now)
        return self

    def until(self, now):
        self.kernel.advance(now)
        return self.log


def test_indicator__table_holds_every_state_and_only_lets_time_latch():
    assert {state for state, _ in TRANSITIONS} == set(IndicatorState)
    latching = {event for (_, event), after in TRANSITIONS.items() if after is IndicatorState.PASSING}
    assert latching == {IndicatorEvent.TIME_OVER}


@pytest.mark.parametrize(("forward", "shown"), [(True, F), (False, R)])
def test_indicator__latches_the_direction_after_the_minimum_time(forward, shown):
    c = Cable().sees(100, 3000.0, forward=forward)
    assert c.until(139) == []
    assert c.until(140) == [(140, shown)]


def test_indicator__ignores_a_short_passage_and_a_small_current():
    assert Cable().sees(100, 3000.0).sees(139, 0.0).until(10_000) == []
    assert Cable().sees(100, PICKUP_A).until(10_000) == []


def test_indicator__stays_when_the_current_vanishes_and_the_cable_is_dead():
    c = Cable().sees(0, 3000.0).sees(160, 0.0)
    assert c.until(10_000_000) == [(40, F)]
    assert c.indicator.direction is F


def test_indicator__resets_after_the_voltage_was_healthy_without_a_break():
    c = Cable().sees(0, 3000.0).sees(160, 0.0).sees(1000, 0.0, healthy=True).sees(50_000, 0.0)
    c.sees(51_000, 0.0, healthy=True).sees(80_000, 0.0, healthy=True)
    assert c.until(51_000 + RESET_MS - 1) == [(40, F)]
    assert c.until(51_000 + RESET_MS) == [(40, F), (111_000, NONE)]
    assert c.indicator.at_rest


def test_indicator__new_passage_replaces_the_direction():
    c = Cable().sees(0, 3000.0).sees(160, 0.0, healthy=True).sees(1000, 3000.0, forward=False).sees(1100, 0.0)
    assert c.until(NEVER // 2) == [(40, F), (1040, R)]


def test_indicator__a_short_second_passage_keeps_the_first_direction():
    c = Cable().sees(0, 3000.0).sees(160, 0.0).sees(1000, 3000.0, forward=False).sees(1039, 0.0)
    assert c.until(NEVER // 2) == [(40, F)]


def test_indicator__times_anew_when_the_current_turns():
    c = Cable().sees(0, 3000.0).sees(30, 3000.0, forward=False)
    assert c.until(69) == []
    assert c.until(70) == [(70, R)]
    c.sees(200, 3000.0, forward=True)
    assert c.until(240)[1:] == [(240, F)]


def test_indicator__does_not_time_anew_while_the_same_current_flows():
    c = Cable()
    for now in range(0, 200, 10):
        c.sees(now, 3000.0 + now)
    assert c.until(1000) == [(40, F)]


def test_indicator__silent_sees_nothing():
    c = Cable()
    c.indicator.fail(IndicatorFailure.SILENT, 0)
    assert c.sees(10, 3000.0).until(1000) == []


def test_indicator__false_indicates_at_once_and_holds_until_repaired():
    c = Cable()
    c.indicator.fail(IndicatorFailure.FALSE, 7)
    c.sees(8, 0.0, healthy=True)
    assert c.until(1_000_000) == [(7, F)]
    c.indicator.fail(None, 1_000_000)
    c.sees(1_000_000, 0.0, healthy=True)
    assert c.until(2_000_000) == [(7, F), (1_000_000 + RESET_MS, NONE)]


def test_indicator__reversed_shows_the_wrong_side():
    c = Cable()
    c.indicator.fail(IndicatorFailure.REVERSED, 0)
    assert c.sees(0, 3000.0, forward=True).until(100) == [(40, R)]


def test_indicator__without_directional_element_always_shows_forward():
    assert Cable(directional=False).sees(0, 3000.0, forward=False).until(100) == [(40, F)]
