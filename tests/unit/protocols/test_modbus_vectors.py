"""The Modbus vectors, both ways and in both roles; every function has one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twin.protocols.modbus import (
    ExceptionResponse,
    Frame,
    FrameReader,
    Function,
    MalformedFrameError,
    MaskWrite,
    Read,
    ReadIdentification,
    ReadWrite,
    WriteBits,
    WriteRegisters,
    decode_request,
    decode_response,
    encode_frame,
    encode_request,
)
from twin.protocols.modbus.pdu import (
    READ_BITS,
    exception_pdu,
    identification_pdu,
    read_bits_pdu,
    read_registers_pdu,
    write_pdu,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "modbus" / "pdus.json").read_text())
EACH = pytest.mark.parametrize("row", VECTORS, ids=[row["name"] for row in VECTORS])
IDENTITY = (b"Twig", b"RT", b"1.0")


def octets(text: str) -> bytes:
    return bytes.fromhex(text)


@EACH
def test_request__decodes_and_encodes(row: dict[str, Any]) -> None:
    pdu = octets(row["request"])
    assert encode_request(decode_request(pdu)) == pdu


@EACH
def test_response__is_what_a_station_makes_and_a_link_reads(row: dict[str, Any]) -> None:
    sent = octets(row["request"])
    request, pdu = decode_request(sent), octets(row["response"])
    answer = decode_response(pdu, request)
    if "exception" in row:
        assert answer == ExceptionResponse(sent[0], row["exception"])
        assert exception_pdu(sent[0], row["exception"]) == pdu
        return
    if "data" in row:
        assert answer == octets(row["data"])
    assert isinstance(answer, bytes)
    match request:
        case Read(function):
            made = read_bits_pdu(function, answer) if function in READ_BITS else read_registers_pdu(function, answer)
        case ReadWrite():
            made = read_registers_pdu(Function.READ_WRITE_MULTIPLE_REGISTERS, answer)
        case ReadIdentification():
            made = identification_pdu(request, IDENTITY)
        case WriteBits() | WriteRegisters() | MaskWrite():
            made = write_pdu(request, sent)
    assert made == pdu


@EACH
def test_response__cut_or_longer_is_malformed(row: dict[str, Any]) -> None:
    request, pdu = decode_request(octets(row["request"])), octets(row["response"])
    if isinstance(request, ReadIdentification) and "exception" not in row:
        return  # its objects are for people: they are handed on as they are
    for wrong in (*(pdu[:at] for at in range(1, len(pdu))), pdu + b"\0"):
        with pytest.raises(MalformedFrameError):
            decode_response(wrong, request)


def test_frames__dripped_and_coalesced_are_the_same() -> None:
    frames = [Frame(n, n % 3, octets(row[side])) for n, row in enumerate(VECTORS) for side in ("request", "response")]
    stream = b"".join(map(encode_frame, frames))
    for chunk in (1, 5, len(stream)):
        reader = FrameReader()
        assert [f for at in range(0, len(stream), chunk) for f in reader.feed(stream[at : at + chunk])] == frames


def test_vectors__cover_every_function() -> None:
    assert {octets(row["request"])[0] for row in VECTORS} == set(map(int, Function))
