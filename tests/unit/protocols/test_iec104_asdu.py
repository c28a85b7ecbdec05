"""The ASDU codec against vectors in both directions, round trips of every type, and cuts at every octet."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.points.model import Quality
from twin.protocols.iec104 import (
    TYPES,
    Asdu,
    Cause,
    InformationObject,
    MalformedFrameError,
    TimeTag,
    TypeId,
    UnencodableValueError,
    capacity,
    decode_asdu,
    encode_asdu,
    in_order,
    mirrored,
    packed,
)
from twin.protocols.iec104 import elements as e

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/iec104/asdus.json").read_text())


def expected(case: dict[str, Any]) -> Asdu:
    objects = []
    for ioa, name, fields, *time in case["objects"]:
        if "quality" in fields:
            fields = {**fields, "quality": Quality(fields["quality"])}
        tag = TimeTag(**time[0]) if time else None
        objects.append(InformationObject(ioa, getattr(e, name)(**fields), tag))
    flags = {name: case[name] for name in ("sequence", "negative", "test", "originator") if name in case}
    return Asdu(case["type"], case["cause"], case["ca"], tuple(objects), **flags)


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_asdu__decodes_and_encodes_vector(case: dict[str, Any]) -> None:
    octets = bytes.fromhex(case["hex"])
    assert decode_asdu(octets) == expected(case)
    assert encode_asdu(expected(case)) == octets


def test_vectors__cover_every_type() -> None:
    assert {TypeId(t).name for t in TYPES} == {TypeId(case["type"]).name for case in VECTORS}


# round trips

STATUS = st.sampled_from(range(0, 256, 16)).map(Quality)
FULL = st.builds(lambda high, low: Quality(high | low), st.sampled_from(range(0, 256, 16)), st.sampled_from([0, 1]))
I16 = st.integers(-32768, 32767)
U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 2**32 - 1)
NORMALIZED = I16.map(lambda raw: raw / 32768)
F32 = st.floats(width=32, allow_nan=False)
QU = st.integers(0, 31)
QL = st.integers(0, 127)
OCTET = st.integers(0, 255)
B = st.booleans()
ELEMENTS: dict[type, st.SearchStrategy[Any]] = {
    e.Empty: st.just(e.Empty()),
    e.SinglePoint: st.builds(e.SinglePoint, B, STATUS),
    e.DoublePoint: st.builds(e.DoublePoint, st.integers(0, 3), STATUS),
    e.StepPosition: st.builds(e.StepPosition, st.integers(-64, 63), B, FULL),
    e.Bitstring: st.builds(e.Bitstring, U32, FULL),
    e.NormalizedValue: st.builds(e.NormalizedValue, NORMALIZED, FULL),
    e.ScaledValue: st.builds(e.ScaledValue, I16, FULL),
    e.ShortFloat: st.builds(e.ShortFloat, F32, FULL),
    e.IntegratedTotal: st.builds(e.IntegratedTotal, st.integers(-(2**31), 2**31 - 1), QU, B, B, B),
    e.PackedSinglePoints: st.builds(e.PackedSinglePoints, U16, U16, FULL),
    e.ProtectionEvent: st.builds(e.ProtectionEvent, st.integers(0, 3), U16, B, STATUS),
    e.ProtectionStart: st.builds(e.ProtectionStart, st.integers(0, 63), U16, B, STATUS),
    e.ProtectionTrip: st.builds(e.ProtectionTrip, st.integers(0, 15), U16, B, STATUS),
    e.SingleCommand: st.builds(e.SingleCommand, B, B, QU),
    e.DoubleCommand: st.builds(e.DoubleCommand, st.integers(0, 3), B, QU),
    e.StepCommand: st.builds(e.StepCommand, st.integers(0, 3), B, QU),
    e.SetpointNormalized: st.builds(e.SetpointNormalized, NORMALIZED, B, QL),
    e.SetpointScaled: st.builds(e.SetpointScaled, I16, B, QL),
    e.SetpointFloat: st.builds(e.SetpointFloat, F32, B, QL),
    e.BitstringCommand: st.builds(e.BitstringCommand, U32),
    e.EndOfInitialization: st.builds(e.EndOfInitialization, QL, B),
    e.Interrogation: st.builds(e.Interrogation, OCTET),
    e.CounterInterrogation: st.builds(e.CounterInterrogation, st.integers(0, 63), st.integers(0, 3)),
    e.ResetProcess: st.builds(e.ResetProcess, OCTET),
    e.TestWord: st.builds(e.TestWord, U16),
    e.ParameterNormalized: st.builds(e.ParameterNormalized, NORMALIZED, OCTET),
    e.ParameterScaled: st.builds(e.ParameterScaled, I16, OCTET),
    e.ParameterFloat: st.builds(e.ParameterFloat, F32, OCTET),
    e.ParameterActivation: st.builds(e.ParameterActivation, OCTET),
}
TAGS = st.builds(
    TimeTag,
    year=st.integers(0, 127),
    month=st.integers(0, 15),
    day=st.integers(0, 31),
    hour=st.integers(0, 31),
    minute=st.integers(0, 63),
    millisecond=U16,
    weekday=st.integers(0, 7),
    invalid=B,
    substituted=B,
    summer_time=B,
)


def element_strategy(type_id: int) -> st.SearchStrategy[Any]:
    if type_id == TypeId.M_ME_ND_1:
        return st.builds(e.NormalizedValue, NORMALIZED)
    return ELEMENTS[TYPES[type_id].codec.element]


@st.composite
def asdus(draw: st.DrawFn, type_id: int) -> Asdu:
    spec = TYPES[type_id]
    sequence = spec.many and draw(B)
    count = draw(st.integers(1, min(8, capacity(type_id, sequence=sequence)))) if spec.many else 1
    first = draw(st.integers(0, 0xFFFFFF - count))
    ioas = [first + i for i in range(count)] if sequence else [draw(st.integers(0, 0xFFFFFF)) for _ in range(count)]
    objects = tuple(
        InformationObject(ioa, draw(element_strategy(type_id)), draw(TAGS) if spec.tagged else None) for ioa in ioas
    )
    return Asdu(
        type_id,
        draw(st.integers(0, 63)),
        draw(U16),
        objects,
        sequence,
        negative=draw(B),
        test=draw(B),
        originator=draw(OCTET),
    )


@pytest.mark.parametrize("type_id", sorted(TYPES))
def test_asdu__survives_the_round_trip(type_id: int) -> None:
    @settings(max_examples=40, deadline=None, database=None)
    @given(asdus(type_id))
    def check(asdu: Asdu) -> None:
        assert decode_asdu(encode_asdu(asdu)) == asdu

    check()


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_asdu__cut_or_longer_is_the_decode_error_where_it_happens(case: dict[str, Any]) -> None:
    octets = bytes.fromhex(case["hex"])
    for end in range(len(octets)):
        with pytest.raises(MalformedFrameError) as caught:
            decode_asdu(octets[:end])
        assert caught.value.offset == end
    with pytest.raises(MalformedFrameError) as caught:
        decode_asdu(octets + b"\x00")
    assert (caught.value.offset, caught.value.octet) == (len(octets), 0)


def check_decoded_or_refused(octets: bytes) -> None:
    fault_at = 0
    try:
        assert len(encode_asdu(decode_asdu(octets))) == len(octets)
    except MalformedFrameError as error:
        fault_at = error.offset
    assert 0 <= fault_at <= len(octets)


@settings(max_examples=400, deadline=None, database=None)
@given(st.binary(max_size=260))
def test_asdu__noise_is_decoded_or_is_the_decode_error(octets: bytes) -> None:
    check_decoded_or_refused(octets)


@settings(max_examples=400, deadline=None, database=None)
@given(st.sampled_from(sorted(TYPES)), OCTET, st.binary(max_size=60))
def test_asdu__noise_behind_a_known_type_is_decoded_or_is_the_decode_error(type_id: int, vsq: int, body: bytes) -> None:
    check_decoded_or_refused(bytes((type_id, vsq, 3, 0, 1, 0)) + body)


def test_asdu__without_objects_is_malformed() -> None:
    with pytest.raises(MalformedFrameError, match="M_SP_NA_1 without an object at octet 1"):
        decode_asdu(bytes.fromhex("010003000100"))


def test_asdu__command_with_two_objects_is_malformed() -> None:
    with pytest.raises(MalformedFrameError, match="more than a single object at octet 1"):
        decode_asdu(bytes.fromhex("2d0206000100 01000001 02000001"))


def test_asdu__successive_addresses_past_the_last_are_malformed() -> None:
    with pytest.raises(MalformedFrameError, match="addresses run past the last one at octet 10"):
        decode_asdu(bytes.fromhex("018203000100 ffffff 01 00"))


def test_asdu__unknown_type_is_kept_for_mirroring() -> None:
    octets = bytes.fromhex("c8 03 06 07 2f00 0102030405")
    asdu = decode_asdu(octets)
    assert not asdu.known
    refused = mirrored(asdu, Cause.UNKNOWN_TYPE, negative=True)
    assert encode_asdu(refused).hex() == "c803" + "6c" + "07" + "2f00" + "0102030405"


def test_asdu__not_a_number_passes_the_codec() -> None:
    asdu = decode_asdu(bytes.fromhex("0d0103000100 010000 0000c07f 00"))
    assert struct.pack("<f", asdu.objects[0].element.value) == bytes.fromhex("0000c07f")


@pytest.mark.parametrize(
    ("asdu", "field"),
    [
        (Asdu(1, 3, 1), "M_SP_NA_1"),
        (Asdu(1, 3, 70_000, (InformationObject(1, e.SinglePoint(True)),)), "common address"),
        (Asdu(1, 64, 1, (InformationObject(1, e.SinglePoint(True)),)), "cause of transmission"),
        (Asdu(1, 3, 1, (InformationObject(1 << 24, e.SinglePoint(True)),)), "information object address"),
        (Asdu(1, 3, 1, (InformationObject(1, e.ShortFloat(1.0)),)), "M_SP_NA_1"),
        (Asdu(1, 3, 1, (InformationObject(1, e.SinglePoint(True, Quality.OVERFLOW)),)), "SIQ"),
        (Asdu(30, 3, 1, (InformationObject(1, e.SinglePoint(True)),)), "M_SP_TB_1 time tag"),
        (Asdu(11, 3, 1, (InformationObject(1, e.ScaledValue(40_000)),)), "scaled value"),
        (Asdu(9, 3, 1, (InformationObject(1, e.NormalizedValue(1.0)),)), "normalised value"),
        (Asdu(13, 3, 1, (InformationObject(1, e.ShortFloat(1e39)),)), "short floating point number"),
        (Asdu(1, 3, 1, tuple(InformationObject(i, e.SinglePoint(True)) for i in (1, 3)), sequence=True), "SQ = 1"),
        (Asdu(13, 3, 1, tuple(InformationObject(i, e.ShortFloat(0)) for i in range(31))), "ASDU"),
    ],
)
def test_encode__refuses_what_does_not_fit(asdu: Asdu, field: str) -> None:
    with pytest.raises(UnencodableValueError) as caught:
        encode_asdu(asdu)
    assert caught.value.field == field


# packing

HEADER = Asdu(TypeId.M_ME_NC_1, Cause.INTERROGATED_BY_STATION, 1)


def floats(ioas: list[int]) -> list[InformationObject]:
    return [InformationObject(ioa, e.ShortFloat(float(ioa))) for ioa in ioas]


def test_capacity__is_what_249_octets_hold() -> None:
    """243 octets after the header: 30 objects of 3 + 5; or one address and 48 of 5; single points end at 127."""
    assert capacity(TypeId.M_ME_NC_1, sequence=False) == 30
    assert capacity(TypeId.M_ME_NC_1, sequence=True) == 48
    assert capacity(TypeId.M_SP_NA_1, sequence=True) == 127
    assert capacity(TypeId.M_ME_TF_1, sequence=False) == 16


@pytest.mark.parametrize(
    ("ioas", "asdu_count"),
    [
        (list(range(1, 49)), 1),  # one run, SQ = 1
        (list(range(1, 97)), 2),
        ([*range(1, 49), 100, 200, 300], 2),  # a full run and the rest
        ([1, *range(100, 148), 300], 2),  # the two lone ones share
        (list(range(0, 60, 2)), 1),  # 30 lone ones
        ([*range(1, 21), *range(101, 121), *range(201, 221)], 2),  # 60 = 30 + 30 rather than three runs
    ],
)
def test_packed__uses_as_few_asdus_as_possible(ioas: list[int], asdu_count: int) -> None:
    result = packed(HEADER, floats(ioas))
    assert len(result) == asdu_count
    assert sorted(o.ioa for asdu in result for o in asdu.objects) == ioas
    for asdu in result:
        assert decode_asdu(encode_asdu(asdu)) == asdu


@settings(max_examples=100, deadline=None, database=None)
@given(st.sets(st.integers(1, 400), min_size=1, max_size=200))
def test_packed__loses_nothing_and_never_needs_more_than_plain_packing(ioas: set[int]) -> None:
    result = packed(HEADER, floats(sorted(ioas)))
    assert sorted(o.ioa for asdu in result for o in asdu.objects) == sorted(ioas)
    assert len(result) <= -(-len(ioas) // 30)
    assert all(len(encode_asdu(asdu)) <= 249 for asdu in result)


def test_in_order__keeps_the_order_of_repeated_addresses() -> None:
    objects = [InformationObject(ioa, e.ShortFloat(float(i))) for i, ioa in enumerate([7, 3, 7] * 15)]
    result = in_order(HEADER, objects)
    assert [o for asdu in result for o in asdu.objects] == objects
    assert len(result) == 2
