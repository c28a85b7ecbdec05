"""Load allocation phase by phase, on the unbalanced power flow: for feeders with single-phase laterals and loads.

Meters read P and Q (or a current) of each phase at one end of a branch. Each phase of a meter answers for what the
loads in its own zone draw from that phase, downstream meters first, as in the balanced allocation.
For radial feeders: the flow at a meter in a loop says nothing about the loads behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin.dms.load_flow.allocation import Flows, Readings
from twin.dms.load_flow.per_phase_allocation import Units, allocate_units
from twin.dms.load_flow.settings import LoadFlowSettings
from twin.errors import Blame, TwinError
from twin.network.model import Bools, Floats, Ints
from twin.network.three_phase import Complexes, ThreePhaseNetwork
from twin.solvers.three_phase import ThreePhasePowerFlow, ThreePhaseResult


class PhaseMeterError(TwinError):
    """A meter cannot be used for the allocation phase by phase."""

    blame = Blame.SCENARIO

    def __init__(self, branch: str, reason: str) -> None:
        self.branch = branch
        super().__init__(f"the meter at {branch} {reason}")


@dataclass(frozen=True)
class PhaseMeters:
    """Meters at branch ends; one row a meter, one column a phase.

    ``branch`` are rows of the branches (lines, then transformers), ``side`` is 0 for the from end and 1 for the to end.
    Readings count positive from the node into the branch: ``p_kw``, ``q_kvar`` and ``i_a`` of shape (n, 3), NaN where
    a phase does not exist or is not read. A phase needs P and Q, or a current.
    """

    branch: Ints
    side: Ints
    p_kw: Floats
    q_kvar: Floats
    i_a: Floats

    @property
    def n(self) -> int:
        return len(self.branch)

    @property
    def read(self) -> Bools:
        """Which phases can be allocated to."""
        return np.asarray((np.isfinite(self.p_kw) & np.isfinite(self.q_kvar)) | np.isfinite(self.i_a))


@dataclass(frozen=True)
class PhaseLoadFlowResult:
    """Allocated demand of every unit, shape (n_consumers, 3), and the flow with it.

    ``off`` is the largest relative difference left at each phase of each meter, NaN where it is not read.
    ``unmetered`` (n_consumers, 3) are the units behind no meter, which keep their start.
    """

    p_kw: Floats
    q_kvar: Floats
    flow: ThreePhaseResult
    off: Floats
    unmetered: Bools
    rounds: int


class PhaseLoadFlow:
    """Compiled once on a radial network in its normal state; ``solver``'s demand is overwritten by each run."""

    def __init__(
        self, network: ThreePhaseNetwork, solver: ThreePhasePowerFlow, settings: LoadFlowSettings | None = None
    ) -> None:
        self.network = network
        self.settings = settings or LoadFlowSettings()
        self._solver = solver
        self._above, self._through = _tree(network)
        self._units = network.consumers.units & np.isfinite(network.consumers.p_kw)
        self._rated_kva = np.hypot(network.consumers.p_kw, network.consumers.q_kvar)

    def run(self, meters: PhaseMeters, start_kw: Floats, start_kvar: Floats) -> PhaseLoadFlowResult:
        """Allocate the readings to the loads, from a start of shape (n_consumers, 3), and solve.

        Raises:
            PhaseMeterError: a meter in a loop, at a dead branch, or without a usable phase.
            AllocationDivergedError: the readings cannot be reached.
            PowerFlowDivergedError: the network has no solution with the allocated demand.
        """
        zone, sign, parent = self._zones(meters)
        channel_of, channels = _channels(meters.read)
        readings = self._readings(meters, sign, parent, channel_of, channels)
        units = self._unit_table(zone, channel_of)
        fed_in = self._fed_in(zone, channel_of, len(channels))

        def solve(p_kw: Floats, q_kvar: Floats) -> tuple[Flows, Complexes]:
            self._solver.update(p_kw=self._spread(p_kw, start_kw), q_kvar=self._spread(q_kvar, start_kvar))
            last[:] = [self._solver.solve()]
            return self._flows(last[0], meters, sign, channels), self._draws(last[0])

        last: list[ThreePhaseResult] = []
        start = start_kw[self._units], start_kvar[self._units]
        found = allocate_units(readings, units, start, solve, fed_in, self.settings)
        off = np.full(meters.p_kw.shape, np.nan)
        off[channels[:, 0], channels[:, 1]] = found.off
        unmetered = np.zeros(self._units.shape, dtype=np.bool_)
        unmetered[self._units] = units.zone < 0
        p_kw, q_kvar = self._spread(found.p_kw, start_kw), self._spread(found.q_kvar, start_kvar)
        return PhaseLoadFlowResult(p_kw, q_kvar, last[0], off, unmetered, found.rounds)

    def _unit_table(self, zone: Ints, channel_of: Ints) -> Units:
        """Where each unit of a load draws: a star unit from its phase, a delta unit from its own and the next one."""
        consumer, unit = np.nonzero(self._units)
        here = zone[self.network.consumers.node[consumer]]
        channel = np.where((here >= 0)[:, None], channel_of[np.maximum(here, 0)], -1)
        first = channel[np.arange(len(unit)), unit]
        second = np.where(self.network.consumers.delta[consumer], channel[np.arange(len(unit)), (unit + 1) % 3], -1)
        return Units(here.astype(np.int32), np.stack([first, second], axis=1), self._rated_kva[self._units])

    def _draws(self, flow: ThreePhaseResult) -> Complexes:
        """Which part of its power each unit draws from its own and from the next phase, shape (n_units, 2)."""
        consumer, unit = np.nonzero(self._units)
        c = self.network.consumers
        volts = np.nan_to_num(flow.v_pu) * np.exp(1j * np.nan_to_num(flow.angle_rad))
        one, other = volts[c.node[consumer], unit], volts[c.node[consumer], (unit + 1) % 3]
        across = np.where(np.abs(one - other) > 0, one - other, 1.0)
        delta = c.delta[consumer]
        return np.stack([np.where(delta, one / across, 1.0), np.where(delta, -other / across, 0.0)], axis=1)

    def _spread(self, unit: Floats, start: Floats) -> Floats:
        """From the units that exist to all of them."""
        spread = start.astype(np.float64)
        spread[self._units] = unit
        return spread

    # -- zones --------------------------------------------------------------------------------------------------------

    def _zones(self, meters: PhaseMeters) -> tuple[Ints, Floats, Ints]:
        """The meter that each node is behind (-1: none), 1 or -1 to make readings positive downstream, and the next
        meter upstream of each."""
        network = self.network
        begins = np.full(network.nodes.n, -1, dtype=np.int32)
        sign = np.ones(meters.n)
        for row, (branch, side) in enumerate(zip(meters.branch.tolist(), meters.side.tolist(), strict=True)):
            ends = int(network.branch_from[branch]), int(network.branch_to[branch])
            below = next((end for end in ends if self._through[end] == branch), -1)
            self._check(network.branch_names[branch], below, begins, bool(meters.read[row].any()))
            begins[below] = row
            sign[row] = -1.0 if ends[side] == below else 1.0
        zone = np.full(network.nodes.n, -1, dtype=np.int32)
        parent = np.full(meters.n, -1, dtype=np.int32)
        for node in _downwards(self._above):
            above = int(zone[self._above[node]]) if self._above[node] >= 0 else -1
            zone[node] = begins[node] if begins[node] >= 0 else above
            if begins[node] >= 0:
                parent[begins[node]] = above
        return zone, sign, parent

    def _check(self, branch: str, below: int, begins: Ints, read: bool) -> None:
        if below < 0:
            raise PhaseMeterError(branch, "is in a loop or without supply")
        if begins[below] >= 0:
            raise PhaseMeterError(branch, "stands at a branch that has a meter already")
        if not read:
            raise PhaseMeterError(branch, "reads neither P and Q nor a current of any phase")

    # -- channels -----------------------------------------------------------------------------------------------------

    def _readings(self, meters: PhaseMeters, sign: Floats, parent: Ints, channel_of: Ints, channels: Ints) -> Readings:
        row, phase = channels[:, 0], channels[:, 1]
        above = parent[row]
        upstream = np.where(above >= 0, channel_of[np.maximum(above, 0), phase], -1)
        powers = np.isfinite(meters.p_kw[row, phase]) & np.isfinite(meters.q_kvar[row, phase])
        p_kw = np.where(powers, sign[row] * meters.p_kw[row, phase], np.nan)
        q_kvar = np.where(powers, sign[row] * meters.q_kvar[row, phase], np.nan)
        return Readings(upstream.astype(np.int32), p_kw, q_kvar, meters.i_a[row, phase])

    def _flows(self, flow: ThreePhaseResult, meters: PhaseMeters, sign: Floats, channels: Ints) -> Flows:
        row, phase = channels[:, 0], channels[:, 1]
        branch, at_from = meters.branch[row], meters.side[row] == 0
        p_kw = np.where(at_from, flow.p_from_kw[branch, phase], flow.p_to_kw[branch, phase])
        q_kvar = np.where(at_from, flow.q_from_kvar[branch, phase], flow.q_to_kvar[branch, phase])
        i_a = np.where(at_from, flow.i_from_a[branch, phase], flow.i_to_a[branch, phase])
        return Flows(sign[row] * p_kw, sign[row] * q_kvar, i_a)

    def _fed_in(self, zone: Ints, channel_of: Ints, n: int) -> tuple[Floats, Floats]:
        g = self.network.generators
        here = zone[g.node]
        channel = np.where(here[:, None] >= 0, channel_of[np.maximum(here, 0)], -1)
        there = g.units & (channel >= 0)
        p_kw, q_kvar = (np.bincount(channel[there], value[there], minlength=n) for value in (g.p_kw, g.q_kvar))
        return np.asarray(p_kw, np.float64), np.asarray(q_kvar, np.float64)


def _channels(read: Bools) -> tuple[Ints, Ints]:
    """The channel of each phase of each meter (-1: none); meter and phase of each channel, shape (n_channels, 2)."""
    channels = np.argwhere(read).astype(np.int32)
    channel_of = np.full(read.shape, -1, dtype=np.int32)
    channel_of[read] = np.arange(len(channels), dtype=np.int32)
    return channel_of, channels


def _tree(network: ThreePhaseNetwork) -> tuple[Ints, Ints]:
    """The node above each node in the normal state, and the branch between them: -1 for none, a switch, or a loop.

    Branches between the same two nodes, such as the single-phase regulators of a bank, make no loop.
    """
    ways = _ways(network)
    above, through = np.full(network.nodes.n, -1, dtype=np.int32), np.full(network.nodes.n, -1, dtype=np.int32)
    seen, queue = set(network.sources.node.tolist()), list(network.sources.node.tolist())
    across: list[tuple[int, int]] = []
    for node in queue:
        for other, branch in ways[node]:
            if other not in seen:
                above[other], through[other] = node, branch
                seen.add(other)
                queue.append(other)
            elif other != above[node] and above[other] != node:
                across.append((node, other))
    for one, other in across:
        up, down = _upwards(above, one), _upwards(above, other)
        through[sorted(set(up) ^ set(down))] = -1
    return above, through


def _upwards(above: Ints, node: int) -> list[int]:
    path = [node]
    while above[path[-1]] >= 0:
        path.append(int(above[path[-1]]))
    return path


def _ways(network: ThreePhaseNetwork) -> list[list[tuple[int, int]]]:
    """From each node: the nodes that can be reached, and the branch on the way (-1 for a switch)."""
    ways: list[list[tuple[int, int]]] = [[] for _ in range(network.nodes.n)]
    s = network.switches
    closed = (s.normally_closed & s.phases).any(axis=1)
    open_ = set(s.branch[(s.branch >= 0) & ~closed].tolist())
    for branch, (a, b) in enumerate(zip(network.branch_from.tolist(), network.branch_to.tolist(), strict=True)):
        if branch not in open_:
            ways[a].append((b, branch))
            ways[b].append((a, branch))
    for row in np.flatnonzero((s.branch < 0) & closed).tolist():
        a, b = int(s.node[row]), int(s.other_node[row])
        ways[a].append((b, -1))
        ways[b].append((a, -1))
    return ways


def _downwards(above: Ints) -> list[int]:
    """All nodes, each after the one above it."""
    depth = np.zeros(len(above), dtype=np.int64)
    here = above.copy()
    while (here >= 0).any():
        depth[here >= 0] += 1
        here = np.where(here >= 0, above[np.maximum(here, 0)], -1)
    return [int(node) for node in np.argsort(depth, kind="stable")]
