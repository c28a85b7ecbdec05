"""Automatic voltage regulator beside a mechanism: keeps a voltage in a band around its set point.

Leaving the band starts a delay; if the voltage is still outside when it is over, one step is made, then the next one
after the shorter delay between steps. Coming back into the band resets it. Definite-time characteristic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from simulators.field.kernel import NO_TIMER, DeviceKernel
from twin.timebase import SimTime

CAUSE = "regulator"


class RegulatorState(Enum):
    """Where the regulator stands."""

    IN_BAND = "in_band"
    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class RegulatorSettings:
    """Set point and half width of the band (pu), delay before the first step and between steps (ms)."""

    v_set_pu: float
    half_band_pu: float
    delay_ms: int
    step_delay_ms: int


class Regulator:
    """One regulator. ``step(raise_voltage, now)`` moves its mechanism."""

    def __init__(
        self, name: str, settings: RegulatorSettings, kernel: DeviceKernel, step: Callable[[bool, SimTime], None]
    ) -> None:
        self.name, self.settings = name, settings
        self.state = RegulatorState.IN_BAND
        self._timer = NO_TIMER
        self._kernel, self._step = kernel, step
        kernel.register(name, self._due)

    def measure(self, v_pu: float, now: SimTime) -> None:
        """The voltage from ``now`` on; 0 (dead) is no reason to step."""
        state = self._sensed(v_pu)
        if state is self.state:
            return
        self._kernel.cancel(self._timer)
        self._timer, self.state = NO_TIMER, state
        if state is not RegulatorState.IN_BAND:
            self._timer = self._kernel.schedule(now + self.settings.delay_ms, self.name, "delay")

    def _sensed(self, v_pu: float) -> RegulatorState:
        off = v_pu - self.settings.v_set_pu
        if v_pu <= 0.0 or abs(off) <= self.settings.half_band_pu:
            return RegulatorState.IN_BAND
        return RegulatorState.LOW if off < 0 else RegulatorState.HIGH

    def _due(self, timer: str, payload: Any, now: SimTime) -> None:
        self._timer = self._kernel.schedule(now + self.settings.step_delay_ms, self.name, "delay")
        self._step(self.state is RegulatorState.LOW, now)

    def snapshot(self) -> dict[str, Any]:
        """State ready for JSON."""
        return {"state": self.state.value, "timer": self._timer}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand as in ``state``."""
        self.state, self._timer = RegulatorState(state["state"]), state["timer"]
