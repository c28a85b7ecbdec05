"""Byte streams between the control room and the field in lockstep: real sockets, simulated time."""

from twin.transport.channel import (
    BARRIER_LIMIT_S,
    NOT_URGENT_MS,
    BarrierTimeoutError,
    Handover,
    LockstepChannel,
    Segment,
)
from twin.transport.relay import Relay, RelayConditions
from twin.transport.sockets import ConnectionFailedError, IoThread, Listener, ListenError, SocketWire, TcpEndpoint
from twin.transport.telecontrol import Condition, Cut, TelecontrolPath
from twin.transport.timing import Timetable
from twin.transport.wire import Acceptor, Endpoint, MemoryListener, MemoryWire, Wire, WireClosedError, memory_pair

__all__ = [
    "BARRIER_LIMIT_S",
    "NOT_URGENT_MS",
    "Acceptor",
    "BarrierTimeoutError",
    "Condition",
    "ConnectionFailedError",
    "Cut",
    "Endpoint",
    "Handover",
    "IoThread",
    "ListenError",
    "Listener",
    "LockstepChannel",
    "MemoryListener",
    "MemoryWire",
    "Relay",
    "RelayConditions",
    "Segment",
    "SocketWire",
    "TcpEndpoint",
    "TelecontrolPath",
    "Timetable",
    "Wire",
    "WireClosedError",
    "memory_pair",
]
