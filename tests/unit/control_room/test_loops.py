"""No application closes a loop that its plan did not mean; on the two feeders of the bench, joined by TIE."""

from __future__ import annotations

from control_room_bench import CLOSED, OPEN, Bench

from twin.dms.plan import Plan, PlanStep, StepAction, StepCheck, StepPurpose, Verdict
from twin.points.model import Quality
from twin.scada.authority import Originator, Role

CHECK = StepCheck(True, 0)


def plan(*steps: tuple[str, StepAction]) -> Plan:
    rows = [PlanStep(n, name, action, StepPurpose.RESTORE, "", CHECK) for n, (name, action) in enumerate(steps, 1)]
    return Plan("p1", "flisr", "a plan", Verdict.FULL, ("because",), tuple(rows))


def start(bench: Bench, made: Plan) -> None:
    bench.room.plans.propose(made, "advisory", bench.now)
    bench.room.operator({"approve_plan": "p1"}, bench.now)


def refused(bench: Bench) -> list[str]:
    return [entry.data["rule"] for entry in bench.lines("command") if entry.data["phase"] == "refused"]


def test_planned_loop__is_closed(bench: Bench) -> None:
    """Both sides of TIE are live when the plan is made: it means to change over without interruption."""
    start(bench, plan(("TIE", StepAction.CLOSE), ("S1", StepAction.OPEN)))
    bench.run(bench.now + 3_000)
    assert bench.operated == [("TIE", "close"), ("S1", "open")]
    assert refused(bench) == []


def test_loop_that_was_not_planned__is_refused(bench: Bench) -> None:
    """Both sides of TIE are live; with S3 open its far side is dead, and free; an unknown S3 may be closed."""
    flisr = Originator("flisr", Role.APPLICATION)

    def rule() -> str:
        bench.cycle_events()
        return bench.room.front_end.commands.check("TIE", CLOSED, flisr, bench.now)[0]

    assert rule() == "loop"
    bench.tell("S3.position", OPEN)
    assert rule() == ""
    bench.tell("S3.position", OPEN, quality=Quality.INVALID)
    assert rule() == "loop"


def test_dispatcher__may_close_a_loop(bench: Bench) -> None:
    bench.room.operate("TIE", True, bench.now)
    bench.run(bench.now + 2_000)
    assert bench.operated == [("TIE", "close")]


def test_snapshot__keeps_what_a_plan_means(bench: Bench) -> None:
    bench.room.plans.propose(plan(("TIE", StepAction.CLOSE)), "advisory", bench.now)
    other = Bench(flisr_mode="automatic").restore(bench.snapshot())
    assert other.room.plans.means_loop("p1", 1)
    assert not other.room.plans.means_loop("p1", 2)
