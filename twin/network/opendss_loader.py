"""Reads an OpenDSS circuit into a compiled three-phase network.

OpenDSS is a file format here: nothing is solved, taps and capacitors stay where the file puts them, and controls
are left out (``ThreePhaseNetwork.notes`` names them). Only the part of the language that the IEEE 13 and 34 node
test feeders use is taken: one source of three phases, lines and line codes by matrices or sequences,
transformers of two windings (three-phase, or single-phase as in regulator banks), loads of the models 1 to 5,
capacitors. Everything else is a finding with its file and line, and all findings are raised at once.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, fields
from pathlib import Path

from twin.errors import Blame, TwinError
from twin.network.builder import NetworkDataError
from twin.network.opendss_circuit import assemble
from twin.network.opendss_elements import CLASSES, LEFT_OUT, PROPERTIES, Element
from twin.network.opendss_syntax import OpenDssFinding, Parameter, Place, Statement, ValueProblem, read_script
from twin.network.three_phase import ThreePhaseNetwork

_LISTED = 20
_WITHOUT_EFFECT = frozenset(
    {"clear", "solve", "calcv", "calcvoltagebases", "show", "export", "plot", "interpolate", "visualize"}
)
_OPTIONS_WITHOUT_EFFECT = frozenset({"controlmode", "maxcontroliter", "maxiterations", "tolerance", "marktransformers"})


class UnsupportedCircuitError(TwinError):
    """An OpenDSS script holds what is not understood; carries all findings, its sentence lists the first of them."""

    blame = Blame.SCENARIO

    def __init__(self, script: str, findings: tuple[OpenDssFinding, ...]) -> None:
        self.script = script
        self.findings = findings
        listed = "; ".join(str(finding) for finding in findings[:_LISTED])
        more = f"; and {len(findings) - _LISTED} more" if len(findings) > _LISTED else ""
        super().__init__(f"the OpenDSS script {script} cannot be loaded: {listed}{more}")


@dataclass
class Circuit:
    """What a script says: the elements by class and name, voltage bases (kV), coordinates by bus, and findings."""

    name: str = ""
    frequency_hz: float = 60.0
    voltage_bases_kv: list[float] = field(default_factory=list)
    elements: dict[str, dict[str, Element]] = field(default_factory=lambda: {kind: {} for kind in CLASSES})
    left_out: list[str] = field(default_factory=list)
    coordinates: dict[str, tuple[float, float]] = field(default_factory=dict)
    findings: list[OpenDssFinding] = field(default_factory=list)


def load_opendss(path: Path, *, name: str = "") -> ThreePhaseNetwork:
    """The compiled network of the OpenDSS script at ``path``, called ``name`` (default: the circuit's name).

    Names are in lower case, as OpenDSS has them: nodes ``671``, everything else with its class,
    ``line.650632``, ``transformer.reg1``. A line with ``Switch=yes`` becomes a switch ``line.671692``; if its impedance
    is not negligible, also a line ``line.671692.impedance`` behind it.

    Raises:
        UnsupportedCircuitError: with every finding.
    """
    circuit = read_circuit(path)
    network = None if circuit.findings else _assembled(circuit, name or circuit.name, path)
    if network is None:
        raise UnsupportedCircuitError(path.name, tuple(circuit.findings))
    return network


def _assembled(circuit: Circuit, name: str, path: Path) -> ThreePhaseNetwork | None:
    notes = tuple(circuit.left_out)
    try:
        builder, findings = assemble(circuit, name, notes)
        circuit.findings += findings
        return None if findings else builder.build()
    except NetworkDataError as contradiction:
        circuit.findings.append(OpenDssFinding(Place(path.name, 0), str(contradiction)))
        return None


def read_circuit(path: Path) -> Circuit:
    """What the script at ``path`` and all it redirects to say; findings are collected, not raised."""
    script = read_script(path)
    circuit = Circuit(findings=script.findings)
    for statement in script.statements:
        _Interpreter(circuit).run(statement)
    if not circuit.elements["vsource"]:
        circuit.findings.append(OpenDssFinding(Place(path.name, 0), "the script makes no circuit"))
    return circuit


@dataclass
class _Interpreter:
    """Carries out statements on a circuit."""

    circuit: Circuit

    def run(self, statement: Statement) -> None:
        if statement.command in _WITHOUT_EFFECT:
            return
        commands = {"new": self._new, "edit": self._edit, "set": self._set, "buscoords": self._coordinates}
        if statement.command not in commands:
            self._find(statement.place, f"the command {statement.command} is not understood")
            return
        commands[statement.command](statement)

    def _find(self, place: Place, text: str) -> None:
        self.circuit.findings.append(OpenDssFinding(place, text))

    def _name(self, statement: Statement) -> tuple[str, str, list[Parameter]]:
        """Class and name of the element a statement is about, and the other parameters."""
        if not statement.parameters:
            return "", "", []
        first, *others = statement.parameters
        kind, _, name = (first.text if first.name in ("", "object") else "").lower().partition(".")
        return kind, name, others

    def _new(self, statement: Statement) -> None:
        kind, name, parameters = self._name(statement)
        if kind == "circuit":
            self.circuit.name, kind, name = name, "vsource", "source"
        if kind in LEFT_OUT:
            self.circuit.left_out.append(f"{kind}.{name} is left out: {LEFT_OUT[kind]}")
            return
        if kind not in CLASSES or not name:
            self._find(statement.place, f"elements of the class {kind or '(none)'} are not supported")
            return
        if name in self.circuit.elements[kind]:
            self._find(statement.place, f"there is a second {kind}.{name}")
            return
        element = CLASSES[kind](name, statement.place)
        self.circuit.elements[kind][name] = element
        self._apply(kind, element, parameters)

    def _edit(self, statement: Statement) -> None:
        kind, name, parameters = self._name(statement)
        if kind in LEFT_OUT:
            return
        element = self.circuit.elements.get(kind, {}).get(name)
        if element is None:
            self._find(statement.place, f"there is no element {kind}.{name}")
            return
        self._apply(kind, element, parameters)

    def _apply(self, kind: str, element: Element, parameters: list[Parameter]) -> None:
        for parameter in parameters:
            if parameter.name == "like":
                self._copy(kind, element, parameter)
                continue
            setter = PROPERTIES[kind].get(parameter.name)
            if setter is None:
                what = f"the property {parameter.name}" if parameter.name else f"the value {parameter.value}"
                self._find(parameter.place, f"{what} of {kind}.{element.name} is not understood")
                continue
            try:
                setter(element, parameter)
            except ValueProblem as problem:
                self._find(parameter.place, f"{kind}.{element.name}: {problem}")

    def _copy(self, kind: str, element: Element, parameter: Parameter) -> None:
        """Everything but the name from another element of the class; what follows changes it."""
        other = self.circuit.elements[kind].get(parameter.text.lower())
        if other is None:
            self._find(
                parameter.place, f"{kind}.{element.name}: there is no {kind}.{parameter.text.lower()} to be like"
            )
            return
        for field_of in fields(other):
            if field_of.name not in ("name", "place"):
                setattr(element, field_of.name, deepcopy(getattr(other, field_of.name)))

    def _set(self, statement: Statement) -> None:
        for parameter in statement.parameters:
            try:
                self._set_option(parameter)
            except ValueProblem as problem:
                self._find(parameter.place, f"option {parameter.name}: {problem}")

    def _set_option(self, option: Parameter) -> None:
        if option.name == "defaultbasefrequency":
            self.circuit.frequency_hz = option.number()
        elif option.name == "voltagebases":
            self.circuit.voltage_bases_kv = option.numbers()
        elif option.name not in _OPTIONS_WITHOUT_EFFECT:
            self._find(option.place, f"the option {option.name} is not understood")

    def _coordinates(self, statement: Statement) -> None:
        path = statement.folder / (statement.parameters[0].text if statement.parameters else "")
        if not path.is_file():
            self._find(statement.place, f"there is no file {path.name}")
            return
        for number, row in enumerate(_cells(path), start=1):
            try:
                bus, x, y = row[0].lower(), float(row[1]), float(row[2])
            except (ValueError, IndexError):
                self._find(Place(path.name, number), "this is no bus with two coordinates")
                continue
            self.circuit.coordinates[bus] = (x, y)


def _cells(path: Path) -> Iterator[list[str]]:
    text = path.read_text(encoding="utf-8", errors="replace")
    rows = csv.reader(line for line in text.replace("\t", ",").splitlines() if line.strip())
    for row in rows:
        cells = [cell.strip() for cell in row if cell.strip()]
        yield cells if len(cells) > 1 else cells[0].split()
