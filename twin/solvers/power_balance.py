"""Whether a result satisfies the equations it is said to solve: the power that is missing at each bus.

For engines that can end their iteration away from a solution: power-grid-model 1.12 does where its Jacobian is all but
singular. Not for the compiled solvers, whose last step is the proof.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from twin.network.model import Bools, Floats, Ints, Network
from twin.solvers.model import PowerFlowResult

Complexes = NDArray[np.complex128]

WRONG_BY_PU = 1e-5
"""Missing power counts from what a voltage wrong by so much would explain."""


class PowerBalance:
    """The balance of a network's buses: the nodes that closed bus couplers join, as their flows are not known."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._links = np.flatnonzero(network.switches.branch < 0)
        self._stiffness_kva = _stiffness(network)

    def broken(
        self,
        result: PowerFlowResult,
        closed: Bools,
        demand_kva: Complexes,
        generation_kva: Complexes,
        shunt_steps: Ints,
    ) -> int:
        """The first live node whose bus misses power, -1 if none does.

        ``demand_kva`` and ``generation_kva`` are complex, at nominal voltage, in the order of their tables.
        """
        network, missing = self._network, np.zeros(self._network.nodes.n, dtype=np.complex128)
        c, g, s = network.consumers, network.generators, network.shunts
        np.add.at(missing, network.branch_from, result.p_from_kw + 1j * result.q_from_kvar)
        np.add.at(missing, network.branch_to, result.p_to_kw + 1j * result.q_to_kvar)
        np.add.at(missing, c.node, _drawn(network, demand_kva, result.v_pu[c.node]))
        np.add.at(missing, g.node, -generation_kva)
        np.add.at(missing, s.node, shunt_steps / s.steps * (s.p_kw + 1j * s.q_kvar) * result.v_pu[s.node] ** 2)
        bus = self._buses(closed)
        total, stiffness_kva = np.zeros_like(missing), np.zeros(len(missing))
        np.add.at(total, bus, missing)
        np.add.at(stiffness_kva, bus, self._stiffness_kva)
        total[bus[network.sources.node]] = 0.0
        found = np.flatnonzero(result.energised & (np.abs(total) > WRONG_BY_PU * stiffness_kva)[bus])
        return int(found[0]) if len(found) else -1

    def _buses(self, closed: Bools) -> Ints:
        n, s = self._network.nodes.n, self._network.switches
        at = self._links[closed[self._links]]
        if not len(at):
            return np.arange(n, dtype=np.int32)
        joined = coo_array((np.ones(len(at)), (s.node[at], s.other_node[at])), shape=(n, n))
        return np.asarray(connected_components(joined, directed=False)[1], dtype=np.int32)


def _drawn(network: Network, demand_kva: Complexes, v_pu: Floats) -> Complexes:
    """What consumers draw at their voltages, complex."""
    p_i, p_z, q_i, q_z = network.consumers.zip_shares
    p = demand_kva.real * (1 - p_i - p_z + v_pu * (p_i + p_z * v_pu))
    return np.asarray(p + 1j * demand_kva.imag * (1 - q_i - q_z + v_pu * (q_i + q_z * v_pu)))


def _stiffness(network: Network) -> Floats:
    """By node, the sum of the series admittances of its branches as a power at nominal voltage, kVA."""
    lines, t = network.lines, network.transformers
    z_ohm = np.maximum(np.hypot(lines.r_ohm, lines.x_ohm), 1e-12)
    each = np.concatenate(
        [1e3 * network.nodes.v_nominal_kv[lines.node_from] ** 2 / z_ohm, 100 * t.s_kva / t.vk_percent]
    )
    total = np.zeros(network.nodes.n)
    np.add.at(total, network.branch_from, each)
    np.add.at(total, network.branch_to, each)
    return total
