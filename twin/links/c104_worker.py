"""The process in which c104 (lib60870, GPL-3) runs; started by ``c104``, never imported by the twin.

One JSON argument: ``{"ip", "port", "commands": [[ca, ioa, type name, select]], "limit_ms"}``. Orders come as JSON
lines on standard input; what it sees goes out as JSON lines: ``state``, ``raw`` (frames of the station), ``sent``.
It ends with its input.

Annotations must stay as they are: c104 compares those of callbacks with its classes, so that
``from __future__ import annotations`` is not possible here.
"""

import json
import os
import select
import sys
import threading
from typing import Any

import c104

WATCH_S = 0.2
LIBRARY: Any = c104
_LOCK = threading.Lock()


def say(**row: Any) -> None:
    """One line for the twin."""
    with _LOCK:
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()


def on_raw(connection: c104.Connection, data: bytes) -> None:
    """A frame of the station, as it came."""
    say(event="raw", octets=bytes(data).hex())


def on_state(connection: c104.Connection, state: c104.ConnectionState) -> None:
    """The connection changed."""
    say(event="state", state=state.name)


# Byte32 made of a number loses it (c104 2.2.1), made of octets it does not
_VALUES: dict[str, Any] = {
    "C_SC": lambda value: c104.SingleCmd(on=bool(value)),
    "C_DC": lambda value: c104.DoubleCmd(state=c104.Double.ON if value == 2 else c104.Double.OFF),
    "C_RC": lambda value: c104.StepCmd(direction=c104.Step.HIGHER if value > 0 else c104.Step.LOWER),
    "NA_1 C_SE": lambda value: c104.NormalizedCmd(target=c104.NormalizedFloat(value)),
    "NB_1 C_SE": lambda value: c104.ScaledCmd(target=c104.Int16(round(value))),
    "NC_1 C_SE": lambda value: c104.ShortCmd(target=value),
    "C_BO": lambda value: c104.BinaryCmd(blob=c104.Byte32(round(value).to_bytes(4, "little"))),
}


def command_of(type_name: str, value: float) -> Any:
    """The library's object for a command's value."""
    stem, variant = type_name[:4], type_name[5:]
    return _VALUES[f"{variant} {stem}" if stem == "C_SE" else stem](value)


class Worker:
    """One client with one connection."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self.client: Any = LIBRARY.Client(tick_rate_ms=100, command_timeout_ms=setup["limit_ms"])
        self.connection = self.client.add_connection(setup["ip"], setup["port"], init=c104.Init.NONE)
        self.connection.on_receive_raw(callable=on_raw)
        self.connection.on_state_change(callable=on_state)
        self.types = {(ca, ioa): name for ca, ioa, name, _ in setup["commands"]}
        self.points = {(ca, ioa): self._point(ca, ioa, name, sbo) for ca, ioa, name, sbo in setup["commands"]}
        self.running: list[threading.Thread] = []
        self.rest = b""

    def _point(self, ca: int, ioa: int, type_name: str, select_first: bool) -> Any:
        mode = c104.CommandMode.SELECT_AND_EXECUTE if select_first else c104.CommandMode.DIRECT
        station = self.connection.get_station(ca) or self.connection.add_station(ca)
        return station.add_point(ioa, getattr(c104.Type, type_name), command_mode=mode)

    def run(self) -> None:
        """Obey until the input ends; a connection that the library leaves muted is unmuted."""
        self.client.start()
        say(event="ready")
        try:
            while self._obey_next():
                if self.connection.state == c104.ConnectionState.OPEN_MUTED:
                    self.connection.unmute()
                self.running = [thread for thread in self.running if thread.is_alive()]
        finally:
            for thread in self.running:
                thread.join()
            self.client.stop()

    def _obey_next(self) -> bool:
        """Read past the buffer of standard input: what waits there would not wake ``select``."""
        if not select.select([0], [], [], WATCH_S)[0]:
            return True
        octets = os.read(0, 65_536)
        *lines, self.rest = (self.rest + octets).split(b"\n")
        for line in lines:
            self.obey(json.loads(line))
        return bool(octets)

    def obey(self, order: dict[str, Any]) -> None:
        """One order; commands wait for their answer in a thread of their own."""
        what, ca = order["do"], order["ca"]
        if what == "command":
            thread = threading.Thread(target=self.transmit, args=(order,))
            self.running.append(thread)
            thread.start()
        elif what == "interrogate":
            qualifier = LIBRARY.Qoi(order["qualifier"])
            self.connection.interrogation(ca, c104.Cot.ACTIVATION, qualifier, wait_for_response=False)
        elif what == "counters":
            request, freeze = LIBRARY.Rqt(order["request"]), LIBRARY.Frz(order["freeze"])
            self.connection.counter_interrogation(ca, c104.Cot.ACTIVATION, request, freeze, wait_for_response=False)
        elif what == "clock":
            self.connection.clock_sync(ca, wait_for_response=False)

    def transmit(self, order: dict[str, Any]) -> None:
        """Send a command; what the library thinks of it is only told, the frames say what happened."""
        key = order["ca"], order["ioa"]
        point = self.points[key]
        point.info = command_of(self.types[key], order["value"])
        done = point.transmit(c104.Cot.ACTIVATION)
        say(event="sent", ioa=order["ioa"], success=bool(done))


if __name__ == "__main__":
    Worker(json.loads(sys.argv[1])).run()
