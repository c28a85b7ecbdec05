"""Makes the toy of these tests importable as ``scada_toy`` (test folders are no packages)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

if "scada_toy" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("scada_toy", Path(__file__).with_name("toy.py"))
    _toy = importlib.util.module_from_spec(_spec)
    sys.modules["scada_toy"] = _toy
    _spec.loader.exec_module(_toy)

from scada_toy import Rig


@pytest.fixture
def rig() -> Rig:
    """A SCADA core with all sessions up and the normal image taken over."""
    return Rig().start()
