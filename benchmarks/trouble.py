"""Masters that misbehave, for any protocol: a storm, a slow reader, a half-open connection, and a flood.

Each runs against one address and returns when its time is over. ``hello`` opens the session, ``ask(n)`` is the n-th
request for everything the station has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

FLOOD_AT_ONCE = 50


@dataclass(frozen=True)
class Mischief:
    """Where, with what octets, and how much of it."""

    host: str
    port: int
    hello: bytes
    ask: Callable[[int], bytes]
    masters: int = 1_000
    requests: int = 20_000
    seconds: float = 2.5


async def storm(mischief: Mischief) -> None:
    """Many masters at once; each opens, asks for everything, and is gone."""

    async def one() -> None:
        reader, writer = await asyncio.open_connection(mischief.host, mischief.port)
        try:
            writer.write(mischief.hello)
            await asyncio.sleep(mischief.seconds / 5)
            writer.write(mischief.ask(0))
            await asyncio.wait_for(_drain(reader), mischief.seconds / 2)
        except TimeoutError:
            """It has read long enough."""
        finally:
            writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(mischief.masters)), return_exceptions=True)


async def slow_reader(mischief: Mischief) -> None:
    """Asks again and again, and reads nothing."""
    _, writer = await asyncio.open_connection(mischief.host, mischief.port, limit=1)
    writer.transport.pause_reading()
    writer.write(mischief.hello)
    for n in range(100):
        writer.write(mischief.ask(n))
    await asyncio.sleep(mischief.seconds)
    writer.transport.abort()


async def half_open(mischief: Mischief) -> None:
    """Opens, and says nothing any more."""
    _, writer = await asyncio.open_connection(mischief.host, mischief.port)
    writer.write(mischief.hello)
    await asyncio.sleep(mischief.seconds)
    writer.transport.abort()


async def flood(mischief: Mischief) -> None:
    """Asks without end and waits for no answer."""
    reader, writer = await asyncio.open_connection(mischief.host, mischief.port)
    reading = asyncio.create_task(_drain(reader))
    writer.write(mischief.hello)
    for n in range(0, mischief.requests, FLOOD_AT_ONCE):
        if writer.transport.is_closing():
            break
        writer.write(b"".join(mischief.ask(n + k) for k in range(FLOOD_AT_ONCE)))
        await asyncio.sleep(0)
    await asyncio.sleep(mischief.seconds / 5)
    reading.cancel()
    writer.transport.abort()
    await asyncio.gather(reading, return_exceptions=True)


async def _drain(reader: asyncio.StreamReader) -> None:
    while await reader.read(65_536):
        """What is answered is thrown away."""


TROUBLE: dict[str, Callable[[Mischief], Awaitable[None]]] = {
    "storm": storm,
    "slow reader": slow_reader,
    "half-open": half_open,
    "flood": flood,
}
