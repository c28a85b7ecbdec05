"""One fit of the state to an image: estimate, what had to be left out, and what contradicts it from outside.

A point at dead equipment is no measurement of the fit; if it shows something all the same, it contradicts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin.dms.state_estimation.frame import Frame
from twin.dms.topology import SupplyState
from twin.network.model import Bools, Ints, Network
from twin.solvers.state_estimation import (
    AT_NODE,
    BadDataSettings,
    BadMeasurement,
    CleanEstimate,
    Measurements,
    StateEstimate,
    StateEstimator,
)

OUTSIDE_SIGMAS = 5.0
"""From so many sigmas on, a value at equipment that is dead in the model contradicts it."""


@dataclass(frozen=True)
class Fit:
    """``clean`` is without the measurements left out, ``removed`` are those of telemetry among them and ``outside``
    the rows of telemetry that contradict from outside. ``objective`` is the misfit of all telemetry before anything
    was left out (None until asked for).
    """

    clean: CleanEstimate
    telemetered: int
    removed: tuple[BadMeasurement, ...]
    removed_expected: tuple[BadMeasurement, ...]
    outside: Ints
    outside_square: float

    @property
    def estimate(self) -> StateEstimate:
        return self.clean.estimate

    @property
    def wrong(self) -> int:
        """How many points are wrong if this is the network."""
        return len(self.removed) + len(self.outside) + (1 if self.clean.exhausted else 0)

    @property
    def rows(self) -> tuple[int, ...]:
        """The rows of the points that are wrong if this is the network."""
        return (*(bad.measurement for bad in self.removed), *self.outside.tolist())


def fit(
    estimator: StateEstimator, frame: Frame, measurements: Measurements, telemetered: int, settings: BadDataSettings
) -> Fit:
    """Estimate and identify bad data; the first ``telemetered`` rows are telemetry, the rest is expected.

    Raises:
        EstimationDivergedError: no state fits.
    """
    clean = estimator.identify_bad_data(measurements, settings, skip_unobservable=True)
    removed = tuple(bad for bad in clean.removed if bad.measurement < telemetered)
    expected = tuple(bad for bad in clean.removed if bad.measurement >= telemetered)
    outside, square = _outside(estimator.network, frame, measurements, telemetered, clean)
    return Fit(clean, telemetered, removed, expected, outside, square)


def misfit(estimator: StateEstimator, measurements: Measurements, found: Fit) -> float:
    """The weighted sum of squared residuals of everything, before anything was left out."""
    whole = estimator.estimate(measurements, skip_unobservable=True)
    return whole.objective + found.outside_square


def _outside(
    network: Network, frame: Frame, m: Measurements, telemetered: int, clean: CleanEstimate
) -> tuple[Ints, float]:
    removed = np.zeros(m.n, dtype=np.bool_)
    removed[[bad.measurement for bad in clean.removed]] = True
    unused = np.isfinite(m.value) & ~clean.estimate.used & ~removed & ~_cannot_be_told(network, frame, m, clean)
    unused[telemetered:] = False
    rows = np.flatnonzero(unused)
    sigmas = m.value[rows] / m.sigma[rows]
    return rows[np.abs(sigmas) > OUTSIDE_SIGMAS].astype(np.int32), float(sigmas @ sigmas)


def _cannot_be_told(network: Network, frame: Frame, m: Measurements, clean: CleanEstimate) -> Bools:
    """Rows at equipment of unknown supply, or in islands that are not observable: nothing is held against them."""
    state = clean.estimate.state
    node_unknown = (frame.node == SupplyState.UNKNOWN) | (state.energised & ~clean.estimate.observable)
    at_node = np.isin(m.kind, [int(kind) for kind in AT_NODE])
    node, branch = np.where(at_node, m.place, 0), np.where(at_node, 0, m.place)
    if not network.n_branches:
        return np.asarray(node_unknown[node])
    ends = node_unknown[network.branch_from] | node_unknown[network.branch_to]
    branch_unknown = ends | (frame.branch == SupplyState.UNKNOWN) | frame.left_out
    return np.asarray(np.where(at_node, node_unknown[node], branch_unknown[branch]))
