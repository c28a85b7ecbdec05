"""How applications are hosted: desks, calculated points, findings, study mode."""

from __future__ import annotations

import json

import numpy as np
import pytest
from control_room_bench import CLOSED, OPEN, Bench

from twin.control_room.applications import UnknownApplicationError
from twin.control_room.desk import CyclicDesk, Finding, Findings
from twin.journal import JournalEntry
from twin.links.model import ArrivedSample
from twin.network.builder import NetworkBuilder
from twin.network.model import SwitchKind
from twin.points.calculated import CALCULATED, calculated_point, is_calculated
from twin.points.model import PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.scada.point_database import PointDatabase, UnknownPointError
from twin.timebase import NEVER

TELEMETERED = PointDefinition("RTU", "L1.p_kw", PointKind.MEASURAND, "L1", "p_kw", PointAddress(1, 3000, 13), "kW")
RESULT = calculated_point("L1", "se_p_kw", "kW")
COUNT = calculated_point("state_estimation", "measurements", equipment=False)


class TestCalculatedPoints:
    @pytest.fixture
    def database(self) -> PointDatabase:
        return PointDatabase([TELEMETERED, RESULT, COUNT])

    def test_point__is_named_after_its_owner(self) -> None:
        assert (RESULT.name, RESULT.equipment, RESULT.quantity) == ("L1.se_p_kw", "L1", "se_p_kw")
        assert (COUNT.name, COUNT.equipment) == ("state_estimation.measurements", "")
        assert is_calculated(RESULT)
        assert not is_calculated(TELEMETERED)

    def test_publish__writes_value_quality_and_time(self, database: PointDatabase) -> None:
        writer = database.calculated([RESULT.name, COUNT.name])
        writer.publish(np.array([12.5, np.nan]), np.array([0, int(Quality.SUBSTITUTED)], dtype=np.uint8), 4_000)
        view = database.view(writer.points)
        assert view.values[0] == 12.5
        assert view.quality.tolist() == [0, int(Quality.SUBSTITUTED | Quality.INVALID)]
        assert view.source_t_ms.tolist() == view.arrival_t_ms.tolist() == [4_000, 4_000]
        writer.withdraw()
        assert database.quality(RESULT.name) is Quality.NOT_TOPICAL
        assert database.value(RESULT.name) == 12.5

    def test_publish__needs_a_calculated_point(self, database: PointDatabase) -> None:
        with pytest.raises(UnknownPointError, match=r"L1\.p_kw"):
            database.calculated([TELEMETERED.name])

    @pytest.mark.parametrize("station", [CALCULATED, "RTU"])
    def test_field__cannot_write_them(self, database: PointDatabase, station: str) -> None:
        sample = Sample(station, RESULT.name, 99.0, Quality.GOOD, 0)
        with pytest.raises(UnknownPointError):
            database.apply(ArrivedSample(sample, 0))
        assert not database.has(station, RESULT.name)

    def test_session_loss__leaves_them(self, database: PointDatabase) -> None:
        database.calculated([RESULT.name]).publish(np.array([1.0]), Quality.GOOD, 0)
        database.session_lost("RTU", 10)
        database.session_lost(CALCULATED, 10)
        assert CALCULATED not in database.stations

    def test_snapshot__holds_them(self, database: PointDatabase) -> None:
        database.calculated([RESULT.name]).publish(np.array([7.0]), Quality.GOOD, 300)
        state = json.loads(json.dumps(database.snapshot(), allow_nan=False))
        again = PointDatabase([TELEMETERED, RESULT, COUNT])
        again.restore(state)
        assert again.value(RESULT.name) == 7.0
        assert again.good(RESULT.name)


def test_findings__are_journalled_when_they_come_and_go() -> None:
    journal: list[JournalEntry] = []
    findings = Findings("state_estimation", journal.append)
    lies = Finding("CB_1.p_kw", "bad measurement", "CB_1.p_kw reads 300 kW too much.", {"error": 300.0})
    findings.update([lies], 1_000)
    findings.update([Finding("CB_1.p_kw", "bad measurement", "301 kW too much.")], 2_000)
    again = Findings("state_estimation", journal.append)
    again.restore(json.loads(json.dumps(findings.snapshot())))
    again.update([], 3_000)
    assert [(e.t_ms, e.subject, e.data["state"]) for e in journal] == [
        (1_000, "CB_1.p_kw", "found"),
        (3_000, "CB_1.p_kw", "ended"),
    ]
    assert journal[0].data["why"] == lies.why
    assert (again.found, again.standing) == (1, ())


class Looker(CyclicDesk):
    def run(self, now: int) -> None:
        self.looks = [*getattr(self, "looks", []), now]


class TestCyclicDesk:
    def test_step__looks_each_period_and_after_a_switch_has_moved(self, bench: Bench) -> None:
        desk = Looker("test", bench.room.host, period_ms=10_000, settle_ms=500)
        assert desk.next_event() == NEVER
        desk.follow(1_000)
        assert desk.next_event() == 1_500
        for now in (1_400, 1_500, 5_000):
            desk.step(now)
        bench.tell("S2.position", OPEN)
        bench.run(6_000)
        desk.follow(6_000)
        desk.step(6_500)
        desk.run_now(7_000)
        desk.step(7_000)
        desk.step(16_999)
        desk.step(17_000)
        assert desk.looks == [1_500, 6_500, 7_000, 17_000]
        assert desk.counts() == {"runs": 4, "findings": 0}


class TestStudy:
    def faulted(self) -> Bench:
        bench = Bench(flisr_mode="advisory").start()
        bench.run(2_000)
        bench.trip("CB_1", "S1")
        return bench.run(8_000)

    def test_study__plays_a_waiting_plan_without_touching_the_live_state(self) -> None:
        bench = self.faulted()
        before = bench.snapshot()
        branch = bench.room.study()
        assert branch.plans.waiting == bench.room.plans.waiting != []
        branch.approve("all")
        position = dict(zip(bench.network.switches.names, branch.watch.positions(), strict=True))
        assert position == {"CB_1": CLOSED, "CB_2": CLOSED, "S1": OPEN, "S2": OPEN, "S3": CLOSED, "TIE": CLOSED}
        assert branch.journal[-1].data["outcome"] == "done"
        assert bench.snapshot() == before
        assert bench.run(20_000).operated == []
        assert bench.outcomes() == []

    def test_study__runs_what_is_off_in_the_control_room(self, bench: Bench) -> None:
        quiet = Bench(flisr_mode="off").start()
        branch = quiet.room.study()
        for point, value in {"CB_1.position": OPEN, "CB_1.trip": 1.0, "CB_1.fault_forward": 1.0}.items():
            branch.set_value(point, value)
        branch.step(branch.now)
        branch.step(branch.now + 10_000)
        assert len(branch.plans.waiting) == 1
        assert quiet.run(30_000).plans() == []

    def test_study__goes_on_from_an_incident_of_the_live_state(self) -> None:
        bench = Bench(flisr_mode="automatic").start()
        bench.run(2_000)
        bench.trip("CB_1", "S1")
        bench.run(3_000)
        branch = bench.room.study()
        branch.step(7_100)
        assert len(branch.plans.waiting) == 1
        assert bench.plans() == []

    def test_study__steps_taps_of_a_waiting_volt_var_plan(self) -> None:
        """BB at 0.93 pu behind a transformer: the plan waits, and played through leaves nothing more to be done."""
        b = NetworkBuilder("tapped")
        b.node("HV", v_kv=110.0)
        b.node("BB", v_kv=20.0)
        b.source("SRC", "HV", v_pu=0.955)
        b.transformer(
            "T", "HV", "BB", s_kva=10_000.0, v_from_kv=110.0, v_to_kv=20.0, vk_percent=10.0, vkr_percent=0.5,
            tap_side=0, tap_min=-6, tap_max=6, tap_neutral=0, tap_step_percent=1.25, tap_position=0,
        )  # fmt: skip
        b.line("L", "BB", "N", length_km=1.0, r_ohm_per_km=0.2, x_ohm_per_km=0.3, i_max_a=200.0)
        b.node("N", v_kv=20.0)
        b.switch("CB", SwitchKind.BREAKER, "BB", branch="L", feeder_head=True)
        b.consumer("C", "N", p_kw=5_000.0, q_kvar=2_000.0)
        bench = Bench(grid=b.build(), volt_var={"mode": "advisory", "delay_ms": 0}).start()
        for name, value in {"CB.p_kw": 5_000.0, "CB.q_kvar": 2_000.0, "BB.v_kv": 18.6, "N.v_kv": 18.5}.items():
            if name in bench.point:
                bench.tell(name, value)
        bench.run(2_000)
        before, branch = bench.snapshot(), bench.room.study()
        branch.run("volt_var")
        assert len(branch.plans.waiting) == 1
        tap = branch.database.value("T.tap")
        branch.approve("all")
        assert branch.journal[-1].data["outcome"] == "done"
        assert branch.database.value("T.tap") < tap
        assert not branch.database.good("BB.v_kv")  # measured before the taps moved
        branch.run("volt_var")
        assert branch.plans.waiting == []
        assert branch.database.value("volt_var.v_min_pu") >= 0.95
        assert bench.snapshot() == before

    def test_study__refuses_what_is_not_telemetered(self, bench: Bench) -> None:
        with pytest.raises(UnknownPointError):
            bench.room.study().set_position("S9", closed=True)


def test_application__that_is_not_running_is_named(bench: Bench) -> None:
    with pytest.raises(UnknownApplicationError, match="no application volt_var is running; running: flisr"):
        bench.room.run_application("volt_var", 0)
