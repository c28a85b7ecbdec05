"""Return to the normal switching state after repair: which switch after which, each step checked.

Where a loop may be closed the new way is closed before the old one is opened, and nobody notices; otherwise the old
one is opened first. A section that was dead is energised from one side, by a breaker if there is one. Not for deciding
that a fault is repaired, and not for choosing the state to return to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from twin.dms.check import Limits, StateChecker, Violation, ViolationKind
from twin.dms.flisr.isolate import kept_dead, load_breaking, operable, why_unusable
from twin.dms.flisr.model import APPLICATION, FlisrSettings, Observation
from twin.dms.plan import Plan, PlanStep, StepAction, StepCheck, StepPurpose, Verdict
from twin.dms.zonegraph import ZoneGraph, zone_graph
from twin.network.model import Bools, Network, SwitchKind
from twin.solvers import power_flow
from twin.solvers.model import PowerFlow

_Rows = tuple[int, ...]


def return_to_normal(
    network: Network,
    observation: Observation,
    wanted: Bools,
    settings: FlisrSettings | None = None,
    *,
    title: str = "Return to normal",
    solver: PowerFlow | None = None,
) -> Plan:
    """The steps from the present state to the one in which the switches ``wanted`` are closed.

    ``observation`` shows the present; its ``faulted`` zones stay dead, and what exceeded a limit before the fault may
    do so again. There is no plan if a switch that has to move cannot be operated, or if every order of the steps
    breaks a limit. ``solver`` is a power flow of ``network`` to be reused; its inputs are overwritten.
    """
    settings = settings or FlisrSettings()
    return _Return(network, observation.at_peak(), wanted, settings, title, solver or power_flow(network)).plan()


@dataclass(frozen=True, slots=True)
class _Move:
    """Switches (rows) moved one directly after the other; ``loop``: a loop is closed in between."""

    switches: _Rows
    loop: bool = False


@dataclass
class _Return:
    network: Network
    observation: Observation
    wanted: Bools
    settings: FlisrSettings
    title: str
    solver: PowerFlow
    rejected: dict[_Rows, Violation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen, settings = self.observation, self.settings
        self.graph: ZoneGraph = zone_graph(self.network)
        self.unknown: Bools = ~seen.position_known
        self.solved_unknown: Bools = self.unknown & seen.closed_before
        self.breaking = load_breaking(self.network)
        zones, self.remarks = kept_dead(self.network, self.graph, seen)
        self.keep_dead = self.graph.mask(zones)
        self.solver.update(p_kw=seen.p_kw, q_kvar=seen.q_kvar, tap_position=seen.tap_position)
        if seen.generation_kw is not None and seen.generation_kvar is not None:
            self.solver.update(generation_kw=seen.generation_kw, generation_kvar=seen.generation_kvar)
        limits = Limits(settings.max_loading, settings.v_min_pu, settings.v_max_pu)
        self.checker = StateChecker(self.network, self.solver, limits)
        self.checker.tolerate(seen.closed_before)
        self.checker.tolerate(seen.closed)
        dead = ~self.graph.energised(seen.closed)[self.graph.node_zone[self.network.consumers.node]]
        pickup = seen.pickup(dead, settings.cold_load_factor)
        self.solver.update(p_kw=seen.p_kw * pickup, q_kvar=seen.q_kvar * pickup)
        self.dead_ends: set[bytes] = set()
        self.start = self.checker.evaluations

    # --- the plan ----------------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        remaining = tuple(np.flatnonzero(self.observation.closed != self.wanted).tolist())
        stuck = [s for s in remaining if not self._may_move(s)]
        if stuck:
            return self._none("; ".join(f"{self._name(s)} cannot be operated: {self._why_stuck(s)}" for s in stuck))
        if not remaining:
            return self._none("everything is in its normal state already")
        moves = self._search(self.observation.closed.copy(), remaining)
        if moves is None:
            return self._none("every order of the steps breaks a limit", self._reasons())
        return self._as_plan(moves)

    def _may_move(self, switch: int) -> bool:
        allowed = operable(self.observation)[switch] and self.network.switches.kind[switch] != SwitchKind.FUSE
        return bool(allowed and not (self.wanted[switch] and self.observation.held_off[switch]))

    def _why_stuck(self, switch: int) -> str:
        if self.observation.held_off[switch] and self.wanted[switch]:
            return "it bears a hold-off tag"
        if self.network.switches.kind[switch] == SwitchKind.FUSE:
            return "it is a fuse"
        return why_unusable(self.observation, switch)

    def _none(self, reason: str, more: tuple[str, ...] = ()) -> Plan:
        why = (*self.remarks, f"No plan: {reason}.", *more)
        return Plan(self._plan_id(), APPLICATION, self.title, Verdict.NONE, why, evaluations=self.checker.evaluations)

    def _plan_id(self) -> str:
        return f"{APPLICATION}-return-{self.observation.t_ms}"

    def _name(self, switch: int) -> str:
        return self.network.switches.names[switch]

    # --- the order ---------------------------------------------------------------------------------------------

    def _search(self, closed: Bools, remaining: _Rows) -> list[_Move] | None:
        """Depth first: what is preferred is tried first, and a state that led nowhere is not entered again."""
        if not remaining:
            return []
        if closed.tobytes() in self.dead_ends or self._spent():
            return None
        for move in self._moves(closed, remaining):
            after = self._carried_out(closed, move)
            if after is None:
                continue
            further = self._search(after, tuple(s for s in remaining if s not in move.switches))
            if further is not None:
                return [move, *further]
        self.dead_ends.add(closed.tobytes())
        return None

    def _spent(self) -> bool:
        return self.checker.evaluations - self.start >= self.settings.max_evaluations

    def _moves(self, closed: Bools, remaining: _Rows) -> Iterator[_Move]:
        """What may come next, in this order.

        Supply what is dead; change over in a loop; open what feeds nobody; change over with an interruption; and close
        what is dead on both sides, which a switch that breaks no load needs.
        """
        kind = self.network.switches.kind
        closing = sorted((s for s in remaining if self.wanted[s]), key=lambda s: (kind[s] != SwitchKind.BREAKER, s))
        opening = [s for s in remaining if not self.wanted[s]]
        live = self.graph.energised(closed)
        n_live = {s: int(live[list(self.graph.sides[s])].sum()) for s in closing}
        yield from (_Move((s,)) for s in closing if n_live[s] == 1)
        if self.settings.close_loops:
            yield from (
                _Move((s, t), loop=True)
                for s in closing
                for t in opening
                if n_live[s] == 2 and self._loses_nobody(closed, s, t) and self._no_more_loops(closed, s, t)
            )
        yield from (_Move((t,)) for t in opening if self._loses_nobody(closed, t))
        yield from (_Move((t, s)) for t in opening for s in closing if self._loses_nobody(closed, t, s))
        yield from (_Move((s,)) for s in closing if n_live[s] == 0)

    def _after(self, closed: Bools, switches: _Rows) -> Bools:
        after = closed.copy()
        after[list(switches)] = self.wanted[list(switches)]
        return after

    def _loses_nobody(self, closed: Bools, *switches: int) -> bool:
        """All that was supplied is supplied after these moves as well."""
        after = self._after(closed, switches)
        return not (self.graph.energised(closed) & ~self.graph.energised(after)).any()

    def _no_more_loops(self, closed: Bools, *switches: int) -> bool:
        """In the worst case of the unknown switches."""
        return self._loops(self._after(closed, switches) | self.unknown) <= self._loops(closed | self.unknown)

    def _loops(self, closed: Bools) -> int:
        """Independent loops, up to a constant; sources count as joined."""
        live = self.graph.energised(closed)
        labels = self.graph.components(closed)
        islands = len(np.unique(labels[~live])) + 1
        return int(closed.sum()) + islands

    def _carried_out(self, closed: Bools, move: _Move) -> Bools | None:
        """The state after a move, None if one of its steps must not be taken."""
        state = closed.copy()
        for number, switch in enumerate(move.switches):
            violation = self._topology_violation(state, switch, loop=move.loop and number == 0)
            state[switch] = self.wanted[switch]
            if violation is None:
                found = self.checker.check(state, self.solved_unknown).violations
                violation = found[0] if found else None
            if violation is not None:
                self.rejected.setdefault(move.switches, violation)
                return None
        return state

    def _topology_violation(self, closed: Bools, switch: int, *, loop: bool) -> Violation | None:
        """In the worst case of the unknown switches: a loop that is not allowed, something that must stay dead."""
        worst = closed | self.unknown
        a, b = self.graph.sides[switch]
        live, labels = self.graph.energised(worst), self.graph.components(worst)
        if not self.breaking[switch] and (live[a] or live[b]):
            return Violation(ViolationKind.TOPOLOGY, f"operate {self._name(switch)} under voltage")
        if not self.wanted[switch]:
            return None
        if (labels[a] == labels[b] or (live[a] and live[b])) and not loop:
            return Violation(ViolationKind.TOPOLOGY, "close a loop")
        worst[switch] = True
        if (self.graph.energised(worst) & self.keep_dead).any():
            return Violation(ViolationKind.TOPOLOGY, "energise what has to stay dead")
        return None

    def _reasons(self) -> tuple[str, ...]:
        found = list(self.rejected.items())[: self.settings.max_reasons]
        return tuple(f"Not taken: {self._said(switches)} would {violation.effect}." for switches, violation in found)

    def _said(self, switches: _Rows) -> str:
        return " and ".join(f"{'closing' if self.wanted[s] else 'opening'} {self._name(s)}" for s in switches)

    # --- the steps ---------------------------------------------------------------------------------------------

    def _as_plan(self, moves: list[_Move]) -> Plan:
        closed = self.observation.closed.copy()
        before = self.checker.check(closed, self.solved_unknown).check
        first = least = before.customers_supplied
        steps: list[PlanStep] = []
        for move in moves:
            for position, switch in enumerate(move.switches):
                closed[switch] = self.wanted[switch]
                check = self.checker.check(closed, self.solved_unknown).check
                steps.append(self._step(len(steps) + 1, switch, before, check, loop=move.loop and position == 0))
                least, before = min(least, check.customers_supplied), check
        restored = before.customers_supplied - first
        return Plan(
            plan_id=self._plan_id(),
            application=APPLICATION,
            title=self.title,
            verdict=Verdict.NORMAL,
            why=(
                *self._why(moves, restored, first - least),
                *self.remarks,
                *self._reasons(),
                *(f"{text}." for text in before.tolerated),
            ),
            steps=tuple(steps),
            customers_interrupted=restored,
            customers_restored=restored,
            evaluations=self.checker.evaluations,
        )

    def _why(self, moves: list[_Move], restored: int, interrupted: int) -> tuple[str, ...]:
        names = ", ".join(self._name(s) for move in moves for s in move.switches)
        supplied = f"{restored} customers are supplied again" if restored else "nobody was without supply"
        sentences = [f"Back in the normal state by {names}; {supplied}."]
        if any(move.loop for move in moves):
            sentences.append("A loop is closed for the moment of changing over.")
        if interrupted > 0:
            sentences.append(f"{interrupted} customers are without supply for the moment of changing over.")
        return tuple(sentences)

    def _step(self, number: int, switch: int, before: StepCheck, after: StepCheck, *, loop: bool) -> PlanStep:
        action = StepAction.CLOSE if self.wanted[switch] else StepAction.OPEN
        change = after.customers_supplied - before.customers_supplied
        effect = "Nobody's supply changes"
        if change:
            effect = f"Supplies {change} customers" if change > 0 else f"{-change} customers lose their supply"
        if loop:
            effect += "; a loop is closed until the next step"
        expects = f"{effect}: {after.customers_supplied} customers supplied."
        return PlanStep(number, self._name(switch), action, StepPurpose.RETURN, expects, after)
