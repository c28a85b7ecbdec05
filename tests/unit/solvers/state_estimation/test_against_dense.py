"""The estimator against dense matrices on random small networks: state, residual tests, rank."""

from __future__ import annotations

import estimation_dense as dense
import numpy as np
import pytest
from estimation_cases import K, passive_of, random_measurements, random_network, some, true_state

from twin.solvers.state_estimation import StateEstimator


@pytest.mark.parametrize("seed", range(12))
def test_estimate__equals_dense_weighted_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, n=10, loops=seed % 4)
    passive = passive_of(network)
    m = random_measurements(rng, network, 0.75)
    mine = StateEstimator(network).estimate(m, tests=True)
    theirs = dense.estimate(network, m, passive, true_state(network, passive))
    np.testing.assert_allclose(mine.state.v_pu, theirs.v_pu, atol=1e-8)
    np.testing.assert_allclose(mine.state.angle_rad, theirs.angle_rad, atol=1e-8)
    assert mine.objective == pytest.approx(theirs.objective, rel=1e-6)
    assert mine.degrees_of_freedom == m.n + 2 * passive.sum() - (2 * network.nodes.n - 1)
    np.testing.assert_allclose(mine.sigma_v_pu, theirs.sigma_v_pu, rtol=1e-4)


@pytest.mark.parametrize("seed", range(12))
def test_normalised_residuals__equal_those_of_dense_matrices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, n=10, loops=seed % 4)
    passive = passive_of(network)
    m = random_measurements(rng, network, 0.75)
    mine = StateEstimator(network).estimate(m, tests=True)
    theirs = dense.estimate(network, m, passive, true_state(network, passive))
    clear = theirs.redundancy > 1e-4  # below, the differences behind the dense Jacobian are too coarse
    np.testing.assert_allclose(mine.normalised_residual[clear], theirs.normalised_residual[clear], rtol=1e-3, atol=1e-4)
    # the shares of the residual variances sum up to the degrees of freedom: the trace of the residual sensitivity
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(mine.critical, 0.0, (mine.residual / m.sigma / mine.normalised_residual) ** 2)
    assert share.sum() == pytest.approx(mine.degrees_of_freedom, rel=1e-4)


@pytest.mark.parametrize("seed", range(60))
def test_observability__equals_the_dense_rank(seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    network = random_network(rng, n=9, loops=seed % 3, c_nf_per_km=0.0)
    m = random_measurements(rng, network, 0.15 + 0.05 * (seed % 8))
    m = some(m, m.kind != K.I_FLOW_A)
    missing = dense.rank_missing(network, m, passive_of(network))
    found = StateEstimator(network).observability(m)
    assert sum(island.missing for island in found) == missing
    assert all(island.unobservable.size for island in found)
