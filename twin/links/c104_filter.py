"""The strict filter in front of c104: only whole, valid frames of types we know reach it.

c104 2.2.1 dies on a truncated ASDU; here such a frame ends the connection before the library sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from twin.protocols.iec104 import MalformedFrameError, decode_asdu
from twin.protocols.iec104.apci import APCI_OCTETS, FrameReader, IFrame, encode_s_frame, encode_u_frame
from twin.protocols.iec104.types import TYPES

CHUNK = 65_536


class FrameFilter:
    """Octets of a station in, the octets of its valid frames out."""

    def __init__(self) -> None:
        self._reader = FrameReader()

    def pass_on(self, data: bytes) -> bytes:
        """The frames that are whole now.

        Raises:
            MalformedFrameError: the first frame that is not valid, or of a type that is not known.
        """
        self._reader.feed(data)
        passed: list[bytes] = []
        while (frame := self._reader.next_frame()) is not None:
            if isinstance(frame, IFrame):
                self._check(frame.octets)
                passed.append(frame.octets)
            elif hasattr(frame, "function"):
                passed.append(encode_u_frame(frame.function))
            else:
                passed.append(encode_s_frame(frame.receive_sequence))
        return b"".join(passed)

    @staticmethod
    def _check(octets: bytes) -> None:
        if octets[APCI_OCTETS] not in TYPES:
            raise MalformedFrameError("a type that is not known", APCI_OCTETS, octets[APCI_OCTETS])
        decode_asdu(octets, APCI_OCTETS)


class FilteringProxy:
    """Listens on the loopback for c104 and dials the station; used from the thread of its loop only.

    ``on_fault`` gets a sentence for each connection that a frame of the station ended, and for each that failed.
    """

    def __init__(self, host: str, port: int, on_fault: Callable[[str], None]) -> None:
        self._target = (host, port)
        self._on_fault = on_fault
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()

    async def start(self) -> tuple[str, int]:
        """Listen on a free port of the loopback."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        bound = self._server.sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    async def stop(self) -> None:
        """Hang up everywhere."""
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
        self._carrying.add(task)
        try:
            await self._carry(reader, writer)
        except OSError as error:
            self._on_fault(f"{self._target[0]}:{self._target[1]} cannot be reached: {error.strerror or error}")
        except MalformedFrameError as error:
            self._on_fault(str(error))
        except asyncio.CancelledError:
            pass
        finally:
            self._carrying.discard(task)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        ways = [
            asyncio.ensure_future(_pump(reader, far_writer, lambda data: data)),
            asyncio.ensure_future(_pump(far_reader, writer, FrameFilter().pass_on)),
        ]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
        finally:
            far_writer.transport.abort()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, through: Callable[[bytes], bytes]) -> None:
    while data := await reader.read(CHUNK):
        if passed := through(data):
            writer.write(passed)
            await writer.drain()
