"""A standby connection in a live run: two connections, one with data transfer, and FLISR over a switch-over."""

from __future__ import annotations

from pathlib import Path

from cosim_live import live_world
from cosim_worlds import scenario

STATION = "RTU_6"
STANDBY = "protocol: iec104, iec104: {standby: true}"


def test_standby__a_dead_network_still_loses_the_session_and_it_comes_back(tmp_path: Path) -> None:
    """Both connections die with the network: at the latest a t1 after the switch-over the station is not topical."""
    loss = f"{{at: 5 s, comms loss: {{station: {STATION}, for: 3 min}}}}"
    with live_world(tmp_path, scenario(loss, duration="1 h", flisr="mode: off", default=STANDBY), speed=30.0) as world:
        world.entry("session", STATION, state="interrogated")
        lost = world.entry("session", STATION, state="lost")
        assert lost.t_ms >= 5_000 + 15_000
        world.wait(lambda: world.those("session", STATION, state="interrogated")[-1].t_ms > 185_000)


def test_standby__goes_over_when_a_station_drops_a_connection(tmp_path: Path) -> None:
    """Malformed frames end the connection that has data transfer, and the other takes its place."""
    trouble = f"{{at: 5 s, misbehaviour: {{station: {STATION}, kind: malformed, for: 30 min, share: 30 %}}}}"
    with live_world(
        tmp_path, scenario(trouble, duration="1 h", flisr="mode: off", default=STANDBY), speed=20.0
    ) as world:
        first = world.entry("session", STATION, state="interrogated")
        over = world.wait(
            lambda: [e for e in world.those("session", STATION, state="connected") if "standby" in str(e.data)]
        )
        assert over[0].t_ms > first.t_ms
