"""Our IEC 60870-5-104 station and link against c104 (lib60870), which runs in processes of its own."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from c104_bench import (
    HOST,
    LIMIT_S,
    START_S,
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

from twin.links.model import LinkCommand, ReplyKind, SessionState
from twin.points.model import ControlModel, PointKind, Quality, Sample, TimeSource

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(importlib.util.find_spec("c104") is None, reason="c104 is not installed"),
]

POINTS = [
    point("position", PointKind.DOUBLE, 1, 3),
    point("trip", PointKind.SINGLE, 2, 1),
    *(point(f"i_{n}", PointKind.MEASURAND, 10 + n, 13) for n in range(60)),
    point("tap", PointKind.STEP_POSITION, 80, 5),
    point("share", PointKind.MEASURAND, 81, 9),
    point("scaled", PointKind.MEASURAND, 82, 11),
    point("bits", PointKind.BITSTRING, 83, 7),
    point("energy", PointKind.COUNTER, 90, 15),
    point("operate", PointKind.DOUBLE_COMMAND, 100, 46),
    point("target", PointKind.SETPOINT, 101, 50, control_model=ControlModel.DIRECT),
]
TYPES = [
    (1, "M_DP_NA_1", "M_DP_TB_1"),
    (2, "M_SP_NA_1", "M_SP_TB_1"),
    *((10 + n, "M_ME_NC_1", "M_ME_TF_1") for n in range(60)),
    (80, "M_ST_NA_1", "M_ST_TB_1"),
    (81, "M_ME_NA_1", "M_ME_TD_1"),
    (82, "M_ME_NB_1", "M_ME_TE_1"),
    (83, "M_BO_NA_1", "M_BO_TB_1"),
    (90, "M_IT_NA_1", "M_IT_TB_1"),
]
PLAIN = [[ioa, plain] for ioa, plain, _ in TYPES]
TAGGED = [[ioa, tagged] for ioa, _, tagged in TYPES]
COMMANDS = [[100, "C_DC_NA_1", "select"], [101, "C_SE_NC_1", "direct"]]


VALUES = {
    "position": (2.0, Quality.GOOD),
    "trip": (1.0, Quality.SUBSTITUTED),
    **{
        f"i_{n}": (1.5 * n - 7.25, Quality.OVERFLOW | Quality.NOT_TOPICAL if n % 7 == 0 else Quality.GOOD)
        for n in range(60)
    },
    "tap": (-13.0, Quality.BLOCKED),
    "share": (-0.5, Quality.INVALID),
    "scaled": (-1234.0, Quality.SUBSTITUTED | Quality.OVERFLOW),
    "bits": (float(0xF000000F), Quality.NOT_TOPICAL),
}
COUNTER = {"energy": (123_456.0, Quality.GOOD)}
IOA = {definition.name: definition.address.ioa for definition in POINTS}


def samples(values: dict[str, tuple[float, Quality]], at: int, *, spontaneous: bool) -> list[Sample]:
    """Each value a millisecond after the one before."""
    return [
        Sample("RTU_1", name, value, quality, at + n, spontaneous)
        for n, (name, (value, quality)) in enumerate(values.items())
    ]


def foreign_view(rows: dict[int, dict[str, Any]]) -> dict[int, tuple[float, int]]:
    return {ioa: (row["value"], row["quality"]) for ioa, row in rows.items()}


def expected_view(values: dict[str, tuple[float, Quality]]) -> dict[int, tuple[float, int]]:
    return {IOA[name]: (value, int(quality)) for name, (value, quality) in values.items()}


def test_foreign_master__interrogates_our_station_value_by_value() -> None:
    async def scenario() -> None:
        async with (
            our_station(Device(), POINTS) as (server, ip, port),
            peer("c104_client.py", ip, port, PLAIN, COMMANDS) as master,
        ):
            server.update("RTU_1", samples(VALUES | COUNTER, 0, spontaneous=False))
            await data_transfer(master)
            assert await master.obeys(do="interrogate")
            assert foreign_view(master.points()) == expected_view(VALUES)
            assert {row["cause"] for row in master.of("point")} == {"INTERROGATED_BY_STATION"}
            assert await master.obeys(do="counters")
            await until(lambda: 90 in master.points(), "the counter")
            assert foreign_view(master.points()) == expected_view(VALUES | COUNTER)
            assert await master.obeys(do="clock")
            assert await master.obeys(do="test")
            server.update("RTU_1", samples({"tap": (5.0, Quality.GOOD)}, 0, spontaneous=False))
            assert await master.obeys(do="read", ioa=80)
            await until(lambda: master.points()[80]["value"] == 5.0, "the value read")

    run(scenario())


def test_foreign_masters__both_get_our_events_with_time_and_quality() -> None:
    async def scenario() -> None:
        async with (
            our_station(Device(), POINTS) as (server, ip, port),
            peer("c104_client.py", ip, port, TAGGED, COMMANDS) as first,
            peer("c104_client.py", ip, port, TAGGED, COMMANDS) as second,
        ):
            await data_transfer(first, second)
            sent = samples(VALUES | COUNTER, 35_250, spontaneous=True)
            server.update("RTU_1", sent)
            for master in (first, second):
                await until(lambda m=master: len(m.points()) == len(sent), "the events")  # type: ignore[misc]
                assert foreign_view(master.points()) == expected_view(VALUES | COUNTER)
                times = {ioa: round((row["recorded_at"] - START_S) * 1000) for ioa, row in master.points().items()}
                assert times == {IOA[sample.point]: sample.source_t_ms for sample in sent}
                assert {row["cause"] for row in master.of("point")} == {"SPONTANEOUS"}

    run(scenario())


def test_foreign_master__operates_our_breaker_by_select_and_execute() -> None:
    async def scenario() -> None:
        device = Device({"operate": "position"})
        async with (
            our_station(device, POINTS) as (_, ip, port),
            peer("c104_client.py", ip, port, TAGGED, COMMANDS) as master,
        ):
            await data_transfer(master)
            assert await master.obeys(do="command", ioa=100, type=46, value=1)
            await until(lambda: master.points().get(1, {}).get("value") == 1.0, "the position")
            assert device.heard[-2:] == [("select", "operate", 1.0), ("operate", "operate", 1.0)]
            assert await master.obeys(do="command", ioa=101, type=50, value=12.5)
            assert device.heard[-1] == ("operate", "target", 12.5)
            device.rule = "local"
            assert not await master.obeys(do="command", ioa=100, type=46, value=2)
            assert device.heard[-1] == ("select", "operate", 2.0)

    run(scenario())


# our link against a foreign station

FOREIGN = {
    "position": {"ioa": 1, "double": "ON", "quality": 0},
    "trip": {"ioa": 2, "single": True, "quality": 0x20},
    **{f"i_{n}": {"ioa": 10 + n, "short": 2.25 * n - 3.5, "quality": 0x41 if n % 5 == 0 else 0} for n in range(60)},
    "tap": {"ioa": 80, "step": -13, "quality": 0x10},
    "share": {"ioa": 81, "normalized": -0.5, "quality": 0x80},
    "scaled": {"ioa": 82, "scaled": -1234, "quality": 0x21},
    "bits": {"ioa": 83, "bits": 0xF000000F, "quality": 0},  # c104 2.2.1 sends bit strings without their quality
}
FOREIGN_POINTS = [row for row in TAGGED if row[0] < 90]
VALUE_KEYS = ("short", "single", "step", "normalized", "scaled", "bits")


def told(order: dict[str, Any]) -> float:
    return 2.0 if "double" in order else float(next(order[key] for key in VALUE_KEYS if key in order))


@asynccontextmanager
async def foreign_station(port: int) -> AsyncIterator[Peer]:
    async with peer("c104_server.py", HOST, port, FOREIGN_POINTS, COMMANDS) as station:
        await until(lambda: bool(station.of("listening")), "the foreign station")
        for n, order in enumerate(FOREIGN.values()):
            assert await station.tell(**order, at=START_S + 30 + n / 1000, send=False)
        yield station


def test_our_link__interrogates_a_foreign_station_value_by_value() -> None:
    async def scenario() -> None:
        port = free_port()
        async with foreign_station(port) as station, our_link(port, POINTS) as control:
            await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
            image = control.samples(spontaneous=False)
            assert {name: (s.value, int(s.quality)) for name, s in image.items()} == {
                name: (told(order), order["quality"]) for name, order in FOREIGN.items()
            }
            assert {s.source_t_ms for s in image.values()} == set(range(30_000, 30_000 + len(FOREIGN)))
            assert control.session.unknown_objects == control.session.unsuitable_objects == 0
            await until(lambda: bool(station.of("clock")), "the clock synchronisation")
            assert abs(station.of("clock")[0]["at"] - (START_S + now_ms() / 1000)) < LIMIT_S

    run(scenario())


def test_our_link__gets_a_foreign_stations_events_with_time_and_quality() -> None:
    async def scenario() -> None:
        port = free_port()
        async with foreign_station(port) as station, our_link(port, POINTS) as control:
            await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
            for n, order in enumerate(FOREIGN.values()):
                assert await station.tell(**order, at=START_S + 40 + n / 1000, send=True)
            await until(lambda: len(control.samples(spontaneous=True)) == len(FOREIGN), "the events")
            events = control.samples(spontaneous=True)
            for n, (name, order) in enumerate(FOREIGN.items()):
                expected = Sample(
                    "RTU_1", name, told(order), Quality(order["quality"]), 40_000 + n, True, TimeSource.DEVICE
                )
                assert events[name] == expected

    run(scenario())


def test_our_link__operates_a_foreign_station() -> None:
    async def scenario() -> None:
        port = free_port()
        async with foreign_station(port) as station, our_link(port, POINTS) as control:
            await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
            opening = LinkCommand(1, "RTU_1", "operate", 1.0)
            control.client.act(lambda session, now: session.operate(opening, now))
            await control.replied(1)
            assert control.replies() == [(1, ReplyKind.REFUSED, "negative confirmation")]  # it was not selected
            control.client.act(lambda session, now: session.select(opening, now))
            await control.replied(2)
            control.client.act(lambda session, now: session.operate(opening, now))
            await control.replied(4)
            assert [kind for _, kind, _ in control.replies()[1:]] == [
                ReplyKind.SELECTED, ReplyKind.ACTIVATED, ReplyKind.TERMINATED,
            ]  # fmt: skip
            assert [(row["ioa"], row["value"]) for row in station.of("command")] == [(100, 1.0)]
            refused = LinkCommand(2, "RTU_1", "target", 66.0)
            control.client.act(lambda session, now: session.operate(refused, now))
            await control.replied(5)
            assert control.replies()[4] == (2, ReplyKind.REFUSED, "negative confirmation")

    run(scenario())


def test_our_link__comes_back_when_a_foreign_station_restarts() -> None:
    async def scenario() -> None:
        port = free_port()
        async with our_link(port, POINTS) as control:
            async with foreign_station(port):
                await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
            await until(lambda: SessionState.LOST in control.states(), "the loss")
            control.events.clear()
            async with foreign_station(port):
                await until(lambda: SessionState.INTERROGATED in control.states(), "the second interrogation")
                assert control.states()[:3] == [SessionState.CONNECTED, SessionState.STARTED, SessionState.INTERROGATED]

    run(scenario())
