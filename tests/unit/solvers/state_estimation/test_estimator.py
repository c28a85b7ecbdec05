"""Estimates on small feeders: switching, dead parts, joined nodes, taps, errors."""

from __future__ import annotations

import numpy as np
import pytest
from estimation_cases import K, everything, exact_values, feeder, random_network, some

from twin.network import load_network
from twin.solvers import InputShapeError, power_flow
from twin.solvers.model import TapOutOfRangeError
from twin.solvers.state_estimation import (
    EstimationDivergedError,
    MeasurementError,
    Measurements,
    NotObservableError,
    StateEstimator,
)


def without_current(m: Measurements) -> Measurements:
    return some(m, m.kind != K.I_FLOW_A)


def node_values(m: Measurements, kind: K, values: np.ndarray) -> Measurements:
    """``m`` with the values of all nodes of one kind replaced."""
    value = m.value.copy()
    value[m.kind == kind] = values
    return m.with_values(value)


def joined_exact(network, result) -> Measurements:
    """All of the feeder with the injections of the consumers: those of joined nodes are not their branches' alone."""
    m = exact_values(network, result, without_current(everything(network)))
    p, q = np.zeros(5), np.zeros(5)
    p[2:], q[2:] = [-400, -200, -300], [-100, -50, -75]
    p[0], q[0] = result.p_from_kw[0], result.q_from_kvar[0]
    return node_values(node_values(m, K.P_INJECTION_KW, p), K.Q_INJECTION_KVAR, q)


def test_estimate__of_exact_values_is_the_power_flow_of_joined_nodes() -> None:
    network = feeder()
    result = power_flow(network).solve()
    estimate = StateEstimator(network).estimate(joined_exact(network, result), tests=True)
    np.testing.assert_allclose(estimate.state.v_pu, result.v_pu, atol=1e-8)
    np.testing.assert_allclose(estimate.state.p_from_kw, result.p_from_kw, atol=1e-4)
    np.testing.assert_allclose(estimate.p_injection_kw[1:], [0, -400, -200, -300], atol=1e-3)
    assert estimate.objective < 1e-6
    assert np.abs(estimate.normalised_residual).max() < 1e-3


def test_estimate__shares_the_residual_of_a_bus_among_its_nodes() -> None:
    """N2 and N3 are one bus that takes 600 kW; both meters read 30 kW too much, N3's with twice the sigma.

    All else is known well, so the excess of 60 kW is split by variance: 1 to 4.
    """
    network = feeder()
    m = joined_exact(network, power_flow(network).solve())
    sigma = np.where(m.kind == K.V_PU, 1e-4, 0.01)
    at = [int(np.flatnonzero((m.kind == K.P_INJECTION_KW) & (m.place == node))[0]) for node in (2, 3)]
    value = m.value.copy()
    value[at] -= 30.0
    sigma[at] = [10.0, 20.0]
    estimate = StateEstimator(network).estimate(Measurements(m.kind, m.place, m.side, value, sigma), tests=True)
    np.testing.assert_allclose(estimate.residual[at], [-12.0, -48.0], atol=0.05)
    # both are the same fault: their normalised residuals agree, 60 kW over the sigma of the sum (22.4 kW)
    np.testing.assert_allclose(estimate.normalised_residual[at], [-60 / np.hypot(10, 20)] * 2, rtol=1e-3)


def test_estimate__takes_nothing_from_one_node_of_a_bus_with_an_unmeasured_one() -> None:
    """With N3 unmeasured, the meter at N2 says nothing about the bus: it is critical, and wrong unnoticed."""
    network = feeder()
    m = joined_exact(network, power_flow(network).solve())
    keep = ~((m.kind == K.P_INJECTION_KW) & (m.place == 3))
    m = some(m, keep)
    at = int(np.flatnonzero((m.kind == K.P_INJECTION_KW) & (m.place == 2))[0])
    value = m.value.copy()
    value[at] -= 1000.0
    estimate = StateEstimator(network).estimate(m.with_values(value), tests=True)
    assert estimate.critical[at]
    assert estimate.objective < 1e-6
    assert estimate.p_injection_kw[2] == pytest.approx(-1400.0)
    assert np.isnan(estimate.p_injection_kw[3])


def test_estimate__leaves_dead_parts_out() -> None:
    network = feeder()
    closed = np.array([False, True])
    flow = power_flow(network)
    flow.update(closed=closed)
    estimator = StateEstimator(network)
    estimator.update(closed=closed)
    m = exact_values(network, flow.solve(), everything(network))
    estimate = estimator.estimate(m, tests=True)
    assert estimate.state.energised.tolist() == [True, True, True, False, False]
    assert estimate.state.v_pu[3:].tolist() == [0.0, 0.0]
    dead_nodes = (m.kind <= 2) & (m.place >= 3)
    dead_ends = (m.kind > 2) & (m.place == 2)
    np.testing.assert_array_equal(estimate.used, ~(dead_nodes | dead_ends))
    assert estimate.objective < 1e-6


def test_update__of_a_switch_and_back_gives_identical_results() -> None:
    network = feeder()
    m = joined_exact(network, power_flow(network).solve())
    estimator = StateEstimator(network)
    first = estimator.estimate(m, tests=True)
    estimator.update(closed=np.array([True, False]))
    opened = estimator.estimate(m)
    estimator.update(closed=np.array([True, True]))
    again = estimator.estimate(m, tests=True)
    assert opened.state.v_pu[4] == 0.0
    np.testing.assert_array_equal(again.state.v_pu, first.state.v_pu)
    np.testing.assert_array_equal(again.normalised_residual, first.normalised_residual)


def test_update__of_a_tap_equals_a_power_flow_at_that_tap() -> None:
    network = load_network("mv_oberrhein")
    tap = (network.transformers.tap_position + 3).astype(np.int32)
    flow = power_flow(network)
    flow.update(tap_position=tap)
    result = flow.solve()
    m = exact_values(network, result, everything(network))
    estimator = StateEstimator(network)
    estimator.estimate(m)
    estimator.update(tap_position=tap)
    np.testing.assert_allclose(estimator.estimate(m).state.v_pu, result.v_pu, atol=1e-8)


def test_estimate__averages_meters_of_one_quantity_by_weight() -> None:
    """Two voltmeters at one node, 1.00 (sigma 0.01) and 1.02 (sigma 0.02), nothing else redundant: 1.004."""
    network = feeder()
    base = joined_exact(network, power_flow(network).solve())
    injections = some(base, (base.kind == K.P_INJECTION_KW) | (base.kind == K.Q_INJECTION_KVAR))
    injections = some(injections, injections.place >= 2)
    volts = Measurements.of(K.V_PU, np.array([0, 0]), np.array([1.00, 1.02]), np.array([0.01, 0.02]))
    estimate = StateEstimator(network).estimate(Measurements.join(injections, volts), tests=True)
    assert estimate.state.v_pu[0] == pytest.approx(1.004)
    assert estimate.degrees_of_freedom == 1
    assert estimate.objective == pytest.approx(0.02**2 / (0.01**2 + 0.02**2))
    assert estimate.critical.tolist() == [True] * 6 + [False] * 2


def test_estimate__refuses_what_is_not_observable_and_can_leave_it_out() -> None:
    network = feeder()
    m = joined_exact(network, power_flow(network).solve())
    m = some(m, (m.kind == K.V_PU) & (m.place < 2))
    with pytest.raises(NotObservableError, match=r"the island of source S is not observable") as refused:
        StateEstimator(network).estimate(m)
    assert refused.value.islands[0].source == "S"
    left_out = StateEstimator(network).estimate(m, skip_unobservable=True)
    assert not left_out.observable.any()
    assert left_out.state.energised.all()
    assert left_out.islands == ()
    assert not left_out.used.any()


def test_estimate__of_one_island_does_not_need_the_other() -> None:
    """Two feeders of mv_oberrhein's kind apart: the one without measurements is left out alone."""
    network = load_network("mv_oberrhein")
    result = power_flow(network).solve()
    estimator = StateEstimator(network)
    m = exact_values(network, result, everything(network))
    first = estimator.estimate(m).islands[0]
    m = some(m, (m.kind <= 2) & np.isin(m.place, first.nodes))
    estimate = estimator.estimate(m, skip_unobservable=True)
    assert len(estimate.islands) == 1
    np.testing.assert_allclose(estimate.state.v_pu[first.nodes], result.v_pu[first.nodes], atol=1e-8)
    np.testing.assert_array_equal(np.flatnonzero(estimate.observable), first.nodes)


def test_estimate__finds_a_node_by_its_neighbours_injection_alone() -> None:
    """``S -N0- N1- N2``: nothing at N2, but P and Q at N1 and the flow N0-N1 say what flows on to N2."""
    network = random_network(np.random.default_rng(3), 3, 0)
    b = Measurements.join(
        Measurements.of(K.V_PU, np.array([0]), np.array([1.0]), 0.01),
        Measurements.of(K.P_INJECTION_KW, np.array([1]), np.array([-100.0]), 1.0),
        Measurements.of(K.Q_INJECTION_KVAR, np.array([1]), np.array([-10.0]), 1.0),
        Measurements.of(K.P_FLOW_KW, np.array([0]), np.array([300.0]), 1.0),
        Measurements.of(K.Q_FLOW_KVAR, np.array([0]), np.array([30.0]), 1.0),
    )
    active = StateEstimator(network, zero_injection=np.zeros(3, dtype=bool))
    ends_at_1 = int(network.branch_to[0]) == 1
    assert ends_at_1
    assert active.observability(b) == ()
    estimate = active.estimate(b, tests=True)
    assert estimate.critical.all()
    np.testing.assert_allclose(estimate.residual, 0, atol=1e-7)


def test_factor__with_exchange_gives_the_same_estimate_and_tests() -> None:
    """SuperLU takes over where a block has no pivot; forced here, it agrees in everything."""
    network = load_network("cigre_mv")
    m = exact_values(network, power_flow(network).solve(), without_current(everything(network)))
    m = m.with_values(m.value + np.random.default_rng(2).normal(0, m.sigma))
    estimator = StateEstimator(network)
    blocks = estimator.estimate(m, tests=True)
    assert estimator._system is not None
    estimator._system.factor.exchanging = True
    exchanged = estimator.estimate(m, tests=True)
    np.testing.assert_allclose(exchanged.state.v_pu, blocks.state.v_pu, atol=1e-10)
    np.testing.assert_allclose(exchanged.normalised_residual, blocks.normalised_residual, atol=1e-5)
    np.testing.assert_allclose(exchanged.sigma_v_pu, blocks.sigma_v_pu, rtol=1e-6)


def test_estimate__from_the_last_state_saves_iterations_and_changes_nothing() -> None:
    network = load_network("cigre_mv")
    m = exact_values(network, power_flow(network).solve(), without_current(everything(network)))
    estimator = StateEstimator(network)
    cold = estimator.estimate(m)
    warm = estimator.estimate(m, start=cold)
    assert warm.iterations < cold.iterations
    np.testing.assert_allclose(warm.state.v_pu, cold.state.v_pu, atol=1e-12)


def test_estimate__without_a_physical_state_names_the_island() -> None:
    """200 GW through 20 kV: no state has such injections, so nothing converges."""
    network = feeder()
    m = Measurements.join(
        Measurements.of(K.V_PU, np.array([0]), np.array([1.0]), 1e-6),
        *(
            Measurements.of(kind, np.array([2, 3, 4]), np.full(3, -2e8), 1e-3)
            for kind in (K.P_INJECTION_KW, K.Q_INJECTION_KVAR)
        ),
    )
    with pytest.raises(EstimationDivergedError, match="source S does not converge") as diverged:
        StateEstimator(network).estimate(m)
    assert diverged.value.source == "S"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"place": np.array([99], dtype=np.int32)}, "which the network does not have"),
        ({"sigma": np.array([0.0])}, "has a sigma that is not a positive number"),
        ({"side": np.array([2], dtype=np.int32)}, "is at neither end"),
        ({"kind": np.array([9], dtype=np.int32)}, "has an unknown kind"),
        ({"value": np.array([np.inf])}, "has an infinite value"),
        ({"value": np.array([1.0, 2.0])}, "differ in length"),
    ],
)
def test_measurement__that_contradicts_itself_is_refused(change: dict[str, np.ndarray], message: str) -> None:
    good = Measurements.of(K.V_PU, np.array([0]), np.array([1.0]), 0.01)
    fields = {name: getattr(good, name) for name in ("kind", "place", "side", "value", "sigma")} | change
    with pytest.raises(MeasurementError, match=message):
        StateEstimator(feeder()).estimate(Measurements(**fields))


def test_update__refuses_what_does_not_fit() -> None:
    estimator = StateEstimator(load_network("mv_oberrhein"))
    with pytest.raises(InputShapeError, match="closed"):
        estimator.update(closed=np.ones(3, dtype=bool))
    with pytest.raises(TapOutOfRangeError):
        estimator.update(tap_position=np.array([0, 99], dtype=np.int32))
