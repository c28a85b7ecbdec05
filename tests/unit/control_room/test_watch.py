"""What FLISR is shown of the network, out of telemetry alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from control_room_bench import BETWEEN, CLOSED, OPEN, Bench

from twin.control_room.watch import INDICATION_SLACK_MS, NOT_DISTURBED, NetworkWatch
from twin.dms.flisr import Observation
from twin.points.model import Quality
from twin.scada.tags import TagKind

CB_1, CB_2, S1, S2, S3, TIE = range(6)


def observe(bench: Bench, trip_t_ms: int = 0) -> Observation:
    consumers = bench.network.consumers
    return bench.room.watch.observe(bench.now, trip_t_ms, consumers.p_kw, consumers.q_kvar)


def told(bench: Bench, *values: tuple[str, float]) -> NetworkWatch:
    """The watch after these have been reported in one cycle."""
    for point, value in values:
        bench.tell(point, value)
    bench.run(bench.now + 100)
    return bench.room.watch


def names(bench: Bench, mask: np.ndarray) -> list[str]:
    return [name for name, chosen in zip(bench.network.switches.names, mask, strict=True) if chosen]


def test_bench__switches_are_in_the_order_of_these_tests(bench: Bench) -> None:
    assert bench.network.switches.names == ("CB_1", "CB_2", "S1", "S2", "S3", "TIE")


class TestPositions:
    def test_positions__are_those_telemetered(self, bench: Bench) -> None:
        assert bench.room.watch.positions().tolist() == [CLOSED] * 5 + [OPEN]
        told(bench, ("S1.position", OPEN), ("S2.position", BETWEEN))
        assert bench.room.watch.positions().tolist() == [CLOSED, CLOSED, OPEN, BETWEEN, CLOSED, OPEN]

    def test_positions__are_unknown_before_the_first_interrogation(self) -> None:
        watch = Bench().room.watch
        assert watch.positions().tolist() == [BETWEEN] * 6
        assert not watch.position.good().any()

    def test_observation__of_a_lost_station_shows_the_last_position_as_not_topical(self, bench: Bench) -> None:
        bench.lose("S2")
        bench.run(2_000)
        seen = observe(bench)
        assert names(bench, ~seen.position_known) == ["S2", "S3"]
        assert all(seen.quality[[S2, S3]] & Quality.NOT_TOPICAL)
        assert names(bench, seen.remote) == ["CB_1", "CB_2", "S1", "TIE"]


class TestBeforeTheFault:
    def test_closed_before__starts_with_the_normal_state(self) -> None:
        bench = Bench()
        assert bench.room.watch.closed_before.tolist() == bench.network.switches.normally_closed.tolist()

    def test_closed_before__follows_switching_in_peace(self, bench: Bench) -> None:
        watch = told(bench, ("S2.position", OPEN), ("TIE.position", CLOSED))
        assert names(bench, watch.closed_before) == ["CB_1", "CB_2", "S1", "S3", "TIE"]

    @pytest.mark.parametrize("position", [BETWEEN, 3.0])
    def test_closed_before__takes_no_position_that_is_neither(self, bench: Bench, position: float) -> None:
        assert told(bench, ("S2.position", position)).closed_before[S2]

    def test_closed_before__takes_no_position_of_bad_quality(self, bench: Bench) -> None:
        bench.tell("S2.position", OPEN, quality=Quality.INVALID)
        bench.run(2_000)
        assert bench.room.watch.closed_before[S2]

    @pytest.mark.parametrize("flag", ["trip", "reclose_active", "lockout"])
    def test_closed_before__of_a_feeder_head_is_frozen_while_its_protection_acts(self, bench: Bench, flag: str) -> None:
        watch = told(bench, (f"CB_1.{flag}", 1.0), ("CB_1.position", OPEN))
        assert watch.closed_before[CB_1]
        assert names(bench, watch.disturbed()) == ["CB_1"]
        told(bench, (f"CB_1.{flag}", 0.0))
        assert not watch.closed_before[CB_1]

    def test_closed_before__is_not_given_up_because_the_flags_cannot_be_read(self, bench: Bench) -> None:
        watch = told(bench, ("CB_1.trip", 1.0), ("CB_1.position", OPEN))
        bench.tell("CB_1.trip", 1.0, quality=Quality.NOT_TOPICAL)
        bench.run(3_000)
        assert watch.closed_before[CB_1]
        assert watch.disturbed_since[CB_1] == 1_000

    def test_closed_before__survives_a_lost_connection(self, bench: Bench) -> None:
        watch = told(bench, ("CB_1.trip", 1.0), ("CB_1.position", OPEN))
        bench.lose("CB_1")
        bench.run(2_000)
        bench.reconnect("CB_1")
        bench.run(3_000)
        assert watch.closed_before[CB_1]
        assert watch.disturbed_since[CB_1] == 1_000

    def test_measurement__before_the_fault_is_kept(self, bench: Bench) -> None:
        watch = told(bench, ("CB_1.p_kw", 640.0), ("CB_1.q_kvar", 160.0))
        bench.trip("CB_1")
        bench.run(2_000)
        measured = watch.head_measurements()
        assert (measured.p_kw[CB_1], measured.q_kvar[CB_1]) == (640.0, 160.0)
        assert (measured.p_kw[CB_2], measured.q_kvar[CB_2]) == (200.0, 50.0)
        assert measured.valid[[CB_1, CB_2]].all()

    def test_measurement__of_an_open_switch_is_no_load(self, bench: Bench) -> None:
        watch = told(bench, ("CB_1.position", OPEN), ("CB_1.p_kw", 0.0))
        assert watch.head_p_kw[CB_1] == 600.0

    def test_measurement__that_is_unknown_is_not_valid(self) -> None:
        assert not Bench().room.watch.head_measurements().valid.any()


class TestDating:
    def test_disturbance__is_dated_by_its_first_sign_over_all_shots(self, bench: Bench) -> None:
        watch = told(bench, ("CB_1.reclose_active", 1.0), ("CB_1.trip", 1.0))
        assert watch.disturbed_since[CB_1] == 1_000
        told(bench, ("CB_1.trip", 0.0), ("CB_1.position", CLOSED))
        told(bench, ("CB_1.trip", 1.0))
        assert watch.disturbed_since[CB_1] == 1_000
        told(bench, ("CB_1.trip", 0.0), ("CB_1.reclose_active", 0.0))
        assert watch.disturbed_since[CB_1] == NOT_DISTURBED

    def test_disturbance__that_comes_again_is_dated_anew(self, bench: Bench) -> None:
        watch = told(bench, ("CB_1.trip", 1.0))
        told(bench, ("CB_1.trip", 0.0))
        bench.run(5_000)
        told(bench, ("CB_1.trip", 1.0))
        assert watch.disturbed_since[CB_1] == 5_000


class TestIndications:
    def test_indication__of_this_fault_counts(self, bench: Bench) -> None:
        told(bench, ("CB_1.fault_forward", 1.0), ("S1.fault_forward", 1.0), ("S2.fault_reverse", 1.0))
        seen = observe(bench, trip_t_ms=1_000)
        assert names(bench, seen.fault_forward) == ["CB_1", "S1"]
        assert names(bench, seen.fault_reverse) == ["S2"]
        assert seen.indication_valid.all()

    @pytest.mark.parametrize(("slack", "fresh"), [(INDICATION_SLACK_MS, True), (INDICATION_SLACK_MS + 1, False)])
    def test_indication__from_before_the_fault_is_stale_and_says_nothing(
        self, bench: Bench, slack: int, fresh: bool
    ) -> None:
        told(bench, ("S1.fault_forward", 1.0))  # at 1000
        seen = observe(bench, trip_t_ms=1_000 + slack)
        assert seen.fault_forward[S1] == fresh
        assert seen.indication_valid[S1] == fresh  # a stale one is no news of "no fault" either
        assert seen.indication_valid[S2]

    def test_indication__stale_in_one_direction_spoils_the_other(self, bench: Bench) -> None:
        told(bench, ("S1.fault_reverse", 1.0))
        bench.run(9_000)
        told(bench, ("S1.fault_forward", 1.0))
        seen = observe(bench, trip_t_ms=9_000)
        assert (seen.fault_forward[S1], seen.fault_reverse[S1], seen.indication_valid[S1]) == (True, False, False)

    def test_indication__that_cannot_be_read_is_not_valid(self, bench: Bench) -> None:
        told(bench, ("S2.fault_forward", 1.0))
        bench.lose("S2")
        bench.run(2_000)
        seen = observe(bench, trip_t_ms=1_000)
        assert names(bench, ~seen.indication_valid) == ["S2", "S3"]
        assert not seen.fault_forward[S2]

    def test_indications__are_new_once(self, bench: Bench) -> None:
        watch = told(bench)
        watch.take_new_indications()
        bench.tell("S1.fault_forward", 1.0)
        bench.cycle_events()
        assert names(bench, watch.take_new_indications()) == ["S1"]
        assert not watch.take_new_indications().any()


class TestOperability:
    @pytest.mark.parametrize("kind", [TagKind.CAUTION_NOTICE, TagKind.DO_NOT_OPERATE])
    def test_tag__that_forbids_an_operation_blocks_the_switch(self, bench: Bench, kind: TagKind) -> None:
        tags = bench.room.front_end.tags
        number = tags.place("S2", kind, "anna", "works", bench.now)
        assert names(bench, observe(bench).blocked) == ["S2"]
        tags.remove(number, "anna", "done", bench.now)
        assert names(bench, observe(bench).blocked) == []

    def test_hold_off_tag__forbids_closing_alone(self, bench: Bench) -> None:
        bench.room.front_end.tags.place("S2", TagKind.HOLD_OFF, "anna", "live-line work", bench.now)
        seen = observe(bench)
        assert (names(bench, seen.blocked), names(bench, seen.held_off)) == ([], ["S2"])
        bench.room.front_end.tags.place("S2", TagKind.DO_NOT_OPERATE, "ben", "works", bench.now)
        seen = observe(bench)
        assert (names(bench, seen.blocked), names(bench, seen.held_off)) == (["S2"], ["S2"])

    def test_local_control__blocks_the_switch(self, bench: Bench) -> None:
        told(bench, ("CB_2.local", 1.0))
        assert names(bench, observe(bench).blocked) == ["CB_2"]


class TestHeads:
    def test_head_signs__are_those_of_feeder_heads_that_can_be_read(self, bench: Bench) -> None:
        watch = told(bench, ("CB_1.trip", 1.0), ("CB_1.position", OPEN), ("CB_2.reclose_active", 1.0))
        signs = watch.head_signs()
        assert sorted(signs) == ["CB_1", "CB_2"]
        assert (signs["CB_1"].tripped, signs["CB_1"].is_open, signs["CB_1"].lost) == (True, True, True)
        assert (signs["CB_2"].reclose_active, signs["CB_2"].is_open) == (True, False)
        bench.lose("CB_1")  # both stand in one substation
        bench.run(2_000)
        assert watch.head_signs() == {}


def test_snapshot__remembers_the_state_before_the_fault(bench: Bench) -> None:
    told(bench, ("S2.position", OPEN), ("CB_1.p_kw", 640.0))
    bench.trip("CB_1", "S1")
    bench.run(2_000)
    taken = json.dumps(bench.room.watch.snapshot())
    other = Bench().room.watch
    other.restore(json.loads(taken))
    assert json.dumps(other.snapshot()) == taken
    assert other.closed_before[CB_1]
    assert not other.closed_before[S2]
    assert other.head_p_kw[CB_1] == 640.0
    assert np.isnan(other.head_p_kw[TIE])
    assert other.disturbed_since[CB_1] > 0
