"""What can go wrong in the IEC 60870-5-104 stack: the peer's octets, or what we asked it to encode."""

from __future__ import annotations

from twin.errors import Blame, TwinError


class MalformedFrameError(TwinError):
    """The peer sent octets that the standard does not allow; the connection cannot go on.

    ``offset`` counts from the start octet of the frame (from the first octet given, for a lone ASDU),
    ``octet`` is the one at fault, or None where an octet is missing.
    """

    blame = Blame.PEER

    def __init__(self, fault: str, offset: int, octet: int | None = None) -> None:
        self.fault = fault
        self.offset = offset
        self.octet = octet
        shown = "" if octet is None else f" (0x{octet:02x})"
        super().__init__(f"malformed frame: {fault} at octet {offset}{shown}")


class UnencodableValueError(TwinError):
    """A value of ours does not fit its field on the wire."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        super().__init__(f"{field} cannot carry {value!r}, only {allowed}")


class TransferNotStartedError(TwinError):
    """An ASDU was to be sent while data transfer is stopped."""

    def __init__(self, state: str) -> None:
        self.state = state
        super().__init__(f"no data transfer in state {state}: an ASDU cannot be sent")
