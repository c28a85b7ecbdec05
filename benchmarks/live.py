"""What a live world costs a foreign master: ``python -m benchmarks.live``.

One Modbus read is asked of a station in a live run, and of the same station alone behind its server, by turns: round
trips from the master's side, medians and 99th percentiles. The ratio is the price of the stepping thread and the relay.
"""

from __future__ import annotations

import queue
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

import click

from simulators.addresses import StationAddress
from simulators.preparation import prepare
from simulators.runner import RunInterruptedError, RunOptions, run_prepared
from twin.outstations.modbus import ModbusOutstation
from twin.outstations.model import StationCommand
from twin.outstations.server import OutstationServer
from twin.points.pointmap import PointMap
from twin.transport import IoThread

STATION = "RTU_6"
READ = bytes.fromhex("000100000006010200100002")
SCENARIO = """\
scenario: 1
name: live-benchmark
network: cigre_mv
start: 2026-01-15T18:00:00Z
duration: 1 h
stations:
  default: {protocol: modbus}
"""


class Nobody:
    """A device that refuses everything."""

    def select(self, command: StationCommand, now: int) -> str:
        return "nobody is there"

    def operate(self, command: StationCommand, now: int) -> str:
        return "nobody is there"

    def cancel(self, command: StationCommand, now: int) -> None:
        """Nothing was selected."""


def round_trip_ms(line: socket.socket) -> float:
    """One read and its answer."""
    since = time.perf_counter()
    line.sendall(READ)
    got = b""
    while len(got) < 10:
        got += line.recv(64)
    return (time.perf_counter() - since) * 1_000


def alone(points: PointMap, io: IoThread) -> tuple[OutstationServer, tuple[str, int]]:
    """The same station behind its server, without a world."""
    server = OutstationServer(lambda: int(time.monotonic() * 1_000))
    station = ModbusOutstation(STATION, points.of_station(STATION), Nobody())
    return server, io.call(server.host(station, "127.0.0.1"))


@click.command()
@click.option("--reads", default=2_000, show_default=True, help="How many reads of each.")
def main(reads: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenario.yaml"
        path.write_text(SCENARIO, encoding="utf-8")
        preparation = prepare(path)
        listening: queue.Queue[Sequence[StationAddress]] = queue.Queue()
        stopping = threading.Event()

        def watch(now: int, *seen: object) -> None:
            if stopping.is_set():
                raise RunInterruptedError(now)

        options = RunOptions(out=Path(folder) / "out", report=False, live=True, speed=1.0, on_listening=listening.put)
        world = threading.Thread(target=run_prepared, args=(preparation, options, watch))
        world.start()
        io = IoThread("alone")
        try:
            row = next(row for row in listening.get(timeout=120) if row.station == STATION)
            server, place = alone(preparation.derivation.points, io)
            _measure((row.host, row.port), place, reads)
            io.call(server.close())
        finally:
            stopping.set()
            world.join()
            io.stop()


def _measure(in_world: tuple[str, int], by_itself: tuple[str, int], reads: int) -> None:
    times: tuple[list[float], list[float]] = ([], [])
    with socket.create_connection(in_world) as live, socket.create_connection(by_itself) as single:
        for line in (live, single):
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            round_trip_ms(line)
        for _ in range(reads):
            times[0].append(round_trip_ms(live))
            times[1].append(round_trip_ms(single))
    for name, found in zip(("in a live run", "by itself"), times, strict=True):
        print(f"{name:15} p50 {median(found):6.2f} ms   p99 {quantiles(found, n=100)[98]:6.2f} ms")
    print(f"ratio of the medians {median(times[0]) / median(times[1]):.1f}")


if __name__ == "__main__":
    main()
