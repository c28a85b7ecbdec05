"""Times round trips at one station from a process of its own, so that whoever else measures does not delay it.

``python -m benchmarks.prober PROTOCOL HOST PORT COUNT PAUSE_S``: a command from its sending to its confirmation (IEC
60870-5-104: to its termination), or for ``modbus`` a write and ``modbus-read`` a read. Prints quantiles in ms as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

from benchmarks.raw_dnp3 import Counts, RawDnp3Master
from benchmarks.raw_iec104 import RawIec104Master
from twin.protocols.dnp3 import AnalogOutput, Function
from twin.protocols.dnp3.controls import control_block

DNP3_OUTSTATION, DNP3_MASTER = 10, 2
MODBUS = {
    "modbus": bytes.fromhex("00010000000601050000ff00"),
    "modbus-read": bytes.fromhex("000100000006010400000050"),
}
LIMIT_S = 20.0


def quantile(values: Sequence[float], q: float) -> float:
    """The value below which a share ``q`` lies."""
    ordered = sorted(values)
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)]


async def _iec104(host: str, port: int) -> Callable[[], Awaitable[object]]:
    _, master = await asyncio.get_running_loop().create_connection(RawIec104Master, host, port)
    await asyncio.wait_for(asyncio.shield(master.started), LIMIT_S)
    return master.command_ms


async def _dnp3(host: str, port: int) -> Callable[[], Awaitable[object]]:
    loop = asyncio.get_running_loop()
    _, master = await loop.create_connection(lambda: RawDnp3Master(Counts(), DNP3_OUTSTATION, DNP3_MASTER), host, port)
    body = control_block(0, AnalogOutput(1.5))

    async def operate() -> None:
        master.ask(Function.DIRECT_OPERATE, body)
        await asyncio.wait_for(master.answered.wait(), LIMIT_S)

    return operate


async def _modbus(host: str, port: int, request: bytes) -> Callable[[], Awaitable[object]]:
    reader, writer = await asyncio.open_connection(host, port)

    async def ask() -> None:
        writer.write(request)
        head = await asyncio.wait_for(reader.readexactly(6), LIMIT_S)
        answer = await reader.readexactly(int.from_bytes(head[4:6], "big"))
        assert answer[1] < 0x80, f"refused with code {answer[2]}"

    return ask


async def probe(protocol: str, host: str, port: int, count: int, pause_s: float) -> dict[str, float]:
    """Quantiles of the round trip, ms."""
    if protocol in MODBUS:
        one = await _modbus(host, port, MODBUS[protocol])
    else:
        one = await (_iec104 if protocol == "iec104" else _dnp3)(host, port)
    await one()
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        await one()
        times.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(pause_s)
    return {"p50": quantile(times, 0.5), "p99": quantile(times, 0.99), "max": max(times)}


async def run(
    protocol: str, host: str, port: int, count: int, pause_s: float, beside: Callable[[], Awaitable[None]] | None = None
) -> dict[str, float]:
    """Probe in another process; ``beside`` runs from when that is connected."""
    command = [sys.executable, "-m", "benchmarks.prober", protocol, host, str(port), str(count), str(pause_s)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    task = None if beside is None else asyncio.ensure_future(beside())
    told = await process.stdout.read()
    await process.wait()
    if task is not None:
        await asyncio.gather(task, return_exceptions=True)
    if process.returncode:
        raise RuntimeError(f"the prober of {protocol} at {host}:{port} got no answer")
    found: dict[str, float] = json.loads(told)
    return found


def text(found: dict[str, float]) -> str:
    """For a table."""
    return f"{found['p50']:.2f} / {found['p99']:.2f}"


if __name__ == "__main__":
    protocol, host, port, count, pause = sys.argv[1:]
    print(json.dumps(asyncio.run(probe(protocol, host, int(port), int(count), float(pause)))))
