"""Plans on published networks: CIGRE MV, Oberrhein, and the 33-bus system against an enumeration."""

from __future__ import annotations

import pytest
from dms_toy import assert_sound, commands, observe_fault

from twin.dms.flisr import FlisrSettings, make_plan
from twin.dms.plan import StepAction, StepPurpose, Verdict
from twin.network import load_network
from twin.network.model import Network
from twin.solvers import power_flow

CIGRE_LINES = (
    *("L1-2", "L2-3", "L3-4", "L4-5", "L5-6", "L6-7", "L7-8", "L8-9", "L9-10", "L10-11", "L11-4", "L3-8"),
    *("L12-13", "L13-14", "L14-8"),
)


@pytest.fixture(scope="module")
def cigre() -> Network:
    return load_network("cigre_mv")


@pytest.fixture(scope="module")
def oberrhein() -> Network:
    return load_network("mv_oberrhein")


@pytest.fixture(scope="module")
def bus33() -> Network:
    return load_network("pandapower:case33bw")


@pytest.mark.parametrize("line", CIGRE_LINES)
def test_plan__cigre_mv_is_sound_for_every_line(cigre, line):
    seen = observe_fault(cigre, line=line)
    plan = make_plan(cigre, seen)
    assert plan.isolated == (f"Z_{line}",)
    assert plan.verdict is not Verdict.NONE
    assert_sound(cigre, seen, plan)


def test_plan__cigre_mv_covers_every_line(cigre):
    assert sorted(CIGRE_LINES) == sorted(cigre.lines.names)


def test_plan__cigre_mv_restores_all_after_a_fault_on_l3_8(cigre):
    """TIE_1 takes N7 .. N11 to the other transformer, which relieves TR_1; TIE_2 and TIE_3 would not."""
    plan = make_plan(cigre, observe_fault(cigre, line="L3-8"))
    assert commands(plan) == ["open LBS_3-8", "open LBS_8-3", "close CB_1", "close TIE_1"]
    assert (plan.verdict, plan.customers_not_restored) == (Verdict.FULL, 0)


@pytest.mark.parametrize(("line", "verdict"), [("L12-13", Verdict.ISOLATION_ONLY), ("L13-14", Verdict.PARTIAL)])
def test_plan__cigre_mv_refuses_the_only_tie_of_feeder_2(cigre, line, verdict):
    """N13 and N14 over TIE_1 load feeder 1 (145 A, of which it carries about 145 A already) beyond its rating."""
    plan = make_plan(cigre, observe_fault(cigre, line=line))
    assert plan.verdict is verdict
    assert "close TIE_1" not in commands(plan)
    assert "closing TIE_1 would load L2-3 to 11" in plan.explanation
    assert "% (limit 100 %)" in plan.explanation


OBERRHEIN_LINES = ("L238-109", "L126-29", "L172-131", "L57-192", "L73-78", "L86-71", "L290-7", "L134-142", "L35-45")


@pytest.mark.parametrize("line", OBERRHEIN_LINES)
def test_plan__oberrhein_is_sound(oberrhein, line):
    """Lines without a switch at an end share a zone with their neighbours; all of it is isolated."""
    seen = observe_fault(oberrhein, line=line)
    plan = make_plan(oberrhein, seen)
    assert plan.verdict in (Verdict.FULL, Verdict.PARTIAL)
    assert "The search was cut short: there may be a better plan." not in plan.why
    assert_sound(oberrhein, seen, plan)


# Line out, fewest operations, least losses among those (kW), ties closed, lines cut; demand in full, at least 0.90 pu.
# Enumerated for the system of Baran and Wu (1989); ties 33 .. 37 are TIE_1 .. TIE_5, and buses count from 0 here.
BUS33 = [
    ("L2-3", 3, 203.444, {"TIE_1", "TIE_5"}),
    ("L3-4", 3, 191.062, {"TIE_1", "TIE_5"}),
    ("L4-5", 3, 185.824, {"TIE_1", "TIE_5"}),
    ("L5-6", 1, 163.285, {"TIE_1"}),
    ("L6-7", 1, 156.529, {"TIE_3"}),
    ("L7-8", 1, 153.493, {"TIE_3"}),
    ("L8-9", 1, 153.992, {"TIE_3"}),
    ("L9-10", 1, 155.131, {"TIE_3"}),
    ("L10-11", 1, 156.785, {"TIE_3"}),
    ("L11-12", 1, 197.346, {"TIE_2"}),
    ("L12-13", 1, 196.504, {"TIE_2"}),
    ("L13-14", 1, 196.415, {"TIE_2"}),
    ("L14-15", 1, 206.292, {"TIE_4"}),
    ("L15-16", 1, 204.011, {"TIE_4"}),
]


@pytest.mark.parametrize(("line", "operations", "losses_kw", "ties"), BUS33)
def test_plan__33_bus_takes_fewest_operations_and_least_losses(bus33, line, operations, losses_kw, ties):
    plan = make_plan(bus33, observe_fault(bus33, line=line), FlisrSettings(v_min_pu=0.9), solver=power_flow(bus33))
    assert plan.verdict is Verdict.FULL
    restoring = [s for s in plan.steps if s.purpose is StepPurpose.RESTORE and s.equipment != "CB_1"]
    assert len(restoring) == operations
    assert {s.equipment for s in restoring if s.action is StepAction.CLOSE} == ties
    assert plan.steps[-1].check.losses_kw == pytest.approx(losses_kw, rel=5e-4)


def test_plan__33_bus_cut_short_still_hands_over_something_good(bus33):
    """L28-29 has no full restoration, and far too many choices for 300 power flows: a greedy try has to do."""
    seen = observe_fault(bus33, line="L28-29")
    head_only = make_plan(bus33, seen, FlisrSettings(max_ties=0))
    plan = make_plan(bus33, seen, FlisrSettings(max_evaluations=300))
    assert "The search was cut short: there may be a better plan." in plan.why
    assert plan.evaluations < 600
    assert plan.customers_restored > head_only.customers_restored
    assert_sound(bus33, seen, plan)
