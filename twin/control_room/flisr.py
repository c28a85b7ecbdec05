"""FLISR at work in the control room: notices a fault, has it located and planned, follows the plan.

The decisions are those of ``twin.dms.flisr``; here is when it is asked, and what becomes of the answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from twin.control_room.desk import Host
from twin.control_room.plans import Course, PlanState
from twin.control_room.settings import FlisrDeskSettings
from twin.dms.flisr import Location, Observation, ZoneCandidate, locate, make_plan
from twin.dms.flisr.trigger import FlisrTrigger, TriggerState
from twin.dms.load_estimate import DemandEstimate, demand_behind_heads
from twin.dms.load_flow import LoadFlow
from twin.journal import JournalEntry
from twin.network.model import Bools
from twin.network.topology import Topology
from twin.solvers import power_flow
from twin.timebase import SimTime

SHEDDING = "load_shedding.active"
"""The calculated point of load shedding that is 1 while feeders are off by it."""


@dataclass
class Incident:
    """One fault from the trip of its feeder head (``device``, a switch row) until the next one there.

    ``closed_before`` and the demand are those before the fault: plans change the positions and measurements that
    they were taken from.
    """

    device: int
    trip_t_ms: SimTime
    closed_before: list[bool]
    p_kw: list[float]
    q_kvar: list[float]
    plan_id: str = ""
    replans: int = 0
    failed: list[str] = field(default_factory=list)
    location: Location | None = None


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
        self._topology = Topology(host.network)
        self._load_flow = LoadFlow(host.network, self._solver)
        self._trigger = FlisrTrigger(settings.settle_ms)
        self._incidents: dict[int, Incident] = {}

    # -- noticing -------------------------------------------------------------------------------------------------

    def follow(self, now: SimTime) -> None:
        """Show the trigger what has arrived; to be called after the watch has followed."""
        signs = self._watch.head_signs()
        for head in sorted(signs):
            self._trigger.observe(head, signs[head], now)
        moved = self._watch.take_new_indications()
        if moved.any():
            self._note_evidence(moved, now)

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
        if self._trigger.next_due() > now:
            return
        readable = {} if self._is_inhibited() else self._watch.head_signs()
        for row in np.flatnonzero(self._network.switches.feeder_head).tolist():
            name = self._network.switches.names[row]
            if name not in readable and self._trigger.state(name) is TriggerState.SETTLING:
                self._trigger.note_evidence(name, now)
        for name in self._trigger.due(now):
            self._open(self._network.switches.names.index(name), now)

    def _is_inhibited(self) -> bool:
        """While load is shed, what FLISR would restore is off for a reason."""
        return SHEDDING in self._database and self._database.good(SHEDDING) and self._database.value(SHEDDING) == 1.0

    def run_now(self, now: SimTime) -> None:
        """Answers faults only."""

    def next_event(self) -> SimTime:
        """When :meth:`step` has something to do; ``NEVER`` if only telemetry can change that."""
        return self._trigger.next_due()

    # -- dealing --------------------------------------------------------------------------------------------------

    def _open(self, device: int, now: SimTime) -> None:
        before, demand = self._watch.closed_before, self._demand()
        incident = Incident(
            device,
            int(self._watch.disturbed_since[device]),
            before.tolist(),
            demand.p_kw.tolist(),
            demand.q_kvar.tolist(),
        )
        self._incidents[device] = incident
        self._plan(incident, now)

    def _plan(self, incident: Incident, now: SimTime) -> None:
        seen = self._observe(incident, now)
        if incident.failed:
            seen = seen.with_blocked([self._network.switches.names.index(name) for name in incident.failed])
        settings = self._settings.limits
        if incident.location is None:
            incident.location = locate(self._network, seen, settings, device=incident.device)
            self._note_location(incident, now)
        plan = make_plan(self._network, seen, settings, location=incident.location, solver=self._solver)
        if self._plans.course(plan.plan_id):  # refused at once, so made in the same instant
            plan = replace(plan, plan_id=f"{plan.plan_id}-{incident.replans + 1}")
        incident.plan_id = plan.plan_id
        self._plans.propose(plan, self._settings.mode, now)

    def _observe(self, incident: Incident, now: SimTime) -> Observation:
        seen = self._watch.observe(now, incident.trip_t_ms, np.array(incident.p_kw), np.array(incident.q_kvar))
        return replace(seen, closed_before=np.array(incident.closed_before, dtype=np.bool_))

    def on_failed(self, course: Course, now: SimTime) -> None:
        """A plan's switch did not operate: plan anew without it, a limited number of times."""
        for incident in self._incidents.values():
            if incident.plan_id != course.plan_id:
                continue
            incident.failed.append(course.failed_switch)
            incident.replans += 1
            if incident.replans <= self._settings.max_replans:
                self._plan(incident, now)

    def on_station_back(self, switches: Collection[str], now: SimTime) -> None:
        """A station can be reached again: plan anew where the last plan failed, or where there was none."""
        for incident in self._incidents.values():
            course = self._plans.course(incident.plan_id)
            stuck = course is not None and (course.state is PlanState.FAILED or not course.steps)
            if not stuck:
                continue
            incident.failed = [name for name in incident.failed if name not in switches]
            incident.replans = 0
            if incident.location is not None and not incident.location.located:
                incident.location = None
            self._plan(incident, now)

    def _demand(self) -> DemandEstimate:
        """Demand before the fault, feeder by feeder what its head measured then."""
        return demand_behind_heads(self._load_flow, self._watch.closed_before, self._watch.head_measurements())

    def _note_location(self, incident: Incident, now: SimTime) -> None:
        assert incident.location is not None
        likely = incident.location.candidates[:3]
        data = {
            "zones": [candidate.name for candidate in likely],
            "probabilities": [round(candidate.probability, 4) for candidate in likely],
            "text": incident.location.sentence,
        }
        self._record(JournalEntry(now, "control_room", "location", self._name(incident), data))

    def _name(self, incident: Incident) -> str:
        return self._network.switches.names[incident.device]

    def counts(self) -> dict[str, int]:
        """Feeders with a fault since the start."""
        return {"incidents": len(self._incidents)}

    # -- state ----------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data."""
        incidents = [asdict(incident) for incident in self._incidents.values()]
        return {"trigger": self._trigger.snapshot(), "incidents": incidents}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        self._trigger.restore(state["trigger"])
        self._incidents = {row["device"]: _incident(row) for row in state["incidents"]}


def _incident(row: Mapping[str, Any]) -> Incident:
    saved = row["location"]
    if saved is None:
        return Incident(**row)
    candidates = tuple(
        ZoneCandidate(c["zone"], c["probability"], tuple(c["nodes"]), tuple(c["branches"])) for c in saved["candidates"]
    )
    location = Location(saved["device"], candidates, tuple(saved["area"]), saved["sentence"])
    return Incident(**{**row, "location": location})
