"""A toy feeder with three stations, and a SCADA core on it whose sessions are lists.

    SS ─ CB_1 ─ L1 ─ N1 ─ LBS_1 ─ L2 ─ N2 ─ DIS_1 ─ L3 ─ N3
         RTU_1            RTU_2             RTU_3

Lines L1 to L3 are rated 200 A; CB_1 is the feeder's breaker; LBS_2 stands at the far end of L3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twin.journal import JournalEntry
from twin.links.model import (
    ArrivedSample,
    CommandReply,
    LinkCommand,
    LinkEvent,
    ReplyKind,
    SessionEvent,
    SessionState,
)
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind, Quality, Sample, TimeSource
from twin.scada.authority import Originator, Role
from twin.scada.command_model import LinkAction
from twin.scada.front_end import FrontEnd, build_front_end
from twin.timebase import NEVER

OPEN, CLOSED, BETWEEN, FAULTY = 1.0, 2.0, 0.0, 3.0
DISPATCHER = Originator("anna", Role.DISPATCHER)

STATION_OF = {"CB_1": "RTU_1", "SS": "RTU_1", "LBS_1": "RTU_2", "N1": "RTU_2", "DIS_1": "RTU_3", "LBS_2": "RTU_3"}
INDICATIONS = ("trip", "reclose_active", "lockout", "spring_charged", "local", "fault_forward", "fault_reverse")


def toy_network() -> Network:
    b = NetworkBuilder("toy")
    for name in ("SS", "N1", "N2", "N3"):
        b.node(name, v_kv=20.0)
    b.source("GRID", "SS")
    for name, a, z in (("L1", "SS", "N1"), ("L2", "N1", "N2"), ("L3", "N2", "N3")):
        b.line(name, a, z, length_km=1, r_ohm_per_km=0.2, x_ohm_per_km=0.3, i_max_a=200)
    b.switch("CB_1", SwitchKind.BREAKER, "SS", branch="L1", feeder_head=True)
    b.switch("LBS_1", SwitchKind.LOAD_BREAK_SWITCH, "N1", branch="L2")
    b.switch("DIS_1", SwitchKind.DISCONNECTOR, "N2", branch="L3")
    b.switch("LBS_2", SwitchKind.LOAD_BREAK_SWITCH, "N3", branch="L3")
    return b.build()


def toy_definitions() -> list[PointDefinition]:
    rows: list[tuple[str, str, PointKind]] = [(node, "v_kv", PointKind.MEASURAND) for node in ("SS", "N1")]
    for switch in ("CB_1", "LBS_1", "DIS_1", "LBS_2"):
        rows += [(switch, "position", PointKind.DOUBLE), (switch, "i_a", PointKind.MEASURAND)]
        rows += [(switch, quantity, PointKind.SINGLE) for quantity in INDICATIONS]
        rows.append((switch, "operate", PointKind.DOUBLE_COMMAND))
    return [
        PointDefinition(
            station=STATION_OF[equipment],
            name=f"{equipment}.{quantity}",
            kind=kind,
            equipment=equipment,
            quantity=quantity,
            address=PointAddress(1, number, 0),
            feedback=f"{equipment}.position" if kind.is_output else "",
            control_model=ControlModel.DIRECT if equipment == "LBS_1" else ControlModel.SELECT_BEFORE_OPERATE,
        )
        for number, (equipment, quantity, kind) in enumerate(rows)
    ]


class ListSession:
    """A master session that writes down what it is told, and reports what the test put in."""

    def __init__(self, station: str) -> None:
        self.station = station
        self.told: list[tuple[str, LinkCommand | None]] = []
        self.events: list[LinkEvent] = []
        self.close_reason = ""

    def select(self, command: LinkCommand, now: int) -> None:
        self.told.append(("select", command))

    def operate(self, command: LinkCommand, now: int) -> None:
        self.told.append(("operate", command))

    def cancel(self, command: LinkCommand, now: int) -> None:
        self.told.append(("cancel", command))

    def interrogate(self, now: int) -> None:
        self.told.append(("interrogate", None))

    def take_events(self) -> list[LinkEvent]:
        events, self.events = self.events, []
        return events

    def connected(self, now: int) -> None: ...
    def disconnected(self, now: int, reason: str) -> None: ...
    def receive(self, payload: Any, now: int) -> None: ...
    def tick(self, now: int) -> None: ...

    def next_timer(self) -> int:
        return NEVER

    def payload_to_send(self) -> list[Any]:
        return []

    def snapshot(self) -> Mapping[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None: ...


def sample(
    point: str,
    value: float,
    t_ms: int,
    *,
    arrived: int | None = None,
    quality: Quality = Quality.GOOD,
    gi: bool = False,
    station: str = "",
    stamped_by: TimeSource = TimeSource.DEVICE,
) -> ArrivedSample:
    station = station or STATION_OF[point.split(".")[0]]
    one = Sample(station, point, value, quality, t_ms, spontaneous=not gi, stamped_by=stamped_by)
    return ArrivedSample(one, t_ms if arrived is None else arrived)


class Rig:
    """The SCADA core of the toy with its journal; ``front_end.route`` is left to the test."""

    def __init__(self, **options: Any) -> None:
        self.journal: list[JournalEntry] = []
        self.definitions = toy_definitions()
        self.network = toy_network()
        self.sessions = {name: ListSession(name) for name in ("RTU_1", "RTU_2", "RTU_3")}
        self.front_end: FrontEnd = build_front_end(
            self.definitions, self.network, self.sessions, self.journal.append, **options
        )
        self.commands = self.front_end.commands
        self.database = self.front_end.database
        self.alarms = self.front_end.alarms

    def start(self, now: int = 0) -> Rig:
        """All sessions up, the normal image taken over, the journal empty."""
        events: list[LinkEvent] = []
        for station in self.sessions:
            states = (SessionState.CONNECTED, SessionState.STARTED, SessionState.INTERROGATED)
            events += [SessionEvent(station, state, now) for state in states]
        events += [self.normal(d, now) for d in self.definitions if not d.kind.is_output]
        self.front_end.on_events(events, now)
        self.journal.clear()
        return self

    @staticmethod
    def normal(d: PointDefinition, now: int) -> ArrivedSample:
        values = {"position": CLOSED, "spring_charged": 1.0, "v_kv": 20.0, "i_a": 50.0}
        return sample(d.name, values.get(d.quantity, 0.0), now, gi=True)

    def put(self, *events: LinkEvent, now: int) -> None:
        self.front_end.on_events(events, now)

    def reply(self, command_id: int, kind: ReplyKind, now: int, cause: str = "") -> None:
        station = self.commands.command(command_id).request.output.station
        self.put(CommandReply(station, command_id, kind, now, cause), now=now)

    def actions(self) -> list[str]:
        return [f"{a.kind.value} {a.command.point}={a.command.value:g}" for a in self.take()]

    def take(self) -> list[LinkAction]:
        return self.commands.take_actions()

    def lines(self, kind: str) -> list[JournalEntry]:
        return [entry for entry in self.journal if entry.kind == kind]
