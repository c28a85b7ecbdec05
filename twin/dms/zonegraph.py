"""The network as zones joined by switches: what switching applications search on.

Built on :func:`twin.network.topology.zones`, with two switches in series at one branch end kept in series.
Not for electrical quantities, and not for what hangs on nodes and branches.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from twin.network.model import Bools, Ints, Network
from twin.network.topology import zones


@dataclass(frozen=True)
class ZoneGraph:
    """Zones as vertices, switches as edges.

    ``node_zone``/``branch_zone`` per node and branch; ``switch_a`` is the zone at a switch's node, ``switch_b``
    the one of its branch or other node (an empty zone where the next switch in series follows).
    """

    n: int
    node_zone: Ints
    branch_zone: Ints
    switch_a: Ints
    switch_b: Ints
    source_zone: Ints

    @cached_property
    def switches_at(self) -> tuple[tuple[int, ...], ...]:
        """Per zone the rows of the switches around it, ascending; bridged switches are left out."""
        found: list[list[int]] = [[] for _ in range(self.n)]
        for switch, (a, b) in enumerate(zip(self.switch_a.tolist(), self.switch_b.tolist(), strict=True)):
            if a != b:
                found[a].append(switch)
                found[b].append(switch)
        return tuple(tuple(switches) for switches in found)

    @cached_property
    def sides(self) -> tuple[tuple[int, int], ...]:
        """Per switch its two zones."""
        return tuple(zip(self.switch_a.tolist(), self.switch_b.tolist(), strict=True))

    def beyond(self, switch: int, zone: int) -> int:
        """The zone on the other side of ``switch``, seen from ``zone``."""
        a, b = self.sides[switch]
        return b if a == zone else a

    def components(self, closed: Bools) -> NDArray[np.int32]:
        """Label per zone: zones joined by ``closed`` switches share one."""
        a, b = self.switch_a[closed], self.switch_b[closed]
        matrix = coo_array((np.ones(a.size, np.int8), (a, b)), shape=(self.n, self.n))
        labels: NDArray[np.int32] = connected_components(matrix, directed=False)[1]
        return labels

    def energised(self, closed: Bools) -> Bools:
        """Per zone: reached from a source over ``closed`` switches."""
        labels = self.components(closed)
        live = np.zeros(self.n, np.bool_)
        live[labels[self.source_zone]] = True
        return live[labels]

    def mask(self, members: Iterable[int]) -> Bools:
        """Per zone: is one of ``members``."""
        mask = np.zeros(self.n, np.bool_)
        mask[list(members)] = True
        return mask

    def sum_per_zone(self, node: Ints, value: NDArray[np.generic]) -> NDArray[np.float64]:
        """Sum per zone of values that sit at nodes."""
        return np.bincount(self.node_zone[node], weights=value, minlength=self.n).astype(np.float64)


def zone_graph(network: Network) -> ZoneGraph:
    """The zones of ``network`` with switches in series kept apart."""
    base = zones(network)
    a, b = base.switch_zone_a.copy(), base.switch_zone_b.copy()
    n = base.n
    last_at_end: dict[tuple[int, int], int] = {}
    switches = network.switches
    for row, end in enumerate(zip(switches.branch.tolist(), switches.side.tolist(), strict=True)):
        if end[0] < 0:
            continue
        if end in last_at_end:
            b[last_at_end[end]] = a[row] = n
            n += 1
        last_at_end[end] = row
    return ZoneGraph(n, base.node_zone, base.branch_zone, a, b, base.node_zone[network.sources.node])
