"""The field's driver of stations, with one master played by the test over memory; 80 ms each way.

The whole dialogue of both ends is in the links' tests; here is what the driver alone answers for.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from twin.outstations.in_process import InProcessOutstation
from twin.outstations.lockstep import LockstepStations
from twin.outstations.model import StationCommand
from twin.points.model import PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.timebase import NEVER
from twin.transport import (
    NOT_URGENT_MS,
    BarrierTimeoutError,
    Handover,
    LockstepChannel,
    MemoryListener,
    Segment,
    TelecontrolPath,
)

STATIONS = ("RTU_1", "RTU_2")


def points(station: str) -> list[PointDefinition]:
    rows = (("position", PointKind.DOUBLE), ("i_a", PointKind.MEASURAND), ("operate", PointKind.DOUBLE_COMMAND))
    address = PointAddress(1, 1, 1)
    return [PointDefinition(station, f"{station}.{name}", kind, "CB", name, address) for name, kind in rows]


class Device:
    """Takes every command."""

    def select(self, command: StationCommand, now: int) -> str:
        return ""

    def operate(self, command: StationCommand, now: int) -> str:
        return ""

    def cancel(self, command: StationCommand, now: int) -> None:
        """Nothing was reserved."""


class Master:
    """The other end of one station's connection."""

    def __init__(self, rig: Rig, station: str, now: int = 0) -> None:
        self.channel = LockstepChannel(station, TelecontrolPath(station, "up", 80))
        wire, port = rig.listeners[station].dial(station)
        self.channel.open(wire, now, rig.connections, port)
        rig.connections += 1

    def say(self, now: int, *messages: list[Any], urgent: bool = True) -> list[Handover]:
        self.channel.send(list(messages), now, urgent=urgent)
        return self.channel.take_handovers()

    def hear(self, tokens: list[Handover], now: int) -> list[Any]:
        """What has been said to it by ``now``; None for the end of the connection."""
        for token in tokens:
            self.channel.accept(token)
        heard: list[Any] = []
        while self.channel.deliver(lambda payload, urgent: heard.extend(payload or [None]), now):
            pass
        return heard


class Rig:
    """Two stations; :meth:`started` has a master on one of them."""

    def __init__(self, limit_s: float = 1.0) -> None:
        self.listeners = {station: MemoryListener() for station in STATIONS}
        self.outstations = {s: InProcessOutstation(s, points(s), Device()) for s in STATIONS}
        self.stations = LockstepStations(
            self.outstations,
            self.listeners,
            {s: TelecontrolPath(s, "down", 80) for s in STATIONS},
            frozenset(f"{s}.i_a" for s in STATIONS),
            limit_s,
        )
        self.connections = 1
        self.heard: list[Any] = []

    def started(self, station: str = "RTU_1", now: int = 0) -> Master:
        master = Master(self, station, now)
        self.stations.accept(master.say(now, ["start"]))
        self.stations.advance(now + 80)
        self.heard = master.hear(self.stations.take_handovers(), now + 160)
        assert self.heard[0] == ["started"]
        return master

    def report(self, now: int, *names: str) -> list[Handover]:
        """The devices report a value of 1 each; the tokens for the control room."""
        samples = [Sample(name[:5], name, 1.0, Quality.GOOD, now) for name in names]
        self.stations.update(samples, now)
        return self.stations.take_handovers()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_stations__without_master_are_idle(rig: Rig) -> None:
    assert (rig.stations.next_due(), rig.stations.next_wanted()) == (NEVER, NEVER)
    assert rig.report(0, "RTU_1.position") == []
    rig.stations.advance(1_000)


def test_stations__hear_a_message_when_it_arrives(rig: Rig) -> None:
    master = Master(rig, "RTU_1")
    rig.stations.accept(master.say(0, ["start"]))
    assert (rig.stations.next_due(), rig.stations.next_wanted()) == (80, 80)
    rig.stations.advance(79)
    assert rig.stations.take_handovers() == []
    rig.stations.advance(80)
    [token] = rig.stations.take_handovers()
    assert token == Handover("RTU_1", 1, (Segment(80, 1, True),))


@pytest.mark.parametrize("urgent", [True, False])
def test_stations__answer_as_urgently_as_they_were_asked(rig: Rig, urgent: bool) -> None:
    master = rig.started()
    rig.stations.accept(master.say(1_000, ["test"], urgent=urgent))
    assert rig.stations.next_wanted() == 1_080 + (0 if urgent else NOT_URGENT_MS)
    rig.stations.advance(1_080)
    [token] = rig.stations.take_handovers()
    assert token.segments == (Segment(1_080, 1, urgent),)


@pytest.mark.parametrize(
    ("names", "urgent"),
    [
        (["RTU_1.i_a"], False),
        (["RTU_1.position"], True),
        (["RTU_1.i_a", "RTU_1.position"], True),
    ],
)
def test_update__asks_for_a_step_unless_it_is_measured_values_alone(rig: Rig, names: list[str], urgent: bool) -> None:
    rig.started()
    [token] = rig.report(1_000, *names)
    assert token.segments == (Segment(1_000, 1, urgent),)


def test_update__gives_each_station_its_own_in_one_message(rig: Rig) -> None:
    one, two = rig.started("RTU_1"), rig.started("RTU_2")
    tokens = rig.report(1_000, "RTU_2.position", "RTU_1.position", "RTU_2.i_a", "RTU_1.i_a")
    heard = {"RTU_1": one.hear(tokens[:1], 1_080), "RTU_2": two.hear(tokens[1:], 1_080)}
    for station, messages in heard.items():
        [[name, rows]] = messages
        assert (name, [row[0] for row in rows]) == ("samples", [f"{station}.position", f"{station}.i_a"])


def test_finished__is_told_at_once(rig: Rig) -> None:
    master = rig.started()
    rig.stations.accept(master.say(1_000, ["select", 7, "RTU_1.operate", 1.0]))
    rig.stations.advance(1_080)
    rig.stations.accept(master.say(1_200, ["operate", 7, "RTU_1.operate", 1.0]))
    rig.stations.advance(1_280)
    rig.stations.finished("RTU_1", 1, True, 1_400)
    heard = master.hear(rig.stations.take_handovers(), 1_480)
    assert [message[2] for message in heard] == ["selected", "activated", "terminated"]


def test_cut__holds_back_what_is_sent_to_the_stations(rig: Rig) -> None:
    master = rig.started()
    rig.stations.cut("RTU_1", 1_000, 3_000)
    rig.stations.accept(master.say(1_500, ["test"]))
    assert rig.stations.next_due() == 3_280  # 3000 + 200 + 80


def test_close__by_the_master_ends_the_session_when_it_arrives(rig: Rig) -> None:
    master = rig.started()
    master.channel.close(1_000)
    rig.stations.accept(master.channel.take_handovers())
    rig.stations.advance(1_079)
    assert len(rig.outstations["RTU_1"].sessions) == 1
    rig.stations.advance(1_080)
    assert rig.outstations["RTU_1"].sessions == []
    assert rig.stations.next_due() == NEVER


def test_close__by_the_station_is_told_to_the_master(rig: Rig) -> None:
    """Events stay without acknowledgement for 15 s."""
    master = rig.started()
    tokens = rig.report(1_000, "RTU_1.position")
    assert rig.stations.next_wanted() == 16_000 + NOT_URGENT_MS
    rig.stations.advance(16_000)
    tokens += rig.stations.take_handovers()
    assert rig.outstations["RTU_1"].sessions == []
    assert master.hear(tokens, 20_000)[-1] is None
    assert not master.channel.is_open


def test_connection__second_one_replaces_the_first_and_gets_its_events(rig: Rig) -> None:
    rig.started()
    rig.report(1_000, "RTU_1.position")
    second = rig.started(now=5_000)
    assert rig.heard[1:] == [["samples", [["RTU_1.position", 1.0, 0, 1_000]]]]
    assert [session.number for session in rig.outstations["RTU_1"].sessions] == [2]
    [token] = rig.report(6_000, "RTU_1.position")
    assert token.connection == 2
    assert second.hear([token], 6_080)


def test_connection__that_nobody_made_fails_the_run(rig: Rig) -> None:
    with pytest.raises(BarrierTimeoutError, match="station RTU_1 does not answer: there is no connection number 9"):
        rig.stations.accept([Handover("RTU_1", 1, opened_ms=0, local_port=9)])


def test_message__announced_and_never_sent_fails_the_run(rig: Rig) -> None:
    master = rig.started()
    [token] = master.say(1_000, ["test"])
    with pytest.raises(BarrierTimeoutError, match="2 messages were announced, 1 came"):
        rig.stations.accept([Handover("RTU_1", token.connection, (Segment(1_000, 2, True),))])


def test_snapshot__goes_on_with_what_was_in_flight(rig: Rig) -> None:
    master = rig.started()
    rig.stations.accept(master.say(1_000, ["interrogate"]))
    rig.report(1_010, "RTU_1.position")
    taken = json.dumps(rig.stations.snapshot())
    again = Rig()
    again.stations.restore(json.loads(taken))
    assert json.dumps(again.stations.snapshot()) == taken
    _, port = again.listeners["RTU_1"].dial("RTU_1")
    again.stations.rewire({"RTU_1": port})
    for one in (rig, again):
        one.stations.advance(1_080)
    assert again.stations.take_handovers() == rig.stations.take_handovers()
    assert json.dumps(again.stations.snapshot()) == json.dumps(rig.stations.snapshot())


def test_rewire__of_a_station_that_has_hung_up_is_no_matter(rig: Rig) -> None:
    _, port = rig.listeners["RTU_1"].dial("RTU_1")
    rig.stations.rewire({"RTU_1": port})
    assert rig.stations.next_due() == NEVER


def test_close__leaves_no_connection_and_no_listener(rig: Rig) -> None:
    rig.started()
    _, port = rig.listeners["RTU_2"].dial("RTU_2")
    rig.stations.close()
    assert not rig.report(1_000, "RTU_1.position")
    with pytest.raises(TimeoutError):
        rig.listeners["RTU_2"].claim(port, 1.0)
