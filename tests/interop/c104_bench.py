"""c104 (lib60870) in processes of its own, as master and as station, and our two sides in front of it.

c104 is GPL-3 and is never imported here; what it saw and was told crosses as JSON lines.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twin.links.client import LinkClient, ReconnectSettings
from twin.links.iec104 import Iec104LinkSettings, Iec104MasterSession
from twin.links.model import ArrivedSample, CommandReply, LinkEvent, ReplyKind, SessionEvent, SessionState
from twin.outstations.iec104 import Iec104Outstation, Iec104OutstationSettings
from twin.outstations.model import StationCommand
from twin.outstations.server import OutstationServer
from twin.points.model import PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.timebase import TimeBase

PEERS = Path(__file__).parent / "peers"
BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
START_S = BASE.start.timestamp()
HOST = "127.104.0.1"
CA = 47
LIMIT_S = 60.0
"""How long anything may take; a machine under load is slow, and c104 waits 2 s for each answer it lost."""
NEGATIVE = 0x40
SELECT = 0x80
ACTIVATION_CON, ACTIVATION_TERMINATION, REQUESTED = 7, 10, 5
WITH_TERMINATION = {"interrogate": 100, "counters": 101}
CONFIRMED = {"clock": (103,), "test": (104, 107)}


def point(name: str, kind: PointKind, ioa: int, type_id: int, **more: Any) -> PointDefinition:
    return PointDefinition("RTU_1", name, kind, "CB_1", name, PointAddress(CA, ioa, type_id), **more)


def now_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1000)


async def until(holds: Callable[[], bool], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + LIMIT_S
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not happen within {LIMIT_S:g} s"
        await asyncio.sleep(0.005)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 4 * LIMIT_S))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Peer:
    """A c104 process: orders in, what it saw out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.rows: list[dict[str, Any]] = []

    async def listen(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            if line.startswith(b"{"):
                self.rows.append(json.loads(line))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["event"] == event]

    def points(self) -> dict[int, dict[str, Any]]:
        """The last row seen of each information object address."""
        return {row["ioa"]: row for row in self.of("point")}

    def frames(self, since: int = 0) -> list[bytes]:
        """I-frames as they came, from a row on."""
        frames = [bytes.fromhex(row["octets"]) for row in self.rows[since:] if row["event"] == "raw"]
        return [frame for frame in frames if len(frame) > 15]

    async def tell(self, **order: Any) -> bool:
        """Give an order; what the library says of it."""
        before = len(self.of("done"))
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        await until(lambda: len(self.of("done")) > before, f"order {order}")
        return bool(self.of("done")[-1]["success"])

    async def obeys(self, tries: int = 8, **order: Any) -> bool:
        """Give an order; whether our station carried it out, by the frames of its answer alone.

        The library itself now and then reports as failed what succeeded, and under load it may lose the confirmation
        of a select and never send the execute. Then the order is given again: no answer is no refusal. Only answers
        to this order count, not those to one before.
        """
        for _ in range(tries):
            since = len(self.rows)
            said = await self.tell(**order)
            verdict = self._verdict(order, self.frames(since))
            if verdict is not None:
                return verdict
            if said:  # the rows of the frames come from another thread, perhaps behind that of the success
                return await self._answered(order, since)
        raise AssertionError(f"no answer to {order} in {tries} attempts")

    async def _answered(self, order: dict[str, Any], since: int) -> bool:
        await until(lambda: self._verdict(order, self.frames(since)) is not None, f"answer to {order}")
        return bool(self._verdict(order, self.frames(since)))

    @staticmethod
    def _verdict(order: dict[str, Any], frames: list[bytes]) -> bool | None:
        """What the frames say of an order: carried out, refused, or nothing yet."""
        what = order["do"]
        if what == "command":
            return _command_verdict(order["ioa"], order["type"], frames)
        if what == "read":
            found = [f for f in frames if f[8] & 0x3F == REQUESTED and _ioa(f) == order["ioa"]]
        elif what in WITH_TERMINATION and order.get("freeze", "READ") == "READ":
            found = [f for f in frames if f[6] == WITH_TERMINATION[what] and f[8] & 0x3F == ACTIVATION_TERMINATION]
            refused = [f for f in frames if f[6] == WITH_TERMINATION[what] and f[8] & NEGATIVE]
            found = found or refused
        else:
            types = CONFIRMED.get(what, (101,))
            found = [f for f in frames if f[6] in types and f[8] & 0x3F == ACTIVATION_CON]
        return not found[-1][8] & NEGATIVE if found else None


def _ioa(frame: bytes) -> int:
    return int.from_bytes(frame[12:15], "little")


_ELEMENT_SIZE = {45: 1, 46: 1, 47: 1, 48: 3, 49: 3, 50: 5, 58: 1, 59: 1, 60: 1, 61: 3, 62: 3, 63: 5}


def _command_verdict(ioa: int, type_id: int, frames: list[bytes]) -> bool | None:
    answers = [f for f in frames if f[6] == type_id and f[8] & 0x3F == ACTIVATION_CON and _ioa(f) == ioa]
    for frame in answers:
        if frame[8] & NEGATIVE:
            return False
        size = _ELEMENT_SIZE.get(type_id, 0)
        if not size or not frame[14 + size] & SELECT:  # the octet with S/E is the element's last
            return True
    return None


@asynccontextmanager
async def peer(script: str, ip: str, port: int, points: list[Any], commands: list[Any]) -> AsyncIterator[Peer]:
    setup = {"ip": ip, "port": port, "ca": CA, "points": points, "commands": commands}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PEERS / script),
        json.dumps(setup),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    running = Peer(process)
    listening = asyncio.create_task(running.listen())
    try:
        yield running
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), LIMIT_S)
        except TimeoutError:
            process.kill()
            await process.wait()
        await listening


async def data_transfer(*masters: Peer) -> None:
    for master in masters:
        await until(lambda m=master: any(row["state"] == "OPEN" for row in m.of("state")), "data transfer")  # type: ignore[misc]


class Device:
    """The device behind our station: refuses by its rule, and is done with a command in the loop's next turn."""

    def __init__(self, feedback: dict[str, str] | None = None) -> None:
        self.rule = ""
        self.heard: list[tuple[str, str, float]] = []
        self.server: OutstationServer | None = None
        self._feedback = feedback or {}

    def select(self, command: StationCommand, now: int) -> str:
        self.heard.append(("select", command.point, command.value))
        return self.rule

    def operate(self, command: StationCommand, now: int) -> str:
        self.heard.append(("operate", command.point, command.value))
        if not self.rule:
            asyncio.get_running_loop().call_soon(self._finish, command)
        return self.rule

    def cancel(self, command: StationCommand, now: int) -> None:
        self.heard.append(("cancel", command.point, command.value))

    def _finish(self, command: StationCommand) -> None:
        assert self.server is not None
        if fed_back := self._feedback.get(command.point):
            self.server.update("RTU_1", [Sample("RTU_1", fed_back, command.value, Quality.GOOD, now_ms())])
        self.server.finished("RTU_1", command.ticket, True)


@asynccontextmanager
async def our_station(
    device: Device, points: Sequence[PointDefinition], port: int = 0, **settings: Any
) -> AsyncIterator[tuple[OutstationServer, str, int]]:
    server = OutstationServer(now_ms)
    device.server = server
    station = Iec104Outstation("RTU_1", points, device, BASE, Iec104OutstationSettings(**settings))
    ip, port = await server.host(station, HOST, port)
    try:
        yield server, ip, port
    finally:
        await server.close()


class Control:
    """Our link, and all it said."""

    def __init__(
        self, ip: str, port: int, points: Sequence[PointDefinition], settings: Iec104LinkSettings | None = None
    ) -> None:
        self.session = Iec104MasterSession("RTU_1", points, BASE, settings)
        self.events: list[LinkEvent] = []
        reconnect = ReconnectSettings(first_s=0.05, factor=1.5, most_s=0.5)
        self.client = LinkClient(self.session, ip, port, now_ms, self.take, reconnect=reconnect)

    def take(self, events: Sequence[LinkEvent]) -> None:
        self.events += events

    def samples(self, *, spontaneous: bool) -> dict[str, Sample]:
        arrived = [event.sample for event in self.events if isinstance(event, ArrivedSample)]
        return {sample.point: sample for sample in arrived if sample.spontaneous is spontaneous}

    def states(self) -> list[SessionState]:
        return [event.state for event in self.events if isinstance(event, SessionEvent)]

    def replies(self) -> list[tuple[int, ReplyKind, str]]:
        return [(event.command_id, event.kind, event.cause) for event in self.events if isinstance(event, CommandReply)]

    async def replied(self, count: int) -> None:
        await until(lambda: len(self.replies()) >= count, f"reply {count}")


@asynccontextmanager
async def our_link(
    port: int, points: Sequence[PointDefinition], settings: Iec104LinkSettings | None = None
) -> AsyncIterator[Control]:
    control = Control(HOST, port, points, settings)
    control.client.start()
    try:
        yield control
    finally:
        await control.client.stop()
