"""What the machine may refuse: ports, folders, disk space. One sentence, the exit code, and the records kept."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from cosim_worlds import FAULT, CommandLine, bound_port, lines_of, run, sample_rows, scenario, start_twin

from simulators import preparation
from twin.errors import ExitCode
from twin.report import read_results

# -- ports --------------------------------------------------------------------------------------------------------


def test_port_in_use__names_station_address_and_port(tmp_path: Path) -> None:
    listener, port = bound_port("127.21.0.3")
    with listener:
        text = scenario(stations=f"RTU_3: {{address: 127.21.0.3, port: {port}}}")
        ran = run(tmp_path, text, report=True)
    assert ran.code == ExitCode.USAGE
    assert ran.result.message == f"station RTU_3 cannot listen on 127.21.0.3:{port}: address already in use"
    assert json.loads((ran.folder / "run.json").read_text())["message"] == ran.result.message
    assert "address already in use" in (ran.folder / "report.html").read_text()


def test_address_of_another_machine__says_so(tmp_path: Path) -> None:
    ran = run(tmp_path, scenario(stations="RTU_3: {address: 198.51.100.7, port: 2404}"))
    assert ran.code == ExitCode.USAGE
    assert ran.result.message == "station RTU_3 cannot listen on 198.51.100.7:2404: cannot assign requested address"


def test_same_port_at_every_station__listens_at_an_address_each(tmp_path: Path) -> None:
    listener, port = bound_port("127.0.0.1")
    listener.close()
    ran = run(tmp_path, scenario(duration="2 s", default=f"port: {port}"))
    assert ran.code == ExitCode.PASSED
    where = json.loads((ran.folder / "run.json").read_text())["endpoints"]
    assert len(set(where.values())) == len(where) > 10
    assert {place.rpartition(":")[2] for place in where.values()} == {str(port)}


# -- folders ------------------------------------------------------------------------------------------------------


def test_out_is_a_file__usage_error(twin: CommandLine) -> None:
    twin.write(scenario())
    twin.write("keep me", "taken")
    assert twin("run", "scenario.yaml", "--out", "taken") == ExitCode.USAGE
    assert "taken" in twin.err
    assert Path("taken").read_text() == "keep me"


def test_out_below_a_file__usage_error(twin: CommandLine) -> None:
    twin.write(scenario())
    twin.write("keep me", "taken")
    assert twin("run", "scenario.yaml", "--out", "taken/results") == ExitCode.USAGE
    assert twin.sentences == ["error: the results cannot be put into taken/results: not a directory"]


def test_out_that_takes_no_files__usage_error(twin: CommandLine) -> None:
    twin.write(scenario())
    assert twin("run", "scenario.yaml", "--out", "/proc/results") == ExitCode.USAGE
    assert len(twin.sentences) == 1
    assert twin.sentences[0].startswith("error: the results cannot be put into /proc/results: ")


def test_folder_used_again__no_trace_of_the_earlier_run(tmp_path: Path) -> None:
    good = run(tmp_path, scenario(duration="2 s"), report=True, protocol="in_process")
    assert (good.folder / "report.html").is_file()
    again = run(tmp_path, scenario("{at: 1 s, load: {consumer: all, scale: 2000 %}}"), protocol="in_process")
    assert again.code == ExitCode.BROKEN
    assert not (again.folder / "report.html").exists()
    assert json.loads((again.folder / "run.json").read_text())["status"] == "broken"


# -- a full disk --------------------------------------------------------------------------------------------------


def limit_files(octets: int) -> None:
    """No file of this process may grow longer."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, octets))


def test_file_that_cannot_grow__names_it_and_keeps_whole_lines(tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text(scenario(FAULT, default="protocol: in_process"))
    process = start_twin(tmp_path, "run", "scenario.yaml", "--out", "results", prepare=partial(limit_files, 20_000))
    assert process.wait() == ExitCode.BROKEN
    said = " ".join(process.out.split())
    assert "cannot write results/journal.jsonl: file too large; what was recorded until then is kept" in said
    rows = list(lines_of(tmp_path / "results" / "journal.jsonl"))
    assert len(rows) > 40
    assert 15_000 < (tmp_path / "results" / "journal.jsonl").stat().st_size <= 20_000
    assert sample_rows(tmp_path / "results") > 5
    assert json.loads((tmp_path / "results" / "run.json").read_text())["status"] == "broken"
    assert process.err == ""


FULL_DISK = """
mount -t tmpfs -o size={size}k tmpfs small || exit 77
{twin} run scenario.yaml --out small/results
code=$?
cp -r small/results kept
exit $code
"""


def test_full_disk__keeps_what_was_recorded(tmp_path: Path) -> None:
    if not shutil.which("unshare"):
        pytest.skip("unshare is not installed")
    (tmp_path / "small").mkdir()
    (tmp_path / "scenario.yaml").write_text(scenario(FAULT, default="protocol: in_process"))
    script = FULL_DISK.format(size=32, twin=Path(sys.executable).with_name("twin"))
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", script]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    if ended.returncode in (1, 77) and not (tmp_path / "kept").exists():
        pytest.skip(f"no file system can be mounted here: {ended.stderr.strip()}")
    assert ended.returncode == ExitCode.BROKEN
    said = " ".join(ended.stdout.split())
    assert "cannot write small/results/" in said
    assert "no space left on device; what was recorded until then is kept" in said
    assert len(list(lines_of(tmp_path / "kept" / "journal.jsonl"))) > 20
    kept = read_results(tmp_path / "kept")
    assert kept.journal
    assert not list((tmp_path / "kept").glob("*.part"))


def test_cut_samples__the_reader_says_so(tmp_path: Path) -> None:
    ran = run(tmp_path, scenario(duration="2 s"), protocol="in_process")
    path = ran.folder / "samples.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    findings = [str(finding) for finding in read_results(ran.folder).findings]
    assert len(findings) == 1
    assert "samples.parquet" in findings[0]


def test_profile_that_goes_missing__one_sentence(twin: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    twin.write(scenario(extra="plant: {loads: {profile: none.csv}}"))
    monkeypatch.setattr(preparation, "resolve", lambda *_: [])
    assert twin("validate", "scenario.yaml") == ExitCode.USAGE
    assert len(twin.sentences) == 1
    assert "none.csv" in twin.err
