"""Carries plans out: one command after the other, each only when the one before was confirmed.

Every command goes through the command path like an operator's; a plan has no way around its rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Protocol

from twin.dms.plan import Plan, PlanStep, StepAction
from twin.journal import JournalEntry
from twin.points.model import STEP_HIGHER, STEP_LOWER, CommandPhase, DoublePosition
from twin.scada.authority import Originator, Role
from twin.scada.command_model import WITHDRAWN, Command
from twin.scada.tags import Record
from twin.timebase import NEVER, SimTime

ALREADY_THERE = "already in position"
PASSING = ("spring charged", "auto-reclose", "fault passage")
"""Rules whose refusal goes away by itself: the step is asked for again."""

RETRY_MS = 2_000
MOST_RETRIES = 15


class PlanState(Enum):
    """Where a plan stands; the last three are final."""

    WAITING = "waiting for approval"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Step:
    """What of a plan's step is needed to carry it out: ``target`` takes ``value``, as ``CommandPath.request`` does."""

    number: int
    equipment: str
    target: str
    value: float


@dataclass
class Course:
    """One plan on its way. ``next_step`` counts the steps that were started; ``stop`` is why no further one is.

    ``loops`` are the numbers of the steps that close a loop, as the plan was made.
    """

    plan_id: str
    application: str
    steps: tuple[Step, ...]
    state: PlanState
    next_step: int = 0
    command_id: int = 0
    failed_switch: str = ""
    retries: int = 0
    retry_at: SimTime = NEVER
    stop: str = ""
    loops: tuple[int, ...] = ()


@dataclass
class Counts:
    """How many plans were made and what became of them."""

    made: int = 0
    done: int = 0
    rejected: int = 0


class CommandTaker(Protocol):
    """Where a plan's commands go: the command path, or that of a study."""

    def request(
        self,
        target: str,
        value: float,
        originator: Originator,
        now: SimTime,
        *,
        reason: str = "",
        plan_id: str = "",
        plan_step: int | None = None,
    ) -> int:
        """Ask for an operation; returns its number, also if it was refused."""
        ...

    def withdraw(self, command_id: int, reason: str, now: SimTime) -> bool:
        """Take a command back whose operate has not been sent; False if it is too late."""
        ...


class PlanDesk:
    """All plans of the control room: proposed, waiting, running."""

    def __init__(
        self, path: CommandTaker, record: Record, loops_of: Callable[[Plan], tuple[int, ...]] = lambda plan: ()
    ) -> None:
        """``loops_of`` gives the numbers of a plan's steps that close a loop as things stand."""
        self._loops_of = loops_of
        self._path = path
        self._record = record
        self._courses: dict[str, Course] = {}
        self.counts = Counts()

    def course(self, plan_id: str) -> Course | None:
        """A plan by its id."""
        return self._courses.get(plan_id)

    @property
    def waiting(self) -> list[str]:
        """The plans that wait for the operator, oldest first."""
        return [c.plan_id for c in self._courses.values() if c.state is PlanState.WAITING]

    def means_loop(self, plan_id: str, step: int | None) -> bool:
        """Whether a step of a plan was planned to close a loop."""
        course = self._courses.get(plan_id)
        return course is not None and step in course.loops

    def running_but(self, application: str) -> list[str]:
        """The running plans of all other applications, oldest first."""
        courses = self._courses.values()
        return [c.plan_id for c in courses if c.state is PlanState.RUNNING and c.application != application]

    def propose(self, plan: Plan, mode: str, now: SimTime) -> Course:
        """Take a plan: in automatic mode it starts at once, in advisory mode it waits."""
        course = Course(plan.plan_id, plan.application, _steps(plan), PlanState.WAITING, loops=self._loops_of(plan))
        self._courses[plan.plan_id] = course
        self.counts.made += 1
        self._note(course, now, {"mode": mode, **_told(plan)})
        if not course.steps:
            self._end(course, PlanState.REJECTED, "nothing can be operated", now)
        elif mode == "automatic":
            self._start(course, now)
        return course

    def approve(self, plan_id: str, now: SimTime) -> None:
        """The operator approves a waiting plan (or ``all``)."""
        for course in self._chosen(plan_id):
            self._start(course, now)

    def reject(self, plan_id: str, now: SimTime) -> None:
        """The operator turns a waiting plan (or ``all``) down."""
        for course in self._chosen(plan_id):
            self._end(course, PlanState.REJECTED, "rejected by the operator", now)

    def stop(self, plan_id: str, reason: str, now: SimTime) -> None:
        """A running plan takes no further step.

        The command under way is taken back if its operate has not been sent; otherwise its outcome is awaited, and the
        plan ends with it.
        """
        course = self._courses[plan_id]
        if course.state is not PlanState.RUNNING or course.stop:
            return
        course.stop = reason
        if course.retry_at != NEVER:
            course.retry_at = NEVER
            self._end(course, PlanState.FAILED, f"stopped before step {course.next_step}: {reason}", now)
        elif not self._path.withdraw(course.command_id, f"the plan is stopped: {reason}", now):
            self._note_step(course, "awaited", now)

    def _chosen(self, plan_id: str) -> list[Course]:
        return [self._courses[name] for name in self.waiting if plan_id in (name, "all")]

    def on_outcomes(self, outcomes: Sequence[Command], now: SimTime) -> list[Course]:
        """Go on with the plans whose command is finished; returns the plans that failed by it."""
        failed = []
        for command in outcomes:
            course = self._courses.get(command.request.plan_id)
            if course is None or course.command_id != command.command_id or course.state is not PlanState.RUNNING:
                continue
            if course.stop and command.rule == WITHDRAWN:
                self._note_step(course, "withdrawn", now)
                self._end(course, PlanState.FAILED, f"stopped before step {course.next_step}: {course.stop}", now)
            elif self._succeeded(command):
                self._note_step(course, "done", now)
                course.retries = 0
                self._advance(course, now)
            elif command.rule in PASSING and course.retries < MOST_RETRIES and not course.stop:
                course.retries += 1
                course.retry_at = now + RETRY_MS
                self._note_step(course, "waiting", now)
            else:
                course.failed_switch = command.equipment
                self._note_step(course, "failed", now)
                reason = command.cause or command.phase.value
                self._end(course, PlanState.FAILED, f"step {course.next_step} failed: {reason}", now)
                failed.append(course)
        return failed

    def step(self, now: SimTime) -> None:
        """Ask again for the steps that had to wait."""
        for course in self._courses.values():
            if course.retry_at <= now:
                course.retry_at = NEVER
                self._request(course, now)

    def ask_again(self, now: SimTime) -> None:
        """Ask for the present step of every running plan again, of another path than the one that was asked first."""
        for course in list(self._courses.values()):
            if course.state is PlanState.RUNNING:
                course.retry_at = NEVER
                self._request(course, now)

    def next_event(self) -> SimTime:
        """When :meth:`step` has something to do."""
        return min((course.retry_at for course in self._courses.values()), default=NEVER)

    @staticmethod
    def _succeeded(command: Command) -> bool:
        return command.phase is CommandPhase.CONFIRMED or command.rule == ALREADY_THERE

    def _start(self, course: Course, now: SimTime) -> None:
        course.state = PlanState.RUNNING
        self._note(course, now, {"outcome": "running"})
        self._advance(course, now)

    def _advance(self, course: Course, now: SimTime) -> None:
        """Start the next step, or finish."""
        if course.next_step == len(course.steps):
            self._end(course, PlanState.DONE, "done", now)
            return
        if course.stop:
            self._end(course, PlanState.FAILED, f"stopped after step {course.next_step}: {course.stop}", now)
            return
        course.next_step += 1
        self._note_step(course, "started", now)
        self._request(course, now)

    def _request(self, course: Course, now: SimTime) -> None:
        """Give the command of the present step."""
        step = course.steps[course.next_step - 1]
        course.command_id = self._path.request(
            step.target,
            step.value,
            Originator(course.application, Role.APPLICATION),
            now,
            reason=f"step {step.number} of {course.plan_id}",
            plan_id=course.plan_id,
            plan_step=step.number,
        )

    def _end(self, course: Course, state: PlanState, outcome: str, now: SimTime) -> None:
        course.state = state
        self.counts.done += state is PlanState.DONE
        self.counts.rejected += state is PlanState.REJECTED
        self._note(course, now, {"outcome": outcome})

    def _note(self, course: Course, now: SimTime, data: Mapping[str, Any]) -> None:
        head = {"plan_id": course.plan_id, "application": course.application}
        self._record(JournalEntry(now, "control_room", "plan", course.plan_id, {**head, **data}))

    def _note_step(self, course: Course, state: str, now: SimTime) -> None:
        step = course.steps[course.next_step - 1]
        data = {"plan_id": course.plan_id, "number": step.number, "state": state}
        self._record(JournalEntry(now, "control_room", "plan_step", step.equipment, data))

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data."""
        courses = [{**asdict(course), "state": course.state.value} for course in self._courses.values()]
        return {"courses": courses, "counts": asdict(self.counts)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        self.counts = Counts(**state["counts"])
        self._courses = {row["plan_id"]: _course(row) for row in state["courses"]}


def _steps(plan: Plan) -> tuple[Step, ...]:
    return tuple(Step(step.number, step.equipment, *_command(step)) for step in plan.steps)


def _command(step: PlanStep) -> tuple[str, float]:
    """The output that a step operates, and the value that it is given."""
    match step.action:
        case StepAction.OPEN:
            return step.equipment, float(DoublePosition.OPEN)
        case StepAction.CLOSE:
            return step.equipment, float(DoublePosition.CLOSED)
        case StepAction.RAISE:
            return f"{step.equipment}.step", STEP_HIGHER
        case StepAction.LOWER:
            return f"{step.equipment}.step", STEP_LOWER
    assert step.value is not None
    if step.action in (StepAction.ARM, StepAction.DISARM):
        return f"{step.equipment}.arm_ufls_{int(step.value)}", float(step.action is StepAction.ARM)
    return f"{step.equipment}.set_q_kvar", step.value


def _course(row: Mapping[str, Any]) -> Course:
    steps = tuple(Step(**step) for step in row["steps"])
    return Course(**{**row, "steps": steps, "state": PlanState(row["state"]), "loops": tuple(row["loops"])})


def _told(plan: Plan) -> dict[str, Any]:
    """A plan as the journal shows it."""
    return {
        "title": plan.title,
        "verdict": plan.verdict.value,
        "why": list(plan.why),
        "isolated": list(plan.isolated),
        "customers_interrupted": plan.customers_interrupted,
        "customers_restored": plan.customers_restored,
        "customers_not_restored": plan.customers_not_restored,
        "steps": [
            {
                "number": step.number,
                "switch": step.equipment,
                "action": step.action.value if step.value is None else f"{step.action.value} {step.value:g}",
                "purpose": step.purpose.value,
                "expects": step.expects,
            }
            for step in plan.steps
        ],
    }
