"""Reading a results folder, whole and damaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from twin.report.results import (
    ResultsGarbledError,
    ResultsMissingError,
    read_grid,
    read_results,
    read_run,
    read_samples,
)


def test_results__whole_folder_is_read_without_findings(cigre_run: Path) -> None:
    results = read_results(cigre_run)
    assert results.findings == ()
    assert results.run.scenario == "flisr-permanent-fault-on-feeder-1"
    assert [v.passed for v in results.run.verdicts] == [True, True, True, True, False]
    assert results.grid is not None
    assert len(results.grid.nodes) == 15
    assert results.samples is not None
    assert results.samples.columns["customers_interrupted"].max() == 1233
    assert np.isnan(results.samples.columns["TIE_1.i_a"][0])
    assert results.end_ms == 600_000


def test_results__no_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ResultsMissingError, match="nowhere is not a folder of results"):
        read_results(tmp_path / "nowhere")


def test_results__empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsMissingError, match=r"holds none of the files of a run"):
        read_results(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "journal.jsonl", "samples.parquet", "grid.json", "scenario.yaml"])
def test_results__missing_file_is_a_finding_that_names_it(cigre_run: Path, name: str) -> None:
    (cigre_run / name).unlink()
    assert read_results(cigre_run).findings == (f"{name} is missing",)


@pytest.mark.parametrize("name", ["run.json", "samples.parquet", "grid.json"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_results__cut_file_is_a_finding_that_names_it(cigre_run: Path, name: str, share: float) -> None:
    whole = (cigre_run / name).read_bytes()
    (cigre_run / name).write_bytes(whole[: int(share * len(whole))])
    (finding,) = read_results(cigre_run).findings
    assert finding.startswith(name)
    assert "is cut or not" in finding


def test_results__run_without_summary_is_broken_and_keeps_the_journalled_verdicts(cigre_run: Path) -> None:
    (cigre_run / "run.json").unlink()
    run = read_results(cigre_run).run
    assert run.status == "broken"
    assert "run.json is missing" in run.message
    assert sorted(v.id for v in run.verdicts if v.passed) == ["loading", "on-fault", "restored", "trip"]


def test_results__garbled_journal_lines_are_findings_with_their_number(cigre_run: Path) -> None:
    path = cigre_run / "journal.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[2] = '{"t_ms":1'
    lines[4] = '{"t_ms":"soon","source":"a","kind":"b","subject":"c"}'
    path.write_text("\n".join(lines), encoding="utf-8")
    results = read_results(cigre_run)
    assert results.findings == (
        "journal.jsonl, line 3 is cut or not JSON",
        "journal.jsonl, line 5 is not a journal entry (t_ms, source, kind, subject)",
    )
    assert len(results.journal) == len(lines) - 2


def test_results__json_error_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{\n "scenario": "a",\n "seed" 4\n}', encoding="utf-8")
    with pytest.raises(ResultsGarbledError) as caught:
        read_run(path)
    assert (caught.value.file, caught.value.line) == ("run.json", 3)


def test_results__number_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"wall_s": "long"}', encoding="utf-8")
    with pytest.raises(ResultsGarbledError, match=r"run\.json has wall_s = 'long', which is not a number"):
        read_run(path)


def test_results__grid_names_what_does_not_fit(cigre_run: Path) -> None:
    path = cigre_run / "grid.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    for change, said in (
        ({"branches": [{"name": "L9", "from": "N1", "to": "N99"}]}, "L9 has its to at N99"),
        ({"states": [{"label": "before", "closed": [True]}]}, "state before whose closed does not have 30 values"),
        ({"switches": [{"name": "S", "node": "N1", "branch": None}]}, "switch S that leads nowhere"),
    ):
        path.write_text(json.dumps(whole | change), encoding="utf-8")
        with pytest.raises(ResultsGarbledError, match=said):
            read_grid(path)


def test_results__samples_without_time_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"v_pu": [1.0]}), tmp_path / "samples.parquet")
    with pytest.raises(ResultsGarbledError, match="has no column t_ms"):
        read_samples(tmp_path / "samples.parquet")
