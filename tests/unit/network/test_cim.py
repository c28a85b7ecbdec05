"""The CIM reader and its loaders on small models: what they take, and what they say of bad ones.

GRID -- busbar A == CB_1 == line L1 (2 km) == LBS == B -- LOAD, and a star transformer at A
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.network.catalogue import load_network
from twin.network.cim import CimFileError, balanced_network, load_balanced, load_three_phase, node_breaker, read_cim
from twin.network.cim import reader as reader_module
from twin.solvers import power_flow

HEAD = (
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    'xmlns:cim="http://iec.ch/TC57/2013/CIM-schema-cim16#" xmlns:md="http://iec.ch/TC57/61970-552/ModelDescription/1#">\n'
)


def _object(kind: str, mrid: str, *, about: bool = False, **properties: object) -> str:
    """One object a line; ``A__b="#x"`` is the reference A.b to x, other values are literals."""
    lines = []
    for key, value in properties.items():
        name = key.replace("__", ".")
        text = str(value)
        lines.append(
            f'<cim:{name} rdf:resource="{text}"/>' if text.startswith("#") else f"<cim:{name}>{text}</cim:{name}>"
        )
    identifier = f'rdf:about="#_{mrid}"' if about else f'rdf:ID="_{mrid}"'
    return f"<cim:{kind} {identifier}>{''.join(lines)}</cim:{kind}>\n"


def _terminal(equipment: str, number: int, node: str) -> str:
    return _object(
        "Terminal",
        f"{equipment}_t{number}",
        Terminal__ConductingEquipment=f"#_{equipment}",
        Terminal__ConnectivityNode=f"#_{node}",
        ACDCTerminal__sequenceNumber=number,
    )


def _feeder() -> list[str]:
    level = [
        _object("BaseVoltage", "kv20", BaseVoltage__nominalVoltage=20),
        _object("VoltageLevel", "vl", VoltageLevel__BaseVoltage="#_kv20"),
    ]
    level += [_object("ConnectivityNode", n, ConnectivityNode__ConnectivityNodeContainer="#_vl") for n in "abcd"]
    equipment = [
        _object("ExternalNetworkInjection", "grid", IdentifiedObject__name="GRID"),
        _object("BusbarSection", "bb"),
        _object("Breaker", "cb", IdentifiedObject__name="CB_1", Switch__normalOpen="false"),
        _object("LoadBreakSwitch", "lbs", IdentifiedObject__name="LBS", Switch__normalOpen="false"),
        _object(
            "ACLineSegment",
            "l1",
            IdentifiedObject__name="L1",
            Conductor__length=2,
            ACLineSegment__r=1.0,
            ACLineSegment__x=0.6,
            ACLineSegment__bch=0,
        ),
        _object("EnergyConsumer", "load", IdentifiedObject__name="LOAD", EnergyConsumer__p=1.0, EnergyConsumer__q=0.2),
    ]
    ends = [("grid", "a"), ("bb", "a"), ("cb", "ab"), ("l1", "bc"), ("lbs", "cd"), ("load", "d")]
    return [*level, *equipment, *(_terminal(e, i, n) for e, nodes in ends for i, n in enumerate(nodes, start=1))]


Writer = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    def write(objects: list[str], name: str = "model.xml") -> Path:
        path = tmp_path / name
        path.write_text(HEAD + "".join(objects) + "</rdf:RDF>\n", encoding="utf-8")
        return path

    return write


def test_balanced_network__gives_the_voltage_of_a_hand_calculation(write: Writer) -> None:
    network = load_network(str(write(_feeder())))
    result = power_flow(network).solve()
    # 1 MW, 0.2 Mvar over 1 + 0.6j Ohm at 20 kV: V^2 solves V^4 + V^2 (2(RP + XQ) - 400) + |Z|^2 |S|^2 = 0
    b, c = 2 * (1.0 + 0.6 * 0.2) - 400, 1.36 * 1.04
    expected = np.sqrt((-b + np.sqrt(b * b - 4 * c)) / 2) / 20
    assert result.v_pu[network.index["d"].index] == pytest.approx(expected, abs=1e-8)
    assert network.switches.names == ("CB_1", "LBS")


def test_steady_state_profile__opens_a_switch_and_overrules_the_load(write: Writer, tmp_path: Path) -> None:
    main = write(_feeder())
    state = write([_object("LoadBreakSwitch", "lbs", about=True, Switch__open="true")], "state.xml")
    path = tmp_path / "both.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(state, "a_state.xml")  # before the equipment that it is about
        archive.write(main, "b_equipment.xml")
    network = load_network(str(path))
    assert not network.switches.normally_closed[network.index["LBS"].index]
    assert not power_flow(network).solve().energised[network.index["d"].index]
    model = node_breaker(read_cim(path))
    assert sorted(map(sorted, model.topological_nodes().values())) == [["a", "b"], ["c"], ["d"]]
    assert sorted(map(sorted, model.islands().values())) == [["a", "b", "c"], ["d"]]


def test_detached_terminal__is_an_open_end(write: Writer) -> None:
    objects = [*_feeder(), _object("Terminal", "l1_t2", about=True, ACDCTerminal__connected="false")]
    network = load_balanced(write(objects))
    assert not power_flow(network).solve().energised[network.index["c"].index]


def test_earthing_switch__joins_no_nodes(write: Writer) -> None:
    earthing = [_object("GroundDisconnector", "es", Switch__normalOpen="true"), _terminal("es", 1, "c")]
    model = node_breaker(read_cim(write([*_feeder(), *earthing])))
    assert model.switches["es"].node_b == ""
    assert not model.switches["es"].closed


def test_junction__whose_terminal_leads_nowhere_joins_nothing(write: Writer) -> None:
    """Boundary profiles of CGMES 2.4.15 hold such beside node-breaker models."""
    loose = [
        _object("Junction", "j", name="J"),
        _object("Terminal", "jt", **{"Terminal.ConductingEquipment": "#_j", "ACDCTerminal.sequenceNumber": 1}),
    ]
    without, with_it = node_breaker(read_cim(write(_feeder()))), node_breaker(read_cim(write([*_feeder(), *loose])))
    assert with_it.topological_nodes() == without.topological_nodes()


def test_notes__name_unknown_classes_and_missing_boundary(write: Writer) -> None:
    objects = [*_feeder(), _object("Clamp", "x1"), _object("BusbarSection", "bb2"), _terminal("bb2", 1, "outside")]
    loaded = balanced_network(read_cim(write(objects)))
    assert any("class Clamp is not used" in note for note in loaded.notes)
    assert any("1 connectivity nodes are in no file" in note for note in loaded.notes)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda o: [*o, _object("Breaker", "cb")], "is defined a second time"),
        (lambda o: [x for x in o if "cb_t2" not in x], "Breaker CB_1 has 1 terminals"),
        (lambda o: [x.replace("<cim:ACLineSegment.x>0.6", "<cim:ACLineSegment.x>many") for x in o], "'many'"),
        (
            lambda o: [x.replace("<cim:ACLineSegment.x>0.6</cim:ACLineSegment.x>", "") for x in o],
            "has no ACLineSegment.x",
        ),
        (lambda o: [x.replace('"#_kv20"', '"#_kv30"') for x in o], "refers to kv30"),
        (lambda o: [x.replace("normalOpen>false", "normalOpen>perhaps") for x in o], "neither true nor false"),
        (lambda o: [x for x in o if "ExternalNetworkInjection" not in x and "grid_t" not in x], "neither an external"),
        (lambda o: [*o, "<cim:Breaker/>"], "neither rdf:ID nor rdf:about"),
        (lambda o: [*o, "<cim:Breaker rdf:ID='z'><cim:a><cim:b/></cim:a></cim:Breaker>"], "inside a property"),
        (lambda o: [*o, "<open>"], "not well-formed"),
        (lambda o: [x for x in o if "ConnectivityNode rdf" not in x and "Terminal" not in x], "no node-breaker model"),
    ],
)
def test_bad_model__is_refused_with_the_object_and_its_line(
    write: Writer, spoil: Callable[[list[str]], list[str]], said: str
) -> None:
    with pytest.raises(CimFileError) as caught:
        load_network(str(write(spoil(_feeder()))))
    assert said in str(caught.value)
    assert all(finding.line > 0 and finding.file == "model.xml" for finding in caught.value.findings)


def test_all_findings__come_at_once(write: Writer) -> None:
    objects = [x.replace("<cim:ACLineSegment.r>1.0", "<cim:ACLineSegment.r>?") for x in _feeder() if "cb_t2" not in x]
    with pytest.raises(CimFileError) as caught:
        node_breaker(read_cim(write([*objects, _terminal("ghost", 1, "a")])))
    assert {finding.mrid for finding in caught.value.findings} == {"cb", "ghost_t1"}


@pytest.mark.parametrize(
    "text",
    [
        '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><r>&b;</r>',
        '<!DOCTYPE r SYSTEM "file:///etc/passwd"><r/>',
    ],
)
def test_document_type__is_refused_before_any_entity_is_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bomb.xml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CimFileError, match="declares a document type"):
        read_cim(path)


def test_oversized_zip__is_refused_unread(write: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(write(_feeder()), "m.xml")
    monkeypatch.setattr(reader_module, "MOST_BYTES", 1000)
    with pytest.raises(CimFileError, match="unpacks to more than"):
        read_cim(path)


@settings(max_examples=150)
@given(data=st.data())
def test_garbled_file__is_read_or_refused_in_a_sentence(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = bytearray((HEAD + "".join(_feeder()) + "</rdf:RDF>").encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path = tmp_path_factory.mktemp("cim") / "garbled.xml"
    path.write_bytes(bytes(text))
    with contextlib.suppress(CimFileError):
        assert node_breaker(read_cim(path)).nodes


def test_three_phase_feeder__is_refused_as_a_balanced_one() -> None:
    feeder = Path(__file__).parents[2] / "reference" / "topology_cim" / "IEEE13.xml"
    with pytest.raises(CimFileError, match="load_three_phase"):
        load_network(str(feeder))
    assert load_three_phase(feeder).nodes.n == 23
