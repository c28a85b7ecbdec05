"""Each interlock that ships, on the toy feeder."""

from __future__ import annotations

import pytest
from scada_toy import CLOSED, DISPATCHER, OPEN, Rig, sample

from twin.network.builder import NetworkBuilder
from twin.network.model import SwitchKind
from twin.points.model import Quality
from twin.scada.interlocks import SectionTracer


def rule(rig: Rig, switch: str, value: float = OPEN, now: int = 5_000) -> str:
    return rig.commands.check(switch, value, DISPATCHER, now)[0]


def put(rig: Rig, point: str, value: float, t_ms: int = 1_000, **more) -> None:
    rig.put(sample(point, value, t_ms, **more), now=t_ms)


def test_local_control__refuses_while_set(rig):
    put(rig, "LBS_1.local", 1.0)
    assert rule(rig, "LBS_1") == "local control"
    assert rule(rig, "LBS_2") == ""
    put(rig, "LBS_1.local", 0.0, 2_000)
    assert rule(rig, "LBS_1") == ""


def test_spring__refuses_closing_only(rig):
    put(rig, "CB_1.spring_charged", 0.0)
    assert rule(rig, "CB_1", OPEN) == ""
    put(rig, "CB_1.position", OPEN)
    assert rule(rig, "CB_1", CLOSED) == "spring charged"
    put(rig, "CB_1.spring_charged", 1.0, 2_000)
    assert rule(rig, "CB_1", CLOSED) == ""


def test_auto_reclose__refuses_load_break_switches_of_the_section(rig):
    put(rig, "CB_1.reclose_active", 1.0)
    assert rule(rig, "LBS_1") == "auto-reclose"
    assert rule(rig, "LBS_2") == "auto-reclose"
    assert rule(rig, "CB_1") == ""


def test_auto_reclose__does_not_reach_beyond_an_open_switch(rig):
    put(rig, "DIS_1.position", OPEN)
    put(rig, "CB_1.reclose_active", 1.0)
    assert rule(rig, "LBS_2") == ""
    assert rule(rig, "LBS_1") == "auto-reclose"


def test_auto_reclose__reaches_through_a_switch_of_unknown_position(rig):
    put(rig, "DIS_1.position", OPEN, quality=Quality.INVALID)
    put(rig, "CB_1.reclose_active", 1.0)
    assert rule(rig, "LBS_2") == "auto-reclose"


@pytest.mark.parametrize("quantity", ["fault_forward", "fault_reverse"])
def test_fault_passage__refuses_while_the_fault_may_still_flow(rig, quantity):
    put(rig, f"LBS_1.{quantity}", 1.0, 1_000)
    assert rule(rig, "LBS_2", now=1_100) == "fault passage"
    assert rule(rig, "CB_1", now=1_100) == ""
    assert rule(rig, "LBS_2", now=10_999) == "fault passage"
    assert rule(rig, "LBS_2", now=11_000) == ""


def test_fault_passage__is_over_once_the_breaker_has_tripped(rig):
    put(rig, "LBS_1.fault_forward", 1.0, 1_000)
    put(rig, "CB_1.trip", 1.0, 1_200)
    assert rule(rig, "LBS_2", now=1_300) == ""


def test_fault_passage__is_over_once_the_breaker_has_moved(rig):
    put(rig, "LBS_1.fault_forward", 1.0, 1_000)
    put(rig, "CB_1.position", OPEN, 1_200)
    assert rule(rig, "LBS_2", now=1_300) == ""


def test_fault_passage__is_not_renewed_by_an_interrogation(rig):
    put(rig, "LBS_1.fault_forward", 1.0, 1_000)
    put(rig, "LBS_1.fault_forward", 1.0, 12_000, gi=True)
    assert rule(rig, "LBS_2", now=12_100) == ""


def test_off_load__refuses_to_open_a_disconnector_under_current(rig):
    assert rule(rig, "DIS_1") == "off load"
    put(rig, "DIS_1.i_a", 0.5)
    assert rule(rig, "DIS_1") == ""


def test_off_load__refuses_without_a_measurement(rig):
    put(rig, "DIS_1.i_a", 0.0, quality=Quality.INVALID)
    assert rule(rig, "DIS_1") == "off load"


def test_off_load__passes_with_the_far_end_open(rig):
    put(rig, "LBS_2.position", OPEN)
    assert rule(rig, "DIS_1") == ""
    put(rig, "DIS_1.position", OPEN, 2_000)
    assert rule(rig, "DIS_1", CLOSED) == ""
    put(rig, "LBS_2.position", CLOSED, 3_000)
    assert rule(rig, "DIS_1", CLOSED) == "off load"


def test_section__crosses_switches_between_nodes_and_stops_at_breakers():
    """A ─ CB(A-B) ─ B ─ COUPLER(B-C) ─ C ─ LBS ─ L ─ D, and CB_2 at the far end D of L2 (D-E)."""
    b = NetworkBuilder("busbars")
    for name in "ABCDE":
        b.node(name, v_kv=20.0)
    b.line("L", "C", "D", length_km=1, r_ohm_per_km=1, x_ohm_per_km=1)
    b.line("L2", "D", "E", length_km=1, r_ohm_per_km=1, x_ohm_per_km=1)
    b.switch("CB", SwitchKind.BREAKER, "A", other_node="B")
    b.switch("COUPLER", SwitchKind.LOAD_BREAK_SWITCH, "B", other_node="C")
    b.switch("LBS", SwitchKind.LOAD_BREAK_SWITCH, "C", branch="L")
    b.switch("CB_2", SwitchKind.BREAKER, "D", branch="L2")
    b.switch("LBS_E", SwitchKind.LOAD_BREAK_SWITCH, "E", branch="L2")
    network = b.build()

    class Nothing:
        def reading(self, equipment, quantity):
            return None

    tracer = SectionTracer(network)
    names = network.switches.names
    for start in ("LBS", "COUPLER"):
        row = names.index(start)
        assert [names[r] for r in tracer.section(row, Nothing())] == ["CB", "COUPLER", "LBS", "CB_2"]
        assert [names[r] for r in tracer.breakers(row, Nothing())] == ["CB", "CB_2"]
    row = names.index("LBS_E")
    assert [names[r] for r in tracer.section(row, Nothing())] == ["CB_2", "LBS_E"]
