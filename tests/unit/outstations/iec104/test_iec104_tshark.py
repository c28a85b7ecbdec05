"""tshark reads everything our station says of every kind of point, and each answer to each command model."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from iec104_bench import POINTS, Device, request, sample, station

from twin.outstations.iec104 import Iec104Outstation
from twin.points.model import PointKind, Quality
from twin.protocols.iec104 import Asdu, AsduReceived, Connection, ConnectionSettings, Role
from twin.protocols.iec104 import elements as e

TSHARK = shutil.which("tshark")
pytestmark = pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")
FIELDS = ("typeid", "causetx", "nega", "test", "oa", "addr", "ioa", "siq.spi", "siq.bl", "siq.sb", "siq.nt", "siq.iv")
FIELDS += ("diq.dpi", "diq.bl", "vti.v", "vti.t", "bitstring", "normval", "scalval", "float", "bcr.count", "bcr.sq")
FIELDS += ("bcr.cy", "bcr.ca", "bcr.iv", "qds.ov", "qds.bl", "qds.sb", "qds.nt", "qds.iv", "qoi", "rqt", "frz", "qrp")
FIELDS += ("sco.on", "sco.se", "dco.on", "dco.se", "rco.up", "qos.se", "qpm.kpa", "coi_r")
FIELDS += tuple(f"cp56time.{part}" for part in ("year", "month", "day", "hour", "min", "ms", "iv"))


class Wire:
    """A master whose connection is written down octet by octet."""

    def __init__(self, rtu: Iec104Outstation) -> None:
        self.session = rtu.open_session(0)
        self.connection = Connection(Role.CONTROLLING, ConnectionSettings(w=1), 0)
        self.octets: list[tuple[bool, bytes]] = []
        self.got: list[Asdu] = []
        self.connection.start(0)
        self.exchange()

    def exchange(self) -> None:
        while True:
            there, back = self.connection.data_to_send(), self.session.payload_to_send()
            if not there and not back:
                return
            self.octets += [(True, there)] if there else []
            self.octets += [(False, back)] if back else []
            self.session.receive(there, 0)
            self.got += [x.asdu for x in self.connection.receive(back, 0) if isinstance(x, AsduReceived)]

    def ask(self, asdu: Asdu) -> None:
        self.connection.send(asdu, 0)
        self.exchange()

    def read_by_tshark(self, folder: Path) -> list[dict[str, list[str]]]:
        """What tshark makes of each ASDU of the station; fails on anything malformed."""
        file = folder / "wire.pcap"
        file.write_bytes(capture(self.octets))
        assert tshark(file, "-Y", "_ws.malformed or _ws.expert.severity == error") == ""
        asked = [argument for name in FIELDS for argument in ("-e", f"iec60870_asdu.{name}")]
        rows = json.loads(tshark(file, "-Y", "iec60870_asdu and tcp.srcport == 2404", "-T", "json", *asked))
        return [{k.removeprefix("iec60870_asdu."): v for k, v in row["_source"]["layers"].items()} for row in rows]


def tshark(file: Path, *arguments: str) -> str:
    assert TSHARK is not None
    command = [TSHARK, "-n", "-d", "tcp.port==2404,iec60870_104", "-r", str(file), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def capture(octets: list[tuple[bool, bytes]]) -> bytes:
    """A libpcap file with one TCP connection; each frame in a segment of its own."""
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    sequence = {True: 1, False: 1}
    for n, (master, data) in enumerate((m, f) for m, chunk in octets for f in frames(chunk)):
        ports = (40_000, 2404) if master else (2404, 40_000)
        hosts = (b"\x0a\0\0\1", b"\x0a\0\0\2") if master else (b"\x0a\0\0\2", b"\x0a\0\0\1")
        tcp = struct.pack(">HHIIBBHHH", *ports, sequence[master], sequence[not master], 0x50, 0x18, 65535, 0, 0)
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + len(data), 0, 0x4000, 64, 6, 0, *hosts)
        frame = b"\x02\0\0\0\0\2\x02\0\0\0\0\1\x08\0" + ip + tcp + data
        records.append(struct.pack("<IIII", n, 0, len(frame), len(frame)) + frame)
        sequence[master] += len(data)
    return b"".join(records)


def frames(chunk: bytes) -> list[bytes]:
    cut = []
    while chunk:
        cut.append(chunk[: chunk[1] + 2])
        chunk = chunk[chunk[1] + 2 :]
    return cut


def on(row: dict[str, list[str]], name: str) -> bool:
    return row[name][0] in ("1", "True", "true")


QUALITIES = (
    Quality.GOOD,
    Quality.INVALID,
    Quality.NOT_TOPICAL | Quality.BLOCKED,
    Quality.SUBSTITUTED | Quality.OVERFLOW,
)
VALUE_FIELDS = {
    "trip": ("siq.spi", 1.0, lambda text: float(text in ("1", "True"))),
    "position": ("diq.dpi", 2.0, float),
    "tap": ("vti.v", -64.0, float),
    "bits": ("bitstring", float(0xF000000F), lambda text: float(bits_of(text))),
    "share": ("normval", -0.5, float),
    "scaled": ("scalval", -1234.0, float),
    "i_a": ("float", 12.5, float),
    "energy": ("bcr.count", -70_000.0, float),
}
TYPES = {
    "trip": (1, 30),
    "position": (3, 31),
    "tap": (5, 32),
    "bits": (7, 33),
    "share": (9, 34),
    "scaled": (11, 35),
    "i_a": (13, 36),
    "energy": (15, 37),
}


def bits_of(text: str) -> int:
    """tshark shows the octets of a bit string as they lie on the wire, the lowest first."""
    return int.from_bytes(bytes.fromhex(text.removeprefix("0x")), "little")


@pytest.mark.parametrize("types", ["tagged", "mapped"])
@pytest.mark.parametrize("quality", QUALITIES)
def test_tshark__reads_value_quality_and_time_of_every_kind(types: str, quality: Quality, tmp_path: Path) -> None:
    rtu = station(event_types=types)
    wire = Wire(rtu)
    for n, (name, (_, value, _)) in enumerate(VALUE_FIELDS.items()):
        rtu.update([sample(name, value, 61_000 + n, quality=quality)], 0)
        wire.exchange()
    _, *rows = wire.read_by_tshark(tmp_path)
    assert len(rows) == len(VALUE_FIELDS)
    for n, (row, (name, (field, value, read))) in enumerate(zip(rows, VALUE_FIELDS.items(), strict=True)):
        assert int(row["typeid"][0]) == TYPES[name][types == "tagged"]
        assert (int(row["causetx"][0]), int(row["addr"][0])) == (3, 47)
        assert read(row[field][0]) == value, (name, row[field])
        check_quality(row, name, quality)
        if types == "tagged":
            clock = [int(row[f"cp56time.{part}"][0]) for part in ("year", "month", "day", "hour", "min", "ms")]
            assert clock == [26, 1, 15, 18, 1, 1_000 + n]


def check_quality(row: dict[str, list[str]], name: str, quality: Quality) -> None:
    if name == "energy":
        assert on(row, "bcr.iv") == bool(quality & Quality.INVALID)
        assert on(row, "bcr.cy") == bool(quality & Quality.OVERFLOW)
    elif name == "trip":
        flags = {"siq.bl": Quality.BLOCKED, "siq.sb": Quality.SUBSTITUTED, "siq.nt": Quality.NOT_TOPICAL}
        assert {f: on(row, f) for f in flags} == {f: bool(quality & flag) for f, flag in flags.items()}
        assert on(row, "siq.iv") == bool(quality & Quality.INVALID)
    elif name == "position":
        assert on(row, "diq.bl") == bool(quality & Quality.BLOCKED)
    else:
        flags = {"qds.bl": Quality.BLOCKED, "qds.sb": Quality.SUBSTITUTED, "qds.nt": Quality.NOT_TOPICAL}
        flags |= {"qds.ov": Quality.OVERFLOW, "qds.iv": Quality.INVALID}
        assert {f: on(row, f) for f in flags} == {f: bool(quality & flag) for f, flag in flags.items()}


COMMANDS: list[tuple[str, dict[bool, Any], str]] = [
    ("close", {False: e.SingleCommand(True)}, "sco.se"),
    ("operate", {True: e.DoubleCommand(2, True), False: e.DoubleCommand(2)}, "dco.se"),
    ("step", {False: e.StepCommand(2)}, "rco.up"),
    ("share_target", {False: e.SetpointNormalized(-0.5)}, "normval"),
    ("scaled_target", {False: e.SetpointScaled(-7)}, "scalval"),
    ("target", {True: e.SetpointFloat(2.5, True), False: e.SetpointFloat(2.5)}, "float"),
    ("word", {False: e.BitstringCommand(0xDEADBEEF)}, "bitstring"),
]
OUTPUTS = {p.name: p.address for p in POINTS if p.kind.is_output}


@pytest.mark.parametrize(("name", "elements", "field"), COMMANDS)
@pytest.mark.parametrize("refused", [False, True])
def test_tshark__reads_confirmation_termination_and_refusal(
    name: str, elements: dict[bool, Any], field: str, refused: bool, tmp_path: Path
) -> None:
    device = Device()
    device.rule = "local" if refused else ""
    rtu = station(device)
    wire = Wire(rtu)
    for element in elements.values():
        wire.ask(request(OUTPUTS[name].type_id, element, ioa=OUTPUTS[name].ioa, originator=9))
    if device.tickets and not refused:
        rtu.finished(device.tickets[-1], True, 0)
        wire.exchange()
    _, *rows = wire.read_by_tshark(tmp_path)
    expected = [(7, refused)] * len(elements) + ([] if refused else [(10, False)])
    assert [(int(row["causetx"][0]), on(row, "nega")) for row in rows] == expected
    assert {row["oa"][0] for row in rows} == {"9"}
    assert all(field in row for row in rows)


def test_tshark__reads_system_information_and_parameters(tmp_path: Path) -> None:
    rtu = station(groups={1: ["i_a"]})
    rtu.update([sample("energy", 5, spontaneous=False)], 0)
    wire = Wire(rtu)
    requests = [
        request(100, e.Interrogation(20)),
        request(100, e.Interrogation(21)),
        request(101, e.CounterInterrogation(5, 2)),
        request(101, e.CounterInterrogation(5)),
        request(102, cause=5, ioa=7),
        request(104, e.TestWord(0x55AA)),
        request(105, e.ResetProcess(1)),
        request(112, e.ParameterFloat(1.5, 1), ioa=7),
        request(113, e.ParameterActivation(2), ioa=7),
        request(100, e.Interrogation(20), ca=99),
        request(45, e.SingleCommand(True), ioa=999),
        request(45, e.SingleCommand(True), cause=3, ioa=101),
    ]
    for each in requests:
        wire.ask(each)
    rows = wire.read_by_tshark(tmp_path)
    seen = [(int(row["typeid"][0]), int(row["causetx"][0]), on(row, "nega")) for row in rows]
    assert seen == [(a.type_id, a.cause, a.negative) for a in wire.got]
    assert {cause for _, cause, _ in seen} >= {4, 5, 7, 10, 20, 21, 37, 45, 46, 47}
    frozen = next(row for row in rows if row["typeid"][0] == "15")
    assert (frozen["bcr.count"][0], frozen["bcr.sq"][0], on(frozen, "bcr.ca")) == ("5", "1", True)
    assert PointKind.COUNTER in {p.kind for p in POINTS}
