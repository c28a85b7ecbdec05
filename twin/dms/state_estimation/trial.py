"""The network with some switches the other way round: how well it would explain an image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from twin.dms.state_estimation.fit import Fit, fit, misfit
from twin.dms.state_estimation.frame import Frame
from twin.dms.state_estimation.inputs import Inputs
from twin.network.model import Bools, Network
from twin.solvers.state_estimation import BadDataSettings, EstimationDivergedError, StateEstimator

_AS_WELL = 1.5
"""A misfit within this factor of the best one explains the measurements as well."""


@dataclass(frozen=True)
class Trial:
    """``switches`` the other way round, with the ``frame`` that makes. Estimates are made when asked for."""

    switches: tuple[int, ...]
    frame: Frame
    inputs: Inputs
    estimator: StateEstimator
    bad_data: BadDataSettings

    @classmethod
    def of(
        cls,
        switches: Iterable[int],
        frame: Frame,
        inputs: Inputs,
        network: Network,
        passive: Bools,
        bad_data: BadDataSettings,
    ) -> Trial:
        """``passive`` are the nodes without injection, ``frame`` is the network before any switch is turned."""
        switches = tuple(switches)
        for switch in switches:
            frame = frame.flipped(switch)
        estimator = StateEstimator(network, zero_injection=passive & (frame.slack_kva == 0))
        estimator.update(closed=frame.closed, tap_position=frame.tap_position)
        return cls(switches, frame, inputs, estimator, bad_data)

    @cached_property
    def misfit(self) -> float:
        """The misfit with nothing left out; infinite where no state fits."""
        try:
            return misfit(self.estimator, self.frame, self.inputs)
        except EstimationDivergedError:
            return np.inf

    @cached_property
    def fit(self) -> Fit | None:
        """The fit with wrong points left out; None where no state fits."""
        try:
            return fit(self.estimator, self.frame, self.inputs, self.bad_data)
        except EstimationDivergedError:
            return None

    @property
    def wrong(self) -> int:
        """How many points and switches are wrong if this is the network."""
        return len(self.switches) + (self.fit.wrong if self.fit is not None else 1_000_000)

    @property
    def order(self) -> tuple[int, float, tuple[int, ...]]:
        """The smaller, the better it explains."""
        return self.wrong, self.misfit, self.switches

    def rivals(self, better: Trial) -> bool:
        """Whether it explains the measurements as well as one of a smaller misfit."""
        return self.misfit <= _AS_WELL * better.misfit + 1.0
