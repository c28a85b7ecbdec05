"""What can go wrong in the DNP3 stack: the peer's octets, or what we asked it to encode."""

from __future__ import annotations

from twin.errors import Blame, TwinError


class MalformedFragmentError(TwinError):
    """The peer sent a fragment that IEEE 1815 does not allow.

    ``offset`` counts from the first octet given, ``octet`` is the one at fault or None where one is missing.
    ``unknown_object`` is set where the fault is an object that we do not know (IIN2.1), not a wrong parameter (IIN2.2).
    """

    blame = Blame.PEER

    def __init__(self, fault: str, offset: int, octet: int | None = None, *, unknown_object: bool = False) -> None:
        self.fault = fault
        self.offset = offset
        self.octet = octet
        self.unknown_object = unknown_object
        shown = "" if octet is None else f" (0x{octet:02x})"
        super().__init__(f"malformed fragment: {fault} at octet {offset}{shown}")


class UnencodableValueError(TwinError):
    """A value of ours does not fit its field on the wire."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        super().__init__(f"{field} cannot carry {value!r}, only {allowed}")
