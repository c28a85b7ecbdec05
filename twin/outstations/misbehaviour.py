"""Misbehaviour on demand: a station that lies, freezes, drops, reorders, repeats, is late, restarts, floods, refuses,
or sends malformed frames.

Wraps a station of any protocol. What concerns values and commands is done to the samples and commands on their way
to and from the device; what concerns the line is done to whole frames of what the station sends. Deterministic: a
random draw depends on the seed, the station, the kind and the number of the frame alone.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

from twin.errors import TwinError
from twin.outstations.model import CommandHandler, Outstation, OutstationSession, StationCommand
from twin.points.model import Quality, Sample
from twin.timebase import NEVER, SimTime

FLOOD_EVENTS = 2_000
REORDER_LIMIT_MS = 1_000
"""How long a frame waits for another one to overtake it."""
RULE = "misbehaviour"
"""The rule by which a station refuses commands that it was told to refuse."""


class Kind(Enum):
    """What a station can be told to do wrong."""

    LIE = "lie"
    FREEZE = "freeze"
    DROP = "drop"
    REORDER = "reorder"
    REPEAT = "repeat"
    LATE = "late"
    RESTART = "restart"
    OVERFLOW = "overflow"
    REFUSE = "refuse"
    MALFORMED = "malformed"


ON_FRAMES = (Kind.DROP, Kind.REORDER, Kind.REPEAT, Kind.MALFORMED)


class NotMisbehavingError(TwinError):
    """A station is told to misbehave that cannot."""

    def __init__(self, station: str) -> None:
        self.station = station
        super().__init__(f"station {station} was not made to misbehave")


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """One thing that a station does wrong until ``until_ms``.

    LIE takes the ``point`` and reports ``value``, or what it measures · ``scale`` + ``offset``. LATE holds what is
    sent back for ``delay_ms``. ``share`` is the share of frames that DROP, REORDER, REPEAT and MALFORMED concern.
    """

    kind: Kind
    until_ms: SimTime
    point: str = ""
    value: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    delay_ms: int = 0
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Framing:
    """How the payload of a protocol falls into frames, and which octet spoils a frame (-1: none can)."""

    split: Callable[[Any], list[Any]]
    spoil_at: int = -1

    def spoiled(self, frame: Any) -> Any:
        """The frame with one octet inverted."""
        at = min(self.spoil_at, len(frame) - 1)
        return frame[:at] + bytes((frame[at] ^ 0xFF,)) + frame[at + 1 :]


class MisbehavingSession:
    """One connection of a master to a :class:`MisbehavingOutstation`."""

    def __init__(self, owner: MisbehavingOutstation, inner: OutstationSession | None) -> None:
        self.owner = owner
        self.inner = inner
        self.frames_sent = 0
        self._waiting: list[tuple[SimTime, Any]] = []
        self._overtaken: list[tuple[SimTime, Any]] = []

    @property
    def close_reason(self) -> str:
        return "the station restarts" if self.inner is None else self.inner.close_reason

    def receive(self, payload: Any, now: SimTime) -> None:
        self.owner.at(now)
        if self.inner is not None:
            self.inner.receive(payload, now)

    def tick(self, now: SimTime) -> None:
        self.owner.at(now)
        if self.inner is not None:
            self.inner.tick(now)

    def next_timer(self) -> SimTime:
        inner = NEVER if self.inner is None else self.inner.next_timer()
        return min(inner, self._next_release(), self.owner.next_end())

    def next_urgent(self) -> SimTime:
        """A frame that is held back, and the end of a misbehaviour, get simulation steps of their own."""
        inner = getattr(self.inner, "next_urgent", None)
        return min(self._next_release(), self.owner.next_end(), NEVER if inner is None else inner())

    @property
    def is_urgent(self) -> bool:
        """Whether what is to be sent now was held back, or is urgent by itself."""
        return self._next_release() <= self.owner.now or bool(getattr(self.inner, "is_urgent", False))

    def _next_release(self) -> SimTime:
        return min((at for at, _ in (*self._waiting, *self._overtaken)), default=NEVER)

    def payload_to_send(self) -> Any:
        said = b"" if self.inner is None else self.inner.payload_to_send()
        if said or self._waiting or self._overtaken:
            for frame in self.owner.framing.split(said):
                self._put(frame)
            said = self._released(said)
        return said

    def _released(self, said: Any) -> Any:
        now = self.owner.now
        due = [frame for at, frame in self._waiting if at <= now] + [f for at, f in self._overtaken if at <= now]
        self._waiting = [(at, frame) for at, frame in self._waiting if at > now]
        self._overtaken = [(at, frame) for at, frame in self._overtaken if at > now]
        empty: Any = said[:0]
        for frame in due:
            empty = empty + frame if empty else frame
        return empty

    def _put(self, frame: Any) -> None:
        """Do to one frame what the station does to frames now."""
        self.frames_sent += 1
        now, owner = self.owner.now, self.owner
        if owner.hits(Kind.DROP, self.frames_sent):
            return
        if owner.framing.spoil_at >= 0 and owner.hits(Kind.MALFORMED, self.frames_sent):
            frame = owner.framing.spoiled(frame)
        late = owner.active.get(Kind.LATE)
        at = now + (late.delay_ms if late else 0)
        if owner.hits(Kind.REORDER, self.frames_sent) and not self._overtaken:
            self._overtaken.append((at + REORDER_LIMIT_MS, frame))
            return
        # nothing overtakes what was held back before the lateness ended
        at = max([at, *(earlier for earlier, _ in self._waiting)])
        copies = 2 if owner.hits(Kind.REPEAT, self.frames_sent) else 1
        self._waiting += [(at, frame)] * copies
        self._waiting += [(at, overtaken) for _, overtaken in self._overtaken]
        self._overtaken.clear()

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data, but for the session inside."""
        held = [[[at, _to_json(frame)] for at, frame in frames] for frames in (self._waiting, self._overtaken)]
        return {"frames_sent": self.frames_sent, "held": held}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        self.frames_sent = state["frames_sent"]
        self._waiting, self._overtaken = ([(at, _from_json(frame)) for at, frame in frames] for frames in state["held"])


class MisbehavingOutstation:
    """A station that can be told to misbehave; see ``twin.outstations.model.Outstation``.

    ``make`` makes the station itself with the device behind it; it is called again at a restart.
    """

    def __init__(
        self,
        station: str,
        make: Callable[[CommandHandler], Outstation],
        handler: CommandHandler,
        framing: Framing,
        seed: int = 0,
    ) -> None:
        self.station = station
        self.framing = framing
        self.now: SimTime = 0
        self.active: dict[Kind, Misbehaviour] = {}
        self._make = make
        self._handler = handler
        self._seed = seed
        self._true: dict[str, Sample] = {}
        self._held: dict[str, Sample] = {}
        self._ticket_base = 0
        self._last_ticket = 0
        self._sessions: list[MisbehavingSession] = []
        self._inner = make(self)

    # being told

    def misbehave(self, misbehaviour: Misbehaviour, now: SimTime) -> None:
        """Begin to misbehave; the same kind again takes the place of the earlier."""
        self.at(now)
        self.active[misbehaviour.kind] = misbehaviour
        if misbehaviour.kind is Kind.LIE:
            self._tell(misbehaviour.point)
        elif misbehaviour.kind is Kind.RESTART:
            self._restart()
        elif misbehaviour.kind is Kind.OVERFLOW:
            self._flood()

    def at(self, now: SimTime) -> None:
        """Time goes on to ``now``: what is over ends."""
        self.now = max(self.now, now)
        for misbehaviour in [m for m in self.active.values() if m.until_ms <= self.now]:
            del self.active[misbehaviour.kind]
            if misbehaviour.kind is Kind.FREEZE:
                held, self._held = list(self._held.values()), {}
                self._inner.update([self._told(sample) for sample in held], self.now)
            elif misbehaviour.kind is Kind.LIE:
                self._tell(misbehaviour.point)

    def next_end(self) -> SimTime:
        """When the next misbehaviour is over."""
        return min((m.until_ms for m in self.active.values()), default=NEVER)

    def hits(self, kind: Kind, number: int) -> bool:
        """Whether the frame of a number is concerned."""
        misbehaviour = self.active.get(kind)
        if misbehaviour is None:
            return False
        draw = random.Random(f"{self._seed}/{self.station}/{kind.value}/{number}").random()
        return draw < misbehaviour.share

    def _tell(self, point: str) -> None:
        """Report a point as it is to be seen now."""
        if point in self._true and Kind.FREEZE not in self.active:
            sample = replace(self._true[point], source_t_ms=self.now, spontaneous=True)
            self._inner.update([self._told(sample)], self.now)

    def _told(self, sample: Sample) -> Sample:
        lie = self.active.get(Kind.LIE)
        if lie is None or lie.point != sample.point:
            return sample
        value = sample.value * lie.scale + lie.offset if lie.value is None else lie.value
        return replace(sample, value=value)

    def _restart(self) -> None:
        """Everything but the device is lost: sessions, events, selections, what commands were under way."""
        self._ticket_base = self._last_ticket
        self._inner = self._make(self)
        for session in self._sessions:
            session.inner = None
        image = [replace(self._told(sample), spontaneous=False) for sample in self._true.values()]
        self._inner.update(image, self.now)

    def _flood(self) -> None:
        """More events at once than a buffer holds, of values that are true."""
        samples = [replace(sample, source_t_ms=self.now, spontaneous=True) for sample in self._true.values()]
        if samples:
            rounds = -(-FLOOD_EVENTS // len(samples))
            for _ in range(rounds):
                self._inner.update([self._told(sample) for sample in samples], self.now)

    # the station

    @property
    def sessions(self) -> Sequence[MisbehavingSession]:
        """The open sessions, oldest first."""
        return self._sessions

    def open_session(self, now: SimTime, *details: Any, **named: Any) -> MisbehavingSession:
        self.at(now)
        is_down = Kind.RESTART in self.active
        inner = None if is_down else self._inner.open_session(now, *details, **named)
        session = MisbehavingSession(self, inner)
        self._sessions.append(session)
        return session

    def close_session(self, session: MisbehavingSession, now: SimTime) -> None:
        self.at(now)
        self._sessions.remove(session)
        if session.inner is not None:
            self._inner.close_session(session.inner, now)

    def update(self, samples: Sequence[Sample], now: SimTime) -> None:
        self.at(now)
        self._true.update((sample.point, sample) for sample in samples)
        if Kind.FREEZE in self.active:
            self._held.update((sample.point, sample) for sample in samples)
        else:
            self._inner.update([self._told(sample) for sample in samples], now)

    def finished(self, ticket: int, success: bool, now: SimTime) -> None:
        self.at(now)
        if ticket > self._ticket_base:
            self._inner.finished(ticket - self._ticket_base, success, now)

    # the device, as the station inside sees it

    def select(self, command: StationCommand, now: SimTime) -> str:
        """See ``twin.outstations.model.CommandHandler``."""
        return self._refusal() or self._handler.select(self._numbered(command), now)

    def operate(self, command: StationCommand, now: SimTime) -> str:
        """See ``twin.outstations.model.CommandHandler``."""
        return self._refusal() or self._handler.operate(self._numbered(command), now)

    def cancel(self, command: StationCommand, now: SimTime) -> None:
        """See ``twin.outstations.model.CommandHandler``."""
        self._handler.cancel(self._numbered(command), now)

    def _refusal(self) -> str:
        return RULE if Kind.REFUSE in self.active else ""

    def _numbered(self, command: StationCommand) -> StationCommand:
        ticket = self._ticket_base + command.ticket
        self._last_ticket = max(self._last_ticket, ticket)
        return replace(command, ticket=ticket)

    # state

    def snapshot(self) -> dict[str, Any]:
        return {
            "inner": dict(self._inner.snapshot()),
            "alive": [session.inner is not None for session in self._sessions],
            "sessions": [session.snapshot() for session in self._sessions],
            "now": self.now,
            "active": [asdict(m) | {"kind": m.kind.value} for m in self.active.values()],
            "true": [_row(sample) for sample in self._true.values()],
            "held": [_row(sample) for sample in self._held.values()],
            "tickets": [self._ticket_base, self._last_ticket],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._inner.restore(state["inner"])
        inner = iter(self._inner.sessions)
        self._sessions = [MisbehavingSession(self, next(inner) if alive else None) for alive in state["alive"]]
        for session, saved in zip(self._sessions, state["sessions"], strict=True):
            session.restore(saved)
        self.now = state["now"]
        rows = [Misbehaviour(**{**row, "kind": Kind(row["kind"])}) for row in state["active"]]
        self.active = {misbehaviour.kind: misbehaviour for misbehaviour in rows}
        self._true = {row[0]: _sample(self.station, row) for row in state["true"]}
        self._held = {row[0]: _sample(self.station, row) for row in state["held"]}
        self._ticket_base, self._last_ticket = state["tickets"]


def _row(sample: Sample) -> list[Any]:
    return [sample.point, sample.value, int(sample.quality), sample.source_t_ms, sample.spontaneous]


def _sample(station: str, row: Sequence[Any]) -> Sample:
    return Sample(station, row[0], row[1], Quality(row[2]), row[3], row[4])


def _to_json(frame: Any) -> Any:
    return {"octets": base64.b64encode(frame).decode()} if isinstance(frame, bytes) else frame


def _from_json(frame: Any) -> Any:
    return base64.b64decode(frame["octets"]) if isinstance(frame, dict) else frame
