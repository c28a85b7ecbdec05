"""A balanced network written out in three phases, for unbalanced studies of a network known only by sequences.

Lines get their matrices from positive and zero sequence (the positive one stands in for an unknown zero sequence),
transformers the vector group that their phase shift asks for, loads, generation and shunts a third per phase.
"""

from __future__ import annotations

import numpy as np

from twin.network.model import Network, SwitchKind
from twin.network.three_phase import Complexes, ThreePhaseNetwork
from twin.network.three_phase_builder import ThreePhaseBuilder
from twin.network.winding_connections import vector_group

SQRT3 = float(np.sqrt(3.0))


def expand(network: Network) -> ThreePhaseNetwork:
    """The network in three phases, under the same names and in the same order.

    Transformers with an odd clock number become Dyn, with an even one YNyn. External networks
    are stiff, as the balanced power flow takes them.

    Raises:
        VectorGroupError: a phase shift that no star or delta connection gives.
    """
    builder = ThreePhaseBuilder(network.name, network.frequency_hz)
    nodes = network.nodes
    for i, name in enumerate(nodes.names):
        builder.node(name, v_kv=float(nodes.v_nominal_kv[i]), x=float(nodes.x[i]), y=float(nodes.y[i]))
    for i, name in enumerate(network.sources.names):
        s = network.sources
        builder.source(name, nodes.names[s.node[i]], v_pu=float(s.v_pu[i]), angle_rad=float(s.angle_rad[i]))
    _add_lines(builder, network)
    _add_transformers(builder, network)
    _add_switches(builder, network)
    _add_injections(builder, network)
    return builder.build()


def _matrices(positive: Complexes, zero: Complexes) -> Complexes:
    """Phase matrices ``(n, 3, 3)`` of a transposed line."""
    zero = np.where(np.isfinite(zero), zero, positive)
    own, mutual = (zero + 2 * positive) / 3, (zero - positive) / 3
    matrices: Complexes = mutual[:, np.newaxis, np.newaxis] + (own - mutual)[:, np.newaxis, np.newaxis] * np.eye(3)
    return matrices


def _add_lines(builder: ThreePhaseBuilder, network: Network) -> None:
    lines, omega = network.lines, 2 * np.pi * network.frequency_hz
    z_ohm = _matrices(lines.r_ohm + 1j * lines.x_ohm, lines.r0_ohm + 1j * lines.x0_ohm)
    g_s = 1e-6 * lines.g_us
    y_s = _matrices(g_s + 1j * omega * 1e-9 * lines.c_nf, g_s + 1j * omega * 1e-9 * lines.c0_nf)
    for i, name in enumerate(lines.names):
        builder.line(
            name,
            network.nodes.names[lines.node_from[i]],
            network.nodes.names[lines.node_to[i]],
            z_ohm=z_ohm[i],
            y_s=y_s[i],
            length_km=float(lines.length_km[i]),
            i_max_a=float(lines.i_max_a[i]),
        )


def _add_transformers(builder: ThreePhaseBuilder, network: Network) -> None:
    t = network.transformers
    for i, name in enumerate(t.names):
        clock = round(float(t.shift_deg[i]) / 30) % 12
        windings = vector_group(f"Dyn{clock}" if clock % 2 else f"YNyn{clock}")
        g_pu = float(t.p_iron_kw[i] / t.s_kva[i])
        y_pu = max(float(t.i0_percent[i]) / 100, g_pu)
        builder.transformer(
            name,
            network.nodes.names[t.node_from[i]],
            network.nodes.names[t.node_to[i]],
            windings,
            s_kva=float(t.s_kva[i]) / 3,
            v_from_kv=float(t.v_from_kv[i]) / (1.0 if clock % 2 else SQRT3),
            v_to_kv=float(t.v_to_kv[i]) / SQRT3,
            r_pu=float(t.vkr_percent[i]) / 100,
            x_pu=float(np.sqrt(t.vk_percent[i] ** 2 - t.vkr_percent[i] ** 2)) / 100,
            g_pu=g_pu,
            b_pu=-float(np.sqrt(y_pu**2 - g_pu**2)),
            earth_ppm=0.0,
            tap_side=int(t.tap_side[i]),
            tap_min=int(t.tap_min[i]),
            tap_max=int(t.tap_max[i]),
            tap_neutral=int(t.tap_neutral[i]),
            tap_step_percent=float(t.tap_step_percent[i]),
            tap_position=int(t.tap_position[i]),
        )


def _add_switches(builder: ThreePhaseBuilder, network: Network) -> None:
    switches = network.switches
    for i, name in enumerate(switches.names):
        branch, other = int(switches.branch[i]), int(switches.other_node[i])
        builder.switch(
            name,
            SwitchKind(int(switches.kind[i])),
            network.nodes.names[switches.node[i]],
            branch=network.branch_names[branch] if branch >= 0 else "",
            other_node=network.nodes.names[other] if other >= 0 else "",
            side=int(switches.side[i]),
            closed=bool(switches.normally_closed[i]),
            feeder_head=bool(switches.feeder_head[i]),
        )


def _add_injections(builder: ThreePhaseBuilder, network: Network) -> None:
    names, v_kv = network.nodes.names, network.nodes.v_nominal_kv / SQRT3
    c, g, s = network.consumers, network.generators, network.shunts
    for i, name in enumerate(c.names):
        builder.consumer(
            name,
            names[c.node[i]],
            p_kw=[float(c.p_kw[i]) / 3] * 3,
            q_kvar=[float(c.q_kvar[i]) / 3] * 3,
            v_kv=float(v_kv[c.node[i]]),
            customers=int(c.customers[i]),
        )
    for i, name in enumerate(g.names):
        builder.generator(
            name,
            names[g.node[i]],
            p_kw=[float(g.p_kw[i]) / 3] * 3,
            q_kvar=[float(g.q_kvar[i]) / 3] * 3,
            s_kva=float(g.s_kva[i]),
        )
    for i, name in enumerate(s.names):
        builder.shunt(
            name,
            names[s.node[i]],
            p_kw=[float(s.p_kw[i]) / 3] * 3,
            q_kvar=[float(s.q_kvar[i]) / 3] * 3,
            v_kv=float(v_kv[s.node[i]]),
        )
