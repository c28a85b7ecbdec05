"""The last in every cycle: order of the journal, state for conditions, pictures, verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from simulators.cycle import ENTITY, RunContext
from simulators.field.bank import GridMeasurement
from simulators.grid.simulator import GridState
from simulators.recorder import ControlRoomState, Pictures, RecorderSimulator
from twin.historian import JournalFile, SampleFile
from twin.journal import JournalEntry, entry_from_json
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.scenario import PlantNamespace, PlantState
from twin.scenario.expectations import ExpectationMonitor
from twin.scenario.loader import read_scenario
from twin.solvers import PowerFlowResult
from twin.timebase import TimeBase

BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
SCENARIO = """\
scenario: 1
name: toy
network: toy
start: 2026-01-15T18:00:00Z
duration: 1 min
events:
  - {at: 5 s, id: f1, fault: {line: L1}}
expect:
  - {id: trip, within: 1 s of f1, that: "CB_1.position == open"}
  - {id: never, never: "customers_interrupted > 10"}
"""


def network() -> Network:
    b = NetworkBuilder("toy")
    b.node("BB", v_kv=20.0)
    b.node("N1", v_kv=20.0)
    b.source("SRC", "BB")
    b.line("L1", "BB", "N1", length_km=1, r_ohm_per_km=0.2, x_ohm_per_km=0.3)
    b.switch("CB_1", SwitchKind.BREAKER, "BB", branch="L1", feeder_head=True)
    b.consumer("C1", "N1", p_kw=100.0, customers=20)
    return b.build()


def grid_state(
    *, closed: bool = True, interrupted: int = 0, faults: tuple[str, ...] = (), source: bool = True
) -> GridState:
    on = np.array([source, closed and source])
    ones = np.ones(1)
    flow = PowerFlowResult(
        v_pu=np.where(on, [1.0, 0.98], 0.0),
        angle_rad=np.zeros(2),
        energised=on,
        i_from_a=3.0 * ones,
        i_to_a=4.0 * ones,
        p_from_kw=100.0 * ones,
        p_to_kw=-99.0 * ones,
        q_from_kvar=0.0 * ones,
        q_to_kvar=0.0 * ones,
        loading=0.5 * ones,
    )
    measurement = GridMeasurement(
        v_kv=20.0 * flow.v_pu,
        energised=on,
        i_a=3.0 * ones,
        p_kw=100.0 * ones,
        q_kvar=5.0 * ones,
        i_fault_a=np.array([900.0 if faults else 0.0]),
        fault_into_branch=np.array([bool(faults)]),
    )
    return GridState(
        closed=np.array([closed]),
        flow=flow,
        measurement=measurement,
        v_pu=flow.v_pu,
        supplied=on[1:],
        customers_interrupted=interrupted,
        loops=0,
        closed_onto_fault=False,
        faulted=faults,
        f_hz=np.where(on, 50.0, 0.0),
        frequency_min=50.0,
    )


class Rig:
    """A recorder with its files in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = JournalFile(folder / "journal.jsonl")
        self.samples = SampleFile(folder / "samples.parquet", ["N1.v_pu", "CB_1.i_a"])
        self.seen: list[tuple[int, PlantState, list[JournalEntry]]] = []
        n = network()
        namespace = PlantNamespace(n)
        columns = [namespace.lookup(name) for name in ("N1.v_pu", "CB_1.i_a")]
        self.recorder = RecorderSimulator(
            RunContext(BASE),
            network=n,
            monitor=ExpectationMonitor(read_scenario(SCENARIO), namespace),
            journal=self.journal,
            samples=self.samples,
            columns=[column for column in columns if column],
            on_cycle=lambda now, state, entries: self.seen.append((now, state, list(entries))),
        )

    def close(self) -> None:
        self.journal.close()
        self.samples.close()

    @staticmethod
    def received(state: GridState | None = None, **journals: list[JournalEntry]) -> dict[str, Any]:
        empty = {f"{name}_journal": [] for name in ("director", "grid", "field", "control_room")}
        room = ControlRoomState(position=np.array([2]), alarms_active=3, plans_made=2, plans_done=1, plans_rejected=1)
        told = {f"{name}_journal": entries for name, entries in journals.items()}
        return {"grid_state": state or grid_state(), "control_room_state": room, **empty, **told}

    def cycle(self, now: int, state: GridState | None = None, **journals: list[JournalEntry]) -> PlantState:
        out = self.recorder.cycle(now, self.received(state, **journals))
        assert out["recorded"] == now
        found: PlantState = out["plant_state"]
        return found

    def lines(self) -> list[JournalEntry]:
        return [entry_from_json(line) for line in (self.folder / "journal.jsonl").read_text().splitlines()]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    one = Rig(tmp_path)
    yield one
    one.close()


def entry(source: str, t_ms: int, subject: str = "x", **data: Any) -> JournalEntry:
    return JournalEntry(t_ms, source, "event", subject, data)


F1 = JournalEntry(5_000, "director", "fault", "L1", {"id": "f1"})


class TestJournal:
    def test_entries__are_in_the_order_of_time_then_source_then_making(self, rig: Rig) -> None:
        rig.cycle(
            2_000,
            control_room=[entry("session", 1_500, "a"), entry("control_room", 1_500), entry("control_room", 1_200)],
            field=[entry("field", 1_500, "first"), entry("field", 1_500, "second"), entry("field", 1_100)],
            grid=[entry("grid", 1_500), entry("grid", 2_000)],
            director=[entry("director", 1_500, id="f0")],
        )
        assert [(e.t_ms, e.source, e.subject) for e in rig.lines()] == [
            (1_100, "field", "x"),
            (1_200, "control_room", "x"),
            (1_500, "director", "x"),
            (1_500, "grid", "x"),
            (1_500, "field", "first"),
            (1_500, "field", "second"),
            (1_500, "session", "a"),
            (1_500, "control_room", "x"),
            (2_000, "grid", "x"),
        ]

    def test_entries__of_an_unknown_source_come_last(self, rig: Rig) -> None:
        rig.cycle(0, grid=[entry("somebody", 0)], control_room=[entry("control_room", 0)])
        assert [e.source for e in rig.lines()] == ["control_room", "somebody"]

    def test_watcher__is_told_of_every_cycle(self, rig: Rig) -> None:
        rig.cycle(0)
        state = rig.cycle(1_000, grid=[entry("grid", 1_000)])
        assert [(now, len(entries)) for now, _, entries in rig.seen] == [(0, 0), (1_000, 1)]
        assert rig.seen[1][1] is state
        assert (rig.recorder.cycles, rig.recorder.now) == (2, 1_000)

    def test_samples__have_a_row_for_each_cycle(self, rig: Rig) -> None:
        rig.cycle(0)
        rig.cycle(1_357, grid_state(faults=("L1",)))
        rig.close()
        table = pq.read_table(rig.folder / "samples.parquet").to_pydict()
        assert table == {"t_ms": [0, 1_357], "N1.v_pu": [0.98, 0.98], "CB_1.i_a": [3.0, 900.0]}


class TestState:
    def test_state__joins_plant_and_control_room(self, rig: Rig) -> None:
        state = rig.cycle(1_000, grid_state(faults=("L1", "L1")))
        assert (state.t_ms, state.faults_active, state.alarms_active) == (1_000, 2, 3)
        assert (state.plans_made, state.plans_done, state.plans_rejected) == (2, 1, 1)
        assert (state.v_min_pu, state.v_max_pu, state.loading_max) == (0.98, 1.0, 0.5)
        assert state.branch_i_a.tolist() == [4.0]  # the larger of both ends
        assert state.switch_i_a.tolist() == [900.0]  # the fault current while there is one
        assert state.scada_position.tolist() == [2]

    def test_state__voltage_counts_energised_nodes_alone(self, rig: Rig) -> None:
        assert rig.cycle(0, grid_state(closed=False)).v_min_pu == 1.0

    def test_state__of_a_dead_grid_has_no_voltage(self, rig: Rig) -> None:
        state = rig.cycle(0, grid_state(source=False))
        assert math.isnan(state.v_min_pu)
        assert math.isnan(state.v_max_pu)


class TestVerdicts:
    def test_verdicts__are_judged_and_journalled(self, rig: Rig) -> None:
        rig.cycle(4_000)
        rig.cycle(5_000, director=[F1])
        rig.cycle(5_500, grid_state(closed=False, interrupted=20))
        rig.cycle(60_000)
        verdicts = {v.id: v.passed for v in rig.recorder.finish()}
        assert verdicts == {"trip": True, "never": False}
        told = [e for e in rig.lines() if e.kind == "verdict"]
        assert [(e.t_ms, e.source, e.subject, e.data["passed"]) for e in told] == [
            (60_000, "expectation", "trip", True),
            (60_000, "expectation", "never", False),
        ]
        assert told[1].data["decided_t_ms"] == 5_500
        assert told[1].data["reason"]

    def test_verdicts__go_on_over_a_snapshot(self, rig: Rig, tmp_path: Path) -> None:
        rig.cycle(5_000, director=[F1])
        (tmp_path / "again").mkdir()
        again = Rig(tmp_path / "again")
        again.recorder.restore(rig.recorder.snapshot())
        assert again.recorder.cycles == 1
        for one in (rig, again):
            one.cycle(5_500, grid_state(closed=False))
            one.cycle(60_000)
        assert again.recorder.finish() == rig.recorder.finish()
        again.close()

    def test_after_cycle__is_called_when_the_cycle_is_recorded(self, rig: Rig) -> None:
        order: list[Any] = []
        rig.recorder._on_cycle = lambda now, state, entries: order.append(("cycle", now))
        rig.recorder.after_cycle = lambda now: order.append(("after", now))
        inputs = {name: {"somebody": value} for name, value in {**rig.received(), "next_ms": 1_000}.items()}
        assert rig.recorder.step(7, {ENTITY: inputs}, 10) == 1_000
        assert order == [("cycle", 7), ("after", 7)]


class TestPictures:
    def test_pictures__show_before_worst_and_after(self) -> None:
        pictures = Pictures()
        states = [grid_state(interrupted=n) for n in (0, 0, 5, 20, 20, 7, 0)]
        for n, state in enumerate(states):
            pictures.look(state, n * 1_000, disturbed=n == 2)
        taken = pictures.in_order()
        assert list(taken) == ["before", "fault", "after"]
        assert {label: t_ms for label, (t_ms, _) in taken.items()} == {"before": 1_000, "fault": 3_000, "after": 6_000}
        assert taken["fault"][1] is states[3]

    def test_pictures__of_a_quiet_run(self) -> None:
        pictures = Pictures()
        assert pictures.in_order() == {}
        pictures.look(grid_state(), 0, disturbed=False)
        pictures.look(grid_state(), 1_000, disturbed=False)
        assert {label: t for label, (t, _) in pictures.in_order().items()} == {"after": 1_000}
