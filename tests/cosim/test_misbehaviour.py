"""Stations that misbehave on demand: what the control room makes of it, over every protocol that has room for it.

CIGRE MV; RTU_9 and RTU_3 are stations on the first feeder. Each run is short and quiet but for the misbehaviour.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cosim_worlds import Ran, run, scenario

from twin.points.protocols import PROTOCOLS

OFF = "mode: 'off'"
WIRED = tuple(name for name in PROTOCOLS if name != "in_process")


def trouble(
    folder: Path, protocol: str, what: str, *events: str, duration: str = "40 s", station: str = "RTU_3"
) -> Ran:
    """A run in which a station misbehaves from 5 s on."""
    bad = f"{{at: 5 s, id: bad, misbehaviour: {{station: RTU_3, {what}}}}}"
    text = scenario(
        bad, *events, duration=duration, flisr=OFF, default=f"protocol: {protocol}, latency: 80 ms", extra=EXPECT
    )
    ran = run(folder, text)
    assert ran.code in (0, 1), ran.result.message
    assert len(ran.of("misbehaviour", "RTU_3")) == 1
    return ran


def states(ran: Ran, station: str = "RTU_3") -> list[tuple[int, str]]:
    """(time, state) of a session's changes after the misbehaviour began."""
    return [(row["t_ms"], row["state"]) for row in ran.of("session", station) if row["t_ms"] > 5_000]


def others_unharmed(ran: Ran) -> bool:
    """Whether no other session was lost."""
    return {row["subject"] for row in ran.of("session", state="lost")} <= {"RTU_3"}


def back_in_service(ran: Ran) -> bool:
    """Whether the session of the station stands at the end, and no other was lost."""
    return ran.of("session", "RTU_3")[-1]["state"] == "interrogated" and others_unharmed(ran)


def opened_in_the_end(ran: Ran) -> bool:
    """Whether the control room has the switch open at the end."""
    return ran.result.verdicts[0].passed


EXPECT = 'expect: [{id: seen-open, at: 39 s, that: "scada.LBS_3-8.position == open"}]'
COMMAND = "{at: 8 s, operate: {switch: LBS_3-8, to: open, at: control room}}"
BY_HAND = "{at: 8 s, operate: {switch: LBS_3-8, to: open}}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_freeze__position_changes_only_when_the_station_thaws(tmp_path: Path, protocol: str) -> None:
    ran = trouble(tmp_path, protocol, "kind: freeze, for: 12 s", BY_HAND)
    seen = ran.of("event", "LBS_3-8.position")
    assert seen
    assert all(row["t_ms"] >= 17_000 for row in seen)
    assert states(ran) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_refuse__command_is_refused_and_the_switch_stays(tmp_path: Path, protocol: str) -> None:
    ran = trouble(tmp_path, protocol, "kind: refuse, for: 10 s", COMMAND)
    assert [row["phase"] for row in ran.of("command", "LBS_3-8")][-1] == "refused"
    assert not ran.of("breaker", "LBS_3-8")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_late__command_waits_for_its_answers_and_is_confirmed(tmp_path: Path, protocol: str) -> None:
    ran = trouble(tmp_path, protocol, "kind: late, delay: 1500 ms, for: 20 s", COMMAND)
    commands = ran.of("command", "LBS_3-8")
    assert commands[-1]["phase"] == "confirmed"
    assert commands[-1]["t_ms"] >= 8_000 + 1_500
    assert states(ran) == []


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "dnp3"])
def test_drop__session_is_lost_with_all_its_points_and_comes_back(tmp_path: Path, protocol: str) -> None:
    ran = trouble(tmp_path, protocol, "kind: drop, for: 20 s", COMMAND, duration="90 s")
    lost = ran.of("session", "RTU_3", state="lost")
    assert lost
    assert lost[0]["points"] > 0
    assert states(ran)[-1][1] == "interrogated"
    assert others_unharmed(ran)


@pytest.mark.parametrize("protocol", WIRED)
def test_drop_of_an_answer__outcome_is_resolved_by_the_position(tmp_path: Path, protocol: str) -> None:
    """The station carries the operate out, but its answer and the event are lost; later values bring the truth."""
    drop = "{at: 8200 ms, id: bad, misbehaviour: {station: RTU_3, kind: drop, for: 1 s}}"
    change = "{at: 10 s, load: {consumer: all, scale: 90 %}}"
    text = scenario(COMMAND, drop, change, duration="60 s", flisr=OFF, default=f"protocol: {protocol}, latency: 80 ms")
    commands = run(tmp_path, text).of("command", "LBS_3-8")
    assert commands[-1]["phase"] == "confirmed"
    assert commands[-1]["t_ms"] > 9_000


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_restart__session_is_dialled_again_until_the_station_is_up(tmp_path: Path, protocol: str) -> None:
    ran = trouble(tmp_path, protocol, "kind: restart, for: 8 s", duration="40 s")
    told = states(ran)
    assert told[0][1] == "lost"
    assert told[-1][1] == "interrogated"
    assert told[-1][0] > 13_000


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_repeat__nothing_happens_twice(tmp_path: Path, protocol: str) -> None:
    ran = trouble(tmp_path, protocol, "kind: repeat, for: 10 s, share: 50 %", COMMAND, duration="60 s")
    assert len(ran.of("breaker", "LBS_3-8", position="open")) <= 1
    assert list(ran.of("command", "LBS_3-8"))[-1]["phase"] in ("confirmed", "timed_out")
    assert back_in_service(ran)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reorder__position_is_right_in_the_end(tmp_path: Path, protocol: str) -> None:
    ran = trouble(tmp_path, protocol, "kind: reorder, for: 10 s, share: 50 %", BY_HAND, duration="60 s")
    assert opened_in_the_end(ran)
    assert back_in_service(ran)


@pytest.mark.parametrize("protocol", WIRED)
def test_malformed__does_no_harm_beyond_its_session(tmp_path: Path, protocol: str) -> None:
    """DNP3 passes over frames with a bad CRC; the others end the connection and dial again."""
    ran = trouble(tmp_path, protocol, "kind: malformed, for: 10 s", BY_HAND, duration="60 s")
    details = [row["detail"] for row in ran.of("session", "RTU_3", state="lost")]
    assert all(detail.startswith("malformed") for detail in details)
    assert (details == []) is (protocol == "dnp3")
    assert opened_in_the_end(ran)
    assert back_in_service(ran)


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "modbus"])
def test_overflow__last_state_is_right_afterwards(tmp_path: Path, protocol: str) -> None:
    ran = trouble(tmp_path, protocol, "kind: overflow", BY_HAND, duration="40 s")
    assert opened_in_the_end(ran)
    assert back_in_service(ran)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_lie__control_room_believes_what_it_is_told(tmp_path: Path, protocol: str) -> None:
    ran = trouble(tmp_path, protocol, "kind: lie, point: LBS_3-8.position, value: 1, for: 10 s", duration="40 s")
    seen = [(row["value"], row["t_ms"]) for row in ran.of("event", "LBS_3-8.position")]
    assert [value for value, _ in seen] == [1, 2]
    assert 5_000 <= seen[0][1] <= 6_200
    assert 15_000 <= seen[1][1] <= 16_200
    assert not ran.of("breaker", "LBS_3-8")
    assert ran.of("alarm", "LBS_3-8")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_misbehaviour__run_twice_is_the_same(tmp_path: Path, protocol: str) -> None:
    kinds = ["drop, share: 20 %", "reorder, share: 30 %", "late, delay: 700 ms"]
    events = [
        f"{{at: {5 + 3 * n} s, misbehaviour: {{station: RTU_3, kind: {kind}, for: 2 s}}}}"
        for n, kind in enumerate(kinds)
    ]
    text = scenario(*events, BY_HAND, duration="40 s", flisr=OFF, default=f"protocol: {protocol}, latency: 80 ms")
    assert run(tmp_path, text, name="one").journal == run(tmp_path, text, name="two").journal
