"""Builds the page of a run: gathers what each section shows and renders the template.

The page is one file that loads nothing. Not for the content of a section: each has a module of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from twin.report.findings import findings
from twin.report.groups import Group, grouped
from twin.report.latencies import key_latencies, reclosing
from twin.report.milestones import Hop, Incident
from twin.report.one_line import FEEDER_COLOURS, VERY_LARGE_GRID, OneLine, legend_symbol
from twin.report.plots import crosshair_data, draw_plot, event_marks, nobody_without_supply, plots_of
from twin.report.results import GridState, Results, RunSummary, read_results
from twin.report.story import alarm_counts, alarms, details, excerpt, natural, plans, sessions, supply, words
from twin.report.svg import figure_text, span_text, time_text
from twin.report.swim_lanes import MOST_MILESTONES, draw_lanes, spread_text
from twin.report.timeline import incidents

REPORT_FILE = "report.html"
MOST_INCIDENTS = 12
MOST_HOPS = 1000
WIDE = 1180.0
STATE_WORDS = {
    "before": "Before the first event",
    "fault": "Fault tripped",
    "isolated": "Fault isolated",
    "after": "At the end",
}


def write_report(results: Path) -> Path:
    """Write ``report.html`` into the results folder and return its path.

    Works on the folder of an interrupted or broken run too; the page then says so on top.

    Raises:
        ResultsMissingError: the folder is not there or holds nothing of a run.
    """
    target = results / REPORT_FILE
    target.write_text(render(read_results(results)), encoding="utf-8")
    return target


def render(results: Results) -> str:
    """The page as one string."""
    return _environment().get_template("report.html.j2").render(**_content(results))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("twin.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"time": time_text, "span": span_text, "figure": figure_text, "words": words}
    environment.globals["details"] = details
    return environment


def _content(results: Results) -> dict[str, Any]:
    run, end_ms = results.run, results.end_ms
    told = incidents(results.journal)
    return {
        "run": run,
        "findings": results.findings,
        "verdict": overall(run),
        "end_ms": end_ms,
        "supply": supply(results.journal, end_ms),
        "incidents": [_incident(incident) for incident in told[:MOST_INCIDENTS]],
        "more_incidents": max(len(told) - MOST_INCIDENTS, 0),
        "most_milestones": MOST_MILESTONES,
        "pictures": _pictures(results),
        "plans": plans(results.journal),
        "findings_told": findings(results.journal),
        "plots": _plots(results, end_ms),
        "alarms": (rung := alarms(results.journal)),
        "alarm_counts": alarm_counts(rung),
        "sessions": sessions(results.journal, run.protocols, end_ms),
        "excerpt": excerpt(results.journal),
        "journal_size": len(results.journal),
        "shares": _shares(run.shares),
        "scenario_yaml": results.scenario_yaml,
    }


def overall(run: RunSummary) -> Mapping[str, str]:
    """The verdict on the run: a style, a sign, a word and a sentence."""
    passed = sum(verdict.passed is True for verdict in run.verdicts)
    failed = sum(verdict.passed is False for verdict in run.verdicts)
    count = f"{passed} of {len(run.verdicts)} expectations hold"
    if not run.completed:
        judged = count if run.verdicts else "no expectation was judged"
        return {"style": "fail", "sign": "!", "word": run.status, "sentence": judged}
    if failed:
        return {"style": "fail", "sign": "✗", "word": "failed", "sentence": count}
    if passed < len(run.verdicts):
        return {"style": "open", "sign": "?", "word": "not judged", "sentence": count}
    if not run.verdicts:
        return {"style": "open", "sign": "–", "word": "completed", "sentence": "the scenario expects nothing"}
    return {"style": "pass", "sign": "✓", "word": "passed", "sentence": count}


def _incident(incident: Incident) -> dict[str, Any]:
    longest = max((hop.delta_ms for hop in incident.hops), default=1)
    groups = grouped(incident.milestones)
    return {
        "incident": incident,
        "svg": draw_lanes(incident),
        "latencies": key_latencies(incident),
        "reclosing": reclosing(incident),
        "hops": _hop_groups(incident, groups),
        "n_hops": len(incident.hops),
        "n_shown": min(len(incident.hops), MOST_HOPS),
        "n_groups": len(groups),
        "longest_ms": max(longest, 1),
    }


def _hop_groups(incident: Incident, groups: Sequence[Group]) -> list[dict[str, Any]]:
    """The hops to the milestones of each group, with what is told of them together."""
    chain = incident.milestones
    label_of = {row: group.label for group in groups for row in group.rows}
    told: list[dict[str, Any]] = []
    left = MOST_HOPS
    for group in groups:
        causes = [(chain[row].cause, row) for row in group.rows]
        known = [(cause, row) for cause, row in causes if cause is not None][:left]
        if not known:
            continue
        left -= len(known)
        hops = [Hop(chain[cause], chain[row]) for cause, row in known]
        names = list(dict.fromkeys(label_of[cause] for cause, _ in known))
        told.append(
            {
                "hops": hops,
                "together": len(hops) > 1,
                "label": group.label,
                "from": names[0] if len(names) == 1 else f"{len(names)} different causes",
                "took": spread_text(hop.delta_ms for hop in hops),
                "delta_ms": max(hop.delta_ms for hop in hops),
            }
        )
    return told


def _pictures(results: Results) -> dict[str, Any] | None:
    if results.grid is None or not results.grid.nodes or not results.grid.states:
        return None
    drawing = OneLine.of(results.grid)
    all_states = results.grid.states
    large = len(results.grid.nodes) > VERY_LARGE_GRID
    states = (all_states[0], *all_states[-1:]) if large and len(all_states) > 1 else all_states
    shown = worth_showing(states)
    faulted = any((entry.source, entry.kind) == ("director", "fault") for entry in results.journal)
    return {
        "states": [
            {
                "label": state.label,
                "title": "Breaker opened" if state.label == "fault" and not faulted else _title(state),
                "t_ms": state.t_ms,
                "shown": row in shown,
                "words": drawing.words(state),
                "svg": drawing.draw(state),
            }
            for row, state in enumerate(states)
        ],
        "feeders": sorted(
            (
                {"name": results.grid.switches[row].name, "colour": index % FEEDER_COLOURS}
                for index, row in enumerate(drawing.heads)
            ),
            key=lambda feeder: natural(str(feeder["name"])),
        ),
        "keys": _keys(results),
        "overloaded": any(drawing.overloaded(state) for state in states),
    }


def _title(state: GridState) -> str:
    return STATE_WORDS.get(state.label, state.label)


def worth_showing(states: Sequence[GridState]) -> set[int]:
    """The first and the last state; where these look alike, the first and the one in between that differs most."""
    last = len(states) - 1
    if last < 2 or _difference(states[0], states[last]):
        return {0, last}
    return {0, max(range(last, 0, -1), key=lambda row: _difference(states[0], states[row]))}


def _difference(one: GridState, other: GridState) -> int:
    """How many switches, nodes and faults stand differently."""
    pairs = [*zip(one.closed, other.closed, strict=True)]
    pairs += zip(one.node_energised, other.node_energised, strict=True)
    return sum(a != b for a, b in pairs) + len(set(one.faulted) ^ set(other.faulted))


def _keys(results: Results) -> list[dict[str, Any]]:
    """Legend entries for the kinds of switches that this grid has."""
    known = ("breaker", "load_break_switch", "disconnector", "fuse")
    kinds = {switch.kind for switch in results.grid.switches} if results.grid else set()
    return [
        {"closed": legend_symbol(kind, True), "open": legend_symbol(kind, False), "words": kind.replace("_", " ")}
        for kind in known
        if kind in kinds
    ]


def _plots(results: Results, end_ms: int) -> list[dict[str, Any]]:
    """Each plot over the whole run and, where there was an incident, beside it over the time around that."""
    samples = results.samples
    if samples is None or samples.t_ms.size == 0:
        return []
    marks = event_marks(results.journal)
    whole = (min(0, int(samples.t_ms[0])), max(end_ms, 1))
    spans = [whole, *_around(incidents(results.journal), whole)]
    width = WIDE if len(spans) == 1 else WIDE / 2
    columns = zip(*(plots_of(samples, span) for span in spans), strict=True)
    return [
        {
            "title": group[0].title,
            "names": [series.name for series in group[0].series],
            "views": [
                {"span": plot.span, "svg": draw_plot(plot, marks, width), "data": crosshair_data(plot, width)}
                for plot in group
            ],
        }
        for group in columns
        if not nobody_without_supply(group[0])
    ]


def _around(told: Sequence[Incident], whole: tuple[int, int]) -> list[tuple[int, int]]:
    """The time around the first incident, if that is but a part of the run."""
    if not told:
        return []
    start, end = told[0].start_ms, told[0].milestones[-1].t_ms
    margin = max((end - start) // 4, 2000)
    span = (max(start - margin, whole[0]), min(end + margin, whole[1]))
    return [span] if span[1] - span[0] < 0.6 * (whole[1] - whole[0]) else []


def _shares(shares: Mapping[str, float]) -> list[dict[str, Any]]:
    total = sum(max(share, 0.0) for share in shares.values()) or 1.0
    return [
        {"name": name, "percent": 100 * max(share, 0.0) / total, "colour": index % FEEDER_COLOURS}
        for index, (name, share) in enumerate(shares.items())
    ]
