"""Alarms: the table, the rules that ship, limits with hysteresis and delay, the display."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from scada_toy import BETWEEN, CLOSED, DISPATCHER, FAULTY, OPEN, Rig, sample, toy_definitions, toy_network

from twin.links.model import ReplyKind, SessionEvent, SessionState
from twin.network.builder import NetworkBuilder
from twin.network.model import SwitchKind
from twin.points.model import Quality
from twin.scada.alarm_rules import AlarmSettings, LimitRule, StatusRule, default_rules
from twin.scada.alarms import (
    ALARM_TRANSITIONS,
    AlarmList,
    AlarmState,
    AlarmTrigger,
    DuplicateAlarmError,
    UnknownAlarmError,
)
from twin.scada.point_database import PointDatabase, SnapshotMismatchError, UnknownPointError
from twin.timebase import NEVER

S, T = AlarmState, AlarmTrigger
TRIP = "trip:CB_1.trip"


def trip(rig: Rig, value: float, now: int) -> None:
    rig.put(sample("CB_1.trip", value, now), now=now)


def texts(rig: Rig) -> list[str]:
    return [alarm.text for alarm in rig.alarms.display()]


HOW_TO_REACH = {
    S.NORMAL: (),
    S.RAISED: (T.RAISE,),
    S.ACKNOWLEDGED: (T.RAISE, T.ACKNOWLEDGE),
    S.CLEARED: (T.RAISE, T.CLEAR),
}


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("trigger", [T.RAISE, T.CLEAR, T.ACKNOWLEDGE])
def test_alarm__moves_as_in_the_table_and_not_otherwise(rig, state, trigger):
    def do(one: AlarmTrigger, now: int) -> None:
        if one is T.ACKNOWLEDGE:
            rig.alarms.acknowledge(TRIP, "anna", now)
        else:
            trip(rig, float(one is T.RAISE), now)

    for now, one in enumerate(HOW_TO_REACH[state], start=1):
        do(one, now)
    assert rig.alarms.state(TRIP) is state
    before = len(rig.lines("alarm"))
    do(trigger, 10)
    assert rig.alarms.state(TRIP) is ALARM_TRANSITIONS.get((state, trigger), state)
    assert len(rig.lines("alarm")) - before == ((state, trigger) in ALARM_TRANSITIONS)


def test_alarm__journal_tells_what_came_about_and_how_it_stands(rig):
    trip(rig, 1.0, 5)
    rig.alarms.acknowledge(TRIP, "anna", 7)
    trip(rig, 0.0, 9)
    text = {"priority": 1, "text": "RTU_1: CB_1 tripped by protection"}
    lines = rig.lines("alarm")
    assert {(line.source, line.subject) for line in lines} == {("control_room", "CB_1")}
    assert [(line.t_ms, dict(line.data)) for line in lines] == [
        (5, {"alarm_id": TRIP, "state": "raised", "stands": "raised", **text}),
        (7, {"alarm_id": TRIP, "state": "acknowledged", "stands": "acknowledged", **text, "by": "anna"}),
        (9, {"alarm_id": TRIP, "state": "cleared", "stands": "normal", **text}),
    ]


def test_counts__active_and_unacknowledged(rig):
    trip(rig, 1.0, 1)
    rig.put(sample("CB_1.lockout", 1.0, 2), now=2)
    assert (rig.alarms.active, rig.alarms.unacknowledged) == (2, 2)
    rig.alarms.acknowledge(TRIP, "anna", 3)
    assert (rig.alarms.active, rig.alarms.unacknowledged) == (2, 1)
    rig.put(sample("CB_1.lockout", 0.0, 4), now=4)
    assert (rig.alarms.active, rig.alarms.unacknowledged) == (1, 1)
    assert rig.alarms.acknowledge_all("anna", 5) == 1
    assert (rig.alarms.active, rig.alarms.unacknowledged) == (1, 0)


def test_acknowledge__second_time_changes_nothing_and_unknown_is_refused(rig):
    trip(rig, 1.0, 1)
    assert rig.alarms.acknowledge(TRIP, "anna", 2)
    assert not rig.alarms.acknowledge(TRIP, "anna", 3)
    assert not rig.alarms.acknowledge("lockout:CB_1.lockout", "anna", 3)
    with pytest.raises(UnknownAlarmError):
        rig.alarms.acknowledge("trip:CB_9.trip", "anna", 3)


def test_display__unacknowledged_first_then_priority_then_the_newest(rig):
    rig.put(sample("CB_1.local", 1.0, 1), now=1)
    rig.put(sample("LBS_1.fault_forward", 1.0, 2), now=2)
    rig.put(sample("LBS_2.fault_forward", 1.0, 3), now=3)
    trip(rig, 1.0, 4)
    rig.put(sample("CB_1.lockout", 1.0, 5), now=5)
    rig.alarms.acknowledge("lockout:CB_1.lockout", "anna", 6)
    assert texts(rig) == [
        "RTU_1: CB_1 tripped by protection",
        "RTU_3: LBS_2 saw a fault pass, forward",
        "RTU_2: LBS_1 saw a fault pass, forward",
        "RTU_1: CB_1 is under local control",
        "RTU_1: CB_1 locked out after unsuccessful auto-reclose",
    ]


@pytest.mark.parametrize("quality", [Quality.INVALID, Quality.NOT_TOPICAL])
def test_status__unusable_values_neither_raise_nor_clear(rig, quality):
    rig.put(sample("CB_1.lockout", 1.0, 1, quality=quality), now=1)
    assert rig.alarms.active == 0
    trip(rig, 1.0, 2)
    rig.put(sample("CB_1.trip", 0.0, 3, quality=quality), now=3)
    assert rig.alarms.state(TRIP) is S.RAISED


def test_status__late_event_raises_nothing(rig):
    rig.put(sample("CB_1.trip", 0.0, 10_000), now=10_000)
    rig.put(sample("CB_1.trip", 1.0, 1), now=10_001)
    assert rig.alarms.active == 0


def test_spring__alarms_only_if_the_motor_takes_too_long(rig):
    delay = AlarmSettings().spring_delay_ms
    rig.put(sample("CB_1.spring_charged", 0.0, 1_000), now=1_000)
    assert rig.front_end.next_timer() == 1_000 + delay
    rig.put(sample("CB_1.spring_charged", 1.0, 9_000), now=9_000)
    rig.front_end.tick(1_000 + delay)
    assert (rig.alarms.active, rig.front_end.next_timer()) == (0, NEVER)
    rig.put(sample("CB_1.spring_charged", 0.0, 50_000), now=50_000)
    rig.front_end.tick(50_000 + delay - 1)
    assert rig.alarms.active == 0
    rig.front_end.tick(50_000 + delay)
    assert texts(rig) == ["RTU_1: CB_1 has its spring not charged"]


@pytest.mark.parametrize(
    ("value", "words"), [(BETWEEN, "stays between open and closed"), (FAULTY, "reports open and closed at once")]
)
def test_position__between_the_ends_for_too_long(rig, value, words):
    rig.put(sample("CB_1.position", value, 1_000), now=1_000)
    assert rig.alarms.active == 0
    rig.front_end.tick(rig.front_end.next_timer())
    assert texts(rig) == [f"RTU_1: CB_1 {words}"]


def test_movement__without_command_or_protection_is_told(rig):
    rig.put(sample("CB_1.position", BETWEEN, 1_000), sample("CB_1.position", OPEN, 1_040), now=1_100)
    assert texts(rig) == ["RTU_1: CB_1 opened without a command"]
    assert (rig.alarms.active, rig.alarms.unacknowledged) == (0, 1)
    assert [line.data["state"] for line in rig.lines("alarm")] == ["raised", "cleared"]
    rig.put(sample("CB_1.position", CLOSED, 2_000), now=2_080)
    assert texts(rig) == ["RTU_1: CB_1 closed without a command"]


@pytest.mark.parametrize("quantity", ["trip", "reclose_active"])
def test_movement__by_protection_is_no_alarm_of_its_own(rig, quantity):
    rig.put(sample("CB_1.position", OPEN, 1_000), sample(f"CB_1.{quantity}", 1.0, 1_000), now=1_080)
    assert not any("without a command" in text for text in texts(rig))


def test_movement__by_a_command_is_no_alarm(rig):
    command_id = rig.commands.request("LBS_1", OPEN, DISPATCHER, 1_000)
    rig.put(sample("LBS_1.position", BETWEEN, 1_050), now=1_100)
    rig.put(sample("LBS_1.position", OPEN, 1_150), now=1_200)
    assert rig.commands.command(command_id).is_final
    assert rig.alarms.display() == []


def test_movement__late_after_a_timed_out_command_is_explained_by_it(rig):
    rig.commands.request("LBS_1", OPEN, DISPATCHER, 1_000)
    while rig.commands.in_progress:
        rig.front_end.tick(rig.commands.next_timer())
    rig.put(sample("LBS_1.position", OPEN, 60_000), now=60_080)
    assert [alarm.alarm_id for alarm in rig.alarms.display()] == ["command:LBS_1.operate"]


def test_movement__against_the_command_is_told(rig):
    rig.commands.request("LBS_1", OPEN, DISPATCHER, 1_000)
    rig.put(sample("LBS_1.position", OPEN, 1_100), now=1_180)
    rig.put(sample("LBS_1.position", CLOSED, 1_300), now=1_380)
    assert texts(rig) == ["RTU_2: LBS_1 closed without a command"]


def test_station__lost_until_interrogated_again(rig):
    rig.put(SessionEvent("RTU_2", SessionState.LOST, 10, "cut"), now=10)
    assert texts(rig) == ["RTU_2: connection lost"]
    rig.put(SessionEvent("RTU_2", SessionState.CONNECTED, 20), now=20)
    assert rig.alarms.active == 1
    rig.put(SessionEvent("RTU_2", SessionState.INTERROGATED, 30), now=30)
    assert (rig.alarms.active, rig.alarms.unacknowledged) == (0, 1)


def test_command__failure_is_told_with_its_cause(rig):
    command_id = rig.commands.request("LBS_1", OPEN, DISPATCHER, 1_000)
    rig.reply(command_id, ReplyKind.REFUSED, 1_100, "negative confirmation")
    assert texts(rig) == ["RTU_2: LBS_1: command open refused, RTU_2 refused: negative confirmation"]


def test_command__refusal_by_a_rule_is_no_alarm(rig):
    rig.commands.request("LBS_1", CLOSED, DISPATCHER, 1_000)
    rig.front_end.tick(1_000)
    assert rig.alarms.display() == []


def voltage(rig: Rig, v_kv: float, now: int) -> None:
    rig.put(sample("N1.v_kv", v_kv, now), now=now)


def test_limit__raises_after_its_delay_and_clears_with_hysteresis(rig):
    """20 kV nominal: above 22.0 kV for 5 s raises, below 22.0 - 0.2 kV clears."""
    voltage(rig, 22.1, 1_000)
    assert rig.front_end.next_timer() == 6_000
    rig.front_end.tick(5_999)
    assert rig.alarms.active == 0
    rig.front_end.tick(6_000)
    assert texts(rig) == ["RTU_2: voltage at N1 above 22 kV"]
    assert rig.front_end.next_timer() == NEVER
    voltage(rig, 21.85, 7_000)
    assert rig.alarms.active == 1
    voltage(rig, 21.75, 8_000)
    assert rig.alarms.active == 0


def test_limit__short_excursion_starts_its_delay_anew(rig):
    voltage(rig, 22.1, 1_000)
    voltage(rig, 21.9, 4_000)
    voltage(rig, 22.1, 5_000)
    rig.front_end.tick(9_999)
    assert rig.alarms.active == 0
    rig.front_end.tick(10_000)
    assert rig.alarms.active == 1


def test_limit__dead_busbar_has_no_low_voltage(rig):
    voltage(rig, 17.9, 1_000)
    rig.front_end.tick(6_000)
    assert texts(rig) == ["RTU_2: voltage at N1 below 18 kV"]
    rig.alarms.acknowledge_all("anna", 6_000)
    voltage(rig, 0.0, 7_000)
    assert rig.alarms.active == 0
    rig.front_end.tick(12_000)
    assert texts(rig) == ["RTU_2: no voltage at N1"]


def test_limit__loading_counts_in_both_directions(rig):
    rig.put(sample("LBS_1.i_a", -201.0, 1_000), now=1_000)
    rig.front_end.tick(11_000)
    assert texts(rig) == ["RTU_2: current through LBS_1 above 200 A"]


def test_limit__unusable_measurands_neither_raise_nor_clear(rig):
    rig.put(sample("N1.v_kv", 25.0, 1_000, quality=Quality.INVALID), now=1_000)
    assert rig.front_end.next_timer() == NEVER
    voltage(rig, 25.0, 2_000)
    rig.front_end.tick(7_000)
    rig.put(SessionEvent("RTU_2", SessionState.LOST, 8_000), now=8_000)
    rig.front_end.tick(9_000)
    assert rig.alarms.state("v_high:N1.v_kv") is S.RAISED


def test_default_rules__cover_what_is_there_and_have_unique_ids():
    definitions = toy_definitions()
    rules = default_rules(definitions, toy_network())
    ids = [rule.alarm_id for rule in rules]
    assert len(ids) == len(set(ids))
    assert {rule.priority for rule in rules} == {1, 2, 3, 4}
    covered = {rule.point for rule in rules if hasattr(rule, "point")}
    unwatched = {d.quantity for d in definitions if not d.kind.is_output and d.name not in covered}
    assert unwatched == {"reclose_active"}


def test_default_rules__take_the_rating_of_a_transformer_at_its_side():
    """630 kVA at 0.4 kV is 909.3 A (630 / (sqrt(3) * 0.4))."""
    b = NetworkBuilder("t")
    b.node("A", v_kv=20)
    b.node("B", v_kv=0.4)
    b.transformer("T", "A", "B", s_kva=630, v_from_kv=20, v_to_kv=0.4, vk_percent=4, vkr_percent=1)
    b.switch("HV", SwitchKind.BREAKER, "A", branch="T")
    b.switch("LV", SwitchKind.BREAKER, "B", branch="T")
    current = next(d for d in toy_definitions() if d.quantity == "i_a")
    points = [replace(current, name=name, equipment=name) for name in ("HV", "LV")]
    high, low = (r for r in default_rules(points, b.build()) if isinstance(r, LimitRule))
    assert high.limit == pytest.approx(630 / math.sqrt(3) / 20)
    assert low.limit == pytest.approx(909.3, abs=0.05)


def test_list__refuses_rules_that_contradict_each_other_or_the_points():
    database = PointDatabase(toy_definitions())
    rule = StatusRule("a", "CB_1", 1, "x", "CB_1.trip", (1.0,))
    with pytest.raises(DuplicateAlarmError):
        AlarmList([rule, rule], database, [].append)
    limit = LimitRule("b", "CB_1", 1, "x", "CB_9.i_a", 1.0, True, 0.0, 0)
    with pytest.raises(UnknownPointError):
        AlarmList([limit], database, [].append)


def test_snapshot__continues_delays_limits_and_acknowledgements():
    whole, first, second = Rig().start(), Rig().start(), Rig()
    for rig in (whole, first):
        trip(rig, 1.0, 1_000)
        rig.alarms.acknowledge(TRIP, "anna", 1_500)
        rig.put(sample("CB_1.spring_charged", 0.0, 2_000), sample("LBS_1.i_a", 300.0, 2_000), now=2_000)
        voltage(rig, 25.0, 2_500)
        rig.front_end.tick(8_000)
    second.front_end.restore(json.loads(json.dumps(first.front_end.snapshot(), allow_nan=False)))
    for rig in (whole, second):
        assert rig.front_end.next_timer() == 12_000
        for now in (12_000, 22_000):
            rig.front_end.tick(now)
        voltage(rig, 20.0, 30_000)
        trip(rig, 0.0, 31_000)
        rig.put(sample("CB_1.position", OPEN, 32_000), now=32_000)
    assert [e.to_json() for e in first.journal + second.journal] == [e.to_json() for e in whole.journal]
    assert second.alarms.snapshot() == whole.alarms.snapshot()


def test_snapshot__of_other_rules_is_refused(rig):
    voltage(rig, 25.0, 1_000)
    trip(rig, 1.0, 1_000)
    state = rig.alarms.snapshot()
    fewer = AlarmList([], rig.database, [].append)
    with pytest.raises(SnapshotMismatchError):
        fewer.restore(state)
    with pytest.raises(SnapshotMismatchError):
        fewer.restore(state | {"alarms": []})
