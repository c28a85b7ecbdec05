"""What one station's master has seen: every event once, or an overflow indication where some are missing.

Events of a stream carry successive numbers. A number that is left out is a gap: covered if the station had indicated an
overflow before it, open otherwise, and filled again if its events come late. An event that comes again is a repetition:
allowed if it came on an earlier connection, because a station sends again what had not been acknowledged when that
broke; one that comes twice on the same connection is doubled.

Where a station cannot know that two connections are of one master (IEC 60870-5-104 without redundancy groups), it gives
what an old connection left over to the new one when it finds the old one dead: behind newer events. There the overflow
indication may come behind the gap too (``in_order`` is off).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

STREAMS = ("m", "c", "s")
"""Measurands, counters and single points: numbered apart, because one ASDU holds one type."""


@dataclass(slots=True)
class Gap:
    """Numbers from ``first`` up to but not including ``end`` that have not come."""

    first: int
    end: int
    covered: bool


@dataclass(slots=True)
class Stream:
    """One run of numbers from 1 on. ``since`` is the last number when the present connection began."""

    last: int = 0
    since: int = 0
    overflow: bool = False
    gaps: list[Gap] = field(default_factory=list)


@dataclass(slots=True)
class Counts:
    """Sums over stations."""

    arrived: int = 0
    late: int = 0
    repeated: int = 0
    doubled: int = 0
    wrong: int = 0
    covered: int = 0
    open: int = 0
    connections: int = 0

    def __iadd__(self, other: Counts) -> Counts:
        for name in Counts.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


class Ledger:
    """The streams of one station. ``wrong`` counts what was not as it should be, ``first_fault`` tells the first."""

    def __init__(self, station: str, *, in_order: bool = True) -> None:
        self.station = station
        self._in_order = in_order
        self.streams = {name: Stream() for name in STREAMS}
        self.first_fault = ""
        self._counts = Counts()

    def connected(self) -> None:
        """A new connection: what was not acknowledged on the old one may come again."""
        self._counts.connections += 1
        for stream in self.streams.values():
            stream.since = stream.last

    def overflow(self, on: bool) -> None:
        """The station says that events have been lost, or that it is over."""
        for stream in self.streams.values():
            stream.overflow = on
            if on and not self._in_order:
                for gap in stream.gaps:
                    gap.covered = True

    def take(self, name: str, number: int) -> None:
        """An event arrived."""
        stream = self.streams[name]
        if number > stream.last:
            if number > stream.last + 1:
                stream.gaps.append(Gap(stream.last + 1, number, stream.overflow))
            stream.last = number
            self._counts.arrived += 1
        elif self._fills(stream, number):
            self._counts.arrived += 1
            self._counts.late += 1
        else:
            self._counts.repeated += 1
            if number > stream.since:
                self._counts.doubled += 1
                self._fault(f"event {name}{number} came again behind {name}{stream.last}")

    def _fills(self, stream: Stream, number: int) -> bool:
        for place, gap in enumerate(stream.gaps):
            if gap.first <= number < gap.end:
                parts = (Gap(gap.first, number, gap.covered), Gap(number + 1, gap.end, gap.covered))
                stream.gaps[place : place + 1] = [part for part in parts if part.first < part.end]
                return True
        return False

    def wrong(self, fault: str) -> None:
        """Something arrived that is not what was sent."""
        self._counts.wrong += 1
        self._fault(fault)

    def _fault(self, fault: str) -> None:
        self.first_fault = self.first_fault or f"{self.station}: {fault}"

    def counts(self) -> Counts:
        """The sums now."""
        counts = self._counts
        gaps = [gap for stream in self.streams.values() for gap in stream.gaps]
        counts.covered = sum(gap.end - gap.first for gap in gaps if gap.covered)
        counts.open = sum(gap.end - gap.first for gap in gaps if not gap.covered)
        return counts

    def is_current(self, made: Mapping[str, int]) -> bool:
        """Whether the last event of each stream is here, and no gap may still be filled."""
        return all(
            stream.last == made[name] and all(gap.covered for gap in stream.gaps)
            for name, stream in self.streams.items()
        )

    def faults(self, made: Mapping[str, int]) -> list[str]:
        """What is wrong at the end; ``made`` is the last number of each stream."""
        found = [self.first_fault] if self.first_fault else []
        for name, stream in self.streams.items():
            if stream.last != made[name]:
                found.append(f"{self.station}: the last event is {name}{stream.last} instead of {name}{made[name]}")
            found += [
                f"{self.station}: {name}{gap.first} to {name}{gap.end - 1} are missing without an overflow indication"
                for gap in stream.gaps
                if not gap.covered
            ]
        return found


class PolledLedger:
    """A station that is polled: two counters that are always equal and never go back."""

    def __init__(self, station: str) -> None:
        self.station = station
        self.values = {"a": 0, "b": 0}
        self.first_fault = ""
        self._counts = Counts()

    def connected(self) -> None:
        self._counts.connections += 1

    def take(self, name: str, number: int) -> None:
        """A value that was read."""
        self._counts.arrived += 1
        if number < self.values[name]:
            self.wrong(f"{name} goes back from {self.values[name]} to {number}")
        self.values[name] = number

    def polled(self) -> None:
        """An answer has been read to its end."""
        if self.values["a"] != self.values["b"]:
            self.wrong(f"a is {self.values['a']} and b is {self.values['b']} in one answer")

    def wrong(self, fault: str) -> None:
        self._counts.wrong += 1
        self.first_fault = self.first_fault or f"{self.station}: {fault}"

    def counts(self) -> Counts:
        return self._counts

    def is_current(self, made: Mapping[str, int]) -> bool:
        """Whether the last values are here."""
        return all(value == made["a"] for value in self.values.values())

    def faults(self, made: Mapping[str, int]) -> list[str]:
        """What is wrong at the end; the last values made must have been read."""
        found = [self.first_fault] if self.first_fault else []
        if not self.is_current(made):
            found.append(f"{self.station}: the last values read are {self.values} instead of {made['a']}")
        return found
