"""Places on Modbus in point maps: CSV there and back, findings, and the layouts that fill them in."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from twin.derive import derive
from twin.network import load_network
from twin.points.modbus import DataType, ModbusAddress, Table, WordOrder
from twin.points.modbus_layout import with_places
from twin.points.model import PointAddress, PointDefinition, PointKind
from twin.points.pointmap import PointMap, PointMapError, from_csv, to_csv

HEAD = "station,point,kind,equipment,quantity,common_address,ioa,type_id,"


def point(number: int, kind: PointKind, modbus: ModbusAddress | None = None) -> PointDefinition:
    """A point of station S."""
    type_id = {PointKind.MEASURAND: 36, PointKind.SINGLE: 30, PointKind.SETPOINT: 50}.get(kind, 31)
    quantity = {PointKind.MEASURAND: "i_a", PointKind.DOUBLE: "position"}.get(kind, "local")
    return PointDefinition(
        "S", f"p{number}", kind, f"e{number}", quantity, PointAddress(1, number, type_id), modbus=modbus
    )


def test_csv__brings_every_place_back() -> None:
    places = [
        ModbusAddress(3, Table.INPUT, 10 * n, data_type, order, scale)
        for n, (data_type, order, scale) in enumerate(
            itertools.product([DataType.INT16, DataType.FLOAT32], WordOrder, [1.0, 0.01])
        )
    ]
    points = PointMap([point(n + 1, PointKind.MEASURAND, place) for n, place in enumerate(places)])
    assert from_csv(to_csv(points)) == points


def test_csv__without_the_columns_has_no_places() -> None:
    text = HEAD.rstrip(",") + "\nS,p1,measurand,e1,i_a,1,1,36\n"
    assert from_csv(text).point("p1").modbus is None


@pytest.mark.parametrize(
    ("cells", "finding"),
    [
        ("1,input,x,float32", "column modbus_register: 'x' is not a whole number"),
        ("1,inputs,0,float32", "column modbus_table: 'inputs' is none of coil, discrete, input, holding"),
        ("1,input,0,bit", "column modbus_type: bit does not lie in table input"),
        ("256,input,0,float32", "column modbus_unit: 256 is not within 0 to 255"),
        ("1,input,65535,float32", "column modbus_register: 65535 does not fit within 0 to 65535"),
    ],
)
def test_csv__names_line_and_column_of_what_is_wrong(cells: str, finding: str) -> None:
    text = HEAD + f"modbus_unit,modbus_table,modbus_register,modbus_type\nS,p1,measurand,e1,i_a,1,1,36,{cells}\n"
    with pytest.raises(PointMapError, match="line 2") as refused:
        from_csv(text)
    assert finding in str(refused.value)


def test_map__refuses_two_points_in_one_register() -> None:
    places = [ModbusAddress(1, Table.INPUT, register, DataType.FLOAT32) for register in (0, 1)]
    with pytest.raises(PointMapError, match="input 1 of unit 1 is used twice"):
        PointMap([point(n + 1, PointKind.MEASURAND, place) for n, place in enumerate(places)])


def test_layout__has_no_holes_and_no_overlap() -> None:
    kinds = [PointKind.MEASURAND, PointKind.SINGLE, PointKind.DOUBLE, PointKind.SINGLE, PointKind.MEASURAND]
    placed = with_places([point(n + 1, kind) for n, kind in enumerate(kinds)])
    found = {p.name: (p.modbus.table.value, p.modbus.register) for p in placed if p.modbus is not None}
    assert found == {
        "p1": ("input", 0),
        "p2": ("discrete", 2),
        "p3": ("discrete", 0),
        "p4": ("discrete", 3),
        "p5": ("input", 2),
    }


def test_layout__leaves_a_map_that_has_places_as_it_is() -> None:
    points = (point(1, PointKind.SINGLE), point(2, PointKind.SINGLE, ModbusAddress(1, Table.DISCRETE, 9, DataType.BIT)))
    assert with_places(points) == points


def test_derivation__gives_every_station_places_of_its_own() -> None:
    points = derive(load_network("cigre_mv")).points
    assert all(p.modbus is not None for p in points)
    assert PointMap(points) == points
    assert PointMap(replace(p, modbus=None) for p in points) != points
