"""An IEC 60870-5-104 master that costs little: for measuring stations, not for using them.

It starts data transfer, counts events, acknowledges, and times one command after the other.
"""

from __future__ import annotations

import asyncio
import time

STARTDT = bytes.fromhex("680407000000")
COMMAND_IOA = 1000
COMMAND = bytes.fromhex("2d0106000100") + COMMAND_IOA.to_bytes(3, "little") + b"\x01"
W = 8
T2_S = 5.0
LIMIT_S = 60.0


class RawIec104Master(asyncio.Protocol):
    """Starts data transfer, counts objects of process information, acknowledges, times commands."""

    def __init__(self) -> None:
        self.events = 0
        self.received = self.sent = 0
        self.unacknowledged = 0
        self.rest = b""
        self.lost = False
        self.timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None
        self.started = asyncio.get_running_loop().create_future()
        self.answered: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(STARTDT)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.started.done():
            self.started.cancel()

    def data_received(self, data: bytes) -> None:
        data, at = self.rest + data, 0
        while len(data) - at >= 2 and len(data) - at >= data[at + 1] + 2:
            self._frame(data, at)
            at += data[at + 1] + 2
        self.rest = data[at:]
        if self.unacknowledged >= W:
            self.acknowledge()
        elif self.unacknowledged and self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(T2_S, self.acknowledge)

    def acknowledge(self) -> None:
        self.timer = None
        if self.unacknowledged and self.transport is not None and not self.lost:
            self.unacknowledged = 0
            self.transport.write(b"\x68\x04\x01\x00" + (self.received << 1).to_bytes(2, "little"))

    def _frame(self, data: bytes, at: int) -> None:
        if data[at + 2] & 1:
            if data[at + 2] == 0x0B and not self.started.done():
                self.started.set_result(None)
            elif data[at + 2] == 0x43 and self.transport is not None:
                self.transport.write(bytes.fromhex("680483000000"))
            return
        self.received = (self.received + 1) % 32768
        self.unacknowledged += 1
        type_id, cause = data[at + 6], data[at + 8] & 0x3F
        if type_id < 45 and cause == 3:
            self.events += data[at + 7] & 0x7F
        elif type_id == 45 and self.answered is not None and cause == 10 and not self.answered.done():
            self.answered.set_result(None)

    def send(self, asdu: bytes) -> None:
        assert self.transport is not None
        head = (self.sent << 1).to_bytes(2, "little") + (self.received << 1).to_bytes(2, "little")
        self.sent = (self.sent + 1) % 32768
        self.unacknowledged = 0
        self.transport.write(bytes((0x68, len(asdu) + 4)) + head + asdu)

    async def command_ms(self) -> float:
        """One command from its sending to its termination, ms."""
        self.answered = asyncio.get_running_loop().create_future()
        started = time.perf_counter()
        self.send(COMMAND)
        await asyncio.wait_for(self.answered, 20)
        return (time.perf_counter() - started) * 1000


async def connect(host: str, port: int) -> RawIec104Master:
    """A master that has data transfer."""
    _, master = await asyncio.get_running_loop().create_connection(RawIec104Master, host, port)
    await asyncio.wait_for(asyncio.shield(master.started), LIMIT_S)
    return master
