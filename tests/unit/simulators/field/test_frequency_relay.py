"""Under-frequency relays: exact times on known courses of the frequency, arming, and what is told of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from simulators.field.bank import FieldBank
from simulators.field.frequency_relay import Seen, Stage, StageState
from simulators.field.kernel import DeviceKernel
from simulators.field.measurement import FrequencyCourse, GridMeasurement
from twin.derive import Derivation, DeriveOptions, derive
from twin.derive.settings import UnderFrequencyStage
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.outstations.model import StationCommand
from twin.points.pointmap import from_csv, to_csv


def ramp(start_hz: float, hz_per_s: float, begin_ms: int = 0, span_ms: int = 2_000) -> Seen:
    """A straight course in points of 10 ms."""
    t_ms = begin_ms + np.arange(0.0, span_ms + 1, 10.0)
    return Seen(t_ms, start_hz + hz_per_s * (t_ms - begin_ms) / 1000.0)


class Told:
    """A stage and what it said."""

    def __init__(self, *, armed: bool = True, **settings: Any) -> None:
        self.kernel = DeviceKernel()
        self.stage = Stage("r", UnderFrequencyStage(**{"level_hz": 49.0, **settings}), 0.05, self.kernel)
        self.stage.armed = armed
        self.said: list[tuple[str, int]] = []
        self.stage.act = lambda state, now: self.said.append((state.value, now))


def test_stage__trips_its_delay_after_the_point_at_which_the_level_is_reached() -> None:
    """1 Hz/s down from 50 Hz: 49 Hz at 1000 ms, and 100 ms later the trip."""
    told = Told(delay_ms=100)
    told.stage.look(ramp(50.0, -1.0), 0)
    told.kernel.advance(2_000)
    assert told.said == [("picked_up", 1_000), ("tripped", 1_100)]


def test_stage__lets_go_if_the_frequency_is_back_before_its_delay() -> None:
    told = Told(delay_ms=500)
    told.stage.look(ramp(50.0, -1.0), 0)
    told.kernel.advance(1_200)
    told.stage.look(ramp(48.8, 1.0, 1_200), 1_200)  # passes 49.05 Hz after 250 ms
    told.kernel.advance(3_000)
    assert told.said == [("picked_up", 1_000), ("idle", 1_460)]


def test_stage__disarmed_does_nothing_and_armed_below_its_level_begins_at_once() -> None:
    told = Told(armed=False, delay_ms=100)
    told.stage.look(ramp(48.9, 0.0), 0)
    told.kernel.advance(700)
    assert told.said == []
    told.stage.arm(True, 700)
    told.kernel.advance(2_000)
    assert told.said == [("picked_up", 700), ("tripped", 800)]
    told.stage.arm(False, 2_000)
    assert told.stage.state is StageState.IDLE


def test_stage__does_not_trip_on_a_dead_busbar() -> None:
    told = Told()
    told.stage.look(Seen(np.array([0.0]), np.array([0.0])), 0)
    told.kernel.advance(10_000)
    assert told.said == []


@pytest.mark.parametrize(("slope", "trips"), [(-2.5, True), (-1.5, False)])
def test_stage__slope_counts_below_its_own_level_only(slope: float, trips: bool) -> None:
    """2 Hz/s is asked below 49.5 Hz: reached after 200 ms at -2.5 Hz/s."""
    told = Told(level_hz=45.0, arm_hz=49.5, rocof_hz_per_s=2.0, delay_ms=100)
    told.stage.look(ramp(50.0, slope, span_ms=1_000), 0)
    told.kernel.advance(1_000)
    assert told.said == ([("picked_up", 200), ("tripped", 300)] if trips else [])


def test_stage__many_looks_come_to_the_same_as_one() -> None:
    once, often = Told(), Told()
    for told, looks in ((once, [0]), (often, [0, 3, 333, 990, 1_001, 1_050, 1_099])):
        for at in looks:
            told.kernel.advance(at)
            told.stage.look(ramp(50.0 - at / 1000.0, -1.0, at), at)
        told.kernel.advance(2_000)
    assert [at for _, at in once.said] == [1_000, 1_100]
    assert all(abs(a - b) <= 10 for (_, a), (_, b) in zip(once.said, often.said, strict=True))


# -- in the bank ----------------------------------------------------------------------------------------------------


def network() -> Network:
    b = NetworkBuilder("toy")
    for name in ("BB", "N1", "N2"):
        b.node(name, v_kv=20.0)
    b.source("GRID", "BB", s_sc_mva=500.0, rx=0.1)
    for name, node, head in (("L1", "N1", "CB_1"), ("L2", "N2", "CB_2")):
        b.line(name, "BB", node, length_km=1.0, r_ohm_per_km=0.2, x_ohm_per_km=0.35, i_max_a=200.0)
        b.switch(head, SwitchKind.BREAKER, "BB", branch=name, feeder_head=True)
        b.consumer(f"C_{node}", node, p_kw=1000.0)
    return b.build()


OPTIONS = DeriveOptions(under_frequency_stages_hz=(49.0, 48.8), under_frequency_armed=True)


@pytest.fixture
def derivation() -> Derivation:
    return derive(network(), OPTIONS)


class Field:
    """A bank whose frequency is in the test's hands."""

    def __init__(self, derivation: Derivation) -> None:
        self.bank = FieldBank(derivation.network, derivation)
        self.samples: list[tuple[str, float, int]] = []
        self.journal: list[tuple[int, str, str]] = []
        self.finished: list[tuple[int, bool, int]] = []
        self.bank.take_samples()

    def see(self, now: int, hz: float, hz_per_s: float = 0.0) -> None:
        live = np.ones(3, dtype=np.bool_)
        seen = ramp(hz, hz_per_s, now)
        columns = np.stack([seen.f_hz, np.zeros_like(seen.f_hz)], axis=1)
        zeros = np.zeros(2)
        grid = GridMeasurement(
            np.full(3, 20.0), live, zeros + 30.0, zeros, zeros, zeros, zeros.astype(np.bool_),
            f_hz=np.full(3, hz), course=FrequencyCourse(seen.t_ms, columns, np.zeros(3, dtype=np.int32)),
        )  # fmt: skip
        self.bank.measure(grid, now)
        self.take()

    def until(self, now: int) -> None:
        self.bank.advance(now)
        self.take()

    def order(self, point: str, value: float, now: int) -> str:
        command = StationCommand("RTU_1", point, value, 7)
        station = next(p.station for p in self.points if p.name == point)
        rule = self.bank.operate(StationCommand(station, command.point, value, 7), now)
        self.take()
        return rule

    def take(self) -> None:
        self.samples += [(s.point, s.value, s.source_t_ms) for s in self.bank.take_samples()]
        self.journal += [(e.t_ms, e.kind, e.subject) for e in self.bank.take_journal()]
        self.finished += self.bank.take_finished()

    points: Any = ()


@pytest.fixture
def field(derivation: Derivation) -> Field:
    made = Field(derivation)
    made.points = derivation.points
    return made


def test_derive__gives_relays_and_points_only_where_asked(derivation: Derivation) -> None:
    assert derive(network()).devices.under_frequency == ()
    assert [relay.armed for relay in derivation.devices.under_frequency] == [(1,), (2,)]
    names = {p.name for p in derivation.points} - {p.name for p in derive(network()).points}
    of_relay = ("f_hz", "ufls_trip", "ufls_armed_1", "arm_ufls_1", "ufls_armed_2", "arm_ufls_2")
    assert names == {f"{cb}.{quantity}" for cb in ("CB_1", "CB_2") for quantity in of_relay}
    assert list(from_csv(to_csv(derivation.points))) == list(derivation.points)


def test_bank__trips_the_armed_breaker_at_its_millisecond(field: Field) -> None:
    field.see(0, 50.0, -1.0)
    field.until(1_200)
    assert field.journal[:2] == [(1_000, "ufls_pickup", "CB_1"), (1_100, "ufls_trip", "CB_1")]
    assert field.bank.closed.tolist() == [False, True]
    assert ("CB_1.ufls_trip", 1.0, 1_100) in field.samples


def test_bank__trip_indication_stands_until_the_breaker_is_closed(field: Field) -> None:
    field.see(0, 48.9)
    field.until(200)
    field.see(201, 50.0)
    assert [s for s in field.samples if s[0] == "CB_1.ufls_trip"] == [("CB_1.ufls_trip", 1.0, 100)]
    field.bank.force_operate("CB_1", True)
    field.until(400)
    field.see(401, 50.0)
    assert [s for s in field.samples if s[0] == "CB_1.ufls_trip"][-1] == ("CB_1.ufls_trip", 0.0, 401)


def test_bank__arms_and_disarms_by_command(field: Field) -> None:
    field.see(0, 50.0)
    assert field.order("CB_1.arm_ufls_1", 0.0, 10) == ""
    assert field.order("CB_2.arm_ufls_1", 1.0, 10) == ""
    assert field.order("CB_2.arm_ufls_1", 2.0, 10) == "not_an_arming"
    assert field.finished == [(7, True, 10), (7, True, 10)]
    assert ("CB_1.ufls_armed_1", 0.0, 10) in field.samples
    field.see(20, 48.9)
    field.until(300)
    assert field.bank.closed.tolist() == [True, False]


def test_bank__frequency_is_sent_when_it_leaves_its_dead_band(field: Field) -> None:
    for now, hz in ((0, 50.0), (1_000, 49.99), (1_500, 49.9), (2_000, 49.97)):
        field.see(now, hz)
    assert [s for s in field.samples if s[0] == "CB_1.f_hz"] == [
        ("CB_1.f_hz", 50.0, 0),
        ("CB_1.f_hz", pytest.approx(49.97, abs=1e-5), 2_000),
    ]


def test_bank__continues_from_a_snapshot_in_the_middle_of_a_delay(field: Field, derivation: Derivation) -> None:
    field.see(0, 50.0, -1.0)
    field.until(1_050)
    other = Field(derivation)
    other.bank.restore(json.loads(json.dumps(field.bank.snapshot().decode())).encode())
    before = len(field.journal)
    for one in (field, other):
        one.until(1_500)
    assert other.journal == field.journal[before:] != []
    assert other.bank.snapshot() == field.bank.snapshot()
