"""A station with every kind of point, its device, and masters made of bare connections."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from twin.outstations.iec104 import Iec104Outstation, Iec104OutstationSession, Iec104OutstationSettings
from twin.outstations.model import StationCommand
from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.protocols.iec104 import (
    Asdu,
    AsduReceived,
    Connection,
    ConnectionSettings,
    InformationObject,
    Role,
    TransferStopped,
)
from twin.protocols.iec104 import elements as e
from twin.timebase import TimeBase

BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
CA = 47


def point(name: str, kind: PointKind, ioa: int, type_id: int, ca: int = CA, **more: Any) -> PointDefinition:
    return PointDefinition(
        more.pop("station", "RTU_1"), name, kind, "CB_1", name, PointAddress(ca, ioa, type_id), **more
    )


POINTS = [
    point("trip", PointKind.SINGLE, 1, 1),
    point("position", PointKind.DOUBLE, 2, 3),
    point("tap", PointKind.STEP_POSITION, 3, 5),
    point("bits", PointKind.BITSTRING, 4, 7),
    point("share", PointKind.MEASURAND, 5, 9),
    point("scaled", PointKind.MEASURAND, 6, 11),
    point("i_a", PointKind.MEASURAND, 7, 13),
    point("energy", PointKind.COUNTER, 8, 15),
    point("export", PointKind.COUNTER, 9, 15),
    point("overflow", PointKind.SINGLE, 10, 30),
    point("close", PointKind.SINGLE_COMMAND, 101, 45, control_model=ControlModel.DIRECT),
    point("operate", PointKind.DOUBLE_COMMAND, 102, 46, feedback="position"),
    point("step", PointKind.STEP_COMMAND, 103, 47, control_model=ControlModel.DIRECT),
    point("share_target", PointKind.SETPOINT, 104, 48, control_model=ControlModel.DIRECT),
    point("scaled_target", PointKind.SETPOINT, 105, 49, control_model=ControlModel.DIRECT),
    point("target", PointKind.SETPOINT, 106, 50),
    point("word", PointKind.BITSTRING_COMMAND, 107, 51),
]


class Device:
    """Keeps what it is told; refuses while ``rule`` is set."""

    def __init__(self) -> None:
        self.rule = ""
        self.heard: list[tuple[str, str, str, float]] = []
        self.tickets: list[int] = []

    def select(self, command: StationCommand, now: int) -> str:
        return self._hear("select", command)

    def operate(self, command: StationCommand, now: int) -> str:
        self.tickets.append(command.ticket)
        return self._hear("operate", command)

    def cancel(self, command: StationCommand, now: int) -> None:
        self._hear("cancel", command)

    def _hear(self, what: str, command: StationCommand) -> str:
        self.heard.append((what, command.station, command.point, command.value))
        return self.rule


class Master:
    """A connection to one session of a station; what it gets comes at once."""

    def __init__(
        self, station: Iec104Outstation, now: int = 0, *, address: str = "", start: bool = True, **changes: int
    ) -> None:
        self.station = station
        self.session: Iec104OutstationSession = station.open_session(now, address)
        self.connection = Connection(Role.CONTROLLING, ConnectionSettings(**changes), now)
        self.got: list[Asdu] = []
        if start:
            self.start(now)

    def start(self, now: int) -> None:
        self.connection.start(now)
        self.exchange(now)

    def stop(self, now: int) -> None:
        self.connection.stop(now)
        self.exchange(now)

    def exchange(self, now: int) -> None:
        while True:
            there, back = self.connection.data_to_send(), self.session.payload_to_send()
            if not there and not back:
                return
            self.session.receive(there, now)
            events = self.connection.receive(back, now)
            self.got += [event.asdu for event in events if isinstance(event, AsduReceived)]
            assert not any(isinstance(event, TransferStopped) and event.unsent for event in events)

    def take(self, now: int = 0) -> list[Asdu]:
        self.exchange(now)
        got, self.got = self.got, []
        return got

    def ask(self, asdu: Asdu, now: int = 1) -> list[Asdu]:
        self.connection.send(asdu, now)
        return self.take(now)

    def values(self, now: int = 1) -> list[float]:
        """The values of the measured values that came."""
        return [o.element.value for asdu in self.take(now) if asdu.type_id in (13, 36) for o in asdu.objects]

    def leave(self, now: int) -> None:
        self.station.close_session(self.session, now)


def station(device: Device | None = None, points: list[PointDefinition] = POINTS, **changes: Any) -> Iec104Outstation:
    settings = Iec104OutstationSettings.model_validate(changes)
    return Iec104Outstation("RTU_1", points, device or Device(), BASE, settings)


def sample(
    name: str, value: float, at: int = 0, *, spontaneous: bool = True, quality: Quality = Quality.GOOD
) -> Sample:
    return Sample("RTU_1", name, value, quality, at, spontaneous)


def request(type_id: int, element: object = e.Empty(), cause: int = 6, ioa: int = 0, ca: int = CA, **more: Any) -> Asdu:
    return Asdu(type_id, cause, ca, (InformationObject(ioa, element, more.pop("time", None)),), **more)


def verdict(asdu: Asdu) -> tuple[int, bool]:
    return asdu.cause, asdu.negative


def verdicts(asdus: list[Asdu]) -> list[tuple[int, bool]]:
    return [verdict(asdu) for asdu in asdus]


def objects(asdus: list[Asdu]) -> list[tuple[int, object]]:
    return [(o.ioa, o.element) for asdu in asdus for o in asdu.objects]
