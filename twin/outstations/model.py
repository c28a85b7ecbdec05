"""What every emulated station offers the field devices behind it, whatever the protocol.

An *outstation* holds the image of its points and speaks to one or more masters through sessions without
I/O; a driver owns the sockets. Commands go to a handler, which is the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from twin.points.model import Sample
from twin.timebase import SimTime


@dataclass(frozen=True, slots=True)
class StationCommand:
    """A select or operate as the device sees it. ``ticket`` identifies it until it is finished."""

    station: str
    point: str
    value: float
    ticket: int


class CommandHandler(Protocol):
    """The device behind a station. Each answers with an empty string, or the name of the rule that refuses."""

    def select(self, command: StationCommand, now: SimTime) -> str: ...
    def operate(self, command: StationCommand, now: SimTime) -> str: ...
    def cancel(self, command: StationCommand, now: SimTime) -> None: ...


class OutstationSession(Protocol):
    """The controlled side of one connection; no I/O, time is an argument."""

    def receive(self, payload: Any, now: SimTime) -> None: ...
    def tick(self, now: SimTime) -> None: ...
    def next_timer(self) -> SimTime: ...
    def payload_to_send(self) -> Any: ...

    @property
    def close_reason(self) -> str:
        """Why the session wants its connection closed; empty while it is well."""
        ...


@runtime_checkable
class HoldingSession(Protocol):
    """What an :class:`OutstationSession` has besides if it may have to hold urgent events back for a confirmation.

    In simulated time, a confirmation that urgent events wait for gets simulation steps to arrive at.
    """

    def next_urgent(self) -> SimTime:
        """When a step is wanted for what is held back; ``NEVER`` if nothing is."""
        ...

    @property
    def is_urgent(self) -> bool:
        """Whether what is to be sent now holds urgent events."""
        ...


class Outstation(Protocol):
    """One emulated station."""

    station: str

    def open_session(self, now: SimTime) -> OutstationSession:
        """A master connected."""
        ...

    @property
    def sessions(self) -> Sequence[OutstationSession]:
        """The open sessions, oldest first."""
        ...

    def close_session(self, session: Any, now: SimTime) -> None:
        """Its connection is gone; unsent and unconfirmed events stay buffered for the next one."""
        ...

    def update(self, samples: Sequence[Sample], now: SimTime) -> None:
        """New values: the image changes and sessions with data transfer get them spontaneously."""
        ...

    def finished(self, ticket: int, success: bool, now: SimTime) -> None:
        """The device finished an operate: the master gets its termination."""
        ...

    def snapshot(self) -> Mapping[str, Any]: ...
    def restore(self, state: Mapping[str, Any]) -> None: ...
