"""The controlled side of the in-process link: the dialogue of a telecontrol session as plain messages.

It takes as many round trips as IEC 60870-5-104 (start, interrogation, select, operate), refuses the same commands,
and keeps events until they are acknowledged, so that a run over it has the same times and outcomes as one over
the wire protocol. Messages are lists of JSON-able values, the first their name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twin.outstations.model import CommandHandler, StationCommand
from twin.points.model import ControlModel, PointDefinition, Quality, Sample
from twin.timebase import NEVER, SimTime

Message = list[Any]
SELECT_LIMIT_MS = 10_000
ACKNOWLEDGEMENT_LIMIT_MS = 15_000
"""The longest that events may stay without acknowledgement, as T1 of IEC 60870-5-104."""
BUFFER_LIMIT = 1_000
NEGATIVE = "negative confirmation"
UNKNOWN = "unknown address"


@dataclass(frozen=True, slots=True)
class _Selection:
    """A point that one session holds until ``deadline_ms``."""

    owner: int
    value: float
    ticket: int
    deadline_ms: SimTime


@dataclass(slots=True)
class _Execution:
    """A command that the device is working on; ``owner`` is 0 once its session is gone."""

    owner: int
    command_id: int
    point: str


def _row(sample: Sample) -> Message:
    return [sample.point, sample.value, int(sample.quality), sample.source_t_ms]


class InProcessOutstationSession:
    """One master of an :class:`InProcessOutstation`; ``number`` tells it from the others."""

    def __init__(self, outstation: InProcessOutstation, number: int) -> None:
        self.outstation = outstation
        self.number = number
        self.started = False
        self.outbox: list[Message] = []
        self._unacknowledged: list[tuple[SimTime, list[Message]]] = []
        self._close_reason = ""

    @property
    def close_reason(self) -> str:
        return self._close_reason

    @property
    def unacknowledged(self) -> list[Message]:
        """The events that the master has not confirmed to have, oldest first."""
        return [row for _, rows in self._unacknowledged for row in rows]

    def receive(self, payload: list[Message], now: SimTime) -> None:
        for name, *arguments in payload:
            _HANDLERS[name](self, now, *arguments)

    def tick(self, now: SimTime) -> None:
        self.outstation.release_expired(now)
        if self._acknowledgement_due() <= now:
            self._close_reason = f"events not acknowledged within {ACKNOWLEDGEMENT_LIMIT_MS} ms"

    def next_timer(self) -> SimTime:
        if self._close_reason:
            return NEVER
        return min(self._acknowledgement_due(), self.outstation.next_deadline(self.number))

    def _acknowledgement_due(self) -> SimTime:
        return self._unacknowledged[0][0] if self._unacknowledged else NEVER

    def payload_to_send(self) -> list[Message]:
        sent, self.outbox = self.outbox, []
        return sent

    def offer(self, rows: list[Message], now: SimTime) -> None:
        """Send events; they are kept until the master has acknowledged them."""
        self.outbox.append(["samples", rows])
        self._unacknowledged.append((now + ACKNOWLEDGEMENT_LIMIT_MS, rows))

    def reply(self, command_id: int, kind: str, cause: str = "") -> None:
        """Answer a command."""
        self.outbox.append(["reply", command_id, kind, cause])

    def _start(self, now: SimTime) -> None:
        self.started = True
        self.outbox.append(["started"])
        if rows := self.outstation.take_buffer():
            self.offer(rows, now)

    def _acknowledge(self, now: SimTime, count: int) -> None:
        del self._unacknowledged[:count]

    def _test(self, now: SimTime) -> None:
        self.outbox.append(["tested"])

    def _interrogate(self, now: SimTime) -> None:
        self.outbox.append(["image", [_row(sample) for sample in self.outstation.image.values()]])

    def _select(self, now: SimTime, command_id: int, point: str, value: float) -> None:
        if self._known(command_id, point):
            taken = self.outstation.select(self.number, point, value, now)
            self._confirm(command_id, "selected", taken)

    def _operate(self, now: SimTime, command_id: int, point: str, value: float) -> None:
        if not self._known(command_id, point):
            return
        said_before = len(self.outbox)
        taken = self.outstation.operate(self.number, command_id, point, value, now)
        termination = self.outbox[said_before:]  # the device may be done at once; the confirmation goes first
        del self.outbox[said_before:]
        self._confirm(command_id, "activated", taken)
        self.outbox += termination

    def _cancel(self, now: SimTime, command_id: int, point: str, value: float) -> None:
        if self._known(command_id, point):
            self._confirm(command_id, "cancelled", self.outstation.cancel(self.number, point, now))

    def _known(self, command_id: int, point: str) -> bool:
        definition = self.outstation.points.get(point)
        known = definition is not None and definition.kind.is_output
        if not known:
            self.reply(command_id, "refused", UNKNOWN)
        return known

    def _confirm(self, command_id: int, kind: str, taken: bool) -> None:
        self.reply(command_id, kind if taken else "refused", "" if taken else NEGATIVE)

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data."""
        return {
            "number": self.number,
            "started": self.started,
            "outbox": list(self.outbox),
            "unacknowledged": [[deadline_ms, rows] for deadline_ms, rows in self._unacknowledged],
            "close_reason": self._close_reason,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        self.started = state["started"]
        self.outbox = list(state["outbox"])
        self._unacknowledged = [(deadline_ms, rows) for deadline_ms, rows in state["unacknowledged"]]
        self._close_reason = state["close_reason"]


_HANDLERS: Mapping[str, Any] = {
    "start": InProcessOutstationSession._start,
    "acknowledge": InProcessOutstationSession._acknowledge,
    "test": InProcessOutstationSession._test,
    "interrogate": InProcessOutstationSession._interrogate,
    "select": InProcessOutstationSession._select,
    "operate": InProcessOutstationSession._operate,
    "cancel": InProcessOutstationSession._cancel,
}


class InProcessOutstation:
    """One emulated station behind the in-process link."""

    def __init__(self, station: str, points: Sequence[PointDefinition], handler: CommandHandler) -> None:
        self.station = station
        self.points = {definition.name: definition for definition in points}
        self.handler = handler
        self.image: dict[str, Sample] = {}
        self._buffer: list[Message] = []
        self._selections: dict[str, _Selection] = {}
        self._executions: dict[int, _Execution] = {}
        self._last_ticket = 0
        self._last_session = 0
        self._sessions: list[InProcessOutstationSession] = []

    # -- sessions -------------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Sequence[InProcessOutstationSession]:
        """The open sessions, oldest first."""
        return self._sessions

    def open_session(self, now: SimTime) -> InProcessOutstationSession:
        self._last_session += 1
        session = InProcessOutstationSession(self, self._last_session)
        self._sessions.append(session)
        return session

    def close_session(self, session: InProcessOutstationSession, now: SimTime) -> None:
        self._sessions.remove(session)
        for point in [name for name, held in self._selections.items() if held.owner == session.number]:
            self._release(point, now)
        for execution in self._executions.values():
            if execution.owner == session.number:
                execution.owner = 0
        if not any(other.started for other in self._sessions):
            self._buffer = (session.unacknowledged + self._buffer)[-BUFFER_LIMIT:]

    # -- events ---------------------------------------------------------------------------------------------------

    def update(self, samples: Sequence[Sample], now: SimTime) -> None:
        for sample in samples:
            self.image[sample.point] = sample
        rows = [_row(sample) for sample in samples if sample.spontaneous]
        if not rows:
            return
        started = [session for session in self._sessions if session.started]
        for session in started:
            session.offer(rows, now)
        if not started:
            self._buffer = (self._buffer + rows)[-BUFFER_LIMIT:]

    def take_buffer(self) -> list[Message]:
        """The events that no master was there for, once."""
        rows, self._buffer = self._buffer, []
        return rows

    # -- commands -------------------------------------------------------------------------------------------------

    def select(self, owner: int, point: str, value: float, now: SimTime) -> bool:
        """Reserve a point for a session; False if the point, another session or the device refuses."""
        self.release_expired(now)
        held = self._selections.get(point)
        if self.points[point].control_model is ControlModel.DIRECT or self._busy(point):
            return False
        if held is not None and held.owner != owner:
            return False
        ticket = held.ticket if held else self._ticket()
        if self.handler.select(StationCommand(self.station, point, value, ticket), now):
            self._selections.pop(point, None)
            return False
        self._selections[point] = _Selection(owner, value, ticket, now + SELECT_LIMIT_MS)
        return True

    def operate(self, owner: int, command_id: int, point: str, value: float, now: SimTime) -> bool:
        """Start a command; False if it is not selected as it should be, or the device refuses."""
        self.release_expired(now)
        if self._busy(point):
            return False
        if self.points[point].control_model is ControlModel.DIRECT:
            ticket = self._ticket()
        elif (used := self._use_selection(owner, point, value, now)) is not None:
            ticket = used
        else:
            return False
        self._executions[ticket] = _Execution(owner, command_id, point)
        if self.handler.operate(StationCommand(self.station, point, value, ticket), now):
            del self._executions[ticket]
            return False
        return True

    def cancel(self, owner: int, point: str, now: SimTime) -> bool:
        """Give a point back; False if the session does not hold it."""
        self.release_expired(now)
        held = self._selections.get(point)
        if held is None or held.owner != owner:
            return False
        self._release(point, now)
        return True

    def finished(self, ticket: int, success: bool, now: SimTime) -> None:
        execution = self._executions.pop(ticket, None)
        for session in self._sessions:
            if execution is not None and session.number == execution.owner:
                session.reply(execution.command_id, *(("terminated",) if success else ("refused", NEGATIVE)))

    def release_expired(self, now: SimTime) -> None:
        """Give back every point whose select has run out."""
        for point in [name for name, held in self._selections.items() if held.deadline_ms <= now]:
            self._release(point, now)

    def next_deadline(self, owner: int) -> SimTime:
        """When a select of a session runs out next."""
        if not self._selections:
            return NEVER
        return min((held.deadline_ms for held in self._selections.values() if held.owner == owner), default=NEVER)

    def _use_selection(self, owner: int, point: str, value: float, now: SimTime) -> int | None:
        """The ticket of the select that an operate uses up; None if there is none for this value."""
        held = self._selections.get(point)
        if held is None or held.owner != owner:
            return None
        if held.value != value:
            self._release(point, now)
            return None
        del self._selections[point]
        return held.ticket

    def _busy(self, point: str) -> bool:
        return any(execution.point == point for execution in self._executions.values())

    def _release(self, point: str, now: SimTime) -> None:
        held = self._selections.pop(point)
        self.handler.cancel(StationCommand(self.station, point, held.value, held.ticket), now)

    def _ticket(self) -> int:
        self._last_ticket += 1
        return self._last_ticket

    # -- state ----------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        return {
            "image": [[*_row(sample), sample.spontaneous] for sample in self.image.values()],
            "buffer": list(self._buffer),
            "selections": {
                point: [held.owner, held.value, held.ticket, held.deadline_ms]
                for point, held in self._selections.items()
            },
            "executions": [[ticket, e.owner, e.command_id, e.point] for ticket, e in self._executions.items()],
            "last_ticket": self._last_ticket,
            "last_session": self._last_session,
            "sessions": [session.snapshot() for session in self._sessions],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.image = {
            row[0]: Sample(self.station, row[0], row[1], Quality(row[2]), row[3], row[4]) for row in state["image"]
        }
        self._buffer = list(state["buffer"])
        self._selections = {point: _Selection(*row) for point, row in state["selections"].items()}
        self._executions = {ticket: _Execution(*row) for ticket, *row in state["executions"]}
        self._last_ticket = state["last_ticket"]
        self._last_session = state["last_session"]
        self._sessions = [self._restored(saved) for saved in state["sessions"]]

    def _restored(self, saved: Mapping[str, Any]) -> InProcessOutstationSession:
        session = InProcessOutstationSession(self, saved["number"])
        session.restore(saved)
        return session
