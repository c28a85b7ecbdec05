"""Winding connections, load models and line properties against OpenDSS."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from twin.network.opendss_loader import load_opendss
from twin.solvers.three_phase import three_phase_power_flow

HERE = Path(__file__).parent
TOLERANCE_PU = 1e-7


def test_power_flow__meets_opendss_in_every_connection_and_load_model() -> None:
    network = load_opendss(HERE / "connections.dss")
    result = three_phase_power_flow(network).solve()
    with (HERE / "opendss_voltages.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        i, phase = network.nodes.names.index(row["bus"]), int(row["phase"]) - 1
        nominal = 1e3 * network.nodes.v_nominal_kv[i] / np.sqrt(3)
        expected = complex(float(row["re_volts"]), float(row["im_volts"])) / nominal
        got = result.v_pu[i, phase] * np.exp(1j * result.angle_rad[i, phase])
        assert abs(got - expected) < TOLERANCE_PU, row
    assert len(rows) == np.count_nonzero(network.nodes.phases) == 26
