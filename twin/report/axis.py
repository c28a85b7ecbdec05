"""A time axis that shows what happened fast to one scale and breaks out the quiet gaps between.

Pure arithmetic; not for drawing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from twin.timebase import SimTime


@dataclass(frozen=True, slots=True)
class AxisPart:
    """A piece of a broken time axis; ``quiet`` pieces are drawn short, the others all to one scale."""

    from_ms: SimTime
    to_ms: SimTime
    x0: float
    x1: float
    quiet: bool


@dataclass(frozen=True)
class BrokenAxis:
    """A time axis whose quiet gaps are broken out."""

    parts: tuple[AxisPart, ...]

    def x(self, t_ms: SimTime) -> float:
        """Where ``t_ms`` stands; held at the ends outside the axis."""
        for part in self.parts:
            if t_ms <= part.to_ms:
                share = (t_ms - part.from_ms) / max(part.to_ms - part.from_ms, 1)
                return part.x0 + min(max(share, 0.0), 1.0) * (part.x1 - part.x0)
        return self.parts[-1].x1


QUIET_STEPS_MS = (250, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000)


def broken_axis(times_ms: Iterable[SimTime], width: float, *, break_width: float = 46.0) -> BrokenAxis:
    """An axis over ``times_ms``: the shortest gaps whose breaks still fit 45 % of ``width`` are broken out."""
    times = sorted(set(times_ms)) or [0]
    gaps = [b - a for a, b in pairwise(times)]
    allowed = int(0.45 * width / break_width)
    quiet_ms = next((q for q in QUIET_STEPS_MS if sum(gap > q for gap in gaps) <= allowed), max(gaps, default=0))
    clusters = _clusters(times, quiet_ms)
    lone = 10.0
    active_ms = sum(cluster[-1] - cluster[0] for cluster in clusters)
    room = width - (len(clusters) - 1) * break_width - len(clusters) * lone
    scale = room / active_ms if active_ms else 0.0
    parts: list[AxisPart] = []
    x = 0.0
    for row, cluster in enumerate(clusters):
        if row:
            parts.append(AxisPart(clusters[row - 1][-1], cluster[0], x, x + break_width, quiet=True))
            x += break_width
        end = x + lone + scale * (cluster[-1] - cluster[0])
        parts.append(AxisPart(cluster[0], cluster[-1], x, end, quiet=False))
        x = end
    return BrokenAxis(tuple(parts))


def _clusters(times: Sequence[SimTime], quiet_ms: SimTime) -> list[list[SimTime]]:
    clusters = [[times[0]]]
    for t_ms in times[1:]:
        if t_ms - clusters[-1][-1] > quiet_ms:
            clusters.append([])
        clusters[-1].append(t_ms)
    return clusters
