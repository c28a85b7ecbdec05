"""Places on Modbus of derived points: from the bay slot ``s`` and order ``k`` in their information object address.

As there, a bay's points and the bays behind it stay where they are when a point or a last bay is added. One unit:

    discrete inputs     16 s        position (two bits: open, closed)     16 s + 2 + k   indications
    input registers     20 s + 2 k  measurands (float32); slot 0 has the voltages of the nodes
    coils               16 s + k    commands                              32 768 + 2 n   regulating steps (lower, raise)
    holding registers   2 n         set points (float32)
    input registers     32 768 + n  step positions (int16)                49 152 + 2 n   counters (uint32)

with n = 10 s + k. A station where that gives two points one place has its points one behind the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from twin.points.modbus import ModbusAddress, Table, address_findings, overlaps
from twin.points.modbus_layout import PLACES, with_places
from twin.points.model import PointDefinition, PointKind
from twin.points.pointmap import PointMap

_UNIT = 1
_REGISTER: Mapping[PointKind, Callable[[int, int], int]] = {
    PointKind.DOUBLE: lambda s, k: 16 * s,
    PointKind.SINGLE: lambda s, k: 16 * s + 2 + k,
    PointKind.MEASURAND: lambda s, k: 20 * s + 2 * k,
    PointKind.STEP_POSITION: lambda s, k: 32_768 + 10 * s + k,
    PointKind.COUNTER: lambda s, k: 49_152 + 2 * (10 * s + k),
    PointKind.DOUBLE_COMMAND: lambda s, k: 16 * s + k,
    PointKind.SINGLE_COMMAND: lambda s, k: 16 * s + k,
    PointKind.STEP_COMMAND: lambda s, k: 32_768 + 2 * (10 * s + k),
    PointKind.SETPOINT: lambda s, k: 2 * (10 * s + k),
}


def with_modbus(points: PointMap) -> PointMap:
    """Each point with its place on Modbus as well."""
    return PointMap(point for station in points.stations for point in _placed(points.of_station(station)))


def _placed(points: tuple[PointDefinition, ...]) -> tuple[PointDefinition, ...]:
    """The points of a station with their places."""
    placed = tuple(replace(point, modbus=_place(point)) for point in points)
    found = [(row, 0, point.modbus) for row, point in enumerate(placed) if point.modbus is not None]
    if any(overlaps(found)) or any(wrong for _, _, address in found for wrong in address_findings(address)):
        return with_places(points)
    return placed


def _place(point: PointDefinition) -> ModbusAddress | None:
    if point.kind not in PLACES:
        return None
    table, data_type = PLACES[point.kind]
    page, n = divmod(point.address.ioa, 10_000)
    slot, order = divmod(n % 1_000, 10)
    return ModbusAddress(_UNIT, Table(table), _REGISTER[point.kind](100 * page + slot, order), data_type)
