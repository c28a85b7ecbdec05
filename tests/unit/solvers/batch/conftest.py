"""Makes the random networks of the sweep's tests importable as ``sweep_networks`` (test folders are no packages)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if "sweep_networks" not in sys.modules:
    _spec = importlib.util.spec_from_file_location(
        "sweep_networks", Path(__file__).parents[1] / "sweep" / "networks.py"
    )
    assert _spec is not None
    assert _spec.loader is not None
    _module = importlib.util.module_from_spec(_spec)
    sys.modules["sweep_networks"] = _module
    _spec.loader.exec_module(_module)
