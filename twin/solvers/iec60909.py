"""Short-circuit currents by IEC 60909-0 with power-grid-model, maximum case (voltage factor c_max = 1.1).

As the standard has it: no operating state (loads, generating units, shunts, line capacitances and magnetising
currents of the positive sequence are neglected, taps stand at neutral), sources behind
``c Un² / Sk''``, network transformers with the correction factor K_T. The driving voltage is ``c Un`` at the
sources, so that an off-nominal transformer ratio scales it. Not for motors, not for the contribution
of converters, and not for peak or thermal currents.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from power_grid_model import DatasetType, FaultPhase, FaultType, PowerGridModel

from twin.errors import Blame, TwinError
from twin.network.model import Bools, Floats, Network
from twin.network.topology import Topology
from twin.solvers import grid_model_mapping as mapping
from twin.solvers.grid_model_mapping import Table
from twin.solvers.model import (
    FaultKind,
    FaultPoint,
    InputShapeError,
    MissingZeroSequenceError,
    ShortCircuitResult,
)

C_MAX = 1.1
"""Voltage factor of IEC 60909-0 table 1, above 1 kV, and below it where the tolerance is 10 %."""

RX_UNKNOWN = 0.1
"""R/X of a source that states none: IEC 60909-0, 6.2."""

NO_CURRENT = 1e-6
"""Currents below this share of the fault current are rounding of the solver, and reported as none."""

CACHED_MODELS = 32
"""Models kept for fault points on lines; the least recently used one goes."""

_FAULTS = {
    FaultKind.THREE_PHASE: (FaultType.three_phase, FaultPhase.abc),
    FaultKind.PHASE_TO_PHASE: (FaultType.two_phase, FaultPhase.bc),
    FaultKind.PHASE_TO_PHASE_TO_EARTH: (FaultType.two_phase_to_ground, FaultPhase.bc),
    FaultKind.PHASE_TO_EARTH: (FaultType.single_phase_to_ground, FaultPhase.a),
}
_EARTH_FAULTS = (FaultKind.PHASE_TO_PHASE_TO_EARTH, FaultKind.PHASE_TO_EARTH)
_STAND_IN_B0_PU = 1.0
_LEAST_B0_PU = 1e-6
_A = np.exp(2j * np.pi / 3)
_POSITIVE = np.array([1, _A, _A**2]) / 3
"""Phase a, b, c quantities to the positive sequence."""

Complex = NDArray[np.complex128]


class MissingShortCircuitPowerError(TwinError):
    """A fault current needs the short-circuit power of every source."""

    blame = Blame.SCENARIO

    def __init__(self, network: str, sources: tuple[str, ...]) -> None:
        self.network = network
        self.sources = sources
        super().__init__(f"network {network} states no short-circuit power of its source {', '.join(sources)}")


class FaultPointError(TwinError):
    """A fault point that is nowhere in the network."""

    blame = Blame.SCENARIO

    def __init__(self, fault: FaultPoint, reason: str) -> None:
        self.fault = fault
        self.reason = reason
        super().__init__(f"the fault point is not in the network: {reason}")


class GridModelShortCircuit:
    """A :class:`twin.solvers.model.ShortCircuit`.

    A phase-to-phase fault needs no zero-sequence data: stand-ins fill the tables of the library, and
    do not touch its result. For earth faults every line must have its own; the network model does not know
    vector groups, so a transformer with an odd clock number is taken as Dyn, one with an even one as YNyn,
    solidly earthed, and the sources' zero-sequence impedance as that of the positive sequence.

    ``resistance_ohm`` of a fault is that of each phase to the star point (three-phase), between the two
    phases (phase-to-phase), or to earth.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
    """

    def __init__(self, network: Network) -> None:
        mapping.check(network)
        self.network = network
        self._topology = Topology(network)
        self._has_zero_sequence = _has_zero_sequence(network)
        self._models: OrderedDict[tuple[int, float, bool], _FaultModel] = OrderedDict()

    def solve(self, fault: FaultPoint, closed: Bools) -> ShortCircuitResult:
        """See :meth:`twin.solvers.model.ShortCircuit.solve`.

        Retained voltages contain the voltage factor: 1.1 pu where the fault is not felt. A fault without
        supply yields zeros throughout, for voltages too. The direction compares the positive-sequence current with
        that of the fault, turned by the no-load phase shift in between.

        Raises:
            FaultPointError: no such line, node or position, or a negative resistance.
            InputShapeError: ``closed`` is not one state a switch.
            MissingZeroSequenceError: an earth fault on a network without zero-sequence data.
            MissingShortCircuitPowerError: a source states none.
        """
        _check_fault(self.network, fault)
        if closed.shape != (self.network.switches.n,):
            raise InputShapeError("closed", (self.network.switches.n,), closed.shape)
        earth = fault.kind in _EARTH_FAULTS
        if earth and not self._has_zero_sequence:
            raise MissingZeroSequenceError(self.network.name)
        return self._model(fault, earth).solve(fault, *self._topology.branch_connected(closed), closed)

    def _model(self, fault: FaultPoint, earth: bool) -> _FaultModel:
        key = (fault.line, fault.position if fault.line >= 0 else 0.0, earth)
        if key not in self._models:
            self._models[key] = _FaultModel(self.network, *key)
        self._models.move_to_end(key)
        if len(self._models) > CACHED_MODELS:
            self._models.popitem(last=False)
        return self._models[key]


def _has_zero_sequence(network: Network) -> bool:
    lines = network.lines
    return bool(np.isfinite([lines.r0_ohm, lines.x0_ohm, lines.c0_nf]).all())


def _check_fault(network: Network, fault: FaultPoint) -> None:
    on_line, at_node = 0 <= fault.line < network.lines.n, 0 <= fault.node < network.nodes.n
    if fault.line >= 0 and not on_line:
        raise FaultPointError(fault, f"there is no line {fault.line}")
    if fault.line < 0 and not at_node:
        raise FaultPointError(fault, f"there is no node {fault.node}")
    if on_line and not 0.0 <= fault.position <= 1.0:
        raise FaultPointError(fault, f"position {fault.position} is not between 0 and 1")
    if not 0.0 <= fault.resistance_ohm < np.inf:
        raise FaultPointError(fault, f"{fault.resistance_ohm} ohm is no resistance")


class _FaultModel:
    """A model with one line split at the fault point (or none, for faults at nodes).

    The first part keeps the identifier of the line; the second part is the last line and the fault point the
    last node.
    """

    def __init__(self, network: Network, line: int, position: float, earth: bool) -> None:
        self.network = network
        self.line = line
        split = int(line >= 0)
        self._ids = mapping.ids_of(network, extra_nodes=split)
        self._n_links = self._ids.transformer - self._ids.link
        self._link_switches = np.flatnonzero(network.switches.other_node >= 0)
        n_rows = network.lines.n + self._n_links + split
        self._lines = mapping.table("line", self._ids.line, n_rows, DatasetType.update)
        if split:
            self._lines["id"][-1] = self._second_part
        self._transformers = mapping.table(
            "transformer", self._ids.transformer, network.transformers.n, DatasetType.update
        )
        self._fault = mapping.table("fault", self._second_part + 1, 1, DatasetType.update)
        # Any: the library types its tables by overloads over enumerations
        self._model: Any = PowerGridModel(self._input_data(position, earth), network.frequency_hz)

    @property
    def _second_part(self) -> int:
        return self._ids.end

    def _input_data(self, position: float, earth: bool) -> dict[str, Table]:
        network, ids = self.network, self._ids
        extra = None
        lines = _fault_lines(network, ids, earth)
        if self.line >= 0:
            extra = network.nodes.v_nominal_kv[network.lines.node_from[[self.line]]]
            lines = self._split(lines, position)
        nodes = mapping.node_table(network, extra)
        fault = mapping.table("fault", self._second_part + 1, 1)
        fault["status"], fault["fault_object"] = 1, len(nodes) - 1
        fault["fault_type"], fault["fault_phase"] = FaultType.three_phase, FaultPhase.abc
        return {
            "node": nodes,
            "line": lines,
            "transformer": _fault_transformers(network, ids),
            "source": _fault_sources(network, ids),
            "shunt": _zero_sequence_shunts(nodes, self._second_part + 2, earth),
            "fault": fault,
        }

    def _split(self, lines: Table, position: float) -> Table:
        """The lines with the faulted one cut in two at the fault point."""
        whole = lines[self.line]
        parts = np.array([whole, whole])
        for name in ("r1", "x1", "r0", "x0", "c0"):
            parts[name] = whole[name] * np.array([position, 1.0 - position])
        v_kv = np.full(2, self.network.nodes.v_nominal_kv[self.network.lines.node_from[self.line]])
        for r, x in (("r1", "x1"), ("r0", "x0")):
            parts[r], parts[x] = mapping.lift_impedance(parts[r], parts[x], v_kv)
        parts["to_node"][0] = parts["from_node"][1] = self.network.nodes.n
        parts["id"][1] = self._second_part
        lines[self.line] = parts[0]
        return np.concatenate([lines, parts[1:]])

    def solve(self, fault: FaultPoint, from_on: Bools, to_on: Bools, closed: Bools) -> ShortCircuitResult:
        self._write(fault, from_on, to_on, closed)
        output = self._model.calculate_short_circuit(
            output_component_types=["fault", *mapping.output_types(self.network)]
        )
        if not output["fault"]["energized"][0]:
            return self._dead()
        shift = self._model.calculate_power_flow(calculation_method="linear", output_component_types=["node"])["node"][
            "u_angle"
        ]
        return self._result(fault, output, shift)

    def _write(self, fault: FaultPoint, from_on: Bools, to_on: Bools, closed: Bools) -> None:
        n_lines = self.network.lines.n
        for name, on in (("from_status", from_on), ("to_status", to_on)):
            self._lines[name][:n_lines] = on[:n_lines]
            self._lines[name][n_lines : n_lines + self._n_links] = closed[self._link_switches]
            self._transformers[name] = on[n_lines:]
        if self.line >= 0:
            self._lines["to_status"][self.line] = 1
            self._lines["from_status"][-1], self._lines["to_status"][-1] = 1, to_on[self.line]
        kind, phase = _FAULTS[fault.kind]
        self._fault["fault_type"], self._fault["fault_phase"] = kind, phase
        self._fault["r_f"], self._fault["x_f"] = fault.resistance_ohm, 0.0
        self._fault["fault_object"] = fault.node if self.line < 0 else self.network.nodes.n
        self._model.update(update_data={"line": self._lines, "transformer": self._transformers, "fault": self._fault})

    def _dead(self) -> ShortCircuitResult:
        n_nodes, n_branches = self.network.nodes.n, self.network.n_branches
        nowhere = np.zeros(n_branches, dtype=np.bool_)
        zeros = np.zeros(n_branches)
        return ShortCircuitResult(False, 0.0, np.zeros(n_nodes), zeros, zeros.copy(), nowhere, nowhere.copy())

    def _result(self, fault: FaultPoint, output: dict[str, Table], shift_rad: Floats) -> ShortCircuitResult:
        n_nodes = self.network.nodes.n
        at = fault.node if self.line < 0 else n_nodes
        i_from, i_to = self._end_currents(output, "from"), self._end_currents(output, "to")
        i_fault = _phasors(output["fault"]["i_f"], output["fault"]["i_f_angle"])
        reference = (i_fault @ _POSITIVE) * np.exp(1j * (shift_rad[:n_nodes] - shift_rad[at]))
        largest = float(np.abs(i_fault).max())
        i_from_a, i_to_a = (_largest_phase(i, NO_CURRENT * largest) for i in (i_from, i_to))
        into_from = _towards(i_from, reference[self.network.branch_from]) & (i_from_a > 0)
        into_to = _towards(i_to, reference[self.network.branch_to]) & (i_to_a > 0)
        if self.line >= 0:
            into_from[self.line], into_to[self.line] = i_from_a[self.line] > 0, i_to_a[self.line] > 0
        v_pu = _least_line_to_line(output["node"][:n_nodes])
        return ShortCircuitResult(True, largest, v_pu, i_from_a, i_to_a, into_from, into_to)

    def _end_currents(self, output: dict[str, Table], end: str) -> Complex:
        """Phase currents at one end of each branch, shape ``(n_branches, 3)``, A."""
        n_lines = self.network.lines.n
        currents = np.zeros((self.network.n_branches, 3), dtype=np.complex128)
        for component, rows in (("line", slice(0, n_lines)), ("transformer", slice(n_lines, None))):
            if component in output:
                table = output[component][: n_lines if component == "line" else None]
                currents[rows] = _phasors(table[f"i_{end}"], table[f"i_{end}_angle"])
        if self.line >= 0 and end == "to":
            last = output["line"][-1]
            currents[self.line] = _phasors(last["i_to"], last["i_to_angle"])
        return currents


def _fault_lines(network: Network, ids: mapping.Ids, earth: bool) -> Table:
    """Lines and node-to-node switches without capacitance in the positive sequence."""
    rows, links = mapping.line_table(network, ids), mapping.link_table(network, ids)
    rows["c1"] = rows["tan1"] = 0.0
    rows["r0"], rows["x0"], rows["c0"], rows["tan0"] = rows["r1"], rows["x1"], 0.0, 0.0
    if earth:
        lines = network.lines
        v_kv = network.nodes.v_nominal_kv[lines.node_from]
        rows["r0"], rows["x0"] = mapping.lift_impedance(lines.r0_ohm, lines.x0_ohm, v_kv)
        rows["c0"] = 1e-9 * lines.c0_nf
    links["r0"], links["x0"], links["c0"], links["tan0"] = links["r1"], links["x1"], 0.0, 0.0
    return np.concatenate([rows, links])


def _fault_transformers(network: Network, ids: mapping.Ids) -> Table:
    """Transformers at neutral tap, without magnetising branch, with K_T of IEC 60909-0, 6.3.3."""
    rows = mapping.transformer_table(network, ids)
    rows["tap_pos"] = rows["tap_nom"]
    rows["i0"] = rows["p0"] = 0.0
    x = np.sqrt(rows["uk"] ** 2 - (rows["pk"] / rows["sn"]) ** 2)
    k = 0.95 * C_MAX / (1 + 0.6 * x)
    rows["uk"], rows["pk"] = k * rows["uk"], k * rows["pk"]
    return rows


def _fault_sources(network: Network, ids: mapping.Ids) -> Table:
    """Sources behind c Un² / Sk'' (IEC 60909-0, 6.2); the library takes the power at 1 Un."""
    sources = network.sources
    unknown = np.flatnonzero(~(sources.s_sc_mva > 0))
    if len(unknown):
        raise MissingShortCircuitPowerError(network.name, tuple(sources.names[row] for row in unknown))
    rows = mapping.source_table(network, ids)
    rows["u_ref"] = 1.0
    rows["sk"] = 1e6 * sources.s_sc_mva / C_MAX
    rows["rx_ratio"] = np.where(np.isfinite(sources.rx), sources.rx, RX_UNKNOWN)
    rows["z01_ratio"] = 1.0
    return rows


def _zero_sequence_shunts(nodes: Table, first_id: int, earth: bool) -> Table:
    """A path to earth in the zero sequence of every node, lest a part without any makes the equations singular.

    It is a stand-in of arbitrary size without earth faults, and 1 var at nominal voltage with them.
    """
    rows = mapping.table("shunt", first_id, len(nodes))
    rows["node"], rows["status"] = nodes["id"], 1
    rows["g1"] = rows["b1"] = rows["g0"] = 0.0
    rows["b0"] = (_LEAST_B0_PU if earth else _STAND_IN_B0_PU) * mapping.BASE_VA / nodes["u_rated"] ** 2
    return rows


def _phasors(magnitude: Floats, angle_rad: Floats) -> Complex:
    phasors: Complex = magnitude * np.exp(1j * angle_rad)
    return phasors


def _largest_phase(i: Complex, least_a: float) -> Floats:
    largest = np.abs(i).max(axis=1)
    return np.where(largest < least_a, 0.0, largest)


def _towards(i: Complex, reference: Complex) -> Bools:
    """Whether the positive-sequence current into the branch has the direction of the reference."""
    towards: Bools = ((i @ _POSITIVE) * reference.conj()).real > 0
    return towards


def _least_line_to_line(node: Table) -> Floats:
    """Smallest line-to-line voltage of each node, pu of nominal."""
    v = _phasors(node["u_pu"], node["u_angle"])
    least: Floats = np.abs(v - np.roll(v, 1, axis=1)).min(axis=1) / np.sqrt(3.0)
    return least
