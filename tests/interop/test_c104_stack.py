"""``stack: c104``: our control side over lib60870 in a process of its own, each guard against a known defect apart.

The station is ours; what it must never see or do is played by raw frames.
"""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.links.c104 import WORKER, C104Client, C104MasterSession
from twin.links.c104_filter import FrameFilter
from twin.links.client import ReconnectSettings
from twin.links.model import ArrivedSample, CommandReply, LinkCommand, LinkEvent, ReplyKind, SessionEvent, SessionState
from twin.outstations.iec104 import Iec104Outstation
from twin.outstations.model import StationCommand
from twin.outstations.server import AccessSettings, OutstationServer
from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.protocols.iec104 import (
    TYPES,
    Asdu,
    Cause,
    Connection,
    ConnectionSettings,
    InformationObject,
    MalformedFrameError,
    Role,
    TimeTag,
    encode_asdu,
)
from twin.protocols.iec104.apci import encode_i_frame
from twin.security import Lab
from twin.timebase import TimeBase

needs_c104 = pytest.mark.skipif(importlib.util.find_spec("c104") is None, reason="c104 is not installed")
HOST = "127.104.0.9"
CA = 47
LIMIT_S = 60.0
BASE = TimeBase(datetime.now(UTC))


def point(name: str, kind: PointKind, ioa: int, type_id: int, **more: Any) -> PointDefinition:
    return PointDefinition("RTU_1", name, kind, "CB_1", name, PointAddress(CA, ioa, type_id), **more)


DIRECT = {"control_model": ControlModel.DIRECT}
POINTS = [
    point("position", PointKind.DOUBLE, 1, 3),
    point("i_a", PointKind.MEASURAND, 2, 13),
    point("energy", PointKind.COUNTER, 3, 15),
    point("bits", PointKind.BITSTRING, 4, 7),
    point("operate", PointKind.DOUBLE_COMMAND, 100, 46),
    point("close", PointKind.SINGLE_COMMAND, 101, 45, **DIRECT),
    point("step", PointKind.STEP_COMMAND, 102, 47, **DIRECT),
    point("share", PointKind.SETPOINT, 103, 48, **DIRECT),
    point("scaled", PointKind.SETPOINT, 104, 49, **DIRECT),
    point("target", PointKind.SETPOINT, 105, 50, **DIRECT),
    point("word", PointKind.BITSTRING_COMMAND, 106, 51, **DIRECT),
]


def now_ms() -> int:
    return BASE.sim_time(datetime.now(UTC))


async def until(holds: Callable[[], bool], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + LIMIT_S
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not happen within {LIMIT_S:g} s"
        await asyncio.sleep(0.005)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 3 * LIMIT_S))


class Device:
    """Takes what ``rule`` allows; ends a command when told."""

    def __init__(self) -> None:
        self.rule = ""
        self.silent = False
        self.heard: list[tuple[str, str, float]] = []
        self.server: OutstationServer | None = None

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
        if command.point == "operate":
            self.server.update("RTU_1", [Sample("RTU_1", "position", command.value, Quality.GOOD, now_ms())])
        self.server.finished("RTU_1", command.ticket, True)


class Control:
    def __init__(self, port: int, **more: Any) -> None:
        self.events: list[LinkEvent] = []
        reconnect = ReconnectSettings(first_s=0.1, most_s=0.5)
        session = C104MasterSession("RTU_1", POINTS, BASE)
        self.client = C104Client(session, HOST, port, now_ms, self.take, reconnect=reconnect, **more)

    def take(self, events: Sequence[LinkEvent]) -> None:
        self.events += events

    def states(self) -> list[SessionState]:
        return [event.state for event in self.events if isinstance(event, SessionEvent)]

    def losses(self) -> list[str]:
        return [e.detail for e in self.events if isinstance(e, SessionEvent) and e.state is SessionState.LOST]

    def replies(self, number: int) -> list[tuple[ReplyKind, str]]:
        return [(e.kind, e.cause) for e in self.events if isinstance(e, CommandReply) and e.command_id == number]

    def samples(self) -> list[Sample]:
        return [event.sample for event in self.events if isinstance(event, ArrivedSample)]

    def operate(self, number: int, name: str, value: float) -> None:
        command = LinkCommand(number, "RTU_1", name, value)
        self.client.act(lambda session, now: session.operate(command, now))

    def select(self, number: int, name: str, value: float) -> None:
        command = LinkCommand(number, "RTU_1", name, value)
        self.client.act(lambda session, now: session.select(command, now))


@asynccontextmanager
async def bench(lab: Lab | None = None) -> Any:
    """Our station, and our control side over c104."""
    device = Device()
    server = device.server = OutstationServer(now_ms)
    station = Iec104Outstation("RTU_1", POINTS, device, BASE)
    access = AccessSettings(tls=None if lab is None else lab.settings("RTU_1"))
    _, port = await server.host(station, HOST, 0, access)
    values = [("position", 2), ("i_a", 5.5), ("energy", 77), ("bits", 9)]
    server.update("RTU_1", [Sample("RTU_1", n, v, Quality.GOOD, now_ms(), False) for n, v in values])
    control = Control(port, tls=None if lab is None else lab.settings("control-room"))
    control.client.start()
    try:
        await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
        yield device, control
    finally:
        await control.client.stop()
        await server.close()


@needs_c104
@pytest.mark.interop
def test_stack__points_commands_and_counters() -> None:
    """Defects 5, 6 and 8: counters, select and several types an address are ours, not the library's."""

    async def scenario() -> None:
        async with bench() as (device, control):
            image = {s.point: (s.value, s.spontaneous) for s in control.samples()}
            assert image == {"position": (2.0, False), "i_a": (5.5, False), "bits": (9.0, False)}
            control.client.act(lambda session, now: session.interrogate_counters(now))
            await until(lambda: any(s.point == "energy" and s.value == 77 for s in control.samples()), "the counter")
            assert device.server is not None
            device.server.update("RTU_1", [Sample("RTU_1", "i_a", 6.5, Quality.OVERFLOW, 1_234)])
            await until(lambda: any(s.value == 6.5 for s in control.samples()), "the event in another type")
            event = next(s for s in control.samples() if s.value == 6.5)
            assert (event.source_t_ms, event.quality, event.spontaneous) == (1_234, Quality.OVERFLOW, True)
            outputs = (("close", 1), ("step", -1), ("share", -0.5), ("scaled", -7), ("target", 2.5), ("word", 9))
            for number, (name, value) in enumerate(outputs, start=10):
                control.operate(number, name, float(value))
                await until(lambda n=number: len(control.replies(n)) == 2, name)  # type: ignore[misc]
                assert [kind for kind, _ in control.replies(number)] == [ReplyKind.ACTIVATED, ReplyKind.TERMINATED]
                assert device.heard[-1] == ("operate", name, float(value))
            control.select(20, "operate", 1.0)
            assert control.replies(20) == [(ReplyKind.SELECTED, "")]
            assert device.heard[-1][0] == "operate"  # the station has heard of no select yet
            control.operate(20, "operate", 1.0)
            await until(lambda: len(control.replies(20)) == 3, "the termination")
            assert device.heard[-2:] == [("select", "operate", 1.0), ("operate", "operate", 1.0)]
            device.rule = "local"
            control.operate(21, "operate", 2.0)
            await until(lambda: len(control.replies(21)) == 1, "the refusal")
            assert control.replies(21) == [(ReplyKind.REFUSED, "negative confirmation")]

    run(scenario())


@needs_c104
@pytest.mark.interop
def test_guard__a_worker_that_dies_is_started_again_with_the_loss_of_the_connection_alone() -> None:
    async def scenario() -> None:
        async with bench() as (_, control):
            assert control.client.process is not None
            os.kill(control.client.process.pid, signal.SIGSEGV)
            await until(lambda: bool(control.losses()), "the loss")
            assert control.losses() == [f"the c104 process ended with {-signal.SIGSEGV}"]
            control.events.clear()
            await until(lambda: SessionState.INTERROGATED in control.states(), "the second interrogation")
            assert control.client.restarts == 1

    run(scenario())


@needs_c104
@pytest.mark.interop
def test_guard__stops_the_library_before_the_process_ends() -> None:
    """Defect 4: an exit without stop() can abort; the process ends with 0 and leaves nothing behind."""

    async def scenario() -> None:
        async with bench() as (_, control):
            process = control.client.process
            assert process is not None
            await control.client.stop()
            assert process.returncode == 0

    run(scenario())


@needs_c104
@pytest.mark.interop
def test_guard__tls_goes_through_a_relay(tmp_path: Path) -> None:
    """Defect 7: the library's own TLS client never connects."""
    lab = Lab(tmp_path)
    lab.create(["RTU_1"])

    async def scenario() -> None:
        async with bench(lab) as (device, control):
            control.operate(1, "close", 1.0)
            await until(lambda: len(control.replies(1)) == 2, "the termination")
            assert device.heard == [("operate", "close", 1.0)]

    run(scenario())


class RawStation(asyncio.Protocol):
    """A station made of frames: starts data transfer, then says what the test wants."""

    def __init__(self, after_start: Callable[[RawStation], None]) -> None:
        self.connection = Connection(Role.CONTROLLED, ConnectionSettings(), 0)
        self.after_start = after_start
        self.transport: asyncio.Transport | None = None
        self.asdus: list[Asdu] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        events = self.connection.receive(data, 0)
        self.transport.write(self.connection.data_to_send())
        for event in events:
            if type(event).__name__ == "TransferStarted":
                self.after_start(self)
            elif hasattr(event, "asdu"):
                self.asdus.append(event.asdu)

    def send(self, octets: bytes) -> None:
        assert self.transport is not None
        self.transport.write(octets)


@asynccontextmanager
async def raw_station(after_start: Callable[[RawStation], None]) -> Any:
    stations: list[RawStation] = []

    def make() -> RawStation:
        stations.append(RawStation(after_start))
        return stations[-1]

    server = await asyncio.get_running_loop().create_server(make, HOST, 0)
    control = Control(server.sockets[0].getsockname()[1])
    control.client.start()
    try:
        yield stations, control
    finally:
        await control.client.stop()
        server.close()
        for station in stations:
            if station.transport is not None:
                station.transport.abort()
        await server.wait_closed()


@needs_c104
@pytest.mark.interop
@pytest.mark.parametrize("asdu", ["0d8105000100", "010105000100", "460104002f00", "1e0103002f00010000"])
def test_guard__a_truncated_asdu_never_reaches_the_library(asdu: str) -> None:
    """The frames on which c104 2.2.1 dies: the filter ends the connection, the process lives on."""

    async def scenario() -> None:
        poison = encode_i_frame(0, 0, bytes.fromhex(asdu))
        async with raw_station(lambda station: station.send(poison)) as (stations, control):
            await until(lambda: len(control.client.faults) >= 1, "the fault")
            assert control.client.faults[0].startswith("malformed frame: ")
            await until(lambda: len(stations) >= 3, "the library's next connections")
            # a frame that reached it would end the process each time; once in a hundred it dies of the hanging up
            assert control.client.restarts <= 1, control.events

    run(scenario())


@needs_c104
@pytest.mark.interop
def test_guard__no_answer_is_neither_success_nor_refusal() -> None:
    """Defect 2: what the library returns for a command counts for nothing; without a frame the outcome stays open."""

    async def scenario() -> None:
        async with raw_station(lambda station: None) as (stations, control):
            await until(lambda: SessionState.STARTED in control.states(), "the start")
            control.operate(1, "close", 1.0)
            await until(lambda: any(a.type_id == 45 for s in stations for a in s.asdus), "the command")
            station = next(s for s in stations if any(a.type_id == 45 for a in s.asdus))
            session = control.client.session
            assert control.replies(1) == []
            await until(lambda: control.client.last_verdict is False, "the library's own limit")
            assert control.replies(1) == []
            (command,) = (a for a in station.asdus if a.type_id == 45)
            late = encode_asdu(Asdu(45, Cause.ACTIVATION_CON, CA, command.objects))
            station.connection.send_octets(late, 0)
            station.send(station.connection.data_to_send())
            await until(lambda: len(control.replies(1)) == 1, "the late confirmation")
            assert control.replies(1) == [(ReplyKind.ACTIVATED, "")]
            assert session.started

    run(scenario())


# guards that need no library


def test_guard__the_worker_keeps_its_annotations_as_objects() -> None:
    """Defect 3: the library compares the annotations of callbacks with its classes."""
    tree = ast.parse(WORKER.read_text())
    imports = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert "__future__" not in imports


def test_guard__a_muted_connection_is_unmuted() -> None:
    """Defect 1: the watchdog asks at each turn, whether orders come or not."""

    class Muted:
        state = "OPEN_MUTED"
        unmuted = 0

        def unmute(self) -> None:
            self.unmuted += 1
            self.state = "OPEN"

    spec = importlib.util.spec_from_file_location("c104_worker_under_test", WORKER)
    if importlib.util.find_spec("c104") is None:
        pytest.skip("c104 is not installed")
    assert spec is not None
    source = WORKER.read_text().replace("import c104\n", "c104 = FAKE\n")

    class Fake:
        Connection = ConnectionState = Type = Any

    Fake.ConnectionState = type("ConnectionState", (), {"OPEN_MUTED": "OPEN_MUTED"})  # type: ignore[assignment]
    for name in ("SingleCmd", "DoubleCmd", "StepCmd"):
        setattr(Fake, name, None)
    space: dict[str, Any] = {"FAKE": Fake, "__name__": "worker"}
    exec(compile(source, str(WORKER), "exec"), space)
    worker = space["Worker"].__new__(space["Worker"])
    worker.connection, worker.running = Muted(), []
    worker.client = type("Client", (), {"start": lambda self: None, "stop": lambda self: None})()
    turns = iter([True, True, False])
    worker._obey_next = lambda: next(turns)
    worker.run()
    assert worker.connection.unmuted == 1


def test_filter__passes_valid_frames_unchanged_however_they_are_cut() -> None:
    asdu = Asdu(36, 3, CA, (InformationObject(2, _element(36), TimeTag.at(0, BASE)),))
    stream = bytes.fromhex("68040b000000 680443000000 680401000200") + encode_i_frame(0, 0, encode_asdu(asdu))
    for size in (1, 2, 5, len(stream)):
        filtering = FrameFilter()
        assert b"".join(filtering.pass_on(stream[i : i + size]) for i in range(0, len(stream), size)) == stream


def _element(type_id: int) -> Any:
    return TYPES[type_id].codec.decode(bytes(16), 0)


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=1, max_size=60))
def test_filter__lets_through_only_what_our_codec_takes(asdu: bytes) -> None:
    frame = encode_i_frame(0, 0, asdu)
    try:
        passed = FrameFilter().pass_on(frame)
    except MalformedFrameError:
        return
    assert passed == frame
    assert asdu[0] in TYPES
    assert len(asdu) == 6 + (asdu[1] & 0x7F) * TYPES[asdu[0]].size + 3 * (1 if asdu[1] & 0x80 else asdu[1] & 0x7F)
