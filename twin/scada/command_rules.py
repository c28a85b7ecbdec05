"""The rules of the command path, in their order; each refusal names its rule.

For saying why a command may not go out. The path asks when a command is requested and once more between select
and operate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from twin.points.model import STEP_HIGHER, DoublePosition, PointKind, Quality
from twin.scada.authority import ArmingGuard, Authority
from twin.scada.command_model import ALLOWED_VALUES, POSITION_KINDS
from twin.scada.interlocks import CommandRequest, Interlock
from twin.scada.point_database import PointDatabase
from twin.scada.tags import TagBoard


class CommandRules:
    """``value``, ``authority``, ``tag``, the interlocks by their own names, ``point quality``,
    ``already in position``, ``command in progress``, ``arming``.

    ``in_progress`` gives the number of the command under way on an equipment, or None.
    """

    def __init__(
        self,
        database: PointDatabase,
        authority: Authority,
        interlocks: Sequence[Interlock],
        tags: TagBoard,
        arming: ArmingGuard,
        in_progress: Callable[[str], int | None],
    ) -> None:
        self._database = database
        self._authority = authority
        self._interlocks = tuple(interlocks)
        self._tags = tags
        self._arming = arming
        self._in_progress = in_progress
        self._rules = self._rules_in_order()

    def _rules_in_order(self) -> tuple[tuple[str, Callable[[CommandRequest], str]], ...]:
        interlocks = tuple((i.name, _bound(i, self._database)) for i in self._interlocks)
        return (
            ("value", self._check_value),
            ("authority", lambda request: self._authority.check(request.originator, request.output)),
            ("tag", self._check_tags),
            *interlocks,
            ("point quality", self._check_quality),
            ("already in position", self._check_position),
            ("command in progress", self._check_progress),
            ("arming", lambda request: self._arming.check(request.output.station, request.t_ms)),
        )

    def check(self, request: CommandRequest, *, passed_over: str = "") -> tuple[str, str]:
        """The first rule that refuses ``request``, and why; two empty texts if none does."""
        for name, rule in self._rules:
            if name != passed_over and (cause := rule(request)):
                return name, cause
        return "", ""

    def _check_value(self, request: CommandRequest) -> str:
        allowed = ALLOWED_VALUES.get(request.output.kind)
        if allowed is not None and request.value not in allowed:
            return f"{request.output.name} does not take the value {request.value:g}"
        if not math.isfinite(request.value):
            return f"{request.output.name} takes only finite values"
        if request.output.feedback not in self._database:
            return f"{request.output.name} has no feedback point, so its execution could never be confirmed"
        return ""

    def _check_tags(self, request: CommandRequest) -> str:
        tag = self._tags.blocking(request.output.equipment, request.action)
        if tag is None:
            return ""
        return f"{tag.switch} bears a {tag.kind.value} tag of {tag.placed_by} ({tag.reason})"

    def _check_quality(self, request: CommandRequest) -> str:
        feedback = request.output.feedback
        if self._database.quality(feedback) & (Quality.NOT_TOPICAL | Quality.INVALID):
            return f"the position of {request.output.equipment} is not known: {feedback} is not topical or invalid"
        return ""

    def _check_position(self, request: CommandRequest) -> str:
        if request.output.kind not in POSITION_KINDS:
            return ""
        if self._database.value(request.output.feedback) != expected_reading(self._database, request):
            return ""
        return f"{request.output.equipment} is already in the position commanded"

    def _check_progress(self, request: CommandRequest) -> str:
        busy = self._in_progress(request.output.equipment)
        return "" if busy is None else f"command {busy} on {request.output.equipment} is still in progress"


def expected_reading(database: PointDatabase, request: CommandRequest) -> float:
    """What the feedback must read for the command to count as executed."""
    kind, feedback = request.output.kind, request.output.feedback
    if kind is PointKind.STEP_COMMAND:
        now_at = database.value(feedback) if feedback in database else math.nan
        return now_at + (1 if request.value == STEP_HIGHER else -1)
    shown_double = feedback in database and database.definition(feedback).kind is PointKind.DOUBLE
    if kind is PointKind.SINGLE_COMMAND and shown_double:
        return float(DoublePosition.CLOSED if request.value else DoublePosition.OPEN)
    return float(request.value)


def _bound(interlock: Interlock, database: PointDatabase) -> Callable[[CommandRequest], str]:
    return lambda request: interlock.check(request, database)
