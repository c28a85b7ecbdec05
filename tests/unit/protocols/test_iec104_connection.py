"""Frames, windows, time-outs and the start/stop procedure of one connection."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.protocols.iec104 import (
    Asdu,
    AsduReceived,
    Cause,
    Connection,
    ConnectionClosed,
    ConnectionSettings,
    Event,
    InformationObject,
    MalformedFrameError,
    Role,
    TransferNotStartedError,
    TransferStarted,
    TransferState,
    TransferStopped,
    TypeId,
    encode_asdu,
)
from twin.protocols.iec104.apci import (
    FrameReader,
    IFrame,
    SFrame,
    UFrame,
    UFunction,
    encode_i_frame,
    encode_s_frame,
    encode_u_frame,
)
from twin.protocols.iec104.elements import SinglePoint
from twin.timebase import NEVER

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/iec104/frames.json").read_text())
DEFAULT = ConnectionSettings()
TESTFR_ACT, TESTFR_CON = encode_u_frame(UFunction.TESTFR_ACT), encode_u_frame(UFunction.TESTFR_CON)
STARTDT_ACT, STARTDT_CON = encode_u_frame(UFunction.STARTDT_ACT), encode_u_frame(UFunction.STARTDT_CON)
STOPDT_ACT, STOPDT_CON = encode_u_frame(UFunction.STOPDT_ACT), encode_u_frame(UFunction.STOPDT_CON)


def event(number: int) -> Asdu:
    return Asdu(TypeId.M_SP_NA_1, Cause.SPONTANEOUS, 1, (InformationObject(number, SinglePoint(True)),))


def i_frame(send: int, receive: int, number: int = 1) -> bytes:
    return encode_i_frame(send, receive, encode_asdu(event(number)))


def started(role: Role, now: int = 0, **changes: int) -> Connection:
    connection = Connection(role, ConnectionSettings(**changes), now)
    if role is Role.CONTROLLED:
        assert connection.receive(STARTDT_ACT, now) == [TransferStarted()]
        assert connection.data_to_send() == STARTDT_CON
    else:
        connection.start(now)
        assert connection.data_to_send() == STARTDT_ACT
        assert connection.receive(STARTDT_CON, now) == [TransferStarted()]
    return connection


def closing(events: list[Event]) -> ConnectionClosed:
    last = events[-1]
    assert isinstance(last, ConnectionClosed)
    return last


# frames


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_frame__decodes_and_encodes_vector(case: dict[str, Any]) -> None:
    octets = bytes.fromhex(case["hex"])
    reader = FrameReader()
    reader.feed(octets)
    frame = reader.next_frame()
    if "u" in case:
        assert frame == UFrame(UFunction[case["u"]])
        assert encode_u_frame(UFunction[case["u"]]) == octets
    elif "s" in case:
        assert frame == SFrame(case["s"])
        assert encode_s_frame(case["s"]) == octets
    else:
        send, receive, asdu = case["i"]
        assert frame == IFrame(send, receive, octets)
        assert encode_i_frame(send, receive, bytes.fromhex(asdu)) == octets
    assert reader.next_frame() is None


@pytest.mark.parametrize(
    ("octets", "offset"),
    [
        ("67", 0),
        ("6803", 1),
        ("68fe", 1),
        ("680405000000", 2),  # no such function
        ("680407010000", 3),
        ("680407000100", 4),
        ("680407000001", 5),
        ("680401010000", 3),
        ("680401000100", 4),
        ("680500000000 00", -1),  # an I frame whose ASDU is cut: the decoder's offset
        ("680400000000", 1),  # an I frame without an ASDU
        ("680501000000 00", 1),  # an S frame with a body
    ],
)
def test_frame__wrong_octet_closes_with_its_offset(octets: str, offset: int) -> None:
    connection = started(Role.CONTROLLED)
    closed = closing(connection.receive(bytes.fromhex(octets), 5))
    assert closed.error is not None
    assert closed.error.offset == (offset if offset >= 0 else 7)
    assert closed.reason == str(closed.error)
    assert connection.state is TransferState.CLOSED
    assert connection.next_timer() == NEVER
    assert connection.receive(STARTDT_ACT, 6) == []
    assert connection.tick(NEVER) == []
    assert connection.data_to_send() == b""


def test_frame__wrong_start_is_refused_before_the_frame_is_whole() -> None:
    reader = FrameReader()
    reader.feed(b"\x16")
    with pytest.raises(MalformedFrameError, match=r"start octet is not 0x68 at octet 0 \(0x16\)"):
        reader.next_frame()


STREAM = STARTDT_ACT + i_frame(0, 0, 1) + TESTFR_ACT + i_frame(1, 0, 2) + i_frame(2, 0, 3)
STREAM_EVENTS = [TransferStarted(), *(AsduReceived(event(n)) for n in (1, 2, 3))]


def test_connection__drips_octet_by_octet() -> None:
    connection = Connection(Role.CONTROLLED, DEFAULT, 0)
    events = [e for octet in STREAM for e in connection.receive(bytes((octet,)), 1)]
    assert events == STREAM_EVENTS
    assert connection.data_to_send() == STARTDT_CON + TESTFR_CON


def test_connection__takes_coalesced_frames() -> None:
    connection = Connection(Role.CONTROLLED, DEFAULT, 0)
    assert connection.receive(STREAM, 1) == STREAM_EVENTS


@pytest.mark.parametrize("at", range(len(STREAM) + 1))
def test_connection__cut_anywhere_gives_the_same_events(at: int) -> None:
    connection = Connection(Role.CONTROLLED, DEFAULT, 0)
    assert connection.receive(STREAM[:at], 1) + connection.receive(STREAM[at:], 1) == STREAM_EVENTS


# window and acknowledgements


def test_k__holds_back_what_exceeds_the_window() -> None:
    connection = started(Role.CONTROLLED, k=3, w=2)
    for number in range(5):
        connection.send(event(number), 1)
    assert connection.data_to_send() == b"".join(i_frame(n, 0, n) for n in range(3))
    assert not connection.window_open
    assert connection.receive(encode_s_frame(1), 2) == []
    assert connection.data_to_send() == i_frame(3, 0, 3)
    connection.receive(encode_s_frame(4), 3)
    assert connection.data_to_send() == i_frame(4, 0, 4)
    assert connection.unconfirmed == (encode_asdu(event(4)),)
    assert connection.window_open


def test_w__acknowledges_after_w_frames() -> None:
    connection = started(Role.CONTROLLING, w=3)
    connection.receive(i_frame(0, 0) + i_frame(1, 0), 1)
    assert connection.data_to_send() == b""
    connection.receive(i_frame(2, 0), 1)
    assert connection.data_to_send() == encode_s_frame(3)


def test_w__a_frame_of_ours_acknowledges_too() -> None:
    connection = started(Role.CONTROLLING, w=3)
    connection.receive(i_frame(0, 0) + i_frame(1, 0), 1)
    connection.send(event(9), 2)
    assert connection.data_to_send() == i_frame(0, 2, 9)
    connection.receive(i_frame(2, 1) + i_frame(3, 1), 2)
    assert connection.data_to_send() == b""


def test_t2__acknowledges_the_oldest_frame_in_time() -> None:
    connection = started(Role.CONTROLLING)
    connection.receive(i_frame(0, 0), 100)
    connection.receive(i_frame(1, 0), 5_000)
    assert connection.next_timer() == 10_100
    connection.tick(10_099)
    assert connection.data_to_send() == b""
    connection.tick(10_100)
    assert connection.data_to_send() == encode_s_frame(2)
    connection.tick(11_000)
    assert connection.data_to_send() == b""


def test_t1__closes_when_an_i_frame_is_not_acknowledged() -> None:
    connection = started(Role.CONTROLLED)
    connection.send(event(1), 1_000)
    connection.send(event(2), 2_000)
    connection.receive(encode_s_frame(1), 3_000)
    assert connection.next_timer() == 17_000
    assert connection.tick(16_999) == []
    closed = closing(connection.tick(17_000))
    assert closed.reason == "t1 expired: I frame not acknowledged within 15000 ms"
    assert closed.error is None


@pytest.mark.parametrize("order", ["start", "stop"])
def test_t1__closes_when_start_or_stop_is_not_confirmed(order: str) -> None:
    connection = Connection(Role.CONTROLLING, DEFAULT, 0) if order == "start" else started(Role.CONTROLLING)
    getattr(connection, order)(1_000)
    assert connection.next_timer() == 16_000
    assert closing(connection.tick(16_000)).reason.startswith(f"t1 expired: {order.upper()}DT act not")


def test_t3__tests_an_idle_line_and_t1_closes_it() -> None:
    connection = started(Role.CONTROLLED)
    connection.receive(TESTFR_ACT, 5_000)
    assert connection.data_to_send() == TESTFR_CON
    assert connection.next_timer() == 25_000
    assert connection.tick(25_000) == []
    assert connection.data_to_send() == TESTFR_ACT
    assert connection.next_timer() == 40_000
    assert closing(connection.tick(40_000)).reason.startswith("t1 expired: TESTFR act not")


def test_t3__confirmation_keeps_the_line() -> None:
    connection = started(Role.CONTROLLED)
    connection.tick(20_000)
    assert connection.data_to_send() == TESTFR_ACT
    connection.receive(TESTFR_CON, 20_100)
    assert connection.next_timer() == 40_100
    assert connection.tick(35_000) == []


def test_t3__runs_while_transfer_is_stopped() -> None:
    connection = Connection(Role.CONTROLLING, DEFAULT, 7)
    connection.tick(20_007)
    assert connection.data_to_send() == TESTFR_ACT


def test_sequence_numbers__wrap_at_32768() -> None:
    station, master = started(Role.CONTROLLED), started(Role.CONTROLLING)
    received = 0
    for number in range(33_000):
        station.send(event(number), 0)
        received += len(master.receive(station.data_to_send(), 0))
        station.receive(master.data_to_send(), 0)
    assert received == 33_000
    state = station.snapshot()
    assert state["send_sequence"] == 33_000 - 32_768
    assert station.unconfirmed == ()
    assert master.state is TransferState.STARTED


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (i_frame(1, 0), "send sequence number 1 instead of 0"),
        (i_frame(0, 1), "receive sequence number 1 acknowledges what was never sent"),
        (encode_s_frame(32767), "receive sequence number 32767 acknowledges what was never sent"),
    ],
)
def test_sequence_numbers__out_of_order_close(frame: bytes, fault: str) -> None:
    connection = started(Role.CONTROLLED)
    assert fault in closing(connection.receive(frame, 1)).reason


# start and stop


def test_stopped__controlled_side_refuses_information() -> None:
    connection = Connection(Role.CONTROLLED, DEFAULT, 0)
    reason = closing(connection.receive(i_frame(0, 0), 1)).reason
    assert reason == "malformed frame: I frame in state stopped of the controlled side at octet 2"


@pytest.mark.parametrize("function", [UFunction.STARTDT_CON, UFunction.STOPDT_CON])
def test_controlled__refuses_confirmations_it_never_asked_for(function: UFunction) -> None:
    connection = started(Role.CONTROLLED)
    assert isinstance(connection.receive(encode_u_frame(function), 1)[-1], ConnectionClosed)


@pytest.mark.parametrize("function", [UFunction.STARTDT_ACT, UFunction.STOPDT_ACT])
def test_controlling__refuses_activations(function: UFunction) -> None:
    connection = started(Role.CONTROLLING)
    assert isinstance(connection.receive(encode_u_frame(function), 1)[-1], ConnectionClosed)


def test_send__is_refused_while_transfer_is_stopped() -> None:
    with pytest.raises(TransferNotStartedError, match="state stopped"):
        Connection(Role.CONTROLLED, DEFAULT, 0).send(event(1), 0)


def test_stop__confirms_after_the_last_acknowledgement_and_gives_back_what_was_queued() -> None:
    connection = started(Role.CONTROLLED, k=2, w=1)
    for number in range(3):
        connection.send(event(number), 0)
    connection.data_to_send()
    assert connection.receive(STOPDT_ACT, 1) == []
    assert connection.state is TransferState.PENDING_UNCONFIRMED_STOPPED
    assert connection.receive(encode_s_frame(1), 2) == []
    assert connection.data_to_send() == b""
    assert connection.receive(encode_s_frame(2), 3) == [TransferStopped((encode_asdu(event(2)),))]
    assert connection.data_to_send() == STOPDT_CON
    assert connection.state is TransferState.STOPPED
    assert connection.receive(STARTDT_ACT, 4) == [TransferStarted()]


def test_stop__controlling_side_acknowledges_what_still_comes() -> None:
    connection = started(Role.CONTROLLING)
    connection.receive(i_frame(0, 0), 1)
    connection.stop(2)
    assert connection.data_to_send() == encode_s_frame(1) + STOPDT_ACT
    assert connection.receive(i_frame(1, 0), 3) == [AsduReceived(event(1))]
    assert connection.data_to_send() == encode_s_frame(2)
    assert connection.receive(STOPDT_CON, 4) == [TransferStopped()]
    with pytest.raises(TransferNotStartedError):
        connection.send(event(1), 5)


def test_settings__t2_must_be_shorter_than_t1() -> None:
    with pytest.raises(ValueError, match="t2 must be shorter than t1"):
        ConnectionSettings(t1_ms=10_000)


# noise


@settings(max_examples=300, deadline=None, database=None)
@given(st.integers(0, 2**32), st.sampled_from(list(Role)))
def test_noise__mutated_frames_close_and_never_raise(seed: int, role: Role) -> None:
    rng = random.Random(seed)
    connection = started(role)
    stream = bytearray(b"".join(i_frame(n, 0, n) for n in range(6)) + TESTFR_ACT + encode_s_frame(0))
    for _ in range(rng.randrange(1, 6)):
        stream[rng.randrange(len(stream))] = rng.randrange(256)
    happened: list[Event] = []
    while stream:
        size = rng.randrange(1, 40)
        happened += connection.receive(bytes(stream[:size]), 1)
        del stream[:size]
    closed = [e for e in happened if isinstance(e, ConnectionClosed)]
    assert (connection.state is TransferState.CLOSED) == (len(closed) == 1)
    assert all(e.error is not None for e in closed)


@settings(max_examples=300, deadline=None, database=None)
@given(st.binary(max_size=300))
def test_noise__anything_closes_or_waits(octets: bytes) -> None:
    connection = started(Role.CONTROLLED)
    events = connection.receive(octets, 1)
    assert sum(isinstance(e, ConnectionClosed) for e in events) == (connection.state is TransferState.CLOSED)


# state as data


@settings(max_examples=25, deadline=None, database=None)
@given(st.integers(0, 2**32))
def test_snapshot__continues_with_the_same_octets(seed: int) -> None:
    def dialogue(interrupted: bool) -> tuple[bytes, list[str]]:
        rng = random.Random(seed)
        ends = [started(Role.CONTROLLED, k=4, w=2), started(Role.CONTROLLING, k=4, w=2)]
        wires = [bytearray(), bytearray()]
        trace, happened = bytearray(), []
        for now in range(0, 60_000, 500):
            if interrupted and now == 30_000:
                ends = [_restored(end) for end in ends]
            for i, end in enumerate(ends):
                for _ in range(rng.randrange(4)):
                    end.send(event(rng.randrange(1000)), now)
                end.tick(now)
                size = rng.randrange(len(wires[i]) + 1)
                happened += [repr(e) for e in end.receive(bytes(wires[i][:size]), now)]
                del wires[i][:size]
                data = end.data_to_send()
                wires[1 - i] += data
                trace += data
        return bytes(trace), happened

    assert dialogue(interrupted=False) == dialogue(interrupted=True)


def _restored(connection: Connection) -> Connection:
    state = json.loads(json.dumps(connection.snapshot()))
    fresh = Connection(connection.role, connection.settings, 0)
    fresh.restore(state)
    assert fresh.snapshot() == connection.snapshot()
    return fresh
