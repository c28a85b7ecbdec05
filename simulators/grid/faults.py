"""Short circuits in the plant: applied, feeding, extinguished, repaired."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from twin.network.model import Network
from twin.solvers.model import FaultKind, FaultPlace, FaultPoint
from twin.timebase import NEVER, SimTime


@dataclass
class PlantFault:
    """One fault. A transient one is gone once its place has been dead for ``extinguishes_after_ms``.

    A fault on a dead line is ``dormant`` until voltage reaches the line for the first time: only then does it burn.
    """

    event_id: str
    line: str
    kind: str
    position: float
    resistance_ohm: float
    permanent: bool
    extinguishes_after_ms: int
    dead_since_ms: SimTime = -1
    seen_live: bool = False
    told_dormant: bool = False
    second: Mapping[str, Any] | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """The line that is struck, or both of a double earth fault."""
        return (self.line,) if self.second is None else (self.line, self.second["line"])

    def points(self, network: Network) -> Iterator[FaultPoint]:
        """What it is, for the solver; of a double earth fault that is not fed at both places, what is left at one."""
        row, kind, resistance_ohm = network.lines.names.index(self.line), FaultKind(self.kind), self.resistance_ohm
        if self.second is None:
            yield FaultPoint(kind, row, self.position, resistance_ohm=resistance_ohm)
            return
        other = second_place(self.second, network)
        single = FaultKind.PHASE_TO_EARTH
        yield FaultPoint(kind, row, self.position, resistance_ohm=resistance_ohm, second=other)
        yield FaultPoint(single, row, self.position, resistance_ohm=resistance_ohm)
        yield FaultPoint(single, other.line, other.position, resistance_ohm=other.resistance_ohm)

    def extinguished_at(self) -> SimTime | None:
        """When the arc path will have recovered, if it stays dead; None while it is live or permanent."""
        if self.permanent or self.dead_since_ms < 0:
            return None
        return self.dead_since_ms + self.extinguishes_after_ms


def second_place(second: Mapping[str, Any], network: Network) -> FaultPlace:
    """The other place of a double earth fault, for the solver."""
    line = network.lines.names.index(second["line"])
    return FaultPlace(line, second["position"], resistance_ohm=second["resistance_ohm"])


class Faults:
    """All faults present in the plant, in the order they came."""

    def __init__(self) -> None:
        self._faults: dict[str, PlantFault] = {}

    def __iter__(self) -> Iterator[PlantFault]:
        return iter(self._faults.values())

    def __len__(self) -> int:
        return len(self._faults)

    def apply(self, event_id: str, data: Mapping[str, Any]) -> None:
        """A new fault from an event of the scenario."""
        self._faults[event_id] = PlantFault(event_id=event_id, **data)

    def clear(self, event_id: str) -> PlantFault | None:
        """The fault is repaired; None if it is not there any more."""
        return self._faults.pop(event_id, None)

    def extinguish(self, now: SimTime) -> list[tuple[PlantFault, SimTime]]:
        """Remove the transient faults whose arc path has recovered by ``now``, with when it had."""
        gone = [(f, at) for f in self if (at := f.extinguished_at()) is not None and at <= now]
        for fault, _ in gone:
            del self._faults[fault.event_id]
        return gone

    def next_extinguishing(self) -> SimTime:
        """When the next transient fault will be gone if nothing changes; ``NEVER`` if none will."""
        return min((at for fault in self if (at := fault.extinguished_at()) is not None), default=NEVER)

    def snapshot(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self]

    def restore(self, state: list[dict[str, Any]]) -> None:
        self._faults = {row["event_id"]: PlantFault(**row) for row in state}
