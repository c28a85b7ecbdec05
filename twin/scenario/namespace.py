"""The names a scenario may use for the plant and the control room, and the state they are read from.

The state is filled by whoever runs the world; nothing here calculates a network.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from twin.network.model import Bools, EquipmentKind, EquipmentRef, Floats, Network
from twin.points.model import DoublePosition, PointDefinition, PointKind
from twin.scenario.expression import Namespace, Quantity
from twin.timebase import SimTime
from twin.units import Unit

Positions = NDArray[np.int8]
"""``DoublePosition`` values."""


@dataclass(frozen=True, slots=True)
class PlantState:
    """What conditions can see at one cycle; arrays in the order of the network's tables.

    Switch quantities count positive from the switch's node into its branch. ``loading`` and
    ``branch_i_a`` (larger end) go over the branches, lines first. ``closed_onto_fault`` is True at a cycle in which
    a switch was closed onto a fault. ``scada_position`` holds the control room's telemetered position
    of each switch. ``calculated`` are the calculated points of the namespace, NaN where they must not be used.
    ``v_min_pu`` and ``v_max_pu`` go over energised nodes and are NaN if there is none. ``f_hz`` is the frequency of
    each node, 0 where dead; ``frequency_min`` the lowest of any live island since the cycle before, NaN if none is.
    """

    t_ms: SimTime
    closed: Bools
    v_pu: Floats
    energised: Bools
    switch_i_a: Floats
    switch_p_kw: Floats
    switch_q_kvar: Floats
    branch_i_a: Floats
    loading: Floats
    scada_position: Positions
    customers_interrupted: int
    loading_max: float
    v_min_pu: float
    v_max_pu: float
    loops: int = 0
    closed_onto_fault: bool = False
    faults_active: int = 0
    alarms_active: int = 0
    plans_made: int = 0
    plans_done: int = 0
    plans_rejected: int = 0
    calculated: Floats = field(default_factory=lambda: np.zeros(0))
    f_hz: Floats = field(default_factory=lambda: np.zeros(0))
    frequency_min: float = float("nan")


SCALARS: dict[str, tuple[Unit, str]] = {
    "time": (Unit.MILLISECOND, "t_ms"),
    "customers_interrupted": (Unit.COUNT, "customers_interrupted"),
    "loading_max": (Unit.FRACTION, "loading_max"),
    "v_min_pu": (Unit.PER_UNIT, "v_min_pu"),
    "v_max_pu": (Unit.PER_UNIT, "v_max_pu"),
    "frequency_min": (Unit.HERTZ, "frequency_min"),
    "loops": (Unit.COUNT, "loops"),
    "closed_onto_fault": (Unit.BOOLEAN, "closed_onto_fault"),
    "faults_active": (Unit.COUNT, "faults_active"),
    "alarms_active": (Unit.COUNT, "alarms_active"),
    "plans_made": (Unit.COUNT, "plans_made"),
    "plans_done": (Unit.COUNT, "plans_done"),
    "plans_rejected": (Unit.COUNT, "plans_rejected"),
}
"""Names without a dot: unit and field of :class:`PlantState`."""

_SWITCH = {
    "position": (Unit.POSITION, "closed"),
    "i_a": (Unit.AMPERE, "switch_i_a"),
    "p_kw": (Unit.KILOWATT, "switch_p_kw"),
    "q_kvar": (Unit.KILOVAR, "switch_q_kvar"),
}
_NODE = {
    "v_pu": (Unit.PER_UNIT, "v_pu"),
    "v_kv": (Unit.KILOVOLT, "v_pu"),
    "f_hz": (Unit.HERTZ, "f_hz"),
    "energised": (Unit.BOOLEAN, "energised"),
}
_BRANCH = {"loading": (Unit.FRACTION, "loading"), "i_a": (Unit.AMPERE, "branch_i_a")}

ATTRIBUTES: dict[EquipmentKind, dict[str, tuple[Unit, str]]] = {
    EquipmentKind.SWITCH: _SWITCH,
    EquipmentKind.NODE: _NODE,
    EquipmentKind.LINE: _BRANCH,
    EquipmentKind.TRANSFORMER: _BRANCH,
    EquipmentKind.CONSUMER: {"supplied": (Unit.BOOLEAN, "energised")},
}
"""What equipment of a kind can be asked for: unit and field of :class:`PlantState`."""

SCADA_PREFIX = "scada."
GOOD = "good"
"""Behind the name of a calculated point: whether it may be used."""


class EquipmentNames(Namespace, Protocol):
    """A namespace that also knows which equipment there is."""

    def equipment(self, kind: EquipmentKind) -> Collection[str]:
        """The names of all equipment of a kind."""
        ...

    def kind_of(self, name: str) -> EquipmentKind | None:
        """The kind of an equipment, None if there is none of this name."""
        ...


class PlantNamespace:
    """Names over a network, read from a :class:`PlantState`.

    ``CB_1.position``, ``N8.v_pu``, ``L3-8.loading``, ``scada.CB_1.position``, ``customers_interrupted``, and the
    ``calculated`` points of the control room by their names, in the order of the state's array; with ``.good`` behind
    it such a name is true while the value may be used.
    """

    def __init__(self, network: Network, calculated: Sequence[PointDefinition] = ()) -> None:
        self.network = network
        self.calculated = tuple(calculated)
        self._calculated = {point.name: row for row, point in enumerate(self.calculated)}

    def lookup(self, name: str) -> Quantity | None:
        """The quantity called ``name``, or None."""
        if name in SCALARS:
            unit, field = SCALARS[name]
            return Quantity(name, unit, _scalar(field))
        owner, _, attribute = name.rpartition(".")
        if name in self._calculated:
            row = self._calculated[name]
            return Quantity(name, _unit_of(self.calculated[row]), _element("calculated", row, 1.0))
        if owner in self._calculated and attribute == GOOD:
            return Quantity(name, Unit.BOOLEAN, _is_known(self._calculated[owner]))
        equipment = self.network.find(owner)
        if equipment is not None:
            return self._of_equipment(name, equipment, attribute)
        return self._of_scada(name, owner, attribute)

    def names(self) -> Iterator[str]:
        """Every name."""
        yield from SCALARS
        for name, equipment in self.network.index.items():
            for attribute in ATTRIBUTES.get(equipment.kind, {}):
                yield f"{name}.{attribute}"
        for switch in self.network.switches.names:
            yield f"{SCADA_PREFIX}{switch}.position"
        yield from self._calculated

    def equipment(self, kind: EquipmentKind) -> Collection[str]:
        """The names of all equipment of a kind."""
        return self._by_kind.get(kind, ())

    def kind_of(self, name: str) -> EquipmentKind | None:
        """The kind of an equipment, None if there is none of this name."""
        equipment = self.network.find(name)
        return equipment.kind if equipment else None

    @cached_property
    def _by_kind(self) -> dict[EquipmentKind, Sequence[str]]:
        kinds: dict[EquipmentKind, list[str]] = {}
        for name, equipment in self.network.index.items():
            kinds.setdefault(equipment.kind, []).append(name)
        return {kind: tuple(names) for kind, names in kinds.items()}

    def _of_equipment(self, name: str, equipment: EquipmentRef, attribute: str) -> Quantity | None:
        found = ATTRIBUTES.get(equipment.kind, {}).get(attribute)
        if found is None:
            return None
        unit, field = found
        row = self._row(equipment)
        if attribute == "position":
            return Quantity(name, unit, _plant_position(row))
        factor = float(self.network.nodes.v_nominal_kv[row]) if attribute == "v_kv" else 1.0
        return Quantity(name, unit, _element(field, row, factor))

    def _row(self, equipment: EquipmentRef) -> int:
        """The row of the state's array that an attribute of this equipment is read from."""
        if equipment.kind is EquipmentKind.TRANSFORMER:
            return self.network.lines.n + equipment.index
        if equipment.kind is EquipmentKind.CONSUMER:
            return int(self.network.consumers.node[equipment.index])
        return equipment.index

    def _of_scada(self, name: str, owner: str, attribute: str) -> Quantity | None:
        switch = self.network.find(owner.removeprefix(SCADA_PREFIX)) if owner.startswith(SCADA_PREFIX) else None
        if switch is None or switch.kind is not EquipmentKind.SWITCH or attribute != "position":
            return None
        return Quantity(name, Unit.POSITION, _element("scada_position", switch.index, 1.0))


def _scalar(field: str) -> Callable[[Any], float]:
    return lambda state: float(getattr(state, field))


def _element(field: str, row: int, factor: float) -> Callable[[Any], float]:
    return lambda state: float(getattr(state, field)[row]) * factor


def _is_known(row: int) -> Callable[[Any], float]:
    return lambda state: float(not np.isnan(state.calculated[row]))


def _unit_of(point: PointDefinition) -> Unit:
    if point.kind is PointKind.SINGLE:
        return Unit.BOOLEAN
    return Unit(point.unit) if point.unit else Unit.COUNT


def _plant_position(row: int) -> Callable[[Any], float]:
    return lambda state: float(DoublePosition.CLOSED if state.closed[row] else DoublePosition.OPEN)
