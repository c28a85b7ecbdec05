"""One fit of the state to an image: estimate, what had to be left out, and what contradicts it from outside.

A point at dead equipment is no measurement of the fit; if it shows something all the same, it contradicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin.dms.state_estimation.frame import Frame
from twin.dms.state_estimation.inputs import Inputs
from twin.dms.state_estimation.witnesses import settle, wrong_witnesses
from twin.dms.topology import SupplyState
from twin.network.model import Bools, Floats, Ints, Network
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
    """``clean`` is without the measurements left out; ``removed`` are those of telemetry among them and the witnesses
    that contradict, ``outside`` the rows of telemetry that contradict from outside, and by how many ``sigmas``.
    """

    clean: CleanEstimate
    removed: tuple[BadMeasurement, ...]
    removed_expected: tuple[BadMeasurement, ...]
    outside: Ints
    sigmas: Floats

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


def fit(estimator: StateEstimator, frame: Frame, inputs: Inputs, settings: BadDataSettings) -> Fit:
    """Estimate and identify bad data.

    Raises:
        EstimationDivergedError: no state fits.
    """
    network, telemetered = estimator.network, inputs.telemetered
    clean = estimator.identify_bad_data(inputs.whole, settings, skip_unobservable=True)
    clean = settle(estimator, inputs, clean, settings)
    removed = tuple(bad for bad in clean.removed if bad.measurement < telemetered)
    expected = tuple(bad for bad in clean.removed if bad.measurement >= telemetered)
    left_out = [bad.measurement for bad in clean.removed]
    rows, sigmas = outside(network, frame, inputs, clean.estimate, left_out)
    witnesses = wrong_witnesses(network, inputs, clean, settings)
    far = np.abs(sigmas) > OUTSIDE_SIGMAS
    return Fit(clean, (*removed, *witnesses), expected, rows[far], sigmas[far])


def misfit(estimator: StateEstimator, frame: Frame, inputs: Inputs) -> float:
    """The weighted sum of squared residuals of everything, with nothing left out.

    Raises:
        EstimationDivergedError: no state fits.
    """
    whole = estimator.estimate(inputs.whole, skip_unobservable=True)
    _, sigmas = outside(estimator.network, frame, inputs, whole, [])
    return whole.objective + float(sigmas @ sigmas)


def outside(
    network: Network, frame: Frame, inputs: Inputs, estimate: StateEstimate, left_out: Sequence[int]
) -> tuple[Ints, Floats]:
    """The rows of telemetry that are no part of the fit, and by how many sigmas they contradict it.

    They are at dead places, where nothing should be measured, or voltages that no supplied node has at supplied ones.
    """
    m, n = inputs.whole, inputs.telemetered
    silent = _cannot_be_told(network, frame, m, estimate)
    unused = np.isfinite(m.value) & ~estimate.used & ~silent
    unused[list(left_out)] = False
    unused[n:] = False
    dead = np.flatnonzero(unused)
    at_node = np.where(np.isfinite(inputs.beyond), m.place[:n], 0)
    beyond = np.flatnonzero(np.isfinite(inputs.beyond) & ~silent[:n] & estimate.state.energised[at_node])
    sigmas = np.concatenate([m.value[dead] / m.sigma[dead], (inputs.beyond[beyond] - 1.0) / m.sigma[beyond]])
    return np.concatenate([dead, beyond]).astype(np.int32), sigmas


def _cannot_be_told(network: Network, frame: Frame, m: Measurements, estimate: StateEstimate) -> Bools:
    """Rows at equipment of unknown supply, or in islands that are not observable: nothing is held against them."""
    state = estimate.state
    node_unknown = (frame.node == SupplyState.UNKNOWN) | (state.energised & ~estimate.observable)
    at_node = np.isin(m.kind, [int(kind) for kind in AT_NODE])
    node, branch = np.where(at_node, m.place, 0), np.where(at_node, 0, m.place)
    if not network.n_branches:
        return np.asarray(node_unknown[node])
    ends = node_unknown[network.branch_from] | node_unknown[network.branch_to]
    branch_unknown = ends | (frame.branch == SupplyState.UNKNOWN) | frame.left_out
    return np.asarray(np.where(at_node, node_unknown[node], branch_unknown[branch]))
