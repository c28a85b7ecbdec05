"""``--speed``: paced against the wall clock, with the same journal; ``--overrun fail`` where that cannot be held."""

from __future__ import annotations

import json
from pathlib import Path

from cosim_worlds import CommandLine, lines_of, run, scenario

from simulators.clock import OverrunPolicy
from twin.errors import ExitCode

SHORT = scenario("{at: 1 s, operate: {switch: LBS_6-7, to: open}}", duration="3 s", default="protocol: in_process")

BUSY = scenario("{at: 1 s, operate: {switch: LBS_6-7, to: open}}", duration="20 s", extra="step: 10 ms")


def test_speed__takes_no_less_than_its_time_and_gives_the_same_journal(tmp_path: Path) -> None:
    fast = run(tmp_path, SHORT, name="fast")
    paced = run(tmp_path, SHORT, name="paced", speed=2.0)
    assert paced.code == ExitCode.PASSED
    assert paced.result.wall_s >= 1.5
    assert paced.journal == fast.journal != b""


def test_slip__goes_on_and_counts_the_overruns(tmp_path: Path) -> None:
    ran = run(tmp_path, BUSY, speed=1_000.0, overrun=OverrunPolicy.SLIP)
    assert ran.code == ExitCode.PASSED
    assert json.loads((ran.folder / "run.json").read_text())["overruns"] > 0


def test_overrun_fail__exit_code_6(twin: CommandLine) -> None:
    twin.write(BUSY)
    code = twin("run", "scenario.yaml", "--out", "results", "--speed", 1_000, "--overrun", "fail")
    assert code == ExitCode.DEADLINE_MISSED
    assert "ms late against the wall clock" in " ".join(twin.out.split())
    told = json.loads(Path("results/run.json").read_text())
    assert (told["status"], told["exit_code"]) == ("broken", 6)
    assert told["message"].startswith("the cycle at 00:00:")
    assert list(lines_of(Path("results/journal.jsonl")))
    assert "late against the wall clock" in Path("results/report.html").read_text()


def test_speed_that_is_none__usage_error(twin: CommandLine) -> None:
    twin.write(SHORT)
    for speed in ("-1", "fast", "nan", "1001"):
        assert twin("run", "scenario.yaml", "--speed", speed) == ExitCode.USAGE
        assert "--speed" in twin.err
    assert not Path("results").exists()
