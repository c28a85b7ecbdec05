"""Ratings and fault levels that dead bands and protection settings are derived from.

Estimates for settings, not results: the fault level adds up impedances along the one path of normal
operation, without load, infeed or parallel paths.
"""

from __future__ import annotations

import math

from twin.derive.options import DeriveOptions
from twin.network.model import Network
from twin.network.topology import Topology, TopologyState

_C_MAX = 1.1
"""Voltage factor for the largest short-circuit current above 1 kV, IEC 60909-0:2016, table 1."""

_LARGEST_RATING_A = 20_000.0


def switch_rating_a(network: Network, switch: int, options: DeriveOptions) -> float:
    """Rated current of what a switch leads to, A; ``options.unknown_rating_a`` if that states none."""
    branch, side = int(network.switches.branch[switch]), int(network.switches.side[switch])
    if branch < 0:
        return options.unknown_rating_a
    if branch < network.lines.n:
        rating = float(network.lines.i_max_a[branch])
    else:
        t, row = network.transformers, branch - network.lines.n
        rating = float(t.s_kva[row]) / (math.sqrt(3.0) * float((t.v_from_kv, t.v_to_kv)[side][row]))
    return rating if 0 < rating <= _LARGEST_RATING_A else options.unknown_rating_a


def fault_level_a(topology: Topology, state: TopologyState, node: int) -> float:
    """Three-phase short-circuit current at a node in normal operation, A; NaN if unknown or dead.

    I = c * U / (sqrt(3) * |Z|), IEC 60909-0:2016, equation (33), Z being the sum of the source, transformers
    and lines upstream of the node, in per unit of 1 MVA.
    """
    network = topology.network
    if state.source[node] < 0:
        return math.nan
    z_pu = source_z_pu(network, int(state.source[node]))
    _, edges = topology.upstream(state, node)
    z_pu += sum((branch_z_pu(network, edge) for edge in edges if edge < network.n_branches), start=0j)
    if not abs(z_pu) > 0:
        return math.nan
    return _C_MAX * 1e3 / (math.sqrt(3.0) * float(network.nodes.v_nominal_kv[node]) * abs(z_pu))


def source_z_pu(network: Network, source: int, *, least: bool = False) -> complex:
    """Impedance of a source, pu of 1 MVA, 0 where unknown; ``least``: at its smallest stated short-circuit power."""
    s = network.sources
    s_sc_mva, rx = float(s.s_sc_mva[source]), float(s.rx[source])
    if least and s.s_sc_min_mva[source] > 0:
        s_sc_mva = float(s.s_sc_min_mva[source])
        rx = float(s.rx_min[source]) if s.rx_min[source] >= 0 else rx
    if not s_sc_mva > 0:
        return 0j
    ratio = rx if rx >= 0 else 0.0
    return complex(ratio, 1.0) / abs(complex(ratio, 1.0)) / s_sc_mva


def branch_z_pu(network: Network, branch: int) -> complex:
    """Series impedance of a line or transformer, pu of 1 MVA."""
    node = network.branch_from[branch]
    v_kv = float(network.nodes.v_nominal_kv[node])
    if branch < network.lines.n:
        return complex(network.lines.r_ohm[branch], network.lines.x_ohm[branch]) / v_kv**2
    t, row = network.transformers, branch - network.lines.n
    vk, vkr = float(t.vk_percent[row]), float(t.vkr_percent[row])
    z = complex(vkr, math.sqrt(max(vk**2 - vkr**2, 0.0))) / 100.0
    return z * 1e3 / float(t.s_kva[row]) * (float(t.v_from_kv[row]) / v_kv) ** 2
