"""A station that takes connections and says nothing, as a device whose application hangs does.

For scenarios that try how the control room copes with one. It has no image and carries no command out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twin.points.model import Sample
from twin.timebase import NEVER, SimTime


class SilentSession:
    """One connection of a master to a :class:`SilentOutstation`; it ends when the master hangs up."""

    @property
    def close_reason(self) -> str:
        return ""

    def receive(self, payload: Any, now: SimTime) -> None:
        """What arrives is ignored, whatever the protocol."""

    def tick(self, now: SimTime) -> None:
        """There are no timers."""

    def next_timer(self) -> SimTime:
        return NEVER

    def payload_to_send(self) -> bytes:
        return b""


class SilentOutstation:
    """One station that never answers; see ``twin.outstations.model.Outstation``."""

    def __init__(self, station: str) -> None:
        self.station = station
        self._sessions: list[SilentSession] = []

    @property
    def sessions(self) -> Sequence[SilentSession]:
        """The open sessions, oldest first."""
        return self._sessions

    def open_session(self, now: SimTime) -> SilentSession:
        session = SilentSession()
        self._sessions.append(session)
        return session

    def close_session(self, session: SilentSession, now: SimTime) -> None:
        self._sessions.remove(session)

    def update(self, samples: Sequence[Sample], now: SimTime) -> None:
        """Values of the devices behind it go no further."""

    def finished(self, ticket: int, success: bool, now: SimTime) -> None:
        """No command gets here, so none finishes."""

    def snapshot(self) -> dict[str, Any]:
        return {"sessions": len(self._sessions)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._sessions = [SilentSession() for _ in range(state["sessions"])]
