"""The IEEE 37 and 123 node test feeders against OpenDSS with the published taps.

37: delta throughout, an open-delta regulator, 4.8 kV without earth; 123: one to three phases, single-phase regulators
apart and ganged, all load models and switches.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from twin.network.opendss_loader import load_opendss
from twin.solvers.three_phase import three_phase_power_flow

HERE = Path(__file__).parent
OPENDSS_PU = 1e-5


@pytest.mark.parametrize("feeder", ["37", "123"])
def test_power_flow__meets_opendss_with_fixed_taps(feeder: str) -> None:
    network = load_opendss(HERE / f"fixed_taps_{feeder}.dss")
    result = three_phase_power_flow(network).solve()
    row_of = {name: row for row, name in enumerate(network.nodes.names)}
    with (HERE / f"opendss_fixed_taps_{feeder}.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["bus"] in row_of]
    assert len(rows) == np.count_nonzero(network.nodes.phases)
    for row in rows:
        at, phase = row_of[row["bus"]], int(row["phase"]) - 1
        nominal_v = 1e3 * network.nodes.v_nominal_kv[at] / np.sqrt(3)
        got = nominal_v * result.v_pu[at, phase] * np.exp(1j * result.angle_rad[at, phase])
        expected = float(row["v_volts"]) * np.exp(1j * np.radians(float(row["angle_deg"])))
        assert abs(got - expected) < OPENDSS_PU * nominal_v, row
