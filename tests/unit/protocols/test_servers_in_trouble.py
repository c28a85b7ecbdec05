"""A storm, a slow reader, a half-open connection and a flood each harm only themselves, for every protocol.

On real sockets, in small; the benchmarks do the same in large. A calm master of the same station gets each of its
events, or its polls answered, all the time.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from twin.outstations.server import AccessSettings, OutstationServer
from twin.points.model import Quality, Sample
from twin.protocols.dnp3 import Frame, Function, encode_frame
from twin.protocols.modbus import Frame as ModbusFrame
from twin.protocols.modbus import encode_frame as modbus_frame

from .test_servers_undisturbed import CASES, DNP3, POINT, STARTDT_ACT

_spec = importlib.util.spec_from_file_location("trouble", Path(__file__).parents[3] / "benchmarks/trouble.py")
assert _spec is not None
assert _spec.loader is not None
trouble = sys.modules["trouble"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(trouble)

EVENTS = 50
INTERROGATION = bytes.fromhex("64010600010000000014")
INTEGRITY = bytes.fromhex("3c02063c03063c04063c0106")


def iec104_ask(n: int) -> bytes:
    return bytes((0x68, 14)) + (n << 1 & 0xFFFF).to_bytes(2, "little") + b"\x00\x00" + INTERROGATION


def dnp3_ask(n: int) -> bytes:
    octets = bytes((0xC0 | n & 0x3F, 0xC0 | n & 0x0F, Function.READ)) + INTEGRITY
    return encode_frame(Frame(DNP3.STATION, DNP3.MASTER, 4, octets, from_master=True))


def modbus_ask(n: int) -> bytes:
    return modbus_frame(ModbusFrame(n & 0xFFFF, 1, bytes.fromhex("0400000002")))


ASK = {"iec104": (STARTDT_ACT, iec104_ask), "dnp3": (dnp3_ask(0), dnp3_ask), "modbus": (b"", modbus_ask)}


async def scenario(protocol: str, name: str) -> None:
    make, calm_master, _ = CASES[protocol]
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    server = OutstationServer(lambda: int(loop.time() * 1000), on_refused=lambda _: None)
    _, port = await server.host(make(), "127.0.0.1", 0, AccessSettings(most_masters=16))
    server.update("R", [Sample("R", POINT[protocol], 0.0, Quality.GOOD, 0, spontaneous=False)])
    _, calm = await loop.create_connection(calm_master, "127.0.0.1", port)
    mischief = trouble.Mischief("127.0.0.1", port, *ASK[protocol], masters=60, requests=1_000, seconds=0.5)
    misbehaving = asyncio.create_task(trouble.TROUBLE[name](mischief))
    made = []
    for n in range(1, EVENTS + 1):
        made.append(float(n))
        server.update("R", [Sample("R", POINT[protocol], float(n), Quality.GOOD, n)])
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await asyncio.gather(misbehaving, return_exceptions=True)
        while not calm.told(made):
            await asyncio.sleep(0.005)
    assert not calm.lost
    assert complaints == []
    calm.transport.abort()
    await server.close()


@pytest.mark.parametrize("name", trouble.TROUBLE)
@pytest.mark.parametrize("protocol", CASES)
def test_server__trouble_harms_only_itself(protocol: str, name: str) -> None:
    asyncio.run(scenario(protocol, name))
