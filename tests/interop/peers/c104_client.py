"""A foreign IEC 60870-5-104 master for the interop tests: c104, in a process of its own.

One JSON argument: ``{"ip", "port", "ca", "points": [[ioa, type]], "commands": [[ioa, type, "direct" | "select"]]}``.
Reads one JSON order a line from standard input, writes what it sees as JSON lines; ends with its input.
No ``from __future__ import annotations``: c104 compares the annotations of callbacks with its classes.
"""

import datetime
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


def further(info: Any) -> float:
    """What an element holds beside its value: change marks, or a time in milliseconds."""
    names = ("changed", "elapsed_ms", "relay_duration_ms", "relay_operating_ms")
    return next((number(getattr(info, name)) for name in names if hasattr(info, name)), 0.0)


def on_receive(point: c104.Point, previous_info: c104.Information, message: c104.IncomingMessage) -> c104.ResponseState:
    info = point.info
    recorded = info.recorded_at
    say(
        event="point",
        ioa=point.io_address,
        type=point.type.name,
        value=number(info.value),
        quality=int(number(info.quality)) if info.quality is not None else 0,
        further=further(info),
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
    client = c104.Client(tick_rate_ms=100, command_timeout_ms=2000)
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


def stamp(order: dict[str, Any]) -> dict[str, Any]:
    at = order.get("at")
    return {} if at is None else {"recorded_at": datetime.datetime.fromtimestamp(at, datetime.UTC)}


def qoc(number: int) -> Any:
    return {0: c104.Qoc.NONE, 1: c104.Qoc.SHORT_PULSE, 2: c104.Qoc.LONG_PULSE, 3: c104.Qoc.PERSISTENT}[number]


COMMANDS = {
    "C_SC_": lambda v, q, at: c104.SingleCmd(on=bool(v), qualifier=qoc(q), **at),
    "C_DC_": lambda v, q, at: c104.DoubleCmd(
        state=[None, c104.Double.OFF, c104.Double.ON][int(v)], qualifier=qoc(q), **at
    ),
    "C_RC_": lambda v, q, at: c104.StepCmd(
        direction=c104.Step.HIGHER if v > 0 else c104.Step.LOWER, qualifier=qoc(q), **at
    ),
    "C_BO_": lambda v, q, at: c104.BinaryCmd(blob=c104.Byte32(int(v).to_bytes(4, "little")), **at),
}
SETPOINTS = {
    "A": lambda v, q, at: c104.NormalizedCmd(target=c104.NormalizedFloat(v), qualifier=c104.UInt7(q), **at),
    "B": lambda v, q, at: c104.ScaledCmd(target=c104.Int16(int(v)), qualifier=c104.UInt7(q), **at),
    "C": lambda v, q, at: c104.ShortCmd(target=v, qualifier=c104.UInt7(q), **at),
}


def command_of(name: str) -> Any:
    """How the information of a command type is made: C_SE_NA_1 and C_SE_TA_1 differ in their sixth letter alone."""
    return SETPOINTS[name[6]] if name.startswith("C_SE") else COMMANDS[name[:5]]


def obey(order: dict[str, Any], connection: Any, station: Any, ca: int) -> None:
    if order["do"] == "interrogate":
        done = connection.interrogation(ca, qualifier=getattr(c104.Qoi, order.get("group", "STATION")))
    elif order["do"] == "clock":
        done = connection.clock_sync(ca)
    elif order["do"] == "counters":
        request, freeze = (
            getattr(c104.Rqt, order.get("group", "GENERAL")),
            getattr(c104.Frz, order.get("freeze", "READ")),
        )
        read = freeze == c104.Frz.READ  # the library would wait in vain for the termination of a freeze
        done = connection.counter_interrogation(ca, qualifier=request, freeze=freeze, wait_for_response=read)
    elif order["do"] == "test":
        done = connection.test(ca)
    elif order["do"] == "read":
        done = station.get_point(order["ioa"]).read()
    else:
        point = station.get_point(order["ioa"])
        point.info = command_of(point.type.name)(order["value"], order.get("qualifier", 0), stamp(order))
        done = point.transmit(c104.Cot.ACTIVATION)
    say(event="done", order=order, success=bool(done))


main()
