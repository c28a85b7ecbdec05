"""Checks before a run: do the names of a scenario exist, and do its parts fit together?

Findings only; what to do about them is the caller's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from twin.network.load_profiles import CLASSES
from twin.network.model import EquipmentKind
from twin.scenario.events import ClearFaultAction, Event
from twin.scenario.expression import Expression, unknown_name
from twin.scenario.findings import Finding, KeyPath, did_you_mean
from twin.scenario.model import Expectation, Scenario
from twin.scenario.namespace import EquipmentNames
from twin.units import Unit, format_quantity

_ARTICLES = {
    EquipmentKind.NODE: "node",
    EquipmentKind.LINE: "line",
    EquipmentKind.SWITCH: "switch",
    EquipmentKind.CONSUMER: "consumer",
}

EVERYTHING = "all"
"""The word for all consumers, alarms or plans."""


def check_references(scenario: Scenario) -> list[Finding]:
    """What is wrong without knowing the network: ids used twice or missing, times after the end of the run."""
    return sorted({*_ids(scenario), *_event_references(scenario), *_times(scenario)})


def resolve(scenario: Scenario, namespace: EquipmentNames, stations: Iterable[str]) -> list[Finding]:
    """One finding for each name that does not exist, in the order of the lines.

    Covers equipment, stations, the names and units of conditions, plot columns, and all of
    :func:`check_references`.
    """
    check = _Names(scenario, namespace, tuple(stations))
    found = [*check.network_errors(), *check.stations(), *check.priorities(), *check.events()]
    found += [*check.expectations(), *check.plots()]
    return sorted({*found, *check_references(scenario)})


def _ids(scenario: Scenario) -> Iterator[Finding]:
    lists = {"events": [e.id for e in scenario.events], "expect": [e.id for e in scenario.expect]}
    for key, ids in lists.items():
        for n, name in enumerate(ids):
            if (first := ids.index(name)) < n:
                line = scenario.source.line((key, first))
                place = f" in line {line}" if line else ""
                yield scenario.source.finding((key, n, "id"), f"the id {name} was already given{place}")


def _event_references(scenario: Scenario) -> Iterator[Finding]:
    ids = [event.id for event in scenario.events]
    faults = [event.id for event in scenario.events if event.fault]
    for n, expectation in enumerate(scenario.expect):
        if expectation.within and expectation.within.event not in ids:
            name = expectation.within.event
            sentence = f"there is no event {name}{did_you_mean(name, ids)}"
            yield scenario.source.finding(("expect", n, "within"), sentence)
    for n, event in enumerate(scenario.events):
        if isinstance(event.action, ClearFaultAction) and event.action.id not in faults:
            name = event.action.id
            what = "is not a fault" if name in ids else "does not exist"
            sentence = f"the event {name} {what}{did_you_mean(name, faults)}"
            yield scenario.source.finding(("events", n, "clear fault", "id"), sentence)


def _times(scenario: Scenario) -> Iterator[Finding]:
    for path, key, t_ms in _instants(scenario):
        if t_ms is not None and t_ms > scenario.duration:
            late, end = (format_quantity(t, Unit.MILLISECOND) for t in (t_ms, scenario.duration))
            yield scenario.source.finding((*path, key), f"{key} {late} is after the end of the run ({end})")


def _instants(scenario: Scenario) -> Iterator[tuple[KeyPath, str, int | None]]:
    for n, event in enumerate(scenario.events):
        yield ("events", n), "at", event.at
    for n, expectation in enumerate(scenario.expect):
        times = {"by": expectation.by, "at": expectation.at, "from": expectation.from_ms, "until": expectation.until_ms}
        for key, t_ms in times.items():
            yield ("expect", n), key, t_ms


class _Names:
    """Checks of names against one namespace."""

    def __init__(self, scenario: Scenario, namespace: EquipmentNames, stations: Collection[str]) -> None:
        self.scenario = scenario
        self.namespace = namespace
        self.station_names = stations

    def finding(self, path: KeyPath, sentence: str) -> Finding:
        return self.scenario.source.finding(path, sentence)

    def equipment(self, path: KeyPath, name: str | None, kind: EquipmentKind) -> Iterator[Finding]:
        known = self.namespace.equipment(kind)
        if name is None or name in known:
            return
        other = self.namespace.kind_of(name)
        word = _ARTICLES[kind]
        problem = f"{name} is a {other.value}, not a {word}" if other else f"there is no {word} {name}"
        yield self.finding(path, problem + did_you_mean(name, known))

    def station(self, path: KeyPath, name: str) -> Iterator[Finding]:
        if name not in self.station_names:
            yield self.finding(path, f"there is no station {name}{did_you_mean(name, self.station_names)}")

    def condition(self, path: KeyPath, condition: Expression | None) -> Iterator[Finding]:
        for problem in condition.problems(self.namespace) if condition else ():
            yield self.finding(path, problem)

    def network_errors(self) -> Iterator[Finding]:
        for n, error in enumerate(self.scenario.control_room_network):
            path = ("control_room_network", n)
            yield from self.equipment((*path, "switch"), error.switch, EquipmentKind.SWITCH)
            yield from self.equipment((*path, "line"), error.line, EquipmentKind.LINE)
            yield from self.equipment((*path, "consumer"), error.consumer, EquipmentKind.CONSUMER)

    def stations(self) -> Iterator[Finding]:
        for name in self.scenario.stations:
            if name != "default":
                yield from self.station(("stations", name), name)

    def events(self) -> Iterator[Finding]:
        for n, event in enumerate(self.scenario.events):
            yield from self.condition(("events", n, "when"), event.when)
            yield from self.action(("events", n, event.kind), event)

    def action(self, path: KeyPath, event: Event) -> Iterator[Finding]:
        for key, kind, name in _named_equipment(event):
            if not (key == "switch" and _by_hand(event) and name in self.namespace.equipment(EquipmentKind.EARTHING)):
                yield from self.equipment((*path, key), name, kind)
        for at_station in (event.misbehaviour, event.telecontrol, event.half_open):
            if at_station:
                yield from self.station((*path, "station"), at_station.station)
        if event.comms_loss:
            yield from self.station((*path, "station"), event.comms_loss.station)
        if event.operator and event.operator.acknowledge not in (None, EVERYTHING):
            yield from self.anything((*path, "acknowledge"), str(event.operator.acknowledge))
        if event.operator and event.operator.repaired is not None:
            yield from self.anything((*path, "repaired"), event.operator.repaired)

    def anything(self, path: KeyPath, name: str) -> Iterator[Finding]:
        if self.namespace.kind_of(name) is None and name not in self.station_names:
            known = [known for kind in EquipmentKind for known in self.namespace.equipment(kind)]
            yield self.finding(path, f"there is no equipment {name}{did_you_mean(name, known)}")

    def expectations(self) -> Iterator[Finding]:
        for n, expectation in enumerate(self.scenario.expect):
            yield from self.condition(("expect", n, _condition_key(expectation)), expectation.condition)

    def priorities(self) -> Iterator[Finding]:
        for n, name in enumerate(self.scenario.applications.flisr.priority):
            if name not in CLASSES:
                yield from self.equipment(("applications", "flisr", "priority", n), name, EquipmentKind.CONSUMER)

    def plots(self) -> Iterator[Finding]:
        for n, name in enumerate(self.scenario.report.plot):
            if self.namespace.lookup(name) is None:
                yield self.finding(("report", "plot", n), unknown_name(name, self.namespace))


def _by_hand(event: Event) -> bool:
    """Earthing switches are operated at the plant only."""
    return event.operate is not None and event.operate.at == "plant"


def _condition_key(expectation: Expectation) -> str:
    return "that" if expectation.that else expectation.form


def _named_equipment(event: Event) -> Iterator[tuple[str, EquipmentKind, str | None]]:
    """(key, kind, name) of the equipment that an event's action names."""
    if event.fault:
        yield "line", EquipmentKind.LINE, event.fault.line
        if event.fault.second:
            yield "second", EquipmentKind.LINE, event.fault.second.line
    if event.operate:
        yield "switch", EquipmentKind.SWITCH, event.operate.switch
    if event.operator:
        yield "hold_off", EquipmentKind.SWITCH, event.operator.hold_off
    if event.load and event.load.consumer != EVERYTHING:
        yield "consumer", EquipmentKind.CONSUMER, event.load.consumer
    if event.device_fault:
        yield "switch", EquipmentKind.SWITCH, event.device_fault.switch
        yield "indicator", EquipmentKind.SWITCH, event.device_fault.indicator
    if event.local:
        yield "switch", EquipmentKind.SWITCH, event.local.switch
    if event.call:
        yield "from", EquipmentKind.NODE, event.call.from_node
