"""The one command line. Commands of other packages join through the entry point group ``twin.commands``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

import click

from twin.errors import ExitCode, TwinError
from twin.report import write_report
from twin.scenario import ScenarioError, load_scenario, schema


class TwinGroup(click.Group):
    """Turns the project's errors into their sentence and exit code, and usage errors into exit code 4."""

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
        except ScenarioError as error:
            _complain(*(str(finding) for finding in error.findings))
            code = error.exit_code
        except TwinError as error:
            _complain(str(error))
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            _complain("interrupted")
            code = ExitCode.INTERRUPTED
        sys.exit(int(code) if isinstance(code, int) else 0)


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
    click.echo(json.dumps(schema(), indent=2))


@main.command("list")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("scenarios"))
def list_command(folder: Path) -> None:
    """List the scenarios of FOLDER with what they are about."""
    if not folder.is_dir():
        raise click.UsageError(f"there is no folder {folder}")
    for path in sorted(folder.glob("*.yaml")):
        scenario = load_scenario(path)
        click.echo(f"{path}  {click.style(scenario.network, dim=True)}\n    {scenario.description or scenario.name}")


@main.command("report")
@click.argument("results", type=click.Path(path_type=Path, file_okay=False))
def report_command(results: Path) -> None:
    """Build report.html and junit.xml of a RESULTS folder anew."""
    from twin.report import write_junit

    click.echo(f"report: {write_report(results)}")
    click.echo(f"JUnit:  {write_junit(results)}")


def _join_commands() -> None:
    for entry in sorted(entry_points(group="twin.commands"), key=lambda e: e.name):
        main.add_command(entry.load(), entry.name)


_join_commands()
