"""Network topology from telemetered positions (NCA): closed, open or unknown; energised, dead or unknown.

What is unknown stays unknown: a node whose state depends on a switch of unknown position is itself unknown.
Found by working the topology out twice, with every unknown switch open and with every one closed. Not for
the plant's true topology (``twin.network.topology``), and without measurements of current or voltage.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from twin.network.model import Bools, Ints, Network
from twin.network.topology import Loop, Topology, TopologyState
from twin.points.model import DoublePosition, Quality

UNUSABLE_QUALITY = Quality.INVALID | Quality.NOT_TOPICAL | Quality.BLOCKED
"""With any of these a position says nothing about the present. Substituted (hand-dressed) values count."""

UNKNOWN_ROW = -2
"""A feeder head or source that depends on a switch of unknown position."""


class SwitchState(IntEnum):
    """What is known of a switch."""

    OPEN = 0
    CLOSED = 1
    UNKNOWN = 2


class SupplyState(IntEnum):
    """What is known of the supply of a node or branch."""

    DEAD = 0
    ENERGISED = 1
    UNKNOWN = 2


def position_known(position: Ints, quality: Ints) -> Bools:
    """Per switch: its position is good, and open or closed."""
    good = (quality & int(UNUSABLE_QUALITY)) == 0
    known: Bools = good & ((position == DoublePosition.OPEN) | (position == DoublePosition.CLOSED))
    return known


def switch_states(position: Ints, quality: Ints) -> Ints:
    """``SwitchState`` per switch from ``DoublePosition`` and ``Quality`` values."""
    known = np.where(position == DoublePosition.CLOSED, int(SwitchState.CLOSED), int(SwitchState.OPEN))
    states: Ints = np.where(position_known(position, quality), known, int(SwitchState.UNKNOWN)).astype(np.int32)
    return states


@dataclass(frozen=True)
class NetworkTopology:
    """The topology as far as it is known; arrays in the order of the network's tables.

    ``switch``: ``SwitchState``; ``node`` and ``branch``: ``SupplyState`` (a branch is energised if one end is).
    ``feeder_head``/``source``: row of the feeder head and source that feed each node, -1: none, ``UNKNOWN_ROW``:
    depends on an unknown switch. ``loops`` are closed for certain, ``possible_loops`` only if unknown switches
    are closed. Customers at dead nodes are ``customers_interrupted``, at unknown ones ``customers_unknown``.
    """

    switch: Ints
    node: Ints
    branch: Ints
    feeder_head: Ints
    source: Ints
    loops: tuple[Loop, ...]
    possible_loops: tuple[Loop, ...]
    customers_interrupted: int
    customers_unknown: int

    @property
    def radial(self) -> bool:
        """True only if no loop is closed, whatever the unknown switches are."""
        return not self.loops and not self.possible_loops


def assess(topology: Topology, position: Ints, quality: Ints) -> NetworkTopology:
    """Work out the topology from one ``DoublePosition`` and one ``Quality`` value per switch."""
    switch = switch_states(position, quality)
    closed = switch == SwitchState.CLOSED
    least = topology.state(closed)
    if not (switch == SwitchState.UNKNOWN).any():
        return _combine(topology, switch, least, least)
    return _combine(topology, switch, least, topology.state(closed | (switch == SwitchState.UNKNOWN)))


def assess_network(network: Network, position: Ints, quality: Ints) -> NetworkTopology:
    """:func:`assess` for a single use; compile a ``Topology`` once where it is called again and again."""
    return assess(Topology(network), position, quality)


def _combine(topology: Topology, switch: Ints, least: TopologyState, most: TopologyState) -> NetworkTopology:
    """Merge the topologies with unknown switches open (``least``) and closed (``most``)."""
    node = _supply(least.energised, most.energised)
    possible = () if most is least else topology.loops(most)
    customers = topology.node_customers
    return NetworkTopology(
        switch=switch,
        node=node,
        branch=_supply(least.branch_energised, most.branch_energised),
        feeder_head=_agreed(least.feeder_head, most.feeder_head, node),
        source=_agreed(least.source, most.source, node),
        loops=topology.loops(least),
        possible_loops=tuple(loop for loop in possible if not _certain(loop, least)),
        customers_interrupted=int(customers[node == SupplyState.DEAD].sum()),
        customers_unknown=int(customers[node == SupplyState.UNKNOWN].sum()),
    )


def _certain(loop: Loop, least: TopologyState) -> bool:
    """Whether every edge of ``loop`` is connected without relying on an unknown switch."""
    connected = np.concatenate([least.from_on & least.to_on, least.closed])
    return bool(connected[list(loop.edges)].all())


def _supply(least: Bools, most: Bools) -> Ints:
    certain = np.where(least, int(SupplyState.ENERGISED), int(SupplyState.DEAD))
    states: Ints = np.where(least == most, certain, int(SupplyState.UNKNOWN)).astype(np.int32)
    return states


def _agreed(least: Ints, most: Ints, node: Ints) -> Ints:
    known = (least == most) & (node != SupplyState.UNKNOWN)
    rows: Ints = np.where(known, least, UNKNOWN_ROW).astype(np.int32)
    return rows
