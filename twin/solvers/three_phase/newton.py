"""Newton's method on the node currents, for states where the fixed point does not contract.

That is close to the voltage limit, and where star loads hang on an unearthed side so that its neutral is displaced.
The unknowns are real and imaginary parts of the voltages, the demand's derivatives are analytic, steps are halved
until the mismatch falls. Not the usual way: it costs a factorisation a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import block_array, csr_array, diags_array
from scipy.sparse.linalg import splu

from twin.network.model import Floats
from twin.network.three_phase import Complexes

LAST_STEP_PU = 1e-7
"""A whole step this small is the last: the error that it leaves goes with its square, down to rounding."""

_MOST_STEPS = 40
_MOST_HALVINGS = 12

Current = Callable[[Complexes], tuple[Complexes, Complexes, Floats]]
"""Of the voltages over the units: apparent admittance, its derivative by the magnitude, and the magnitude."""


class Newton:
    """``Y V + C' i(C V + w) = b`` with the currents ``i`` of the demand units; ``nominal_v`` scales the mismatch."""

    def __init__(
        self, admittance: csr_array, impressed: Complexes, across: csr_array, offset: Complexes, nominal_v: Floats
    ) -> None:
        self._y = admittance
        self._b = impressed
        self._c = across
        self._offset = offset
        self._nominal_v = nominal_v
        zero = csr_array(across.shape)
        self._both = block_array([[across.real, zero], [zero, across.real]], format="csr")

    def solve(self, current: Current, start: Complexes) -> tuple[Complexes, Floats | None]:
        """Voltages, and None or, if none are found, the mismatch of each unknown group in VA."""
        v = start
        mismatch = self._mismatch(current, v)
        for _ in range(_MOST_STEPS):
            try:
                step = self._step(current, v, mismatch)
            except RuntimeError:  # exactly singular: at the voltage limit itself
                break
            v, after, whole = self._damped(current, v, step, mismatch)
            if after is None:
                break
            mismatch = after
            if whole and self._is_last(step):
                return v, None
        size: Floats = np.abs(mismatch) * self._nominal_v
        return v, np.where(np.isfinite(size), size, np.inf)

    def _mismatch(self, current: Current, v: Complexes) -> Complexes:
        over = self._c @ v + self._offset
        admittance, _, _ = current(over)
        mismatch: Complexes = self._y @ v + self._c.T @ (admittance * over) - self._b
        return mismatch

    def _step(self, current: Current, v: Complexes, mismatch: Complexes) -> Complexes:
        over = self._c @ v + self._offset
        admittance, slope, size = current(over)
        by_real = admittance + over * slope * over.real / size
        by_imag = 1j * admittance + over * slope * over.imag / size
        of_units = block_array(
            [
                [diags_array(by_real.real), diags_array(by_imag.real)],
                [diags_array(by_real.imag), diags_array(by_imag.imag)],
            ],
            format="csr",
        )
        linear = block_array([[self._y.real, -self._y.imag], [self._y.imag, self._y.real]], format="csr")
        jacobian = (linear + self._both.T @ of_units @ self._both).tocsc()
        x = splu(jacobian).solve(-np.concatenate([mismatch.real, mismatch.imag]))
        n = len(v)
        step: Complexes = x[:n] + 1j * x[n:]
        return step

    def _damped(
        self, current: Current, v: Complexes, step: Complexes, mismatch: Complexes
    ) -> tuple[Complexes, Complexes | None, bool]:
        """The voltages after as much of the step as lowers the mismatch, and whether that was all of it."""
        before = self._size(mismatch)
        fraction = 1.0
        for _ in range(_MOST_HALVINGS):
            there = v + fraction * step
            after = self._mismatch(current, there)
            size = self._size(after)
            if size < before or (self._is_last(step) and np.isfinite(size)):
                return there, after, fraction == 1.0
            fraction /= 2
        return v, None, False

    def _is_last(self, step: Complexes) -> bool:
        return bool(np.max(np.abs(step) / self._nominal_v, initial=0.0) < LAST_STEP_PU)

    def _size(self, mismatch: Complexes) -> Any:
        return np.linalg.norm(mismatch * self._nominal_v)
