"""Object headers (IEEE 1815, 4.2.2): which objects a fragment names or carries, and under which indexes.

Qualifiers: ranges 0x00 to 0x02; all 0x06; counts 0x07 to 0x09; lists of indexes 0x17, 0x28, 0x39; free format 0x5B.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twin.protocols.dnp3.application import carries_data
from twin.protocols.dnp3.errors import MalformedFragmentError
from twin.protocols.dnp3.objects import SPECS, Item, ObjectSpec, Reading, object_size

ALL = 0x06
FREE_FORMAT = 0x5B
_RANGES = {0x00: 1, 0x01: 2, 0x02: 4}
_COUNTS = {0x07: 1, 0x08: 2, 0x09: 4}
_INDEXED = {0x17: 1, 0x28: 2, 0x39: 4}
_MAX_OBJECTS = 65_536
GROUP_ATTRIBUTES = 0


@dataclass(frozen=True, slots=True)
class ObjectHeader:
    """One header with its objects.

    ``indexes`` is empty for 0x06 and for counts in requests; ``count`` is then the count, or -1 for all. ``data`` holds
    the objects as they came, each behind its index for the qualifiers with indexes; empty in requests that only name.
    """

    group: int
    variation: int
    qualifier: int
    count: int
    indexes: Sequence[int] = ()
    data: bytes = b""

    @property
    def width(self) -> int:
        """Octets of each object's index; 0 without."""
        return _INDEXED.get(self.qualifier, 0)

    def items(self) -> list[Item]:
        """The readings it carries with their indexes; none if it is no object with readings."""
        spec = SPECS.get((self.group, self.variation))
        if spec is None or not self.data or self.qualifier == FREE_FORMAT:
            return []
        if self.width in (1, 2):
            return spec.unpack_indexed(self.data, self.width)
        readings = spec.unpack(b"".join(self.octets()) if self.width else self.data, self.count)
        return [(index, *reading) for index, reading in zip(self.indexes, readings, strict=False)]

    def octets(self) -> list[bytes]:
        """Each object's own octets, without its index."""
        size = len(self.data) // self.count if self.count > 0 else 0
        return [self.data[at + self.width : at + size] for at in range(0, size * self.count, size or 1)]


class _Reader:
    """Takes a fragment's body apart from the front."""

    def __init__(self, body: bytes, function: int) -> None:
        self.body = body
        self.function = function
        self.at = 0

    def number(self, width: int, what: str) -> int:
        return int.from_bytes(self.take(width, what), "little")

    def take(self, size: int, what: str) -> bytes:
        end = self.at + size
        if end > len(self.body):
            raise MalformedFragmentError(f"{what} is cut off", len(self.body))
        octets = self.body[self.at : end]
        self.at = end
        return octets

    def header(self) -> ObjectHeader:
        begin = self.at
        group, variation, qualifier = self.take(3, "an object header")
        if qualifier in _RANGES:
            return self._range(group, variation, qualifier, begin)
        if qualifier == ALL:
            return ObjectHeader(group, variation, qualifier, -1)
        if qualifier in _COUNTS:
            return self._count(group, variation, qualifier, begin)
        if qualifier in _INDEXED:
            return self._indexed(group, variation, qualifier, begin)
        if qualifier == FREE_FORMAT:
            return self._free(group, variation)
        raise MalformedFragmentError("unknown qualifier", begin + 2, qualifier)

    def _range(self, group: int, variation: int, qualifier: int, begin: int) -> ObjectHeader:
        width = _RANGES[qualifier]
        start, stop = self.number(width, "a range"), self.number(width, "a range")
        if stop < start or stop - start >= _MAX_OBJECTS:
            raise MalformedFragmentError("the range ends before it starts, or is too long", begin + 3)
        indexes = range(start, stop + 1)
        data = b""
        if carries_data(self.function, group):
            data = self._attribute() if group == GROUP_ATTRIBUTES else self._data(group, variation, len(indexes), begin)
        return ObjectHeader(group, variation, qualifier, len(indexes), indexes, data)

    def _count(self, group: int, variation: int, qualifier: int, begin: int) -> ObjectHeader:
        count = self._number_of(_COUNTS[qualifier], begin)
        if not carries_data(self.function, group):
            return ObjectHeader(group, variation, qualifier, count)
        data = self._data(group, variation, count, begin)
        return ObjectHeader(group, variation, qualifier, count, range(count), data)

    def _indexed(self, group: int, variation: int, qualifier: int, begin: int) -> ObjectHeader:
        width = _INDEXED[qualifier]
        count = self._number_of(min(width, 2) if width < 4 else 4, begin)
        if not carries_data(self.function, group):
            octets = self.take(width * count, "a list of indexes")
            return ObjectHeader(group, variation, qualifier, count, _numbers(octets, width, width))
        size = width + self._size(group, variation, begin)
        if size == width:
            raise MalformedFragmentError("packed objects have no indexes", begin + 2, qualifier)
        octets = self.take(size * count, "an object")
        return ObjectHeader(group, variation, qualifier, count, _numbers(octets, width, size), octets)

    def _number_of(self, width: int, begin: int) -> int:
        count = self.number(width, "a count")
        if count > _MAX_OBJECTS:
            raise MalformedFragmentError("more objects than indexes", begin + 3)
        return count

    def _free(self, group: int, variation: int) -> ObjectHeader:
        count = self.number(1, "a count")
        begin = self.at
        for _ in range(count):
            self.take(self.number(2, "the size of an object"), "an object")
        return ObjectHeader(group, variation, FREE_FORMAT, count, range(count), self.body[begin : self.at])

    def _data(self, group: int, variation: int, count: int, begin: int) -> bytes:
        size = self._size(group, variation, begin)
        spec = SPECS.get((group, variation))
        return self.take(spec.octets(count) if spec else size * count, "an object")

    def _size(self, group: int, variation: int, begin: int) -> int:
        size = object_size(group, variation)
        if size is None:
            raise MalformedFragmentError(f"unknown object g{group}v{variation}", begin, group, unknown_object=True)
        return size

    def _attribute(self) -> bytes:
        begin = self.at
        _, length = self.take(2, "a device attribute")
        self.take(length, "a device attribute")
        return self.body[begin : self.at]


def _numbers(octets: bytes, width: int, step: int) -> tuple[int, ...]:
    return tuple(int.from_bytes(octets[at : at + width], "little") for at in range(0, len(octets), step))


def parse_headers(body: bytes, function: int) -> list[ObjectHeader]:
    """The object headers of a fragment of this function.

    Raises:
        MalformedFragmentError: octets are missing, a qualifier or an object with content is unknown, a range is none.
    """
    reader = _Reader(body, function)
    headers = []
    while reader.at < len(body):
        headers.append(reader.header())
    return headers


# -- writing ------------------------------------------------------------------------------------------------------


def all_header(group: int, variation: int = 0) -> bytes:
    """Every object of a group (qualifier 0x06)."""
    return bytes((group, variation, ALL))


def count_header(group: int, variation: int, count: int) -> bytes:
    """At most, or exactly, ``count`` objects (qualifiers 0x07 and 0x08)."""
    if count <= 0xFF:
        return bytes((group, variation, 0x07, count))
    return bytes((group, variation, 0x08)) + count.to_bytes(2, "little")


def range_header(group: int, variation: int, start: int, stop: int) -> bytes:
    """The objects from ``start`` to ``stop`` (qualifiers 0x00 and 0x01)."""
    if stop <= 0xFF:
        return bytes((group, variation, 0x00, start, stop))
    return bytes((group, variation, 0x01)) + start.to_bytes(2, "little") + stop.to_bytes(2, "little")


def index_header(group: int, variation: int, count: int, width: int) -> bytes:
    """``count`` objects behind indexes of ``width`` octets (qualifiers 0x17 and 0x28)."""
    return bytes((group, variation, 0x17 if width == 1 else 0x28)) + count.to_bytes(width, "little")


def index_list(group: int, variation: int, indexes: Sequence[int]) -> bytes:
    """Objects named by their indexes, for requests."""
    width = 1 if max(indexes) <= 0xFF and len(indexes) <= 0xFF else 2
    octets = b"".join(index.to_bytes(width, "little") for index in indexes)
    return index_header(group, variation, len(indexes), width) + octets


def static_block(spec: ObjectSpec, start: int, readings: Sequence[Reading]) -> bytes:
    """A run of static objects from index ``start`` on."""
    stop = start + len(readings) - 1
    return range_header(spec.group, spec.variation, start, stop) + spec.pack(readings)


def indexed_block(spec: ObjectSpec, items: Sequence[Item]) -> bytes:
    """Objects behind their indexes, as events are sent."""
    width = 1 if len(items) <= 0xFF and max(item[0] for item in items) <= 0xFF else 2
    return index_header(spec.group, spec.variation, len(items), width) + spec.pack_indexed(items, width)
