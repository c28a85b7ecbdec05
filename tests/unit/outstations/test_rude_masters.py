"""Vectors, mutated ones and noise thrown at running servers: the sessions of other masters are not disturbed."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from twin.links.client import LinkClient, ReconnectSettings
from twin.links.dnp3 import Dnp3MasterSession
from twin.links.iec104 import Iec104MasterSession
from twin.links.modbus import ModbusMasterSession
from twin.links.modbus_scan import ModbusLinkSettings
from twin.links.model import ArrivedSample, CommandReply, LinkCommand, LinkEvent, ReplyKind, SessionEvent, SessionState
from twin.outstations.dnp3 import Dnp3Outstation, Dnp3OutstationSettings
from twin.outstations.iec104 import Iec104Outstation
from twin.outstations.modbus import ModbusOutstation
from twin.outstations.model import Outstation, StationCommand
from twin.outstations.server import OutstationServer
from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.protocols.dnp3 import Frame as Dnp3Frame
from twin.protocols.dnp3 import encode_frame as dnp3_frame
from twin.protocols.modbus import Frame, encode_frame
from twin.timebase import TimeBase

VECTORS = Path(__file__).parents[2] / "vectors"
BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
HOST = "127.60.0.1"
STATION, STATION_ADDRESS = "RTU_1", 1024
LIMIT_S = 60.0
PROTOCOLS = ("iec104", "dnp3", "modbus")
ROUNDS = 6
RUDE_MASTER = 3


def point(name: str, kind: PointKind, ioa: int, type_id: int, **more: Any) -> PointDefinition:
    return PointDefinition(STATION, name, kind, "CB_1", name, PointAddress(STATION_ADDRESS, ioa, type_id), **more)


POINTS = [
    point("position", PointKind.DOUBLE, 1, 31),
    point("i_a", PointKind.MEASURAND, 2, 36),
    point("target", PointKind.SETPOINT, 3, 50, control_model=ControlModel.DIRECT),
]


class Device:
    """Takes every command and is done at once."""

    def __init__(self) -> None:
        self.station: Any = None

    def select(self, command: StationCommand, now: int) -> str:
        return ""

    def operate(self, command: StationCommand, now: int) -> str:
        asyncio.get_running_loop().call_soon(self.station.finished, command.ticket, True, now)
        return ""

    def cancel(self, command: StationCommand, now: int) -> None:
        """Nothing was begun."""


def now_ms() -> int:
    return int(time.monotonic() * 1000)


def sides(protocol: str, device: Device) -> tuple[Outstation, Any]:
    if protocol == "modbus":
        settings = ModbusLinkSettings(poll_ms=20, measurand_poll_ms=20, answer_limit_ms=60_000)
        return ModbusOutstation(STATION, POINTS, device), ModbusMasterSession(STATION, POINTS, settings)
    if protocol == "dnp3":
        masters = Dnp3OutstationSettings(masters=(1, RUDE_MASTER))
        return Dnp3Outstation(STATION, POINTS, device, BASE, masters), Dnp3MasterSession(STATION, POINTS, BASE)
    return Iec104Outstation(STATION, POINTS, device, BASE), Iec104MasterSession(STATION, POINTS, BASE)


def read(protocol: str, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((VECTORS / protocol / name).read_text())
    return rows


def frames(protocol: str) -> list[bytes]:
    """The vectors of a protocol as whole frames, of a master beside the calm one."""
    if protocol == "modbus":
        pdus = [bytes.fromhex(row[side]) for row in read("modbus", "pdus.json") for side in ("request", "response")]
        return [encode_frame(Frame(n, 1, pdu)) for n, pdu in enumerate(pdus)]
    if protocol == "dnp3":
        fragments = [bytes.fromhex(row["octets"]) for row in read("dnp3", "fragments.json")]
        data = [bytes((0xC0 | n & 63,)) + fragment for n, fragment in enumerate(fragments) if len(fragment) < 250]
        sent = [dnp3_frame(Dnp3Frame(STATION_ADDRESS, RUDE_MASTER, 4, d, from_master=True)) for d in data]
        return sent + [bytes.fromhex(row["octets"]) for row in read("dnp3", "frames.json")]
    asdus = [bytes.fromhex(row["hex"]) for row in read("iec104", "asdus.json")]
    whole = [bytes((0x68, 4 + len(a), 2 * n & 0xFE, 0, 0, 0)) + a for n, a in enumerate(asdus)]
    return whole + [bytes.fromhex(row["hex"]) for row in read("iec104", "frames.json")]


def opening(protocol: str) -> bytes:
    """What makes a station listen: IEC 104 has STARTDT."""
    return bytes.fromhex("680407000000") if protocol == "iec104" else b""


def garbled(frame: bytes, chance: random.Random) -> bytes:
    """An octet changed, cut short, doubled, or as it was."""
    kind = chance.randrange(4)
    if kind == 0 and frame:
        at = chance.randrange(len(frame))
        return frame[:at] + bytes((chance.randrange(256),)) + frame[at + 1 :]
    return (frame[: chance.randrange(len(frame) + 1)], frame * 2, frame)[kind - 1]


class Calm:
    """Our link, and all it said."""

    def __init__(self, session: Any, port: int) -> None:
        self.events: list[LinkEvent] = []
        reconnect = ReconnectSettings(first_s=0.05)
        self.client = LinkClient(session, HOST, port, now_ms, self.take, reconnect=reconnect)

    def take(self, events: Sequence[LinkEvent]) -> None:
        self.events += events

    def states(self) -> list[SessionState]:
        return [e.state for e in self.events if isinstance(e, SessionEvent)]

    def values(self) -> list[float]:
        return [e.sample.value for e in self.events if isinstance(e, ArrivedSample) and e.sample.point == "i_a"]

    def replies(self) -> list[ReplyKind]:
        return [e.kind for e in self.events if isinstance(e, CommandReply)]


async def until(holds: Callable[[], Any], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + LIMIT_S
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.002)


async def rude(port: int, payload: bytes) -> None:
    """Connect, say it, hear what comes back until it is all read or the station hangs up, and leave."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(payload)
        writer.write_eof()
        await reader.read()
    except ConnectionError:
        return
    finally:
        writer.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_frames_of_a_rude_master__disturb_no_other(protocol: str) -> None:
    """Single frames and runs of them, whole and garbled, while events and commands of a calm master go on."""
    chance = random.Random(104)

    async def scenario() -> None:
        device = Device()
        station, session = sides(protocol, device)
        device.station = station
        server = OutstationServer(now_ms, on_refused=lambda sentence: None)
        _, port = await server.host(station, HOST)
        calm = Calm(session, port)
        calm.client.start()
        try:
            await until(lambda: SessionState.INTERROGATED in calm.states(), "interrogation")
            known = frames(protocol)
            for number in range(1, ROUNDS + 1):
                sent = [opening(protocol) + garbled(frame, chance) for frame in known]
                sent += [opening(protocol) + b"".join(garbled(f, chance) for f in chance.sample(known, 8))]
                sent += [chance.randbytes(200)]
                for payload in sent:
                    await rude(port, payload)
                value = 1_000.0 + number
                server.update(STATION, [Sample(STATION, "i_a", value, Quality.GOOD, now_ms())])
                await until(lambda v=value: v in calm.values(), "the event")
                order = LinkCommand(number, STATION, "target", float(number))
                calm.client.act(lambda s, now, o=order: s.operate(o, now))
                await until(lambda n=number: calm.replies().count(ReplyKind.ACTIVATED) == n, "the confirmation")
            assert SessionState.LOST not in calm.states()
            assert calm.states().count(SessionState.INTERROGATED) == 1 or protocol == "dnp3"
            await until(lambda: server.connection_count(STATION) == 1, "the rude masters are gone")
        finally:
            await calm.client.stop()
            await server.close()

    asyncio.run(asyncio.wait_for(scenario(), 3 * LIMIT_S))
