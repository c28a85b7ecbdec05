"""Gathers from the journal what the report tells in tables: plans, alarms, sessions, supply.

Pure: journal entries in, rows out. Unknown kinds and missing keys leave gaps, never an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twin.journal import JournalEntry
from twin.report.timeline import FINAL_PHASES, FULFILLED
from twin.timebase import SimTime


def words(value: Any) -> str:
    """Any journalled value as words: lists with commas, objects as ``key value``, flags as yes and no."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {words(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(words(item) for item in value)
    return str(value)


@dataclass(frozen=True)
class PlanStep:
    """One switching step and what became of it."""

    number: str
    switch: str
    action: str
    purpose: str
    expects: str
    state: str = ""
    began_ms: SimTime | None = None
    ended_ms: SimTime | None = None
    problem: str = ""
    selected_ms: SimTime | None = None

    @property
    def select_ms(self) -> SimTime | None:
        """From the request to the station's confirmation of the selection; None where there was none."""
        return None if self.began_ms is None or self.selected_ms is None else self.selected_ms - self.began_ms

    @property
    def took_ms(self) -> SimTime | None:
        """From the request to the end of the command."""
        return None if self.began_ms is None or self.ended_ms is None else self.ended_ms - self.began_ms


@dataclass
class Plan:
    """A plan as last journalled, with the course of its steps."""

    plan_id: str
    t_ms: SimTime
    application: str = ""
    mode: str = ""
    title: str = ""
    verdict: str = ""
    why: tuple[str, ...] = ()
    not_taken: tuple[str, ...] = ()
    candidates: tuple[tuple[str, float], ...] = ()
    interrupted: int | None = None
    restored: int | None = None
    left: int | None = None
    outcome: str = ""
    ended_ms: SimTime | None = None
    steps: list[PlanStep] = field(default_factory=list)

    @property
    def fulfilled(self) -> bool:
        """True if the plan was carried out to its end."""
        return self.outcome.partition(":")[0] in FULFILLED

    @property
    def nobody_restored(self) -> str:
        """Why nobody gets supply back by this plan though somebody is without; empty where that is not so."""
        if not self.left or self.restored:
            return ""
        return "; ".join(reason.rstrip(".") for reason in self.not_taken) or "no alternative was recorded"

    @property
    def took_ms(self) -> SimTime | None:
        """From the plan to its last recorded outcome."""
        return None if self.ended_ms is None else self.ended_ms - self.t_ms


@dataclass
class _Course:
    """What the journal says of one step of one plan."""

    state: str = ""
    began_ms: SimTime | None = None
    ended_ms: SimTime | None = None
    selected_ms: SimTime | None = None
    problem: str = ""


def plans(journal: Iterable[JournalEntry]) -> tuple[Plan, ...]:
    """The plans in the order they were made."""
    found: dict[str, Plan] = {}
    steps: dict[str, list[Mapping[str, Any]]] = {}
    courses: dict[tuple[str, str], _Course] = {}
    candidates: tuple[tuple[str, float], ...] = ()
    for entry in journal:
        if entry.source != "control_room":
            continue
        if entry.kind == "location":
            candidates = _candidates(entry)
        plan_id = str(entry.data.get("plan_id") or (entry.subject if entry.kind.startswith("plan") else ""))
        if entry.kind == "plan":
            _take_plan(found.setdefault(plan_id, Plan(plan_id, entry.t_ms, candidates=candidates)), entry)
            given = entry.data.get("steps")
            steps[plan_id] = given if isinstance(given, list) else steps.get(plan_id, [])
        elif plan_id and entry.kind in ("plan_step", "command"):
            course = courses.setdefault((plan_id, str(entry.data.get("number", ""))), _Course())
            _take_course(course, entry)
    for plan_id, plan in found.items():
        rows = [step for step in steps.get(plan_id, []) if isinstance(step, dict)]
        plan.steps = [_step(row, courses.get((plan_id, str(row.get("number", ""))), _Course())) for row in rows]
    return tuple(found.values())


def _candidates(entry: JournalEntry) -> tuple[tuple[str, float], ...]:
    """(zone, probability) of a location, as far as both were recorded."""
    zones, shares = entry.data.get("zones"), entry.data.get("probabilities")
    if not isinstance(zones, list) or not isinstance(shares, list):
        return ()
    return tuple((words(z), float(p)) for z, p in zip(zones, shares, strict=False) if isinstance(p, int | float))


_NOT_TAKEN = "Not taken:"
_COUNTS = {"customers_interrupted": "interrupted", "customers_restored": "restored", "customers_not_restored": "left"}


def _take_plan(plan: Plan, entry: JournalEntry) -> None:
    for key in ("application", "mode", "title", "verdict", "outcome"):
        if entry.data.get(key):
            setattr(plan, key, words(entry.data[key]))
    for key, name in _COUNTS.items():
        if isinstance(entry.data.get(key), int | float):
            setattr(plan, name, int(entry.data[key]))
    if entry.data.get("outcome"):
        plan.ended_ms = entry.t_ms if entry.t_ms > plan.t_ms else None
    why = entry.data.get("why")
    if why:
        sentences = [words(item) for item in why] if isinstance(why, list | tuple) else [words(why)]
        refused = [sentence for sentence in sentences if sentence.startswith(_NOT_TAKEN)]
        plan.why = tuple(sentence for sentence in sentences if sentence not in refused)
        plan.not_taken = tuple(sentence.removeprefix(_NOT_TAKEN).strip() for sentence in refused)


def _take_course(course: _Course, entry: JournalEntry) -> None:
    if entry.kind == "plan_step":
        course.state = str(entry.data.get("state", "")).replace("_", " ")
        return
    phase = str(entry.data.get("phase", ""))
    if course.began_ms is None:
        course.began_ms = entry.t_ms
    if phase == "selected":
        course.selected_ms = entry.t_ms
    if phase in FINAL_PHASES:
        course.ended_ms = entry.t_ms
        course.state = course.state or phase.replace("_", " ")
        if phase != "confirmed":
            course.problem = words(entry.data.get("rule") or entry.data.get("cause") or phase.replace("_", " "))


_STEP_KEYS = ("number", "switch", "action", "purpose", "expects")


def _step(row: Mapping[str, Any], course: _Course) -> PlanStep:
    number, switch, action, purpose, expects = (words(row.get(key)) for key in _STEP_KEYS)
    moments = (course.began_ms, course.ended_ms, course.problem, course.selected_ms)
    return PlanStep(number, switch, action, purpose, expects, course.state, *moments)


@dataclass
class Alarm:
    """One alarm from raised to cleared; moments are None where that was not recorded."""

    alarm_id: str
    subject: str
    text: str = ""
    priority: str = ""
    state: str = ""
    raised_ms: SimTime | None = None
    acknowledged_ms: SimTime | None = None
    cleared_ms: SimTime | None = None


def alarms(journal: Iterable[JournalEntry]) -> tuple[Alarm, ...]:
    """The alarms in the order they were raised; one that is raised again is a new row."""
    rows: list[Alarm] = []
    current: dict[str, Alarm] = {}
    for entry in journal:
        if (entry.source, entry.kind) != ("control_room", "alarm"):
            continue
        alarm_id, state = str(entry.data.get("alarm_id") or entry.subject), str(entry.data.get("state", ""))
        if alarm_id not in current or (state == "raised" and current[alarm_id].cleared_ms is not None):
            current[alarm_id] = Alarm(alarm_id, entry.subject)
            rows.append(current[alarm_id])
        _take_alarm(current[alarm_id], state, entry)
    return tuple(rows)


def _take_alarm(alarm: Alarm, state: str, entry: JournalEntry) -> None:
    alarm.state = state
    alarm.text = words(entry.data.get("text")) or alarm.text
    alarm.priority = words(entry.data.get("priority")) or alarm.priority
    if f"{state}_ms" in ("raised_ms", "acknowledged_ms", "cleared_ms"):
        setattr(alarm, f"{state}_ms", entry.t_ms)


_RULE_WORDS = {
    "v_dead": "no voltage",
    "fault_forward": "fault passage forward",
    "fault_reverse": "fault passage reverse",
    "station": "connection lost",
    "trip": "tripped by protection",
}


@dataclass(frozen=True, slots=True)
class AlarmCount:
    """How many alarms of one rule there were, how many of them never cleared."""

    words: str
    count: int
    standing: int


def alarm_counts(rows: Iterable[Alarm]) -> tuple[AlarmCount, ...]:
    """The alarms by their rule (the alarm's name up to its point), the most frequent first."""
    found: dict[str, list[Alarm]] = {}
    for alarm in rows:
        found.setdefault(alarm.alarm_id.partition(":")[0], []).append(alarm)
    counts = [
        AlarmCount(
            _RULE_WORDS.get(rule, rule.replace("_", " ")), len(own), sum(alarm.cleared_ms is None for alarm in own)
        )
        for rule, own in found.items()
    ]
    return tuple(sorted(counts, key=lambda count: (-count.count, count.words)))


def _rule_words(rule: str) -> str:
    return _RULE_WORDS.get(rule, rule.replace("_", " "))


@dataclass(frozen=True, slots=True)
class SessionSpan:
    """A stretch of time a session spent in one state."""

    state: str
    from_ms: SimTime
    to_ms: SimTime


@dataclass(frozen=True)
class Session:
    """The course of one station's session."""

    station: str
    protocol: str
    spans: tuple[SessionSpan, ...]
    details: tuple[str, ...]

    @property
    def lost_ms(self) -> SimTime:
        """For how long the session was lost, in all."""
        return sum(span.to_ms - span.from_ms for span in self.spans if span.state == "lost")

    @property
    def times_lost(self) -> int:
        """How often it was lost."""
        return sum(span.state == "lost" for span in self.spans)

    @property
    def ready_ms(self) -> SimTime | None:
        """When it was interrogated for the first time."""
        return next((span.from_ms for span in self.spans if span.state == "interrogated"), None)


def sessions(journal: Iterable[JournalEntry], protocols: Mapping[str, str], end_ms: SimTime) -> tuple[Session, ...]:
    """One session for each station that has a protocol or was journalled, in the order of their names."""
    states: dict[str, list[tuple[SimTime, str]]] = {station: [] for station in protocols}
    details: dict[str, list[str]] = {}
    for entry in journal:
        if (entry.source, entry.kind) == ("session", "session"):
            state = str(entry.data.get("state", ""))
            states.setdefault(entry.subject, []).append((entry.t_ms, state))
            if state == "lost" and entry.data.get("detail"):
                details.setdefault(entry.subject, []).append(words(entry.data["detail"]))
    return tuple(
        Session(name, protocols.get(name, ""), _spans(states[name], end_ms), tuple(details.get(name, ())))
        for name in sorted(states, key=natural)
    )


def _spans(states: Sequence[tuple[SimTime, str]], end_ms: SimTime) -> tuple[SessionSpan, ...]:
    ends = [*(t_ms for t_ms, _ in states[1:]), max(end_ms, states[-1][0] if states else 0)]
    return tuple(SessionSpan(state, t_ms, end) for (t_ms, state), end in zip(states, ends, strict=False))


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts ``RTU_2`` before ``RTU_10``."""
    pieces, digits = [], ""
    for letter in name + " ":
        if letter.isascii() and letter.isdigit():
            digits += letter
            continue
        if digits:
            pieces.append((0, int(digits), ""))
            digits = ""
        pieces.append((1, 0, letter))
    return tuple(pieces)


@dataclass(frozen=True, slots=True)
class Supply:
    """What the run cost its customers."""

    most_interrupted: int
    customer_minutes: float
    interrupted_at_end: int


def supply(journal: Iterable[JournalEntry], end_ms: SimTime) -> Supply | None:
    """Customers interrupted at most, customer-minutes until ``end_ms``, and what is left; None if not journalled."""
    steps = [
        (entry.t_ms, float(entry.data["customers_interrupted"]))
        for entry in journal
        if entry.kind == "supply" and isinstance(entry.data.get("customers_interrupted"), int | float)
    ]
    if not steps:
        return None
    ends = [*(t_ms for t_ms, _ in steps[1:]), max(end_ms, steps[-1][0])]
    lost = sum(count * (end - t_ms) for (t_ms, count), end in zip(steps, ends, strict=True))
    return Supply(int(max(count for _, count in steps)), lost / 60_000, int(steps[-1][1]))


@dataclass(frozen=True)
class Excerpt:
    """The part of the journal that the page shows, and how many entries it leaves out."""

    entries: tuple[JournalEntry, ...]
    left_out: int


def excerpt(journal: Sequence[JournalEntry], limit: int = 1500) -> Excerpt:
    """All of a short journal; of a long one all but measured values, and of that the beginning and the end."""
    kept = list(journal)
    if len(kept) > limit:
        kept = [entry for entry in kept if not _measured(entry)]
    if len(kept) > limit:
        kept = kept[: limit // 2] + kept[-(limit - limit // 2) :]
    return Excerpt(tuple(kept), len(journal) - len(kept))


def _measured(entry: JournalEntry) -> bool:
    value = entry.data.get("value")
    return entry.kind == "event" and isinstance(value, float) and value != int(value)


def details(entry: JournalEntry) -> str:
    """The data of an entry as one short line."""
    return " · ".join(f"{key} {_compact(value)}" for key, value in entry.data.items())


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else words(value)
