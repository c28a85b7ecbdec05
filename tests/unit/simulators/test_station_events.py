"""Checks of events that concern stations against the derived network, and what the simulators are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulators.preparation import prepare
from simulators.station_events import condition, misbehaviour
from twin.outstations.misbehaviour import Kind
from twin.scenario import ScenarioError

SCENARIO = """
scenario: 1
name: station-events
network: cigre_mv
start: 2026-01-15T18:00:00Z
duration: 1 min
stations:
  default: {{protocol: {protocol}}}
  RTU_9: {{answers: false}}
events:
  - {{at: 5 s, {event}}}
"""


def prepared(folder: Path, event: str, protocol: str = "iec104") -> object:
    path = folder / "s.yaml"
    path.write_text(SCENARIO.format(event=event, protocol=protocol))
    return prepare(path)


@pytest.mark.parametrize(
    ("event", "protocol", "sentence"),
    [
        ("misbehaviour: {station: RTU_99, kind: freeze}", "iec104", "there is no station RTU_99"),
        ("telecontrol: {station: RTU_99, rate: 1200}", "iec104", "there is no station RTU_99"),
        ("half open: {station: RTU_99}", "iec104", "there is no station RTU_99"),
        ("misbehaviour: {station: RTU_9, kind: freeze}", "iec104", "RTU_9 answers nothing"),
        ("misbehaviour: {station: RTU_3, kind: overflow}", "modbus", "has no events that could overflow"),
        ("misbehaviour: {station: RTU_3, kind: malformed}", "in_process", "no octets that could be malformed"),
        ("misbehaviour: {station: RTU_3, kind: lie, point: LBS_3-8.i, value: 1}", "iec104", "did you mean LBS_3-8.i_a"),
    ],
)
def test_event__that_cannot_be_is_found_before_the_run(
    tmp_path: Path, event: str, protocol: str, sentence: str
) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        prepared(tmp_path, event, protocol)


def test_told__misbehaviour_and_condition_have_their_end() -> None:
    bad = misbehaviour({"station": "S", "kind": "late", "for_ms": 5_000, "delay": 700}, 1_000)
    assert (bad.kind, bad.until_ms, bad.delay_ms) == (Kind.LATE, 6_000, 700)
    worse = condition({"station": "S", "for_ms": 5_000, "rate": 1_200}, 1_000)
    assert (worse.start_ms, worse.end_ms, worse.latency_ms, worse.rate_bit_s) == (1_000, 6_000, None, 1_200)
