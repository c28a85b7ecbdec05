"""The relay on real sockets: an echo behind it, times measured on the loop's own clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from twin.transport.relay import Relay, RelayConditions
from twin.transport.sockets import ListenError

LIMIT_S = 10.0


class Echo:
    """Says everything back; counts its connections."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            """The relay cut it."""
        finally:
            self.lost.set()
            writer.close()


def through_relay(work: Callable[[Relay, str, int, Echo], Awaitable[None]], **conditions: float) -> None:
    """Let ``work`` talk to an echo through a relay."""

    async def main() -> None:
        echo = Echo()
        server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
        relay = Relay(server.sockets[0].getsockname()[:2], RelayConditions.model_validate(conditions))
        host, port = await relay.start()
        try:
            async with asyncio.timeout(LIMIT_S):
                await work(relay, host, port, echo)
        finally:
            await relay.close()
            server.close()
            await server.wait_closed()

    asyncio.run(main())


async def round_trip(host: str, port: int, text: bytes) -> float:
    """How long ``text`` takes there and back, s."""
    reader, writer = await asyncio.open_connection(host, port)
    loop = asyncio.get_running_loop()
    since = loop.time()
    writer.write(text)
    assert await reader.readexactly(len(text)) == text
    took = loop.time() - since
    writer.close()
    return took


def test_relay__passes_octets_on_unchanged() -> None:
    async def work(relay: Relay, host: str, port: int, echo: Echo) -> None:
        await round_trip(host, port, bytes(range(256)) * 400)

    through_relay(work)


def test_delay__is_added_each_way_and_order_is_kept_with_jitter() -> None:
    async def work(relay: Relay, host: str, port: int, echo: Echo) -> None:
        assert await round_trip(host, port, b"".join(n.to_bytes(2, "big") for n in range(3_000))) >= 0.08

    through_relay(work, delay_ms=40, jitter_ms=15)


def test_rate__makes_octets_wait_for_the_line() -> None:
    async def work(relay: Relay, host: str, port: int, echo: Echo) -> None:
        assert await round_trip(host, port, bytes(1_000)) >= 0.16

    through_relay(work, rate_bit_s=100_000)


def test_black_hole__holds_everything_until_it_heals() -> None:
    async def work(relay: Relay, host: str, port: int, echo: Echo) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"first")
        assert await reader.readexactly(5) == b"first"
        relay.change(RelayConditions(black_hole=True))
        writer.write(b"second")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read(1)
        relay.change(RelayConditions())
        assert await reader.readexactly(6) == b"second"
        writer.close()

    through_relay(work)


def test_half_open__far_end_is_cut_and_the_caller_is_told_nothing() -> None:
    async def work(relay: Relay, host: str, port: int, echo: Echo) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"first")
        assert await reader.readexactly(5) == b"first"
        relay.half_open()
        await echo.lost.wait()
        writer.write(b"second")
        await writer.drain()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read(1)
        assert relay.connections == 1
        writer.close()
        assert await round_trip(host, port, b"a new one") < LIMIT_S

    through_relay(work)


def test_target_that_is_not_there__caller_is_hung_up_on() -> None:
    async def main() -> None:
        free = await asyncio.start_server(Echo().serve, "127.0.0.1", 0)
        target = free.sockets[0].getsockname()[:2]
        free.close()
        await free.wait_closed()
        relay = Relay(target)
        host, port = await relay.start()
        reader, writer = await asyncio.open_connection(host, port)
        heard = await asyncio.gather(reader.read(1), return_exceptions=True)
        assert heard[0] == b"" or isinstance(heard[0], ConnectionError)
        writer.close()
        await relay.close()

    asyncio.run(main())


def test_address_in_use__is_said_in_one_sentence() -> None:
    async def main() -> None:
        first = Relay(("127.0.0.1", 1))
        host, port = await first.start()
        with pytest.raises(ListenError, match=f"relay cannot listen on {host}:{port}"):
            await Relay(("127.0.0.1", 1)).start(host, port)
        await first.close()

    asyncio.run(main())


def test_loss__is_the_time_of_the_retransmissions() -> None:
    """Half of the pieces are lost once, a quarter twice, ...: 200, 600, 1,400 ms, at most 51 s."""
    relay = Relay(("127.0.0.1", 1), RelayConditions(loss=0.5), seed=7)
    delays_ms = [round(relay.delay_s() * 1_000) for _ in range(4_000)]
    assert set(delays_ms) <= {200 * ((1 << n) - 1) for n in range(9)}
    share = [delays_ms.count(200 * ((1 << n) - 1)) / len(delays_ms) for n in range(3)]
    assert share == pytest.approx([0.5, 0.25, 0.125], abs=0.03)
    assert max(Relay(("127.0.0.1", 1), RelayConditions(loss=1.0)).delay_s() for _ in range(3)) == 51.0


def test_speed__shortens_what_conditions_take() -> None:
    relay = Relay(("127.0.0.1", 1), RelayConditions(delay_ms=100, rate_bit_s=1_000), speed=4.0)
    assert (relay.delay_s(), relay.sending_s(1_000)) == (0.025, 2.0)


def test_origin__is_the_callers_address_while_it_is_connected() -> None:
    seen: list[tuple[str, int]] = []

    async def main() -> None:
        gone = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            port = int(writer.get_extra_info("peername")[1])
            seen.append((relay.origin(port), port))
            writer.write(b"x")
            await reader.read(1)
            writer.close()
            gone.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        relay = Relay(server.sockets[0].getsockname()[:2])
        host, port = await relay.start()
        async with asyncio.timeout(LIMIT_S):
            reader, writer = await asyncio.open_connection(host, port, local_addr=("127.3.3.3", 0))
            await reader.readexactly(1)
            writer.close()
            await gone.wait()
        await relay.close()
        server.close()
        await server.wait_closed()
        assert relay.origin(seen[0][1]) == ""

    asyncio.run(main())
    assert [address for address, _ in seen] == ["127.3.3.3"]
