"""The controlling side of the in-process link; see ``twin.outstations.in_process`` for the dialogue.

It supervises its station as IEC 60870-5-104 does with T1 and T3: what is asked must be answered within a limit,
and a station that has been quiet for long is asked for a sign of life. Events are acknowledged as with w and T2, or
with whatever else is sent.
"""

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
ANSWER_LIMIT_MS = 15_000
"""The longest a station may take to answer, as T1 of IEC 60870-5-104."""
TEST_AFTER_MS = 20_000
"""How long a station may be quiet before it is tested, as T3 of IEC 60870-5-104."""
ACKNOWLEDGE_AFTER = 8
"""How many messages with events are acknowledged together at the latest, as w of IEC 60870-5-104."""
ACKNOWLEDGE_AFTER_MS = 10_000
"""How long events wait for their acknowledgement at the longest, as T2 of IEC 60870-5-104."""


class InProcessMasterSession:
    """A session without a protocol: no frames, only messages."""

    def __init__(self, station: str) -> None:
        self.station = station
        self._outbox: list[Message] = []
        self._events: list[LinkEvent] = []
        self._unanswered: dict[str, SimTime] = {}
        self._cancelled: dict[int, None] = {}
        self._test_at: SimTime = NEVER
        self._taken = 0
        self._acknowledge_at: SimTime = NEVER
        self._close_reason = ""

    def connected(self, now: SimTime) -> None:
        self._forget()
        self._test_at = now + TEST_AFTER_MS
        self._state(SessionState.CONNECTED, now)
        self._ask("start", ["start"], now)

    def disconnected(self, now: SimTime, reason: str) -> None:
        self._forget()
        self._state(SessionState.LOST, now, reason)

    def _forget(self) -> None:
        self._outbox.clear()
        self._unanswered.clear()
        self._cancelled.clear()
        self._test_at = NEVER
        self._taken, self._acknowledge_at = 0, NEVER
        self._close_reason = ""

    def _ask(self, what: str, message: Message, now: SimTime) -> None:
        """Send a message that must be answered in time."""
        self._outbox.append(message)
        self._unanswered.setdefault(what, now + ANSWER_LIMIT_MS)

    def receive(self, payload: list[Message], now: SimTime) -> None:
        self._test_at = now + TEST_AFTER_MS
        for name, *arguments in payload:
            _HANDLERS[name](self, now, *arguments)

    def tick(self, now: SimTime) -> None:
        for what, deadline in self._unanswered.items():
            if deadline <= now:
                self._close_reason = f"no answer to {what} within {ANSWER_LIMIT_MS} ms"
                return
        if self._test_at <= now:
            self._test_at = now + TEST_AFTER_MS
            self._ask("test", ["test"], now)
        if self._acknowledge_at <= now:
            self._acknowledge()

    def _acknowledge(self) -> None:
        """Tell the station how many of its messages with events have been taken since the last time."""
        self._outbox.append(["acknowledge", self._taken])
        self._taken, self._acknowledge_at = 0, NEVER

    def next_timer(self) -> SimTime:
        if self._close_reason:
            return NEVER
        return min(self._test_at, self._acknowledge_at, *self._unanswered.values())

    def payload_to_send(self) -> list[Message]:
        if self._outbox and self._taken:
            self._acknowledge()
        sent, self._outbox = self._outbox, []
        return sent

    @property
    def close_reason(self) -> str:
        return self._close_reason

    def select(self, command: LinkCommand, now: SimTime) -> None:
        self._order("select", command, now)

    def operate(self, command: LinkCommand, now: SimTime) -> None:
        self._order("operate", command, now)

    def cancel(self, command: LinkCommand, now: SimTime) -> None:
        self._cancelled[command.command_id] = None
        self._order("cancel", command, now)

    def _order(self, verb: str, command: LinkCommand, now: SimTime) -> None:
        message = [verb, command.command_id, command.point, command.value]
        self._ask(f"command {command.command_id}", message, now)

    def interrogate(self, now: SimTime) -> None:
        self._ask("interrogation", ["interrogate"], now)

    def take_events(self) -> list[LinkEvent]:
        events, self._events = self._events, []
        return events

    def _state(self, state: SessionState, now: SimTime, detail: str = "") -> None:
        self._events.append(SessionEvent(self.station, state, now, detail))

    def _started(self, now: SimTime) -> None:
        self._unanswered.pop("start", None)
        self._state(SessionState.STARTED, now)
        self.interrogate(now)

    def _tested(self, now: SimTime) -> None:
        self._unanswered.pop("test", None)

    def _image(self, now: SimTime, rows: list[Message]) -> None:
        self._unanswered.pop("interrogation", None)
        for point, value, quality, _ in rows:
            # an interrogated value carries no time of its own, as on IEC 104
            sample = Sample(self.station, point, value, Quality(quality), now, spontaneous=False)
            self._events.append(ArrivedSample(sample, now))
        self._state(SessionState.INTERROGATED, now)

    def _samples(self, now: SimTime, rows: list[Message]) -> None:
        for point, value, quality, source_t_ms in rows:
            sample = Sample(self.station, point, value, Quality(quality), source_t_ms)
            self._events.append(ArrivedSample(sample, now))
        self._taken += 1
        self._acknowledge_at = min(self._acknowledge_at, now + ACKNOWLEDGE_AFTER_MS)
        if self._taken == ACKNOWLEDGE_AFTER:
            self._acknowledge()

    def _reply(self, now: SimTime, command_id: int, kind: str, cause: str) -> None:
        self._unanswered.pop(f"command {command_id}", None)
        if command_id in self._cancelled:
            if kind != ReplyKind.CANCELLED.value:
                return  # an answer to what was given up meanwhile
            del self._cancelled[command_id]
        self._events.append(CommandReply(self.station, command_id, ReplyKind(kind), now, cause))

    def snapshot(self) -> Mapping[str, Any]:
        if self._events:
            raise RuntimeError(f"link {self.station}: snapshot with events not taken")
        return {
            "outbox": list(self._outbox),
            "unanswered": dict(self._unanswered),
            "test_at": self._test_at,
            "cancelled": list(self._cancelled),
            "taken": self._taken,
            "acknowledge_at": self._acknowledge_at,
            "close_reason": self._close_reason,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._outbox = list(state["outbox"])
        self._unanswered = dict(state["unanswered"])
        self._test_at = state["test_at"]
        self._cancelled = dict.fromkeys(state["cancelled"])
        self._taken = state["taken"]
        self._acknowledge_at = state["acknowledge_at"]
        self._close_reason = state["close_reason"]


_HANDLERS: Mapping[str, Any] = {
    "started": InProcessMasterSession._started,
    "tested": InProcessMasterSession._tested,
    "image": InProcessMasterSession._image,
    "samples": InProcessMasterSession._samples,
    "reply": InProcessMasterSession._reply,
}
