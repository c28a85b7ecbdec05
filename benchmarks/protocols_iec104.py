"""IEC 60870-5-104 at scale: ``python -m benchmarks.protocols_iec104`` (``--quick`` for a look).

A field process hosts the stations, this process plays the masters with raw frames, so that what is measured is the
station. Measured of our station and of c104's server beside it: start, memory and idle load, events delivered and
lost, load of the field process at that rate, and command round trips idle, under events, and while others
misbehave. CPU time is that of the field process.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from benchmarks import prober
from benchmarks.raw_iec104 import COMMAND_IOA, LIMIT_S, STARTDT, RawIec104Master, connect
from benchmarks.trouble import TROUBLE, Mischief

POINTS_EACH = 100
AT_ONE_TURN = 200
"""Most events made in one turn of the loop: who is late makes up for it in more turns, not in longer ones."""
INTERROGATION = bytes.fromhex("640106000100") + b"\x00\x00\x00\x14"


def address(number: int) -> str:
    """The loopback address of a station."""
    return f"127.105.{number // 250}.{number % 250 + 1}"


# the field process


class OurField:
    """Our stations on one loop."""

    def __init__(self, stations: int, port: int) -> None:
        from twin.outstations.iec104 import Iec104Outstation, Iec104OutstationSettings
        from twin.outstations.server import AccessSettings, OutstationServer
        from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind, Quality, Sample
        from twin.timebase import TimeBase

        self.sample, self.good = Sample, Quality.GOOD
        self.port = port
        self.base = TimeBase(datetime.now(UTC))
        started = time.monotonic()
        self.server = OutstationServer(lambda: int((time.monotonic() - started) * 1000), on_refused=lambda text: None)
        access = AccessSettings(most_masters=64)
        settings = Iec104OutstationSettings(event_limit=1_000)

        def make(n: int) -> Any:
            points = [
                PointDefinition(f"S{n}", f"p{i}", PointKind.MEASURAND, "X", "i_a", PointAddress(1, i + 1, 36))
                for i in range(POINTS_EACH - 1)
            ]
            direct = ControlModel.DIRECT
            command = PointAddress(1, COMMAND_IOA, 45)
            points.append(
                PointDefinition(f"S{n}", "c", PointKind.SINGLE_COMMAND, "X", "operate", command, control_model=direct)
            )
            return Iec104Outstation(f"S{n}", points, self, self.base, settings)

        self.stations = stations
        self.make, self.access = make, access
        self.outstations: list[Any] = []

    async def start(self) -> None:
        for n in range(self.stations):
            outstation = self.make(n)
            self.outstations.append(outstation)
            await self.server.host(outstation, address(n), self.port, self.access)

    def select(self, command: Any, now: int) -> str:
        return ""

    def operate(self, command: Any, now: int) -> str:
        asyncio.get_running_loop().call_soon(self.server.finished, command.station, command.ticket, True)
        return ""

    def cancel(self, command: Any, now: int) -> None:
        return None

    def event_samples(self, n: int, count: int, number: int) -> list[Any]:
        t_ms = int(time.monotonic() * 1000) % 10**9
        name = f"S{n}"
        return [self.sample(name, f"p{(number + i) % 99}", float(number + i), self.good, t_ms) for i in range(count)]

    async def events(self, rate: int, seconds: float, at_once: int) -> int:
        """``rate`` events a second, in updates of ``at_once``, station after station; how many were made."""
        made, station = 0, 0
        started = time.monotonic()
        while made < rate * seconds:
            due = min(rate * (time.monotonic() - started), rate * seconds, made + AT_ONE_TURN)
            while made < due:
                self.server.update(f"S{station}", self.event_samples(station, at_once, made))
                made += at_once
                station = (station + 1) % self.stations
            await asyncio.sleep(0 if made < rate * (time.monotonic() - started) else 0.002)
        return made

    def dropped(self) -> int:
        return sum(outstation.events_dropped for outstation in self.outstations)


class C104Field:
    """Stations of c104, one server each."""

    def __init__(self, stations: int, port: int) -> None:
        import c104

        self.c104 = c104
        self.stations, self.port = stations, port
        self.servers: list[Any] = []
        self.points: list[list[Any]] = []

    async def start(self) -> None:
        c104 = self.c104
        for n in range(self.stations):
            server = c104.Server(address(n), self.port, tick_rate_ms=100)
            station = server.add_station(1)
            self.points.append([station.add_point(i + 1, c104.Type.M_ME_TF_1) for i in range(POINTS_EACH - 1)])
            station.add_point(COMMAND_IOA, c104.Type.C_SC_NA_1)
            server.start()
            self.servers.append(server)

    async def events(self, rate: int, seconds: float, at_once: int) -> int:
        made, station = 0, 0
        started = time.monotonic()
        while (passed := time.monotonic() - started) < seconds:
            while made < rate * passed and time.monotonic() - started < seconds:
                for i in range(at_once):
                    point = self.points[station][(made + i) % (POINTS_EACH - 1)]
                    point.value = float(made + i)
                    point.transmit(self.c104.Cot.SPONTANEOUS)
                made += at_once
                station = (station + 1) % self.stations
            await asyncio.sleep(0.002)
        return made

    def dropped(self) -> int:
        return 0  # it does not tell


async def field_process(kind: str, stations: int, port: int) -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = (OurField if kind == "ours" else C104Field)(stations, port)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    await made.start()
    tell(start_s=time.perf_counter() - started, before_kb=before_kb)
    gc.collect()
    gc.freeze()
    loop, orders = asyncio.get_running_loop(), asyncio.Queue[str]()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(orders.put_nowait, line)
        loop.call_soon_threadsafe(orders.put_nowait, "")

    threading.Thread(target=read, daemon=True).start()
    while line := await orders.get():
        order = json.loads(line)
        if order["do"] == "events":
            begun = time.monotonic()
            count = await made.events(order["rate"], order["seconds"], order["at_once"])
            tell(made=count, took_s=time.monotonic() - begun, dropped=made.dropped(), **_used())
        else:
            tell(**_used())
    sys.stdout.flush()
    os._exit(0)  # c104 threads do not end by themselves


def _used() -> dict[str, Any]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu_s": usage.ru_utime + usage.ru_stime, "peak_kb": usage.ru_maxrss}


def tell(**row: Any) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


# the masters and the field's orders


@dataclass
class Field:
    """The field process, and what it tells."""

    process: asyncio.subprocess.Process
    first: dict[str, Any] = field(default_factory=dict)

    async def tells(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        row: dict[str, Any] = json.loads(await asyncio.wait_for(self.process.stdout.readline(), 2 * LIMIT_S))
        return row

    async def order(self, **order: Any) -> dict[str, Any]:
        self.give(**order)
        return await self.tells()

    def give(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")

    async def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()


async def start_field(kind: str, stations: int, port: int) -> Field:
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "benchmarks.protocols_iec104", "--field", kind]
    command += ["--stations", str(stations), "--port", str(port)]
    started = Field(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 20))
    started.first = await started.tells()
    return started


async def settle(masters: Sequence[RawIec104Master], made: int) -> int:
    """How many of the events have arrived when nothing more comes."""
    last, quiet_since = -1, time.monotonic()
    while time.monotonic() - quiet_since < 1.0:
        seen = sum(master.events for master in masters)
        if seen >= made:
            return seen
        if seen != last:
            last, quiet_since = seen, time.monotonic()
        await asyncio.sleep(0.02)
    return last


async def measure(kind: str, stations: int, port: int, rates: Sequence[int], seconds: float) -> dict[str, str]:
    """All figures of one kind of station."""
    started = await start_field(kind, stations, port)
    figures = {"stations": str(stations), "start s": f"{started.first['start_s']:.2f}"}
    try:
        masters = [await connect(address(n), port) for n in range(stations)]
        before = await started.order(do="used")
        await asyncio.sleep(seconds)
        after = await started.order(do="used")
        figures["idle % of a core"] = f"{100 * (after['cpu_s'] - before['cpu_s']) / seconds:.1f}"
        figures["kB a station"] = f"{(after['peak_kb'] - started.first['before_kb']) / stations:.0f}"
        if kind == "ours":
            figures["command p50/p99 ms"] = prober.text(await prober.run("iec104", address(0), port, 300, 0.01))
        for rate in rates:
            await _at_rate(started, masters, rate, seconds, figures, port, probed=kind == "ours" and rate <= 10_000)
        if kind == "ours":
            figures |= await trouble(started, masters, port)
    finally:
        for master in masters:
            if master.transport is not None:
                master.transport.abort()
        await started.end()
    return figures


async def _at_rate(
    started: Field,
    masters: Sequence[RawIec104Master],
    rate: int,
    seconds: float,
    figures: dict[str, str],
    port: int,
    *,
    probed: bool,
) -> None:
    for master in masters:
        master.events = 0
    before = await started.order(do="used")
    started.give(do="events", rate=rate, seconds=seconds, at_once=10)
    if probed:
        found = await prober.run("iec104", address(0), port, int(seconds * 50), 0.01)
        figures[f"command p50/p99 ms at {rate:,}/s"] = prober.text(found)
    done = await started.tells()
    arrived = await settle(masters, done["made"])
    after = await started.order(do="used")
    figures[f"events/s of {rate:,}"] = f"{done['made'] / done['took_s']:,.0f}"
    figures[f"lost of {rate:,}"] = f"{100 * (1 - arrived / max(done['made'], 1)):.2f} %"
    cpu_s = after["cpu_s"] - before["cpu_s"]
    figures[f"% of a core at {rate:,}"] = f"{100 * cpu_s / done['took_s']:.0f}"
    figures[f"events a CPU second at {rate:,}"] = f"{done['made'] / cpu_s:,.0f}"


# others that misbehave


def ask(n: int) -> bytes:
    """The n-th interrogation as an I frame that acknowledges nothing."""
    return bytes((0x68, 14)) + (n << 1 & 0xFFFF).to_bytes(2, "little") + b"\x00\x00" + INTERROGATION


async def trouble(started: Field, masters: Sequence[RawIec104Master], port: int) -> dict[str, str]:
    """What others notice of it: a calm master's commands, p50 and p99, and the events of all."""
    figures: dict[str, str] = {}
    for name, misbehave in TROUBLE.items():
        for master in masters:
            master.events = 0
        started.give(do="events", rate=2_000, seconds=3.0, at_once=10)
        mischief = Mischief(address(0), port, STARTDT, ask)
        found = await prober.run("iec104", address(0), port, 100, 0.01, partial(misbehave, mischief))
        figures[f"command p50/p99 ms beside {name}"] = prober.text(found)
        done = await started.tells()
        arrived = await settle(masters, done["made"])
        figures[f"lost beside {name}"] = f"{100 * (1 - arrived / done['made']):.2f} %"
        assert not any(master.lost for master in masters), f"{name} disturbed others"
    return figures


def table(columns: dict[str, dict[str, str]]) -> str:
    """The figures as Markdown, one column a kind of station."""
    rows = list(dict.fromkeys(name for figures in columns.values() for name in figures))
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {row} | {' | '.join(c.get(row, '') for c in columns.values())} |" for row in rows]
    return "\n".join(lines)


async def run(quick: bool, *, peer: bool) -> None:
    stations, seconds = (50, 2.0) if quick else (1_000, 5.0)
    rates = (1_000, 5_000) if quick else (10_000, 50_000)
    columns = {f"ours ({stations})": await measure("ours", stations, 24040, rates, seconds)}
    if peer and importlib.util.find_spec("c104") is not None:
        few = 5 if quick else 100
        columns[f"c104 server ({few})"] = await measure("c104", few, 24041, rates, seconds)
    print(table(columns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--alone", action="store_true", help="without c104's server")
    parser.add_argument("--field", choices=("ours", "c104"), help=argparse.SUPPRESS)
    parser.add_argument("--stations", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 8192), hard), hard))
    if arguments.field:
        asyncio.run(field_process(arguments.field, arguments.stations, arguments.port))
    else:
        asyncio.run(run(arguments.quick, peer=not arguments.alone))


if __name__ == "__main__":
    main()
