"""The command path: each transition, each refusal, time limits, and what it must never do."""

from __future__ import annotations

import json

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from scada_toy import BETWEEN, CLOSED, DISPATCHER, OPEN, Rig, sample, toy_definitions

from twin.links.model import CommandReply, ReplyKind, SessionEvent, SessionState
from twin.points.model import CommandPhase, ControlModel, PointAddress, PointDefinition, PointKind, Quality
from twin.scada.authority import AreaAuthority, ArmingGuard, Originator, Role
from twin.scada.command_model import (
    FINAL_PHASES,
    TRANSITIONS,
    CommandSettings,
    Trigger,
    UnknownCommandError,
    UnknownOutputError,
)
from twin.scada.commands import CommandPath
from twin.scada.point_database import PointDatabase, SnapshotMismatchError
from twin.scada.tags import TagBoard, TagKind
from twin.timebase import NEVER

P = CommandPhase
LIMITS = CommandSettings()


def phase(rig: Rig, command_id: int) -> CommandPhase:
    return rig.commands.command(command_id).phase


def give(rig: Rig, switch: str = "CB_1", value: float = OPEN, now: int = 1_000, **more) -> int:
    return rig.commands.request(switch, value, DISPATCHER, now, **more)


def select_and_operate(rig: Rig, now: int = 1_000) -> int:
    command_id = give(rig, now=now)
    rig.reply(command_id, ReplyKind.SELECTED, now + 100)
    return command_id


def refused_by(rig: Rig, command_id: int) -> str:
    command = rig.commands.command(command_id)
    assert command.phase is P.REFUSED
    assert command.cause
    assert rig.take() == []
    assert rig.lines("command")[-1].data["rule"] == command.rule
    return command.rule


def test_table__final_phases_have_no_way_out_and_every_other_reaches_one():
    assert not {before for before, _ in TRANSITIONS} & FINAL_PHASES
    reach = set(FINAL_PHASES)
    while more := {before for (before, _), after in TRANSITIONS.items() if after in reach} - reach:
        reach |= more
    assert reach == set(CommandPhase)


def test_table__confirmation_comes_from_the_position_alone():
    assert {trigger for (_, trigger), after in TRANSITIONS.items() if after is P.CONFIRMED} == {
        Trigger.POSITION_REACHED
    }


def test_command__selects_operates_and_is_confirmed_by_the_position(rig):
    command_id = give(rig, reason="test", plan_id="P1", plan_step=3)
    assert rig.actions() == ["select CB_1.operate=1"]
    rig.reply(command_id, ReplyKind.SELECTED, 1_100)
    assert rig.actions() == ["operate CB_1.operate=1"]
    assert phase(rig, command_id) is P.EXECUTING
    rig.reply(command_id, ReplyKind.ACTIVATED, 1_200)
    assert phase(rig, command_id) is P.ACTIVATED
    rig.put(sample("CB_1.position", BETWEEN, 1_210), now=1_290)
    assert phase(rig, command_id) is P.ACTIVATED
    rig.reply(command_id, ReplyKind.TERMINATED, 1_295)
    assert phase(rig, command_id) is P.TERMINATED
    rig.put(sample("CB_1.position", OPEN, 1_260), now=1_340)
    command = rig.commands.command(command_id)
    assert (command.phase, command.note, command.finished_t_ms) == (P.CONFIRMED, "", 1_340)
    lines = rig.lines("command")
    phases = ["requested", "selected", "executing", "activated", "confirmed"]
    assert [line.data["phase"] for line in lines] == phases
    assert {(line.subject, line.data["switch"], line.data["action"]) for line in lines} == {("CB_1", "CB_1", "open")}
    assert {(line.data["plan_id"], line.data["number"]) for line in lines} == {("P1", 3)}
    assert lines[0].data["by"] == "anna"
    assert rig.commands.next_timer() == NEVER
    assert [c.command_id for c in rig.front_end.take_outcomes()] == [command_id]
    assert rig.front_end.take_outcomes() == []


def test_command__direct_control_model_operates_at_once(rig):
    command_id = give(rig, "LBS_1.operate")
    assert rig.actions() == ["operate LBS_1.operate=1"]
    assert phase(rig, command_id) is P.EXECUTING


def test_command__journal_is_the_same_with_and_without_termination():
    journals = []
    for terminates in (False, True):
        rig = Rig().start()
        command_id = select_and_operate(rig)
        rig.reply(command_id, ReplyKind.ACTIVATED, 1_200)
        if terminates:
            rig.reply(command_id, ReplyKind.TERMINATED, 1_300)
        rig.put(sample("CB_1.position", OPEN, 1_260), now=1_340)
        journals.append([line.to_json() for line in rig.journal])
    assert journals[0] == journals[1]


def test_command__termination_without_activation_counts_as_answer(rig):
    command_id = select_and_operate(rig)
    rig.reply(command_id, ReplyKind.TERMINATED, 1_300)
    assert phase(rig, command_id) is P.TERMINATED
    rig.put(sample("CB_1.position", OPEN, 1_310), now=1_390)
    assert phase(rig, command_id) is P.CONFIRMED


def test_command__lost_answer_with_feedback_is_confirmed_with_a_note(rig):
    command_id = select_and_operate(rig)
    rig.put(sample("CB_1.position", OPEN, 1_260), now=1_340)
    command = rig.commands.command(command_id)
    assert command.phase is P.CONFIRMED
    assert "without an answer" in command.note


def test_command__answer_and_feedback_in_one_batch_leave_no_note(rig):
    command_id = select_and_operate(rig)
    reply = CommandReply("RTU_1", command_id, ReplyKind.ACTIVATED, 1_300)
    rig.put(sample("CB_1.position", OPEN, 1_260), reply, now=1_340)
    command = rig.commands.command(command_id)
    assert (command.phase, command.note) == (P.CONFIRMED, "")


def test_command__unanswered_select_times_out_and_is_cancelled(rig):
    command_id = give(rig)
    rig.take()
    assert rig.commands.next_timer() == 1_000 + LIMITS.select_limit_ms
    rig.front_end.tick(rig.commands.next_timer() - 1)
    assert phase(rig, command_id) is P.REQUESTED
    rig.front_end.tick(rig.commands.next_timer())
    assert phase(rig, command_id) is P.TIMED_OUT
    assert "nothing was operated" in rig.commands.command(command_id).cause
    assert rig.actions() == ["cancel CB_1.operate=1"]
    rig.reply(command_id, ReplyKind.SELECTED, 9_000)
    assert phase(rig, command_id) is P.TIMED_OUT
    assert rig.take() == []


def test_command__no_answer_and_no_feedback_is_an_unknown_outcome(rig):
    command_id = select_and_operate(rig)
    end = 1_100 + LIMITS.activation_limit_ms + LIMITS.check_back_limit_ms
    rig.front_end.tick(1_100 + LIMITS.activation_limit_ms)
    assert phase(rig, command_id) is P.EXECUTING
    assert rig.commands.next_timer() == end
    rig.front_end.tick(end)
    assert phase(rig, command_id) is P.TIMED_OUT
    assert rig.commands.command(command_id).cause == (
        "RTU_1 gave no answer and CB_1.position no feedback: whether CB_1 was operated is unknown"
    )


def test_command__accepted_but_position_unchanged_has_failed(rig):
    command_id = select_and_operate(rig)
    rig.reply(command_id, ReplyKind.ACTIVATED, 1_200)
    rig.reply(command_id, ReplyKind.TERMINATED, 1_900)
    assert rig.commands.next_timer() == 1_200 + LIMITS.check_back_limit_ms
    rig.front_end.tick(rig.commands.next_timer())
    assert phase(rig, command_id) is P.FAILED
    assert "did not reach" in rig.commands.command(command_id).cause


@pytest.mark.parametrize("terminated", [False, True])
def test_command__accepted_but_position_unreadable_is_an_unknown_outcome(rig, terminated):
    command_id = select_and_operate(rig)
    rig.reply(command_id, ReplyKind.ACTIVATED, 1_200)
    if terminated:
        rig.reply(command_id, ReplyKind.TERMINATED, 1_300)
    rig.put(SessionEvent("RTU_1", SessionState.LOST, 1_400, "cut"), now=1_400)
    rig.front_end.tick(rig.commands.next_timer())
    assert phase(rig, command_id) is P.TIMED_OUT
    assert "not readable" in rig.commands.command(command_id).cause


def test_command__position_of_bad_quality_confirms_nothing(rig):
    command_id = select_and_operate(rig)
    rig.put(sample("CB_1.position", OPEN, 1_260, quality=Quality.INVALID), now=1_340)
    assert phase(rig, command_id) is P.EXECUTING
    rig.put(sample("CB_1.position", OPEN, 1_270), now=1_350)
    assert phase(rig, command_id) is P.CONFIRMED


def test_command__late_event_confirms_nothing(rig):
    command_id = select_and_operate(rig, now=50_000)
    rig.put(sample("CB_1.position", CLOSED, 50_200), now=50_280)
    rig.put(sample("CB_1.trip", 0.0, 50_200), sample("CB_1.position", OPEN, -5_000, arrived=50_300), now=50_300)
    assert phase(rig, command_id) is P.EXECUTING


def test_command__interrogation_after_a_lost_session_can_confirm(rig):
    command_id = select_and_operate(rig)
    rig.put(SessionEvent("RTU_1", SessionState.LOST, 1_400), now=1_400)
    rig.put(sample("CB_1.position", OPEN, 3_000, gi=True), now=3_000)
    assert phase(rig, command_id) is P.CONFIRMED


@pytest.mark.parametrize("answer", [None, ReplyKind.ACTIVATED, ReplyKind.TERMINATED])
def test_command__negative_answer_is_a_refusal_before_activation_and_a_failure_after(rig, answer):
    command_id = select_and_operate(rig)
    if answer:
        rig.reply(command_id, answer, 1_200)
    rig.reply(command_id, ReplyKind.REFUSED, 1_300, "negative confirmation")
    assert phase(rig, command_id) is (P.FAILED if answer else P.REFUSED)
    command = rig.commands.command(command_id)
    assert (command.rule, command.cause) == ("station", "RTU_1 refused: negative confirmation")


def test_command__refused_select_ends_it(rig):
    command_id = give(rig)
    rig.reply(command_id, ReplyKind.REFUSED, 1_100, "unknown address")
    rig.take()
    assert phase(rig, command_id) is P.REFUSED
    assert rig.take() == []


def test_command__lost_session_ends_a_select_and_leaves_an_operate_to_the_position(rig):
    selecting, executing = give(rig), give(rig, "LBS_1")
    lost = [SessionEvent(station, SessionState.LOST, 1_050) for station in ("RTU_1", "RTU_2")]
    rig.put(*lost, now=1_050)
    assert phase(rig, selecting) is P.FAILED
    assert phase(rig, executing) is P.EXECUTING


def test_command__ignores_replies_that_fit_nothing(rig):
    command_id = give(rig)
    rig.put(CommandReply("RTU_2", command_id, ReplyKind.SELECTED, 1_100), now=1_100)
    rig.put(CommandReply("RTU_1", 99, ReplyKind.SELECTED, 1_100), now=1_100)
    rig.reply(command_id, ReplyKind.ACTIVATED, 1_100)
    rig.reply(command_id, ReplyKind.CANCELLED, 1_100)
    assert phase(rig, command_id) is P.REQUESTED


# -- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 3.0, 1.5, float("nan")])
def test_rule_value__a_double_command_is_open_or_close(rig, value):
    assert refused_by(rig, give(rig, value=value)) == "value"


@pytest.mark.parametrize("role", [Role.OBSERVER, Role.INSTRUCTOR])
def test_rule_authority__some_roles_do_not_operate(rig, role):
    command_id = rig.commands.request("CB_1", OPEN, Originator("otto", role), 0)
    assert refused_by(rig, command_id) == "authority"


def test_rule_authority__only_in_ones_own_area():
    rig = Rig(authority=AreaAuthority({"RTU_1": "north"})).start()
    south = Originator("otto", Role.DISPATCHER, ("south",))
    assert refused_by(rig, rig.commands.request("CB_1", OPEN, south, 0)) == "authority"
    north = Originator("nora", Role.DISPATCHER, ("south", "north"))
    assert phase(rig, rig.commands.request("CB_1", OPEN, north, 0)) is P.REQUESTED
    assert phase(rig, rig.commands.request("LBS_1", OPEN, south, 0)) is P.EXECUTING


@pytest.mark.parametrize("kind", [TagKind.CAUTION_NOTICE, TagKind.DO_NOT_OPERATE])
def test_rule_tag__forbids_until_removed(rig, kind):
    tag_id = rig.front_end.tags.place("CB_1", kind, "otto", "cable works", 0)
    command_id = give(rig)
    assert refused_by(rig, command_id) == "tag"
    assert rig.commands.command(command_id).cause == f"CB_1 bears a {kind.value} tag of otto (cable works)"
    rig.front_end.tags.remove(tag_id, "otto", "done", 10)
    assert phase(rig, give(rig)) is P.REQUESTED


def test_rule_tag__hold_off_forbids_closing_only(rig):
    rig.front_end.tags.place("CB_1", TagKind.HOLD_OFF, "otto", "live-line work", 0)
    assert refused_by(rig, give(rig, value=CLOSED)) == "tag"
    assert phase(rig, give(rig, value=OPEN)) is P.REQUESTED


def test_rule_tag__counts_between_select_and_operate(rig):
    command_id = give(rig)
    rig.take()
    rig.front_end.tags.place("CB_1", TagKind.DO_NOT_OPERATE, "otto", "wait", 1_050)
    rig.reply(command_id, ReplyKind.SELECTED, 1_100)
    assert rig.actions() == ["cancel CB_1.operate=1"]
    assert refused_by(rig, command_id) == "tag"


def test_rule_interlock__quotes_its_name(rig):
    rig.put(sample("CB_1.local", 1.0, 500), now=500)
    assert refused_by(rig, give(rig)) == "local control"


@pytest.mark.parametrize("quality", [Quality.INVALID, Quality.NOT_TOPICAL])
def test_rule_point_quality__needs_a_known_position(rig, quality):
    rig.put(sample("CB_1.position", CLOSED, 500, quality=quality), now=500)
    assert refused_by(rig, give(rig)) == "point quality"


def test_rule_point_quality__refuses_on_a_lost_station(rig):
    rig.put(SessionEvent("RTU_1", SessionState.LOST, 500), now=500)
    assert refused_by(rig, give(rig)) == "point quality"


def test_rule_already_in_position__refuses_what_would_do_nothing(rig):
    assert refused_by(rig, give(rig, value=CLOSED)) == "already in position"


def test_rule_command_in_progress__one_command_a_device(rig):
    first = give(rig)
    rig.take()
    assert refused_by(rig, give(rig)) == "command in progress"
    assert phase(rig, give(rig, "LBS_1")) is P.EXECUTING
    rig.reply(first, ReplyKind.REFUSED, 1_100, "negative confirmation")
    assert phase(rig, give(rig)) is P.REQUESTED


def test_rule_arming__a_physical_station_must_be_armed():
    rig = Rig(physical_stations=["RTU_1"]).start()
    assert refused_by(rig, give(rig)) == "arming"
    assert phase(rig, give(rig, "LBS_1")) is P.EXECUTING
    rig.take()
    rig.front_end.arming.arm("RTU_1", "anna", until=2_000, now=1_000)
    assert phase(rig, give(rig, now=1_999)) is P.REQUESTED


def test_rule_arming__expiry_between_select_and_operate_stops_the_operate():
    rig = Rig(physical_stations=["RTU_1"]).start()
    rig.front_end.arming.arm("RTU_1", "anna", until=1_050, now=0)
    command_id = give(rig)
    rig.take()
    rig.reply(command_id, ReplyKind.SELECTED, 1_050)
    assert rig.actions() == ["cancel CB_1.operate=1"]
    assert refused_by(rig, command_id) == "arming"


def test_rules__are_asked_in_their_order():
    """Everything speaks against the command; removed one by one, the next rule answers."""
    rig = Rig(physical_stations=["RTU_1"]).start()
    give(rig)  # refused by arming, so nothing is in progress yet
    rig.front_end.arming.arm("RTU_1", "anna", until=1_010, now=1_000)
    busy = give(rig)
    rig.take()
    tag_id = rig.front_end.tags.place("CB_1", TagKind.DO_NOT_OPERATE, "otto", "x", 0)
    rig.put(sample("CB_1.local", 1.0, 1_001), sample("CB_1.position", OPEN, 1_001, quality=Quality.INVALID), now=1_020)
    rules = [refused_by(rig, rig.commands.request("CB_1", 7.0, Originator("o", Role.OBSERVER), 1_020))]
    rules.append(refused_by(rig, rig.commands.request("CB_1", OPEN, Originator("o", Role.OBSERVER), 1_020)))
    rules.append(refused_by(rig, give(rig, now=1_020)))
    rig.front_end.tags.remove(tag_id, "otto", "x", 1_020)
    rules.append(refused_by(rig, give(rig, now=1_020)))
    rig.put(sample("CB_1.local", 0.0, 1_021), now=1_021)
    rules.append(refused_by(rig, give(rig, now=1_021)))
    rig.put(sample("CB_1.position", OPEN, 1_022), now=1_022)
    rules.append(refused_by(rig, give(rig, now=1_022)))
    rig.put(sample("CB_1.position", CLOSED, 1_023), now=1_023)
    rules.append(refused_by(rig, give(rig, now=1_023)))
    rig.reply(busy, ReplyKind.REFUSED, 1_024, "negative confirmation")
    rules.append(refused_by(rig, give(rig, now=1_024)))
    assert rules == [
        "value",
        "authority",
        "tag",
        "local control",
        "point quality",
        "already in position",
        "command in progress",
        "arming",
    ]


def test_check__tells_the_rule_without_giving_a_command(rig):
    assert rig.commands.check("CB_1", OPEN, DISPATCHER, 0) == ("", "")
    assert rig.commands.check("CB_1", CLOSED, DISPATCHER, 0)[0] == "already in position"
    assert rig.journal == []


def test_request__needs_something_to_operate(rig):
    with pytest.raises(UnknownOutputError, match="SS is neither"):
        give(rig, "SS")
    with pytest.raises(UnknownCommandError):
        rig.commands.command(1)


def test_path__forgets_finished_commands_beyond_its_limit():
    rig = Rig(command_settings=CommandSettings(kept=2)).start()
    for _ in range(3):
        give(rig, value=CLOSED)
    with pytest.raises(UnknownCommandError):
        rig.commands.command(1)
    assert phase(rig, 3) is P.REFUSED


# -- other outputs ------------------------------------------------------------------------------------------------


def other_path(kind: PointKind, feedback: PointKind, model=ControlModel.DIRECT, fed: bool = True):
    """A transformer with one output of ``kind`` and its feedback, which reads 5 (or open)."""
    address = PointAddress(1, 1, 0)
    shown = PointDefinition("RTU_1", "T1.shown", feedback, "T1", "shown", address)
    output = PointDefinition(
        "RTU_1", "T1.set", kind, "T1", "operate", address, feedback="T1.shown" if fed else "", control_model=model
    )
    database, record = PointDatabase([shown, output]), [].append
    database.apply(sample("T1.shown", OPEN if feedback is PointKind.DOUBLE else 5.0, 0, station="RTU_1", gi=True))
    path = CommandPath(
        [shown, output],
        database,
        authority=AreaAuthority(),
        interlocks=(),
        tags=TagBoard(record),
        arming=ArmingGuard((), record),
        record=record,
    )
    return path, database


def show(path: CommandPath, database: PointDatabase, value: float, now: int) -> None:
    change = database.apply(sample("T1.shown", value, now, station="RTU_1"))
    if change is not None:
        path.on_change(change, now)
    path.tick(now)


@pytest.mark.parametrize(("value", "reached"), [(1.0, 6.0), (-1.0, 4.0)])
def test_step_command__is_confirmed_one_step_further(value, reached):
    path, database = other_path(PointKind.STEP_COMMAND, PointKind.STEP_POSITION)
    command_id = path.request("T1", value, DISPATCHER, 10)
    show(path, database, 5.0, 20)
    assert not path.command(command_id).is_final
    show(path, database, reached, 30)
    assert path.command(command_id).phase is P.CONFIRMED


def test_step_command__is_refused_if_the_position_moved_during_the_select():
    path, database = other_path(PointKind.STEP_COMMAND, PointKind.STEP_POSITION, ControlModel.SELECT_BEFORE_OPERATE)
    command_id = path.request("T1", 1.0, DISPATCHER, 10)
    show(path, database, 6.0, 20)
    path.on_reply(CommandReply("RTU_1", command_id, ReplyKind.SELECTED, 30), 30)
    assert (path.command(command_id).phase, path.command(command_id).rule) == (P.REFUSED, "position")


def test_setpoint__is_confirmed_within_its_tolerance_and_only_after_an_answer():
    path, database = other_path(PointKind.SETPOINT, PointKind.MEASURAND)
    command_id = path.request("T1", 100.0, DISPATCHER, 10)
    show(path, database, 100.5, 20)
    assert path.command(command_id).phase is P.EXECUTING
    path.on_reply(CommandReply("RTU_1", command_id, ReplyKind.ACTIVATED, 30), 30)
    assert path.command(command_id).phase is P.CONFIRMED


def test_setpoint__outside_its_tolerance_has_failed():
    path, database = other_path(PointKind.SETPOINT, PointKind.MEASURAND)
    command_id = path.request("T1", 100.0, DISPATCHER, 10)
    path.on_reply(CommandReply("RTU_1", command_id, ReplyKind.ACTIVATED, 30), 30)
    show(path, database, 98.9, 40)
    path.tick(path.next_timer())
    assert path.command(command_id).phase is P.FAILED


def test_single_command__is_confirmed_by_a_double_point():
    path, database = other_path(PointKind.SINGLE_COMMAND, PointKind.DOUBLE)
    command_id = path.request("T1", 1.0, DISPATCHER, 10)
    show(path, database, CLOSED, 20)
    assert path.command(command_id).phase is P.CONFIRMED


def test_output_without_feedback__is_refused():
    path, _ = other_path(PointKind.SETPOINT, PointKind.MEASURAND, fed=False)
    command = path.command(path.request("T1", 1.0, DISPATCHER, 10))
    assert (command.phase, command.rule) == (P.REFUSED, "value")


# -- snapshots ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", range(5))
def test_snapshot__continues_a_command_from_any_phase(stage):
    """The run is cut after ``stage`` events and continued in another rig: same end, same journal."""
    steps = [
        lambda rig: give(rig, plan_id="P"),
        lambda rig: rig.reply(1, ReplyKind.SELECTED, 1_100),
        lambda rig: rig.reply(1, ReplyKind.ACTIVATED, 1_200),
        lambda rig: rig.reply(1, ReplyKind.TERMINATED, 1_300),
        lambda rig: rig.put(sample("CB_1.position", OPEN, 1_310), now=1_390),
    ]
    whole, first, second = Rig().start(), Rig().start(), Rig()
    for step in steps:
        step(whole)
    for step in steps[:stage]:
        step(first)
    second.front_end.restore(json.loads(json.dumps(first.front_end.snapshot(), allow_nan=False)))
    for step in steps[stage:]:
        step(second)
    assert phase(second, 1) is P.CONFIRMED
    assert [e.to_json() for e in first.journal + second.journal] == [e.to_json() for e in whole.journal]
    assert second.actions() == whole.actions()
    assert second.front_end.snapshot() == whole.front_end.snapshot()


def test_snapshot__carries_a_refused_value_that_is_no_number(rig):
    give(rig, value=float("nan"))
    text = json.dumps(rig.commands.snapshot(), allow_nan=False)
    other = Rig()
    other.commands.restore(json.loads(text))
    assert json.dumps(other.commands.snapshot(), allow_nan=False) == text


def test_snapshot__of_other_outputs_is_refused(rig):
    give(rig)
    path, _ = other_path(PointKind.SETPOINT, PointKind.MEASURAND)
    with pytest.raises(SnapshotMismatchError):
        path.restore(rig.commands.snapshot())


def test_toy__has_both_control_models():
    models = {d.control_model for d in toy_definitions() if d.kind.is_output}
    assert models == set(ControlModel)


# -- what must never happen ---------------------------------------------------------------------------------------


class CommandPathMachine(RuleBasedStateMachine):
    """Anybody asks for anything at any time; stations answer what they like; RTU_1 is physical."""

    given = Bundle("given")

    @initialize()
    def start(self) -> None:
        self.rig = Rig(physical_stations=["RTU_1"]).start()
        self.now = 1_000
        self.armed_until = -1
        self.tags: list[tuple[int, str]] = []
        self.begun: dict[int, str] = {}

    def drain(self) -> None:
        """What goes out now must be allowed now."""
        actions = self.rig.take()
        for action in actions:
            switch = action.command.point.split(".")[0]
            if action.kind.value == "cancel":
                continue
            assert switch not in [name for _, name in self.tags], "a tagged switch was operated"
            assert action.command.station != "RTU_1" or self.now < self.armed_until, "an unarmed station was operated"
            assert self.rig.commands.command(action.command.command_id).phase is not P.REFUSED
        self.rig.front_end.route(actions, self.now)

    @rule(
        target=given,
        switch=st.sampled_from(["CB_1", "LBS_1", "LBS_2"]),
        value=st.sampled_from([OPEN, CLOSED, 7.0]),
        role=st.sampled_from([Role.DISPATCHER, Role.DISPATCHER, Role.OBSERVER]),
    )
    def ask(self, switch, value, role):
        busy = [c.command_id for c in self.rig.commands.in_progress if c.equipment == switch]
        command_id = self.rig.commands.request(switch, value, Originator("x", role), self.now)
        if busy or role is Role.OBSERVER or value == 7.0:
            assert self.rig.commands.command(command_id).phase is P.REFUSED
        self.drain()
        return command_id

    @rule(command_id=given, kind=st.sampled_from(ReplyKind))
    def answer(self, command_id, kind):
        self.rig.reply(command_id, kind, self.now, "negative confirmation" if kind is ReplyKind.REFUSED else "")
        self.drain()

    @rule(
        switch=st.sampled_from(["CB_1", "LBS_1", "LBS_2"]),
        value=st.sampled_from([OPEN, CLOSED, BETWEEN]),
        quality=st.sampled_from([Quality.GOOD, Quality.GOOD, Quality.INVALID]),
    )
    def move(self, switch, value, quality):
        self.rig.put(sample(f"{switch}.position", value, self.now, quality=quality), now=self.now)
        self.drain()

    @rule(ms=st.sampled_from([1, 100, 6_000, 20_000]))
    def wait(self, ms):
        self.now += ms
        self.rig.front_end.tick(self.now)
        self.drain()

    @rule(ms=st.sampled_from([50, 10_000]))
    def arm(self, ms):
        self.rig.front_end.arming.arm("RTU_1", "x", self.now + ms, self.now)
        self.armed_until = self.now + ms

    @rule(switch=st.sampled_from(["CB_1", "LBS_1"]))
    def tag(self, switch):
        tag_id = self.rig.front_end.tags.place(switch, TagKind.DO_NOT_OPERATE, "x", "y", self.now)
        self.tags.append((tag_id, switch))

    @rule()
    def untag(self):
        if self.tags:
            self.rig.front_end.tags.remove(self.tags.pop()[0], "x", "y", self.now)

    @rule(target=given, station=st.sampled_from(["RTU_1", "RTU_2", "RTU_3"]))
    def lose_and_return(self, station):
        self.rig.put(SessionEvent(station, SessionState.LOST, self.now), now=self.now)
        self.rig.put(SessionEvent(station, SessionState.INTERROGATED, self.now), now=self.now)
        self.drain()
        return multiple()

    @rule()
    def cut_and_restore(self):
        """The run continues from its snapshot; the arming does not."""
        state = json.loads(json.dumps(self.rig.front_end.snapshot(), allow_nan=False))
        self.rig = Rig(physical_stations=["RTU_1"])
        self.rig.front_end.restore(state)
        self.armed_until = -1

    @invariant()
    def one_command_a_device(self):
        if hasattr(self, "rig"):
            devices = [command.equipment for command in self.rig.commands.in_progress]
            assert len(devices) == len(set(devices))
            assert all(command.deadline < NEVER for command in self.rig.commands.in_progress)

    def teardown(self):
        """Left alone, every command comes to an end in a bounded number of its own time limits."""
        if not hasattr(self, "rig"):
            return
        for _ in range(20):
            if self.rig.commands.next_timer() == NEVER:
                break
            self.rig.front_end.tick(self.rig.commands.next_timer())
        assert self.rig.commands.in_progress == ()


CommandPathMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestCommandPathMachine = CommandPathMachine.TestCase
