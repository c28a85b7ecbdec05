"""A foreign IEC 60870-5-104 station for the interop tests: c104, in a process of its own.

One JSON argument: ``{"ip", "port", "ca", "points": [[ioa, type]], "commands": [[ioa, type, "direct" | "select"]]}``.
Reads one JSON order a line from standard input, writes what it sees as JSON lines; ends with its input.
No ``from __future__ import annotations``: c104 compares the annotations of callbacks with its classes.
"""

import datetime
import json
import sys
import threading
from typing import Any

import c104

LOCK = threading.Lock()
RULE = {"refuse": False}


def say(**row: Any) -> None:
    with LOCK:
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()


def number(value: Any) -> float:
    return float(int(str(value), 2)) if isinstance(value, c104.Byte32) else float(getattr(value, "value", value))


def on_command(point: c104.Point, previous_info: c104.Information, message: c104.IncomingMessage) -> c104.ResponseState:
    say(event="command", ioa=point.io_address, value=number(point.value))
    refused = RULE["refuse"] or number(point.value) == 66.0
    return c104.ResponseState.FAILURE if refused else c104.ResponseState.SUCCESS


def on_clock(server: c104.Server, ip: str, date_time: datetime.datetime) -> c104.ResponseState:
    say(event="clock", at=date_time.timestamp())
    return c104.ResponseState.SUCCESS


def main() -> None:
    setup = json.loads(sys.argv[1])
    server = c104.Server(setup["ip"], setup["port"], tick_rate_ms=100, select_timeout_ms=10000)
    server.on_clock_sync(callable=on_clock)
    station = server.add_station(setup["ca"])
    for ioa, name in setup["points"]:
        station.add_point(ioa, getattr(c104.Type, name))
    modes = {"direct": c104.CommandMode.DIRECT, "select": c104.CommandMode.SELECT_AND_EXECUTE}
    for ioa, name, mode in setup["commands"]:
        point = station.add_point(ioa, getattr(c104.Type, name), command_mode=modes[mode])
        point.on_receive(callable=on_command)
    server.start()
    say(event="listening")
    try:
        for line in sys.stdin:
            obey(json.loads(line), station)
    finally:
        server.stop()


def obey(order: dict[str, Any], station: Any) -> None:
    if "refuse" in order:
        RULE["refuse"] = order["refuse"]
        say(event="done", order=order, success=True)
        return
    point = station.get_point(order["ioa"])
    at = order.get("at")
    stamp = {} if at is None else {"recorded_at": datetime.datetime.fromtimestamp(at, datetime.UTC)}
    quality = c104.Quality(order.get("quality", 0))
    if "double" in order:
        point.info = c104.DoubleInfo(getattr(c104.Double, order["double"]), quality, **stamp)
    elif "single" in order:
        point.info = c104.SingleInfo(order["single"], quality, **stamp)
    elif "step" in order:
        point.info = c104.StepInfo(c104.Int7(order["step"]), False, quality, **stamp)
    elif "normalized" in order:
        point.info = c104.NormalizedInfo(c104.NormalizedFloat(order["normalized"]), quality, **stamp)
    elif "scaled" in order:
        point.info = c104.ScaledInfo(c104.Int16(order["scaled"]), quality, **stamp)
    elif "bits" in order:
        # Byte32 made of a number loses it (c104 2.2.1), made of octets it does not
        point.info = c104.BinaryInfo(c104.Byte32(order["bits"].to_bytes(4, "little")), quality, **stamp)
    elif "count" in order:
        flags = c104.BinaryCounterQuality(order.get("quality", 0))
        sequence = c104.UInt5(order["sequence"])
        point.info = c104.BinaryCounterInfo(order["count"], sequence, flags, **stamp)
    elif "states" in order:
        states, changed = (c104.PackedSingle(order[name]) for name in ("states", "changed"))
        point.info = c104.StatusAndChanged(states, changed, quality, **stamp)
    elif "event" in order:
        state = [None, c104.EventState.OFF, c104.EventState.ON][order["event"]]
        point.info = c104.ProtectionEventInfo(state, c104.UInt16(order["ms"]), quality, **stamp)
    elif "starts" in order:
        starts, duration = c104.StartEvents(order["starts"]), c104.UInt16(order["ms"])
        point.info = c104.ProtectionStartInfo(starts, duration, quality, **stamp)
    elif "circuits" in order:
        circuits, operating = c104.OutputCircuits(order["circuits"]), c104.UInt16(order["ms"])
        point.info = c104.ProtectionCircuitInfo(circuits, operating, quality, **stamp)
    else:
        point.info = c104.ShortInfo(order["short"], quality, **stamp)
    done = point.transmit(c104.Cot.SPONTANEOUS) if order["send"] else True
    say(event="done", order=order, success=bool(done))


main()
