"""The fault loop that a distance element measures: from phasors at one place to an impedance.

Two phases carry the fault: their line-to-line voltage over the difference of their currents, which is the positive-
sequence impedance up to the fault whatever the fault's kind; one phase alone: its voltage over its current, without
residual compensation. The reactance hardly depends on the resistance of the fault.
"""

from __future__ import annotations

import numpy as np

from twin.network.model import Floats
from twin.solvers.model import Phasors

SECOND_PHASE = 0.5
"""A phase takes part in the fault if it carries this part of the largest phase current."""


def loop_impedance_ohm(v_phase_kv: Phasors, i_phase_a: Phasors) -> Phasors:
    """Impedance of the fault loop, ohm, seen in the direction of the current.

    ``v_phase_kv`` are phase-to-earth voltages and ``i_phase_a`` phase currents, shape (n, 3); returns shape (n,), NaN
    where no current flows.
    """
    rows = np.arange(len(i_phase_a))
    size = np.abs(i_phase_a)
    order = np.argsort(-size, axis=1, kind="stable")
    first, second = order[:, 0], order[:, 1]
    two = size[rows, second] >= SECOND_PHASE * size[rows, first]
    v = v_phase_kv[rows, first] - np.where(two, v_phase_kv[rows, second], 0.0)
    i = i_phase_a[rows, first] - np.where(two, i_phase_a[rows, second], 0.0)
    flows = (size[rows, first] > 0.0) & (i != 0.0)
    z: Phasors = np.where(flows, 1e3 * v / np.where(flows, i, 1.0), complex(np.nan, np.nan))
    return z


def loop_reactance_ohm(v_phase_kv: Phasors, i_phase_a: Phasors) -> Floats:
    """Imaginary part of :func:`loop_impedance_ohm`."""
    x: Floats = loop_impedance_ohm(v_phase_kv, i_phase_a).imag
    return x
