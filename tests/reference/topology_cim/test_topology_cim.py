"""CIM files against what was published of them, and against OpenDSS."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from twin.dms.topology import SwitchState, TopologyProcessor
from twin.network.cim import CimModel, balanced_network, load_three_phase, node_breaker, read_cim
from twin.solvers import FaultKind, FaultPoint, power_flow, short_circuit
from twin.solvers.three_phase import three_phase_power_flow

HERE = Path(__file__).parent
CASES = os.environ.get("TWIN_REFERENCE_CASES", "")
MINIGRID = Path(CASES, "topology_cim", "cgmes2415_minigrid_nodebreaker.zip")
OTHERS = sorted(MINIGRID.parent.glob("*.zip")) if CASES else []
with_minigrid = pytest.mark.skipif(not (CASES and MINIGRID.is_file()), reason="TWIN_REFERENCE_CASES has no MiniGrid")


def test_ieee13_in_cim__agrees_with_opendss_at_the_fixed_taps() -> None:
    network = load_three_phase(HERE / "IEEE13.xml")
    result = three_phase_power_flow(network).solve()
    rows = {name.lower(): row for row, name in enumerate(network.nodes.names)}
    with (HERE / "opendss_ieee13_extra.csv").open(encoding="utf-8") as file:
        expected = [
            (r["bus"], int(r["phase"]) - 1, float(r["v_v"]), float(r["angle_deg"])) for r in csv.DictReader(file)
        ]
    assert len(expected) == 53
    for bus, phase, v_v, angle_deg in expected:
        row = rows[bus]
        base = 1e3 * network.nodes.v_nominal_kv[row] / np.sqrt(3)
        got = result.v_pu[row, phase] * np.exp(1j * result.angle_rad[row, phase])
        assert abs(got - v_v / base * np.exp(1j * np.radians(angle_deg))) < 1e-4, f"{bus}.{phase + 1}"


def test_ieee13_in_cim__reproduces_the_topological_nodes_of_the_file() -> None:
    """All its switches are retained: closed, they still lie between two topological nodes."""
    model = node_breaker(read_cim(HERE / "IEEE13.xml"))
    assert set(model.topological_nodes().values()) == set(model.published.values())
    assert len(model.islands()) == 1


@pytest.fixture(scope="module")
def minigrid() -> CimModel:
    return read_cim(MINIGRID)


@with_minigrid
def test_minigrid__partition_into_topological_nodes_is_the_published_one(minigrid: CimModel) -> None:
    model = node_breaker(minigrid)
    computed = {nodes - model.boundary for nodes in model.topological_nodes().values()} - {frozenset()}
    assert computed == set(model.published.values())
    assert (len(model.nodes), len(model.switches), len(model.published)) == (103, 90, 11)


@pytest.mark.parametrize("file", OTHERS or [None], ids=lambda file: file.stem if file else "none")
def test_node_breaker_models__partitions_are_the_published_ones(file: Path | None) -> None:
    """Every node-breaker model that lies beside MiniGrid, by the connectivity model and by the topology processor."""
    if file is None:
        pytest.skip("TWIN_REFERENCE_CASES has no CIM files")
    model = read_cim(file)
    loaded, connectivity = balanced_network(model), node_breaker(model)
    network, published = loaded.network, set(connectivity.published.values())
    assert published
    nodes = {nodes - connectivity.boundary for nodes in connectivity.topological_nodes().values()} - {frozenset()}
    assert nodes == published
    positions = np.where(network.switches.normally_closed, int(SwitchState.CLOSED), int(SwitchState.OPEN))
    label = TopologyProcessor(network, positions.astype(np.int32)).topological_nodes()
    computed: dict[int, set[str]] = {}
    for mrid in connectivity.nodes.keys() - connectivity.boundary:
        computed.setdefault(int(label[network.index[loaded.names[mrid]].index]), set()).add(mrid)
    assert {frozenset(found) for found in computed.values()} == published


@with_minigrid
def test_minigrid__topology_processing_gives_the_published_partition_in_one_island(minigrid: CimModel) -> None:
    loaded, connectivity = balanced_network(minigrid), node_breaker(minigrid)
    network = loaded.network
    positions = np.where(network.switches.normally_closed, int(SwitchState.CLOSED), int(SwitchState.OPEN))
    processor = TopologyProcessor(network, positions.astype(np.int32))
    label, island = processor.topological_nodes(), processor.islands()
    rows = {mrid: network.index[loaded.names[mrid]].index for mrid in connectivity.nodes}
    computed: dict[int, set[str]] = {}
    for mrid in connectivity.nodes.keys() - connectivity.boundary:
        computed.setdefault(int(label[rows[mrid]]), set()).add(mrid)
    assert sorted(map(sorted, computed.values())) == sorted(map(sorted, connectivity.published.values()))
    assert len({int(island[rows[mrid]]) for nodes in connectivity.published.values() for mrid in nodes}) == 1


@with_minigrid
def test_minigrid__power_flow_reproduces_the_solved_state_of_the_files(minigrid: CimModel) -> None:
    loaded = balanced_network(minigrid)
    network, result = loaded.network, power_flow(loaded.network).solve()
    solved = {
        item.references["SvVoltage.TopologicalNode"][0]: (
            float(item.values["SvVoltage.v"]),
            float(item.values["SvVoltage.angle"]),
        )
        for item in minigrid.of("SvVoltage")
    }
    published = node_breaker(minigrid).published
    assert len(published) == 11
    for topological, nodes in published.items():
        v_kv, angle_deg = solved[topological]
        for node in nodes:
            row = network.index[loaded.names[node]].index
            assert result.v_pu[row] == pytest.approx(v_kv / network.nodes.v_nominal_kv[row], abs=1e-5)
            # the files leave vector groups out of the angles
            off = (np.degrees(result.angle_rad[row]) - angle_deg + 15) % 30 - 15
            assert abs(off) < 1e-3


@with_minigrid
def test_minigrid__short_circuits_are_those_of_the_report_behind_it(minigrid: CimModel) -> None:
    """MiniGrid is the network of IEC TR 60909-4. The star of a transformer is corrected winding by winding: 0.3 %."""
    loaded, connectivity = balanced_network(minigrid), node_breaker(minigrid)
    network, kernel = loaded.network, short_circuit(loaded.network)
    with (HERE.parent / "shortcircuit" / "iec60909_4_reference_3ph_max.csv").open(encoding="utf-8") as file:
        expected = {row["bus"]: float(row["ikss_kA"]) for row in csv.DictReader(file)}
    for topological, nodes in connectivity.published.items():
        name = connectivity.names[topological]
        if name in expected:
            fault = FaultPoint(FaultKind.THREE_PHASE, node=network.index[loaded.names[min(nodes)]].index)
            currents = kernel.standard_currents([fault], network.switches.normally_closed)
            assert currents.ikss_a[0] / 1e3 == pytest.approx(expected[name], rel=3e-3), name
