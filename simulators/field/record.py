"""What the field devices have told and nobody has taken yet: samples, journal, closings and finished commands.

Everything is kept in the order in which it happened. Not in here: where it goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twin.journal import JournalEntry
from twin.points.model import Quality, Sample
from twin.timebase import SimTime

SOURCE = "field"
"""The name under which the field devices write the journal."""


@dataclass
class Record:
    """Lists of what was told; ``closings`` is (switch row, time), ``finished`` (ticket, success, time)."""

    samples: list[Sample] = field(default_factory=list)
    journal: list[JournalEntry] = field(default_factory=list)
    closings: list[tuple[int, SimTime]] = field(default_factory=list)
    finished: list[tuple[int, bool, SimTime]] = field(default_factory=list)

    def write(self, kind: str, subject: str, data: Mapping[str, Any], now: SimTime) -> None:
        """Make a journal entry."""
        self.journal.append(JournalEntry(now, SOURCE, kind, subject, data))

    def snapshot(self) -> dict[str, Any]:
        """State ready for JSON."""
        return {
            "samples": [_sample_row(sample) for sample in self.samples],
            "journal": [[e.t_ms, e.source, e.kind, e.subject, dict(e.data)] for e in self.journal],
            "closings": self.closings,
            "finished": self.finished,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand as in ``state``."""
        self.samples = [_sample_from_row(row) for row in state["samples"]]
        self.journal = [JournalEntry(*row) for row in state["journal"]]
        self.closings = [(switch, t_ms) for switch, t_ms in state["closings"]]
        self.finished = [(ticket, success, t_ms) for ticket, success, t_ms in state["finished"]]


def _sample_row(sample: Sample) -> list[Any]:
    return [sample.station, sample.point, sample.value, int(sample.quality), sample.source_t_ms, sample.spontaneous]


def _sample_from_row(row: list[Any]) -> Sample:
    station, point, value, quality, source_t_ms, spontaneous = row
    return Sample(station, point, value, Quality(quality), source_t_ms, spontaneous)
