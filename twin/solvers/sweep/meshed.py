"""The sweep of networks with loops: backward the currents, forward the voltages, and the loops in between. Compiled.

One backward pass adds up the currents j of the demand, one forward pass gives the v of
:mod:`twin.solvers.sweep.elimination`; only the currents of the demand are iterated. The iteration starts at the
voltages without demand, so that a result depends on the present inputs alone.
"""

from __future__ import annotations

import math

from twin.network.model import Bools, Floats, Ints
from twin.solvers.sweep.arrays import BASE_KVA, Complexes, Demand, Flow, Loops, Points, Positions, Spine
from twin.solvers.sweep.compiling import compiled, inner
from twin.solvers.sweep.loops import draw_loop_currents, gap, path_voltages, substitute

CAUTION, LEAST_SQUARED_RATE = 4.0, 1e-3
"""The squared rate of convergence is taken to be so many times what the last two iterations showed, and never better
than the least: an iteration that does not converge may show any rate."""


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
        draw(tree, flow, loops)
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
def add_shunt_currents(y: Complexes, v: Complexes, j: Complexes, n: int) -> None:
    """Make ``j`` the whole current drawn from above."""
    for i in range(1, n + 1):
        j[i] += y[i] * v[i]


@inner
def draw(tree: Spine, flow: Flow, loops: Loops) -> None:
    """The currents down all branches at the present voltages, those of the loops included."""
    j, n = flow.j, tree.size[1]
    _demand_currents(flow.s, flow.v, j, tree.size[0])
    if flow.s1.size:
        _add_dependent_currents(flow.s1, flow.s2, flow.v, j, tree.size[0])
    _backward(tree.parent, flow.a, j, tree.size[0])
    if n == 0:
        return
    path_voltages(tree, flow, loops, j, 1.0)
    for k in range(n):
        loops.i[k] = gap(loops, k)
    substitute(loops.z, loops.pivot, n, loops.i)
    draw_loop_currents(tree, flow, loops)
    for m in range(loops.path_size[0]):
        i = loops.path[m]
        j[i] += loops.path_j[i]


# --- report ----------------------------------------------------------------------------------------------------


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
