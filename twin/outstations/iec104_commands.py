"""Which command of which master a station takes: selects, executions and their owners.

Knows nothing of frames; the session turns a verdict into confirmations. An owner is a session, or a redundancy group.
The device hears the station of the point's definition: behind a data concentrator that is the station it belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twin.outstations.model import CommandHandler, StationCommand
from twin.points.model import ControlModel, PointDefinition, PointKind
from twin.protocols.iec104 import Asdu, decode_asdu, encode_asdu
from twin.timebase import NEVER, SimTime


def is_direct(point: PointDefinition) -> bool:
    """Whether an output takes commands without a select; a bit string command has no way to say select."""
    return point.control_model is ControlModel.DIRECT or point.kind is PointKind.BITSTRING_COMMAND


@dataclass(frozen=True, slots=True)
class Selection:
    """A point that one master has selected, until ``deadline_ms``."""

    station: str
    owner: int
    value: float
    ticket: int
    deadline_ms: SimTime


@dataclass(slots=True)
class Execution:
    """A command the device is working on.

    ``outcome`` is set where the device finished before the confirmation was out.
    """

    owner: int
    point: str
    asdu: Asdu
    confirmed: bool = False
    outcome: bool | None = None


class CommandDesk:
    """Takes commands for the device of one station, one at a time for each point."""

    def __init__(self, handler: CommandHandler, select_timeout_ms: int) -> None:
        self._handler = handler
        self._select_timeout_ms = select_timeout_ms
        self._selections: dict[str, Selection] = {}
        self._executions: dict[int, Execution] = {}
        self._next_ticket = 1

    def select(self, owner: int, point: PointDefinition, value: float, now: SimTime) -> bool:
        """Reserve a point for ``owner``; False if the point, another master or the device refuses."""
        self.expire(now)
        held = self._selections.get(point.name)
        if is_direct(point) or self._busy(point.name):
            return False
        if held is not None and held.owner != owner:
            return False
        command = StationCommand(point.station, point.name, value, held.ticket if held else self._ticket())
        if self._handler.select(command, now):
            self._selections.pop(point.name, None)
            return False
        deadline = now + self._select_timeout_ms
        self._selections[point.name] = Selection(point.station, owner, value, command.ticket, deadline)
        return True

    def execute(self, owner: int, point: PointDefinition, value: float, asdu: Asdu, now: SimTime) -> int | None:
        """Start a command; its ticket, or None if it is refused. A select is used up by its owner's execute."""
        self.expire(now)
        if self._busy(point.name):
            return None
        ticket = self._ticket()
        if not is_direct(point):
            held = self._selections.get(point.name)
            if held is None or held.owner != owner:
                return None
            if held.value != value:
                self._release(point.name, now)
                return None
            del self._selections[point.name]
            ticket = held.ticket
        self._executions[ticket] = Execution(owner, point.name, asdu)
        if self._handler.operate(StationCommand(point.station, point.name, value, ticket), now):
            del self._executions[ticket]
            return None
        return ticket

    def cancel(self, owner: int, point: PointDefinition, now: SimTime) -> bool:
        """Give a selected point back; False if ``owner`` does not hold it."""
        self.expire(now)
        held = self._selections.get(point.name)
        if held is None or held.owner != owner:
            return False
        self._release(point.name, now)
        return True

    def confirmed(self, ticket: int) -> Execution | None:
        """The confirmation is out; the execution if the device has finished meanwhile."""
        execution = self._executions[ticket]
        execution.confirmed = True
        return None if execution.outcome is None else self._executions.pop(ticket)

    def finished(self, ticket: int, success: bool) -> Execution | None:
        """The device finished; the execution whose termination is due now, None if it is not or not known."""
        execution = self._executions.get(ticket)
        if execution is None:
            return None
        execution.outcome = success
        return self._executions.pop(ticket) if execution.confirmed else None

    def expire(self, now: SimTime) -> None:
        """Release every select whose time is over."""
        for point in [name for name, held in self._selections.items() if held.deadline_ms <= now]:
            self._release(point, now)

    def drop(self, owner: int, now: SimTime) -> None:
        """A master is gone: its selects are released, its executions end without a termination."""
        for point in [name for name, held in self._selections.items() if held.owner == owner]:
            self._release(point, now)
        for execution in self._executions.values():
            if execution.owner == owner:
                execution.owner = 0

    def release_all(self, now: SimTime) -> None:
        """Release every select."""
        for point in list(self._selections):
            self._release(point, now)

    def executes(self, points: Sequence[str]) -> bool:
        """Whether the device is working on a command of one of these outputs."""
        return any(self._busy(point) for point in points)

    def next_deadline(self, owner: int) -> SimTime:
        """When a select of ``owner`` runs out next."""
        return min((held.deadline_ms for held in self._selections.values() if held.owner == owner), default=NEVER)

    def _busy(self, point: str) -> bool:
        return any(execution.point == point for execution in self._executions.values())

    def _release(self, point: str, now: SimTime) -> None:
        held = self._selections.pop(point)
        self._handler.cancel(StationCommand(held.station, point, held.value, held.ticket), now)

    def _ticket(self) -> int:
        ticket = self._next_ticket
        self._next_ticket += 1
        return ticket

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able values."""
        return {
            "next_ticket": self._next_ticket,
            "selections": {
                point: [held.station, held.owner, held.value, held.ticket, held.deadline_ms]
                for point, held in self._selections.items()
            },
            "executions": [
                [ticket, e.owner, e.point, encode_asdu(e.asdu).hex(), e.confirmed, e.outcome]
                for ticket, e in self._executions.items()
            ],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`snapshot`."""
        self._next_ticket = state["next_ticket"]
        self._selections = {point: Selection(*row) for point, row in state["selections"].items()}
        self._executions = {
            ticket: Execution(owner, point, decode_asdu(bytes.fromhex(asdu)), confirmed, outcome)
            for ticket, owner, point, asdu, confirmed, outcome in state["executions"]
        }
