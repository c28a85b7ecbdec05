"""All three protocols, both roles: octets one by one, coalesced, and connections cut at every octet of a dialogue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from twin.links.dnp3 import Dnp3MasterSession
from twin.links.iec104 import Iec104MasterSession
from twin.links.modbus import ModbusMasterSession
from twin.links.modbus_scan import ModbusLinkSettings
from twin.links.model import ArrivedSample, CommandReply, LinkCommand, LinkEvent, ReplyKind, SessionEvent, SessionState
from twin.outstations.dnp3 import Dnp3Outstation
from twin.outstations.iec104 import Iec104Outstation
from twin.outstations.modbus import ModbusOutstation
from twin.outstations.model import StationCommand
from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.timebase import TimeBase

PROTOCOLS = ("iec104", "dnp3", "modbus")
WITH_EVENTS = ("iec104", "dnp3")
BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
STATION = "RTU_1"
STEP_MS = 500


def point(name: str, kind: PointKind, ioa: int, type_id: int, **more: Any) -> PointDefinition:
    return PointDefinition(STATION, name, kind, "CB_1", name, PointAddress(1, ioa, type_id), **more)


POINTS = [
    point("position", PointKind.DOUBLE, 1, 31),
    point("i_a", PointKind.MEASURAND, 2, 36),
    point("operate", PointKind.DOUBLE_COMMAND, 3, 46),
    point("target", PointKind.SETPOINT, 4, 50, control_model=ControlModel.DIRECT),
]


class Device:
    def __init__(self) -> None:
        self.operated: list[tuple[str, float]] = []
        self.tickets: list[int] = []

    def select(self, command: StationCommand, now: int) -> str:
        return ""

    def operate(self, command: StationCommand, now: int) -> str:
        self.operated.append((command.point, command.value))
        self.tickets.append(command.ticket)
        return ""

    def cancel(self, command: StationCommand, now: int) -> None:
        """Nothing was begun."""


def sides(protocol: str, device: Device) -> tuple[Any, Any]:
    """A station and a link."""
    if protocol == "modbus":
        settings = ModbusLinkSettings(poll_ms=STEP_MS, measurand_poll_ms=STEP_MS)
        return ModbusOutstation(STATION, POINTS, device), ModbusMasterSession(STATION, POINTS, settings)
    if protocol == "dnp3":
        return Dnp3Outstation(STATION, POINTS, device, BASE), Dnp3MasterSession(STATION, POINTS, BASE)
    return Iec104Outstation(STATION, POINTS, device, BASE), Iec104MasterSession(STATION, POINTS, BASE)


class Wire:
    """Station and link; what they say arrives in pieces, and no more than ``cut`` octets of one side."""

    def __init__(self, protocol: str, chunk: int = 0, cut: dict[str, int] | None = None) -> None:
        self.protocol, self.chunk = protocol, chunk
        self.device = Device()
        self.station, self.link = sides(protocol, self.device)
        self.left = cut or {}
        self.carried = {"station": 0, "link": 0}
        self.events: list[LinkEvent] = []
        self.number = 0
        self.cuts = 0
        self.now = 0
        self.connect()

    def connect(self) -> None:
        self.session = self.station.open_session(self.now)
        self.link.connected(self.now)
        self.exchange()

    def exchange(self) -> None:
        """Until both are silent."""
        while True:
            there, back = self.link.payload_to_send(), self.session.payload_to_send()
            if not there and not back:
                break
            alive = self._carry("link", there, self.session.receive) and self._carry("station", back, self.link.receive)
            if not alive or self.session.close_reason or self.link.close_reason:
                self.reconnect()
                break
        self.events += self.link.take_events()

    def _carry(self, sender: str, octets: bytes, receive: Callable[[bytes, int], None]) -> bool:
        """Hand octets over; False if the connection ends with them."""
        whole = len(octets)
        octets = octets[: self.left.get(sender, whole)]
        step = self.chunk or max(len(octets), 1)
        for at in range(0, len(octets), step):
            receive(octets[at : at + step], self.now)
        self.carried[sender] += len(octets)
        if sender in self.left:
            self.left[sender] -= len(octets)
            if len(octets) < whole:
                del self.left[sender]
                return False
        return True

    def reconnect(self) -> None:
        self.cuts += 1
        self.station.close_session(self.session, self.now)
        self.link.disconnected(self.now, "cut")
        self.connect()

    def wait(self) -> None:
        """The timers of one step."""
        self.now += STEP_MS
        for side in (self.session, self.link):
            if side.next_timer() <= self.now:
                side.tick(self.now)
        self.exchange()

    def happen(self, name: str, value: float) -> None:
        self.now += 1
        self.station.update([Sample(STATION, name, value, Quality.GOOD, self.now)], self.now)

    def order(self, verb: str, name: str, value: float) -> None:
        self.number += 1
        command = LinkCommand(self.number, STATION, name, value)
        getattr(self.link, verb)(command, self.now)
        self.exchange()

    def dialogue(self) -> Wire:
        """Start, events one after the other and together, a selected and a direct command."""
        self.wait()
        self.happen("position", 1.0)
        self.exchange()
        self.wait()
        for n in range(1, 4):
            self.happen("i_a", float(n))
        self.happen("position", 2.0)
        self.exchange()
        self.wait()
        self.order("select", "operate", 1.0)
        self.number -= 1
        self.wait()
        self.order("operate", "operate", 1.0)
        self.order("operate", "target", 12.5)
        for ticket in self.device.tickets:
            self.station.finished(ticket, True, self.now)
        self.exchange()
        for _ in range(3):
            self.wait()
        return self

    def values(self, name: str) -> list[float]:
        return [e.sample.value for e in self.events if isinstance(e, ArrivedSample) and e.sample.point == name]

    def events_of(self, name: str) -> list[float]:
        """Spontaneous values, without repetitions of the one before."""
        found = [e.sample for e in self.events if isinstance(e, ArrivedSample) and e.sample.point == name]
        return [s.value for s in found if s.spontaneous]

    def interrogated(self) -> int:
        states = [e.state for e in self.events if isinstance(e, SessionEvent)]
        return states.count(SessionState.INTERROGATED)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_dialogue__is_the_same_in_pieces_of_any_size(protocol: str, chunk: int) -> None:
    whole, pieces = Wire(protocol).dialogue(), Wire(protocol, chunk).dialogue()
    assert pieces.events == whole.events
    assert pieces.device.operated == whole.device.operated == [("operate", 1.0), ("target", 12.5)]
    assert whole.interrogated() >= 1
    assert whole.values("position")[-1] == 2.0
    assert whole.values("i_a")[-1] == 3.0
    kinds = [e.kind for e in whole.events if isinstance(e, CommandReply)]
    assert kinds.count(ReplyKind.SELECTED) == 1
    assert kinds.count(ReplyKind.ACTIVATED) == 2


@pytest.mark.parametrize("protocol", WITH_EVENTS)
def test_events__coalesced_into_one_delivery_are_all_there(protocol: str) -> None:
    wire = Wire(protocol)
    wire.wait()
    payload = b""
    for n in range(1, 30):
        wire.happen("i_a", float(n))
        payload += wire.session.payload_to_send()
    wire.link.receive(payload, wire.now)
    for _ in range(40):
        wire.exchange()
        wire.wait()
    assert wire.events_of("i_a") == [float(n) for n in range(1, 30)]


def octets_of(protocol: str, sender: str) -> int:
    return Wire(protocol).dialogue().carried[sender]


@pytest.mark.parametrize("sender", ["station", "link"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_connection__cut_at_every_octet_begins_anew_and_loses_no_event(protocol: str, sender: str) -> None:
    for at in range(octets_of(protocol, sender)):
        wire = Wire(protocol, cut={sender: at}).dialogue()
        assert wire.cuts == 1, at
        for _ in range(3):
            wire.wait()
        assert wire.interrogated() >= 1, at
        assert wire.values("position")[-1] == 2.0, at
        assert wire.values("i_a")[-1] == 3.0, at
        if protocol in WITH_EVENTS:
            assert set(wire.events_of("i_a")) == {1.0, 2.0, 3.0}, at
            assert set(wire.events_of("position")) >= {1.0, 2.0}, at
        assert wire.device.operated.count(("operate", 1.0)) <= 1, "a command is never repeated"
        assert wire.device.operated.count(("target", 12.5)) <= 1
