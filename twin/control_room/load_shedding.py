"""Load shedding at work in the control room: arms the relays, sheds for limits and by the clock, brings feeders back.

The decisions are those of ``twin.dms.load_shedding``; here is what it is shown, when it is asked, and its plans. The
under-frequency stages trip in the field by themselves: no telecontrol is fast enough.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from twin.control_room.desk import CyclicDesk, Host
from twin.control_room.plans import PlanState
from twin.control_room.settings import LoadSheddingDeskSettings
from twin.dms.check import Limits, StateChecker
from twin.dms.load_shedding import APPLICATION, Feeder, Violation, arm, relieve, restore, scheduled_kw
from twin.dms.plan import Plan, PlanStep, StepAction, StepCheck, StepPurpose, Verdict
from twin.journal import JournalEntry
from twin.network.model import Bools, Floats, Network
from twin.network.topology import Topology
from twin.points.calculated import calculated_point
from twin.points.model import DoublePosition, PointDefinition, PointKind, Quality
from twin.scada.tags import SwitchAction
from twin.solvers import power_flow
from twin.timebase import NEVER, SimTime

ACTIVE = f"{APPLICATION}.active"
"""The calculated point that is 1 while feeders are shed: FLISR waits meanwhile."""

FIGURES = {"net_kw": "kW", "armed_kw": "kW", "shed_kw": "kW"}
BY_FREQUENCY, BY_LIMIT, BY_CLOCK = "frequency", "limit", "clock"


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


class LoadSheddingDesk(CyclicDesk):
    """Load shedding for all feeder heads of a control room."""

    def __init__(self, host: Host, settings: LoadSheddingDeskSettings) -> None:
        super().__init__(APPLICATION, host, settings.period_ms, settings.settle_ms)
        self._settings = settings
        network = host.network
        self._rows = {network.switches.names[row]: row for row in np.flatnonzero(network.switches.feeder_head).tolist()}
        self._stages = _stages(host.definitions, self._rows)
        self._topology = Topology(network)
        self._solver = power_flow(network)
        self._writer = host.database.calculated([p.name for p in load_shedding_points(network, (), settings)])
        self._last_kw: dict[str, float] = {}
        self._off: dict[str, Off] = {}
        self._opening: dict[str, str] = {}
        self._times_shed = dict.fromkeys(self._rows, 0)
        self._broken_since: dict[str, SimTime] = {}
        self._steady_since: SimTime = NEVER
        self._rotation = 0
        self._rotate_at: SimTime = settings.rotate_ms or NEVER
        self._plan_id = ""
        self._made = 0
        self._told: list[str] = []

    # -- one look -------------------------------------------------------------------------------------------------

    def run(self, now: SimTime) -> None:
        """Look, and propose the most urgent thing: relief, then restoration, then arming."""
        self._follow_feeders(now)
        feeders = tuple(self._feeder(name) for name in self._rows)
        f_hz = self._frequency()
        self._follow_frequency(f_hz, now)
        self._publish(feeders, now)
        course = self.host.plans.course(self._plan_id)
        if course is not None and course.state in (PlanState.WAITING, PlanState.RUNNING):
            return
        if not self._relieve(feeders, now) and not self._restore(feeders, f_hz, now) and not self._off:
            self._arm(feeders, now)

    def _follow_feeders(self, now: SimTime) -> None:
        """Who was shed since the last look, and who is back."""
        for name, row in self._rows.items():
            closed = self._closed(row)
            if closed is None:
                continue
            if closed:
                self._off.pop(name, None)
                power_kw = self._value(name, "p_kw")
                self._last_kw[name] = self._last_kw.get(name, 0.0) if power_kw is None else power_kw
            elif name not in self._off and (reason := self._reason(name)):
                self._off[name] = Off(now, self._last_kw.get(name, 0.0), reason)
                self._times_shed[name] += 1
                self._steady_since = NEVER
        self._opening = {name: why for name, why in self._opening.items() if name not in self._off}

    def _reason(self, name: str) -> str:
        """Why an open feeder counts as shed; empty if it does not."""
        return BY_FREQUENCY if self._value(name, "ufls_trip") == 1.0 else self._opening.get(name, "")

    def _follow_frequency(self, f_hz: float | None, now: SimTime) -> None:
        limits = self._settings.limits
        if f_hz is None or f_hz < limits.stop_hz or (f_hz < limits.restore_hz and self._steady_since == NEVER):
            self._steady_since = NEVER
        elif self._steady_since == NEVER:
            self._steady_since = now

    # -- what is seen ---------------------------------------------------------------------------------------------

    def _value(self, name: str, quantity: str) -> float | None:
        point, database = f"{name}.{quantity}", self.host.database
        return database.value(point) if point in database and database.good(point) else None

    def _closed(self, row: int) -> bool | None:
        position = self._value(self.host.network.switches.names[row], "position")
        known = (DoublePosition.OPEN, DoublePosition.CLOSED)
        return None if position not in known else position == DoublePosition.CLOSED

    def _feeder(self, name: str) -> Feeder:
        row = self._rows[name]
        closed, p_kw, off = self._closed(row), self._value(name, "p_kw"), self._off.get(name)
        tags = self.host.tags
        return Feeder(
            name=name,
            p_kw=p_kw or 0.0,
            closed=closed is not False,
            known=closed is not None and p_kw is not None,
            blocked=self._value(name, "local") == 1.0 or any(tags.blocking(name, action) for action in SwitchAction),
            armed=tuple(s for s in self._stages.get(name, ()) if self._value(name, f"ufls_armed_{s}") == 1.0),
            off_since_ms=off.since_ms if off else NEVER,
            before_kw=off.before_kw if off else 0.0,
            times_shed=self._times_shed[name],
        )

    def _frequency(self) -> float | None:
        """The lowest frequency that any relay measures."""
        seen = [f for name in self._rows if (f := self._value(name, "f_hz")) is not None]
        return min(seen, default=None)

    def _publish(self, feeders: Sequence[Feeder], now: SimTime) -> None:
        net_kw = sum(f.p_kw for f in feeders if f.known and f.closed)
        armed_kw = sum(f.p_kw for f in feeders if f.armed)
        off_kw = sum(off.before_kw for off in self._off.values())
        self._writer.publish(np.array([net_kw, armed_kw, off_kw, float(bool(self._off))]), Quality.GOOD, now)

    # -- what is done ---------------------------------------------------------------------------------------------

    def _relieve(self, feeders: Sequence[Feeder], now: SimTime) -> bool:
        of_day = self.host.time_base.instant(now)
        wanted_kw = scheduled_kw(
            feeders, self._settings.limits, 1000 * (of_day.hour * 3600 + of_day.minute * 60 + of_day.second)
        )
        violations = self._lasting(self._violations(feeders), now)
        result = relieve(feeders, violations, self._settings.limits, wanted_kw=wanted_kw, rotation=self._rotation)
        if not result.open:
            self._explain(result.why, now)
            return bool(violations)
        reason = BY_LIMIT if violations else BY_CLOCK
        self._opening.update(dict.fromkeys(result.open, reason))
        steps = [(name, StepAction.OPEN, f"{name} opens and sheds its feeder", None) for name in result.open]
        return self._propose("shed load", steps, result.why, StepPurpose.SHED, feeders, now)

    def _restore(self, feeders: Sequence[Feeder], f_hz: float | None, now: SimTime) -> bool:
        wanted = any(window.holds(self._of_day_ms(now)) for window in self._settings.limits.windows)
        held = [name for name, off in self._off.items() if off.reason == BY_CLOCK and wanted]
        result = restore(
            feeders, self._settings.limits, f_hz=f_hz, steady_since_ms=self._steady_since, now=now, held_off=held
        )
        self._due = min(self._due, max(result.not_before_ms, now + 1))
        if not result.close:
            self._explain(result.why if self._off else (), now)
            return False
        steps = [(name, StepAction.CLOSE, f"{name} closes and its feeder is back", None) for name in result.close]
        done = self._propose("bring load back", steps, result.why, StepPurpose.RESTORE, feeders, now)
        self._steady_since = now if done else self._steady_since
        return done

    def _of_day_ms(self, now: SimTime) -> int:
        at = self.host.time_base.instant(now)
        return 1000 * (at.hour * 3600 + at.minute * 60 + at.second)

    def _arm(self, feeders: Sequence[Feeder], now: SimTime) -> None:
        with_relay = [f for f in feeders if self._stages.get(f.name)]
        if not with_relay:
            return
        rotate = now >= self._rotate_at
        if rotate:
            self._rotation += 1
            self._rotate_at = now + self._settings.rotate_ms
        most = max(len(stages) for stages in self._stages.values())
        limits = self._settings.limits.model_copy(update={"shares": self._settings.limits.shares[:most]})
        result = arm(with_relay, limits, rotation=self._rotation, rotate=rotate)
        changes = [(name, stage, StepAction.DISARM) for name, stage in result.disarm]
        changes += [(name, stage, StepAction.ARM) for name, stage in result.arm]
        if changes:
            steps = [(n, a, f"stage {s} of {n} is {a.value}ed", float(s)) for n, s, a in changes]
            self._propose("arm under-frequency stages", steps, result.why, StepPurpose.ARM, feeders, now)
        else:
            self._explain(() if result.complete else result.why, now)

    def _explain(self, why: Sequence[str], now: SimTime) -> None:
        """Say why nothing is done although something is wrong; once, until the kind of reason changes."""
        kinds = ["".join(c for c in sentence if not c.isdigit()) for sentence in why]
        if kinds and kinds != self._told:
            data = {"application": APPLICATION, "why": list(why)}
            self.host.record(JournalEntry(now, "control_room", "no_plan", APPLICATION, data))
        self._told = kinds

    def _propose(
        self,
        title: str,
        steps: Sequence[tuple[str, StepAction, str, float | None]],
        why: Sequence[str],
        purpose: StepPurpose,
        feeders: Sequence[Feeder],
        now: SimTime,
    ) -> bool:
        """Hand a plan over; False if the power flow forbids its first step."""
        checked, refused = self._checked(steps, feeders)
        if refused:
            why = (*why, *refused)
        if not checked:
            self._explain(why, now)
            return False
        self._made += 1
        self._plan_id = f"{APPLICATION}-{self._made}"
        rows = [
            PlanStep(number, name, action, purpose, expects, check, value)
            for number, ((name, action, expects, value), check) in enumerate(checked, 1)
        ]
        plan = Plan(self._plan_id, APPLICATION, title, Verdict.IMPROVED, tuple(why), tuple(rows))
        self._told = []
        self.host.plans.propose(plan, self._settings.mode, now)
        return True

    # -- power flow -----------------------------------------------------------------------------------------------

    def _checked(
        self, steps: Sequence[tuple[str, StepAction, str, float | None]], feeders: Sequence[Feeder]
    ) -> tuple[list[tuple[tuple[str, StepAction, str, float | None], StepCheck]], list[str]]:
        """The steps up to the first that the power flow forbids, and why that one is forbidden."""
        closed = self.host.watch.closed_before.copy()
        for row in self._rows.values():
            closed[row] = self._closed(row) is not False
        checker = self._checker(feeders, closed)
        done: list[tuple[tuple[str, StepAction, str, float | None], StepCheck]] = []
        for step in steps:
            name, action = step[0], step[1]
            if action in (StepAction.OPEN, StepAction.CLOSE):
                closed[self._rows[name]] = action is StepAction.CLOSE
            check = checker.check(closed).check
            if not check.converged or (action is StepAction.CLOSE and not check.admissible):
                return done, [f"{name} stays as it is: to {action.value} it {'; '.join(check.violations)}."]
            done.append((step, check))
        return done, []

    def _checker(self, feeders: Sequence[Feeder], closed: Bools) -> StateChecker:
        """A checker at the rated demand of each feeder, scaled to what its head measures or measured before."""
        network, settings = self.host.network, self._settings
        factor = self._factors(feeders)
        self._solver.update(p_kw=network.consumers.p_kw * factor, q_kvar=network.consumers.q_kvar * factor)
        checker = StateChecker(network, self._solver, Limits(settings.max_loading, settings.v_min_pu, 1.15))
        checker.tolerate(closed)
        return checker

    def _factors(self, feeders: Sequence[Feeder]) -> Floats:
        network = self.host.network
        head = self._topology.state(network.switches.normally_closed).feeder_head[network.consumers.node]
        factor = np.ones(network.consumers.n)
        for feeder in feeders:
            mine = head == self._rows[feeder.name]
            rated = float(network.consumers.p_kw[mine].sum())
            cold = self._settings.limits.cold_load_factor if feeder.is_shed else 1.0
            seen = cold * feeder.before_kw if feeder.is_shed else feeder.p_kw
            if rated > 0 and feeder.known and seen > 0:
                factor[mine] = seen / rated
        return factor

    # -- limits ---------------------------------------------------------------------------------------------------

    def _lasting(self, violations: Sequence[Violation], now: SimTime) -> list[Violation]:
        """Those that have stood for the delay; brings the next look forward to when others will have."""
        since = {v.name: self._broken_since.get(v.name, now) for v in violations}
        self._broken_since = since
        due = [since[v.name] + self._settings.delay_ms for v in violations]
        self._due = min([self._due, *(at for at in due if at > now)])
        return [v for v, at in zip(violations, due, strict=True) if at <= now]

    def _violations(self, feeders: Sequence[Feeder]) -> list[Violation]:
        return [
            *self._overloaded_feeders(feeders),
            *self._overloaded_transformers(feeders),
            *self._low_busbars(feeders),
        ]

    def _overloaded_feeders(self, feeders: Sequence[Feeder]) -> list[Violation]:
        network, found = self.host.network, []
        for f in feeders:
            i_a, limit_a = self._value(f.name, "i_a"), self._rating_a(self._rows[f.name])
            if f.closed and i_a is not None and i_a > self._settings.max_loading * limit_a and f.p_kw > 0:
                line = network.branch_names[network.switches.branch[self._rows[f.name]]]
                excess = f.p_kw * (1.0 - self._settings.max_loading * limit_a / i_a)
                found.append(Violation(line, excess, (f.name,), f"{line} is at {100 * i_a / limit_a:.0f} %."))
        return found

    def _rating_a(self, row: int) -> float:
        branch = int(self.host.network.switches.branch[row])
        rating = float(self.host.network.branch_i_max_a[branch]) if branch >= 0 else math.inf
        return rating if rating > 0 else math.inf

    def _overloaded_transformers(self, feeders: Sequence[Feeder]) -> list[Violation]:
        table, found = self.host.network.transformers, []
        for row, name in enumerate(table.names):
            behind = self._at_busbar(feeders, int(table.node_to[row]))
            p_kw = sum(f.p_kw for f in behind)
            q_kvar = sum(self._value(f.name, "q_kvar") or 0.0 for f in behind)
            s_kva, limit = math.hypot(p_kw, q_kvar), self._settings.max_loading * float(table.s_kva[row])
            alone = int(np.count_nonzero(table.node_to == table.node_to[row])) == 1
            if alone and p_kw > 0 and s_kva > limit:
                names = tuple(f.name for f in behind)
                sentence = f"{name} is at {100 * s_kva / float(table.s_kva[row]):.0f} %."
                found.append(Violation(name, p_kw * (1.0 - limit / s_kva), names, sentence))
        return found

    def _low_busbars(self, feeders: Sequence[Feeder]) -> list[Violation]:
        network, found = self.host.network, []
        for node in dict.fromkeys(int(network.switches.node[row]) for row in self._rows.values()):
            name = network.nodes.names[node]
            v_kv, behind = self._value(name, "v_kv"), self._at_busbar(feeders, node)
            if v_kv is None or not behind or v_kv <= 0:
                continue
            v_pu = v_kv / float(network.nodes.v_nominal_kv[node])
            p_kw = sum(f.p_kw for f in behind if f.closed)
            if v_pu < self._settings.v_min_pu and p_kw > 0:
                # a first part in proportion: the voltage is looked at again before more is shed
                excess = p_kw * (self._settings.v_min_pu - v_pu) / self._settings.v_min_pu
                names = tuple(f.name for f in behind)
                found.append(Violation(name, excess, names, f"{name} is at {v_pu:.3f} pu."))
        return found

    def _at_busbar(self, feeders: Sequence[Feeder], node: int) -> list[Feeder]:
        at = self.host.network.switches.node
        return [f for f in feeders if f.known and f.closed and int(at[self._rows[f.name]]) == node]

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
            "opening": self._opening,
            "times_shed": self._times_shed,
            "broken_since": self._broken_since,
            "steady_since": self._steady_since,
            "rotation": [self._rotation, self._rotate_at],
            "plans": [self._plan_id, self._made],
            "told": self._told,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        super().restore(state)
        self._last_kw, self._opening = dict(state["last_kw"]), dict(state["opening"])
        self._off = {name: Off(*row) for name, row in state["off"].items()}
        self._times_shed, self._broken_since = dict(state["times_shed"]), dict(state["broken_since"])
        self._steady_since = state["steady_since"]
        self._rotation, self._rotate_at = state["rotation"]
        self._plan_id, self._made = state["plans"]
        self._told = list(state["told"])


def _stages(definitions: Sequence[PointDefinition], heads: Mapping[str, int]) -> dict[str, list[int]]:
    """The stages of each feeder head's relay that can be armed."""
    stages: dict[str, list[int]] = {}
    for d in definitions:
        if d.equipment in heads and d.quantity.startswith("arm_ufls_"):
            stages.setdefault(d.equipment, []).append(int(d.quantity.rpartition("_")[2]))
    return {name: sorted(found) for name, found in stages.items()}
