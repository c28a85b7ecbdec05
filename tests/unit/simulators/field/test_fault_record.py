"""What the relay of a feeder head records when it trips, and the loop that it measures.

BB --[CB_1]-- L1 -- N1, 20 kV; 0.1 + j0.3 ohm on 1 km.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulators.field.bank import FieldBank, GridMeasurement
from twin.derive import derive
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.points.model import Quality, Sample
from twin.solvers.short_circuit import loop_impedance_ohm

RECORD = ("fault_l1_a", "fault_l2_a", "fault_l3_a", "fault_x_ohm")


def network() -> Network:
    b = NetworkBuilder("feeder")
    for node in ("BB", "N1"):
        b.node(node, v_kv=20.0)
    b.source("SRC", "BB", s_sc_mva=500.0, rx=0.1)
    b.line("L1", "BB", "N1", length_km=1.0, r_ohm_per_km=0.1, x_ohm_per_km=0.3, i_max_a=200.0)
    b.switch("CB_1", SwitchKind.BREAKER, "BB", branch="L1", feeder_head=True)
    return b.build()


def bank(**more: float) -> FieldBank:
    grid = network()
    return FieldBank(grid, derive(grid), seed=3, **more)


def seen(fault_a: float, phase_a: tuple[float, float, float], x_ohm: float, load_a: float = 50.0) -> GridMeasurement:
    live = np.ones(2, dtype=np.bool_)
    one = np.ones(1)
    return GridMeasurement(
        20.0 * live, live, load_a * one, one, one, fault_a * one, one > 0,
        fault_phase_a=np.array([phase_a]), fault_x_ohm=np.array([x_ohm]),
    )  # fmt: skip


def record(samples: list[Sample]) -> dict[str, Sample]:
    return {s.point.rpartition(".")[2]: s for s in samples if s.point.rpartition(".")[2] in RECORD}


def tripped(field: FieldBank) -> dict[str, Sample]:
    field.measure(seen(8000.0, (10.0, 8000.0, 7990.0), 0.15), 1_000)
    field.advance(2_000)
    return record(field.take_samples())


def test_record__is_invalid_before_the_first_trip() -> None:
    assert {s.quality for s in record(bank().image()).values()} == {Quality.INVALID}


def test_record__tells_what_was_measured_at_the_trip() -> None:
    told = tripped(bank())
    assert [told[name].value for name in RECORD] == [10.0, 8000.0, 7990.0, pytest.approx(0.15)]
    assert {s.quality for s in told.values()} == {Quality.GOOD}
    assert {s.source_t_ms for s in told.values()} == {1_100}  # the high stage waits for 100 ms
    assert {s.spontaneous for s in told.values()} == {True}


def test_record__stands_until_the_next_trip_and_over_a_snapshot() -> None:
    field = bank()
    told = tripped(field)
    again = bank()
    again.restore(field.snapshot())
    for one in (field, again):
        image = record(one.image())
        assert {name: (s.value, s.source_t_ms) for name, s in image.items()} == {
            name: (s.value, s.source_t_ms) for name, s in told.items()
        }


def test_record__of_an_overload_has_no_reactance() -> None:
    field = bank()
    live, one = np.ones(2, dtype=np.bool_), np.ones(1)
    field.measure(GridMeasurement(20.0 * live, live, 900.0 * one, one, one, 0.0 * one, one > 0), 1_000)
    field.advance(60_000)
    told = record(field.take_samples())
    assert [told[name].value for name in RECORD[:3]] == [900.0] * 3
    assert told["fault_x_ohm"].quality is Quality.INVALID


def test_record__has_the_error_of_its_transducers() -> None:
    told = tripped(bank(transducer_class=5.0))
    assert told["fault_l2_a"].value != 8000.0
    assert told["fault_l2_a"].value == pytest.approx(8000.0, rel=0.05)


class TestLoop:
    """By hand: a source of 1.0 pu behind j1 ohm, a fault behind 2 + j3 ohm with 4 ohm of resistance (each phase)."""

    A = complex(math.cos(2 * math.pi / 3), math.sin(2 * math.pi / 3))

    def phasors(self) -> tuple[np.ndarray, np.ndarray]:
        e = 20.0 / math.sqrt(3.0) * np.array([1.0, self.A**2, self.A])
        i_a = 1e3 * e / complex(2 + 4, 3 + 1)
        return e - i_a * 1j / 1e3, i_a

    def test_loop__three_phase(self) -> None:
        v_kv, i_a = self.phasors()
        [z] = loop_impedance_ohm(v_kv[np.newaxis], i_a[np.newaxis])
        assert z == pytest.approx(6 + 3j)

    def test_loop__phase_to_phase(self) -> None:
        """b and c over 2 x (2 + j3) and 4 ohm between them: half of that resistance is seen."""
        e = 20.0 / math.sqrt(3.0) * np.array([1.0, self.A**2, self.A])
        i = 1e3 * (e[1] - e[2]) / (2 * complex(2, 4) + 4)
        i_a = np.array([0, i, -i])
        v_kv = e - i_a * 1j / 1e3
        [z] = loop_impedance_ohm(v_kv[np.newaxis], i_a[np.newaxis])
        assert z == pytest.approx(2 + 3j + 2)

    def test_loop__without_current_is_nothing(self) -> None:
        assert np.isnan(loop_impedance_ohm(np.ones((1, 3)) + 0j, np.zeros((1, 3)) + 0j)).all()
