"""How fast whole runs are, and where their time goes: ``python -m benchmarks.world``.

Runs of every scenario over every protocol are repeated and interleaved, so that a busy moment of the machine meets
all of them; the figures are medians. Absolute figures are those of one machine, ratios travel better.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import click
from rich.console import Console
from rich.table import Table

from benchmarks.baselines import idle_world_ms, solve_ms
from simulators.preparation import Preparation, prepare
from simulators.runner import RunOptions, RunResult, run_prepared
from twin.errors import TwinError

HERE = Path(__file__).parent
SHIPPED = HERE.parent / "scenarios"
PROTOCOLS = ("iec104", "in_process")
PARTS = ("solver", "mosaik", "protocol", "field", "control room", "recording")
MIN_WIDTH = 118


class RunFailedError(TwinError):
    """A run that was to be measured did not come to its end."""

    def __init__(self, result: RunResult) -> None:
        super().__init__(f"the run of {result.scenario} did not complete: {result.message}")


@dataclass(frozen=True)
class Figures:
    """Medians over the runs of one scenario over one protocol; shares are parts of 1."""

    scenario: str
    protocol: str
    runs: int
    simulated_s: float
    cycles: int
    wall_s: float
    wall_s_worst: float
    speed_factor: float
    ms_per_cycle: float
    solve_ms: float
    times_solve: float
    times_idle_world: float
    shares: dict[str, float]


@dataclass(frozen=True)
class StartUp:
    """Seconds until a run can begin, in a process of its own: imports, then reading and checking the scenario."""

    scenario: str
    imports_s: float
    preparation_s: float


@dataclass(frozen=True)
class Results:
    """Everything one call measured."""

    machine: dict[str, str | int]
    idle_world_ms: float
    figures: list[Figures]
    start_up: list[StartUp]


# -- measuring ----------------------------------------------------------------------------------------------------


def measure(scenarios: Sequence[Path], repeats: int, cycles: int) -> Results:
    """Measure ``scenarios``, each ``repeats`` times a protocol; the baselines over ``cycles`` cycles."""
    prepared = {path: prepare(path) for path in scenarios}
    runs = _interleaved(prepared, repeats)
    idle_ms = idle_world_ms(cycles)
    solves = {path: solve_ms(p.plant, cycles) for path, p in prepared.items()}
    figures = [_figures(runs[path, protocol], protocol, solves[path], idle_ms) for path, protocol in runs]
    return Results(_machine(), round(idle_ms, 4), figures, [start_up(path, repeats) for path in scenarios])


def _interleaved(prepared: dict[Path, Preparation], repeats: int) -> dict[tuple[Path, str], list[RunResult]]:
    runs: dict[tuple[Path, str], list[RunResult]] = {
        (path, protocol): [] for path in prepared for protocol in PROTOCOLS
    }
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            for (path, protocol), results in runs.items():
                results.append(_run(prepared[path], protocol, Path(folder)))
    return runs


def _run(preparation: Preparation, protocol: str, folder: Path) -> RunResult:
    result = run_prepared(preparation, RunOptions(out=folder, protocol=protocol, report=False))
    if result.status != "completed":
        raise RunFailedError(result)
    return result


def _figures(runs: list[RunResult], protocol: str, solve: float, idle_ms: float) -> Figures:
    wall_s = median(run.wall_s for run in runs)
    cycle_ms = median(run.wall_s * 1000.0 / run.cycles for run in runs)
    shares = {part: round(median(run.shares.get(part, 0.0) for run in runs), 3) for part in PARTS}
    shares["rest"] = round(max(0.0, 1.0 - sum(shares.values())), 3)
    return Figures(
        scenario=runs[0].scenario,
        protocol=protocol,
        runs=len(runs),
        simulated_s=runs[0].simulated_ms / 1000.0,
        cycles=runs[0].cycles,
        wall_s=round(wall_s, 3),
        wall_s_worst=round(max(run.wall_s for run in runs), 3),
        speed_factor=round(median(run.speed_factor for run in runs), 1),
        ms_per_cycle=round(cycle_ms, 3),
        solve_ms=round(solve, 4),
        times_solve=round(cycle_ms / solve, 1),
        times_idle_world=round(cycle_ms / idle_ms, 2),
        shares=shares,
    )


_START_UP = """
import sys
from pathlib import Path
from time import perf_counter
started = perf_counter()
import simulators.runner
from simulators.preparation import prepare
imported = perf_counter()
prepare(Path(sys.argv[1]))
print(imported - started, perf_counter() - imported)
"""


def start_up(path: Path, repeats: int) -> StartUp:
    """Start as ``twin run`` does, each time in a new process."""
    command = [sys.executable, "-c", _START_UP, str(path.resolve())]
    texts = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(repeats)]
    seconds = [tuple(map(float, text.split())) for text in texts]
    imports, preparations = zip(*seconds, strict=True)
    return StartUp(path.stem, round(median(imports), 2), round(median(preparations), 2))


def _machine() -> dict[str, str | int]:
    load = round(os.getloadavg()[0], 1)
    return {
        "processors": os.cpu_count() or 0,
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "load_average": f"{load}",
    }


# -- telling ------------------------------------------------------------------------------------------------------


def tables(results: Results) -> Iterator[Table]:
    """What a person reads."""
    yield _speed_table(results)
    yield _share_table(results)
    yield _start_up_table(results)


def _table(title: str, names: Sequence[str], figures: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in names:
        table.add_column(name, overflow="fold")
    for figure in figures:
        table.add_column(figure, justify="right", no_wrap=True)
    return table


def _speed_table(results: Results) -> Table:
    figures = ("runs", "simulated s", "cycles", "wall s", "worst s", "x real time", "ms/cycle", "x solve", "x idle")
    table = _table("Speed", ("scenario", "protocol"), figures)
    for f in results.figures:
        numbers = (f.runs, f"{f.simulated_s:g}", f.cycles, f"{f.wall_s:.2f}", f"{f.wall_s_worst:.2f}")
        ratios = (f.speed_factor, f"{f.ms_per_cycle:.2f}", f.times_solve, f.times_idle_world)
        table.add_row(f.scenario, f.protocol, *map(str, (*numbers, *ratios)))
    solves = {f.scenario: f.solve_ms for f in results.figures}
    told = ", ".join(f"{name} {ms:.3f} ms" for name, ms in solves.items())
    table.caption = f"x solve: ms/cycle over one bare power flow ({told}); x idle: over a cycle of idle simulators "
    table.caption += f"({results.idle_world_ms:.2f} ms)"
    return table


def _share_table(results: Results) -> Table:
    table = _table("Share of the wall time", ("scenario", "protocol"), (*PARTS, "rest"))
    for f in results.figures:
        table.add_row(f.scenario, f.protocol, *(f"{100.0 * f.shares[part]:.0f} %" for part in (*PARTS, "rest")))
    return table


def _start_up_table(results: Results) -> Table:
    table = _table("Before the first cycle", ("scenario file",), ("imports s", "preparation s"))
    for s in results.start_up:
        table.add_row(s.scenario, f"{s.imports_s:.2f}", f"{s.preparation_s:.2f}")
    return table


@click.command()
@click.argument("scenarios", type=click.Path(path_type=Path, exists=True), nargs=-1)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Runs a scenario and protocol.")
@click.option("--quick", is_flag=True, help="One run of a short scenario: whether it works, not how fast it is.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write every figure to this file.")
def main(scenarios: tuple[Path, ...], repeats: int, quick: bool, json_file: Path | None) -> None:
    """Measure SCENARIOS, by default the shipped ones."""
    started = perf_counter()
    if quick:
        results = measure([HERE / "quick.yaml"], repeats=1, cycles=20)
    else:
        results = measure(scenarios or sorted(SHIPPED.glob("*.yaml")), repeats, cycles=1000)
    console = Console()
    console.width = max(console.width, MIN_WIDTH)
    for table in tables(results):
        console.print(table)
    console.print(f"{results.machine} measured in {perf_counter() - started:.0f} s")
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(results), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
