"""Earthing switches in the plant: positions told, interlocked with voltage and with the switches of their bays.

SRC ─ BB ─[CB_1]─ L1 ─ N1 ─[S1]─ L2 ─[S2]─ N2     ES_1 earths L2 at N2, ES_2 earths N2
"""

from __future__ import annotations

import numpy as np
import pytest

from simulators.field.bank import FieldBank, GridMeasurement
from simulators.field.earthing import EARTHED, NOT_DEAD
from twin.derive import derive
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.network.topology import Topology
from twin.outstations.model import StationCommand
from twin.points.model import DoublePosition


def network() -> Network:
    b = NetworkBuilder("earthed")
    for name in ("BB", "N1", "N2"):
        b.node(name, v_kv=20.0)
    b.source("SRC", "BB")
    for name, ends in {"L1": ("BB", "N1"), "L2": ("N1", "N2")}.items():
        b.line(name, *ends, length_km=1, r_ohm_per_km=0.2, x_ohm_per_km=0.3, i_max_a=200.0)
    b.switch("CB_1", SwitchKind.BREAKER, "BB", branch="L1", feeder_head=True)
    b.switch("S1", SwitchKind.LOAD_BREAK_SWITCH, "N1", branch="L2", closed=False)
    b.switch("S2", SwitchKind.LOAD_BREAK_SWITCH, "N2", branch="L2", closed=False)
    b.earthing_switch("ES_1", "N2", branch="L2")
    b.earthing_switch("ES_2", "N2")
    return b.build()


class Field:
    """A bank whose grid follows its switches."""

    def __init__(self) -> None:
        self.network = network()
        self.derivation = derive(self.network)
        self.bank = FieldBank(self.network, self.derivation)
        self.topology = Topology(self.network)
        self.now = 0
        self.look()

    def look(self) -> None:
        live = self.topology.energised(self.bank.closed)
        none = np.zeros(self.network.switches.n)
        self.bank.measure(GridMeasurement(20.0 * live, live, none, none, none, none, none > 0), self.now)

    def by_hand(self, switch: str, closed: bool) -> str:
        rule = self.bank.force_operate(switch, closed)
        self.now += 2_000
        self.bank.advance(self.now)
        self.look()
        return rule

    def position(self, name: str) -> int:
        return next(int(s.value) for s in self.bank.image() if s.point == f"{name}.position")

    def command(self, switch: str) -> str:
        point = next(p for p in self.derivation.points if p.name == f"{switch}.operate")
        return self.bank.select(StationCommand(point.station, point.name, float(DoublePosition.CLOSED), 1), self.now)

    def told(self, kind: str) -> list[str]:
        return [entry.subject for entry in self.bank.take_journal() if entry.kind == kind]


@pytest.fixture
def field() -> Field:
    return Field()


def test_position__is_told_when_it_changes(field: Field) -> None:
    field.bank.take_samples()
    assert field.by_hand("ES_1", True) == ""
    assert [s.value for s in field.bank.take_samples() if s.point == "ES_1.position"] == [DoublePosition.CLOSED]
    assert field.position("ES_1") == DoublePosition.CLOSED
    assert field.position("ES_2") == DoublePosition.OPEN


def test_earthing_switch__does_not_close_onto_voltage(field: Field) -> None:
    assert field.by_hand("S1", True) == ""
    assert field.by_hand("ES_1", True) == NOT_DEAD
    assert field.by_hand("ES_2", True) == ""  # S2 is open, so the node is dead
    assert field.position("ES_1") == DoublePosition.OPEN


def test_switch__does_not_close_onto_the_earth_of_its_bay(field: Field) -> None:
    field.by_hand("ES_1", True)
    assert field.command("S2") == field.by_hand("S2", True) == EARTHED
    field.by_hand("ES_1", False)
    assert field.command("S2") == ""


def test_switch__at_an_earthed_node_does_not_close(field: Field) -> None:
    field.by_hand("ES_2", True)
    assert field.command("S2") == EARTHED


def test_far_end__is_not_seen_by_the_bay_and_is_written_down(field: Field) -> None:
    field.by_hand("ES_1", True)
    field.bank.take_journal()
    assert field.command("S1") == ""
    field.by_hand("S1", True)
    assert field.told("earth_energised") == ["ES_1"]
    field.look()
    assert field.told("earth_energised") == []


def test_snapshot__keeps_positions(field: Field) -> None:
    field.by_hand("ES_1", True)
    other = FieldBank(field.network, field.derivation)
    other.restore(field.bank.snapshot())
    assert other.snapshot() == field.bank.snapshot()
    assert other.earthing.closed.tolist() == [True, False]
