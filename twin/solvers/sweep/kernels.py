"""The compiled loops of the sweep: order the nodes, eliminate, iterate, report.

All that is linear (series impedances, shunts, charging, taps, loop closures) is eliminated exactly, once a
topology; only the currents of constant-power demand are iterated. Along a tree branch with series impedance z,
below which the network draws ``i = y v + j``, holds ``v = (v_parent / ratio - z j) / (1 + z y)``: one backward pass
adds up the j, one forward pass gives the v. Loop currents follow from the voltages that their open ends would
have, by a small dense system over the paths to those ends (compensation after Shirmohammadi et al., IEEE Trans.
Power Syst. 3 (1988) 753), exactly in every iteration. The iteration starts at the voltages without
demand, so that a result depends on the present inputs alone.

Everything here lies in one file because the cache on disk is renewed by the date of the file of a function,
not of those that it calls. Not for input checks: indices and finite values are the caller's promise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numba

from twin.network.model import Bools, Floats, Ints
from twin.solvers.sweep.arrays import (
    BASE_KVA,
    MAX_LOOPS,
    Branches,
    Complexes,
    Demand,
    Flow,
    Grid,
    Loops,
    Points,
    Positions,
    Spine,
    Tree,
)

CAUTION, LEAST_SQUARED_RATE = 4.0, 1e-3
"""The squared rate of convergence is taken to be so many times what the last two iterations showed, and never better
than the least: an iteration that does not converge may show any rate."""

ARCTANGENT_LIMIT = 0.66

SOLVABLE, TOO_MANY_LOOPS, CONFLICTING_SOURCES = 0, 1, 2

_F = TypeVar("_F", bound=Callable[..., Any])


def compiled(function: _F) -> _F:
    """``function`` compiled at its first call and cached on disk, where a place to write is found at all."""
    return _jit(function, {"nogil": True, "error_model": "numpy"})


def inner(function: _F) -> _F:
    """``function`` compiled for the calls of other compiled ones alone, which saves most of its compile time."""
    wrappers = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return _jit(function, {"nogil": True, "error_model": "numpy", **wrappers})


def _jit(function: _F, options: dict[str, Any]) -> _F:
    try:
        return numba.njit(cache=True, **options)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # numba: neither beside the file nor in a folder of the user can a cache be written
        return numba.njit(**options)(function)  # type: ignore[no-any-return]


# --- order -----------------------------------------------------------------------------------------------------


@compiled
def order(grid: Grid, closed: Bools, tree: Tree, loops: Loops) -> int:
    """Put the energised nodes in breadth-first order; returns whether the sweep applies.

    Nodes joined by closed links are taken up together, so that a link never closes a loop that has an impedance
    and is never left out of one that needs it.
    """
    tree.position[:] = 0
    tree.child[:] = 0
    _connect(grid, closed, tree)
    tail = 0
    for source in range(grid.source_node.size):
        node = grid.source_node[source]
        if tree.position[node] == 0:
            tail = _append(tree, tail, node, 0, -1, 0, source)
            tail = _append_linked(grid, closed, tree, tail)
        elif _differ(grid, source, tree.root[tree.position[node]]):
            return CONFLICTING_SOURCES
    n_loops = 0
    here = 1
    while here <= tail:
        node = tree.node[here]
        for k in range(grid.branch_start[node], grid.branch_start[node + 1]):
            b = grid.branch_row[k]
            if tree.child[b] != 0 or not (tree.from_on[b] and tree.to_on[b]):
                continue
            other = grid.branch_node[k]
            if tree.position[other] != 0:
                if n_loops == MAX_LOOPS:
                    return TOO_MANY_LOOPS
                loops.closing[n_loops] = b
                n_loops += 1
                tree.child[b] = -n_loops
                continue
            lag = grid.clock[b] if grid.branch_from[b] == node else -grid.clock[b]
            tail = _append(tree, tail, other, here, b, tree.clock[here] + lag, tree.root[here])
            tree.child[b] = tail
            tail = _append_linked(grid, closed, tree, tail)
        here += 1
    tree.size[0] = tail
    tree.size[1] = n_loops
    _turn(grid, tree)
    if n_loops > 0:
        _find_paths(grid, tree, loops)
    return SOLVABLE


@inner
def _connect(grid: Grid, closed: Bools, tree: Tree) -> None:
    tree.from_on[:] = True
    tree.to_on[:] = True
    for s in range(closed.size):
        b = grid.switch_branch[s]
        if b >= 0 and not closed[s]:
            if grid.switch_side[s] == 0:
                tree.from_on[b] = False
            else:
                tree.to_on[b] = False


@inner
def _append(tree: Tree, tail: int, node: int, parent: int, branch: int, clock: int, root: int) -> int:
    tail += 1
    tree.node[tail] = node
    tree.position[node] = tail
    tree.parent[tail] = parent
    tree.branch[tail] = branch
    tree.clock[tail] = clock
    tree.root[tail] = root
    return tail


@inner
def _append_linked(grid: Grid, closed: Bools, tree: Tree, tail: int) -> int:
    """Take up all nodes that closed links join to the last one."""
    here = tail
    while here <= tail:
        node = tree.node[here]
        for k in range(grid.link_start[node], grid.link_start[node + 1]):
            other = grid.link_node[k]
            if closed[grid.link_switch[k]] and tree.position[other] == 0:
                tail = _append(tree, tail, other, here, -1, tree.clock[here], tree.root[here])
        here += 1
    return tail


@inner
def _differ(grid: Grid, one: int, two: int) -> bool:
    same_v = grid.source_v_pu[one] == grid.source_v_pu[two]
    return not (same_v and grid.source_angle_rad[one] == grid.source_angle_rad[two])


@inner
def _turn(grid: Grid, tree: Tree) -> None:
    """By how much each node leads its stored voltage, within half a turn."""
    for i in range(1, tree.size[0] + 1):
        turn = grid.source_angle_rad[tree.root[i]] - (tree.clock[i] % 12) * (math.pi / 6)
        tree.turn[i] = turn - 2 * math.pi * math.floor(turn / (2 * math.pi) + 0.5)


@inner
def _find_paths(grid: Grid, tree: Tree, loops: Loops) -> None:
    """Positions from the ends of all loops up to their sources, in order."""
    mark = loops.path
    mark[:] = 0
    for k in range(tree.size[1]):
        b = loops.closing[k]
        loops.end_from[k] = tree.position[grid.branch_from[b]]
        loops.end_to[k] = tree.position[grid.branch_to[b]]
        for end in (loops.end_from[k], loops.end_to[k]):
            here = end
            while here != 0 and mark[here] == 0:
                mark[here] = 1
                here = tree.parent[here]
    n = 0
    for i in range(1, tree.size[0] + 1):
        if mark[i]:
            loops.path[n] = i
            n += 1
    loops.path_size[0] = n


# --- eliminate -------------------------------------------------------------------------------------------------


@inner
def _inverse(q: complex) -> complex:
    return q.conjugate() * (1.0 / (q.real * q.real + q.imag * q.imag))


@compiled
def eliminate(grid: Grid, branches: Branches, tree: Tree, flow: Flow, loops: Loops) -> None:
    """The coefficients of the passes and the loop equations, for the present order and taps."""
    y, a, w = flow.y, flow.a, flow.w
    _node_admittances(grid, branches, tree, y)
    for i in range(tree.size[0], 0, -1):
        b = tree.branch[i]
        z = 0j
        per_ratio = 1.0
        if b >= 0:
            if grid.branch_to[b] == tree.node[i]:
                z = branches.z[b]
                per_ratio = branches.per_ratio[b]
            else:
                per_ratio = branches.ratio[b]
                z = per_ratio * per_ratio * branches.z[b]
        elif tree.parent[i] == 0:
            per_ratio = grid.source_v_pu[tree.root[i]]
        d = _inverse(1.0 + z * y[i])
        a[i] = d * per_ratio
        w[i] = z * d
        y[tree.parent[i]] += (per_ratio * per_ratio) * (d * y[i])
    if tree.size[1] > 0:
        _turn_ratios(grid, branches, tree, loops)
        _loop_equations(branches, tree, flow, loops)


@inner
def _node_admittances(grid: Grid, branches: Branches, tree: Tree, y: Complexes) -> None:
    """Shunts and the halves of the branches; those of dead nodes gather at the unused position 0."""
    for i in range(1, tree.size[0] + 1):
        y[i] = grid.shunt_y[tree.node[i]]
    y[0] = 0.0
    for b in range(grid.branch_from.size):
        from_on, to_on = tree.from_on[b], tree.to_on[b]
        seen = branches.half[b] if from_on and to_on else branches.open_end[b]
        if from_on:
            per_ratio = branches.per_ratio[b]
            y[tree.position[grid.branch_from[b]]] += seen * (per_ratio * per_ratio)
        if to_on:
            y[tree.position[grid.branch_to[b]]] += seen


@inner
def _turn_ratios(grid: Grid, branches: Branches, tree: Tree, loops: Loops) -> None:
    """The ratios of the closing branches, with the phase that is left over around each loop."""
    for k in range(tree.size[1]):
        one, two = loops.end_from[k], loops.end_to[k]
        b = loops.closing[k]
        hours = (grid.clock[b] + tree.clock[one] - tree.clock[two]) % 12
        turn = grid.source_angle_rad[tree.root[two]] - grid.source_angle_rad[tree.root[one]] + hours * (math.pi / 6)
        loops.ratio[k] = branches.ratio[b] * complex(math.cos(turn), math.sin(turn))


@inner
def _loop_equations(branches: Branches, tree: Tree, flow: Flow, loops: Loops) -> None:
    """What a current of 1 pu in each loop changes at the ends of all loops, factorised."""
    n = tree.size[1]
    spine = Spine(tree.size, tree.position, tree.parent)
    for k in range(n):
        loops.i[:n] = 0.0
        loops.i[k] = 1.0
        _draw_loop_currents(spine, flow, loops)
        _path_voltages(spine, flow, loops, loops.path_j, 0.0)
        for m in range(n):
            loops.z[m, k] = -_gap(loops, m)
        loops.z[k, k] += branches.z[loops.closing[k]]
    _factorise(loops.z, loops.pivot, n)


@inner
def _gap(loops: Loops, k: int) -> complex:
    """The voltage across the open end of loop ``k``."""
    gap: complex = _inverse(loops.ratio[k]) * loops.path_v[loops.end_from[k]] - loops.path_v[loops.end_to[k]]
    return gap


@inner
def _draw_loop_currents(tree: Spine, flow: Flow, loops: Loops) -> None:
    """Add up the loop currents from their ends to the sources, in ``path_j``."""
    a, j, n = flow.a, loops.path_j, loops.path_size[0]
    j[0] = 0.0
    for m in range(n):
        j[loops.path[m]] = 0.0
    for k in range(tree.size[1]):
        j[loops.end_from[k]] += loops.i[k] * _inverse(loops.ratio[k].conjugate())
        j[loops.end_to[k]] -= loops.i[k]
    for m in range(n - 1, -1, -1):
        i = loops.path[m]
        j[tree.parent[i]] += a[i] * j[i]


@inner
def _path_voltages(tree: Spine, flow: Flow, loops: Loops, j: Complexes, top: float) -> None:
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
        inverse = _inverse(matrix[c, c])
        for r in range(c + 1, n):
            matrix[r, c] *= inverse
            for k in range(c + 1, n):
                matrix[r, k] -= matrix[r, c] * matrix[c, k]


@inner
def _substitute(matrix: Complexes, pivot: Any, n: int, x: Complexes) -> None:
    for c in range(n):
        x[c], x[pivot[c]] = x[pivot[c]], x[c]
    for r in range(n):
        for k in range(r):
            x[r] -= matrix[r, k] * x[k]
    for r in range(n - 1, -1, -1):
        for k in range(r + 1, n):
            x[r] -= matrix[r, k] * x[k]
        x[r] *= _inverse(matrix[r, r])


# --- iterate ---------------------------------------------------------------------------------------------------


@compiled
def solve(
    points: Points,
    spine: Spine,
    flow: Flow,
    loops: Loops,
    demand: Demand,
    tolerance_pu: float,
    limit: int,
    least_v_pu: float,
    v_pu: Floats,
    energised: Bools,
) -> bool:
    """Solve for the demand and write the magnitudes; False if there is no solution with at least ``least_v_pu``."""
    if flow.s1.size:
        _place_dependent(points, spine, demand, flow)
    else:
        _place(points, spine, demand, flow.s)
    if not _iterate(spine, flow, loops, tolerance_pu, limit):
        return False
    return _magnitudes(spine.position, flow.v, least_v_pu, v_pu, energised)


@inner
def _place(grid: Points, tree: Spine, demand: Demand, s: Complexes) -> None:
    """Net demand of each position, conjugate, per unit; what is at dead nodes gathers at position 0."""
    s[: tree.size[0] + 1] = 0.0
    per_kva = 1.0 / BASE_KVA
    for k in range(grid.load_node.size):
        s[tree.position[grid.load_node[k]]] += complex(demand.p_kw[k] * per_kva, -demand.q_kvar[k] * per_kva)
    _place_generation(grid, tree, demand, s)


@inner
def _place_generation(grid: Points, tree: Spine, demand: Demand, s: Complexes) -> None:
    per_kva = 1.0 / BASE_KVA
    for k in range(grid.generator_node.size):
        fed = complex(demand.generation_kw[k] * per_kva, -demand.generation_kvar[k] * per_kva)
        s[tree.position[grid.generator_node[k]]] -= fed


@inner
def _place_dependent(grid: Points, tree: Spine, demand: Demand, flow: Flow) -> None:
    """Like ``_place``, by constant power, current and impedance."""
    n = tree.size[0] + 1
    flow.s[:n] = 0.0
    flow.s1[:n] = 0.0
    flow.s2[:n] = 0.0
    per_kva = 1.0 / BASE_KVA
    shares = grid.load_shares
    for k in range(grid.load_node.size):
        i = tree.position[grid.load_node[k]]
        p, q = demand.p_kw[k] * per_kva, -demand.q_kvar[k] * per_kva
        flow.s[i] += complex(p * (1.0 - shares[0, k] - shares[1, k]), q * (1.0 - shares[2, k] - shares[3, k]))
        flow.s1[i] += complex(p * shares[0, k], q * shares[2, k])
        flow.s2[i] += complex(p * shares[1, k], q * shares[3, k])
    _place_generation(grid, tree, demand, flow.s)


@inner
def _iterate(tree: Spine, flow: Flow, loops: Loops, tolerance_pu: float, limit: int) -> int:
    """Solve from the voltages without demand; returns the iterations, 0 if they did not suffice.

    It ends when the change of the next iteration, foreseen by the rate of the last two, stays within the tolerance.
    Voltages that are NaN end the iteration: the magnitudes tell.
    """
    n = tree.size[0]
    _start(tree.parent, flow.a, flow.v, n)
    enough = tolerance_pu * tolerance_pu
    before = 0.0
    for iteration in range(1, limit + 1):
        _draw(tree, flow, loops)
        largest = _forward(tree.parent, flow.a, flow.w, flow.j, flow.v, n)
        squared_rate = 1.0
        if iteration > 1:
            squared_rate = min(1.0, max(LEAST_SQUARED_RATE, CAUTION * largest / before))
        if not largest * squared_rate > enough:
            return iteration
        before = largest
    return 0


# The passes take single arrays, as out of tuples their addresses would be loaded again at every node, and the
# currents of the demand have a loop of their own, which alone depends on no other node and runs in vectors.


@inner
def _start(parent: Positions, a: Complexes, v: Complexes, n: int) -> None:
    """Voltages without demand."""
    v[0] = 1.0
    for i in range(1, n + 1):
        v[i] = a[i] * v[parent[i]]


@inner
def _demand_currents(s: Complexes, v: Complexes, j: Complexes, n: int) -> None:
    for i in range(1, n + 1):
        j[i] = s[i] * v[i] * (1.0 / (v[i].real * v[i].real + v[i].imag * v[i].imag))


@inner
def _add_dependent_currents(s1: Complexes, s2: Complexes, v: Complexes, j: Complexes, n: int) -> None:
    """Those of constant current and constant impedance."""
    for i in range(1, n + 1):
        j[i] += (s1[i] * (1.0 / math.sqrt(v[i].real * v[i].real + v[i].imag * v[i].imag)) + s2[i]) * v[i]


@inner
def _backward(parent: Positions, a: Complexes, j: Complexes, n: int) -> None:
    """Add up the currents from the ends to the sources."""
    j[0] = 0.0
    for i in range(n, 0, -1):
        j[parent[i]] += a[i] * j[i]


@inner
def _forward(parent: Positions, a: Complexes, w: Complexes, j: Complexes, v: Complexes, n: int) -> float:
    """Voltages from the sources to the ends; returns the square of the largest change."""
    largest = 0.0
    for i in range(1, n + 1):
        old = v[i]
        new = a[i] * v[parent[i]] - w[i] * j[i]
        v[i] = new
        step_re, step_im = new.real - old.real, new.imag - old.imag
        largest = max(largest, step_re * step_re + step_im * step_im)
    return largest


@inner
def _add_shunt_currents(y: Complexes, v: Complexes, j: Complexes, n: int) -> None:
    """Make ``j`` the whole current drawn from above."""
    for i in range(1, n + 1):
        j[i] += y[i] * v[i]


@inner
def _draw(tree: Spine, flow: Flow, loops: Loops) -> None:
    """The currents down all branches at the present voltages, those of the loops included."""
    j, n = flow.j, tree.size[1]
    _demand_currents(flow.s, flow.v, j, tree.size[0])
    if flow.s1.size:
        _add_dependent_currents(flow.s1, flow.s2, flow.v, j, tree.size[0])
    _backward(tree.parent, flow.a, j, tree.size[0])
    if n == 0:
        return
    _path_voltages(tree, flow, loops, j, 1.0)
    for k in range(n):
        loops.i[k] = _gap(loops, k)
    _substitute(loops.z, loops.pivot, n, loops.i)
    _draw_loop_currents(tree, flow, loops)
    for m in range(loops.path_size[0]):
        i = loops.path[m]
        j[i] += loops.path_j[i]


# --- report ----------------------------------------------------------------------------------------------------
# Gather first, then calculate along the tables without a branch, so that the processor's vectors are used.


@compiled
def report(
    grid: Grid, branches: Branches, tree: Tree, flow: Flow, loops: Loops, angle_rad: Floats, at_branches: Floats
) -> None:
    """Angles, and by branch P (kW), Q (kvar) and I (A) at the from end, the same at the to end, and the loading.

    ``flow`` holds the voltages and the demand of a solution; its currents and those of the loops are worked out anew.
    """
    _draw(Spine(tree.size, tree.position, tree.parent), flow, loops)
    _add_shunt_currents(flow.y, flow.v, flow.j, tree.size[0])
    _report_angles(tree, flow.v, angle_rad)
    _report_branches(grid, branches, tree, flow, loops, at_branches)


@inner
def _magnitudes(position: Ints, voltages: Complexes, least_v_pu: float, v_pu: Floats, energised: Bools) -> bool:
    """By node; False if an energised one has less than the least."""
    sound = True
    least = least_v_pu * least_v_pu
    for node in range(energised.size):
        i = position[node]
        v = voltages[i]
        squared = v.real * v.real + v.imag * v.imag
        sound &= squared >= least
        energised[node] = i != 0
        v_pu[node] = squared if i != 0 else 0.0
    for node in range(energised.size):
        v_pu[node] = math.sqrt(v_pu[node])
    return sound


@inner
def _report_angles(tree: Tree, voltages: Complexes, angle_rad: Floats) -> None:
    near = True
    for node in range(angle_rad.size):
        v = voltages[tree.position[node]]
        near &= abs(v.imag) < ARCTANGENT_LIMIT * v.real
        angle_rad[node] = v.imag / v.real
    for node in range(angle_rad.size):
        angle_rad[node] = _arctangent(angle_rad[node])
    for node in range(angle_rad.size):
        i = tree.position[node]
        v = voltages[i]
        angle = angle_rad[node] if near else math.atan2(v.imag, v.real)
        angle += tree.turn[i]
        if angle > math.pi:
            angle -= 2 * math.pi
        elif angle <= -math.pi:
            angle += 2 * math.pi
        angle_rad[node] = angle if i != 0 else 0.0


@inner
def _arctangent(x: float) -> float:
    """The arc tangent within the limit, good to 2e-16 (Cephes, S. L. Moshier)."""
    z = x * x
    p = -8.750608600031904122785e-1
    p = p * z - 1.615753718733365076637e1
    p = p * z - 7.500855792314704667340e1
    p = p * z - 1.228866684490136173410e2
    p = p * z - 6.485021904942025371773e1
    q = z + 2.485846490142306297962e1
    q = q * z + 1.650270098316988542046e2
    q = q * z + 4.328810604912902668951e2
    q = q * z + 4.853903996359136964868e2
    q = q * z + 1.945506571482613964425e2
    return x + x * (z * p / q)


@inner
def _report_branches(grid: Grid, branches: Branches, tree: Tree, flow: Flow, loops: Loops, out: Floats) -> None:
    p_from, q_from, i_from, p_to, q_to, i_to, loading = out[0], out[1], out[2], out[3], out[4], out[5], out[6]
    for b in range(loading.size):
        one, two = tree.position[grid.branch_from[b]], tree.position[grid.branch_to[b]]
        v_one, v_two = flow.v[one], flow.v[two]
        per_ratio = branches.per_ratio[b]
        v_seen = v_one * (per_ratio * per_ratio)
        i_one, i_two = 0j, 0j
        if tree.from_on[b] and tree.to_on[b]:
            below = tree.child[b]
            if below != 0:
                i_one, i_two = branches.half[b] * v_seen, branches.half[b] * v_two
            if below > 0:
                i = flow.j[below]
                down = below == two
                i_one += i * per_ratio if down else -i
                i_two -= i if down else -branches.ratio[b] * i
            elif below < 0:
                i = loops.i[-1 - below]
                i_one += i * _inverse(loops.ratio[-1 - below].conjugate())
                i_two -= i
        elif tree.from_on[b] and one != 0:
            i_one = branches.open_end[b] * v_seen
        elif tree.to_on[b] and two != 0:
            i_two = branches.open_end[b] * v_two
        s_one, s_two = v_one * i_one.conjugate(), v_two * i_two.conjugate()
        p_from[b], q_from[b] = s_one.real * BASE_KVA, s_one.imag * BASE_KVA
        p_to[b], q_to[b] = s_two.real * BASE_KVA, s_two.imag * BASE_KVA
        i_from[b] = i_one.real * i_one.real + i_one.imag * i_one.imag
        i_to[b] = i_two.real * i_two.real + i_two.imag * i_two.imag
    for b in range(loading.size):
        i_from[b] = math.sqrt(i_from[b]) * grid.i_from_a[b]
        i_to[b] = math.sqrt(i_to[b]) * grid.i_to_a[b]
        loading[b] = max(i_from[b] * grid.per_rating_from[b], i_to[b] * grid.per_rating_to[b])


# --- many cases ------------------------------------------------------------------------------------------------


@compiled
def solve_block(
    grid: Grid,
    branches: Branches,
    tree: Tree,
    flow: Flow,
    loops: Loops,
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
    """One case a row, each as :func:`order`, :func:`eliminate`, :func:`solve` and :func:`report` would have it.

    Inputs of one row hold for all cases. ``at_branches`` without rows leaves angles and branches out.
    """
    points = Points(
        grid.load_node,
        grid.load_shares,
        grid.generator_node,
        grid.generator_set,
        grid.generator_low,
        grid.generator_high,
    )
    spine = Spine(tree.size, tree.position, tree.parent)
    status = -1
    last = 0
    for r in range(v_pu.shape[0]):
        c = _row(closed, r)
        if status < 0 or not _same(closed, c, last):
            status = order(grid, closed[c], tree, loops)
            if status == SOLVABLE:
                eliminate(grid, branches, tree, flow, loops)
            last = c
        demand = Demand(
            p_kw[_row(p_kw, r)],
            q_kvar[_row(q_kvar, r)],
            generation_kw[_row(generation_kw, r)],
            generation_kvar[_row(generation_kvar, r)],
        )
        solved[r] = status == SOLVABLE and solve(
            points, spine, flow, loops, demand, tolerance_pu, limit, least_v_pu, v_pu[r], energised[r]
        )
        if solved[r] and at_branches.shape[0] > 0:
            report(grid, branches, tree, flow, loops, angle_rad[r], at_branches[r])


@inner
def _row(table: Any, r: int) -> int:
    return 0 if table.shape[0] == 1 else r


@inner
def _same(closed: Bools, one: int, two: int) -> bool:
    if one == two:
        return True
    return bool((closed[one] == closed[two]).all())
