"""Gives the points of a station their places on Modbus, where the map gives none.

One unit; each table from 0 without holes, in the order of the map, so that few requests read it:

    discrete inputs    double points (two bits: open, closed), then single points
    input registers    measurands (float32), then counters (uint32), then step positions (int16)
    coils              double and single commands (one coil), then regulating steps (two coils: lower, raise)
    holding registers  set points (float32)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from twin.points.modbus import DataType, ModbusAddress, Table
from twin.points.model import PointDefinition, PointKind

PLACES: Mapping[PointKind, tuple[Table, DataType]] = {
    PointKind.DOUBLE: (Table.DISCRETE, DataType.PAIR),
    PointKind.SINGLE: (Table.DISCRETE, DataType.BIT),
    PointKind.MEASURAND: (Table.INPUT, DataType.FLOAT32),
    PointKind.COUNTER: (Table.INPUT, DataType.UINT32),
    PointKind.STEP_POSITION: (Table.INPUT, DataType.INT16),
    PointKind.DOUBLE_COMMAND: (Table.COIL, DataType.BIT),
    PointKind.SINGLE_COMMAND: (Table.COIL, DataType.BIT),
    PointKind.STEP_COMMAND: (Table.COIL, DataType.PAIR),
    PointKind.SETPOINT: (Table.HOLDING, DataType.FLOAT32),
}
"""Where the points of a kind go, in the order in which they are placed; kinds that are absent have no place."""


def with_places(points: Sequence[PointDefinition], unit: int = 1) -> tuple[PointDefinition, ...]:
    """The points of one station, each with its place on Modbus.

    If the map gives any of them a place, it is taken as it is: a point without one is not reached over Modbus.
    """
    if any(point.modbus is not None for point in points):
        return tuple(points)
    places: dict[str, ModbusAddress] = {}
    free = dict.fromkeys(Table, 0)
    for kind, (table, data_type) in PLACES.items():
        for point in points:
            if point.kind is kind:
                places[point.name] = ModbusAddress(unit, table, free[table], data_type)
                free[table] += data_type.size
    return tuple(replace(point, modbus=places.get(point.name)) for point in points)
