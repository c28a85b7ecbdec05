"""Under-frequency relays: stages by level and slope that trip their breaker while they are armed.

The course of the frequency is known ahead as long as nothing else happens (``FrequencyCourse``), so a stage leaves a
timer at the millisecond of its pick-up, its letting go or its trip, and looks anew whenever the grid was. Its inner
resolution is that of the course, 10 ms. Not in here: who arms it, and auto-reclosing after a trip (there is none).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from simulators.field.equipment import switch_index
from simulators.field.kernel import NO_TIMER, DeviceKernel
from simulators.field.measurement import GridMeasurement
from simulators.field.record import Record
from twin.derive.settings import UnderFrequencyRelaySettings, UnderFrequencyStage
from twin.network.model import Bools, Floats, Network
from twin.outstations.model import StationCommand
from twin.points.model import PointDefinition, PointKind, Quality, Sample
from twin.timebase import SimTime

NOT_AN_ARMING = "not_an_arming"
NO_SUCH_STAGE = "no_such_stage"
SCAN_MS, MOVING_SCAN_MS = 1_000, 100
MOVING_HZ = 0.002
"""A frequency that moves so far in a short scan is scanned as often."""
_RESET, _OPENING, _OPENED = 0, 1, 2


class StageState(Enum):
    """A stage at rest, timing, or operated until the frequency is back."""

    IDLE = "idle"
    PICKED_UP = "picked_up"
    TRIPPED = "tripped"


class StageEvent(Enum):
    """What happens to a stage."""

    BELOW = "below"
    BACK = "back"
    ELAPSED = "elapsed"
    DISARMED = "disarmed"


TRANSITIONS = {
    (StageState.IDLE, StageEvent.BELOW): StageState.PICKED_UP,
    (StageState.PICKED_UP, StageEvent.BACK): StageState.IDLE,
    (StageState.PICKED_UP, StageEvent.DISARMED): StageState.IDLE,
    (StageState.PICKED_UP, StageEvent.ELAPSED): StageState.TRIPPED,
    (StageState.TRIPPED, StageEvent.BACK): StageState.IDLE,
    (StageState.TRIPPED, StageEvent.DISARMED): StageState.IDLE,
}
"""What is absent changes nothing."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The frequency at a relay, now and to come: ``f_hz`` at ``t_ms``, the first of them now; 0 where dead."""

    t_ms: Floats
    f_hz: Floats

    def at(self, now: SimTime) -> float:
        """The frequency at ``now``, between the points of the course."""
        return float(np.interp(now, self.t_ms, self.f_hz))


class Stage:
    """One stage; ``act`` is told of pick-up and trip."""

    def __init__(self, name: str, settings: UnderFrequencyStage, drop_off_hz: float, kernel: DeviceKernel) -> None:
        self.name, self.settings = name, settings
        self.state = StageState.IDLE
        self.armed = False
        self.since: SimTime = 0
        self.act: Callable[[StageState, SimTime], None] = lambda state, now: None
        self._back_hz = settings.level_hz + drop_off_hz
        self._timer = NO_TIMER
        self._kernel = kernel
        self._seen = Seen(np.zeros(1), np.zeros(1))
        kernel.register(name, self._due)

    def look(self, seen: Seen, now: SimTime) -> None:
        """The frequency is as ``seen`` from ``now`` on."""
        self._seen = seen
        self._plan(now)

    def arm(self, armed: bool, now: SimTime) -> None:
        """Let the stage trip, or not."""
        self.armed = armed
        if not armed:
            self._step(StageEvent.DISARMED, now)
        self._plan(now)

    def _below(self, seen: Seen) -> Bools:
        s = self.settings
        below: Bools = seen.f_hz <= s.level_hz
        if s.arm_hz is not None and len(seen.t_ms) > 1:
            slope = np.diff(seen.f_hz) / np.maximum(np.diff(seen.t_ms), 1e-9) * 1000.0
            falling = np.append(slope, slope[-1]) <= -s.rocof_hz_per_s
            below = below | ((seen.f_hz <= s.arm_hz) & falling)
        return below & (seen.f_hz > 0.0)

    def _next(self, now: SimTime) -> tuple[SimTime, StageEvent] | None:
        """What happens next if the frequency takes the course seen."""
        seen = self._seen
        if self.state is StageState.IDLE:
            return _first(seen, self._below(seen), now, StageEvent.BELOW)
        away = (seen.f_hz > self._back_hz) | (seen.f_hz == 0.0)
        back = _first(seen, away & ~self._below(seen), now, StageEvent.BACK)
        if self.state is StageState.TRIPPED:
            return back
        elapsed = (self.since + self.settings.delay_ms, StageEvent.ELAPSED)
        return elapsed if back is None or elapsed[0] <= back[0] else back

    def _plan(self, now: SimTime) -> None:
        self._kernel.cancel(self._timer)
        self._timer = NO_TIMER
        if not self.armed:
            return
        coming = self._next(now)
        if coming is not None:
            at = max(coming[0], now)
            self._timer = self._kernel.schedule(at, self.name, coming[1].value)

    def _due(self, timer: str, _payload: Any, now: SimTime) -> None:
        self._timer = NO_TIMER
        self._step(StageEvent(timer), now)
        self._seen = Seen(*_from(self._seen, now))
        self._plan(now)

    def _step(self, event: StageEvent, now: SimTime) -> None:
        after = TRANSITIONS.get((self.state, event))
        if after is None:
            return
        self.state, self.since = after, now
        self.act(after, now)

    def snapshot(self) -> list[Any]:
        """State ready for JSON; the course seen is a look old at the most and comes again with the next."""
        course = [self._seen.t_ms.tolist(), self._seen.f_hz.tolist()] if self.armed else [[0.0], [0.0]]
        return [self.state.value, self.armed, self.since, self._timer, course]

    def restore(self, state: Sequence[Any]) -> None:
        """Stand as in ``state``."""
        value, self.armed, self.since, self._timer, course = state
        self.state = StageState(value)
        self._seen = Seen(np.array(course[0]), np.array(course[1]))


def _first(seen: Seen, where: Bools, now: SimTime, event: StageEvent) -> tuple[SimTime, StageEvent] | None:
    rows = np.flatnonzero(where)
    return (max(math.ceil(seen.t_ms[rows[0]]), now), event) if rows.size else None


def _from(seen: Seen, now: SimTime) -> tuple[Floats, Floats]:
    """The course from ``now`` on, with the frequency at ``now`` first."""
    later = seen.t_ms > now
    return np.append(float(now), seen.t_ms[later]), np.append(seen.at(now), seen.f_hz[later])


class FrequencyRelays:
    """All under-frequency relays of a network; part of the field bank.

    ``trip`` opens a breaker (row of the switch, time); ``closed`` are the contacts of all switches.
    """

    def __init__(
        self,
        network: Network,
        settings: Sequence[UnderFrequencyRelaySettings],
        points: Sequence[PointDefinition],
        kernel: DeviceKernel,
        record: Record,
        closed: Bools,
        trip: Callable[[int, SimTime], None],
    ) -> None:
        self._network, self._record, self._closed, self._trip = network, record, closed, trip
        self._row = {relay.breaker: switch_index(network, relay.breaker) for relay in settings}
        self._node = network.switches.node[list(self._row.values())]
        self._stages = {relay.breaker: self._make(relay, kernel) for relay in settings}
        own = [p for p in points if p.equipment in self._row and _is_ours(p)]
        self._points = {(p.equipment, p.quantity): p for p in own}
        self._commands = {(p.station, p.name): p for p in own if p.kind is PointKind.SINGLE_COMMAND}
        self._tripped = dict.fromkeys(self._row, _RESET)
        self._changed_ms = dict.fromkeys(self._points, 0)
        self._f_hz = np.full(len(self._row), np.nan)
        self._sent_hz = np.full(len(self._row), np.nan)
        self._scanned_ms = 0

    def _make(self, relay: UnderFrequencyRelaySettings, kernel: DeviceKernel) -> list[Stage]:
        stages = []
        for number, settings in enumerate(relay.stages, 1):
            stage = Stage(f"{relay.breaker}/81U_{number}", settings, relay.drop_off_hz, kernel)
            stage.armed = number in relay.armed
            stage.act = self._listener(relay.breaker, number, stage)
            stages.append(stage)
        return stages

    def _listener(self, breaker: str, number: int, stage: Stage) -> Callable[[StageState, SimTime], None]:
        def act(state: StageState, now: SimTime) -> None:
            if state is StageState.IDLE:
                return
            data = {"stage": number, "level_hz": stage.settings.level_hz, "f_hz": round(stage._seen.at(now), 4)}
            self._record.write("ufls_pickup" if state is StageState.PICKED_UP else "ufls_trip", breaker, data, now)
            if state is StageState.TRIPPED and self._closed[self._row[breaker]]:
                self._tripped[breaker] = _OPENING
                self._tell(breaker, "ufls_trip", True, now)
                self._trip(self._row[breaker], now)

        return act

    @property
    def present(self) -> bool:
        """False if the network has none of these relays."""
        return bool(self._row)

    def takes(self, point: PointDefinition) -> bool:
        """True if ``point`` belongs to a relay in here."""
        return (point.equipment, point.quantity) in self._points

    # -- the grid -------------------------------------------------------------------------------------------------

    def measure(self, grid: GridMeasurement, now: SimTime) -> None:
        """The frequency is as ``grid`` says from ``now`` on."""
        if not self._row:
            return
        nominal = self._network.frequency_hz
        f_hz = np.where(grid.energised, nominal, 0.0) if grid.f_hz is None else grid.f_hz
        f_hz = f_hz[self._node]
        scans = now % _scan_ms(grid) == 0 or bool(((f_hz > 0.0) != (self._f_hz > 0.0)).any())
        if scans:
            self._f_hz, self._scanned_ms = f_hz, now
        for place, (breaker, row) in enumerate(self._row.items()):
            self._follow_breaker(breaker, bool(self._closed[row]), now)
            if any(stage.armed for stage in self._stages[breaker]):
                seen = self._seen(grid, place, now)
                for stage in self._stages[breaker]:
                    stage.look(seen, now)
        if scans:
            self._record.samples += self._scan()

    def _follow_breaker(self, breaker: str, closed: bool, now: SimTime) -> None:
        """The trip indication stands until the breaker, which it has opened, is closed again."""
        if self._tripped[breaker] == _OPENING and not closed:
            self._tripped[breaker] = _OPENED
        elif self._tripped[breaker] == _OPENED and closed:
            self._tripped[breaker] = _RESET
            self._tell(breaker, "ufls_trip", False, now)

    def _seen(self, grid: GridMeasurement, place: int, now: SimTime) -> Seen:
        if grid.course is None:
            live = bool(grid.energised[self._node[place]])
            return Seen(np.array([float(now)]), np.array([self._network.frequency_hz if live else 0.0]))
        return Seen(grid.course.t_ms, grid.course.f_hz[:, grid.course.island[self._node[place]]])

    def _scan(self) -> list[Sample]:
        """The frequencies that left their dead band."""
        f_hz = np.where(self._f_hz > 0.0, self._f_hz, np.nan)
        changed = ~(np.abs(f_hz - self._sent_hz) <= self._dead_bands()) & ~(np.isnan(f_hz) & np.isnan(self._sent_hz))
        self._sent_hz = np.where(changed, f_hz, self._sent_hz)
        breakers = list(self._row)
        found = [self._points.get((breakers[i], "f_hz")) for i in np.flatnonzero(changed).tolist()]
        return [self._frequency(point, spontaneous=True) for point in found if point is not None]

    def _dead_bands(self) -> Floats:
        points = [self._points.get((breaker, "f_hz")) for breaker in self._row]
        return np.array([point.dead_band if point else 0.0 for point in points])

    # -- commands -------------------------------------------------------------------------------------------------

    def command(self, command: StationCommand) -> PointDefinition | None:
        """The arming that a command means, or None if it is for another device."""
        return self._commands.get((command.station, command.point))

    def refusal(self, point: PointDefinition, value: float) -> str:
        """The rule against the command, or an empty string."""
        if value not in (0.0, 1.0):
            return NOT_AN_ARMING
        return "" if _number(point) <= len(self._stages[point.equipment]) else NO_SUCH_STAGE

    def operate(self, point: PointDefinition, command: StationCommand, now: SimTime) -> None:
        """Arm or disarm a stage."""
        number, armed = _number(point), command.value == 1.0
        stage = self._stages[point.equipment][number - 1]
        if stage.armed != armed:
            self._record.write("ufls_armed" if armed else "ufls_disarmed", point.equipment, {"stage": number}, now)
            stage.arm(armed, now)
            self._tell(point.equipment, f"ufls_armed_{number}", armed, now)
        self._record.finished.append((command.ticket, True, now))

    # -- what it tells --------------------------------------------------------------------------------------------

    def _tell(self, breaker: str, quantity: str, value: bool, now: SimTime) -> None:
        if point := self._points.get((breaker, quantity)):
            self._changed_ms[breaker, quantity] = now
            self._record.samples.append(_indication(point, value, now, spontaneous=True))

    def image(self) -> list[Sample]:
        """The present value of every point."""
        samples = []
        for (breaker, quantity), point in self._points.items():
            if quantity == "f_hz":
                samples.append(self._frequency(point, spontaneous=False))
            elif not point.kind.is_output:
                value = self._tripped[breaker] != _RESET if quantity == "ufls_trip" else self._armed(breaker, point)
                changed_ms = self._changed_ms[breaker, quantity]
                samples.append(_indication(point, value, changed_ms, spontaneous=False))
        return samples

    def _armed(self, breaker: str, point: PointDefinition) -> bool:
        stages = self._stages[breaker]
        return _number(point) <= len(stages) and stages[_number(point) - 1].armed

    def _frequency(self, point: PointDefinition, *, spontaneous: bool) -> Sample:
        f_hz = float(np.float32(self._f_hz[list(self._row).index(point.equipment)]))
        quality = Quality.GOOD if f_hz > 0.0 else Quality.INVALID
        known = f_hz if f_hz > 0.0 else 0.0
        return Sample(point.station, point.name, known, quality, self._scanned_ms, spontaneous)

    def snapshot(self) -> dict[str, Any]:
        """State ready for JSON."""
        return {
            "stages": {breaker: [stage.snapshot() for stage in stages] for breaker, stages in self._stages.items()},
            "tripped": self._tripped,
            "changed_ms": list(self._changed_ms.values()),
            "f_hz": [None if math.isnan(f) else f for f in self._f_hz.tolist()],
            "sent_hz": [None if math.isnan(f) else f for f in self._sent_hz.tolist()],
            "scanned_ms": self._scanned_ms,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand as in ``state``."""
        for breaker, stages in self._stages.items():
            for stage, saved in zip(stages, state["stages"][breaker], strict=True):
                stage.restore(saved)
        self._tripped = dict(state["tripped"])
        self._changed_ms = dict(zip(self._changed_ms, state["changed_ms"], strict=True))
        self._f_hz, self._sent_hz = (np.array(state[key], dtype=np.float64) for key in ("f_hz", "sent_hz"))
        self._scanned_ms = state["scanned_ms"]


def _scan_ms(grid: GridMeasurement) -> int:
    """Frequencies are scanned at times of their own, so that cycles for other reasons change nothing of it."""
    if grid.course is None:
        return SCAN_MS
    soon = grid.course.f_hz[grid.course.t_ms <= grid.course.t_ms[0] + MOVING_SCAN_MS]
    moved = float(np.abs(soon[-1] - soon[0]).max(initial=0.0))
    return MOVING_SCAN_MS if moved > MOVING_HZ else SCAN_MS


def _is_ours(point: PointDefinition) -> bool:
    return point.quantity == "f_hz" or "ufls" in point.quantity


def _number(point: PointDefinition) -> int:
    """The stage of an arming or its status, from 1."""
    return int(point.quantity.rpartition("_")[2])


def _indication(point: PointDefinition, value: bool, t_ms: SimTime, *, spontaneous: bool) -> Sample:
    return Sample(point.station, point.name, float(value), Quality.GOOD, t_ms, spontaneous)
