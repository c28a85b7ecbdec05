"""The network as far as its switches are known: what the estimator may take for certain.

A switch of unknown position is not guessed. Its branch is left out, and anything up to its rating may flow at both
ends: true whichever way the switch stands. What is fed through it alone cannot be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from twin.dms.topology import SupplyState, SwitchState, assess, switch_states
from twin.network.model import Bools, Floats, Ints, Network
from twin.network.topology import Topology


@dataclass(frozen=True)
class Frame:
    """``closed`` holds the switches closed for certain. ``slack_kva`` is what may flow at each node through unknown
    switches; ``left_out`` are their branches. ``node`` and ``branch`` hold ``SupplyState`` values, ``unknown`` the rows
    of the unknown switches, ``tap_position`` the taps.
    """

    closed: Bools
    slack_kva: Floats
    left_out: Bools
    node: Ints
    branch: Ints
    unknown: Ints
    tap_position: Ints

    def flipped(self, switch: int) -> Frame:
        """The same with one known switch the other way round; supply states stay those of the reports."""
        closed = self.closed.copy()
        closed[switch] = not closed[switch]
        return replace(self, closed=closed)

    @property
    def key(self) -> bytes:
        """Equal for frames on which estimates are equal."""
        return self.closed.tobytes() + self.slack_kva.tobytes() + self.tap_position.tobytes()


class Frames:
    """Makes frames of one network."""

    def __init__(self, network: Network, unknown_rating_a: float) -> None:
        self._network = network
        known = np.isfinite(network.branch_i_max_a) & (network.branch_i_max_a > 0)
        v_kv = network.nodes.v_nominal_kv
        rated_a = np.where(known, network.branch_i_max_a, unknown_rating_a)
        self._rated_kva = np.sqrt(3.0) * v_kv[network.branch_from] * rated_a
        self._busbar_kva = np.sqrt(3.0) * v_kv * unknown_rating_a
        self._topology = Topology(network)

    def frame(self, position: Ints, quality: Ints, tap_position: Ints) -> Frame:
        """The frame of one image of the switches (``DoublePosition`` and ``Quality`` values)."""
        seen = assess(self._topology, position, quality)
        states = switch_states(position, quality)
        unknown = np.flatnonzero(states == SwitchState.UNKNOWN).astype(np.int32)
        slack_kva, left_out = self._around(unknown)
        return Frame(states == SwitchState.CLOSED, slack_kva, left_out, seen.node, seen.branch, unknown, tap_position)

    def _around(self, unknown: Ints) -> tuple[Floats, Bools]:
        network, s = self._network, self._network.switches
        slack_kva = np.zeros(network.nodes.n)
        left_out = np.zeros(network.n_branches, dtype=np.bool_)
        left_out[s.branch[unknown][s.branch[unknown] >= 0]] = True
        for ends in (network.branch_from, network.branch_to):
            np.add.at(slack_kva, ends[left_out], self._rated_kva[left_out])
        between = unknown[s.branch[unknown] < 0]
        for ends in (s.node[between], s.other_node[between]):
            np.add.at(slack_kva, ends, self._busbar_kva[ends])
        return slack_kva, left_out


def dead_for_certain(states: Ints) -> Bools:
    """Where there is no supply whatever the unknown switches are."""
    dead: Bools = states == SupplyState.DEAD
    return dead


def names_of(network: Network, switches: Sequence[int]) -> tuple[str, ...]:
    """Names of switch rows."""
    return tuple(network.switches.names[row] for row in switches)
