"""Which telemetered points measure what: compiled once, then arrays only.

A measurement has a ``phase``: ``BALANCED`` for the positive sequence of a three-phase quantity, 0 to 2 for a phase of
its own. The balanced kernel takes ``BALANCED`` only; a three-phase one would read the same tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin.dms.state_estimation.settings import StateEstimationSettings
from twin.errors import Blame, TwinError
from twin.network.model import Bools, EquipmentKind, Floats, Ints, Network
from twin.points.model import PointDefinition
from twin.solvers.state_estimation import MeasurementKind as K
from twin.solvers.state_estimation import Measurements

BALANCED = -1

_AT_SWITCH = {"p_kw": K.P_FLOW_KW, "q_kvar": K.Q_FLOW_KVAR, "i_a": K.I_FLOW_A}
_LEAST_CURRENT = 5.0
"""A current of fewer sigmas has no slope to speak of and is left out."""


class PhaseError(TwinError):
    """A measurement of a single phase is given to the balanced estimation."""

    blame = Blame.SCENARIO

    def __init__(self, point: str, phase: int) -> None:
        self.point = point
        self.phase = phase
        super().__init__(f"{point} measures phase {phase}; the balanced state estimation takes three-phase values only")


@dataclass(frozen=True)
class MeasuredPoints:
    """The points that measure something the estimator knows; one row a point, in the order of the point map.

    ``kind``, ``place`` and ``side`` as in ``Measurements``; ``switch`` is the row of the switch it is measured at, -1
    for node voltages. A value times ``factor`` is in the unit of its kind. ``base_sigma`` holds the parts of the
    standard deviation that do not depend on the reading (accuracy of the range, dead band), ``reading_share`` the
    part that does. ``power_of`` are, for a current, the rows of P and Q at the same switch, -1 if there are none.
    ``unused`` are points at switches between two nodes: the flow there is no quantity of the model.
    """

    names: tuple[str, ...]
    kind: Ints
    place: Ints
    side: Ints
    phase: Ints
    switch: Ints
    factor: Floats
    base_sigma: Floats
    reading_share: Floats
    power_of: Ints
    unused: tuple[str, ...]

    def __post_init__(self) -> None:
        for name, phase in zip(self.names, self.phase.tolist(), strict=True):
            if phase != BALANCED:
                raise PhaseError(name, phase)

    @property
    def n(self) -> int:
        return len(self.names)

    def measurements(self, values: Floats, good: Bools) -> Measurements:
        """The measurements of one image: ``values`` in the points' units, ``good`` where they may be used.

        A current counts only where P or Q at the same switch does not.
        """
        return self.telemetry(values, good)[0]

    def telemetry(self, values: Floats, good: Bools) -> tuple[Measurements, Measurements]:
        """The measurements that count, and the currents that do not because P and Q at the same switch do."""
        usable = good & np.isfinite(values)
        value = np.where(usable, values, np.nan) * self.factor
        sigma = np.hypot(self.base_sigma, self.reading_share * np.abs(np.nan_to_num(value)))
        has_power = (self.power_of >= 0).all(axis=1) & usable[np.maximum(self.power_of, 0)].all(axis=1)
        current = self.kind == K.I_FLOW_A
        weak = np.abs(np.nan_to_num(value)) < _LEAST_CURRENT * sigma
        counting = Measurements(
            self.kind, self.place, self.side, np.where(current & (has_power | weak), np.nan, value), sigma
        )
        return counting, counting.with_values(np.where(current & has_power, value, np.nan))


def measured_points(
    network: Network, definitions: Sequence[PointDefinition], settings: StateEstimationSettings
) -> MeasuredPoints:
    """Find the points of node voltages and of flows through switches at branch ends."""
    rows, unused = [], []
    for definition in definitions:
        found = network.find(definition.equipment)
        if found is None or definition.kind.is_output:
            continue
        if found.kind is EquipmentKind.NODE and definition.quantity == "v_kv":
            rows.append(_voltage(network, definition, found.index, settings))
        elif found.kind is EquipmentKind.SWITCH and definition.quantity in _AT_SWITCH:
            if network.switches.branch[found.index] < 0:
                unused.append(definition.name)
            else:
                rows.append(_flow(network, definition, found.index, settings))
    return _table(rows, tuple(unused))


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    kind: K
    place: int
    side: int
    switch: int
    factor: float
    base_sigma: float
    reading_share: float


def _voltage(network: Network, point: PointDefinition, node: int, settings: StateEstimationSettings) -> _Row:
    factor = 1.0 / float(network.nodes.v_nominal_kv[node])
    accuracy = settings.accuracy(K.V_PU)
    sigma = _sigma(accuracy.of_range_percent / 100.0, point.dead_band * factor)
    return _Row(point.name, K.V_PU, node, 0, -1, factor, sigma, accuracy.of_reading_percent / 100.0)


def _flow(network: Network, point: PointDefinition, switch: int, settings: StateEstimationSettings) -> _Row:
    s = network.switches
    kind, branch = _AT_SWITCH[point.quantity], int(s.branch[switch])
    rating_a = float(network.branch_i_max_a[branch])
    rating_a = rating_a if np.isfinite(rating_a) and rating_a > 0 else settings.unknown_rating_a
    v_kv = float(network.nodes.v_nominal_kv[s.node[switch]])
    if branch >= network.lines.n:  # the rating of a transformer is that of its from side
        rating_a *= float(network.nodes.v_nominal_kv[network.branch_from[branch]]) / v_kv
    range_ = rating_a if kind is K.I_FLOW_A else np.sqrt(3.0) * v_kv * rating_a
    accuracy = settings.accuracy(kind)
    sigma = _sigma(accuracy.of_range_percent / 100.0 * range_, point.dead_band)
    return _Row(point.name, kind, branch, int(s.side[switch]), switch, 1.0, sigma, accuracy.of_reading_percent / 100.0)


def _sigma(accuracy: float, dead_band: float) -> float:
    """A value that is sent when it has left the dead band is evenly spread within it."""
    return float(np.hypot(accuracy, dead_band / np.sqrt(3.0)))


def _table(rows: Sequence[_Row], unused: tuple[str, ...]) -> MeasuredPoints:
    row_of = {(row.switch, row.kind): n for n, row in enumerate(rows) if row.switch >= 0}
    power_of = [
        [row_of.get((row.switch, kind), -1) if row.kind is K.I_FLOW_A else -1 for kind in (K.P_FLOW_KW, K.Q_FLOW_KVAR)]
        for row in rows
    ]
    return MeasuredPoints(
        names=tuple(row.name for row in rows),
        kind=np.array([row.kind for row in rows], dtype=np.int32),
        place=np.array([row.place for row in rows], dtype=np.int32),
        side=np.array([row.side for row in rows], dtype=np.int32),
        phase=np.full(len(rows), BALANCED, dtype=np.int32),
        switch=np.array([row.switch for row in rows], dtype=np.int32),
        factor=np.array([row.factor for row in rows]),
        base_sigma=np.array([row.base_sigma for row in rows]),
        reading_share=np.array([row.reading_share for row in rows]),
        power_of=np.array(power_of, dtype=np.int32).reshape(-1, 2),
        unused=unused,
    )
