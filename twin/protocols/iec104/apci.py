"""APCI: frames of IEC 60870-5-104 cut out of a stream of octets (5.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from twin.protocols.iec104.errors import MalformedFrameError

START = 0x68
SEQUENCE_MODULUS = 32768
MIN_LENGTH, MAX_LENGTH = 4, 253
APCI_OCTETS = 6


class UFunction(IntEnum):
    """Unnumbered control functions, as in the first control octet."""

    STARTDT_ACT = 0x07
    STARTDT_CON = 0x0B
    STOPDT_ACT = 0x13
    STOPDT_CON = 0x23
    TESTFR_ACT = 0x43
    TESTFR_CON = 0x83


@dataclass(frozen=True, slots=True)
class IFrame:
    """Numbered information transfer; ``octets`` is the whole frame, its ASDU starts at ``APCI_OCTETS``."""

    send_sequence: int
    receive_sequence: int
    octets: bytes


@dataclass(frozen=True, slots=True)
class SFrame:
    """Numbered supervisory function: an acknowledgement alone."""

    receive_sequence: int


@dataclass(frozen=True, slots=True)
class UFrame:
    """Unnumbered control function."""

    function: UFunction


Frame = IFrame | SFrame | UFrame
_FUNCTIONS = {int(f): f for f in UFunction}


def encode_i_frame(send_sequence: int, receive_sequence: int, asdu: bytes) -> bytes:
    """An I frame around the octets of an ASDU."""
    head = bytes((START, len(asdu) + 4))
    return head + (send_sequence << 1).to_bytes(2, "little") + (receive_sequence << 1).to_bytes(2, "little") + asdu


def encode_s_frame(receive_sequence: int) -> bytes:
    """An S frame."""
    return bytes((START, 4, 1, 0)) + (receive_sequence << 1).to_bytes(2, "little")


def encode_u_frame(function: UFunction) -> bytes:
    """A U frame."""
    return bytes((START, 4, function, 0, 0, 0))


def decode_frame(octets: bytes) -> Frame:
    """One whole frame from its octets.

    Raises:
        MalformedFrameError: start, length or control octets that the standard does not allow.
    """
    first = octets[2]
    if first & 1 == 0:
        return _decode_i_frame(octets)
    if len(octets) != APCI_OCTETS:
        raise MalformedFrameError("S or U frame with a body", 1, octets[1])
    return _decode_s_frame(octets) if first == 1 else _decode_u_frame(octets)


def _decode_i_frame(octets: bytes) -> IFrame:
    if len(octets) == APCI_OCTETS:
        raise MalformedFrameError("I frame without an ASDU", 1, octets[1])
    return IFrame(int.from_bytes(octets[2:4], "little") >> 1, _receive_sequence(octets), octets)


def _decode_s_frame(octets: bytes) -> SFrame:
    if octets[3]:
        raise MalformedFrameError("reserved control octet of an S frame is set", 3, octets[3])
    return SFrame(_receive_sequence(octets))


def _decode_u_frame(octets: bytes) -> UFrame:
    function = _FUNCTIONS.get(octets[2])
    if function is None:
        raise MalformedFrameError("unknown control function", 2, octets[2])
    for at in (3, 4, 5):
        if octets[at]:
            raise MalformedFrameError("reserved control octet of a U frame is set", at, octets[at])
    return UFrame(function)


def _receive_sequence(octets: bytes) -> int:
    if octets[4] & 1:
        raise MalformedFrameError("lowest bit of the receive sequence number is set", 4, octets[4])
    return int.from_bytes(octets[4:6], "little") >> 1


class FrameReader:
    """Cuts frames out of octets that arrive in pieces of any size."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._pending += data

    def next_frame(self) -> Frame | None:
        """The next whole frame, None if there is none yet.

        Raises:
            MalformedFrameError: as soon as the first wrong octet is there, not only when the frame is whole.
        """
        pending = self._pending
        if pending and pending[0] != START:
            raise MalformedFrameError("start octet is not 0x68", 0, pending[0])
        if len(pending) < 2:
            return None
        if not MIN_LENGTH <= pending[1] <= MAX_LENGTH:
            raise MalformedFrameError("length outside 4 to 253", 1, pending[1])
        end = pending[1] + 2
        if len(pending) < end:
            return None
        octets = bytes(pending[:end])
        del pending[:end]
        return decode_frame(octets)

    @property
    def pending(self) -> bytes:
        """The octets of a frame that is not whole yet."""
        return bytes(self._pending)
