"""An earth fault in a compensated network: who sees it, who trips, and that everybody is restored."""

from __future__ import annotations

from pathlib import Path

from cosim_worlds import run

SCENARIOS = Path(__file__).parents[2] / "scenarios"


def test_shipped_scenario__holds_and_only_the_earth_fault_function_trips(tmp_path: Path) -> None:
    text = (SCENARIOS / "flisr_earth_fault_compensated_mv.yaml").read_text(encoding="utf-8")
    text = text.replace("networks/compensated_mv.json", str(SCENARIOS / "networks" / "compensated_mv.json"))
    ran = run(tmp_path, text, protocol="in_process")
    assert ran.passed() == dict.fromkeys(ran.passed(), True)
    assert [(row["subject"], row["function"]) for row in ran.rows if row["kind"] == "relay_trip"] == [("CB_1", "67N")]
    signs = [
        (row["subject"], row["direction"]) for row in ran.rows if row["kind"] == "indicator" and row["state"] == "set"
    ]
    assert {name for name, direction in signs if direction == "forward"} == {"CB_1", "LBS_2-3", "LBS_3-4"}
    assert {name for name, direction in signs if direction == "reverse"} == {"LBS_2-1", "LBS_3-2"}
