"""The shipped scenarios of topology processing hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from cosim_worlds import run

SCENARIOS = Path(__file__).parents[2] / "scenarios"


@pytest.mark.parametrize("name", ["topology_lost_station_cigre_mv", "topology_calm_cigre_mv"])
def test_topology_scenario__holds(tmp_path: Path, name: str) -> None:
    ran = run(tmp_path, (SCENARIOS / f"{name}.yaml").read_text(encoding="utf-8"))
    assert ran.code == 0
