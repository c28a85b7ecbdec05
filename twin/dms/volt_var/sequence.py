"""Puts the moves to a setting in the order whose worst state on the way is the best.

Mechanisms move one level at a time, inverters go straight to their value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, prod

from twin.dms.volt_var.controls import Control, ControlKind, Setting
from twin.dms.volt_var.search import Outcome

_MOST_STATES = 1_000
"""Up to so many states between present and target every order is looked at."""


@dataclass(frozen=True, slots=True)
class Move:
    """One control goes from one value to another; ``after`` is the state then."""

    control: Control
    from_value: float
    to_value: float
    after: Outcome


def order_moves(
    controls: Sequence[Control],
    present: Setting,
    target: Setting,
    judge: Callable[[Setting], Outcome],
    tolerance_pu: float = 0.0,
) -> tuple[Move, ...] | None:
    """The moves from ``present`` to ``target`` by the way whose worst state is the best, the most useful first.

    None if every way passes a state whose excess is above that of both ends by more than ``tolerance_pu``, or that has
    no solution.
    """
    limit = max(judge(present).excess_pu, judge(target).excess_pu) + tolerance_pu
    few = prod(1 + abs(then - now) for now, then in zip(present, target, strict=True)) <= _MOST_STATES
    ways: dict[Setting, tuple[tuple[float, float], tuple[Move, ...]]] = {}

    def best_from(setting: Setting) -> tuple[tuple[float, float], tuple[Move, ...]]:
        """Worst excess still to come and the cost of the next state, and the moves; infinite if there is no way."""
        if setting == target:
            return (0.0, 0.0), ()
        if setting not in ways:
            ways[setting] = min((through(setting, i) for i in tried(setting)), key=lambda way: way[0])
        return ways[setting]

    def tried(setting: Setting) -> list[int]:
        """The controls to move next: all where the states are few, otherwise the one that helps most at once."""
        indexes = _open(setting, target)
        if few:
            return indexes
        return [min(indexes, key=lambda index: judge(_moved(setting, target, controls, index)).cost)]

    def through(setting: Setting, index: int) -> tuple[tuple[float, float], tuple[Move, ...]]:
        outcome = judge(_moved(setting, target, controls, index))
        if not outcome.converged or outcome.excess_pu > limit:
            return (inf, inf), ()
        (worst, _), rest = best_from(outcome.setting)
        control = controls[index]
        move = Move(control, control.levels[setting[index]], control.levels[outcome.setting[index]], outcome)
        return (max(worst, outcome.excess_pu), outcome.score), (move, *rest)

    (worst, _), moves = best_from(present)
    return None if worst == inf else moves


def _open(setting: Setting, target: Setting) -> list[int]:
    return [index for index, (now, then) in enumerate(zip(setting, target, strict=True)) if now != then]


def _moved(setting: Setting, target: Setting, controls: Sequence[Control], index: int) -> Setting:
    now, then = setting[index], target[index]
    level = then if controls[index].kind is ControlKind.INVERTER else now + (1 if then > now else -1)
    return (*setting[:index], level, *setting[index + 1 :])
