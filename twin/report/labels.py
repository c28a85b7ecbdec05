"""Finds room for the labels of a one-line picture, so that none hides another.

Pure geometry in pixels. Not for drawing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from twin.report.layout import Layout
from twin.report.svg import Point, text_width

Rect = tuple[float, float, float, float]
"""Left, top, right, bottom."""

Segment = tuple[Point, Point]


@dataclass(frozen=True, slots=True)
class Label:
    """Words that belong to a point; ``clear`` is how far off the point they start, in px."""

    at: Point
    words: str
    style: str
    clear: float = 8.0
    size: float = 11.0


@dataclass(frozen=True, slots=True)
class PlacedLabel:
    """``x``/``y`` is the left end of the baseline; ``leader`` ends where the words begin, if they stand far off."""

    label: Label
    x: float
    y: float
    leader: Point | None


DIRECTIONS = tuple((math.cos(math.radians(a)), math.sin(math.radians(a))) for a in (0, 180, -45, 225, 45, 135, -90, 90))


def place_labels(labels: Sequence[Label], layout: Layout, symbols: Sequence[Rect]) -> tuple[PlacedLabel, ...]:
    """Each label where it hides least, the first ones first."""
    taken: list[Rect] = []
    segments = [pair for path in layout.paths for pair in pairwise(path)]
    placed = []
    for label in labels:
        rect, far = _best(_candidates(label), taken, symbols, segments, layout)
        taken.append(rect)
        middle = (min(max(label.at[0], rect[0]), rect[2]), (rect[1] + rect[3]) / 2)
        leader = middle if far >= 6 else None
        placed.append(PlacedLabel(label, rect[0] + 1.5, rect[3] - 0.28 * label.size, leader))
    return tuple(placed)


def _best(
    candidates: Sequence[tuple[Rect, float]],
    taken: Sequence[Rect],
    symbols: Sequence[Rect],
    segments: Sequence[Segment],
    layout: Layout,
) -> tuple[Rect, float]:
    """The cheapest candidate; only what is near any of them is looked at."""
    reach = _hull([rect for rect, _ in candidates])
    near_symbols = [rect for rect in symbols if _overlap(rect, reach)]
    near_segments = [(a, b) for a, b in segments if _overlap(_hull([(*a, *a), (*b, *b)], 1.0), reach)]
    costs = [_cost(rect, taken, near_symbols, near_segments, layout) + far for rect, far in candidates]
    return candidates[costs.index(min(costs))]


def _hull(rects: Sequence[Rect], margin: float = 0.0) -> Rect:
    low_x, low_y = min(r[0] for r in rects), min(r[1] for r in rects)
    high_x, high_y = max(r[2] for r in rects), max(r[3] for r in rects)
    return low_x - margin, low_y - margin, high_x + margin, high_y + margin


def _candidates(label: Label) -> list[tuple[Rect, float]]:
    """(rectangle, small cost of its place): eight directions, four distances."""
    width, height = text_width(label.words, label.size) + 3, 1.25 * label.size
    out = []
    for ring, distance in enumerate((0.0, 8.0, 20.0, 36.0)):
        for turn, (dx, dy) in enumerate(DIRECTIONS):
            x = label.at[0] + (label.clear + distance) * dx + (width / 2) * _side(dx)
            y = label.at[1] + (label.clear + distance) * dy + (height / 2) * _side(dy)
            rect = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            out.append((rect, 3.0 * ring + 0.2 * turn))
    return out


def _side(component: float) -> float:
    return 0.0 if abs(component) < 0.1 else math.copysign(1.0, component)


def _cost(
    rect: Rect,
    taken: Sequence[Rect],
    symbols: Sequence[Rect],
    segments: Sequence[Segment],
    layout: Layout,
) -> float:
    outside = rect[0] < 2 or rect[1] < 2 or rect[2] > layout.width - 2 or rect[3] > layout.height - 2
    cost = 400.0 * outside + 150.0 * sum(_overlap(rect, other) for other in taken)
    cost += 14.0 * sum(_overlap(rect, other) for other in symbols)
    return cost + 8.0 * sum(_crosses(rect, a, b) for a, b in segments)


def _overlap(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _crosses(rect: Rect, a: Point, b: Point) -> bool:
    """Whether the segment a-b meets the rectangle (Liang-Barsky)."""
    low, high = 0.0, 1.0
    for axis in (0, 1):
        step = b[axis] - a[axis]
        near, far = rect[axis] - a[axis], rect[axis + 2] - a[axis]
        if step == 0:
            if near > 0 or far < 0:
                return False
            continue
        enter, leave = sorted((near / step, far / step))
        low, high = max(low, enter), min(high, leave)
    return low <= high
