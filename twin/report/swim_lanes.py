"""Draws an incident as swim lanes: plant, protection, telecontrol, control room, commands over a broken time axis.

Not for finding out what caused what: see ``timeline``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from twin.report.axis import BrokenAxis, broken_axis
from twin.report.svg import element, join, nice_step, path, shorten, span_text, text, text_width, time_text
from twin.report.timeline import FINAL_PHASES, Incident, Lane, Milestone, Tone

WIDTH = 1180.0
GUTTER = 104.0
ROW = 19.0
PAD = 9.0
HEAD = 46.0
LABEL_SIZE = 11.0
LONGEST_LABEL = 42
MOST_MILESTONES = 160
"""More than this many are not drawn (the table still has them all)."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """A milestone in its row of its lane; ``right`` is False where its words stand to the left."""

    row: int
    x: float
    lane_row: int
    words: str
    right: bool


@dataclass(frozen=True, slots=True)
class _Transit:
    """Events on their way from the plant to the control room, all sent and received at the same moments."""

    x0: float
    x1: float
    words: str
    told: str


@dataclass(frozen=True)
class _Bar:
    """A command from request to its end."""

    milestones: tuple[Milestone, ...]
    words: str

    @property
    def tone(self) -> Tone:
        return self.milestones[-1].tone


def drawn(incident: Incident) -> tuple[Milestone, ...]:
    """The milestones a picture of the incident has room for, the first ones."""
    return incident.milestones[:MOST_MILESTONES]


def draw_lanes(incident: Incident) -> Markup:
    """The picture of one incident as an ``<svg>``."""
    milestones = drawn(incident)
    axis = broken_axis((m.t_ms for m in milestones), WIDTH - GUTTER - 24)
    shown: tuple[Lane, ...] = tuple(lane for lane in Lane if lane is not Lane.COMMANDS)
    transits = _transits(milestones, axis)
    taken = [(t.x0 - 4, t.x1 + 8 + text_width(t.words, LABEL_SIZE)) for t in transits]
    marks = {lane: _pack(milestones, lane, axis, taken if lane is Lane.TELECONTROL else []) for lane in shown}
    bars = _bars(milestones)
    tops, height = _tops(marks, len(bars))
    parts = [_lane_bands(tops, height), _axis(axis, incident.start_ms, height)]
    places = _places(milestones, marks, bars, tops, axis)
    parts += _links(milestones, places)
    for lane, row_marks in marks.items():
        parts += [_mark(milestones[mark.row], mark, tops[lane]) for mark in row_marks]
    parts += [_transit(transit, tops[Lane.TELECONTROL] + PAD + ROW / 2) for transit in transits]
    parts += [_bar(bar, axis, tops[Lane.COMMANDS] + PAD + ROW * (row + 0.5)) for row, bar in enumerate(bars)]
    size = f"0 0 {WIDTH:.0f} {height:.0f}"
    return element("svg", *parts, viewBox=size, class_="lanes", role="img", aria_label=_words(incident))


def _words(incident: Incident) -> str:
    told = (f"{span_text(m.t_ms - incident.start_ms)}: {m.label}" for m in incident.milestones[:40])
    return f"Chain of events; the table below has every hop. {'; '.join(told)}"


def _x(axis: BrokenAxis, t_ms: int) -> float:
    return GUTTER + 10 + axis.x(t_ms)


def _transits(milestones: Sequence[Milestone], axis: BrokenAxis) -> list[_Transit]:
    """What stands in the first row of the telecontrol lane; one that finds no room there is left to its link."""
    groups: dict[tuple[int, int], list[str]] = {}
    for milestone in milestones:
        if milestone.kind == "event" and milestone.cause is not None:
            sent = milestones[milestone.cause].t_ms
            groups.setdefault((sent, milestone.t_ms), []).append(milestone.label.removeprefix("event "))
    transits: list[_Transit] = []
    free_from = 0.0
    for (sent, received), points in sorted(groups.items()):
        x0, x1 = _x(axis, sent), _x(axis, received)
        words = span_text(received - sent)
        end = x1 + 8 + text_width(words, LABEL_SIZE)
        if x0 >= free_from and end < WIDTH - 4:
            told = f"{', '.join(points)}: {words} from the plant to the control room"
            transits.append(_Transit(x0, x1, words, told))
            free_from = end + 8
    return transits


def _transit(transit: _Transit, y: float) -> Markup:
    title = element("title", transit.told)
    line = path([(transit.x0, y), (transit.x1, y)], class_="way")
    head = path([(transit.x1 - 4, y - 3), (transit.x1, y), (transit.x1 - 4, y + 3)], class_="way")
    return element("g", title, line, head, text(transit.x1 + 5, y + 4, transit.words, class_="soft"))


def _pack(
    milestones: Sequence[Milestone], lane: Lane, axis: BrokenAxis, first_row: Sequence[tuple[float, float]]
) -> list[_Mark]:
    """Gives each mark of a lane the first row with room for its words; ``first_row`` is taken already."""
    ends: list[list[tuple[float, float]]] = [list(first_row)] if first_row else []
    marks = []
    for row, milestone in enumerate(milestones):
        if milestone.lane is not lane:
            continue
        x, words = _x(axis, milestone.t_ms), shorten(milestone.label, LONGEST_LABEL)
        width = 11 + text_width(words, LABEL_SIZE)
        right = x + width < WIDTH - 4
        span = (x - 6, x + width) if right else (x - width, x + 6)
        lane_row = next((i for i, taken in enumerate(ends) if _free(taken, span)), len(ends))
        if lane_row == len(ends):
            ends.append([])
        ends[lane_row].append(span)
        marks.append(_Mark(row, x, lane_row, words, right))
    return marks


def _free(taken: Iterable[tuple[float, float]], span: tuple[float, float]) -> bool:
    return all(span[1] + 4 < low or high + 4 < span[0] for low, high in taken)


def _bars(milestones: Sequence[Milestone]) -> list[_Bar]:
    commands: dict[str, list[Milestone]] = {}
    for milestone in milestones:
        if milestone.lane is Lane.COMMANDS:
            commands.setdefault(milestone.command_id, []).append(milestone)
    bars = []
    for number, phases in enumerate(commands.values(), start=1):
        last = next((m for m in reversed(phases) if m.kind in FINAL_PHASES), phases[-1])
        until = tuple(m for m in phases if m.t_ms <= last.t_ms and m is not last)
        verb = phases[0].label.removesuffix(f" {phases[0].kind.replace('_', ' ')}")
        took = span_text(last.t_ms - phases[0].t_ms)
        bars.append(_Bar((*until, last), f"{number} · {verb} · {last.kind.replace('_', ' ')} after {took}"))
    return bars


def _tops(marks: dict[Lane, list[_Mark]], n_bars: int) -> tuple[dict[Lane, float], float]:
    tops, y = {}, HEAD
    for lane in Lane:
        rows = n_bars if lane is Lane.COMMANDS else 1 + max((m.lane_row for m in marks[lane]), default=0)
        tops[lane] = y
        y += 2 * PAD + ROW * max(rows, 1)
    return tops, y


def _lane_bands(tops: dict[Lane, float], height: float) -> Markup:
    starts = [*tops.values(), height]
    parts = []
    for row, lane in enumerate(tops):
        top, bottom = starts[row], starts[row + 1]
        band = "band odd" if row % 2 else "band"
        parts.append(element("rect", x=0.0, y=top, width=WIDTH, height=bottom - top, class_=band))
        parts.append(text(10, top + PAD + ROW / 2 + 4, lane.value, class_="lane"))
    return join(parts)


def _axis(axis: BrokenAxis, start_ms: int, height: float) -> Markup:
    parts = []
    last_label = -100.0
    for part in axis.parts:
        x0, x1 = GUTTER + 10 + part.x0, GUTTER + 10 + part.x1
        if part.quiet:
            parts.append(_break(x0, x1, part.to_ms - part.from_ms, height))
            continue
        parts.append(path([(x0, HEAD - 6), (x1, HEAD - 6)], class_="axis"))
        step = nice_step(max(part.to_ms - part.from_ms, 1), max(int((x1 - x0) / 60), 1))
        t_ms = float(part.from_ms)
        while t_ms <= part.to_ms:
            x = _x(axis, round(t_ms))
            parts.append(path([(x, HEAD - 6), (x, height)], class_="grid"))
            if x - last_label > 68 and (t_ms == part.from_ms or x + 44 < x1):
                words = time_text(start_ms) if t_ms == start_ms else f"+{span_text(round(t_ms) - start_ms)}"
                anchor = "end" if x + text_width(words) > WIDTH - 4 else None
                parts.append(text(x, HEAD - 13, words, text_anchor=anchor, class_="tick"))
                last_label = x
            t_ms += step
    return join(parts)


def _break(x0: float, x1: float, gap_ms: int, height: float) -> Markup:
    middle = (x0 + x1) / 2
    gap = element("rect", x=x0 + 4, y=HEAD - 6, width=x1 - x0 - 8, height=height - HEAD + 6, class_="quiet")
    zigzag = [(middle - 8, HEAD - 6), (middle - 3, HEAD - 11), (middle + 3, HEAD - 1), (middle + 8, HEAD - 6)]
    title = element("title", f"{span_text(gap_ms)} in which nothing of the chain happened")
    words = text(middle, HEAD - 29, _rounded(gap_ms), class_="gap")
    return element("g", title, gap, path(zigzag, class_="axis"), words)


def _rounded(gap_ms: int) -> str:
    return span_text(gap_ms) if gap_ms < 1000 else span_text(round(gap_ms, -2))


def _places(
    milestones: Sequence[Milestone],
    marks: dict[Lane, list[_Mark]],
    bars: Sequence[_Bar],
    tops: dict[Lane, float],
    axis: BrokenAxis,
) -> dict[int, tuple[float, float]]:
    places = {
        mark.row: (mark.x, tops[lane] + PAD + ROW * (mark.lane_row + 0.5))
        for lane, row_marks in marks.items()
        for mark in row_marks
    }
    bar_of = {bar.milestones[0].command_id: row for row, bar in enumerate(bars)}
    for row, milestone in enumerate(milestones):
        if milestone.lane is Lane.COMMANDS:
            y = tops[Lane.COMMANDS] + PAD + ROW * (bar_of[milestone.command_id] + 0.5)
            places[row] = (_x(axis, milestone.t_ms), y)
    return places


def _links(milestones: Sequence[Milestone], places: dict[int, tuple[float, float]]) -> list[Markup]:
    links = []
    for row, milestone in enumerate(milestones):
        if milestone.cause is None or milestone.cause not in places:
            continue
        cause = milestones[milestone.cause]
        if cause.command_id and cause.command_id == milestone.command_id:
            continue
        (x0, y0), (x1, y1) = places[milestone.cause], places[row]
        bend = max((x1 - x0) / 2, 0.0)
        d = f"M{x0:.1f} {y0:.1f}C{x0 + bend:.1f} {y0:.1f} {x1 - bend:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
        title = element("title", f"{cause.label} → {milestone.label}: {span_text(milestone.t_ms - cause.t_ms)}")
        links.append(element("path", title, d=d, class_="link"))
    return links


def _mark(milestone: Milestone, mark: _Mark, top: float) -> Markup:
    y = top + PAD + ROW * (mark.lane_row + 0.5)
    title = element("title", f"{time_text(milestone.t_ms)} · {milestone.label}")
    dot = element("circle", cx=mark.x, cy=y, r=4, class_="dot")
    side = (mark.x + 8, None) if mark.right else (mark.x - 8, "end")
    words = text(side[0], y + 4, mark.words, text_anchor=side[1], class_="words")
    return element("g", title, dot, words, class_=milestone.tone.value)


def _bar(bar: _Bar, axis: BrokenAxis, y: float) -> Markup:
    xs = [_x(axis, m.t_ms) for m in bar.milestones]
    start, end = xs[0], max(xs[-1], xs[0] + 3)
    told = " → ".join(f"{m.kind.replace('_', ' ')} {time_text(m.t_ms)}" for m in bar.milestones)
    parts = [element("title", f"{bar.words}: {told}")]
    parts.append(element("rect", x=start, y=y - 5, width=end - start, height=10, rx=3, class_="cmd"))
    parts += [path([(x, y - 5), (x, y + 5)], class_="phase") for x in xs[1:-1]]
    width = 8 + text_width(bar.words, LABEL_SIZE)
    if end + width < WIDTH - 4:
        parts.append(text(end + 7, y + 4, bar.words, class_="words"))
    else:
        parts.append(text(start - 7, y + 4, bar.words, text_anchor="end", class_="words"))
    return element("g", *parts, class_=bar.tone.value)
