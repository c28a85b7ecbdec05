"""Plans, alarms, sessions, supply and the excerpt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from twin.journal import JournalEntry
from twin.report.results import read_results
from twin.report.story import alarm_counts, alarms, details, excerpt, natural, plans, sessions, supply, words
from twin.report.svg import figure_text, nice_step, span_text, time_text


def entry(t_ms: int, source: str, kind: str, subject: str, **data: Any) -> JournalEntry:
    return JournalEntry(t_ms, source, kind, subject, data)


def test_plans__tell_steps_results_and_the_last_outcome(cigre_run: Path) -> None:
    (plan,) = plans(read_results(cigre_run).journal)
    assert (plan.plan_id, plan.application, plan.mode, plan.t_ms) == ("P1", "flisr", "automatic", 64_100)
    assert plan.outcome == "completed: every customer is supplied"
    assert [(s.number, s.action, s.switch, s.state) for s in plan.steps] == [
        ("1", "open", "SW_L3-8_3", "done"),
        ("2", "open", "SW_L3-8_8", "done"),
        ("3", "close", "CB_1", "done"),
        ("4", "close", "TIE_1", "done"),
    ]
    assert plan.steps[2].took_ms == 390


def test_plans__refused_step_says_the_rule_and_later_ones_are_not_begun() -> None:
    steps = [{"number": 1, "switch": "S1", "action": "open"}, {"number": 2, "switch": "S2", "action": "open"}]
    command = {"plan_id": "P", "number": 1, "switch": "S1", "phase": "refused", "rule": "station in local"}
    (plan,) = plans(
        [entry(1, "control_room", "plan", "P", steps=steps), entry(2, "control_room", "command", "S1", **command)]
    )
    assert (plan.steps[0].state, plan.steps[0].problem) == ("refused", "station in local")
    assert plan.steps[1].state == ""
    assert plan.steps[1].took_ms is None


REFUSED = {
    "title": "Isolate L12-13",
    "verdict": "isolation only",
    "why": ["CB_2 tripped.", "Not taken: closing TIE_1 would load L2-3 to 112 % (limit 100 %)."],
    "customers_interrupted": 112,
    "customers_restored": 0,
    "customers_not_restored": 112,
}


def test_plans__rejected_alternatives_are_a_list_of_their_own() -> None:
    (plan,) = plans([entry(1, "control_room", "plan", "P", **REFUSED)])
    assert plan.why == ("CB_2 tripped.",)
    assert plan.not_taken == ("closing TIE_1 would load L2-3 to 112 % (limit 100 %).",)
    assert plan.nobody_restored == "closing TIE_1 would load L2-3 to 112 % (limit 100 %)"


@pytest.mark.parametrize("counts", [{"customers_restored": 3}, {"customers_not_restored": 0}])
def test_plans__somebody_restored_or_nobody_left_is_no_refusal(counts: dict[str, int]) -> None:
    (plan,) = plans([entry(1, "control_room", "plan", "P", **(REFUSED | counts))])
    assert plan.nobody_restored == ""


def test_plans__one_sentence_of_why_is_a_list_of_one(cigre_run: Path) -> None:
    (plan,) = plans(read_results(cigre_run).journal)
    assert len(plan.why) == 1
    assert plan.fulfilled
    assert plan.took_ms == 13_950


def test_plans__take_the_zones_of_the_location_before() -> None:
    where = {"zones": ["L3-8", "N8"], "probabilities": [0.98, 0.02]}
    (plan,) = plans(
        [entry(1, "control_room", "location", "CB_1", **where), entry(1, "control_room", "plan", "P", title="Isolate")]
    )
    assert plan.candidates == (("L3-8", 0.98), ("N8", 0.02))


def test_plans__steps_tell_selection_and_check_back(cigre_run: Path) -> None:
    (plan,) = plans(read_results(cigre_run).journal)
    assert [(step.select_ms, step.took_ms) for step in plan.steps] == [
        (170, 4530),
        (170, 4480),
        (170, 390),
        (170, 4550),
    ]


def test_alarm_counts__most_frequent_first_with_what_still_stands() -> None:
    rows = alarms(
        [
            *(
                entry(t, "control_room", "alarm", f"N{t}", alarm_id=f"v_dead:N{t}.v_kv", state="raised")
                for t in range(3)
            ),
            entry(4, "control_room", "alarm", "CB_1", alarm_id="trip:CB_1.trip", state="raised"),
            entry(5, "control_room", "alarm", "N1", alarm_id="v_dead:N1.v_kv", state="cleared"),
        ]
    )
    counts = [(count.words, count.count, count.standing) for count in alarm_counts(rows)]
    assert counts == [("no voltage", 3, 2), ("tripped by protection", 1, 1)]


def test_alarms__follow_each_from_raised_to_cleared(cigre_run: Path) -> None:
    first, second, third = alarms(read_results(cigre_run).journal)
    assert (first.raised_ms, first.acknowledged_ms, first.cleared_ms) == (60_490, 84_000, 78_050)
    assert second.text == "CB_1 locked out after 1 reclosing shot"
    assert (third.priority, third.acknowledged_ms) == ("2", None)


def test_alarms__raised_again_after_clearing_is_a_new_row() -> None:
    states = enumerate(("raised", "cleared", "raised"))
    rows = alarms([entry(t, "control_room", "alarm", "X", alarm_id="A", state=s) for t, s in states])
    assert [(row.raised_ms, row.cleared_ms) for row in rows] == [(0, 1), (2, None)]


def test_sessions__know_how_long_they_were_lost(cigre_run: Path) -> None:
    results = read_results(cigre_run)
    found = {s.station: s for s in sessions(results.journal, results.run.protocols, results.end_ms)}
    assert list(found)[:3] == ["RTU_1", "RTU_2", "RTU_3"]
    assert found["RTU_12"].lost_ms == 18_000
    assert found["RTU_12"].details == ("no answer to TESTFR within 3 s",)
    assert found["RTU_1"].times_lost == 0
    assert found["RTU_1"].ready_ms == 427


def test_sessions__station_that_never_connected_is_listed() -> None:
    (session,) = sessions([], {"RTU_1": "iec104"}, 1000)
    assert (session.spans, session.ready_ms) == ((), None)


def test_supply__adds_up_customer_minutes() -> None:
    """100 customers for 30 s, then 40 for 60 s: 50 + 40 = 90 customer-minutes."""
    steps = ((0, 100), (30_000, 40), (90_000, 0))
    found = supply([entry(t, "grid", "supply", "n", customers_interrupted=n) for t, n in steps], 600_000)
    assert found is not None
    assert (found.most_interrupted, found.customer_minutes, found.interrupted_at_end) == (100, 90.0, 0)
    assert supply([], 600_000) is None


def test_excerpt__drops_measured_values_first() -> None:
    measured = [entry(t, "control_room", "event", "p", value=1.5) for t in range(90)]
    others = [entry(t, "field", "breaker", "b") for t in range(20)]
    found = excerpt([*measured, *others], limit=30)
    assert (list(found.entries), found.left_out) == (others, 90)


def test_excerpt__keeps_both_ends_of_a_very_long_journal() -> None:
    journal = [entry(t, "field", "breaker", "b") for t in range(100)]
    found = excerpt(journal, limit=10)
    assert [e.t_ms for e in found.entries] == [0, 1, 2, 3, 4, 95, 96, 97, 98, 99]
    assert found.left_out == 90


def test_words__say_any_value() -> None:
    assert words({"loading": 0.5, "nodes": ["A", "B"], "ok": True}) == "loading 0.5, nodes A, B, ok yes"
    assert details(entry(0, "a", "b", "c", x=None, y=[1])) == "x  · y [1]"


def test_natural__sorts_numbers_by_value() -> None:
    assert sorted(["RTU_10", "RTU_2", "A", "RTU_2b"], key=natural) == ["A", "RTU_2", "RTU_2b", "RTU_10"]


@pytest.mark.parametrize(
    ("ms", "said"),
    [(0, "0 ms"), (999, "999 ms"), (1000, "1 s"), (4130, "4.13 s"), (200_000, "3 min 20 s"), (7_500_000, "2 h 5 min"),
     (-80, "−80 ms"), (3_600_000, "1 h")],
)  # fmt: skip
def test_span_text__reads_best(ms: int, said: str) -> None:
    assert span_text(ms) == said


@pytest.mark.parametrize(("ms", "said"), [(60_410, "1:00.410"), (3_661_001, "1:01:01.001"), (-5, "−0:00.005")])
def test_time_text__is_the_clock_since_the_start(ms: int, said: str) -> None:
    assert time_text(ms) == said


@pytest.mark.parametrize(("value", "said"), [(0.0, "0"), (1233, "1 233"), (0.98765, "0.9877"), (float("nan"), "–")])
def test_figure_text__keeps_four_digits(value: float, said: str) -> None:
    assert figure_text(value) == said


def test_nice_step__is_one_two_or_five() -> None:
    assert [nice_step(span, 5) for span in (1, 7, 12, 60, 0)] == [0.2, 2, 5, 20, 1]
