"""Ctrl-C and SIGTERM: the run ends with its cycle, the report says so, and nothing stays behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cosim_worlds import TwinProcess, lines_of, sample_rows, scenario, start_twin

from twin.errors import ExitCode

BLINKING = (
    '{when: "LBS_6-7.position == closed", after: 2 s, operate: {switch: LBS_6-7, to: open}}',
    '{when: "LBS_6-7.position == open", after: 2 s, operate: {switch: LBS_6-7, to: closed}}',
)


def wait_until(process: TwinProcess, happened: Callable[[], bool]) -> None:
    """Wait for something that the process does to its results folder; fail if it ends before."""
    while not happened():
        try:
            process.process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(process.process.communicate())


def started(folder: Path) -> Callable[[], bool]:
    """Whether the control room has dialled the stations, in the first cycle."""
    journal = folder / "results" / "journal.jsonl"
    return lambda: journal.exists() and b'"connected"' in journal.read_bytes()


@pytest.mark.parametrize(
    ("number", "speed"),
    [(signal.SIGINT, "1"), (signal.SIGINT, "0"), (signal.SIGTERM, "0.0001")],
    ids=["ctrl-c-paced", "ctrl-c-fast", "sigterm-slow"],
)
def test_first_signal__ends_the_run_with_its_records(tmp_path: Path, number: int, speed: str) -> None:
    (tmp_path / "scenario.yaml").write_text(scenario(*BLINKING, duration="24 h", extra="step: 100 ms"))
    process = start_twin(tmp_path, "run", "scenario.yaml", "--out", "results", "--speed", speed)
    wait_until(process, started(tmp_path))
    process.interrupt(number)
    assert process.wait() == ExitCode.INTERRUPTED
    assert process.err == ""
    results = tmp_path / "results"
    told = json.loads((results / "run.json").read_text())
    assert (told["status"], told["exit_code"]) == ("interrupted", ExitCode.INTERRUPTED)
    assert told["message"].startswith("the run was interrupted at 00:")
    assert told["message"].endswith("what was recorded until then is kept")
    assert "interrupted" in " ".join(process.out.split())
    assert "interrupted" in (results / "report.html").read_text()
    assert sample_rows(results) == told["steps"] > 0
    assert all(row["t_ms"] <= told["simulated_ms"] for row in lines_of(results / "journal.jsonl"))


STUCK = """
import threading
from pathlib import Path
from simulators.recorder import RecorderSimulator
from twin.cli import main

cycle = RecorderSimulator.cycle


def stuck(self, now, received):
    done = cycle(self, now, received)
    if now >= 2000:
        Path("stuck").touch()
        threading.Event().wait()
    return done


RecorderSimulator.cycle = stuck
main(["run", "scenario.yaml", "--out", "results"])
"""


def test_second_signal__ends_a_stuck_run_at_once(tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text(scenario())
    command = [sys.executable, "-c", STUCK]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = TwinProcess(subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **pipes))
    wait_until(process, (tmp_path / "stuck").exists)
    process.interrupt()
    with pytest.raises(subprocess.TimeoutExpired):
        process.process.wait(0.3)
    process.interrupt()
    assert process.wait() == ExitCode.INTERRUPTED
    assert process.err == ""
    told = json.loads((tmp_path / "results" / "run.json").read_text())
    assert (told["status"], told["simulated_ms"]) == ("interrupted", 2_000)
    assert (tmp_path / "results" / "report.html").is_file()
