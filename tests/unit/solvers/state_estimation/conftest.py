"""Makes the helpers of these tests importable as ``estimation_dense`` and ``estimation_cases``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

for _file in ("dense", "cases"):
    _name = f"estimation_{_file}"
    if _name not in sys.modules:
        _spec = importlib.util.spec_from_file_location(_name, Path(__file__).with_name(f"{_file}.py"))
        _module = importlib.util.module_from_spec(_spec)
        sys.modules[_name] = _module
        _spec.loader.exec_module(_module)
