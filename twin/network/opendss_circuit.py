"""From the elements of an OpenDSS circuit to the rows of a three-phase network.

Follows OpenDSS's own models: the delta direction of mixed connections, the source impedance from short-circuit powers,
loads that become impedances outside their voltage window. Not for reading files.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, cast

import numpy as np

from twin.network.model import SwitchKind
from twin.network.opendss_elements import (
    METRES,
    Capacitor,
    Element,
    Line,
    LineCode,
    Load,
    Source,
    Transformer,
    Winding,
    sequence_matrix,
)
from twin.network.opendss_syntax import OpenDssFinding, ValueProblem
from twin.network.three_phase import ABSENT, EARTH, Complexes
from twin.network.three_phase_builder import (
    CONSTANT_CURRENT,
    CONSTANT_IMPEDANCE,
    CONSTANT_POWER,
    ThreePhaseBuilder,
    Unit,
)
from twin.network.winding_connections import Ends, Windings

SQRT3 = math.sqrt(3.0)
NEGLIGIBLE_OHM = 1e-5
"""A switch with less impedance is one without."""
_STEP_TOLERANCE = 1e-6
_ZIP = {1: CONSTANT_POWER, 2: CONSTANT_IMPEDANCE, 5: CONSTANT_CURRENT}
_EXPONENTS = {0.0: CONSTANT_POWER, 1.0: CONSTANT_CURRENT, 2.0: CONSTANT_IMPEDANCE}


class CircuitData(Protocol):
    """What a script says, see :class:`twin.network.opendss_loader.Circuit`."""

    frequency_hz: float
    voltage_bases_kv: list[float]
    elements: dict[str, dict[str, Element]]
    coordinates: dict[str, tuple[float, float]]


def assemble(
    circuit: CircuitData, name: str, notes: tuple[str, ...]
) -> tuple[ThreePhaseBuilder, tuple[OpenDssFinding, ...]]:
    """The rows of the network, and what of the circuit has no place in it."""
    assembler = _Assembler(circuit, ThreePhaseBuilder(name, circuit.frequency_hz, list(notes)))
    assembler.run()
    return assembler.builder, tuple(assembler.findings)


def _bus(text: str, n: int) -> tuple[str, tuple[int, ...]]:
    """A bus with the nodes (0 earth, 1.. phases) of its first ``n`` conductors; the others are the neutral."""
    bus, *parts = text.split(".")
    if not bus:
        raise ValueProblem("a bus is missing")
    if any(not part.isdigit() for part in parts):
        raise ValueProblem(f"the bus {text} has no valid nodes")
    nodes = tuple(int(part) for part in parts) or tuple(range(1, n + 1))
    if len(nodes) < n or any(node > 3 for node in nodes) or any(nodes[n:]):
        raise ValueProblem(f"the nodes of bus {text} do not fit {n} conductors to an earthed neutral")
    return bus, nodes[:n]


def _phases(text: str, n: int) -> tuple[str, tuple[int, ...]]:
    bus, nodes = _bus(text, n)
    if len(set(nodes)) < n or 0 in nodes:
        raise ValueProblem(f"the nodes of bus {text} are not {n} phases")
    return bus, tuple(node - 1 for node in nodes)


class _Assembler:
    """Collects findings element by element; nodes come last, when all their phases and voltages are known."""

    def __init__(self, circuit: CircuitData, builder: ThreePhaseBuilder) -> None:
        self.circuit = circuit
        self.builder = builder
        self.findings: list[OpenDssFinding] = []
        self._phases_of: dict[str, set[int]] = {}
        self._ratios: list[tuple[str, str, float]] = []
        self._joined: list[tuple[str, str]] = []
        self._source_kv: dict[str, float] = {}

    def run(self) -> None:
        adders: dict[str, Callable[[Any], None]] = {
            "vsource": self._source,
            "line": self._line,
            "transformer": self._transformer,
            "load": self._load,
            "capacitor": self._capacitor,
        }
        for kind, add in adders.items():
            for element in self.circuit.elements[kind].values():
                try:
                    self._check_frequency(element)
                    add(element)
                except ValueProblem as problem:
                    self.findings.append(OpenDssFinding(element.place, f"{kind}.{element.name}: {problem}"))
        self._nodes()

    def _check_frequency(self, element: Element) -> None:
        if element.base_frequency_hz not in (None, self.circuit.frequency_hz):
            raise ValueProblem(f"its base frequency is not that of the circuit, {self.circuit.frequency_hz:g} Hz")

    def _use(self, bus: str, phases: tuple[int, ...]) -> None:
        self._phases_of.setdefault(bus, set()).update(phases)

    def _nodes(self) -> None:
        if self.findings:  # what is missing would only lead to more of them
            return
        v_kv = self._nominal_voltages()
        for bus, phases in self._phases_of.items():
            x, y = self.circuit.coordinates.get(bus, (math.nan, math.nan))
            if bus not in v_kv:
                place = next(iter(self.circuit.elements["vsource"].values())).place
                self.findings.append(OpenDssFinding(place, f"bus {bus} is not connected to the source"))
                continue
            self.builder.node(bus, v_kv=v_kv[bus], phases=sorted(phases), x=x, y=y)

    def _nominal_voltages(self) -> dict[str, float]:
        """Line-to-line voltages from the source outwards by the transformers' ratios, each at its nearest base."""
        v_kv = dict(self._source_kv)
        steps = [*self._ratios, *((a, b, 1.0) for a, b in self._joined)]
        steps += [(b, a, 1 / ratio) for a, b, ratio in steps]
        reached = -1
        while len(v_kv) != reached:
            reached = len(v_kv)
            for here, there, ratio in steps:
                if here in v_kv and there not in v_kv:
                    v_kv[there] = self._base(v_kv[here] * ratio)
        return v_kv

    def _base(self, v_kv: float) -> float:
        bases = self.circuit.voltage_bases_kv
        return min(bases, key=lambda base: abs(math.log(base / v_kv))) if bases else v_kv

    def _source(self, source: Source) -> None:
        bus, phases = _phases(source.bus, 3)
        self._use(bus, phases)
        self._source_kv[bus] = self._base(source.kv)
        self.builder.source(
            f"vsource.{source.name}",
            bus,
            v_pu=source.pu * source.kv / self._source_kv[bus],
            angle_rad=math.radians(source.angle_deg),
            z_ohm=source_impedance(source),
        )

    def _line(self, line: Line) -> None:
        bus1, bus2, phases = self._line_ends(line)
        z_ohm, y_s = self._line_matrices(line, len(phases))
        name = f"line.{line.name}"
        self._joined.append((bus1, bus2))
        if line.switch and np.abs(z_ohm).max() < NEGLIGIBLE_OHM:
            self.builder.switch(name, SwitchKind.LOAD_BREAK_SWITCH, bus1, other_node=bus2, phases=phases)
            return
        segment = f"{name}.impedance" if line.switch else name
        metres = METRES.get(line.units, math.nan)
        self.builder.line(
            segment,
            bus1,
            bus2,
            z_ohm=z_ohm,
            y_s=y_s,
            phases=phases,
            length_km=line.length * metres / 1000,
            i_max_a=line.i_max_a,
        )
        if line.switch:
            self.builder.switch(name, SwitchKind.LOAD_BREAK_SWITCH, bus1, branch=segment, phases=phases)

    def _line_ends(self, line: Line) -> tuple[str, str, tuple[int, ...]]:
        n = self._code(line).phases if line.linecode else line.phases
        (bus1, phases), (bus2, others) = _phases(line.bus1, n), _phases(line.bus2, n)
        if phases != others:
            raise ValueProblem("its conductors change their phases on the way, which is not supported")
        self._use(bus1, phases)
        self._use(bus2, phases)
        return bus1, bus2, phases

    def _code(self, line: Line) -> LineCode:
        code = self.circuit.elements["linecode"].get(line.linecode)
        if code is None:
            raise ValueProblem(f"there is no line code {line.linecode}")
        self._check_frequency(code)
        return cast(LineCode, code)

    def _line_matrices(self, line: Line, n: int) -> tuple[Complexes, Complexes]:
        """Series impedance and shunt admittance over the whole length."""
        per_length = self._code(line) if line.linecode else line
        convert = 1.0
        if line.linecode and "none" not in (line.units, per_length.units):
            convert = METRES[line.units] / METRES[per_length.units]
        length = line.length * convert
        omega = 2 * np.pi * self.circuit.frequency_hz
        z_ohm = (per_length.part("r") + 1j * per_length.part("x")) * length
        y_s = 1j * omega * 1e-9 * per_length.part("c") * length
        if z_ohm.shape != (n, n):
            raise ValueProblem(f"its impedances are not those of {n} phases")
        return z_ohm, y_s

    def _transformer(self, transformer: Transformer) -> None:
        high, low = transformer.windings
        if high.kva != low.kva:
            raise ValueProblem("its windings have different ratings")
        (bus1, from_ends), (bus2, to_ends) = _winding_ends(transformer)
        for bus, ends in ((bus1, from_ends), (bus2, to_ends)):
            self._use(bus, tuple(phase for end in ends for phase in end if 0 <= phase < EARTH))
        side, neutral, taps = _taps(high, low)
        v_from_kv, v_to_kv = _winding_kv(high, transformer.phases), _winding_kv(low, transformer.phases)
        self._ratios.append((bus1, bus2, _line_kv(v_from_kv, v_to_kv, from_ends, to_ends)))
        self.builder.transformer(
            f"transformer.{transformer.name}",
            bus1,
            bus2,
            Windings(from_ends, to_ends),
            s_kva=high.kva / transformer.phases,
            v_from_kv=v_from_kv,
            v_to_kv=v_to_kv,
            r_pu=(high.r_percent + low.r_percent) / 100,
            x_pu=transformer.xhl_percent / 100,
            earth_ppm=transformer.earth_ppm,
            bank=transformer.bank,
            tap_side=side,
            tap_neutral=0,
            tap_position=neutral,
            **taps,  # type: ignore[arg-type]
        )

    def _load(self, load: Load) -> None:
        bus, delta, columns, unit_kv = _units(load.bus, load.phases, load.delta, load.kv)
        self._use(bus, _unit_phases(columns, delta))
        if load.delta and not delta:
            self.builder.notes.append(
                f"load.{load.name} is in delta but has one node only: it goes to earth, as in OpenDSS"
            )
        zip_p, zip_q = _zip_of(load)
        kvar = load.kvar
        if kvar is None:
            kvar = math.copysign(load.kw * math.sqrt(1 / load.pf**2 - 1), load.pf) if load.pf else 0.0
        self.builder.consumer(
            f"load.{load.name}",
            bus,
            p_kw=_shared(load.kw, columns),
            q_kvar=_shared(kvar, columns),
            v_kv=unit_kv,
            delta=delta,
            zip_p=zip_p,
            zip_q=zip_q,
            v_min_pu=load.v_min_pu,
            v_max_pu=load.v_max_pu,
            customers=load.customers,
        )

    def _capacitor(self, capacitor: Capacitor) -> None:
        bus, delta, columns, unit_kv = _units(capacitor.bus, capacitor.phases, capacitor.delta, capacitor.kv)
        self._use(bus, _unit_phases(columns, delta))
        q_kvar = _shared(-capacitor.kvar, columns)
        self.builder.shunt(f"capacitor.{capacitor.name}", bus, q_kvar=q_kvar, v_kv=unit_kv, delta=delta)


def source_impedance(source: Source) -> Complexes:
    """Phase impedances, as they are given or from the three-phase and single-phase short-circuit powers, ohm.

    Raises:
        ValueProblem: some of the impedances are given, but not all.
    """
    given = [value for value in (source.r1, source.x1, source.r0, source.x0) if value is not None]
    if given:
        if len(given) < 4:
            raise ValueProblem("r1, x1, r0 and x0 have to be given together")
        return sequence_matrix(complex(given[0], given[1]), complex(given[2], given[3]), 3)
    x1 = source.kv**2 / source.mva_sc3 / math.sqrt(1 + 1 / source.x1r1**2)
    r1 = x1 / source.x1r1
    # |2 Z1 + Z0| = 3 V / I of the single-phase fault, with X0 = R0 * x0r0: a quadratic equation for R0
    limit = 3 * source.kv**2 / source.mva_sc1
    a, b = 1 + source.x0r0**2, 4 * (r1 + x1 * source.x0r0)
    c = 4 * (r1**2 + x1**2) - limit**2
    r0 = (-b + math.sqrt(max(b**2 - 4 * a * c, 0.0))) / (2 * a)
    z1, z0 = complex(r1, x1), complex(r0, r0 * source.x0r0)
    return sequence_matrix(z1, z0, 3)


def _winding_ends(transformer: Transformer) -> tuple[tuple[str, Ends], tuple[str, Ends]]:
    """Bus and unit ends of both windings. In mixed connections the low side lags by 30 degrees, or leads."""
    high, low = transformer.windings
    onward = True
    if high.delta != low.delta:
        upper = high if high.kv >= low.kv else low
        onward = upper.delta == transformer.lead
    return _ends(high, transformer.phases, onward), _ends(low, transformer.phases, onward)


def _ends(winding: Winding, phases: int, onward: bool) -> tuple[str, Ends]:
    if phases == 3:
        bus, at = _phases(winding.bus, 3)
        other = [at[(i + (1 if onward else 2)) % 3] if winding.delta else EARTH for i in range(3)]
        return bus, tuple(zip(at, other, strict=True))
    text = winding.bus if winding.bus.count(".") >= 2 or winding.delta else f"{winding.bus}.0"
    bus, nodes = _bus(text if "." in winding.bus else f"{winding.bus}.1.0", 2)
    plus, minus = (EARTH if node == 0 else node - 1 for node in nodes)
    return bus, ((plus, minus), (ABSENT, ABSENT), (ABSENT, ABSENT))


def _winding_kv(winding: Winding, phases: int) -> float:
    return winding.kv / SQRT3 if phases == 3 and not winding.delta else winding.kv


def _line_kv(v_from_kv: float, v_to_kv: float, from_ends: Ends, to_ends: Ends) -> float:
    """Ratio of the line-to-line voltages, of the low over the high side."""
    factors = [SQRT3 if ends[0][1] == EARTH else 1.0 for ends in (from_ends, to_ends)]
    return v_to_kv * factors[1] / (v_from_kv * factors[0])


def _taps(high: Winding, low: Winding) -> tuple[int, int, dict[str, float]]:
    """Tap side, position, and limits and step of the winding whose tap is off nominal (else of the low side)."""
    if high.tap != 1 and low.tap != 1:
        raise ValueProblem("taps off nominal on both windings are not supported")
    side = 0 if high.tap != 1 else 1
    winding = (high, low)[side]
    if winding.taps < 1 or winding.tap_most <= winding.tap_least:
        raise ValueProblem("its tap changer has no range")
    step = (winding.tap_most - winding.tap_least) / winding.taps
    position = (winding.tap - 1) / step
    if abs(position - round(position)) > _STEP_TOLERANCE:
        raise ValueProblem(f"the tap {winding.tap:g} lies between two of its steps of {step:g}")
    least, most = round((winding.tap_least - 1) / step), round((winding.tap_most - 1) / step)
    return side, round(position), {"tap_min": least, "tap_max": most, "tap_step_percent": 100 * step}


def _units(bus_text: str, phases: int, delta: bool, kv: float) -> tuple[str, bool, tuple[int, ...], float]:
    """Bus, whether its units lie between phases, their columns, and the voltage of a unit.

    A single-phase unit with one node goes to earth even in delta: the node that OpenDSS fills in is 0.
    """
    if phases == 1:
        nodes_given = bus_text.count(".")
        if nodes_given < 2:
            bus, (phase,) = _phases(bus_text, 1)
            return bus, False, (phase,), kv
        bus, pair = _phases(bus_text, 2)
        first, second = pair
        return bus, True, (first if (first + 1) % 3 == second else second,), kv
    if delta and phases != 3:
        raise ValueProblem(f"a delta of {phases} phases is not supported")
    bus, at = _phases(bus_text, phases)
    return bus, delta, at, kv if delta else kv / SQRT3


def _unit_phases(columns: tuple[int, ...], delta: bool) -> tuple[int, ...]:
    return columns + tuple((column + 1) % 3 for column in columns if delta)


def _shared(total: float, columns: tuple[int, ...]) -> list[Unit]:
    return [total / len(columns) if column in columns else None for column in range(3)]


def _zip_of(load: Load) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    if load.model in _ZIP:
        return _ZIP[load.model], _ZIP[load.model]
    if load.model == 3:
        return CONSTANT_POWER, CONSTANT_IMPEDANCE
    if load.model == 4 and {load.cvr_p, load.cvr_q} <= set(_EXPONENTS):
        return _EXPONENTS[load.cvr_p], _EXPONENTS[load.cvr_q]
    raise ValueProblem(f"the load model {load.model} with its exponents is not supported")
