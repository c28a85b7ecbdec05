"""Load allocation, the arithmetic: loads are scaled until the calculated flows at the meters are the measured ones.

Knows no network. A *channel* is what one meter reads and an *element* what one load takes. Balanced: loads that draw
from two phases at once are in ``per_phase_allocation``.

Each channel answers for the elements of its own zone: what is behind it less what is behind the channels further down.
Every round solves the network once, so that losses and charging are counted where they arise (Kersting, Distribution
System Modeling and Analysis, chapter 10). Downstream zones do not feel what happens upstream, so they settle first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from twin.errors import TwinError
from twin.network.model import Bools, Floats, Ints
from twin.solvers.model import PowerFlowDivergedError

_STEP = 10.0
"""The most that demand grows or shrinks by in one round."""

_MOST = 1e6
"""A start that would have to grow by more is no start."""


class AllocationDivergedError(TwinError):
    """No scaling of the loads gives the measured flows."""

    def __init__(self, channel: int, off: float, rounds: int) -> None:
        self.channel = channel
        self.off = off
        self.rounds = rounds
        super().__init__(f"the allocation is still {off:.2%} off at channel {channel} after {rounds} rounds")


@dataclass(frozen=True, slots=True)
class Readings:
    """What the channels read, downstream positive: P and Q, or NaN and a current; arrays of shape (n_channels,).

    ``parent`` is the next channel upstream, -1 if there is none. Every channel has P and Q, or a current.
    """

    parent: Ints
    p_kw: Floats
    q_kvar: Floats
    i_a: Floats


@dataclass(frozen=True, slots=True)
class Flows:
    """What a solution gives at the channels, like :class:`Readings`."""

    p_kw: Floats
    q_kvar: Floats
    i_a: Floats


_MOST_HALVINGS = 20

Solve = Callable[[Floats, Floats], Flows]
"""From P and Q of the elements to the flows at the channels; one power flow."""


@dataclass(frozen=True, slots=True)
class Allocated:
    """P and Q of each element; ``off`` is the largest relative difference left at each channel."""

    p_kw: Floats
    q_kvar: Floats
    off: Floats
    rounds: int


def allocate(
    readings: Readings,
    channel: Ints,
    weight: Floats,
    start: tuple[Floats, Floats],
    solve: Solve,
    *,
    fed_in: tuple[Floats, Floats] | None = None,
    tolerance: float = 1e-4,
    max_rounds: int = 30,
) -> Allocated:
    """Scale the elements of each channel's own zone to its reading.

    ``channel`` is that of each element, -1 for those behind no meter, which keep their ``start`` (P, Q). ``weight``
    (kVA) shares out what a start of zero cannot be scaled to. ``fed_in`` is what generation adds in the own zone of
    each channel (P, Q): readings are net of it, loads are not.

    Raises:
        AllocationDivergedError: the flows do not come within ``tolerance``.
        PowerFlowDivergedError: from ``solve``.
    """
    p_kw, q_kvar = start[0].astype(np.float64), start[1].astype(np.float64)
    worst, off = -1, np.zeros(len(readings.parent))
    if not len(off):
        return Allocated(p_kw, q_kvar, off, 0)
    own = _Own(readings.parent, channel, weight)
    p_kw, q_kvar = _first_guess(own, readings, (p_kw, q_kvar), fed_in or (np.zeros(own.n), np.zeros(own.n)))
    guessed = (channel >= 0) & np.isnan(readings.p_kw)[channel]
    for rounds in range(1, max_rounds + 1):
        p_kw, q_kvar, flows = _solvable(solve, p_kw, q_kvar, guessed)
        target_p, target_q = targets(readings, flows)
        miss_p, miss_q = target_p - flows.p_kw, target_q - flows.q_kvar
        size = np.maximum(np.hypot(target_p, target_q), 1e-3 * max(float(np.hypot(target_p, target_q).max()), 1e-6))
        off = np.hypot(miss_p, miss_q) / size
        off[own.empty] = 0.0
        worst = int(np.argmax(off))
        if off[worst] <= tolerance:
            return Allocated(p_kw, q_kvar, off, rounds)
        p_kw = own.grown(p_kw, miss_p)
        q_kvar = own.grown(q_kvar, miss_q)
    raise AllocationDivergedError(worst, float(off[worst]), max_rounds)


def _solvable(solve: Solve, p_kw: Floats, q_kvar: Floats, guessed: Bools) -> tuple[Floats, Floats, Flows]:
    """The flows, with ``guessed`` elements halved until there is a solution: a current does not say the power.

    Raises:
        PowerFlowDivergedError: there is none whatever they take.
    """
    for _ in range(_MOST_HALVINGS if guessed.any() else 0):
        try:
            return p_kw, q_kvar, solve(p_kw, q_kvar)
        except PowerFlowDivergedError:
            p_kw, q_kvar = np.where(guessed, 0.5 * p_kw, p_kw), np.where(guessed, 0.5 * q_kvar, q_kvar)
    return p_kw, q_kvar, solve(p_kw, q_kvar)


def own_parts(parent: Ints, flow: Floats) -> Floats:
    """Of each channel what is not behind a channel further down."""
    below = np.zeros(len(flow))
    has = parent >= 0
    np.add.at(below, parent[has], flow[has])
    return np.asarray(flow - below)


def targets(readings: Readings, flows: Flows) -> tuple[Floats, Floats]:
    """P and Q to reach; a current is taken at the calculated voltage and power factor."""
    factor = np.divide(readings.i_a, flows.i_a, out=np.ones(len(flows.i_a)), where=flows.i_a > 0)
    p_kw = np.where(np.isnan(readings.p_kw), flows.p_kw * factor, readings.p_kw)
    return p_kw, np.where(np.isnan(readings.q_kvar), flows.q_kvar * factor, readings.q_kvar)


def _first_guess(
    own: _Own, readings: Readings, start: tuple[Floats, Floats], fed_in: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Without losses: far closer than a wrong start, and the first solution has to exist."""
    p_kw, q_kvar = (
        own.grown(element, own.wanted(reading, element, there) - own.sums(element), limit=np.inf, net=True)
        for element, reading, there in zip(start, (readings.p_kw, readings.q_kvar), fed_in, strict=True)
    )
    return p_kw, q_kvar


class _Own:
    """Sums over the elements of each channel's own zone."""

    def __init__(self, parent: Ints, channel: Ints, weight: Floats) -> None:
        self.n = len(parent)
        self._parent, self._channel = parent, channel
        self._here: Bools = channel >= 0
        total = np.bincount(channel[self._here], weight[self._here], minlength=self.n)
        count = np.bincount(channel[self._here], minlength=self.n)
        self.empty: Bools = count == 0
        row = np.where(self._here, channel, 0)
        even = 1.0 / np.maximum(count[row], 1)
        share = np.divide(weight, total[row], out=even, where=total[row] > 0)
        self._share: Floats = np.where(self._here, share, 0.0)

    def sums(self, element: Floats) -> Floats:
        """Over the own zone of each channel."""
        return np.asarray(np.bincount(self._channel[self._here], element[self._here], minlength=self.n), np.float64)

    def wanted(self, reading: Floats, element: Floats, fed_in: Floats) -> Floats:
        """What the loads of each own zone take by the readings; what they take already where one is missing."""
        known = np.isfinite(reading)
        has = self._parent >= 0
        np.logical_and.at(known, self._parent[has], np.isfinite(reading)[has])
        taken = own_parts(self._parent, np.nan_to_num(reading)) + fed_in
        return np.asarray(np.where(known, taken, self.sums(element)))

    def grown(self, element: Floats, miss: Floats, *, limit: float = _STEP, net: bool = False) -> Floats:
        """The elements with what is missing at the channels (``net``: of their own zones) added.

        Scaled where that is possible, so that loads keep their proportions; shared out by weight otherwise.
        """
        missing = miss if net else own_parts(self._parent, miss)
        total = self.sums(element)
        factor = np.divide(total + missing, total, out=np.full(self.n, -1.0), where=np.abs(total) > 1e-9)
        scales = (factor >= 0) & (factor <= _MOST)
        factor = np.clip(factor, 1.0 / limit, limit)
        row = np.where(self._here, self._channel, 0)
        scaled = element * factor[row]
        shared = element + missing[row] * self._share
        grown = np.where(scales[row], scaled, shared)
        return np.asarray(np.where(self._here, grown, element))
