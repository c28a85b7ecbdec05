"""The chain of events, its latencies and the broken axis."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from twin.journal import JournalEntry
from twin.report.axis import broken_axis
from twin.report.latencies import key_latencies
from twin.report.milestones import Lane, Tone
from twin.report.results import read_results
from twin.report.timeline import incidents


def entry(t_ms: int, source: str, kind: str, subject: str, **data: Any) -> JournalEntry:
    return JournalEntry(t_ms, source, kind, subject, data)


FAULT = entry(1000, "director", "fault", "f1", line="L1", fault_kind="three-phase", permanent=True)
TRIP = (
    entry(1020, "field", "relay_pickup", "CB_1"),
    entry(1350, "field", "relay_trip", "CB_1", function="51", i_a=2000.0),
    entry(1410, "field", "breaker", "CB_1", position="open", cause="trip"),
    entry(1490, "control_room", "event", "CB_1.position", point="CB_1.position", value=1, source_t_ms=1410),
)


def hops(*entries: JournalEntry) -> list[tuple[str, str, int]]:
    (incident,) = incidents(entries)
    return [(hop.cause.label, hop.effect.label, hop.delta_ms) for hop in incident.hops]


def test_timeline__follows_fault_to_the_event_at_the_control_room() -> None:
    assert hops(FAULT, *TRIP) == [
        ("permanent three-phase fault on L1", "CB_1 pickup", 20),
        ("CB_1 pickup", "CB_1 trip 51", 330),
        ("CB_1 trip 51", "CB_1 trips open", 60),
        ("CB_1 trips open", "event CB_1.position", 80),
    ]


def test_timeline__command_is_confirmed_by_the_event_of_its_own_switch() -> None:
    def phase(t_ms: int, name: str) -> JournalEntry:
        return entry(t_ms, "control_room", "command", "S2", command_id="C1", switch="S2", action="open", phase=name)

    found = hops(
        FAULT,
        *TRIP,
        phase(2000, "requested"),
        phase(2170, "selected"),
        phase(2170, "executing"),
        entry(2250, "field", "command_received", "RTU_2", switch="S2"),
        phase(2340, "activated"),
        entry(6000, "field", "breaker", "S2", position="open", cause="command"),
        entry(6080, "control_room", "event", "S2.position", point="S2.position", value=1, source_t_ms=6000),
        phase(6080, "confirmed"),
    )
    assert found[-5:] == [
        ("open S2 executing", "RTU_2 command received", 80),
        ("open S2 executing", "open S2 activated", 170),
        ("RTU_2 command received", "S2 open", 3750),
        ("S2 open", "event S2.position", 80),
        ("event S2.position", "open S2 confirmed", 0),
    ]


def test_timeline__refused_command_says_the_rule() -> None:
    data = {"command_id": "C1", "switch": "S2", "action": "close", "phase": "refused", "rule": "tagged"}
    (incident,) = incidents((FAULT, entry(1500, "control_room", "plan", "P1", steps=[]),
                             entry(1600, "control_room", "command", "S2", plan_id="P1", **data)))  # fmt: skip
    assert incident.milestones[-1].label == "close S2 refused: tagged"
    assert incident.milestones[-1].tone is Tone.BAD
    assert incident.milestones[-1].lane is Lane.COMMANDS


def test_timeline__event_of_a_measured_value_is_no_milestone() -> None:
    measured = entry(1500, "control_room", "event", "CB_1.i_a", point="CB_1.i_a", value=0.0, source_t_ms=1420)
    assert hops(FAULT, *TRIP, measured) == hops(FAULT, *TRIP)


def test_timeline__repeated_event_counts_once() -> None:
    assert hops(FAULT, *TRIP, TRIP[-1]) == hops(FAULT, *TRIP)


def test_timeline__unknown_kinds_and_missing_data_do_not_break_it() -> None:
    bare = [
        entry(1001 + i, source, kind, "X")
        for i, (source, kind) in enumerate(
            (source, kind)
            for source in ("director", "field", "grid", "session", "control_room", "expectation", "moon")
            for kind in ("relay_trip", "breaker", "reclose", "lockout", "indicator", "command_received", "refused",
                         "session", "supply", "closed_onto_fault", "overload", "event", "alarm", "location", "plan",
                         "plan_step", "command", "verdict", "eclipse", "comms_loss", "fault_cleared")
        )
    ]  # fmt: skip
    (incident,) = incidents([entry(1000, "director", "fault", "f1"), *bare])
    assert incident.title == "Fault on f1"
    assert all(hop.delta_ms >= 0 for hop in incident.hops)


def test_timeline__each_later_fault_starts_an_incident() -> None:
    second = entry(9000, "director", "fault", "f2", line="L2", fault_kind="phase_to_earth", permanent=False)
    found = incidents((FAULT, *TRIP, second))
    assert [incident.title for incident in found] == [
        "Permanent three-phase fault on L1",
        "Transient phase to earth fault on L2",
    ]
    assert len(found[0].milestones) == 5


def test_timeline__what_does_not_follow_from_the_fault_is_dropped_from_the_end() -> None:
    later = entry(90_000, "session", "session", "RTU_9", state="lost")
    (incident,) = incidents((FAULT, *TRIP, later))
    assert incident.milestones[-1].label == "event CB_1.position"


def test_timeline__quiet_run_has_no_incident() -> None:
    assert incidents((entry(100, "session", "session", "RTU_1", state="connected"),)) == ()


def test_timeline__commands_without_a_fault_are_an_incident() -> None:
    data = {"command_id": "C1", "switch": "S1", "action": "open"}
    (incident,) = incidents(
        [entry(t, "control_room", "command", "S1", phase=p, **data) for t, p in ((50, "requested"), (90, "confirmed"))]
    )
    assert incident.title == "Commands without a fault"
    assert [hop.delta_ms for hop in incident.hops] == [40]


def test_timeline__key_latencies_of_the_whole_story(cigre_run: Path) -> None:
    (incident,) = incidents(read_results(cigre_run).journal)
    assert {latency.name: latency.span_ms for latency in key_latencies(incident)} == {
        "fault → breaker open": 410,
        "breaker open → control room": 80,
        "event → alarm": 0,
        "fault → lockout": 1870,
        "fault → plan": 4100,
        "plan → fully carried out": 13_950,
        "fault → last restoration": 17_970,
    }


def test_timeline__journal_of_a_run_names_every_lane(cigre_run: Path, fake: ModuleType) -> None:
    (incident,) = incidents(read_results(cigre_run).journal)
    assert {m.lane for m in incident.milestones} == set(Lane)
    assert all(m.cause is None or m.cause < row for row, m in enumerate(incident.milestones))


def test_axis__keeps_order_fills_the_width_and_breaks_long_gaps() -> None:
    axis = broken_axis([0, 20, 240, 60_000, 60_100], 1000)
    xs = [axis.x(t) for t in (0, 20, 240, 60_000, 60_100)]
    assert xs == sorted(xs)
    assert [part.quiet for part in axis.parts] == [False, True, False]
    assert axis.parts[-1].x1 == pytest.approx(1000)


def test_axis__active_parts_share_one_scale() -> None:
    axis = broken_axis([0, 200, 90_000, 90_100], 1000)
    first, _, last = axis.parts
    assert (first.x1 - first.x0 - 10) == pytest.approx(2 * (last.x1 - last.x0 - 10))


def test_axis__many_gaps_leave_room_for_the_active_parts() -> None:
    axis = broken_axis([i * 700 for i in range(60)], 1000)
    assert sum(part.x1 - part.x0 for part in axis.parts if part.quiet) <= 450
    assert axis.parts[-1].x1 == pytest.approx(1000)


@pytest.mark.parametrize("times", [[], [7], [7, 7]])
def test_axis__one_moment_is_enough(times: list[int]) -> None:
    assert 0 <= broken_axis(times, 500).x(7) <= 500
