"""Wrong scenarios: one clear sentence, exit code 4, and no results folder for what was never run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cosim_worlds import FAULT, CommandLine, Ran, run, sample_rows, scenario

from twin.errors import ExitCode

WRONG = {
    "line": (scenario("{at: 5 s, fault: {line: L3-9}}"), ":12: there is no line L3-9; did you mean"),
    "switch": (scenario("{at: 5 s, operate: {switch: LBS_3_8, to: open}}"), ":12: there is no switch LBS_3_8; did you"),
    "node": (scenario("{at: 5 s, call: {from: N77}}"), ":12: there is no node N77"),
    "kind": (scenario("{at: 5 s, operate: {switch: L3-8, to: open}}"), ":12: L3-8 is a line segment, not a switch"),
    "station": (scenario(stations="RTU_99: {latency: 1 s}"), ":11: there is no station RTU_99; did you mean"),
    "network": (scenario(network="cigre_mw"), "there is no network cigre_mw; did you mean cigre_mv"),
    "unit": (scenario("{at: 5 kW, fault: {line: L3-8}}"), ":12: at: 5 kW is an active power, not a duration"),
    "no unit": (scenario(duration="20"), ":5: duration: "),
    "key": (scenario("{at: 5 s, fault: {line: L3-8, perm: true}}"), ":12: unknown key perm; did you mean permanent"),
    "condition": (scenario(extra='expect: [{always: "CB_1.positon == open"}]'), "positon"),
    "late event": (scenario("{at: 5 min, fault: {line: L3-8}}"), ":12: at 5 min is after the end of the run"),
    "earth fault": (
        scenario("{at: 5 s, fault: {line: L3-8, kind: phase-to-earth}}"),
        ":12: network cigre_mv has no zero-sequence data of L1-2, L2-3,",
    ),
    "empty": ("", "the file is empty; a scenario starts with scenario: 1"),
    "blank": ("# nothing but this\n", "the file is empty; a scenario starts with scenario: 1"),
    "binary": (b"\x89PNG\r\n\x1a\n\x00\x00\xff", "this is not UTF-8 text"),
    "zeros": (b"\x00" * 64, "this is not text that YAML allows"),
    "not a block": ("- 1\n- 2\n", "a scenario is a block of keys"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("command", ["run", "validate"])
def test_wrong_scenario__one_sentence_and_exit_code_4(twin: CommandLine, command: str, case: str) -> None:
    text, sentence = WRONG[case]
    path = twin.write(text)
    assert twin(command, path) == ExitCode.USAGE
    assert len(twin.sentences) == 1
    assert sentence in twin.sentences[0]
    assert list(twin.folder.iterdir()) == [path]


def test_missing_file__nearest_name(twin: CommandLine) -> None:
    twin.write(scenario(), "storm.yaml")
    assert twin("run", "strom.yaml", "--out", "results") == ExitCode.USAGE
    assert "there is no such file; did you mean storm.yaml?" in twin.err
    assert not Path("results").exists()


def test_folder__says_so(twin: CommandLine) -> None:
    assert twin("run", twin.folder) == ExitCode.USAGE
    assert "this is a folder; name a scenario file in it" in twin.err


def test_several_findings__all_at_once(twin: CommandLine) -> None:
    twin.write(scenario("{at: 5 s, fault: {line: L3-9}}", "{at: 6 s, local: {switch: LBS_77}}"))
    assert twin("validate", "scenario.yaml") == ExitCode.USAGE
    assert [sentence.split(":")[2] for sentence in twin.sentences] == ["12", "13"]


def test_fault_on_line_open_at_both_ends__found_by_validate(twin: CommandLine) -> None:
    net = json.loads(_cigre_with_dead_line())
    twin.write(json.dumps(net), "dead.json")
    twin.write(scenario("{at: 5 s, fault: {line: L3-8}}", network="dead.json"))
    assert twin("validate", "scenario.yaml") == ExitCode.USAGE
    assert "scenario.yaml:12: line" in twin.err
    assert "is open at every live end, so a fault on it would carry no current" in twin.err


def _cigre_with_dead_line() -> str:
    import pandapower as pp
    import pandapower.networks as networks

    net = networks.create_cigre_network_mv(with_der=False)
    line = int(net.line.index[net.line.name == "Line 3-8"][0])
    for bus in (net.line.at[line, "from_bus"], net.line.at[line, "to_bus"]):
        pp.create_switch(net, bus, line, et="l", closed=False, type="LBS")
    return str(pp.to_json(net))


# -- wrong only once the run has come to it -----------------------------------------------------------------------


def records_are_kept(ran: Ran, until_ms: int) -> None:
    """Journal, samples, run.json and report of a run that ended early."""
    assert ran.result.simulated_ms == until_ms
    assert max(row["t_ms"] for row in ran.rows) <= until_ms
    assert sample_rows(ran.folder) == ran.result.cycles
    told = json.loads((ran.folder / "run.json").read_text())
    assert (told["status"], told["exit_code"], told["message"]) == ("broken", ran.code, ran.result.message)
    assert told["simulated_ms"] == until_ms
    report = (ran.folder / "report.html").read_text()
    assert ran.result.message.split(":")[0] in report


@pytest.mark.parametrize("protocol", ["in_process", "iec104"])
def test_storm__a_second_fault_on_a_dead_line_lies_dormant_and_trips_again_when_energised(
    tmp_path: Path, protocol: str
) -> None:
    text = scenario(
        FAULT,
        "{at: 7 s, id: fault2, fault: {line: L3-4, kind: three-phase}}",
        "{at: 30 s, clear fault: {id: fault1}}",
        "{at: 31 s, operate: {switch: CB_1, to: closed}}",
        duration="35 s",
        flisr="mode: off",
    )
    ran = run(tmp_path, text, protocol=protocol)
    assert ran.code == ExitCode.PASSED
    assert [(row["t_ms"], row["subject"]) for row in ran.of("fault_dormant")] == [(7_000, "L3-4")]
    assert [row["subject"] for row in ran.of("fault_awakes")] == ["L3-4"]
    assert len(ran.of("relay_trip", "CB_1")) == 2


def test_power_flow_without_solution__names_the_island(tmp_path: Path) -> None:
    text = scenario("{at: 5 s, load: {consumer: all, scale: 1000 %}}", extra="expect: [{never: closed_onto_fault}]")
    ran = run(tmp_path, text, protocol="iec104", report=True)
    assert ran.code == ExitCode.BROKEN
    assert ran.result.message == (
        "the power flow of island of source GRID_1 at node N0 (15 nodes) does not converge: "
        "no voltages satisfy its demand"
    )
    assert ran.of("session", state="interrogated")
    records_are_kept(ran, 4_000)
