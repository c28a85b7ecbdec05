"""Load shedding in whole runs: the shipped scenarios, over both links, continued, with a fault on top."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
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


@pytest.mark.parametrize(
    "name",
    [
        "ufls_island_mv",
        "ufls_rests_island_mv",
        "load_shedding_overload_mv_oberrhein",
        "load_shedding_rests_mv_oberrhein",
        "load_shedding_evening_island_mv",
    ],
)
def test_shipped_scenario__holds(name: str, tmp_path: Path) -> None:
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


def blocks(ran: Ran) -> list[dict[str, Any]]:
    """The plans that bring load back."""
    return [row for row in ran.of("plan") if row.get("title") == "bring load back"]


def course_hz(ran: Ran) -> list[tuple[int, float]]:
    """(time, frequency of the plant) as recorded."""
    table = pq.read_table(ran.folder / "samples.parquet").to_pydict()
    return sorted(zip(table["t_ms"], table["frequency_min"], strict=True))


def test_restoration__keeps_least_time_off_hold_and_block(once: Ran) -> None:
    """20 s off at least, 10 s between blocks, a block of a fifth of 23 MW or one feeder; by the plant's journal."""
    tripped = {row["subject"]: row["t_ms"] for row in once.of("ufls_trip")}
    closed = {r["subject"]: r["t_ms"] for r in once.of("breaker", position="closed") if r["subject"] in tripped}
    assert closed.keys() == tripped.keys()
    assert all(closed[name] - tripped[name] >= 20_000 for name in tripped)
    times = [plan["t_ms"] for plan in blocks(once)]
    assert len(times) >= 2
    assert all(later - earlier >= 10_000 for earlier, later in pairwise(times))
    for plan in blocks(once):
        kw = float(re.search(r"up to (\d+) kW", plan["why"][0])[1])
        assert len(plan["steps"]) == 1 or kw <= 0.2 * 23_500


def test_restoration__begins_at_restore_and_pauses_below_stop(tmp_path: Path) -> None:
    """A narrow hysteresis (49.8 and 49.75 Hz): after each dip below 49.75 Hz it waits for 49.8 Hz and its hold time."""
    text = short(**{"block: 20 %": "block: 20 %, stop_at: 49.75 Hz"}).replace("duration: 150 s", "duration: 260 s")
    ran = run(tmp_path, text + "report: {plot: [frequency_min]}\n", protocol="in_process")
    course = course_hz(ran)
    dips = 0
    for plan in blocks(ran):
        at = plan["t_ms"]
        held = [hz for t_ms, hz in course if at - 8_000 <= t_ms < at]
        assert min(held) >= 49.75 - 0.03  # the dead band of the measurement
        since = max(t_ms for t_ms, hz in course if t_ms < at and hz < 49.75 - 0.03)
        assert max(hz for t_ms, hz in course if since <= t_ms <= at) >= 49.8 - 0.03
        dips += since > blocks(ran)[0]["t_ms"]
    assert dips > 0
    assert len(blocks(ran)) >= 2


def test_second_loss__does_not_begin_with_those_who_were_shed_before(tmp_path: Path) -> None:
    """After restoration the stages are armed anew; the highest stage, which acts first, gets who was not shed yet."""
    text = short(**{"for: 3 min": "for: 20 s", "mode: automatic, never": "mode: automatic, rotate: 80 s, never"})
    again = "  - {at: 100 s, id: again, trip generator: {name: M_1, for: 20 s}}\n"
    ran = run(tmp_path, text + again, protocol="in_process")
    first = {row["subject"] for row in ran.of("ufls_trip") if row["t_ms"] < 100_000}
    then = [row for row in ran.of("ufls_trip") if row["t_ms"] >= 100_000]
    assert first
    assert {row["subject"] for row in then} - first
    assert {row["subject"] for row in then if row["stage"] == 1}.isdisjoint(first)
    assert "CB_1" not in {row["subject"] for row in ran.of("ufls_trip")}


def test_low_voltage__sheds_after_its_delay_and_says_why(tmp_path: Path) -> None:
    """The busbar of the first transformer falls below the limit when the demand rises; the other stays above."""
    text = shipped("load_shedding_overload_mv_oberrhein").replace("duration: 17 min", "duration: 4 min")
    changes = {"max_loading: 105 %": "max_loading: 200 %, v_min: 0.998 pu", "135 %": "160 %", "12 min": "3 min 59 s"}
    for old, new in changes.items():
        text = text.replace(old, new)
    ran = run(tmp_path, text[: text.index("expect:")], protocol="in_process")
    shed = next(row for row in ran.of("plan") if row.get("title") == "shed load")
    assert shed["t_ms"] >= 180_000
    assert re.match(r"N39 is at 0.99\d pu\. CB_[12] shed \d+ kW", shed["why"][0])
    assert len(shed["steps"]) == 1


def test_advisory__waits_for_the_operator(tmp_path: Path) -> None:
    ran = run(tmp_path, short(**{"{mode: automatic, never": "{mode: advisory, never"}), protocol="in_process")
    assert ran.of("plan")
    assert not ran.of("ufls_armed")


def test_flisr__waits_while_load_is_shed(tmp_path: Path) -> None:
    """A cable fails two seconds after the loss; FLISR looks for it once all that was shed is back."""
    fault = "  - {at: 14 s, id: f, fault: {line: L7-8, kind: three-phase}}\n"
    ran = run(tmp_path, short() + fault, protocol="in_process")
    [located] = [row["t_ms"] for row in ran.of("location")]
    back = [row["t_ms"] for row in ran.of("plan") if row.get("title") == "bring load back"]
    assert len(back) >= 2
    assert located > max(back)
    plans = [row for row in ran.of("plan") if row["application"] == "flisr"]
    assert [row["t_ms"] for row in plans if row.get("title")] == [located]
    assert plans[-1]["outcome"] == "done"
    found = [row for row in ran.of("finding") if row.get("finding") == "flisr_inhibited" and row["state"] == "found"]
    assert found
    assert all(row["t_ms"] < located and row["why"].startswith("FLISR waits because ") for row in found)
