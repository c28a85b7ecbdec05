"""Simulation time: integer milliseconds since the scenario's start instant (UTC).

Nothing here reads the wall clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SimTime = int
"""Milliseconds since the start instant of the run."""

NEVER: SimTime = 2**53
"""Later than any run: what a part without a pending event reports as its next one."""


@dataclass(frozen=True, slots=True)
class TimeBase:
    """Ties simulation time to the calendar."""

    start: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            object.__setattr__(self, "start", self.start.replace(tzinfo=UTC))

    def instant(self, t_ms: SimTime) -> datetime:
        """The UTC instant of simulation time ``t_ms``."""
        return self.start.astimezone(UTC) + timedelta(milliseconds=t_ms)

    def sim_time(self, instant: datetime) -> SimTime:
        """The simulation time of a UTC instant, in milliseconds (rounded down)."""
        return (instant - self.start) // timedelta(milliseconds=1)


def clock_text(t_ms: SimTime) -> str:
    """``t_ms`` as ``hh:mm:ss.mmm`` since the start of the run."""
    seconds, ms = divmod(t_ms, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{ms:03d}"
