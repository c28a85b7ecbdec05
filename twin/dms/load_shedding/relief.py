"""Sheds load for a limit that is broken, or by the time of the day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twin.dms.load_shedding.choice import in_turn, near
from twin.dms.load_shedding.model import Feeder, LoadSheddingSettings, Violation, net_load_kw

SLACK_KW = 1e-6


@dataclass(frozen=True, slots=True)
class Relief:
    """The feeders to open, why, and whether that mends everything."""

    open: tuple[str, ...]
    why: tuple[str, ...]
    complete: bool


def relieve(
    feeders: Sequence[Feeder],
    violations: Sequence[Violation],
    settings: LoadSheddingSettings,
    *,
    wanted_kw: float = 0.0,
    rotation: int = 0,
) -> Relief:
    """Feeders whose load mends every violation and, together with what is off already, comes to ``wanted_kw``."""
    opened: dict[str, Feeder] = {}
    why: list[str] = []
    complete = True
    for violation in violations:
        complete &= _mend(feeders, violation, settings, rotation, opened, why)
    off_kw = sum(f.before_kw for f in feeders if f.is_shed) + sum(f.p_kw for f in opened.values())
    if wanted_kw - off_kw > settings.tolerance * net_load_kw(tuple(feeders)):
        free = [f for f in in_turn(feeders, settings, rotation) if f.name not in opened]
        chosen = near(wanted_kw - off_kw, free, settings.tolerance * wanted_kw)
        opened.update({f.name: f for f in chosen})
        got = off_kw + sum(f.p_kw for f in chosen)
        why.append(f"The time of day asks for {wanted_kw:.0f} kW off; with {_names(chosen)} it is {got:.0f} kW.")
    return Relief(tuple(opened), tuple(why), complete)


def _mend(
    feeders: Sequence[Feeder],
    violation: Violation,
    settings: LoadSheddingSettings,
    rotation: int,
    opened: dict[str, Feeder],
    why: list[str],
) -> bool:
    """Add what mends one violation to ``opened``; False if nothing does."""
    left_kw = violation.excess_kw - sum(opened[name].p_kw for name in violation.feeders if name in opened)
    if left_kw <= SLACK_KW:
        why.append(f"{violation.sentence} What is shed already mends it.")
        return True
    free = [f for f in in_turn(feeders, settings, rotation) if f.name in violation.feeders and f.name not in opened]
    chosen = near(left_kw, free, 0.0, at_least=True)
    got = sum(f.p_kw for f in chosen)
    if got < left_kw:
        chosen, got = free, sum(f.p_kw for f in free)
    opened.update({f.name: f for f in chosen})
    enough = got >= left_kw - SLACK_KW
    end = "" if enough else f", which is not the {left_kw:.0f} kW it takes"
    why.append(f"{violation.sentence} {_names(chosen)} shed {got:.0f} kW{end}.")
    return enough


def scheduled_kw(feeders: Sequence[Feeder], settings: LoadSheddingSettings, of_day_ms: int) -> float:
    """What is to be off at a time of the day, kW."""
    share = max((window.share for window in settings.windows if window.holds(of_day_ms)), default=0.0)
    return share * max(net_load_kw(tuple(feeders)), 0.0)


def _names(feeders: Sequence[Feeder]) -> str:
    return ", ".join(f.name for f in feeders) or "nothing"
