"""One IEC 60870-5-104 connection without I/O, for either role: octets in, events out.

Knows frames, sequence numbers, the window and the time-outs; knows no point and no command. What the
state machine allows is one table; what is absent from it is refused and ends the connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from twin.protocols.iec104.apci import (
    APCI_OCTETS,
    SEQUENCE_MODULUS,
    Frame,
    FrameReader,
    IFrame,
    SFrame,
    UFunction,
    encode_i_frame,
    encode_s_frame,
    encode_u_frame,
)
from twin.protocols.iec104.asdu import Asdu, decode_asdu, encode_asdu
from twin.protocols.iec104.errors import MalformedFrameError, TransferNotStartedError
from twin.protocols.iec104.settings import ConnectionSettings
from twin.timebase import NEVER, SimTime


class Role(Enum):
    """Which side of the connection this is."""

    CONTROLLING = "controlling"
    CONTROLLED = "controlled"


class TransferState(Enum):
    """States of the start and stop procedure (IEC 60870-5-104, 5.3), and the end of the connection."""

    STOPPED = "stopped"
    PENDING_STARTED = "pending started"
    STARTED = "started"
    PENDING_UNCONFIRMED_STOPPED = "pending unconfirmed stopped"
    PENDING_STOPPED = "pending stopped"
    CLOSED = "closed"


class Input(Enum):
    """What moves the state machine: frames of the peer, orders of the user, and the last acknowledgement."""

    START = "start order"
    STOP = "stop order"
    ALL_ACKNOWLEDGED = "all acknowledged"
    I_FRAME = "I frame"
    S_FRAME = "S frame"
    STARTDT_ACT = "STARTDT act"
    STARTDT_CON = "STARTDT con"
    STOPDT_ACT = "STOPDT act"
    STOPDT_CON = "STOPDT con"


_S = TransferState
_BOTH: dict[tuple[TransferState, Input], TransferState] = {
    (_S.STOPPED, Input.S_FRAME): _S.STOPPED,
    (_S.STARTED, Input.I_FRAME): _S.STARTED,
    (_S.STARTED, Input.S_FRAME): _S.STARTED,
    (_S.STARTED, Input.ALL_ACKNOWLEDGED): _S.STARTED,
    (_S.PENDING_UNCONFIRMED_STOPPED, Input.S_FRAME): _S.PENDING_UNCONFIRMED_STOPPED,
}
TRANSITIONS: dict[Role, dict[tuple[TransferState, Input], TransferState]] = {
    Role.CONTROLLED: {
        **_BOTH,
        (_S.STOPPED, Input.STARTDT_ACT): _S.STARTED,
        (_S.STOPPED, Input.STOPDT_ACT): _S.PENDING_UNCONFIRMED_STOPPED,
        (_S.STARTED, Input.STARTDT_ACT): _S.STARTED,
        (_S.STARTED, Input.STOPDT_ACT): _S.PENDING_UNCONFIRMED_STOPPED,
        (_S.PENDING_UNCONFIRMED_STOPPED, Input.ALL_ACKNOWLEDGED): _S.STOPPED,
    },
    Role.CONTROLLING: {
        **_BOTH,
        (_S.STOPPED, Input.START): _S.PENDING_STARTED,
        (_S.PENDING_STARTED, Input.STARTDT_CON): _S.STARTED,
        (_S.PENDING_STARTED, Input.S_FRAME): _S.PENDING_STARTED,
        (_S.STARTED, Input.STOP): _S.PENDING_UNCONFIRMED_STOPPED,
        (_S.PENDING_UNCONFIRMED_STOPPED, Input.I_FRAME): _S.PENDING_UNCONFIRMED_STOPPED,
        (_S.PENDING_UNCONFIRMED_STOPPED, Input.ALL_ACKNOWLEDGED): _S.PENDING_STOPPED,
        (_S.PENDING_UNCONFIRMED_STOPPED, Input.STOPDT_CON): _S.STOPPED,
        (_S.PENDING_STOPPED, Input.I_FRAME): _S.PENDING_STOPPED,
        (_S.PENDING_STOPPED, Input.S_FRAME): _S.PENDING_STOPPED,
        (_S.PENDING_STOPPED, Input.STOPDT_CON): _S.STOPPED,
    },
}
"""The state machine. TESTFR is allowed in every state and changes none."""


@dataclass(frozen=True, slots=True)
class TransferStarted:
    """Data transfer is on: ASDUs may be sent."""


@dataclass(frozen=True, slots=True)
class TransferStopped:
    """Data transfer is off; ``unsent`` holds the ASDUs that the window kept back and that are dropped here."""

    unsent: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class AsduReceived:
    """The peer sent an ASDU."""

    asdu: Asdu


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The connection must be closed; ``error`` is set where the peer's octets are at fault."""

    reason: str
    error: MalformedFrameError | None = None


Event = TransferStarted | TransferStopped | AsduReceived | ConnectionClosed


class Connection:
    """One connection from TCP connect to TCP close.

    Feed :meth:`receive` and :meth:`tick`, act on the events they return, and carry :meth:`data_to_send`
    away after each call. After ``ConnectionClosed`` nothing is sent or received any more.
    """

    def __init__(self, role: Role, settings: ConnectionSettings, now: SimTime) -> None:
        self.role = role
        self.settings = settings
        self.state = TransferState.STOPPED
        self._reader = FrameReader()
        self._out = bytearray()
        self._queue: deque[bytes] = deque()
        self._unacknowledged: deque[tuple[SimTime, bytes]] = deque()
        self._send_sequence = 0
        self._receive_sequence = 0
        self._received_unacknowledged = 0
        self._acknowledge_at = NEVER
        self._test_at = now + settings.t3_ms
        self._confirmations: dict[UFunction, SimTime] = {}

    # what the user does

    def start(self, now: SimTime) -> None:
        """Controlling side: ask for data transfer."""
        self._order(Input.START, UFunction.STARTDT_ACT, UFunction.STARTDT_CON, now)

    def stop(self, now: SimTime) -> None:
        """Controlling side: ask to end data transfer; what was received is acknowledged first."""
        self._acknowledge()
        self._order(Input.STOP, UFunction.STOPDT_ACT, UFunction.STOPDT_CON, now)
        if not self._unacknowledged:
            self._move(Input.ALL_ACKNOWLEDGED)

    def send(self, asdu: Asdu, now: SimTime) -> None:
        """Send an ASDU, or queue it behind the window of k unacknowledged ones.

        Raises:
            TransferNotStartedError: data transfer is off.
            UnencodableValueError: the ASDU cannot be encoded.
        """
        self.send_octets(encode_asdu(asdu), now)

    def send_octets(self, asdu: bytes, now: SimTime) -> None:
        """As :meth:`send`, for an ASDU that is encoded already.

        Raises:
            TransferNotStartedError: data transfer is off.
        """
        if self.state is not TransferState.STARTED:
            raise TransferNotStartedError(self.state.value)
        self._queue.append(asdu)
        self._fill_window(now)

    def deactivate(self) -> tuple[bytes, ...]:
        """Controlled side: stop data transfer because another connection of the redundancy group has started it.

        Nothing is sent. What the peer has not acknowledged is returned, oldest first, and still supervised by t1.
        """
        unconfirmed = self.unconfirmed
        self._queue.clear()
        if self.state in (TransferState.STARTED, TransferState.PENDING_UNCONFIRMED_STOPPED):
            self._acknowledge()
            self.state = TransferState.STOPPED
        return unconfirmed

    def data_to_send(self) -> bytes:
        """The octets to write now, once."""
        if not self._out:
            return b""
        data = bytes(self._out)
        self._out.clear()
        return data

    @property
    def queued(self) -> int:
        """How many ASDUs wait behind the window."""
        return len(self._queue)

    @property
    def unconfirmed_count(self) -> int:
        """How many ASDUs the peer has not acknowledged, sent and queued."""
        return len(self._unacknowledged) + len(self._queue)

    @property
    def window_open(self) -> bool:
        """Whether an ASDU handed over now leaves at once."""
        return not self._queue and len(self._unacknowledged) < self.settings.k

    @property
    def unconfirmed(self) -> tuple[bytes, ...]:
        """ASDUs the peer has not acknowledged, oldest first: sent, then queued."""
        return (*(asdu for _, asdu in self._unacknowledged), *self._queue)

    # what the peer does

    def receive(self, data: bytes, now: SimTime) -> list[Event]:
        """Take octets of the peer, in pieces of any size."""
        events: list[Event] = []
        if self.state is TransferState.CLOSED:
            return events
        self._reader.feed(data)
        try:
            while (frame := self._reader.next_frame()) is not None:
                self._test_at = now + self.settings.t3_ms
                self._handle(frame, now, events)
        except MalformedFrameError as error:
            events.append(self._close(str(error), error))
        return events

    def _handle(self, frame: Frame, now: SimTime, events: list[Event]) -> None:
        if isinstance(frame, IFrame):
            self._handle_i_frame(frame, now, events)
        elif isinstance(frame, SFrame):
            self._expect(Input.S_FRAME)
            self._take_acknowledgement(frame.receive_sequence, now, events)
        else:
            self._handle_function(frame.function, now, events)

    def _handle_i_frame(self, frame: IFrame, now: SimTime, events: list[Event]) -> None:
        self._expect(Input.I_FRAME)
        if frame.send_sequence != self._receive_sequence:
            fault = f"send sequence number {frame.send_sequence} instead of {self._receive_sequence}"
            raise MalformedFrameError(fault, 2, frame.octets[2])
        self._take_acknowledgement(frame.receive_sequence, now, events)
        asdu = decode_asdu(frame.octets, APCI_OCTETS)
        self._receive_sequence = (self._receive_sequence + 1) % SEQUENCE_MODULUS
        self._received_unacknowledged += 1
        self._acknowledge_at = min(self._acknowledge_at, now + self.settings.t2_ms)
        if self._received_unacknowledged >= self.settings.w or self.state is not TransferState.STARTED:
            self._acknowledge()
        events.append(AsduReceived(asdu))

    def _take_acknowledgement(self, receive_sequence: int, now: SimTime, events: list[Event]) -> None:
        in_flight = len(self._unacknowledged)
        oldest = (self._send_sequence - in_flight) % SEQUENCE_MODULUS
        acknowledged = (receive_sequence - oldest) % SEQUENCE_MODULUS
        if acknowledged > in_flight:
            fault = f"receive sequence number {receive_sequence} acknowledges what was never sent"
            raise MalformedFrameError(fault, 4, receive_sequence << 1 & 0xFF)
        for _ in range(acknowledged):
            self._unacknowledged.popleft()
        self._fill_window(now)
        if not self._unacknowledged and self.state is TransferState.PENDING_UNCONFIRMED_STOPPED:
            self._all_acknowledged(events)

    def _all_acknowledged(self, events: list[Event]) -> None:
        self._move(Input.ALL_ACKNOWLEDGED)
        if self.state is TransferState.STOPPED:
            self._write(encode_u_frame(UFunction.STOPDT_CON))
            events.append(self._stopped())

    def _handle_function(self, function: UFunction, now: SimTime, events: list[Event]) -> None:
        if function is UFunction.TESTFR_ACT:
            self._write(encode_u_frame(UFunction.TESTFR_CON))
            return
        self._confirmations.pop(function, None)
        if function is UFunction.TESTFR_CON:
            return
        was = self.state
        self._move(Input[function.name])
        if function is UFunction.STARTDT_ACT:
            self._write(encode_u_frame(UFunction.STARTDT_CON))
        if self.state is TransferState.STARTED and was is not TransferState.STARTED:
            events.append(TransferStarted())
        if function is UFunction.STOPDT_ACT:
            self._acknowledge()
            if not self._unacknowledged:
                self._all_acknowledged(events)
        if function is UFunction.STOPDT_CON:
            self._acknowledge()
            events.append(self._stopped())

    def _stopped(self) -> TransferStopped:
        unsent = tuple(self._queue)
        self._queue.clear()
        return TransferStopped(unsent)

    # what time does

    def tick(self, now: SimTime) -> list[Event]:
        """Run every time-out due by ``now``."""
        if self.state is TransferState.CLOSED:
            return []
        if (expired := self._expired(now)) is not None:
            return [self._close(f"t1 expired: {expired} not acknowledged within {self.settings.t1_ms} ms")]
        if self._acknowledge_at <= now:
            self._acknowledge()
        if self._test_at <= now:
            self._test_at = now + self.settings.t3_ms
            self._write(encode_u_frame(UFunction.TESTFR_ACT))
            self._confirmations.setdefault(UFunction.TESTFR_CON, now + self.settings.t1_ms)
        return []

    def next_timer(self) -> SimTime:
        """When :meth:`tick` is needed next; ``NEVER`` once closed."""
        if self.state is TransferState.CLOSED:
            return NEVER
        return min(self._acknowledge_at, self._test_at, self._i_frame_deadline(), *self._confirmations.values())

    def _i_frame_deadline(self) -> SimTime:
        return self._unacknowledged[0][0] + self.settings.t1_ms if self._unacknowledged else NEVER

    def _expired(self, now: SimTime) -> str | None:
        for function, deadline in self._confirmations.items():
            if deadline <= now:
                return function.name.replace("_CON", " act")
        return "I frame" if self._i_frame_deadline() <= now else None

    # inside

    def _order(self, order: Input, act: UFunction, con: UFunction, now: SimTime) -> None:
        if (self.state, order) not in TRANSITIONS[self.role]:
            raise TransferNotStartedError(self.state.value)
        self._move(order)
        self._write(encode_u_frame(act))
        self._confirmations[con] = now + self.settings.t1_ms

    def _expect(self, arrived: Input) -> TransferState:
        target = TRANSITIONS[self.role].get((self.state, arrived))
        if target is None:
            raise MalformedFrameError(f"{arrived.value} in state {self.state.value} of the {self.role.value} side", 2)
        return target

    def _move(self, arrived: Input) -> None:
        self.state = self._expect(arrived)

    def _fill_window(self, now: SimTime) -> None:
        if self.state is not TransferState.STARTED:
            return
        while self._queue and len(self._unacknowledged) < self.settings.k:
            asdu = self._queue.popleft()
            self._write(encode_i_frame(self._send_sequence, self._receive_sequence, asdu))
            self._acknowledged()
            self._unacknowledged.append((now, asdu))
            self._send_sequence = (self._send_sequence + 1) % SEQUENCE_MODULUS

    def _acknowledge(self) -> None:
        if self._received_unacknowledged:
            self._write(encode_s_frame(self._receive_sequence))
            self._acknowledged()

    def _acknowledged(self) -> None:
        self._received_unacknowledged = 0
        self._acknowledge_at = NEVER

    def _write(self, frame: bytes) -> None:
        self._out += frame

    def _close(self, reason: str, error: MalformedFrameError | None = None) -> ConnectionClosed:
        self.state = TransferState.CLOSED
        self._out.clear()
        return ConnectionClosed(reason, error)

    # state as data

    def snapshot(self) -> dict[str, Any]:
        """Everything that :meth:`restore` needs, as JSON-able values; times are simulation times."""
        return {
            "state": self.state.value,
            "pending": self._reader.pending.hex(),
            "out": self._out.hex(),
            "queue": [asdu.hex() for asdu in self._queue],
            "unacknowledged": [[sent_at, asdu.hex()] for sent_at, asdu in self._unacknowledged],
            "send_sequence": self._send_sequence,
            "receive_sequence": self._receive_sequence,
            "received_unacknowledged": self._received_unacknowledged,
            "acknowledge_at": self._acknowledge_at,
            "test_at": self._test_at,
            "confirmations": {function.name: deadline for function, deadline in self._confirmations.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`snapshot` was taken; role and settings are those of this object."""
        self.state = TransferState(state["state"])
        self._reader = FrameReader()
        self._reader.feed(bytes.fromhex(state["pending"]))
        self._out = bytearray.fromhex(state["out"])
        self._queue = deque(bytes.fromhex(asdu) for asdu in state["queue"])
        self._unacknowledged = deque((sent_at, bytes.fromhex(asdu)) for sent_at, asdu in state["unacknowledged"])
        self._send_sequence = state["send_sequence"]
        self._receive_sequence = state["receive_sequence"]
        self._received_unacknowledged = state["received_unacknowledged"]
        self._acknowledge_at = state["acknowledge_at"]
        self._test_at = state["test_at"]
        self._confirmations = {UFunction[name]: deadline for name, deadline in state["confirmations"].items()}
