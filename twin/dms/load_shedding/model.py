"""What load shedding sees and is told: feeders with their net load, limits that are broken, settings."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from twin.timebase import NEVER, SimTime

APPLICATION = "load_shedding"


class Window(BaseModel):
    """A time of the day (UTC) in which a share of the load is to be off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    begin_ms: int = Field(ge=0, lt=86_400_000, description="Since midnight, ms")
    end_ms: int = Field(ge=0, le=86_400_000, description="Since midnight, ms; before the begin: of the next day")
    share: float = Field(gt=0, le=1, description="Share of the load")

    def holds(self, of_day_ms: int) -> bool:
        """Whether a time of the day lies inside."""
        if self.begin_ms <= self.end_ms:
            return self.begin_ms <= of_day_ms < self.end_ms
        return of_day_ms >= self.begin_ms or of_day_ms < self.end_ms


class LoadSheddingSettings(BaseModel):
    """Shares, priorities and times."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shares: tuple[float, ...] = Field(
        default=(0.125, 0.125, 0.125, 0.125), max_length=8, description="Share of the net load armed for each stage"
    )
    tolerance: float = Field(default=0.03, ge=0, le=0.5, description="Of the net load, by which a stage may be off")
    never: tuple[str, ...] = Field(default=(), description="Feeder heads that are never shed: priority customers")
    last: tuple[str, ...] = Field(default=(), description="Feeder heads that are shed only where others do not do")
    restore_hz: float = Field(default=49.8, gt=0, description="Restoration begins at or above this frequency, Hz")
    stop_hz: float = Field(default=49.6, gt=0, description="Below this frequency restoration pauses, Hz")
    hold_ms: int = Field(default=30_000, ge=0, description="The frequency must hold this long before each block, ms")
    least_off_ms: int = Field(default=60_000, ge=0, description="A feeder stays off for this long, ms")
    block_share: float = Field(default=0.08, gt=0, le=1, description="Largest block that comes back, of the net load")
    cold_load_factor: float = Field(
        default=1.5, ge=1, le=5, description="What a feeder takes when it comes back, over what it took before"
    )
    windows: tuple[Window, ...] = Field(default=(), description="Time-of-day schemes")


@dataclass(frozen=True, slots=True)
class Feeder:
    """One feeder head as telemetered; ``p_kw`` is the net load, negative while the feeder exports.

    ``known``: position and power are good, so that it may be counted and operated; ``reachable``: its position is, so
    that commands reach it; ``blocked``: a tag, local control or no telecontrol; ``unsafe``: why its head must not be
    closed, empty if it may. ``armed`` are its stages from 1. ``off_since_ms`` is when it was shed (``NEVER``: it was
    not), ``before_kw`` what it took then, ``times_shed`` how often before.
    """

    name: str
    p_kw: float
    closed: bool = True
    known: bool = True
    reachable: bool = True
    blocked: bool = False
    unsafe: str = ""
    armed: tuple[int, ...] = ()
    off_since_ms: SimTime = NEVER
    before_kw: float = 0.0
    times_shed: int = 0

    @property
    def is_shed(self) -> bool:
        """Off by load shedding, and not for another reason."""
        return self.off_since_ms != NEVER and not self.closed

    def why_not(self, settings: LoadSheddingSettings) -> str:
        """Why the feeder may not be shed, in a few words; empty if it may."""
        if self.name in settings.never:
            return "supplies priority customers"
        if not self.known:
            return "is not readable"
        if self.blocked:
            return "is blocked"
        if not self.closed:
            return "is open"
        return "exports" if self.p_kw < 0 else "" if self.p_kw > 0 else "takes nothing"


@dataclass(frozen=True, slots=True)
class Violation:
    """A limit that is broken: ``excess_kw`` less through ``feeders`` (any of them) would mend it."""

    name: str
    excess_kw: float
    feeders: tuple[str, ...]
    sentence: str


def net_load_kw(feeders: tuple[Feeder, ...]) -> float:
    """What all readable feeders together take, those that export counted against it; what is off counts as before."""
    served = sum(f.p_kw for f in feeders if f.known and f.closed)
    return served + sum(f.before_kw for f in feeders if f.is_shed)
