"""From the journal to the chain of events after a fault: who caused what, and how long each hop took.

Pure: journal entries in, incidents out. Not for drawing: see ``swim_lanes``; not for telling much of one kind
together: see ``groups``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twin.journal import JournalEntry
from twin.report.milestones import Incident, Lane, Milestone, Tone
from twin.report.svg import figure_text
from twin.timebase import SimTime

FINAL_PHASES = ("confirmed", "refused", "timed_out", "failed")
FAILED_PHASES = ("refused", "timed_out", "failed")

ALARM_DELAY_MS = 1000
"""An alarm on equipment of which no event told follows from the latest event, if that is no older than this."""

TIME_TAG_TOLERANCE_MS = 100
"""An event tells of what happened at its time tag or up to this long before."""


def incidents(journal: Sequence[JournalEntry]) -> tuple[Incident, ...]:
    """One incident for each fault; one for the commands of a run without any fault.

    A fault at the same moment as the one before joins it.
    """
    starts: list[int] = []
    for row, entry in enumerate(journal):
        is_fault = (entry.source, entry.kind) == ("director", "fault")
        if is_fault and (not starts or entry.t_ms > journal[starts[-1]].t_ms):
            starts.append(row)
    if not starts:
        return _without_fault(journal)
    ends = [*starts[1:], len(journal)]
    return tuple(_incident(journal[start:end]) for start, end in zip(starts, ends, strict=True))


def _without_fault(journal: Sequence[JournalEntry]) -> tuple[Incident, ...]:
    kinds = {("control_room", "command"), ("control_room", "plan"), ("field", "relay_trip")}
    row = next((row for row, entry in enumerate(journal) if (entry.source, entry.kind) in kinds), None)
    if row is None:
        return ()
    chain = _follow(journal[row:])
    return (Incident("Commands without a fault", journal[row].t_ms, chain),) if chain else ()


def _incident(entries: Sequence[JournalEntry]) -> Incident:
    chain = _follow(entries)
    return Incident(chain[0].label[0].upper() + chain[0].label[1:], entries[0].t_ms, chain)


def _follow(entries: Sequence[JournalEntry]) -> tuple[Milestone, ...]:
    chain = _Chain()
    for entry in entries:
        step = _STEPS.get((entry.source, entry.kind))
        if step is not None:
            step(chain, entry)
    return _without_tail(chain.milestones)


_ASIDE = ("comms_loss", "session_lost", "session_connected", "session_started", "session_interrogated", "alarm")


def _without_tail(milestones: Sequence[Milestone]) -> tuple[Milestone, ...]:
    """Drops from the end what has nothing to do with the rest: sessions and alarms without a cause in the chain."""
    aside: list[bool] = []
    for milestone in milestones:
        cause = milestone.cause
        aside.append(milestone.kind in _ASIDE if cause is None else aside[cause])
    last = max((row for row, is_aside in enumerate(aside) if not is_aside), default=-1)
    return tuple(milestones[: last + 1])


@dataclass
class _Chain:
    """Milestones so far, and where to look up the cause of the next one."""

    milestones: list[Milestone] = field(default_factory=list)
    by_kind: dict[str, int] = field(default_factory=dict)
    by_subject: dict[tuple[str, str], int] = field(default_factory=dict)
    told_of: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    requested: dict[str, int] = field(default_factory=dict)
    commands: dict[str, int] = field(default_factory=dict)
    confirmed: dict[str, int] = field(default_factory=dict)
    told: set[tuple[str, str, SimTime]] = field(default_factory=set)
    by_point: dict[str, int] = field(default_factory=dict)
    customers: float = 0.0
    outage: int | None = None

    def add(
        self,
        entry: JournalEntry,
        lane: Lane,
        label: str,
        *,
        kind: str = "",
        subject: str = "",
        cause: int | None = None,
        tone: Tone = Tone.NEUTRAL,
        command_id: str = "",
        family: str = "",
        part: str = "",
    ) -> int:
        row = len(self.milestones)
        kind, subject = kind or entry.kind, subject or entry.subject
        milestone = Milestone(entry.t_ms, lane, kind, subject, label, cause, tone, command_id, family, part)
        self.milestones.append(milestone)
        self.by_kind[kind] = row
        self.by_subject[kind, subject] = row
        self.told_of.setdefault((kind, subject), []).append(row)
        return row

    def of(self, kind: str, subject: str) -> int | None:
        return self.by_subject.get((kind, subject))

    def latest(self, *kinds: str) -> int | None:
        """The latest milestone of any of the kinds."""
        rows = [self.by_kind[kind] for kind in kinds if kind in self.by_kind]
        return max(rows, default=None)

    def latest_of(self, subject: str, *kinds: str) -> int | None:
        """The latest milestone of any of the kinds on one subject."""
        rows = [row for kind in kinds if (row := self.of(kind, subject)) is not None]
        return max(rows, default=None)


def _either(first: int | None, second: int | None) -> int | None:
    return second if first is None else first


def _fault(chain: _Chain, entry: JournalEntry) -> None:
    kind = str(entry.data.get("fault_kind") or "").replace("_", " ")
    lasting = {True: "permanent", False: "transient"}.get(entry.data.get("permanent"), "")  # type: ignore[arg-type]
    where = entry.data.get("line") or entry.subject
    words = " ".join(word for word in (lasting, kind, "fault on", str(where)) if word)
    chain.add(entry, Lane.PLANT, words, tone=Tone.BAD)


def _fault_cleared(chain: _Chain, entry: JournalEntry) -> None:
    by = str(entry.data.get("by") or "")
    label = f"fault {by}" if by == "extinguished" else "fault cleared"
    cause = chain.latest("breaker" if by == "extinguished" else "fault")
    chain.add(entry, Lane.PLANT, label, cause=_either(cause, chain.latest("fault")), tone=Tone.GOOD)


def _comms_loss(chain: _Chain, entry: JournalEntry) -> None:
    chain.add(entry, Lane.TELECONTROL, f"{entry.subject} communication lost", tone=Tone.BAD)


def _pickup(chain: _Chain, entry: JournalEntry) -> None:
    """After a reclosing it is this that brought the fault current back."""
    reclosed = chain.told_of.get(("breaker closed", entry.subject), ())
    fault = chain.latest("fault", "closed_onto_fault")
    cause = max((row for row in (*reclosed[-1:], fault) if row is not None), default=None)
    function = str(entry.data.get("function") or "")
    chain.add(entry, Lane.PROTECTION, f"{entry.subject} pickup {function}".rstrip(), cause=cause, part=function)


def _trip(chain: _Chain, entry: JournalEntry) -> None:
    function = str(entry.data.get("function") or "")
    pickups = chain.told_of.get(("relay_pickup", entry.subject), ())
    own = next((row for row in reversed(pickups) if chain.milestones[row].part == function), None)
    cause = _either(_either(own, chain.of("relay_pickup", entry.subject)), chain.latest("relay_pickup", "fault"))
    label = f"{entry.subject} trip {function}".rstrip()
    chain.add(entry, Lane.PROTECTION, label, cause=cause, tone=Tone.BAD)


def _breaker(chain: _Chain, entry: JournalEntry) -> None:
    position, why = entry.data.get("position"), entry.data.get("cause")
    if position not in ("open", "closed"):
        return
    causes: Mapping[Any, Callable[[], int | None]] = {
        "trip": lambda: _either(chain.of("relay_trip", entry.subject), chain.latest("relay_trip")),
        "reclose": lambda: _either(chain.of("reclose", entry.subject), chain.latest("reclose")),
        "command": lambda: _either(
            chain.of("command_received", entry.subject),
            chain.latest_of(entry.subject, "executing", "activated", "requested"),
        ),
    }
    cause = causes[why]() if why in causes else None
    tone = Tone.BAD if why == "trip" else Tone.NEUTRAL
    verb = {"trip": "trips open", "reclose": "recloses"}.get(str(why), position)
    row = chain.add(entry, Lane.PLANT, f"{entry.subject} {verb}", cause=cause, tone=tone, part=position)
    chain.told_of.setdefault((f"breaker {position}", entry.subject), []).append(row)


def _reclose(chain: _Chain, entry: JournalEntry) -> None:
    shot = entry.data.get("shot")
    label = f"{entry.subject} reclose" + (f", shot {shot}" if shot is not None else "")
    cause = _either(chain.of("breaker", entry.subject), chain.latest("relay_trip"))
    chain.add(entry, Lane.PROTECTION, label, cause=cause)


def _lockout(chain: _Chain, entry: JournalEntry) -> None:
    cause = _either(chain.of("breaker", entry.subject), chain.latest("relay_trip"))
    chain.add(entry, Lane.PROTECTION, f"{entry.subject} lockout", cause=cause, tone=Tone.BAD)


def _reclaimed(chain: _Chain, entry: JournalEntry) -> None:
    cause = chain.of("breaker", entry.subject)
    chain.add(entry, Lane.PROTECTION, f"{entry.subject} reclaimed", cause=cause, tone=Tone.GOOD)


def _indicator(chain: _Chain, entry: JournalEntry) -> None:
    if entry.data.get("state") in (False, 0, "off", "reset", "cleared"):
        return
    direction = str(entry.data.get("direction") or "")
    label = f"{entry.subject} fault passage {direction}".rstrip()
    cause = chain.latest("fault", "closed_onto_fault")
    chain.add(entry, Lane.PROTECTION, label, cause=cause, family="fault passage", part=direction)


def _received(chain: _Chain, entry: JournalEntry) -> None:
    equipment = str(entry.data.get("point") or "").rpartition(".")[0]
    switch = str(entry.data.get("switch") or entry.data.get("equipment") or equipment or entry.subject)
    cause = chain.latest_of(switch, "requested", "selected", "executing")
    phase = entry.data.get("phase")
    label = f"{entry.subject} receives {phase}" if phase else f"{entry.subject} command received"
    chain.add(entry, Lane.TELECONTROL, label, subject=switch, cause=cause)


def _station_refused(chain: _Chain, entry: JournalEntry) -> None:
    rule = str(entry.data.get("rule") or "")
    label = f"{entry.subject} refuses" + (f": {rule}" if rule else "")
    chain.add(entry, Lane.TELECONTROL, label, cause=chain.latest("command_received"), tone=Tone.BAD)


def _session(chain: _Chain, entry: JournalEntry) -> None:
    state = str(entry.data.get("state") or "")
    cause = chain.of("session_lost", entry.subject) if state != "lost" else chain.of("comms_loss", entry.subject)
    tone = {"lost": Tone.BAD, "interrogated": Tone.GOOD}.get(state, Tone.NEUTRAL)
    kind, label = f"session_{state}", f"{entry.subject} session {state}"
    chain.add(entry, Lane.TELECONTROL, label, kind=kind, cause=cause, tone=tone, family="session", part=state)


def _supply(chain: _Chain, entry: JournalEntry) -> None:
    customers = entry.data.get("customers_interrupted")
    if not isinstance(customers, int | float) or customers == chain.customers:
        return
    tone = Tone.BAD if customers > chain.customers else Tone.GOOD
    chain.customers = customers
    label = f"{figure_text(customers)} customers without supply" if customers else "all customers supplied"
    row = chain.add(entry, Lane.PLANT, label, cause=chain.latest("breaker"), tone=tone)
    chain.outage = row if tone is Tone.BAD else chain.outage


def _closed_onto_fault(chain: _Chain, entry: JournalEntry) -> None:
    cause = _either(chain.of("breaker", entry.subject), chain.latest("breaker"))
    chain.add(entry, Lane.PLANT, f"{entry.subject} closed onto a fault", cause=cause, tone=Tone.BAD)


def _overload(chain: _Chain, entry: JournalEntry) -> None:
    if chain.of("overload", entry.subject) is None:
        chain.add(entry, Lane.PLANT, f"{entry.subject} overloaded", cause=chain.latest("breaker"), tone=Tone.BAD)


_TOLD_BY: Mapping[tuple[str, int], Sequence[str]] = {
    ("position", 1): ("breaker open",),
    ("position", 2): ("breaker closed",),
    ("trip", 1): ("relay_trip",),
    ("fault_forward", 1): ("indicator",),
    ("fault_reverse", 1): ("indicator",),
    ("lockout", 1): ("lockout",),
    ("reclose_active", 1): ("relay_trip",),
    ("reclose_active", 0): ("reclaimed", "lockout"),
}
"""What an event of a quantity with a value tells of; a breaker on its way and a reset tell of nothing."""


def _event(chain: _Chain, entry: JournalEntry) -> None:
    """Only an event that tells of something already in the chain, and only the first one to do so."""
    point = str(entry.data.get("point") or entry.subject)
    equipment, _, quantity = point.rpartition(".")
    source_t_ms, value = entry.data.get("source_t_ms", entry.t_ms), entry.data.get("value")
    if not isinstance(source_t_ms, int) or not isinstance(value, int):
        return
    row = _teller(chain, _TOLD_BY.get((quantity, int(value)), ()), equipment, source_t_ms)
    if row is None or (equipment, quantity, source_t_ms) in chain.told:
        return
    chain.told.add((equipment, quantity, source_t_ms))
    is_passage = quantity.startswith("fault_")
    family, part = ("fault passage", quantity.removeprefix("fault_")) if is_passage else ("", quantity)
    label = f"event {point}"
    told = chain.add(entry, Lane.CONTROL_ROOM, label, subject=equipment, cause=row, family=family, part=part)
    chain.by_point[point] = told


def _teller(chain: _Chain, kinds: Sequence[str], equipment: str, source_t_ms: SimTime) -> int | None:
    rows = (row for kind in kinds for row in reversed(chain.told_of.get((kind, equipment), ())))
    since = source_t_ms - TIME_TAG_TOLERANCE_MS
    return next((row for row in rows if since <= chain.milestones[row].t_ms <= source_t_ms), None)


_SHORT_ALARMS = {"fault_forward": "fault passage", "fault_reverse": "fault passage"}
_LONE_ALARMS = ("trip", "lockout")


def _alarm(chain: _Chain, entry: JournalEntry) -> None:
    if entry.data.get("state") != "raised":
        return
    words = str(entry.data.get("text") or entry.subject)
    rule, _, point = str(entry.data.get("alarm_id") or "").partition(":")
    chain.add(
        entry,
        Lane.CONTROL_ROOM,
        f"alarm: {words}",
        cause=_raised_by(chain, entry, rule, point),
        tone=Tone.BAD,
        family="" if not point or rule in _LONE_ALARMS else f"alarm {_SHORT_ALARMS.get(rule, rule)}",
        part=words.partition(": ")[2] or words,
    )


def _raised_by(chain: _Chain, entry: JournalEntry, rule: str, point: str) -> int | None:
    """The event of the alarm's own point, for a dead busbar the loss of supply, else the latest that fits."""
    if point in chain.by_point:
        return chain.by_point[point]
    if rule == "v_dead" and chain.outage is not None:
        return chain.outage
    cause = chain.latest_of(entry.subject.rpartition(".")[0] or entry.subject, "event", "session_lost")
    event = chain.latest("event")
    if cause is None and event is not None and entry.t_ms - chain.milestones[event].t_ms <= ALARM_DELAY_MS:
        return event
    return cause


def _location(chain: _Chain, entry: JournalEntry) -> None:
    zones = entry.data.get("zones") or ()
    names = ", ".join(str(zone) for zone in zones) if isinstance(zones, list | tuple) else str(zones)
    words = str(entry.data.get("text") or (f"located: {names}" if names else "fault located"))
    cause = _either(chain.of("event", entry.subject), chain.latest("event", "alarm"))
    chain.add(entry, Lane.CONTROL_ROOM, words.removesuffix("."), cause=cause)


_ONGOING = ("", "running", "waiting", "proposed")
FULFILLED = ("done", "completed")
"""How the outcome of a plan begins that was carried out to its end."""


def _plan(chain: _Chain, entry: JournalEntry) -> None:
    plan_id, outcome = str(entry.data.get("plan_id") or entry.subject), str(entry.data.get("outcome") or "")
    if chain.of("plan", plan_id) is None:
        steps = entry.data.get("steps")
        number = len(steps) if isinstance(steps, list) else 0
        count = f", {number} step{'' if number == 1 else 's'}" if isinstance(steps, list) else ""
        title = str(entry.data.get("title") or plan_id)
        cause = chain.latest("location", "alarm", "event")
        chain.add(entry, Lane.CONTROL_ROOM, f"plan: {_lower(title)}{count}", subject=plan_id, cause=cause)
    if outcome.partition(":")[0] not in _ONGOING:
        _plan_end(chain, entry, plan_id, outcome)


def _plan_end(chain: _Chain, entry: JournalEntry, plan_id: str, outcome: str) -> None:
    fulfilled = outcome.partition(":")[0] in FULFILLED
    label = "plan fully carried out" if fulfilled else f"plan ended: {outcome}"
    kind, tone = ("plan_done", Tone.GOOD) if fulfilled else ("plan_ended", Tone.BAD)
    cause = _either(chain.confirmed.get(plan_id), chain.of("plan", plan_id))
    chain.add(entry, Lane.CONTROL_ROOM, label, kind=kind, subject=plan_id, cause=cause, tone=tone)


def _lower(title: str) -> str:
    """A title inside a sentence: its first letter small, unless the first word is a name."""
    return title[:1].lower() + title[1:] if title[1:2].islower() else title


def _command(chain: _Chain, entry: JournalEntry) -> None:
    data = entry.data
    command_id = str(data.get("command_id") or entry.subject)
    switch, action = str(data.get("switch") or entry.subject), str(data.get("action") or "operate")
    phase, plan_id = str(data.get("phase") or ""), str(data.get("plan_id") or "")
    before = chain.commands.get(command_id)
    if before is None:
        cause = _either(chain.confirmed.get(plan_id), chain.of("plan", plan_id)) if plan_id else chain.latest("event")
    else:
        cause = _proof(chain, before, switch) if phase == "confirmed" else before
    tone = Tone.BAD if phase in FAILED_PHASES else Tone.GOOD if phase == "confirmed" else Tone.NEUTRAL
    rule = data.get("rule") or data.get("cause")
    label = f"{action} {switch} {phase.replace('_', ' ')}" + (f": {rule}" if rule and tone is Tone.BAD else "")
    row = chain.add(
        entry, Lane.COMMANDS, label, kind=phase, subject=switch, cause=cause, tone=tone, command_id=command_id
    )
    chain.requested.setdefault(command_id, row)
    chain.commands[command_id] = row
    if phase in FINAL_PHASES:
        chain.confirmed[plan_id] = row


def _proof(chain: _Chain, before: int, switch: str) -> int:
    """What confirms a command: the event that told of the switch's new position, else the phase before."""
    event = chain.of("event", switch)
    requested = chain.requested[chain.milestones[before].command_id]
    return event if event is not None and event > requested else before


_STEPS: Mapping[tuple[str, str], Callable[[_Chain, JournalEntry], None]] = {
    ("director", "fault"): _fault,
    ("director", "fault_cleared"): _fault_cleared,
    ("grid", "fault_cleared"): _fault_cleared,
    ("director", "comms_loss"): _comms_loss,
    ("field", "relay_pickup"): _pickup,
    ("field", "relay_trip"): _trip,
    ("field", "breaker"): _breaker,
    ("field", "reclose"): _reclose,
    ("field", "lockout"): _lockout,
    ("field", "reclaimed"): _reclaimed,
    ("field", "indicator"): _indicator,
    ("field", "command_received"): _received,
    ("field", "refused"): _station_refused,
    ("session", "session"): _session,
    ("grid", "supply"): _supply,
    ("grid", "closed_onto_fault"): _closed_onto_fault,
    ("grid", "overload"): _overload,
    ("control_room", "event"): _event,
    ("control_room", "alarm"): _alarm,
    ("control_room", "location"): _location,
    ("control_room", "plan"): _plan,
    ("control_room", "command"): _command,
}
