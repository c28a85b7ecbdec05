"""YAML as plain data with lines."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.scenario.document import read_document


def test_document__gives_the_line_of_every_key_and_item() -> None:
    document = read_document("# a comment\na: 1\nb:\n  - {x: 1,\n     y: 2}\n  - - 5\nc: {d: &mark [1]}\ne: *mark\n")
    assert document.problems == []
    assert document.data == {"a": 1, "b": [{"x": 1, "y": 2}, [5]], "c": {"d": [1]}, "e": [1]}
    lines = document.lines
    assert (lines[("a",)], lines[("b",)], lines[("b", 0)], lines[("b", 0, "y")]) == (2, 3, 4, 5)
    assert (lines[("b", 1)], lines[("b", 1, 0)], lines[("c", "d")], lines[("e",)]) == (6, 6, 7, 8)


def test_document__words_of_yaml_1_1_stay_words() -> None:
    words = "[off, on, yes, no, 12:30, 2026-01-15]"
    assert read_document(words).data == [
        "off",
        "on",
        "yes",
        "no",
        "12:30",
        "2026-01-15",
    ]
    assert read_document("[true, False, null, ~, 1.5e3, .inf]").data == [True, False, None, None, 1500.0, float("inf")]


@pytest.mark.parametrize(
    ("text", "value"), [("010", 10), ("1_2", 12), ("0x1F", 31), ("0o14", 12), ("1.10", 1.1), ("-3", -3)]
)
def test_document__number_remembers_how_it_was_written(text: str, value: float) -> None:
    number = read_document(f"a: {text}").data["a"]
    assert number == value
    assert number.text == text


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "the key a was already given in line 1; keep one"),
        ("a: {b: 1, b: 2}", 1, "the key b was already given in line 1; keep one"),
        ("x: 1\na: !python/object foo\n", 2, "tags such as !python/object have no meaning in a scenario"),
        ("a: &x [1, *x]", 1, "this alias contains itself"),
        ("? [1]\n: 2", 1, "a key must be a word, not a list or a block"),
        (
            "a: [1, 2",
            1,
            "this is not YAML: expected ',' or ']', but got '<stream end>'; "
            "a bracket or brace is not closed, or a comma is missing",
        ),
        (
            "ok: 1\na: b: c",
            2,
            'this is not YAML: mapping values are not allowed here; quote a value that contains ": ", '
            "or check the indentation",
        ),
        (
            "a:\n\tb: 1",
            2,
            "this is not YAML: found character '\\t' that cannot start any token; indent with spaces, not with tabs",
        ),
        ("a: 'x", 1, "this is not YAML: found unexpected end of stream; a quote is not closed"),
        ("a: %5", 1, "this is not YAML: found character '%' that cannot start any token; quote the value"),
        (
            "a:\n  - b: 1\n   c: 2",
            3,
            "this is not YAML: expected <block end>, but found '<block mapping start>', in what began in line 2; "
            "check the indentation",
        ),
        ("a: *nobody", 1, "this is not YAML: found undefined alias 'nobody'"),
        ("a: 1\nb: \x07", 2, "this is not text that YAML allows"),
        ("[" * 1000, 0, "lists and blocks are nested too deep"),
    ],
)
def test_document__problem_has_its_line_and_a_hint(text: str, line: int, sentence: str) -> None:
    assert read_document(text).problems == [(line, sentence)]


def test_document__duplicates_are_all_found() -> None:
    problems = read_document("a: 1\na: 2\nb: {c: 1, c: 2}\na: 3\n").problems
    assert [line for line, _ in problems] == [2, 3, 4]


def test_document__empty_text_has_no_data() -> None:
    document = read_document("# only a comment\n")
    assert (document.data, document.problems) == (None, [])


@settings(deadline=None, max_examples=200)
@given(st.text() | st.text("ab:-[]{}&*!'\"\n #,1.%?|>"))
def test_document__any_text_gives_data_or_problems(text: str) -> None:
    document = read_document(text)
    assert all(sentence and line >= 0 for line, sentence in document.problems)
