"""The fuzzer in its quick mode; ``make fuzz`` runs it with ten million inputs."""

from __future__ import annotations

from benchmarks import fuzz_iec104 as fuzzer


def test_fuzz__finds_nothing_in_a_few_thousand_inputs() -> None:
    outcome = fuzzer.fuzz(4_000, seed=2026)
    assert outcome.inputs == 4_000
    assert outcome.decoded > 1_000
    assert outcome.malformed > 1_000
    assert outcome.sessions_closed > 100
