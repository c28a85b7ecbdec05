"""The commands ``twin run`` and ``twin validate``."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from twin.errors import ExitCode, TwinError
from twin.points.protocols import PROTOCOLS
from twin.timebase import SimTime, clock_text
from twin.units import QuantityError, Unit, parse_quantity

if TYPE_CHECKING:
    # what runs a world takes seconds to import, and `twin --help` needs none of it
    from simulators.addresses import StationAddress
    from simulators.preparation import Preparation
    from simulators.runner import RunResult, Watcher
    from twin.journal import JournalEntry
    from twin.scenario import PlantState
    from twin.scenario.stations import ListenSettings

POLICIES = ("catch-up", "slip", "fail")
MAX_SPEED = 1_000.0
TOLD = {
    "fault": "fault on {subject}",
    "fault_cleared": "fault on {subject} is gone",
    "relay_trip": "protection trips {subject}",
    "reclose": "{subject} recloses",
    "lockout": "{subject} locked out",
    "location": "fault located",
    "plan": "plan {subject}",
    "closed_onto_fault": "{subject} was closed onto a fault",
}
"""What the progress display says of journal entries."""


class Duration(click.ParamType):
    """A time such as ``90 s``, as milliseconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See ``twin.units``."""
        if isinstance(value, int):
            return value
        try:
            return int(parse_quantity(str(value), Unit.MILLISECOND))
        except QuantityError as error:
            self.fail(str(error), param, ctx)


class Speed(click.FloatRange):
    """A factor of real time."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See ``click.FloatRange``, which lets NaN pass."""
        speed = float(super().convert(value, param, ctx))
        if math.isnan(speed):
            self.fail(f"{value} is not a number", param, ctx)
        return speed


class Place(click.ParamType):
    """Where stations listen, such as ``127.0.0.1:24000`` or ``24000``."""

    name = "place"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> ListenSettings:
        """An address and a port; the loopback without an address."""
        from pydantic import ValidationError

        from twin.scenario.stations import ListenSettings

        if isinstance(value, ListenSettings):
            return value
        address, _, port = str(value).rpartition(":")
        try:
            return ListenSettings(address=address.strip("[]") or "127.0.0.1", port=int(port))
        except (ValueError, ValidationError):
            self.fail(f"{value} is no place to listen at; write it like 127.0.0.1:24000", param, ctx)


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Results folder.")
@click.option(
    "--speed",
    type=Speed(0, MAX_SPEED),
    default=0.0,
    help="Times real time; 0 (default) is as fast as it goes.",
)
@click.option(
    "--overrun",
    type=click.Choice(POLICIES),
    default="slip",
    help="With --speed: what to do when a cycle is late.",
)
@click.option("--live", is_flag=True, help="Sessions run freely in real time: other masters can connect.")
@click.option(
    "--listen",
    type=Place(),
    metavar="ADDRESS:PORT",
    help="With --live: where the first station listens; the next ones follow, a port each.",
)
@click.option("--protocol", type=click.Choice(PROTOCOLS), help="Use this protocol for every station.")
@click.option("--snapshot-at", type=Duration(), multiple=True, help="Save the state of the world, e.g. at '70 s'.")
@click.option(
    "--from",
    "continue_from",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Continue from a snapshot of this scenario.",
)
def run(
    scenario: Path,
    out: Path | None,
    speed: float,
    overrun: str,
    live: bool,
    listen: ListenSettings | None,
    protocol: str | None,
    snapshot_at: tuple[int, ...],
    continue_from: Path | None,
) -> None:
    """Run SCENARIO, judge its expectations and write a report."""
    from simulators.clock import OverrunPolicy
    from simulators.preparation import prepare
    from simulators.runner import RunOptions, run_prepared

    if listen is not None and not live:
        raise click.UsageError("--listen goes with --live")
    console = Console()
    options = RunOptions(
        out=out,
        speed=(speed or 1.0) if live else speed,
        live=live,
        listen=listen,
        on_listening=lambda rows: _tell_addresses(console, rows),
        overrun=OverrunPolicy(overrun),
        protocol=protocol,
        continue_from=_read_snapshot(continue_from),
        snapshot_at=snapshot_at,
    )
    preparation = prepare(scenario)
    with _display(console, preparation.scenario.duration) as watch:
        result = run_prepared(preparation, options, watch)
    _tell(console, result)
    click.get_current_context().exit(int(result.exit_code))


def _read_snapshot(path: Path | None) -> bytes | None:
    from simulators.snapshots import SnapshotError

    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise SnapshotError(f"cannot read {path}: {error.strerror}") from error


@click.command()
@click.argument("scenarios", type=click.Path(path_type=Path), nargs=-1, required=True)
def validate(scenarios: tuple[Path, ...]) -> None:
    """Check SCENARIOS without running them: every key, unit, name and reference."""
    codes = [_validate(path) for path in scenarios]
    click.get_current_context().exit(max(codes))


def _validate(path: Path) -> int:
    from simulators.preparation import prepare

    try:
        p = prepare(path)
    except TwinError as error:
        for sentence in str(error).splitlines():
            click.echo(click.style("error: ", fg="red", bold=True) + sentence, err=True)
        return int(error.exit_code)
    click.echo(f"{path}: {_summary(p)}")
    return int(ExitCode.PASSED)


def _summary(p: Preparation) -> str:
    s = p.scenario
    return (
        f"good: {p.plant.nodes.n} nodes, {p.plant.switches.n} switches, {len(p.derivation.remote_stations)} stations, "
        f"{len(p.derivation.points)} points, {len(s.events)} events, {len(s.expect)} expectations"
    )


# -- what a person sees while and after it runs -------------------------------------------------------------------


@contextlib.contextmanager
def _display(console: Console, duration_ms: SimTime) -> Iterator[Watcher]:
    """A live line: simulated time, customers without supply, what happened last."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[clock]}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[customers]}"),
        TextColumn("{task.fields[last]}", style="dim"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=duration_ms, clock=clock_text(0), customers="", last="starting")
        yield _Watch(progress, task)


class _Watch:
    """Feeds the live line."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def __call__(self, now: SimTime, state: PlantState, entries: Sequence[JournalEntry]) -> None:
        out = state.customers_interrupted
        told = {"clock": clock_text(now), "customers": f"{out} customers without supply" if out else "all supplied"}
        for entry in entries:
            if entry.kind in TOLD:
                told["last"] = f"{clock_text(entry.t_ms)} {TOLD[entry.kind].format(subject=entry.subject)}"
        self._progress.update(self._task, completed=now, **told)  # type: ignore[arg-type]


def _tell_addresses(console: Console, rows: Sequence[StationAddress]) -> None:
    """Where masters find the stations, before the run starts."""
    from simulators.addresses import table

    shown = Table(title="stations listen at", title_justify="left")
    for column in ("station", "protocol", "address", "addressed as", "security"):
        shown.add_column(column, overflow="fold")
    for row in table(rows):
        shown.add_row(*row)
    console.print(shown)


def _tell(console: Console, result: RunResult) -> None:
    if result.verdicts:
        console.print(_verdicts(result))
    if result.message:
        console.print(Text(result.message, style="bold red"))
    speed = f"{result.speed_factor:.0f} times faster than real time" if result.speed_factor >= 2 else "real time"
    console.print(
        f"{clock_text(result.simulated_ms)} simulated in {result.wall_s:.1f} s ({speed}), {result.cycles} cycles",
        highlight=False,
    )
    console.print(f"results: {result.folder}", highlight=False, soft_wrap=True)
    if result.report:
        console.print(f"report:  {result.report}", highlight=False, soft_wrap=True)


def _verdicts(result: RunResult) -> Table:
    failed = sum(not v.passed for v in result.verdicts)
    title = f"{result.scenario}: " + (f"{failed} of {len(result.verdicts)} failed" if failed else "all hold")
    table = Table(title=title, title_justify="left", title_style="bold red" if failed else "bold green")
    for column in ("", "expectation", "reason"):
        table.add_column(column, overflow="fold")
    for v in result.verdicts:
        mark = Text("✔ holds", style="green") if v.passed else Text("✘ fails", style="bold red")
        table.add_row(mark, f"{v.id}\n[dim]{v.text.replace('[', chr(92) + '[')}[/dim]", v.reason)
    return table
