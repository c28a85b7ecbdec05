"""The present demand, generation, switch states and taps, and the refusal of what they cannot be.

Checks come before anything is taken, so that a refused update changes nothing. Not for results.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.network.model import Bools, Floats, Ints, Network
from twin.solvers.model import InputNotFiniteError, InputShapeError, TapOutOfRangeError


def check_shape(quantity: str, values: NDArray[Any], expected: tuple[int, ...]) -> None:
    """Raises InputShapeError if an array has another shape than expected."""
    if values.shape != expected:
        raise InputShapeError(quantity, expected, values.shape)


def check_powers(names: tuple[str, ...], **inputs: Floats | None) -> None:
    """Raises InputShapeError, or InputNotFiniteError for the first power that is no number."""
    for quantity, values in inputs.items():
        if values is not None:
            check_shape(quantity, values, (len(names),))
            _check_finite(names, quantity, values)


def _check_finite(names: tuple[str, ...], quantity: str, values: Floats) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise InputNotFiniteError(names[row], quantity, float(values[row]))


class Inputs:
    """Copies of the last inputs; rated, normal and initial at first."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.p_kw = network.consumers.p_kw.copy()
        self.q_kvar = network.consumers.q_kvar.copy()
        self.generation_kw = network.generators.p_kw.copy()
        self.generation_kvar = network.generators.q_kvar.copy()
        self.closed = network.switches.normally_closed.copy()
        self.tap_position = network.transformers.tap_position.copy()
        self.check_powers(self.p_kw, self.q_kvar, self.generation_kw, self.generation_kvar)
        self.check_taps(self.tap_position)

    def check_powers(
        self,
        p_kw: Floats | None,
        q_kvar: Floats | None,
        generation_kw: Floats | None,
        generation_kvar: Floats | None,
    ) -> None:
        """Raises InputShapeError or InputNotFiniteError."""
        check_powers(self.network.consumers.names, p_kw=p_kw, q_kvar=q_kvar)
        check_powers(self.network.generators.names, generation_kw=generation_kw, generation_kvar=generation_kvar)

    def check_closed(self, closed: Bools | None) -> None:
        """Raises InputShapeError."""
        if closed is not None:
            check_shape("closed", closed, self.closed.shape)

    def check_taps(self, position: Ints | None) -> None:
        """Raises InputShapeError or TapOutOfRangeError."""
        if position is None:
            return
        t = self.network.transformers
        check_shape("tap_position", position, (t.n,))
        outside = np.flatnonzero((position < t.tap_min) | (position > t.tap_max))
        if len(outside):
            row = int(outside[0])
            raise TapOutOfRangeError(t.names[row], int(position[row]), int(t.tap_min[row]), int(t.tap_max[row]))


def take(present: NDArray[Any], wanted: NDArray[Any] | None) -> bool:
    """Copy ``wanted`` over ``present`` (None: leave it); True if that changed anything."""
    if wanted is None or np.array_equal(present, wanted):
        return False
    present[:] = wanted
    return True
