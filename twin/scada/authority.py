"""Who may operate what: roles and areas of responsibility, and the arming of physical stations.

For the first and the last rule of the command path. Not for logging in: who somebody is was
established before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from twin.errors import Blame, TwinError
from twin.journal import JournalEntry
from twin.points.model import PointDefinition
from twin.scada.tags import Record
from twin.timebase import SimTime

ALL_AREAS = "*"
MAX_ARMED_MS = 8 * 3_600_000
"""A station stays armed for a shift at most."""


class Role(Enum):
    """What somebody is in the control room. Observers and instructors do not operate."""

    DISPATCHER = "dispatcher"
    APPLICATION = "application"
    TEST_ENGINEER = "test engineer"
    INSTRUCTOR = "instructor"
    OBSERVER = "observer"


OPERATING_ROLES = frozenset({Role.DISPATCHER, Role.APPLICATION, Role.TEST_ENGINEER})


@dataclass(frozen=True, slots=True)
class Originator:
    """Who gives a command: a person's or an application's name, the role, and the areas of responsibility."""

    name: str
    role: Role
    areas: tuple[str, ...] = (ALL_AREAS,)


class Authority(Protocol):
    """Decides whether an originator may operate an output."""

    def check(self, originator: Originator, output: PointDefinition) -> str:
        """Why not, as a sentence; empty if it may."""
        ...


class AreaAuthority:
    """Operating roles operate the stations of their areas. A station without an area belongs to every one."""

    def __init__(self, area_of_station: Mapping[str, str] | None = None) -> None:
        self._area_of_station = dict(area_of_station or {})

    def check(self, originator: Originator, output: PointDefinition) -> str:
        """See :class:`Authority`."""
        if originator.role not in OPERATING_ROLES:
            return f"{originator.name} is {originator.role.value} and may not operate"
        area = self._area_of_station.get(output.station)
        if area is None or ALL_AREAS in originator.areas or area in originator.areas:
            return ""
        return f"{output.station} belongs to area {area}, for which {originator.name} is not responsible"


class NotAPhysicalStationError(TwinError):
    """A station is to be armed that is not marked as physical."""

    blame = Blame.SCENARIO

    def __init__(self, station: str) -> None:
        self.station = station
        super().__init__(f"{station} is not a physical station, so there is nothing to arm")


class ArmingPeriodError(TwinError):
    """A station is to be armed for no time, or for too long."""

    blame = Blame.SCENARIO

    def __init__(self, station: str, period_ms: int) -> None:
        self.station = station
        self.period_ms = period_ms
        super().__init__(f"{station} cannot be armed for {period_ms} ms: 1 to {MAX_ARMED_MS} ms are allowed")


class ArmingGuard:
    """Physical stations are operated only while armed, by name and with an expiry, in this very run.

    It is deliberately no part of any snapshot: a run that starts from one starts unarmed.
    """

    def __init__(self, physical: Iterable[str], record: Record) -> None:
        self._physical = frozenset(physical)
        self._record = record
        self._armed_until: dict[str, SimTime] = {}

    def arm(self, station: str, who: str, until: SimTime, now: SimTime) -> None:
        """Allow operations on a physical station before ``until``.

        Raises:
            NotAPhysicalStationError: the station is simulated, or unknown.
            ArmingPeriodError: ``until`` is not after ``now``, or further away than ``MAX_ARMED_MS``.
        """
        if station not in self._physical:
            raise NotAPhysicalStationError(station)
        if not 0 < until - now <= MAX_ARMED_MS:
            raise ArmingPeriodError(station, until - now)
        self._armed_until[station] = until
        self._journal(now, station, {"action": "armed", "by": who, "until_t_ms": until})

    def disarm(self, station: str, who: str, now: SimTime) -> None:
        """End the arming of a station; nothing happens if it is not armed."""
        if self._armed_until.pop(station, None) is not None:
            self._journal(now, station, {"action": "disarmed", "by": who})

    def disarm_all(self) -> None:
        """Forget every arming, as a restored run does."""
        self._armed_until.clear()

    def is_physical(self, station: str) -> bool:
        """True for a station with real devices behind it."""
        return station in self._physical

    def check(self, station: str, now: SimTime) -> str:
        """Why ``station`` may not be operated, as a sentence; empty if it may."""
        if station not in self._physical:
            return ""
        until = self._armed_until.get(station)
        if until is None:
            return f"{station} is a physical station and not armed in this run"
        return "" if now < until else f"the arming of the physical station {station} has expired"

    def _journal(self, now: SimTime, station: str, data: Mapping[str, object]) -> None:
        self._record(JournalEntry(now, "control_room", "arming", station, data))
