"""Places on DNP3 of derived points: from the bay slot ``s`` and order ``k`` in their information object address.

As there, a bay's points and the bays behind it stay where they are when a point or a last bay is added. The index is
10 s + k in the group of the kind (g1, g3, g12, g20, g30, g41); step positions (g30) and regulating steps (g12) lie
32 768 higher. A station where that gives two points one place has its points numbered one behind the other.
"""

from __future__ import annotations

from dataclasses import replace

from twin.points.dnp3 import MAX_INDEX, Dnp3Address, assigned, groups_of, usual_address
from twin.points.model import PointDefinition, PointKind
from twin.points.pointmap import PointMap

_BEHIND = (PointKind.STEP_POSITION, PointKind.STEP_COMMAND)
_OFFSET = 32_768


def with_dnp3(points: PointMap) -> PointMap:
    """Each point with its place on DNP3 as well."""
    return PointMap(point for station in points.stations for point in _placed(points.of_station(station)))


def _placed(points: tuple[PointDefinition, ...]) -> tuple[PointDefinition, ...]:
    """The points of a station with their places."""
    places = [(point, _place(point)) for point in points]
    taken = [(place.group, place.index) for _, place in places if place is not None]
    if len(set(taken)) < len(taken) or any(index > MAX_INDEX for _, index in taken):
        usual = assigned((point.name, point.kind.value, None) for point in points)
        places = [(point, usual.get(point.name)) for point in points]
    return tuple(replace(point, dnp3=place) for point, place in places)


def _place(point: PointDefinition) -> Dnp3Address | None:
    if not groups_of(point.kind.value):
        return None
    page, n = divmod(point.address.ioa, 10_000)
    index = 1_000 * page + n % 1_000 + _OFFSET * (point.kind in _BEHIND)
    return usual_address(point.kind.value, index)
