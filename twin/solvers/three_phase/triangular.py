"""Solves with the factors of SuperLU, compiled: a third of the time of SuperLU's own solve on large circuits.

Importing this module imports numba, which takes half a second: only large circuits do.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from scipy.sparse.linalg import SuperLU

from twin.network.three_phase import Complexes


def _substitute(
    lower_at: Any,
    lower_row: Any,
    lower: Any,
    upper_at: Any,
    upper_row: Any,
    upper: Any,
    pivot_inverse: Any,
    row_order: Any,
    column_order: Any,
    right: Any,
    work: Any,
    solution: Any,
) -> None:
    """Forward and backward substitution by columns; the diagonals are first in ``lower``, last in ``upper``."""
    n = len(right)
    for i in range(n):
        work[row_order[i]] = right[i]
    for j in range(n):
        value = work[j]
        for k in range(lower_at[j] + 1, lower_at[j + 1]):
            work[lower_row[k]] -= lower[k] * value
    for j in range(n - 1, -1, -1):
        value = work[j] * pivot_inverse[j]
        work[j] = value
        for k in range(upper_at[j], upper_at[j + 1] - 1):
            work[upper_row[k]] -= upper[k] * value
    for i in range(n):
        solution[i] = work[column_order[i]]


def _jit(function: Any) -> Any:
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba: neither beside the file nor in a folder of the user can a cache be written
        return numba.njit(nogil=True)(function)


_compiled = _jit(_substitute)


class Triangular:
    """The factors of a circuit, ready for many right sides."""

    def __init__(self, factors: SuperLU) -> None:
        lower, upper = factors.L.tocsc(), factors.U.tocsc()
        lower.sort_indices()
        upper.sort_indices()
        pivot_inverse = 1.0 / upper.data[upper.indptr[1:] - 1]
        self._factors = (lower.indptr, lower.indices, lower.data, upper.indptr, upper.indices, upper.data)
        self._orders = (pivot_inverse, factors.perm_r, factors.perm_c)
        self._work = np.empty(len(pivot_inverse), dtype=np.complex128)

    def solve(self, right: Complexes) -> Complexes:
        """The solution for the right side."""
        solution = np.empty_like(self._work)
        _compiled(*self._factors, *self._orders, right, self._work, solution)
        return solution
