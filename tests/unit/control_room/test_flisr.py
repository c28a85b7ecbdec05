"""FLISR at work: when it looks, and what becomes of its plans.

A trip at 2000 ms is reported in the cycle of 2100 ms; with 5 s to settle the fault is dealt with at 7100 ms.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from control_room_bench import CLOSED, NEVER, OPEN, SETTLE_MS, STEP_MS, Bench, network

from twin.derive import DeriveOptions
from twin.links.model import SessionEvent, SessionState
from twin.network.builder import NetworkBuilder
from twin.scada.tags import TagKind

FULL = ["open S1", "open S2", "close CB_1", "close TIE"]


def faulted(bench: Bench) -> Bench:
    """A permanent fault on L2 at 2 s: CB_1 trips, CB_1 and S1 indicate forward."""
    bench.run(2_000)
    bench.trip("CB_1", "S1")
    return bench


class TestNoticing:
    def test_flisr__plans_once_a_trip_has_settled(self, bench: Bench) -> None:
        faulted(bench).run(7_000)
        assert bench.plans() == []
        bench.run(60_000)
        [plan] = bench.plans()
        assert plan.t_ms == 7_100
        assert bench.steps() == FULL
        assert bench.operated == [("S1", "open"), ("S2", "open"), ("CB_1", "close"), ("TIE", "close")]
        assert bench.outcomes() == ["running", "done"]
        [location] = bench.lines("location")
        assert (location.subject, location.data["zones"][0]) == ("CB_1", "L2")

    def test_flisr__says_when_it_wants_to_look(self, bench: Bench) -> None:
        assert bench.room.desks["flisr"].next_event() == NEVER
        faulted(bench).run(3_000)
        assert bench.room.next_wanted() <= 7_100
        assert bench.room.desks["flisr"].next_event() == 7_100
        bench.run(60_000)
        assert bench.room.desks["flisr"].next_event() == NEVER

    def test_flisr__waits_on_for_late_indications(self, bench: Bench) -> None:
        bench.run(2_000)
        bench.trip("CB_1")
        bench.run(6_000)
        bench.tell("S1.fault_forward", 1.0, t_ms=1_990)
        bench.run(60_000)
        [plan] = bench.plans()
        assert plan.t_ms == 11_100
        assert bench.steps() == FULL

    def test_flisr__is_quiet_while_the_feeder_recloses(self, bench: Bench) -> None:
        bench.run(2_000)
        bench.tell("CB_1.reclose_active", 1.0)
        bench.trip("CB_1", "S1")
        bench.run(40_000)
        assert bench.plans() == []

    def test_flisr__does_nothing_when_reclosing_succeeds(self, bench: Bench) -> None:
        bench.run(2_000)
        bench.tell("CB_1.reclose_active", 1.0)
        bench.trip("CB_1", "S1")
        bench.run(3_000)
        bench.tell("CB_1.position", CLOSED)
        bench.tell("CB_1.trip", 0.0)
        bench.run(13_000)
        bench.tell("CB_1.reclose_active", 0.0)
        bench.run(60_000)
        assert bench.plans() == []
        assert bench.operated == []

    def test_flisr__plans_after_lockout(self, bench: Bench) -> None:
        bench.run(2_000)
        bench.tell("CB_1.reclose_active", 1.0)
        bench.trip("CB_1", "S1")
        bench.run(20_000)
        bench.tell("CB_1.reclose_active", 0.0)
        bench.tell("CB_1.lockout", 1.0)
        bench.run(60_000)
        [plan] = bench.plans()
        assert plan.t_ms == 25_100
        assert bench.steps() == FULL  # the indications of the first shot still count

    def test_flisr__does_nothing_about_a_head_opened_by_hand(self, bench: Bench) -> None:
        bench.run(2_000)
        bench.tell("CB_1.position", OPEN)
        bench.run(60_000)
        assert bench.plans() == []

    def test_flisr__does_nothing_about_a_trip_without_opening(self, bench: Bench) -> None:
        bench.run(2_000)
        bench.tell("CB_1.trip", 1.0)
        bench.run(60_000)
        assert bench.plans() == []

    def test_flisr__plans_again_for_the_next_fault_of_the_same_feeder(self, bench: Bench) -> None:
        faulted(bench).run(60_000)
        for switch in ("S1", "S2"):
            bench.tell(f"{switch}.fault_forward", 0.0)
        bench.tell("CB_1.fault_forward", 0.0)
        bench.run(70_000)
        bench.trip("CB_1")
        bench.run(120_000)
        assert [plan.t_ms for plan in bench.plans()] == [7_100, 75_100]
        assert "L1" in bench.lines("location")[1].data["zones"]

    def test_flisr__waits_for_a_feeder_head_that_cannot_be_read(self, bench: Bench) -> None:
        faulted(bench).run(3_000)
        bench.lose("CB_1")
        bench.run(30_000)
        assert bench.plans() == []
        bench.reconnect("CB_1")
        bench.run(60_000)
        assert bench.steps() == FULL
        assert bench.plans()[0].t_ms <= 35_100
        assert bench.operated == [("S1", "open"), ("S2", "open"), ("CB_1", "close"), ("TIE", "close")]

    def test_flisr__does_nothing_if_the_head_turns_out_to_be_closed_again(self, bench: Bench) -> None:
        faulted(bench).run(3_000)
        bench.lose("CB_1")
        bench.run(30_000)
        bench.tell("CB_1.position", CLOSED)
        bench.tell("CB_1.trip", 0.0)
        bench.reconnect("CB_1")
        bench.run(60_000)
        assert bench.plans() == []


class TestModes:
    def test_off__does_nothing(self) -> None:
        bench = Bench(flisr_mode="off").start()
        faulted(bench).run(60_000)
        assert bench.plans() == []
        assert bench.lines("location") == []
        assert bench.operated == []
        assert "flisr" not in bench.room.desks
        assert bench.room.next_wanted() == NEVER

    def test_advisory__waits_for_the_operator(self) -> None:
        bench = Bench(flisr_mode="advisory").start()
        faulted(bench).run(30_000)
        assert bench.steps() == FULL
        assert bench.operated == []
        [name] = bench.room.plans.waiting
        bench.room.operator({"approve_plan": name}, bench.now)
        bench.run(60_000)
        assert [switch for switch, _ in bench.operated] == ["S1", "S2", "CB_1", "TIE"]
        assert bench.room.counts()["plans_done"] == 1

    def test_advisory__rejected_plan_is_not_made_again(self) -> None:
        bench = Bench(flisr_mode="advisory").start()
        faulted(bench).run(30_000)
        bench.room.operator({"reject_plan": "all"}, bench.now)
        bench.run(90_000)
        assert len(bench.plans()) == 1
        assert bench.operated == []
        assert bench.room.counts()["plans_rejected"] == 1

    def test_advisory__new_plan_waits_as_well(self) -> None:
        bench = Bench(flisr_mode="advisory").start()
        bench.jammed = {"S2"}
        faulted(bench).run(30_000)
        bench.room.operator({"approve_plan": "all"}, bench.now)
        bench.run(60_000)
        assert len(bench.plans()) == 2
        assert len(bench.room.plans.waiting) == 1
        assert bench.operated == [("S1", "open")]


class TestReplanning:
    """A switch that did not do as it was told is not used again; the fault is isolated around it."""

    @pytest.mark.parametrize("trouble", ["jammed", "refusing"])
    def test_replan__goes_round_a_switch_that_failed(self, bench: Bench, trouble: str) -> None:
        setattr(bench, trouble, {"S1"})
        faulted(bench).run(60_000)
        assert bench.steps(1) == ["open S2", "close TIE"]
        assert bench.operated == [("S2", "open"), ("TIE", "close")]
        assert bench.outcomes()[0] == "running"
        assert bench.outcomes()[1].startswith("step 1 failed: ")
        assert bench.outcomes()[2:] == ["running", "done"]

    def test_replan__in_mid_plan_still_knows_who_had_supply(self, bench: Bench) -> None:
        """S1 is open already when S2 fails: behind it, N3 can still be restored."""
        bench.jammed = {"S2"}
        faulted(bench).run(60_000)
        assert bench.steps(1) == ["open S3", "close CB_1", "close TIE"]
        assert bench.plans()[1].data["customers_interrupted"] == 300
        assert bench.plans()[1].data["customers_not_restored"] == 100  # N2, isolated with L2

    def test_replan__after_the_head_was_closed_admits_what_it_cannot_restore(self, bench: Bench) -> None:
        bench.jammed = {"TIE"}
        faulted(bench).run(60_000)
        second = bench.plans()[1].data
        assert (second["steps"], second["customers_not_restored"]) == ([], 200)
        assert second["verdict"] == "isolation only"
        assert bench.outcomes()[-1] == "nothing can be operated"

    def test_replan__scales_demand_as_before_the_fault(self, bench: Bench) -> None:
        bench.jammed = {"S2"}
        faulted(bench).run(60_000)
        [incident] = bench.room.desks["flisr"].snapshot()["incidents"]
        # 600 kW were measured at CB_1 before, 400 kW each are rated at N1 to N3, less a little for losses
        assert 590 < sum(incident["p_kw"][:3]) <= 600

    def test_replan__refused_in_the_same_instant_has_a_name_of_its_own(self, bench: Bench) -> None:
        """A command of the dispatcher on S1 is still without an answer, so the plan's is refused at once."""
        faulted(bench).run(7_000)
        bench.mute = {bench.point["S1.position"].station}
        bench.room.operate("S1", False, bench.now)
        bench.run(7_100)
        assert [plan.subject for plan in bench.plans()] == ["flisr-CB_1-7100", "flisr-CB_1-7100-2"]
        assert bench.outcomes()[:2] == ["running", "step 1 failed: command 1 on S1 is still in progress"]

    @pytest.mark.parametrize("limit", [0, 1, 2])
    def test_replan__is_tried_a_limited_number_of_times(self, limit: int) -> None:
        bench = Bench(flisr_mode="automatic", max_replans=limit).start()
        bench.refusing = {"S1", "S2", "S3", "TIE", "CB_1"}
        faulted(bench).run(120_000)
        assert 1 <= len(bench.plans()) <= 1 + limit
        assert bench.operated == []

    def test_replan__anew_when_the_station_of_a_failed_switch_is_back(self) -> None:
        bench = Bench(flisr_mode="automatic", max_replans=0).start()
        bench.refusing = {"S1", "S2", "S3", "TIE", "CB_1"}
        faulted(bench).run(30_000)
        assert len(bench.plans()) == 1
        bench.refusing = set()
        station = bench.point["S1.position"].station
        bench.room.step([SessionEvent(station, SessionState.INTERROGATED, bench.now)], bench.now)
        bench.run(60_000)
        assert len(bench.plans()) == 2
        assert bench.outcomes()[-1] == "done"

    def test_replan__of_a_mute_station_waits_for_the_time_limit(self, bench: Bench) -> None:
        bench.mute = {bench.point["S1.position"].station}
        faulted(bench).run(60_000)
        failed = [outcome for outcome in bench.outcomes() if "failed" in outcome]
        assert failed[0] == "step 1 failed: RTU_1 did not answer the select, so nothing was operated"
        assert ("S1", "open") not in bench.operated


@pytest.mark.parametrize("mode", ["automatic", "advisory"])
def test_flisr__two_feeders_at_once_are_dealt_with_apart(mode: str) -> None:
    bench = Bench(flisr_mode=mode).start()
    bench.run(2_000)
    bench.trip("CB_1", "S1")
    bench.trip("CB_2")
    bench.run(60_000)
    assert {plan.subject.split("-")[1] for plan in bench.plans()} == {"CB_1", "CB_2"}
    assert ("TIE", "close") not in bench.operated  # nobody left to take over


def shedding_bench() -> Bench:
    """With under-frequency relays at the feeder heads."""
    options = DeriveOptions(under_frequency_stages_hz=(49.0,))
    return Bench(options=options, flisr_mode="automatic").start()


def shed(bench: Bench, head: str) -> None:
    bench.tell(f"{head}.ufls_trip", 1.0)
    bench.tell(f"{head}.position", OPEN)


def bring_back(bench: Bench, head: str) -> None:
    bench.tell(f"{head}.ufls_trip", 0.0)
    bench.tell(f"{head}.position", CLOSED)


class TestLoadShedding:
    """While feeders are off because the frequency was low, FLISR restores nobody, and says why."""

    def test_flisr__waits_while_load_is_shed(self) -> None:
        bench = shedding_bench()
        shed(bench, "CB_2")
        faulted(bench).run(30_000)
        assert bench.plans() == []
        [finding] = bench.lines("finding")
        assert (finding.subject, finding.data["finding"]) == ("CB_1", "flisr_inhibited")
        assert finding.data["why"] == "FLISR waits because under-frequency relays have opened CB_2."
        bring_back(bench, "CB_2")
        bench.run(90_000)
        assert bench.steps() == FULL
        assert bench.outcomes() == ["running", "done"]
        assert [entry.data["state"] for entry in bench.lines("finding")] == ["found", "ended"]

    def test_flisr__stops_a_running_plan_when_load_is_shed(self) -> None:
        bench = shedding_bench()
        faulted(bench).run(7_200)
        assert bench.outcomes() == ["running"]
        shed(bench, "CB_2")
        bench.run(30_000)
        assert bench.outcomes() == ["running", "stopped after step 1: under-frequency relays have opened CB_2"]
        assert bench.operated == [("S1", "open")]
        bring_back(bench, "CB_2")
        bench.run(90_000)
        assert bench.operated == [("S1", "open"), ("S2", "open"), ("CB_1", "close"), ("TIE", "close")]

    def test_flisr__takes_back_a_selection_when_its_plan_is_stopped(self) -> None:
        """The station of S1 has not answered the select: the command is withdrawn, and S1 stays where it is."""
        bench = shedding_bench()
        faulted(bench).run(7_000)
        bench.mute = {bench.point["S1.position"].station}
        bench.run(7_200)
        shed(bench, "CB_2")
        bench.run(7_400)
        assert bench.outcomes() == ["running", "stopped before step 1: under-frequency relays have opened CB_2"]
        assert [entry.data["state"] for entry in bench.lines("plan_step")] == ["started", "withdrawn"]
        [given_up] = [e for e in bench.lines("command") if e.data["phase"] == "refused"]
        assert given_up.data["rule"] == "withdrawn"
        assert bench.room.front_end.commands.in_progress == ()
        bench.mute = set()
        bench.run(30_000)
        assert bench.operated == []

    def test_flisr__awaits_the_outcome_of_an_operation_when_its_plan_is_stopped(self) -> None:
        """S1 is opening already and jams: the plan ends with what became of it."""
        bench = shedding_bench()
        bench.jammed = {"S1"}
        faulted(bench).run(7_200)
        shed(bench, "CB_2")
        bench.run(60_000)
        states = [entry.data["state"] for entry in bench.lines("plan_step")]
        assert states == ["started", "awaited", "failed"]
        assert bench.outcomes()[-1].startswith("step 1 failed: ")
        assert bench.room.front_end.commands.in_progress == ()

    def test_flisr__goes_on_from_a_snapshot_while_it_waits(self) -> None:
        bench = shedding_bench()
        faulted(bench).run(7_300)
        shed(bench, "CB_2")
        bench.run(30_000)
        again = shedding_bench().restore(bench.snapshot())
        for one in (bench, again):
            one.journal.clear()
            bring_back(one, "CB_2")
            one.run(90_000)
        assert again.journal == bench.journal
        assert again.outcomes()[-1] == "done"


class TestLiveLineWork:
    def test_flisr__does_not_energise_what_a_hold_off_tag_protects(self, bench: Bench) -> None:
        bench.room.operator({"hold_off": "S3"}, bench.now)
        faulted(bench).run(60_000)
        assert ("TIE", "close") not in bench.operated
        assert any("S3 bears a hold-off tag" in sentence for sentence in bench.plans()[0].data["why"])

    @pytest.mark.parametrize("kind", [TagKind.CAUTION_NOTICE, TagKind.DO_NOT_OPERATE])
    def test_flisr__heeds_a_hold_off_tag_beside_another_tag(self, bench: Bench, kind: TagKind) -> None:
        bench.room.front_end.tags.place("S3", kind, "anna", "works", bench.now)
        bench.room.operator({"hold_off": "S3"}, bench.now)
        faulted(bench).run(60_000)
        assert ("TIE", "close") not in bench.operated


class TestAnotherFault:
    def test_flisr__takes_a_switch_that_moved_after_the_trip_as_it_stood_before(self, bench: Bench) -> None:
        """TIE is on its way when CB_2 trips: before the fault there was no ring."""
        bench.run(2_000)
        bench.room.operate("TIE", True, bench.now)
        while not bench.moving:
            bench.run(bench.now + STEP_MS)
        bench.trip("CB_2")  # told to the control room together with the position of TIE
        bench.run(20_000)
        assert bench.operated[0] == ("TIE", "close")
        assert bench.lines("location")[0].data["zones"][0] == "L4, L5"

    def test_flisr__stops_when_the_feeder_head_trips_again(self, bench: Bench) -> None:
        """CB_1 trips again after the plan has closed it: TIE stays open, N2 is not what the tie may supply."""
        faulted(bench)
        while ("CB_1", "close") not in bench.operated:
            bench.now += STEP_MS
            bench.drive()
            if ("CB_1", "close") in bench.operated:
                bench.trip("CB_1")  # before the station has sent anything
            bench.cycle()
        bench.run(bench.now + 20_000)
        assert ("TIE", "close") not in bench.operated
        assert [entry.subject for entry in bench.lines("location")] == ["CB_1", "CB_1"]

    def test_flisr__closes_no_tie_onto_a_feeder_that_has_tripped_too(self, bench: Bench) -> None:
        """CB_2 trips while S1 opens: the tie would lead to nowhere, or onto the other fault."""
        faulted(bench).run(7_200)
        bench.trip("CB_2")
        bench.run(90_000)
        assert ("TIE", "close") not in bench.operated
        assert ("CB_1", "close") in bench.operated
        assert "stopped after step 1: CB_2 has tripped" in bench.outcomes()


class TestRepair:
    """Fault on L2: S1 and S2 open, TIE closed. After the repair everything goes back."""

    def test_repaired__returns_to_normal_open_before_close(self, bench: Bench) -> None:
        faulted(bench).run(60_000)
        bench.room.operator({"repaired": "L2"}, bench.now)
        bench.run(120_000)
        assert bench.steps(1) == ["close S1", "open TIE", "close S2"]
        assert bench.plans()[1].data["verdict"] == "return to normal"
        assert bench.outcomes()[-1] == "done"
        assert bench.operated[4:] == [("S1", "close"), ("TIE", "open"), ("S2", "close")]

    def test_repaired__returns_to_normal_in_a_loop_if_that_is_allowed(self) -> None:
        bench = Bench(flisr={"mode": "automatic", "settle_ms": 5_000, "limits": {"close_loops": True}}).start()
        faulted(bench).run(60_000)
        bench.room.operator({"repaired": "L2"}, bench.now)
        bench.run(120_000)
        assert bench.operated[4:] == [("S1", "close"), ("S2", "close"), ("TIE", "open")]

    def test_repaired__in_advisory_mode_waits_for_the_operator(self) -> None:
        bench = Bench(flisr_mode="advisory").start()
        faulted(bench).run(30_000)
        bench.room.operator({"approve_plan": "all"}, bench.now)
        bench.run(60_000)
        bench.room.operator({"repaired": "L2"}, bench.now)
        bench.run(90_000)
        assert bench.room.plans.waiting == ["flisr-CB_1-return-60000"]

    @pytest.mark.parametrize("place", ["L5", "N1"])
    def test_repaired__elsewhere_does_nothing_and_says_so(self, bench: Bench, place: str) -> None:
        faulted(bench).run(60_000)
        bench.room.operator({"repaired": place}, bench.now)
        bench.run(90_000)
        assert len(bench.plans()) == 1
        assert bench.lines("repaired")[0].data == {"why": "no fault is known there"}

    def test_repaired__but_a_drive_fails_on_the_way_back(self, bench: Bench) -> None:
        faulted(bench).run(60_000)
        bench.jammed = {"S1"}
        bench.room.operator({"repaired": "L2"}, bench.now)
        bench.run(150_000)
        assert bench.plans()[2].data["why"][-1].startswith("No plan: S1 cannot be operated")
        assert ("TIE", "open") not in bench.operated

    def test_repaired__badly_trips_and_the_rest_of_the_plan_is_not_carried_out(self, bench: Bench) -> None:
        """S1 energises L2, which is still at fault: CB_1 trips while TIE opens. S2 must not close from the other side.

        What TIE supplied until then lost its supply by the plan, and TIE gives it back.
        """
        faulted(bench).run(60_000)
        bench.room.operator({"repaired": "L2"}, bench.now)
        while ("S1", "close") not in bench.operated:
            bench.run(bench.now + 100)
        bench.trip("CB_1", "S1")
        bench.run(150_000)
        assert ("S2", "close") not in bench.operated
        assert bench.operated[-3:] == [("S1", "open"), ("CB_1", "close"), ("TIE", "close")]


def test_flisr__looks_ahead_to_the_evening_peak() -> None:
    """The feeders take what they were measured to take at midnight, and 2.6 times that (0.38 to 1.00) at 18 o'clock.

    CB_2 with N2 and N3 taken over: 600 kW x 2/3 + 200 kW = 600 kW = 18 A now, and 47 A then, where L5
    may carry 40 A: N2 is left out.
    """
    tight = {"mode": "automatic", "settle_ms": SETTLE_MS, "limits": {"max_loading": 0.2}}
    load = {"load_model": {"profile": "winter-weekday"}}
    not_restored = {}
    for hours in (0, 20):
        bench = Bench(flisr={**tight, **load, "look_ahead_ms": hours * 3_600_000}).start()
        faulted(bench).run(30_000)
        not_restored[hours] = bench.plans()[0].data["customers_not_restored"]
    assert not_restored == {0: 0, 20: 100}


def test_flisr__waits_until_an_island_behind_the_head_is_dead() -> None:
    """A unit at N3 feeds the part at fault on for a while: no switch is moved before its protection has tripped it."""
    grid = network()
    unit = NetworkBuilder("unit")
    unit.node("N3", v_kv=20.0)
    unit.generator("PV", "N3", p_kw=400.0)
    of_unit = unit.build().generators
    at = np.array([grid.nodes.names.index("N3")], dtype=np.int32)
    bench = Bench(grid=replace(grid, generators=replace(of_unit, node=at)), flisr_mode="automatic").start()
    faulted(bench)
    for node in ("N1", "N2", "N3"):
        bench.tell(f"{node}.v_kv", 16.0)
    bench.run(20_000)
    assert bench.plans() == []
    [finding] = bench.lines("finding")
    assert finding.data["why"] == "FLISR waits because generation behind CB_1 feeds the part at fault."
    for node in ("N1", "N2", "N3"):
        bench.tell(f"{node}.v_kv", 0.0)
    bench.run(60_000)
    assert bench.steps() == FULL
