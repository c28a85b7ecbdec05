"""All devices of a network that act on the voltage, behind one interface; part of the field bank.

Gives the grid its tap positions, capacitor steps and reactive powers; takes steps and set points as commands, and
tells positions and set points as samples. Not in here: who decides where they should stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulators.field.kernel import DeviceKernel
from simulators.field.record import Record
from simulators.field.regulation.inverters import Inverters
from simulators.field.regulation.mechanism import MECHANISM_RULES, Mechanism, MechanismPlate
from simulators.field.regulation.regulator import CAUSE, Regulator, RegulatorSettings
from twin.derive.reactive_curves import VoltVarCurve, reactive_curve
from twin.derive.settings import CapacitorBankSettings, DeviceSettings, InverterSettings, TapChangerSettings
from twin.errors import Blame, TwinError
from twin.network.model import EquipmentKind, Floats, Ints, Network
from twin.outstations.model import StationCommand
from twin.points.model import STEP_HIGHER, STEP_LOWER, PointDefinition, PointKind, Quality, Sample
from twin.timebase import NEVER, SimTime

AUTOMATIC_CONTROL = "automatic_control"
NOT_A_STEP = "not_a_step"
OUT_OF_RATING = "out_of_rating"
REGULATION_RULES = (NOT_A_STEP, AUTOMATIC_CONTROL, *MECHANISM_RULES, OUT_OF_RATING)
"""Every rule by which a regulating device refuses a command, in the order in which they are asked."""

INVERTER_STEP_MS = 1_000
"""While reactive power is on its way to its target, the grid is measured at least this often."""

_POSITIONS = ("tap", "steps_in")


class UnknownRegulatingDeviceError(TwinError):
    """Settings or points name a device that the network does not have, or that cannot be regulated."""

    blame = Blame.SCENARIO

    def __init__(self, network: str, name: str, what: str) -> None:
        self.network, self.name = network, name
        super().__init__(f"network {network} has no {what} named {name}")


class RegulationBank:
    """The tap changers, capacitor banks and inverters of a network."""

    def __init__(
        self,
        network: Network,
        devices: DeviceSettings,
        points: Sequence[PointDefinition],
        kernel: DeviceKernel,
        record: Record,
    ) -> None:
        self.network = network
        self._record = record
        self.tap_position: Ints = network.transformers.tap_position.copy()
        self.shunt_steps: Ints = network.shunts.initial_steps.copy()
        self._mechanisms: dict[str, Mechanism] = {}
        self._regulators: dict[str, tuple[Regulator, int]] = {}
        for tap in devices.tap_changers:
            self._add_tap_changer(tap, kernel)
        for bank in devices.capacitor_banks:
            self._add_capacitor_bank(bank, kernel)
        self._units = [unit.unit for unit in devices.inverters]
        self.inverters = _inverters(network, devices.inverters)
        self._devices = {*self._mechanisms, *self._units}
        self._points = {(p.equipment, p.quantity): p for p in points if p.equipment in self._devices}
        self._changed_ms = dict.fromkeys(self._points, 0)
        self._generation_kw = network.generators.p_kw.copy()
        self._sent = np.full((2, network.generators.n), np.nan)

    def _add_tap_changer(self, settings: TapChangerSettings, kernel: DeviceKernel) -> None:
        name, table = settings.transformer, self.network.transformers
        row = _row(self.network, name, EquipmentKind.TRANSFORMER, "transformer")
        lowest, highest = int(table.tap_min[row]), int(table.tap_max[row])
        plate = MechanismPlate(f"{name}/tap", lowest, highest, settings.step_ms)
        listener = _Listener(self, name, "tap", self.tap_position, row)
        mechanism = Mechanism(plate, int(table.tap_position[row]), kernel, listener)
        self._mechanisms[name] = mechanism
        if settings.automatic:
            raises = table.tap_side[row] == 1  # more turns on the low side raise its voltage

            def step(raise_voltage: bool, now: SimTime) -> None:
                mechanism.step(raise_voltage == raises, CAUSE, None, now)

            limits = RegulatorSettings(
                settings.v_set_pu, settings.half_band_pu, settings.delay_ms, settings.step_delay_ms
            )
            self._regulators[name] = Regulator(f"{name}/90", limits, kernel, step), int(table.node_to[row])

    def _add_capacitor_bank(self, settings: CapacitorBankSettings, kernel: DeviceKernel) -> None:
        row = _row(self.network, settings.bank, EquipmentKind.SHUNT, "capacitor bank")
        steps = int(self.network.shunts.steps[row])
        plate = MechanismPlate(f"{settings.bank}/steps", 0, steps, settings.step_ms, settings.discharge_ms)
        listener = _Listener(self, settings.bank, "steps_in", self.shunt_steps, row)
        self._mechanisms[settings.bank] = Mechanism(plate, int(self.shunt_steps[row]), kernel, listener)

    @property
    def senses(self) -> bool:
        """True if a device acts on, or tells, what it measures."""
        return bool(self._regulators or self._units)

    # -- the grid -------------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, list[float]]:
        """Where all devices stand, for the grid; empty if there are none.

        ``tap_position`` and ``shunt_steps`` of all transformers and shunts, ``q_kvar`` of the units in rows ``units``.
        """
        if not self._devices:
            return {}
        return {
            "tap_position": self.tap_position.tolist(),
            "shunt_steps": self.shunt_steps.tolist(),
            "units": self.inverters.rows.tolist(),
            "q_kvar": self.inverters.q_kvar.tolist(),
        }

    def measure(self, v_pu: Floats, generation_kw: Floats | None, now: SimTime) -> None:
        """Voltages of all nodes (0: dead) and active power of all units (None: unchanged) from ``now`` on."""
        for regulator, node in self._regulators.values():
            regulator.measure(float(v_pu[node]), now)
        if not self._units:
            return
        rows = self.inverters.rows
        self._generation_kw = self._generation_kw if generation_kw is None else generation_kw
        self.inverters.measure(v_pu[self.network.generators.node[rows]], self._generation_kw[rows], now)
        self._record.samples += self._scan(now)

    def next_wanted(self, now: SimTime) -> SimTime:
        """When the grid should be solved anew although nothing else happens."""
        return NEVER if self.inverters.settled else now + INVERTER_STEP_MS

    # -- commands -------------------------------------------------------------------------------------------------

    def takes(self, point: PointDefinition) -> bool:
        """True if a command to ``point`` is for a device in here."""
        return point.equipment in self._devices

    def refusal(self, point: PointDefinition, value: float, now: SimTime) -> str:
        """The first rule against the command, or an empty string."""
        name = point.equipment
        if point.kind is PointKind.STEP_COMMAND:
            if value not in (STEP_LOWER, STEP_HIGHER):
                return NOT_A_STEP
            if name in self._regulators:
                return AUTOMATIC_CONTROL
            return self._mechanisms[name].refusal(value == STEP_HIGHER, now)
        index = self._units.index(name)
        if not self.inverters.by_set_point(index):
            return AUTOMATIC_CONTROL
        rating = float(self.network.generators.s_kva[self.inverters.rows[index]])
        return "" if abs(value) <= rating else OUT_OF_RATING

    def operate(self, point: PointDefinition, command: StationCommand, now: SimTime) -> str:
        """Carry a command out; returns the rule that refuses it, or an empty string."""
        rule = self.refusal(point, command.value, now)
        if rule:
            return rule
        if point.kind is PointKind.STEP_COMMAND:
            up = command.value == STEP_HIGHER
            return self._mechanisms[point.equipment].step(up, "command", command.ticket, now)
        index = self._units.index(point.equipment)
        self.inverters.q_set_kvar[index] = float(np.float32(command.value))
        self._tell(point.equipment, "q_set_kvar", self.inverters.q_set_kvar[index], now)
        self._record.write("set_point", point.equipment, {"q_kvar": self.inverters.q_set_kvar[index]}, now)
        self._record.finished.append((command.ticket, True, now))
        return ""

    def jam(self, name: str, jammed: bool) -> None:
        """Let a mechanism make no step any more, or again.

        Raises:
            UnknownRegulatingDeviceError: there is no such mechanism.
        """
        if name not in self._mechanisms:
            raise UnknownRegulatingDeviceError(self.network.name, name, "tap changer or capacitor bank")
        self._mechanisms[name].jammed = jammed

    # -- what it tells --------------------------------------------------------------------------------------------

    def operations(self) -> dict[str, int]:
        """Steps that each mechanism has made since the start."""
        return {name: mechanism.operations for name, mechanism in self._mechanisms.items()}

    def image(self) -> list[Sample]:
        """The present value of every input point."""
        return [
            _sample(point, self._value(name, quantity), self._changed_ms[name, quantity], spontaneous=False)
            for (name, quantity), point in self._points.items()
            if not point.kind.is_output
        ]

    def _value(self, name: str, quantity: str) -> float:
        if quantity in _POSITIONS:
            return float(self._mechanisms[name].position)
        index = self._units.index(name)
        row = int(self.inverters.rows[index])
        values = {
            "q_set_kvar": self.inverters.q_set_kvar[index],
            "q_kvar": self.inverters.q_kvar[index],
            "p_kw": self._generation_kw[row],
        }
        return float(values[quantity])

    def _scan(self, now: SimTime) -> list[Sample]:
        """Active and reactive power of the inverters that left their dead band."""
        samples = []
        for index, name in enumerate(self._units):
            for column, quantity in enumerate(("p_kw", "q_kvar")):
                point = self._points.get((name, quantity))
                value = self._value(name, quantity)
                if point is None or abs(value - self._sent[column, index]) <= point.dead_band:
                    continue
                self._sent[column, index] = value
                self._changed_ms[name, quantity] = now
                samples.append(_sample(point, value, now, spontaneous=True))
        return samples

    def moved(self, name: str, quantity: str, position: int, cause: str, now: SimTime) -> None:
        """A mechanism has reached a position."""
        self._record.write("step", name, {"position": position, "cause": cause}, now)
        self._tell(name, quantity, position, now)

    def finished(self, name: str, ticket: int | None, success: bool, now: SimTime) -> None:
        """A step came to its end."""
        if not success:
            self._record.write("mechanism_jammed", name, {}, now)
        if ticket is not None:
            self._record.finished.append((ticket, success, now))

    def _tell(self, name: str, quantity: str, value: float, now: SimTime) -> None:
        point = self._points.get((name, quantity))
        if point is not None:
            self._changed_ms[name, quantity] = now
            self._record.samples.append(_sample(point, value, now, spontaneous=True))

    # -- snapshot -------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """State ready for JSON."""
        sent = [[None if np.isnan(v) else v for v in row] for row in self._sent.tolist()]
        return {
            "mechanisms": {name: mechanism.snapshot() for name, mechanism in self._mechanisms.items()},
            "regulators": {name: regulator.snapshot() for name, (regulator, _) in self._regulators.items()},
            "inverters": self.inverters.snapshot(),
            "generation_kw": self._generation_kw.tolist(),
            "changed_ms": list(self._changed_ms.values()),
            "sent": sent,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand as in ``state``."""
        for name, mechanism in self._mechanisms.items():
            mechanism.restore(state["mechanisms"][name])
            self._place(name, mechanism.position)
        for name, (regulator, _) in self._regulators.items():
            regulator.restore(state["regulators"][name])
        self.inverters.restore(state["inverters"])
        self._generation_kw = np.array(state["generation_kw"], dtype=np.float64)
        self._changed_ms = dict(zip(self._changed_ms, state["changed_ms"], strict=True))
        self._sent = np.array(state["sent"], dtype=np.float64)

    def _place(self, name: str, position: int) -> None:
        found = self.network.index[name]
        table = self.tap_position if found.kind is EquipmentKind.TRANSFORMER else self.shunt_steps
        table[found.index] = position


class _Listener:
    """Writes a mechanism's position where the grid reads it, and tells the bank."""

    def __init__(self, bank: RegulationBank, name: str, quantity: str, table: Ints, row: int) -> None:
        self._bank, self._name, self._quantity = bank, name, quantity
        self._table, self._row = table, row

    def position_changed(self, position: int, cause: str, now: SimTime) -> None:
        self._table[self._row] = position
        self._bank.moved(self._name, self._quantity, position, cause, now)

    def step_finished(self, ticket: int | None, success: bool, now: SimTime) -> None:
        self._bank.finished(self._name, ticket, success, now)


def _row(network: Network, name: str, kind: EquipmentKind, what: str) -> int:
    found = network.find(name)
    if found is None or found.kind is not kind:
        raise UnknownRegulatingDeviceError(network.name, name, what)
    return found.index


def _inverters(network: Network, settings: Sequence[InverterSettings]) -> Inverters:
    rows = [_row(network, unit.unit, EquipmentKind.GENERATOR, "generating unit") for unit in settings]
    curves = [_curve(unit) for unit in settings]
    index = np.array(rows, dtype=np.int64)
    responses = np.array([unit.response_s for unit in settings])
    return Inverters(index, network.generators.s_kva[index], curves, responses)


def _curve(unit: InverterSettings) -> VoltVarCurve | None:
    return reactive_curve(unit.curve, unit.response_s) if unit.curve else None


def _sample(point: PointDefinition, value: float, t_ms: SimTime, *, spontaneous: bool) -> Sample:
    return Sample(point.station, point.name, float(np.float32(value)), Quality.GOOD, t_ms, spontaneous)
