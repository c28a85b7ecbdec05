"""Turns the chosen switching state into steps and checks the state after every one of them.

Open before close: isolation first, then cuts (still dead), then the feeder head, then the ties outwards from what is
supplied. After each step the network must stay radial, the isolated area dead, and every limit kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from twin.dms.check import StateChecker, Violation, ViolationKind
from twin.dms.flisr.model import Isolation
from twin.dms.plan import PlanStep, StepAction, StepCheck, StepPurpose
from twin.dms.zonegraph import ZoneGraph
from twin.network.model import Bools, Network


@dataclass(frozen=True, slots=True)
class Operation:
    """A switch (row) to be operated."""

    switch: int
    action: StepAction
    purpose: StepPurpose


@dataclass(frozen=True, slots=True)
class CheckedSteps:
    """Steps with their checks; ``violation`` is the first one found, with the row of its ``switch``."""

    steps: tuple[PlanStep, ...]
    violation: Violation | None = None


class StepChecker:
    """Checks sequences of operations that start from one state.

    ``unknown`` switches count as closed where that is the worse case: loops, supply of the isolated area.
    """

    def __init__(
        self,
        network: Network,
        graph: ZoneGraph,
        checker: StateChecker,
        isolation: Isolation,
        closed: Bools,
        unknown: Bools,
        solved_unknown: Bools,
    ) -> None:
        self._network, self._graph, self._checker = network, graph, checker
        self._isolated = graph.mask(isolation.area)
        self._closed = closed
        self._unknown = unknown
        self._solved_unknown = solved_unknown

    def check(self, operations: list[Operation]) -> CheckedSteps:
        """The steps up to the first one that breaks a limit (included), or all of them."""
        closed = self._closed.copy()
        before = self._checker.check(closed, self._solved_unknown).check
        steps: list[PlanStep] = []
        for number, operation in enumerate(operations, start=1):
            violation = self._topology_violation(closed, operation)
            closed[operation.switch] = operation.action is StepAction.CLOSE
            state = self._checker.check(closed, self._solved_unknown)
            violation = violation or (state.violations[0] if state.violations else None)
            check = _with_violation(state.check, violation)
            steps.append(self._step(number, operation, before, check))
            if violation is not None:
                return CheckedSteps(tuple(steps), violation)
            before = check
        return CheckedSteps(tuple(steps))

    def _topology_violation(self, closed: Bools, operation: Operation) -> Violation | None:
        """What closing a switch would do to the topology, in the worst case of the unknown switches."""
        if operation.action is StepAction.OPEN:
            return None
        worst = closed | self._unknown
        a, b = self._graph.sides[operation.switch]
        live = self._graph.energised(worst)
        labels = self._graph.components(worst)
        if labels[a] == labels[b] or (live[a] and live[b]):
            return Violation(ViolationKind.TOPOLOGY, "close a loop")
        worst[operation.switch] = True
        if (self._graph.energised(worst) & self._isolated).any():
            return Violation(ViolationKind.TOPOLOGY, "energise the isolated area")
        return None

    def _step(self, number: int, operation: Operation, before: StepCheck, after: StepCheck) -> PlanStep:
        name = self._network.switches.names[operation.switch]
        return PlanStep(number, name, operation.action, operation.purpose, _expects(operation, before, after), after)


def _with_violation(check: StepCheck, violation: Violation | None) -> StepCheck:
    if violation is None or f"would {violation.effect}" in check.violations:
        return check
    return replace(check, violations=(f"would {violation.effect}", *check.violations))


def _expects(operation: Operation, before: StepCheck, after: StepCheck) -> str:
    if not after.converged:
        return "No state of operation exists after this step."
    change = after.customers_supplied - before.customers_supplied
    if operation.action is StepAction.OPEN:
        role = "Separates the faulted area" if operation.purpose is StepPurpose.ISOLATE else "Splits the dead part"
        effect = f"{role}; " + ("nobody's supply changes" if not change else f"{-change} customers lose their supply")
    else:
        effect = f"Supplies {change} customers again" if change else "Energises lines without customers"
    return f"{effect}: {_state_text(after)}."


def _state_text(check: StepCheck) -> str:
    text = f"{check.customers_supplied} customers supplied"
    if check.v_min_pu is not None:
        text += f", lowest voltage {check.v_min_pu:.3f} pu at {check.v_min_node}"
    if check.loading_max is not None:
        text += f", highest loading {check.loading_max * 100:.0f} % on {check.loading_max_branch}"
    return text


def closing_order(graph: ZoneGraph, closed: Bools, switches: list[int]) -> list[int]:
    """``switches`` in an order in which each is closed from a supplied side, as far as that is possible."""
    remaining = list(switches)
    ordered: list[int] = []
    state = closed.copy()
    while remaining:
        live = graph.energised(state)
        ready = [s for s in remaining if np.any(live[list(graph.sides[s])])]
        following = (ready or remaining)[0]
        remaining.remove(following)
        ordered.append(following)
        state[following] = True
    return ordered
