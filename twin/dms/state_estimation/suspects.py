"""Topology error suspicion: would the measurements make more sense if a switch stood the other way round?

Each candidate near contradicting points is tried by a whole new estimate. One switch reported wrong is accepted as the
explanation only where it stands for at least two points that would have to be wrong at once otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin.dms.state_estimation.fit import Fit, fit, misfit
from twin.dms.state_estimation.frame import Frame, names_of
from twin.dms.state_estimation.model import SuspectSwitch
from twin.dms.state_estimation.telemetry import MeasuredPoints
from twin.dms.topology import SupplyState
from twin.network.model import Bools, Network
from twin.solvers.state_estimation import (
    BadDataSettings,
    EstimationDivergedError,
    Measurements,
    StateEstimator,
)

LEAST_POINTS = 2
"""Fewer contradicting points are taken for wrong measurements without further ado."""

_BORDER = 100.0
"""How much likelier an open switch at the border of supply is than any other one to explain life behind it."""

_AS_WELL = 1.5
"""A switch whose misfit is within this factor of the best one explains the measurements as well."""


@dataclass(frozen=True)
class Explanation:
    """The network with one switch the other way round, and its fit."""

    suspect: SuspectSwitch
    frame: Frame
    fit: Fit


@dataclass(frozen=True)
class _Trial:
    switch: int
    frame: Frame
    fit: Fit
    objective: float


@dataclass(frozen=True)
class Suspicion:
    """Tries switches; ``passive`` are the nodes without injection."""

    network: Network
    points: MeasuredPoints
    passive: Bools
    bad_data: BadDataSettings
    most: int

    def explain(
        self, estimator: StateEstimator, frame: Frame, measurements: Measurements, found: Fit
    ) -> Explanation | None:
        """The switch that explains what contradicts; None if there is none, or nothing to explain."""
        if found.wrong < LEAST_POINTS:
            return None
        trials = [self._try(switch, frame, measurements) for switch in self.candidates(frame, found, measurements)]
        good = [trial for trial in trials if trial is not None and trial.fit.wrong + 1 < found.wrong]
        if not good:
            return None
        good.sort(key=lambda trial: (trial.fit.wrong, trial.objective, trial.switch))
        objective = misfit(estimator, measurements, found)
        best = good[0]
        if best.objective >= objective:
            return None
        as_well = [
            trial.switch
            for trial in good[1:]
            if trial.fit.wrong == best.fit.wrong and trial.objective <= _AS_WELL * best.objective + 1.0
        ]
        suspect = self._suspect(best, objective, found, frame, names_of(self.network, as_well))
        return Explanation(suspect, best.frame, best.fit)

    def _borders_supply(self, frame: Frame) -> Bools:
        """Open switches that a part without supply could be fed through."""
        s, network = self.network.switches, self.network
        live = frame.node == SupplyState.ENERGISED
        at_branch = s.branch >= 0
        branch = np.where(at_branch, s.branch, 0)
        far = np.where(at_branch, np.where(s.side == 0, network.branch_to[branch], network.branch_from[branch]), s.node)
        far = np.where(s.other_node >= 0, s.other_node, far)
        border: Bools = ~frame.closed & (live[s.node] != live[far])
        return border

    def candidates(self, frame: Frame, found: Fit, measurements: Measurements) -> list[int]:
        """Known switches at and around the contradicting points, those with the strongest contradictions first."""
        weight = np.zeros(self.network.switches.n)
        s, network = self.network.switches, self.network
        sigmas = {bad.measurement: abs(bad.normalised_residual) for bad in found.removed}
        for row in found.rows:
            size = min(sigmas.get(row, abs(float(measurements.value[row] / measurements.sigma[row]))), 100.0)
            place, own = int(measurements.place[row]), int(self.points.switch[row])
            if own < 0:
                nodes: list[int] = [place]
            else:
                weight[s.branch == place] += size
                weight[own] += size
                nodes = [int(network.branch_from[place]), int(network.branch_to[place])]
            near = np.isin(s.node, nodes) | ((s.other_node >= 0) & np.isin(s.other_node, nodes))
            weight[near] += 0.1 * size
        weight[self._borders_supply(frame)] *= _BORDER
        order = np.argsort(-weight, kind="stable")
        return [int(row) for row in order[: self.most] if weight[row] > 0]

    def _try(self, switch: int, frame: Frame, measurements: Measurements) -> _Trial | None:
        if switch in frame.unknown:
            return None
        other = frame.flipped(switch)
        estimator = StateEstimator(self.network, zero_injection=self.passive & (frame.slack_kva == 0))
        estimator.update(closed=other.closed, tap_position=other.tap_position)
        try:
            found = fit(estimator, other, measurements, self.points.n, self.bad_data)
            objective = misfit(estimator, measurements, found)
        except EstimationDivergedError:
            return None
        return _Trial(switch, other, found, objective)

    def _suspect(
        self, best: _Trial, objective: float, found: Fit, frame: Frame, as_well: Sequence[str]
    ) -> SuspectSwitch:
        name, closed = self.network.switches.names[best.switch], bool(frame.closed[best.switch])
        contradicting = tuple(self.points.names[row] for row in found.rows)
        told, other = ("closed", "open") if closed else ("open", "closed")
        few = ", ".join(contradicting[:4]) + (f" and {len(contradicting) - 4} more" if len(contradicting) > 4 else "")
        more = "no point" if not best.fit.wrong else f"only {best.fit.wrong} of them"
        why = (
            f"{name} is reported {told}, but {found.wrong} points contradict that ({few}); were it {other}, {more} "
            f"would have to be wrong and the misfit would be {best.objective:.3g} instead of {objective:.3g}."
        )
        if as_well:
            why += f" {' or '.join(as_well)} would explain it as well."
        return SuspectSwitch(
            best.switch, name, closed, objective, best.objective, found.wrong, best.fit.wrong, contradicting, why
        )
