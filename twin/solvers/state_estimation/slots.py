"""Measurements onto the slots of the equations, and the estimates back onto the measurements.

A slot is a voltage of a bus, an injection of a bus, a flow or a current at a branch end. Measurements of the same
quantity are combined into one by their weights; the injections at the nodes of one bus are summed if all of them
are measured (if not, those measured say nothing about the bus). Both are exact: residuals and their variances are
shared out again afterwards. Not the estimation itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin.network.model import Bools, Floats, Ints, Network
from twin.solvers.state_estimation.admittance import BASE_KVA
from twin.solvers.state_estimation.buses import Buses
from twin.solvers.state_estimation.model import MeasurementError, MeasurementKind, Measurements

LEAST_REDUNDANCY = 1e-6
"""Share of its variance that the residual of a measurement must keep for the measurement not to be critical."""

_KINDS = len(MeasurementKind)
_P, _Q = int(MeasurementKind.P_INJECTION_KW), int(MeasurementKind.Q_INJECTION_KVAR)


@dataclass(slots=True)
class Slots:
    """What the kernels read; weights of 0 and negative variances are empty slots. Shapes as in ``kernels.assemble``."""

    v_value: Floats
    v_weight: Floats
    injection: Floats
    variance: Floats
    flow: Floats
    flow_weight: Floats
    current: Floats
    current_weight: Floats


@dataclass(slots=True)
class Fit:
    """The solution at the slots, in per unit: estimates and the variances of their errors (None without tests)."""

    v: Floats
    injection: Floats
    flow: Floats
    current: Floats
    v_variance: Floats | None = None
    injection_leverage: Floats | None = None
    flow_variance: Floats | None = None
    current_variance: Floats | None = None


@dataclass(frozen=True, slots=True)
class Residuals:
    """By measurement, in per unit of the slots apart from ``value`` and ``residual``, which are in the unit given."""

    value: Floats
    residual: Floats
    normalised: Floats
    critical: Bools
    weighted_square: Floats


class Placement:
    """Where each measurement goes for one topology; ``used`` says which count.

    Raises:
        MeasurementError: a place that the network does not have.
    """

    def __init__(
        self, network: Network, buses: Buses, zero_injection: Bools, measurements: Measurements, live_island: Bools
    ) -> None:
        _check_places(network, measurements)
        self.kind, self.place, self.side = measurements.kind, measurements.place, measurements.side
        self.available = np.isfinite(measurements.value)
        self._buses, self._n_nodes, self._n_branches = buses, network.nodes.n, network.n_branches
        self._node_live = (buses.of_node >= 0) & np.append(live_island[buses.island], False)[buses.of_node]
        self.bus = self._bus_of(measurements)
        live = np.append(live_island[buses.island], False)
        self.used = self.available & (self.bus >= 0) & live[self.bus]
        self._sizes = [buses.n, self._n_nodes, self._n_nodes, *[2 * self._n_branches] * 3]
        self._offset = np.concatenate([[0], np.cumsum(self._sizes)])
        self.group = self._groups(measurements)
        self.unit = self._units(network, measurements)
        self.active = self._node_live & ~zero_injection
        self._zero_bus = self._node_live_buses(live_island)
        self._zero_bus[buses.of_node[self.active]] = False
        self._split_injections(zero_injection)

    def _bus_of(self, m: Measurements) -> Ints:
        b = self._buses
        at_node = m.kind <= _Q
        node = np.where(at_node, m.place, 0)
        branch = np.where(at_node, 0, m.place)
        at_branch = b.branch_from[branch] if self._n_branches else np.full(m.n, -1)
        return np.where(at_node, b.of_node[node], at_branch).astype(np.int32)

    def _groups(self, m: Measurements) -> Ints:
        """The number of the quantity that each measurement measures."""
        within = np.where(m.kind > _Q, 2 * m.place + m.side, m.place)
        within = np.where(m.kind == int(MeasurementKind.V_PU), self.bus, within)
        return np.where(self.used, self._offset[m.kind] + within, 0).astype(np.int64)

    def _units(self, network: Network, m: Measurements) -> Floats:
        """Per unit of the slots in one unit of the measurement."""
        power = np.where(m.kind == int(MeasurementKind.V_PU), 1.0, 1 / BASE_KVA)
        if not network.n_branches:
            return power
        branch = np.where(m.kind > _Q, m.place, 0)
        node = np.where(m.side == 0, network.branch_from[branch], network.branch_to[branch])
        amperes = np.sqrt(3.0) * network.nodes.v_nominal_kv[node] / BASE_KVA
        return np.asarray(np.where(m.kind == int(MeasurementKind.I_FLOW_A), amperes, power))

    def _node_live_buses(self, live_island: Bools) -> Bools:
        return live_island[self._buses.island].copy()

    def _split_injections(self, zero_injection: Bools) -> None:
        """Which node injections are zero anyhow, which count for their bus, and which say nothing about it."""
        of_node, n = self._buses.of_node, self._buses.n
        self._in_slot = np.zeros((self._n_nodes, 2), dtype=np.bool_)
        self._full = np.zeros((n, 2), dtype=np.bool_)
        active = np.flatnonzero(self.active)
        need = np.bincount(of_node[active], minlength=n)
        self._measured = np.zeros((self._n_nodes, 2), dtype=np.bool_)
        for q, kind in enumerate((_P, _Q)):
            self._measured[self.place[self.used & (self.kind == kind)], q] = True
            here = active[self._measured[active, q]]
            self._full[:, q] = (np.bincount(of_node[here], minlength=n) == need) & (need > 0)
            self._in_slot[here, q] = self._full[of_node[here], q]
        at_node = (self.kind == _P) | (self.kind == _Q)
        rows = np.flatnonzero(self.used & at_node)
        quantity = self.kind[rows] - _P
        node = self.place[rows]
        constant = ~self.active[node]
        self.constant = np.zeros(len(self.kind), dtype=np.bool_)
        self.free = np.zeros(len(self.kind), dtype=np.bool_)
        self.constant[rows] = constant
        self.free[rows] = ~constant & ~self._in_slot[node, quantity]

    def degrees_of_freedom(self) -> Ints:
        """Of each island: measurements and constraints less states."""
        b = self._buses
        states = 2 * np.bincount(b.island, minlength=b.n_islands) - 1
        count = np.bincount(b.island[self.bus[self.used]], minlength=b.n_islands)
        constraints = 2 * np.bincount(b.island[self._zero_bus], minlength=b.n_islands)
        # every node injection beyond the first of a bus, and every one that says nothing about it, is a state too
        at_node = np.nonzero(self._measured & self.active[:, None])[0]
        extra_nodes = np.bincount(b.island[b.of_node[at_node]], minlength=b.n_islands)
        full_buses = np.bincount(b.island[np.nonzero(self._full)[0]], minlength=b.n_islands)
        return np.asarray(count + constraints - states - (extra_nodes - full_buses), dtype=np.int32)

    def slots(self, m: Measurements) -> Slots:
        """The slots for these values and sigmas, in per unit."""
        weight = np.where(self.used, 1 / (m.sigma * self.unit) ** 2, 0.0)
        value = np.where(self.used, m.value * self.unit, 0.0)
        total: Floats = np.bincount(self.group, weight, minlength=self._offset[-1]).astype(np.float64)
        mean: Floats = np.bincount(self.group, weight * value, minlength=self._offset[-1]).astype(np.float64)
        np.divide(mean, total, out=mean, where=total > 0)
        self._weight, self._mean = total, mean
        cut = [slice(*self._offset[k : k + 2]) for k in range(_KINDS)]
        nodes = [self._injections(mean[cut[k]], total[cut[k]], k - _P) for k in (_P, _Q)]
        ends = (self._n_branches, 2)
        return Slots(
            v_value=mean[cut[0]],
            v_weight=total[cut[0]],
            injection=np.stack([z for z, _ in nodes], axis=1),
            variance=np.stack([r for _, r in nodes], axis=1),
            flow=np.stack([mean[cut[k]].reshape(ends) for k in (3, 4)], axis=2),
            flow_weight=np.stack([total[cut[k]].reshape(ends) for k in (3, 4)], axis=2),
            current=mean[cut[5]].reshape(ends),
            current_weight=total[cut[5]].reshape(ends),
        )

    def _injections(self, mean: Floats, weight: Floats, q: int) -> tuple[Floats, Floats]:
        """Sum and variance of the injections of each bus; 0 exactly where passive, variance -1 where unknown."""
        n, nodes = self._buses.n, np.flatnonzero(self._in_slot[:, q])
        bus = self._buses.of_node[nodes]
        value: Floats = np.bincount(bus, mean[nodes], minlength=n).astype(np.float64)
        variance = np.where(self._full[:, q], np.bincount(bus, 1 / weight[nodes], minlength=n), -1.0)
        return value, np.where(self._zero_bus, 0.0, variance)

    def residuals(self, m: Measurements, slots: Slots, fit: Fit) -> Residuals:
        """Estimates, residuals and (with variances in ``fit``) normalised residuals of all measurements."""
        estimate, share = self._estimates(slots, fit)
        at_group = np.where(self.constant, 0.0, estimate[self.group])
        at_group[self.free] = self._mean[self.group[self.free]]
        value = np.where(self.used, at_group / self.unit, np.nan)
        residual = m.value - value
        square = np.where(self.used, (residual / m.sigma) ** 2, 0.0)
        if fit.v_variance is None:
            unknown = np.full(len(value), np.nan)
            return Residuals(value, residual, unknown, np.zeros(len(value), dtype=np.bool_), square)
        own = (m.sigma * self.unit) ** 2
        mean_variance = np.divide(1.0, self._weight, out=np.zeros_like(self._weight), where=self._weight > 0)
        kept = self._mean_residual_variance(slots, fit, share)[self.group]
        inner = np.where(self.constant, own, own - mean_variance[self.group] + np.where(self.free, 0.0, kept))
        critical = self.used & (inner < LEAST_REDUNDANCY * own)
        tested = self.used & ~critical
        normalised = np.where(self.used, 0.0, np.nan)
        np.divide(residual * self.unit, np.sqrt(np.maximum(inner, 0)), out=normalised, where=tested)
        return Residuals(value, residual, normalised, critical, square)

    def _estimates(self, slots: Slots, fit: Fit) -> tuple[Floats, Floats]:
        """Estimate at every group, and the share of its bus that the residual of a node injection takes."""
        of_node = self._buses.of_node
        parts, shares = [fit.v], []
        for q, kind in enumerate((_P, _Q)):
            cut = slice(*self._offset[kind : kind + 2])
            share = np.zeros(self._n_nodes)
            nodes = np.flatnonzero(self._in_slot[:, q])
            bus = of_node[nodes]
            share[nodes] = 1 / self._weight[cut][nodes] / slots.variance[bus, q]
            estimate = np.zeros(self._n_nodes)
            off = slots.injection[bus, q] - fit.injection[bus, q]
            estimate[nodes] = self._mean[cut][nodes] - share[nodes] * off
            parts.append(estimate)
            shares.append(share)
        parts += [fit.flow[:, :, 0].ravel(), fit.flow[:, :, 1].ravel(), fit.current.ravel()]
        return np.concatenate(parts), np.stack(shares, axis=1)

    def _mean_residual_variance(self, slots: Slots, fit: Fit, share: Floats) -> Floats:
        """Variance of the residual of each combined measurement."""
        assert fit.injection_leverage is not None  # set together with v_variance
        assert fit.flow_variance is not None
        assert fit.current_variance is not None
        of_node = np.maximum(self._buses.of_node, 0)
        variance = np.divide(1.0, self._weight, out=np.zeros_like(self._weight), where=self._weight > 0)
        cut = [slice(*self._offset[k : k + 2]) for k in range(_KINDS)]
        variance[cut[0]] -= fit.v_variance
        for q, k in enumerate((_P, _Q)):
            variance[cut[k]] = share[:, q] ** 2 * fit.injection_leverage[of_node, q]
        variance[cut[3]] -= fit.flow_variance[:, :, 0].ravel()
        variance[cut[4]] -= fit.flow_variance[:, :, 1].ravel()
        variance[cut[5]] -= fit.current_variance.ravel()
        return variance

    def node_injections(self, slots: Slots, fit: Fit) -> Floats:
        """Injections at the nodes, shape (n_nodes, 2), NaN where only their sum over a bus can be known."""
        of_node, n = self._buses.of_node, self._buses.n
        found = np.zeros((self._n_nodes, 2))
        active = np.flatnonzero(self.active)
        several = np.bincount(of_node[active], minlength=n) > 1
        for q, kind in enumerate((_P, _Q)):
            found[active, q] = np.where(several[of_node[active]], np.nan, fit.injection[of_node[active], q])
            nodes = np.flatnonzero(self._in_slot[:, q] & several[of_node] & (of_node >= 0))
            cut = slice(*self._offset[kind : kind + 2])
            bus = of_node[nodes]
            off = slots.injection[bus, q] - fit.injection[bus, q]
            found[nodes, q] = self._mean[cut][nodes] - off / self._weight[cut][nodes] / slots.variance[bus, q]
            known = active[self._measured[active, q] & np.isnan(found[active, q])]
            found[known, q] = self._mean[cut][known]
        return found

    def same_place(self, m: Measurements) -> bool:
        """Whether these measurements are the placed ones, with the same ones available."""
        return (
            np.array_equal(self.kind, m.kind)
            and np.array_equal(self.place, m.place)
            and np.array_equal(self.side, m.side)
            and np.array_equal(self.available, np.isfinite(m.value))
        )


def _check_places(network: Network, m: Measurements) -> None:
    size = np.where(m.kind > _Q, network.n_branches, network.nodes.n)
    wrong = (m.place < 0) | (m.place >= size)
    if wrong.any():
        row = int(np.argmax(wrong))
        table = "branch" if m.kind[row] > _Q else "node"
        raise MeasurementError(row, f"measurement {row} is at {table} {m.place[row]}, which the network does not have")
