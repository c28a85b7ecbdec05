"""Demand over time: interpolation, noise, profiles from files and their errors."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.actions import Action
from simulators.cycle import RunContext
from simulators.profiles import (
    CLASSES,
    DAY_MS,
    FLAT,
    PROFILES,
    WINTER_WEEKDAY,
    ProfileError,
    ProfileSimulator,
    load_profile,
)
from twin.errors import ExitCode
from twin.network.builder import NetworkBuilder
from twin.network.model import Network
from twin.timebase import TimeBase

HOUR_MS = 3_600_000
RATED_KW = np.array([100.0, 200.0, 300.0, 400.0])


def network() -> Network:
    b = NetworkBuilder("toy")
    b.node("N", v_kv=20.0)
    b.source("GRID", "N")
    for n, load_class in enumerate((*CLASSES, "residential")):
        b.consumer(f"C{n}", "N", p_kw=RATED_KW[n], q_kvar=RATED_KW[n] / 4, load_class=load_class)
    b.generator("PV", "N", p_kw=50.0, q_kvar=5.0)
    return b.build()


def simulator(start: str = "2026-01-15T00:00:00", profile: Any = FLAT, **settings: Any) -> ProfileSimulator:
    base = TimeBase(datetime.fromisoformat(start).replace(tzinfo=UTC))
    return ProfileSimulator(RunContext(base), network=network(), profile=profile, **settings)


def p_kw(one: ProfileSimulator, now: int, *actions: Action) -> np.ndarray:
    return np.asarray(one.cycle(now, {"actions": actions})["p_kw"])


def load(consumer: str, scale: float) -> Action:
    return Action("load", 0, "e", {"consumer": consumer, "scale": scale})


class TestShape:
    def test_flat__is_the_rated_demand_at_its_power_factor(self) -> None:
        out = simulator().cycle(12_345_678, {})
        assert out["p_kw"].tolist() == RATED_KW.tolist()
        assert out["q_kvar"].tolist() == (RATED_KW / 4).tolist()
        assert (out["generation_kw"].tolist(), out["generation_kvar"].tolist()) == ([50.0], [5.0])

    @pytest.mark.parametrize("hour", range(24))
    def test_profile__has_its_factor_at_the_full_hour(self, hour: int) -> None:
        factors = p_kw(simulator(profile=WINTER_WEEKDAY), hour * HOUR_MS) / RATED_KW
        expected = [WINTER_WEEKDAY[name][hour] for name in CLASSES]
        assert factors.tolist() == pytest.approx([*expected, expected[0]])

    def test_profile__is_linear_in_between(self) -> None:
        # residential 18 h 1.00, 19 h 0.98: a quarter past it is 0.995
        assert p_kw(simulator(profile=WINTER_WEEKDAY), 18 * HOUR_MS + 900_000)[0] == pytest.approx(99.5)

    def test_profile__joins_midnight_to_the_day_before(self) -> None:
        # residential 23 h 0.48, 0 h 0.38
        assert p_kw(simulator(profile=WINTER_WEEKDAY), 23 * HOUR_MS + HOUR_MS // 2)[0] == pytest.approx(43.0)

    def test_profile__starts_at_the_hour_of_the_run(self) -> None:
        late = simulator("2026-01-15T18:15:00", WINTER_WEEKDAY)
        assert p_kw(late, 0).tolist() == p_kw(simulator(profile=WINTER_WEEKDAY), 18 * HOUR_MS + 900_000).tolist()
        assert p_kw(late, DAY_MS)[0] == pytest.approx(99.5)

    def test_profile__of_one_value_is_constant(self) -> None:
        one = simulator(profile=dict.fromkeys(CLASSES, (0.5,)))
        assert p_kw(one, 0).tolist() == p_kw(one, 5 * HOUR_MS + 1).tolist() == (RATED_KW / 2).tolist()

    @pytest.mark.parametrize("name", PROFILES)
    def test_profile__shipped_ones_peak_at_the_rated_demand(self, name: str) -> None:
        for factors in PROFILES[name].values():
            assert max(factors) == 1.0
            assert min(factors) > 0.0
            assert len(factors) in (1, 24)


class TestScale:
    def test_scale__holds_for_everybody(self) -> None:
        assert p_kw(simulator(scale=0.6), 0).tolist() == (RATED_KW * 0.6).tolist()

    def test_load_event__rescales_one_consumer_or_all_from_then_on(self) -> None:
        one = simulator(scale=0.5)
        assert p_kw(one, 0, load("C1", 2.0)).tolist() == [50.0, 400.0, 150.0, 200.0]
        assert p_kw(one, 1_000).tolist() == [50.0, 400.0, 150.0, 200.0]
        assert p_kw(one, 2_000, load("all", 1.0)).tolist() == RATED_KW.tolist()

    def test_other_events__change_nothing(self) -> None:
        assert p_kw(simulator(), 0, Action("fault", 0, "f", {})).tolist() == RATED_KW.tolist()

    def test_snapshot__keeps_the_scales(self) -> None:
        one, other = simulator(noise=0.1, seed=3), simulator(noise=0.1, seed=3)
        p_kw(one, 0, load("C1", 2.0), load("C2", 0.1))
        other.restore(one.snapshot())
        assert p_kw(other, 90_000).tolist() == p_kw(one, 90_000).tolist()


class TestNoise:
    @settings(max_examples=50, deadline=None, database=None)
    @given(st.lists(st.integers(0, 600_000), min_size=1, max_size=20))
    def test_noise__does_not_depend_on_the_steps(self, times: list[int]) -> None:
        straight, wandering = simulator(noise=0.1, seed=7), simulator(noise=0.1, seed=7)
        for now in times:
            wandering.cycle(now, {})
        assert p_kw(straight, times[-1]).tolist() == p_kw(wandering, times[-1]).tolist()

    def test_noise__holds_for_a_minute_and_differs_between_consumers(self) -> None:
        one = simulator(noise=0.1, seed=7)
        assert p_kw(one, 60_000).tolist() == p_kw(one, 119_999).tolist()
        assert p_kw(one, 120_000).tolist() != p_kw(one, 119_999).tolist()
        assert len(set((p_kw(one, 0) / RATED_KW).tolist())) == 4

    def test_noise__has_the_deviation_it_should(self) -> None:
        one = simulator(noise=0.1, seed=7)
        factors = np.array([p_kw(one, minute * 60_000) / RATED_KW for minute in range(500)])
        assert factors.mean() == pytest.approx(1.0, abs=0.01)
        assert factors.std() == pytest.approx(0.1, abs=0.01)

    def test_noise__never_turns_demand_negative(self) -> None:
        one = simulator(noise=3.0, seed=7)
        assert min(p_kw(one, minute * 60_000).min() for minute in range(100)) == 0.0

    def test_noise__depends_on_the_seed(self) -> None:
        assert p_kw(simulator(noise=0.1, seed=1), 0).tolist() != p_kw(simulator(noise=0.1, seed=2), 0).tolist()


class TestFiles:
    def test_file__is_spread_evenly_over_the_day(self, tmp_path: Path) -> None:
        (tmp_path / "day.csv").write_text(
            "time,residential,commercial,industrial\n00:00,0.2,0.4,0.6\n12:00,1.0,0.8,0.6\n", encoding="utf-8"
        )
        profile = load_profile("day.csv", tmp_path)
        assert profile == {"residential": [0.2, 1.0], "commercial": [0.4, 0.8], "industrial": [0.6, 0.6]}
        factors = p_kw(simulator(profile=profile), 6 * HOUR_MS) / RATED_KW
        assert factors.tolist() == pytest.approx([0.6, 0.6, 0.6, 0.6])

    def test_file__of_a_spreadsheet_with_byte_order_mark_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "day.csv").write_text("residential,commercial,industrial\r\n1,1,1\r\n", encoding="utf-8-sig")
        assert load_profile("day.csv", tmp_path)["residential"] == [1.0]

    def test_profile__shipped_comes_by_its_name(self, tmp_path: Path) -> None:
        assert load_profile("winter-weekday", tmp_path) is WINTER_WEEKDAY

    def test_profile__unknown_says_what_there_is(self, tmp_path: Path) -> None:
        with pytest.raises(ProfileError) as failed:
            load_profile("summer", tmp_path)
        assert str(failed.value) == (
            "there is no load profile summer: neither one of flat, winter-weekday nor a file beside the scenario"
        )
        assert failed.value.exit_code is ExitCode.USAGE

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"residential,commercial,industrial\n",
            b"residential,commercial\n1,1\n",
            b"residential,commercial,industrial\n1,1\n",
            b"residential,commercial,industrial\n1,much,1\n",
            b"residential,commercial,industrial\n1,-0.1,1\n",
            b"residential,commercial,industrial\n1,nan,1\n",
            b"residential,commercial,industrial\n1,inf,1\n",
            "residential,commercial,industrial\n1,1,1,ü\n".encode("latin-1"),
        ],
        ids=["empty", "no rows", "no column", "short row", "text", "negative", "nan", "infinite", "encoding"],
    )
    def test_file__that_is_no_profile_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "day.csv").write_bytes(content)
        with pytest.raises(ProfileError) as failed:
            load_profile("day.csv", tmp_path)
        assert str(failed.value) == (
            "day.csv is no load profile: it needs rows of factors, 0 or more, under residential, commercial, industrial"
        )


def test_profiles__are_finite() -> None:
    assert all(math.isfinite(f) for profile in PROFILES.values() for factors in profile.values() for f in factors)
