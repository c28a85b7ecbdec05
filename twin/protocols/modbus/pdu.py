"""Protocol data units: requests and responses of the function codes that are supported, as values.

MODBUS application protocol V1.1b3, clause 6. Lengths, counts and byte counts are checked in both directions: what
does not fit exactly is refused, never cut. A request that is well-formed but asks too much has its exception code.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from twin.errors import Blame, TwinError
from twin.protocols.modbus.errors import MalformedFrameError


class Function(IntEnum):
    """Function codes."""

    READ_COILS = 1
    READ_DISCRETE_INPUTS = 2
    READ_HOLDING_REGISTERS = 3
    READ_INPUT_REGISTERS = 4
    WRITE_SINGLE_COIL = 5
    WRITE_SINGLE_REGISTER = 6
    WRITE_MULTIPLE_COILS = 15
    WRITE_MULTIPLE_REGISTERS = 16
    MASK_WRITE_REGISTER = 22
    READ_WRITE_MULTIPLE_REGISTERS = 23
    READ_DEVICE_IDENTIFICATION = 43


class ExceptionCode(IntEnum):
    """Exception codes (clause 7)."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_DATA_ADDRESS = 2
    ILLEGAL_DATA_VALUE = 3
    SERVER_DEVICE_FAILURE = 4
    ACKNOWLEDGE = 5
    SERVER_DEVICE_BUSY = 6
    MEMORY_PARITY_ERROR = 8
    GATEWAY_PATH_UNAVAILABLE = 10
    GATEWAY_TARGET_FAILED_TO_RESPOND = 11

    @property
    def text(self) -> str:
        """For people."""
        return self.name.lower().replace("_", " ")


READ_BITS = (Function.READ_COILS, Function.READ_DISCRETE_INPUTS)
READ_REGISTERS = (Function.READ_HOLDING_REGISTERS, Function.READ_INPUT_REGISTERS)
MAX_READ_BITS = 2_000
MAX_READ_REGISTERS = 125
MAX_WRITE_BITS = 1_968
MAX_WRITE_REGISTERS = 123
MAX_READ_WRITE_REGISTERS = 121
COIL_ON, COIL_OFF = 0xFF00, 0x0000
_ERROR = 0x80
_MEI_DEVICE_IDENTIFICATION = 14


class RefusedRequestError(TwinError):
    """A request that is answered by an exception; ``code`` goes back to the peer."""

    blame = Blame.PEER

    def __init__(self, function: int, code: ExceptionCode) -> None:
        self.function, self.code = function, code
        super().__init__(f"function {function}: {code.text}")


@dataclass(frozen=True, slots=True)
class Read:
    """Functions 1 to 4."""

    function: Function
    address: int
    count: int


@dataclass(frozen=True, slots=True)
class WriteBits:
    """Functions 5 (``single``, one value) and 15."""

    address: int
    values: tuple[bool, ...]
    single: bool = False


@dataclass(frozen=True, slots=True)
class WriteRegisters:
    """Functions 6 (``single``, one register) and 16; ``octets`` are two a register, as on the wire."""

    address: int
    octets: bytes
    single: bool = False


@dataclass(frozen=True, slots=True)
class MaskWrite:
    """Function 22: register = (register AND ``and_mask``) OR (``or_mask`` AND NOT ``and_mask``)."""

    address: int
    and_mask: int
    or_mask: int


@dataclass(frozen=True, slots=True)
class ReadWrite:
    """Function 23: writes first, then reads."""

    address: int
    count: int
    write_address: int
    octets: bytes


@dataclass(frozen=True, slots=True)
class ReadIdentification:
    """Function 43 / 14, device identification: ``code`` 1 basic, 4 one object from ``object_id``."""

    code: int
    object_id: int


Request = Read | WriteBits | WriteRegisters | MaskWrite | ReadWrite | ReadIdentification


# -- bits ---------------------------------------------------------------------------------------------------------


def pack_bits(values: bytes | tuple[bool, ...]) -> bytes:
    """One octet for each eight values (0 or 1), the first in the least significant bit."""
    text = bytes(values)[::-1].translate(_ASCII) or b"0"
    return int(text, 2).to_bytes((len(values) + 7) // 8, "little")


def unpack_bits(octets: bytes, count: int) -> bytes:
    """``count`` values, one octet (0 or 1) each."""
    text = bin(int.from_bytes(octets, "little") | 1 << len(octets) * 8)[3:]
    return text[::-1][:count].encode().translate(_DIGITS)


_DIGITS = bytes(int(i == ord("1")) for i in range(256))
_ASCII = bytes(ord("1") if i else ord("0") for i in range(256))


# -- requests -----------------------------------------------------------------------------------------------------


def encode_request(request: Request) -> bytes:
    """The PDU of a request."""
    match request:
        case Read(function, address, count):
            return struct.pack(">BHH", function, address, count)
        case WriteBits(address, values, single=True):
            return struct.pack(">BHH", Function.WRITE_SINGLE_COIL, address, COIL_ON if values[0] else COIL_OFF)
        case WriteBits(address, values):
            octets = pack_bits(values)
            head = struct.pack(">BHHB", Function.WRITE_MULTIPLE_COILS, address, len(values), len(octets))
            return head + octets
        case WriteRegisters(address, octets, single=True):
            return struct.pack(">BH", Function.WRITE_SINGLE_REGISTER, address) + octets
        case WriteRegisters(address, octets):
            n = len(octets)
            return struct.pack(">BHHB", Function.WRITE_MULTIPLE_REGISTERS, address, n // 2, n) + octets
        case MaskWrite(address, and_mask, or_mask):
            return struct.pack(">BHHH", Function.MASK_WRITE_REGISTER, address, and_mask, or_mask)
        case ReadWrite(address, count, write_address, octets):
            n, code = len(octets), Function.READ_WRITE_MULTIPLE_REGISTERS
            return struct.pack(">BHHHHB", code, address, count, write_address, n // 2, n) + octets
        case ReadIdentification(code, object_id):
            return bytes((Function.READ_DEVICE_IDENTIFICATION, _MEI_DEVICE_IDENTIFICATION, code, object_id))


def decode_request(pdu: bytes) -> Request:
    """The request in a PDU.

    Raises:
        RefusedRequestError: the function is not supported, or counts contradict each other or exceed the limits.
    """
    decode = _REQUESTS.get(pdu[0])
    if decode is None:
        raise RefusedRequestError(pdu[0], ExceptionCode.ILLEGAL_FUNCTION)
    return decode(pdu)


def _refuse_unless(holds: bool, pdu: bytes, code: ExceptionCode = ExceptionCode.ILLEGAL_DATA_VALUE) -> None:
    if not holds:
        raise RefusedRequestError(pdu[0], code)


def _in_range(address: int, count: int, pdu: bytes) -> None:
    _refuse_unless(address + count <= 0x1_0000, pdu, ExceptionCode.ILLEGAL_DATA_ADDRESS)


def _read(pdu: bytes) -> Read:
    _refuse_unless(len(pdu) == 5, pdu)
    function, address, count = struct.unpack(">BHH", pdu)
    _refuse_unless(1 <= count <= (MAX_READ_BITS if function in READ_BITS else MAX_READ_REGISTERS), pdu)
    _in_range(address, count, pdu)
    return Read(Function(function), address, count)


def _write_coil(pdu: bytes) -> WriteBits:
    _refuse_unless(len(pdu) == 5, pdu)
    _, address, value = struct.unpack(">BHH", pdu)
    _refuse_unless(value in (COIL_ON, COIL_OFF), pdu)
    return WriteBits(address, (value == COIL_ON,), single=True)


def _write_register(pdu: bytes) -> WriteRegisters:
    _refuse_unless(len(pdu) == 5, pdu)
    return WriteRegisters(int.from_bytes(pdu[1:3], "big"), pdu[3:5], single=True)


def _write_coils(pdu: bytes) -> WriteBits:
    _refuse_unless(len(pdu) >= 6, pdu)
    _, address, count, size = struct.unpack_from(">BHHB", pdu)
    _refuse_unless(1 <= count <= MAX_WRITE_BITS and size == (count + 7) // 8 == len(pdu) - 6, pdu)
    _in_range(address, count, pdu)
    return WriteBits(address, tuple(map(bool, unpack_bits(pdu[6:], count))))


def _write_registers(pdu: bytes) -> WriteRegisters:
    _refuse_unless(len(pdu) >= 6, pdu)
    _, address, count, size = struct.unpack_from(">BHHB", pdu)
    _refuse_unless(1 <= count <= MAX_WRITE_REGISTERS and size == 2 * count == len(pdu) - 6, pdu)
    _in_range(address, count, pdu)
    return WriteRegisters(address, pdu[6:])


def _mask_write(pdu: bytes) -> MaskWrite:
    _refuse_unless(len(pdu) == 7, pdu)
    return MaskWrite(*struct.unpack_from(">HHH", pdu, 1))


def _read_write(pdu: bytes) -> ReadWrite:
    _refuse_unless(len(pdu) >= 10, pdu)
    _, address, count, write_address, write_count, size = struct.unpack_from(">BHHHHB", pdu)
    _refuse_unless(1 <= count <= MAX_READ_REGISTERS and 1 <= write_count <= MAX_READ_WRITE_REGISTERS, pdu)
    _refuse_unless(size == 2 * write_count == len(pdu) - 10, pdu)
    _in_range(address, count, pdu)
    _in_range(write_address, write_count, pdu)
    return ReadWrite(address, count, write_address, pdu[10:])


def _read_identification(pdu: bytes) -> ReadIdentification:
    _refuse_unless(len(pdu) >= 2 and pdu[1] == _MEI_DEVICE_IDENTIFICATION, pdu, ExceptionCode.ILLEGAL_FUNCTION)
    _refuse_unless(len(pdu) == 4 and 1 <= pdu[2] <= 4, pdu)
    return ReadIdentification(pdu[2], pdu[3])


_REQUESTS: Mapping[int, Callable[[bytes], Request]] = {
    Function.READ_COILS: _read,
    Function.READ_DISCRETE_INPUTS: _read,
    Function.READ_HOLDING_REGISTERS: _read,
    Function.READ_INPUT_REGISTERS: _read,
    Function.WRITE_SINGLE_COIL: _write_coil,
    Function.WRITE_SINGLE_REGISTER: _write_register,
    Function.WRITE_MULTIPLE_COILS: _write_coils,
    Function.WRITE_MULTIPLE_REGISTERS: _write_registers,
    Function.MASK_WRITE_REGISTER: _mask_write,
    Function.READ_WRITE_MULTIPLE_REGISTERS: _read_write,
    Function.READ_DEVICE_IDENTIFICATION: _read_identification,
}


# -- responses ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExceptionResponse:
    """A refusal; ``code`` is as on the wire, also where the standard has no such code."""

    function: int
    code: int


def exception_pdu(function: int, code: int) -> bytes:
    """The PDU of a refusal."""
    return bytes((function | _ERROR, code))


def read_bits_pdu(function: Function, bits: bytes) -> bytes:
    """The answer of functions 1 and 2; ``bits`` holds one octet (0 or 1) for each."""
    octets = pack_bits(bits)
    return bytes((function, len(octets))) + octets


def read_registers_pdu(function: Function, octets: bytes) -> bytes:
    """The answer of functions 3, 4 and 23."""
    return bytes((function, len(octets))) + octets


def write_pdu(request: WriteBits | WriteRegisters | MaskWrite, pdu: bytes) -> bytes:
    """The answer to a write whose PDU was ``pdu``."""
    return pdu if isinstance(request, MaskWrite) or request.single else pdu[:5]


def identification_pdu(request: ReadIdentification, objects: tuple[bytes, ...]) -> bytes:
    """The answer of function 43/14 with basic conformity (individual access too).

    Raises:
        RefusedRequestError: the object asked for does not exist.
    """
    first = request.object_id
    if request.code == 4:
        if first >= len(objects):
            raise RefusedRequestError(Function.READ_DEVICE_IDENTIFICATION, ExceptionCode.ILLEGAL_DATA_ADDRESS)
        chosen = [first]
    else:
        chosen = list(range(first if first < len(objects) else 0, len(objects)))
    head = bytes((Function.READ_DEVICE_IDENTIFICATION, _MEI_DEVICE_IDENTIFICATION, request.code, 0x81, 0, 0))
    body = b"".join(bytes((i, len(objects[i]))) + objects[i] for i in chosen)
    return head + bytes((len(chosen),)) + body


def decode_response(pdu: bytes, request: Request) -> bytes | ExceptionResponse:
    """What a response says: one octet (0 or 1) a bit, two octets a register, or nothing for a write.

    Raises:
        MalformedFrameError: it is no answer to ``request``.
    """
    sent = encode_request(request)
    if pdu[0] == sent[0] | _ERROR:
        _require(len(pdu) == 2, "an exception has one octet", len(pdu))
        return ExceptionResponse(sent[0], pdu[1])
    _require(pdu[0] == sent[0], f"an answer to function {sent[0]} was expected", 0, pdu[0])
    if isinstance(request, Read | ReadWrite):
        return _read_data(pdu, request)
    if isinstance(request, ReadIdentification):
        _require(len(pdu) >= 7, "the answer is cut off", len(pdu))
        return pdu[6:]
    _require(pdu == write_pdu(request, sent), "the answer does not repeat the request", 1)
    return b""


def _read_data(pdu: bytes, request: Read | ReadWrite) -> bytes:
    bits = isinstance(request, Read) and request.function in READ_BITS
    size = (request.count + 7) // 8 if bits else 2 * request.count
    _require(len(pdu) == 2 + size and pdu[1] == size, f"{size} octets of data were expected", 1)
    return unpack_bits(pdu[2:], request.count) if bits else pdu[2:]


def _require(holds: bool, fault: str, offset: int, octet: int | None = None) -> None:
    if not holds:
        raise MalformedFrameError(fault, offset, octet)
