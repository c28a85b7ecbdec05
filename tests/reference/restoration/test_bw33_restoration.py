"""Restoration of the 33-bus system, line by line, against an enumeration of all choices of ties and lines."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from twin.dms.flisr import FlisrSettings, healthy_observation, make_plan
from twin.dms.flisr.model import Location
from twin.dms.plan import Plan, StepAction, StepPurpose, Verdict
from twin.dms.zonegraph import zone_graph
from twin.network import load_network
from twin.network.model import Network
from twin.points.model import DoublePosition

TABLE = Path(__file__).with_name("bw33_single_line_restoration_oracle.csv")
ROWS = list(csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines()))
SETTINGS = FlisrSettings(v_min_pu=0.9, max_ties=3, max_cuts=2)


@pytest.fixture(scope="module")
def bus33() -> Network:
    return load_network("pandapower:case33bw")


def plan_without(network: Network, line: str) -> Plan:
    """The plan for a fault on ``line``, its place known: the head has tripped."""
    seen = healthy_observation(network)
    head = network.switches.names.index("CB_1")
    seen.position[head], seen.tripped[head] = DoublePosition.OPEN, True
    zone = int(zone_graph(network).branch_zone[network.lines.names.index(line)])
    return make_plan(network, seen, SETTINGS, location=Location(head, (), (zone,), f"{line} is out."))


def line_name(branch: str) -> str:
    a, b = (int(bus) - 1 for bus in branch.split("-"))
    return f"L{a}-{b}"


@pytest.mark.parametrize("row", ROWS, ids=[row["branch"] for row in ROWS])
def test_restoration__33_bus_meets_the_enumeration(bus33, row):
    plan = plan_without(bus33, line_name(row["branch"]))
    if row["min_ops_v0.90"] == "infeasible_full":
        assert plan.verdict in (Verdict.PARTIAL, Verdict.ISOLATION_ONLY)
        assert plan.customers_not_restored > 0
        assert all(step.check.admissible for step in plan.steps)
        return
    assert plan.verdict is Verdict.FULL
    restoring = [s for s in plan.steps if s.purpose is StepPurpose.RESTORE and s.equipment != "CB_1"]
    closed = {s.equipment for s in restoring if s.action is StepAction.CLOSE}
    last = plan.steps[-1].check
    assert len(restoring) == int(row["min_ops_v0.90"])
    assert closed == {f"TIE_{int(tie) - 32}" for tie in row["close_ties_v0.90"].split("+")}
    assert last.losses_kw == pytest.approx(float(row["loss_kW_v0.90"]), rel=5e-4)
    assert last.v_min_pu == pytest.approx(float(row["vmin_v0.90"]), abs=1e-4)


def test_restoration__no_row_of_the_enumeration_is_left_out():
    assert [int(row["fault_line_no"]) for row in ROWS] == list(range(1, 17))
