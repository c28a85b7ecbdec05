"""Unbalanced power flow by current injection: a fixed point on the factorised admittance matrix.

``V = V0 + Y^-1 I(V)``, from the no-load voltages ``V0`` each time, so that a result depends on the present
state alone and not on what was solved before. Any topology, sources stiff or behind an impedance, voltage-dependent
star and delta loads. Converges linearly; where it does not, Newton's method takes over. Not for balanced networks,
which a part of the work solves; not for PV nodes.

Source: T.-H. Chen et al., "Distribution system power flow analysis: a rigid approach", IEEE Trans. Power
Delivery 6 (1991); S. Bolognani, S. Zampieri, IEEE Trans. Power Systems 31 (2016) on when it converges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from twin.network.model import Bools, Floats, Ints
from twin.network.three_phase import Complexes, ThreePhaseNetwork
from twin.solvers.model import (
    InputNotFiniteError,
    InputShapeError,
    PowerFlowDivergedError,
    TapOutOfRangeError,
)
from twin.solvers.three_phase.admittance import Branches
from twin.solvers.three_phase.checks import check
from twin.solvers.three_phase.circuit import Circuit, Shunts, Sources, UndefinedVoltageError
from twin.solvers.three_phase.connectivity import Connections, Connectivity
from twin.solvers.three_phase.demand import Demand, Supplied
from twin.solvers.three_phase.islands import describe_island
from twin.solvers.three_phase.model import ThreePhaseResult
from twin.solvers.three_phase.newton import Newton
from twin.solvers.three_phase.results import Flows

if TYPE_CHECKING:
    from twin.solvers.three_phase.compiled import CompiledCircuit, Order

TOLERANCE_PU = 1e-10
"""Largest change of a voltage in the last iteration."""
MOST_ITERATIONS = 500
LEAST_V_PU = 0.5
"""A solution of Newton's method with less voltage at a load that holds its power lies on the unstable branch."""

_CHECKED_EVERY = 20
_SLOWEST = 0.1
"""The change must fall to this every ``_CHECKED_EVERY`` iterations, or Newton's method takes over."""
_LIMITS = (TOLERANCE_PU, MOST_ITERATIONS, _CHECKED_EVERY, _SLOWEST)

COMPILED_FROM = 1_500
"""Node phases from which compiled code earns back the import of numba within a usual run."""


@dataclass(slots=True)
class _Inputs:
    """The present state: what :meth:`CurrentInjection.update` replaces."""

    p_kw: Floats
    q_kvar: Floats
    generation_kw: Floats
    generation_kvar: Floats
    closed: Bools
    tap_position: Ints
    shunt_on: Bools


class CurrentInjection:
    """A :class:`twin.solvers.three_phase.model.ThreePhasePowerFlow`; the initial state is rated, normal and initial.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
    """

    def __init__(self, network: ThreePhaseNetwork) -> None:
        check(network)
        self.network = network
        self._connections = Connections(network)
        self._branches = Branches(network, self._connections.present)
        self._order: Order | None = None
        self._sources = Sources.of(network)
        self._shunts = Shunts(network)
        self._demand = Demand(network)
        self._flows = Flows(network, self._connections, self._demand, self._shunts, self._sources)
        self._v_phase = np.repeat(1e3 * network.nodes.v_nominal_kv / np.sqrt(3), 3)
        self._state = _rated(network)
        self._set_demand()
        self._connectivity: Connectivity | None = None
        self._solvable: _Solvable | None = None

    def update(
        self,
        *,
        p_kw: Floats | None = None,
        q_kvar: Floats | None = None,
        generation_kw: Floats | None = None,
        generation_kvar: Floats | None = None,
        closed: Bools | None = None,
        tap_position: Ints | None = None,
        shunt_on: Bools | None = None,
    ) -> None:
        """See :meth:`twin.solvers.three_phase.model.ThreePhasePowerFlow.update`.

        Raises:
            InputShapeError: an array does not fit its table.
            InputNotFiniteError: a demand or generation of an existing unit is NaN or infinite.
            TapOutOfRangeError: a tap that the transformer does not have.
        """
        net = self.network
        powers = {
            "p_kw": _checked("p_kw", p_kw, net.consumers.names, net.consumers.units),
            "q_kvar": _checked("q_kvar", q_kvar, net.consumers.names, net.consumers.units),
            "generation_kw": _checked("generation_kw", generation_kw, net.generators.names, net.generators.units),
            "generation_kvar": _checked("generation_kvar", generation_kvar, net.generators.names, net.generators.units),
        }
        poles = _poles("closed", closed, net.switches.n)
        units_on = _poles("shunt_on", shunt_on, net.shunts.n)
        self._check_taps(tap_position)
        for name, values in powers.items():
            if values is not None:
                setattr(self._state, name, values)
        self._set_demand()
        self._set_structure(poles, tap_position, units_on)

    def _set_demand(self) -> None:
        s = self._state
        self._demand.set(s.p_kw, s.q_kvar, s.generation_kw, s.generation_kvar)

    def _set_structure(self, closed: Bools | None, tap_position: Ints | None, shunt_on: Bools | None) -> None:
        state = self._state
        if closed is not None and not np.array_equal(closed, state.closed):
            state.closed = closed
            self._connectivity = self._solvable = None
        if tap_position is not None and not np.array_equal(tap_position, state.tap_position):
            state.tap_position = tap_position.astype(np.int32)
            self._solvable = None
        if shunt_on is not None and not np.array_equal(shunt_on, state.shunt_on):
            state.shunt_on = shunt_on
            self._solvable = None

    def _check_taps(self, tap_position: Ints | None) -> None:
        t = self.network.transformers
        if tap_position is None:
            return
        if tap_position.shape != (t.n,):
            raise InputShapeError("tap_position", (t.n,), tap_position.shape)
        outside = np.flatnonzero((tap_position < t.tap_min) | (tap_position > t.tap_max))
        if len(outside):
            row = int(outside[0])
            raise TapOutOfRangeError(t.names[row], int(tap_position[row]), int(t.tap_min[row]), int(t.tap_max[row]))

    def solve(self) -> ThreePhaseResult:
        """See :meth:`twin.solvers.three_phase.model.ThreePhasePowerFlow.solve`."""
        if self._connectivity is None:
            self._connectivity = self._connections.under(self._state.closed)
        if self._solvable is None:
            self._solvable = self._prepare(self._connectivity)
        return self._solve(self._solvable, self._state.closed)

    def solve_many(self, closed: Bools) -> list[ThreePhaseResult | PowerFlowDivergedError]:
        """See :meth:`twin.solvers.three_phase.model.ThreePhasePowerFlow.solve_many`.

        Raises:
            InputShapeError: ``closed`` has not one column a switch.
        """
        return [self._candidate(states) for states in closed]

    def _candidate(self, closed: Bools) -> ThreePhaseResult | PowerFlowDivergedError:
        poles = _poles("closed", closed, self.network.switches.n)
        if poles is None:
            return self.solve()
        try:
            return self._solve(self._prepare(self._connections.under(poles)), poles)
        except PowerFlowDivergedError as diverged:
            return diverged

    def _prepare(self, connectivity: Connectivity) -> _Solvable:
        """The factorised circuit of the present taps and shunts under ``connectivity``."""
        branches = self._branches.under(connectivity.active, self._state.tap_position)
        shunt_y_s = self._shunts.in_service(self._state.shunt_on, connectivity.live)
        try:
            circuit = self._circuit(connectivity, branches, shunt_y_s)
        except UndefinedVoltageError:
            island = describe_island(self.network, self._connections, connectivity, None)
            raise PowerFlowDivergedError(island, "its voltages to earth are not defined") from None
        return _Solvable(circuit, branches, shunt_y_s, self._demand, self._v_phase)

    def _circuit(
        self, connectivity: Connectivity, branches: Complexes, shunt_y_s: Complexes
    ) -> Circuit | CompiledCircuit:
        """The compiled circuit if the network is large and needs no pivoting."""
        if 3 * self.network.nodes.n >= COMPILED_FROM:
            from twin.solvers.three_phase.compiled import CompiledCircuit  # imports numba, which takes half a second

            try:
                order = self._order_under(connectivity)
                return CompiledCircuit(order, connectivity, branches, shunt_y_s, self._sources)
            except UndefinedVoltageError:  # the one with pivoting has the last word
                pass
        return Circuit(connectivity, self._connections.terminals, branches, self._shunts, shunt_y_s, self._sources)

    def _order_under(self, connectivity: Connectivity) -> Order:
        """The elimination order for the present groups; one is kept."""
        from twin.solvers.three_phase.compiled import Order

        if self._order is None or not np.array_equal(self._order.group, connectivity.group):
            terminals = self._connections.terminals
            present = np.where(self._connections.present, terminals, self._connections.n)
            self._order = Order(connectivity.group, connectivity.n_groups, present, self._shunts, self._sources)
        return self._order

    def _solve(self, solvable: _Solvable, closed: Bools) -> ThreePhaseResult:
        unknown, worst = solvable.iterate(self._demand)
        circuit = solvable.circuit
        if worst is not None:
            phase = int(np.flatnonzero(circuit.of_phase == worst)[0])
            island = describe_island(self.network, self._connections, circuit.connectivity, phase // 3)
            raise PowerFlowDivergedError(island, "no voltages satisfy its demand")
        return self._flows.result(circuit, circuit.full(unknown), solvable.branches, solvable.shunt_y_s, closed)


class _Solvable:
    """A circuit with the places of the demand in it."""

    def __init__(
        self, circuit: Circuit | CompiledCircuit, branches: Complexes, shunt_y_s: Complexes, demand: Demand, v: Floats
    ) -> None:
        self.circuit = circuit
        self.branches = branches
        self.shunt_y_s = shunt_y_s
        self._nominal_v = circuit.nominal(v)
        live = circuit.connectivity.live
        on = np.flatnonzero(live[demand.plus] & live[demand.minus])
        self._supplied = Supplied(on, circuit.of_phase[demand.plus[on]], circuit.of_phase[demand.minus[on]])
        self._n_units = len(demand.plus)

    def iterate(self, demand: Demand) -> tuple[Complexes, int | None]:
        """Voltages of the unknown groups, and the group that is worst off if there are none."""
        with np.errstate(all="ignore"):
            unknown, converged = self.circuit.fixed_point(demand, self._supplied, self._nominal_v, _LIMITS)
            return (unknown, None) if converged else self._newton(demand)

    def _newton(self, demand: Demand) -> tuple[Complexes, int | None]:
        circuit, n, on = self.circuit, self.circuit.n, self._supplied.on
        to_all = self._supplied.across(circuit.n_known)
        across, stiff = csr_array(to_all[:, :n]), circuit.full(np.zeros(n, dtype=np.complex128))[:-1]

        def over_all(over: Complexes) -> Complexes:
            volts = np.ones(self._n_units, dtype=np.complex128)
            volts[on] = over
            return volts

        def current(over: Complexes) -> tuple[Complexes, Complexes, Floats]:
            volts = over_all(over)
            return demand.admittance(volts)[on], demand.slope(volts)[on], np.abs(over)

        newton = Newton(circuit.admittance, circuit.impressed, across, to_all @ stiff, self._nominal_v)
        unknown, mismatch = newton.solve(current, circuit.no_load)
        if mismatch is not None:
            return unknown, int(np.argmax(mismatch))
        over = to_all @ circuit.full(unknown)[:-1]
        collapsed = np.flatnonzero(demand.collapsed(over_all(over), LEAST_V_PU)[on])
        if len(collapsed):
            ends = across[collapsed[:1]].indices
            return unknown, int(ends[0])
        return unknown, None


def _rated(network: ThreePhaseNetwork) -> _Inputs:
    c, g = network.consumers, network.generators
    return _Inputs(
        p_kw=c.p_kw,
        q_kvar=c.q_kvar,
        generation_kw=g.p_kw,
        generation_kvar=g.q_kvar,
        closed=network.switches.normally_closed,
        tap_position=network.transformers.tap_position,
        shunt_on=np.ones((network.shunts.n, 3), dtype=np.bool_),
    )


def _checked(quantity: str, values: Floats | None, names: tuple[str, ...], units: Bools) -> Floats | None:
    """A copy with zeros where no unit is."""
    if values is None:
        return None
    if values.shape != units.shape:
        raise InputShapeError(quantity, units.shape, values.shape)
    bad = np.argwhere(units & ~np.isfinite(values))
    if len(bad):
        row, unit = bad[0]
        raise InputNotFiniteError(names[row], quantity, float(values[row, unit]))
    return np.where(units, values, 0.0)


def _poles(quantity: str, values: NDArray[Any] | None, n: int) -> Bools | None:
    """A copy with one column a pole."""
    if values is None:
        return None
    if values.shape not in ((n,), (n, 3)):
        raise InputShapeError(quantity, (n, 3), values.shape)
    poles: Bools = np.array(np.broadcast_to(values if values.ndim == 2 else values[:, np.newaxis], (n, 3)), dtype=bool)
    return poles
