"""Data link frames against vectors, and in streams that are dripped, cut, joined and garbled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.protocols.dnp3 import Frame, FrameDecoder, UnencodableValueError, encode_frame
from twin.protocols.dnp3.frames import crc

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "dnp3" / "frames.json").read_text())
FRAMES = [Frame(**{**row["frame"], "data": bytes.fromhex(row["frame"].get("data", ""))}) for row in VECTORS]
OCTETS = [bytes.fromhex(row["octets"]) for row in VECTORS]
STREAM = b"".join(OCTETS)

frames = st.builds(
    Frame,
    destination=st.integers(0, 0xFFFF),
    source=st.integers(0, 0xFFFF),
    function=st.integers(0, 15),
    data=st.binary(max_size=250),
    from_master=st.booleans(),
    primary=st.booleans(),
    fcb=st.booleans(),
    fcv=st.booleans(),
)


def test_crc__check_value_of_the_catalogue() -> None:
    """CRC-16/DNP of "123456789" (reveng catalogue of parametrised CRC algorithms)."""
    assert crc(b"123456789") == 0xEA82


@pytest.mark.parametrize(
    ("octets", "frame"), list(zip(OCTETS, FRAMES, strict=True)), ids=[row["name"] for row in VECTORS]
)
def test_vector__both_ways(octets: bytes, frame: Frame) -> None:
    assert encode_frame(frame) == octets
    assert FrameDecoder().receive(octets) == [frame]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 11, 64, len(STREAM)])
def test_stream__same_frames_however_it_is_cut(size: int) -> None:
    decoder = FrameDecoder()
    found = [f for at in range(0, len(STREAM), size) for f in decoder.receive(STREAM[at : at + size])]
    assert found == FRAMES
    assert (decoder.skipped, decoder.crc_errors) == (0, 0)


def test_stream__cut_at_every_octet() -> None:
    for cut in range(len(STREAM) + 1):
        decoder = FrameDecoder()
        assert decoder.receive(STREAM[:cut]) + decoder.receive(STREAM[cut:]) == FRAMES


@pytest.mark.parametrize("octets", OCTETS, ids=[row["name"] for row in VECTORS])
def test_every_garbled_octet__costs_that_frame_alone(octets: bytes) -> None:
    for place in range(len(octets)):
        garbled = octets[:place] + bytes((octets[place] ^ 0x10,)) + octets[place + 1 :]
        decoder = FrameDecoder()
        found = decoder.receive(garbled + STREAM)
        found += decoder.receive(STREAM * 3)  # a garbled length may swallow the next frames' octets first
        assert found[-3 * len(FRAMES) :] == FRAMES * 3
        assert len(found) <= 4 * len(FRAMES) + 1  # one vector holds a whole frame as its user data


def test_noise_between_frames__is_skipped_and_counted() -> None:
    decoder = FrameDecoder()
    assert decoder.receive(b"\x05\x05\x64\x00\x64\x05" + OCTETS[0] + b"\x05") == [FRAMES[0]]
    assert decoder.receive(OCTETS[1][0:]) == [FRAMES[1]]
    assert decoder.skipped == 7


def test_too_much_user_data__is_refused() -> None:
    with pytest.raises(UnencodableValueError, match="251"):
        encode_frame(Frame(1, 2, 4, bytes(251)))


@given(st.lists(frames, max_size=4))
def test_frames__round_trip(sent: list[Frame]) -> None:
    assert FrameDecoder().receive(b"".join(encode_frame(frame) for frame in sent)) == sent


@given(st.lists(st.binary(max_size=400), max_size=6))
def test_noise__never_fails_and_never_grows(chunks: list[bytes]) -> None:
    decoder = FrameDecoder()
    for chunk in chunks:
        decoder.receive(b"\x05\x64" + chunk)
        assert len(decoder.snapshot()) // 2 < 292
