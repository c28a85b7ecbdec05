"""Reading scenario files: every finding with its line and what would be right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from twin.errors import ExitCode
from twin.points.protocols import PROTOCOLS
from twin.scenario import ScenarioError, load_scenario, read_scenario, resolved_yaml, schema
from twin.scenario.applications import Applications
from twin.scenario.model import Scenario

Text = Callable[..., str]


def findings(text: str, path: str = "s.yaml") -> list[str]:
    with pytest.raises(ScenarioError) as refused:
        read_scenario(text, Path(path))
    return [str(finding) for finding in refused.value.findings]


def test_loader__reads_the_design_example(design_example: str) -> None:
    scenario = read_scenario(design_example)
    assert (scenario.name, scenario.network, scenario.seed) == ("flisr-permanent-fault-on-feeder-1", "cigre_mv", 42)
    assert (scenario.duration, scenario.step) == (600_000, 1_000)
    assert scenario.start.isoformat() == "2026-01-15T18:00:00+00:00"
    assert [event.kind for event in scenario.events] == ["fault", "comms loss", "call"]
    assert [expectation.form for expectation in scenario.expect] == ["within", "within", "always", "never"]


def test_round_trip__resolved_scenario_reads_as_the_same(design_example: str) -> None:
    scenario = read_scenario(design_example)
    written = resolved_yaml(scenario)
    again = read_scenario(written)
    assert again == scenario
    assert resolved_yaml(again) == written


def test_resolved_yaml__has_every_default(scenario_text: Text) -> None:
    written = resolved_yaml(read_scenario(scenario_text("events:", "  - {at: 1 s, fault: {line: 010}}")))
    before, rest = written.split("applications:\n")
    applications, after = rest.split("stations:\n")
    assert list(YAML(typ="safe").load(applications)) == list(Applications.model_fields)
    assert FLISR_DEFAULTS in applications
    assert before == HEAD_DEFAULTS
    assert after.startswith(STATION_DEFAULTS)
    assert after.endswith(EVENT_DEFAULTS)


HEAD_DEFAULTS = """\
scenario: 1
name: toy
description: ''
network: toy
start: '2026-01-15T18:00:00Z'
duration: 10 min
step: 1 s
seed: 0
control_room_network: []
plant:
  loads:
    scale: 100 %
    profile: flat
    noise: 0 %
  frequency:
    machines: []
    damping: '1'
  inverters: ''
"""
STATION_DEFAULTS = """\
  default:
    protocol: iec104
    stack: own
    sources: []
    latency: 0 s
    jitter: 0 s
    loss: 0 %
    answers: true
"""
EVENT_DEFAULTS = """\
events:
  - id: event1
    at: 1 s
    after: 0 s
    fault:
      line: '010'
      position: 50 %
      kind: three-phase
      permanent: true
      extinguishes_after: 5 s
      resistance: 0 ohm
expect: []
report:
  plot: []
"""
FLISR_DEFAULTS = """\
  flisr:
    mode: off
    max_loading: 100 %
    v_min: 0.9 pu
    v_max: 1.1 pu
    settle: 5 s
    max_ties: 3
    max_cuts: 3
    reclose_feeder_head: true
    assume_first_section: true
"""


EVERY_ACTION = (
    "control_room_network:",
    "  - {switch: TIE_1, normally: closed}",
    "  - {line: L1-2, missing: true}",
    "  - {line: L1-3, rating: 100 A}",
    "  - {consumer: LD_2, demand: 0.3 MW}",
    "plant: {loads: {scale: 80 %, profile: winter-weekday, noise: 5 %}}",
    "applications: {flisr: {mode: advisory, v_min: 95 %, max_ties: 1}}",
    "stations: {7: {protocol: iec104, address: 127.0.0.1, port: 2404, jitter: 5 ms}}",
    "events:",
    "  - {at: 1 s, id: f, fault: {line: L1-2, position: 30 %, kind: phase-to-earth, permanent: false, "
    "extinguishes_after: 300 ms, resistance: 40 ohm}}",
    "  - {when: CB_1.position == open, after: 90 s, clear fault: {id: f}}",
    "  - {at: 2 s, comms loss: {station: 7, for: 20 s}}",
    "  - {at: 2 s, comms loss: {station: 7}}",
    "  - {at: 3 s, operate: {switch: CB_1, to: open, at: control room}}",
    "  - {at: 4 s, load: {consumer: all, scale: 120 %}}",
    "  - {at: 5 s, device fault: {switch: CB_1, fails to: close}}",
    "  - {at: 5 s, device fault: {indicator: SW_2, fails: false}}",
    "  - {at: 5 s, device fault: {indicator: SW_2, fails: silent}}",
    "  - {at: 6 s, local: {switch: CB_1}}",
    "  - {at: 7 s, operator: {acknowledge: all}}",
    "  - {at: 7 s, operator: {approve plan: all}}",
    "  - {at: 7 s, operator: {reject plan: flisr-1}}",
    "  - {at: 7 s, operator: {repaired: L3-8}}",
    "  - {at: 7 s, operator: {hold off: CB_1}}",
    "  - {at: 8 s, misbehaviour: {station: 7, kind: lie, point: CB_1.i_a, scale: 1.5, offset: -2, for: 20 s}}",
    "  - {at: 8 s, misbehaviour: {station: 7, kind: late, delay: 300 ms}}",
    "  - {at: 8 s, telecontrol: {station: 7, latency: 300 ms, jitter: 1 s, loss: 5 %, rate: 1200, for: 20 s}}",
    "  - {at: 8 s, half open: {station: 7}}",
    "  - {at: 8 s, call: {from: N2}}",
    "expect:",
    "  - {within: 1 min of f, that: CB_1.position == open, for: 10 s}",
    "  - {by: 120 s, that: plans_made >= 1}",
    "  - {at: 300 s, that: customers_interrupted == 0}",
    "  - {always: loading_max <= 100 %, from: 60 s, until: 120 s}",
    "  - {never: closed_onto_fault}",
    "  - {count: CB_1.position == open, equals: 1}",
    "  - {count: CB_1.position == open, at_most: 3}",
    "  - {count: CB_1.position == open, at_least: 1}",
)


def test_round_trip__every_key_of_the_language(scenario_text: Text) -> None:
    scenario = read_scenario(scenario_text(*EVERY_ACTION))
    again = read_scenario(resolved_yaml(scenario))
    assert again == scenario
    assert resolved_yaml(again) == resolved_yaml(scenario)
    assert [str(expectation) for expectation in scenario.expect] == [
        "within 1 min of f: CB_1.position == open for 10 s",
        "by 2 min: plans_made >= 1",
        "at 5 min: customers_interrupted == 0",
        "always loading_max <= 100 % from 1 min until 2 min",
        "never closed_onto_fault",
        "count CB_1.position == open equals 1",
        "count CB_1.position == open at most 3",
        "count CB_1.position == open at least 1",
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["seeed: 4"], ["s.yaml:6: unknown key seeed; did you mean seed?"]),
        (["colour: red"], ["s.yaml:6: unknown key colour"]),
        (
            ["stations: {RTU_1: {colour: red}}"],
            ["s.yaml:6: unknown key colour"],
        ),
        (
            ["events:", "  - at: 1 s", "    comms_loss: {station: A}"],
            ["s.yaml:8: unknown key comms_loss; did you mean comms loss?"],
        ),
        (
            ["events:", "  - at: 1 s", "    fault:", "      lien: L1", "      kind: threephase"],
            [
                "s.yaml:8: line is missing",
                "s.yaml:9: unknown key lien; did you mean line?",
                "s.yaml:10: kind: threephase is not one of three-phase, phase-to-phase, phase-to-phase-to-earth, "
                "phase-to-earth, double-earth; did you mean three-phase?",
            ],
        ),
        (["step: 1"], ["s.yaml:6: step: 1 has no unit; a duration is written like 1 s or 1 h"]),
        (
            ["step: 20 kV"],
            ["s.yaml:6: step: 20 kV is a voltage, not a duration; write it like 250 ms or 60 s"],
        ),
        (["step: 0 s"], ["s.yaml:6: step: 0 s is too small, it must be more than 0 s"]),
        (["seed: -1"], ["s.yaml:6: seed: -1 is too small, the least is 0"]),
        (["seed: 1.5"], ["s.yaml:6: seed: 1.5 is not a whole number"]),
        (["seed: 5", "seed: 6"], ["s.yaml:7: the key seed was already given in line 6; keep one"]),
        (["description: [a]"], ["s.yaml:6: description: a list is not a text"]),
        (["plant: 5"], ["s.yaml:6: plant: 5 is not a block of keys"]),
        (["events: {at: 1 s}"], ["s.yaml:6: events: a block of keys is not a list"]),
        (["events: [soon]"], ["s.yaml:6: soon is not a block of keys"]),
        (["plant: {loads: {scale: 0.8}}"],
         ["s.yaml:6: scale: 0.8 has no unit; write 80 % (or 0.8 %, if so little is meant)"]),
        (["applications: {flisr: {mode: on}}"],
         ["s.yaml:6: mode: on is not one of off, advisory, automatic"]),
        (["applications: {flisr: {mode: automatc}}"],
         ["s.yaml:6: mode: automatc is not one of off, advisory, automatic; did you mean automatic?"]),
        (["applications: {flisr: {max_ties: 9}}"], ["s.yaml:6: max_ties: 9 is too large, the most is 5"]),
        (["stations: {A: {protocol: iec103}}"],
         ["s.yaml:6: protocol: there is no protocol iec103; did you mean iec104?"]),
        (["stations: {A: {protocol: carrier-pigeon}}"],
         [f"s.yaml:6: protocol: there is no protocol carrier-pigeon; known: {', '.join(sorted(PROTOCOLS))}"]),
        (["stations: {A: {protocol: pigeon, port: 0}}"],
         ["s.yaml:6: port: 0 is too small, the least is 1",
          f"s.yaml:6: protocol: there is no protocol pigeon; known: {', '.join(sorted(PROTOCOLS))}"]),
        (["stations: {A: {loss: 120 %}}"], ["s.yaml:6: loss: 120 % is too large, the most is 100 %"]),
        (["events:", "  - {fault: {line: A}}"],
         ["s.yaml:7: the trigger of this event is missing; write one of: at, when"]),
        (["events:", "  - {at: 1 s, when: a, fault: {line: A}}"],
         ["s.yaml:7: the trigger of this event is given 2 times (at, when); keep one"]),
        (["events:", "  - {at: 1 s}"],
         ["s.yaml:7: the action of this event is missing; write one of: fault, clear fault, comms loss, operate, load, "
          "device fault, local, operator, call, misbehaviour, telecontrol, half open, trip generator, "
          "lose external network"]),
        (["events:", "  - {at: 1 s, local: {switch: A}, clear fault: {id: A}}"],
         ["s.yaml:7: the action of this event is given 2 times (clear fault, local); keep one"]),
        (["events:", "  - {at: 1 s, after: 2 s, local: {switch: A}}"],
         ["s.yaml:7: after goes with when; with at, write the later time"]),
        (["events:", "  - {when: a = b, local: {switch: A}}"],
         ['s.yaml:7: when: in "a = b" at character 3: unexpected =; write == to compare']),
        (["events:", "  - {when: true, local: {switch: A}}"],
         ["s.yaml:7: when: a condition is text, for example: CB_1.position == open"]),
        (["events:", "  - {at: 1 s, local: {switch: [A]}}"], ["s.yaml:7: switch: a name is missing here"]),
        (["events:", "  - {at: 1 s, local: {switch: ''}}"], ["s.yaml:7: switch: a name is missing here"]),
        (["events:", "  - {at: 1 s, fault: {line: A, permanent: yes}}"],
         ["s.yaml:7: permanent: yes is not true or false"]),
        (["events:", "  - {at: 1 s, fault: {line: A, position: 1.2}}"],
         ["s.yaml:7: position: 1.2 is too large, the most is 100 %"]),
        (["events:", "  - {at: 1 s, device fault: {switch: A, fails: silent}}"],
         ["s.yaml:7: device fault: a device fault is {switch: NAME, fails to: open or close}, "
          "{indicator: SWITCH, fails: silent or false}, {measurement: POINT, fails: stuck} "
          "or {measurement: POINT, reads: 120 %}"]),
        (["events:", "  - {at: 1 s, operator: {}}"],
         ["s.yaml:7: operator: what the operator does is missing; write one of: acknowledge, approve plan, "
          "reject plan, repaired, hold off"]),
        (["control_room_network: [{switch: A, missing: true}]"],
         ["s.yaml:6: an error of the control room's network is {switch, normally: open or closed}, "
          "{line, missing: true}, {line, rating: 100 A} or {consumer, demand: 300 kW}"]),
        (["control_room_network: [{line: A, missing: false}]"],
         ["s.yaml:6: an error of the control room's network is {switch, normally: open or closed}, "
          "{line, missing: true}, {line, rating: 100 A} or {consumer, demand: 300 kW}"]),
        (["expect: [{that: a}]"],
         ["s.yaml:6: the form of this expectation is missing; write one of: within, by, at, always, never, count"]),
        (["expect: [{always: a, never: a}]"],
         ["s.yaml:6: the form of this expectation is given 2 times (always, never); keep one"]),
        (["expect: [{by: 1 s}]"],
         ["s.yaml:6: by goes with that: write the condition, for example that: CB_1.position == open"]),
        (["expect: [{always: a, that: b}]"], ["s.yaml:6: that does not go with always"]),
        (["expect: [{always: a, for: 5 s}]"], ["s.yaml:6: for does not go with always"]),
        (["expect: [{at: 1 s, that: a, from: 5 s}]"], ["s.yaml:6: from does not go with at"]),
        (["expect: [{never: a, at_most: 5}]"], ["s.yaml:6: at_most does not go with never"]),
        (["expect: [{count: a}]"],
         ["s.yaml:6: the limit of the count is missing; write one of: equals, at_most, at_least"]),
        (["expect: [{always: a, from: 5 s, until: 5 s}]"], ["s.yaml:6: from must be before until"]),
        (["expect: [{within: 5 s, that: a}]"],
         ["s.yaml:6: within: within is written like 60 s of fault1; for a time since the start of the run "
          "write by: 60 s"]),
        (["expect: [{within: 5 of f, that: a}]"],
         ["s.yaml:6: within: 5 has no unit; a duration is written like 5 s or 1 h"]),
        (["expect: [{within: -5 s of f, that: a}]"], ["s.yaml:6: within: -5 s is too small, the least is 0 s"]),
        (["expect: [{within: 5 s of fautl1, that: a}]", "events: [{at: 1 s, id: fault1, local: {switch: A}}]"],
         ["s.yaml:6: there is no event fautl1; did you mean fault1?"]),
        (["expect: [{by: 11 min, that: a}]"], ["s.yaml:6: by 11 min is after the end of the run (10 min)"]),
        (["expect:", "  - never: a", "    until: 1 h"], ["s.yaml:8: until 1 h is after the end of the run (10 min)"]),
        (["events: [{at: 1 h, local: {switch: A}}]"], ["s.yaml:6: at 1 h is after the end of the run (10 min)"]),
        (["events:", "  - {at: 1 s, id: x, local: {switch: A}}", "  - {at: 1 s, id: x, local: {switch: A}}"],
         ["s.yaml:8: the id x was already given in line 7"]),
        (["events: [{at: 1 s, id: x, local: {switch: A}}, {at: 2 s, clear fault: {id: x}}]"],
         ["s.yaml:6: the event x is not a fault"]),
        (["events: [{at: 1 s, id: fault1, fault: {line: A}}, {at: 2 s, clear fault: {id: fault2}}]"],
         ["s.yaml:6: the event fault2 does not exist; did you mean fault1?"]),
    ],
)  # fmt: skip
def test_finding__has_its_line_and_what_would_be_right(
    scenario_text: Text, lines: list[str], expected: list[str]
) -> None:
    assert findings(scenario_text(*lines)) == expected


def test_finding__missing_keys_come_with_examples() -> None:
    assert findings("description: nothing\n") == [
        "s.yaml:1: duration is missing; write for example duration: 10 min",
        "s.yaml:1: name is missing; write for example name: fault-on-feeder-1",
        "s.yaml:1: network is missing; write for example network: cigre_mv",
        "s.yaml:1: scenario is missing; write for example scenario: 1",
        "s.yaml:1: start is missing; write for example start: 2026-01-15T18:00:00Z",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["s.yaml: the file is empty; a scenario starts with scenario: 1"]),
        ("- 1\n", ["s.yaml:1: a scenario is a block of keys; it starts with scenario: 1"]),
        ("just words", ["s.yaml:1: a scenario is a block of keys; it starts with scenario: 1"]),
        (
            "scenario: [1",
            [
                "s.yaml:1: this is not YAML: expected ',' or ']', but got '<stream end>'; "
                "a bracket or brace is not closed, or a comma is missing"
            ],
        ),
    ],
)
def test_finding__text_that_is_no_scenario(text: str, expected: list[str]) -> None:
    assert findings(text) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("scenario: 1", "scenario: 2", "s.yaml:1: scenario: 2 is not known; write 1"),
        ("18:00:00Z", "18:00:00", "s.yaml:4: start: 2026-01-15T18:00:00 names no time zone; "
                                  "write 2026-01-15T18:00:00Z for UTC"),
        ("2026-01-15T18:00:00Z", "tomorrow", "s.yaml:4: start: an instant is written like 2026-01-15T18:00:00Z"),
        ("2026-01-15T18:00:00Z", "5", "s.yaml:4: start: an instant is written like 2026-01-15T18:00:00Z"),
        ("10 min", "600", "s.yaml:5: duration: 600 has no unit; a duration is written like 600 s or 1 h"),
    ],
)  # fmt: skip
def test_finding__head_of_the_scenario(scenario_text: Text, old: str, new: str, expected: str) -> None:
    assert findings(scenario_text().replace(old, new)) == [expected]


def test_findings__are_all_collected_in_the_order_of_the_lines(scenario_text: Text) -> None:
    text = scenario_text("stations: {A: {protocol: pigeon}}", "seed: x", "sed: 1", "seed: 2", "events: [{at: 5}]")
    assert findings(text) == [
        f"s.yaml:6: protocol: there is no protocol pigeon; known: {', '.join(sorted(PROTOCOLS))}",
        "s.yaml:7: seed: x is not a whole number",
        "s.yaml:8: unknown key sed; did you mean seed?",
        "s.yaml:9: the key seed was already given in line 7; keep one",
        "s.yaml:10: at: 5 has no unit; a duration is written like 5 s or 1 h",
    ]


def test_error__is_one_line_a_finding_and_blames_the_scenario(scenario_text: Text) -> None:
    with pytest.raises(ScenarioError) as refused:
        read_scenario(scenario_text("seed: x", "sed: 1"))
    assert str(refused.value).splitlines() == [
        "scenario:6: seed: x is not a whole number",
        "scenario:7: unknown key sed; did you mean seed?",
    ]
    assert refused.value.exit_code is ExitCode.USAGE


def test_start__of_another_zone_is_held_in_utc(scenario_text: Text) -> None:
    scenario = read_scenario(scenario_text().replace("18:00:00Z", "19:00:00+01:00"))
    assert scenario.model_dump(mode="json")["start"] == "2026-01-15T18:00:00Z"


class TestFiles:
    def test_file__missing_suggests_its_neighbour(self, tmp_path: Path) -> None:
        (tmp_path / "storm_night.yaml").touch()
        with pytest.raises(ScenarioError) as refused:
            load_scenario(tmp_path / "storm_nigth.yaml")
        sentence = "there is no such file; did you mean storm_night.yaml?"
        assert str(refused.value) == f"{tmp_path / 'storm_nigth.yaml'}: {sentence}"

    def test_file__missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ScenarioError, match=r"b\.yaml: there is no such file$"):
            load_scenario(tmp_path / "a" / "b.yaml")

    def test_file__folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ScenarioError, match="this is a folder; name a scenario file in it"):
            load_scenario(tmp_path)

    def test_file__other_encoding_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "s.yaml").write_bytes("name: Süd".encode("latin-1"))
        with pytest.raises(ScenarioError, match=r"s\.yaml: this is not UTF-8 text \(byte 7\)"):
            load_scenario(tmp_path / "s.yaml")

    def test_file__path_through_a_file_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "s.yaml").touch()
        with pytest.raises(ScenarioError, match="the file cannot be read: Not a directory"):
            load_scenario(tmp_path / "s.yaml" / "t.yaml")

    def test_files__that_the_scenario_names_must_exist(self, tmp_path: Path, scenario_text: Text) -> None:
        text = scenario_text("derived: made", "plant: {loads: {profile: day.csv}}")
        path = tmp_path / "s.yaml"
        path.write_text(text.replace("network: toy", "network: nets/toy.json"), encoding="utf-8")
        with pytest.raises(ScenarioError) as refused:
            load_scenario(path)
        assert [str(finding) for finding in refused.value.findings] == [
            f"{path}:3: there is no {tmp_path / 'nets' / 'toy.json'}",
            f"{path}:6: there is no {tmp_path / 'made'}",
            f"{path}:7: there is no {tmp_path / 'day.csv'}",
        ]

    def test_files__are_relative_to_the_scenario(self, tmp_path: Path, scenario_text: Text) -> None:
        (tmp_path / "made").mkdir()
        for name in ("toy.json", "day.csv"):
            (tmp_path / name).touch()
        text = scenario_text("derived: made", "plant: {loads: {profile: day.csv}}")
        (tmp_path / "s.yaml").write_text(text.replace("network: toy", "network: toy.json"), encoding="utf-8")
        scenario = load_scenario(str(tmp_path / "s.yaml"))
        assert scenario.network_file == tmp_path / "toy.json"
        assert scenario.derived_folder == tmp_path / "made"
        assert scenario.profile_file == tmp_path / "day.csv"

    @pytest.mark.parametrize("network", ["cigre_mv", "pandapower:case33bw", "pandapower:a.b"])
    def test_network__by_name_is_no_file(self, scenario_text: Text, network: str) -> None:
        scenario = read_scenario(scenario_text().replace("network: toy", f"network: {network}"))
        assert (scenario.network, scenario.network_file) == (network, None)
        assert (scenario.derived_folder, scenario.profile_file) == (None, None)


def test_schema__describes_every_field_for_a_person() -> None:
    made = schema()
    blocks = [made, *made["$defs"].values()]
    undescribed = [
        (block.get("title"), key)
        for block in blocks
        for key, field in block.get("properties", {}).items()
        if not (field.get("description") or "$ref" in field)
    ]
    assert undescribed == []
    assert all(block.get("description") for block in blocks)
    assert all(block["additionalProperties"] is False for block in blocks if "properties" in block)
    assert set(made["required"]) == {"scenario", "name", "network", "start", "duration"}


def test_schema__uses_the_keys_as_they_are_written() -> None:
    event = schema()["$defs"]["Event"]
    assert {"clear fault", "comms loss", "device fault"} <= set(event["properties"])
    assert event["allOf"][0] == {"oneOf": [{"required": ["at"]}, {"required": ["when"]}]}
    assert {"required": ["comms loss"]} in event["allOf"][1]["oneOf"]
    assert schema()["properties"]["duration"]["type"] == "string"
    assert schema()["$defs"]["StationSettings"]["properties"]["protocol"]["enum"] == list(PROTOCOLS)


def test_scenario__nothing_changes_after_reading(scenario_text: Text) -> None:
    scenario: Scenario = read_scenario(scenario_text())
    with pytest.raises(ValueError, match="frozen"):
        scenario.seed = 5  # type: ignore[misc]
