"""Fault location, isolation and supply restoration: an observation in, a checked switching plan out.

Not for deciding when to look (``trigger``) and not for carrying a plan out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from twin.dms.check import Limits, StateChecker, Violation
from twin.dms.flisr.blocks import block_graph, healthy_zones
from twin.dms.flisr.isolate import isolate
from twin.dms.flisr.locate import describe_area, locate, zone_names
from twin.dms.flisr.model import (
    APPLICATION,
    FlisrSettings,
    Isolation,
    Location,
    Observation,
    priority_weights,
)
from twin.dms.flisr.search import Candidate, Rejection, RestorationSearch, SearchResult
from twin.dms.flisr.steps import CheckedSteps, Operation, StepChecker, closing_order
from twin.dms.plan import Plan, StepAction, StepPurpose, Verdict
from twin.dms.zonegraph import ZoneGraph, zone_graph
from twin.network.model import Bools, Network
from twin.solvers import power_flow
from twin.solvers.model import PowerFlow


def make_plan(
    network: Network,
    observation: Observation,
    settings: FlisrSettings | None = None,
    *,
    location: Location | None = None,
    device: int | None = None,
    solver: PowerFlow | None = None,
) -> Plan:
    """Locate the fault, isolate it and restore as many customers as the limits allow.

    ``location`` is used as it stands if given (default: :func:`locate` with ``device``). ``solver`` is a power flow
    of ``network`` to be reused; its demand, generation, taps and switch states are overwritten.
    """
    settings = settings or FlisrSettings()
    location = location or locate(network, observation, settings, device=device)
    if not location.located:
        return _no_plan(network, observation, location, location.why)
    graph = zone_graph(network)
    observation = observation.at_peak()
    isolation = isolate(network, graph, observation, location)
    if isolation.problem:
        why = (*location.why, *isolation.remarks, f"No plan: {isolation.problem}")
        return _no_plan(network, observation, location, why)
    return _Planner(network, graph, observation, settings, location, isolation, solver or power_flow(network)).plan()


def replan(
    network: Network,
    observation: Observation,
    failed: Iterable[str],
    location: Location,
    settings: FlisrSettings | None = None,
    *,
    solver: PowerFlow | None = None,
) -> Plan:
    """A new plan from the present state after switches named ``failed`` did not operate: they are not used again.

    ``observation`` shows the present positions; ``location`` is that of the plan that failed.
    """
    rows = [network.switches.names.index(name) for name in failed]
    return make_plan(network, observation.with_blocked(rows), settings, location=location, solver=solver)


def _no_plan(network: Network, observation: Observation, location: Location, why: tuple[str, ...]) -> Plan:
    interrupted = _interrupted(network, zone_graph(network), observation)
    return Plan(
        plan_id=_plan_id(network, observation, location),
        application=APPLICATION,
        title="Fault not isolated",
        verdict=Verdict.NONE,
        why=why,
        customers_interrupted=interrupted,
        customers_not_restored=interrupted,
    )


def _plan_id(network: Network, observation: Observation, location: Location) -> str:
    device = network.switches.names[location.device] if location.device >= 0 else network.name
    return f"{APPLICATION}-{device}-{observation.t_ms}"


def _interrupted(network: Network, graph: ZoneGraph, observation: Observation) -> int:
    """Customers that were supplied before and are not for certain now."""
    lost = graph.energised(observation.closed_before) & ~graph.energised(observation.closed)
    return int(network.consumers.customers[lost[graph.node_zone[network.consumers.node]]].sum())


@dataclass
class _Planner:
    network: Network
    graph: ZoneGraph
    observation: Observation
    settings: FlisrSettings
    location: Location
    isolation: Isolation
    solver: PowerFlow

    def __post_init__(self) -> None:
        self.before = self.observation
        seen = self.observation = self._with_pickup()
        self.unknown: Bools = ~seen.position_known
        self.solved_unknown = self.unknown & (seen.closed_before | self._borders_dead_part())
        self.checker = self._state_checker()
        self.returning = self._returning_checker()
        self.steps = StepChecker(
            self.network,
            self.graph,
            self.checker,
            self.isolation,
            seen.closed,
            self.unknown,
            self.solved_unknown,
        )

    def _with_pickup(self) -> Observation:
        """What is dead now takes more when it is supplied again: the diversity of its demand is gone."""
        dead = ~self.graph.energised(self.before.closed)[self.graph.node_zone[self.network.consumers.node]]
        factor = self.before.pickup(dead, self.settings.cold_load_factor)
        return replace(self.before, p_kw=self.before.p_kw * factor, q_kvar=self.before.q_kvar * factor)

    def _borders_dead_part(self) -> Bools:
        """Switches at the dead part: closed or not makes a difference there."""
        nothing = np.zeros(self.network.switches.n, np.bool_)
        zones = healthy_zones(self.graph, self.observation, self.isolation, nothing)
        dead = zones.dead | zones.isolated
        borders: Bools = dead[self.graph.switch_a] | dead[self.graph.switch_b]
        return borders

    def _state_checker(self) -> StateChecker:
        seen, settings = self.observation, self.settings
        n = self.network.generators.n
        p_kw = np.zeros(n) if seen.generation_kw is None else seen.generation_kw
        q_kvar = np.zeros(n) if seen.generation_kvar is None else seen.generation_kvar
        limits = Limits(settings.max_loading, settings.v_min_pu, settings.v_max_pu)
        self.solver.update(p_kw=self.before.p_kw, q_kvar=self.before.q_kvar, tap_position=seen.tap_position)
        self.solver.update(generation_kw=p_kw, generation_kvar=q_kvar)
        checker = StateChecker(self.network, self.solver, limits)
        checker.tolerate(seen.closed_before)
        on = self.graph.energised(seen.closed)[self.graph.node_zone[self.network.generators.node]]
        self.solver.update(generation_kw=np.where(on, p_kw, 0.0), generation_kvar=np.where(on, q_kvar, 0.0))
        checker.tolerate(seen.closed)
        self.solver.update(p_kw=seen.p_kw, q_kvar=seen.q_kvar)
        return checker

    def _returning_checker(self) -> StateChecker | None:
        """For the state with all units back; None if none lost its supply, or that is not asked for.

        A solver of its own: inputs must not change under a checker.
        """
        before, settings = self.before, self.settings
        units = self.network.generators.node
        lost = ~self.graph.energised(before.closed)[self.graph.node_zone[units]]
        if (
            not settings.generation_returns
            or before.generation_kw is None
            or not (before.generation_kw[lost] > 0).any()
        ):
            return None
        least = np.ones(len(before.p_kw)) if before.least_factor is None else before.least_factor
        solver = power_flow(self.network)
        solver.update(p_kw=before.p_kw * least, q_kvar=before.q_kvar * least, tap_position=before.tap_position)
        q_kvar = np.zeros(len(units)) if before.generation_kvar is None else before.generation_kvar
        solver.update(generation_kw=before.generation_kw, generation_kvar=q_kvar)
        limits = Limits(min(settings.max_reverse, settings.max_loading), settings.v_min_pu, settings.v_max_pu)
        checker = StateChecker(self.network, solver, limits)
        checker.tolerate(before.closed_before)
        return checker

    # --- the plan ----------------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        closed = self.observation.closed.copy()
        closed[list(self.isolation.to_open)] = False
        blocks = block_graph(
            self.network,
            self.graph,
            self.observation,
            self.isolation,
            self.location.device,
            reclose=self.settings.reclose_feeder_head,
            weights=priority_weights(self.network, self.settings.priority),
        )
        search = RestorationSearch(self.network, blocks, self.checker, self.settings, closed, self.solved_unknown)
        result = search.run(self._reject_by_steps)
        if result.best:
            return self._worth_it(self._as_plan(self._checked(result.best[0][1]), result))
        isolating = self.steps.check(self._isolating())
        if isolating.violation is not None:
            return self._refuse(f"even isolating the fault would {isolating.violation.effect}")
        return self._worth_it(self._as_plan(isolating, result))

    def _refuse(self, reason: str) -> Plan:
        why = (*self.location.why, *self.isolation.remarks, f"No plan: {reason}.")
        return _no_plan(self.network, self.observation, self.location, why)

    def _worth_it(self, plan: Plan) -> Plan:
        """The plan, unless it takes off supplied customers and that is not allowed or does not pay."""
        before = self.checker.check(self.observation.closed, self.solved_unknown).check.customers_supplied
        least = min((step.check.customers_supplied for step in plan.steps), default=before)
        if least >= before:
            return plan
        taken = f"isolating around it takes {before - least} supplied customers off"
        if not self.settings.drop_supplied:
            return self._refuse(f"{taken}, which is not allowed")
        if plan.customers_restored <= 0:
            return self._refuse(f"{taken}, and no more get their supply back")
        return replace(plan, why=(*plan.why, f"{taken[0].upper()}{taken[1:]}, fewer than get theirs back."))

    def _reject_by_steps(self, candidate: Candidate) -> Violation | None:
        return self._checked(candidate).violation or self._when_generation_is_back(candidate)

    def _when_generation_is_back(self, candidate: Candidate) -> Violation | None:
        """What the end of the plan breaks at the lowest demand to come, with all generating units at work again."""
        if self.returning is None:
            return None
        closed = self.observation.closed.copy()
        for operation in self._operations(candidate):
            closed[operation.switch] = operation.action is StepAction.CLOSE
        found = self.returning.check(closed, self.solved_unknown).violations
        if not found:
            return None
        return replace(found[0], effect=f"{found[0].effect} once generating units are back")

    def _checked(self, candidate: Candidate) -> CheckedSteps:
        return self.steps.check(self._operations(candidate))

    def _isolating(self) -> list[Operation]:
        return [Operation(s, StepAction.OPEN, StepPurpose.ISOLATE) for s in self.isolation.to_open]

    def _operations(self, candidate: Candidate) -> list[Operation]:
        cuts = sorted(candidate.cuts)
        closed = self.observation.closed.copy()
        closed[[*self.isolation.to_open, *cuts]] = False
        roots = [part.root for part in candidate.supply.parts]
        head = [s for s in roots if s == self.location.device]
        ties = sorted(t.switch for t in candidate.ties)
        order = closing_order(self.graph, closed, [*head, *ties])
        return [
            *self._isolating(),
            *(Operation(s, StepAction.OPEN, StepPurpose.RESTORE) for s in cuts),
            *(Operation(s, StepAction.CLOSE, StepPurpose.RESTORE) for s in order),
        ]

    def _as_plan(self, checked: CheckedSteps, result: SearchResult) -> Plan:
        interrupted = _interrupted(self.network, self.graph, self.observation)
        before = self.checker.check(self.observation.closed, self.solved_unknown).check
        after = checked.steps[-1].check if checked.steps else before
        restored = after.customers_supplied - before.customers_supplied
        isolated = self._customers_isolated()
        left = interrupted - restored
        area = describe_area(self.network, self.graph, self.location.area)
        return Plan(
            plan_id=_plan_id(self.network, self.observation, self.location),
            application=APPLICATION,
            title=f"Isolate {area}" + (f" and restore {restored} customers" if restored else ""),
            verdict=self._verdict(restored, left - isolated),
            why=self._why(result, restored, left, isolated, after.tolerated),
            steps=checked.steps,
            isolated=zone_names(self.network, self.isolation.area),
            customers_interrupted=interrupted,
            customers_restored=restored,
            customers_not_restored=left,
            switches_to_avoid=self._avoided(),
            evaluations=self.checker.evaluations,
        )

    def _customers_isolated(self) -> int:
        inside = self.graph.mask(self.isolation.area)[self.graph.node_zone[self.network.consumers.node]]
        return int(self.network.consumers.customers[inside].sum())

    @staticmethod
    def _verdict(restored: int, left_outside: int) -> Verdict:
        if left_outside <= 0:
            return Verdict.FULL
        return Verdict.PARTIAL if restored else Verdict.ISOLATION_ONLY

    def _avoided(self) -> tuple[str, ...]:
        rows = np.flatnonzero(self.observation.blocked | self.unknown)
        return tuple(self.network.switches.names[i] for i in rows)

    # --- why ---------------------------------------------------------------------------------------------------

    def _why(
        self, result: SearchResult, restored: int, left: int, isolated: int, tolerated: tuple[str, ...]
    ) -> tuple[str, ...]:
        outcome = f"{restored} customers are supplied again; {left} stay without supply, {isolated} of them isolated."
        sentences = [*self.location.why, *self.isolation.remarks, outcome, *self._reasons(result.rejections)]
        if left > isolated and not result.rejections:
            sentences.append("No switch that could supply the rest can be used.")
        if not result.exhausted:
            sentences.append("The search was cut short: there may be a better plan.")
        sentences += [f"{text}." for text in tolerated]
        return tuple(sentences)

    def _reasons(self, rejections: list[Rejection]) -> list[str]:
        """One sentence for each choice of ties, its first violation."""
        first: dict[tuple[int, ...], Rejection] = {}
        for rejection in rejections:
            first.setdefault(rejection.closing, rejection)
        chosen = list(first.values())[: self.settings.max_reasons]
        return [f"Not taken: {self._rejected(rejection)}." for rejection in chosen]

    def _rejected(self, rejection: Rejection) -> str:
        names = self.network.switches.names
        closing = " and ".join(names[s] for s in rejection.closing)
        opening = " and ".join(names[s] for s in rejection.opening)
        opened = f" with {opening} open" if opening else ""
        return f"closing {closing}{opened} would {rejection.violation.effect}"
