"""The one command line. Commands of other packages join through the entry point group ``twin.commands``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from typing import cast

import click

from twin.errors import ExitCode, TwinError


class TwinGroup(click.Group):
    """Turns the project's errors into their sentence and exit code, and usage errors into exit code 4."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Own commands and those of other packages."""
        return sorted({*super().list_commands(ctx), *(entry.name for entry in _joined())})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command; the package of a joined one is imported only now."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        found = [entry for entry in _joined() if entry.name == cmd_name]
        return cast(click.Command, found[0].load()) if found else None

    def main(self, args: Sequence[str] | None = None, **extra: object) -> object:  # type: ignore[override]
        """Run the command line; never returns normally."""
        try:
            code = super().main(args, standalone_mode=False)
        except click.UsageError as error:
            error.show()
            code = ExitCode.USAGE
        except click.ClickException as error:
            error.show()
            code = ExitCode.BROKEN
        except TwinError as error:
            _complain(*str(error).splitlines())
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            _complain("interrupted")
            code = ExitCode.INTERRUPTED
        sys.exit(int(code) if isinstance(code, int) else 0)


def _joined() -> EntryPoints:
    """The commands of other packages."""
    return entry_points(group="twin.commands")


def _complain(*sentences: str) -> None:
    for sentence in sentences:
        click.echo(click.style("error: ", fg="red", bold=True) + sentence, err=True)


@click.group(cls=TwinGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="distribution-twin")
def main() -> None:
    """A digital twin of an electricity distribution network, with the control room attached."""


@main.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    from twin.scenario import schema

    click.echo(json.dumps(schema(), indent=2))


@main.command("list")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("scenarios"))
def list_command(folder: Path) -> None:
    """List the scenarios of FOLDER with what they are about."""
    from twin.scenario import load_scenario

    if not folder.is_dir():
        raise click.UsageError(f"there is no folder {folder}")
    for path in sorted(folder.glob("*.yaml")):
        scenario = load_scenario(path)
        click.echo(f"{path}  {click.style(scenario.network, dim=True)}\n    {scenario.description or scenario.name}")


@main.command("report")
@click.argument("results", type=click.Path(path_type=Path, file_okay=False))
def report_command(results: Path) -> None:
    """Build report.html and junit.xml of a RESULTS folder anew."""
    from twin.report import write_junit, write_report

    click.echo(f"report: {write_report(results)}")
    click.echo(f"JUnit:  {write_junit(results)}")
