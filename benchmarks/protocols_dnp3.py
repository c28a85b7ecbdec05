"""DNP3 field side at scale: ``python -m benchmarks.protocols_dnp3 [--stations 1000] [--peer]``.

One process holds all outstations, another one all masters (frames, confirmations and a count, no point database). Rows:
start, idle CPU and memory of the field process; events a second that reach the masters, all confirmed and none lost;
the round trip of a direct operate, idle and with 10,000 events a second beside it. ``--peer`` adds the outstations
of opendnp3 (yadnp3) behind the same masters.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import json
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import prober
from benchmarks.raw_dnp3 import Counts, RawDnp3Master
from benchmarks.trouble import TROUBLE, Mischief
from twin.outstations.dnp3 import Dnp3Outstation, Dnp3OutstationSettings
from twin.outstations.model import StationCommand
from twin.outstations.server import AccessSettings, OutstationServer
from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.protocols.dnp3 import AnalogOutput, Frame, Function, encode_frame
from twin.protocols.dnp3.controls import control_block
from twin.timebase import TimeBase

BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
POINTS, ADDRESS, MASTER = 100, 10, 1
PROBER, MISCHIEF = 2, 3
"""Other masters of the first station: one that is timed, and those that misbehave."""
BATCH = 10
NAMES = [f"p{k}" for k in range(BATCH)]
EVENTS = 300_000
IDLE_S = 10.0
LOADED_RATE, LOADED_S = 10_000, 10.0
COMMANDS = 1_000


def host_of(number: int) -> str:
    """A loopback address for each station."""
    return f"127.21.{number >> 8}.{number & 255 or 254}" if number & 255 else f"127.22.{number >> 8}.1"


# -- the field process --------------------------------------------------------------------------------------------


class AnyDevice:
    """Takes everything and is done at once."""

    def select(self, command: StationCommand, now: int) -> str:
        return ""

    def operate(self, command: StationCommand, now: int) -> str:
        self.last = command
        return ""

    def cancel(self, command: StationCommand, now: int) -> None:
        pass


def points() -> list[PointDefinition]:
    """A hundred points: 60 measurands, 39 single points, one set point."""
    direct = ControlModel.DIRECT
    kinds = [PointKind.MEASURAND] * 60 + [PointKind.SINGLE] * 39 + [PointKind.SETPOINT]
    return [
        PointDefinition("S", f"p{n}", kind, "X", f"q{n}", PointAddress(ADDRESS, n + 1, 1), control_model=direct)
        for n, kind in enumerate(kinds)
    ]


def resident_kb() -> int:
    """What the process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


class OwnField:
    """Our outstations, served by one loop."""

    def __init__(self, stations: int, port: int) -> None:
        self.stations = stations
        self._port = port
        self._server = OutstationServer(lambda: int(time.monotonic() * 1000), on_refused=lambda _: None)
        self._held: list[Dnp3Outstation] = []
        self._next = 0

    async def start(self) -> None:
        first = Dnp3OutstationSettings(address=ADDRESS, event_limit=10_000, masters=(MASTER, PROBER, MISCHIEF))
        settings = Dnp3OutstationSettings(address=ADDRESS, event_limit=10_000)
        shared, access = points(), AccessSettings(most_masters=64)
        for n in range(self.stations):
            device = AnyDevice()
            station = Dnp3Outstation(f"S{n}", shared, device, BASE, settings if n else first)
            device_done = station.desk
            device.operate = lambda command, now, desk=device_done: desk.finished(command.ticket) or ""  # type: ignore[method-assign]
            self._held.append(station)
            await self._server.host(station, host_of(n), self._port, access)

    async def batch(self) -> int:
        """Events of the next station; none while its master is behind."""
        n = self._next % self.stations
        self._next += 1
        station = self._held[n]
        if len(station.associations[MASTER].buffer) > 2_000:
            await asyncio.sleep(0)
            return 0
        t_ms = int(time.monotonic() * 1000)
        told = [Sample("S", name, float(self._next + k), Quality.GOOD, t_ms) for k, name in enumerate(NAMES)]
        self._server.update(f"S{n}", told)
        return BATCH


class PeerField:
    """The outstations of opendnp3."""

    def __init__(self, stations: int, port: int) -> None:
        self.stations = stations
        self._port = port
        self._held: list[Any] = []
        self._keep: list[Any] = []
        self._next = 0

    async def start(self) -> None:
        import opendnp3 as o

        class Commands(o.ICommandHandler):  # type: ignore[misc]
            def Begin(self) -> None: ...  # noqa: N802
            def End(self) -> None: ...  # noqa: N802

            def Select(self, command: Any, index: int) -> Any:  # noqa: N802
                return o.CommandStatus.SUCCESS

            def Operate(self, command: Any, index: int, handler: Any, kind: Any) -> Any:  # noqa: N802
                return o.CommandStatus.SUCCESS

        self._o = o
        manager = o.DNP3Manager(1)
        for n in range(self.stations):
            endpoint = o.IPEndpoint(host_of(n), self._port)
            channel = manager.AddTCPServer(f"S{n}", o.levels.NOTHING, o.ServerAcceptMode.CloseNew, endpoint, None)
            config = o.OutstationStackConfig(o.DatabaseConfig(POINTS))
            config.link.LocalAddr, config.link.RemoteAddr = ADDRESS, MASTER
            config.outstation.eventBufferConfig = o.EventBufferConfig.AllTypes(10_000)
            config.outstation.params.allowUnsolicited = True
            commands, application = Commands(), o.IOutstationApplication()
            station = channel.AddOutstation(f"S{n}", commands, application, config)
            station.Enable()
            self._held.append(station)
            self._keep += [commands, application, channel]
        self._keep.append(manager)

    async def batch(self) -> int:
        o = self._o
        n = self._next % self.stations
        self._next += 1
        builder = o.UpdateBuilder()
        for k in range(BATCH):
            builder.Update(
                o.Analog(float(self._next + k), o.Flags(1), o.DNPTime(1_768_500_000_000)), k, o.EventMode.Force
            )
        self._held[n].Apply(builder.Build())
        return BATCH


async def field_process(kind: str, stations: int, port: int) -> None:
    """Obeys lines on its input: ``flood``, ``rate``, ``idle``, ``cpu``; answers each with a line."""
    before_kb, before = resident_kb(), time.perf_counter()
    station_field: OwnField | PeerField = OwnField(stations, port) if kind == "own" else PeerField(stations, port)
    await station_field.start()
    gc.collect()
    gc.freeze()
    tell(start_s=time.perf_counter() - before, kb_each=(resident_kb() - before_kb) / stations)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        if order["do"] == "idle":
            spent = time.process_time()
            await asyncio.sleep(IDLE_S)
            tell(idle_share=(time.process_time() - spent) / IDLE_S, kb_each=(resident_kb() - before_kb) / stations)
        elif order["do"] == "cpu":
            tell(cpu_s=time.process_time())
        else:
            tell(sent=await send(station_field, order["events"], order.get("rate", 0)))


async def send(station_field: OwnField | PeerField, events: int, rate: int) -> int:
    """So many events, as fast as it goes or at a rate."""
    sent, begin = 0, time.perf_counter()
    while sent < events:
        sent += await station_field.batch()
        ahead = sent / rate - (time.perf_counter() - begin) if rate else 0.0
        if ahead > 0.001 or sent % 200 == 0:
            await asyncio.sleep(max(ahead, 0.0))
    return sent


def tell(**row: Any) -> None:
    print(json.dumps(row), flush=True)


# -- the masters' process -----------------------------------------------------------------------------------------


@dataclass
class FieldProcess:
    """The other process."""

    process: asyncio.subprocess.Process
    rows: list[dict[str, Any]] = field(default_factory=list)

    async def row(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        row: dict[str, Any] = json.loads(line)
        return row

    def order(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")


@asynccontextmanager
async def started(kind: str, stations: int, port: int) -> AsyncIterator[FieldProcess]:
    command = [sys.executable, "-m", "benchmarks.protocols_dnp3", "--field", kind]
    command += ["--stations", str(stations), "--port", str(port)]
    pipe = asyncio.subprocess.PIPE
    there = FieldProcess(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe))
    try:
        yield there
    finally:
        there.process.kill()
        await there.process.wait()


async def connected(stations: int, port: int, counts: Counts) -> list[RawDnp3Master]:
    """A master for each station, unsolicited responses enabled."""
    loop = asyncio.get_running_loop()
    masters = []
    for n in range(stations):
        _, master = await loop.create_connection(lambda: RawDnp3Master(counts, ADDRESS, MASTER), host_of(n), port)
        masters.append(master)
    for master in masters:
        for function, body in ((Function.WRITE, "5001000707 00"), (20, "3c02063c03063c0406")):
            master.ask(function, bytes.fromhex(body))
            await asyncio.wait_for(master.answered.wait(), 30)
    return masters


async def round_trips(masters: list[RawDnp3Master], count: int, limit_s: float) -> list[float]:
    """Seconds of one direct operate after the other, on one master after the other."""
    body = control_block(0, AnalogOutput(1.5))
    took: list[float] = []
    end = time.perf_counter() + limit_s
    while len(took) < count and time.perf_counter() < end:
        master = masters[len(took) % len(masters)]
        begin = time.perf_counter()
        master.ask(Function.DIRECT_OPERATE, body)
        await asyncio.wait_for(master.answered.wait(), 30)
        took.append(time.perf_counter() - begin)
        await asyncio.sleep(0.002)
    return sorted(took)


async def measure(kind: str, stations: int, port: int, events: int) -> dict[str, Any]:
    """One column of the table."""
    counts = Counts()
    async with started(kind, stations, port) as there:
        result = await there.row()
        masters = await connected(stations, port, counts)
        await asyncio.sleep(0.5)
        there.order(do="idle")
        result.update(await there.row())
        idle = await round_trips(masters, COMMANDS, 20.0)
        result.update(await _flood(there, counts, events))
        there.order(do="rate", events=int(LOADED_RATE * LOADED_S), rate=LOADED_RATE)
        loaded = await round_trips(masters, COMMANDS, LOADED_S)
        await there.row()
        if kind == "own":
            result.update(await trouble(there, masters, counts, port))
        for master in masters:
            master.close()
    result["rtt_idle_p50_ms"] = idle[len(idle) // 2] * 1000
    result["rtt_loaded_p99_ms"] = loaded[int(len(loaded) * 0.99)] * 1000
    return result


def ask(n: int) -> bytes:
    """The n-th integrity poll of a master that misbehaves."""
    octets = bytes((0xC0 | n & 0x3F, 0xC0 | n & 0x0F, Function.READ)) + bytes.fromhex("3c02063c03063c04063c0106")
    return encode_frame(Frame(ADDRESS, MISCHIEF, 4, octets, from_master=True))


async def trouble(there: FieldProcess, masters: list[RawDnp3Master], counts: Counts, port: int) -> dict[str, Any]:
    """What a calm master of the same station notices of others that misbehave: its commands, and the events of all."""
    found: dict[str, Any] = {}
    for name, misbehave in TROUBLE.items():
        counts.events = 0
        there.order(do="rate", events=6_000, rate=2_000)
        mischief = Mischief(host_of(0), port, ask(0), ask)
        probed = await prober.run("dnp3", host_of(0), port, 100, 0.01, partial(misbehave, mischief))
        sent = (await there.row())["sent"]
        await _arrived(counts, sent)
        found[f"p50 {name}"], found[f"p99 {name}"] = probed["p50"], probed["p99"]
        found[f"lost {name}"] = sent - counts.events
        assert not any(master.lost for master in masters), f"{name} disturbed others"
    return found


async def _arrived(counts: Counts, sent: int, limit_s: float = 120.0) -> None:
    begin = time.perf_counter()
    while counts.events < sent and time.perf_counter() - begin < limit_s:
        await asyncio.sleep(0.01)


async def _flood(there: FieldProcess, counts: Counts, events: int) -> dict[str, Any]:
    counts.events = counts.overflows = 0
    there.order(do="cpu")
    spent_s = -(await there.row())["cpu_s"]
    begin = time.perf_counter()
    there.order(do="flood", events=events)
    sent = (await there.row())["sent"]
    await _arrived(counts, sent)
    elapsed = time.perf_counter() - begin
    there.order(do="cpu")
    spent_s += (await there.row())["cpu_s"]
    per_core = counts.events / spent_s
    return {
        "events_per_s": counts.events / elapsed,
        "events_per_cpu_s": per_core,
        "lost": sent - counts.events,
        "overflows": counts.overflows,
    }


BESIDE = (
    ("p50", "command p50 beside {}, ms"),
    ("p99", "command p99 beside {}, ms"),
    ("lost", "events lost beside {}"),
)
ROWS = (
    ("start_s", "start, s"),
    ("kb_each", "memory a station, kB"),
    ("idle_share", "idle, share of a core"),
    ("events_per_s", "events a second to masters"),
    ("events_per_cpu_s", "the same a second of the field's CPU"),
    ("lost", "events lost"),
    ("rtt_idle_p50_ms", "command p50 idle, ms"),
    ("rtt_loaded_p99_ms", "command p99 at 10,000 events/s, ms"),
    *((f"{what} {name}", title.format(name)) for name in TROUBLE for what, title in BESIDE),
)


async def main(arguments: argparse.Namespace) -> None:
    kinds = ["own"]
    if arguments.peer and importlib.util.find_spec("opendnp3") is not None:
        kinds.append("opendnp3")
    columns = {k: await measure(k, arguments.stations, arguments.port, arguments.events) for k in kinds}
    print(f"{arguments.stations} outstations of {POINTS} points" + "".join(f"{kind:>14}" for kind in kinds))
    for key, title in ROWS:
        cells = (f"{columns[kind][key]:>14.2f}" if key in columns[kind] else " " * 14 for kind in kinds)
        print(f"{title:<40}" + "".join(cells))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stations", type=int, default=1_000)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--port", type=int, default=20_003)
    parser.add_argument("--peer", action="store_true", help="opendnp3's outstations too")
    parser.add_argument("--quick", action="store_true", help="50 stations and fewer events, for a look")
    parser.add_argument("--field", choices=["own", "opendnp3"])
    given = parser.parse_args()
    if given.quick:
        given.stations, given.events = 50, 20_000
    if given.field:
        asyncio.run(field_process(given.field, given.stations, given.port))
    else:
        asyncio.run(main(given))
