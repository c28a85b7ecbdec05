"""Winding connections of transformers as terminal codes of their single-phase units.

A vector group such as ``Dyn5`` fixes between which phases each unit lies on either side: the high-voltage
windings of a delta lie between A-B, B-C, C-A, and the low-voltage side follows from the clock number.
Not for zigzag windings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from twin.errors import Blame, TwinError
from twin.network.three_phase import ABSENT, EARTH, STAR

_GROUP = re.compile(r"(YN|Y|D)(yn|y|d)(\d{1,2})")
_ANGLE_TOLERANCE_DEG = 1.0

Ends = tuple[tuple[int, int], ...]
"""(plus, minus) of the three units of a side; ``(ABSENT, ABSENT)`` for a unit that is not there."""


class VectorGroupError(TwinError):
    """A vector group that does not exist, or has zigzag windings."""

    blame = Blame.SCENARIO

    def __init__(self, group: str) -> None:
        self.group = group
        super().__init__(f"{group} is no vector group of star and delta windings")


@dataclass(frozen=True, slots=True)
class Windings:
    """The ends of the units of both sides."""

    from_ends: Ends
    to_ends: Ends


def star(phases: tuple[int, ...] = (0, 1, 2), *, earthed: bool = True) -> Ends:
    """Star windings on the given phases."""
    other = EARTH if earthed else STAR
    return tuple((p, other) if p in phases else (ABSENT, ABSENT) for p in range(3))


def delta(*, to_next: bool = True) -> Ends:
    """A closed delta: A-B, B-C, C-A, or (not ``to_next``) A-C, B-A, C-B."""
    return tuple((p, (p + (1 if to_next else 2)) % 3) for p in range(3))


def vector_group(group: str) -> Windings:
    """The windings of a three-phase transformer, e.g. ``Dyn11``, ``YNyn0``; the clock is how far the low side lags.

    Raises:
        VectorGroupError: no such group of star and delta windings.
    """
    match = _GROUP.fullmatch(group)
    if not match or int(match[3]) > 11:
        raise VectorGroupError(group)
    high, low, clock = match[1], match[2].upper(), int(match[3])
    from_ends = _side(high)
    for reverse in (False, True):
        for turn in range(3):
            for to_next in (True, False) if low == "D" else (True,):
                to_ends = _turned(_side(low, to_next), turn, reverse)
                if _lag_matches(from_ends, to_ends, 30.0 * clock):
                    return Windings(from_ends, to_ends)
    raise VectorGroupError(group)


def _side(letters: str, to_next: bool = True) -> Ends:
    return delta(to_next=to_next) if letters == "D" else star(earthed=letters == "YN")


def _turned(ends: Ends, turn: int, reverse: bool) -> Ends:
    turned = (*ends[turn:], *ends[:turn])
    return tuple((minus, plus) if reverse else (plus, minus) for plus, minus in turned)


def _lag_matches(from_ends: Ends, to_ends: Ends, lag_deg: float) -> bool:
    """Whether, in positive sequence, the low side lags by ``lag_deg``: the windings of one unit are in phase."""
    lead_deg = np.angle(_voltage(from_ends[0]) / _voltage(to_ends[0]), deg=True)
    return bool(abs((lead_deg + lag_deg + 180.0) % 360.0 - 180.0) < _ANGLE_TOLERANCE_DEG)


def _voltage(end: tuple[int, int]) -> complex:
    of = {p: np.exp(-2j * np.pi * p / 3) for p in range(3)} | {EARTH: 0.0, STAR: 0.0}
    return complex(of[end[0]] - of[end[1]])
