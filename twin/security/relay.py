"""A TLS relay: protects the connections of a library that cannot, octet by octet.

Towards a protected station it listens in plain on the loopback and dials with TLS; in front of a plain station it
listens with TLS and dials in plain. It reads nothing of what it carries.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Literal

from twin.security.tls import TlsRefusedError, TlsSettings, check_peer, client_context, refusal, server_context

CHUNK = 65_536


class TlsRelay:
    """Relays connections from :meth:`start` to :meth:`stop`; used from the thread of its loop only.

    ``protects`` says which side speaks TLS: ``dialled`` for a plain library in front of a protected station,
    ``accepted`` for a protected front of a plain one. ``on_refused`` gets a sentence for each refused peer.
    """

    def __init__(
        self,
        settings: TlsSettings,
        host: str,
        port: int,
        *,
        protects: Literal["dialled", "accepted"],
        on_refused: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.settings = settings
        self._target = (host, port)
        self._protects = protects
        self._on_refused = on_refused
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> tuple[str, int]:
        """Listen; the address listened on.

        Raises:
            TlsSetupError: the certificates cannot be used.
            OSError: the address cannot be listened on.
        """
        self._client = client_context(self.settings) if self._protects == "dialled" else None
        self._own = server_context(self.settings) if self._protects == "accepted" else None
        self._server = await asyncio.start_server(self._accept, host, port)
        bound = self._server.sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    async def stop(self) -> None:
        """Stop listening and hang up everywhere."""
        self._stopped = True
        if self._server is not None:
            self._server.close()
        for task in list(self._carrying):
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._stopped:  # it was accepted while the relay stopped
            writer.transport.abort()
            return
        self._carrying.add(task)
        peer = str(writer.get_extra_info("peername")[0])
        try:
            await self._carry(reader, writer, peer)
        except asyncio.CancelledError:
            pass
        finally:
            self._carrying.discard(task)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> None:
        limit_s = self.settings.handshake_limit_s
        try:
            if self._own is not None:
                await writer.start_tls(self._own, ssl_handshake_timeout=limit_s)
                check_peer(writer.get_extra_info("peercert"), self.settings)
            far = await self._dial(limit_s)
        except (OSError, TlsRefusedError) as error:
            self._on_refused(self._sentence(peer, error))
            return
        ways = [asyncio.ensure_future(_pump(reader, far[1])), asyncio.ensure_future(_pump(far[0], writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            far[1].transport.abort()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    def _sentence(self, peer: str, error: Exception) -> str:
        if isinstance(error, ssl.SSLError | TlsRefusedError | TimeoutError | ConnectionAbortedError):
            other = peer if self._own is not None else f"{self._target[0]}:{self._target[1]}"
            return f"TLS with {other} was refused: {refusal(error)}"
        return f"{self._target[0]}:{self._target[1]} cannot be reached: {error}"

    async def _dial(self, limit_s: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        far = await asyncio.wait_for(asyncio.open_connection(*self._target), limit_s)
        if self._client is None:
            return far
        try:
            await far[1].start_tls(self._client, ssl_handshake_timeout=limit_s)
            check_peer(far[1].get_extra_info("peercert"), self.settings)
        except BaseException:
            far[1].transport.abort()
            raise
        return far


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        return
