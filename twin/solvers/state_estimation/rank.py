"""The numerical rank of sparse measurement rows, and which columns they leave undetermined.

Gaussian elimination with pivots chosen for size and sparsity (Markowitz). Asked only where the factors of
the estimation do not prove that everything is determined, so it is written for certainty, not for speed.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

from twin.network.model import Bools

_NOTHING = 1e-9
"""Of rows of length one: entries below this are roundoff."""

_UNDETERMINED = 1e-6
"""Of the largest entry of a vector that the rows do not see."""

_PIVOT_SHARE = 0.05
"""Of the largest entry of a column that its pivot must have."""


@dataclass(slots=True)
class _Elimination:
    rows: list[dict[int, float]]
    columns: list[dict[int, None]]
    """Rows not used yet, by column, in the order they came."""
    pivots: list[tuple[int, int]] = field(default_factory=list)
    free: list[int] = field(default_factory=list)

    def run(self) -> None:
        queue = [(len(rows), column) for column, rows in enumerate(self.columns)]
        heapq.heapify(queue)
        done: Bools = np.zeros(len(self.columns), dtype=np.bool_)
        while queue:
            count, column = heapq.heappop(queue)
            if done[column]:
                continue
            if count != len(self.columns[column]):
                heapq.heappush(queue, (len(self.columns[column]), column))
                continue
            done[column] = True
            self._eliminate(column)

    def _eliminate(self, column: int) -> None:
        holders = list(self.columns[column])
        largest = max((abs(self.rows[row][column]) for row in holders), default=0.0)
        if largest <= _NOTHING:
            for row in holders:
                del self.rows[row][column]
            self.columns[column].clear()
            self.free.append(column)
            return
        eligible = [row for row in holders if abs(self.rows[row][column]) >= _PIVOT_SHARE * largest]
        pivot = min(eligible, key=lambda row: len(self.rows[row]))
        for other in self.rows[pivot]:
            del self.columns[other][pivot]
        for row in holders:
            if row != pivot:
                self._subtract(row, pivot, column)
        self.pivots.append((pivot, column))

    def _subtract(self, row: int, pivot: int, column: int) -> None:
        given, goal = self.rows[pivot], self.rows[row]
        factor = goal[column] / given[column]
        for other, value in given.items():
            left = goal.get(other, 0.0) - factor * value
            if other != column and abs(left) > _NOTHING:
                goal[other] = left
                self.columns[other][row] = None
            elif other in goal:
                del goal[other]
                del self.columns[other][row]


def undetermined(matrix: csr_array) -> tuple[int, Bools]:
    """By how much the rank of ``matrix`` (rows of length one) falls short, and the columns concerned."""
    n = matrix.shape[1]
    starts, indices, data = matrix.indptr.tolist(), matrix.indices.tolist(), matrix.data.tolist()
    rows = [dict(zip(indices[a:b], data[a:b], strict=True)) for a, b in pairwise(starts)]
    columns: list[dict[int, None]] = [{} for _ in range(n)]
    for row, entries in enumerate(rows):
        for column in entries:
            columns[column][row] = None
    elimination = _Elimination(rows, columns)
    elimination.run()
    unseen = np.zeros(n)
    # any values do that are in no simple ratio to one another
    unseen[elimination.free] = 1.5 + np.cos(np.arange(len(elimination.free), dtype=np.float64))
    for row, column in reversed(elimination.pivots):
        entries = rows[row]
        rest = sum(value * unseen[other] for other, value in entries.items() if other != column)
        unseen[column] = -rest / entries[column]
    size = np.abs(unseen)
    return len(elimination.free), size > _UNDETERMINED * size.max(initial=0.0)
