"""Topology processing (NCA) that follows operations: two worlds, and what is known because both agree.

In the world of least connections every switch of unknown position is open, in the world of most it is closed. Supply,
earth, parallel sources and loops can only be gained by closing, so what both worlds agree on holds whatever the unknown
switches are, and what they disagree on is unknown. A feed point is known where no unknown switch can change the way
to it. Pure: the state is a function of the positions, not of how they came about.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from twin.dms.topology.graph import FIXED, ConnectionGraph
from twin.dms.topology.supply import UNKNOWN_ROW, SupplyState, SwitchState
from twin.dms.topology.world import NONE, World
from twin.network.model import Bools, Ints, Network

States = NDArray[np.int32]

_MOST_OPERATIONS = 8
"""More changes than this, and than a twentieth of the switches, cost less when all is worked out again."""


class Known(IntEnum):
    """What is known of a property."""

    NO = 0
    YES = 1
    UNKNOWN = 2


@dataclass(frozen=True)
class NodeStates:
    """By node or by branch. ``supply`` holds ``SupplyState``; ``earthed``, ``in_parallel``, ``in_loop`` hold ``Known``.

    ``feeder_head`` and ``source`` are rows, -1: none, ``UNKNOWN_ROW``: it depends on an unknown switch. In parallel
    means that two or more sources reach it, in a loop that it lies on a closed loop.
    """

    supply: States
    earthed: States
    in_parallel: States
    in_loop: States
    feeder_head: States
    source: States


@dataclass(frozen=True)
class Effect:
    """What an operation would change for certain; nodes by row, ``why`` in one sentence.

    ``unsure`` are nodes whose supply would become unknown, or known again. ``onto_earth``: supply would meet an earth;
    ``makes_loop``, ``makes_parallel``: more nodes would lie in a loop, or between two sources.
    """

    switch: str
    closed: bool
    energised: tuple[int, ...]
    dead: tuple[int, ...]
    unsure: tuple[int, ...]
    customers_energised: int
    customers_dead: int
    onto_earth: bool
    makes_loop: bool
    makes_parallel: bool
    why: str


class TopologyProcessor:
    """Follows the positions of one network's switches; ``switch`` (``SwitchState``) are the first, default unknown.

    An operation of :meth:`update` touches the islands of the switch alone, and of them mostly just what it changes.
    """

    def __init__(self, network: Network, switch: Ints | None = None, earthing: Ints | None = None) -> None:
        self.network = network
        self.graph = ConnectionGraph.of(network)
        n = self.graph.n_vertices
        self.switch: Ints = _unknown(network.switches.n) if switch is None else switch.astype(np.int32)
        self.earthing: Ints = _unknown(network.earthing.n) if earthing is None else earthing.astype(np.int32)
        self._build()
        self._supply, self._parallel, self._loop, self._head, self._source = (
            np.zeros(n, dtype=np.int32) for _ in range(5)
        )
        self._risky: set[int] = set()
        self._customers = np.zeros(network.nodes.n, dtype=np.int64)
        np.add.at(self._customers, network.consumers.node, network.consumers.customers)
        self.touched = n
        """Vertices (nodes, branches, places between switches) that the last update looked at again."""
        self._tell(range(n))

    # --- following -------------------------------------------------------------------------------------------------

    def update(self, switch: Ints, earthing: Ints | None = None) -> None:
        """Take ``SwitchState`` of every switch and earthing switch."""
        touched: set[int] = set()
        rows = np.flatnonzero(switch != self.switch).tolist()
        self.switch = switch.astype(np.int32)
        if len(rows) > max(_MOST_OPERATIONS, len(switch) // 20):
            self._build()
            touched.update(range(self.graph.n_vertices))
        else:
            for row in rows:
                touched |= self._operate(row, int(switch[row]))
        if earthing is not None:
            self.earthing = earthing.astype(np.int32)
        self._tell(touched)

    def _build(self) -> None:
        """Work out both worlds from nothing."""
        graph = self.graph
        state = [SwitchState.CLOSED if row == FIXED else int(self.switch[row]) for row in graph.switch]
        self._least = World(graph, [s == SwitchState.CLOSED for s in state])
        self._most = World(graph, [s != SwitchState.OPEN for s in state])
        self._unknown = {edge for edge, s in enumerate(state) if s == SwitchState.UNKNOWN}

    def _operate(self, row: int, state: int) -> set[int]:
        edge = self.graph.edge_of_switch[row]
        touched = set(self._least.operate(edge, state == SwitchState.CLOSED))
        touched.update(self._most.operate(edge, state != SwitchState.OPEN))
        (self._unknown.add if state == SwitchState.UNKNOWN else self._unknown.discard)(edge)
        return touched

    def _tell(self, touched: Iterable[int]) -> None:
        """Compare the worlds at the touched vertices, and where feeds were or are in doubt."""
        risky = self._in_doubt()
        vertices = {*touched} | (risky ^ self._risky)
        self._risky = risky
        self.touched = len(vertices)
        least, most = self._least, self._most
        for v in vertices:
            low, high = least.energised(v), most.energised(v)
            supply = int(low) if low == high else int(SupplyState.UNKNOWN)
            self._supply[v] = supply
            self._parallel[v] = _known(least.in_parallel(v), most.in_parallel(v))
            self._loop[v] = _known(least.loop[v] != NONE, most.loop[v] != NONE)
            sure = supply != SupplyState.UNKNOWN and v not in risky
            self._head[v] = least.head[v] if sure and least.head[v] == most.head[v] else UNKNOWN_ROW
            self._source[v] = least.root[v] if sure and least.root[v] == most.root[v] else UNKNOWN_ROW

    def _in_doubt(self) -> set[int]:
        """Supplied vertices whose way to the source an unknown switch could change: beyond a loop with one in it."""
        most = self._most
        doubtful: set[int] = set()
        for edge in sorted(self._unknown):
            a, _ = self.graph.ends[edge]
            island = most.island[a]
            if most.island_sources[island] > 1:
                doubtful |= most.members[island]
            elif most.cyclic[edge] and a not in doubtful:
                doubtful |= self._beyond_loop(most.loop[a])
        return doubtful

    def _beyond_loop(self, loop: int) -> set[int]:
        """The vertices of a set of loops but the one nearest to the source, and all that hangs below them."""
        most, graph = self._most, self.graph
        on_it = self._loop_members(loop)
        entry = min(on_it, key=lambda v: (most.dist[v], v))
        found = [v for v in on_it if v != entry]
        seen = {*on_it}
        for vertex in found:
            for edge in graph.incident[vertex]:
                other = graph.other(edge, vertex)
                if most.parent[other] == edge and other not in seen:
                    seen.add(other)
                    found.append(other)
        return set(found)

    def _loop_members(self, loop: int) -> list[int]:
        most, graph = self._most, self.graph
        found, seen = [loop], {loop}
        for vertex in found:
            for edge in graph.incident[vertex]:
                other = graph.other(edge, vertex)
                if most.loop[other] == loop and most.closed[edge] and most.cyclic[edge] and other not in seen:
                    seen.add(other)
                    found.append(other)
        return found

    # --- states ----------------------------------------------------------------------------------------------------

    def nodes(self) -> NodeStates:
        """What is known of every node."""
        return self._states(slice(0, self.graph.n_nodes))

    def branches(self) -> NodeStates:
        """What is known of every branch, lines before transformers; a line charged from one end is energised."""
        return self._states(slice(self.graph.n_nodes, self.graph.n_nodes + self.graph.n_branches))

    def _states(self, part: slice) -> NodeStates:
        columns = (self._supply, self._earthed(), self._parallel, self._loop, self._head, self._source)
        return NodeStates(*(column[part].copy() for column in columns))

    def _earthed(self) -> States:
        """By vertex, ``Known``: a closed earthing switch reaches it without a transformer between."""
        certain = self._reach(self._least, self.earthing == SwitchState.CLOSED)
        possible = self._reach(self._most, self.earthing != SwitchState.OPEN)
        result = np.zeros(self.graph.n_vertices, dtype=np.int32)
        result[list(possible)] = int(Known.UNKNOWN)
        result[list(certain)] = int(Known.YES)
        return result

    def _reach(self, world: World, closed: Bools) -> set[int]:
        graph = self.graph
        found = [graph.earthings[row] for row in np.flatnonzero(closed).tolist()]
        seen = set(found)
        for vertex in found:
            for edge in () if graph.insulating[vertex] else graph.incident[vertex]:
                other = graph.other(edge, vertex)
                if world.closed[edge] and other not in seen and not graph.insulating[other]:
                    seen.add(other)
                    found.append(other)
        return seen

    def islands(self) -> Ints:
        """The island of each node by its lowest node, over connections that are certain."""
        lowest: dict[int, int] = {}
        names = [lowest.setdefault(self._least.island[v], v) for v in range(self.graph.n_nodes)]
        return np.array(names, dtype=np.int32)

    def topological_nodes(self) -> Ints:
        """Nodes joined by closed switches between nodes alone, each named by the lowest one of its set."""
        graph, n = self.graph, self.graph.n_nodes
        label = np.full(n, NONE, dtype=np.int32)
        for start in range(n):
            if label[start] != NONE:
                continue
            label[start] = start
            joined = [start]
            for vertex in joined:
                for edge in graph.incident[vertex]:
                    other = graph.other(edge, vertex)
                    if other < n and self._least.closed[edge] and label[other] == NONE:
                        label[other] = start
                        joined.append(other)
        return label

    # --- traces ----------------------------------------------------------------------------------------------------

    def upstream(self, node: int) -> tuple[int, ...]:
        """The nodes from ``node`` to its source, ``node`` first, over certain connections; only itself if dead."""
        world, found, vertex = self._least, [node], node
        while world.parent[vertex] != NONE:
            vertex = self.graph.other(world.parent[vertex], vertex)
            if vertex < self.graph.n_nodes:
                found.append(vertex)
        return tuple(found)

    def downstream(self, node: int) -> tuple[int, ...]:
        """The nodes fed through ``node`` for certain, itself included, in ascending order; none if it is dead."""
        world, graph = self._least, self.graph
        if not world.energised(node):
            return ()
        found = [node]
        for vertex in found:
            for edge in graph.incident[vertex]:
                other = graph.other(edge, vertex)
                if world.parent[other] == edge and other != vertex:
                    found.append(other)
        return tuple(sorted(v for v in found if v < graph.n_nodes))

    # --- what if ---------------------------------------------------------------------------------------------------

    def what_if(self, switch: str, *, closed: bool) -> Effect:
        """What would change if ``switch`` stood open or closed; this processor stays as it is.

        Raises:
            KeyError: there is no such switch.
        """
        row = self.network.index[switch].index
        before, states = self.nodes(), self.switch
        changed = states.copy()
        changed[row] = int(SwitchState.CLOSED if closed else SwitchState.OPEN)
        self.update(changed)
        after = self.nodes()
        live = self._live_earths()
        self.update(states)
        return self._effect(switch, closed, before, after, live - self._live_earths())

    def _live_earths(self) -> set[int]:
        """Vertices that are, or may be, supplied and earthed at once."""
        both = (self._supply != SupplyState.DEAD) & (self._earthed() != Known.NO)
        return set(np.flatnonzero(both).tolist())

    def _effect(self, switch: str, closed: bool, before: NodeStates, after: NodeStates, new_earths: set[int]) -> Effect:
        was, now = before.supply, after.supply
        energised = np.flatnonzero((now == SupplyState.ENERGISED) & (was != now))
        dead = np.flatnonzero((now == SupplyState.DEAD) & (was != now))
        unsure = np.flatnonzero((now == SupplyState.UNKNOWN) & (was != now))
        customers = [int(self._customers[rows].sum()) for rows in (energised, dead)]
        loop = bool(((after.in_loop != Known.NO) & (before.in_loop == Known.NO)).any())
        parallel = bool(((after.in_parallel != Known.NO) & (before.in_parallel == Known.NO)).any())
        said = [
            f"{len(rows)} node{'s become' if len(rows) > 1 else ' becomes'} {what}"
            for rows, what in ((energised, "energised"), (dead, "dead"), (unsure, "unknown"))
            if len(rows)
        ]
        said += [
            text
            for holds, text in (
                (bool(new_earths), "supply meets an earth"),
                (parallel, "sources come in parallel"),
                (loop, "a loop is closed"),
            )
            if holds
        ]
        why = f"{switch} {'closed' if closed else 'open'}: {', '.join(said) or 'no node changes'}."
        return Effect(
            switch=switch,
            closed=closed,
            energised=tuple(energised.tolist()),
            dead=tuple(dead.tolist()),
            unsure=tuple(unsure.tolist()),
            customers_energised=customers[0],
            customers_dead=customers[1],
            onto_earth=bool(new_earths),
            makes_loop=loop,
            makes_parallel=parallel,
            why=why,
        )


def _unknown(n: int) -> Ints:
    return np.full(n, int(SwitchState.UNKNOWN), dtype=np.int32)


def _known(least: bool, most: bool) -> int:
    return int(least) if least == most else int(Known.UNKNOWN)
