"""The logic of the remote terminal units (RTU): what is sent up, and what is let through down.

Up: measurands are scanned over all stations at once and sent when they left their dead band.
Down: a command is checked here again, whatever the control room checked. Not in here: protocols and sessions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulators.field.bay import Bay
from simulators.field.breaker import FAULT_CURRENT, LOAD_CURRENT, SPRING_NOT_CHARGED, SWITCH_MOVING
from twin.errors import Blame, TwinError
from twin.network.model import Bools, EquipmentKind, Floats, Network
from twin.outstations.model import StationCommand
from twin.points.model import DoublePosition, PointDefinition, PointKind, Quality, Sample
from twin.timebase import SimTime

UNKNOWN_POINT = "unknown_point"
NOT_A_POSITION = "not_a_position"
LOCAL_CONTROL = "local_control"
RULES = (UNKNOWN_POINT, NOT_A_POSITION, LOCAL_CONTROL, SWITCH_MOVING, SPRING_NOT_CHARGED, FAULT_CURRENT, LOAD_CURRENT)
"""Every rule by which a station refuses a command, in the order in which they are asked."""

MEASURANDS = ("v_kv", "i_a", "p_kw", "q_kvar")


class UnmeasurablePointError(TwinError):
    """A point asks for a quantity that its equipment does not have."""

    blame = Blame.SCENARIO

    def __init__(self, station: str, point: str, equipment: str, quantity: str) -> None:
        self.station, self.point, self.equipment, self.quantity = station, point, equipment, quantity
        super().__init__(f"point {point} of station {station} asks for {quantity} of {equipment}, which has none")


class MeasurandScan:
    """Scans the measurands of all stations and finds those that left their dead band.

    ``source`` is the concatenation of node voltages and switch currents, active and reactive powers, in the order
    of ``MEASURANDS``. ``gain`` is each transducer's own ratio error; a transducer that fails takes another one, or
    sticks to what it showed.
    """

    def __init__(self, network: Network, points: Sequence[PointDefinition], gain: Floats) -> None:
        self._points = tuple(points)
        self._row = np.array([_source_row(network, point) for point in points], dtype=np.intp)
        self._dead_band = np.array([point.dead_band for point in points])
        self._gain = gain.copy()
        self._stuck = np.zeros(len(points), dtype=np.bool_)
        self._row_of = {point.name: row for row, point in enumerate(points)}
        self._value = np.full(len(points), np.nan)
        self._sent = np.full(len(points), np.nan)
        self._scanned_ms = 0

    def scan(self, source: Floats, now: SimTime) -> list[Sample]:
        """Take the values at ``now``; returns the samples of those that changed by more than their dead band."""
        self._value = np.where(self._stuck, self._value, source[self._row] * self._gain)
        self._scanned_ms = now
        kept = np.abs(self._value - self._sent) <= self._dead_band
        if kept.all():
            return []
        changed = ~kept & ~(np.isnan(self._value) & np.isnan(self._sent))
        self._sent = np.where(changed, self._value, self._sent)
        return [self._sample(row, spontaneous=True) for row in np.flatnonzero(changed).tolist()]

    def fail(self, point: str, reads: float | None) -> None:
        """From now on a transducer shows ``reads`` times what it measures; None: always what it shows now.

        Raises:
            UnmeasurablePointError: no transducer measures this point.
        """
        if point not in self._row_of:
            raise UnmeasurablePointError("", point, point.rpartition(".")[0], point.rpartition(".")[2])
        row = self._row_of[point]
        self._stuck[row] = reads is None
        if reads is not None:
            self._gain[row] = reads

    def image(self) -> list[Sample]:
        """The last scan of every measurand; invalid where nothing has been measured."""
        return [self._sample(row, spontaneous=False) for row in range(len(self._points))]

    def snapshot(self) -> dict[str, Any]:
        """State ready for JSON."""
        values = {"value": self._value, "sent": self._sent}
        failures = {"gain": self._gain.tolist(), "stuck": self._stuck.tolist()}
        return {"scanned_ms": self._scanned_ms, **failures, **{k: _without_nan(v) for k, v in values.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand as in ``state``."""
        self._value, self._sent = (np.array(state[k], dtype=np.float64) for k in ("value", "sent"))
        self._gain, self._stuck = np.array(state["gain"]), np.array(state["stuck"], dtype=np.bool_)
        self._scanned_ms = state["scanned_ms"]

    def _sample(self, row: int, *, spontaneous: bool) -> Sample:
        # telecontrol carries measured values as IEEE short floats, whatever the protocol
        point, value = self._points[row], float(np.float32(self._value[row]))
        known = value == value
        return Sample(
            point.station,
            point.name,
            value if known else 0.0,
            Quality.GOOD if known else Quality.INVALID,
            self._scanned_ms,
            spontaneous,
        )


class CommandRules:
    """Which switch a command means, and the rule that refuses it."""

    def __init__(self, network: Network, points: Sequence[PointDefinition], bays: Sequence[Bay]) -> None:
        self._bays = bays
        self._switch = {
            (point.station, point.name): switch_row(network, point)
            for point in points
            if point.kind is PointKind.DOUBLE_COMMAND
        }

    def switch(self, command: StationCommand) -> int | None:
        """Row of the switch that the command operates, None for an unknown point."""
        return self._switch.get((command.station, command.point))

    def refusal(self, command: StationCommand) -> str:
        """The first rule against the command, or an empty string."""
        switch = self.switch(command)
        if switch is None:
            return UNKNOWN_POINT
        if command.value not in (DoublePosition.OPEN, DoublePosition.CLOSED):
            return NOT_A_POSITION
        bay = self._bays[switch]
        return LOCAL_CONTROL if bay.local else bay.refusal(command.value == DoublePosition.CLOSED)


def switch_row(network: Network, point: PointDefinition) -> int:
    """Row of the switch that a point belongs to.

    Raises:
        UnmeasurablePointError: the point's equipment is no switch.
    """
    equipment = network.find(point.equipment)
    if equipment is None or equipment.kind is not EquipmentKind.SWITCH:
        raise UnmeasurablePointError(point.station, point.name, point.equipment, point.quantity)
    return equipment.index


def _source_row(network: Network, point: PointDefinition) -> int:
    """Where the value of a measurand stands in the scan's source."""
    equipment = network.find(point.equipment)
    if point.quantity == "v_kv" and equipment is not None and equipment.kind is EquipmentKind.NODE:
        return equipment.index
    if point.quantity not in MEASURANDS:
        raise UnmeasurablePointError(point.station, point.name, point.equipment, point.quantity)
    switch = switch_row(network, point)
    if point.quantity == "v_kv":
        return int(network.switches.node[switch])
    return network.nodes.n + (MEASURANDS.index(point.quantity) - 1) * network.switches.n + switch


def _without_nan(values: Floats) -> list[float | None]:
    unknown: Bools = np.isnan(values)
    return [None if u else v for u, v in zip(unknown.tolist(), values.tolist(), strict=True)]
