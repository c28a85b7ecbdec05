"""The control room: front end, point database, alarms, command path and applications as one.

Knows no co-simulation and no socket: somebody else owns the links' connections, tells it what arrived, and
carries away what the sessions want sent. The same object runs in front of simulated and of physical stations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from twin.control_room.applications import Desks, calculated_points
from twin.control_room.desk import Host
from twin.control_room.planned_loops import PlannedLoops
from twin.control_room.plans import PlanDesk
from twin.control_room.settings import ControlRoomSettings
from twin.control_room.study import Study
from twin.control_room.watch import NetworkWatch
from twin.journal import JournalEntry
from twin.links.model import LinkEvent, MasterSession, SessionEvent, SessionState
from twin.network.model import Ints, Network
from twin.points.model import DoublePosition, PointDefinition
from twin.scada.authority import Originator, Role
from twin.scada.front_end import build_front_end
from twin.scada.loops import LoopInterlock
from twin.scada.tags import TagKind
from twin.timebase import SimTime, TimeBase

DEFAULT_START = datetime(2026, 1, 1, tzinfo=UTC)

DISPATCHER = Originator("dispatcher", Role.DISPATCHER)


class ControlRoom:
    """One control room over a network and the points of its stations.

    Points of equipment that the control room's ``network`` does not have are left out. ``time_base`` ties simulation
    time to the calendar, for what depends on the time of day.
    """

    def __init__(
        self,
        network: Network,
        points: Sequence[PointDefinition],
        sessions: Mapping[str, MasterSession],
        settings: ControlRoomSettings | None = None,
        time_base: TimeBase | None = None,
    ) -> None:
        self.network = network
        self.settings = settings or ControlRoomSettings()
        self._journal: list[JournalEntry] = []
        definitions = [point for point in points if network.find(point.equipment)]
        self._switches_of: dict[str, list[str]] = {}
        for point in definitions:
            if point.quantity == "operate":
                self._switches_of.setdefault(point.station, []).append(point.equipment)
        calculated = calculated_points(network, definitions, self.settings)
        self.front_end = build_front_end(
            definitions,
            network,
            sessions,
            self._journal.append,
            calculated=calculated,
            more_interlocks=(LoopInterlock(network, lambda plan_id, step: self.plans.means_loop(plan_id, step)),),
        )
        self.watch = NetworkWatch(network, self.front_end.database, definitions, self.front_end.tags)
        self.plans = PlanDesk(
            self.front_end.commands, self._journal.append, PlannedLoops(network, self.front_end.database)
        )
        self._next_wanted: SimTime = 0
        self._now: SimTime = 0
        self.host = Host(
            network,
            tuple(definitions),
            self.front_end.database,
            self.watch,
            self.plans,
            self.front_end.tags,
            self._journal.append,
            time_base or TimeBase(DEFAULT_START),
        )
        self.desks = Desks(self.host, self.settings)

    # -- one cycle ------------------------------------------------------------------------------------------------

    def step(self, events: Iterable[LinkEvent], now: SimTime) -> None:
        """Take what arrived, run the time limits and the applications, and give the sessions their commands.

        A cycle in which nothing arrived and nothing is due costs next to nothing.
        """
        arrived = list(events)
        if not arrived and now < self._next_wanted:
            return
        self._now = now
        self.front_end.on_events(arrived, now)
        if arrived:  # before plans go on: what arrived may stop them
            self.watch.follow()
            self.desks.follow(now)
        self._follow_plans(now)
        if arrived:
            self._welcome_back(arrived, now)
        self.desks.step(now)
        self.plans.step(now)
        self._follow_plans(now)
        self.front_end.route(self.front_end.commands.take_actions(), now)
        self._next_wanted = min(self.front_end.next_timer(), self.desks.next_event(), self.plans.next_event())

    def _welcome_back(self, events: Sequence[LinkEvent], now: SimTime) -> None:
        """Tell the applications of stations whose image is whole again."""
        for event in events:
            if isinstance(event, SessionEvent) and event.state is SessionState.INTERROGATED:
                self.desks.on_station_back(self._switches_of.get(event.station, ()), now)

    def _follow_plans(self, now: SimTime) -> None:
        """Hand outcomes to the plans; a refused command has its outcome at once, so go on until there is none."""
        self.front_end.tick(now)
        while outcomes := self.front_end.take_outcomes():
            for course in self.plans.on_outcomes(outcomes, now):
                self.desks.on_failed(course, now)
            self.front_end.tick(now)

    def next_wanted(self) -> SimTime:
        """When a cycle is wanted although nothing arrives."""
        return self._next_wanted

    # -- the operator ---------------------------------------------------------------------------------------------

    def operate(self, switch: str, closed: bool, now: SimTime) -> int:
        """The dispatcher operates a switch; returns the number of the command."""
        value = DoublePosition.CLOSED if closed else DoublePosition.OPEN
        self._next_wanted = now
        return self.front_end.commands.request(switch, value, DISPATCHER, now, reason="by the dispatcher")

    def operator(self, deed: Mapping[str, Any], now: SimTime) -> None:
        """The dispatcher acknowledges alarms, judges a plan, reports a repair, or hangs a hold-off tag."""
        self._next_wanted = now
        if plan := deed.get("approve_plan"):
            self.plans.approve(plan, now)
        elif plan := deed.get("reject_plan"):
            self.plans.reject(plan, now)
        elif target := deed.get("acknowledge"):
            self._acknowledge(target, now)
        elif place := deed.get("repaired"):
            self._repaired(place, now)
        elif switch := deed.get("hold_off"):
            self.front_end.tags.place(switch, TagKind.HOLD_OFF, DISPATCHER.name, "live-line work", now)

    def _repaired(self, place: str, now: SimTime) -> None:
        if "flisr" in self.desks:
            self.desks["flisr"].on_repaired(place, now)
        else:
            self._journal.append(JournalEntry(now, "control_room", "repaired", place, {"why": "FLISR is off"}))

    def _acknowledge(self, target: str, now: SimTime) -> None:
        alarms = self.front_end.alarms
        if target == "all":
            alarms.acknowledge_all(DISPATCHER.name, now)
            return
        for alarm in alarms.display():
            if alarm.subject == target:
                alarms.acknowledge(alarm.alarm_id, DISPATCHER.name, now)

    def call(self, node: str, text: str, now: SimTime) -> None:
        """A customer calls."""
        self._journal.append(JournalEntry(now, "control_room", "call", node, {"text": text}))

    # -- applications ---------------------------------------------------------------------------------------------

    def run_application(self, name: str, now: SimTime) -> None:
        """Let an application look at the image in the next cycle, whatever its period.

        Raises:
            UnknownApplicationError: there is none of this name, or it is off.
        """
        self.desks[name].run_now(now)
        self._next_wanted = now

    def study(self) -> Study:
        """A branch of the live state, on which applications run without touching it."""
        branch = Study(self.host, self.settings, self._now)
        branch.desks.take_over(self.desks.snapshot())
        return branch

    # -- what others see ------------------------------------------------------------------------------------------

    def positions(self) -> Ints:
        """``DoublePosition`` of each switch of its network as telemetered."""
        return self.watch.positions()

    def counts(self) -> dict[str, int]:
        """Alarms and plans in numbers."""
        counts = self.plans.counts
        return {
            "alarms_active": self.front_end.alarms.active,
            "plans_made": counts.made,
            "plans_done": counts.done,
            "plans_rejected": counts.rejected,
        }

    def application_counts(self) -> dict[str, dict[str, int]]:
        """What each application has done, in numbers."""
        return self.desks.counts()

    def take_journal(self) -> list[JournalEntry]:
        """The entries since the last call."""
        taken = self._journal[:]
        self._journal.clear()
        return taken

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data; what waits in the sessions included."""
        return {
            "front_end": self.front_end.snapshot(),
            "watch": self.watch.snapshot(),
            "plans": self.plans.snapshot(),
            "applications": self.desks.snapshot(),
            "next_wanted": self._next_wanted,
            "now": self._now,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        self.front_end.restore(state["front_end"])
        self.watch.restore(state["watch"])
        self.plans.restore(state["plans"])
        self.desks.restore(state["applications"])
        self._next_wanted, self._now = state["next_wanted"], state["now"]
