"""Load shedding at work in the control room: arms the relays, sheds for limits and by the clock, brings feeders back.

The decisions are those of ``twin.dms.load_shedding``; here is when it is asked, what is remembered, and its plans. The
under-frequency stages trip in the field by themselves: no telecontrol is fast enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from twin.control_room.desk import CyclicDesk, Host
from twin.control_room.load_shedding_check import Step, StepChecker
from twin.control_room.load_shedding_seen import PlantImage
from twin.control_room.plans import Course, PlanState
from twin.control_room.settings import LoadSheddingDeskSettings
from twin.dms.load_shedding import APPLICATION, Feeder, Violation, arm, relieve, restore, scheduled_kw
from twin.dms.plan import Plan, PlanStep, StepAction, StepPurpose, Verdict
from twin.journal import JournalEntry
from twin.network.model import Network
from twin.points.calculated import calculated_point
from twin.points.model import PointDefinition, PointKind, Quality
from twin.timebase import NEVER, SimTime

ACTIVE = f"{APPLICATION}.active"
"""The calculated point that is 1 while feeders are shed: FLISR waits meanwhile."""

FIGURES = {"net_kw": "kW", "armed_kw": "kW", "shed_kw": "kW"}
BY_FREQUENCY, BY_LIMIT, BY_CLOCK = "frequency", "limit", "clock"

DAY_MS = 86_400_000

ANSWERS_FOR_MS = 120_000
"""A feeder that opens within this time after its plan was last seen to wait or run was opened by load shedding."""

SPARED_MS = 600_000
"""A feeder head that did not operate is left alone for this long."""


def load_shedding_points(
    network: Network, definitions: Sequence[PointDefinition], settings: LoadSheddingDeskSettings
) -> list[PointDefinition]:
    """The figures of the whole: net load, what is armed, what is off, and whether anything is."""
    figures = [calculated_point(APPLICATION, name, unit, equipment=False) for name, unit in FIGURES.items()]
    return [*figures, calculated_point(APPLICATION, "active", equipment=False, kind=PointKind.SINGLE)]


@dataclass
class Off:
    """A feeder that was shed."""

    since_ms: SimTime
    before_kw: float
    reason: str


@dataclass
class Back:
    """A feeder that has come back, until its power is measured again: the measurement may be from before."""

    closed_at_ms: SimTime
    before_kw: float
    until_ms: SimTime


class LoadSheddingDesk(CyclicDesk):
    """Load shedding for all feeder heads of a control room."""

    def __init__(self, host: Host, settings: LoadSheddingDeskSettings) -> None:
        super().__init__(APPLICATION, host, settings.period_ms, settings.settle_ms)
        self._settings = settings
        self._plant = PlantImage(host, settings)
        self._checker = StepChecker(host.network, settings, self._plant.rows)
        self._writer = host.database.calculated([p.name for p in load_shedding_points(host.network, (), settings)])
        self._last_kw: dict[str, float] = {}
        self._off: dict[str, Off] = {}
        self._back: dict[str, Back] = {}
        self._opening: dict[str, tuple[str, SimTime]] = {}
        self._spared: dict[str, SimTime] = {}
        self._times_shed = dict.fromkeys(self._plant.rows, 0)
        self._broken_since: dict[str, SimTime] = {}
        self._steady_since: SimTime = NEVER
        self._rotation = 0
        self._rotate_at: SimTime = settings.rotate_ms or NEVER
        self._plan_id = ""
        self._made = 0
        self._said: list[str] = []
        self._told: list[str] = []
        self._exporting: tuple[bool, ...] = ()

    # -- what arrives ---------------------------------------------------------------------------------------------

    def follow(self, now: SimTime) -> None:
        """A feeder that starts to export is looked at soon; a switch that moves by other hands stops what runs."""
        before = self._positions
        super().follow(now)
        exporting = self._plant.exporting()
        if exporting != self._exporting:
            self._exporting = exporting
            self._due = min(self._due, now + self._settle_ms)
        if before and before != self._positions:
            self._stop_for_others(before, now)

    def _stop_for_others(self, before: Sequence[int], now: SimTime) -> None:
        """The running plan was not checked for switches that it does not operate."""
        course = self.host.plans.course(self._plan_id)
        if course is None or course.state is not PlanState.RUNNING:
            return
        mine = {step.equipment for step in course.steps}
        names = self.host.network.switches.names
        moved = [n for n, old, new in zip(names, before, self._positions, strict=True) if old != new and n not in mine]
        if moved:
            self.host.plans.stop(self._plan_id, f"{', '.join(moved)} moved", now)

    def on_failed(self, course: Course, now: SimTime) -> None:
        """A feeder head of a plan of its own did not operate: others come first for a while."""
        if course.application == APPLICATION:
            self._spared[course.failed_switch] = now + SPARED_MS

    # -- one look -------------------------------------------------------------------------------------------------

    def run(self, now: SimTime) -> None:
        """Look, and propose the most urgent thing: relief, then restoration, then arming."""
        self._follow_feeders(now)
        feeders = self._feeders(now)
        f_hz = self._plant.frequency()
        self._follow_frequency(f_hz, now)
        self._publish(feeders, now)
        course = self.host.plans.course(self._plan_id)
        if course is not None and course.state in (PlanState.WAITING, PlanState.RUNNING):
            return
        self._said = []
        if not self._relieve(feeders, now) and not self._restore(feeders, f_hz, now) and not self._off:
            self._arm(feeders, now)
        self._explain(now)

    def _follow_feeders(self, now: SimTime) -> None:
        """Who was shed since the last look, and who is back."""
        self._follow_asked(now)
        for name in self._plant.rows:
            closed = self._plant.closed(name)
            if closed:
                self._follow_closed(name, now)
            elif closed is False and name not in self._off and (reason := self._reason(name, now)):
                self._off[name] = Off(now, self._last_kw.get(name, 0.0), reason)
                self._back.pop(name, None)
                self._times_shed[name] += 1
                self._steady_since = NEVER
            elif closed is False and name in self._off and self._plant.protection_acted(name):
                del self._off[name]  # it came back and tripped for a fault between two looks
        self._opening = {name: asked for name, asked in self._opening.items() if name not in self._off}

    def _follow_asked(self, now: SimTime) -> None:
        """A plan that waits or runs goes on asking for its feeders to open; one that is turned down asks no more."""
        course = self.host.plans.course(self._plan_id)
        mine = {step.equipment for step in course.steps} if course else set()
        if course and course.state is PlanState.REJECTED:
            self._opening = {name: asked for name, asked in self._opening.items() if name not in mine}
        elif course and course.state in (PlanState.WAITING, PlanState.RUNNING):
            for name in mine & self._opening.keys():
                self._opening[name] = (self._opening[name][0], now)

    def _follow_closed(self, name: str, now: SimTime) -> None:
        if off := self._off.pop(name, None):
            position = self._plant.reading(name, "position")
            closed_at = position.source_t_ms if position else now
            self._back[name] = Back(closed_at, off.before_kw, now + 2 * self._settings.period_ms)
        back = self._back.get(name)
        if back and (now >= back.until_ms or self._plant.measured_since(name, back.closed_at_ms)):
            del self._back[name]
        power_kw = self._power_kw(name)
        self._last_kw[name] = self._last_kw.get(name, 0.0) if power_kw is None else power_kw

    def _power_kw(self, name: str) -> float | None:
        """What a feeder takes; just after its head has closed what it took before, None if it cannot be read."""
        measured = self._plant.value(name, "p_kw")
        return measured if measured is None or name not in self._back else self._back[name].before_kw

    def _reason(self, name: str, now: SimTime) -> str:
        """Why an open feeder counts as shed; empty if it does not."""
        if self._plant.protection_acted(name):
            return ""
        if self._plant.value(name, "ufls_trip") == 1.0:
            return BY_FREQUENCY
        reason, asked_ms = self._opening.get(name, ("", NEVER))
        return reason if now - asked_ms <= ANSWERS_FOR_MS + self._period_ms else ""

    def _follow_frequency(self, f_hz: float | None, now: SimTime) -> None:
        limits = self._settings.limits
        if not self._plant.measures_frequency:  # then time alone counts
            self._steady_since = now if self._steady_since == NEVER else self._steady_since
        elif f_hz is None or f_hz < limits.stop_hz or (f_hz < limits.restore_hz and self._steady_since == NEVER):
            self._steady_since = NEVER
        elif self._steady_since == NEVER:
            self._steady_since = now

    def _feeders(self, now: SimTime) -> tuple[Feeder, ...]:
        unsafe = self._plant.unsafe() if self._off else {}
        return tuple(self._feeder(name, unsafe.get(name, ""), now) for name in self._plant.rows)

    def _feeder(self, name: str, unsafe: str, now: SimTime) -> Feeder:
        closed, p_kw, off = self._plant.closed(name), self._power_kw(name), self._off.get(name)
        return Feeder(
            name=name,
            p_kw=p_kw or 0.0,
            closed=closed is not False,
            known=closed is not None and p_kw is not None,
            reachable=closed is not None,
            blocked=self._plant.blocked(name) or now < self._spared.get(name, 0),
            unsafe=unsafe,
            armed=self._plant.armed(name),
            off_since_ms=off.since_ms if off else NEVER,
            before_kw=off.before_kw if off else 0.0,
            times_shed=self._times_shed[name],
        )

    def _publish(self, feeders: Sequence[Feeder], now: SimTime) -> None:
        net_kw = sum(f.p_kw for f in feeders if f.known and f.closed)
        armed_kw = sum(f.p_kw for f in feeders if f.armed)
        off_kw = sum(off.before_kw for off in self._off.values())
        self._writer.publish(np.array([net_kw, armed_kw, off_kw, float(bool(self._off))]), Quality.GOOD, now)

    # -- what is done ---------------------------------------------------------------------------------------------

    def _of_day_ms(self, now: SimTime) -> int:
        at = self.host.time_base.instant(now)
        return 1000 * (at.hour * 3600 + at.minute * 60 + at.second) + at.microsecond // 1000

    def _wanted_off_kw(self, feeders: Sequence[Feeder], now: SimTime) -> float:
        return scheduled_kw(feeders, self._settings.limits, self._of_day_ms(now))

    def _to_next_edge(self, now: SimTime) -> SimTime:
        """How long until a time-of-day scheme begins or ends, ms."""
        edges = (edge for window in self._settings.limits.windows for edge in (window.begin_ms, window.end_ms))
        return min(((edge - self._of_day_ms(now) - 1) % DAY_MS + 1 for edge in edges), default=DAY_MS)

    def _relieve(self, feeders: Sequence[Feeder], now: SimTime) -> bool:
        self._due = min(self._due, now + self._to_next_edge(now))
        wanted_kw = self._wanted_off_kw(feeders, now)
        violations = self._lasting(self._plant.violations(feeders), now)
        result = relieve(feeders, violations, self._settings.limits, wanted_kw=wanted_kw, rotation=self._rotation)
        if not result.open:
            self._said += result.why
            return bool(violations)
        behind = {name for violation in violations for name in violation.feeders}
        reasons = {name: BY_LIMIT if name in behind else BY_CLOCK for name in result.open}
        steps = [Step(name, StepAction.OPEN, f"{name} opens and sheds its feeder") for name in result.open]
        if not self._propose("shed load", steps, result.why, StepPurpose.SHED, feeders, now):
            return bool(violations)
        self._opening.update({name: (reason, now) for name, reason in reasons.items()})
        return True

    def _lasting(self, violations: Sequence[Violation], now: SimTime) -> list[Violation]:
        """Those that have stood for the delay; brings the next look forward to when others will have."""
        since = {v.name: self._broken_since.get(v.name, now) for v in violations}
        self._broken_since = since
        due = [since[v.name] + self._settings.delay_ms for v in violations]
        self._due = min([self._due, *(at for at in due if at > now)])
        return [v for v, at in zip(violations, due, strict=True) if at <= now]

    def _restore(self, feeders: Sequence[Feeder], f_hz: float | None, now: SimTime) -> bool:
        if not self._off:
            return False
        if others := self.host.plans.running_but(APPLICATION):
            self._said.append(f"Nothing is restored while {', '.join(others)} is carried out.")
            return False
        result = restore(
            feeders,
            self._settings.limits,
            f_hz=f_hz,
            measured=self._plant.measures_frequency,
            steady_since_ms=self._steady_since,
            now=now,
            held_off=self._held_off(feeders, now),
        )
        self._due = min(self._due, max(result.not_before_ms, now + 1))
        if not result.close:
            self._said += result.why
            return False
        steps = [Step(name, StepAction.CLOSE, f"{name} closes and its feeder is back") for name in result.close]
        done = self._propose("bring load back", steps, result.why, StepPurpose.RESTORE, feeders, now)
        self._steady_since = now if done else self._steady_since
        return done

    def _held_off(self, feeders: Sequence[Feeder], now: SimTime) -> list[str]:
        """Those that the time of the day keeps off: who was shed first comes back first when less is wanted."""
        wanted_kw = self._wanted_off_kw(feeders, now)
        off_kw, held = sum(off.before_kw for off in self._off.values() if off.reason != BY_CLOCK), []
        for name, off in sorted(self._off.items(), key=lambda row: row[1].since_ms, reverse=True):
            if off.reason == BY_CLOCK and wanted_kw - off_kw > self._settings.limits.tolerance * wanted_kw:
                held.append(name)
                off_kw += off.before_kw
        return held

    def _arm(self, feeders: Sequence[Feeder], now: SimTime) -> None:
        with_relay = [f for f in feeders if self._plant.stages.get(f.name)]
        if not with_relay:
            return
        rotate = now >= self._rotate_at
        if rotate:
            self._rotation += 1
            self._rotate_at = now + self._settings.rotate_ms
        most = max(len(stages) for stages in self._plant.stages.values())
        limits = self._settings.limits.model_copy(update={"shares": self._settings.limits.shares[:most]})
        result = arm(with_relay, limits, rotation=self._rotation, rotate=rotate)
        if result.changes:
            actions = [(n, s, StepAction.ARM if armed else StepAction.DISARM) for n, s, armed in result.changes]
            steps = [Step(n, a, f"stage {s} of {n} is {a.value}ed", float(s)) for n, s, a in actions]
            self._propose("arm under-frequency stages", steps, result.why, StepPurpose.ARM, feeders, now)
        elif not result.complete:
            self._said += result.why

    def _explain(self, now: SimTime) -> None:
        """Say why nothing is done although something is wrong; once, until the kind of reason changes."""
        kinds = ["".join(c for c in sentence if not c.isdigit()) for sentence in self._said]
        if kinds and kinds != self._told:
            data = {"application": APPLICATION, "why": list(self._said)}
            self.host.record(JournalEntry(now, "control_room", "no_plan", APPLICATION, data))
        self._told = kinds

    def _propose(
        self,
        title: str,
        steps: Sequence[Step],
        why: Sequence[str],
        purpose: StepPurpose,
        feeders: Sequence[Feeder],
        now: SimTime,
    ) -> bool:
        """Hand a plan over; False if the power flow forbids every step."""
        closed = self.host.watch.closed_before.copy()
        for name, row in self._plant.rows.items():
            closed[row] = self._plant.closed(name) is not False
        checked, refused = self._checker.checked(steps, feeders, closed)
        if not checked:
            self._said += refused
            return False
        self._made += 1
        self._plan_id = f"{APPLICATION}-{self._made}"
        rows = [
            PlanStep(number, step.feeder, step.action, purpose, step.expects, check, step.value)
            for number, (step, check) in enumerate(checked, 1)
        ]
        plan = Plan(self._plan_id, APPLICATION, title, Verdict.IMPROVED, (*why, *refused), tuple(rows))
        self._said = []
        self.host.plans.propose(plan, self._settings.mode, now)
        return True

    # -- state ----------------------------------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """Looks, plans, and how many feeders are off."""
        return {**super().counts(), "plans": self._made, "feeders_off": len(self._off)}

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data."""
        return {
            **super().snapshot(),
            "last_kw": self._last_kw,
            "off": {name: [off.since_ms, off.before_kw, off.reason] for name, off in self._off.items()},
            "back": {name: [b.closed_at_ms, b.before_kw, b.until_ms] for name, b in self._back.items()},
            "opening": self._opening,
            "spared": self._spared,
            "times_shed": self._times_shed,
            "broken_since": self._broken_since,
            "steady_since": self._steady_since,
            "rotation": [self._rotation, self._rotate_at],
            "plans": [self._plan_id, self._made],
            "told": self._told,
            "exporting": self._exporting,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        super().restore(state)
        self._last_kw, self._spared = dict(state["last_kw"]), dict(state["spared"])
        self._opening = {name: (reason, asked_ms) for name, (reason, asked_ms) in state["opening"].items()}
        self._off = {name: Off(*row) for name, row in state["off"].items()}
        self._back = {name: Back(*row) for name, row in state["back"].items()}
        self._times_shed, self._broken_since = dict(state["times_shed"]), dict(state["broken_since"])
        self._steady_since = state["steady_since"]
        self._rotation, self._rotate_at = state["rotation"]
        self._plan_id, self._made = state["plans"]
        self._told, self._exporting = list(state["told"]), tuple(state["exporting"])
