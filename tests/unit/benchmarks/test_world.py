"""The benchmark runs and tells everything it measures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PROTOCOLS = ["iec104", "in_process"]
SPEED = ("simulated s", "cycles", "wall s", "worst s", "x real time", "ms/cycle", "x solve", "x idle")
SHARES = ("solver", "mosaik", "protocol", "field", "control room", "recording", "rest")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What ``--quick`` prints, and the figures it writes."""
    file = tmp_path_factory.mktemp("benchmark") / "figures.json"
    command = [sys.executable, "-m", "benchmarks.world", "--quick", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(file.read_text(encoding="utf-8"))


def test_quick__prints_every_column_in_full(quick: tuple[str, dict[str, Any]]) -> None:
    told, _ = quick
    for column in ("scenario", "protocol", "runs", *SPEED, *SHARES, "imports s", "preparation s"):
        assert column in told, column
    for protocol in PROTOCOLS:
        assert told.count(protocol) == 2, "a row in each of the two tables of runs"
    assert "…" not in told, "nothing is cut"


def test_json__holds_the_figures_of_both_protocols(quick: tuple[str, dict[str, Any]]) -> None:
    _, data = quick
    assert [figures["protocol"] for figures in data["figures"]] == PROTOCOLS
    assert data["idle_world_ms"] > 0
    for figures in data["figures"]:
        assert figures["simulated_s"] == 20
        assert figures["cycles"] > 20
        assert figures["ms_per_cycle"] == pytest.approx(figures["wall_s"] * 1000 / figures["cycles"], rel=0.01)
        assert sum(figures["shares"].values()) == pytest.approx(1.0, abs=0.01)
        assert figures["times_solve"] > 1, "a cycle cannot cost less than its own power flow"
