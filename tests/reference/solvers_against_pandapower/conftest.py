"""Builds the pandapower net of one of our networks, as an independent oracle for the solvers.

Source: pandapower 3 (Fraunhofer IEE and University of Kassel), Newton-Raphson at 1e-8 MVA and its IEC 60909
module. The transformer is the pi model in both; ``net.bus`` has the order of our nodes, ``net.line`` and
``net.trafo`` that of our lines and transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandapower as pp
import pytest

from twin.network.model import Bools, Network

PandapowerOf = Callable[[Network, Bools], Any]


def _to_pandapower(network: Network, closed: Bools) -> Any:
    net = pp.create_empty_network(f_hz=network.frequency_hz, sn_mva=1.0)
    pp.create_buses(net, network.nodes.n, vn_kv=network.nodes.v_nominal_kv, name=network.nodes.names)
    _sources(net, network)
    _lines(net, network)
    _transformers(net, network)
    _switches(net, network, closed)
    _injections(net, network)
    return net


def _sources(net: Any, network: Network) -> None:
    s = network.sources
    for row in range(s.n):
        pp.create_ext_grid(
            net,
            s.node[row],
            vm_pu=s.v_pu[row],
            va_degree=np.degrees(s.angle_rad[row]),
            s_sc_max_mva=s.s_sc_mva[row],
            rx_max=s.rx[row],
        )


def _lines(net: Any, network: Network) -> None:
    t = network.lines
    pp.create_lines_from_parameters(
        net,
        t.node_from,
        t.node_to,
        length_km=1.0,
        r_ohm_per_km=t.r_ohm,
        x_ohm_per_km=t.x_ohm,
        c_nf_per_km=t.c_nf,
        g_us_per_km=t.g_us,
        max_i_ka=t.i_max_a / 1e3,
    )


def _transformers(net: Any, network: Network) -> None:
    t = network.transformers
    for row in range(t.n):
        pp.create_transformer_from_parameters(
            net,
            t.node_from[row],
            t.node_to[row],
            sn_mva=t.s_kva[row] / 1e3,
            vn_hv_kv=t.v_from_kv[row],
            vn_lv_kv=t.v_to_kv[row],
            vk_percent=t.vk_percent[row],
            vkr_percent=t.vkr_percent[row],
            pfe_kw=t.p_iron_kw[row],
            i0_percent=t.i0_percent[row],
            shift_degree=t.shift_deg[row],
            tap_side="lv" if t.tap_side[row] else "hv",
            tap_neutral=t.tap_neutral[row],
            tap_min=t.tap_min[row],
            tap_max=t.tap_max[row],
            tap_pos=t.tap_position[row],
            tap_step_percent=t.tap_step_percent[row],
            tap_changer_type="Ratio",
        )


def _switches(net: Any, network: Network, closed: Bools) -> None:
    s, n_lines = network.switches, network.lines.n
    at_line = (s.branch >= 0) & (s.branch < n_lines)
    et = np.where(s.branch < 0, "b", np.where(at_line, "l", "t"))
    element = np.where(s.branch < 0, s.other_node, np.where(at_line, s.branch, s.branch - n_lines))
    pp.create_switches(net, s.node, element, et=et.tolist(), closed=closed)


def _injections(net: Any, network: Network) -> None:
    c, g, s = network.consumers, network.generators, network.shunts
    pp.create_loads(net, c.node, p_mw=c.p_kw / 1e3, q_mvar=c.q_kvar / 1e3)
    for column, share in zip(("i_p", "z_p", "i_q", "z_q"), c.zip_shares, strict=True):
        net.load[f"const_{column}_percent"] = 100 * share
    for row in range(g.n):
        if np.isnan(g.v_set_pu[row]):
            pp.create_sgen(net, g.node[row], p_mw=g.p_kw[row] / 1e3, q_mvar=g.q_kvar[row] / 1e3)
        else:
            limits = {"min_q_mvar": g.q_min_kvar[row] / 1e3, "max_q_mvar": g.q_max_kvar[row] / 1e3}
            pp.create_gen(net, g.node[row], p_mw=g.p_kw[row] / 1e3, vm_pu=g.v_set_pu[row], **limits)
    for row in range(s.n):
        share = s.initial_steps[row] / s.steps[row] / 1e3
        pp.create_shunt(net, s.node[row], p_mw=share * s.p_kw[row], q_mvar=share * s.q_kvar[row])


@pytest.fixture(scope="session")
def pandapower_of() -> PandapowerOf:
    """The pandapower net of a network under given switch states."""
    return _to_pandapower
