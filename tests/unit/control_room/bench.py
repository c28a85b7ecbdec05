"""A control room in front of a small network, over the in-process link, with devices that do as they are told.

    SRC ─ BB ─[CB_1]─ L1 ─ N1 ─[S1]─ L2 ─[S2]─ N2 ─[S3]─ L3 ─ N3 ─[TIE]─ L4 ─ N5
           └──[CB_2]─ L5 ──────────────────────────────────────────────────────┘

20 kV; every node has 100 customers with 400 kW. All switches are telecontrolled, those at line ends have fault
passage indicators. Each drive takes 100 ms.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from twin.control_room import ControlRoom, ControlRoomSettings
from twin.derive import DeriveOptions, derive
from twin.journal import JournalEntry
from twin.links.in_process import InProcessMasterSession
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.network.topology import Topology
from twin.outstations.in_process import InProcessOutstation
from twin.outstations.model import StationCommand
from twin.points.model import DoublePosition, PointDefinition, PointKind, Quality, Sample
from twin.timebase import NEVER

OPEN, CLOSED, BETWEEN = DoublePosition.OPEN, DoublePosition.CLOSED, DoublePosition.INTERMEDIATE
DRIVE_MS = 100
STEP_MS = 100
SETTLE_MS = 5_000


def network() -> Network:
    b = NetworkBuilder("two-feeders")
    for name in ("BB", "N1", "N2", "N3", "N5"):
        b.node(name, v_kv=20.0)
    b.source("SRC", "BB", s_sc_mva=500.0, rx=0.1)
    ends = {"L1": ("BB", "N1"), "L2": ("N1", "N2"), "L3": ("N2", "N3"), "L4": ("N3", "N5"), "L5": ("BB", "N5")}
    for name, (a, z) in ends.items():
        b.line(name, a, z, length_km=1, r_ohm_per_km=0.2, x_ohm_per_km=0.3, i_max_a=200)
    b.switch("CB_1", SwitchKind.BREAKER, "BB", branch="L1", feeder_head=True)
    b.switch("CB_2", SwitchKind.BREAKER, "BB", branch="L5", feeder_head=True)
    for name, node, line in (("S1", "N1", "L2"), ("S2", "N2", "L2"), ("S3", "N2", "L3")):
        b.switch(name, SwitchKind.LOAD_BREAK_SWITCH, node, branch=line)
    b.switch("TIE", SwitchKind.LOAD_BREAK_SWITCH, "N3", branch="L4", closed=False)
    for node in ("N1", "N2", "N3", "N5"):
        b.consumer(f"C_{node}", node, p_kw=400.0, q_kvar=100.0, customers=100)
    return b.build()


def room_settings(*, flisr_mode: str = "off", max_replans: int = 3, **others: Any) -> ControlRoomSettings:
    """Settings with FLISR's given; ``others`` are the blocks of other applications."""
    flisr = {"mode": flisr_mode, "settle_ms": SETTLE_MS, "max_replans": max_replans}
    return ControlRoomSettings.model_validate({"flisr": flisr, **others})


class Bench:
    """Steps stations and control room together, 100 ms at a time.

    ``jammed`` drives do not move, ``refusing`` switches refuse the operate, ``mute`` stations say nothing.
    """

    def __init__(self, *, grid: Network | None = None, options: DeriveOptions | None = None, **settings: Any) -> None:
        self.network = grid or network()
        derivation = derive(self.network, options)
        self.points = list(derivation.points)
        self.point = {point.name: point for point in self.points}
        self.settings = room_settings(**settings)
        names = [station.name for station in derivation.remote_stations]
        self.masters = {name: InProcessMasterSession(name) for name in names}
        self.outstations = {name: InProcessOutstation(name, derivation.points.of_station(name), self) for name in names}
        self.room = ControlRoom(self.network, self.points, self.masters, self.settings)
        self.jammed: set[str] = set()
        self.refusing: set[str] = set()
        self.mute: set[str] = set()
        self.moving: list[tuple[int, StationCommand]] = []
        self.topology = Topology(self.network)
        self.shown = self.network.switches.normally_closed.copy()
        self.operated: list[tuple[str, str]] = []
        self.journal: list[JournalEntry] = []
        self.now = 0

    # -- the plant --

    def select(self, command: StationCommand, now: int) -> str:
        return ""

    def operate(self, command: StationCommand, now: int) -> str:
        switch = self.point[command.point].equipment
        if switch in self.refusing:
            return "local"
        self.moving.append((now + DRIVE_MS, command))
        return ""

    def cancel(self, command: StationCommand, now: int) -> None:
        """Nothing was reserved."""

    def drive(self) -> None:
        for command in [command for at, command in self.moving if at <= self.now]:
            output, station = self.point[command.point], self.outstations[command.station]
            if output.equipment not in self.jammed:
                self._act(output, command.value)
            station.finished(command.ticket, output.equipment not in self.jammed, self.now)
        self.moving = [row for row in self.moving if row[0] > self.now]

    def _act(self, output: PointDefinition, value: float) -> None:
        """A switch moves, a mechanism takes a step, a set point or an arming is taken over."""
        name = output.equipment
        if output.quantity != "operate":
            present = self.room.front_end.database.value(output.feedback)
            self.operated.append((name, output.quantity))
            self.tell(output.feedback, present + value if output.kind is PointKind.STEP_COMMAND else value)
            if f"{name}.q_kvar" in self.point and output.kind is PointKind.SETPOINT:
                self.tell(f"{name}.q_kvar", value)
            return
        self.operated.append((name, "close" if value == CLOSED else "open"))
        self.tell(f"{name}.position", value)
        if value == CLOSED and f"{name}.trip" in self.point:
            self.tell(f"{name}.trip", 0.0)

    def tell(self, point: str, value: float, *, quality: Quality = Quality.GOOD, t_ms: int | None = None) -> None:
        """A station reports a new value."""
        at = self.now if t_ms is None else t_ms
        station = self.point[point].station
        self.outstations[station].update([Sample(station, point, float(value), quality, at)], self.now)
        moved = self.point[point].equipment if self.point[point].quantity == "position" else ""
        if moved in self.network.switches.names and value in (OPEN, CLOSED):
            self._tell_voltages(moved, value == CLOSED)

    def _tell_voltages(self, switch: str, closed: bool) -> None:
        """The voltage comes and goes with the positions."""
        before = self.topology.energised(self.shown)
        self.shown[self.network.switches.names.index(switch)] = closed
        after = self.topology.energised(self.shown)
        for node in np.flatnonzero(before != after).tolist():
            name, v_kv = self.network.nodes.names[node], float(self.network.nodes.v_nominal_kv[node])
            if f"{name}.v_kv" in self.point:
                self.tell(f"{name}.v_kv", v_kv if after[node] else 0.0)

    def trip(self, head: str, *indicating: str) -> None:
        """Protection opens ``head``; the switches named indicate forward."""
        for switch in (head, *indicating):
            self.tell(f"{switch}.fault_forward", 1.0)
        self.tell(f"{head}.trip", 1.0)
        self.tell(f"{head}.position", OPEN)
        self.tell(f"{head}.p_kw", 0.0)
        self.tell(f"{head}.q_kvar", 0.0)

    # -- time --

    def start(self) -> Bench:
        """Sessions up, the normal state interrogated, loads at half of their rating measured; the journal empty."""
        s = self.network.switches
        closed = {name: bool(value) for name, value in zip(s.names, s.normally_closed, strict=True)}
        measured = {"CB_1.p_kw": 600.0, "CB_1.q_kvar": 150.0, "CB_2.p_kw": 200.0, "CB_2.q_kvar": 50.0}
        for point in self.points:
            if point.kind.is_output:
                continue
            value = measured.get(point.name, 0.0)
            if point.quantity == "position":
                value = CLOSED if closed.get(point.equipment, False) else OPEN
            value = {"spring_charged": 1.0, "v_kv": 20.0}.get(point.quantity, value)
            sample = Sample(point.station, point.name, float(value), Quality.GOOD, 0, False)
            self.outstations[point.station].update([sample], 0)
        for name, master in self.masters.items():
            self.outstations[name].open_session(0)
            master.connected(0)
        self.run(1_000)
        self.journal.clear()
        return self

    def run(self, until: int) -> Bench:
        while self.now < until:
            self.now += STEP_MS
            self.cycle()
        return self

    def cycle(self) -> None:
        self.drive()
        events = [event for name in self.masters for event in self._exchange(name)]
        self.room.step(events, self.now)
        self.journal += self.room.take_journal()

    def cycle_events(self) -> None:
        """Let the room take what has been told, without doing anything more."""
        events = [event for name in self.masters for event in self._exchange(name)]
        self.room.front_end.on_events(events, self.now)

    def _exchange(self, name: str) -> list[Any]:
        master, sessions = self.masters[name], self.outstations[name].sessions
        if name in self.mute or not sessions:
            return list(master.take_events())
        while asked := master.payload_to_send():
            sessions[0].receive(asked, self.now)
        master.receive(sessions[0].payload_to_send(), self.now)
        while asked := master.payload_to_send():
            sessions[0].receive(asked, self.now)
            master.receive(sessions[0].payload_to_send(), self.now)
        return list(master.take_events())

    def lose(self, switch: str) -> None:
        """The session to the station of a switch breaks, and is not made again."""
        name = self.point[f"{switch}.position"].station
        outstation = self.outstations[name]
        outstation.close_session(outstation.sessions[0], self.now)
        self.masters[name].disconnected(self.now, "cable cut")

    def reconnect(self, switch: str) -> None:
        name = self.point[f"{switch}.position"].station
        self.outstations[name].open_session(self.now)
        self.masters[name].connected(self.now)

    # -- what is seen --

    def lines(self, kind: str) -> list[JournalEntry]:
        return [entry for entry in self.journal if entry.kind == kind]

    def plans(self) -> list[JournalEntry]:
        """The plans as they were proposed."""
        return [entry for entry in self.lines("plan") if "steps" in entry.data]

    def steps(self, number: int = 0) -> list[str]:
        """The steps of a proposed plan, as ``open S1``."""
        return [f"{step['action']} {step['switch']}" for step in self.plans()[number].data["steps"]]

    def outcomes(self) -> list[str]:
        return [entry.data["outcome"] for entry in self.lines("plan") if "outcome" in entry.data]

    # -- state --

    def snapshot(self) -> str:
        return json.dumps(
            {
                "room": self.room.snapshot(),
                "outstations": {name: station.snapshot() for name, station in self.outstations.items()},
                "moving": [[at, c.station, c.point, c.value, c.ticket] for at, c in self.moving],
                "now": self.now,
                "shown": self.shown.tolist(),
            }
        )

    def restore(self, snapshot: str) -> Bench:
        state = json.loads(snapshot)
        self.room.restore(state["room"])
        for name, station in self.outstations.items():
            station.restore(state["outstations"][name])
        self.moving = [(at, StationCommand(*row)) for at, *row in state["moving"]]
        self.now = state["now"]
        self.shown = np.array(state["shown"])
        return self


__all__ = ["BETWEEN", "CLOSED", "NEVER", "OPEN", "SETTLE_MS", "STEP_MS", "Bench", "PointKind", "network"]
