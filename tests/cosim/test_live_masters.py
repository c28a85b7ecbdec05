"""Foreign masters at the stations of a live run, beside the control room: live values, events, commands that move the
simulated plant; one master of each library and protocol.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from cosim_live import C104_CLIENT, OPENDNP3_MASTER, LinePeer, LiveWorld, live_world
from cosim_worlds import scenario
from pymodbus.client import ModbusTcpClient

from twin.points.dnp3 import Dnp3Address, assigned
from twin.points.modbus import ModbusAddress
from twin.points.modbus_layout import with_places

STATION, SWITCH = "RTU_6", "LBS_6-7"
OPEN, CLOSED = 1.0, 2.0
EPOCH = 1_768_500_000
"""2026-01-15T18:00:00Z, s since 1970."""


def world_text(default: str) -> str:
    return scenario(duration="10 min", flisr="mode: off", default=default)


def interrogated(world: LiveWorld) -> None:
    """The control room has its own picture of the station."""
    world.entry("session", STATION, state="interrogated")


def moved(world: LiveWorld, position: str) -> None:
    """The plant has moved by a command, and the control room has seen it over its own link."""
    world.entry("breaker", SWITCH, position=position, cause="command")
    world.entry("event", f"{SWITCH}.position", value=int(OPEN if position == "open" else CLOSED))


def test_c104__reads_gets_events_and_commands(tmp_path: Path) -> None:
    pytest.importorskip("c104")
    with live_world(tmp_path, world_text("latency: 5 ms")) as world:
        interrogated(world)
        place, ioa = world.addresses[STATION], {name: world.point(name).address.ioa for name in NAMES}
        setup = {
            "ip": place.host,
            "port": place.port,
            "ca": place.number,
            "points": [[ioa["N6.v_kv"], "M_ME_NC_1"], [ioa[f"{SWITCH}.position"], "M_DP_TB_1"]],
            "commands": [[ioa[f"{SWITCH}.operate"], "C_DC_NA_1", "select"]],
        }
        with LinePeer(C104_CLIENT, json.dumps(setup)) as master:
            master.wait(lambda row: row["event"] == "state" and row["state"] == "OPEN")
            master.tell(do="interrogate")
            voltage = master.wait(lambda row: row["event"] == "point" and row["ioa"] == ioa["N6.v_kv"])
            assert 18.0 < voltage["value"] < 22.0
            master.tell(do="command", ioa=ioa[f"{SWITCH}.operate"], value=OPEN)
            seen = master.wait(lambda row: row["event"] == "point" and row["value"] == OPEN)
            assert EPOCH < seen["recorded_at"] < EPOCH + 600
            assert seen["cause"] == "SPONTANEOUS"
            moved(world, "open")


NAMES = ("N6.v_kv", f"{SWITCH}.position", f"{SWITCH}.operate")


def dnp3(world: LiveWorld) -> dict[str, Dnp3Address]:
    points = world.preparation.derivation.points.of_station(STATION)
    return assigned((p.name, p.kind.value, p.dnp3) for p in points)


def test_opendnp3__reads_gets_events_and_commands(tmp_path: Path) -> None:
    pytest.importorskip("opendnp3")
    text = world_text("latency: 5 ms, protocol: dnp3, dnp3: {other_masters: [7]}")
    with live_world(tmp_path, text) as world, LinePeer(OPENDNP3_MASTER) as master:
        interrogated(world)
        place, address = world.addresses[STATION], dnp3(world)
        master.tell(
            host=place.host,
            port=place.port,
            master=7,
            outstation=place.number,
            retry_ms=100,
            most_retry_ms=1_000,
            keep_alive_ms=60_000,
            response_timeout_ms=20_000,
            time_sync="None",
            polls=[],
            offset_ms=0,
        )
        voltage, position = address["N6.v_kv"], address[f"{SWITCH}.position"]
        read = master.wait(lambda row: row["t"] == "values" and row["group"] == 30 and not row["event"])
        assert next(18.0 < value < 22.0 for index, value, *_ in read["items"] if index == voltage.index)
        master.wait(lambda row: row["t"] == "task" and row["task"] == "STARTUP_INTEGRITY_POLL")
        operate = address[f"{SWITCH}.operate"]
        order = {"group": operate.group, "index": operate.index, "operation": 1, "trip_close": 2, "on_ms": 200}
        since = len(master.rows)
        master.tell(do="select_and_operate", id=1, **order)
        answer = master.wait(lambda row: row["t"] == "command")
        assert (answer["summary"], answer["points"][0][2]) == ("SUCCESS", 0)
        event = master.wait(
            lambda row: row["t"] == "values" and row["group"] == 4 and row["items"][-1][:2] == [position.index, 1],
            since,
        )
        assert EPOCH < event["items"][-1][3] / 1_000 < EPOCH + 600
        moved(world, "open")


def modbus(world: LiveWorld) -> dict[str, ModbusAddress]:
    points = with_places(world.preparation.derivation.points.of_station(STATION))
    return {point.name: point.modbus for point in points if point.modbus is not None}


def test_pymodbus__reads_and_commands(tmp_path: Path) -> None:
    with live_world(tmp_path, world_text("latency: 5 ms, protocol: modbus")) as world:
        interrogated(world)
        place, address = world.addresses[STATION], modbus(world)
        client = ModbusTcpClient(place.host, port=place.port, timeout=30)
        assert client.connect()
        try:
            registers = client.read_input_registers(address["N6.v_kv"].register, count=2, device_id=place.number)
            (voltage,) = struct.unpack(">f", struct.pack(">HH", *registers.registers))
            assert 18.0 < voltage < 22.0
            where = address[f"{SWITCH}.position"].register
            bits = client.read_discrete_inputs(where, count=2, device_id=place.number).bits[:2]
            answer = client.write_coil(address[f"{SWITCH}.operate"].register, False, device_id=place.number)
            assert not answer.isError()
            moved(world, "open")
            after = client.read_discrete_inputs(where, count=2, device_id=place.number).bits[:2]
            assert after == bits[::-1]
        finally:
            client.close()


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll is not installed")
def test_mbpoll__reads_and_commands(tmp_path: Path) -> None:
    with live_world(tmp_path, world_text("protocol: modbus")) as world:
        interrogated(world)
        place, address = world.addresses[STATION], modbus(world)
        command = ["mbpoll", "-m", "tcp", "-p", str(place.port), "-a", str(place.number), "-0", "-o", "10", "-1"]
        voltage = [*command, "-t", "3:float", "-B", "-r", str(address["N6.v_kv"].register), place.host]
        said = subprocess.run(voltage, capture_output=True, text=True, check=True).stdout
        assert 18.0 < float(re.findall(r"^\[\d+\]:\s+(\S+)", said, re.MULTILINE)[0]) < 22.0
        write = [*command[:-1], "-t", "0", "-r", str(address[f"{SWITCH}.operate"].register), place.host, "0"]
        subprocess.run(write, capture_output=True, check=True)
        moved(world, "open")


def test_addresses__are_where_the_scenario_says_each_time(tmp_path: Path) -> None:
    """Ports follow one another from the first; a station of its own address and port keeps it."""
    with live_world(tmp_path, world_text("latency: 0 s")) as world:
        free = sorted(row.port for row in world.addresses.values())[0]
        assert {row.host for row in world.addresses.values()} == {"127.0.0.1"}
    text = scenario(
        duration="10 min",
        flisr="mode: off",
        stations=f"RTU_3: {{address: 127.9.9.9, port: {free}}}",
        extra=f"listen: {{address: 127.8.7.6, port: {free}}}",
    )
    with live_world(tmp_path, text) as world:
        names = list(world.addresses)
        for n, row in enumerate(world.addresses.values()):
            other = row.station == "RTU_3"
            assert (row.host, row.port) == (("127.9.9.9", free) if other else ("127.8.7.6", free + n))
        told = json.loads((tmp_path / "results" / "addresses.json").read_text())["stations"]
        assert [row["station"] for row in told] == names


def test_one_in_control__a_foreign_master_observes_and_its_command_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("c104")
    with live_world(tmp_path, world_text("iec104: {one_in_control: true}")) as world:
        interrogated(world)
        place, ioa = world.addresses[STATION], {name: world.point(name).address.ioa for name in NAMES}
        setup = {
            "ip": place.host,
            "port": place.port,
            "ca": place.number,
            "points": [[ioa["N6.v_kv"], "M_ME_NC_1"]],
            "commands": [[ioa[f"{SWITCH}.operate"], "C_DC_NA_1", "select"]],
        }
        with LinePeer(C104_CLIENT, json.dumps(setup)) as master:
            master.wait(lambda row: row["event"] == "state" and row["state"] == "OPEN")
            master.tell(do="interrogate")
            master.wait(lambda row: row["event"] == "point" and 18.0 < row["value"] < 22.0)
            master.tell(do="command", ioa=ioa[f"{SWITCH}.operate"], value=OPEN)
            answer = master.wait(lambda row: row["event"] == "done" and row["order"]["do"] == "command")
            assert answer["success"] is False
        assert not world.those("command_received", STATION)
