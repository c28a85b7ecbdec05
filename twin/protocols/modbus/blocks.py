"""Which requests read a register map: as few as possible, from the places of the points alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from twin.points.modbus import ModbusAddress, Table
from twin.protocols.modbus.pdu import Function

READ_FUNCTION = {
    Table.COIL: Function.READ_COILS,
    Table.DISCRETE: Function.READ_DISCRETE_INPUTS,
    Table.HOLDING: Function.READ_HOLDING_REGISTERS,
    Table.INPUT: Function.READ_INPUT_REGISTERS,
}
_ORDER = tuple(Table)


@dataclass(frozen=True, slots=True)
class Block:
    """Bits or registers that one request reads."""

    unit: int
    table: Table
    register: int
    count: int


@dataclass(frozen=True, slots=True)
class BlockLimits:
    """What one request may read. ``max_gap_*`` is how many unused bits or registers in a row are read with the rest."""

    max_bits: int = 2_000
    max_registers: int = 125
    max_gap_bits: int = 64
    max_gap_registers: int = 16

    def of(self, table: Table) -> tuple[int, int]:
        """(most a request reads, longest gap) of a table."""
        return (self.max_bits, self.max_gap_bits) if table.is_bits else (self.max_registers, self.max_gap_registers)


def plan_blocks(addresses: Iterable[ModbusAddress], limits: BlockLimits) -> list[Block]:
    """The smallest set of requests that reads every address whole, by unit, table and register.

    From the left, each request takes as much as the limits let it: no other choice needs fewer. A value is never
    divided between two requests, so that it is of one moment.
    """
    groups: dict[tuple[int, Table], list[tuple[int, int]]] = {}
    for address in addresses:
        groups.setdefault((address.unit, address.table), []).append((address.register, address.end))
    ordered = sorted(groups, key=lambda key: (key[0], _ORDER.index(key[1])))
    return [
        Block(unit, table, start, end - start)
        for unit, table in ordered
        for start, end in _spans(sorted(set(groups[unit, table])), *limits.of(table))
    ]


def _spans(places: Sequence[tuple[int, int]], most: int, gap: int) -> list[tuple[int, int]]:
    spans = [places[0]]
    for start, end in places[1:]:
        first, last = spans[-1]
        if start - last <= gap and max(end, last) - first <= most:
            spans[-1] = (first, max(end, last))
        else:
            spans.append((start, end))
    return spans
