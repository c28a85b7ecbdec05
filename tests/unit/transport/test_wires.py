"""Wires in memory and over TCP on the loopback interface."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from twin.errors import Blame
from twin.transport import (
    ConnectionFailedError,
    IoThread,
    Listener,
    ListenError,
    MemoryListener,
    SocketWire,
    TcpEndpoint,
    WireClosedError,
    memory_pair,
)

LIMIT_S = 10.0
SHORT_S = 0.05


@pytest.fixture
def io() -> Iterator[IoThread]:
    thread = IoThread("test")
    yield thread
    thread.stop()


@pytest.fixture
def pair(io: IoThread) -> Iterator[tuple[SocketWire, SocketWire]]:
    listener = Listener(io, "RTU_1", "127.0.0.1", 0)
    near, port = TcpEndpoint(io, listener.host, listener.port).dial("RTU_1")
    far = listener.claim(port, LIMIT_S)
    yield near, far
    near.close()
    far.close()
    listener.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TestMemory:
    def test_wire__carries_messages_both_ways_in_order(self) -> None:
        left, right = memory_pair()
        left.write([["a", 1], ["b", 2]])
        left.write([["c", 3]])
        right.write([["d"]])
        assert right.read(2, LIMIT_S) == [["a", 1], ["b", 2]]
        assert right.read(1, LIMIT_S) == [["c", 3]]
        assert left.read(1, LIMIT_S) == [["d"]]

    def test_wire__announced_but_missing_is_an_error(self) -> None:
        left, right = memory_pair()
        left.write([["a"]])
        with pytest.raises(WireClosedError, match="2 messages were announced, 1 came"):
            right.read(2, LIMIT_S)

    def test_wire__closed_end_sends_nothing_but_what_it_sent_still_arrives(self) -> None:
        left, right = memory_pair()
        left.write([["a"]])
        left.close()
        left.close()
        left.write([["b"]])
        assert right.read(1, LIMIT_S) == [["a"]]
        with pytest.raises(WireClosedError):
            right.read(1, LIMIT_S)

    def test_listener__hands_out_each_connection_once_by_its_number(self) -> None:
        listener = MemoryListener()
        first, one = listener.dial("RTU_1")
        second, two = listener.dial("RTU_1")
        second.write([["second"]])
        first.write([["first"]])
        assert listener.claim(two, LIMIT_S).read(1, LIMIT_S) == [["second"]]
        assert listener.claim(one, LIMIT_S).read(1, LIMIT_S) == [["first"]]
        with pytest.raises(TimeoutError, match=f"no connection number {one}"):
            listener.claim(one, LIMIT_S)

    def test_listener__forgets_unclaimed_connections_when_closed(self) -> None:
        listener = MemoryListener()
        _, number = listener.dial("RTU_1")
        listener.close()
        with pytest.raises(TimeoutError):
            listener.claim(number, LIMIT_S)


class TestTcp:
    def test_wire__gives_exactly_what_is_asked_however_it_was_cut(self, pair: tuple[SocketWire, SocketWire]) -> None:
        near, far = pair
        for n in range(50):
            near.write(bytes([n]))
        near.write(b"")
        assert far.read(20, LIMIT_S) == bytes(range(20))
        assert far.read(30, LIMIT_S) == bytes(range(20, 50))

    def test_wire__carries_much_at_once(self, pair: tuple[SocketWire, SocketWire]) -> None:
        near, far = pair
        payload = bytes(range(256)) * 8_000
        near.write(payload)
        assert far.read(len(payload), LIMIT_S) == payload

    def test_wire__announced_but_missing_times_out(self, pair: tuple[SocketWire, SocketWire]) -> None:
        near, far = pair
        near.write(b"abc")
        assert far.read(1, LIMIT_S) == b"a"
        with pytest.raises(TimeoutError, match=r"4 octets were announced, 2 came within 0\.05 s"):
            far.read(4, SHORT_S)

    def test_wire__closed_by_the_other_end_delivers_the_rest_first(self, pair: tuple[SocketWire, SocketWire]) -> None:
        near, far = pair
        near.write(b"abc")
        near.close()
        assert far.read(2, LIMIT_S) == b"ab"
        with pytest.raises(WireClosedError, match="5 octets were announced, 1 came before the end"):
            far.read(5, LIMIT_S)

    def test_wire__written_after_the_other_end_hung_up_says_nothing(
        self, pair: tuple[SocketWire, SocketWire], caplog: pytest.LogCaptureFixture
    ) -> None:
        near, far = pair
        near.close()
        with pytest.raises(WireClosedError):
            far.read(1, LIMIT_S)
        for _ in range(20):
            far.write(b"to nobody")
        far.close()
        assert caplog.records == []

    def test_wire__knows_the_port_it_speaks_from(self, io: IoThread) -> None:
        listener = Listener(io, "RTU_1", "127.0.0.1", 0)
        endpoint = TcpEndpoint(io, listener.host, listener.port)
        dialled = [endpoint.dial("RTU_1") for _ in range(3)]
        for n, (wire, _) in enumerate(dialled):
            wire.write(bytes([n]))
        # claimed in another order than they were made
        claimed = {n: listener.claim(dialled[n][1], LIMIT_S) for n in (2, 0, 1)}
        assert [claimed[n].read(1, LIMIT_S) for n in range(3)] == [b"\0", b"\1", b"\2"]
        for wire in [*claimed.values(), *(w for w, _ in dialled)]:
            wire.close()
        listener.close()

    def test_claim__of_a_connection_that_never_came_times_out(self, io: IoThread) -> None:
        listener = Listener(io, "RTU_1", "127.0.0.1", 0)
        with pytest.raises(TimeoutError, match="station RTU_1 accepted no connection from port 1"):
            listener.claim(1, SHORT_S)
        listener.close()

    def test_dial__where_nobody_listens_blames_the_peer(self, io: IoThread) -> None:
        port = free_port()
        with pytest.raises(ConnectionFailedError) as failed:
            TcpEndpoint(io, "127.0.0.1", port).dial("RTU_1")
        assert str(failed.value) == f"station RTU_1 cannot be reached at 127.0.0.1:{port}: connection refused"
        assert failed.value.blame is Blame.PEER
        assert (failed.value.station, failed.value.host, failed.value.port) == ("RTU_1", "127.0.0.1", port)

    def test_listen__on_a_taken_port_blames_the_scenario(self, io: IoThread) -> None:
        taken = Listener(io, "RTU_1", "127.0.0.1", 0)
        with pytest.raises(ListenError) as failed:
            Listener(io, "RTU_2", taken.host, taken.port)
        expected = f"station RTU_2 cannot listen on 127.0.0.1:{taken.port}: address already in use"
        assert str(failed.value) == expected
        assert failed.value.blame is Blame.SCENARIO
        taken.close()

    def test_listener__drops_what_nobody_claimed_when_closed(self, io: IoThread) -> None:
        listener = Listener(io, "RTU_1", "127.0.0.1", 0)
        wire, port = TcpEndpoint(io, listener.host, listener.port).dial("RTU_1")
        waiting = listener.claim(port, LIMIT_S)
        listener._accept(port, waiting)
        listener.close()
        with pytest.raises(WireClosedError):
            wire.read(1, LIMIT_S)
        wire.close()

    def test_io_thread__can_be_stopped_twice(self) -> None:
        thread = IoThread("test")
        thread.stop()
        thread.stop()
        assert thread.loop.is_closed()
