"""Short circuits side by side: ``python -m benchmarks.short_circuit [--quick]``.

A study is one bolted fault at every node of a radial network, on one topology. Ours counts from new switch states, so
that ordering and factorisation are in; pandapower and power-grid-model from their built model. power-grid-model
solves a batch of 100 faults, pandapower gives all nodes in one call. "branches" monitors the currents at both ends of
100 lines for each fault. Engines take turns in one process; figures are medians of wall time, since all may use all
cores; ratios travel better than milliseconds. Agreement is the largest relative difference of fault currents to ours.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import click
import numpy as np
import pandapower as pp
import pandapower.shortcircuit
from power_grid_model import DatasetType, FaultPhase, FaultType, PowerGridModel

from benchmarks.synthetic import radial
from twin.network.model import Network
from twin.solvers import FaultKind, FaultPoint, short_circuit
from twin.solvers import grid_model_mapping as mapping

KINDS = {FaultKind.THREE_PHASE: "3ph", FaultKind.PHASE_TO_EARTH: "1ph"}
BATCH = 100
ROUNDS = 3

Study = Callable[[], Any]
"""Solves and returns the fault currents, A."""


def network_of(n: int) -> Network:
    """The synthetic feeder with short-circuit and zero-sequence data."""
    network = radial(n)
    lines, sources = network.lines, network.sources
    return replace(
        network,
        lines=replace(lines, r0_ohm=2 * lines.r_ohm, x0_ohm=3.5 * lines.x_ohm + 0.01, c0_nf=200 * lines.length_km),
        sources=replace(
            sources, s_sc_mva=np.full(1, 500.0), rx=np.full(1, 0.1), x0x1=np.full(1, 1.0), r0x0=np.full(1, 0.1)
        ),
    )


def ours(network: Network, kind: FaultKind, monitored: int = 0) -> Study:
    faults = [FaultPoint(kind, node=node) for node in range(network.nodes.n)]
    solver, closed = short_circuit(network), network.switches.normally_closed
    branches = np.linspace(0, network.lines.n - 1, monitored).astype(int).tolist() if monitored else []

    def study() -> Any:
        solver.forget()
        return solver.solve_many(faults, closed, branches=branches).i_fault_a

    return study


def one_by_one(network: Network, kind: FaultKind) -> Study:
    """Everything of one fault: phase currents at all branch ends and voltages at all nodes."""
    solver, closed = short_circuit(network), network.switches.normally_closed
    nodes = np.linspace(1, network.nodes.n - 1, BATCH).astype(int).tolist()
    return lambda: np.array([solver.solve(FaultPoint(kind, node=node), closed).i_fault_a for node in nodes])


def pandapower_study(network: Network, kind: FaultKind) -> Study:
    net = pp.create_empty_network(f_hz=50.0, sn_mva=1.0)
    lines, source = network.lines, network.sources
    pp.create_buses(net, network.nodes.n, vn_kv=network.nodes.v_nominal_kv)
    pp.create_ext_grid(
        net, 0, s_sc_max_mva=source.s_sc_mva[0], rx_max=source.rx[0], x0x_max=source.x0x1[0], r0x0_max=source.r0x0[0]
    )
    pp.create_lines_from_parameters(
        net,
        lines.node_from,
        lines.node_to,
        length_km=1.0,
        r_ohm_per_km=lines.r_ohm,
        x_ohm_per_km=lines.x_ohm,
        c_nf_per_km=0.0,
        max_i_ka=1.0,
        r0_ohm_per_km=lines.r0_ohm,
        x0_ohm_per_km=lines.x0_ohm,
        c0_nf_per_km=lines.c0_nf,
    )

    def study() -> Any:
        pandapower.shortcircuit.calc_sc(net, fault=KINDS[kind], case="max", inverse_y=False, branch_results=False)
        return 1e3 * net.res_bus_sc.ikss_ka.to_numpy()

    return study


def grid_model_study(network: Network, kind: FaultKind) -> Study:
    ids = mapping.ids_of(network)
    line = mapping.line_table(network, ids)
    line["c1"] = line["tan1"] = line["tan0"] = 0.0
    line["r0"], line["x0"], line["c0"] = network.lines.r0_ohm, network.lines.x0_ohm, 1e-9 * network.lines.c0_nf
    source = mapping.source_table(network, ids)
    source["u_ref"], source["sk"], source["rx_ratio"], source["z01_ratio"] = 1.0, 500e6 / 1.1, 0.1, 1.0
    fault = mapping.table("fault", ids.end + 1, 1)
    fault["status"], fault["fault_object"], fault["r_f"], fault["x_f"] = 1, 0, 0.0, 0.0
    fault["fault_type"] = FaultType.three_phase if kind is FaultKind.THREE_PHASE else FaultType.single_phase_to_ground
    fault["fault_phase"] = FaultPhase.abc if kind is FaultKind.THREE_PHASE else FaultPhase.a
    tables: Any = {"node": mapping.node_table(network), "line": line, "source": source, "fault": fault}
    model: Any = PowerGridModel(tables, 50.0)
    update = mapping.table("fault", ids.end + 1, BATCH, DatasetType.update).reshape(BATCH, 1)
    update["id"] = ids.end + 1
    update["fault_object"][:, 0] = np.linspace(1, network.nodes.n - 1, BATCH).astype(int)

    def study() -> Any:
        output = model.calculate_short_circuit(
            update_data={"fault": update}, output_component_types=["fault"], threading=0
        )
        return output["fault"]["i_f"].max(axis=-1)[:, 0]

    return study


@click.command()
@click.option("--quick", is_flag=True, help="1,000 nodes only.")
def main(quick: bool) -> None:
    """Print one table: microseconds for each fault, and ratios to ours."""
    warnings.simplefilter("ignore")
    print(
        f"{'nodes':>6} {'kind':<14} {'engine':<24} {'us a fault':>11} {'s for 10,000':>13} {'ratio':>8} {'differs':>9}"
    )
    for n in (1_000,) if quick else (1_000, 10_000):
        network = network_of(n)
        for kind in KINDS:
            _compare(n, network, kind)


def _compare(n: int, network: Network, kind: FaultKind) -> None:
    sample = np.linspace(1, n - 1, BATCH).astype(int)
    engines: dict[str, tuple[Study, int]] = {
        "ours": (ours(network, kind), n),
        "ours, 100 branches": (ours(network, kind, 100), n),
        "ours, one at a time": (one_by_one(network, kind), BATCH),
        "pandapower": (pandapower_study(network, kind), n),
        "power-grid-model": (grid_model_study(network, kind), BATCH),
    }
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    slow = {"pandapower"} if n > 1_000 else set()
    result: dict[str, Any] = {name: study() for name, (study, _) in engines.items() if name not in slow}
    for _ in range(ROUNDS):
        for name, (study, _size) in engines.items():
            if name in slow and seconds[name]:
                continue
            start = time.perf_counter()
            result[name] = study()
            seconds[name].append(time.perf_counter() - start)
    base = median(seconds["ours"]) / n
    for name, (_, size) in engines.items():
        each = median(seconds[name]) / size
        values = result[name] if size == n else np.asarray(result[name])
        expected = result["ours"] if size == n else result["ours"][sample]
        differs = float(np.abs(values / expected - 1.0).max())
        figures = f"{1e6 * each:>11.1f} {1e4 * each:>11.3f} {each / base:>8.1f} {differs:>9.1e}"
        print(f"{n:>6} {kind.value:<14} {name:<24} {figures}")


if __name__ == "__main__":
    main()
