"""Load shedding in whole runs: the shipped scenarios, over both links, continued, with a fault on top."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cosim_worlds import Ran, run

from twin.errors import ExitCode

SHIPPED = Path(__file__).parents[2] / "scenarios"


def shipped(name: str, **changes: str) -> str:
    """A shipped scenario, its texts changed."""
    text = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")
    text = text.replace("networks/island_mv.json", str(SHIPPED / "networks" / "island_mv.json"))
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def short(**changes: str) -> str:
    """The loss after 10 s, restoration soon: 150 s in all."""
    text = shipped("ufls_island_mv").replace("duration: 12 min", "duration: 150 s").replace("at: 120 s", "at: 10 s")
    text = text.replace("least_off: 60 s, hold: 20 s", "least_off: 20 s, hold: 10 s")
    text = text[: text.index("expect:")]
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def test_shipped_scenarios__hold(tmp_path: Path) -> None:
    for name in ("ufls_island_mv", "ufls_rests_island_mv"):
        ran = run(tmp_path, shipped(name), name=name, protocol="in_process")
        assert ran.code == ExitCode.PASSED, ran.passed()


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run(tmp_path_factory.mktemp("lsa"), short(), protocol="in_process", snapshot_at=(11_500, 40_000))


def of_the_plant(ran: Ran) -> list[Any]:
    return [line for line in ran.journal.splitlines() if b'"source":"session"' not in line]


def test_run__is_the_same_again_and_over_iec104(once: Ran, tmp_path: Path) -> None:
    again = run(tmp_path, short(), name="again", protocol="in_process")
    assert again.journal == once.journal
    wired = run(tmp_path, short(), name="wired", protocol="iec104")
    assert of_the_plant(wired) == of_the_plant(once)


def test_run__continues_from_a_snapshot_in_the_fall_and_in_the_shed_state(once: Ran, tmp_path: Path) -> None:
    for at, snapshot in once.result.snapshots.items():
        rest = run(tmp_path, short(), name=f"from{at}", protocol="in_process", continue_from=snapshot)
        assert rest.journal
        assert once.journal.endswith(rest.journal)


def test_stages__trip_at_their_level_after_their_delay(once: Ran) -> None:
    trips = once.of("ufls_trip")
    assert trips
    for trip in trips:
        pickup = next(r for r in once.of("ufls_pickup", trip["subject"]) if r["stage"] == trip["stage"])
        assert trip["t_ms"] - pickup["t_ms"] == 100
        assert pickup["f_hz"] <= trip["level_hz"]
    assert {trip["subject"] for trip in trips}.isdisjoint({"CB_1", "CB_8"})


def test_restoration__says_why_and_leaves_nobody_out(once: Ran) -> None:
    shed = {row["subject"] for row in once.of("ufls_trip")}
    back = [switch for switch, action in once.commanded() if action == "close"]
    assert set(back) == shed
    plans = [row for row in once.of("plan") if row.get("title") == "bring load back"]
    assert all("cold-load pickup" in plan["why"][0] for plan in plans)


def test_advisory__waits_for_the_operator(tmp_path: Path) -> None:
    ran = run(tmp_path, short(**{"{mode: automatic, never": "{mode: advisory, never"}), protocol="in_process")
    assert ran.of("plan")
    assert not ran.of("ufls_armed")


def test_flisr__waits_while_load_is_shed(tmp_path: Path) -> None:
    """A cable fails two seconds after the loss; FLISR looks for it only when all that was shed is back."""
    fault = "  - {at: 14 s, id: f, fault: {line: L7-8, kind: three-phase}}\n"
    ran = run(tmp_path, short() + fault, protocol="in_process")
    located = [row["t_ms"] for row in ran.of("location")]
    back = [row["t_ms"] for row in ran.of("plan") if row.get("title") == "bring load back"]
    assert back
    assert all(at > max(back) for at in located)
