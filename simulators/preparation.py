"""Everything that is known and checked before a run starts: no sockets, no simulators.

``twin validate`` is this and nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulators.addresses import address_findings
from simulators.director import PlannedEvent
from simulators.profiles import PROFILES, load_profile
from simulators.station_events import described, station_findings
from twin.control_room.applications import calculated_points, room_settings
from twin.derive import Derivation, DeriveOptions, derive
from twin.derive.reactive_curves import CurveError, reactive_curve
from twin.derive.reading import read
from twin.network import load_network
from twin.network.edit import NetworkEdit, NothingToChangeError
from twin.network.model import Network, SwitchKind
from twin.network.topology import Topology
from twin.points.model import PointKind
from twin.scenario import Finding, PlantNamespace, Quantity, Scenario, ScenarioError, load_scenario, resolve
from twin.scenario.events import (
    CallAction,
    ClearFaultAction,
    CommsLossAction,
    DeviceFaultAction,
    Event,
    FaultAction,
    LoadAction,
    LocalAction,
    OperateAction,
    OperatorAction,
    OutageAction,
)
from twin.scenario.findings import did_you_mean
from twin.scenario.machines import FrequencySettings
from twin.scenario.model import NetworkError
from twin.scenario.telecontrol import HalfOpenAction, MisbehaviourAction, NetworkAction
from twin.solvers import (
    FaultKind,
    FaultPoint,
    MissingShortCircuitDataError,
    MissingZeroSequenceError,
    short_circuit,
)
from twin.timebase import NEVER, TimeBase

EARTH_FAULTS = ("phase-to-earth", "phase-to-phase-to-earth", "double-earth")
STANDARD_COLUMNS = ("customers_interrupted", "loading_max", "v_min_pu", "v_max_pu")


@dataclass(frozen=True)
class Preparation:
    """A scenario whose every name is known, with the networks and the derivation it runs on."""

    scenario: Scenario
    plant: Network
    control_room: Network
    derivation: Derivation
    namespace: PlantNamespace
    profile: Mapping[str, Sequence[float]]
    events: tuple[PlannedEvent, ...]
    columns: tuple[Quantity, ...]

    @property
    def frequency(self) -> FrequencySettings | None:
        """The plant's machines; None if its frequency never moves and no infeed is ever lost."""
        settings = self.scenario.plant.frequency
        lost = any(event.trip_generator or event.lose_external_network for event in self.scenario.events)
        return settings if settings.machines or lost else None

    @property
    def time_base(self) -> TimeBase:
        return TimeBase(self.scenario.start)


def prepare(path: Path) -> Preparation:
    """Read and check a scenario.

    Raises:
        ScenarioError: with one finding for each line that is wrong.
        TwinError: its network, derived files or profile cannot be read.
    """
    scenario = load_scenario(path)
    plant = load_network(scenario.network, base_dir=scenario.source.folder)
    derivation = (
        read(scenario.derived_folder, plant) if scenario.derived_folder else derive(plant, derive_options(scenario))
    )
    settings = room_settings(scenario.applications)
    namespace = PlantNamespace(plant, calculated_points(plant, derivation.points, settings))
    stations = [station.name for station in derivation.remote_stations]
    findings = [
        *resolve(scenario, namespace, stations),
        *_plant_findings(scenario, plant),
        *station_findings(scenario, derivation),
        *address_findings(scenario, derivation),
        *_measurement_findings(scenario, derivation),
    ]
    if findings:
        raise ScenarioError(sorted(set(findings)))
    return Preparation(
        scenario=scenario,
        plant=plant,
        control_room=_copy_with_errors(scenario, plant),
        derivation=derivation,
        namespace=namespace,
        profile=load_profile(scenario.plant.loads.profile, scenario.source.folder),
        events=tuple(planned(event, namespace, scenario.duration) for event in scenario.events),
        columns=_columns(scenario, namespace, plant),
    )


def derive_options(scenario: Scenario) -> DeriveOptions:
    """What of the derivation a scenario decides."""
    relays, inverters = scenario.plant.frequency.relays, scenario.plant.inverters
    by_set_point = inverters == "set point"
    options = DeriveOptions(inverters=by_set_point, inverter_curve="" if by_set_point else inverters)
    if relays is None:
        return options
    return options.model_copy(
        update={
            "under_frequency_stages_hz": relays.stages,
            "under_frequency_delay_ms": relays.delay,
            "under_frequency_armed": relays.armed,
        }
    )


# -- checks against the plant -------------------------------------------------------------------------------------


def _plant_findings(scenario: Scenario, plant: Network) -> Iterator[Finding]:
    profile = scenario.plant.loads.profile
    if not scenario.plant.loads.profile_is_file and profile not in PROFILES:
        sentence = f"there is no load profile {profile}{did_you_mean(profile, PROFILES)}"
        yield scenario.source.finding(("plant", "loads", "profile"), sentence)
    yield from _curve_findings(scenario)
    yield from _machine_findings(scenario, plant)
    for n, event in enumerate(scenario.events):
        if event.fault and (sentence := _fault_problem(scenario, event, event.fault, plant)):
            yield scenario.source.finding(("events", n, "fault", "line"), sentence)


def _curve_findings(scenario: Scenario) -> Iterator[Finding]:
    """Characteristics of inverters that are none."""
    known = scenario.applications.volt_var.inverter_curve
    for path, curve in (
        (("plant", "inverters"), "" if scenario.plant.inverters == "set point" else scenario.plant.inverters),
        (("applications", "volt_var", "inverter_curve"), known),
    ):
        try:
            _ = reactive_curve(curve) if curve else None
        except CurveError as error:
            yield scenario.source.finding(path, str(error))


def _machine_findings(scenario: Scenario, plant: Network) -> Iterator[Finding]:
    """Machines that stand nowhere, and outages of what is not there."""
    machines = scenario.plant.frequency.machines
    infeeds = (*plant.sources.names, *plant.generators.names)
    for n, machine in enumerate(machines):
        path = ("plant", "frequency", "machines", n)
        if machine.at not in infeeds:
            sentence = (
                f"there is no external network or generating unit {machine.at}{did_you_mean(machine.at, infeeds)}"
            )
            yield scenario.source.finding((*path, "at"), sentence)
        if machine.name in plant.index and machine.name != machine.at:
            what = plant.index[machine.name].kind.value
            yield scenario.source.finding((*path, "name"), f"{machine.name} is the name of a {what} of the network")
    for n, event in enumerate(scenario.events):
        if event.trip_generator:
            known: tuple[str, ...] = (*(m.name for m in machines), *plant.generators.names)
            yield from _outage_finding(scenario, n, event.kind, "machine or generating unit", known)
        elif event.lose_external_network:
            yield from _outage_finding(scenario, n, event.kind, "external network", plant.sources.names)


def _outage_finding(scenario: Scenario, n: int, kind: str, what: str, known: Sequence[str]) -> Iterator[Finding]:
    action = scenario.events[n].action
    assert isinstance(action, OutageAction)
    if action.name not in known:
        sentence = f"there is no {what} {action.name}{did_you_mean(action.name, known)}"
        yield scenario.source.finding(("events", n, kind, "name"), sentence)


def _measurement_findings(scenario: Scenario, derivation: Derivation) -> Iterator[Finding]:
    known = [point.name for point in derivation.points if point.kind is PointKind.MEASURAND]
    for n, event in enumerate(scenario.events):
        name = event.device_fault.measurement if event.device_fault else None
        if name and name not in known:
            sentence = f"there is no telemetered measurement {name}{did_you_mean(name, known)}"
            yield scenario.source.finding(("events", n, "device fault", "measurement"), sentence)


def _fault_problem(scenario: Scenario, event: Event, fault: FaultAction, plant: Network) -> str:
    if fault.line not in plant.lines.names:
        return ""
    row = plant.lines.names.index(fault.line)
    if fault.kind in EARTH_FAULTS:
        rows = [row, *(plant.lines.names.index(s.line) for s in [fault.second] if s and s.line in plant.lines.names)]
        missing = [_missing_data(plant, FaultPoint(FaultKind.PHASE_TO_EARTH, line)) for line in rows]
        if any(missing):
            return next(filter(None, missing))
    first = all(other.at is not None and other.at >= (event.at or 0) for other in scenario.events)
    if first and event.at is not None and not _live_at_start(plant, row):
        return f"line {fault.line} is open at every live end, so a fault on it would carry no current"
    return ""


def _missing_data(plant: Network, point: FaultPoint) -> str:
    """What the network does not state, but an earth fault needs, in its normal state."""
    try:
        short_circuit(plant).solve(point, plant.switches.normally_closed)
    except (MissingZeroSequenceError, MissingShortCircuitDataError) as missing:
        return str(missing)
    return ""


def _live_at_start(plant: Network, line: int) -> bool:
    state = Topology(plant).state(plant.switches.normally_closed)
    return bool(state.branch_energised[line])


# -- the control room's copy --------------------------------------------------------------------------------------


def _copy_with_errors(scenario: Scenario, plant: Network) -> Network:
    """The network as the control room believes it to be."""
    edit = NetworkEdit(plant)
    for n, error in enumerate(scenario.control_room_network):
        try:
            _make(error, edit)
        except NothingToChangeError as gone:
            raise ScenarioError([scenario.source.finding(("control_room_network", n), str(gone))]) from gone
    return edit.result()


def _make(error: NetworkError, edit: NetworkEdit) -> None:
    if error.switch:
        edit.normal_position(error.switch, closed=error.normally == "closed")
    elif error.line and error.missing:
        edit.remove_line(error.line)
    elif error.line and error.rating is not None:
        edit.rating(error.line, error.rating)
    elif error.consumer and error.demand is not None:
        edit.demand(error.consumer, error.demand)


# -- events -------------------------------------------------------------------------------------------------------


def planned(event: Event, namespace: PlantNamespace, duration_ms: int) -> PlannedEvent:
    """The director's form of an event."""
    subject, data, journal = _describe(event.action, duration_ms)
    return PlannedEvent(
        event_id=event.id,
        kind=event.kind,
        subject=subject,
        at_ms=NEVER if event.at is None else event.at,
        condition=event.when.compile(namespace) if event.when else None,
        after_ms=event.after,
        data=data,
        journal=journal,
    )


def _describe(action: Any, duration_ms: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """(subject, data for the simulators, data for the journal) of an action."""
    match action:
        case FaultAction():
            data = {
                "line": action.line,
                "kind": action.kind,
                "position": action.position,
                "resistance_ohm": action.resistance,
                "permanent": action.permanent,
                "extinguishes_after_ms": action.extinguishes_after,
            }
            if action.second:
                second = action.second
                data["second"] = {
                    "line": second.line, "position": second.position, "resistance_ohm": second.resistance
                }  # fmt: skip
            told = {key: data[key] for key in ("line", "position", "permanent")}
            return action.line, data, {**told, "fault_kind": action.kind}
        case ClearFaultAction():
            return action.id, {"id": action.id}, {}
        case MisbehaviourAction() | NetworkAction() | HalfOpenAction():
            return action.station, *described(action, duration_ms)
        case CommsLossAction():
            data = {"station": action.station, "for_ms": action.for_ms or duration_ms}
            return action.station, data, {"for_ms": data["for_ms"]}
        case OperateAction():
            data = {"switch": action.switch, "closed": action.to == "closed", "at": action.at}
            return action.switch, data, {"to": action.to, "by": action.at}
        case LoadAction():
            data = {"consumer": action.consumer, "scale": action.scale}
            return action.consumer, data, {"scale": action.scale}
        case DeviceFaultAction():
            if action.switch:
                data = {"switch": action.switch, "fails_to": action.fails_to}
                return action.switch, data, {"fails_to": action.fails_to}
            if action.measurement:
                data = {"measurement": action.measurement, "reads": action.reads}
                told = {"fails": "stuck"} if action.reads is None else {"reads": action.reads}
                return action.measurement, data, told
            return (
                str(action.indicator),
                {"indicator": action.indicator, "fails": action.fails},
                {"fails": action.fails},
            )
        case LocalAction():
            return action.switch, {"switch": action.switch}, {}
        case OperatorAction():
            data = action.model_dump(exclude_none=True)
            return "operator", data, data
        case OutageAction():
            return action.name, {"name": action.name, "for_ms": action.for_ms}, {"for_ms": action.for_ms}
        case CallAction():
            return action.from_node, {"node": action.from_node, "text": action.text}, {"text": action.text}
    raise TypeError(f"{type(action).__name__} is no action of a scenario")


# -- what is recorded ---------------------------------------------------------------------------------------------


def _columns(scenario: Scenario, namespace: PlantNamespace, plant: Network) -> tuple[Quantity, ...]:
    names = dict.fromkeys([*STANDARD_COLUMNS, *(scenario.report.plot or _default_plots(plant))])
    found = [namespace.lookup(name) for name in names]
    return tuple(quantity for quantity in found if quantity is not None)


def _default_plots(plant: Network) -> list[str]:
    """Currents through the feeder heads, if a scenario does not say what to plot."""
    switches = plant.switches
    heads = switches.feeder_head & (switches.kind == SwitchKind.BREAKER)
    return [f"{switches.names[row]}.i_a" for row in np.flatnonzero(heads)[:8]]
