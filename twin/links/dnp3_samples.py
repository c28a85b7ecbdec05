"""Turns the objects of DNP3 responses into samples of the point model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from twin.points.dnp3 import Dnp3Address
from twin.points.model import PointDefinition, Sample, TimeSource
from twin.protocols.dnp3 import Item, ObjectHeader
from twin.protocols.dnp3.mapping import quality_of
from twin.protocols.dnp3.objects import SPECS, STATIC_GROUPS, STATIC_OF_EVENT
from twin.timebase import SimTime

_FROZEN = {20: 21, 30: 31}
_STATUS_OF_OUTPUTS = {12: 10, 41: 40}


class SampleReader:
    """Knows the points of one station by group and index.

    ``unknown_objects`` counts objects outside the point map, ``unsuitable_objects`` those that carry no values.
    """

    def __init__(
        self,
        station: str,
        points: Sequence[PointDefinition],
        addresses: Mapping[str, Dnp3Address],
        epoch_ms: int,
    ) -> None:
        """``epoch_ms`` is the start of the run in UTC milliseconds since 1970."""
        self.unknown_objects = 0
        self.unsuitable_objects = 0
        self._station = station
        self._epoch_ms = epoch_ms
        self._names: dict[int, dict[int, str]] = {}
        self._quiet: set[tuple[int, int]] = set()
        for point in points:
            address = addresses.get(point.name)
            if address is None:
                continue
            if point.kind.is_output:
                self._quiet.add((_STATUS_OF_OUTPUTS[address.group], address.index))
            else:
                self._names.setdefault(address.group, {})[address.index] = point.name
                if frozen := _FROZEN.get(address.group):
                    self._quiet.add((frozen, address.index))

    def read(self, headers: Sequence[ObjectHeader], now: SimTime) -> Iterator[Sample]:
        """The samples of a response in their order."""
        common_ms = 0
        for header in headers:
            if header.group == 51:
                times = header.items()
                common_ms = times[0][3] if times else common_ms
                self.unsuitable_objects += not times
            elif header.group in STATIC_OF_EVENT or header.group in STATIC_GROUPS:
                base = common_ms if _is_relative(header) else 0
                yield from self._samples(header, base, now)
            elif header.group not in (0, 50, 52, 80):
                self.unsuitable_objects += 1

    def _samples(self, header: ObjectHeader, base_ms: int, now: SimTime) -> Iterator[Sample]:
        event = header.group in STATIC_OF_EVENT
        group = STATIC_OF_EVENT.get(header.group, header.group)
        names = self._names.get(group, {})
        for item in header.items():
            name = names.get(item[0])
            if name is None:
                self.unknown_objects += (group, item[0]) not in self._quiet
                continue
            yield self._sample(name, header.group, item, base_ms, event, now)

    def _sample(self, name: str, group: int, item: Item, base_ms: int, event: bool, now: SimTime) -> Sample:
        _, value, flags, t_ms = item
        quality = quality_of(flags, group)
        if event and (t_ms or base_ms):
            return Sample(self._station, name, value, quality, t_ms + base_ms - self._epoch_ms)
        return Sample(self._station, name, value, quality, now, event, TimeSource.FRONT_END)


def _is_relative(header: ObjectHeader) -> bool:
    spec = SPECS.get((header.group, header.variation))
    return spec is not None and spec.time == "rel"
