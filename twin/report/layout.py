"""Where the nodes, branches and switches of a one-line picture stand.

Pure geometry in pixels, ``y`` pointing down; the same grid always gets the same layout.
Not for drawing, and not for labels: see ``labels``.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray

from twin.report.results import Grid
from twin.report.svg import Point

MARGIN = 46.0
MAP_LIMIT = 60
"""Above this many nodes a map is unfolded: towns and open country would not fit one scale."""

UNFOLD_STEPS = 60
UNFOLD_LIMIT = 800
"""Above this many nodes a map is left as it is (unfolding costs the cube of their number)."""

PUSH_LIMIT = 1500
"""Above this many nodes crowded ones are not pushed apart (it costs the square of their number)."""


@dataclass(frozen=True)
class Layout:
    """Positions in pixels; ``paths`` in the order of the branches, ``couplers`` by row of the switch."""

    width: float
    height: float
    nodes: tuple[Point, ...]
    paths: tuple[tuple[Point, ...], ...]
    couplers: dict[int, tuple[Point, ...]]
    symbol: float


@dataclass(frozen=True, slots=True)
class Edge:
    """A way from node to node: a branch with the switches at its two ends, or a switch between two nodes."""

    start: int
    end: int
    branch: int | None
    start_switches: tuple[int, ...]
    end_switches: tuple[int, ...]


def edges_of(grid: Grid) -> tuple[Edge, ...]:
    """Branches in their order, then the switches between two nodes."""
    at_end: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, switch in enumerate(grid.switches):
        if switch.branch is not None:
            at_end[switch.branch, switch.side].append(row)
    branches = [
        Edge(b.start, b.end, row, tuple(at_end[row, 0]), tuple(at_end[row, 1])) for row, b in enumerate(grid.branches)
    ]
    couplers = [
        Edge(switch.node, switch.other_node, None, (row,), ())
        for row, switch in enumerate(grid.switches)
        if switch.branch is None and switch.other_node is not None
    ]
    return (*branches, *couplers)


def lay_out(grid: Grid, width: float = 620.0) -> Layout:
    """The layout from the grid's coordinates, or a layered tree where a node has none."""
    if all(node.x is not None and node.y is not None for node in grid.nodes) and _spread(grid):
        nodes, height = _by_coordinates(grid, width)
        tree: dict[int, int] = {}
    else:
        nodes, height, tree = _by_layers(grid, width)
    edges = edges_of(grid)
    twins: dict[tuple[int, int], int] = defaultdict(int)
    paths: list[tuple[Point, ...]] = []
    for row, edge in enumerate(edges):
        ends = (min(edge.start, edge.end), max(edge.start, edge.end))
        paths.append(_route(nodes, edge, twins[ends], tree.get(row)))
        twins[ends] += 1
    n_branches = len(grid.branches)
    couplers = {edge.start_switches[0]: paths[n_branches + i] for i, edge in enumerate(edges[n_branches:])}
    lengths = [path_length(path) for path in paths] or [60.0]
    symbol = min(max(0.13 * median(lengths), 2.4), 6.5)
    return Layout(width, height, tuple(nodes), tuple(paths[:n_branches]), couplers, symbol)


def _spread(grid: Grid) -> bool:
    return len({(node.x, node.y) for node in grid.nodes}) > 1


def _by_coordinates(grid: Grid, width: float) -> tuple[list[Point], float]:
    xy = np.array([(node.x, node.y) for node in grid.nodes], dtype=np.float64)
    if MAP_LIMIT < len(xy) <= UNFOLD_LIMIT:
        xy = _unfold(grid, xy)
    low, high = xy.min(axis=0), xy.max(axis=0)
    span = np.maximum(high - low, 1e-12)
    aspect = min(max(span[1] / span[0], 0.55), 1.15) if (high > low).all() else 0.6
    room = np.array([width - 2 * MARGIN, width * aspect - 2 * MARGIN])
    unit = (xy - low) / span
    unit[:, 1] = 1.0 - unit[:, 1]
    pixels = _push_apart(MARGIN + unit * room, 13.0 if len(xy) < 60 else 7.0)
    return [(float(x), float(y)) for x, y in pixels], width * aspect


def _unfold(grid: Grid, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evens out the lengths of the branches, starting from the map so that its orientation stays.

    Stress majorization towards hop distances, weights 1/d² (Gansner, Koren, North 2004).
    """
    hops = _hop_distances(grid)
    weight = 1.0 / np.maximum(hops, 1.0) ** 2
    np.fill_diagonal(weight, 0.0)
    laplacian = np.diag(weight.sum(axis=1)) - weight
    inverse = np.linalg.pinv(laplacian)
    xy = (xy - xy.mean(axis=0)) / np.maximum(xy.std(axis=0), 1e-12) * hops.mean() / 2
    for _ in range(UNFOLD_STEPS):
        distance = np.hypot(*(xy[:, None, :] - xy[None, :, :]).transpose(2, 0, 1))
        ratio = weight * hops / np.maximum(distance, 1e-9)
        xy = inverse @ (np.diag(ratio.sum(axis=1)) - ratio) @ xy
    return xy


def _hop_distances(grid: Grid) -> NDArray[np.float64]:
    """Branches and switches between each pair of nodes; separate islands stand the longest way apart."""
    n = len(grid.nodes)
    near: list[list[int]] = [[] for _ in range(n)]
    for edge in edges_of(grid):
        near[edge.start].append(edge.end)
        near[edge.end].append(edge.start)
    hops = np.full((n, n), -1.0)
    for origin in range(n):
        queue = deque([origin])
        hops[origin, origin] = 0.0
        while queue:
            node = queue.popleft()
            for other in near[node]:
                if hops[origin, other] < 0:
                    hops[origin, other] = hops[origin, node] + 1
                    queue.append(other)
    return np.where(hops < 0, hops.max() + 1, hops)


def _push_apart(xy: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Moves crowded nodes until they are about ``least`` px apart."""
    if not 1 < len(xy) <= PUSH_LIMIT:
        return xy
    index = np.arange(len(xy))
    fan = np.stack([np.cos(index * 2.4), np.sin(index * 2.4)], axis=1)
    for _ in range(40):
        apart = xy[:, None, :] - xy[None, :, :]
        distance = np.hypot(apart[..., 0], apart[..., 1])
        np.fill_diagonal(distance, np.inf)
        close = np.maximum(least - distance, 0.0)
        if close.max() < 0.05 * least:
            break
        direction = np.where(distance[..., None] > 1e-6, apart / np.maximum(distance, 1e-6)[..., None], fan[:, None, :])
        xy = xy + 0.5 * (close[..., None] * direction).sum(axis=1)
    return xy


def _by_layers(grid: Grid, width: float) -> tuple[list[Point], float, dict[int, int]]:
    """(positions, height, upper node of each tree edge by edge row)."""
    parent, tree, order = _spanning_tree(grid)
    children: dict[int, list[int]] = defaultdict(list)
    depth = [0] * len(grid.nodes)
    for node in order:
        if parent[node] >= 0:
            children[parent[node]].append(node)
            depth[node] = depth[parent[node]] + 1
    column = [0.0] * len(grid.nodes)
    leaves = 0
    for node in _post_order(children, [n for n in order if parent[n] < 0]):
        if children[node]:
            column[node] = (column[children[node][0]] + column[children[node][-1]]) / 2
        else:
            column[node] = float(leaves)
            leaves += 1
    levels = max(depth, default=0)
    height = min(max(58.0 * levels + 2 * MARGIN, 260.0), 760.0)
    x_step = (width - 2 * MARGIN) / max(leaves - 1, 1)
    y_step = (height - 2 * MARGIN) / max(levels, 1)
    left = MARGIN if leaves > 1 else width / 2
    return [(left + x_step * c, MARGIN + y_step * d) for c, d in zip(column, depth, strict=True)], height, tree


def _spanning_tree(grid: Grid) -> tuple[list[int], dict[int, int], list[int]]:
    """(parent of each node, upper node of each tree edge, nodes in breadth-first order); normally open ways last."""
    edges = edges_of(grid)
    ways: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for row, edge in enumerate(edges):
        ways[edge.start].append((row, edge.end))
        ways[edge.end].append((row, edge.start))
    usable = [
        all(grid.switches[s].normally_closed for s in (*edge.start_switches, *edge.end_switches)) for edge in edges
    ]
    parent, tree, order = [-1] * len(grid.nodes), {}, []
    seen: set[int] = set()
    for root in (*_roots(grid), *range(len(grid.nodes))):
        if root in seen:
            continue
        seen.add(root)
        queue = deque([root])
        while queue:
            node = queue.popleft()
            order.append(node)
            for row, other in ways[node]:
                if usable[row] and other not in seen:
                    seen.add(other)
                    parent[other], tree[row] = node, node
                    queue.append(other)
    return parent, tree, order


def _roots(grid: Grid) -> list[int]:
    """Where supply comes in: the highest voltage level if there are several, else the busbars of the heads."""
    levels = sorted({node.v_kv for node in grid.nodes if node.v_kv is not None})
    if len(levels) > 1:
        return [row for row, node in enumerate(grid.nodes) if node.v_kv == levels[-1]]
    return sorted({switch.node for switch in grid.switches if switch.feeder_head})


def supply_nodes(grid: Grid) -> list[int]:
    """The nodes to draw as sources."""
    return _roots(grid)


def _post_order(children: dict[int, list[int]], roots: Iterable[int]) -> list[int]:
    out: list[int] = []
    stack = list(roots)
    while stack:
        node = stack.pop()
        out.append(node)
        stack.extend(children[node])
    return out[::-1]


def _route(nodes: Sequence[Point], edge: Edge, twin: int, upper: int | None) -> tuple[Point, ...]:
    """A straight way; an elbow inside a tree; a bow for a second way between the same nodes."""
    start, end = nodes[edge.start], nodes[edge.end]
    if upper is not None and abs(start[0] - end[0]) > 1:
        corner = (end[0], start[1]) if upper == edge.start else (start[0], end[1])
        return start, corner, end
    if not twin:
        return start, end
    bow = 9.0 * ((twin + 1) // 2) * (1 if twin % 2 else -1)
    length = max(math.dist(start, end), 1.0)
    normal = (-(end[1] - start[1]) / length, (end[0] - start[0]) / length)
    middle = ((start[0] + end[0]) / 2 + bow * normal[0], (start[1] + end[1]) / 2 + bow * normal[1])
    return start, middle, end


def path_length(path: Sequence[Point]) -> float:
    """Length in px."""
    return sum(math.dist(a, b) for a, b in pairwise(path))


def along(path: Sequence[Point], distance: float) -> tuple[Point, float]:
    """(point, angle in degrees) at ``distance`` px from the start."""
    for a, b in pairwise(path):
        length = math.dist(a, b)
        if distance <= length or b == path[-1]:
            share = distance / length if length else 0.0
            angle = math.degrees(math.atan2(b[1] - a[1], b[0] - a[0]))
            return (a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])), angle
        distance -= length
    return path[0], 0.0


def switch_place(grid: Grid, layout: Layout, row: int) -> tuple[Point, float]:
    """Where the symbol of a switch stands and how it is turned: near its node, clear of elbows."""
    switch = grid.switches[row]
    if switch.branch is None:
        path = layout.couplers[row]
        return along(path, path_length(path) / 2)
    path = layout.paths[switch.branch]
    path = path if switch.side == 0 else path[::-1]
    elbow = math.dist(path[0], path[1]) if len(path) == 3 and _square(path) and path[0][1] == path[1][1] else 0.0
    free = path_length(path) - elbow
    return along(path, elbow + min(2.6 * layout.symbol + 3, 0.3 * free))


def _square(path: Sequence[Point]) -> bool:
    return path[1] in ((path[0][0], path[2][1]), (path[2][0], path[0][1]))
