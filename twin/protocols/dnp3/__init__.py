"""DNP3 (IEEE 1815-2012) without input or output: bytes in, events out, for both roles.

Data link and transport (``frames``, ``transport``, ``connection``), application fragments and object headers
(``application``, ``headers``), objects (``objects``, ``controls``, ``attributes``), and the way to and from the
neutral point model (``mapping``).
"""

from twin.protocols.dnp3.application import Fragment, Function, Iin, decode_fragment, encode_fragment
from twin.protocols.dnp3.connection import LinkEnd
from twin.protocols.dnp3.controls import AnalogOutput, CommandStatus, Control, Crob, Operation, TripClose
from twin.protocols.dnp3.errors import MalformedFragmentError, UnencodableValueError
from twin.protocols.dnp3.frames import Frame, FrameDecoder, encode_frame
from twin.protocols.dnp3.headers import ObjectHeader, parse_headers
from twin.protocols.dnp3.objects import SPECS, Item, ObjectSpec, Reading
from twin.protocols.dnp3.settings import MAX_ADDRESS, LinkSettings

__all__ = [
    "MAX_ADDRESS",
    "SPECS",
    "AnalogOutput",
    "CommandStatus",
    "Control",
    "Crob",
    "Fragment",
    "Frame",
    "FrameDecoder",
    "Function",
    "Iin",
    "Item",
    "LinkEnd",
    "LinkSettings",
    "MalformedFragmentError",
    "ObjectHeader",
    "ObjectSpec",
    "Operation",
    "Reading",
    "TripClose",
    "UnencodableValueError",
    "decode_fragment",
    "encode_fragment",
    "encode_frame",
    "parse_headers",
]
