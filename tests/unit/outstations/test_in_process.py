"""The controlled side of the in-process link, message by message."""

from __future__ import annotations

import json
from typing import Any

import pytest

from twin.outstations.in_process import InProcessOutstation, InProcessOutstationSession
from twin.outstations.model import StationCommand
from twin.outstations.silent import SilentOutstation
from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.timebase import NEVER

OPEN, CLOSED = 1.0, 2.0
REFUSED = "negative confirmation"


def point(name: str, kind: PointKind, model: ControlModel = ControlModel.SELECT_BEFORE_OPERATE) -> PointDefinition:
    return PointDefinition("RTU_1", name, kind, "CB_1", name, PointAddress(1, 1, 1), control_model=model)


POINTS = (
    point("position", PointKind.DOUBLE),
    point("operate", PointKind.DOUBLE_COMMAND),
    point("other", PointKind.DOUBLE_COMMAND),
    point("direct", PointKind.DOUBLE_COMMAND, ControlModel.DIRECT),
)


class Device:
    """Writes down what it is asked, and refuses the rules in ``refuses``."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.refuses: dict[str, str] = {}
        self.at_once: InProcessOutstation | None = None

    def select(self, command: StationCommand, now: int) -> str:
        return self._ask("select", command, now)

    def operate(self, command: StationCommand, now: int) -> str:
        rule = self._ask("operate", command, now)
        if self.at_once and not rule:
            self.at_once.finished(command.ticket, True, now)
        return rule

    def cancel(self, command: StationCommand, now: int) -> None:
        self._ask("cancel", command, now)

    def _ask(self, verb: str, command: StationCommand, now: int) -> str:
        self.asked.append((now, verb, command.point, command.value, command.ticket))
        return self.refuses.get(verb, "")


class Rig:
    """A station with one master that has started."""

    def __init__(self) -> None:
        self.device = Device()
        self.station = InProcessOutstation("RTU_1", POINTS, self.device)
        self.session = self.master()

    def master(self, now: int = 0) -> InProcessOutstationSession:
        session = self.station.open_session(now)
        session.receive([["start"]], now)
        session.payload_to_send()
        return session

    def say(self, now: int, *message: Any, session: InProcessOutstationSession | None = None) -> list[Any]:
        speaker = session or self.session
        speaker.receive([list(message)], now)
        return speaker.payload_to_send()

    def event(self, value: float, t_ms: int, *, spontaneous: bool = True) -> None:
        self.station.update([Sample("RTU_1", "position", value, Quality.GOOD, t_ms, spontaneous)], t_ms)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def restored(rig: Rig) -> Rig:
    again = Rig()
    again.station.restore(json.loads(json.dumps(rig.station.snapshot())))
    again.session = again.station.sessions[0]
    return again


class TestData:
    def test_station__answers_an_interrogation_with_its_image(self, rig: Rig) -> None:
        assert rig.say(0, "interrogate") == [["image", []]]
        rig.event(OPEN, 10, spontaneous=False)
        rig.event(CLOSED, 20)
        rig.session.payload_to_send()
        assert rig.say(30, "interrogate") == [["image", [["position", CLOSED, 0, 20]]]]

    def test_station__answers_a_test(self, rig: Rig) -> None:
        assert rig.say(0, "test") == [["tested"]]

    def test_station__sends_events_and_keeps_the_rest_to_itself(self, rig: Rig) -> None:
        rig.event(OPEN, 10, spontaneous=False)
        assert rig.session.payload_to_send() == []
        rig.event(CLOSED, 20)
        assert rig.session.payload_to_send() == [["samples", [["position", CLOSED, 0, 20]]]]

    def test_station__sends_no_events_before_the_start(self) -> None:
        station = InProcessOutstation("RTU_1", POINTS, Device())
        session = station.open_session(0)
        station.update([Sample("RTU_1", "position", OPEN, Quality.GOOD, 10)], 10)
        assert session.payload_to_send() == []
        session.receive([["start"]], 20)
        assert session.payload_to_send() == [["started"], ["samples", [["position", OPEN, 0, 10]]]]

    def test_station__keeps_events_while_no_master_is_there(self, rig: Rig) -> None:
        rig.station.close_session(rig.session, 0)
        rig.event(OPEN, 10)
        rig.event(CLOSED, 20)
        session = rig.station.open_session(30)
        rows = [["position", OPEN, 0, 10], ["position", CLOSED, 0, 20]]
        assert rig.say(30, "start", session=session) == [["started"], ["samples", rows]]
        assert rig.say(40, "start", session=rig.station.open_session(40)) == [["started"]]

    def test_station__keeps_the_newest_events_when_there_are_too_many(self, rig: Rig) -> None:
        rig.station.close_session(rig.session, 0)
        for t_ms in range(1_003):
            rig.event(OPEN, t_ms)
        [_, [_, rows]] = rig.say(2_000, "start", session=rig.station.open_session(2_000))
        assert [row[3] for row in rows] == list(range(3, 1_003))

    def test_station__gives_events_without_acknowledgement_to_the_next_master(self, rig: Rig) -> None:
        for t_ms in (10, 20, 30):
            rig.event(OPEN, t_ms)
        rig.session.payload_to_send()
        rig.session.receive([["acknowledge", 2]], 40)
        rig.event(CLOSED, 50)  # made, and not sent any more
        rig.station.close_session(rig.session, 50)
        rig.event(OPEN, 60)
        [_, [_, rows]] = rig.say(70, "start", session=rig.station.open_session(70))
        assert [row[3] for row in rows] == [30, 50, 60]

    def test_station__events_that_another_master_has_are_not_repeated(self, rig: Rig) -> None:
        other = rig.master()
        rig.event(OPEN, 10)
        assert other.payload_to_send() == rig.session.payload_to_send()
        rig.station.close_session(rig.session, 20)
        assert other.payload_to_send() == []
        rig.station.close_session(other, 30)
        [_, [_, rows]] = rig.say(40, "start", session=rig.station.open_session(40))
        assert [row[3] for row in rows] == [10]

    def test_session__ends_when_events_stay_without_acknowledgement_for_15_s(self, rig: Rig) -> None:
        assert rig.session.next_timer() == NEVER
        rig.event(OPEN, 1_000)
        rig.event(CLOSED, 4_000)
        assert rig.session.next_timer() == 16_000
        rig.session.receive([["acknowledge", 1]], 9_000)
        assert rig.session.next_timer() == 19_000
        rig.session.tick(18_999)
        assert rig.session.close_reason == ""
        rig.session.tick(19_000)
        assert rig.session.close_reason == "events not acknowledged within 15000 ms"
        assert rig.session.next_timer() == NEVER


class TestCommands:
    def test_command__select_operate_and_termination(self, rig: Rig) -> None:
        assert rig.say(0, "select", 7, "operate", OPEN) == [["reply", 7, "selected", ""]]
        assert rig.say(100, "operate", 7, "operate", OPEN) == [["reply", 7, "activated", ""]]
        assert rig.device.asked == [(0, "select", "operate", OPEN, 1), (100, "operate", "operate", OPEN, 1)]
        rig.station.finished(1, True, 200)
        assert rig.session.payload_to_send() == [["reply", 7, "terminated", ""]]

    def test_command__that_fails_in_the_device_ends_negatively(self, rig: Rig) -> None:
        rig.say(0, "operate", 7, "direct", OPEN)
        rig.station.finished(1, False, 200)
        assert rig.session.payload_to_send() == [["reply", 7, "refused", REFUSED]]

    def test_command__done_at_once_is_confirmed_first(self, rig: Rig) -> None:
        rig.device.at_once = rig.station
        assert rig.say(0, "operate", 7, "direct", OPEN) == [
            ["reply", 7, "activated", ""],
            ["reply", 7, "terminated", ""],
        ]

    def test_command__finished_twice_or_unknown_says_nothing(self, rig: Rig) -> None:
        rig.say(0, "operate", 7, "direct", OPEN)
        for ticket in (1, 1, 99):
            rig.station.finished(ticket, True, 100)
        assert rig.session.payload_to_send() == [["reply", 7, "terminated", ""]]

    @pytest.mark.parametrize("verb", ["select", "operate", "cancel"])
    @pytest.mark.parametrize("name", ["nowhere", "position"])
    def test_command__for_what_is_no_output_is_refused(self, rig: Rig, verb: str, name: str) -> None:
        assert rig.say(0, verb, 7, name, OPEN) == [["reply", 7, "refused", "unknown address"]]
        assert rig.device.asked == []

    @pytest.mark.parametrize(
        ("before", "message"),
        [
            ([], ["operate", 7, "operate", OPEN]),
            ([["select", 7, "operate", OPEN]], ["operate", 7, "operate", CLOSED]),
            ([["select", 7, "operate", OPEN]], ["operate", 7, "other", OPEN]),
            ([["select", 7, "operate", OPEN], ["operate", 7, "operate", OPEN]], ["operate", 7, "operate", OPEN]),
            ([["select", 7, "operate", OPEN], ["operate", 7, "operate", OPEN]], ["select", 8, "operate", CLOSED]),
            ([["select", 7, "operate", OPEN], ["cancel", 7, "operate", OPEN]], ["operate", 7, "operate", OPEN]),
            ([["operate", 7, "direct", OPEN]], ["operate", 8, "direct", CLOSED]),
            ([], ["select", 7, "direct", OPEN]),
            ([], ["cancel", 7, "operate", OPEN]),
        ],
        ids=[
            "operate without select",
            "operate with another value",
            "operate of another point",
            "operate a second time",
            "select while the device moves",
            "operate after cancel",
            "direct operate while the device moves",
            "select of a direct point",
            "cancel without select",
        ],
    )
    def test_command__out_of_turn_is_refused(self, rig: Rig, before: list[list[Any]], message: list[Any]) -> None:
        for earlier in before:
            rig.say(0, *earlier)
        asked = [row[1] for row in rig.device.asked]
        assert rig.say(10, *message) == [["reply", message[1], "refused", REFUSED]]
        assert [row[1] for row in rig.device.asked if row[1] != "cancel"] == [v for v in asked if v != "cancel"]

    def test_command__with_another_value_gives_the_point_back(self, rig: Rig) -> None:
        rig.say(0, "select", 7, "operate", OPEN)
        rig.say(10, "operate", 7, "operate", CLOSED)
        assert rig.device.asked[-1] == (10, "cancel", "operate", OPEN, 1)
        assert rig.say(20, "select", 8, "operate", CLOSED) == [["reply", 8, "selected", ""]]

    @pytest.mark.parametrize("verb", ["select", "operate"])
    def test_command__that_the_device_refuses(self, rig: Rig, verb: str) -> None:
        rig.device.refuses = {verb: "local"}
        name = "operate" if verb == "select" else "direct"
        assert rig.say(0, verb, 7, name, OPEN) == [["reply", 7, "refused", REFUSED]]
        rig.device.refuses = {}
        assert rig.say(10, verb, 8, name, OPEN)[0][2] in ("selected", "activated")

    def test_command__of_a_second_master_waits_for_the_first(self, rig: Rig) -> None:
        other = rig.master()
        rig.say(0, "select", 7, "operate", OPEN)
        for verb in ("select", "operate", "cancel"):
            assert rig.say(10, verb, 7, "operate", OPEN, session=other) == [["reply", 7, "refused", REFUSED]]
        assert rig.say(20, "cancel", 7, "operate", OPEN) == [["reply", 7, "cancelled", ""]]
        assert rig.say(30, "select", 7, "operate", OPEN, session=other) == [["reply", 7, "selected", ""]]

    def test_command__same_number_of_two_masters_is_told_to_the_right_one(self, rig: Rig) -> None:
        other = rig.master()
        rig.say(0, "operate", 7, "direct", OPEN)
        rig.say(0, "select", 7, "operate", CLOSED, session=other)
        rig.say(0, "operate", 7, "operate", CLOSED, session=other)
        rig.station.finished(2, True, 100)
        assert (rig.session.payload_to_send(), other.payload_to_send()) == ([], [["reply", 7, "terminated", ""]])

    def test_select__again_by_the_same_master_renews_it(self, rig: Rig) -> None:
        rig.say(0, "select", 7, "operate", OPEN)
        rig.say(9_000, "select", 8, "operate", CLOSED)
        assert rig.say(15_000, "operate", 8, "operate", CLOSED) == [["reply", 8, "activated", ""]]

    def test_select__runs_out_after_10_s_and_the_device_is_told(self, rig: Rig) -> None:
        rig.say(0, "select", 7, "operate", OPEN)
        assert rig.session.next_timer() == 10_000
        rig.session.tick(9_999)
        assert rig.device.asked == [(0, "select", "operate", OPEN, 1)]
        rig.session.tick(10_000)
        assert rig.device.asked[1:] == [(10_000, "cancel", "operate", OPEN, 1)]
        assert rig.say(10_001, "operate", 7, "operate", OPEN) == [["reply", 7, "refused", REFUSED]]

    @pytest.mark.parametrize(("now", "kind"), [(9_999, "activated"), (10_000, "refused")])
    def test_select__stands_until_just_before_its_limit(self, rig: Rig, now: int, kind: str) -> None:
        rig.say(0, "select", 7, "operate", OPEN)
        assert rig.say(now, "operate", 7, "operate", OPEN)[0][2] == kind

    def test_session__that_closes_gives_its_points_back_and_gets_no_termination(self, rig: Rig) -> None:
        rig.say(0, "select", 7, "operate", OPEN)
        rig.say(0, "operate", 8, "direct", OPEN)
        rig.station.close_session(rig.session, 50)
        assert rig.device.asked[-1] == (50, "cancel", "operate", OPEN, 1)
        other = rig.master()
        assert rig.say(60, "operate", 9, "direct", OPEN, session=other)[0][2] == "refused"  # it still moves
        rig.station.finished(2, True, 100)
        assert other.payload_to_send() == []
        assert rig.say(110, "operate", 9, "direct", OPEN, session=other)[0][2] == "activated"


class TestSnapshot:
    def test_snapshot__goes_on_in_mid_dialogue(self, rig: Rig) -> None:
        rig.event(OPEN, 10)
        rig.say(20, "select", 7, "operate", OPEN)
        rig.say(30, "operate", 8, "direct", OPEN)
        rig.session.receive([["interrogate"]], 40)
        again = restored(rig)
        assert again.station.snapshot() == rig.station.snapshot()
        for one in (rig, again):
            one.device.asked.clear()
            one.station.finished(2, True, 50)
            one.session.receive([["operate", 7, "operate", OPEN]], 60)
            one.event(CLOSED, 70)
        assert again.session.payload_to_send() == rig.session.payload_to_send()
        assert again.device.asked == rig.device.asked == [(60, "operate", "operate", OPEN, 1)]
        assert again.session.next_timer() == rig.session.next_timer() == 15_010
        for one in (rig, again):
            one.station.close_session(one.session, 80)
        assert again.station.snapshot() == rig.station.snapshot()

    def test_snapshot__keeps_buffer_and_image(self, rig: Rig) -> None:
        rig.station.close_session(rig.session, 0)
        rig.event(OPEN, 10)
        again = Rig()
        again.station.restore(json.loads(json.dumps(rig.station.snapshot())))
        assert again.station.sessions == []
        session = again.station.open_session(20)
        assert session.number == 2
        assert again.say(20, "start", session=session)[1] == ["samples", [["position", OPEN, 0, 10]]]
        assert again.say(20, "interrogate", session=session) == [["image", [["position", OPEN, 0, 10]]]]

    def test_snapshot__stays_as_it_was_taken(self, rig: Rig) -> None:
        rig.say(0, "select", 7, "operate", OPEN)
        taken = rig.station.snapshot()
        before = json.dumps(taken)
        rig.event(OPEN, 10)
        rig.say(20, "operate", 7, "operate", OPEN)
        assert json.dumps(taken) == before


def test_silent_station__takes_connections_and_says_nothing() -> None:
    station = SilentOutstation("RTU_1")
    session = station.open_session(0)
    session.receive([["start"]], 0)
    station.update([Sample("RTU_1", "position", OPEN, Quality.GOOD, 10)], 10)
    station.finished(1, True, 20)
    session.tick(60_000)
    assert (len(session.payload_to_send()), session.close_reason, session.next_timer()) == (0, "", NEVER)
    again = SilentOutstation("RTU_1")
    again.restore(station.snapshot())
    assert len(again.sessions) == 1
    again.close_session(again.sessions[0], 30)
    assert again.snapshot() == {"sessions": 0}
