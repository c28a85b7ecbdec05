"""Power flow engines side by side: ``python -m benchmarks.solvers [--quick]``.

A step writes all loads, solves and reads all voltages. All engines take turns in one process, so that a busy moment
of the machine meets all of them; figures are medians of CPU time. Absolute figures are those of one machine, ratios
travel better. The second figure of a cell is the largest difference to pandapower at 1e-8 MVA, in pu.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import click
import numpy as np

from benchmarks import engines
from benchmarks.engines import Case, SkippedError, Step
from benchmarks.synthetic import radial
from twin.network import LoaderOptions, UnsupportedNetworkError, load_network, load_pandapower
from twin.network.model import Network
from twin.solvers import power_flow

ENGINES: dict[str, Callable[[Case], Step]] = {
    "sweep": lambda case: engines.ours(case, "sweep"),
    "direct": lambda case: engines.ours(case, "direct"),
    "grid model": lambda case: engines.ours(case, "power-grid-model"),
    "bare sweep": engines.bare_sweep,
    "power-grid-model": engines.grid_model,
    "lightsim2grid": engines.lightsim,
    "OpenDSS": engines.opendss,
    "pandapower": engines.pandapower_fastest,
    "with lightsim2grid": lambda case: engines.pandapower_fastest(case, with_lightsim=True),
}
OURS = ("sweep", "direct", "grid model")
PEERS_FOR_MESHES = ("power-grid-model", "lightsim2grid")
ROUNDS_MS = 4_000
"""CPU time spent on a case; the slowest engine decides how many rounds that is, within bounds."""

LEAST_ROUNDS, MOST_ROUNDS = 7, 200


@dataclass(frozen=True)
class Figure:
    """One engine on one case: milliseconds a step and the largest difference to pandapower, pu; or why not."""

    ms: float = np.nan
    off_pu: float = np.nan
    skipped: str = ""


# --- cases -----------------------------------------------------------------------------------------------------


def cases(quick: bool) -> list[Case]:
    """The networks, small to large."""
    cigre, case33 = load_network("cigre_mv"), load_network("pandapower:case33bw")
    oberrhein = load_network("mv_oberrhein")
    meshed = np.ones(oberrhein.switches.n, dtype=np.bool_)
    found = [
        Case("CIGRE MV", cigre),
        Case("CIGRE MV meshed", cigre, np.ones(cigre.switches.n, dtype=np.bool_)),
        Case("case33bw", case33),
        Case("mv_oberrhein", oberrhein),
        Case("mv_oberrhein meshed", oberrhein, meshed),
        *(Case(f"radial {n:,}", radial(n)) for n in ((1_000, 10_000) if quick else (1_000, 10_000, 100_000))),
        Case("meshed 1,000, 10 loops", _closed(radial(1_000, ties=10))),
        Case("meshed 10,000, 10 loops", _closed(radial(10_000, ties=10))),
        Case("meshed 10,000, 300 loops", _closed(radial(10_000, ties=300))),
    ]
    if not quick:
        found += simbench_cases()
    return found


def _closed(network: Network) -> Network:
    s = network.switches
    return replace(network, switches=replace(s, normally_closed=np.ones(s.n, dtype=np.bool_)))


def simbench_cases() -> list[Case]:
    """SimBench MV urban and MV-LV urban, if the package is there."""
    if importlib.util.find_spec("simbench") is None:
        print("SimBench: skipped, the package simbench is not installed")
        return []
    import simbench

    found = []
    for name, code in (("SimBench MV urban", "1-MV-urban--0-sw"), ("SimBench MV-LV urban", "1-MVLV-urban-all-0-sw")):
        net = simbench.get_simbench_net(code)
        net.trafo["tap_changer_type"] = "Ratio"
        try:
            found.append(Case(name, load_pandapower(net, name=code, options=LoaderOptions())))
        except UnsupportedNetworkError as error:
            print(f"{name}: skipped, {str(error)[:200]}")
    return found


# --- measuring -------------------------------------------------------------------------------------------------


def measure(case: Case, budget_ms: float) -> dict[str, Figure]:
    """All engines on one case, in turns."""
    c = case.flat.network.consumers
    figures: dict[str, Figure] = {}
    steps: dict[str, Step] = {}
    expected = np.abs(engines.reference(case))[case.compared]
    spent: dict[str, float] = {}
    for name, build in ENGINES.items():
        try:
            step = build(case)
            step(1.02 * c.p_kw, 1.02 * c.q_kvar)
            start = time.process_time()
            v_pu = step(c.p_kw, c.q_kvar)
            spent[name] = 1e3 * (time.process_time() - start)
        except SkippedError as error:
            figures[name] = Figure(skipped=str(error))
            continue
        ours = v_pu[case.row[case.compared]] if name in OURS else v_pu[case.compared]
        figures[name] = Figure(off_pu=float(np.abs(ours - expected).max()))
        steps[name] = step
    rounds = int(np.clip(budget_ms / sum(spent.values()), LEAST_ROUNDS, MOST_ROUNDS))
    taken = _in_turns(steps, rounds, c.p_kw, c.q_kvar)
    return {name: replace(figure, ms=taken.get(name, np.nan)) for name, figure in figures.items()}


def _in_turns(steps: dict[str, Step], rounds: int, p_kw: Any, q_kvar: Any) -> dict[str, float]:
    """Medians; every round starts with another engine, so that none always follows the one that empties the caches."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    order = list(steps.items())
    for turn in range(rounds):
        factor = 0.95 + 0.1 * (turn * 0.618 % 1)
        p, q = factor * p_kw, factor * q_kvar
        order.append(order.pop(0))
        for name, step in order:
            start = time.process_time()
            step(p, q)
            times[name].append(time.process_time() - start)
    return {name: 1e3 * median(spent) for name, spent in times.items()}


def switching(n: int, rounds: int) -> dict[str, tuple[float, float]]:
    """(load only, switch and load) of our backends on a radial network: one feeder section opened or closed, in ms."""
    network = radial(n)
    closed = network.switches.normally_closed
    opened = closed.copy()
    opened[network.switches.n // 2] = False
    solvers: dict[str, Any] = {
        "sweep": power_flow(network, backend="sweep"),
        "direct": power_flow(network, backend="direct"),
        "grid model": power_flow(network, backend="power-grid-model"),
    }
    c = network.consumers
    steps: dict[str, Step] = {}
    for name, solver in solvers.items():

        def load_only(p_kw: Any, q_kvar: Any, solver: Any = solver) -> Any:
            solver.update(p_kw=p_kw, q_kvar=q_kvar)
            return solver.solve()

        def alternate(p_kw: Any, q_kvar: Any, solver: Any = solver, states: Any = [opened, closed]) -> Any:  # noqa: B006
            states.reverse()
            solver.update(p_kw=p_kw, q_kvar=q_kvar, closed=states[0])
            return solver.solve()

        steps[f"{name} load"] = load_only
        steps[f"{name} switch"] = alternate
    taken = _in_turns(steps, rounds, c.p_kw, c.q_kvar)
    return {name: (taken[f"{name} load"], taken[f"{name} switch"]) for name in solvers}


FIRST_CALL = """
import time
from twin.network import load_network
network = load_network('cigre_mv')
start = time.process_time()
from twin.solvers import power_flow
power_flow(network, backend='sweep').solve()
print(time.process_time() - start)
"""
MEMORY = """
import pathlib
from benchmarks.synthetic import radial
from twin.solvers import power_flow
solver = power_flow(radial(100_000), backend='sweep')
for _ in range(3):
    solver.solve()
status = pathlib.Path('/proc/self/status').read_text()  # the peak since the start of this program, unlike ru_maxrss
print(int(status.split('VmHWM:')[1].split()[0]) / 1024)
"""


def alone(code: str, **environment: str) -> float:
    """The number that a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, check=True
    )
    return float(done.stdout)


# --- report ----------------------------------------------------------------------------------------------------


def print_table(rows: dict[str, dict[str, Figure]]) -> None:
    """Milliseconds a step and agreement."""
    print(f"\n{'ms a step · largest |ΔV| pu':26}" + "".join(f"{name:>20}" for name in ENGINES))
    for case, figures in rows.items():
        cells = (f"{f.ms:.3f} · {f.off_pu:.0e}" if not f.skipped else "–" for f in figures.values())
        print(f"{case:26}" + "".join(f"{cell:>20}" for cell in cells))
    reasons = {(name, f.skipped) for figures in rows.values() for name, f in figures.items() if f.skipped}
    for name, reason in sorted(reasons):
        print(f"  – {name}: {reason}")


def print_ratios(rows: dict[str, dict[str, Figure]]) -> None:
    """How many times as long as the sweep each engine takes."""
    print(f"\n{'times the sweep':26}" + "".join(f"{name:>20}" for name in ENGINES))
    for case, figures in rows.items():
        ours = figures["sweep"].ms
        print(
            f"{case:26}" + "".join(f"{f.ms / ours:>20.2f}" if not f.skipped else f"{'–':>20}" for f in figures.values())
        )


def print_meshes(rows: dict[str, dict[str, Figure]]) -> None:
    """How the direct solver stands to the faster of the general peers."""
    print()
    for case, figures in rows.items():
        peers = {name: figures[name].ms for name in PEERS_FOR_MESHES if not figures[name].skipped}
        if peers:
            best = min(peers, key=lambda name: peers[name])
            print(f"{case:26} the faster peer, {best}, takes {peers[best] / figures['direct'].ms:.1f} x direct")


def print_growth(rows: dict[str, dict[str, Figure]]) -> None:
    """The exponent of the growth from 1,000 to 100,000 nodes."""
    small, large = rows.get("radial 1,000"), rows.get("radial 100,000")
    if small and large:
        exponent = np.log(large["sweep"].ms / small["sweep"].ms) / np.log(100)
        print(f"\nsweep from 1,000 to 100,000 nodes: n^{exponent:.2f}")


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Without the largest networks, in fewer rounds.")
def main(quick: bool) -> None:
    """Measure and print."""
    warnings.simplefilter("ignore")
    rows = {}
    for case in cases(quick):
        print(f"{case.name} ...", file=sys.stderr)
        rows[case.name] = measure(case, ROUNDS_MS / 4 if quick else ROUNDS_MS)
    print_table(rows)
    print_ratios(rows)
    print_meshes(rows)
    print_growth(rows)
    for name, (load, switch) in switching(10_000, 20 if quick else 60).items():
        print(f"radial 10,000, {name}: load {load:.2f} ms, switch and load {switch:.2f} ms, {switch / load:.2f} times")
    if not quick:
        print_alone()


def print_alone() -> None:
    """What only fresh processes show: the price of the first call, and memory."""
    with tempfile.TemporaryDirectory() as cache:
        first, second = alone(FIRST_CALL, NUMBA_CACHE_DIR=cache), alone(FIRST_CALL, NUMBA_CACHE_DIR=cache)
    print(f"import, build and first solve of the sweep: {first:.1f} s compiling, {second:.2f} s from the cache")
    print(f"peak memory of a process that solves 100,000 nodes by the sweep: {alone(MEMORY):.0f} MB")


if __name__ == "__main__":
    main()
