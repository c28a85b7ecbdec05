"""The IEEE 34 node test feeder against OpenDSS with fixed taps and against the published voltages."""

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
    for row in _rows("published_voltages.csv"):
        got = _volts(solved, row["object"].removeprefix("load_"), "ABC".index(row["quantity"][-1]))
        assert abs(got) == pytest.approx(abs(complex(row["value"])), rel=PUBLISHED), row


def test_power_flow__taps_moved_in_place_give_what_the_script_with_fixed_taps_gives(solved: Solved) -> None:
    network, expected = solved
    neutral = load_opendss(HERE / "feeder" / "ieee34Mod1.dss")
    assert not neutral.transformers.tap_position.any()
    flow = three_phase_power_flow(neutral)
    assert flow.solve().v_pu[network.nodes.names.index("890")].max() < 0.85
    flow.update(tap_position=network.transformers.tap_position)
    assert np.array_equal(flow.solve().v_pu, expected.v_pu, equal_nan=True)


def test_loader__notes_the_delta_loads_that_the_script_ties_to_earth(solved: Solved) -> None:
    tied = [note.split()[0] for note in solved[0].notes if "one node only" in note]
    assert tied == [f"load.d832_858{end}{phase}" for phase in "abc" for end in "sr"]
