"""One fault as the control room follows it, from the trip to the repair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twin.dms.flisr import FaultDistance, Location, ZoneCandidate
from twin.timebase import SimTime


@dataclass
class Incident:
    """One fault from the trip of its feeder head (``device``, a switch row) until it is repaired.

    ``closed_before`` and the demand are those before the fault: plans change the positions and measurements that
    they were taken from. ``latest_trip_t_ms`` is the trip that the plan answers; ``operated`` are the switches of its
    plans. ``waits``: a plan is to be made once FLISR is free to. ``over``: repaired, or energised again by somebody.
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
    operated: list[str] = field(default_factory=list)
    latest_trip_t_ms: SimTime = 0
    waits: bool = False
    repaired: bool = False
    over: bool = False

    @property
    def area(self) -> tuple[int, ...]:
        """The zones at fault, empty while it is not located."""
        return self.location.area if self.location is not None else ()


def restored(row: Mapping[str, Any]) -> Incident:
    """An incident from a snapshot (``dataclasses.asdict``)."""
    saved = row["location"]
    if saved is None:
        return Incident(**row)
    candidates = tuple(
        ZoneCandidate(c["zone"], c["probability"], tuple(c["nodes"]), tuple(c["branches"])) for c in saved["candidates"]
    )
    places = tuple(FaultDistance(**place) for place in saved["places"])
    found = (candidates, tuple(saved["area"]), saved["sentence"], places, tuple(saved["remarks"]))
    location = Location(saved["device"], *found)
    return Incident(**{**row, "location": location})
