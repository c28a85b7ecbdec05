import itertools
import json

import pytest

from simulators.field.breaker import (
    FAULT_CURRENT,
    LOAD_CURRENT,
    SPRING_NOT_CHARGED,
    SWITCH_MOVING,
    TRANSITIONS,
    Drive,
    DriveFailure,
    DriveState,
    Operation,
    Order,
    Switchgear,
)
from simulators.field.kernel import DeviceKernel
from twin.network.model import SwitchKind
from twin.points.model import DoublePosition

OPEN, CLOSE = False, True
INTERMEDIATE, AT_OPEN, AT_CLOSED = DoublePosition.INTERMEDIATE, DoublePosition.OPEN, DoublePosition.CLOSED
SPRING = Drive(60, 80, "O-C-O", 10_000)


class Panel:
    """One switch with everything it says: (t, what, value)."""

    def __init__(self, kind=SwitchKind.BREAKER, drive=SPRING, closed=True):
        self.log = []
        self.kernel = DeviceKernel()
        self.gear = Switchgear("s", kind, drive, self.kernel, self, closed=closed)

    def drive_started(self, now):
        self.log.append((now, "started", None))

    def position_changed(self, position, cause, now):
        self.log.append((now, "position", position))

    def operation_finished(self, closing, success, operation, now):
        self.log.append((now, "finished", (closing, success, operation.cause)))

    def spring_changed(self, charged, now):
        self.log.append((now, "spring", charged))

    def order(self, closing, now, load_a=0.0, fault_a=0.0, cause="command"):
        self.kernel.advance(now)
        return self.gear.operate(closing, Operation(cause), now, load_a, fault_a)

    def said(self, what):
        return [(t, value) for t, kind, value in self.log if kind == what]


def test_switchgear__table_lets_only_a_resting_drive_start_and_a_running_one_finish():
    starts = {Order.OPEN: DriveState.OPENING, Order.CLOSE: DriveState.CLOSING}
    starts |= {Order.OPEN_JAMMED: DriveState.JAMMED_CLOSED, Order.CLOSE_JAMMED: DriveState.JAMMED_OPEN}
    for (state, order), after in TRANSITIONS.items():
        resting = state in (DriveState.OPEN, DriveState.CLOSED)
        assert resting == (order in starts)
        assert after is starts.get(order, after)
    moving = [s for s in DriveState if s not in (DriveState.OPEN, DriveState.CLOSED)]
    assert all((s, o) not in TRANSITIONS for s, o in itertools.product(moving, starts))


def test_breaker__is_intermediate_while_moving_and_conducts_until_open():
    p = Panel()
    assert p.order(OPEN, 100) == ""
    assert (p.gear.position, p.gear.conducting, p.gear.moving) == (INTERMEDIATE, True, True)
    p.kernel.advance(159)
    assert p.gear.conducting
    p.kernel.advance(160)
    assert (p.gear.position, p.gear.conducting, p.gear.moving) == (AT_OPEN, False, False)
    assert p.said("position") == [(100, INTERMEDIATE), (160, AT_OPEN)]
    assert p.said("finished") == [(160, (OPEN, True, "command"))]


def test_breaker__does_not_conduct_before_it_is_closed():
    p = Panel(closed=False)
    p.order(CLOSE, 0)
    p.kernel.advance(79)
    assert not p.gear.conducting
    p.kernel.advance(80)
    assert p.gear.conducting
    assert p.said("position") == [(0, INTERMEDIATE), (80, AT_CLOSED)]


@pytest.mark.parametrize("first", [OPEN, CLOSE])
@pytest.mark.parametrize("second", [OPEN, CLOSE])
def test_breaker__refuses_every_order_while_moving(first, second):
    p = Panel(closed=first is OPEN)
    p.order(first, 0)
    assert p.order(second, 30) == SWITCH_MOVING
    p.kernel.advance(1000)
    assert len(p.said("finished")) == 1


def test_breaker__already_there_does_not_move():
    p = Panel()
    assert p.order(CLOSE, 0) == ""
    assert p.log == []


def test_breaker__does_open_close_open_and_then_waits_for_the_motor():
    # O at 0 (open 60), C at 100 (closed 180, spring empty until 100 + 10000), O at 200 (open 260): no C before 10100
    p = Panel()
    assert [p.order(OPEN, 0), p.order(CLOSE, 100), p.order(OPEN, 200)] == ["", "", ""]
    assert p.order(CLOSE, 300) == SPRING_NOT_CHARGED
    assert p.order(CLOSE, 10_099) == SPRING_NOT_CHARGED
    assert p.order(CLOSE, 10_100) == ""
    assert p.said("spring") == [(100, False), (10_100, True), (10_100, False)]


def test_breaker__opening_does_not_delay_the_motor():
    p = Panel()
    p.order(OPEN, 0), p.order(CLOSE, 100), p.order(OPEN, 5000)
    p.kernel.advance(20_000)
    assert p.said("spring")[-1] == (10_100, True)


def test_breaker__with_sequence_o_c_cannot_open_again_before_the_motor_is_done():
    p = Panel(drive=Drive(60, 80, "O-C", 10_000))
    p.order(OPEN, 0), p.order(CLOSE, 100)
    assert p.order(OPEN, 200) == SPRING_NOT_CHARGED
    assert p.order(OPEN, 10_100) == ""


def test_breaker__with_sequence_o_needs_the_motor_before_every_operation():
    p = Panel(drive=Drive(60, 80, "O", 10_000))
    p.order(OPEN, 0)
    assert p.order(CLOSE, 9_999) == SPRING_NOT_CHARGED
    assert p.order(CLOSE, 10_000) == ""
    assert p.order(OPEN, 19_999) == SPRING_NOT_CHARGED
    assert p.order(OPEN, 20_000) == ""


def test_breaker__trip_without_energy_opens_as_soon_as_the_spring_is_charged():
    p = Panel(drive=Drive(60, 80, "O-C", 10_000))
    p.order(OPEN, 0), p.order(CLOSE, 100)
    p.kernel.advance(500)
    p.gear.trip(500)
    p.kernel.advance(20_000)
    assert p.said("position")[-2:] == [(10_100, INTERMEDIATE), (10_160, AT_OPEN)]


def test_breaker__trip_while_closing_opens_after_the_contacts_touched():
    p = Panel(closed=False)
    p.order(CLOSE, 0)
    p.kernel.advance(50)
    p.gear.trip(50)
    p.kernel.advance(1000)
    assert p.said("position") == [(0, INTERMEDIATE), (80, AT_CLOSED), (80, INTERMEDIATE), (140, AT_OPEN)]
    assert p.said("finished") == [(80, (CLOSE, True, "command")), (140, (OPEN, True, "trip"))]


def test_breaker__trip_of_an_open_or_opening_breaker_changes_nothing():
    p = Panel()
    p.order(OPEN, 0)
    p.gear.trip(0)
    p.kernel.advance(1000)
    p.gear.trip(1000)
    assert len(p.said("position")) == 2
    assert p.kernel.next_due() > 1000


@pytest.mark.parametrize(("closed", "order"), [(True, OPEN), (False, CLOSE)])
def test_breaker__with_a_jammed_drive_stays_and_reports_failure(closed, order):
    p = Panel(closed=closed)
    p.gear.failure = DriveFailure.OPEN if closed else DriveFailure.CLOSE
    assert p.order(order, 0) == ""
    assert p.gear.moving
    assert p.order(order, 10) == SWITCH_MOVING
    p.kernel.advance(1000)
    assert p.gear.conducting is closed
    assert p.said("position") == []
    assert p.said("finished") == [(60 if closed else 80, (order, False, "command"))]


def test_breaker__jams_only_at_the_operation_that_fails():
    p = Panel()
    p.gear.failure = DriveFailure.CLOSE
    p.order(OPEN, 0), p.order(CLOSE, 100)
    p.kernel.advance(1000)
    assert p.said("finished") == [(60, (OPEN, True, "command")), (180, (CLOSE, False, "command"))]
    assert p.gear.spring_charged


def test_breaker__opens_fault_current_but_a_load_break_switch_does_not():
    assert Panel().order(OPEN, 0, 100.0, 8000.0) == ""
    switch = Panel(SwitchKind.LOAD_BREAK_SWITCH, Drive(500, 500))
    assert switch.order(OPEN, 0, 100.0, 8000.0) == FAULT_CURRENT
    assert switch.order(OPEN, 0, 400.0, 0.0) == ""
    # closing onto a fault is possible: it has to be rated for it
    assert Panel(SwitchKind.LOAD_BREAK_SWITCH, Drive(500, 500), closed=False).order(CLOSE, 0, 0.0, 8000.0) == ""


def test_disconnector__opens_no_load_current():
    p = Panel(SwitchKind.DISCONNECTOR, Drive(500, 500))
    assert p.order(OPEN, 0, 10.0, 0.0) == LOAD_CURRENT
    assert p.order(OPEN, 0, 0.3, 0.0) == ""


def test_motor_drive__needs_no_stored_energy():
    p = Panel(SwitchKind.LOAD_BREAK_SWITCH, Drive(500, 500))
    assert [p.order(closing, 1000 * i) for i, closing in enumerate([OPEN, CLOSE, OPEN, CLOSE, OPEN])] == [""] * 5
    assert p.said("spring") == []


@pytest.mark.parametrize("cut", range(0, 12_000, 37))
def test_breaker__continues_from_a_snapshot_as_if_it_had_not_stopped(cut):
    def play(panel, since, until):
        for t, closing in ((0, OPEN), (100, CLOSE), (200, OPEN), (300, CLOSE), (10_100, CLOSE), (10_150, OPEN)):
            if since <= t < until:
                panel.order(closing, t)
        panel.kernel.advance(until - 1)

    whole, first, second = Panel(), Panel(), Panel()
    play(whole, 0, 30_000)
    play(first, 0, cut + 1)
    second.gear.restore(json.loads(json.dumps(first.gear.snapshot())))
    second.kernel.restore(json.loads(json.dumps(first.kernel.snapshot())))
    play(second, cut + 1, 30_000)
    assert first.log + second.log == whole.log
    assert second.gear.snapshot() == whole.gear.snapshot()
