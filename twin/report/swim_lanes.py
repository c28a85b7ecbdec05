"""Draws an incident as swim lanes: plant, protection, telecontrol, control room, commands over a broken time axis.

Not for finding out what caused what (see ``timeline``) nor for what is told together (see ``groups``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from twin.report.axis import BrokenAxis, broken_axis
from twin.report.groups import Group, grouped
from twin.report.milestones import Incident, Lane, Milestone, Tone
from twin.report.svg import element, join, nice_step, path, shorten, span_text, text, text_width, time_text
from twin.report.timeline import FINAL_PHASES
from twin.timebase import SimTime

WIDTH = 1180.0
GUTTER = 104.0
ROW = 18.0
PAD = 8.0
HEAD = 46.0
LABEL_SIZE = 11.0
LONGEST_LABEL = 46
LONGEST_SENTENCE = 92
MOST_STRIPS = 4
MOST_MILESTONES = 160
"""More than this many groups of milestones are not drawn (the table still has them all)."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """A group in its row of its lane; ``right`` is False where its words stand to the left."""

    group: Group
    x: float
    end: float
    lane_row: int
    words: str
    right: bool


@dataclass(frozen=True, slots=True)
class _Transit:
    """Events on their way from the plant to the control room, told together."""

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


@dataclass(frozen=True)
class _Strip:
    """The positions of one breaker that protection tripped: (since, open) in the order of time."""

    switch: str
    positions: tuple[tuple[SimTime, bool], ...]


@dataclass(frozen=True)
class _Picture:
    """What is drawn of an incident, and where in time it stands."""

    incident: Incident
    groups: tuple[Group, ...]
    axis: BrokenAxis

    @property
    def milestones(self) -> tuple[Milestone, ...]:
        return self.incident.milestones

    def x(self, t_ms: SimTime) -> float:
        return GUTTER + 10 + self.axis.x(t_ms)


def drawn(incident: Incident) -> tuple[Group, ...]:
    """The groups of milestones a picture of the incident has room for, the first ones."""
    return grouped(incident.milestones)[:MOST_MILESTONES]


def draw_lanes(incident: Incident) -> Markup:
    """The picture of one incident as an ``<svg>``."""
    groups = drawn(incident)
    times = (t_ms for group in groups for t_ms in (group.t_ms, group.end_ms))
    picture = _Picture(incident, groups, broken_axis(times, WIDTH - GUTTER - 24))
    strips, transits, bars = _strips(picture), _transits(picture), _bars(picture)
    taken = [(t.x0 - 4, t.x1 + 8 + text_width(t.words, LABEL_SIZE)) for t in transits]
    shown: tuple[Lane, ...] = tuple(lane for lane in Lane if lane is not Lane.COMMANDS)
    marks = {lane: _pack(picture, lane, taken if lane is Lane.TELECONTROL else []) for lane in shown}
    tops, height = _tops(marks, len(strips), len(bars))
    parts = [_lane_bands(tops, height), _axis(picture, height)]
    parts += [
        _strip(strip, picture, tops[Lane.PLANT] - ROW * (len(strips) - i - 0.5)) for i, strip in enumerate(strips)
    ]
    parts += _links(picture, _places(picture, marks, bars, tops))
    parts += [_mark(picture, mark, tops[lane]) for lane, row_marks in marks.items() for mark in row_marks]
    parts += [_transit(transit, tops[Lane.TELECONTROL] + PAD + ROW / 2) for transit in transits]
    if not bars:
        parts.append(text(GUTTER + 10, tops[Lane.COMMANDS] + PAD + ROW / 2 + 4, "no command was given", class_="soft"))
    parts += [_bar(bar, picture, tops[Lane.COMMANDS] + PAD + ROW * (row + 0.5)) for row, bar in enumerate(bars)]
    size = f"0 0 {WIDTH:.0f} {height:.0f}"
    return element("svg", *parts, viewBox=size, class_="lanes", role="img", aria_label=_words(picture))


def _words(picture: _Picture) -> str:
    start = picture.incident.start_ms
    told = (f"{span_text(group.t_ms - start)}: {group.label}" for group in picture.groups[:40])
    return f"Chain of events; the table below has every hop. {'; '.join(told)}"


def _strips(picture: _Picture) -> list[_Strip]:
    """The breakers that were tripped, the first few."""
    moves = [m for g in picture.groups for m in (picture.milestones[g.rows[0]],) if m.kind == "breaker"]
    tripped = dict.fromkeys(m.subject for m in moves if m.tone is Tone.BAD)
    return [
        _Strip(name, tuple((m.t_ms, m.part == "open") for m in moves if m.subject == name))
        for name in list(tripped)[:MOST_STRIPS]
    ]


def _strip(strip: _Strip, picture: _Picture, y: float) -> Markup:
    """Closed as a bar, open as a gap with how long it lasted."""
    first, last = picture.axis.parts[0].from_ms, picture.axis.parts[-1].to_ms
    spans = [(first, not strip.positions[0][1]), *strip.positions, (last, False)]
    parts = [text(GUTTER + 2, y + 4, strip.switch, text_anchor="end", class_="tick")]
    for (from_ms, is_open), (to_ms, _) in pairwise(spans):
        x0, x1 = picture.x(from_ms), picture.x(to_ms)
        lasted = span_text(to_ms - from_ms) if to_ms < last else "to the end"
        title = element("title", f"{strip.switch} {'open' if is_open else 'closed'} {lasted}")
        style = "off" if is_open else "on"
        bar = element("rect", x=x0, y=y - 6, width=max(x1 - x0, 1.0), height=12, class_=f"position {style}")
        words = f"open {lasted}"
        fits = is_open and text_width(words, 10.0) + 8 < x1 - x0
        said = (text((x0 + x1) / 2, y + 3.5, words, text_anchor="middle", class_="opentext"),) if fits else ()
        parts.append(element("g", title, bar, *said))
    return join(parts)


def _transits(picture: _Picture) -> list[_Transit]:
    """What stands in the first row of the telecontrol lane; one that finds no room there is left to its link."""
    ways: dict[tuple[SimTime, SimTime], list[Group]] = {}
    for group in picture.groups:
        sent = _sent(picture, group)
        if group.kind == "event" and sent:
            ways.setdefault((min(sent), group.end_ms), []).append(group)
    transits: list[_Transit] = []
    free_from = 0.0
    for (sent_ms, received_ms), groups in sorted(ways.items()):
        x0, x1 = picture.x(sent_ms), picture.x(received_ms)
        words = _way_text(picture, groups)
        end = x1 + 8 + text_width(words, LABEL_SIZE)
        if x0 >= free_from and end < WIDTH - 4:
            points = ", ".join(group.label.removeprefix("event ") for group in groups)
            transits.append(_Transit(x0, x1, words, f"{points}: {words} from the plant to the control room"))
            free_from = end + 8
    return transits


def _sent(picture: _Picture, group: Group) -> list[SimTime]:
    causes = (picture.milestones[row].cause for row in group.rows)
    return [picture.milestones[cause].t_ms for cause in causes if cause is not None]


def _way_text(picture: _Picture, groups: Sequence[Group]) -> str:
    members = [picture.milestones[row] for group in groups for row in group.rows]
    return spread_text(m.t_ms - picture.milestones[m.cause].t_ms for m in members if m.cause is not None)


def spread_text(spans_ms: Iterable[SimTime]) -> str:
    """``80 ms``, or of several ``122 ms to 159 ms``."""
    found = sorted(spans_ms)
    shortest, longest = (span_text(found[0]), span_text(found[-1])) if found else ("", "")
    return shortest if shortest == longest else f"{shortest} to {longest}"


def _transit(transit: _Transit, y: float) -> Markup:
    title = element("title", transit.told)
    line = path([(transit.x0, y), (transit.x1, y)], class_="way")
    head = path([(transit.x1 - 4, y - 3), (transit.x1, y), (transit.x1 - 4, y + 3)], class_="way")
    return element("g", title, line, head, text(transit.x1 + 5, y + 4, transit.words, class_="soft"))


def _pack(picture: _Picture, lane: Lane, first_row: Sequence[tuple[float, float]]) -> list[_Mark]:
    """Gives each mark of a lane the first row with room for its words; ``first_row`` is taken already."""
    ends: list[list[tuple[float, float]]] = [list(first_row)] if first_row else []
    marks = []
    for group in picture.groups:
        if group.lane is not lane:
            continue
        x, end = picture.x(group.t_ms), picture.x(group.end_ms)
        words = _drawn_words(picture, group)
        width = 11 + text_width(words, LABEL_SIZE)
        right = end + width < WIDTH - 4
        span = (x - 6, end + width) if right else (x - width, end + 6)
        lane_row = next((i for i, taken in enumerate(ends) if _free(taken, span)), len(ends))
        if lane_row == len(ends):
            ends.append([])
        ends[lane_row].append(span)
        marks.append(_Mark(group, x, end, lane_row, words, right))
    return marks


def _drawn_words(picture: _Picture, group: Group) -> str:
    """The label without what the picture can do without: the station of an alarm, the end of a long sentence."""
    first = picture.milestones[group.rows[0]]
    label = f"alarm: {first.part}" if first.kind == "alarm" and not group.together else group.label
    long = group.together or group.kind in ("location", "plan")
    return shorten(label, LONGEST_SENTENCE if long else LONGEST_LABEL)


def _free(taken: Iterable[tuple[float, float]], span: tuple[float, float]) -> bool:
    return all(span[1] + 4 < low or high + 4 < span[0] for low, high in taken)


def _bars(picture: _Picture) -> list[_Bar]:
    commands: dict[str, list[Milestone]] = {}
    for group in picture.groups:
        milestone = picture.milestones[group.rows[0]]
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


def _tops(marks: Mapping[Lane, list[_Mark]], n_strips: int, n_bars: int) -> tuple[dict[Lane, float], float]:
    """(top of each lane's marks, height of the picture); the strips stand above the first lane's marks."""
    tops, y = {}, HEAD
    for lane in Lane:
        rows = n_bars if lane is Lane.COMMANDS else 1 + max((m.lane_row for m in marks[lane]), default=0)
        y += n_strips * ROW + (PAD / 2 if n_strips else 0) if lane is Lane.PLANT else 0
        tops[lane] = y
        y += 2 * PAD + ROW * max(rows, 1)
    return tops, y


def _lane_bands(tops: Mapping[Lane, float], height: float) -> Markup:
    starts = [HEAD, *list(tops.values())[1:], height]
    parts = []
    for row, lane in enumerate(tops):
        top, bottom = starts[row], starts[row + 1]
        band = "band odd" if row % 2 else "band"
        parts.append(element("rect", x=0.0, y=top, width=WIDTH, height=bottom - top, class_=band))
        parts.append(text(10, tops[lane] + PAD + ROW / 2 + 4, lane.value, class_="lane"))
    return join(parts)


def _axis(picture: _Picture, height: float) -> Markup:
    parts = []
    for part in picture.axis.parts:
        x0, x1 = GUTTER + 10 + part.x0, GUTTER + 10 + part.x1
        if part.quiet:
            parts.append(_break(x0, x1, part.to_ms - part.from_ms, height))
            continue
        parts.append(path([(x0, HEAD - 6), (x1, HEAD - 6)], class_="axis"))
    parts += _ticks(picture, height)
    return join(parts)


def _ticks(picture: _Picture, height: float) -> list[Markup]:
    """A line at each tick; its time where there is room, the beginnings of the parts first."""
    start_ms = picture.incident.start_ms
    moments = _moments(picture.axis)
    taken: list[tuple[float, float]] = []
    labels = {}
    for t_ms in sorted(moments, key=lambda t_ms: (not moments[t_ms], t_ms)):
        words = time_text(start_ms) if t_ms == start_ms else f"+{span_text(t_ms - start_ms)}"
        x, width = picture.x(t_ms), text_width(words)
        left = x if x + width < WIDTH - 4 else x - width
        if _free(taken, (left, left + width)):
            taken.append((left, left + width))
            labels[t_ms] = text(left, HEAD - 13, words, class_="tick")
    lines = [path([(picture.x(t), HEAD - 6), (picture.x(t), height)], class_="grid") for t in sorted(moments)]
    return [*lines, *(labels[t] for t in sorted(labels))]


def _moments(axis: BrokenAxis) -> dict[SimTime, bool]:
    """The moments of the ticks; True for the beginning of a part."""
    moments: dict[SimTime, bool] = {}
    for part in axis.parts:
        if part.quiet:
            continue
        moments[part.from_ms] = True
        span = part.to_ms - part.from_ms
        step = max(round(nice_step(max(span, 1), max(int((part.x1 - part.x0) / 60), 1))), 1)
        for t_ms in range(part.from_ms + step, part.to_ms, step):
            moments.setdefault(t_ms, False)
    return moments


def _break(x0: float, x1: float, gap_ms: int, height: float) -> Markup:
    middle = (x0 + x1) / 2
    gap = element("rect", x=x0 + 5, y=HEAD, width=x1 - x0 - 10, height=height - HEAD, class_="quiet")
    zigzag = [(middle - 8, HEAD - 6), (middle - 3, HEAD - 11), (middle + 3, HEAD - 1), (middle + 8, HEAD - 6)]
    title = element("title", f"{span_text(gap_ms)} in which nothing of the chain happened")
    words = text(middle, HEAD - 30, _rounded(gap_ms), class_="gap")
    return element("g", title, gap, path(zigzag, class_="axis"), words)


def _rounded(gap_ms: int) -> str:
    return span_text(gap_ms) if gap_ms < 1000 else span_text(round(gap_ms, -2))


def _places(
    picture: _Picture, marks: Mapping[Lane, list[_Mark]], bars: Sequence[_Bar], tops: Mapping[Lane, float]
) -> dict[int, tuple[float, float]]:
    """Where each drawn milestone stands, those told together in one place."""
    places = {
        row: (mark.x, tops[lane] + PAD + ROW * (mark.lane_row + 0.5))
        for lane, row_marks in marks.items()
        for mark in row_marks
        for row in mark.group.rows
    }
    bar_of = {bar.milestones[0].command_id: row for row, bar in enumerate(bars)}
    for group in picture.groups:
        milestone = picture.milestones[group.rows[0]]
        if milestone.lane is Lane.COMMANDS:
            y = tops[Lane.COMMANDS] + PAD + ROW * (bar_of[milestone.command_id] + 0.5)
            places[group.rows[0]] = (picture.x(milestone.t_ms), y)
    return places


def _links(picture: _Picture, places: Mapping[int, tuple[float, float]]) -> list[Markup]:
    """One curve from each group to each that followed from it."""
    group_of = {row: i for i, group in enumerate(picture.groups) for row in group.rows}
    ways: dict[tuple[int, int], list[SimTime]] = {}
    for effect, group in enumerate(picture.groups):
        for row in group.rows:
            milestone = picture.milestones[row]
            cause = milestone.cause
            if cause is None or cause not in places or _same_command(picture.milestones[cause], milestone):
                continue
            took = milestone.t_ms - picture.milestones[cause].t_ms
            ways.setdefault((group_of[cause], effect), []).append(took)
    return [
        _link(picture.groups[cause], picture.groups[effect], spans, places) for (cause, effect), spans in ways.items()
    ]


def _same_command(cause: Milestone, effect: Milestone) -> bool:
    return bool(cause.command_id) and cause.command_id == effect.command_id


def _link(cause: Group, effect: Group, spans: Sequence[SimTime], places: Mapping[int, tuple[float, float]]) -> Markup:
    (x0, y0), (x1, y1) = places[cause.rows[0]], places[effect.rows[0]]
    bend = max((x1 - x0) / 2, 0.0)
    rise = 12.0 if y0 == y1 else 0.0  # passes above the words of its own row
    d = f"M{x0:.1f} {y0:.1f}C{x0 + bend:.1f} {y0 - rise:.1f} {x1 - bend:.1f} {y1 - rise:.1f} {x1:.1f} {y1:.1f}"
    title = element("title", f"{cause.label} → {effect.label}: {spread_text(spans)}")
    return element("path", title, d=d, class_="link")


def _mark(picture: _Picture, mark: _Mark, top: float) -> Markup:
    y = top + PAD + ROW * (mark.lane_row + 0.5)
    group = mark.group
    title = element("title", _told(picture, group))
    dot = element("circle", cx=mark.x, cy=y, r=4, class_="dot")
    shapes = [dot]
    if group.together:
        width = mark.end - mark.x + 12
        shapes = [element("rect", x=mark.x - 6, y=y - 6, width=width, height=12, rx=6, class_="stack"), dot]
    side = (mark.end + 9, None) if mark.right else (mark.x - 9, "end")
    words = text(side[0], y + 4, mark.words, text_anchor=side[1], class_="words")
    return element("g", title, *shapes, words, class_=group.tone.value)


def _told(picture: _Picture, group: Group) -> str:
    label = group.label if group.together else picture.milestones[group.rows[0]].label
    until = f" to {time_text(group.end_ms)}" if group.end_ms > group.t_ms else ""
    if not group.together:
        return f"{time_text(group.t_ms)} · {label}"
    names = ", ".join(dict.fromkeys(picture.milestones[row].subject for row in group.rows))
    return f"{time_text(group.t_ms)}{until} · {label}: {shorten(names, 300)}"


def _bar(bar: _Bar, picture: _Picture, y: float) -> Markup:
    xs = [picture.x(m.t_ms) for m in bar.milestones]
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
