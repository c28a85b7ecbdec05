"""The dead healthy part of the network as blocks: what the restoration search combines.

A block is everything that the search does not split; *inner* edges join blocks and can be cut, *ties* are open
switches that can be closed, and ``ROOT`` stands for the supplied rest of the network. Not for power flows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from twin.dms.flisr.isolate import closable, load_breaking, operable
from twin.dms.flisr.model import Isolation, Observation
from twin.dms.zonegraph import ZoneGraph
from twin.network.model import Bools, Ints, Network

ROOT = -1
"""The supplied rest of the network, as the end of an edge."""


@dataclass(frozen=True, slots=True)
class BlockEdge:
    """A switch (row) between two blocks, or between a block and ``ROOT``."""

    switch: int
    u: int
    v: int


@dataclass(frozen=True)
class BlockGraph:
    """Blocks with their customers (weighed by priority) and demand (P, Q and the sum of apparent powers), and edges.

    ``head`` is the tripped device where closing it supplies a block. ``phantom`` edges are switches of unknown
    position towards the supplied network: blocks behind them count as not restored, and nothing else may
    supply them, since that could close a loop.
    """

    customers: tuple[int, ...]
    kva: tuple[float, ...]
    p_kw: tuple[float, ...]
    q_kvar: tuple[float, ...]
    inner: tuple[BlockEdge, ...]
    ties: tuple[BlockEdge, ...]
    head: BlockEdge | None
    phantom: tuple[BlockEdge, ...]

    @property
    def n(self) -> int:
        return len(self.customers)

    @cached_property
    def total_customers(self) -> int:
        return sum(self.customers)


@dataclass(frozen=True, slots=True)
class Part:
    """Blocks supplied through one root switch.

    ``mask`` has a bit per block, ``edges`` a bit per switch (row) that feeds one; ``via`` gives per block, in order
    of supply, the edge that feeds it and the feeding block. ``chained`` are ties closed inside the part; ``customers``,
    ``p_kw`` and ``q_kvar`` are the sums over its blocks.
    """

    root: int
    mask: int
    edges: int
    chained: tuple[int, ...]
    via: tuple[tuple[int, BlockEdge, int], ...]
    customers: int
    p_kw: float
    q_kvar: float


@dataclass(frozen=True, slots=True)
class Supply:
    """What a choice of ties and cuts leads to. ``loop`` is one closed loop's inner switches (empty if radial)."""

    parts: tuple[Part, ...]
    n_loops: int
    loop: tuple[int, ...]
    idle_ties: bool

    @property
    def radial(self) -> bool:
        return self.n_loops == 0


@dataclass(frozen=True, slots=True)
class Healthy:
    """What there is to restore, per zone: ``dead`` were supplied before and are not now, ``isolated`` stay dead."""

    dead: Bools
    isolated: Bools
    live: Bools
    maybe_live: Bools


def healthy_zones(graph: ZoneGraph, observation: Observation, isolation: Isolation, opened: Bools) -> Healthy:
    """Sort the zones by supply once the switches ``opened`` are open for isolation."""
    closed = observation.closed & ~opened
    live = graph.energised(closed)
    maybe = graph.energised(closed | ~observation.position_known)
    isolated = graph.mask(isolation.area)
    before = graph.energised(observation.closed_before)
    return Healthy(before & ~live & ~isolated, isolated, live, maybe)


def block_graph(
    network: Network,
    graph: ZoneGraph,
    observation: Observation,
    isolation: Isolation,
    device: int,
    *,
    reclose: bool,
    weights: Ints | None = None,
) -> BlockGraph:
    """Contract the dead healthy zones to blocks. ``weights``: what a customer of each consumer counts (None: 1).

    Unknown switches inside count as closed here, so that nothing is planned that would close a loop if they are.
    """
    if weights is None:
        weights = np.ones(network.consumers.n, np.int32)
    return _Contractor(network, graph, observation, isolation, device, reclose, weights).build()


class _Contractor:
    def __init__(
        self,
        network: Network,
        graph: ZoneGraph,
        observation: Observation,
        isolation: Isolation,
        device: int,
        reclose: bool,
        weights: Ints,
    ) -> None:
        self.weights = weights
        self.network, self.graph, self.seen = network, graph, observation
        self.opened = np.zeros(network.switches.n, np.bool_)
        self.opened[list(isolation.to_open)] = True
        self.zones = healthy_zones(graph, observation, isolation, self.opened)
        self.device, self.reclose = device, reclose
        self.usable = operable(observation) & load_breaking(network)
        self.closable = closable(network, observation)
        dead = self.zones.dead
        self.inside = dead[graph.switch_a] & dead[graph.switch_b]
        self.joined = (observation.closed | ~observation.position_known) & ~self.opened & self.inside

    def build(self) -> BlockGraph:
        cuttable = self.joined & self.usable & self.seen.closed
        while True:
            labels = self._labels(cuttable)
            spare = self._spare(labels, cuttable)
            if not spare.size:
                return self._graph(labels, cuttable)
            cuttable[spare] = False

    def _labels(self, cuttable: Bools) -> Ints:
        """Block of each zone, -1 outside of what can be restored."""
        raw = self.graph.components(self.joined & ~cuttable)
        members = np.flatnonzero(self.zones.dead)
        labels = np.full(self.graph.n, -1, np.int32)
        labels[members] = np.unique(raw[members], return_inverse=True)[1]
        return labels

    def _spare(self, labels: Ints, cuttable: Bools) -> Ints:
        """Cuttable switches whose cutting gains nothing over another one.

        A block without demand and without ties that lies at an end, or between two cuttable switches, is merged
        with a neighbour.
        """
        customers, kva = self._weights(labels)
        edges = np.flatnonzero(cuttable)
        ends: dict[int, list[int]] = {}
        for switch in edges.tolist():
            for zone in self.graph.sides[switch]:
                ends.setdefault(int(labels[zone]), []).append(switch)
        special = {block for edge in self._borders(labels) for block in (edge.u, edge.v)}
        found: list[int] = []
        touched: set[int] = set()
        for block, switches in sorted(ends.items()):
            if customers[block] or kva[block] > 0 or block in special or len(switches) > 2:
                continue
            ends_of = {int(labels[z]) for z in self.graph.sides[switches[-1]]}
            if not ends_of & touched:
                touched |= ends_of
                found.append(switches[-1])
        return np.array(found, np.int32)

    def _weights(self, labels: Ints) -> tuple[list[int], list[float]]:
        consumers = self.network.consumers
        block = labels[self.graph.node_zone[consumers.node]]
        rows = np.flatnonzero(block >= 0)
        n = int(labels.max(initial=-1)) + 1
        customers = np.bincount(block[rows], weights=(consumers.customers * self.weights)[rows], minlength=n)
        s_kva = np.hypot(self.seen.p_kw[rows], self.seen.q_kvar[rows])
        return customers.astype(np.int64).tolist(), np.bincount(block[rows], weights=s_kva, minlength=n).tolist()

    def _demand(self, labels: Ints) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """P and Q per block, shunts at nominal voltage included."""
        network, n = self.network, int(labels.max(initial=-1)) + 1
        consumers, shunts = network.consumers, network.shunts
        block = labels[self.graph.node_zone[np.concatenate([consumers.node, shunts.node])]]
        inside = block >= 0
        p_kw = np.concatenate([self.seen.p_kw, shunts.p_kw])[inside]
        q_kvar = np.concatenate([self.seen.q_kvar, shunts.q_kvar])[inside]
        sums = [np.bincount(block[inside], weights=values, minlength=n).tolist() for values in (p_kw, q_kvar)]
        return tuple(sums[0]), tuple(sums[1])

    def _edge(self, switch: int, labels: Ints) -> BlockEdge:
        a, b = self.graph.sides[switch]
        return BlockEdge(switch, int(labels[a]), int(labels[b]))

    def _borders(self, labels: Ints) -> list[BlockEdge]:
        return [*self._ties(labels), *self._head(labels), *self._phantoms(labels)]

    def _ties(self, labels: Ints) -> list[BlockEdge]:
        """Open switches that may be closed onto a part to be restored from a supplied or another such part."""
        zones, seen = self.zones, self.seen
        a, b = self.graph.switch_a, self.graph.switch_b
        reachable = zones.dead | zones.live
        rows = seen.open & self.closable & ~seen.tripped & ~seen.lockout & ~self.opened
        rows &= reachable[a] & reachable[b] & (zones.dead[a] | zones.dead[b]) & (a != b)
        rows[self.device] = False
        return [self._edge(s, labels) for s in np.flatnonzero(rows).tolist()]

    def _head(self, labels: Ints) -> list[BlockEdge]:
        a, b = self.graph.sides[self.device]
        zones = self.zones
        supplied = (zones.live[a] and zones.dead[b]) or (zones.live[b] and zones.dead[a])
        if not (self.reclose and supplied and self.closable[self.device] and self.seen.open[self.device]):
            return []
        return [self._edge(self.device, labels)]

    def _phantoms(self, labels: Ints) -> list[BlockEdge]:
        a, b = self.graph.switch_a, self.graph.switch_b
        zones = self.zones
        rows = ~self.seen.position_known & (
            (zones.dead[a] & zones.maybe_live[b] & ~zones.dead[b])
            | (zones.dead[b] & zones.maybe_live[a] & ~zones.dead[a])
        )
        return [self._edge(s, labels) for s in np.flatnonzero(rows).tolist()]

    def _graph(self, labels: Ints, cuttable: Bools) -> BlockGraph:
        customers, kva = self._weights(labels)
        p_kw, q_kvar = self._demand(labels)
        inner = [self._edge(s, labels) for s in np.flatnonzero(cuttable).tolist()]
        head = self._head(labels)
        return BlockGraph(
            customers=tuple(customers),
            kva=tuple(kva),
            p_kw=p_kw,
            q_kvar=q_kvar,
            inner=tuple(e for e in inner if e.u != e.v),
            ties=tuple(e for e in self._ties(labels) if e.u != e.v),
            head=head[0] if head else None,
            phantom=tuple(self._phantoms(labels)),
        )


class SupplyFinder:
    """Finds what a choice of ties and cuts supplies, on one block graph."""

    def __init__(self, graph: BlockGraph) -> None:
        self._graph = graph
        self._inner = {edge.switch for edge in graph.inner}
        self._phantom = {edge.switch for edge in graph.phantom}
        self._at: list[list[BlockEdge]] = [[] for _ in range(graph.n)]
        for edge in graph.inner:
            self._at[edge.u].append(edge)
            self._at[edge.v].append(edge)

    def supply(self, ties: tuple[BlockEdge, ...], cuts: frozenset[int]) -> Supply:
        """Walk from ``ROOT`` over the feeder head, ``ties`` and every inner edge that is not cut."""
        roots = [edge for edge in (self._graph.head, *ties, *self._graph.phantom) if edge and ROOT in (edge.u, edge.v)]
        chains: dict[int, list[BlockEdge]] = {}
        for tie in ties:
            if ROOT not in (tie.u, tie.v):
                chains.setdefault(tie.u, []).append(tie)
                chains.setdefault(tie.v, []).append(tie)
        parent: dict[int, tuple[BlockEdge, int]] = {}
        parts: list[Part] = []
        extra: list[tuple[BlockEdge, int, int]] = []
        for root in roots:
            start = root.v if root.u == ROOT else root.u
            if start in parent:
                extra.append((root, ROOT, start))
                continue
            part = self._spread(root, start, chains, cuts, parent, extra)
            if root.switch not in self._phantom:
                parts.append(part)
        used = {edge.switch for edge, _ in parent.values()} | {edge.switch for edge, _, _ in extra}
        idle = any(tie.switch not in used for tie in ties)
        loop = self._loop(parent, extra[0]) if extra else ()
        return Supply(tuple(parts), len({edge.switch for edge, _, _ in extra}), loop, idle)

    def _spread(
        self,
        root: BlockEdge,
        start: int,
        chains: dict[int, list[BlockEdge]],
        cuts: frozenset[int],
        parent: dict[int, tuple[BlockEdge, int]],
        extra: list[tuple[BlockEdge, int, int]],
    ) -> Part:
        """Breadth-first from ``start``; edges that meet what is supplied already go to ``extra``."""
        parent[start] = (root, ROOT)
        order = [start]
        chained: list[int] = []
        via = [(start, root, ROOT)]
        for here in order:
            for edge in (*self._at[here], *chains.get(here, ())):
                if edge.switch in cuts or edge.switch == parent[here][0].switch:
                    continue
                further = edge.v if edge.u == here else edge.u
                if further in parent:
                    if parent[further][0].switch != edge.switch:
                        extra.append((edge, here, further))
                    continue
                parent[further] = (edge, here)
                via.append((further, edge, here))
                order.append(further)
                if edge.switch not in self._inner:
                    chained.append(edge.switch)
        return self._part(root.switch, chained, via)

    def _part(self, root: int, chained: list[int], via: list[tuple[int, BlockEdge, int]]) -> Part:
        graph = self._graph
        mask = edges = 0
        for block, edge, _ in via:
            mask |= 1 << block
            edges |= 1 << edge.switch
        blocks = [block for block, _, _ in via]
        return Part(
            root,
            mask,
            edges,
            tuple(sorted(chained)),
            tuple(via),
            sum([graph.customers[block] for block in blocks]),
            sum([graph.p_kw[block] for block in blocks]),
            sum([graph.q_kvar[block] for block in blocks]),
        )

    def without(self, supply: Supply, cut: int) -> Supply | None:
        """A radial supply with one inner switch more opened; None if a tie is left without use by that.

        Without a loop nothing else can supply what was fed through the switch, so nothing has to be searched anew.
        """
        parts = []
        for part in supply.parts:
            if not part.edges >> cut & 1:
                parts.append(part)
                continue
            gone: set[int] = set()
            kept = []
            for item in part.via:
                if item[1].switch == cut or item[2] in gone:
                    gone.add(item[0])
                    if item[1].switch not in self._inner:
                        return None
                else:
                    kept.append(item)
            parts.append(self._part(part.root, list(part.chained), kept))
        return Supply(tuple(parts), 0, (), supply.idle_ties)

    def _loop(self, parent: dict[int, tuple[BlockEdge, int]], extra: tuple[BlockEdge, int, int]) -> tuple[int, ...]:
        """The inner switches on the loop that an extra edge closes."""
        edge, u, v = extra
        up_u, up_v = self._path(parent, u), self._path(parent, v)
        shared = set(up_u) & set(up_v)
        on_loop = [*(s for s in up_u if s not in shared), *(s for s in up_v if s not in shared), edge.switch]
        return tuple(sorted(s for s in on_loop if s in self._inner))

    @staticmethod
    def _path(parent: dict[int, tuple[BlockEdge, int]], block: int) -> list[int]:
        switches = []
        while block != ROOT:
            edge, block = parent[block]
            switches.append(edge.switch)
        return switches


def drops(part: Part, graph: BlockGraph) -> tuple[tuple[int, int, float], ...]:
    """(switch, customers, kVA) dropped by cutting each edge of ``part`` that feeds a block."""
    customers = {block: graph.customers[block] for block, _, _ in part.via}
    kva = {block: graph.kva[block] for block, _, _ in part.via}
    for block, _, feeding in reversed(part.via):
        if feeding != ROOT:
            customers[feeding] += customers[block]
            kva[feeding] += kva[block]
    inner = {edge.switch for edge in graph.inner}
    return tuple((edge.switch, customers[block], kva[block]) for block, edge, _ in part.via if edge.switch in inner)
