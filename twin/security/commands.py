"""The command ``twin certificates``."""

from __future__ import annotations

from pathlib import Path

import click

from twin.security.certificates import CONTROL_ROOM, REVOCATIONS, Lab


@click.command("certificates")
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the lab; made if it is not there.",
)
@click.option("--stations", default="", help="Names of stations, separated by commas.")
@click.option(
    "--control-room", "rooms", default=CONTROL_ROOM, show_default=True, help="Names of control rooms, by commas."
)
@click.option("--days", type=click.IntRange(1, 7300), default=825, show_default=True, help="How long they are valid.")
@click.option("--revoke", "revoked", default="", help="Names whose certificates are no longer believed, by commas.")
def certificates(folder: Path, stations: str, rooms: str, days: int, revoked: str) -> None:
    """Make a lab authority with certificates for stations and control room, or revoke some.

    What is there already stays. Keys and certificates are readable by their owner alone.
    """
    lab = Lab(folder)
    if revoked:
        lab.revoke(_names(revoked))
        click.echo(f"{folder / REVOCATIONS}: {len(lab.revoked())} revoked")
        if not stations:
            return
    made = lab.create(_names(stations), _names(rooms), days=days)
    click.echo(f"{folder}: {len(made)} certificates made")
    for path in made:
        click.echo(f"  {path}")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
