"""Quantities with units, as people write them: ``10 min``, ``100 %``, ``4.5 MW``.

Turns text into numbers in the base unit the code uses (ms, A, kV, kW, ...) and back, and gives
pydantic the annotated types for settings. A number without a unit is refused where a unit is
needed. Not for arithmetic with units: inside the code the unit stands in the name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any

from pydantic_core import core_schema

from twin.errors import Blame, TwinError


class QuantityError(TwinError, ValueError):
    """A text is not a quantity of the wanted kind; the sentence shows what would be right."""

    blame = Blame.SCENARIO

    def __init__(self, text: str, sentence: str) -> None:
        self.text = text
        super().__init__(sentence)


@dataclass(frozen=True)
class UnitSpec:
    """What a unit measures (``noun``), its symbols as multiples of the base unit, and examples.

    ``plain`` says that a number without a unit is understood.
    """

    noun: str
    factors: Mapping[str, Decimal] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    plain: bool = False


def _factors(**symbols: str) -> dict[str, Decimal]:
    return {symbol: Decimal(factor) for symbol, factor in symbols.items()}


_PERCENT = {"%": Decimal("0.01")}


class Unit(Enum):
    """The base units of the code, by their symbol."""

    MILLISECOND = "ms"
    FRACTION = "%"
    PER_UNIT = "pu"
    AMPERE = "A"
    KILOVOLT = "kV"
    KILOWATT = "kW"
    KILOVAR = "kvar"
    OHM = "ohm"
    KILOMETRE = "km"
    HERTZ = "Hz"
    COUNT = "count"
    BOOLEAN = "true or false"
    POSITION = "switch position"

    @property
    def spec(self) -> UnitSpec:
        """Noun, symbols and examples of this unit."""
        return _SPECS[self]

    @property
    def is_number(self) -> bool:
        """False for truth values and switch positions."""
        return self not in (Unit.BOOLEAN, Unit.POSITION)


_SPECS = {
    Unit.MILLISECOND: UnitSpec(
        "a duration", _factors(ms="1", s="1000", min="60000", h="3600000"), ("250 ms", "60 s", "10 min", "1 h")
    ),
    Unit.FRACTION: UnitSpec("a percentage", _PERCENT, ("100 %", "0.5 %")),
    Unit.PER_UNIT: UnitSpec("a per-unit voltage", {"pu": Decimal(1), **_PERCENT}, ("0.95 pu", "95 %"), plain=True),
    Unit.AMPERE: UnitSpec("a current", _factors(A="1", kA="1000"), ("100 A", "1.2 kA")),
    Unit.KILOVOLT: UnitSpec("a voltage", _factors(kV="1", V="0.001"), ("20 kV", "400 V")),
    Unit.KILOWATT: UnitSpec("an active power", _factors(kW="1", W="0.001", MW="1000"), ("300 kW", "4.5 MW")),
    Unit.KILOVAR: UnitSpec("a reactive power", _factors(kvar="1", var="0.001", Mvar="1000"), ("50 kvar", "1.2 Mvar")),
    Unit.OHM: UnitSpec("a resistance", _factors(ohm="1", mohm="0.001", kohm="1000"), ("0.5 ohm", "40 ohm")),
    Unit.KILOMETRE: UnitSpec("a distance", _factors(km="1"), ("1.5 km",)),
    Unit.HERTZ: UnitSpec("a frequency", _factors(Hz="1", mHz="0.001"), ("49.8 Hz", "50 Hz")),
    Unit.COUNT: UnitSpec("a plain number", {}, ("3",), plain=True),
    Unit.BOOLEAN: UnitSpec("true or false", {}, ("true", "false")),
    Unit.POSITION: UnitSpec("a switch position", {}, ("open", "closed")),
}

_SYNONYMS = {
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("msec", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("percent", "pct"), "%"),
    **dict.fromkeys(("p.u.", "p.u"), "pu"),
    **dict.fromkeys(("amp", "amps", "ampere"), "A"),
    **dict.fromkeys(("Ω", "ohms", "Ohm"), "ohm"),
}

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*([^\d\s.,+-][^\d\s]*)?\s*")
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+")


def parse_quantity(value: object, unit: Unit, *, plain: bool = False) -> float:
    """``value`` as a number in the base unit of ``unit``.

    Durations may be sums (``1 h 30 min``). ``plain`` accepts a number without a unit.

    Raises:
        QuantityError: it is none; the sentence shows what would be right.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise QuantityError(str(value), f"{_shown(value)} is not {unit.spec.noun}; {_example(unit)}")
    if isinstance(value, str):
        return _parse_text(value, unit, plain)
    if not (plain or unit.spec.plain):
        raise QuantityError(str(value), _needs_unit(str(value), unit))
    return _finite(float(value), str(value), unit)


def unit_of_symbol(symbol: str) -> tuple[Unit, ...]:
    """Every unit that ``symbol`` can be written for; empty if the symbol is unknown."""
    return tuple(unit for unit in Unit if symbol in unit.spec.factors)


def in_base_unit(number: Decimal, symbol: str, unit: Unit) -> float:
    """``number`` (written with ``symbol``, empty for none) in the base unit of ``unit``."""
    return float(number * unit.spec.factors[symbol]) if symbol else float(number)


def format_quantity(value: float, unit: Unit) -> str:
    """``value`` (in the base unit) as text that :func:`parse_quantity` reads back exactly."""
    if unit is Unit.MILLISECOND:
        return _duration_text(int(value))
    number = Decimal(repr(float(value)))
    if unit is Unit.FRACTION:
        return f"{_plain_text(number * 100)} %"
    return _plain_text(number) if unit is Unit.COUNT else f"{_plain_text(number)} {unit.value}"


def describe_quantity(value: float, unit: Unit, digits: int = 6) -> str:
    """``value`` rounded to ``digits`` significant digits, for sentences that people read."""
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else str(value)
    if unit is Unit.MILLISECOND:
        return _duration_text(round(value))
    return format_quantity(float(f"{value:.{digits}g}"), unit)


def _parse_text(text: str, unit: Unit, plain: bool) -> float:
    parts = _split_sum(text, unit)
    if not parts:
        raise QuantityError(text, _not_a_quantity(text, unit))
    total = Decimal(0)
    for number, symbol in parts:
        if not symbol and not (plain or unit.spec.plain):
            raise QuantityError(text, _needs_unit(number, unit))
        if symbol and symbol not in unit.spec.factors:
            raise QuantityError(text, wrong_symbol(f"{number} {symbol}", symbol, unit))
        total += Decimal(number) * (unit.spec.factors[symbol] if symbol else 1)
    if unit is Unit.MILLISECOND and total != total.to_integral_value():
        raise QuantityError(text, f'"{text}" is not a whole number of milliseconds, the finest time of a run')
    return _finite(float(total), text, unit)


def _split_sum(text: str, unit: Unit) -> list[tuple[str, str]]:
    """(number, symbol) of each part; only durations may have more than one."""
    parts, at = [], 0
    while at < len(text) and (match := _QUANTITY.match(text, at)):
        parts.append((match[1], match[2] or ""))
        at = match.end()
    complete = at == len(text) and bool(parts)
    single = len(parts) == 1
    sum_of_durations = unit is Unit.MILLISECOND and all(symbol and number[0] not in "+-" for number, symbol in parts)
    return parts if complete and (single or sum_of_durations) else []


def _finite(value: float, text: str, unit: Unit) -> float:
    if not math.isfinite(value):
        raise QuantityError(text, f"{text} is not {unit.spec.noun}; {_example(unit)}")
    return value


def _not_a_quantity(text: str, unit: Unit) -> str:
    if _DECIMAL_COMMA.match(text):
        return f'"{text}" has a decimal comma; write {text.strip().replace(",", ".", 1)}'
    return f'"{text}" is not {unit.spec.noun}; {_example(unit)}'


def _needs_unit(number: str, unit: Unit) -> str:
    if unit is Unit.FRACTION:
        return f"{number} has no unit; write {_percent_guess(number)}"
    symbol = "s" if unit is Unit.MILLISECOND else unit.value
    return f"{number} has no unit; {unit.spec.noun} is written like {number} {symbol} or {unit.spec.examples[-1]}"


def _percent_guess(number: str) -> str:
    value = Decimal(number)
    if not 0 < value <= 1:
        return f"{number} %"
    return f"{_plain_text(value * 100)} % (or {number} %, if so little is meant)"


def nearest_symbol(symbol: str, known: Iterable[str] = ()) -> str:
    """The symbol out of ``known`` (default: all) that ``symbol`` was meant to be; empty if none is."""
    symbols = tuple(known) or tuple(s for unit in Unit for s in unit.spec.factors)
    synonym = _SYNONYMS.get(symbol, "")
    return synonym if synonym in symbols else next((s for s in symbols if s.lower() == symbol.lower()), "")


def wrong_symbol(written: str, symbol: str, unit: Unit) -> str:
    """The sentence for a ``symbol`` that does not belong to ``unit``."""
    known = unit.spec.factors
    others = unit_of_symbol(symbol)
    near = nearest_symbol(symbol, known)
    if near:
        return f'unknown unit "{symbol}"; did you mean {written.removesuffix(symbol)}{near}?'
    if others:
        return f"{written} is {others[0].spec.noun}, not {unit.spec.noun}; {_example(unit)}"
    return f'unknown unit "{symbol}"; {_example(unit)}'


def _example(unit: Unit) -> str:
    return f"write it like {' or '.join(unit.spec.examples[:2])}"


def _shown(value: object) -> str:
    return "nothing" if value is None else str(value).lower() if isinstance(value, bool) else f"a {_kind(value)}"


def _kind(value: object) -> str:
    return "list" if isinstance(value, list) else "block of keys" if isinstance(value, dict) else type(value).__name__


def _duration_text(t_ms: int) -> str:
    """With the largest unit that leaves a whole number."""
    for symbol in ("h", "min", "s"):
        factor = int(Unit.MILLISECOND.spec.factors[symbol])
        if t_ms and t_ms % factor == 0:
            return f"{t_ms // factor} {symbol}"
    return f"{t_ms} ms" if t_ms else "0 s"


def _plain_text(number: Decimal) -> str:
    """Without exponent and trailing zeros."""
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


@dataclass(frozen=True)
class InUnit:
    """Pydantic metadata: the field is written with a unit and held in the base unit of ``unit``.

    ``low`` and ``high`` bound the value (in the base unit, both allowed); ``above`` must be exceeded.
    Validation takes text (and plain numbers where allowed); JSON has the text again.
    """

    unit: Unit
    low: float | None = None
    high: float | None = None
    above: float | None = None
    plain: bool = False

    def read(self, value: object) -> float:
        """Parse and check the bounds."""
        number = parse_quantity(value, self.unit, plain=self.plain)
        if self.low is not None and number < self.low:
            raise QuantityError(str(value), f"{value} is too small, the least is {self.write(self.low)}")
        if self.above is not None and number <= self.above:
            raise QuantityError(str(value), f"{value} is too small, it must be more than {self.write(self.above)}")
        if self.high is not None and number > self.high:
            raise QuantityError(str(value), f"{value} is too large, the most is {self.write(self.high)}")
        return int(number) if self.unit is Unit.MILLISECOND else number

    def write(self, value: float) -> str:
        """The text for ``value``."""
        return format_quantity(value, self.unit)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        write = core_schema.plain_serializer_function_ser_schema(self.write, when_used="json")
        return core_schema.no_info_plain_validator_function(self.read, serialization=write)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        symbols = "|".join(re.escape(symbol) for symbol in self.unit.spec.factors)
        one = rf"{_NUMBER}\s*({symbols})"
        pattern = rf"^\s*{one}(\s+{one})*\s*$" if self.unit is Unit.MILLISECOND else rf"^\s*{one}\s*$"
        text = {"type": "string", "pattern": pattern, "examples": list(self.unit.spec.examples)}
        return {"anyOf": [text, {"type": "number"}]} if self.plain or self.unit.spec.plain else text


DurationMs = Annotated[int, InUnit(Unit.MILLISECOND, low=0)]
"""A duration or a time since the start of the run, ms."""

PositiveDurationMs = Annotated[int, InUnit(Unit.MILLISECOND, above=0)]
"""A duration of at least 1 ms."""

Fraction = Annotated[float, InUnit(Unit.FRACTION, low=0.0)]
"""A percentage, 100 % = 1.0; may exceed 100 %."""

Share = Annotated[float, InUnit(Unit.FRACTION, low=0.0, high=1.0)]
"""A percentage from 0 % to 100 %."""

PlaceOnLine = Annotated[float, InUnit(Unit.FRACTION, low=0.0, high=1.0, plain=True)]
"""A place along a line, 0 (from end) to 1 (to end); also as a percentage."""

VoltagePu = Annotated[float, InUnit(Unit.PER_UNIT, above=0.0)]
"""A voltage in per unit of the nominal one."""

VoltageKv = Annotated[float, InUnit(Unit.KILOVOLT, above=0.0)]
"""A line-to-line voltage, kV."""

CurrentA = Annotated[float, InUnit(Unit.AMPERE, above=0.0)]
"""A current, A."""

ActivePowerKw = Annotated[float, InUnit(Unit.KILOWATT)]
"""An active power, kW."""

ReactivePowerKvar = Annotated[float, InUnit(Unit.KILOVAR)]
"""A reactive power, kvar."""

FrequencyHz = Annotated[float, InUnit(Unit.HERTZ, above=0.0)]
"""A frequency, Hz."""

ResistanceOhm = Annotated[float, InUnit(Unit.OHM, low=0.0)]
"""A resistance, ohm."""
