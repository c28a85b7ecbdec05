"""Automatic reclosing of one breaker after a trip.

A trip in the ready state starts a cycle: the breaker opens, a dead time passes, the breaker is closed, and if
no further trip comes within the reclaim time the cycle has succeeded. After the last shot a trip is final:
lock-out. A command of the operator ends the cycle; after a close by hand or by command a trip is final too
(nobody recloses automatically onto what was just switched on). Not in here: the decision to trip.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Protocol

from simulators.field.kernel import NO_TIMER, DeviceKernel
from twin.derive.settings import RecloserSettings
from twin.timebase import SimTime


class RecloserState(Enum):
    """Where the function stands."""

    READY = "ready"
    TRIPPED = "tripped"  # the breaker is opening
    DEAD_TIME = "dead_time"
    WAITING_FOR_SPRING = "waiting_for_spring"
    CLOSING = "closing"
    RECLAIM = "reclaim"
    FINAL_TRIP = "final_trip"  # the breaker is opening for good
    LOCKOUT = "lockout"
    SWITCHED_ON = "switched_on"  # within the reclaim time after a close by hand or command


class RecloserEvent(Enum):
    """What happens to the function."""

    TRIP = "trip"
    FINAL_TRIP = "final_trip"
    OPENED = "opened"
    CLOSED = "closed"
    TIME_OVER = "time_over"
    NO_SPRING = "no_spring"
    SPRING_CHARGED = "spring_charged"
    OPEN_FAILED = "open_failed"
    CLOSE_FAILED = "close_failed"
    COMMAND = "command"  # somebody operates, remotely or on site
    SWITCHED_ON = "switched_on"  # somebody has closed the breaker


S, E = RecloserState, RecloserEvent
TRANSITIONS = {
    (S.READY, E.TRIP): S.TRIPPED,
    (S.READY, E.FINAL_TRIP): S.FINAL_TRIP,
    (S.READY, E.SWITCHED_ON): S.SWITCHED_ON,
    (S.TRIPPED, E.OPENED): S.DEAD_TIME,
    (S.TRIPPED, E.OPEN_FAILED): S.LOCKOUT,
    (S.DEAD_TIME, E.TIME_OVER): S.CLOSING,
    (S.DEAD_TIME, E.NO_SPRING): S.WAITING_FOR_SPRING,
    (S.DEAD_TIME, E.COMMAND): S.READY,
    (S.WAITING_FOR_SPRING, E.SPRING_CHARGED): S.CLOSING,
    (S.WAITING_FOR_SPRING, E.TIME_OVER): S.LOCKOUT,
    (S.WAITING_FOR_SPRING, E.COMMAND): S.READY,
    (S.CLOSING, E.CLOSED): S.RECLAIM,
    (S.CLOSING, E.CLOSE_FAILED): S.LOCKOUT,
    (S.RECLAIM, E.TRIP): S.TRIPPED,
    (S.RECLAIM, E.FINAL_TRIP): S.FINAL_TRIP,
    (S.RECLAIM, E.TIME_OVER): S.READY,
    (S.RECLAIM, E.COMMAND): S.READY,
    (S.FINAL_TRIP, E.OPENED): S.LOCKOUT,
    (S.FINAL_TRIP, E.OPEN_FAILED): S.LOCKOUT,
    (S.LOCKOUT, E.SWITCHED_ON): S.SWITCHED_ON,
    (S.SWITCHED_ON, E.TRIP): S.FINAL_TRIP,
    (S.SWITCHED_ON, E.FINAL_TRIP): S.FINAL_TRIP,
    (S.SWITCHED_ON, E.TIME_OVER): S.READY,
    (S.SWITCHED_ON, E.COMMAND): S.READY,
    (S.SWITCHED_ON, E.SWITCHED_ON): S.SWITCHED_ON,
}
"""What is absent changes nothing."""

SPRING_WAIT_MS = 30_000
"""How long a shot may wait for the closing spring before the function gives up."""

ACTIVE = frozenset({S.TRIPPED, S.DEAD_TIME, S.WAITING_FOR_SPRING, S.CLOSING, S.RECLAIM})


class RecloserListener(Protocol):
    """What the bay does for its auto-reclose function."""

    def close_breaker(self, now: SimTime) -> bool:
        """Give the closing order; False if the breaker cannot take it."""
        ...

    def closing_energy(self) -> bool:
        """Whether the closing spring is charged."""
        ...

    def reclose_changed(self, event: RecloserEvent, after: RecloserState, now: SimTime) -> None: ...


class Recloser:
    """The auto-reclose function of one breaker. ``name`` is its device name at the kernel."""

    def __init__(self, name: str, settings: RecloserSettings, kernel: DeviceKernel, listener: RecloserListener) -> None:
        self.name, self.settings = name, settings
        self.state = S.READY
        self.shot = 0
        self._timer = NO_TIMER
        self._kernel, self._listener = kernel, listener
        kernel.register(name, self._due)

    @property
    def reclose_active(self) -> bool:
        """A cycle is in progress, from the trip to the end of the reclaim time."""
        return self.state in ACTIVE

    @property
    def lockout(self) -> bool:
        """The last cycle ended without success."""
        return self.state is S.LOCKOUT

    @property
    def dead_time_ms(self) -> int:
        """The dead time of the present shot (the first is shot 1)."""
        return self.settings.dead_times_ms[self.shot - 1]

    def handle(self, event: RecloserEvent, now: SimTime) -> None:
        """Something happened at the breaker, its protection or its control."""
        if event is E.TRIP and self.shot >= len(self.settings.dead_times_ms):
            event = E.FINAL_TRIP
        after = TRANSITIONS.get((self.state, event))
        if after is None:
            return
        self.state = after
        self._kernel.cancel(self._timer)
        self._timer = NO_TIMER
        if after is S.TRIPPED:
            self.shot += 1
        elif after in (S.READY, S.SWITCHED_ON, S.LOCKOUT):
            self.shot = 0
        self._enter(now)
        self._listener.reclose_changed(event, after, now)
        if after is S.CLOSING and not self._listener.close_breaker(now):
            self.handle(E.CLOSE_FAILED, now)

    def snapshot(self) -> dict[str, Any]:
        """State ready for JSON."""
        return {"state": self.state.value, "shot": self.shot, "timer": self._timer}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand as in ``state``."""
        self.state, self.shot, self._timer = RecloserState(state["state"]), state["shot"], state["timer"]

    def _enter(self, now: SimTime) -> None:
        """Start the timer of the state just entered, if it has one."""
        s = self.settings
        wait_ms = {
            S.DEAD_TIME: s.dead_times_ms[self.shot - 1] if self.shot else 0,
            S.WAITING_FOR_SPRING: SPRING_WAIT_MS,
            S.RECLAIM: s.reclaim_ms,
            S.SWITCHED_ON: s.reclaim_ms,
        }.get(self.state)
        if wait_ms is not None:
            self._timer = self._kernel.schedule(now + wait_ms, self.name, self.state.value)

    def _due(self, timer: str, _payload: Any, now: SimTime) -> None:
        self._timer = NO_TIMER
        dead_time_over = timer == S.DEAD_TIME.value
        self.handle(E.NO_SPRING if dead_time_over and not self._listener.closing_energy() else E.TIME_OVER, now)
