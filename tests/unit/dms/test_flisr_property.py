"""Plans on random radial networks with random telemetry: whatever is planned is sound, step by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from dms_toy import ToyLine, assert_sound, build, mask, observe_fault, unknown
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.dms.flisr import FlisrSettings, Observation, make_plan
from twin.dms.plan import StepAction, Verdict
from twin.network.model import Network


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Two or three feeders as random trees, up to four ties between any two nodes, random demand and ratings."""
    feeders = draw(st.integers(2, 3))
    size = draw(st.integers(feeders, 9))
    ratings = st.sampled_from([60.0, 120.0, 250.0, 1000.0])
    resistance = st.sampled_from([1e-3, 0.3, 2.0])
    lines = [ToyLine(0, n, draw(ratings), head=f"CB_{n}", r_ohm=1e-3) for n in range(1, feeders + 1)]
    for node in range(feeders + 1, size + 1):
        lines.append(ToyLine(draw(st.integers(1, node - 1)), node, draw(ratings), r_ohm=draw(resistance)))
    joined = {frozenset((line.a, line.b)) for line in lines}
    for number in range(draw(st.integers(0, 4))):
        a, b = draw(st.integers(1, size)), draw(st.integers(1, size))
        if a != b and frozenset((a, b)) not in joined:
            joined.add(frozenset((a, b)))
            lines.append(ToyLine(a, b, draw(ratings), tie=f"TIE_{number}", r_ohm=draw(resistance)))
    demand = {n: draw(st.sampled_from([0.0, 200.0, 500.0, 1000.0])) for n in range(1, size + 1)}
    return build(lines, demand, {n: draw(st.integers(1, 50)) for n in demand})


@st.composite
def incidents(draw: st.DrawFn) -> tuple[Network, Observation]:
    """A fault somewhere; some switches tagged, some positions unknown, some indicators wrong."""
    network = draw(networks())
    seen = observe_fault(network, line=draw(st.sampled_from(network.lines.names)))
    names = st.sampled_from([n for n in network.switches.names if not n.startswith("CB_")])
    seen = seen.with_blocked(network.switches.names.index(n) for n in draw(st.lists(names, max_size=2)))
    seen = unknown(network, seen, *draw(st.lists(names, max_size=2)))
    wrong = mask(network, draw(st.lists(names, max_size=1)))
    return network, replace(seen, fault_forward=seen.fault_forward ^ wrong)


@given(incidents())
@settings(max_examples=40, deadline=None)
def test_plan__is_sound_after_every_step(incident):
    network, seen = incident
    plan = make_plan(network, seen)
    assert_sound(network, seen, plan)
    assert plan.customers_restored + plan.customers_not_restored == plan.customers_interrupted
    if plan.verdict in (Verdict.ISOLATION_ONLY, Verdict.NONE):
        assert plan.customers_restored <= 0


@given(networks(), st.data())
@settings(max_examples=20, deadline=None)
def test_plan__supplies_no_fewer_than_any_single_tie(network, data):
    """No choice of the head and one tie alone, without cuts, restores more customers than the plan."""
    seen = observe_fault(network, line=data.draw(st.sampled_from(network.lines.names)))
    plan = make_plan(network, seen)
    ties = [n for n in network.switches.names if n.startswith("TIE_")]
    for tie in ties:
        others = [network.switches.names.index(t) for t in ties if t != tie]
        one = make_plan(network, seen.with_blocked(others), FlisrSettings(max_cuts=0))
        assert plan.customers_restored >= one.customers_restored


@given(networks(), st.data())
@settings(max_examples=20, deadline=None)
def test_plan__is_as_good_as_trying_everything(network, data):
    """On small networks: no set of ties and up to one cut restores more customers within the limits."""
    seen = observe_fault(network, line=data.draw(st.sampled_from(network.lines.names)))
    plan = make_plan(network, seen, FlisrSettings(max_ties=2, max_cuts=1))
    assert plan.customers_restored == _best_by_enumeration(network, seen, plan)


def _best_by_enumeration(network: Network, seen: Observation, plan) -> int:
    """Most customers restored over all choices of head, up to two ties and one cut, final states only."""
    from itertools import combinations

    from twin.network.topology import Topology, zones
    from twin.solvers import PowerFlowDivergedError, power_flow

    topology, table = Topology(network), zones(network)
    isolated = np.isin(table.names, plan.isolated)
    base = seen.closed.copy()
    for step in plan.steps:
        if step.action is StepAction.OPEN and step.purpose.value == "isolate":
            base[network.switches.names.index(step.equipment)] = False
    supplied = int(topology.node_customers[topology.state(seen.closed).energised].sum())
    was_dead = ~topology.state(base).energised
    solver = power_flow(network)
    before = solver.solve().loading
    limit = np.where(before > 1.0, before + 0.005, 1.0) + 1e-4
    v_low = np.where(solver.solve().v_pu < 0.9, solver.solve().v_pu - 0.005, 0.9) - 1e-4
    s = network.switches
    head = np.flatnonzero(seen.tripped)
    ties = np.flatnonzero(~s.normally_closed)
    cuttable = [c for c in np.flatnonzero(base) if was_dead[s.node[c]] and not s.feeder_head[c]]
    best = 0
    for n_ties in range(3):
        for chosen in combinations(ties.tolist(), n_ties):
            for cut in ([], *([c] for c in cuttable)):
                closed = base.copy()
                closed[[*head, *chosen]] = True
                closed[list(cut)] = False
                state = topology.state(closed)
                dead_area = ~state.energised[isolated[table.node_zone]].any()
                dead_area &= ~state.branch_energised[isolated[table.branch_zone]].any()
                if not state.radial or not dead_area:
                    closed[head] = False  # where the head cannot be closed
                    state = topology.state(closed)
                    if not state.radial or state.energised[isolated[table.node_zone]].any():
                        continue
                    if state.branch_energised[isolated[table.branch_zone]].any():
                        continue
                solver.update(closed=closed)
                try:
                    result = solver.solve()
                except PowerFlowDivergedError:
                    continue
                live = result.energised
                if (result.loading <= limit).all() and (result.v_pu[live] >= v_low[live]).all():
                    best = max(best, int(topology.node_customers[state.energised].sum()) - supplied)
    return best
