"""The sweep's state: a function of the present inputs, whatever went before, and of constant size."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_networks import outcome, random_network, same

from twin.network.model import Network
from twin.solvers import (
    InputNotFiniteError,
    InputShapeError,
    PowerFlowDivergedError,
    PowerFlowResult,
    TapOutOfRangeError,
    power_flow,
)


@cache
def network() -> Network:
    """Two bays with couplers and ties."""
    return random_network(3, 15)


def sweep() -> Any:
    return power_flow(network(), backend="sweep")


def random_inputs(seed: int) -> dict[str, Any]:
    """Some of the inputs; one in eight demands more than the network can carry."""
    rng, n = np.random.default_rng(seed), network()
    c, g = n.consumers, n.generators
    heavy = 40.0 if rng.random() < 0.125 else 1.0
    every = {
        "p_kw": heavy * c.p_kw * rng.uniform(0, 1.5, c.n),
        "q_kvar": heavy * c.q_kvar * rng.uniform(-1, 1.5, c.n),
        "generation_kw": g.p_kw * rng.uniform(0, 2, g.n),
        "generation_kvar": g.p_kw * rng.uniform(-0.3, 0.3, g.n),
        "closed": rng.random(n.switches.n) > 0.2,
        "tap_position": rng.integers(-2, 3, n.transformers.n).astype(np.int32),
    }
    return {name: values for name, values in every.items() if rng.random() < 0.5}


@settings(max_examples=60)
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=6))
def test_update__in_place_equals_a_fresh_build_to_the_last_bit(seeds: list[int]) -> None:
    solver, state = sweep(), {}
    for seed in seeds:
        inputs = random_inputs(seed)
        solver.update(**inputs)
        state |= inputs
        outcome(solver)
    fresh = sweep()
    fresh.update(**state)
    assert same(outcome(solver), outcome(fresh))


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_switching__there_and_back_returns_the_same_state(seed: int) -> None:
    solver = sweep()
    before = outcome(solver)
    solver.update(closed=np.random.default_rng(seed).random(network().switches.n) > 0.3)
    outcome(solver)
    solver.update(closed=network().switches.normally_closed)
    assert same(outcome(solver), before)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(0, 4))
def test_solve_many__equals_one_at_a_time_and_keeps_the_state(seed: int, k: int) -> None:
    solver = sweep()
    solver.update(**random_inputs(seed))
    before = outcome(solver)
    candidates = np.random.default_rng(seed).random((k, network().switches.n)) > 0.2
    many = [str(one) if isinstance(one, PowerFlowDivergedError) else one for one in solver.solve_many(candidates)]
    assert same(outcome(solver), before)
    for closed, one in zip(candidates, many, strict=True):
        solver.update(closed=closed)
        assert same(one, outcome(solver))


def test_solve_many__dealt_out_to_threads_equals_one_at_a_time() -> None:
    large = random_network(4, 400, couplers=False, km=0.3)
    solver, single = power_flow(large, backend="sweep"), power_flow(large, backend="sweep")
    candidates = np.random.default_rng(0).random((60, large.switches.n)) > 0.02
    c = large.consumers
    for each in (solver, single):
        each.update(p_kw=0.1 * c.p_kw, q_kvar=0.1 * c.q_kvar)
    for closed, one in zip(candidates, solver.solve_many(candidates), strict=True):
        single.update(closed=closed)
        assert same(str(one) if isinstance(one, PowerFlowDivergedError) else one, outcome(single))


def test_result__is_a_snapshot() -> None:
    solver = sweep()
    before = solver.solve()
    kept = {name: getattr(before, name).copy() for name in (field.name for field in fields(before))}
    solver.update(p_kw=2 * network().consumers.p_kw, closed=np.zeros(network().switches.n, dtype=np.bool_))
    assert not np.array_equal(solver.solve().v_pu, kept["v_pu"])
    assert all(np.array_equal(getattr(before, name), values) for name, values in kept.items())


def test_update__copies_its_input() -> None:
    solver = sweep()
    inputs = {name: values.copy() for name, values in random_inputs(5).items()}
    solver.update(**inputs)
    expected = outcome(solver)
    for values in inputs.values():
        values[:] = 0
    solver.update(q_kvar=None)
    assert same(outcome(solver), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("quantity", ["p_kw", "q_kvar", "generation_kw", "generation_kvar"])
def test_update__refuses_what_is_no_number_by_name_and_takes_nothing(quantity: str, value: float) -> None:
    solver = sweep()
    expected = outcome(solver)
    table = network().generators if quantity.startswith("generation") else network().consumers
    powers = np.ones(table.n)
    powers[1] = value
    with pytest.raises(InputNotFiniteError, match=f"the input {quantity} of {table.names[1]} is {value}"):
        solver.update(**{quantity: powers}, closed=np.zeros(network().switches.n, dtype=np.bool_))
    assert same(outcome(solver), expected)


def test_update__refuses_taps_and_shapes_that_do_not_exist() -> None:
    solver, n = sweep(), network()
    expected = outcome(solver)
    taps = np.full(n.transformers.n, 3, dtype=np.int32)
    with pytest.raises(TapOutOfRangeError, match=r"T0 has no tap 3: its taps run from -2 to 2"):
        solver.update(tap_position=taps, p_kw=np.zeros(n.consumers.n))
    for name in ("p_kw", "q_kvar", "generation_kw", "generation_kvar"):
        with pytest.raises(InputShapeError):
            solver.update(**{name: np.ones(1)}, tap_position=np.zeros(n.transformers.n, dtype=np.int32))
    with pytest.raises(InputShapeError):
        solver.update(closed=np.ones(1, dtype=np.bool_), p_kw=np.zeros(n.consumers.n))
    with pytest.raises(InputShapeError):
        solver.solve_many(np.ones((2, n.switches.n + 1), dtype=np.bool_))
    assert same(outcome(solver), expected)


def test_update__of_rated_data_that_are_no_numbers_is_refused_at_once() -> None:
    from dataclasses import replace

    n = network()
    broken = replace(n, consumers=replace(n.consumers, p_kw=np.full(n.consumers.n, np.nan)))
    with pytest.raises(InputNotFiniteError):
        power_flow(broken, backend="sweep")


def test_many_steps__allocate_nothing_that_grows() -> None:
    """10,000 steps of loads, one in ten with a switch operation, one in a hundred with a tap."""
    solver, n = sweep(), network()
    normal = n.switches.normally_closed
    other = normal.copy()
    other[3] ^= True
    taps = [np.zeros(n.transformers.n, dtype=np.int32), np.ones(n.transformers.n, dtype=np.int32)]
    p_kw = n.consumers.p_kw.copy()

    def steps(count: int) -> None:
        for step in range(count):
            p_kw[:] = n.consumers.p_kw * (0.5 + 0.4 * (step % 7) / 7)
            solver.update(p_kw=p_kw)
            if step % 10 == 0:
                solver.update(closed=other if step % 20 else normal)
            if step % 100 == 0:
                solver.update(tap_position=taps[step // 100 % 2])
            assert isinstance(solver.solve(), PowerFlowResult)

    tracemalloc.start()
    steps(3_000)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    steps(10_000)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    # One float a step would be 240 kB. numba frees its 57-byte array headers behind the back of tracemalloc, which
    # counts each until its address is used again: some 100 kB that are not there.
    assert grown < 200_000
