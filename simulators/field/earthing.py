"""The earthing switches of the plant: operated by hand, interlocked with what they earth and with their bays.

An earthing switch closes only where its place is dead, and a switch does not close while an earthing switch of its own
bay is closed: of the same branch end, or of the node that it stands at. What the interlock of a bay cannot see, the
earth at the far end of a cable, is left to the control room. Not in here: the short circuit of an earth that is
energised all the same; it is only written down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulators.field.record import Record
from twin.network.model import Bools, EquipmentKind, Network
from twin.network.topology import Topology
from twin.points.model import DoublePosition, PointDefinition, Quality, Sample
from twin.timebase import SimTime

EARTHED = "earthed"
"""The rule by which a switch is not closed onto the earth of its own bay."""
NOT_DEAD = "not_dead"
"""The rule by which an earthing switch is not closed."""


class EarthingSwitches:
    """All earthing switches of a network, with the ``points`` that show them."""

    def __init__(self, network: Network, points: Sequence[PointDefinition], record: Record) -> None:
        self._network, self._record = network, record
        self._topology = Topology(network)
        self.closed: Bools = network.earthing.normally_closed.copy()
        self._told_live = np.zeros(network.earthing.n, dtype=np.bool_)
        self._points = {network.index[p.equipment].index: p for p in points if self.takes(network, p)}
        self._changed_ms = dict.fromkeys(self._points, 0)

    @staticmethod
    def takes(network: Network, point: PointDefinition) -> bool:
        """True if a point shows an earthing switch."""
        found = network.find(point.equipment)
        return found is not None and found.kind is EquipmentKind.EARTHING

    def named(self, name: int | str) -> bool:
        """True if there is an earthing switch of this name."""
        return name in self._network.earthing.names

    def blocks(self, switch: int) -> bool:
        """True if an earthing switch of the bay of ``switch`` is closed."""
        s, e = self._network.switches, self._network.earthing
        at = (e.node == s.node[switch]) | (e.node == s.other_node[switch])
        own = (e.branch < 0) | (e.branch == s.branch[switch])
        return bool((self.closed & at & own).any())

    def operate(self, name: str, closed: bool, energised: Bools, contacts: Bools, now: SimTime) -> str:
        """Operate one by hand; returns the rule that forbids it, or an empty string."""
        row = self._network.earthing.names.index(name)
        if self.closed[row] == closed:
            return ""
        if closed and self._live(energised, contacts)[row]:
            self._record.write("refused", name, {"rule": NOT_DEAD}, now)
            return NOT_DEAD
        self.closed[row] = closed
        self._told_live[row] = False
        self._record.write("earthing", name, {"position": "closed" if closed else "open"}, now)
        if row in self._points:
            self._changed_ms[row] = now
            self._record.samples.append(self._sample(row, spontaneous=True))
        return ""

    def measure(self, energised: Bools, contacts: Bools, now: SimTime) -> None:
        """Write down each earth that somebody has energised."""
        if not self.closed.any():
            return
        live = self._live(energised, contacts)
        for row in np.flatnonzero(self.closed & live & ~self._told_live).tolist():
            self._record.write("earth_energised", self._network.earthing.names[row], {}, now)
        self._told_live = self.closed & live

    def _live(self, energised: Bools, contacts: Bools) -> Bools:
        """Where each earthing switch stands, whether there is voltage."""
        e = self._network.earthing
        branches = self._topology.branch_energised(contacts, energised)
        live: Bools = np.where(e.branch >= 0, branches[np.maximum(e.branch, 0)], energised[e.node])
        return live

    def _sample(self, row: int, *, spontaneous: bool) -> Sample:
        point = self._points[row]
        value = DoublePosition.CLOSED if self.closed[row] else DoublePosition.OPEN
        return Sample(point.station, point.name, float(value), Quality.GOOD, self._changed_ms[row], spontaneous)

    def image(self) -> list[Sample]:
        """The present position of every earthing switch that has a point."""
        return [self._sample(row, spontaneous=False) for row in self._points]

    def snapshot(self) -> dict[str, Any]:
        """State ready for JSON."""
        return {
            "closed": self.closed.tolist(),
            "told_live": self._told_live.tolist(),
            "changed_ms": list(self._changed_ms.values()),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand as in ``state``."""
        self.closed = np.array(state["closed"], dtype=np.bool_)
        self._told_live = np.array(state["told_live"], dtype=np.bool_)
        self._changed_ms = dict(zip(self._changed_ms, state["changed_ms"], strict=True))
