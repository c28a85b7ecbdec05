"""Application service data units: header, objects, and how they are packed (IEC 60870-5-101, 7.1 and 7.2).

Fixed sizes of IEC 60870-5-104: cause of transmission two octets (with originator address), common
address two, information object address three; at most 249 octets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from twin.protocols.iec104.causes import Cause
from twin.protocols.iec104.elements import Empty
from twin.protocols.iec104.errors import MalformedFrameError, UnencodableValueError
from twin.protocols.iec104.timetag import TimeTag, decode_time_tag, encode_time_tag
from twin.protocols.iec104.types import TYPES, TypeSpec

MAX_ASDU_OCTETS = 249
HEADER_OCTETS = 6
IOA_OCTETS = 3
MAX_IOA = 0xFFFFFF
MAX_OBJECTS = 127
EMPTY = Empty()
Element = Any
"""One of the value objects of ``elements``."""


@dataclass(frozen=True, slots=True)
class InformationObject:
    """An element at an address, with its time tag if the type has one."""

    ioa: int
    element: Element = EMPTY
    time: TimeTag | None = None


@dataclass(frozen=True, slots=True)
class Asdu:
    """One application service data unit.

    A type that the codec does not know keeps its body in ``opaque`` and its count in ``opaque_count``,
    so that it can be mirrored; it has no ``objects``.
    """

    type_id: int
    cause: int
    common_address: int
    objects: tuple[InformationObject, ...] = ()
    sequence: bool = False
    negative: bool = False
    test: bool = False
    originator: int = 0
    opaque: bytes = b""
    opaque_count: int = 0

    @property
    def known(self) -> bool:
        """Whether the codec knows the type."""
        return self.type_id in TYPES


def mirrored(asdu: Asdu, cause: Cause, *, negative: bool = False) -> Asdu:
    """The answer to a command: the same objects under another cause, with P/N set if negative."""
    return replace(asdu, cause=int(cause), negative=negative)


def _header(asdu: Asdu, count: int) -> bytes:
    _check("type identification", asdu.type_id, 0xFF)
    _check("cause of transmission", asdu.cause, 0x3F)
    _check("originator address", asdu.originator, 0xFF)
    _check("common address", asdu.common_address, 0xFFFF)
    _check("number of objects", count, MAX_OBJECTS)
    cause = asdu.cause | asdu.negative << 6 | asdu.test << 7
    head = bytes((asdu.type_id, count | asdu.sequence << 7, cause, asdu.originator))
    return head + asdu.common_address.to_bytes(2, "little")


def _check(field: str, value: int, most: int) -> None:
    if not 0 <= value <= most:
        raise UnencodableValueError(field, value, f"0 to {most}")


def encode_asdu(asdu: Asdu) -> bytes:
    """The octets of an ASDU.

    Raises:
        UnencodableValueError: a value does not fit its field, or the whole does not fit 249 octets.
    """
    if not asdu.known:
        octets = _header(asdu, asdu.opaque_count) + asdu.opaque
    else:
        spec = TYPES[asdu.type_id]
        _check_objects(asdu, spec)
        octets = _header(asdu, len(asdu.objects)) + _encode_objects(asdu, spec)
    if len(octets) > MAX_ASDU_OCTETS:
        raise UnencodableValueError("ASDU", f"{len(octets)} octets", f"{MAX_ASDU_OCTETS} octets")
    return octets


def _check_objects(asdu: Asdu, spec: TypeSpec) -> None:
    if not asdu.objects or (len(asdu.objects) > 1 and not spec.many):
        raise UnencodableValueError(f"{spec.type_id.name}", f"{len(asdu.objects)} objects", "its number of objects")
    if asdu.sequence:
        first = asdu.objects[0].ioa
        if not spec.many or any(o.ioa != first + i for i, o in enumerate(asdu.objects)):
            raise UnencodableValueError("SQ = 1", spec.type_id.name, "process information at successive addresses")


def _encode_objects(asdu: Asdu, spec: TypeSpec) -> bytes:
    parts: list[bytes] = []
    for index, o in enumerate(asdu.objects):
        if index == 0 or not asdu.sequence:
            _check("information object address", o.ioa, MAX_IOA)
            parts.append(o.ioa.to_bytes(IOA_OCTETS, "little"))
        parts.append(_encode_object(o, spec))
    return b"".join(parts)


def _encode_object(o: InformationObject, spec: TypeSpec) -> bytes:
    if not isinstance(o.element, spec.codec.element):
        raise UnencodableValueError(spec.type_id.name, o.element, spec.codec.element.__name__)
    octets = spec.codec.encode(o.element)
    if (o.time is not None) != spec.tagged:
        raise UnencodableValueError(f"{spec.type_id.name} time tag", o.time, "a tag exactly where the type has one")
    return octets if o.time is None else octets + encode_time_tag(o.time)


def decode_asdu(octets: bytes, start: int = 0) -> Asdu:
    """The ASDU in ``octets[start:]``; offsets in errors count from ``octets[0]``.

    Raises:
        MalformedFrameError: truncated, too long, or a count that does not match.
    """
    length = len(octets) - start
    if length < HEADER_OCTETS:
        raise MalformedFrameError("ASDU ends inside its header", len(octets))
    if length > MAX_ASDU_OCTETS:
        raise MalformedFrameError("ASDU longer than 249 octets", start + MAX_ASDU_OCTETS)
    type_id, qualifier, cause, originator = octets[start : start + 4]
    header: dict[str, Any] = {
        "type_id": type_id,
        "cause": cause & 0x3F,
        "common_address": int.from_bytes(octets[start + 4 : start + 6], "little"),
        "sequence": bool(qualifier & 0x80),
        "negative": bool(cause & 0x40),
        "test": bool(cause & 0x80),
        "originator": originator,
    }
    count, body = qualifier & 0x7F, start + HEADER_OCTETS
    spec = TYPES.get(type_id)
    if spec is None:
        return Asdu(**header, opaque=bytes(octets[body:]), opaque_count=count)
    _check_count(octets, start, spec, count)
    return Asdu(**header, objects=_decode_objects(octets, body, spec, count, header["sequence"]))


def _check_count(octets: bytes, start: int, spec: TypeSpec, count: int) -> None:
    at, sequence = start + 1, bool(octets[start + 1] & 0x80)
    if count == 0:
        raise MalformedFrameError(f"{spec.type_id.name} without an object", at, octets[at])
    if not spec.many and (count > 1 or sequence):
        raise MalformedFrameError(f"{spec.type_id.name} with more than a single object", at, octets[at])
    addresses = 1 if sequence else count
    end = start + HEADER_OCTETS + addresses * IOA_OCTETS + count * spec.size
    if len(octets) < end:
        raise MalformedFrameError(f"{spec.type_id.name} ends before its {count} objects", len(octets))
    if len(octets) > end:
        raise MalformedFrameError(f"{spec.type_id.name} goes on after its {count} objects", end, octets[end])


def _decode_objects(
    octets: bytes, at: int, spec: TypeSpec, count: int, sequence: bool
) -> tuple[InformationObject, ...]:
    objects: list[InformationObject] = []
    decode, element_size, size = spec.codec.decode, spec.codec.size, spec.size
    ioa = 0
    for index in range(count):
        if index == 0 or not sequence:
            ioa = octets[at] | octets[at + 1] << 8 | octets[at + 2] << 16
            at += IOA_OCTETS
        elif ioa == MAX_IOA:
            raise MalformedFrameError("information object addresses run past the last one", at, octets[at])
        else:
            ioa += 1
        time = decode_time_tag(octets, at + element_size) if spec.tagged else None
        objects.append(InformationObject(ioa, decode(octets, at), time))
        at += size
    return tuple(objects)


def capacity(type_id: int, *, sequence: bool) -> int:
    """How many objects of a type one ASDU holds at most."""
    size, room = TYPES[type_id].size, MAX_ASDU_OCTETS - HEADER_OCTETS
    fits = (room - IOA_OCTETS) // size if sequence else room // (size + IOA_OCTETS)
    return min(fits, MAX_OBJECTS)


def in_order(header: Asdu, objects: Sequence[InformationObject]) -> list[Asdu]:
    """``objects`` in the order given, SQ = 0, as few ASDUs as that allows; ``header`` gives type, cause, address."""
    step = capacity(header.type_id, sequence=False)
    return [replace(header, objects=tuple(objects[i : i + step]), sequence=False) for i in range(0, len(objects), step)]


def packed(header: Asdu, objects: Iterable[InformationObject]) -> list[Asdu]:
    """``objects`` in as few ASDUs as possible, ordered by address; runs of successive addresses go with SQ = 1.

    Every run fills whole SQ = 1 ASDUs; of the remainders the longest get one of their own as long as that
    makes the total smaller, the others share SQ = 0 ASDUs.
    """
    full = capacity(header.type_id, sequence=True)
    chunks: list[list[InformationObject]] = []
    for run in _runs(sorted(objects, key=lambda o: o.ioa)):
        chunks += [run[i : i + full] for i in range(0, len(run), full)]
    chunks.sort(key=lambda chunk: (-len(chunk), chunk[0].ioa))
    alone = _best_split([len(chunk) for chunk in chunks], capacity(header.type_id, sequence=False))
    asdus = [replace(header, objects=tuple(chunk), sequence=True) for chunk in chunks[:alone]]
    asdus += in_order(header, sorted((o for chunk in chunks[alone:] for o in chunk), key=lambda o: o.ioa))
    return sorted(asdus, key=lambda asdu: asdu.objects[0].ioa)


def _runs(objects: Sequence[InformationObject]) -> list[list[InformationObject]]:
    runs: list[list[InformationObject]] = []
    for o in objects:
        if runs and o.ioa == runs[-1][-1].ioa + 1:
            runs[-1].append(o)
        else:
            runs.append([o])
    return runs


def _best_split(lengths: Sequence[int], shared: int) -> int:
    """How many of the descending ``lengths`` stand alone so that the fewest ASDUs result."""
    left = sum(lengths)
    best, fewest = 0, -(-left // shared)
    for alone, length in enumerate(lengths, start=1):
        left -= length
        total = alone + -(-left // shared)
        if total < fewest:
            best, fewest = alone, total
    return best
