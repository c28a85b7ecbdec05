"""tshark reads every object of the vectors as we do: nothing malformed, the same object, index, value and time."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from twin.protocols.dnp3 import Frame, encode_frame
from twin.protocols.dnp3.frames import Primary

TSHARK = shutil.which("tshark")
pytestmark = pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")
VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "dnp3" / "objects.json").read_text())
MISREAD = {"g43v1", "g43v3"}
"""tshark 4.0 takes two octets too few of their value, unlike those of g42v1, g42v3 and of the rest of g43."""
OBJECTS = [row for row in VECTORS if row["object"] not in MISREAD]
FIRST_AND_LAST, FINAL = 0xC0, 0xC0
RESPONSE = 129
VALUES = {"ana.int", "ana.float", "ana.double", "anaout.int", "anaout.float", "anaout.double", "cnt"}
STATES = ("bit", "2bit", "biq.b7", "boq.b7")
TIMES = ("timestamp", "reltimestamp")
FIELDS = ("obj", "point_index", "index", *STATES, *sorted(VALUES), *TIMES, "octet_string")
NOT_READ = {*(f"g31v{v}" for v in range(1, 7)), *(f"g33v{v}" for v in range(1, 5)), "g51v2"}
"""tshark 4.0 names these objects and shows nothing of their content."""
NO_TIME = {"g4v3", "g52v1", "g52v2"}
NO_STATE = {"g3v2", "g4v1", "g4v2", "g4v3", "g13v1", "g13v2"}
"""It shows no state of double points beside flags, and none of command events."""


def capture(fragments: list[bytes]) -> bytes:
    """A libpcap file: each fragment as a response of station 1024 to master 1, in a TCP segment of its own."""
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    sequence = 1
    for n, fragment in enumerate(fragments):
        user_data = bytes((FIRST_AND_LAST | n & 0x3F,)) + fragment
        data = encode_frame(Frame(1, 1024, Primary.UNCONFIRMED_DATA, user_data))
        tcp = struct.pack(">HHIIBBHHH", 20_000, 40_000, sequence, 1, 0x50, 0x18, 65535, 0, 0)
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + len(data), 0, 0x4000, 64, 6, 0, b"\x0a\0\0\2", b"\x0a\0\0\1")
        frame = b"\x02\0\0\0\0\2\x02\0\0\0\0\1\x08\0" + ip + tcp + data
        records.append(struct.pack("<IIII", n, 0, len(frame), len(frame)) + frame)
        sequence += len(data)
    return b"".join(records)


def tshark(file: Path, *arguments: str) -> str:
    assert TSHARK is not None
    command = [TSHARK, "-n", "-r", str(file), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[str]]]:
    """What tshark makes of each vector."""
    file = tmp_path_factory.mktemp("dnp3") / "objects.pcap"
    heads = [bytes((FINAL | n % 16, RESPONSE, 0, 0)) for n in range(len(OBJECTS))]
    file.write_bytes(capture([h + bytes.fromhex(row["octets"]) for h, row in zip(heads, OBJECTS, strict=True)]))
    assert tshark(file, "-Y", "_ws.malformed || _ws.expert.severity >= 0x00800000") == ""
    assert tshark(file, "-Y", "dnp3.hdr.CRC.incorrect || dnp3.data_chunk.CRC.incorrect") == ""
    wanted = [argument for name in FIELDS for argument in ("-e", f"dnp3.al.{name}")]
    found = json.loads(tshark(file, "-Y", "dnp3.al.func == 129", "-T", "json", *wanted))
    return [{k.removeprefix("dnp3.al."): v for k, v in row["_source"]["layers"].items()} for row in found]


def test_tshark__reads_the_same_object_index_and_value(rows: list[dict[str, list[str]]]) -> None:
    assert len(rows) == len(OBJECTS)
    for row, vector in zip(rows, OBJECTS, strict=True):
        octets = bytes.fromhex(vector["octets"])
        variation = 0 if octets[0] in (110, 111) else octets[1]  # it shows that of octet strings, their length, as 0
        assert int(row["obj"][0], 0) == octets[0] << 8 | variation, vector
        if vector["object"] not in NOT_READ:
            check(row, vector)


def check(row: dict[str, list[str]], vector: dict[str, Any]) -> None:
    index, value, _, t_ms = vector["item"]
    group = int(vector["object"][1:].partition("v")[0])
    if group not in (50, 51, 52):
        assert int((row.get("point_index") or row["index"])[0]) == index, vector
        assert vector["object"] in NO_STATE or value_read(row, group) == value, vector
    if t_ms and vector["object"] not in NO_TIME:
        assert read_time(row) == t_ms, vector


def value_read(row: dict[str, list[str]], group: int) -> float:
    if group in (3, 4):
        return int(row["2bit"][0])
    if group in (110, 111):
        return int.from_bytes(bytes.fromhex(row["octet_string"][0].replace(":", "")), "little")
    if numbers := VALUES & row.keys():
        return float(row[numbers.pop()][0])
    return flag(row, next(name for name in ("bit", "biq.b7", "boq.b7") if name in row))


def flag(row: dict[str, list[str]], name: str) -> int:
    return int(row[name][0] in ("1", "True"))


def read_time(row: dict[str, list[str]]) -> int:
    """So many milliseconds after 1970, or after the common time."""
    if "reltimestamp" in row:
        return round(float(row["reltimestamp"][0]) * 1000)
    text = row["timestamp"][0]
    assert text.startswith("Jan  1, 1970 00:00:0"), text
    return round(float(text.split(":")[2].removesuffix(" UTC")) * 1000)
