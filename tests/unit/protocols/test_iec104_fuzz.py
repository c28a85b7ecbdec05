"""The fuzzer in its quick mode, and its mutations against a station on real sockets whose other master goes on."""

from __future__ import annotations

import asyncio
import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

from twin.outstations.iec104 import Iec104Outstation
from twin.outstations.server import OutstationServer
from twin.points.model import Quality, Sample
from twin.protocols.iec104 import AsduReceived, Connection, ConnectionSettings, Role
from twin.protocols.iec104.apci import encode_i_frame

_spec = importlib.util.spec_from_file_location("fuzz_iec104", Path(__file__).parents[3] / "benchmarks/fuzz_iec104.py")
assert _spec is not None
assert _spec.loader is not None
fuzzer = sys.modules["fuzz_iec104"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fuzzer)

HOST = "127.104.0.11"
STARTDT_ACT = bytes.fromhex("680407000000")
EVENTS = 40


def test_fuzz__finds_nothing_in_a_few_thousand_inputs() -> None:
    outcome = fuzzer.fuzz(4_000, seed=2026)
    assert outcome.inputs == 4_000
    assert outcome.decoded > 1_000
    assert outcome.malformed > 1_000
    assert outcome.sessions_closed > 100


class Calm(asyncio.Protocol):
    """A master that counts the events it gets and acknowledges them."""

    def __init__(self) -> None:
        self.connection = Connection(Role.CONTROLLING, ConnectionSettings(w=1), 0)
        self.values: list[float] = []
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.connection.start(0)
        transport.write(self.connection.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self.connection.receive(data, 0):
            if isinstance(event, AsduReceived) and event.asdu.type_id == 36:
                self.values += [o.element.value for o in event.asdu.objects]
        self.transport.write(self.connection.data_to_send())

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


async def throw(port: int, frames: list[bytes]) -> None:
    """One connection that starts and then sends frames until it is hung up on."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(STARTDT_ACT + b"".join(frames))
        await asyncio.wait_for(writer.drain(), 5)
        await asyncio.wait_for(reader.read(), 0.2)
    except (OSError, TimeoutError):
        pass
    finally:
        writer.transport.abort()


def test_server__mutated_frames_disturb_no_other_master() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        complaints: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _loop, context: complaints.append(context))
        server = OutstationServer(lambda: int(loop.time() * 1000))
        _, port = await server.host(Iec104Outstation("R", fuzzer.POINTS, fuzzer.AnyDevice(), fuzzer.BASE), HOST)
        _, calm = await loop.create_connection(Calm, HOST, port)
        rng, seeds = random.Random(5), fuzzer.corpus()
        for n in range(EVENTS):
            frames = [encode_i_frame(i, 0, fuzzer.mutated(rng, seeds)) for i in range(20)]
            cut = rng.randrange(1, 40)
            await asyncio.gather(throw(port, frames), throw(port, [rng.randbytes(cut)]))
            server.update("R", [Sample("R", "p7", float(n), Quality.GOOD, n)])
        async with asyncio.timeout(20):
            while len(calm.values) < EVENTS:
                await asyncio.sleep(0.005)
        assert calm.values == [float(n) for n in range(EVENTS)]
        assert not calm.lost
        assert complaints == []
        calm.transport.abort()
        await server.close()

    asyncio.run(scenario())
