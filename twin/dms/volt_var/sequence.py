"""Puts the moves to a setting in an order in which no state on the way is worse than where it started or ends.

Mechanisms move one level at a time, inverters go straight to their value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twin.dms.volt_var.controls import Control, ControlKind, Setting
from twin.dms.volt_var.search import Outcome


@dataclass(frozen=True, slots=True)
class Move:
    """One control goes from one value to another; ``after`` is the state then."""

    control: Control
    from_value: float
    to_value: float
    after: Outcome


def order_moves(
    controls: Sequence[Control], present: Setting, target: Setting, judge: Callable[[Setting], Outcome]
) -> tuple[Move, ...] | None:
    """The moves from ``present`` to ``target``, the most useful first; None if every order passes a worse state."""
    allowed_excess = max(judge(present).excess_pu, judge(target).excess_pu)
    dead_ends: set[Setting] = set()
    path: list[Move] = []

    def go(setting: Setting) -> bool:
        if setting == target:
            return True
        options = [(index, judge(_moved(setting, target, controls, index))) for index in _open(setting, target)]
        options.sort(key=lambda option: (option[1].cost, option[0]))
        for index, outcome in options:
            if outcome.setting in dead_ends or not outcome.converged or outcome.excess_pu > allowed_excess:
                continue
            control = controls[index]
            values = control.levels[setting[index]], control.levels[outcome.setting[index]]
            path.append(Move(control, *values, outcome))
            if go(outcome.setting):
                return True
            path.pop()
            dead_ends.add(outcome.setting)
        return False

    return tuple(path) if go(present) else None


def _open(setting: Setting, target: Setting) -> list[int]:
    return [index for index, (now, then) in enumerate(zip(setting, target, strict=True)) if now != then]


def _moved(setting: Setting, target: Setting, controls: Sequence[Control], index: int) -> Setting:
    now, then = setting[index], target[index]
    level = then if controls[index].kind is ControlKind.INVERTER else now + (1 if then > now else -1)
    return (*setting[:index], level, *setting[index + 1 :])
