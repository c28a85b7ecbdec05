"""An opendnp3 master in a process of its own: orders in, what it read and was told out, as JSON lines."""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

import opendnp3

HOST, PORT, ADDRESS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
_lock = threading.Lock()
_lines = os.fdopen(os.dup(1), "w", buffering=1)
MS = opendnp3.TimeDuration.Milliseconds


def tell(**row: Any) -> None:
    with _lock:
        _lines.write(json.dumps(row) + "\n")


def number(value: Any) -> float:
    if hasattr(value, "ToBytes"):
        return float(int.from_bytes(value.ToBytes(), "little"))
    found = value.value
    return float(found.value if hasattr(found, "value") else found)


class Seen(opendnp3.ISOEHandler):
    def BeginFragment(self, info: Any) -> None:
        pass

    def EndFragment(self, info: Any) -> None:
        pass

    def Process(self, info: Any, values: Any) -> None:
        name = str(info.gv).rpartition("Group")[2]
        for v in values:
            flags = v.value.flags.value if hasattr(v.value, "flags") else None
            at = v.value.time.value if hasattr(v.value, "time") else 0
            row = {"object": name, "index": v.index, "value": number(v.value), "flags": flags, "at": int(at)}
            tell(event="value", is_event=bool(info.isEventVariation), **row)


class Application(opendnp3.IMasterApplication):
    def AssignClassDuringStartup(self) -> bool:
        return False

    def OnReceiveIIN(self, iin: Any) -> None:
        tell(event="iin", value=int(iin.LSB) | int(iin.MSB) << 8)

    def OnTaskComplete(self, info: Any) -> None:
        tell(event="task", task=info.type.name, result=info.result.name)


def header(group: int, variation: int, *range_: int) -> Any:
    if range_:
        return opendnp3.Header.Range16(group, variation, *range_)
    return opendnp3.Header.AllObjects(group, variation)


ANALOGS = {
    1: lambda v: opendnp3.AnalogOutputInt32(int(v)),
    2: lambda v: opendnp3.AnalogOutputInt16(int(v)),
    3: opendnp3.AnalogOutputFloat32,
    4: opendnp3.AnalogOutputDouble64,
}


def control(order: dict[str, Any]) -> Any:
    if "variation" in order:
        return ANALOGS[order["variation"]](order["value"])
    operation, code = opendnp3.OperationType(order["operation"]), opendnp3.TripCloseCode(order["code"])
    return opendnp3.ControlRelayOutputBlock(operation, code, False, order.get("count", 1), 150, 50)


def obey(order: dict[str, Any], master: Any, seen: Any) -> None:
    what = order["do"]
    if what == "scan":
        master.Scan([header(*h) for h in order["headers"]], seen)
    elif what == "freeze":
        master.Freeze(getattr(opendnp3.FreezeType, order["type"]), [header(*h) for h in order["headers"]])
    elif what == "function":
        code = getattr(opendnp3.FunctionCode, order["code"])
        master.PerformFunction(what, code, [header(*h) for h in order["headers"]])
    elif what == "restart":
        master.Restart(getattr(opendnp3.RestartType, order["type"]), lambda result: tell(event="restarted"))
    else:
        send = master.SelectAndOperate if what == "select" else master.DirectOperate

        def done(result: Any) -> None:
            points = [[p.index, p.state.name, int(p.status.value)] for p in result.to_list()]
            tell(event="command", summary=result.summary.name, points=points)

        send(control(order), order["index"], done)


def main() -> None:
    manager = opendnp3.DNP3Manager(1)
    retry = opendnp3.ChannelRetry(MS(100), MS(1000))
    endpoint = [opendnp3.IPEndpoint(HOST, PORT)]
    channel = manager.AddTCPClient("link", opendnp3.levels.NOTHING, retry, endpoint, "0.0.0.0", None)
    config = opendnp3.MasterStackConfig()
    config.link.LocalAddr, config.link.RemoteAddr = 1, ADDRESS
    config.master.responseTimeout = MS(20_000)
    config.master.disableUnsolOnStartup = True
    seen, application = Seen(), Application()
    master = channel.AddMaster("master", seen, application, config)
    master.Enable()
    tell(event="ready")
    for line in sys.stdin:
        obey(json.loads(line), master, seen)
    manager.Shutdown()


main()
