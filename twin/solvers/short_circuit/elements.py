"""Sequence admittances of the branches and paths to earth, once for a network and a case; no topology here.

Per unit of 1 MVA and the nominal voltages of the nodes, as two-ports ``(yff, yft, ytt)`` at the branch's ends. The
phase shift of transformers is left out: it is applied to the results, so that all matrices stay symmetric.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.network.model import Floats, Network
from twin.solvers.grid_model_mapping import lift_impedance
from twin.solvers.short_circuit.machines import Complex, Units, units
from twin.solvers.short_circuit.settings import ShortCircuitSettings

VECTOR_GROUP = re.compile(r"^(YN|Y|D|ZN|Z)(yn|y|d|zn|z)(?:\d+)?$")

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class TwoPorts:
    """``y`` has the shape ``(3, n_branches)``: from-from, from-to, to-to."""

    y: Complex

    @classmethod
    def series(cls, z: Complex, ratio: Floats) -> TwoPorts:
        """An impedance behind an ideal ratio at the from end."""
        y = 1.0 / z
        return cls(np.stack([y / ratio**2, -y / ratio, y]))


@dataclass(frozen=True)
class Elements:
    """``z1``, ``z0`` are the series impedances of the lines, ``through0`` marks the branches that the zero sequence
    passes, ``earthed0`` (shape ``(2, n_branches)``) the branch ends with a path to earth, ``unknown0`` the branches
    and ``unknown_infeed0`` the infeed whose zero-sequence data are missing."""

    network: Network
    settings: ShortCircuitSettings
    units: Units
    positive: TwoPorts
    peak: TwoPorts
    zero: TwoPorts
    z1: Complex
    z0: Complex
    through0: Flags
    earthed0: Flags
    unknown0: Flags
    unknown_infeed0: Flags
    c: Floats
    peak_frequency: float


def elements(network: Network, settings: ShortCircuitSettings) -> Elements:
    """Compile a network for one case.

    Raises:
        MissingShortCircuitDataError: infeed that states too little.
    """
    feeding = units(network, settings)
    z1, z0, b0, known = _lines(network, settings)
    z_t, ratio = _transformers(network, settings, feeding)
    ones = np.ones(network.lines.n)
    z, ratios = np.concatenate([z1, z_t]), np.concatenate([ones, ratio])
    fc = 0.4
    factors = _factors(network, settings, feeding)
    windings = [_winding(network, factors, row, ratio[row]) for row in range(network.transformers.n)]
    lines0 = TwoPorts.series(z0, ones).y + np.array([[1], [0], [1]]) * (0.5j * b0)
    transformers0 = np.array([w.y for w in windings], dtype=np.complex128).reshape(-1, 3).T
    unknown = np.concatenate([~known, np.array([w.unknown for w in windings], dtype=np.bool_)])
    through = np.concatenate([np.ones(network.lines.n, dtype=np.bool_), transformers0[1] != 0])
    capacitive = known & (b0 > 0)
    at_ends = [np.concatenate([capacitive, np.array([w.earthed[i] for w in windings], dtype=np.bool_)]) for i in (0, 1)]
    return Elements(
        network,
        settings,
        feeding,
        TwoPorts.series(z, ratios),
        TwoPorts.series(z.real + 1j * fc * z.imag, ratios),
        TwoPorts(np.concatenate([lines0, transformers0], axis=1)),
        z1,
        z0,
        through,
        np.array(at_ends),
        unknown,
        np.isnan(feeding.infeed.z0),
        settings.voltage_factor(network.nodes.v_nominal_kv),
        fc,
    )


def _lines(network: Network, settings: ShortCircuitSettings) -> tuple[Complex, Complex, Floats, Flags]:
    """Series impedances of both sequences, the zero-sequence susceptance to earth, pu, and whether that is known.

    What is unknown stands in as in the positive sequence, lest the matrix be singular; no earth fault is solved there.
    """
    lines = network.lines
    v_kv = network.nodes.v_nominal_kv[lines.node_from]
    warm = 1.0 + 0.004 * (settings.end_temperature_c - 20.0) * (settings.case == "min")
    r1, x1 = lift_impedance(warm * lines.r_ohm, lines.x_ohm, v_kv)
    known = np.isfinite(lines.r0_ohm) & np.isfinite(lines.x0_ohm) & np.isfinite(lines.c0_nf)
    r0, x0 = (np.where(known, zero, one) for zero, one in ((warm * lines.r0_ohm, r1), (lines.x0_ohm, x1)))
    r0, x0 = lift_impedance(r0, x0, v_kv)
    b0 = np.where(known, 2e-9 * np.pi * network.frequency_hz * lines.c0_nf, 0.0)
    z1, z0 = (np.asarray((r + 1j * x) / v_kv**2, dtype=np.complex128) for r, x in ((r1, x1), (r0, x0)))
    return z1, z0, b0 * v_kv**2, known


def _transformers(network: Network, settings: ShortCircuitSettings, feeding: Units) -> tuple[Complex, Floats]:
    """Corrected short-circuit impedances seen from the to side, and the ratios, at neutral tap."""
    t, v_kv = network.transformers, network.nodes.v_nominal_kv
    base = t.v_to_kv**2 / (t.s_kva / 1e3) / v_kv[t.node_to] ** 2
    x = np.sqrt(np.maximum(t.vk_percent**2 - t.vkr_percent**2, 0.0))
    ratio = (t.v_from_kv / v_kv[t.node_from]) / (t.v_to_kv / v_kv[t.node_to])
    return _factors(network, settings, feeding) * (t.vkr_percent + 1j * x) / 100.0 * base, ratio


def _factors(network: Network, settings: ShortCircuitSettings, feeding: Units) -> Floats:
    """K_T of 6.3.3 in the maximum case; K_S for power station units; what the network states before both."""
    t, v_kv = network.transformers, network.nodes.v_nominal_kv
    k_t = np.ones(t.n)
    if settings.case == "max":
        x = np.sqrt(np.maximum(t.vk_percent**2 - t.vkr_percent**2, 0.0)) / 100.0
        k_t = 0.95 * settings.voltage_factor(v_kv[t.node_to]) / (1.0 + 0.6 * x)
    k_t = np.where(np.isfinite(feeding.unit_factor), feeding.unit_factor, k_t)
    return np.where(np.isfinite(t.k_sc), t.k_sc, k_t)


@dataclass(frozen=True)
class _Winding:
    y: tuple[complex, complex, complex]
    earthed: tuple[bool, bool]
    unknown: bool = False


_OPEN = _Winding((0j, 0j, 0j), (False, False))
_UNKNOWN = _Winding((0j, 0j, 0j), (False, False), unknown=True)


def _winding(network: Network, factors: Floats, row: int, ratio: float) -> _Winding:
    """The zero-sequence two-port of a transformer, from its vector group.

    A star with earthed neutral conducts to a delta on the other side, to an earthed star there, or into the
    magnetising impedance; a zigzag with earthed neutral conducts to earth by itself.
    """
    t, v_kv = network.transformers, network.nodes.v_nominal_kv
    group = VECTOR_GROUP.match(t.vector_group[row])
    if not group:
        return _UNKNOWN
    v_from, v_to = v_kv[t.node_from[row]], v_kv[t.node_to[row]]
    z_from, star_from = _neutral(group[1].lower(), t.rn_from_ohm[row], t.xn_from_ohm[row])
    z_to, star_to = _neutral(group[2], t.rn_to_ohm[row], t.xn_to_ohm[row])
    if "n" not in star_from + star_to:
        return _OPEN
    z = complex(t.vkr0_percent[row], np.sqrt(max(t.vk0_percent[row] ** 2 - t.vkr0_percent[row] ** 2, 0.0)))
    if not np.isfinite(z):
        return _UNKNOWN
    k = float(factors[row])
    z *= k / 100.0 * t.v_to_kv[row] ** 2 / (t.s_kva[row] / 1e3) / v_to**2
    share = float(t.si0_from[row]) if np.isfinite(t.si0_from[row]) else 0.5
    one = _Leg(star_from, share * z, 3 * z_from / v_from**2 / ratio**2)
    other = _Leg(star_to, (1 - share) * z, 3 * z_to / v_to**2)
    return _two_port(one, other, _magnetising(abs(z) / k, t.mag0_percent[row], t.mag0_rx[row]), ratio)


def _neutral(winding: str, r_ohm: float, x_ohm: float) -> tuple[complex, str]:
    """The neutral impedance; a winding whose neutral is isolated is one without."""
    if winding.endswith("n") and not np.isfinite([r_ohm, x_ohm]).all():
        return 0j, winding[:-1]
    return (complex(r_ohm, x_ohm), winding) if winding.endswith("n") else (0j, winding)


def _magnetising(leakage: float, percent: float, rx: float) -> complex:
    """The magnetising impedance by that of the leakage, without correction; infinite (none) where unknown."""
    if not np.isfinite(percent):
        return complex(np.inf, 0.0)
    r = float(rx) if np.isfinite(rx) else 0.0
    return complex(r, 1.0) * (leakage * float(percent) / 100.0 / float(np.hypot(1.0, r)))


@dataclass(frozen=True)
class _Leg:
    """One side of a transformer: its winding, its share of the leakage, three times its neutral impedance."""

    winding: str
    leakage: complex
    neutral: complex

    @property
    def z(self) -> complex:
        return self.leakage + self.neutral


def _two_port(one: _Leg, other: _Leg, m: complex, ratio: float) -> _Winding:
    """T of two legs and the magnetising impedance ``m`` to earth, cut open where a winding does not conduct."""
    if one.winding == other.winding == "yn":
        if np.isinf(m.real):
            y = 1.0 / (one.z + other.z)
            return _Winding((y / ratio**2, -y / ratio, y), (False, False))
        d = one.z * other.z + one.z * m + other.z * m
        return _Winding(((other.z + m) / d / ratio**2, -m / d / ratio, (one.z + m) / d), (True, True))
    y_from, y_to = _to_earth(one, other, m) / ratio**2, _to_earth(other, one, m)
    return _Winding((y_from, 0j, y_to), (y_from != 0, y_to != 0))


def _to_earth(own: _Leg, other: _Leg, m: complex) -> complex:
    """Admittance from a side's terminals to earth, 0 if it has no path."""
    if own.winding == "zn":
        return 1.0 / (own.z + other.leakage)
    if own.winding != "yn":
        return 0j
    if other.winding == "d":
        behind = other.leakage if np.isinf(m.real) else other.leakage * m / (other.leakage + m)
        return 1.0 / (own.z + behind)
    return 0j if np.isinf(m.real) else 1.0 / (own.z + m)
