"""The order in which buses are eliminated, and the entries that the factors get by it.

Minimum degree, equals in the order in which they got it: all ends of a network first, then what they leave, so
that buses that follow each other seldom wait for each other. Once a set of bus couplers, not on the hot path.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from twin.network.model import Bools, Ints
from twin.solvers.direct.arrays import Pattern
from twin.solvers.state_estimation.kernels import positions, symbolic, targets
from twin.solvers.sweep.arrays import Grid
from twin.solvers.sweep.compiling import compiled, inner


def pattern_of(grid: Grid, closed: Bools) -> Pattern:
    """The pattern under the present states of the bus couplers."""
    group, n = _groups(grid, closed)
    one, two = group[grid.branch_from], group[grid.branch_to]
    pairs = np.unique(np.stack([np.minimum(one, two), np.maximum(one, two)], axis=1)[one != two], axis=0)
    order = _minimum_degree(n, *(np.ascontiguousarray(pairs[:, k]).astype(np.int64) for k in range(2)))
    place = np.empty(n, dtype=np.int32)
    place[order] = np.arange(n, dtype=np.int32)
    ends = np.sort(place[pairs], axis=1) if len(pairs) else np.zeros((0, 2), dtype=np.int32)
    ends = ends[np.lexsort((ends[:, 1], ends[:, 0]))].astype(np.int64)
    start, row = symbolic(n, np.ascontiguousarray(ends[:, 0]), np.ascontiguousarray(ends[:, 1]))
    bus = place[group]
    at = positions(start, row, bus[grid.branch_from], bus[grid.branch_to])
    return Pattern(bus, start, row, at, *targets(n, start, row))


def _groups(grid: Grid, closed: Bools) -> tuple[Ints, int]:
    """The bus of each node, numbered by its lowest node, and how many there are."""
    n = len(grid.branch_start) - 1
    group = np.arange(n, dtype=np.int32)
    _join(group, grid.link_start, grid.link_switch, grid.link_node, closed)
    lowest, of_node = np.unique(group, return_inverse=True)
    return of_node.astype(np.int32), len(lowest)


@compiled
def _join(group: Any, start: Any, switch: Any, other: Any, closed: Any) -> None:
    """Lower ``group`` to the lowest node that closed couplers join to each."""
    queue = np.empty(group.size, dtype=np.int64)
    for node in range(group.size):
        if group[node] != node:
            continue
        queue[0] = node
        tail = 1
        here = 0
        while here < tail:
            one = queue[here]
            for k in range(start[one], start[one + 1]):
                two = other[k]
                if closed[switch[k]] and group[two] > node:
                    group[two] = node
                    queue[tail] = two
                    tail += 1
            here += 1


@compiled
def _minimum_degree(n: int, one: Any, two: Any) -> Any:
    """The buses in the order of elimination, for pairs of neighbours."""
    at = np.zeros(n, dtype=np.int64)
    size = np.zeros(n, dtype=np.int64)
    for e in range(one.size):
        size[one[e]] += 1
        size[two[e]] += 1
    tail = 0
    for k in range(n):
        at[k] = tail
        tail += size[k]
        size[k] = 0
    pool = np.empty(max(4 * tail, 64), dtype=np.int64)
    for e in range(one.size):
        a, b = one[e], two[e]
        pool[at[a] + size[a]] = b
        pool[at[b] + size[b]] = a
        size[a] += 1
        size[b] += 1
    following = np.full(n, -1, dtype=np.int64)
    before = np.full(n, -1, dtype=np.int64)
    first = np.full(n + 1, -1, dtype=np.int64)
    last = np.full(n + 1, -1, dtype=np.int64)
    for k in range(n):
        _queue_up(k, size[k], first, last, following, before)
    order = np.empty(n, dtype=np.int64)
    mark = np.full(n, -1, dtype=np.int64)
    degree = 0
    stamp = 0
    for step in range(n):
        while first[degree] < 0:
            degree += 1
        k = first[degree]
        _leave(k, degree, first, last, following, before)
        order[step] = k
        for p in range(at[k], at[k] + size[k]):
            i = pool[p]
            if tail + size[i] + size[k] > pool.size:
                larger = np.empty(2 * (pool.size + n), dtype=np.int64)
                larger[:tail] = pool[:tail]
                pool = larger
            _leave(i, size[i], first, last, following, before)
            begin = tail
            stamp += 1
            mark[i] = stamp
            mark[k] = stamp
            for source in (i, k):
                for q in range(at[source], at[source] + size[source]):
                    j = pool[q]
                    if mark[j] != stamp:
                        mark[j] = stamp
                        pool[tail] = j
                        tail += 1
            at[i] = begin
            size[i] = tail - begin
            _queue_up(i, size[i], first, last, following, before)
            degree = min(degree, size[i])
    return order


@inner
def _queue_up(k: Any, degree: Any, first: Any, last: Any, following: Any, before: Any) -> None:
    following[k] = -1
    before[k] = last[degree]
    if last[degree] >= 0:
        following[last[degree]] = k
    else:
        first[degree] = k
    last[degree] = k


@inner
def _leave(k: Any, degree: Any, first: Any, last: Any, following: Any, before: Any) -> None:
    if before[k] >= 0:
        following[before[k]] = following[k]
    else:
        first[degree] = following[k]
    if following[k] >= 0:
        before[following[k]] = before[k]
    else:
        last[degree] = before[k]
