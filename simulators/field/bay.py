"""A bay: one switch with the protection, auto-reclose function and indicator that belong to it.

Wires the devices to each other (trip opens, open starts the dead time, a command ends the cycle) and keeps the
bay's indications. Not in here: measurands, points and stations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from simulators.field.breaker import FAULT_CURRENT, Drive, DriveFailure, Operation, Switchgear
from simulators.field.indicator import Direction, FaultPassageIndicator, IndicatorFailure
from simulators.field.kernel import DeviceKernel
from simulators.field.overcurrent import OvercurrentStage, StageSettings
from simulators.field.recloser import Recloser, RecloserEvent, RecloserState
from twin.derive.settings import EarthFaultSettings, IndicatorSettings, RecloserSettings
from twin.network.model import SwitchKind
from twin.points.model import DoublePosition
from twin.solvers.short_circuit.residual import operating_current_a
from twin.timebase import SimTime

EARTH_FAULT_FUNCTION = "67N"
INDICATIONS = (
    "position",
    "trip",
    "reclose_active",
    "lockout",
    "spring_charged",
    "local",
    "fault_forward",
    "fault_reverse",
)
"""The quantities a bay reports by itself, in the order in which simultaneous changes are reported."""


@dataclass(frozen=True, slots=True)
class BayEquipment:
    """What stands in a bay."""

    name: str
    kind: SwitchKind
    drive: Drive
    closed: bool
    stages: tuple[StageSettings, ...] = ()
    recloser: RecloserSettings | None = None
    indicator: IndicatorSettings | None = None
    earth_fault: EarthFaultSettings | None = None


@dataclass(frozen=True, slots=True)
class BayMeasurement:
    """What the bay's transducers see, held until the next measurement.

    Open contacts carry no current, and what lies behind them is not known to be healthy. ``fault_forward`` is
    the direction from the node into the branch.
    """

    i_a: float = 0.0
    i_fault_a: float = 0.0
    fault_forward: bool = False
    voltage_healthy: bool = False
    residual_a: complex = 0j
    displacement_pu: float = 0.0


class BayReporter(Protocol):
    """Where a bay reports to; ``switch`` is its row in the network's switches."""

    def measured(self, switch: int) -> BayMeasurement: ...
    def contacts_changed(self, switch: int, now: SimTime) -> None: ...
    def indication(self, switch: int, quantity: str, value: int, now: SimTime) -> None: ...
    def fault_recorded(self, switch: int, now: SimTime) -> None: ...
    def journal(self, switch: int, kind: str, data: Mapping[str, Any], now: SimTime) -> None: ...
    def finished(self, ticket: int, success: bool, now: SimTime) -> None: ...


class Bay:
    """The devices around one switch; listens to all of them."""

    def __init__(self, switch: int, equipment: BayEquipment, kernel: DeviceKernel, reporter: BayReporter) -> None:
        self.name, self.local = equipment.name, False
        self._row, self._reporter = switch, reporter
        self._trip_latched = False
        self.switchgear = Switchgear(
            f"{self.name}/drive", equipment.kind, equipment.drive, kernel, self, closed=equipment.closed
        )
        self.stages = [
            OvercurrentStage(f"{self.name}/{stage.function}", stage, kernel, self) for stage in equipment.stages
        ]
        self._earth_fault = earth = equipment.earth_fault
        if earth is not None and earth.trips:
            stage = StageSettings(EARTH_FAULT_FUNCTION, earth.pickup_a, delay_ms=earth.delay_ms)
            self.stages.append(OvercurrentStage(f"{self.name}/{stage.function}", stage, kernel, self))
        self.recloser = (
            Recloser(f"{self.name}/79", equipment.recloser, kernel, self) if equipment.recloser is not None else None
        )
        self.indicator = (
            FaultPassageIndicator(f"{self.name}/indicator", equipment.indicator, kernel, self)
            if equipment.indicator is not None
            else None
        )
        self._published = self.indications()

    @property
    def relay_active(self) -> bool:
        """A stage is picked up or has operated."""
        return any(stage.active for stage in self.stages)

    def awake(self, now: SimTime) -> bool:
        """Relay or indicator has to see every measurement: active, turning back, or indicating."""
        turning = any(stage.active or stage.progress(now) > 0.0 for stage in self.stages)
        return turning or (self.indicator is not None and not self.indicator.at_rest)

    def indications(self) -> dict[str, int]:
        """Present value of every quantity in ``INDICATIONS``."""
        direction = self.indicator.direction if self.indicator else Direction.NONE
        return {
            "position": int(self.switchgear.position),
            "trip": int(self._trip_latched),
            "reclose_active": int(self.recloser is not None and self.recloser.reclose_active),
            "lockout": int(self.recloser is not None and self.recloser.lockout),
            "spring_charged": int(self.switchgear.spring_charged),
            "local": int(self.local),
            "fault_forward": int(direction is Direction.FORWARD),
            "fault_reverse": int(direction is Direction.REVERSE),
        }

    def measure(self, now: SimTime) -> None:
        """Let relay and indicator see what the transducers see from ``now`` on."""
        m = self._reporter.measured(self._row)
        earth_a = self._earth_fault_a(m)
        for stage in self.stages:
            by_earth = stage.settings.function == EARTH_FAULT_FUNCTION
            stage.update(max(earth_a, 0.0) if by_earth else max(m.i_a, m.i_fault_a), now)
        if self.indicator is not None:
            fault_a, forward = m.i_fault_a, m.fault_forward
            if self._earth_fault is not None and abs(earth_a) > self._earth_fault.pickup_a:
                fault_a, forward = math.inf, earth_a > 0.0
            self.indicator.update(fault_a, forward, m.voltage_healthy, now)

    def _earth_fault_a(self, m: BayMeasurement) -> float:
        """What the directional earth-fault function measures: positive for a fault in the branch."""
        earth = self._earth_fault
        if earth is None or m.displacement_pu < earth.displacement_pu:
            return 0.0
        return operating_current_a(m.residual_a, earth.method)

    def refusal(self, closing: bool) -> str:
        """The switch's own rule against operating now, or an empty string."""
        return self.switchgear.refusal(closing, *self._currents())

    def operate(self, closing: bool, operation: Operation, now: SimTime) -> str:
        """Operate on somebody's order; returns the rule that refuses, or an empty string."""
        already_there = closing == self.switchgear.conducting
        rule = self.switchgear.operate(closing, operation, now, *self._currents())
        if rule:
            return rule
        self._tell_recloser(RecloserEvent.COMMAND, now)
        if already_there:
            if closing and self.recloser is not None and self.recloser.lockout:
                self._tell_recloser(RecloserEvent.SWITCHED_ON, now)
            self._finish(operation, True, now)
        return ""

    def set_local(self, local: bool, now: SimTime) -> None:
        """Take the bay under local control, which also blocks auto-reclose, or give it back."""
        if local == self.local:
            return
        self.local = local
        if local:
            self._tell_recloser(RecloserEvent.COMMAND, now)
        self._journal("local_control" if local else "remote_control", {}, now)
        self._publish(now)

    def fail_drive(self, failure: DriveFailure | None, now: SimTime) -> None:
        """Let the drive jam at one of its operations; None repairs it. A trip that still stands opens then."""
        self.switchgear.failure = failure
        if failure is not DriveFailure.OPEN and any(stage.operated for stage in self.stages):
            self.switchgear.trip(now)

    def fail_indicator(self, failure: IndicatorFailure | None, now: SimTime) -> None:
        """Make the indicator wrong, or well again; a bay without one stays as it is."""
        if self.indicator is not None:
            self.indicator.fail(failure, now)
            self.measure(now)

    # what the switch says

    def position_changed(self, position: DoublePosition, cause: str, now: SimTime) -> None:
        """The switch left or reached a position."""
        if position is DoublePosition.CLOSED:
            self._trip_latched = False
        self._journal("breaker", {"position": position.name.lower(), "cause": cause}, now)
        self._publish(now)
        if position is DoublePosition.OPEN:
            self._check_duty(now)
        if position is not DoublePosition.INTERMEDIATE:
            self._reporter.contacts_changed(self._row, now)
            self.measure(now)

    def drive_started(self, now: SimTime) -> None:
        """The drive runs."""
        self._reporter.contacts_changed(self._row, now)

    def operation_finished(self, closing: bool, success: bool, operation: Operation, now: SimTime) -> None:
        """The drive stands still again."""
        if not success:
            self._journal("drive_failed", {"operation": _verb(closing), "cause": operation.cause}, now)
        events = {
            (False, True): RecloserEvent.OPENED,
            (False, False): RecloserEvent.OPEN_FAILED,
            (True, True): RecloserEvent.CLOSED if operation.cause == "reclose" else RecloserEvent.SWITCHED_ON,
            (True, False): RecloserEvent.CLOSE_FAILED,
        }
        self._tell_recloser(events[closing, success], now)
        self._reporter.contacts_changed(self._row, now)
        self._finish(operation, success, now)

    def spring_changed(self, charged: bool, now: SimTime) -> None:
        """The closing spring was charged or released."""
        self._publish(now)
        if charged:
            self._tell_recloser(RecloserEvent.SPRING_CHARGED, now)

    # what the relay says

    def picked_up(self, function: str, i_a: float, now: SimTime) -> None:
        """A stage began to time."""
        self._journal("relay_pickup", {"function": function, "i_a": i_a}, now)

    def tripped(self, function: str, i_a: float, now: SimTime) -> None:
        """A stage operated."""
        self._trip_latched = True
        self._journal("relay_trip", {"function": function, "i_a": i_a}, now)
        self._reporter.fault_recorded(self._row, now)
        self._publish(now)
        self._tell_recloser(RecloserEvent.FINAL_TRIP if self.local else RecloserEvent.TRIP, now)
        self.switchgear.trip(now)

    def shed(self, now: SimTime) -> None:
        """An under-frequency stage opens the breaker; nothing recloses it."""
        self._tell_recloser(RecloserEvent.COMMAND, now)
        self.switchgear.trip(now)

    # what the auto-reclose function says

    def close_breaker(self, now: SimTime) -> bool:
        """The dead time is over."""
        assert self.recloser is not None
        data = {"shot": self.recloser.shot, "dead_time_ms": self.recloser.dead_time_ms}
        self._journal("reclose", data, now)
        return not self.switchgear.operate(True, Operation("reclose"), now, 0.0, 0.0)

    def closing_energy(self) -> bool:
        """Whether the closing spring is charged."""
        return self.switchgear.spring_charged

    def reclose_changed(self, event: RecloserEvent, after: RecloserState, now: SimTime) -> None:
        """The auto-reclose function changed its state."""
        if after is RecloserState.LOCKOUT:
            self._journal("lockout", {"cause": event.value}, now)
        elif after is RecloserState.WAITING_FOR_SPRING:
            self._journal("reclose_blocked", {"rule": "spring_not_charged"}, now)
        elif after is RecloserState.READY and event is RecloserEvent.TIME_OVER:
            self._journal("reclaimed", {}, now)
        self._publish(now)

    # what the indicator says

    def indication_changed(self, direction: Direction, now: SimTime) -> None:
        """A passage was indicated, or the indication was reset."""
        state = "reset" if direction is Direction.NONE else "set"
        self._journal("indicator", {"direction": direction.value, "state": state}, now)
        self._publish(now)

    def snapshot(self) -> dict[str, Any]:
        """State of all devices, ready for JSON."""
        return {
            "local": self.local,
            "trip_latched": self._trip_latched,
            "published": self._published,
            "switchgear": self.switchgear.snapshot(),
            "stages": [stage.snapshot() for stage in self.stages],
            "recloser": self.recloser.snapshot() if self.recloser else None,
            "indicator": self.indicator.snapshot() if self.indicator else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand as in ``state``."""
        self.local, self._trip_latched = state["local"], state["trip_latched"]
        self._published = dict(state["published"])
        self.switchgear.restore(state["switchgear"])
        for stage, stage_state in zip(self.stages, state["stages"], strict=True):
            stage.restore(stage_state)
        if self.recloser is not None:
            self.recloser.restore(state["recloser"])
        if self.indicator is not None:
            self.indicator.restore(state["indicator"])

    def _currents(self) -> tuple[float, float]:
        """Load and fault current that the contacts carry."""
        m = self._reporter.measured(self._row)
        return m.i_a, m.i_fault_a

    def _check_duty(self, now: SimTime) -> None:
        """Write down that a switch broke a fault current (one that came while it was opening) it is not rated for."""
        _, fault_a = self._currents()
        if fault_a > 0.0 and self.switchgear.kind is not SwitchKind.BREAKER:
            self._journal("overstressed", {"rule": FAULT_CURRENT, "i_fault_a": fault_a}, now)

    def _tell_recloser(self, event: RecloserEvent, now: SimTime) -> None:
        if self.recloser is not None:
            self.recloser.handle(event, now)

    def _finish(self, operation: Operation, success: bool, now: SimTime) -> None:
        if operation.ticket is not None:
            self._reporter.finished(operation.ticket, success, now)

    def _journal(self, kind: str, data: Mapping[str, Any], now: SimTime) -> None:
        self._reporter.journal(self._row, kind, data, now)

    def _publish(self, now: SimTime) -> None:
        """Report every indication that differs from what was reported last."""
        values = self.indications()
        before, self._published = self._published, values
        for quantity in INDICATIONS:
            if values[quantity] != before[quantity]:
                self._reporter.indication(self._row, quantity, values[quantity], now)


def _verb(closing: bool) -> str:
    return "close" if closing else "open"
