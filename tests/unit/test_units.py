"""Quantities with units: what is read, what is refused and with which sentence."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from twin.errors import Blame, TwinError
from twin.units import (
    DurationMs,
    Fraction,
    PlaceOnLine,
    PositiveDurationMs,
    QuantityError,
    Share,
    Unit,
    VoltagePu,
    describe_quantity,
    format_quantity,
    nearest_symbol,
    parse_quantity,
    unit_of_symbol,
)

NUMBERS = [unit for unit in Unit if unit.is_number]


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("10 min", Unit.MILLISECOND, 600_000),
        ("250 ms", Unit.MILLISECOND, 250),
        ("1 h", Unit.MILLISECOND, 3_600_000),
        ("60s", Unit.MILLISECOND, 60_000),
        ("1 h 30 min", Unit.MILLISECOND, 5_400_000),
        ("1min 0.5s", Unit.MILLISECOND, 60_500),
        ("0.1 s", Unit.MILLISECOND, 100),
        ("100 %", Unit.FRACTION, 1.0),
        ("0.5%", Unit.FRACTION, 0.005),
        ("4.5 MW", Unit.KILOWATT, 4500.0),
        ("-300 kW", Unit.KILOWATT, -300.0),
        ("500 W", Unit.KILOWATT, 0.5),
        ("1.2 kA", Unit.AMPERE, 1200.0),
        ("400 V", Unit.KILOVOLT, 0.4),
        ("1.2 Mvar", Unit.KILOVAR, 1200.0),
        ("40 mohm", Unit.OHM, 0.04),
        ("95 %", Unit.PER_UNIT, 0.95),
        ("0.95 pu", Unit.PER_UNIT, 0.95),
        ("0.95", Unit.PER_UNIT, 0.95),
        (0.95, Unit.PER_UNIT, 0.95),
        (3, Unit.COUNT, 3.0),
        (" 1e2 A ", Unit.AMPERE, 100.0),
    ],
)
def test_quantity__is_read_in_the_base_unit(text: object, unit: Unit, value: float) -> None:
    assert parse_quantity(text, unit) == value


@pytest.mark.parametrize(
    ("text", "unit", "sentence"),
    [
        (600, Unit.MILLISECOND, "600 has no unit; a duration is written like 600 s or 1 h"),
        ("600", Unit.MILLISECOND, "600 has no unit; a duration is written like 600 s or 1 h"),
        (120, Unit.AMPERE, "120 has no unit; a current is written like 120 A or 1.2 kA"),
        (0.5, Unit.FRACTION, "0.5 has no unit; write 50 % (or 0.5 %, if so little is meant)"),
        ("80", Unit.FRACTION, "80 has no unit; write 80 %"),
        ("60 sec", Unit.MILLISECOND, 'unknown unit "sec"; did you mean 60 s?'),
        ("10 m", Unit.MILLISECOND, 'unknown unit "m"; did you mean 10 min?'),
        ("4.5 mw", Unit.KILOWATT, 'unknown unit "mw"; did you mean 4.5 MW?'),
        ("5 parsec", Unit.AMPERE, 'unknown unit "parsec"; write it like 100 A or 1.2 kA'),
        ("20 kV", Unit.MILLISECOND, "20 kV is a voltage, not a duration; write it like 250 ms or 60 s"),
        ("10 %", Unit.AMPERE, "10 % is a percentage, not a current; write it like 100 A or 1.2 kA"),
        ("1,5 s", Unit.MILLISECOND, '"1,5 s" has a decimal comma; write 1.5 s'),
        ("soon", Unit.MILLISECOND, '"soon" is not a duration; write it like 250 ms or 60 s'),
        ("1 A 2 A", Unit.AMPERE, '"1 A 2 A" is not a current; write it like 100 A or 1.2 kA'),
        ("1 h -5 min", Unit.MILLISECOND, '"1 h -5 min" is not a duration; write it like 250 ms or 60 s'),
        ("0.5 ms", Unit.MILLISECOND, '"0.5 ms" is not a whole number of milliseconds, the finest time of a run'),
        ("1e999 A", Unit.AMPERE, "1e999 A is not a current; write it like 100 A or 1.2 kA"),
        (None, Unit.MILLISECOND, "nothing is not a duration; write it like 250 ms or 60 s"),
        (True, Unit.FRACTION, "true is not a percentage; write it like 100 % or 0.5 %"),
        (["1 s"], Unit.MILLISECOND, "a list is not a duration; write it like 250 ms or 60 s"),
        ({"s": 1}, Unit.MILLISECOND, "a block of keys is not a duration; write it like 250 ms or 60 s"),
        (math.nan, Unit.PER_UNIT, "nan is not a per-unit voltage; write it like 0.95 pu or 95 %"),
    ],
)
def test_quantity__refusal_shows_what_would_be_right(text: object, unit: Unit, sentence: str) -> None:
    with pytest.raises(QuantityError) as refused:
        parse_quantity(text, unit)
    assert str(refused.value) == sentence
    assert isinstance(refused.value, TwinError)
    assert refused.value.blame is Blame.SCENARIO
    assert refused.value.text == str(text)


@settings(deadline=None)
@given(st.sampled_from(NUMBERS), st.floats(allow_nan=False, allow_infinity=False))
def test_quantity__written_text_reads_back_exactly(unit: Unit, value: float) -> None:
    if unit is Unit.MILLISECOND:
        value = float(int(value) % 10**12)
    assert parse_quantity(format_quantity(value, unit), unit) == value


@settings(deadline=None)
@given(st.integers(0, 10**12))
def test_duration__written_with_the_largest_whole_unit(t_ms: int) -> None:
    text = format_quantity(t_ms, Unit.MILLISECOND)
    number, symbol = text.split()
    larger = [s for s, f in Unit.MILLISECOND.spec.factors.items() if f > Unit.MILLISECOND.spec.factors[symbol]]
    assert parse_quantity(text, Unit.MILLISECOND) == t_ms
    assert t_ms == 0 or all(t_ms % int(Unit.MILLISECOND.spec.factors[s]) for s in larger)
    assert float(number).is_integer()


@settings(deadline=None)
@given(st.text())
def test_quantity__any_text_is_read_or_refused(text: str) -> None:
    for unit in NUMBERS:
        try:
            value = parse_quantity(text, unit)
        except QuantityError:
            continue
        assert math.isfinite(value)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (600_000, Unit.MILLISECOND, "10 min"),
        (90_000, Unit.MILLISECOND, "90 s"),
        (0, Unit.MILLISECOND, "0 s"),
        (0.005, Unit.FRACTION, "0.5 %"),
        (1.0, Unit.FRACTION, "100 %"),
        (4500.0, Unit.KILOWATT, "4500 kW"),
        (1e-7, Unit.OHM, "0.0000001 ohm"),
        (-0.0, Unit.AMPERE, "0 A"),
        (3.0, Unit.COUNT, "3"),
    ],
)
def test_quantity__is_written_plainly(value: float, unit: Unit, text: str) -> None:
    assert format_quantity(value, unit) == text


def test_description__is_rounded_and_names_what_is_unknown() -> None:
    assert describe_quantity(1.0423456789, Unit.FRACTION) == "104.235 %"
    assert describe_quantity(120.0, Unit.AMPERE) == "120 A"
    assert describe_quantity(812.0, Unit.COUNT) == "812"
    assert describe_quantity(math.nan, Unit.PER_UNIT) == "unknown"
    assert describe_quantity(1500.0, Unit.MILLISECOND) == "1500 ms"


def test_symbols__are_found_across_units() -> None:
    assert unit_of_symbol("%") == (Unit.FRACTION, Unit.PER_UNIT)
    assert unit_of_symbol("parsec") == ()
    assert nearest_symbol("KV") == "kV"
    assert nearest_symbol("hours") == "h"
    assert nearest_symbol("xyz") == ""


class _Settings(BaseModel):
    delay: DurationMs = 0
    step: PositiveDurationMs = 1
    scale: Fraction = 1.0
    loss: Share = 0.0
    place: PlaceOnLine = 0.5
    v_min: VoltagePu = 0.9


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"delay": "-1 s"}, "-1 s is too small, the least is 0 s"),
        ({"step": "0 s"}, "0 s is too small, it must be more than 0 s"),
        ({"scale": "-5 %"}, "-5 % is too small, the least is 0 %"),
        ({"loss": "101 %"}, "101 % is too large, the most is 100 %"),
        ({"place": 1.5}, "1.5 is too large, the most is 100 %"),
        ({"v_min": 0}, "0 is too small, it must be more than 0 pu"),
    ],
)
def test_setting__out_of_bounds_is_refused_with_the_bound(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError) as refused:
        _Settings.model_validate(values)
    assert str(refused.value.errors()[0]["ctx"]["error"]) == sentence


def test_settings__are_held_in_base_units_and_written_with_units() -> None:
    written = {
        "delay": "90 s",
        "step": "1 min 30 s",
        "scale": "120 %",
        "loss": "0.5 %",
        "place": "25 %",
        "v_min": "95 %",
    }
    held = _Settings.model_validate(written)
    assert (held.delay, held.step, held.scale) == (90_000, 90_000, 1.2)
    assert type(held.delay) is int
    assert _Settings.model_validate({"place": 0.25}).place == held.place == 0.25
    dumped = held.model_dump(mode="json")
    assert dumped == {**written, "step": "90 s", "v_min": "0.95 pu"}
    assert _Settings.model_validate(dumped) == held


def test_schema__says_how_a_quantity_is_written() -> None:
    properties = _Settings.model_json_schema()["properties"]
    assert properties["delay"]["type"] == "string"
    assert "60 s" in properties["delay"]["examples"]
    assert {"type": "number"} in properties["place"]["anyOf"]
