"""Results folders for the tests of the report."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

NAME = "twin_report_fake_run"


def load_fake_run() -> ModuleType:
    """The generator beside this file (test folders are no packages)."""
    if NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(NAME, Path(__file__).with_name("fake_run.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[NAME] = module
        spec.loader.exec_module(module)
    return sys.modules[NAME]


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    return load_fake_run()


@pytest.fixture(scope="session")
def cigre_original(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake.write_cigre_run(tmp_path_factory.mktemp("original") / "cigre")


@pytest.fixture
def cigre_run(cigre_original: Path, tmp_path: Path) -> Path:
    """A copy of its own for each test."""
    return Path(shutil.copytree(cigre_original, tmp_path / "cigre"))


@pytest.fixture(scope="session")
def oberrhein_run(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared: only its reports are written into it."""
    return fake.write_oberrhein_run(tmp_path_factory.mktemp("original") / "oberrhein")
