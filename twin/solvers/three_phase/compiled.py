"""Large three-phase circuits: places, elimination order and pattern are kept while switches and taps change.

The order belongs to the groups of joined node phases, not to what is live: a dead group stays among the unknowns,
held at 0 V. So an operation costs one numerical factorisation, and gives the same bits as a circuit built afresh.
Small circuits go through :mod:`twin.solvers.three_phase.circuit`, which needs no compiled code.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csr_array, diags_array
from scipy.sparse.linalg import splu

from twin.network.model import Floats
from twin.network.three_phase import Complexes
from twin.solvers.three_phase import kernels
from twin.solvers.three_phase.circuit import LEAST_PIVOT, Shunts, Sources, UndefinedVoltageError
from twin.solvers.three_phase.connectivity import Connectivity, Index
from twin.solvers.three_phase.demand import Demand, Supplied


class Order:
    """Places and elimination order for one grouping of the node phases by closed node-to-node switches.

    Places ``0 .. n - 1`` are the unknown groups in elimination order, then the stiff ones, then (one place) earth.
    """

    def __init__(self, group: Index, n_groups: int, terminals: Index, shunts: Shunts, sources: Sources) -> None:
        self.group = group
        self._n_groups = n_groups
        self._place(sources, terminals, shunts)
        self.branch = self.of_phase[terminals]
        self.source = self.of_phase[sources.at]
        self.shunt = np.stack([self.of_phase[shunts.plus], self.of_phase[shunts.minus]], axis=1)
        self._eliminate()

    def _place(self, sources: Sources, terminals: Index, shunts: Shunts) -> None:
        group, earth = self.group, int(self.group[-1])
        stiff_at, first = np.unique(group[sources.at[sources.stiff].ravel()], return_index=True)
        self.stiff_volts: Complexes = sources.volts[sources.stiff].ravel()[first]
        unknown = np.zeros(self._n_groups, dtype=np.bool_)
        for used in (terminals, sources.at, shunts.plus, shunts.minus):
            unknown[group[used].ravel()] = True
        unknown[stiff_at] = unknown[earth] = False
        self.n = int(np.count_nonzero(unknown))
        self.n_known = self.n + len(stiff_at)
        index = np.full(self._n_groups, self.n_known, dtype=np.int64)
        index[unknown] = np.arange(self.n)
        index[stiff_at] = self.n + np.arange(len(stiff_at))
        self.of_phase: Index = index[group]

    def _eliminate(self) -> None:
        """Find the order on a matrix of the same pattern, put the places into it, and find the pattern of L."""
        rows, columns = self._entries()
        pattern = coo_array((np.ones(len(rows)), (rows, columns)), shape=(self.n, self.n)).tocsc()
        pattern.data[:] = -1.0
        pattern.setdiag(np.diff(pattern.indptr) + 1.0)
        order = splu(
            csc_array(pattern), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        ).perm_c.astype(np.int64)
        moved = np.arange(self.n_known + 1)
        moved[: self.n] = order
        self.of_phase = moved[self.of_phase]
        self.branch, self.source, self.shunt = moved[self.branch], moved[self.source], moved[self.shunt]
        self._pattern(order[rows], order[columns])

    def _entries(self) -> tuple[Index, Index]:
        pairs = [
            np.stack([np.repeat(at, at.shape[1], axis=1).ravel(), np.tile(at, (1, at.shape[1])).ravel()])
            for at in (self.branch, self.source, self.shunt)
        ]
        rows, columns = np.concatenate(pairs, axis=1)
        inner = (rows < self.n) & (columns < self.n) & (rows != columns)
        key = np.unique(rows[inner] * self.n + columns[inner])
        return key // self.n, key % self.n

    def _pattern(self, rows: Index, columns: Index) -> None:
        above = rows < columns
        self._key = np.sort(columns[above] * self.n + rows[above])
        self.row: Index = self._key % self.n
        self.column_at: Index = np.searchsorted(self._key, np.arange(self.n + 1) * self.n)
        self.parent, size, flag = (np.empty(self.n, dtype=np.int64) for _ in range(3))
        kernels.analyse(self.column_at, self.row, self.parent, size, flag)
        self.lower_at = np.concatenate([[0], np.cumsum(size)])
        self.slots = tuple(self._slot(at) for at in (self.branch, self.source, self.shunt))

    def _slot(self, at: Index) -> NDArray[np.int32]:
        """Where each entry of the blocks over ``at`` lies among the values above the diagonal, -1: nowhere."""
        rows, columns = at[:, :, np.newaxis], at[:, np.newaxis, :]
        inner = (rows < columns) & (columns < self.n)
        slot = np.searchsorted(self._key, columns * self.n + rows)
        return np.where(inner, slot, -1).astype(np.int32)


class CompiledCircuit:
    """Does for large circuits what :class:`twin.solvers.three_phase.circuit.Circuit` does, in elimination order.

    Raises:
        UndefinedVoltageError: elimination without pivoting meets a pivot that is (next to) nothing.
    """

    def __init__(
        self, order: Order, connectivity: Connectivity, branches: Complexes, shunt_y_s: Complexes, sources: Sources
    ) -> None:
        self.connectivity = connectivity
        self._order = order
        self.n, self.n_known, self.of_phase = order.n, order.n_known, order.of_phase
        self._upper, self._diagonal, self.impressed = self._assemble(branches, shunt_y_s, sources)
        self._factors = self._factorise()
        self.no_load: Complexes = self.impressed.copy()
        kernels.substitute(*self._factors, self.no_load)

    def _assemble(
        self, branches: Complexes, shunt_y_s: Complexes, sources: Sources
    ) -> tuple[Complexes, Complexes, Complexes]:
        order, live = self._order, self.connectivity.live
        upper = np.zeros(len(order.row), dtype=np.complex128)
        diagonal, impressed = np.zeros(self.n, dtype=np.complex128), np.zeros(self.n_known + 1, dtype=np.complex128)
        fed = live[sources.at]
        source_y_s = sources.y_s * (fed[:, :, np.newaxis] & fed[:, np.newaxis, :])
        np.add.at(impressed, order.source, np.einsum("nij,nj->ni", source_y_s, sources.volts))
        blocks = (branches, source_y_s, shunt_y_s[:, np.newaxis, np.newaxis] * np.array([[1, -1], [-1, 1]]))
        for at, block, slot in zip((order.branch, order.source, order.shunt), blocks, order.slots, strict=True):
            kernels.assemble(at, block, slot, self.n, order.stiff_volts, upper, diagonal, impressed)
        dead = np.ones(self.n_known + 1, dtype=np.bool_)
        dead[order.of_phase[live]] = False
        diagonal[dead[: self.n]] = 1.0
        return upper, diagonal, impressed[: self.n]

    def _factorise(self) -> tuple[Index, NDArray[np.int32], Complexes, Complexes]:
        order, size = self._order, int(self._order.lower_at[-1])
        rows, values = np.empty(size, dtype=np.int32), np.empty(size, dtype=np.complex128)
        pivot_inverse = np.empty(self.n, dtype=np.complex128)
        matrix = (order.column_at, order.row, self._upper, self._diagonal, order.parent)
        if not kernels.factorise(*matrix, order.lower_at, rows, values, pivot_inverse, LEAST_PIVOT):
            raise UndefinedVoltageError("a pivot is nothing but rounding")
        return order.lower_at, rows, values, pivot_inverse

    @cached_property
    def admittance(self) -> csr_array:
        """The matrix of the unknown places; dead ones have 1 S to earth."""
        order = self._order
        above = csc_array((self._upper, order.row, order.column_at), shape=(self.n, self.n))
        return csr_array(above + above.T + diags_array(self._diagonal))

    def full(self, unknown: Complexes) -> Complexes:
        """Voltages of unknown, stiff and earthed groups, in the order of the places."""
        return np.concatenate([unknown, self._order.stiff_volts, [0.0]])

    def nominal(self, v_phase: Floats) -> Floats:
        """Nominal voltage of each unknown group from that of each node phase."""
        nominal = np.ones(self.n_known + 1)
        nominal[self.of_phase[:-1]] = v_phase
        return nominal[: self.n]

    def fixed_point(
        self, demand: Demand, supplied: Supplied, nominal_v: Floats, limits: tuple[float, int, int, float]
    ) -> tuple[Complexes, bool]:
        """See :meth:`twin.solvers.three_phase.circuit.Circuit.fixed_point`."""
        volts = self.full(self.no_load)
        units = demand.of(supplied.on)
        ends = (supplied.plus, supplied.minus)
        converged = kernels.fixed_point(self._factors, self.no_load, volts, 1 / nominal_v, *ends, *units, limits)
        return volts[: self.n], bool(converged)
