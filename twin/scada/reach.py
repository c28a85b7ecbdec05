"""What switches join, by the positions that are reported: for interlocks that look beyond one bay.

A switch whose position is not known counts as closed; one without a position point stands as it normally does.
"""

from __future__ import annotations

from collections.abc import Mapping

from twin.network.model import Network
from twin.network.topology import zones
from twin.points.model import DoublePosition
from twin.scada.interlocks import PlantView


class ZoneReach:
    """Zones (nodes and branches joined without a switch) as vertices; ``sides`` are the two zones of each switch."""

    def __init__(self, network: Network) -> None:
        self._network = network
        found = zones(network)
        self.sides = list(zip(found.switch_zone_a.tolist(), found.switch_zone_b.tolist(), strict=True))
        self.node_zone, self.branch_zone = found.node_zone, found.branch_zone
        self._sources = frozenset(found.node_zone[network.sources.node].tolist())
        self._at: dict[int, list[int]] = {}
        for row, sides in enumerate(self.sides):
            for zone in sides:
                self._at.setdefault(zone, []).append(row)

    def beyond(self, switch: int, view: PlantView, changed: Mapping[int, bool] | None = None) -> tuple[set[int], ...]:
        """For both sides of a switch the zones that are or may be joined to it while the switch is open.

        ``changed`` are positions by row that count instead of those reported.
        """
        positions = {**(changed or {}), switch: False}
        one, other = self.sides[switch]
        return self._reach(one, view, positions), self._reach(other, view, positions)

    def is_fed(self, reached: set[int]) -> bool:
        """A source is among the zones."""
        return not reached.isdisjoint(self._sources)

    def _reach(self, start: int, view: PlantView, positions: Mapping[int, bool]) -> set[int]:
        seen, waiting = {start}, [start]
        while waiting:
            for row in self._at.get(waiting.pop(), ()):
                if not positions.get(row, True) or (row not in positions and not self._may_conduct(row, view)):
                    continue
                new = {*self.sides[row]} - seen
                seen |= new
                waiting += new
        return seen

    def _may_conduct(self, row: int, view: PlantView) -> bool:
        reading = view.reading(self._network.switches.names[row], "position")
        if reading is None:
            return bool(self._network.switches.normally_closed[row])
        return not (reading.good and reading.value == DoublePosition.OPEN)
