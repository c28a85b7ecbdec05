"""Time series and switch cases in one call, beside what else one would do: ``python -m benchmarks.batch [--quick]``.

A year of 15-minute steps of demand, then one switch opened after another. Milliseconds a case of wall time; slow
peers do a sample of the cases. Everyone reads the magnitudes of all nodes and keeps the least.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import click
import numpy as np

from benchmarks import engines
from benchmarks.engines import Case
from benchmarks.synthetic import radial
from twin.network import load_network
from twin.network.model import Network
from twin.solvers import PowerFlowDivergedError, power_flow
from twin.solvers import grid_model_mapping as mapping
from twin.solvers.batch import Cases, Output, solve_power_flows

YEAR = 35_040
SAMPLE, PANDAPOWER_SAMPLE = 2_000, 40
PGM_CHUNK_VALUES = 20_000_000
"""Loads times cases that power-grid-model is given in one call: bounds its memory."""


def per_case(run: Callable[[int], Any], n: int) -> float:
    """Milliseconds a case, the first call (compiling, building) apart."""
    run(min(n, 10))
    start = time.perf_counter()
    run(n)
    return 1e3 * (time.perf_counter() - start) / n


def demand_of(network: Network, n: int) -> Any:
    """Factors of the rated demand, shape (n, 1)."""
    hours = np.arange(n) / 4
    return (0.6 + 0.3 * np.sin(2 * np.pi * hours / 24) + 0.08 * np.sin(hours))[:, np.newaxis]


def batch_of(network: Network, workers: int) -> Callable[[int], Any]:
    """The batch of the product, with so many threads."""
    c = network.consumers

    def run(n: int) -> Any:
        factor = demand_of(network, n)
        step = max(1, 20_000_000 // max(c.n, 1))
        for start in range(0, n, step):
            part = factor[start : start + step]
            cases = Cases(len(part), p_kw=part * c.p_kw, q_kvar=part * c.q_kvar)
            solve_power_flows(network, cases, (Output("v_pu", "min"),), workers=workers)

    return run


def loop_of(network: Network) -> Callable[[int], Any]:
    """Update and solve, one after the other."""
    solver, c = power_flow(network), network.consumers

    def run(n: int) -> Any:
        for factor in demand_of(network, n)[:, 0]:
            solver.update(p_kw=factor * c.p_kw, q_kvar=factor * c.q_kvar)
            solver.solve().v_pu.min()

    return run


def grid_model_of(network: Network, threads: int) -> Callable[[int], Any]:
    """power-grid-model's own batch (threading 0: all cores, -1: one)."""
    from power_grid_model import DatasetType, PowerGridModel, initialize_array

    flat = Case("", network).flat.network
    ids = mapping.ids_of(flat)
    tables = {
        "node": mapping.node_table(flat),
        "line": mapping.line_table(flat, ids),
        "transformer": mapping.transformer_table(flat, ids),
        "source": mapping.source_table(flat, ids),
        "sym_load": mapping.load_table(flat, ids),
        "sym_gen": mapping.generator_table(flat, ids),
        "shunt": mapping.shunt_table(flat, ids),
    }
    model = PowerGridModel({name: rows for name, rows in tables.items() if len(rows)}, flat.frequency_hz)
    c = flat.consumers

    def run(n: int) -> Any:
        factor = demand_of(network, n)
        step = max(1, PGM_CHUNK_VALUES // max(flat.nodes.n, 1) // 4)
        for start in range(0, n, step):
            part = factor[start : start + step]
            loads = initialize_array(DatasetType.update, "sym_load", (len(part), c.n))
            loads["id"] = ids.load + np.arange(c.n)
            loads["p_specified"], loads["q_specified"] = 1e3 * part * c.p_kw, 1e3 * part * c.q_kvar
            output: Any = model.calculate_power_flow(
                update_data={"sym_load": loads}, output_component_types={"node": ["u_pu"]}, threading=threads
            )
            output["node"]["u_pu"].min(axis=1)

    return run


def pandapower_of(network: Network) -> Callable[[int], Any]:
    """pandapower's time series module with the settings that suit it."""
    import pandapower as pp
    from pandapower.control import ConstControl
    from pandapower.timeseries import DFData, OutputWriter, run_timeseries
    from pandas import DataFrame

    net = engines.pandapower_net(Case("", network).flat.network)
    c = Case("", network).flat.network.consumers
    pp.runpp(net, init="dc")

    def run(n: int) -> Any:
        net.controller.drop(net.controller.index, inplace=True)
        factor = demand_of(network, n)
        for variable, rated in (("p_mw", c.p_kw / 1e3), ("q_mvar", c.q_kvar / 1e3)):
            source = DFData(DataFrame(factor * rated))
            names = list(range(c.n))
            ConstControl(net, "load", variable, names, profile_name=names, data_source=source, recycle=True)
        writer = OutputWriter(net, range(n), output_path=None)
        writer.log_variable("res_bus", "vm_pu", eval_function=np.min)
        run_timeseries(net, range(n), verbose=False)

    return run


def time_series(network: Network, n: int) -> None:
    """One line a way."""
    ways: dict[str, tuple[Callable[[int], Any], int]] = {
        "one call, all cores": (batch_of(network, 0), n),
        "one call, one core": (batch_of(network, 1), n),
        "update and solve": (loop_of(network), min(n, SAMPLE)),
        "power-grid-model, all cores": (grid_model_of(network, 0), min(n, SAMPLE)),
        "power-grid-model, one core": (grid_model_of(network, -1), min(n, SAMPLE)),
        "pandapower time series": (pandapower_of(network), PANDAPOWER_SAMPLE),
    }
    taken = {name: per_case(run, count) for name, (run, count) in ways.items()}
    print(f"\n{network.name}, {network.nodes.n} nodes, {n} steps of demand")
    for name, ms in taken.items():
        print(
            f"  {name:30} {ms:9.4f} ms a step, {ms / taken['one call, all cores']:8.1f} x, a year {ms * 35.04:8.1f} s"
        )


def switching(network: Network, n: int) -> None:
    """Cases with two switches opened each."""
    rng = np.random.default_rng(0)
    closed = np.repeat(network.switches.normally_closed[np.newaxis], n, axis=0)
    closed[np.arange(n)[:, np.newaxis], rng.integers(0, network.switches.n, (n, 2))] = False
    solver = power_flow(network)

    def one_call(count: int, workers: int = 0) -> Any:
        solve_power_flows(network, Cases(count, closed=closed[:count]), (Output("loading", "max"),), workers=workers)

    def loop(count: int) -> Any:
        for states in closed[:count]:
            solver.update(closed=states)
            try:
                solver.solve().loading.max()
            except PowerFlowDivergedError:
                continue

    def general(count: int) -> Any:
        many = power_flow(network, backend="power-grid-model").solve_many(closed[:count])
        return [result.loading.max() for result in many if not isinstance(result, PowerFlowDivergedError)]

    taken = {
        "one call, all cores": per_case(one_call, n),
        "one call, one core": per_case(lambda count: one_call(count, 1), n),
        "update and solve": per_case(loop, min(n, SAMPLE)),
        "power-grid-model's batch": per_case(general, min(n, 256)),
    }
    print(f"\n{network.name}, {network.nodes.n} nodes, {n} cases of two switches opened, largest loading")
    for name, ms in taken.items():
        print(f"  {name:30} {ms:9.4f} ms a case, {ms / taken['one call, all cores']:8.1f} x")


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="A day instead of a year, small networks alone.")
def main(quick: bool) -> None:
    """Measure and print."""
    warnings.simplefilter("ignore")
    cigre = load_network("cigre_mv")
    time_series(cigre, 96 if quick else YEAR)
    switching(cigre, 100 if quick else 10_000)
    if not quick:
        time_series(radial(1_000), YEAR)
        time_series(radial(10_000), 2_000)
        switching(radial(1_000), 10_000)


if __name__ == "__main__":
    main()
