"""Which backend a network gets, and what it says."""

from __future__ import annotations

from types import FunctionType

from sweep_networks import random_network

from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.solvers import SWEEP_FROM_NODES, drain_notes, power_flow
from twin.solvers.power_grid_model import GridModelPowerFlow
from twin.solvers.sweep import SweepPowerFlow, kernels


def chain(n: int) -> Network:
    """SOURCE ─ N0 ─ N1 ─ ..."""
    builder = NetworkBuilder("chain")
    for k in range(n):
        builder.node(f"N{k}", v_kv=20.0)
        if k:
            builder.line(f"L{k}", f"N{k - 1}", f"N{k}", length_km=0.01, r_ohm_per_km=0.3, x_ohm_per_km=0.3)
    builder.source("GRID", "N0")
    return builder.build()


def test_backend__follows_the_size_of_the_network() -> None:
    assert isinstance(power_flow(chain(SWEEP_FROM_NODES - 1)), GridModelPowerFlow)
    assert isinstance(power_flow(chain(SWEEP_FROM_NODES)), SweepPowerFlow)


def test_backend__can_be_named() -> None:
    assert isinstance(power_flow(chain(2), backend="sweep"), SweepPowerFlow)
    assert isinstance(power_flow(chain(SWEEP_FROM_NODES), backend="power-grid-model"), GridModelPowerFlow)


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
    assert len(drain_notes(solver)) == 1
    solver.solve()
    assert drain_notes(solver) == ()
    assert drain_notes(power_flow(random_network(0, 3))) == ()


def test_compiled_code__needs_no_place_for_a_cache() -> None:
    """A function without a file has no place beside which it could be cached."""

    def twice(x: int) -> int:
        return 2 * x

    homeless = FunctionType(twice.__code__.replace(co_filename="<no file>"), {})
    assert kernels._jit(homeless, {})(21) == 42
