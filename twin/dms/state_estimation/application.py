"""State estimation as an application: from one image of the point database to the state and its doubts.

The solution method is that of ``twin.solvers.state_estimation``. Here is what goes into it (telemetry, expected values,
switches as far as they are known) and what its tests mean. Equal images give equal results; nothing is carried over.
"""

from __future__ import annotations

import numpy as np

from twin.dms.standing import Standing
from twin.dms.state_estimation.expected import Expected
from twin.dms.state_estimation.fit import Fit, fit
from twin.dms.state_estimation.frame import Frame, Frames, names_of
from twin.dms.state_estimation.inputs import Inputs
from twin.dms.state_estimation.model import EstimationResult, Gap, Image, WrongPoint
from twin.dms.state_estimation.settings import StateEstimationSettings
from twin.dms.state_estimation.suspects import Explanation, Suspicion
from twin.dms.state_estimation.telemetry import MeasuredPoints
from twin.dms.topology import SupplyState
from twin.network.model import Floats, Ints, Network
from twin.solvers.state_estimation import (
    BadDataSettings,
    BadMeasurement,
    IslandObservability,
    MeasurementKind,
    Measurements,
    StateEstimator,
)

_UNITS = {
    MeasurementKind.V_PU: "kV",
    MeasurementKind.P_FLOW_KW: "kW",
    MeasurementKind.Q_FLOW_KVAR: "kvar",
    MeasurementKind.I_FLOW_A: "A",
}


class StateEstimation:
    """Compiled once on a network and its points; :meth:`run` for every image."""

    def __init__(self, network: Network, points: MeasuredPoints, settings: StateEstimationSettings) -> None:
        self.network = network
        self.points = points
        self.settings = settings
        self._frames = Frames(network, settings.unknown_rating_a)
        self._expected = Expected(network, settings)
        self._bad_data = BadDataSettings(settings.false_alarm, max_removals=settings.max_removals)
        passive = self._expected.passive
        self._suspicion = Suspicion(network, points, passive, self._bad_data, settings.max_suspects)
        self._kept: tuple[bytes, StateEstimator, tuple[Gap, ...]] | None = None

    def run(self, image: Image) -> EstimationResult:
        """Estimate the state that an image shows.

        Raises:
            EstimationDivergedError: no state fits an observable island.
        """
        frame = self._frames.frame(image.position, image.position_quality, image.tap_position)
        inputs = self._inputs(image, frame)
        estimator, gaps = self._estimator(frame, inputs.whole)
        found = fit(estimator, frame, inputs, self._bad_data)
        explained = self._suspicion.explain(frame, inputs, found)
        if found.clean.removed:
            self._kept = None  # its order of elimination now suits fewer measurements
        return self._result(frame, inputs, found, explained, gaps)

    def inputs(self, image: Image) -> Measurements:
        """What an image gives the estimator: telemetry first, then what is expected; NaN is not available."""
        frame = self._frames.frame(image.position, image.position_quality, image.tap_position)
        return self._inputs(image, frame).whole

    # -- what goes in ---------------------------------------------------------------------------------------------

    def _inputs(self, image: Image, frame: Frame) -> Inputs:
        telemetry, witnesses = self.points.telemetry(image.values, image.good)
        flow = self.points.switch >= 0
        branch = np.where(flow, self.points.place, 0)
        if self.network.n_branches:
            telemetry.value[flow & frame.left_out[branch]] = np.nan
            witnesses.value[flow & frame.left_out[branch]] = np.nan
        expected = self._expected.measurements(
            image.demand, image.generation_kw, image.generation_kvar, frame.slack_kva
        )
        power_of = self.points.power_of
        power_sigma = np.where(power_of >= 0, telemetry.sigma[np.maximum(power_of, 0)], 0.0)
        beyond = self._beyond(telemetry)
        telemetry.value[np.isfinite(beyond)] = np.nan
        return Inputs(Measurements.join(telemetry, expected), witnesses, beyond, power_of, power_sigma)

    def _beyond(self, telemetry: Measurements) -> Floats:
        """Voltages that no supplied node has: they would keep the iteration from finding any state."""
        low, high = self.settings.plausible_v_pu
        voltage = telemetry.kind == int(MeasurementKind.V_PU)
        return np.where(voltage & ((telemetry.value < low) | (telemetry.value > high)), telemetry.value, np.nan)

    def _estimator(self, frame: Frame, m: Measurements) -> tuple[StateEstimator, tuple[Gap, ...]]:
        """Made anew whenever a switch or an available point differs, so that no estimate depends on those before."""
        key = frame.key + np.isfinite(m.value).tobytes()
        if self._kept is None or self._kept[0] != key:
            estimator = self._fresh(frame)
            self._kept = (key, estimator, self._gaps(frame, m, estimator))
        return self._kept[1], self._kept[2]

    def _fresh(self, frame: Frame) -> StateEstimator:
        estimator = StateEstimator(self.network, zero_injection=self._expected.passive & (frame.slack_kva == 0))
        estimator.update(closed=frame.closed, tap_position=frame.tap_position)
        return estimator

    def _gaps(self, frame: Frame, m: Measurements, estimator: StateEstimator) -> tuple[Gap, ...]:
        """What telemetry alone does not determine, and whether expected demand does."""
        value = m.value.copy()
        value[self.points.n :] = np.nan
        bare = self._fresh(frame).observability(m.with_values(value))
        open_ = {island.source for island in estimator.observability(m)}
        return tuple(self._gap(island, island.source not in open_, frame) for island in bare)

    def _gap(self, island: IslandObservability, bridged: bool, frame: Frame) -> Gap:
        nodes = tuple(self.network.nodes.names[node] for node in island.unobservable)
        few = ", ".join(nodes[:5]) + (f" and {len(nodes) - 5} more" if len(nodes) > 5 else "")
        then = "expected demand is used there" if bridged else "so nothing is estimated in this island"
        cause = f"; {', '.join(names_of(self.network, frame.unknown.tolist()))} unknown" if frame.unknown.size else ""
        why = (
            f"Telemetry leaves {island.missing} quantities open in the island of {island.source}, at {few}{cause}; "
            f"{then}."
        )
        return Gap(island.source, island.missing, nodes, bridged, why)

    # -- what comes out -------------------------------------------------------------------------------------------

    def _result(
        self, frame: Frame, inputs: Inputs, found: Fit, explained: Explanation | None, gaps: tuple[Gap, ...]
    ) -> EstimationResult:
        assumed = explained is not None and self.settings.assume_suspected
        used = explained.fit if explained is not None and assumed else found
        # what switches explain is not held against the points
        blamed = found if explained is None else explained.fit
        node = self._nodes(frame, used, gaps)
        if explained is not None:
            self._mark(node, found.rows, Standing.EXPECTED if assumed else Standing.DOUBTFUL)
        for island in used.estimate.islands:
            if island.suspicious:
                node[island.nodes] = np.maximum(node[island.nodes], Standing.DOUBTFUL)
        return EstimationResult(
            estimate=used.estimate,
            node=node,
            branch=self._branches(frame, node),
            telemetered=int(np.count_nonzero(used.estimate.used[: self.points.n])),
            wrong_points=(
                *(self._wrong(bad, inputs) for bad in blamed.removed),
                *(self._outside(row, inputs) for row in blamed.outside.tolist()),
            ),
            suspects=() if explained is None else explained.suspects,
            gaps=gaps,
            unknown_switches=names_of(self.network, frame.unknown.tolist()),
            islands=used.estimate.islands,
            sentences=self._sentences(used),
        )

    def _nodes(self, frame: Frame, used: Fit, gaps: tuple[Gap, ...]) -> Ints:
        node = np.full(self.network.nodes.n, int(Standing.MEASURED), dtype=np.int32)
        for gap in gaps:
            node[[self.network.index[name].index for name in gap.nodes]] = Standing.EXPECTED
        node[~used.estimate.observable] = Standing.UNKNOWN
        node[~used.estimate.state.energised] = Standing.DEAD
        node[frame.node == SupplyState.UNKNOWN] = Standing.UNKNOWN
        return node

    def _branches(self, frame: Frame, node: Ints) -> Ints:
        """As the worse of its ends; a dead end does not count beside a live one."""
        network = self.network
        ends = np.stack([node[network.branch_from], node[network.branch_to]])
        live = np.where(ends == Standing.DEAD, -1, ends).max(axis=0, initial=-1)
        branch: Ints = np.where(live < 0, int(Standing.DEAD), live).astype(np.int32)
        branch[(frame.branch == SupplyState.UNKNOWN) | frame.left_out] = Standing.UNKNOWN
        return branch

    def _mark(self, node: Ints, rows: tuple[int, ...], standing: Standing) -> None:
        """Lower what is known at the places of some points."""
        for row in rows:
            place = int(self.points.place[row])
            at_branch = self.points.switch[row] >= 0
            ends = [self.network.branch_from[place], self.network.branch_to[place]] if at_branch else [place]
            known = [end for end in ends if node[end] < standing]
            node[known] = standing

    def _wrong(self, bad: BadMeasurement, inputs: Inputs) -> WrongPoint:
        row = bad.measurement
        factor, kind = float(self.points.factor[row]), MeasurementKind(int(self.points.kind[row]))
        value = inputs.reading(row) / factor
        estimate = value - bad.error / factor
        could_be = tuple(self.points.names[other] for other in bad.indistinguishable if other < self.points.n)
        name, unit = self.points.names[row], _UNITS[kind]
        why = (
            f"{name} reads {value:.4g} {unit}, but everything around it says {estimate:.4g} {unit} "
            f"({abs(bad.normalised_residual):.1f} sigma); it is left out."
        )
        if could_be:
            why += f" It could be {' or '.join(could_be)} just as well."
        return WrongPoint(name, value, estimate, float(bad.normalised_residual), could_be, why)

    def _outside(self, row: int, inputs: Inputs) -> WrongPoint:
        reading, name = inputs.reading(row), self.points.names[row]
        value, sigma = reading / float(self.points.factor[row]), float(inputs.whole.sigma[row])
        unit = _UNITS[MeasurementKind(int(self.points.kind[row]))]
        beyond = bool(np.isfinite(inputs.beyond[row]))
        why = f"{name} reads {value:.4g} {unit}, but by the reported switch positions it is "
        why += "supplied, and no supplied node has such a voltage." if beyond else "without supply."
        expected = 1.0 if beyond else 0.0
        estimate = expected / float(self.points.factor[row])
        return WrongPoint(name, value, estimate, (reading - expected) / sigma, (), why)

    def _sentences(self, used: Fit) -> tuple[str, ...]:
        told = [
            f"{self._expected.name(bad.measurement - self.points.n)} does not fit what is measured and is left out."
            for bad in used.removed_expected
        ]
        told += [
            f"Something is wrong in the island of {island.source} that no point or switch explains: the misfit is "
            f"{island.objective:.3g}, the limit {island.chi_square_limit:.3g}."
            for island in used.estimate.islands
            if island.suspicious
        ]
        return tuple(told)
