"""Network topology: what is connected, energised, radial, fed by which feeder head, cut off.

Array functions of a network and its switch states (``closed``, one bool a switch), used by plant and control
room alike. No measurements and no electrical quantities: a node counts as energised if it is connected to a source.

Edges are the branches connected at both ends and the closed bus-bus switches, in one index:
edge ``e`` is branch ``e`` if ``e < n_branches`` and switch ``e - n_branches`` otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from twin.network.model import Bools, Ints, Network


@dataclass(frozen=True, slots=True)
class TopologyState:
    """The topology for one set of switch states; nodes, branches and switches as in the network's tables.

    ``node_island`` numbers the islands by their lowest node. ``parent_node``/``parent_edge`` are the spanning tree
    from the sources (-1 at sources and dead nodes): the fewest branches to a source, the lowest edge among equals.
    ``feeder_head`` is the switch row of the feeder head that each node is fed through (-1: fed without passing
    one, or dead), ``source`` the row of its source (-1: dead). ``loop_edges`` are the edges outside the tree:
    each closes one loop, or puts two sources in parallel.
    """

    closed: Bools
    from_on: Bools
    to_on: Bools
    node_island: Ints
    energised: Bools
    branch_energised: Bools
    parent_node: Ints
    parent_edge: Ints
    feeder_head: Ints
    source: Ints
    loop_edges: Ints

    @property
    def radial(self) -> bool:
        """True if no loop is closed and no two sources are in parallel."""
        return self.loop_edges.size == 0


@dataclass(frozen=True, slots=True)
class Trace:
    """A set of nodes and branches as masks."""

    nodes: Bools
    branches: Bools


@dataclass(frozen=True, slots=True)
class Loop:
    """A closed loop (or the path between two sources in parallel) by rows, ``closing_edge`` first in ``edges``."""

    closing_edge: int
    nodes: tuple[int, ...]
    edges: tuple[int, ...]


class Topology:
    """Compiled once per network; every method is a pure function of the switch states."""

    def __init__(self, network: Network) -> None:
        self.network = network
        s = network.switches
        self._n_nodes = network.nodes.n
        self._n_branches = network.n_branches
        self._at_from = np.flatnonzero((s.branch >= 0) & (s.side == 0))
        self._at_to = np.flatnonzero((s.branch >= 0) & (s.side == 1))
        self._between = np.flatnonzero(s.branch < 0)
        self._edge_u = np.concatenate([network.branch_from, s.node[self._between]])
        self._edge_v = np.concatenate([network.branch_to, s.other_node[self._between]])
        self._edge_id = np.concatenate([np.arange(self._n_branches), self._n_branches + self._between]).astype(np.int32)
        heads = np.flatnonzero(s.feeder_head & (s.branch >= 0))[::-1]
        self._head_at_end = np.full((2, self._n_branches), -1, dtype=np.int32)
        self._head_at_end[s.side[heads], s.branch[heads]] = heads
        self._customers = np.zeros(self._n_nodes, dtype=np.int64)
        np.add.at(self._customers, network.consumers.node, network.consumers.customers)

    @property
    def node_customers(self) -> NDArray[np.int64]:
        """Customers at each node."""
        return self._customers

    def branch_connected(self, closed: Bools) -> tuple[Bools, Bools]:
        """For each branch, whether all switches at its from end, and at its to end, are closed."""
        branch = self.network.switches.branch
        from_on = np.ones(self._n_branches, dtype=np.bool_)
        to_on = np.ones(self._n_branches, dtype=np.bool_)
        from_on[branch[self._at_from[~closed[self._at_from]]]] = False
        to_on[branch[self._at_to[~closed[self._at_to]]]] = False
        return from_on, to_on

    def islands(self, closed: Bools) -> Ints:
        """The island of each node, islands numbered by their lowest node."""
        u, v, _ = self._live_edges(closed, *self.branch_connected(closed))
        return _components(self._n_nodes, u, v)

    def energised(self, closed: Bools) -> Bools:
        """Which nodes are connected to a source."""
        return _with_source(self.islands(closed), self.network.sources.node)

    def branch_energised(self, closed: Bools, energised: Bools) -> Bools:
        """Which branches are connected at one end at least to an energised node."""
        return self._fed(*self.branch_connected(closed), energised)

    def customers_interrupted(self, energised: Bools) -> int:
        """How many customers are at nodes without supply."""
        return int(self._customers[~energised].sum())

    def state(self, closed: Bools) -> TopologyState:
        """Everything about one set of switch states."""
        from_on, to_on = self.branch_connected(closed)
        u, v, edge = self._live_edges(closed, from_on, to_on)
        island = _components(self._n_nodes, u, v)
        energised = _with_source(island, self.network.sources.node)
        parent, parent_edge = self._spanning_tree(u, v, edge)
        in_tree = np.zeros(self._n_branches + self.network.switches.n, dtype=np.bool_)
        in_tree[parent_edge[parent_edge >= 0]] = True
        return TopologyState(
            closed=closed.copy(),
            from_on=from_on,
            to_on=to_on,
            node_island=island,
            energised=energised,
            branch_energised=self._fed(from_on, to_on, energised),
            parent_node=parent,
            parent_edge=parent_edge,
            feeder_head=self._feeder_heads(parent, parent_edge),
            source=self._sources(parent, energised),
            loop_edges=edge[energised[u] & ~in_tree[edge]],
        )

    def _fed(self, from_on: Bools, to_on: Bools, nodes: Bools) -> Bools:
        network = self.network
        fed: Bools = (from_on & nodes[network.branch_from]) | (to_on & nodes[network.branch_to])
        return fed

    def _live_edges(self, closed: Bools, from_on: Bools, to_on: Bools) -> tuple[Ints, Ints, Ints]:
        live = np.concatenate([from_on & to_on, closed[self._between]])
        return self._edge_u[live], self._edge_v[live], self._edge_id[live]

    def _spanning_tree(self, u: Ints, v: Ints, edge: Ints) -> tuple[Ints, Ints]:
        """Parent node and parent edge of each node, by breadth-first search from all sources at once."""
        root = self._n_nodes
        sources = self.network.sources.node
        graph = _graph(root + 1, np.concatenate([u, np.full(sources.size, root)]), np.concatenate([v, sources]))
        _, found = breadth_first_order(graph, root, directed=False, return_predecessors=True)
        parent = np.where((found[:root] < 0) | (found[:root] == root), -1, found[:root]).astype(np.int32)
        parent_edge = np.full(root, -1, dtype=np.int32)
        for above, below in ((u, v), (v, u)):
            _assign_lowest(parent_edge, below, edge, parent[below] == above)
        return parent, parent_edge

    def _feeder_heads(self, parent: Ints, parent_edge: Ints) -> Ints:
        own = np.full(self._n_nodes, -1, dtype=np.int32)
        rows = np.flatnonzero((parent_edge >= 0) & (parent_edge < self._n_branches))
        branch = parent_edge[rows]
        side = np.where(self.network.branch_from[branch] == parent[rows], 0, 1)
        own[rows] = self._head_at_end[side, branch]
        start = np.where((own >= 0) | (parent < 0), np.arange(self._n_nodes), parent)
        heads: Ints = own[_follow(start)]
        return heads

    def _sources(self, parent: Ints, energised: Bools) -> Ints:
        at_node = np.full(self._n_nodes, -1, dtype=np.int32)
        sources = self.network.sources.node
        at_node[sources[::-1]] = np.arange(sources.size, dtype=np.int32)[::-1]
        root = _follow(np.where(parent < 0, np.arange(self._n_nodes), parent))
        return np.where(energised, at_node[root], -1).astype(np.int32)

    # --- traces ------------------------------------------------------------------------------------------------

    def downstream_of_node(self, state: TopologyState, node: int) -> Trace:
        """``node`` and all that is fed through it."""
        start = np.where(state.parent_node < 0, np.arange(self._n_nodes), state.parent_node)
        start[node] = node
        nodes: Bools = (_follow(start) == node) & state.energised
        return Trace(nodes, self._fed(state.from_on, state.to_on, nodes))

    def downstream_of_switch(self, state: TopologyState, switch: int) -> Trace:
        """All that is fed through a switch; nothing if it is open, dead, or its branch closes a loop.

        A switch at the far end of a branch counts like one at the near end: its branch is included.
        """
        s = self.network.switches
        branch = int(s.branch[switch])
        below = np.flatnonzero(state.parent_edge == (branch if branch >= 0 else self._n_branches + switch))
        if below.size:
            trace = self.downstream_of_node(state, int(below[0]))
        else:
            trace = Trace(np.zeros(self._n_nodes, dtype=np.bool_), np.zeros(self._n_branches, dtype=np.bool_))
        if branch >= 0:
            trace.branches[branch] = below.size > 0 or self._ends_here(state, switch)
        return trace

    def _ends_here(self, state: TopologyState, switch: int) -> bool:
        """Whether the switch alone feeds its branch, which is open at the other end."""
        s = self.network.switches
        branch, side = s.branch[switch], s.side[switch]
        near, far = (state.from_on, state.to_on) if side == 0 else (state.to_on, state.from_on)
        return bool(near[branch] and not far[branch] and state.energised[s.node[switch]])

    def upstream(self, state: TopologyState, node: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(nodes, edges) from ``node`` to its source, ``node`` first; only itself if dead or at a source."""
        nodes, edges = [node], []
        while state.parent_node[nodes[-1]] >= 0:
            edges.append(int(state.parent_edge[nodes[-1]]))
            nodes.append(int(state.parent_node[nodes[-1]]))
        return tuple(nodes), tuple(edges)

    def loops(self, state: TopologyState) -> tuple[Loop, ...]:
        """One loop for each closing edge, along the spanning tree; empty if radial."""
        return tuple(self._loop(state, int(edge)) for edge in state.loop_edges)

    def _loop(self, state: TopologyState, edge: int) -> Loop:
        u, v = self.edge_ends(edge)
        (nodes_u, edges_u), (nodes_v, edges_v) = self.upstream(state, u), self.upstream(state, v)
        shared = 0
        while shared < min(len(edges_u), len(edges_v)) and edges_u[-1 - shared] == edges_v[-1 - shared]:
            shared += 1
        up = nodes_u[: len(nodes_u) - shared]
        down = nodes_v[: len(nodes_v) - shared]
        if up[-1] == down[-1]:
            down = down[:-1]
        edges = (edge, *edges_u[: len(edges_u) - shared], *edges_v[: len(edges_v) - shared][::-1])
        return Loop(edge, (*up, *down[::-1]), edges)

    def edge_ends(self, edge: int) -> tuple[int, int]:
        """The two nodes of an edge."""
        if edge < self._n_branches:
            return int(self.network.branch_from[edge]), int(self.network.branch_to[edge])
        switch = edge - self._n_branches
        return int(self.network.switches.node[switch]), int(self.network.switches.other_node[switch])

    def edge_name(self, edge: int) -> str:
        """The name of the branch or bus-bus switch that an edge is."""
        if edge < self._n_branches:
            return self.network.branch_names[edge]
        return self.network.switches.names[edge - self._n_branches]


def branch_connected(network: Network, closed: Bools) -> tuple[Bools, Bools]:
    """(from_on, to_on) of each branch; see :meth:`Topology.branch_connected`, which is the fast way."""
    return Topology(network).branch_connected(closed)


# --- zones -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Zones:
    """The sections between switches: what a switch can isolate no further.

    A zone is a connected component of nodes and branches joined without passing a switch.
    ``switch_zone_a`` is the zone at the node of each switch, ``switch_zone_b`` that of its branch (its other
    node); both are equal where a switch is bridged. Zones are numbered by their lowest node, zones
    without a node after those by their lowest branch, and named after it: ``Z_N3``, ``Z_L3-8``.
    """

    names: tuple[str, ...]
    node_zone: Ints
    branch_zone: Ints
    switch_zone_a: Ints
    switch_zone_b: Ints

    @property
    def n(self) -> int:
        return len(self.names)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Zones):
            return NotImplemented
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return all(np.array_equal(mine, theirs) for mine, theirs in pairs)

    __hash__ = None  # type: ignore[assignment]

    def switches_of(self, zone: int) -> Ints:
        """Rows of the switches that bound ``zone``."""
        at_border = (self.switch_zone_a == zone) != (self.switch_zone_b == zone)
        return np.flatnonzero(at_border).astype(np.int32)


def zones(network: Network) -> Zones:
    """The zones of a network: they depend on where switches stand, not on their states."""
    s = network.switches
    n_nodes, n_branches = network.nodes.n, network.n_branches
    switched = np.zeros((2, n_branches), dtype=np.bool_)
    at_branch = s.branch >= 0
    switched[s.side[at_branch], s.branch[at_branch]] = True
    u = np.concatenate([network.branch_from[~switched[0]], network.branch_to[~switched[1]]])
    v = n_nodes + np.concatenate([np.flatnonzero(~switched[0]), np.flatnonzero(~switched[1])])
    zone = _components(n_nodes + n_branches, u, v.astype(np.int32))
    _, lowest = np.unique(zone, return_index=True)
    equipment = network.nodes.names + network.branch_names
    other = np.where(at_branch, n_nodes + s.branch, s.other_node)
    return Zones(
        names=tuple(f"Z_{equipment[i]}" for i in lowest),
        node_zone=zone[:n_nodes],
        branch_zone=zone[n_nodes:],
        switch_zone_a=zone[s.node],
        switch_zone_b=zone[other],
    )


# --- arrays ----------------------------------------------------------------------------------------------------


def _graph(n: int, u: Ints, v: Ints) -> csr_array:
    return csr_array((np.ones(u.size, dtype=np.int32), (u, v)), shape=(n, n))


def _components(n: int, u: Ints, v: Ints) -> Ints:
    """Component of each vertex, numbered by the lowest vertex."""
    _, label = connected_components(_graph(n, u, v), directed=False)
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    rank = np.empty(first.size, dtype=np.int32)
    rank[np.argsort(first, kind="stable")] = np.arange(first.size, dtype=np.int32)
    numbered: Ints = rank[inverse]
    return numbered


def _with_source(island: Ints, source_nodes: Ints) -> Bools:
    live = np.zeros(int(island.max(initial=-1)) + 1, dtype=np.bool_)
    live[island[source_nodes]] = True
    return live[island]


def _assign_lowest(target: Ints, index: Ints, value: Ints, where: Bools) -> None:
    """``target[index] = value`` where ``where``; the lowest value stays where several meet (-1 is none)."""
    rows, values = index[where][::-1], value[where][::-1]
    proposed = np.full_like(target, -1)
    proposed[rows] = values
    better = (proposed >= 0) & ((target < 0) | (proposed < target))
    target[better] = proposed[better]


def _follow(start: NDArray[np.integer]) -> NDArray[np.integer]:
    """Where each entry ends when the pointers ``start`` are followed to their fixed points."""
    here = start
    while True:
        further = here[here]
        if np.array_equal(further, here):
            return here
        here = further
