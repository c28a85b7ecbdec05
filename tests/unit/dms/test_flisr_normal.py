"""Return to normal after repair: the order of the steps, interruption or loop, and what forbids it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dms_toy import ToyLine, after, build, commands, mask, observe_fault, row, two_feeders, unknown

from twin.dms.flisr import FlisrSettings, Observation, make_plan, return_to_normal
from twin.dms.plan import Verdict
from twin.dms.zonegraph import zone_graph
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.network.topology import Topology
from twin.points.model import DoublePosition

LOOPS = FlisrSettings(close_loops=True)


def restored(network: Network, line: str) -> Observation:
    """As FLISR left the network after a fault on ``line``, the protection reset."""
    seen = observe_fault(network, line=line)
    closed = after(network, seen, make_plan(network, seen))
    position = np.where(closed, int(DoublePosition.CLOSED), int(DoublePosition.OPEN)).astype(np.int32)
    nothing = np.zeros_like(seen.tripped)
    return replace(seen, position=position, tripped=nothing, fault_forward=nothing, fault_reverse=nothing)


def test_return__changes_over_in_a_loop_where_that_is_allowed():
    """L1-2 is energised from N1, then S_2-1 closes a loop that TIE_1 opens: nobody is without supply."""
    network = two_feeders()
    plan = return_to_normal(network, restored(network, "L1-2"), network.switches.normally_closed, LOOPS)
    assert commands(plan) == ["close S_1-2", "close S_2-1", "open TIE_1"]
    assert [s.check.customers_supplied for s in plan.steps] == [500, 500, 500]
    assert plan.verdict is Verdict.NORMAL
    assert "A loop is closed for the moment of changing over." in plan.why


def test_return__opens_before_it_closes_where_no_loop_is_allowed():
    network = two_feeders()
    plan = return_to_normal(network, restored(network, "L1-2"), network.switches.normally_closed)
    assert commands(plan) == ["close S_1-2", "open TIE_1", "close S_2-1"]
    assert [s.check.customers_supplied for s in plan.steps] == [500, 300, 500]
    assert "200 customers are without supply for the moment of changing over." in plan.why


def test_return__energises_the_repaired_section_by_its_breaker():
    """Fault on L0-1: both CB_1 and S_1-0 could; a bad repair is tripped by the breaker."""
    network = two_feeders()
    plan = return_to_normal(network, restored(network, "L0-1"), network.switches.normally_closed, LOOPS)
    assert commands(plan) == ["close CB_1", "close S_1-0", "open TIE_1"]


def test_return__supplies_those_who_were_left_out():
    """The tie carried nobody (150 A): N2 and N3 are supplied again by the repaired line alone."""
    network = two_feeders(i_max_a=150.0)
    seen = restored(network, "L1-2")
    plan = return_to_normal(network, seen, network.switches.normally_closed, LOOPS)
    assert commands(plan) == ["close S_1-2", "close S_2-1"]
    assert (plan.customers_interrupted, plan.customers_restored) == (200, 200)


def weak_loop() -> Network:
    """N1 and N2 hang on a strong and a weak line from the busbar; the loop over both overloads the weak one.

    N0 --CB_1-- L0-1 (0.001 ohm, 1000 A) -- N1 -- S -- L1-2 -- N2 --TIE_1-- L2-3 -- N3 --CB_2-- L0-3
    """
    b = NetworkBuilder("loop")
    for n in range(4):
        b.node(f"N{n}", v_kv=10.0)
    b.node("X0", v_kv=10.0)
    b.source("A", "N0")
    b.source("B", "X0", v_pu=1.03)
    for name, a, z in (("L0-1", "N0", "N1"), ("L1-2", "N1", "N2"), ("L2-3", "N2", "N3"), ("L0-3", "X0", "N3")):
        b.line(name, a, z, length_km=1.0, r_ohm_per_km=0.3, x_ohm_per_km=0.3, i_max_a=100.0)
    b.switch("CB_1", SwitchKind.BREAKER, "N0", branch="L0-1", feeder_head=True)
    b.switch("CB_2", SwitchKind.BREAKER, "X0", branch="L0-3", feeder_head=True)
    b.switch("S_1", SwitchKind.LOAD_BREAK_SWITCH, "N1", branch="L1-2")
    b.switch("S_2", SwitchKind.LOAD_BREAK_SWITCH, "N2", branch="L1-2")
    b.switch("TIE_1", SwitchKind.LOAD_BREAK_SWITCH, "N2", branch="L2-3", closed=False)
    for n in (1, 2, 3):
        b.consumer(f"C{n}", f"N{n}", p_kw=500.0, customers=100)
    return b.build()


def test_return__interrupts_where_a_loop_would_overload():
    """Two sources 0.3 kV apart over 1.2 + 1.2j ohm: about 300 V / (1.732 x 1.70 ohm) = 102 A on top of the load's."""
    network = weak_loop()
    seen = restored(network, "L1-2")
    plan = return_to_normal(network, seen, network.switches.normally_closed, LOOPS)
    assert commands(plan) == ["close S_1", "open TIE_1", "close S_2"]
    assert any("closing S_2 and opening TIE_1 would load" in sentence for sentence in plan.why)


def test_return__closes_a_disconnector_only_while_it_is_dead():
    """B breaks no load: it is closed before A energises the line."""
    b = NetworkBuilder("feeder")
    for n in range(3):
        b.node(f"N{n}", v_kv=10.0)
    b.source("GRID", "N0")
    for name, a, z in (("L0-1", "N0", "N1"), ("L1-2", "N1", "N2")):
        b.line(name, a, z, length_km=1.0, r_ohm_per_km=0.01, x_ohm_per_km=0.01)
    b.switch("CB_1", SwitchKind.BREAKER, "N0", branch="L0-1", feeder_head=True)
    b.switch("A", SwitchKind.LOAD_BREAK_SWITCH, "N1", branch="L1-2")
    b.switch("B", SwitchKind.DISCONNECTOR, "N2", branch="L1-2")
    b.consumer("C2", "N2", p_kw=100.0, customers=100)
    network = b.build()
    plan = return_to_normal(network, restored(network, "L1-2"), network.switches.normally_closed)
    assert commands(plan) == ["close B", "close A"]


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("blocked", "S_2-1 cannot be operated: it is tagged or blocked."),
        ("hold-off", "S_2-1 cannot be operated: it bears a hold-off tag."),
        ("unknown", "S_2-1 cannot be operated: its position is unknown."),
        ("by hand", "S_2-1 cannot be operated: it is not remote-controlled."),
    ],
)
def test_return__makes_no_plan_where_a_switch_cannot_be_operated(trouble, reason):
    network = two_feeders()
    seen, only = restored(network, "L1-2"), mask(network, ["S_2-1"])
    match trouble:
        case "blocked":
            seen = seen.with_blocked([row(network, "S_2-1")])
        case "hold-off":
            seen = replace(seen, hold_off=only)
        case "unknown":
            seen = unknown(network, seen, "S_2-1")
        case "by hand":
            seen = replace(seen, remote=~only)
    plan = return_to_normal(network, seen, network.switches.normally_closed)
    assert (plan.verdict, plan.steps) == (Verdict.NONE, ())
    assert reason in plan.explanation


def test_return__leaves_another_fault_dead():
    """L2-3 is at fault as well and hangs on N2: nothing may energise N2."""
    network = two_feeders(i_max_a=150.0)
    seen = replace(restored(network, "L1-2"), faulted=(int(zone_graph(network).branch_zone[2]),))
    plan = return_to_normal(network, seen, network.switches.normally_closed, LOOPS)
    assert plan.verdict is Verdict.NONE
    assert "would energise what has to stay dead" in plan.explanation


def test_return__tolerates_and_says_what_was_so_before_the_fault():
    """L0-1 carried 3 MW = 173.2 A of 150 A before, and does again."""
    lines = [ToyLine(0, 1, 150.0, head="CB_1"), ToyLine(1, 2), ToyLine(2, 3), ToyLine(0, 4, head="CB_2")]
    network = build([*lines, ToyLine(3, 4, tie="TIE_1")], dict.fromkeys(range(1, 4), 1000.0))
    plan = return_to_normal(network, restored(network, "L1-2"), network.switches.normally_closed)
    assert plan.verdict is Verdict.NORMAL
    assert "L0-1 is loaded to 115 %, no more than before." in plan.why


def test_return__has_nothing_to_do_in_the_normal_state():
    network = two_feeders()
    seen = replace(restored(network, "L1-2"), position=observe_fault(network, line="L1-2").position)
    wanted = seen.closed.copy()
    assert "everything is in its normal state already" in return_to_normal(network, seen, wanted).explanation


@pytest.mark.parametrize("close_loops", [True, False])
@pytest.mark.parametrize("line", ["L0-1", "L1-2", "L2-3"])
def test_return__ends_in_the_normal_state_with_every_step_admissible(line, close_loops):
    network = two_feeders()
    settings, topology = FlisrSettings(close_loops=close_loops), Topology(network)
    closed = restored(network, line).closed.copy()
    plan = return_to_normal(network, restored(network, line), network.switches.normally_closed, settings)
    for step in plan.steps:
        closed[row(network, step.equipment)] ^= True
        assert step.check.admissible
        assert close_loops or topology.state(closed).radial
    assert (closed == network.switches.normally_closed).all()


def test_return__does_not_touch_what_it_was_not_asked_to():
    """CB_2 is open for a reason of its own."""
    network = two_feeders()
    seen = restored(network, "L2-3")
    position = seen.position.copy()
    position[row(network, "S_5-3")] = DoublePosition.OPEN
    seen = replace(seen, position=position)
    wanted = network.switches.normally_closed.copy()
    wanted[row(network, "S_5-3")] = False
    plan = return_to_normal(network, seen, wanted)
    assert "S_5-3" not in {step.equipment for step in plan.steps}
