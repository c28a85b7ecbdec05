"""Event kernel of the field devices: timers that are data, on a simpy Environment.

A device never waits in a generator: it leaves a timer (who, which, when, with what) and is called when
the timer is due. So the whole future of the plant is a list that can be written down and read back.
Not for the power system: currents and voltages come in from outside and hold between two measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import simpy

from twin.errors import TwinError
from twin.timebase import NEVER, SimTime

TimerHandler = Callable[[str, Any, SimTime], None]
"""Called with (timer name, payload, time at which it was due)."""

NO_TIMER = 0
"""The handle of no timer; cancelling it does nothing."""


class TimerInPastError(TwinError):
    """A device asked for a timer at a time that has passed."""

    def __init__(self, device: str, timer: str, at_ms: SimTime, now_ms: SimTime) -> None:
        self.device, self.timer, self.at_ms, self.now_ms = device, timer, at_ms, now_ms
        super().__init__(f"device {device} set its timer {timer} to {at_ms} ms, but it is already {now_ms} ms")


class UnknownDeviceError(TwinError):
    """A timer belongs to a device that the kernel does not know."""

    def __init__(self, device: str) -> None:
        self.device = device
        super().__init__(f"no device named {device} stands in this plant")


@dataclass(frozen=True, slots=True)
class Timer:
    """A pending timer. ``payload`` is anything JSON can hold."""

    handle: int
    at_ms: SimTime
    device: str
    timer: str
    payload: Any


class DeviceKernel:
    """Runs the timers of all devices in order of time, and for equal times in order of scheduling."""

    def __init__(self, now: SimTime = 0) -> None:
        self._env = simpy.Environment(initial_time=now)
        self._now = now
        self._handlers: dict[str, TimerHandler] = {}
        self._pending: dict[int, Timer] = {}
        self._last_handle = NO_TIMER
        self._next_due: SimTime | None = NEVER

    @property
    def now(self) -> SimTime:
        """The present time, ms."""
        return self._now

    def register(self, device: str, handler: TimerHandler) -> None:
        """Make ``device`` known; ``handler`` is called for each of its timers."""
        self._handlers[device] = handler

    def schedule(self, at_ms: SimTime, device: str, timer: str, payload: Any = None) -> int:
        """Leave a timer; the handle serves to cancel it.

        Raises:
            TimerInPastError: ``at_ms`` lies before the present time.
            UnknownDeviceError: ``device`` is not registered.
        """
        if at_ms < self.now:
            raise TimerInPastError(device, timer, at_ms, self.now)
        self._last_handle += 1
        self._arm(Timer(self._last_handle, int(at_ms), device, timer, payload))
        return self._last_handle

    def cancel(self, handle: int) -> bool:
        """Withdraw a timer; False if it was due already or never set."""
        if self._pending.pop(handle, None) is None:
            return False
        self._next_due = None
        return True

    def advance(self, to_ms: SimTime) -> None:
        """Run every timer due by ``to_ms`` (inclusive), then stand at ``to_ms``."""
        while self._env.peek() <= to_ms:
            self._env.step()
        self._now = max(self._now, int(to_ms))  # the environment's own clock stands at its last timer

    def next_due(self) -> SimTime:
        """When the next timer is due; ``NEVER`` if none is pending."""
        if self._next_due is None:
            self._next_due = min((timer.at_ms for timer in self._pending.values()), default=NEVER)
        return self._next_due

    def pending(self) -> tuple[Timer, ...]:
        """Every pending timer, in order of scheduling."""
        return tuple(sorted(self._pending.values(), key=lambda timer: timer.handle))

    def snapshot(self) -> dict[str, Any]:
        """The kernel's state, ready for JSON."""
        timers = [[t.handle, t.at_ms, t.device, t.timer, t.payload] for t in self.pending()]
        return {"now_ms": self.now, "last_handle": self._last_handle, "timers": timers}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand where ``state`` was taken; the devices stay registered.

        Raises:
            UnknownDeviceError: a timer belongs to a device that is not registered.
        """
        self._now = int(state["now_ms"])
        self._env = simpy.Environment(initial_time=self._now)
        self._pending = {}
        self._last_handle = state["last_handle"]
        for row in state["timers"]:
            self._arm(Timer(*row))
        self._next_due = None

    def _arm(self, timer: Timer) -> None:
        if timer.device not in self._handlers:
            raise UnknownDeviceError(timer.device)
        self._pending[timer.handle] = timer
        due = simpy.Timeout(self._env, timer.at_ms - self._env.now, timer.handle)
        due.callbacks.append(self._fire)
        if self._next_due is not None:
            self._next_due = min(self._next_due, timer.at_ms)

    def _fire(self, event: simpy.Event) -> None:
        timer = self._pending.pop(event.value, None)
        if timer is None:  # cancelled meanwhile
            return
        self._next_due = None
        self._now = timer.at_ms
        self._handlers[timer.device](timer.timer, timer.payload, timer.at_ms)
