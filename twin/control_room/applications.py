"""The applications that a control room can host: one row each, in the order in which they are asked.

Analysis stands before what decides by its results. A new application is a row here, a block of settings in
``settings.py`` under the same name, and a block of the scenario under ``applications``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twin.control_room.desk import ApplicationDesk, Host
from twin.control_room.flisr import FlisrDesk
from twin.control_room.flisr_results import flisr_points
from twin.control_room.from_scenario import (
    flisr_settings,
    load_flow_settings,
    load_shedding_settings,
    state_estimation_settings,
    topology_settings,
    volt_var_settings,
)
from twin.control_room.load_flow import LoadFlowDesk, load_flow_points
from twin.control_room.load_shedding import LoadSheddingDesk, load_shedding_points
from twin.control_room.plans import Course
from twin.control_room.settings import ApplicationSettings, ControlRoomSettings
from twin.control_room.state_estimation import StateEstimationDesk, state_estimation_points
from twin.control_room.topology import TopologyDesk, topology_points
from twin.control_room.volt_var import VoltVarDesk, volt_var_points
from twin.errors import TwinError
from twin.network.model import Network
from twin.points.model import PointDefinition
from twin.scada.point_database import SnapshotMismatchError
from twin.scenario.applications import Applications
from twin.timebase import NEVER, SimTime

Points = Callable[[Network, Sequence[PointDefinition], Any], Sequence[PointDefinition]]
"""From the network, the telemetered points and the application's settings to its calculated points."""


def no_points(network: Network, definitions: Sequence[PointDefinition], settings: Any) -> Sequence[PointDefinition]:
    """An application that publishes nothing but plans."""
    return ()


@dataclass(frozen=True)
class Application:
    """One row: how to make the desk, what it publishes, and how its settings follow from the scenario's block."""

    name: str
    desk: Callable[[Host, Any], ApplicationDesk]
    of_scenario: Callable[[Any], ApplicationSettings]
    points: Points = no_points


APPLICATIONS: tuple[Application, ...] = (
    Application("topology", TopologyDesk, topology_settings, topology_points),
    Application("state_estimation", StateEstimationDesk, state_estimation_settings, state_estimation_points),
    Application("flisr", FlisrDesk, flisr_settings, lambda network, definitions, settings: flisr_points(network)),
    Application("load_flow", LoadFlowDesk, load_flow_settings, load_flow_points),
    Application("load_shedding", LoadSheddingDesk, load_shedding_settings, load_shedding_points),
    Application("volt_var", VoltVarDesk, volt_var_settings, volt_var_points),
)


def room_settings(applications: Applications) -> ControlRoomSettings:
    """The control room's settings out of a scenario."""
    blocks = {row.name: row.of_scenario(getattr(applications, row.name)) for row in APPLICATIONS}
    return ControlRoomSettings(**blocks)  # type: ignore[arg-type]


def calculated_points(
    network: Network, definitions: Sequence[PointDefinition], settings: ControlRoomSettings
) -> tuple[PointDefinition, ...]:
    """The calculated points of all applications that are not off."""
    return tuple(point for row, block in _hosted(settings) for point in row.points(network, definitions, block))


def _hosted(settings: ControlRoomSettings) -> list[tuple[Application, ApplicationSettings]]:
    blocks = [(row, getattr(settings, row.name)) for row in APPLICATIONS]
    return [(row, block) for row, block in blocks if block.mode != "off"]


class UnknownApplicationError(TwinError):
    """An application is asked for that is not there, or is off."""

    def __init__(self, application: str, running: tuple[str, ...]) -> None:
        self.application = application
        self.running = running
        super().__init__(f"no application {application} is running; running: {', '.join(running) or 'none'}")


class Desks:
    """The desks of a control room by the name of their application; those in mode ``off`` are not there."""

    def __init__(self, host: Host, settings: ControlRoomSettings) -> None:
        self._desks = {row.name: row.desk(host, block) for row, block in _hosted(settings)}

    def __getitem__(self, name: str) -> Any:
        if name not in self._desks:
            raise UnknownApplicationError(name, tuple(self._desks))
        return self._desks[name]

    def __contains__(self, name: object) -> bool:
        return name in self._desks

    def follow(self, now: SimTime) -> None:
        """Something arrived."""
        for desk in self._desks.values():
            desk.follow(now)

    def step(self, now: SimTime) -> None:
        """Let everybody do what is due."""
        for desk in self._desks.values():
            desk.step(now)

    def next_event(self) -> SimTime:
        """When somebody has something to do."""
        return min((desk.next_event() for desk in self._desks.values()), default=NEVER)

    def on_failed(self, course: Course, now: SimTime) -> None:
        """A plan failed."""
        for desk in self._desks.values():
            desk.on_failed(course, now)

    def on_station_back(self, switches: Collection[str], now: SimTime) -> None:
        """A station can be reached again."""
        for desk in self._desks.values():
            desk.on_station_back(switches, now)

    def counts(self) -> dict[str, dict[str, int]]:
        """What each application has done, in numbers."""
        return {name: desk.counts() for name, desk in self._desks.items()}

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data."""
        return {name: desk.snapshot() for name, desk in self._desks.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`.

        Raises:
            SnapshotMismatchError: other applications were running.
        """
        if list(state) != list(self._desks):
            raise SnapshotMismatchError("applications")
        self.take_over(state)

    def take_over(self, state: Mapping[str, Any]) -> None:
        """Continue from a snapshot those that are in it."""
        for name, desk in self._desks.items():
            if name in state:
                desk.restore(state[name])
