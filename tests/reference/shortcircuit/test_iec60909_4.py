"""The currents of IEC TR 60909-4: initial, peak, breaking, one phase to earth."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from twin.network.model import Network
from twin.solvers import FaultKind, FaultPoint, short_circuit

with Path(__file__).with_name("iec60909_4_reference_3ph_max.csv").open() as file:
    ROWS = list(csv.DictReader(file))

REL = 1e-3
CLOSED = np.zeros(0, dtype=np.bool_)


def test_initial_peak_and_breaking_currents__are_those_of_the_report(iec_60909_4: Network) -> None:
    faults = [FaultPoint(FaultKind.THREE_PHASE, node=int(row["bus"]) - 1) for row in ROWS]
    currents = short_circuit(iec_60909_4).standard_currents(faults, CLOSED, breaking_time_s=0.1)
    for column, ours in (
        ("ikss_kA", currents.ikss_a),
        ("ip_kA(kappa method C)", currents.ip_a),
        ("ib_kA", currents.ib_a),
    ):
        assert ours / 1e3 == pytest.approx([float(row[column]) for row in ROWS], rel=REL), column


def test_initial_and_peak_currents__agree_to_the_last_digit_printed(iec_60909_4: Network) -> None:
    faults = [FaultPoint(FaultKind.THREE_PHASE, node=int(row["bus"]) - 1) for row in ROWS]
    currents = short_circuit(iec_60909_4).standard_currents(faults, CLOSED)
    assert currents.ikss_a / 1e3 == pytest.approx([float(row["ikss_kA"]) for row in ROWS], abs=1.01e-4)
    assert currents.ip_a / 1e3 == pytest.approx([float(row["ip_kA(kappa method C)"]) for row in ROWS], abs=1.01e-4)


def test_one_phase_to_earth_currents__are_those_of_the_report(iec_60909_4: Network) -> None:
    earthed = [row for row in ROWS if row["ikss1ph_kA"]]
    assert len(earthed) == 5
    faults = [FaultPoint(FaultKind.PHASE_TO_EARTH, node=int(row["bus"]) - 1) for row in earthed]
    study = short_circuit(iec_60909_4).solve_many(faults, CLOSED)
    assert study.i_fault_a / 1e3 == pytest.approx([float(row["ikss1ph_kA"]) for row in earthed], abs=1.01e-4)


def test_steady_state_current__is_the_initial_one_without_motors(iec_60909_4: Network) -> None:
    """B7 is the busbar of the motors; B1 is far from them."""
    faults = [FaultPoint(FaultKind.THREE_PHASE, node=node) for node in (6, 0)]
    currents = short_circuit(iec_60909_4).standard_currents(faults, CLOSED)
    share = currents.ik_a / currents.ikss_a
    assert share[0] < 0.9
    assert 0.999 < share[1] < 1.0
