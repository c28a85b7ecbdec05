"""One world of topology processing: every switch open or closed, and what follows from that.

Its state is a function of the positions alone, whatever the order of the operations was. Each vertex hangs in a
spanning tree from the nearest source (fewest edges, then the lowest source, then the lowest edge). An operation
that neither closes nor opens a loop costs the part that it cuts off or joins; any other costs the islands it touches.
"""

from __future__ import annotations

from collections.abc import Iterable

from twin.dms.topology.graph import FIXED, ConnectionGraph

NONE = -1


class World:
    """All lists are by vertex, except ``closed`` and ``cyclic`` by edge and ``island_sources`` by island.

    ``dist`` is -1 and ``root`` ``NONE`` where there is no supply; ``root`` is the row of the source, ``head`` the
    feeder head passed last. ``cyclic`` edges lie on a closed loop; ``loop`` numbers the vertices of each set of loops
    that hang together by its lowest vertex, ``NONE`` for those in no loop.
    """

    def __init__(self, graph: ConnectionGraph, closed: list[bool]) -> None:
        self.graph = graph
        n = graph.n_vertices
        self.closed = closed
        self.island = [NONE] * n
        self.members: dict[int, set[int]] = {}
        self.island_sources: dict[int, int] = {}
        self.dist = [NONE] * n
        self.parent = [NONE] * n
        self.root = [NONE] * n
        self.head = [NONE] * n
        self.loop = [NONE] * n
        self.cyclic = [False] * len(graph.ends)
        self._islands = 0
        self._rebuild(range(n))

    def energised(self, vertex: int) -> bool:
        """Whether a source reaches the vertex."""
        return self.dist[vertex] >= 0

    def in_parallel(self, vertex: int) -> bool:
        """Whether two or more sources reach the vertex."""
        return self.island_sources[self.island[vertex]] > 1

    # --- operations ------------------------------------------------------------------------------------------------

    def operate(self, edge: int, closed: bool) -> list[int]:
        """Open or close an edge; gives the vertices about which anything may have changed."""
        if self.closed[edge] == closed:
            return []
        a, b = self.graph.ends[edge]
        self.closed[edge] = closed
        if a == b:
            return self._rebuild(self.members[self.island[a]])
        return self._join(edge, a, b) if closed else self._cut(edge, a, b)

    def _join(self, edge: int, a: int, b: int) -> list[int]:
        one, two = self.island[a], self.island[b]
        if one == two:
            return self._rebuild(list(self.members[one]))
        if self.island_sources[one] and self.island_sources[two]:
            return self._rebuild([*self.members[one], *self.members[two]])
        both_dead = not self.island_sources[one] and not self.island_sources[two]
        if self.island_sources[two] or (both_dead and len(self.members[one]) < len(self.members[two])):
            a, b, one, two = b, a, two, one
        self.cyclic[edge] = False
        moved = list(self.members.pop(two))
        del self.island_sources[two]
        self.members[one].update(moved)
        for vertex in moved:
            self.island[vertex] = one
        if self.energised(a):
            self._spread([b], edge_in=edge)
        return moved

    def _cut(self, edge: int, a: int, b: int) -> list[int]:
        island = self.island[a]
        if self.parent[a] == edge:
            a, b = b, a
        if self.cyclic[edge] or self.island_sources[island] > 1 or self.parent[b] != edge:
            return self._rebuild(list(self.members[island]))  # in a dead island there is no tree to tell the sides
        below = self._connected(b)
        self.members[island].difference_update(below)
        self._new_island(below, 0)
        for vertex in below:
            self.dist[vertex] = self.parent[vertex] = self.root[vertex] = self.head[vertex] = NONE
        return below

    def _connected(self, start: int) -> list[int]:
        graph, closed = self.graph, self.closed
        seen, found = {start}, [start]
        for vertex in found:
            for edge in graph.incident[vertex]:
                if closed[edge]:
                    other = graph.other(edge, vertex)
                    if other not in seen:
                        seen.add(other)
                        found.append(other)
        return found

    def _new_island(self, members: list[int], sources: int) -> None:
        self._islands += 1
        self.members[self._islands] = set(members)
        self.island_sources[self._islands] = sources
        for vertex in members:
            self.island[vertex] = self._islands

    # --- islands from scratch --------------------------------------------------------------------------------------

    def _rebuild(self, vertices: Iterable[int]) -> list[int]:
        """Work out all islands among ``vertices``, which hold whole islands only."""
        touched = list(vertices)
        for vertex in touched:
            self.members.pop(self.island[vertex], None)
            self.island_sources.pop(self.island[vertex], None)
        waiting = set(touched)
        for vertex in touched:
            self.dist[vertex] = self.parent[vertex] = self.root[vertex] = self.head[vertex] = self.loop[vertex] = NONE
        for vertex in touched:
            if vertex in waiting:
                members = self._connected(vertex)
                waiting.difference_update(members)
                at = [v for v in members if v in self.graph.source_at]
                self._new_island(members, len(at))
                if at:
                    self._spread(sorted(at, key=self.graph.source_at.__getitem__))
                self._find_loops(members)
        return touched

    def _spread(self, starts: list[int], edge_in: int = NONE) -> None:
        """Grow the tree from ``starts``: sources, or (``edge_in``) a vertex that is joined to the tree by an edge."""
        graph, dist = self.graph, self.dist
        for start in starts:
            if edge_in == NONE:
                dist[start], self.root[start] = 0, graph.source_at[start]
            else:
                dist[start] = dist[graph.other(edge_in, start)] + 1
                self._hang(start, edge_in)
        front = starts
        while front:
            reached: list[int] = []
            for vertex in front:
                for edge in graph.incident[vertex]:
                    other = graph.other(edge, vertex)
                    if self.closed[edge] and dist[other] == NONE:
                        dist[other] = dist[vertex] + 1
                        reached.append(other)
            for vertex in reached:
                self._hang(vertex, self._best_edge(vertex))
            front = reached

    def _best_edge(self, vertex: int) -> int:
        """Towards the nearest source: among equals that of the lowest row, then the lowest edge."""
        graph, above = self.graph, self.dist[vertex] - 1
        edges = [
            edge
            for edge in graph.incident[vertex]
            if self.closed[edge] and self.dist[graph.other(edge, vertex)] == above
        ]
        if len(edges) == 1:
            return edges[0]
        return min(edges, key=lambda edge: (self.root[graph.other(edge, vertex)], edge))

    def _hang(self, vertex: int, edge: int) -> None:
        above = self.graph.other(edge, vertex)
        self.parent[vertex], self.root[vertex] = edge, self.root[above]
        head = self.graph.head[edge]
        self.head[vertex] = head if head != FIXED else self.head[above]

    def _find_loops(self, members: list[int]) -> None:
        """Mark the edges on loops, which are all but bridges (Tarjan), and number the vertices that they join."""
        graph, closed = self.graph, self.closed
        order: dict[int, int] = {}
        low: dict[int, int] = {}
        stack = [(members[0], NONE, iter(graph.incident[members[0]]))]
        order[members[0]] = low[members[0]] = 0
        while stack:
            vertex, came_by, edges = stack[-1]
            edge = next(edges, None)
            if edge is None:
                stack.pop()
                if stack:
                    above = stack[-1][0]
                    low[above] = min(low[above], low[vertex])
                    self.cyclic[came_by] = low[vertex] <= order[above]
                continue
            if not closed[edge] or edge == came_by:
                if edge != came_by:
                    self.cyclic[edge] = False
                continue
            other = graph.other(edge, vertex)
            if other in order:
                self.cyclic[edge] = True
                low[vertex] = min(low[vertex], order[other])
            else:
                order[other] = low[other] = len(order)
                stack.append((other, edge, iter(graph.incident[other])))
        self._number_loops(members)

    def _number_loops(self, members: list[int]) -> None:
        graph = self.graph
        for start in sorted(members):
            if self.loop[start] != NONE:
                continue
            joined = [start]
            for vertex in joined:
                for edge in graph.incident[vertex]:
                    if self.closed[edge] and self.cyclic[edge]:
                        other = graph.other(edge, vertex)
                        if self.loop[other] == NONE:
                            self.loop[other] = start
                            joined.append(other)
