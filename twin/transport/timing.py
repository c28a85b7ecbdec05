"""When many sessions have something to do, worked out anew only for those that something happened to."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twin.timebase import NEVER, SimTime

Times = Callable[[str], tuple[SimTime, SimTime]]
"""From a station to (when it has something due, when it wants a simulation step)."""


class Timetable:
    """The times of all stations; what touches a station must say so through :meth:`touch`."""

    def __init__(self, stations: Iterable[str], times: Times) -> None:
        self._times = times
        self._due = dict.fromkeys(stations, NEVER)
        self._wanted = dict(self._due)
        self._stale: dict[str, None] = dict.fromkeys(self._due)
        self._next: tuple[SimTime, SimTime] = (NEVER, NEVER)

    def touch(self, station: str) -> None:
        """Something happened to a station."""
        self._stale[station] = None

    def _refresh(self) -> None:
        if self._stale:
            for station in self._stale:
                self._due[station], self._wanted[station] = self._times(station)
            self._stale = {}
            self._next = min(self._due.values(), default=NEVER), min(self._wanted.values(), default=NEVER)

    def next_due(self) -> SimTime:
        """The earliest time at which a station has something to do."""
        self._refresh()
        return self._next[0]

    def next_wanted(self) -> SimTime:
        """The earliest time for which a station wants a step."""
        self._refresh()
        return self._next[1]

    def due(self, now: SimTime) -> list[str]:
        """The stations with something to do by ``now``, in the order they were named at first."""
        if self.next_due() > now:
            return []
        return [station for station, at in self._due.items() if at <= now]
