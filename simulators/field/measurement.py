"""The state of the grid as the field devices see it, held from one measurement to the next.

Not in here: what the devices make of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulators.field.bay import BayMeasurement
from twin.network.model import Bools, Floats, Ints, Network
from twin.solvers.model import Phasors as Complexes

HEALTHY_V_PU = 0.8
"""From this voltage on a cable counts as healthy for its fault passage indicator."""


@dataclass(frozen=True, slots=True)
class FrequencyCourse:
    """The frequency to come if nothing else happens: ``f_hz`` (k, islands + 1) at the times ``t_ms`` (k,).

    ``island`` is the column of each node; the last column is 0, for what is dead.
    """

    t_ms: Floats
    f_hz: Floats
    island: Ints


@dataclass(frozen=True, slots=True)
class GridMeasurement:
    """The grid at an instant. Node arrays: ``v_kv``, ``energised``; the others have one entry a switch.

    Load quantities count positive from the switch's node into its branch. ``i_fault_a`` is 0 where no fault
    current flows; ``fault_into_branch`` is its direction and meaningless where it is 0. ``fault_phase_a`` (n, 3) are
    the fault currents of the phases and ``fault_x_ohm`` the reactance of the fault loop (None: no fault).
    ``residual_a`` and ``displacement_pu`` are what earth-fault devices measure, see
    :func:`twin.solvers.short_circuit.residual.residual_reading` (None: nothing).
    ``generation_kw`` is what each generating unit feeds in (None: as before). ``f_hz`` is the frequency of each node,
    0 where dead (None: nominal); ``course`` what it will be if nothing else happens (None: as it is).
    """

    v_kv: Floats
    energised: Bools
    i_a: Floats
    p_kw: Floats
    q_kvar: Floats
    i_fault_a: Floats
    fault_into_branch: Bools
    generation_kw: Floats | None = None
    f_hz: Floats | None = None
    course: FrequencyCourse | None = None
    fault_phase_a: Floats | None = None
    fault_x_ohm: Floats | None = None
    residual_a: Complexes | None = None
    displacement_pu: Floats | None = None


class HeldMeasurement:
    """The last measurement, held; open contacts carry nothing."""

    def __init__(self, network: Network) -> None:
        n = network.switches.n
        self._nodes, self._switches = network.nodes.n, n
        self._node = network.switches.node
        self._healthy_kv = HEALTHY_V_PU * network.nodes.v_nominal_kv
        self.measurands: Floats = np.zeros(self._nodes + 3 * n)
        self.i_a: Floats = np.zeros(n)
        self.i_fault_a: Floats = np.zeros(n)
        self.forward: Bools = np.zeros(n, dtype=np.bool_)
        self.healthy: Bools = np.zeros(n, dtype=np.bool_)
        self.residual_a: Complexes = np.zeros(n, dtype=np.complex128)
        self._displacement_pu: Floats = np.zeros(n)
        self._phase_a: Floats | None = None
        self._x_ohm: Floats | None = None
        self._residual = False

    def take(self, grid: GridMeasurement, closed: Bools) -> None:
        """Hold ``grid``; switches that do not conduct carry nothing and know nothing of the voltage behind them."""
        np.concatenate((grid.v_kv, grid.i_a, grid.p_kw, grid.q_kvar), out=self.measurands)
        np.multiply(grid.i_a, closed, out=self.i_a)
        np.multiply(grid.i_fault_a, closed, out=self.i_fault_a)
        np.copyto(self.forward, grid.fault_into_branch)
        healthy_node = grid.energised & (grid.v_kv >= self._healthy_kv)
        np.logical_and(healthy_node[self._node], closed, out=self.healthy)
        self._phase_a, self._x_ohm = grid.fault_phase_a, grid.fault_x_ohm
        if grid.residual_a is None or grid.displacement_pu is None:
            if self._residual:
                self.residual_a[:] = 0.0
                self._displacement_pu[:] = 0.0
            self._residual = False
        else:
            self._residual = True
            np.multiply(grid.residual_a, closed, out=self.residual_a)
            self._displacement_pu[:] = grid.displacement_pu

    @property
    def has_residual(self) -> bool:
        """False while no residual current flows anywhere."""
        return self._residual

    def interrupt(self, switch: int) -> None:
        """The contacts opened or closed: nothing is known until the next measurement."""
        self.i_a[switch] = self.i_fault_a[switch] = 0.0
        self.residual_a[switch] = 0.0
        self.healthy[switch] = False

    def bay(self, switch: int) -> BayMeasurement:
        """What the transducers of one bay see."""
        return BayMeasurement(
            float(self.i_a[switch]),
            float(self.i_fault_a[switch]),
            bool(self.forward[switch]),
            bool(self.healthy[switch]),
            complex(self.residual_a[switch]),
            float(self._displacement_pu[switch]),
        )

    def fault(self, switch: int) -> tuple[float, float, float, float]:
        """What the relay of a bay records of a fault: the phase currents in A and the reactance of the loop in ohm.

        Without a fault, the load current and NaN.
        """
        if self._phase_a is None or self._x_ohm is None or not self.i_fault_a[switch]:
            load_a = float(self.i_a[switch])
            return load_a, load_a, load_a, math.nan
        l1, l2, l3 = self._phase_a[switch].tolist()
        return l1, l2, l3, float(self._x_ohm[switch])

    def snapshot(self) -> dict[str, Any]:
        """State ready for JSON."""
        arrays = (self.i_a, self.i_fault_a, self.forward, self.healthy)
        held = dict(zip(("i_a", "i_fault_a", "forward", "healthy"), (a.tolist() for a in arrays), strict=True))
        held["residual_a"] = [self.residual_a.real.tolist(), self.residual_a.imag.tolist()]
        held["displacement_pu"] = self._displacement_pu.tolist()
        if self._phase_a is None or self._x_ohm is None:
            return held
        x_ohm = [None if math.isnan(x) else x for x in self._x_ohm.tolist()]
        return {**held, "phase_a": self._phase_a.tolist(), "x_ohm": x_ohm}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand as in ``state``."""
        self.i_a, self.i_fault_a = np.array(state["i_a"]), np.array(state["i_fault_a"])
        self.forward = np.array(state["forward"], dtype=np.bool_)
        self.healthy = np.array(state["healthy"], dtype=np.bool_)
        active, reactive = state["residual_a"]
        self.residual_a = np.array(active) + 1j * np.array(reactive)
        self._displacement_pu = np.array(state["displacement_pu"])
        self._residual = True
        has_fault = "phase_a" in state
        self._phase_a = np.array(state["phase_a"], dtype=np.float64) if has_fault else None
        self._x_ohm = np.array(state["x_ohm"], dtype=np.float64) if has_fault else None
