"""What the current, voltage and residual-current transformers at each switch show. Not for what devices make of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from simulators.field.measurement import FrequencyCourse, GridMeasurement
from twin.network.model import Bools, Floats, Network
from twin.solvers import PowerFlowResult, ShortCircuitResult
from twin.solvers.model import Phasors
from twin.solvers.short_circuit import loop_reactance_ohm
from twin.solvers.short_circuit.residual import residual_reading


class SwitchPlaces:
    """Picks what an instrument at each switch sees out of the results per branch end and node."""

    def __init__(self, network: Network) -> None:
        switches = network.switches
        self._network = network
        self._at_branch = switches.branch >= 0
        self._branch = np.where(self._at_branch, switches.branch, 0)
        self._from_side = ~self._at_branch | (switches.side == 0)
        self._nominal_kv = network.nodes.v_nominal_kv
        self._node = switches.node
        self._to_rows = np.flatnonzero(~self._from_side)
        self._branch_of_to_rows = self._branch[self._to_rows]
        self._no_current: Floats = np.zeros(switches.n)
        self._no_direction: Bools = np.zeros(switches.n, dtype=np.bool_)

    def _pick(self, idle: Any, at_from: Floats, at_to: Floats) -> Floats:
        picked: Floats = self._seen(at_from, at_to)
        picked[idle] = 0.0
        return picked

    def _seen(self, at_from: Any, at_to: Any) -> Any:
        """Of two arrays over the branches, the value at the end where each switch sits; a new array."""
        seen = at_from[self._branch]
        seen[self._to_rows] = at_to[self._branch_of_to_rows]
        return seen

    def measure(
        self,
        closed: Bools,
        flow: PowerFlowResult,
        v_pu: Floats,
        faults: list[ShortCircuitResult],
        *,
        generation_kw: Floats | None = None,
        f_hz: Floats | None = None,
        course: FrequencyCourse | None = None,
    ) -> GridMeasurement:
        """What current, voltage and fault-current transformers show; the arrays are only to be read."""
        i_fault_a, into = self._no_current, self._no_direction
        idle = np.flatnonzero(~(closed & self._at_branch))
        for result in faults:
            current = self._pick(idle, result.i_from_a, result.i_to_a)
            towards = self._seen(result.into_from, result.into_to)
            larger = current > i_fault_a
            i_fault_a = np.where(larger, current, i_fault_a)
            into = np.where(larger, towards, into)
        phase_a, x_ohm = self._record(closed, faults, i_fault_a)
        residual_a, displacement_pu = self._residual(closed, faults)
        return GridMeasurement(
            v_kv=v_pu * self._nominal_kv,
            energised=flow.energised,
            i_a=self._pick(idle, flow.i_from_a, flow.i_to_a),
            p_kw=self._pick(idle, flow.p_from_kw, flow.p_to_kw),
            q_kvar=self._pick(idle, flow.q_from_kvar, flow.q_to_kvar),
            i_fault_a=i_fault_a,
            fault_into_branch=into,
            fault_phase_a=phase_a,
            fault_x_ohm=x_ohm,
            residual_a=residual_a,
            displacement_pu=displacement_pu,
            generation_kw=generation_kw,
            f_hz=f_hz,
            course=course,
        )

    def _residual(self, closed: Bools, faults: list[ShortCircuitResult]) -> tuple[Phasors | None, Floats | None]:
        """What earth-fault devices measure, of the fault with the largest residual current at each."""
        if not faults:
            return None, None
        current_a, displacement_pu = np.zeros(len(closed), dtype=np.complex128), np.zeros(len(closed))
        for result in faults:
            seen, displaced = residual_reading(result, self._node, self._branch, self._from_side)
            seen = np.where(closed & self._at_branch, seen, 0.0)
            larger = np.abs(seen) > np.abs(current_a)
            current_a = np.where(larger, seen, current_a)
            displacement_pu = np.where(larger, displaced, displacement_pu)
        return current_a, displacement_pu

    def _record(
        self, closed: Bools, faults: list[ShortCircuitResult], i_fault_a: Floats
    ) -> tuple[Floats | None, Floats | None]:
        """Phase currents and loop reactance at each switch, of the fault that is felt most there."""
        if not faults:
            return None, None
        phase_a, x_ohm = np.zeros((len(closed), 3)), np.full(len(closed), np.nan)
        side = self._from_side[:, np.newaxis]
        to_earth_kv = self._nominal_kv / math.sqrt(3.0)
        for result in faults:
            i_a = np.where(side, result.i_from_phase_a[self._branch], result.i_to_phase_a[self._branch])
            felt = (i_fault_a > 0.0) & (np.abs(i_a).max(axis=1) >= (1.0 - 1e-9) * i_fault_a) & closed & self._at_branch
            v_kv = result.v_phase_pu[self._node[felt]] * to_earth_kv[self._node[felt], np.newaxis]
            phase_a[felt] = np.abs(i_a[felt])
            x_ohm[felt] = loop_reactance_ohm(v_kv, i_a[felt])
        return phase_a, x_ohm
