"""The command path: the one way in which the control room operates a device.

For checking a request against the rules, select before operate, the station's replies, and the check-back by
the position. It sends nothing itself: link actions are taken from it and routed by the front end.
Not for plans and their order (the applications), nor for how a protocol carries a command (the links).

The rules run when a command is requested and once more between select and operate.
Termination is followed, but not journalled: some protocols know none, and the position says more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from twin.journal import JournalEntry
from twin.links.model import CommandReply
from twin.points.model import CommandPhase, ControlModel, DoublePosition, PointDefinition, PointKind
from twin.scada.authority import ArmingGuard, Authority, Originator
from twin.scada.command_model import (
    SILENT_PHASES,
    TRANSITIONS,
    TRIGGER_OF_REPLY,
    UNDER_WAY,
    WITHDRAWN,
    ActionKind,
    Command,
    CommandSettings,
    LinkAction,
    Trigger,
    UnknownCommandError,
    UnknownOutputError,
    from_row,
    switch_action,
    to_row,
)
from twin.scada.command_rules import CommandRules, expected_reading
from twin.scada.interlocks import CommandRequest, Interlock
from twin.scada.point_database import Change, PointDatabase
from twin.scada.tags import Record, TagBoard
from twin.timebase import NEVER, SimTime


@dataclass(slots=True)
class _Ledger:
    """All commands that can still be asked for; finished ones in the order in which they finished."""

    open: dict[int, Command] = field(default_factory=dict)
    finished: dict[int, Command] = field(default_factory=dict)

    def find(self, command_id: int) -> Command | None:
        return self.open.get(command_id) or self.finished.get(command_id)


class CommandPath:
    """Takes requests, applies the rules, follows each command to its outcome.

    The rules and their order are those of ``CommandRules``.
    """

    def __init__(
        self,
        definitions: Sequence[PointDefinition],
        database: PointDatabase,
        *,
        authority: Authority,
        interlocks: Sequence[Interlock],
        tags: TagBoard,
        arming: ArmingGuard,
        record: Record,
        settings: CommandSettings | None = None,
    ) -> None:
        self._outputs = {d.name: d for d in definitions if d.kind.is_output}
        self._output_of = _operable(self._outputs)
        self._database = database
        self._record = record
        self._settings = settings or CommandSettings()
        self._ledger = _Ledger()
        self._by_equipment: dict[str, int] = {}
        self._rules = CommandRules(database, authority, interlocks, tags, arming, self._by_equipment.get)
        self._last_id = 0
        self._actions: list[LinkAction] = []
        self._outcomes: list[Command] = []

    # -- requests -------------------------------------------------------------------------------------------------

    def request(
        self,
        target: str,
        value: float,
        originator: Originator,
        now: SimTime,
        *,
        reason: str = "",
        plan_id: str = "",
        plan_step: int | None = None,
    ) -> int:
        """Ask for an operation; returns its number, also if it was refused.

        ``target`` is an output or a switch, ``value`` as the output takes it (a ``DoublePosition`` for switches).

        Raises:
            UnknownOutputError: there is nothing to operate under that name.
        """
        output, value = self._resolve(target), float(value)
        action = switch_action(output, value)
        request = CommandRequest(output, value, action, originator, now, reason, plan_id, plan_step)
        self._last_id += 1
        command = Command(self._last_id, request, expected_reading(self._database, request))
        self._ledger.open[command.command_id] = command
        self._journal(command, now)
        rule, cause = self._rules.check(request)
        if rule:
            command.rule, command.cause = rule, cause
            self._move(command, Trigger.RULE_REFUSED, now)
            return command.command_id
        self._by_equipment[output.equipment] = command.command_id
        self._start(command, now)
        return command.command_id

    def withdraw(self, command_id: int, reason: str, now: SimTime) -> bool:
        """Take a command back, if its operate has not been sent yet: a selection is cancelled at the station.

        False if it is too late: then the outcome comes as that of any command, from the feedback or at a time limit.
        """
        command = self._ledger.open.get(command_id)
        if command is None or command.phase is not CommandPhase.REQUESTED:
            return False
        command.rule, command.cause = WITHDRAWN, reason
        self._act(ActionKind.CANCEL, command)
        return self._move(command, Trigger.WITHDRAWN, now)

    def check(
        self, target: str, value: float, originator: Originator, now: SimTime, *, reason: str = ""
    ) -> tuple[str, str]:
        """The rule that would refuse this command now, and why; two empty texts if none would.

        Raises:
            UnknownOutputError: there is nothing to operate under that name.
        """
        output = self._resolve(target)
        return self._rules.check(CommandRequest(output, value, switch_action(output, value), originator, now, reason))

    def _resolve(self, target: str) -> PointDefinition:
        output = self._outputs.get(target) or self._output_of.get(target)
        if output is None:
            raise UnknownOutputError(target)
        return output

    def _start(self, command: Command, now: SimTime) -> None:
        if command.request.output.control_model is ControlModel.DIRECT:
            self._operate(command, Trigger.ACCEPTED_DIRECT, now)
            return
        command.deadline = now + self._settings.select_limit_ms
        self._act(ActionKind.SELECT, command)

    def _operate(self, command: Command, trigger: Trigger, now: SimTime) -> None:
        self._move(command, trigger, now)
        command.deadline = now + self._settings.activation_limit_ms
        self._act(ActionKind.OPERATE, command)

    def _act(self, kind: ActionKind, command: Command) -> None:
        self._actions.append(LinkAction(kind, command.link_command))

    # -- replies, feedback, time ----------------------------------------------------------------------------------

    def on_reply(self, reply: CommandReply, now: SimTime) -> None:
        """Take a station's answer; one that fits no open command changes nothing."""
        command = self._ledger.open.get(reply.command_id)
        trigger = TRIGGER_OF_REPLY.get(reply.kind)
        if command is None or trigger is None or command.request.output.station != reply.station:
            return
        if trigger is Trigger.STATION_REFUSED:
            command.rule, command.cause = "station", f"{reply.station} refused: {reply.cause}"
        was_executing = command.phase is CommandPhase.EXECUTING
        if not self._move(command, trigger, now):
            return
        if command.phase is CommandPhase.SELECTED:
            self._on_selected(command, now)
        elif command.phase in UNDER_WAY:
            if was_executing:
                command.deadline = now + self._settings.check_back_limit_ms
            self._check_back(command, now)

    def _on_selected(self, command: Command, now: SimTime) -> None:
        """Between select and operate the rules run again, on what is true now."""
        present = replace(command.request, t_ms=now)
        rule, cause = self._rules.check(present, passed_over="command in progress")
        if not rule and self._has_stepped(command):
            rule, cause = "position", f"{command.equipment} has moved since the command was given"
        if not rule:
            self._operate(command, Trigger.OPERATE_SENT, now)
            return
        command.rule, command.cause = rule, cause
        self._act(ActionKind.CANCEL, command)
        self._move(command, Trigger.RULE_REFUSED, now)

    def _has_stepped(self, command: Command) -> bool:
        """True if a step position is no longer where the command found it."""
        if command.request.output.kind is not PointKind.STEP_COMMAND:
            return False
        return expected_reading(self._database, command.request) != command.expected

    def expects(self, change: Change) -> bool:
        """True if a command explains this change of position: one under way, or one that has timed out before."""
        command = self._on_device(change.equipment) or self._last_on_device(change.equipment)
        if command is None or command.request.output.feedback != change.point:
            return False
        if command.phase not in (*UNDER_WAY, CommandPhase.TIMED_OUT):
            return False
        return change.new_value in (command.expected, DoublePosition.INTERMEDIATE)

    def on_change(self, change: Change, now: SimTime) -> None:
        """Check back: a command is confirmed when its feedback reads the expected value with good quality."""
        command = self._on_device(change.equipment)
        if command is not None and command.request.output.feedback == change.point:
            self._check_back(command, now)

    def _on_device(self, equipment: str) -> Command | None:
        command_id = self._by_equipment.get(equipment)
        return None if command_id is None else self._ledger.open.get(command_id)

    def _last_on_device(self, equipment: str) -> Command | None:
        """The last command that finished on an equipment."""
        finished = reversed(self._ledger.finished.values())
        return next((command for command in finished if command.equipment == equipment), None)

    def _check_back(self, command: Command, now: SimTime) -> None:
        """Confirm a command whose feedback has arrived."""
        if command.phase not in UNDER_WAY or not self._has_arrived(command):
            return
        if command.phase is CommandPhase.EXECUTING:
            command.note = "confirmed by the position, without an answer of the station"
        self._move(command, Trigger.POSITION_REACHED, now)

    def _has_arrived(self, command: Command) -> bool:
        feedback = command.request.output.feedback
        if not self._database.good(feedback):
            return False
        off = abs(self._database.value(feedback) - command.expected)
        if command.request.output.kind is not PointKind.SETPOINT:
            return off == 0
        near = off <= self._settings.setpoint_tolerance * max(abs(command.expected), 1.0)
        return near and command.phase is not CommandPhase.EXECUTING

    def on_session_lost(self, station: str, now: SimTime) -> None:
        """A select under way is void; an operate under way may still be confirmed by the position later."""
        for command in self._open_commands():
            if command.request.output.station == station and command.phase is CommandPhase.REQUESTED:
                command.cause = f"the session to {station} was lost before the operate was sent"
                self._move(command, Trigger.SESSION_LOST, now)

    def tick(self, now: SimTime) -> None:
        """Confirm what has arrived, and end what is overdue at ``now``."""
        for command in self._open_commands():
            self._check_back(command, now)
            if not command.is_final and command.deadline <= now:
                self._on_limit(command, now)

    def next_timer(self) -> SimTime:
        """When :meth:`tick` is needed next; ``NEVER`` if no command is open."""
        return min((command.deadline for command in self._ledger.open.values()), default=NEVER)

    def _on_limit(self, command: Command, now: SimTime) -> None:
        station = command.request.output.station
        if command.phase is CommandPhase.REQUESTED:
            command.cause = f"{station} did not answer the select, so nothing was operated"
            self._act(ActionKind.CANCEL, command)
            self._move(command, Trigger.SELECT_LIMIT, now)
        elif command.phase is CommandPhase.EXECUTING and not command.activation_missed:
            command.activation_missed = True
            command.deadline = now + self._settings.check_back_limit_ms
        else:
            self._on_no_feedback(command, now)

    def _on_no_feedback(self, command: Command, now: SimTime) -> None:
        station, feedback = command.request.output.station, command.request.output.feedback
        answered = command.phase is not CommandPhase.EXECUTING
        if answered and self._database.good(feedback):
            command.cause = f"{station} accepted the command, but {feedback} did not reach the position commanded"
            self._move(command, Trigger.NOT_EXECUTED, now)
            return
        missing = f"{feedback} is not readable" if answered else f"{station} gave no answer and {feedback} no feedback"
        command.cause = f"{missing}: whether {command.equipment} was operated is unknown"
        self._move(command, Trigger.OUTCOME_UNKNOWN, now)

    # -- state ----------------------------------------------------------------------------------------------------

    def _move(self, command: Command, trigger: Trigger, now: SimTime) -> bool:
        """Make a transition of the table; False if there is none."""
        phase = TRANSITIONS.get((command.phase, trigger))
        if phase is None:
            return False
        command.phase = phase
        if phase not in SILENT_PHASES:
            self._journal(command, now)
        if command.is_final:
            self._finish(command, now)
        return True

    def _finish(self, command: Command, now: SimTime) -> None:
        command.deadline, command.finished_t_ms = NEVER, now
        del self._ledger.open[command.command_id]
        self._ledger.finished[command.command_id] = command
        if self._by_equipment.get(command.equipment) == command.command_id:
            del self._by_equipment[command.equipment]
        while len(self._ledger.finished) > self._settings.kept:
            del self._ledger.finished[next(iter(self._ledger.finished))]
        self._outcomes.append(command)

    def _open_commands(self) -> list[Command]:
        return list(self._ledger.open.values())

    def command(self, command_id: int) -> Command:
        """A command that is open, or finished not too long ago.

        Raises:
            UnknownCommandError: there is none of that number.
        """
        command = self._ledger.find(command_id)
        if command is None:
            raise UnknownCommandError(command_id)
        return command

    @property
    def in_progress(self) -> tuple[Command, ...]:
        """The commands without an outcome yet, oldest first."""
        return tuple(self._ledger.open.values())

    def take_actions(self) -> list[LinkAction]:
        """What the links are to do now, in order, once."""
        actions, self._actions = self._actions, []
        return actions

    def take_outcomes(self) -> list[Command]:
        """The commands that have reached an outcome since the last call, in order, once."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def _journal(self, command: Command, now: SimTime) -> None:
        request = command.request
        data: dict[str, Any] = {
            "phase": command.phase.value,
            "switch": command.equipment,
            "action": command.action_text,
            "command_id": command.command_id,
        }
        if command.phase is CommandPhase.REQUESTED:
            data |= {"by": request.originator.name, "role": request.originator.role.value}
        optional = {
            "reason": request.reason if command.phase is CommandPhase.REQUESTED else "",
            "plan_id": request.plan_id,
            "number": request.plan_step,
            "rule": command.rule,
            "cause": command.cause,
            "note": command.note,
        }
        data |= {key: value for key, value in optional.items() if value not in ("", None)}
        self._record(JournalEntry(now, "control_room", "command", command.equipment, data))

    def snapshot(self) -> dict[str, Any]:
        """Everything, as JSON can carry it; finished commands and untaken actions included."""
        return {
            "last_id": self._last_id,
            "open": [to_row(command) for command in self._ledger.open.values()],
            "finished": [to_row(command) for command in self._ledger.finished.values()],
            "actions": [[action.kind.value, action.command.command_id] for action in self._actions],
            "outcomes": [command.command_id for command in self._outcomes],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Return to a snapshot; nothing is journalled.

        Raises:
            SnapshotMismatchError: it names outputs that are not there.
        """
        self._last_id = state["last_id"]
        self._ledger.open = {row["command_id"]: from_row(row, self._outputs) for row in state["open"]}
        self._ledger.finished = {row["command_id"]: from_row(row, self._outputs) for row in state["finished"]}
        self._by_equipment.clear()
        self._by_equipment.update({command.equipment: command.command_id for command in self.in_progress})
        self._actions = [
            LinkAction(ActionKind(kind), self.command(command_id).link_command) for kind, command_id in state["actions"]
        ]
        self._outcomes = [self.command(command_id) for command_id in state["outcomes"]]


def _operable(outputs: Mapping[str, PointDefinition]) -> dict[str, PointDefinition]:
    """The output that stands for each equipment: the one that operates it, or else its only one."""
    by_equipment: dict[str, list[PointDefinition]] = {}
    for output in outputs.values():
        by_equipment.setdefault(output.equipment, []).append(output)
    operating = {name: [o for o in found if o.quantity == "operate"] or found for name, found in by_equipment.items()}
    return {name: found[0] for name, found in operating.items() if len(found) == 1}
