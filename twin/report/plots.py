"""Plots of the recorded samples: which columns belong together, decimated without losing an extreme, drawn as SVG.

Every series is drawn as it was recorded: a value holds until the next one, so nothing seems to happen before it did.
The data of the crosshair goes along as plain numbers; the page's script only reads them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from twin.journal import JournalEntry
from twin.report.results import Samples
from twin.report.svg import element, figure_text, join, nice_step, path, text, text_width, time_text
from twin.timebase import SimTime

LEFT, RIGHT, TOP, BOTTOM = 52.0, 24.0, 26.0, 26.0
HEIGHT = 210.0
BUCKETS = 300
MOST_SERIES = 8
MOST_MARKS = 24


@dataclass(frozen=True, slots=True)
class Family:
    """Columns that share an axis: by the end of their name or by the whole name.

    Values under ``dead_below`` do not stretch the axis where others are above it. ``counts`` are drawn from zero.
    """

    title: str
    unit: str
    endings: tuple[str, ...]
    names: tuple[str, ...] = ()
    factor: float = 1.0
    counts: bool = False
    dead_below: float = -math.inf

    def takes(self, column: str) -> bool:
        """True if ``column`` belongs here."""
        return column in self.names or column.endswith(self.endings)


FAMILIES = (
    Family("Customers without supply", "", (".customers",), ("customers_interrupted",), counts=True),
    Family("Voltage", "p.u.", (".v_pu", "_v_pu", "v_min_pu", "v_max_pu"), dead_below=0.5),
    Family("Loading", "%", (".loading",), ("loading_max",), factor=100.0),
    Family("Current", "A", (".i_a",)),
    Family("Voltage", "kV", (".v_kv",)),
    Family("Active power", "kW", (".p_kw", "_p_kw"), ("p_kw",)),
    Family("Reactive power", "kvar", (".q_kvar", "_q_kvar"), ("q_kvar",)),
    Family("Frequency", "Hz", (".f_hz", "_f_hz"), ("f_hz", "frequency_min"), dead_below=1.0),
    Family("Position", "", (".position", ".tap", ".tap_position"), counts=True),
)
OTHERS = Family("Other quantities", "", ("",))


@dataclass(frozen=True)
class Series:
    """One column, NaN where nothing was recorded."""

    name: str
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Plot:
    """Series over one time axis, in ms; ``span`` is what the axis shows."""

    family: Family
    span: tuple[SimTime, SimTime]
    t_ms: NDArray[np.int64]
    series: tuple[Series, ...]

    @property
    def title(self) -> str:
        """What is plotted and in which unit."""
        return f"{self.family.title}, {self.family.unit}" if self.family.unit else self.family.title


def nobody_without_supply(plot: Plot) -> bool:
    """True for the plot of customers without supply if there were none: a line at zero says nothing."""
    return plot.family is FAMILIES[0] and not any(np.nan_to_num(series.values).any() for series in plot.series)


@dataclass(frozen=True, slots=True)
class EventMark:
    """A vertical line over every plot."""

    t_ms: SimTime
    words: str
    style: str


def plots_of(samples: Samples, span: tuple[SimTime, SimTime], buckets: int = BUCKETS) -> tuple[Plot, ...]:
    """The columns by family over ``span``, at most ``MOST_SERIES`` in a plot, decimated.

    Columns in which nothing was ever recorded are left out.
    """
    by_family: dict[int, list[str]] = {}
    for name, values in samples.columns.items():
        if np.isfinite(values).any():
            row = next((i for i, family in enumerate(FAMILIES) if family.takes(name)), len(FAMILIES))
            by_family.setdefault(row, []).append(name)
    rows = _rows_within(samples.t_ms, span)
    plots = []
    for row in sorted(by_family):
        family = FAMILIES[row] if row < len(FAMILIES) else OTHERS
        names = by_family[row]
        for first in range(0, len(names), MOST_SERIES):
            part = {name: samples.columns[name][rows] for name in names[first : first + MOST_SERIES]}
            plots.append(_plot(family, span, samples.t_ms[rows], part, buckets))
    return tuple(plots)


def _rows_within(t_ms: NDArray[np.int64], span: tuple[SimTime, SimTime]) -> slice:
    first, last = np.searchsorted(t_ms, [span[0], span[1] + 1]).tolist()
    return slice(first, last)


def _plot(
    family: Family,
    span: tuple[SimTime, SimTime],
    t_ms: NDArray[np.int64],
    columns: Mapping[str, NDArray[np.float64]],
    buckets: int,
) -> Plot:
    kept = decimate(t_ms, list(columns.values()), buckets)
    series = tuple(Series(name, family.factor * column[kept]) for name, column in columns.items())
    return Plot(family, span, t_ms[kept], series)


def decimate(t_ms: NDArray[np.int64], columns: Sequence[NDArray[np.float64]], buckets: int) -> NDArray[np.int64]:
    """Rows to keep: of every bucket of time its first and last row and each column's lowest and highest.

    Rows beside a gap of NaN stay too, so that a gap is seen as one. Nothing is dropped from short recordings.
    """
    if t_ms.size <= 4 * buckets:
        return np.arange(t_ms.size)
    keep = np.zeros(t_ms.size, dtype=np.bool_)
    edges = np.linspace(0, t_ms.size, buckets + 1).astype(np.int64)
    keep[edges[:-1]] = True
    keep[edges[1:] - 1] = True
    for column in columns:
        blank = np.isnan(column)
        turns = np.flatnonzero(blank[1:] != blank[:-1])
        if turns.size <= buckets:
            keep[turns] = keep[turns + 1] = True
        for start, end in pairwise(edges.tolist()):
            _keep_extremes(column, blank, keep, start, end)
    return np.flatnonzero(keep)


def _keep_extremes(
    column: NDArray[np.float64], blank: NDArray[np.bool_], keep: NDArray[np.bool_], start: int, end: int
) -> None:
    part = column[start:end]
    if blank[start:end].all() or np.nanmax(part) == np.nanmin(part):
        return
    keep[start + int(np.nanargmin(part))] = True
    keep[start + int(np.nanargmax(part))] = True


_MARK_KINDS = {
    ("director", "fault"): ("fault", "bad"),
    ("director", "fault_cleared"): ("cleared", "good"),
    ("grid", "fault_cleared"): ("cleared", "good"),
    ("field", "relay_trip"): ("trip", "bad"),
    ("field", "lockout"): ("lockout", "bad"),
    ("grid", "closed_onto_fault"): ("onto fault", "bad"),
}


SUPPLIED_FOR_MS = 5000
"""Supply that returns for less than this is a reclosing onto the fault, not the end of the interruption."""


def event_marks(journal: Iterable[JournalEntry], limit: int = MOST_MARKS) -> tuple[EventMark, ...]:
    """Faults, trips, lockouts and the lasting return of supply to everyone, the first ``limit``."""
    marks: list[EventMark] = []
    customers = 0.0
    for entry in journal:
        if (entry.source, entry.kind) in _MARK_KINDS:
            words, style = _MARK_KINDS[entry.source, entry.kind]
            marks.append(EventMark(entry.t_ms, words, style))
        if entry.kind == "supply":
            now = entry.data.get("customers_interrupted")
            if now == 0 and customers:
                marks.append(EventMark(entry.t_ms, "supplied", "good"))
            elif now:
                marks = _without_brief_supply(marks, entry.t_ms)
            customers = now if isinstance(now, int | float) else customers
    return tuple(marks[:limit])


def _without_brief_supply(marks: Sequence[EventMark], t_ms: SimTime) -> list[EventMark]:
    return [mark for mark in marks if mark.words != "supplied" or t_ms - mark.t_ms >= SUPPLIED_FOR_MS]


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear axis from values to pixels."""

    low: float
    high: float
    at_low: float
    at_high: float

    def __call__(self, value: float) -> float:
        return self.at_low + (value - self.low) / (self.high - self.low) * (self.at_high - self.at_low)


def value_scale(plot: Plot) -> tuple[Scale, list[float]]:
    """(scale, ticks) for the values; from zero where zero is near or the plot counts something.

    Short peaks far above all else and the zeros of dead equipment may lie beyond it.
    """
    finite = np.concatenate([s.values[np.isfinite(s.values)] for s in plot.series])
    alive = finite[finite >= plot.family.dead_below]
    finite = alive if alive.size else finite
    low, high = (float(finite.min()), _ceiling(finite)) if finite.size else (0.0, 1.0)
    if plot.family.counts or 0 < low < 0.35 * high:
        low = min(low, 0.0)
    if high <= low:
        low, high = low - 0.5 * (abs(low) or 1.0) * (low != 0), high + 0.5 * (abs(high) or 1.0)
    step = nice_step(high - low, 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [round(i * step, 10) for i in range(first, last + 1)]
    return Scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP), ticks


def _ceiling(finite: NDArray[np.float64]) -> float:
    """The highest value; where that is a short peak far above all else, a little over the rest."""
    high, usual = float(finite.max()), float(np.quantile(finite, 0.985))
    return 1.3 * usual if usual > 0 and high > 5 * usual else high


def draw_plot(plot: Plot, marks: Sequence[EventMark], width: float) -> Markup:
    """One plot as an ``<svg>`` of ``width`` px."""
    time = Scale(plot.span[0], max(plot.span[1], plot.span[0] + 1), LEFT, width - RIGHT)
    scale, ticks = value_scale(plot)
    rows = range(len(plot.series))
    parts = [_grid(time, scale, ticks), _marks(time, marks)]
    parts += [_line(plot, row, time, scale) for row in rows]
    parts += _beyond(plot, time, scale)
    parts.append(element("g", class_="cross"))
    words = f"{plot.title}, {time_text(plot.span[0])} to {time_text(plot.span[1])}: "
    words += "; ".join(_words(series) for series in plot.series)
    size = f"0 0 {width:.0f} {HEIGHT:.0f}"
    return element("svg", *parts, viewBox=size, class_="plot", role="img", aria_label=words)


def _words(series: Series) -> str:
    finite = series.values[np.isfinite(series.values)]
    if not finite.size:
        return f"{series.name} not recorded"
    return f"{series.name} from {figure_text(float(finite.min()))} to {figure_text(float(finite.max()))}"


def _grid(time: Scale, scale: Scale, ticks: Sequence[float]) -> Markup:
    parts = []
    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    for tick in ticks:
        y = scale(tick)
        parts.append(path([(LEFT, y), (time.at_high, y)], class_="zero" if tick == 0 else "grid"))
        parts.append(text(LEFT - 8, y + 4, f"{tick:,.{decimals}f}".replace(",", " "), text_anchor="end", class_="tick"))
    step = time_step(time.high - time.low, max(int((time.at_high - time.at_low) / 78), 1))
    t_ms = math.ceil(time.low / step) * step
    while t_ms <= time.high:
        parts.append(path([(time(t_ms), HEIGHT - BOTTOM), (time(t_ms), HEIGHT - BOTTOM + 4)], class_="zero"))
        words = time_text(t_ms, decimals=0 if step >= 1000 else 1)
        parts.append(text(time(t_ms), HEIGHT - 7, words, text_anchor="middle", class_="tick"))
        t_ms += step
    return join(parts)


_TIME_STEPS_MS = (100, 200, 500, *(1000 * s for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)))


def time_step(span_ms: float, count: int) -> int:
    """A step of the clock that cuts ``span_ms`` into at most ``count`` parts."""
    hours = int(nice_step(span_ms / 3_600_000, count) * 3_600_000) or 1
    return next((step for step in _TIME_STEPS_MS if span_ms / step <= count), max(hours, 3_600_000))


def _marks(time: Scale, marks: Sequence[EventMark]) -> Markup:
    """A line for each mark; marks too close for words of their own are named together at the first of them."""
    parts = []
    named: list[tuple[float, str, list[str]]] = []
    for mark in marks:
        if not time.low <= mark.t_ms <= time.high:
            continue
        x = time(mark.t_ms)
        title = element("title", f"{time_text(mark.t_ms)} {mark.words}")
        parts.append(element("g", title, path([(x, TOP - 8), (x, HEIGHT - BOTTOM)], class_="mark"), class_=mark.style))
        if named and x < named[-1][0] + 8 + text_width(", ".join(named[-1][2]), 10.0):
            together = named[-1][1] == mark.style and mark.words not in named[-1][2]
            named[-1][2].extend([mark.words] if together else [])
        else:
            named.append((x, mark.style, [mark.words]))
    for x, style, words in named:
        parts.append(element("g", text(x + 3, TOP - 12, ", ".join(words), class_="marktext"), class_=style))
    return join(parts)


def _line(plot: Plot, row: int, time: Scale, scale: Scale) -> Markup:
    values = plot.series[row].values
    d: list[str] = []
    pen_down, last_y = False, 0.0
    for t_ms, value in zip(plot.t_ms.tolist(), values.tolist(), strict=True):
        if math.isnan(value):
            d += [f"H{time(t_ms):.1f}"] if pen_down else []
            pen_down = False
            continue
        x, y = time(t_ms), scale(min(max(value, scale.low), scale.high))
        if not pen_down:
            d.append(f"M{x:.1f} {y:.1f}")
            last_y = y
        elif abs(y - last_y) > 0.04:
            d.append(f"H{x:.1f}V{y:.1f}")
            last_y = y
        pen_down = True
    if pen_down:
        d.append(f"H{time(plot.t_ms.tolist()[-1]):.1f}")
    return element("path", d="".join(d), class_=f"line c{row}{' step' if plot.family.counts else ''}")


def _beyond(plot: Plot, time: Scale, scale: Scale) -> list[Markup]:
    """Says in words how far each series goes beyond the axis, one under the other where they would overlap."""
    notes = []
    taken: list[tuple[float, float, float]] = []
    for series in plot.series:
        for at, words, y, way in _excesses(plot, series, scale):
            x, width = time(int(plot.t_ms[at])), text_width(words, 11.0)
            left = x + 6 if x + 6 + width < time.at_high else x - 6 - width
            while any(y == other and left < high and low < left + width for low, high, other in taken):
                y += way * 13.0
            taken.append((left, left + width, y))
            notes.append(text(left, y, words, class_="peak"))
    return notes


def _excesses(plot: Plot, series: Series, scale: Scale) -> list[tuple[int, str, float, float]]:
    """(row, words, y, direction of the next line) for the highest and lowest value that lie beyond the axis."""
    if not np.isfinite(series.values).any():
        return []
    found = []
    for sign, find, y, way in (("▲", np.nanargmax, TOP + 11.0, 1.0), ("▼", np.nanargmin, HEIGHT - BOTTOM - 6.0, -1.0)):
        at = int(find(series.values))
        value = float(series.values[at])
        if value > scale.high if sign == "▲" else value < scale.low:
            found.append((at, f"{sign} {series.name} {figure_text(value)} {plot.family.unit}", y, way))
    return found


def crosshair_data(plot: Plot, width: float) -> Mapping[str, Any]:
    """What the page's script needs to read values off the plot."""
    scale, _ = value_scale(plot)
    return {
        "t": plot.t_ms.tolist(),
        "span": [plot.span[0], max(plot.span[1], plot.span[0] + 1)],
        "box": [LEFT, TOP, width - RIGHT, HEIGHT - BOTTOM],
        "y": [scale.low, scale.high],
        "unit": plot.family.unit,
        "series": [
            {"name": series.name, "v": [None if math.isnan(v) else float(f"{v:.5g}") for v in series.values.tolist()]}
            for series in plot.series
        ],
    }
