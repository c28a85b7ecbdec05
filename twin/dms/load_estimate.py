"""Consumer demand from what the feeder heads measured: rated demands scaled feeder by feeder.

:func:`estimate_demand` counts the losses as demand, :func:`take_off_losses` mends that with a few power flows. Where a
feeder has no usable measurement its rated demand stands, and a sentence says so. Not a state estimation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin.network.model import Bools, Floats
from twin.network.topology import Topology
from twin.solvers.model import PowerFlow, PowerFlowDivergedError

_MAX_FACTOR = 5.0
"""A feeder far above its rated demand is taken for a wrong measurement."""


@dataclass(frozen=True)
class HeadMeasurements:
    """Last good values per switch (only rows of feeder heads count): from the node into the branch, kW and kvar."""

    p_kw: Floats
    q_kvar: Floats
    valid: Bools


@dataclass(frozen=True)
class DemandEstimate:
    """Demand per consumer and the sentences of what had to be assumed."""

    p_kw: Floats
    q_kvar: Floats
    sentences: tuple[str, ...]


def estimate_demand(
    topology: Topology, closed: Bools, measured: HeadMeasurements, *, generation_kw: Floats | None = None
) -> DemandEstimate:
    """Scale the rated demand behind each feeder head to its measurement.

    ``closed`` is the switching state at the time of measuring; ``generation_kw`` per unit is what was fed in
    then (None: nothing) and is added to the measurement. A feeder head behind another one is measured for itself,
    its flow is taken off the one before it.
    """
    return _Estimator(topology, closed, measured, generation_kw).estimate()


class _Estimator:
    def __init__(
        self, topology: Topology, closed: Bools, measured: HeadMeasurements, generation_kw: Floats | None
    ) -> None:
        self._network = topology.network
        self._state = topology.state(closed)
        self._measured = measured
        self._generation_kw = np.zeros(self._network.generators.n) if generation_kw is None else generation_kw
        consumers = self._network.consumers
        self._head = self._state.feeder_head[consumers.node]
        self._p_kw, self._q_kvar = consumers.p_kw.copy(), consumers.q_kvar.copy()

    def estimate(self) -> DemandEstimate:
        sentences = [self._feeder(int(head)) for head in np.unique(self._head[self._head >= 0])]
        left = int((self._head < 0).sum())
        if left:
            sentences.append(f"{left} consumers are behind no feeder head in operation and keep their rated demand.")
        return DemandEstimate(self._p_kw, self._q_kvar, tuple(s for s in sentences if s))

    def _feeder(self, head: int) -> str:
        """Scale one feeder; the sentence why not, or an empty one."""
        name = self._network.switches.names[head]
        below = self._heads_below(head)
        if not self._measured.valid[[head, *below]].all():
            return f"The feeder of {name} has no good measurement and keeps its rated demand."
        rows = self._head == head
        rated_kw, rated_kvar = float(self._p_kw[rows].sum()), float(self._q_kvar[rows].sum())
        p_kw = _own(self._measured.p_kw, head, below) + self._generation_behind(head)
        if not 0 < p_kw <= _MAX_FACTOR * rated_kw:
            measured = f"measured {p_kw:.0f} kW against {rated_kw:.0f} kW rated"
            return f"The feeder of {name} {measured}: it keeps its rated demand."
        factor = p_kw / rated_kw
        self._p_kw[rows] *= factor
        q_kvar = _own(self._measured.q_kvar, head, below)
        plausible = rated_kvar > 0 and 0 <= q_kvar <= _MAX_FACTOR * rated_kvar
        self._q_kvar[rows] *= q_kvar / rated_kvar if plausible else factor
        return ""

    def _heads_below(self, head: int) -> list[int]:
        """Feeder heads in operation that are fed directly from this feeder (a head's node is where it is fed)."""
        feeder_at_node = self._state.feeder_head
        heads = np.unique(feeder_at_node[feeder_at_node >= 0]).tolist()
        return [h for h in heads if h != head and feeder_at_node[self._network.switches.node[h]] == head]

    def _generation_behind(self, head: int) -> float:
        feeder = self._state.feeder_head[self._network.generators.node]
        return float(self._generation_kw[feeder == head].sum())


def _own(flow: Floats, head: int, below: list[int]) -> float:
    """What enters a feeder less what leaves it through the feeder heads right behind it."""
    return float(flow[head] - flow[below].sum())


def take_off_losses(
    topology: Topology,
    closed: Bools,
    measured: HeadMeasurements,
    estimate: DemandEstimate,
    solver: PowerFlow,
    *,
    rounds: int = 3,
) -> DemandEstimate:
    """Scale an estimate until the calculated flow at each measured feeder head is the measured one.

    What the heads measured includes losses and charging, which demand scaled to it would count twice. Each round is
    one power flow (``solver``'s demand and switch states are overwritten). Where there is no solution, the estimate
    stays as it is.
    """
    heads = [int(head) for head in np.flatnonzero(measured.valid & topology.network.switches.feeder_head)]
    head_of = topology.state(closed).feeder_head[topology.network.consumers.node]
    p_kw, q_kvar = estimate.p_kw.copy(), estimate.q_kvar.copy()
    for _ in range(rounds):
        solver.update(p_kw=p_kw, q_kvar=q_kvar, closed=closed)
        try:
            flow = solver.solve()
        except PowerFlowDivergedError:
            return estimate
        ends_kw = np.stack([flow.p_from_kw, flow.p_to_kw])
        ends_kvar = np.stack([flow.q_from_kvar, flow.q_to_kvar])
        for head in heads:
            side, branch = topology.network.switches.side[head], topology.network.switches.branch[head]
            mine = head_of == head
            if branch < 0 or not mine.any():
                continue
            p_kw[mine] *= _correction(float(measured.p_kw[head] - ends_kw[side, branch]), float(p_kw[mine].sum()))
            q_kvar[mine] *= _correction(
                float(measured.q_kvar[head] - ends_kvar[side, branch]), float(q_kvar[mine].sum())
            )
    return DemandEstimate(p_kw, q_kvar, estimate.sentences)


def _correction(missing: float, demand: float) -> float:
    """By which factor demand grows to take up what is missing at the head; 1 where that would be implausible."""
    factor = 1.0 + missing / demand if demand > 0 else 1.0
    return factor if 0.5 <= factor <= 2.0 else 1.0
