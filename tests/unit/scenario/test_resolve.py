"""Names of a scenario against the network and its stations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from twin.scenario import PlantNamespace, read_scenario, resolve

Text = Callable[..., str]
STATIONS = ("RTU_1", "RTU_2")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["events:", "  - {at: 1 s, fault: {line: L1-9}}"],
         ["s.yaml:7: there is no line L1-9; did you mean L1-3?"]),
        (["events:", "  - at: 1 s", "    fault:", "      line: CB_1"],
         ["s.yaml:9: CB_1 is a switch, not a line; known: L1-2, L1-3, L2-3"]),
        (["events:", "  - at: 1 s", "    fault:", "      line: l1_2"],
         ["s.yaml:9: there is no line l1_2; did you mean L1-2?"]),
        (["events: [{at: 1 s, operate: {switch: CB_3, to: open}}]"],
         ["s.yaml:6: there is no switch CB_3; did you mean CB_2?"]),
        (["events: [{at: 1 s, load: {consumer: LD_3, scale: 50 %}}]"],
         ["s.yaml:6: there is no consumer LD_3; did you mean LD_4?"]),
        (["events: [{at: 1 s, load: {consumer: all, scale: 50 %}}]"], []),
        (["applications: {flisr: {priority: [industrial, LD_3]}}"],
         ["s.yaml:6: there is no consumer LD_3; did you mean LD_4?"]),
        (["events: [{at: 1 s, operator: {hold off: CB_3}}, {at: 1 s, operator: {repaired: L1-2}}]"],
         ["s.yaml:6: there is no switch CB_3; did you mean CB_2?"]),
        (["events: [{at: 1 s, device fault: {switch: N1, fails to: open}}]"],
         ["s.yaml:6: N1 is a connectivity node, not a switch; known: CB_1, CB_2, SW_2, TIE_1"]),
        (["events: [{at: 1 s, device fault: {indicator: SW_3, fails: silent}}]"],
         ["s.yaml:6: there is no switch SW_3; did you mean SW_2?"]),
        (["events: [{at: 1 s, local: {switch: TIE_2}}]"], ["s.yaml:6: there is no switch TIE_2; did you mean TIE_1?"]),
        (["events: [{at: 1 s, call: {from: N44}}]"], ["s.yaml:6: there is no node N44; did you mean N4?"]),
        (["events: [{at: 1 s, comms loss: {station: RTU_9}}]"],
         ["s.yaml:6: there is no station RTU_9; did you mean RTU_2?"]),
        (["events: [{at: 1 s, operator: {acknowledge: CB_7}}]"],
         ["s.yaml:6: there is no equipment CB_7; did you mean CB_2?"]),
        (["events: [{at: 1 s, operator: {acknowledge: all}}, {at: 1 s, operator: {acknowledge: RTU_1}}, "
          "{at: 1 s, operator: {acknowledge: CB_1}}, {at: 1 s, operator: {approve plan: all}}]"], []),
        (["events: [{when: CB_1.position == 5 A, local: {switch: CB_1}}]"],
         ["s.yaml:6: CB_1.position is a switch position, 5 A is not; write it like open or closed"]),
        (["stations:", "  default: {latency: 5 ms}", "  RTU_1: {loss: 1 %}", "  RTU_3: {loss: 1 %}"],
         ["s.yaml:9: there is no station RTU_3; did you mean RTU_2?"]),
        (["control_room_network:", "  - {switch: TIE_9, normally: open}", "  - {line: L9, missing: true}",
          "  - {consumer: LD_5, demand: 5 kW}"],
         ["s.yaml:7: there is no switch TIE_9; did you mean TIE_1?",
          "s.yaml:8: there is no line L9; known: L1-2, L1-3, L2-3",
          "s.yaml:9: there is no consumer LD_5; did you mean LD_4?"]),
        (["expect:", "  - at: 5 s", "    that: CB_1.i_a > 5", "  - {always: loading_mx <= 100 %}"],
         ["s.yaml:8: CB_1.i_a is a current; 5 has no unit, write it like 100 A or 1.2 kA",
          "s.yaml:9: there is no loading_mx; did you mean loading_max?"]),
        (["report:", "  plot:", "    - N3.v_pu", "    - N3.loading", "    - TIE_7.i_a", "    - N3"],
         ["s.yaml:9: N3 has no loading; it has v_pu, v_kv, f_hz, energised",
          "s.yaml:10: there is no TIE_7.i_a; did you mean TIE_1.i_a?",
          "s.yaml:11: N3 alone has no value; write for example N3.v_pu"]),
    ],
)  # fmt: skip
def test_resolve__names_what_is_not_there_and_what_is_near(
    scenario_text: Text, namespace: PlantNamespace, lines: list[str], expected: list[str]
) -> None:
    scenario = read_scenario(scenario_text(*lines), Path("s.yaml"))
    assert [str(finding) for finding in resolve(scenario, namespace, STATIONS)] == expected


def test_resolve__good_scenario_has_no_findings(scenario_text: Text, namespace: PlantNamespace) -> None:
    text = scenario_text(
        "control_room_network: [{switch: TIE_1, normally: closed}, {line: L1-3, rating: 50 A}]",
        "stations: {RTU_1: {loss: 1 %}}",
        "events:",
        "  - {at: 60 s, id: fault1, fault: {line: L2-3}}",
        "  - {at: 70 s, clear fault: {id: fault1}}",
        "  - {when: scada.CB_1.position == open, comms loss: {station: RTU_1}}",
        "  - {at: 60 s, call: {from: N4}}",
        "expect:",
        "  - {within: 1 s of fault1, that: CB_1.position == open}",
        "report: {plot: [N4.v_kv, loading_max]}",
    )
    assert resolve(read_scenario(text), namespace, iter(STATIONS)) == []


def test_resolve__scenario_made_in_code_is_checked_too(scenario_text: Text, namespace: PlantNamespace) -> None:
    text = scenario_text("events: [{at: 1 s, id: fault1, fault: {line: L1-9}}]")
    scenario = read_scenario(text)
    shorter = scenario.model_copy(update={"duration": 500})
    assert [str(finding) for finding in resolve(shorter, namespace, ())] == [
        "scenario:6: at 1 s is after the end of the run (500 ms)",
        "scenario:6: there is no line L1-9; did you mean L1-3?",
    ]


def test_resolve__suggests_equipment_that_has_the_attribute(scenario_text: Text, namespace: PlantNamespace) -> None:
    scenario = read_scenario(scenario_text("report: {plot: [T3-3.loading, cb2.q_kvar]}"), Path("s.yaml"))
    assert [str(finding) for finding in resolve(scenario, namespace, ())] == [
        "s.yaml:6: there is no T3-3.loading; did you mean T3-4.loading?",
        "s.yaml:6: there is no cb2.q_kvar; did you mean CB_2.q_kvar?",
    ]
