"""The front end: one order whatever the transport, the initial image, losses, routing."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scada_toy import CLOSED, DISPATCHER, OPEN, ListSession, Rig, sample

from twin.links.model import (
    ArrivedSample,
    CommandReply,
    LinkCommand,
    LinkEvent,
    ReplyKind,
    SessionEvent,
    SessionState,
)
from twin.points.model import Quality, Sample, TimeSource
from twin.scada.command_model import ActionKind, LinkAction
from twin.scada.front_end import UnarmedOperationError, UnknownStationError
from twin.scada.point_database import SnapshotMismatchError
from twin.scada.tags import TagKind


def station_of(event: LinkEvent) -> str:
    return event.sample.station if isinstance(event, ArrivedSample) else event.station


def lines(rig: Rig) -> list[str]:
    return [entry.to_json() for entry in rig.journal]


def told(rig: Rig, station: str) -> list[str]:
    return [name for name, _ in rig.sessions[station].told]


# -- the initial image ----------------------------------------------------------------------------------------------


def test_initial_image__normal_values_are_taken_over_silently():
    rig = Rig()
    rig.start()
    assert rig.lines("event") == []
    assert rig.alarms.display() == []
    assert all(rig.database.good(d.name) for d in rig.database.definitions)


def test_initial_image__abnormal_values_raise_alarms_but_are_no_events():
    rig = Rig()
    rig.put(sample("CB_1.trip", 1.0, 0, gi=True), sample("CB_1.position", OPEN, 0, gi=True), now=0)
    assert [entry.kind for entry in rig.journal] == ["alarm"]
    assert rig.alarms.display()[0].text == "RTU_1: CB_1 tripped by protection"


def test_initial_image__a_spontaneous_first_value_is_an_event():
    rig = Rig()
    rig.put(sample("CB_1.position", OPEN, 5), now=85)
    assert [dict(e.data) for e in rig.lines("event")] == [
        {"point": "CB_1.position", "value": 1, "quality": 0, "source_t_ms": 5}
    ]


# -- events -----------------------------------------------------------------------------------------------------------


def test_event__is_journalled_for_status_points_only(rig):
    changes = rig.front_end.on_events(
        [sample("SS.v_kv", 19.5, 1_000), sample("LBS_1.fault_forward", 1.0, 1_000, quality=Quality.BLOCKED)], 1_080
    )
    assert [change.point for change in changes] == ["LBS_1.fault_forward"]
    (entry,) = rig.lines("event")
    assert (entry.t_ms, entry.source, entry.subject) == (1_080, "control_room", "LBS_1.fault_forward")
    assert dict(entry.data) == {"point": "LBS_1.fault_forward", "value": 1, "quality": 16, "source_t_ms": 1_000}


def test_event__late_one_is_marked_and_the_station_interrogated(rig):
    rig.put(sample("CB_1.trip", 0.0, 20_000), sample("CB_1.trip", 1.0, 21_000), now=21_080)
    rig.put(sample("CB_1.trip", 0.0, 20_500, arrived=22_000), now=22_000)
    assert rig.lines("event")[-1].data["late"] is True
    assert rig.database.value("CB_1.trip") == 1.0
    assert told(rig, "RTU_1") == ["interrogate"]
    assert rig.front_end.statistics("RTU_1").late_samples == 1


def test_event__late_one_that_agrees_asks_for_nothing(rig):
    rig.put(sample("CB_1.trip", 1.0, 21_000), now=21_080)
    rig.put(sample("CB_1.trip", 1.0, 20_500, arrived=22_000), now=22_000)
    assert told(rig, "RTU_1") == []


def test_sample__of_unknown_points_is_counted_and_left(rig):
    strange = Sample("RTU_1", "CB_9.position", OPEN, Quality.GOOD, 5)
    elsewhere = Sample("RTU_2", "CB_1.position", OPEN, Quality.GOOD, 5)
    rig.put(ArrivedSample(strange, 5), ArrivedSample(elsewhere, 5), now=5)
    assert rig.front_end.statistics("RTU_1").unknown_samples == 1
    assert rig.front_end.statistics("RTU_2").unknown_samples == 1
    assert rig.database.value("CB_1.position") == CLOSED
    assert rig.journal == []


def test_event__from_an_unknown_station_is_an_error(rig):
    with pytest.raises(UnknownStationError, match="RTU_9"):
        rig.put(SessionEvent("RTU_9", SessionState.LOST, 5), now=5)
    with pytest.raises(UnknownStationError):
        rig.front_end.state("RTU_9")


# -- order ------------------------------------------------------------------------------------------------------------


def test_order__is_source_time_then_station_then_point(rig):
    batch = [
        sample("LBS_2.trip", 1.0, 1_002),
        sample("LBS_1.trip", 1.0, 1_001),
        sample("CB_1.trip", 1.0, 1_001),
        sample("CB_1.lockout", 1.0, 1_001),
        sample("DIS_1.trip", 1.0, 1_000),
    ]
    points = [change.point for change in rig.front_end.on_events(batch, 1_100)]
    assert points == ["DIS_1.trip", "CB_1.lockout", "CB_1.trip", "LBS_1.trip", "LBS_2.trip"]


def test_order__same_point_and_time_stay_as_they_arrived(rig):
    rig.put(sample("CB_1.trip", 1.0, 1_000), sample("CB_1.trip", 0.0, 1_000), now=1_080)
    assert [e.data["value"] for e in rig.lines("event")] == [1, 0]


def test_order__interrogated_value_stays_before_an_event_that_arrived_after_it(rig):
    """The answer was given before the event of 1,000 and stamped 1,070 on arrival; the event arrived at 1,080."""
    rig.put(sample("CB_1.trip", 0.0, 1_070, gi=True), sample("CB_1.trip", 1.0, 1_000, arrived=1_080), now=1_100)
    assert rig.database.value("CB_1.trip") == 1.0
    assert rig.alarms.active == 1


def test_order__interrogated_value_that_arrived_after_the_event_counts(rig):
    rig.put(sample("CB_1.trip", 1.0, 1_000, arrived=1_060), sample("CB_1.trip", 0.0, 1_070, gi=True), now=1_100)
    assert rig.database.value("CB_1.trip") == 0.0


def test_order__samples_before_a_loss_become_not_topical_by_it_and_those_after_it_do_not(rig):
    rig.put(
        sample("CB_1.trip", 1.0, 1_000),
        SessionEvent("RTU_1", SessionState.LOST, 1_100, "cut"),
        SessionEvent("RTU_1", SessionState.CONNECTED, 1_200),
        sample("CB_1.lockout", 1.0, 900, arrived=1_300),
        now=1_300,
    )
    assert rig.database.value("CB_1.trip") == 1.0
    assert rig.database.quality("CB_1.trip") == Quality.NOT_TOPICAL
    assert rig.database.good("CB_1.lockout")
    assert rig.front_end.state("RTU_1") is SessionState.CONNECTED


def stream(rng: random.Random, station: str) -> list[LinkEvent]:
    """What one station delivers in a cycle, in its order."""
    switches = {"RTU_1": ["CB_1"], "RTU_2": ["LBS_1"], "RTU_3": ["DIS_1", "LBS_2"]}[station]
    events: list[LinkEvent] = []
    for arrived in range(2_000, 2_000 + 40 * rng.randrange(6), 40):
        point = f"{rng.choice(switches)}.{rng.choice(['position', 'trip', 'fault_forward'])}"
        what = rng.random()
        if what < 0.1:
            events.append(SessionEvent(station, SessionState.LOST, arrived, "cut"))
        elif what < 0.2:
            events.append(SessionEvent(station, SessionState.INTERROGATED, arrived))
        elif what < 0.3:
            events.append(CommandReply(station, 1, rng.choice(list(ReplyKind)), arrived))
        else:
            events.append(sample(point, rng.randrange(3), arrived - rng.randrange(90), arrived=arrived, gi=what > 0.8))
    return events


def interleave(rng: random.Random, streams: list[list[LinkEvent]]) -> list[LinkEvent]:
    left, merged = [list(one) for one in streams], []
    while any(left):
        merged.append(rng.choice([one for one in left if one]).pop(0))
    return merged


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_order__does_not_depend_on_how_stations_are_interleaved(seed, shuffle):
    streams = [stream(random.Random(seed * 3 + i), f"RTU_{i + 1}") for i in range(3)]
    rigs = []
    for order in (random.Random(0), random.Random(shuffle)):
        rig = Rig().start()
        rig.commands.request("CB_1", OPEN, DISPATCHER, 1_900)
        rig.front_end.on_events(interleave(order, streams), 2_500)
        rigs.append(rig)
    assert lines(rigs[0]) == lines(rigs[1])
    assert rigs[0].front_end.snapshot() == rigs[1].front_end.snapshot()


def test_order__another_transport_changes_session_lines_only():
    """The same story with other arrival times, a front end's stamps on interrogation, and more session states."""

    def run(delay: int, stamped_by: TimeSource, details: str) -> list[str]:
        rig = Rig()
        for station in rig.sessions:
            rig.put(SessionEvent(station, SessionState.CONNECTED, delay, details), now=100)
        for definition in rig.database.definitions:
            one = Rig.normal(definition, delay).sample
            stamped = Sample(one.station, one.point, one.value, one.quality, delay, False, stamped_by)
            rig.put(ArrivedSample(stamped, delay), now=100)
        for station in rig.sessions:
            rig.put(SessionEvent(station, SessionState.STARTED, delay, details), now=100)
            rig.put(SessionEvent(station, SessionState.INTERROGATED, delay), now=100)
        command_id = rig.commands.request("LBS_1", OPEN, DISPATCHER, 1_000)
        rig.front_end.route(rig.take(), 1_000)
        rig.put(
            sample("CB_1.trip", 1.0, 1_050, arrived=1_050 + delay),
            CommandReply("RTU_2", command_id, ReplyKind.ACTIVATED, 1_010 + delay),
            sample("LBS_1.position", OPEN, 1_040, arrived=1_040 + delay),
            sample("CB_1.position", OPEN, 1_050, arrived=1_050 + delay),
            now=1_200,
        )
        return [entry.to_json() for entry in rig.journal if entry.kind != "session"]

    in_process = run(1, TimeSource.DEVICE, "")
    kinds = [json.loads(line)["kind"] for line in in_process]
    assert kinds == ["command"] * 3 + ["event", "command", "event", "event", "alarm"]
    assert in_process == run(80, TimeSource.FRONT_END, "STARTDT con")


# -- sessions ---------------------------------------------------------------------------------------------------------


def test_session__loss_is_one_line_and_the_return_is_silent(rig):
    rig.put(SessionEvent("RTU_1", SessionState.LOST, 1_000, "t1 expired"), now=1_000)
    points = sum(d.station == "RTU_1" for d in rig.database.definitions)
    (line,) = rig.lines("session")
    assert (line.source, line.subject) == ("session", "RTU_1")
    assert dict(line.data) == {"state": "lost", "detail": "t1 expired", "points": points}
    image = [Rig.normal(d, 2_000) for d in rig.database.definitions if d.station == "RTU_1"]
    rig.put(*image, SessionEvent("RTU_1", SessionState.INTERROGATED, 2_000), now=2_000)
    assert rig.lines("event") == []
    assert rig.database.good("CB_1.position")
    statistics = rig.front_end.statistics("RTU_1")
    assert (statistics.losses, statistics.interrogations) == (1, 2)
    assert (statistics.state, statistics.state_since_t_ms) == (SessionState.INTERROGATED, 2_000)


def test_session__what_changed_during_the_loss_is_an_event(rig):
    rig.put(SessionEvent("RTU_1", SessionState.LOST, 1_000), now=1_000)
    rig.put(sample("CB_1.position", OPEN, 2_000, gi=True), now=2_000)
    assert [e.data["value"] for e in rig.lines("event")] == [1]


def test_session__orderly_close_makes_points_not_topical_without_an_alarm(rig):
    rig.put(SessionEvent("RTU_1", SessionState.CLOSED, 1_000), now=1_000)
    assert not rig.database.good("CB_1.position")
    assert rig.alarms.display() == []


def test_statistics__count_samples_replies_and_refusals(rig):
    command_id = rig.commands.request("CB_1", OPEN, DISPATCHER, 1_000)
    rig.front_end.route(rig.take(), 1_000)
    rig.reply(command_id, ReplyKind.SELECTED, 1_100)
    rig.reply(command_id, ReplyKind.REFUSED, 1_200, "negative confirmation")
    rig.put(sample("SS.v_kv", 20.0, 1_250, arrived=1_300), now=1_310)
    statistics = rig.front_end.statistics("RTU_1")
    assert (statistics.replies, statistics.refusals, statistics.actions) == (2, 1, 1)
    assert statistics.last_arrival_t_ms == 1_300
    assert statistics.samples == 1 + sum(d.station == "RTU_1" for d in rig.database.definitions)


# -- the way out ------------------------------------------------------------------------------------------------------


def action(kind: ActionKind, station: str = "RTU_1") -> LinkAction:
    return LinkAction(kind, LinkCommand(1, station, "CB_1.operate", OPEN))


@pytest.mark.parametrize("kind", ActionKind)
def test_route__calls_the_session_of_the_station(rig, kind):
    rig.front_end.route([action(kind)], 10)
    assert rig.sessions["RTU_1"].told == [(kind.value, action(kind).command)]
    assert rig.sessions["RTU_2"].told == []


def test_route__drops_what_has_no_session_to_go_through(rig):
    rig.put(SessionEvent("RTU_1", SessionState.LOST, 5), now=5)
    rig.front_end.route([action(ActionKind.OPERATE)], 10)
    assert told(rig, "RTU_1") == []
    assert rig.front_end.statistics("RTU_1").actions_dropped == 1


def test_route__refuses_unknown_stations(rig):
    with pytest.raises(UnknownStationError):
        rig.front_end.route([action(ActionKind.OPERATE, "RTU_9")], 10)


@pytest.mark.parametrize("kind", [ActionKind.SELECT, ActionKind.OPERATE])
def test_route__is_the_last_guard_of_physical_stations(kind):
    rig = Rig(physical_stations=["RTU_1"]).start()
    with pytest.raises(UnarmedOperationError, match="not armed"):
        rig.front_end.route([action(kind)], 10)
    rig.front_end.route([action(ActionKind.CANCEL)], 10)
    assert told(rig, "RTU_1") == ["cancel"]
    rig.front_end.arming.arm("RTU_1", "anna", 100, 10)
    rig.front_end.route([action(kind)], 99)
    assert told(rig, "RTU_1") == ["cancel", kind.value]


def test_step__collects_takes_over_and_routes(rig):
    command_id = rig.commands.request("CB_1", OPEN, DISPATCHER, 1_000)
    rig.front_end.step(1_000)
    session: ListSession = rig.sessions["RTU_1"]
    session.events.append(CommandReply("RTU_1", command_id, ReplyKind.SELECTED, 1_100))
    rig.front_end.step(1_100)
    session.events.append(sample("CB_1.position", OPEN, 1_150))
    changes = rig.front_end.step(1_200)
    assert told(rig, "RTU_1") == ["select", "operate"]
    assert [change.point for change in changes] == ["CB_1.position"]
    assert [c.command_id for c in rig.front_end.take_outcomes()] == [command_id]


def test_snapshot__keeps_outcomes_statistics_and_tags_but_not_the_arming():
    rig = Rig(physical_stations=["RTU_1"]).start()
    rig.front_end.arming.arm("RTU_1", "anna", 100_000, 10)
    rig.front_end.tags.place("CB_1", TagKind.HOLD_OFF, "anna", "x", 10)
    rig.commands.request("LBS_1", CLOSED, DISPATCHER, 20)
    rig.front_end.tick(20)
    state = json.loads(json.dumps(rig.front_end.snapshot(), allow_nan=False))
    other = Rig(physical_stations=["RTU_1"])
    other.front_end.arming.arm("RTU_1", "otto", 100_000, 10)
    other.front_end.restore(state)
    assert other.front_end.arming.check("RTU_1", 30) != ""
    assert other.front_end.tags.tags == rig.front_end.tags.tags
    assert other.front_end.statistics("RTU_2") == rig.front_end.statistics("RTU_2")
    assert [c.cause for c in other.front_end.take_outcomes()] == ["LBS_1 is already in the position commanded"]


def test_snapshot__of_other_stations_is_refused(rig):
    state = rig.front_end.snapshot()
    state["sessions"] = {"RTU_1": {}}
    with pytest.raises(SnapshotMismatchError):
        rig.front_end.restore(state)
