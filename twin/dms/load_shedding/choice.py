"""Chooses feeders whose net load comes near to what is asked, in an order of preference."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from twin.dms.load_shedding.model import Feeder, LoadSheddingSettings

MOST_EXHAUSTIVE = 12


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
    return [list(some) for size in range(1, min(len(candidates), 5) + 1) for some in combinations(candidates, size)]


def _exchanges(chosen: Sequence[Feeder], candidates: Sequence[Feeder]) -> list[list[Feeder]]:
    others = [f for f in candidates if f not in chosen]
    less = [[f for f in chosen if f is not out] for out in chosen]
    return [*less, *([*kept, new] for kept in less for new in others), *([*chosen, new] for new in others)]
