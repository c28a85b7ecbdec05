"""Data link frames (IEEE 1815, 9.2): header and blocks of 16 octets, each with its CRC.

The decoder takes a byte stream and never fails: what is no frame is skipped and counted.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from fastcrc import crc16

from twin.protocols.dnp3.errors import UnencodableValueError

SYNC = b"\x05\x64"
BLOCK = 16
MAX_USER_DATA = 250
SELF_ADDRESS = 0xFFFC
"""Whoever is at the other end of this line (IEEE 1815, 9.2.3)."""
BROADCAST = (0xFFFD, 0xFFFE, 0xFFFF)
BROADCAST_CONFIRMED = 0xFFFE
"""The broadcast address whose receivers ask for an application confirmation of their next response."""
_HEADER = struct.Struct("<2sBBHH")
_HEADER_SIZE = 10
_CRC = struct.Struct("<H")
_DIR, _PRM, _FCB, _FCV = 0x80, 0x40, 0x20, 0x10


class Primary(IntEnum):
    """Function codes of frames that start a transaction."""

    RESET_LINK = 0
    TEST_LINK = 2
    CONFIRMED_DATA = 3
    UNCONFIRMED_DATA = 4
    REQUEST_STATUS = 9


class Secondary(IntEnum):
    """Function codes of answers."""

    ACK = 0
    NACK = 1
    STATUS = 11
    NOT_SUPPORTED = 15


class Frame(NamedTuple):
    """One data link frame. ``from_master`` is DIR, ``primary`` PRM; ``fcv`` is DFC in a secondary frame."""

    destination: int
    source: int
    function: int
    data: bytes = b""
    from_master: bool = False
    primary: bool = True
    fcb: bool = False
    fcv: bool = False


def crc(octets: bytes) -> int:
    """The DNP3 CRC of ``octets`` (IEEE 1815, annex E)."""
    return crc16.dnp(octets)


def encode_frame(frame: Frame) -> bytes:
    """The octets of a frame.

    Raises:
        UnencodableValueError: the user data is longer than 250 octets, or an address wider than 16 bits.
    """
    data = frame.data
    if len(data) > MAX_USER_DATA:
        raise UnencodableValueError("user data", len(data), f"up to {MAX_USER_DATA} octets")
    for name, address in (("destination", frame.destination), ("source", frame.source)):
        if not 0 <= address <= 0xFFFF:
            raise UnencodableValueError(name, address, "0 to 65535")
    return _octets(frame.function & 0x0F | _bits(frame), frame.destination, frame.source, data)


def user_data_frame(destination: int, source: int, data: bytes, *, from_master: bool) -> bytes:
    """The octets of a frame with unconfirmed user data, for addresses and lengths that are known to fit."""
    return _octets(Primary.UNCONFIRMED_DATA | _PRM | from_master * _DIR, destination, source, data)


def _octets(control: int, destination: int, source: int, data: bytes) -> bytes:
    checksum, pack = crc16.dnp, _CRC.pack
    header = _HEADER.pack(SYNC, 5 + len(data), control, destination, source)
    parts = [header, pack(checksum(header))]
    for at in range(0, len(data), BLOCK):
        block = data[at : at + BLOCK]
        parts += (block, pack(checksum(block)))
    return b"".join(parts)


def _bits(frame: Frame) -> int:
    return frame.from_master * _DIR | frame.primary * _PRM | frame.fcb * _FCB | frame.fcv * _FCV


def _size(user_data: int) -> int:
    """Octets of a frame with so much user data."""
    return _HEADER_SIZE + user_data + 2 * -(-user_data // BLOCK)


class FrameDecoder:
    """Finds the frames in a byte stream, however it is cut.

    ``skipped`` counts octets that belonged to no frame, ``crc_errors`` headers and blocks with a wrong CRC.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self.crc_errors = 0
        self._buffer = b""

    def receive(self, octets: bytes) -> list[Frame]:
        """The frames that are complete now."""
        buffer = self._buffer + octets if self._buffer else bytes(octets)
        frames: list[Frame] = []
        at = 0
        while (start := self._start(buffer, at)) >= 0:
            at, frame = self._frame(buffer, start)
            if frame is not None:
                frames.append(frame)
            elif at == start:
                break
        else:
            rest = len(buffer) - (at < len(buffer) and buffer.endswith(SYNC[:1]))
            self.skipped += rest - at
            at = rest
        self._buffer = buffer[at:]
        return frames

    def _start(self, buffer: bytes, at: int) -> int:
        start = buffer.find(SYNC, at)
        self.skipped += max(start - at, 0)
        return start

    def _frame(self, buffer: bytes, start: int) -> tuple[int, Frame | None]:
        """Where to go on, and the frame at ``start`` if it is whole; the same place if more octets are needed."""
        if len(buffer) < start + _HEADER_SIZE:
            return start, None
        _, length, control, destination, source = _HEADER.unpack_from(buffer, start)
        (sum_,) = _CRC.unpack_from(buffer, start + 8)
        if length < 5 or crc16.dnp(buffer[start : start + 8]) != sum_:
            return self._reject(start)
        end = start + _size(length - 5)
        if len(buffer) < end:
            return start, None
        data = _user_data(buffer, start + _HEADER_SIZE, length - 5)
        if data is None:
            return self._reject(start)
        from_master, primary = control & _DIR != 0, control & _PRM != 0
        fcb, fcv = control & _FCB != 0, control & _FCV != 0
        return end, Frame(destination, source, control & 0x0F, data, from_master, primary, fcb, fcv)

    def _reject(self, start: int) -> tuple[int, None]:
        """Go on behind the sync octets: what follows may hold a frame."""
        self.crc_errors += 1
        self.skipped += len(SYNC)
        return start + len(SYNC), None

    def snapshot(self) -> str:
        """What waits for the rest of its frame."""
        return self._buffer.hex()

    def restore(self, state: str) -> None:
        """The inverse of :meth:`snapshot`."""
        self._buffer = bytes.fromhex(state)


def _user_data(buffer: bytes, at: int, size: int) -> bytes | None:
    """The user data without its CRCs; None if one is wrong."""
    checksum = crc16.dnp
    if size <= BLOCK:
        block = buffer[at : at + size]
        end = at + size
        return None if size and checksum(block) != buffer[end] | buffer[end + 1] << 8 else block
    blocks = []
    for left in range(size, 0, -BLOCK):
        end = at + min(left, BLOCK)
        block = buffer[at:end]
        if checksum(block) != buffer[end] | buffer[end + 1] << 8:
            return None
        blocks.append(block)
        at = end + 2
    return b"".join(blocks)
