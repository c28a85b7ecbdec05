"""Makes the bench of these tests importable as ``iec104_bench`` (test folders are no packages)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if "iec104_bench" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("iec104_bench", Path(__file__).with_name("iec104_bench.py"))
    _bench = importlib.util.module_from_spec(_spec)
    sys.modules["iec104_bench"] = _bench
    _spec.loader.exec_module(_bench)
