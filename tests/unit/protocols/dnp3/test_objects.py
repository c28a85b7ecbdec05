"""Objects, headers and controls: every variation round-trips; what is cut or noise is an error with its place."""

from __future__ import annotations

import json
import math
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.protocols.dnp3 import (
    SPECS,
    AnalogOutput,
    Crob,
    Fragment,
    Function,
    Iin,
    MalformedFragmentError,
    ObjectSpec,
    UnencodableValueError,
    decode_fragment,
    encode_fragment,
    parse_headers,
)
from twin.protocols.dnp3.attributes import attribute_block, list_block, read_attribute
from twin.protocols.dnp3.controls import answered, control_block, controls_of, encode_control
from twin.protocols.dnp3.headers import index_list, indexed_block, range_header, static_block
from twin.protocols.dnp3.objects import ONLINE, OVER_RANGE, time_octets

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "dnp3" / "fragments.json").read_text())
NAMES = [row["name"] for row in VECTORS]
OBJECTS = json.loads((Path(__file__).parents[3] / "vectors" / "dnp3" / "objects.json").read_text())


def values(spec: ObjectSpec) -> st.SearchStrategy[float]:
    code = spec.value
    if code in ("bit", "packed1"):
        return st.sampled_from([0.0, 1.0])
    if code in ("dbit", "packed2"):
        return st.sampled_from([0.0, 1.0, 2.0, 3.0])
    if code == "f":
        return st.floats(width=32, allow_nan=False, allow_infinity=False)
    if code == "d":
        return st.floats(allow_nan=False, allow_infinity=False)
    if not code:
        return st.just(0.0)
    bits = 8 * struct.calcsize(code)
    least = 0 if code.isupper() else -(2 ** (bits - 1))
    return st.integers(least, least + 2**bits - 1).map(float)


def readings(spec: ObjectSpec) -> st.SearchStrategy[tuple[float, int, int]]:
    mask = {"bit": 0x7F, "dbit": 0x3F}.get(spec.value, 0xFF)
    flags = st.integers(0, mask) if spec.flags else st.just(ONLINE)
    times = {"": st.just(0), "abs": st.integers(0, 2**48 - 1), "rel": st.integers(0, 0xFFFF)}[spec.time]
    return st.tuples(values(spec), flags, times)


@pytest.mark.parametrize("spec", list(SPECS.values()), ids=repr)
@settings(max_examples=25)
@given(data=st.data())
def test_static_objects__round_trip(spec: ObjectSpec, data: st.DataObject) -> None:
    sent = data.draw(st.lists(readings(spec), min_size=1, max_size=12))
    start = data.draw(st.integers(0, 60_000))
    (header,) = parse_headers(static_block(spec, start, sent), Function.RESPONSE)
    assert header.items() == [(start + n, *reading) for n, reading in enumerate(sent)]


@pytest.mark.parametrize("spec", [s for s in SPECS.values() if not s.bits], ids=repr)
@settings(max_examples=25)
@given(data=st.data())
def test_objects_behind_indexes__round_trip(spec: ObjectSpec, data: st.DataObject) -> None:
    items = data.draw(
        st.lists(st.tuples(st.integers(0, 0xFFFF), readings(spec)).map(lambda row: (row[0], *row[1])), min_size=1)
    )
    (header,) = parse_headers(indexed_block(spec, items), Function.RESPONSE)
    assert header.items() == items


@pytest.mark.parametrize("row", VECTORS, ids=NAMES)
def test_vector__both_ways(row: dict[str, Any]) -> None:
    octets = bytes.fromhex(row["octets"])
    fragment = decode_fragment(octets)
    assert encode_fragment(fragment) == octets
    assert [fragment.function, fragment.sequence] == [row["function"], row["sequence"]]
    assert int(fragment.iin or 0) == row.get("iin", 0)
    headers = parse_headers(fragment.body, fragment.function)
    assert [[h.group, h.variation, h.qualifier, h.count] for h in headers] == row["headers"]
    assert [list(item) for h in headers for item in h.items()] == row.get("items", [])


@pytest.mark.parametrize("row", OBJECTS, ids=[row["object"] for row in OBJECTS])
def test_object_vector__both_ways(row: dict[str, Any]) -> None:
    octets = bytes.fromhex(row["octets"])
    (header,) = parse_headers(octets, Function.RESPONSE)
    assert [list(item) for item in header.items()] == [row["item"]]
    index, value, flags, t_ms = row["item"]
    spec = SPECS[header.group, header.variation]
    if header.width:
        assert indexed_block(spec, [(index, value, flags, t_ms)]) == octets
    else:
        assert octets.endswith(spec.pack([(value, flags, t_ms)]))
        assert len(octets) == 5 - (header.qualifier == 0x07) + spec.octets(1)


def test_object_vectors__cover_every_object() -> None:
    assert sorted(row["object"] for row in OBJECTS) == sorted(map(repr, SPECS.values()))


@pytest.mark.parametrize("row", OBJECTS, ids=[row["object"] for row in OBJECTS])
def test_object_vector__cut_anywhere_is_malformed(row: dict[str, Any]) -> None:
    octets = bytes.fromhex(row["octets"])
    for cut in range(1, len(octets)):
        with pytest.raises(MalformedFragmentError):
            parse_headers(octets[:cut], Function.RESPONSE)


@pytest.mark.parametrize("row", VECTORS, ids=NAMES)
def test_every_cut__is_an_error_or_fewer_whole_headers(row: dict[str, Any]) -> None:
    octets = bytes.fromhex(row["octets"])
    whole = len(parse_headers(decode_fragment(octets).body, octets[1]))
    for cut in range(len(octets)):
        found, offset = parsed(octets[:cut])
        assert found < whole or whole == 0
        assert offset <= cut


def parsed(octets: bytes) -> tuple[int, int]:
    """How many headers there are, and where the error is (0 if there is none)."""
    try:
        fragment = decode_fragment(octets)
        return len(parse_headers(fragment.body, fragment.function)), 0
    except MalformedFragmentError as error:
        return -1, error.offset


@given(st.binary(max_size=300), st.sampled_from(list(Function)))
def test_noise__is_an_error_with_its_place_or_headers(octets: bytes, function: Function) -> None:
    _, offset = parsed(bytes((0xC0, function)) + octets)
    assert offset <= len(octets) + 2
    with suppress(MalformedFragmentError):
        for header in parse_headers(octets, function):
            header.items()
            controls_of(header)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("1e 05", "an object header is cut off"),
        ("1e 05 ff", "unknown qualifier"),
        ("1e 05 00 05 04", "the range ends before it starts"),
        ("1e 05 00 00 00 01", "an object is cut off"),
        ("c8 01 00 00 00 00", "unknown object g200v1"),
        ("1e 05 02 00 00 00 00 ff ff ff ff", "too long"),
        ("1e 05 39 ff ff ff ff", "more objects than indexes"),
    ],
)
def test_malformed_headers__say_what_is_wrong(body: str, fault: str) -> None:
    with pytest.raises(MalformedFragmentError, match=fault):
        parse_headers(bytes.fromhex(body), Function.RESPONSE)


def test_integers__are_clamped_and_flagged_over_range() -> None:
    spec = SPECS[30, 2]
    octets = spec.pack([(40_000.0, ONLINE, 0), (-1e9, ONLINE, 0), (math.nan, ONLINE, 0), (1.6, ONLINE, 0)])
    over = ONLINE | OVER_RANGE
    assert spec.unpack(octets, 4) == [(32767.0, over, 0), (-32768.0, over, 0), (0.0, 0, 0), (2.0, ONLINE, 0)]


def test_counters__roll_over() -> None:
    assert SPECS[20, 2].unpack(SPECS[20, 2].pack([(65_537.0, ONLINE, 0)]), 1) == [(1.0, ONLINE, 0)]


def test_time__must_fit_48_bits() -> None:
    assert time_octets(1_768_500_000_000).hex() == "0075d0c29b01"
    with pytest.raises(UnencodableValueError):
        time_octets(-1)


controls = st.one_of(
    st.builds(
        Crob,
        code=st.integers(0, 255),
        count=st.integers(0, 255),
        on_ms=st.integers(0, 2**32 - 1),
        off_ms=st.integers(0, 2**32 - 1),
        status=st.integers(0, 255),
    ),
    st.builds(AnalogOutput, st.integers(-(2**31), 2**31 - 1).map(float), st.just(1), st.integers(0, 255)),
    st.builds(AnalogOutput, st.integers(-(2**15), 2**15 - 1).map(float), st.just(2), st.integers(0, 255)),
    st.builds(AnalogOutput, st.floats(width=32, allow_nan=False), st.just(3), st.integers(0, 255)),
    st.builds(AnalogOutput, st.floats(allow_nan=False), st.just(4), st.integers(0, 255)),
)


@given(st.integers(0, 0xFFFF), controls)
def test_controls__round_trip_and_are_echoed(index: int, control: Crob | AnalogOutput) -> None:
    (header,) = parse_headers(control_block(index, control), Function.SELECT)
    assert controls_of(header) == [(index, control)]
    assert answered(header, [control.status]) == control_block(index, control)


def test_crob__pulse_close_of_the_standard_s_example() -> None:
    """Close, pulse on, count 1, 250 ms on and off: control code 0x41 (IEEE 1815, A.8.1)."""
    assert encode_control(Crob(0x41, 1, 250, 250)).hex() == "4101fa000000fa00000000"


@given(st.integers(0, 15), st.integers(0, 0xFFFF).map(Iin), st.binary(max_size=20), st.booleans(), st.booleans())
def test_fragments__round_trip(sequence: int, iin: Iin, body: bytes, first: bool, confirm: bool) -> None:
    for sent in (
        Fragment(Function.RESPONSE, sequence, body, iin, first=first, confirm=confirm),
        Fragment(Function.READ, sequence, body),
    ):
        assert decode_fragment(encode_fragment(sent)) == sent


def test_attributes__text_numbers_and_the_list() -> None:
    (text,) = parse_headers(attribute_block(247, "RTU_1"), Function.RESPONSE)
    (number,) = parse_headers(attribute_block(240, 2048), Function.RESPONSE)
    assert (read_attribute(text.data), read_attribute(number.data)) == ("RTU_1", 2048)
    (listed,) = parse_headers(list_block({247: "RTU_1", 240: 2048}), Function.RESPONSE)
    assert read_attribute(listed.data) == bytes((240, 0, 247, 0))


@given(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=40))
def test_lists_of_indexes__round_trip(indexes: list[int]) -> None:
    (header,) = parse_headers(index_list(30, 0, indexes), Function.READ)
    assert list(header.indexes) == indexes


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_ranges__round_trip(a: int, b: int) -> None:
    start, stop = sorted((a, b))
    (header,) = parse_headers(range_header(30, 0, start, stop), Function.READ)
    assert (header.indexes[0], header.indexes[-1]) == (start, stop)
