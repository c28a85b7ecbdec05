"""Where a point is found on Modbus: unit, table, register, and how its value lies in the registers.

Not for octets: these are in ``twin.protocols.modbus``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

MAX_REGISTER = 65_535
REGISTER_BITS = 16
MAX_UNIT = 247
"""The highest unit identifier of a device behind a gateway (MODBUS over serial line V1.02, 2.2)."""


class Table(Enum):
    """The four primary tables (MODBUS application protocol V1.1b3, 4.3)."""

    COIL = "coil"
    DISCRETE = "discrete"
    INPUT = "input"
    HOLDING = "holding"

    @property
    def is_bits(self) -> bool:
        """True for tables of single bits."""
        return self in (Table.COIL, Table.DISCRETE)

    @property
    def is_writable(self) -> bool:
        """True for tables that the control room may write."""
        return self in (Table.COIL, Table.HOLDING)


class DataType(Enum):
    """How a value lies in a table: ``PAIR`` is two bits, of which the first means open (lower), the second closed."""

    BIT = "bit"
    PAIR = "pair"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    FLOAT32 = "float32"

    @property
    def size(self) -> int:
        """How many bits or registers it takes."""
        return _SIZES[self]

    @property
    def is_bits(self) -> bool:
        """True for types that lie in tables of single bits."""
        return self in (DataType.BIT, DataType.PAIR)


_SIZES = {
    DataType.BIT: 1,
    DataType.PAIR: 2,
    DataType.INT16: 1,
    DataType.UINT16: 1,
    DataType.INT32: 2,
    DataType.UINT32: 2,
    DataType.FLOAT32: 2,
}


class WordOrder(Enum):
    """The order of a value's octets in two registers; A is the most significant. One register: the first two."""

    ABCD = "ABCD"
    CDAB = "CDAB"
    BADC = "BADC"
    DCBA = "DCBA"


@dataclass(frozen=True, slots=True)
class ModbusAddress:
    """Where a point is found on Modbus. ``scale`` is what a count is worth: value = count · scale.

    ``bit`` is set for a bit, or the first of two, inside a register: 0 is the least significant.
    """

    unit: int
    table: Table
    register: int
    data_type: DataType
    word_order: WordOrder = WordOrder.ABCD
    scale: float = 1.0
    bit: int | None = None

    @property
    def count(self) -> int:
        """How many bits or registers it takes."""
        return self.data_type.size if self.bit is None else 1

    @property
    def mask(self) -> int:
        """Which bits of its register it takes, for one that lies inside a register."""
        assert self.bit is not None
        return ((1 << self.data_type.size) - 1) << self.bit

    @property
    def end(self) -> int:
        """The first bit or register behind it."""
        return self.register + self.count

    @property
    def cells(self) -> range:
        """The bits or registers it takes."""
        return range(self.register, self.end)

    @property
    def places(self) -> range:
        """What it takes, counted in sixteenths of a cell: two points may share a register, not a bit of it."""
        if self.bit is None:
            return range(16 * self.register, 16 * self.end)
        first = 16 * self.register + self.bit
        return range(first, first + self.data_type.size)


COLUMNS = (
    "modbus_unit",
    "modbus_table",
    "modbus_register",
    "modbus_type",
    "modbus_word_order",
    "modbus_scale",
    "modbus_bit",
)
"""The columns of a point map; a point without any of them is not reached over Modbus, or gets its address derived."""


def to_cells(address: ModbusAddress | None) -> tuple[str, ...]:
    """The cells of a point map."""
    if address is None:
        return ("",) * len(COLUMNS)
    order = "" if address.word_order is WordOrder.ABCD else address.word_order.value
    scale = "" if address.scale == 1.0 else repr(address.scale)
    kind = address.data_type.value
    bit = "" if address.bit is None else str(address.bit)
    return str(address.unit), address.table.value, str(address.register), kind, order, scale, bit


def from_cells(cells: Mapping[str, str]) -> tuple[ModbusAddress | None, list[tuple[str, str]]]:
    """The address in the cells of a row (None if all are empty) and what is wrong as (column, text)."""
    given = {column: cells.get(column, "") for column in COLUMNS}
    if not any(given.values()):
        return None, []
    wrong: list[tuple[str, str]] = []
    unit = _whole(given, "modbus_unit", "1", wrong)
    register = _whole(given, "modbus_register", "", wrong)
    table = _member(given, "modbus_table", Table, "", wrong)
    data_type = _member(given, "modbus_type", DataType, "", wrong)
    order = _member(given, "modbus_word_order", WordOrder, "ABCD", wrong)
    scale = _number(given, "modbus_scale", wrong)
    bit = _whole(given, "modbus_bit", "", wrong) if given["modbus_bit"] else None
    if wrong or not (isinstance(table, Table) and isinstance(data_type, DataType) and isinstance(order, WordOrder)):
        return None, wrong
    return ModbusAddress(unit, table, register, data_type, order, scale, bit), []


def _whole(given: Mapping[str, str], column: str, default: str, wrong: list[tuple[str, str]]) -> int:
    try:
        return int(given[column] or default)
    except ValueError:
        wrong.append((column, f"{given[column]!r} is not a whole number"))
        return 0


def _number(given: Mapping[str, str], column: str, wrong: list[tuple[str, str]]) -> float:
    try:
        return float(given[column] or 1)
    except ValueError:
        wrong.append((column, f"{given[column]!r} is not a number"))
        return 1.0


def _member(
    given: Mapping[str, str], column: str, enum: type[Enum], default: str, wrong: list[tuple[str, str]]
) -> Enum | None:
    known = {str(member.value): member for member in enum}
    found = known.get(given[column] or default)
    if found is None:
        wrong.append((column, f"{given[column]!r} is none of {', '.join(known)}"))
    return found


def address_findings(address: ModbusAddress) -> Iterator[tuple[str, str]]:
    """What is wrong with an address by itself, as (column, text)."""
    if not 0 <= address.unit <= 255:
        yield "modbus_unit", f"{address.unit} is not within 0 to 255"
    if not 0 <= address.register <= MAX_REGISTER or address.end - 1 > MAX_REGISTER:
        yield "modbus_register", f"{address.register} does not fit within 0 to {MAX_REGISTER}"
    if address.bit is not None:
        yield from _bit_findings(address, address.bit)
    elif address.table.is_bits is not address.data_type.is_bits:
        hint = "" if address.table.is_bits else " without a modbus_bit"
        yield "modbus_type", f"{address.data_type.value} does not lie in table {address.table.value}{hint}"
    if not 0 < abs(address.scale) < float("inf"):
        yield "modbus_scale", f"{address.scale} is no scale"


def _bit_findings(address: ModbusAddress, bit: int) -> Iterator[tuple[str, str]]:
    if address.table.is_bits or not address.data_type.is_bits:
        yield "modbus_bit", "only a bit or pair inside an input or holding register has one"
    elif not 0 <= bit <= REGISTER_BITS - address.data_type.size:
        yield "modbus_bit", f"{bit} is not within 0 to {REGISTER_BITS - address.data_type.size}"


def overlaps(addresses: Iterable[tuple[int, int, ModbusAddress]]) -> Iterator[tuple[int, str]]:
    """The rows whose cells are taken already, of (row, common address, address); as (row, text)."""
    taken: dict[tuple[int, int, Table, int], int] = {}
    for row, station, address in addresses:
        keys = [(station, address.unit, address.table, cell) for cell in address.places]
        first = next((taken[key] for key in keys if key in taken), None)
        if first is not None:
            place = f"{address.table.value} {address.register} of unit {address.unit}"
            yield row, f"{place} is used twice"
            continue
        taken.update(dict.fromkeys(keys, row))
