"""Rows of the tables of a pandapower net, with defaults for what is absent. Not for what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a pandapower table, with defaults for what is absent or not a number."""

    index: int
    values: dict[str, Any]

    def number(self, key: str, default: float = 0.0) -> float:
        value = self.values.get(key)
        if value is None or value != value:
            return default
        try:
            return float(value)
        except (TypeError, ValueError):
            return default

    def text(self, key: str) -> str:
        value = self.values.get(key)
        return value.strip() if isinstance(value, str) else ""

    def whole(self, key: str) -> int:
        return int(self.values[key])

    def flag(self, key: str, default: bool = True) -> bool:
        value = self.values.get(key)
        return default if value is None or value != value else bool(value)


def rows_of(net: Any, table: str) -> Iterator[Row]:
    frame = net.get(table)
    if frame is None or not hasattr(frame, "columns"):
        return
    columns = [str(column) for column in frame.columns]
    for index, *values in frame.astype(object).itertuples(name=None):
        yield Row(int(index), dict(zip(columns, values, strict=True)))


def in_service(net: Any, table: str) -> Iterator[Row]:
    return (row for row in rows_of(net, table) if row.flag("in_service"))
