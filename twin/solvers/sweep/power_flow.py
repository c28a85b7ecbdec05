"""The sweep behind the protocol of :class:`twin.solvers.model.PowerFlow`.

Generating units that hold a voltage are compensated for, see :mod:`twin.solvers.held_voltages`. Not for three phases.
Many loops, many held voltages and whatever the sweep finds no voltages for go to the direct solver.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from twin.network.model import Bools, Floats, Ints, Network
from twin.solvers.held_voltages import MOST_HELD, HeldUnits, hold, sensitivities
from twin.solvers.model import DeferredResult, PowerFlow
from twin.solvers.power_grid_model import LEAST_V_PU
from twin.solvers.sweep import arrays, elimination, meshed, ordering, radial, reporting
from twin.solvers.sweep.base import CompiledPowerFlow, Outcome
from twin.solvers.transformer_taps import off_the_clock

TOLERANCE_PU = 1e-10
MAX_ITERATIONS = 100

_REASONS = {
    ordering.TOO_MANY_LOOPS: f"more than {arrays.MAX_LOOPS} loops are closed",
    ordering.CONFLICTING_SOURCES: "sources of different voltages are joined without an impedance",
}
_BRANCH_RESULTS = 7
_NOT_CONVERGED = "the sweep found no voltages"
_HELD_VOLTAGES = f"generating units hold more than {MOST_HELD} voltages"
_OFF_THE_CLOCK = "transformers shift phases by other angles than clock numbers"
_NOT_HELD = "the sweep found no voltages that generating units could hold"

_Solution = arrays.Flow | Floats
"""Voltages and demand where there are loops, squared voltages and powers where there are none."""


class SweepPowerFlow(CompiledPowerFlow["_Case"]):
    """A :class:`twin.solvers.model.PowerFlow`; the initial state is rated, normal and initial.

    ``tolerance_pu`` is the largest change of a voltage in the last iteration. ``notes`` gains a sentence the first
    time that the direct solver has to stand in for each kind of reason; the caller may clear it.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
        InputNotFiniteError: a rated demand or generation is no number.
    """

    INSTEAD = "the direct solver takes over from the sweep"

    def __init__(
        self, network: Network, *, tolerance_pu: float = TOLERANCE_PU, max_iterations: int = MAX_ITERATIONS
    ) -> None:
        self._tolerance_pu = tolerance_pu
        self._max_iterations = max_iterations
        super().__init__(network)
        self._holds = bool(self._grid.generator_set.any())
        self._off_the_clock = bool(off_the_clock(network).any())

    def _case(self) -> _Case:
        return _Case(self.network, self._grid)

    def _stale(self, case: _Case, *, switches: bool) -> None:
        case.eliminated = False
        if switches:
            case.ordered = False

    def _next(self) -> PowerFlow:
        from twin.solvers.direct import DirectPowerFlow  # seldom needed, and late: it is built on the sweep's arrays

        following = DirectPowerFlow(self.network, tolerance_pu=self._tolerance_pu)
        following.notes = self.notes
        return following

    def _attempt(self, case: _Case, closed: Bools) -> Outcome:
        if self._off_the_clock:
            return _OFF_THE_CLOCK
        case.prepare(closed, self._branches)
        if case.status != ordering.SOLVABLE:
            return _REASONS[case.status]
        held = case.held
        solution = held.fresh_solution()
        n = self.network.nodes.n
        v_pu, energised = np.empty(n), np.empty(n, dtype=np.bool_)
        fed = self._inputs.generation_kvar.copy()
        solve = partial(self._solve, held, solution, v_pu, energised)
        if not self._holds:
            if not solve(self._demand):
                return _NOT_CONVERGED
        elif reason := self._hold(case, solve, v_pu, fed):
            return reason
        return _result(self._grid, self._branches, held, solution, v_pu, energised, fed)

    def _solve(self, held: _Held, solution: _Solution, v_pu: Floats, energised: Bools, demand: arrays.Demand) -> bool:
        """Write the voltages at this demand; False if there are none."""
        limits = self._tolerance_pu, self._max_iterations, LEAST_V_PU
        if isinstance(solution, arrays.Flow):
            return bool(meshed.solve(self._points, held.spine, solution, held.loops, demand, *limits, v_pu, energised))
        tree, drops = held.tree, held.drops
        return bool(
            radial.solve(
                held.n,
                tree.parent,
                tree.position,
                tree.load_at,
                self._grid.load_shares,
                tree.generator_at,
                held.flow.w,
                drops.given,
                drops.work,
                solution,
                demand,
                *limits,
                v_pu,
                energised,
            )
        )

    def _hold(self, case: _Case, solve: Callable[[arrays.Demand], bool], v_pu: Floats, fed: Floats) -> str:
        """Find the reactive power of the units that hold voltages; returns why not, or an empty string."""
        units = case.units
        if units.n > MOST_HELD:
            return _HELD_VOLTAGES

        def voltages(demand: arrays.Demand, q: Floats) -> Floats | None:
            units.write(q, demand.generation_kvar)
            return v_pu[units.nodes] if solve(demand) else None

        if case.sensitivities is None:
            nothing = arrays.Demand(*(np.zeros_like(column) for column in self._demand))
            case.sensitivities = sensitivities(partial(voltages, nothing), units.n)
        at_demand = self._demand._replace(generation_kvar=fed)
        if case.sensitivities is None or hold(partial(voltages, at_demand), units.buses, case.sensitivities) is None:
            return _NOT_HELD
        return ""


def _result(
    grid: arrays.Grid,
    branches: arrays.Branches,
    held: _Held,
    solution: _Solution,
    v_pu: Floats,
    energised: Bools,
    generation_kvar: Floats,
) -> DeferredResult:
    """A result that works out later what is asked for."""
    tree, n_branches = held.tree, len(branches.z)

    def fed() -> Floats:
        return np.where(tree.position[grid.generator_node] > 0, generation_kvar, 0.0)

    if isinstance(solution, arrays.Flow):
        meshed_flow = solution

        def all_quantities() -> Sequence[Any]:
            flow, loops = arrays.fresh_currents(meshed_flow, held.loops)
            angle_rad, out = np.empty(len(v_pu)), np.empty((_BRANCH_RESULTS, n_branches))
            reporting.report_meshed(grid, branches, tree, flow, loops, angle_rad, out)
            return (angle_rad, *out, fed())

        return DeferredResult(v_pu, energised, all_quantities)
    state = solution

    def quantities() -> Sequence[Any]:
        out = np.empty((_BRANCH_RESULTS, n_branches))
        reporting.report_radial(grid, branches, tree, held.flow.y, held.drops.given, state, out)
        return (*out, fed())

    def angles() -> Floats:
        angle_rad, v = np.empty(len(v_pu)), np.empty_like(held.flow.v)
        reporting.angles_radial(grid, tree, held.flow.a, held.flow.w, state, v, angle_rad)
        return angle_rad

    return DeferredResult(v_pu, energised, quantities, angles)


class _Held:
    """What results that are read later still need: replaced, not changed, while one of them lives."""

    __slots__ = ("__weakref__", "drops", "flow", "loops", "n", "spine", "tree")

    def __init__(self, tree: arrays.Tree, flow: arrays.Flow, drops: arrays.Drops, loops: arrays.Loops) -> None:
        self.tree = tree
        self.spine = arrays.Spine(tree.size, tree.position, tree.parent)
        self.flow = flow
        self.drops = drops
        self.loops = loops
        self.n = 0

    def fresh_solution(self) -> _Solution:
        """Room for a solution under the present order."""
        return arrays.fresh_demand(self.flow) if self.tree.size[1] else np.empty_like(self.drops.work[:3])


class _Case:
    """The order of the nodes under one set of switch states, and how much of it still holds."""

    def __init__(self, network: Network, grid: arrays.Grid) -> None:
        self._network, self._grid = network, grid
        self._holds = bool(grid.generator_set.any())
        self.ordered = False
        self.eliminated = False
        self.status = ordering.SOLVABLE
        self.held = self._room()
        self.units = HeldUnits(network, np.full(network.generators.n, -1, dtype=np.int32))
        self.sensitivities: Floats | None = None

    def _room(self) -> _Held:
        network = self._network
        tree, flow = arrays.tree_for(network), arrays.flow_for(network)
        return _Held(tree, flow, arrays.drops_for(network), arrays.loops_for(network))

    def prepare(self, closed: Bools, branches: arrays.Branches) -> None:
        """Order and eliminate what the last changes of switches, taps and shunts made void."""
        if self.eliminated:
            return
        self._renew()
        held = self.held
        if not self.ordered:
            self.status = ordering.order(self._grid, closed, held.tree, held.loops)
            self.ordered = True
        held.n = int(held.tree.size[0])
        if self.status == ordering.SOLVABLE:
            elimination.eliminate(self._grid, branches, held.tree, held.flow, held.drops, held.loops)
            if self._holds:
                self.units, self.sensitivities = HeldUnits(self._network, self._bus_of_units()), None
        self.eliminated = True

    def _bus_of_units(self) -> Ints:
        """The uppermost position of each generating unit's bus, -1 where it is dead or a source sets the voltage."""
        tree, nodes = self.held.tree, self._network.generators.node
        bus = np.array([_top(tree, int(position)) for position in tree.position[nodes]], dtype=np.int32)
        return np.where(tree.parent[bus] == 0, -1, bus).astype(np.int32)

    def _renew(self) -> None:
        """Make room elsewhere if a result still needs the old arrays."""
        old = self.held.tree, self.held.flow, self.held.drops, self.held.loops
        watch = weakref.ref(self.held)
        del self.held
        if watch() is None:
            self.held = _Held(*old)
        else:
            self.held = self._room()
            self.ordered = False


def _top(tree: arrays.Tree, position: int) -> int:
    """Up through closed bus couplers to where a branch or a source comes in; 0 stays 0."""
    while tree.branch[position] == -1 and tree.parent[position] != 0:
        position = int(tree.parent[position])
    return position
