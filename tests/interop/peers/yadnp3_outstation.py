"""An opendnp3 outstation in a process of its own: orders in, what it was told out, as JSON lines."""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

import opendnp3

HOST, PORT, ADDRESS, POINTS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
_lock = threading.Lock()
_lines = os.fdopen(os.dup(1), "w", buffering=1)


def tell(**row: Any) -> None:
    with _lock:
        _lines.write(json.dumps(row) + "\n")


class Commands(opendnp3.ICommandHandler):
    """Takes even indexes, refuses index 1 as local, knows no others."""

    def Begin(self) -> None:
        pass

    def End(self) -> None:
        pass

    def Select(self, command: Any, index: int) -> Any:
        return self._answer("select", command, index)

    def Operate(self, command: Any, index: int, handler: Any, kind: Any) -> Any:
        return self._answer("operate", command, index)

    def _answer(self, verb: str, command: Any, index: int) -> Any:
        status = opendnp3.CommandStatus
        crob = isinstance(command, opendnp3.ControlRelayOutputBlock)
        value = [int(command.opType.value), int(command.tcc.value)] if crob else command.value
        tell(verb=verb, kind=type(command).__name__, index=index, value=value)
        if index == 1:
            return status.LOCAL
        return status.SUCCESS if index % 2 == 0 else status.NOT_SUPPORTED


class Application(opendnp3.IOutstationApplication):
    """Asks for the time until it is given."""

    has_time = False

    def SupportsWriteAbsoluteTime(self) -> bool:
        return True

    def WriteAbsoluteTime(self, at: Any) -> bool:
        self.has_time = True
        tell(verb="time", value=at.msSinceEpoch)
        return True

    def GetApplicationIIN(self) -> Any:
        iin = opendnp3.ApplicationIIN()
        iin.needTime = not self.has_time
        return iin


def double(value: float, flags: int, at: Any) -> Any:
    """The binding has no constructor with flags; those of a fresh one hold the state."""
    made = opendnp3.DoubleBitBinary(opendnp3.DoubleBit(int(value)))
    made.flags = opendnp3.Flags(made.flags.value & 0xC0 | flags)
    made.time = at
    return made


_MAKE = {
    "binary": lambda v, f, t: opendnp3.Binary(bool(v), opendnp3.Flags(f), t),
    "double": double,
    "analog": lambda v, f, t: opendnp3.Analog(float(v), opendnp3.Flags(f), t),
    "counter": lambda v, f, t: opendnp3.Counter(int(v), opendnp3.Flags(f), t),
}


def main() -> None:
    manager = opendnp3.DNP3Manager(1)
    endpoint = opendnp3.IPEndpoint(HOST, PORT)
    mode = opendnp3.ServerAcceptMode.CloseNew
    channel = manager.AddTCPServer("station", opendnp3.levels.NOTHING, mode, endpoint, None)
    config = opendnp3.OutstationStackConfig(opendnp3.DatabaseConfig(POINTS))
    config.link.LocalAddr, config.link.RemoteAddr = ADDRESS, 1
    config.outstation.eventBufferConfig = opendnp3.EventBufferConfig.AllTypes(10_000)
    config.outstation.params.allowUnsolicited = True
    commands, application = Commands(), Application()
    station = channel.AddOutstation("station", commands, application, config)
    station.Enable()
    tell(verb="ready")
    for line in sys.stdin:
        builder = opendnp3.UpdateBuilder()
        for kind, index, value, flags, t_ms in json.loads(line):
            builder.Update(_MAKE[kind](value, flags, opendnp3.DNPTime(t_ms)), index)
        station.Apply(builder.Build())
    manager.Shutdown()


main()
