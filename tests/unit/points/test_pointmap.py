"""Point maps: look-ups, findings, and files that people edit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind
from twin.points.pointmap import (
    TYPE_IDS,
    PointMap,
    PointMapError,
    UnknownPointError,
    from_csv,
    read_csv,
    to_csv,
    validate_points,
    write_csv,
)

POSITION = PointDefinition("RTU_1", "CB_1.position", PointKind.DOUBLE, "CB_1", "position", PointAddress(1, 1010, 31))
OPERATE = PointDefinition(
    "RTU_1", "CB_1.operate", PointKind.DOUBLE_COMMAND, "CB_1", "operate", PointAddress(1, 6010, 46),
    feedback="CB_1.position",
)  # fmt: skip
CURRENT = PointDefinition(
    "RTU_1", "CB_1.i_a", PointKind.MEASURAND, "CB_1", "i_a", PointAddress(1, 3010, 36), unit="A", dead_band=2.9
)
VOLTAGE = PointDefinition(
    "RTU_2", "N2.v_kv", PointKind.MEASURAND, "N2", "v_kv", PointAddress(2, 3000, 36), unit="kV", dead_band=0.1
)
POINTS = (POSITION, OPERATE, CURRENT, VOLTAGE)

HEADER = "station,point,kind,equipment,quantity,common_address,ioa,type_id,unit,dead_band,feedback,control_model"


def findings(*points: PointDefinition) -> list[tuple[int, str]]:
    return [(finding.row, finding.column) for finding in validate_points(points)]


def test_point_map__is_ordered_by_address_whatever_the_order_given() -> None:
    forwards, backwards = PointMap(POINTS), PointMap(reversed(POINTS))
    assert forwards == backwards
    assert [p.name for p in forwards] == ["CB_1.position", "CB_1.i_a", "CB_1.operate", "N2.v_kv"]
    assert forwards.rows["CB_1.operate"] == 2
    assert forwards.stations == ("RTU_1", "RTU_2")


def test_point_map__looks_up_by_name_station_equipment_and_address() -> None:
    points = PointMap(POINTS)
    assert points.point("CB_1.i_a") == CURRENT
    assert points.at("RTU_1", "CB_1.i_a") == CURRENT
    assert points.at("RTU_2", "CB_1.i_a") is None
    assert points.of_station("RTU_2") == (VOLTAGE,)
    assert points.of_station("RTU_9") == ()
    assert points.of_equipment("CB_1", "operate") == OPERATE
    assert points.of_equipment("CB_1", "trip") is None
    assert points.at_address(1, 1010) == POSITION
    assert points.find("nothing") is None


def test_point_map__suggests_the_nearest_name() -> None:
    with pytest.raises(UnknownPointError) as caught:
        PointMap(POINTS).point("CB_1.postion")
    assert str(caught.value) == "there is no point CB_1.postion; did you mean CB_1.position?"


@pytest.mark.parametrize(
    ("changed", "column"),
    [
        (replace(CURRENT, name="CB_1.position"), "point"),
        (replace(CURRENT, address=PointAddress(1, 1010, 36)), "ioa"),
        (replace(CURRENT, address=PointAddress(1, 0, 36)), "ioa"),
        (replace(CURRENT, address=PointAddress(1, 2**24, 36)), "ioa"),
        (replace(CURRENT, address=PointAddress(3, 3010, 36)), "common_address"),
        (replace(CURRENT, address=PointAddress(1, 3010, 31)), "type_id"),
        (replace(CURRENT, station="RTU_3"), "common_address"),
        (replace(CURRENT, quantity="i_ampere"), "quantity"),
        (replace(CURRENT, equipment=""), "equipment"),
        (replace(CURRENT, dead_band=-1.0), "dead_band"),
        (replace(CURRENT, dead_band=float("nan")), "dead_band"),
        (replace(CURRENT, feedback="CB_1.position"), "feedback"),
        (replace(CURRENT, quantity="position"), "kind"),
        (
            replace(OPERATE, name="x", feedback="CB_1.psition", equipment="y", address=PointAddress(1, 7, 46)),
            "feedback",
        ),
        (replace(OPERATE, name="x", feedback="N2.v_kv", equipment="y", address=PointAddress(1, 7, 46)), "feedback"),
    ],
)
def test_validate__finds_the_column_at_fault(changed: PointDefinition, column: str) -> None:
    assert (3, column) in findings(POSITION, OPERATE, VOLTAGE, changed)


def test_validate__finds_nothing_in_a_good_map() -> None:
    assert findings(*POINTS) == []


def test_validate__reports_one_quantity_measured_at_two_points() -> None:
    twice = replace(CURRENT, name="other", address=PointAddress(1, 3020, 36))
    assert findings(CURRENT, twice) == [(1, "quantity")]


def test_point_map__raises_with_all_findings() -> None:
    with pytest.raises(PointMapError) as caught:
        PointMap([replace(CURRENT, quantity="p_k"), replace(CURRENT, name="b", dead_band=-1.0)])
    assert {f.column for f in caught.value.findings} == {"quantity", "dead_band", "ioa"}
    assert "'p_k' is unknown (did you mean p_kw?)" in str(caught.value)


# --- files -----------------------------------------------------------------------------------------------------


def test_csv__round_trip(tmp_path: Path) -> None:
    points = PointMap([*POINTS[1:], replace(POSITION, unit='a "b", c')])
    write_csv(points, tmp_path / "points.csv", comment="Points of the network.\n\nEdit freely.")
    text = (tmp_path / "points.csv").read_text()
    assert text.startswith("# Points of the network.\n#\n# Edit freely.\nstation,point,")
    assert read_csv(tmp_path / "points.csv") == points


def test_csv__is_read_from_a_spreadsheet_with_semicolons_and_other_columns_order() -> None:
    text = "\ufeff" + (
        '"# edited";;;;;;;;;\r\nioa;type_id;point;station;kind;equipment;quantity;common_address;dead_band;unit\r\n'
        ";;;;;;;;;\r\n3010;36; CB_1.i_a ;RTU_1;measurand;CB_1;i_a;1;2.9;A\r\n"
    )
    assert list(from_csv(text.removeprefix("\ufeff"))) == [CURRENT]


def test_csv__file_with_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(to_csv(PointMap(POINTS)), encoding="utf-8-sig")
    assert read_csv(tmp_path / "p.csv") == PointMap(POINTS)


def test_csv__missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PointMapError, match=r"nowhere\.csv: .*does not exist"):
        read_csv(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("row", "line", "column", "text"),
    [
        ("RTU_1,a,duble,CB_1,position,1,1,31,,,,", 3, "kind", "'duble' is unknown (did you mean double?)"),
        ("RTU_1,a,double,CB_1,position,1,x,31,,,,", 3, "ioa", "'x' is not a whole number"),
        ("RTU_1,a,measurand,CB_1,i_a,1,1,36,A,2-3,,", 3, "dead_band", "'2-3' is not a number"),
        ("RTU_1,a,double,CB_1,postion,1,1,31,,,,", 3, "quantity", "'postion' is unknown (did you mean position?)"),
        ("RTU_1,a,double_command,CB_1,operate,1,1,46,,,,direkt", 3, "control_model", "'direkt' is unknown (did you mean direct?)"),  # noqa: E501
        ("RTU_1,a,double,CB_1", 3, "common_address", "'' is not a whole number"),
    ],
)  # fmt: skip
def test_csv__errors_name_line_and_column(row: str, line: int, column: str, text: str) -> None:
    with pytest.raises(PointMapError) as caught:
        from_csv(f"# comment\n{HEADER}\n{row}\n", source="points.csv")
    assert (line, column, text) in [(f.line, f.column, f.text) for f in caught.value.findings]
    assert f"points.csv: line {line}, column" in str(caught.value)


def test_csv__all_lines_at_fault_are_reported() -> None:
    rows = "R,a,double,CB,position,1,x,31\nR,b,double,CB,position,1,y,31\n"
    with pytest.raises(PointMapError) as caught:
        from_csv(f"{HEADER}\n{rows}")
    assert [f.line for f in caught.value.findings] == [2, 3]


def test_csv__header_errors_suggest_the_column() -> None:
    with pytest.raises(PointMapError) as caught:
        from_csv(HEADER.replace("type_id", "typeid") + "\n")
    assert [str(f) for f in caught.value.findings] == [
        "line 1, column typeid: is not a column (did you mean type_id?)",
        "line 1, column type_id: is missing in the header",
    ]


def test_csv__empty_text_is_refused() -> None:
    with pytest.raises(PointMapError, match="no header line"):
        from_csv("# nothing\n\n")


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,8}", fullmatch=True)


@given(
    unit=st.text(alphabet=st.characters(codec="ascii", exclude_categories=("Cc",)), max_size=6).map(str.strip),
    dead_band=st.floats(min_value=0, max_value=1e12),
    name=NAMES,
    ioa=st.integers(1, 2**24 - 1),
    kind=st.sampled_from([PointKind.MEASURAND, PointKind.DOUBLE_COMMAND]),
    control_model=st.sampled_from(ControlModel),
)
def test_csv__round_trip_of_any_point(unit, dead_band, name, ioa, kind, control_model) -> None:
    command = kind is PointKind.DOUBLE_COMMAND
    point = PointDefinition(
        "RTU_1", name, kind, "CB_1", "operate" if command else "i_a",
        PointAddress(7, ioa, TYPE_IDS[kind][0]), unit, dead_band,
        control_model=control_model if command else ControlModel.SELECT_BEFORE_OPERATE,
    )  # fmt: skip
    assert list(from_csv(to_csv(PointMap([point])))) == [point]
