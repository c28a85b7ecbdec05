"""The command ``twin derive``."""

from __future__ import annotations

import math
from pathlib import Path

import click

from twin.derive.derivation import Derivation
from twin.derive.derivation import derive as derive_from
from twin.derive.files import write
from twin.derive.options import DeriveOptions
from twin.network import load_network


@click.command("derive")
@click.argument("network")
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for stations.yaml, points.csv, devices.yaml and zones.yaml.",
)
@click.option(
    "--remote",
    type=click.Choice(["all", "ties"]),
    default="all",
    show_default=True,
    help="Telecontrolled stations: all, or those with a feeder head or a normally open point.",
)
@click.option(
    "--every",
    type=click.IntRange(min=0),
    default=0,
    help="With --remote ties: telecontrol also every n-th of the other stations.",
)
@click.option(
    "--under-frequency",
    "stages",
    default="",
    metavar="HZ,HZ,...",
    help="Under-frequency relays at feeder heads with stages at these levels, for example 49.0,48.8,48.6,48.4.",
)
@click.option("--force", is_flag=True, help="Overwrite files that were edited.")
def derive(network: str, folder: Path, remote: str, every: int, stages: str, force: bool) -> None:
    """Derive stations, points, device settings and zones from NETWORK.

    NETWORK is a shipped name (cigre_mv, mv_oberrhein), a pandapower network (pandapower:case33bw) or a pandapower
    JSON file.
    """
    loaded = load_network(network)
    levels = _levels(stages)
    options = DeriveOptions(remote=remote, every_nth=every, under_frequency_stages_hz=levels)  # type: ignore[arg-type]
    derivation = derive_from(loaded, options)
    paths = write(derivation, folder, force=force)
    click.echo(f"{loaded.name}: {_summary(derivation)}")
    for path in paths:
        click.echo(f"  {path}")
    for finding in derivation.findings:
        click.echo(f"note: {finding}", err=True)


def _levels(text: str) -> tuple[float, ...]:
    """The levels of the option, Hz."""
    try:
        levels = tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        levels = (0.0,)
    if len(levels) > 8 or not all(0.0 < level < math.inf for level in levels):
        raise click.BadParameter(
            f"{text} is no list of up to eight frequencies like 49.0,48.8", param_hint="--under-frequency"
        )
    return levels


def _summary(derivation: Derivation) -> str:
    devices = derivation.devices
    counts = (
        (len(derivation.stations), "stations"),
        (len(derivation.remote_stations), "telecontrolled"),
        (len(derivation.points), "points"),
        (len(devices.relays), "feeder relays"),
        (len(devices.reclosers), "reclosing"),
        (len(devices.indicators), "fault passage indicators"),
        *([(len(devices.under_frequency), "under-frequency relays")] if devices.under_frequency else []),
        (derivation.zones.n, "zones"),
    )
    return ", ".join(f"{number} {what}" for number, what in counts)
