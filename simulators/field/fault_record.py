"""What the relays of the feeder heads record of a fault when they trip: phase currents and the reactance of the loop.

The record stands until the next trip. Not in here: the protection itself, and what a distance is made of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulators.field.record import Record
from simulators.field.remote_terminal_unit import switch_row
from twin.network.model import Floats, Network
from twin.points.model import PointDefinition, Quality, Sample
from twin.timebase import SimTime

FAULT_RECORD = ("fault_l1_a", "fault_l2_a", "fault_l3_a", "fault_x_ohm")
"""The quantities of a record, in the order of what is recorded."""


class FaultRecords:
    """The records of all relays; ``gain`` is the ratio error of each point, in the order of ``points``."""

    def __init__(self, network: Network, points: Sequence[PointDefinition], gain: Floats, record: Record) -> None:
        self._record = record
        self._points: dict[int, list[tuple[int, PointDefinition]]] = {}
        for place, point in enumerate(points):
            self._points.setdefault(switch_row(network, point), []).append((place, point))
        self._gain = gain
        self._value = np.full(len(points), np.nan)
        self._at = [0] * len(points)

    def take(self, switch: int, values: Sequence[float], now: SimTime) -> None:
        """The relay at ``switch`` has tripped on ``values``, in the order of ``FAULT_RECORD``."""
        for place, point in self._points.get(switch, ()):
            self._value[place] = values[FAULT_RECORD.index(point.quantity)] * self._gain[place]
            self._at[place] = now
            self._record.samples.append(self._sample(place, point, spontaneous=True))

    def image(self) -> list[Sample]:
        """Every point; invalid where nothing was recorded."""
        rows = [row for points in self._points.values() for row in points]
        return [self._sample(place, point, spontaneous=False) for place, point in rows]

    def _sample(self, place: int, point: PointDefinition, *, spontaneous: bool) -> Sample:
        value = float(np.float32(self._value[place]))
        known = not math.isnan(value)
        quality = Quality.GOOD if known else Quality.INVALID
        return Sample(point.station, point.name, value if known else 0.0, quality, self._at[place], spontaneous)

    def snapshot(self) -> dict[str, Any]:
        """State ready for JSON."""
        return {"value": [None if math.isnan(v) else v for v in self._value.tolist()], "at": list(self._at)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand as in ``state``."""
        self._value = np.array(state["value"], dtype=np.float64)
        self._at = list(state["at"])
