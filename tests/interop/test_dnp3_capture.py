"""A run over DNP3 as tshark sees it: every octet decoded, nothing malformed, values and times those of the journal."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from capture_bench import LIMIT_S, capturing, free_port

from simulators.preparation import prepare
from simulators.runner import RunOptions, run_prepared
from twin.errors import ExitCode

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed"),
]

SCENARIO = """
scenario: 1
name: captured
network: cigre_mv
start: 2026-01-15T18:00:00Z
duration: 75 s
seed: 42
applications:
  flisr: {{mode: automatic}}
stations:
  default: {{protocol: dnp3, latency: 80 ms, port: {port}}}
events:
  - {{at: 60 s, id: fault1, fault: {{line: L3-8, kind: phase-to-phase, permanent: true}}}}
expect:
  - {{id: restored, within: 14 s of fault1, that: "customers_interrupted == 0"}}
"""
START_MS = int(datetime(2026, 1, 15, 18, 0, tzinfo=UTC).timestamp() * 1000)


@dataclass(frozen=True)
class Run:
    """A captured run: what tshark prints, and the journal."""

    file: Path
    port: int
    journal: list[dict[str, Any]]

    def read(self, *arguments: str) -> str:
        command = ["tshark", "-r", str(self.file), "-d", f"tcp.port=={self.port},dnp3", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    def fields(self, shown: str, *names: str) -> list[list[str]]:
        wanted = [word for name in names for word in ("-e", name)]
        text = self.read("-Y", shown, "-T", "fields", "-E", "aggregator=;", *wanted)
        return [line.split("\t") for line in text.splitlines()]


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("dnp3")
    port = free_port()
    text = SCENARIO.format(port=port)
    (folder / "captured.yaml").write_text(text, encoding="utf-8")
    with capturing(port, folder / "capture.pcapng") as capture:
        result = run_prepared(prepare(folder / "captured.yaml"), RunOptions(out=folder / "results", report=False))
        assert result.exit_code is ExitCode.PASSED, result.message
        assert capture.probe(LIMIT_S)
    lines = (folder / "results" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return Run(folder / "capture.pcapng", port, [json.loads(line) for line in lines])


def test_frames__are_none_of_them_malformed(captured: Run) -> None:
    assert captured.read("-Y", "_ws.malformed || _ws.expert.severity >= 0x00800000") == ""
    assert len(captured.fields("dnp3", "frame.number")) > 100


def test_crcs__are_all_right(captured: Run) -> None:
    assert captured.read("-Y", "dnp3.hdr.CRC.incorrect || dnp3.data_chunk.CRC.incorrect") == ""


def test_start__of_each_station_in_order(captured: Run) -> None:
    functions: dict[str, list[str]] = {}
    for address, function in captured.fields(
        f"tcp.dstport == {captured.port} && dnp3.al.func", "ip.dst", "dnp3.al.func"
    ):
        functions.setdefault(address, []).extend(function.split(";"))
    assert len(functions) == 15
    for said in functions.values():
        requests = [f for f in said if f != "0"]
        assert requests[:4] == ["21", "2", "1", "20"], "disable, clear restart, integrity poll, enable"


def test_double_point_events__carry_values_and_times_of_the_journal(captured: Run) -> None:
    noted = sorted(
        e["source_t_ms"]
        for e in captured.journal
        if e["source"] == "control_room" and e["kind"] == "event" and e["point"].endswith(".position")
    )
    stamps = captured.fields("dnp3.al.obj == 0x0402", "dnp3.al.timestamp")
    times = sorted({_ms(text) for row in stamps for text in row[0].split(";") if text})
    assert set(noted) <= set(times)
    assert len(noted) > 4


def _ms(text: str) -> int:
    """``Jan 15, 2026 18:01:00.123000000 UTC`` as simulation time."""
    head, _, fraction = text.replace(" UTC", "").partition(".")
    at = datetime.strptime(head, "%b %d, %Y %H:%M:%S").replace(tzinfo=UTC)
    return round(at.timestamp()) * 1000 + int(fraction[:3]) - START_MS


def test_commands__are_selected_and_operated_in_this_order(captured: Run) -> None:
    confirmed = [
        e["action"]
        for e in captured.journal
        if e["source"] == "control_room" and e["kind"] == "command" and e["phase"] == "confirmed"
    ]
    assert confirmed == ["open", "open", "close", "close"]
    sent = captured.fields(f"tcp.dstport == {captured.port} && dnp3.al.func in {{3, 4}}", "dnp3.al.func")
    assert [row[0] for row in sent] == ["3", "4"] * 4
    answered = captured.fields(f"tcp.srcport == {captured.port} && dnp3.al.ctrlstatus", "dnp3.al.ctrlstatus")
    assert [row[0] for row in answered] == ["0"] * 8
