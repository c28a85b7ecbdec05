"""Point maps: which points there are, what equipment they belong to, and under which address.

A map is immutable, checked as a whole when it is made, and ordered by address, so that the order of rows
in a file does not matter. Its file is CSV, made for people with a spreadsheet. Not for values.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, overload

from twin.errors import Blame, TwinError
from twin.points import dnp3, modbus
from twin.points.model import QUANTITIES, ControlModel, PointAddress, PointDefinition, PointKind

TYPE_IDS: Mapping[PointKind, tuple[int, ...]] = {
    PointKind.SINGLE: (30, 1),
    PointKind.DOUBLE: (31, 3, 38),
    PointKind.MEASURAND: (36, 13, 35, 11, 34, 9, 21),
    PointKind.COUNTER: (37, 15),
    PointKind.STEP_POSITION: (32, 5),
    PointKind.BITSTRING: (33, 7, 20, 39, 40),
    PointKind.SINGLE_COMMAND: (45, 58),
    PointKind.DOUBLE_COMMAND: (46, 59),
    PointKind.STEP_COMMAND: (47, 60),
    PointKind.SETPOINT: (50, 63, 49, 62, 48, 61),
    PointKind.BITSTRING_COMMAND: (51, 64),
}
"""IEC 60870-5-104 type identifications that can carry each kind, the usual one first (IEC 60870-5-101, 7.2.1)."""

MAX_IOA = 2**24 - 1
MAX_COMMON_ADDRESS = 2**16 - 2

_INDICATIONS = (
    "fault_forward",
    "fault_reverse",
    "trip",
    "reclose_active",
    "lockout",
    "spring_charged",
    "local",
)
_QUANTITY_KINDS = {
    "position": PointKind.DOUBLE,
    "i_a": PointKind.MEASURAND,
    "p_kw": PointKind.MEASURAND,
    "q_kvar": PointKind.MEASURAND,
    "v_kv": PointKind.MEASURAND,
    **dict.fromkeys(("fault_l1_a", "fault_l2_a", "fault_l3_a", "fault_x_ohm"), PointKind.MEASURAND),
    "operate": PointKind.DOUBLE_COMMAND,
    "tap": PointKind.STEP_POSITION,
    "steps_in": PointKind.STEP_POSITION,
    "step": PointKind.STEP_COMMAND,
    "q_set_kvar": PointKind.MEASURAND,
    "set_q_kvar": PointKind.SETPOINT,
    "f_hz": PointKind.MEASURAND,
    "ufls_trip": PointKind.SINGLE,
    **{f"ufls_armed_{stage}": PointKind.SINGLE for stage in range(1, 9)},
    **{f"arm_ufls_{stage}": PointKind.SINGLE_COMMAND for stage in range(1, 9)},
    **dict.fromkeys(_INDICATIONS, PointKind.SINGLE),
}
"""The kind that a quantity must have; quantities not in here may have any."""


@dataclass(frozen=True, slots=True)
class PointFinding:
    """One thing wrong with a point map: ``row`` counts points from 0 (-1: the map as a whole)."""

    row: int
    column: str
    text: str
    line: int = 0

    def __str__(self) -> str:
        place = f"line {self.line}, " if self.line else f"point {self.row}, " if self.row >= 0 else ""
        return f"{place}column {self.column}: {self.text}"


class PointMapError(TwinError):
    """A point map contradicts itself or cannot be read; carries all findings."""

    blame = Blame.SCENARIO

    def __init__(self, source: str, findings: Sequence[PointFinding]) -> None:
        self.source = source
        self.findings = tuple(findings)
        super().__init__(f"{source}: " + "; ".join(str(finding) for finding in self.findings))


class UnknownPointError(TwinError, KeyError):
    """A point is asked for that the map does not have."""

    blame = Blame.SCENARIO

    def __init__(self, point: str, nearest: str = "") -> None:
        self.point = point
        self.nearest = nearest
        self.sentence = f"there is no point {point}" + (f"; did you mean {nearest}?" if nearest else "")
        super().__init__(self.sentence)

    def __str__(self) -> str:
        return self.sentence


class PointMap(Sequence[PointDefinition]):
    """Points in the order of (common address, information object address).

    Raises:
        PointMapError: with every finding of :func:`validate_points`.
    """

    def __init__(self, points: Iterable[PointDefinition], *, source: str = "point map") -> None:
        given = tuple(points)
        findings = validate_points(given)
        if findings:
            raise PointMapError(source, findings)
        self._points = tuple(sorted(given, key=lambda p: (p.address.common_address, p.address.ioa, p.name)))

    @overload
    def __getitem__(self, index: int) -> PointDefinition: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PointDefinition]: ...
    def __getitem__(self, index: int | slice) -> PointDefinition | Sequence[PointDefinition]:
        return self._points[index]

    def __len__(self) -> int:
        return len(self._points)

    def __iter__(self) -> Iterator[PointDefinition]:
        return iter(self._points)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PointMap) and self._points == other._points

    def __hash__(self) -> int:
        return hash(self._points)

    def __repr__(self) -> str:
        return f"PointMap({len(self)} points of {len(self.stations)} stations)"

    @cached_property
    def stations(self) -> tuple[str, ...]:
        """The stations, by common address."""
        return tuple(self._by_station)

    @cached_property
    def _by_station(self) -> dict[str, tuple[PointDefinition, ...]]:
        groups: dict[str, list[PointDefinition]] = {}
        for point in self._points:
            groups.setdefault(point.station, []).append(point)
        return {station: tuple(points) for station, points in groups.items()}

    @cached_property
    def _by_name(self) -> dict[str, PointDefinition]:
        return {point.name: point for point in self._points}

    @cached_property
    def _by_equipment(self) -> dict[tuple[str, str], PointDefinition]:
        return {(point.equipment, point.quantity): point for point in self._points}

    @cached_property
    def _by_address(self) -> dict[tuple[int, int], PointDefinition]:
        return {(point.address.common_address, point.address.ioa): point for point in self._points}

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """The row of each point name: the index of arrays kept beside a map."""
        return {point.name: row for row, point in enumerate(self._points)}

    def find(self, name: str) -> PointDefinition | None:
        """The point called ``name`` (names are unique in a map), or None."""
        return self._by_name.get(name)

    def point(self, name: str) -> PointDefinition:
        """The point called ``name``.

        Raises:
            UnknownPointError: there is none; suggests the nearest.
        """
        found = self._by_name.get(name)
        if found is None:
            raise UnknownPointError(name, nearest_name(name, self._by_name))
        return found

    def at(self, station: str, name: str) -> PointDefinition | None:
        """The point called ``name`` if it belongs to ``station``, else None."""
        found = self._by_name.get(name)
        return found if found is not None and found.station == station else None

    def of_station(self, station: str) -> tuple[PointDefinition, ...]:
        """The points of a station by address; empty if it has none."""
        return self._by_station.get(station, ())

    def of_equipment(self, equipment: str, quantity: str) -> PointDefinition | None:
        """The point of an equipment's quantity, or None."""
        return self._by_equipment.get((equipment, quantity))

    def at_address(self, common_address: int, ioa: int) -> PointDefinition | None:
        """The point under an address, or None."""
        return self._by_address.get((common_address, ioa))


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The known name that looks most like ``name``, empty if none does."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return near[0] if near else ""


# --- validation ------------------------------------------------------------------------------------------------


def validate_points(points: Sequence[PointDefinition]) -> tuple[PointFinding, ...]:
    """Everything wrong with a set of points, row by row; empty if nothing is."""
    findings = [finding for row, point in enumerate(points) for finding in _point_findings(row, point)]
    findings += _duplicates(points, "point", lambda p: p.name, lambda p: f"{p.name} is used twice")
    findings += _duplicates(
        points,
        "ioa",
        lambda p: (p.address.common_address, p.address.ioa),
        lambda p: f"address {p.address.common_address}/{p.address.ioa} is used twice",
    )
    findings += _duplicates(
        points,
        "quantity",
        lambda p: (p.equipment, p.quantity),
        lambda p: f"{p.quantity} of {p.equipment} is measured twice",
    )
    findings += _station_findings(points)
    findings += _modbus_findings(points)
    findings += _dnp3_findings(points)
    findings += _feedback_findings(points)
    return tuple(sorted(findings, key=lambda finding: finding.row))


def _point_findings(row: int, point: PointDefinition) -> Iterator[PointFinding]:
    for column, text in (("station", point.station), ("point", point.name), ("equipment", point.equipment)):
        if not text:
            yield PointFinding(row, column, "is empty")
    address = point.address
    if not 1 <= address.common_address <= MAX_COMMON_ADDRESS:
        yield PointFinding(row, "common_address", f"{address.common_address} is not within 1 to {MAX_COMMON_ADDRESS}")
    if not 1 <= address.ioa <= MAX_IOA:
        yield PointFinding(row, "ioa", f"{address.ioa} is not within 1 to {MAX_IOA}")
    if address.type_id not in TYPE_IDS[point.kind]:
        usual = TYPE_IDS[point.kind][0]
        yield PointFinding(row, "type_id", f"{address.type_id} cannot carry a {point.kind.value}; usual is {usual}")
    if not 0 <= point.dead_band < float("inf"):
        yield PointFinding(row, "dead_band", f"{point.dead_band} is not a change of at least 0")
    yield from _quantity_findings(row, point)


def _quantity_findings(row: int, point: PointDefinition) -> Iterator[PointFinding]:
    if point.quantity not in QUANTITIES:
        yield PointFinding(row, "quantity", _unknown(point.quantity, QUANTITIES))
        return
    expected = _QUANTITY_KINDS.get(point.quantity, point.kind)
    if point.kind is not expected:
        yield PointFinding(row, "kind", f"{point.quantity} is a {expected.value}, not a {point.kind.value}")


def _duplicates(
    points: Sequence[PointDefinition],
    column: str,
    key: Callable[[PointDefinition], Any],
    text: Callable[[PointDefinition], str],
) -> list[PointFinding]:
    seen: dict[Any, int] = {}
    findings = []
    for row, point in enumerate(points):
        if seen.setdefault(key(point), row) != row:
            findings.append(PointFinding(row, column, text(point)))
    return findings


def _station_findings(points: Sequence[PointDefinition]) -> list[PointFinding]:
    """A station has one common address and shares it with no other."""
    address_of: dict[str, int] = {}
    station_of: dict[int, str] = {}
    findings = []
    for row, point in enumerate(points):
        address = point.address.common_address
        if address_of.setdefault(point.station, address) != address:
            text = f"{point.station} already has the common address {address_of[point.station]}"
            findings.append(PointFinding(row, "common_address", text))
        elif station_of.setdefault(address, point.station) != point.station:
            text = f"{address} is already the common address of {station_of[address]}"
            findings.append(PointFinding(row, "common_address", text))
    return findings


def _modbus_findings(points: Sequence[PointDefinition]) -> list[PointFinding]:
    """Addresses that Modbus does not have, do not suit their point, or lie on each other."""
    placed = [(row, point, point.modbus) for row, point in enumerate(points) if point.modbus is not None]
    findings = []
    for row, point, address in placed:
        findings += [PointFinding(row, *wrong) for wrong in modbus.address_findings(address)]
        if point.kind.is_output and not address.table.is_writable:
            findings.append(PointFinding(row, "modbus_table", f"{address.table.value} cannot be written"))
    places = [(row, point.address.common_address, address) for row, point, address in placed]
    return findings + [PointFinding(row, "modbus_register", text) for row, text in modbus.overlaps(places)]


def _dnp3_findings(points: Sequence[PointDefinition]) -> list[PointFinding]:
    """Addresses that DNP3 does not have, do not suit their point, or are used twice in a station."""
    findings = []
    seen: dict[tuple[str, int, int], str] = {}
    for row, point in enumerate(points):
        if point.dnp3 is None:
            continue
        findings += [PointFinding(row, *wrong) for wrong in dnp3.address_findings(point.kind.value, point.dnp3)]
        place = (point.station, point.dnp3.group, point.dnp3.index)
        other = seen.setdefault(place, point.name)
        if other != point.name:
            text = f"index {place[2]} of group {place[1]} is already that of {other}"
            findings.append(PointFinding(row, "dnp3_index", text))
    return findings


def _feedback_findings(points: Sequence[PointDefinition]) -> list[PointFinding]:
    inputs = {(p.station, p.name): p for p in points if not p.kind.is_output}
    findings = []
    for row, point in enumerate(points):
        if not point.feedback:
            continue
        if not point.kind.is_output:
            findings.append(PointFinding(row, "feedback", f"{point.name} is an input and has no feedback"))
        elif (point.station, point.feedback) not in inputs:
            known = [name for station, name in inputs if station == point.station]
            text = f"{_unknown(point.feedback, known)} among the inputs of {point.station}"
            findings.append(PointFinding(row, "feedback", text))
    return findings


def _unknown(name: str, known: Iterable[str]) -> str:
    nearest = nearest_name(name, known)
    return f"{name!r} is unknown" + (f" (did you mean {nearest}?)" if nearest else "")


# --- CSV -------------------------------------------------------------------------------------------------------

COLUMNS = (
    "station",
    "point",
    "kind",
    "equipment",
    "quantity",
    "common_address",
    "ioa",
    "type_id",
    "unit",
    "dead_band",
    "feedback",
    "control_model",
    *modbus.COLUMNS,
    *dnp3.COLUMNS,
)
_MAY_BE_ABSENT = ("unit", "dead_band", "feedback", "control_model", *modbus.COLUMNS, *dnp3.COLUMNS)


def to_csv(points: PointMap, *, comment: str = "") -> str:
    """The map as CSV; ``comment`` goes on top, each line behind a ``#``."""
    buffer = io.StringIO()
    buffer.writelines(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_cells(point) for point in points)
    return buffer.getvalue()


def _cells(point: PointDefinition) -> tuple[str, ...]:
    address = point.address
    numbers = (str(address.common_address), str(address.ioa), str(address.type_id))
    control_model = point.control_model.value if point.kind.is_output else ""
    return (
        point.station,
        point.name,
        point.kind.value,
        point.equipment,
        point.quantity,
        *numbers,
        point.unit,
        _number_text(point.dead_band),
        point.feedback,
        control_model,
        *modbus.to_cells(point.modbus),
        *dnp3.to_cells(point.dnp3),
    )


def _number_text(value: float) -> str:
    if not value:
        return ""
    return str(int(value)) if value.is_integer() else repr(value)


def write_csv(points: PointMap, path: Path, *, comment: str = "") -> None:
    """Write the map to ``path``."""
    path.write_text(to_csv(points, comment=comment), encoding="utf-8")


def read_csv(path: Path) -> PointMap:
    """The map in a CSV file.

    Raises:
        PointMapError: the file is missing, or with every line and column at fault.
    """
    if not path.is_file():
        raise PointMapError(str(path), [PointFinding(-1, "point", "the file does not exist")])
    return from_csv(path.read_text(encoding="utf-8-sig", errors="replace"), source=str(path))


def from_csv(text: str, *, source: str = "point map") -> PointMap:
    """The map in a CSV text: comma or semicolon, columns in any order, lines from ``#`` on are comments.

    Raises:
        PointMapError: with every line and column at fault.
    """
    rows = _Rows(text)
    findings = [*rows.findings]
    read = []
    if not findings:
        read = [_definition(line, cells, findings) for line, cells in rows]
    if findings:
        raise PointMapError(source, findings)
    points = [point for point in read if point is not None]
    lines = [line for line, _ in rows]
    located = [_at_line(finding, lines) for finding in validate_points(points)]
    if located:
        raise PointMapError(source, located)
    return PointMap(points, source=source)


def _at_line(finding: PointFinding, lines: Sequence[int]) -> PointFinding:
    return PointFinding(finding.row, finding.column, finding.text, lines[finding.row])


class _Rows:
    """The rows of a CSV text as (line, cells by column), and what is wrong with its header."""

    def __init__(self, text: str) -> None:
        self.findings: list[PointFinding] = []
        lines = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if _is_data(line)]
        if not lines:
            self.findings.append(PointFinding(-1, "station", "the file has no header line"))
            return
        self._lines = lines
        header_line, header = lines[0]
        self._delimiter = ";" if header.count(";") > header.count(",") else ","
        self._columns = [column.strip() for column in header.split(self._delimiter)]
        self.findings += _header_findings(header_line, self._columns)

    def __iter__(self) -> Iterator[tuple[int, dict[str, str]]]:
        for number, line in self._lines[1:]:
            cells = [cell.strip() for cell in next(csv.reader([line], delimiter=self._delimiter))]
            yield number, dict(zip(self._columns, cells, strict=False))


def _is_data(line: str) -> bool:
    return bool(line.strip(" ,;\t")) and not line.lstrip(' "').startswith("#")


def _header_findings(line: int, columns: Sequence[str]) -> list[PointFinding]:
    findings = [PointFinding(-1, c, "is not a column" + _hint(c), line) for c in columns if c not in COLUMNS]
    missing = [c for c in COLUMNS if c not in columns and c not in _MAY_BE_ABSENT]
    return findings + [PointFinding(-1, c, "is missing in the header", line) for c in missing]


def _hint(column: str) -> str:
    nearest = nearest_name(column, COLUMNS)
    return f" (did you mean {nearest}?)" if nearest else ""


E_ = TypeVar("E_", bound=Enum)


@dataclass
class _Cells:
    """Reads the cells of one line and notes what cannot be read."""

    line: int
    cells: Mapping[str, str]
    findings: list[PointFinding]

    def text(self, column: str) -> str:
        return self.cells.get(column, "")

    def whole(self, column: str) -> int:
        try:
            return int(self.text(column))
        except ValueError:
            self._note(column, f"{self.text(column)!r} is not a whole number")
            return 0

    def number(self, column: str) -> float:
        try:
            return float(self.text(column) or 0)
        except ValueError:
            self._note(column, f"{self.text(column)!r} is not a number")
            return 0.0

    def member(self, column: str, enum: type[E_]) -> E_ | None:
        known = {str(member.value): member for member in enum}
        found = known.get(self.text(column))
        if found is None:
            self._note(column, _unknown(self.text(column), known))
        return found

    def _note(self, column: str, text: str) -> None:
        self.findings.append(PointFinding(-1, column, text, self.line))


def _definition(line: int, cells: Mapping[str, str], findings: list[PointFinding]) -> PointDefinition | None:
    row = _Cells(line, cells, findings)
    kind = row.member("kind", PointKind)
    stated = row.text("control_model") != ""
    control_model = row.member("control_model", ControlModel) if stated else ControlModel.SELECT_BEFORE_OPERATE
    address = PointAddress(row.whole("common_address"), row.whole("ioa"), row.whole("type_id"))
    dead_band = row.number("dead_band")
    on_modbus, wrong = modbus.from_cells(cells)
    on_dnp3, wrong_dnp3 = dnp3.from_cells(row.text("kind"), cells)
    findings += [PointFinding(-1, column, text, line) for column, text in (*wrong, *wrong_dnp3)]
    if kind is None or control_model is None:
        return None
    return PointDefinition(
        station=row.text("station"),
        name=row.text("point"),
        kind=kind,
        equipment=row.text("equipment"),
        quantity=row.text("quantity"),
        address=address,
        unit=row.text("unit"),
        dead_band=dead_band,
        feedback=row.text("feedback"),
        control_model=control_model,
        modbus=on_modbus,
        dnp3=on_dnp3,
    )
