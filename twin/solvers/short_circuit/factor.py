"""Sequence admittance matrices of one topology and their symmetric factors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csc_matrix
from scipy.sparse.linalg import splu

from twin.errors import TwinError
from twin.network.model import Bools, Ints
from twin.solvers.short_circuit.buses import Buses
from twin.solvers.short_circuit.elements import Elements, TwoPorts
from twin.solvers.short_circuit.machines import Complex

LARGEST_RESIDUAL = 1e-9


class SingularNetworkError(TwinError):
    """A sequence network has no unique solution, for example at exact resonance without losses."""

    def __init__(self, network: str, sequence: str) -> None:
        self.network, self.sequence = network, sequence
        super().__init__(f"the {sequence}-sequence network of {network} has no unique solution")


@dataclass(frozen=True)
class Triangular:
    """Y = P' L D L' P: unit lower triangle by columns, ``parent`` the elimination tree, ``row`` where a bus stands."""

    start: NDArray[np.int64]
    below: NDArray[np.int64]
    value: Complex
    diagonal: Complex
    parent: NDArray[np.int64]
    row: NDArray[np.int64]


class Factor:
    """One factorised sequence network; ``solve`` gives voltages for injected currents, one column each."""

    def __init__(self, matrix: Any, network: str, sequence: str) -> None:
        self._network, self._sequence = network, sequence
        try:
            self._lu = splu(
                csc_matrix(matrix), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
            )
        except RuntimeError:
            raise SingularNetworkError(network, sequence) from None
        probe = np.cos(np.arange(matrix.shape[0])) + 0.5j
        self._check(matrix @ self.solve(probe) - probe)

    def _check(self, residual: Complex) -> None:
        if not np.abs(residual).max(initial=0.0) <= LARGEST_RESIDUAL * 1e3:
            raise SingularNetworkError(self._network, self._sequence)

    def solve(self, injected: Complex) -> Complex:
        solved: Complex = self._lu.solve(injected)
        return solved

    @cached_property
    def triangular(self) -> Triangular:
        """The factors for compiled code."""
        lower, upper = csc_array(self._lu.L), self._lu.U
        lower.sort_indices()
        n = lower.shape[0]
        if not np.array_equal(self._lu.perm_r, self._lu.perm_c):
            raise SingularNetworkError(self._network, self._sequence)
        first = lower.indptr[:-1]
        keep = np.ones(lower.nnz, dtype=np.bool_)
        keep[first] = False
        start = (lower.indptr - np.arange(n + 1)).astype(np.int64)
        below = lower.indices[keep].astype(np.int64)
        parent = np.full(n, -1, dtype=np.int64)
        has = np.flatnonzero(np.diff(start) > 0)
        parent[has] = below[start[has]]
        return Triangular(start, below, lower.data[keep], upper.diagonal(), parent, self._lu.perm_c.astype(np.int64))


def positive(elements: Elements, buses: Buses, *, peak: bool = False, motors: bool = True) -> Factor:
    """The positive sequence, which is the negative one too; ``peak`` at the frequency of the peak factor's method."""
    infeed = elements.units.infeed
    z = infeed.z_peak.real + 1j * elements.peak_frequency * infeed.z_peak.imag if peak else infeed.z
    rows = np.arange(len(infeed.node)) if motors else np.flatnonzero(~infeed.motor)
    at = buses.of_node[infeed.node[rows]]
    ports = elements.peak if peak else elements.positive
    matrix = _assemble(buses, ports, ~buses.fed, at, np.asarray(1.0 / z[rows], dtype=np.complex128))
    return Factor(matrix, elements.network.name, "positive")


def zero(elements: Elements, buses: Buses) -> Factor:
    """The zero sequence; each floating part is tied to earth at one bus, where no current flows."""
    infeed, shunts = elements.units.infeed, elements.network.shunts
    feeds = np.flatnonzero(np.isfinite(infeed.z0))
    earthings = np.flatnonzero(np.isfinite(shunts.x0_ohm))
    v_kv = elements.network.nodes.v_nominal_kv[shunts.node[earthings]]
    z_earthing = (np.nan_to_num(shunts.r0_ohm[earthings]) + 1j * shunts.x0_ohm[earthings]) / v_kv**2
    z_earthing = np.where(z_earthing == 0, 1e-8j, z_earthing)
    at = buses.of_node[np.concatenate([infeed.node[feeds], shunts.node[earthings]]).astype(np.int64)]
    y = np.concatenate([1.0 / infeed.z0[feeds], 1.0 / z_earthing])
    return Factor(_tied(_assemble(buses, elements.zero, ~buses.fed, at, y), buses), elements.network.name, "zero")


def _assemble(buses: Buses, ports: TwoPorts, dead: Bools, at: Ints, y_shunt: Complex) -> Any:
    f, t = buses.ends[:, buses.live]
    yff, yft, ytt = ports.y[:, buses.live]
    alone = np.flatnonzero(dead)
    fed = ~dead[at]
    row = np.concatenate([f, t, f, t, at[fed], alone])
    column = np.concatenate([f, t, t, f, at[fed], alone])
    value = np.concatenate([yff, ytt, yft, yft, y_shunt[fed], np.ones(len(alone))])
    return csc_array((value, (row, column)), shape=(buses.n, buses.n))


def _tied(matrix: Any, buses: Buses) -> Any:
    """One bus of each floating part with an admittance of its own size to earth."""
    _, first = np.unique(buses.part0, return_index=True)
    ties = first[buses.floating0[first] & buses.fed[first]]
    diagonal = np.zeros(buses.n, dtype=np.complex128)
    size = np.abs(matrix.diagonal()[ties])
    diagonal[ties] = np.where(size > 0, size, 1.0)
    index = np.arange(buses.n)
    return csc_array(matrix + csc_array((diagonal, (index, index)), shape=(buses.n, buses.n)))
