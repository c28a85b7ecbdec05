"""Live runs: the world is paced against the wall clock, and its sessions run freely over real sockets.

Foreign masters may connect, foreign stacks may be used, and the telecontrol network is on the wire. Between two cycles
the thread that steps the world serves the stations; what changes the plant, and what arrives in the control room,
brings the next cycle forward. A live run depends on when people and machines outside act: it repeats no journal.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from simulators.addresses import live_places
from simulators.clock import LONGEST_SLEEP_S, TAKE_EFFECT_MS, Pacer
from simulators.control_room.simulator import ControlRoomSimulator
from simulators.cycle import CycleSimulator
from simulators.field.simulator import FieldSimulator
from simulators.preparation import Preparation
from twin.errors import Blame, TwinError
from twin.points.protocols import STACKS
from twin.scenario.stations import ListenSettings, StationSettings
from twin.timebase import SimTime

NEWS_MS = 5
"""How long what arrived in the control room waits for more of it."""
WANTED = ("director_wanted", "grid_wanted", "field_wanted", "control_room_wanted")
CHANGED = ("director_changed", "field_changed", "control_room_changed")
MODULES = {"c104": "c104", "opendnp3": "opendnp3"}


class LiveRunError(TwinError):
    """The way a run is to be made does not go with what its stations are set to."""

    blame = Blame.SCENARIO

    def __init__(self, station: str, fault: str) -> None:
        self.station, self.fault = station, fault
        super().__init__(f"station {station} {fault}")


class LiveClock:
    """Simulation time for the threads of the connections: goes with the wall clock between two cycles, never past the
    next one, and stands still in a cycle."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._lock = threading.Lock()
        self._last: SimTime = 0
        self._limit: SimTime = 0

    def __call__(self) -> SimTime:
        """Simulation time now; never less than before."""
        with self._lock:
            self._last = min(max(int(self._pacer.now_ms()), self._last), self._limit)
            return self._last

    def hold(self, until: SimTime) -> SimTime:
        """The next cycle is to be at ``until``; when it can be, because nothing that happened is undone."""
        with self._lock:
            self._limit = max(until, self._last)
            return self._limit


@dataclass
class Live:
    """What a live world has that others have not."""

    pacer: Pacer
    awake: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.clock = LiveClock(self.pacer)


class Recess:
    """The time between two cycles of a live world: called after each with when the next one is, returns when it is."""

    def __init__(self, live: Live, simulators: Mapping[str, CycleSimulator], end_ms: SimTime) -> None:
        self._live = live
        self._simulators = simulators
        self._end_ms = end_ms
        station_side, control_side = simulators["field"], simulators["control_room"]
        assert isinstance(station_side, FieldSimulator)
        assert isinstance(control_side, ControlRoomSimulator)
        self._field, self._room = station_side, control_side

    def __call__(self, next_ms: SimTime) -> SimTime:
        """Serve the stations until the next cycle is due, and return its time."""
        if next_ms > self._end_ms:
            return next_ms
        clock, pacer = self._live.clock, self._live.pacer
        now = int(self._simulators["clock"].outputs["now_ms"])
        planned = self._planned(now, next_ms)
        while True:
            planned = clock.hold(planned)
            t_ms = clock()
            if t_ms >= planned or pacer.cancelled:
                return planned
            self._sleep((min(planned, self._field.next_due()) - t_ms) / 1000.0 / pacer.speed)
            planned = min(planned, self._serve(now))

    def _planned(self, now: SimTime, next_ms: SimTime) -> SimTime:
        """What everybody wants after this cycle counts at once; in lockstep it would count in the next one."""
        said = {name: value for s in self._simulators.values() for name, value in s.outputs.items()}
        if any(said.get(name) for name in CHANGED):
            return now + TAKE_EFFECT_MS
        return max(now + TAKE_EFFECT_MS, min(next_ms, *(said[name] for name in WANTED if name in said)))

    def _sleep(self, wait_s: float) -> None:
        if wait_s > 0:
            self._live.awake.wait(min(wait_s, LONGEST_SLEEP_S))
        self._live.awake.clear()

    def _serve(self, now: SimTime) -> SimTime:
        """Let the stations work until now; when a cycle is wanted for what came of it."""
        t_ms = self._live.clock()
        wanted = max(self._field.serve(t_ms), t_ms, now + TAKE_EFFECT_MS)
        return min(wanted, max(t_ms, now + NEWS_MS)) if self._room.has_news else wanted


# -- what goes together -----------------------------------------------------------------------------------------------


def check_run(
    preparation: Preparation, protocol: str | None, *, live: bool, speed: float, listen: ListenSettings | None = None
) -> None:
    """Whether the stations can be run this way.

    Raises:
        LiveRunError: a station cannot.
        NoPortError: they cannot all listen.
    """
    if live:
        live_places(preparation.scenario, preparation.derivation, listen)
    for station in preparation.derivation.remote_stations:
        settings = preparation.scenario.station(station.name)
        for fault in _faults(settings, protocol or settings.protocol, live=live, speed=speed):
            raise LiveRunError(station.name, fault)


def _faults(settings: StationSettings, protocol: str, *, live: bool, speed: float) -> Iterator[str]:
    stack = settings.stack
    if stack != "own" and STACKS[stack] != protocol:
        yield f"is reached over {protocol}, but the stack {stack} speaks {STACKS[stack]} alone"
    if not live and settings.needs_live:
        yield f"has {settings.needs_live}, which a run in simulated time cannot have; run it with --live"
    if live and protocol == "in_process":
        yield "is reached in_process, where there is nothing to connect to; a live run needs another protocol"
    if stack != "own" and protocol == "iec104" and settings.iec104.standby:
        yield f"has a standby connection, which the stack {stack} cannot keep"
    if stack != "own" and live and speed != 1.0:
        yield f"has the stack {stack}, whose timers follow the wall clock; run it with --speed 1"
    if stack != "own" and importlib.util.find_spec(MODULES[stack]) is None:
        yield f"has the stack {stack}, which is not installed; add the extra distribution-twin[{stack}]"
