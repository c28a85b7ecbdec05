"""The linear circuit of a three-phase network for one set of switch states, taps and shunts, factorised.

Stiff sources are eliminated, sources behind an impedance are current injections; what remains is one sparse
symmetric admittance matrix over the live groups of node phases. Not for demand, which is a current here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csc_array, csr_array
from scipy.sparse.linalg import SuperLU, splu

from twin.errors import TwinError
from twin.network.model import Bools, Floats
from twin.network.three_phase import Complexes, ThreePhaseNetwork
from twin.solvers.three_phase.admittance import shunt_unit_admittances
from twin.solvers.three_phase.connectivity import Connectivity, Index
from twin.solvers.three_phase.demand import Demand, Supplied, unit_ends

LEAST_PIVOT = 1e-13
"""What elimination must leave of a diagonal element; less is rounding of a singular matrix."""


class UndefinedVoltageError(TwinError, ArithmeticError):
    """The admittance matrix is singular: some live part has no defined voltage to earth. Stays inside the room."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Sources per node phase: ``stiff`` or behind ``y_s`` ``(n, 3, 3)``; ``volts`` and ``at`` are ``(n, 3)``."""

    volts: Complexes
    at: Index
    stiff: Bools
    y_s: Complexes

    @classmethod
    def of(cls, network: ThreePhaseNetwork) -> Sources:
        s = network.sources
        nominal = 1e3 * network.nodes.v_nominal_kv[s.node] / np.sqrt(3)
        stiff: Bools = ~np.any(s.z_ohm != 0, axis=(1, 2), keepdims=True)[:, 0, 0]
        y_s = np.zeros_like(s.z_ohm)
        y_s[~stiff] = np.linalg.inv(s.z_ohm[~stiff])
        at = 3 * s.node.astype(np.int64)[:, np.newaxis] + np.arange(3)
        return cls(nominal[:, np.newaxis] * s.v_pu * np.exp(1j * s.angle_rad), at, stiff, y_s)


class Shunts:
    """The shunt units that exist, as a flat list of two-terminal admittances."""

    def __init__(self, network: ThreePhaseNetwork) -> None:
        plus, minus = unit_ends(network.shunts.node, network.shunts.delta, 3 * network.nodes.n)
        self.rows = np.flatnonzero(network.shunts.units.ravel())
        self.plus, self.minus = plus.ravel()[self.rows], minus.ravel()[self.rows]
        self.y_s = shunt_unit_admittances(network).ravel()[self.rows]

    def in_service(self, on: Bools, live: Bools) -> Complexes:
        """Admittance of each unit, 0 where it is off or an end of it is dead; ``on`` is ``(n_shunts, 3)``."""
        serving = on.ravel()[self.rows] & live[self.plus] & live[self.minus]
        admittance: Complexes = np.where(serving, self.y_s, 0.0)
        return admittance


class Circuit:
    """Solves the linear circuit for injected currents.

    The unknowns are the live groups without a stiff source. ``no_load`` is the solution without any current,
    ``impressed`` the current that the sources drive into the unknown groups.

    Raises:
        UndefinedVoltageError: the circuit has no unique solution.
    """

    def __init__(
        self,
        connectivity: Connectivity,
        terminals: Index,
        branches: Complexes,
        shunts: Shunts,
        shunt_y_s: Complexes,
        sources: Sources,
    ) -> None:
        self.connectivity = connectivity
        self._place(connectivity, sources)
        matrix = self._assemble(terminals, branches, shunts, shunt_y_s, sources)
        self.admittance = csr_array(matrix[: self.n, : self.n])
        self._lu = _factorise(self.admittance.tocsc()) if self.n else None
        impressed = np.zeros(self.n_known, dtype=np.complex128)
        np.add.at(impressed, self.index[connectivity.group[sources.at]], self._norton(sources))
        self.impressed: Complexes = impressed[: self.n] - matrix[: self.n, self.n :] @ self._stiff_volts
        self.no_load = self._lu.solve(self.impressed) if self._lu else np.zeros(0, dtype=np.complex128)

    def _place(self, connectivity: Connectivity, sources: Sources) -> None:
        """Number the groups: unknown ones first, then stiff ones, then (one place for all) earth and the dead."""
        group = connectivity.group
        live = np.zeros(connectivity.n_groups, dtype=np.bool_)
        live[group[connectivity.live]] = True
        earth = group[-1]
        stiff_at, first = np.unique(group[sources.at[sources.stiff].ravel()], return_index=True)
        unknown = live.copy()
        unknown[earth] = False
        unknown[stiff_at] = False
        self.n = int(np.count_nonzero(unknown))
        self.n_known = self.n + len(stiff_at)
        self.index = np.full(connectivity.n_groups, self.n_known, dtype=np.int64)
        self.index[unknown] = np.arange(self.n)
        self.index[stiff_at] = self.n + np.arange(len(stiff_at))
        self.of_phase: Index = self.index[group]
        self._stiff_volts: Complexes = sources.volts[sources.stiff].ravel()[first]

    def _norton(self, sources: Sources) -> Complexes:
        current: Complexes = np.einsum("nij,nj->ni", sources.y_s, sources.volts)
        return current

    def _assemble(
        self, terminals: Index, branches: Complexes, shunts: Shunts, shunt_y_s: Complexes, sources: Sources
    ) -> csr_array:
        """The admittance matrix over unknown, stiff and (last) earthed groups."""
        at = self.of_phase
        branch, source = at[terminals], at[sources.at]
        plus, minus = at[shunts.plus], at[shunts.minus]
        rows = [
            np.repeat(branch, 6, axis=1).ravel(),
            np.repeat(source, 3, axis=1).ravel(),
            np.concatenate([plus, minus, plus, minus]),
        ]
        columns = [
            np.tile(branch, (1, 6)).ravel(),
            np.tile(source, (1, 3)).ravel(),
            np.concatenate([plus, minus, minus, plus]),
        ]
        values = [branches.ravel(), sources.y_s.ravel(), shunt_y_s, shunt_y_s, -shunt_y_s, -shunt_y_s]
        data, row, column = np.concatenate(values), np.concatenate(rows), np.concatenate(columns)
        used = np.flatnonzero((data != 0) & (row < self.n) & (column < self.n_known))
        size = self.n_known
        return csr_array(coo_array((data[used], (row[used], column[used])), shape=(size, size)))

    def _solve(self, injected: Complexes) -> Complexes:
        """Voltages of the unknown groups for the currents injected into them."""
        if self._lu is None:
            return self.no_load
        voltages: Complexes = self.no_load + self._lu.solve(injected)
        return voltages

    def fixed_point(
        self, demand: Demand, supplied: Supplied, nominal_v: Floats, limits: tuple[float, int, int, float]
    ) -> tuple[Complexes, bool]:
        """Voltages under the demand, and whether they are there: the last iteration changed nothing.

        ``limits``: the tolerance in pu, the most iterations, and that the change must fall to a factor every so many
        iterations; it gives up as soon as it can be seen not to get there.
        """
        tolerance_pu, most_iterations, checked_every, slowest = limits
        across = supplied.across(self.n_known)
        into = csr_array(-across[:, : self.n].T)
        unknown, checked = self.no_load, np.inf
        for iteration in range(1, most_iterations + 1):
            over = across @ self.full(unknown)[:-1]
            after = self._solve(into @ demand.current(over, supplied.on))
            change = np.max(np.abs(after - unknown) / nominal_v, initial=0.0)
            unknown = after
            if change < tolerance_pu:
                return unknown, True
            if iteration % checked_every == 0:
                if not change < checked * slowest:
                    break
                checked = change
        return unknown, False

    def full(self, unknown: Complexes) -> Complexes:
        """Voltages of unknown, stiff and earthed groups, in the order of ``index``."""
        return np.concatenate([unknown, self._stiff_volts, [0.0]])

    def nominal(self, v_phase: Floats) -> Floats:
        """Nominal voltage of each unknown group from that of each node phase."""
        nominal = np.ones(self.n_known + 1)
        nominal[self.of_phase[:-1]] = v_phase
        return nominal[: self.n]


def _factorise(matrix: csc_array) -> SuperLU:
    options = {"SymmetricMode": True}
    try:
        factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.01, options=options)
    except RuntimeError as singular:
        raise UndefinedVoltageError(str(singular)) from None
    left = np.abs(factors.U.diagonal()[factors.perm_c]) / np.abs(matrix.diagonal())
    if not (left > LEAST_PIVOT).all():
        raise UndefinedVoltageError("a pivot is nothing but rounding")
    return factors
