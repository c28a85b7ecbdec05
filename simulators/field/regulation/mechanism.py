"""A motor-driven mechanism with numbered positions: the tap changer of a transformer, the steps of a capacitor bank.

One step at a time, each takes its time. A capacitor step that was taken out must discharge before it goes in again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from simulators.field.kernel import DeviceKernel
from twin.timebase import SimTime

MOVING = "mechanism_moving"
END_OF_RANGE = "end_of_range"
DISCHARGING = "capacitor_discharging"
MECHANISM_RULES = (MOVING, END_OF_RANGE, DISCHARGING)


class MechanismState(Enum):
    """Where the motor stands."""

    AT_REST = "at_rest"
    RAISING = "raising"
    LOWERING = "lowering"


@dataclass(frozen=True, slots=True)
class MechanismPlate:
    """What is written on the device: its range, the time of a step, the time a capacitor takes to discharge."""

    name: str
    lowest: int
    highest: int
    step_ms: int
    discharge_ms: int = 0


class MechanismListener(Protocol):
    """What is told of a mechanism."""

    def position_changed(self, position: int, cause: str, now: SimTime) -> None: ...
    def step_finished(self, ticket: int | None, success: bool, now: SimTime) -> None: ...


class Mechanism:
    """One mechanism; ``operations`` counts the steps it has made."""

    def __init__(self, plate: MechanismPlate, position: int, kernel: DeviceKernel, listener: MechanismListener) -> None:
        self.plate, self.position = plate, position
        self.state = MechanismState.AT_REST
        self.jammed = False
        self.operations = 0
        self._discharged_ms = 0
        self._kernel, self._listener = kernel, listener
        kernel.register(plate.name, self._due)

    def refusal(self, up: bool, now: SimTime) -> str:
        """The rule against a step now, or an empty string."""
        if self.state is not MechanismState.AT_REST:
            return MOVING
        if self.position == (self.plate.highest if up else self.plate.lowest):
            return END_OF_RANGE
        return DISCHARGING if up and now < self._discharged_ms else ""

    def step(self, up: bool, cause: str, ticket: int | None, now: SimTime) -> str:
        """Start one step; returns the rule that refuses it, or an empty string."""
        rule = self.refusal(up, now)
        if not rule:
            self.state = MechanismState.RAISING if up else MechanismState.LOWERING
            self._kernel.schedule(now + self.plate.step_ms, self.plate.name, "step", [cause, ticket])
        return rule

    def _due(self, timer: str, payload: Any, now: SimTime) -> None:
        cause, ticket = payload
        up = self.state is MechanismState.RAISING
        self.state = MechanismState.AT_REST
        if not self.jammed:
            self.position += 1 if up else -1
            self.operations += 1
            self._discharged_ms = self._discharged_ms if up else now + self.plate.discharge_ms
            self._listener.position_changed(self.position, cause, now)
        self._listener.step_finished(ticket, not self.jammed, now)

    def snapshot(self) -> dict[str, Any]:
        """State ready for JSON; its timer is the kernel's."""
        return {
            "position": self.position,
            "state": self.state.value,
            "jammed": self.jammed,
            "operations": self.operations,
            "discharged_ms": self._discharged_ms,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand as in ``state``."""
        self.position, self.jammed, self.operations = state["position"], state["jammed"], state["operations"]
        self.state, self._discharged_ms = MechanismState(state["state"]), state["discharged_ms"]
