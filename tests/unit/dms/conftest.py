"""Makes the toys of these tests importable as ``dms_toy`` (test folders are no packages)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if "dms_toy" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("dms_toy", Path(__file__).with_name("toy.py"))
    _toy = importlib.util.module_from_spec(_spec)
    sys.modules["dms_toy"] = _toy
    _spec.loader.exec_module(_toy)
