"""Chooses feeders whose net load comes near to what is asked, in an order of preference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, product

from twin.dms.load_shedding.model import Feeder, LoadSheddingSettings

MOST_EXHAUSTIVE = 12
MOST_ASSIGNMENTS = 20_000
"""Up to so many ways of sharing feeders among stages all are tried."""
MOST_EXCHANGED = 150
"""With more feeders than this none are exchanged between stages: so many always do by themselves."""


def in_turn(feeders: Sequence[Feeder], settings: LoadSheddingSettings, rotation: int) -> list[Feeder]:
    """Those that may be shed: who was shed least often first, those kept for last at the end, the rest in rotation."""
    free = [f for f in feeders if not f.why_not(settings)]
    places = {f.name: (place - rotation) % len(free) for place, f in enumerate(free)} if free else {}
    return sorted(free, key=lambda f: (f.name in settings.last, f.times_shed, places[f.name]))


def near(
    wanted_kw: float, candidates: Sequence[Feeder], tolerance_kw: float, *, at_least: bool = False
) -> list[Feeder]:
    """Feeders out of ``candidates`` whose sum lies nearest to ``wanted_kw``, the earlier ones preferred.

    Takes the first in order as long as that comes nearer. If what is left over is more than ``tolerance_kw``, tries all
    sets of a dozen (the first in order), and exchanges of one beyond that. ``at_least`` forbids less than wanted.
    """
    chosen = _greedy(wanted_kw, candidates, at_least)
    if _miss(chosen, wanted_kw, at_least) <= tolerance_kw:
        return chosen
    tries = [chosen, *_sets(candidates[:MOST_EXHAUSTIVE]), *_exchanges(chosen, candidates)]
    return min(tries, key=lambda some: (_miss(some, wanted_kw, at_least), len(some)))


def _greedy(wanted_kw: float, candidates: Sequence[Feeder], at_least: bool) -> list[Feeder]:
    chosen: list[Feeder] = []
    for feeder in candidates:
        if _miss([*chosen, feeder], wanted_kw, at_least) < _miss(chosen, wanted_kw, at_least):
            chosen.append(feeder)
    return chosen


def _miss(feeders: Sequence[Feeder], wanted_kw: float, at_least: bool) -> float:
    over = sum(f.p_kw for f in feeders) - wanted_kw
    if at_least and over < 0:
        return 1e12 - over
    return abs(over)


def _sets(candidates: Sequence[Feeder]) -> list[list[Feeder]]:
    return [list(some) for size in range(len(candidates) + 1) for some in combinations(candidates, size)]


def _exchanges(chosen: Sequence[Feeder], candidates: Sequence[Feeder]) -> list[list[Feeder]]:
    others = [f for f in candidates if f not in chosen]
    less = [[f for f in chosen if f is not out] for out in chosen]
    return [*less, *([*kept, new] for kept in less for new in others), *([*chosen, new] for new in others)]


Assignment = dict[str, int]
Cost = tuple[float, int, int, float]


class StageShares:
    """Shares feeders among stages, so that together they come nearest to what the stages want.

    What counts, in this order: how much the stages are off beyond their tolerance, feeders that are kept for last, how
    often the feeders were shed before, how much the stages are off at all.
    """

    def __init__(
        self, free: Sequence[Feeder], wanted_kw: Mapping[int, float], tolerance_kw: float, last: Sequence[str]
    ):
        self._free = {f.name: f for f in free}
        self._wanted_kw = dict(wanted_kw)
        self._tolerance_kw = tolerance_kw
        self._last = frozenset(last)

    def best(self, start: Assignment) -> Assignment:
        """All ways where they are few; exchanges that improve ``start`` where they are many."""
        if self._cost(start)[0] <= 0.0:
            return start
        if (len(self._wanted_kw) + 1) ** len(self._free) <= MOST_ASSIGNMENTS:
            return min([start, *self._all()], key=self._cost)
        return self._exchanged(start) if len(self._free) <= MOST_EXCHANGED else start

    def _all(self) -> list[Assignment]:
        stages, names = (0, *self._wanted_kw), tuple(self._free)
        ways = product(stages, repeat=len(names))
        return [{name: s for name, s in zip(names, way, strict=True) if s} for way in ways]

    def _exchanged(self, start: Assignment) -> Assignment:
        best, cost = start, self._cost(start)
        while cost[0] > 0.0:
            found = min(self._neighbours(best), key=self._cost, default=best)
            if self._cost(found) >= cost:
                return best
            best, cost = found, self._cost(found)
        return best

    def _neighbours(self, given: Assignment) -> list[Assignment]:
        names, stages = list(self._free), (0, *self._wanted_kw)
        moved = [_with(given, {n: s}) for n in names for s in stages if s != given.get(n, 0)]
        pairs = ((a, b) for a, b in combinations(names, 2) if given.get(a, 0) != given.get(b, 0))
        return [*moved, *(_with(given, {a: given.get(b, 0), b: given.get(a, 0)}) for a, b in pairs)]

    def _cost(self, given: Assignment) -> Cost:
        got = dict.fromkeys(self._wanted_kw, 0.0)
        for name, stage in given.items():
            got[stage] += self._free[name].p_kw
        off_kw = [abs(got[stage] - kw) for stage, kw in self._wanted_kw.items()]
        beyond = sum(kw - self._tolerance_kw for kw in off_kw if kw > self._tolerance_kw + 1e-9)
        before = sum(self._free[name].times_shed for name in given)
        return beyond, len(self._last & given.keys()), before, sum(off_kw)


def _with(given: Assignment, changes: Assignment) -> Assignment:
    return {name: stage for name, stage in {**given, **changes}.items() if stage}
