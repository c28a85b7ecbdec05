"""Network topology from telemetry: what is known, and that nothing unknown is guessed."""

from __future__ import annotations

import numpy as np
import pytest
from dms_toy import ToyLine, build, row, two_feeders
from hypothesis import given
from hypothesis import strategies as st

from twin.dms.topology import UNKNOWN_ROW, SupplyState, SwitchState, assess_network, switch_states
from twin.network.model import Network
from twin.network.topology import Topology
from twin.points.model import DoublePosition, Quality


def telemetry(network: Network, **changes: tuple[DoublePosition, Quality] | DoublePosition):
    """Normal positions, all good, but for the switches named (with _ for -)."""
    closed = network.switches.normally_closed
    position = np.where(closed, int(DoublePosition.CLOSED), int(DoublePosition.OPEN)).astype(np.int32)
    quality = np.zeros(network.switches.n, np.int32)
    for name, change in changes.items():
        at = row(network, name.replace("__", "-"))
        position[at], quality[at] = change if isinstance(change, tuple) else (change, Quality.GOOD)
    return position, quality


def nodes(network: Network, states: np.ndarray) -> dict[str, SupplyState]:
    return {name: SupplyState(state) for name, state in zip(network.nodes.names, states, strict=True)}


@pytest.mark.parametrize(
    ("position", "quality", "expected"),
    [
        (DoublePosition.OPEN, Quality.GOOD, SwitchState.OPEN),
        (DoublePosition.CLOSED, Quality.GOOD, SwitchState.CLOSED),
        (DoublePosition.INTERMEDIATE, Quality.GOOD, SwitchState.UNKNOWN),
        (DoublePosition.FAULTY, Quality.GOOD, SwitchState.UNKNOWN),
        (DoublePosition.CLOSED, Quality.INVALID, SwitchState.UNKNOWN),
        (DoublePosition.OPEN, Quality.NOT_TOPICAL, SwitchState.UNKNOWN),
        (DoublePosition.OPEN, Quality.BLOCKED, SwitchState.UNKNOWN),
        (DoublePosition.CLOSED, Quality.SUBSTITUTED, SwitchState.CLOSED),
        (DoublePosition.CLOSED, Quality.SUBSTITUTED | Quality.NOT_TOPICAL, SwitchState.UNKNOWN),
    ],
)
def test_switch_states__position_counts_only_when_good(position, quality, expected):
    states = switch_states(np.array([position], np.int32), np.array([quality], np.int32))
    assert states.tolist() == [expected]


def test_assess__normal_state():
    network = two_feeders()
    found = assess_network(network, *telemetry(network))
    assert set(nodes(network, found.node).values()) == {SupplyState.ENERGISED}
    heads = dict(zip(network.nodes.names, found.feeder_head.tolist(), strict=True))
    assert heads["N3"] == row(network, "CB_1")
    assert heads["N5"] == row(network, "CB_2")
    assert heads["N0"] == -1
    assert set(found.source.tolist()) == {0}
    assert found.radial
    assert (found.customers_interrupted, found.customers_unknown) == (0, 0)


def test_assess__dead_behind_an_open_switch():
    network = two_feeders()
    found = assess_network(network, *telemetry(network, S_1__2=DoublePosition.OPEN))
    states = nodes(network, found.node)
    assert [states[f"N{i}"] for i in (1, 2, 3)] == [SupplyState.ENERGISED, SupplyState.DEAD, SupplyState.DEAD]
    assert found.customers_interrupted == 200
    assert found.source[network.nodes.names.index("N2")] == -1


def test_assess__unknown_behind_an_unknown_switch():
    network = two_feeders()
    found = assess_network(network, *telemetry(network, S_1__2=DoublePosition.INTERMEDIATE))
    states = nodes(network, found.node)
    assert [states[f"N{i}"] for i in (1, 2, 3)] == [SupplyState.ENERGISED, SupplyState.UNKNOWN, SupplyState.UNKNOWN]
    assert (found.customers_interrupted, found.customers_unknown) == (0, 200)
    assert found.feeder_head[network.nodes.names.index("N2")] == UNKNOWN_ROW
    assert found.branch[network.lines.names.index("L2-3")] == SupplyState.UNKNOWN


def test_assess__energised_although_a_switch_is_unknown():
    """TIE_1 unknown: all nodes are supplied either way, but a loop is possible and N1's own feeder is certain."""
    network = two_feeders()
    found = assess_network(network, *telemetry(network, TIE_1=(DoublePosition.OPEN, Quality.NOT_TOPICAL)))
    assert set(nodes(network, found.node).values()) == {SupplyState.ENERGISED}
    assert found.loops == ()
    assert len(found.possible_loops) == 1
    assert not found.radial
    assert found.feeder_head[network.nodes.names.index("N1")] == row(network, "CB_1")


def test_assess__dead_although_a_switch_is_unknown():
    network = two_feeders()
    changes = {"S_1__2": DoublePosition.OPEN, "S_2__3": DoublePosition.FAULTY}
    found = assess_network(network, *telemetry(network, **changes))
    states = nodes(network, found.node)
    assert [states[f"N{i}"] for i in (2, 3)] == [SupplyState.DEAD, SupplyState.DEAD]


def test_assess__names_the_loop():
    network = two_feeders()
    found = assess_network(network, *telemetry(network, TIE_1=DoublePosition.CLOSED))
    topology = Topology(network)
    assert len(found.loops) == 1
    names = {topology.edge_name(edge) for edge in found.loops[0].edges}
    assert names == {"L0-1", "L1-2", "L2-3", "L0-4", "L4-5", "L3-5"}
    assert found.possible_loops == ()


def test_assess__a_certain_loop_is_not_called_possible():
    """A ring N1-N2-N3 that is closed for certain, and an unknown switch on a spur."""
    lines = [ToyLine(0, 1, head="CB_1"), ToyLine(1, 2), ToyLine(2, 3), ToyLine(3, 1), ToyLine(3, 4)]
    network = build(lines, {4: 100.0})
    found = assess_network(network, *telemetry(network, S_3__4=DoublePosition.FAULTY))
    assert (len(found.loops), found.possible_loops) == (1, ())


@given(st.lists(st.sampled_from(list(DoublePosition)), min_size=12, max_size=12), st.integers(0, 2**12 - 1))
def test_assess__any_truth_agrees_with_what_is_called_known(positions, truth):
    """Whatever the unknown switches really are, no node called energised is dead, and none called dead energised."""
    network = two_feeders()
    position = np.array(positions, np.int32)
    found = assess_network(network, position, np.zeros(12, np.int32))
    closed = position == DoublePosition.CLOSED
    unclear = found.switch == SwitchState.UNKNOWN
    closed |= unclear & np.array([truth >> i & 1 for i in range(12)], bool)
    real = Topology(network).state(closed)
    assert real.energised[found.node == SupplyState.ENERGISED].all()
    assert not real.energised[found.node == SupplyState.DEAD].any()
    known = found.feeder_head != UNKNOWN_ROW
    if real.radial:
        assert (real.feeder_head == found.feeder_head)[known].all()
