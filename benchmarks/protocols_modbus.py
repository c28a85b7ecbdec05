"""Modbus TCP at scale: 1,000 stations with 100 points each in one process, ours beside pymodbus's own server.

The stations run in a process of their own. The poller is the same for both: one connection a station, two requests a
poll (20 discrete inputs, 80 measurands in input registers). Flat out it sends the next one when the last is answered;
at 1 Hz each station is polled once a second. A prober in a process of its own times reads and writes of one coil at the
first station, idle, beside the polls at 1 Hz, and beside others that misbehave. Then our link polls our stations.
Figures are of one run, one after the other, on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import prober
from benchmarks.trouble import TROUBLE, Mischief
from twin.links.client import LinkClient
from twin.links.modbus import ModbusMasterSession
from twin.links.modbus_scan import ModbusLinkSettings, make_readers
from twin.links.model import LinkEvent, SessionEvent, SessionState
from twin.outstations.modbus import ModbusOutstation
from twin.outstations.model import StationCommand
from twin.outstations.server import AccessSettings, OutstationServer
from twin.points.modbus_layout import with_places
from twin.points.model import PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.protocols.modbus import Frame, FrameReader, encode_frame, encode_request

SINGLES, MEASURANDS = 20, 80
POINTS = SINGLES + MEASURANDS


@dataclass(frozen=True)
class Figures:
    """What one engine did. Latencies are of single requests."""

    engine: str
    stations: int
    start_s: float
    kb_a_station: float
    polls_s: float
    points_s: float
    p50_ms: float
    p99_ms: float
    probed: dict[str, str] = field(default_factory=dict)


def points_of(station: str, number: int) -> list[PointDefinition]:
    """The points of one station."""
    kinds = [PointKind.SINGLE] * SINGLES + [PointKind.MEASURAND] * MEASURANDS + [PointKind.SINGLE_COMMAND]
    return [
        PointDefinition(station, f"{station}.{n}", kind, f"{station}.{n}", "i_a", PointAddress(number, n + 1, 36))
        for n, kind in enumerate(kinds)
    ]


class _AnyDevice:
    """Takes every command and is done at once."""

    def __init__(self) -> None:
        self.station: ModbusOutstation | None = None

    def select(self, command: StationCommand, now: int) -> str:
        return ""

    def operate(self, command: StationCommand, now: int) -> str:
        assert self.station is not None
        self.station.finished(command.ticket, True, now)
        return ""

    def cancel(self, command: StationCommand, now: int) -> None:
        """Nothing to give back."""


def now_ms() -> int:
    """A clock for the drivers."""
    return int(time.monotonic() * 1000)


# -- the stations, in their own process -------------------------------------------------------------------------------


async def serve_ours(count: int) -> list[int]:
    """Host our stations; their ports."""
    server, ports = OutstationServer(now_ms, on_refused=lambda _: None), []
    access = AccessSettings(most_masters=64)
    for n in range(count):
        name = f"S{n}"
        definitions = points_of(name, n % 65_000 + 1)
        device = _AnyDevice()
        station = device.station = ModbusOutstation(name, definitions, device)
        station.update([Sample(name, p.name, float(i), Quality.GOOD, 0) for i, p in enumerate(definitions[:-1])], 0)
        ports.append((await server.host(station, "127.0.0.1", 0, access))[1])
    return ports


async def serve_pymodbus(count: int) -> list[int]:
    """Host pymodbus's servers with the same map; their ports."""
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    ports = []
    for _ in range(count):
        bits = [SimData(0, values=[True] * 32, datatype=DataType.BITS)]
        registers = [SimData(0, values=[float(i) for i in range(MEASURANDS)], datatype=DataType.FLOAT32)]
        spare = [SimData(0, values=[0], datatype=DataType.REGISTERS)]
        device = SimDevice(1, (bits, bits, spare, registers))
        server = ModbusTcpServer(device, address=("127.0.0.1", 0))
        await server.listen()
        ports.append(server.transport.sockets[0].getsockname()[1])  # type: ignore[attr-defined]
    return ports


async def serve(engine: str, count: int) -> None:
    """Tell the ports and the cost, and stay until the input ends."""
    if engine == "pymodbus":
        import pymodbus.server  # noqa: F401 (its memory is not the stations')
    before, since = _resident_kb(), time.monotonic()
    ports = await (serve_ours if engine == "ours" else serve_pymodbus)(count)
    told = {"ports": ports, "start_s": time.monotonic() - since, "kb": (_resident_kb() - before) / count}
    gc.collect()
    gc.freeze()
    print(json.dumps(told), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def _resident_kb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024


# -- the poller ---------------------------------------------------------------------------------------------------


class Poller(asyncio.Protocol):
    """Polls one station as fast as it answers."""

    def __init__(self, requests: Sequence[bytes], latencies_s: list[float]) -> None:
        self._requests = requests
        self._latencies_s = latencies_s
        self._reader = FrameReader()
        self._next = 0
        self._since = 0.0
        self.flat_out = True
        self.lost = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def ask(self) -> None:
        """Send the next request."""
        assert self.transport is not None
        self._since = time.perf_counter()
        self.transport.write(self._requests[self._next % len(self._requests)])
        self._next += 1

    def data_received(self, data: bytes) -> None:
        for _ in self._reader.feed(data):
            self._latencies_s.append(time.perf_counter() - self._since)
            if self.flat_out or self._next % len(self._requests):
                self.ask()


def requests_of_a_station() -> list[bytes]:
    """The requests that our own block planning makes of the map."""
    readers, _ = make_readers(with_places(points_of("S", 1)), ModbusLinkSettings())
    return [encode_frame(Frame(n, r.block.unit, encode_request(r.request))) for n, r in enumerate(readers)]


async def poll(ports: Sequence[int], seconds: float) -> list[float]:
    """Latencies of all requests in the time given, s."""
    latencies_s: list[float] = []
    pollers = await _pollers(ports, latencies_s)
    for poller in pollers:
        poller.ask()
    await asyncio.sleep(seconds)
    await _hang_up(pollers)
    return list(latencies_s)


async def _pollers(ports: Sequence[int], latencies_s: list[float]) -> list[Poller]:
    loop, requests = asyncio.get_running_loop(), requests_of_a_station()
    pollers = []
    for port in ports:
        _, poller = await loop.create_connection(lambda: Poller(requests, latencies_s), "127.0.0.1", port)
        pollers.append(poller)
    return pollers


async def _hang_up(pollers: Sequence[Poller]) -> None:
    for poller in pollers:
        assert poller.transport is not None
        poller.transport.abort()
    await asyncio.sleep(0)


async def probe(ports: Sequence[int], count: int, *, misbehave: bool) -> dict[str, str]:
    """p50 / p99 of reads and writes at the first station in ms: idle, beside polls at 1 Hz, and beside trouble."""
    found, at = {}, ("127.0.0.1", ports[0])
    for what in ("modbus-read", "modbus"):
        found[f"{what} idle"] = prober.text(await prober.run(what, *at, count, 0.005))
    pollers = await _pollers(ports, [])
    polling = asyncio.create_task(_poll_each_second(pollers))
    for what in ("modbus-read", "modbus"):
        found[f"{what} at 1 Hz"] = prober.text(await prober.run(what, *at, count, 0.005))
    for name, trouble in TROUBLE.items() if misbehave else ():
        mischief = Mischief(*at, b"", lambda n: prober.MODBUS["modbus-read"])
        found[f"modbus beside {name}"] = prober.text(
            await prober.run("modbus", *at, 100, 0.01, partial(trouble, mischief))
        )
        assert not any(poller.lost for poller in pollers), f"{name} disturbed others"
    polling.cancel()
    await _hang_up(pollers)
    return found


async def _poll_each_second(pollers: Sequence[Poller]) -> None:
    for poller in pollers:
        poller.flat_out = False
    while True:
        begun = time.monotonic()
        for n, poller in enumerate(pollers):
            poller.ask()
            await asyncio.sleep(max(begun + (n + 1) / len(pollers) - time.monotonic(), 0.0) if n % 10 == 9 else 0)


async def poll_with_links(ports: Sequence[int], seconds: float) -> tuple[float, float]:
    """(polls/s, points/s) that our links make of our stations."""
    started = 0

    def take(events: Sequence[LinkEvent]) -> None:
        nonlocal started
        started += sum(isinstance(e, SessionEvent) and e.state is SessionState.INTERROGATED for e in events)

    settings = ModbusLinkSettings(poll_ms=1_000, measurand_poll_ms=1_000, answer_limit_ms=30_000)
    sessions = [ModbusMasterSession(f"S{n}", points_of(f"S{n}", 1), settings) for n in range(len(ports))]
    clients = [
        LinkClient(session, "127.0.0.1", port, now_ms, take) for session, port in zip(sessions, ports, strict=True)
    ]
    for client in clients:
        client.start()
    while started < len(ports):
        await asyncio.sleep(0.05)
    since = time.monotonic()
    before = sum(session.transactions for session in sessions)
    await asyncio.sleep(seconds)
    polled = sum(session.transactions for session in sessions) - before
    elapsed_s = time.monotonic() - since
    await asyncio.gather(*(client.stop() for client in clients))
    requests = len(sessions[0].readers)
    return polled / elapsed_s, polled / requests * POINTS / elapsed_s


def measure(engine: str, count: int, seconds: float) -> list[Figures]:
    """Start the stations of an engine, poll them, and end them."""
    command = [sys.executable, "-m", "benchmarks.protocols_modbus", "--serve", engine, "--stations", str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        latencies_ms = 1_000 * np.array(asyncio.run(poll(told["ports"], seconds)))
        n, per_poll = len(latencies_ms), len(requests_of_a_station())
        p50, p99 = np.percentile(latencies_ms, (50, 99))
        points_s = n / per_poll * POINTS / seconds
        probed = asyncio.run(probe(told["ports"], 300, misbehave=engine == "ours"))
        found = [Figures(engine, count, told["start_s"], told["kb"], n / seconds, points_s, p50, p99, probed)]
        if engine == "ours":
            polls_s, points_s = asyncio.run(poll_with_links(told["ports"], seconds))
            nan = float("nan")
            found.append(Figures("ours, our links at 1 Hz", count, nan, nan, polls_s, points_s, nan, nan))
        process.communicate()
    return found


def table(figures: Sequence[Figures]) -> str:
    """The figures as lines of text."""
    columns = (
        ("count", 7),
        ("start s", 9),
        ("kB each", 9),
        ("polls/s", 9),
        ("points/s", 10),
        ("p50 ms", 8),
        ("p99 ms", 8),
    )
    head = f"{'stations of':26}" + "".join(f"{name:>{width}}" for name, width in columns)
    rows = [
        f"{f.engine:26}{f.stations:7}{f.start_s:9.2f}{f.kb_a_station:9.1f}{f.polls_s:9.0f}{f.points_s:10.0f}"
        f"{f.p50_ms:8.1f}{f.p99_ms:8.1f}"
        for f in figures
    ]
    probes = [f"{f.engine}, {what}, p50 / p99 ms: {told}" for f in figures for what, told in f.probed.items()]
    return "\n".join([head, *rows, *probes]).replace("nan", "  -")


def run(count: int, seconds: float) -> list[Figures]:
    """All engines, one after the other."""
    return [figures for engine in ("ours", "pymodbus") for figures in measure(engine, count, seconds)]


def main() -> None:
    """Print the table, or serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stations", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--quick", action="store_true", help="100 stations for 2 s")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    parser.add_argument("--serve", choices=("ours", "pymodbus"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve, options.stations))
        return
    count, seconds = (100, 2.0) if options.quick else (options.stations, options.seconds)
    figures = run(count, seconds)
    print(json.dumps([asdict(f) for f in figures]) if options.json else table(figures))


if __name__ == "__main__":
    main()
