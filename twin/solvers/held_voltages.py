"""Which reactive power generating units need so that they hold their voltages, within their limits.

Compensation: a solver that knows only given powers is asked for the voltages, and a small matrix of sensitivities says
how the reactive powers have to change. At a limit of reactive power the voltage may be off on the side that the limit
explains; this complementarity is solved exactly for the linear model in every round, so that units neither chatter
between limit and voltage nor depend on the order in which they come to their limits.

Not for many held voltages: every one costs a solution per topology, and the matrix is dense.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from twin.network.model import Floats, Ints, Network

BASE_KVA = 1e3
MOST_HELD = 24
"""With more held voltages than this, Newton's method on the whole network costs less."""

MOST_ROUNDS = 40
_SETTLED_PU = 2e-10
_STEP_PU = 1e-4
"""The change of voltage that sensitivities are measured with."""

VoltagesAt = Callable[[Floats], Floats | None]
"""From reactive powers (pu, one a held voltage) to the voltages there (pu); None without a solution."""


class HeldBuses(NamedTuple):
    """Set points (pu) and limits of reactive power (pu, sums of their units) of the buses whose voltage is held."""

    set_pu: Floats
    low: Floats
    high: Floats


def hold(voltages: VoltagesAt, buses: HeldBuses, sensitivity: Floats) -> Floats | None:
    """The reactive powers (pu) with which every voltage is held or its limit reached; None if none are found.

    ``sensitivity[i, j]`` is about how much voltage ``i`` rises with reactive power ``j``; it is refined on the way
    (Broyden 1965) and not changed.
    """
    q = np.clip(np.zeros(len(buses.set_pu)), buses.low, buses.high)
    v = voltages(q)
    slope = sensitivity
    for _ in range(MOST_ROUNDS):
        if v is None:
            return None
        if _is_settled(q, v - buses.set_pu, buses):
            return q
        wanted = complementary(slope, buses.set_pu - v + slope @ q, buses.low, buses.high)
        if wanted is None:
            return None
        step = wanted - q
        seen = voltages(wanted)
        if seen is not None and step.any():
            slope = slope + np.outer(seen - v - slope @ step, step) / (step @ step)
        q, v = wanted, seen
    return None


def _is_settled(q: Floats, over: Floats, buses: HeldBuses) -> bool:
    """Every voltage is held, or off on the side that a limit explains."""
    explained = ((q >= buses.high) & (over < 0)) | ((q <= buses.low) & (over > 0))
    return bool((explained | (np.abs(over) <= _SETTLED_PU)).all())


def complementary(matrix: Floats, right: Floats, low: Floats, high: Floats) -> Floats | None:
    """The ``x`` within limits at which ``matrix @ x - right`` is 0, or at most 0 at ``high``, or at least 0 at ``low``.

    Block principal pivoting; once that no longer improves, the last wrong one alone (Murty 1974), which ends for every
    matrix with positive principal minors, as sensitivities to reactive power should have. None if it does not.
    """
    n = len(right)
    at: Ints = np.zeros(n, dtype=np.int32)
    unlimited = _with_limits(matrix, right, low, high, at)
    if unlimited is None or bool(((low <= unlimited) & (unlimited <= high)).all()):
        return unlimited
    fewest, patience = n + 1, 3
    for _ in range(50 + 10 * n):
        x = _with_limits(matrix, right, low, high, at)
        if x is None:
            return None
        gap = matrix @ x - right
        slack = 1e-13 * (1.0 + np.abs(right))
        to = np.where(at == 0, np.where(x > high, 1, np.where(x < low, -1, 0)), at)
        to = np.where((at == 1) & (gap > slack), 0, np.where((at == -1) & (gap < -slack), 0, to))
        wrong = np.flatnonzero(to != at)
        if not len(wrong):
            return x
        patience = 3 if len(wrong) < fewest else patience - 1
        fewest = min(fewest, len(wrong))
        moved = wrong if patience > 0 else wrong[-1:]
        at[moved] = to[moved]
    return None


def _with_limits(matrix: Floats, right: Floats, low: Floats, high: Floats, at: Ints) -> Floats | None:
    """Those ``at`` a limit are there, the others make their equations hold."""
    free = np.flatnonzero(at == 0)
    try:
        if len(free) == len(at):
            x = np.linalg.solve(matrix, right)
        else:
            x = np.where(at > 0, high, np.where(at < 0, low, 0.0))
            x[free] = np.linalg.solve(matrix[np.ix_(free, free)], right[free] - matrix[free] @ x)
    except np.linalg.LinAlgError:
        return None
    return np.asarray(x) if np.isfinite(x).all() else None


def sensitivities(voltages: VoltagesAt, n: int) -> Floats | None:
    """How the voltages of ``n`` buses rise with the reactive power of each, shape (n, n); None where they fall."""
    still = voltages(np.zeros(n))
    matrix = np.empty((n, n))
    for column in range(n):
        size = 1e-3
        for _ in range(2):  # the second time with a step that moves the voltage by about _STEP_PU
            q = np.zeros(n)
            q[column] = size
            moved = voltages(q)
            if still is None or moved is None or not moved[column] > still[column]:
                return None
            matrix[:, column] = (moved - still) / size
            size = _STEP_PU / matrix[column, column]
    return matrix


def shared(fed: float, low: Floats, high: Floats) -> Floats:
    """The reactive power of the units at one bus, that feed in ``fed`` together: by the room that each has."""
    room = high - low
    if len(room) == 1 or not (np.isfinite(room).all() and room.sum() > 0):
        return np.full(len(room), fed / len(room))
    return np.asarray(low + room * ((fed - low.sum()) / room.sum()), dtype=np.float64)


class HeldUnits:
    """The generating units that hold voltages, by the buses they stand at under one set of switch states.

    ``bus`` is a number for the bus of each generating unit, negative where it is dead or a source sets the voltage.
    The first unit of a bus gives the set point.
    """

    def __init__(self, network: Network, bus: Ints) -> None:
        g = network.generators
        self.rows = np.flatnonzero(~np.isnan(g.v_set_pu) & (bus >= 0))
        _, first, of_unit = np.unique(bus[self.rows], return_index=True, return_inverse=True)
        self._of_unit = of_unit
        self.nodes: Ints = g.node[self.rows[first]]
        low, high = g.q_min_kvar[self.rows], g.q_max_kvar[self.rows]
        self._members = [(at, low[at], high[at]) for at in (np.flatnonzero(of_unit == k) for k in range(len(first)))]
        sums = [[limits.sum() / BASE_KVA for limits in limits_of] for _, *limits_of in self._members]
        limits = np.array(sums).reshape(len(first), 2)
        self.buses = HeldBuses(g.v_set_pu[self.rows[first]], limits[:, 0], limits[:, 1])

    @property
    def n(self) -> int:
        """How many buses have their voltage held."""
        return len(self.nodes)

    def write(self, q: Floats, generation_kvar: Floats) -> None:
        """Deal the reactive powers of the buses (pu) out to their units, by the room that each has."""
        for fed, (at, low, high) in zip(q, self._members, strict=True):
            generation_kvar[self.rows[at]] = shared(BASE_KVA * float(fed), low, high)
