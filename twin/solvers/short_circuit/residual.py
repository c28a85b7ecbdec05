"""What directional earth-fault devices measure: the residual current against the displacement voltage.

Which part of it tells where the fault lies depends on how the neutral is treated: in isolated networks the reactive
part (sin phi), in compensated ones the active part (wattmetric, cos phi), in earthed ones the current as it is with its
direction. All count positive where the fault lies in the branch. Not for pickup and timing.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from twin.network.model import Bools, Floats, Ints
from twin.solvers.model import Phasors, ShortCircuitResult

EarthMethod = Literal["residual", "sin_phi", "cos_phi"]
CHARACTERISTIC_RAD = np.pi / 4
"""By how much the residual current of an earthed network lags the reversed displacement at most sensitivity."""

_NO_DISPLACEMENT_PU = 1e-6


def residual_reading(result: ShortCircuitResult, node: Ints, branch: Ints, at_from: Bools) -> tuple[Phasors, Floats]:
    """Residual currents (A) into ``branch`` at ``node`` and displacement voltages (pu of phase to earth).

    The real part of a current is the active, the imaginary part the reactive one, both positive for a fault in the
    branch; 0 where there is no displacement.
    """
    at_end = np.where(at_from[:, np.newaxis], result.i_from_phase_a[branch], result.i_to_phase_a[branch])
    v0 = result.v_phase_pu[node].mean(axis=1)
    size = np.abs(v0)
    displaced = size > _NO_DISPLACEMENT_PU
    power = v0 * at_end.sum(axis=1).conj()
    reading = np.where(displaced, -power.conj() / np.where(displaced, size, 1.0), 0.0)
    return reading, np.where(displaced, size, 0.0)


def operating_current_a(reading: complex, method: EarthMethod) -> float:
    """What a device by ``method`` makes of a reading, A: positive for a fault in its branch, negative behind it."""
    if method == "sin_phi":
        return reading.imag
    if method == "cos_phi":
        return reading.real
    forward = (complex(reading).conjugate() * np.exp(-1j * CHARACTERISTIC_RAD)).real > 0
    return abs(reading) if forward else -abs(reading)
