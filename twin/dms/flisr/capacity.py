"""A quick estimate of the loading on the way to a part: spares the search hopeless power flows.

The estimate adds powers. Losses and the voltage drop of the additional load, which both add current, are left out at
first and learned from solved states that are close to the limit. Not for accepting anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from twin.dms.check import StateChecker, Violation, ViolationKind
from twin.dms.flisr.blocks import BlockGraph, Part
from twin.network.model import Bools, Network
from twin.network.topology import Topology
from twin.solvers.model import PowerFlowResult

_NOTHING_LEARNED = 0.97
"""Loading over its estimate: at least this (charging of lines may lower it)."""

_LOCATION = 0.97
"""The same demand elsewhere in a part may load the way less by this factor."""

_CLOSE = 1.15
"""Overloads up to this many times the limit teach something about the limit."""


@dataclass(frozen=True, slots=True)
class PathBranch:
    """A branch on the way: what it carries already, and what it can carry at 100 % and at its limit (kVA)."""

    branch: int
    p_kw: float
    q_kvar: float
    rated_kva: float
    limit_kva: float


@dataclass(frozen=True, slots=True)
class Excess:
    """An overload to be expected: how much less demand there must be at least, on the parts behind ``branch``."""

    branch: int
    loading: float
    kva: float
    roots: tuple[int, ...]


class SupplyCapacity:
    """The ways from the sources to each root switch of a block graph, in the state before restoration."""

    def __init__(self, network: Network, graph: BlockGraph, checker: StateChecker, base_closed: Bools) -> None:
        self._network, self._graph, self._checker = network, graph, checker
        self._topology = Topology(network)
        self._state = self._topology.state(base_closed)
        self._result = checker.flows(base_closed)
        self._paths: dict[int, tuple[PathBranch, ...]] = {}
        self._least_ratio: dict[int, float] = {}
        self._latest: tuple[Sequence[Part], Excess | None] = ((), None)

    def learn(self, parts: Sequence[Part], violation: Violation) -> None:
        """Take note of a solved overload that is close to its limit."""
        if violation.kind is not ViolationKind.LOADING:
            return
        for way, s_kva, _ in self._carrying(parts):
            if way.branch == violation.index and violation.value <= _CLOSE * way.limit_kva / way.rated_kva:
                self._latest = ((), None)
                ratio = violation.value * way.rated_kva / s_kva
                self._least_ratio[way.branch] = min(ratio, self._least_ratio.get(way.branch, ratio))

    def excess(self, parts: Sequence[Part]) -> Excess | None:
        """The largest overload that is to be expected if ``parts`` are supplied, None if there is none."""
        if self._latest[0] != parts:  # asked for the same parts again and again
            self._latest = (parts, self._largest_excess(parts))
        return self._latest[1]

    def _largest_excess(self, parts: Sequence[Part]) -> Excess | None:
        worst: Excess | None = None
        for way, s_kva, roots in self._carrying(parts):
            ratio = max(self._least_ratio.get(way.branch, 0.0) * _LOCATION, _NOTHING_LEARNED)
            kva = s_kva - way.limit_kva / ratio
            if kva > 0 and (worst is None or kva > worst.kva):
                worst = Excess(way.branch, s_kva * ratio / way.rated_kva, kva, roots)
        return worst

    def _carrying(self, parts: Sequence[Part]) -> list[tuple[PathBranch, float, tuple[int, ...]]]:
        """Each branch on the ways to ``parts`` with the kVA it would carry and the roots behind it."""
        load: dict[int, tuple[PathBranch, float, float, tuple[int, ...]]] = {}
        for part in parts:
            p_kw, q_kvar = part.p_kw, part.q_kvar
            for way in self._path(part.root):
                _, p_sum, q_sum, roots = load.get(way.branch, (way, way.p_kw, way.q_kvar, ()))
                load[way.branch] = (way, p_sum + p_kw, q_sum + q_kvar, (*roots, part.root))
        return [(way, math.hypot(p_kw, q_kvar), roots) for way, p_kw, q_kvar, roots in load.values()]

    def _path(self, root: int) -> tuple[PathBranch, ...]:
        if root not in self._paths:
            self._paths[root] = () if self._result is None else self._find(root, self._result)
        return self._paths[root]

    def _find(self, root: int, result: PowerFlowResult) -> tuple[PathBranch, ...]:
        switches, state = self._network.switches, self._state
        branch = int(switches.branch[root])
        near, far = int(switches.node[root]), int(switches.other_node[root])
        found: list[PathBranch] = []
        if branch >= 0:
            far = int((self._network.branch_to if switches.side[root] == 0 else self._network.branch_from)[branch])
        start = near if state.energised[near] else far
        if not state.energised[start]:
            return ()
        if branch >= 0 and start == far:
            found += self._carried(branch, far, result)
        nodes, edges = self._topology.upstream(state, start)
        for edge, above in zip(edges, nodes[1:], strict=True):
            found += self._carried(edge, above, result)
        return tuple(found)

    def _carried(self, branch: int, sending: int, result: PowerFlowResult) -> list[PathBranch]:
        """The branch as seen from its sending node; nothing for bus-bus switches and backward transformers."""
        network = self._network
        if branch >= network.n_branches:
            return []
        forward = int(network.branch_from[branch]) == sending
        if not forward and branch >= network.lines.n:
            return []
        v_kv = float(result.v_pu[sending] * network.nodes.v_nominal_kv[sending])
        rated_kva = math.sqrt(3.0) * v_kv * float(network.branch_i_max_a[branch])
        p_kw, q_kvar = (result.p_from_kw, result.q_from_kvar) if forward else (result.p_to_kw, result.q_to_kvar)
        limit_kva = rated_kva * self._checker.admissible_loading(branch)
        return [PathBranch(branch, float(p_kw[branch]), float(q_kvar[branch]), rated_kva, limit_kva)]
