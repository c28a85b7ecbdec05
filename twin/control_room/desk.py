"""What an application needs to be hosted: the protocol of its desk, the host that it is given, and findings.

A desk decides when its application is asked and what becomes of the answer. The decisions themselves are in
``twin.dms``, which knows nothing of desks (docs/applications/README.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from twin.control_room.plans import Course, PlanDesk
from twin.control_room.watch import NetworkWatch
from twin.journal import JournalEntry
from twin.network.model import Network
from twin.points.model import PointDefinition
from twin.scada.point_database import PointDatabase
from twin.scada.tags import Record, TagBoard
from twin.timebase import NEVER, SimTime, TimeBase


@dataclass(frozen=True)
class Host:
    """What a desk may see and use, and nothing else.

    ``definitions`` are the telemetered points and outputs of the equipment in ``network``. Calculated points are
    written through ``database.calculated``, switches are operated through ``plans`` only.
    """

    network: Network
    definitions: tuple[PointDefinition, ...]
    database: PointDatabase
    watch: NetworkWatch
    plans: PlanDesk
    tags: TagBoard
    record: Record
    time_base: TimeBase


class ApplicationDesk(Protocol):
    """One application at work in a control room. ``now`` is simulation time in ms; nothing here waits."""

    def follow(self, now: SimTime) -> None:
        """Something arrived: the point database and the watch hold it already."""
        ...

    def step(self, now: SimTime) -> None:
        """Do what is due."""
        ...

    def run_now(self, now: SimTime) -> None:
        """Be due at once, because a person asks; an application that only answers events does nothing."""
        ...

    def next_event(self) -> SimTime:
        """When :meth:`step` has something to do; ``NEVER`` if only telemetry can change that."""
        ...

    def on_failed(self, course: Course, now: SimTime) -> None:
        """A plan failed at ``course.failed_switch``; it may be one of another application."""
        ...

    def on_station_back(self, switches: Collection[str], now: SimTime) -> None:
        """A station with these switches can be reached again, and its image is whole."""
        ...

    def counts(self) -> dict[str, int]:
        """What the application has done, in numbers."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data; what can be read from the point database is no state."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """Something an application noticed: ``why`` is one sentence, ``data`` are its figures for the journal.

    While it stands it is known by (``subject``, ``kind``); a new sentence alone is no new finding.
    """

    subject: str
    kind: str
    why: str
    data: Mapping[str, Any] = field(default_factory=dict)


class Findings:
    """The findings of one application that stand; journals each when it comes and when it goes."""

    def __init__(self, application: str, record: Record) -> None:
        self._application = application
        self._record = record
        self._standing: dict[tuple[str, str], str] = {}
        self.found = 0

    @property
    def standing(self) -> tuple[tuple[str, str], ...]:
        """(subject, kind) of each finding that stands, oldest first."""
        return tuple(self._standing)

    def update(self, findings: Collection[Finding], now: SimTime) -> None:
        """``findings`` are all that stand now."""
        present = {(f.subject, f.kind): f for f in findings}
        for key in [key for key in self._standing if key not in present]:
            self._note(*key, now, {"state": "ended", "why": self._standing.pop(key)})
        for key, finding in present.items():
            if key not in self._standing:
                self._standing[key] = finding.why
                self.found += 1
                self._note(*key, now, {"state": "found", "why": finding.why, **finding.data})

    def _note(self, subject: str, kind: str, now: SimTime, data: Mapping[str, Any]) -> None:
        head = {"application": self._application, "finding": kind}
        self._record(JournalEntry(now, "control_room", "finding", subject, {**head, **data}))

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data."""
        return {"standing": [[*key, why] for key, why in self._standing.items()], "found": self.found}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        self._standing = {(subject, kind): why for subject, kind, why in state["standing"]}
        self.found = state["found"]


class CyclicDesk:
    """Base of desks whose application looks at the image every ``period_ms``, and soon after a switch has moved.

    A subclass gives :meth:`run` and, if it has state of its own, extends :meth:`snapshot` and :meth:`restore`.
    """

    def __init__(self, application: str, host: Host, period_ms: SimTime, settle_ms: SimTime) -> None:
        self.host = host
        self.findings = Findings(application, host.record)
        self.runs = 0
        self._period_ms = period_ms
        self._settle_ms = settle_ms
        self._due: SimTime = NEVER
        self._positions: list[int] = []

    def run(self, now: SimTime) -> None:
        """Look at the image of ``now``."""
        raise NotImplementedError

    def follow(self, now: SimTime) -> None:
        """The first telemetry, and a switch that moved, bring the next look forward."""
        seen = self.host.watch.position
        positions = [int(p) if good else -1 for p, good in zip(seen.values(), seen.good(), strict=True)]
        if positions != self._positions:
            self._positions = positions
            self._due = min(self._due, now + self._settle_ms)

    def step(self, now: SimTime) -> None:
        """Run if it is time."""
        if now >= self._due:
            self._due = now + self._period_ms
            self.runs += 1
            self.run(now)

    def run_now(self, now: SimTime) -> None:
        """Be due at once."""
        self._due = now

    def next_event(self) -> SimTime:
        """When it is time."""
        return self._due

    def on_failed(self, course: Course, now: SimTime) -> None:
        """Makes no plans."""

    def on_station_back(self, switches: Collection[str], now: SimTime) -> None:
        """The next look will see it."""

    def counts(self) -> dict[str, int]:
        """Looks, and findings since the start."""
        return {"runs": self.runs, "findings": self.findings.found}

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data."""
        return {
            "due": self._due,
            "positions": self._positions,
            "runs": self.runs,
            "findings": self.findings.snapshot(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        self._due, self._positions = state["due"], list(state["positions"])
        self.runs = state["runs"]
        self.findings.restore(state["findings"])
