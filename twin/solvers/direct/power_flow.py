"""The direct solver behind the protocol of :class:`twin.solvers.model.PowerFlow`.

Not for three phases. Sources of different voltages on one bus go to power-grid-model.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from twin.network.model import Bools, Floats, Ints, Network
from twin.network.topology import Topology
from twin.solvers.direct import arrays, kernels
from twin.solvers.direct.ordering import pattern_of
from twin.solvers.held_voltages import shared
from twin.solvers.islands import Islands
from twin.solvers.model import DeferredResult, PowerFlow, PowerFlowDivergedError
from twin.solvers.power_grid_model import LEAST_V_PU, GridModelPowerFlow
from twin.solvers.sweep.arrays import BASE_KVA, Branches, Complexes, Grid
from twin.solvers.sweep.base import CompiledPowerFlow, Outcome
from twin.solvers.transformer_taps import off_the_clock, windings

TOLERANCE_PU = 1e-10
CONFLICTING = "sources of different voltages are joined without an impedance"
_BRANCH_RESULTS = 7


class DirectPowerFlow(CompiledPowerFlow["_Case"]):
    """A :class:`twin.solvers.model.PowerFlow` for any topology.

    ``tolerance_pu`` is the largest change of a voltage in the last iteration.

    ``notes`` gains a sentence when power-grid-model has to stand in; the caller may clear it.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
        InputNotFiniteError: a rated demand or generation is no number.
    """

    INSTEAD = "power-grid-model solves instead of the direct solver"

    def __init__(self, network: Network, *, tolerance_pu: float = TOLERANCE_PU) -> None:
        self._tolerance_pu = tolerance_pu
        super().__init__(network)
        self._turn = _turns(network, network.transformers.tap_position)
        self._holding = np.flatnonzero(self._grid.generator_set > 0)

    def _case(self) -> _Case:
        return _Case(self.network, self._grid)

    def _stale(self, case: _Case, *, switches: bool) -> None:
        case.prepared = False

    def _tapped(self) -> None:
        self._turn = _turns(self.network, self._inputs.tap_position)

    def _next(self) -> PowerFlow:
        return GridModelPowerFlow(self.network)

    def _attempt(self, case: _Case, closed: Bools) -> Outcome:
        if not case.prepare(closed, self._branches, self._turn):
            return self._conflict(closed)
        v, v_pu = np.empty(len(case.load.s0), dtype=np.complex128), np.empty(self.network.nodes.n)
        held = case.held
        status = kernels.solve(
            self._points,
            held.pattern,
            held.state,
            self._demand,
            case.load,
            case.work,
            self._tolerance_pu,
            v,
            v_pu,
        )
        energised = held.state.energised.copy()
        if status != kernels.CONVERGED or not v_pu.min(initial=1.0, where=energised) >= LEAST_V_PU:
            return self._failure(case, closed, status, v_pu)
        generation_kvar = self._generation(case)
        grid, branches, turn = self._grid, self._branches, self._turn
        return DeferredResult(v_pu, energised, lambda: _report(grid, branches, turn, held, v, generation_kvar))

    def _generation(self, case: _Case) -> Floats:
        """What each unit feeds in: as given, or what its bus needs, by the room that each has between its limits."""
        grid, pattern, state, load = self._grid, case.held.pattern, case.held.state, case.load
        q = np.where(state.energised[grid.generator_node], self._demand.generation_kvar, 0.0)
        if load.held.size:
            free = state.free[pattern.bus[grid.generator_node]] & (grid.generator_set > 0)
            units = np.flatnonzero(free)
            for bus in np.unique(pattern.bus[grid.generator_node[units]]):
                here = units[pattern.bus[grid.generator_node[units]] == bus]
                q[here] = BASE_KVA * shared(load.fed[bus], grid.generator_low[here], grid.generator_high[here])
        return np.asarray(q, dtype=np.float64)

    def _conflict(self, closed: Bools) -> Outcome:
        """power-grid-model knows such sources, but no units that hold voltages and no phase shift off the clock."""
        if not self._holding.size and not off_the_clock(self.network).any():
            return CONFLICTING
        islands = Islands.under(Topology(self.network), closed)
        return PowerFlowDivergedError(islands.describe(islands.energised[0]), CONFLICTING)

    def _failure(self, case: _Case, closed: Bools, status: int, v_pu: Floats) -> PowerFlowDivergedError:
        """The error for the island of the first node that has no sound voltage."""
        pattern, state = case.held.pattern, case.held.state
        islands = Islands.under(Topology(self.network), closed)
        if status == kernels.CONVERGED:
            node = int(np.flatnonzero(state.energised & ~(v_pu >= LEAST_V_PU))[0])
            detail = f"the voltage of node {self.network.nodes.names[node]} would be {v_pu[node]:.3g} pu"
        elif status == kernels.UNSETTLED:
            node = int(np.flatnonzero(state.energised & (case.load.held[pattern.bus] > 0))[0])
            detail = "the limits of reactive power do not settle"
        else:
            lost = state.free & ~(case.work.last <= kernels.ROUNDOFF_PU)
            node = int(np.flatnonzero(lost[pattern.bus] & state.energised)[0]) if lost.any() else 0
            detail = "no voltages satisfy its demand"
        return PowerFlowDivergedError(islands.describe(int(islands.of_node[node])), detail)


def _turns(network: Network, tap_position: Ints) -> Complexes:
    """The unit phasor of each branch's phase shift; that of a clock number to the last bit."""
    _, _, shift_rad = windings(network.transformers, tap_position)
    hours = np.concatenate([np.zeros(network.lines.n), shift_rad * (6 / np.pi)])
    whole = np.round(hours)
    return np.exp(1j * np.pi / 6 * np.where(np.abs(hours - whole) < 1e-9, whole, hours))


def _report(
    grid: Grid, branches: Branches, turn: Complexes, held: _Held, v: Complexes, generation_kvar: Floats
) -> Sequence[Any]:
    """Angles, branch quantities and reactive power, in the order of the fields of a result."""
    angle_rad, at_branches = np.empty(len(held.pattern.bus)), np.empty((_BRANCH_RESULTS, len(held.pattern.at)))
    kernels.report(grid, branches, turn, held.pattern, held.state, v, angle_rad, at_branches)
    return (angle_rad, *at_branches, generation_kvar)


class _Held:
    """What results that are read later still need: replaced, not changed, while one of them lives."""

    __slots__ = ("__weakref__", "pattern", "state")

    def __init__(self, pattern: arrays.Pattern, state: arrays.State) -> None:
        self.pattern = pattern
        self.state = state


class _Case:
    """Pattern and factors under one set of switch states, and whether they still hold."""

    def __init__(self, network: Network, grid: Grid) -> None:
        self._network, self._grid = network, grid
        self._couplers = np.flatnonzero(grid.switch_branch < 0)
        self._coupled: Bools | None = None
        self._queue = np.empty(network.nodes.n, dtype=np.int32)
        self.prepared = False
        self.possible = False
        self.held: _Held

    def prepare(self, closed: Bools, branches: Branches, turn: Complexes) -> bool:
        """Renew what the last changes of switches, taps and shunts made void; False if sources conflict."""
        if self.prepared:
            return self.possible
        coupled = closed[self._couplers]
        if self._coupled is None or not np.array_equal(coupled, self._coupled):
            self._coupled = coupled
            pattern = pattern_of(self._grid, closed)
            self.held = _Held(pattern, arrays.state_for(self._network, pattern))
            self.load, self.work = arrays.load_for(len(pattern.start) - 1, self._grid), arrays.work_for(pattern)
        else:
            self._renew()
        status = kernels.prepare(self._grid, branches, turn, self.held.pattern, closed, self.held.state, self._queue)
        self.prepared, self.possible = True, status == kernels.SOLVABLE
        return self.possible

    def _renew(self) -> None:
        """Make room elsewhere if a result still needs the old values."""
        pattern, state = self.held.pattern, self.held.state
        watch = weakref.ref(self.held)
        del self.held
        in_use = watch() is not None
        self.held = _Held(pattern, arrays.state_for(self._network, pattern) if in_use else state)
