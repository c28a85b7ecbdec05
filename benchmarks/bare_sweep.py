"""The bare sweep: what a radial network costs without inputs to check, switches to follow or results to report.

About forty lines, written for speed alone: the yardstick for the sweep of the product. Radial networks with one source.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order

from twin.network.model import Network
from twin.solvers.sweep.arrays import branches_of


@numba.njit(nogil=True, error_model="numpy")
def sweep(parent, z, ratio, y, s, v, j, v_source, tolerance):  # type: ignore[no-untyped-def]
    """Solve in place for ``v``; ``s`` conjugate, nodes ordered from the source, number 0."""
    v[:] = v_source
    for _ in range(100):
        for i in range(v.size):
            j[i] = s[i] * v[i] * (1.0 / (v[i].real * v[i].real + v[i].imag * v[i].imag)) + y[i] * v[i]
        for i in range(v.size - 1, 0, -1):
            j[parent[i]] += j[i] * ratio[i]
        largest = 0.0
        for i in range(1, v.size):
            new = v[parent[i]] * ratio[i] - z[i] * j[i]
            largest = max(largest, (new.real - v[i].real) ** 2 + (new.imag - v[i].imag) ** 2)
            v[i] = new
        if largest < tolerance * tolerance:
            break


class BareSweep:
    """Ordered once; transformers by their ratio, without their clock."""

    def __init__(self, network: Network) -> None:
        n, b = network.nodes.n, branches_of(network, network.transformers.tap_position)
        one, two = network.branch_from, network.branch_to
        graph = csr_array((np.ones(one.size), (one, two)), shape=(n, n))
        order, above = breadth_first_order(graph, int(network.sources.node[0]), directed=False)
        self.position = np.argsort(order)
        branch = {frozenset(pair): row for row, pair in enumerate(zip(one.tolist(), two.tolist(), strict=True))}
        rows = np.array([0] + [branch[frozenset((int(node), int(above[node])))] for node in order[1:]])
        up = two[rows] == order  # the from end is the upper one
        self.parent = np.concatenate([[0], self.position[above[order[1:]]]]).astype(np.int32)
        self.ratio = np.where(up, 1 / b.ratio[rows], b.ratio[rows])
        self.z = np.where(up, 1.0, b.ratio[rows] ** 2) * b.z[rows]
        y = np.zeros(n, dtype=np.complex128)
        np.add.at(y, one, b.half / b.ratio**2)
        np.add.at(y, two, b.half)
        np.add.at(y, network.shunts.node, (network.shunts.p_kw - 1j * network.shunts.q_kvar) / 1e3)
        self.y, self.network = y[order], network
        self.s, self.v, self.j = (np.zeros(n, dtype=np.complex128) for _ in range(3))
        self.at = self.position[network.consumers.node]
        self.fixed = np.zeros(n, dtype=np.complex128)
        g = network.generators
        np.add.at(self.fixed, self.position[g.node], -(g.p_kw - 1j * g.q_kvar) / 1e3)

    def step(self, p_kw: Any, q_kvar: Any) -> Any:
        """Write all loads, solve, read |V| of all nodes."""
        s = (p_kw - 1j * q_kvar) / 1e3
        self.s[:] = (
            self.fixed + np.bincount(self.at, s.real, self.s.size) + 1j * np.bincount(self.at, s.imag, self.s.size)
        )
        v_source = complex(self.network.sources.v_pu[0])
        sweep(self.parent, self.z, self.ratio, self.y, self.s, self.v, self.j, v_source, 1e-10)
        return np.abs(self.v)[self.position]
