"""What an incident is made of: milestones in lanes, each with its cause.

Not for finding out what caused what: see ``timeline``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from twin.timebase import SimTime


class Lane(Enum):
    """Where something happened, in the order from the plant to the operator's desk."""

    PLANT = "Plant"
    PROTECTION = "Protection"
    TELECONTROL = "Telecontrol"
    CONTROL_ROOM = "Control room"
    COMMANDS = "Commands"


class Tone(Enum):
    """How a milestone reads: as a disturbance, as a recovery, or neither."""

    NEUTRAL = "neutral"
    BAD = "bad"
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Milestone:
    """One thing in the chain. ``cause`` is the row of the milestone it followed from, None for a root.

    Milestones of one ``family`` may be told together, each then by its ``part``; without a family each stands alone.
    """

    t_ms: SimTime
    lane: Lane
    kind: str
    subject: str
    label: str
    cause: int | None = None
    tone: Tone = Tone.NEUTRAL
    command_id: str = ""
    family: str = ""
    part: str = ""


@dataclass(frozen=True, slots=True)
class Hop:
    """From a cause to its effect."""

    cause: Milestone
    effect: Milestone

    @property
    def delta_ms(self) -> SimTime:
        """How long the hop took."""
        return self.effect.t_ms - self.cause.t_ms


@dataclass(frozen=True)
class Incident:
    """A fault (or, without one, a sequence of commands) and all that followed until the next fault."""

    title: str
    start_ms: SimTime
    milestones: tuple[Milestone, ...]

    @property
    def hops(self) -> tuple[Hop, ...]:
        """Every milestone with a known cause, in the order of the effects."""
        return tuple(Hop(self.milestones[m.cause], m) for m in self.milestones if m.cause is not None)

    def first(self, kind: str, after_ms: SimTime | None = None) -> Milestone | None:
        """The first milestone of a kind, at or after a moment."""
        after = self.start_ms if after_ms is None else after_ms
        return next((m for m in self.milestones if m.kind == kind and m.t_ms >= after), None)

    def last(self, kind: str) -> Milestone | None:
        """The last milestone of a kind."""
        return next((m for m in reversed(self.milestones) if m.kind == kind), None)
