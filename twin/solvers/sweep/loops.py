"""Loops: the currents that close them, by a small dense system over the paths between their ends and the sources.

Compensation after Shirmohammadi et al., IEEE Trans. Power Syst. 3 (1988) 753, exact in every iteration. Compiled. Not
for what makes the currents: see :mod:`twin.solvers.sweep.meshed`.
"""

from __future__ import annotations

import math
from typing import Any

from twin.solvers.sweep.arrays import Branches, Complexes, Flow, Grid, Loops, Spine, Tree
from twin.solvers.sweep.compiling import inner


@inner
def inverse(q: complex) -> complex:
    """One over ``q``, without the care that very large and very small numbers would need."""
    return q.conjugate() * (1.0 / (q.real * q.real + q.imag * q.imag))


@inner
def turn_ratios(grid: Grid, branches: Branches, tree: Tree, loops: Loops) -> None:
    """The ratios of the closing branches, with the phase that is left over around each loop."""
    for k in range(tree.size[1]):
        one, two = loops.end_from[k], loops.end_to[k]
        b = loops.closing[k]
        hours = (grid.clock[b] + tree.clock[one] - tree.clock[two]) % 12
        turn = grid.source_angle_rad[tree.root[two]] - grid.source_angle_rad[tree.root[one]] + hours * (math.pi / 6)
        loops.ratio[k] = branches.ratio[b] * complex(math.cos(turn), math.sin(turn))


@inner
def loop_equations(branches: Branches, tree: Tree, flow: Flow, loops: Loops) -> None:
    """What a current of 1 pu in each loop changes at the ends of all loops, factorised."""
    n = tree.size[1]
    spine = Spine(tree.size, tree.position, tree.parent)
    for k in range(n):
        loops.i[:n] = 0.0
        loops.i[k] = 1.0
        draw_loop_currents(spine, flow, loops)
        path_voltages(spine, flow, loops, loops.path_j, 0.0)
        for m in range(n):
            loops.z[m, k] = -gap(loops, m)
        loops.z[k, k] += branches.z[loops.closing[k]]
    _factorise(loops.z, loops.pivot, n)


@inner
def gap(loops: Loops, k: int) -> complex:
    """The voltage across the open end of loop ``k``."""
    gap: complex = inverse(loops.ratio[k]) * loops.path_v[loops.end_from[k]] - loops.path_v[loops.end_to[k]]
    return gap


@inner
def draw_loop_currents(tree: Spine, flow: Flow, loops: Loops) -> None:
    """Add up the loop currents from their ends to the sources, in ``path_j``."""
    a, j, n = flow.a, loops.path_j, loops.path_size[0]
    j[0] = 0.0
    for m in range(n):
        j[loops.path[m]] = 0.0
    for k in range(tree.size[1]):
        j[loops.end_from[k]] += loops.i[k] * inverse(loops.ratio[k].conjugate())
        j[loops.end_to[k]] -= loops.i[k]
    for m in range(n - 1, -1, -1):
        i = loops.path[m]
        j[tree.parent[i]] += a[i] * j[i]


@inner
def path_voltages(tree: Spine, flow: Flow, loops: Loops, j: Complexes, top: float) -> None:
    v = loops.path_v
    v[0] = top
    for m in range(loops.path_size[0]):
        i = loops.path[m]
        v[i] = flow.a[i] * v[tree.parent[i]] - flow.w[i] * j[i]


@inner
def _factorise(matrix: Complexes, pivot: Any, n: int) -> None:
    """LU with row pivots, in place."""
    for c in range(n):
        best = c
        for r in range(c + 1, n):
            if abs(matrix[r, c]) > abs(matrix[best, c]):
                best = r
        pivot[c] = best
        for k in range(n):
            matrix[c, k], matrix[best, k] = matrix[best, k], matrix[c, k]
        per_pivot = inverse(matrix[c, c])
        for r in range(c + 1, n):
            matrix[r, c] *= per_pivot
            for k in range(c + 1, n):
                matrix[r, k] -= matrix[r, c] * matrix[c, k]


@inner
def substitute(matrix: Complexes, pivot: Any, n: int, x: Complexes) -> None:
    for c in range(n):
        x[c], x[pivot[c]] = x[pivot[c]], x[c]
    for r in range(n):
        for k in range(r):
            x[r] -= matrix[r, k] * x[k]
    for r in range(n - 1, -1, -1):
        for k in range(r + 1, n):
            x[r] -= matrix[r, k] * x[k]
        x[r] *= inverse(matrix[r, r])
