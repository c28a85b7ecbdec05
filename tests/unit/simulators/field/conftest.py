"""A small radial feeder with its devices, and a grid that is worked out by hand.

    SRC - BB --[CB]-- L1 --[S1]-- N1 --[S2]-- L2 --[S3]-- N2 --[TIE]-- BB2 - SRC2

CB is the feeder's breaker (relay, auto-reclose, indicator), S1..S3 are load break switches at the line ends with
indicators, TIE is the normally open point. Every load is 100 A; 20 kV throughout.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest

from simulators.field.bank import FieldBank, GridMeasurement
from twin.derive.settings import (
    BreakerSettings,
    Curve,
    DeviceSettings,
    IndicatorSettings,
    LoadBreakSwitchSettings,
    RecloserSettings,
    RelaySettings,
)
from twin.network.builder import NetworkBuilder
from twin.network.model import SwitchKind
from twin.points.model import PointAddress, PointDefinition, PointKind
from twin.timebase import NEVER

CB, S1, S2, S3, TIE = range(5)
FAULT_A, LOAD_A, V_KV = 3000.0, 100.0, 20.0
LINE = {"length_km": 1.0, "r_ohm_per_km": 0.1, "x_ohm_per_km": 0.3}
SINGLES = ("trip", "reclose_active", "lockout", "spring_charged", "local", "fault_forward", "fault_reverse")


def _network():
    b = NetworkBuilder("feeder")
    for node in ("BB", "N1", "N2", "BB2"):
        b.node(node, v_kv=V_KV)
    b.source("SRC", "BB")
    b.source("SRC2", "BB2")
    b.line("L1", "BB", "N1", **LINE)
    b.line("L2", "N1", "N2", **LINE)
    b.switch("CB", SwitchKind.BREAKER, "BB", branch="L1", feeder_head=True)
    b.switch("S1", SwitchKind.LOAD_BREAK_SWITCH, "N1", branch="L1")
    b.switch("S2", SwitchKind.LOAD_BREAK_SWITCH, "N1", branch="L2")
    b.switch("S3", SwitchKind.LOAD_BREAK_SWITCH, "N2", branch="L2")
    b.switch("TIE", SwitchKind.LOAD_BREAK_SWITCH, "N2", other_node="BB2", closed=False)
    return b.build()


def _points():
    """Every quantity of every switch at one station each, and the voltages of the nodes."""
    rows = []
    for name in ("CB", "S1", "S2", "S3", "TIE"):
        rows.append(("position", PointKind.DOUBLE, name, "", 0.0))
        rows += [(quantity, PointKind.SINGLE, name, "", 0.0) for quantity in SINGLES]
        rows += [(q, PointKind.MEASURAND, name, u, 2.0) for q, u in (("i_a", "A"), ("p_kw", "kW"), ("q_kvar", "kvar"))]
        rows.append(("operate", PointKind.DOUBLE_COMMAND, name, "", 0.0))
    rows += [("v_kv", PointKind.MEASURAND, node, "kV", 0.1) for node in ("BB", "N1", "N2")]
    return tuple(
        PointDefinition(f"RTU_{e}", f"{e}.{q}", kind, e, q, PointAddress(1, ioa, 1), unit, dead_band)
        for ioa, (q, kind, e, unit, dead_band) in enumerate(rows, start=1)
    )


@dataclass(frozen=True)
class Derived:
    devices: DeviceSettings
    points: tuple


def _devices(**changes):
    """High stage 2000 A / 100 ms; drive 60/80 ms, spring 10 s; shots after 0.5 s and 15 s, reclaim 10 s."""
    load_break = tuple(LoadBreakSwitchSettings(switch=s) for s in ("S1", "S2", "S3", "TIE"))
    relay = RelaySettings(breaker="CB", curve=Curve.STANDARD_INVERSE, pickup_a=400, high_pickup_a=2000)
    settings = {
        "relays": (relay,),
        "reclosers": (RecloserSettings(breaker="CB"),),
        "breakers": (BreakerSettings(switch="CB"),),
        "load_break_switches": load_break,
        "indicators": tuple(IndicatorSettings(switch=s, pickup_a=600) for s in ("CB", "S1", "S2", "S3")),
    }
    return DeviceSettings(**(settings | changes))


@dataclass
class Feeder:
    """The bank in front of a feeder; ``fault`` (from, to) on L2 is fed by BB through CB, S1 and S2."""

    bank: FieldBank
    fault: tuple[int, int] = (NEVER, NEVER)
    samples: list = field(default_factory=list)
    journal: list = field(default_factory=list)
    closings: list = field(default_factory=list)
    finished: list = field(default_factory=list)

    def grid(self, now):
        """State of the grid by hand: what is in front of an open switch is live, behind it is dead."""
        c = self.bank.closed
        n1 = c[CB] and c[S1]
        n2 = n1 and c[S2] and c[S3]
        live = np.array([True, n1, n2, True])
        faulted = self.fault[0] <= now < self.fault[1]
        i_a = LOAD_A * np.array([2 * n1, 2 * n1, n2, n2, False], dtype=float)
        i_fault = FAULT_A * np.array([faulted and n1 and c[S2]] * 3 + [False] * 2, dtype=float)
        into = np.array([True, False, True, False, True])
        sign = np.where(into, 1.0, -1.0)
        return GridMeasurement(V_KV * live, live, i_a, 34.6 * i_a * sign, 3.0 * i_a * sign, i_fault, into)

    def run(self, to_ms, scan_ms=1000):
        """Step from event to event, from scan to scan and to the fault's ends, as the world does."""
        while self.bank.now < to_ms:
            now = self.bank.now
            marks = [t for t in (*self.fault, self.bank.next_event_ms()) if t > now]
            self.step(min([*marks, to_ms, (now // scan_ms + 1) * scan_ms]))
        return self

    def step(self, to_ms):
        self.bank.advance(to_ms)
        self.bank.measure(self.grid(to_ms), to_ms)
        self.collect()

    def collect(self):
        self.samples += self.bank.take_samples()
        self.journal += self.bank.take_journal()
        self.closings += self.bank.take_closings()
        self.finished += self.bank.take_finished()

    def entries(self, *kinds):
        """(t_ms, kind, subject, what it says in short) of the journal entries of these kinds."""
        return [(e.t_ms, e.kind, e.subject, *e.data.values()) for e in self.journal if e.kind in kinds]

    def course(self, point):
        """(source time, value) of every spontaneous sample of a point."""
        return [(s.source_t_ms, s.value) for s in self.samples if s.point == point]


@pytest.fixture(scope="session")
def feeder():
    """Makes a feeder; arguments: the fault's (from, to), and changed device settings."""

    def make(fault=(NEVER, NEVER), seed=1, **changes):
        bank = FieldBank(_network(), Derived(_devices(**changes), _points()), seed)
        made = Feeder(bank, fault)
        made.step(0)
        return made

    return make
