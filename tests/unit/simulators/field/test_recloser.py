import pytest

from simulators.field.kernel import DeviceKernel
from simulators.field.recloser import SPRING_WAIT_MS, TRANSITIONS, Recloser, RecloserEvent, RecloserState
from twin.derive.settings import RecloserSettings

E, S = RecloserEvent, RecloserState


class Breaker:
    """A breaker that does what it is told at once; keeps the course of the function's states."""

    def __init__(self, dead_times_ms=(500, 15_000), reclaim_ms=10_000):
        self.closes_ms, self.course = [], []
        self.charged = self.takes_orders = True
        self.kernel = DeviceKernel()
        settings = RecloserSettings(breaker="b", dead_times_ms=dead_times_ms, reclaim_ms=reclaim_ms)
        self.function = Recloser("b/79", settings, self.kernel, self)

    def close_breaker(self, now):
        self.closes_ms.append(now)
        return self.takes_orders

    def closing_energy(self):
        return self.charged

    def reclose_changed(self, event, after, now):
        self.course.append((now, after))

    def tell(self, now, *events):
        self.kernel.advance(now)
        for event in events:
            self.function.handle(event, now)
        return self

    def state_at(self, now):
        self.kernel.advance(now)
        return self.function.state


def in_state(state):
    """A breaker whose function stands in ``state`` at 100 s."""
    b = Breaker()
    trip = (E.TRIP, E.OPENED)
    to = {
        S.READY: (),
        S.TRIPPED: (E.TRIP,),
        S.DEAD_TIME: trip,
        S.WAITING_FOR_SPRING: (*trip, E.NO_SPRING),
        S.CLOSING: (*trip, E.TIME_OVER),
        S.RECLAIM: (*trip, E.TIME_OVER, E.CLOSED),
        S.FINAL_TRIP: (E.FINAL_TRIP,),
        S.LOCKOUT: (E.FINAL_TRIP, E.OPENED),
        S.SWITCHED_ON: (E.SWITCHED_ON,),
    }
    return b.tell(100_000, *to[state])


@pytest.mark.parametrize("state", list(S))
@pytest.mark.parametrize("event", list(E))
def test_recloser__follows_its_table_and_ignores_what_is_absent(state, event):
    b = in_state(state)
    assert b.function.state is state
    after = TRANSITIONS.get((state, event), state)
    assert b.tell(100_000, event).function.state is after


def test_recloser__table_leaves_no_state_without_a_way_out():
    assert {state for state, _ in TRANSITIONS} == set(S)
    assert set(TRANSITIONS.values()) == set(S)


def test_recloser__succeeds_after_the_first_shot_and_starts_anew_after_the_reclaim_time():
    b = Breaker().tell(1000, E.TRIP).tell(1060, E.OPENED)
    assert b.function.reclose_active
    assert b.tell(1640, E.CLOSED).closes_ms == [1560]
    assert b.state_at(11_639) is S.RECLAIM
    assert b.state_at(11_640) is S.READY
    assert (b.function.reclose_active, b.function.shot) == (False, 0)


def test_recloser__locks_out_after_the_trip_that_follows_the_last_shot():
    b = Breaker()
    for trip_ms, shot in ((0, 1), (5000, 2)):
        b.tell(trip_ms, E.TRIP, E.OPENED)
        assert b.function.shot == shot
        b.tell(b.kernel.next_due(), E.CLOSED)
    b.tell(20_100, E.TRIP)
    assert b.function.state is S.FINAL_TRIP
    b.tell(20_160, E.OPENED)
    assert (b.function.lockout, b.function.reclose_active) == (True, False)
    assert b.closes_ms == [500, 20_000]
    assert b.state_at(10_000_000) is S.LOCKOUT


def test_recloser__command_in_the_dead_time_ends_the_cycle():
    b = Breaker().tell(0, E.TRIP, E.OPENED).tell(300, E.COMMAND)
    assert b.state_at(100_000) is S.READY
    assert b.closes_ms == []


def test_recloser__closing_by_somebody_resets_lockout_and_makes_the_next_trip_final():
    b = in_state(S.LOCKOUT).tell(200_000, E.SWITCHED_ON)
    assert not b.function.lockout
    assert b.tell(209_999, E.TRIP).function.state is S.FINAL_TRIP
    b = in_state(S.LOCKOUT).tell(200_000, E.SWITCHED_ON)
    assert b.tell(210_000, E.TRIP).function.state is S.TRIPPED


def test_recloser__waits_for_the_spring_and_closes_when_it_is_charged():
    b = Breaker()
    b.charged = False
    b.tell(0, E.TRIP, E.OPENED)
    assert b.state_at(500) is S.WAITING_FOR_SPRING
    assert b.tell(4000, E.SPRING_CHARGED).closes_ms == [4000]


def test_recloser__gives_up_when_the_spring_stays_empty():
    b = Breaker()
    b.charged = False
    b.tell(0, E.TRIP, E.OPENED)
    assert b.state_at(500 + SPRING_WAIT_MS - 1) is S.WAITING_FOR_SPRING
    assert b.state_at(500 + SPRING_WAIT_MS) is S.LOCKOUT
    assert b.closes_ms == []


def test_recloser__locks_out_when_the_breaker_takes_no_order():
    b = Breaker()
    b.takes_orders = False
    b.tell(0, E.TRIP, E.OPENED)
    assert b.state_at(500) is S.LOCKOUT
    assert b.course[-2:] == [(500, S.CLOSING), (500, S.LOCKOUT)]
