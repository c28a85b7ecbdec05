"""Buses of one set of switch states: what is connected, fed, earthed, and turned by which angle.

A bus is a set of nodes joined by closed switches, or the open end of a branch that is connected at its other end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from twin.network.model import Bools, Floats, Ints, Network
from twin.network.topology import Topology
from twin.solvers.short_circuit.elements import Elements
from twin.solvers.short_circuit.settings import InconsistentPhaseShiftError


@dataclass(frozen=True)
class Buses:
    """``of_node`` and ``ends`` (shape ``(2, n_branches)``, -1 where a branch is open at both ends) are buses; by
    bus: ``fed``, ``shift_rad`` by how much its voltage lags that of the island's first bus, ``part0`` its part of
    the zero-sequence network, ``floating0`` whether that part has no path to earth."""

    n: int
    of_node: Ints
    ends: Ints
    live: Bools
    fed: Bools
    shift_rad: Floats
    part0: Ints
    floating0: Bools
    unknown0: Bools


def buses(elements: Elements, topology: Topology, closed: Bools) -> Buses:
    """The buses under the switch states ``closed``.

    Raises:
        InconsistentPhaseShiftError: a loop of transformers whose phase shifts do not add up.
    """
    network = elements.network
    of_node, n_joined = _joined_nodes(network, closed)
    ends, n = _branch_ends(network, topology, closed, of_node, n_joined)
    live = ends[0] >= 0
    fed = _fed(elements, of_node, ends[:, live], n)
    live = live & fed[np.maximum(ends[0], 0)]
    shift = _shifts(network, ends, live, n)
    part0 = _components(n, ends[:, live & elements.through0])
    earthed = _marked(part0, _earthed_buses(elements, of_node, ends, live))
    unknown = _marked(part0, _unknown_buses(elements, of_node, ends, live))
    return Buses(n, of_node, ends, live, fed, shift, part0, ~earthed, unknown)


def _components(n: int, ends: Ints) -> Ints:
    graph = csr_array((np.ones(ends.shape[1], dtype=np.int8), (ends[0], ends[1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int32)


def _joined_nodes(network: Network, closed: Bools) -> tuple[Ints, int]:
    s = network.switches
    joined = np.flatnonzero((s.other_node >= 0) & closed)
    of_node = _components(network.nodes.n, np.stack([s.node[joined], s.other_node[joined]]))
    return of_node, int(of_node.max(initial=-1)) + 1


def _branch_ends(network: Network, topology: Topology, closed: Bools, of_node: Ints, n: int) -> tuple[Ints, int]:
    """The buses at both ends; an end that is open while the other is not gets a bus of its own."""
    on = np.stack(topology.branch_connected(closed))
    ends = np.where(on, np.stack([of_node[network.branch_from], of_node[network.branch_to]]), -1)
    for side in (0, 1):
        dangling = np.flatnonzero(~on[side] & on[1 - side])
        ends[side, dangling] = n + np.arange(len(dangling))
        n += len(dangling)
    return ends.astype(np.int32), n


def _fed(elements: Elements, of_node: Ints, ends: Ints, n: int) -> Bools:
    infeed = elements.units.infeed
    holds = infeed.network | (elements.settings.generators_feed_islands & ~infeed.motor)
    at = np.zeros(n, dtype=np.bool_)
    at[of_node[infeed.node[holds]]] = True
    return _marked(_components(n, ends), at)


def _marked(part: Ints, at: Bools) -> Bools:
    """True for all buses of the parts in which one is marked."""
    marked = np.zeros(len(part), dtype=np.bool_)
    marked[part[at]] = True
    return marked[part]


def _earthed_buses(elements: Elements, of_node: Ints, ends: Ints, live: Bools) -> Bools:
    """Buses with a path to earth in the zero sequence."""
    at = np.zeros(int(max(of_node.max(initial=-1), ends.max(initial=-1))) + 1, dtype=np.bool_)
    infeed, shunts = elements.units.infeed, elements.network.shunts
    at[of_node[infeed.node[np.isfinite(infeed.z0)]]] = True
    at[of_node[shunts.node[np.isfinite(shunts.x0_ohm)]]] = True
    for side in (0, 1):
        at[ends[side, live & elements.earthed0[side]]] = True
    return at


def _unknown_buses(elements: Elements, of_node: Ints, ends: Ints, live: Bools) -> Bools:
    """Buses at equipment whose zero-sequence data are missing."""
    at = np.zeros(int(max(of_node.max(initial=-1), ends.max(initial=-1))) + 1, dtype=np.bool_)
    at[of_node[elements.units.infeed.node[elements.unknown_infeed0]]] = True
    for side in (0, 1):
        at[ends[side, live & elements.unknown0]] = True
    return at


def _shifts(network: Network, ends: Ints, live: Bools, n: int) -> Floats:
    """Phase shift by bus: lines carry it on, transformers add theirs."""
    n_lines = network.lines.n
    lines = live.copy()
    lines[n_lines:] = False
    part = _components(n, ends[:, lines])
    rows = np.flatnonzero(live[n_lines:])
    step = np.radians(network.transformers.shift_deg[rows])
    one, other = part[ends[0, n_lines + rows]], part[ends[1, n_lines + rows]]
    shift = _spread(one, other, step, int(part.max(initial=-1)) + 1)
    off = np.abs(np.exp(1j * (shift[one] + step - shift[other])) - 1.0) > 1e-6
    if off.any():
        raise InconsistentPhaseShiftError(network.name, tuple(network.transformers.names[row] for row in rows[off]))
    return np.asarray(shift[part])


def _spread(one: Ints, other: Ints, step: Floats, n: int) -> Floats:
    """Angles of ``n`` parts from the steps between them."""
    neighbours: list[list[tuple[int, float]]] = [[] for _ in range(n)]
    for f, t, angle in zip(one.tolist(), other.tolist(), step.tolist(), strict=True):
        neighbours[f].append((t, angle))
        neighbours[t].append((f, -angle))
    shift = np.full(n, np.nan)
    for start in range(n):
        if not np.isnan(shift[start]):
            continue
        shift[start] = 0.0
        waiting = [start]
        while waiting:
            at = waiting.pop()
            for to, angle in neighbours[at]:
                if np.isnan(shift[to]):
                    shift[to] = shift[at] + angle
                    waiting.append(to)
    return shift
