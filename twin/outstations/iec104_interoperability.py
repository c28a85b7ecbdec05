"""The interoperability list of a station (IEC 60870-5-104, clause 9), made from its points and settings.

What it says is what the station does: types come from the point map, services from the table that serves them,
parameters from the settings.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from twin.errors import Blame, TwinError
from twin.outstations.iec104_services import SERVICES
from twin.outstations.iec104_settings import Iec104OutstationSettings
from twin.points.model import PointDefinition, PointKind
from twin.points.pointmap import read_csv
from twin.protocols.iec104 import TYPES, Direction, TypeId, plain_type, tagged_type

DEFAULT_PORT = 2404
YES, NO = "X", ""


class StationSettingsError(TwinError):
    """A file of station settings cannot be read, or holds what no station has."""

    blame = Blame.SCENARIO

    def __init__(self, path: Path, fault: str) -> None:
        self.path, self.fault = path, fault
        super().__init__(f"{path}: {fault}")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the list: a heading with its clause, the columns, and the rows."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class InteroperabilityList:
    """Everything clause 9 asks of one station."""

    station: str
    sections: tuple[Section, ...]


def interoperability_list(
    station: str, points: Sequence[PointDefinition], settings: Iec104OutstationSettings, port: int = DEFAULT_PORT
) -> InteroperabilityList:
    """The list of a station with these points."""
    sections = (
        _system(station, points),
        _application_layer(points),
        *_types(points, settings),
        _functions(points, settings),
        _protocol_parameters(settings, port),
        _redundancy(settings),
        _objects(points),
    )
    return InteroperabilityList(station, sections)


def _mark(used: bool) -> str:
    return YES if used else NO


def _system(station: str, points: Sequence[PointDefinition]) -> Section:
    addresses = sorted({p.address.common_address for p in points})
    rows = (
        ("Station", station),
        ("Role", "controlled station"),
        ("Common addresses of ASDU", ", ".join(str(a) for a in addresses)),
        ("Points", str(len(points))),
    )
    return Section("9.1 System or device", ("item", "value"), rows)


def _application_layer(points: Sequence[PointDefinition]) -> Section:
    rows = (
        ("Transmission mode", "mode 1, least significant octet first"),
        ("Common address of ASDU", "2 octets"),
        ("Information object address", "3 octets, structured as the point map says"),
        ("Cause of transmission", "2 octets, with originator address"),
        ("Length of APDU", "253 octets at most in both directions"),
        ("Highest object address", str(max((p.address.ioa for p in points), default=0))),
    )
    return Section("9.5 Application layer", ("item", "value"), rows)


def _types(points: Sequence[PointDefinition], settings: Iec104OutstationSettings) -> Iterable[Section]:
    causes = _causes_by_type(points, settings)
    headings = {
        Direction.MONITOR: "9.5 Process information in monitor direction",
        Direction.CONTROL: "9.5 Process information in control direction",
        Direction.SYSTEM: "9.5 System information",
        Direction.PARAMETER: "9.5 Parameters in control direction",
    }
    for direction, heading in headings.items():
        rows = tuple(
            (str(number), spec.type_id.name, _mark(number in causes), causes.get(number, ""))
            for number, spec in sorted(TYPES.items())
            if spec.direction is direction
        )
        yield Section(heading, ("type", "name", "used", "causes"), rows)


def _causes_by_type(points: Sequence[PointDefinition], settings: Iec104OutstationSettings) -> dict[int, str]:
    causes = {t: "6, 7, 44-47" for t in SERVICES if TYPES[t].direction is not Direction.CONTROL}
    causes[TypeId.C_IC_NA_1] = causes[TypeId.C_CI_NA_1] = "6-10, 44-47"
    causes[TypeId.C_RD_NA_1] = "5, 44-47"
    causes[TypeId.P_AC_NA_1] = "6-9, 44-47"
    causes[TypeId.M_EI_NA_1] = "4"
    for point in points:
        plain = plain_type(point.address.type_id)
        if point.kind.is_output:
            causes[plain] = causes[tagged_type(plain)] = "6-10, 44-47"
            continue
        requested = "5, 37-41" if point.kind is PointKind.COUNTER else "2, 5, 20-36"
        cyclic = "1, " if settings.cyclic_ms and point.kind is not PointKind.COUNTER else ""
        causes.setdefault(plain, cyclic + requested)
        sent = tagged_type(plain) if settings.event_types == "tagged" else point.address.type_id
        spontaneous = "3, 11" if settings.return_information else "3"
        causes[sent] = spontaneous if sent != plain else f"{spontaneous}, {cyclic}{requested}"
    return causes


def _functions(points: Sequence[PointDefinition], settings: Iec104OutstationSettings) -> Section:
    groups = ", ".join(str(g) for g in sorted(settings.groups))
    counter_groups = ", ".join(str(g) for g in sorted(settings.counter_groups))
    outputs = [p for p in points if p.kind.is_output]
    models = ", ".join(sorted({p.control_model.value.replace("_", " ") for p in outputs}))
    age = settings.command_max_age_ms
    rows = (
        ("Remote initialisation (C_RP, M_EI)", YES, "general reset and reset of pending information"),
        ("Cyclic data transmission", _mark(settings.cyclic_ms > 0), _period(settings.cyclic_ms)),
        ("Background scan", _mark(settings.background_ms > 0), _period(settings.background_ms)),
        ("Read procedure", YES, "inputs"),
        ("Spontaneous transmission", YES, f"{settings.event_types} types, {settings.event_limit} events buffered"),
        ("Double transmission", NO, ""),
        ("Station interrogation", YES, f"global{', groups ' + groups if groups else ''}"),
        ("Clock synchronisation", YES, "sets the clock" if settings.clock.set_by_master else "offset is measured"),
        ("Command transmission", _mark(bool(outputs)), models),
        ("Select time-out", _mark(bool(outputs)), f"{settings.select_timeout_ms} ms"),
        ("Most age of commands with time tag", _mark(age > 0), f"{age} ms" if age else "not judged"),
        ("Activation termination", _mark(bool(outputs)), ""),
        (
            "Transmission of integrated totals",
            _mark(any(p.kind is PointKind.COUNTER for p in points)),
            f"mode {'D' if settings.report_frozen else 'C'}{', groups ' + counter_groups if counter_groups else ''}",
        ),
        ("Parameter loading", YES, "threshold, low limit, high limit; activation and deactivation"),
        ("Test procedure", YES, "C_TS_NA_1 and C_TS_TA_1"),
        ("File transfer", NO, ""),
        ("One master in control, others observe", _mark(settings.one_in_control), ""),
    )
    return Section("9.6 Basic application functions", ("function", "used", "remarks"), rows)


def _period(period_ms: int) -> str:
    return f"every {period_ms} ms" if period_ms else ""


def _protocol_parameters(settings: Iec104OutstationSettings, port: int) -> Section:
    c = settings.connection
    rows = (
        ("t1", "15 s", f"{c.t1_ms} ms", "time-out of sent or test APDUs"),
        ("t2", "10 s", f"{c.t2_ms} ms", "time-out for acknowledgements, below t1"),
        ("t3", "20 s", f"{c.t3_ms} ms", "time-out for sending test frames when idle"),
        ("k", "12 APDUs", f"{c.k} APDUs", "most difference of receive to send sequence number"),
        ("w", "8 APDUs", f"{c.w} APDUs", "latest acknowledgement after w I format APDUs"),
        ("port", str(DEFAULT_PORT), str(port), "TCP"),
    )
    return Section("9.6 Protocol parameters", ("parameter", "default", "selected", "meaning"), rows)


def _redundancy(settings: Iec104OutstationSettings) -> Section:
    rows = tuple((g.name, ", ".join(g.sources) or "any address") for g in settings.redundancy_groups)
    return Section("10 Redundant connections", ("group", "connections from"), rows or (("none", ""),))


def _objects(points: Sequence[PointDefinition]) -> Section:
    rows = tuple(
        (
            str(p.address.common_address),
            str(p.address.ioa),
            TypeId(p.address.type_id).name,
            p.name,
            p.unit,
            p.control_model.value.replace("_", " ") if p.kind.is_output else "",
        )
        for p in sorted(points, key=lambda p: (p.address.common_address, p.address.ioa))
    )
    return Section("Information objects", ("common address", "address", "type", "point", "unit", "control"), rows)


# rendering


def to_markdown(listed: InteroperabilityList) -> str:
    """The list as Markdown."""
    lines = [f"# Interoperability of station {listed.station}", "", "IEC 60870-5-104:2006, clause 9.", ""]
    for section in listed.sections:
        lines += [f"## {section.heading}", "", _line(section.columns), _line(["---"] * len(section.columns))]
        lines += [*(_line([cell.replace("|", "\\|") for cell in row]) for row in section.rows), ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


_STYLE = (
    "body{font:15px/1.4 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{border:1px solid #bbb;padding:.25rem .5rem;text-align:left}"
)


def to_html(listed: InteroperabilityList) -> str:
    """The list as a page of its own."""
    title = html.escape(f"Interoperability of station {listed.station}")
    parts = [f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>']
    parts += [f"<style>{_STYLE}</style></head><body><h1>{title}</h1><p>IEC 60870-5-104:2006, clause 9.</p>"]
    for section in listed.sections:
        parts += [f"<h2>{html.escape(section.heading)}</h2><table><tr>{_cells('th', section.columns)}</tr>"]
        parts += [*(f"<tr>{_cells('td', row)}</tr>" for row in section.rows), "</table>"]
    return "\n".join([*parts, "</body></html>\n"])


def _cells(tag: str, cells: Sequence[str]) -> str:
    return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)


_RENDERERS: dict[str, Callable[[InteroperabilityList], str]] = {"md": to_markdown, "html": to_html}


def read_settings(path: Path | None) -> Iec104OutstationSettings:
    """Station settings out of a YAML file; the standard ones without a file.

    Raises:
        StationSettingsError: it is no YAML, or holds what no station has.
    """
    if path is None:
        return Iec104OutstationSettings()
    try:
        loaded: Any = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        return Iec104OutstationSettings.model_validate(loaded or {})
    except (OSError, YAMLError) as error:
        raise StationSettingsError(path, f"it cannot be read: {str(error).splitlines()[0]}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise StationSettingsError(path, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error


@click.command("interoperability")
@click.argument("points", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--station", "stations", multiple=True, help="Only this station; may be repeated.")
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="YAML of station settings; without it the standard ones.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True)
@click.option("--format", "form", type=click.Choice(sorted(_RENDERERS)), default="html", show_default=True)
@click.option(
    "--out", "folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the lists."
)
def interoperability(
    points: Path, stations: tuple[str, ...], settings_file: Path | None, port: int, form: str, folder: Path
) -> None:
    """Write the IEC 60870-5-104 interoperability list of each station in POINTS, a point map (CSV)."""
    known, settings = read_csv(points), read_settings(settings_file)
    if unknown := [name for name in stations if name not in known.stations]:
        raise click.UsageError(f"there is no station {unknown[0]} in {points}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in stations or known.stations:
        path = folder / f"{name}.{form}"
        listed = interoperability_list(name, known.of_station(name), settings, port)
        path.write_text(_RENDERERS[form](listed), encoding="utf-8")
        click.echo(str(path))
