"""Reads the files of a derivation back and checks them against the network.

Every finding names file and line, and the nearest known name where one was mistyped; all are raised at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from twin.derive.derivation import Derivation
from twin.derive.files import DEVICES, FILES, POINTS, STATIONS, ZONES
from twin.derive.settings import DeviceSettings, Settings, Station
from twin.errors import Blame, TwinError
from twin.network.model import EquipmentKind, Network, SwitchKind
from twin.network.topology import Zones, zones
from twin.points.pointmap import PointMap, PointMapError, from_csv, nearest_name


@dataclass(frozen=True, slots=True)
class FileFinding:
    """One thing wrong in a file; ``line`` counts from 1, 0 means the file as a whole."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.text}" if self.line else f"{self.file}: {self.text}"


class DerivationFileError(TwinError):
    """The files of a derivation cannot be read or do not fit the network; carries all findings."""

    blame = Blame.SCENARIO

    def __init__(self, folder: Path, findings: Sequence[FileFinding]) -> None:
        self.folder = folder
        self.findings = tuple(findings)
        super().__init__(f"{folder}: " + "; ".join(str(finding) for finding in self.findings))


class StationsFile(Settings):
    """What ``stations.yaml`` holds."""

    network: str
    stations: tuple[Station, ...]


class DevicesFile(DeviceSettings):
    """What ``devices.yaml`` holds."""

    network: str


def read(folder: Path, network: Network) -> Derivation:
    """The derivation in ``folder``, checked against its network.

    Raises:
        DerivationFileError: with every file and line at fault.
    """
    missing = [FileFinding(file, 0, "is missing") for file in FILES if not (folder / file).is_file()]
    if missing:
        raise DerivationFileError(folder, missing)
    stations = _Document(folder, STATIONS, StationsFile)
    devices = _Document(folder, DEVICES, DevicesFile)
    points, point_findings = _read_points(folder / POINTS)
    found = zones(network)
    findings = [*stations.findings, *devices.findings, *point_findings, *_zone_findings(folder / ZONES, found)]
    if stations.content is not None:
        findings += _station_findings(stations, stations.content, network)
    if devices.content is not None:
        findings += _device_findings(devices, devices.content, network)
    if stations.content is not None and points is not None:
        findings += _point_findings(points, stations.content.stations, network)
    if findings or stations.content is None or devices.content is None or points is None:
        raise DerivationFileError(folder, findings)
    settings = {kind: getattr(devices.content, kind) for kind in DeviceSettings.model_fields}
    return Derivation(network, stations.content.stations, points, DeviceSettings(**settings), found)


# --- files -----------------------------------------------------------------------------------------------------

Content = TypeVar("Content", bound=Settings)


class _Document(Generic[Content]):
    """A YAML file read into its model, able to tell the line of any part of it."""

    def __init__(self, folder: Path, file: str, model: type[Content]) -> None:
        self.file = file
        self.findings: list[FileFinding] = []
        self.content: Content | None = None
        self._data: Any = None
        try:
            self._data = YAML().load(_text(folder / file))
            self.content = model.model_validate(_plain(self._data))
        except YAMLError as error:
            self.findings.append(_yaml_finding(file, error))
        except ValidationError as error:
            self.findings += [self._schema_finding(model, detail) for detail in error.errors()]

    def line(self, path: Sequence[int | str]) -> int:
        """The line of the part at ``path``, or of the last part on the way that is there."""
        data, line = self._data, 1
        for key in path:
            if isinstance(data, Mapping) and key in data:
                line = data.lc.key(key)[0] + 1  # type: ignore[attr-defined]
            elif isinstance(data, list) and isinstance(key, int) and key < len(data):
                line = data.lc.item(key)[0] + 1  # type: ignore[attr-defined]
            else:
                break
            data = data[key]
        return int(line)

    def finding(self, path: Sequence[int | str], text: str) -> FileFinding:
        return FileFinding(self.file, self.line(path), text)

    def _schema_finding(self, model: type[Content], detail: Any) -> FileFinding:
        path = tuple(detail["loc"])
        if detail["type"] == "extra_forbidden":
            return self.finding(path, f"{path[-1]} is not a setting{_hint(str(path[-1]), _field_names(model))}")
        place = ".".join(str(part) for part in path if isinstance(part, str)) or "the file"
        return self.finding(path, f"{place}: {detail['msg'][:1].lower()}{detail['msg'][1:]}")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig", errors="replace")


def _yaml_finding(file: str, error: YAMLError) -> FileFinding:
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return FileFinding(file, error.problem_mark.line + 1, f"is not YAML: {error.problem}")
    return FileFinding(file, 0, f"is not YAML: {' '.join(str(error).split())}")


def _plain(data: Any) -> Any:
    """Round-trip containers and scalars as plain ones."""
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_plain(value) for value in data]
    if isinstance(data, bool) or data is None:
        return data
    for plain in (int, float, str):
        if isinstance(data, plain):
            return plain(data)
    return data


def _field_names(model: type[Settings]) -> list[str]:
    """The field names of a model and of the models in it."""
    properties = model.model_json_schema()
    inner = [list(schema.get("properties", ())) for schema in properties.get("$defs", {}).values()]
    return [*properties["properties"], *(name for names in inner for name in names)]


def _hint(name: str, known: Iterable[str]) -> str:
    nearest = nearest_name(name, known)
    return f" (did you mean {nearest}?)" if nearest else ""


def _read_points(path: Path) -> tuple[PointMap | None, list[FileFinding]]:
    try:
        return from_csv(_text(path), source=str(path)), []
    except PointMapError as error:
        return None, [FileFinding(POINTS, f.line, f"column {f.column}: {f.text}") for f in error.findings]


# --- checks ----------------------------------------------------------------------------------------------------


def _network_findings(document: _Document[Any], stated: str, network: Network) -> Iterator[FileFinding]:
    if stated != network.name:
        yield document.finding(("network",), f"is for network {stated}, not {network.name}")


def _station_findings(
    document: _Document[StationsFile], content: StationsFile, network: Network
) -> Iterator[FileFinding]:
    yield from _network_findings(document, content.network, network)
    taken: set[tuple[str, str | int]] = set()
    for row, station in enumerate(content.stations):
        for kind, value, path in _claims(station):
            if (kind, value) in taken:
                yield document.finding(("stations", row, *path), f"the {kind} {value} is used twice")
            taken.add((kind, value))
        for kind, value, path in _claims(station)[2:]:
            wanted = EquipmentKind.NODE if kind == "node" else EquipmentKind.SWITCH
            yield from _unknown_equipment(document, ("stations", row, *path), str(value), wanted, network)


def _claims(station: Station) -> list[tuple[str, str | int, tuple[int | str, ...]]]:
    """What a station has for itself alone: (what, which, where in its entry); nodes and switches from the third on."""
    return [
        ("name", station.name, ("name",)),
        ("common address", station.common_address, ("common_address",)),
        *(("node", node, ("nodes", i)) for i, node in enumerate(station.nodes)),
        *(("switch", bay, ("bays", i)) for i, bay in enumerate(station.bays)),
    ]


def _unknown_equipment(
    document: _Document[Any], path: Sequence[int | str], name: str, kind: EquipmentKind, network: Network
) -> Iterator[FileFinding]:
    found = network.find(name)
    if found is None or found.kind is not kind:
        known = [other for other, ref in network.index.items() if ref.kind is kind]
        yield document.finding(path, f"{name} is not a {kind.value} of the network{_hint(name, known)}")


_KINDS: Mapping[str, tuple[SwitchKind, ...]] = {
    "relays": (SwitchKind.BREAKER,),
    "reclosers": (SwitchKind.BREAKER,),
    "breakers": (SwitchKind.BREAKER,),
    "load_break_switches": (SwitchKind.LOAD_BREAK_SWITCH, SwitchKind.DISCONNECTOR),
    "indicators": tuple(SwitchKind),
}


def _device_findings(document: _Document[DevicesFile], content: DevicesFile, network: Network) -> Iterator[FileFinding]:
    yield from _network_findings(document, content.network, network)
    for kind, allowed in _KINDS.items():
        seen: dict[str, None] = {}
        for row, settings in enumerate(getattr(content, kind)):
            key = "breaker" if hasattr(settings, "breaker") else "switch"
            name, path = getattr(settings, key), (kind, row, key)
            if name in seen:
                yield document.finding(path, f"{name} stands under {kind} twice")
            seen[name] = None
            unknown = list(_unknown_equipment(document, path, name, EquipmentKind.SWITCH, network))
            yield from unknown
            if not unknown and network.switches.kind[network.index[name].index] not in allowed:
                found = SwitchKind(network.switches.kind[network.index[name].index])
                text = f"{name} is a {found.name.lower().replace('_', ' ')}, which has no place under {kind}"
                yield document.finding(path, text)


def _point_findings(points: PointMap, stations: Sequence[Station], network: Network) -> Iterator[FileFinding]:
    for point in points:
        if point.equipment not in network.index:
            hint = _hint(point.equipment, network.index)
            yield FileFinding(POINTS, 0, f"point {point.name}: {point.equipment} is not in the network{hint}")
    by_name = {station.name: station for station in stations}
    for name in points.stations:
        station, address = by_name.get(name), points.of_station(name)[0].address.common_address
        if station is None:
            yield FileFinding(POINTS, 0, f"there is no station {name} in {STATIONS}{_hint(name, by_name)}")
        elif station.common_address != address:
            text = f"{name} has the common address {address} here and {station.common_address} in {STATIONS}"
            yield FileFinding(POINTS, 0, text)


def _zone_findings(path: Path, found: Zones) -> Iterator[FileFinding]:
    """The names of the zones stand one a line; only their names are looked at, which spares reading the YAML."""
    stated = re.findall(r"^ *- \{name: ['\"]?(.+?)['\"]?, nodes: ", _text(path), flags=re.MULTILINE)
    if tuple(stated) != found.names:
        yield FileFinding(ZONES, 0, "does not fit the switches of the network; derive anew")
