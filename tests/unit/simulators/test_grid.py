"""The grid of the world: faults that come and go, supply, overloads, who closed onto a fault.

    SRC ─ BB ─[CB_1]─ L1 ─ N1 ─[S1]─ L2 ─ N2
           └──[CB_2]─ L3 ─ N3 ─[TIE]──────┘        TIE between N3 and N2, normally open

20 kV, 3 km lines, 500 MVA short-circuit power; 10, 20 and 30 customers at N1, N2 and N3, 1 MW each at cos 1,
so that a line carries 29 A (1000 / (sqrt(3) 20)) for each node behind it.
"""

from __future__ import annotations

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
from twin.timebase import NEVER, TimeBase

BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
SWITCHES = ("CB_1", "S1", "CB_2", "TIE")
CB_1, S1, CB_2, TIE = range(4)
LINE = {"length_km": 3.0, "r_ohm_per_km": 0.2, "x_ohm_per_km": 0.35}


def network(i_max_a: float = 100.0) -> Network:
    b = NetworkBuilder("toy")
    for name in ("BB", "N1", "N2", "N3"):
        b.node(name, v_kv=20.0)
    b.source("SRC", "BB", s_sc_mva=500.0, rx=0.1)
    for name, a, z in (("L1", "BB", "N1"), ("L2", "N1", "N2"), ("L3", "BB", "N3")):
        b.line(name, a, z, i_max_a=i_max_a, **LINE)
    b.switch("CB_1", SwitchKind.BREAKER, "BB", branch="L1", feeder_head=True)
    b.switch("S1", SwitchKind.LOAD_BREAK_SWITCH, "N1", branch="L2")
    b.switch("CB_2", SwitchKind.BREAKER, "BB", branch="L3", feeder_head=True)
    b.switch("TIE", SwitchKind.LOAD_BREAK_SWITCH, "N3", other_node="N2", closed=False)
    for n, node in enumerate(("N1", "N2", "N3"), 1):
        b.consumer(f"C{n}", node, p_kw=1000.0, customers=10 * n)
    return b.build()


class Grid:
    """A grid simulator with the switches and loads in the test's hands."""

    def __init__(self, **settings: float) -> None:
        self.network = network(**settings)
        self.simulator = GridSimulator(RunContext(BASE), network=self.network)
        self.closed = self.network.switches.normally_closed.copy()
        self.p_kw = self.network.consumers.p_kw.copy()
        self.out: dict[str, Any] = {}
        self.journal: list[tuple[Any, ...]] = []

    def set(self, **positions: bool) -> Grid:
        self.closed = self.closed.copy()
        for name, closed in positions.items():
            self.closed[SWITCHES.index(name)] = closed
        return self

    def cycle(self, now: int, *actions: Action, closings: tuple[tuple[str, str], ...] = ()) -> Grid:
        received = {
            "p_kw": self.p_kw,
            "q_kvar": self.network.consumers.q_kvar,
            "generation_kw": np.zeros(0),
            "generation_kvar": np.zeros(0),
            "closed": self.closed,
            "closings": closings,
            "actions": actions,
        }
        self.out = self.simulator.cycle(now, received)
        self.journal = [(e.t_ms, e.kind, e.subject, dict(e.data)) for e in self.out["grid_journal"]]
        return self

    @property
    def state(self) -> Any:
        return self.out["grid_state"]

    @property
    def seen(self) -> Any:
        return self.out["measurement"]


def fault(line: str = "L2", event_id: str = "f1", **changes: Any) -> Action:
    data = {
        "line": line,
        "kind": "phase-to-phase",
        "position": 0.5,
        "resistance_ohm": 0.0,
        "permanent": True,
        "extinguishes_after_ms": 300,
    }
    return Action("fault", 0, event_id, {**data, **changes})


@pytest.fixture
def grid() -> Grid:
    return Grid()


class TestNormalOperation:
    def test_grid__measures_load_currents_at_the_switches(self, grid: Grid) -> None:
        grid.cycle(0)
        one_node_a = 1000.0 / (math.sqrt(3) * 20.0)
        assert grid.seen.i_a.tolist() == pytest.approx([2 * one_node_a, one_node_a, one_node_a, 0.0], rel=0.02)
        assert grid.seen.p_kw[:3].tolist() == pytest.approx([2000, 1000, 1000], rel=0.01)
        assert grid.seen.i_fault_a.tolist() == [0, 0, 0, 0]
        assert 19.8 < grid.seen.v_kv[2] < 20.0
        assert grid.seen.energised.all()

    def test_grid__says_nothing_in_peace(self, grid: Grid) -> None:
        grid.cycle(0)
        assert grid.journal == []
        assert (grid.state.customers_interrupted, grid.state.loops, grid.state.faulted) == (0, 0, ())
        assert grid.state.supplied.all()
        assert grid.out["grid_wanted"] == NEVER

    def test_grid__follows_the_load(self, grid: Grid) -> None:
        before = grid.cycle(0).seen.i_a[CB_2]
        grid.p_kw = grid.p_kw * 2
        assert grid.cycle(1).seen.i_a[CB_2] == pytest.approx(2 * before, rel=0.02)

    def test_grid__that_does_not_change_is_not_solved_again(self, grid: Grid) -> None:
        first = grid.cycle(0).state.flow
        assert grid.cycle(1_000).state.flow is first

    def test_open_switch__measures_no_current(self, grid: Grid) -> None:
        grid.set(S1=False).cycle(0)
        assert (grid.seen.i_a[S1], grid.seen.p_kw[S1]) == (0.0, 0.0)

    def test_supply__is_told_when_it_changes(self, grid: Grid) -> None:
        grid.cycle(0)
        grid.set(CB_1=False).cycle(1_000)
        assert grid.journal == [(1_000, "supply", "toy", {"customers_interrupted": 30, "dead_nodes": 2})]
        assert grid.state.supplied.tolist() == [False, False, True]
        assert grid.cycle(2_000).journal == []
        grid.set(S1=False, TIE=True).cycle(3_000)
        assert grid.journal == [(3_000, "supply", "toy", {"customers_interrupted": 10, "dead_nodes": 1})]
        grid.set(CB_1=True).cycle(4_000)
        assert grid.journal == [(4_000, "supply", "toy", {"customers_interrupted": 0, "dead_nodes": 0})]

    def test_loops__are_counted(self, grid: Grid) -> None:
        assert grid.set(TIE=True).cycle(0).state.loops == 1
        assert grid.set(S1=False).cycle(1).state.loops == 0


class TestOverload:
    def test_overload__is_told_at_its_beginning_and_end(self) -> None:
        grid = Grid(i_max_a=50.0).cycle(0)  # L1 carries 58 A
        [(t_ms, kind, line, data)] = grid.journal
        assert (t_ms, kind, line) == (0, "overload", "L1")
        assert data["loading"] == pytest.approx(2 * 28.87 / 50.0, rel=0.02)
        assert grid.cycle(1_000).journal == []
        grid.p_kw = grid.p_kw * 0.5
        assert grid.cycle(2_000).journal == [(2_000, "overload_ended", "L1", {})]

    @pytest.mark.parametrize(("loading", "ends"), [(0.99, False), (0.97, True)])
    def test_overload__ends_only_clearly_below_the_limit(self, loading: float, ends: bool) -> None:
        grid = Grid(i_max_a=50.0).cycle(0)
        over = float(grid.state.flow.loading[0])
        grid.p_kw = grid.p_kw * (loading / over)
        assert (grid.cycle(1_000).journal != []) == ends

    def test_overload__goes_on_over_a_snapshot(self) -> None:
        grid, again = Grid(i_max_a=50.0).cycle(0), Grid(i_max_a=50.0)
        again.simulator.restore(grid.simulator.snapshot())
        assert again.cycle(1_000).journal == []


class TestFault:
    def test_fault__is_seen_by_what_feeds_it_and_in_its_direction(self, grid: Grid) -> None:
        grid.cycle(0)
        grid.cycle(1_000, fault("L2"))
        assert grid.state.faulted == ("L2",)
        assert grid.seen.i_fault_a[CB_1] == pytest.approx(grid.seen.i_fault_a[S1])
        assert grid.seen.i_fault_a[CB_1] > 1_000
        assert grid.seen.i_fault_a[[CB_2, TIE]].tolist() == [0, 0]
        assert grid.seen.fault_into_branch[[CB_1, S1]].all()
        assert grid.seen.i_a[CB_1] == pytest.approx(57.7, rel=0.02)  # the load apart

    def test_fault__lowers_the_voltage_of_everybody(self, grid: Grid) -> None:
        before = grid.cycle(0).state.v_pu
        after = grid.cycle(1_000, fault("L2")).state.v_pu
        assert (after < before).all()
        assert after[1] < after[0]  # the nearer, the lower
        grid.set(CB_1=False).cycle(1_100)
        assert grid.state.v_pu[0] == pytest.approx(before[0])

    def test_fault__currents_are_kept_while_nothing_changes_and_new_when_it_does(self, grid: Grid) -> None:
        first = grid.cycle(0, fault("L2")).seen.i_fault_a
        assert grid.cycle(100).seen.i_fault_a.tolist() == first.tolist()
        assert grid.set(S1=False).cycle(200).seen.i_fault_a.tolist() == [0, 0, 0, 0]
        assert grid.set(S1=True).cycle(300).seen.i_fault_a.tolist() == first.tolist()
        second = grid.cycle(400, fault("L3", "f2")).seen.i_fault_a
        assert second[CB_1] == first[CB_1]
        assert second[CB_2] > 1_000

    def test_fault__two_at_once_leave_the_lower_voltage(self, grid: Grid) -> None:
        one = Grid().cycle(0, fault("L2")).state.v_pu
        other = Grid().cycle(0, fault("L3", "f2")).state.v_pu
        assert grid.cycle(0, fault("L2"), fault("L3", "f2")).state.v_pu.tolist() == pytest.approx(
            np.minimum(one, other).tolist()
        )
        assert grid.state.faulted == ("L2", "L3")

    def test_fault__with_resistance_draws_less(self, grid: Grid) -> None:
        solid = grid.cycle(0, fault("L2")).seen.i_fault_a[CB_1]
        assert Grid().cycle(0, fault("L2", resistance_ohm=5.0)).seen.i_fault_a[CB_1] < solid

    def test_fault__on_a_dead_line_lies_dormant_until_it_is_energised(self, grid: Grid) -> None:
        grid.set(S1=False).cycle(0)
        grid.cycle(61_000, fault("L2", permanent=False, extinguishes_after_ms=500))
        assert [row[1:] for row in grid.journal if row[1] != "supply"] == [("fault_dormant", "L2", {"id": "f1"})]
        assert grid.cycle(70_000).journal == []
        assert grid.seen.i_fault_a.tolist() == [0, 0, 0, 0]
        grid.set(S1=True).cycle(80_000)
        assert ("fault_awakes", "L2", {"id": "f1"}) in [row[1:] for row in grid.journal]
        assert grid.seen.i_fault_a[CB_1] > 1_000
        grid.set(CB_1=False).cycle(80_100)
        assert grid.cycle(80_600).state.faulted == ()

    def test_fault__dormant_one_survives_a_snapshot_and_is_told_once(self, grid: Grid) -> None:
        grid.set(S1=False).cycle(0, fault("L2"))
        other = Grid().set(S1=False)
        other.simulator.restore(grid.simulator.snapshot())
        assert other.cycle(1_000).journal == []
        assert other.state.faulted == ("L2",)

    def test_fault__that_was_fed_once_may_be_dead_later(self, grid: Grid) -> None:
        grid.cycle(0, fault("L2"))
        grid.set(CB_1=False).cycle(100)
        assert grid.state.faulted == ("L2",)

    def test_fault__permanent_stays_until_it_is_repaired(self, grid: Grid) -> None:
        grid.cycle(0, fault("L2"))
        grid.set(CB_1=False).cycle(100)
        assert grid.out["grid_wanted"] == NEVER
        assert grid.cycle(3_600_000).state.faulted == ("L2",)
        grid.cycle(3_700_000, Action("clear fault", 0, "e", {"id": "f1"}))
        assert grid.journal == [(3_700_000, "fault_cleared", "L2", {"id": "f1", "by": "repair"})]
        assert grid.state.faulted == ()

    def test_repair__of_what_is_gone_says_nothing(self, grid: Grid) -> None:
        assert grid.cycle(0, Action("clear fault", 0, "e", {"id": "f1"})).journal == []


class TestTransientFault:
    """Its arc goes out once the place has been dead for 300 ms."""

    def struck(self) -> Grid:
        grid = Grid().cycle(0, fault("L2", permanent=False))
        assert grid.out["grid_wanted"] == NEVER  # nothing ends it while it is fed
        return grid.set(CB_1=False).cycle(100)

    def test_arc__goes_out_when_dead_long_enough(self) -> None:
        grid = self.struck()
        assert grid.out["grid_wanted"] == 400
        assert grid.cycle(399).state.faulted == ("L2",)
        grid.cycle(400)
        assert grid.journal == [(400, "fault_cleared", "L2", {"id": "f1", "by": "extinguished"})]
        assert grid.state.faulted == ()
        assert grid.out["grid_wanted"] == NEVER

    def test_arc__that_went_out_between_two_cycles_is_dated_right(self) -> None:
        assert self.struck().cycle(1_000).journal[0][0] == 400

    def test_arc__strikes_again_when_reclosed_too_soon(self) -> None:
        grid = self.struck()
        grid.set(CB_1=True).cycle(300)
        assert grid.seen.i_fault_a[CB_1] > 1_000
        grid.set(CB_1=False).cycle(350)
        assert grid.out["grid_wanted"] == 650

    def test_arc__is_gone_when_the_voltage_comes_back_in_the_same_cycle(self) -> None:
        grid = self.struck()
        grid.set(CB_1=True).cycle(400)
        assert grid.seen.i_fault_a.tolist() == [0, 0, 0, 0]
        assert [row[1] for row in grid.journal] == ["fault_cleared", "supply"]

    def test_arc__burns_on_while_any_end_is_fed(self) -> None:
        grid = Grid().set(TIE=True).cycle(0, fault("L2", permanent=False))
        grid.set(CB_1=False).cycle(100)
        assert grid.out["grid_wanted"] == NEVER
        assert grid.seen.i_fault_a[CB_2] > 500
        grid.set(TIE=False).cycle(200)
        assert grid.out["grid_wanted"] == 500

    def test_snapshot__keeps_how_long_it_has_been_dead(self) -> None:
        grid, again = self.struck(), Grid().set(CB_1=False)
        again.simulator.restore(grid.simulator.snapshot())
        assert again.cycle(350).state.faulted == ("L2",)
        assert again.out["grid_wanted"] == 400
        assert again.cycle(400).journal[0][1] == "fault_cleared"


class TestClosedOntoFault:
    def dead_fault(self) -> Grid:
        return Grid().cycle(0, fault("L2")).set(CB_1=False).cycle(100)

    @pytest.mark.parametrize(
        ("cause", "guilty"), [("command", True), ("local", True), ("scenario", True), ("reclose", False)]
    )
    def test_closing__by_hand_or_command_counts_and_reclosing_does_not(self, cause: str, guilty: bool) -> None:
        grid = self.dead_fault().set(CB_1=True).cycle(1_000, closings=(("CB_1", cause),))
        assert grid.state.closed_onto_fault == guilty
        told = [row for row in grid.journal if row[1] == "closed_onto_fault"]
        assert told == ([(1_000, "closed_onto_fault", "CB_1", {})] if guilty else [])

    def test_closing__counts_in_one_cycle_alone(self) -> None:
        grid = self.dead_fault().set(CB_1=True).cycle(1_000, closings=(("CB_1", "command"),))
        assert not grid.cycle(1_001).state.closed_onto_fault

    def test_closing__without_fault_is_no_matter(self, grid: Grid) -> None:
        assert not grid.set(TIE=True).cycle(0, closings=(("TIE", "command"),)).state.closed_onto_fault

    def test_closing__onto_an_isolated_fault_is_no_matter(self) -> None:
        grid = self.dead_fault().set(S1=False, CB_1=True)
        assert not grid.cycle(1_000, closings=(("CB_1", "command"),)).state.closed_onto_fault

    def test_closing__elsewhere_while_a_fault_is_fed_is_no_matter(self, grid: Grid) -> None:
        grid.set(S1=False).cycle(0, fault("L3"))
        grid.set(S1=True).cycle(50, closings=(("S1", "command"),))
        assert grid.seen.i_fault_a[CB_2] > 1_000
        assert not grid.state.closed_onto_fault

    def test_closing__of_a_tie_onto_a_fault_counts(self) -> None:
        grid = self.dead_fault().set(TIE=True).cycle(1_000, closings=(("TIE", "command"),))
        assert [row[2] for row in grid.journal if row[1] == "closed_onto_fault"] == ["TIE"]
