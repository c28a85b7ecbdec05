"""Volt-VAR control at work in the control room: looks at the voltages every period and proposes moves.

The decisions are those of ``twin.dms.volt_var``; here is when it is asked, how often each device may move in a day, and
what keeps it from hunting: a violation must last, a plan must be over before the next one, and pauses between plans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twin.control_room.desk import CyclicDesk, Host
from twin.control_room.plans import PlanState
from twin.control_room.settings import VoltVarDeskSettings
from twin.derive.reactive_curves import reactive_curve
from twin.dms.load_estimate import DemandEstimate, demand_behind_heads
from twin.dms.load_flow import LoadFlow
from twin.dms.plan import Verdict
from twin.dms.volt_var import (
    APPLICATION,
    Control,
    Followers,
    Inputs,
    VoltVarObservation,
    VoltVarResult,
    capacitor,
    inverter,
    make_plan,
    tap_changer,
)
from twin.journal import JournalEntry
from twin.network.model import EquipmentKind, Floats, Network
from twin.points.calculated import calculated_point
from twin.points.model import PointDefinition, PointKind, Quality
from twin.scada.tags import SwitchAction
from twin.solvers import power_flow
from twin.timebase import NEVER, SimTime

FIGURES = {"v_min_pu": "pu", "v_max_pu": "pu", "losses_kw": "kW", "saved_kw": "kW", "operations": ""}
"""What is published: lowest and highest voltage and losses as estimated now, what the last plan saves, operations."""

_MECHANISMS = ("tap", "steps_in")


def volt_var_points(
    network: Network, definitions: Sequence[PointDefinition], settings: VoltVarDeskSettings
) -> list[PointDefinition]:
    """The figures of the whole."""
    return [calculated_point(APPLICATION, quantity, unit, equipment=False) for quantity, unit in FIGURES.items()]


class OperationCounter:
    """Counts the steps of each mechanism per day of the calendar, as telemetered, whoever caused them."""

    def __init__(self) -> None:
        self._position: dict[str, int] = {}
        self._today: dict[str, int] = {}
        self._day = 0

    def follow(self, positions: Mapping[str, int], day: int) -> None:
        """``positions`` of the mechanisms that can be read now."""
        if day != self._day:
            self._day, self._today = day, {}
        for name, position in positions.items():
            moved = abs(position - self._position.get(name, position))
            self._today[name] = self._today.get(name, 0) + moved
            self._position[name] = position

    def today(self, name: str) -> int:
        """Steps of a mechanism today."""
        return self._today.get(name, 0)

    @property
    def all_today(self) -> int:
        """Steps of all mechanisms today."""
        return sum(self._today.values())

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data."""
        return {"position": self._position, "today": self._today, "day": self._day}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        self._position, self._today, self._day = dict(state["position"]), dict(state["today"]), state["day"]


class VoltVarDesk(CyclicDesk):
    """Runs Volt-VAR control for the whole network of a control room."""

    def __init__(self, host: Host, settings: VoltVarDeskSettings) -> None:
        super().__init__(APPLICATION, host, settings.period_ms, settings.settle_ms)
        self._settings = settings
        self._solver = power_flow(host.network)
        self._counter = OperationCounter()
        self._curve = reactive_curve(settings.inverter_curve) if settings.inverter_curve else None
        self._operable = [d for d in host.definitions if d.kind in (PointKind.STEP_COMMAND, PointKind.SETPOINT)]
        self._voltages = [d for d in host.definitions if d.quantity == "v_kv"]
        self._voltage_nodes = np.array([_node(host.network, d.equipment) for d in self._voltages], dtype=np.intp)
        self._voltage_view = host.database.view([d.name for d in self._voltages])
        names = [point.name for point in volt_var_points(host.network, host.definitions, settings)]
        self._writer = host.database.calculated(names)
        self._outside_since: SimTime = NEVER
        self._plan_id = ""
        self._not_before: SimTime = 0
        self._told = ""

    # -- one look -------------------------------------------------------------------------------------------------

    def run(self, now: SimTime) -> None:
        """Look, and propose what is worth it."""
        seen = self.observe(now)
        result = make_plan(self.host.network, seen, self._settings.limits, solver=self._solver)
        self._publish(result, now)
        inside = result.present is None or result.present.admissible
        self._outside_since = NEVER if inside else min(self._outside_since, now)
        if not result.plan.steps:
            self._explain(result, now)
            return
        if self._may_act(inside, now):
            self._plan_id = result.plan.plan_id
            self._not_before = now + self._settings.pause_ms
            self._told = ""
            self.host.plans.propose(result.plan, self._settings.mode, now)

    def _may_act(self, inside: bool, now: SimTime) -> bool:
        course = self.host.plans.course(self._plan_id)
        if course is not None and course.state in (PlanState.WAITING, PlanState.RUNNING):
            return False
        if inside:
            return now >= self._not_before
        return now - self._outside_since >= self._settings.delay_ms

    def _explain(self, result: VoltVarResult, now: SimTime) -> None:
        """Say why nothing is moved although something is wrong; once, until the reason changes."""
        wrong = result.present is None or not result.present.admissible
        said = " ".join(result.plan.why) if wrong and result.plan.verdict is Verdict.NONE else ""
        if said and said != self._told:
            data = {"application": APPLICATION, "why": list(result.plan.why)}
            self.host.record(JournalEntry(now, "control_room", "no_plan", APPLICATION, data))
        self._told = said

    def _publish(self, result: VoltVarResult, now: SimTime) -> None:
        present = result.present
        if present is None or not present.converged:
            self._writer.withdraw()
            return
        values = [present.v_min_pu, present.v_max_pu, present.losses_kw, result.saved_kw, self._counter.all_today]
        self._writer.publish(np.array(values, dtype=np.float64), Quality.GOOD, now)

    # -- what is seen ---------------------------------------------------------------------------------------------

    def observe(self, now: SimTime) -> VoltVarObservation:
        """What the point database shows at ``now``."""
        network, watch = self.host.network, self.host.watch
        position = watch.position
        unknown = [network.switches.names[row] for row in np.flatnonzero(position.present & ~position.good()).tolist()]
        inputs = self._inputs()
        demand = self._demand(inputs)
        self._count(now)
        return VoltVarObservation(
            t_ms=now,
            p_kw=demand.p_kw,
            q_kvar=demand.q_kvar,
            generation_kw=self._generation("p_kw", network.generators.p_kw),
            generation_kvar=inputs.generation_kvar,
            closed=watch.closed_before.copy(),
            controls=tuple(self._control(d) for d in self._operable),
            inputs=inputs,
            v_measured_pu=self._measured(),
            unknown_switches=tuple(unknown),
            followers=self._following(),
        )

    def _following(self) -> Followers:
        """Generating units with a rating and without a set point, if their characteristic is known."""
        if self._curve is None:
            return Followers.none()
        generators, commanded = self.host.network.generators, {output.equipment for output in self._operable}
        free = [name not in commanded for name in generators.names]
        rows = np.flatnonzero((generators.s_kva > 0.0) & free).astype(np.int32)
        p_kw = self._generation("p_kw", generators.p_kw)
        return Followers(rows, (self._curve,) * len(rows), generators.s_kva[rows], p_kw[rows])

    def _demand(self, inputs: Inputs) -> DemandEstimate:
        """Demand feeder by feeder what its head measured."""
        watch = self.host.watch
        generation_kw = self._generation("p_kw", self.host.network.generators.p_kw)
        return demand_behind_heads(
            LoadFlow(self.host.network, self._solver),
            watch.closed_before,
            watch.head_measurements(),
            generation_kw=generation_kw,
            generation_kvar=inputs.generation_kvar,
            tap_position=inputs.tap_position,
        )

    def _generation(self, quantity: str, otherwise: Floats) -> Floats:
        """Measured power of the generating units, and the rated one of those without a good measurement."""
        database, result = self.host.database, otherwise.copy()
        for row, name in enumerate(self.host.network.generators.names):
            point = f"{name}.{quantity}"
            if point in database and database.good(point):
                result[row] = database.value(point)
        return result

    def _inputs(self) -> Inputs:
        network = self.host.network
        taps, steps = network.transformers.tap_position.copy(), network.shunts.initial_steps.copy()
        for output in self._operable:
            row, tap = network.index[output.equipment].index, self._position(output.equipment, "tap")
            in_service = self._position(output.equipment, "steps_in")
            if tap is not None:
                taps[row] = tap
            if in_service is not None:
                steps[row] = in_service
        return Inputs(taps, steps, self._generation("q_kvar", network.generators.q_kvar))

    def _position(self, name: str, quantity: str) -> int | None:
        point = f"{name}.{quantity}"
        database = self.host.database
        return round(database.value(point)) if point in database and database.good(point) else None

    def _measured(self) -> Floats:
        """Voltages as measured, pu; NaN where there is no good measurement."""
        nodes = self.host.network.nodes
        result = np.full(nodes.n, np.nan)
        good = self._voltage_view.good
        rows = self._voltage_nodes[good]
        result[rows] = self._voltage_view.values[good] / nodes.v_nominal_kv[rows]
        return result

    def _count(self, now: SimTime) -> None:
        positions = {
            output.equipment: position
            for output in self._operable
            for quantity in _MECHANISMS
            if (position := self._position(output.equipment, quantity)) is not None
        }
        self._counter.follow(positions, self.host.time_base.instant(now).toordinal())

    def _control(self, output: PointDefinition) -> Control:
        """A device as it stands, with the reason why it must stay if there is one."""
        network, name = self.host.network, output.equipment
        why = self._why_fixed(output)
        kind = network.index[name].kind
        if kind is EquipmentKind.GENERATOR:
            row = network.index[name].index
            p_kw = float(self._generation("p_kw", network.generators.p_kw)[row])
            q_kvar = float(self._generation("q_kvar", network.generators.q_kvar)[row])
            return inverter(network, name, p_kw, q_kvar, why_fixed=why)
        left = max(0, self._settings.operations_a_day - self._counter.today(name))
        if kind is EquipmentKind.TRANSFORMER:
            row = network.index[name].index
            tap = self._position(name, "tap")
            present = int(network.transformers.tap_position[row]) if tap is None else tap
            return tap_changer(network, name, present, operations_left=left, why_fixed=why)
        steps = self._position(name, "steps_in") or 0
        return capacitor(network, name, steps, operations_left=left, why_fixed=why)

    def _why_fixed(self, output: PointDefinition) -> str:
        database = self.host.database
        if not database.good(output.feedback):
            return "its position is not known"
        if any(self.host.tags.blocking(output.equipment, action) for action in SwitchAction):
            return "it bears a tag"
        if output.kind is PointKind.STEP_COMMAND and (
            self._counter.today(output.equipment) >= self._settings.operations_a_day
        ):
            return "it has made its operations of today"
        return ""

    # -- state ----------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data."""
        mine = {
            "outside_since": self._outside_since,
            "plan_id": self._plan_id,
            "not_before": self._not_before,
            "told": self._told,
            "counter": self._counter.snapshot(),
        }
        return super().snapshot() | mine

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        super().restore(state)
        self._outside_since, self._plan_id = state["outside_since"], state["plan_id"]
        self._not_before, self._told = state["not_before"], state["told"]
        self._counter.restore(state["counter"])


def _node(network: Network, equipment: str) -> int:
    """The node at which a voltage is measured: itself, or that of a switch."""
    found = network.index[equipment]
    return found.index if found.kind is EquipmentKind.NODE else int(network.switches.node[found.index])
