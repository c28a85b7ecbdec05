"""IEEE test systems as pandapower ships them: noisy V, P and Q everywhere, our estimate against pandapower's."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pytest
from pandapower.estimation import estimate as pandapower_estimate

from twin.network import load_network
from twin.network.model import Network
from twin.solvers.state_estimation import MeasurementKind as K
from twin.solvers.state_estimation import Measurements, StateEstimator

SYSTEMS = ["case9", "case14", "case_ieee30", "case57"]
SIGMA_V_PU, SIGMA_MW = 0.004, 0.5


def measured(net: Any, seed: int) -> Any:
    """The net with V, P and Q of every bus and P and Q into every line and transformer, true values plus noise.

    Injections are without what shunts take: both estimations count that to the network.
    """
    rng, net = np.random.default_rng(seed), deepcopy(net)
    pp.runpp(net, calculate_voltage_angles=True, tolerance_mva=1e-10)

    def add(quantity: str, element: str, value: float, sigma: float, place: int, side: str | None = None) -> None:
        pp.create_measurement(net, quantity, element, value + rng.normal(0, sigma), sigma, place, side=side)

    net.res_bus.loc[net.shunt.bus, ["p_mw", "q_mvar"]] -= net.res_shunt[["p_mw", "q_mvar"]].to_numpy()
    for bus, row in net.res_bus.iterrows():
        add("v", "bus", row.vm_pu, SIGMA_V_PU, bus)
        add("p", "bus", row.p_mw, SIGMA_MW, bus)
        add("q", "bus", row.q_mvar, SIGMA_MW, bus)
    for table, side, result in (("line", "from", net.res_line), ("trafo", "hv", net.res_trafo)):
        for place, row in result.iterrows():
            add("p", table, row[f"p_{side}_mw"], SIGMA_MW, place, side)
            add("q", table, row[f"q_{side}_mvar"], SIGMA_MW, place, side)
    return net


def of_table(net: Any, network: Network) -> Measurements:
    """The measurement table of a pandapower net, whose injections count consumption positive, for our estimator."""
    parts = []
    kinds = {("v", "bus"): K.V_PU, ("p", "bus"): K.P_INJECTION_KW, ("q", "bus"): K.Q_INJECTION_KVAR}
    first = {"bus": 0, "line": 0, "trafo": network.lines.n}
    for row in net.measurement.itertuples():
        flow = K.P_FLOW_KW if row.measurement_type == "p" else K.Q_FLOW_KVAR
        kind = kinds.get((row.measurement_type, row.element_type), flow)
        unit = 1.0 if kind is K.V_PU else 1000.0
        sign = -1.0 if row.element_type == "bus" and kind is not K.V_PU else 1.0
        place = np.array([first[row.element_type] + int(row.element)])
        parts.append(Measurements.of(kind, place, np.array([sign * unit * row.value]), unit * row.std_dev))
    return Measurements.join(*parts)


@pytest.mark.filterwarnings("ignore")  # pandapower's own use of pandas
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("seed", [1, 2])
def test_estimate__equals_that_of_pandapower_on_ieee_systems(system: str, seed: int) -> None:
    net = measured(getattr(pn, system)(), seed)
    assert pandapower_estimate(net, algorithm="wls", zero_injection=None, tolerance=1e-10)
    network = load_network(f"pandapower:{system}")
    none = np.zeros(network.nodes.n, dtype=bool)
    estimate = StateEstimator(network, zero_injection=none).estimate(of_table(net, network), tests=True)
    np.testing.assert_allclose(estimate.state.v_pu, net.res_bus_est.vm_pu.to_numpy(), atol=1e-6)
    expected = np.deg2rad(net.res_bus_est.va_degree.to_numpy())
    angle = estimate.state.angle_rad - estimate.state.angle_rad[network.sources.node[0]]
    np.testing.assert_allclose(angle, expected - expected[network.sources.node[0]], atol=1e-6)
    assert not estimate.suspicious
