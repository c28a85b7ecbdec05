"""What is told together: nothing lost, nothing that matters swallowed, one screen for one incident."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from twin.report.groups import grouped
from twin.report.milestones import Incident, Lane, Milestone, Tone
from twin.report.results import read_results
from twin.report.swim_lanes import draw_lanes, spread_text
from twin.report.timeline import incidents


@pytest.fixture
def crowded(fake: ModuleType, tmp_path: Path) -> Incident:
    (incident,) = incidents(read_results(fake.write_crowded_run(tmp_path / "run")).journal)
    return incident


def milestone(t_ms: int, kind: str, subject: str, family: str, part: str) -> Milestone:
    words = f"{kind} {subject}"
    return Milestone(t_ms, Lane.CONTROL_ROOM, kind, subject, words, tone=Tone.BAD, family=family, part=part)


def test_grouped__keeps_every_milestone_exactly_once(crowded: Incident) -> None:
    rows = [row for group in grouped(crowded.milestones) for row in group.rows]
    assert sorted(rows) == list(range(len(crowded.milestones)))


def test_grouped__tells_crowds_in_one_line_each(crowded: Incident) -> None:
    labels = [group.label for group in grouped(crowded.milestones) if group.together]
    assert labels == [
        "35 fault passage indicators, 19 forward 16 reverse",
        "35 events: fault passages",
        "32 alarms: fault passages",
        "44 alarms: no voltage at N40 …",
    ]


def test_grouped__leaves_trips_positions_and_commands_alone(crowded: Incident) -> None:
    alone = [group.label for group in grouped(crowded.milestones) if not group.together]
    assert "alarm: CB_1 tripped by protection" in alone
    assert [label for label in alone if label.startswith("event ")].count("event CB_1.position") == 4
    assert sum(label.endswith("requested") for label in alone) == 4


@pytest.mark.parametrize(("times", "sizes"), [((0, 10), [1, 1]), ((0, 10, 1010), [3]), ((0, 10, 1011), [1, 1, 1])])
def test_grouped__needs_three_without_a_long_pause(times: tuple[int, ...], sizes: list[int]) -> None:
    alarms = [milestone(t, "alarm", f"N{t}", "alarm v_dead", f"no voltage at N{t}") for t in times]
    assert [len(group.rows) for group in grouped(alarms)] == sizes


def test_grouped__families_at_one_moment_stay_apart() -> None:
    rules = ("v_dead", "loading") * 3
    alarms = [milestone(5, "alarm", f"N{n}", f"alarm {rule}", rule) for n, rule in enumerate(rules)]
    assert [group.rows for group in grouped(alarms)] == [(0, 2, 4), (1, 3, 5)]


def test_grouped__sessions_are_told_by_their_state() -> None:
    lost = [milestone(9, "session_lost", f"RTU_{n}", "session", "lost") for n in range(12)]
    assert [group.label for group in grouped(lost)] == ["12 sessions lost"]


def test_lanes__crowded_incident_fits_one_screen(crowded: Incident) -> None:
    drawn = str(draw_lanes(crowded))
    size = re.search(r'viewBox="0 0 (\d+) (\d+)"', drawn)
    assert size is not None
    assert int(size[2]) <= 700
    assert drawn.count('class="stack"') == 4
    assert "LBS_31" in drawn


def test_lanes__links_between_two_groups_are_one(crowded: Incident) -> None:
    drawn = str(draw_lanes(crowded))
    assert drawn.count("35 events: fault passages → 32 alarms: fault passages") == 1
    assert "35 fault passage indicators, 19 forward 16 reverse → 35 events: fault passages: 94 ms to 125 ms" in drawn


def test_lanes__breaker_that_tripped_shows_when_it_was_open(crowded: Incident) -> None:
    """CB_1 is open from 60.41 s to the shot at 61.47 s, and from 61.87 s until FLISR closes it."""
    drawn = str(draw_lanes(crowded))
    assert "CB_1 open 1.06 s" in drawn
    assert drawn.count('class="position off"') == 2
    assert drawn.count('class="position on"') == 3


@pytest.mark.parametrize(
    ("spans", "said"), [((80,), "80 ms"), ((80, 80), "80 ms"), ((159, 122, 140), "122 ms to 159 ms"), ((), "")]
)
def test_spread_text__says_shortest_and_longest(spans: tuple[int, ...], said: str) -> None:
    assert spread_text(spans) == said
