"""The fuzzer in its quick mode; ``make fuzz`` runs it with ten million inputs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_spec = importlib.util.spec_from_file_location("fuzz_iec104", Path(__file__).parents[3] / "benchmarks/fuzz_iec104.py")
assert _spec is not None
assert _spec.loader is not None
fuzzer = sys.modules["fuzz_iec104"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fuzzer)


def test_fuzz__finds_nothing_in_a_few_thousand_inputs() -> None:
    outcome = fuzzer.fuzz(4_000, seed=2026)
    assert outcome.inputs == 4_000
    assert outcome.decoded > 1_000
    assert outcome.malformed > 1_000
    assert outcome.sessions_closed > 100
