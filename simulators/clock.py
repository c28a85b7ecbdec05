"""Decides when the next cycle is, and paces the world where it is to run against the wall clock.

In quiet times the world steps by the base step. Whatever knows of something to come (a breaker about to open, a
frame about to arrive, a fault in the scenario) wants a cycle at exactly that millisecond. After such a cycle
come two short ones: one in which its consequences take effect, one in which everybody has told what they want
after them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

from simulators.cycle import CycleSimulator, RunContext
from twin.errors import ExitCode, TwinError
from twin.timebase import NEVER, SimTime, clock_text

WANTED = ("director_wanted", "grid_wanted", "field_wanted", "control_room_wanted")
CHANGED = ("director_changed", "field_changed", "control_room_changed")
PACE = "grid_pace_ms"
"""While it is not 0, cycles come at least so often: something moves that has to be followed."""
TAKE_EFFECT_MS = 1
SETTLE_MS = 10
LONGEST_SLEEP_S = 0.1
"""A sleep goes on after a signal was handled, so it must be short."""


class OverrunPolicy(Enum):
    """What happens when a cycle is late against the wall clock."""

    CATCH_UP = "catch-up"
    SLIP = "slip"
    FAIL = "fail"


class DeadlineMissedError(TwinError):
    """The world could not keep up with the wall clock."""

    def __init__(self, t_ms: SimTime, late_ms: float) -> None:
        self.t_ms, self.late_ms = t_ms, late_ms
        super().__init__(f"the cycle at {clock_text(t_ms)} was {late_ms:.0f} ms late against the wall clock")

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.DEADLINE_MISSED


class Pacer:
    """Holds the world to ``speed`` times real time; ``speed`` 0 is as fast as it goes.

    ``monotonic`` and ``sleep`` are the wall clock, in seconds.
    """

    def __init__(
        self,
        speed: float,
        policy: OverrunPolicy,
        tolerance_ms: float = 100.0,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        self.speed = speed
        self.policy = policy
        self.tolerance_ms = tolerance_ms
        self.overruns = 0
        self.worst_ms = 0.0
        self.cancelled = False
        self._zero: float | None = None

    def wait_for(self, now: SimTime) -> None:
        """Sleep until simulation time ``now`` is due.

        Raises:
            DeadlineMissedError: it was overdue, and the policy is to fail.
        """
        if not self.speed:
            return
        due_s = now / 1000.0 / self.speed
        if self._zero is None:
            self._zero = self._monotonic() - due_s
        late_s = self._monotonic() - self._zero - due_s
        if late_s < 0:
            self._sleep_until(self._zero + due_s)
        elif late_s * 1000.0 > self.tolerance_ms:
            self._overrun(now, late_s)

    def now_ms(self) -> float:
        """Simulation time by the wall clock; 0 before the first cycle."""
        return 0.0 if self._zero is None else (self._monotonic() - self._zero) * self.speed * 1000.0

    def cancel(self) -> None:
        """Wait no more; may be called from a signal handler."""
        self.cancelled = True

    def _sleep_until(self, due_s: float) -> None:
        while (left_s := due_s - self._monotonic()) > 0 and not self.cancelled:
            self._sleep(min(left_s, LONGEST_SLEEP_S))

    def _overrun(self, now: SimTime, late_s: float) -> None:
        self.overruns += 1
        self.worst_ms = max(self.worst_ms, late_s * 1000.0)
        if self.policy is OverrunPolicy.FAIL:
            raise DeadlineMissedError(now, late_s * 1000.0)
        if self.policy is OverrunPolicy.SLIP:
            assert self._zero is not None
            self._zero += late_s


class ClockSimulator(CycleSimulator):
    """First in every cycle: announces the next one."""

    INPUTS = (*WANTED, *CHANGED, PACE, "recorded")
    OUTPUTS = ("now_ms",)
    PART = "pacing"

    def __init__(self, context: RunContext, *, base_step_ms: int, end_ms: SimTime, pacer: Pacer) -> None:
        super().__init__(context)
        self._base_step_ms = base_step_ms
        self._end_ms = end_ms
        self._pacer = pacer
        self._taking_effect = False

    def cycle(self, now: SimTime, received: dict[str, Any]) -> dict[str, Any]:
        self._pacer.wait_for(now)
        return {"now_ms": now, "next_ms": self._at_most_end(now, self._next(now, received))}

    def _next(self, now: SimTime, received: dict[str, Any]) -> SimTime:
        wanted = min(int(received.get(name, NEVER)) for name in WANTED)
        if wanted <= now:
            self._taking_effect = True
            return now + TAKE_EFFECT_MS
        pace_ms = min(int(received.get(PACE) or 0) or self._base_step_ms, self._base_step_ms)
        wanted = min(wanted, (now // self._base_step_ms + 1) * self._base_step_ms, (now // pace_ms + 1) * pace_ms)
        if self._taking_effect or any(received.get(name) for name in CHANGED):
            self._taking_effect = False
            return min(now + SETTLE_MS, wanted)
        return wanted

    def _at_most_end(self, now: SimTime, next_ms: SimTime) -> SimTime:
        """The last cycle is exactly at the end; after it mosaik is sent past its limit."""
        return min(next_ms, self._end_ms) if now < self._end_ms else self._end_ms + 1

    def snapshot(self) -> bytes:
        return json.dumps({"taking_effect": self._taking_effect}).encode()

    def restore(self, state: bytes) -> None:
        self._taking_effect = json.loads(state)["taking_effect"]
