"""The controlled side of the in-process link: the dialogue of a telecontrol session as plain messages.

It takes as many round trips as IEC 60870-5-104 (start, interrogation, select, operate), so that a run over it
has the same times as one over the wire protocol. Messages are lists of JSON-able values, the first their name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twin.outstations.model import CommandHandler, StationCommand
from twin.points.model import ControlModel, PointDefinition, Quality, Sample
from twin.timebase import NEVER, SimTime

Message = list[Any]
SELECT_LIMIT_MS = 10_000
BUFFER_LIMIT = 1_000
NEGATIVE = "negative confirmation"


def _row(sample: Sample) -> Message:
    return [sample.point, sample.value, int(sample.quality), sample.source_t_ms]


class InProcessOutstationSession:
    """One master of an :class:`InProcessOutstation`."""

    def __init__(self, outstation: InProcessOutstation) -> None:
        self.outstation = outstation
        self.started = False
        self.outbox: list[Message] = []
        self.selected: dict[str, list[Any]] = {}

    @property
    def close_reason(self) -> str:
        return ""

    def receive(self, payload: list[Message], now: SimTime) -> None:
        for name, *arguments in payload:
            _HANDLERS[name](self, now, *arguments)

    def tick(self, now: SimTime) -> None:
        """Nothing is timed here: a select that ran out is refused when it is used."""

    def next_timer(self) -> SimTime:
        return NEVER

    def payload_to_send(self) -> list[Message]:
        sent, self.outbox = self.outbox, []
        return sent

    def _start(self, now: SimTime) -> None:
        self.started = True
        self.outbox.append(["started"])
        if self.outstation.buffer:
            self.outbox.append(["samples", self.outstation.buffer])
            self.outstation.buffer = []

    def _test(self, now: SimTime) -> None:
        self.outbox.append(["tested"])

    def _interrogate(self, now: SimTime) -> None:
        self.outbox.append(["image", [_row(sample) for sample in self.outstation.image.values()]])

    def _select(self, now: SimTime, command_id: int, point: str, value: float) -> None:
        rule = self.outstation.judge(point) or self.outstation.handler.select(
            self.outstation.command(point, value, command_id), now
        )
        if not rule:
            self.selected[point] = [command_id, value, now + SELECT_LIMIT_MS]
        self._reply(command_id, "refused" if rule else "selected")

    def _operate(self, now: SimTime, command_id: int, point: str, value: float) -> None:
        rule = self.outstation.judge(point) or self._unselected(command_id, point, value, now)
        if not rule:
            rule = self.outstation.handler.operate(self.outstation.command(point, value, command_id), now)
        if not rule:
            self.outstation.running[command_id] = self
        self._reply(command_id, "refused" if rule else "activated")

    def _unselected(self, command_id: int, point: str, value: float, now: SimTime) -> str:
        if self.outstation.points[point].control_model is ControlModel.DIRECT:
            return ""
        chosen = self.selected.pop(point, None)
        if chosen is None or chosen[:2] != [command_id, value]:
            return "not selected"
        return "" if now <= chosen[2] else "select timed out"

    def _cancel(self, now: SimTime, command_id: int, point: str, value: float) -> None:
        self.selected.pop(point, None)
        self.outstation.handler.cancel(self.outstation.command(point, value, command_id), now)
        self._reply(command_id, "cancelled")

    def _reply(self, command_id: int, kind: str) -> None:
        self.outbox.append(["reply", command_id, kind, NEGATIVE if kind == "refused" else ""])

    def terminated(self, command_id: int, success: bool) -> None:
        """The device finished a command of this master."""
        self._reply(command_id, "terminated" if success else "refused")


_HANDLERS: Mapping[str, Any] = {
    "start": InProcessOutstationSession._start,
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
        self.buffer: list[Message] = []
        self.running: dict[int, InProcessOutstationSession] = {}
        self._sessions: list[InProcessOutstationSession] = []

    def open_session(self, now: SimTime) -> InProcessOutstationSession:
        session = InProcessOutstationSession(self)
        self._sessions.append(session)
        return session

    def close_session(self, session: InProcessOutstationSession, now: SimTime) -> None:
        self._sessions.remove(session)
        self.running = {ticket: owner for ticket, owner in self.running.items() if owner is not session}

    @property
    def sessions(self) -> Sequence[InProcessOutstationSession]:
        """The open sessions, oldest first."""
        return self._sessions

    def judge(self, point: str) -> str:
        """Why a command for ``point`` cannot be taken at all."""
        definition = self.points.get(point)
        return "" if definition and definition.kind.is_output else "unknown point"

    def command(self, point: str, value: float, ticket: int) -> StationCommand:
        """The command as the device sees it."""
        return StationCommand(self.station, point, value, ticket)

    def update(self, samples: Sequence[Sample], now: SimTime) -> None:
        for sample in samples:
            self.image[sample.point] = sample
        rows = [_row(sample) for sample in samples if sample.spontaneous]
        if not rows:
            return
        started = [session for session in self._sessions if session.started]
        for session in started:
            session.outbox.append(["samples", rows])
        if not started:
            self.buffer = (self.buffer + rows)[-BUFFER_LIMIT:]

    def finished(self, ticket: int, success: bool, now: SimTime) -> None:
        session = self.running.pop(ticket, None)
        if session is not None:
            session.terminated(ticket, success)

    def snapshot(self) -> dict[str, Any]:
        return {
            "image": [[*_row(sample), sample.spontaneous] for sample in self.image.values()],
            "buffer": self.buffer,
            "sessions": [{"started": s.started, "outbox": s.outbox, "selected": s.selected} for s in self._sessions],
            "running": {str(ticket): self._sessions.index(s) for ticket, s in self.running.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.image = {
            row[0]: Sample(self.station, row[0], row[1], Quality(row[2]), row[3], row[4]) for row in state["image"]
        }
        self.buffer = list(state["buffer"])
        self._sessions = [self._restored(saved) for saved in state["sessions"]]
        self.running = {int(ticket): self._sessions[i] for ticket, i in state["running"].items()}

    def _restored(self, saved: Mapping[str, Any]) -> InProcessOutstationSession:
        session = InProcessOutstationSession(self)
        session.started = saved["started"]
        session.outbox = list(saved["outbox"])
        session.selected = dict(saved["selected"])
        return session
