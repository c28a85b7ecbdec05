"""Our Modbus link and our station over plain octets with a simulated latency, in simulated time.

The dialogue is also written as a capture and read by tshark, as a foreign pair of eyes on every octet we send.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from twin.links.modbus import ModbusMasterSession
from twin.links.modbus_scan import ModbusLinkSettings
from twin.links.model import ArrivedSample, CommandReply, LinkCommand, LinkEvent, ReplyKind, SessionEvent, SessionState
from twin.outstations.modbus import ModbusOutstation
from twin.outstations.model import StationCommand
from twin.points.modbus import DataType, ModbusAddress, Table
from twin.points.model import PointAddress, PointDefinition, PointKind, Quality, Sample, TimeSource
from twin.timebase import NEVER

LATENCY_MS = 40
STATION = "RTU_1"


def point(name: str, kind: PointKind, address: ModbusAddress, dead_band: float = 0.0) -> PointDefinition:
    """A point of the station."""
    number = sum(map(ord, name))
    return PointDefinition(
        STATION, name, kind, name, "i_a", PointAddress(1, number, 36), dead_band=dead_band, modbus=address
    )


POINTS = [
    point("position", PointKind.DOUBLE, ModbusAddress(1, Table.DISCRETE, 0, DataType.PAIR)),
    point("current", PointKind.MEASURAND, ModbusAddress(1, Table.INPUT, 0, DataType.FLOAT32), dead_band=5.0),
    point("remote", PointKind.SINGLE, ModbusAddress(7, Table.DISCRETE, 0, DataType.BIT)),
    point("operate", PointKind.DOUBLE_COMMAND, ModbusAddress(1, Table.COIL, 0, DataType.BIT)),
    point("target", PointKind.SETPOINT, ModbusAddress(1, Table.HOLDING, 0, DataType.FLOAT32)),
]


class Device:
    """Takes every command but those at a point it refuses."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, float]] = []
        self.refuses = ""

    def select(self, command: StationCommand, now: int) -> str:
        return ""

    def operate(self, command: StationCommand, now: int) -> str:
        self.commands.append((command.point, command.value))
        return "interlocked" if command.point == self.refuses else ""

    def cancel(self, command: StationCommand, now: int) -> None:
        raise AssertionError("Modbus cancels nothing at the station")


class Line:
    """Link and station with a latency; ``octets`` holds (time, sender, payload) of all that was sent."""

    def __init__(self, **settings: Any) -> None:
        self.now = 0
        self.device = Device()
        self.station = ModbusOutstation(STATION, POINTS, self.device)
        self.link = ModbusMasterSession(STATION, POINTS, ModbusLinkSettings(**settings))
        self.far = self.station.open_session(0)
        self.flights: list[tuple[int, str, bytes]] = []
        self.octets: list[tuple[int, str, bytes]] = []
        self.events: list[LinkEvent] = []
        self.mute = False
        self.link.connected(0)
        self.carry()

    def carry(self) -> None:
        for sender, session in (("master", self.link), ("station", self.far)):
            if payload := session.payload_to_send():  # type: ignore[attr-defined]
                if sender == "station" and self.mute:
                    continue
                self.octets.append((self.now, sender, payload))
                self.flights.append((self.now + LATENCY_MS, sender, payload))
        self.events += self.link.take_events()

    def run(self, until: int) -> None:
        while (due := min([self.link.next_timer(), *(at for at, _, _ in self.flights), NEVER])) <= until:
            self.now = max(self.now, due)
            ready = [f for f in self.flights if f[0] <= self.now]
            self.flights = [f for f in self.flights if f[0] > self.now]
            for _, sender, payload in ready:
                (self.far if sender == "master" else self.link).receive(payload, self.now)
            if not ready:
                self.link.tick(self.now)
            self.carry()
        self.now = until

    def update(self, name: str, value: float) -> None:
        self.station.update([Sample(STATION, name, value, Quality.GOOD, self.now)], self.now)

    def samples(self, name: str) -> list[Sample]:
        return [e.sample for e in self.events if isinstance(e, ArrivedSample) and e.sample.point == name]

    def replies(self) -> list[tuple[ReplyKind, str]]:
        return [(e.kind, e.cause) for e in self.events if isinstance(e, CommandReply)]

    def states(self) -> list[SessionState]:
        return [e.state for e in self.events if isinstance(e, SessionEvent)]


def test_start__reads_all_once_and_reports_it_as_an_interrogation() -> None:
    line = Line()
    line.run(900)
    assert line.states() == [SessionState.CONNECTED, SessionState.STARTED, SessionState.INTERROGATED]
    first = line.samples("position")
    assert [(s.spontaneous, s.stamped_by) for s in first] == [(False, TimeSource.FRONT_END)]


def test_change__is_a_spontaneous_sample_stamped_at_its_arrival() -> None:
    line = Line(poll_ms=1_000)
    line.run(1_500)
    line.update("position", 2.0)
    line.run(2_500)
    assert [(s.value, s.source_t_ms, s.spontaneous) for s in line.samples("position")[1:]] == [
        (2.0, 2_000 + 2 * LATENCY_MS, True)
    ]


def test_measurand__is_reported_when_it_leaves_its_dead_band() -> None:
    line = Line(measurand_poll_ms=1_000)
    line.run(500)
    for value in (4.0, 6.0, 8.0, 12.0):
        line.update("current", value)
        line.run(line.now + 1_000)
    assert [s.value for s in line.samples("current")] == [0.0, 6.0, 12.0]


def test_silence__costs_the_session_after_its_retries() -> None:
    line = Line(answer_limit_ms=500, retries=2)
    line.run(700)
    line.mute = True
    line.run(4_000)
    assert line.link.close_reason == "no answer within 500 ms"
    asked = [t for t, sender, _ in line.octets if sender == "master" and t >= 1_000]
    assert asked == [1_000, 1_500, 2_000]


def test_late_answer__is_counted_and_changes_nothing() -> None:
    line = Line(answer_limit_ms=60, retries=5)
    line.run(500)
    assert line.link.late_answers > 0
    assert line.samples("position") == []


def test_unit_out_of_reach__takes_only_its_own_points() -> None:
    line = Line()
    line.run(500)
    line.station.image.units = frozenset({1})
    line.update("position", 1.0)
    line.run(1_500)
    assert line.samples("remote")[-1].quality is Quality.NOT_TOPICAL
    assert line.samples("position")[-1].quality is Quality.GOOD
    assert line.link.close_reason == ""


def test_command__is_selected_here_written_and_read_back() -> None:
    line = Line()
    line.run(300)
    command = LinkCommand(5, STATION, "operate", 2.0)
    line.link.select(command, line.now)
    line.run(310)
    assert line.replies() == [(ReplyKind.SELECTED, "")]
    line.link.operate(command, line.now)
    line.carry()
    line.run(900)
    assert line.replies()[1:] == [(ReplyKind.ACTIVATED, "")]
    assert line.device.commands == [("operate", 2.0)]
    functions = [payload[7] for t, sender, payload in line.octets if sender == "master" and t >= 310]
    assert functions[:2] == [5, 1]


def test_commands__go_out_in_their_order_and_before_reads() -> None:
    line = Line()
    line.run(300)
    line.link.interrogate(line.now)
    for number, value in enumerate((2.0, 1.0, 2.0)):
        line.link.operate(LinkCommand(number, STATION, "operate", value), line.now)
    line.carry()
    line.run(1_900)
    assert line.device.commands[:1] == [("operate", 2.0)]
    assert line.replies() == [
        (ReplyKind.ACTIVATED, ""),
        (ReplyKind.REFUSED, "exception 6, server device busy"),
        (ReplyKind.REFUSED, "exception 6, server device busy"),
    ]


def test_command__refused_by_the_device_has_the_exception_as_its_cause() -> None:
    line = Line()
    line.run(300)
    line.device.refuses = "operate"
    line.link.operate(LinkCommand(5, STATION, "operate", 1.0), line.now)
    line.carry()
    line.run(900)
    assert line.replies() == [(ReplyKind.REFUSED, "exception 4, server device failure")]


def test_command__whose_read_back_differs_is_refused() -> None:
    line = Line()
    line.run(300)
    line.link.operate(LinkCommand(5, STATION, "target", 12.5), line.now)
    line.carry()
    line.run(300 + LATENCY_MS)
    target = POINTS[4].modbus
    assert target is not None
    line.station.image.write(target, b"\x00\x00\x00\x00")
    line.run(900)
    assert line.replies() == [(ReplyKind.REFUSED, "what was written is not what is read back")]


@pytest.mark.parametrize(("name", "value"), [("operate", 3.0), ("target", float("nan")), ("position", 1.0)])
def test_command__that_cannot_be_written_is_refused_here(name: str, value: float) -> None:
    line = Line()
    line.run(300)
    line.link.select(LinkCommand(5, STATION, name, value), line.now)
    line.run(400)
    assert [kind for kind, _ in line.replies()] == [ReplyKind.REFUSED]


def test_malformed_answer__ends_the_session_with_its_octet() -> None:
    line = Line()
    line.link.receive(b"\x00\x01\x00\x07", 10)
    assert line.link.close_reason == "malformed Modbus frame: protocol identifier is not 0 at octet 3 (0x07)"


@pytest.mark.parametrize("moment", range(0, 3_000, 170))
def test_snapshot__goes_on_as_if_nothing_had_been(moment: int) -> None:
    def story(line: Line, until: int) -> None:
        for at in range(200, 3_001, 200):
            if line.now < at <= until:
                line.run(at)
                line.update("position", float(1 + at // 200 % 2))
        line.run(until)

    whole, parted = Line(), Line()
    story(whole, 3_000)
    story(parted, moment)
    again = ModbusMasterSession(STATION, POINTS, parted.link.settings)
    again.restore(json.loads(json.dumps(parted.link.snapshot())))
    station = ModbusOutstation(STATION, POINTS, parted.device)
    station.restore(json.loads(json.dumps(parted.station.snapshot())))
    parted.link, parted.station, parted.far = again, station, station.sessions[0]
    story(parted, 3_000)
    assert parted.octets == whole.octets
    assert parted.events == whole.events


# -- foreign eyes -----------------------------------------------------------------------------------------------------

TSHARK = shutil.which("tshark")


def capture(octets: list[tuple[int, str, bytes]]) -> bytes:
    """A libpcap file: Ethernet, IPv4 and TCP headers around each payload, checksums zero."""
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    sequence = {"master": 1, "station": 1}
    for t_ms, sender, payload in octets:
        other = "station" if sender == "master" else "master"
        ports = (40_000, 502) if sender == "master" else (502, 40_000)
        hosts = (b"\x0a\0\0\1", b"\x0a\0\0\2") if sender == "master" else (b"\x0a\0\0\2", b"\x0a\0\0\1")
        tcp = struct.pack(">HHIIBBHHH", *ports, sequence[sender], sequence[other], 0x50, 0x18, 65535, 0, 0)
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + len(payload), 0, 0x4000, 64, 6, 0, *hosts)
        frame = b"\x02\0\0\0\0\2\x02\0\0\0\0\1\x08\0" + ip + tcp + payload
        records.append(struct.pack("<IIII", t_ms // 1000, t_ms % 1000 * 1000, len(frame), len(frame)) + frame)
        sequence[sender] += len(payload)
    return b"".join(records)


def tshark(*arguments: str) -> str:
    assert TSHARK is not None
    return subprocess.run([TSHARK, "-n", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")
def test_tshark__decodes_what_we_meant_and_finds_nothing_malformed(tmp_path: Path) -> None:
    line = Line()
    line.update("current", 123.5)
    line.run(300)
    line.device.refuses = "operate"
    line.link.operate(LinkCommand(1, STATION, "operate", 2.0), line.now)
    line.link.operate(LinkCommand(2, STATION, "target", -7.25), line.now)
    line.carry()
    line.run(2_000)
    file = tmp_path / "dialogue.pcap"
    file.write_bytes(capture(line.octets))
    assert tshark("-r", str(file), "-Y", "_ws.malformed || modbus.exception_code == 1") == ""
    frames = tshark("-r", str(file), "-Y", "modbus", "-T", "fields", "-e", "mbtcp.unit_id", "-e", "modbus.func_code")
    assert len(frames.splitlines()) == len(line.octets)
    assert {unit for unit, _ in (row.split("\t") for row in frames.splitlines())} == {"1", "7"}
    values = tshark("-r", str(file), "-Y", "modbus.regval_uint16", "-T", "fields", "-e", "modbus.regval_uint16")
    high, low = struct.unpack(">HH", struct.pack(">f", 123.5))
    assert f"{high},{low}" in values
    high, low = struct.unpack(">HH", struct.pack(">f", -7.25))
    assert f"{high},{low}" in values
    assert (
        tshark("-r", str(file), "-Y", "modbus.exception_code", "-T", "fields", "-e", "modbus.exception_code") == "4\n"
    )
