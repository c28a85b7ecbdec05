"""A DNP3 master that costs as little as a Python one can: for measuring outstations, not for using them.

It trusts every octet (no CRC is checked), confirms from a table of ready frames, and counts events by their headers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from twin.protocols.dnp3 import Frame, Function, encode_frame
from twin.protocols.dnp3.objects import SPECS, STATIC_OF_EVENT

_FIR, _FIN = 0x40, 0x80
_CON, _UNS = 0x20, 0x10
_SIZES = {(group, variation): spec.size for (group, variation), spec in SPECS.items()}
_WIDTHS = {0x17: 1, 0x28: 2}


@dataclass
class Counts:
    """What all masters have seen."""

    events: int = 0
    overflows: int = 0


class RawDnp3Master(asyncio.Protocol):
    """One master on one connection; ``answered`` is set by the response to the last request."""

    def __init__(self, counts: Counts, outstation: int, master: int) -> None:
        self.counts = counts
        self.lost = False
        self.answered = asyncio.Event()
        self._addresses = (outstation, master)
        self._confirms = _confirms(outstation, master)
        self._rest = b""
        self._parts: list[bytes] = []
        self._sequence = 0
        self._segment = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def ask(self, function: int, body: bytes = b"") -> None:
        """Send a request of one segment."""
        self._sequence = (self._sequence + 1) & 0x0F
        self.answered.clear()
        octets = bytes((_FIR | _FIN | self._next_segment(), 0xC0 | self._sequence, function)) + body
        self._write(encode_frame(Frame(*self._addresses, 4, octets, from_master=True)))

    def _next_segment(self) -> int:
        segment, self._segment = self._segment, self._segment + 1 & 0x3F
        return segment

    def _write(self, octets: bytes) -> None:
        assert self._transport is not None
        self._transport.write(octets)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, n = 0, len(data)
        while n - at >= 10:
            size = data[at + 2] - 5
            end = at + 10 + size + 2 * (-(-size // 16))
            if end > n:
                break
            if size:
                self._segment_received(_user_data(data, at + 10, end))
            elif data[at + 3] & 0x4F == 0x49:
                answer = Frame(*self._addresses, 11, from_master=True, primary=False)
                self._write(encode_frame(answer))
            at = end
        self._rest = data[at:]

    def _segment_received(self, segment: bytes) -> None:
        octet = segment[0]
        if octet & _FIR and octet & _FIN:
            self._take(segment[1:])
            return
        if octet & _FIR:
            self._parts.clear()
        self._parts.append(segment[1:])
        if octet & _FIN:
            self._take(b"".join(self._parts))

    def _take(self, fragment: bytes) -> None:
        control, function = fragment[0], fragment[1]
        if control & _CON:
            self._write(self._confirms[self._next_segment() << 5 | control & 0x1F])
        if fragment[3] & 0x08:
            self.counts.overflows += 1
        self.counts.events += _events(fragment)
        if function == Function.RESPONSE and control & 0x0F == self._sequence:
            self.answered.set()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _user_data(data: bytes, at: int, end: int) -> bytes:
    """User data without its CRCs, trusted."""
    if end - at <= 18:
        return data[at : end - 2]
    return b"".join([data[block : min(block + 16, end - 2)] for block in range(at, end, 18)])


def _events(fragment: bytes) -> int:
    """How many event objects a response holds; what is no list with indexes ends the count."""
    at, found = 4, 0
    while at + 4 <= len(fragment):
        group, variation, qualifier = fragment[at], fragment[at + 1], fragment[at + 2]
        if group == 51:
            at += 10
            continue
        width = _WIDTHS.get(qualifier, 0)
        if not width or group not in STATIC_OF_EVENT:
            break
        count = int.from_bytes(fragment[at + 3 : at + 3 + width], "little")
        found += count
        at += 3 + width + count * (width + _SIZES[group, variation])
    return found


def _confirms(outstation: int, master: int) -> list[bytes]:
    """Confirmations by transport sequence and the low five bits of the control octet."""
    table = _TABLES.get((outstation, master))
    if table is None:
        table = _TABLES[outstation, master] = [
            encode_frame(
                Frame(outstation, master, 4, bytes((_FIR | _FIN | n >> 5, 0xC0 | n & 0x1F, 0)), from_master=True)
            )
            for n in range(64 << 5)
        ]
    return table


_TABLES: dict[tuple[int, int], list[bytes]] = {}
