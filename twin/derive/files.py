"""Writes the files of a derivation: YAML and CSV that a person can read, edit and keep under version control.

``stations.yaml``, ``points.csv`` and ``devices.yaml`` are what the twin uses; ``zones.yaml`` is for reading and only
tells whether the folder still fits its network. ``twin.derive.reading`` reads them back. Each file carries
a digest of its content as derived, so that a file somebody edited is not overwritten by accident.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from twin.derive.derivation import Derivation
from twin.derive.settings import DeviceSettings
from twin.errors import Blame, TwinError
from twin.network.model import Network
from twin.network.topology import Topology, Zones
from twin.points.pointmap import to_csv

STATIONS = "stations.yaml"
POINTS = "points.csv"
DEVICES = "devices.yaml"
ZONES = "zones.yaml"
FILES = (STATIONS, POINTS, DEVICES, ZONES)

_DIGEST = re.compile(r"^# digest: ([0-9a-f]{16})\b", re.MULTILINE)
_ABOUT = {
    STATIONS: "Stations (RTUs) of network {network}: IEC 60870-5-104 common address, nodes of the busbar, bays\n"
    "(switches). "
    "Set remote to false for a station without telecontrol and delete its points in points.csv.",
    POINTS: "Points of the telecontrolled stations of network {network}: equipment and quantity on one side,\n"
    "addresses (IEC 60870-5-104, Modbus) on the other. dead_band is in unit; feedback names the input that confirms a\n"
    "command. "
    "The order of rows does not matter.",
    DEVICES: "Settings of the field devices of network {network}: times in ms, currents in A.\n"
    "A breaker without an entry under reclosers does not reclose.",
    ZONES: "Zones of network {network}: the sections that its switches can isolate, with what each holds.\n"
    "For reading only: zones follow from where switches stand in the network.",
}


class EditedFilesError(TwinError):
    """Writing would overwrite files that somebody edited."""

    blame = Blame.SCENARIO

    def __init__(self, folder: Path, files: Sequence[str]) -> None:
        self.folder = folder
        self.files = tuple(files)
        super().__init__(f"{folder}: {', '.join(files)} were edited since they were derived; --force overwrites them")


# --- writing ---------------------------------------------------------------------------------------------------


def write(derivation: Derivation, folder: Path, *, force: bool = False) -> tuple[Path, ...]:
    """Write the files of a derivation into ``folder``, which is made if it is not there.

    Raises:
        EditedFilesError: files there were edited (or are not of this making) and ``force`` is False;
            nothing is written.
    """
    edited = edited_files(folder)
    if edited and not force:
        raise EditedFilesError(folder, edited)
    folder.mkdir(parents=True, exist_ok=True)
    network = derivation.network
    texts = {
        STATIONS: _yaml({"network": network.name, "stations": [_flow(s) for s in derivation.stations]}),
        POINTS: to_csv(derivation.points),
        DEVICES: _yaml({"network": network.name, **_devices(derivation.devices)}),
        ZONES: _yaml({"network": network.name, "zones": _zone_entries(network, derivation.zones)}),
    }
    for file, body in texts.items():
        (folder / file).write_text(_head(file, network.name, body) + body, encoding="utf-8")
    return tuple(folder / file for file in texts)


def edited_files(folder: Path) -> tuple[str, ...]:
    """Which of the files in ``folder`` do not have the content that they were written with."""
    return tuple(file for file in FILES if (folder / file).is_file() and _is_edited(folder / file))


def _is_edited(path: Path) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    stated = _DIGEST.search(text)
    if stated is None:
        return True
    _, _, body = text[stated.end() :].partition("\n")
    return _digest(body) != stated.group(1)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def _head(file: str, network: str, body: str) -> str:
    lines = _ABOUT[file].format(network=network).splitlines()
    lines.append(f"digest: {_digest(body)} (while it fits, `twin derive` may overwrite this file)")
    return "".join(f"# {line}\n" for line in lines)


def _yaml(data: Mapping[str, Any]) -> str:
    emitter = YAML()
    emitter.width = 10_000
    emitter.indent(mapping=2, sequence=4, offset=2)
    buffer = io.StringIO()
    emitter.dump(dict(data), buffer)
    return buffer.getvalue()


def _flow(model: BaseModel) -> CommentedMap:
    """One entry, on one line."""
    return _flow_map(model.model_dump(mode="json"))


def _flow_map(data: Mapping[str, Any]) -> CommentedMap:
    entry = CommentedMap((key, _flow_list(value) if isinstance(value, list) else value) for key, value in data.items())
    entry.fa.set_flow_style()
    return entry


def _flow_list(values: Iterable[Any]) -> CommentedSeq:
    entry = CommentedSeq(values)
    entry.fa.set_flow_style()
    return entry


def _devices(devices: DeviceSettings) -> dict[str, list[CommentedMap]]:
    return {kind: [_flow(settings) for settings in getattr(devices, kind)] for kind in DeviceSettings.model_fields}


def _zone_entries(network: Network, found: Zones) -> list[CommentedMap]:
    nodes, branches, borders = _members(found.node_zone), _members(found.branch_zone), _borders(found)
    node_customers = Topology(network).node_customers
    return [
        _flow_map(
            {
                "name": name,
                "nodes": [network.nodes.names[i] for i in nodes.get(zone, ())],
                "branches": [network.branch_names[i] for i in branches.get(zone, ())],
                "switches": [network.switches.names[i] for i in borders.get(zone, ())],
                "customers": int(sum(node_customers[i] for i in nodes.get(zone, ()))),
            }
        )
        for zone, name in enumerate(found.names)
    ]


def _members(zone_of: Iterable[int]) -> dict[int, list[int]]:
    members: dict[int, list[int]] = {}
    for row, zone in enumerate(zone_of):
        members.setdefault(int(zone), []).append(row)
    return members


def _borders(found: Zones) -> dict[int, list[int]]:
    borders: dict[int, list[int]] = {}
    for row, (a, b) in enumerate(zip(found.switch_zone_a, found.switch_zone_b, strict=True)):
        for zone in () if a == b else (a, b):
            borders.setdefault(int(zone), []).append(row)
    return borders
