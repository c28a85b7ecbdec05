"""Every kind, command type and control model between our IEC 60870-5-104 sides and c104 (lib60870), value by value."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from c104_bench import (
    HOST,
    LIMIT_S,
    START_S,
    Control,
    Device,
    Peer,
    data_transfer,
    free_port,
    now_ms,
    our_link,
    our_station,
    peer,
    point,
    run,
    until,
)
from capture_bench import capturing
from capture_bench import free_port as free_port_at

from twin.links.iec104 import Iec104LinkSettings
from twin.links.model import LinkCommand, ReplyKind, SessionState
from twin.points.model import ControlModel, PointDefinition, PointKind, Quality, Sample, TimeSource
from twin.protocols.iec104.types import TypeId, tagged_type

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(importlib.util.find_spec("c104") is None, reason="c104 is not installed"),
]

INVALID, BLOCKED, SUBSTITUTED = Quality.INVALID, Quality.BLOCKED, Quality.SUBSTITUTED
NOT_TOPICAL, OVERFLOW, GOOD = Quality.NOT_TOPICAL, Quality.OVERFLOW, Quality.GOOD
ELAPSED_INVALID = 0x08
CARRY = 0x20
"""CY as it lies in the octet. c104 2.2.1 calls this bit Adjusted; what it calls Carry (0x40) it sends as CY."""
STATUS = (GOOD, BLOCKED, SUBSTITUTED, NOT_TOPICAL, INVALID, BLOCKED | SUBSTITUTED | NOT_TOPICAL | INVALID)
VALUE = (*STATUS, OVERFLOW, OVERFLOW | INVALID)
KINDS: dict[str, tuple[PointKind, int, tuple[float, ...], tuple[Quality, ...]]] = {
    "single": (PointKind.SINGLE, 1, (0, 1), STATUS),
    "double": (PointKind.DOUBLE, 3, (0, 1, 2, 3), STATUS),
    "step": (PointKind.STEP_POSITION, 5, (-64, -1, 0, 63), VALUE),
    "bits": (PointKind.BITSTRING, 7, (0, 0xF000000F, 0xFFFFFFFF), VALUE),
    "share": (PointKind.MEASURAND, 9, (-1, -0.5, 0, 0.25), VALUE),
    "scaled": (PointKind.MEASURAND, 11, (-32768, -7, 32767), VALUE),
    "float": (PointKind.MEASURAND, 13, (-(2.0**100), -0.0, 12.5), VALUE),
    "packed": (PointKind.BITSTRING, 20, (0x0000_0000, 0x8001_A5A5, 0xFFFF_0001), VALUE),
    "alone": (PointKind.MEASURAND, 21, (-1, 0.5), (GOOD,)),
    "relay": (PointKind.DOUBLE, 38, (1, 2), STATUS),
    "starts": (PointKind.BITSTRING, 39, (0x0000_003F, 0xFFFF_0001), STATUS),
    "circuits": (PointKind.BITSTRING, 40, (0x0000_000F, 0xFFFF_0001), STATUS),
}
"""Name: kind, type in the map, values, qualities."""

POINTS: list[PointDefinition] = []
CASES: dict[str, tuple[float, Quality]] = {}
for _kind_name, (_kind, _type, _values, _qualities) in KINDS.items():
    for _n, _quality in enumerate(_qualities):
        for _value in _values if _n == 0 else _values[:1]:
            _name = f"{_kind_name}_{len(POINTS)}"
            POINTS.append(point(_name, _kind, len(POINTS) + 1, _type))
            CASES[_name] = (float(_value), _quality)
COUNTERS = [point(f"counter_{n}", PointKind.COUNTER, 200 + n, 15) for n in range(4)]
COUNTER_CASES = {
    "counter_0": (-(2.0**31), GOOD),
    "counter_1": (123_456.0, INVALID),
    "counter_2": (2.0**31 - 1, OVERFLOW),
    "counter_3": (0.0, GOOD),
}
IOA = {p.name: p.address.ioa for p in [*POINTS, *COUNTERS]}
MERE_EVENTS = (38, 39, 40)


def types(points: list[PointDefinition], *, tagged: bool) -> list[list[Any]]:
    chosen = {p.address.ioa: tagged_type(p.address.type_id) if tagged else p.address.type_id for p in points}
    return [[ioa, TypeId(type_id).name] for ioa, type_id in chosen.items()]


def samples(cases: dict[str, tuple[float, Quality]], at: int, *, spontaneous: bool) -> list[Sample]:
    return [
        Sample("RTU_1", name, value, quality, at + n, spontaneous)
        for n, (name, (value, quality)) in enumerate(cases.items())
    ]


def foreign(row: dict[str, Any], type_id: int) -> tuple[float, int]:
    """Value and quality as our point model has them; the second field of an element in the high half."""
    high = int(row["further"]) << 16 if type_id in (20, 39, 40) else 0
    if type_id == 15:
        return row["value"], row["quality"] & INVALID | bool(row["quality"] & CARRY)
    return row["value"] + high, row["quality"] & ~ELAPSED_INVALID if type_id == 38 else row["quality"]


def test_station__every_kind_with_every_quality_as_event_with_its_time() -> None:
    async def scenario() -> None:
        every = [*POINTS, *COUNTERS]
        async with (
            our_station(Device(), every) as (server, ip, port),
            peer("c104_client.py", ip, port, types(every, tagged=True), []) as master,
        ):
            await data_transfer(master)
            sent = samples(CASES | COUNTER_CASES, 61_234, spontaneous=True)
            server.update("RTU_1", sent)
            await until(lambda: len(master.points()) == len(sent), "the events")
            for sample, definition in zip(sent, every, strict=True):
                row, type_id = master.points()[IOA[sample.point]], definition.address.type_id
                assert foreign(row, type_id) == (sample.value, int(sample.quality)), sample.point
                assert (row["cause"], row["type"]) == ("SPONTANEOUS", TypeId(tagged_type(type_id)).name)
                if type_id not in (20, 21):  # they exist without time alone
                    assert round((row["recorded_at"] - START_S) * 1000) == sample.source_t_ms, sample.point

    run(scenario())


def test_station__every_kind_with_every_quality_interrogated_and_read() -> None:
    async def scenario() -> None:
        groups = {1: [p.name for p in POINTS[::2] if p.address.type_id not in MERE_EVENTS], 16: [POINTS[1].name]}
        async with (
            our_station(Device(), [*POINTS, *COUNTERS], groups=groups) as (server, ip, port),
            peer("c104_client.py", ip, port, types(POINTS, tagged=False), []) as master,
        ):
            server.update("RTU_1", samples(CASES, 0, spontaneous=False))
            await data_transfer(master)
            assert any(frame[6] == TypeId.M_EI_NA_1 for frame in master.frames()), "end of initialisation"
            for group, names in {"STATION": list(CASES), "GROUP_1": groups[1], "GROUP_16": groups[16]}.items():
                before = len(master.of("point"))
                assert await master.obeys(do="interrogate", group=group)
                expected = {IOA[n]: CASES[n] for n in names if POINTS[IOA[n] - 1].address.type_id not in MERE_EVENTS}
                await until(lambda: len(master.of("point")) >= before + len(expected), "the image")  # noqa: B023
                rows = {row["ioa"]: row for row in master.of("point")[before:]}
                assert {i: foreign(row, POINTS[i - 1].address.type_id) for i, row in rows.items()} == {
                    ioa: (value, int(quality)) for ioa, (value, quality) in expected.items()
                }
                assert {row["cause"] for row in rows.values()} == {f"INTERROGATED_BY_{group}"}
            for definition in POINTS[::5]:
                if definition.address.type_id not in MERE_EVENTS:
                    assert await master.obeys(do="read", ioa=definition.address.ioa)

    run(scenario())


def test_station__counters_are_read_frozen_and_reset_by_group() -> None:
    async def scenario() -> None:
        groups = {1: ["counter_0", "counter_3"]}
        async with (
            our_station(Device(), COUNTERS, counter_groups=groups) as (server, ip, port),
            peer("c104_client.py", ip, port, types(COUNTERS, tagged=False), []) as master,
        ):
            server.update("RTU_1", samples(COUNTER_CASES, 0, spontaneous=False))
            await data_transfer(master)

            async def read(group: str, count: int) -> dict[int, tuple[float, int]]:
                before = len(master.of("point"))
                assert await master.obeys(do="counters", group=group)
                await until(lambda: len(master.of("point")) >= before + count, "the counters")
                assert {row["cause"] for row in master.of("point")[before:]} == {f"REQUESTED_BY_{group}_COUNTER"}
                return {row["ioa"]: (row["value"], row["quality"]) for row in master.of("point")[before:]}

            flags = {GOOD: 0, INVALID: 0x80, OVERFLOW: CARRY}
            every = {IOA[n]: (value, flags[quality]) for n, (value, quality) in COUNTER_CASES.items()}
            assert await read("GENERAL", 4) == every
            assert await read("GROUP_1", 2) == {ioa: every[ioa] for ioa in (200, 203)}
            assert await master.obeys(do="counters", freeze="FREEZE_WITHOUT_RESET")
            server.update("RTU_1", samples({"counter_3": (50.0, GOOD)}, 0, spontaneous=False))
            assert (await read("GENERAL", 4))[203][0] == 0.0, "the frozen value"
            assert await master.obeys(do="counters", group="GROUP_1", freeze="FREEZE_WITH_RESET")
            assert (await read("GROUP_1", 2))[203][0] == 50.0
            server.update("RTU_1", samples({"counter_3": (57.0, GOOD)}, 0, spontaneous=False))
            assert await master.obeys(do="counters", freeze="FREEZE_WITHOUT_RESET")
            assert (await read("GROUP_1", 2))[203][0] == 7.0, "counted since the reset"

    run(scenario())


# commands

COMMAND_VALUES: dict[int, tuple[PointKind, tuple[float, float]]] = {
    45: (PointKind.SINGLE_COMMAND, (1, 0)),
    46: (PointKind.DOUBLE_COMMAND, (1, 2)),
    47: (PointKind.STEP_COMMAND, (-1, 1)),
    48: (PointKind.SETPOINT, (-1, 0.25)),
    49: (PointKind.SETPOINT, (-32768, 1234)),
    50: (PointKind.SETPOINT, (-1.5, 12.5)),
    51: (PointKind.BITSTRING_COMMAND, (0xDEADBEEF, 1)),
}
OUTPUTS: list[PointDefinition] = []
for _type, (_kind, _) in COMMAND_VALUES.items():
    for _tagged in (False, True):
        for _model in (ControlModel.DIRECT, ControlModel.SELECT_BEFORE_OPERATE):
            if _type == 51 and _model is ControlModel.SELECT_BEFORE_OPERATE:
                continue  # a bit string command has no select
            _wire = tagged_type(_type) if _tagged else _type
            _name = f"{TypeId(_wire).name}_{_model.name}"
            OUTPUTS.append(point(_name, _kind, 300 + len(OUTPUTS), _wire, control_model=_model))
MODES = {ControlModel.DIRECT: "direct", ControlModel.SELECT_BEFORE_OPERATE: "select"}
FOREIGN_OUTPUTS = [[p.address.ioa, TypeId(p.address.type_id).name, MODES[p.control_model]] for p in OUTPUTS]


def plain_values(output: PointDefinition) -> tuple[float, float]:
    return next(values for t, (_, values) in COMMAND_VALUES.items() if output.address.type_id in (t, tagged_type(t)))


def heard_of(output: PointDefinition, value: float, *, refused: bool) -> list[tuple[str, str, float]]:
    """What the device hears of a command: its select, and, unless that was refused, its execution."""
    selects = output.control_model is ControlModel.SELECT_BEFORE_OPERATE
    verbs = ["select"] if selects else ["operate"]
    return [(verb, output.name, value) for verb in [*verbs, *(["operate"] if selects and not refused else [])]]


@pytest.mark.parametrize("refused", [False, True])
def test_station__every_command_type_direct_and_selected_with_and_without_time(refused: bool) -> None:
    async def scenario() -> None:
        device = Device()
        async with (
            our_station(device, OUTPUTS) as (_, ip, port),
            peer("c104_client.py", ip, port, [], FOREIGN_OUTPUTS) as master,
        ):
            await data_transfer(master)
            device.rule = "local" if refused else ""
            for output in OUTPUTS:
                for value in plain_values(output)[: 1 if refused else 2]:
                    order = {"ioa": output.address.ioa, "type": output.address.type_id, "value": value}
                    at = START_S + now_ms() / 1000
                    assert await master.obeys(do="command", at=at, qualifier=1, **order) is not refused, output.name
                    expected = heard_of(output, value, refused=refused)
                    assert device.heard[-len(expected) :] == expected

    run(scenario())


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark__reads_the_dialogue_with_c104_without_a_flaw(tmp_path: Path) -> None:
    """Events of every kind, an interrogation, and every command type taken and refused, in one capture."""
    port, file = free_port_at([HOST]), tmp_path / "iec104.pcapng"
    every = [*POINTS, *COUNTERS, *OUTPUTS]

    async def scenario() -> None:
        device = Device()
        async with (
            our_station(device, every, port) as (server, ip, _),
            peer("c104_client.py", ip, port, types([*POINTS, *COUNTERS], tagged=True), FOREIGN_OUTPUTS) as master,
        ):
            await data_transfer(master)
            server.update("RTU_1", samples(CASES | COUNTER_CASES, 61_234, spontaneous=True))
            await master.obeys(do="interrogate")
            await master.obeys(do="counters")
            for device.rule in ("", "local"):
                for output in OUTPUTS:
                    order = {"ioa": output.address.ioa, "type": output.address.type_id, "at": START_S + now_ms() / 1000}
                    await master.obeys(do="command", value=plain_values(output)[0], **order)

    with capturing(port, file) as capture:
        run(scenario())
        assert capture.probe(LIMIT_S)

    def read(*arguments: str) -> list[str]:
        command = ["tshark", "-n", "-r", str(file), "-d", f"tcp.port=={port},iec60870_104", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT_S)
        return done.stdout.splitlines()

    assert read("-Y", "_ws.malformed || _ws.expert.severity == error") == []
    fields = ("typeid", "causetx", "nega")
    shown = read(
        "-Y", f"tcp.srcport == {port}", "-T", "fields", *(a for f in fields for a in ("-e", f"iec60870_asdu.{f}"))
    )
    seen = set()
    for line in shown:
        columns = (cell.split(",") for cell in line.split("\t"))
        seen |= {(int(t), int(c), n in ("1", "True")) for t, c, n in zip(*columns, strict=True) if t}
    kinds = {tagged_type(p.address.type_id) for p in [*POINTS, *COUNTERS]}
    assert {t for t, cause, _ in seen if cause == 3} == kinds
    outputs = {p.address.type_id for p in OUTPUTS}
    assert {(t, True) for t in outputs} <= {(t, negative) for t, cause, negative in seen if cause == 7}
    assert {t for t, cause, negative in seen if cause == 10 and not negative} >= outputs | {100, 101}


# our link in front of a c104 station

FOREIGN: dict[str, dict[str, Any]] = {}


def _told(name: str, definition: PointDefinition) -> dict[str, Any]:
    """The order that gives a c104 station a value."""
    value, quality = CASES[name]
    number = int(value)
    elements: dict[int, dict[str, Any]] = {
        1: {"single": bool(value)},
        3: {"double": ("INTERMEDIATE", "OFF", "ON", "INDETERMINATE")[number & 3]},
        5: {"step": number},
        7: {"bits": number},
        9: {"normalized": value},
        11: {"scaled": number},
        13: {"short": value},
        20: {"states": number & 0xFFFF, "changed": number >> 16},
        21: {"normalized": value},
        38: {"event": number & 3, "ms": 35},
        39: {"starts": number & 0x3F, "ms": number >> 16},
        40: {"circuits": number & 0x0F, "ms": number >> 16},
    }
    return {"ioa": definition.address.ioa, "quality": int(quality), **elements[definition.address.type_id]}


SENDABLE = [p for p in POINTS if not (p.address.type_id == 7 and CASES[p.name][1])]
"""c104 2.2.1 sends bit strings without their quality."""


@asynccontextmanager
async def foreign_station(
    port: int, points: list[PointDefinition], outputs: list[list[Any]] | None = None
) -> AsyncIterator[Peer]:
    async with peer("c104_server.py", HOST, port, types(points, tagged=True), outputs or []) as station:
        await until(lambda: bool(station.of("listening")), "the foreign station")
        yield station


def test_link__every_kind_with_every_quality_from_a_foreign_station() -> None:
    async def scenario() -> None:
        port = free_port()
        async with foreign_station(port, SENDABLE) as station, our_link(port, POINTS) as control:
            await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
            for n, definition in enumerate(SENDABLE):
                order = _told(definition.name, definition)
                assert await station.tell(**order, at=START_S + 40 + n / 1000, send=True), definition.name
            await until(lambda: len(control.samples(spontaneous=True)) == len(SENDABLE), "the events")
            arrived = control.samples(spontaneous=True)
            for n, definition in enumerate(SENDABLE):
                value, quality = CASES[definition.name]
                sample = arrived[definition.name]
                assert (sample.value, sample.quality) == (value, quality), definition.name
                if definition.address.type_id not in (20, 21):
                    assert (sample.source_t_ms, sample.stamped_by) == (40_000 + n, TimeSource.DEVICE)
            assert control.session.unknown_objects == control.session.unsuitable_objects == 0

    run(scenario())


def test_link__counters_of_a_foreign_station() -> None:
    async def scenario() -> None:
        port = free_port()
        async with foreign_station(port, COUNTERS) as station, our_link(port, COUNTERS) as control:
            await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
            flags = {Quality.GOOD: 0, Quality.INVALID: 0x80, Quality.OVERFLOW: 0x40}
            for n, definition in enumerate(COUNTERS):
                value, quality = COUNTER_CASES[definition.name]
                order = {"count": int(value), "sequence": n, "quality": flags[quality], "ioa": 200 + n}
                assert await station.tell(**order, at=START_S + 40 + n / 1000, send=True)
            await until(lambda: len(control.samples(spontaneous=True)) == len(COUNTERS), "the events")
            for n, (name, (value, quality)) in enumerate(COUNTER_CASES.items()):
                sample = control.samples(spontaneous=True)[name]
                assert (sample.value, sample.quality, sample.source_t_ms) == (value, quality, 40_000 + n)

    run(scenario())


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("tagged", [False, True])
def test_link__every_command_type_at_a_foreign_station(tagged: bool, refused: bool) -> None:
    async def scenario() -> None:
        port = free_port()
        outputs = [p for p in OUTPUTS if (p.address.type_id > 51) is tagged]
        foreign_outputs = [row for row, p in zip(FOREIGN_OUTPUTS, OUTPUTS, strict=True) if p in outputs]
        settings = Iec104LinkSettings(tagged_commands=tagged)
        async with (
            foreign_station(port, [], foreign_outputs) as station,
            our_link(port, outputs, settings) as control,
        ):
            await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
            assert await station.tell(refuse=refused)
            selected = [p for p in outputs if p.control_model is ControlModel.SELECT_BEFORE_OPERATE]
            for number, output in enumerate(outputs):
                order = LinkCommand(number, "RTU_1", output.name, plain_values(output)[0])
                expected = [ReplyKind.REFUSED] if refused else [ReplyKind.ACTIVATED]
                if output in selected:
                    control.client.act(lambda s, now, o=order: s.select(o, now))  # type: ignore[misc]
                    await until(lambda: (number, ReplyKind.SELECTED, "") in control.replies(), "the select")  # noqa: B023
                    expected = [ReplyKind.SELECTED, *expected, *([] if refused else [ReplyKind.TERMINATED])]
                control.client.act(lambda s, now, o=order: s.operate(o, now))  # type: ignore[misc]
                await until(lambda: kinds_of(control, number) == expected, output.name)  # noqa: B023
            heard = [(row["ioa"], row["value"]) for row in station.of("command")]
            lower = {-1: 1}  # as c104 numbers the directions of a regulating step
            first = [(p, plain_values(p)[0]) for p in outputs]
            assert heard == [
                (p.address.ioa, lower.get(int(v), v) if p.kind is PointKind.STEP_COMMAND else v) for p, v in first
            ]
            # c104 terminates what was selected, even after a refusal, and never a direct command
            await until(lambda: control.session.unexpected_answers == len(selected) * refused, "terminations")

    run(scenario())


def kinds_of(control: Control, number: int) -> list[ReplyKind]:
    return [kind for command_id, kind, _ in control.replies() if command_id == number]
