"""The controlling session against scripted ASDUs of a station: what it sends, and the events it gives."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from twin.links.iec104 import Iec104LinkSettings, Iec104MasterSession
from twin.links.model import ArrivedSample, CommandReply, LinkCommand, LinkEvent, ReplyKind, SessionEvent, SessionState
from twin.points.model import PointAddress, PointDefinition, PointKind, Quality, Sample, TimeSource
from twin.protocols.iec104 import (
    Asdu,
    AsduReceived,
    Connection,
    ConnectionSettings,
    InformationObject,
    Role,
    TimeTag,
    TypeId,
)
from twin.protocols.iec104 import elements as e
from twin.timebase import NEVER, TimeBase

BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
CA = 47


def point(name: str, kind: PointKind, ioa: int, type_id: int, ca: int = CA) -> PointDefinition:
    return PointDefinition("RTU_1", name, kind, "CB_1", name, PointAddress(ca, ioa, type_id))


POINTS = [
    point("position", PointKind.DOUBLE, 1, 3),
    point("i_a", PointKind.MEASURAND, 10, 13),
    point("energy", PointKind.COUNTER, 20, 15),
    point("operate", PointKind.DOUBLE_COMMAND, 100, 46),
    point("reset", PointKind.SINGLE_COMMAND, 101, 45),
    point("tap", PointKind.STEP_COMMAND, 102, 47),
    point("target", PointKind.SETPOINT, 103, 49),
]


class Station:
    """The other end: hands on whatever ASDU a test gives it."""

    def __init__(self, session: Iec104MasterSession, now: int = 0) -> None:
        self.session = session
        self.connection = Connection(Role.CONTROLLED, ConnectionSettings(), now)
        session.connected(now)

    def exchange(self, now: int) -> list[Asdu]:
        got: list[Asdu] = []
        while True:
            there, back = self.session.payload_to_send(), self.connection.data_to_send()
            if not there and not back:
                return got
            got += [ev.asdu for ev in self.connection.receive(there, now) if isinstance(ev, AsduReceived)]
            self.session.receive(back, now)

    def say(self, asdu: Asdu, now: int) -> list[LinkEvent]:
        self.connection.send(asdu, now)
        self.exchange(now)
        return self.session.take_events()


def interrogation(cause: int, ca: int = CA, **more: bool) -> Asdu:
    return Asdu(100, cause, ca, (InformationObject(0, e.Interrogation()),), **more)


def interrogated(settings: Iec104LinkSettings | None = None) -> tuple[Iec104MasterSession, Station]:
    session = Iec104MasterSession("RTU_1", POINTS, BASE, settings)
    station = Station(session)
    station.exchange(0)
    station.say(interrogation(7), 0)
    assert station.say(interrogation(10), 0)[-1] == SessionEvent("RTU_1", SessionState.INTERROGATED, 0)
    return session, station


def command(name: str, value: float, number: int = 1) -> LinkCommand:
    return LinkCommand(number, "RTU_1", name, value)


def states(events: list[LinkEvent]) -> list[SessionState]:
    return [event.state for event in events if isinstance(event, SessionEvent)]


def test_start__synchronises_and_interrogates_at_once_after_the_confirmation() -> None:
    session = Iec104MasterSession("RTU_1", POINTS, BASE, Iec104LinkSettings(originator=3))
    station = Station(session, 35_250)
    clock, general = station.exchange(35_250)
    assert (clock.type_id, clock.cause, clock.common_address, clock.originator) == (103, 6, CA, 3)
    assert clock.objects == (InformationObject(0, e.Empty(), TimeTag.at(35_250, BASE)),)
    assert (general.type_id, general.cause, general.objects) == (100, 6, (InformationObject(0, e.Interrogation(20)),))
    assert states(session.take_events()) == [SessionState.CONNECTED, SessionState.STARTED]
    assert station.say(interrogation(7), 35_260) == []
    assert states(station.say(interrogation(10), 35_270)) == [SessionState.INTERROGATED]


def test_start__several_common_addresses_are_all_interrogated_first() -> None:
    two = [point("a", PointKind.SINGLE, 1, 1, 9), point("b", PointKind.SINGLE, 1, 1, 4)]
    session = Iec104MasterSession("RTU_1", two, BASE)
    station = Station(session)
    asked = [(asdu.type_id, asdu.common_address) for asdu in station.exchange(0)]
    assert asked == [(103, 4), (103, 9), (100, 4), (100, 9)]
    session.take_events()
    assert station.say(interrogation(10, 9), 1) == []
    assert states(station.say(interrogation(10, 4), 2)) == [SessionState.INTERROGATED]


def test_interrogation__without_an_end_is_repeated() -> None:
    session = Iec104MasterSession("RTU_1", POINTS, BASE, Iec104LinkSettings(interrogation_limit_ms=5_000))
    station = Station(session)
    station.exchange(0)
    station.say(interrogation(7, negative=True), 1)
    assert session.next_timer() == 5_000
    session.tick(5_000)
    assert [asdu.type_id for asdu in station.exchange(5_000)] == [100]


def test_interrogation__follows_the_end_of_initialisation() -> None:
    _session, station = interrogated()
    station.connection.send(Asdu(70, 4, CA, (InformationObject(0, e.EndOfInitialization()),)), 1)
    assert [asdu.type_id for asdu in station.exchange(1)] == [100]
    assert states(station.say(interrogation(10), 2)) == [SessionState.INTERROGATED]


def test_interrogation__on_order() -> None:
    session, station = interrogated()
    session.interrogate(5)
    assert [asdu.type_id for asdu in station.exchange(5)] == [100]
    assert states(station.say(interrogation(10), 6)) == [SessionState.INTERROGATED]


def test_sample__untagged_is_stamped_on_arrival_and_tagged_by_the_device() -> None:
    _session, station = interrogated()
    image = (InformationObject(1, e.DoublePoint(2, Quality.SUBSTITUTED)),)
    assert station.say(Asdu(3, 20, CA, image), 700) == [
        ArrivedSample(Sample("RTU_1", "position", 2.0, Quality.SUBSTITUTED, 700, False, TimeSource.FRONT_END), 700)
    ]
    tag = TimeTag.at(640, BASE)
    assert station.say(Asdu(36, 3, CA, (InformationObject(10, e.ShortFloat(1.5), tag),)), 700) == [
        ArrivedSample(Sample("RTU_1", "i_a", 1.5, Quality.GOOD, 640, True, TimeSource.DEVICE), 700)
    ]


@pytest.mark.parametrize("tag", [TimeTag.at(640, BASE, invalid=True), TimeTag(26, 0, 0, 0, 0, 0)])
def test_sample__with_a_time_that_is_none_is_stamped_on_arrival(tag: TimeTag) -> None:
    _session, station = interrogated()
    (arrived,) = station.say(Asdu(31, 3, CA, (InformationObject(1, e.DoublePoint(1), tag),)), 700)
    assert isinstance(arrived, ArrivedSample)
    assert (arrived.sample.source_t_ms, arrived.sample.stamped_by) == (700, TimeSource.FRONT_END)


@pytest.mark.parametrize(
    ("cause", "spontaneous"), [(1, False), (2, False), (3, True), (5, False), (11, True), (20, False)]
)
def test_sample__is_spontaneous_by_its_cause(cause: int, spontaneous: bool) -> None:
    _session, station = interrogated()
    (arrived,) = station.say(Asdu(3, cause, CA, (InformationObject(1, e.DoublePoint(1)),)), 1)
    assert isinstance(arrived, ArrivedSample)
    assert arrived.sample.spontaneous is spontaneous


def test_sample__objects_of_one_asdu_keep_their_order_and_strangers_are_counted() -> None:
    session, station = interrogated()
    ioas = [10, 99, 10, 98, 10]
    objects = tuple(InformationObject(ioa, e.ShortFloat(float(i))) for i, ioa in enumerate(ioas))
    events = station.say(Asdu(13, 3, CA, objects), 1)
    assert [ev.sample.value for ev in events if isinstance(ev, ArrivedSample)] == [0.0, 2.0, 4.0]
    assert session.unknown_objects == 2
    assert station.say(Asdu(13, 3, 48, objects[:1]), 2) == []
    assert session.unknown_objects == 3


def test_sample__of_an_unsuitable_or_unknown_type_is_counted() -> None:
    session, station = interrogated()
    assert station.say(Asdu(13, 3, CA, (InformationObject(1, e.ShortFloat(1.0)),)), 1) == []
    assert station.say(Asdu(1, 3, CA, (InformationObject(100, e.SinglePoint(True)),)), 2) == []
    assert station.say(Asdu(150, 3, CA, opaque=b"\x00" * 4, opaque_count=1), 3) == []
    assert session.unsuitable_objects == 3
    assert session.close_reason == ""


@pytest.mark.parametrize(
    ("name", "value", "type_id", "element"),
    [
        ("operate", 1.0, 46, e.DoubleCommand(1, True, 3)),
        ("reset", 1.0, 45, e.SingleCommand(True, True, 3)),
        ("tap", -1.0, 47, e.StepCommand(1, True, 3)),
        ("target", 250.0, 49, e.SetpointScaled(250, True, 3)),
    ],
)
def test_command__goes_out_in_the_type_of_its_point(name: str, value: float, type_id: int, element: object) -> None:
    session, station = interrogated(Iec104LinkSettings(command_qualifier=3))
    session.select(command(name, value), 1)
    (sent,) = station.exchange(1)
    assert (sent.type_id, sent.cause, sent.objects[0].element) == (type_id, 6, element)


def test_command__with_time_tag_where_set() -> None:
    session, station = interrogated(Iec104LinkSettings(tagged_commands=True))
    session.operate(command("operate", 2.0), 640)
    (sent,) = station.exchange(640)
    assert (sent.type_id, sent.objects[0].element) == (TypeId.C_DC_TA_1, e.DoubleCommand(2))
    assert sent.objects[0].time == TimeTag.at(640, BASE)
    answer = Asdu(59, 7, CA, sent.objects)
    assert station.say(answer, 650) == [CommandReply("RTU_1", 1, ReplyKind.ACTIVATED, 650)]


def answer(cause: int, *, select: bool = False, negative: bool = False) -> Asdu:
    return Asdu(46, cause, CA, (InformationObject(100, e.DoubleCommand(1, select)),), negative=negative)


def test_command__select_operate_terminate() -> None:
    session, station = interrogated()
    session.select(command("operate", 1.0, 7), 1)
    assert station.say(answer(7, select=True), 2) == [CommandReply("RTU_1", 7, ReplyKind.SELECTED, 2)]
    session.operate(command("operate", 1.0, 7), 3)
    assert station.say(answer(7), 4) == [CommandReply("RTU_1", 7, ReplyKind.ACTIVATED, 4)]
    assert station.say(answer(10), 5) == [CommandReply("RTU_1", 7, ReplyKind.TERMINATED, 5)]
    assert station.say(answer(10), 6) == []
    assert session.unexpected_answers == 1


def test_command__cancelled() -> None:
    session, station = interrogated()
    session.select(command("operate", 1.0), 1)
    station.say(answer(7, select=True), 2)
    session.cancel(command("operate", 1.0), 3)
    assert [(a.cause, a.objects[0].element) for a in station.exchange(3)] == [(8, e.DoubleCommand(1, True))]
    assert station.say(answer(9, select=True), 4) == [CommandReply("RTU_1", 1, ReplyKind.CANCELLED, 4)]


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (7, "negative confirmation"),
        (44, "unknown type"),
        (45, "unknown cause"),
        (46, "unknown address"),
        (47, "unknown address"),
    ],
)
def test_command__refused_with_its_cause(cause: int, text: str) -> None:
    session, station = interrogated()
    session.operate(command("operate", 1.0), 1)
    assert station.say(answer(cause, negative=True), 2) == [CommandReply("RTU_1", 1, ReplyKind.REFUSED, 2, text)]


def test_command__negative_termination_is_a_refusal() -> None:
    session, station = interrogated()
    session.operate(command("operate", 1.0), 1)
    station.say(answer(7), 2)
    refused = CommandReply("RTU_1", 1, ReplyKind.REFUSED, 3, "negative confirmation")
    assert station.say(answer(10, negative=True), 3) == [refused]


def test_command__answer_nobody_waits_for_is_counted() -> None:
    session, station = interrogated()
    assert station.say(answer(7), 1) == []
    session.select(command("operate", 1.0), 2)
    assert station.say(answer(10), 3) == []
    assert station.say(answer(63), 3) == []
    assert session.unexpected_answers == 3


def test_command__newer_one_takes_the_place_of_an_unanswered_one() -> None:
    session, station = interrogated()
    session.select(command("operate", 1.0, 1), 1)
    session.select(command("operate", 1.0, 2), 2)
    assert station.say(answer(7, select=True), 3) == [CommandReply("RTU_1", 2, ReplyKind.SELECTED, 3)]


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [("nowhere", 1.0, "unknown point"), ("position", 1.0, "unknown point"), ("target", 1e9, "value not encodable")],
)
def test_command__that_cannot_be_sent_is_refused_here(name: str, value: float, cause: str) -> None:
    session, _ = interrogated()
    session.operate(command(name, value), 1)
    assert session.take_events() == [CommandReply("RTU_1", 1, ReplyKind.REFUSED, 1, cause)]


def test_command__before_the_start_is_refused_here() -> None:
    session = Iec104MasterSession("RTU_1", POINTS, BASE)
    session.operate(command("operate", 1.0), 1)
    assert session.take_events() == [CommandReply("RTU_1", 1, ReplyKind.REFUSED, 1, "no data transfer")]


def test_t1__wants_the_connection_closed() -> None:
    session = Iec104MasterSession("RTU_1", POINTS, BASE)
    session.connected(0)
    assert session.next_timer() == 15_000
    session.tick(15_000)
    assert session.close_reason.startswith("t1 expired: STARTDT act")
    assert session.next_timer() == NEVER
    session.disconnected(15_000, session.close_reason)
    lost = session.take_events()[-1]
    assert isinstance(lost, SessionEvent)
    assert (lost.state, lost.detail[:10]) == (SessionState.LOST, "t1 expired")
    assert (session.close_reason, session.next_timer()) == ("", NEVER)


def test_lost__session_starts_all_over() -> None:
    session, _station = interrogated()
    session.select(command("operate", 1.0), 1)
    session.disconnected(5, "connection reset by peer")
    assert session.take_events() == [SessionEvent("RTU_1", SessionState.LOST, 5, "connection reset by peer")]
    assert session.payload_to_send() == b""
    again = Station(session, 10)
    assert [asdu.type_id for asdu in again.exchange(10)] == [103, 100]
    assert states(again.say(interrogation(10), 11)) == [
        SessionState.CONNECTED, SessionState.STARTED, SessionState.INTERROGATED,
    ]  # fmt: skip


def test_malformed_frame__wants_the_connection_closed() -> None:
    session, _ = interrogated()
    session.receive(bytes.fromhex("680a04000400 0d8105000100"), 3)
    assert session.close_reason == "malformed frame: M_ME_NC_1 ends before its 1 objects at octet 12"
    session.operate(command("operate", 1.0), 4)
    assert session.take_events() == [CommandReply("RTU_1", 1, ReplyKind.REFUSED, 4, "no data transfer")]
