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
_LARGEST_BATCH = 32
_Key = tuple[int, int]
_Identity = tuple[tuple[int, ...], frozenset[int]]


@dataclass(frozen=True, slots=True)
class Choice:
    """Ties to close and switches to cut; ``key`` orders by customers not restored, then operations.

    Loops that are still to be cut count as operations.
    """

    ties: tuple[BlockEdge, ...]
    cuts: frozenset[int]
    key: _Key

    @property
    def identity(self) -> _Identity:
        return tuple(tie.switch for tie in self.ties), self.cuts


@dataclass(frozen=True, slots=True)
class Candidate:
    """A choice and the supply that follows from it."""

    ties: tuple[BlockEdge, ...]
    cuts: frozenset[int]
    supply: Supply
    key: _Key


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
        self._solo: dict[int, Violation | None] = {}
        self._too_much: dict[int, list[int]] = {}
        self._heap: list[tuple[_Key, int, Choice]] = []
        self._seen: set[_Identity] = set()
        self._prepared: dict[_Identity, Candidate | None] = {}
        self._batch = 1
        self._result = SearchResult()
        self._start = checker.evaluations

    def run(self, accept: Callable[[Candidate], Violation | None]) -> SearchResult:
        """Search until the best candidates are found that ``accept`` (the check of every step) finds no fault with."""
        for choice in self._tie_sets():
            self._push(choice)
        bound: _Key | None = None
        pops = 0
        while self._heap:
            pops += 1
            if self._spent() or pops > self._settings.max_evaluations * _POPS_PER_EVALUATION:
                self._result.exhausted = False
                break
            key, _, choice = heapq.heappop(self._heap)
            if bound is not None and key > bound:
                break
            candidate = self._prepare(choice)
            if candidate is not None and self._visit(candidate, accept):
                bound = key
        if bound is None:
            self._fall_back(accept)
        self._result.best.sort(key=lambda found: found[0])
        return self._result

    def _spent(self) -> bool:
        return self._checker.evaluations - self._start >= self._settings.max_evaluations

    # --- candidates --------------------------------------------------------------------------------------------

    def _tie_sets(self) -> Iterator[Choice]:
        """Every choice of ties, nothing cut; loops are cut when their turn comes."""
        for size in range(self._settings.max_ties + 1):
            for ties in combinations(self._graph.ties, size):
                candidate = self._candidate(ties, frozenset())
                if candidate is not None:
                    yield Choice(ties, frozenset(), candidate.key)

    def _candidate(self, ties: tuple[BlockEdge, ...], cuts: frozenset[int]) -> Candidate | None:
        """The candidate, or None if it needs too many cuts or closes a tie for nothing."""
        supply = self._finder.supply(ties, cuts)
        if supply.idle_ties or len(cuts) + supply.n_loops > self._settings.max_cuts:
            return None
        restored = sum(c for block, c in enumerate(self._graph.customers) if supply.reached >> block & 1)
        key = (self._graph.total_customers - restored, len(ties) + len(cuts) + supply.n_loops)
        return Candidate(ties, cuts, supply, key)

    def _push(self, choice: Choice) -> None:
        if choice.identity not in self._seen:
            self._seen.add(choice.identity)
            heapq.heappush(self._heap, (choice.key, len(self._seen), choice))

    def _prepare(self, choice: Choice) -> Candidate | None:
        """The candidate of a choice, worked out once."""
        if choice.identity not in self._prepared:
            self._prepared[choice.identity] = self._candidate(choice.ties, choice.cuts)
        return self._prepared[choice.identity]

    def _visit(self, candidate: Candidate, accept: Callable[[Candidate], Violation | None]) -> bool:
        """Judge a candidate and push what follows from it; True if it is good."""
        if not candidate.supply.radial:
            for switch in candidate.supply.loop:
                self._push(Choice(candidate.ties, candidate.cuts | {switch}, candidate.key))
            return False
        self._solve_ahead(candidate)
        violation, part, losses_kw = self._judge(candidate)
        if violation is None:
            violation = accept(candidate)
            if violation is None:
                self._result.best.append((losses_kw, candidate))
                return True
        self._reject(candidate, violation)
        not_restored, operations = candidate.key
        for switch, customers in self._helpful_drops(candidate, part, violation):
            key = (not_restored + customers, operations + 1)
            self._push(Choice(candidate.ties, candidate.cuts | {switch}, key))
        return False

    def _reject(self, candidate: Candidate, violation: Violation) -> None:
        closing = [t.switch for t in candidate.ties]
        if self._graph.head is not None and not closing:
            closing = [self._graph.head.switch]
        if closing and not candidate.supply.idle_ties:
            self._result.rejections.append(Rejection(tuple(closing), tuple(sorted(candidate.cuts)), violation))

    def _helpful_drops(self, candidate: Candidate, part: Part | None, violation: Violation) -> list[tuple[int, int]]:
        """Cuts that may cure the violation, as (switch, customers dropped).

        They lie within the part at fault and are large enough as far as can be told.
        """
        if len(candidate.cuts) >= self._settings.max_cuts:
            return []
        found: list[tuple[int, int]] = []
        for one in candidate.supply.parts if part is None else (part,):
            options = drops(one, self._graph)
            further = self._settings.max_cuts - len(candidate.cuts) - 1
            largest = max((kva for _, _, kva in options), default=0.0)
            needed = self._excess_kva(violation) / _DROP_MARGIN - further * largest
            found += [(switch, customers) for switch, customers, kva in options if kva >= needed]
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
        """What is wrong if ``part`` alone is supplied; nothing is solved if a smaller part is too much already."""
        if part.edges in self._solo:
            return self._solo[part.edges]
        for edges in self._too_much.get(part.root, ()):
            if edges & part.edges == edges:
                return self._solo[edges]
        state = self._solve(cuts, (part,))
        violation = state.violations[0] if state.violations else None
        self._solo[part.edges] = violation
        if violation is not None and violation.kind in _MONOTONE:
            known = self._too_much.setdefault(part.root, [])
            known[:] = [edges for edges in known if edges & part.edges != part.edges]
            known.append(part.edges)
        return violation

    def _ruled_out(self, part: Part) -> bool:
        """Whether a smaller part on the same root is known to be too much."""
        return any(edges & part.edges == edges for edges in self._too_much.get(part.root, ()))

    def _state(self, cuts: frozenset[int], parts: tuple[Part, ...]) -> Bools:
        closed = self._base.copy()
        closed[list(cuts)] = False
        for part in parts:
            closed[[part.root, *part.chained]] = True
        return closed

    def _solve(self, cuts: frozenset[int], parts: tuple[Part, ...]) -> CheckedState:
        return self._checker.check(self._state(cuts, parts), self._unknown)

    def _unsolved(self, candidate: Candidate) -> list[Bools]:
        """The states of a radial candidate's parts that nothing is known of yet."""
        if not candidate.supply.radial:
            return []
        parts = [p for p in candidate.supply.parts if p.edges not in self._solo and not self._ruled_out(p)]
        return [self._state(candidate.cuts, (part,)) for part in parts]

    def _solve_ahead(self, candidate: Candidate) -> None:
        """If ``candidate`` needs solving, solve it in one batch with those that are likely to come next."""
        states = self._unsolved(candidate)
        if not states:
            return
        for _, _, choice in heapq.nsmallest(self._batch - 1, self._heap):
            following = self._prepare(choice)
            states += self._unsolved(following) if following is not None else []
        self._batch = min(self._batch * 2, _LARGEST_BATCH)
        self._checker.solve_ahead(states, self._unknown)

    # --- when the search is cut short -----------------------------------------------------------------------------

    def _fall_back(self, accept: Callable[[Candidate], Violation | None]) -> None:
        """The best of a greedy try per tie: drop the fewest customers that cure the overload, again and again."""
        for size in (0, 1):
            for ties in combinations(self._graph.ties, size):
                candidate = self._greedy(ties)
                if candidate is not None and accept(candidate) is None:
                    self._result.best.append((float(candidate.key[0]), candidate))
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
