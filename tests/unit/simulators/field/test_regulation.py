"""Tap changers, capacitor banks, regulators and inverters as devices in simulated time."""

from __future__ import annotations

import json

import numpy as np
import pytest

from simulators.field.kernel import DeviceKernel
from simulators.field.record import Record
from simulators.field.regulation.bank import (
    AUTOMATIC_CONTROL,
    NOT_A_STEP,
    OUT_OF_RATING,
    RegulationBank,
    UnknownRegulatingDeviceError,
)
from simulators.field.regulation.mechanism import DISCHARGING, END_OF_RANGE, MOVING
from twin.derive.reactive_curves import IEEE_1547_A, IEEE_1547_B, CurveError, VoltVarCurve
from twin.derive.settings import CapacitorBankSettings, DeviceSettings, InverterSettings, TapChangerSettings
from twin.network.builder import NetworkBuilder
from twin.network.model import Network
from twin.outstations.model import StationCommand
from twin.points.model import STEP_HIGHER as HIGHER
from twin.points.model import STEP_LOWER as LOWER
from twin.points.model import PointAddress, PointDefinition, PointKind


def network() -> Network:
    """GRID - T1 (110/20 kV, taps -2..2 on the high side) - B, with a capacitor bank C1 of 3 steps and a unit PV1."""
    builder = NetworkBuilder("toy")
    builder.node("GRID", v_kv=110.0)
    builder.node("B", v_kv=20.0)
    builder.source("EXT", "GRID")
    builder.transformer(
        "T1",
        "GRID",
        "B",
        s_kva=25_000.0,
        v_from_kv=110.0,
        v_to_kv=20.0,
        vk_percent=12.0,
        vkr_percent=0.5,
        tap_side=0,
        tap_min=-2,
        tap_max=2,
        tap_neutral=0,
        tap_step_percent=1.5,
        tap_position=0,
    )
    builder.shunt("C1", "B", p_kw=0.0, q_kvar=-900.0, steps=3, initial_steps=1)
    builder.generator("PV1", "B", p_kw=600.0, q_kvar=0.0, s_kva=1_000.0, kind="pv")
    return builder.build()


def point(equipment: str, quantity: str, kind: PointKind) -> PointDefinition:
    return PointDefinition("RTU", f"{equipment}.{quantity}", kind, equipment, quantity, PointAddress(1, 1, 1))


POINTS = (
    point("T1", "tap", PointKind.STEP_POSITION),
    point("T1", "step", PointKind.STEP_COMMAND),
    point("C1", "steps_in", PointKind.STEP_POSITION),
    point("C1", "step", PointKind.STEP_COMMAND),
    point("PV1", "p_kw", PointKind.MEASURAND),
    point("PV1", "q_kvar", PointKind.MEASURAND),
    point("PV1", "q_set_kvar", PointKind.MEASURAND),
    point("PV1", "set_q_kvar", PointKind.SETPOINT),
)
OUTPUT = {p.name: p for p in POINTS if p.kind.is_output}


class Bench:
    """A bank on its own kernel."""

    def __init__(self, *, automatic: bool = False, curve: str = "") -> None:
        self.network = network()
        self.kernel, self.record = DeviceKernel(), Record()
        devices = DeviceSettings(
            tap_changers=(TapChangerSettings(transformer="T1", automatic=automatic),),
            capacitor_banks=(CapacitorBankSettings(bank="C1", discharge_ms=60_000),),
            inverters=(InverterSettings(unit="PV1", curve=curve),),
        )
        self.bank = RegulationBank(self.network, devices, POINTS, self.kernel, self.record)

    def command(self, name: str, value: float, now: int) -> str:
        self.kernel.advance(now)
        return self.bank.operate(OUTPUT[name], StationCommand("RTU", name, value, 7), now)

    def volts(self, v_pu: float, now: int) -> None:
        self.kernel.advance(now)
        self.bank.measure(np.array([1.0, v_pu]), np.array([600.0]), now)

    def q_kvar(self) -> float:
        settings = self.bank.settings()
        assert settings["units"] == [0]
        return settings["q_kvar"][0]

    def told(self, name: str) -> list[tuple[int, float]]:
        return [(s.source_t_ms, s.value) for s in self.record.samples if s.point == name]


def test_tap_changer__moves_one_step_in_its_time_and_reports_it():
    bench = Bench()
    assert bench.command("T1.step", HIGHER, 1_000) == ""
    bench.kernel.advance(5_999)
    assert bench.bank.tap_position.tolist() == [0]
    bench.kernel.advance(6_000)
    assert bench.bank.tap_position.tolist() == [1]
    assert bench.told("T1.tap") == [(6_000, 1.0)]
    assert bench.record.finished == [(7, True, 6_000)]
    assert bench.bank.operations() == {"T1": 1, "C1": 0}


def test_tap_changer__refuses_while_moving_at_its_end_and_what_is_no_step():
    bench = Bench()
    assert bench.command("T1.step", 3.0, 0) == NOT_A_STEP
    bench.command("T1.step", HIGHER, 0)
    assert bench.command("T1.step", HIGHER, 100) == MOVING
    bench.command("T1.step", HIGHER, 10_000)
    assert bench.command("T1.step", HIGHER, 20_000) == END_OF_RANGE
    assert bench.command("T1.step", LOWER, 20_000) == ""


def test_tap_changer__that_is_jammed_fails_the_command_and_stays():
    bench = Bench()
    bench.bank.jam("T1", True)
    bench.command("T1.step", HIGHER, 0)
    bench.kernel.advance(10_000)
    assert bench.bank.tap_position.tolist() == [0]
    assert bench.record.finished == [(7, False, 5_000)]
    assert [entry.kind for entry in bench.record.journal] == ["mechanism_jammed"]
    with pytest.raises(UnknownRegulatingDeviceError, match="no tap changer or capacitor bank named T9"):
        bench.bank.jam("T9", True)


def test_capacitor_bank__waits_until_it_is_discharged():
    bench = Bench()
    bench.command("C1.step", LOWER, 0)
    bench.kernel.advance(1_000)
    assert bench.bank.shunt_steps.tolist() == [0]
    assert bench.command("C1.step", HIGHER, 60_999) == DISCHARGING
    assert bench.command("C1.step", HIGHER, 61_000) == ""
    bench.kernel.advance(62_000)
    assert bench.bank.shunt_steps.tolist() == [1]


def test_regulator__steps_after_its_delay_until_the_voltage_is_in_the_band():
    """Taps on the high side: a lower tap raises the low side's voltage."""
    bench = Bench(automatic=True)
    bench.volts(0.97, 0)
    bench.kernel.advance(34_999)
    assert bench.bank.tap_position.tolist() == [0]
    bench.kernel.advance(35_000)
    assert bench.bank.tap_position.tolist() == [-1]
    bench.volts(0.985, 35_001)
    bench.kernel.advance(45_000)  # second step: started at 40 000, 10 s after the first
    assert bench.bank.tap_position.tolist() == [-2]
    bench.volts(1.0, 45_001)
    bench.kernel.advance(600_000)
    assert bench.bank.operations()["T1"] == 2


def test_regulator__forgets_a_dip_shorter_than_its_delay_and_ignores_a_dead_busbar():
    bench = Bench(automatic=True)
    bench.volts(0.9, 0)
    bench.volts(1.0, 29_000)
    bench.volts(0.0, 40_000)
    bench.kernel.advance(600_000)
    assert bench.bank.operations()["T1"] == 0


def test_regulator__refuses_remote_steps():
    assert Bench(automatic=True).command("T1.step", HIGHER, 0) == AUTOMATIC_CONTROL


def test_inverter__follows_a_set_point_with_its_response_time():
    bench = Bench()
    bench.volts(1.0, 0)
    assert bench.command("PV1.set_q_kvar", 500.0, 0) == ""
    bench.volts(1.0, 0)
    assert bench.bank.next_wanted(0) == 1_000
    bench.volts(1.0, 5_000)
    assert bench.q_kvar() == pytest.approx(450.0)  # 90 % after 5 s
    bench.volts(1.0, 60_000)
    assert bench.q_kvar() == 500.0
    assert bench.told("PV1.q_set_kvar") == [(0, 500.0)]
    assert bench.told("PV1.q_kvar")[-1] == (60_000, 500.0)


def test_inverter__gives_active_power_priority_and_refuses_more_than_its_rating():
    bench = Bench()
    assert bench.command("PV1.set_q_kvar", 1_001.0, 0) == OUT_OF_RATING
    bench.command("PV1.set_q_kvar", -1_000.0, 0)
    bench.volts(1.0, 0)
    bench.volts(1.0, 120_000)
    assert bench.q_kvar() == pytest.approx(-800.0)  # sqrt(1000² - 600²)


def test_inverter__follows_its_characteristic_and_refuses_set_points():
    """IEEE 1547 category B at 1.05 pu: half way from 1.02 to 1.08, so -22 % of 1 MVA."""
    bench = Bench(curve="ieee1547_b")
    assert bench.command("PV1.set_q_kvar", 0.0, 0) == AUTOMATIC_CONTROL
    bench.volts(1.05, 0)
    bench.volts(1.05, 60_000)
    assert bench.q_kvar() == pytest.approx(-220.0)
    bench.volts(0.0, 61_000)
    assert bench.q_kvar() == 0.0


def test_bank__continues_from_a_snapshot():
    first, second = Bench(automatic=False), Bench(automatic=False)
    first.volts(1.0, 0)
    first.command("PV1.set_q_kvar", 300.0, 500)
    first.command("T1.step", HIGHER, 1_000)
    first.volts(1.0, 1_500)
    state = json.loads(json.dumps({"bank": first.bank.snapshot(), "kernel": first.kernel.snapshot()}))
    second.bank.restore(state["bank"])
    second.kernel.restore(state["kernel"])
    for bench in (first, second):
        bench.record.samples.clear()
        bench.volts(1.0, 9_000)
    assert first.bank.snapshot() == second.bank.snapshot()
    assert first.record.samples == second.record.samples != []


@pytest.mark.parametrize(
    ("curve", "v_pu", "share"),
    [
        (IEEE_1547_A, 0.90, 0.25),
        (IEEE_1547_A, 0.95, 0.125),
        (IEEE_1547_A, 1.10, -0.25),
        (IEEE_1547_B, 0.92, 0.44),
        (IEEE_1547_B, 1.00, 0.0),
        (IEEE_1547_B, 1.02, 0.0),
        (IEEE_1547_B, 1.20, -0.44),
    ],
)
def test_curve__has_the_corner_points_of_table_8(curve: VoltVarCurve, v_pu: float, share: float):
    q_kvar = curve.q_kvar(np.array([v_pu]), np.array([100.0]), np.array([0.0]))
    assert q_kvar[0] == pytest.approx(100.0 * share, abs=1e-9)


@pytest.mark.parametrize(
    ("v_pu", "q_share", "response_s", "says"),
    [
        ((1.0, 0.9), (0.1, 0.0), 5.0, "rising voltages"),
        ((0.9, 1.0), (0.0, 0.1), 5.0, "fall with voltage"),
        ((0.9, 1.0), (1.2, 0.0), 5.0, "between -1 and 1"),
        ((0.9,), (0.0,), 5.0, "two or more"),
        ((0.9, 1.0), (0.1, 0.0), 0.0, "response time"),
    ],
)
def test_curve__refuses_what_is_none(v_pu: tuple[float, ...], q_share: tuple[float, ...], response_s: float, says: str):
    with pytest.raises(CurveError, match=says):
        VoltVarCurve("mine", v_pu, q_share, response_s)
