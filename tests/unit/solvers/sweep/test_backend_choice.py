"""Which backend a network gets, and what it says."""

from __future__ import annotations

import math
from types import FunctionType

import numpy as np
import pytest
from sweep_networks import random_network, same

from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.solvers import drain_notes, power_flow
from twin.solvers.direct import DirectPowerFlow
from twin.solvers.held_voltages import MOST_HELD
from twin.solvers.power_grid_model import GridModelPowerFlow
from twin.solvers.sweep import SweepPowerFlow
from twin.solvers.sweep.compiling import cached


def chain(n: int, v_set_pu: float = math.nan) -> Network:
    """SOURCE ─ N0 ─ N1 ─ ..., a generating unit at the end."""
    builder = NetworkBuilder("chain")
    for k in range(n):
        builder.node(f"N{k}", v_kv=20.0)
        if k:
            builder.line(f"L{k}", f"N{k - 1}", f"N{k}", length_km=0.01, r_ohm_per_km=0.3, x_ohm_per_km=0.3)
    builder.source("GRID", "N0")
    builder.generator("G", f"N{n - 1}", p_kw=10.0, v_set_pu=v_set_pu)
    return builder.build()


def crowded(n: int) -> Network:
    """A chain whose every node but the first has a unit that holds its voltage."""
    builder = NetworkBuilder("crowded")
    for k in range(n):
        builder.node(f"N{k}", v_kv=20.0)
        if k:
            builder.line(f"L{k}", f"N{k - 1}", f"N{k}", length_km=0.01, r_ohm_per_km=0.3, x_ohm_per_km=0.3)
            builder.generator(f"G{k}", f"N{k}", p_kw=10.0, v_set_pu=1.0)
    builder.source("GRID", "N0")
    return builder.build()


def test_backend__is_the_direct_solver_where_units_hold_many_voltages() -> None:
    assert isinstance(power_flow(chain(5)), SweepPowerFlow)
    assert isinstance(power_flow(chain(5, v_set_pu=1.0)), SweepPowerFlow)
    assert isinstance(power_flow(crowded(MOST_HELD + 2)), DirectPowerFlow)


def test_sweep__hands_many_held_voltages_over_with_one_note() -> None:
    solver, direct = (power_flow(crowded(MOST_HELD + 2), backend=backend) for backend in ("sweep", "direct"))
    for each in (solver, direct):
        each.update(generation_kw=np.full(MOST_HELD + 1, 100.0))
    assert same(solver.solve(), direct.solve())
    solver.solve()
    (note,) = drain_notes(solver)
    assert note.startswith("network crowded: generating units hold more than 24 voltages, so the direct solver takes")


def test_grid_model__hands_held_voltages_over_with_one_note() -> None:
    network = chain(5, v_set_pu=1.01)
    solver, direct = power_flow(network, backend="power-grid-model"), power_flow(network, backend="direct")
    for p_kw in (100.0, 200.0):
        for each in (solver, direct):
            each.update(generation_kw=np.array([p_kw]))
        assert same(solver.solve(), direct.solve())
    assert solver.solve().v_pu[-1] == pytest.approx(1.01, abs=1e-10)
    (note,) = drain_notes(solver)
    assert note.startswith("network chain: generating units hold voltages, so the direct solver takes over")


def test_backend__can_be_named() -> None:
    assert isinstance(power_flow(chain(2), backend="sweep"), SweepPowerFlow)
    assert isinstance(power_flow(chain(2), backend="direct"), DirectPowerFlow)
    assert isinstance(power_flow(chain(2), backend="power-grid-model"), GridModelPowerFlow)


def test_notes__are_drained_once() -> None:
    builder = NetworkBuilder("contradiction")
    for node in "AB":
        builder.node(node, v_kv=20.0)
    builder.source("GRID_1", "A", v_pu=1.0)
    builder.source("GRID_2", "B", v_pu=1.02)
    builder.switch("S", SwitchKind.DISCONNECTOR, "A", other_node="B")
    solver = power_flow(builder.build(), backend="sweep")
    assert drain_notes(solver) == ()
    solver.solve()
    assert len(drain_notes(solver)) == 2  # from the sweep to the direct solver, and from there to power-grid-model
    solver.solve()
    assert drain_notes(solver) == ()
    assert drain_notes(power_flow(random_network(0, 3))) == ()


def test_compiled_code__needs_no_place_for_a_cache() -> None:
    """A function without a file has no place beside which it could be cached."""

    def twice(x: int) -> int:
        return 2 * x

    homeless = FunctionType(twice.__code__.replace(co_filename="<no file>"), {})
    assert cached(homeless, {})(21) == 42
