"""The elements of an OpenDSS circuit as their properties leave them: order counts, as in OpenDSS itself.

Each class has a table of the properties it takes. What is not in a table is a finding, never ignored
silently. Not for the network: :mod:`twin.network.opendss_loader` makes that from the elements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twin.network.opendss_syntax import Parameter, Place, ValueProblem
from twin.network.three_phase import Complexes

METRES = {"mi": 1609.344, "kft": 304.8, "km": 1000.0, "m": 1.0, "ft": 0.3048, "in": 0.0254, "cm": 0.01}
Setter = Callable[[Any, Parameter], None]


@dataclass
class Element:
    """An element with its name in lower case and where it was made; ``base_frequency_hz`` None as the circuit's."""

    name: str
    place: Place
    base_frequency_hz: float | None = field(default=None, kw_only=True)


def _units(parameter: Parameter) -> str:
    units = parameter.text.lower()
    if units not in METRES and units != "none":
        raise ValueProblem(f"the unit of length {parameter.text} is not known")
    return units


def _connection(text: str) -> bool:
    """True for delta."""
    if text.lower() in ("delta", "ll"):
        return True
    if text.lower() in ("wye", "y", "ln"):
        return False
    raise ValueProblem(f"the connection {text} is neither wye nor delta")


def sequence_matrix(positive: complex, zero: complex, n: int) -> Complexes:
    """The matrix of a transposed line of ``n`` phases; one of a single phase has the positive sequence value."""
    if n == 1:
        return np.array([[positive]], dtype=np.complex128)
    own, mutual = (2 * positive + zero) / 3, (zero - positive) / 3
    return np.asarray(np.full((n, n), mutual) + (own - mutual) * np.eye(n), dtype=np.complex128)


def _square(parameter: Parameter, n: int) -> Complexes:
    """A symmetric matrix given whole or by its lower triangle."""
    rows = parameter.rows()
    if len(rows) != n or any(len(row) not in (i + 1, n) for i, row in enumerate(rows)):
        raise ValueProblem(f"{parameter.name} is not a matrix of {n} rows")
    matrix = np.zeros((n, n), dtype=np.complex128)
    for i, row in enumerate(rows):
        matrix[i, : len(row)] = row
        if len(row) == i + 1:
            matrix[:i, i] = row[:i]
    return matrix


@dataclass
class Impedances(Element):
    """What line codes and lines share: impedances per unit of length, by sequence or by matrices."""

    phases: int = 3
    units: str = "none"
    sequence: dict[str, float] = field(
        default_factory=lambda: {"r1": 0.058, "x1": 0.1206, "r0": 0.1784, "x0": 0.4047, "c1": 3.4, "c0": 1.6}
    )
    matrices: dict[str, Complexes] = field(default_factory=dict)
    i_max_a: float = float("nan")

    def set_phases(self, parameter: Parameter) -> None:
        self.phases = parameter.whole()
        if not 1 <= self.phases <= 3:
            raise ValueProblem(f"{self.phases} phases are not supported")
        self.matrices = {}

    def set_sequence(self, parameter: Parameter) -> None:
        self.sequence[parameter.name] = parameter.number()
        self.matrices = {}

    def set_matrix(self, parameter: Parameter) -> None:
        self.matrices[parameter.name[0]] = _square(parameter, self.phases)

    def set_units(self, parameter: Parameter) -> None:
        self.units = _units(parameter)

    def set_rating(self, parameter: Parameter) -> None:
        self.i_max_a = parameter.number()

    def part(self, letter: str) -> Complexes:
        """R, X (ohm) or C (nF) per unit of length."""
        if letter in self.matrices:
            return self.matrices[letter]
        return sequence_matrix(self.sequence[f"{letter}1"], self.sequence[f"{letter}0"], self.phases)


def _ignore(element: Element, parameter: Parameter) -> None:
    """For properties that do not matter to a power flow at rated demand."""


def _base_frequency(element: Element, parameter: Parameter) -> None:
    element.base_frequency_hz = parameter.number()


_IMPEDANCE_PROPERTIES: dict[str, Setter] = {
    "units": Impedances.set_units,
    "normamps": Impedances.set_rating,
    "emergamps": _ignore,
    "basefreq": _base_frequency,
    **dict.fromkeys(("r1", "x1", "r0", "x0", "c1", "c0"), Impedances.set_sequence),
    **dict.fromkeys(("rmatrix", "xmatrix", "cmatrix"), Impedances.set_matrix),
}


class LineCode(Impedances):
    """A line code."""


@dataclass
class Line(Impedances):
    """A line, or a switch: ``Switch=yes`` replaces its impedance by one of a milliohm, which may be set again."""

    bus1: str = ""
    bus2: str = ""
    length: float = 1.0
    linecode: str = ""
    switch: bool = False

    def set_switch(self, parameter: Parameter) -> None:
        self.switch = parameter.truth()
        if self.switch:
            self.sequence = {"r1": 1.0, "x1": 1.0, "r0": 1.0, "x0": 1.0, "c1": 1.1, "c0": 1.0}
            self.matrices, self.linecode, self.length, self.units = {}, "", 0.001, "none"

    def set_linecode(self, parameter: Parameter) -> None:
        self.linecode = parameter.text.lower()

    def set_own(self, parameter: Parameter) -> None:
        """Impedances of its own replace those of the line code."""
        self.linecode = ""
        (Impedances.set_sequence if parameter.name[1:] in "10" else Impedances.set_matrix)(self, parameter)


@dataclass
class Winding:
    """A winding of a transformer; ``r_percent`` on the rating of the winding."""

    bus: str = ""
    delta: bool = False
    kv: float = 12.47
    kva: float = 1000.0
    tap: float = 1.0
    r_percent: float = 0.2
    tap_least: float = 0.9
    tap_most: float = 1.1
    taps: int = 32


@dataclass
class Transformer(Element):
    """A transformer of two windings."""

    phases: int = 3
    windings: list[Winding] = field(default_factory=lambda: [Winding(), Winding()])
    active: int = 0
    xhl_percent: float = 7.0
    bank: str = ""
    earth_ppm: float = 1.0
    lead: bool = False

    def set_windings(self, parameter: Parameter) -> None:
        if parameter.whole() != 2:
            raise ValueProblem("only transformers of two windings are supported")

    def set_active(self, parameter: Parameter) -> None:
        if parameter.whole() not in (1, 2):
            raise ValueProblem(f"there is no winding {parameter.text}")
        self.active = parameter.whole() - 1

    def set_phases(self, parameter: Parameter) -> None:
        self.phases = parameter.whole()
        if self.phases not in (1, 3):
            raise ValueProblem(f"a transformer of {self.phases} phases is not supported")

    def set_rating(self, parameter: Parameter) -> None:
        """The rating of the first winding is that of all, until they get their own."""
        self.windings[self.active].kva = parameter.number()
        if self.active == 0:
            self.windings[1].kva = parameter.number()

    def set_reactance(self, parameter: Parameter) -> None:
        self.xhl_percent = parameter.number()

    def set_load_loss(self, parameter: Parameter) -> None:
        for winding in self.windings:
            winding.r_percent = parameter.number() / 2

    def set_lead(self, parameter: Parameter) -> None:
        if parameter.text.lower() not in ("lead", "lag", "ansi", "euro"):
            raise ValueProblem(f"{parameter.text} is neither lead nor lag")
        self.lead = parameter.text.lower() in ("lead", "euro")


def _text(attribute: str) -> Setter:
    return lambda element, parameter: setattr(element, attribute, parameter.text.lower())


def _number(attribute: str) -> Setter:
    return lambda element, parameter: setattr(element, attribute, parameter.number())


def _whole(attribute: str) -> Setter:
    return lambda element, parameter: setattr(element, attribute, parameter.whole())


def _delta(element: Any, parameter: Parameter) -> None:
    element.delta = _connection(parameter.text)


def _of_winding(setter: Setter) -> Setter:
    return lambda element, parameter: setter(element.windings[element.active], parameter)


def _of_all(setter: Setter) -> Setter:
    def set_all(element: Transformer, parameter: Parameter) -> None:
        words = parameter.words()
        if len(words) != len(element.windings):
            raise ValueProblem(f"{parameter.name} has {len(words)} values for {len(element.windings)} windings")
        for winding, word in zip(element.windings, words, strict=True):
            setter(winding, Parameter(parameter.name, word, parameter.place))

    return set_all


def _zero_only(element: Element, parameter: Parameter) -> None:
    if parameter.number() != 0:
        raise ValueProblem(f"{parameter.name} is only supported as 0")


@dataclass
class Load(Element):
    """A load."""

    phases: int = 3
    bus: str = ""
    delta: bool = False
    kv: float = 12.47
    kw: float = 10.0
    kvar: float | None = None
    pf: float = 0.88
    model: int = 1
    v_min_pu: float = 0.95
    v_max_pu: float = 1.05
    cvr_p: float = 1.0
    cvr_q: float = 2.0
    customers: int = 1

    def set_kvar(self, parameter: Parameter) -> None:
        self.kvar = parameter.number()

    def set_pf(self, parameter: Parameter) -> None:
        self.kvar, self.pf = None, parameter.number()


@dataclass
class Capacitor(Element):
    """A shunt capacitor bank of one step."""

    phases: int = 3
    bus: str = ""
    delta: bool = False
    kv: float = 12.47
    kvar: float = 1200.0

    def set_steps(self, parameter: Parameter) -> None:
        if parameter.whole() != 1:
            raise ValueProblem("only capacitors of one step are supported")


@dataclass
class Source(Element):
    """The voltage source of the circuit."""

    bus: str = "sourcebus"
    kv: float = 115.0
    pu: float = 1.0
    angle_deg: float = 0.0
    mva_sc3: float = 2000.0
    mva_sc1: float = 2100.0
    x1r1: float = 4.0
    x0r0: float = 3.0
    r1: float | None = None
    x1: float | None = None
    r0: float | None = None
    x0: float | None = None
    """Ohm; all four, or none and the short-circuit powers."""

    def set_phases(self, parameter: Parameter) -> None:
        if parameter.whole() != 3:
            raise ValueProblem("only sources of three phases are supported")


CLASSES: dict[str, type[Element]] = {
    "linecode": LineCode,
    "line": Line,
    "transformer": Transformer,
    "load": Load,
    "capacitor": Capacitor,
    "vsource": Source,
}

LEFT_OUT: dict[str, str] = {
    "regcontrol": "taps stay where the file puts them",
    "capcontrol": "capacitors stay switched as the file has them",
    "energymeter": "meters do not act on the circuit",
    "monitor": "monitors do not act on the circuit",
}
"""Classes that are read over, and why that is harmless."""

PROPERTIES: dict[str, dict[str, Setter]] = {
    "linecode": {"nphases": LineCode.set_phases, **_IMPEDANCE_PROPERTIES},
    "line": {
        **_IMPEDANCE_PROPERTIES,
        **dict.fromkeys(("r1", "x1", "r0", "x0", "c1", "c0", "rmatrix", "xmatrix", "cmatrix"), Line.set_own),
        "phases": Line.set_phases,
        "bus1": _text("bus1"),
        "bus2": _text("bus2"),
        "length": _number("length"),
        "linecode": Line.set_linecode,
        "switch": Line.set_switch,
    },
    "transformer": {
        "phases": Transformer.set_phases,
        "windings": Transformer.set_windings,
        "wdg": Transformer.set_active,
        "bus": _of_winding(_text("bus")),
        "conn": _of_winding(_delta),
        "kv": _of_winding(_number("kv")),
        "kva": Transformer.set_rating,
        "tap": _of_winding(_number("tap")),
        "%r": _of_winding(_number("r_percent")),
        "mintap": _of_winding(_number("tap_least")),
        "maxtap": _of_winding(_number("tap_most")),
        "numtaps": _of_winding(_whole("taps")),
        "buses": _of_all(_text("bus")),
        "conns": _of_all(_delta),
        "kvs": _of_all(_number("kv")),
        "kvas": _of_all(_number("kva")),
        "taps": _of_all(_number("tap")),
        "%rs": _of_all(_number("r_percent")),
        "xhl": Transformer.set_reactance,
        "x12": Transformer.set_reactance,
        "%loadloss": Transformer.set_load_loss,
        "%noloadloss": _zero_only,
        "%imag": _zero_only,
        "bank": _text("bank"),
        "ppm": _number("earth_ppm"),
        "ppm_antifloat": _number("earth_ppm"),
        "leadlag": Transformer.set_lead,
    },
    "load": {
        "phases": _whole("phases"),
        "bus1": _text("bus"),
        "conn": _delta,
        "kv": _number("kv"),
        "kw": _number("kw"),
        "kvar": Load.set_kvar,
        "pf": Load.set_pf,
        "model": _whole("model"),
        "vminpu": _number("v_min_pu"),
        "vmaxpu": _number("v_max_pu"),
        "cvrwatts": _number("cvr_p"),
        "cvrvars": _number("cvr_q"),
        "numcust": _whole("customers"),
        **dict.fromkeys(("daily", "yearly", "duty", "class", "status"), _ignore),
    },
    "capacitor": {
        "phases": _whole("phases"),
        "bus1": _text("bus"),
        "conn": _delta,
        "kv": _number("kv"),
        "kvar": _number("kvar"),
        "numsteps": Capacitor.set_steps,
    },
    "vsource": {
        "bus1": _text("bus"),
        "basekv": _number("kv"),
        "pu": _number("pu"),
        "angle": _number("angle_deg"),
        "phases": Source.set_phases,
        "mvasc3": _number("mva_sc3"),
        "mvasc1": _number("mva_sc1"),
        "x1r1": _number("x1r1"),
        "x0r0": _number("x0r0"),
        **{name: _number(name) for name in ("r1", "x1", "r0", "x0")},
        "basefreq": _base_frequency,
    },
}
