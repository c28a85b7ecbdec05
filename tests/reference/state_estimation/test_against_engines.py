"""The estimate against the power flow, and against the state estimation of power-grid-model and pandapower."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandapower as pp
import pytest
from pandapower.estimation import estimate as pandapower_estimate
from power_grid_model import CalculationMethod, MeasuredTerminalType, PowerGridModel

from twin.network import load_network
from twin.network.model import Network
from twin.solvers import PowerFlowResult, power_flow
from twin.solvers import grid_model_mapping as mapping
from twin.solvers.state_estimation import MeasurementKind as K
from twin.solvers.state_estimation import Measurements, StateEstimator


def placed(network: Network) -> Measurements:
    """V at every third node, P and Q at every node that has any, P and Q into every other branch."""
    return at(
        network, np.unique(np.concatenate([network.consumers.node, network.generators.node, network.sources.node]))
    )


def at(network: Network, powered: Any) -> Measurements:
    volts, ends = np.arange(0, network.nodes.n, 3), np.arange(0, network.n_branches, 2)
    return Measurements.join(
        Measurements.of(K.V_PU, volts, np.ones(len(volts)), 0.003),
        *(Measurements.of(k, powered, np.zeros(len(powered)), 40.0) for k in (K.P_INJECTION_KW, K.Q_INJECTION_KVAR)),
        *(Measurements.of(k, ends, np.zeros(len(ends)), 20.0) for k in (K.P_FLOW_KW, K.Q_FLOW_KVAR)),
    )


def exact(network: Network, result: PowerFlowResult, m: Measurements) -> Measurements:
    s_from, s_to = result.p_from_kw + 1j * result.q_from_kvar, result.p_to_kw + 1j * result.q_to_kvar
    injection = np.zeros(network.nodes.n, dtype=complex)
    np.add.at(injection, network.branch_from, s_from)
    np.add.at(injection, network.branch_to, s_to)
    node, branch = np.where(m.kind <= 2, m.place, 0), np.where(m.kind > 2, m.place, 0)
    flow = s_from[branch]
    by_kind = [result.v_pu[node], injection[node].real, injection[node].imag, flow.real, flow.imag]
    return m.with_values(np.choose(m.kind, by_kind))


def turned(angle_rad: Any) -> Any:
    """Angles between -180 and 180 degrees."""
    return np.angle(np.exp(1j * np.asarray(angle_rad)))


@pytest.mark.parametrize("meshed", [False, True])
@pytest.mark.parametrize("name", ["cigre_mv", "mv_oberrhein", "pandapower:case33bw"])
def test_estimate__of_exact_measurements_is_the_power_flow(name: str, meshed: bool) -> None:
    network = load_network(name)
    closed = np.ones(network.switches.n, dtype=bool) if meshed else network.switches.normally_closed
    flow = power_flow(network)
    flow.update(closed=closed)
    result = flow.solve()
    estimator = StateEstimator(network)
    estimator.update(closed=closed)
    estimate = estimator.estimate(exact(network, result, placed(network)), tests=True)
    np.testing.assert_allclose(estimate.state.v_pu, result.v_pu, atol=1e-8)
    np.testing.assert_allclose(turned(estimate.state.angle_rad - result.angle_rad), 0, atol=1e-8)
    for name_of in ("p_from_kw", "q_from_kvar", "p_to_kw", "q_to_kvar"):
        np.testing.assert_allclose(getattr(estimate.state, name_of), getattr(result, name_of), atol=2e-3)
    np.testing.assert_allclose(estimate.state.i_from_a, result.i_from_a, atol=1e-4)
    np.testing.assert_allclose(estimate.state.loading, result.loading, atol=1e-6)
    np.testing.assert_array_equal(estimate.state.energised, result.energised)
    assert estimate.objective < 1e-6


def noisy_cigre(passive_too: bool = False) -> tuple[Network, Measurements]:
    """The CIGRE MV benchmark with all switches closed, so that no peer has to know of switches."""
    network = load_network("cigre_mv")
    flow = power_flow(network)
    flow.update(closed=np.ones(network.switches.n, dtype=bool))
    m = at(network, np.arange(network.nodes.n)) if passive_too else placed(network)
    m = exact(network, flow.solve(), m)
    return network, m.with_values(m.value + np.random.default_rng(11).normal(0, m.sigma))


def ours(network: Network, m: Measurements, zero_injection: Any = None) -> PowerFlowResult:
    estimator = StateEstimator(network, zero_injection=zero_injection)
    estimator.update(closed=np.ones(network.switches.n, dtype=bool))
    return estimator.estimate(m).state


def test_estimate__equals_that_of_power_grid_model() -> None:
    network, m = noisy_cigre()
    ids = mapping.ids_of(network)
    volt = np.flatnonzero(m.kind == K.V_PU)
    p = np.flatnonzero((m.kind == K.P_INJECTION_KW) | (m.kind == K.P_FLOW_KW))
    q = np.flatnonzero((m.kind == K.Q_INJECTION_KVAR) | (m.kind == K.Q_FLOW_KVAR))
    v_v = 1e3 * network.nodes.v_nominal_kv[m.place[volt]]
    volts = mapping.table("sym_voltage_sensor", ids.end, len(volt))
    volts["measured_object"] = m.place[volt]
    volts["u_measured"], volts["u_sigma"] = v_v * m.value[volt], v_v * m.sigma[volt]
    powers = mapping.table("sym_power_sensor", ids.end + len(volt), len(p))
    at_node, n_lines = m.kind[p] == K.P_INJECTION_KW, network.lines.n
    branch = np.where(m.place[p] < n_lines, ids.line + m.place[p], ids.transformer + m.place[p] - n_lines)
    powers["measured_object"] = np.where(at_node, m.place[p], branch)
    powers["measured_terminal_type"] = np.where(at_node, MeasuredTerminalType.node, MeasuredTerminalType.branch_from)
    powers["p_measured"], powers["q_measured"] = 1e3 * m.value[p], 1e3 * m.value[q]
    powers["p_sigma"], powers["q_sigma"] = 1e3 * m.sigma[p], 1e3 * m.sigma[q]
    data = {
        "node": mapping.node_table(network),
        "line": mapping.line_table(network, ids),
        "transformer": mapping.transformer_table(network, ids),
        "source": mapping.source_table(network, ids),
        "sym_load": mapping.load_table(network, ids),
        "sym_voltage_sensor": volts,
        "sym_power_sensor": powers,
    }
    model: Any = PowerGridModel(data, network.frequency_hz)
    node = model.calculate_state_estimation(
        calculation_method=CalculationMethod.newton_raphson, output_component_types=["node"]
    )["node"]
    mine = ours(network, m)
    np.testing.assert_allclose(mine.v_pu, node["u_pu"], atol=1e-8)
    np.testing.assert_allclose(turned(mine.angle_rad - node["u_angle"]), 0, atol=1e-8)


@pytest.mark.filterwarnings("ignore")  # pandapower's own use of pandas
def test_estimate__equals_that_of_pandapower() -> None:
    """All injections are measured here, with none taken as zero.

    pandapower counts consumption positive at buses, and takes transformers without their phase shift.
    """
    network, m = noisy_cigre(passive_too=True)
    net = pp.create_empty_network(f_hz=network.frequency_hz, sn_mva=1.0)
    pp.create_buses(net, network.nodes.n, vn_kv=network.nodes.v_nominal_kv)
    for node in network.sources.node:
        pp.create_ext_grid(net, int(node), vm_pu=1.0)
    lines, t = network.lines, network.transformers
    pp.create_lines_from_parameters(
        net, lines.node_from, lines.node_to, 1.0, r_ohm_per_km=lines.r_ohm, x_ohm_per_km=lines.x_ohm,
        c_nf_per_km=lines.c_nf, max_i_ka=1.0,
    )  # fmt: skip
    for row in range(t.n):
        pp.create_transformer_from_parameters(
            net, int(t.node_from[row]), int(t.node_to[row]), sn_mva=t.s_kva[row] / 1e3, vn_hv_kv=t.v_from_kv[row],
            vn_lv_kv=t.v_to_kv[row], vk_percent=t.vk_percent[row], vkr_percent=t.vkr_percent[row],
            pfe_kw=t.p_iron_kw[row], i0_percent=t.i0_percent[row], shift_degree=0.0,
        )  # fmt: skip
    for node in network.consumers.node:
        pp.create_load(net, int(node), p_mw=0.1)
    for kind, place, value, sigma in zip(m.kind, m.place, m.value, m.sigma, strict=True):
        if kind == K.V_PU:
            pp.create_measurement(net, "v", "bus", value, sigma, int(place))
            continue
        quantity = "p" if kind in (K.P_INJECTION_KW, K.P_FLOW_KW) else "q"
        if kind <= K.Q_INJECTION_KVAR:
            pp.create_measurement(net, quantity, "bus", -value / 1e3, sigma / 1e3, int(place))
        elif place < lines.n:
            pp.create_measurement(net, quantity, "line", value / 1e3, sigma / 1e3, int(place), side="from")
        else:
            pp.create_measurement(net, quantity, "trafo", value / 1e3, sigma / 1e3, int(place - lines.n), side="hv")
    pandapower_estimate(net, algorithm="wls", zero_injection=None, tolerance=1e-9)
    mine = ours(network, m, np.zeros(network.nodes.n, dtype=bool))
    np.testing.assert_allclose(mine.v_pu, net.res_bus_est.vm_pu.to_numpy(), atol=1e-8)
