"""Tags and arming by themselves; as rules of the command path they are tested with it."""

from __future__ import annotations

import json

import pytest

from twin.errors import ExitCode
from twin.scada.authority import MAX_ARMED_MS, ArmingGuard, ArmingPeriodError, NotAPhysicalStationError
from twin.scada.tags import SwitchAction, TagBoard, TagKind, UnknownTagError


@pytest.fixture
def journal() -> list:
    return []


@pytest.fixture
def board(journal) -> TagBoard:
    return TagBoard(journal.append)


@pytest.fixture
def guard(journal) -> ArmingGuard:
    return ArmingGuard(["RTU_7"], journal.append)


def test_tag__is_journalled_with_who_and_why(board, journal):
    tag_id = board.place("CB_1", TagKind.HOLD_OFF, "anna", "live-line work", 10)
    board.remove(tag_id, "otto", "finished", 20)
    assert [(e.t_ms, e.source, e.kind, e.subject, dict(e.data)) for e in journal] == [
        (
            10,
            "control_room",
            "tag",
            "CB_1",
            {"tag_id": 1, "action": "placed", "tag": "hold-off", "by": "anna", "reason": "live-line work"},
        ),
        (
            20,
            "control_room",
            "tag",
            "CB_1",
            {"tag_id": 1, "action": "removed", "tag": "hold-off", "by": "otto", "reason": "finished"},
        ),
    ]


def test_tag__several_on_one_switch_each_forbid_by_themselves(board):
    first = board.place("CB_1", TagKind.HOLD_OFF, "anna", "a", 0)
    second = board.place("CB_1", TagKind.CAUTION_NOTICE, "otto", "b", 1)
    assert [tag.tag_id for tag in board.on("CB_1")] == [first, second]
    assert board.blocking("CB_1", SwitchAction.OPEN).tag_id == second
    assert board.blocking("CB_1", SwitchAction.CLOSE).tag_id == first
    board.remove(first, "anna", "a", 2)
    assert board.blocking("CB_1", SwitchAction.CLOSE).tag_id == second
    assert board.blocking("CB_2", SwitchAction.CLOSE) is None


def test_tag__only_what_forbids_everything_forbids_set_points(board):
    board.place("T_1", TagKind.HOLD_OFF, "anna", "a", 0)
    assert board.blocking("T_1", None) is None
    board.place("T_1", TagKind.DO_NOT_OPERATE, "anna", "a", 0)
    assert board.blocking("T_1", None).kind is TagKind.DO_NOT_OPERATE


def test_tag__can_be_removed_once(board):
    tag_id = board.place("CB_1", TagKind.HOLD_OFF, "anna", "a", 0)
    board.remove(tag_id, "anna", "a", 1)
    with pytest.raises(UnknownTagError, match="no tag number 1"):
        board.remove(tag_id, "anna", "a", 2)


def test_tag__numbers_are_not_used_again_after_a_snapshot(board, journal):
    board.place("CB_1", TagKind.HOLD_OFF, "anna", "a", 0)
    gone = board.place("CB_2", TagKind.DO_NOT_OPERATE, "anna", "b", 1)
    board.remove(gone, "anna", "b", 2)
    other = TagBoard(journal.append)
    before = len(journal)
    other.restore(json.loads(json.dumps(board.snapshot())))
    assert len(journal) == before
    assert other.tags == board.tags
    assert other.place("CB_3", TagKind.HOLD_OFF, "anna", "c", 3) == gone + 1


def test_arming__simulated_stations_pass(guard):
    assert guard.check("RTU_1", 0) == ""
    assert not guard.is_physical("RTU_1")


def test_arming__lasts_until_its_expiry(guard, journal):
    assert guard.check("RTU_7", 0) == "RTU_7 is a physical station and not armed in this run"
    guard.arm("RTU_7", "anna", until=100, now=10)
    assert guard.check("RTU_7", 99) == ""
    assert guard.check("RTU_7", 100) == "the arming of the physical station RTU_7 has expired"
    assert dict(journal[0].data) == {"action": "armed", "by": "anna", "until_t_ms": 100}


def test_arming__ends_by_disarming(guard, journal):
    guard.arm("RTU_7", "anna", until=100, now=10)
    guard.disarm("RTU_7", "otto", 20)
    guard.disarm("RTU_7", "otto", 21)
    assert guard.check("RTU_7", 22) != ""
    assert [e.data["action"] for e in journal] == ["armed", "disarmed"]


def test_arming__refuses_stations_that_are_not_physical(guard):
    with pytest.raises(NotAPhysicalStationError) as refused:
        guard.arm("RTU_1", "anna", until=100, now=10)
    assert refused.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize("until", [10, 9, 10 + MAX_ARMED_MS + 1])
def test_arming__refuses_no_time_and_too_much_time(guard, until):
    with pytest.raises(ArmingPeriodError):
        guard.arm("RTU_7", "anna", until=until, now=10)
    assert guard.check("RTU_7", 10) != ""
