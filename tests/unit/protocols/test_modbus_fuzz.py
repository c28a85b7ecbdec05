"""The fuzzer in its quick mode; ``make fuzz`` runs it with ten million inputs."""

from __future__ import annotations

from benchmarks import fuzz_modbus as fuzzer


def test_fuzz__no_crash_or_disturbance_and_every_whole_frame_is_answered() -> None:
    outcome = fuzzer.fuzz(4_000, seed=2026)
    assert outcome.inputs == 4_000
    assert outcome.decoded > 500
    assert outcome.malformed > 500
    assert outcome.answers > 1_000
    assert outcome.sessions_closed > 50
