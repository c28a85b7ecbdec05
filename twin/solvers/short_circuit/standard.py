"""Peak, breaking and steady-state short-circuit currents, IEC 60909-0:2016, clauses 8 to 10."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin.network.model import Floats
from twin.solvers.model import FaultKind, FaultPoint
from twin.solvers.short_circuit import connection, single
from twin.solvers.short_circuit.machines import Complex, Infeed
from twin.solvers.short_circuit.state import Site, State, bridge


@dataclass(frozen=True, slots=True)
class StandardCurrents:
    """One row a fault, A, zero where it is dead: initial ``ikss_a``, peak ``ip_a`` with its factor ``kappa``,
    symmetrical breaking ``ib_a`` and steady-state ``ik_a``."""

    ikss_a: Floats
    ip_a: Floats
    kappa: Floats
    ib_a: Floats
    ik_a: Floats


def standard_currents(
    state: State, faults: Sequence[tuple[FaultPoint, list[Site]]], breaking_time_s: float
) -> StandardCurrents:
    """All currents of each fault.

    The peak factor is method C, equivalent frequency 20 Hz of 50 Hz (8.1.2), for every kind that of the
    three-phase short circuit. Breaking currents take the decay of machines into account for three-phase faults
    in a meshed network (9.1.3); steady-state ones leave out the motors (10.4). The other kinds do not decay.
    """
    table = np.zeros((len(faults), 5))
    for row, (fault, sites) in enumerate(faults):
        if sites:
            table[row] = _currents(state, fault.kind, sites, breaking_time_s)
    return StandardCurrents(*table.T)


def _currents(state: State, kind: FaultKind, sites: list[Site], breaking_time_s: float) -> tuple[float, ...]:
    flows = single.fault_currents(state, kind, sites)
    ikss = max(connection.largest_phase(*i) * site.amperes for site, i in zip(flows.sites, flows.currents, strict=True))
    kappa = _kappa(state, sites[0])
    ib = ik = ikss
    if kind is FaultKind.THREE_PHASE:
        ib = _breaking(state, sites[0], flows.currents[0][0], breaking_time_s)
        ik = _steady(state, sites[0], flows.converters)
    return ikss, kappa * float(np.sqrt(2.0)) * ikss, kappa, ib, ik


def _kappa(state: State, site: Site) -> float:
    share = state.elements.peak_frequency
    column = state.peak.solve(state.injection(site))
    z_line = state.elements.z1.real + 1j * share * state.elements.z1.imag
    z = state.seen_at(site, column) + bridge(site, site, z_line)
    return float(1.02 + 0.98 * np.exp(-3.0 * z.real / z.imag * share)) if z.imag > 0 else 1.02


def _breaking(state: State, site: Site, i1: complex, t_s: float) -> float:
    """Ib = Ik'' - Σ ΔU''/(c Un/√3) (1 - μ q) Ik'' of each machine, with ΔU'' = jX'' Ik'' (equations 76 and 77)."""
    infeed, c = state.elements.units.infeed, state.driving_voltage(site)
    at = state.buses.of_node[infeed.node]
    fed = state.buses.fed[at] & ~infeed.network
    drop = state.positive.solve(state.injection(site, -i1))[at]
    own = -drop / infeed.z
    amperes = 1e3 / (np.sqrt(3.0) * state.elements.network.nodes.v_nominal_kv[infeed.node])
    multiple = np.where(fed, np.abs(own) * amperes / np.where(infeed.network, 1.0, infeed.i_rated_a), 0.0)
    kept = _mu(multiple, t_s) * np.where(infeed.motor, _q(infeed, t_s), 1.0)
    decayed = np.where(fed, 1j * infeed.z.imag * own / c * (1.0 - kept) * own, 0.0)
    return float(abs(i1 - decayed.sum()) * site.amperes)


_MU = ((0.02, 0.84, 0.26, 0.26), (0.05, 0.71, 0.51, 0.30), (0.10, 0.62, 0.72, 0.32), (0.25, 0.56, 0.94, 0.38))
_Q = ((0.02, 1.03, 0.12), (0.05, 0.79, 0.12), (0.10, 0.57, 0.12), (0.25, 0.26, 0.10))


def _mu(multiple: Floats, t_s: float) -> Floats:
    """μ of equation (70) between the minimum times the standard tabulates, 1 up to twice the rated current."""
    curves = [a + b * np.exp(-k * multiple) for _, a, b, k in _MU]
    mu = np.minimum(_between([t for t, *_ in _MU], curves, t_s), 1.0)
    return np.where(multiple <= 2.0, 1.0, mu)


def _q(infeed: Infeed, t_s: float) -> Floats:
    """q of equation (73) from the active power per pair of poles, MW."""
    m = np.where(infeed.motor & (infeed.mw_per_pole_pair > 0), infeed.mw_per_pole_pair, 1.0)
    curves = [a + b * np.log(m) for _, a, b in _Q]
    return np.clip(_between([t for t, *_ in _Q], curves, t_s), 0.0, 1.0)


def _between(times: list[float], curves: list[Floats], t_s: float) -> Floats:
    """Linear interpolation between the tabulated times, constant beyond."""
    table = np.stack(curves)
    at = float(np.interp(t_s, times, np.arange(len(times))))
    low = min(int(at), len(times) - 2)
    mixed: Floats = table[low] + (at - low) * (table[low + 1] - table[low])
    return mixed


def _steady(state: State, site: Site, converters: Complex) -> float:
    """The initial current without motors."""
    column = state.without_motors.solve(state.injection(site))
    z = state.seen_at(site, column) + bridge(site, site, state.elements.z1)
    e = state.driving_voltage(site) + complex(column[state.converter_bus] @ converters)
    return float(abs(e / (z + site.resistance_pu)) * site.amperes)
