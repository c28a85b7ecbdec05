"""The equations of one topology: ordering, pattern, factors. Values change in place, the pattern stays.

The factors are blocks without exchange of buses, ordered for little fill. Where a bus has no pivot of its own (it
is determined by its neighbour's measurement alone), it moves behind that neighbour; where that does not help either,
SuperLU with exchange takes over, which is slower but needs no luck.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import splu

from twin.network.model import Bools, Floats, Ints

Longs = NDArray[np.int64]

_CHUNK = 256

LEAST_PIVOT = 1e-13
"""Of a 4x4 block scaled to ones: a smaller pivot is none."""

_CERTAIN_PIVOT = 1e-9


def elimination_order(n: int, low: Ints, high: Ints, behind: list[list[int]]) -> Ints:
    """Position of each bus: minimum degree, where the buses of each list of ``behind`` stay together in their order."""
    group = np.arange(n)
    rank = np.zeros(n, dtype=np.int64)
    for members in behind:
        group[members] = members[0]
        rank[members] = np.arange(len(members))
    leaders, contracted = np.unique(group, return_inverse=True)
    m = len(leaders)
    a, b = contracted[low], contracted[high]
    apart = a != b
    a, b = a[apart], b[apart]
    size = np.ones(len(a))
    graph = coo_array((size, (a, b)), shape=(m, m))
    weight = np.bincount(a, minlength=m) + np.bincount(b, minlength=m) + 1.0
    matrix = csc_array(coo_array((weight, (np.arange(m), np.arange(m))), shape=(m, m)) - graph - graph.T)
    perm = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).perm_c
    order = np.lexsort((rank, perm[contracted]))
    position = np.empty(n, dtype=np.int32)
    position[order] = np.arange(n, dtype=np.int32)
    return position


class Factor:
    """Pattern, values and factors of the augmented matrix for ordered buses.

    ``branch_position`` is the block of each branch, -1 for branches within one bus and dead ones.
    """

    def __init__(self, n: int, bus_from: Ints, bus_to: Ints) -> None:
        from twin.solvers.state_estimation import kernels  # late: numba takes half a second

        self.n = n
        self.kernels = kernels
        low, high = unique_pairs(bus_from, bus_to)
        self.start, self.rows = kernels.symbolic(n, low.astype(np.int64), high.astype(np.int64))
        self.begin, self.at = kernels.targets(n, self.start, self.rows)
        self.branch_position = kernels.positions(self.start, self.rows, bus_from, bus_to)
        self.diagonal = np.zeros((n, 4, 4))
        self.lower = np.zeros((len(self.rows), 4, 4))
        self.inverse = np.zeros((n, 4, 4))
        self.failed: Bools = np.zeros(n, dtype=np.bool_)
        self.exchanging = False
        self._lu: Any = None
        self._no_size = np.zeros((0, 4, 4))

    def parent(self, bus: int) -> int:
        """The bus next after ``bus`` that its elimination changes, -1 if none."""
        return int(self.rows[self.start[bus]]) if self.start[bus] < self.start[bus + 1] else -1

    def factorise(self) -> bool:
        """Factorise the values in ``diagonal`` and ``lower`` (which are used up); False if a pivot is missing."""
        return self._exchange() if self.exchanging else self._blocks(LEAST_PIVOT, self._no_size)

    def certain(self) -> bool:
        """Factorise like :meth:`factorise`; True if no pivot is anywhere near to nothing or made of roundoff."""
        return self._blocks(_CERTAIN_PIVOT, np.empty_like(self.diagonal))

    def _blocks(self, least_pivot: float, size: Floats) -> bool:
        matrix = (self.start, self.rows, self.begin, self.at, self.diagonal, self.lower)
        return not self.kernels.factorise(*matrix, self.inverse, self.failed, least_pivot, size)

    def _exchange(self) -> bool:
        column = np.repeat(np.arange(self.n), np.diff(self.start))
        bus = np.concatenate([np.arange(self.n), self.rows, column])
        other = np.concatenate([np.arange(self.n), column, self.rows])
        blocks = np.concatenate([self.diagonal, self.lower, self.lower.transpose(0, 2, 1)])
        inner = np.arange(4)
        i = np.broadcast_to(4 * bus[:, None, None] + inner[None, :, None], blocks.shape)
        j = np.broadcast_to(4 * other[:, None, None] + inner[None, None, :], blocks.shape)
        matrix = csc_array(coo_array((blocks.ravel(), (i.ravel(), j.ravel())), shape=(4 * self.n, 4 * self.n)))
        matrix.eliminate_zeros()
        try:
            self._lu = splu(matrix, permc_spec="COLAMD")
        except RuntimeError:
            return False
        return True

    def solve(self, right: Floats) -> Floats:
        """The solution for ``right`` of shape (n, 4), which may be overwritten."""
        if self.exchanging:
            return np.asarray(self._lu.solve(right.ravel())).reshape(self.n, 4)
        self.kernels.solve(self.start, self.rows, self.lower, self.inverse, right)
        return right

    def sparse_inverse(self) -> tuple[Floats, Floats]:
        """Blocks of the inverse: (diagonal, lower) in the shapes of the matrix."""
        z_diagonal, z_lower = np.empty_like(self.diagonal), np.empty_like(self.lower)
        if self.exchanging:
            self._inverse_by_columns(z_diagonal, z_lower)
        else:
            self.kernels.sparse_inverse(
                self.start, self.rows, self.begin, self.at, self.lower, self.inverse, z_diagonal, z_lower
            )
        return z_diagonal, z_lower

    def _inverse_by_columns(self, z_diagonal: Floats, z_lower: Floats) -> None:
        for first in range(0, self.n, _CHUNK):
            buses = np.arange(first, min(first + _CHUNK, self.n))
            unit = np.zeros((4 * self.n, 4 * len(buses)))
            unit[4 * first + np.arange(4 * len(buses)), np.arange(4 * len(buses))] = 1.0
            columns = self._lu.solve(unit).reshape(self.n, 4, len(buses), 4)
            for b, bus in enumerate(buses):
                z_diagonal[bus] = columns[bus, :, b, :]
                span = slice(self.start[bus], self.start[bus + 1])
                z_lower[span] = columns[self.rows[span], :, b, :]


def unique_pairs(bus_from: Ints, bus_to: Ints) -> tuple[Ints, Ints]:
    """The pairs of different buses that branches join, each once, sorted: (lower, higher)."""
    joined = (bus_from >= 0) & (bus_from != bus_to)
    low = np.minimum(bus_from[joined], bus_to[joined]).astype(np.int64)
    high = np.maximum(bus_from[joined], bus_to[joined]).astype(np.int64)
    n = int(high.max(initial=0)) + 1
    both = np.unique(low * n + high)
    return (both // n).astype(np.int32), (both % n).astype(np.int32)
