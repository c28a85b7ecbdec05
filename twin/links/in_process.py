"""The controlling side of the in-process link; see ``twin.outstations.in_process`` for the dialogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twin.links.model import (
    ArrivedSample,
    CommandReply,
    LinkCommand,
    LinkEvent,
    ReplyKind,
    SessionEvent,
    SessionState,
)
from twin.points.model import Quality, Sample
from twin.timebase import NEVER, SimTime

Message = list[Any]


class InProcessMasterSession:
    """A session without a protocol: no frames, no acknowledgements, no timers."""

    def __init__(self, station: str) -> None:
        self.station = station
        self._outbox: list[Message] = []
        self._events: list[LinkEvent] = []

    def connected(self, now: SimTime) -> None:
        self._state(SessionState.CONNECTED, now)
        self._outbox.append(["start"])

    def disconnected(self, now: SimTime, reason: str) -> None:
        self._outbox.clear()
        self._state(SessionState.LOST, now, reason)

    def receive(self, payload: list[Message], now: SimTime) -> None:
        for name, *arguments in payload:
            _HANDLERS[name](self, now, *arguments)

    def tick(self, now: SimTime) -> None:
        """There are no timers."""

    def next_timer(self) -> SimTime:
        return NEVER

    def payload_to_send(self) -> list[Message]:
        sent, self._outbox = self._outbox, []
        return sent

    @property
    def close_reason(self) -> str:
        return ""

    def select(self, command: LinkCommand, now: SimTime) -> None:
        self._outbox.append(["select", command.command_id, command.point, command.value])

    def operate(self, command: LinkCommand, now: SimTime) -> None:
        self._outbox.append(["operate", command.command_id, command.point, command.value])

    def cancel(self, command: LinkCommand, now: SimTime) -> None:
        self._outbox.append(["cancel", command.command_id, command.point, command.value])

    def interrogate(self, now: SimTime) -> None:
        self._outbox.append(["interrogate"])

    def take_events(self) -> list[LinkEvent]:
        events, self._events = self._events, []
        return events

    def _state(self, state: SessionState, now: SimTime, detail: str = "") -> None:
        self._events.append(SessionEvent(self.station, state, now, detail))

    def _started(self, now: SimTime) -> None:
        self._state(SessionState.STARTED, now)
        self.interrogate(now)

    def _image(self, now: SimTime, rows: list[Message]) -> None:
        for point, value, quality, _ in rows:
            # an interrogated value carries no time of its own, as on IEC 104
            sample = Sample(self.station, point, value, Quality(quality), now, spontaneous=False)
            self._events.append(ArrivedSample(sample, now))
        self._state(SessionState.INTERROGATED, now)

    def _samples(self, now: SimTime, rows: list[Message]) -> None:
        for point, value, quality, source_t_ms in rows:
            sample = Sample(self.station, point, value, Quality(quality), source_t_ms)
            self._events.append(ArrivedSample(sample, now))

    def _reply(self, now: SimTime, command_id: int, kind: str, cause: str) -> None:
        self._events.append(CommandReply(self.station, command_id, ReplyKind(kind), now, cause))

    def snapshot(self) -> Mapping[str, Any]:
        if self._events:
            raise RuntimeError(f"link {self.station}: snapshot with events not taken")
        return {"outbox": self._outbox}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._outbox = list(state["outbox"])


_HANDLERS: Mapping[str, Any] = {
    "started": InProcessMasterSession._started,
    "image": InProcessMasterSession._image,
    "samples": InProcessMasterSession._samples,
    "reply": InProcessMasterSession._reply,
}
