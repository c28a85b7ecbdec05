"""A solver updated in place is in the state of one built afresh, whatever the history, to the last bit.

A run that is restored from a snapshot builds its solver anew and must go on as if nothing had happened.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.solvers import PowerFlowDivergedError, PowerFlowResult, power_flow


@cache
def ring() -> Network:
    """HV ─T1/T2─ MV, a ring MV ─ A ─ B ─ C ─ MV with switches everywhere, D behind a bus coupler at B.

    ::

        HV ─ T1 ─ MV ─S0─ L_A ─S1─ A ─S2─ L_B ─S3─ B ─S4─ L_C ─S5─ C ─S6─ L_M ── MV
           ─ T2 ─                                 ╘═S7═ D
    """
    builder = NetworkBuilder("ring")
    builder.node("HV", v_kv=110.0)
    for node in ("MV", "A", "B", "C", "D"):
        builder.node(node, v_kv=20.0)
    builder.source("GRID", "HV", v_pu=1.02)
    for name, side in (("T1", 0), ("T2", 1)):
        builder.transformer(
            name,
            "HV",
            "MV",
            s_kva=25_000,
            v_from_kv=110,
            v_to_kv=20,
            vk_percent=12,
            vkr_percent=0.4,
            p_iron_kw=14,
            i0_percent=0.1,
            shift_deg=150,
            tap_side=side,
            tap_min=-9,
            tap_max=9,
            tap_step_percent=1.5 if side == 0 else -1.0,
        )
        builder.switch(f"CB_{name}", SwitchKind.BREAKER, "MV", branch=name)
    ends = (("L_A", "MV", "A"), ("L_B", "A", "B"), ("L_C", "B", "C"), ("L_M", "C", "MV"))
    for name, one, two in ends:
        builder.line(
            name, one, two, length_km=2.0, r_ohm_per_km=0.2, x_ohm_per_km=0.15, c_nf_per_km=250.0, i_max_a=300.0
        )
        builder.switch(f"S_{name}_{one}", SwitchKind.LOAD_BREAK_SWITCH, one, branch=name)
        builder.switch(f"S_{name}_{two}", SwitchKind.LOAD_BREAK_SWITCH, two, branch=name)
    builder.switch("S_BD", SwitchKind.DISCONNECTOR, "B", other_node="D")
    for node in "ABCD":
        builder.consumer(f"LD_{node}", node, p_kw=1000.0, q_kvar=300.0)
    builder.generator("PV", "D", p_kw=500.0)
    builder.shunt("CAP", "C", q_kvar=-400.0)
    return builder.build()


N_SWITCHES, N_CONSUMERS, N_TAPS = 11, 4, 2
powers = st.floats(-5e3, 5e3).map(lambda value: round(value, 3))


def array_of(elements: Any, n: int, dtype: Any) -> Any:
    return st.lists(elements, min_size=n, max_size=n).map(lambda values: np.array(values, dtype=dtype))


changes = st.fixed_dictionaries(
    {},
    optional={
        "p_kw": array_of(powers, N_CONSUMERS, np.float64),
        "q_kvar": array_of(powers, N_CONSUMERS, np.float64),
        "generation_kw": array_of(powers, 1, np.float64),
        "generation_kvar": array_of(powers, 1, np.float64),
        "closed": array_of(st.booleans(), N_SWITCHES, np.bool_),
        "tap_position": array_of(st.integers(-9, 9), N_TAPS, np.int32),
    },
)


def outcome(solver: Any) -> PowerFlowResult | str:
    try:
        result: PowerFlowResult = solver.solve()
    except PowerFlowDivergedError as error:
        return str(error)
    return result


def assert_same(one: PowerFlowResult | str, two: PowerFlowResult | str) -> None:
    if isinstance(one, str) or isinstance(two, str):
        assert one == two
        return
    for name in (field.name for field in fields(one)):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name


@settings(max_examples=60)
@given(st.lists(changes, min_size=1, max_size=5))
def test_update__in_place_equals_a_fresh_build(history: list[dict[str, Any]]) -> None:
    solver, state = power_flow(ring()), {}
    for change in history:
        solver.update(**change)
        state |= change
        outcome(solver)
    fresh = power_flow(ring())
    fresh.update(**state)
    assert_same(outcome(solver), outcome(fresh))


@settings(max_examples=40)
@given(array_of(st.booleans(), N_SWITCHES, np.bool_))
def test_switching__there_and_back_returns_the_same_state(closed: Any) -> None:
    network = ring()
    solver = power_flow(network)
    before = outcome(solver)
    solver.update(closed=closed)
    outcome(solver)
    solver.update(closed=network.switches.normally_closed)
    assert_same(outcome(solver), before)


@settings(max_examples=40)
@given(st.lists(array_of(st.booleans(), N_SWITCHES, np.bool_), min_size=1, max_size=4), changes)
def test_solve_many__equals_the_single_solve(candidates: list[Any], change: dict[str, Any]) -> None:
    solver = power_flow(ring())
    solver.update(**change)
    many = solver.solve_many(np.array(candidates))
    for closed, batch in zip(candidates, many, strict=True):
        solver.update(closed=closed)
        assert_same(str(batch) if isinstance(batch, PowerFlowDivergedError) else batch, outcome(solver))
