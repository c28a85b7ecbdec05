"""The three-phase network of a CIM distribution feeder (IEC 61970-301 / 61968-11, CIM100, in V, W, Ohm, S, m).

Lines by phase or sequence impedances per length, transformers by winding or by tank with test reports, regulators,
capacitors, loads and inverters per phase, switches per pole. Split-phase secondaries (s1, s2) take the columns A, B.
Controls are left out: taps stay where the file has them. Not for balanced networks: see
:mod:`twin.network.cim.balanced`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from twin.network.cim.connectivity import SWITCH_KINDS, CimTerminal, node_breaker
from twin.network.cim.reader import CimModel, CimObject, unused
from twin.network.three_phase import ABSENT, EARTH, Complexes, ThreePhaseNetwork
from twin.network.three_phase_builder import ABC, CONSTANT_IMPEDANCE, CONSTANT_POWER, ThreePhaseBuilder, Unit
from twin.network.winding_connections import Ends, VectorGroupError, Windings, vector_group

SQRT3 = math.sqrt(3)
_COLUMN = {"A": 0, "B": 1, "C": 2, "s1": 0, "s2": 1}
_ABSENT_UNIT = (ABSENT, ABSENT)
_EXPONENTS = {0.0: CONSTANT_POWER, 1.0: (0.0, 1.0, 0.0), 2.0: CONSTANT_IMPEDANCE}
_KNOWN = (
    *SWITCH_KINDS,
    *("Terminal", "ConnectivityNode", "TopologicalNode", "TopologicalIsland", "BaseVoltage", "IEC61970CIMVersion"),
    *("Feeder", "Substation", "SubGeographicalRegion", "GeographicalRegion", "Line", "VoltageLevel", "Bay"),
    *("ACLineSegment", "ACLineSegmentPhase", "PerLengthPhaseImpedance", "PhaseImpedanceData"),
    *("PerLengthSequenceImpedance", "SwitchPhase", "EnergySource", "EnergyConsumer", "EnergyConsumerPhase"),
    *("LoadResponseCharacteristic", "LinearShuntCompensator", "LinearShuntCompensatorPhase"),
    *("PowerTransformer", "PowerTransformerEnd", "TransformerMeshImpedance", "TransformerCoreAdmittance"),
    *("TransformerTank", "TransformerTankEnd", "TransformerTankInfo", "TransformerEndInfo", "ShortCircuitTest"),
    *("NoLoadTest", "RatioTapChanger", "PowerElectronicsConnection", "PowerElectronicsConnectionPhase"),
    *("PhotovoltaicUnit", "BatteryUnit", "Location", "PositionPoint", "CoordinateSystem"),
    *("CurrentLimit", "VoltageLimit", "OperationalLimitSet", "OperationalLimitType"),
)


def three_phase_network(model: CimModel, *, frequency_hz: float = 60.0) -> ThreePhaseNetwork:
    """Compile a CIM100 feeder; ``network.notes`` says what was left out or replaced.

    Raises:
        CimFileError: what the model lacks or contradicts; all findings.
    """
    return _Loader(model, frequency_hz).run()


@dataclass(frozen=True, slots=True)
class _Winding:
    """A winding of a bank or tank: ``v_kv``, ``s_kva`` of a unit, ``r_pu`` on that."""

    item: CimObject
    node: str
    kind: str
    clock: int
    v_kv: float
    s_kva: float
    r_pu: float
    neutral_s: complex


class _Loader:
    """Adds class by class; findings are collected in the model and raised at the end."""

    def __init__(self, model: CimModel, frequency_hz: float) -> None:
        self.model = model
        self.connectivity = node_breaker(model)
        self.builder = ThreePhaseBuilder(model.name, frequency_hz)
        self._terminals: dict[str, list[CimTerminal]] = {}
        for terminal in sorted(self.connectivity.terminals.values(), key=lambda t: t.number):
            self._terminals.setdefault(terminal.equipment, []).append(terminal)
        self._changers = {
            end: changers[0] for end, changers in model.referring(("RatioTapChanger",), _END_OF_CHANGER).items()
        }
        self._kv: dict[str, float] = {}
        self._phases: dict[str, set[int]] = {}
        self._node_names = self._unique_names()

    def run(self) -> ThreePhaseNetwork:
        adders: dict[str, Callable[[CimObject], None]] = {
            "EnergySource": self._source,
            "ACLineSegment": self._line,
            "PowerTransformer": self._transformer,
            "EnergyConsumer": self._consumer,
            "LinearShuntCompensator": self._capacitor,
            "PowerElectronicsConnection": self._inverter,
            **dict.fromkeys(SWITCH_KINDS, self._switch),
        }
        self._nominal_voltages()
        for item in self.model.objects.values():
            if item.kind in adders:
                adders[item.kind](item)
        self.model.check()
        positions = self._positions()
        for mrid, name in self._node_names.items():
            x, y = positions.get(mrid, (math.nan, math.nan))
            v_kv = self._kv.get(mrid, math.nan)
            if mrid in self._phases:
                self.builder.node(name, v_kv=v_kv, phases=sorted(self._phases[mrid]), x=x, y=y)
        if self.model.of("TapChangerControl"):
            self.builder.notes.append("controls of tap changers are left out: taps stay where the file has them")
        self.builder.notes += unused(self.model, (*_KNOWN, "TapChangerControl"))
        return self.builder.build()

    # --- nodes -----------------------------------------------------------------------------------------------------

    def _unique_names(self) -> dict[str, str]:
        taken: set[str] = set()
        names = {}
        for mrid in self.connectivity.nodes:
            name = "_".join(self.connectivity.names.get(mrid, mrid).split())
            names[mrid] = name if name not in taken else f"{name}_{mrid[:8]}"
            taken.add(names[mrid])
        return names

    def _nominal_voltages(self) -> None:
        """kV, line to line, of each node that equipment states a base voltage at."""
        stated = [
            (terminal.node, self.model.objects[terminal.equipment], "ConductingEquipment.BaseVoltage")
            for terminal in self.connectivity.terminals.values()
        ]
        for end in self.model.of("PowerTransformerEnd", "TransformerTankEnd"):
            terminal = self.connectivity.terminals.get(end.references.get("TransformerEnd.Terminal", [""])[0])
            if terminal is not None:
                stated.append((terminal.node, end, "TransformerEnd.BaseVoltage"))
        for node, item, key in stated:
            if node not in self._kv and key in item.references:
                base = self.model.target(item, key)
                self._kv[node] = self.model.number(base, "BaseVoltage.nominalVoltage") / 1e3 if base else math.nan

    def _positions(self) -> dict[str, tuple[float, float]]:
        points = self.model.referring(("PositionPoint",), "PositionPoint.Location")
        found: dict[str, tuple[float, float]] = {}
        for terminal in self.connectivity.terminals.values():
            item = self.model.objects[terminal.equipment]
            at = points.get(item.references.get("PowerSystemResource.Location", [""])[0], [])
            for point in at:
                number = self.model.number(point, "PositionPoint.sequenceNumber", 1)
                if number == terminal.number:
                    x, y = (self.model.number(point, f"PositionPoint.{axis}Position") for axis in "xy")
                    found.setdefault(terminal.node, (x, y))
        return found

    def _ends(self, item: CimObject, n: int, phases: tuple[int, ...]) -> tuple[str, ...] | None:
        """The node names of the equipment's terminals, whose phases it touches."""
        terminals = self._terminals.get(item.mrid, [])
        if len(terminals) != n:
            self.model.find(item, f"has {len(terminals)} terminals instead of {n}")
            return None
        for terminal in terminals:
            self._phases.setdefault(terminal.node, set()).update(phases)
        return tuple(self._node_names[terminal.node] for terminal in terminals)

    def _units(self, item: CimObject, kind: str, key: str, delta: bool) -> list[tuple[int, CimObject]]:
        """The phase objects of an equipment with their columns; empty for one of three equal phases."""
        found = []
        for phase in self.model.referring((kind,), key).get(item.mrid, ()):
            code = phase.text(next((k for k in phase.references if k.endswith(".phase")), ""))
            if code in _COLUMN:
                found.append((_COLUMN[code], phase))
            else:
                self.model.find(phase, f"is on the phase {code!r}, which is not supported")
        return sorted(found, key=lambda pair: pair[0])

    @staticmethod
    def _touched(columns: list[int], delta: bool) -> tuple[int, ...]:
        at = columns or list(ABC)
        return tuple(sorted({*at, *((column + 1) % 3 for column in at if delta)}))

    # --- lines and switches ----------------------------------------------------------------------------------------

    def _line(self, line: CimObject) -> None:
        phases = self._phase_order(line)
        ends = self._ends(line, 2, phases)
        length_m = self.model.number(line, "Conductor.length", 1.0)
        matrices = self._matrices(line, len(phases), length_m)
        if ends is None or matrices is None:
            return
        z_ohm, y_s = matrices
        name = f"line.{line.name}"
        self.builder.line(name, *ends, z_ohm=z_ohm, y_s=y_s, phases=phases, length_km=length_m / 1e3)

    def _phase_order(self, line: CimObject) -> tuple[int, ...]:
        """The phases of a line in the order of its impedance matrix."""
        of_it = self.model.referring(("ACLineSegmentPhase",), "ACLineSegmentPhase.ACLineSegment").get(line.mrid, [])
        ordered = sorted(of_it, key=lambda p: self.model.number(p, "ACLineSegmentPhase.sequenceNumber", 0.0))
        codes = [phase.text("ACLineSegmentPhase.phase") for phase in ordered]
        if any(code not in _COLUMN and code != "N" for code in codes):
            self.model.find(line, f"has the phases {', '.join(codes)}, which are not supported")
        return tuple(_COLUMN[code] for code in codes if code in _COLUMN) or ABC

    def _matrices(self, line: CimObject, n: int, length_m: float) -> tuple[Complexes, Complexes] | None:
        """Series impedance and shunt admittance over the whole length."""
        key = "ACLineSegment.PerLengthImpedance"
        if key not in line.references:
            return self._of_sequences(line, "ACLineSegment", n, 1.0, ("bch", "b0ch"))
        per_length = self.model.target(line, key)
        if per_length is None:
            return None
        if per_length.kind == "PerLengthSequenceImpedance":
            return self._of_sequences(per_length, per_length.kind, n, length_m, ("bch", "b0ch"))
        z_ohm: Complexes = np.full((n, n), complex(math.nan, 0.0), dtype=np.complex128)
        y_s: Complexes = np.zeros((n, n), dtype=np.complex128)
        number, prefix = self.model.number, "PhaseImpedanceData."
        data = self.model.referring(("PhaseImpedanceData",), prefix + "PhaseImpedance").get(per_length.mrid, [])
        for element in data:
            row, column = (int(number(element, prefix + axis)) - 1 for axis in ("row", "column"))
            if not (0 <= row < n and 0 <= column < n):
                self.model.find(line, f"has {n} phases, but {per_length.name} has the row {row + 1}")
                return None
            z_ohm[row, column] = z_ohm[column, row] = complex(
                number(element, prefix + "r"), number(element, prefix + "x")
            )
            y_s[row, column] = y_s[column, row] = 1j * number(element, prefix + "b", 0.0)
        if np.isnan(z_ohm).any():
            self.model.find(line, f"has {n} phases, but {per_length.name} has not all their impedances")
            return None
        return z_ohm * length_m, y_s * length_m

    def _of_sequences(
        self, item: CimObject, prefix: str, n: int, factor: float, shunt: tuple[str, str]
    ) -> tuple[Complexes, Complexes]:
        number = self.model.number
        z1 = complex(number(item, f"{prefix}.r"), number(item, f"{prefix}.x"))
        z0 = complex(number(item, f"{prefix}.r0", z1.real), number(item, f"{prefix}.x0", z1.imag))
        b1 = number(item, f"{prefix}.{shunt[0]}", 0.0)
        b0 = number(item, f"{prefix}.{shunt[1]}", b1)
        return _transposed(z1, z0, n) * factor, _transposed(1j * b1, 1j * b0, n) * factor

    def _switch(self, switch: CimObject) -> None:
        poles = self.model.referring(("SwitchPhase",), "SwitchPhase.Switch").get(switch.mrid, [])
        codes = [pole.text("SwitchPhase.phaseSide1") for pole in poles]
        phases = tuple(sorted(_COLUMN[code] for code in codes if code in _COLUMN)) or ABC
        ends = self._ends(switch, 2, phases)
        state = self.connectivity.switches.get(switch.mrid)
        if ends is None or state is None:
            return
        kind = SWITCH_KINDS[switch.kind]
        self.builder.switch(
            f"switch.{switch.name}", kind, ends[0], other_node=ends[1], phases=phases, closed=state.closed
        )

    # --- injections ------------------------------------------------------------------------------------------------

    def _source(self, source: CimObject) -> None:
        ends = self._ends(source, 1, ABC)
        if ends is None:
            return
        number, prefix = self.model.number, "EnergySource."
        v_kv = self._kv.get(self._terminals[source.mrid][0].node, math.nan)
        z1 = complex(number(source, prefix + "r", 0.0), number(source, prefix + "x", 0.0))
        z0 = complex(number(source, prefix + "r0", z1.real), number(source, prefix + "x0", z1.imag))
        self.builder.source(
            f"source.{source.name}",
            ends[0],
            v_pu=number(source, prefix + "voltageMagnitude") / 1e3 / v_kv,
            angle_rad=number(source, prefix + "voltageAngle", 0.0),
            z_ohm=_transposed(z1, z0, 3),
        )

    def _consumer(self, load: CimObject) -> None:
        delta = load.text("EnergyConsumer.phaseConnection", "Y") == "D"
        units = self._units(load, "EnergyConsumerPhase", "EnergyConsumerPhase.EnergyConsumer", delta)
        ends = self._ends(load, 1, self._touched([column for column, _ in units], delta))
        if ends is None:
            return
        zip_p, zip_q = self._load_response(load)
        v_kv = self._kv.get(self._terminals[load.mrid][0].node, math.nan)
        self.builder.consumer(
            f"load.{load.name}",
            ends[0],
            p_kw=self._shares(load, units, "EnergyConsumer", "p"),
            q_kvar=self._shares(load, units, "EnergyConsumer", "q"),
            v_kv=v_kv if delta else v_kv / SQRT3,
            delta=delta,
            zip_p=zip_p,
            zip_q=zip_q,
            customers=int(self.model.number(load, "EnergyConsumer.customerCount", 1.0)),
        )

    def _shares(self, item: CimObject, units: list[tuple[int, CimObject]], prefix: str, axis: str) -> list[Unit]:
        """A power per column, kW or kvar."""
        if not units:
            return [self.model.number(item, f"{prefix}.{axis}", 0.0) / 3e3] * 3
        shares: list[Unit] = [None, None, None]
        for column, phase in units:
            shares[column] = (shares[column] or 0.0) + self.model.number(phase, f"{prefix}Phase.{axis}", 0.0) / 1e3
        return shares

    def _load_response(self, load: CimObject) -> tuple[Any, Any]:
        response = self.model.target(load, "EnergyConsumer.LoadResponse", needed=False)
        if response is None:
            return CONSTANT_POWER, CONSTANT_POWER
        number, prefix = self.model.number, "LoadResponseCharacteristic."
        if self.model.flag(response, prefix + "exponentModel"):
            exponents = [number(response, f"{prefix}{axis}VoltageExponent", 0.0) for axis in "pq"]
            if not set(exponents) <= set(_EXPONENTS):
                self.model.find(response, "has a voltage exponent other than 0, 1 and 2, which is not supported")
                return CONSTANT_POWER, CONSTANT_POWER
            return _EXPONENTS[exponents[0]], _EXPONENTS[exponents[1]]
        parts = ("ConstantPower", "ConstantCurrent", "ConstantImpedance")
        shares = [[number(response, f"{prefix}{axis}{part}", 0.0) for part in parts] for axis in "pq"]
        if not all(sum(axis) for axis in shares):
            self.model.find(response, "has no share of constant power, current or impedance")
            return CONSTANT_POWER, CONSTANT_POWER
        p, q = (tuple(share / sum(axis) for share in axis) for axis in shares)
        return p, q

    def _capacitor(self, bank: CimObject) -> None:
        delta = bank.text("ShuntCompensator.phaseConnection", "Y") == "D"
        key = "ShuntCompensatorPhase.ShuntCompensator"
        units = self._units(bank, "LinearShuntCompensatorPhase", key, delta)
        ends = self._ends(bank, 1, self._touched([column for column, _ in units], delta))
        if ends is None:
            return
        number, v_kv = self.model.number, self.model.number(bank, "ShuntCompensator.nomU") / 1e3
        single = len(units) == 1
        unit_kv = v_kv if delta or single else v_kv / SQRT3
        q_kvar: list[Unit] = [None, None, None]
        for column, phase in units or [(column, bank) for column in ABC]:
            prefix, count = ("LinearShuntCompensator", "ShuntCompensator")
            if units:
                prefix, count = prefix + "Phase", count + "Phase"
            sections = number(phase, f"{count}.sections", number(phase, f"{count}.normalSections", 1.0))
            siemens = number(phase, f"{prefix}.bPerSection") * sections
            q_kvar[column] = -1e3 * siemens * unit_kv**2
        self.builder.shunt(f"capacitor.{bank.name}", ends[0], q_kvar=q_kvar, v_kv=unit_kv, delta=delta)

    def _inverter(self, inverter: CimObject) -> None:
        prefix = "PowerElectronicsConnection"
        units = self._units(inverter, f"{prefix}Phase", f"{prefix}Phase.{prefix}", False)
        ends = self._ends(inverter, 1, self._touched([column for column, _ in units], False))
        if ends is None:
            return
        unit = self.model.target(inverter, f"{prefix}.PowerElectronicsUnit", needed=False)
        kind = {"PhotovoltaicUnit": "pv", "BatteryUnit": "battery"}.get(unit.kind if unit else "", "inverter")
        self.builder.generator(
            f"{kind}.{inverter.name}",
            ends[0],
            p_kw=self._shares(inverter, units, prefix, "p"),
            q_kvar=self._shares(inverter, units, prefix, "q"),
            s_kva=self.model.number(inverter, f"{prefix}.ratedS", math.nan if not units else 0.0) / 1e3,
        )

    # --- transformers ----------------------------------------------------------------------------------------------

    def _transformer(self, transformer: CimObject) -> None:
        tanks = self.model.referring(("TransformerTank",), "TransformerTank.PowerTransformer").get(transformer.mrid)
        if tanks:
            for tank in tanks:
                self._tank(tank, transformer.name)
            return
        key = "PowerTransformerEnd.PowerTransformer"
        ends = self.model.referring(("PowerTransformerEnd",), key).get(transformer.mrid, [])
        windings = [self._winding(end) for end in sorted(ends, key=self._end_number)]
        if len(windings) not in (2, 3):
            self.model.find(transformer, f"has {len(windings)} windings; two and three are supported")
            return
        if all(windings):
            self._bank(transformer, [w for w in windings if w])

    def _end_number(self, end: CimObject) -> float:
        return self.model.number(end, "TransformerEnd.endNumber")

    def _node_of(self, end: CimObject, phases: tuple[int, ...]) -> str | None:
        named = self.model.target(end, "TransformerEnd.Terminal")
        terminal = self.connectivity.terminals.get(named.mrid) if named else None
        if terminal is None:
            return None
        self._phases.setdefault(terminal.node, set()).update(phases)
        return self._node_names[terminal.node]

    def _winding(self, end: CimObject) -> _Winding | None:
        node = self._node_of(end, ABC)
        if node is None:
            return None
        number, prefix = self.model.number, "PowerTransformerEnd."
        kind = end.text(prefix + "connectionKind", "Yn")
        earthed = self.model.flag(end, "TransformerEnd.grounded")
        z_ground = complex(number(end, "TransformerEnd.rground", 0.0), number(end, "TransformerEnd.xground", 0.0))
        letter = kind[0].upper()
        if letter not in "YD":
            self.model.find(end, f"has the connection {kind}, which is not supported")
        solid = letter == "Y" and earthed and z_ground == 0
        u_kv, s_kva = number(end, prefix + "ratedU") / 1e3, number(end, prefix + "ratedS") / 3e3
        v_kv = u_kv if letter == "D" else u_kv / SQRT3
        return _Winding(
            item=end,
            node=node,
            kind="YN" if solid else letter,
            clock=int(number(end, prefix + "phaseAngleClock", 0.0)),
            v_kv=v_kv,
            s_kva=s_kva,
            r_pu=number(end, prefix + "r", 0.0) * s_kva / u_kv**2 * 3 / 1e3,
            neutral_s=1 / z_ground if letter == "Y" and earthed and z_ground else 0j,
        )

    def _bank(self, transformer: CimObject, windings: list[_Winding]) -> None:
        """A three-phase transformer; three windings meet in an inner node at the voltages of the legs."""
        s_kva = windings[0].s_kva
        mesh = self._mesh(transformer, windings, s_kva)
        if mesh is None:
            return
        name, y_pu = f"transformer.{transformer.name}", self._core(windings, s_kva)
        if len(windings) == 2:
            high, low = windings
            self._add(name, high, low, mesh[0, 1], s_kva, y_pu, transformer)
            return
        z_pu = [(mesh[0, 1] + mesh[0, 2] - mesh[1, 2]) / 2]
        z_pu += [mesh[0, 1] - z_pu[0], mesh[0, 2] - z_pu[0]]
        inner = f"{name}.inner"
        v_kv = windings[0].v_kv
        self.builder.node(inner, v_kv=v_kv * SQRT3)
        leg = 0 if windings[0].kind != "D" else next((w.clock for w in windings if w.kind != "D"), 1)
        middle = _Winding(transformer, inner, "YN", leg, v_kv, s_kva, 0.0, 0j)
        for number, (winding, z) in enumerate(zip(windings, z_pu, strict=True), start=1):
            order = (winding, middle) if number == 1 else (middle, winding)
            self._add(f"{name}.{number}", *order, z, s_kva, y_pu if number == 1 else 0j, transformer)

    def _mesh(self, transformer: CimObject, windings: list[_Winding], s_kva: float) -> dict[Any, complex] | None:
        """Short-circuit impedance between each pair of windings, pu of ``s_kva`` a unit."""
        position = {winding.item.mrid: i for i, winding in enumerate(windings)}
        key = "TransformerMeshImpedance."
        found: dict[Any, complex] = {}
        for mesh in self.model.of("TransformerMeshImpedance"):
            a, b = (mesh.references.get(f"{key}{end}TransformerEnd", [""])[0] for end in ("From", "To"))
            if a in position and b in position:
                base_ohm = 1e3 * (windings[position[a]].v_kv ** 2) / s_kva
                if windings[position[a]].kind == "D":
                    base_ohm /= 3  # the file refers to a star of the line-to-line voltage
                z_ohm = complex(self.model.number(mesh, key + "r"), self.model.number(mesh, key + "x"))
                found[tuple(sorted((position[a], position[b])))] = z_ohm / base_ohm
        pairs = [(i, j) for i in range(len(windings)) for j in range(i + 1, len(windings))]
        if missing := [f"{i + 1}-{j + 1}" for i, j in pairs if (i, j) not in found]:
            self.model.find(transformer, f"has no mesh impedance between the windings {', '.join(missing)}")
            return None
        return found

    def _core(self, windings: list[_Winding], s_kva: float) -> complex:
        of_end = self.model.referring(("TransformerCoreAdmittance",), "TransformerCoreAdmittance.TransformerEnd")
        for winding in windings:
            for core in of_end.get(winding.item.mrid, ()):
                key = "TransformerCoreAdmittance."
                y_s = complex(self.model.number(core, key + "g", 0.0), -abs(self.model.number(core, key + "b", 0.0)))
                base_s = s_kva / (1e3 * winding.v_kv**2) * (3 if winding.kind == "D" else 1)
                return y_s / base_s
        return 0j

    def _add(
        self,
        name: str,
        high: _Winding,
        low: _Winding,
        z_pu: complex,
        s_kva: float,
        y_pu: complex,
        transformer: CimObject,
    ) -> None:
        clock = (low.clock - high.clock) % 12
        try:
            windings = vector_group(f"{high.kind}{low.kind.lower()}{clock}")
        except VectorGroupError as error:
            self.model.find(transformer, f"has an impossible connection: {error}")
            return
        changed = [
            (side, self._changers[w.item.mrid]) for side, w in enumerate((high, low)) if w.item.mrid in self._changers
        ]
        self.builder.transformer(
            name,
            high.node,
            low.node,
            windings,
            s_kva=s_kva,
            v_from_kv=high.v_kv,
            v_to_kv=low.v_kv,
            r_pu=z_pu.real,
            x_pu=z_pu.imag,
            g_pu=y_pu.real,
            b_pu=y_pu.imag,
            neutral_s=(high.neutral_s, low.neutral_s),
            **self._taps(changed),
        )

    def _taps(self, changed: list[tuple[int, CimObject]]) -> dict[str, Any]:
        if not changed:
            return {"tap_min": 0, "tap_max": 0}
        side, changer = changed[0]
        if len(changed) > 1:
            self.model.find(changed[1][1], "is the second tap changer of its transformer, which is not supported")
        number = self.model.number
        position = number(changer, "TapChanger.step", number(changer, "TapChanger.normalStep", 0.0))
        if position != round(position):
            self.model.find(changer, f"stands at {position:g}, between two steps")
        return {
            "tap_side": side,
            "tap_min": int(number(changer, "TapChanger.lowStep")),
            "tap_max": int(number(changer, "TapChanger.highStep")),
            "tap_neutral": int(number(changer, "TapChanger.neutralStep")),
            "tap_step_percent": number(changer, "RatioTapChanger.stepVoltageIncrement"),
            "tap_position": round(position),
        }

    # --- tanks -----------------------------------------------------------------------------------------------------

    def _tank(self, tank: CimObject, bank: str) -> None:
        """A single-phase unit with two windings, or with a centre-tapped secondary as two units."""
        ends = self.model.referring(("TransformerTankEnd",), "TransformerTankEnd.TransformerTank").get(tank.mrid, [])
        ends = sorted(ends, key=self._end_number)
        info = self.model.target(tank, "TransformerTank.TransformerTankInfo")
        if info is None or len(ends) not in (2, 3):
            self.model.find(tank, f"has {len(ends)} windings; two and three are supported")
            return
        sheets = self.model.referring(("TransformerEndInfo",), "TransformerEndInfo.TransformerTankInfo")
        data = sorted(
            sheets.get(info.mrid, []), key=lambda sheet: self.model.number(sheet, "TransformerEndInfo.endNumber")
        )
        unit_ends = [self._unit_end(end) for end in ends]
        if len(data) != len(ends) or not all(unit_ends):
            self.model.find(tank, f"has {len(ends)} windings, but {info.name} has {len(data)}")
            return
        self._tank_units(tank, bank, ends, data, [end for end in unit_ends if end])

    def _unit_end(self, end: CimObject) -> tuple[int, int] | None:
        """(plus, minus) of a winding from its ordered phases: ``AN``, ``AB``, ``s1N``, ``Ns2``."""
        code = end.text("TransformerTankEnd.orderedPhases")
        parts = {"N": EARTH, **_COLUMN}
        for cut in range(1, len(code)):
            if code[:cut] in parts and code[cut:] in parts and code[:cut] != code[cut:]:
                return parts[code[:cut]], parts[code[cut:]]
        if code in _COLUMN:
            return _COLUMN[code], EARTH
        self.model.find(end, f"has the ordered phases {code!r}, which are not supported")
        return None

    def _tank_units(
        self,
        tank: CimObject,
        bank: str,
        ends: list[CimObject],
        data: list[CimObject],
        units: list[tuple[int, int]],
    ) -> None:
        number, key = self.model.number, "TransformerEndInfo."
        nodes = [self._node_of(end, tuple(p for p in unit if p < EARTH)) for end, unit in zip(ends, units, strict=True)]
        v_kv = [number(sheet, key + "ratedU") / 1e3 for sheet in data]
        s_kva = number(data[0], key + "ratedS") / 1e3
        r_pu = [
            number(sheet, key + "r", 0.0) * number(sheet, key + "ratedS") / number(sheet, key + "ratedU") ** 2
            for sheet in data
        ]
        x_pu = self._leakage(tank, data, v_kv, s_kva, r_pu)
        if x_pu is None or None in nodes:
            return
        split = len(ends) == 3
        if split and (nodes[1] != nodes[2] or v_kv[1] != v_kv[2]):
            self.model.find(tank, "has three windings, but no centre-tapped secondary; that is not supported")
            return
        z_pu = complex(r_pu[0] + r_pu[1], x_pu[0, 1])
        if split:  # the primary carries the current of both halves
            x_high = (x_pu[0, 1] + x_pu[0, 2] - x_pu[1, 2]) / 2
            z_pu += complex(r_pu[0], x_high)
            self.builder.notes.append(
                f"the centre-tapped transformer {tank.name} is two units, exact for equal load of both halves"
            )
        y_pu = self._no_load(data[0], s_kva) / (2 if split else 1)
        from_ends: Ends = (units[0], units[0] if split else _ABSENT_UNIT, _ABSENT_UNIT)
        to_ends: Ends = (units[1], units[2] if split else _ABSENT_UNIT, _ABSENT_UNIT)
        changed = [(min(i, 1), self._changers[end.mrid]) for i, end in enumerate(ends) if end.mrid in self._changers]
        self.builder.transformer(
            f"transformer.{tank.name}",
            str(nodes[0]),
            str(nodes[1]),
            Windings(from_ends, to_ends),
            s_kva=s_kva,
            v_from_kv=v_kv[0],
            v_to_kv=v_kv[1],
            r_pu=z_pu.real,
            x_pu=z_pu.imag,
            g_pu=y_pu.real,
            b_pu=y_pu.imag,
            bank=bank,
            **self._taps(changed),
        )

    def _leakage(
        self, tank: CimObject, data: list[CimObject], v_kv: list[float], s_kva: float, r_pu: list[float]
    ) -> dict[Any, float] | None:
        """Reactance between each pair of windings by the short-circuit tests, pu of ``s_kva``."""
        position = {sheet.mrid: i for i, sheet in enumerate(data)}
        found: dict[Any, float] = {}
        for test in self.model.of("ShortCircuitTest"):
            a = position.get(test.references.get("ShortCircuitTest.EnergisedEnd", [""])[0])
            grounded = [position[b] for b in test.references.get("ShortCircuitTest.GroundedEnds", ()) if b in position]
            if a is None or len(grounded) != 1:
                continue
            z = self.model.number(test, "ShortCircuitTest.leakageImpedance") * s_kva / (1e3 * v_kv[a] ** 2)
            r = r_pu[a] + r_pu[grounded[0]]
            found[tuple(sorted((a, grounded[0])))] = math.sqrt(max(z**2 - r**2, 0.0))
        n = len(data)
        if missing := [f"{i + 1}-{j + 1}" for i in range(n) for j in range(i + 1, n) if (i, j) not in found]:
            self.model.find(tank, f"has no short-circuit test between the windings {', '.join(missing)}")
            return None
        return found

    def _no_load(self, sheet: CimObject, s_kva: float) -> complex:
        """Magnetising admittance by the no-load test, pu of ``s_kva``."""
        for test in self.model.referring(("NoLoadTest",), "NoLoadTest.EnergisedEnd").get(sheet.mrid, ()):
            base_kva = self.model.number(test, "TransformerTest.basePower", 1e3 * s_kva) / 1e3
            g = self.model.number(test, "NoLoadTest.loss", 0.0) / base_kva
            y = self.model.number(test, "NoLoadTest.excitingCurrent", 0.0) / 100
            return complex(g, -math.sqrt(max(y**2 - g**2, 0.0))) * base_kva / s_kva
        return 0j


_END_OF_CHANGER = "RatioTapChanger.TransformerEnd"


def _transposed(positive: complex, zero: complex, n: int) -> Complexes:
    """The phase matrix of a transposed line."""
    own, mutual = (zero + 2 * positive) / 3, (zero - positive) / 3
    return np.asarray(np.full((n, n), mutual) + (own - mutual) * np.eye(n), dtype=np.complex128)
