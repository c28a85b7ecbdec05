"""A run continued from a snapshot goes on as the one that left it; anything else is refused with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cosim_worlds import FAULT, CommandLine, Ran, run, scenario

from twin.errors import ExitCode

PROTOCOLS = ("iec104", "in_process")
TRANSIENT = "{at: 3 s, id: arc, fault: {line: L13-14, permanent: false, extinguishes_after: 100 ms}}"
STORY = scenario(
    FAULT,
    TRANSIENT,
    "{at: 6 s, comms loss: {station: RTU_9, for: 8 s}}",
    "{at: 7 s, local: {switch: LBS_6-7}}",
    '{when: "CB_1.position == open", after: 1 s, call: {from: N8}}',
    duration="26 s",
    default="latency: 80 ms, jitter: 20 ms, loss: 2 %",
    flisr="mode: automatic, max_loading: 110 %",
    extra="\n".join(
        [
            "plant: {loads: {noise: 3 %}}",
            "expect:",
            '  - {id: all, within: 20 s of fault1, that: "customers_interrupted == 0"}',
            '  - {id: trips, count: "CB_1.position == open", equals: 1}',
            '  - {id: never, never: "closed_onto_fault"}',
        ]
    ),
)
MOMENTS = {
    "first cycle": 0,
    "interrogation": 100,
    "before the fault": 4_000,
    "fault on": 5_100,
    "breaker opening": 5_640,
    "cut off": 6_000,
    "settling": 8_000,
    "planned": 10_700,
    "select sent": 10_800,
    "switch moving": 11_000,
    "mid-plan": 12_000,
    "reconnected": 15_000,
    "afterwards": 20_000,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """The run that leaves the snapshots, over each protocol."""
    folder, moments = tmp_path_factory.mktemp("whole"), tuple(MOMENTS.values())
    return {name: run(folder, STORY, name=name, protocol=name, snapshot_at=moments) for name in PROTOCOLS}


def test_run_with_snapshots__same_as_one_without(whole: dict[str, Ran], tmp_path: Path) -> None:
    assert run(tmp_path, STORY).journal == whole["iec104"].journal
    assert set(whole["iec104"].result.snapshots) == set(MOMENTS.values())
    assert whole["iec104"].of("fault_cleared", by="extinguished")
    assert whole["iec104"].of("plan")
    assert whole["iec104"].without("session") == whole["in_process"].without("session")


def goes_on(whole: Ran, protocol: str, moment: str, folder: Path) -> None:
    """The continued run writes the rest of the journal and comes to the same verdicts."""
    snapshot = whole.result.snapshots[MOMENTS[moment]]
    rest = run(folder, STORY, name=moment, protocol=protocol, continue_from=snapshot)
    lines, continued = whole.journal.splitlines(), rest.journal.splitlines()
    before = lines[: len(lines) - len(continued)]
    assert continued == lines[len(before) :]
    assert all(json.loads(line)["t_ms"] < json.loads(snapshot)["next_ms"] for line in before)
    assert rest.result.verdicts == whole.result.verdicts
    assert rest.result.cycles == whole.result.cycles


@pytest.mark.parametrize("moment", MOMENTS)
def test_continued_over_iec104__rest_of_the_journal(whole: dict[str, Ran], moment: str, tmp_path: Path) -> None:
    goes_on(whole["iec104"], "iec104", moment, tmp_path)


@pytest.mark.parametrize("moment", ["interrogation", "cut off", "select sent", "mid-plan"])
def test_continued_in_process__rest_of_the_journal(whole: dict[str, Ran], moment: str, tmp_path: Path) -> None:
    goes_on(whole["in_process"], "in_process", moment, tmp_path)


def test_continued_over_the_command_line__from_the_file_that_was_left(twin: CommandLine) -> None:
    twin.write(scenario(FAULT, duration="9 s", default="protocol: in_process"))
    assert twin("run", "scenario.yaml", "--out", "a", "--snapshot-at", "6 s") == ExitCode.PASSED
    assert twin("run", "scenario.yaml", "--out", "b", "--from", "a/snapshot-6000.json") == ExitCode.PASSED
    whole, rest = Path("a/journal.jsonl").read_bytes(), Path("b/journal.jsonl").read_bytes()
    assert whole.endswith(rest)
    assert b"location" not in rest
    assert twin("run", "scenario.yaml", "--out", "c", "--from", "a/nowhere.json") == ExitCode.USAGE


def test_longer_run__may_continue(tmp_path: Path) -> None:
    short = run(tmp_path, scenario(FAULT, duration="9 s"), name="short", snapshot_at=(8_000,))
    long = run(tmp_path, scenario(FAULT, duration="20 s"), name="long")
    rest = run(tmp_path, scenario(FAULT, duration="20 s"), name="rest", continue_from=short.result.snapshots[8_000])
    assert long.journal.endswith(rest.journal)
    assert rest.of("plan", outcome="done")


# -- what is no snapshot of this scenario -------------------------------------------------------------------------

SHORT = {"duration": "3 s", "default": "protocol: in_process"}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Of a short run."""
    ran = run(tmp_path_factory.mktemp("short"), scenario(**SHORT), snapshot_at=(1_000,))
    return ran.result.snapshots[1_000]


GARBAGE = {
    b"": "this is no snapshot of a world: it is not JSON",
    b"\x00\xff\xfe": "this is no snapshot of a world: it is not JSON",
    b"[1, 2]": "this is no snapshot of a world: it holds something else",
    b'{"version": 2}': "this is no snapshot of a world: it holds something else",
    b'{"version": 1, "made_of": {}, "simulators": {}}': "the snapshot was made by another version of the twin",
}


@pytest.mark.parametrize("content", GARBAGE)
def test_garbage__usage_error_and_no_folder(twin: CommandLine, content: bytes) -> None:
    twin.write(scenario(**SHORT))
    twin.write(content, "state.json")
    assert twin("run", "scenario.yaml", "--out", "results", "--from", "state.json") == ExitCode.USAGE
    assert twin.sentences == [f"error: {GARBAGE[content]}"]
    assert not Path("results").exists()


OTHERS = {
    "name": (
        scenario(name="another", **SHORT),
        "the snapshot is of the scenario whole-run, not of another",
    ),
    "network": (
        scenario(network="pandapower:create_cigre_network_mv", **SHORT),
        "the snapshot does not fit: since it was made, the scenario has other network",
    ),
    "events": (
        scenario(FAULT.replace("5 s", "2 s"), **SHORT),
        "the snapshot does not fit: since it was made, the scenario has other events",
    ),
    "protocol": (
        scenario(duration="3 s", default="protocol: iec104"),
        "the snapshot does not fit: since it was made, the scenario has other stations, protocols",
    ),
}


@pytest.mark.parametrize("other", OTHERS)
def test_snapshot_of_another_scenario__says_what_differs(twin: CommandLine, snapshot: bytes, other: str) -> None:
    text, sentence = OTHERS[other]
    twin.write(text)
    twin.write(snapshot, "state.json")
    assert twin("run", "scenario.yaml", "--out", "results", "--from", "state.json") == ExitCode.USAGE
    assert len(twin.sentences) == 1
    assert sentence in twin.sentences[0]
    assert not Path("results").exists()
