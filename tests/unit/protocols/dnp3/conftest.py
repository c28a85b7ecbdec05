"""A station with every kind of point, a raw master that speaks fragments to it, and our own session in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from twin.links.dnp3 import Dnp3LinkSettings, Dnp3MasterSession
from twin.outstations.dnp3 import Dnp3Outstation, Dnp3OutstationSession, Dnp3OutstationSettings
from twin.outstations.model import StationCommand
from twin.points.dnp3 import Dnp3Address
from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.protocols.dnp3 import (
    Fragment,
    FrameDecoder,
    LinkEnd,
    LinkSettings,
    ObjectHeader,
    decode_fragment,
    encode_fragment,
    parse_headers,
)
from twin.timebase import SimTime, TimeBase

BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
EPOCH_MS = int(BASE.start.timestamp()) * 1000
STATION, MASTER = 1024, 1


def point(name: str, kind: PointKind, ioa: int, **more: Any) -> PointDefinition:
    return PointDefinition("RTU_1", name, kind, "CB_1", name, PointAddress(STATION, ioa, 1), **more)


POINTS = (
    point("trip", PointKind.SINGLE, 1),
    point("spring", PointKind.SINGLE, 2),
    point("position", PointKind.DOUBLE, 3),
    *(point(f"i_{n}", PointKind.MEASURAND, 10 + n, dead_band=0.5) for n in range(4)),
    point("tap", PointKind.STEP_POSITION, 30),
    point("energy", PointKind.COUNTER, 40),
    point("far", PointKind.MEASURAND, 50, dnp3=Dnp3Address(30, 300, 1, 3, 3)),
    point("operate", PointKind.DOUBLE_COMMAND, 60),
    point("lamp", PointKind.SINGLE_COMMAND, 61, control_model=ControlModel.DIRECT),
    point("step", PointKind.STEP_COMMAND, 62, control_model=ControlModel.DIRECT),
    point("target", PointKind.SETPOINT, 63, control_model=ControlModel.DIRECT),
)


@dataclass
class Device:
    """Takes every command, unless ``refusal`` names a rule."""

    refusal: str = ""
    seen: list[tuple[str, str, float]] = field(default_factory=list)
    last: StationCommand | None = None

    def select(self, command: StationCommand, now: SimTime) -> str:
        return self._take("select", command)

    def operate(self, command: StationCommand, now: SimTime) -> str:
        return self._take("operate", command)

    def cancel(self, command: StationCommand, now: SimTime) -> None:
        self.seen.append(("cancel", command.point, command.value))

    def _take(self, verb: str, command: StationCommand) -> str:
        self.seen.append((verb, command.point, command.value))
        self.last = command
        return self.refusal


@dataclass(frozen=True)
class Said:
    """A fragment of the station with its objects."""

    fragment: Fragment
    headers: list[ObjectHeader]

    @property
    def iin(self) -> int:
        return int(self.fragment.iin or 0)

    @property
    def objects(self) -> list[str]:
        return [f"g{h.group}v{h.variation}" for h in self.headers]

    def items(self, group: int) -> list[tuple[int, float, int, int]]:
        return [item for h in self.headers if h.group == group for item in h.items()]


class RawMaster:
    """Speaks to a session of the station in fragments, and keeps its time."""

    def __init__(self, station: Dnp3Outstation, address: int = MASTER) -> None:
        self.station = station
        self.now = 1_000
        self.session: Dnp3OutstationSession = station.open_session(self.now)
        self.sequence = 0
        self.others: list[Said] = []
        self._link = LinkEnd(address, station.address, master=True, settings=LinkSettings(), now=0)
        self._decoder = FrameDecoder()

    def send(self, function: int, body: bytes = b"", *, sequence: int | None = None, unsolicited: bool = False) -> None:
        number = self.sequence if sequence is None else sequence
        self._link.send(encode_fragment(Fragment(function, number, body, unsolicited=unsolicited)), self.now)
        self.session.receive(self._link.take(), self.now)

    def hear(self) -> list[Said]:
        """What the station has said since the last time; link answers are given back to it."""
        fragments = []
        while octets := self.session.payload_to_send():
            for frame in self._decoder.receive(octets):
                fragment = self._link.receive(frame, self.now)
                if fragment is not None:
                    fragments.append(decode_fragment(fragment))
            self.session.receive(self._link.take(), self.now)
        return [Said(f, parse_headers(f.body, f.function)) for f in fragments]

    def ask(self, function: int, body: bytes = b"") -> Said:
        """Send a request and give its only response."""
        self.sequence = (self.sequence + 1) & 15
        self.others += self.hear()
        self.send(function, body)
        heard = self.hear()
        self.others += [s for s in heard if s.fragment.unsolicited]
        (said,) = (s for s in heard if not s.fragment.unsolicited)
        return said

    def take_others(self) -> list[Said]:
        """What came unsolicited beside responses."""
        others, self.others = self.others, []
        return others

    def confirm(self, said: Said) -> None:
        fragment = said.fragment
        self.send(0, sequence=fragment.sequence, unsolicited=fragment.unsolicited)

    def wait(self, ms: int) -> None:
        """Let time pass, running the station's timers."""
        end = self.now + ms
        while (due := self.session.next_timer()) <= end:
            self.now = max(self.now, due)
            self.session.tick(self.now)
        self.now = end

    def begin(self, *, unsolicited: bool = True) -> None:
        """Confirm the first unsolicited response, clear the restart, and enable all classes."""
        for said in (*self.take_others(), *self.hear()):
            if said.fragment.confirm:
                self.confirm(said)
        self.ask(2, bytes((80, 1, 0, 7, 7, 0)))
        if unsolicited:
            self.ask(20, bytes((60, 2, 6, 60, 3, 6, 60, 4, 6)))

    def change(self, name: str, value: float, *, t_ms: int | None = None, **more: Any) -> None:
        """A point of the station changes."""
        t_ms = self.now if t_ms is None else t_ms
        quality = more.pop("quality", Quality.GOOD)
        self.station.update([Sample("RTU_1", name, value, quality, t_ms, **more)], self.now)


@dataclass
class Pair:
    """A station and our master session, joined by nothing but time."""

    station: Dnp3Outstation
    device: Device
    master: Dnp3MasterSession
    now: SimTime = 1_000
    events: list[Any] = field(default_factory=list)
    session: Dnp3OutstationSession | None = None

    def connect(self) -> None:
        self.session = self.station.open_session(self.now)
        self.master.connected(self.now)
        self.carry()

    def carry(self, chunk: int = 0) -> None:
        """Hand over what both have to say, in pieces of ``chunk`` octets, until there is silence."""
        assert self.session is not None
        while True:
            down, up = self.master.payload_to_send(), self.session.payload_to_send()
            if not down and not up:
                break
            for octets, receive in ((down, self.session.receive), (up, self.master.receive)):
                step = chunk or max(len(octets), 1)
                for at in range(0, len(octets), step):
                    receive(octets[at : at + step], self.now)
        self.events += self.master.take_events()

    def pass_time(self, ms: int) -> None:
        assert self.session is not None
        self.carry()
        end = self.now + ms
        while (due := min(self.session.next_timer(), self.master.next_timer())) <= end:
            self.now = max(self.now, due)
            self.session.tick(self.now)
            self.master.tick(self.now)
            self.carry()
        self.now = end

    def change(self, *changes: tuple[str, float], **more: Any) -> None:
        samples = [Sample("RTU_1", name, value, Quality.GOOD, self.now, **more) for name, value in changes]
        self.station.update(samples, self.now)
        self.carry()


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def station(device: Device) -> Callable[..., Dnp3Outstation]:
    """Makes a station with these settings."""
    return lambda **settings: Dnp3Outstation("RTU_1", POINTS, device, BASE, Dnp3OutstationSettings(**settings))


@pytest.fixture
def raw(station: Callable[..., Dnp3Outstation]) -> Callable[..., RawMaster]:
    """Makes a raw master in front of a station with these settings."""
    return lambda **settings: RawMaster(station(**settings))


@pytest.fixture
def pair(station: Callable[..., Dnp3Outstation], device: Device) -> Callable[..., Pair]:
    """Makes a station and our session; settings of the station behind ``station_``."""

    def make(**settings: Any) -> Pair:
        ours = {key.removeprefix("station_"): value for key, value in settings.items() if key.startswith("station_")}
        link = {key: value for key, value in settings.items() if not key.startswith("station_")}
        master = Dnp3MasterSession("RTU_1", POINTS, BASE, Dnp3LinkSettings(**link))
        return Pair(station(**ours), device, master)

    return make
