"""The section on what the applications found."""

from __future__ import annotations

from typing import Any

from twin.journal import JournalEntry
from twin.report.findings import findings


def entry(t_ms: int, subject: str, state: str, kind: str = "unknown switch", **data: Any) -> JournalEntry:
    given = {"application": "state_estimation", "finding": kind, "state": state, "why": f"{subject} is lost.", **data}
    return JournalEntry(t_ms, "control_room", "finding", subject, given)


def test_findings__that_come_and_go_together_are_one_row() -> None:
    journal = [entry(1_000, f"LBS_{n}", "found") for n in (10, 2, 1)]
    journal += [entry(4_000, f"LBS_{n}", "ended") for n in (10, 2, 1)]
    [row] = findings(journal)
    assert (row.title, row.kind, row.subjects) == ("State estimation", "unknown switch", ["LBS_1", "LBS_2", "LBS_10"])
    assert (row.t_ms, row.ended_ms, row.lasted_ms) == (1_000, 4_000, 3_000)


def test_findings__that_stand_have_no_end() -> None:
    journal = [entry(1_000, "CB_1.p_kw", "found", "wrong measurement"), entry(2_000, "S1", "found")]
    rows = findings(journal)
    assert [row.ended_ms for row in rows] == [None, None]
    assert [row.kind for row in rows] == ["wrong measurement", "unknown switch"]


def test_findings__that_come_again_are_told_again() -> None:
    journal = [entry(t, "S1", state) for t, state in ((1, "found"), (2, "ended"), (3, "found"), (4, "ended"))]
    assert [(row.t_ms, row.ended_ms) for row in findings(journal)] == [(1, 2), (3, 4)]


def test_sentences__are_few_and_each_once() -> None:
    journal = [entry(1, f"S{n}", "found", why=f"Sentence {n // 2}.") for n in range(10)]
    [row] = findings(journal)
    assert (len(row.sentences), row.more) == (3, 2)


def test_findings__of_other_journal_lines_there_are_none() -> None:
    assert (
        findings([JournalEntry(1, "field", "finding", "x", {}), JournalEntry(1, "control_room", "plan", "p", {})]) == []
    )
