"""Modbus TCP without input or output: octets in, requests and responses out, and back."""

from twin.protocols.modbus.blocks import READ_FUNCTION, Block, BlockLimits, plan_blocks
from twin.protocols.modbus.errors import MalformedFrameError, UnencodableValueError
from twin.protocols.modbus.frames import Frame, FrameReader, encode_frame, split_frames
from twin.protocols.modbus.pdu import (
    ExceptionCode,
    ExceptionResponse,
    Function,
    MaskWrite,
    Read,
    ReadIdentification,
    ReadWrite,
    RefusedRequestError,
    Request,
    WriteBits,
    WriteRegisters,
    decode_request,
    decode_response,
    encode_request,
)

__all__ = [
    "READ_FUNCTION",
    "Block",
    "BlockLimits",
    "ExceptionCode",
    "ExceptionResponse",
    "Frame",
    "FrameReader",
    "Function",
    "MalformedFrameError",
    "MaskWrite",
    "Read",
    "ReadIdentification",
    "ReadWrite",
    "RefusedRequestError",
    "Request",
    "UnencodableValueError",
    "WriteBits",
    "WriteRegisters",
    "decode_request",
    "decode_response",
    "encode_frame",
    "encode_request",
    "plan_blocks",
    "split_frames",
]
