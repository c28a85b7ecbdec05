"""Volt-VAR control on small networks: what is moved, in which order, and why nothing is."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.dms.plan import StepAction, StepPurpose, Verdict
from twin.dms.volt_var import (
    Control,
    Inputs,
    Objective,
    UnknownControlError,
    VoltVarObservation,
    VoltVarResult,
    VoltVarSettings,
    capacitor,
    inverter,
    make_plan,
    tap_changer,
)
from twin.network.builder import NetworkBuilder
from twin.network.model import Network
from twin.solvers import power_flow
from twin.solvers.model import PowerFlowDivergedError

TAPS = range(-4, 5)


def toy(p_kw: float = 4_000.0, pv_kw: float = 0.0) -> Network:
    """HV - T (taps on the high side, 1.5 % a step) - A ── 8 km ── B: load, bank C (3 x 300 kvar), unit PV."""
    builder = NetworkBuilder("toy")
    builder.node("HV", v_kv=110.0)
    builder.node("A", v_kv=20.0)
    builder.node("B", v_kv=20.0)
    builder.source("EXT", "HV")
    builder.transformer(
        "T",
        "HV",
        "A",
        s_kva=10_000.0,
        v_from_kv=110.0,
        v_to_kv=20.0,
        vk_percent=10.0,
        vkr_percent=0.5,
        tap_side=0,
        tap_min=-4,
        tap_max=4,
        tap_neutral=0,
        tap_step_percent=1.5,
        tap_position=0,
    )
    builder.line("L", "A", "B", length_km=8.0, r_ohm_per_km=0.5, x_ohm_per_km=0.375, i_max_a=400.0)
    builder.consumer("load", "B", p_kw=p_kw, q_kvar=p_kw / 3.0)
    builder.shunt("C", "B", p_kw=0.0, q_kvar=-900.0, steps=3, initial_steps=0)
    builder.generator("PV", "B", p_kw=pv_kw, q_kvar=0.0, s_kva=6_000.0, kind="pv")
    return builder.build()


def observe(network: Network, *controls: Control, **changes: Any) -> VoltVarObservation:
    generators = network.generators
    seen = VoltVarObservation(
        t_ms=60_000,
        p_kw=network.consumers.p_kw,
        q_kvar=network.consumers.q_kvar,
        generation_kw=generators.p_kw,
        generation_kvar=generators.q_kvar,
        closed=network.switches.normally_closed,
        controls=controls,
        inputs=Inputs(network.transformers.tap_position, network.shunts.initial_steps, generators.q_kvar),
    )
    return replace(seen, **changes)


def moves(result: VoltVarResult) -> list[str]:
    return [f"{step.equipment} {step.action.value}" for step in result.plan.steps]


def solved(network: Network, seen: VoltVarObservation, tap: int, steps: int) -> Any:
    flow = power_flow(network)
    flow.update(
        p_kw=seen.p_kw,
        q_kvar=seen.q_kvar,
        generation_kw=seen.generation_kw,
        tap_position=np.array([tap], dtype=np.int32),
        shunt_steps=np.array([steps], dtype=np.int32),
    )
    return flow.solve()


def test_plan__is_none_while_all_voltages_are_inside_the_band():
    network = toy(p_kw=500.0)
    result = make_plan(network, observe(network, tap_changer(network, "T", 0)), VoltVarSettings())
    assert result.plan.verdict is Verdict.NONE
    assert result.plan.explanation.startswith("All voltages are inside the band")


def test_plan__raises_the_voltage_by_lowering_the_tap_of_the_high_side():
    network = toy()
    result = make_plan(network, observe(network, tap_changer(network, "T", 0)), VoltVarSettings())
    assert result.present is not None
    assert not result.present.admissible
    assert set(moves(result)) == {"T lower"}
    assert result.plan.steps[-1].check.v_min_pu >= 0.953
    assert all(step.purpose is StepPurpose.VOLTAGE for step in result.plan.steps)
    assert "below 0.950 pu" in result.plan.why[0]


def test_plan__with_fewest_operations_takes_no_more_than_it_must():
    """Enumerated by the power flow: the least number of steps of tap and bank that brings B above 0.95 pu."""
    network = toy()
    seen = observe(network, tap_changer(network, "T", 0), capacitor(network, "C", 0))
    wanted = VoltVarSettings(objective=Objective.OPERATIONS, margin_pu=0.0)
    result = make_plan(network, seen, wanted)
    counts = [
        abs(tap) + steps
        for tap, steps in product(TAPS, range(4))
        if (v := solved(network, seen, tap, steps).v_pu).min() >= 0.95 and v.max() <= 1.05
    ]
    assert len(result.plan.steps) == min(counts)


@given(p_kw=st.floats(0.0, 7_000.0), pv_kw=st.floats(0.0, 6_000.0))
@settings(max_examples=25, deadline=None)
def test_plan__leaves_no_voltage_outside_that_any_setting_could_have_avoided(p_kw: float, pv_kw: float):
    """Against every setting of tap and bank, by the power flow alone."""
    network = toy(p_kw, pv_kw)
    seen = observe(network, tap_changer(network, "T", 0), capacitor(network, "C", 0))
    result = make_plan(network, seen, VoltVarSettings(max_loading=2.0))
    excess = []
    for tap, steps in product(TAPS, range(4)):
        try:
            flow = solved(network, seen, tap, steps)
        except PowerFlowDivergedError:
            continue
        v_pu = flow.v_pu
        excess.append(np.maximum(0.95 - v_pu, 0).sum() + np.maximum(v_pu - 1.05, 0).sum())
    reached = result.planned.excess_pu if result.plan.steps else result.present.excess_pu
    assert reached <= min(excess) + 1e-3
    if min(excess) == 0.0:
        assert reached == 0.0


@given(p_kw=st.floats(0.0, 7_000.0), pv_kw=st.floats(0.0, 6_000.0), objective=st.sampled_from(Objective))
@settings(max_examples=25, deadline=None)
def test_plan__passes_no_state_worse_than_its_ends(p_kw: float, pv_kw: float, objective: Objective):
    network = toy(p_kw, pv_kw)
    controls = (
        tap_changer(network, "T", 0),
        capacitor(network, "C", 0),
        inverter(network, "PV", pv_kw, 0.0, levels=3),
    )
    result = make_plan(network, observe(network, *controls), VoltVarSettings(objective=objective))
    for step in result.plan.steps:
        assert step.check.converged
        if result.present.admissible:
            assert step.check.v_min_pu >= 0.95 - 1e-6
            assert step.check.v_max_pu <= 1.05 + 1e-6


def test_plan__lowers_losses_by_the_bank_where_that_is_worth_it():
    network = toy(p_kw=3_000.0)
    wanted = VoltVarSettings(objective=Objective.LOSSES, v_min_pu=0.9, v_max_pu=1.1)
    result = make_plan(network, observe(network, capacitor(network, "C", 0)), wanted)
    assert moves(result) == ["C raise"] * 3
    assert result.saved_kw == pytest.approx(result.present.losses_kw - result.planned.losses_kw)
    assert result.saved_kw > 0
    assert all(step.purpose is StepPurpose.SAVE for step in result.plan.steps)
    dear = wanted.model_copy(update={"least_gain_kw": 1_000.0})
    refused = make_plan(network, observe(network, capacitor(network, "C", 0)), dear)
    assert refused.plan.steps == ()
    assert "1000.00 kW are asked for" in refused.plan.explanation


def test_plan__conserves_only_where_demand_falls_with_voltage():
    """Constant power does not fall with voltage, so a lower voltage saves nothing."""
    network = toy(p_kw=1_000.0)
    wanted = VoltVarSettings(objective=Objective.CONSERVATION)
    result = make_plan(network, observe(network, tap_changer(network, "T", 0)), wanted)
    assert result.plan.steps == ()


def test_plan__lets_an_inverter_absorb_when_the_sun_lifts_the_voltage():
    network = toy(p_kw=0.0, pv_kw=5_500.0)
    seen = observe(network, inverter(network, "PV", 5_500.0, 0.0))
    result = make_plan(network, seen, VoltVarSettings(v_max_pu=1.03))
    assert [step.action for step in result.plan.steps] == [StepAction.SET]
    assert result.plan.steps[0].value < 0
    assert result.planned.operations == 0


def test_plan__keeps_to_the_operations_left_and_says_what_is_fixed():
    network = toy(p_kw=5_000.0)
    limited = make_plan(network, observe(network, tap_changer(network, "T", 0, operations_left=1)), VoltVarSettings())
    assert moves(limited) == ["T lower"]
    assert "No allowed setting brings everything inside the limits" in limited.plan.explanation
    held = tap_changer(network, "T", 0, why_fixed="it bears a tag")
    fixed = make_plan(network, observe(network, held), VoltVarSettings())
    assert fixed.plan.steps == ()
    assert "T stays at tap 0: it bears a tag." in fixed.plan.why


def test_plan__is_none_while_a_switch_is_unknown_or_nothing_can_be_set():
    network = toy()
    seen = observe(network, tap_changer(network, "T", 0), unknown_switches=("S1",))
    assert "The position of S1 is not known" in make_plan(network, seen, VoltVarSettings()).plan.explanation
    assert "no tap changer" in make_plan(network, observe(network), VoltVarSettings()).plan.explanation


def test_plan__never_takes_a_state_without_solution_for_a_good_one():
    """At 30 MW there is no solution at any tap: nothing is planned, and nothing is called a loss."""
    network = toy(p_kw=30_000.0)
    result = make_plan(network, observe(network, tap_changer(network, "T", 0)), VoltVarSettings())
    assert result.plan.steps == ()
    assert "no power flow solution" in result.plan.explanation


def test_plan__follows_the_measured_voltage_where_the_model_is_wrong():
    """The model says 0.99 pu; B measures 0.94 pu, so the taps go down all the same."""
    network = toy(p_kw=1_000.0)
    seen = observe(network, tap_changer(network, "T", 0))
    assert make_plan(network, seen, VoltVarSettings()).plan.steps == ()
    measured = replace(seen, v_measured_pu=np.array([np.nan, np.nan, 0.94]))
    result = make_plan(network, measured, VoltVarSettings())
    assert result.present.v_min_pu == pytest.approx(0.94)
    assert set(moves(result)) == {"T lower"}


def test_control__refuses_what_cannot_be_controlled():
    network = toy()
    for make in (
        lambda: tap_changer(network, "C", 0),
        lambda: capacitor(network, "T", 0),
        lambda: inverter(network, "load", 0.0, 0.0),
    ):
        with pytest.raises(UnknownControlError, match="could be set"):
            make()


def test_settings__refuse_an_empty_band():
    with pytest.raises(ValueError, match="less its margins is empty"):
        VoltVarSettings(v_min_pu=1.0, v_max_pu=1.005)
