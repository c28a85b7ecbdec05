"""Every application in every mode: off, advisory, automatic, and in a study, each with something to do.

    HV ─(T)─ BB ─[CB_1]─ L1 ─ N1 ─[S1]─ L2 ─[S2]─ N2 ─[S3]─ L3 ─ N3 ─[TIE]─ L4 ─ N5 ─ PV
              └──[CB_2]─ L5 ─[S5]───────────────────────── BANK ┘ ───────────────┘

The network of the bench behind a transformer, with the devices that act on the voltage as a case wants them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from control_room_bench import CLOSED, OPEN, Bench

from twin.control_room import Study
from twin.control_room.applications import APPLICATIONS, UnknownApplicationError
from twin.control_room.plans import PlanState
from twin.derive import DeriveOptions
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.scada.point_database import PointDatabase

OPTIONS = DeriveOptions(under_frequency_stages_hz=(49.0, 48.8), inverters=True)


def grid(*devices: str) -> Network:
    b = NetworkBuilder("modes")
    b.node("HV", v_kv=110.0)
    for name in ("BB", "N1", "N2", "N3", "N5"):
        b.node(name, v_kv=20.0)
    b.source("SRC", "HV", s_sc_mva=500.0, rx=0.1)
    taps = {"tap_side": 0, "tap_min": -4, "tap_max": 4, "tap_neutral": 0, "tap_step_percent": 1.25, "tap_position": 0}
    ratings = {"s_kva": 4_000.0, "v_from_kv": 110.0, "v_to_kv": 20.0, "vk_percent": 10.0, "vkr_percent": 0.5}
    b.transformer("T", "HV", "BB", **ratings, **(taps if "taps" in devices else {}))
    ends = {"L1": ("BB", "N1"), "L2": ("N1", "N2"), "L3": ("N2", "N3"), "L4": ("N3", "N5"), "L5": ("BB", "N5")}
    for name, (a, z) in ends.items():
        b.line(name, a, z, length_km=1, r_ohm_per_km=0.2, x_ohm_per_km=0.3, i_max_a=200)
    b.switch("CB_1", SwitchKind.BREAKER, "BB", branch="L1", feeder_head=True)
    b.switch("CB_2", SwitchKind.BREAKER, "BB", branch="L5", feeder_head=True)
    for name, node, line in (("S1", "N1", "L2"), ("S2", "N2", "L2"), ("S3", "N2", "L3"), ("S5", "N5", "L5")):
        b.switch(name, SwitchKind.LOAD_BREAK_SWITCH, node, branch=line)
    b.switch("TIE", SwitchKind.LOAD_BREAK_SWITCH, "N3", branch="L4", closed=False)
    for node in ("N1", "N2", "N3", "N5"):
        b.consumer(f"C_{node}", node, p_kw=400.0, q_kvar=100.0, customers=100)
    if "bank" in devices:
        b.shunt("BANK", "N3", p_kw=0.0, q_kvar=-300.0, steps=3, initial_steps=0)
    if "inverter" in devices:
        b.generator("PV", "N5", p_kw=100.0, q_kvar=0.0, s_kva=900.0, kind="pv")
    return b.build()


def told(values: Mapping[str, float]) -> Callable[[Bench], None]:
    """A situation that consists of measured values."""

    def tell(bench: Bench) -> None:
        for point, value in values.items():
            bench.tell(point, value)

    return tell


@dataclass(frozen=True)
class Case:
    """What an application has to do: ``result`` are points that a plan carried out leaves behind, empty without one."""

    application: str
    happens: Callable[[Bench], None]
    result: Mapping[str, float] = field(default_factory=dict)
    moves: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    stages: bool = False

    def bench(self, mode: str) -> Bench:
        blocks = {self.application: {"mode": mode, **self.settings}}
        grid_ = grid(*self.devices)
        options = OPTIONS if self.stages else DeriveOptions(inverters=True)
        bench = Bench(grid=grid_, options=options, **blocks).start()
        self.happens(bench)
        return bench

    @property
    def plans(self) -> bool:
        return bool(self.result or self.moves)

    def points(self, bench: Bench) -> list[str]:
        """What the application publishes."""
        row = next(row for row in APPLICATIONS if row.name == self.application)
        settings = getattr(bench.settings, self.application)
        return [p.name for p in row.points(bench.network, bench.room.host.definitions, settings)]


LOW = {"BB.v_kv": 18.8, "CB_1.p_kw": 2_400.0, "CB_1.q_kvar": 1_500.0, "CB_2.p_kw": 800.0, "CB_2.q_kvar": 400.0}
VOLT_VAR = {"delay_ms": 0, "period_ms": 1_000, "settle_ms": 0, "limits": {"v_min_pu": 0.98}}
SHEDDING = {"period_ms": 1_000, "delay_ms": 1_000, "limits": {"shares": [0.3, 0.2], "hold_ms": 500}}

CASES = {
    "topology": Case("topology", told({"S1.position": OPEN}), settings={"period_ms": 1_000}),
    "state estimation": Case("state_estimation", told({"CB_1.p_kw": 900.0}), settings={"period_ms": 1_000}),
    "load flow": Case("load_flow", told({"CB_1.p_kw": 900.0}), settings={"period_ms": 1_000}),
    "FLISR": Case(
        "flisr",
        lambda bench: bench.trip("CB_1", "S1"),
        {"CB_1.position": CLOSED, "S1.position": OPEN, "S2.position": OPEN, "TIE.position": CLOSED},
    ),
    "arming": Case("load_shedding", told({}), {"CB_2.ufls_armed_1": 1.0}, settings=SHEDDING, stages=True),
    "shedding": Case("load_shedding", told({"CB_1.i_a": 300.0}), {"CB_1.position": OPEN}, settings=SHEDDING),
    "taps": Case("volt_var", told(LOW), {}, ("T.tap",), VOLT_VAR, ("taps",)),
    "banks": Case("volt_var", told(LOW), {}, ("BANK.steps_in",), VOLT_VAR, ("bank",)),
    "set points": Case("volt_var", told(LOW), {}, ("PV.q_kvar",), VOLT_VAR, ("inverter",)),
}
every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
with_plan = pytest.mark.parametrize(
    "case", [case for case in CASES.values() if case.plans], ids=[name for name, case in CASES.items() if case.plans]
)


def state(source: Bench | Study) -> PointDatabase:
    return source.database if isinstance(source, Study) else source.room.front_end.database


def carried_out(case: Case, source: Bench | Study, before: Mapping[str, float]) -> None:
    database = state(source)
    assert {point: database.value(point) for point in case.result} == dict(case.result)
    for point in case.moves:
        assert database.value(point) != before[point]


def values(case: Case, source: Bench | Study) -> dict[str, float]:
    return {point: state(source).value(point) for point in (*case.result, *case.moves)}


def test_cases__cover_every_application() -> None:
    assert {case.application for case in CASES.values()} == {row.name for row in APPLICATIONS}


@every
def test_off__application_is_not_there(case: Case) -> None:
    bench = case.bench("off").run(20_000)
    assert not [entry for entry in bench.journal if entry.data.get("application") == case.application]
    assert not [point for point in case.points(bench) if point in bench.room.front_end.database]
    assert bench.operated == bench.room.plans.waiting == []
    with pytest.raises(UnknownApplicationError):
        bench.room.run_application(case.application, bench.now)


@every
def test_advisory__plans_wait_and_nothing_is_operated(case: Case) -> None:
    bench = case.bench("advisory").run(20_000)
    before = values(case, bench)
    assert bench.operated == []
    assert bool(bench.room.plans.waiting) == case.plans
    bench.room.operator({"approve_plan": "all"}, bench.now)
    bench.run(40_000)
    carried_out(case, bench, before)
    assert ("done" in bench.outcomes()) == case.plans


@every
def test_automatic__plans_are_carried_out(case: Case) -> None:
    bench = case.bench("automatic")
    bench.run(bench.now + 300)
    before = values(case, bench)
    bench.run(40_000)
    carried_out(case, bench, before)
    assert bool(bench.operated) == case.plans
    assert bench.room.plans.waiting == []


@every
@pytest.mark.parametrize("mode", ["off", "advisory"])
def test_study__plays_the_plan_through_and_touches_nothing(case: Case, mode: str) -> None:
    bench = case.bench(mode)
    bench.run(20_000)
    before, live = values(case, bench), bench.snapshot()
    branch = bench.room.study()
    branch.run(case.application)
    branch.step(branch.now + 10_000)
    assert bool(branch.plans.waiting) == case.plans
    branch.approve("all")
    carried_out(case, branch, before)
    assert {branch.plans.course(name).state for name in _plans(branch)} <= {PlanState.DONE}
    assert bench.snapshot() == live


def _plans(branch: Study) -> list[str]:
    return [row["plan_id"] for row in branch.plans.snapshot()["courses"]]


@with_plan
def test_study__asked_again_sees_what_its_plan_has_done(case: Case) -> None:
    """It may have something left to do, but not the same again, and it comes to an end."""
    bench = case.bench("advisory").run(20_000)
    branch = bench.room.study()
    for _ in range(4):
        branch.approve("all")
        branch.step(branch.now + 5_000)
        branch.run(case.application)
    assert branch.plans.waiting == []
    assert all(count == 1 for count in Counter(_steps_of(branch)).values())


def _steps_of(branch: Study) -> list[Any]:
    """What the plans of a branch do; steps of a mechanism are each their own."""
    courses = branch.plans.snapshot()["courses"]
    return [
        (step["target"], step["value"], row["plan_id"] if step["target"].endswith(".step") else "")
        for row in courses
        for step in row["steps"][:1]
    ]


def test_study__brings_load_back_that_a_plan_of_its_own_has_shed() -> None:
    bench = CASES["shedding"].bench("advisory").run(20_000)
    branch = bench.room.study()
    branch.approve("all")
    assert branch.database.value("CB_1.position") == OPEN
    branch.set_value("CB_1.i_a", 0.0)
    while not branch.plans.waiting and branch.now < 3_600_000:
        branch.step(branch.now + 1_000)
    assert len(branch.plans.waiting) == 1
    branch.approve("all")
    assert branch.database.value("CB_1.position") == CLOSED
    assert bench.operated == []


@with_plan
@pytest.mark.parametrize("asked", ["step", "run", "approve"])
def test_study__a_plan_under_way_goes_on_to_its_end(case: Case, asked: str) -> None:
    """The control room is in the middle of a plan; branch and control room end alike."""
    bench = case.bench("automatic")
    while not any(row["state"] == PlanState.RUNNING.value for row in bench.room.plans.snapshot()["courses"]):
        bench.run(bench.now + 100)
    before, live = values(case, bench), bench.snapshot()
    branch = bench.room.study()
    if asked == "step":
        branch.step(branch.now + 100)
    elif asked == "run":
        branch.run("topology")
    else:
        branch.approve("all")
    carried_out(case, branch, before)
    assert not branch.plans.running_but("")
    assert bench.snapshot() == live


def test_load_shedding__brings_back_what_it_shed_when_the_operator_took_his_time() -> None:
    """The plan waits for ten minutes, then the feeder opens by it: shed it is, however long that took."""
    bench = CASES["shedding"].bench("advisory").run(600_000)
    bench.room.operator({"approve_plan": "all"}, bench.now)
    bench.run(bench.now + 3_000)
    bench.tell("CB_1.i_a", 0.0)
    assert state(bench).value("load_shedding.active") == 1.0
    while not bench.room.plans.waiting and bench.now < 1_500_000:
        bench.run(bench.now + 1_000)
    bench.room.operator({"approve_plan": "all"}, bench.now)
    bench.run(bench.now + 3_000)
    assert bench.operated == [("CB_1", "open"), ("CB_1", "close")]


def test_load_shedding__counts_nothing_as_shed_whose_plan_was_turned_down() -> None:
    bench = CASES["shedding"].bench("advisory").run(20_000)
    bench.tell("CB_1.i_a", 0.0)
    bench.room.operator({"reject_plan": "all"}, bench.now)
    bench.run(bench.now + 3_000)
    bench.room.operate("CB_1", False, bench.now)
    bench.run(bench.now + 3_000)
    assert bench.operated == [("CB_1", "open")]
    assert state(bench).value("load_shedding.active") == 0.0
