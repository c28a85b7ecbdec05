"""Time-overcurrent protection: one stage of a relay, inverse or definite time, under any course of the current.

An inverse stage operates when the integral of dt / t(I) reaches 1 (IEC 60255-151, 5.2.2: dependent time
characteristics with changing current), so a current that changes is timed right. When the current falls below
the drop-off the integral resets: at once, or as a disk would, back to 0 within
``t_reset(I) = TMS * tr / (1 - (I/Is)^a)``. Currents hold between two updates, which makes the integral exact.
Not in here: instrument transformers, direction, earth-fault quantities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from simulators.field.kernel import NO_TIMER, DeviceKernel
from twin.derive.settings import RelaySettings
from twin.timebase import NEVER, SimTime

DROP_OFF_RATIO = 0.95
"""Drop-off over pick-up current: the stage lets go below this part of its setting."""

EFFECTIVE_MULTIPLE = 20.0
"""Above this multiple of the setting a dependent time stays what it is there (IEC 60255-151, G_D)."""

ROUNDING_MS = 1e-6
"""Slack against floating-point error before a time is rounded up to the next ms."""


@dataclass(frozen=True, slots=True)
class Curve:
    """t = TMS * (k / ((I/Is)^alpha - 1) + c), reset TMS * reset_s / (1 - (I/Is)^reset_alpha), in seconds."""

    k: float
    alpha: float
    c: float
    reset_s: float
    reset_alpha: float = 2.0


CURVES = {
    "standard_inverse": Curve(0.14, 0.02, 0.0, 13.5),
    "very_inverse": Curve(13.5, 1.0, 0.0, 47.3),
    "extremely_inverse": Curve(80.0, 2.0, 0.0, 80.0),
    "long_time_inverse": Curve(120.0, 1.0, 0.0, 120.0),
    "ieee_moderately_inverse": Curve(0.0515, 0.02, 0.114, 4.85),
    "ieee_very_inverse": Curve(19.61, 2.0, 0.491, 21.6),
    "ieee_extremely_inverse": Curve(28.2, 2.0, 0.1217, 29.1),
}
"""IEC 60255-151 Annex A (A, B, C; D, E, F are those of IEEE C37.112) and the long time inverse of BS 142."""

DEFINITE_TIME = "definite_time"


def operate_time_s(curve: str, multiple: float, time_multiplier: float = 1.0) -> float:
    """Operate time at a constant ``multiple`` = I/Is of the setting, s; infinite at 1 and below."""
    if multiple <= 1.0:
        return math.inf
    c = CURVES[curve]
    power: float = min(multiple, EFFECTIVE_MULTIPLE) ** c.alpha
    return time_multiplier * (c.k / (power - 1.0) + c.c)


def reset_time_s(curve: str, multiple: float, time_multiplier: float = 1.0) -> float:
    """Time a disk needs from operation back to rest at a constant ``multiple`` below 1, s."""
    if multiple >= 1.0:
        return math.inf
    c = CURVES[curve]
    power: float = multiple**c.reset_alpha
    return time_multiplier * c.reset_s / (1.0 - power)


@dataclass(frozen=True, slots=True)
class StageSettings:
    """``function`` is the device number (51, 50); ``delay_ms`` counts for ``definite_time`` only."""

    function: str
    pickup_a: float
    curve: str = DEFINITE_TIME
    time_multiplier: float = 1.0
    delay_ms: int = 0
    disk_reset: bool = False


def stages_of(settings: RelaySettings) -> tuple[StageSettings, ...]:
    """The stages of a two-stage relay: 51 low, 50 high."""
    low = StageSettings("51", settings.pickup_a, settings.curve.value, settings.time_multiplier, settings.delay_ms)
    if settings.high_pickup_a is None:
        return (low,)
    return low, StageSettings("50", settings.high_pickup_a, delay_ms=settings.high_delay_ms)


class StageState(Enum):
    """A stage at rest (its disk may still be turning back), timing, or operated."""

    IDLE = "idle"
    PICKED_UP = "picked_up"
    TRIPPED = "tripped"


class StageEvent(Enum):
    """What happens to a stage."""

    ABOVE = "above"
    BELOW = "below"
    ELAPSED = "elapsed"


TRANSITIONS = {
    (StageState.IDLE, StageEvent.ABOVE): StageState.PICKED_UP,
    (StageState.PICKED_UP, StageEvent.BELOW): StageState.IDLE,
    (StageState.PICKED_UP, StageEvent.ELAPSED): StageState.TRIPPED,
    (StageState.TRIPPED, StageEvent.BELOW): StageState.IDLE,
}
"""What is absent changes nothing."""


class RelayListener(Protocol):
    """What the bay hears of its relay."""

    def picked_up(self, function: str, i_a: float, now: SimTime) -> None: ...
    def tripped(self, function: str, i_a: float, now: SimTime) -> None: ...


class OvercurrentStage:
    """One stage of a relay. ``name`` is its device name at the kernel."""

    def __init__(self, name: str, settings: StageSettings, kernel: DeviceKernel, listener: RelayListener) -> None:
        self.name, self.settings = name, settings
        self.state = StageState.IDLE
        self.i_a = 0.0
        self._progress = 0.0
        self._since = 0
        self._timer = NO_TIMER
        self._kernel, self._listener = kernel, listener
        kernel.register(name, self._due)

    @property
    def operated(self) -> bool:
        """The trip order stands until the current is gone."""
        return self.state is StageState.TRIPPED

    @property
    def active(self) -> bool:
        """Timing or operated."""
        return self.state is not StageState.IDLE

    def progress(self, now: SimTime) -> float:
        """Where the disk stands at ``now``: 0 at rest, 1 operates."""
        rate = self._rate_per_ms()
        if rate == 0.0 or now == self._since:
            return self._progress
        return min(1.0, max(0.0, self._progress + (now - self._since) * rate))

    def update(self, i_a: float, now: SimTime) -> None:
        """The current is ``i_a`` from ``now`` on."""
        if i_a == self.i_a:
            return
        self._progress, self._since, self.i_a = self.progress(now), now, i_a
        if i_a > self.settings.pickup_a:
            self._step(StageEvent.ABOVE, now)
        elif i_a < DROP_OFF_RATIO * self.settings.pickup_a:
            self._step(StageEvent.BELOW, now)
        self._set_timer(now)

    def snapshot(self) -> dict[str, Any]:
        """State ready for JSON."""
        return {
            "state": self.state.value,
            "i_a": self.i_a,
            "progress": self._progress,
            "since": self._since,
            "timer": self._timer,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand as in ``state``."""
        self.state = StageState(state["state"])
        self.i_a, self._progress = state["i_a"], state["progress"]
        self._since, self._timer = state["since"], state["timer"]

    def _rate_per_ms(self) -> float:
        """How fast the disk turns in the present state: 1/ms towards operation, negative back to rest."""
        s = self.settings
        if self.state is StageState.TRIPPED:
            return 0.0
        if self.state is StageState.IDLE:
            return -1e-3 / reset_time_s(s.curve, self.i_a / s.pickup_a, s.time_multiplier) if self._progress else 0.0
        if s.curve == DEFINITE_TIME:
            return 1.0 / s.delay_ms if s.delay_ms else math.inf
        return 1e-3 / operate_time_s(s.curve, self.i_a / s.pickup_a, s.time_multiplier)

    def _step(self, event: StageEvent, now: SimTime) -> None:
        after = TRANSITIONS.get((self.state, event))
        if after is None:
            return
        self.state = after
        if after is StageState.PICKED_UP:
            self._listener.picked_up(self.settings.function, self.i_a, now)
        elif after is StageState.TRIPPED:
            self._progress, self._since = 1.0, now
            self._listener.tripped(self.settings.function, self.i_a, now)
        elif not self.settings.disk_reset or self.settings.curve == DEFINITE_TIME:
            self._progress = 0.0

    def _set_timer(self, now: SimTime) -> None:
        self._kernel.cancel(self._timer)
        self._timer = NO_TIMER
        rate = self._rate_per_ms()
        if self.state is StageState.PICKED_UP and rate > 0.0:
            due = now + math.ceil(max(0.0, (1.0 - self._progress) / rate - ROUNDING_MS))
            if due < NEVER:
                self._timer = self._kernel.schedule(due, self.name, "operate")

    def _due(self, _timer: str, _payload: Any, now: SimTime) -> None:
        self._timer = NO_TIMER
        self._step(StageEvent.ELAPSED, now)
