"""The static objects of a DNP3 outstation: present values by group and index, and how they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from twin.errors import TwinError
from twin.points.dnp3 import Dnp3Address
from twin.points.model import PointDefinition, PointKind
from twin.protocols.dnp3.headers import static_block
from twin.protocols.dnp3.objects import ONLINE, RESTART, SPECS, Reading

GROUP_OF_OUTPUT = {12: 10, 41: 40}
"""The status objects of each group of controls."""
_STATUS_VARIATION = {12: 2, 41: 3}
_PACKED = {1: 1, 3: 1, 10: 1}
_FROZEN_VARIATIONS = {1: 5, 2: 6, 5: 9, 6: 10}
"""The variation of a frozen counter by that of its counter: with the time of the freeze, or without flags."""
_FROZEN_ANALOGS = {1: 3, 2: 4, 3: 5, 4: 6, 5: 7, 6: 8}
"""The variation of a frozen analogue by that of its analogue: with the time of the freeze where there is one."""
CLASS_0 = (1, 3, 10, 20, 21, 30, 40, 110)
"""What an integrity poll reads, in this order; frozen analogues are read by their group alone."""
_RUN_OCTETS = 240


class Dnp3PointError(TwinError):
    """A point of a station cannot be carried by DNP3 as its map says, or is not in the map."""

    def __init__(self, station: str, point: str, fault: str) -> None:
        self.station, self.point, self.fault = station, point, fault
        super().__init__(f"station {station}, point {point}: {fault}")


class Row:
    """One static object with its present reading; ``last_event`` is the value that was last reported."""

    __slots__ = ("dead_band", "event_class", "event_variation", "index", "last_event", "point", "reading", "variation")

    def __init__(self, index: int, point: str, variation: int, event_variation: int, event_class: int) -> None:
        self.index, self.point = index, point
        self.variation, self.event_variation, self.event_class = variation, event_variation, event_class
        self.dead_band = 0.0
        self.last_event = 0.0
        self.reading: Reading = (0.0, RESTART, 0)


class Database:
    """Rows by group, each group in the order of its indexes."""

    def __init__(self, station: str, points: Sequence[PointDefinition], addresses: Mapping[str, Dnp3Address]) -> None:
        self.groups: dict[int, dict[int, Row]] = {}
        self.inputs: dict[str, tuple[int, Row]] = {}
        self.written_dead_bands: set[int] = set()
        self._station = station
        for point in points:
            address = addresses.get(point.name)
            if address is not None:
                self._add(point, address)
        self.groups = {group: dict(sorted(rows.items())) for group, rows in sorted(self.groups.items())}

    def _add(self, point: PointDefinition, address: Dnp3Address) -> None:
        group = GROUP_OF_OUTPUT.get(address.group, address.group)
        variation = _STATUS_VARIATION.get(address.group, address.variation)
        row = Row(address.index, point.name, variation, address.event_variation, address.event_class)
        row.dead_band = point.dead_band if point.kind is PointKind.MEASURAND else 0.0
        other = self.groups.setdefault(group, {}).setdefault(address.index, row)
        if other is not row:
            raise Dnp3PointError(self._station, point.name, f"it has the DNP3 address of {other.point}")
        if point.kind.is_output:
            row.reading = (0.0, ONLINE, 0)
        else:
            self.inputs[point.name] = (group, row)
        if group == 20:
            frozen = _FROZEN_VARIATIONS.get(address.variation, 5)
            timed = {1: 5, 2: 6, 5: 5, 6: 6}[address.event_variation]
            self.groups.setdefault(21, {})[address.index] = Row(
                address.index, point.name, frozen, timed, address.event_class
            )

    def frozen_analog(self, index: int) -> Row:
        """The frozen object (g31) of an analogue input; it is there from its first freeze on."""
        rows = self.groups.setdefault(31, {})
        if index not in rows:
            analog = self.groups[30][index]
            variation = _FROZEN_ANALOGS[analog.variation]
            rows[index] = Row(index, analog.point, variation, analog.event_variation, analog.event_class)
            self.groups[31] = dict(sorted(rows.items()))
        return self.groups[31][index]

    def row(self, group: int, index: int) -> Row | None:
        """The static object under an address."""
        return self.groups.get(group, {}).get(index)

    def blocks(
        self, group: int, variation: int, indexes: Iterable[int] | None = None, most: int | None = None
    ) -> Iterator[bytes]:
        """Present values as blocks of runs of successive indexes; ``variation`` 0 takes each point's default.

        ``indexes`` that do not exist are left out. Values with other flags than ONLINE do not travel packed.
        """
        source = 30 if group == 34 else group
        rows: Iterable[Row] = self.groups.get(source, {}).values()
        if indexes is not None:
            there = self.groups.get(source, {})
            rows = [there[index] for index in indexes if index in there]
        run: list[Reading] = []
        start, key = 0, -1
        for n, row in enumerate(rows):
            if most is not None and n >= most:
                break
            chosen, reading = _chosen(group, variation, row)
            if chosen != key or row.index != start + len(run) or not self._fits(group, key, len(run)):
                if run:
                    yield static_block(SPECS[group, key], start, run)
                run, start, key = [], row.index, chosen
            run.append(reading)
        if run:
            yield static_block(SPECS[group, key], start, run)

    @staticmethod
    def _fits(group: int, variation: int, count: int) -> bool:
        return SPECS[group, variation].octets(count + 1) <= _RUN_OCTETS

    def snapshot(self) -> list[Any]:
        """State as JSON-able values."""
        return [
            [group, row.index, list(row.reading), row.last_event, row.dead_band]
            for group, rows in self.groups.items()
            for row in rows.values()
        ] + [sorted(self.written_dead_bands)]

    def restore(self, state: Sequence[Any]) -> None:
        """The inverse of :meth:`snapshot`."""
        *rows, written = state
        self.groups.pop(31, None)
        for group, index, reading, last_event, dead_band in rows:
            row = self.frozen_analog(index) if group == 31 else self.groups[group][index]
            value, flags, t_ms = reading
            row.reading, row.last_event, row.dead_band = (value, flags, t_ms), last_event, dead_band
        self.written_dead_bands = set(written)


def _chosen(group: int, variation: int, row: Row) -> tuple[int, Reading]:
    """The variation in which a row is sent, and its reading there."""
    if group == 34:
        return variation or 3, (row.dead_band, ONLINE, 0)
    chosen = variation or row.variation
    if not variation and chosen == _PACKED.get(group) and row.reading[1] != ONLINE:
        chosen = 2
    return chosen, row.reading
