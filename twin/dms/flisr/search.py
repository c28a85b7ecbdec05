"""Best-first search for the switching state that restores most with fewest operations.

Candidates (ties to close, switches to cut) come in the order (customers not restored, operations); each is judged by
power flow. A part that one root cannot carry alone is remembered: whatever makes the same root carry
more is not tried again. Not for the order of steps.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations

from twin.dms.check import CheckedState, StateChecker, Violation, ViolationKind
from twin.dms.flisr.blocks import BlockEdge, BlockGraph, Part, Supply, SupplyFinder, drops
from twin.dms.flisr.capacity import SupplyCapacity
from twin.dms.flisr.model import FlisrSettings
from twin.network.model import Bools, Network

_MONOTONE = {ViolationKind.LOADING, ViolationKind.UNDERVOLTAGE, ViolationKind.NO_SOLUTION}
"""Limits that more load on the same root can only break further."""

_SEARCH_SHARE = 0.75
"""Of the evaluations; the rest is kept for the greedy try if nothing has been found by then."""

_VOLTAGE_WEIGHT = 5.0
_NO_SOLUTION_SEVERITY = 100.0
_POPS_PER_EVALUATION = 10
_Key = tuple[int, int]
_Identity = tuple[tuple[int, ...], frozenset[int]]


@dataclass(frozen=True, slots=True)
class Choice:
    """Ties to close and switches to cut; ``key`` orders by customers not restored, then operations.

    Loops that are still to be cut count as operations. ``hopeless`` choices are only there for what follows from them.
    """

    ties: tuple[BlockEdge, ...]
    cuts: frozenset[int]
    key: _Key
    hopeless: bool = False
    supply: Supply | None = None
    """What it follows from by opening ``cut``, where that is known."""
    cut: int = -1
    others: Iterator[Choice] | None = None
    """What else follows from the same, none of it better: looked at once this one's turn has come."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A choice and the supply that follows from it."""

    ties: tuple[BlockEdge, ...]
    cuts: frozenset[int]
    supply: Supply
    key: _Key

    @property
    def closing(self) -> tuple[int, ...]:
        """The ties by switch."""
        return tuple(tie.switch for tie in self.ties)


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
        self._capacity = SupplyCapacity(network, graph, checker, base_closed)
        self._unknown = unknown
        self._solo: dict[int, Violation | None] = {}
        self._too_much: dict[int, list[int]] = {}
        self._heap: list[tuple[_Key, int, Choice]] = []
        self._seen: set[_Identity] = set()
        self._explained: set[tuple[int, ...]] = set()
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
            if choice.others is not None:
                self._push_next(choice.others)
            candidate = self._follow(choice)
            if candidate is None:
                continue
            if choice.hopeless:
                self._push_drops(candidate, None)
            elif self._visit(candidate, accept):
                bound = candidate.key
        if bound is None:
            self._fall_back(accept)
        self._result.best.sort(key=lambda found: (found[1].key, found[0]))
        return self._result

    def _spent(self) -> bool:
        solved = self._checker.evaluations - self._start
        return solved >= self._settings.max_evaluations * _SEARCH_SHARE

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
        return self._with(ties, cuts, self._finder.supply(ties, cuts))

    def _follow(self, choice: Choice) -> Candidate | None:
        """The candidate of a choice, quickly where it follows from a radial one."""
        if choice.supply is None:
            return self._candidate(choice.ties, choice.cuts)
        return self._with(choice.ties, choice.cuts, self._finder.without(choice.supply, choice.cut))

    def _with(self, ties: tuple[BlockEdge, ...], cuts: frozenset[int], supply: Supply | None) -> Candidate | None:
        if supply is None or supply.idle_ties or len(cuts) + supply.n_loops > self._settings.max_cuts:
            return None
        restored = sum([part.customers for part in supply.parts])
        key = (self._graph.total_customers - restored, len(ties) + len(cuts) + supply.n_loops)
        return Candidate(ties, cuts, supply, key)

    def _push(self, choice: Choice) -> None:
        identity = (tuple(tie.switch for tie in choice.ties), choice.cuts)
        if identity not in self._seen:
            self._seen.add(identity)
            heapq.heappush(self._heap, (choice.key, len(self._seen), choice))

    def _push_next(self, choices: Iterator[Choice]) -> None:
        """Push the first of ``choices`` that is new; the rest waits behind it."""
        for choice in choices:
            before = len(self._seen)
            self._push(choice)
            if len(self._seen) > before:
                return

    def _visit(self, candidate: Candidate, accept: Callable[[Candidate], Violation | None]) -> bool:
        """Judge a candidate and push what follows from it; True if it is good."""
        if not candidate.supply.radial:
            for switch in candidate.supply.loop:
                self._push(Choice(candidate.ties, candidate.cuts | {switch}, candidate.key))
            return False
        violation, part, losses_kw = self._judge(candidate)
        if violation is None:
            violation = accept(candidate)
            if violation is None:
                self._result.best.append((losses_kw, candidate))
                return True
        self._reject(candidate, violation)
        self._push_drops(candidate, part)
        return False

    def _reject(self, candidate: Candidate, violation: Violation) -> None:
        """Remember the first violation of each choice of ties."""
        if candidate.closing in self._explained:
            return
        self._explained.add(candidate.closing)
        head = self._graph.head
        closing = candidate.closing or ((head.switch,) if head is not None else ())
        if closing:
            self._result.rejections.append(Rejection(closing, tuple(sorted(candidate.cuts)), violation))

    def _push_drops(self, candidate: Candidate, part: Part | None) -> None:
        """Push the candidate with one cut more, wherever that may cure its violation.

        Cuts lie within the part at fault, or behind an overloaded branch, and are large enough as far as can be
        told. Where more has to follow, the customers that this will cost at least count in the key.
        """
        further = self._settings.max_cuts - len(candidate.cuts) - 1
        if further < 0:
            return
        parts = candidate.supply.parts if part is None else (part,)
        excess = self._capacity.excess(parts)
        behind = [p for p in parts if excess is None or p.root in excess.roots]
        options = [option for one in behind for option in drops(one, self._graph)]
        largest = max((kva for _, _, kva in options), default=0.0)
        per_kva = self._least_customers_per_kva(behind)
        not_restored, operations = candidate.key
        wanted: list[tuple[_Key, int, bool]] = []
        for switch, customers, kva in options:
            left_kva = 0.0 if excess is None else max(0.0, excess.kva - kva)
            if left_kva <= further * largest:
                key = (not_restored + customers + int(left_kva * per_kva), operations + 1)
                wanted.append((key, switch, left_kva > 0))
        wanted.sort()
        self._push_next(self._choices(candidate, wanted))

    @staticmethod
    def _choices(candidate: Candidate, wanted: list[tuple[_Key, int, bool]]) -> Iterator[Choice]:
        """A candidate with each of the cuts, best first; each knows those behind it."""

        def following() -> Iterator[Choice]:
            for key, switch, hopeless in wanted:
                cuts = candidate.cuts | {switch}
                yield Choice(candidate.ties, cuts, key, hopeless, candidate.supply, switch, choices)

        choices = following()
        return choices

    def _least_customers_per_kva(self, parts: list[Part]) -> float:
        blocks = [block for part in parts for block, _, _ in part.via if self._graph.kva[block] > 0]
        return min((self._graph.customers[block] / self._graph.kva[block] for block in blocks), default=0.0)

    # --- judgement ---------------------------------------------------------------------------------------------

    def _judge(self, candidate: Candidate) -> tuple[Violation | None, Part | None, float]:
        """(first violation, the part it lies in, losses); each part alone first, which rules out many at once."""
        parts = candidate.supply.parts
        for part in parts:
            violation = self._alone(part, candidate)
            if violation is not None:
                return violation, part, 0.0
        if len(parts) > 1 and candidate.closing in self._explained:
            excess = self._capacity.excess(parts)
            if excess is not None:
                return self._checker.overload(excess.branch, excess.loading), None, 0.0
        state = self._solve(candidate.cuts, parts)
        violation = state.violations[0] if state.violations else None
        if violation is not None:
            self._capacity.learn(parts, violation)
        return violation, None, state.check.losses_kw or 0.0

    def _alone(self, part: Part, candidate: Candidate) -> Violation | None:
        """What is wrong if ``part`` alone is supplied.

        Nothing is solved if a smaller part is too much already, or if the way to the part cannot carry its
        demand; except for the first try of a choice of ties, which is to be explained with solved figures.
        """
        if part.edges in self._solo:
            return self._solo[part.edges]
        for edges in self._too_much.get(part.root, ()):
            if edges & part.edges == edges:
                return self._solo[edges]
        if candidate.closing in self._explained:
            excess = self._capacity.excess((part,))
            if excess is not None:
                return self._checker.overload(excess.branch, excess.loading)
        state = self._solve(candidate.cuts, (part,))
        violation = state.violations[0] if state.violations else None
        self._solo[part.edges] = violation
        if violation is not None and violation.kind in _MONOTONE:
            self._capacity.learn((part,), violation)
            known = self._too_much.setdefault(part.root, [])
            known[:] = [edges for edges in known if edges & part.edges != part.edges]
            known.append(part.edges)
        return violation

    def _solve(self, cuts: frozenset[int], parts: tuple[Part, ...]) -> CheckedState:
        closed = self._base.copy()
        closed[list(cuts)] = False
        for part in parts:
            closed[[part.root, *part.chained]] = True
        return self._checker.check(closed, self._unknown)

    # --- when the search is cut short -----------------------------------------------------------------------------

    def _fall_back(self, accept: Callable[[Candidate], Violation | None]) -> None:
        """The best of a greedy try for nothing, each tie, and each pair of ties, while evaluations last."""
        for size in range(min(2, self._settings.max_ties) + 1):
            for ties in combinations(self._graph.ties, size):
                if size and self._checker.evaluations - self._start >= self._settings.max_evaluations:
                    break
                candidate = self._greedy(ties)
                if candidate is not None and accept(candidate) is None:
                    self._result.best.append((0.0, candidate))
        if self._result.best:
            least = min(candidate.key for _, candidate in self._result.best)
            self._result.best = [found for found in self._result.best if found[1].key == least]

    def _greedy(self, ties: tuple[BlockEdge, ...]) -> Candidate | None:
        """Cut loops where it strains least, then what cures the violation for the fewest customers, step by step."""
        candidate = self._candidate(ties, frozenset())
        while candidate is not None:
            violation, part = None, None
            if candidate.supply.radial:
                violation, part, _ = self._judge(candidate)
                if violation is None:
                    return candidate
                if len(candidate.cuts) >= self._settings.max_cuts:
                    return None
            candidate = self._greedy_cut(candidate, part, violation)
        return None

    def _greedy_cut(self, candidate: Candidate, part: Part | None, violation: Violation | None) -> Candidate | None:
        """The best candidate with one cut more: one without violation, or the one that relieves most per customer."""
        if violation is None:
            options = [(switch, 0) for switch in candidate.supply.loop]
        else:
            parts = (part,) if part else candidate.supply.parts
            options = sorted((o[:2] for p in parts for o in drops(p, self._graph)), key=lambda option: option[1])
        best: Candidate | None = None
        least = math.inf
        for switch, customers in options:
            following = self._candidate(candidate.ties, candidate.cuts | {switch})
            if following is None or not following.supply.radial:
                best = best or following
                continue
            left = self._judge(following)[0]
            if left is None:
                return following
            cost = self._severity(left)
            if violation is not None:
                gain = self._severity(violation) - cost
                cost = customers / gain if gain > 0 else math.inf
            if cost < least:
                best, least = following, cost
        return best

    def _severity(self, violation: Violation) -> float:
        """How far a limit is exceeded, per unit; voltages weigh more, as their band is narrow."""
        settings = self._settings
        if violation.kind is ViolationKind.LOADING:
            return violation.value - settings.max_loading
        if violation.kind is ViolationKind.UNDERVOLTAGE:
            return _VOLTAGE_WEIGHT * (settings.v_min_pu - violation.value)
        if violation.kind is ViolationKind.OVERVOLTAGE:
            return _VOLTAGE_WEIGHT * (violation.value - settings.v_max_pu)
        return _NO_SOLUTION_SEVERITY
