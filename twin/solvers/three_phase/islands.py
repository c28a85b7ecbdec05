"""The island that a failure of the three-phase power flow concerns, in words. Not for the hot path."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from twin.network.three_phase import ThreePhaseNetwork
from twin.solvers.three_phase.connectivity import Connections, Connectivity


def describe_island(
    network: ThreePhaseNetwork, connections: Connections, connectivity: Connectivity, node: int | None
) -> str:
    """The island of ``node`` (None: of the first source) by its first source and its size in live nodes."""
    live = connectivity.live[:-1].reshape(-1, 3).any(axis=1)
    ends = connectivity.active[:, :3].any(axis=1) & connectivity.active[:, 3:].any(axis=1)
    n = network.nodes.n
    # nodes that share a group of joined phases hang together through a vertex of that group
    group = connectivity.group[:-1]
    vertex = n + group
    a = np.concatenate([network.branch_from[ends], np.repeat(np.arange(n), 3)])
    b = np.concatenate([network.branch_to[ends], vertex])
    size = n + connectivity.n_groups
    _, island = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(size, size)), directed=False)
    of_source = island[network.sources.node]
    wanted = of_source[0] if node is None else island[node]
    first = int(np.flatnonzero(of_source == wanted)[0]) if (of_source == wanted).any() else 0
    count = int(np.count_nonzero((island[:n] == wanted) & live))
    at = network.nodes.names[network.sources.node[first]]
    return f"of source {network.sources.names[first]} at node {at} ({count} node{'s' if count > 1 else ''})"
