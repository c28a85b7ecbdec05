"""Checks a switching state by power flow against the limits of operation.

Not for topology (loops, what is dead): the applications know what they want there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from twin.dms.plan import StepCheck
from twin.network.model import Bools, Floats, Network
from twin.solvers.model import PowerFlow, PowerFlowDivergedError, PowerFlowResult

_TOLERANCE = 1e-4
"""A limit is exceeded only by more than this (pu)."""

_NO_WORSE = 0.005
"""What exceeded a limit before is no worse within this (pu): charging of a line more or less, losses."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Admissible band of voltage and loading."""

    max_loading: float
    v_min_pu: float
    v_max_pu: float


class ViolationKind(Enum):
    """Which limit a state breaks."""

    NO_SOLUTION = "no solution"
    LOADING = "loading"
    UNDERVOLTAGE = "undervoltage"
    OVERVOLTAGE = "overvoltage"
    TOPOLOGY = "topology"


@dataclass(frozen=True, slots=True)
class Violation:
    """``index`` is a branch for LOADING and a node for voltages, else -1; ``effect`` follows on "would"."""

    kind: ViolationKind
    effect: str
    index: int = -1
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class CheckedState:
    """What the power flow says of a state; worst violation first."""

    check: StepCheck
    violations: tuple[Violation, ...]


class StateChecker:
    """Checks states of one network at the demand, generation and taps that ``solver`` is set to.

    Those must not change once a state has been checked: no state is solved twice.
    """

    def __init__(self, network: Network, solver: PowerFlow, limits: Limits) -> None:
        self._network = network
        self._solver = solver
        self._limits = limits
        self._loading_before = np.full(network.n_branches, limits.max_loading)
        self._v_min_before = np.full(network.nodes.n, limits.v_min_pu)
        self._v_max_before = np.full(network.nodes.n, limits.v_max_pu)
        self._customers = np.bincount(
            network.consumers.node, weights=network.consumers.customers, minlength=network.nodes.n
        ).astype(np.int64)
        self._known: dict[bytes, CheckedState] = {}
        self.evaluations = 0

    def tolerate(self, closed: Bools) -> None:
        """Tolerate what state ``closed`` exceeds; without a solution there, nothing more than so far.

        Demand and generation may be changed directly afterwards, but not once a state has been checked.
        """
        self._known.clear()
        result = self._solve(closed)
        if isinstance(result, PowerFlowDivergedError):
            return
        live, limits = result.energised, self._limits
        over = result.loading > limits.max_loading
        low = live & (result.v_pu < limits.v_min_pu)
        high = live & (result.v_pu > limits.v_max_pu)
        self._loading_before[over] = np.maximum(self._loading_before, result.loading + _NO_WORSE)[over]
        self._v_min_before[low] = np.minimum(self._v_min_before, result.v_pu - _NO_WORSE)[low]
        self._v_max_before[high] = np.maximum(self._v_max_before, result.v_pu + _NO_WORSE)[high]

    def check(self, closed: Bools, unknown: Bools | None = None) -> CheckedState:
        """Check the state in which ``closed`` are closed, and also with ``unknown`` switches closed.

        The figures and the customers are those without the unknown switches; violations count in both.
        """
        state = self._state(closed)
        if unknown is None or not (unknown & ~closed).any():
            return state
        other = self._state(closed | unknown)
        violations = state.violations + tuple(v for v in other.violations if v not in state.violations)
        check = replace(
            state.check,
            converged=state.check.converged and other.check.converged,
            violations=tuple(f"would {v.effect}" for v in violations),
        )
        return CheckedState(check, violations)

    def flows(self, closed: Bools) -> PowerFlowResult | None:
        """The power flow of a state, None without a solution."""
        outcome = self._solve(closed)
        return None if isinstance(outcome, PowerFlowDivergedError) else outcome

    def admissible_loading(self, branch: int) -> float:
        """The loading up to which ``branch`` breaks no limit."""
        return float(self._loading_before[branch])

    def overload(self, branch: int, loading: float) -> Violation:
        """The violation of a loading that is too high."""
        limit = self._limits.max_loading
        name = self._network.branch_names[branch]
        effect = f"load {name} to {percent(loading, limit)} (limit {limit * 100:.0f} %)"
        return Violation(ViolationKind.LOADING, effect, branch, loading)

    def _solve(self, closed: Bools) -> PowerFlowResult | PowerFlowDivergedError:
        self.evaluations += 1
        self._solver.update(closed=closed)
        try:
            return self._solver.solve()
        except PowerFlowDivergedError as error:
            return error

    def _state(self, closed: Bools) -> CheckedState:
        """The state as checked now or before."""
        key = closed.tobytes()
        if key not in self._known:
            self._known[key] = self._checked(self._solve(closed))
        return self._known[key]

    def _checked(self, outcome: PowerFlowResult | PowerFlowDivergedError) -> CheckedState:
        if isinstance(outcome, PowerFlowDivergedError):
            violation = Violation(ViolationKind.NO_SOLUTION, f"leave no power flow solution ({outcome})")
            return CheckedState(StepCheck(False, 0, violations=(f"would {violation.effect}",)), (violation,))
        violations, tolerated = self._judge(outcome)
        return CheckedState(self._step_check(outcome, violations, tolerated), violations)

    def _step_check(
        self, result: PowerFlowResult, violations: tuple[Violation, ...], tolerated: tuple[str, ...]
    ) -> StepCheck:
        live = np.flatnonzero(result.energised)
        check = StepCheck(
            converged=True,
            customers_supplied=int(self._customers[live].sum()),
            losses_kw=float((result.p_from_kw + result.p_to_kw).sum()),
            violations=tuple(f"would {v.effect}" for v in violations),
            tolerated=tolerated,
        )
        if not live.size:
            return check
        low = int(live[np.argmin(result.v_pu[live])])
        high = int(live[np.argmax(result.v_pu[live])])
        check = replace(
            check,
            v_min_pu=float(result.v_pu[low]),
            v_min_node=self._network.nodes.names[low],
            v_max_pu=float(result.v_pu[high]),
            v_max_node=self._network.nodes.names[high],
        )
        if not result.loading.size:
            return check
        worst = int(np.argmax(result.loading))
        return replace(
            check, loading_max=float(result.loading[worst]), loading_max_branch=self._network.branch_names[worst]
        )

    def _judge(self, result: PowerFlowResult) -> tuple[tuple[Violation, ...], tuple[str, ...]]:
        """Violations (worst of each kind) and the sentences of what is tolerated."""
        live = result.energised
        loading, v = result.loading, result.v_pu
        limits = self._limits
        found: list[Violation] = []
        tolerated: list[str] = []
        over = _excess(loading, self._loading_before, np.ones(len(loading), np.bool_))
        if over >= 0:
            found.append(self.overload(over, float(loading[over])))
        tolerated += self._tolerated_loading(loading)
        low = _excess(-v, -self._v_min_before, live)
        if low >= 0:
            found.append(self._voltage(ViolationKind.UNDERVOLTAGE, low, float(v[low])))
        high = _excess(v, self._v_max_before, live)
        if high >= 0:
            found.append(self._voltage(ViolationKind.OVERVOLTAGE, high, float(v[high])))
        outside = live & ((v < limits.v_min_pu - _TOLERANCE) | (v > limits.v_max_pu + _TOLERANCE))
        kept = outside & (v >= self._v_min_before - _TOLERANCE) & (v <= self._v_max_before + _TOLERANCE)
        tolerated += [
            f"{self._network.nodes.names[i]} is at {v[i]:.3f} pu, no worse than before" for i in np.flatnonzero(kept)
        ]
        return tuple(found), tuple(tolerated)

    def _tolerated_loading(self, loading: Floats) -> list[str]:
        above = loading > self._limits.max_loading + _TOLERANCE
        kept = above & (loading <= self._loading_before + _TOLERANCE)
        names = self._network.branch_names
        return [
            f"{names[i]} is loaded to {percent(loading[i], self._limits.max_loading)}, no more than before"
            for i in np.flatnonzero(kept)
        ]

    def _voltage(self, kind: ViolationKind, node: int, v_pu: float) -> Violation:
        name = self._network.nodes.names[node]
        if kind is ViolationKind.UNDERVOLTAGE:
            effect = f"pull {name} down to {v_pu:.3f} pu (limit {self._limits.v_min_pu:.3f} pu)"
        else:
            effect = f"raise {name} to {v_pu:.3f} pu (limit {self._limits.v_max_pu:.3f} pu)"
        return Violation(kind, effect, node, v_pu)


def _excess(value: Floats, limit: Floats, mask: Bools) -> int:
    """Index of the largest excess of ``value`` over ``limit`` where ``mask``, -1 if there is none."""
    if not mask.any():
        return -1
    excess = np.where(mask, value - limit, -np.inf)
    worst = int(np.argmax(excess))
    return worst if excess[worst] > _TOLERANCE else -1


def percent(loading: float, limit: float) -> str:
    """``loading`` in percent, with a decimal where rounding would hide that it is above ``limit``."""
    text = f"{loading * 100:.0f}"
    return f"{loading * 100:.1f} %" if loading > limit and text == f"{limit * 100:.0f}" else f"{text} %"
