"""The shipped scenarios of FLISR in whole runs, and what decides in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cosim_worlds import Ran, run

from twin.errors import ExitCode

SHIPPED = Path(__file__).parents[2] / "scenarios"


def go(tmp_path: Path, name: str, **changes: str) -> Ran:
    text = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")
    text = text.replace("networks/island_mv.json", str(SHIPPED / "networks" / "island_mv.json"))
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return run(tmp_path, text, name=name, protocol="in_process")


@pytest.mark.parametrize(
    "name",
    [
        "flisr_distance_cigre_mv",
        "flisr_evening_peak_cigre_mv",
        "flisr_lost_tie_cigre_mv",
        "flisr_jammed_switch_cigre_mv",
        "flisr_waits_for_shedding_island_mv",
    ],
)
def test_shipped_scenario__holds(name: str, tmp_path: Path) -> None:
    ran = go(tmp_path, name)
    assert ran.code == ExitCode.PASSED, ran.passed()


def test_evening_peak__is_what_keeps_the_tie_open(tmp_path: Path) -> None:
    """Looking a minute ahead only, the tie is closed at noon and everybody supplied."""
    ran = go(tmp_path, "flisr_evening_peak_cigre_mv", **{"look_ahead: 8 h": "look_ahead: 1 min"})
    [plan] = [row for row in ran.of("plan") if row.get("title")]
    assert plan["customers_not_restored"] == 0
    assert any(step["switch"] == "TIE_1" for step in plan["steps"])


def test_distance__is_said_with_every_candidate(tmp_path: Path) -> None:
    ran = go(tmp_path, "flisr_distance_cigre_mv")
    [location] = ran.of("location")
    assert location["distance_km"] == pytest.approx(2.82 + 4.42 / 2, abs=0.01)
    assert location["places"][0].startswith("in L2-3 2.21 km from N2")
    [plan] = [row for row in ran.of("plan") if row.get("title")]
    assert any("measured a fault reactance of" in why for why in plan["why"])
