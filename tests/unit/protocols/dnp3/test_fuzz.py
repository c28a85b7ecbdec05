"""The fuzzer in a quick mode; ``make fuzz`` runs it with ten million inputs."""

from __future__ import annotations

import pytest

from benchmarks import fuzz_dnp3 as fuzzer


@pytest.mark.parametrize("seed", [1, 2])
def test_fuzz__no_crash_hang_or_disturbance(seed: int) -> None:
    outcome = fuzzer.fuzz(4_000, seed)
    assert outcome.decoded > 500
    assert outcome.malformed > 500
    assert outcome.slowest_s < 5.0
