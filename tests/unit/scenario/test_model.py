"""What the models make of a scenario: inheritance of station settings, ids, actions."""

from __future__ import annotations

from collections.abc import Callable

from twin.scenario import read_scenario
from twin.scenario.events import CommsLossAction, FaultAction
from twin.scenario.fields import Within

Text = Callable[..., str]


def test_station__takes_from_default_what_it_leaves_out(scenario_text: Text) -> None:
    scenario = read_scenario(
        scenario_text("stations:", "  RTU_12: {loss: 0.5 %}", "  default: {protocol: in_process, latency: 80 ms}")
    )
    station = scenario.station("RTU_12")
    assert (station.protocol, station.latency, station.loss) == ("in_process", 80, 0.005)
    assert scenario.station("RTU_1") == scenario.stations["default"]
    assert scenario.station("RTU_1").loss == 0.0


def test_station__own_setting_equal_to_the_standard_one_beats_default(scenario_text: Text) -> None:
    text = scenario_text("stations: {default: {latency: 80 ms}, RTU_1: {latency: 0 s}}")
    assert read_scenario(text).station("RTU_1").latency == 0


def test_station__without_any_settings_uses_iec104(scenario_text: Text) -> None:
    assert read_scenario(scenario_text()).station("RTU_1").protocol == "iec104"


def test_ids__are_made_from_the_place_where_left_out(scenario_text: Text) -> None:
    scenario = read_scenario(
        scenario_text(
            "events:",
            "  - {at: 1 s, local: {switch: A}}",
            "  - {at: 1 s, id: mine, local: {switch: A}}",
            "  - {at: 1 s, local: {switch: A}}",
            "expect: [{always: a}, {never: b, id: other}]",
        )
    )
    assert [event.id for event in scenario.events] == ["event1", "mine", "event3"]
    assert [expectation.id for expectation in scenario.expect] == ["expectation1", "other"]
    assert scenario.event("mine") is scenario.events[1]
    assert scenario.event("event2") is None


def test_event__gives_its_action_in_base_units(scenario_text: Text) -> None:
    scenario = read_scenario(
        scenario_text(
            "events:",
            "  - {at: 60 s, fault: {line: L1, position: 25 %, permanent: false, resistance: 40 ohm}}",
            "  - {when: a, after: 1 min, comms loss: {station: RTU_1, for: 20 s}}",
        )
    )
    fault, loss = scenario.events
    assert (fault.at, fault.when, fault.kind) == (60_000, None, "fault")
    assert fault.action == FaultAction(line="L1", position=0.25, permanent=False, resistance="40 ohm")  # type: ignore[arg-type]
    assert isinstance(loss.action, CommsLossAction)
    assert (loss.kind, loss.after, loss.action.for_ms) == ("comms loss", 60_000, 20_000)
    assert str(loss.when) == "a"


def test_names__that_look_like_numbers_keep_their_spelling(scenario_text: Text) -> None:
    scenario = read_scenario(
        scenario_text(
            "stations: {007: {loss: 1 %}, 1.10: {loss: 2 %}}",
            "events: [{at: 1 s, call: {from: 1_2}}, {at: 1 s, fault: {line: 010}}, {at: 1 s, local: {switch: 1.10}}]",
        )
    )
    assert list(scenario.stations) == ["default", "007", "1.10"]
    call, fault, local = (event.action.model_dump(by_alias=True) for event in scenario.events)
    assert (call["from"], fault["line"], local["switch"]) == ("1_2", "010", "1.10")


def test_expectation__gives_its_form_and_condition(scenario_text: Text) -> None:
    scenario = read_scenario(
        scenario_text(
            "events: [{at: 1 s, id: the fault, fault: {line: L1}}]",
            "expect: [{within: 90 s of the fault, that: a.b == open}, {count: c, at_most: 2}]",
        )
    )
    within, count = scenario.expect
    assert within.within == Within(90_000, "the fault")
    assert (within.form, str(within.condition)) == ("within", "a.b == open")
    assert (count.form, str(count.condition), count.at_most) == ("count", "c", 2)


def test_scenario__where_it_was_written_does_not_make_it_another(scenario_text: Text) -> None:
    text = scenario_text("seed: 5")
    assert read_scenario(text) == read_scenario("# the same, one line lower\n" + text)
    assert read_scenario(text) != read_scenario(text.replace("seed: 5", "seed: 6"))
