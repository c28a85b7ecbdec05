"""Makes the helpers of these tests importable as ``dms_toy`` and ``dms_telemetry`` (test folders are no packages)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

for _name in ("toy", "telemetry"):
    if f"dms_{_name}" not in sys.modules:
        _spec = importlib.util.spec_from_file_location(f"dms_{_name}", Path(__file__).with_name(f"{_name}.py"))
        _module = importlib.util.module_from_spec(_spec)
        sys.modules[f"dms_{_name}"] = _module
        _spec.loader.exec_module(_module)
