"""What every link to a station offers the front-end processor, whatever the protocol.

A *master session* is the controlling side of one protocol session without I/O: a driver feeds it what
arrived and the time, and carries away what it wants sent. The same session object runs in lockstep
(simulated time, fast mode) and against the wall clock (real devices).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, runtime_checkable

from twin.points.model import Sample
from twin.timebase import SimTime


class SessionState(Enum):
    """Where a session stands, in the order of a healthy start."""

    CLOSED = "closed"
    CONNECTED = "connected"
    STARTED = "started"
    INTERROGATED = "interrogated"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """A session reached a state at ``t_ms``; ``detail`` says why, for LOST."""

    station: str
    state: SessionState
    t_ms: SimTime
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LinkCommand:
    """A command on its way to a station. ``command_id`` is unique within the run."""

    command_id: int
    station: str
    point: str
    value: float


class ReplyKind(Enum):
    """What the station said of a command."""

    SELECTED = "selected"
    ACTIVATED = "activated"
    TERMINATED = "terminated"
    CANCELLED = "cancelled"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class CommandReply:
    """A station's answer; ``cause`` is set for REFUSED: ``negative confirmation`` or ``unknown address``."""

    station: str
    command_id: int
    kind: ReplyKind
    t_ms: SimTime
    cause: str = ""


@dataclass(frozen=True, slots=True)
class ArrivedSample:
    """A sample as it came in at ``t_ms``."""

    sample: Sample
    t_ms: SimTime


LinkEvent = SessionEvent | ArrivedSample | CommandReply


class MasterSession(Protocol):
    """The controlling side of one session; no I/O, time is an argument.

    ``Payload`` is bytes for a wire protocol and a list of messages for the in-process link. A session starts
    data transfer, interrogates and synchronises the clock by itself once connected.
    """

    station: str

    def connected(self, now: SimTime) -> None: ...
    def disconnected(self, now: SimTime, reason: str) -> None: ...
    def receive(self, payload: Any, now: SimTime) -> None: ...

    def tick(self, now: SimTime) -> None:
        """Run every timer due by ``now``."""
        ...

    def next_timer(self) -> SimTime:
        """When :meth:`tick` is needed next; ``NEVER`` if not at all."""
        ...

    def payload_to_send(self) -> Any:
        """What is to be sent now, once (empty if nothing)."""
        ...

    @property
    def close_reason(self) -> str:
        """Why the session wants its connection closed (T1 expired, bad frame); empty while it is well."""
        ...

    def select(self, command: LinkCommand, now: SimTime) -> None: ...
    def operate(self, command: LinkCommand, now: SimTime) -> None: ...
    def cancel(self, command: LinkCommand, now: SimTime) -> None: ...
    def interrogate(self, now: SimTime) -> None: ...
    def take_events(self) -> list[LinkEvent]: ...
    def snapshot(self) -> Mapping[str, Any]: ...
    def restore(self, state: Mapping[str, Any]) -> None: ...


@runtime_checkable
class PolledSession(Protocol):
    """What a :class:`MasterSession` has besides if it asks by a schedule and not all it asks is equally urgent.

    In simulated time, what is urgent gets a simulation step at its time and at its arrival; the rest waits for a step
    that something else needs.
    """

    def next_urgent(self) -> SimTime:
        """When :meth:`MasterSession.tick` is needed next for something urgent; ``NEVER`` if not at all."""
        ...

    @property
    def is_urgent(self) -> bool:
        """Whether what is to be sent now holds something urgent."""
        ...
