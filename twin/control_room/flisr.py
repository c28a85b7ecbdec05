"""FLISR at work in the control room: notices a fault, has it located and planned, follows the plan.

The decisions are those of ``twin.dms.flisr``; here is when it is asked, and what becomes of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from twin.control_room.plans import Course, PlanDesk
from twin.control_room.settings import ControlRoomSettings
from twin.control_room.watch import NetworkWatch
from twin.dms.flisr import Location, ZoneCandidate, locate, make_plan
from twin.journal import JournalEntry
from twin.network.model import Bools, Floats
from twin.network.topology import Topology
from twin.points.model import DoublePosition
from twin.scada.tags import Record
from twin.solvers import power_flow
from twin.timebase import NEVER, SimTime


@dataclass
class Incident:
    """One fault from the trip of its feeder head (``device``, a switch row) until it is dealt with."""

    device: int
    trip_t_ms: SimTime
    plan_id: str = ""
    replans: int = 0
    failed: list[str] = field(default_factory=list)
    location: Location | None = None


class FlisrDesk:
    """Runs FLISR for every feeder of a control room; does nothing in mode ``off``."""

    def __init__(self, watch: NetworkWatch, plans: PlanDesk, settings: ControlRoomSettings, record: Record) -> None:
        self._watch = watch
        self._plans = plans
        self._settings = settings
        self._record = record
        self._network = watch.network
        self._solver = power_flow(watch.network)
        self._topology = Topology(watch.network)
        self._incidents: dict[int, Incident] = {}

    # -- noticing -------------------------------------------------------------------------------------------------

    def step(self, now: SimTime) -> None:
        """Notice new faults, and deal with those that have settled."""
        if self._settings.flisr_mode == "off":
            return
        waiting = self._waiting()
        for device in [d for d in self._incidents if not waiting[d] and self._is_over(d)]:
            del self._incidents[device]
        if self._settled_at() > now:
            return
        for device in np.flatnonzero(waiting).tolist():
            if device not in self._incidents:
                self._open(device, now)

    def next_event(self) -> SimTime:
        """When :meth:`step` has something to do; ``NEVER`` if only telemetry can change that."""
        if self._settings.flisr_mode == "off":
            return NEVER
        waiting = self._waiting()
        waiting[list(self._incidents)] = False
        return self._settled_at() if waiting.any() else NEVER

    def _waiting(self) -> Bools:
        """Feeder heads that protection opened, and that no auto-reclosing will close again."""
        watch = self._watch
        head_open = watch.position.good() & (watch.position.values() == DoublePosition.OPEN)
        tripped = watch.trip.is_set() | watch.lockout.is_set()
        still_trying = watch.reclose_active.is_set() & ~watch.lockout.is_set()
        result: Bools = self._network.switches.feeder_head & head_open & tripped & ~still_trying
        return result

    def _is_over(self, device: int) -> bool:
        """The head is closed again, so that the next trip is a new fault."""
        watch = self._watch
        return bool(watch.position.good()[device] and watch.position.values()[device] == DoublePosition.CLOSED)

    def _settled_at(self) -> SimTime:
        return self._watch.last_sign() + self._settings.flisr_settle_ms

    # -- dealing --------------------------------------------------------------------------------------------------

    def _open(self, device: int, now: SimTime) -> None:
        incident = Incident(device, int(self._watch.disturbed_since[device]))
        self._incidents[device] = incident
        self._plan(incident, now)

    def _plan(self, incident: Incident, now: SimTime) -> None:
        p_kw, q_kvar = self._demand()
        seen = self._watch.observe(now, incident.trip_t_ms, p_kw, q_kvar)
        if incident.failed:
            seen = seen.with_blocked([self._network.switches.names.index(name) for name in incident.failed])
        settings = self._settings.flisr
        if incident.location is None:
            incident.location = locate(self._network, seen, settings, device=incident.device)
            self._note_location(incident, now)
        plan = make_plan(self._network, seen, settings, location=incident.location, solver=self._solver)
        incident.plan_id = plan.plan_id
        self._plans.propose(plan, self._settings.flisr_mode, now)

    def on_failed(self, course: Course, now: SimTime) -> None:
        """A plan's switch did not operate: plan anew without it, a limited number of times."""
        for incident in self._incidents.values():
            if incident.plan_id != course.plan_id:
                continue
            incident.failed.append(course.failed_switch)
            incident.replans += 1
            if incident.replans <= self._settings.max_replans:
                self._plan(incident, now)

    def _demand(self) -> tuple[Floats, Floats]:
        """Demand before the fault: rated demands scaled, feeder by feeder, to what its head measured then."""
        consumers, watch = self._network.consumers, self._watch
        feeder = self._topology.state(watch.closed_before).feeder_head[consumers.node]
        return (
            _scaled(consumers.p_kw, feeder, watch.head_p_kw),
            _scaled(consumers.q_kvar, feeder, watch.head_q_kvar),
        )

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

    # -- state ----------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data."""
        return {"incidents": [asdict(incident) for incident in self._incidents.values()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        self._incidents = {row["device"]: _incident(row) for row in state["incidents"]}


def _scaled(rated: Floats, feeder: Any, measured: Floats) -> Floats:
    """``rated`` with the consumers of each feeder scaled to add up to its measured value, losses included."""
    result = rated.copy()
    for head in np.unique(feeder[feeder >= 0]).tolist():
        mine = feeder == head
        total = rated[mine].sum()
        if np.isfinite(measured[head]) and total > 0 and measured[head] > 0:
            result[mine] *= measured[head] / total
    return result


def _incident(row: Mapping[str, Any]) -> Incident:
    saved = row["location"]
    if saved is None:
        return Incident(**row)
    candidates = tuple(
        ZoneCandidate(c["zone"], c["probability"], tuple(c["nodes"]), tuple(c["branches"])) for c in saved["candidates"]
    )
    location = Location(saved["device"], candidates, tuple(saved["area"]), saved["sentence"])
    return Incident(**{**row, "location": location})
