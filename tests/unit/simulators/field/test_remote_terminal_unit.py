"""What the stations send and what they let through, on the feeder of ``conftest.py``."""

import dataclasses
import json

import numpy as np
import pytest

from simulators.field.bank import FieldBank, SnapshotMismatchError, UnknownFailureError
from simulators.field.breaker import FAULT_CURRENT, SPRING_NOT_CHARGED, SWITCH_MOVING
from simulators.field.equipment import UnknownSwitchError, equip
from simulators.field.remote_terminal_unit import (
    LOCAL_CONTROL,
    NOT_A_POSITION,
    RULES,
    UNKNOWN_POINT,
    MeasurandScan,
    UnmeasurablePointError,
)
from twin.derive.derivation import derive
from twin.derive.settings import DeviceSettings, IndicatorSettings, RelaySettings
from twin.outstations.model import StationCommand
from twin.points.model import DoublePosition, PointAddress, PointDefinition, PointKind, Quality

OPEN, CLOSED = DoublePosition.OPEN, DoublePosition.CLOSED
CB, S1, S2, S3, TIE = range(5)


def command(switch, value, ticket=1, point=None, station=None):
    return StationCommand(station or f"RTU_{switch}", point or f"{switch}.operate", value, ticket)


def test_scan__sends_only_what_left_its_dead_band_and_measures_against_the_last_sent_value(feeder):
    f = feeder()
    f.samples.clear()
    grid = f.grid(0)
    for now, i_a in ((1000, 202.0), (2000, 202.1), (3000, 200.1), (4000, 200.0), (5000, 300.0)):
        currents = grid.i_a.copy()
        currents[CB] = i_a
        f.bank.measure(dataclasses.replace(grid, i_a=currents), now)
    f.collect()
    # dead band 2 A: from 200 to 202 is kept, 202.1 goes, 200.1 is exactly 2.0 from it and kept, 200.0 goes
    # values are sent as short floats, of which 202.1 is none
    assert f.course("CB.i_a") == [(2000, float(np.float32(202.1))), (4000, 200.0), (5000, 300.0)]
    assert len(f.samples) == 3


def test_scan__has_the_units_and_signs_of_the_grid(feeder):
    f = feeder()
    image = {s.point: s for s in f.bank.image()}
    # 200 A into L1 at CB, out of L1 into N1 at S1: the power at S1 counts from the node into the branch
    assert (image["CB.i_a"].value, image["CB.p_kw"].value) == (200.0, 6920.0)
    assert (image["S1.p_kw"].value, image["S1.q_kvar"].value) == (-6920.0, -600.0)
    assert image["N2.v_kv"].value == 20.0


def test_scan__value_that_is_no_number_is_invalid_once(feeder):
    f = feeder()
    f.samples.clear()
    grid = f.grid(0)
    dark = dataclasses.replace(grid, v_kv=np.array([20.0, np.nan, 20.0, 20.0]))
    for now in (1000, 2000):
        f.bank.measure(dark, now)
    f.bank.measure(grid, 3000)
    f.collect()
    assert [(s.source_t_ms, s.value, s.quality) for s in f.samples] == [
        (1000, 0.0, Quality.INVALID),
        (3000, 20.0, Quality.GOOD),
    ]


def test_scan__refuses_a_point_that_its_equipment_cannot_have(feeder):
    network = feeder().bank.network
    for equipment, quantity in (("N1", "i_a"), ("CB", "position"), ("nowhere", "v_kv")):
        point = PointDefinition("R", "x", PointKind.MEASURAND, equipment, quantity, PointAddress(1, 1, 36))
        with pytest.raises(UnmeasurablePointError) as refused:
            MeasurandScan(network, [point], np.ones(1))
        assert refused.value.equipment == equipment


def test_image__before_the_first_measurement_has_positions_but_no_measurands(feeder):
    f = feeder()
    bank = FieldBank(f.bank.network, derive(f.bank.network))
    image = bank.image()
    assert {s.quality for s in image if s.point.endswith("i_a")} == {Quality.INVALID}
    positions = [s for s in image if s.value == OPEN and s.quality is Quality.GOOD]
    assert positions
    assert not any(s.spontaneous for s in image)


def test_image__equals_the_last_value_of_every_spontaneous_sample(feeder):
    f = feeder((1000, 5000))
    image = {s.point: s.value for s in f.bank.image()}
    f.samples.clear()
    f.run(40_000)
    last = image | {s.point: s.value for s in f.samples}
    assert {s.point: s.value for s in f.bank.image()} == last
    times = [s.source_t_ms for s in f.samples]
    assert times == sorted(times)


def test_image__carries_the_time_of_the_last_change(feeder):
    f = feeder((1000, 1500)).run(20_000)
    image = {s.point: s.source_t_ms for s in f.bank.image()}
    assert (image["CB.position"], image["CB.reclose_active"], image["S2.position"]) == (1740, 11_740, 0)


def test_command__operates_reports_and_finishes(feeder):
    f = feeder().run(1000)
    assert f.bank.select(command("S2", OPEN), 1000) == ""
    assert f.bank.operate(command("S2", OPEN, 42), 1100) == ""
    f.run(3000)
    assert f.finished == [(42, True, 1600)]
    assert f.course("S2.position") == [(1100, DoublePosition.INTERMEDIATE), (1600, OPEN)]
    assert f.entries("breaker") == [
        (1100, "breaker", "S2", "intermediate", "command"),
        (1600, "breaker", "S2", "open", "command"),
    ]
    received = [(e.t_ms, e.subject, e.data["phase"], e.data["ticket"]) for e in f.journal if e.kind[:7] == "command"]
    assert received == [(1000, "RTU_S2", "select", 1), (1100, "RTU_S2", "operate", 42)]


def test_command__of_a_closed_tie_is_reported_as_a_closing(feeder):
    f = feeder()
    f.bank.operate(command("TIE", CLOSED), 0)
    f.run(1000)
    assert f.closings == [(TIE, 500)]
    assert list(f.bank.closed) == [True] * 5


def test_command__to_the_position_already_held_finishes_at_once(feeder):
    f = feeder().run(1000)
    assert f.bank.operate(command("S2", CLOSED, 5), 1000) == ""
    assert f.bank.take_finished() == [(5, True, 1000)]
    assert f.bank.take_closings() == []


def test_command__with_a_jammed_drive_finishes_without_success(feeder):
    f = feeder()
    f.bank.fail("S2", "open")
    assert f.bank.operate(command("S2", OPEN, 5), 0) == ""
    assert f.run(1000).finished == [(5, False, 500)]
    assert f.bank.closed[S2]


def test_command__cancelled_is_written_down_and_stops_nothing(feeder):
    f = feeder()
    f.bank.operate(command("S2", OPEN, 5), 0)
    f.bank.cancel(command("S2", OPEN, 5), 100)
    f.run(1000)
    assert f.finished == [(5, True, 500)]
    assert f.entries("command_cancelled") == [(100, "command_cancelled", "RTU_S2", "S2.operate", 5)]


def refused_by_local(f):
    f.bank.set_local("S2", True)
    return command("S2", OPEN)


def refused_while_moving(f):
    f.bank.force_operate("S2", False)
    return command("S2", CLOSED)


def refused_without_energy(f):
    for now, value in ((0, OPEN), (100, CLOSED), (200, OPEN)):
        assert f.bank.operate(command("CB", value), now) == ""
    return command("CB", CLOSED)


def refused_under_fault(f):
    f.fault = (500, 10_000)
    f.run(501)
    return command("S2", OPEN)


SITUATIONS = {
    UNKNOWN_POINT: lambda f: command("S2", OPEN, station="RTU_S1"),
    NOT_A_POSITION: lambda f: command("S2", DoublePosition.FAULTY),
    LOCAL_CONTROL: refused_by_local,
    SWITCH_MOVING: refused_while_moving,
    SPRING_NOT_CHARGED: refused_without_energy,
    FAULT_CURRENT: refused_under_fault,
}


@pytest.mark.parametrize("phase", ["select", "operate"])
@pytest.mark.parametrize("rule", list(SITUATIONS))
def test_command__is_refused_by_the_name_of_its_rule(feeder, rule, phase):
    f = feeder()
    refused = SITUATIONS[rule](f)
    now = max(f.bank.now, 300)
    f.bank.advance(now)
    f.bank.take_finished()
    closed = list(f.bank.closed)
    assert getattr(f.bank, phase)(refused, now) == rule
    assert rule in RULES
    entry = f.bank.take_journal()[-1]
    assert (entry.t_ms, entry.kind, entry.data["rule"], entry.data["phase"]) == (now, "refused", rule, phase)
    assert list(f.bank.closed) == closed
    assert f.bank.take_finished() == []


def test_command__indications_are_no_commands(feeder):
    f = feeder()
    assert f.bank.select(command("S2", OPEN, point="S2.position"), 0) == UNKNOWN_POINT


def test_command__is_let_through_again_after_local_control(feeder):
    f = feeder()
    f.bank.set_local("S2", True)
    f.bank.set_local("S2", False)
    assert f.bank.select(command("S2", OPEN), 0) == ""
    f.collect()
    assert f.course("S2.local") == [(0, 1), (0, 0)]


def test_load_break_switch__may_open_once_the_breaker_has_cleared_the_fault(feeder):
    f = feeder((1000, 100_000)).run(1150)
    assert f.bank.select(command("S2", OPEN), 1150) == FAULT_CURRENT
    f.run(1160)
    assert f.bank.select(command("S2", OPEN), 1160) == ""


def test_force_operate__works_under_local_control_and_names_its_cause(feeder):
    f = feeder()
    f.bank.set_local("S2", True)
    assert f.bank.force_operate(S2, False) == ""
    assert f.bank.force_operate(S2, True) == SWITCH_MOVING
    f.run(1000)
    assert f.entries("breaker")[-1] == (500, "breaker", "S2", "open", "local")
    assert f.finished == []


def test_bank__refuses_a_switch_that_is_not_there(feeder):
    f = feeder()
    for switch in ("N1", "S9", 5, -1):
        with pytest.raises(UnknownSwitchError):
            f.bank.fail(switch, "open")
    with pytest.raises(UnknownSwitchError):
        equip(f.bank.network, DeviceSettings(relays=(RelaySettings(breaker="CB9", pickup_a=1),)))


def test_bank__refuses_a_failure_that_is_none(feeder):
    f = feeder()
    for hook in (f.bank.fail, f.bank.indicator_fails):
        with pytest.raises(UnknownFailureError) as refused:
            hook("CB", "gone")
        assert refused.value.failure == "gone"


def test_load_break_switch__that_breaks_a_fault_current_is_written_down(feeder):
    # the order comes at 900 without fault, the fault at 1000, the contacts part at 1400
    f = feeder((1000, 100_000), relays=()).run(900)
    assert f.bank.operate(command("S2", OPEN), 900) == ""
    f.run(2000)
    entries = [(e.t_ms, e.subject, dict(e.data)) for e in f.journal if e.kind == "overstressed"]
    assert entries == [(1400, "S2", {"rule": FAULT_CURRENT, "i_fault_a": 3000.0})]


def test_bank__refuses_the_snapshot_of_other_devices(feeder):
    f = feeder()
    state = json.loads(f.bank.snapshot())
    state["bays"].pop("S3")
    with pytest.raises(SnapshotMismatchError):
        f.bank.restore(json.dumps(state).encode())


def test_bank__snapshot_keeps_what_was_not_taken_yet(feeder):
    f, g = feeder((1000, 1500)), feeder((1000, 1500))
    for t in (1000, 1040, 1100, 1160, 1660, 1740):
        f.bank.advance(t)
        f.bank.measure(f.grid(t), t)
    f.bank.operate(command("CB", CLOSED, 9), 1740)
    g.bank.restore(f.bank.snapshot())
    for taken in ("take_samples", "take_journal", "take_closings", "take_finished"):
        told = getattr(f.bank, taken)()
        assert told
        assert getattr(g.bank, taken)() == told
    assert g.bank.image() == f.bank.image()


def test_bank__two_runs_of_one_seed_are_identical(feeder):
    runs = [feeder((1000, 1_000_000), seed=7).run(50_000) for _ in range(2)]
    assert [e.to_json() for e in runs[0].journal] == [e.to_json() for e in runs[1].journal]
    assert runs[0].samples == runs[1].samples
    assert runs[0].bank.snapshot() == runs[1].bank.snapshot()


def test_transducer_class__bounds_the_error_and_the_seed_fixes_it(feeder):
    f = feeder()

    def values(seed, transducer_class):
        derivation = derive(f.bank.network)
        bank = FieldBank(f.bank.network, derivation, seed, transducer_class=transducer_class)
        bank.measure(f.grid(0), 0)
        return np.array([s.value for s in bank.image() if s.point.endswith("i_a") and s.value > 0])

    exact = values(1, 0.0)
    error = values(1, 0.5) / exact - 1.0
    assert 0 < np.abs(error).max() <= 0.005
    assert np.array_equal(values(1, 0.5), values(1, 0.5))
    assert not np.array_equal(values(1, 0.5), values(2, 0.5))


def test_bank__takes_a_derived_network_as_it_is(feeder):
    network = feeder().bank.network
    derivation = derive(network)
    bank = FieldBank(network, derivation, 3)
    assert len(bank.image()) == sum(not p.kind.is_output for p in derivation.points)
    commands = [p for p in derivation.points if p.kind.is_output]
    assert len(commands) == network.switches.n
    for ticket, point in enumerate(commands):
        assert bank.select(StationCommand(point.station, point.name, OPEN, ticket), 0) == ""


def test_equip__takes_settings_to_the_switch_they_name(feeder):
    network = feeder().bank.network
    devices = DeviceSettings(
        relays=(RelaySettings(breaker="CB", pickup_a=300),),
        indicators=(IndicatorSettings(switch="S3", pickup_a=500),),
    )
    bays = equip(network, devices)
    assert [bay.name for bay in bays] == list(network.switches.names)
    assert [len(bay.stages) for bay in bays] == [1, 0, 0, 0, 0]
    assert [bay.indicator is not None for bay in bays] == [False, False, False, True, False]
    assert [bay.drive.stored_sequence for bay in bays] == ["O-C-O", "", "", "", ""]
