"""Load shedding: arming by net load, relief of limits, restoration in blocks; invariants on random feeders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from twin.dms.load_shedding import (
    Feeder,
    LoadSheddingSettings,
    Violation,
    Window,
    arm,
    relieve,
    restore,
    scheduled_kw,
)
from twin.solvers.frequency import FrequencyModel, Machines, SheddingStages
from twin.timebase import NEVER

# The table of FNN, as published: four stages of 12.5 % at 49.0, 48.8, 48.6 and 48.4 Hz
FNN = ((49.0, 12.5), (48.8, 12.5), (48.6, 12.5), (48.4, 12.5))
SETTINGS = LoadSheddingSettings(shares=tuple(percent / 100 for _, percent in FNN), tolerance=0.03)


def feeders(*p_kw: float, **changes: object) -> tuple[Feeder, ...]:
    return tuple(Feeder(f"F{n}", p) for n, p in enumerate(p_kw, 1))


def test_arm__gives_each_stage_its_share_of_the_net_load() -> None:
    """8 feeders of 1 MW and one that exports 0.8 MW: 12.5 % of 7.2 MW is 0.9 MW, one feeder a stage within 3 %."""
    result = arm(feeders(*[1000.0] * 8, -800.0), SETTINGS)
    assert result.wanted_kw == pytest.approx((900.0,) * 4)
    assert result.armed_kw == (1000.0,) * 4
    assert result.complete
    assert "F9" not in result.stage_of
    assert "F9 exports" in result.why[-1]


def test_arm__leaves_alone_what_is_within_its_tolerance() -> None:
    one = feeders(*[1000.0] * 8)
    first = arm(one, SETTINGS)
    armed = tuple(replace(f, armed=(first.stage_of[f.name],)) if f.name in first.stage_of else f for f in one)
    assert arm(armed, SETTINGS).arm == arm(armed, SETTINGS).disarm == ()
    now_exporting = tuple(replace(f, p_kw=-100.0) if f.armed == (2,) else f for f in armed)
    again = arm(now_exporting, SETTINGS)
    gone = next(f.name for f in armed if f.armed == (2,))
    assert (gone, 2) in again.disarm
    assert [stage for _, stage in again.arm] == [2]


def test_arm__rotates_and_spares_who_was_shed_before() -> None:
    one = feeders(*[1000.0] * 8)
    assert set(arm(one, SETTINGS, rotation=0).stage_of) == {"F1", "F2", "F3", "F4"}
    assert set(arm(one, SETTINGS, rotation=4, rotate=True).stage_of) == {"F5", "F6", "F7", "F8"}
    spared = tuple(replace(f, times_shed=1) if f.name in ("F1", "F2") else f for f in one)
    assert set(arm(spared, SETTINGS).stage_of) == {"F3", "F4", "F5", "F6"}


def test_arm__takes_priority_customers_never_and_others_last() -> None:
    limits = SETTINGS.model_copy(update={"never": ("F1",), "last": ("F2",)})
    assert set(arm(feeders(*[1000.0] * 8), limits).stage_of) == {"F3", "F4", "F5", "F6"}
    short = arm(feeders(*[1000.0] * 4), limits.model_copy(update={"shares": (0.5,)}))
    assert set(short.stage_of) == {"F3", "F4"}


def test_arm__changes_over_without_a_gap() -> None:
    """F3 exports now and goes first; F5 takes its place; F1 changes from stage 2 to 1; F2 is not needed any more."""
    limits = LoadSheddingSettings(shares=(0.25, 0.25), tolerance=0.01, never=("F4",))
    armed = {"F1": (2,), "F2": (1,), "F3": (2,)}
    some = [replace(f, armed=armed.get(f.name, ())) for f in feeders(1000.0, 300.0, -100.0, 1800.0, 1000.0)]
    result = arm(some, limits)
    assert sorted(result.changes) == sorted([(*c, True) for c in result.arm] + [(*c, False) for c in result.disarm])
    assert result.changes[0] == ("F3", 2, False)
    kinds = [armed for _, _, armed in result.changes[1:]]
    assert kinds.index(True) < len(kinds) - 1 - kinds[::-1].index(False)


def test_arm__says_why_a_stage_falls_short() -> None:
    result = arm(feeders(5000.0, 100.0), SETTINGS)
    assert not result.complete
    assert "no set of the feeders left comes nearer" in result.why[0]


def test_relieve__opens_just_enough_behind_the_limit() -> None:
    some = feeders(300.0, 500.0, 900.0)
    violation = Violation("T1", 450.0, ("F1", "F2"), "T1 is at 120 %.")
    result = relieve(some, [violation], SETTINGS)
    assert result.open == ("F2",)
    assert result.complete
    assert result.why == ("T1 is at 120 %. F2 shed 500 kW.",)


def test_relieve__says_when_it_is_not_enough() -> None:
    result = relieve(feeders(300.0, -500.0), [Violation("T1", 450.0, ("F1", "F2"), "T1 is at 120 %.")], SETTINGS)
    assert result.open == ("F1",)
    assert not result.complete
    assert result.why == ("T1 is at 120 %. F1 shed 300 kW, which is not the 450 kW it takes.",)


def test_schedule__asks_for_its_share_inside_its_window_only() -> None:
    evening = Window(begin_ms=22 * 3_600_000, end_ms=2 * 3_600_000, share=0.25)
    limits = SETTINGS.model_copy(update={"windows": (evening,)})
    one = feeders(*[1000.0] * 8)
    assert [scheduled_kw(one, limits, h * 3_600_000) for h in (21, 22, 1, 2)] == [0.0, 2000.0, 2000.0, 0.0]
    assert len(relieve(one, [], limits, wanted_kw=2000.0).open) == 2
    half = tuple(replace(f, closed=False, off_since_ms=0, before_kw=1000.0) if f.name == "F1" else f for f in one)
    assert len(relieve(half, [], limits, wanted_kw=2000.0).open) == 1


def shed(name: str, before_kw: float, since: int = 0) -> Feeder:
    return Feeder(name, 0.0, closed=False, off_since_ms=since, before_kw=before_kw)


def test_restore__waits_for_frequency_hold_and_least_time_off() -> None:
    some = (shed("F1", 1000.0, 10_000), Feeder("F2", 20_000.0))

    def at(now: int, f_hz: float | None = 49.9, steady: int = 20_000) -> tuple[str, ...]:
        return restore(some, SETTINGS, f_hz=f_hz, steady_since_ms=steady, now=now).close

    assert at(40_000) == ()  # 20 s of 30 s
    assert at(60_000) == ()  # off for 50 s of 60 s
    assert at(70_000) == ("F1",)
    assert at(70_000, f_hz=49.5) == at(70_000, f_hz=None) == at(70_000, steady=NEVER) == ()


def test_restore__comes_back_in_blocks_with_cold_load_pickup() -> None:
    """8 % of 10 MW is 800 kW; with a pickup of 1.5 two feeders of 250 kW fit (750 kW), a third does not."""
    some = (*(shed(f"F{n}", 250.0, n) for n in (1, 2, 3)), Feeder("F4", 9250.0))
    result = restore(some, SETTINGS, f_hz=50.0, steady_since_ms=0, now=100_000)
    assert result.close == ("F1", "F2")
    assert "750 kW" in result.why[0]


def test_restore__leaves_what_was_not_shed() -> None:
    other = Feeder("F1", 0.0, closed=False)
    assert restore((other,), SETTINGS, f_hz=50.0, steady_since_ms=0, now=10**6).close == ()


# -- against the published frequency response -------------------------------------------------------------------


@pytest.mark.parametrize("lost", [0.5, 0.6])
def test_armed_stages__hold_the_published_system_above_its_plants(lost: float) -> None:
    """The system of Anderson and Mirheydar (H 4 s, R 5 %, FH 0.3, TR 8 s) with stages as armed.

    Without shedding it falls below 47.5 Hz, where plants disconnect by the FNN table; with it, it does not.
    """
    total = 10_000.0
    result = arm(feeders(*[625.0] * 16), LoadSheddingSettings(shares=(0.125,) * 4, tolerance=0.01))
    assert result.armed_kw == (1250.0,) * 4

    def lowest(stages: SheddingStages | None) -> float:
        machines = Machines.of(("M",), s_kva=total, p_kw=total * (1 - lost))
        model = FrequencyModel(machines, stages, damping_base_kw=np.array([total]))
        return float(model.step(30_000, np.array([total])).trace_hz.min())

    stages = SheddingStages.of(
        ("1", "2", "3", "4"), level_hz=np.array([hz for hz, _ in FNN]), p_kw=np.array(result.armed_kw), delay_ms=160.0
    )
    assert lowest(None) == pytest.approx(50.0 - 10 * lost * (60.0 - 59.35009) * 50.0 / 60.0, abs=1e-3)
    assert lowest(None) < 47.5 < lowest(stages)


def test_published_table__is_what_the_settings_default_to() -> None:
    assert tuple(100 * share for share in LoadSheddingSettings().shares) == tuple(percent for _, percent in FNN)


# -- invariants -------------------------------------------------------------------------------------------------

FEEDERS = st.lists(
    st.builds(
        Feeder,
        name=st.uuids().map(str),
        p_kw=st.floats(-3000, 3000),
        closed=st.booleans(),
        known=st.booleans(),
        reachable=st.booleans(),
        unsafe=st.sampled_from(["", "is earthed"]),
        blocked=st.booleans(),
        armed=st.lists(st.integers(1, 4), unique=True, max_size=2).map(tuple),
        off_since_ms=st.sampled_from([NEVER, 0, 50_000]),
        before_kw=st.floats(0, 3000),
        times_shed=st.integers(0, 3),
    ),
    max_size=14,
    unique_by=lambda f: f.name,
)


def may_be_shed(feeder: Feeder) -> bool:
    return feeder.known and feeder.closed and not feeder.blocked and feeder.p_kw > 0


@settings(max_examples=60, deadline=None)
@given(FEEDERS, st.integers(0, 20), st.booleans())
def test_invariant__only_importing_known_free_feeders_are_armed(some: list[Feeder], turn: int, rotate: bool) -> None:
    result = arm(some, SETTINGS, rotation=turn, rotate=rotate)
    by_name = {f.name: f for f in some}
    assert all(may_be_shed(by_name[name]) for name in result.stage_of)
    assert all(may_be_shed(by_name[name]) for name, _ in result.arm)
    assert all(by_name[name].reachable and not by_name[name].blocked for name, _ in result.disarm)
    for stage, armed in enumerate(result.armed_kw, 1):
        assert armed == pytest.approx(sum(by_name[n].p_kw for n, s in result.stage_of.items() if s == stage))
    told = any("comes nearer" in sentence for sentence in result.why)
    assert result.complete != told


@settings(max_examples=60, deadline=None)
@given(FEEDERS, st.floats(0, 5000), st.floats(0, 5000))
def test_invariant__relief_opens_only_importing_known_free_feeders(
    some: list[Feeder], excess: float, wanted: float
) -> None:
    behind = tuple(f.name for f in some[::2])
    result = relieve(some, [Violation("L", excess, behind, "L is overloaded.")], SETTINGS, wanted_kw=wanted)
    by_name = {f.name: f for f in some}
    assert all(may_be_shed(by_name[name]) for name in result.open)
    relieved = sum(by_name[name].p_kw for name in result.open if name in behind)
    assert result.complete == (relieved >= excess - 1e-5) or abs(relieved - excess) < 1e-4


@settings(max_examples=60, deadline=None)
@given(FEEDERS, st.floats(47, 51), st.integers(0, 200_000))
def test_invariant__restoration_closes_only_what_was_shed_and_is_ripe(some: list[Feeder], hz: float, now: int) -> None:
    steady = 0 if hz >= SETTINGS.restore_hz else NEVER
    result = restore(some, SETTINGS, f_hz=hz, steady_since_ms=steady, now=now)
    by_name = {f.name: f for f in some}
    for name in result.close:
        feeder = by_name[name]
        assert (feeder.is_shed, feeder.known, feeder.blocked, feeder.unsafe) == (True, True, False, "")
        assert now - feeder.off_since_ms >= SETTINGS.least_off_ms
        assert hz >= SETTINGS.restore_hz


# -- the choice against brute force -----------------------------------------------------------------------------

LOADS = st.lists(st.integers(-2000, 2000).map(float), min_size=1, max_size=6)


def beyond(some: Sequence[Feeder], stage_of: dict[str, int], wanted: Sequence[float], tolerance_kw: float) -> float:
    """By how much the stages miss their share beyond the tolerance, together."""
    got = [sum(f.p_kw for f in some if stage_of.get(f.name) == stage) for stage in range(1, len(wanted) + 1)]
    return sum(max(abs(g - w) - tolerance_kw, 0.0) for g, w in zip(got, wanted, strict=True))


@settings(max_examples=80, deadline=None)
@given(LOADS, st.integers(1, 3), st.sampled_from([0.0, 0.02, 0.1]), st.data())
def test_arm__comes_as_near_as_the_best_of_all_choices(
    loads: list[float], stages: int, tolerance: float, data: st.DataObject
) -> None:
    """Some feeders cannot be read or reached; the best is found by trying every stage for every feeder."""
    lost = data.draw(st.sets(st.integers(1, len(loads)), max_size=2))
    some = [replace(f, known=n not in lost, reachable=n not in lost) for n, f in enumerate(feeders(*loads), 1)]
    limits = LoadSheddingSettings(shares=(0.6 / stages,) * stages, tolerance=tolerance)
    result = arm(some, limits)
    tolerance_kw = tolerance * max(sum(f.p_kw for f in some if f.known), 0.0)
    free = [f.name for f in some if may_be_shed(f)]
    ways = product(range(stages + 1), repeat=len(free))
    best = min(beyond(some, dict(zip(free, way, strict=True)), result.wanted_kw, tolerance_kw) for way in ways)
    assert beyond(some, dict(result.stage_of), result.wanted_kw, tolerance_kw) == pytest.approx(best, abs=1e-6)
    assert result.complete == (best <= 1e-6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(50, 800), min_size=40, max_size=80), st.integers(0, 2**32 - 1))
def test_arm__is_balanced_within_its_tolerance_where_feeders_are_many(loads: list[float], seed: int) -> None:
    """One feeder in eight exports; the net load is what counts."""
    rng = np.random.default_rng(seed)
    some = feeders(*(p if rng.random() > 1 / 8 else -p for p in loads))
    result = arm(some, SETTINGS)
    assume(result.wanted_kw[0] > 0)
    assert result.complete
    net_kw = sum(f.p_kw for f in some)
    assert result.wanted_kw == pytest.approx((max(net_kw, 0.0) / 8,) * 4)
    assert all(abs(a - net_kw / 8) <= 0.03 * net_kw + 1e-6 for a in result.armed_kw)


@settings(max_examples=60, deadline=None)
@given(LOADS, LOADS, st.data())
def test_exporting_feeder__is_disarmed_as_soon_as_it_can_be_reached(
    before: list[float], after: list[float], data: st.DataObject
) -> None:
    """Armed by what was measured; then the flows turn, and some measurements or stations are lost."""
    n = min(len(before), len(after))
    stage_of = arm(feeders(*before[:n]), SETTINGS).stage_of
    health = [data.draw(st.sampled_from(["good", "stale", "lost"])) for _ in range(n)]
    now = [
        replace(f, armed=(stage_of[f.name],) if f.name in stage_of else (), known=h == "good", reachable=h != "lost")
        for f, h in zip(feeders(*after[:n]), health, strict=True)
    ]
    result = arm(now, SETTINGS)
    left = {f.name for f in now if f.armed} - {name for name, _ in result.disarm} | {name for name, _ in result.arm}
    for feeder, h in zip(now, health, strict=True):
        assert h == "lost" or feeder.name not in left or (h == "good" and feeder.p_kw > 0)
