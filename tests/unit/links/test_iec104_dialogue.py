"""Whole dialogues between our link and our station over plain octets with a simulated latency.

They are also written as captures and read by tshark, as a foreign pair of eyes on every octet we send.
"""

from __future__ import annotations

import json
import random
import shutil
import struct
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.links.iec104 import Iec104LinkSettings, Iec104MasterSession
from twin.links.model import ArrivedSample, CommandReply, LinkCommand, LinkEvent, ReplyKind, SessionEvent, SessionState
from twin.outstations.iec104 import Iec104Outstation, Iec104OutstationSettings
from twin.outstations.model import StationCommand
from twin.points.model import DoublePosition, PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.protocols.iec104 import ConnectionSettings
from twin.timebase import NEVER, TimeBase

BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
LATENCY_MS = 80
OPENING_MS = 150


def point(name: str, kind: PointKind, ioa: int, type_id: int) -> PointDefinition:
    return PointDefinition("RTU_1", name, kind, "CB_1", name, PointAddress(47, ioa, type_id))


POINTS = [
    point("position", PointKind.DOUBLE, 1, 3),
    point("trip", PointKind.SINGLE, 2, 1),
    *(point(f"i_{n}", PointKind.MEASURAND, 100 + n, 13) for n in range(40)),
    point("tap", PointKind.STEP_POSITION, 200, 5),
    point("operate", PointKind.DOUBLE_COMMAND, 300, 46),
    point("target", PointKind.SETPOINT, 301, 50),
]


class Breaker:
    """Takes every command for its switch and is done with it a while later; no feedback but its position."""

    def __init__(self) -> None:
        self.running: list[tuple[int, int, float]] = []

    def select(self, command: StationCommand, now: int) -> str:
        return ""

    def operate(self, command: StationCommand, now: int) -> str:
        self.running.append((now + OPENING_MS, command.ticket, command.value))
        return ""

    def cancel(self, command: StationCommand, now: int) -> None:
        pass


@dataclass
class Telecontrol:
    """Station, link and the line between them, on simulated time."""

    settings: ConnectionSettings = field(default_factory=ConnectionSettings)
    now: int = 0
    octets: list[tuple[int, str, bytes]] = field(default_factory=list)
    in_flight: list[tuple[int, str, bytes]] = field(default_factory=list)
    events: list[LinkEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.breaker = Breaker()
        self.build()
        self.station.update([Sample("RTU_1", "position", 2, Quality.GOOD, 0, False)], 0)
        self.reconnect()

    def build(self) -> None:
        station_settings = Iec104OutstationSettings(connection=self.settings)
        self.station = Iec104Outstation("RTU_1", POINTS, self.breaker, BASE, station_settings)
        self.link = Iec104MasterSession("RTU_1", POINTS, BASE, Iec104LinkSettings(connection=self.settings))

    def reconnect(self) -> None:
        self.link.connected(self.now)
        self.session = self.station.open_session(self.now)
        self.carry()

    def disconnect(self, reason: str) -> None:
        self.in_flight.clear()
        self.station.close_session(self.session, self.now)
        self.link.disconnected(self.now, reason)
        self.events += self.link.take_events()

    def replace_by_snapshots(self) -> None:
        station, link = json.loads(json.dumps([self.station.snapshot(), self.link.snapshot()]))
        self.build()
        self.station.restore(station)
        self.link.restore(link)
        (self.session,) = self.station.sessions
        assert [self.station.snapshot(), self.link.snapshot()] == [station, link]

    def carry(self) -> None:
        for sender, data in (("master", self.link.payload_to_send()), ("station", self.session.payload_to_send())):
            if data:
                self.octets.append((self.now, sender, data))
                self.in_flight.append((self.now + LATENCY_MS, sender, data))
        self.events += self.link.take_events()

    def run(self, until: int) -> None:
        while (due := self.next_due()) <= until:
            self.now = due
            self.link.tick(due)
            self.session.tick(due)
            while self.in_flight and self.in_flight[0][0] <= due:
                _, sender, data = self.in_flight.pop(0)
                (self.session if sender == "master" else self.link).receive(data, due)
            self.finish_commands()
            self.carry()
        self.now = until

    def next_due(self) -> int:
        arrival = self.in_flight[0][0] if self.in_flight else NEVER
        finish = self.breaker.running[0][0] if self.breaker.running else NEVER
        return min(arrival, finish, self.link.next_timer(), self.session.next_timer())

    def finish_commands(self) -> None:
        while self.breaker.running and self.breaker.running[0][0] <= self.now:
            _, ticket, value = self.breaker.running.pop(0)
            self.station.update([Sample("RTU_1", "position", value, Quality.GOOD, self.now)], self.now)
            self.station.finished(ticket, True, self.now)

    def update(self, name: str, value: float, quality: Quality = Quality.GOOD) -> None:
        self.station.update([Sample("RTU_1", name, value, quality, self.now)], self.now)
        self.carry()

    def samples(self) -> list[Sample]:
        return [event.sample for event in self.events if isinstance(event, ArrivedSample)]

    def states(self) -> list[tuple[int, SessionState]]:
        return [(event.t_ms, event.state) for event in self.events if isinstance(event, SessionEvent)]


def test_dialogue__start_takes_two_round_trips() -> None:
    line = Telecontrol()
    line.run(1_000)
    assert line.states() == [
        (0, SessionState.CONNECTED),
        (2 * LATENCY_MS, SessionState.STARTED),
        (4 * LATENCY_MS, SessionState.INTERROGATED),
    ]
    image = {sample.point: (sample.value, sample.quality) for sample in line.samples()}
    assert len(image) == 43
    assert image.pop("position") == (2.0, Quality.GOOD)
    assert set(image.values()) == {(0.0, Quality.INVALID)}
    assert line.link.unexpected_answers == line.link.unknown_objects == line.link.unsuitable_objects == 0
    assert line.station.clock_offset_ms == -LATENCY_MS


def test_dialogue__select_before_operate_with_feedback() -> None:
    line = Telecontrol()
    line.run(1_000)
    line.events.clear()
    opening = LinkCommand(1, "RTU_1", "operate", float(DoublePosition.OPEN))
    line.link.select(opening, line.now)
    line.carry()
    line.run(1_500)
    line.link.operate(opening, line.now)
    line.carry()
    line.run(3_000)
    executed = 1_500 + LATENCY_MS
    assert line.events == [
        CommandReply("RTU_1", 1, ReplyKind.SELECTED, 1_000 + 2 * LATENCY_MS),
        CommandReply("RTU_1", 1, ReplyKind.ACTIVATED, 1_500 + 2 * LATENCY_MS),
        ArrivedSample(
            Sample("RTU_1", "position", 1.0, Quality.GOOD, executed + OPENING_MS), executed + OPENING_MS + LATENCY_MS
        ),
        CommandReply("RTU_1", 1, ReplyKind.TERMINATED, executed + OPENING_MS + LATENCY_MS),
    ]


def test_dialogue__an_idle_hour_keeps_the_line_with_tests_alone() -> None:
    line = Telecontrol()
    line.run(60_000)
    before = len(line.octets)
    line.run(3_660_000)
    later = b"".join(data for _, _, data in line.octets[before:])
    assert {later[i : i + 6].hex() for i in range(0, len(later), 6)} == {"680443000000", "680483000000"}
    assert 180 <= len(later) // 12 <= 360  # one test or two every 20 s
    assert line.link.close_reason == line.session.close_reason == ""


def test_dialogue__silent_line_is_given_up_by_both_and_nothing_is_lost() -> None:
    """The line swallows everything from 5 s on; an event at 6 s is sent in vain. The link tests the line
    t3 = 20 s after the last frame it got and gives up t1 = 15 s later; the station t1 after its event."""
    line = Telecontrol()
    line.run(5_000)
    line.update("trip", 1)
    while line.next_due() < 60_000:
        line.in_flight.clear()
        line.run(min(line.next_due(), 60_000))
    assert "t1 expired: TESTFR act" in line.link.close_reason
    assert "t1 expired: I frame" in line.session.close_reason
    line.disconnect(line.link.close_reason)
    line.events.clear()
    reconnected = line.now
    line.reconnect()
    line.run(reconnected + 1_000)
    tripped = [sample for sample in line.samples() if sample.point == "trip"]
    assert [(sample.value, sample.source_t_ms, sample.spontaneous) for sample in tripped] == [
        (1.0, 5_000, True),
        (1.0, reconnected + 4 * LATENCY_MS, False),
    ]


def test_dialogue__burst_fills_the_window_and_arrives_in_order() -> None:
    line = Telecontrol(ConnectionSettings(k=2, w=1))
    line.run(1_000)
    line.events.clear()
    for value in range(200):
        line.update("i_0", float(value))
    line.run(60_000)
    assert [sample.value for sample in line.samples()] == [float(value) for value in range(200)]
    assert line.station.events_dropped == 0


# random dialogues


def random_dialogue(seed: int, *, snapshot_at: int = -1, k: int = 3) -> Telecontrol:
    rng = random.Random(seed)
    line = Telecontrol(ConnectionSettings(k=k, w=2, t1_ms=5_000, t2_ms=700, t3_ms=2_000))
    for step in range(60):
        if step == snapshot_at:
            line.replace_by_snapshots()
        random_act(rng, line, step)
        line.carry()
        line.run(line.now + rng.choice((0, 1, 17, 200, 3_000)))
    line.run(line.now + 10_000)
    return line


def random_act(rng: random.Random, line: Telecontrol, step: int) -> None:
    command = LinkCommand(step, "RTU_1", rng.choice(("operate", "target")), float(rng.choice((1, 2))))
    act = rng.randrange(9)
    if act < 3:
        names = [rng.choice(POINTS[:-2]).name for _ in range(rng.randrange(1, 30))]
        samples = [
            Sample("RTU_1", name, float(rng.randrange(2)), Quality.GOOD, line.now, rng.random() < 0.8) for name in names
        ]
        line.station.update(samples, line.now)
    elif act == 3:
        line.link.interrogate(line.now)
    elif act == 4:
        line.disconnect("cut")
        line.reconnect()
    else:
        getattr(line.link, ("select", "operate", "operate", "cancel")[act - 5])(command, line.now)


@settings(max_examples=25, deadline=None, database=None)
@given(st.integers(0, 2**32), st.integers(1, 59))
def test_snapshot__both_ends_continue_with_the_same_octets(seed: int, at: int) -> None:
    straight, interrupted = random_dialogue(seed), random_dialogue(seed, snapshot_at=at)
    assert interrupted.octets == straight.octets
    assert interrupted.events == straight.events


@settings(max_examples=25, deadline=None, database=None)
@given(st.integers(0, 2**32))
def test_dialogue__link_ends_with_the_image_of_the_station(seed: int) -> None:
    line = random_dialogue(seed)
    assert line.link.close_reason == line.session.close_reason == ""
    line.events.clear()
    line.link.interrogate(line.now)
    line.carry()
    line.run(line.now + 5_000)
    seen = {sample.point: (sample.value, sample.quality) for sample in line.samples()}
    image = {point: (value, Quality(quality)) for point, value, quality in line.station.snapshot()["image"]}
    assert len(image) > 1
    assert seen == dict.fromkeys(seen, (0.0, Quality.INVALID)) | image
    assert len(seen) == 43


@settings(max_examples=60, deadline=None, database=None)
@given(st.integers(0, 2**32))
def test_noise__mutated_dialogues_close_or_go_on_and_never_raise(seed: int) -> None:
    rng = random.Random(seed)
    line = Telecontrol()
    for _ in range(12):
        line.update(rng.choice(POINTS[:-2]).name, 1.0)
        line.link.operate(LinkCommand(1, "RTU_1", "target", 1.0), line.now)
        line.carry()
        if line.in_flight and rng.random() < 0.5:
            i = rng.randrange(len(line.in_flight))
            at, sender, data = line.in_flight[i]
            garbled = bytearray(data)
            garbled[rng.randrange(len(garbled))] = rng.randrange(256)
            line.in_flight[i] = (at, sender, bytes(garbled))
        line.run(line.now + 100)
        if line.link.close_reason or line.session.close_reason:
            line.disconnect("closed")
            line.reconnect()
    line.disconnect("end")
    line.reconnect()
    line.events.clear()
    line.run(line.now + 5_000)
    assert SessionState.INTERROGATED in [state for _, state in line.states()]


# foreign eyes

TSHARK = shutil.which("tshark")
CLOCK = ("year", "month", "day", "hour", "min", "ms")
FIELDS = ("typeid", "causetx", "addr", "ioa", "float", *(f"cp56time.{part}" for part in CLOCK))


def capture(octets: list[tuple[int, str, bytes]]) -> bytes:
    """A libpcap file: Ethernet, IPv4 and TCP headers around each payload, checksums zero.

    Every STARTDT act of the master is a TCP connection of its own.
    """
    port = 40_000
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for t_ms, sender, payload in octets:
        if payload.startswith(bytes.fromhex("680407000000")):
            port, sequence = port + 1, {"master": 1, "station": 1}
        other = "station" if sender == "master" else "master"
        ports = (port, 2404) if sender == "master" else (2404, port)
        hosts = (b"\x0a\0\0\1", b"\x0a\0\0\2") if sender == "master" else (b"\x0a\0\0\2", b"\x0a\0\0\1")
        tcp = struct.pack(">HHIIBBHHH", *ports, sequence[sender], sequence[other], 0x50, 0x18, 65535, 0, 0)
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + len(payload), 0, 0x4000, 64, 6, 0, *hosts)
        frame = b"\x02\0\0\0\0\2\x02\0\0\0\0\1\x08\0" + ip + tcp + payload
        records.append(struct.pack("<IIII", t_ms // 1000, t_ms % 1000 * 1000, len(frame), len(frame)) + frame)
        sequence[sender] += len(payload)
    return b"".join(records)


def tshark(*arguments: str) -> str:
    assert TSHARK is not None
    command = [TSHARK, "-n", "-d", "tcp.port==2404,iec60870_104", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def decoded(file: Path) -> list[dict[str, Any]]:
    fields = [argument for name in FIELDS for argument in ("-e", f"iec60870_asdu.{name}")]
    rows = json.loads(tshark("-r", str(file), "-Y", "iec60870_asdu", "-T", "json", *fields))
    return [
        {name.removeprefix("iec60870_asdu."): value for name, value in row["_source"]["layers"].items()} for row in rows
    ]


@pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")
@pytest.mark.parametrize("seed", range(3))
def test_tshark__finds_nothing_malformed_in_random_dialogues(seed: int, tmp_path: Path) -> None:
    file = tmp_path / "dialogue.pcap"
    line = random_dialogue(seed)
    file.write_bytes(capture(line.octets))
    assert tshark("-r", str(file), "-Y", "_ws.malformed") == ""
    assert len(decoded(file)) > 3


@pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")
def test_tshark__decodes_what_we_meant(tmp_path: Path) -> None:
    line = Telecontrol()
    line.run(1_000)
    line.station.update([Sample("RTU_1", "position", 1, Quality.GOOD, 1_000)], 1_000)
    line.station.update([Sample("RTU_1", f"i_{n}", 1.5 + n, Quality.GOOD, 1_000 + n) for n in range(3)], 1_000)
    line.carry()
    line.link.operate(LinkCommand(1, "RTU_1", "target", 12.5), 1_000)
    line.carry()
    line.run(2_000)
    file = tmp_path / "dialogue.pcap"
    file.write_bytes(capture(line.octets))
    assert tshark("-r", str(file), "-Y", "_ws.malformed") == ""
    rows = decoded(file)
    types = [int(t) for row in rows for t in row["typeid"]]
    assert types == [70, 103, 100, 103, 100, 1, 3, 5, 13, 100, 31, 36, 50, 50]
    assert {int(a) for row in rows for a in row["addr"]} == {47}
    events = next(row for row in rows if "36" in row["typeid"])
    assert [float(value) for value in events["float"]] == [1.5, 2.5, 3.5]
    clock = zip(*([int(value) for value in events[f"cp56time.{part}"][-3:]] for part in CLOCK), strict=True)
    assert list(clock) == [(26, 1, 15, 18, 0, 1_000 + n) for n in range(3)]
