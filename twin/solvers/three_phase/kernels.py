"""Compiled loops of large three-phase circuits: assembly, factorisation, substitution and the fixed point.

The admittance matrix ``Y`` is complex symmetric, so that ``P Y P' = L D L'`` without pivoting, with a fixed pattern.
A passive circuit needs no pivoting; the pivots are looked at all the same. Importing this module imports numba,
which takes half a second: only large circuits do.

Source: T. A. Davis, "Algorithm 849: a concise sparse Cholesky factorization package", ACM TOMS 31 (2005), for
the up-looking factorisation along the elimination tree.
"""

from __future__ import annotations

from typing import Any

import numba


def _jit(function: Any) -> Any:
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba: neither beside the file nor in a folder of the user can a cache be written
        return numba.njit(**options)(function)


@_jit
def analyse(column_at: Any, row: Any, parent: Any, size: Any, flag: Any) -> None:
    """Elimination tree and the number of entries below the diagonal of each column of L.

    The matrix is given by the upper triangle of its columns, the diagonal apart.
    """
    for k in range(len(parent)):
        parent[k] = -1
        flag[k] = k
        size[k] = 0
        for p in range(column_at[k], column_at[k + 1]):
            i = row[p]
            while flag[i] != k:
                if parent[i] == -1:
                    parent[i] = k
                size[i] += 1
                flag[i] = k
                i = parent[i]


@_jit
def assemble(at: Any, branches: Any, slot: Any, n: Any, stiff: Any, upper: Any, diagonal: Any, impressed: Any) -> None:
    """Add the branches to the matrix, and what stiff voltages drive through them to the impressed currents.

    ``at`` ``(m, k)`` are the places of the ends, ``slot`` ``(m, k, k)`` where an entry lies in ``upper``.
    """
    m, ends = at.shape
    for b in range(m):
        for i in range(ends):
            r = at[b, i]
            if r >= n:
                continue
            for j in range(ends):
                y = branches[b, i, j]
                if y == 0:
                    continue
                c = at[b, j]
                if r == c:
                    diagonal[r] += y
                elif c >= n:
                    if c - n < len(stiff):
                        impressed[r] -= y * stiff[c - n]
                elif slot[b, i, j] >= 0:
                    upper[slot[b, i, j]] += y


@_jit
def factorise(
    column_at: Any,
    row: Any,
    upper: Any,
    diagonal: Any,
    parent: Any,
    lower_at: Any,
    lower_row: Any,
    lower: Any,
    pivot_inverse: Any,
    least: float,
) -> bool:
    """``L`` by columns and the inverse of ``D``; False if a pivot falls below ``least`` of its diagonal element."""
    n = len(parent)
    work = diagonal * 0
    flag = parent * 0
    pattern = parent * 0
    filled = parent * 0
    for k in range(n):
        top = n
        flag[k] = k
        for p in range(column_at[k], column_at[k + 1]):
            i = row[p]
            work[i] += upper[p]
            length = 0
            while flag[i] != k:
                pattern[length] = i
                length += 1
                flag[i] = k
                i = parent[i]
            while length > 0:
                top -= 1
                length -= 1
                pattern[top] = pattern[length]
        pivot = diagonal[k]
        for s in range(top, n):
            i = pattern[s]
            value = work[i]
            work[i] = 0
            end = lower_at[i] + filled[i]
            if value != 0:
                for p in range(lower_at[i], end):
                    work[lower_row[p]] -= lower[p] * value
            entry = value * pivot_inverse[i]
            pivot -= entry * value
            lower_row[end] = k
            lower[end] = entry
            filled[i] += 1
        if not abs(pivot) > least * abs(diagonal[k]):
            return False
        pivot_inverse[k] = 1 / pivot
    return True


@_jit
def substitute(lower_at: Any, lower_row: Any, lower: Any, pivot_inverse: Any, x: Any) -> None:
    """Solve in place; ``x`` may be longer than the matrix."""
    n = len(pivot_inverse)
    for j in range(n):
        value = x[j]
        if value != 0:
            for p in range(lower_at[j], lower_at[j + 1]):
                x[lower_row[p]] -= lower[p] * value
    for j in range(n - 1, -1, -1):
        value = x[j] * pivot_inverse[j]
        for p in range(lower_at[j], lower_at[j + 1]):
            value -= lower[p] * x[lower_row[p]]
        x[j] = value


@_jit
def fixed_point(
    factors: Any,
    no_load: Any,
    volts: Any,
    nominal_inverse: Any,
    plus: Any,
    minus: Any,
    shares: Any,
    base: Any,
    least: Any,
    most: Any,
    constant_power: bool,
    limits: Any,
) -> bool:
    """``V = V0 - Y^-1 C' i(C V)`` until nothing changes; False if it does not get there.

    ``volts`` holds unknown, stiff and earthed places, in elimination order, and is replaced.
    """
    lower_at, lower_row, lower, pivot_inverse = factors
    tolerance, most_iterations, checked_every, slowest = limits
    n = len(no_load)
    current = volts * 0
    checked = float("inf")
    for iteration in range(1, int(most_iterations) + 1):
        current[:] = 0
        for u in range(len(plus)):
            over = volts[plus[u]] - volts[minus[u]]
            square = over.real * over.real + over.imag * over.imag
            if constant_power:
                drawn = shares[0, u].conjugate() * (over / square)
            else:
                v = square**0.5 / base[u]
                within = min(max(v, least[u]), most[u])
                power = shares[0, u] + within * (shares[1, u] + within * shares[2, u])
                drawn = power.conjugate() / (within * base[u]) ** 2 * over
            current[plus[u]] -= drawn
            current[minus[u]] += drawn
        substitute(lower_at, lower_row, lower, pivot_inverse, current)
        change = 0.0
        for i in range(n):
            after = no_load[i] + current[i]
            moved = abs(after - volts[i]) * nominal_inverse[i]
            if not moved <= change:
                change = moved
            volts[i] = after
        if change < tolerance:
            return True
        if iteration % int(checked_every) == 0:
            if not change < checked * slowest:
                return False
            checked = change
    return False
