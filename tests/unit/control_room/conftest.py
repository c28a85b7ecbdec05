"""Makes the helpers of these tests importable as ``control_room_...`` (test folders are no packages)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

for _name in ("bench", "plant"):
    if f"control_room_{_name}" not in sys.modules:
        _spec = importlib.util.spec_from_file_location(f"control_room_{_name}", Path(__file__).with_name(f"{_name}.py"))
        _module = importlib.util.module_from_spec(_spec)
        sys.modules[f"control_room_{_name}"] = _module
        _spec.loader.exec_module(_module)

from control_room_bench import Bench  # noqa: E402


@pytest.fixture
def bench() -> Bench:
    """Everything up and calm, FLISR automatic."""
    return Bench(flisr_mode="automatic").start()
