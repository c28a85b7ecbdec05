"""Makes the helpers of these tests importable as ``cosim_worlds`` (test folders are no packages)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

if "cosim_worlds" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("cosim_worlds", Path(__file__).with_name("worlds.py"))
    _worlds = importlib.util.module_from_spec(_spec)
    sys.modules["cosim_worlds"] = _worlds
    _spec.loader.exec_module(_worlds)

from cosim_worlds import CommandLine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here runs whole worlds."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cosim)


@pytest.fixture
def twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command ``twin`` in this process, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return CommandLine(tmp_path, capsys)
