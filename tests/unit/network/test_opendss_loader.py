"""What the OpenDSS loader understands, how it says what it does not, and where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from twin.network.opendss_circuit import source_impedance
from twin.network.opendss_elements import Source
from twin.network.opendss_loader import UnsupportedCircuitError, load_opendss
from twin.network.opendss_syntax import Place, read_script
from twin.network.three_phase import ThreePhaseNetwork

HEAD = "New circuit.toy basekv=20 bus1=src mvasc3=1000 mvasc1=900\n"


def _write(folder: Path, text: str, name: str = "toy.dss") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _load(folder: Path, text: str) -> ThreePhaseNetwork:
    return load_opendss(_write(folder, HEAD + text))


def _findings(folder: Path, text: str) -> list[str]:
    with pytest.raises(UnsupportedCircuitError) as caught:
        _load(folder, text)
    return [str(finding) for finding in caught.value.findings]


@pytest.mark.parametrize(
    ("text", "value"),
    [("(8 1000 /)", 0.008), ("[.5 1000 /]", 0.0005), ('"0.00625 12 * 1 +"', 1.075), ("4 sqrt", 4.0), ("2e-3", 2e-3)],
)
def test_script__numbers_may_be_reverse_polish(tmp_path: Path, text: str, value: float) -> None:
    script = read_script(_write(tmp_path, f"New load.a kw={text} kvar=1"))
    assert script.statements[0].parameters[1].number() == pytest.approx(value)


def test_script__continues_lines_and_drops_comments(tmp_path: Path) -> None:
    script = read_script(_write(tmp_path, "New load.a kw=1 ! not this\n// nor this\n~ kvar= 2\nmore pf=0.9\n"))
    (statement,) = script.statements
    assert [(p.name, p.value, p.place.line) for p in statement.parameters] == [
        ("", "load.a", 1),
        ("kw", "1", 1),
        ("kvar", "2", 3),
        ("pf", "0.9", 4),
    ]


def test_script__redirects_relative_to_the_file_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    _write(tmp_path / "sub", "Redirect ../codes.dss\n", "inner.dss")
    _write(tmp_path, "New linecode.x r1=1\n", "codes.dss")
    script = read_script(_write(tmp_path, "Redirect sub\\inner.dss\n"))
    assert [s.place for s in script.statements] == [Place("codes.dss", 1)]
    assert not script.findings


def test_script__that_redirects_to_itself_is_a_finding(tmp_path: Path) -> None:
    script = read_script(_write(tmp_path, "Redirect toy.dss\n"))
    assert [str(finding) for finding in script.findings] == ["toy.dss:1: the redirections do not end"]


def test_loader__collects_all_findings_with_file_and_line(tmp_path: Path) -> None:
    _write(tmp_path, "New generator.g bus1=src\nNew load.l bus1=src kw=many\n", "more.dss")
    text = "Redirect more.dss\nRedirect gone.dss\nNew line.a bus1=src bus2=b geometry=g1\nset mode=daily\nboil\n"
    assert sorted(_findings(tmp_path, text)) == [
        "more.dss:1: elements of the class generator are not supported",
        "more.dss:2: load.l: many is not a number",
        "toy.dss:3: there is no file gone.dss",
        "toy.dss:4: the property geometry of line.a is not understood",
        "toy.dss:5: the option mode is not understood",
        "toy.dss:6: the command boil is not understood",
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("New line.a bus1=src.1.2 bus2=b.2.1 phases=2", "change their phases on the way"),
        ("New line.a bus1=src.1.2.4 bus2=b.1.2.4", "do not fit 3 conductors"),
        ("New line.a bus1=src.1.1.2 bus2=b", "are not 3 phases"),
        ("New line.a bus1=src bus2=b linecode=none", "there is no line code none"),
        ("New line.a bus1=src bus2=b units=furlong", "furlong is not known"),
        ("New line.a bus1=src bus2=b basefreq=50", "base frequency is not that of the circuit, 60 Hz"),
        ("New line.a bus1=src bus2=b rmatrix=(1 | 2 3)", "rmatrix is not a matrix of 3 rows"),
        ("New transformer.t windings=3", "only transformers of two windings"),
        ("New transformer.t buses=(src b) taps=(1.05 0.95)", "on both windings"),
        ("New transformer.t buses=(src b) taps=(1 1.001)", "lies between two of its steps"),
        ("New transformer.t buses=(src b) %imag=0.5", "only supported as 0"),
        ("New load.l bus1=src model=7", "the load model 7"),
        ("New load.l bus1=src conn=zigzag", "neither wye nor delta"),
        ("New load.l bus1=elsewhere.1 phases=1", "bus elsewhere is not connected to the source"),
        ("Edit load.gone kw=3", "there is no element load.gone"),
        ("load.gone.kw=3", "there is no element load.gone"),
        ("New load.l bus1=src\nNew load.l bus1=src", "there is a second load.l"),
        ("New load.l bus1=src surprise", "the value surprise of load.l is not understood"),
        ("BusCoords gone.csv", "there is no file gone.csv"),
    ],
)
def test_loader__refuses_what_it_does_not_understand(tmp_path: Path, line: str, reason: str) -> None:
    (finding,) = _findings(tmp_path, line + "\n")
    assert reason in finding
    assert finding.startswith("toy.dss:")


def test_loader__refuses_a_script_without_circuit(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCircuitError, match="makes no circuit"):
        load_opendss(_write(tmp_path, "New load.l bus1=src\n"))


def test_loader__converts_units_of_length(tmp_path: Path) -> None:
    code = "New linecode.c nphases=1 rmatrix=(1.0) xmatrix=(2.0) cmatrix=(300) units=mi\n"
    network = _load(tmp_path, code + "New line.a bus1=src.2 bus2=b.2 phases=1 linecode=c length=5280 units=ft\n")
    assert network.lines.z_ohm[0, 1, 1] == pytest.approx(1 + 2j)
    assert network.lines.y_s[0, 1, 1] == pytest.approx(2j * np.pi * 60 * 300e-9)
    assert network.lines.length_km[0] == pytest.approx(1.609344)
    assert np.count_nonzero(network.lines.z_ohm) == 1


def test_loader__takes_lengths_as_they_are_without_units(tmp_path: Path) -> None:
    code = "New linecode.c nphases=3 r1=1 x1=2 r0=4 x0=8 c1=0 c0=0\n"
    network = _load(tmp_path, code + "New line.a bus1=src bus2=b linecode=c length=3 units=kft\n")
    # own (2 Z1 + Z0) / 3, mutual (Z0 - Z1) / 3, three units of length
    assert np.allclose(network.lines.z_ohm[0], (1 + 2j) * np.array([[6, 3, 3], [3, 6, 3], [3, 3, 6]]))


def test_loader__switch_yes_replaces_the_impedance(tmp_path: Path) -> None:
    code = "New linecode.c nphases=3 r1=1 x1=2\n"
    network = _load(tmp_path, code + "New line.a bus1=src bus2=b linecode=c length=3 switch=y\n")
    assert network.switches.names == ("line.a",)
    assert network.lines.names == ("line.a.impedance",)
    assert network.lines.z_ohm[0, 0, 0] == pytest.approx(0.001 + 0.001j)


def test_loader__switch_without_impedance_joins_its_nodes(tmp_path: Path) -> None:
    network = _load(tmp_path, "New line.a bus1=src bus2=b switch=y r1=1e-4 r0=1e-4 x1=0 x0=0 c1=0 c0=0\n")
    assert network.lines.n == 0
    assert network.switches.other_node[0] == network.nodes.names.index("b")


def test_loader__places_loads_on_their_units(tmp_path: Path) -> None:
    text = """New load.wye bus1=src phases=3 kv=20 kw=30 kvar=3
New load.ca bus1=src.1.3 phases=1 conn=delta kv=20 kw=9 kvar=1 model=2
New load.b bus1=src.2 phases=1 kv=11.5 kw=6 pf=0.8 model=5 vminpu=0.8
"""
    consumers = _load(tmp_path, text).consumers
    assert consumers.p_kw.tolist() == [[10, 10, 10], [0, 0, 9], [0, 6, 0]]
    assert consumers.delta.tolist() == [False, True, False]
    assert consumers.q_kvar[2, 1] == pytest.approx(4.5)
    assert consumers.v_nominal_kv == pytest.approx([20 / np.sqrt(3), 20, 11.5])
    assert consumers.zip_p.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert consumers.v_min_pu.tolist() == [0.95, 0.95, 0.8]


def test_loader__finds_voltage_bases_and_phases_of_nodes(tmp_path: Path) -> None:
    text = """New transformer.t buses=(src lv) conns=(delta wye) kvs=(20 0.4) kvas=(400 400) XHL=4
New line.a bus1=lv.3 bus2=end.3 phases=1 r1=0.1 x1=0.1
Set voltagebases=[20 0.41]
"""
    nodes = _load(tmp_path, text).nodes
    assert dict(zip(nodes.names, nodes.v_nominal_kv.tolist(), strict=True)) == {"src": 20, "lv": 0.41, "end": 0.41}
    assert nodes.phases[nodes.names.index("end")].tolist() == [False, False, True]


def test_loader__reads_taps_as_positions(tmp_path: Path) -> None:
    text = "New transformer.r phases=1 buses=(src.1 b.1) kvs=(11.5 11.5) kvas=(100 100) XHL=1\n"
    t = _load(tmp_path, text + "transformer.r.taps=[1 1.05]\n").transformers
    assert (t.tap_position[0], t.tap_min[0], t.tap_max[0], t.tap_side[0]) == (8, -16, 16, 1)
    assert t.tap_step_percent[0] == pytest.approx(0.625)


def test_loader__reads_coordinates(tmp_path: Path) -> None:
    _write(tmp_path, "SRC, 3, 4\n\nother 5 6\n", "xy.csv")
    network = _load(tmp_path, "New load.l bus1=src kw=1\nBusCoords xy.csv\n")
    assert (network.nodes.x[0], network.nodes.y[0]) == (3, 4)


def test_source_impedance__gives_the_short_circuit_powers_back() -> None:
    z = source_impedance(Source("s", Place("", 0), kv=20, mva_sc3=1000, mva_sc1=900))
    z1, z0 = z[0, 0] - z[0, 1], z[0, 0] + 2 * z[0, 1]
    assert 20**2 / abs(z1) == pytest.approx(1000)
    assert 3 * 20**2 / abs(2 * z1 + z0) == pytest.approx(900)
    assert z0.imag / z0.real == pytest.approx(3)


def test_loader__makes_an_element_like_another_of_its_class(tmp_path: Path) -> None:
    network = _load(
        tmp_path,
        "New line.l1 bus1=src bus2=b r1=0.1 x1=0.2 r0=0.3 x0=0.6 c1=0 c0=0 length=2 units=km\n"
        "New load.first bus1=b.1 phases=1 kv=11.5 kw=30 kvar=10 conn=wye vminpu=0.8\n"
        "New load.second like=first bus1=b.2 kw=40\n",
    )
    c = network.consumers
    assert c.names == ("load.first", "load.second")
    assert c.p_kw[:, 0].tolist() == [30.0, 0.0]
    assert c.p_kw[:, 1].tolist() == [0.0, 40.0]
    assert c.q_kvar.sum(axis=1).tolist() == [10.0, 10.0]


def test_loader__says_what_there_is_nothing_like(tmp_path: Path) -> None:
    line = "New load.second like=first bus1=src"
    assert _findings(tmp_path, line) == ["toy.dss:2: load.second: there is no load.first to be like"]


def test_source_impedance__may_be_given_in_ohm_but_only_as_a_whole(tmp_path: Path) -> None:
    source = Source("source", Place("toy.dss", 1), r1=0.1, x1=1.0, r0=0.4, x0=2.5)
    matrix = source_impedance(source)
    assert matrix[0, 0] - matrix[0, 1] == pytest.approx(0.1 + 1j)  # Z1 = own - mutual, Z0 = own + 2 mutual
    assert matrix[0, 0] + 2 * matrix[0, 1] == pytest.approx(0.4 + 2.5j)
    (finding,) = _findings(tmp_path, "Edit vsource.source r1=0.1")
    assert finding.endswith("r1, x1, r0 and x0 have to be given together")
