"""Which phases of a three-phase network are joined, fed and open for given switch states.

The phases of the nodes are numbered ``3 * node + phase``; ``3 * n_nodes`` is earth. Phases joined by closed
node-to-node switches form one *group*. A transformer feeds a side from the other if the voltage over its
windings is imposed there; loads and shunts feed nothing. Not for magnitudes: see ``admittance``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from twin.network.model import Bools, Ints
from twin.network.three_phase import ABSENT, EARTH, STAR, Codes, ThreePhaseNetwork

Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Connectivity:
    """``group`` and ``live`` per node phase (earth last, live); ``active`` per branch end and phase.

    ``active`` is ``(n_branches, 6)``: from A, B, C, to A, B, C.

    An inactive end exists but is open or dead, so that no current enters the branch there.
    """

    group: Index
    n_groups: int
    live: Bools
    active: Bools


class Connections:
    """Finds the connectivity of a network under switch states; holds what does not change."""

    def __init__(self, network: ThreePhaseNetwork) -> None:
        self.network = network
        self.n = 3 * network.nodes.n
        self.present: Bools = network.branch_phases.reshape(-1, 6)
        self.terminals = branch_terminals(network)
        self._links = np.flatnonzero(network.switches.other_node >= 0)
        self._at_ends = np.flatnonzero(network.switches.branch >= 0)
        self._units = _Units.of(network)
        source_phases = 3 * network.sources.node[:, np.newaxis].astype(np.int64) + np.arange(3)
        self._fed = source_phases[network.sources.v_pu > 0]

    def under(self, closed: Bools) -> Connectivity:
        """The connectivity for the switch poles ``closed`` ``(n_switches, 3)``."""
        ends = self.end_closed(closed)
        group, n_groups = self._groups(closed)
        live = self._live(ends, group, n_groups)
        return Connectivity(group, n_groups, live, ends & live[self.terminals])

    def end_closed(self, closed: Bools) -> Bools:
        """Which existing branch ends ``(n_branches, 6)`` have no open switch."""
        switches = self.network.switches
        ends = self.present.copy().reshape(-1, 2, 3)
        rows = self._at_ends
        opened = switches.phases[rows] & ~closed[rows]
        for row, open_poles in zip(rows[opened.any(axis=1)], opened[opened.any(axis=1)], strict=True):
            ends[switches.branch[row], switches.side[row]] &= ~open_poles
        return ends.reshape(-1, 6)

    def link_poles(self, closed: Bools) -> tuple[Index, Index]:
        """(switch row, phase) of each closed pole of the node-to-node switches."""
        poles = np.argwhere(closed[self._links] & self.network.switches.phases[self._links])
        return self._links[poles[:, 0]], poles[:, 1]

    def _groups(self, closed: Bools) -> tuple[Index, int]:
        rows, phase = self.link_poles(closed)
        switches = self.network.switches
        a, b = 3 * switches.node[rows].astype(np.int64) + phase, 3 * switches.other_node[rows].astype(np.int64) + phase
        return _components(a, b, self.n + 1)

    def _live(self, ends: Bools, group: Index, n_groups: int) -> Bools:
        """Phases connected to a source: along conductors first, then through transformers until nothing changes."""
        n_lines = self.network.lines.n
        through = ends[:n_lines, :3] & ends[:n_lines, 3:]
        a, b = group[self.terminals[:n_lines, :3][through]], group[self.terminals[:n_lines, 3:][through]]
        conductor, n_conductors = _components(a, b, n_groups)
        of_phase = conductor[group]
        live = np.zeros(n_conductors, dtype=np.bool_)
        live[of_phase[self._fed]] = True
        live[of_phase[self.n]] = True
        self._units.feed(live, of_phase, ends[n_lines:])
        result: Bools = live[of_phase]
        return result


def branch_terminals(network: ThreePhaseNetwork) -> Index:
    """Node phase of each branch end and phase, shape ``(n_branches, 6)``."""
    ends = np.stack([network.branch_from, network.branch_to], axis=1).astype(np.int64)
    terminals: Index = (3 * ends[:, :, np.newaxis] + np.arange(3)).reshape(-1, 6)
    return terminals


def _components(a: Any, b: Any, n: int) -> tuple[Index, int]:
    graph = coo_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(n, n))
    count, labels = connected_components(graph, directed=False)
    return labels.astype(np.int64), int(count)


@dataclass(frozen=True, slots=True)
class _Units:
    """The winding ends of both sides ``(2, n_transformers, 3)``, as phases of their node or special codes."""

    plus: Codes
    minus: Codes
    node: Ints

    @classmethod
    def of(cls, network: ThreePhaseNetwork) -> _Units:
        t = network.transformers
        node = np.stack([t.node_from, t.node_to])
        earthed = (t.neutral_s != 0).T[:, :, np.newaxis]
        plus, minus = np.stack([t.from_plus, t.to_plus]), np.stack([t.from_minus, t.to_minus])
        plus, minus = (np.where(earthed & (ends == STAR), EARTH, ends).astype(np.int8) for ends in (plus, minus))
        return cls(plus, minus, node)

    def feed(self, live: Bools, of_phase: Index, ends: Bools) -> None:
        """Mark in ``live`` what the transformers feed; changes ``live`` in place."""
        earth = len(of_phase) - 1
        closed = ends.reshape(-1, 2, 3).transpose(1, 0, 2)
        plus, plus_on = self._place(self.plus, closed, of_phase, earth)
        minus, minus_on = self._place(self.minus, closed, of_phase, earth)
        while True:
            before = np.count_nonzero(live)
            excited = self._excited(plus_on & live[plus], minus_on & live[minus]).any(axis=0)
            live[plus[plus_on & excited]] = True
            live[minus[minus_on & excited]] = True
            if np.count_nonzero(live) == before:
                return

    def _place(self, codes: Codes, closed: Bools, of_phase: Index, earth: int) -> tuple[Index, Bools]:
        """Conductor of each winding end, and whether the end is connected to it."""
        phase = np.clip(codes, 0, 2).astype(np.int64)
        lies_on_phase = (codes != EARTH) & (codes != STAR) & (codes != ABSENT)
        at = np.where(lies_on_phase, 3 * self.node[:, :, np.newaxis].astype(np.int64) + phase, earth)
        connected = np.where(lies_on_phase, np.take_along_axis(closed, phase, axis=2), codes == EARTH)
        return of_phase[at], connected

    def _excited(self, plus_live: Bools, minus_live: Bools) -> Bools:
        """Units whose winding on a side has a voltage imposed, shape ``(2, n_transformers, 3)``."""
        excited = plus_live & minus_live
        in_star = (self.minus == STAR) | (self.plus == STAR)
        star_live = in_star & (plus_live | minus_live)
        excited |= star_live & (star_live.sum(axis=2, keepdims=True) >= 2)
        # in a closed delta one live pair of phases drives all three windings: two of them lie in series across it
        on_phases = (self.plus >= 0) & (self.plus < EARTH) & (self.minus >= 0) & (self.minus < EARTH)
        driven: Bools = np.asarray(on_phases.all(axis=2) & excited.any(axis=2))
        return np.asarray(excited | driven[:, :, np.newaxis])
