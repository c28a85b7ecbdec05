"""The topology desk: what it publishes and tells, and that its results follow from the image alone.

SRC ─ BB ─[CB_1]─ L1 ─ N1 ─[S1]─ L2 ─[S2]─ N2 ─[S3]─ L3 ─ N3 ─[TIE]─ L4 ─ N5
       └──[CB_2]─ L5 ──────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import json

import pytest
from control_room_bench import BETWEEN, CLOSED, OPEN, Bench

from twin.points.model import Quality

SETTINGS = {"mode": "advisory", "settle_ms": 0}


@pytest.fixture
def bench() -> Bench:
    return Bench(topology=SETTINGS).start()


def _move(bench: Bench, switch: str, position: float) -> None:
    bench.tell(f"{switch}.position", position)
    bench.run(bench.now + 300)


def _value(bench: Bench, point: str) -> float | None:
    """The value, None where it is not known."""
    database = bench.room.front_end.database
    return database.value(point) if database.quality(point) == Quality.GOOD else None


def _findings(bench: Bench, kind: str) -> list[tuple[str, str]]:
    found = [e for e in bench.journal if e.kind == "finding" and e.data["application"] == "topology"]
    return [(e.subject, e.data["state"]) for e in found if e.data["finding"] == kind]


def test_normal_state__is_told_with_the_feed_of_every_node(bench: Bench) -> None:
    assert [_value(bench, f"{n}.nca_energised") for n in ("BB", "N1", "N3", "N5")] == [1, 1, 1, 1]
    assert [_value(bench, f"{n}.nca_feed") for n in ("BB", "N1", "N3", "N5")] == [0, 1, 1, 2]
    assert _value(bench, "topology.customers_interrupted") == 0
    assert not [e for e in bench.journal if e.kind == "finding"]


def test_open_switch__makes_nodes_dead_and_the_finding_ends_with_it(bench: Bench) -> None:
    _move(bench, "S1", OPEN)
    assert [_value(bench, f"{n}.nca_energised") for n in ("N1", "N2", "N3")] == [1, 0, 0]
    assert _value(bench, "L2.nca_energised") == 0
    assert _value(bench, "topology.customers_interrupted") == 200
    _move(bench, "S1", CLOSED)
    assert _value(bench, "N3.nca_energised") == 1
    assert _findings(bench, "dead") == [("topology", "found"), ("topology", "ended")]


def test_intermediate_position__is_unknown_beyond_it_and_nowhere_else(bench: Bench) -> None:
    _move(bench, "S1", BETWEEN)
    assert [_value(bench, f"{n}.nca_energised") for n in ("N1", "N2", "N3", "N5")] == [1, None, None, 1]
    assert _value(bench, "topology.unknown_switches") == 1
    assert _value(bench, "topology.customers_unknown") == 200
    assert _findings(bench, "unknown switch") == [("S1", "found")]


def test_closed_tie__is_a_loop(bench: Bench) -> None:
    _move(bench, "TIE", CLOSED)
    assert _value(bench, "topology.loop_nodes") == 5
    assert _findings(bench, "in a loop") == [("topology", "found")]


def test_snapshot__continues_with_the_same_findings(bench: Bench) -> None:
    _move(bench, "S1", OPEN)
    state = json.loads(json.dumps(bench.room.snapshot()))
    other = Bench(topology=SETTINGS)
    other.room.restore(state)
    assert other.room.snapshot() == state


def test_study__shows_what_an_operation_would_do(bench: Bench) -> None:
    branch = bench.room.study()
    branch.set_position("CB_1", closed=False)
    branch.run("topology")
    assert branch.database.value("topology.customers_interrupted") == 300
    assert _value(bench, "topology.customers_interrupted") == 0
