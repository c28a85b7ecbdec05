"""Derived points have a place on DNP3, written to and read from the point map's file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from twin.derive import derive
from twin.network import load_network
from twin.points.dnp3 import Dnp3Address, assigned
from twin.points.pointmap import PointMap, PointMapError, from_csv, to_csv


@pytest.fixture(scope="module")
def points() -> PointMap:
    return derive(load_network("cigre_mv")).points


def test_derived_points__each_has_its_place_by_bay_and_order(points: PointMap) -> None:
    assert all(point.dnp3 is not None for point in points)
    position = points.point("CB_1.position")
    bay = position.address.ioa - 1_000
    assert position.dnp3 == Dnp3Address(3, bay, 2, 2, 1)
    assert points.point("CB_1.operate").dnp3 == Dnp3Address(12, bay, 1, 2, 0)
    assert points.point("CB_1.p_kw").dnp3 == Dnp3Address(30, bay + 1, 5, 7, 2)


def test_file__gives_the_same_map_back(points: PointMap) -> None:
    assert from_csv(to_csv(points)) == points


def test_file__empty_cells_take_what_is_usual(points: PointMap) -> None:
    place = points.point("CB_1.position").dnp3
    assert place is not None
    text = to_csv(points).replace(f"3,{place.index},2,2,1", f",{place.index},,,", 1)
    assert from_csv(text) == points


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (Dnp3Address(30, 5, 2, 2, 1), "column dnp3_group: 30 cannot carry a double; usual is 3"),
        (Dnp3Address(3, 70_000, 2, 2, 1), "column dnp3_index: 70000 is not within 0 to 65535"),
        (Dnp3Address(3, 5, 7, 2, 1), "column dnp3_variation: group 3 has no variation 7"),
        (Dnp3Address(3, 5, 2, 9, 1), "column dnp3_event_variation: the events of group 3 have no variation 9"),
        (Dnp3Address(3, 5, 2, 2, 4), "column dnp3_class: 4 is not within 0 to 3"),
    ],
)
def test_wrong_place__is_named_by_column(points: PointMap, wrong: Dnp3Address, sentence: str) -> None:
    with pytest.raises(PointMapError) as caught:
        PointMap([replace(points.point("CB_1.position"), dnp3=wrong)])
    assert sentence in str(caught.value)


def test_one_place_twice__names_both_points(points: PointMap) -> None:
    first, second = [p for p in points.of_station(points.stations[0]) if p.kind.value == "measurand"][:2]
    with pytest.raises(PointMapError, match=f"is already that of {first.name}"):
        PointMap([first, replace(second, dnp3=first.dnp3)])


def test_cell__that_is_no_number_is_named(points: PointMap) -> None:
    text = "station,point,kind,equipment,quantity,common_address,ioa,type_id,dnp3_index\nR,p,single,E,x,1,1,1,seven\n"
    with pytest.raises(PointMapError, match="column dnp3_index: 'seven' is not a whole number"):
        from_csv(text)
    text = text.replace("dnp3_index", "dnp3_class").replace("seven", "2")
    with pytest.raises(PointMapError, match="column dnp3_index: is empty, but other cells of DNP3 are not"):
        from_csv(text)


def test_points_without_place__are_numbered_around_those_that_have_one() -> None:
    given = [("a", "single", None), ("b", "single", Dnp3Address(1, 0, 2, 2, 1)), ("c", "single", None)]
    assert {name: place.index for name, place in assigned(given).items()} == {"a": 1, "b": 0, "c": 2}
