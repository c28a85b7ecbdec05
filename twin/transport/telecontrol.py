"""The telecontrol network in simulated time: latency, jitter, loss, rate and cuts of one direction of a session.

TCP carries the sessions, so a lost packet is not lost data but a retransmission: it arrives one
retransmission time-out later (200 ms, doubled with each further loss, eight times at most), and nothing overtakes it.
Random draws depend on seed, station, direction and the time of sending alone: a run can be continued from a snapshot
without the state of a generator, and what one protocol says besides (acknowledgements) does not change the delay of
the rest.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field
from typing import Any

from twin.timebase import NEVER, SimTime

RETRANSMISSION_MS = 200
RETRANSMISSIONS = 8


@dataclass(frozen=True, slots=True)
class Cut:
    """The path is dead from ``start_ms`` until just before ``end_ms``."""

    start_ms: SimTime
    end_ms: SimTime


@dataclass(frozen=True, slots=True)
class Condition:
    """How the path is from ``start_ms`` until just before ``end_ms``; None is as usual.

    ``rate_bit_s`` is how much goes through in a second; 0 is without limit.
    """

    start_ms: SimTime = 0
    end_ms: SimTime = NEVER
    latency_ms: int | None = None
    jitter_ms: int | None = None
    loss: float | None = None
    rate_bit_s: int | None = None


@dataclass
class TelecontrolPath:
    """Arrival times of what is sent into one direction of a session."""

    station: str
    direction: str
    latency_ms: int = 0
    jitter_ms: int = 0
    loss: float = 0.0
    seed: int = 0
    rate_bit_s: int = 0
    cuts: list[Cut] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    _last_arrival_ms: SimTime = 0
    _free_ms: SimTime = 0

    def arrival(self, sent_ms: SimTime, octets: int = 0) -> SimTime:
        """When what is sent at ``sent_ms`` arrives; never before what was sent earlier."""
        through_ms = self._through_cuts(sent_ms)
        latency_ms, jitter_ms, loss, rate_bit_s = self.condition(through_ms)
        at = self._sent_out(through_ms, octets, rate_bit_s) + latency_ms
        at += self._random_delay_ms(sent_ms, jitter_ms, loss)
        self._last_arrival_ms = max(self._last_arrival_ms, at)
        return self._last_arrival_ms

    def is_cut(self, now: SimTime) -> bool:
        """True while nothing gets through."""
        return any(cut.start_ms <= now < cut.end_ms for cut in self.cuts)

    def cut(self, start_ms: SimTime, end_ms: SimTime) -> None:
        """The path dies at ``start_ms`` and heals at ``end_ms``."""
        self.cuts.append(Cut(start_ms, end_ms))

    def worsen(self, condition: Condition) -> None:
        """The path is under a condition for a while; of several at a time the last one given counts."""
        self.conditions.append(condition)

    def next_change(self, now: SimTime) -> SimTime:
        """When the path is next other than it is at ``now``; ``NEVER`` if not at all."""
        spans: list[Cut | Condition] = [*self.cuts, *self.conditions]
        edges = (t for span in spans for t in (span.start_ms, span.end_ms))
        return min((t for t in edges if t > now), default=NEVER)

    def condition(self, at_ms: SimTime) -> tuple[int, int, float, int]:
        """(latency, jitter, loss, rate) of what goes out at ``at_ms``."""
        values: list[Any] = [self.latency_ms, self.jitter_ms, self.loss, self.rate_bit_s]
        for one in self.conditions:
            if one.start_ms <= at_ms < one.end_ms:
                stated = (one.latency_ms, one.jitter_ms, one.loss, one.rate_bit_s)
                values = [usual if now is None else now for usual, now in zip(values, stated, strict=True)]
        latency_ms, jitter_ms, loss, rate_bit_s = values
        return latency_ms, jitter_ms, loss, rate_bit_s

    def _sent_out(self, at_ms: SimTime, octets: int, rate_bit_s: int) -> SimTime:
        """When the last octet is on the line; what was sent before goes out before."""
        if not rate_bit_s or not octets:
            return at_ms
        self._free_ms = max(self._free_ms, at_ms) + -(-octets * 8_000 // rate_bit_s)
        return self._free_ms

    def _through_cuts(self, sent_ms: SimTime) -> SimTime:
        for cut in sorted(self.cuts, key=lambda c: c.start_ms):
            if cut.start_ms <= sent_ms < cut.end_ms:
                sent_ms = cut.end_ms + RETRANSMISSION_MS
        return sent_ms

    def _random_delay_ms(self, sent_ms: SimTime, jitter_ms: int, loss: float) -> int:
        if not jitter_ms and not loss:
            return 0
        draw = random.Random(f"{self.seed}/{self.station}/{self.direction}/{sent_ms}")
        delay = draw.randint(0, jitter_ms) if jitter_ms else 0
        for attempt in range(RETRANSMISSIONS):
            if draw.random() >= loss:
                break
            delay += RETRANSMISSION_MS << attempt
        return delay

    def snapshot(self) -> dict[str, object]:
        """State as JSON-able data."""
        cuts = [[cut.start_ms, cut.end_ms] for cut in self.cuts]
        return {
            "last_arrival_ms": self._last_arrival_ms,
            "free_ms": self._free_ms,
            "cuts": cuts,
            "conditions": [asdict(condition) for condition in self.conditions],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        self._last_arrival_ms = state["last_arrival_ms"]
        self._free_ms = state["free_ms"]
        self.cuts = [Cut(start, end) for start, end in state["cuts"]]
        self.conditions = [Condition(**condition) for condition in state["conditions"]]
