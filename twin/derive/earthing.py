"""Points of earthing switches: their position. They are operated by hand at the switchgear, not by telecontrol.

Addresses per station: 100 + k for its k-th earthing switch, in the order of the network.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from twin.derive.settings import Station
from twin.network.model import Network
from twin.points.model import PointAddress, PointDefinition, PointKind
from twin.points.pointmap import TYPE_IDS

_BASE = 100


def earthing_points(network: Network, station: Station) -> Iterator[PointDefinition]:
    """One position for each earthing switch at the nodes of a station."""
    nodes = [network.index[name].index for name in station.nodes]
    for order, row in enumerate(np.flatnonzero(np.isin(network.earthing.node, nodes)).tolist(), start=1):
        name = network.earthing.names[row]
        address = PointAddress(station.common_address, _BASE + order, TYPE_IDS[PointKind.DOUBLE][0])
        yield PointDefinition(station.name, f"{name}.position", PointKind.DOUBLE, name, "position", address)
