"""A relay that stands between two ends of TCP connections and makes them worse: for real time, on the wire.

Delay, jitter, rate, black hole and half-open, changed while it runs. It moves octets and knows no protocol. It keeps
order and loses nothing: what TCP would repeat, no program above TCP can lose. For runs in simulated time there is
``telecontrol`` instead.
"""

from __future__ import annotations

import asyncio
import random

from pydantic import BaseModel, ConfigDict, Field

from twin.transport.sockets import ListenError

CHUNK = 4_096
CHUNKS_HELD = 256
"""How much waits in one direction; a sender beyond that is not read any more."""


class RelayConditions(BaseModel):
    """How the way through a relay is, in both directions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delay_ms: float = Field(default=0.0, ge=0, description="how long every octet takes")
    jitter_ms: float = Field(default=0.0, ge=0, description="how much longer it may take at random; order is kept")
    rate_bit_s: int = Field(default=0, ge=0, description="how many bits go through in a second; 0 is without limit")
    black_hole: bool = Field(default=False, description="nothing goes through; what was sent waits")


class Relay:
    """Listens for connections and passes each on to ``target``; used from the thread of its loop only."""

    def __init__(self, target: tuple[str, int], conditions: RelayConditions | None = None, seed: int = 0) -> None:
        self._target = target
        self._conditions = conditions or RelayConditions()
        self._random = random.Random(seed)
        self._open = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._passages: set[_Passage] = set()
        self.change(self._conditions)

    @property
    def conditions(self) -> RelayConditions:
        """How the way through is now."""
        return self._conditions

    def change(self, conditions: RelayConditions) -> None:
        """From now on the way through is so; what is under way keeps its time."""
        self._conditions = conditions
        (self._open.clear if conditions.black_hole else self._open.set)()

    @property
    def connections(self) -> int:
        """How many callers are connected."""
        return len(self._passages)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> tuple[str, int]:
        """Listen; the address listened on.

        Raises:
            ListenError: the address cannot be listened on.
        """
        try:
            self._server = await asyncio.start_server(self._serve, host, port)
        except OSError as error:
            raise ListenError("relay", host, port, error.strerror or str(error)) from error
        bound = self._server.sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    async def close(self) -> None:
        """Stop listening and hang up on both sides of every connection."""
        if self._server is not None:
            self._server.close()
        passages = list(self._passages)
        for passage in passages:
            passage.cancel()
        await asyncio.gather(*(passage.task for passage in passages), return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    def cut(self) -> None:
        """Both ends of every connection are hung up on; new ones are taken."""
        for passage in self._passages:
            passage.cancel()

    def half_open(self) -> None:
        """The far ends lose their connections; the callers are told nothing and speak into the void."""
        for passage in self._passages:
            passage.forget_far_end()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        passage = _Passage(self, writer, task)
        self._passages.add(passage)
        try:
            await passage.run(reader, self._target)
        except (OSError, asyncio.CancelledError):
            """The far end cannot be reached, or the relay is closed: the caller is hung up on."""
        finally:
            passage.hang_up()
            self._passages.discard(passage)

    async def passes(self) -> None:
        """Wait while nothing goes through."""
        await self._open.wait()

    def delay_s(self) -> float:
        """How long the octets take that come in now."""
        return (self._conditions.delay_ms + self._random.uniform(0.0, self._conditions.jitter_ms)) / 1_000

    def sending_s(self, octets: int) -> float:
        """How long so many octets occupy the line."""
        rate = self._conditions.rate_bit_s
        return octets * 8 / rate if rate else 0.0


class _Passage:
    """One connection through the relay."""

    def __init__(self, relay: Relay, near: asyncio.StreamWriter, task: asyncio.Task[None]) -> None:
        self.task = task
        self._relay = relay
        self._near = near
        self._far: asyncio.StreamWriter | None = None
        self._forgotten = asyncio.Event()

    def cancel(self) -> None:
        self.task.cancel()

    def forget_far_end(self) -> None:
        """Cut the far side; the near side stays open and is read into the void."""
        self._forgotten.set()
        if self._far is not None:
            self._far.transport.abort()

    def hang_up(self) -> None:
        for writer in (self._near, self._far):
            if writer is not None:
                writer.transport.abort()

    async def run(self, reader: asyncio.StreamReader, target: tuple[str, int]) -> None:
        """Move octets both ways until either end hangs up."""
        far_reader, self._far = await asyncio.open_connection(*target)
        down = asyncio.ensure_future(self._move(reader, self._far))
        up = asyncio.ensure_future(self._move(far_reader, self._near))
        try:
            await asyncio.wait((down, up), return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(down, up, return_exceptions=True)
        while self._forgotten.is_set() and await reader.read(CHUNK):
            """The caller speaks, nobody hears."""

    async def _move(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_HELD)
        release = asyncio.ensure_future(self._release(held, writer))
        loop = asyncio.get_running_loop()
        free_at = due = loop.time()
        try:
            while data := await reader.read(CHUNK):
                now = loop.time()
                free_at = max(free_at, now) + self._relay.sending_s(len(data))
                due = max(due, free_at + self._relay.delay_s())
                await held.put((due, data))
            await held.put((due, b""))
            await release
        finally:
            release.cancel()

    async def _release(self, held: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await held.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self._relay.passes()
            if not data:
                return
            writer.write(data)
            await writer.drain()
