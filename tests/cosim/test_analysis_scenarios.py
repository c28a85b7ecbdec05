"""State estimation and load flow in whole runs: shipped scenarios, determinism, snapshots, what the report tells."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from cosim_worlds import run

SCENARIOS = Path(__file__).parents[2] / "scenarios"


def text(name: str) -> str:
    return (SCENARIOS / f"{name}_cigre_mv.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["state_estimation_calm", "load_flow_calm", "load_flow_lying_meter"])
def test_shipped_scenario__holds_in_process(name: str, tmp_path: Path) -> None:
    ran = run(tmp_path, text(name), protocol="in_process")
    assert ran.passed() == dict.fromkeys(ran.passed(), True)
    assert ran.code == 0


def test_wrong_measurement__same_journal_over_iec104_and_in_the_report(tmp_path: Path) -> None:
    over = run(tmp_path, text("state_estimation_wrong_measurement"), name="iec104", report=True)
    beside = run(tmp_path, text("state_estimation_wrong_measurement"), name="memory", protocol="in_process")
    assert over.passed() == dict.fromkeys(over.passed(), True)
    assert over.without("session") == beside.without("session")
    page = (over.folder / "report.html").read_text(encoding="utf-8")
    assert "What the applications found" in page
    assert "CB_1.p_kw reads" in page


def test_snapshot__continues_with_the_rest_of_the_journal(tmp_path: Path) -> None:
    both = text("state_estimation_wrong_measurement").replace(
        "applications:\n", "applications:\n  load_flow: {mode: advisory, period: 20 s, load_scale: 90 %}\n"
    )
    whole = run(tmp_path, both, name="whole", protocol="in_process", snapshot_at=(75_000,))
    snapshot = whole.result.snapshots[75_000]
    rest = run(tmp_path, both, name="rest", protocol="in_process", continue_from=snapshot)
    from_ms = json.loads(snapshot)["next_ms"]
    after = [row for row in whole.rows if row["t_ms"] >= from_ms]
    assert rest.rows == after
    assert any(row["kind"] == "finding" for row in after)
    samples = [pq.read_table(ran.folder / "samples.parquet").to_pydict() for ran in (whole, rest)]
    start = samples[0]["t_ms"].index(samples[1]["t_ms"][0])
    assert {name: values[start:] for name, values in samples[0].items()} == samples[1]
