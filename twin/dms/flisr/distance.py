"""How far away the fault is, by what the relay of the feeder head recorded, and how well each section agrees with it.

The short-circuit kernel says what the relay would have recorded for a fault at each end of each line. In between the
reactance of the loop, or the inverse of the current, is taken as linear. The reactance is preferred: neither the
voltage before the fault nor the resistance of the fault changes it much. A current alone only bounds the distance from
above as surely: resistance makes a fault look farther away. Not for indicators, and not for feeders that are a ring.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from twin.dms.flisr.model import FaultDistance, FlisrSettings, Observation
from twin.dms.zonegraph import ZoneGraph
from twin.network.model import Floats, Network
from twin.network.topology import Topology, TopologyState
from twin.solvers import (
    FaultKind,
    FaultPoint,
    MissingShortCircuitDataError,
    MissingZeroSequenceError,
    ShortCircuit,
    ShortCircuitResult,
)
from twin.solvers.short_circuit import loop_reactance_ohm

MISLED = 0.005
"""Likelihood of any place, however badly it agrees: the record may be wrong."""

RESISTIVE = 0.1
"""Likelihood of a place nearer than the current says: the fault may have resistance."""

BUSBAR_KM = 0.15
"""Length of cable that fails as often as a substation's busbar (about 1 fault per 100 km of cable and year against 0.1
to 0.2 per 100 stations)."""

LOAD_SHARE = 0.5
"""Part of the load before the fault that may still flow with the fault current, and is recorded with it."""

HEALTHY_PHASE, FAULTED_PHASE = 0.5, 0.8
"""Below and above these parts of the largest phase current a phase is healthy, or takes part in the fault."""

SPREAD = 2.0
"""Standard deviations that are told as the uncertainty."""

BEYOND = 3.0
"""Standard deviations from everything on the feeder: no place agrees with the record."""


PARTS = 4
"""Into how many parts a line is cut where what is measured does not go linearly with the distance."""


@dataclass(frozen=True)
class Stretch:
    """A line of the feeder: what would be measured at equal distances from its near end to its far end."""

    line: int
    near: int
    values: Floats
    km_before: float
    km: float
    zone: int

    def km_of(self, value: float) -> float:
        """How far behind the near end ``value`` is measured, within the line."""
        rising = np.maximum.accumulate(self.values)
        return float(np.interp(value, rising, np.linspace(0.0, self.km, len(rising))))

    def misses(self, value: float) -> float:
        """By how much ``value`` is outside of what the line gives."""
        return max(float(self.values.min()) - value, value - float(self.values.max()), 0.0)


@dataclass(frozen=True)
class Distance:
    """What the record says: ``likelihood`` of each section (in the order of the tree), and the places that agree."""

    likelihood: tuple[float, ...]
    places: tuple[FaultDistance, ...]
    sentence: str


def recorded(observation: Observation, device: int) -> bool:
    """True if the relay of ``device`` has told of the currents of this fault."""
    seen = observation.fault_phase_a
    return seen is not None and bool(np.isfinite(seen[device]).all()) and float(seen[device].max()) > 0.0


def fault_kind(phase_a: Floats) -> FaultKind:
    """The kind of fault by its three phase currents."""
    part = np.sort(phase_a / phase_a.max())
    if part[0] >= FAULTED_PHASE:
        return FaultKind.THREE_PHASE
    return FaultKind.PHASE_TO_EARTH if part[1] < HEALTHY_PHASE else FaultKind.PHASE_TO_PHASE


def distance(
    network: Network,
    graph: ZoneGraph,
    observation: Observation,
    settings: FlisrSettings,
    device: int,
    zones: Sequence[int],
    solver: ShortCircuit,
) -> Distance | None:
    """What the record at ``device`` says of the ``zones`` behind it; None without a record.

    Where the network lacks the data of a short circuit, every zone agrees alike and the sentence says why.
    """
    if not recorded(observation, device) or network.switches.branch[device] < 0:
        return None
    finder = _Finder(network, graph, observation, settings, device, solver)
    try:
        return finder.find(zones)
    except (MissingShortCircuitDataError, MissingZeroSequenceError) as error:
        return _silent(zones, f"The distance of the fault is not known: {error}.")


def _silent(zones: Sequence[int], sentence: str) -> Distance:
    return Distance((1.0,) * len(zones), (), sentence)


class _Finder:
    def __init__(
        self,
        network: Network,
        graph: ZoneGraph,
        observation: Observation,
        settings: FlisrSettings,
        device: int,
        solver: ShortCircuit,
    ) -> None:
        assert observation.fault_phase_a is not None
        self._network, self._graph, self._settings, self._solver = network, graph, settings, solver
        self._device = device
        self._closed = observation.closed_before
        self._topology = Topology(network)
        phase_a = observation.fault_phase_a[device]
        self._kind = fault_kind(phase_a)
        self._current_a = float(phase_a.max())
        x_ohm = math.nan if observation.fault_x_ohm is None else float(observation.fault_x_ohm[device])
        self._by_reactance = math.isfinite(x_ohm)
        self._x_ohm = x_ohm
        self._measured = x_ohm if self._by_reactance else 1e3 / self._current_a
        self._observation = observation
        self._v_kv = network.nodes.v_nominal_kv
        self._level_kv = float(self._v_kv[network.switches.node[device]])
        self._known: dict[tuple[int, float], complex] = {}

    def find(self, zones: Sequence[int]) -> Distance:
        state = self._topology.state(self._closed)
        stretches = self._stretches(state, zones)
        sigma = self._sigma(zones)
        text = self._measurement_text()
        if not stretches:
            return _silent(zones, f"{text}, but there is no line behind {self._name}.")
        if self._is_beyond(stretches, sigma):
            return _silent(zones, f"{text}, which no place behind {self._name} agrees with: it is not used.")
        likelihood = tuple(self._of_zone(zone, stretches, sigma) for zone in zones)
        return Distance(likelihood, self._places(stretches, sigma), text)

    @property
    def _name(self) -> str:
        return self._network.switches.names[self._device]

    def _measurement_text(self) -> str:
        if self._by_reactance:
            return f"{self._name} measured a fault reactance of {self._x_ohm:.3g} ohm"
        return f"{self._name} measured a fault current of {self._current_a:.0f} A"

    def _is_beyond(self, stretches: Sequence[Stretch], sigma: float) -> bool:
        low = min(float(s.values.min()) for s in stretches)
        high = max(float(s.values.max()) for s in stretches)
        return self._measured < low - BEYOND * sigma or self._measured > high + BEYOND * sigma

    def _sigma(self, zones: Sequence[int]) -> float:
        """Standard deviation of the measured value against the model."""
        if self._by_reactance:
            return self._settings.reactance_error * abs(self._measured) + self._settings.reactance_error_ohm
        inside = np.isin(self._graph.node_zone[self._network.consumers.node], list(zones))
        seen = self._observation
        load_kva = math.hypot(float(seen.p_kw[inside].sum()), float(seen.q_kvar[inside].sum()))
        load_a = load_kva / (math.sqrt(3.0) * self._level_kv)
        return self._measured * math.hypot(self._settings.current_error, LOAD_SHARE * load_a / self._current_a)

    # --- what would be measured -------------------------------------------------------------------------------------

    def _stretches(self, state: TopologyState, zones: Sequence[int]) -> list[Stretch]:
        """The lines of the feeder, the near end first."""
        km = self._km_from_head(state)
        from_on, to_on = self._topology.branch_connected(self._closed)
        wanted = self._graph.mask(zones)[self._graph.branch_zone[: self._network.lines.n]]
        wanted &= self._v_kv[self._network.lines.node_from] == self._level_kv
        found = []
        for line in np.flatnonzero(wanted).tolist():
            a, b = int(self._network.branch_from[line]), int(self._network.branch_to[line])
            forward = self._is_near(line, a, b, state, from_on[line], to_on[line])
            near = a if forward else b
            ends = [self._end(line, 0.0, a, from_on[line]), self._end(line, 1.0, b, to_on[line])]
            values = self._between(*(ends if forward else ends[::-1]))
            length = float(self._network.lines.length_km[line])
            zone = int(self._graph.branch_zone[line])
            if np.isfinite(values).all():
                found.append(Stretch(line, near, values, km.get(near, 0.0), length, zone))
        return found

    @staticmethod
    def _is_near(line: int, a: int, b: int, state: TopologyState, from_on: bool, to_on: bool) -> bool:
        """True if the from end is the one towards the feeder head."""
        if not (from_on and to_on):
            return bool(from_on)
        return not (state.parent_edge[a] == line and state.parent_node[a] == b)

    def _km_from_head(self, state: TopologyState) -> dict[int, float]:
        """Line length between the feeder head and each node behind it."""
        head = int(self._network.switches.node[self._device])
        lengths = self._network.lines.length_km
        km = {head: 0.0}
        for node in np.flatnonzero(state.energised).tolist():
            path = []
            here = node
            while here not in km and state.parent_node[here] >= 0:
                path.append(here)
                here = int(state.parent_node[here])
            if here not in km:
                km[here] = 0.0
            for below in reversed(path):
                edge = int(state.parent_edge[below])
                length = float(lengths[edge]) if 0 <= edge < self._network.lines.n else 0.0
                km[below] = km[int(state.parent_node[below])] + length
        return {node: value - km[head] for node, value in km.items()}

    def _end(self, line: int, position: float, node: int, connected: bool) -> complex:
        """The value for a fault at the end of a line: that of its node, unless it is the busbar before the head."""
        behind = connected and node != self._network.switches.node[self._device]
        return self._at(line, position, node if behind else -1)

    def _between(self, near: complex, far: complex) -> Floats:
        """What is measured along a line between its ends: the inverse of a current is linear as a phasor only."""
        if self._by_reactance:
            return np.array([near.real, far.real])
        values: Floats = np.abs(near + np.linspace(0.0, 1.0, PARTS + 1) * (far - near))
        return values

    def _at(self, line: int, position: float, node: int) -> complex:
        """The value (real, if by reactance) for a fault at the end of a line, or at its node where there is one."""
        key = (-1 - node, 0.0) if node >= 0 else (line, position)
        if key not in self._known:
            point = FaultPoint(self._kind, node=node) if node >= 0 else FaultPoint(self._kind, line, position)
            self._known[key] = self._seen(self._solver.solve(point, self._closed))
        return self._known[key]

    def _seen(self, result: ShortCircuitResult) -> complex:
        switches = self._network.switches
        branch, node = int(switches.branch[self._device]), int(switches.node[self._device])
        i_a = (result.i_from_phase_a if switches.side[self._device] == 0 else result.i_to_phase_a)[[branch]]
        if not self._by_reactance:
            current_a = complex(i_a[0, 1 if self._kind is FaultKind.PHASE_TO_PHASE else 0])
            return 1e3 / current_a if current_a else complex(math.inf)
        v_kv = result.v_phase_pu[[node]] * self._network.nodes.v_nominal_kv[node] / math.sqrt(3.0)
        x_ohm = float(loop_reactance_ohm(v_kv, i_a)[0])
        return complex(x_ohm if math.isfinite(x_ohm) else math.inf)

    # --- how well it agrees -----------------------------------------------------------------------------------------

    def _of_zone(self, zone: int, stretches: Sequence[Stretch], sigma: float) -> float:
        """Mean likelihood over the lines of a zone, and its busbars."""
        lines = [s for s in stretches if s.zone == zone]
        nodes = np.flatnonzero((self._graph.node_zone == zone) & (self._v_kv == self._level_kv))
        at_nodes = [self._between(z, z)[0] for z in (self._at(-1, 0.0, node) for node in nodes.tolist())]
        parts = [(s.km, self._on_line(s, sigma)) for s in lines]
        if at_nodes:
            parts.append((BUSBAR_KM, float(np.mean([self._agreement(v, v, sigma) for v in at_nodes]))))
        total = sum(km for km, _ in parts)
        return sum(km * agreement for km, agreement in parts) / total if total > 0.0 else MISLED

    def _on_line(self, stretch: Stretch, sigma: float) -> float:
        return float(np.mean([self._agreement(a, b, sigma) for a, b in pairwise(stretch.values.tolist())]))

    def _agreement(self, a: float, b: float, sigma: float) -> float:
        """Mean likelihood between two places where ``a`` and ``b`` would be measured."""
        if not (math.isfinite(a) and math.isfinite(b)):
            return MISLED
        low, high = (min(a, b) - self._measured) / sigma, (max(a, b) - self._measured) / sigma
        density = _mean_bell(low, high)
        if not self._by_reactance and low < 0.0:
            nearer = (min(high, 0.0) - low) / (high - low) if high > low else 1.0
            density = max(density, RESISTIVE * nearer)
        return MISLED + (1.0 - MISLED) * density

    def _places(self, stretches: Sequence[Stretch], sigma: float) -> tuple[FaultDistance, ...]:
        """The lines that hold the measured value; without one, the line that comes nearest."""
        hits = [s for s in stretches if s.misses(self._measured) <= 1e-9]
        if not hits:
            hits = [min(stretches, key=lambda s: (s.misses(self._measured), s.line))]
        return tuple(self._place(s, sigma) for s in hits)

    def _place(self, stretch: Stretch, sigma: float) -> FaultDistance:
        best, low, high = (stretch.km_of(self._measured + k * sigma) for k in (0.0, -SPREAD, SPREAD))
        per_km = float(np.ptp(stretch.values)) / stretch.km if stretch.km > 0.0 else 0.0
        spread_km = SPREAD * sigma / per_km if per_km > 0.0 else 0.0
        return FaultDistance(
            branch=self._network.branch_names[stretch.line],
            node=self._network.nodes.names[stretch.near],
            km_from_node=best,
            km_low=low,
            km_high=high,
            km=stretch.km_before + best,
            km_spread=spread_km,
            zone=stretch.zone,
        )


def _mean_bell(low: float, high: float) -> float:
    """Mean of exp(-z²/2) from ``low`` to ``high``."""
    if high - low < 1e-6:
        return math.exp(-0.5 * low * low)
    root = math.sqrt(2.0)
    return math.sqrt(math.pi / 2.0) * (math.erf(high / root) - math.erf(low / root)) / (high - low)
