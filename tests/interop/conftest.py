"""Makes the benches of these tests importable by their names (test folders are no packages)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

for _name in ("c104_bench", "capture_bench", "namespace_bench"):
    _path = Path(__file__).with_name(f"{_name}.py")
    if _name not in sys.modules and _path.exists():
        _spec = importlib.util.spec_from_file_location(_name, _path)
        _module = importlib.util.module_from_spec(_spec)
        sys.modules[_name] = _module
        _spec.loader.exec_module(_module)
