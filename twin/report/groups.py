"""Tells milestones of one kind at nearly one time together, so that a picture of an incident fits one screen.

Pure: milestones in, groups of their rows out. No milestone is lost: each belongs to exactly one group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from twin.report.milestones import Lane, Milestone, Tone
from twin.report.story import natural
from twin.timebase import SimTime

FEWEST_TOGETHER = 3
"""Fewer milestones than this are told one by one."""

NEARLY_MS = 1000
"""Milestones of one family with no longer pause between them are told together."""


@dataclass(frozen=True)
class Group:
    """Milestones told as one: a single one keeps its own words. ``rows`` are in the order of time."""

    rows: tuple[int, ...]
    t_ms: SimTime
    end_ms: SimTime
    lane: Lane
    kind: str
    label: str
    tone: Tone

    @property
    def together(self) -> bool:
        """True if more than one milestone is told."""
        return len(self.rows) > 1


def grouped(milestones: Sequence[Milestone]) -> tuple[Group, ...]:
    """Every milestone in its group, the groups in the order of their first milestones."""
    found: list[list[int]] = []
    latest: dict[tuple[Lane, str, str, Tone], list[int]] = {}
    for row, milestone in enumerate(milestones):
        key = (milestone.lane, milestone.kind, milestone.family, milestone.tone)
        rows = latest.get(key, []) if milestone.family else []
        if rows and milestone.t_ms - milestones[rows[-1]].t_ms <= NEARLY_MS:
            rows.append(row)
            continue
        latest[key] = [row]
        found.append(latest[key])
    kept = [part for rows in found for part in (_apart(rows) if len(rows) < FEWEST_TOGETHER else (rows,))]
    return tuple(_group(milestones, rows) for rows in sorted(kept))


def _apart(rows: Sequence[int]) -> list[list[int]]:
    return [[row] for row in rows]


def _group(milestones: Sequence[Milestone], rows: Sequence[int]) -> Group:
    members = [milestones[row] for row in rows]
    first = members[0]
    label = first.label if len(rows) == 1 else group_label(members)
    return Group(tuple(rows), first.t_ms, members[-1].t_ms, first.lane, first.kind, label, first.tone)


def group_label(members: Sequence[Milestone]) -> str:
    """``32 fault passage indicators, 17 forward 15 reverse`` or ``44 alarms: no voltage at N40 …``."""
    first, count = members[0], len(members)
    if first.kind == "indicator":
        return f"{count} fault passage indicators, {_parts(members)}".rstrip(", ")
    if first.kind.startswith("session_"):
        return f"{count} sessions {first.part}"
    what = f"{count} {first.kind}s"
    if first.family.endswith("fault passage"):
        return f"{what}: fault passages"
    nearest = min(members, key=lambda member: natural(member.subject))
    return f"{what}: {nearest.part} …"


def _parts(members: Sequence[Milestone]) -> str:
    counts = Counter(member.part for member in members if member.part)
    return " ".join(f"{number} {part}" for part, number in sorted(counts.items()))
