"""Unbalanced power flow beside power-grid-model: ``python -m benchmarks.three_phase [nodes ...]``.

Radial feeders with mutual coupling and a different star load in every phase of every node. A step writes all loads,
solves and reads all voltages; both engines take turns in one process, figures are medians of CPU time. Times of one
machine: the ratio travels better. The difference is the largest of |V| in pu between the two.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
from power_grid_model import (
    CalculationMethod,
    ComponentType,
    DatasetType,
    LoadGenType,
    PowerGridModel,
    initialize_array,
)

from benchmarks.synthetic import radial
from twin.network.model import Network
from twin.network.three_phase_expand import expand
from twin.solvers.grid_model_mapping import STIFF_VA
from twin.solvers.three_phase import three_phase_power_flow

SIZES = (1_000, 10_000)
ROUNDS = 15
STATES = 5
Step = Callable[[Any, Any], Any]


def coupled(n: int) -> Network:
    """A radial network whose zero sequence differs from the positive one, so that the phases are coupled."""
    network = radial(n)
    lines = network.lines
    return replace(
        network, lines=replace(lines, r0_ohm=2.5 * lines.r_ohm, x0_ohm=3.5 * lines.x_ohm, c0_nf=0.6 * lines.c_nf)
    )


def ours(network: Network, *, switching: bool = False) -> Step:
    """Demand in place; with ``switching`` the last switch that lies open or closed changes each step, too."""
    flow = three_phase_power_flow(expand(network))
    closed = network.switches.normally_closed.copy()

    def step(p_kw: Any, q_kvar: Any) -> Any:
        if switching:
            closed[-1] ^= True
        flow.update(p_kw=p_kw, q_kvar=q_kvar, closed=closed)
        return flow.solve().v_pu

    return step


def grid_model(network: Network, method: CalculationMethod) -> Step:
    """power-grid-model's asymmetric power flow, updated in place."""
    n, lines, c = network.nodes.n, network.lines, network.consumers
    node = _rows(ComponentType.node, n, 0)
    node["u_rated"] = 1e3 * network.nodes.v_nominal_kv
    line = _rows(ComponentType.line, lines.n, n)
    line["from_node"], line["to_node"], line["from_status"], line["to_status"] = lines.node_from, lines.node_to, 1, 1
    for name, value in (("r1", lines.r_ohm), ("x1", lines.x_ohm), ("r0", lines.r0_ohm), ("x0", lines.x0_ohm)):
        line[name] = value
    line["c1"], line["c0"], line["tan1"], line["tan0"] = 1e-9 * lines.c_nf, 1e-9 * lines.c0_nf, 0, 0
    line["i_n"] = 1e3
    source = _rows(ComponentType.source, 1, n + lines.n)
    source["node"], source["status"], source["u_ref"] = network.sources.node, 1, network.sources.v_pu
    source["sk"], source["rx_ratio"], source["z01_ratio"] = STIFF_VA, 0.1, 1.0
    load = _rows(ComponentType.asym_load, c.n, n + lines.n + 1)
    load["node"], load["status"], load["type"] = c.node, 1, LoadGenType.const_power
    load["p_specified"], load["q_specified"] = 0.0, 0.0
    model = PowerGridModel({"node": node, "line": line, "source": source, "asym_load": load}, network.frequency_hz)
    update = initialize_array(DatasetType.update, ComponentType.asym_load, c.n)
    update["id"], update["status"] = load["id"], 1

    def step(p_kw: Any, q_kvar: Any) -> Any:
        update["p_specified"], update["q_specified"] = 1e3 * p_kw, 1e3 * q_kvar
        model.update(update_data={"asym_load": update})
        output = model.calculate_power_flow(
            symmetric=False, calculation_method=method, output_component_types=["node", "line"]
        )
        return output["node"]["u_pu"]

    return step


def _rows(component: ComponentType, n: int, first_id: int) -> Any:
    rows = initialize_array(DatasetType.input, component, n)
    rows["id"] = np.arange(first_id, first_id + n)
    return rows


def compare(n: int) -> dict[str, tuple[float, float]]:
    """Milliseconds a step and the largest difference to the first engine, pu, by engine."""
    network = coupled(n)
    steps: dict[str, Step] = {
        "current injection": ours(network),
        "the same, a switch each step": ours(network, switching=True),
        "power-grid-model Newton-Raphson": grid_model(network, CalculationMethod.newton_raphson),
        "power-grid-model iterative current": grid_model(network, CalculationMethod.iterative_current),
    }
    rng = np.random.default_rng(1)
    demand = [
        network.consumers.p_kw[:, None] / 3 * rng.uniform(0.2, 1.8, (network.consumers.n, 3)) for _ in range(STATES)
    ]
    times: dict[str, list[float]] = {name: [] for name in steps}
    off = dict.fromkeys(steps, 0.0)
    for number in range(ROUNDS):
        p_kw = demand[number % STATES]
        expected = None
        for name, step in steps.items():
            start = time.process_time()
            v_pu = step(p_kw, 0.3 * p_kw)
            times[name].append(1e3 * (time.process_time() - start))
            expected = v_pu if expected is None else expected
            if "switch" not in name:
                off[name] = max(off[name], float(np.abs(v_pu - expected).max()))
    return {name: (median(times[name][1:]), off[name]) for name in steps}


def main(sizes: tuple[int, ...]) -> None:
    """Print one table."""
    print(f"{ROUNDS} rounds; ms a step (times the first row's), largest difference in pu")
    for n in sizes:
        rows = compare(n)
        first = next(iter(rows.values()))[0]
        print(f"\n{n} nodes, {3 * n} phases")
        for name, (ms, off) in rows.items():
            print(f"  {name:36} {ms:9.2f}  ({ms / first:5.2f})  {off:.1e}")


if __name__ == "__main__":
    main(tuple(int(size) for size in sys.argv[1:]) or SIZES)
