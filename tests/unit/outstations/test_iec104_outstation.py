"""An IEC 60870-5-104 station against a bare connection: every request and answer is looked at as an ASDU."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from twin.outstations.iec104 import (
    Iec104Outstation,
    Iec104OutstationSession,
    Iec104OutstationSettings,
    PointMapError,
)
from twin.outstations.model import StationCommand
from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.protocols.iec104 import (
    Asdu,
    AsduReceived,
    Cause,
    Connection,
    ConnectionSettings,
    InformationObject,
    Role,
    TimeTag,
    TypeId,
)
from twin.protocols.iec104 import elements as e
from twin.timebase import TimeBase

BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
CA = 47


def point(name: str, kind: PointKind, ioa: int, type_id: int, **more: object) -> PointDefinition:
    return PointDefinition("RTU_1", name, kind, "CB_1", name, PointAddress(CA, ioa, type_id), **more)  # type: ignore[arg-type]


POINTS = [
    point("position", PointKind.DOUBLE, 1, 3),
    point("trip", PointKind.SINGLE, 2, 30),
    point("i_a", PointKind.MEASURAND, 10, 13),
    point("v_kv", PointKind.MEASURAND, 11, 36),
    point("tap", PointKind.STEP_POSITION, 12, 5),
    point("energy", PointKind.COUNTER, 20, 15),
    point("operate", PointKind.DOUBLE_COMMAND, 100, 46),
    point("reset", PointKind.SINGLE_COMMAND, 101, 45, control_model=ControlModel.DIRECT),
    point("target", PointKind.SETPOINT, 102, 50, control_model=ControlModel.DIRECT),
]


class Device:
    """Keeps what it is told; refuses while ``rule`` is set."""

    def __init__(self) -> None:
        self.rule = ""
        self.heard: list[tuple[str, str, float, int]] = []

    def select(self, command: StationCommand, now: int) -> str:
        self._hear("select", command)
        return self.rule

    def operate(self, command: StationCommand, now: int) -> str:
        self._hear("operate", command)
        return self.rule

    def cancel(self, command: StationCommand, now: int) -> None:
        self._hear("cancel", command)

    def _hear(self, what: str, command: StationCommand) -> None:
        self.heard.append((what, command.point, command.value, command.ticket))


class Master:
    """A connection to one session of a station; what it gets comes at once."""

    def __init__(self, station: Iec104Outstation, now: int = 0, *, start: bool = True, **changes: int) -> None:
        self.station = station
        self.session: Iec104OutstationSession = station.open_session(now)
        self.connection = Connection(Role.CONTROLLING, ConnectionSettings(**changes), now)
        self.got: list[Asdu] = []
        if start:
            self.connection.start(now)
            self.exchange(now)

    def exchange(self, now: int) -> None:
        while True:
            there, back = self.connection.data_to_send(), self.session.payload_to_send()
            if not there and not back:
                return
            self.session.receive(there, now)
            events = self.connection.receive(back, now)
            self.got += [event.asdu for event in events if isinstance(event, AsduReceived)]

    def take(self, now: int) -> list[Asdu]:
        self.exchange(now)
        got, self.got = self.got, []
        return got

    def ask(self, asdu: Asdu, now: int) -> list[Asdu]:
        self.connection.send(asdu, now)
        return self.take(now)

    def leave(self, now: int) -> None:
        self.station.close_session(self.session, now)


def station(device: Device | None = None, **changes: object) -> Iec104Outstation:
    return Iec104Outstation("RTU_1", POINTS, device or Device(), BASE, Iec104OutstationSettings(**changes))  # type: ignore[arg-type]


def sample(
    name: str, value: float, at: int = 0, *, spontaneous: bool = True, quality: Quality = Quality.GOOD
) -> Sample:
    return Sample("RTU_1", name, value, quality, at, spontaneous)


def request(
    type_id: int, element: object = e.Empty(), cause: int = 6, ioa: int = 0, ca: int = CA, **more: object
) -> Asdu:
    return Asdu(type_id, cause, ca, (InformationObject(ioa, element),), **more)  # type: ignore[arg-type]


INTERROGATION = request(TypeId.C_IC_NA_1, e.Interrogation(20), originator=5)


def double(position: int, *, select: bool = False, cause: int = 6) -> Asdu:
    return request(TypeId.C_DC_NA_1, e.DoubleCommand(position, select), cause, ioa=100)


def verdict(asdu: Asdu) -> tuple[int, bool]:
    return asdu.cause, asdu.negative


# start, image, events


def test_outstation__announces_its_initialisation_once() -> None:
    rtu = station()
    master = Master(rtu)
    (announced,) = master.take(0)
    assert (announced.type_id, announced.cause, announced.common_address) == (70, 4, CA)
    assert announced.objects[0].element == e.EndOfInitialization()
    master.leave(1)
    assert Master(rtu, 2).take(2) == []


def test_interrogation__gives_the_whole_image_untagged_between_confirmation_and_termination() -> None:
    rtu = station()
    rtu.update([sample("position", 2, 5, spontaneous=False), sample("i_a", 12.5, spontaneous=False)], 5)
    rtu.update([sample("v_kv", 20.5, quality=Quality.SUBSTITUTED, spontaneous=False)], 5)
    master = Master(rtu, 10)
    master.take(10)
    first, *image, last = master.ask(INTERROGATION, 20)
    assert verdict(first) == (7, False)
    assert verdict(last) == (10, False)
    assert {asdu.originator for asdu in (first, *image, last)} == {5}
    assert {asdu.cause for asdu in image} == {20}
    by_type = {asdu.type_id: [(o.ioa, o.element) for o in asdu.objects] for asdu in image}
    assert by_type == {
        1: [(2, e.SinglePoint(False, Quality.INVALID))],
        3: [(1, e.DoublePoint(2))],
        5: [(12, e.StepPosition(0, quality=Quality.INVALID))],
        13: [(10, e.ShortFloat(12.5)), (11, e.ShortFloat(20.5, Quality.SUBSTITUTED))],
    }


def test_interrogation__packs_hundreds_of_points_into_few_asdus() -> None:
    """500 measurands at successive addresses: 48 fit one ASDU with SQ = 1, so 11 ASDUs."""
    many = [
        PointDefinition("R", f"m{i}", PointKind.MEASURAND, "X", "i_a", PointAddress(1, 1000 + i, 13))
        for i in range(500)
    ]
    rtu = Iec104Outstation("R", many, Device(), BASE)
    master = Master(rtu)
    master.take(0)
    answers = master.ask(request(100, e.Interrogation(20), ca=1), 1)
    assert len(answers) == 2 + 11
    assert sum(len(asdu.objects) for asdu in answers[1:-1]) == 500


def test_interrogation__of_a_group_or_its_deactivation_is_refused() -> None:
    master = Master(station())
    master.take(0)
    assert [verdict(a) for a in master.ask(request(100, e.Interrogation(21)), 1)] == [(7, True)]
    assert [verdict(a) for a in master.ask(request(100, e.Interrogation(20), cause=8), 1)] == [(9, True)]


def test_interrogation__to_the_broadcast_address_is_answered_by_every_common_address() -> None:
    two = [PointDefinition("R", f"p{ca}", PointKind.SINGLE, "X", "trip", PointAddress(ca, 1, 1)) for ca in (9, 4)]
    master = Master(Iec104Outstation("R", two, Device(), BASE))
    assert [a.common_address for a in master.take(0)] == [4, 9]
    answers = master.ask(request(100, e.Interrogation(20), ca=0xFFFF), 1)
    assert [(a.common_address, a.cause) for a in answers] == [(4, 7), (4, 20), (4, 10), (9, 7), (9, 20), (9, 10)]


def test_events__carry_the_source_time_in_the_tagged_type() -> None:
    rtu = station()
    master = Master(rtu)
    master.take(0)
    rtu.update([sample("position", 1, 35_250), sample("i_a", 3.5, 35_260), sample("trip", 1, 35_270)], 35_300)
    rtu.update([sample("v_kv", 19.0, 35_300, spontaneous=False)], 35_300)
    events = master.take(35_300)
    assert [(a.type_id, a.cause) for a in events] == [(31, 3), (36, 3), (30, 3)]
    assert [(o.ioa, o.element, o.time) for a in events for o in a.objects] == [
        (1, e.DoublePoint(1), TimeTag.at(35_250, BASE)),
        (10, e.ShortFloat(3.5), TimeTag.at(35_260, BASE)),
        (2, e.SinglePoint(True), TimeTag.at(35_270, BASE)),
    ]


def test_events__of_one_update_share_asdus_by_type() -> None:
    rtu = station()
    master = Master(rtu)
    master.take(0)
    rtu.update([sample("i_a", 1.0, 1), sample("position", 1, 2), sample("v_kv", 2.0, 3), sample("i_a", 3.0, 4)], 5)
    events = master.take(5)
    assert [[o.ioa for o in a.objects] for a in events] == [[10, 11, 10], [1]]


def test_buffer__keeps_events_for_the_next_master_and_drops_the_oldest() -> None:
    rtu = station(event_limit=3)
    rtu.update([sample("i_a", 0.5, 0, spontaneous=False)], 0)
    for i in range(5):
        rtu.update([sample("i_a", float(i), i)], i)
    assert rtu.events_dropped == 2
    master = Master(rtu, 10)
    _, *events = master.take(10)
    assert [o.element.value for a in events for o in a.objects] == [2.0, 3.0, 4.0]
    assert rtu.events_dropped == 2


def test_buffer__holds_while_the_master_has_not_started() -> None:
    rtu = station()
    master = Master(rtu, start=False)
    rtu.update([sample("trip", 1, 1)], 1)
    assert master.take(1) == []
    master.connection.start(2)
    assert [a.type_id for a in master.take(2)] == [70, 30]


def test_buffer__takes_back_what_a_lost_master_did_not_acknowledge() -> None:
    rtu = station()
    lost = Master(rtu)
    lost.take(0)
    rtu.update([sample("i_a", 1.0, 1)], 1)
    lost.take(1)
    for t in range(2, 20):
        rtu.update([sample("i_a", float(t), t)], t)  # the last ones wait behind the window of 12
    lost.session.payload_to_send()
    lost.leave(20)
    rtu.update([sample("i_a", 20.0, 20)], 20)
    events = Master(rtu, 30).take(30)
    assert [o.element.value for a in events for o in a.objects] == [float(t) for t in range(1, 21)]


def test_buffer__takes_back_what_a_stopped_master_did_not_get() -> None:
    rtu = station(connection=ConnectionSettings(k=1))
    master = Master(rtu, w=1)
    master.take(0)
    for t in (1, 2, 3):
        rtu.update([sample("i_a", float(t), t)], t)
    master.connection.stop(4)
    stopped = master.take(4)
    rtu.update([sample("i_a", 5.0, 5)], 5)
    master.connection.start(6)
    restarted = master.take(6)
    assert [[o.element.value for a in got for o in a.objects] for got in (stopped, restarted)] == [
        [1.0],
        [2.0, 3.0, 5.0],
    ]


def test_buffer__takes_back_the_asdus_that_the_window_held_back_at_the_stop() -> None:
    """One update of 60 values makes 4 ASDUs; with k = 1 three of them wait in the connection when it stops."""
    rtu = station(connection=ConnectionSettings(k=1))
    master = Master(rtu, w=1)
    master.take(0)
    rtu.update([sample("i_a", float(n), n) for n in range(60)], 60)
    master.connection.stop(61)
    stopped = master.take(61)
    assert [len(a.objects) for a in stopped] == [16]
    assert len(rtu.buffer) == 44
    master.connection.start(62)
    assert [o.element.value for a in stopped + master.take(62) for o in a.objects] == [float(n) for n in range(60)]


def test_sessions__all_get_the_same_events() -> None:
    rtu = station()
    masters = [Master(rtu), Master(rtu)]
    assert [len(m.take(0)) for m in masters] == [1, 0]
    rtu.update([sample("position", 2, 1)], 1)
    first, second = (m.take(1) for m in masters)
    assert first == second
    assert len(first) == 1
    masters[0].leave(2)
    assert len(rtu.buffer) == 0
    assert rtu.sessions == [masters[1].session]


def test_half_open_session__gives_its_unacknowledged_events_to_the_master_that_came_later() -> None:
    rtu = station()
    silent = Master(rtu)
    silent.take(0)
    rtu.update([sample("trip", 1, 1)], 1)
    silent.session.payload_to_send()
    fresh = Master(rtu, 5)
    rtu.update([sample("trip", 0, 6)], 6)
    assert [a.objects[0].element.value for a in fresh.take(6)] == [False]
    silent.leave(7)
    assert [a.objects[0].element.value for a in fresh.take(7)] == [True]


# services


def test_counters__are_answered_on_request_alone() -> None:
    rtu = station()
    rtu.update([sample("energy", 1234, spontaneous=False)], 0)
    master = Master(rtu)
    master.take(0)
    con, image, term = master.ask(request(101, e.CounterInterrogation(5)), 1)
    assert (verdict(con), verdict(term)) == ((7, False), (10, False))
    assert (image.type_id, image.cause, image.objects[0].element) == (15, 37, e.IntegratedTotal(1234))


def test_read__gives_one_value_with_cause_request() -> None:
    rtu = station()
    rtu.update([sample("v_kv", 20.5, spontaneous=False)], 0)
    master = Master(rtu)
    master.take(0)
    (answer,) = master.ask(request(102, cause=5, ioa=11), 1)
    assert (answer.type_id, answer.cause, answer.objects[0].element) == (13, 5, e.ShortFloat(20.5))


def test_clock__is_confirmed_with_the_time_of_the_station_and_the_offset_remembered() -> None:
    rtu = station()
    master = Master(rtu)
    master.take(0)
    command = Asdu(103, 6, CA, (InformationObject(0, time=TimeTag.at(60_000, BASE)),))
    (answer,) = master.ask(command, 60_080)
    assert verdict(answer) == (7, False)
    assert answer.objects[0].time == TimeTag.at(60_080, BASE)
    assert rtu.clock_offset_ms == -80


@pytest.mark.parametrize("tag", [TimeTag.at(0, BASE, invalid=True), TimeTag(26, 0, 0, 0, 0, 0)])
def test_clock__refuses_a_time_that_is_none(tag: TimeTag) -> None:
    rtu = station()
    master = Master(rtu)
    master.take(0)
    assert [verdict(a) for a in master.ask(Asdu(103, 6, CA, (InformationObject(0, time=tag),)), 1)] == [(7, True)]
    assert rtu.clock_offset_ms is None


def test_test_command__is_mirrored() -> None:
    master = Master(station())
    master.take(0)
    stamped = Asdu(107, 6, CA, (InformationObject(0, e.TestWord(0x1234), TimeTag.at(5, BASE)),))
    (answer,) = master.ask(stamped, 6)
    assert (verdict(answer), answer.objects) == ((7, False), stamped.objects)
    assert [verdict(a) for a in master.ask(request(104, e.TestWord(0x55AA)), 7)] == [(7, False)]
    assert [verdict(a) for a in master.ask(request(104, e.TestWord(1)), 8)] == [(7, True)]


@pytest.mark.parametrize(
    ("asdu", "cause"),
    [
        (Asdu(200, 6, CA, opaque=b"\x01\x02\x03\x04", opaque_count=1), Cause.UNKNOWN_TYPE),
        (request(TypeId.C_RP_NA_1, e.ResetProcess(), ioa=1), Cause.UNKNOWN_OBJECT_ADDRESS),
        (request(TypeId.C_BO_NA_1, e.BitstringCommand(1), ioa=1), Cause.UNKNOWN_OBJECT_ADDRESS),
        (request(TypeId.M_SP_NA_1, e.SinglePoint(True), cause=3), Cause.UNKNOWN_TYPE),
        (request(TypeId.C_IC_NA_1, e.Interrogation(), cause=3), Cause.UNKNOWN_CAUSE),
        (request(TypeId.C_DC_NA_1, e.DoubleCommand(1), cause=5, ioa=100), Cause.UNKNOWN_CAUSE),
        (request(TypeId.C_IC_NA_1, e.Interrogation(), ca=48), Cause.UNKNOWN_COMMON_ADDRESS),
        (request(TypeId.C_DC_NA_1, e.DoubleCommand(1), ioa=100, ca=0xFFFF), Cause.UNKNOWN_COMMON_ADDRESS),
        (request(TypeId.C_IC_NA_1, e.Interrogation(), ioa=1), Cause.UNKNOWN_OBJECT_ADDRESS),
        (request(TypeId.C_CI_NA_1, e.CounterInterrogation(), ioa=1), Cause.UNKNOWN_OBJECT_ADDRESS),
        (request(TypeId.C_RD_NA_1, cause=5, ioa=999), Cause.UNKNOWN_OBJECT_ADDRESS),
        (request(TypeId.C_RD_NA_1, cause=5, ioa=100), Cause.UNKNOWN_OBJECT_ADDRESS),
        (request(TypeId.C_DC_NA_1, e.DoubleCommand(1), ioa=1), Cause.UNKNOWN_OBJECT_ADDRESS),
        (request(TypeId.C_SC_NA_1, e.SingleCommand(True), ioa=100), Cause.UNKNOWN_OBJECT_ADDRESS),
    ],
)
def test_unknown__is_mirrored_with_its_cause_and_negative(asdu: Asdu, cause: Cause) -> None:
    master = Master(station())
    master.take(0)
    (answer,) = master.ask(asdu, 1)
    assert verdict(answer) == (cause, True)
    assert (answer.type_id, answer.objects, answer.opaque) == (asdu.type_id, asdu.objects, asdu.opaque)


def test_malformed_frame__closes_the_session_and_keeps_the_station() -> None:
    rtu = station()
    master = Master(rtu)
    master.session.receive(bytes.fromhex("680a00000000 0d8105000100"), 1)
    assert "malformed frame" in master.session.close_reason
    master.leave(2)
    assert len(Master(rtu, 3).ask(INTERROGATION, 3)) == 6


# commands


def test_command__select_then_execute_then_termination() -> None:
    device = Device()
    rtu = station(device)
    master = Master(rtu)
    master.take(0)
    (selected,) = master.ask(double(1, select=True), 10)
    assert (verdict(selected), selected.objects[0].element.select) == ((7, False), True)
    (activated,) = master.ask(double(1), 20)
    assert (verdict(activated), activated.objects[0].element.select) == ((7, False), False)
    assert device.heard == [("select", "operate", 1.0, 1), ("operate", "operate", 1.0, 1)]
    assert master.take(30) == []
    rtu.finished(1, True, 40)
    assert [verdict(a) for a in master.take(40)] == [(10, False)]
    rtu.finished(1, True, 41)
    assert master.take(41) == []


def test_command__direct_with_negative_termination() -> None:
    device = Device()
    rtu = station(device)
    master = Master(rtu)
    master.take(0)
    set_point = request(TypeId.C_SE_NC_1, e.SetpointFloat(12.5), ioa=102)
    assert [verdict(a) for a in master.ask(set_point, 1)] == [(7, False)]
    assert [verdict(a) for a in master.ask(set_point, 2)] == [(7, True)]  # the device is still at it
    rtu.finished(1, False, 3)
    assert [verdict(a) for a in master.take(3)] == [(10, True)]
    assert device.heard == [("operate", "target", 12.5, 1)]


def test_command__finished_inside_operate_terminates_after_its_confirmation() -> None:
    class Instant(Device):
        def operate(self, command: StationCommand, now: int) -> str:
            rtu.finished(command.ticket, True, now)
            return ""

    rtu = station(Instant())
    master = Master(rtu)
    master.take(0)
    answers = master.ask(request(TypeId.C_SC_NA_1, e.SingleCommand(True), ioa=101), 1)
    assert [verdict(a) for a in answers] == [(7, False), (10, False)]


@pytest.mark.parametrize(
    "asdu",
    [
        double(1),  # not selected
        double(0, select=True),  # not permitted
        double(3, select=True),
        request(TypeId.C_SC_NA_1, e.SingleCommand(True, select=True), ioa=101),  # a direct point
    ],
)
def test_command__is_refused_without_asking_the_device(asdu: Asdu) -> None:
    device = Device()
    master = Master(station(device))
    master.take(0)
    assert [verdict(a) for a in master.ask(asdu, 1)] == [(7, True)]
    assert device.heard == []


def test_command__device_refuses_select_and_execute() -> None:
    device = Device()
    master = Master(station(device))
    master.take(0)
    device.rule = "local"
    assert [verdict(a) for a in master.ask(double(1, select=True), 1)] == [(7, True)]
    device.rule = ""
    assert [verdict(a) for a in master.ask(double(1, select=True), 2)] == [(7, False)]
    device.rule = "local"
    assert [verdict(a) for a in master.ask(double(1), 3)] == [(7, True)]
    device.rule = ""
    assert [verdict(a) for a in master.ask(double(1), 4)] == [(7, True)]  # the select is used up


def test_command__select_runs_out() -> None:
    device = Device()
    master = Master(station(device))
    master.take(0)
    master.ask(double(1, select=True), 100)
    assert master.session.next_timer() == 10_100
    master.session.tick(10_100)
    assert device.heard[-1] == ("cancel", "operate", 1.0, 1)
    assert master.session.next_timer() > 10_100
    assert [verdict(a) for a in master.ask(double(1), 10_100)] == [(7, True)]


def test_command__late_execute_is_refused_even_before_the_timer_ran() -> None:
    master = Master(station(select_timeout_ms=500))
    master.take(0)
    master.ask(double(1, select=True), 100)
    assert [verdict(a) for a in master.ask(double(1), 600)] == [(7, True)]


def test_command__execute_of_another_value_releases_the_select() -> None:
    device = Device()
    master = Master(station(device))
    master.take(0)
    master.ask(double(1, select=True), 1)
    assert [verdict(a) for a in master.ask(double(2), 2)] == [(7, True)]
    assert device.heard[-1] == ("cancel", "operate", 1.0, 1)


def test_command__select_belongs_to_its_session() -> None:
    device = Device()
    rtu = station(device)
    owner, other = Master(rtu), Master(rtu)
    owner.take(0)
    owner.ask(double(1, select=True), 1)
    assert [verdict(a) for a in other.ask(double(1), 2)] == [(7, True)]
    assert [verdict(a) for a in other.ask(double(1, select=True), 3)] == [(7, True)]
    assert [verdict(a) for a in other.ask(double(1, select=True, cause=8), 3)] == [(9, True)]
    assert [verdict(a) for a in owner.ask(double(1), 4)] == [(7, False)]
    rtu.finished(1, True, 5)
    assert (len(owner.take(5)), len(other.take(5))) == (1, 0)


def test_command__cancel_releases_the_select() -> None:
    device = Device()
    master = Master(station(device))
    master.take(0)
    master.ask(double(1, select=True), 1)
    assert [verdict(a) for a in master.ask(double(1, select=True, cause=8), 2)] == [(9, False)]
    assert [verdict(a) for a in master.ask(double(1, select=True, cause=8), 3)] == [(9, True)]
    assert device.heard == [("select", "operate", 1.0, 1), ("cancel", "operate", 1.0, 1)]


def test_command__of_a_lost_session_is_released_and_ends_silently() -> None:
    device = Device()
    rtu = station(device)
    master = Master(rtu)
    master.take(0)
    master.ask(double(1, select=True), 1)
    master.ask(request(TypeId.C_SC_NA_1, e.SingleCommand(True), ioa=101), 2)
    master.leave(3)
    assert device.heard[-1] == ("cancel", "operate", 1.0, 1)
    rtu.finished(2, True, 4)
    assert Master(rtu, 5).take(5) == []


def test_command__test_bit_never_reaches_the_device() -> None:
    device = Device()
    master = Master(station(device))
    master.take(0)
    (answer,) = master.ask(request(TypeId.C_SC_NA_1, e.SingleCommand(True), ioa=101, test=True), 1)
    assert (verdict(answer), answer.test) == ((7, False), True)
    assert device.heard == []


def test_command__with_time_tag_operates_the_same_point() -> None:
    device = Device()
    master = Master(station(device))
    master.take(0)
    o = InformationObject(101, e.SingleCommand(True), TimeTag.at(1, BASE))
    assert [verdict(a) for a in master.ask(Asdu(TypeId.C_SC_TA_1, 6, CA, (o,)), 1)] == [(7, False)]
    assert device.heard == [("operate", "reset", 1.0, 1)]


# the map


def test_map__type_must_suit_the_kind() -> None:
    with pytest.raises(PointMapError, match="type 13 carries no double"):
        Iec104Outstation("R", [point("x", PointKind.DOUBLE, 1, 13)], Device(), BASE)


def test_map__address_is_used_once() -> None:
    with pytest.raises(PointMapError, match="point y: it has the address of x"):
        Iec104Outstation("R", [point("x", PointKind.SINGLE, 1, 1), point("y", PointKind.DOUBLE, 1, 3)], Device(), BASE)


@pytest.mark.parametrize("name", ["nowhere", "operate"])
def test_update__of_what_is_no_input_is_refused(name: str) -> None:
    with pytest.raises(PointMapError, match="it is no input of this station"):
        station().update([sample(name, 1)], 0)
