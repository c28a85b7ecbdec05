"""FLISR against network size: ``python -m benchmarks.flisr [--quick]``.

A fault on every nth line, its place known, every switch telecontrolled: the time from the observation to a plan whose
every step is checked. Published networks beside synthetic ones of ten feeders with three ties each; ``tight``: the
ties cannot carry all, so that parts have to be dropped. CPU seconds: median and worst; beside them the worst count of
power flows, and one bare power flow of the same network. A plan on 1,000 switches may take 2 s.
"""

from __future__ import annotations

import random
import time
from statistics import median

import click
import numpy as np

from twin.dms.flisr import FlisrSettings, Location, healthy_observation, make_plan
from twin.dms.plan import Plan
from twin.dms.zonegraph import zone_graph
from twin.network import load_network
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.network.topology import Topology
from twin.points.model import DoublePosition
from twin.solvers import power_flow

LIMIT_S = 2.0
FEEDERS = 10
TIES = 3


def synthetic(n_switches: int, *, demand_kw: float, seed: int = 1) -> Network:
    """Ten feeders as random trees of equal length, a switch at each line end, three ties to the next feeders each."""
    rng = random.Random(seed)
    builder = NetworkBuilder(f"synthetic-{n_switches}")
    builder.node("N0", v_kv=20.0)
    builder.source("GRID", "N0")
    per_feeder = n_switches // (2 * FEEDERS) - TIES
    feeders = [[1 + f * per_feeder + k for k in range(per_feeder)] for f in range(FEEDERS)]
    for node in (node for feeder in feeders for node in feeder):
        builder.node(f"N{node}", v_kv=20.0)
        builder.consumer(f"C{node}", f"N{node}", p_kw=demand_kw, q_kvar=0.2 * demand_kw, customers=50)
    for f, nodes in enumerate(feeders):
        _line(builder, 0, nodes[0], head=f"CB_{f + 1}")
        for k in range(1, per_feeder):
            _line(builder, rng.choice(nodes[max(0, k - 3) : k]), nodes[k])
    for f, nodes in enumerate(feeders):
        for k in range(1, TIES + 1):
            other = feeders[(f + k) % FEEDERS]
            _line(builder, rng.choice(nodes[-20:]), rng.choice(other[-20:]), tie=f"TIE_{f + 1}_{k}")
    return builder.build()


def _line(builder: NetworkBuilder, a: int, b: int, *, head: str = "", tie: str = "") -> None:
    name = f"L{a}-{b}{tie}"
    builder.line(name, f"N{a}", f"N{b}", length_km=0.3, r_ohm_per_km=0.2, x_ohm_per_km=0.15, i_max_a=300.0)
    kind = SwitchKind.BREAKER if head else SwitchKind.LOAD_BREAK_SWITCH
    near = head or tie or f"S_{name}_a"
    builder.switch(near, kind, f"N{a}", branch=name, closed=not tie, feeder_head=bool(head))
    builder.switch(f"S_{name}_b", SwitchKind.LOAD_BREAK_SWITCH, f"N{b}", branch=name)


def plans(network: Network, most: int) -> list[tuple[float, Plan]]:
    """(CPU seconds, plan) for a fault on each of at most ``most`` lines behind a feeder head."""
    graph, solver = zone_graph(network), power_flow(network)
    state = Topology(network).state(network.switches.normally_closed)
    solver.solve()
    head_of = state.feeder_head[network.lines.node_to]
    lines = np.flatnonzero(head_of >= 0)
    found = []
    for line in lines[:: max(1, len(lines) // most)].tolist():
        seen, head = healthy_observation(network), int(head_of[line])
        seen.position[head], seen.tripped[head] = DoublePosition.OPEN, True
        location = Location(head, (), (int(graph.branch_zone[line]),), "Known.")
        start = time.process_time()
        plan = make_plan(network, seen, FlisrSettings(), location=location, solver=solver)
        found.append((time.process_time() - start, plan))
    return found


def bare_power_flow_ms(network: Network) -> float:
    """Median of one power flow after a switch has moved."""
    solver, taken = power_flow(network), []
    closed = network.switches.normally_closed.copy()
    row = int(np.flatnonzero(~network.switches.feeder_head & closed)[-1])
    for _ in range(21):
        closed[row] = not closed[row]
        solver.update(closed=closed)
        start = time.process_time()
        solver.solve()
        taken.append(1e3 * (time.process_time() - start))
    return median(taken)


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Ten faults a network.")
def main(quick: bool) -> None:
    networks = {
        "case33bw": load_network("pandapower:case33bw"),
        "mv_oberrhein": load_network("mv_oberrhein"),
        "synthetic 300": synthetic(300, demand_kw=200.0),
        "synthetic 1000": synthetic(1_000, demand_kw=60.0),
        "synthetic 1000 tight": synthetic(1_000, demand_kw=160.0),
        "synthetic 3000": synthetic(3_000, demand_kw=20.0),
    }
    click.echo("network               switches faults  median s  worst s  power flows  bare ms  cut short  in time")
    for name, network in networks.items():
        found = plans(network, 10 if quick else 60)
        seconds = [taken for taken, _ in found]
        flows = max(plan.evaluations for _, plan in found)
        cut = sum("The search was cut short: there may be a better plan." in plan.why for _, plan in found)
        in_time = "yes" if max(seconds) < LIMIT_S else "NO"
        click.echo(
            f"{name:21} {network.switches.n:8} {len(found):6} {median(seconds):9.3f} {max(seconds):8.3f} {flows:12}"
            f" {bare_power_flow_ms(network):8.2f} {cut:10}  {in_time}"
        )


if __name__ == "__main__":
    main()
