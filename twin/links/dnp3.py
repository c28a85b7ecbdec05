"""The master side of a DNP3 session (IEEE 1815): starts it, polls, takes events, synchronises the clock, operates.

One request at a time; commands go first, and nothing comes between a select and its operate. Polls follow
simulation time. A command is never sent twice: whether to try again is for the command path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from twin.links.dnp3_answers import refusal
from twin.links.dnp3_samples import SampleReader
from twin.links.dnp3_settings import Dnp3LinkSettings
from twin.links.dnp3_tasks import (
    COMMANDS,
    Task,
    TaskKind,
    TaskQueue,
    clear_restart,
    disable_unsolicited,
    enable_unsolicited,
    event_poll,
    integrity_poll,
    measure_delay,
    record_time,
    write_recorded_time,
    write_time,
)
from twin.links.model import (
    ArrivedSample,
    CommandReply,
    LinkCommand,
    LinkEvent,
    ReplyKind,
    SessionEvent,
    SessionState,
)
from twin.points.dnp3 import assigned
from twin.points.model import ControlModel, PointDefinition
from twin.protocols.dnp3 import (
    Fragment,
    FrameDecoder,
    Function,
    Iin,
    LinkEnd,
    MalformedFragmentError,
    ObjectHeader,
    UnencodableValueError,
    decode_fragment,
    encode_fragment,
    parse_headers,
)
from twin.protocols.dnp3.application import CLASS_BITS
from twin.protocols.dnp3.controls import control_block
from twin.protocols.dnp3.mapping import control_of
from twin.timebase import NEVER, SimTime, TimeBase

__all__ = ["Dnp3LinkSettings", "Dnp3MasterSession"]

NOT_STARTED = "no data transfer"
UNKNOWN_POINT = "unknown point"
VALUE_NOT_ENCODABLE = "value not encodable"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Dnp3MasterSession:
    """One session with one outstation, over any number of connections one after the other.

    ``unexpected_answers`` counts responses that nobody waits for; what the samples could not be made of is counted in
    ``samples``. ``propagation_ms`` is the way to the outstation as last measured (non-LAN procedure).
    """

    def __init__(
        self,
        station: str,
        points: Sequence[PointDefinition],
        time_base: TimeBase,
        settings: Dnp3LinkSettings | None = None,
    ) -> None:
        self.station = station
        self.settings = settings or Dnp3LinkSettings()
        self.unexpected_answers = 0
        self.propagation_ms: int | None = None
        self.answers: list[Fragment] = []
        common = points[0].address.common_address if points else 0
        self.outstation = common if self.settings.outstation is None else self.settings.outstation
        self._points = {definition.name: definition for definition in points}
        self._addresses = assigned((p.name, p.kind.value, p.dnp3) for p in points)
        self._epoch_ms = (time_base.start - _EPOCH) // _MILLISECOND
        self.samples = SampleReader(station, points, self._addresses, self._epoch_ms)
        self._events: list[LinkEvent] = []
        self._queue = TaskQueue()
        self._decoder = FrameDecoder()
        self._link: LinkEnd | None = None
        self._sequence = 0
        self._forget()

    # the connection

    def connected(self, now: SimTime) -> None:
        self._forget()
        self._link = LinkEnd(self.settings.address, self.outstation, master=True, settings=self.settings.link, now=now)
        self._report(SessionState.CONNECTED, now)
        self._begin(now)

    def disconnected(self, now: SimTime, reason: str) -> None:
        self._forget()
        self._report(SessionState.LOST, now, reason)

    def _forget(self) -> None:
        self._link = None
        self._close_reason = ""
        self._decoder = FrameDecoder()
        self._queue.clear()
        self._current: Task | None = None
        self._next_fragment = True
        self._asked_ms: SimTime = 0
        self._answer_by: SimTime = NEVER
        self._tries = 0
        self._held: int | None = None
        self._held_until: SimTime = NEVER
        self._started = False
        self._interrogated = False
        self._last_unsolicited = b""
        self._set_clock_after: SimTime = 0
        self._due: dict[tuple[int, ...], SimTime] = {}

    def _begin(self, now: SimTime) -> None:
        """Stop unsolicited responses, read everything, and let them come again (IEEE 1815, 5.1.1.1.4)."""
        classes = tuple(self.settings.unsolicited)
        self._queue.add(disable_unsolicited((1, 2, 3)))
        self._queue.add(integrity_poll())
        if classes:
            self._queue.add(enable_unsolicited(classes))
        self._due = {poll: now + period for poll, period in self.settings.periods.items()}
        self._next(now)

    def receive(self, payload: bytes, now: SimTime) -> None:
        for frame in self._decoder.receive(payload):
            ours = not frame.from_master and frame.destination == self.settings.address
            if self._link is None or not ours or frame.source != self.outstation:
                continue
            octets = self._link.receive(frame, now)
            if octets is not None:
                self._take(octets, now)

    def tick(self, now: SimTime) -> None:
        if self._link is None:
            return
        self._link.tick(now)
        self._close_reason = self._close_reason or self._link.close_reason
        if self._answer_by <= now:
            self._not_answered(now)
        if self._held_until <= now:
            self._release()
        for poll in [poll for poll, due in self._due.items() if due <= now]:
            self._due[poll] = now + self.settings.periods[poll]
            self._queue.add(event_poll(poll) if poll else integrity_poll())
        self._next(now)

    def next_timer(self) -> SimTime:
        if self._link is None or self._close_reason:
            return NEVER
        return min(self._link.next_timer(), self._answer_by, self._held_until, *self._due.values(), NEVER)

    def payload_to_send(self) -> bytes:
        return b"" if self._link is None else self._link.take()

    @property
    def close_reason(self) -> str:
        return self._close_reason

    @property
    def started(self) -> bool:
        """Whether the outstation has answered on this connection."""
        return self._started

    def take_events(self) -> list[LinkEvent]:
        events, self._events = self._events, []
        return events

    def _report(self, state: SessionState, now: SimTime, detail: str = "") -> None:
        self._events.append(SessionEvent(self.station, state, now, detail))

    # requests

    def interrogate(self, now: SimTime) -> None:
        if self._started:
            self._queue.add(integrity_poll())
            self._next(now)

    def poll(self, classes: Sequence[int], now: SimTime) -> None:
        """Read the events of some classes now."""
        if self._started:
            self._queue.add(event_poll(tuple(classes)))
            self._next(now)

    def request(self, function: int, body: bytes, now: SimTime) -> None:
        """Send any other request (freeze, dead bands, classes, restart); its response joins ``answers``."""
        self._queue.add(Task(TaskKind.REQUEST, function, body))
        self._next(now)

    def synchronize(self, now: SimTime) -> None:
        """Set the outstation's clock."""
        if self.settings.time_sync != "none":
            self._queue.add(record_time() if self.settings.time_sync == "lan" else measure_delay())
            self._next(now)

    def _next(self, now: SimTime) -> None:
        """Send the first task that may be sent, if none is under way."""
        if self._link is None or self._current is not None or self._close_reason:
            return
        task = self._queue.take(self._allowed)
        if task is not None:
            self._current, self._tries = task, 0
            self._ask(task, now)

    def _allowed(self, task: Task) -> bool:
        if self._held is None:
            return True
        return task.kind is TaskKind.OPERATE and task.command is not None and task.command.command_id == self._held

    def _ask(self, task: Task, now: SimTime) -> None:
        assert self._link is not None
        self._asked_ms, self._answer_by = now, now + self.settings.response_timeout_ms
        self._next_fragment = True
        self._link.send(encode_fragment(Fragment(task.function, self._sequence, task.body)), now)
        if task.function in (Function.DIRECT_OPERATE_NR, Function.FREEZE_NR, Function.FREEZE_CLEAR_NR):
            self._done(now)

    def _done(self, now: SimTime) -> None:
        self._sequence = (self._sequence + 1) & 0x0F
        self._current, self._answer_by = None, NEVER

    def _not_answered(self, now: SimTime) -> None:
        task = self._current
        assert task is not None
        if task.kind in COMMANDS:
            self._release()
            self._done(now)  # the outcome is unknown: the position will tell
        elif self._tries < self.settings.retries:
            self._tries += 1
            self._sequence = (self._sequence + 1) & 0x0F
            self._ask(task, now)
        else:
            waited = self.settings.response_timeout_ms * (self.settings.retries + 1)
            self._close_reason = f"no answer to {task.kind.value} within {waited} ms"
            self._answer_by = NEVER

    # responses

    def _take(self, octets: bytes, now: SimTime) -> None:
        try:
            fragment = decode_fragment(octets)
            if fragment.function not in (Function.RESPONSE, Function.UNSOLICITED):
                return
            headers = parse_headers(fragment.body, fragment.function)
        except MalformedFragmentError as error:
            self._close_reason = str(error)
            return
        if fragment.function == Function.UNSOLICITED:
            self._take_unsolicited(fragment, headers, octets, now)
        else:
            self._take_response(fragment, headers, now)
        self._next(now)

    def _take_unsolicited(
        self, fragment: Fragment, headers: Sequence[ObjectHeader], octets: bytes, now: SimTime
    ) -> None:
        repeated = octets == self._last_unsolicited and bool(fragment.body)
        self._last_unsolicited = octets
        if fragment.confirm:
            self._confirm(fragment, now)
        if not repeated:
            self._take_objects(headers, now)
        self._heed(fragment, now)

    def _take_response(self, fragment: Fragment, headers: Sequence[ObjectHeader], now: SimTime) -> None:
        task = self._current
        if task is None or fragment.sequence != self._sequence or fragment.first is not self._next_fragment:
            self.unexpected_answers += 1
            return
        if fragment.confirm:
            self._confirm(fragment, now)
        if not self._started:
            self._started = True
            self._report(SessionState.STARTED, now)
        if task.kind not in COMMANDS:
            self._take_objects(headers, now)
        if not fragment.final:
            self._sequence = (self._sequence + 1) & 0x0F
            self._next_fragment = False
            self._answer_by = now + self.settings.response_timeout_ms
            return
        self._done(now)
        self._finished(task, fragment, headers, now)
        self._heed(fragment, now)

    def _confirm(self, fragment: Fragment, now: SimTime) -> None:
        assert self._link is not None
        confirm = Fragment(Function.CONFIRM, fragment.sequence, unsolicited=fragment.unsolicited)
        self._link.send(encode_fragment(confirm), now)

    def _take_objects(self, headers: Sequence[ObjectHeader], now: SimTime) -> None:
        self._events += [ArrivedSample(sample, now) for sample in self.samples.read(headers, now)]

    def _finished(self, task: Task, fragment: Fragment, headers: Sequence[ObjectHeader], now: SimTime) -> None:
        if task.command is not None:
            self._take_command_answer(task, task.command, fragment, headers, now)
        elif task.kind is TaskKind.INTEGRITY:
            self._interrogated = True
            self._report(SessionState.INTERROGATED, now)
        elif task.kind is TaskKind.RECORD_TIME:
            self._queue.add(write_recorded_time(self._epoch_ms + self._asked_ms))
        elif task.kind is TaskKind.MEASURE_DELAY:
            self._take_delay(headers, now)
        elif task.kind is TaskKind.REQUEST:
            self.answers.append(fragment)

    def _take_delay(self, headers: Sequence[ObjectHeader], now: SimTime) -> None:
        inside = sum(
            int(item[3]) * (1_000 if header.variation == 1 else 1)
            for header in headers
            if header.group == 52
            for item in header.items()
        )
        self.propagation_ms = max(now - self._asked_ms - inside, 0) // 2
        self._queue.add(write_time(self._epoch_ms + now + self.propagation_ms))

    def _heed(self, fragment: Fragment, now: SimTime) -> None:
        """Do what the internal indications ask for."""
        iin = fragment.iin or Iin.NONE
        if iin & Iin.RESTART:
            self._on_restart(now)
        if iin & Iin.NEED_TIME and now >= self._set_clock_after and self._started:
            self._set_clock_after = now + self.settings.time_retry_ms
            self.synchronize(now)
        if iin & Iin.OVERFLOW and self._interrogated:
            self._queue.add(integrity_poll())
        waiting = tuple(c for c, bit in CLASS_BITS.items() if iin & bit and c not in self.settings.unsolicited)
        if (
            waiting
            and not fragment.unsolicited
            and self._interrogated
            and not self._due.keys() & {(c,) for c in waiting}
        ):
            self._queue.add(event_poll(waiting))

    def _on_restart(self, now: SimTime) -> None:
        """Clear the indication; where the session had begun, the outstation has restarted: begin anew."""
        if not self._is_clearing:
            self._queue.add(clear_restart())
            if self._interrogated:
                self._interrogated = False
                self._queue.add(integrity_poll())
                if self.settings.unsolicited:
                    self._queue.add(enable_unsolicited(tuple(self.settings.unsolicited)))

    @property
    def _is_clearing(self) -> bool:
        return self._current is not None and self._current.kind is TaskKind.CLEAR_RESTART

    # commands

    def select(self, command: LinkCommand, now: SimTime) -> None:
        self._order(TaskKind.SELECT, Function.SELECT, command, now)

    def operate(self, command: LinkCommand, now: SimTime) -> None:
        point = self._points.get(command.point)
        if point is not None and point.control_model is ControlModel.DIRECT:
            self._order(TaskKind.DIRECT, Function.DIRECT_OPERATE, command, now)
        else:
            self._order(TaskKind.OPERATE, Function.OPERATE, command, now)

    def cancel(self, command: LinkCommand, now: SimTime) -> None:
        """DNP3 has no request for that: the operate is not sent, and the select runs out."""
        self._queue.drop_command(command.command_id)
        if self._held == command.command_id:
            self._release()
        self._reply(command.command_id, ReplyKind.CANCELLED, now)
        self._next(now)

    def _order(self, kind: TaskKind, function: Function, command: LinkCommand, now: SimTime) -> None:
        definition, address = self._points.get(command.point), self._addresses.get(command.point)
        if definition is None or address is None or not definition.kind.is_output:
            self._reply(command.command_id, ReplyKind.REFUSED, now, UNKNOWN_POINT)
            return
        if not self._started:
            self._reply(command.command_id, ReplyKind.REFUSED, now, NOT_STARTED)
            return
        try:
            control = control_of(definition.kind, command.value, address.variation, self.settings.pulse_ms)
            body = control_block(address.index, control)
        except UnencodableValueError:
            self._reply(command.command_id, ReplyKind.REFUSED, now, VALUE_NOT_ENCODABLE)
            return
        self._queue.add(Task(kind, function, body, command))
        self._next(now)

    def _take_command_answer(
        self, task: Task, command: LinkCommand, fragment: Fragment, headers: Sequence[ObjectHeader], now: SimTime
    ) -> None:
        cause = refusal(fragment, headers)
        self._release()
        if cause:
            self._reply(command.command_id, ReplyKind.REFUSED, now, cause)
        elif task.kind is TaskKind.SELECT:
            self._held, self._held_until = command.command_id, now + self.settings.select_hold_ms
            self._reply(command.command_id, ReplyKind.SELECTED, now)
        else:
            self._reply(command.command_id, ReplyKind.ACTIVATED, now)

    def _release(self) -> None:
        self._held, self._held_until = None, NEVER

    def _reply(self, command_id: int, kind: ReplyKind, now: SimTime, cause: str = "") -> None:
        self._events.append(CommandReply(self.station, command_id, kind, now, cause))

    # state as data

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able values; events must have been taken before.

        Raises:
            RuntimeError: events are waiting to be taken.
        """
        if self._events:
            raise RuntimeError(f"link {self.station}: snapshot with events not taken")
        return {
            "link": None if self._link is None else self._link.snapshot(),
            "decoder": self._decoder.snapshot(),
            "queue": self._queue.snapshot(),
            "current": None if self._current is None else self._current.row(),
            "exchange": [self._sequence, self._next_fragment, self._asked_ms, self._answer_by, self._tries],
            "held": [self._held, self._held_until],
            "states": [self._started, self._interrogated, self._set_clock_after, self._close_reason],
            "last_unsolicited": self._last_unsolicited.hex(),
            "due": [[list(poll), due] for poll, due in self._due.items()],
            "counts": [self.unexpected_answers, self.samples.unknown_objects, self.samples.unsuitable_objects],
            "propagation_ms": self.propagation_ms,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`snapshot`, into a session made with the same points and settings."""
        self._forget()
        if state["link"] is not None:
            s = self.settings
            self._link = LinkEnd(s.address, self.outstation, master=True, settings=s.link, now=0)
            self._link.restore(state["link"])
        self._decoder.restore(state["decoder"])
        self._queue.restore(state["queue"])
        self._current = None if state["current"] is None else Task.from_row(state["current"])
        self._sequence, self._next_fragment, self._asked_ms, self._answer_by, self._tries = state["exchange"]
        self._held, self._held_until = state["held"]
        self._started, self._interrogated, self._set_clock_after, self._close_reason = state["states"]
        self._last_unsolicited = bytes.fromhex(state["last_unsolicited"])
        self._due = {tuple(poll): due for poll, due in state["due"]}
        self.unexpected_answers, self.samples.unknown_objects, self.samples.unsuitable_objects = state["counts"]
        self.propagation_ms = state["propagation_ms"]
        self._events = []
