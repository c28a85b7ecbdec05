"""The controlling side of a Modbus TCP session: polls by its schedule, writes commands and reads them back.

Modbus has no events, no time, no quality, no select and no termination. The front end makes up for that here: a change
between two polls is a spontaneous sample stamped with the time of its arrival; a block that is refused or does not
answer takes the quality of its points with it; select is answered by the front end itself. No I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twin.links.modbus_commands import read_back_request, shows, write_request
from twin.links.modbus_scan import MEASURED, ModbusLinkSettings, Reading, Scan, make_readers, quality_of_refusal
from twin.links.model import (
    ArrivedSample,
    CommandReply,
    LinkCommand,
    LinkEvent,
    ReplyKind,
    SessionEvent,
    SessionState,
)
from twin.points.modbus import DataType
from twin.points.modbus_layout import with_places
from twin.points.model import PointDefinition, Quality, Sample, TimeSource
from twin.protocols.modbus.errors import MalformedFrameError, UnencodableValueError
from twin.protocols.modbus.frames import Frame, FrameReader, encode_frame
from twin.protocols.modbus.pdu import (
    ExceptionCode,
    ExceptionResponse,
    Request,
    decode_response,
    encode_request,
)
from twin.timebase import NEVER, SimTime

SELECT_MS = 1
"""How long the front end takes to answer a select by itself."""
UNKNOWN_ADDRESS = "unknown address"
NOT_CONNECTED = "no connection"
READ_BACK_DIFFERS = "what was written is not what is read back"


@dataclass(frozen=True, slots=True)
class _Job:
    """A request to be sent: a block to read, or the write of a command and its read-back (``block`` is -1)."""

    block: int = -1
    general: bool = False
    command_id: int = 0
    point: str = ""
    value: float = 0.0
    is_read_back: bool = False


@dataclass(slots=True)
class _Flight:
    """A request that waits for its answer."""

    job: _Job
    deadline: SimTime
    retries_left: int


class ModbusMasterSession:
    """One session with one station, over any number of connections one after the other.

    ``transactions`` counts answered requests, ``late_answers`` answers that came when nobody waited for them any more,
    ``refused_reads`` exceptions to reads.
    """

    def __init__(
        self, station: str, points: Sequence[PointDefinition], settings: ModbusLinkSettings | None = None
    ) -> None:
        self.station = station
        self.settings = settings or ModbusLinkSettings()
        self.late_answers = 0
        self.refused_reads = 0
        self.transactions = 0
        placed = with_places(points)
        self._outputs = {p.name: p for p in placed if p.kind.is_output and p.modbus is not None}
        self.readers, scans = make_readers(placed, self.settings)
        periods = {True: self.settings.poll_ms, False: self.settings.measurand_poll_ms}
        self._scans = [Scan(periods[status], blocks, status, NEVER) for status, blocks in scans.items() if blocks]
        self._frames = FrameReader()
        self._known: dict[str, Reading] = {}
        self._queue: deque[_Job] = deque()
        self._flights: dict[int, _Flight] = {}
        self._transaction = 0
        self._unread: set[int] = set()
        self._connected = False
        self._started = False
        self._outbox = bytearray()
        self._urgent = False
        self._local: list[tuple[SimTime, CommandReply]] = []
        self._events: list[LinkEvent] = []
        self._close_reason = ""

    # the connection

    def connected(self, now: SimTime) -> None:
        self._forget()
        self._connected = True
        self._report(SessionState.CONNECTED, now)
        self.interrogate(now)

    def disconnected(self, now: SimTime, reason: str) -> None:
        self._forget()
        self._report(SessionState.LOST, now, reason)

    def _forget(self) -> None:
        self._connected = self._started = False
        self._frames = FrameReader()
        self._queue.clear()
        self._flights.clear()
        self._unread.clear()
        self._local.clear()
        self._outbox.clear()
        self._known.clear()
        for reader in self.readers:
            reader.last = b""
        for scan in self._scans:
            scan.due = NEVER
        self._close_reason = ""

    @property
    def close_reason(self) -> str:
        return self._close_reason

    def take_events(self) -> list[LinkEvent]:
        events, self._events = self._events, []
        return events

    def _report(self, state: SessionState, now: SimTime, detail: str = "") -> None:
        self._events.append(SessionEvent(self.station, state, now, detail))

    # time

    def tick(self, now: SimTime) -> None:
        self._tell_local(now)
        self._check_limits(now)
        for scan in self._scans:
            if scan.due <= now:
                scan.due = scan.next_after(now)
                self._read(scan.blocks)
        self._send_next(now)

    def next_timer(self) -> SimTime:
        if self._close_reason:
            return NEVER
        limits = (flight.deadline for flight in self._flights.values())
        return min(self.next_urgent(), *limits, *(scan.due for scan in self._scans), NEVER)

    def next_urgent(self) -> SimTime:
        """When a timer wants a simulation step of its own: the poll of positions, and what the front end answers."""
        if self._close_reason:
            return NEVER
        polls = (scan.due for scan in self._scans if scan.urgent)
        return min(*polls, *(due for due, _ in self._local), NEVER, NEVER)

    @property
    def is_urgent(self) -> bool:
        """Whether what is to be sent asks for a simulation step at its arrival."""
        return self._urgent

    def _tell_local(self, now: SimTime) -> None:
        due = [reply for at, reply in self._local if at <= now]
        self._local = [(at, reply) for at, reply in self._local if at > now]
        self._events += due

    def _check_limits(self, now: SimTime) -> None:
        """Send a read again whose answer is overdue, give a write up; too many overdue reads end the connection."""
        for transaction in [t for t, flight in self._flights.items() if flight.deadline <= now]:
            flight = self._flights.pop(transaction)
            if flight.job.block < 0:
                continue
            if not flight.retries_left:
                self._close_reason = f"no answer within {self.settings.answer_limit_ms} ms"
                return
            self._send(flight.job, now, flight.retries_left - 1)

    # what is sent

    def payload_to_send(self) -> bytes:
        sent = bytes(self._outbox)
        self._outbox.clear()
        self._urgent = False
        return sent

    def interrogate(self, now: SimTime) -> None:
        if not self._connected:
            return
        self._unread = set(range(len(self.readers)))
        self._queue = deque(job for job in self._queue if job.block < 0)
        self._queue.extend(_Job(block, general=True) for block in range(len(self.readers)))
        for scan in self._scans:
            scan.due = scan.next_after(now)
        if not self.readers:
            self._begin(now)
            self._report(SessionState.INTERROGATED, now)
        self._send_next(now)

    def _read(self, blocks: Sequence[int]) -> None:
        """Queue blocks, but for those that are queued or under way."""
        waiting = {job.block for job in self._queue} | {flight.job.block for flight in self._flights.values()}
        self._queue.extend(_Job(block) for block in blocks if block not in waiting)

    def _send_next(self, now: SimTime) -> None:
        while self._queue and len(self._flights) < self.settings.outstanding and not self._close_reason:
            self._send(self._queue.popleft(), now, self.settings.retries)

    def _send(self, job: _Job, now: SimTime, retries_left: int) -> None:
        self._transaction = self._transaction % 0xFFFF + 1
        unit, request = self._request(job)
        self._outbox += encode_frame(Frame(self._transaction, unit, encode_request(request)))
        self._urgent = self._urgent or job.block < 0 or job.general or self.readers[job.block].urgent
        self._flights[self._transaction] = _Flight(job, now + self.settings.answer_limit_ms, retries_left)

    def _request(self, job: _Job) -> tuple[int, Request]:
        if job.block >= 0:
            return self.readers[job.block].block.unit, self.readers[job.block].request
        output = self._outputs[job.point]
        assert output.modbus is not None
        written = write_request(output, job.value)
        return output.modbus.unit, read_back_request(written) if job.is_read_back else written

    # what arrives

    def receive(self, payload: bytes, now: SimTime) -> None:
        try:
            for frame in self._frames.feed(payload):
                self._take(frame, now)
        except MalformedFrameError as error:
            self._close_reason = str(error)
            return
        self._send_next(now)

    def _take(self, frame: Frame, now: SimTime) -> None:
        flight = self._flights.get(frame.transaction)
        if flight is None:
            self.late_answers += 1
            return
        unit, request = self._request(flight.job)
        if frame.unit != unit:
            raise MalformedFrameError(f"an answer of unit {unit} was expected", 6, frame.unit)
        answer = decode_response(frame.pdu, request)
        del self._flights[frame.transaction]
        self.transactions += 1
        self._begin(now)
        if flight.job.block >= 0:
            self._take_block(flight.job, answer, now)
        else:
            self._take_command(flight.job, answer, now)

    def _begin(self, now: SimTime) -> None:
        if not self._started:
            self._started = True
            self._report(SessionState.STARTED, now)

    def _take_block(self, job: _Job, answer: bytes | ExceptionResponse, now: SimTime) -> None:
        reader = self.readers[job.block]
        if isinstance(answer, ExceptionResponse):
            self.refused_reads += 1
            quality = quality_of_refusal(answer.code)
            reader.last = b""
            for point in reader.points:
                self._learn(point, (self._known.get(point.name, (0.0, quality))[0], quality), job.general, now)
        elif job.general or answer != reader.last:
            reader.last = answer
            for point, reading in reader.readings(answer):
                self._learn(point, reading, job.general, now)
        self._unread_done(job, now)

    def _unread_done(self, job: _Job, now: SimTime) -> None:
        if job.general and job.block in self._unread:
            self._unread.discard(job.block)
            if not self._unread:
                self._report(SessionState.INTERROGATED, now)

    def _learn(self, point: PointDefinition, reading: Reading, general: bool, now: SimTime) -> None:
        """Report a reading: all of an interrogation, else those that changed by more than their dead band."""
        known = self._known.get(point.name)
        if not general and known is not None and _same(point, known, reading):
            return
        self._known[point.name] = reading
        value, quality = reading
        sample = Sample(self.station, point.name, value, quality, now, not general, TimeSource.FRONT_END)
        self._events.append(ArrivedSample(sample, now))

    # commands

    def select(self, command: LinkCommand, now: SimTime) -> None:
        """Answered by the front end: the station knows no select. What cannot be written is refused here."""
        if refusal := self._unsendable(command):
            self._answer_locally(command, ReplyKind.REFUSED, now, refusal)
        else:
            self._answer_locally(command, ReplyKind.SELECTED, now)

    def cancel(self, command: LinkCommand, now: SimTime) -> None:
        """Nothing is held at the station; a write that has not been sent yet is dropped."""
        self._queue = deque(job for job in self._queue if job.command_id != command.command_id)
        self._answer_locally(command, ReplyKind.CANCELLED, now)

    def operate(self, command: LinkCommand, now: SimTime) -> None:
        if refusal := self._unsendable(command):
            self._answer_locally(command, ReplyKind.REFUSED, now, refusal)
            return
        before = sum(job.block < 0 for job in self._queue)
        self._queue.insert(before, _Job(command_id=command.command_id, point=command.point, value=command.value))
        self._send_next(now)

    def _unsendable(self, command: LinkCommand) -> str:
        output = self._outputs.get(command.point)
        if output is None:
            return UNKNOWN_ADDRESS
        if not self._connected:
            return NOT_CONNECTED
        try:
            write_request(output, command.value)
        except UnencodableValueError as error:
            return str(error)
        return ""

    def _answer_locally(self, command: LinkCommand, kind: ReplyKind, now: SimTime, cause: str = "") -> None:
        at = now + SELECT_MS
        self._local.append((at, CommandReply(self.station, command.command_id, kind, at, cause)))

    def _take_command(self, job: _Job, answer: bytes | ExceptionResponse, now: SimTime) -> None:
        if isinstance(answer, ExceptionResponse):
            if not job.is_read_back:
                self._reply(job, ReplyKind.REFUSED, now, _cause(answer.code))
                return
        elif job.is_read_back and not shows(write_request(self._outputs[job.point], job.value), answer):
            self._reply(job, ReplyKind.REFUSED, now, READ_BACK_DIFFERS)
            return
        elif not job.is_read_back and self._is_read_back(job):
            self._queue.appendleft(_Job(-1, False, job.command_id, job.point, job.value, is_read_back=True))
            return
        self._reply(job, ReplyKind.ACTIVATED, now)

    def _is_read_back(self, job: _Job) -> bool:
        """A pulse on one of two coils is over before it can be read."""
        place = self._outputs[job.point].modbus
        return self.settings.read_back and place is not None and place.data_type is not DataType.PAIR

    def _reply(self, job: _Job, kind: ReplyKind, now: SimTime, cause: str = "") -> None:
        self._events.append(CommandReply(self.station, job.command_id, kind, now, cause))

    # state as data

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able values; events must have been taken before.

        Raises:
            RuntimeError: events are waiting to be taken.
        """
        if self._events:
            raise RuntimeError(f"link {self.station}: snapshot with events not taken")
        return {
            "connected": self._connected,
            "started": self._started,
            "close_reason": self._close_reason,
            "transaction": self._transaction,
            "pending": self._frames.pending.hex(),
            "outbox": self._outbox.hex(),
            "urgent": self._urgent,
            "due": [scan.due for scan in self._scans],
            "unread": sorted(self._unread),
            "last": [reader.last.hex() for reader in self.readers],
            "known": {point: [value, int(quality)] for point, (value, quality) in self._known.items()},
            "queue": [_to_row(job) for job in self._queue],
            "flights": [[t, f.deadline, f.retries_left, _to_row(f.job)] for t, f in self._flights.items()],
            "local": [[at, r.command_id, r.kind.value, r.cause] for at, r in self._local],
            "counts": [self.late_answers, self.refused_reads, self.transactions],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`snapshot`, into a session made with the same points and settings."""
        self._forget()
        self._events = []
        self._connected, self._started = state["connected"], state["started"]
        self._close_reason = state["close_reason"]
        self._transaction = state["transaction"]
        self._frames = FrameReader.resumed(bytes.fromhex(state["pending"]))
        self._outbox = bytearray.fromhex(state["outbox"])
        self._urgent = state["urgent"]
        for scan, due in zip(self._scans, state["due"], strict=True):
            scan.due = due
        self._unread = set(state["unread"])
        for reader, last in zip(self.readers, state["last"], strict=True):
            reader.last = bytes.fromhex(last)
        self._known = {point: (value, Quality(quality)) for point, (value, quality) in state["known"].items()}
        self._queue = deque(_Job(*row) for row in state["queue"])
        self._flights = {t: _Flight(_Job(*row), deadline, left) for t, deadline, left, row in state["flights"]}
        self._local = [
            (at, CommandReply(self.station, command_id, ReplyKind(kind), at, cause))
            for at, command_id, kind, cause in state["local"]
        ]
        self.late_answers, self.refused_reads, self.transactions = state["counts"]


def _to_row(job: _Job) -> list[Any]:
    return [job.block, job.general, job.command_id, job.point, job.value, job.is_read_back]


def _same(point: PointDefinition, known: Reading, reading: Reading) -> bool:
    if known[1] != reading[1]:
        return False
    return abs(known[0] - reading[0]) <= (point.dead_band if point.kind in MEASURED else 0.0)


def _cause(code: int) -> str:
    known = {int(member): member.text for member in ExceptionCode}
    return f"exception {code}, {known.get(code, 'unknown to the standard')}"
