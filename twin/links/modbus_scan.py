"""What a Modbus master reads, when, and what it makes of the answers.

A scan is a set of blocks that are read in one period; positions and indications have one, measured values another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from twin.points.modbus import ModbusAddress
from twin.points.model import PointDefinition, PointKind, Quality
from twin.protocols.modbus.blocks import READ_FUNCTION, Block, BlockLimits, plan_blocks
from twin.protocols.modbus.pdu import MAX_READ_BITS, MAX_READ_REGISTERS, ExceptionCode, Read
from twin.protocols.modbus.values import value_of_cells
from twin.timebase import SimTime

MEASURED = (PointKind.MEASURAND, PointKind.COUNTER)
_MISTAKES = (ExceptionCode.ILLEGAL_FUNCTION, ExceptionCode.ILLEGAL_DATA_ADDRESS, ExceptionCode.ILLEGAL_DATA_VALUE)


class ModbusLinkSettings(BaseModel):
    """What is set at the control room for the session with one station."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    poll_ms: int = Field(default=1_000, ge=10, description="how often positions and indications are read")
    measurand_poll_ms: int = Field(default=5_000, ge=10, description="how often measured values are read")
    answer_limit_ms: int = Field(default=3_000, ge=1, description="how long a station may take to answer a request")
    retries: int = Field(default=1, ge=0, le=10, description="how often a read without answer is sent again")
    outstanding: int = Field(default=1, ge=1, le=16, description="how many requests may wait for their answer")
    read_back: bool = Field(default=True, description="read a coil or register that was written, and compare")
    max_bits: int = Field(default=MAX_READ_BITS, ge=1, le=MAX_READ_BITS, description="most bits one request reads")
    max_registers: int = Field(
        default=MAX_READ_REGISTERS, ge=2, le=MAX_READ_REGISTERS, description="most registers one request reads"
    )
    max_gap_bits: int = Field(default=64, ge=0, description="most unused bits in a row that are read with the rest")
    max_gap_registers: int = Field(
        default=16, ge=0, description="most unused registers in a row that are read with the rest"
    )

    @property
    def limits(self) -> BlockLimits:
        """What one request may read."""
        return BlockLimits(self.max_bits, self.max_registers, self.max_gap_bits, self.max_gap_registers)


Reading = tuple[float, Quality]


class BlockReader:
    """One block with the points in it. Remembers the last answer, so that one that repeats it costs nothing."""

    def __init__(self, block: Block, members: Sequence[tuple[PointDefinition, ModbusAddress]], urgent: bool) -> None:
        self.block = block
        self.request = Read(READ_FUNCTION[block.table], block.register, block.count)
        self.urgent = urgent
        self.points = tuple(definition for definition, _ in members)
        self._places = tuple((address, self._part(address)) for _, address in members)
        self.last = b""

    def _part(self, address: ModbusAddress) -> slice:
        width = 1 if address.table.is_bits else 2
        start = (address.register - self.block.register) * width
        return slice(start, start + address.count * width)

    def readings(self, data: bytes) -> Iterator[tuple[PointDefinition, Reading]]:
        """The value and quality of each point in an answer."""
        for definition, (address, part) in zip(self.points, self._places, strict=True):
            yield definition, value_of_cells(data[part], address, definition.kind)


def quality_of_refusal(code: int) -> Quality:
    """What the points of a block are when its read was refused: wrong address, or out of reach for now."""
    return Quality.INVALID if code in _MISTAKES else Quality.NOT_TOPICAL


@dataclass(slots=True)
class Scan:
    """Blocks that are read every ``period_ms``; periods count from the start of simulation time."""

    period_ms: int
    blocks: tuple[int, ...]
    urgent: bool
    due: SimTime

    def next_after(self, now: SimTime) -> SimTime:
        """When it is due next."""
        return (now // self.period_ms + 1) * self.period_ms


def make_readers(
    points: Sequence[PointDefinition], settings: ModbusLinkSettings
) -> tuple[list[BlockReader], dict[bool, tuple[int, ...]]]:
    """The blocks of a station, and which of them are read for status (True) and for measured values (False)."""
    readers: list[BlockReader] = []
    scans: dict[bool, tuple[int, ...]] = {}
    for status in (True, False):
        members = [
            (p, p.modbus)
            for p in points
            if p.modbus is not None and not p.kind.is_output and (p.kind not in MEASURED) is status
        ]
        first = len(readers)
        readers += _readers(members, settings.limits, status)
        scans[status] = tuple(range(first, len(readers)))
    return readers, scans


def _readers(
    members: Sequence[tuple[PointDefinition, ModbusAddress]], limits: BlockLimits, status: bool
) -> Iterator[BlockReader]:
    for block in plan_blocks((address for _, address in members), limits):
        inside = [(p, a) for p, a in members if _in(a, block)]
        yield BlockReader(block, inside, status)


def _in(address: ModbusAddress, block: Block) -> bool:
    same = (address.unit, address.table) == (block.unit, block.table)
    return same and block.register <= address.register < block.register + block.count
