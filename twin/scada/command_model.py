"""What a command is: its phases as a table, its time limits, its outcome, and its row in a snapshot.

The data of the command path (``twin.scada.commands``), which alone changes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from twin.errors import TwinError
from twin.links.model import LinkCommand, ReplyKind
from twin.points.model import STEP_HIGHER, STEP_LOWER, CommandPhase, DoublePosition, PointDefinition, PointKind
from twin.scada.authority import Originator, Role
from twin.scada.interlocks import CommandRequest
from twin.scada.point_database import SnapshotMismatchError
from twin.scada.tags import SwitchAction
from twin.timebase import NEVER, SimTime


class Trigger(Enum):
    """What moves a command on."""

    ACCEPTED_DIRECT = "accepted, direct control model"
    SELECT_CONFIRMED = "select confirmed"
    OPERATE_SENT = "operate sent"
    ACTIVATION_CONFIRMED = "activation confirmed"
    TERMINATION = "termination"
    POSITION_REACHED = "position reached"
    RULE_REFUSED = "refused by a rule"
    STATION_REFUSED = "refused by the station"
    SELECT_LIMIT = "select not answered in time"
    OUTCOME_UNKNOWN = "position not known in time"
    NOT_EXECUTED = "position not reached in time"
    SESSION_LOST = "session lost"
    WITHDRAWN = "withdrawn before the operate was sent"


_P, _T = CommandPhase, Trigger
TRANSITIONS: Mapping[tuple[CommandPhase, Trigger], CommandPhase] = {
    (_P.REQUESTED, _T.RULE_REFUSED): _P.REFUSED,
    (_P.REQUESTED, _T.ACCEPTED_DIRECT): _P.EXECUTING,
    (_P.REQUESTED, _T.SELECT_CONFIRMED): _P.SELECTED,
    (_P.REQUESTED, _T.STATION_REFUSED): _P.REFUSED,
    (_P.REQUESTED, _T.SELECT_LIMIT): _P.TIMED_OUT,
    (_P.REQUESTED, _T.SESSION_LOST): _P.FAILED,
    (_P.REQUESTED, _T.WITHDRAWN): _P.REFUSED,
    (_P.SELECTED, _T.RULE_REFUSED): _P.REFUSED,
    (_P.SELECTED, _T.OPERATE_SENT): _P.EXECUTING,
    (_P.EXECUTING, _T.ACTIVATION_CONFIRMED): _P.ACTIVATED,
    (_P.EXECUTING, _T.TERMINATION): _P.TERMINATED,
    (_P.EXECUTING, _T.POSITION_REACHED): _P.CONFIRMED,
    (_P.EXECUTING, _T.STATION_REFUSED): _P.REFUSED,
    (_P.EXECUTING, _T.OUTCOME_UNKNOWN): _P.TIMED_OUT,
    (_P.ACTIVATED, _T.TERMINATION): _P.TERMINATED,
    (_P.ACTIVATED, _T.POSITION_REACHED): _P.CONFIRMED,
    (_P.ACTIVATED, _T.STATION_REFUSED): _P.FAILED,
    (_P.ACTIVATED, _T.NOT_EXECUTED): _P.FAILED,
    (_P.ACTIVATED, _T.OUTCOME_UNKNOWN): _P.TIMED_OUT,
    (_P.TERMINATED, _T.POSITION_REACHED): _P.CONFIRMED,
    (_P.TERMINATED, _T.STATION_REFUSED): _P.FAILED,
    (_P.TERMINATED, _T.NOT_EXECUTED): _P.FAILED,
    (_P.TERMINATED, _T.OUTCOME_UNKNOWN): _P.TIMED_OUT,
}
"""Every move there is. What is absent does not happen: a late or foreign reply changes nothing."""

FINAL_PHASES = frozenset({_P.CONFIRMED, _P.REFUSED, _P.TIMED_OUT, _P.FAILED})
WITHDRAWN = "withdrawn"
"""The rule of a command that was taken back before its operate was sent."""

UNDER_WAY = (_P.EXECUTING, _P.ACTIVATED, _P.TERMINATED)
SILENT_PHASES = (_P.TERMINATED,)
TRIGGER_OF_REPLY = {
    ReplyKind.SELECTED: _T.SELECT_CONFIRMED,
    ReplyKind.ACTIVATED: _T.ACTIVATION_CONFIRMED,
    ReplyKind.TERMINATED: _T.TERMINATION,
    ReplyKind.REFUSED: _T.STATION_REFUSED,
}

ALLOWED_VALUES: Mapping[PointKind, tuple[float, ...]] = {
    PointKind.SINGLE_COMMAND: (0, 1),
    PointKind.DOUBLE_COMMAND: (DoublePosition.OPEN, DoublePosition.CLOSED),
    PointKind.STEP_COMMAND: (STEP_LOWER, STEP_HIGHER),
}
POSITION_KINDS = (PointKind.SINGLE_COMMAND, PointKind.DOUBLE_COMMAND)


class ActionKind(Enum):
    """What a link is asked to do."""

    SELECT = "select"
    OPERATE = "operate"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class LinkAction:
    """One thing for the front end to route to a station."""

    kind: ActionKind
    command: LinkCommand


class CommandSettings(BaseModel):
    """Time limits of the command path."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    select_limit_ms: int = Field(default=5_000, gt=0, description="How long a station may take to answer a select")
    activation_limit_ms: int = Field(
        default=5_000, gt=0, description="How long a station may take to answer an operate"
    )
    check_back_limit_ms: int = Field(
        default=15_000, gt=0, description="How long the position may take after the answer to an operate, or its limit"
    )
    setpoint_tolerance: float = Field(
        default=0.01, ge=0, description="How far a set point's feedback may stay off, as a part of the set point"
    )
    kept: int = Field(default=1_000, gt=0, description="How many finished commands can still be asked for")


class UnknownCommandError(TwinError):
    """A command is asked for that was never given, or is finished too long ago."""

    def __init__(self, command_id: int) -> None:
        self.command_id = command_id
        super().__init__(f"there is no command number {command_id}")


class UnknownOutputError(TwinError):
    """A command names neither an output nor an equipment with one operable output."""

    def __init__(self, target: str) -> None:
        self.target = target
        super().__init__(f"{target} is neither an output nor a switch that can be operated remotely")


@dataclass(slots=True)
class Command:
    """One command from request to outcome; its owner is the command path, everybody else reads.

    ``rule`` names what refused it (``station`` for the station itself), ``cause`` says in a sentence why it
    did not succeed, ``note`` what was unusual about a success. ``expected`` is what the feedback must read.
    """

    command_id: int
    request: CommandRequest
    expected: float
    phase: CommandPhase = CommandPhase.REQUESTED
    deadline: SimTime = NEVER
    activation_missed: bool = False
    rule: str = ""
    cause: str = ""
    note: str = ""
    finished_t_ms: SimTime = NEVER

    @property
    def is_final(self) -> bool:
        return self.phase in FINAL_PHASES

    @property
    def equipment(self) -> str:
        return self.request.output.equipment

    @property
    def link_command(self) -> LinkCommand:
        output = self.request.output
        return LinkCommand(self.command_id, output.station, output.name, self.request.value)

    @property
    def action_text(self) -> str:
        """``open``, ``close``, ``step lower``, ``step higher``, or the value itself."""
        action = self.request.action
        if self.request.output.kind is PointKind.STEP_COMMAND:
            return "step higher" if self.request.value == STEP_HIGHER else "step lower"
        return action.value if action is not None else f"set to {self.request.value:g}"


def switch_action(output: PointDefinition, value: float) -> SwitchAction | None:
    """What a command does to a switch; None for what operates none."""
    if output.quantity != "operate" or output.kind not in POSITION_KINDS:
        return None
    closes = DoublePosition.CLOSED if output.kind is PointKind.DOUBLE_COMMAND else 1
    return SwitchAction.CLOSE if value == closes else SwitchAction.OPEN


_PLAIN_FIELDS = ("deadline", "activation_missed", "rule", "cause", "note", "finished_t_ms")


def to_row(command: Command) -> dict[str, Any]:
    """A command as JSON can carry it; numbers that are not finite become null."""
    request = command.request
    row = {
        "command_id": command.command_id,
        "output": request.output.name,
        "value": _finite(request.value),
        "by": request.originator.name,
        "role": request.originator.role.value,
        "areas": list(request.originator.areas),
        "t_ms": request.t_ms,
        "reason": request.reason,
        "plan_id": request.plan_id,
        "plan_step": request.plan_step,
        "expected": _finite(command.expected),
        "phase": command.phase.value,
    }
    return row | {key: getattr(command, key) for key in _PLAIN_FIELDS}


def from_row(row: Mapping[str, Any], outputs: Mapping[str, PointDefinition]) -> Command:
    """The inverse of :func:`to_row`.

    Raises:
        SnapshotMismatchError: it names an output that is not there.
    """
    output = outputs.get(row["output"])
    if output is None:
        raise SnapshotMismatchError("command path")
    value = math.nan if row["value"] is None else row["value"]
    request = CommandRequest(
        output=output,
        value=value,
        action=switch_action(output, value),
        originator=Originator(row["by"], Role(row["role"]), tuple(row["areas"])),
        t_ms=row["t_ms"],
        reason=row["reason"],
        plan_id=row["plan_id"],
        plan_step=row["plan_step"],
    )
    expected = math.nan if row["expected"] is None else row["expected"]
    command = Command(row["command_id"], request, expected, CommandPhase(row["phase"]))
    for key in _PLAIN_FIELDS:
        setattr(command, key, row[key])
    return command


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
