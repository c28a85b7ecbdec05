"""The register map of an emulated Modbus station: bits and registers as they go onto the wire.

Each unit and table is one array over the span of its points. What lies between two points reads as 0; what lies
outside the span, and units and tables without points, do not exist.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twin.points.modbus import ModbusAddress, Table
from twin.points.model import PointDefinition, Sample
from twin.protocols.modbus.pdu import ExceptionCode, Function, RefusedRequestError
from twin.protocols.modbus.values import bits_of, clamped_octets, with_bits

READ_TABLE: Mapping[int, Table] = {
    Function.READ_COILS: Table.COIL,
    Function.READ_DISCRETE_INPUTS: Table.DISCRETE,
    Function.READ_HOLDING_REGISTERS: Table.HOLDING,
    Function.READ_INPUT_REGISTERS: Table.INPUT,
}


@dataclass(slots=True)
class _Span:
    """One table of one unit: ``octets`` has one octet a bit, or two a register; ``first`` is its first address."""

    first: int
    width: int
    octets: bytearray

    def part(self, address: int, count: int, function: int) -> slice:
        """Where ``count`` bits or registers lie.

        Raises:
            RefusedRequestError: some of them do not exist.
        """
        start = (address - self.first) * self.width
        end = start + count * self.width
        if start < 0 or end > len(self.octets):
            raise RefusedRequestError(function, ExceptionCode.ILLEGAL_DATA_ADDRESS)
        return slice(start, end)


class RegisterImage:
    """The tables of all units of a station."""

    def __init__(self, points: Sequence[PointDefinition]) -> None:
        self._spans = dict(_spans(points))
        self._outputs = _outputs(points)
        self._places = {
            p.name: (p.kind, p.modbus, *_located(self._spans, p.modbus))
            for p in points
            if p.modbus is not None and not p.kind.is_output
        }
        self.units = frozenset(unit for unit, _ in self._spans)

    def update(self, sample: Sample) -> bool:
        """Write a sample of an input; False if the point has no place on Modbus."""
        place = self._places.get(sample.point)
        if place is None:
            return False
        kind, address, span, start = place
        if address.bit is not None:
            bits = bits_of(sample.value, address, kind)
            octets = with_bits(bytes(span.octets[start : start + 2]), bits, address)
        elif span.width == 1:
            octets = bits_of(sample.value, address, kind)
        else:
            octets = clamped_octets(sample.value, sample.quality, address)
        span.octets[start : start + len(octets)] = octets
        return True

    def read(self, unit: int, function: int, address: int, count: int, table: Table | None = None) -> bytes:
        """``count`` bits (one octet each) or registers (two octets each).

        Raises:
            RefusedRequestError: some of them do not exist.
        """
        span = self._span(unit, table or READ_TABLE[function], function)
        return bytes(span.octets[span.part(address, count, function)])

    def write(self, address: ModbusAddress, octets: bytes) -> None:
        """Put octets where an output has its place."""
        span = self._spans[address.unit, address.table]
        start = (address.register - span.first) * span.width
        span.octets[start : start + len(octets)] = octets

    def outputs(self, unit: int, table: Table, address: int, count: int, function: int) -> list[PointDefinition]:
        """The outputs that a write to these cells means, by address.

        Raises:
            RefusedRequestError: a cell is no output's, or an output would be written in part (but for pairs of coils).
        """
        found: dict[str, PointDefinition] = {}
        for cell in range(address, address + count):
            points = self._outputs.get((unit, table, cell))
            if points is None:
                raise RefusedRequestError(function, ExceptionCode.ILLEGAL_DATA_ADDRESS)
            for point in points:
                assert point.modbus is not None
                inside = address <= point.modbus.register and point.modbus.end <= address + count
                if not inside and not table.is_bits:
                    raise RefusedRequestError(function, ExceptionCode.ILLEGAL_DATA_ADDRESS)
                found[point.name] = point
        return list(found.values())

    def _span(self, unit: int, table: Table, function: int) -> _Span:
        span = self._spans.get((unit, table))
        if span is None:
            raise RefusedRequestError(function, ExceptionCode.ILLEGAL_DATA_ADDRESS)
        return span

    def snapshot(self) -> list[Any]:
        """State as JSON-able data."""
        return [
            [unit, table.value, base64.b64encode(bytes(span.octets)).decode()]
            for (unit, table), span in self._spans.items()
        ]

    def restore(self, state: Sequence[Sequence[Any]]) -> None:
        """Continue from :meth:`snapshot`."""
        for unit, table, octets in state:
            self._spans[unit, Table(table)].octets[:] = base64.b64decode(octets)


def _located(spans: Mapping[tuple[int, Table], _Span], address: ModbusAddress) -> tuple[_Span, int]:
    """The span of an address, and the octet in it where the address begins."""
    span = spans[address.unit, address.table]
    return span, (address.register - span.first) * span.width


def _spans(points: Sequence[PointDefinition]) -> Iterator[tuple[tuple[int, Table], _Span]]:
    groups: dict[tuple[int, Table], list[ModbusAddress]] = {}
    for point in points:
        if point.modbus is not None:
            groups.setdefault((point.modbus.unit, point.modbus.table), []).append(point.modbus)
    for key, addresses in groups.items():
        first, end = min(a.register for a in addresses), max(a.end for a in addresses)
        width = 1 if key[1].is_bits else 2
        yield key, _Span(first, width, bytearray(width * (end - first)))


def _outputs(points: Sequence[PointDefinition]) -> dict[tuple[int, Table, int], list[PointDefinition]]:
    """The outputs of each cell: one, or several that have bits of one register."""
    found: dict[tuple[int, Table, int], list[PointDefinition]] = {}
    for point in points:
        if point.modbus is not None and point.kind.is_output:
            for cell in point.modbus.cells:
                found.setdefault((point.modbus.unit, point.modbus.table, cell), []).append(point)
    return found
