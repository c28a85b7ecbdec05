"""Gross errors: found, removed in order, told apart from what cannot be told apart."""

from __future__ import annotations

import numpy as np
from estimation_cases import K, everything, exact_values, feeder, some

from twin.network import load_network
from twin.solvers import power_flow
from twin.solvers.state_estimation import BadDataSettings, Measurements, StateEstimator

NETWORK = load_network("cigre_mv")
EXACT = exact_values(NETWORK, power_flow(NETWORK).solve(), everything(NETWORK))


def noisy(seed: int, m: Measurements = EXACT) -> Measurements:
    return m.with_values(m.value + np.random.default_rng(seed).normal(0, m.sigma))


def test_objective__averages_to_the_degrees_of_freedom() -> None:
    """60 runs: the mean of a chi-square variable of k degrees spreads by sqrt(2 / (60 k)), 2 % here; 4 of those."""
    estimator = StateEstimator(NETWORK)
    estimates = [estimator.estimate(noisy(seed)) for seed in range(60)]
    k = estimates[0].degrees_of_freedom
    mean = np.mean([estimate.objective for estimate in estimates])
    assert abs(mean / k - 1) < 4 * np.sqrt(2 / (60 * k))
    assert sum(estimate.suspicious for estimate in estimates) <= 5


def test_gross_error__of_20_sigma_is_identified() -> None:
    estimator = StateEstimator(NETWORK)
    rng = np.random.default_rng(7)
    redundant = np.flatnonzero(_kept(estimator) > 0.1)
    found = 0
    for seed in range(60):
        wrong = int(rng.choice(redundant))
        m = noisy(1000 + seed)
        value = m.value.copy()
        value[wrong] += 20 * m.sigma[wrong] * rng.choice([-1, 1])
        clean = estimator.identify_bad_data(m.with_values(value))
        found += [bad.measurement for bad in clean.removed] == [wrong]
    assert found >= 59


def _kept(estimator: StateEstimator) -> np.ndarray:
    """The share of its variance that the residual of each measurement keeps."""
    m = noisy(1)
    e = estimator.estimate(m, tests=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(e.critical, 0.0, (e.residual / m.sigma / e.normalised_residual) ** 2)


def test_gross_errors__are_removed_one_by_one_with_their_size() -> None:
    estimator = StateEstimator(NETWORK)
    m = noisy(5)
    flows = np.flatnonzero(m.kind == K.P_FLOW_KW)
    wrong = {int(flows[2]): 900.0, int(flows[9]): -500.0}
    value = m.value.copy()
    for row, error in wrong.items():
        value[row] += error
    clean = estimator.identify_bad_data(m.with_values(value))
    assert [bad.measurement for bad in clean.removed] == list(wrong)
    for bad in clean.removed:
        assert abs(bad.error - wrong[bad.measurement]) < 60
    assert not clean.exhausted
    assert not clean.estimate.suspicious
    assert not clean.estimate.used[list(wrong)].any()


def test_search__ends_at_its_limit_and_says_so() -> None:
    m = noisy(5)
    value = m.value + np.where(m.kind == K.P_FLOW_KW, 900.0, 0.0)
    clean = StateEstimator(NETWORK).identify_bad_data(m.with_values(value), BadDataSettings(max_removals=2))
    assert len(clean.removed) == 2
    assert clean.exhausted


def test_measurements__without_error_are_all_kept() -> None:
    estimator = StateEstimator(NETWORK)
    accused = sum(bool(estimator.identify_bad_data(noisy(2000 + seed)).removed) for seed in range(40))
    assert accused <= 3


def test_critical_pair__is_named_as_indistinguishable() -> None:
    """The head of the feeder reads 3 MW more than its three consumers together: any of the four may be wrong."""
    network = feeder()
    m = everything(network)
    m = m.with_values(np.choose(m.kind, [1.0, -300.0, -75.0, 0.0, 0.0, 0.0]))
    q = some(m, (m.kind == K.Q_INJECTION_KVAR) & (m.place >= 2))
    p = some(m, (m.kind == K.P_INJECTION_KW) & (m.place >= 2))
    volt = Measurements.of(K.V_PU, np.array([0]), np.array([1.0]), 0.01)
    head = Measurements.of(K.P_FLOW_KW, np.array([0]), np.array([3900.0]), 10.0)
    both = Measurements.join(volt, q, p, head)
    clean = StateEstimator(network).identify_bad_data(both)
    first = clean.removed[0]
    assert set(range(4, 8)) <= {first.measurement, *first.indistinguishable}
    assert first.measurement in (4, 5, 6)  # sigma 15 against 10 kW: the less exact meters keep the larger part
    assert len(clean.removed) == 1
    assert clean.estimate.critical[clean.estimate.used].all()
