"""An emulated Modbus TCP station, or a gateway with several units behind it.

It answers and never speaks first: it has no events, no time and no quality. A write that means a command goes to the
device behind the station; what the device refuses is answered with an exception. There is no termination of a command
and no select: the control room sees the outcome in what it reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from twin.outstations.modbus_image import RegisterImage
from twin.outstations.model import CommandHandler, StationCommand
from twin.points.modbus import DataType, ModbusAddress, Table
from twin.points.modbus_layout import with_places
from twin.points.model import PointDefinition, PointKind, Sample
from twin.protocols.modbus.errors import MalformedFrameError
from twin.protocols.modbus.frames import Frame, FrameReader, encode_frame
from twin.protocols.modbus.pdu import (
    READ_BITS,
    ExceptionCode,
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
    exception_pdu,
    identification_pdu,
    read_bits_pdu,
    read_registers_pdu,
    write_pdu,
)
from twin.protocols.modbus.values import bits_inside, value_of_bits, value_of_registers, with_bits
from twin.timebase import NEVER, SimTime


class ModbusStationSettings(BaseModel):
    """What is set at a station."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vendor: str = Field(default="Distribution Twin", description="vendor name in the device identification")
    product: str = Field(default="Emulated station", description="product code in the device identification")
    revision: str = Field(default="1.0", description="revision in the device identification")


class ModbusOutstationSession:
    """The controlled side of one connection."""

    def __init__(self, outstation: ModbusOutstation) -> None:
        self.outstation = outstation
        self._reader = FrameReader()
        self._outbox = bytearray()
        self._close_reason = ""

    @property
    def close_reason(self) -> str:
        return self._close_reason

    def receive(self, payload: bytes, now: SimTime) -> None:
        try:
            frames = self._reader.feed(payload)
        except MalformedFrameError as error:
            self._close_reason = str(error)
            return
        for frame in frames:
            answer = self.outstation.answer(frame, now)
            self._outbox += encode_frame(Frame(frame.transaction, frame.unit, answer))

    def tick(self, now: SimTime) -> None:
        """There are no timers."""

    def next_timer(self) -> SimTime:
        return NEVER

    def payload_to_send(self) -> bytes:
        sent = bytes(self._outbox)
        self._outbox.clear()
        return sent

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data; between two cycles nothing waits to be sent."""
        return {"pending": self._reader.pending.hex(), "close_reason": self._close_reason}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        self._reader = FrameReader.resumed(bytes.fromhex(state["pending"]))
        self._close_reason = state["close_reason"]


class ModbusOutstation:
    """One emulated station; see ``twin.outstations.model.Outstation``."""

    def __init__(
        self,
        station: str,
        points: Sequence[PointDefinition],
        handler: CommandHandler,
        settings: ModbusStationSettings | None = None,
    ) -> None:
        self.station = station
        self.handler = handler
        self.settings = settings or ModbusStationSettings()
        self.image = RegisterImage(with_places(points))
        self._sessions: list[ModbusOutstationSession] = []
        self._executions: dict[int, str] = {}
        self._last_ticket = 0

    # sessions

    @property
    def sessions(self) -> Sequence[ModbusOutstationSession]:
        """The open sessions, oldest first."""
        return self._sessions

    def open_session(self, now: SimTime) -> ModbusOutstationSession:
        session = ModbusOutstationSession(self)
        self._sessions.append(session)
        return session

    def close_session(self, session: ModbusOutstationSession, now: SimTime) -> None:
        self._sessions.remove(session)

    def update(self, samples: Sequence[Sample], now: SimTime) -> None:
        for sample in samples:
            self.image.update(sample)

    def finished(self, ticket: int, success: bool, now: SimTime) -> None:
        self._executions.pop(ticket, None)

    # requests

    def answer(self, frame: Frame, now: SimTime) -> bytes:
        """The PDU that answers a request."""
        try:
            if frame.unit not in self.image.units:
                raise RefusedRequestError(frame.pdu[0] & 0x7F, ExceptionCode.GATEWAY_TARGET_FAILED_TO_RESPOND)
            return self._carry_out(frame.unit, decode_request(frame.pdu), frame.pdu, now)
        except RefusedRequestError as refused:
            return exception_pdu(refused.function, refused.code)

    def _carry_out(self, unit: int, request: Request, pdu: bytes, now: SimTime) -> bytes:
        match request:
            case Read(function, address, count):
                data = self.image.read(unit, function, address, count)
                return read_bits_pdu(function, data) if function in READ_BITS else read_registers_pdu(function, data)
            case WriteBits():
                self._write_bits(unit, request, pdu[0], now)
            case WriteRegisters(address, octets):
                self._write_registers(unit, address, octets, pdu[0], now)
            case MaskWrite():
                self._mask_write(unit, request, now)
            case ReadWrite(address, count, write_address, octets):
                self._holding(unit, address, count, pdu[0])  # nothing is written if it fails
                self._write_registers(unit, write_address, octets, pdu[0], now)
                return read_registers_pdu(Function(pdu[0]), self._holding(unit, address, count, pdu[0]))
            case ReadIdentification():
                return identification_pdu(request, self._identity)
        return write_pdu(request, pdu)

    @property
    def _identity(self) -> tuple[bytes, ...]:
        s = self.settings
        return tuple(text.encode("ascii", "replace") for text in (s.vendor, s.product, s.revision))

    def _holding(self, unit: int, address: int, count: int, function: int) -> bytes:
        return self.image.read(unit, function, address, count, Table.HOLDING)

    def _mask_write(self, unit: int, request: MaskWrite, now: SimTime) -> None:
        code = Function.MASK_WRITE_REGISTER
        present = int.from_bytes(self._holding(unit, request.address, 1, code), "big")
        value = (present & request.and_mask) | (request.or_mask & ~request.and_mask & 0xFFFF)
        written = 0xFFFF & ~request.and_mask
        self._write_registers(unit, request.address, value.to_bytes(2, "big"), code, now, written)

    def _write_registers(
        self, unit: int, address: int, octets: bytes, function: int, now: SimTime, written: int | None = None
    ) -> None:
        """``written`` says which bits of one register were meant; without it those that change are."""
        points = self.image.outputs(unit, Table.HOLDING, address, len(octets) // 2, function)
        for point in points:
            place = _place(point)
            start = 2 * (place.register - address)
            part = octets[start : start + 2 * place.count]
            if place.bit is not None:
                self._write_inside(point, part, function, now, written)
                continue
            value, quality = value_of_registers(part, place)
            if quality:
                raise RefusedRequestError(function, ExceptionCode.ILLEGAL_DATA_VALUE)
            self._operate(point, value, function, now)
            self.image.write(place, part)

    def _write_inside(
        self, point: PointDefinition, part: bytes, function: int, now: SimTime, written: int | None
    ) -> None:
        """A command in bits of a register: a pulse by a 1 in one of two, else the bit's new state."""
        place = _place(point)
        present = self._holding(place.unit, place.register, 1, function)
        bits = bits_inside(part, place)
        meant = bits != bits_inside(present, place) if written is None else bool(written & place.mask)
        if place.data_type is DataType.PAIR:
            self._pulse(point, bits, function, now)
        elif meant:
            self._operate(point, value_of_bits(bits, point.kind), function, now)
            self.image.write(place, with_bits(present, bits, place))

    def _write_bits(self, unit: int, request: WriteBits, function: int, now: SimTime) -> None:
        points = self.image.outputs(unit, Table.COIL, request.address, len(request.values), function)
        for point in points:
            place = _place(point)
            written = [
                request.values[cell - request.address] if 0 <= cell - request.address < len(request.values) else False
                for cell in place.cells
            ]
            self._write_output_bits(point, place, bytes(map(int, written)), function, now)

    def _write_output_bits(
        self, point: PointDefinition, place: ModbusAddress, bits: bytes, function: int, now: SimTime
    ) -> None:
        if place.data_type is DataType.BIT:
            self._operate(point, value_of_bits(bits, point.kind), function, now)
            self.image.write(place, bits)
        else:
            self._pulse(point, bits, function, now)

    def _pulse(self, point: PointDefinition, bits: bytes, function: int, now: SimTime) -> None:
        """One of two coils or bits was set; it falls back by itself."""
        if sum(bits) > 1:
            raise RefusedRequestError(function, ExceptionCode.ILLEGAL_DATA_VALUE)
        if any(bits):
            self._operate(point, pulse_value(bits, point.kind), function, now)

    def _operate(self, point: PointDefinition, value: float, function: int, now: SimTime) -> None:
        """Give a command to the device.

        Raises:
            RefusedRequestError: the point is busy, or the device refuses.
        """
        if point.name in self._executions.values():
            raise RefusedRequestError(function, ExceptionCode.SERVER_DEVICE_BUSY)
        self._last_ticket += 1
        ticket = self._last_ticket
        self._executions[ticket] = point.name
        command = StationCommand(self.station, point.name, value, ticket)
        if self.handler.operate(command, now):
            self._executions.pop(ticket, None)
            raise RefusedRequestError(function, ExceptionCode.SERVER_DEVICE_FAILURE)

    # state

    def snapshot(self) -> dict[str, Any]:
        return {
            "image": self.image.snapshot(),
            "executions": [[ticket, point] for ticket, point in self._executions.items()],
            "last_ticket": self._last_ticket,
            "sessions": [session.snapshot() for session in self._sessions],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.image.restore(state["image"])
        self._executions = dict(state["executions"])
        self._last_ticket = state["last_ticket"]
        self._sessions = [ModbusOutstationSession(self) for _ in state["sessions"]]
        for session, saved in zip(self._sessions, state["sessions"], strict=True):
            session.restore(saved)


def _place(point: PointDefinition) -> ModbusAddress:
    assert point.modbus is not None
    return point.modbus


def pulse_value(bits: bytes, kind: PointKind) -> float:
    """What a pulse on one of two coils means: open and closed, or one step lower and higher."""
    if kind is PointKind.STEP_COMMAND:
        return -1.0 if bits[0] else 1.0
    return 1.0 if bits[0] else 2.0
