"""Fault location: directional indicators, one silent, one false, none, and when no location is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dms_toy import (
    ToyLine,
    after,
    build,
    commands,
    indicators_lost,
    mask,
    observe_fault,
    row,
    silenced,
    two_feeders,
    without_indications,
)

from twin.dms.flisr import FlisrSettings, locate, make_plan
from twin.dms.flisr.locate import zones_behind
from twin.dms.zonegraph import zone_graph
from twin.network.model import Network
from twin.network.topology import Topology, zones
from twin.points.model import DoublePosition


def branching():
    """One feeder with two laterals.

    N0 --CB_1-- L0-1 -- N1 -- L1-2 -- N2 -- L2-3 -- N3 -- L3-4 -- N4
                                       +--- L2-5 -- N5
    """
    lines = [
        ToyLine(0, 1, head="CB_1"),
        ToyLine(1, 2),
        ToyLine(2, 3),
        ToyLine(3, 4),
        ToyLine(2, 5),
    ]
    return build(lines, dict.fromkeys(range(1, 6), 100.0))


def area(network, location) -> set[str]:
    return {zones(network).names[zone] for zone in location.area}


@pytest.mark.parametrize("line", ["L0-1", "L1-2", "L2-3", "L3-4", "L2-5"])
def test_locate__finds_the_line(line):
    network = branching()
    location = locate(network, observe_fault(network, line=line))
    assert area(network, location) == {f"Z_{line}"}
    assert location.candidates[0].branches == (line,)
    assert location.candidates[0].probability > 0.9
    assert location.sentence.startswith(f"CB_1 tripped; the fault is in {line}")


@pytest.mark.parametrize("node", ["N1", "N2", "N3", "N5"])
def test_locate__finds_the_busbar(node):
    """Fault current enters N2 at S_2-1 (reverse: out of the branch, into the node) and leaves it nowhere."""
    network = branching()
    location = locate(network, observe_fault(network, node=node))
    assert location.candidates[0].nodes == (node,)
    # busbars fail so seldom that a line behind one with a silent indicator is nearly as likely: it is isolated too
    behind = {f"Z_{line}" for line in network.lines.names if line.startswith(f"L{node[1:]}-")}
    assert {f"Z_{node}"} <= area(network, location) <= {f"Z_{node}"} | behind


@pytest.mark.parametrize("line", ["L1-2", "L2-3", "L3-4", "L2-5"])
def test_locate__keeps_a_line_whose_own_indicator_is_silent(line):
    """The last indicator before the fault says nothing, so all evidence points to the busbar before the line."""
    network = branching()
    start, end = line[1:].split("-")
    seen = observe_fault(network, line=line)
    silent = network.switches.names.index(f"S_{start}-{end}")
    forward, reverse = seen.fault_forward.copy(), seen.fault_reverse.copy()
    forward[silent] = reverse[silent] = False
    location = locate(network, replace(seen, fault_forward=forward, fault_reverse=reverse))
    assert f"Z_{line}" in area(network, location)


def test_locate__probabilities_add_up():
    network = branching()
    location = locate(network, observe_fault(network, line="L2-3"))
    assert abs(sum(c.probability for c in location.candidates) - 1) < 1e-9
    ranked = [c.probability for c in location.candidates]
    assert ranked == sorted(ranked, reverse=True)


@pytest.mark.parametrize("silent", ["CB_1", "S_1-0", "S_1-2", "S_2-1"])
def test_locate__tolerates_a_silent_indicator_on_the_way(silent):
    """The indicators behind the silent one show that the current passed it."""
    network = branching()
    seen = silenced(network, observe_fault(network, line="L3-4"), silent)
    assert area(network, locate(network, seen)) == {"Z_L3-4"}


@pytest.mark.parametrize("false", ["S_5-2", "S_3-2", "S_4-3"])
def test_locate__tolerates_a_false_indicator(false):
    """Fault on L1-2; an indicator further down shows a current that the ones before it deny."""
    network = branching()
    seen = observe_fault(network, line="L1-2")
    seen = replace(seen, fault_reverse=seen.fault_reverse | mask(network, [false]))
    assert area(network, locate(network, seen)) == {"Z_L1-2"}


def test_locate__isolates_both_explanations_of_one_failed_indicator():
    """Only S_2-5 shows a current beyond L1-2: it is false, or S_2-1 is silent. Both lines, and N2 between them."""
    network = branching()
    seen = observe_fault(network, line="L1-2")
    seen = replace(seen, fault_forward=seen.fault_forward | mask(network, ["S_2-5"]))
    assert area(network, locate(network, seen)) == {"Z_L1-2", "Z_N2", "Z_L2-5"}
    assert not locate(network, seen, FlisrSettings(max_joining_sections=0)).located


def test_locate__takes_a_current_towards_the_head_as_no_fault_behind():
    """Generation at N4 feeds the fault on L1-2 backwards; S_2-3 and S_3-2 show reverse and forward."""
    network = branching()
    seen = observe_fault(network, line="L1-2")
    seen = replace(
        seen,
        fault_reverse=seen.fault_reverse | mask(network, ["S_2-3"]),
        fault_forward=seen.fault_forward | mask(network, ["S_3-2", "S_2-1"]),
    )
    assert area(network, locate(network, seen)) == {"Z_L1-2"}


def test_locate__joins_what_no_usable_indicator_tells_apart():
    """Without an indicator at either side of N3, a fault beyond S_2-3 is somewhere in L2-3, N3, L3-4."""
    network = branching()
    seen = silenced(network, observe_fault(network, line="L3-4"), "S_3-2", "S_3-4")
    seen = indicators_lost(network, seen, "S_3-2", "S_3-4")
    assert area(network, locate(network, seen)) == {"Z_L2-3", "Z_N3", "Z_L3-4"}


def test_locate__long_lines_are_more_probable_among_equals():
    lines = [ToyLine(0, 1, head="CB_1", km=0.5), ToyLine(1, 2, km=5.0), ToyLine(2, 3, km=0.5)]
    network = build(lines, {3: 100.0})
    lost = [n for n in network.switches.names if n not in ("CB_1", "S_1-0")]
    seen = indicators_lost(network, observe_fault(network, line="L1-2"), *lost)
    seen = replace(seen, fault_reverse=seen.fault_reverse | mask(network, ["S_1-0"]))
    location = locate(network, seen)
    assert location.candidates[0].branches == ("L1-2",)
    assert area(network, location) == {"Z_N1", "Z_L1-2", "Z_N2", "Z_L2-3", "Z_N3"}


def test_locate__joins_neighbours_until_the_area_holds_the_fault():
    """With indicators that fail often, one silent indicator is as good an explanation: both sections are isolated."""
    network = branching()
    seen = observe_fault(network, node="N3")
    unsure = FlisrSettings(p_silent=0.3, p_false=0.01)
    assert area(network, locate(network, seen, unsure)) > {"Z_N3"}


def test_locate__gives_none_where_indications_contradict_each_other():
    """Currents into N3 and into N5: L2-3, N2 and L2-5 lie between them."""
    network = branching()
    seen = observe_fault(network, node="N3")
    also = observe_fault(network, node="N5")
    seen = replace(
        seen,
        fault_forward=seen.fault_forward | also.fault_forward,
        fault_reverse=seen.fault_reverse | also.fault_reverse,
    )
    location = locate(network, seen)
    assert not location.located
    assert location.sentence.startswith("Not located: the indications contradict each other: N3 (4")
    assert {c.name for c in location.candidates[:2]} == {"N3", "N5"}


def test_locate__without_indication_takes_the_first_section():
    network = branching()
    location = locate(network, without_indications(observe_fault(network, line="L3-4")))
    assert area(network, location) == {"Z_L0-1"}
    assert "no fault passage indicator shows a fault current: taken to be in the first section" in location.sentence


def test_locate__without_indication_gives_none_if_told_so():
    network = branching()
    seen = without_indications(observe_fault(network, line="L3-4"))
    location = locate(network, seen, FlisrSettings(assume_first_section=False))
    assert location.sentence == "Not located: no fault passage indicator behind CB_1 shows a fault current."
    assert not location.located


def test_locate__without_usable_indicators_gives_none():
    network = branching()
    seen = indicators_lost(network, observe_fault(network, line="L3-4"), *network.switches.names[1:])
    location = locate(network, seen)
    assert location.sentence == "Not located: no fault passage indicator behind CB_1 can be used."


def test_locate__without_trip_gives_none():
    network = branching()
    seen = observe_fault(network, line="L3-4")
    location = locate(network, replace(seen, tripped=np.zeros_like(seen.tripped)))
    assert (location.device, location.located) == (-1, False)
    assert "no protection trip" in location.sentence


def test_locate__looks_behind_the_last_of_two_tripped_devices():
    """CB_1 and a breaker at S_2-3 have both tripped: the fault is behind the latter."""
    network = branching()
    seen = observe_fault(network, line="L3-4")
    second = row(network, "S_2-3")
    position, tripped = seen.position.copy(), seen.tripped.copy()
    position[second], tripped[second] = DoublePosition.OPEN, True
    location = locate(network, replace(seen, position=position, tripped=tripped))
    assert location.device == second
    assert area(network, location) == {"Z_L3-4"}


def test_zones_behind__are_the_feeder_and_in_a_ring_all_of_it():
    """Two feeders joined by TIE_1: opened, each has its own; closed, the fault may be anywhere short of the busbar."""
    network = two_feeders()
    graph, heads = zone_graph(network), network.switches.feeder_head
    closed = network.switches.normally_closed.copy()
    own = [set(zones_behind(graph, closed, head, heads)) for head in np.flatnonzero(heads).tolist()]
    assert all(own)
    assert not own[0] & own[1]
    closed[row(network, "TIE_1")] = True
    for head in np.flatnonzero(heads).tolist():
        both = set(zones_behind(graph, closed, head, heads))
        assert own[0] | own[1] <= both
        assert not both & set(graph.source_zone.tolist())


def test_locate__gives_none_for_a_ring():
    network = two_feeders()
    seen = observe_fault(network, line="L1-2")
    before = seen.closed_before.copy()
    before[row(network, "TIE_1")] = True
    location = locate(network, replace(seen, closed_before=before))
    assert not location.located
    assert "did not feed a part of the network of its own" in location.sentence
    assert location.sentence.endswith(": it is operated in a ring with CB_2.")


def ring() -> Network:
    """A feeder with a closed ring N1-N2-N3 and a spur.

    N0 --CB_1-- L0-1 -- N1 ==[L1-2, L2-3, L1-3]== N3 -- L3-4 -- N4
    """
    lines = [
        ToyLine(0, 1, head="CB_1", r_ohm=0.5),
        ToyLine(1, 2, r_ohm=0.5),
        ToyLine(2, 3, r_ohm=0.5),
        ToyLine(1, 3, r_ohm=0.5),
        ToyLine(3, 4, r_ohm=0.5),
    ]
    network = build(lines, dict.fromkeys(range(1, 5), 100.0))
    return replace(network, sources=replace(network.sources, s_sc_mva=np.array([500.0]), rx=np.array([0.1])))


FROM_BOTH_SIDES = {
    "L2-3": (["S_1-2", "S_2-3", "S_1-3", "S_3-2"], ["S_1-0", "S_2-1", "S_3-1"]),
    "L1-3": (["S_1-3", "S_1-2", "S_2-3", "S_3-1"], ["S_1-0", "S_2-1", "S_3-2"]),
    "L3-4": (["S_1-2", "S_2-3", "S_1-3", "S_3-4"], ["S_1-0", "S_2-1", "S_3-2", "S_3-1"]),
}
"""By hand: who shows a fault current into its line, and who one out of it."""


def ring_fault(network: Network, line: str):
    forward, reverse = FROM_BOTH_SIDES[line]
    seen = observe_fault(network, line="L0-1")
    return replace(seen, fault_forward=mask(network, ["CB_1", *forward]), fault_reverse=mask(network, reverse))


@pytest.mark.parametrize("line", FROM_BOTH_SIDES)
def test_locate__finds_the_line_in_a_ring(line):
    network = ring()
    location = locate(network, ring_fault(network, line))
    assert area(network, location) == {f"Z_{line}"}
    assert location.sentence.endswith(", in a ring.")


@pytest.mark.parametrize("silent", ["S_1-2", "S_2-3", "S_3-2"])
def test_locate__finds_the_line_in_a_ring_with_a_silent_indicator(silent):
    network = ring()
    location = locate(network, silenced(network, ring_fault(network, "L2-3"), silent))
    assert location.candidates[0].branches == ("L2-3",)


@pytest.mark.parametrize("line", FROM_BOTH_SIDES)
def test_plan__leaves_a_ring_radial(line):
    """A fault in the ring opens it; for one behind it the ring is opened on purpose before it is supplied again."""
    network = ring()
    seen = ring_fault(network, line)
    plan = make_plan(network, seen)
    closed = after(network, seen, plan)
    state = Topology(network).state(closed)
    assert state.radial
    assert plan.customers_not_restored == (100 if line == "L3-4" else 0)
    assert [c for c in commands(plan) if c.startswith("close")] == ["close CB_1"]


def test_locate__gives_none_for_a_ring_without_indications():
    network = ring()
    location = locate(network, without_indications(ring_fault(network, "L2-3")))
    assert location.sentence == (
        "Not located: the feeder behind CB_1 is operated in a ring, and no directional indicator in it shows a "
        "fault current."
    )
