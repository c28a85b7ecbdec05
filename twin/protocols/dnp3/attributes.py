"""Device attributes (group 0; IEEE 1815, annex A.1): who the outstation is and what it can."""

from __future__ import annotations

from collections.abc import Mapping

from twin.protocols.dnp3.headers import range_header

TEXT, UNSIGNED, SIGNED, FLOAT, OCTETS, BITS, LIST = 1, 2, 3, 4, 5, 6, 254
Attribute = str | int
NAMES = {
    216: "maximum number of binary outputs in a request",
    220: "number of counters",
    233: "number of analogue outputs",
    229: "number of binary outputs",
    239: "number of binary inputs",
    240: "maximum transmit fragment size",
    241: "maximum receive fragment size",
    242: "software version",
    243: "hardware version",
    245: "user-assigned location",
    246: "user-assigned code",
    247: "user-assigned name",
    248: "serial number",
    249: "DNP3 subset and conformance",
    250: "product name and model",
    252: "manufacturer",
}
"""The attributes that the emulated outstations use, by variation."""
ALL_ATTRIBUTES = 254
ATTRIBUTE_LIST = 255


def attribute_block(variation: int, value: Attribute) -> bytes:
    """One attribute with its header (point 0 of group 0)."""
    return range_header(0, variation, 0, 0) + _content(value)


def _content(value: Attribute) -> bytes:
    if isinstance(value, str):
        octets = value.encode("ascii", "replace")[:255]
        return bytes((TEXT, len(octets))) + octets
    octets = value.to_bytes(max(1, -(-value.bit_length() // 8)), "little")
    return bytes((UNSIGNED, len(octets))) + octets


def list_block(attributes: Mapping[int, Attribute]) -> bytes:
    """The list of attributes (variation 255): pairs of variation and properties, none of them writable."""
    pairs = b"".join(bytes((variation, 0)) for variation in sorted(attributes))
    return range_header(0, ATTRIBUTE_LIST, 0, 0) + bytes((LIST, len(pairs))) + pairs


def read_attribute(octets: bytes) -> Attribute | bytes:
    """The value in the octets of one attribute."""
    kind, length = octets[0], octets[1]
    content = octets[2 : 2 + length]
    if kind == TEXT:
        return content.decode("ascii", "replace")
    if kind == UNSIGNED:
        return int.from_bytes(content, "little")
    return content
