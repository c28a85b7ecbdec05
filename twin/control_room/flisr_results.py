"""What FLISR publishes besides its plans: where a fault is, in the journal and as calculated points."""

from __future__ import annotations

from typing import Any

import numpy as np

from twin.dms.flisr import Location
from twin.network.model import Network
from twin.points.calculated import calculated_point
from twin.points.model import PointDefinition, Quality
from twin.scada.point_database import PointDatabase
from twin.timebase import SimTime

_SAID_CANDIDATES = 3
_QUANTITIES = ("fault_km", "fault_spread_km")


def heads_of(network: Network) -> list[str]:
    """The feeder heads by name."""
    return [network.switches.names[row] for row in np.flatnonzero(network.switches.feeder_head).tolist()]


def flisr_points(network: Network) -> list[PointDefinition]:
    """For each feeder head the distance of its last fault along the feeder, and within how much it is known."""
    return [calculated_point(head, quantity, "km") for head in heads_of(network) for quantity in _QUANTITIES]


class FaultDistances:
    """Writes the calculated points."""

    def __init__(self, network: Network, database: PointDatabase) -> None:
        self._of = {head: database.calculated([f"{head}.{q}" for q in _QUANTITIES]) for head in heads_of(network)}

    def publish(self, head: str, location: Location, now: SimTime) -> None:
        """The distance of the most probable place; invalid without one. Only feeder heads have points."""
        if head in self._of:
            place = location.places[0] if location.places else None
            values = [place.km, place.km_spread] if place else [np.nan, np.nan]
            self._of[head].publish(np.array(values), Quality.GOOD, now)


def location_data(location: Location) -> dict[str, Any]:
    """A location as the journal shows it."""
    likely = location.candidates[:_SAID_CANDIDATES]
    data: dict[str, Any] = {
        "zones": [candidate.name for candidate in likely],
        "probabilities": [round(candidate.probability, 4) for candidate in likely],
        "text": " ".join(location.why),
    }
    if location.places:
        data["places"] = [str(place) for place in location.places]
        data["distance_km"] = round(location.places[0].km, 4)
    return data
