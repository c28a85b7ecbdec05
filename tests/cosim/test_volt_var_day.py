"""A day with sun on one feeder: Volt-VAR control against every allowed setting, and against a plain controller.

HV - T (taps on the high side) - A ── 8 km ── B: load, bank C (3 x 300 kvar), unit PV. Field devices and power flow of
the plant, ten minutes a step; control by steps of the mechanisms alone, as telecontrol would give them.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from simulators.field.kernel import DeviceKernel
from simulators.field.record import Record
from simulators.field.regulation.bank import RegulationBank
from twin.derive.reactive_curves import IEEE_1547_B, VoltVarCurve
from twin.derive.settings import CapacitorBankSettings, DeviceSettings, TapChangerSettings
from twin.dms.volt_var import (
    Followers,
    Inputs,
    Objective,
    VoltVarObservation,
    VoltVarSettings,
    capacitor,
    make_plan,
    tap_changer,
)
from twin.network.builder import NetworkBuilder
from twin.network.model import Floats, Network
from twin.outstations.model import StationCommand
from twin.points.model import STEP_HIGHER, STEP_LOWER, PointAddress, PointDefinition, PointKind
from twin.solvers import power_flow

STEP_MS = 600_000
STEPS = 86_400_000 // STEP_MS
BAND = VoltVarSettings(objective=Objective.OPERATIONS, v_min_pu=0.96, v_max_pu=1.04, max_loading=2.0)


def network() -> Network:
    builder = NetworkBuilder("day")
    for node, v_kv in (("HV", 110.0), ("A", 20.0), ("B", 20.0)):
        builder.node(node, v_kv=v_kv)
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
        tap_min=-6,
        tap_max=6,
        tap_neutral=0,
        tap_step_percent=1.25,
        tap_position=0,
    )
    builder.line("L", "A", "B", length_km=16.0, r_ohm_per_km=0.5, x_ohm_per_km=0.375, i_max_a=400.0)
    builder.consumer("load", "B", p_kw=3_500.0, q_kvar=1_200.0)
    builder.shunt("C", "B", p_kw=0.0, q_kvar=-900.0, steps=3, initial_steps=0)
    builder.generator("PV", "B", p_kw=0.0, q_kvar=0.0, s_kva=6_000.0, kind="pv")
    return builder.build()


def factor(hour: float) -> float:
    """Demand over the rated one: a morning and an evening peak."""
    return 0.35 + 0.35 * np.exp(-((hour - 8) ** 2) / 4) + 0.65 * np.exp(-((hour - 19) ** 2) / 6)


def sun_kw(hour: float, clouds: np.random.Generator) -> float:
    clear = max(0.0, np.sin(np.pi * (hour - 6) / 12)) if 6 <= hour <= 18 else 0.0
    return float(5_500.0 * clear * (1.0 - 0.5 * clouds.random() * (clouds.random() < 0.3)))


class Plant:
    """The network with its devices, stepped by telecontrol."""

    def __init__(self, curve: VoltVarCurve | None = None) -> None:
        self.network = network()
        self.curve = curve
        self.q_kvar = np.zeros(1)
        self.flow = power_flow(self.network)
        self.kernel = DeviceKernel()
        devices = DeviceSettings(
            tap_changers=(TapChangerSettings(transformer="T"),),
            capacitor_banks=(CapacitorBankSettings(bank="C", discharge_ms=0),),
        )
        self.bank = RegulationBank(self.network, devices, (), self.kernel, Record())
        self.demand = self.network.consumers

    def solve(self, hour: float, generation_kw: float, tap: int | None = None, steps: int | None = None) -> Floats:
        """Voltages with the devices where they are, or at a setting to be tried."""
        taps = self.bank.tap_position if tap is None else np.array([tap], dtype=np.int32)
        steps_in = self.bank.shunt_steps if steps is None else np.array([steps], dtype=np.int32)
        self.flow.update(
            p_kw=self.demand.p_kw * factor(hour),
            q_kvar=self.demand.q_kvar * factor(hour),
            generation_kw=np.array([generation_kw]),
            generation_kvar=self.q_kvar,
            tap_position=taps,
            shunt_steps=steps_in,
        )
        v_pu = self.flow.solve().v_pu
        while self.curve is not None:  # the inverter follows its characteristic, slowly
            generators = self.network.generators
            wanted = self.curve.q_kvar(v_pu[generators.node], generators.s_kva, np.array([generation_kw]))
            if abs(float((wanted - self.q_kvar)[0])) < 0.05:
                break
            self.q_kvar = self.q_kvar + 0.2 * (wanted - self.q_kvar)
            self.flow.update(generation_kvar=self.q_kvar)
            v_pu = self.flow.solve().v_pu
        return v_pu

    def step(self, name: str, up: bool) -> None:
        """One step by telecontrol, waited for."""
        point = PointDefinition("RTU", f"{name}.step", PointKind.STEP_COMMAND, name, "step", PointAddress(1, 1, 47))
        value = STEP_HIGHER if up else STEP_LOWER
        refused = self.bank.operate(point, StationCommand("RTU", point.name, value, 1), self.kernel.now)
        assert refused == ""
        self.kernel.advance(self.kernel.next_due())


def excess(v_pu: Floats) -> float:
    return float(np.maximum(BAND.v_min_pu - v_pu, 0).sum() + np.maximum(v_pu - BAND.v_max_pu, 0).sum())


def controlled(plant: Plant, hour: float, generation_kw: float) -> None:
    """One look of the application, its plan carried out step by step."""
    n = plant.network
    plant.solve(hour, generation_kw)
    followers = Followers.none()
    if plant.curve is not None:
        rows = np.zeros(1, dtype=np.int32)
        followers = Followers(rows, (plant.curve,), n.generators.s_kva, np.array([generation_kw]))
    seen = VoltVarObservation(
        t_ms=plant.kernel.now,
        p_kw=n.consumers.p_kw * factor(hour),
        q_kvar=n.consumers.q_kvar * factor(hour),
        generation_kw=np.array([generation_kw]),
        generation_kvar=plant.q_kvar,
        closed=n.switches.normally_closed,
        controls=(
            tap_changer(n, "T", int(plant.bank.tap_position[0])),
            capacitor(n, "C", int(plant.bank.shunt_steps[0])),
        ),
        inputs=Inputs(plant.bank.tap_position, plant.bank.shunt_steps, plant.q_kvar),
        followers=followers,
    )
    for step in make_plan(n, seen, BAND, solver=plant.flow).plan.steps:
        plant.step(step.equipment, step.action.value == "raise")


def plainly_controlled(plant: Plant, hour: float, generation_kw: float) -> None:
    """The plain controller: sees every voltage too, and steps the tap until none is outside, never the bank."""
    while excess(v_pu := plant.solve(hour, generation_kw)) > 0.0:
        higher = v_pu.max() > BAND.v_max_pu  # of the high side, so the voltage falls
        if abs(plant.bank.tap_position[0] + (1 if higher else -1)) > 6:
            return
        plant.step("T", higher)
        if (plant.solve(hour, generation_kw).max() > BAND.v_max_pu) != higher:
            return


@pytest.mark.parametrize("curve", [None, IEEE_1547_B], ids=["constant", "characteristic"])
def test_day__no_voltage_stays_outside_that_any_setting_would_bring_inside_and_taps_are_spared(
    curve: VoltVarCurve | None,
) -> None:
    ours, plain = Plant(curve), Plant(curve)
    clouds = np.random.default_rng(11)
    outside = 0
    for number in range(1, STEPS + 1):
        hour, now = number * STEP_MS / 3_600_000 % 24, number * STEP_MS
        generation_kw = sun_kw(hour, clouds)
        for plant in (ours, plain):
            plant.kernel.advance(now)
        outside += excess(ours.solve(hour, generation_kw)) > 0.0
        controlled(ours, hour, generation_kw)
        left = excess(ours.solve(hour, generation_kw))
        if left > 0.0:
            tried = [
                excess(ours.solve(hour, generation_kw, tap, steps)) for tap, steps in product(range(-6, 7), range(4))
            ]
            assert min(tried) > 0.0
            assert left == pytest.approx(min(tried), abs=1e-3)
        plainly_controlled(plain, hour, generation_kw)
    used, spent = ours.bank.operations(), plain.bank.operations()
    assert outside > 0
    assert 0 < used["T"] <= spent["T"]
