"""The fuzzer in a quick mode; ``make fuzz`` runs it with ten million inputs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("fuzz_dnp3", Path(__file__).parents[4] / "benchmarks/fuzz_dnp3.py")
assert _spec is not None
assert _spec.loader is not None
fuzzer = sys.modules["fuzz_dnp3"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fuzzer)


@pytest.mark.parametrize("seed", [1, 2])
def test_fuzz__no_crash_hang_or_disturbance(seed: int) -> None:
    outcome = fuzzer.fuzz(4_000, seed)
    assert outcome.decoded > 500
    assert outcome.malformed > 500
    assert outcome.slowest_s < 5.0
