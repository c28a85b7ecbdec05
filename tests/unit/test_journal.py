"""Lines of the journal."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.journal import JournalEntry, entry_from_json

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
HEAD = ("t_ms", "source", "kind", "subject")


def test_entry__is_one_line_with_its_head_first() -> None:
    entry = JournalEntry(60_000, "grid", "fault", "L3-8", {"id": "fault1", "position": 0.5})
    line = '{"t_ms":60000,"source":"grid","kind":"fault","subject":"L3-8","id":"fault1","position":0.5}'
    assert entry.to_json() == line
    assert entry_from_json(line) == entry


def test_entry__keeps_letters_legible() -> None:
    assert "Süd" in JournalEntry(0, "grid", "supply", "Süd").to_json()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_entry__takes_no_number_that_json_does_not_know(value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        JournalEntry(0, "grid", "supply", "x", {"v": value}).to_json()


@settings(max_examples=50, deadline=None, database=None)
@given(
    t_ms=st.integers(0, 2**53),
    source=NAMES,
    kind=NAMES,
    subject=NAMES,
    data=st.dictionaries(NAMES.filter(lambda name: name not in HEAD), VALUES, max_size=4),
)
def test_entry__comes_back_from_its_line(
    t_ms: int, source: str, kind: str, subject: str, data: dict[str, object]
) -> None:
    entry = JournalEntry(t_ms, source, kind, subject, data)
    line = entry.to_json()
    assert "\n" not in line
    assert list(json.loads(line))[:4] == list(HEAD)
    assert entry_from_json(line) == entry
    assert entry_from_json(line).to_json() == line
