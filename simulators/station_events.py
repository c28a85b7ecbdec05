"""Scenario events that concern stations and the telecontrol network: checks, and what the simulators are told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from twin.derive import Derivation
from twin.outstations.misbehaviour import Kind, Misbehaviour
from twin.points.pointmap import nearest_name
from twin.scenario import Finding, Scenario
from twin.scenario.telecontrol import HalfOpenAction, MisbehaviourAction, NetworkAction
from twin.timebase import SimTime
from twin.transport import Condition

USUAL_DELAY_MS = 2_000
"""How late a late station answers if the scenario does not say."""
StationAction = MisbehaviourAction | NetworkAction | HalfOpenAction
IMPOSSIBLE: Mapping[str, Mapping[str, str]] = {
    "modbus": {"overflow": "a station that is polled over modbus has no events that could overflow"},
    "in_process": {"malformed": "the in-process link has no octets that could be malformed"},
}
"""For each protocol, the kinds of misbehaviour that it has no room for, and why."""


def station_findings(scenario: Scenario, derivation: Derivation) -> Iterator[Finding]:
    """What is wrong with the events that concern stations."""
    for n, event in enumerate(scenario.events):
        action = event.action
        if isinstance(action, MisbehaviourAction):
            for key, sentence in _problems(scenario, derivation, action):
                yield scenario.source.finding(("events", n, "misbehaviour", key), sentence)


def _problems(scenario: Scenario, derivation: Derivation, action: MisbehaviourAction) -> Iterator[tuple[str, str]]:
    settings = scenario.station(action.station)
    if not settings.answers:
        yield "station", f"{action.station} answers nothing, so it cannot misbehave otherwise"
    if why := IMPOSSIBLE.get(settings.protocol, {}).get(action.kind):
        yield "kind", why
    inputs = [p.name for p in derivation.points.of_station(action.station) if not p.kind.is_output]
    if action.point is not None and inputs and action.point not in inputs:
        near = nearest_name(action.point, inputs)
        hint = f"; did you mean {near}?" if near else ""
        yield "point", f"station {action.station} has no point {action.point}{hint}"


def described(action: StationAction, duration_ms: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """(data for the simulators, data for the journal)."""
    data = action.model_dump(exclude_none=True)
    data["station"] = action.station
    if not isinstance(action, HalfOpenAction):
        data["for_ms"] = action.for_ms or duration_ms
    journal = {name if name != "kind" else "misbehaviour": value for name, value in data.items() if name != "station"}
    return data, journal


def misbehaviour(data: Mapping[str, Any], now: SimTime) -> Misbehaviour:
    """What a station is to do from ``now`` on."""
    names = {"point", "value", "scale", "offset", "share"}
    details = {name: value for name, value in data.items() if name in names}
    return Misbehaviour(Kind(data["kind"]), now + data["for_ms"], **details, delay_ms=data.get("delay", USUAL_DELAY_MS))


def troubled_stations(scenario: Scenario) -> frozenset[str]:
    """The stations that are told to misbehave at some time."""
    return frozenset(e.action.station for e in scenario.events if isinstance(e.action, MisbehaviourAction))


def condition(data: Mapping[str, Any], now: SimTime) -> Condition:
    """How the telecontrol network to a station is from ``now`` on, for a while."""
    return Condition(
        now, now + data["for_ms"], data.get("latency"), data.get("jitter"), data.get("loss"), data.get("rate")
    )
