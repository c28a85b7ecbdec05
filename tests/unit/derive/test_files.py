"""The files of a derivation: round trip, edits, and what their errors say."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from twin.derive import Derivation, DerivationFileError, EditedFilesError, derive, read, write
from twin.derive.commands import derive as command
from twin.network import UnknownNetworkError, load_network
from twin.network.builder import NetworkBuilder
from twin.network.model import SwitchKind

FILES = ["stations.yaml", "points.csv", "devices.yaml", "zones.yaml"]


@pytest.fixture(scope="module")
def cigre() -> Derivation:
    return derive(load_network("cigre_mv"))


@pytest.fixture
def folder(cigre: Derivation, tmp_path: Path) -> Path:
    write(cigre, tmp_path / "out")
    return tmp_path / "out"


def edit(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))


def errors(folder: Path, derivation: Derivation) -> list[str]:
    with pytest.raises(DerivationFileError) as caught:
        read(folder, derivation.network)
    return [str(finding) for finding in caught.value.findings]


def line_of(folder: Path, file: str, part: str) -> int:
    return next(n for n, line in enumerate((folder / file).read_text().splitlines(), start=1) if part in line)


def test_files__round_trip(cigre: Derivation, folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert read(folder, cigre.network) == cigre


def test_files__round_trip_of_names_that_yaml_would_take_for_something_else(tmp_path: Path) -> None:
    b = NetworkBuilder("no")
    b.node("on", v_kv=20.0)
    for node in ("1e3", "a: b, {c}", "N 1"):
        b.node(node, v_kv=20.0)
        b.switch(f"yes {node}", SwitchKind.BREAKER, node, other_node="on")
    derivation = derive(b.build())
    write(derivation, tmp_path)
    assert read(tmp_path, derivation.network) == derivation


def test_files__say_on_top_what_they_are(folder: Path) -> None:
    tops = [(folder / file).read_text().splitlines()[0] for file in FILES]
    assert tops[0].startswith("# Stations (RTUs) of network cigre_mv")
    assert all(top.startswith("# ") and "cigre_mv" in top for top in tops)


def test_files__zones_tell_what_each_section_holds(folder: Path) -> None:
    lines = (folder / "zones.yaml").read_text().splitlines()
    assert "  - {name: Z_N3, nodes: [N3], branches: [], switches: [LBS_3-2, LBS_3-4, LBS_3-8], customers: 143}" in lines
    assert "  - {name: Z_L3-8, nodes: [], branches: [L3-8], switches: [LBS_3-8, LBS_8-3], customers: 0}" in lines


def test_write__overwrites_what_nobody_edited(cigre: Derivation, folder: Path) -> None:
    before = {file: (folder / file).read_text() for file in FILES}
    write(cigre, folder)
    assert {file: (folder / file).read_text() for file in FILES} == before


@pytest.mark.parametrize("file", FILES)
def test_write__keeps_edited_files_unless_forced(cigre: Derivation, folder: Path, file: str) -> None:
    edit(folder, file, "CB_1", "CB_9")
    with pytest.raises(EditedFilesError, match=f"{file} were edited") as caught:
        write(cigre, folder)
    assert caught.value.files == (file,)
    assert "CB_9" in (folder / file).read_text()
    write(cigre, folder, force=True)
    assert read(folder, cigre.network) == cigre


def test_write__keeps_a_foreign_file(cigre: Derivation, tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("mine\n")
    with pytest.raises(EditedFilesError):
        write(cigre, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["points.csv"]


def test_read__takes_edited_settings(cigre: Derivation, folder: Path) -> None:
    edit(folder, "devices.yaml", "pickup_a: 174.0", "pickup_a: 200")
    edit(folder, "stations.yaml", "remote: true", "remote: false")
    derivation = read(folder, cigre.network)
    assert derivation.devices.relays[0].pickup_a == 200.0
    assert [s.remote for s in derivation.stations[:2]] == [False, True]


@pytest.mark.parametrize(
    ("file", "old", "new", "text"),
    [
        ("stations.yaml", "[LBS_2-1, LBS_2-3]", "[LBS_2-1, LBS_2_3]",
         "LBS_2_3 is not a switch of the network (did you mean LBS_2-3?)"),
        ("stations.yaml", "nodes: [N2]", "nodes: [N22]",
         "N22 is not a connectivity node of the network (did you mean N2?)"),
        ("stations.yaml", "common_address: 3,", "common_address: 2,", "the common address 2 is used twice"),
        ("stations.yaml", "name: RTU_2,", "name: RTU_1,", "the name RTU_1 is used twice"),
        ("stations.yaml", "[LBS_2-1, LBS_2-3]", "[LBS_2-1, CB_1]", "the switch CB_1 is used twice"),
        ("stations.yaml", "common_address: 3,", "common_adress: 3,",
         "common_adress is not a setting (did you mean common_address?)"),
        ("stations.yaml", "common_address: 3,", "common_address: many,",
         "stations.common_address: input should be a valid integer, unable to parse string as an integer"),
        ("devices.yaml", "breaker: CB_2, dead", "breaker: CB_22, dead",
         "CB_22 is not a switch of the network (did you mean CB_2?)"),
        ("devices.yaml", "breaker: CB_2, curve", "breaker: CB_1, curve", "CB_1 stands under relays twice"),
        ("devices.yaml", "breaker: CB_2, dead", "breaker: TIE_1, dead",
         "TIE_1 is a load break switch, which has no place under reclosers"),
        ("devices.yaml", "reclaim_ms: 10000", "reclaim_ms: 0",
         "reclosers.reclaim_ms: input should be greater than or equal to 1"),
        ("devices.yaml", "network: cigre_mv\nrelays", "network: other\nrelays", "is for network other, not cigre_mv"),
    ],
)  # fmt: skip
def test_read__names_file_line_and_nearest(cigre: Derivation, folder: Path, file, old, new, text) -> None:
    line = line_of(folder, file, old.splitlines()[0])
    edit(folder, file, old, new)
    found = errors(folder, cigre)
    assert f"{file}, line {line}: {text}" in found


def test_read__reports_files_together(cigre: Derivation, folder: Path) -> None:
    edit(folder, "stations.yaml", "nodes: [N2]", "nodes: [N22]")
    edit(folder, "devices.yaml", "reclaim_ms: 10000", "reclaim_ms: 0")
    edit(folder, "points.csv", "position,1,1010,31", "position,1,1010,30")
    edit(folder, "zones.yaml", "Z_N3", "Z_N33")
    assert [error.split(",")[0].split(":")[0] for error in errors(folder, cigre)] == [
        "devices.yaml", "points.csv", "zones.yaml", "stations.yaml",
    ]  # fmt: skip


def test_read__names_line_and_column_of_points(cigre: Derivation, folder: Path) -> None:
    line = line_of(folder, "points.csv", "CB_1.operate")
    edit(folder, "points.csv", "46,,,CB_1.position,", "46,,,CB_1.postion,")
    assert errors(folder, cigre) == [
        f"points.csv, line {line}: column feedback: 'CB_1.postion' is unknown (did you mean CB_1.position?) "
        "among the inputs of RTU_1"
    ]


def test_read__checks_points_against_network_and_stations(cigre: Derivation, folder: Path) -> None:
    edit(folder, "points.csv", "RTU_0,N0.v_kv,measurand,N0,", "RTU_0,N0.v_kv,measurand,N00,")
    edit(folder, "stations.yaml", "name: RTU_14, common_address: 15", "name: RTU_14, common_address: 99")
    found = errors(folder, cigre)
    assert found[0] == "points.csv: point N0.v_kv: N00 is not in the network (did you mean N0?)"
    assert found[1:] == ["points.csv: RTU_14 has the common address 15 here and 99 in stations.yaml"]


def test_read__says_where_yaml_breaks(cigre: Derivation, folder: Path) -> None:
    line = line_of(folder, "stations.yaml", "RTU_3")
    edit(folder, "stations.yaml", "bays: [LBS_3-2, LBS_3-4, LBS_3-8],", "bays: [LBS_3-2: {,")
    (found,) = errors(folder, cigre)
    assert found.startswith("stations.yaml, line ")
    assert "is not YAML" in found
    assert int(found.split("line ")[1].split(":")[0]) >= line


def test_read__refuses_text_that_is_no_mapping(cigre: Derivation, folder: Path) -> None:
    (folder / "devices.yaml").write_text("- 1\n")
    (found,) = errors(folder, cigre)
    assert found == "devices.yaml, line 1: the file: input should be a valid dictionary or instance of DevicesFile"


def test_read__lists_missing_files(cigre: Derivation, tmp_path: Path) -> None:
    assert errors(tmp_path, cigre) == [f"{file}: is missing" for file in FILES]


def test_read__notices_that_the_network_has_changed(cigre: Derivation, folder: Path) -> None:
    b = NetworkBuilder("other")
    b.node("N1", v_kv=20.0)
    with pytest.raises(DerivationFileError, match="is for network cigre_mv, not other") as caught:
        read(folder, b.build())
    assert any("derive anew" in str(finding) for finding in caught.value.findings)


# --- the command -----------------------------------------------------------------------------------------------


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=True)


def test_command__writes_and_counts(cigre: Derivation, tmp_path: Path) -> None:
    result = run("cigre_mv", "--out", str(tmp_path / "a"))
    assert result.exit_code == 0
    first, *paths = result.output.splitlines()
    assert first == (
        "cigre_mv: 15 stations, 15 telecontrolled, 271 points, 2 feeder relays, 1 reclosing, "
        "30 fault passage indicators, 32 zones"
    )
    assert [Path(path.strip()).name for path in paths] == FILES
    assert read(tmp_path / "a", cigre.network) == cigre


def test_command__takes_the_choice_of_stations(tmp_path: Path) -> None:
    result = run("cigre_mv", "--out", str(tmp_path), "--remote", "ties", "--every", "5")
    assert "15 stations, 7 telecontrolled" in result.output


def test_command__refuses_to_overwrite_edits_without_force(folder: Path) -> None:
    edit(folder, "devices.yaml", "174.0", "175.0")
    result = run("cigre_mv", "--out", str(folder))
    assert isinstance(result.exception, EditedFilesError)
    assert "--force" in str(result.exception)
    assert run("cigre_mv", "--out", str(folder), "--force").exit_code == 0


def test_command__passes_on_the_unknown_network(tmp_path: Path) -> None:
    result = run("cigre", "--out", str(tmp_path))
    assert isinstance(result.exception, UnknownNetworkError)
    assert list(tmp_path.iterdir()) == []
