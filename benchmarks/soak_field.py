"""The stations of the soak test, in a process of their own: they make numbered events at a steady rate.

Obeys JSON lines on its input, answers each with one: ``go``, ``status``, ``stop``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.soak_ledger import STREAMS
from twin.outstations.dnp3 import Dnp3Outstation, Dnp3OutstationSettings
from twin.outstations.iec104 import Iec104Outstation, Iec104OutstationSettings
from twin.outstations.iec104_settings import RedundancyGroupSettings
from twin.outstations.modbus import ModbusOutstation
from twin.outstations.model import Outstation, StationCommand
from twin.outstations.server import AccessSettings, OutstationServer
from twin.points.modbus_layout import with_places
from twin.points.model import PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.protocols.dnp3 import LinkSettings
from twin.protocols.iec104 import ConnectionSettings
from twin.timebase import TimeBase

BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
DNP3_ADDRESS = 10
OVERFLOW_IOA = 900
SHARES = {"m": 8, "c": 1, "s": 1}
"""Events of each stream in one update."""
CONNECTION = ConnectionSettings(t1_ms=5_000, t2_ms=2_000, t3_ms=6_000)
LINK = LinkSettings(keep_alive_ms=5_000)
CENTRE = RedundancyGroupSettings(name="control centre")
_KINDS = {"m": (PointKind.MEASURAND, 13), "c": (PointKind.COUNTER, 15), "s": (PointKind.SINGLE, 1)}


class _Deaf:
    """No device: nothing is operated here."""

    def select(self, command: StationCommand, now: int) -> str:
        return "none"

    def operate(self, command: StationCommand, now: int) -> str:
        return "none"

    def cancel(self, command: StationCommand, now: int) -> None:
        """Nothing to give back."""


def event_points(station: str) -> list[PointDefinition]:
    """The inputs of a station that makes events; the address of a stream's first point is a hundred of its own."""
    points = [
        PointDefinition(station, f"{name}{n}", _KINDS[name][0], "X", "i_a", _address(100 * place + n, name))
        for place, name in enumerate(STREAMS, start=1)
        for n in range(SHARES[name])
    ]
    overflow = PointAddress(DNP3_ADDRESS, OVERFLOW_IOA, 1)
    return [*points, PointDefinition(station, "overflow", PointKind.SINGLE, "X", "trip", overflow)]


def _address(ioa: int, name: str) -> PointAddress:
    return PointAddress(DNP3_ADDRESS, ioa, _KINDS[name][1])


def polled_points(station: str) -> list[PointDefinition]:
    """Two counters in one block of registers."""
    counters = [
        PointDefinition(station, name, PointKind.COUNTER, "X", "i_a", PointAddress(1, n, 15))
        for n, name in enumerate("ab", start=1)
    ]
    return list(with_places(counters))


def knows_its_master(name: str) -> bool:
    """Every other station of IEC 60870-5-104 has a redundancy group: a new connection takes over from the old one."""
    return not name.startswith("iec104") or int(name.split("-")[1]) % 2 == 0


def make_station(protocol: str, name: str, event_limit: int) -> Outstation:
    """A station of a protocol, with buffers that a longer outage fills."""
    if protocol == "iec104":
        settings = Iec104OutstationSettings(
            connection=CONNECTION,
            event_limit=event_limit,
            overflow_point="overflow",
            event_types="tagged",
            redundancy_groups=(CENTRE,) if knows_its_master(name) else (),
        )
        return Iec104Outstation(name, event_points(name), _Deaf(), BASE, settings)
    if protocol == "dnp3":
        dnp3 = Dnp3OutstationSettings(address=DNP3_ADDRESS, event_limit=event_limit, link=LINK)
        return Dnp3Outstation(name, event_points(name), _Deaf(), BASE, dnp3)
    return ModbusOutstation(name, polled_points(name), _Deaf())


class Maker:
    """Makes the events of one protocol's stations, station after station."""

    def __init__(self, protocol: str, stations: int, server: OutstationServer, event_limit: int) -> None:
        self.protocol = protocol
        self.names = [f"{protocol}-{n}" for n in range(stations)]
        self.stations: list[Any] = [make_station(protocol, name, event_limit) for name in self.names]
        self.streams = ("a",) if protocol == "modbus" else STREAMS
        self.numbers = {name: dict.fromkeys(self.streams, 0) for name in self.names}
        self.made = 0
        self._server = server
        self._turn = 0

    async def host(self) -> dict[str, int]:
        """Listen; the port of each station."""
        access = AccessSettings(most_masters=16)
        return {
            station.station: (await self._server.host(station, "127.0.0.1", 0, access))[1] for station in self.stations
        }

    async def keep(self, rate: float, running: asyncio.Event) -> None:
        """``rate`` events a second until ``running`` is cleared."""
        begun = time.monotonic()
        while running.is_set():
            due = rate * (time.monotonic() - begun)
            for _ in range(500):
                if self.made >= due:
                    break
                self._update()
            await asyncio.sleep(0.002)

    def _update(self) -> None:
        name = self.names[self._turn % len(self.names)]
        self._turn += 1
        samples = self._polled(name) if self.protocol == "modbus" else self._events(name)
        self.made += len(samples)
        self._server.update(name, samples)

    def _polled(self, name: str) -> list[Sample]:
        numbers = self.numbers[name]
        numbers["a"] += 1
        return [Sample(name, point, float(numbers["a"]), Quality.GOOD, 0) for point in "ab"]

    def _events(self, name: str) -> list[Sample]:
        numbers, samples = self.numbers[name], []
        for stream, share in SHARES.items():
            first = numbers[stream] + 1
            numbers[stream] += share
            for n in range(share):
                value = float(first + n & 1) if stream == "s" else float(first + n)
                samples.append(Sample(name, f"{stream}{n}", value, Quality.GOOD, first + n))
        return samples

    @property
    def dropped(self) -> int:
        """Events that found no room."""
        return sum(getattr(station, "events_dropped", 0) for station in self.stations)


def resident_kb() -> int:
    """What this process holds in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


async def _serve(counts: dict[str, int], event_limit: int) -> None:
    begun = time.monotonic()
    server = OutstationServer(lambda: int((time.monotonic() - begun) * 1000), on_refused=lambda _: None)
    makers = [Maker(protocol, count, server, event_limit) for protocol, count in counts.items() if count]
    ports = {name: port for maker in makers for name, port in (await maker.host()).items()}
    _tell(ports=ports)
    running, tasks = asyncio.Event(), []
    orders = _orders()
    while order := await orders.get():
        if order["do"] == "go":
            running.set()
            rates = order["rates"]
            tasks = [asyncio.create_task(maker.keep(rates[maker.protocol], running)) for maker in makers]
        elif order["do"] == "stop":
            running.clear()
            await asyncio.gather(*tasks)
        _tell(
            made={maker.protocol: maker.made for maker in makers},
            dropped={maker.protocol: maker.dropped for maker in makers},
            numbers={name: of for maker in makers for name, of in maker.numbers.items()},
            resident_kb=resident_kb(),
            cpu_s=time.process_time(),
        )
    await server.close()


def _orders() -> asyncio.Queue[dict[str, Any]]:
    """What comes on the input; an empty order when it ends."""
    loop, orders = asyncio.get_running_loop(), asyncio.Queue[dict[str, Any]]()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(orders.put_nowait, json.loads(line))
        loop.call_soon_threadsafe(orders.put_nowait, {})

    threading.Thread(target=read, daemon=True).start()
    return orders


def _tell(**row: Any) -> None:
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("iec104", "dnp3", "modbus"):
        parser.add_argument(f"--{name}", type=int, default=0)
    parser.add_argument("--event-limit", type=int, default=1_000)
    given = vars(parser.parse_args())
    limit = given.pop("event_limit")
    asyncio.run(_serve(given, limit))
