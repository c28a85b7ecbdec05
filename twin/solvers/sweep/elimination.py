"""What is linear is eliminated exactly, once a topology: impedances, shunts, charging, taps, loop closures. Compiled.

Along a tree branch with series impedance z, below which the network draws ``i = y v + j``, holds
``v = (v_parent / ratio - z j) / (1 + z y)``. Not for demand.
"""

from __future__ import annotations

import math

from twin.solvers.sweep.arrays import Branches, Complexes, Drops, Flow, Grid, Loops, Tree
from twin.solvers.sweep.compiling import compiled, inner
from twin.solvers.sweep.loops import inverse, loop_equations, turn_ratios


@compiled
def eliminate(grid: Grid, branches: Branches, tree: Tree, flow: Flow, drops: Drops, loops: Loops) -> None:
    """The coefficients of the passes and the loop equations, for the present order and taps."""
    y, a, w = flow.y, flow.a, flow.w
    node_at, parent, branch = tree.node, tree.parent, tree.branch
    branch_to, z_of, per_ratio_of, ratio_of = grid.branch_to, branches.z, branches.per_ratio, branches.ratio
    _node_admittances(grid, branches, tree, y)
    for i in range(tree.size[0], 0, -1):
        b = branch[i]
        z = 0j
        per_ratio = 1.0
        if b >= 0:
            if branch_to[b] == node_at[i]:
                z = z_of[b]
                per_ratio = per_ratio_of[b]
            else:
                per_ratio = ratio_of[b]
                z = per_ratio * per_ratio * z_of[b]
        elif parent[i] == 0:
            per_ratio = grid.source_v_pu[tree.root[i]]
        d = inverse(1.0 + z * y[i])
        a[i] = d * per_ratio
        w[i] = z * d
        y[parent[i]] += (per_ratio * per_ratio) * (d * y[i])
    if tree.size[1] > 0:
        turn_ratios(grid, branches, tree, loops)
        loop_equations(branches, tree, flow, loops)
    else:
        _relate(tree, flow, drops)


@inner
def _node_admittances(grid: Grid, branches: Branches, tree: Tree, y: Complexes) -> None:
    """Shunts and the halves of the branches; those of dead nodes gather at the unused position 0."""
    node_at, shunt_y, at_node = tree.node, grid.shunt_y, branches.at_node
    for i in range(1, tree.size[0] + 1):
        y[i] = shunt_y[node_at[i]] + at_node[node_at[i]]
    y[0] = 0.0
    for k in range(tree.size[2]):
        b = tree.opened[k]
        one, two = tree.position[grid.branch_from[b]], tree.position[grid.branch_to[b]]
        squared = branches.per_ratio[b] * branches.per_ratio[b]
        y[one] += ((branches.open_end[b] if tree.from_on[b] and not tree.to_on[b] else 0j) - branches.half[b]) * squared
        y[two] += (branches.open_end[b] if tree.to_on[b] and not tree.from_on[b] else 0j) - branches.half[b]


@inner
def _relate(tree: Tree, flow: Flow, drops: Drops) -> None:
    """Relate impedances to the voltages without demand, which ``flow.v`` takes up: then all transfer is one to one."""
    parent, a, w, idle = tree.parent, flow.a, flow.w, flow.v
    r, x, v_idle, cosine, sine = drops.given[0], drops.given[1], drops.given[2], drops.given[3], drops.given[4]
    n = tree.size[0]
    idle[0] = 1.0
    for i in range(1, n + 1):
        idle[i] = a[i] * idle[parent[i]]
    for i in range(1, n + 1):
        squared = idle[i].real * idle[i].real + idle[i].imag * idle[i].imag
        v_idle[i] = math.sqrt(squared)
        per_squared = 1.0 / squared
        c = (idle[i].real * idle[i].real - idle[i].imag * idle[i].imag) * per_squared
        s = 2.0 * idle[i].real * idle[i].imag * per_squared
        cosine[i], sine[i] = c, s
        r[i] = (w[i].real * c + w[i].imag * s) * per_squared
        x[i] = (w[i].imag * c - w[i].real * s) * per_squared
    v_idle[0], cosine[0], sine[0] = 0.0, 1.0, 0.0
