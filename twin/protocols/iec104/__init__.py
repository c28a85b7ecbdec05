"""IEC 60870-5-104 without input or output: frames, connection, ASDU codec, and the mapping onto points.

Start at :class:`Connection`; ``docs/protocols/iec104.md`` lists what is supported.
"""

from twin.protocols.iec104.asdu import (
    Asdu,
    InformationObject,
    capacity,
    decode_asdu,
    encode_asdu,
    in_order,
    mirrored,
    packed,
)
from twin.protocols.iec104.causes import BROADCAST_COMMON_ADDRESS, STATION_INTERROGATION, TEST_PATTERN, Cause
from twin.protocols.iec104.connection import (
    AsduReceived,
    Connection,
    ConnectionClosed,
    Event,
    Role,
    TransferStarted,
    TransferState,
    TransferStopped,
)
from twin.protocols.iec104.errors import MalformedFrameError, TransferNotStartedError, UnencodableValueError
from twin.protocols.iec104.settings import ConnectionSettings
from twin.protocols.iec104.timetag import TimeTag
from twin.protocols.iec104.types import TYPES, Direction, TypeId, TypeSpec, plain_type, tagged_type

__all__ = [
    "BROADCAST_COMMON_ADDRESS",
    "STATION_INTERROGATION",
    "TEST_PATTERN",
    "TYPES",
    "Asdu",
    "AsduReceived",
    "Cause",
    "Connection",
    "ConnectionClosed",
    "ConnectionSettings",
    "Direction",
    "Event",
    "InformationObject",
    "MalformedFrameError",
    "Role",
    "TimeTag",
    "TransferNotStartedError",
    "TransferStarted",
    "TransferState",
    "TransferStopped",
    "TypeId",
    "TypeSpec",
    "UnencodableValueError",
    "capacity",
    "decode_asdu",
    "encode_asdu",
    "in_order",
    "mirrored",
    "packed",
    "plain_type",
    "tagged_type",
]
