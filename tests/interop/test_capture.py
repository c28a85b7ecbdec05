"""A run as a foreign eye sees it: tshark captures the loopback and decodes every octet as IEC 60870-5-104.

Stations listen at one port on addresses of their own (``127.10.x.y``), as at a real control room's firewall. What
tshark reads is held against the journal of the same run.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from capture_bench import LIMIT_S, capturing, free_port

from simulators.preparation import prepare
from simulators.runner import RunOptions, run_prepared
from twin.derive import Derivation
from twin.errors import ExitCode
from twin.protocols.iec104.types import TypeId, plain_type

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed"),
]

START = datetime(2026, 1, 15, 18, 0, tzinfo=UTC)
SCENARIO = """
scenario: 1
name: captured
network: cigre_mv
start: 2026-01-15T18:00:00Z
duration: 75 s
seed: 42
applications:
  flisr: {{mode: automatic}}
stations:
  default: {{protocol: iec104, latency: 80 ms, port: {port}}}
events:
  - {{at: 60 s, id: fault1, fault: {{line: L3-8, kind: phase-to-phase, permanent: true}}}}
expect:
  - {{id: restored, within: 14 s of fault1, that: "customers_interrupted == 0"}}
"""
STATIONS = range(1, 16)
ACTIVATION, CONFIRMATION, TERMINATION = 6, 7, 10
SPONTANEOUS, INTERROGATED, INITIALISED = 3, 20, 4


# -- reading what tshark decoded ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class InformationObject:
    """One information object as tshark shows it."""

    ioa: int
    value: str
    select: bool
    t_ms: int | None


@dataclass(frozen=True)
class Asdu:
    """One ASDU as tshark shows it."""

    type_id: int
    cause: int
    negative: bool
    common_address: int
    objects: tuple[InformationObject, ...]

    @property
    def first(self) -> InformationObject:
        return self.objects[0]


def fields(element: ElementTree.Element) -> dict[str, str]:
    """Every named field below an element."""
    return {str(f.get("name")): f.get("show", "") for f in element.iter("field") if f.get("name")}


VALUES = ("siq.spi", "diq.dpi", "float", "dco.on", "qoi")


def information_object(element: ElementTree.Element) -> InformationObject:
    """Read one information object."""
    shown = {name.removeprefix("iec60870_asdu."): text for name, text in fields(element).items()}
    value = next((shown[name] for name in VALUES if name in shown), "")
    return InformationObject(int(shown["ioa"]), value, shown.get("dco.se") == "1", time_tag(shown))


def time_tag(shown: dict[str, str]) -> int | None:
    """A CP56Time2a, put together from its parts, as simulation time in milliseconds."""
    if "cp56time" not in shown:
        return None
    day, hour, minute, year, month = (
        int(shown[f"cp56time.{part}"]) for part in ("day", "hour", "min", "year", "month")
    )
    instant = datetime(2000 + year, month, day, hour, minute, tzinfo=UTC)
    return (instant - START) // timedelta(milliseconds=1) + int(shown["cp56time.ms"])


def asdu(element: ElementTree.Element) -> Asdu:
    """Read one ASDU."""
    head = {str(f.get("name")).removeprefix("iec60870_asdu."): f.get("show", "") for f in element if f.get("name")}
    objects = tuple(information_object(f) for f in element if not f.get("name"))
    return Asdu(int(head["typeid"]), int(head["causetx"]), head["nega"] == "1", int(head["addr"]), objects)


class Decoded:
    """A capture file, decoded by tshark."""

    def __init__(self, file: Path, port: int) -> None:
        self._command = ["tshark", "-r", str(file), "-d", f"tcp.port=={port},iec60870_104"]
        self.frames = list(ElementTree.fromstring(self.read("-Y", "tcp.len > 0", "-T", "pdml")))
        layers = [layer for frame in self.frames for layer in frame]
        self.asdus = [asdu(layer) for layer in layers if layer.get("name") == "iec60870_asdu"]

    def read(self, *arguments: str) -> str:
        """What tshark prints."""
        done = subprocess.run([*self._command, *arguments], capture_output=True, text=True, check=True, timeout=60)
        return done.stdout

    def of(self, type_id: TypeId, *causes: int) -> list[Asdu]:
        """The ASDUs of a type with one of the causes."""
        return [a for a in self.asdus if a.type_id == type_id and a.cause in causes]


@dataclass(frozen=True)
class Run:
    """A captured run."""

    decoded: Decoded
    journal: list[dict[str, Any]]
    derivation: Derivation
    messages: str

    def entries(self, source: str, kind: str) -> list[dict[str, Any]]:
        return [e for e in self.journal if e["source"] == source and e["kind"] == kind]

    def addresses(self) -> dict[str, tuple[int, int]]:
        """Common address and information object address of every point."""
        return {p.name: (p.address.common_address, p.address.ioa) for p in self.derivation.points if p.address}


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A fault, located, isolated and restored, with everything that went over the wire."""
    folder = tmp_path_factory.mktemp("capture")
    port = free_port()
    (folder / "captured.yaml").write_text(SCENARIO.format(port=port), encoding="utf-8")
    preparation = prepare(folder / "captured.yaml")
    with capturing(port, folder / "capture.pcapng") as capture:
        result = run_prepared(preparation, RunOptions(out=folder / "results", report=False))
        assert result.exit_code is ExitCode.PASSED, result.message
        assert capture.probe(LIMIT_S)
    lines = (folder / "results" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    decoded = Decoded(folder / "capture.pcapng", port)
    return Run(decoded, [json.loads(line) for line in lines], preparation.derivation, capture.messages())


# -- what must be seen --------------------------------------------------------------------------------------------


def test_capture__holds_every_frame(captured: Run) -> None:
    assert "dropped" not in captured.messages


def test_frames__are_none_of_them_malformed(captured: Run) -> None:
    assert captured.decoded.read("-Y", "_ws.malformed || _ws.expert.severity >= 0x00800000") == ""


def test_frames__are_decoded_to_the_last_octet(captured: Run) -> None:
    """Summed over each connection, because a long answer may be cut into several segments."""
    payload: Counter[str] = Counter()
    dissected: Counter[str] = Counter()
    for frame in captured.decoded.frames:
        tcp = next(layer for layer in frame if layer.get("name") == "tcp")
        shown = fields(tcp)
        if "tcp.analysis.retransmission" in shown:
            continue
        stream = shown["tcp.stream"]
        payload[stream] += int(shown["tcp.len"])
        dissected[stream] += sum(
            int(layer.get("size", "0")) for layer in frame if str(layer.get("name")).startswith("iec60870_")
        )
    assert len(payload) == len(STATIONS)
    assert dissected == payload


def test_stations__are_started_synchronised_and_interrogated_once_each(captured: Run) -> None:
    started = captured.decoded.read("-Y", "iec60870_104.utype", "-T", "fields", "-e", "iec60870_104.utype")
    kinds = Counter(kind for line in started.splitlines() for kind in line.split(","))
    assert kinds["0x00000001"] == kinds["0x00000002"] == len(STATIONS), "STARTDT act and con"
    for type_id, causes in (
        (TypeId.C_CS_NA_1, (ACTIVATION, CONFIRMATION)),
        (TypeId.C_IC_NA_1, (ACTIVATION, CONFIRMATION, TERMINATION)),
        (TypeId.M_EI_NA_1, (INITIALISED,)),
    ):
        for cause in causes:
            asked = [a.common_address for a in captured.decoded.of(type_id, cause)]
            assert sorted(asked) == list(STATIONS), f"{type_id.name} with cause {cause}"
    assert not any(a.negative for a in captured.decoded.asdus)


def test_interrogation__answers_with_every_input_without_time_tag(captured: Run) -> None:
    answered = Counter(
        (a.common_address, o.ioa, a.type_id)
        for a in captured.decoded.asdus
        if a.cause == INTERROGATED
        for o in a.objects
    )
    addresses = [p.address for p in captured.derivation.points if p.address and not p.kind.is_output]
    assert answered == Counter((a.common_address, a.ioa, plain_type(a.type_id)) for a in addresses)


def test_events__carry_the_values_and_times_of_the_journal(captured: Run) -> None:
    """Every change of state that the control room noted is on the wire once, with its time tag, and no other is."""
    addresses = captured.addresses()
    noted = Counter(
        (*addresses[e["point"]], e["value"], e["source_t_ms"]) for e in captured.entries("control_room", "event")
    )
    states = (TypeId.M_SP_TB_1, TypeId.M_DP_TB_1)
    sent = Counter(
        (a.common_address, o.ioa, int(o.value), o.t_ms)
        for type_id in states
        for a in captured.decoded.of(type_id, SPONTANEOUS)
        for o in a.objects
    )
    assert len(noted) > 15
    assert sent == noted


def test_trip__is_tagged_with_the_time_the_breaker_opened(captured: Run) -> None:
    opened = next(
        e["t_ms"]
        for e in captured.entries("field", "breaker")
        if e["subject"] == "CB_1" and e["position"] == "open" and e["cause"] == "trip"
    )
    common_address, ioa = captured.addresses()["CB_1.position"]
    tags = [
        o.t_ms
        for a in captured.decoded.of(TypeId.M_DP_TB_1, SPONTANEOUS)
        for o in a.objects
        if (a.common_address, o.ioa, o.value) == (common_address, ioa, "1")
    ]
    assert tags == [opened]


def test_commands__are_selected_executed_and_terminated_in_this_order(captured: Run) -> None:
    addresses = captured.addresses()
    asked = [
        (e["subject"], e["action"]) for e in captured.entries("control_room", "command") if e["phase"] == "confirmed"
    ]
    assert [switch for switch, _ in asked] == ["LBS_3-8", "LBS_8-3", "CB_1", "TIE_1"]
    sent = [
        (a.common_address, a.first.ioa, a.first.value, a.first.select, a.cause)
        for a in captured.decoded.asdus
        if a.type_id == TypeId.C_DC_NA_1
    ]
    expected = [
        (*addresses[f"{switch}.operate"], {"open": "1", "close": "2"}[action], select, cause)
        for switch, action in asked
        for select, cause in (
            (True, ACTIVATION),
            (True, CONFIRMATION),
            (False, ACTIVATION),
            (False, CONFIRMATION),
            (False, TERMINATION),
        )
    ]
    assert sent == expected


def test_measurands__are_sent_as_short_floats_tagged_within_the_run(captured: Run) -> None:
    tags = [o.t_ms for a in captured.decoded.of(TypeId.M_ME_TF_1, SPONTANEOUS) for o in a.objects]
    assert len(tags) > 100
    assert all(tag is not None and 0 <= tag <= 75_000 for tag in tags)
