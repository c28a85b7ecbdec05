"""Which nodes hang together under given switch states.

For solvers that must name the island a failure concerns; not for the hot path, and not the
topology processor of the control room.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin.network.model import Bools, Ints, Network


def branch_status(network: Network, closed: Bools) -> tuple[Bools, Bools]:
    """Whether the from and the to end of each branch is connected to its node.

    An end is connected when every switch at it is closed. ``closed`` has the shape
    ``(..., n_switches)``, the two results ``(..., n_branches)``.
    """
    switches = network.switches
    at_branch = np.flatnonzero(switches.branch >= 0)
    end = 2 * switches.branch[at_branch] + switches.side[at_branch]
    flat = closed.reshape(-1, switches.n)
    connected = np.empty((len(flat), 2 * network.n_branches), dtype=np.bool_)
    for row, states in enumerate(flat[:, at_branch]):
        connected[row] = np.bincount(end[~states], minlength=2 * network.n_branches) == 0
    connected = connected.reshape(*closed.shape[:-1], -1)
    return connected[..., 0::2], connected[..., 1::2]


@dataclass(frozen=True, slots=True)
class Islands:
    """``label[node]`` is the lowest node index of the island the node belongs to."""

    network: Network
    label: Ints

    @property
    def energised(self) -> list[int]:
        """Labels of the islands that hold a source, in the order of the sources."""
        return list(dict.fromkeys(int(self.label[node]) for node in self.network.sources.node))

    def sources_of(self, label: int) -> Bools:
        """Which sources feed the island, shape ``(n_sources,)``."""
        return np.asarray(self.label[self.network.sources.node] == label, dtype=np.bool_)

    def describe(self, label: int) -> str:
        """The island in words: its first source (or node) and its size."""
        nodes = np.flatnonzero(self.label == label)
        size = f"{len(nodes)} node{'s' if len(nodes) > 1 else ''}"
        sources = np.flatnonzero(self.sources_of(label))
        if not len(sources):
            return f"around node {self.network.nodes.names[nodes[0]]} ({size})"
        at = self.network.nodes.names[self.network.sources.node[sources[0]]]
        return f"of source {self.network.sources.names[sources[0]]} at node {at} ({size})"


def find_islands(network: Network, closed: Bools) -> Islands:
    """The islands under the switch states ``closed``, shape ``(n_switches,)``."""
    from_on, to_on = branch_status(network, closed)
    through = np.flatnonzero(from_on & to_on)
    links = np.flatnonzero(closed & (network.switches.other_node >= 0))
    one = np.concatenate([network.branch_from[through], network.switches.node[links]])
    two = np.concatenate([network.branch_to[through], network.switches.other_node[links]])
    return Islands(network, _labels(network.nodes.n, one, two))


def _labels(n: int, one: Ints, two: Ints) -> Ints:
    """Union-find with the lower root on top, so that a root is the lowest node of its island."""
    parent = list(range(n))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in zip(one.tolist(), two.tolist(), strict=True):
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return np.array([root(node) for node in range(n)], dtype=np.int32)
