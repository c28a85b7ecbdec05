"""Islands in words, for solvers that must name the one a failure concerns. Not for the hot path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin.network.model import Bools, Ints, Network
from twin.network.topology import Topology


@dataclass(frozen=True, slots=True)
class Islands:
    """``of_node`` is the island of each node, numbered by the lowest node."""

    network: Network
    of_node: Ints

    @classmethod
    def under(cls, topology: Topology, closed: Bools) -> Islands:
        """The islands under the switch states ``closed``."""
        return cls(topology.network, topology.islands(closed))

    @property
    def energised(self) -> list[int]:
        """The islands that hold a source, in the order of the sources."""
        return list(dict.fromkeys(self.of_node[self.network.sources.node].tolist()))

    def sources_of(self, island: int) -> Bools:
        """Which sources feed the island, shape ``(n_sources,)``."""
        return np.asarray(self.of_node[self.network.sources.node] == island, dtype=np.bool_)

    def describe(self, island: int) -> str:
        """An energised island by its first source and its size."""
        first = int(np.flatnonzero(self.sources_of(island))[0])
        n = int(np.count_nonzero(self.of_node == island))
        sources = self.network.sources
        at = self.network.nodes.names[sources.node[first]]
        return f"of source {sources.names[first]} at node {at} ({n} node{'s' if n > 1 else ''})"
