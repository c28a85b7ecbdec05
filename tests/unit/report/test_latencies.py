"""Key latencies and the course of an auto-reclosing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twin.journal import JournalEntry
from twin.report.latencies import key_latencies, reclosing
from twin.report.milestones import Incident, Tone
from twin.report.timeline import incidents


def entry(t_ms: int, source: str, kind: str, subject: str, **data: Any) -> JournalEntry:
    return JournalEntry(t_ms, source, kind, subject, data)


def event(t_ms: int, point: str, value: int, source_t_ms: int) -> JournalEntry:
    return entry(t_ms, "control_room", "event", point, point=point, value=value, quality=0, source_t_ms=source_t_ms)


def alarm(t_ms: int, rule: str, point: str, text: str) -> JournalEntry:
    data = {"alarm_id": f"{rule}:{point}", "state": "raised", "text": text}
    return entry(t_ms, "control_room", "alarm", point.partition(".")[0], **data)


def trip(t_ms: int) -> list[JournalEntry]:
    return [
        entry(t_ms, "field", "relay_pickup", "CB_1", function="51"),
        entry(t_ms + 100, "field", "relay_trip", "CB_1", function="51"),
        entry(t_ms + 100, "field", "breaker", "CB_1", position="intermediate", cause="trip"),
        entry(t_ms + 160, "field", "breaker", "CB_1", position="open", cause="trip"),
        event(t_ms + 180, "CB_1.position", 0, t_ms + 100),
        event(t_ms + 180, "CB_1.trip", 1, t_ms + 100),
        alarm(t_ms + 180, "trip", "CB_1.trip", "RTU_1: CB_1 tripped by protection"),
        event(t_ms + 240, "CB_1.position", 1, t_ms + 160),
    ]


def close(t_ms: int, shot: int) -> list[JournalEntry]:
    return [
        entry(t_ms, "field", "reclose", "CB_1", shot=shot),
        entry(t_ms, "field", "breaker", "CB_1", position="intermediate", cause="reclose"),
        entry(t_ms + 80, "field", "breaker", "CB_1", position="closed", cause="reclose"),
        event(t_ms + 80, "CB_1.position", 0, t_ms),
        event(t_ms + 160, "CB_1.position", 2, t_ms + 80),
        event(t_ms + 160, "CB_1.trip", 0, t_ms + 80),
    ]


FAULT = entry(1000, "director", "fault", "f1", line="L1", fault_kind="three-phase", permanent=True)
DEAD = alarm(6000, "v_dead", "N7.v_kv", "RTU_7: no voltage at N7")
OUT = entry(1161, "grid", "supply", "n", customers_interrupted=10)


def incident(entries: Sequence[JournalEntry]) -> Incident:
    (found,) = incidents([FAULT, *entries])
    return found


def spans(entries: Sequence[JournalEntry]) -> dict[str, int]:
    return {latency.name: latency.span_ms for latency in key_latencies(incident(entries))}


def test_latency__event_to_alarm_is_that_of_the_tripped_head_alone() -> None:
    """The trip raises its alarm at once; the dead busbar's alarm seconds later is another one's."""
    found = spans([*trip(1000), OUT, DEAD])
    assert found["event → alarm"] == 0
    assert found["breaker open → control room"] == 80


def test_latency__without_an_alarm_of_the_head_there_is_none_to_tell() -> None:
    without = [e for e in trip(1000) if e.kind != "alarm"]
    assert "event → alarm" not in spans([*without, OUT, DEAD])


def test_latency__plan_is_measured_until_it_was_fully_carried_out() -> None:
    plan = {"plan_id": "P", "steps": [{"number": 1}], "title": "Isolate L1"}
    told = [
        entry(3000, "control_room", "plan", "P", **plan),
        entry(3000, "control_room", "plan", "P", plan_id="P", outcome="running"),
        entry(5500, "control_room", "plan", "P", plan_id="P", outcome="done"),
    ]
    assert spans([*trip(1000), *told])["plan → fully carried out"] == 2500
    (chain,) = incidents([FAULT, *trip(1000), *told])
    assert [m.label for m in chain.milestones[-2:]] == ["plan: isolate L1, 1 step", "plan fully carried out"]


def test_latency__failed_plan_was_not_carried_out() -> None:
    failed = "step 1 failed: no check-back"
    told = [
        entry(3000, "control_room", "plan", "P", plan_id="P", steps=[], title="Isolate L1"),
        entry(9000, "control_room", "plan", "P", plan_id="P", outcome=failed),
    ]
    assert "plan → fully carried out" not in spans([*trip(1000), *told])
    last = incident([*trip(1000), *told]).milestones[-1]
    assert (last.label, last.tone) == (f"plan ended: {failed}", Tone.BAD)


def test_reclosing__successful_shot_is_told() -> None:
    reclaimed = entry(12_000, "field", "reclaimed", "CB_1")
    found = incident([*trip(1000), *close(1700, 1), reclaimed])
    assert reclosing(found) == ("CB_1: 1 trip, 1 reclosing shot, the last one successful",)


def test_reclosing__lockout_is_told_and_timed() -> None:
    lockout = entry(1960, "field", "lockout", "CB_1")
    entries = [*trip(1000), *close(1700, 1), *trip(1800), lockout]
    assert reclosing(incident(entries)) == ("CB_1: 2 trips, 1 reclosing shot, unsuccessful: locked out",)
    assert spans(entries)["fault → lockout"] == 960


def test_reclosing__trip_alone_is_no_reclosing() -> None:
    assert reclosing(incident(trip(1000))) == ()


def test_timeline__resets_and_moving_contacts_tell_of_nothing() -> None:
    labels = [(m.t_ms, m.label) for m in incident([*trip(1000), *close(1700, 1)]).milestones if m.kind == "event"]
    assert labels == [(1180, "event CB_1.trip"), (1240, "event CB_1.position"), (1860, "event CB_1.position")]


def test_timeline__pickup_after_a_shot_follows_from_the_reclosing() -> None:
    hops = [(h.cause.label, h.effect.label) for h in incident([*trip(1000), *close(1700, 1), *trip(1800)]).hops]
    assert ("CB_1 recloses", "CB_1 pickup 51") in hops
    assert hops.count(("permanent three-phase fault on L1", "CB_1 pickup 51")) == 1


def test_timeline__no_voltage_follows_from_the_loss_of_supply() -> None:
    hops = [(h.cause.label, h.effect.label, h.delta_ms) for h in incident([*trip(1000), OUT, DEAD]).hops]
    assert hops[-1] == ("10 customers without supply", "alarm: RTU_7: no voltage at N7", 4839)


def test_timeline__location_says_its_sentence_and_follows_from_the_head() -> None:
    text = "CB_1 tripped; the fault is in L1 (99%)."
    where = entry(6200, "control_room", "location", "CB_1", zones=["L1"], probabilities=[0.99], text=text)
    last = incident([*trip(1000), OUT, DEAD, where]).hops[-1]
    assert (last.cause.label, last.effect.label) == ("event CB_1.position", text.removesuffix("."))


def test_timeline__fault_that_extinguishes_is_told() -> None:
    out = entry(3000, "grid", "fault_cleared", "L1", by="extinguished")
    last = incident([*trip(1000), out]).hops[-1]
    assert (last.cause.label, last.effect.label) == ("CB_1 trips open", "fault extinguished")


def test_timeline__station_receives_for_the_equipment_of_its_point() -> None:
    data = {"command_id": 1, "switch": "S2", "action": "open"}
    found = incident(
        [
            *trip(1000),
            entry(2000, "control_room", "command", "S2", **data, phase="requested"),
            entry(2080, "field", "command_received", "RTU_2", phase="select", point="S2.operate"),
        ]
    )
    last = found.hops[-1]
    assert (last.cause.label, last.effect.label, last.delta_ms) == ("open S2 requested", "RTU_2 receives select", 80)


def test_latencies__of_commands_without_a_fault_do_not_speak_of_one() -> None:
    plan = [
        entry(1000, "control_room", "plan", "volt_var-1", application="volt_var", title="Set T"),
        entry(5000, "control_room", "plan_ended", "volt_var-1", outcome="done"),
    ]
    (told,) = incidents(plan)
    assert told.title == "Commands without a fault"
    assert not [latency.name for latency in key_latencies(told) if latency.name.startswith("fault")]
