"""Compiled loops of state estimation: the augmented equations by bus, their factors and their sparse inverse.

Every bus has a 4x4 block of unknowns (d ln V, d angle, multiplier of P, multiplier of Q); two buses share a block
where a branch joins them. Measurements of voltage, flow and current enter the upper 2x2 part (the gain), injections
keep rows of their own with their variance on the diagonal, 0 for an exact zero injection: Hachtel's augmented
matrix, in the sparsity of the bus admittance matrix. Buses are numbered in the order of elimination; block column
``k`` of the lower triangle holds ``rows[start[k]:start[k + 1]]`` in ascending order.

Imports numba when it is imported itself, which costs half a second: import this module late.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

ROUNDOFF = 1e-11
"""Of the terms of a sum: less is left of it by roundoff only."""

LEAST_CURRENT_PU = 1e-9
"""Below this, the direction of a current is not defined and the last one is kept."""


@njit(cache=True)  # type: ignore[untyped-decorator]
def symbolic(n: int, low: Any, high: Any) -> Any:
    """Pattern of the factor for pairs ``low < high`` (unique, sorted by low, then high): (start, rows)."""
    first = np.zeros(n + 1, dtype=np.int64)
    for e in range(len(low)):
        first[low[e] + 1] += 1
    for k in range(n):
        first[k + 1] += first[k]
    start = np.zeros(n + 1, dtype=np.int64)
    rows = np.empty(max(2 * len(low), 16), dtype=np.int64)
    child, sibling = np.full(n, -1, dtype=np.int64), np.full(n, -1, dtype=np.int64)
    mark = np.full(n, -1, dtype=np.int64)
    fill = 0
    for k in range(n):
        if fill + n - k > len(rows):
            larger = np.empty(2 * len(rows) + n, dtype=np.int64)
            larger[:fill] = rows[:fill]
            rows = larger
        begin = fill
        mark[k] = k
        for e in range(first[k], first[k + 1]):
            i = high[e]
            if mark[i] != k:
                mark[i] = k
                rows[fill] = i
                fill += 1
        c = child[k]
        while c >= 0:
            for p in range(start[c], start[c + 1]):
                i = rows[p]
                if mark[i] != k:
                    mark[i] = k
                    rows[fill] = i
                    fill += 1
            c = sibling[c]
        rows[begin:fill].sort()
        start[k + 1] = fill
        if fill > begin:
            parent = rows[begin]
            sibling[k] = child[parent]
            child[parent] = k
    return start, rows[:fill].copy()


@njit(cache=True)  # type: ignore[untyped-decorator]
def find(start: Any, rows: Any, low: int, high: int) -> Any:
    """Position of the block (high, low) of the lower triangle."""
    a, b = start[low], start[low + 1]
    while a < b:
        middle = (a + b) // 2
        if rows[middle] < high:
            a = middle + 1
        else:
            b = middle
    return a


@njit(cache=True)  # type: ignore[untyped-decorator]
def positions(start: Any, rows: Any, bus_a: Any, bus_b: Any) -> Any:
    """Position of the block of each pair of buses in either order, -1 for a bus with itself or a dead branch."""
    found = np.full(len(bus_a), -1, dtype=np.int64)
    for e in range(len(bus_a)):
        a, b = bus_a[e], bus_b[e]
        if a >= 0 and a != b:
            found[e] = find(start, rows, min(a, b), max(a, b))
    return found


@njit(cache=True)  # type: ignore[untyped-decorator]
def targets(n: int, start: Any, rows: Any) -> Any:
    """Positions of the blocks that the elimination of each column changes: (start, positions), diagonals apart."""
    begin = np.zeros(n + 1, dtype=np.int64)
    for k in range(n):
        m = start[k + 1] - start[k]
        begin[k + 1] = begin[k] + m * (m - 1) // 2
    at = np.empty(begin[n], dtype=np.int64)
    q = 0
    for k in range(n):
        for a in range(start[k], start[k + 1]):
            for b in range(start[k], a):
                at[q] = find(start, rows, rows[b], rows[a])
                q += 1
    return begin, at


@njit(cache=True)  # type: ignore[untyped-decorator]
def assemble(
    u: Any,
    angle: Any,
    y_shunt: Any,
    bus_from: Any,
    bus_to: Any,
    position: Any,
    admittance: Any,
    v_value: Any,
    v_weight: Any,
    injection: Any,
    variance: Any,
    flow: Any,
    flow_weight: Any,
    current: Any,
    current_weight: Any,
    direction: Any,
    steer: bool,
    angle_weight: Any,
    diagonal: Any,
    lower: Any,
    right: Any,
    power: Any,
) -> None:
    """Fill the augmented equations at the state ``u`` = ln V, ``angle``.

    Slots: ``v_*`` of shape (n,); ``injection``/``variance`` (n, 2), a negative variance for none; ``flow*``
    (branches, 2 ends, P and Q); ``current*`` (branches, 2). ``direction`` holds the unit phasors of the currents,
    and takes up the present ones if ``steer``. Writes ``diagonal`` (n, 4, 4), ``lower`` (blocks, 4, 4), ``right``
    (n, 4) and ``power`` (n,), the complex injection of each bus.
    """
    n = len(u)
    phasor = np.empty(n, dtype=np.complex128)
    diagonal[:] = 0.0
    lower[:] = 0.0
    right[:] = 0.0
    for i in range(n):
        v = math.exp(u[i])
        phasor[i] = v * complex(math.cos(angle[i]), math.sin(angle[i]))
        shunt = v * v * y_shunt[i].conjugate()
        power[i] = shunt
        d = diagonal[i]
        d[0, 0] += v_weight[i] * v * v
        right[i, 0] += v_weight[i] * v * (v_value[i] - v)
        d[1, 1] += angle_weight[i]
        d[2, 0] += 2 * shunt.real
        d[3, 0] += 2 * shunt.imag
    h = np.empty((3, 4))
    for e in range(len(bus_from)):
        for end in range(2):
            a, b = (bus_from[e], bus_to[e]) if end == 0 else (bus_to[e], bus_from[e])
            if a < 0:
                continue
            own, other = admittance[e, 3 * end], admittance[e, 1 + end]
            i_own, i_other = own * phasor[a], other * phasor[b]
            m_own, m_other = phasor[a] * i_own.conjugate(), phasor[a] * i_other.conjugate()
            s = m_own + m_other
            power[a] += s
            h[0, 0], h[0, 1] = s.real + m_own.real, -m_other.imag
            h[1, 0], h[1, 1] = s.imag + m_own.imag, m_other.real
            h[0, 2], h[0, 3] = m_other.real, m_other.imag
            h[1, 2], h[1, 3] = m_other.imag, -m_other.real
            d = diagonal[a]
            for q in range(2):
                d[2 + q, 0] += h[q, 0]
                d[2 + q, 1] += h[q, 1]
            p = position[e]
            if p >= 0:
                block = lower[p]
                for q in range(2):
                    for x in range(2):
                        if a > b:
                            block[2 + q, x] += h[q, 2 + x]
                        else:
                            block[x, 2 + q] += h[q, 2 + x]
            for m in range(3):
                if m < 2:
                    weight = flow_weight[e, end, m]
                    if weight == 0.0:
                        continue
                    off = flow[e, end, m] - (s.real if m == 0 else s.imag)
                else:
                    weight = current_weight[e, end]
                    if weight == 0.0:
                        continue
                    i = i_own + i_other
                    size = abs(i)
                    if steer and size > LEAST_CURRENT_PU:
                        direction[e, end] = i / size
                    towards = direction[e, end].conjugate()
                    off = current[e, end] - (towards * i).real
                    c_own, c_other = towards * i_own, towards * i_other
                    h[2, 0], h[2, 1] = c_own.real, -c_own.imag
                    h[2, 2], h[2, 3] = c_other.real, -c_other.imag
                g = diagonal[a]
                for x in range(2):
                    right[a, x] += weight * h[m, x] * off
                    for y in range(2):
                        g[x, y] += weight * h[m, x] * h[m, y]
                if p >= 0:
                    g = diagonal[b]
                    block = lower[p]
                    for x in range(2):
                        right[b, x] += weight * h[m, 2 + x] * off
                        for y in range(2):
                            g[x, y] += weight * h[m, 2 + x] * h[m, 2 + y]
                            if a > b:
                                block[x, y] += weight * h[m, x] * h[m, 2 + y]
                            else:
                                block[x, y] += weight * h[m, 2 + x] * h[m, y]
    for i in range(n):
        for q in range(2):
            if variance[i, q] < 0.0:
                diagonal[i, 2 + q, 0] = diagonal[i, 2 + q, 1] = 0.0
                diagonal[i, 2 + q, 2 + q] = -1.0
            else:
                diagonal[i, 2 + q, 2 + q] = -variance[i, q]
                right[i, 2 + q] = injection[i, q] - (power[i].real if q == 0 else power[i].imag)
            diagonal[i, 0, 2 + q] = diagonal[i, 2 + q, 0]
            diagonal[i, 1, 2 + q] = diagonal[i, 2 + q, 1]
    for e in range(len(bus_from)):
        p = position[e]
        if p >= 0:
            high, low = max(bus_from[e], bus_to[e]), min(bus_from[e], bus_to[e])
            for q in range(2):
                if variance[high, q] < 0.0:
                    lower[p, 2 + q, 0] = lower[p, 2 + q, 1] = 0.0
                if variance[low, q] < 0.0:
                    lower[p, 0, 2 + q] = lower[p, 1, 2 + q] = 0.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def invert(block: Any, inverse: Any, work: Any, least_pivot: float) -> bool:
    """Inverse of a symmetric 4x4 block, scaled to ones and fully pivoted by rows; False if it has none."""
    scale = np.empty(4)
    for i in range(4):
        largest = 0.0
        for j in range(4):
            largest = max(largest, abs(block[i, j]))
        scale[i] = 1.0 / math.sqrt(largest) if largest > 0.0 else 1.0
    for _ in range(2):
        for i in range(4):
            largest = 0.0
            for j in range(4):
                largest = max(largest, abs(block[i, j]) * scale[i] * scale[j])
            if largest > 0.0:
                scale[i] /= math.sqrt(largest)
    for i in range(4):
        for j in range(4):
            work[i, j] = block[i, j] * scale[i] * scale[j]
            work[i, 4 + j] = 1.0 if i == j else 0.0
    regular = True
    for c in range(4):
        best = c
        for i in range(c + 1, 4):
            if abs(work[i, c]) > abs(work[best, c]):
                best = i
        if not abs(work[best, c]) > least_pivot:
            regular = False
            work[best, c] = 1.0
        if best != c:
            for j in range(8):
                work[c, j], work[best, j] = work[best, j], work[c, j]
        pivot = 1.0 / work[c, c]
        for j in range(8):
            work[c, j] *= pivot
        for i in range(4):
            if i != c:
                factor = work[i, c]
                for j in range(8):
                    work[i, j] -= factor * work[c, j]
    for i in range(4):
        for j in range(i + 1):
            value = 0.5 * (work[i, 4 + j] + work[j, 4 + i]) * scale[i] * scale[j]
            inverse[i, j] = value
            inverse[j, i] = value
    return regular


@njit(cache=True)  # type: ignore[untyped-decorator]
def flush(block: Any, size: Any) -> None:
    """Set to nothing what is left of a block by roundoff: entries negligible beside the terms they are made of."""
    for x in range(4):
        for y in range(4):
            if abs(block[x, y]) < ROUNDOFF * size[x, y]:
                block[x, y] = 0.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def factorise(
    start: Any,
    rows: Any,
    begin: Any,
    at: Any,
    diagonal: Any,
    lower: Any,
    inverse: Any,
    failed: Any,
    least_pivot: float,
    size: Any,
) -> int:
    """Block factors in place: ``lower`` becomes L, ``inverse`` that of the block diagonal.

    Marks in ``failed`` the buses whose pivot block, scaled to ones, has a pivot below ``least_pivot``; counts them.
    ``size`` of the shape of ``diagonal`` (or of length 0) takes the sums of the absolute terms: with it, pivots that
    are made of roundoff are none.
    """
    n = len(diagonal)
    certain = len(size) > 0
    widest = 0
    for k in range(n):
        widest = max(widest, start[k + 1] - start[k])
        if certain:
            for x in range(4):
                for y in range(4):
                    size[k, x, y] = abs(diagonal[k, x, y])
    before = np.empty((widest, 4, 4))
    work = np.empty((4, 8))
    count = 0
    for k in range(n):
        if certain:
            flush(diagonal[k], size[k])
        failed[k] = not invert(diagonal[k], inverse[k], work, least_pivot)
        count += failed[k]
        s, m = start[k], start[k + 1] - start[k]
        d = inverse[k]
        for a in range(m):
            block, kept = lower[s + a], before[a]
            for x in range(4):
                for y in range(4):
                    kept[x, y] = block[x, y]
            for x in range(4):
                for y in range(4):
                    block[x, y] = (
                        kept[x, 0] * d[0, y] + kept[x, 1] * d[1, y] + kept[x, 2] * d[2, y] + kept[x, 3] * d[3, y]
                    )
        q = begin[k]
        for a in range(m):
            factor = lower[s + a]
            for b in range(a + 1):
                if b == a:
                    goal = diagonal[rows[s + a]]
                else:
                    goal = lower[at[q]]
                    q += 1
                kept = before[b]
                for x in range(4):
                    for y in range(4):
                        goal[x, y] -= (
                            factor[x, 0] * kept[y, 0]
                            + factor[x, 1] * kept[y, 1]
                            + factor[x, 2] * kept[y, 2]
                            + factor[x, 3] * kept[y, 3]
                        )
                if certain and a == b:
                    goal = size[rows[s + a]]
                    for x in range(4):
                        for y in range(4):
                            for c in range(4):
                                for e in range(4):
                                    goal[x, y] += abs(kept[x, c] * d[c, e] * kept[y, e])
    return count


@njit(cache=True)  # type: ignore[untyped-decorator]
def solve(start: Any, rows: Any, lower: Any, inverse: Any, right: Any) -> None:
    """Replace ``right`` (n, 4) by the solution."""
    n = len(inverse)
    for k in range(n):
        y = right[k]
        for p in range(start[k], start[k + 1]):
            block, goal = lower[p], right[rows[p]]
            for x in range(4):
                goal[x] -= block[x, 0] * y[0] + block[x, 1] * y[1] + block[x, 2] * y[2] + block[x, 3] * y[3]
    for k in range(n - 1, -1, -1):
        d, y = inverse[k], right[k]
        y0, y1, y2, y3 = y[0], y[1], y[2], y[3]
        for x in range(4):
            y[x] = d[x, 0] * y0 + d[x, 1] * y1 + d[x, 2] * y2 + d[x, 3] * y3
        for p in range(start[k], start[k + 1]):
            block, given = lower[p], right[rows[p]]
            for x in range(4):
                y[x] -= (
                    block[0, x] * given[0] + block[1, x] * given[1] + block[2, x] * given[2] + block[3, x] * given[3]
                )


@njit(cache=True)  # type: ignore[untyped-decorator]
def sparse_inverse(
    start: Any, rows: Any, begin: Any, at: Any, lower: Any, inverse: Any, z_diagonal: Any, z_lower: Any
) -> None:
    """The inverse of the factorised matrix on the pattern of its factor (Takahashi, Fagan and Chen 1973)."""
    n = len(inverse)
    for k in range(n - 1, -1, -1):
        s, m = start[k], start[k + 1] - start[k]
        z_lower[s : s + m] = 0.0
        q = begin[k]
        for a in range(m):
            goal_a = z_lower[s + a]
            for b in range(a + 1):
                goal_b = z_lower[s + b]
                z = z_diagonal[rows[s + a]] if b == a else z_lower[at[q]]
                factor_a, factor_b = lower[s + a], lower[s + b]
                for x in range(4):
                    for y in range(4):
                        for c in range(4):
                            goal_a[x, y] -= z[x, c] * factor_b[c, y]
                if b != a:
                    q += 1
                    for x in range(4):
                        for y in range(4):
                            for c in range(4):
                                goal_b[x, y] -= z[c, x] * factor_a[c, y]
        goal = z_diagonal[k]
        for x in range(4):
            for y in range(4):
                goal[x, y] = inverse[k, x, y]
        for a in range(m):
            z, factor = z_lower[s + a], lower[s + a]
            for x in range(4):
                for y in range(4):
                    for c in range(4):
                        goal[x, y] -= z[c, x] * factor[c, y]


@njit(cache=True)  # type: ignore[untyped-decorator]
def predicted_variances(
    u: Any,
    angle: Any,
    bus_from: Any,
    bus_to: Any,
    position: Any,
    admittance: Any,
    direction: Any,
    z_diagonal: Any,
    z_lower: Any,
    flow_weight: Any,
    current_weight: Any,
    flow_variance: Any,
    current_variance: Any,
) -> None:
    """Variances of the estimated flows and currents that are measured, from the covariance of the state."""
    h = np.empty((3, 4))
    z = np.empty((4, 4))
    for e in range(len(bus_from)):
        for end in range(2):
            a, b = (bus_from[e], bus_to[e]) if end == 0 else (bus_to[e], bus_from[e])
            asked = flow_weight[e, end, 0] + flow_weight[e, end, 1] + current_weight[e, end]
            if a < 0 or asked == 0.0:
                continue
            at_a = math.exp(u[a]) * complex(math.cos(angle[a]), math.sin(angle[a]))
            at_b = math.exp(u[b]) * complex(math.cos(angle[b]), math.sin(angle[b]))
            i_own, i_other = admittance[e, 3 * end] * at_a, admittance[e, 1 + end] * at_b
            m_own, m_other = at_a * i_own.conjugate(), at_a * i_other.conjugate()
            s = m_own + m_other
            towards = direction[e, end].conjugate()
            c_own, c_other = towards * i_own, towards * i_other
            h[0, 0], h[0, 1] = s.real + m_own.real, -m_other.imag
            h[1, 0], h[1, 1] = s.imag + m_own.imag, m_other.real
            h[0, 2], h[0, 3] = m_other.real, m_other.imag
            h[1, 2], h[1, 3] = m_other.imag, -m_other.real
            h[2, 0], h[2, 1], h[2, 2], h[2, 3] = c_own.real, -c_own.imag, c_other.real, -c_other.imag
            p = position[e]
            z[:] = 0.0
            for x in range(2):
                for y in range(2):
                    z[x, y] = z_diagonal[a, x, y]
                    if p >= 0:
                        z[2 + x, 2 + y] = z_diagonal[b, x, y]
                        value = z_lower[p, x, y] if a > b else z_lower[p, y, x]
                        z[x, 2 + y] = value
                        z[2 + y, x] = value
            for m in range(3):
                total = 0.0
                for x in range(4):
                    for y in range(4):
                        total += h[m, x] * z[x, y] * h[m, y]
                if m < 2:
                    flow_variance[e, end, m] = total
                else:
                    current_variance[e, end] = total
