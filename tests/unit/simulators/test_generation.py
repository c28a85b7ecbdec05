"""Machines in the plant: the system's frequency, islands that live on, islands that die.

GRID ─ BB ─[CB_1]─ L1 ─ N1 ─[S1]─ L2 ─ N2        CHP, a 1.5 MW generating unit with a machine, at N2
        └─[CB_2]─ L3 ─ N3                        1 MW at each of N1, N2 and N3
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from simulators.actions import Action
from simulators.cycle import RunContext
from simulators.grid.simulator import GridSimulator
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.scenario.machines import FrequencySettings, MachineSettings
from twin.timebase import TimeBase

BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
SWITCHES = ("CB_1", "S1", "CB_2")
N1, N2, N3 = 1, 2, 3


def network(*, chp: bool = True, demand_kw: float = 1000.0, frequency_hz: float = 50.0) -> Network:
    b = NetworkBuilder("toy", frequency_hz=frequency_hz)
    for name in ("BB", "N1", "N2", "N3"):
        b.node(name, v_kv=20.0)
    b.source("GRID", "BB", s_sc_mva=500.0, rx=0.1)
    for name, a, z in (("L1", "BB", "N1"), ("L2", "N1", "N2"), ("L3", "BB", "N3")):
        b.line(name, a, z, length_km=0.001, r_ohm_per_km=0.2, x_ohm_per_km=0.35, i_max_a=1000.0)
    b.switch("CB_1", SwitchKind.BREAKER, "BB", branch="L1", feeder_head=True)
    b.switch("S1", SwitchKind.LOAD_BREAK_SWITCH, "N1", branch="L2")
    b.switch("CB_2", SwitchKind.BREAKER, "BB", branch="L3", feeder_head=True)
    for n, node in enumerate(("N1", "N2", "N3"), 1):
        b.consumer(f"C{n}", node, p_kw=demand_kw, customers=10 * n)
    if chp:
        b.generator("CHP", "N2", p_kw=1500.0, s_kva=2000.0, kind="chp")
    return b.build()


def machine(name: str, at: str, rated: str = "2 MW", **settings: Any) -> MachineSettings:
    return MachineSettings.model_validate({"name": name, "at": at, "rated": rated, **settings})


class Plant:
    """A grid simulator whose switches are in the test's hands."""

    def __init__(self, *machines: MachineSettings, net: Network | None = None, **settings: Any) -> None:
        self.network = net or network()
        self.settings = FrequencySettings(machines=machines, **settings)
        self.simulator = GridSimulator(RunContext(BASE), network=self.network, frequency=self.settings)
        self.closed = self.network.switches.normally_closed.copy()
        self.p_kw = self.network.consumers.p_kw
        self.journal: list[tuple[Any, ...]] = []

    def cycle(self, now: int, *actions: Action, **positions: bool) -> Any:
        for name, closed in positions.items():
            self.closed = self.closed.copy()
            self.closed[SWITCHES.index(name)] = closed
        generators = self.network.generators
        self.out = self.simulator.cycle(
            now,
            {
                "p_kw": self.p_kw,
                "q_kvar": self.network.consumers.q_kvar,
                "generation_kw": generators.p_kw,
                "generation_kvar": generators.q_kvar,
                "closed": self.closed,
                "closings": (),
                "actions": actions,
            },
        )
        self.journal += [(e.t_ms, e.kind, e.subject) for e in self.out["grid_journal"]]
        return self.out["grid_state"]


def trip(name: str, for_ms: int | None = None) -> Action:
    return Action("trip generator", 0, "t", {"name": name, "for_ms": for_ms})


def test_frequency__is_nominal_where_there_is_voltage_without_machines() -> None:
    plant = Plant()
    plant.simulator = GridSimulator(RunContext(BASE), network=plant.network)
    state = plant.cycle(0, CB_1=False)
    assert state.f_hz.tolist() == [50.0, 0.0, 0.0, 50.0]
    assert plant.out["grid_pace_ms"] == 0
    assert plant.out["measurement"].course is None
    assert plant.simulator._flow.network is plant.network  # nothing is added to what is solved


def test_system__falls_as_anderson_and_mirheydar_say() -> None:
    """60 Hz, 10 % of the base lost at once: nadir 59.35009 Hz after 2.36883 s, 59.7 Hz in the end.

    The base is the machine that stays, 10 MW; the one that is lost has next to no inertia and no governor. D = 1 on the
    base is 10 / 3 on the demand of 3 MW.
    """
    wide = {"over_frequency": "70 Hz", "under_frequency": "40 Hz"}
    stays = machine("M1", "GRID", "10 MW", output="2 MW", **wide)
    lost = machine("M2", "GRID", "1 MW", output="1 MW", gain="0 %", inertia="1 ms", **wide)
    plant = Plant(stays, lost, net=network(chp=False, frequency_hz=60.0), damping=10.0 / 3.0)
    plant.cycle(0, trip("M2"))
    course = [float(plant.cycle(now).f_hz[0]) for now in range(10, 60_001, 10)]
    assert min(course) == pytest.approx(59.35009, abs=1e-4)
    assert 0.01 * (1 + int(np.argmin(course))) == pytest.approx(2.36883, abs=0.01)
    assert course[-1] == pytest.approx(59.7, abs=1e-3)


def test_system__course_is_the_same_whatever_the_steps() -> None:
    fine, coarse = (Plant(machine("M1", "GRID", "4 MW"), machine("M2", "GRID", "1 MW")) for _ in range(2))
    for plant in (fine, coarse):
        plant.cycle(0)
        plant.cycle(1_000, trip("M2"))
    for now in range(1_010, 5_001, 10):
        state = fine.cycle(now)
    assert coarse.cycle(5_000).f_hz.tolist() == pytest.approx(state.f_hz.tolist(), abs=1e-9)
    assert state.f_hz[0] < 49.9


def test_course__is_what_then_happens() -> None:
    plant = Plant(machine("M1", "GRID", "4 MW"), machine("M2", "GRID", "1 MW"))
    plant.cycle(0)
    plant.cycle(1_000, trip("M2"))
    course = plant.out["measurement"].course
    assert plant.out["grid_pace_ms"] == 100
    row = int(np.searchsorted(course.t_ms, 1_500.0))
    assert plant.cycle(1_500).f_hz[0] == course.f_hz[row, course.island[0]]


def test_island__without_a_machine_is_dead() -> None:
    plant = Plant(net=network())
    plant.cycle(0)
    state = plant.cycle(1_000, CB_1=False)
    assert state.f_hz.tolist() == [50.0, 0.0, 0.0, 50.0]
    assert state.customers_interrupted == 30


def test_island__with_a_machine_lives_on_at_its_own_frequency_and_joins_again() -> None:
    plant = Plant(machine("CHP_G", "CHP"))
    plant.cycle(0)
    state = plant.cycle(1_000, CB_1=False)
    assert state.customers_interrupted == 0
    assert state.v_pu[N2] == pytest.approx(1.0)
    state = plant.cycle(3_000)
    # 2 MW of demand on 1.5 MW of a 2 MW machine: the droop alone says -0.25 / (0.95 / 0.05 + damping) = -0.63 Hz
    assert 48.0 < state.f_hz[N2] < 49.5
    assert state.f_hz[0] == pytest.approx(50.0, abs=1e-3)
    assert state.frequency_min <= state.f_hz[N2]
    assert plant.cycle(4_000, CB_1=True).f_hz[N2] == pytest.approx(50.0, abs=1e-3)


def test_island__with_a_machine_too_small_trips_at_its_limit_and_dies() -> None:
    plant = Plant(machine("CHP_G", "CHP", "1.5 MW"))
    plant.cycle(0)
    plant.cycle(1_000, CB_1=False)
    plant.cycle(1_010)
    at = plant.out["grid_wanted"]
    assert 1_010 < at < 3_100
    plant.cycle(at)
    assert (at, "unit_trip", "CHP_G") in plant.journal
    state = plant.out["grid_state"]
    assert state.f_hz[N2] == 0.0
    assert state.customers_interrupted == 30


def test_external_network__lost_leaves_the_machines_alone_and_comes_back() -> None:
    plant = Plant(machine("CHP_G", "CHP", "10 MW", output="1500 kW"))
    plant.cycle(0)
    state = plant.cycle(1_000, Action("lose external network", 0, "l", {"name": "GRID", "for_ms": 5_000}))
    assert state.customers_interrupted == 0
    assert plant.cycle(2_000).f_hz[0] < 49.9
    assert plant.out["grid_wanted"] == 6_000
    assert plant.cycle(6_000).f_hz[0] == pytest.approx(50.0, abs=1e-3)
    assert [row[1:] for row in plant.journal] == [("unit_trip", "GRID"), ("unit_on", "GRID")]


def test_external_network__lost_without_machines_is_a_blackout() -> None:
    state = Plant(net=network(chp=False)).cycle(
        0, Action("lose external network", 0, "l", {"name": "GRID", "for_ms": None})
    )
    assert state.customers_interrupted == 60
    assert math.isnan(state.frequency_min)


def test_secondary_control__brings_the_frequency_back() -> None:
    plant = Plant(machine("M1", "GRID", "8 MW"), machine("M2", "GRID", "1 MW"), secondary="20 s")
    plant.cycle(0)
    plant.cycle(1_000, trip("M2"))
    lowest = min(float(plant.cycle(now).f_hz[0]) for now in range(1_100, 120_000, 100))
    assert lowest < 49.9
    assert plant.out["grid_state"].f_hz[0] == pytest.approx(50.0, abs=0.01)


def test_snapshot__continues_to_the_last_bit() -> None:
    plant = Plant(machine("M1", "GRID", "4 MW"), machine("M2", "GRID", "1 MW"), machine("CHP_G", "CHP"))
    plant.cycle(0)
    plant.cycle(1_000, trip("M2", 3_000), CB_1=False)
    plant.cycle(1_233)
    other = Plant(machine("M1", "GRID", "4 MW"), machine("M2", "GRID", "1 MW"), machine("CHP_G", "CHP"))
    other.closed = plant.closed.copy()
    other.simulator.restore(plant.simulator.snapshot())
    for now in (1_300, 2_000, 4_000, 4_010, 5_000):
        one, two = plant.cycle(now, CB_1=now >= 4_010), other.cycle(now, CB_1=now >= 4_010)
        assert one.f_hz.tobytes() == two.f_hz.tobytes()
        assert one.v_pu.tobytes() == two.v_pu.tobytes()
    assert json.loads(plant.simulator.snapshot()) == json.loads(other.simulator.snapshot())
