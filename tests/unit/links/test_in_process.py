"""The controlling side of the in-process link, message by message."""

from __future__ import annotations

import json

import pytest

from twin.links.in_process import InProcessMasterSession
from twin.links.model import ArrivedSample, CommandReply, LinkCommand, ReplyKind, SessionEvent, SessionState
from twin.points.model import Quality, Sample
from twin.timebase import NEVER

ORDER = LinkCommand(7, "RTU_1", "CB_1.operate", 1.0)


def started(now: int = 0) -> InProcessMasterSession:
    """A session that has been interrogated at ``now`` and has nothing left to say."""
    session = InProcessMasterSession("RTU_1")
    session.connected(now)
    session.receive([["started"]], now)
    session.receive([["image", []]], now)
    session.take_events()
    session.payload_to_send()
    return session


def test_session__starts_and_interrogates_by_itself() -> None:
    session = InProcessMasterSession("RTU_1")
    assert session.next_timer() == NEVER
    session.connected(0)
    assert session.payload_to_send() == [["start"]]
    assert session.payload_to_send() == []
    session.receive([["started"]], 160)
    assert session.payload_to_send() == [["interrogate"]]
    session.receive([["image", [["CB_1.position", 2.0, 0, 55], ["CB_1.trip", 0.0, 0x40, 66]]]], 320)
    states = [SessionState.CONNECTED, SessionState.STARTED]
    assert session.take_events() == [
        *(SessionEvent("RTU_1", state, t) for state, t in zip(states, (0, 160), strict=True)),
        # interrogated values carry no time of their own
        ArrivedSample(Sample("RTU_1", "CB_1.position", 2.0, Quality.GOOD, 320, False), 320),
        ArrivedSample(Sample("RTU_1", "CB_1.trip", 0.0, Quality.NOT_TOPICAL, 320, False), 320),
        SessionEvent("RTU_1", SessionState.INTERROGATED, 320),
    ]
    assert session.take_events() == []


def test_session__events_keep_their_source_time_and_quality() -> None:
    session = started()
    session.receive([["samples", [["CB_1.position", 1.0, 0x10, 4_000], ["CB_1.trip", 1.0, 0, 3_900]]]], 5_000)
    assert session.take_events() == [
        ArrivedSample(Sample("RTU_1", "CB_1.position", 1.0, Quality.BLOCKED, 4_000), 5_000),
        ArrivedSample(Sample("RTU_1", "CB_1.trip", 1.0, Quality.GOOD, 3_900), 5_000),
    ]


@pytest.mark.parametrize("verb", ["select", "operate", "cancel"])
def test_session__carries_commands_with_their_number(verb: str) -> None:
    session = started()
    getattr(session, verb)(ORDER, 1_000)
    assert session.payload_to_send() == [[verb, 7, "CB_1.operate", 1.0]]


def test_session__passes_replies_on_with_their_cause() -> None:
    session = started()
    session.receive([["reply", 7, "selected", ""], ["reply", 8, "refused", "negative confirmation"]], 1_000)
    assert session.take_events() == [
        CommandReply("RTU_1", 7, ReplyKind.SELECTED, 1_000),
        CommandReply("RTU_1", 8, ReplyKind.REFUSED, 1_000, "negative confirmation"),
    ]


def test_session__answer_to_a_command_that_was_given_up_is_not_passed_on() -> None:
    session = started()
    session.select(ORDER, 1_000)
    session.cancel(ORDER, 1_050)
    session.receive([["reply", 7, "selected", ""]], 1_160)
    assert session.take_events() == []
    session.receive([["reply", 7, "cancelled", ""]], 1_210)
    assert session.take_events() == [CommandReply("RTU_1", 7, ReplyKind.CANCELLED, 1_210)]


class TestSupervision:
    """Limits as of IEC 60870-5-104: T1 15 s, T2 10 s, T3 20 s, w 8."""

    def test_session__unanswered_start_ends_it_after_15_s(self) -> None:
        session = InProcessMasterSession("RTU_1")
        session.connected(1_000)
        assert session.next_timer() == 16_000
        session.tick(15_999)
        assert session.close_reason == ""
        session.tick(16_000)
        assert session.close_reason == "no answer to start within 15000 ms"
        assert session.next_timer() == NEVER

    def test_session__quiet_station_is_tested_after_20_s(self) -> None:
        session = started(1_000)
        assert session.next_timer() == 21_000
        session.tick(21_000)
        assert session.payload_to_send() == [["test"]]
        assert session.next_timer() == 36_000
        session.receive([["tested"]], 21_160)
        assert session.next_timer() == 41_160

    def test_session__unanswered_test_ends_it(self) -> None:
        session = started()
        session.tick(20_000)
        session.tick(35_000)
        assert session.close_reason == "no answer to test within 15000 ms"

    def test_session__unanswered_command_ends_it(self) -> None:
        session = started()
        session.select(ORDER, 1_000)
        session.tick(16_000)
        assert session.close_reason == "no answer to command 7 within 15000 ms"

    def test_session__unanswered_interrogation_ends_it(self) -> None:
        session = started()
        session.interrogate(2_000)
        session.interrogate(9_000)
        session.tick(17_000)
        assert session.close_reason == "no answer to interrogation within 15000 ms"

    def test_session__lost_one_starts_afresh(self) -> None:
        session = started()
        session.select(ORDER, 1_000)
        session.tick(16_000)
        session.disconnected(16_000, session.close_reason)
        assert session.close_reason == ""
        assert session.next_timer() == NEVER
        assert session.take_events() == [
            SessionEvent("RTU_1", SessionState.LOST, 16_000, "no answer to command 7 within 15000 ms")
        ]
        session.connected(21_000)
        assert session.payload_to_send() == [["start"]]  # and not the old command

    def test_session__acknowledges_eight_messages_with_events_at_once(self) -> None:
        session = started()
        for n in range(8):
            assert session.payload_to_send() == []
            session.receive([["samples", [["CB_1.i_a", float(n), 0, n]]]], 1_000 + n)
        assert session.payload_to_send() == [["acknowledge", 8]]
        assert session.payload_to_send() == []

    def test_session__acknowledges_fewer_after_10_s(self) -> None:
        session = started()
        session.receive([["samples", []]], 1_000)
        session.receive([["samples", []]], 5_000)
        assert session.next_timer() == 11_000
        session.tick(11_000)
        assert session.payload_to_send() == [["acknowledge", 2]]
        assert session.next_timer() == 25_000  # 5000 + 20 s of quiet

    def test_session__acknowledges_with_whatever_else_it_sends(self) -> None:
        session = started()
        session.receive([["samples", []]], 1_000)
        session.select(ORDER, 2_000)
        assert session.payload_to_send() == [["select", 7, "CB_1.operate", 1.0], ["acknowledge", 1]]


def test_snapshot__goes_on_where_it_was_taken() -> None:
    one = started()
    one.receive([["samples", []]], 1_000)
    one.select(ORDER, 2_000)
    one.cancel(ORDER, 2_000)
    one.take_events()
    other = InProcessMasterSession("RTU_1")
    other.restore(json.loads(json.dumps(one.snapshot())))
    assert other.snapshot() == one.snapshot()
    for session in (one, other):
        session.receive([["reply", 7, "selected", ""], ["reply", 7, "cancelled", ""]], 2_160)
        session.tick(20_000)
    assert other.take_events() == one.take_events()
    assert other.payload_to_send() == one.payload_to_send()
    assert other.next_timer() == one.next_timer()


def test_snapshot__stays_as_it_was_taken() -> None:
    session = started()
    session.interrogate(1_000)
    taken = session.snapshot()
    session.interrogate(2_000)
    assert taken["outbox"] == [["interrogate"]]


def test_snapshot__with_events_not_taken_is_refused() -> None:
    session = InProcessMasterSession("RTU_1")
    session.connected(0)
    with pytest.raises(RuntimeError, match="link RTU_1: snapshot with events not taken"):
        session.snapshot()
