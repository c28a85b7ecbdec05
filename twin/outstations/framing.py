"""How the octets of each protocol fall into frames, for stations that misbehave with whole frames."""

from __future__ import annotations

from typing import Any

from twin.outstations.misbehaviour import Framing
from twin.protocols.modbus.frames import split_frames


def _iec104(octets: bytes) -> list[bytes]:
    """APDUs: start, length, and so many octets."""
    found, start = [], 0
    while start < len(octets):
        end = start + 2 + octets[start + 1]
        found.append(octets[start:end])
        start = end
    return found


def _dnp3(octets: bytes) -> list[bytes]:
    """Link frames: a header of 10 octets, then blocks of up to 16 octets with a CRC of 2 each."""
    found, start = [], 0
    while start < len(octets):
        user = octets[start + 2] - 5
        end = start + 10 + user + 2 * (-(-user // 16))
        found.append(octets[start:end])
        start = end
    return found


def _messages(payload: list[Any]) -> list[list[Any]]:
    """Messages that are handed over in memory."""
    return [[message] for message in payload]


IEC104 = Framing(_iec104, spoil_at=0)
"""Spoiled: the start octet."""
DNP3 = Framing(_dnp3, spoil_at=8)
"""Spoiled: the CRC of the header."""
MODBUS = Framing(split_frames, spoil_at=2)
"""Spoiled: the protocol identifier."""
IN_PROCESS = Framing(_messages)
