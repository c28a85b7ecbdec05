"""One world of topology processing: every switch open or closed, and what follows from that.

Its state is a function of the positions alone, whatever the order of the operations was. Each vertex hangs in a
spanning tree from the nearest source (fewest edges, then the lowest source, then the lowest edge). An operation
costs the part that it cuts off or joins, or the loop and what hangs on it; among several sources, its islands.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

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
            return self._close_loop(edge, a, b)
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
        if self.cyclic[edge] and self.island_sources[island] == 1:
            return self._open_loop(edge, b)
        if self.cyclic[edge] or self.island_sources[island] > 1 or self.parent[b] != edge:
            return self._rebuild(list(self.members[island]))  # in a dead island there is no tree to tell the sides
        below = self._connected(b)
        self.members[island].difference_update(below)
        self._new_island(below, 0)
        for vertex in below:
            self.dist[vertex] = self.parent[vertex] = self.root[vertex] = self.head[vertex] = NONE
        return below

    # --- loops within the reach of one source ----------------------------------------------------------------------

    def _close_loop(self, edge: int, a: int, b: int) -> list[int]:
        """Close an edge within an island: the way round becomes a loop, and ways to the source may become shorter."""
        if self.island_sources[self.island[a]] != 1:
            return self._rebuild(list(self.members[self.island[a]]))
        self.cyclic[edge] = True
        touched = {a, b}
        x, y = a, b
        while x != y:
            if self.dist[x] < self.dist[y]:
                x, y = y, x
            self.cyclic[self.parent[x]] = True
            x = self.graph.other(self.parent[x], x)
            touched.add(x)
        touched.update(self._number_loop(a))
        near, far = (a, b) if self.dist[a] <= self.dist[b] else (b, a)
        if self.dist[far] > self.dist[near]:
            touched.update(self._rehang(self._shorten(far, self.dist[near] + 1)))
        return list(touched)

    def _shorten(self, start: int, dist: int) -> set[int]:
        """Take over a way of ``dist`` to ``start`` and what follows; vertices whose best edge may be another now."""
        graph, concerned, front = self.graph, {start}, [start]
        self.dist[start] = min(dist, self.dist[start])
        for vertex in front:
            for edge in graph.incident[vertex]:
                other = graph.other(edge, vertex)
                if self.closed[edge] and self.dist[other] > self.dist[vertex]:
                    concerned.add(other)
                    if self.dist[other] > self.dist[vertex] + 1:
                        self.dist[other] = self.dist[vertex] + 1
                        front.append(other)
        return concerned

    def _rehang(self, concerned: Iterable[int]) -> set[int]:
        """Find the best edges of ``concerned`` anew, and of all to which that matters, from the source outwards."""
        waiting = [(self.dist[vertex], vertex) for vertex in concerned]
        heapify(waiting)
        done: set[int] = set()
        while waiting:
            dist, vertex = heappop(waiting)
            if vertex in done:
                continue
            done.add(vertex)
            before = (self.parent[vertex], self.root[vertex], self.head[vertex])
            self._hang(vertex, self._best_edge(vertex))
            if before != (self.parent[vertex], self.root[vertex], self.head[vertex]):
                for edge in self.graph.incident[vertex]:
                    other = self.graph.other(edge, vertex)
                    if self.closed[edge] and self.dist[other] == dist + 1:
                        heappush(waiting, (dist + 1, other))
        return done

    def _open_loop(self, edge: int, below: int) -> list[int]:
        """Open an edge of a loop: its loops are worked out again, and what hung on it finds another way."""
        touched = set(self._loop_of(self.graph.ends[edge][0]))
        within = {e for v in touched for e in self.graph.incident[v] if self.closed[e] and self.cyclic[e]}
        self.cyclic[edge] = False
        for vertex in touched:
            self.loop[vertex] = NONE
        left = set(touched)
        while left:
            left -= self._find_loops(min(left), within)
        self._number_loops(touched)
        if self.parent[below] == edge:
            touched.update(self._rehang(self._reroute(below)))
        return list(touched)

    def _reroute(self, start: int) -> list[int]:
        """New distances for what hung below ``start``; these vertices."""
        graph, dist = self.graph, self.dist
        hung = [start]
        for vertex in hung:
            for edge in graph.incident[vertex]:
                other = graph.other(edge, vertex)
                if self.parent[other] == edge and other != vertex:
                    hung.append(other)
        for vertex in hung:
            dist[vertex] = self.parent[vertex] = self.root[vertex] = self.head[vertex] = NONE
        waiting = [
            (dist[graph.other(edge, vertex)] + 1, vertex)
            for vertex in hung
            for edge in graph.incident[vertex]
            if self.closed[edge] and dist[graph.other(edge, vertex)] != NONE
        ]
        heapify(waiting)
        while waiting:
            d, vertex = heappop(waiting)
            if dist[vertex] == NONE:
                dist[vertex] = d
                for edge in graph.incident[vertex]:
                    other = graph.other(edge, vertex)
                    if self.closed[edge] and dist[other] == NONE:
                        heappush(waiting, (d + 1, other))
        return hung

    def _loop_of(self, start: int) -> list[int]:
        """The vertices that are joined to ``start`` by edges on loops."""
        found, seen = [start], {start}
        for vertex in found:
            for edge in self.graph.incident[vertex]:
                other = self.graph.other(edge, vertex)
                if self.closed[edge] and self.cyclic[edge] and other not in seen:
                    seen.add(other)
                    found.append(other)
        return found

    def _number_loop(self, start: int) -> list[int]:
        members = self._loop_of(start)
        name = min(members)
        for vertex in members:
            self.loop[vertex] = name
        return members

    # --- what hangs together ---------------------------------------------------------------------------------------

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
                self._find_loops(vertex)
                self._number_loops(members)
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

    def _find_loops(self, start: int, within: set[int] | None = None) -> set[int]:
        """Mark the edges on loops, which are all but bridges (Tarjan), as far as ``start`` reaches: these vertices.

        Only edges of ``within`` are walked, if it is given.
        """
        graph, cyclic = self.graph, self.cyclic
        order = {start: 0}
        low = {start: 0}
        stack = [(start, NONE, iter(graph.incident[start]))]
        while stack:
            vertex, came_by, edges = stack[-1]
            edge = next(edges, None)
            if edge is None:
                stack.pop()
                if stack:
                    above = stack[-1][0]
                    low[above] = min(low[above], low[vertex])
                    cyclic[came_by] = low[vertex] <= order[above]
                continue
            if edge == came_by or not self.closed[edge] or (within is not None and edge not in within):
                continue
            other = graph.other(edge, vertex)
            if other in order:
                cyclic[edge] = True
                low[vertex] = min(low[vertex], order[other])
            else:
                order[other] = low[other] = len(order)
                stack.append((other, edge, iter(graph.incident[other])))
        return set(order)

    def _number_loops(self, members: Iterable[int]) -> None:
        """Number the vertices on loops among ``members``, which are all that loops join."""
        for start in members:
            if self.loop[start] == NONE and len(self._loop_of(start)) > 1:
                self._number_loop(start)
