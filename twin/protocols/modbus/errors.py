"""What can be wrong with octets of a Modbus connection, and with values that are to become octets."""

from __future__ import annotations

from twin.errors import Blame, TwinError


class MalformedFrameError(TwinError):
    """Octets that no Modbus TCP peer may send; ``offset`` counts from the start of the frame."""

    blame = Blame.PEER

    def __init__(self, fault: str, offset: int, octet: int | None = None) -> None:
        self.fault, self.offset, self.octet = fault, offset, octet
        at = f" at octet {offset}" + ("" if octet is None else f" (0x{octet:02X})")
        super().__init__(f"malformed Modbus frame: {fault}{at}")


class UnencodableValueError(TwinError):
    """A value that does not fit where it is to go."""

    def __init__(self, what: str, value: float, allowed: str) -> None:
        self.what, self.value, self.allowed = what, value, allowed
        super().__init__(f"{value} is no {what}: {allowed}")
