"""A link over TLS in front of a station that speaks none, for each protocol: the loss is told once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from twin.links.client import LinkClient, ReconnectSettings
from twin.links.dnp3 import Dnp3MasterSession
from twin.links.iec104 import Iec104MasterSession
from twin.links.modbus import ModbusMasterSession
from twin.links.model import LinkEvent, MasterSession, SessionEvent, SessionState
from twin.points.model import PointAddress, PointDefinition, PointKind
from twin.security import Lab
from twin.timebase import TimeBase

POINTS = [PointDefinition("RTU", "CB.position", PointKind.DOUBLE, "CB", "position", PointAddress(1, 10, 31))]
BASE = TimeBase(datetime(2026, 1, 15, 18, tzinfo=UTC))
SESSIONS: dict[str, MasterSession] = {
    "iec104": Iec104MasterSession("RTU", POINTS, BASE),
    "dnp3": Dnp3MasterSession("RTU", POINTS, BASE),
    "modbus": ModbusMasterSession("RTU", POINTS),
}


@pytest.mark.parametrize("protocol", SESSIONS)
def test_link_over_tls__refuses_a_station_that_speaks_none(tmp_path: Path, protocol: str) -> None:
    lab = Lab(tmp_path / "lab")
    lab.create(["RTU"])
    events: list[LinkEvent] = []
    heard: list[bytes] = []

    async def plain_station(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(100))
        writer.write(b"\x68\x04\x0b\x00\x00\x00" * 8)
        await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(plain_station, "127.0.0.1", 0)

        def take(new: Sequence[LinkEvent]) -> None:
            events.extend(new)

        client = LinkClient(
            SESSIONS[protocol],
            *server.sockets[0].getsockname()[:2],
            lambda: int(time.monotonic() * 1_000),
            take,
            reconnect=ReconnectSettings(first_s=0.01, most_s=0.01),
            tls=lab.settings("control-room", names=("RTU",)),
        )
        client.start()
        try:
            async with asyncio.timeout(60):
                while len(heard) < 3:
                    await asyncio.sleep(0.01)
        finally:
            await client.stop()
            server.close()
            await server.wait_closed()

    asyncio.run(main())
    losses = [e for e in events if isinstance(e, SessionEvent) and e.state is SessionState.LOST]
    assert [("does not speak TLS" in loss.detail) for loss in losses] == [True]
    assert all(first[:1] == b"\x16" for first in heard)  # a handshake, and nothing of the protocol
