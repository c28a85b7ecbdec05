"""The present demand, generation, switch states and taps, and the refusal of what they cannot be.

Checks come before anything is taken, so that a refused update changes nothing. Not for results.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.network.model import Bools, Floats, Ints, Network, PowerTransformers, ShuntCompensators
from twin.solvers.model import InputNotFiniteError, InputShapeError, ShuntStepOutOfRangeError, TapOutOfRangeError


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
        self.shunt_steps = network.shunts.initial_steps.copy()
        self.check_powers(self.p_kw, self.q_kvar, self.generation_kw, self.generation_kvar)
        self.check_taps(self.tap_position)

    def update(
        self,
        p_kw: Floats | None,
        q_kvar: Floats | None,
        generation_kw: Floats | None,
        generation_kvar: Floats | None,
        closed: Bools | None,
        tap_position: Ints | None,
        shunt_steps: Ints | None,
    ) -> tuple[bool, bool, bool]:
        """Take all or, where one is refused, nothing; whether switches, taps and shunts changed.

        Raises:
            InputShapeError: an array does not fit its table.
            InputNotFiniteError: a demand or generation is NaN or infinite.
            TapOutOfRangeError: a tap that the transformer does not have.
            ShuntStepOutOfRangeError: steps that the shunt does not have.
        """
        self.check_powers(p_kw, q_kvar, generation_kw, generation_kvar)
        self.check_closed(closed)
        self.check_taps(tap_position)
        self.check_steps(shunt_steps)
        if p_kw is not None:
            self.p_kw[:] = p_kw
        if q_kvar is not None:
            self.q_kvar[:] = q_kvar
        if generation_kw is not None:
            self.generation_kw[:] = generation_kw
        if generation_kvar is not None:
            self.generation_kvar[:] = generation_kvar
        return (
            take(self.closed, closed),
            take(self.tap_position, tap_position),
            take(self.shunt_steps, shunt_steps),
        )

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
        if position is not None:
            check_taps(self.network.transformers, position)

    def check_steps(self, steps: Ints | None) -> None:
        """Raises InputShapeError or ShuntStepOutOfRangeError."""
        if steps is not None:
            check_steps(self.network.shunts, steps)


def check_taps(t: PowerTransformers, position: Ints) -> None:
    """Raises InputShapeError or TapOutOfRangeError."""
    check_shape("tap_position", position, (t.n,))
    outside = np.flatnonzero((position < t.tap_min) | (position > t.tap_max))
    if len(outside):
        row = int(outside[0])
        raise TapOutOfRangeError(t.names[row], int(position[row]), int(t.tap_min[row]), int(t.tap_max[row]))


def check_steps(shunts: ShuntCompensators, steps: Ints) -> None:
    """Raises InputShapeError or ShuntStepOutOfRangeError."""
    check_shape("shunt_steps", steps, (shunts.n,))
    outside = np.flatnonzero((steps < 0) | (steps > shunts.steps))
    if len(outside):
        row = int(outside[0])
        raise ShuntStepOutOfRangeError(shunts.names[row], int(steps[row]), int(shunts.steps[row]))


def take(present: NDArray[Any], wanted: NDArray[Any] | None) -> bool:
    """Copy ``wanted`` over ``present`` (None: leave it); True if that changed anything."""
    if wanted is None or np.array_equal(present, wanted):
        return False
    present[:] = wanted
    return True
