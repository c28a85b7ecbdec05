"""What the bays of a plant report to: contacts, held measurement, indications, fault records.

Not in here: what the bays do, and who takes what was told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulators.field.bay import INDICATIONS, Bay, BayMeasurement
from simulators.field.fault_record import FaultRecords
from simulators.field.measurement import HeldMeasurement
from simulators.field.record import Record
from simulators.field.remote_terminal_unit import switch_row
from twin.network.model import Bools, Network
from twin.points.model import PointDefinition, Quality, Sample
from twin.timebase import SimTime


class Plant:
    """What the bays report to: contacts, held measurement, indications, and the record of what was told."""

    def __init__(self, network: Network, points: Sequence[PointDefinition]) -> None:
        self.record = Record()
        self.held = HeldMeasurement(network)
        self.records = FaultRecords(network, (), np.ones(0), self.record)
        self.closed: Bools = np.zeros(network.switches.n, dtype=np.bool_)
        self.moving: Bools = np.zeros(network.switches.n, dtype=np.bool_)
        self._bays: Sequence[Bay] = ()
        self._points = {
            (switch_row(network, point), point.quantity): point
            for point in points
            if not point.kind.is_output and point.quantity in INDICATIONS
        }
        self._changed_ms = dict.fromkeys(self._points, 0)

    def attach(self, bays: Sequence[Bay]) -> None:
        """Take the present contacts of the bays."""
        self._bays = bays
        self.closed[:] = [bay.switchgear.conducting for bay in bays]
        self.moving[:] = [bay.switchgear.moving for bay in bays]

    def image(self) -> list[Sample]:
        """The present value of every indication and fault record."""
        states = [bay.indications() for bay in self._bays]
        indications = [
            _indication(point, states[row][quantity], self._changed_ms[row, quantity], spontaneous=False)
            for (row, quantity), point in self._points.items()
        ]
        return [*indications, *self.records.image()]

    def measured(self, switch: int) -> BayMeasurement:
        """What the transducers of a bay see now."""
        return self.held.bay(switch)

    def contacts_changed(self, switch: int, now: SimTime) -> None:
        """A drive started or came to rest."""
        gear = self._bays[switch].switchgear
        self.moving[switch] = gear.moving
        if self.closed[switch] == gear.conducting:
            return
        self.closed[switch] = gear.conducting
        self.held.interrupt(switch)
        if gear.conducting:
            self.record.closings.append((switch, now))

    def indication(self, switch: int, quantity: str, value: int, now: SimTime) -> None:
        """An indication of a bay changed."""
        point = self._points.get((switch, quantity))
        if point is not None:
            self._changed_ms[switch, quantity] = now
            self.record.samples.append(_indication(point, value, now, spontaneous=True))

    def fault_recorded(self, switch: int, now: SimTime) -> None:
        """The relay of a bay has tripped."""
        self.records.take(switch, self.held.fault(switch), now)

    def journal(self, switch: int, kind: str, data: Mapping[str, Any], now: SimTime) -> None:
        """Something happened in a bay."""
        self.record.write(kind, self._bays[switch].name, data, now)

    def finished(self, ticket: int, success: bool, now: SimTime) -> None:
        """A command's operation came to its end."""
        self.record.finished.append((ticket, success, now))

    def snapshot(self) -> dict[str, Any]:
        """State ready for JSON; the contacts are in the bays."""
        changed_ms = list(self._changed_ms.values())
        held, records = self.held.snapshot(), self.records.snapshot()
        return {"record": self.record.snapshot(), "held": held, "records": records, "changed_ms": changed_ms}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand as in ``state``, after the bays have been restored."""
        self.attach(self._bays)
        self.record.restore(state["record"])
        self.held.restore(state["held"])
        self.records.restore(state["records"])
        self._changed_ms = dict(zip(self._changed_ms, state["changed_ms"], strict=True))


def _indication(point: PointDefinition, value: int, t_ms: SimTime, *, spontaneous: bool) -> Sample:
    return Sample(point.station, point.name, float(value), Quality.GOOD, t_ms, spontaneous)
