"""FLISR at work in the control room: notices a fault, has it located and planned, follows the plan.

The decisions are those of ``twin.dms.flisr``; here is when it is asked, and what becomes of the answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from twin.control_room.desk import Finding, Findings, Host
from twin.control_room.earths import earthed_zones
from twin.control_room.flisr_results import FaultDistances, heads_of, location_data
from twin.control_room.flisr_view import FlisrView
from twin.control_room.incident import Incident, restored
from twin.control_room.plans import Course, PlanState
from twin.control_room.settings import FlisrDeskSettings
from twin.dms.flisr import Location, Observation, locate, make_plan, return_to_normal
from twin.dms.flisr.locate import zones_behind
from twin.dms.flisr.model import priority_weights
from twin.dms.flisr.trigger import FlisrTrigger, HeadSigns, TriggerState
from twin.dms.plan import Plan
from twin.dms.zonegraph import zone_graph
from twin.journal import JournalEntry
from twin.network.model import Bools
from twin.network.topology import Topology
from twin.points.model import DoublePosition
from twin.solvers import power_flow, short_circuit
from twin.timebase import NEVER, SimTime

SHEDDING = "load_shedding.active"
"""The calculated point of load shedding that is 1 while feeders are off by it."""


_CALM = (TriggerState.QUIET, TriggerState.STARTED)


class FlisrDesk:
    """Runs FLISR for every feeder of a control room."""

    def __init__(self, host: Host, settings: FlisrDeskSettings) -> None:
        self._watch = host.watch
        self._database = host.database
        self._plans = host.plans
        self._settings = settings
        self._record = host.record
        self._network = host.network
        self._solver = power_flow(host.network)
        self._short_circuit = short_circuit(host.network)
        self._distances = FaultDistances(host.network, host.database)
        self._topology = Topology(host.network)
        self._view = FlisrView(host, settings, self._solver)
        priority_weights(host.network, settings.limits.priority)  # refuses unknown names at once
        self._graph = zone_graph(host.network)
        self._trigger = FlisrTrigger(settings.settle_ms)
        self._findings = Findings("flisr", host.record)
        self._incidents: dict[int, Incident] = {}
        self._earlier: list[Incident] = []
        self._look_again: SimTime = NEVER
        self._positions = b""

    # -- noticing -------------------------------------------------------------------------------------------------

    def follow(self, now: SimTime) -> None:
        """Show the trigger what has arrived; to be called after the watch has followed."""
        signs = self._watch.head_signs()
        for head in sorted(signs):
            if (
                self._trigger.state(head) is TriggerState.STARTED
                and signs[head].lost
                and self._was_closed_by_plan(head)
            ):
                self._trigger.observe(head, HeadSigns(), now)  # it closed and tripped again between two looks
            before = self._trigger.state(head)
            self._trigger.observe(head, signs[head], now)
            if before in _CALM and self._trigger.state(head) not in _CALM:
                self._watch.keep_before(self._network.switches.names.index(head))
                self._stop_for(head, now)
        moved = self._watch.take_new_indications()
        if moved.any():
            self._note_evidence(moved, now)

    def _was_closed_by_plan(self, head: str) -> bool:
        """The plan's step that closes ``head`` is done, or it is under way and there is a new trip already."""
        row = self._network.switches.names.index(head)
        incident = self._incidents.get(row)
        course = self._plans.course(incident.plan_id) if incident else None
        if incident is None or course is None:
            return False
        closing = (head, float(DoublePosition.CLOSED))
        number = next((n for n, step in enumerate(course.steps, 1) if (step.target, step.value) == closing), NEVER)
        is_done = course.next_step > number or (course.next_step == number and course.state is PlanState.DONE)
        return is_done or (course.next_step == number and self._tripped_at(row) > incident.latest_trip_t_ms)

    def _tripped_at(self, row: int) -> SimTime:
        return int(self._watch.trip.source_t_ms()[row])

    def _stop_for(self, head: str, now: SimTime) -> None:
        """A feeder head has tripped: no running plan was checked for that. That of its own feeder is void."""
        for incident in self._all():
            if self._is_running(incident):
                self._plans.stop(incident.plan_id, f"{head} has tripped", now)
                incident.waits = self._name(incident) != head

    def _note_evidence(self, moved: Bools, now: SimTime) -> None:
        """An indication belongs to the feeder that its switch was fed by."""
        feeder = self._topology.state(self._watch.closed_before).feeder_head
        switches = self._network.switches
        heads = feeder[switches.node[moved]]
        for head in np.unique(heads[heads >= 0]).tolist():
            self._trigger.note_evidence(switches.names[head], now)

    def step(self, now: SimTime) -> None:
        """Deal with the faults that have settled.

        One whose feeder head cannot be read has to wait, and so have all while load is shed.
        """
        self._see_what_is_over()
        self._watch.known_faults = self._known_faults()
        inhibited = self._why_inhibited() if self._is_busy(now) else ""
        self._hold(inhibited, now)
        if not inhibited:
            self._resume(now)
        if self._trigger.next_due() > now:
            return
        readable = {} if inhibited else self._watch.head_signs()
        for row in np.flatnonzero(self._network.switches.feeder_head).tolist():
            name = self._network.switches.names[row]
            if name not in readable and self._trigger.state(name) is TriggerState.SETTLING:
                self._trigger.note_evidence(name, now)
        opened = [self._open(self._network.switches.names.index(name), now) for name in self._trigger.due(now)]
        for incident in opened:  # all are located before the first is planned: each keeps away from the others
            self._locate(incident, now)
        for incident in opened:
            self._plan(incident, now)

    def _see_what_is_over(self) -> None:
        """A section that somebody has energised again is no longer at fault."""
        positions = self._watch.positions().tobytes()
        standing = [i for i in self._all() if not i.over]
        if not standing or positions == self._positions:
            return
        self._positions = positions
        closed = self._watch.position.good() & (self._watch.position.values() == DoublePosition.CLOSED)
        live = self._graph.energised(closed)
        for incident in standing:
            area = list(incident.area)
            incident.over = bool(live[area].any()) if area else bool(closed[incident.device])

    def _known_faults(self) -> tuple[int, ...]:
        """The zones of all faults that stand; a whole feeder while its fault is not located."""
        standing = (i for i in self._all() if not i.over)
        return tuple(sorted({zone for i in standing for zone in i.area or self._behind(i.device, i.closed_before)}))

    def _all(self) -> list[Incident]:
        return [*self._earlier, *self._incidents.values()]

    # -- waiting --------------------------------------------------------------------------------------------------

    def _is_busy(self, now: SimTime) -> bool:
        return self._trigger.next_due() < NEVER or any(i.waits or self._is_running(i) for i in self._all())

    def _is_running(self, incident: Incident) -> bool:
        course = self._plans.course(incident.plan_id)
        return course is not None and course.state is PlanState.RUNNING

    def _why_inhibited(self) -> str:
        """Why FLISR must not restore now: what is off was shed for a reason. Empty if it may."""
        shed = np.flatnonzero(self._watch.shed())
        if shed.size:
            names = ", ".join(self._network.switches.names[row] for row in shed)
            return f"under-frequency relays have opened {names}"
        active = SHEDDING in self._database and self._database.good(SHEDDING) and self._database.value(SHEDDING) == 1.0
        return "load shedding is in progress" if active else ""

    def _hold(self, inhibited: str, now: SimTime) -> None:
        """Stop what runs and say what waits; or take that back."""
        waiting = [
            name for name in heads_of(self._network) if inhibited and self._trigger.state(name) is TriggerState.SETTLING
        ]
        for incident in self._all() if inhibited else ():
            if self._is_running(incident):
                self._plans.stop(incident.plan_id, inhibited, now)
                incident.waits = True
            if incident.waits:
                waiting.append(self._name(incident))
        self._look_again = now + self._settings.settle_ms if waiting else NEVER
        why = f"FLISR waits because {inhibited}."
        reasons = dict.fromkeys(waiting, why)
        for incident in self._all():
            if incident.waits and self._is_kept_alive(incident, now):
                name = self._name(incident)
                reasons.setdefault(name, f"FLISR waits because generation behind {name} feeds the part at fault.")
        self._findings.update([Finding(name, "flisr_inhibited", why) for name, why in reasons.items()], now)

    def _resume(self, now: SimTime) -> None:
        """Plan for the faults that had to wait, once their stopped plan has ended and no other fault unfolds."""
        waiting = [i for i in self._all() if i.waits]
        if not waiting:
            return
        if any(self._trigger.state(head) not in _CALM for head in self._watch.head_signs()):
            self._look_again = now + self._settings.settle_ms
            return
        for incident in [i for i in waiting if not self._is_running(i)]:
            incident.waits = False
            course = self._plans.course(incident.plan_id)
            if course is None or course.state is not PlanState.DONE:
                self._plan(incident, now)

    def run_now(self, now: SimTime) -> None:
        """Answers faults only."""

    def next_event(self) -> SimTime:
        """When :meth:`step` has something to do; ``NEVER`` if only telemetry can change that."""
        return min(self._trigger.next_due(), self._look_again)

    # -- dealing --------------------------------------------------------------------------------------------------

    def _open(self, device: int, now: SimTime) -> Incident:
        if device in self._incidents:
            earlier = self._incidents.pop(device)
            earlier.waits &= earlier.repaired  # what is left to restore is the new fault's concern
            self._earlier.append(earlier)
        self._earlier = [i for i in self._earlier if not i.over or i.waits]
        before = self._watch.before_trip(device)
        demand = self._view.demand(before)
        incident = Incident(
            device,
            int(self._watch.disturbed_since[device]),
            before.tolist(),
            demand.p_kw.tolist(),
            demand.q_kvar.tolist(),
        )
        self._incidents[device] = incident
        return incident

    def _locate(self, incident: Incident, now: SimTime) -> Location:
        if incident.location is None:
            seen = self._view.observe(incident, now)
            incident.location = locate(
                self._network, seen, self._settings.limits, device=incident.device, solver=self._short_circuit
            )
            self._distances.publish(self._name(incident), incident.location, now)
            self._note_location(incident, now)
        return incident.location

    def _plan(self, incident: Incident, now: SimTime) -> None:
        """Make the plan that is wanted now: restoration, or after repair the return to normal."""
        if self._why_inhibited() or self._unfolds(incident) or self._is_kept_alive(incident, now):
            incident.waits = True
            self._look_again = now + self._settings.settle_ms
            return
        location = self._locate(incident, now)
        seen = replace(self._view.observe(incident, now), faulted=self._faulted(incident, now))
        if incident.failed:
            seen = seen.with_blocked([self._network.switches.names.index(name) for name in incident.failed])
        if incident.repaired:
            self._propose(incident, self._return_plan(incident, seen), now)
            return
        limits = self._settings.limits
        self._propose(incident, make_plan(self._network, seen, limits, location=location, solver=self._solver), now)

    def _is_kept_alive(self, incident: Incident, now: SimTime) -> bool:
        """The part at fault measures voltage: generation feeds an island there, and will trip."""
        if incident.repaired or incident.location is None or incident.over:
            return False
        live = self._view.observe(incident, now).still_live(self._network, self._graph)
        return bool(set(live) & set(incident.area))

    def _unfolds(self, incident: Incident) -> bool:
        """Another fault of its own feeder, or after repair of any, is not located yet."""
        states = {name: self._trigger.state(name) for name in heads_of(self._network)}
        if incident.repaired:
            return any(state not in _CALM for state in states.values())
        return states.get(self._name(incident)) not in (*_CALM, None)

    def _propose(self, incident: Incident, plan: Plan, now: SimTime) -> None:
        if self._plans.course(plan.plan_id):  # refused at once, so made in the same instant
            plan = replace(plan, plan_id=f"{plan.plan_id}-{incident.replans + 1}")
        incident.plan_id = plan.plan_id
        incident.latest_trip_t_ms = self._tripped_at(incident.device)
        incident.operated = list(dict.fromkeys([*incident.operated, *(step.equipment for step in plan.steps)]))
        self._plans.propose(plan, self._settings.mode, now)

    def _faulted(self, incident: Incident, now: SimTime) -> tuple[int, ...]:
        """Zones that are earthed, isolated for another fault, or on a feeder whose fault is not located yet."""
        zones = dict.fromkeys(earthed_zones(self._network, self._graph, self._database))
        for other in self._all():
            if other is incident or other.over:
                continue
            zones.update(dict.fromkeys(other.area or self._behind(other.device, other.closed_before)))
        for row in np.flatnonzero(self._network.switches.feeder_head).tolist():
            state = self._trigger.state(self._network.switches.names[row])
            if row != incident.device and state not in _CALM:
                zones.update(dict.fromkeys(self._behind(row, self._watch.before_trip(row))))
        return tuple(zones)

    def _behind(self, device: int, closed_before: Bools | list[bool]) -> tuple[int, ...]:
        """Zones fed through ``device`` before its fault."""
        heads = self._network.switches.feeder_head
        return zones_behind(self._graph, np.array(closed_before, dtype=np.bool_), device, heads)

    # -- after repair -----------------------------------------------------------------------------------------------

    def on_repaired(self, place: str, now: SimTime) -> None:
        """The dispatcher reports the fault at ``place`` (a line, a transformer or a node) as repaired."""
        zone = self._zone_of(place)
        found = [i for i in self._all() if not i.repaired and self._may_hold(i, zone)]
        data = {"feeder": self._name(found[-1])} if found else {"why": "no fault is known there"}
        self._record(JournalEntry(now, "control_room", "repaired", place, data))
        if not found:
            return
        incident = found[-1]
        incident.repaired = incident.over = True
        incident.replans = 0
        if incident in self._earlier:  # it is followed again
            self._earlier.remove(incident)
            self._earlier += [self._incidents[incident.device]]
            self._incidents[incident.device] = incident
        self._plan(incident, now)

    def _zone_of(self, place: str) -> int:
        network = self._network
        if place in network.branch_names:
            return int(self._graph.branch_zone[network.branch_names.index(place)])
        return int(self._graph.node_zone[network.nodes.names.index(place)]) if place in network.nodes.names else -1

    def _may_hold(self, incident: Incident, zone: int) -> bool:
        return zone in (incident.area or self._behind(incident.device, incident.closed_before))

    def _return_plan(self, incident: Incident, seen: Observation) -> Plan:
        """Back to where the switches of the incident's plans and its feeder head stood before the fault."""
        names = self._network.switches.names
        rows = [incident.device, *(names.index(name) for name in incident.operated)]
        wanted = seen.closed.copy()
        wanted[rows] = seen.closed_before[rows]
        title = f"Return {self._name(incident)} to normal"
        plan = return_to_normal(self._network, seen, wanted, self._settings.limits, title=title, solver=self._solver)
        return replace(plan, plan_id=f"flisr-{self._name(incident)}-return-{seen.t_ms}")

    def on_failed(self, course: Course, now: SimTime) -> None:
        """A plan's switch did not operate: plan anew without it, a limited number of times."""
        for incident in self._all():
            if incident.plan_id != course.plan_id:
                continue
            incident.failed.append(course.failed_switch)
            incident.replans += 1
            if incident.replans <= self._settings.max_replans:
                self._plan(incident, now)

    def on_station_back(self, switches: Collection[str], now: SimTime) -> None:
        """A station can be reached again: plan anew where the last plan failed, or where there was none."""
        for incident in list(self._incidents.values()):
            course = self._plans.course(incident.plan_id)
            stuck = course is not None and (course.state is PlanState.FAILED or not course.steps)
            if not stuck or incident.waits or (incident.over and not incident.repaired):
                continue
            incident.failed = [name for name in incident.failed if name not in switches]
            incident.replans = 0
            if incident.location is not None and not incident.location.located:
                incident.location = None
            self._plan(incident, now)

    def _note_location(self, incident: Incident, now: SimTime) -> None:
        assert incident.location is not None
        self._record(
            JournalEntry(now, "control_room", "location", self._name(incident), location_data(incident.location))
        )

    def _name(self, incident: Incident) -> str:
        return self._network.switches.names[incident.device]

    def counts(self) -> dict[str, int]:
        """Feeders with a fault since the start."""
        return {"incidents": len(self._incidents)}

    # -- state ----------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data."""
        return {
            "trigger": self._trigger.snapshot(),
            "incidents": [asdict(incident) for incident in self._incidents.values()],
            "earlier": [asdict(incident) for incident in self._earlier],
            "findings": self._findings.snapshot(),
            "look_again": self._look_again,
            "positions": np.frombuffer(self._positions, dtype=np.int32).tolist(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        self._trigger.restore(state["trigger"])
        self._incidents = {row["device"]: restored(row) for row in state["incidents"]}
        self._earlier = [restored(row) for row in state["earlier"]]
        self._findings.restore(state["findings"])
        self._look_again = state["look_again"]
        self._positions = np.array(state["positions"], dtype=np.int32).tobytes()
