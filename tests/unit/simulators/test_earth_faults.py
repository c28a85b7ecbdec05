"""Earth faults in the plant: what relays and indicators make of them under each treatment of the neutral.

    GRID ─ HV ─TR─ BB ─[CB_1]─ L1 ─ N1 ─[S1]─ L2 ─ N2
                   ├──[CB_2]─ L3 ─ N3
                   └── neutral: isolated, a coil, a resistor

20 kV cables of 10 km and 250 nF/km. A bolted earth fault displaces the neutral by c U / sqrt(3) = 1.1 · 20 kV /
sqrt(3) = 12.70 kV, which drives 3 ω C0 V = 3 · 314.16 · 2.5 µF · 12.70 kV = 29.93 A out of each cable that is not
faulted, and up to 4 % more through the inductances on the way.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from simulators.actions import Action
from simulators.cycle import RunContext
from simulators.field.bank import FieldBank
from simulators.grid.simulator import GridSimulator
from twin.derive import derive
from twin.derive.earth_fault import earth_fault_devices, treatment
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.solvers.short_circuit.residual import operating_current_a
from twin.timebase import TimeBase

CB_1, S1, CB_2 = range(3)
CABLE_A, V0_V = 29.93, 1.1 * 20e3 / math.sqrt(3.0)
C0_TOTAL_F = 3 * 10 * 250e-9
CABLE = {
    "length_km": 10.0, "r_ohm_per_km": 0.2, "x_ohm_per_km": 0.12, "c_nf_per_km": 250.0,
    "r0_ohm_per_km": 0.8, "x0_ohm_per_km": 0.5, "c0_nf_per_km": 250.0, "i_max_a": 300.0,
}  # fmt: skip


def network(neutral: str, *, known: bool = True) -> Network:
    b = NetworkBuilder(neutral)
    b.node("HV", v_kv=110.0)
    for name in ("BB", "N1", "N2", "N3"):
        b.node(name, v_kv=20.0)
    b.source("GRID", "HV", s_sc_mva=3000.0, rx=0.1)
    rated = {"s_kva": 25_000.0, "v_from_kv": 110.0, "v_to_kv": 20.0, "vk_percent": 12.0, "vkr_percent": 0.4}
    b.transformer("TR", "HV", "BB", **rated, shift_deg=150.0, vector_group="Dy5")
    cable = CABLE if known else {k: v for k, v in CABLE.items() if "0_" not in k}
    for name, one, two in (("L1", "BB", "N1"), ("L2", "N1", "N2"), ("L3", "BB", "N3")):
        b.line(name, one, two, **cable)
    b.switch("CB_1", SwitchKind.BREAKER, "BB", branch="L1", feeder_head=True)
    b.switch("S1", SwitchKind.LOAD_BREAK_SWITCH, "N1", branch="L2")
    b.switch("CB_2", SwitchKind.BREAKER, "BB", branch="L3", feeder_head=True)
    for node in ("N1", "N2", "N3"):
        b.consumer(f"C_{node}", node, p_kw=500.0, customers=10)
    x_ohm = 1 / (2 * math.pi * 50 * C0_TOTAL_F) / 3
    if neutral == "coil":  # in resonance, 4 % losses
        b.earthing("COIL", "BB", r_ohm=0.04 * x_ohm, x_ohm=x_ohm)
    elif neutral == "resistor":
        b.earthing("NER", "BB", r_ohm=40.0)
    return b.build()


class Plant:
    """The grid and its field devices, stepped by hand."""

    def __init__(self, neutral: str) -> None:
        self.network = network(neutral)
        self.grid = GridSimulator(RunContext(TimeBase(datetime(2026, 1, 15, tzinfo=UTC))), network=self.network)
        self.bank = FieldBank(self.network, derive(self.network))
        self.journal: list[Any] = []
        self.step(0)

    def step(self, now: int, *actions: Action) -> Plant:
        c = self.network.consumers
        received = {
            "p_kw": c.p_kw, "q_kvar": c.q_kvar, "generation_kw": np.zeros(0), "generation_kvar": np.zeros(0),
            "closed": self.bank.closed, "closings": (), "actions": actions,
        }  # fmt: skip
        self.bank.advance(now)
        self.out = self.grid.cycle(now, received)
        self.bank.measure(self.out["measurement"], now)
        self.journal += self.bank.take_journal()
        return self

    def strike(self, line: str, resistance_ohm: float = 0.0, **more: Any) -> Plant:
        data = {
            "line": line, "kind": "phase-to-earth", "position": 0.5, "resistance_ohm": resistance_ohm,
            "permanent": True, "extinguishes_after_ms": 0, **more,
        }  # fmt: skip
        return self.step(1_000, Action("fault", 1_000, "f", data))

    def run(self, to_ms: int) -> Plant:
        while self.bank.now < to_ms:
            self.step(min(to_ms, self.bank.next_event_ms()))
        return self

    def measured_a(self, switch: int, method: Any) -> float:
        return operating_current_a(complex(self.out["measurement"].residual_a[switch]), method)

    @property
    def tripped(self) -> set[tuple[str, str]]:
        return {(e.subject, e.data["function"]) for e in self.journal if e.kind == "relay_trip"}

    @property
    def indicated(self) -> dict[str, str]:
        return {e.subject: e.data["direction"] for e in self.journal if e.kind == "indicator"}


def test_isolated__the_reactive_part_is_the_capacitive_current_of_the_other_cables() -> None:
    plant = Plant("isolated").strike("L2")
    assert plant.measured_a(CB_2, "sin_phi") == pytest.approx(-CABLE_A, rel=0.04)  # its own, behind
    assert plant.measured_a(CB_1, "sin_phi") == pytest.approx(CABLE_A, rel=0.04)  # that of L3, in front
    assert plant.measured_a(S1, "sin_phi") == pytest.approx(2 * CABLE_A, rel=0.04)  # and that of L1
    assert abs(plant.measured_a(CB_1, "cos_phi")) < 0.05 * CABLE_A


def test_compensated__the_active_part_is_what_the_coil_loses() -> None:
    plant = Plant("coil").strike("L2")
    coil_ohm = 3 * 1 / (2 * math.pi * 50 * C0_TOTAL_F) / 3
    active_a = 3 * V0_V * (1 / complex(0.04 * coil_ohm, coil_ohm)).real
    assert plant.measured_a(CB_1, "cos_phi") == pytest.approx(active_a, rel=0.05)
    assert abs(plant.measured_a(CB_2, "cos_phi")) < 0.1 * active_a
    assert plant.measured_a(CB_1, "sin_phi") < 0  # the reactive part points the wrong way: 90 A of coil, less 30 A


def test_earthed__the_residual_current_goes_through_the_resistor() -> None:
    plant = Plant("resistor").strike("L1")
    assert plant.measured_a(CB_1, "residual") == pytest.approx(V0_V / 40.0, rel=0.15)  # less the cable's own impedance


@pytest.mark.parametrize(
    ("neutral", "method"), [("isolated", "sin_phi"), ("coil", "cos_phi"), ("resistor", "residual")]
)
@pytest.mark.parametrize("resistance_ohm", [0.0, 100.0])
def test_relay__of_the_faulted_feeder_alone_trips_and_indicators_point_to_the_fault(
    neutral: str, method: str, resistance_ohm: float
) -> None:
    plant = Plant(neutral)
    assert {device.method for device in earth_fault_devices(plant.network)} == {method}
    plant.strike("L1", resistance_ohm).run(3_000)
    assert plant.tripped == {("CB_1", "67N")}
    assert not plant.bank.closed[CB_1]
    assert plant.bank.closed[CB_2]
    assert plant.indicated["CB_1"] == "forward"
    assert plant.indicated.get("S1") != "forward"


def test_indicator__beyond_the_busbar_points_back_in_an_isolated_network() -> None:
    plant = Plant("isolated").strike("L2").run(1_200)
    assert plant.indicated == {"CB_1": "forward", "S1": "forward", "CB_2": "reverse"}


def test_fault_of_high_resistance__is_not_seen() -> None:
    plant = Plant("resistor").strike("L1", 20_000.0).run(4_000)
    assert (plant.tripped, plant.indicated) == (set(), {})


def test_double_earth_fault__trips_by_overcurrent_and_leaves_the_other_place_as_earth_fault() -> None:
    second = {"line": "L3", "position": 0.5, "resistance_ohm": 0.0}
    plant = Plant("isolated").strike("L1", kind="double-earth", second=second)
    assert plant.out["grid_state"].faulted == ("L1", "L3")
    assert plant.out["measurement"].i_fault_a[[CB_1, CB_2]].min() > 1_000
    plant.run(4_000)
    assert {breaker for breaker, _ in plant.tripped} <= {"CB_1", "CB_2"}
    assert plant.tripped


def test_snapshot__keeps_what_earth_fault_devices_measure() -> None:
    plant, other = Plant("isolated").strike("L2"), Plant("isolated")
    other.bank.restore(plant.bank.snapshot())
    assert other.bank.snapshot() == plant.bank.snapshot()


def test_network_without_zero_sequence_data__gets_no_earth_fault_devices() -> None:
    assert earth_fault_devices(network("isolated", known=False)) == ()


@pytest.mark.parametrize(
    ("total", "method"), [(1.0, "sin_phi"), (1.1, "sin_phi"), (0.05, "cos_phi"), (2.0, "cos_phi"), (8.0, "residual")]
)
def test_treatment__follows_from_the_current_beside_the_capacitive_one(total: float, method: str) -> None:
    assert treatment(total, 1.0) == method
