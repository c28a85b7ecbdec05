"""From the voltages of a solved three-phase circuit to the result: flows, demand, source and switch currents."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve

from twin.network.model import Bools
from twin.network.three_phase import Complexes, ThreePhaseNetwork
from twin.solvers.three_phase.circuit import Circuit, Shunts, Sources
from twin.solvers.three_phase.connectivity import Connections, Index
from twin.solvers.three_phase.demand import Demand
from twin.solvers.three_phase.model import ThreePhaseResult

if TYPE_CHECKING:
    from twin.solvers.three_phase.compiled import CompiledCircuit

NAN = complex(np.nan, np.nan)


class Flows:
    """Makes results; holds what does not change."""

    def __init__(
        self,
        network: ThreePhaseNetwork,
        connections: Connections,
        demand: Demand,
        shunts: Shunts,
        sources: Sources,
    ) -> None:
        self._network = network
        self._connections = connections
        self._demand = demand
        self._shunts = shunts
        self._sources = sources
        self._nominal = 1e3 * network.nodes.v_nominal_kv[:, np.newaxis] / np.sqrt(3)
        self._links = np.flatnonzero(network.switches.other_node >= 0)

    def result(
        self,
        circuit: Circuit | CompiledCircuit,
        full: Complexes,
        branches: Complexes,
        shunt_y_s: Complexes,
        closed: Bools,
    ) -> ThreePhaseResult:
        """The result for the voltages ``full`` of the circuit's groups."""
        network, live = self._network, circuit.connectivity.live
        volts = full[circuit.of_phase]
        at_ends = volts[self._connections.terminals]
        i_branch = (branches @ at_ends[:, :, np.newaxis])[:, :, 0]
        unit_volts, i_unit = self._demanded(volts, live)
        drawn = self._drawn(volts, i_branch, i_unit, shunt_y_s)
        i_source = self._source_currents(circuit, volts, drawn)
        s_branch = np.where(self._connections.present, 1e-3 * at_ends * i_branch.conj(), NAN)
        s_unit = self._demand.table(1e-3 * unit_volts * i_unit.conj(), NAN)[: network.consumers.n]
        s_source = 1e-3 * volts[self._sources.at] * i_source.conj()
        np.subtract.at(drawn, self._sources.at, i_source)
        there = network.nodes.phases
        v_node = volts[:-1].reshape(-1, 3)
        magnitude = np.where(self._connections.present, np.abs(i_branch), np.nan)
        return _frozen(
            ThreePhaseResult(
                v_pu=np.where(there, np.abs(v_node) / self._nominal, np.nan),
                angle_rad=np.where(there, np.angle(v_node), np.nan),
                energised=live[:-1].reshape(-1, 3) & there,
                p_from_kw=s_branch[:, :3].real.copy(),
                q_from_kvar=s_branch[:, :3].imag.copy(),
                i_from_a=magnitude[:, :3].copy(),
                p_to_kw=s_branch[:, 3:].real.copy(),
                q_to_kvar=s_branch[:, 3:].imag.copy(),
                i_to_a=magnitude[:, 3:].copy(),
                consumer_p_kw=s_unit.real.copy(),
                consumer_q_kvar=s_unit.imag.copy(),
                source_p_kw=s_source.real.copy(),
                source_q_kvar=s_source.imag.copy(),
                i_switch_a=np.abs(self._switch_currents(drawn, i_branch, closed)),
            )
        )

    def _demanded(self, volts: Complexes, live: Bools) -> tuple[Complexes, Complexes]:
        """Voltage and current of each demand unit, 0 A where an end is dead."""
        demand = self._demand
        across = volts[demand.plus] - volts[demand.minus]
        on = live[demand.plus] & live[demand.minus]
        safe = np.where(on, across, 1.0)
        with np.errstate(all="ignore"):
            current: Complexes = np.where(on, demand.admittance(safe) * safe, 0.0)
        return across, current

    def _drawn(self, volts: Complexes, i_branch: Complexes, i_unit: Complexes, shunt_y_s: Complexes) -> Complexes:
        """Current that leaves each node phase into branches, demand and shunts."""
        drawn = np.zeros(len(volts), dtype=np.complex128)
        np.add.at(drawn, self._connections.terminals, i_branch)
        np.add.at(drawn, self._demand.plus, i_unit)
        np.subtract.at(drawn, self._demand.minus, i_unit)
        i_shunt = shunt_y_s * (volts[self._shunts.plus] - volts[self._shunts.minus])
        np.add.at(drawn, self._shunts.plus, i_shunt)
        np.subtract.at(drawn, self._shunts.minus, i_shunt)
        return drawn

    def _source_currents(self, circuit: Circuit | CompiledCircuit, volts: Complexes, drawn: Complexes) -> Complexes:
        """Current out of each source ``(n, 3)``; of stiff sources on one group the first one carries it all."""
        sources = self._sources
        behind = np.einsum("nij,nj->ni", sources.y_s, sources.volts - volts[sources.at])
        of_group = np.zeros(circuit.n_known + 1, dtype=np.complex128)
        np.add.at(of_group, circuit.of_phase, drawn)
        np.subtract.at(of_group, circuit.of_phase[sources.at[~sources.stiff]], behind[~sources.stiff])
        current: Complexes = np.asarray(behind)
        rows, phases = np.nonzero(np.repeat(sources.stiff[:, np.newaxis], 3, axis=1))
        place = circuit.of_phase[sources.at[rows, phases]]
        _, first = np.unique(place, return_index=True)
        current[rows[first], phases[first]] = of_group[place[first]]
        return current

    def _switch_currents(self, left: Complexes, i_branch: Complexes, closed: Bools) -> Complexes:
        """Current of each switch pole; ``left`` is what each node phase draws beyond its own sources."""
        switches = self._network.switches
        current = np.zeros((switches.n, 3), dtype=np.complex128)
        at_ends = np.flatnonzero(switches.branch >= 0)
        by_end = i_branch.reshape(-1, 2, 3)
        current[at_ends] = by_end[switches.branch[at_ends], switches.side[at_ends]]
        if len(self._links):
            rows, phase = self._connections.link_poles(closed)
            a = 3 * switches.node[rows].astype(np.int64) + phase
            b = 3 * switches.other_node[rows].astype(np.int64) + phase
            current[rows, phase] = _through(a, b, left)
        current[~switches.phases] = NAN
        return current


def _through(a: Index, b: Index, left: Complexes) -> Complexes:
    """Currents from ``a`` to ``b`` over equal small resistances that supply what each node phase draws."""
    nodes, at = np.unique(np.concatenate([a, b]), return_inverse=True)
    n, m = len(nodes), len(a)
    if not m:
        return np.zeros(0, dtype=np.complex128)
    rows = np.arange(m)
    start, end = at.ravel()[:m], at.ravel()[m:]
    sign = np.repeat([1.0, -1.0], m)
    across = coo_array((sign, (np.concatenate([rows, rows]), np.concatenate([start, end]))), shape=(m, n)).tocsr()
    laplacian = (across.T @ across).tocsr()
    _, component = connected_components(laplacian, directed=False)
    _, reference = np.unique(component, return_index=True)
    free = np.setdiff1d(np.arange(n), reference)
    potential = np.zeros(n, dtype=np.complex128)
    reduced = csc_array(laplacian[free][:, free])
    drawn = -left[nodes[free]]
    potential[free] = spsolve(reduced, drawn.real) + 1j * spsolve(reduced, drawn.imag)
    current: Complexes = across @ potential
    return current


def _frozen(result: ThreePhaseResult) -> ThreePhaseResult:
    for column in fields(result):
        array: NDArray[np.float64] = getattr(result, column.name)
        array.flags.writeable = False
    return result
