"""The sweep against power-grid-model (Newton-Raphson) on published and random networks, in any switch state.

power-grid-model's sources and closed bus couplers keep impedances of 1e-10 and 1e-8 pu (1 MVA), which the sweep
does not have: networks with couplers are allowed so much.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_networks import assert_agree, imbalance_kva, random_network

from twin.network import load_network
from twin.network.model import Network
from twin.solvers import power_flow

PUBLISHED = ("cigre_mv", "mv_oberrhein", "pandapower:case33bw")


@cache
def published(name: str) -> Network:
    return load_network(name)


def compare(network: Network, *, v_pu: float = 1e-8, kva: float = 1e-3, **inputs: Any) -> None:
    sweep, general = power_flow(network, backend="sweep"), power_flow(network, backend="power-grid-model")
    for solver in (sweep, general):
        solver.update(**inputs)
    result = sweep.solve()
    assert sweep.notes == []
    assert_agree(result, general.solve(), v_pu=v_pu, kva=kva)
    closed = inputs.pop("closed", network.switches.normally_closed)
    assert imbalance_kva(network, result, closed, **inputs) < 1e-4


@pytest.mark.parametrize("name", PUBLISHED)
def test_normal_state__agrees(name: str) -> None:
    compare(published(name))


@pytest.mark.parametrize("name", PUBLISHED)
def test_all_ties_closed__agree_by_compensation(name: str) -> None:
    compare(published(name), closed=np.ones(published(name).switches.n, dtype=np.bool_))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", PUBLISHED)
def test_random_openings__agree_with_dead_islands_and_open_ends(name: str, seed: int) -> None:
    network, rng = published(name), np.random.default_rng(seed)
    c = network.consumers
    closed = rng.random(network.switches.n) > 0.08
    compare(network, p_kw=0.3 * c.p_kw, q_kvar=0.3 * c.q_kvar, closed=closed)


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 40))
def test_random_network__agrees_in_normal_state(seed: int, n: int) -> None:
    compare(random_network(seed, n, couplers=False))


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 40), st.floats(0.0, 0.3), st.booleans())
def test_random_network__agrees_with_loops_parallel_sources_and_dead_islands(
    seed: int, n: int, opened: float, couplers: bool
) -> None:
    """Ties closed, others open at random; bus couplers in parallel to lines and sources in parallel occur."""
    network, rng = random_network(seed, n, couplers=couplers), np.random.default_rng(seed)
    tap = rng.integers(-2, 3, network.transformers.n).astype(np.int32)
    closed = rng.random(network.switches.n) >= opened
    c = network.consumers
    inputs = {"p_kw": 0.5 * c.p_kw, "q_kvar": 0.5 * c.q_kvar, "tap_position": tap, "closed": closed}
    # Couplers are small impedances there: up to some 1e-7 pu, where the sweep closes its balance to 1e-10 kVA.
    compare(network, **({"v_pu": 5e-7, "kva": 0.1} if couplers else {}), **inputs)


@pytest.mark.parametrize("seed", range(4))
def test_large_network__agrees(seed: int) -> None:
    network = random_network(seed, 400, couplers=False, km=0.3)
    c = network.consumers
    compare(network, p_kw=0.2 * c.p_kw, q_kvar=0.2 * c.q_kvar)
