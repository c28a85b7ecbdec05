"""Maps the compiled network onto the tables of power-grid-model.

Shared by the power flow and the short circuit. Not for states that change: those are written by
the solvers into update tables. Identifiers count through nodes, lines, node-to-node switches and so
on, in the order of the network's tables; a node-to-node switch becomes a line of negligible impedance,
which stays exact to 1e-7 per unit where the fixed link admittance of the library does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from power_grid_model import DatasetType, LoadGenType, WindingType, initialize_array

from twin.errors import Blame, TwinError
from twin.network.model import Floats, Ints, LineSegments, Network, PowerTransformers

Table = NDArray[np.void]
"""A structured array in the layout of power-grid-model."""

BASE_VA = 1e6
STIFF_VA = 1e16
NEGLIGIBLE_Z_PU = 1e-8
"""Impedance of a closed node-to-node switch, on the 1 MVA base of the library."""

_TAP_LIMIT = 127


class UnsolvableNetworkError(TwinError):
    """The data of a network admit no power flow model; ``findings`` says all that is wrong."""

    blame = Blame.SCENARIO

    def __init__(self, network: str, findings: tuple[str, ...]) -> None:
        self.network = network
        self.findings = findings
        super().__init__(f"network {network} cannot be solved: {'; '.join(findings)}")


@dataclass(frozen=True, slots=True)
class Ids:
    """First identifier of each table."""

    line: int
    link: int
    transformer: int
    source: int
    load: int
    generator: int
    shunt: int
    end: int


def ids_of(network: Network, extra_nodes: int = 0, extra_lines: int = 0) -> Ids:
    """Identifiers for a network whose node and line tables are lengthened by extra rows."""
    sizes = (
        network.nodes.n + extra_nodes,
        network.lines.n + extra_lines,
        int(np.count_nonzero(network.switches.other_node >= 0)),
        network.transformers.n,
        network.sources.n,
        network.consumers.n,
        network.generators.n,
        network.shunts.n,
    )
    return Ids(*(int(start) for start in np.cumsum(sizes)))


def table(component: str, first_id: int, n: int, kind: DatasetType = DatasetType.input) -> Table:
    """A table of ``n`` rows with consecutive identifiers, everything else unset."""
    rows: Table = initialize_array(kind, component, n)
    rows["id"] = np.arange(first_id, first_id + n)
    return rows


def check(network: Network) -> None:
    """Refuse data that no balanced model can be built from.

    Raises:
        UnsolvableNetworkError: with every finding.
    """
    findings = (*_node_findings(network), *_line_findings(network), *_transformer_findings(network))
    findings = (*findings, *_consumer_findings(network), *_generator_findings(network), *_shunt_findings(network))
    if not network.sources.n:
        findings = (*findings, "it has no source")
    if findings:
        raise UnsolvableNetworkError(network.name, findings)


def _name_all(names: tuple[str, ...], wrong: Any, what: str) -> list[str]:
    return [f"{names[row]} {what}" for row in np.flatnonzero(wrong)]


def _node_findings(network: Network) -> list[str]:
    nodes, switches = network.nodes, network.switches
    v = nodes.v_nominal_kv
    found = _name_all(nodes.names, ~(np.isfinite(v) & (v > 0)), "has no positive nominal voltage")
    link = switches.other_node >= 0
    differs = link & (v[switches.node] != v[switches.other_node])
    return found + _name_all(switches.names, differs, "connects nodes of different nominal voltage")


def _line_findings(network: Network) -> list[str]:
    lines, v = network.lines, network.nodes.v_nominal_kv
    values = np.stack([lines.r_ohm, lines.x_ohm, lines.c_nf, lines.g_us])
    return [
        *_name_all(lines.names, lines.node_from == lines.node_to, "has both ends at one node"),
        *_name_all(lines.names, v[lines.node_from] != v[lines.node_to], "connects different nominal voltages"),
        *_name_all(lines.names, ~np.isfinite(values).all(axis=0), "has parameters that are not finite"),
    ]


def _transformer_findings(network: Network) -> list[str]:
    t = network.transformers
    rated = np.stack([t.s_kva, t.v_from_kv, t.v_to_kv, t.vk_percent])
    other = np.stack([t.vkr_percent, t.p_iron_kw, t.i0_percent, t.shift_deg, t.tap_step_percent, t.tap_angle_deg])
    bad = ~(np.isfinite(rated) & (rated > 0)).all(axis=0) | ~np.isfinite(other).all(axis=0)
    wide = np.abs(np.stack([t.tap_min, t.tap_max, t.tap_neutral, t.tap_position])).max(axis=0) > _TAP_LIMIT
    return [
        *_name_all(t.names, t.node_from == t.node_to, "has both ends at one node"),
        *_name_all(t.names, bad, "has ratings that are not finite and positive"),
        *_name_all(t.names, t.vkr_percent > t.vk_percent, "has a vkr_percent above its vk_percent"),
        *_name_all(t.names, wide, f"has tap positions beyond {_TAP_LIMIT}"),
    ]


def _consumer_findings(network: Network) -> list[str]:
    c = network.consumers
    within = np.ones(c.n, dtype=np.bool_)
    for current, impedance in ((c.p_current_share, c.p_impedance_share), (c.q_current_share, c.q_impedance_share)):
        within &= (current >= 0) & (impedance >= 0) & (current + impedance <= 1 + 1e-9)
    return _name_all(c.names, ~within, "has shares of current and impedance that are not within 0 and 1")


def _generator_findings(network: Network) -> list[str]:
    g = network.generators
    holds = ~np.isnan(g.v_set_pu)
    return [
        *_name_all(g.names, holds & ~((g.v_set_pu > 0) & np.isfinite(g.v_set_pu)), "holds no positive voltage"),
        *_name_all(g.names, holds & ~(g.q_min_kvar <= g.q_max_kvar), "has a q_min_kvar above its q_max_kvar"),
    ]


def _shunt_findings(network: Network) -> list[str]:
    s = network.shunts
    outside = (s.steps < 1) | (s.initial_steps < 0) | (s.initial_steps > s.steps)
    return _name_all(s.names, outside, "has initial steps that it does not have")


def node_table(network: Network, extra_v_kv: Floats | None = None) -> Table:
    """Nodes, followed by extra ones of the given nominal voltages."""
    v_kv = network.nodes.v_nominal_kv
    if extra_v_kv is not None:
        v_kv = np.concatenate([v_kv, extra_v_kv])
    rows = table("node", 0, len(v_kv))
    rows["u_rated"] = 1e3 * v_kv
    return rows


def lift_impedance(r_ohm: Floats, x_ohm: Floats, v_kv: Floats) -> tuple[Floats, Floats]:
    """R and X with impedances of (almost) nothing replaced by the negligible one."""
    least = NEGLIGIBLE_Z_PU * v_kv**2
    x = np.where(np.hypot(r_ohm, x_ohm) < least, least, x_ohm)
    return r_ohm, np.asarray(x, dtype=np.float64)


def line_table(network: Network, ids: Ids) -> Table:
    """Line segments as pi models, both ends connected."""
    lines = network.lines
    rows = table("line", ids.line, lines.n)
    rows["from_node"], rows["to_node"] = lines.node_from, lines.node_to
    rows["from_status"] = rows["to_status"] = 1
    v_kv = network.nodes.v_nominal_kv[lines.node_from]
    rows["r1"], rows["x1"] = lift_impedance(lines.r_ohm, lines.x_ohm, v_kv)
    rows["c1"], rows["tan1"] = _shunt_of(lines, network.frequency_hz)
    return rows


def _shunt_of(lines: LineSegments, frequency_hz: float) -> tuple[Floats, Floats]:
    """Capacitance in F and loss factor; a conductance alone gets a capacitance of a billionth of it."""
    omega = 2 * np.pi * frequency_hz
    g = 1e-6 * lines.g_us
    c = np.maximum(1e-9 * lines.c_nf, 1e-9 * g / omega)
    tan = np.divide(g, omega * c, out=np.zeros_like(g), where=c > 0)
    return c, tan


def link_table(network: Network, ids: Ids) -> Table:
    """Node-to-node switches as lines of negligible impedance, in the order of the switches."""
    switches = network.switches
    at = np.flatnonzero(switches.other_node >= 0)
    rows = table("line", ids.link, len(at))
    rows["from_node"], rows["to_node"] = switches.node[at], switches.other_node[at]
    rows["from_status"] = rows["to_status"] = 1
    rows["r1"] = rows["c1"] = rows["tan1"] = 0.0
    rows["x1"] = NEGLIGIBLE_Z_PU * network.nodes.v_nominal_kv[switches.node[at]] ** 2
    return rows


def transformer_table(network: Network, ids: Ids) -> Table:
    """Transformers at their initial tap.

    The winding types only have to fit the clock number: an odd clock is a delta-star connection,
    an even one star-star, both with the neutral out.
    """
    t = network.transformers
    rows = table("transformer", ids.transformer, t.n)
    rows["from_node"], rows["to_node"] = t.node_from, t.node_to
    rows["from_status"] = rows["to_status"] = 1
    rows["u1"], rows["u2"], rows["sn"] = 1e3 * t.v_from_kv, 1e3 * t.v_to_kv, 1e3 * t.s_kva
    rows["uk"], rows["pk"] = t.vk_percent / 100, t.vkr_percent / 100 * t.s_kva * 1e3
    rows["p0"] = 1e3 * t.p_iron_kw
    rows["i0"] = np.maximum(t.i0_percent / 100, t.p_iron_kw / t.s_kva)
    clock = np.round(t.shift_deg / 30).astype(np.int64) % 12
    rows["clock"] = clock
    rows["winding_from"] = np.where(clock % 2, WindingType.delta, WindingType.wye_n)
    rows["winding_to"] = WindingType.wye_n
    _write_taps(rows, t)
    return rows


def _write_taps(rows: Table, t: PowerTransformers) -> None:
    """Taps; the library knows the direction of a step only by the order of its limits."""
    falling = t.tap_step_percent < 0
    rows["tap_side"], rows["tap_pos"], rows["tap_nom"] = t.tap_side, t.tap_position, t.tap_neutral
    rows["tap_min"] = np.where(falling, _TAP_LIMIT, -_TAP_LIMIT)
    rows["tap_max"] = -rows["tap_min"]
    v_kv = np.where(t.tap_side == 0, t.v_from_kv, t.v_to_kv)
    rows["tap_size"] = np.abs(t.tap_step_percent) / 100 * 1e3 * v_kv


def source_table(network: Network, ids: Ids) -> Table:
    """Sources without impedance, at their voltage set point."""
    sources = network.sources
    rows = table("source", ids.source, sources.n)
    rows["node"], rows["status"] = sources.node, 1
    rows["u_ref"], rows["u_ref_angle"] = sources.v_pu, sources.angle_rad
    rows["sk"], rows["rx_ratio"] = STIFF_VA, 0.1
    return rows


def load_table(network: Network, ids: Ids) -> Table:
    """Consumers as constant power at their rated demand, of whatever kind it is."""
    consumers = network.consumers
    rows = table("sym_load", ids.load, consumers.n)
    rows["node"], rows["status"], rows["type"] = consumers.node, 1, LoadGenType.const_power
    rows["p_specified"], rows["q_specified"] = 1e3 * consumers.p_kw, 1e3 * consumers.q_kvar
    return rows


def dependent_loads(network: Network, ids: Ids) -> tuple[Table, Ints, Floats]:
    """The parts of the demand that depend on the voltage, identified behind everything else.

    Rows without power, the consumer of each, and its share of P and of Q, shape ``(2, k)``.
    """
    shares = network.consumers.zip_shares
    parts = ((LoadGenType.const_current, shares[[0, 2]]), (LoadGenType.const_impedance, shares[[1, 3]]))
    present = [np.flatnonzero(share.any(axis=0)) for _, share in parts]
    consumer = np.concatenate(present).astype(np.int32)
    rows = table("sym_load", ids.end, len(consumer))
    rows["node"], rows["status"] = network.consumers.node[consumer], 1
    rows["type"] = np.repeat([kind for kind, _ in parts], [len(at) for at in present])
    rows["p_specified"] = rows["q_specified"] = 0.0
    return rows, consumer, np.concatenate([share[:, at] for (_, share), at in zip(parts, present, strict=True)], axis=1)


def generator_table(network: Network, ids: Ids) -> Table:
    """Generating units as constant power, positive as generation."""
    generators = network.generators
    rows = table("sym_gen", ids.generator, generators.n)
    rows["node"], rows["status"], rows["type"] = generators.node, 1, LoadGenType.const_power
    rows["p_specified"], rows["q_specified"] = 1e3 * generators.p_kw, 1e3 * generators.q_kvar
    return rows


def shunt_table(network: Network, ids: Ids) -> Table:
    """Shunts by their admittance at their initial steps; consumed reactive power is a negative susceptance."""
    shunts = network.shunts
    rows = table("shunt", ids.shunt, shunts.n)
    rows["node"], rows["status"] = shunts.node, 1
    write_steps(rows, network, shunts.initial_steps)
    rows["g0"] = rows["b0"] = 0.0
    return rows


def write_steps(rows: Table, network: Network, steps: Ints) -> None:
    """The admittances of all shunts with so many steps in."""
    shunts = network.shunts
    v_v = 1e3 * network.nodes.v_nominal_kv[shunts.node]
    per_v2 = 1e3 * steps / shunts.steps / v_v**2
    rows["g1"], rows["b1"] = per_v2 * shunts.p_kw, -per_v2 * shunts.q_kvar


def output_types(network: Network) -> list[str]:
    """Nodes, and those kinds of branches that the network has: the library knows no empty tables."""
    present = {"node": True, "line": network.lines.n > 0, "transformer": network.transformers.n > 0}
    return [component for component, there in present.items() if there]
