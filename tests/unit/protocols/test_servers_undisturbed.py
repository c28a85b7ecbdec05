"""Mutated frames thrown at running servers: the session of another master goes on as if nothing were.

One test a protocol, on real sockets. The other master takes events (IEC 60870-5-104, DNP3) or polls (Modbus) all the
time; every one of its events must arrive, every poll be answered, and its connection stand.
"""

from __future__ import annotations

import asyncio
import importlib.util
import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twin.outstations.dnp3 import Dnp3Outstation, Dnp3OutstationSettings
from twin.outstations.iec104 import Iec104Outstation
from twin.outstations.modbus import ModbusOutstation
from twin.outstations.server import AccessSettings, OutstationServer
from twin.points.model import PointKind, Quality, Sample
from twin.protocols.dnp3 import (
    Fragment,
    Frame,
    FrameDecoder,
    Function,
    LinkEnd,
    LinkSettings,
    decode_fragment,
    encode_fragment,
    encode_frame,
    parse_headers,
)
from twin.protocols.dnp3.transport import Segmenter
from twin.protocols.iec104 import AsduReceived, Connection, ConnectionSettings, Role
from twin.protocols.iec104.apci import encode_i_frame
from twin.protocols.modbus import Frame as ModbusFrame
from twin.protocols.modbus import FrameReader
from twin.protocols.modbus import encode_frame as modbus_frame

ROUNDS = 40
STARTDT_ACT = bytes.fromhex("680407000000")


def loaded(name: str) -> Any:
    """A fuzzer, for its points, corpus and mutations."""
    path = Path(__file__).parents[3] / f"benchmarks/{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


IEC104, DNP3, MODBUS = (loaded(f"fuzz_{name}") for name in ("iec104", "dnp3", "modbus"))
POINT = {
    "iec104": "p7",
    "dnp3": next(p.name for p in DNP3.POINTS if p.kind is PointKind.COUNTER),
    "modbus": next(p.name for p in MODBUS.POINTS if p.kind is PointKind.MEASURAND),
}


class Calm(asyncio.Protocol):
    """A master that minds its own business; ``values`` is what it was told, in order."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def begin(self) -> None: ...

    def told(self, expected: list[float]) -> bool:
        """Whether all that was made has come."""
        return self.values == expected


class CalmIec104(Calm):
    def begin(self) -> None:
        self.connection = Connection(Role.CONTROLLING, ConnectionSettings(w=1), 0)
        self.connection.start(0)
        self.transport.write(self.connection.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self.connection.receive(data, 0):
            if isinstance(event, AsduReceived) and event.asdu.type_id == 36:
                self.values += [o.element.value for o in event.asdu.objects]
        self.transport.write(self.connection.data_to_send())


class CalmDnp3(Calm):
    def begin(self) -> None:
        self.link = LinkEnd(DNP3.CALM, DNP3.STATION, master=True, settings=LinkSettings(), now=0)
        self.decoder = FrameDecoder()
        self.send(Fragment(Function.ENABLE_UNSOLICITED, 0, bytes.fromhex("3c02063c03063c0406")))

    def send(self, fragment: Fragment) -> None:
        self.link.send(encode_fragment(fragment), 0)
        self.transport.write(self.link.take())

    def data_received(self, data: bytes) -> None:
        for frame in self.decoder.receive(data):
            octets = self.link.receive(frame, 0)
            if octets is not None:
                self.take(decode_fragment(octets))
        self.transport.write(self.link.take())

    def take(self, fragment: Fragment) -> None:
        if fragment.confirm:
            self.send(Fragment(Function.CONFIRM, fragment.sequence, unsolicited=fragment.unsolicited))
        for header in parse_headers(fragment.body, fragment.function):
            if fragment.unsolicited and header.group == 22:
                self.values += [item[1] for item in header.items()]


class CalmModbus(Calm):
    """Polls without end; a value is noted when it changes. The newest must be read, not each one between."""

    def begin(self) -> None:
        self.reader, self.polls = FrameReader(), 0
        self.ask()

    def ask(self) -> None:
        self.polls += 1
        self.transport.write(modbus_frame(ModbusFrame(self.polls % 65_536, 1, bytes.fromhex("0400000002"))))

    def data_received(self, data: bytes) -> None:
        for frame in self.reader.feed(data):
            assert frame.transaction == self.polls % 65_536
            assert frame.pdu[:2] == b"\x04\x04"
            self.newest = frame.pdu[2:]
            self.ask()

    def told(self, expected: list[float]) -> bool:
        return self.polls > ROUNDS and struct.unpack(">f", self.newest) == (expected[-1],)


def iec104_noise(rng: random.Random) -> bytes:
    seeds = IEC104.corpus()
    frames = [encode_i_frame(n, 0, IEC104.mutated(rng, seeds)) for n in range(20)]
    return STARTDT_ACT + b"".join(frames)


def dnp3_noise(rng: random.Random) -> bytes:
    """Fragments in good frames of the other master, of a stranger, and to all stations.

    But for restarts: a master may order one, and then every master has to begin anew.
    """
    seeds, octets = DNP3.corpus(), b""
    for _ in range(20):
        source, destination = rng.choice(((1, 10), (1, 10), (77, 10), (1, 0xFFFF)))
        fragment = DNP3.mutated(rng, seeds)
        if len(fragment) > 1 and fragment[1] in (Function.COLD_RESTART, Function.WARM_RESTART):
            continue
        for segment in Segmenter().segments(fragment):
            octets += encode_frame(Frame(destination, source, 4, segment, from_master=True))
    return octets


def modbus_noise(rng: random.Random) -> bytes:
    """Reads and writes; the calm master's register is an input, which no write reaches."""
    seeds = MODBUS.corpus()
    frames = [modbus_frame(ModbusFrame(n, 1, MODBUS.mutated(rng, seeds))) for n in range(20)]
    return b"".join(frames)


def iec104_station() -> Any:
    return Iec104Outstation("R", IEC104.POINTS, IEC104.AnyDevice(), IEC104.BASE)


def dnp3_station() -> Any:
    settings = Dnp3OutstationSettings(masters=(DNP3.MASTER, DNP3.CALM))
    return Dnp3Outstation("R", DNP3.POINTS, DNP3.AnyDevice(), DNP3.BASE, settings)


def modbus_station() -> Any:
    device = MODBUS.AnyDevice()
    device.station = ModbusOutstation("R", MODBUS.POINTS, device)
    return device.station


CASES: dict[str, tuple[Callable[[], Any], type[Calm], Callable[[random.Random], bytes]]] = {
    "iec104": (iec104_station, CalmIec104, iec104_noise),
    "dnp3": (dnp3_station, CalmDnp3, dnp3_noise),
    "modbus": (modbus_station, CalmModbus, modbus_noise),
}


async def throw(port: int, octets: bytes, rng: random.Random) -> None:
    """One connection that sends octets, is cut somewhere, and hung up on or hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(octets[: rng.randrange(len(octets)) + 1])
        await asyncio.wait_for(writer.drain(), 5)
        await asyncio.wait_for(reader.read(4096), 0.05)
    except (OSError, TimeoutError):
        pass
    finally:
        writer.transport.abort()


async def scenario(protocol: str) -> None:
    make, calm_master, noise = CASES[protocol]
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    server = OutstationServer(lambda: int(loop.time() * 1000))
    _, port = await server.host(make(), "127.0.0.1", 0, AccessSettings(most_masters=64))
    server.update("R", [Sample("R", POINT[protocol], 0.0, Quality.GOOD, 0, spontaneous=False)])
    _, calm = await loop.create_connection(calm_master, "127.0.0.1", port)
    rng, made = random.Random(5), []
    for n in range(1, ROUNDS + 1):
        thrown = [noise(rng), noise(rng), rng.randbytes(rng.randrange(1, 40))]
        await asyncio.gather(*(throw(port, octets, rng) for octets in thrown))
        made.append(float(n))
        server.update("R", [Sample("R", POINT[protocol], float(n), Quality.GOOD, n)])
    async with asyncio.timeout(30):
        while not calm.told(made):
            await asyncio.sleep(0.005)
    assert not calm.lost
    assert complaints == []
    calm.transport.abort()
    await server.close()


@pytest.mark.parametrize("protocol", CASES)
def test_server__mutated_frames_disturb_no_other_master(protocol: str) -> None:
    asyncio.run(scenario(protocol))


def test_modbus_fuzz__finds_nothing_in_a_few_thousand_inputs() -> None:
    outcome = MODBUS.fuzz(10_000, seed=2026)
    assert outcome.decoded > 1_000
    assert outcome.malformed > 1_000
    assert outcome.sessions_closed > 100
    assert outcome.answers > 1_000
