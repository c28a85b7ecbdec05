"""Which zones are earthed, or may be, by the positions of the earthing switches that are reported."""

from __future__ import annotations

from twin.dms.zonegraph import ZoneGraph
from twin.network.model import Network
from twin.points.model import DoublePosition
from twin.scada.point_database import PointDatabase


def earthed_zones(network: Network, graph: ZoneGraph, database: PointDatabase) -> list[int]:
    """Zones with an earthing switch that is not known to be open; without a point it stands as it normally does."""
    earthing, zones = network.earthing, []
    for row, name in enumerate(earthing.names):
        reading = database.reading(name, "position")
        if reading is None:
            is_open = not earthing.normally_closed[row]
        else:
            is_open = reading.good and reading.value == DoublePosition.OPEN
        if not is_open:
            branch = int(earthing.branch[row])
            zones.append(int(graph.branch_zone[branch] if branch >= 0 else graph.node_zone[earthing.node[row]]))
    return sorted(set(zones))
