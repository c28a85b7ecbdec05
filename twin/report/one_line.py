"""Draws the grid at one moment as a one-line picture.

Feeders by colour, dead parts grey and dashed, switches as the field draws them. Not for placing: see ``layout``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from twin.report.labels import Label, PlacedLabel, Rect, place_labels
from twin.report.layout import (
    Edge,
    Layout,
    along,
    edges_of,
    lay_out,
    path_length,
    supply_nodes,
    switch_place,
)
from twin.report.results import Grid, GridState
from twin.report.svg import Point, element, figure_text, join, path, text

FEEDER_COLOURS = 8
SMALL_GRID = 40
"""Up to this many nodes every node is labelled."""

VERY_LARGE_GRID = 400
"""Above this many nodes only heads, ties and operated switches are drawn."""

OVERLOAD = 1.0

SPECIAL_SIZE = 4.8
HALO = 1.9
"""Radius of the ring around a switch out of its normal position, in symbol sizes."""


@dataclass(frozen=True)
class Feeding:
    """Which feeder head feeds each node and branch (row of the switch), None on the busbars and where dead."""

    nodes: tuple[int | None, ...]
    branches: tuple[int | None, ...]


def feeding(grid: Grid, closed: Sequence[bool]) -> Feeding:
    """Follows every closed feeder head outwards through closed switches; in a ring the nearer head counts."""
    edges = edges_of(grid)
    ways = _ways(grid, edges)
    heads = {row for row, switch in enumerate(grid.switches) if switch.feeder_head}
    busbars = {grid.switches[row].node for row in heads}
    nodes: list[int | None] = [None] * len(grid.nodes)
    branches: list[int | None] = [None] * len(grid.branches)
    queue: deque[tuple[int, int]] = deque()

    def enter(edge: Edge, origin: int, head: int) -> None:
        near, far = (edge.start_switches, edge.end_switches) if origin == edge.start else _turned(edge)
        if not all(closed[row] for row in near):
            return
        if edge.branch is not None and branches[edge.branch] is None:
            branches[edge.branch] = head
        other = edge.end if origin == edge.start else edge.start
        if all(closed[row] for row in far) and other not in busbars and nodes[other] is None:
            nodes[other] = head
            queue.append((other, head))

    for head in sorted(heads):
        edge = next(e for e in edges if head in (*e.start_switches, *e.end_switches))
        enter(edge, grid.switches[head].node, head)
    while queue:
        node, head = queue.popleft()
        for edge in ways[node]:
            if heads.isdisjoint((*edge.start_switches, *edge.end_switches)):
                enter(edge, node, head)
    return Feeding(tuple(nodes), tuple(branches))


def _turned(edge: Edge) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return edge.end_switches, edge.start_switches


def _ways(grid: Grid, edges: Sequence[Edge]) -> list[list[Edge]]:
    ways: list[list[Edge]] = [[] for _ in grid.nodes]
    for edge in edges:
        ways[edge.start].append(edge)
        ways[edge.end].append(edge)
    return ways


@dataclass(frozen=True)
class OneLine:
    """The pictures of one grid: placed once, drawn for each of its states."""

    grid: Grid
    layout: Layout

    @classmethod
    def of(cls, grid: Grid, width: float = 620.0) -> OneLine:
        """Lays the grid out."""
        return cls(grid, lay_out(grid, width))

    @cached_property
    def heads(self) -> tuple[int, ...]:
        """Rows of the feeder heads, in the order of their colours."""
        return tuple(row for row, switch in enumerate(self.grid.switches) if switch.feeder_head)

    @cached_property
    def operated(self) -> frozenset[int]:
        """Rows of the switches that stand differently in some state than in the first."""
        states = self.grid.states
        changed = (row for state in states for row, c in enumerate(state.closed) if c != states[0].closed[row])
        return frozenset(changed)

    @cached_property
    def special(self) -> frozenset[int]:
        """Rows of the switches an operator looks for: heads, ties and what was operated."""
        ties = (row for row, switch in enumerate(self.grid.switches) if not switch.normally_closed)
        return frozenset({*self.heads, *ties, *self.operated})

    @property
    def drawn_switches(self) -> Sequence[int]:
        """Every switch, of a very large grid the special ones."""
        return sorted(self.special) if len(self.grid.nodes) > VERY_LARGE_GRID else range(len(self.grid.switches))

    def switch_size(self, row: int) -> float:
        """Half the size of a switch's symbol in px: in a crowded picture the special ones stand out."""
        return max(self.layout.symbol, SPECIAL_SIZE) if row in self.special else self.layout.symbol

    @cached_property
    def sources(self) -> frozenset[int]:
        """Rows of the nodes where supply comes in."""
        return frozenset(supply_nodes(self.grid))

    @cached_property
    def labels(self) -> tuple[PlacedLabel, ...]:
        """The same labels in the same places for every state."""
        return place_labels(self._wanted(), self.layout, self._symbols())

    def _wanted(self) -> list[Label]:
        layout, grid = self.layout, self.grid
        faulted = {name for state in grid.states for name in state.faulted}
        out = [
            Label(along(layout.paths[row], path_length(layout.paths[row]) / 2)[0], branch.name, "fault", 13.0, 12.5)
            for row, branch in enumerate(grid.branches)
            if branch.name in faulted
        ]
        out += [Label(layout.nodes[row], grid.nodes[row].name, "node", 12.0, 12.5) for row in sorted(self.sources)]
        out += [
            Label(
                switch_place(grid, layout, row)[0],
                grid.switches[row].name,
                "switch",
                self.switch_size(row) * (HALO if row in self.operated else 1.1) + (5 if row in self.operated else 2),
            )
            for row in sorted(self.special)
        ]
        if len(grid.nodes) <= SMALL_GRID:
            rest = (row for row in range(len(grid.nodes)) if row not in self.sources)
            out += [Label(layout.nodes[row], grid.nodes[row].name, "node", 7.0, 12.5) for row in rest]
        return out

    def _symbols(self) -> list[Rect]:
        size = self.layout.symbol
        sized = [(place, size) for place in self.layout.nodes]
        for row in self.drawn_switches:
            place, _ = switch_place(self.grid, self.layout, row)
            sized.append((place, self.switch_size(row) * (HALO if row in self.operated else 1.1)))
        return [(x - half, y - half, x + half, y + half) for (x, y), half in sized]

    def draw(self, state: GridState) -> Markup:
        """The picture of one state as an ``<svg>``."""
        fed = feeding(self.grid, state.closed)
        rows = range(len(self.grid.branches))
        parts = [self._coupler(row, state, fed) for row in self.layout.couplers]
        parts += [self._branch(row, state, fed) for row in rows]
        parts += [self._node(row, state, fed) for row in range(len(self.grid.nodes))]
        parts += [self._switch(row, state, fed) for row in self.drawn_switches]
        parts += [self._bolt(row) for row in rows if self.grid.branches[row].name in state.faulted]
        parts += [_label(placed, self._label_style(placed.label, state)) for placed in self.labels]
        size = f"0 0 {self.layout.width:.0f} {self.layout.height:.0f}"
        return element("svg", *parts, viewBox=size, class_="oneline", role="img", aria_label=self.words(state))

    def _label_style(self, label: Label, state: GridState) -> str:
        """A faulted line is named in every picture, but as a fault only while it is faulted."""
        return "branch" if label.style == "fault" and label.words not in state.faulted else label.style

    def words(self, state: GridState) -> str:
        """The picture in words, for those who do not see it."""
        dead = [node.name for node, live in zip(self.grid.nodes, state.node_energised, strict=True) if not live]
        opened = [
            switch.name
            for switch, closed in zip(self.grid.switches, state.closed, strict=True)
            if closed != switch.normally_closed
        ]
        supply = f"{len(dead)} of {len(self.grid.nodes)} nodes dead" if dead else "every node energised"
        moved = f"; not in normal position: {', '.join(opened)}" if opened else "; every switch in normal position"
        fault = f"; fault on {', '.join(state.faulted)}" if state.faulted else ""
        over = self.overloaded(state)
        fault += f"; overloaded: {', '.join(over)}" if over else ""
        return f"{supply}{': ' + ', '.join(dead) if 0 < len(dead) <= 20 else ''}{moved}{fault}"

    def overloaded(self, state: GridState) -> tuple[str, ...]:
        """Names of the branches drawn thick, because they carry more than their rating."""
        return tuple(self.grid.branches[row].name for row in range(len(self.grid.branches)) if _is_over(state, row))

    def _colour(self, head: int | None, live: bool) -> str:
        if not live:
            return "dead"
        return "bus" if head is None else f"f{self.heads.index(head) % FEEDER_COLOURS}"

    def _fed_by(self, head: int | None) -> str:
        return "" if head is None else f", fed by {self.grid.switches[head].name}"

    def _branch(self, row: int, state: GridState, fed: Feeding) -> Markup:
        branch, way = self.grid.branches[row], self.layout.paths[row]
        live, loading = state.branch_energised[row], state.branch_loading[row]
        colour = "faulted" if branch.name in state.faulted else self._colour(fed.branches[row], live)
        over = " over" if _is_over(state, row) else ""
        said = f"loading {figure_text(100 * loading, 3)} %{self._fed_by(fed.branches[row])}" if live else "dead"
        fault = ", faulted" if branch.name in state.faulted else ""
        title = element("title", f"{branch.name} · {branch.kind} · {said}{fault}")
        parts = [title, path(way, class_="hit"), path(way, class_="w")]
        if branch.kind == "transformer":
            parts.append(self._windings(way))
        return element("g", *parts, class_=f"{colour}{over}")

    def _windings(self, way: Sequence[Point]) -> Markup:
        (x, y), angle = along(way, path_length(way) / 2)
        r = min(max(self.layout.symbol * 1.3, 4.5), path_length(way) / 3.4)
        circles = (element("circle", cx=shift * r, cy=0, r=r, class_="coil") for shift in (-0.6, 0.6))
        cover = element("path", d=f"M{-1.6 * r:.1f} 0H{1.6 * r:.1f}", class_="cover")
        return element("g", cover, *circles, transform=f"translate({x:.1f} {y:.1f}) rotate({angle:.0f})")

    def _coupler(self, row: int, state: GridState, fed: Feeding) -> Markup:
        switch = self.grid.switches[row]
        live = state.node_energised[switch.node]
        return path(self.layout.couplers[row], class_=f"w {self._colour(fed.nodes[switch.node], live)}")

    def _node(self, row: int, state: GridState, fed: Feeding) -> Markup:
        node, (x, y) = self.grid.nodes[row], self.layout.nodes[row]
        live, head = state.node_energised[row], fed.nodes[row]
        level = f" · {figure_text(node.v_kv)} kV" if node.v_kv is not None else ""
        said = f"{state.node_v_pu[row]:.3f} p.u.{self._fed_by(head)}" if live else "dead"
        title = element("title", f"{node.name}{level} · {said}")
        r = self.layout.symbol * 0.72
        if row in self.sources:
            s = self.layout.symbol * 1.5
            square = element("rect", x=x - s, y=y - s, width=2 * s, height=2 * s, class_="n source")
            hatch = path([(x - s, y + s), (x + s, y - s)], class_="hatch")
            hatch += path([(x - s, y - s), (x + s, y + s)], class_="hatch")
            return element("g", title, square, hatch, class_=self._colour(head, live))
        return element("g", title, element("circle", cx=x, cy=y, r=r, class_="n"), class_=self._colour(head, live))

    def _switch(self, row: int, state: GridState, fed: Feeding) -> Markup:
        switch, closed = self.grid.switches[row], state.closed[row]
        (x, y), angle = switch_place(self.grid, self.layout, row)
        live = state.node_energised[switch.node]
        head = row if switch.feeder_head and closed else fed.nodes[switch.node]
        normal = closed == switch.normally_closed
        position = "closed" if closed else "open"
        role = ", tie" if not switch.normally_closed else ", feeder head" if switch.feeder_head else ""
        told = "" if normal else f" (normally {'closed' if switch.normally_closed else 'open'})"
        title = element("title", f"{switch.name} · {switch.kind.replace('_', ' ')}{role} · {position}{told}")
        halo = () if normal else (element("circle", r=self.switch_size(row) * HALO, class_="halo"),)
        symbol = _SYMBOLS.get(switch.kind, _load_break_switch)(self.switch_size(row), closed)
        place = f"translate({x:.1f} {y:.1f}) rotate({angle:.0f})"
        return element("g", title, *halo, *symbol, class_=f"s {self._colour(head, live)}", transform=place)

    def _bolt(self, row: int) -> Markup:
        (x, y), _ = along(self.layout.paths[row], path_length(self.layout.paths[row]) / 2)
        bolt = element("path", d="M2-11L-6 2H-1L-3 11L6-3H1Z", class_="bolt")
        title = element("title", f"fault on {self.grid.branches[row].name}")
        return element("g", title, bolt, transform=f"translate({x:.1f} {y:.1f})")


def _is_over(state: GridState, row: int) -> bool:
    return state.branch_energised[row] and state.branch_loading[row] > OVERLOAD


def _breaker(s: float, closed: bool) -> tuple[Markup, ...]:
    """A square, filled when closed."""
    square = element("rect", x=-s, y=-s, width=2 * s, height=2 * s, class_="on" if closed else "off")
    return (square,) if closed else (_gap(s), square)


def _load_break_switch(s: float, closed: bool) -> tuple[Markup, ...]:
    """A circle with a blade: along the line when closed, across it (the line interrupted) when open."""
    circle = element("circle", r=0.9 * s, class_="off")
    if closed:
        return circle, path([(-0.9 * s, 0.0), (0.9 * s, 0.0)], class_="blade")
    return _gap(s), circle, path([(0.0, -1.5 * s), (0.0, 1.5 * s)], class_="blade")


def _gap(s: float) -> Markup:
    """Takes the line away to both sides of an open switch."""
    return path([(-1.55 * s, 0.0), (1.55 * s, 0.0)], class_="cover")


def _disconnector(s: float, closed: bool) -> tuple[Markup, ...]:
    """A bar across the line, the blade along it when closed and turned away when open."""
    blade = [(-s, 0.0), (s, 0.0)] if closed else [(-s, 0.0), (0.6 * s, -s)]
    return (
        path([(-s, 0.0), (s, 0.0)], class_="cover"),
        path(blade, class_="blade"),
        path([(s, -0.8 * s), (s, 0.8 * s)], class_="blade"),
    )


def _fuse(s: float, closed: bool) -> tuple[Markup, ...]:
    """A long box with the line through it, hollow when blown or drawn."""
    box = element("rect", x=-1.3 * s, y=-0.6 * s, width=2.6 * s, height=1.2 * s, class_="off")
    return (box, path([(-1.3 * s, 0.0), (1.3 * s, 0.0)], class_="blade")) if closed else (_gap(s), box)


_SYMBOLS = {
    "breaker": _breaker,
    "circuit_breaker": _breaker,
    "recloser": _breaker,
    "load_break_switch": _load_break_switch,
    "disconnector": _disconnector,
    "fuse": _fuse,
}


def _label(placed: PlacedLabel, style: str) -> Markup:
    label = placed.label
    words = text(placed.x, placed.y, label.words, class_=f"t {style}", font_size=label.size)
    return join([path([label.at, placed.leader], class_="leader"), words]) if placed.leader else words


def legend_symbol(kind: str, closed: bool) -> Markup:
    """A switch symbol alone, for the legend."""
    line = element("path", d="M-13 0H13", class_="w")
    symbol = element("g", *_SYMBOLS[kind](6.0, closed), class_="s bus")
    return element("svg", element("g", line, class_="bus"), symbol, viewBox="-14 -9 28 18", class_="key oneline")
