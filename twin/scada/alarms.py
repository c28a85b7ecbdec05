"""Alarms: what stands, who has seen it, in the order in which a dispatcher should look.

For the life of alarms; what raises them is stated as rules (``twin.scada.alarm_rules``). Limits and delays are
looked at in :meth:`AlarmList.scan`, once a cycle and when :meth:`AlarmList.next_timer` is due.

Values that are invalid or not topical neither raise nor clear anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

import numpy as np

from twin.errors import TwinError
from twin.journal import JournalEntry
from twin.points.model import CommandPhase, DoublePosition, Quality
from twin.scada.alarm_rules import AlarmRule, CommandRule, LimitRule, MovementRule, StationRule, StatusRule
from twin.scada.command_model import Command
from twin.scada.point_database import Change, PointDatabase, SnapshotMismatchError
from twin.scada.tags import Record
from twin.timebase import NEVER, SimTime


class AlarmState(Enum):
    """Where an alarm stands: raised and cleared ones are not acknowledged yet."""

    NORMAL = "normal"
    RAISED = "raised"
    ACKNOWLEDGED = "acknowledged"
    CLEARED = "cleared"


class AlarmTrigger(Enum):
    """What moves an alarm. ``HAPPENED`` is for what has no duration, such as a failed command."""

    RAISE = "raise"
    CLEAR = "clear"
    ACKNOWLEDGE = "acknowledge"
    HAPPENED = "happened"


_S, _T = AlarmState, AlarmTrigger
ALARM_TRANSITIONS: Mapping[tuple[AlarmState, AlarmTrigger], AlarmState] = {
    (_S.NORMAL, _T.RAISE): _S.RAISED,
    (_S.NORMAL, _T.HAPPENED): _S.CLEARED,
    (_S.RAISED, _T.ACKNOWLEDGE): _S.ACKNOWLEDGED,
    (_S.RAISED, _T.CLEAR): _S.CLEARED,
    (_S.ACKNOWLEDGED, _T.CLEAR): _S.NORMAL,
    (_S.CLEARED, _T.ACKNOWLEDGE): _S.NORMAL,
    (_S.CLEARED, _T.RAISE): _S.RAISED,
    (_S.CLEARED, _T.HAPPENED): _S.CLEARED,
}
"""Every move there is; anything else leaves an alarm as it is."""

_JOURNAL_WORDS = {
    _T.RAISE: ("raised",),
    _T.CLEAR: ("cleared",),
    _T.ACKNOWLEDGE: ("acknowledged",),
    _T.HAPPENED: ("raised", "cleared"),
}
_ACTIVE = (AlarmState.RAISED, AlarmState.ACKNOWLEDGED)
_UNACKNOWLEDGED = (AlarmState.RAISED, AlarmState.CLEARED)
_UNUSABLE = Quality.INVALID | Quality.NOT_TOPICAL


class UnknownAlarmError(TwinError):
    """An alarm is named that no rule can raise."""

    def __init__(self, alarm_id: str) -> None:
        self.alarm_id = alarm_id
        super().__init__(f"there is no alarm {alarm_id}")


class DuplicateAlarmError(TwinError):
    """Two rules have one alarm id."""

    def __init__(self, alarm_id: str) -> None:
        self.alarm_id = alarm_id
        super().__init__(f"two alarm rules are called {alarm_id}")


@dataclass(slots=True)
class Alarm:
    """An alarm that is not normal. ``t_ms`` is when it was raised last."""

    alarm_id: str
    subject: str
    priority: int
    text: str
    state: AlarmState
    t_ms: SimTime


class AlarmList:
    """All alarms of a control room.

    Raises:
        DuplicateAlarmError: two rules have one id.
        UnknownPointError: a rule names a point that is not in the database.
    """

    def __init__(self, rules: Sequence[AlarmRule], database: PointDatabase, record: Record) -> None:
        self._rules: dict[str, AlarmRule] = {}
        for rule in rules:
            if rule.alarm_id in self._rules:
                raise DuplicateAlarmError(rule.alarm_id)
            self._rules[rule.alarm_id] = rule
        self._database = database
        self._record = record
        self._status: dict[str, list[StatusRule]] = {}
        for rule in rules:
            if isinstance(rule, StatusRule):
                self._status.setdefault(rule.point, []).append(rule)
        self._movement = {rule.point: rule for rule in rules if isinstance(rule, MovementRule)}
        self._station = {rule.subject: rule for rule in rules if isinstance(rule, StationRule)}
        self._command = {rule.output: rule for rule in rules if isinstance(rule, CommandRule)}
        self._limits = _Limits([rule for rule in rules if isinstance(rule, LimitRule)], database)
        self._alarms: dict[str, Alarm] = {}
        self._due: dict[str, SimTime] = {}
        self._end_position: dict[str, float] = {}
        self._moved: list[Change] = []

    # -- what happens ---------------------------------------------------------------------------------------------

    def on_change(self, change: Change, now: SimTime, *, commanded: bool = False) -> None:
        """Take a change of a status point; ``commanded`` if a command explains it. Late ones are passed over."""
        if change.late:
            return
        usable = not change.new_quality & _UNUSABLE
        for rule in self._status.get(change.point, ()):
            if usable:
                self._on_condition(rule, change.new_value in rule.abnormal, now)
            else:
                self._due.pop(rule.alarm_id, None)
        if usable and change.point in self._movement:
            self._on_movement(change, commanded)

    def _on_condition(self, rule: StatusRule, abnormal: bool, now: SimTime) -> None:
        if not abnormal:
            self._due.pop(rule.alarm_id, None)
            self._move(rule, AlarmTrigger.CLEAR, now)
        elif rule.delay_ms == 0:
            self._move(rule, AlarmTrigger.RAISE, now)
        elif not self._is_active(rule.alarm_id):
            self._due.setdefault(rule.alarm_id, now + rule.delay_ms)

    def _on_movement(self, change: Change, commanded: bool) -> None:
        """Remember an end position other than the last; whether protection explains it shows at the scan."""
        if change.new_value not in (DoublePosition.OPEN, DoublePosition.CLOSED):
            return
        before = self._end_position.get(change.point, change.new_value)
        self._end_position[change.point] = change.new_value
        if before != change.new_value and not commanded:
            self._moved.append(change)

    def on_session_lost(self, station: str, now: SimTime) -> None:
        """The session to a station is lost."""
        if station in self._station:
            self._move(self._station[station], AlarmTrigger.RAISE, now)

    def on_session_restored(self, station: str, now: SimTime) -> None:
        """The station was interrogated again."""
        if station in self._station:
            self._move(self._station[station], AlarmTrigger.CLEAR, now)

    def on_outcome(self, command: Command, now: SimTime) -> None:
        """A command has come to its end; alarms for what the originator cannot see at once by himself."""
        rule = self._command.get(command.request.output.name)
        sent = command.phase is not CommandPhase.REFUSED or command.rule == "station"
        if rule is not None and sent and command.phase is not CommandPhase.CONFIRMED:
            text = f"{rule.text}: command {command.action_text} {_OUTCOME_WORDS[command.phase]}, {command.cause}"
            self._move(rule, AlarmTrigger.HAPPENED, now, text)

    def scan(self, now: SimTime) -> None:
        """Look at movements, delays and limits; once a cycle, after all changes of the cycle."""
        moved, self._moved = self._moved, []
        for change in moved:
            if not self._is_explained(change.equipment):
                rule = self._movement[change.point]
                words = "opened" if change.new_value == DoublePosition.OPEN else "closed"
                self._move(rule, AlarmTrigger.HAPPENED, now, f"{rule.text} {words} without a command")
        for alarm_id in [alarm_id for alarm_id, due in self._due.items() if due <= now]:
            del self._due[alarm_id]
            self._move(self._rules[alarm_id], AlarmTrigger.RAISE, now)
        raised, cleared = self._limits.scan(now)
        for limit in cleared:
            self._move(limit, AlarmTrigger.CLEAR, now)
        for limit in raised:
            self._move(limit, AlarmTrigger.RAISE, now)

    def _is_explained(self, equipment: str) -> bool:
        """True if protection or auto-reclose of the same equipment has moved it."""
        readings = [self._database.reading(equipment, quantity) for quantity in ("trip", "reclose_active")]
        return any(reading is not None and reading.good and reading.value != 0 for reading in readings)

    def next_timer(self) -> SimTime:
        """When :meth:`scan` is needed next; ``NEVER`` if no delay runs."""
        return min([*self._due.values(), self._limits.next_due()], default=NEVER)

    # -- what the dispatcher does ---------------------------------------------------------------------------------

    def acknowledge(self, alarm_id: str, by: str, now: SimTime) -> bool:
        """Acknowledge one alarm; False if there was nothing to acknowledge.

        Raises:
            UnknownAlarmError: no rule has this id.
        """
        if alarm_id not in self._rules:
            raise UnknownAlarmError(alarm_id)
        return self._move(self._rules[alarm_id], AlarmTrigger.ACKNOWLEDGE, now, by=by)

    def acknowledge_all(self, by: str, now: SimTime) -> int:
        """Acknowledge everything in the order of the display; returns how many alarms that were."""
        return sum(self.acknowledge(alarm.alarm_id, by, now) for alarm in self.display())

    def display(self) -> list[Alarm]:
        """All alarms that are not normal: unacknowledged first, then by priority, the newest first."""
        return sorted(self._alarms.values(), key=_display_order)

    def state(self, alarm_id: str) -> AlarmState:
        """The present state; normal for what was never raised."""
        alarm = self._alarms.get(alarm_id)
        return AlarmState.NORMAL if alarm is None else alarm.state

    @property
    def active(self) -> int:
        """How many alarms are raised, acknowledged or not."""
        return sum(alarm.state in _ACTIVE for alarm in self._alarms.values())

    @property
    def unacknowledged(self) -> int:
        """How many alarms wait for being acknowledged, cleared or not."""
        return sum(alarm.state in _UNACKNOWLEDGED for alarm in self._alarms.values())

    def _is_active(self, alarm_id: str) -> bool:
        return self.state(alarm_id) in _ACTIVE

    # -- state ----------------------------------------------------------------------------------------------------

    def _move(self, rule: AlarmRule, trigger: AlarmTrigger, now: SimTime, text: str = "", by: str = "") -> bool:
        """Make a transition of the table; False if there is none."""
        alarm = self._alarms.get(rule.alarm_id)
        state = ALARM_TRANSITIONS.get((self.state(rule.alarm_id), trigger))
        if state is None:
            return False
        if alarm is None:
            alarm = Alarm(rule.alarm_id, rule.subject, rule.priority, text or rule.text, state, now)
            self._alarms[rule.alarm_id] = alarm
        if trigger in (AlarmTrigger.RAISE, AlarmTrigger.HAPPENED):
            alarm.t_ms, alarm.text = now, text or rule.text
        alarm.state = state
        for word in _JOURNAL_WORDS[trigger]:
            self._journal(alarm, word, by, now)
        if state is AlarmState.NORMAL:
            del self._alarms[rule.alarm_id]
        return True

    def _journal(self, alarm: Alarm, word: str, by: str, now: SimTime) -> None:
        """``state`` is what has just come about, ``stands`` where the alarm stands by it."""
        data: dict[str, Any] = {"alarm_id": alarm.alarm_id, "state": word, "stands": alarm.state.value}
        data |= {"priority": alarm.priority, "text": alarm.text} | ({"by": by} if by else {})
        self._record(JournalEntry(now, "control_room", "alarm", alarm.subject, data))

    def snapshot(self) -> dict[str, Any]:
        """Everything between two scans, as JSON can carry it."""
        return {
            "alarms": [asdict(alarm) | {"state": alarm.state.value} for alarm in self._alarms.values()],
            "due": dict(self._due),
            "end_position": dict(self._end_position),
            "limits": self._limits.snapshot(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Return to a snapshot; nothing is journalled.

        Raises:
            SnapshotMismatchError: it was taken with other rules.
        """
        names = [row["alarm_id"] for row in state["alarms"]] + list(state["due"])
        if any(name not in self._rules for name in names):
            raise SnapshotMismatchError("alarm list")
        alarms = [Alarm(**(row | {"state": AlarmState(row["state"])})) for row in state["alarms"]]
        self._alarms = {alarm.alarm_id: alarm for alarm in alarms}
        self._due = dict(state["due"])
        self._end_position = dict(state["end_position"])
        self._moved = []
        self._limits.restore(state["limits"])


_OUTCOME_WORDS = {
    CommandPhase.REFUSED: "refused",
    CommandPhase.TIMED_OUT: "timed out",
    CommandPhase.FAILED: "failed",
}


def _display_order(alarm: Alarm) -> tuple[bool, int, SimTime, str]:
    return alarm.state not in _UNACKNOWLEDGED, alarm.priority, -alarm.t_ms, alarm.alarm_id


class _Limits:
    """All limit rules at once, as arrays."""

    def __init__(self, rules: Sequence[LimitRule], database: PointDatabase) -> None:
        self._rules = tuple(rules)
        self._view = database.view([rule.point for rule in rules])
        self._sign = np.array([1.0 if rule.above else -1.0 for rule in rules])
        self._limit = np.array([rule.limit for rule in rules], dtype=np.float64)
        self._hysteresis = np.array([rule.hysteresis for rule in rules], dtype=np.float64)
        self._floor = np.array([rule.floor for rule in rules], dtype=np.float64)
        self._delay_ms = np.array([rule.delay_ms for rule in rules], dtype=np.int64)
        self._beyond_since = np.full(len(rules), NEVER, dtype=np.int64)
        self._raised = np.zeros(len(rules), dtype=np.bool_)

    def scan(self, now: SimTime) -> tuple[list[LimitRule], list[LimitRule]]:
        """The rules to raise and those to clear at ``now``, in the order of the rules."""
        usable = (self._view.quality & int(_UNUSABLE)) == 0
        magnitude = np.abs(self._view.values)
        excess = self._sign * (magnitude - self._limit)
        dead = magnitude < self._floor
        beyond = usable & (excess > 0) & ~dead
        self._beyond_since = np.where(beyond, np.minimum(self._beyond_since, now), NEVER)
        raised = beyond & ~self._raised & (now - self._beyond_since >= self._delay_ms)
        cleared = usable & self._raised & ((excess < -self._hysteresis) | dead)
        self._raised = (self._raised | raised) & ~cleared
        return self._named(raised), self._named(cleared)

    def _named(self, mask: Any) -> list[LimitRule]:
        return [self._rules[row] for row in np.flatnonzero(mask).tolist()]

    def next_due(self) -> SimTime:
        """When a delay that is running ends."""
        due = (self._beyond_since + self._delay_ms)[~self._raised & (self._beyond_since < NEVER)]
        return int(due.min()) if due.size else NEVER

    def snapshot(self) -> dict[str, Any]:
        """Only what stands out: rows beyond their limit and rows raised, by alarm id."""
        since = {
            self._rules[r].alarm_id: int(self._beyond_since[r]) for r in np.flatnonzero(self._beyond_since < NEVER)
        }
        return {"beyond_since": since, "raised": [rule.alarm_id for rule in self._named(self._raised)]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Return to a snapshot.

        Raises:
            SnapshotMismatchError: it was taken with other rules.
        """
        rows = {rule.alarm_id: row for row, rule in enumerate(self._rules)}
        if any(name not in rows for name in (*state["beyond_since"], *state["raised"])):
            raise SnapshotMismatchError("alarm limits")
        self._beyond_since[:] = NEVER
        self._raised[:] = False
        for name, since in state["beyond_since"].items():
            self._beyond_since[rows[name]] = since
        for name in state["raised"]:
            self._raised[rows[name]] = True
