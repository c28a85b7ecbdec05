"""Application fragments (IEEE 1815, 4.2): control octet, function code, internal indications."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from functools import cache
from typing import NamedTuple

from twin.protocols.dnp3.errors import MalformedFragmentError, UnencodableValueError

_FIR, _FIN, _CON, _UNS, _SEQUENCE = 0x80, 0x40, 0x20, 0x10, 0x0F


class Function(IntEnum):
    """Application function codes (IEEE 1815, 4.4)."""

    CONFIRM = 0
    READ = 1
    WRITE = 2
    SELECT = 3
    OPERATE = 4
    DIRECT_OPERATE = 5
    DIRECT_OPERATE_NR = 6
    FREEZE = 7
    FREEZE_NR = 8
    FREEZE_CLEAR = 9
    FREEZE_CLEAR_NR = 10
    FREEZE_AT_TIME = 11
    FREEZE_AT_TIME_NR = 12
    COLD_RESTART = 13
    WARM_RESTART = 14
    ENABLE_UNSOLICITED = 20
    DISABLE_UNSOLICITED = 21
    ASSIGN_CLASS = 22
    DELAY_MEASURE = 23
    RECORD_CURRENT_TIME = 24
    RESPONSE = 129
    UNSOLICITED = 130


NO_RESPONSE = frozenset(
    {
        Function.CONFIRM,
        Function.DIRECT_OPERATE_NR,
        Function.FREEZE_NR,
        Function.FREEZE_CLEAR_NR,
        Function.FREEZE_AT_TIME_NR,
    }
)
"""Functions that are not answered."""

_WITH_DATA = frozenset(
    {
        Function.WRITE,
        Function.SELECT,
        Function.OPERATE,
        Function.DIRECT_OPERATE,
        Function.DIRECT_OPERATE_NR,
        Function.RESPONSE,
        Function.UNSOLICITED,
    }
)


def carries_data(function: int, group: int) -> bool:
    """Whether the objects of a group have content in fragments of this function; else they are only named."""
    return function in _WITH_DATA or (function in (11, 12) and group == 50)


class Iin(IntFlag):
    """Internal indications, IIN1 in the low octet as on the wire (IEEE 1815, 4.5)."""

    NONE = 0
    BROADCAST = 0x0001
    CLASS_1 = 0x0002
    CLASS_2 = 0x0004
    CLASS_3 = 0x0008
    NEED_TIME = 0x0010
    LOCAL_CONTROL = 0x0020
    DEVICE_TROUBLE = 0x0040
    RESTART = 0x0080
    NO_FUNCTION = 0x0100
    OBJECT_UNKNOWN = 0x0200
    PARAMETER_ERROR = 0x0400
    OVERFLOW = 0x0800
    ALREADY_EXECUTING = 0x1000
    CONFIG_CORRUPT = 0x2000


CLASS_BITS = {1: Iin.CLASS_1, 2: Iin.CLASS_2, 3: Iin.CLASS_3}


@cache
def indications(bits: int) -> Iin:
    """The indications of two octets; as many are kept as there are values in use."""
    return Iin(bits & 0xFFFF)


class Fragment(NamedTuple):
    """One application fragment. ``iin`` is there in responses alone; ``body`` holds the object headers."""

    function: int
    sequence: int
    body: bytes = b""
    iin: Iin | None = None
    first: bool = True
    final: bool = True
    confirm: bool = False
    unsolicited: bool = False


def encode_fragment(fragment: Fragment) -> bytes:
    """The octets of a fragment.

    Raises:
        UnencodableValueError: the sequence number is wider than four bits.
    """
    if not 0 <= fragment.sequence <= _SEQUENCE:
        raise UnencodableValueError("sequence", fragment.sequence, "0 to 15")
    bits = fragment.first * _FIR | fragment.final * _FIN | fragment.confirm * _CON | fragment.unsolicited * _UNS
    head = bytes((bits | fragment.sequence, fragment.function))
    if fragment.iin is None:
        return head + fragment.body
    return head + int(fragment.iin).to_bytes(2, "little") + fragment.body


def decode_fragment(octets: bytes) -> Fragment:
    """The fragment in ``octets``.

    Raises:
        MalformedFragmentError: it is shorter than its header.
    """
    if len(octets) < 2:
        raise MalformedFragmentError("the application header is cut off", len(octets))
    control, function = octets[0], octets[1]
    iin: Iin | None = None
    at = 2
    if function in (Function.RESPONSE, Function.UNSOLICITED):
        if len(octets) < 4:
            raise MalformedFragmentError("the internal indications are cut off", len(octets))
        iin, at = indications(octets[2] | octets[3] << 8), 4
    return Fragment(
        function,
        control & _SEQUENCE,
        octets[at:],
        iin,
        control & _FIR != 0,
        control & _FIN != 0,
        control & _CON != 0,
        control & _UNS != 0,
    )
