"""Scenario files run as tests, by a pytest of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from simulators.pytest_plugin import is_scenario

Run = Callable[..., subprocess.CompletedProcess[str]]

SCENARIO = """\
# two seconds of nothing
scenario: 1
name: tiny
network: cigre_mv
start: 2026-01-15T18:00:00Z
duration: 2 s
stations: {default: {protocol: in_process}}
expect:
  - {id: supplied, always: "customers_interrupted == 0"}
"""
FAILING = SCENARIO + '  - {id: dark, at: 1 s, that: "customers_interrupted > 0"}\n'
WRONG = SCENARIO.replace("cigre_mv", "cigre_mw")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Writes files into a folder and runs pytest there."""

    def pytest_on(files: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        for name, text in files.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir=.", "-v"]
        return subprocess.run(
            [*command, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )

    return pytest_on


def test_plugin__runs_each_scenario_and_tells_what_did_not_hold(run: Run, tmp_path: Path) -> None:
    files = {"good.yaml": SCENARIO, "dark.yml": FAILING, "wrong.yaml": WRONG, "other.yaml": "services: {}\n"}
    done = run(files, "--scenario-results", "out")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "good.yaml::good PASSED" in done.stdout
    assert "dark.yml::dark FAILED" in done.stdout
    assert "wrong.yaml::wrong FAILED" in done.stdout
    assert "2 failed, 1 passed" in done.stdout
    assert "other.yaml" not in done.stdout
    assert "dark: at 1 s: customers_interrupted > 0: customers_interrupted was 0 at 00:00:01.000" in done.stdout
    assert "there is no network cigre_mw; did you mean cigre_mv" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert (tmp_path / "out" / "good" / "journal.jsonl").is_file()
    assert (tmp_path / "out" / "dark" / "report.html").is_file()
    assert str(tmp_path / "out" / "dark" / "report.html") in done.stdout or "out/dark/report.html" in done.stdout


def test_plugin__collects_scenarios_without_running_them(run: Run, tmp_path: Path) -> None:
    done = run({"good.yaml": SCENARIO}, "--collect-only")
    assert done.returncode == 0
    assert "<ScenarioFile good.yaml>" in done.stdout
    assert "<ScenarioItem good>" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["good.yaml"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.yaml", "scenario: 1\n", True),
        ("a.yml", "---\n# words\n\nscenario: 2\n", True),
        ("a.json", "scenario: 1\n", False),
        ("a.yaml", "name: x\nscenario: 1\n", False),
        ("a.yaml", "", False),
        ("a.yaml", "# scenario: 1\n", False),
        ("a.yaml", "\xff\xfe", False),
    ],
)
def test_scenario_file__is_known_by_its_first_key(tmp_path: Path, name: str, text: str, expected: bool) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="latin-1")
    assert is_scenario(path) is expected
