"""A balanced network written out in three phases gives what the balanced power flow gives."""

from __future__ import annotations

import numpy as np
import pytest

from twin.network import load_network
from twin.network.model import Network
from twin.network.three_phase_expand import expand
from twin.solvers import PowerFlow, power_flow
from twin.solvers.three_phase import ThreePhasePowerFlow, three_phase_power_flow

SAME_PU = 1e-8
NETWORKS = ("cigre_mv", "mv_oberrhein", "pandapower:case33bw", "pandapower:create_cigre_network_lv")


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Network:
    return load_network(request.param)


def _compare(network: Network, balanced: PowerFlow, phases: ThreePhasePowerFlow) -> None:
    one, three = balanced.solve(), phases.solve()
    assert np.array_equal(three.energised, np.repeat(one.energised[:, np.newaxis], 3, axis=1))
    turn = np.exp(-2j * np.pi / 3 * np.arange(3))
    expected = (one.v_pu * np.exp(1j * one.angle_rad))[:, np.newaxis] * turn
    got = three.v_pu * np.exp(1j * three.angle_rad)
    assert np.abs(got - expected)[one.energised].max() < SAME_PU
    assert three.i_from_a == pytest.approx(np.repeat(one.i_from_a[:, np.newaxis], 3, axis=1), abs=1e-5, rel=1e-6)
    assert three.p_to_kw.sum(axis=1) == pytest.approx(one.p_to_kw, abs=1e-4, rel=1e-6)
    assert three.q_from_kvar.sum(axis=1) == pytest.approx(one.q_from_kvar, abs=1e-4, rel=1e-6)


def test_balanced_network__gives_the_balanced_power_flow(network: Network) -> None:
    _compare(network, power_flow(network), three_phase_power_flow(expand(network)))


def test_balanced_network__gives_it_after_switching_demand_and_taps(network: Network) -> None:
    rng = np.random.default_rng(5)
    balanced, phases = power_flow(network), three_phase_power_flow(expand(network))
    t = network.transformers
    demand = network.consumers.p_kw * rng.uniform(0.3, 1.2, network.consumers.n)
    closed = network.switches.normally_closed.copy()
    branch_switches = np.flatnonzero(closed & (network.switches.branch >= 0))
    closed[rng.permutation(branch_switches)[:3]] = False
    taps = np.clip(t.tap_neutral + 1, t.tap_min, t.tap_max).astype(np.int32)
    balanced.update(p_kw=demand, closed=closed, tap_position=taps)
    phases.update(p_kw=np.repeat(demand[:, np.newaxis] / 3, 3, axis=1), closed=closed, tap_position=taps)
    _compare(network, balanced, phases)


def test_expand__keeps_names_and_order(network: Network) -> None:
    written_out = expand(network)
    assert written_out.branch_names == network.branch_names
    assert written_out.switches.names == network.switches.names
    assert written_out.consumers.names == network.consumers.names
    assert written_out.consumers.p_kw.sum() == pytest.approx(network.consumers.p_kw.sum())
