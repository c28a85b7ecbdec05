"""The misbehaving station around an in-process station and around our Modbus station, without a world."""

from __future__ import annotations

import json
from typing import Any

import pytest

from twin.outstations.framing import DNP3, IEC104, IN_PROCESS, MODBUS
from twin.outstations.in_process import InProcessOutstation
from twin.outstations.misbehaviour import RULE, Kind, MisbehavingOutstation, Misbehaviour
from twin.outstations.model import StationCommand
from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind, Quality, Sample

POINTS = [
    PointDefinition("S", "i", PointKind.MEASURAND, "sw", "i_a", PointAddress(1, 1, 36)),
    PointDefinition(
        "S", "op", PointKind.DOUBLE_COMMAND, "sw", "operate", PointAddress(1, 2, 46), control_model=ControlModel.DIRECT
    ),
]


class Device:
    """Takes note of tickets."""

    def __init__(self) -> None:
        self.tickets: list[int] = []

    def select(self, command: StationCommand, now: int) -> str:
        return ""

    def operate(self, command: StationCommand, now: int) -> str:
        self.tickets.append(command.ticket)
        return ""

    def cancel(self, command: StationCommand, now: int) -> None:
        """Nothing is held."""


def made() -> tuple[MisbehavingOutstation, Device]:
    device = Device()
    return MisbehavingOutstation(
        "S", lambda handler: InProcessOutstation("S", POINTS, handler), device, IN_PROCESS
    ), device


def sample(value: float, t_ms: int) -> Sample:
    return Sample("S", "i", value, Quality.GOOD, t_ms)


def started(station: MisbehavingOutstation) -> Any:
    session = station.open_session(0)
    session.receive([["start"]], 0)
    session.payload_to_send()
    return session


def values(payload: list[list[Any]]) -> list[float]:
    """The values of the events in a payload."""
    return [row[1] for message in payload if message[0] == "samples" for row in message[1]]


def test_lie__scale_and_offset_while_it_lasts_and_the_truth_afterwards() -> None:
    station, _ = made()
    session = started(station)
    station.update([sample(10.0, 1)], 1)
    station.misbehave(Misbehaviour(Kind.LIE, 100, point="i", scale=2.0, offset=1.0), 10)
    station.update([sample(20.0, 50)], 50)
    assert values(session.payload_to_send()) == [10.0, 21.0, 41.0]
    session.tick(session.next_timer())
    assert values(session.payload_to_send()) == [20.0]


def test_freeze__only_the_last_value_comes_when_it_thaws() -> None:
    station, _ = made()
    session = started(station)
    station.misbehave(Misbehaviour(Kind.FREEZE, 100), 10)
    for t_ms in (20, 30, 40):
        station.update([sample(float(t_ms), t_ms)], t_ms)
    assert session.payload_to_send() == []
    assert session.next_timer() == 100
    session.tick(100)
    assert values(session.payload_to_send()) == [40.0]


def test_refuse__has_its_own_rule_and_never_reaches_the_device() -> None:
    station, device = made()
    station.misbehave(Misbehaviour(Kind.REFUSE, 100), 10)
    assert station.operate(StationCommand("S", "op", 1.0, 1), 20) == RULE
    station.at(100)
    assert station.operate(StationCommand("S", "op", 1.0, 1), 100) == ""
    assert device.tickets == [1]


def test_late__holds_frames_in_order_until_their_time() -> None:
    station, _ = made()
    session = started(station)
    station.misbehave(Misbehaviour(Kind.LATE, 100, delay_ms=500), 10)
    station.update([sample(1.0, 20)], 20)
    assert not session.payload_to_send()
    station.at(200)
    station.update([sample(2.0, 200)], 200)
    assert not session.payload_to_send()
    assert session.next_urgent() == 520
    session.tick(520)
    assert values(session.payload_to_send()) == [1.0, 2.0]


def test_reorder__next_frame_overtakes_and_a_last_one_is_not_kept() -> None:
    station, _ = made()
    session = started(station)
    station.misbehave(Misbehaviour(Kind.REORDER, 100), 10)
    for n in (1.0, 2.0, 3.0):
        station.update([sample(n, 20)], 20)
    assert values(session.payload_to_send()) == [2.0, 1.0]
    session.tick(session.next_urgent())
    session.tick(session.next_urgent())
    assert values(session.payload_to_send()) == [3.0]


def test_restart__old_tickets_finish_nothing_and_numbers_go_on() -> None:
    station, device = made()
    session = started(station)
    session.receive([["operate", 7, "op", 2.0]], 1)
    station.misbehave(Misbehaviour(Kind.RESTART, 100), 10)
    assert session.close_reason == "the station restarts"
    station.close_session(session, 10)
    assert station.open_session(50).close_reason
    station.finished(1, True, 60)
    again = station.open_session(100)
    assert again.close_reason == ""
    again.receive([["start"], ["operate", 8, "op", 1.0]], 110)
    assert device.tickets == [1, 2]
    station.finished(2, True, 120)
    assert ["reply", 8, "terminated", ""] in again.payload_to_send()


def test_overflow__more_events_than_a_buffer_holds() -> None:
    station, _ = made()
    station.update([sample(1.0, 1)], 1)
    session = started(station)
    station.misbehave(Misbehaviour(Kind.OVERFLOW, 100), 10)
    assert len(values(session.payload_to_send())) == 2_000


@pytest.mark.parametrize(
    ("framing", "frames"),
    [
        (IEC104, [bytes.fromhex("680443000000"), bytes.fromhex("680e00000000") + bytes(10)]),
        (MODBUS, [bytes.fromhex("000100000006010300000001"), bytes.fromhex("00020000000301830 2".replace(" ", ""))]),
        (DNP3, [bytes.fromhex("056405c9010000040000"), bytes.fromhex("056416c4010000040000") + bytes(21)]),
    ],
)
def test_framing__cuts_a_payload_into_its_frames_and_spoils_one_octet(framing: Any, frames: list[bytes]) -> None:
    assert framing.split(b"".join(frames)) == frames
    for frame in frames:
        assert sum(a != b for a, b in zip(frame, framing.spoiled(frame), strict=True)) == 1


def test_share__is_the_same_for_the_same_seed_and_about_right() -> None:
    drops = []
    for _ in range(2):
        station, _ = made()
        station.misbehave(Misbehaviour(Kind.DROP, 10**9, share=0.3), 0)
        drops.append([station.hits(Kind.DROP, n) for n in range(2_000)])
    assert drops[0] == drops[1]
    assert 500 < sum(drops[0]) < 700


@pytest.mark.parametrize("kind", list(Kind))
def test_snapshot__goes_on_with_what_is_held(kind: Kind) -> None:
    def story(station: MisbehavingOutstation, session: Any, times: range) -> list[Any]:
        said = []
        for t_ms in times:
            station.update([sample(float(t_ms), t_ms)], t_ms)
            session.tick(t_ms)
            said.append(session.payload_to_send() or [])
        return said

    whole, _ = made()
    first = started(whole)
    whole.update([sample(0.5, 1)], 1)
    doing = Misbehaviour(kind, 60, point="i", value=9.0, delay_ms=15, share=0.5)
    whole.misbehave(doing, 10)
    story(whole, first, range(10, 40, 3))
    state = json.loads(json.dumps(whole.snapshot()))
    again, _ = made()
    again.restore(state)
    rest = range(40, 1_500, 30)
    assert story(again, again.sessions[0], rest) == story(whole, first, rest)
