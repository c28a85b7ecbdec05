"""The telecontrol network in simulated time: latency, jitter, loss and cuts of one direction of a session.

TCP carries the sessions, so a lost packet is not lost data but a retransmission: it arrives one
retransmission time-out later (200 ms, doubled with each further loss, eight times at most), and nothing overtakes it.
Random draws depend on seed, station, direction and the time of sending alone: a run can be continued from a snapshot
without the state of a generator, and what one protocol says besides (acknowledgements) does not change the delay of
the rest.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from twin.timebase import SimTime

RETRANSMISSION_MS = 200
RETRANSMISSIONS = 8


@dataclass(frozen=True, slots=True)
class Cut:
    """The path is dead from ``start_ms`` until just before ``end_ms``."""

    start_ms: SimTime
    end_ms: SimTime


@dataclass
class TelecontrolPath:
    """Arrival times of what is sent into one direction of a session."""

    station: str
    direction: str
    latency_ms: int = 0
    jitter_ms: int = 0
    loss: float = 0.0
    seed: int = 0
    cuts: list[Cut] = field(default_factory=list)
    _last_arrival_ms: SimTime = 0

    def arrival(self, sent_ms: SimTime) -> SimTime:
        """When what is sent at ``sent_ms`` arrives; never before what was sent earlier."""
        at = self._through_cuts(sent_ms) + self.latency_ms + self._random_delay_ms(sent_ms)
        self._last_arrival_ms = max(self._last_arrival_ms, at)
        return self._last_arrival_ms

    def is_cut(self, now: SimTime) -> bool:
        """True while nothing gets through."""
        return any(cut.start_ms <= now < cut.end_ms for cut in self.cuts)

    def cut(self, start_ms: SimTime, end_ms: SimTime) -> None:
        """The path dies at ``start_ms`` and heals at ``end_ms``."""
        self.cuts.append(Cut(start_ms, end_ms))

    def _through_cuts(self, sent_ms: SimTime) -> SimTime:
        for cut in sorted(self.cuts, key=lambda c: c.start_ms):
            if cut.start_ms <= sent_ms < cut.end_ms:
                sent_ms = cut.end_ms + RETRANSMISSION_MS
        return sent_ms

    def _random_delay_ms(self, sent_ms: SimTime) -> int:
        if not self.jitter_ms and not self.loss:
            return 0
        draw = random.Random(f"{self.seed}/{self.station}/{self.direction}/{sent_ms}")
        delay = draw.randint(0, self.jitter_ms) if self.jitter_ms else 0
        for attempt in range(RETRANSMISSIONS):
            if draw.random() >= self.loss:
                break
            delay += RETRANSMISSION_MS << attempt
        return delay

    def snapshot(self) -> dict[str, object]:
        """State as JSON-able data."""
        cuts = [[cut.start_ms, cut.end_ms] for cut in self.cuts]
        return {"last_arrival_ms": self._last_arrival_ms, "cuts": cuts}

    def restore(self, state: dict[str, object]) -> None:
        """Continue from :meth:`snapshot`."""
        self._last_arrival_ms = int(state["last_arrival_ms"])  # type: ignore[call-overload]
        self.cuts = [Cut(start, end) for start, end in state["cuts"]]  # type: ignore[attr-defined]
