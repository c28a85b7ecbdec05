import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.field.kernel import NO_TIMER, DeviceKernel, TimerInPastError, UnknownDeviceError
from twin.timebase import NEVER


def make(log, now=0):
    kernel = DeviceKernel(now)
    for device in ("a", "b"):
        kernel.register(device, lambda timer, payload, t_ms, d=device: log.append((t_ms, d, timer, payload)))
    return kernel


def test_kernel__runs_due_timers_in_order_of_time_and_stands_at_the_end():
    log = []
    kernel = make(log)
    kernel.schedule(30, "a", "late")
    kernel.schedule(10, "b", "early", {"x": 1})
    kernel.advance(20)
    assert log == [(10, "b", "early", {"x": 1})]
    assert kernel.now == 20
    kernel.advance(30)
    assert log[1:] == [(30, "a", "late", None)]


def test_kernel__runs_equal_times_in_order_of_scheduling():
    log = []
    kernel = make(log)
    for i in range(5):
        kernel.schedule(7, "ab"[i % 2], str(i))
    kernel.advance(7)
    assert [timer for _, _, timer, _ in log] == ["0", "1", "2", "3", "4"]


def test_kernel__runs_a_timer_scheduled_for_now_within_the_same_advance():
    log = []
    kernel = DeviceKernel()

    def handler(timer, payload, t_ms):
        log.append((t_ms, timer))
        if timer == "first":
            kernel.schedule(t_ms, "a", "second")

    kernel.register("a", handler)
    kernel.schedule(5, "a", "first")
    kernel.advance(5)
    assert log == [(5, "first"), (5, "second")]


def test_kernel__cancelled_timer_neither_runs_nor_counts_as_next():
    log = []
    kernel = make(log)
    handle = kernel.schedule(10, "a", "gone")
    kernel.schedule(20, "a", "stays")
    assert kernel.next_due() == 10
    assert kernel.cancel(handle)
    assert not kernel.cancel(handle)
    assert not kernel.cancel(NO_TIMER)
    assert kernel.next_due() == 20
    kernel.advance(100)
    assert log == [(20, "a", "stays", None)]
    assert kernel.next_due() == NEVER


def test_kernel__refuses_the_past_and_strangers():
    kernel = make([], now=50)
    with pytest.raises(TimerInPastError) as past:
        kernel.schedule(49, "a", "t")
    assert past.value.now_ms == 50
    with pytest.raises(UnknownDeviceError):
        kernel.schedule(60, "c", "t")


def test_kernel__advance_to_the_past_changes_nothing():
    log = []
    kernel = make(log, now=50)
    kernel.advance(10)
    assert kernel.now == 50


@given(
    due=st.lists(st.integers(0, 60), max_size=20),
    cancelled=st.sets(st.integers(1, 20)),
    cut=st.integers(0, 60),
)
def test_kernel__continues_from_a_snapshot_as_if_it_had_not_stopped(due, cancelled, cut):
    whole, first, second = [], [], []
    straight, stopped, resumed = make(whole), make(first), make(second)
    for kernel in (straight, stopped):
        for i, at_ms in enumerate(due):
            kernel.schedule(at_ms, "ab"[i % 2], "t", i)
        for handle in sorted(cancelled):
            kernel.cancel(handle)
    stopped.advance(cut)
    resumed.restore(json.loads(json.dumps(stopped.snapshot())))
    assert resumed.next_due() == stopped.next_due()
    for kernel in (straight, resumed):
        kernel.advance(60)
        kernel.schedule(61, "a", "after")
        kernel.advance(61)
    assert first + second == whole
    assert resumed.snapshot() == straight.snapshot()
