"""Load allocation and the load flow on it: from one image of the meters to demand, voltages and loadings.

Expected demand is scaled meter zone by meter zone to what is telemetered (``allocation``); where there is no meter it
stands as expected and says so. Balanced; the arithmetic itself knows no phases. Not a state estimation: meters are
believed or dropped, never weighed against each other.
"""

from __future__ import annotations

import numpy as np

from twin.dms.load_flow.allocation import Allocated, Flows, Readings, allocate
from twin.dms.load_flow.model import LoadFlowResult, MeterImage
from twin.dms.load_flow.plausibility import Believed, Plausibility
from twin.dms.load_flow.settings import LoadFlowSettings
from twin.dms.load_flow.zones import MeterZones
from twin.dms.standing import Standing
from twin.dms.topology import NetworkTopology, SupplyState, SwitchState, assess
from twin.network.model import Bools, Floats, Ints, Network
from twin.network.topology import Topology, TopologyState
from twin.solvers.model import PowerFlow, PowerFlowResult


class LoadFlow:
    """Compiled once on a network; ``solver``'s demand, generation and switch states are overwritten by each run."""

    def __init__(self, network: Network, solver: PowerFlow, settings: LoadFlowSettings | None = None) -> None:
        self.network = network
        self.settings = settings or LoadFlowSettings()
        self._solver = solver
        self._topology = Topology(network)
        c = network.consumers
        self._rated_kva = np.hypot(c.p_kw, c.q_kvar)
        self._rated_at_node = np.asarray(np.bincount(c.node, self._rated_kva, minlength=network.nodes.n), np.float64)

    def run(self, image: MeterImage) -> LoadFlowResult:
        """Allocate and solve.

        Raises:
            AllocationDivergedError: the measured flows cannot be reached.
            PowerFlowDivergedError: the network has no solution with the allocated demand.
        """
        seen = assess(self._topology, image.position, image.position_quality)
        closed = seen.switch == SwitchState.CLOSED
        state = self._topology.state(closed)
        believed = self._believed(image, state)
        solution = _Solution(self._solver, self.network, image, closed, believed.zones)
        allocated = self._allocate(image, state, believed.zones, solution)
        return self._result(seen, state, believed, allocated, solution)

    def _believed(self, image: MeterImage, state: TopologyState) -> Believed:
        powers = np.isfinite(image.p_kw) & np.isfinite(image.q_kvar)
        metered = powers | np.isfinite(image.i_a)
        p_kw = np.where(powers, image.p_kw, np.nan)
        fed_in = np.bincount(self.network.generators.node, image.generation_kw, minlength=self.network.nodes.n)
        judge = Plausibility(self._topology, state, p_kw, self._rated_at_node, np.asarray(fed_in), self.settings)
        return judge.believe(metered)

    def _allocate(self, image: MeterImage, state: TopologyState, zones: MeterZones, solution: _Solution) -> Allocated:
        node = self.network.consumers.node
        powers = np.isfinite(image.p_kw) & np.isfinite(image.q_kvar)
        p_kw = np.where(powers, image.p_kw, np.nan)[zones.switch] * zones.sign
        q_kvar = np.where(powers, image.q_kvar, np.nan)[zones.switch] * zones.sign
        readings = Readings(zones.parent, p_kw, q_kvar, image.i_a[zones.switch])
        live = state.energised[node]
        return allocate(
            readings,
            np.where(live, zones.node[node], -1).astype(np.int32),
            self._rated_kva,
            (image.demand.p_kw, image.demand.q_kvar),
            solution.solve,
            fed_in=(self._fed_in(zones, image.generation_kw), self._fed_in(zones, image.generation_kvar)),
            tolerance=self.settings.tolerance,
            max_rounds=self.settings.max_rounds,
        )

    def _fed_in(self, zones: MeterZones, generation: Floats) -> Floats:
        """By zone."""
        zone = zones.node[self.network.generators.node]
        return np.asarray(np.bincount(zone[zone >= 0], generation[zone >= 0], minlength=zones.n), np.float64)

    # -- what comes out -------------------------------------------------------------------------------------------

    def _result(
        self,
        seen: NetworkTopology,
        state: TopologyState,
        believed: Believed,
        allocated: Allocated,
        solution: _Solution,
    ) -> LoadFlowResult:
        network, zones = self.network, believed.zones
        flow = solution.flow if solution.flow is not None else solution.solved(allocated)
        unknown = np.flatnonzero(seen.switch == SwitchState.UNKNOWN).astype(np.int32)
        node = self._nodes(seen, zones, unknown)
        branch = _of_ends(network, node)
        branch[seen.branch == SupplyState.UNKNOWN] = Standing.UNKNOWN
        consumer = node[network.consumers.node]
        unmetered = int(np.count_nonzero(consumer == Standing.EXPECTED))
        return LoadFlowResult(
            p_kw=allocated.p_kw,
            q_kvar=allocated.q_kvar,
            consumer=consumer,
            node=node,
            branch=branch,
            flow=flow,
            meters=zones.switch,
            off=allocated.off,
            refused=believed.refused,
            unmetered=unmetered,
            unknown_switches=tuple(network.switches.names[row] for row in unknown.tolist()),
            losses_kw=float((flow.p_from_kw + flow.p_to_kw).sum()),
            rounds=allocated.rounds,
            sentences=self._sentences(unmetered),
        )

    def _nodes(self, seen: NetworkTopology, zones: MeterZones, unknown: Ints) -> Ints:
        """A zone that an unknown switch borders may reach further, or less far: nothing in it can be told."""
        network, s = self.network, self.network.switches
        node = np.where(zones.node >= 0, int(Standing.MEASURED), int(Standing.EXPECTED)).astype(np.int32)
        ends = [s.node[unknown], s.other_node[unknown][s.other_node[unknown] >= 0]]
        branch = s.branch[unknown][s.branch[unknown] >= 0]
        touched = np.concatenate([*ends, network.branch_from[branch], network.branch_to[branch]])
        meters = np.unique(zones.node[touched])
        node[np.isin(zones.node, meters) & (zones.node >= 0)] = Standing.UNKNOWN
        node[touched] = Standing.UNKNOWN
        if (meters < 0).any():
            node[zones.node < 0] = Standing.UNKNOWN
        node[seen.node == SupplyState.UNKNOWN] = Standing.UNKNOWN
        node[seen.node == SupplyState.DEAD] = Standing.DEAD
        return node

    def _sentences(self, unmetered: int) -> tuple[str, ...]:
        if not unmetered:
            return ()
        return (f"{unmetered} consumers are behind no meter that can be used and keep their expected demand.",)


class _Solution:
    """Solves the network for the allocation and keeps the last result."""

    def __init__(
        self, solver: PowerFlow, network: Network, image: MeterImage, closed: Bools, zones: MeterZones
    ) -> None:
        self._solver = solver
        s = network.switches
        self._branch, self._side, self._sign = s.branch[zones.switch], s.side[zones.switch], zones.sign
        self.flow: PowerFlowResult | None = None
        solver.update(
            closed=closed,
            generation_kw=image.generation_kw,
            generation_kvar=image.generation_kvar,
            tap_position=image.tap_position,
        )

    def solve(self, p_kw: Floats, q_kvar: Floats) -> Flows:
        """The flows at the meters, downstream positive."""
        self._solver.update(p_kw=p_kw, q_kvar=q_kvar)
        flow = self.flow = self._solver.solve()

        def at(from_: Floats, to: Floats) -> Floats:
            return np.asarray(np.where(self._side == 0, from_[self._branch], to[self._branch]))

        p = at(flow.p_from_kw, flow.p_to_kw) * self._sign
        return Flows(p, at(flow.q_from_kvar, flow.q_to_kvar) * self._sign, at(flow.i_from_a, flow.i_to_a))

    def solved(self, allocated: Allocated) -> PowerFlowResult:
        """The result where no meter asked for one."""
        self._solver.update(p_kw=allocated.p_kw, q_kvar=allocated.q_kvar)
        return self._solver.solve()


def _of_ends(network: Network, node: Ints) -> Ints:
    """Of each branch the worse of its ends; a dead end does not count beside a live one."""
    ends = np.stack([node[network.branch_from], node[network.branch_to]])
    live = np.where(ends == Standing.DEAD, -1, ends).max(axis=0, initial=-1)
    return np.asarray(np.where(live < 0, int(Standing.DEAD), live), dtype=np.int32)
