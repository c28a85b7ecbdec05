"""The sweep of networks without loops: backward the powers, forward the squared voltages, in real numbers. Compiled.

With voltages and impedances relative to the voltages without demand, all that is linear is in series: a branch of
impedance ``r + jx`` loses ``(r + jx) |s|² / m``, where ``s`` is the power that it delivers and ``m`` the squared
voltage at its lower end. Powers add up exactly, and the squared voltage falls along the branch by
``2 (r p + x q) + (r² + x²) |s|² / m`` (Baran and Wu, IEEE Trans. Power Delivery 4 (1989) 725). An error of the
voltages comes in through the losses alone, so that an iteration leaves about the square of the relative drop of it,
where a sweep of currents leaves the drop itself. The iteration starts at the voltages without demand, so that a result
depends on the present inputs alone. Angles are worked out when they are asked for.

Powers are conjugate throughout: ``q`` counts negative. Everything here runs along arrays of its own, as addresses out
of tuples would be loaded again at every node.
"""

from __future__ import annotations

import math

from twin.network.model import Bools, Floats, Ints
from twin.solvers.sweep.arrays import BASE_KVA, Complexes, Demand, Positions
from twin.solvers.sweep.compiling import compiled, inner

CAUTION, LEAST_RATE = 2.0, 1e-3
"""The rate of convergence is taken to be so many times what the last two iterations showed, and never better
than the least: an iteration that does not converge may show any rate."""


@compiled
def solve(
    n: int,
    parent: Positions,
    position: Ints,
    load_at: Positions,
    load_shares: Floats,
    generator_at: Positions,
    w: Complexes,
    given: Floats,
    work: Floats,
    state: Floats,
    demand: Demand,
    tolerance_pu: float,
    limit: int,
    least_v_pu: float,
    v_pu: Floats,
    energised: Bools,
) -> bool:
    """Solve for the demand, write the squared voltages and powers to ``state`` and the magnitudes by node.

    False if there is no solution with at least ``least_v_pu``.
    """
    work[0, : n + 1] = 0.0
    work[1, : n + 1] = 0.0
    per_kva = 1.0 / BASE_KVA
    if load_shares.size:
        _place_dependent(load_at, load_shares, demand, given, work, n)
    else:
        _place(load_at, demand.p_kw, demand.q_kvar, per_kva, given[1], given[2], work[0], work[1])
    _place(generator_at, demand.generation_kw, demand.generation_kvar, -per_kva, given[1], given[2], work[0], work[1])
    if not _iterate(parent, w, work, state, n, tolerance_pu, limit):
        return False
    return _magnitudes(position, given[0], state[0], work[2], n, least_v_pu, v_pu, energised)


@inner
def _place(
    at: Positions, p_kw: Floats, q_kvar: Floats, per_unit: float, cosine: Floats, sine: Floats, p: Floats, q: Floats
) -> None:
    """Add demand to its positions; what is at dead nodes gathers at position 0."""
    for k in range(at.size):
        i = at[k]
        real, imaginary = p_kw[k] * per_unit, -q_kvar[k] * per_unit
        p[i] += real * cosine[i] - imaginary * sine[i]
        q[i] += real * sine[i] + imaginary * cosine[i]


@inner
def _place_dependent(at: Positions, shares: Floats, demand: Demand, given: Floats, work: Floats, n: int) -> None:
    """Like ``_place``, by constant power, current and impedance."""
    work[3:, : n + 1] = 0.0
    per_kva = 1.0 / BASE_KVA
    for k in range(at.size):
        i = at[k]
        v, cosine, sine = given[0, i], given[1, i], given[2, i]
        p, q = demand.p_kw[k] * per_kva, -demand.q_kvar[k] * per_kva
        p0, q0 = p * (1.0 - shares[0, k] - shares[1, k]), q * (1.0 - shares[2, k] - shares[3, k])
        p1, q1 = p * shares[0, k] * v, q * shares[2, k] * v
        p2, q2 = p * shares[1, k] * (v * v), q * shares[3, k] * (v * v)
        work[0, i] += p0 * cosine - q0 * sine
        work[1, i] += p0 * sine + q0 * cosine
        work[3, i] += p1 * cosine - q1 * sine
        work[4, i] += p1 * sine + q1 * cosine
        work[5, i] += p2 * cosine - q2 * sine
        work[6, i] += p2 * sine + q2 * cosine


@inner
def _iterate(
    parent: Positions, w: Complexes, work: Floats, state: Floats, n: int, tolerance_pu: float, limit: int
) -> int:
    """Solve from the voltages without demand; returns the iterations, 0 if they did not suffice.

    It ends when the change of the next iteration, foreseen by the rate of the last two, stays within the tolerance:
    that of a squared voltage is about twice that of the voltage. Voltages that are NaN end it: the magnitudes tell.
    """
    m, p, q, drop = state[0], state[1], state[2], work[2]
    m[: n + 1] = 1.0
    before = 0.0
    for iteration in range(1, limit + 1):
        p[: n + 1] = work[0, : n + 1]
        q[: n + 1] = work[1, : n + 1]
        if work.shape[0] > 3:
            _add_dependent(m, work[3], work[4], work[5], work[6], p, q, n)
        _backward(parent, w, m, p, q, drop, n)
        largest = _forward(parent, drop, m, n)
        rate = 1.0
        if iteration > 1:
            rate = min(1.0, max(LEAST_RATE, CAUTION * largest / before))
        if not largest * rate > tolerance_pu:
            return iteration
        before = largest
    return 0


@inner
def _add_dependent(m: Floats, p1: Floats, q1: Floats, p2: Floats, q2: Floats, p: Floats, q: Floats, n: int) -> None:
    """The powers of constant current and constant impedance."""
    for i in range(1, n + 1):
        v = math.sqrt(m[i])
        p[i] += p1[i] * v + p2[i] * m[i]
        q[i] += q1[i] * v + q2[i] * m[i]


@inner
def _backward(parent: Positions, w: Complexes, m: Floats, p: Floats, q: Floats, drop: Floats, n: int) -> None:
    """Add up the powers from the ends to the sources, losses included."""
    for i in range(n, 0, -1):
        r, x = w[i].real, w[i].imag
        squared_current = (p[i] * p[i] + q[i] * q[i]) / m[i]
        above_p = p[i] + r * squared_current
        above_q = q[i] - x * squared_current
        drop[i] = r * (p[i] + above_p) - x * (q[i] + above_q)
        p[parent[i]] += above_p
        q[parent[i]] += above_q


@inner
def _forward(parent: Positions, drop: Floats, m: Floats, n: int) -> float:
    """Squared voltages from the sources to the ends; returns the largest change."""
    largest = 0.0
    for i in range(1, n + 1):
        new = m[parent[i]] - drop[i]
        largest = max(largest, abs(new - m[i]))
        m[i] = new
    return largest


@inner
def _magnitudes(
    position: Ints, v_idle: Floats, m: Floats, v: Floats, n: int, least_v_pu: float, v_pu: Floats, energised: Bools
) -> bool:
    """By node; False if an energised one has less than the least."""
    sound = True
    v[0] = 0.0
    for i in range(1, n + 1):
        v[i] = v_idle[i] * math.sqrt(m[i])
        sound &= v[i] >= least_v_pu
    for node in range(position.size):
        i = position[node]
        v_pu[node] = v[i]
        energised[node] = i != 0
    return sound


@inner
def phasors(parent: Positions, idle: Complexes, w: Complexes, state: Floats, v: Complexes, n: int) -> None:
    """The voltages of a solution, by position."""
    m, p, q = state[0], state[1], state[2]
    v[0] = 1.0
    for i in range(1, n + 1):
        r, x = w[i].real, w[i].imag
        # relative voltages: the conjugate lower one times the upper one is m + (r + jx) (p + jq)
        lower = complex(m[i] + r * p[i] - x * q[i], -(r * q[i] + x * p[i]))
        above = v[parent[i]]
        v[i] = lower * above * (1.0 / (above.real * above.real + above.imag * above.imag))
    for i in range(1, n + 1):
        v[i] *= idle[i]
