"""Switchgear with a drive: circuit breakers, load break switches and disconnectors.

The contacts and the drive's stored energy, in milliseconds. Not in here: who decided to operate
(protection, auto-reclose, station) and whether the current really stopped (the power flow knows).

Energy. A spring drive has an opening and a closing spring and a motor that charges them. What it can do from the
closed position without the motor is its stored sequence (IEC 62271-100, rated operating sequence): with ``O-C-O``
closing charges the opening spring; with ``O-C`` only the motor charges it; with ``O`` one spring serves both ways.
The motor starts with the operation that leaves it work. A trip without energy waits for the spring.
Current. A breaker opens anything; a load break switch refuses to open a fault current (IEC 62271-103), a
disconnector refuses to open any current (IEC 62271-102).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from simulators.field.kernel import NO_TIMER, DeviceKernel
from twin.network.model import SwitchKind
from twin.points.model import DoublePosition
from twin.timebase import SimTime

SWITCH_MOVING = "switch_moving"
SPRING_NOT_CHARGED = "spring_not_charged"
FAULT_CURRENT = "not_rated_for_fault_current"
LOAD_CURRENT = "not_rated_for_load_current"

DISCONNECTOR_MAX_A = 0.5
"""The negligible current that a disconnector may break (IEC 62271-102, 3.4.105)."""


class DriveState(Enum):
    """Where contacts and drive stand; a jammed drive runs without moving the contacts."""

    OPEN = "open"
    CLOSED = "closed"
    OPENING = "opening"
    CLOSING = "closing"
    JAMMED_OPEN = "jammed_open"
    JAMMED_CLOSED = "jammed_closed"


class DriveFailure(Enum):
    """At which operation a drive jams."""

    OPEN = "open"
    CLOSE = "close"


class Order(Enum):
    """What happens to the drive."""

    OPEN = "open"
    CLOSE = "close"
    OPEN_JAMMED = "open_jammed"
    CLOSE_JAMMED = "close_jammed"
    STROKE_DONE = "stroke_done"


S, O = DriveState, Order  # noqa: E741
TRANSITIONS = {
    (S.CLOSED, O.OPEN): S.OPENING,
    (S.CLOSED, O.OPEN_JAMMED): S.JAMMED_CLOSED,
    (S.OPEN, O.CLOSE): S.CLOSING,
    (S.OPEN, O.CLOSE_JAMMED): S.JAMMED_OPEN,
    (S.OPENING, O.STROKE_DONE): S.OPEN,
    (S.CLOSING, O.STROKE_DONE): S.CLOSED,
    (S.JAMMED_CLOSED, O.STROKE_DONE): S.CLOSED,
    (S.JAMMED_OPEN, O.STROKE_DONE): S.OPEN,
}
"""Everything else is refused with ``switch_moving``, except an order for the position already held."""

POSITIONS = {
    S.OPEN: DoublePosition.OPEN,
    S.JAMMED_OPEN: DoublePosition.OPEN,
    S.CLOSED: DoublePosition.CLOSED,
    S.JAMMED_CLOSED: DoublePosition.CLOSED,
    S.OPENING: DoublePosition.INTERMEDIATE,
    S.CLOSING: DoublePosition.INTERMEDIATE,
}
_ORDERS = {
    (True, False): O.CLOSE,
    (True, True): O.CLOSE_JAMMED,
    (False, False): O.OPEN,
    (False, True): O.OPEN_JAMMED,
}
"""Order by (closing, jammed)."""

CONDUCTING = frozenset({S.CLOSED, S.JAMMED_CLOSED, S.OPENING})
RESTING = frozenset({S.CLOSED, S.OPEN})


@dataclass(frozen=True, slots=True)
class Drive:
    """Times of a drive in ms; without ``stored_sequence`` (``O``, ``O-C``, ``O-C-O``) it needs no stored energy."""

    opening_ms: int
    closing_ms: int
    stored_sequence: str = ""
    charging_ms: int = 0


@dataclass(frozen=True, slots=True)
class Operation:
    """Why the switch operates, and the ticket of the command it obeys, if any."""

    cause: str
    ticket: int | None = None


class SwitchListener(Protocol):
    """What the bay hears of its switch."""

    def drive_started(self, now: SimTime) -> None: ...
    def position_changed(self, position: DoublePosition, cause: str, now: SimTime) -> None: ...
    def operation_finished(self, closing: bool, success: bool, operation: Operation, now: SimTime) -> None: ...
    def spring_changed(self, charged: bool, now: SimTime) -> None: ...


class Switchgear:
    """One switch with its drive. ``name`` is its device name at the kernel."""

    def __init__(
        self,
        name: str,
        kind: SwitchKind,
        drive: Drive,
        kernel: DeviceKernel,
        listener: SwitchListener,
        *,
        closed: bool,
    ) -> None:
        self.name, self.kind, self.drive = name, kind, drive
        self.state = S.CLOSED if closed else S.OPEN
        self.closing_spring = self.opening_spring = True
        self.failure: DriveFailure | None = None
        self._trip_waits = False
        self._operation = Operation("")
        self._charging = NO_TIMER
        self._kernel, self._listener = kernel, listener
        kernel.register(name, self._due)

    @property
    def position(self) -> DoublePosition:
        """What the auxiliary contacts report; intermediate while moving."""
        return POSITIONS[self.state]

    @property
    def conducting(self) -> bool:
        """Whether current can flow: until the end of opening, from the end of closing."""
        return self.state in CONDUCTING

    @property
    def moving(self) -> bool:
        """Whether the drive runs."""
        return self.state not in RESTING

    @property
    def spring_charged(self) -> bool:
        """Whether closing has its energy and, while closed, opening too."""
        return self.closing_spring and (self.opening_spring or self.state is not S.CLOSED)

    def refusal(self, closing: bool, load_a: float, fault_a: float) -> str:
        """The rule that forbids the operation now, or an empty string."""
        if self.moving:
            return SWITCH_MOVING
        if closing == self.conducting:
            return ""
        if not (self.closing_spring if closing else self.opening_spring):
            return SPRING_NOT_CHARGED
        return "" if closing else self._current_refusal(load_a, fault_a)

    def operate(self, closing: bool, operation: Operation, now: SimTime, load_a: float, fault_a: float) -> str:
        """Start the operation, or refuse it by the name of a rule; a switch already there stays as it is."""
        rule = self.refusal(closing, load_a, fault_a)
        if not rule and closing != self.conducting:
            self._start(closing, operation, now)
        return rule

    def trip(self, now: SimTime) -> None:
        """Open on the protection's order: while the drive runs or lacks energy, as soon as it can."""
        if self.state is S.CLOSED and self.opening_spring:
            self._start(False, Operation("trip"), now)
        elif self.state in (S.CLOSED, S.CLOSING, S.JAMMED_CLOSED):
            self._trip_waits = True

    def snapshot(self) -> dict[str, Any]:
        """State ready for JSON; the running timers are in the kernel."""
        return {
            "state": self.state.value,
            "springs": [self.closing_spring, self.opening_spring],
            "failure": self.failure.value if self.failure else None,
            "trip_waits": self._trip_waits,
            "operation": [self._operation.cause, self._operation.ticket],
            "charging": self._charging,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand as in ``state``."""
        self.state = DriveState(state["state"])
        self.closing_spring, self.opening_spring = state["springs"]
        self.failure = DriveFailure(state["failure"]) if state["failure"] else None
        self._trip_waits = state["trip_waits"]
        self._operation = Operation(*state["operation"])
        self._charging = state["charging"]

    def _current_refusal(self, load_a: float, fault_a: float) -> str:
        if self.kind != SwitchKind.BREAKER and fault_a > 0.0:
            return FAULT_CURRENT
        if self.kind == SwitchKind.DISCONNECTOR and load_a > DISCONNECTOR_MAX_A:
            return LOAD_CURRENT
        return ""

    def _start(self, closing: bool, operation: Operation, now: SimTime) -> None:
        jammed = self.failure is (DriveFailure.CLOSE if closing else DriveFailure.OPEN)
        stroke_ms = self.drive.closing_ms if closing else self.drive.opening_ms
        self._operation = operation
        self._change(_ORDERS[closing, jammed], now)
        self._kernel.schedule(now + stroke_ms, self.name, "stroke", closing)
        self._listener.drive_started(now)
        if not jammed:
            self._spend(closing, now)

    def _change(self, order: Order, now: SimTime) -> None:
        before = self.position
        self.state = TRANSITIONS[self.state, order]
        if self.position != before:
            self._listener.position_changed(self.position, self._operation.cause, now)

    def _spend(self, closing: bool, now: SimTime) -> None:
        """Take the energy of one operation, and let the motor run if there is something to charge."""
        sequence = self.drive.stored_sequence
        if not sequence:
            return
        charged = self.spring_charged
        if closing or sequence == "O":
            self.closing_spring = False
        if not closing or sequence == "O":
            self.opening_spring = False
        elif sequence == "O-C-O":
            self.opening_spring = True
        if closing or sequence != "O-C-O":
            self._kernel.cancel(self._charging)
            self._charging = self._kernel.schedule(now + self.drive.charging_ms, self.name, "charging")
        if charged != self.spring_charged:
            self._listener.spring_changed(self.spring_charged, now)

    def _due(self, timer: str, payload: Any, now: SimTime) -> None:
        if timer == "charging":
            self._charged(now)
        else:
            self._stroke_done(bool(payload), now)

    def _charged(self, now: SimTime) -> None:
        self.closing_spring = True
        if self.drive.stored_sequence != "O-C-O" or self.conducting:
            self.opening_spring = True
        self._listener.spring_changed(self.spring_charged, now)
        self._serve_waiting_trip(now)

    def _stroke_done(self, closing: bool, now: SimTime) -> None:
        operation = self._operation
        self._change(O.STROKE_DONE, now)
        self._listener.operation_finished(closing, closing == self.conducting, operation, now)
        self._serve_waiting_trip(now)

    def _serve_waiting_trip(self, now: SimTime) -> None:
        if self._trip_waits and self.state in RESTING:
            self._trip_waits = False
            self.trip(now)
