"""Earth-fault protection by how the neutral is treated, as far as the network's data say so.

The zero-sequence admittance to earth of what hangs together without a transformer between is that of the line
capacitances and of the neutrals. It tells the treatment by the earth-fault current that it lets flow, beside that of
the capacitances alone: about as much: isolated, the reactive part of the residual current tells the direction; less,
or not much more: a coil compensates or a large resistance earths, the active part tells; much more: earthed, the
residual current itself. Pickup is a part of what a fault without resistance gives. Where zero-sequence data are
missing no device is set.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from twin.derive.points import legible
from twin.derive.ratings import fault_level_a
from twin.derive.settings import EarthFaultSettings
from twin.network.model import Bools, Ints, Network
from twin.network.topology import Topology, TopologyState

VOLTAGE_FACTOR = 1.1
ISOLATED = (0.85, 1.15)
EARTHED_FROM = 3.0
"""Of the earth-fault current over the capacitive one."""

SENSITIVITY = {"sin_phi": 0.05, "cos_phi": 0.2, "residual": 0.2}
_LEAST_A = 0.2
_GROUP = re.compile(r"(YN|Y|D|ZN|Z)(yn|y|d|zn|z)\d*")


def earth_fault_devices(network: Network) -> tuple[EarthFaultSettings, ...]:
    """A device at every switch of a line; those at feeder heads trip, the others indicate."""
    if not np.isfinite(network.lines.c0_nf).any():
        return ()
    topology = Topology(network)
    state = topology.state(network.switches.normally_closed)
    part, s = _parts(topology), network.switches
    by_part: dict[int, tuple[str, float] | None] = {}
    found = []
    for row in np.flatnonzero((s.branch >= 0) & (s.branch < network.lines.n)).tolist():
        at = int(part[s.node[row]])
        if at not in by_part:
            by_part[at] = _settings(topology, state, part == at)
        if (known := by_part[at]) is not None:
            method, pickup_a = known
            trips = bool(s.feeder_head[row])
            found.append(EarthFaultSettings.model_validate(
                {"switch": s.names[row], "method": method, "pickup_a": pickup_a, "trips": trips}
            ))  # fmt: skip
    return tuple(found)


def _parts(topology: Topology) -> Ints:
    """Which nodes lines and closed bus couplers join in the normal state."""
    network, closed = topology.network, topology.network.switches.normally_closed
    from_on, to_on = topology.branch_connected(closed)
    lines = np.flatnonzero((from_on & to_on)[: network.lines.n])
    links = np.flatnonzero(closed & (network.switches.branch < 0))
    one = np.concatenate([network.lines.node_from[lines], network.switches.node[links]])
    other = np.concatenate([network.lines.node_to[lines], network.switches.other_node[links]])
    graph = coo_array((np.ones(len(one)), (one, other)), shape=(network.nodes.n, network.nodes.n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int32)


def _settings(topology: Topology, state: TopologyState, nodes: Bools) -> tuple[str, float] | None:
    """Method and pickup in one part; None where the data do not tell."""
    network, lines = topology.network, topology.network.lines
    here = nodes[lines.node_from]
    if not here.any() or not np.isfinite(lines.c0_nf[here]).all():
        return None
    neutrals = [1.0 / z for z in _neutral_impedances_ohm(network, nodes)]
    capacitive_s = 2e-9 * math.pi * network.frequency_hz * float(lines.c0_nf[here].sum())
    total_s = 1j * capacitive_s + sum(neutrals, start=0j)
    method = treatment(abs(total_s), capacitive_s)
    # I = sqrt(3) c U / |2 Z1 + Z0| of IEC 60909-0:2016, equation (55), by magnitudes
    wanted_s = {"sin_phi": capacitive_s, "cos_phi": total_s.real, "residual": abs(total_s)}[method]
    if not (math.isfinite(abs(total_s)) and wanted_s > 0):
        return None
    root = int(np.flatnonzero(nodes & (state.source >= 0))[0]) if (nodes & (state.source >= 0)).any() else -1
    level_a = fault_level_a(topology, state, root) if root >= 0 else math.nan
    v_v = VOLTAGE_FACTOR * 1e3 * float(network.nodes.v_nominal_kv[np.flatnonzero(nodes)[0]]) / math.sqrt(3.0)
    two_z1_ohm = 2 * v_v / level_a if level_a > 0 else 0.0
    current_a = 3 * v_v * wanted_s / (1 + two_z1_ohm * abs(total_s))
    return method, legible(max(_LEAST_A, SENSITIVITY[method] * current_a))


def treatment(total_s: float, capacitive_s: float) -> str:
    """The method that tells the direction, by the zero-sequence admittance to earth and that of the lines alone."""
    if total_s > EARTHED_FROM * capacitive_s:
        return "residual"
    low, high = ISOLATED
    return "sin_phi" if low * capacitive_s <= total_s <= high * capacitive_s else "cos_phi"


def _neutral_impedances_ohm(network: Network, nodes: Bools) -> Iterator[complex]:
    """Of each path to earth in a part; NaN where a transformer's data do not tell whether it is one."""
    yield from _of_transformers(network, nodes)
    shunts, g, s = network.shunts, network.generators, network.sources
    for table in (shunts, g):
        for row in np.flatnonzero(nodes[table.node] & np.isfinite(table.x0_ohm)).tolist():
            yield complex(np.nan_to_num(table.r0_ohm[row]), table.x0_ohm[row])
    for row in np.flatnonzero(nodes[s.node] & np.isfinite(s.x0x1)).tolist():
        z1_ohm = VOLTAGE_FACTOR * float(network.nodes.v_nominal_kv[s.node[row]]) ** 2 / float(s.s_sc_mva[row])
        x0_ohm = z1_ohm / math.hypot(1.0, float(s.rx[row])) * float(s.x0x1[row])
        yield complex(float(np.nan_to_num(s.r0x0[row])) * x0_ohm, x0_ohm)


def _of_transformers(network: Network, nodes: Bools) -> Iterator[complex]:
    """Windings in star or zigzag with their neutral out: leakage and three times what is in the neutral."""
    t = network.transformers
    sides = ((t.node_from, t.v_from_kv, t.rn_from_ohm, t.xn_from_ohm), (t.node_to, t.v_to_kv, t.rn_to_ohm, t.xn_to_ohm))
    for side, (node, v_kv, rn_ohm, xn_ohm) in enumerate(sides):
        for row in np.flatnonzero(nodes[node]).tolist():
            group = _GROUP.fullmatch(t.vector_group[row])
            if group is None:
                yield complex(math.nan, math.nan)
                continue
            own, other = group[1 + side].upper(), group[2 - side].upper()
            if not own.endswith("N") or not math.isfinite(rn_ohm[row] + xn_ohm[row]) or (own == "YN" and other == "Y"):
                continue
            percent = float(t.vk0_percent[row]) if math.isfinite(t.vk0_percent[row]) else float(t.vk_percent[row])
            leakage_ohm = 1j * percent / 100 * float(v_kv[row]) ** 2 / (float(t.s_kva[row]) / 1e3)
            yield leakage_ohm + 3 * complex(rn_ohm[row], xn_ohm[row])
