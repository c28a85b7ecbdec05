"""The telecontrol network of a scenario on the wire of a live run: its effect measured, on our links and on others."""

from __future__ import annotations

import time
from pathlib import Path

from cosim_live import live_world
from cosim_worlds import scenario
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

STATION, OTHER = "RTU_6", "RTU_7"
QUICK = "protocol: modbus, modbus: {answer: 1 s, retries: 0, measurand_poll: 1 s}"


def text(*events: str, default: str, stations: str = "") -> str:
    return scenario(*events, duration="1 h", flisr="mode: off", default=default, stations=stations)


def test_black_hole__makes_the_station_not_topical_and_it_comes_back(tmp_path: Path) -> None:
    """The link finds out by its own time limits, loses every point, and interrogates when the network is back."""
    loss = f"{{at: 2 s, comms loss: {{station: {STATION}, for: 20 s}}}}"
    with live_world(tmp_path, text(loss, default=QUICK), speed=4.0) as world:
        world.entry("session", STATION, state="interrogated")
        lost = world.entry("session", STATION, state="lost")
        assert lost.t_ms >= 3_000
        assert lost.data["points"] == sum(
            not point.kind.is_output for point in world.preparation.derivation.points.of_station(STATION)
        )
        world.wait(lambda: len(world.those("session", STATION, state="interrogated")) > 1)
        back = world.those("session", STATION, state="interrogated")[1]
        assert back.t_ms >= 22_000
        assert not world.those("session", OTHER, state="lost")


def test_black_hole__swallows_what_a_foreign_master_asks(tmp_path: Path) -> None:
    loss = f"{{at: 1 s, comms loss: {{station: {STATION}, for: 59 min}}}}"
    with live_world(tmp_path, text(loss, default=QUICK)) as world:
        world.entry("session", STATION, state="lost")
        answers = {}
        for station in (STATION, OTHER):
            place = world.addresses[station]
            client = ModbusTcpClient(place.host, port=place.port, timeout=0.5, retries=0)
            assert client.connect()
            try:
                answers[station] = not client.read_discrete_inputs(16, count=2, device_id=place.number).isError()
            except ModbusException:
                answers[station] = False
            finally:
                client.close()
        assert answers == {STATION: False, OTHER: True}


def test_latency__takes_its_time_both_ways(tmp_path: Path) -> None:
    with live_world(tmp_path, text(default="protocol: modbus, latency: 200 ms")) as world:
        world.entry("session", STATION, state="interrogated")
        place = world.addresses[STATION]
        client = ModbusTcpClient(place.host, port=place.port, timeout=30)
        assert client.connect()
        try:
            since = time.monotonic()
            assert not client.read_discrete_inputs(16, count=2, device_id=place.number).isError()
            assert time.monotonic() - since >= 0.4
        finally:
            client.close()


def test_rate__an_interrogation_takes_as_long_as_its_octets(tmp_path: Path) -> None:
    """Thirteen values, in frames of some 150 octets, at 1,200 bit/s; what the other station says goes out at once."""
    slow = f"{STATION}: {{rate: 1200}}"
    with live_world(tmp_path, text(default="protocol: iec104", stations=slow)) as world:
        took = {}
        for station in (STATION, OTHER):
            done = world.entry("session", station, state="interrogated").t_ms
            took[station] = done - world.entry("session", station, state="started").t_ms
        inputs = [p for p in world.preparation.derivation.points.of_station(STATION) if not p.kind.is_output]
        octets = sum(3 + (5 if p.address.type_id == 36 else 1) for p in inputs)
        assert took[STATION] >= octets * 8_000 / 1_200
        assert took[STATION] > took[OTHER]


def test_half_open__is_found_out_by_supervision_alone(tmp_path: Path) -> None:
    """IEC 60870-5-104: t3 (20 s) of silence, then t1 (15 s) without an answer to the test."""
    default = "protocol: iec104"
    forget = f"{{at: 5 s, half open: {{station: {STATION}}}}}"
    with live_world(tmp_path, text(forget, default=default), speed=20.0) as world:
        lost = world.entry("session", STATION, state="lost")
        assert lost.t_ms >= 5_000 + 15_000
        assert "T1" in lost.data["detail"].upper()
        world.wait(lambda: len(world.those("session", STATION, state="interrogated")) > 1)


def test_telecontrol_event__changes_the_network_for_a_while(tmp_path: Path) -> None:
    """A poll that was quick takes 700 ms longer each way from 3 s to 8 s; then it is quick again."""
    worse = f"{{at: 3 s, telecontrol: {{station: {STATION}, latency: 700 ms, for: 5 s}}}}"
    with live_world(tmp_path, text(worse, default="protocol: modbus")) as world:
        place = world.addresses[STATION]
        client = ModbusTcpClient(place.host, port=place.port, timeout=30)

        def asked() -> float:
            since = time.monotonic()
            assert not client.read_discrete_inputs(16, count=2, device_id=place.number).isError()
            return time.monotonic() - since

        try:
            assert client.connect()
            world.wait(lambda: world.now >= 3_000)
            while (took := asked()) < 1.4:
                assert world.now < 8_000
            world.wait(lambda: world.now >= 8_000)
            while (again := asked()) >= 1.4:
                assert world.now < 60_000
            assert again < took
        finally:
            client.close()
