"""The telecontrol network gets worse in the middle of a run: delay, rate, a connection that one end forgets."""

from __future__ import annotations

from pathlib import Path

import pytest
from cosim_worlds import Ran, run, scenario

from twin.points.protocols import PROTOCOLS

OFF = "mode: 'off'"
COMMAND = "{at: 8 s, operate: {switch: LBS_3-8, to: open, at: control room}}"


def ran_with(
    folder: Path, protocol: str, event: str, *, duration: str = "40 s", default: str = "latency: 80 ms"
) -> Ran:
    """A run with one event at 5 s and a command at 8 s."""
    text = scenario(event, COMMAND, duration=duration, flisr=OFF, default=f"protocol: {protocol}, {default}")
    ran = run(folder, text)
    assert ran.code == 0, ran.result.message
    return ran


def confirmed_ms(ran: Ran) -> int:
    """When the command was confirmed."""
    return int(ran.of("command", "LBS_3-8", phase="confirmed")[0]["t_ms"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_latency_event__slows_one_station_for_a_while(tmp_path: Path, protocol: str) -> None:
    worse = "{at: 5 s, telecontrol: {station: RTU_3, latency: 600 ms, for: 20 s}}"
    later = "{at: 35 s, telecontrol: {station: RTU_3, latency: 600 ms, for: 20 s}}"
    slow, usual = (ran_with(tmp_path / name, protocol, event) for name, event in (("slow", worse), ("usual", later)))
    assert confirmed_ms(slow) >= confirmed_ms(usual) + 2 * 520
    assert not slow.of("session", state="lost")


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "dnp3"])
def test_half_open_connection__is_found_by_supervision_and_dialled_again(tmp_path: Path, protocol: str) -> None:
    """A DNP3 master without keep-alive finds it with its next poll, which is its settings' matter."""
    ran = ran_with(tmp_path, protocol, "{at: 5 s, half open: {station: RTU_3}}", duration="90 s")
    lost = ran.of("session", "RTU_3", state="lost")
    assert len(lost) == 1
    assert 5_000 < lost[0]["t_ms"] < 60_000
    assert ran.of("session", "RTU_3")[-1]["state"] == "interrogated"
    assert {row["subject"] for row in ran.of("session", state="lost")} == {"RTU_3"}


@pytest.mark.parametrize("protocol", ["iec104", "modbus"])
def test_rate__a_slow_line_delays_the_image(tmp_path: Path, protocol: str) -> None:
    """1,200 bit/s: an image of some hundred octets takes seconds, at least its octets divided by the rate."""
    slow = run(tmp_path, scenario(duration="60 s", flisr=OFF, default=f"protocol: {protocol}, rate: 1200"), name="slow")
    fast = run(tmp_path, scenario(duration="20 s", flisr=OFF, default=f"protocol: {protocol}"), name="fast")
    first = [ran.of("session", "RTU_3", state="interrogated")[0]["t_ms"] for ran in (slow, fast)]
    assert first[0] >= first[1] + 500
