"""Meter zones: which meters divide the network as it is switched, and which consumers each one answers for.

A meter stands at a switch at a branch end. It divides where the branch is on the way from the source to what lies
behind, and no loop leads around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin.network.model import Bools, Floats, Ints
from twin.network.topology import Topology, TopologyState


@dataclass(frozen=True, slots=True)
class MeterZones:
    """``switch`` are the rows of the dividing meters, parents before children. ``sign`` times a reading counts
    downstream. ``parent`` is the next meter upstream (index into ``switch``, -1: none). ``node`` gives the meter that
    answers for each node, -1: none.
    """

    switch: Ints
    sign: Floats
    parent: Ints
    node: Ints

    @property
    def n(self) -> int:
        return len(self.switch)


def meter_zones(topology: Topology, state: TopologyState, metered: Bools) -> MeterZones:
    """The zones for one switching state; ``metered`` says at which switches there is a usable reading."""
    network, s = topology.network, topology.network.switches
    usable = metered & state.closed & (s.branch >= 0)
    looped = np.zeros(network.n_branches + s.n, dtype=np.bool_)
    for loop in topology.loops(state):
        looped[list(loop.edges)] = True
    at_child = np.full(network.nodes.n, -1, dtype=np.int32)
    sign = np.zeros(network.nodes.n)
    child_of = np.full(network.n_branches + s.n, -1, dtype=np.int32)
    fed = np.flatnonzero(state.parent_edge >= 0)
    child_of[state.parent_edge[fed]] = fed
    for switch in np.flatnonzero(usable).tolist():
        branch = int(s.branch[switch])
        child = int(child_of[branch])
        if child < 0 or looped[branch]:
            continue
        upstream = int(s.node[switch]) != child
        if at_child[child] < 0 or (upstream and sign[child] < 0):  # the upstream end sees the losses of its branch too
            at_child[child], sign[child] = switch, 1.0 if upstream else -1.0
    return _tree(state, at_child, sign)


def _tree(state: TopologyState, at_child: Ints, sign: Floats) -> MeterZones:
    order = _downwards(state)
    index = np.full(len(at_child), -1, dtype=np.int32)
    switches: list[int] = []
    signs: list[float] = []
    parents: list[int] = []
    for node in order:
        above = int(state.parent_node[node])
        index[node] = index[above] if above >= 0 else -1
        if at_child[node] >= 0:
            parents.append(int(index[node]))
            index[node] = len(switches)
            switches.append(int(at_child[node]))
            signs.append(float(sign[node]))
    return MeterZones(np.array(switches, dtype=np.int32), np.array(signs), np.array(parents, dtype=np.int32), index)


def _downwards(state: TopologyState) -> list[int]:
    """Energised nodes, each after its parent."""
    depth = np.zeros(len(state.parent_node), dtype=np.int64)
    here = np.where(state.parent_node >= 0, state.parent_node, np.arange(len(depth)))
    moving = state.parent_node >= 0
    while moving.any():
        depth[moving] += 1
        moving = moving & (state.parent_node[here] >= 0)
        here = np.where(moving, state.parent_node[here], here)
    order = np.argsort(depth, kind="stable")
    return [int(node) for node in order if state.energised[node]]
