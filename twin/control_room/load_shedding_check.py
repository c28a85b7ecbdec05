"""Checks the steps of load shedding by power flow, at what the feeder heads measure or measured before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from twin.control_room.settings import LoadSheddingDeskSettings
from twin.dms.check import Limits, StateChecker
from twin.dms.load_shedding import Feeder
from twin.dms.plan import StepAction, StepCheck
from twin.network.model import Bools, Floats, Network
from twin.network.topology import Topology
from twin.solvers import power_flow

V_MAX_PU = 1.15
"""Load that comes back lifts no voltage; only a state without sense is above."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a feeder head; ``value`` is the stage of an arming."""

    feeder: str
    action: StepAction
    expects: str
    value: float | None = None


class StepChecker:
    """``rows`` are the switches of the feeder heads by name."""

    def __init__(self, network: Network, settings: LoadSheddingDeskSettings, rows: Mapping[str, int]) -> None:
        self._network, self._settings, self._rows = network, settings, rows
        self._topology = Topology(network)
        self._solver = power_flow(network)

    def checked(
        self, steps: Sequence[Step], feeders: Sequence[Feeder], closed: Bools
    ) -> tuple[list[tuple[Step, StepCheck]], list[str]]:
        """The steps that the power flow allows, one after the other from the state ``closed``; why others not."""
        now = closed.copy()
        checker = self._at(feeders, now)
        done: list[tuple[Step, StepCheck]] = []
        refused: list[str] = []
        for step in steps:
            after = now.copy()
            if step.action in (StepAction.OPEN, StepAction.CLOSE):
                after[self._rows[step.feeder]] = step.action is StepAction.CLOSE
            check = checker.check(after).check
            if not check.converged or (step.action is StepAction.CLOSE and not check.admissible):
                refused.append(
                    f"{step.feeder} stays as it is: to {step.action.value} it {'; '.join(check.violations)}."
                )
                continue
            done.append((step, check))
            now = after
        return done, refused

    def _at(self, feeders: Sequence[Feeder], closed: Bools) -> StateChecker:
        """A checker at the rated demand of each feeder, scaled to what its head measures or measured before."""
        network, settings = self._network, self._settings
        factor = self._factors(feeders)
        self._solver.update(p_kw=network.consumers.p_kw * factor, q_kvar=network.consumers.q_kvar * factor)
        checker = StateChecker(network, self._solver, Limits(settings.max_loading, settings.v_min_pu, V_MAX_PU))
        checker.tolerate(closed)
        return checker

    def _factors(self, feeders: Sequence[Feeder]) -> Floats:
        network = self._network
        head = self._topology.state(network.switches.normally_closed).feeder_head[network.consumers.node]
        factor = np.ones(network.consumers.n)
        for feeder in feeders:
            mine = head == self._rows[feeder.name]
            rated = float(network.consumers.p_kw[mine].sum())
            cold = self._settings.limits.cold_load_factor if feeder.is_shed else 1.0
            seen = cold * feeder.before_kw if feeder.is_shed else feeder.p_kw
            if rated > 0 and feeder.known and seen > 0:
                factor[mine] = seen / rated
        return factor
