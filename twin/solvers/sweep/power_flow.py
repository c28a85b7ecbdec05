"""The sweep behind the protocol of :class:`twin.solvers.model.PowerFlow`.

Chooses nothing by history: the order of the nodes, the start of the iteration and the resort to the general
solver follow from the present inputs alone, so that a solver updated in place equals one built afresh to the last bit.
Not for three phases and not for PV nodes.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from twin.network.model import Bools, Floats, Ints, Network
from twin.solvers import grid_model_mapping as mapping
from twin.solvers.model import InputShapeError, PowerFlowDivergedError, PowerFlowResult
from twin.solvers.power_grid_model import LEAST_V_PU, GridModelPowerFlow
from twin.solvers.sweep import arrays, kernels
from twin.solvers.sweep.inputs import Inputs, check_shape, take

TOLERANCE_PU = 1e-10
MAX_ITERATIONS = 100

_REASONS = {
    kernels.TOO_MANY_LOOPS: f"more than {arrays.MAX_LOOPS} loops are closed",
    kernels.CONFLICTING_SOURCES: "sources of different voltages are joined without an impedance",
}
_BRANCH_RESULTS = 7
_NODES_A_THREAD = 10_000
"""A thread is worth starting for so many nodes to be solved."""

_NOT_CONVERGED = "the sweep found no voltages"


class SweepPowerFlow:
    """A :class:`twin.solvers.model.PowerFlow`; the initial state is rated, normal and initial.

    ``tolerance_pu`` is the largest change of a voltage in the last iteration. ``notes`` gains a sentence the first
    time that the general solver has to stand in for each kind of reason; the caller may clear it.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
        InputNotFiniteError: a rated demand or generation is no number.
    """

    def __init__(
        self, network: Network, *, tolerance_pu: float = TOLERANCE_PU, max_iterations: int = MAX_ITERATIONS
    ) -> None:
        mapping.check(network)
        self.network = network
        self.notes: list[str] = []
        self._noted: set[str] = set()
        self._tolerance_pu = tolerance_pu
        self._max_iterations = max_iterations
        self._inputs = Inputs(network)
        self._grid = arrays.grid_of(network)
        self._branches = arrays.branches_of(network, self._inputs.tap_position)
        x = self._inputs
        self._demand = arrays.Demand(x.p_kw, x.q_kvar, x.generation_kw, x.generation_kvar)
        self._present = _State(network, self._grid)
        self._trials: list[_State] = []
        self._general: GridModelPowerFlow | None = None

    def update(
        self,
        *,
        p_kw: Floats | None = None,
        q_kvar: Floats | None = None,
        generation_kw: Floats | None = None,
        generation_kvar: Floats | None = None,
        closed: Bools | None = None,
        tap_position: Ints | None = None,
    ) -> None:
        """See :meth:`twin.solvers.model.PowerFlow.update`; either all of it is taken, or none.

        Raises:
            InputShapeError: an array does not fit its table.
            InputNotFiniteError: a demand or generation is NaN or infinite.
            TapOutOfRangeError: a tap that the transformer does not have.
        """
        present = self._inputs
        present.check_powers(p_kw, q_kvar, generation_kw, generation_kvar)
        present.check_closed(closed)
        present.check_taps(tap_position)
        for mine, wanted in (
            (present.p_kw, p_kw),
            (present.q_kvar, q_kvar),
            (present.generation_kw, generation_kw),
            (present.generation_kvar, generation_kvar),
        ):
            if wanted is not None:
                mine[:] = wanted
        if take(present.tap_position, tap_position):
            arrays.set_taps(self._branches, self.network, present.tap_position)
            self._present.eliminated = False
        if take(present.closed, closed):
            self._present.ordered = False

    def solve(self) -> PowerFlowResult:
        """See :meth:`twin.solvers.model.PowerFlow.solve`."""
        result = self._sweep(self._present, self._inputs.closed)
        if isinstance(result, PowerFlowResult):
            return result
        self._note(result)
        return self._general_solver().solve()

    def solve_many(self, closed: Bools) -> list[PowerFlowResult | PowerFlowDivergedError]:
        """See :meth:`twin.solvers.model.PowerFlow.solve_many`.

        Raises:
            InputShapeError: ``closed`` has not one column a switch.
        """
        if closed.ndim != 2:
            raise InputShapeError("closed", (len(closed), self.network.switches.n), closed.shape)
        check_shape("closed", closed, (len(closed), self.network.switches.n))
        return [
            self._settled(outcome, states)
            for outcome, states in zip(self._sweep_many(np.ascontiguousarray(closed)), closed, strict=True)
        ]

    def _sweep_many(self, closed: Bools) -> list[PowerFlowResult | str]:
        """All candidates, dealt out to threads: the compiled loops run beside each other."""
        worth = len(closed) * self.network.nodes.n // _NODES_A_THREAD
        n = max(1, min(worth, len(closed), os.cpu_count() or 1))
        while len(self._trials) < n:
            self._trials.append(_State(self.network, self._grid))
        outcomes: list[PowerFlowResult | str] = [""] * len(closed)

        def work(first: int) -> None:
            for row in range(first, len(closed), n):
                self._trials[first].ordered = False
                outcomes[row] = self._sweep(self._trials[first], closed[row])

        if n == 1:
            work(0)
            return outcomes
        with ThreadPoolExecutor(n) as pool:
            list(pool.map(work, range(n)))
        return outcomes

    def _settled(self, outcome: PowerFlowResult | str, closed: Bools) -> PowerFlowResult | PowerFlowDivergedError:
        if isinstance(outcome, PowerFlowResult):
            return outcome
        self._note(outcome)
        return self._general_solver().solve_many(closed[np.newaxis])[0]

    def _sweep(self, state: _State, closed: Bools) -> PowerFlowResult | str:
        """The result, or why the sweep has none."""
        state.prepare(closed, self._branches)
        if state.status != kernels.SOLVABLE:
            return _REASONS[state.status]
        n, b = self.network.nodes.n, self.network.n_branches
        room = np.empty(2 * n + _BRANCH_RESULTS * b)
        at_nodes, at_branches = room[: 2 * n].reshape(2, n), room[2 * n :].reshape(_BRANCH_RESULTS, b)
        energised = np.empty(n, dtype=np.bool_)
        solved = kernels.solve(
            self._grid,
            self._branches,
            state.tree,
            state.flow,
            state.loops,
            self._demand,
            self._tolerance_pu,
            self._max_iterations,
            LEAST_V_PU,
            at_nodes,
            energised,
            at_branches,
        )
        if not solved:
            return _NOT_CONVERGED
        return PowerFlowResult(at_nodes[0], at_nodes[1], energised, *at_branches)

    def _general_solver(self) -> GridModelPowerFlow:
        """The general solver in the present state; built when first needed."""
        if self._general is None:
            self._general = GridModelPowerFlow(self.network)
        x = self._inputs
        self._general.update(
            p_kw=x.p_kw,
            q_kvar=x.q_kvar,
            generation_kw=x.generation_kw,
            generation_kvar=x.generation_kvar,
            closed=x.closed,
            tap_position=x.tap_position,
        )
        return self._general

    def _note(self, reason: str) -> None:
        if reason not in self._noted:
            self._noted.add(reason)
            self.notes.append(f"network {self.network.name}: {reason}, so power-grid-model solves instead of the sweep")


class _State:
    """The order of the nodes under one set of switch states, and how much of it still holds."""

    def __init__(self, network: Network, grid: arrays.Grid) -> None:
        self.tree = arrays.tree_for(network)
        self.flow = arrays.flow_for(network)
        self.loops = arrays.loops_for(network)
        self.ordered = False
        self.eliminated = False
        self.status = kernels.SOLVABLE
        self._grid = grid

    def prepare(self, closed: Bools, branches: arrays.Branches) -> None:
        """Order and eliminate what the last changes of switches and taps made void."""
        if not self.ordered:
            self.status = kernels.order(self._grid, closed, self.tree, self.loops)
            self.ordered, self.eliminated = True, False
        if not self.eliminated and self.status == kernels.SOLVABLE:
            kernels.eliminate(self._grid, branches, self.tree, self.flow, self.loops)
            self.eliminated = True
