"""The order of the nodes under one set of switch states: breadth first from the sources, compiled.

Not for values: see :mod:`twin.solvers.sweep.elimination`.
"""

from __future__ import annotations

import math

from twin.network.model import Bools
from twin.solvers.sweep.arrays import MAX_LOOPS, Grid, Loops, Tree
from twin.solvers.sweep.compiling import compiled, inner

SOLVABLE, TOO_MANY_LOOPS, CONFLICTING_SOURCES = 0, 1, 2

OPEN = -1_000_000
"""In ``Tree.child``: the branch is not closed at both ends."""


@compiled
def order(grid: Grid, closed: Bools, tree: Tree, loops: Loops) -> int:
    """Put the energised nodes in breadth-first order; returns whether the sweep applies.

    Nodes joined by closed links are taken up together, so that a link never closes a loop that has an impedance
    and is never left out of one that needs it.
    """
    _connect(grid, closed, tree)
    position, node_at, parent, branch = tree.position, tree.node, tree.parent, tree.branch
    child = tree.child
    start, rows, others = grid.branch_start, grid.branch_row, grid.branch_node
    has_links = grid.link_node.size > 0
    position[:] = 0
    tail = 0
    for source in range(grid.source_node.size):
        node = grid.source_node[source]
        if position[node] == 0:
            tail += 1
            node_at[tail], position[node] = node, tail
            parent[tail], branch[tail], tree.root[tail] = 0, -1, source
            tail = _append_linked(grid, closed, tree, tail)
        elif _differ(grid, source, tree.root[_top(tree, position[node])]):
            return CONFLICTING_SOURCES
    n_loops = 0
    here = 1
    while here <= tail:
        node = node_at[here]
        for k in range(start[node], start[node + 1]):
            b = rows[k]
            if child[b] != 0:
                continue
            other = others[k]
            if position[other] != 0:
                if n_loops == MAX_LOOPS:
                    return TOO_MANY_LOOPS
                loops.closing[n_loops] = b
                n_loops += 1
                child[b] = -n_loops
                continue
            tail += 1
            node_at[tail], position[other] = other, tail
            parent[tail], branch[tail] = here, b
            child[b] = tail
            if has_links:
                tail = _append_linked(grid, closed, tree, tail)
        here += 1
    tree.size[0] = tail
    tree.size[1] = n_loops
    tree.traced[0] = False
    _place(grid, tree)
    if n_loops > 0:
        trace(grid, tree)
        _find_paths(grid, tree, loops)
    return SOLVABLE


@inner
def _place(grid: Grid, tree: Tree) -> None:
    """Where the consumers and generating units are in the order."""
    position = tree.position
    load_node, load_at = grid.load_node, tree.load_at
    for k in range(load_node.size):
        load_at[k] = position[load_node[k]]
    for k in range(grid.generator_node.size):
        tree.generator_at[k] = position[grid.generator_node[k]]


@inner
def _connect(grid: Grid, closed: Bools, tree: Tree) -> None:
    """Which branch ends are connected, and the list of the branches that are not at both."""
    from_on, to_on, child = tree.from_on, tree.to_on, tree.child
    from_on[:] = True
    to_on[:] = True
    child[:] = 0
    n = 0
    for s in range(closed.size):
        b = grid.switch_branch[s]
        if b >= 0 and not closed[s]:
            if grid.switch_side[s] == 0:
                from_on[b] = False
            else:
                to_on[b] = False
            if child[b] == 0:
                child[b] = OPEN
                tree.opened[n] = b
                n += 1
    tree.size[2] = n


@inner
def _append_linked(grid: Grid, closed: Bools, tree: Tree, tail: int) -> int:
    """Take up all nodes that closed links join to the last one."""
    here = tail
    while here <= tail:
        node = tree.node[here]
        for k in range(grid.link_start[node], grid.link_start[node + 1]):
            other = grid.link_node[k]
            if closed[grid.link_switch[k]] and tree.position[other] == 0:
                tail += 1
                tree.node[tail] = other
                tree.position[other] = tail
                tree.parent[tail] = here
                tree.branch[tail] = -1
        here += 1
    return tail


@inner
def _differ(grid: Grid, one: int, two: int) -> bool:
    same_v = grid.source_v_pu[one] == grid.source_v_pu[two]
    return not (same_v and grid.source_angle_rad[one] == grid.source_angle_rad[two])


@inner
def _top(tree: Tree, position: int) -> int:
    """The position of the source above."""
    while tree.parent[position] != 0:
        position = tree.parent[position]
    return position


@inner
def trace(grid: Grid, tree: Tree) -> None:
    """Source, clock number and turn of all positions, if they are not there yet: loops and angles alone need them."""
    if tree.traced[0]:
        return
    for i in range(1, tree.size[0] + 1):
        above, b = tree.parent[i], tree.branch[i]
        if above == 0:
            tree.clock[i] = 0
        else:
            lag = 0
            if b >= 0:
                lag = grid.clock[b] if grid.branch_to[b] == tree.node[i] else -grid.clock[b]
            tree.clock[i] = tree.clock[above] + lag
            tree.root[i] = tree.root[above]
        angle = grid.source_angle_rad[tree.root[i]] - (tree.clock[i] % 12) * (math.pi / 6)
        tree.turn[i] = angle - 2 * math.pi * math.floor(angle / (2 * math.pi) + 0.5)
    tree.traced[0] = True


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
