"""What the applications found: each finding with its sentence, when it came and when it went.

Findings of one kind that come and go together (all switches of a station that is cut off) are told in one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twin.journal import JournalEntry
from twin.report.story import natural
from twin.timebase import SimTime

TITLES: Mapping[str, str] = {
    "state_estimation": "State estimation",
    "load_flow": "Load flow",
    "topology": "Topology",
    "volt_var": "Volt-VAR",
    "load_shedding": "Load shedding",
    "flisr": "FLISR",
}
MOST_SENTENCES = 3


@dataclass
class FoundRow:
    """One row of the report; ``ended_ms`` is None while the findings stand. Sentences are those of the subjects."""

    application: str
    kind: str
    t_ms: SimTime
    ended_ms: SimTime | None = None
    subjects: list[str] = field(default_factory=list)
    why: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The application as people call it."""
        return TITLES.get(self.application, self.application.replace("_", " ").capitalize())

    @property
    def sentences(self) -> list[str]:
        """The first sentences, each once."""
        return list(dict.fromkeys(self.why))[:MOST_SENTENCES]

    @property
    def more(self) -> int:
        """How many sentences are left out."""
        return len(dict.fromkeys(self.why)) - len(self.sentences)

    @property
    def lasted_ms(self) -> SimTime | None:
        """How long the findings stood."""
        return None if self.ended_ms is None else self.ended_ms - self.t_ms


@dataclass
class _Found:
    application: str
    kind: str
    subject: str
    t_ms: SimTime
    why: str
    ended_ms: SimTime | None = None


def findings(journal: Iterable[JournalEntry]) -> list[FoundRow]:
    """The findings in the order they came, those that belong together in one row."""
    rows: dict[tuple[str, str, SimTime, SimTime | None], FoundRow] = {}
    for found in sorted(_each(journal), key=lambda f: (f.t_ms, f.application, f.kind, natural(f.subject))):
        key = (found.application, found.kind, found.t_ms, found.ended_ms)
        row = rows.setdefault(key, FoundRow(found.application, found.kind, found.t_ms, found.ended_ms))
        row.subjects.append(found.subject)
        row.why.append(found.why)
    return list(rows.values())


def _each(journal: Iterable[JournalEntry]) -> list[_Found]:
    every: list[_Found] = []
    standing: dict[tuple[str, str, str], _Found] = {}
    for entry in journal:
        if entry.source != "control_room" or entry.kind != "finding":
            continue
        application, kind = _text(entry.data, "application"), _text(entry.data, "finding")
        key = (application, kind, entry.subject)
        if entry.data.get("state") == "ended":
            if key in standing:
                standing.pop(key).ended_ms = entry.t_ms
            continue
        standing[key] = _Found(application, kind, entry.subject, entry.t_ms, _text(entry.data, "why"))
        every.append(standing[key])
    return every


def _text(data: Mapping[str, Any], key: str) -> str:
    return str(data.get(key) or "")
