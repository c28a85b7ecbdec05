"""All applications of the control room against network size: ``python -m benchmarks.dms [--quick]``.

State estimation: one look of the whole application (image to result with tests, bad data search and observability),
one in which a switch is reported open that is closed (where telemetry can tell), both
beside bare estimates of the same measurements by our kernel, power-grid-model and pandapower. Load flow: allocation to
every meter from half the true demand. Topology: what follows from one switch that moves, beside working it all out
again and pandapower's search for buses without supply. Volt-VAR: one plan with six capacitor banks. FLISR: a plan for
a fault whose place is known (``benchmarks.flisr`` has more). Load shedding: arming four stages anew, one broken limit,
and the next block. All beside one bare power flow. The networks are MV Oberrhein, telecontrolled throughout, and radial
feeders with stations at the heads and at every fiftieth line and expected demand elsewhere.
All take turns in one process; figures are medians of CPU time, and ratios travel better than milliseconds.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from statistics import median
from typing import Any

import click
import numpy as np
from pandapower.topology import unsupplied_buses

from benchmarks.engines import Case, SkippedError, pandapower_net
from benchmarks.flisr import plans
from benchmarks.state_estimation import grid_model, ours, pandapower
from benchmarks.synthetic import radial
from twin.derive import derive
from twin.dms.load_flow import LoadFlow, MeterImage
from twin.dms.load_model import Demand
from twin.dms.load_shedding import Feeder, LoadSheddingSettings, Violation, arm, relieve, restore
from twin.dms.state_estimation import Image, StateEstimation, StateEstimationSettings, measured_points
from twin.dms.topology import SwitchState, TopologyProcessor
from twin.dms.volt_var import Inputs, Objective, VoltVarObservation, VoltVarSettings, capacitor
from twin.dms.volt_var import make_plan as volt_var_plan
from twin.network import load_network
from twin.network.model import Network
from twin.points.model import DoublePosition
from twin.solvers import PowerFlowResult, power_flow
from twin.solvers.state_estimation import MeasurementKind as K
from twin.solvers.state_estimation import Measurements

ROUNDS = 7
TIES = 20
LIMIT_MS = {1_000: 50.0}
"""What an estimation look may take by size."""


def at_switches(network: Network, from_: Any, to: Any) -> Any:
    """A branch quantity at every switch."""
    s = network.switches
    return np.where(s.side == 0, from_[s.branch], to[s.branch])


class Telemetry:
    """A network in a random state, as its stations show it."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.rng = np.random.default_rng(network.nodes.n)
        c, s = self.network.consumers, self.network.switches
        self.settings = StateEstimationSettings(false_alarm=0.001)
        self.points = measured_points(self.network, list(derive(self.network).points), self.settings)
        self.p_kw, self.q_kvar = (v * self.rng.uniform(0.7, 1.3, c.n) for v in (c.p_kw, c.q_kvar))
        self.solver = power_flow(self.network)
        self.solver.update(p_kw=self.p_kw, q_kvar=self.q_kvar)
        self.flow: PowerFlowResult = self.solver.solve()
        closed = s.normally_closed
        self.position = np.where(closed, int(DoublePosition.CLOSED), int(DoublePosition.OPEN)).astype(np.int32)
        self.quality = np.zeros(s.n, dtype=np.int32)
        spread = 0.3 * np.hypot(c.p_kw, c.q_kvar)
        self.demand = Demand(c.p_kw, c.q_kvar, spread, spread)

    def values(self) -> Any:
        """Point values with noise."""
        m, flow, n = self.points, self.flow, self.network
        node, branch = np.where(m.switch < 0, m.place, 0), np.where(m.switch < 0, 0, m.place)
        p, q, i = (
            np.where(m.side == 0, a[branch], b[branch])
            for a, b in (
                (flow.p_from_kw, flow.p_to_kw),
                (flow.q_from_kvar, flow.q_to_kvar),
                (flow.i_from_a, flow.i_to_a),
            )
        )
        v_kv = flow.v_pu[node] * n.nodes.v_nominal_kv[node]
        true = np.select([m.kind == K.V_PU, m.kind == K.P_FLOW_KW, m.kind == K.Q_FLOW_KVAR], [v_kv, p, q], i)
        sigma = m.measurements(true, np.ones(m.n, dtype=bool)).sigma / m.factor
        return true + self.rng.normal(size=m.n) * sigma

    def telling_switch(self) -> int | None:
        """A closed switch that carries enough for telemetry to contradict a report that it is open."""
        flow = np.abs(at_switches(self.network, self.flow.p_from_kw, self.flow.p_to_kw))
        power = self.points.kind == K.P_FLOW_KW
        least = 20.0 * self.points.base_sigma[power]
        rows = self.points.switch[power][flow[self.points.switch[power]] > least]
        rows = rows[~self.network.switches.feeder_head[rows] & self.network.switches.normally_closed[rows]]
        return int(rows[0]) if rows.size else None

    def image(self, values: Any) -> Image:
        """As the point database would show it."""
        g = self.network.generators
        return Image(
            self.position,
            self.quality,
            values,
            np.ones(self.points.n, dtype=bool),
            self.demand,
            g.p_kw,
            g.q_kvar,
            self.network.transformers.tap_position,
        )

    def meters(self) -> MeterImage:
        """All meters, and half the true demand to start from."""
        c, g, flow = self.network.consumers, self.network.generators, self.flow
        return MeterImage(
            self.position,
            self.quality,
            at_switches(self.network, flow.p_from_kw, flow.p_to_kw),
            at_switches(self.network, flow.q_from_kvar, flow.q_to_kvar),
            at_switches(self.network, flow.i_from_a, flow.i_to_a),
            Demand.certain(0.5 * c.p_kw, 0.5 * c.q_kvar),
            g.p_kw,
            g.q_kvar,
            self.network.transformers.tap_position,
        )


def in_turns(engines: dict[str, Callable[[int], Any]], rounds: dict[str, int]) -> dict[str, float]:
    """Median milliseconds of CPU time of each engine after a first turn that does not count."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(-1, max(rounds.values())):
        for name, run in engines.items():
            if turn >= rounds[name]:
                continue
            start = time.process_time()
            with suppress(SkippedError):
                run(turn)
                if turn >= 0 or rounds[name] == 0:
                    times[name].append(1e3 * (time.process_time() - start))
    return {name: median(taken) for name, taken in times.items() if taken}


def estimation(seen: Telemetry, most_pandapower: int) -> dict[str, float]:
    """Milliseconds of a look of the application and of bare estimates of the same measurements."""
    network = seen.network
    values = [seen.values() for _ in range(ROUNDS)]
    application = StateEstimation(network, seen.points, seen.settings)
    whole = [application.inputs(seen.image(value)) for value in values]
    there = np.isfinite(whole[0].value)
    m = Measurements(*(getattr(whole[0], name)[there] for name in ("kind", "place", "side", "value", "sigma")))
    engines: dict[str, Callable[[int], Any]] = {
        "state estimation": lambda turn: application.run(seen.image(values[turn]))
    }
    if (wrong := seen.telling_switch()) is not None:
        turned = seen.position.copy()
        turned[wrong] = int(DoublePosition.OPEN)
        other = StateEstimation(network, seen.points, seen.settings)
        engines["a wrong switch"] = lambda turn: other.run(replace(seen.image(values[turn]), position=turned))
    peers = {"our kernel": ours(network, m), "power-grid-model": grid_model(network, m)}
    if network.nodes.n <= most_pandapower:
        peers["pandapower"] = pandapower(network, m)
    for name, estimate in peers.items():
        engines[name] = lambda turn, estimate=estimate: estimate(whole[turn].value[there])  # type: ignore[misc]
    return in_turns(engines, {name: 1 if name == "pandapower" else ROUNDS for name in engines})


def allocation(seen: Telemetry) -> dict[str, float]:
    """Milliseconds of a load flow with allocation and of one bare power flow."""
    application, meters = LoadFlow(seen.network, power_flow(seen.network)), seen.meters()
    assert application.run(meters).off.max() <= application.settings.tolerance

    def bare(turn: int) -> None:
        seen.solver.update(p_kw=seen.p_kw, q_kvar=seen.q_kvar)
        seen.solver.solve()

    engines: dict[str, Callable[[int], Any]] = {"load flow": lambda turn: application.run(meters), "power flow": bare}
    return in_turns(engines, dict.fromkeys(engines, ROUNDS))


def topology(network: Network, most_pandapower: int) -> dict[str, float]:
    """Milliseconds of one operation, of working all out again, and of pandapower's search."""
    normal = np.where(network.switches.normally_closed, int(SwitchState.CLOSED), int(SwitchState.OPEN)).astype(np.int32)
    rows = np.flatnonzero(normal == SwitchState.CLOSED)
    processor = TopologyProcessor(network, normal)

    def operate(turn: int) -> None:
        states = normal.copy()
        states[rows[turn % len(rows)]] = int(SwitchState.OPEN)
        processor.update(states)

    engines: dict[str, Callable[[int], Any]] = {
        "topology": operate,
        "topology, all anew": lambda turn: TopologyProcessor(network, normal),
    }
    if network.nodes.n <= most_pandapower:
        net = pandapower_net(Case(network.name, network).flat.network)
        engines["pandapower search"] = lambda turn: unsupplied_buses(net)
    return in_turns(engines, dict.fromkeys(engines, ROUNDS))


def volt_var(network: Network) -> dict[str, float]:
    """Milliseconds of one plan with the banks of the network; the limits are such that it has to act."""
    c, g = network.consumers, network.generators
    limits = VoltVarSettings(objective=Objective.LOSSES, v_min_pu=0.9, v_max_pu=1.1, max_loading=2.0)
    seen = VoltVarObservation(
        t_ms=0,
        p_kw=c.p_kw,
        q_kvar=c.q_kvar,
        generation_kw=g.p_kw,
        generation_kvar=g.q_kvar,
        closed=network.switches.normally_closed,
        controls=tuple(capacitor(network, name, 0) for name in network.shunts.names),
        inputs=Inputs(network.transformers.tap_position, network.shunts.initial_steps, g.q_kvar),
    )
    solver = power_flow(network)
    engines: dict[str, Callable[[int], Any]] = {
        "volt-var": lambda turn: volt_var_plan(network, seen, limits, solver=solver)
    }
    return in_turns(engines, {"volt-var": 3})


def load_shedding(n: int) -> dict[str, float]:
    """Milliseconds of arming, relief and the next block for feeders of fifty nodes; one in eight exports."""
    rng = np.random.default_rng(n)
    p_kw = rng.uniform(20.0, 80.0, max(n // 50, 8)) * np.where(rng.random(max(n // 50, 8)) < 1 / 8, -1.0, 1.0)
    feeders = [Feeder(f"F{row}", float(kw)) for row, kw in enumerate(p_kw)]
    off = [Feeder(f.name, 0.0, closed=False, off_since_ms=0, before_kw=max(f.p_kw, 1.0)) for f in feeders[::4]]
    limits = LoadSheddingSettings()
    broken = [Violation("T", 100.0, tuple(f.name for f in feeders[::2]), "T is at 110 %.")]

    def look(turn: int) -> None:
        arm(feeders, limits, rotation=turn, rotate=True)
        relieve(feeders, broken, limits)
        restore(off, limits, f_hz=50.0, steady_since_ms=0, now=100_000)

    return in_turns({"load shedding": look}, {"load shedding": ROUNDS})


def restoration(network: Network) -> dict[str, float]:
    """Median milliseconds of FLISR's plans for five faults."""
    return {"flisr": 1e3 * median(seconds for seconds, _ in plans(network, 5))}


def show(n: int, taken: dict[str, float], bare: float) -> None:
    """One line an application or peer; ratios are to one bare power flow of the same network in the same run."""
    for name, ms in taken.items():
        print(f"{n:>7,} nodes  {name:<18} {ms:10.2f} ms  {ms / bare:9.2f} power flows", flush=True)


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Up to 1,000 nodes only, pandapower on the smallest.")
def main(quick: bool) -> None:
    """Measure and print; exit code 1 if a look takes longer than it may."""
    warnings.simplefilter("ignore")
    late = False
    for n in (179, 1_000) if quick else (179, 1_000, 10_000):
        seen = Telemetry(load_network("mv_oberrhein") if n == 179 else radial(n))
        taken = estimation(seen, 179 if quick else 1_000)
        flow = allocation(seen)
        bare = flow["power flow"]
        regulated = seen.network if n == 179 else radial(n, banks=6, ties=TIES)
        taken |= flow | topology(seen.network, 179 if quick else 1_000) | load_shedding(n)
        if regulated.shunts.n:
            taken |= volt_var(regulated)
        taken |= restoration(regulated)
        show(n, taken, bare)
        late |= taken["state estimation"] > LIMIT_MS.get(n, np.inf)
    raise SystemExit(int(late))


if __name__ == "__main__":
    main()
