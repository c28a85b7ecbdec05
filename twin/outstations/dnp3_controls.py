"""Which control of which master a DNP3 station takes: selects, executions, and the status of each control.

Knows nothing of fragments beyond their control blocks. Owners are master addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twin.outstations.model import CommandHandler, StationCommand
from twin.points.model import ControlModel, PointDefinition
from twin.protocols.dnp3.controls import CommandStatus, Control, Crob
from twin.protocols.dnp3.mapping import command_value
from twin.timebase import NEVER, SimTime

Controls = Sequence[tuple[int, Control]]
_S = CommandStatus
STATUS_OF_RULE: dict[str, CommandStatus] = {
    "local_control": _S.LOCAL,
    "switch_moving": _S.ALREADY_ACTIVE,
    "spring_not_charged": _S.HARDWARE_ERROR,
    "not_rated_for_fault_current": _S.BLOCKED,
    "not_rated_for_load_current": _S.BLOCKED,
    "unknown_point": _S.NOT_SUPPORTED,
    "not_a_position": _S.NOT_SUPPORTED,
    "out_of_range": _S.OUT_OF_RANGE,
    "not_authorized": _S.NOT_AUTHORIZED,
    "automation_inhibit": _S.AUTOMATION_INHIBIT,
    "downstream_fail": _S.DOWNSTREAM_FAIL,
}
"""What is answered for the rule by which a device refuses; UNDEFINED for a rule that is not here."""


@dataclass(frozen=True, slots=True)
class Selected:
    """A point that is reserved."""

    point: str
    value: float
    ticket: int


@dataclass(frozen=True, slots=True)
class Selection:
    """What one master has selected with one request: the objects octet by octet, and the sequence to operate with."""

    objects: bytes
    sequence: int
    deadline_ms: SimTime
    points: tuple[Selected, ...]


class ControlDesk:
    """Takes controls for the devices of one station, one at a time for each point."""

    def __init__(
        self,
        station: str,
        points: Mapping[tuple[int, int], PointDefinition],
        handler: CommandHandler,
        select_timeout_ms: int,
        started: Callable[[str, float, SimTime], None],
    ) -> None:
        """``points`` are the outputs by group (12 or 41) and index; ``started`` hears of each output that operates."""
        self._station = station
        self._points = points
        self._handler = handler
        self._select_timeout_ms = select_timeout_ms
        self._started = started
        self._selections: dict[int, Selection] = {}
        self._executions: dict[int, str] = {}
        self._next_ticket = 1

    def select(self, owner: int, controls: Controls, objects: bytes, sequence: int, now: SimTime) -> list[int]:
        """Reserve the points of one request; nothing is reserved if one of them is refused."""
        self.release(owner, now)
        statuses: list[int] = []
        reserved: list[Selected] = []
        for index, control in controls:
            status, selected = self._select(owner, index, control, now)
            statuses.append(status)
            reserved += [selected] if selected else []
        if any(statuses):
            self._give_back(reserved, now)
        else:
            deadline = now + self._select_timeout_ms
            self._selections[owner] = Selection(objects, (sequence + 1) & 0x0F, deadline, tuple(reserved))
        return statuses

    def _select(self, owner: int, index: int, control: Control, now: SimTime) -> tuple[int, Selected | None]:
        status, point, value = self._asked(owner, index, control, now)
        if status or point is None:
            return status, None
        if point.control_model is ControlModel.DIRECT:
            return _S.NOT_SUPPORTED, None
        selected = Selected(point.name, value, self._ticket())
        rule = self._handler.select(self._command(selected), now)
        if rule:
            return STATUS_OF_RULE.get(rule, _S.UNDEFINED), None
        return _S.SUCCESS, selected

    def operate(self, owner: int, controls: Controls, objects: bytes, sequence: int, now: SimTime) -> list[int]:
        """Start what this master has selected with the request before."""
        selection = self._selections.get(owner)
        if selection is None:
            return [_S.NO_SELECT] * len(controls)
        if selection.deadline_ms <= now:
            self.release(owner, now)
            return [_S.TIMEOUT] * len(controls)
        if selection.objects != objects or selection.sequence != sequence:
            self.release(owner, now)
            return [_S.NO_SELECT] * len(controls)
        del self._selections[owner]
        return [self._start(selected, now) for selected in selection.points]

    def direct(self, owner: int, controls: Controls, now: SimTime) -> list[int]:
        """Start controls without a select."""
        return [self._direct(owner, index, control, now) for index, control in controls]

    def _direct(self, owner: int, index: int, control: Control, now: SimTime) -> int:
        status, point, value = self._asked(owner, index, control, now)
        if status or point is None:
            return status
        if point.control_model is ControlModel.SELECT_BEFORE_OPERATE:
            return _S.NO_SELECT
        return self._start(Selected(point.name, value, self._ticket()), now)

    def _asked(
        self, owner: int, index: int, control: Control, now: SimTime
    ) -> tuple[int, PointDefinition | None, float]:
        """What a control asks for, or the status that refuses it."""
        self.expire(now)
        point = self._points.get((12 if isinstance(control, Crob) else 41, index))
        if point is None:
            return _S.NOT_SUPPORTED, None, 0.0
        value = command_value(point.kind, control)
        if value is None:
            return _S.NOT_SUPPORTED, None, 0.0
        if point.name in self._executions.values():
            return _S.ALREADY_ACTIVE, None, 0.0
        if self._held_by_other(owner, point.name):
            return _S.BLOCKED_OTHER_MASTER, None, 0.0
        return _S.SUCCESS, point, value

    def _held_by_other(self, owner: int, point: str) -> bool:
        others = (selection for holder, selection in self._selections.items() if holder != owner)
        return any(selected.point == point for selection in others for selected in selection.points)

    def _start(self, selected: Selected, now: SimTime) -> int:
        self._executions[selected.ticket] = selected.point
        rule = self._handler.operate(self._command(selected), now)
        if not rule:
            self._started(selected.point, selected.value, now)
            return _S.SUCCESS
        self._executions.pop(selected.ticket, None)
        return STATUS_OF_RULE.get(rule, _S.UNDEFINED)

    def finished(self, ticket: int) -> None:
        """The device is done; DNP3 has no message for that, the feedback says it."""
        self._executions.pop(ticket, None)

    def expire(self, now: SimTime) -> None:
        """Give back every select whose time is over."""
        for owner in [o for o, selection in self._selections.items() if selection.deadline_ms <= now]:
            self.release(owner, now)

    def release(self, owner: int, now: SimTime) -> None:
        """Give back what a master has selected."""
        selection = self._selections.pop(owner, None)
        if selection is not None:
            self._give_back(selection.points, now)

    def _give_back(self, reserved: Sequence[Selected], now: SimTime) -> None:
        for selected in reserved:
            self._handler.cancel(self._command(selected), now)

    def next_deadline(self, owner: int) -> SimTime:
        """When the select of a master runs out."""
        selection = self._selections.get(owner)
        return NEVER if selection is None else selection.deadline_ms

    def _command(self, selected: Selected) -> StationCommand:
        return StationCommand(self._station, selected.point, selected.value, selected.ticket)

    def _ticket(self) -> int:
        ticket = self._next_ticket
        self._next_ticket += 1
        return ticket

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able values."""
        selections = [
            [owner, s.objects.hex(), s.sequence, s.deadline_ms, [[p.point, p.value, p.ticket] for p in s.points]]
            for owner, s in self._selections.items()
        ]
        executions = [[ticket, point] for ticket, point in self._executions.items()]
        return {"next_ticket": self._next_ticket, "selections": selections, "executions": executions}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`snapshot`."""
        self._next_ticket = state["next_ticket"]
        self._executions = dict(state["executions"])
        self._selections = {
            owner: Selection(bytes.fromhex(objects), sequence, deadline, tuple(Selected(*row) for row in points))
            for owner, objects, sequence, deadline, points in state["selections"]
        }
