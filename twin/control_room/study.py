"""Study mode: a branch of the live state on which applications run and plans are played through.

It begins with the positions, measurements, tags and applications of the control room at that moment. What happens in
it touches neither the control room nor a station, and its journal is its own. New plans always wait to be approved;
approved, their steps move the switches, taps, banks and set points of the branch at once. A plan that is under way in
the control room goes on to its end at the first thing that is asked of the branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twin.control_room.applications import APPLICATIONS, Desks, calculated_points
from twin.control_room.desk import Host
from twin.control_room.plans import PlanDesk
from twin.control_room.settings import ControlRoomSettings
from twin.control_room.watch import NetworkWatch
from twin.journal import JournalEntry
from twin.links.model import ArrivedSample
from twin.points.model import CommandPhase, DoublePosition, PointDefinition, PointKind, Quality, Sample
from twin.scada.authority import Originator
from twin.scada.command_model import Command, UnknownOutputError, switch_action
from twin.scada.interlocks import CommandRequest
from twin.scada.point_database import PointDatabase
from twin.scada.tags import TagBoard
from twin.timebase import SimTime


class Study:
    """A branch of a control room; made by :meth:`twin.control_room.ControlRoom.study`.

    Every application is there, those that are off in the control room as well. Simulation time goes on from
    ``now`` as the caller says; telemetry does not arrive, values change by :meth:`set_value` and
    :meth:`set_position`.
    """

    def __init__(self, live: Host, settings: ControlRoomSettings, now: SimTime) -> None:
        self.now = now
        self.journal: list[JournalEntry] = []
        self.settings = _for_study(settings)
        calculated = calculated_points(live.network, live.definitions, self.settings)
        self.database = PointDatabase([*live.definitions, *calculated])
        self.database.copy_from(live.database)
        self.tags = TagBoard(self.journal.append)
        self.tags.restore(live.tags.snapshot())
        self.watch = NetworkWatch(live.network, self.database, live.definitions, self.tags)
        self.watch.restore(live.watch.snapshot())
        self._path = _StudyPath(self.database, live.definitions)
        self.plans = PlanDesk(self._path, self.journal.append)
        self.plans.restore(live.plans.snapshot())
        self._goes_on = True
        self.host = Host(
            live.network,
            live.definitions,
            self.database,
            self.watch,
            self.plans,
            self.tags,
            self.journal.append,
            live.time_base,
        )
        self.desks = Desks(self.host, self.settings)

    def set_value(self, point: str, value: float) -> None:
        """Give a telemetered point another value, of good quality.

        Raises:
            UnknownPointError: there is no such telemetered point.
        """
        _write(self.database, point, value, self.now)

    def set_position(self, switch: str, closed: bool) -> None:
        """Put a telemetered switch into another position.

        Raises:
            UnknownPointError: its position is not telemetered.
        """
        self.set_value(f"{switch}.position", DoublePosition.CLOSED if closed else DoublePosition.OPEN)

    def step(self, now: SimTime) -> None:
        """Let the applications see the branch as it stands at ``now``, and do what is due."""
        self.now = now
        self._go_on()
        self.watch.follow()
        self.desks.follow(now)
        self.desks.step(now)

    def run(self, application: str) -> None:
        """Let one application look at the branch now."""
        self._go_on()
        self.watch.follow()
        desk = self.desks[application]
        desk.follow(self.now)
        desk.run_now(self.now)
        desk.step(self.now)

    def approve(self, plan_id: str) -> None:
        """Play a waiting plan (or ``all``) through: its switches move in the branch."""
        self._go_on()
        self.plans.approve(plan_id, self.now)
        self._play()

    def _go_on(self) -> None:
        """Once: the plans under way ask for their present step here; the command that the live path has stays there."""
        if self._goes_on:
            self._goes_on = False
            self.plans.ask_again(self.now)
            self._play()

    def _play(self) -> None:
        while outcomes := self._path.take_outcomes():
            self.plans.on_outcomes(outcomes, self.now)
        self.watch.follow()


@dataclass
class _StudyPath:
    """Takes commands like the command path; every one succeeds at once."""

    database: PointDatabase
    definitions: Sequence[PointDefinition]

    def __post_init__(self) -> None:
        self._outputs = {d.name: d for d in self.definitions if d.kind.is_output}
        self._outputs |= {d.equipment: d for d in self.definitions if d.quantity == "operate"}
        self._voltages = [d.name for d in self.definitions if d.quantity == "v_kv"]
        self._outcomes: list[Command] = []
        self._last_id = 0

    def request(
        self,
        target: str,
        value: float,
        originator: Originator,
        now: SimTime,
        *,
        reason: str = "",
        plan_id: str = "",
        plan_step: int | None = None,
    ) -> int:
        """Move the switch, tap changer, bank or set point of the branch.

        A generating unit delivers what it is set to. Voltages measured before a regulating device moved are those of
        another state: they are not topical any more.
        """
        if target not in self._outputs:
            raise UnknownOutputError(target)
        output = self._outputs[target]
        self._last_id += 1
        if output.kind is PointKind.STEP_COMMAND:
            _write(self.database, output.feedback, self.database.value(output.feedback) + value, now)
        else:
            _write(self.database, output.feedback, value, now)
        delivered = f"{output.equipment}.{output.quantity.removeprefix('set_')}"
        if output.kind is PointKind.SETPOINT and delivered in self.database:
            _write(self.database, delivered, value, now)
        if output.kind in (PointKind.STEP_COMMAND, PointKind.SETPOINT):
            for name in self._voltages:
                _write(self.database, name, self.database.value(name), now, Quality.NOT_TOPICAL)
        request = CommandRequest(
            output, float(value), switch_action(output, value), originator, now, reason, plan_id, plan_step
        )
        self._outcomes.append(Command(self._last_id, request, float(value), CommandPhase.CONFIRMED))
        return self._last_id

    def withdraw(self, command_id: int, reason: str, now: SimTime) -> bool:
        """Too late: a command on a branch is carried out as it is given."""
        return False

    def take_outcomes(self) -> list[Command]:
        """The commands since the last call."""
        taken, self._outcomes = self._outcomes, []
        return taken


def _write(database: PointDatabase, point: str, value: float, now: SimTime, quality: Quality = Quality.GOOD) -> None:
    sample = Sample(database.definition(point).station, point, float(value), quality, now)
    database.apply(ArrivedSample(sample, now))


def _for_study(settings: ControlRoomSettings) -> ControlRoomSettings:
    """Everything there, and nothing carried out by itself."""
    blocks = {row.name: getattr(settings, row.name).model_copy(update={"mode": "advisory"}) for row in APPLICATIONS}
    return settings.model_copy(update=blocks)
