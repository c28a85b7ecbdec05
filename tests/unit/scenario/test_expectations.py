"""Verdicts: each form, its deadlines between cycles, its sentences, and snapshots."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.scenario import ExpressionError, Scenario, read_scenario
from twin.scenario.expectations import ExpectationMonitor, Verdict
from twin.scenario.expression import Quantity
from twin.units import Unit

State = dict[str, float]
HEAD = "scenario: 1\nname: t\nnetwork: t\nstart: 2026-01-15T18:00:00Z\nduration: 10 min\n"
EVENTS = "events: [{at: 60 s, id: fault1, fault: {line: L1}}, {at: 1 s, id: other, local: {switch: CB_1}}]\n"


class Names:
    """A fake of three names: x true or false, n customers, p a switch position."""

    units = {"x": Unit.BOOLEAN, "n": Unit.COUNT, "p": Unit.POSITION, "load": Unit.FRACTION}  # noqa: RUF012

    def lookup(self, name: str) -> Quantity | None:
        return Quantity(name, self.units[name], lambda state: state[name]) if name in self.units else None

    def names(self) -> Iterator[str]:
        yield from self.units


def scenario_of(*expectations: str) -> Scenario:
    return read_scenario(HEAD + EVENTS + "expect:\n" + "".join(f"  - {{{line}}}\n" for line in expectations))


def watch(
    expectation: str, cycles: Mapping[int, State], events: Mapping[str, int] | None = None, end: int | None = None
) -> Verdict:
    """The verdict over cycles (time in s → state); each event is told just before its cycle or the next one."""
    monitor = ExpectationMonitor(scenario_of(expectation), Names())
    pending = sorted((t, name) for name, t in (events or {}).items())
    for t, state in cycles.items():
        while pending and pending[0][0] <= t:
            at, name = pending.pop(0)
            monitor.event_happened(name, at * 1000)
        monitor.observe(state, t * 1000)
    for at, name in pending:
        monitor.event_happened(name, at * 1000)
    return monitor.finish((max(cycles, default=0) if end is None else end) * 1000)[0]


def flags(text: str, start: int = 0) -> dict[int, State]:
    """``..##`` : one cycle a second, # where x is true."""
    return {start + t: {"x": float(mark == "#")} for t, mark in enumerate(text)}


FAULT_AT_2 = {"fault1": 2}


@pytest.mark.parametrize(
    ("expectation", "cycles", "end", "passed", "t_s", "reason"),
    [
        # becomes true in time, at the limit, too late, not at all
        ("within: 3 s of fault1, that: x", "....##", 5, True, 4, "became true 2 s after fault1 (limit 3 s)"),
        ("within: 3 s of fault1, that: x", "..#", 5, True, 2, "became true 0 s after fault1 (limit 3 s)"),
        ("within: 3 s of fault1, that: x", ".....#", 9, True, 5, "became true 3 s after fault1 (limit 3 s)"),
        ("within: 3 s of fault1, that: x", "......#", 9, False, 5, "x was false at 00:00:05.000, expected true"),
        ("within: 3 s of fault1, that: x", "......", 9, False, 5, "x was false at 00:00:05.000, expected true"),
        # true before the event: does not count until it was false
        ("within: 3 s of fault1, that: x", "#######", 9, True, 5,
         "held all the time from 00:00:02.000 to 00:00:05.000"),
        ("within: 3 s of fault1, that: x", "###.##", 9, True, 4, "became true 2 s after fault1 (limit 3 s)"),
        ("within: 3 s of fault1, that: x", "###....", 9, False, 5, "x was false at 00:00:05.000, expected true"),
        ("within: 3 s of fault1, that: x", "#####.#", 9, False, 5, "x was false at 00:00:05.000, expected true"),
        # the run ends first
        ("within: 3 s of fault1, that: x", "....", 3, False, 3,
         "the run ended at 00:00:03.000, before the limit at 00:00:05.000; x was false at 00:00:03.000, expected true"),
        ("within: 3 s of fault1, that: x", "####", 3, False, 3,
         "not decided: it held, but the run ended at 00:00:03.000, before the limit at 00:00:05.000"),
        ("within: 3 s of fault1, that: x", "####", 5, True, 5, "held all the time from 00:00:02.000 to 00:00:05.000"),
        ("within: 3 s of fault1, that: x", "....", 8, False, 5, "x was false at 00:00:05.000, expected true"),
        # must stay so
        ("within: 3 s of fault1, that: x, for: 2 s", "....###", 9, True, 6,
         "became true 2 s after fault1 and stayed so for 2 s (limit 3 s)"),
        ("within: 3 s of fault1, that: x, for: 2 s", "....##.", 9, True, 6,
         "became true 2 s after fault1 and stayed so for 2 s (limit 3 s)"),
        ("within: 3 s of fault1, that: x, for: 2 s", "...#.##.", 9, True, 7,
         "became true 3 s after fault1 and stayed so for 2 s (limit 3 s)"),
        ("within: 3 s of fault1, that: x, for: 2 s", ".....#.", 9, False, 6,
         "was true only until 00:00:06.000, expected to stay so for 2 s"),
        ("within: 3 s of fault1, that: x, for: 2 s", "...#..##", 9, False, 5,
         "was true only until 00:00:04.000, expected to stay so for 2 s"),
        ("within: 3 s of fault1, that: x, for: 5 s", ".....##", 6, False, 6,
         "true since 00:00:05.000, but the run ended at 00:00:06.000, before it had stayed so for 5 s"),
        ("within: 1 s of fault1, that: x, for: 3 s", "#########", 9, True, 5,
         "held all the time from 00:00:02.000 to 00:00:05.000"),
        ("within: 1 s of fault1, that: x, for: 3 s", "####.####", 9, False, 4,
         "was true only until 00:00:04.000, expected to stay so for 3 s"),
        # by: from the start
        ("by: 3 s, that: x", "..##", 9, True, 2, "became true at 00:00:02.000 (limit 3 s)"),
        ("by: 3 s, that: x", "#####", 9, True, 3, "held all the time from 00:00:00.000 to 00:00:03.000"),
        ("by: 3 s, that: x", "##....", 9, False, 3, "x was false at 00:00:03.000, expected true"),
        # at
        ("at: 3 s, that: x", "...#..", 9, True, 3, "x was true at 00:00:03.000"),
        ("at: 3 s, that: x", "###.##", 9, False, 3, "x was false at 00:00:03.000, expected true"),
        ("at: 3 s, that: x", ".#", 9, True, 3, "x was true at 00:00:03.000"),
        ("at: 3 s, that: x", "##", 2, False, 2, "never checked: the run ended at 00:00:02.000, before 00:00:03.000"),
        # always and never
        ("always: x", "####", 3, True, 3, "held from 00:00:00.000 to 00:00:03.000"),
        ("always: x", "#", 0, True, 0, "held from 00:00:00.000 to 00:00:00.000"),
        ("always: x", "##.#.", 4, False, 2, "x was false at 00:00:02.000, expected true"),
        ("never: x", "....", 3, True, 3, "did not happen from 00:00:00.000 to 00:00:03.000"),
        ("never: x", "..#.", 3, False, 2, "x was true at 00:00:02.000, expected false"),
        ("always: x, from: 2 s", "..###", 4, True, 4, "held from 00:00:02.000 to 00:00:04.000"),
        ("always: x, from: 2 s, until: 3 s", "..##..", 5, True, 3, "held from 00:00:02.000 to 00:00:03.000"),
        ("always: x, from: 2 s, until: 3 s", "..#.##", 5, False, 3, "x was false at 00:00:03.000, expected true"),
        ("always: x, from: 2 s, until: 9 s", "#####", 4, False, 4,
         "not decided: the run ended at 00:00:04.000, before 00:00:09.000"),
        ("always: x, from: 8 s", "#####", 4, False, 4,
         "never checked: the run ended at 00:00:04.000, before 00:00:08.000"),
        ("always: x, from: 8 s", "####.", 9, False, 8, "x was false at 00:00:08.000, expected true"),
        # count
        ("count: x, equals: 2", ".#.##.", 5, True, 5, "became true 2 times, up to 00:00:05.000, expected 2"),
        ("count: x, equals: 1", ".#.##.#", 6, False, 3, "became true 2 times, the last at 00:00:03.000, expected 1"),
        ("count: x, equals: 3", ".#.##.", 5, False, 5, "became true 2 times, up to 00:00:05.000, expected 3"),
        ("count: x, equals: 0", "##..", 3, True, 3, "became true 0 times, up to 00:00:03.000, expected 0"),
        ("count: x, at_most: 1", ".##", 2, True, 2, "became true 1 time, up to 00:00:02.000, expected at most 1"),
        ("count: x, at_most: 0", ".#", 1, False, 1, "became true 1 time, the last at 00:00:01.000, expected at most 0"),
        ("count: x, at_least: 2", ".#.#.#", 5, True, 3,
         "became true 2 times, the last at 00:00:03.000, expected at least 2"),
        ("count: x, at_least: 1", "##..", 3, False, 3, "became true 0 times, up to 00:00:03.000, expected at least 1"),
        ("count: x, equals: 1, from: 2 s, until: 4 s", ".#.#.#", 5, True, 4,
         "became true 1 time, up to 00:00:04.000, expected 1"),
        ("count: x, equals: 1, from: 2 s", "..#", 2, True, 2, "became true 1 time, up to 00:00:02.000, expected 1"),
    ],
)  # fmt: skip
def test_verdict__of_each_form(expectation: str, cycles: str, end: int, passed: bool, t_s: int, reason: str) -> None:
    verdict = watch(expectation, flags(cycles), FAULT_AT_2, end)
    assert (verdict.passed, verdict.t_ms, verdict.reason) == (passed, t_s * 1000, reason)


@pytest.mark.parametrize(
    ("expectation", "cycles", "end", "passed", "t_s", "reason"),
    [
        # cycles at 0, 10 and 20 s; the fault is at 2 s
        ("within: 3 s of fault1, that: x", ".#.", 20, False, 5, "x was false at 00:00:05.000, expected true"),
        ("within: 8 s of fault1, that: x", ".#.", 20, True, 10, "became true 8 s after fault1 (limit 8 s)"),
        ("within: 3 s of fault1, that: x", "#..", 20, True, 5, "held all the time from 00:00:02.000 to 00:00:05.000"),
        ("within: 13 s of fault1, that: x, for: 5 s", ".#.", 20, True, 15,
         "became true 8 s after fault1 and stayed so for 5 s (limit 13 s)"),
        ("by: 15 s, that: x", "##.", 20, True, 15, "held all the time from 00:00:00.000 to 00:00:15.000"),
        ("at: 15 s, that: x", "..#", 20, False, 15, "x was false at 00:00:15.000, expected true"),
        ("always: x, from: 5 s", ".##", 20, False, 5, "x was false at 00:00:05.000, expected true"),
        ("always: x, until: 15 s", "##.", 20, True, 15, "held from 00:00:00.000 to 00:00:15.000"),
        ("never: x, from: 12 s, until: 15 s", ".#.", 20, False, 12, "x was true at 00:00:12.000, expected false"),
        ("count: x, equals: 1, from: 5 s, until: 15 s", ".#.", 20, True, 15,
         "became true 1 time, up to 00:00:15.000, expected 1"),
    ],
)  # fmt: skip
def test_verdict__between_cycles_the_state_is_the_one_before(
    expectation: str, cycles: str, end: int, passed: bool, t_s: int, reason: str
) -> None:
    states = {10 * t: state for t, state in flags(cycles).items()}
    verdict = watch(expectation, states, FAULT_AT_2, end)
    assert (verdict.passed, verdict.t_ms, verdict.reason) == (passed, t_s * 1000, reason)


def test_within__event_that_never_happened_fails_with_its_name() -> None:
    verdict = watch("within: 3 s of fault1, that: x", flags("####"), {"other": 1})
    assert (verdict.passed, verdict.reason) == (False, "never checked: fault1 did not happen")


def test_within__event_after_the_last_cycle() -> None:
    verdict = watch("within: 3 s of fault1, that: x", flags("...."), {"fault1": 8}, end=20)
    assert (verdict.passed, verdict.reason) == (False, "x was false at 00:00:11.000, expected true")
    verdict = watch("within: 3 s of fault1, that: x", flags("####"), {"fault1": 8}, end=20)
    assert (verdict.passed, verdict.reason) == (True, "held all the time from 00:00:08.000 to 00:00:11.000")


def test_within__only_the_first_time_of_an_event_counts() -> None:
    monitor = ExpectationMonitor(scenario_of("within: 1 s of fault1, that: x"), Names(), {"fault1": 1000})
    monitor.event_happened("fault1", 5000)
    for t in range(5):
        monitor.observe({"x": 0.0}, t * 1000)
    assert monitor.finish(9000)[0].reason == "x was false at 00:00:02.000, expected true"


def test_within__reclosing_onto_the_fault_does_not_count_as_restored_when_it_must_last() -> None:
    """Trip at 3 s, a reclose that feeds everyone for a second at 4 s, trip again, restored by switching at 8 s."""
    cycles = {t: {"n": float(n)} for t, n in enumerate([0, 0, 0, 812, 0, 812, 812, 812, 140, 140, 140, 140])}
    expectation = "within: 60 s of fault1, that: n <= 140, for: 3 s"
    verdict = watch(expectation, cycles, FAULT_AT_2)
    assert verdict.reason == "became true 6 s after fault1 and stayed so for 3 s (limit 1 min)"


@pytest.mark.parametrize(
    ("expectation", "state", "reason"),
    [
        ("at: 0 s, that: n <= 140", {"n": 812.0}, "n was 812 at 00:00:00.000, expected <= 140"),
        ("at: 0 s, that: p == open", {"p": 2.0}, "p was closed at 00:00:00.000, expected == open"),
        ("never: p == faulty", {"p": 3.0}, "p was faulty at 00:00:00.000, expected never == faulty"),
        ("always: load <= 100 %", {"load": 1.3}, "load was 130 % at 00:00:00.000, expected <= 100 %"),
        ("always: load <= 100 %", {"load": 1.00000004}, "load was 100.000004 % at 00:00:00.000, expected <= 100 %"),
        ("always: load < 100 %", {"load": 1.0}, "load was 100 % at 00:00:00.000, expected < 100 %"),
        ("always: load < 100 %", {"load": math.nan}, "load was unknown at 00:00:00.000, expected < 100 %"),
        ("always: not x", {"x": 1.0}, "x was true at 00:00:00.000, expected not x"),
        (
            "always: n < 5 or p == open",
            {"n": 7.0, "p": 2.0},
            "n was 7 and p was closed at 00:00:00.000, expected n < 5 or p == open",
        ),
        ("never: 5 < n", {"n": 7.0}, "n was 7 at 00:00:00.000, expected never 5 < n"),
    ],
)
def test_reason__tells_the_values_and_what_was_expected(expectation: str, state: State, reason: str) -> None:
    verdict = watch(expectation, {0: state})
    assert (verdict.passed, verdict.reason) == (False, reason)


def test_monitor__tells_verdicts_when_they_are_decided_and_all_in_the_scenarios_order() -> None:
    scenario = scenario_of("id: a, always: x", "id: b, by: 1 s, that: n > 5", "id: c, never: n > 100")
    monitor = ExpectationMonitor(scenario, Names())
    assert monitor.observe({"x": 1.0, "n": 0.0}, 0) == []
    assert [verdict.id for verdict in monitor.observe({"x": 1.0, "n": 6.0}, 1000)] == ["b"]
    assert [verdict.id for verdict in monitor.observe({"x": 0.0, "n": 6.0}, 2000)] == ["a"]
    assert monitor.observe({"x": 0.0, "n": 600.0}, 3000)[0] == Verdict(
        "c", "never n > 100", False, 3000, "n was 600 at 00:00:03.000, expected never > 100"
    )
    assert [verdict.id for verdict in monitor.verdicts] == ["a", "b", "c"]
    assert monitor.finish(4000) == monitor.finish(9000) == monitor.verdicts


def test_monitor__without_a_single_cycle_fails_everything() -> None:
    for expectation in ("always: x", "by: 1 s, that: x", "at: 0 s, that: x", "count: x, equals: 0"):
        verdict = watch(expectation, {}, end=0)
        assert not verdict.passed
        assert verdict.reason.startswith("never checked: the run ended at 00:00:00.000")


def test_monitor__refuses_names_that_are_not_there() -> None:
    with pytest.raises(ExpressionError, match=r"there is no load_max; did you mean load\?"):
        ExpectationMonitor(scenario_of("always: load_max <= 100 %"), Names())


# ---------------------------------------------------------------- properties

FORMS = (
    "within: 3 s of fault1, that: x",
    "within: 2 s of fault1, that: n < 5, for: 3 s",
    "by: 4 s, that: x",
    "at: 5 s, that: x or n > 3",
    "always: n < 9, from: 2 s, until: 7 s",
    "never: x, from: 3 s",
    "count: x, equals: 2",
    "count: x, at_most: 1, from: 2 s",
)
cycles_strategy = st.lists(
    st.fixed_dictionaries({"x": st.sampled_from([0.0, 1.0]), "n": st.sampled_from([0.0, 4.0, 9.0, math.nan])}),
    min_size=1,
    max_size=12,
)


def _run(monitor: ExpectationMonitor, states: Sequence[State], start: int, fault_at: int) -> None:
    for t, state in enumerate(states, start):
        if t == fault_at:
            monitor.event_happened("fault1", t * 1000)
        monitor.observe(state, t * 1000)


@settings(deadline=None)
@given(cycles_strategy, st.integers(0, 12), st.integers(0, 12))
def test_snapshot__continues_as_if_nothing_had_happened(states: list[State], cut: int, fault_at: int) -> None:
    scenario = scenario_of(*FORMS)
    whole = ExpectationMonitor(scenario, Names())
    _run(whole, states, 0, fault_at)

    first = ExpectationMonitor(scenario, Names())
    _run(first, states[:cut], 0, fault_at)
    saved: dict[str, Any] = json.loads(json.dumps(first.snapshot(), allow_nan=False))
    second = ExpectationMonitor(scenario, Names())
    second.restore(saved)
    _run(second, states[cut:], min(cut, len(states)), fault_at)

    assert second.snapshot() == whole.snapshot()
    assert second.finish(len(states) * 1000) == whole.finish(len(states) * 1000)


def _expected_within(marks: list[bool], t0: int, limit: int) -> bool:
    """Straight from the words: becomes true at a cycle in [t0, t0 + limit], or holds at every cycle of it."""
    window = range(t0, t0 + limit + 1)
    rises = any(t > 0 and marks[t] and not marks[t - 1] for t in window)
    return rises or all(marks[t] for t in window)


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=12, max_size=12), st.integers(0, 6), st.integers(0, 5))
def test_within__agrees_with_its_definition(marks: list[bool], t0: int, limit: int) -> None:
    cycles = {t: {"x": float(mark)} for t, mark in enumerate(marks)}
    verdict = watch(f"within: {limit} s of fault1, that: x", cycles, {"fault1": t0})
    assert verdict.passed is _expected_within(marks, t0, limit)
    assert verdict.t_ms <= (t0 + limit) * 1000


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 6))
def test_always__is_the_opposite_of_never(marks: list[bool], start: int) -> None:
    cycles = {t: {"x": float(mark)} for t, mark in enumerate(marks)}
    window: Callable[[bool], bool] = lambda wanted: all(mark is wanted for mark in marks[start:])  # noqa: E731
    end = len(marks) - 1
    always = watch(f"always: x, from: {start} s", cycles, end=end)
    never = watch(f"never: x, from: {start} s", cycles, end=end)
    assert always.passed is (window(True) and start <= end)
    assert never.passed is (window(False) and start <= end)
