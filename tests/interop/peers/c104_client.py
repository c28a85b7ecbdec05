"""A foreign IEC 60870-5-104 master for the interop tests: c104, in a process of its own.

One JSON argument: ``{"ip", "port", "ca", "points": [[ioa, type]], "commands": [[ioa, type, "direct" | "select"]]}``.
Reads one JSON order a line from standard input, writes what it sees as JSON lines; ends with its input.
No ``from __future__ import annotations``: c104 compares the annotations of callbacks with its classes.
"""

import json
import select
import sys
import threading
from typing import Any

import c104

LOCK = threading.Lock()


def say(**row: Any) -> None:
    with LOCK:
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()


def number(value: Any) -> float:
    return float(int(str(value), 2)) if isinstance(value, c104.Byte32) else float(getattr(value, "value", value))


def on_receive(point: c104.Point, previous_info: c104.Information, message: c104.IncomingMessage) -> c104.ResponseState:
    info = point.info
    recorded = info.recorded_at
    say(
        event="point",
        ioa=point.io_address,
        type=point.type.name,
        value=number(info.value),
        quality=int(number(info.quality)) if info.quality is not None else 0,
        recorded_at=None if recorded is None else recorded.timestamp(),
        cause=message.cot.name,
    )
    return c104.ResponseState.SUCCESS


def on_raw(connection: c104.Connection, data: bytes) -> None:
    say(event="raw", octets=data.hex())


def on_state(connection: c104.Connection, state: c104.ConnectionState) -> None:
    say(event="state", state=state.name)


def main() -> None:
    setup = json.loads(sys.argv[1])
    client = c104.Client(tick_rate_ms=100, command_timeout_ms=8000)
    connection = client.add_connection(setup["ip"], setup["port"], init=c104.Init.NONE)
    connection.on_receive_raw(callable=on_raw)
    connection.on_state_change(callable=on_state)
    station = connection.add_station(setup["ca"])
    for ioa, name in setup["points"]:
        station.add_point(ioa, getattr(c104.Type, name)).on_receive(callable=on_receive)
    modes = {"direct": c104.CommandMode.DIRECT, "select": c104.CommandMode.SELECT_AND_EXECUTE}
    for ioa, name, mode in setup["commands"]:
        station.add_point(ioa, getattr(c104.Type, name), command_mode=modes[mode])
    client.start()
    try:
        serve(connection, station, setup["ca"])
    finally:
        client.stop()


def serve(connection: Any, station: Any, ca: int) -> None:
    while True:
        ready, _, _ = select.select([sys.stdin], [], [], 0.3)
        if connection.state == c104.ConnectionState.OPEN_MUTED:
            connection.unmute()  # the library sometimes never starts data transfer by itself
        if not ready:
            continue
        line = sys.stdin.readline()
        if not line:
            return
        obey(json.loads(line), connection, station, ca)


def obey(order: dict[str, Any], connection: Any, station: Any, ca: int) -> None:
    if order["do"] == "interrogate":
        done = connection.interrogation(ca)
    elif order["do"] == "clock":
        done = connection.clock_sync(ca)
    elif order["do"] == "counters":
        done = connection.counter_interrogation(ca)
    elif order["do"] == "test":
        done = connection.test(ca)
    elif order["do"] == "read":
        done = station.get_point(order["ioa"]).read()
    else:
        point = station.get_point(order["ioa"])
        point.value = getattr(c104.Double, order["double"]) if "double" in order else order["value"]
        done = point.transmit(c104.Cot.ACTIVATION)
    say(event="done", order=order, success=bool(done))


main()
