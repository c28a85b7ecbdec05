"""Transport function (IEEE 1815, clause 8): a fragment as segments of one link frame each, and back."""

from __future__ import annotations

from typing import Any

MAX_SEGMENT = 249
_FIN, _FIR, _SEQUENCE = 0x80, 0x40, 0x3F


class Segmenter:
    """Cuts fragments; the sequence number runs on from fragment to fragment."""

    def __init__(self) -> None:
        self.sequence = 0

    def segments(self, fragment: bytes) -> list[bytes]:
        """The segments of a fragment, each with its transport octet."""
        if len(fragment) <= MAX_SEGMENT:
            octet = _FIN | _FIR | self.sequence
            self.sequence = self.sequence + 1 & _SEQUENCE
            return [octet.to_bytes(1, "little") + fragment]
        result = []
        for at in range(0, len(fragment) or 1, MAX_SEGMENT):
            fin = _FIN if at + MAX_SEGMENT >= len(fragment) else 0
            fir = _FIR if at == 0 else 0
            result.append(bytes((fin | fir | self.sequence,)) + fragment[at : at + MAX_SEGMENT])
            self.sequence = self.sequence + 1 & _SEQUENCE
        return result


class Reassembler:
    """Joins segments; what does not fit together is dropped and counted in ``discarded``."""

    def __init__(self, max_fragment: int) -> None:
        self.discarded = 0
        self._max = max_fragment
        self._parts = bytearray()
        self._next = -1

    def receive(self, segment: bytes) -> bytes | None:
        """The fragment that this segment completes, or None."""
        if not segment:
            self.discarded += 1
            return None
        octet = segment[0]
        if octet & _FIR:
            self._begin()
            if octet & _FIN and len(segment) <= self._max:
                return segment[1:]
        elif self._next != octet & _SEQUENCE:
            self.discarded += 1
            return None
        if len(self._parts) + len(segment) - 1 > self._max:
            self._abandon()
            return None
        self._parts += segment[1:]
        if not octet & _FIN:
            self._next = (octet & _SEQUENCE) + 1 & _SEQUENCE
            return None
        fragment = bytes(self._parts)
        self._parts.clear()
        self._next = -1
        return fragment

    def _begin(self) -> None:
        if self._next >= 0:
            self.discarded += 1
        self._parts.clear()
        self._next = -1

    def _abandon(self) -> None:
        self.discarded += 1
        self._parts.clear()
        self._next = -1

    def snapshot(self) -> list[Any]:
        """State as JSON-able values."""
        return [self._parts.hex(), self._next]

    def restore(self, state: list[Any]) -> None:
        """The inverse of :meth:`snapshot`."""
        parts, self._next = state
        self._parts = bytearray.fromhex(parts)
