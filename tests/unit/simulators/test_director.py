"""Events of a scenario: at their times, on their conditions, once each."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from simulators.actions import Action
from simulators.cycle import RunContext
from simulators.director import DirectorSimulator, PlannedEvent
from twin.timebase import NEVER, TimeBase

BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
FAULT = PlannedEvent("fault1", "fault", "L1", 60_000, data={"line": "L1"}, journal={"permanent": True})
LOSS = PlannedEvent("loss", "comms loss", "RTU_1", 30_000, data={"station": "RTU_1"})
CALL = PlannedEvent("call", "call", "N8", condition=lambda state: state["tripped"], after_ms=5_000)


def director(*events: PlannedEvent) -> DirectorSimulator:
    return DirectorSimulator(RunContext(BASE), events=events)


def ids(cycle: dict[str, Any]) -> list[str]:
    return [action.event_id for action in cycle["actions"]]


def test_event__happens_at_its_time_once() -> None:
    one = director(FAULT)
    before = one.cycle(59_999, {})
    assert (ids(before), before["director_wanted"], before["director_changed"]) == ([], 60_000, False)
    at = one.cycle(60_000, {})
    assert at["actions"] == [Action("fault", 60_000, "fault1", {"line": "L1"})]
    assert (at["director_wanted"], at["director_changed"]) == (NEVER, True)
    assert ids(one.cycle(60_001, {})) == []


def test_event__is_journalled_with_what_it_is() -> None:
    [entry] = director(LOSS, FAULT).cycle(30_000, {})["director_journal"]
    assert entry.to_json() == '{"t_ms":30000,"source":"director","kind":"comms_loss","subject":"RTU_1","id":"loss"}'
    [entry] = director(FAULT).cycle(60_000, {})["director_journal"]
    assert entry.data == {"id": "fault1", "permanent": True}


def test_events__come_in_the_order_of_time_and_then_of_the_scenario() -> None:
    twin = PlannedEvent("twin", "fault", "L2", 60_000)
    one = director(FAULT, twin, LOSS)
    assert one.cycle(0, {})["director_wanted"] == 30_000
    assert ids(one.cycle(60_000, {})) == ["loss", "fault1", "twin"]


def test_event__at_the_very_start() -> None:
    assert ids(director(PlannedEvent("first", "fault", "L1", 0)).cycle(0, {})) == ["first"]


def test_condition__starts_the_delay_when_it_first_holds() -> None:
    one = director(CALL)
    assert one.cycle(0, {"plant_state": {"tripped": False}})["director_wanted"] == NEVER
    assert one.cycle(10_000, {"plant_state": {"tripped": True}})["director_wanted"] == 15_000
    assert ids(one.cycle(14_999, {"plant_state": {"tripped": False}})) == []
    assert ids(one.cycle(15_000, {"plant_state": {"tripped": True}})) == ["call"]
    for now in (16_000, 17_000, 25_000):
        assert ids(one.cycle(now, {"plant_state": {"tripped": True}})) == []


def test_condition__without_delay_acts_in_the_same_cycle() -> None:
    now = PlannedEvent("now", "call", "N8", condition=lambda state: True)
    assert ids(director(now).cycle(5, {"plant_state": {"any": 1}})) == ["now"]


def test_condition__is_not_asked_before_there_is_a_state() -> None:
    one = director(CALL)
    for nothing in ({}, {"plant_state": None}, {"plant_state": False}):
        assert ids(one.cycle(0, nothing)) == []


def test_snapshot__keeps_what_is_due_and_what_is_watched() -> None:
    one = director(FAULT, LOSS, CALL, PlannedEvent("never", "call", "N1", condition=lambda state: False))
    one.cycle(30_000, {"plant_state": {"tripped": True}})
    other = director(FAULT, LOSS, CALL, PlannedEvent("never", "call", "N1", condition=lambda state: False))
    other.restore(one.snapshot())
    assert other.snapshot() == one.snapshot()
    assert json.loads(one.snapshot()) == {"due": [[0, 60_000], [2, 35_000]], "watched": [3]}
    for now in (35_000, 60_000):
        assert other.cycle(now, {}) == one.cycle(now, {})
