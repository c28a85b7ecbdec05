"""The stretches of an incident that an engineer asks for by name, and the course of its auto-reclosing in words.

Pure; not for finding out what caused what: see ``timeline``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from twin.report.milestones import Incident, Milestone, Tone
from twin.timebase import SimTime


@dataclass(frozen=True, slots=True)
class Latency:
    """A stretch of the chain that an engineer asks for by name."""

    name: str
    span_ms: SimTime


def key_latencies(incident: Incident) -> tuple[Latency, ...]:
    """The stretches of an incident that were recorded, in the order of the chain."""
    start, faulted = incident.start_ms, incident.first("fault") is not None
    trip = next((m for m in incident.milestones if m.kind == "breaker" and m.tone is Tone.BAD), None)
    opened, event, alarm = _told(incident, trip)
    plan, done = incident.first("plan"), incident.last("plan_done")
    checked = incident.last("confirmed")
    if checked is not None and done is not None and checked.t_ms == done.t_ms:
        checked = None
    supply = incident.last("supply")
    restored = supply if supply is not None and supply.tone is Tone.GOOD else None
    stretches: Iterable[tuple[str, SimTime | None, Milestone | None]] = (
        ("fault → breaker open", start, trip),
        ("breaker open → control room", trip.t_ms if trip else None, opened),
        ("event → alarm", event.t_ms if event else None, alarm),
        ("fault → lockout", start, incident.first("lockout")),
        ("fault → plan", start, plan),
        ("plan → last check-back", plan.t_ms if plan else None, checked),
        ("plan → fully carried out", plan.t_ms if plan else None, done),
        ("fault → last restoration", start, restored),
    )
    return tuple(
        Latency(name, end.t_ms - begin)
        for name, begin, end in stretches
        if end is not None and begin is not None and end.t_ms >= begin and (faulted or not name.startswith("fault"))
    )


def _told(incident: Incident, trip: Milestone | None) -> tuple[Milestone | None, Milestone | None, Milestone | None]:
    """(event of the open breaker; the first alarm that an event of its trip or position raised, after that event)."""
    chain = incident.milestones
    if trip is None:
        return None, None, None
    told = [
        row
        for row, m in enumerate(chain)
        if m.kind == "event" and m.subject == trip.subject and m.part in ("trip", "position")
    ]
    opened = next((chain[row] for row in told if _cause(chain, row) is trip), None)
    alarm = next((m for m in chain if m.kind == "alarm" and m.cause in told), None)
    return opened, chain[alarm.cause] if alarm is not None and alarm.cause is not None else None, alarm


def _cause(chain: Sequence[Milestone], row: int) -> Milestone | None:
    cause = chain[row].cause
    return None if cause is None else chain[cause]


def reclosing(incident: Incident) -> tuple[str, ...]:
    """One sentence for each breaker that was reclosed automatically or locked out, in the order of their trips."""
    names = dict.fromkeys(m.subject for m in incident.milestones if m.kind in ("reclose", "lockout"))
    return tuple(_course(incident, name) for name in names)


def _course(incident: Incident, name: str) -> str:
    own = [m for m in incident.milestones if m.subject == name]
    trips = sum(m.kind == "breaker" and m.tone is Tone.BAD for m in own)
    shots = sum(m.kind == "reclose" for m in own)
    end = next((m for m in reversed(own) if m.kind in ("lockout", "reclaimed", "breaker")), None)
    how = {
        "lockout": "unsuccessful: locked out",
        "reclaimed": "the last one successful",
        "breaker": "closed at the end" if end is not None and end.part == "closed" else "open at the end",
    }.get(end.kind if end else "", "")
    return f"{name}: {_count(trips, 'trip')}, {_count(shots, 'reclosing shot')}{', ' + how if how else ''}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
