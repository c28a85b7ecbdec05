"""The iteration of one topology: ordered buses, their state, and the steps of Gauss-Newton on it.

Knows buses and slots, not measurements; per unit of 1 MVA throughout.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from twin.network.model import Bools, Floats, Ints
from twin.solvers.state_estimation.buses import Buses
from twin.solvers.state_estimation.equations import Factor, elimination_order, unique_pairs
from twin.solvers.state_estimation.rank import undetermined
from twin.solvers.state_estimation.slots import Fit, Slots

Complexes = NDArray[np.complex128]

_LARGEST_STEP = 0.5
"""Steps beyond this (rad, parts of the voltage) are shortened to it, by island."""

_HELD = 1e14
"""Weight of the reference angles: as good as given, and far above every flow, beside which a smaller weight drowns."""

_RANK_VARIANCE = 1e-4
"""Variance of the injections in the proof of observability, where all other measurements have one."""

_PIVOT_ROUNDS = 6


class System:
    """Equations and state for the buses of one topology; reorders the buses to ``buses`` by elimination."""

    def __init__(self, buses: Buses, admittance: Complexes, y_shunt: Complexes) -> None:
        self._groups: list[list[int]] = []
        self._order(buses, admittance, y_shunt)

    def _order(self, buses: Buses, admittance: Complexes, y_shunt: Complexes) -> None:
        position = elimination_order(buses.n, *unique_pairs(buses.branch_from, buses.branch_to), behind=self._groups)
        self._groups = [[int(position[bus]) for bus in group] for group in self._groups]
        self.buses = _renumber(buses, position)
        self.left_out: Bools = np.zeros(buses.n_islands, dtype=np.bool_)
        self.factor = Factor(buses.n, self.buses.branch_from, self.buses.branch_to)
        shunt = np.empty_like(y_shunt)
        shunt[position] = y_shunt
        self.set_admittances(admittance, shunt)
        n = buses.n
        self._right = np.zeros((n, 4))
        self._power = np.zeros(n, dtype=np.complex128)
        self._angle_weight = np.zeros(n)
        self._angle_weight[self.buses.reference] = _HELD
        self._v_nothing: Floats = np.zeros(n)
        self.start_idle()

    def set_admittances(self, admittance: Complexes, y_shunt: Complexes) -> None:
        """Take other admittances of the branches, shape (n_branches, 4), and of the (ordered) buses."""
        y, b = admittance.copy(), self.buses
        within = (b.branch_from == b.branch_to) & b.from_on & b.to_on
        y[within, 0] += y[within, 1]
        y[within, 3] += y[within, 2]
        y[within, 1:3] = 0.0
        self._admittance = np.ascontiguousarray(y)
        self._y_shunt = y_shunt

    def leave_out(self, islands: Bools) -> None:
        """Hold the state of these islands where it is: nothing determines it."""
        self.left_out = islands
        out = islands[self.buses.island]
        self._v_nothing = out.astype(np.float64)
        self._angle_weight = out.astype(np.float64)
        self._angle_weight[self.buses.reference] = _HELD

    def start_idle(self) -> None:
        """Nominal voltages and the angles without load; currents flow away from the source."""
        b = self.buses
        self.u = np.zeros(b.n)
        self.angle = b.angle_rad.copy()
        self._direction = np.zeros((len(b.branch_from), 2), dtype=np.complex128)
        alive = b.branch_from >= 0
        for end, (bus, sign) in enumerate(((b.branch_from, 1), (b.branch_to, -1))):
            self._direction[alive, end] = sign * b.away[alive] * np.exp(1j * self.angle[bus[alive]])

    def start_at(self, v_pu: Floats, angle_rad: Floats) -> None:
        """A state by node; nodes at 0 V start idle."""
        self.start_idle()
        node = np.flatnonzero((self.buses.of_node >= 0) & (v_pu > 0))
        bus = self.buses.of_node[node]
        self.u[bus], self.angle[bus] = np.log(v_pu[node]), angle_rad[node]

    def step(self, slots: Slots, *, steer: bool) -> Floats:
        """One step of Gauss-Newton; the size of the step at each bus before it was shortened."""
        self._assemble(slots, self._angle_weight, steer)
        if not self.factor.factorise():
            self.factor.exchanging = True
            self._assemble(slots, self._angle_weight, steer)
            if not self.factor.factorise():
                return np.full(self.buses.n, np.inf)
        step = self.factor.solve(self._right)[:, :2]
        size: Floats = np.abs(step).max(axis=1)
        b = self.buses
        largest = np.zeros(b.n_islands)
        np.maximum.at(largest, b.island, size)
        shorter = np.divide(_LARGEST_STEP, largest, out=np.ones(b.n_islands), where=largest > _LARGEST_STEP)[b.island]
        self.u += shorter * step[:, 0]
        self.angle += shorter * step[:, 1]
        self.angle -= (self.angle[b.reference] - b.angle_rad[b.reference])[b.island]
        return size

    def _assemble(self, slots: Slots, angle_weight: Floats, steer: bool) -> None:
        self._assemble_with(self._admittance, self._y_shunt, slots, angle_weight, steer)

    def _assemble_with(
        self, admittance: Complexes, y_shunt: Complexes, slots: Slots, angle_weight: Floats, steer: bool
    ) -> None:
        b, f = self.buses, self.factor
        f.kernels.assemble(
            self.u,
            self.angle,
            y_shunt,
            b.branch_from,
            b.branch_to,
            f.branch_position,
            admittance,
            slots.v_value + self._v_nothing * np.exp(self.u),
            slots.v_weight + self._v_nothing,
            slots.injection,
            slots.variance,
            slots.flow,
            slots.flow_weight,
            slots.current,
            slots.current_weight,
            self._direction,
            steer,
            angle_weight,
            f.diagonal,
            f.lower,
            self._right,
            self._power,
        )

    def fit(self, slots: Slots, tests: bool) -> Fit:
        """The estimates at all slots for the present state; ``tests`` adds their variances."""
        b = self.buses
        phasor = np.exp(self.u + 1j * self.angle)
        at_from, at_to = phasor[b.branch_from], phasor[b.branch_to]
        y = self._admittance
        i = np.stack([y[:, 0] * at_from + y[:, 1] * at_to, y[:, 2] * at_from + y[:, 3] * at_to], axis=1)
        s = np.stack([at_from, at_to], axis=1) * np.conj(i)
        injection = np.abs(phasor) ** 2 * np.conj(self._y_shunt)
        alive = b.branch_from >= 0
        for end, bus in enumerate((b.branch_from, b.branch_to)):
            injection += np.bincount(bus[alive], s[alive, end].real, minlength=b.n)
            injection += 1j * np.bincount(bus[alive], s[alive, end].imag, minlength=b.n)
        found = Fit(
            v=np.abs(phasor),
            injection=np.stack([injection.real, injection.imag], axis=1),
            flow=np.stack([s.real, s.imag], axis=2),
            current=np.abs(i),
        )
        return self._with_variances(found, slots) if tests else found

    def _with_variances(self, fit: Fit, slots: Slots) -> Fit:
        """Variances of the estimates: the covariance of the state is the upper part of the inverse."""
        b, f = self.buses, self.factor
        self._assemble(slots, self._angle_weight, True)
        f.factorise()
        z_diagonal, z_lower = f.sparse_inverse()
        flow_variance = np.zeros_like(slots.flow)
        current_variance = np.zeros_like(slots.current)
        f.kernels.predicted_variances(
            self.u,
            self.angle,
            b.branch_from,
            b.branch_to,
            f.branch_position,
            self._admittance,
            self._direction,
            z_diagonal,
            z_lower,
            slots.flow_weight,
            slots.current_weight,
            flow_variance,
            current_variance,
        )
        multiplier = -np.stack([z_diagonal[:, 2, 2], z_diagonal[:, 3, 3]], axis=1)
        # residual variance of an injection: R (R + Q G^-1 Q')^-1 R, its inverse being the multipliers' block
        leverage = np.where(slots.variance > 0, slots.variance**2 * multiplier, 0.0)
        return replace(
            fit,
            v_variance=fit.v**2 * z_diagonal[:, 0, 0],
            injection_leverage=leverage,
            flow_variance=flow_variance,
            current_variance=current_variance,
        )

    # --- rank --------------------------------------------------------------------------------------------------

    def _unit_slots(self, slots: Slots) -> Slots:
        """The same slots with weights that make every row of the equations a unit one, near enough."""
        b, y = self.buses, np.abs(self._admittance) ** 2
        at_end = np.stack([y[:, 0] + y[:, 1], y[:, 2] + y[:, 3]], axis=1)
        weight = np.divide(1.0, at_end, out=np.zeros_like(at_end), where=at_end > 0)
        alive = b.branch_from >= 0
        own = np.bincount(b.branch_from[alive], at_end[alive, 0], minlength=b.n)
        own += np.bincount(b.branch_to[alive], at_end[alive, 1], minlength=b.n)
        variance = _RANK_VARIANCE * np.where(own > 0, own, 1.0)[:, None]
        return replace(
            slots,
            v_weight=np.where(slots.v_weight > 0, 1.0, 0.0),
            variance=np.where(slots.variance >= 0, variance, -1.0),
            flow_weight=np.where(slots.flow_weight > 0, weight[:, :, None], 0.0),
            current_weight=np.where(slots.current_weight > 0, weight, 0.0),
        )

    def _assemble_for_rank(self, slots: Slots) -> None:
        """The equations without any shunt: what is seen through charging currents alone is not seen."""
        b, y = self.buses, self._admittance.copy()
        apart = np.exp(1j * (self.angle[b.branch_to] - self.angle[b.branch_from]))
        y[:, 0], y[:, 3] = -y[:, 1] * apart, -y[:, 2] / apart
        self._assemble_with(
            y, np.zeros_like(self._y_shunt), self._unit_slots(slots), np.minimum(self._angle_weight, 1.0), False
        )

    def find_pivots(self, slots: Slots) -> bool:
        """Reorder the buses until every one has a pivot of its own, as far as that goes; True if it did."""
        self.leave_out(np.zeros(self.buses.n_islands, dtype=np.bool_))
        changed = False
        for _ in range(_PIVOT_ROUNDS):
            self.start_idle()
            self._assemble_for_rank(slots)
            if self.factor.certain() or not self._group(np.flatnonzero(self.factor.failed)):
                break
            changed = True
            old = self.buses
            self._order(old, self._admittance, self._y_shunt)
            slots = _reorder(slots, old, self.buses)
        return changed

    def _group(self, failed: NDArray[np.int64]) -> bool:
        """Put each failed bus (with those that already follow another) behind its parent; False if none has one."""
        member = {bus: group for group in self._groups for bus in group}
        moved = False
        for bus in failed.tolist():
            group = member.get(bus, [bus])
            parent = self.factor.parent(group[-1])
            if parent < 0:
                continue
            leading = member.get(parent, [parent])
            if leading is group:
                continue
            merged = leading + group
            for each in merged:
                member[each] = merged
            moved = True
        self._groups = list({id(g): g for g in member.values()}.values())
        return moved

    def undetermined(self, slots: Slots) -> tuple[Ints, Bools]:
        """By how much the rank of each island falls short of its states, and the buses concerned."""
        b = self.buses
        self.leave_out(np.zeros(b.n_islands, dtype=np.bool_))
        self.start_idle()
        self._assemble_for_rank(slots)
        missing = np.zeros(b.n_islands, dtype=np.int32)
        unseen: Bools = np.zeros(b.n, dtype=np.bool_)
        if self.factor.certain():
            return missing, unseen
        rows = self._unit_rows(slots)
        for island in np.unique(b.island[self.factor.failed]).tolist():
            here = np.flatnonzero(b.island == island)
            part = rows[:, np.concatenate([here, b.n + here])]
            part = part[np.flatnonzero(np.diff(part.indptr))]
            missing[island], columns = undetermined(part)
            unseen[here] = columns[: len(here)] | columns[len(here) :]
        return missing, unseen

    def _unit_rows(self, slots: Slots) -> csr_array:
        """The rows of all measurements and constraints without shunts, of length one; columns ln V, then angle."""
        b, n = self.buses, self.buses.n
        flow, current = _end_rows(b, self._admittance, self._direction)
        injection = []
        for quantity in range(2):
            ends = [_sum_by_bus(n, bus, flow[end][quantity]) for end, bus in enumerate((b.branch_from, b.branch_to))]
            injection.append((ends[0] + ends[1])[np.flatnonzero(slots.variance[:, quantity] >= 0)])
        unit = csr_array((np.ones(2 * n), (np.arange(2 * n), np.arange(2 * n))), shape=(2 * n, 2 * n))
        parts = [unit[np.flatnonzero(slots.v_weight > 0)], unit[n + b.reference.astype(np.int64)], *injection]
        for end in range(2):
            parts += [flow[end][q][np.flatnonzero(slots.flow_weight[:, end, q] > 0)] for q in range(2)]
            parts.append(current[end][np.flatnonzero(slots.current_weight[:, end] > 0)])
        rows = csr_array(vstack([part for part in parts if part.shape[0]], format="csr"))
        length = np.sqrt(rows.multiply(rows).sum(axis=1))
        rows.data /= np.repeat(np.where(length > 0, length, 1.0), np.diff(rows.indptr))
        rows.eliminate_zeros()
        return rows


def _end_rows(b: Buses, admittance: Complexes, direction: Complexes) -> tuple[list[list[csr_array]], list[csr_array]]:
    """Derivatives of (P, Q) and of the current at both ends of every branch in the idle state, without shunts."""
    phasor = np.exp(1j * b.angle_rad)
    alive = np.flatnonzero((b.branch_from >= 0) & (b.branch_from != b.branch_to))
    flow, current = [], []
    for end, (own, other) in enumerate(((b.branch_from, b.branch_to), (b.branch_to, b.branch_from))):
        own, other = own[alive], other[alive]
        i = admittance[alive, 1 + end] * phasor[other]
        m, c = phasor[own] * np.conj(i), np.conj(direction[alive, end]) * i

        def rows(by_u: Floats, by_angle: Floats, own: Ints = own, other: Ints = other) -> csr_array:
            values = np.concatenate([-by_u, -by_angle, by_u, by_angle])
            columns = np.concatenate([own, b.n + own, other, b.n + other])
            return csr_array((values, (np.tile(alive, 4), columns)), shape=(len(b.branch_from), 2 * b.n))

        flow.append([rows(m.real, m.imag), rows(m.imag, -m.real)])
        current.append(rows(c.real, -c.imag))
    return flow, current


def _sum_by_bus(n: int, bus: Ints, rows: csr_array) -> csr_array:
    alive = np.flatnonzero(bus >= 0)
    pick = csr_array((np.ones(len(alive)), (bus[alive], alive)), shape=(n, len(bus)))
    return csr_array(pick @ rows)


def _renumber(buses: Buses, position: Ints) -> Buses:
    to = np.append(position, np.int32(-1))
    island, angle = np.empty_like(buses.island), np.empty_like(buses.angle_rad)
    island[position], angle[position] = buses.island, buses.angle_rad
    return replace(
        buses,
        of_node=to[buses.of_node],
        island=island,
        reference=to[buses.reference],
        branch_from=to[buses.branch_from],
        branch_to=to[buses.branch_to],
        angle_rad=angle,
    )


def _reorder(slots: Slots, old: Buses, new: Buses) -> Slots:
    """Slots of buses in the old order, brought into the new one."""
    at = np.empty(new.n, dtype=np.int64)
    live = old.of_node >= 0
    at[new.of_node[live]] = old.of_node[live]
    return replace(
        slots,
        v_value=slots.v_value[at],
        v_weight=slots.v_weight[at],
        injection=slots.injection[at],
        variance=slots.variance[at],
    )
