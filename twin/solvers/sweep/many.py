"""Many cases in one compiled call, each as if it were solved alone."""

from __future__ import annotations

from typing import Any

from twin.network.model import Bools, Floats
from twin.solvers.sweep import meshed, radial
from twin.solvers.sweep.arrays import Branches, Demand, Drops, Flow, Grid, Loops, Points, Spine, Tree
from twin.solvers.sweep.compiling import compiled, inner
from twin.solvers.sweep.elimination import eliminate
from twin.solvers.sweep.ordering import SOLVABLE, order
from twin.solvers.sweep.reporting import angles_radial, report_meshed, report_radial

_solve_meshed, _solve_radial = meshed.solve, radial.solve


@compiled
def solve_block(
    grid: Grid,
    branches: Branches,
    tree: Tree,
    flow: Flow,
    drops: Drops,
    loops: Loops,
    state: Floats,
    closed: Bools,
    p_kw: Floats,
    q_kvar: Floats,
    generation_kw: Floats,
    generation_kvar: Floats,
    tolerance_pu: float,
    limit: int,
    least_v_pu: float,
    v_pu: Floats,
    energised: Bools,
    angle_rad: Floats,
    at_branches: Floats,
    solved: Bools,
) -> None:
    """One case a row, each as order, elimination, solution and report by themselves would have it.

    Inputs of one row hold for all cases. ``at_branches`` without rows leaves angles and branches out.
    """
    status = -1
    last = 0
    for r in range(v_pu.shape[0]):
        c = _row(closed, r)
        if status < 0 or not _same(closed, c, last):
            status = order(grid, closed[c], tree, loops)
            if status == SOLVABLE:
                eliminate(grid, branches, tree, flow, drops, loops)
            last = c
        demand = Demand(
            p_kw[_row(p_kw, r)],
            q_kvar[_row(q_kvar, r)],
            generation_kw[_row(generation_kw, r)],
            generation_kvar[_row(generation_kvar, r)],
        )
        solved[r] = status == SOLVABLE and _solve(
            grid, tree, flow, drops, loops, state, demand, tolerance_pu, limit, least_v_pu, v_pu[r], energised[r]
        )
        if solved[r] and at_branches.shape[0] > 0:
            _report(grid, branches, tree, flow, drops, loops, state, angle_rad[r], at_branches[r])


@inner
def _solve(
    grid: Grid,
    tree: Tree,
    flow: Flow,
    drops: Drops,
    loops: Loops,
    state: Floats,
    demand: Demand,
    tolerance_pu: float,
    limit: int,
    least_v_pu: float,
    v_pu: Floats,
    energised: Bools,
) -> bool:
    if tree.size[1] > 0:
        points = Points(
            grid.load_node,
            grid.load_shares,
            grid.generator_node,
            grid.generator_set,
            grid.generator_low,
            grid.generator_high,
        )
        spine = Spine(tree.size, tree.position, tree.parent)
        return bool(_solve_meshed(points, spine, flow, loops, demand, tolerance_pu, limit, least_v_pu, v_pu, energised))
    return bool(
        _solve_radial(
            tree.size[0],
            tree.parent,
            tree.position,
            tree.load_at,
            grid.load_shares,
            tree.generator_at,
            flow.w,
            drops.given,
            drops.work,
            state,
            demand,
            tolerance_pu,
            limit,
            least_v_pu,
            v_pu,
            energised,
        )
    )


@inner
def _report(
    grid: Grid,
    branches: Branches,
    tree: Tree,
    flow: Flow,
    drops: Drops,
    loops: Loops,
    state: Floats,
    angle_rad: Floats,
    at_branches: Floats,
) -> None:
    if tree.size[1] > 0:
        report_meshed(grid, branches, tree, flow, loops, angle_rad, at_branches)
    else:
        angles_radial(grid, tree, flow.a, flow.w, state, flow.v, angle_rad)
        report_radial(grid, branches, tree, flow.y, drops.given, state, at_branches)


@inner
def _row(table: Any, r: int) -> int:
    return 0 if table.shape[0] == 1 else r


@inner
def _same(closed: Bools, one: int, two: int) -> bool:
    if one == two:
        return True
    return bool((closed[one] == closed[two]).all())
