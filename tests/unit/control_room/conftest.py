"""Makes the bench of these tests importable as ``control_room_bench`` (test folders are no packages)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

if "control_room_bench" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("control_room_bench", Path(__file__).with_name("bench.py"))
    _bench = importlib.util.module_from_spec(_spec)
    sys.modules["control_room_bench"] = _bench
    _spec.loader.exec_module(_bench)

from control_room_bench import Bench


@pytest.fixture
def bench() -> Bench:
    """Everything up and calm, FLISR automatic."""
    return Bench(flisr_mode="automatic").start()
