"""The interoperability list says what the station then does."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from iec104_bench import POINTS, Master, request, sample, station, verdict

from twin.cli import main
from twin.outstations.iec104_interoperability import (
    interoperability,
    interoperability_list,
    read_settings,
    to_html,
    to_markdown,
)
from twin.outstations.iec104_settings import Iec104OutstationSettings
from twin.points.pointmap import PointMap, write_csv
from twin.protocols.iec104 import TYPES, Asdu, Direction
from twin.protocols.iec104 import elements as e


def types_listed(settings: Iec104OutstationSettings) -> set[int]:
    listed = interoperability_list("RTU_1", POINTS, settings)
    return {int(row[0]) for s in listed.sections if s.columns[0] == "type" for row in s.rows if row[2] == "X"}


def test_list__has_the_types_that_the_station_sends() -> None:
    rtu = station()
    master = Master(rtu)
    for definition in POINTS:
        if not definition.kind.is_output:
            rtu.update([sample(definition.name, 1)], 0)
    seen = {a.type_id for a in master.take()}
    seen |= {a.type_id for a in master.ask(request(100, e.Interrogation(20)))}
    seen |= {a.type_id for a in master.ask(request(101, e.CounterInterrogation(5)))}
    listed = types_listed(Iec104OutstationSettings())
    assert {t for t in listed if TYPES[t].direction is Direction.MONITOR} == {t for t in seen if t < 45}


def test_list__marks_exactly_the_types_that_are_not_mirrored_as_unknown() -> None:
    listed = types_listed(Iec104OutstationSettings())
    for type_id, spec in TYPES.items():
        if spec.direction is Direction.MONITOR or type_id == 70:
            continue
        master = Master(station())
        master.take()
        (answer,) = master.ask(Asdu(type_id, 63, 47, *_any_object(type_id)))
        assert (type_id in listed) == (verdict(answer) != (44, True)), type_id


def _any_object(type_id: int) -> tuple[tuple[object, ...]]:
    from twin.protocols.iec104 import InformationObject
    from twin.protocols.iec104.timetag import TimeTag

    spec = TYPES[type_id]
    element = spec.codec.decode(bytes(16), 0)
    return ((InformationObject(0, element, TimeTag(26, 1, 1, 0, 0, 0) if spec.tagged else None),),)


def test_list__shows_what_is_set() -> None:
    settings = Iec104OutstationSettings.model_validate(
        {
            "connection": {"k": 20, "w": 10, "t3_ms": 30_000},
            "groups": {3: ["trip"]},
            "redundancy_groups": [{"name": "centre", "sources": ["10.0.0.0/24"]}],
        }
    )
    text = to_markdown(interoperability_list("RTU_1", POINTS, settings, 2405))
    for row in (
        "| k | 12 APDUs | 20 APDUs | most difference of receive to send sequence number |",
        "| port | 2404 | 2405 | TCP |",
        "| Station interrogation | X | global, groups 3 |",
        "| centre | 10.0.0.0/24 |",
        "| 47 | 102 | C_DC_NA_1 | operate |  | select before operate |",
    ):
        assert row in text
    assert to_html(interoperability_list("<RTU>", POINTS, settings)).count("&lt;RTU&gt;") == 3


def test_command__writes_a_list_a_station(tmp_path: Path) -> None:
    write_csv(PointMap([p for p in POINTS if p.quantity in ("trip", "position")]), tmp_path / "points.csv")
    (tmp_path / "settings.yaml").write_text("event_limit: 77\n")
    options = ["--settings", str(tmp_path / "settings.yaml"), "--format", "md", "--out", str(tmp_path / "lists")]
    done = CliRunner().invoke(interoperability, [str(tmp_path / "points.csv"), *options])
    assert done.exit_code == 0, done.output
    assert "77 events buffered" in (tmp_path / "lists/RTU_1.md").read_text()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("event_limit: 0", "event_limit: Input should be greater"), ("{", "it cannot be read"), ("k: 3", "k: Extra")],
)
def test_settings__are_refused_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(Exception, match=sentence):
        read_settings(path)


def test_command__refuses_an_unknown_station(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(PointMap([p for p in POINTS if p.quantity == "trip"]), tmp_path / "points.csv")
    with pytest.raises(SystemExit) as ended:
        main(["interoperability", str(tmp_path / "points.csv"), "--station", "X", "--out", str(tmp_path)])
    assert ended.value.code == 4
    assert "there is no station X" in capsys.readouterr().err
