"""What is linear is eliminated exactly, once a topology: impedances, shunts, charging, taps, loop closures. Compiled.

Along a tree branch with series impedance z, below which the network draws ``i = y v + j``, holds
``v = (v_parent / ratio - z j) / (1 + z y)``. Not for demand.
"""

from __future__ import annotations

import math

from twin.network.model import Floats
from twin.solvers.sweep.arrays import Branches, Complexes, Drops, Flow, Grid, Loops, Positions, Tree
from twin.solvers.sweep.compiling import compiled, inner
from twin.solvers.sweep.loops import inverse, loop_equations, turn_ratios


@compiled
def eliminate(grid: Grid, branches: Branches, tree: Tree, flow: Flow, drops: Drops, loops: Loops) -> None:
    """The coefficients of the passes, for the present order and taps, and the loop equations or the drops without."""
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
        _relate(parent, a, w, drops.given, tree.size[0])


@inner
def _node_admittances(grid: Grid, branches: Branches, tree: Tree, y: Complexes) -> None:
    """Shunts and the halves of the branches; what is at dead nodes gathers at the unused position 0."""
    node_at, at_node = tree.node, branches.at_node
    for i in range(1, tree.size[0] + 1):
        y[i] = at_node[node_at[i]]
    for k in range(grid.shunt_node.size):
        y[tree.position[grid.shunt_node[k]]] += grid.shunt_y[grid.shunt_node[k]]
    for k in range(tree.size[2]):
        b = tree.opened[k]
        one, two = tree.position[grid.branch_from[b]], tree.position[grid.branch_to[b]]
        squared = branches.per_ratio[b] * branches.per_ratio[b]
        y[one] += ((branches.open_end[b] if tree.from_on[b] and not tree.to_on[b] else 0j) - branches.half[b]) * squared
        y[two] += (branches.open_end[b] if tree.to_on[b] and not tree.from_on[b] else 0j) - branches.half[b]
    y[0] = 0.0


@inner
def _relate(parent: Positions, a: Complexes, w: Complexes, given: Floats, n: int) -> None:
    """Make ``a`` the voltages without demand and relate the impedances ``w`` to them: then all transfer is 1 to 1."""
    v_idle, cosine, sine = given[0], given[1], given[2]
    a[0] = 1.0
    v_idle[0], cosine[0], sine[0] = 0.0, 1.0, 0.0
    for i in range(1, n + 1):
        idle = a[i] * a[parent[i]]
        a[i] = idle
        squared = idle.real * idle.real + idle.imag * idle.imag
        per_squared = 1.0 / squared
        c = (idle.real * idle.real - idle.imag * idle.imag) * per_squared
        s = 2.0 * idle.real * idle.imag * per_squared
        v_idle[i], cosine[i], sine[i] = squared, c, s
        w[i] = w[i] * complex(c, -s) * per_squared
    for i in range(1, n + 1):
        v_idle[i] = math.sqrt(v_idle[i])
