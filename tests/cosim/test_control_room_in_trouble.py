"""A control room with a wrong network, an operator in the loop, and field devices that fail or refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from cosim_worlds import FAULT, Ran, run, scenario

from twin.errors import ExitCode

AS_PLANNED = [("LBS_3-8", "open"), ("LBS_8-3", "open"), ("CB_1", "close"), ("TIE_1", "close")]
AROUND_N8 = [("LBS_3-8", "open"), ("LBS_8-7", "open"), ("LBS_8-9", "open"), ("CB_1", "close")]
NEVER_ONTO_FAULT = 'expect: [{id: on-fault, never: "closed_onto_fault"}]'


def go(folder: Path, *events: str, duration: str = "25 s", **settings: str) -> Ran:
    """A run over the in-process link in which nothing may be closed onto the fault."""
    extra = "\n".join([settings.pop("extra", ""), NEVER_ONTO_FAULT])
    ran = run(folder, scenario(*events, duration=duration, extra=extra, **settings), protocol="in_process")
    assert ran.code == ExitCode.PASSED, ran.result.message
    return ran


def without_supply(ran: Ran) -> int:
    """Customers interrupted at the end."""
    return int(ran.of("supply")[-1]["customers_interrupted"])


# -- a wrong network ----------------------------------------------------------------------------------------------


def test_right_network__restores_everybody_over_the_nearest_tie(tmp_path: Path) -> None:
    ran = go(tmp_path, FAULT)
    assert ran.commanded() == AS_PLANNED
    assert without_supply(ran) == 0


def test_copy_without_the_tie_line__another_tie_is_closed(tmp_path: Path) -> None:
    ran = go(tmp_path, FAULT, extra="control_room_network: [{line: L14-8, missing: true}]")
    assert ran.commanded() == [*AS_PLANNED[:3], ("TIE_3", "close")]
    assert without_supply(ran) == 0


def test_copy_with_a_low_rating__another_tie_is_closed_and_the_plan_says_why(tmp_path: Path) -> None:
    ran = go(tmp_path, FAULT, extra="control_room_network: [{line: L14-8, rating: 20 A}]")
    assert ran.commanded() == [*AS_PLANNED[:3], ("TIE_3", "close")]
    assert any(why.startswith("Not taken: closing TIE_1 would load L14-8 to ") for why in ran.plans()[0]["why"])


def test_copy_without_the_faulted_line__the_run_goes_through(tmp_path: Path) -> None:
    ran = go(tmp_path, FAULT, extra="control_room_network: [{line: L3-8, missing: true}]")
    switches = {step["switch"] for plan in ran.plans() for step in plan["steps"]}
    assert not switches & {"LBS_3-8", "LBS_8-3"}
    assert ran.of("location", "CB_1")[0]["zones"][0] == "N3"


def test_copy_with_a_wrong_normal_position__telemetry_wins(tmp_path: Path) -> None:
    ran = go(tmp_path, FAULT, extra="control_room_network: [{switch: TIE_1, normally: closed}]")
    assert ran.commanded() == AS_PLANNED


# -- an operator in the loop --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def advisory(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """The same fault with a plan that waits until it is approved, or until it is turned down."""
    deeds = {
        "approved": "{at: 120 s, operator: {approve plan: all}}",
        "rejected": "{at: 120 s, operator: {reject plan: all}}",
    }
    folder = tmp_path_factory.mktemp("advisory")
    return {
        name: go(folder / name, FAULT, deed, duration="130 s", flisr="mode: advisory") for name, deed in deeds.items()
    }


def test_advisory__plan_waits(advisory: dict[str, Ran]) -> None:
    for ran in advisory.values():
        assert [(plan["mode"], plan["t_ms"] < 12_000) for plan in ran.plans()] == [("advisory", True)]
        assert not [row for row in ran.rows if row["kind"] in ("command", "plan_step") and row["t_ms"] < 120_000]


def test_approved__carried_out_from_then_on(advisory: dict[str, Ran]) -> None:
    ran = advisory["approved"]
    assert ran.commanded() == AS_PLANNED
    assert min(row["t_ms"] for row in ran.of("command")) == 120_000
    assert ran.of("plan", outcome="done")
    assert without_supply(ran) == 0


def test_rejected__nothing_is_operated(advisory: dict[str, Ran]) -> None:
    ran = advisory["rejected"]
    assert [row["t_ms"] for row in ran.of("plan", outcome="rejected by the operator")] == [120_000]
    assert not ran.of("command")
    assert without_supply(ran) == 1_707


# -- devices that fail --------------------------------------------------------------------------------------------


def test_drive_that_fails__isolation_widens_and_all_others_are_restored(tmp_path: Path) -> None:
    ran = go(tmp_path, FAULT, "{at: 1 s, device fault: {switch: LBS_8-3, fails to: open}}")
    failed = ran.of("command", "LBS_8-3", phase="failed")
    assert [row["cause"] for row in failed] == ["RTU_8 refused: negative confirmation"]
    first, second = ran.plans()
    assert first["isolated"] == ["Z_L3-8"]
    assert set(second["isolated"]) == {"Z_L3-8", "Z_N8"}
    assert ran.of("plan", first["subject"])[-1]["outcome"].startswith("step 2 failed: ")
    assert ran.of("plan", second["subject"])[-1]["outcome"] == "done"
    assert ran.commanded()[:4] == AROUND_N8
    assert without_supply(ran) == second["customers_not_restored"] == 293


def test_silent_indicator_before_the_last__location_stands(tmp_path: Path) -> None:
    ran = go(tmp_path, FAULT, "{at: 1 s, device fault: {indicator: LBS_2-3, fails: silent}}")
    assert not ran.of("event", "LBS_2-3.fault_forward")
    assert ran.of("location", "CB_1")[0]["zones"][0] == "L3-8"
    assert ran.commanded() == AS_PLANNED


def test_silent_indicator_of_the_faulted_line__is_isolated_with_the_busbar_before_it(tmp_path: Path) -> None:
    """All that speaks points to busbar N3; closing onto L3-8 behind it would be the mistake."""
    ran = go(tmp_path, FAULT, "{at: 1 s, device fault: {indicator: LBS_3-8, fails: silent}}")
    (plan,) = ran.plans()
    assert {"Z_N3", "Z_L3-8"} <= set(plan["isolated"])
    assert ran.of("plan", plan["subject"])[-1]["outcome"] == "done"
    assert without_supply(ran) == plan["customers_not_restored"] > 0


def test_station_lost_during_the_plan__goes_around_it(tmp_path: Path) -> None:
    """RTU_3 has the first switch of the plan and cannot be reached: the isolation widens past it."""
    cut = "{at: 10 s, comms loss: {station: RTU_3, for: 60 s}}"
    ran = go(tmp_path, FAULT, cut, duration="110 s")
    assert ran.of("session", "RTU_3", state="lost")
    last = ran.plans()[-1]
    assert {"Z_N3", "Z_L3-8"} <= set(last["isolated"])
    assert ran.of("plan", last["subject"])[-1]["outcome"] == "done"
    assert without_supply(ran) == last["customers_not_restored"]


def test_spring_not_charged__step_waits_for_it(tmp_path: Path) -> None:
    """By hand CB_2 is opened and closed a moment before its feeder fails, so that its drive needs ten seconds."""
    by_hand = [f"{{at: {t} s, operate: {{switch: CB_2, to: {to}}}}}" for t, to in ((2, "open"), (3, "closed"))]
    fault = "{at: 5 s, id: fault1, fault: {line: L13-14, kind: three-phase}}"
    ran = go(tmp_path, *by_hand, fault, flisr="mode: automatic, settle: 1 s", duration="40 s")
    assert ran.of("plan_step", state="waiting")
    assert ran.commanded()[-1][0] in ("CB_2", "TIE_1")
    assert ran.of("plan", ran.plans()[-1]["subject"])[-1]["outcome"] == "done"


def test_false_indicator_behind_the_fault__location_stands(tmp_path: Path) -> None:
    ran = go(tmp_path, FAULT, "{at: 1 s, device fault: {indicator: LBS_8-9, fails: false}}")
    assert ran.of("indicator", "LBS_8-9")
    assert ran.of("location", "CB_1")[0]["zones"][0] == "L3-8"
    assert ran.commanded() == AS_PLANNED


def test_local_control__station_refuses_with_the_name_of_the_rule(tmp_path: Path) -> None:
    ran = go(tmp_path, FAULT, "{at: 1 s, local: {switch: LBS_8-3}}")
    refused = ran.of("refused", "RTU_8")
    assert [(row["point"], row["rule"]) for row in refused] == [("LBS_8-3.operate", "local_control")]
    assert [row["rule"] for row in ran.of("command", "LBS_8-3", phase="refused")] == ["station"]
    assert ran.commanded()[:4] == AROUND_N8


def test_local_control_of_a_breaker__control_room_refuses_before_it_asks(tmp_path: Path) -> None:
    operate = "{at: 3 s, operate: {switch: CB_1, to: open, at: control room}}"
    ran = go(tmp_path, "{at: 1 s, local: {switch: CB_1}}", operate, duration="6 s")
    assert [(row["phase"], row.get("rule")) for row in ran.of("command", "CB_1")][-1] == ("refused", "local control")
    assert not ran.of("command_received")
    assert not ran.of("breaker", "CB_1")
