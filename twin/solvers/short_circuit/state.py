"""One topology, factorised: everything that faults under the same switch states share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from twin.network.model import Bools, Ints
from twin.network.topology import Topology
from twin.solvers.model import FaultPlace, MissingZeroSequenceError
from twin.solvers.short_circuit import factor
from twin.solvers.short_circuit.buses import Buses, buses
from twin.solvers.short_circuit.elements import Elements
from twin.solvers.short_circuit.factor import Factor
from twin.solvers.short_circuit.machines import Complex


@dataclass(frozen=True, slots=True)
class Site:
    """A fault place on the buses: between ``a`` and ``b`` at ``position`` of ``line`` (-1 and a == b at a node)."""

    a: int
    b: int
    position: float
    line: int
    v_kv: float
    resistance_pu: float

    @property
    def amperes(self) -> float:
        """One per unit of current."""
        return 1e3 / (float(np.sqrt(3.0)) * self.v_kv)


class State:
    """Buses and factors for one set of switch states."""

    def __init__(self, elements: Elements, topology: Topology, closed: Bools) -> None:
        self.elements = elements
        self.buses: Buses = buses(elements, topology, closed)
        converters = elements.units.converters
        at = self.buses.of_node[converters.node]
        live = self.buses.fed[at]
        self.converter_bus: Ints = at[live]
        self.converter_pu = converters.i_pu[live]

    @cached_property
    def positive(self) -> Factor:
        return factor.positive(self.elements, self.buses)

    @cached_property
    def peak(self) -> Factor:
        return factor.positive(self.elements, self.buses, peak=True)

    @cached_property
    def without_motors(self) -> Factor:
        return factor.positive(self.elements, self.buses, motors=False)

    @cached_property
    def zero(self) -> Factor:
        return factor.zero(self.elements, self.buses)

    def site(self, place: FaultPlace) -> Site | None:
        """Where a fault place is; None if no voltage reaches it."""
        network = self.elements.network
        if place.line >= 0:
            a, b = self.buses.ends[:, place.line].tolist()
            node = int(network.lines.node_from[place.line])
            position = place.position
        else:
            a = b = int(self.buses.of_node[place.node])
            node, position = place.node, 0.0
        if a < 0 or not self.buses.fed[a]:
            return None
        v_kv = float(network.nodes.v_nominal_kv[node])
        return Site(a, b, position, place.line, v_kv, place.resistance_ohm / v_kv**2)

    def driving_voltage(self, site: Site) -> float:
        """c of the fault's voltage level, pu."""
        return float(self.elements.settings.voltage_factor(np.array([site.v_kv]))[0])

    def check_zero_sequence(self, sites: list[Site]) -> None:
        """Refuse earth faults in parts of the network whose zero-sequence data are incomplete.

        Raises:
            MissingZeroSequenceError: with all equipment of those parts that states too little.
        """
        parts = {int(self.buses.part0[site.a]) for site in sites if self.buses.unknown0[site.a]}
        if parts:
            raise MissingZeroSequenceError(self.elements.network.name, self._unknown_equipment(parts))

    def _unknown_equipment(self, parts: set[int]) -> tuple[str, ...]:
        elements, part0 = self.elements, self.buses.part0
        wanted = np.array(sorted(parts))
        rows = np.flatnonzero(self.buses.live & elements.unknown0)
        touching = np.isin(part0[self.buses.ends[:, rows]], wanted).any(axis=0)
        infeed = elements.units.infeed
        feeding = np.flatnonzero(elements.unknown_infeed0)
        near = np.isin(part0[self.buses.of_node[infeed.node[feeding]]], wanted)
        names = elements.network.branch_names
        return (*(names[row] for row in rows[touching]), *(infeed.names[row] for row in feeding[near]))

    def injection(self, site: Site, current: complex = 1.0) -> Complex:
        """Bus currents that stand for one at the site."""
        column = np.zeros(self.buses.n, dtype=np.complex128)
        column[site.a] += (1.0 - site.position) * current
        column[site.b] += site.position * current
        return column

    def seen_at(self, site: Site, voltage: Complex) -> complex:
        """A voltage between the ends of the line, in the straight between them."""
        return complex((1.0 - site.position) * voltage[site.a] + site.position * voltage[site.b])


def bridge(one: Site, other: Site, z: Complex) -> complex:
    """What sites on the same line have in common beyond its ends."""
    if one.line < 0 or one.line != other.line:
        return 0j
    low, high = sorted((one.position, other.position))
    return complex(low * (1.0 - high) * z[one.line])
