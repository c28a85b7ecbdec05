"""The point database: the control room's image of every input point, as arrays.

For holding the last value, quality and times of each point and saying what changed. Not for history
(the historian), nor for deciding what a change means (alarms, command path).

The rules of taking over a sample:

1. A sample older than what is stored never overwrites, whether spontaneous (an event buffer emptied
   late) or from an interrogation. A late spontaneous sample of a status point is still reported, as a
   change marked ``late``. Samples of one and the same source time overwrite in the order of arrival.
2. A stored sample counts as no newer than its arrival, so a source clock that runs ahead cannot freeze a point.
   A stamp of the front end, and that of an interrogation, says when a sample arrived, not when it happened: an
   event up to ``STAMP_SLACK_MS`` older than such a stamp is still taken over, in the order of arrival.
3. A lost session makes every point of the station not topical at once. The interrogation after it is
   taken over whatever its time, and clears the points one by one.
4. An interrogation that repeats the value of a status point leaves its source time: when it happened is known.
5. A late sample that contradicts the image leaves the image as it is and is marked ``contradicts``: the front
   end then interrogates the station, so that a source clock that runs behind cannot hide a change for long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.errors import Blame, TwinError
from twin.links.model import ArrivedSample
from twin.network.model import Bools, Floats
from twin.points.calculated import CALCULATED
from twin.points.model import PointDefinition, PointKind, Quality, Sample, TimeSource
from twin.timebase import NEVER, SimTime

Qualities = NDArray[np.uint8]
Times = NDArray[np.int64]
Rows = NDArray[np.intp]

STATUS_KINDS = frozenset({PointKind.SINGLE, PointKind.DOUBLE, PointKind.STEP_POSITION})
"""Kinds whose changes are events; measurands and counters are updated silently."""

STAMP_SLACK_MS = 2_000
"""By how much a front end's stamp may be later than what it stamps: the delay of a slow telecontrol channel."""

_NOT_TOPICAL = int(Quality.NOT_TOPICAL)


class DuplicatePointError(TwinError):
    """Two points of a point map bear one name."""

    blame = Blame.SCENARIO

    def __init__(self, point: str) -> None:
        self.point = point
        super().__init__(f"the point map has the point {point} twice")


class UnknownPointError(TwinError):
    """A point is asked for that the point map does not have."""

    def __init__(self, point: str) -> None:
        self.point = point
        super().__init__(f"the point map has no point {point}")


class SnapshotMismatchError(TwinError):
    """A snapshot was taken with another point map, rule set or set of stations."""

    def __init__(self, part: str) -> None:
        self.part = part
        super().__init__(f"the snapshot of the {part} was taken with another configuration")


@dataclass(frozen=True, slots=True)
class Change:
    """A status point was received, and its value or quality is new, or it is ``late``.

    ``old_value`` is NaN for the ``initial`` sample of a point. ``after_loss``: the point had been declared not
    topical by the loss of its session. ``late``: older than the image, which it left as it was.
    """

    station: str
    point: str
    equipment: str
    quantity: str
    old_value: float
    new_value: float
    old_quality: Quality
    new_quality: Quality
    source_t_ms: SimTime
    t_ms: SimTime
    spontaneous: bool = True
    initial: bool = False
    after_loss: bool = False
    late: bool = False

    @property
    def value_changed(self) -> bool:
        """True if the value differs from the one before (not for the first one)."""
        return not self.initial and self.old_value != self.new_value

    @property
    def contradicts(self) -> bool:
        """True for a late sample that says something else than the image."""
        return self.late and self.old_value != self.new_value

    @property
    def is_event(self) -> bool:
        """True for what belongs into the list of events.

        The initial image and the return to topical after a lost session are taken over silently.
        """
        if self.initial:
            return self.spontaneous
        restored = self.old_quality & ~Quality.NOT_TOPICAL
        silent_return = self.after_loss and self.new_quality == restored
        return self.late or self.value_changed or not silent_return


@dataclass(frozen=True, slots=True)
class SessionLoss:
    """A station's session is gone: ``points`` of its points have become not topical by it."""

    station: str
    t_ms: SimTime
    points: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What the database holds of one point; ``good`` as in :meth:`PointDatabase.good`."""

    value: float
    good: bool
    source_t_ms: SimTime


class PointView:
    """The present values of a fixed list of points, read by one indexing operation each.

    Arrays are in the order of ``points`` and belong to the caller.
    """

    def __init__(self, database: PointDatabase, points: Sequence[str]) -> None:
        self.points = tuple(points)
        self._database = database
        self._rows: Rows = np.array([database.row(point) for point in points], dtype=np.intp)

    @property
    def values(self) -> Floats:
        """Last values, (n,); NaN where nothing was received yet."""
        return self._database._values[self._rows]

    @property
    def quality(self) -> Qualities:
        """Quality flags as numbered in ``Quality``, (n,)."""
        return self._database._quality[self._rows]

    @property
    def good(self) -> Bools:
        """Received, and no quality flag set, (n,)."""
        good: Bools = self._database._quality[self._rows] == 0
        return good

    @property
    def source_t_ms(self) -> Times:
        """When the values happened at their source, ms, (n,)."""
        return self._database._source_t_ms[self._rows]

    @property
    def arrival_t_ms(self) -> Times:
        """When the values arrived, ms, (n,)."""
        return self._database._arrival_t_ms[self._rows]


class CalculatedPoints:
    """Writes a fixed list of calculated points, all at once; the one way to write them.

    Raises:
        UnknownPointError: one of them is no calculated point of the database.
    """

    def __init__(self, database: PointDatabase, points: Sequence[str]) -> None:
        self.points = tuple(points)
        self._database = database
        rows = [database.row(point) for point in points]
        for row, point in zip(rows, points, strict=True):
            if database.definitions[row].station != CALCULATED:
                raise UnknownPointError(f"{point} among the calculated points")
        self._rows: Rows = np.array(rows, dtype=np.intp)

    def publish(self, values: Floats, quality: Qualities | Quality, now: SimTime) -> None:
        """Take over one value a point, calculated at ``now``; one that is no finite number is invalid."""
        finite = np.isfinite(values)
        flags = np.broadcast_to(np.asarray(quality, dtype=np.uint8), finite.shape)
        database = self._database
        database._values[self._rows] = np.where(finite, values, np.nan)
        database._quality[self._rows] = np.where(finite, flags, flags | np.uint8(Quality.INVALID))
        database._source_t_ms[self._rows] = database._arrival_t_ms[self._rows] = now
        database._received[self._rows] = True
        database.revision += 1

    def withdraw(self) -> None:
        """Say that the values stand for the present no longer; they and their times stay."""
        self._database._quality[self._rows] |= np.uint8(_NOT_TOPICAL)
        self._database.revision += 1


class PointDatabase:
    """The image of all input points of a point map; outputs in ``definitions`` are passed over.

    ``definitions`` may hold calculated points (:mod:`twin.points.calculated`). Until its first sample a point is NaN
    and not topical. ``revision`` counts what was written: while it is the same, so is the image.

    Raises:
        DuplicatePointError: two points bear one name.
    """

    def __init__(self, definitions: Sequence[PointDefinition]) -> None:
        self.definitions = tuple(d for d in definitions if not d.kind.is_output)
        self._index: dict[str, int] = {}
        for row, definition in enumerate(self.definitions):
            if definition.name in self._index:
                raise DuplicatePointError(definition.name)
            self._index[definition.name] = row
        self._by_equipment = {(d.equipment, d.quantity): row for row, d in reversed(list(enumerate(self.definitions)))}
        self._is_status = [d.kind in STATUS_KINDS for d in self.definitions]
        self._rows_of: dict[str, Rows] = _rows_by_station(self.definitions)
        n = len(self.definitions)
        self._values: Floats = np.full(n, np.nan)
        self._quality: Qualities = np.full(n, _NOT_TOPICAL, dtype=np.uint8)
        self._source_t_ms: Times = np.zeros(n, dtype=np.int64)
        self._arrival_t_ms: Times = np.zeros(n, dtype=np.int64)
        self._stored_t_ms: Times = np.full(n, -NEVER, dtype=np.int64)  # what older samples are held against
        self._received: Bools = np.zeros(n, dtype=np.bool_)
        self._lost: Bools = np.zeros(n, dtype=np.bool_)
        self.revision = 0

    def __contains__(self, point: object) -> bool:
        return point in self._index

    def __len__(self) -> int:
        return len(self.definitions)

    @property
    def stations(self) -> tuple[str, ...]:
        """The stations of the point map, in its order."""
        return tuple(station for station in self._rows_of if station != CALCULATED)

    def has(self, station: str, point: str) -> bool:
        """True if ``point`` is an input of ``station``."""
        row = self._index.get(point)
        return row is not None and self.definitions[row].station == station != CALCULATED

    def row(self, point: str) -> int:
        """The row of a point in every array.

        Raises:
            UnknownPointError: the point map does not have it as an input.
        """
        if point not in self._index:
            raise UnknownPointError(point)
        return self._index[point]

    def definition(self, point: str) -> PointDefinition:
        """The row of the point map."""
        return self.definitions[self.row(point)]

    def value(self, point: str) -> float:
        """The last value; NaN if none was received."""
        return float(self._values[self.row(point)])

    def quality(self, point: str) -> Quality:
        """The present quality."""
        return Quality(int(self._quality[self.row(point)]))

    def good(self, point: str) -> bool:
        """True if a value was received and no quality flag is set."""
        return bool(self._quality[self.row(point)] == 0)

    def received(self, point: str) -> bool:
        """True once any sample was received."""
        return bool(self._received[self.row(point)])

    def reading(self, equipment: str, quantity: str) -> Reading | None:
        """The image of a quantity of an equipment; None if no point shows it (the first one, if several do)."""
        row = self._by_equipment.get((equipment, quantity))
        if row is None:
            return None
        return Reading(float(self._values[row]), bool(self._quality[row] == 0), int(self._source_t_ms[row]))

    def calculated(self, points: Sequence[str]) -> CalculatedPoints:
        """The way to write these calculated points.

        Raises:
            UnknownPointError: one of them is no calculated point of this database.
        """
        return CalculatedPoints(self, points)

    def view(self, points: Sequence[str]) -> PointView:
        """Compile a list of points once, for reading them as arrays.

        Raises:
            UnknownPointError: one of them is not in the point map.
        """
        return PointView(self, points)

    def apply(self, arrived: ArrivedSample) -> Change | None:
        """Take over one sample; returns what there is to report of a status point.

        Raises:
            UnknownPointError: the station has no such input.
        """
        sample = arrived.sample
        if not self.has(sample.station, sample.point):
            raise UnknownPointError(f"{sample.point} of station {sample.station}")
        row = self._index[sample.point]
        if self._is_older(row, sample):
            return self._change(row, arrived, late=True) if sample.spontaneous and self._is_status[row] else None
        change = self._change(row, arrived) if self._is_status[row] and self._differs(row, sample) else None
        self._store(row, arrived)
        return change

    def _is_older(self, row: int, sample: Sample) -> bool:
        if not self._received[row] or (self._lost[row] and not sample.spontaneous):
            return False
        return bool(sample.source_t_ms < self._stored_t_ms[row])

    def _differs(self, row: int, sample: Sample) -> bool:
        return bool(self._values[row] != sample.value or self._quality[row] != sample.quality)

    def _store(self, row: int, arrived: ArrivedSample) -> None:
        repeats = self._is_status[row] and self._received[row] and self._values[row] == arrived.sample.value
        if arrived.sample.spontaneous or not repeats:
            self._source_t_ms[row] = arrived.sample.source_t_ms
        self._values[row] = arrived.sample.value
        self._quality[row] = int(arrived.sample.quality)
        self._arrival_t_ms[row] = arrived.t_ms
        by_device = arrived.sample.spontaneous and arrived.sample.stamped_by is TimeSource.DEVICE
        slack = 0 if by_device else STAMP_SLACK_MS
        happened = min(arrived.sample.source_t_ms, arrived.t_ms) - slack
        self._stored_t_ms[row] = max(self._stored_t_ms[row], happened)
        self._received[row] = True
        self._lost[row] = False
        self.revision += 1

    def _change(self, row: int, arrived: ArrivedSample, *, late: bool = False) -> Change:
        definition, sample = self.definitions[row], arrived.sample
        return Change(
            station=definition.station,
            point=definition.name,
            equipment=definition.equipment,
            quantity=definition.quantity,
            old_value=float(self._values[row]),
            new_value=float(sample.value),
            old_quality=Quality(int(self._quality[row])),
            new_quality=sample.quality,
            source_t_ms=sample.source_t_ms,
            t_ms=arrived.t_ms,
            spontaneous=sample.spontaneous,
            initial=not self._received[row],
            after_loss=bool(self._lost[row]),
            late=late,
        )

    def session_lost(self, station: str, now: SimTime) -> SessionLoss:
        """Make every point of ``station`` not topical at once; ``points`` counts those that were topical."""
        rows = self._rows_of.get(station, np.empty(0, dtype=np.intp))
        fresh = int(np.count_nonzero((self._quality[rows] & _NOT_TOPICAL) == 0))
        self._quality[rows] |= np.uint8(_NOT_TOPICAL)
        self._lost[rows] = True
        self.revision += 1
        return SessionLoss(station, now, fresh)

    def copy_from(self, other: PointDatabase) -> None:
        """Take over the image of every point that ``other`` has too."""
        rows = [(row, other._index[name]) for name, row in self._index.items() if name in other._index]
        mine, theirs = np.array(rows, dtype=np.intp).reshape(-1, 2).T
        for array in ("_values", "_quality", "_source_t_ms", "_arrival_t_ms", "_stored_t_ms", "_received", "_lost"):
            getattr(self, array)[mine] = getattr(other, array)[theirs]
        self.revision += 1

    def snapshot(self) -> dict[str, Any]:
        """The whole image, as JSON can carry it."""
        return {
            "points": list(self._index),
            "values": [None if np.isnan(value) else value for value in self._values.tolist()],
            "quality": self._quality.tolist(),
            "source_t_ms": self._source_t_ms.tolist(),
            "arrival_t_ms": self._arrival_t_ms.tolist(),
            "stored_t_ms": self._stored_t_ms.tolist(),
            "received": self._received.tolist(),
            "lost": self._lost.tolist(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Return to a snapshot.

        Raises:
            SnapshotMismatchError: it was taken with another point map.
        """
        if list(state["points"]) != list(self._index):
            raise SnapshotMismatchError("point database")
        self._values[:] = [np.nan if value is None else value for value in state["values"]]
        self._quality[:] = state["quality"]
        self._source_t_ms[:] = state["source_t_ms"]
        self._arrival_t_ms[:] = state["arrival_t_ms"]
        self._stored_t_ms[:] = state["stored_t_ms"]
        self._received[:] = state["received"]
        self._lost[:] = state["lost"]
        self.revision += 1


def _rows_by_station(definitions: Sequence[PointDefinition]) -> dict[str, Rows]:
    rows: dict[str, list[int]] = {}
    for row, definition in enumerate(definitions):
        rows.setdefault(definition.station, []).append(row)
    return {station: np.array(of, dtype=np.intp) for station, of in rows.items()}
