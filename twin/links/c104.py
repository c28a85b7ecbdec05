"""``stack: c104``: an IEC 60870-5-104 link over lib60870 instead of our own stack, for real time.

c104 runs in a process of its own, behind a filter, and is started again if it dies. It keeps the connection and sends;
what the station says is decoded by our codec from the frames it received, because the library knows one
type an address and now and then reports a command as failed that succeeded. Its clock synchronisation sends the
machine's time, so the time base must be the calendar's. Its guards are listed in ``docs/protocols/iec104.md``.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twin.errors import Blame, TwinError
from twin.links.c104_filter import FilteringProxy
from twin.links.client import Clock, ReconnectSettings
from twin.links.iec104 import Iec104LinkSettings, Iec104MasterSession
from twin.links.iec104_answers import CommandStage, PendingCommand
from twin.links.model import LinkCommand, LinkEvent, ReplyKind, SessionEvent, SessionState
from twin.links.worker_process import end_worker, start_worker, wait_until
from twin.points.model import ControlModel, PointDefinition
from twin.protocols.iec104 import Asdu, Cause, MalformedFrameError, TypeId, decode_asdu
from twin.protocols.iec104.apci import APCI_OCTETS
from twin.protocols.iec104.mapping import command_value
from twin.protocols.iec104.types import plain_type
from twin.security import TlsRelay, TlsSettings
from twin.timebase import NEVER, SimTime, TimeBase

WORKER = Path(__file__).with_name("c104_worker.py")
COMMAND_LIMIT_MS = 1_500
TICK_S = 0.1


class C104MissingError(TwinError):
    """The stack c104 is asked for, but not installed."""

    blame = Blame.SCENARIO

    def __init__(self) -> None:
        super().__init__("the stack c104 is not installed; add the extra distribution-twin[c104]")


class C104MasterSession(Iec104MasterSession):
    """Our session, whose requests go to the worker as orders and whose answers come from its frames.

    A select is kept here: the library sends select and execute together, when the command is operated.
    """

    def __init__(
        self,
        station: str,
        points: Sequence[PointDefinition],
        time_base: TimeBase,
        settings: Iec104LinkSettings | None = None,
    ) -> None:
        super().__init__(station, points, time_base, settings)
        self._open = False
        self._orders: list[dict[str, Any]] = []

    @property
    def started(self) -> bool:
        return self._open

    def opened(self, now: SimTime) -> None:
        """The worker has data transfer."""
        if self._open:
            return
        self._report(SessionState.CONNECTED, now)
        self._open = True
        self._begin(now)

    def disconnected(self, now: SimTime, reason: str) -> None:
        was, self._open = self._open, False
        self._orders.clear()
        if was:
            super().disconnected(now, reason)

    def take_orders(self) -> list[dict[str, Any]]:
        """What the worker is to do, once."""
        orders, self._orders = self._orders, []
        return orders

    def receive_frame(self, octets: bytes, now: SimTime) -> None:
        """A frame that the worker received."""
        if self._open and len(octets) > APCI_OCTETS and not octets[2] & 1:
            self._take(decode_asdu(octets, APCI_OCTETS), now)

    def tick(self, now: SimTime) -> None:
        if not self._open:
            return
        for common_address in [ca for ca, limit in self._interrogating.items() if limit <= now]:
            self._interrogate(common_address, now)
        self._run_periods(now)

    def next_timer(self) -> SimTime:
        return min(*self._interrogating.values(), *self._due.values(), NEVER)

    def select(self, command: LinkCommand, now: SimTime) -> None:
        definition = self._points.get(command.point)
        if definition is None or not definition.kind.is_output or not self._open:
            super().select(command, now)
            return
        self._pending[command.point] = PendingCommand(command.command_id, CommandStage.SELECTED)
        self._reply(command.command_id, ReplyKind.SELECTED, now)

    def cancel(self, command: LinkCommand, now: SimTime) -> None:
        """Nothing was selected at the station."""
        if self._pending.pop(command.point, None) is not None:
            self._reply(command.command_id, ReplyKind.CANCELLED, now)

    def _take_command_answer(self, asdu: Asdu, now: SimTime) -> None:
        """The confirmation of the library's own select says nothing yet, unless it refuses."""
        selecting = getattr(asdu.objects[0].element, "select", False)
        if not selecting or asdu.negative:
            super()._take_command_answer(asdu, now)

    def _send(self, asdu: Asdu, now: SimTime) -> None:
        if not self._open:
            return
        o, order = asdu.objects[0], {"ca": asdu.common_address}
        if asdu.type_id == TypeId.C_IC_NA_1:
            self._orders.append(order | {"do": "interrogate", "qualifier": o.element.qualifier})
        elif asdu.type_id == TypeId.C_CI_NA_1:
            wanted = {"request": o.element.request, "freeze": o.element.freeze}
            self._orders.append(order | {"do": "counters"} | wanted)
        elif asdu.type_id == TypeId.C_CS_NA_1:
            self._orders.append(order | {"do": "clock"})
        elif asdu.cause == Cause.ACTIVATION:
            self._orders.append(order | {"do": "command", "ioa": o.ioa, "value": command_value(o.element)})


class C104Client:
    """Keeps a c104 process connected from :meth:`start` to :meth:`stop`, as ``LinkClient`` keeps a socket.

    ``restarts`` counts the processes that died; ``faults`` keeps the last sentences of the filter. ``last_verdict`` is
    what the library thought of the last command, for diagnosis alone.
    """

    def __init__(
        self,
        session: C104MasterSession,
        host: str,
        port: int,
        clock: Clock,
        on_events: Callable[[Sequence[LinkEvent]], None],
        *,
        reconnect: ReconnectSettings | None = None,
        tls: TlsSettings | None = None,
    ) -> None:
        self.session = session
        self.restarts = 0
        self.faults: list[str] = []
        self.last_verdict: bool | None = None
        self.process: asyncio.subprocess.Process | None = None
        self._target = (host, port)
        self._clock = clock
        self._on_events = on_events
        self._reconnect = reconnect or ReconnectSettings()
        self._tls = tls
        self._task: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._failures = 0

    def start(self) -> None:
        """Begin, in the running loop.

        Raises:
            C104MissingError: the library is not installed.
        """
        if importlib.util.find_spec("c104") is None:
            raise C104MissingError
        self._task = asyncio.get_running_loop().create_task(self._supervise())

    async def ready(self) -> None:
        """Wait until the process is up."""
        await wait_until(self._up)

    async def stop(self) -> None:
        """End the process and stay disconnected."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._lost("closed here")

    def act(self, action: Callable[[C104MasterSession, SimTime], None]) -> None:
        """Let the session do something and send it at once."""
        action(self.session, self._clock())
        self._carry()

    async def _supervise(self) -> None:
        relay = None
        target = self._target
        if self._tls is not None:
            relay = TlsRelay(self._tls, *target, protects="dialled", on_refused=self._refused)
            target = await relay.start()
        proxy = FilteringProxy(*target, self._fault)
        try:
            address = await proxy.start()
            while True:
                ended = await self._run_worker(address)
                self.restarts += 1
                self._failures += 1
                self._lost(f"the c104 process ended with {ended}")
                await asyncio.sleep(self._reconnect.wait_s(self._failures))
        finally:
            await proxy.stop()
            if relay is not None:
                await relay.stop()

    async def _run_worker(self, address: tuple[str, int]) -> int:
        """One process from its start to its end; its exit code, negative for a signal."""
        self.process = await start_worker(WORKER, json.dumps(self._setup(address)))
        ticking = asyncio.ensure_future(self._tick())
        try:
            await self._listen(self.process)
            return await self.process.wait()
        finally:
            ticking.cancel()
            await end_worker(self.process)
            self.process = None

    def _setup(self, address: tuple[str, int]) -> dict[str, Any]:
        outputs = [p for p in self.session.points if p.kind.is_output]
        commands = [
            [
                p.address.common_address,
                p.address.ioa,
                TypeId(plain_type(p.address.type_id)).name,
                p.control_model is ControlModel.SELECT_BEFORE_OPERATE,
            ]
            for p in outputs
        ]
        return {"ip": address[0], "port": address[1], "commands": commands, "limit_ms": COMMAND_LIMIT_MS}

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            if line.startswith(b"{"):
                self._hear(json.loads(line))

    def _hear(self, row: dict[str, Any]) -> None:
        now = self._clock()
        self._up.set()
        if row["event"] == "raw":
            try:
                self.session.receive_frame(bytes.fromhex(row["octets"]), now)
            except MalformedFrameError as error:
                self._fault(str(error))
        elif row["event"] == "sent":
            self.last_verdict = row["success"]
        elif row["event"] == "state" and row["state"] == "OPEN":
            self._failures = 0
            self.session.opened(now)
        elif row["event"] == "state" and row["state"].startswith("CLOSED"):
            self._lost(self.faults[-1] if self.faults else "closed by the station")
        self._carry()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.session.tick(self._clock())
            self._carry()

    def _carry(self) -> None:
        orders = self.session.take_orders()
        if self.process is not None and self.process.stdin is not None and not self.process.stdin.is_closing():
            self.process.stdin.writelines(json.dumps(order).encode() + b"\n" for order in orders)
        if events := self.session.take_events():
            self._on_events(events)

    def _lost(self, reason: str) -> None:
        self.session.disconnected(self._clock(), reason)
        self._carry()

    def _refused(self, sentence: str) -> None:
        """TLS with the station failed: said as of a loss, once a reason."""
        if sentence not in self.faults[-1:]:
            self._on_events([SessionEvent(self.session.station, SessionState.LOST, self._clock(), sentence)])
        self._fault(sentence)

    def _fault(self, sentence: str) -> None:
        self.faults = [*self.faults[-9:], sentence]
