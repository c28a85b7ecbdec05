"""The electrical buses behind the nodes: what closed switches join, which islands live, what is passive.

Nodes joined by closed bus-bus switches are one bus; buses of dead islands are left out. Array functions of a
network and its switch states; no measurements.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from twin.network.model import Bools, Floats, Ints, Network
from twin.network.topology import Topology, TopologyState


@dataclass(frozen=True, slots=True)
class Buses:
    """Energised buses in the order of their lowest node, islands in the order of their first source.

    ``of_node`` is -1 for dead nodes, ``branch_from``/``branch_to`` are -1 for dead branches; a branch open at one
    end has the bus of its other end at both. ``reference`` is the bus and ``source`` the row of the source
    whose angle each island takes over. ``angle_rad`` is the angle of each bus without load, ``away`` is 1 where
    the from end of a branch is the one nearer to the source, else -1.
    """

    n: int
    of_node: Ints
    island: Ints
    reference: Ints
    source: Ints
    branch_from: Ints
    branch_to: Ints
    angle_rad: Floats
    away: Ints
    from_on: Bools
    to_on: Bools

    @property
    def n_islands(self) -> int:
        return len(self.source)


def buses_under(topology: Topology, closed: Bools) -> Buses:
    """The buses of a network under the switch states ``closed``."""
    network, state = topology.network, topology.state(closed)
    of_node, n = _fuse(network, state)
    lowest = np.full(n, network.nodes.n)
    live = np.flatnonzero(state.energised)
    np.minimum.at(lowest, of_node[live], live)
    island_of_source = state.node_island[network.sources.node]
    islands, source = np.unique(island_of_source, return_index=True)
    order = np.argsort(source, kind="stable")
    rank = np.full(network.nodes.n, -1, dtype=np.int32)
    rank[islands[order]] = np.arange(len(islands), dtype=np.int32)
    source = source[order]
    bus_from, bus_to = _branch_buses(network, state, of_node)
    return Buses(
        n=n,
        of_node=of_node,
        island=rank[state.node_island[lowest]],
        reference=of_node[network.sources.node[source]],
        source=np.asarray(source, dtype=np.int32),
        branch_from=bus_from,
        branch_to=bus_to,
        angle_rad=_idle_angles(network, state)[lowest],
        away=_away(network, state),
        from_on=state.from_on,
        to_on=state.to_on,
    )


def _fuse(network: Network, state: TopologyState) -> tuple[Ints, int]:
    """The bus of each node, numbered by lowest node, dead ones -1."""
    switches = network.switches
    between = np.flatnonzero((switches.branch < 0) & state.closed)
    n = network.nodes.n
    if len(between):
        ones = np.ones(len(between), dtype=np.int8)
        graph = csr_array((ones, (switches.node[between], switches.other_node[between])), shape=(n, n))
        _, label = connected_components(graph, directed=False)
    else:
        label = np.arange(n)
    live = np.flatnonzero(state.energised)
    _, first, inverse = np.unique(label[live], return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int32)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first), dtype=np.int32)
    of_node = np.full(n, -1, dtype=np.int32)
    of_node[live] = rank[inverse]
    return of_node, len(first)


def _branch_buses(network: Network, state: TopologyState, of_node: Ints) -> tuple[Ints, Ints]:
    at_from, at_to = of_node[network.branch_from], of_node[network.branch_to]
    bus_from = np.where(state.from_on, at_from, np.where(state.to_on, at_to, -1)).astype(np.int32)
    bus_to = np.where(state.to_on, at_to, np.where(state.from_on, at_from, -1)).astype(np.int32)
    return bus_from, bus_to


def _idle_angles(network: Network, state: TopologyState) -> Floats:
    """The angle of each node without load: that of the source less the phase shifts on the way."""
    t, n_lines, root = network.transformers, network.lines.n, network.nodes.n
    shift = np.zeros(network.n_branches + network.switches.n)
    shift[n_lines : network.n_branches] = np.deg2rad(t.shift_deg)
    edge, parent = state.parent_edge, np.where(state.parent_node < 0, root, state.parent_node)
    angle = np.zeros(root + 1)
    branch = np.minimum(edge, network.n_branches - 1)
    downwards = np.where(edge < network.n_branches, network.branch_to[branch] == np.arange(root), True)
    angle[:root] = np.where(edge >= 0, np.where(downwards, -1.0, 1.0) * shift[edge], 0.0)
    at_root = edge < 0
    source = np.maximum(state.source, 0)
    angle[:root][at_root] = np.where(state.source >= 0, network.sources.angle_rad[source], 0.0)[at_root]
    step = np.append(parent, root)
    while (step != root).any():
        angle += np.where(step != root, angle[step], 0.0)
        step = step[step]
    return np.asarray(angle[:root], dtype=np.float64)


def _away(network: Network, state: TopologyState) -> Ints:
    into_parent = (state.parent_edge >= 0) & (state.parent_edge < network.n_branches)
    child = np.flatnonzero(into_parent)
    away = np.ones(network.n_branches, dtype=np.int32)
    branch = state.parent_edge[child]
    away[branch[network.branch_from[branch] == child]] = -1
    return away


def passive_nodes(network: Network) -> Bools:
    """Nodes without consumer, generating unit or source: their injection is exactly zero."""
    passive = np.ones(network.nodes.n, dtype=np.bool_)
    for node in (network.consumers.node, network.generators.node, network.sources.node):
        passive[node] = False
    return passive
