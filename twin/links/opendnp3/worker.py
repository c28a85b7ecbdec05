"""The process that holds opendnp3: orders come in as JSON lines, what the library saw goes out as JSON lines.

Run by :class:`twin.links.opendnp3.client.Opendnp3Client`, never inside the process of the twin. The first line is
the configuration; the process ends at the end of its input.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import opendnp3  # type: ignore[import-untyped]

_out = threading.Lock()
_LINES = os.fdopen(os.dup(1), "w", buffering=1)


def tell(**row: Any) -> None:
    """Write one line; called from the threads of the library too."""
    with _out:
        _LINES.write(json.dumps(row) + "\n")


_OCTET_STRING_EVENTS = 111


class SequenceOfEvents(opendnp3.ISOEHandler):  # type: ignore[misc]
    """Hands every value on; exceptions would be swallowed by the library, so there are none to make."""

    def __init__(self) -> None:
        super().__init__()
        self._unsolicited = False

    def BeginFragment(self, info: Any) -> None:  # noqa: N802
        self._unsolicited = bool(info.unsolicited)

    def EndFragment(self, info: Any) -> None:  # noqa: N802
        tell(t="fragment", unsolicited=self._unsolicited)

    def Process(self, info: Any, values: Any) -> None:  # noqa: N802
        name = str(info.gv).rpartition("Group")[2]
        group, _, variation = name.partition("Var")
        items = [_item(v) for v in values]
        event = bool(info.isEventVariation) or int(group) == _OCTET_STRING_EVENTS  # the library takes these for static
        tell(t="values", group=int(group), variation=int(variation), event=event, items=items)


def _item(indexed: Any) -> list[Any]:
    value = indexed.value
    number = getattr(value, "value", 0)
    if hasattr(value, "ToBytes"):  # an octet string, which has no flags and no time
        number = float(int.from_bytes(value.ToBytes(), "little"))
    number = int(number.value) if hasattr(number, "value") else float(number)
    flags = value.flags.value if hasattr(value, "flags") else 1
    at = value.time.value if hasattr(value, "time") else 0
    return [indexed.index, number, int(flags), int(at)]


class Application(opendnp3.IMasterApplication):  # type: ignore[misc]
    """Gives the library its clock and tells how its tasks went."""

    def __init__(self, offset_ms: int) -> None:
        super().__init__()
        self._offset_ms = offset_ms

    def Now(self) -> Any:  # noqa: N802
        return opendnp3.UTCTimestamp(int(time.time() * 1000) + self._offset_ms)

    def AssignClassDuringStartup(self) -> bool:  # noqa: N802
        return False

    def OnReceiveIIN(self, iin: Any) -> None:  # noqa: N802
        tell(t="iin", value=int(iin.LSB) | int(iin.MSB) << 8)

    def OnTaskComplete(self, info: Any) -> None:  # noqa: N802
        tell(t="task", task=info.type.name, result=info.result.name)


class Channel(opendnp3.IChannelListener):  # type: ignore[misc]
    """Tells whether the connection stands."""

    def OnStateChange(self, state: Any) -> None:  # noqa: N802
        tell(t="channel", state=state.name)


_ANALOGS = {
    1: opendnp3.AnalogOutputInt32,
    2: opendnp3.AnalogOutputInt16,
    3: opendnp3.AnalogOutputFloat32,
    4: opendnp3.AnalogOutputDouble64,
}


def control(order: dict[str, Any]) -> Any:
    """The library's object for a control."""
    if order["group"] == 41:
        number = order["value"]
        return _ANALOGS[order["variation"]](int(number) if order["variation"] < 3 else float(number))
    operation = opendnp3.OperationType(order["operation"])
    code = opendnp3.TripCloseCode(order["trip_close"])
    return opendnp3.ControlRelayOutputBlock(operation, code, False, 1, order["on_ms"], 0)


class Worker:
    """One channel with one master."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._manager = opendnp3.DNP3Manager(1)
        milliseconds = opendnp3.TimeDuration.Milliseconds
        retry = opendnp3.ChannelRetry(milliseconds(setup["retry_ms"]), milliseconds(setup["most_retry_ms"]))
        endpoint = [opendnp3.IPEndpoint(setup["host"], setup["port"])]
        self._listener = Channel()
        self._soe, self._application = SequenceOfEvents(), Application(setup["offset_ms"])
        channel = self._manager.AddTCPClient(
            "link", opendnp3.levels.NOTHING, retry, endpoint, "0.0.0.0", self._listener
        )
        config = opendnp3.MasterStackConfig()
        config.link.LocalAddr, config.link.RemoteAddr = setup["master"], setup["outstation"]
        config.link.KeepAliveTimeout = milliseconds(setup["keep_alive_ms"])
        config.master.responseTimeout = milliseconds(setup["response_timeout_ms"])
        config.master.timeSyncMode = getattr(opendnp3.TimeSyncMode, setup["time_sync"])
        self._master = channel.AddMaster("master", self._soe, self._application, config)
        self._scans = [self._scan(classes, period) for classes, period in setup["polls"]]
        self._master.Enable()

    def _scan(self, classes: list[int], period_ms: int) -> Any:
        field = opendnp3.ClassField(not classes, *(c in classes or not classes for c in (1, 2, 3)))
        return self._master.AddClassScan(field, opendnp3.TimeDuration.Milliseconds(period_ms), self._soe)

    def obey(self, order: dict[str, Any]) -> None:
        """Carry out one order."""
        verbs: dict[str, Callable[[dict[str, Any]], None]] = {
            "select_and_operate": self._command,
            "direct_operate": self._command,
            "scan": self._scan_once,
            "integrity": lambda _: self._master.ScanClasses(opendnp3.ClassField(True, True, True, True), self._soe),
            "restart": lambda _: self._master.Restart(opendnp3.RestartType.COLD, lambda result: None),
        }
        verbs[order["do"]](order)

    def _scan_once(self, order: dict[str, Any]) -> None:
        headers = [opendnp3.Header.AllObjects(group, variation) for group, variation in order["objects"]]
        self._master.Scan(headers, self._soe)

    def _command(self, order: dict[str, Any]) -> None:
        number = order["id"]

        def done(result: Any) -> None:
            points = [[p.index, p.state.name, int(p.status.value)] for p in result.to_list()]
            tell(t="command", id=number, summary=result.summary.name, points=points)

        direct = order["do"] == "direct_operate"
        send = self._master.DirectOperate if direct else self._master.SelectAndOperate
        send(control(order), order["index"], done)

    def stop(self) -> None:
        """End the library's threads."""
        self._manager.Shutdown()


def main() -> None:
    """Obey the lines of standard input until they end."""
    worker = Worker(json.loads(sys.stdin.readline()))
    tell(t="ready")
    for line in sys.stdin:
        worker.obey(json.loads(line))
    worker.stop()


if __name__ == "__main__":
    main()
