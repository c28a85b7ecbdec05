"""What holds for every unbalanced network: balance at every phase, reversibility, no memory of earlier solutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from twin.network.three_phase import ThreePhaseNetwork
from twin.solvers.three_phase import ThreePhasePowerFlow, ThreePhaseResult, current_injection, three_phase_power_flow

Complexes = NDArray[np.complex128]
FeederOf = Callable[[int], ThreePhaseNetwork]
seeds = st.integers(0, 10_000)


def _same(a: ThreePhaseResult, b: ThreePhaseResult) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name), equal_nan=True) for f in fields(a))


def _volts(network: ThreePhaseNetwork, result: ThreePhaseResult) -> Complexes:
    nominal = 1e3 * network.nodes.v_nominal_kv[:, np.newaxis] / np.sqrt(3)
    return np.nan_to_num(nominal * result.v_pu * np.exp(1j * result.angle_rad))


def _current(p_kw: NDArray[np.float64], q_kvar: NDArray[np.float64], over: Complexes) -> Complexes:
    s = np.nan_to_num(1e3 * (p_kw + 1j * q_kvar))
    return np.where(over != 0, (s / np.where(over != 0, over, 1)).conj(), 0)


def _mismatch(network: ThreePhaseNetwork, result: ThreePhaseResult) -> Complexes:
    """What each node phase (n, 3) is short of, A: sources less branches, demand and shunts, from the powers."""
    volts = _volts(network, result)
    short = np.zeros_like(volts)
    ends = (
        (network.branch_from, result.p_from_kw, result.q_from_kvar),
        (network.branch_to, result.p_to_kw, result.q_to_kvar),
    )
    for node, p_kw, q_kvar in ends:
        np.add.at(short, node, -_current(p_kw, q_kvar, volts[node]))
    source = network.sources.node
    np.add.at(short, source, _current(result.source_p_kw, result.source_q_kvar, volts[source]))
    g, c, s = network.generators, network.consumers, network.shunts
    np.add.at(short, g.node, _current(g.p_kw, g.q_kvar, volts[g.node]) * result.energised[g.node])
    _draw(short, c.node, c.delta, lambda over: _current(result.consumer_p_kw, result.consumer_q_kvar, over), volts)
    admittance = 1e3 * (s.p_kw - 1j * s.q_kvar) / (1e3 * s.v_nominal_kv[:, np.newaxis]) ** 2
    on = result.energised[s.node] & (~s.delta[:, np.newaxis] | np.roll(result.energised[s.node], -1, axis=1))
    _draw(short, s.node, s.delta, lambda over: admittance * over * on, volts)
    return short


def _draw(
    short: Complexes,
    node: NDArray[np.int32],
    delta: NDArray[np.bool_],
    current: Callable[[Complexes], Complexes],
    volts: Complexes,
) -> None:
    at = volts[node]
    i = current(np.where(delta[:, np.newaxis], at - np.roll(at, -1, axis=1), at))
    np.add.at(short, node, -i)
    np.add.at(short, node, np.where(delta[:, np.newaxis], np.roll(i, 1, axis=1), 0))


@settings(max_examples=40)
@given(seed=seeds)
def test_power_flow__balances_at_every_node_and_phase(feeder: FeederOf, seed: int) -> None:
    network = feeder(seed)
    result = three_phase_power_flow(network).solve()
    short = _mismatch(network, result)
    # the bus coupler has no impedance: what S is short of has come through it from T, and is its current
    couple = [network.nodes.names.index(name) for name in ("S", "T")]
    assert np.allclose(np.abs(short[couple[0]]), result.i_switch_a[0], atol=1e-5)
    short[couple[0]] += short[couple[1]]
    short[couple[1]] = 0
    scale = 1e3 * network.nodes.v_nominal_kv[:, np.newaxis]
    assert np.abs(short * scale)[network.nodes.phases].max() < 0.1, "VA"


@settings(max_examples=25)
@given(seed=seeds, data=st.data())
def test_power_flow__a_switch_opened_and_closed_returns_the_same_state(
    feeder: FeederOf, seed: int, data: st.DataObject
) -> None:
    network = feeder(seed)
    flow = three_phase_power_flow(network)
    before = flow.solve()
    closed = network.switches.normally_closed
    row = data.draw(st.integers(0, network.switches.n - 1))
    other = closed.copy()
    other[row] ^= network.switches.phases[row]
    flow.update(closed=other)
    assert not _same(flow.solve(), before)
    flow.update(closed=closed)
    assert _same(flow.solve(), before)


@settings(max_examples=25)
@given(seed=seeds)
def test_power_flow__updated_in_place_is_bit_identical_to_a_fresh_one(feeder: FeederOf, seed: int) -> None:
    network, rng = feeder(seed), np.random.default_rng(seed)
    state = {
        "p_kw": network.consumers.p_kw * rng.random((network.consumers.n, 3)),
        "generation_kw": network.generators.p_kw * 0.5,
        "closed": network.switches.normally_closed & (rng.random(network.switches.n) < 0.9)[:, np.newaxis],
        "tap_position": np.clip(network.transformers.tap_position + 1, None, network.transformers.tap_max),
        "shunt_on": rng.random((network.shunts.n, 3)) < 0.5,
    }
    used, fresh = three_phase_power_flow(network), three_phase_power_flow(network)
    for name, value in state.items():
        used.update(**{name: value})
        used.solve()
    fresh.update(**state)
    assert _same(used.solve(), fresh.solve())


@settings(max_examples=10)
@given(seed=seeds)
def test_solve_many__gives_what_one_by_one_gives_and_leaves_the_state(feeder: FeederOf, seed: int) -> None:
    network, rng = feeder(seed), np.random.default_rng(seed)
    states = rng.random((3, network.switches.n)) < 0.8
    flow = three_phase_power_flow(network)
    before = flow.solve()
    many = flow.solve_many(states)
    assert _same(flow.solve(), before)
    for closed, result in zip(states, many, strict=True):
        flow.update(closed=closed)
        assert isinstance(result, ThreePhaseResult)
        assert _same(result, flow.solve())


def _compiled(flow: ThreePhasePowerFlow) -> ThreePhaseResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(current_injection, "COMPILED_FROM", 0)
        return flow.solve()


@settings(max_examples=40)
@given(seed=seeds)
def test_compiled_circuit__after_operations_is_bit_identical_to_a_fresh_one_and_agrees_with_pivoting(
    feeder: FeederOf, seed: int
) -> None:
    network, rng = feeder(seed), np.random.default_rng(seed)
    used, t = three_phase_power_flow(network), network.transformers
    for _ in range(6):
        state = {
            "closed": network.switches.normally_closed ^ (rng.random(network.switches.n) < 0.15)[:, np.newaxis],
            "tap_position": np.clip(t.tap_position + rng.integers(-2, 3, t.n), t.tap_min, t.tap_max),
            "shunt_on": rng.random((network.shunts.n, 3)) < 0.7,
        }
        used.update(**state)
        fresh = three_phase_power_flow(network)
        fresh.update(**state)
        got = _compiled(used)
        assert _same(got, _compiled(fresh))
        pivoted = three_phase_power_flow(network)
        pivoted.update(**state)
        expected = pivoted.solve()
        # 1 ppm of reactance holds the potential of an unearthed side, so that rounding weighs a million times more
        assert np.allclose(got.v_pu, expected.v_pu, rtol=0, atol=2e-8, equal_nan=True)
        assert np.array_equal(got.energised, expected.energised)
