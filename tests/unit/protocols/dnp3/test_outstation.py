"""The outstation, asked by hand: static values, events, unsolicited responses, controls, clock, restart, masters."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from twin.outstations.dnp3 import Dnp3Outstation, Dnp3OutstationSettings, Dnp3PointError
from twin.points.model import PointKind, Quality
from twin.protocols.dnp3 import (
    AnalogOutput,
    CommandStatus,
    Crob,
    Frame,
    FrameDecoder,
    LinkSettings,
    Operation,
    TripClose,
    encode_frame,
)
from twin.protocols.dnp3.attributes import read_attribute
from twin.protocols.dnp3.controls import control_block, controls_of
from twin.protocols.dnp3.frames import Primary
from twin.protocols.dnp3.objects import time_octets

from .conftest import BASE, EPOCH_MS, POINTS, Device, RawMaster, point

READ, WRITE, SELECT, OPERATE, DIRECT, DIRECT_NR, FREEZE, FREEZE_CLEAR = 1, 2, 3, 4, 5, 6, 7, 9
CLASS_0, CLASS_123 = bytes((60, 1, 6)), bytes((60, 2, 6, 60, 3, 6, 60, 4, 6))
CLOSE = Crob.of(Operation.PULSE_ON, TripClose.CLOSE, on_ms=200)
Raw = Callable[..., RawMaster]
RESTART, NEED_TIME, OVERFLOW = 0x80, 0x10, 0x800
NO_FUNCTION, UNKNOWN, PARAMETER = 0x100, 0x200, 0x400


def status(said: object) -> list[int]:
    return [control.status for header in said.headers for _, control in controls_of(header)]  # type: ignore[attr-defined]


# -- static values ------------------------------------------------------------------------------------------------


def test_integrity_poll__every_point_with_its_default_variation(raw: Raw) -> None:
    master = raw()
    master.begin()
    master.change("trip", 1, spontaneous=False)
    master.change("i_2", 7.5, spontaneous=False, quality=Quality.OVERFLOW)
    said = master.ask(READ, CLASS_123 + CLASS_0)
    assert said.items(1) == [(0, 1.0, 1, 0), (1, 0.0, 2, 0)]
    assert said.items(3) == [(0, 0.0, 2, 0)]
    assert said.items(30)[2] == (2, 7.5, 0x21, 0)
    assert [item[0] for item in said.items(30)] == [0, 1, 2, 3, 4, 300]
    assert [item[0] for item in said.items(10)] == [0, 1, 2]
    assert said.objects == ["g1v2", "g3v2", "g10v2", "g20v1", "g21v5", "g30v5", "g30v2", "g30v1", "g40v3"]


@pytest.mark.parametrize(
    ("header", "indexes", "iin"),
    [
        ("1e 01 00 01 02", [1, 2], 0),
        ("1e 03 01 02 00 2c 01", [2, 3, 4, 300], PARAMETER),
        ("1e 05 17 02 03 00", [3, 0], 0),
        ("1e 05 28 01 00 2c 01", [300], 0),
        ("1e 06 07 02", [0, 1], 0),
        ("1e 00 06", [0, 1, 2, 3, 4, 300], 0),
        ("1e 09 06", [], UNKNOWN),
        ("32 01 06", [], 0),
        ("46 01 06", [], UNKNOWN),
    ],
)
def test_read__by_range_list_count_and_variation(raw: Raw, header: str, indexes: list[int], iin: int) -> None:
    master = raw()
    master.begin()
    said = master.ask(READ, bytes.fromhex(header))
    assert [item[0] for item in said.items(30)] == indexes
    assert said.iin == iin


def test_long_answer__in_fragments_that_are_each_confirmed(raw: Raw) -> None:
    master = raw(link=LinkSettings(max_fragment=249))
    master.begin()
    master.sequence = 4
    for n in range(20):
        master.change("i_1", n)
        for said in master.hear():
            master.confirm(said)
    for n in range(100):
        master.station.associations[1].enabled.clear()
        master.change("i_1", n)
    master.send(READ, CLASS_123 + CLASS_0)
    found, sequences = [], []
    while heard := master.hear():
        (said,) = heard
        found += [item[1] for item in said.items(32)]
        sequences.append(said.fragment.sequence)
        assert said.fragment.confirm or said.fragment.final
        if said.fragment.final:
            break
        master.confirm(said)
    assert found == [float(n) for n in range(100)]
    assert sequences == [(4 + n) % 16 for n in range(len(sequences))]
    assert len(sequences) > 5


def test_device_attributes__are_read_one_by_one_all_and_listed(raw: Raw) -> None:
    master = raw()
    master.begin()
    one = master.ask(READ, bytes.fromhex("00 f7 00 00 00"))
    assert [read_attribute(h.data) for h in one.headers] == ["RTU_1"]
    assert len(master.ask(READ, bytes.fromhex("00 fe 00 00 00")).headers) == len(master.station.attributes)
    assert master.ask(READ, bytes.fromhex("00 ff 00 00 00")).objects == ["g0v255"]
    assert master.ask(READ, bytes.fromhex("00 01 00 00 00")).iin & UNKNOWN


# -- events -------------------------------------------------------------------------------------------------------


def test_class_poll__events_stay_until_they_are_confirmed(raw: Raw) -> None:
    master = raw(unsolicited=False)
    master.begin(unsolicited=False)
    master.change("position", 2, t_ms=500)
    master.change("i_0", 1.5, t_ms=501)
    assert master.ask(READ, CLASS_0).iin == 0x06
    first = master.ask(READ, bytes((60, 2, 6)))
    assert first.items(4) == [(0, 2.0, 1, EPOCH_MS + 500)]
    again = master.ask(READ, bytes((60, 2, 6)))
    assert again.items(4) == first.items(4)
    master.confirm(again)
    assert master.ask(READ, bytes((60, 2, 6))).headers == []
    other = master.ask(READ, bytes((32, 5, 6)))
    assert other.items(32) == [(0, 1.5, 1, 0)]


def test_relative_times__share_a_common_time_of_occurrence(raw: Raw) -> None:
    master = raw(unsolicited=False)
    master.begin(unsolicited=False)
    for t_ms in (500, 700, 70_000):
        master.change("trip", 1, t_ms=t_ms)
    said = master.ask(READ, bytes((2, 3, 6)))
    assert said.objects == ["g51v1", "g2v3", "g51v1", "g2v3"]
    assert [h.items()[0][3] for h in said.headers if h.group == 51] == [EPOCH_MS + 500, EPOCH_MS + 70_000]
    assert [item[3] for item in said.items(2)] == [0, 200, 0]


def test_full_buffer__drops_the_oldest_and_says_so_until_there_is_room(raw: Raw) -> None:
    master = raw(unsolicited=False, event_limit=3)
    master.begin(unsolicited=False)
    for n in range(5):
        master.change("i_0", n)
    said = master.ask(READ, CLASS_123)
    assert [item[1] for item in said.items(32)] == [2.0, 3.0, 4.0]
    assert said.iin & OVERFLOW
    assert master.station.events_dropped == 2
    master.confirm(said)
    assert not master.ask(READ, CLASS_0).iin & OVERFLOW


def test_full_buffer__while_a_response_waits_is_said_in_the_next_one(raw: Raw) -> None:
    """The response on its way was made before the loss: its confirmation does not end the indication."""
    master = raw(unsolicited=False, event_limit=3)
    master.begin(unsolicited=False)
    for n in range(3):
        master.change("i_0", n)
    said = master.ask(READ, CLASS_123)
    assert not said.iin & OVERFLOW
    for n in range(3, 7):
        master.change("i_0", n)
    master.confirm(said)
    behind = master.ask(READ, CLASS_123)
    assert behind.iin & OVERFLOW
    assert [item[1] for item in behind.items(32)] == [4.0, 5.0, 6.0]
    master.confirm(behind)
    assert not master.ask(READ, CLASS_0).iin & OVERFLOW


def test_limited_count__leaves_the_rest(raw: Raw) -> None:
    master = raw(unsolicited=False)
    master.begin(unsolicited=False)
    for n in range(5):
        master.change("i_0", n)
    said = master.ask(READ, bytes.fromhex("3c 03 07 02"))
    assert [item[1] for item in said.items(32)] == [0.0, 1.0]
    assert said.iin & 0x04


def test_assigned_class__takes_the_place_of_the_map_s(raw: Raw) -> None:
    master = raw(unsolicited=False)
    master.begin(unsolicited=False)
    assert master.ask(22, bytes.fromhex("3c 04 06 1e 00 00 00 00 3c 01 06 01 00 06")).iin == 0
    master.change("i_0", 1)
    master.change("trip", 1)
    assert master.ask(READ, CLASS_0).iin & 0x0E == 0x08
    assert master.ask(22, bytes.fromhex("1e 00 06")).iin & PARAMETER


def test_written_dead_band__coarsens_the_device_s(raw: Raw) -> None:
    master = raw(unsolicited=False)
    master.begin(unsolicited=False)
    assert master.ask(READ, bytes.fromhex("22 03 00 00 00")).items(34) == [(0, 0.5, 1, 0)]
    assert master.ask(WRITE, bytes.fromhex("22 03 00 00 00 00 00 a0 40")).iin == 0
    for value in (4.0, 5.0, 5.5, 11.0):
        master.change("i_0", value)
    # the first is an event by its flags, which say RESTART no more; 5.0 and 5.5 are within the band of 5
    assert [item[1] for item in master.ask(READ, CLASS_123).items(32)] == [4.0, 11.0]


def test_freeze__copies_counters_and_clears_where_asked(raw: Raw) -> None:
    master = raw(unsolicited=False)
    master.begin(unsolicited=False)
    master.change("energy", 70_000, spontaneous=False)
    assert master.ask(FREEZE, bytes.fromhex("14 00 06")).iin & ~0x0E == 0
    assert master.ask(READ, bytes.fromhex("15 00 06")).items(21) == [(0, 70_000.0, 1, EPOCH_MS + 1_000)]
    assert [item[1] for item in master.ask(READ, bytes.fromhex("17 05 06")).items(23)] == [70_000.0]
    master.ask(FREEZE_CLEAR, bytes.fromhex("14 00 00 00 00"))
    assert master.ask(READ, bytes.fromhex("14 01 06")).items(20) == [(0, 0.0, 1, 0)]
    assert master.ask(FREEZE, bytes.fromhex("01 00 06")).iin & UNKNOWN


def test_freeze__copies_analogues_with_their_time_and_never_clears_them(raw: Raw) -> None:
    master = raw(unsolicited=False)
    master.begin(unsolicited=False)
    assert master.ask(READ, bytes.fromhex("1f 00 06")).objects == []
    master.change("i_1", 12.5, spontaneous=False)
    master.change("far", -70_000, spontaneous=False)
    assert master.ask(FREEZE, bytes.fromhex("1e 00 00 01 01 1e 00 28 01 00 2c 01")).iin & ~0x0E == 0
    master.change("i_1", 99, spontaneous=False)
    said = master.ask(READ, bytes.fromhex("1f 00 06"))
    assert said.objects == ["g31v7", "g31v3"]
    assert said.items(31) == [(1, 12.5, 1, 0), (300, -70_000.0, 1, EPOCH_MS + 1_000)]
    events = master.ask(READ, CLASS_123)
    assert events.items(33) == [(1, 12.5, 1, EPOCH_MS + 1_000), (300, -70_000.0, 1, EPOCH_MS + 1_000)]
    assert master.ask(FREEZE_CLEAR, bytes.fromhex("1e 00 06")).iin & PARAMETER
    assert master.ask(READ, bytes.fromhex("1e 00 00 01 01")).items(30) == [(1, 99.0, 1, 0)]
    again = Dnp3Outstation("RTU_1", POINTS, Device(), BASE)
    again.restore(json.loads(json.dumps(master.station.snapshot())))
    assert again.database.snapshot() == master.station.database.snapshot()


def test_bit_string__is_an_octet_string_of_four_octets(device: Device) -> None:
    points = (point("bits", PointKind.BITSTRING, 1), point("more", PointKind.BITSTRING, 2))
    master = RawMaster(Dnp3Outstation("RTU_1", points, device, BASE, Dnp3OutstationSettings(unsolicited=False)))
    master.begin(unsolicited=False)
    master.change("more", float(0xF000000F))
    said = master.ask(READ, CLASS_123 + CLASS_0)
    assert said.objects == ["g111v4", "g110v4"]
    assert said.items(111) == [(1, float(0xF000000F), 1, 0)]
    assert said.items(110) == [(0, 0.0, 1, 0), (1, float(0xF000000F), 1, 0)]
    assert said.headers[0].data.hex() == "010f0000f0"


def test_self_address__answers_with_its_own_where_set(raw: Raw) -> None:
    for enabled in (False, True):
        master = raw(unsolicited=False, self_address=enabled)
        request = Frame(0xFFFC, 1, Primary.UNCONFIRMED_DATA, bytes.fromhex("c0c1013c0106"), from_master=True)
        master.session.receive(encode_frame(request), master.now)
        answers = FrameDecoder().receive(master.session.payload_to_send())
        assert [(frame.source, frame.destination) for frame in answers[:1]] == ([(1024, 1)] if enabled else [])


# -- unsolicited responses ----------------------------------------------------------------------------------------


def test_unsolicited__null_first_then_only_what_is_enabled(raw: Raw) -> None:
    master = raw()
    (null,) = master.hear()
    assert (null.fragment.unsolicited, null.headers, null.iin) == (True, [], RESTART)
    master.change("trip", 1)
    assert master.hear() == []
    master.confirm(null)
    assert master.hear() == []
    master.ask(20, bytes((60, 2, 6)))
    master.change("i_0", 1)
    (said,) = master.take_others()
    assert said.objects == ["g2v2"]


def test_unsolicited__one_at_a_time_and_repeated_until_confirmed(raw: Raw) -> None:
    master = raw(confirm_timeout_ms=2_000, unsolicited_retries=1, unsolicited_retry_ms=10_000)
    master.begin()
    master.change("trip", 1)
    (first,) = master.hear()
    master.change("trip", 0)
    assert master.hear() == []
    master.wait(2_000)
    (again,) = master.hear()
    assert again.fragment == first.fragment
    master.wait(2_000)
    assert master.hear() == []
    master.wait(10_000)
    (both,) = master.hear()
    assert [item[1] for item in both.items(2)] == [1.0, 0.0]
    master.confirm(both)
    assert len(master.station.associations[1].buffer) == 0


def test_read__waits_for_the_unsolicited_confirmation(raw: Raw) -> None:
    master = raw()
    master.begin()
    master.change("trip", 1)
    (unsolicited,) = master.hear()
    master.send(READ, CLASS_0, sequence=9)
    assert master.hear() == []
    master.confirm(unsolicited)
    (said,) = master.hear()
    assert (said.fragment.sequence, said.fragment.unsolicited) == (9, False)


def test_connection_lost__what_was_not_confirmed_comes_again(raw: Raw) -> None:
    master = raw()
    master.begin()
    master.change("trip", 1)
    master.hear()
    master.station.close_session(master.session, master.now)
    master.change("trip", 0)
    later = RawMaster(master.station)
    later.begin()
    (said,) = later.take_others()
    assert [item[1] for item in said.items(2)] == [1.0, 0.0]


# -- controls -----------------------------------------------------------------------------------------------------


def test_select_and_operate__reach_the_device_once(raw: Raw, device: Device) -> None:
    master = raw()
    master.begin()
    block = control_block(0, CLOSE)
    assert status(master.ask(SELECT, block)) == [CommandStatus.SUCCESS]
    operated = master.ask(OPERATE, block)
    assert status(operated) == [CommandStatus.SUCCESS]
    master.send(OPERATE, block)
    (repeated,) = master.hear()
    assert repeated.fragment == operated.fragment
    assert device.seen == [("select", "operate", 2.0), ("operate", "operate", 2.0)]
    assert status(master.ask(SELECT, block)) == [CommandStatus.ALREADY_ACTIVE]
    assert device.last is not None
    master.station.finished(device.last.ticket, True, master.now)
    assert status(master.ask(SELECT, block)) == [CommandStatus.SUCCESS]
    assert master.ask(READ, bytes.fromhex("0a 02 00 00 00")).items(10)[0][1:3] == (1.0, 1)


@pytest.mark.parametrize("case", ["no select", "other object", "too late", "something between"])
def test_operate__refused_without_its_select(raw: Raw, device: Device, case: str) -> None:
    master = raw(select_timeout_ms=3_000)
    master.begin()
    block = control_block(0, CLOSE)
    expected = CommandStatus.NO_SELECT
    if case != "no select":
        master.ask(SELECT, block)
    if case == "other object":
        block = control_block(0, Crob.of(Operation.PULSE_ON, TripClose.TRIP, on_ms=200))
    elif case == "too late":
        master.now += 3_000
        expected = CommandStatus.TIMEOUT
    elif case == "something between":
        master.ask(READ, CLASS_0)
    assert status(master.ask(OPERATE, block)) == [expected]
    assert "operate" not in [verb for verb, _, _ in device.seen]
    assert device.seen.count(("cancel", "operate", 2.0)) == (case != "no select")


@pytest.mark.parametrize(
    ("index", "control", "point", "value"),
    [
        (1, Crob.of(Operation.LATCH_ON), "lamp", 1.0),
        (1, Crob.of(Operation.LATCH_OFF), "lamp", 0.0),
        (2, Crob.of(Operation.PULSE_ON, TripClose.CLOSE), "step", 1.0),
        (2, Crob.of(Operation.PULSE_ON, TripClose.TRIP), "step", -1.0),
        (0, AnalogOutput(3.5, 3), "target", 3.5),
        (0, AnalogOutput(-4, 1), "target", -4.0),
        (0, AnalogOutput(9, 2), "target", 9.0),
        (0, AnalogOutput(1e300, 4), "target", 1e300),
    ],
)
def test_direct_operate__by_every_control(
    raw: Raw, device: Device, index: int, control: Crob | AnalogOutput, point: str, value: float
) -> None:
    master = raw()
    master.begin()
    assert status(master.ask(DIRECT, control_block(index, control))) == [CommandStatus.SUCCESS]
    assert device.seen == [("operate", point, value)]


def test_direct_without_response__operates_and_says_nothing(raw: Raw, device: Device) -> None:
    master = raw()
    master.begin()
    master.hear()
    master.send(DIRECT_NR, control_block(0, AnalogOutput(2.0)))
    assert device.seen == [("operate", "target", 2.0)]
    assert [s for s in master.hear() if not s.fragment.unsolicited] == []


@pytest.mark.parametrize(
    ("function", "block", "expected"),
    [
        (DIRECT, control_block(0, CLOSE), CommandStatus.NO_SELECT),
        (SELECT, control_block(0, AnalogOutput(1.0)), CommandStatus.NOT_SUPPORTED),
        (SELECT, control_block(77, CLOSE), CommandStatus.NOT_SUPPORTED),
        (SELECT, control_block(0, Crob(0x41, 2, 200)), CommandStatus.NOT_SUPPORTED),
        (SELECT, control_block(0, Crob(0x42, 1, 200)), CommandStatus.NOT_SUPPORTED),
        (SELECT, control_block(0, CLOSE) * 17, CommandStatus.TOO_MANY_OBJECTS),
    ],
)
def test_unsuitable_control__its_status_and_no_deed(
    raw: Raw, device: Device, function: int, block: bytes, expected: CommandStatus
) -> None:
    master = raw()
    master.begin()
    assert set(status(master.ask(function, block))) == {expected}
    assert device.seen == []


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("local_control", CommandStatus.LOCAL),
        ("switch_moving", CommandStatus.ALREADY_ACTIVE),
        ("spring_not_charged", CommandStatus.HARDWARE_ERROR),
        ("not_rated_for_fault_current", CommandStatus.BLOCKED),
        ("not_authorized", CommandStatus.NOT_AUTHORIZED),
        ("automation_inhibit", CommandStatus.AUTOMATION_INHIBIT),
        ("out_of_range", CommandStatus.OUT_OF_RANGE),
        ("something else", CommandStatus.UNDEFINED),
    ],
)
def test_device_s_refusal__is_a_status(raw: Raw, device: Device, rule: str, expected: CommandStatus) -> None:
    master = raw()
    master.begin()
    device.refusal = rule
    assert status(master.ask(SELECT, control_block(0, CLOSE))) == [expected]


# -- clock, restart, faults ---------------------------------------------------------------------------------------


def test_clock__set_by_the_lan_procedure(raw: Raw) -> None:
    master = raw(need_time=True)
    master.begin()
    assert master.ask(READ, CLASS_0).iin & NEED_TIME
    master.ask(24)
    master.now += 50
    said = master.ask(WRITE, bytes((50, 3, 7, 1)) + time_octets(EPOCH_MS + 1_007))
    assert said.iin & (NEED_TIME | PARAMETER) == 0
    assert master.station.clock_offset_ms == 7
    assert master.ask(WRITE, bytes((50, 3, 7, 1)) + time_octets(EPOCH_MS)).iin & PARAMETER


def test_clock__set_by_the_non_lan_procedure(raw: Raw) -> None:
    master = raw(need_time=True)
    master.begin()
    assert master.ask(23).items(52) == [(0, 0.0, 1, 0)]
    assert not master.ask(WRITE, bytes((50, 1, 7, 1)) + time_octets(EPOCH_MS + 990)).iin & NEED_TIME
    assert master.station.clock_offset_ms == -10
    assert master.ask(READ, bytes.fromhex("32 01 06")).items(50) == [(0, 0.0, 1, EPOCH_MS + 1_000)]


def test_restart__indicated_until_it_is_cleared(raw: Raw) -> None:
    master = raw()
    master.begin()
    assert master.ask(13).items(52)[0][3] == 0
    assert master.ask(READ, CLASS_0).iin & RESTART
    master.wait(2)
    (null,) = (s for s in master.hear() if not s.headers)
    assert null.fragment.unsolicited
    master.confirm(null)
    assert master.ask(WRITE, bytes.fromhex("50 01 00 07 07 00")).iin == 0


@pytest.mark.parametrize(
    ("function", "body", "iin"),
    [
        (99, "", NO_FUNCTION),
        (25, "", NO_FUNCTION),
        (READ, "1e 05", PARAMETER),
        (READ, "1e 05 44", PARAMETER),
        (WRITE, "50 01 00 07 07 01", PARAMETER),
        (WRITE, "c8 01 00 00 00 00", UNKNOWN),
        (WRITE, "32 01 07 02 000000000000 000000000000", PARAMETER),
        (SELECT, "", PARAMETER),
        (20, "3c 01 06", PARAMETER),
    ],
)
def test_what_cannot_be_served__is_indicated(raw: Raw, function: int, body: str, iin: int) -> None:
    master = raw()
    master.begin()
    assert master.ask(function, bytes.fromhex(body)).iin == iin


def test_noise__does_not_disturb_another_master(station: Callable[..., Dnp3Outstation]) -> None:
    there = station(masters=(1, 2))
    first, second = RawMaster(there, 1), RawMaster(there, 2)
    first.ask(23)
    first.begin()
    second.ask(23)
    second.session.receive(b"\x05\x64\xff" * 50 + bytes(300), second.now)
    second.begin()
    first.change("trip", 1)
    for master in (first, second):
        (said,) = (s for s in master.hear() if s.headers)
        assert said.items(2)[0][1] == 1.0
        master.confirm(said)
    assert all(len(a.buffer) == 0 for a in there.associations.values())


def test_select_of_another_master__blocks_the_point(station: Callable[..., Dnp3Outstation]) -> None:
    there = station(masters=(1, 2))
    first, second = RawMaster(there, 1), RawMaster(there, 2)
    for master in (first, second):
        master.ask(23)
        master.begin()
    block = control_block(0, CLOSE)
    assert status(first.ask(SELECT, block)) == [CommandStatus.SUCCESS]
    assert status(second.ask(SELECT, block)) == [CommandStatus.BLOCKED_OTHER_MASTER]
    there.close_session(first.session, first.now)
    assert status(second.ask(SELECT, block)) == [CommandStatus.SUCCESS]


def test_stranger__is_not_served(raw: Raw) -> None:
    master = raw()
    master.begin()
    master.session.receive(encode_frame(Frame(1024, 99, 4, bytes.fromhex("c0c0013c0106"), from_master=True)), 0)
    assert master.hear() == []
    assert master.session.strangers == 1


@pytest.mark.parametrize(("address", "confirm"), [(0xFFFF, False), (0xFFFE, True)])
def test_broadcast__is_carried_out_without_answer_and_indicated_once(raw: Raw, address: int, confirm: bool) -> None:
    master = raw()
    master.begin()
    request = bytes.fromhex("c0 c3 02 32010701") + time_octets(EPOCH_MS + 1_500)
    master.session.receive(encode_frame(Frame(address, 1, 4, request, from_master=True)), master.now)
    assert master.hear() == []
    assert master.station.clock_offset_ms == 500
    said = master.ask(READ, CLASS_0)
    assert (said.iin & 1, said.fragment.confirm) == (1, confirm)
    if confirm:
        master.confirm(said)
    assert master.ask(READ, CLASS_0).iin & 1 == 0


def test_confirmed_user_data__acknowledged_and_delivered_once(raw: Raw) -> None:
    master = raw()
    master.begin()
    reset = Frame(1024, 1, 0, from_master=True)
    data = Frame(1024, 1, 3, bytes.fromhex("c0c5013c0106"), from_master=True, fcb=True, fcv=True)
    session = master.session
    session.receive(encode_frame(data), master.now)
    assert session.payload_to_send() == encode_frame(Frame(1, 1024, 1, primary=False))
    session.receive(encode_frame(reset) + encode_frame(data), master.now)
    ack = encode_frame(Frame(1, 1024, 0, primary=False))
    octets = session.payload_to_send()
    assert octets.startswith(ack * 2)
    session.receive(encode_frame(data), master.now)
    assert session.payload_to_send() == ack


def test_silent_master__is_hung_up_on_after_the_keep_alive(raw: Raw) -> None:
    master = raw(unsolicited=False, link=LinkSettings(keep_alive_ms=10_000, timeout_ms=1_000, retries=1))
    master.ask(READ, CLASS_0)
    session = master.session
    while (due := session.next_timer()) < 2**50:
        session.tick(due)
    assert session.close_reason == "no answer of the data link within 2000 ms"
    assert due >= 12_000


def test_two_points_of_one_address__are_refused(device: Device) -> None:
    twice = (
        *POINTS,
        POINTS[0].__class__("RTU_1", "x", POINTS[9].kind, "E", "x", POINTS[9].address, dnp3=POINTS[9].dnp3),
    )
    with pytest.raises(Dnp3PointError, match="it has the DNP3 address of far"):
        Dnp3Outstation("RTU_1", twice, device, BASE)
    with pytest.raises(ValueError, match="named twice"):
        Dnp3OutstationSettings(masters=(1, 1))
