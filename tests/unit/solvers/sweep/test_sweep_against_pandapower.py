"""The sweep against pandapower's Newton-Raphson at 1e-8 MVA: nets as pandapower ships them, open and meshed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandapower as pp
import pandapower.networks
import pytest

from twin.network import load_network
from twin.solvers.sweep import SweepPowerFlow

NETWORKS = [
    ("cigre_mv", pandapower.networks.create_cigre_network_mv),
    ("mv_oberrhein", pandapower.networks.mv_oberrhein),
    ("pandapower:case33bw", pandapower.networks.case33bw),
]


@pytest.mark.parametrize("meshed", [False, True])
@pytest.mark.parametrize(("name", "create"), NETWORKS)
def test_published_net__agrees(name: str, create: Callable[[], Any], meshed: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        net = create()
    net.trafo["tap_changer_type"] = "Ratio"
    if meshed:
        net.switch["closed"] = True
        net.line["in_service"] = True
    pp.runpp(net, tolerance_mva=1e-8, trafo_model="pi", calculate_voltage_angles=True, init="dc", numba=False)
    network = load_network(name)
    solver = SweepPowerFlow(network)
    if meshed:
        solver.update(closed=np.ones(network.switches.n, dtype=np.bool_))
    result = solver.solve()
    assert solver.notes == []
    row = {node: i for i, node in enumerate(network.nodes.names)}
    order = np.array([row[f"N{bus}"] for bus in net.bus.index])
    theirs = net.res_bus.vm_pu.to_numpy() * np.exp(1j * np.radians(net.res_bus.va_degree.to_numpy()))
    ours = result.v_pu[order] * np.exp(1j * result.angle_rad[order])
    assert np.abs(ours - theirs).max() < 1e-8
