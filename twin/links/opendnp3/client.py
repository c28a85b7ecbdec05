"""Supervises the opendnp3 process of one outstation: starts it, starts it again when it dies, turns its lines into
link events and the command path's wishes into its orders.

Differences to our own master, which come from the library: a select is sent together with its operate, so SELECTED is
said here before anything is sent; DNP3 objects without time are stamped on arrival.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twin.errors import Blame, TwinError
from twin.links.client import CLOSED_BY_US, LinkClient, ReconnectSettings
from twin.links.dnp3 import (
    NOT_STARTED,
    UNKNOWN_POINT,
    VALUE_NOT_ENCODABLE,
    Dnp3LinkSettings,
    Dnp3MasterSession,
)
from twin.links.dnp3_answers import NEGATIVE_CONFIRMATION, refusal_text
from twin.links.model import (
    ArrivedSample,
    CommandReply,
    LinkCommand,
    LinkEvent,
    ReplyKind,
    SessionEvent,
    SessionState,
)
from twin.links.worker_process import end_worker, start_worker, wait_until
from twin.points.dnp3 import assigned
from twin.points.model import ControlModel, PointDefinition, Sample, TimeSource
from twin.protocols.dnp3 import Control, Crob, UnencodableValueError
from twin.protocols.dnp3.mapping import control_of, quality_of
from twin.protocols.dnp3.objects import STATIC_OF_EVENT
from twin.security import TlsRelay, TlsSettings
from twin.timebase import SimTime, TimeBase

Clock = Callable[[], SimTime]
DIED = "the opendnp3 process ended"
WORKER = Path(__file__).with_name("worker.py")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TIME_SYNC = {"lan": "LAN", "non_lan": "NonLAN", "none": "None"}


class StackMissingError(TwinError):
    """The opendnp3 stack is asked for and not installed."""

    blame = Blame.SCENARIO

    def __init__(self, station: str) -> None:
        self.station = station
        super().__init__(f"station {station} asks for the stack opendnp3: install distribution-twin[opendnp3]")


class Opendnp3Client:
    """One outstation, kept connected by opendnp3 from :meth:`start` to :meth:`stop`; used from its loop's thread only.

    Offers what :class:`twin.links.client.LinkClient` does. ``restarts`` counts processes that died.

    Raises:
        StackMissingError: the library is not installed.
    """

    def __init__(
        self,
        station: str,
        points: Sequence[PointDefinition],
        time_base: TimeBase,
        host: str,
        port: int,
        clock: Clock,
        on_events: Callable[[Sequence[LinkEvent]], None],
        *,
        settings: Dnp3LinkSettings | None = None,
        reconnect: ReconnectSettings | None = None,
        tls: TlsSettings | None = None,
    ) -> None:
        if importlib.util.find_spec("opendnp3") is None:
            raise StackMissingError(station)
        self.station = station
        self.restarts = 0
        self.started = False
        self._target = self._where = (host, port)
        self._tls = tls
        self.last_failure = ""
        self._clock = clock
        self._on_events = on_events
        self._settings = settings or Dnp3LinkSettings()
        self._reconnect = reconnect or ReconnectSettings()
        self._points = {point.name: point for point in points}
        self._addresses = assigned((p.name, p.kind.value, p.dnp3) for p in points)
        common = points[0].address.common_address if points else 0
        self._outstation = common if self._settings.outstation is None else self._settings.outstation
        inputs = [p for p in points if not p.kind.is_output and p.name in self._addresses]
        self._names = {(self._addresses[p.name].group, self._addresses[p.name].index): p.name for p in inputs}
        self._epoch_ms = (time_base.start - _EPOCH) // _MILLISECOND
        self._connected = False
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._up = asyncio.Event()

    # the process

    @property
    def process_id(self) -> int | None:
        """The process that holds the library now."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Begin to connect, in the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._keep_running())

    async def ready(self) -> None:
        """Wait until the process is up."""
        await wait_until(self._up)

    async def stop(self) -> None:
        """Hang up; returns when the process is gone."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._end()
        self._lost(CLOSED_BY_US)

    async def _keep_running(self) -> None:
        if self._tls is None:
            await self._keep_worker()
            return
        relay = TlsRelay(self._tls, *self._target, protects="dialled", on_refused=self._refused)
        self._where = await relay.start()
        try:
            await self._keep_worker()
        finally:
            await relay.stop()

    def _refused(self, sentence: str) -> None:
        """TLS with the station failed: said as of a loss, once a reason."""
        before, self.last_failure = self.last_failure, sentence
        if sentence != before:
            self._publish(SessionEvent(self.station, SessionState.LOST, self._clock(), sentence))

    async def _keep_worker(self) -> None:
        while True:
            try:
                await self._run()
            finally:
                await self._end()
            self._lost(DIED)
            self.restarts += 1
            await asyncio.sleep(self._reconnect.wait_s(min(self.restarts, 3)))

    async def _run(self) -> None:
        """Start the process and read it to its end."""
        self._process = await start_worker(WORKER)
        self._order(self._setup())
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._take(json.loads(line))

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await end_worker(process)

    def _setup(self) -> dict[str, Any]:
        s = self._settings
        wall_ms = (datetime.now(UTC) - _EPOCH) // _MILLISECOND
        return {
            "host": self._where[0],
            "port": self._where[1],
            "master": s.address,
            "outstation": self._outstation,
            "retry_ms": int(self._reconnect.first_s * 1000),
            "most_retry_ms": int(self._reconnect.most_s * 1000),
            "keep_alive_ms": s.link.keep_alive_ms,
            "response_timeout_ms": s.response_timeout_ms,
            "time_sync": _TIME_SYNC[s.time_sync],
            "polls": [[list(classes), period] for classes, period in s.periods.items()],
            "offset_ms": self._epoch_ms + self._clock() - wall_ms,
        }

    def _order(self, order: Mapping[str, Any]) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")

    # what it says

    def _take(self, row: Mapping[str, Any]) -> None:
        self._up.set()
        handler = _ROWS.get(row["t"])
        if handler is not None:
            handler(self, row)

    def _take_channel(self, row: Mapping[str, Any]) -> None:
        if row["state"] == "OPEN":
            self._connected = True
            self._publish(SessionEvent(self.station, SessionState.CONNECTED, self._clock()))
        else:
            self._lost("closed by the station")

    def _lost(self, reason: str) -> None:
        connected, self._connected, self.started = self._connected, False, False
        if connected:
            self._publish(SessionEvent(self.station, SessionState.LOST, self._clock(), reason))

    def _take_task(self, row: Mapping[str, Any]) -> None:
        if row["result"] != "SUCCESS" or not self._connected:
            return
        if not self.started:
            self.started = True
            self._publish(SessionEvent(self.station, SessionState.STARTED, self._clock()))
        if row["task"] == "STARTUP_INTEGRITY_POLL":
            self._publish(SessionEvent(self.station, SessionState.INTERROGATED, self._clock()))

    def _take_values(self, row: Mapping[str, Any]) -> None:
        now = self._clock()
        group = STATIC_OF_EVENT.get(row["group"], row["group"])
        samples = []
        for index, value, flags, t_ms in row["items"]:
            name = self._names.get((group, index))
            if name is not None:
                samples.append(ArrivedSample(self._sample(name, group, value, flags, t_ms, row["event"], now), now))
        if samples:
            self._on_events(samples)

    def _sample(self, name: str, group: int, value: float, flags: int, t_ms: int, event: bool, now: SimTime) -> Sample:
        mask = {1: 0x7F, 3: 0x3F, 10: 0x7F}.get(group, 0xFF)  # the library leaves the state in the flags
        quality = quality_of(flags & mask, group)
        if event and t_ms:
            return Sample(self.station, name, float(value), quality, t_ms - self._epoch_ms)
        return Sample(self.station, name, float(value), quality, now, event, TimeSource.FRONT_END)

    def _take_command(self, row: Mapping[str, Any]) -> None:
        points = row["points"]
        if row["summary"] != "SUCCESS" or not points or points[0][1] == "INIT":
            return  # no answer: the outcome is unknown, and the position will tell
        cause = refusal_text(points[0][2])
        kind = ReplyKind.REFUSED if cause else ReplyKind.ACTIVATED
        self._reply(row["id"], kind, cause)

    def _publish(self, event: LinkEvent) -> None:
        self._on_events([event])

    def _reply(self, command_id: int, kind: ReplyKind, cause: str = "") -> None:
        self._publish(CommandReply(self.station, command_id, kind, self._clock(), cause))

    # orders

    def act(self, action: Callable[[Opendnp3Client, SimTime], None]) -> None:
        """Let it do something (select, operate, interrogate, ...), as :meth:`LinkClient.act` does."""
        action(self, self._clock())

    def interrogate(self, now: SimTime) -> None:
        """Read everything."""
        self._order({"do": "integrity"})

    def select(self, command: LinkCommand, now: SimTime) -> None:
        """Check the command; opendnp3 sends the select with the operate."""
        if self._control(command) is not None:
            self._reply(command.command_id, ReplyKind.SELECTED)

    def operate(self, command: LinkCommand, now: SimTime) -> None:
        """Select and operate, or operate directly, by the point's control model."""
        control = self._control(command)
        if control is None:
            return
        point, address = self._points[command.point], self._addresses[command.point]
        direct = point.control_model is ControlModel.DIRECT
        order: dict[str, Any] = {"do": "direct_operate" if direct else "select_and_operate", "id": command.command_id}
        self._order({**order, "group": address.group, "index": address.index, **_fields(control)})

    def cancel(self, command: LinkCommand, now: SimTime) -> None:
        """Nothing has been sent yet."""
        self._reply(command.command_id, ReplyKind.CANCELLED)

    def _control(self, command: LinkCommand) -> Control | None:
        point, address = self._points.get(command.point), self._addresses.get(command.point)
        cause = ""
        if point is None or address is None or not point.kind.is_output:
            cause = UNKNOWN_POINT
        elif not self.started:
            cause = NOT_STARTED
        else:
            try:
                return control_of(point.kind, command.value, address.variation, self._settings.pulse_ms)
            except UnencodableValueError:
                cause = VALUE_NOT_ENCODABLE
        self._reply(command.command_id, ReplyKind.REFUSED, cause or NEGATIVE_CONFIRMATION)
        return None


_ROWS: Mapping[str, Callable[[Opendnp3Client, Mapping[str, Any]], None]] = {
    "channel": Opendnp3Client._take_channel,
    "task": Opendnp3Client._take_task,
    "values": Opendnp3Client._take_values,
    "command": Opendnp3Client._take_command,
}


def _fields(control: Control) -> dict[str, Any]:
    if isinstance(control, Crob):
        return {"operation": int(control.operation), "trip_close": int(control.trip_close), "on_ms": control.on_ms}
    return {"value": control.value, "variation": control.variation}


def dnp3_client(
    stack: str,
    station: str,
    points: Sequence[PointDefinition],
    time_base: TimeBase,
    host: str,
    port: int,
    clock: Clock,
    on_events: Callable[[Sequence[LinkEvent]], None],
    *,
    settings: Dnp3LinkSettings | None = None,
    reconnect: ReconnectSettings | None = None,
) -> LinkClient | Opendnp3Client:
    """The master of an outstation in real time: our own (``own``) or ``opendnp3``.

    Raises:
        StackMissingError: opendnp3 is asked for and not installed.
    """
    if stack == "opendnp3":
        return Opendnp3Client(
            station, points, time_base, host, port, clock, on_events, settings=settings, reconnect=reconnect
        )
    session = Dnp3MasterSession(station, points, time_base, settings)
    return LinkClient(session, host, port, clock, on_events, reconnect=reconnect)
