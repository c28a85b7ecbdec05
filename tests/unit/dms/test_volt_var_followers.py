"""Inverters on a characteristic: the plan counts with what they do of themselves when a tap moves."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.derive.reactive_curves import CURVES, IEEE_1547_B, CurveError, VoltVarCurve, reactive_curve
from twin.dms.volt_var import (
    Followers,
    Inputs,
    NotSettledError,
    Objective,
    VoltVarObservation,
    VoltVarSettings,
    capacitor,
    make_plan,
    tap_changer,
)
from twin.network.builder import NetworkBuilder
from twin.network.model import Network
from twin.solvers import power_flow

FEW = VoltVarSettings(objective=Objective.OPERATIONS, v_min_pu=0.97, v_max_pu=1.03, margin_pu=0.0, max_loading=2.0)


def feeder() -> Network:
    """HV - T (taps on the high side, 1.25 % a step) - A ── 10 km ── B: load, bank C (3 x 300 kvar), units PV1, PV2."""
    b = NetworkBuilder("follow")
    for node, v_kv in (("HV", 110.0), ("A", 20.0), ("B", 20.0)):
        b.node(node, v_kv=v_kv)
    b.source("EXT", "HV")
    b.transformer(
        "T", "HV", "A", s_kva=10_000.0, v_from_kv=110.0, v_to_kv=20.0, vk_percent=10.0, vkr_percent=0.5, tap_side=0,
        tap_min=-6, tap_max=6, tap_neutral=0, tap_step_percent=1.25, tap_position=0,
    )  # fmt: skip
    b.line("L", "A", "B", length_km=10.0, r_ohm_per_km=0.3, x_ohm_per_km=0.35, i_max_a=400.0)
    b.consumer("load", "B", p_kw=1_500.0, q_kvar=500.0)
    b.shunt("C", "B", p_kw=0.0, q_kvar=-900.0, steps=3, initial_steps=0)
    for name in ("PV1", "PV2"):
        b.generator(name, "B", p_kw=0.0, q_kvar=0.0, s_kva=3_000.0, kind="pv")
    return b.build()


def settled(network: Network, pv_kw: float, tap: int, steps: int, curve: VoltVarCurve) -> tuple[Any, Any]:
    """The plant in the end: full small steps of reactive power towards the characteristic, as slow devices do."""
    g, flow = network.generators, power_flow(network)
    q_kvar = np.zeros(g.n)
    for _ in range(3_000):
        flow.update(
            generation_kw=np.full(g.n, pv_kw), generation_kvar=q_kvar,
            tap_position=np.array([tap], dtype=np.int32), shunt_steps=np.array([steps], dtype=np.int32),
        )  # fmt: skip
        v_pu = flow.solve().v_pu
        wanted = curve.q_kvar(v_pu[g.node], g.s_kva, np.full(g.n, pv_kw))
        if np.abs(wanted - q_kvar).max() < 1e-4:
            return v_pu, q_kvar
        q_kvar = q_kvar + 0.05 * (wanted - q_kvar)
    raise AssertionError("the plant does not settle")


def observe(network: Network, pv_kw: float, tap: int, steps: int, curve: VoltVarCurve | None) -> VoltVarObservation:
    g = network.generators
    _, q_kvar = settled(network, pv_kw, tap, steps, curve or IEEE_1547_B)
    p_kw = np.full(g.n, pv_kw)
    followers = (
        Followers.none() if curve is None else Followers(np.arange(g.n, dtype=np.int32), (curve,) * g.n, g.s_kva, p_kw)
    )
    taps, shunts = np.array([tap], dtype=np.int32), np.array([steps], dtype=np.int32)
    return VoltVarObservation(
        t_ms=0,
        p_kw=network.consumers.p_kw,
        q_kvar=network.consumers.q_kvar,
        generation_kw=p_kw,
        generation_kvar=q_kvar,
        closed=network.switches.normally_closed,
        controls=(tap_changer(network, "T", tap), capacitor(network, "C", steps)),
        inputs=Inputs(taps, shunts, q_kvar),
        followers=followers,
    )


def excess(v_pu: Any) -> float:
    return float(np.maximum(FEW.v_min_pu - v_pu, 0).sum() + np.maximum(v_pu - FEW.v_max_pu, 0).sum())


@given(pv_kw=st.floats(0.0, 2_900.0), tap=st.integers(-6, 6), steps=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("curve", sorted(CURVES))
def test_voltages__are_those_of_the_plant_after_its_inverters_have_answered(
    curve: str, pv_kw: float, tap: int, steps: int
) -> None:
    network = feeder()
    seen = observe(network, pv_kw, tap, steps, CURVES[curve])
    result = make_plan(network, seen, FEW)
    assert result.planned is not None
    moved = {step.equipment: step.action.value for step in result.plan.steps}
    end = result.planned.setting if moved else result.present.setting  # type: ignore[union-attr]
    v_pu, _ = settled(network, pv_kw, end[0] - 6, end[1], CURVES[curve])
    told = result.planned if moved else result.present
    assert told is not None
    assert told.v_max_pu == pytest.approx(v_pu.max(), abs=2e-5)
    assert told.v_min_pu == pytest.approx(v_pu.min(), abs=2e-5)


@pytest.mark.parametrize("pv_kw", [0.0, 1_500.0, 2_900.0])
@pytest.mark.parametrize("tap", [-6, -3, 4, 6])
def test_plan__takes_no_more_operations_than_the_best_of_all_settings_with_inverters_answering(
    pv_kw: float, tap: int
) -> None:
    network = feeder()
    result = make_plan(network, observe(network, pv_kw, tap, 0, IEEE_1547_B), FEW)
    inside = {
        abs(other - tap) + steps
        for other, steps in product(range(-6, 7), range(4))
        if excess(settled(network, pv_kw, other, steps, IEEE_1547_B)[0]) <= 1e-6
    }
    assert result.optimal or not result.plan.steps
    assert len(result.plan.steps) == min(inside)


def looks(curve: VoltVarCurve | None, pv_kw: float, tap: int) -> list[int]:
    """Operations of one look after the other until nothing is moved any more, the plant settling in between."""
    network, steps, counts = feeder(), 0, []
    while len(counts) < 10:
        plan = make_plan(network, observe(network, pv_kw, tap, steps, curve), FEW).plan
        counts.append(len(plan.steps))
        if not plan.steps:
            break
        for step in plan.steps:
            up = 1 if step.action.value == "raise" else -1
            tap, steps = (tap + up, steps) if step.equipment == "T" else (tap, steps + up)
    return counts


def test_one_look__is_enough_where_constant_reactive_power_would_need_several() -> None:
    """Each tap step is partly undone by the inverters; who takes them for constant steps again, and again."""
    several = 0
    for pv_kw, tap in product((500.0, 1_500.0, 2_500.0), (-6, -4, 5, 6)):
        counting = looks(IEEE_1547_B, pv_kw, tap)
        assert counting[-1] == 0
        assert len(counting) <= 2
        several += len(looks(None, pv_kw, tap)) > 2
    assert several > 0


def test_plan__says_what_the_inverters_do() -> None:
    network = feeder()
    why = make_plan(network, observe(network, 1_500.0, -6, 0, IEEE_1547_B), FEW).plan.why
    assert any(sentence.startswith("2 inverters answer by characteristic: together from -") for sentence in why)


def test_steep_characteristic__settles_where_full_steps_would_hunt() -> None:
    """0.88 of the rating within 0.1 %: 50 times steeper than the network; one full step overshoots for ever."""
    steep = VoltVarCurve("steep", (0.9995, 1.0005), (0.44, -0.44), 1.0)
    followers = Followers(np.zeros(1, dtype=np.int32), (steep,), np.array([1_000.0]), np.zeros(1))
    q_kvar = followers.settle(np.zeros(1), lambda q: 1.001 + 5e-6 * q)
    assert q_kvar == pytest.approx(followers.wanted(1.001 + 5e-6 * q_kvar), abs=0.2)


def test_characteristic__that_has_no_rest_is_an_error_not_a_plan() -> None:
    """A network that answers with a jump: no voltage goes with the reactive power that it asks for."""
    followers = Followers(np.zeros(1, dtype=np.int32), (IEEE_1547_B,), np.array([1_000.0]), np.zeros(1))
    with pytest.raises(NotSettledError):
        followers.settle(np.zeros(1), lambda q: np.where(q < -200.0, 0.93, 1.07))


def test_plan__without_a_settled_state_is_not_made() -> None:
    """The characteristic of a unit that cannot come to rest leaves no admissible setting."""
    network = feeder()
    seen = observe(network, 1_500.0, -6, 0, IEEE_1547_B)

    class Restless(Followers):
        def settle(self, start_kvar: Any, voltages: Any) -> Any:
            raise NotSettledError(60)

    f = seen.followers
    result = make_plan(network, replace(seen, followers=Restless(f.rows, f.curves, f.s_kva, f.p_kw)), FEW)
    assert result.plan.steps == ()
    assert "does not settle" in result.plan.why[0]


def test_characteristic__by_corner_points() -> None:
    curve = reactive_curve("0.92:0.44 0.98:0 1.02:0 1.08:-0.44")
    assert (curve.v_pu, curve.q_share) == (IEEE_1547_B.v_pu, IEEE_1547_B.q_share)
    assert reactive_curve("vde_ar_n_4105") is CURVES["vde_ar_n_4105"]
    for wrong in ("ieee1547_c", "0.9:0.1:2 1.1:0", "0.9:x 1.1:0", "1.1:0.4 0.9:-0.4", "0.9:-0.4 1.1:0.4"):
        with pytest.raises(CurveError):
            reactive_curve(wrong)
