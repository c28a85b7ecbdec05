"""A relay that stands between two ends of TCP connections and makes them worse: for real time, on the wire.

Delay, jitter, loss, rate, black hole and half-open, changed while it runs. It moves octets and knows no protocol. It
keeps order and loses nothing: what TCP would repeat, no program above TCP can lose, so a loss is the time until TCP
would have repeated it. For runs in simulated time there is ``telecontrol`` instead.
"""

from __future__ import annotations

import asyncio
import random
import socket

from pydantic import BaseModel, ConfigDict, Field

from twin.transport.sockets import ListenError
from twin.transport.telecontrol import RETRANSMISSION_MS, RETRANSMISSIONS

CHUNK = 4_096
CHUNKS_HELD = 256
"""How much waits in one direction; a sender beyond that is not read any more."""


class RelayConditions(BaseModel):
    """How the way through a relay is, in both directions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delay_ms: float = Field(default=0.0, ge=0, description="how long every octet takes")
    jitter_ms: float = Field(default=0.0, ge=0, description="how much longer it may take at random; order is kept")
    loss: float = Field(default=0.0, ge=0, le=1, description="share of pieces that arrive a retransmission later")
    rate_bit_s: int = Field(default=0, ge=0, description="how many bits go through in a second; 0 is without limit")
    black_hole: bool = Field(default=False, description="nothing goes through; what was sent waits")


class Relay:
    """Listens for connections and passes each on to ``target``; used from the thread of its loop only.

    ``speed`` is by how much simulation time runs faster than the wall clock: conditions are in simulation time.
    ``name`` is what is said to listen where that fails.
    """

    def __init__(
        self,
        target: tuple[str, int],
        conditions: RelayConditions | None = None,
        seed: int = 0,
        *,
        speed: float = 1.0,
        name: str = "relay",
    ) -> None:
        self.target = target
        self._speed = speed
        self._name = name
        self._origins: dict[int, str] = {}
        self._conditions = conditions or RelayConditions()
        self._random = random.Random(seed)
        self._open = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._passages: set[_Passage] = set()
        self._closed = False
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
            raise ListenError(self._name, host, port, error.strerror or str(error)) from error
        bound = self._server.sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    def origin(self, port: int) -> str:
        """The IP address of the caller for whom the relay dials the target from ``port``; empty if it does not."""
        return self._origins.get(port, "")

    async def dial(self, caller: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, int]:
        """Connect to the target for a caller; the port dialled from is known before the target sees it."""
        family = socket.AF_INET6 if ":" in self.target[0] else socket.AF_INET
        line = socket.socket(family, socket.SOCK_STREAM)
        line.setblocking(False)
        port = 0
        try:
            line.bind(("", 0))
            port = int(line.getsockname()[1])
            self._origins[port] = caller
            await asyncio.get_running_loop().sock_connect(line, self.target)
            return (*await asyncio.open_connection(sock=line), port)
        except BaseException:
            self.forget(port)
            line.close()
            raise

    def forget(self, port: int) -> None:
        """A connection to the target is over."""
        self._origins.pop(port, None)

    async def close(self) -> None:
        """Stop listening and hang up on both sides of every connection."""
        self._closed = True
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
        if self._closed:  # it was accepted while the relay closed
            writer.transport.abort()
            return
        passage = _Passage(self, writer, task)
        self._passages.add(passage)
        try:
            await passage.run(reader)
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
        now = self._conditions
        delay_ms = now.delay_ms + self._random.uniform(0.0, now.jitter_ms)
        if now.loss:
            delay_ms += self._repeating_ms(now.loss)
        return delay_ms / 1_000 / self._speed

    def _repeating_ms(self, loss: float) -> float:
        """How long TCP would take to get a piece through after all."""
        lost = 0
        while lost < RETRANSMISSIONS and self._random.random() < loss:
            lost += 1
        return float(RETRANSMISSION_MS * ((1 << lost) - 1))

    def sending_s(self, octets: int) -> float:
        """How long so many octets occupy the line."""
        rate = self._conditions.rate_bit_s
        return octets * 8 / rate / self._speed if rate else 0.0


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

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Move octets both ways until either end hangs up."""
        caller = str(self._near.get_extra_info("peername")[0])
        far_reader, self._far, port = await self._relay.dial(caller)
        down = asyncio.ensure_future(self._move(reader, self._far))
        up = asyncio.ensure_future(self._move(far_reader, self._near))
        try:
            await asyncio.wait((down, up), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._relay.forget(port)
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
