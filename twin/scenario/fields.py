"""Field types of the scenario models: names, instants, conditions and the base model.

Quantities with units are in :mod:`twin.units`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema

from twin.scenario.expression import Expression, parse
from twin.units import QuantityError, Unit, format_quantity, parse_quantity


class ScenarioModel(BaseModel):
    """Base of every block of a scenario: unknown keys are refused, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class WrittenInt(int):
    """A whole number out of a file that remembers how it was written (``007``, ``1_2``)."""

    text: str


class WrittenFloat(float):
    """A number out of a file that remembers how it was written (``1.10``)."""

    text: str


def _read_name(value: object) -> object:
    """A name that happens to look like a number keeps its spelling."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = getattr(value, "text", str(value))
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a name is missing here")
    return value.strip()


Name = Annotated[str, BeforeValidator(_read_name, json_schema_input_type=str | int | float)]
"""The name of an equipment, a station, an event or a file."""


def _read_expression(value: object) -> Expression:
    if isinstance(value, Expression):
        return value
    if not isinstance(value, str):
        raise ValueError("a condition is text, for example: CB_1.position == open")
    return parse(value)


Condition = Annotated[
    Expression,
    PlainValidator(_read_expression),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["CB_1.position == open", "loading_max <= 100 %"]}),
]
"""A condition over names of the plant and the control room."""


def _read_instant(value: object) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if not isinstance(value, datetime):
        raise ValueError("an instant is written like 2026-01-15T18:00:00Z")
    if value.tzinfo is None:
        raise ValueError(f"{value.isoformat()} names no time zone; write {value.isoformat()}Z for UTC")
    return value.astimezone(UTC)


def _write_instant(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


Instant = Annotated[
    datetime,
    PlainValidator(_read_instant),
    PlainSerializer(_write_instant, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""An instant in UTC."""


@dataclass(frozen=True, slots=True)
class Within:
    """At most ``limit_ms`` after the event called ``event``."""

    limit_ms: int
    event: str

    def __str__(self) -> str:
        return f"{format_quantity(self.limit_ms, Unit.MILLISECOND)} of {self.event}"


def _read_within(value: object) -> Within:
    if isinstance(value, Within):
        return value
    match = re.fullmatch(r"\s*(.+?)\s+of\s+(\S.*?)\s*", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("within is written like 60 s of fault1; for a time since the start of the run write by: 60 s")
    limit_ms = int(parse_quantity(match[1], Unit.MILLISECOND))
    if limit_ms < 0:
        raise QuantityError(match[1], f"{match[1]} is too small, the least is 0 s")
    return Within(limit_ms, match[2])


WithinText = Annotated[
    Within,
    PlainValidator(_read_within),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^.+\sof\s.+$", "examples": ["1 s of fault1", "2 min of fault1"]}),
]
"""A duration after an event."""

Flag = Annotated[bool, Field(strict=True)]
"""true or false, and nothing that looks like it."""

WholeNumber = Annotated[int, Field(strict=True, ge=0)]
"""0, 1, 2, ..."""


def given(model: BaseModel, *names: str) -> list[str]:
    """Those of the fields ``names`` that are not None, by the key they are written with."""
    fields = type(model).model_fields
    return [fields[name].alias or name for name in names if getattr(model, name) is not None]


def keys(model: type[BaseModel], names: tuple[str, ...]) -> list[str]:
    """The keys that the fields ``names`` are written with."""
    return [model.model_fields[name].alias or name for name in names]


def exactly_one(found: list[str], known: list[str], what: str) -> None:
    """Raise a ValueError unless exactly one key of a choice was written."""
    if not found:
        raise ValueError(f"{what} is missing; write one of: {', '.join(known)}")
    if len(found) > 1:
        raise ValueError(f"{what} is given {len(found)} times ({', '.join(found)}); keep one")


def one_of(known: list[str]) -> dict[str, Any]:
    """JSON Schema: exactly one of the keys ``known``."""
    return {"oneOf": [{"required": [key]} for key in known]}
