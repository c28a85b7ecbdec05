"""Finds the best setting of the controls by power flow.

The order of settings is lexicographic: first what leaves the voltage band or overloads a branch, then the objective
with the price of operations. Where all settings fit into the evaluations allowed every one is looked at, so the
result is the optimum; otherwise a local search with single and paired moves is used, and the result says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import inf, prod

import numpy as np

from twin.dms.volt_var.controls import Control, Setting, SettingWriter, operations, present_setting
from twin.dms.volt_var.followers import Followers, NotSettledError
from twin.dms.volt_var.settings import Objective, VoltVarSettings
from twin.network.model import Floats, Network
from twin.solvers.model import PowerFlow, PowerFlowDivergedError, PowerFlowResult

_LEAST_EXCESS_PU = 1e-6
"""Excess below this is rounding of the power flow."""

Cost = tuple[float, float]
"""What breaks a limit (pu, rounded), then the objective; the smaller the better. (inf, inf): no solution."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One setting as the power flow sees it.

    ``excess_pu`` sums how far voltages leave the band (pu) and branches their rating (1.0 = 100 %);
    ``score`` is the objective in kW (or pu² for a voltage deviation) with the price of operations. ``followed_kvar`` is
    what the units on a characteristic feed in together.
    """

    setting: Setting
    converged: bool
    excess_pu: float
    score: float
    operations: int
    customers: int = 0
    losses_kw: float = inf
    demand_kw: float = inf
    v_min_pu: float = 0.0
    v_min_node: str = ""
    v_max_pu: float = 0.0
    v_max_node: str = ""
    loading_max: float = 0.0
    loading_max_branch: str = ""
    detail: str = ""
    followed_kvar: float = 0.0

    @property
    def cost(self) -> Cost:
        """What settings are compared by."""
        return (self.excess_pu, self.score) if self.converged else (inf, inf)

    @property
    def admissible(self) -> bool:
        """True if no limit is broken."""
        return self.converged and self.excess_pu == 0.0


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best setting that was found; ``exhaustive``: there is no better one."""

    present: Outcome
    best: Outcome
    exhaustive: bool
    evaluations: int


class Evaluator:
    """Judges settings of the controls at the demand and switch states that ``solver`` is set to."""

    def __init__(
        self,
        network: Network,
        solver: PowerFlow,
        controls: Sequence[Control],
        writer: SettingWriter,
        settings: VoltVarSettings,
        v_measured_pu: Floats | None = None,
        followers: Followers | None = None,
    ) -> None:
        """``v_measured_pu`` per node at the present setting, NaN where not measured, puts the calculation right.

        The reactive power of ``followers`` is as given at the present setting only; with any other it is what their
        characteristics and the network agree on.
        """
        self._network = network
        self._solver = solver
        self._controls = controls
        self._writer = writer
        self._settings = settings
        self._followers = followers or Followers.none()
        self._followed_kvar: Floats | None = None
        self._known: dict[Setting, Outcome] = {}
        self.bias_pu = np.zeros(network.nodes.n)
        if v_measured_pu is not None:
            self.bias_pu = self._bias(v_measured_pu)

    def _bias(self, v_measured_pu: Floats) -> Floats:
        """What measurement adds to calculation, pu: at each node of its own, elsewhere the median of all."""
        self._set(present_setting(self._controls))
        try:
            result = self._solver.solve()
        except PowerFlowDivergedError:
            return self.bias_pu
        seen = result.energised & (v_measured_pu > 0.0)
        if not seen.any():
            return self.bias_pu
        off = v_measured_pu - result.v_pu
        bias: Floats = np.where(seen, off, np.median(off[seen]))
        return bias

    def _set(self, setting: Setting) -> Floats:
        """Hand a setting to the solver; the reactive power of all generating units with it."""
        inputs = self._writer.write(setting)
        self._solver.update(
            tap_position=inputs.tap_position, shunt_steps=inputs.shunt_steps, generation_kvar=inputs.generation_kvar
        )
        return inputs.generation_kvar

    def _flow(self, setting: Setting) -> PowerFlowResult:
        """The power flow of a setting, units on a characteristic included.

        Raises:
            NotSettledError: they do not come to rest.
            PowerFlowDivergedError: there is no solution.
        """
        generation_kvar, followers = self._set(setting), self._followers
        if not followers.n:
            return self._solver.solve()
        last: list[PowerFlowResult] = []
        at = self._network.generators.node[followers.rows]

        def voltages(q_kvar: Floats) -> Floats:
            generation_kvar[followers.rows] = q_kvar
            self._solver.update(generation_kvar=generation_kvar)
            last[:] = [self._solver.solve()]
            return np.where(last[0].energised[at], last[0].v_pu[at] + self.bias_pu[at], 0.0)

        start = generation_kvar[followers.rows] if self._followed_kvar is None else self._followed_kvar
        self._followed_kvar = followers.settle(start, voltages)
        return last[0]

    @property
    def followers(self) -> int:
        """How many units follow a characteristic."""
        return self._followers.n

    @property
    def evaluations(self) -> int:
        """How many power flows were solved."""
        return len(self._known)

    def judge(self, setting: Setting) -> Outcome:
        """What the power flow says of ``setting``; a result without convergence has an infinite cost."""
        if setting not in self._known:
            self._known[setting] = self._solve(setting)
        return self._known[setting]

    def _solve(self, setting: Setting) -> Outcome:
        moves = operations(self._controls, setting)
        try:
            result = self._flow(setting)
        except (PowerFlowDivergedError, NotSettledError) as error:
            return Outcome(setting, False, inf, inf, moves, detail=str(error))
        outcome = self._outcome(setting, result, moves)
        followed = 0.0 if self._followed_kvar is None else float(self._followed_kvar.sum())
        return replace(outcome, followed_kvar=followed)

    def _outcome(self, setting: Setting, result: PowerFlowResult, moves: int) -> Outcome:
        live = np.flatnonzero(result.energised)
        losses_kw = float((result.p_from_kw + result.p_to_kw).sum())
        demand_kw = self._drawn(result)
        if not live.size:
            return Outcome(setting, True, 0.0, self._score(0.0, 0.0, 0.0, moves), moves)
        v_pu = (result.v_pu + self.bias_pu)[live]
        low, high = int(np.argmin(v_pu)), int(np.argmax(v_pu))
        worst = int(np.argmax(result.loading)) if result.loading.size else -1
        return Outcome(
            setting,
            True,
            self._excess(v_pu, result),
            self._score(losses_kw, demand_kw, self._deviation(v_pu), moves) + self._crowding(v_pu),
            moves,
            int(self._network.consumers.customers[result.energised[self._network.consumers.node]].sum()),
            losses_kw,
            demand_kw,
            float(v_pu[low]),
            self._network.nodes.names[live[low]],
            float(v_pu[high]),
            self._network.nodes.names[live[high]],
            float(result.loading[worst]) if worst >= 0 else 0.0,
            self._network.branch_names[worst] if worst >= 0 else "",
        )

    def _drawn(self, result: PowerFlowResult) -> float:
        """Power that the external networks feed into the branches at their nodes, kW."""
        network = self._network
        at = np.unique(network.sources.node)
        from_source = np.isin(network.branch_from, at)
        to_source = np.isin(network.branch_to, at)
        return float(result.p_from_kw[from_source].sum() + result.p_to_kw[to_source].sum())

    def _excess(self, v_pu: Floats, result: PowerFlowResult) -> float:
        settings = self._settings
        under = np.maximum(settings.v_min_pu - v_pu, 0.0).sum()
        over = np.maximum(v_pu - settings.v_max_pu, 0.0).sum()
        loaded = np.maximum(result.loading - settings.max_loading, 0.0).sum()
        total = float(under + over + loaded)
        return total if total > _LEAST_EXCESS_PU else 0.0

    def _deviation(self, v_pu: Floats) -> float:
        return float(((v_pu - self._settings.v_target_pu) ** 2).mean())

    def _crowding(self, v_pu: Floats) -> float:
        """A price on voltages within the margin of the band's edges: ten operations for the full margin."""
        settings = self._settings
        if settings.margin_pu == 0.0:
            return 0.0
        depth = np.minimum(v_pu.min() - settings.v_min_pu, settings.v_max_pu - v_pu.max())
        share = float(np.clip(1.0 - depth / settings.margin_pu, 0.0, 1.0))
        return share * 10.0 * self._operation_price()

    def _operation_price(self) -> float:
        if self._settings.objective is Objective.BAND:
            return 1e-6
        if self._settings.objective is Objective.OPERATIONS:
            return 1.0
        return self._settings.operation_price_kw

    def _score(self, losses_kw: float, demand_kw: float, deviation: float, moves: int) -> float:
        price = moves * self._operation_price()
        match self._settings.objective:
            case Objective.LOSSES:
                return losses_kw + price
            case Objective.CONSERVATION:
                return demand_kw + price
            case Objective.BAND:
                return deviation + price
            case Objective.OPERATIONS:
                return price


def find_best(controls: Sequence[Control], judge: Callable[[Setting], Outcome], max_evaluations: int) -> SearchResult:
    """The best setting that the controls allow, the present one if none is better."""
    counter = _Counter(judge, max_evaluations)
    present = counter.judge(present_setting(controls))
    size = prod(len(control.allowed()) for control in controls)
    if size <= max_evaluations:
        best = min(map(counter.judge, product(*(control.allowed() for control in controls))), key=_preference)
        return SearchResult(present, best, True, counter.spent)
    best = min((_descend(start, controls, counter) for start in _starts(controls)), key=_preference)
    return SearchResult(present, best, False, counter.spent)


class _Counter:
    """Counts distinct settings, so that a search ends."""

    def __init__(self, judge: Callable[[Setting], Outcome], limit: int) -> None:
        self._judge = judge
        self._limit = limit
        self._seen: set[Setting] = set()

    @property
    def spent(self) -> int:
        return len(self._seen)

    @property
    def exhausted(self) -> bool:
        return len(self._seen) >= self._limit

    def judge(self, setting: Setting) -> Outcome:
        self._seen.add(setting)
        return self._judge(setting)


def _preference(outcome: Outcome) -> tuple[float, float, int, Setting]:
    """Of equal settings the one with fewer operations, then the lower levels: a result without chance."""
    excess, score = outcome.cost
    return (excess, score, outcome.operations, outcome.setting)


def _starts(controls: Sequence[Control]) -> Iterator[Setting]:
    """The present levels, and all controls at their lowest, middle and highest level."""
    yield present_setting(controls)
    yield tuple(control.allowed()[0] for control in controls)
    yield tuple(control.allowed()[len(control.allowed()) // 2] for control in controls)
    yield tuple(control.allowed()[-1] for control in controls)


def _descend(start: Setting, controls: Sequence[Control], counter: _Counter) -> Outcome:
    best = counter.judge(start)
    while not counter.exhausted:
        better = _first_better(best, _single_moves(best.setting, controls), counter)
        better = better or _first_better(best, _paired_moves(best.setting, controls), counter)
        if better is None:
            return best
        best = better
    return best


def _first_better(best: Outcome, candidates: Iterable[Setting], counter: _Counter) -> Outcome | None:
    """The best of the candidates if it is better than ``best``."""
    found = best
    for setting in candidates:
        if counter.exhausted:
            break
        found = min(found, counter.judge(setting), key=_preference)
    return None if found is best else found


def _single_moves(setting: Setting, controls: Sequence[Control]) -> Iterator[Setting]:
    for index, control in enumerate(controls):
        for level in control.allowed():
            if level != setting[index]:
                yield (*setting[:index], level, *setting[index + 1 :])


def _paired_moves(setting: Setting, controls: Sequence[Control]) -> Iterator[Setting]:
    """Two controls by one level each: what helps only together, such as a tap down and a capacitor in."""
    for i in range(len(controls)):
        for j in range(i + 1, len(controls)):
            for step_i, step_j in product((-1, 1), repeat=2):
                moved = list(setting)
                moved[i] += step_i
                moved[j] += step_j
                if moved[i] in controls[i].allowed() and moved[j] in controls[j].allowed():
                    yield tuple(moved)
