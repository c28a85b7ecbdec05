"""Weighted least squares state estimation with exact zero injections, on the current topology.

Gauss-Newton on Hachtel's augmented equations (Gjelsvik, Aam and Holten 1985) in ln V and angle, by island; angles are
relative to the first source of each island, whose voltage is estimated like any other. Observability is the
numerical rank of the measurements. Bad data: chi-square test and largest normalised residual (Handschin et al.
1975; Abur and Exposito 2004, chapter 5), with residual variances from the sparse inverse.
Not for unbalanced states, and it holds no history: equal inputs give equal results.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, ndtri

from twin.network.model import Bools, Floats, Ints, Network
from twin.network.topology import Topology
from twin.solvers.grid_model_mapping import check
from twin.solvers.model import InputShapeError, PowerFlowResult, TapOutOfRangeError
from twin.solvers.state_estimation.admittance import BASE_KVA, branch_admittances, node_shunts
from twin.solvers.state_estimation.buses import Buses, buses_under, passive_nodes
from twin.solvers.state_estimation.model import (
    BadDataSettings,
    BadMeasurement,
    CleanEstimate,
    EstimationDivergedError,
    IslandEstimate,
    IslandObservability,
    Measurements,
    NotObservableError,
    StateEstimate,
)
from twin.solvers.state_estimation.slots import Fit, Placement, Residuals, Slots
from twin.solvers.state_estimation.system import System

_TOLERANCE = 1e-10
"""Largest last step, in rad and parts of the voltage."""

_EQUAL = 1e-3
"""Of normalised residuals: closer ones belong to measurements of which any may be the wrong one."""

_RIVAL = 0.8
"""Measurements whose normalised residual is this part of the largest one stand out nearly as much."""

_FLOOR = 5e-9
"""Steps below this that no longer shrink are roundoff: stiff flows beside weak voltages cost digits."""


class StateEstimator:
    """Built once on a network, updated in place, estimates many times.

    ``zero_injection`` are the nodes whose injection is exactly zero (default: those without consumer,
    generating unit and source). The initial state is normal switching and the initial taps.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
    """

    def __init__(self, network: Network, *, zero_injection: Bools | None = None, max_iterations: int = 30) -> None:
        check(network)
        self.network = network
        self.max_iterations = max_iterations
        self._zero_injection = passive_nodes(network) if zero_injection is None else zero_injection.copy()
        _check_shape("zero_injection", self._zero_injection, network.nodes.n)
        self._topology = Topology(network)
        self._shunts = node_shunts(network)
        self._closed = network.switches.normally_closed.copy()
        self._tap_position = network.transformers.tap_position.copy()
        self._buses: Buses | None = None
        self._system: System | None = None
        self._placement: Placement | None = None
        self._findings: tuple[IslandObservability, ...] = ()

    def update(self, *, closed: Bools | None = None, tap_position: Ints | None = None) -> None:
        """Replace switch states or taps (None: unchanged); either all of it is taken, or none.

        Raises:
            InputShapeError: an array does not fit its table.
            TapOutOfRangeError: a tap that a transformer does not have.
        """
        if closed is not None:
            _check_shape("closed", closed, self.network.switches.n)
        if tap_position is not None:
            self._check_taps(tap_position)
        if closed is not None and not np.array_equal(closed, self._closed):
            self._closed = closed.copy()
            self._buses = self._system = self._placement = None
        if tap_position is not None and not np.array_equal(tap_position, self._tap_position):
            self._tap_position = tap_position.copy()
            if self._system is not None:
                self._system.set_admittances(*self._admittances(self._system.buses))

    def observability(self, measurements: Measurements) -> tuple[IslandObservability, ...]:
        """The energised islands that the measurements do not determine; empty if all are observable.

        Raises:
            MeasurementError: a measurement at a place that the network does not have.
        """
        self._place(measurements)
        return self._findings

    def estimate(
        self,
        measurements: Measurements,
        *,
        tests: bool = False,
        skip_unobservable: bool = False,
        false_alarm: float = 0.01,
        start: StateEstimate | None = None,
    ) -> StateEstimate:
        """The most likely state; ``tests`` adds normalised residuals, critical measurements and ``sigma_v_pu``.

        ``skip_unobservable`` leaves islands that are not observable out instead of refusing. ``false_alarm`` sets
        the limits of the chi-square test. ``start`` is a state to start from, which saves iterations.

        Raises:
            MeasurementError: a measurement at a place that the network does not have.
            NotObservableError: the measurements do not determine an energised island.
            EstimationDivergedError: an island for which the iteration does not converge.
        """
        placement, system = self._place(measurements)
        if self._findings and not skip_unobservable:
            raise NotObservableError(self._findings, self.network.nodes.names)
        slots = placement.slots(measurements)
        iterations = self._iterate(system, slots, start)
        fit = system.fit(slots, tests)
        residuals = placement.residuals(measurements, slots, fit)
        return self._result(placement, system, slots, fit, residuals, iterations, false_alarm)

    def identify_bad_data(
        self,
        measurements: Measurements,
        settings: BadDataSettings | None = None,
        *,
        skip_unobservable: bool = False,
    ) -> CleanEstimate:
        """Estimate, remove the measurement with the largest normalised residual, and again until none is suspect.

        Raises:
            MeasurementError, NotObservableError, EstimationDivergedError: see :meth:`estimate`.
        """
        settings = settings or BadDataSettings()
        removed: list[BadMeasurement] = []
        current, needed = measurements, np.zeros(measurements.n, dtype=np.bool_)
        estimate = None
        while True:
            estimate = self.estimate(
                current,
                tests=True,
                skip_unobservable=skip_unobservable,
                false_alarm=settings.false_alarm,
                start=estimate,
            )
            suspect, remaining = self._suspect(estimate, current, needed, settings)
            if suspect < 0 or len(removed) == settings.max_removals:
                return CleanEstimate(estimate, tuple(removed), suspect >= 0)
            removed.append(_accuse(estimate, measurements, suspect))
            current = remaining

    def _suspect(
        self, estimate: StateEstimate, current: Measurements, needed: Bools, settings: BadDataSettings
    ) -> tuple[int, Measurements]:
        """The measurement to remove and those that remain, -1 if there is none.

        Marks in ``needed`` those without which an island would not be observable any more.
        """
        islands = len(self._findings)
        while True:
            suspect = _largest(estimate, current.sigma, needed, settings)
            if suspect < 0:
                return -1, current
            value = current.value.copy()
            value[suspect] = np.nan
            remaining = current.with_values(value)
            if len(self.observability(remaining)) == islands:
                return suspect, remaining
            needed[suspect] = True

    # --- structure ---------------------------------------------------------------------------------------------

    def _check_taps(self, position: Ints) -> None:
        t = self.network.transformers
        _check_shape("tap_position", position, t.n)
        outside = np.flatnonzero((position < t.tap_min) | (position > t.tap_max))
        if len(outside):
            row = int(outside[0])
            raise TapOutOfRangeError(t.names[row], int(position[row]), int(t.tap_min[row]), int(t.tap_max[row]))

    def _admittances(self, buses: Buses) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """Of the branches, shape (n_branches, 4), and of the shunts by bus."""
        y = branch_admittances(self.network, self._tap_position, buses.from_on, buses.to_on)
        shunt = np.zeros(buses.n, dtype=np.complex128)
        live = buses.of_node >= 0
        np.add.at(shunt, buses.of_node[live], self._shunts[live])
        return np.stack([y.y_ff, y.y_ft, y.y_tf, y.y_tt], axis=1), shunt

    def _place(self, measurements: Measurements) -> tuple[Placement, System]:
        """The placement and the equations for these measurements, taken over from last time if nothing moved."""
        if self._system is None:
            if self._buses is None:
                self._buses = buses_under(self._topology, self._closed)
            self._system = System(self._buses, *self._admittances(self._buses))
        if self._placement is None or not self._placement.same_place(measurements):
            self._analyse(measurements)
        assert self._placement is not None  # set by _analyse
        return self._placement, self._system

    def _analyse(self, measurements: Measurements) -> None:
        """Place the measurements, look for what they leave undetermined, and leave those islands out."""
        system = self._system
        assert system is not None  # the caller has built it
        self._placement = None
        whole = np.ones(system.buses.n_islands, dtype=np.bool_)
        placement = Placement(self.network, system.buses, self._zero_injection, measurements, whole)
        slots = placement.slots(measurements)
        if system.find_pivots(slots):
            placement = Placement(self.network, system.buses, self._zero_injection, measurements, whole)
            slots = placement.slots(measurements)
        missing, unseen = system.undetermined(slots)
        buses, live = system.buses, missing == 0
        self._findings = tuple(self._finding(buses, missing, unseen, k) for k in np.flatnonzero(~live).tolist())
        if not live.all():
            placement = Placement(self.network, buses, self._zero_injection, measurements, live)
        system.leave_out(~live)
        self._placement = placement

    def _finding(self, buses: Buses, missing: Ints, unseen: Bools, island: int) -> IslandObservability:
        at_node = np.append(unseen & (buses.island == island), False)[buses.of_node]
        nodes = np.flatnonzero(at_node).astype(np.int32)
        return IslandObservability(self.network.sources.names[buses.source[island]], int(missing[island]), nodes)

    # --- solution ----------------------------------------------------------------------------------------------

    def _iterate(self, system: System, slots: Slots, start: StateEstimate | None) -> int:
        """Gauss-Newton until the last step is negligible; the number of steps."""
        if start is None:
            system.start_idle()
        else:
            system.start_at(start.state.v_pu, start.state.angle_rad)
        step, before = np.zeros(0), np.inf
        for iteration in range(1, self.max_iterations + 1):
            step = system.step(slots, steer=iteration > 1 or start is not None)
            largest = float(step.max(initial=0.0))
            if not np.isfinite(largest):
                break
            if largest < _TOLERANCE or 0.25 * before < largest < _FLOOR:
                return iteration
            before = largest
        row = int(np.argmax(np.where(np.isfinite(step), step, np.inf)))
        island = system.buses.island[row]
        source = self.network.sources.names[system.buses.source[island]]
        raise EstimationDivergedError(source, iteration)

    def _result(
        self,
        placement: Placement,
        system: System,
        slots: Slots,
        fit: Fit,
        residuals: Residuals,
        iterations: int,
        false_alarm: float,
    ) -> StateEstimate:
        buses = system.buses
        node_bus = np.where(buses.of_node >= 0, buses.of_node, buses.n)
        observable = np.append(~system.left_out[buses.island], False)[node_bus]
        injection = placement.node_injections(slots, fit) * BASE_KVA
        sigma = np.full(self.network.nodes.n, np.nan)
        if fit.v_variance is not None:
            deviation = np.sqrt(np.maximum(fit.v_variance, 0.0))
            sigma[observable] = deviation[buses.of_node[observable]]
        return StateEstimate(
            state=self._state(system, fit, observable, node_bus),
            observable=observable,
            p_injection_kw=np.where(observable, injection[:, 0], 0.0),
            q_injection_kvar=np.where(observable, injection[:, 1], 0.0),
            sigma_v_pu=sigma,
            value=residuals.value,
            residual=residuals.residual,
            normalised_residual=residuals.normalised,
            used=placement.used,
            critical=residuals.critical,
            islands=self._islands(placement, system, residuals, false_alarm),
            iterations=iterations,
        )

    def _state(self, system: System, fit: Fit, observable: Bools, node_bus: Ints) -> PowerFlowResult:
        network, buses = self.network, system.buses
        out = np.append(system.left_out[buses.island], True)
        alive = ~out[buses.branch_from]
        v = np.where(observable, np.append(fit.v, 0.0)[node_bus], 0.0)
        angle = np.where(observable, np.append(system.angle, 0.0)[node_bus], 0.0)
        flow = np.where(alive[:, None, None], fit.flow, 0.0) * BASE_KVA
        v_kv = network.nodes.v_nominal_kv
        ends = np.stack([v_kv[network.branch_from], v_kv[network.branch_to]], axis=1)
        current = np.where(alive[:, None], fit.current, 0.0) * BASE_KVA / (np.sqrt(3.0) * ends)
        return PowerFlowResult(
            v_pu=v,
            angle_rad=angle,
            energised=np.asarray(buses.of_node >= 0),
            p_from_kw=flow[:, 0, 0],
            q_from_kvar=flow[:, 0, 1],
            i_from_a=current[:, 0],
            p_to_kw=flow[:, 1, 0],
            q_to_kvar=flow[:, 1, 1],
            i_to_a=current[:, 1],
            loading=(current / _ratings(network)).max(axis=1, initial=0.0),
        )

    def _islands(
        self, placement: Placement, system: System, residuals: Residuals, false_alarm: float
    ) -> tuple[IslandEstimate, ...]:
        buses = system.buses
        bus = placement.bus[placement.used]
        objective = np.bincount(buses.island[bus], residuals.weighted_square[placement.used], minlength=buses.n_islands)
        freedom = placement.degrees_of_freedom()
        limit = np.where(freedom > 0, chdtri(np.maximum(freedom, 1), false_alarm), np.inf)
        node_island = np.append(buses.island, -1)[buses.of_node]
        return tuple(
            IslandEstimate(
                source=self.network.sources.names[buses.source[k]],
                nodes=np.flatnonzero(node_island == k).astype(np.int32),
                objective=float(objective[k]),
                degrees_of_freedom=int(freedom[k]),
                chi_square_limit=float(limit[k]),
            )
            for k in np.flatnonzero(~system.left_out)
        )


def _share(estimate: StateEstimate, sigma: Floats) -> Floats:
    """Which part of its variance the residual of each measurement keeps, 0 where that cannot be told."""
    normalised = estimate.normalised_residual
    part = np.divide(estimate.residual, sigma * normalised, out=np.zeros(len(sigma)), where=np.abs(normalised) > 0)
    return np.asarray(np.where(estimate.used & ~estimate.critical, part**2, 0.0))


def _largest(estimate: StateEstimate, sigma: Floats, needed: Bools, settings: BadDataSettings) -> int:
    """The measurement with the largest normalised residual above the limit, -1 if there is none.

    Among equals it is the one that would have to be wrong by the fewest sigmas.
    """
    tested = estimate.used & ~estimate.critical
    redundant = int(np.count_nonzero(tested))
    if not redundant:
        return -1
    limit = max(settings.least_limit, -float(ndtri(settings.false_alarm / (2 * redundant))))
    size = np.where(tested & ~needed, np.abs(estimate.normalised_residual), 0.0)
    largest = float(size.max())
    if largest <= limit:
        return -1
    equal = size >= largest * (1 - _EQUAL)
    return int(np.argmax(np.where(equal, _share(estimate, sigma), -1.0)))


def _accuse(estimate: StateEstimate, measurements: Measurements, suspect: int) -> BadMeasurement:
    size = np.abs(np.nan_to_num(estimate.normalised_residual))
    share = float(_share(estimate, measurements.sigma)[suspect])
    equal = np.flatnonzero(np.abs(size - size[suspect]) <= _EQUAL * size[suspect])
    rivals = np.flatnonzero(size >= _RIVAL * size[suspect])
    return BadMeasurement(
        measurement=suspect,
        normalised_residual=float(estimate.normalised_residual[suspect]),
        error=float(estimate.residual[suspect]) / share,
        indistinguishable=tuple(int(row) for row in equal if row != suspect),
        rivals=tuple(int(row) for row in rivals if row != suspect),
    )


def _ratings(network: Network) -> Floats:
    """Current ratings of both ends, A, infinite where unknown; shape (n_branches, 2)."""
    t = network.transformers
    to_side = np.concatenate([network.lines.i_max_a, t.s_kva / (np.sqrt(3.0) * t.v_to_kv)])
    ratings = np.stack([network.branch_i_max_a, to_side], axis=1)
    return np.where(ratings > 0, ratings, np.inf)


def _check_shape(quantity: str, values: NDArray[np.generic], n: int) -> None:
    if values.shape != (n,):
        raise InputShapeError(quantity, (n,), values.shape)
