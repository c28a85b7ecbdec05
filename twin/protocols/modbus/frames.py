"""The MODBUS application protocol header (MBAP) over TCP: octets in, frames out.

MODBUS messaging on TCP/IP V1.0b, 3.1: transaction 2 octets, protocol 2 (0), length 2 (unit and PDU), unit 1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from twin.protocols.modbus.errors import MalformedFrameError

HEADER = struct.Struct(">HHHB")
MAX_PDU = 253
MIN_LENGTH, MAX_LENGTH = 2, MAX_PDU + 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: ``pdu`` starts with the function code."""

    transaction: int
    unit: int
    pdu: bytes


def encode_frame(frame: Frame) -> bytes:
    """The octets of a frame."""
    return HEADER.pack(frame.transaction, 0, len(frame.pdu) + 1, frame.unit) + frame.pdu


class FrameReader:
    """Cuts a stream of octets into frames, however TCP cut it."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, octets: bytes) -> list[Frame]:
        """The frames that are complete now.

        Raises:
            MalformedFrameError: the stream is not Modbus TCP; nothing after it can be understood.
        """
        buffer = self._buffer
        buffer += octets
        frames: list[Frame] = []
        start = 0
        while (end := self._frame_end(start)) > 0:
            transaction, _, _, unit = HEADER.unpack_from(buffer, start)
            frames.append(Frame(transaction, unit, bytes(buffer[start + 7 : end])))
            start = end
        del buffer[:start]
        return frames

    def _frame_end(self, start: int) -> int:
        """Where the frame at ``start`` ends; 0 if it is not complete."""
        buffer, n = self._buffer, len(self._buffer) - start
        for offset in (2, 3):
            if n > offset and buffer[start + offset]:
                raise MalformedFrameError("protocol identifier is not 0", offset, buffer[start + offset])
        if n < 6:
            return 0
        length = (buffer[start + 4] << 8) | buffer[start + 5]
        if not MIN_LENGTH <= length <= MAX_LENGTH:
            raise MalformedFrameError(f"length {length} is not within {MIN_LENGTH} to {MAX_LENGTH}", 4)
        return start + 6 + length if n >= 6 + length else 0

    @property
    def pending(self) -> bytes:
        """The octets of a frame that is not complete."""
        return bytes(self._buffer)

    @classmethod
    def resumed(cls, pending: bytes) -> FrameReader:
        """A reader that goes on behind ``pending``."""
        reader = cls()
        reader._buffer += pending
        return reader


def split_frames(octets: bytes) -> list[bytes]:
    """Well-formed octets, one item a frame."""
    found, start = [], 0
    while start < len(octets):
        end = start + 6 + int.from_bytes(octets[start + 4 : start + 6], "big")
        found.append(octets[start:end])
        start = end
    return found
