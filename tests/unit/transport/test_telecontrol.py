"""Arrival times on the telecontrol network, worked out by hand."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.transport import Condition, Cut, TelecontrolPath


def path(**settings: float) -> TelecontrolPath:
    return TelecontrolPath("RTU_1", "up", **settings)  # type: ignore[arg-type]


def test_path__without_settings_is_immediate() -> None:
    assert path().arrival(1000) == 1000


def test_path__adds_its_latency() -> None:
    assert path(latency_ms=80).arrival(1000) == 1080


def test_path__jitter_stays_within_its_bound_and_varies() -> None:
    p = path(latency_ms=80, jitter_ms=20)
    delays = [p.arrival(1000 * n) - 1000 * n for n in range(200)]
    assert min(delays) >= 80
    assert max(delays) <= 100
    assert len(set(delays)) > 10


def test_path__loss_costs_doubling_retransmissions() -> None:
    p = path(loss=0.5)
    delays = {p.arrival(100_000 * n) - 100_000 * n for n in range(400)}
    # nothing lost, then 200, 200 + 400, 200 + 400 + 800, ...
    assert {0, 200, 600, 1400} <= delays
    assert delays <= {200 * (2**n - 1) for n in range(9)}


def test_path__that_loses_everything_gives_up_doubling() -> None:
    assert path(loss=1.0).arrival(0) == 200 * (2**8 - 1)


def test_path__loses_about_as_often_as_it_is_told() -> None:
    p = path(loss=0.1)
    lost = sum(p.arrival(100_000 * n) > 100_000 * n for n in range(2000))
    assert 150 < lost < 250


def test_path__nothing_overtakes_what_was_sent_before() -> None:
    p = path(latency_ms=10)
    p.cut(100, 500)
    assert [p.arrival(t) for t in (99, 100, 499, 500)] == [109, 710, 710, 710]  # 500 + 200 + 10


@pytest.mark.parametrize(("now", "cut"), [(99, False), (100, True), (499, True), (500, False)])
def test_path__is_cut_from_start_until_just_before_end(now: int, cut: bool) -> None:
    p = path()
    p.cut(100, 500)
    assert p.is_cut(now) is cut


def test_path__retransmission_that_falls_into_the_next_cut_waits_for_its_end() -> None:
    p = path()
    p.cut(600, 900)
    p.cut(100, 500)
    assert p.arrival(150) == 1100  # 500 + 200 lies in 600..900, so 900 + 200


def test_path__depends_on_seed_station_and_direction() -> None:
    def arrivals(station: str = "RTU_1", direction: str = "up", seed: int = 0) -> list[int]:
        p = TelecontrolPath(station, direction, jitter_ms=1000, seed=seed)
        return [p.arrival(10_000 * n) for n in range(20)]

    assert arrivals() == arrivals()
    assert len({tuple(a) for a in (arrivals(), arrivals("RTU_2"), arrivals(direction="down"), arrivals(seed=1))}) == 4


def test_path__delay_does_not_depend_on_what_a_protocol_says_besides() -> None:
    alone, busy = path(jitter_ms=1000, seed=7), path(jitter_ms=1000, seed=7)
    for t_ms in range(1_000, 9_000, 100):
        busy.arrival(t_ms)
    assert busy.arrival(20_000) == alone.arrival(20_000)


@settings(max_examples=50, deadline=None, database=None)
@given(
    sent=st.lists(st.integers(0, 60_000), min_size=2, max_size=40).map(sorted),
    cuts=st.lists(st.tuples(st.integers(0, 60_000), st.integers(1, 5_000)), max_size=4),
    split=st.integers(0, 40),
)
def test_path__continued_from_a_snapshot_gives_the_same_arrivals(
    sent: list[int], cuts: list[tuple[int, int]], split: int
) -> None:
    settings = {"latency_ms": 80, "jitter_ms": 50, "loss": 0.2, "seed": 7}
    whole, first, second = path(**settings), path(**settings), path(**settings)
    for start, length in cuts:
        whole.cut(start, start + length)
        first.cut(start, start + length)
    expected = [whole.arrival(t) for t in sent]
    begun = [first.arrival(t) for t in sent[:split]]
    second.restore(json.loads(json.dumps(first.snapshot())))
    assert begun + [second.arrival(t) for t in sent[split:]] == expected
    assert expected == sorted(expected)
    assert second.cuts == [Cut(start, start + length) for start, length in cuts]


def test_rate__octets_go_out_one_after_the_other() -> None:
    """1,200 bit/s: 15 octets take 100 ms."""
    line = TelecontrolPath("S", "up", latency_ms=20, rate_bit_s=1_200)
    assert [line.arrival(0, 15), line.arrival(10, 15), line.arrival(1_000, 15)] == [120, 220, 1_120]
    assert line.arrival(2_000) == 2_020


def test_condition__holds_while_it_lasts_and_the_last_one_given_counts() -> None:
    line = TelecontrolPath("S", "up", latency_ms=20)
    line.worsen(Condition(100, 500, latency_ms=200))
    line.worsen(Condition(200, 300, latency_ms=300))
    sent = (0, 150, 250, 350, 600)
    assert [line.arrival(t_ms) - t_ms for t_ms in sent] == [20, 200, 300, 200, 20]


def test_condition__goes_through_a_snapshot() -> None:
    line = TelecontrolPath("S", "up", latency_ms=20, rate_bit_s=1_200)
    line.worsen(Condition(100, 500, rate_bit_s=300))
    line.arrival(120, 30)
    again = TelecontrolPath("S", "up", latency_ms=20, rate_bit_s=1_200)
    again.restore(json.loads(json.dumps(line.snapshot())))
    assert again.arrival(200, 30) == line.arrival(200, 30) == 120 + 2 * 800 + 20
