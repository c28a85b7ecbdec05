"""Directional fault passage indicator at one switch.

It picks up on fault current, and after a minimum duration latches the direction of the fault: forward is from the
node into the branch. The indication stays when the current vanishes with the breaker's opening, and resets after
the voltage of the cable behind the switch has been healthy for a time. A new passage replaces the old direction.
Not in here: what an earth-fault function makes of the residual current (the bay knows).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Protocol

from simulators.field.kernel import NO_TIMER, DeviceKernel
from twin.derive.settings import IndicatorSettings
from twin.timebase import SimTime


class IndicatorState(Enum):
    """Where an indicator stands; all but the first two hold an indication."""

    IDLE = "idle"
    TIMING = "timing"
    PASSING = "passing"  # latched, the fault current still flows
    LATCHED = "latched"
    RETIMING = "retiming"  # latched, and a new passage is being timed
    RESETTING = "resetting"  # latched, and the voltage is healthy


class IndicatorEvent(Enum):
    """What happens to an indicator."""

    CURRENT = "current"
    TURNED = "turned"  # the fault current changed its direction
    NO_CURRENT = "no_current"
    TIME_OVER = "time_over"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


S, E = IndicatorState, IndicatorEvent
TRANSITIONS = {
    (S.IDLE, E.CURRENT): S.TIMING,
    (S.TIMING, E.TURNED): S.TIMING,
    (S.TIMING, E.NO_CURRENT): S.IDLE,
    (S.TIMING, E.TIME_OVER): S.PASSING,
    (S.PASSING, E.TURNED): S.RETIMING,
    (S.PASSING, E.NO_CURRENT): S.LATCHED,
    (S.LATCHED, E.CURRENT): S.RETIMING,
    (S.LATCHED, E.HEALTHY): S.RESETTING,
    (S.RETIMING, E.TURNED): S.RETIMING,
    (S.RETIMING, E.NO_CURRENT): S.LATCHED,
    (S.RETIMING, E.TIME_OVER): S.PASSING,
    (S.RESETTING, E.CURRENT): S.RETIMING,
    (S.RESETTING, E.UNHEALTHY): S.LATCHED,
    (S.RESETTING, E.TIME_OVER): S.IDLE,
}
"""What is absent changes nothing."""


class Direction(Enum):
    """Where the fault lies, seen from the node."""

    NONE = "none"
    FORWARD = "forward"
    REVERSE = "reverse"


class IndicatorFailure(Enum):
    """How an indicator can be wrong: blind, crying wolf (forward), or wired the wrong way round."""

    SILENT = "silent"
    FALSE = "false"
    REVERSED = "reversed"


class IndicatorListener(Protocol):
    """What the bay hears of its indicator."""

    def indication_changed(self, direction: Direction, now: SimTime) -> None: ...


class FaultPassageIndicator:
    """One indicator. ``name`` is its device name at the kernel."""

    def __init__(
        self, name: str, settings: IndicatorSettings, kernel: DeviceKernel, listener: IndicatorListener
    ) -> None:
        self.name, self.settings = name, settings
        self.state = S.IDLE
        self.direction = Direction.NONE
        self.failure: IndicatorFailure | None = None
        self._sensed = Direction.NONE
        self._timer = NO_TIMER
        self._kernel, self._listener = kernel, listener
        kernel.register(name, self._due)

    @property
    def at_rest(self) -> bool:
        """Nothing timed and nothing indicated."""
        return self.state is S.IDLE

    def update(self, fault_a: float, forward: bool, healthy: bool, now: SimTime) -> None:
        """Fault current, its direction and the health of the cable's voltage from ``now`` on."""
        if self.failure is not IndicatorFailure.SILENT and fault_a > self.settings.pickup_a:
            before = self._sensed
            self._sensed = self._direction(forward)
            if before is not self._sensed and before is not Direction.NONE:
                self._step(E.TURNED, now)
            self._step(E.CURRENT, now)
            return
        self._sensed = Direction.NONE
        self._step(E.NO_CURRENT, now)
        self._step(E.HEALTHY if healthy and self.failure is not IndicatorFailure.FALSE else E.UNHEALTHY, now)

    def fail(self, failure: IndicatorFailure | None, now: SimTime) -> None:
        """Make the indicator wrong, or well again; a false indication is raised at once and stays."""
        self.failure = failure
        if failure is IndicatorFailure.FALSE:
            self._enter(S.LATCHED, now)
            self._indicate(Direction.FORWARD, now)

    def snapshot(self) -> dict[str, Any]:
        """State ready for JSON."""
        return {
            "state": self.state.value,
            "direction": self.direction.value,
            "failure": self.failure.value if self.failure else None,
            "sensed": self._sensed.value,
            "timer": self._timer,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand as in ``state``."""
        self.state, self._timer = IndicatorState(state["state"]), state["timer"]
        self.direction, self._sensed = Direction(state["direction"]), Direction(state["sensed"])
        self.failure = IndicatorFailure(state["failure"]) if state["failure"] else None

    def _direction(self, forward: bool) -> Direction:
        """What is shown for a passage; without directional element every passage counts as forward."""
        turned_round = self.failure is IndicatorFailure.REVERSED
        seen_forward = not self.settings.directional or forward != turned_round
        return Direction.FORWARD if seen_forward else Direction.REVERSE

    def _step(self, event: IndicatorEvent, now: SimTime) -> None:
        after = TRANSITIONS.get((self.state, event))
        if after is None:
            return
        self._enter(after, now)
        if after is S.PASSING:
            self._indicate(self._sensed, now)
        elif after is S.IDLE:
            self._indicate(Direction.NONE, now)

    def _enter(self, state: IndicatorState, now: SimTime) -> None:
        self.state = state
        self._kernel.cancel(self._timer)
        self._timer = NO_TIMER
        s = self.settings
        wait_ms = {S.TIMING: s.minimum_time_ms, S.RETIMING: s.minimum_time_ms, S.RESETTING: s.reset_ms}.get(state)
        if wait_ms is not None:
            self._timer = self._kernel.schedule(now + wait_ms, self.name, state.value)

    def _indicate(self, direction: Direction, now: SimTime) -> None:
        if direction is not self.direction:
            self.direction = direction
            self._listener.indication_changed(direction, now)

    def _due(self, _timer: str, _payload: Any, now: SimTime) -> None:
        self._timer = NO_TIMER
        self._step(E.TIME_OVER, now)
