"""Soak test of the field protocols: ``make soak`` (``SECONDS=3600``) or ``python -m benchmarks.soak --seconds 20``.

Stations in one process make numbered events at a steady rate; masters in another take them through relays, one a
station. A seeded script cuts lines at random, leaves connections half open, and lets octets vanish for a while, often
longer than the stations' buffers last. At the end the lines are healed, and every event must have arrived once or lie
in a gap that the station covered by an overflow indication. Memory must be flat in both processes. One line a minute is
printed, and a verdict at the end; the exit code is 0 if all held.

Modbus has no events: its masters poll two counters that change together and must never differ or go back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.soak_field import BASE, CONNECTION, event_points, knows_its_master, polled_points, resident_kb
from benchmarks.soak_ledger import Counts, Ledger, PolledLedger
from benchmarks.soak_masters import BareDnp3Master, BareIec104Master, into_ledger, into_polled
from twin.links.client import LinkClient, ReconnectSettings
from twin.links.iec104 import Iec104LinkSettings, Iec104MasterSession
from twin.links.modbus import ModbusMasterSession
from twin.links.modbus_scan import ModbusLinkSettings
from twin.transport.relay import Relay, RelayConditions

PROTOCOLS = ("iec104", "dnp3", "modbus")
LINKS_EVERY = 20
"""Of so many 104 stations two have our link as their master; the others have bare ones."""
RECONNECT = ReconnectSettings(first_s=0.2, factor=1.5, most_s=2.0, connect_limit_s=5.0)
SETTLE_S = 90.0
JUDGE_MEMORY_FROM_S = 600.0
GROWTH_SHARE, GROWTH_KB = 0.05, 4_096
"""How much higher the last third of a run may lie than the second sixth."""


@dataclass(frozen=True)
class Plan:
    """What is run."""

    seconds: float
    seed: int
    stations: Mapping[str, int]
    rates: Mapping[str, float]
    cuts_per_s: float
    event_limit: int = 1_000
    report_s: float = 60.0


@dataclass
class Line:
    """One station's line: its relay, its master, and what that has seen."""

    protocol: str
    relay: Relay
    ledger: Ledger | PolledLedger
    client: LinkClient | None = None
    disturbed: bool = False


@dataclass
class Record:
    """What a run has seen so far."""

    disturbances: dict[str, int] = field(default_factory=dict)
    resident_kb: list[tuple[float, int, int]] = field(default_factory=list)
    """(seconds since the start, of the stations, of the masters)."""


class Stations:
    """The process of the stations."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, plan: Plan) -> tuple[Stations, dict[str, int]]:
        """Start it; the ports of the stations."""
        options = [f"--{protocol}={count}" for protocol, count in plan.stations.items()]
        options.append(f"--event-limit={plan.event_limit}")
        pipe = asyncio.subprocess.PIPE
        stations = cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "benchmarks.soak_field", *options, stdin=pipe, stdout=pipe, limit=1 << 22
            )
        )
        return stations, (await stations._row())["ports"]

    async def order(self, do: str, **more: Any) -> dict[str, Any]:
        """Give an order; the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
        return await self._row()

    async def _row(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 120)
        row: dict[str, Any] = json.loads(line)
        return row

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


# lines and their disturbances


async def lay_lines(ports: Mapping[str, int], seed: int, clock: Callable[[], int]) -> list[Line]:
    """A relay and a master for each station."""
    lines = []
    for number, (name, port) in enumerate(ports.items()):
        relay = Relay(("127.0.0.1", port), seed=seed + number)
        host, near = await relay.start()
        protocol = name.split("-")[0]
        in_order = knows_its_master(name)
        ledger = PolledLedger(name) if protocol == "modbus" else Ledger(name, in_order=in_order)
        line = Line(protocol, relay, ledger)
        session, take = _master(protocol, name, line.ledger, bare=number % LINKS_EVERY > 1)
        line.client = LinkClient(session, host, near, clock, take, reconnect=RECONNECT)
        lines.append(line)
    return lines


def _master(protocol: str, name: str, ledger: Any, *, bare: bool) -> tuple[Any, Callable[[Any], None]]:
    if protocol == "modbus":
        settings = ModbusLinkSettings(poll_ms=500, measurand_poll_ms=500, answer_limit_ms=2_000)
        return ModbusMasterSession(name, polled_points(name), settings), partial(into_polled, ledger)
    if protocol == "dnp3":
        return BareDnp3Master(ledger), _nothing
    if bare:
        return BareIec104Master(ledger), _nothing
    link = Iec104LinkSettings(connection=CONNECTION)
    return Iec104MasterSession(name, event_points(name), BASE, link), partial(into_ledger, ledger)


def _nothing(_: Any) -> None:
    """A bare master writes its ledger itself."""


async def _cut(line: Line, chance: random.Random) -> None:
    line.relay.cut()


async def _half_open(line: Line, chance: random.Random) -> None:
    line.relay.half_open()


async def _stall(line: Line, chance: random.Random) -> None:
    """Nothing goes through for less than any time-out."""
    await _black_hole(line, chance.uniform(0.2, 2.5))


async def _outage(line: Line, chance: random.Random) -> None:
    """Nothing goes through, then the connection is gone."""
    await _black_hole(line, chance.uniform(2.0, 25.0))
    line.relay.cut()


async def _black_hole(line: Line, seconds: float) -> None:
    line.relay.change(RelayConditions(black_hole=True))
    try:
        await asyncio.sleep(seconds)
    finally:
        line.relay.change(RelayConditions())


DISTURBANCES = {"cut": _cut, "half open": _half_open, "stall": _stall, "outage": _outage}


async def disturb(lines: Sequence[Line], plan: Plan, record: Record) -> None:
    """Disturb lines at random until cancelled; then all are healed."""
    chance = random.Random(plan.seed)
    async with asyncio.TaskGroup() as tasks:
        while True:
            await asyncio.sleep(chance.expovariate(plan.cuts_per_s))
            line, kind = chance.choice(lines), chance.choice(tuple(DISTURBANCES))
            if not line.disturbed:
                record.disturbances[kind] = record.disturbances.get(kind, 0) + 1
                tasks.create_task(_one(line, kind, random.Random(chance.random())))


async def _one(line: Line, kind: str, chance: random.Random) -> None:
    line.disturbed = True
    try:
        await DISTURBANCES[kind](line, chance)
    finally:
        line.disturbed = False


# what is told


def sums(lines: Sequence[Line]) -> dict[str, Counts]:
    """The counts of each protocol."""
    found = {line.protocol: Counts() for line in lines}
    for line in lines:
        found[line.protocol] += line.ledger.counts()
    return found


def report(second: float, lines: Sequence[Line], row: Mapping[str, Any], record: Record) -> str:
    """One line."""
    parts = [f"{second:6.0f} s"]
    for protocol, c in sums(lines).items():
        if protocol == "modbus":
            parts.append(f"{protocol}: read {c.arrived:,} wrong {c.wrong}")
        else:
            parts.append(
                f"{protocol}: made {row['made'][protocol]:,} arrived {c.arrived:,} covered {c.covered:,} "
                f"open {c.open:,} repeated {c.repeated:,} doubled {c.doubled} wrong {c.wrong}"
            )
    parts.append(f"disturbed {sum(record.disturbances.values()):,}")
    parts.append(f"kB {row['resident_kb']:,} + {resident_kb():,}  cpu {row['cpu_s']:.0f} + {time.process_time():.0f} s")
    return " | ".join(parts)


async def watch(lines: Sequence[Line], stations: Stations, plan: Plan, record: Record) -> None:
    """Tell how it goes until the time is over."""
    begun = time.monotonic()
    step_s = min(plan.report_s, plan.seconds)
    for n in range(1, int(plan.seconds / step_s) + 1):
        await asyncio.sleep(max(begun + n * step_s - time.monotonic(), 0.0))
        row = await stations.order("status")
        second = time.monotonic() - begun
        record.resident_kb.append((second, row["resident_kb"], resident_kb()))
        print(report(second, lines, row, record), flush=True)


# the verdict


def memory_findings(record: Record, seconds: float) -> list[str]:
    """What grew: the highest value of the last third beside that of the second sixth."""
    if seconds < JUDGE_MEMORY_FROM_S:
        return []
    found = []
    for name, place in (("stations", 1), ("masters", 2)):
        early = max(row[place] for row in record.resident_kb if seconds / 6 <= row[0] <= seconds / 2)
        late = max(row[place] for row in record.resident_kb if row[0] >= seconds * 2 / 3)
        if late > early * (1 + GROWTH_SHARE) + GROWTH_KB:
            found.append(f"memory of the {name} grew from {early:,} to {late:,} kB")
    return found


async def settle(lines: Sequence[Line], made: Mapping[str, Mapping[str, int]]) -> None:
    """Wait until every master has the last events (or values), or has had time enough."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_S):
            while not all(line.ledger.is_current(made[line.ledger.station]) for line in lines):
                await asyncio.sleep(0.1)


def findings(lines: Sequence[Line], last: Mapping[str, Any], record: Record, plan: Plan) -> list[str]:
    """What did not hold."""
    found = [fault for line in lines for fault in line.ledger.faults(last["numbers"][line.ledger.station])]
    for protocol, counts in sums(lines).items():
        dropped = last["dropped"][protocol]
        if counts.covered > dropped:
            found.append(f"{protocol}: {counts.covered:,} are missing, but only {dropped:,} were dropped")
    return found + memory_findings(record, plan.seconds)


async def soak(plan: Plan) -> list[str]:
    """Run the plan; what did not hold."""
    begun = time.monotonic()
    stations, ports = await Stations.start(plan)
    lines = await lay_lines(ports, plan.seed, lambda: int((time.monotonic() - begun) * 1000))
    clients = [line.client for line in lines if line.client is not None]
    record = Record()
    try:
        for client in clients:
            client.start()
        await stations.order("go", rates=dict(plan.rates))
        disturbing = asyncio.create_task(disturb(lines, plan, record))
        await watch(lines, stations, plan, record)
        disturbing.cancel()
        await asyncio.gather(disturbing, return_exceptions=True)
        last = await stations.order("stop")
        await settle(lines, last["numbers"])
        last = {**await stations.order("status"), "numbers": last["numbers"]}
        print(report(time.monotonic() - begun, lines, last, record), flush=True)
        print(f"disturbances: {record.disturbances}", flush=True)
        return findings(lines, last, record, plan)
    finally:
        await asyncio.gather(*(client.stop() for client in clients))
        await asyncio.gather(*(line.relay.close() for line in lines))
        await stations.end()


def main() -> None:
    """Run, tell the verdict, and exit with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3_600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=float, default=60.0, help="seconds from one line to the next")
    parser.add_argument("--cuts", type=float, default=1.0, help="disturbances a second, over all lines")
    parser.add_argument("--event-limit", type=int, default=1_000, help="events that a station keeps for a master")
    for protocol, stations, rate in (("iec104", 100, 10_000), ("dnp3", 50, 5_000), ("modbus", 10, 500)):
        parser.add_argument(f"--{protocol}", type=int, default=stations, metavar="STATIONS")
        parser.add_argument(f"--{protocol}-rate", type=float, default=rate, metavar="PER_S", help="events a second")
    given = vars(parser.parse_args())
    plan = Plan(
        given["seconds"],
        given["seed"],
        {protocol: given[protocol] for protocol in PROTOCOLS},
        {protocol: given[f"{protocol}_rate"] for protocol in PROTOCOLS},
        given["cuts"],
        given["event_limit"],
        given["report"],
    )
    print(f"soak: {plan}", flush=True)
    found = asyncio.run(soak(plan))
    for finding in found[:50]:
        print(f"FAILED: {finding}", flush=True)
    print(f"verdict: {'FAILED, ' + str(len(found)) + ' findings' if found else 'held'}", flush=True)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
