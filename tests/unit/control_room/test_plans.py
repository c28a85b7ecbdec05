"""Plans on their way, with the outcomes of their commands put in by hand.

The command path behind the desk is the real one over the toy of the bench; its stations never answer, the tests do.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from control_room_bench import Bench

from twin.control_room.plans import PlanDesk, PlanState
from twin.dms.plan import Plan, PlanStep, StepAction, StepCheck, StepPurpose, Verdict
from twin.journal import JournalEntry
from twin.links.model import CommandReply, ReplyKind
from twin.points.model import CommandPhase

ISOLATE = (("S1", StepAction.OPEN), ("S2", StepAction.OPEN))


def plan(*actions: tuple[str, StepAction], plan_id: str = "p1") -> Plan:
    check = StepCheck(True, 100)
    steps = tuple(
        PlanStep(n, switch, action, StepPurpose.ISOLATE, f"step {n}", check)
        for n, (switch, action) in enumerate(actions, 1)
    )
    return Plan(plan_id, "flisr", "a plan", Verdict.FULL, ("because",), steps, customers_interrupted=300)


class Desk:
    """A plan desk on a command path of its own; the operator's hand is the test."""

    def __init__(self) -> None:
        self.bench = Bench().start()
        self.path = self.bench.room.front_end.commands
        self.journal: list[JournalEntry] = []
        self.desk = PlanDesk(self.path, self.journal.append)
        self.now = 2_000

    def asked(self) -> list[str]:
        """What the links are asked to do."""
        return [f"{a.kind.value} {a.command.point[:-8]} {a.command.value:g}" for a in self.path.take_actions()]

    def reply(self, kind: ReplyKind, cause: str = "") -> None:
        [command] = self.path.in_progress
        self.path.on_reply(
            CommandReply(command.request.output.station, command.command_id, kind, self.now, cause), self.now
        )

    def settle(self) -> list[str]:
        """Hand the outcomes over; the plans that failed."""
        front_end = self.bench.room.front_end
        front_end.tick(self.now)
        return [course.plan_id for course in self.desk.on_outcomes(front_end.take_outcomes(), self.now)]

    def confirm(self, switch: str, value: float) -> None:
        """The switch does as it was told."""
        self.reply(ReplyKind.SELECTED)
        self.reply(ReplyKind.ACTIVATED)
        self.bench.tell(f"{switch}.position", value)
        self.bench.cycle_events()
        self.path.tick(self.now)

    def entries(self) -> list[tuple[Any, ...]]:
        return [(e.kind, e.subject, e.data.get("outcome") or e.data.get("state") or "proposed") for e in self.journal]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_plan__runs_step_after_step_each_when_the_one_before_is_confirmed(desk: Desk) -> None:
    course = desk.desk.propose(plan(*ISOLATE), "automatic", desk.now)
    assert desk.asked() == ["select S1 1"]
    assert desk.settle() == []
    assert desk.asked() == []
    desk.confirm("S1", 1.0)
    assert desk.settle() == []
    assert desk.asked() == ["operate S1 1", "select S2 1"]
    assert course.state is PlanState.RUNNING
    desk.confirm("S2", 1.0)
    desk.settle()
    assert course.state is PlanState.DONE
    assert desk.entries() == [
        ("plan", "p1", "proposed"),
        ("plan", "p1", "running"),
        ("plan_step", "S1", "started"),
        ("plan_step", "S1", "done"),
        ("plan_step", "S2", "started"),
        ("plan_step", "S2", "done"),
        ("plan", "p1", "done"),
    ]
    assert vars(desk.desk.counts) == {"made": 1, "done": 1, "rejected": 0}


def test_plan__is_told_with_its_reasons_and_steps(desk: Desk) -> None:
    desk.desk.propose(plan(*ISOLATE), "advisory", desk.now)
    [entry] = desk.journal
    told = entry.data
    assert (told["mode"], told["title"], told["verdict"]) == ("advisory", "a plan", "full restoration")
    assert list(told["why"]) == ["because"]
    assert told["customers_interrupted"] == 300
    assert told["steps"][1] == {
        "number": 2, "switch": "S2", "action": "open", "purpose": "isolate", "expects": "step 2",
    }  # fmt: skip
    json.loads(entry.to_json())


def test_plan__command_bears_plan_step_and_application(desk: Desk) -> None:
    desk.desk.propose(plan(*ISOLATE), "automatic", desk.now)
    [command] = desk.path.in_progress
    request = command.request
    assert (request.plan_id, request.plan_step, request.originator.name) == ("p1", 1, "flisr")
    assert request.reason == "step 1 of p1"


def test_plan__step_already_in_position_counts_as_done(desk: Desk) -> None:
    desk.desk.propose(plan(("TIE", StepAction.OPEN), ("S2", StepAction.OPEN)), "automatic", desk.now)
    assert desk.settle() == []
    assert ("plan_step", "TIE", "done") in desk.entries()
    assert desk.asked() == ["select S2 1"]


def test_plan__of_steps_already_in_position_is_done_at_once(desk: Desk) -> None:
    course = desk.desk.propose(plan(("TIE", StepAction.OPEN), ("S1", StepAction.CLOSE)), "automatic", desk.now)
    assert desk.settle() == []
    assert desk.settle() == []
    assert course.state is PlanState.DONE
    assert desk.asked() == []


@pytest.mark.parametrize(
    ("replies", "now", "reason"),
    [
        ([ReplyKind.REFUSED], 2_000, "step 1 failed: RTU_1 refused: negative confirmation"),
        ([ReplyKind.SELECTED, ReplyKind.REFUSED], 2_000, "step 1 failed: RTU_1 refused: negative confirmation"),
        (
            [ReplyKind.SELECTED, ReplyKind.ACTIVATED, ReplyKind.REFUSED],
            2_000,
            "step 1 failed: RTU_1 refused: negative confirmation",
        ),
        ([], 7_000, "step 1 failed: RTU_1 did not answer the select, so nothing was operated"),
        (
            [ReplyKind.SELECTED, ReplyKind.ACTIVATED, ReplyKind.TERMINATED],
            60_000,
            "step 1 failed: RTU_1 accepted the command, but S1.position did not reach the position commanded",
        ),
    ],
    ids=["select refused", "operate refused", "failed in the device", "no answer", "did not move"],
)
def test_plan__fails_with_its_command(desk: Desk, replies: list[ReplyKind], now: int, reason: str) -> None:
    course = desk.desk.propose(plan(*ISOLATE), "automatic", desk.now)
    for kind in replies:
        desk.reply(kind, "negative confirmation" if kind is ReplyKind.REFUSED else "")
    desk.now = now
    desk.path.tick(now)
    assert desk.settle() == ["p1"]
    assert (course.state, course.failed_switch) == (PlanState.FAILED, "S1")
    assert desk.journal[-1].data["outcome"] == reason
    assert desk.journal[-2].data["state"] == "failed"
    assert "select S2 1" not in desk.asked()
    assert vars(desk.desk.counts) == {"made": 1, "done": 0, "rejected": 0}


def test_plan__fails_when_a_rule_refuses_its_command(desk: Desk) -> None:
    desk.bench.tell("CB_1.local", 1.0)
    desk.bench.cycle_events()
    course = desk.desk.propose(plan(("CB_1", StepAction.OPEN), *ISOLATE), "automatic", desk.now)
    assert desk.settle() == ["p1"]
    assert (course.state, course.failed_switch) == (PlanState.FAILED, "CB_1")
    assert desk.asked() == []
    assert desk.journal[-1].data["outcome"].startswith("step 1 failed: CB_1 ")


def test_plan__without_steps_is_rejected_at_once(desk: Desk) -> None:
    course = desk.desk.propose(plan(), "automatic", desk.now)
    assert course.state is PlanState.REJECTED
    assert desk.journal[-1].data["outcome"] == "nothing can be operated"
    assert vars(desk.desk.counts) == {"made": 1, "done": 0, "rejected": 1}


class TestAdvisory:
    def test_plan__waits_and_starts_when_approved(self, desk: Desk) -> None:
        course = desk.desk.propose(plan(*ISOLATE), "advisory", desk.now)
        assert (desk.asked(), desk.desk.waiting, course.state) == ([], ["p1"], PlanState.WAITING)
        desk.desk.approve("p1", desk.now)
        assert (desk.asked(), desk.desk.waiting) == (["select S1 1"], [])

    def test_plan__rejected_operates_nothing(self, desk: Desk) -> None:
        course = desk.desk.propose(plan(*ISOLATE), "advisory", desk.now)
        desk.desk.reject("p1", desk.now)
        assert course.state is PlanState.REJECTED
        assert desk.journal[-1].data["outcome"] == "rejected by the operator"
        desk.desk.approve("p1", desk.now)
        desk.desk.approve("all", desk.now)
        assert desk.asked() == []
        assert desk.desk.counts.rejected == 1

    def test_plan__approved_twice_starts_once(self, desk: Desk) -> None:
        desk.desk.propose(plan(*ISOLATE), "advisory", desk.now)
        desk.desk.approve("p1", desk.now)
        desk.desk.approve("p1", desk.now)
        desk.desk.reject("p1", desk.now)
        assert desk.asked() == ["select S1 1"]
        assert desk.entries().count(("plan", "p1", "running")) == 1

    def test_plans__all_are_approved_in_the_order_they_came(self, desk: Desk) -> None:
        desk.desk.propose(plan(("S2", StepAction.OPEN), plan_id="b"), "advisory", desk.now)
        desk.desk.propose(plan(("S1", StepAction.OPEN), plan_id="a"), "advisory", desk.now)
        desk.desk.approve("all", desk.now)
        assert desk.asked() == ["select S2 1", "select S1 1"]

    def test_plan__unknown_is_ignored(self, desk: Desk) -> None:
        desk.desk.propose(plan(*ISOLATE), "advisory", desk.now)
        desk.desk.approve("p2", desk.now)
        desk.desk.reject("p2", desk.now)
        assert desk.desk.waiting == ["p1"]
        assert desk.desk.course("p2") is None


def test_outcome__of_somebody_elses_command_does_not_move_a_plan(desk: Desk) -> None:
    course = desk.desk.propose(plan(*ISOLATE), "automatic", desk.now)
    number = desk.bench.room.operate("S3", False, desk.now)
    command = desk.path.command(number)
    desk.path.on_reply(CommandReply("RTU_2", number, ReplyKind.REFUSED, desk.now, "no"), desk.now)
    assert command.phase is CommandPhase.REFUSED
    assert desk.settle() == []
    assert (course.state, course.next_step) == (PlanState.RUNNING, 1)


@pytest.mark.parametrize("mode", ["automatic", "advisory"])
def test_snapshot__goes_on_with_the_same_course(desk: Desk, mode: str) -> None:
    desk.desk.propose(plan(("TIE", StepAction.OPEN), plan_id="p0"), "automatic", desk.now)
    desk.settle()
    desk.desk.propose(plan(*ISOLATE), mode, desk.now)
    again = PlanDesk(desk.path, desk.journal.append)
    again.restore(json.loads(json.dumps(desk.desk.snapshot())))
    assert again.snapshot() == desk.desk.snapshot()
    assert again.course("p1") == desk.desk.course("p1")
    assert again.course("p0") == desk.desk.course("p0")
    desk.desk = again
    again.approve("all", desk.now)
    desk.confirm("S1", 1.0)
    desk.settle()
    assert "select S2 1" in desk.asked()
