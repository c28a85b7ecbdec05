"""A quick lower bound of the loading on the way to a part: spares the search hopeless power flows.

Losses and the voltage drop of the additional load are left out, which both add current, so that what is ruled out
here cannot be supplied. Not for accepting anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from twin.dms.check import StateChecker, Violation
from twin.dms.flisr.blocks import BlockGraph, Part
from twin.network.model import Bools, Network
from twin.network.topology import Topology
from twin.solvers.model import PowerFlowResult

_MARGIN = 1.03
"""Charging of lines and rounding may lower a loading by this much against the bound."""


@dataclass(frozen=True, slots=True)
class PathBranch:
    """A branch on the way: what it carries already, and what it can carry at 100 % and at its limit (kVA)."""

    branch: int
    p_kw: float
    q_kvar: float
    rated_kva: float
    limit_kva: float


class SupplyCapacity:
    """The ways from the sources to each root switch of a block graph, in the state before restoration."""

    def __init__(self, network: Network, graph: BlockGraph, checker: StateChecker, base_closed: Bools) -> None:
        self._network, self._graph, self._checker = network, graph, checker
        self._topology = Topology(network)
        self._state = self._topology.state(base_closed)
        self._result = checker.flows(base_closed)
        self._paths: dict[int, tuple[PathBranch, ...]] = {}

    def overload(self, part: Part) -> Violation | None:
        """The worst certain overload if ``part`` is supplied through its root, None if the bound allows it."""
        p_kw = sum(self._graph.p_kw[block] for block, _, _ in part.via)
        q_kvar = sum(self._graph.q_kvar[block] for block, _, _ in part.via)
        worst, worst_kva = None, 0.0
        for way in self._path(part.root):
            s_kva = math.hypot(way.p_kw + p_kw, way.q_kvar + q_kvar)
            if s_kva > way.limit_kva * _MARGIN and s_kva / way.rated_kva > worst_kva:
                worst, worst_kva = way, s_kva / way.rated_kva
        return None if worst is None else self._checker.overload(worst.branch, worst_kva)

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
