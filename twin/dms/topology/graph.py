"""The graph that topology processing walks: nodes and branches are vertices, switches and fixed joints are edges.

A branch is a vertex of its own, so that a line that is open at both ends is seen to be dead, and a line charged from
one end is seen to be live. Two switches in series at a branch end have a vertex between them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from twin.network.model import Network

FIXED = -1
"""The switch of an edge that cannot be opened."""


@dataclass
class ConnectionGraph:
    """Vertices are nodes ``0 .. n_nodes - 1``, then branches, then places between switches in series.

    ``ends`` and ``switch`` are by edge, ``incident`` by vertex: its edges in ascending order. ``sources`` are vertices,
    with the row of the source; ``earthings`` the vertices of the earthing switches by row.
    """

    n_nodes: int
    n_branches: int
    n_vertices: int = 0
    ends: list[tuple[int, int]] = field(default_factory=list)
    switch: list[int] = field(default_factory=list)
    edge_of_switch: list[int] = field(default_factory=list)
    head: list[int] = field(default_factory=list)
    incident: list[list[int]] = field(default_factory=list)
    source_at: dict[int, int] = field(default_factory=dict)
    earthings: list[int] = field(default_factory=list)
    insulating: list[bool] = field(default_factory=list)
    """Vertices through which an earth does not reach: the transformers."""

    @classmethod
    def of(cls, network: Network) -> ConnectionGraph:
        """The graph of a network."""
        s, n, m = network.switches, network.nodes.n, network.n_branches
        graph = cls(n, m, n + m, edge_of_switch=[FIXED] * s.n)
        at_end: dict[tuple[int, int], list[int]] = {}
        for row in range(s.n):
            if s.branch[row] < 0:
                graph._edge(int(s.node[row]), int(s.other_node[row]), row, bool(s.feeder_head[row]))
            else:
                at_end.setdefault((int(s.branch[row]), int(s.side[row])), []).append(row)
        for branch in range(m):
            for side, nodes in enumerate((network.branch_from, network.branch_to)):
                graph._end(int(nodes[branch]), n + branch, at_end.get((branch, side), []), s.feeder_head)
        for row in range(network.sources.n - 1, -1, -1):
            graph.source_at[int(network.sources.node[row])] = row
        e = network.earthing
        graph.earthings = [int(e.node[i]) if e.branch[i] < 0 else n + int(e.branch[i]) for i in range(e.n)]
        first_transformer = n + network.lines.n
        graph.insulating = [first_transformer <= vertex < n + m for vertex in range(graph.n_vertices)]
        graph._index()
        return graph

    def _end(self, node: int, branch: int, switches: list[int], feeder_head: object) -> None:
        at = node
        for position, row in enumerate(switches):
            beyond = branch
            if position < len(switches) - 1:
                beyond = self.n_vertices
                self.n_vertices += 1
            self._edge(at, beyond, row, bool(feeder_head[row]))  # type: ignore[index]
            at = beyond
        if not switches:
            self._edge(node, branch, FIXED, False)

    def _edge(self, a: int, b: int, switch: int, is_head: bool) -> None:
        if switch != FIXED:
            self.edge_of_switch[switch] = len(self.ends)
        self.ends.append((a, b))
        self.switch.append(switch)
        self.head.append(switch if is_head else FIXED)

    def _index(self) -> None:
        self.incident = [[] for _ in range(self.n_vertices)]
        for edge, (a, b) in enumerate(self.ends):
            self.incident[a].append(edge)
            if b != a:
                self.incident[b].append(edge)

    def other(self, edge: int, vertex: int) -> int:
        """The other end of an edge."""
        a, b = self.ends[edge]
        return b if vertex == a else a
