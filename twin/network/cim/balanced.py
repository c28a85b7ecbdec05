"""The balanced network of a CGMES node-breaker model: lines, transformers, machines, external networks, switches.

Quantities are those of CGMES (kV, MW, Ohm, S). Every connectivity node becomes a node, every switch a switch
between two nodes. A transformer with three windings becomes its star, with a node of its own in the middle.
External networks are the sources; they hold the voltage of the solved state (SV profile) where the files bring one.
Not for networks with single phases: see :mod:`twin.network.cim.three_phase`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twin.network.builder import NetworkBuilder
from twin.network.cim.connectivity import EARTHING, SWITCH_KINDS, CimTerminal, NodeBreakerModel, node_breaker
from twin.network.cim.reader import CimModel, CimObject, unused
from twin.network.model import Network, SwitchKind

NAN = math.nan
_KNOWN = (
    *SWITCH_KINDS,
    EARTHING,
    *("Terminal", "ConnectivityNode", "TopologicalNode", "TopologicalIsland", "BusbarSection", "BaseVoltage"),
    *("Bay", "VoltageLevel", "Substation", "Line", "SubGeographicalRegion", "GeographicalRegion"),
    *("ACLineSegment", "PowerTransformer", "PowerTransformerEnd", "RatioTapChanger"),
    *("SynchronousMachine", "AsynchronousMachine", "ExternalNetworkInjection", "EquivalentInjection"),
    *("EnergyConsumer", "ConformLoad", "NonConformLoad", "StationSupply", "LinearShuntCompensator"),
    *("SvVoltage", "SvPowerFlow", "SvTapStep", "SvStatus", "SvShuntCompensatorSections"),
    *("CurrentLimit", "OperationalLimitSet", "OperationalLimitType", "GeneratingUnit", "ThermalGeneratingUnit"),
    *("HydroGeneratingUnit", "SolarGeneratingUnit", "WindGeneratingUnit", "IEC61970CIMVersion"),
)
_CONSUMERS = ("EnergyConsumer", "ConformLoad", "NonConformLoad", "StationSupply")
_LEAST_SHORT_CIRCUIT_A = 1.0


@dataclass(frozen=True)
class CimNetwork:
    """A network, with the names that its equipment and nodes got by mRID, and what was left out or replaced."""

    network: Network
    names: dict[str, str]
    notes: tuple[str, ...]


def balanced_network(model: CimModel, *, frequency_hz: float = 50.0) -> CimNetwork:
    """Compile a CGMES model.

    Raises:
        CimFileError: what the model lacks or contradicts; all findings.
    """
    return _Loader(model, node_breaker(model), frequency_hz).run()


class _Loader:
    """Adds class by class; findings are collected in the model and raised at the end."""

    def __init__(self, model: CimModel, connectivity: NodeBreakerModel, frequency_hz: float) -> None:
        self.model = model
        self.connectivity = connectivity
        self.builder = NetworkBuilder(model.name, frequency_hz)
        self.names: dict[str, str] = {}
        self.notes: list[str] = []
        self._taken: set[str] = set()
        self._terminals: dict[str, list[CimTerminal]] = {}
        for terminal in sorted(connectivity.terminals.values(), key=lambda t: t.number):
            self._terminals.setdefault(terminal.equipment, []).append(terminal)
        self._flows = {
            mrid: flows[0] for mrid, flows in model.referring(("SvPowerFlow",), "SvPowerFlow.Terminal").items()
        }
        self._limits = self._permanent_limits()
        self._state = self._solved_voltages()
        self._kv = self._nominal_voltages()

    def run(self) -> CimNetwork:
        adders: dict[str, Callable[[CimObject], None]] = {
            "ACLineSegment": self._line,
            "PowerTransformer": self._transformer,
            "ExternalNetworkInjection": self._external,
            "SynchronousMachine": self._machine,
            "AsynchronousMachine": self._machine,
            "EquivalentInjection": self._injection,
            "LinearShuntCompensator": self._shunt,
            **dict.fromkeys(_CONSUMERS, self._consumer),
        }
        self._nodes()
        for kind, add in adders.items():  # transformers before the machines behind them
            for item in self.model.of(kind):
                add(item)
        self._switches()
        if not self.model.of("ExternalNetworkInjection") and not self.model.findings:
            self._reference_machine()
        self.model.check()
        notes = (*self.notes, *unused(self.model, _KNOWN))
        return CimNetwork(self.builder.build(), self.names, notes)

    # --- names, nodes, terminals -----------------------------------------------------------------------------------

    def _name(self, item: CimObject | None, mrid: str = "", suffix: str = "") -> str:
        """A name without blanks; the same twice gets the first part of the mRID, too."""
        mrid = item.mrid if item else mrid
        base = "_".join((item.name if item else mrid).split()) + suffix
        name = base if base not in self._taken else f"{base}_{mrid[:8]}"
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        if not suffix:
            self.names[mrid] = name
        return name

    def _nominal_voltages(self) -> dict[str, float]:
        """Of each connectivity node, kV: from its container, or from the equipment at it."""
        found: dict[str, float] = {}
        for mrid, container in self.connectivity.nodes.items():
            level = self.model.objects.get(container)
            while level is not None and level.kind != "VoltageLevel":
                level = self.model.objects.get(level.references.get(f"{level.kind}.VoltageLevel", [""])[0])
            if level is not None:
                found[mrid] = self._base_kv(level, "VoltageLevel.BaseVoltage")
        for terminal in self.connectivity.terminals.values():
            equipment = self.model.objects[terminal.equipment]
            if terminal.node not in found and "ConductingEquipment.BaseVoltage" in equipment.references:
                found[terminal.node] = self._base_kv(equipment, "ConductingEquipment.BaseVoltage")
        return found

    def _base_kv(self, item: CimObject, key: str) -> float:
        base = self.model.target(item, key)
        return self.model.number(base, "BaseVoltage.nominalVoltage") if base else NAN

    def _nodes(self) -> None:
        for mrid in self.connectivity.nodes:
            item = self.model.objects.get(mrid)
            if mrid not in self._kv and item is not None:
                self.model.find(item, "has no nominal voltage: neither a voltage level nor equipment states one")
            self.builder.node(self._name(item, mrid), v_kv=self._kv.get(mrid, NAN))
        boundary = len(self.connectivity.boundary)
        if boundary:
            self.notes.append(f"{boundary} connectivity nodes are in no file (boundary): only their equipment is known")

    def _ends(self, item: CimObject, n: int) -> list[CimTerminal] | None:
        terminals = self._terminals.get(item.mrid, [])
        if len(terminals) != n:
            self.model.find(item, f"has {len(terminals)} terminals instead of {n}")
            return None
        return terminals

    def _one_end(self, item: CimObject) -> str | None:
        """The node of a connected equipment with one terminal."""
        terminals = self._ends(item, 1)
        if terminals is None:
            return None
        if not terminals[0].connected:
            self.notes.append(f"{item.kind} {item.name} is not connected and left out")
            return None
        return self.names[terminals[0].node]

    def _open_ends(self, name: str, terminals: list[CimTerminal]) -> None:
        """A detached terminal is an open disconnector."""
        for side, terminal in enumerate(terminals):
            if not terminal.connected:
                node = self.names[terminal.node]
                switch = self._name(None, f"{name}_{side + 1}_detached")
                self.builder.switch(switch, SwitchKind.DISCONNECTOR, node, branch=name, side=side, closed=False)

    # --- branches --------------------------------------------------------------------------------------------------

    def _line(self, line: CimObject) -> None:
        terminals = self._ends(line, 2)
        if terminals is None:
            return
        number, prefix = self.model.number, "ACLineSegment."
        omega = 2 * math.pi * self.builder.frequency_hz
        name = self._name(line)
        length = number(line, "Conductor.length", 1.0)
        per_km = 1 / length
        self.builder.line(
            name,
            *(self.names[terminal.node] for terminal in terminals),
            length_km=length,
            r_ohm_per_km=number(line, prefix + "r") * per_km,
            x_ohm_per_km=number(line, prefix + "x") * per_km,
            c_nf_per_km=1e9 * number(line, prefix + "bch", 0.0) / omega * per_km,
            g_us_per_km=1e6 * number(line, prefix + "gch", 0.0) * per_km,
            r0_ohm_per_km=self._optional(line, prefix + "r0") * per_km,
            x0_ohm_per_km=self._optional(line, prefix + "x0") * per_km,
            c0_nf_per_km=1e9 * self._optional(line, prefix + "b0ch") / omega * per_km,
            i_max_a=self._rating(terminals),
        )
        self._open_ends(name, terminals)

    def _optional(self, item: CimObject, key: str) -> float:
        return self.model.number(item, key) if key in item.values else NAN

    def _rating(self, terminals: list[CimTerminal]) -> float:
        """The lowest permanent limit at the terminals, A; 1e6 where there is none."""
        limits = [limit for terminal in terminals for limit in self._limits.get(terminal.mrid, ())]
        return min(limits, default=1e6)

    def _permanent_limits(self) -> dict[str, list[float]]:
        """The current limits of each terminal that hold for ever, A."""
        model, found = self.model, dict[str, list[float]]()
        of_set = model.referring(("CurrentLimit",), "OperationalLimit.OperationalLimitSet")
        for item in model.of("OperationalLimitSet"):
            terminal = item.references.get("OperationalLimitSet.Terminal", [""])[0]
            for limit in of_set.get(item.mrid, ()):
                kind = model.target(limit, "OperationalLimit.OperationalLimitType", needed=False)
                if kind is None or "patl" in (kind.name.lower(), kind.text("OperationalLimitType.limitType").lower()):
                    found.setdefault(terminal, []).append(model.number(limit, "CurrentLimit.value"))
        return found

    def _transformer(self, transformer: CimObject) -> None:
        windings = self._windings(transformer)
        if windings is None:
            return
        if len(windings) == 2:
            self._two_windings(transformer, windings)
        else:
            self._star(transformer, windings)

    def _windings(self, transformer: CimObject) -> list[_Winding] | None:
        ends = self.model.referring(("PowerTransformerEnd",), "PowerTransformerEnd.PowerTransformer")
        of_it = sorted(ends.get(transformer.mrid, []), key=lambda end: end.text("TransformerEnd.endNumber"))
        if len(of_it) not in (2, 3):
            self.model.find(transformer, f"has {len(of_it)} windings; two and three are supported")
            return None
        windings = [self._winding(end) for end in of_it]
        return [w for w in windings if w] if all(windings) else None

    def _winding(self, end: CimObject) -> _Winding | None:
        number, prefix = self.model.number, "PowerTransformerEnd."
        named = self.model.target(end, "TransformerEnd.Terminal")
        terminal = self.connectivity.terminals.get(named.mrid) if named else None
        if terminal is None:
            return None
        changer = next(
            iter(self.model.referring(("RatioTapChanger",), "RatioTapChanger.TransformerEnd").get(end.mrid, [])), None
        )
        return _Winding(
            terminal=terminal,
            u_kv=number(end, prefix + "ratedU"),
            s_kva=1e3 * number(end, prefix + "ratedS"),
            z_ohm=complex(number(end, prefix + "r"), number(end, prefix + "x")),
            y_s=complex(number(end, prefix + "g", 0.0), number(end, prefix + "b", 0.0)),
            clock=number(end, prefix + "phaseAngleClock", 0.0),
            taps=self._taps(changer) if changer else {},
        )

    def _taps(self, changer: CimObject) -> dict[str, Any]:
        number = self.model.number
        position = number(changer, "TapChanger.step", number(changer, "TapChanger.normalStep", 0.0))
        return {
            "tap_min": int(number(changer, "TapChanger.lowStep")),
            "tap_max": int(number(changer, "TapChanger.highStep")),
            "tap_neutral": int(number(changer, "TapChanger.neutralStep")),
            "tap_step_percent": number(changer, "RatioTapChanger.stepVoltageIncrement"),
            "tap_position": round(position) if math.isfinite(position) else 0,
        }

    def _two_windings(self, transformer: CimObject, windings: list[_Winding]) -> None:
        high, low = sorted(windings, key=lambda w: -w.u_kv)
        z_ohm = high.z_ohm + low.z_ohm * (high.u_kv / low.u_kv) ** 2
        y_s = high.y_s + low.y_s * (low.u_kv / high.u_kv) ** 2
        name = self._name(transformer)
        nodes = (self.names[high.terminal.node], self.names[low.terminal.node])
        side, taps = (1, low.taps) if low.taps else (0, high.taps)
        branch = _Branch(low.s_kva, high.u_kv, low.u_kv, z_ohm, y_s, 30 * (low.clock - high.clock), side, taps)
        self._add(name, nodes, branch)
        self._open_ends(name, [high.terminal, low.terminal])

    def _star(self, transformer: CimObject, windings: list[_Winding]) -> None:
        """Each winding from its node to the star point, whose voltage is that of the highest winding."""
        top = max(windings, key=lambda w: w.u_kv)
        middle = self._name(transformer, suffix="_star")
        self.builder.node(middle, v_kv=top.u_kv)
        for number, winding in enumerate(windings, start=1):
            name = self._name(transformer, suffix=f"_{number}")
            z_ohm = winding.z_ohm * (top.u_kv / winding.u_kv) ** 2
            y_s = winding.y_s * (winding.u_kv / top.u_kv) ** 2
            nodes = (middle, self.names[winding.terminal.node])
            shift = 30 * (winding.clock - top.clock)
            branch = _Branch(winding.s_kva, top.u_kv, winding.u_kv, z_ohm, y_s, shift, 1, winding.taps)
            self._add(name, nodes, branch)
            if not winding.terminal.connected:
                self.notes.append(f"winding {number} of PowerTransformer {transformer.name} is detached")
                self.builder.switch(
                    f"{name}_detached", SwitchKind.DISCONNECTOR, nodes[1], branch=name, side=1, closed=False
                )

    def _add(self, name: str, nodes: tuple[str, str], branch: _Branch) -> None:
        z_ohm, base_ohm = branch.z_ohm, 1e3 * branch.v_from_kv**2 / branch.s_kva
        if z_ohm.imag < 0:
            self.notes.append(f"the leakage reactance {z_ohm.imag:.3g} Ohm of {name} is taken as 0")
        self.builder.transformer(
            name,
            *nodes,
            s_kva=branch.s_kva,
            v_from_kv=branch.v_from_kv,
            v_to_kv=branch.v_to_kv,
            vk_percent=100 * abs(complex(z_ohm.real, max(z_ohm.imag, 0.0))) / base_ohm,
            vkr_percent=100 * z_ohm.real / base_ohm,
            p_iron_kw=1e3 * branch.y_s.real * branch.v_from_kv**2,
            i0_percent=100 * abs(branch.y_s) * base_ohm,
            shift_deg=branch.shift_deg % 360,
            tap_side=branch.tap_side,
            **branch.taps,
        )

    # --- injections ------------------------------------------------------------------------------------------------

    def _solved_voltages(self) -> dict[str, tuple[float, float]]:
        """(kV, degrees) of each connectivity node in the solved state, if the files bring one."""
        by_node = {
            item.references.get("SvVoltage.TopologicalNode", [""])[0]: (
                self.model.number(item, "SvVoltage.v"),
                self.model.number(item, "SvVoltage.angle"),
            )
            for item in self.model.of("SvVoltage")
        }
        published = self.connectivity.published.items()
        return {node: by_node[mrid] for mrid, nodes in published if mrid in by_node for node in nodes}

    def _power(self, item: CimObject, prefix: str) -> tuple[float, float]:
        """P, Q as consumption in kW and kvar: of the solved state, else of the schedule."""
        terminals = self._terminals.get(item.mrid, [])
        flow = self._flows.get(terminals[0].mrid) if terminals else None
        source, key = (flow, "SvPowerFlow.") if flow is not None else (item, prefix)
        p, q = (self.model.number(source, key + axis, 0.0) for axis in ("p", "q"))
        return 1e3 * p, 1e3 * q

    def _external(self, item: CimObject) -> None:
        node = self._one_end(item)
        if node is None:
            return
        at = self._terminals[item.mrid][0].node
        u_kv = self._kv.get(at, NAN)
        v_kv, angle_deg = self._state.get(at, (u_kv, 0.0))
        if at not in self._state:
            self.notes.append(f"ExternalNetworkInjection {item.name} holds its nominal voltage: no solved state")
        self.builder.source(
            self._name(item),
            node,
            v_pu=v_kv / u_kv,
            angle_rad=math.radians(angle_deg),
            **self._short_circuit(item, u_kv),
        )

    def _short_circuit(self, item: CimObject, u_kv: float) -> dict[str, float]:
        prefix, known = "ExternalNetworkInjection.", {}
        for extreme, power, ratio in (("max", "s_sc_mva", "rx"), ("min", "s_sc_min_mva", "rx_min")):
            current = self._optional(item, f"{prefix}{extreme}InitialSymShCCurrent")
            if current >= _LEAST_SHORT_CIRCUIT_A:
                known[power] = math.sqrt(3) * u_kv * current / 1e3
                known[ratio] = self._optional(item, f"{prefix}{extreme}R1ToX1Ratio")
        rx, r0x0 = known.get("rx", NAN), self._optional(item, prefix + "maxR0ToX0Ratio")
        z0z1 = self._optional(item, prefix + "maxZ0ToZ1Ratio")
        known["x0x1"] = z0z1 * math.sqrt((1 + rx**2) / (1 + r0x0**2))
        known["r0x0"] = r0x0
        return known

    def _machine(self, item: CimObject) -> None:
        node = self._one_end(item)
        if node is None:
            return
        p_kw, q_kvar = self._power(item, "RotatingMachine.")
        synchronous = item.kind == "SynchronousMachine"
        number = self._optional
        data: dict[str, Any] = (
            {
                "xdss_pu": number(item, "SynchronousMachine.satDirectSubtransX"),
                "r_sc_ohm": number(item, "SynchronousMachine.r"),
                "pg_percent": self.model.number(item, "SynchronousMachine.voltageRegulationRange", 0.0),
                "unit_transformer": self._unit_transformer(item),
            }
            if synchronous
            else {"lrc_pu": number(item, "AsynchronousMachine.iaIrRatio")}
            | {"rx_sc": number(item, "AsynchronousMachine.rxLockedRotorRatio")}
        )
        self.builder.generator(
            self._name(item),
            node,
            p_kw=-p_kw,
            q_kvar=-q_kvar,
            s_kva=1e3 * number(item, "RotatingMachine.ratedS"),
            kind="synchronous" if synchronous else "motor",
            machine="synchronous" if synchronous else "asynchronous",
            v_rated_kv=number(item, "RotatingMachine.ratedU"),
            cos_phi=number(item, "RotatingMachine.ratedPowerFactor"),
            **data,
        )

    def _unit_transformer(self, machine: CimObject) -> str:
        """The power station transformer at the machine's terminals, "" if there is none."""
        joined = self.connectivity.topological_nodes(dict.fromkeys(self.connectivity.switches, True))
        place = {node: name for name, nodes in joined.items() for node in nodes}
        at = place[self._terminals[machine.mrid][0].node]
        for item in self.model.of("PowerTransformer"):
            of_unit = self.model.flag(item, "PowerTransformer.isPartOfGeneratorUnit")
            ends = [place[terminal.node] for terminal in self._terminals.get(item.mrid, ())]
            if of_unit and at in ends and item.mrid in self.names:
                return self.names[item.mrid]
        return ""

    def _injection(self, item: CimObject) -> None:
        node = self._one_end(item)
        if node is not None:
            p_kw, q_kvar = self._power(item, "EquivalentInjection.")
            self.builder.generator(self._name(item), node, p_kw=-p_kw, q_kvar=-q_kvar, kind="equivalent")

    def _consumer(self, item: CimObject) -> None:
        node = self._one_end(item)
        if node is not None:
            p_kw, q_kvar = self._power(item, "EnergyConsumer.")
            customers = int(self.model.number(item, "EnergyConsumer.customerCount", 1))
            self.builder.consumer(self._name(item), node, p_kw=p_kw, q_kvar=q_kvar, customers=customers)

    def _shunt(self, item: CimObject) -> None:
        node = self._one_end(item)
        if node is None:
            return
        number = self.model.number
        u_kv = self._kv.get(self._terminals[item.mrid][0].node, NAN)
        sections = number(item, "ShuntCompensator.sections", number(item, "ShuntCompensator.normalSections", 1.0))
        g_s = number(item, "LinearShuntCompensator.gPerSection", 0.0) * sections
        b_s = number(item, "LinearShuntCompensator.bPerSection") * sections
        self.builder.shunt(self._name(item), node, p_kw=1e3 * g_s * u_kv**2, q_kvar=-1e3 * b_s * u_kv**2)

    def _reference_machine(self) -> None:
        """Without an external network the machine of the first reference priority holds its voltage."""
        ranked = [
            (self.model.number(item, "SynchronousMachine.referencePriority", 0.0), item)
            for item in self.model.of("SynchronousMachine")
        ]
        ranked = [pair for pair in ranked if pair[0] > 0]
        if not ranked:
            first = next(iter(self.model.objects.values()))
            self.model.find(first, "and all others bring neither an external network nor a reference machine")
            return
        _, machine = min(ranked, key=lambda pair: pair[0])
        at = self._terminals[machine.mrid][0].node
        v_kv, angle_deg = self._state.get(at, (self._kv[at], 0.0))
        name = self._name(machine, suffix="_reference")
        self.builder.source(name, self.names[at], v_pu=v_kv / self._kv[at], angle_rad=math.radians(angle_deg))

    # --- switches --------------------------------------------------------------------------------------------------

    def _switches(self) -> None:
        for mrid, switch in self.connectivity.switches.items():
            item = self.model.objects[mrid]
            if not switch.node_b:
                self.builder.earthing_switch(self._name(item), self.names[switch.node_a], closed=switch.closed)
                continue
            self.builder.switch(
                self._name(item),
                SWITCH_KINDS[switch.kind],
                self.names[switch.node_a],
                other_node=self.names[switch.node_b],
                closed=switch.closed,
            )


@dataclass(frozen=True, slots=True)
class _Winding:
    """A winding: impedance and admittance at its own voltage."""

    terminal: CimTerminal
    u_kv: float
    s_kva: float
    z_ohm: complex
    y_s: complex
    clock: float
    taps: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Branch:
    """A transformer of two windings; impedance and admittance at the voltage of its from side."""

    s_kva: float
    v_from_kv: float
    v_to_kv: float
    z_ohm: complex
    y_s: complex
    shift_deg: float
    tap_side: int
    taps: dict[str, Any]
