"""The ledger of a lockstep channel: two ends over a wire in memory, tokens carried by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from twin.errors import Blame
from twin.timebase import NEVER
from twin.transport import (
    BarrierTimeoutError,
    Handover,
    IoThread,
    Listener,
    LockstepChannel,
    MemoryListener,
    Segment,
    TcpEndpoint,
    TelecontrolPath,
    memory_pair,
)

LATENCY = 80


def channel(latency_ms: int = LATENCY, limit_s: float = 10.0) -> LockstepChannel:
    return LockstepChannel("RTU_1", TelecontrolPath("RTU_1", "up", latency_ms), limit_s)


def coupled() -> tuple[LockstepChannel, LockstepChannel]:
    """Two ends of connection 1, opened at 0, whose first tokens have been exchanged."""
    near, far = channel(), channel()
    left, right = memory_pair()
    near.open(left, 0, 1, local_port=5)
    assert near.take_handovers() == [Handover("RTU_1", 1, opened_ms=0, local_port=5)]
    far.join(right, 1)
    return near, far


def hand_over(source: LockstepChannel, target: LockstepChannel) -> None:
    for token in source.take_handovers():
        target.accept(token)


def delivered(end: LockstepChannel, now: int) -> list[tuple[Any, bool]]:
    got: list[tuple[Any, bool]] = []
    while end.deliver(lambda payload, urgent: got.append((payload, urgent)), now):
        pass
    return got


def test_ledger__lists_what_was_written_once() -> None:
    near, _ = coupled()
    near.send([["a"], ["b"]], 10, urgent=True)
    near.send([["c"]], 20, urgent=False)
    near.send([], 30, urgent=True)
    assert near.take_handovers() == [Handover("RTU_1", 1, (Segment(10, 2, True), Segment(20, 1, False)))]
    assert near.take_handovers() == []


def test_channel__delivers_each_segment_at_its_arrival() -> None:
    near, far = coupled()
    near.send([["a"]], 10, urgent=False)
    near.send([["b"]], 20, urgent=True)
    hand_over(near, far)
    assert (far.next_arrival(), far.next_wanted()) == (90, 100)
    assert delivered(far, 89) == []
    assert delivered(far, 90) == [([["a"]], False)]
    assert delivered(far, 500) == [([["b"]], True)]
    assert (far.next_arrival(), far.next_wanted()) == (NEVER, NEVER)


def test_channel__wants_a_step_at_once_for_what_is_urgent_and_within_a_second_for_the_rest() -> None:
    near, far = coupled()
    near.send([["a"]], 10, urgent=False)
    hand_over(near, far)
    assert far.next_wanted() == 1090
    near.send([["b"]], 500, urgent=True)
    hand_over(near, far)
    assert far.next_wanted() == 580


def test_channel__closed_before_it_is_used_sends_nothing() -> None:
    end = channel()
    end.send([["a"]], 10, urgent=True)
    end.close(20)
    assert end.take_handovers() == []
    assert not end.is_open


def test_close__is_told_after_what_was_sent_before() -> None:
    near, far = coupled()
    near.send([["last words"]], 10, urgent=False)
    near.close(15)
    assert not near.is_open
    hand_over(near, far)
    assert delivered(far, 94) == [([["last words"]], False)]
    assert far.is_open
    assert delivered(far, 95) == [(None, True)]
    assert not far.is_open


def test_close__on_a_dead_path_is_never_learnt() -> None:
    near, far = coupled()
    far.path.cut(0, 1000)
    near.close(500)
    hand_over(near, far)
    assert delivered(far, NEVER) == []
    assert far.is_open


def test_close__drops_what_is_in_flight_to_this_end() -> None:
    near, far = coupled()
    near.send([["a"]], 10, urgent=True)
    hand_over(near, far)
    far.close(20)
    assert delivered(far, NEVER) == []


def test_token__of_another_connection_is_ignored() -> None:
    near, far = coupled()
    near.send([["a"]], 10, urgent=True)
    [token] = near.take_handovers()
    far.join(memory_pair()[0], 2)
    far.accept(token)
    assert far.next_arrival() == NEVER


def test_open__while_news_of_the_old_connection_wait_makes_two_tokens() -> None:
    """A session that is lost and dialled again within one long cycle."""
    near, far = coupled()
    near.send([["old"]], 10, urgent=False)
    near.close(20)
    left, right = memory_pair()
    near.open(left, 30, 2, local_port=6)
    near.send([["new"]], 30, urgent=True)
    old, new = near.take_handovers()
    assert old == Handover("RTU_1", 1, (Segment(10, 1, False),), closed_ms=20)
    assert new == Handover("RTU_1", 2, (Segment(30, 1, True),), opened_ms=30, local_port=6)
    far.accept(old)
    far.join(right, 2)
    far.accept(new)
    assert delivered(far, 110) == [([["new"]], True)]
    assert far.is_open


def test_barrier__missing_messages_fail_with_the_station() -> None:
    near, far = coupled()
    near.send([["a"]], 10, urgent=True)
    [token] = near.take_handovers()
    short = Handover(token.station, token.connection, (Segment(10, 3, True),))
    with pytest.raises(BarrierTimeoutError) as failed:
        far.accept(short)
    assert str(failed.value) == "station RTU_1 does not answer: 3 messages were announced, 1 came"
    assert (failed.value.station, failed.value.blame) == ("RTU_1", Blame.PEER)


def test_barrier__over_tcp_waits_no_longer_than_its_limit() -> None:
    io = IoThread("test")
    listener = Listener(io, "RTU_1", "127.0.0.1", 0)
    wire, port = TcpEndpoint(io, listener.host, listener.port).dial("RTU_1")
    far = channel(limit_s=0.05)
    far.join(listener.claim(port, 10.0), 1)
    wire.write(b"ab")
    with pytest.raises(BarrierTimeoutError, match=r"6 octets were announced, 2 came within 0\.05 s"):
        far.accept(Handover("RTU_1", 1, (Segment(0, 6, True),)))
    wire.close()
    far.drop()
    listener.close()
    io.stop()


def test_snapshot__between_a_write_and_its_token_is_refused() -> None:
    near, _ = coupled()
    near.send([["a"]], 10, urgent=True)
    with pytest.raises(RuntimeError, match="between a write and its token"):
        near.snapshot()
    near.take_handovers()
    assert near.snapshot()["open"]


def restored(end: LockstepChannel) -> LockstepChannel:
    again = channel()
    again.restore(json.loads(json.dumps(end.snapshot())))
    return again


def test_restore__keeps_what_is_in_flight() -> None:
    near, far = coupled()
    near.send([["a", 1.5]], 10, urgent=True)
    near.send([["b"]], 20, urgent=False)
    near.close(30)
    hand_over(near, far)
    again = restored(far)
    assert delivered(again, 500) == [([["a", 1.5]], True), ([["b"]], False), (None, True)]


class OctetWire:
    """A wire that leads back to itself."""

    def __init__(self) -> None:
        self.octets = b""

    def write(self, payload: bytes) -> None:
        self.octets += payload

    def read(self, size: int, limit_s: float) -> bytes:
        taken, self.octets = self.octets[:size], self.octets[size:]
        return taken

    def close(self) -> None:
        """Nothing to close."""


def test_restore__keeps_octets_in_flight_and_in_the_last_token() -> None:
    end = channel()
    end.open(OctetWire(), 0, 1)
    end.send(b"\x68\x04\x07\x00\x00\x00", 0, urgent=True)
    hand_over(end, end)
    again, wire = restored(end), OctetWire()
    [token], _ = again.hand_over_again(lambda: (wire, 7))
    assert wire.octets == b"\x68\x04\x07\x00\x00\x00"
    again.accept(token)
    assert delivered(again, 80) == [(b"\x68\x04\x07\x00\x00\x00", True)] * 2


def test_restore__hands_the_last_token_over_again_on_a_new_wire() -> None:
    near, far = coupled()
    near.send([["a"], ["b"]], 10, urgent=True)
    [token] = near.take_handovers()
    near_again, far_again, listener = restored(near), restored(far), MemoryListener()
    tokens, port = near_again.hand_over_again(lambda: listener.dial("RTU_1"))
    assert tokens == [token]
    assert port is not None
    far_again.resume(listener.claim(port, 1.0))
    far_again.accept(tokens[0])
    assert delivered(far_again, 90) == [([["a"], ["b"]], True)]
    near_again.send([["c"]], 100, urgent=False)  # and the connection stands
    hand_over(near_again, far_again)
    assert delivered(far_again, 180) == [([["c"]], False)]


def test_restore__hands_over_the_last_words_of_a_closed_connection() -> None:
    near, far = coupled()
    near.send([["last words"]], 10, urgent=False)
    near.close(20)
    near.take_handovers()
    near_again, far_again, listener = restored(near), restored(far), MemoryListener()
    tokens, port = near_again.hand_over_again(lambda: listener.dial("RTU_1"))
    assert port is not None
    far_again.resume(listener.claim(port, 1.0))
    far_again.accept(tokens[0])
    assert delivered(far_again, 500) == [([["last words"]], False), (None, True)]
    assert not near_again.is_open


def test_restore__of_a_connection_that_the_other_end_does_not_know_gives_no_port() -> None:
    near, listener = channel(), MemoryListener()
    wire, port = listener.dial("RTU_1")
    near.open(wire, 0, 1, port)
    near.send([["hello"]], 0, urgent=True)
    near.take_handovers()
    near_again, elsewhere = restored(near), MemoryListener()
    elsewhere.dial("somebody else")
    [token], known = near_again.hand_over_again(lambda: elsewhere.dial("RTU_1"))
    assert known is None
    assert (token.opened_ms, token.local_port) == (0, 2)
    far = channel()
    far.join(elsewhere.claim(token.local_port, 1.0), token.connection)
    far.accept(token)
    assert delivered(far, 80) == [([["hello"]], True)]


def test_restore__quiet_connection_only_needs_a_wire() -> None:
    near, _ = coupled()
    assert near.take_handovers() == []
    listener = MemoryListener()
    tokens, port = restored(near).hand_over_again(lambda: listener.dial("RTU_1"))
    assert (tokens, port) == ([], 1)


def test_restore__half_open_connection_stays_half_open() -> None:
    """The other end hung up unheard: this one goes on writing, and keeps its ledger as before."""
    _, far = coupled()
    again = restored(far)
    for end in (far, again):
        end.send([["to nobody"]], 50, urgent=True)
    assert again.take_handovers() == far.take_handovers()
    assert again.is_open


def test_restore__closed_channel_stays_closed() -> None:
    near, _ = coupled()
    near.close(5)
    near.take_handovers()
    near.take_handovers()
    listener = MemoryListener()
    again = restored(near)
    assert again.hand_over_again(lambda: listener.dial("RTU_1")) == ([], None)
    assert not again.is_open
    assert again.connection == 1
