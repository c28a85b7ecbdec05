"""What one image gives the estimation: telemetry, expected values, and currents held back as witnesses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin.network.model import Floats, Ints
from twin.solvers.state_estimation import Measurements


@dataclass(frozen=True)
class Inputs:
    """``whole`` is what the estimate is made from: ``telemetered`` rows of telemetry, then what is expected.

    ``witnesses`` has the rows of telemetry: currents at switches where P and Q count, NaN elsewhere. They would add
    little to the estimate and trouble to its iteration, but they were measured by a transducer of their own.
    ``power_of`` are the rows of P and Q at the same switch (-1: none), ``power_sigma`` their standard deviations in kW
    and kvar; both of shape (telemetered, 2).
    ``beyond`` are voltages that no supplied node has, in per unit by row of telemetry, NaN elsewhere: no part of the
    estimate, but a contradiction wherever the node is supplied.
    """

    whole: Measurements
    witnesses: Measurements
    beyond: Floats
    power_of: Ints
    power_sigma: Floats

    @property
    def telemetered(self) -> int:
        return self.witnesses.n

    def reading(self, row: int) -> float:
        """What a row of telemetry reads in the unit of its kind, part of the estimate or not."""
        for value in (self.whole.value, self.witnesses.value, self.beyond):
            if np.isfinite(value[row]):
                return float(value[row])
        return float("nan")

    def without(self, rows: list[int]) -> Measurements:
        """What the estimate is made from if some rows are left out."""
        value = self.whole.value.copy()
        value[rows] = np.nan
        return self.whole.with_values(value)
