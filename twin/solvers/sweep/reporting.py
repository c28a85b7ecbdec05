"""Angles and branch quantities of a solution, compiled.

Gather first, then calculate along the tables without a branch, so that the processor's vectors are used.
"""

from __future__ import annotations

import math

from twin.network.model import Floats
from twin.solvers.sweep.arrays import BASE_KVA, Branches, Complexes, Flow, Grid, Loops, Spine, Tree
from twin.solvers.sweep.compiling import compiled, inner
from twin.solvers.sweep.loops import inverse
from twin.solvers.sweep.meshed import add_shunt_currents, draw
from twin.solvers.sweep.ordering import trace
from twin.solvers.sweep.radial import phasors

ARCTANGENT_LIMIT = 0.66


@compiled
def report_meshed(
    grid: Grid, branches: Branches, tree: Tree, flow: Flow, loops: Loops, angle_rad: Floats, at_branches: Floats
) -> None:
    """Angles, and by branch P (kW), Q (kvar) and I (A) at the from end, the same at the to end, and the loading.

    ``flow`` holds the voltages and the demand of a solution; its currents and those of the loops are worked out anew.
    """
    draw(Spine(tree.size, tree.position, tree.parent), flow, loops)
    add_shunt_currents(flow.y, flow.v, flow.j, tree.size[0])
    trace(grid, tree)
    _report_angles(tree, flow.v, angle_rad)
    _report_branches(grid, branches, tree, flow, loops, at_branches)


@compiled
def report_radial(
    grid: Grid, branches: Branches, tree: Tree, y: Complexes, given: Floats, state: Floats, out: Floats
) -> None:
    """The branch quantities of :func:`report_meshed` where there are no loops, from powers alone.

    The current down a branch times the conjugate voltage at its lower end is what the network below draws there; at the
    upper end the series losses come on top, and at both the branch's own shunt.
    """
    m, p, q, v_idle, cosine, sine = state[0], state[1], state[2], given[0], given[1], given[2]
    p_from, q_from, i_from, p_to, q_to, i_to = out[0], out[1], out[2], out[3], out[4], out[5]
    position, child, from_on, to_on = tree.position, tree.child, tree.from_on, tree.to_on
    branch_from, branch_to, half, z_of = grid.branch_from, grid.branch_to, branches.half, branches.z
    per_ratio_of, ratio_of = branches.per_ratio, branches.ratio
    for b in range(out.shape[1]):
        one, two = position[branch_from[b]], position[branch_to[b]]
        per_ratio = per_ratio_of[b]
        v_one = m[one] * (v_idle[one] * v_idle[one]) if one != 0 else 1.0
        v_two = m[two] * (v_idle[two] * v_idle[two]) if two != 0 else 1.0
        per_both = 1.0 / (v_one * v_two)  # one division for all that follow
        per_one, per_two = per_both * v_two, per_both * v_one
        v_seen = v_one * (per_ratio * per_ratio)
        s_one, s_two = 0j, 0j
        below = child[b]
        if below > 0:
            down = below == two
            squared, per_squared = (v_two, per_two) if down else (v_one, per_one)
            z = z_of[b] if down else z_of[b] * (ratio_of[b] * ratio_of[b])
            drawn = y[below] * squared + complex(p[below], q[below]) * complex(cosine[below], -sine[below])
            sent = drawn + z.conjugate() * ((drawn.real * drawn.real + drawn.imag * drawn.imag) * per_squared)
            s_one = half[b] * v_seen + (sent if down else -drawn)
            s_two = half[b] * v_two + (-drawn if down else sent)
        elif from_on[b] and not to_on[b] and one != 0:
            s_one = branches.open_end[b] * v_seen
        elif to_on[b] and not from_on[b] and two != 0:
            s_two = branches.open_end[b] * v_two
        p_from[b], q_from[b] = s_one.real * BASE_KVA, -s_one.imag * BASE_KVA
        p_to[b], q_to[b] = s_two.real * BASE_KVA, -s_two.imag * BASE_KVA
        i_from[b] = (s_one.real * s_one.real + s_one.imag * s_one.imag) * per_one
        i_to[b] = (s_two.real * s_two.real + s_two.imag * s_two.imag) * per_two
    _report_currents(grid, i_from, i_to, out[6])


@compiled
def angles_radial(grid: Grid, tree: Tree, a: Complexes, w: Complexes, state: Floats, v: Complexes, out: Floats) -> None:
    """Angles where there are no loops; ``v`` is room."""
    phasors(tree.parent, a, w, state, v, tree.size[0])
    trace(grid, tree)
    _report_angles(tree, v, out)


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
                i_one += i * inverse(loops.ratio[-1 - below].conjugate())
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
    _report_currents(grid, i_from, i_to, loading)


@inner
def _report_currents(grid: Grid, i_from: Floats, i_to: Floats, loading: Floats) -> None:
    """Currents and loading from squared currents per unit."""
    for b in range(loading.size):
        i_from[b] = math.sqrt(i_from[b]) * grid.i_from_a[b]
        i_to[b] = math.sqrt(i_to[b]) * grid.i_to_a[b]
        loading[b] = max(i_from[b] * grid.per_rating_from[b], i_to[b] * grid.per_rating_to[b])
