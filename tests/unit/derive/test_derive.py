"""What is derived from a network, by the rules a person can recalculate."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from twin.derive import Curve, Derivation, DeriveOptions, RelaySettings, derive
from twin.derive.settings import curve_time_ms
from twin.network import load_network
from twin.network.builder import NetworkBuilder
from twin.network.model import SwitchKind
from twin.points.model import PointKind


@pytest.fixture(scope="module")
def cigre() -> Derivation:
    return derive(load_network("cigre_mv"))


@pytest.fixture(scope="module")
def oberrhein() -> Derivation:
    return derive(load_network("mv_oberrhein"))


def busbars(fuse: bool = False) -> NetworkBuilder:
    """``G - N1 -coupler- N2 -CB- L - N3(fuse?)``."""
    b = NetworkBuilder("busbars")
    for node in ("N1", "N2", "N3"):
        b.node(node, v_kv=20.0)
    b.source("G", "N1", s_sc_mva=400.0, rx=0.1)
    b.line("L", "N2", "N3", length_km=1.0, r_ohm_per_km=0.1, x_ohm_per_km=0.1, i_max_a=200.0, overhead=True)
    b.switch("CB", SwitchKind.BREAKER, "N2", branch="L", feeder_head=True)
    b.switch("COUPLER", SwitchKind.BREAKER, "N1", other_node="N2", closed=False)
    if fuse:
        b.switch("F", SwitchKind.FUSE, "N3", branch="L")
    return b


# --- stations --------------------------------------------------------------------------------------------------


def test_stations__of_cigre_are_one_a_node(cigre: Derivation) -> None:
    assert [s.name for s in cigre.stations] == [f"RTU_{i}" for i in range(15)]
    assert [s.common_address for s in cigre.stations] == list(range(1, 16))
    assert cigre.stations[8].bays == ("TIE_1", "LBS_8-7", "LBS_8-9", "LBS_8-3")
    assert cigre.stations[12].nodes == ("N12",)
    assert cigre.station_of_switch["CB_2"].name == "RTU_12"


def test_stations__hold_every_switch_once(oberrhein: Derivation) -> None:
    bays = [bay for station in oberrhein.stations for bay in station.bays]
    assert sorted(bays) == sorted(oberrhein.network.switches.names)


def test_stations__join_sections_of_a_busbar_and_leave_out_fuses() -> None:
    (station,) = derive(busbars(fuse=True).build()).stations
    assert (station.name, station.nodes, station.bays) == ("RTU_1", ("N1", "N2"), ("CB", "COUPLER"))


def test_stations__with_ties_only_keep_their_addresses(cigre: Derivation) -> None:
    some = derive(cigre.network, DeriveOptions(remote="ties"))
    assert [s.name for s in some.remote_stations] == ["RTU_1", "RTU_4", "RTU_7", "RTU_8", "RTU_12"]
    assert [(s.name, s.common_address) for s in some.stations] == [(s.name, s.common_address) for s in cigre.stations]
    assert some.points.stations == ("RTU_1", "RTU_4", "RTU_7", "RTU_8", "RTU_12")
    assert some.points.of_station("RTU_4") == cigre.points.of_station("RTU_4")


def test_stations__with_ties_and_every_fifth_of_the_others(cigre: Derivation) -> None:
    some = derive(cigre.network, DeriveOptions(remote="ties", every_nth=5))
    # others in order: 0 2 3 5 6 | 9 10 11 13 14
    assert [s.name for s in some.remote_stations if s.name in ("RTU_6", "RTU_14")] == ["RTU_6", "RTU_14"]
    assert len(some.remote_stations) == 7


def test_stations__of_nodes_without_numbers_take_their_names() -> None:
    b = NetworkBuilder("words")
    b.node("Mill", v_kv=20)
    b.node("1", v_kv=20)
    b.node("N1", v_kv=20)
    for node in ("1", "N1"):
        b.line(f"L_{node}", "Mill", node, length_km=1, r_ohm_per_km=1, x_ohm_per_km=1)
        b.switch(f"S_{node}", SwitchKind.LOAD_BREAK_SWITCH, node, branch=f"L_{node}")
    b.switch("M", SwitchKind.LOAD_BREAK_SWITCH, "Mill", branch="L_1")
    assert [s.name for s in derive(b.build()).stations] == ["RTU_Mill", "RTU_1", "RTU_1_2"]


# --- points ----------------------------------------------------------------------------------------------------


def test_points__of_a_feeder_head(cigre: Derivation) -> None:
    points = [p for p in cigre.points if p.equipment == "CB_1"]
    assert {p.quantity: (p.address.ioa, p.address.type_id) for p in points} == {
        "position": (1010, 31), "fault_forward": (2010, 30), "fault_reverse": (2011, 30), "trip": (2012, 30),
        "reclose_active": (2013, 30), "lockout": (2014, 30), "spring_charged": (2015, 30), "local": (2016, 30),
        "i_a": (3010, 36), "p_kw": (3011, 36), "q_kvar": (3012, 36), "operate": (6010, 46),
        "fault_l1_a": (3014, 36), "fault_l2_a": (3015, 36), "fault_l3_a": (3016, 36), "fault_x_ohm": (3017, 36),
    }  # fmt: skip
    assert {p.address.common_address for p in points} == {2}


@pytest.mark.parametrize(
    ("switch", "indications"),
    [
        ("LBS_3-8", ["fault_forward", "fault_reverse"]),
        ("TIE_1", ["fault_forward", "fault_reverse"]),
        ("CB_TR_1_HV", ["spring_charged", "local"]),
    ],
)
def test_points__of_other_bays(cigre: Derivation, switch: str, indications: list[str]) -> None:
    points = [p for p in cigre.points if p.equipment == switch]
    assert [p.quantity for p in points if p.kind is PointKind.SINGLE] == indications
    assert {p.quantity for p in points} - set(indications) == {"position", "operate", "i_a", "p_kw", "q_kvar"}


def test_points__commands_are_checked_back_by_the_position(cigre: Derivation) -> None:
    commands = [p for p in cigre.points if p.kind.is_output]
    assert len(commands) == 34
    assert all(p.feedback == f"{p.equipment}.position" for p in commands)


def test_points__dead_bands_follow_ratings(cigre: Derivation) -> None:
    # L1-2: 145 A at 20 kV: 2 % = 2.9 A; sqrt(3) x 20 kV x 145 A x 2 % = 100.5 kVA; 0.5 % of 20 kV
    assert [cigre.points.point(f"CB_1.{q}").dead_band for q in ("i_a", "p_kw", "q_kvar")] == [2.9, 100.0, 100.0]
    assert (cigre.points.point("N1.v_kv").dead_band, cigre.points.point("N1.v_kv").unit) == (0.1, "kV")
    # 25 MVA: 131.2 A at 110 kV, 721.7 A at 20 kV
    assert cigre.points.point("CB_TR_1_HV.i_a").dead_band == pytest.approx(2.62)
    assert cigre.points.point("CB_TR_1_LV.i_a").dead_band == pytest.approx(14.4)


def test_points__dead_bands_survive_unknown_ratings() -> None:
    derivation = derive(load_network("pandapower:case33bw"))
    assert derivation.points.point("CB_1.i_a").dead_band == 8.0  # 2 % of 400 A


def test_points__of_other_bays_stay_when_a_bay_is_added() -> None:
    before = derive(busbars().build())
    builder = busbars()
    builder.line("L2", "N2", "N3", length_km=1.0, r_ohm_per_km=0.1, x_ohm_per_km=0.1)
    builder.switch("NEW", SwitchKind.LOAD_BREAK_SWITCH, "N2", branch="L2")
    after = derive(builder.build())
    assert len(after.points) == len(before.points) + 7
    assert set(before.points) < set(after.points)


def test_points__addresses_are_unique_in_a_station_of_250_bays() -> None:
    b = NetworkBuilder("many")
    b.node("N0", v_kv=20)
    for i in range(1, 251):
        b.node(f"N{i}", v_kv=20)
        b.line(f"L{i}", "N0", f"N{i}", length_km=1, r_ohm_per_km=1, x_ohm_per_km=1)
        b.switch(f"CB_{i}", SwitchKind.BREAKER, "N0", branch=f"L{i}", feeder_head=True)
    points = derive(b.build()).points
    assert len(points) == 1 + 250 * 16
    assert points.point("CB_99.position").address.ioa == 1990
    assert points.point("CB_100.position").address.ioa == 11_000


def test_points__voltages_of_a_busbar_of_25_sections_have_their_own_addresses() -> None:
    b = NetworkBuilder("sections")
    for i in range(25):
        b.node(f"N{i}", v_kv=20)
    for i in range(24):
        b.switch(f"C{i}", SwitchKind.BREAKER, f"N{i}", other_node=f"N{i + 1}")
    derivation = derive(b.build())
    assert len(derivation.stations) == 1
    assert sum(p.quantity == "v_kv" for p in derivation.points) == 25


# --- devices ---------------------------------------------------------------------------------------------------


def test_devices__relay_of_cigre_feeder_1(cigre: Derivation) -> None:
    relay = cigre.devices.relays[0]
    assert (relay.breaker, relay.curve) == ("CB_1", Curve.STANDARD_INVERSE)
    assert relay.pickup_a == pytest.approx(1.2 * 145)
    # source 1/5000 pu and 12 % of 25 MVA on 1 MVA: 0.0002 + 0.0048 = 0.005 pu (both almost purely inductive);
    # I = 1.1 x 1 MVA / (sqrt(3) x 20 kV x 0.005) = 6.35 kA; half of it
    assert relay.high_pickup_a == pytest.approx(3175, rel=0.005)
    # 6.35 kA is beyond 20 x pickup: 0.4 s / (0.14 / (20 ** 0.02 - 1)) = 0.4 / 2.267
    assert relay.time_multiplier == pytest.approx(0.18)
    assert [r.breaker for r in cigre.devices.relays] == ["CB_1", "CB_2"]


def test_devices__only_the_overhead_feeder_recloses(cigre: Derivation, oberrhein: Derivation) -> None:
    (recloser,) = cigre.devices.reclosers
    assert recloser.breaker == "CB_2"
    assert (recloser.dead_times_ms, recloser.reclaim_ms, recloser.shots) == ((500, 15_000), 10_000, 2)
    assert oberrhein.devices.reclosers == ()


def test_devices__cover_every_switch_by_its_kind(cigre: Derivation) -> None:
    devices, switches = cigre.devices, cigre.network.switches
    kinds = {SwitchKind.BREAKER: devices.breakers, SwitchKind.LOAD_BREAK_SWITCH: devices.load_break_switches}
    for kind, settings in kinds.items():
        names = [switches.names[i] for i in np.flatnonzero(switches.kind == kind)]
        assert [s.switch for s in settings] == names
    assert (devices.breakers[0].open_ms, devices.breakers[0].close_ms) == (60, 80)
    assert (devices.load_break_switches[0].open_ms, devices.load_break_switches[0].close_ms) == (500, 500)


def test_devices__indicators_look_into_every_line_end(cigre: Derivation) -> None:
    indicators = {i.switch: i for i in cigre.devices.indicators}
    assert len(indicators) == 30
    assert indicators["LBS_3-8"].pickup_a == pytest.approx(1.5 * 145, rel=0.01)
    assert (indicators["CB_2"].minimum_time_ms, indicators["CB_2"].reset_ms) == (40, 60_000)


def test_devices__fuses_have_no_settings() -> None:
    devices = derive(busbars(fuse=True).build()).devices
    named = [getattr(s, "switch", "") for kind in type(devices).model_fields for s in getattr(devices, kind)]
    assert "F" not in named


def test_devices__relay_of_a_dead_busbar_or_unknown_fault_level() -> None:
    (relay,) = derive(busbars().build()).devices.relays  # the coupler is open: N2 is dead
    assert (relay.pickup_a, relay.high_pickup_a, relay.time_multiplier) == (240.0, 1920.0, 0.18)


def test_devices__high_stage_stays_above_four_times_the_pickup(cigre: Derivation) -> None:
    lines = replace(cigre.network.lines, i_max_a=np.full(cigre.network.lines.n, 2000.0))
    weak = replace(cigre.network, lines=lines)
    relay = derive(weak).devices.relays[0]
    assert (relay.pickup_a, relay.high_pickup_a) == (2400.0, 9600.0)


def test_relay__operates_by_the_curves_of_iec_60255() -> None:
    # table values at 10 x pickup, time multiplier 1: 2.97 s, 1.5 s, 0.808 s
    times = [curve_time_ms(c, 10.0) for c in (Curve.STANDARD_INVERSE, Curve.VERY_INVERSE, Curve.EXTREMELY_INVERSE)]
    assert times == pytest.approx([2971, 1500, 808], abs=1)
    assert curve_time_ms(Curve.VERY_INVERSE, 50.0) == curve_time_ms(Curve.VERY_INVERSE, 20.0)


def test_relay__takes_the_faster_stage() -> None:
    relay = RelaySettings(breaker="CB", curve=Curve.DEFINITE_TIME, pickup_a=100, delay_ms=500, high_pickup_a=1000)
    times = [relay.operating_time_ms(i) for i in (100.0, 101.0, 999.0, 1000.0)]
    assert times == [math.inf, 500.0, 500.0, 100.0]
    inverse = RelaySettings(breaker="CB", pickup_a=100, time_multiplier=0.5)
    assert inverse.operating_time_ms(1000.0) == pytest.approx(1485, abs=1)


def test_derive__gives_the_same_twice(oberrhein: Derivation) -> None:
    assert derive(load_network("mv_oberrhein")) == oberrhein


def test_derive__clears_a_fault_on_cigre_line_3_8_within_a_second(cigre: Derivation) -> None:
    """The far end of feeder 1, two phases: about 1 kA."""
    assert cigre.devices.relays[0].operating_time_ms(1000.0) < 1000.0


def test_derive__of_a_network_without_switches_is_empty() -> None:
    b = NetworkBuilder("bare")
    b.node("N1", v_kv=20)
    derivation = derive(b.build())
    assert (derivation.stations, len(derivation.points), derivation.zones.names) == ((), 0, ("Z_N1",))
