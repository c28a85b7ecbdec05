"""Voltage-dependent demand and constant generation per unit: currents for given voltages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array

from twin.network.model import Bools, Floats, Ints
from twin.network.three_phase import Complexes, ThreePhaseNetwork
from twin.solvers.three_phase.connectivity import Index


def unit_ends(node: Ints, delta: Bools, earth: int) -> tuple[Index, Index]:
    """Node phases of the two ends of the units ``(n, 3)``: A, B, C to earth, or in delta AB, BC, CA."""
    first = 3 * node.astype(np.int64)[:, np.newaxis] + np.arange(3)
    after = 3 * node.astype(np.int64)[:, np.newaxis] + np.array([1, 2, 0])
    return first, np.where(delta[:, np.newaxis], after, earth)


@dataclass(frozen=True, slots=True)
class Supplied:
    """The units with supply at both ends: ``on`` are their numbers, ``plus``/``minus`` the places of their ends."""

    on: Index
    plus: Index
    minus: Index

    def across(self, n: int) -> csr_array:
        """Unit voltages from those of the places ``(n_units, n)``; places from ``n`` on are earth."""
        rows = np.arange(len(self.on))
        row, column = np.concatenate([rows, rows]), np.concatenate([self.plus, self.minus])
        sign = np.repeat([1.0 + 0j, -1.0 + 0j], len(self.on))
        used = column < n
        return csr_array(coo_array((sign[used], (row[used], column[used])), shape=(len(self.on), n)))


class Demand:
    """The units of all consumers, then of all generators, that exist, as one flat list.

    ``rows`` are their places in the flattened ``(n_consumers + n_generators, 3)`` table.
    """

    def __init__(self, network: ThreePhaseNetwork) -> None:
        c, g = network.consumers, network.generators
        earth = 3 * network.nodes.n
        self.shape = (c.n + g.n, 3)
        self.n_consumers = c.n
        ends = [unit_ends(c.node, c.delta, earth), unit_ends(g.node, np.zeros(g.n, dtype=np.bool_), earth)]
        plus, minus = (np.concatenate([end[side] for end in ends]).ravel() for side in (0, 1))
        self.rows = np.flatnonzero(np.concatenate([c.units, g.units]).ravel())
        self.plus, self.minus = plus[self.rows], minus[self.rows]
        v_kv = np.concatenate([c.v_nominal_kv, network.nodes.v_nominal_kv[g.node] / np.sqrt(3)])
        ones = np.ones(g.n)
        self._v_base = self._spread(1e3 * v_kv)
        self._v_min = self._spread(np.concatenate([c.v_min_pu, 0 * ones]))
        self._v_max = self._spread(np.concatenate([c.v_max_pu, np.inf * ones]))
        constant_power = np.tile([1.0, 0.0, 0.0], (g.n, 1))
        each = self.rows // 3
        self._zip_p = np.ascontiguousarray(np.concatenate([c.zip_p, constant_power])[each].T)
        self._zip_q = np.ascontiguousarray(np.concatenate([c.zip_q, constant_power])[each].T)
        self._shares = np.zeros((3, len(self.rows)), dtype=np.complex128)
        self._constant_power = bool((self._v_min <= 0).all() and np.isinf(self._v_max).all())
        shares_power = (self._zip_p[0] == 1).all() and (self._zip_q[0] == 1).all()
        self._holds_power = self._constant_power and bool(
            shares_power and not self._zip_p[1:].any() and not self._zip_q[1:].any()
        )

    def _spread(self, per_row: Floats) -> Floats:
        return np.repeat(per_row, 3)[self.rows]

    def set(self, p_kw: Floats, q_kvar: Floats, generation_kw: Floats, generation_kvar: Floats) -> None:
        """Take the powers at nominal voltage."""
        power = 1e3 * np.concatenate([p_kw + 1j * q_kvar, -generation_kw - 1j * generation_kvar])
        at_nominal = power.ravel()[self.rows]
        if self._holds_power:
            self._shares[0] = at_nominal
            return
        self._shares = at_nominal.real * self._zip_p + 1j * at_nominal.imag * self._zip_q
        limited = (self._v_min > 0).any() or np.isfinite(self._v_max).any()
        self._constant_power = not (limited or self._shares[1:].any())

    def of(self, on: Index) -> tuple[Complexes, Floats, Floats, Floats, bool]:
        """Powers ``(3, n)`` held at constant power, current and impedance, in VA; base, least and most voltage."""
        limits = self._v_base[on], self._v_min[on], self._v_max[on]
        return np.ascontiguousarray(self._shares[:, on]), *limits, self._constant_power

    def admittance(self, volts: Complexes) -> Complexes:
        """Apparent admittance of each unit at the voltages over it: the current is this times the voltage."""
        square = volts.real**2 + volts.imag**2
        if self._constant_power:
            constant: Complexes = self._shares[0].conj() / square
            return constant
        v = np.sqrt(square) / self._v_base
        within = np.clip(v, self._v_min, self._v_max)
        power = self._shares[0] + within * (self._shares[1] + within * self._shares[2])
        apparent: Complexes = power.conj() / (within * self._v_base) ** 2
        return apparent

    def current(self, over: Complexes, on: Index) -> Complexes:
        """Currents of the units ``on`` at the voltages over them."""
        volts = np.ones(len(self.rows), dtype=np.complex128)
        volts[on] = over
        current: Complexes = self.admittance(volts)[on] * over
        return current

    def slope(self, volts: Complexes) -> Complexes:
        """Derivative of the apparent admittance by the magnitude of the voltage, S/V; 0 outside the voltage window."""
        v = np.abs(volts) / self._v_base
        inside = (v > self._v_min) & (v < self._v_max)
        by_v = -(2 * self._shares[0] / v + self._shares[1]).conj() / (v * self._v_base) ** 2
        slope: Complexes = np.where(inside, by_v / self._v_base, 0.0)
        return slope

    def collapsed(self, volts: Complexes, least_pu: float) -> Bools:
        """Units that hold their power or current at less than ``least_pu`` of their voltage."""
        v = np.abs(volts) / self._v_base
        stubborn = (self._shares[0] != 0) | (self._shares[1] != 0)
        return np.asarray(stubborn & (v < least_pu) & (v >= self._v_min))

    def table(self, values: Complexes, outside: complex) -> Complexes:
        """Values of the units as a table ``(n_consumers + n_generators, 3)``, ``outside`` where no unit is."""
        full = np.full(self.shape, outside, dtype=np.complex128)
        full.ravel()[self.rows] = values
        return full
