"""Best-first search for the switching state that restores most with fewest operations.

Candidates (ties to close, switches to cut) come in the order (customers not restored, operations); each is judged by
power flow. A part that one root cannot carry alone is remembered: whatever makes the same root carry
more is not tried again. Not for the order of steps.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from twin.dms.check import CheckedState, StateChecker, Violation, ViolationKind
from twin.dms.flisr.blocks import BlockEdge, BlockGraph, Part, Supply, SupplyFinder, drops
from twin.dms.flisr.model import FlisrSettings
from twin.network.model import Bools, Network

_MONOTONE = {ViolationKind.LOADING, ViolationKind.UNDERVOLTAGE, ViolationKind.NO_SOLUTION}
"""Limits that more load on the same root can only break further."""

_DROP_MARGIN = 1.3
"""A drop counts this much against an overload: losses and voltage fall with it."""

_POPS_PER_EVALUATION = 20
_Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Ties to close and switches to cut; ``supply`` is what follows."""

    ties: tuple[BlockEdge, ...]
    cuts: frozenset[int]
    supply: Supply
    not_restored: int

    @property
    def key(self) -> _Key:
        """Order of preference: customers not restored, then operations (loops still to be cut included)."""
        return self.not_restored, len(self.ties) + len(self.cuts) + self.supply.n_loops


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a candidate was not taken."""

    closing: tuple[int, ...]
    opening: tuple[int, ...]
    violation: Violation


@dataclass
class SearchResult:
    """The best candidates, all equally good by key, ascending in losses; what was rejected before them."""

    best: list[tuple[float, Candidate]] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    exhausted: bool = True


class RestorationSearch:
    """One search on one block graph. ``base_closed`` is the state after isolation, before any restoration."""

    def __init__(
        self,
        network: Network,
        graph: BlockGraph,
        checker: StateChecker,
        settings: FlisrSettings,
        base_closed: Bools,
        unknown: Bools,
    ) -> None:
        self._network = network
        self._graph = graph
        self._finder = SupplyFinder(graph)
        self._checker = checker
        self._settings = settings
        self._base = base_closed
        self._unknown = unknown
        self._solo: dict[tuple[int, tuple[int, ...], int], Violation | None] = {}
        self._too_much: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        self._heap: list[tuple[_Key, int, Candidate]] = []
        self._seen: set[tuple[tuple[int, ...], frozenset[int]]] = set()
        self._result = SearchResult()
        self._start = checker.evaluations

    def run(self, accept: Callable[[Candidate], Violation | None]) -> SearchResult:
        """Search until the best candidates are found that ``accept`` (the check of every step) finds no fault with."""
        for candidate in self._tie_sets():
            self._push(candidate)
        bound: _Key | None = None
        pops = 0
        while self._heap:
            pops += 1
            if self._spent() or pops > self._settings.max_evaluations * _POPS_PER_EVALUATION:
                self._result.exhausted = False
                break
            key, _, candidate = heapq.heappop(self._heap)
            if bound is not None and key > bound:
                break
            if self._visit(candidate, accept):
                bound = key
        if bound is None:
            self._fall_back(accept)
        self._result.best.sort(key=lambda found: found[0])
        return self._result

    def _spent(self) -> bool:
        return self._checker.evaluations - self._start >= self._settings.max_evaluations

    # --- candidates --------------------------------------------------------------------------------------------

    def _tie_sets(self) -> Iterator[Candidate]:
        """Every choice of ties, nothing cut; loops are cut when their turn comes."""
        for size in range(self._settings.max_ties + 1):
            for ties in combinations(self._graph.ties, size):
                candidate = self._candidate(ties, frozenset())
                if candidate is not None:
                    yield candidate

    def _candidate(self, ties: tuple[BlockEdge, ...], cuts: frozenset[int]) -> Candidate | None:
        """The candidate, or None if it needs too many cuts or closes a tie for nothing."""
        supply = self._finder.supply(ties, cuts)
        if supply.idle_ties or len(cuts) + supply.n_loops > self._settings.max_cuts:
            return None
        restored = sum(c for block, c in enumerate(self._graph.customers) if supply.reached >> block & 1)
        return Candidate(ties, cuts, supply, self._graph.total_customers - restored)

    def _push(self, candidate: Candidate | None) -> None:
        if candidate is None:
            return
        identity = (tuple(t.switch for t in candidate.ties), candidate.cuts)
        if identity not in self._seen:
            self._seen.add(identity)
            heapq.heappush(self._heap, (candidate.key, len(self._seen), candidate))

    def _visit(self, candidate: Candidate, accept: Callable[[Candidate], Violation | None]) -> bool:
        """Judge a candidate and push what follows from it; True if it is good."""
        if not candidate.supply.radial:
            for switch in candidate.supply.loop:
                self._push(self._candidate(candidate.ties, candidate.cuts | {switch}))
            return False
        violation, part, losses_kw = self._judge(candidate)
        if violation is None:
            violation = accept(candidate)
            if violation is None:
                self._result.best.append((losses_kw, candidate))
                return True
        self._reject(candidate, violation)
        for switch in self._helpful_drops(candidate, part, violation):
            self._push(self._candidate(candidate.ties, candidate.cuts | {switch}))
        return False

    def _reject(self, candidate: Candidate, violation: Violation) -> None:
        closing = [t.switch for t in candidate.ties]
        if self._graph.head is not None and not closing:
            closing = [self._graph.head.switch]
        if closing and not candidate.supply.idle_ties:
            self._result.rejections.append(Rejection(tuple(closing), tuple(sorted(candidate.cuts)), violation))

    def _helpful_drops(self, candidate: Candidate, part: Part | None, violation: Violation) -> list[int]:
        """Cuts that may cure the violation: within the part at fault, and large enough as far as can be told."""
        if len(candidate.cuts) >= self._settings.max_cuts:
            return []
        found: list[int] = []
        for one in candidate.supply.parts if part is None else (part,):
            options = drops(one, self._graph)
            further = self._settings.max_cuts - len(candidate.cuts) - 1
            largest = max((kva for _, _, kva in options), default=0.0)
            needed = self._excess_kva(violation) / _DROP_MARGIN - further * largest
            found += [switch for switch, _, kva in options if kva >= needed]
        return found

    def _excess_kva(self, violation: Violation) -> float:
        if violation.kind is not ViolationKind.LOADING:
            return 0.0
        network = self._network
        branch = violation.index
        v_kv = float(network.nodes.v_nominal_kv[network.branch_from[branch]])
        rating_kva = float(np.sqrt(3.0) * v_kv * network.branch_i_max_a[branch])
        return rating_kva * (violation.value - self._settings.max_loading)

    # --- judgement ---------------------------------------------------------------------------------------------

    def _judge(self, candidate: Candidate) -> tuple[Violation | None, Part | None, float]:
        """(first violation, the part it lies in, losses); each part alone first, which rules out many at once."""
        parts = candidate.supply.parts
        for part in parts:
            violation = self._alone(part, candidate.cuts)
            if violation is not None:
                return violation, part, 0.0
        state = self._solve(candidate.cuts, parts)
        violation = state.violations[0] if state.violations else None
        return violation, None, state.check.losses_kw or 0.0

    def _alone(self, part: Part, cuts: frozenset[int]) -> Violation | None:
        """What is wrong if ``part`` alone is supplied."""
        shape = (part.root, part.chained)
        identity = (*shape, part.mask)
        if identity in self._solo:
            return self._solo[identity]
        for mask in self._too_much.get(shape, ()):
            if mask & part.mask == mask:
                return self._solo[(*shape, mask)]
        state = self._solve(cuts, (part,))
        violation = state.violations[0] if state.violations else None
        self._solo[identity] = violation
        if violation is not None and violation.kind in _MONOTONE:
            known = self._too_much.setdefault(shape, [])
            known[:] = [mask for mask in known if mask & part.mask != part.mask]
            known.append(part.mask)
        return violation

    def _solve(self, cuts: frozenset[int], parts: tuple[Part, ...]) -> CheckedState:
        closed = self._base.copy()
        closed[list(cuts)] = False
        for part in parts:
            closed[[part.root, *part.chained]] = True
        return self._checker.check(closed, self._unknown)

    # --- when the search is cut short -----------------------------------------------------------------------------

    def _fall_back(self, accept: Callable[[Candidate], Violation | None]) -> None:
        """The best of a greedy try per tie: drop the fewest customers that cure the overload, again and again."""
        for size in (0, 1):
            for ties in combinations(self._graph.ties, size):
                candidate = self._greedy(ties)
                if candidate is not None and accept(candidate) is None:
                    self._result.best.append((float(candidate.not_restored), candidate))
        if self._result.best:
            least = min(candidate.key for _, candidate in self._result.best)
            self._result.best = [found for found in self._result.best if found[1].key == least]

    def _greedy(self, ties: tuple[BlockEdge, ...]) -> Candidate | None:
        cuts: frozenset[int] = frozenset()
        while True:
            candidate = self._candidate(ties, cuts)
            if candidate is None or not candidate.supply.radial:
                return None
            violation, part, _ = self._judge(candidate)
            if violation is None:
                return candidate
            options = [o for p in ((part,) if part else candidate.supply.parts) for o in drops(p, self._graph)]
            if len(cuts) >= self._settings.max_cuts or not options:
                return None
            cuts |= {self._greedy_cut(options, violation, last=len(cuts) + 1 == self._settings.max_cuts)}

    def _greedy_cut(self, options: list[tuple[int, int, float]], violation: Violation, *, last: bool) -> int:
        needed = self._excess_kva(violation)
        enough = [o for o in options if o[2] >= needed] if needed > 0 and not last else []
        return min(enough, key=lambda o: (o[1], o[0]))[0] if enough else max(options, key=lambda o: (o[2], -o[0]))[0]
