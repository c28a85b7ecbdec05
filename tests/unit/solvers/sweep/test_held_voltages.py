"""Generating units that hold voltages in the sweep: compensated for, within their limits, as in the direct solver."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_networks import assert_agree, outcome, random_network, same

from twin.network.builder import NetworkBuilder
from twin.network.model import Floats, Network, SwitchKind
from twin.solvers import PowerFlowResult, drain_notes, power_flow
from twin.solvers.held_voltages import complementary

SEEDS = st.integers(0, 10_000)


def random_problem(seed: int, n: int) -> tuple[Floats, Floats, Floats, Floats]:
    """A matrix with positive principal minors, right side, and limits some of which are open."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, n))
    skew = rng.normal(size=(n, n))
    matrix = root @ root.T + 0.3 * np.eye(n) + 0.5 * (skew - skew.T)  # x @ matrix @ x > 0
    low = np.where(rng.random(n) < 0.2, -np.inf, -rng.uniform(0, 1, n))
    high = np.where(rng.random(n) < 0.2, np.inf, rng.uniform(0, 1, n))
    return matrix, rng.normal(size=n), low, high


def by_enumeration(matrix: Floats, right: Floats, low: Floats, high: Floats) -> Floats:
    """Try every combination of at the low limit, free, at the high limit."""
    n = len(right)
    for at in itertools.product((-1, 0, 1), repeat=n):
        x = np.where(np.array(at) > 0, high, np.where(np.array(at) < 0, low, 0.0))
        if not np.isfinite(x).all():
            continue
        free = np.flatnonzero(np.array(at) == 0)
        x[free] = np.linalg.solve(matrix[np.ix_(free, free)], right[free] - matrix[free] @ x)
        gap = matrix @ x - right
        within = (x >= low - 1e-12) & (x <= high + 1e-12)
        explained = np.where(np.array(at) > 0, gap <= 1e-12, np.where(np.array(at) < 0, gap >= -1e-12, True))
        if (within & explained).all():
            return x
    raise AssertionError("such a problem has a solution")


@given(SEEDS, st.integers(1, 5))
def test_complementary__finds_what_trying_every_combination_finds(seed: int, n: int) -> None:
    found = complementary(*random_problem(seed, n))
    assert found is not None
    assert found == pytest.approx(by_enumeration(*random_problem(seed, n)), abs=1e-9)


@given(SEEDS, st.integers(3, 30), st.booleans())
def test_sweep__holds_voltages_as_the_direct_solver_does(seed: int, n: int, dependent: bool) -> None:
    network = random_network(seed, n, dependent=dependent, holding=True)
    closed = np.random.default_rng(seed).random(network.switches.n) > 0.1
    sweep, direct = (power_flow(network, backend=backend) for backend in ("sweep", "direct"))
    for solver in (sweep, direct):
        solver.update(p_kw=0.6 * network.consumers.p_kw, closed=closed)
    one, other = outcome(sweep), outcome(direct)
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
    else:
        assert_agree(one, other, v_pu=1e-8, kva=1e-2)


def feeder(q_max_kvar: float = math.inf, sharing: bool = False) -> Network:
    """GRID ─ A ── L1 ── B ═ coupler ═ C ── L2 ── D, units at B and C share one task."""
    builder = NetworkBuilder("feeder")
    for node in "ABCD":
        builder.node(node, v_kv=20.0)
    builder.source("GRID", "A")
    for name, one, two in (("L1", "A", "B"), ("L2", "C", "D")):
        builder.line(name, one, two, length_km=8.0, r_ohm_per_km=0.3, x_ohm_per_km=0.35, c_nf_per_km=200.0)
    builder.switch("COUPLER", SwitchKind.DISCONNECTOR, "B", other_node="C")
    builder.consumer("LD", "D", p_kw=2500.0, q_kvar=900.0)
    builder.generator("G_B", "B", p_kw=100.0, v_set_pu=1.0, q_min_kvar=-500.0, q_max_kvar=q_max_kvar)
    if sharing:
        builder.generator("G_C", "C", p_kw=100.0, v_set_pu=1.1, q_min_kvar=-100.0, q_max_kvar=3 * q_max_kvar)
    return builder.build()


def solved_by_sweep(network: Network) -> PowerFlowResult:
    solver = power_flow(network, backend="sweep")
    result = solver.solve()
    assert drain_notes(solver) == ()  # nobody stood in
    return result


def test_unit__without_limits_holds_its_voltage() -> None:
    assert solved_by_sweep(feeder()).v_pu[1] == pytest.approx(1.0, abs=1e-9)


def test_unit__at_its_limit_feeds_in_the_limit_and_its_voltage_falls() -> None:
    result = solved_by_sweep(feeder(q_max_kvar=300.0))
    assert result.generation_kvar[0] == 300.0
    assert 0.9 < result.v_pu[1] < 1.0


def test_units__on_one_bus_share_by_their_room_and_the_first_sets_the_voltage() -> None:
    result = solved_by_sweep(feeder(q_max_kvar=2000.0, sharing=True))
    assert result.v_pu[1:3] == pytest.approx(1.0, abs=1e-9)
    share = (result.generation_kvar - [-500.0, -100.0]) / [2500.0, 6100.0]
    assert share[0] == pytest.approx(share[1])


def test_unit__called_back_from_its_limit_equals_a_fresh_build_to_the_last_bit() -> None:
    network = feeder(q_max_kvar=300.0)
    solver, fresh = power_flow(network), power_flow(network)
    assert solver.solve().generation_kvar[0] == 300.0
    for each in (solver, fresh):
        each.update(p_kw=np.array([500.0]), q_kvar=np.array([0.0]))
    assert same(solver.solve(), fresh.solve())
    assert solver.solve().v_pu[1] == pytest.approx(1.0, abs=1e-9)


def test_unit__on_a_dead_bus_feeds_in_nothing() -> None:
    network = feeder(sharing=True, q_max_kvar=2000.0)
    solver = power_flow(network, backend="sweep")
    solver.update(closed=np.zeros(1, dtype=np.bool_))
    result = solver.solve()
    assert result.generation_kvar[1] == 0.0
    assert result.v_pu[1] == pytest.approx(1.0, abs=1e-9)
    assert not result.energised[2]
