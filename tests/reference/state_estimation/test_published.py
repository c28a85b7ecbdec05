"""Published state estimation cases: voltages, angles, objective."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twin.network.builder import NetworkBuilder
from twin.network.model import Network
from twin.solvers.state_estimation import MeasurementKind, Measurements, StateEstimator

CASES: dict[str, Any] = json.loads((Path(__file__).parent / "se_cases.json").read_text("utf-8"))
ABUR = CASES["abur_exposito_ex2_2"]
PANDAPOWER = CASES["pandapower_2bus_3bus"]
K = MeasurementKind


def _network(lines: list[list[float]]) -> Network:
    """Lines by ohm at 1 kV (per unit of 1 MVA), the source at bus 1; every bus may have an injection."""
    b = NetworkBuilder("published")
    n = int(max(row[1] for row in lines))
    for bus in range(1, n + 1):
        b.node(f"B{bus}", v_kv=1.0)
    b.source("S", "B1")
    for a, c, r_ohm, x_ohm in lines:
        b.line(f"L{a}-{c}", f"B{a}", f"B{c}", length_km=1.0, r_ohm_per_km=r_ohm, x_ohm_per_km=x_ohm)
    for bus in range(2, n + 1):
        b.consumer(f"C{bus}", f"B{bus}", p_kw=0.0)
    return b.build()


def _one(kind: K, place: int, value: float, sigma: float) -> Measurements:
    """A measurement in per unit of 1 MVA."""
    scale = 1.0 if kind is K.V_PU else 1000.0
    return Measurements.of(kind, np.array([place]), np.array([value * scale]), sigma * scale)


def test_estimate__meets_example_2_2_of_abur_and_exposito() -> None:
    network = _network(ABUR["lines_pu"])
    kinds = {
        "pflow": K.P_FLOW_KW,
        "qflow": K.Q_FLOW_KVAR,
        "pinj": K.P_INJECTION_KW,
        "qinj": K.Q_INJECTION_KVAR,
        "vmag": K.V_PU,
    }
    rows = [
        _one(kinds[kind], network.lines.names.index(f"L{where}") if isinstance(where, str) else where - 1, value, sigma)
        for kind, where, value, sigma in ABUR["measurements"]
    ]
    estimate = StateEstimator(network).estimate(Measurements.join(*rows), tests=True)
    expected = ABUR["expected"]
    np.testing.assert_allclose(estimate.state.v_pu, expected["V"], atol=1e-5)
    np.testing.assert_allclose(np.rad2deg(estimate.state.angle_rad), expected["theta_deg"], atol=1e-4)
    assert estimate.objective == pytest.approx(expected["J"], abs=1e-3)
    assert estimate.degrees_of_freedom == expected["dof"]


@pytest.mark.parametrize("case", ["2bus", "3bus"])
def test_estimate__meets_the_cases_of_pandapower(case: str) -> None:
    data = PANDAPOWER[case]
    network = _network(data["lines_ohm"])
    kinds = {
        "p_from": K.P_FLOW_KW,
        "q_from": K.Q_FLOW_KVAR,
        "p_bus": K.P_INJECTION_KW,
        "q_bus": K.Q_INJECTION_KVAR,
        "v": K.V_PU,
    }
    rows = [
        _one(kinds[kind], where - 1, -value if kind.endswith("_bus") else value, sigma)
        for kind, where, value, sigma in data["meas"]
    ]
    estimate = StateEstimator(network).estimate(Measurements.join(*rows))
    np.testing.assert_allclose(estimate.state.v_pu, data["V"], atol=1e-4)
    np.testing.assert_allclose(np.rad2deg(estimate.state.angle_rad), data["theta_deg"], atol=1e-2)
