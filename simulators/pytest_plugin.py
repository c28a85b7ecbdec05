"""Runs scenario files as tests: ``pytest scenarios/flisr_cigre_mv.yaml``.

A YAML file whose first key is ``scenario`` is collected; each of its expectations is judged, and the test fails with
the sentences of those that did not hold. Results go to pytest's temporary folder unless ``--scenario-results`` says
otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from twin.errors import TwinError


class ScenarioFailedError(AssertionError):
    """An expectation of a scenario did not hold, or its run broke."""


class ScenarioItem(pytest.Item):
    """One run of a scenario."""

    def runtest(self) -> None:
        """Run it and judge."""
        from simulators.runner import RunOptions, run_scenario

        result = run_scenario(self.path, RunOptions(out=self._folder()))
        failed = [f"{v.id}: {v.text}: {v.reason}" for v in result.verdicts if not v.passed]
        if result.message:
            failed.append(result.message)
        if failed:
            raise ScenarioFailedError("\n".join([*failed, f"report: {result.report}"]))

    def _folder(self) -> Path:
        base = self.config.getoption("--scenario-results")
        if base:
            return Path(base) / self.path.stem
        factory = self.config._tmp_path_factory  # type: ignore[attr-defined]
        return Path(factory.mktemp(self.path.stem, numbered=True))

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """The sentences, without a traceback, for failures that are not the program's own."""
        if isinstance(excinfo.value, ScenarioFailedError | TwinError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where pytest says the test is."""
        return self.path, 0, f"scenario {self.name}"


class ScenarioFile(pytest.File):
    """A scenario file."""

    def collect(self) -> Iterator[ScenarioItem]:
        """Its one run."""
        yield ScenarioItem.from_parent(self, name=self.path.stem)


def is_scenario(path: Path) -> bool:
    """True for a YAML file whose first key is ``scenario``."""
    if path.suffix not in (".yaml", ".yml"):
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = (line.strip() for line in file)
        first = next((line for line in lines if line and not line.startswith(("#", "---"))), "")
    return first.startswith("scenario:")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the results."""
    group = parser.getgroup("twin scenarios")
    group.addoption("--scenario-results", default="", help="folder for the results of scenario files run as tests")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ScenarioFile | None:
    """Collect scenario files."""
    return ScenarioFile.from_parent(parent, path=file_path) if is_scenario(file_path) else None
