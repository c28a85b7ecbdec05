"""Do the derived feeder relays see every fault on their feeder? A check of settings, not a short-circuit study.

The smallest short-circuit current is that of two phases at the far end of a line, with the smallest known
short-circuit power, c_min and hot conductors (IEC 60909-0:2016, 7.1), along the one path of normal operation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from twin.derive.ratings import branch_z_pu, source_z_pu
from twin.derive.settings import RelaySettings
from twin.network.model import Network
from twin.network.topology import Topology, TopologyState

HOT = 1.0 + 0.004 * (80.0 - 20.0)
"""Resistance of a conductor at 80 degrees Celsius over that at 20."""

_C_MIN_LV, _C_MIN = 0.9, 1.0


@dataclass(frozen=True, slots=True)
class SensitivityFinding:
    """A relay that does not pick up for every fault on its feeder; ``line`` is where the current is smallest."""

    relay: str
    line: str
    i_least_a: float
    pickup_a: float

    def __str__(self) -> str:
        return (
            f"relay {self.relay} picks up at {self.pickup_a:g} A, but a two-phase fault at the end of line {self.line} "
            f"draws {self.i_least_a:.0f} A only"
        )


def sensitivity_findings(network: Network, relays: tuple[RelaySettings, ...]) -> tuple[SensitivityFinding, ...]:
    """The relays whose low stage does not reach the end of their feeder in normal operation, in their order.

    Faults behind transformers are left to the protection there. Sources of unknown short-circuit power count as stiff.
    """
    topology = Topology(network)
    state = topology.state(network.switches.normally_closed)
    least_a = _least_currents(network, state)
    found = (_finding(network, state, least_a, relay) for relay in relays)
    return tuple(finding for finding in found if finding is not None)


def _finding(
    network: Network, state: TopologyState, least_a: list[float], relay: RelaySettings
) -> SensitivityFinding | None:
    head = network.switches.names.index(relay.breaker)
    v_kv = network.nodes.v_nominal_kv
    fed = np.flatnonzero((state.feeder_head == head) & (v_kv == v_kv[network.switches.node[head]]))
    on_lines = [int(node) for node in fed if 0 <= state.parent_edge[node] < network.lines.n]
    if not on_lines:
        return None
    weakest = min(on_lines, key=lambda node: least_a[node])
    if not least_a[weakest] < relay.pickup_a:
        return None
    line = network.lines.names[state.parent_edge[weakest]]
    return SensitivityFinding(relay.breaker, line, least_a[weakest], relay.pickup_a)


def _least_currents(network: Network, state: TopologyState) -> list[float]:
    """Two-phase short-circuit current of each node, A; infinite at dead nodes."""
    z_pu: dict[int, complex] = {}
    currents = []
    for node in range(network.nodes.n):
        if state.source[node] < 0:
            currents.append(math.inf)
            continue
        z = abs(_z_pu(network, state, node, z_pu))
        v_kv = float(network.nodes.v_nominal_kv[node])
        c = _C_MIN_LV if v_kv <= 1.0 else _C_MIN
        currents.append(c * 1e3 / (2.0 * v_kv * z) if z > 0 else math.inf)
    return currents


def _z_pu(network: Network, state: TopologyState, node: int, known: dict[int, complex]) -> complex:
    """Impedance from the source to a node along the tree, pu of 1 MVA; fills ``known`` on the way."""
    way = []
    while node not in known and state.parent_node[node] >= 0:
        way.append(node)
        node = int(state.parent_node[node])
    z = known.setdefault(node, source_z_pu(network, int(state.source[node]), least=True))
    for below in reversed(way):
        edge = int(state.parent_edge[below])
        if edge < network.n_branches:
            z_branch = branch_z_pu(network, edge)
            z += complex(HOT * z_branch.real, z_branch.imag) if edge < network.lines.n else z_branch
        known[below] = z
    return z
