"""What a station knows of its inputs: values, quality, groups, counters with their frozen registers, parameters.

Decides which samples become events; knows no master.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from twin.errors import TwinError
from twin.outstations.iec104_settings import Iec104OutstationSettings
from twin.points.model import PointDefinition, PointKind, Quality
from twin.protocols.iec104 import InformationObject, plain_type, tagged_type
from twin.protocols.iec104.elements import IntegratedTotal
from twin.protocols.iec104.mapping import EVENT_ONLY_TYPES, element_of, type_suits
from twin.protocols.iec104.point_octets import point_octets

COUNTER_SEQUENCES = 32
INVALID_OCTET = 0x80


class PointMapError(TwinError):
    """A point of a station cannot be carried by IEC 60870-5-104 as its map says, or is not in the map."""

    def __init__(self, station: str, point: str, fault: str) -> None:
        self.station, self.point, self.fault = station, point, fault
        super().__init__(f"station {station}, point {point}: {fault}")


class InputPoint:
    """One input: where it goes, and what it holds. Unknown until its first sample."""

    __slots__ = (
        "address",
        "common_address",
        "counter",
        "definition",
        "event_only",
        "event_type",
        "ioa_octets",
        "limits",
        "name",
        "octets_of",
        "plain",
        "quality",
        "value",
    )

    def __init__(self, definition: PointDefinition, tagged_events: bool) -> None:
        address = definition.address
        self.definition = definition
        self.name = definition.name
        self.address = address
        self.common_address = address.common_address
        self.plain = plain_type(address.type_id)
        self.event_only = self.plain in EVENT_ONLY_TYPES
        self.event_type = tagged_type(address.type_id) if tagged_events else address.type_id
        self.ioa_octets = address.ioa.to_bytes(3, "little")
        self.octets_of = point_octets(address.type_id)
        self.value = 0.0
        self.quality = Quality.INVALID
        self.limits: TransmissionLimits | None = None
        self.counter = CounterRegister() if definition.kind is PointKind.COUNTER else None

    @property
    def interrogated(self) -> bool:
        """Whether it belongs into an interrogation: no counter, and more than an event."""
        return self.counter is None and not self.event_only

    @property
    def present(self) -> InformationObject:
        """The present value (of a counter: its frozen one, if it was ever frozen) without time tag."""
        if self.counter is not None:
            return InformationObject(self.address.ioa, self.counter.total(self.value, self.quality))
        return InformationObject(self.address.ioa, element_of(self.plain, self.value, self.quality))


class CounterRegister:
    """Freeze and reset of one integrated total (IEC 60870-5-101, 7.4.8)."""

    __slots__ = ("adjusted", "base", "frozen", "sequence")

    def __init__(self) -> None:
        self.base = 0.0
        self.adjusted = False
        self.sequence = 0
        self.frozen: tuple[float, Quality] | None = None

    def count(self, value: float) -> float:
        """What the counter has counted since its last reset."""
        return value - self.base

    def total(self, value: float, quality: Quality) -> IntegratedTotal:
        """The element of the frozen value, or of the present one if it was never frozen."""
        shown = (self.count(value), quality) if self.frozen is None else self.frozen
        element = element_of(_INTEGRATED_TOTAL, *shown)
        assert isinstance(element, IntegratedTotal)
        return replace(element, sequence=self.sequence, adjusted=self.adjusted)

    def freeze(self, value: float, quality: Quality) -> None:
        """Keep the present count; its sequence number counts the freezes."""
        self.frozen = (self.count(value), quality)
        self.sequence = (self.sequence + 1) % COUNTER_SEQUENCES
        self.adjusted = False

    def reset(self, value: float) -> None:
        """Count from zero."""
        self.base = value
        self.adjusted = True


_INTEGRATED_TOTAL = 15


class TransmissionLimits:
    """Parameters of a measured value: dead band (threshold), low and high limit; a loaded one may be out of operation.

    A value is sent when it has moved by the threshold since it was sent last, or has crossed a limit.
    """

    __slots__ = ("active", "last", "loaded")

    def __init__(self) -> None:
        self.loaded: dict[int, float] = {}
        self.active: set[int] = set()
        self.last: tuple[float, Quality] | None = None

    def suppresses(self, value: float, quality: Quality) -> bool:
        """Whether a spontaneous value stays in the image alone; one that does not counts as sent."""
        if self.last is not None and self.last[1] == quality and self._near(self.last[0], value):
            return True
        self.last = (value, quality)
        return False

    def _near(self, last: float, value: float) -> bool:
        for kind in (LOW_LIMIT, HIGH_LIMIT):
            if kind in self.active and (last < self.loaded[kind]) != (value < self.loaded[kind]):
                return False
        if THRESHOLD in self.active:
            return abs(value - last) < self.loaded[THRESHOLD]
        return bool(self.active)


THRESHOLD, SMOOTHING, LOW_LIMIT, HIGH_LIMIT = 1, 2, 3, 4
"""Kinds of parameter of measured values (IEC 60870-5-101, 7.2.6.24)."""


class StationImage:
    """The inputs of a station by name, by address and by group.

    Raises:
        PointMapError: a type does not carry its kind, an address is used twice, or a group names what is no such input.
    """

    def __init__(self, station: str, points: Sequence[PointDefinition], settings: Iec104OutstationSettings) -> None:
        self.station = station
        self.by_address = _by_address(station, points)
        tagged = settings.event_types == "tagged"
        self.inputs = {d.name: InputPoint(d, tagged) for d in points if not d.kind.is_output}
        self.groups = {number: self._named(names) for number, names in settings.groups.items()}
        self.counter_groups = {
            number: [self._counter(p) for p in self._named(names)] for number, names in settings.counter_groups.items()
        }
        self.cyclic = dict.fromkeys(p.name for p in self._named(settings.cyclic_points) if not p.event_only)

    def input(self, name: str) -> InputPoint:
        """An input by name.

        Raises:
            PointMapError: it is none.
        """
        found = self.inputs.get(name)
        if found is None:
            raise PointMapError(self.station, name, "it is no input of this station")
        return found

    def _named(self, names: Iterable[str]) -> list[InputPoint]:
        return [self.input(name) for name in names]

    def _counter(self, point: InputPoint) -> InputPoint:
        if point.counter is None:
            raise PointMapError(self.station, point.name, "it is in a counter group, but is no counter")
        return point

    def at(self, common_address: int, ioa: int) -> InputPoint | None:
        """The input at an address that a master may ask for, None if there is none."""
        definition = self.by_address.get((common_address, ioa))
        found = None if definition is None else self.inputs.get(definition.name)
        return None if found is None or found.event_only else found

    def interrogated(self, common_address: int, group: int) -> Iterator[InputPoint]:
        """The inputs of an interrogation group of a common address, all for group 0; but counters and mere events."""
        points: Iterable[InputPoint] = self.inputs.values() if group == 0 else self.groups.get(group, ())
        return (p for p in points if p.interrogated and p.common_address == common_address)

    def counters(self, common_address: int, group: int) -> list[InputPoint]:
        """The counters of a counter group of a common address, all for group 0."""
        points: Iterable[InputPoint] = self.inputs.values() if group == 0 else self.counter_groups.get(group, ())
        return [p for p in points if p.counter is not None and p.common_address == common_address]

    def forget_parameters(self, common_address: int) -> None:
        """Back to the parameters a common address ships with: none."""
        for point in self.inputs.values():
            if point.common_address == common_address:
                point.limits = None

    def values(self) -> list[list[Any]]:
        """Name, value and quality of every input that is not as it was before its first sample, JSON-able."""
        known = (p for p in self.inputs.values() if p.value or p.quality != Quality.INVALID)
        return [[p.name, p.value, int(p.quality)] for p in known]

    def registers(self) -> dict[str, Any]:
        """Counters, parameters and cycles as JSON-able values."""
        return {
            "counters": [_counter_row(p) for p in self.inputs.values() if p.counter is not None],
            "limits": [_limit_row(p) for p in self.inputs.values() if p.limits is not None],
            "cyclic": list(self.cyclic),
        }

    def restore(self, values: Iterable[Sequence[Any]], registers: Mapping[str, Any]) -> None:
        """The inverse of :meth:`values` and :meth:`registers`, into an image made of the same points."""
        for point in self.inputs.values():
            point.value, point.quality, point.limits = 0.0, Quality.INVALID, None
        for name, value, quality in values:
            self.inputs[name].value, self.inputs[name].quality = value, Quality(quality)
        for row in registers["counters"]:
            _restore_counter(self.inputs[row[0]], row)
        for row in registers["limits"]:
            _restore_limits(self.inputs[row[0]], row)
        self.cyclic = dict.fromkeys(registers["cyclic"])


def _counter_row(point: InputPoint) -> list[Any]:
    counter = point.counter
    assert counter is not None
    frozen = None if counter.frozen is None else [counter.frozen[0], int(counter.frozen[1])]
    return [point.name, counter.base, counter.adjusted, counter.sequence, frozen]


def _restore_counter(point: InputPoint, row: Sequence[Any]) -> None:
    counter = point.counter
    assert counter is not None
    _, counter.base, counter.adjusted, counter.sequence, frozen = row
    counter.frozen = None if frozen is None else (frozen[0], Quality(frozen[1]))


def _limit_row(point: InputPoint) -> list[Any]:
    limits = point.limits
    assert limits is not None
    last = None if limits.last is None else [limits.last[0], int(limits.last[1])]
    return [point.name, [[kind, value] for kind, value in limits.loaded.items()], sorted(limits.active), last]


def _restore_limits(point: InputPoint, row: Sequence[Any]) -> None:
    limits = point.limits = TransmissionLimits()
    limits.loaded = dict(row[1])
    limits.active = set(row[2])
    limits.last = None if row[3] is None else (row[3][0], Quality(row[3][1]))


def _by_address(station: str, points: Sequence[PointDefinition]) -> dict[tuple[int, int], PointDefinition]:
    table: dict[tuple[int, int], PointDefinition] = {}
    for definition in points:
        address = definition.address
        if not type_suits(definition.kind, address.type_id):
            raise PointMapError(station, definition.name, f"type {address.type_id} carries no {definition.kind.value}")
        other = table.setdefault((address.common_address, address.ioa), definition)
        if other is not definition:
            raise PointMapError(station, definition.name, f"it has the address of {other.name}")
    return table
