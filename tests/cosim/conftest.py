"""Makes the helpers of these tests importable as ``cosim_worlds`` and ``cosim_live`` (test folders are no packages)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

for _name, _file in (("cosim_worlds", "worlds.py"), ("cosim_live", "live_worlds.py")):
    if _name not in sys.modules:
        _spec = importlib.util.spec_from_file_location(_name, Path(__file__).with_name(_file))
        _module = importlib.util.module_from_spec(_spec)
        sys.modules[_name] = _module
        _spec.loader.exec_module(_module)

from cosim_worlds import CommandLine  # noqa: E402


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
