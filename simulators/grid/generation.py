"""The machines of the plant and the frequencies they make, island by island.

Between two cycles the demand of each island is held and the frequency model integrates it at 10 ms or finer. At each
cycle the course is also calculated ahead, as it will be if nothing else happens, so that under-frequency relays and
machine protection act at their exact millisecond. Not for voltages, and not for the relays themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from simulators.field.measurement import FrequencyCourse
from simulators.grid.infeeds import all_positions, with_couplings
from twin.network.model import Bools, Floats, Ints, Network
from twin.network.topology import Topology
from twin.scenario.machines import FrequencySettings, MachineSettings
from twin.solvers import FrequencyModel, PowerFlowResult
from twin.solvers.frequency import FrequencyEvent, FrequencyEventKind, Machines
from twin.timebase import NEVER, SimTime

STIFF_KVA = 1e9
"""The rating of an external network without machines: its frequency does not move."""
INNER_STEP_MS = 10
CONTROL_MS = 1_000
"""How often secondary control acts: at whole seconds, so that other cycles change nothing."""
PACE_MS = 100
"""How often the grid is looked at while a frequency moves."""
MOVING_HZ_PER_S = 0.02


@dataclass(frozen=True, slots=True)
class UnitChange:
    """A machine or generating unit went off or came on."""

    t_ms: SimTime
    name: str
    kind: str
    cause: str


class Generation:
    """All infeeds of a plant: which run, what islands they feed, and at what frequency."""

    def __init__(self, network: Network, settings: FrequencySettings, horizon_ms: int) -> None:
        self._network = network
        self._topology = Topology(network)
        self._horizon_ms = horizon_ms
        self._secondary_ms = settings.secondary
        units = sorted({network.generators.names.index(m.at) for m in settings.machines if m.at in _units(network)})
        self._units = np.array(units, dtype=np.intp)
        leads = [_of_unit(settings, network.generators.names[row]) for row in units]
        self.network = with_couplings(
            network, units, [machines[0].v for machines in leads], [sum(m.rated for m in ms) for ms in leads]
        )
        self._infeed_node = np.concatenate([network.sources.node, network.generators.node[self._units]])
        stiff = [s for s in network.sources.names if s not in {m.at for m in settings.machines}]
        infeeds = [*network.sources.names, *(network.generators.names[row] for row in units)]
        self._at = np.array([infeeds.index(n) for n in [*(m.at for m in settings.machines), *stiff]], dtype=np.intp)
        self._machines = _machines(settings.machines, stiff)
        self._outputs = np.array([_nan(m.output) for m in settings.machines] + [math.nan] * len(stiff))
        self._model = FrequencyModel(
            self._machines, nominal_hz=network.frequency_hz, damping=settings.damping, inner_step_ms=INNER_STEP_MS
        )
        self._closed: Bools | None = None
        self._node_island: Ints = np.zeros(network.nodes.n, dtype=np.int32)
        self._branch_island: Ints = np.zeros(network.n_branches, dtype=np.int32)
        self._demand_kw: Floats = np.zeros(1)
        self._unit_on: Bools = np.ones(network.generators.n, dtype=np.bool_)
        self._couplings: Bools = np.zeros(len(infeeds), dtype=np.bool_)
        self._now: SimTime = 0
        self._balanced = False
        self._back: list[tuple[SimTime, str, float]] = []
        self._lowest_hz = math.nan
        self._tripping: SimTime = NEVER
        self.pace_ms: int = 0

    # -- time -----------------------------------------------------------------------------------------------------

    def advance(self, now: SimTime) -> list[UnitChange]:
        """Integrate up to ``now`` with the demand of the last cycle; what the machines' protection tripped."""
        begin, dt_ms, self._now = self._now, now - self._now, now
        self._lowest_hz = self._lowest(self._model.f_hz) if self._balanced else math.nan
        if not self._balanced or dt_ms <= 0:
            return self._reconnect(now)
        trips, lowest = [], math.inf
        for a, b in pairwise([begin, *range(begin // CONTROL_MS * CONTROL_MS + CONTROL_MS, now, CONTROL_MS), now]):
            step = self._model.step(b - a, self._demand_kw, phase_ms=a)
            lowest = min(lowest, float(step.trace_hz[step.trace_hz > 0.0].min(initial=math.inf)))
            trips += [UnitChange(a + math.ceil(o.after_ms), o.name, "unit_trip", "frequency") for o in step.operations]
            self._restore_nominal(b)
        self._lowest_hz = lowest if lowest < math.inf else math.nan
        return [*trips, *self._reconnect(now)]

    def _restore_nominal(self, now: SimTime) -> None:
        """Secondary control: shift the load references until the frequency is nominal, at times of its own."""
        if self._secondary_ms and now % CONTROL_MS == 0:
            self._model.shift_references(CONTROL_MS / self._secondary_ms)

    def _lowest(self, f_hz: Floats) -> float:
        return float(f_hz[f_hz > 0.0].min()) if (f_hz > 0.0).any() else math.nan

    def _reconnect(self, now: SimTime) -> list[UnitChange]:
        due = [row for row in self._back if row[0] <= now]
        self._back = [row for row in self._back if row[0] > now]
        for _, name, _ in due:
            if name in self._network.generators.names:
                self._unit_on[self._network.generators.names.index(name)] = True
        for _, name, p_kw in due:
            if name in self._machines.names:
                self._start(self._machines.names.index(name), 0.0 if self._secondary_ms else p_kw)
        return [UnitChange(at, name, "unit_on", "event") for at, name, _ in due]

    def _start(self, machine: int, p_kw: float) -> None:
        self._model.step(0, self._demand_kw, [FrequencyEvent(0, FrequencyEventKind.START, machine, p_kw)])
        if self._machines.s_kva[machine] >= STIFF_KVA:
            self._model.pull_to_nominal(machine)

    # -- events ---------------------------------------------------------------------------------------------------

    def lose(self, name: str, now: SimTime, for_ms: int | None) -> list[UnitChange]:
        """Take a machine, a generating unit or an external network off, for a while or for good."""
        machines = self._machines_of(name)
        lost = [(self._machines.names[m], float(self._model.references_kw[m])) for m in machines]
        for m in machines:
            self._model.step(0, self._demand_kw, [FrequencyEvent(0, FrequencyEventKind.TRIP, m)])
        if not machines:
            self._unit_on[self._network.generators.names.index(name)] = False
            lost = [(name, 0.0)]
        if for_ms is not None:
            self._back += [(now + for_ms, *one) for one in lost]
        return [UnitChange(now, one, "unit_trip", "event") for one, _ in lost]

    def _machines_of(self, name: str) -> list[int]:
        """The running machines that an event's name means."""
        infeeds = [*self._network.sources.names, *(self._network.generators.names[u] for u in self._units)]
        wanted = [m for m, own in enumerate(self._machines.names) if name in (own, infeeds[self._at[m]])]
        return [m for m in wanted if self._model.running[m]]

    # -- islands and dispatch -------------------------------------------------------------------------------------

    def positions(self, closed: Bools) -> Bools:
        """Switch positions with couplings, after the islands have been formed anew."""
        if self._closed is None or not np.array_equal(closed, self._closed):
            self._closed = closed.copy()
            self._form_islands(closed)
        self._couplings = self._lead()
        return all_positions(closed, self._couplings)

    def with_couplings(self, closed: Bools) -> Bools:
        """Other switch positions with the couplings as they are."""
        return all_positions(closed, self._couplings)

    def _form_islands(self, closed: Bools) -> None:
        island = self._topology.islands(closed)
        with_machine = np.unique(island[self._infeed_node[self._at]])
        column = np.full(int(island.max()) + 1, len(with_machine), dtype=np.int32)
        column[with_machine] = np.arange(len(with_machine), dtype=np.int32)
        self._node_island = column[island]
        from_on, _ = self._topology.branch_connected(closed)
        ends = np.where(from_on, self._network.branch_from, self._network.branch_to)
        self._branch_island = self._node_island[ends]
        machine_island = self._node_island[self._infeed_node[self._at]]
        if self._balanced:
            self._model.regroup(machine_island, np.zeros(0, dtype=np.int32), len(with_machine))
        else:
            self._model.begin_in(machine_island, len(with_machine))

    def _lead(self) -> Bools:
        """Which infeed holds the voltage: every external network that runs, or else the largest unit of an island."""
        running = np.zeros(len(self._infeed_node), dtype=np.bool_)
        running[self._at[self._model.running]] = True
        n_sources = self._network.sources.n
        leads = running.copy()
        leads[n_sources:] = False
        fed = set(self._node_island[self._infeed_node[leads]].tolist())
        rating = np.bincount(self._at, self._machines.s_kva * self._model.running, minlength=len(running))
        for infeed in sorted(range(n_sources, len(running)), key=lambda i: -rating[i]):
            island = int(self._node_island[self._infeed_node[infeed]])
            if running[infeed] and island not in fed:
                leads[infeed] = True
                fed.add(island)
        return leads

    def dispatch(self, generation_kw: Floats) -> Floats:
        """The output of each generating unit: machines as governed, an island's leader left to the power flow."""
        output = np.where(self._unit_on, generation_kw, 0.0)
        if self._balanced and self._units.size:
            n = self._network.sources.n
            of_infeed = np.bincount(self._at, self._model.p_kw, minlength=len(self._infeed_node))
            output[self._units] = np.where(self._couplings[n:], 0.0, of_infeed[n:])
        elif self._units.size:
            output[self._units[self._couplings[self._network.sources.n :]]] = 0.0
        return output

    def balance(self, flow: PowerFlowResult, p_kw: Floats, generation_kw: Floats) -> None:
        """Take what each island needs out of a power flow; at the start the machines are set to give just that."""
        net, n = self._network, self._model.n_islands + 1
        live = flow.energised
        need = np.zeros(n)
        need += np.bincount(self._node_island[net.consumers.node], p_kw * live[net.consumers.node], minlength=n)
        others = generation_kw * live[net.generators.node]
        others[self._units] = 0.0
        need -= np.bincount(self._node_island[net.generators.node], others, minlength=n)
        need += np.bincount(self._branch_island, flow.p_from_kw + flow.p_to_kw, minlength=n)
        need += np.bincount(
            self._node_island[net.shunts.node], net.shunts.p_kw * flow.v_pu[net.shunts.node] ** 2, minlength=n
        )
        self._demand_kw = need[:-1]
        if not self._balanced:
            self._balanced = True
            self._model.set_references(self._first_outputs())

    def _first_outputs(self) -> Floats:
        """Outputs given, or scheduled for generating units; the external networks' machines share the rest."""
        island = self._node_island[self._infeed_node[self._at]]
        n_sources, rated = self._network.sources.n, self._machines.s_kva
        scheduled = np.concatenate([np.full(n_sources, np.nan), self._network.generators.p_kw[self._units]])
        part = rated / np.bincount(self._at, rated)[self._at]
        output: Floats = np.where(np.isnan(self._outputs), scheduled[self._at] * part, self._outputs)
        for k in range(self._model.n_islands):
            here = island == k
            free = here & np.isnan(output)
            free = free if free.any() else here & (self._at >= n_sources) & np.isnan(self._outputs)
            left = self._demand_kw[k] - np.nansum(output[here & ~free])
            output[free] = left * rated[free] / max(rated[free].sum(), 1e-9)
        known: Floats = np.nan_to_num(output)
        return known

    # -- what others see ------------------------------------------------------------------------------------------

    def course(self) -> FrequencyCourse:
        """The frequency over the horizon if nothing else happens; notes when machines will trip, and the pace."""
        step = self._model.forecast(self._horizon_ms, self._demand_kw, phase_ms=self._now)
        f_hz = np.vstack([self._model.f_hz, step.trace_hz])
        t_ms = self._now + np.concatenate([[0.0], step.trace_after_ms])
        trips = [o.after_ms for o in step.operations]
        self._tripping = self._now + math.ceil(min(trips)) if trips else NEVER
        soon = f_hz[: 2 + PACE_MS // INNER_STEP_MS]
        moved = float(np.abs(np.diff(soon, axis=0)).sum(axis=0).max(initial=0.0))
        self.pace_ms = PACE_MS if moved > MOVING_HZ_PER_S * PACE_MS / 1000.0 else 0
        return FrequencyCourse(t_ms, np.hstack([f_hz, np.zeros((len(t_ms), 1))]), self._node_island)

    def f_hz(self, energised: Bools) -> Floats:
        """The frequency of each node, 0 where dead."""
        return np.where(energised, np.append(self._model.f_hz, 0.0)[self._node_island], 0.0)

    @property
    def lowest_hz(self) -> float:
        """The lowest frequency of a live island since the cycle before."""
        known = [f for f in (self._lowest_hz, self._lowest(self._model.f_hz)) if not math.isnan(f)]
        return min(known, default=math.nan)

    @property
    def islands_hz(self) -> Sequence[float]:
        """The frequency of each island with machines, 0 where none runs."""
        return [float(f) for f in self._model.f_hz]

    def wanted(self) -> SimTime:
        """When a machine will trip, or a lost one comes back."""
        return min([self._tripping, *(at for at, _, _ in self._back)])

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data, after a cycle."""
        return {
            "model": self._model.snapshot(),
            "now": self._now,
            "balanced": self._balanced,
            "demand_kw": self._demand_kw.tolist(),
            "unit_on": self._unit_on.tolist(),
            "back": [list(row) for row in self._back],
            "closed": None if self._closed is None else self._closed.tolist(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        self._balanced = False
        if state["closed"] is not None:
            self._closed = np.array(state["closed"], dtype=np.bool_)
            self._form_islands(self._closed)
        self._model.restore(state["model"])
        self._now, self._balanced = state["now"], state["balanced"]
        self._demand_kw = np.array(state["demand_kw"])
        self._unit_on = np.array(state["unit_on"], dtype=np.bool_)
        self._back = [(at, name, p_kw) for at, name, p_kw in state["back"]]


def _units(network: Network) -> set[str]:
    return set(network.generators.names)


def _of_unit(settings: FrequencySettings, unit: str) -> list[MachineSettings]:
    return sorted((m for m in settings.machines if m.at == unit), key=lambda m: -m.rated)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _machines(given: Sequence[MachineSettings], stiff: Sequence[str]) -> Machines:
    """The machines of the model: those given, then a very large one for each stiff external network."""
    n = len(stiff)

    def column(attribute: str, of_stiff: float, factor: float = 1.0) -> Floats:
        return np.array([factor * getattr(m, attribute) for m in given] + [of_stiff] * n)

    return Machines.of(
        (*(m.name for m in given), *stiff),
        s_kva=column("rated", STIFF_KVA),
        p_kw=0.0,
        inertia_s=column("inertia", 4.0, 1e-3),
        droop=column("droop", 0.05),
        gain=column("gain", 0.95),
        high_pressure=column("high_pressure", 0.3),
        reheat_s=column("reheat", 8.0, 1e-3),
        p_min_kw=np.array([0.0] * len(given) + [-np.inf] * n),
        p_max_kw=column("rated", np.inf),
        low_hz=column("under_frequency", math.nan),
        high_hz=column("over_frequency", math.nan),
        trip_delay_ms=column("trip_delay", 0.0),
    )
