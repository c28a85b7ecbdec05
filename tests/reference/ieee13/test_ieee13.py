"""The IEEE 13 node test feeder against OpenDSS with fixed taps and against the published voltages."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from twin.network.opendss_loader import load_opendss
from twin.network.three_phase import ThreePhaseNetwork
from twin.solvers.three_phase import ThreePhaseResult, three_phase_power_flow

HERE = Path(__file__).parent
OPENDSS_PU = 1e-4
PUBLISHED = 0.0025

Solved = tuple[ThreePhaseNetwork, ThreePhaseResult]


@pytest.fixture(scope="module")
def solved() -> Solved:
    network = load_opendss(HERE / "fixed_taps.dss")
    return network, three_phase_power_flow(network).solve()


def _rows(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _volts(solved: Solved, node: str, phase: int) -> complex:
    network, result = solved
    i = network.nodes.names.index(node)
    nominal = 1e3 * network.nodes.v_nominal_kv[i] / np.sqrt(3)
    return complex(nominal * result.v_pu[i, phase] * np.exp(1j * result.angle_rad[i, phase]))


def _published(text: str) -> complex:
    """``2445.01-2.56d``: magnitude and angle in degrees."""
    at = max(text.rfind("+"), text.rfind("-"))
    if at <= 0:
        return complex(float(text))
    return complex(float(text[:at]) * np.exp(1j * np.radians(float(text[at:].rstrip("d")))))


def test_power_flow__meets_opendss_with_fixed_taps(solved: Solved) -> None:
    rows = _rows("opendss_fixed_taps.csv")
    for row in rows:
        nominal = 1e3 * float(row["kvbase_ln"])
        expected = float(row["v_volts"]) * np.exp(1j * np.radians(float(row["angle_deg"])))
        got = _volts(solved, row["bus"], int(row["phase"]) - 1)
        assert abs(abs(got) - abs(expected)) < 1e-6 * nominal, row
        assert abs(got - expected) < OPENDSS_PU * nominal, row
    assert len(rows) == np.count_nonzero(solved[0].nodes.phases)


def test_power_flow__meets_the_published_voltages(solved: Solved) -> None:
    rows = _rows("published_voltages.csv")
    for row in rows:
        got = _volts(solved, row["object"][1:], "ABC".index(row["quantity"][-1]))
        assert abs(got) == pytest.approx(abs(_published(row["value"])), rel=PUBLISHED), row
    assert len(rows) == 32


def test_loader__takes_the_switch_without_its_line_impedance(solved: Solved) -> None:
    network, result = solved
    assert network.switches.names == ("line.671692",)
    assert _volts(solved, "671", 0) == _volts(solved, "692", 0)
    # all that flows through the switch goes on to 675 and into the load at 692, which lies between C and A
    line = network.lines.names.index("line.692675")
    assert result.i_switch_a[0, 1] == pytest.approx(result.i_from_a[line, 1], rel=1e-9)
    assert result.i_switch_a[0, 0] > result.i_from_a[line, 0]


def test_loader__says_which_controls_it_leaves_out(solved: Solved) -> None:
    assert [note.split()[0] for note in solved[0].notes] == ["regcontrol.reg1", "regcontrol.reg2", "regcontrol.reg3"]


def test_power_flow__opened_switch_leaves_the_tail_dead_and_returns(solved: Solved) -> None:
    network, before = solved
    flow = three_phase_power_flow(network)
    flow.update(closed=np.array([False]))
    opened = flow.solve()
    dead = [network.nodes.names.index(name) for name in ("692", "675")]
    assert not opened.energised[dead].any()
    assert (opened.v_pu[dead] == 0).all()
    flow.update(closed=np.array([True]))
    assert np.array_equal(flow.solve().v_pu, before.v_pu, equal_nan=True)
