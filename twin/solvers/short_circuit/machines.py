"""Short-circuit impedances of external networks and generating units, IEC 60909-0:2016, clause 6.

Per unit of 1 MVA and the nominal voltage of the node. The negative-sequence impedance is that of the positive
sequence. Nothing about topology here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.network.model import Bools, Floats, Ints, Network
from twin.solvers.short_circuit.settings import MissingShortCircuitDataError, ShortCircuitSettings

Complex = NDArray[np.complex128]

RX_UNKNOWN = 0.1
"""R/X of an external network that states none: IEC 60909-0, 6.2."""

NOT_EARTHED = complex(np.inf, np.inf)


@dataclass(frozen=True)
class Infeed:
    """Machines and networks with an internal voltage, one row each.

    ``z`` and ``z_peak`` (with the fictitious resistance of 6.6 for the decaying direct current) in pu, ``z0`` infinite
    where the neutral is isolated and NaN where unknown, ``i_rated_a`` NaN for networks.
    """

    names: tuple[str, ...]
    node: Ints
    z: Complex
    z_peak: Complex
    z0: Complex
    network: Bools
    motor: Bools
    i_rated_a: Floats
    mw_per_pole_pair: Floats


@dataclass(frozen=True)
class Converters:
    """Units behind full-size converters: positive-sequence current sources of ``i_pu`` (of 1 MVA)."""

    node: Ints
    i_pu: Floats


@dataclass(frozen=True)
class Units:
    """What feeds a short circuit, and ``unit_factor``: K_S of the transformers of power station units, else NaN."""

    infeed: Infeed
    converters: Converters
    unit_factor: Floats
    notes: tuple[str, ...]


def units(network: Network, settings: ShortCircuitSettings) -> Units:
    """All infeed of a network.

    Raises:
        MissingShortCircuitDataError: with every network and unit that states too little.
    """
    findings = (*_source_findings(network, settings), *_generator_findings(network, settings))
    if findings:
        raise MissingShortCircuitDataError(network.name, findings)
    factor, unit_factor = _synchronous_factors(network, settings)
    infeed = _join(_sources(network, settings), _machines(network, settings, factor))
    return Units(infeed, _converters(network, settings), unit_factor, _notes(network))


def rows_of(network: Network, machine: str) -> Ints:
    """Rows of the generating units of one machine type."""
    return np.array([row for row, kind in enumerate(network.generators.machine) if kind == machine], dtype=np.int32)


# --- what is missing ---------------------------------------------------------------------------------------------


def _source_findings(network: Network, settings: ShortCircuitSettings) -> list[str]:
    s = network.sources
    power, which = (s.s_sc_min_mva, "smallest ") if settings.case == "min" else (s.s_sc_mva, "")
    return [f"source {s.names[row]} states no {which}short-circuit power" for row in np.flatnonzero(~(power > 0))]


_NEEDED = {
    "synchronous": (("s_kva", "v_rated_kv", "cos_phi", "xdss_pu"), "s_kva, v_rated_kv, cos_phi and xdss_pu"),
    "asynchronous": (("s_kva", "lrc_pu"), "s_kva and lrc_pu"),
    "converter": (("s_kva", "i_sc_pu"), "s_kva and i_sc_pu"),
}


def _generator_findings(network: Network, settings: ShortCircuitSettings) -> list[str]:
    g = network.generators
    findings = []
    for row, machine in enumerate(g.machine):
        if machine and machine not in _NEEDED:
            findings.append(f"generating unit {g.names[row]} is of the unknown machine type {machine}")
        elif machine in _NEEDED and not (settings.case == "min" and machine != "synchronous"):
            needed, words = _NEEDED[machine]
            if not all(getattr(g, name)[row] > 0 or (name == "i_sc_pu" and g.i_sc_pu[row] == 0) for name in needed):
                findings.append(f"{machine} unit {g.names[row]} needs {words} above 0")
            elif machine == "asynchronous" and not g.rx_sc[row] >= 0 and not g.pole_pairs[row] > 0:
                findings.append(f"asynchronous unit {g.names[row]} needs rx_sc, or its pole_pairs to take R/X from")
    return findings


def _notes(network: Network) -> tuple[str, ...]:
    g = network.generators
    silent = [name for name, machine in zip(g.names, g.machine, strict=True) if not machine]
    if not silent:
        return ()
    names = ", ".join(silent[:5]) + (f" and {len(silent) - 5} more" if len(silent) > 5 else "")
    return (f"generating units without short-circuit data contribute nothing to fault currents: {names}",)


# --- impedances ----------------------------------------------------------------------------------------------------


def _split(z: Floats, rx: Floats) -> Complex:
    x = z / np.sqrt(1.0 + rx**2)
    return np.asarray(rx * x + 1j * x)


def _or_isolated(isolated: Bools, r: Floats, x: Floats) -> Complex:
    z = np.full(len(x), NOT_EARTHED)
    z[~isolated] = r[~isolated] + 1j * x[~isolated]
    return z


def _sources(network: Network, settings: ShortCircuitSettings) -> Infeed:
    """Behind c Un² / Sk'' (6.2)."""
    s = network.sources
    least = settings.case == "min"
    power, rx = (s.s_sc_min_mva, s.rx_min) if least else (s.s_sc_mva, s.rx)
    rx = np.where(np.isfinite(rx), rx, np.where(np.isfinite(s.rx), s.rx, RX_UNKNOWN))
    z = _split(settings.voltage_factor(network.nodes.v_nominal_kv[s.node]) / power, rx)
    isolated = np.isinf(s.x0x1)
    x0 = np.where(isolated, 1.0, s.x0x1) * z.imag
    z0 = _or_isolated(isolated, x0 * np.where(isolated, 0.0, s.r0x0), x0)
    yes, no, none = np.ones(s.n, dtype=np.bool_), np.zeros(s.n, dtype=np.bool_), np.full(s.n, np.nan)
    return Infeed(s.names, s.node, z, z, z0, yes, no, none, none)


def _machines(network: Network, settings: ShortCircuitSettings, factor: Floats) -> Infeed:
    """Synchronous machines behind their corrected subtransient impedance (6.6), asynchronous motors (6.10)."""
    g = network.generators
    sync = rows_of(network, "synchronous")
    motor = rows_of(network, "asynchronous" if settings.case == "max" else "")[: g.n if settings.case == "max" else 0]
    rows = np.concatenate([sync, motor]).astype(np.int32)
    vn_kv = network.nodes.v_nominal_kv[g.node[rows]]
    z_sync, z_peak = _synchronous_z_ohm(network, sync)
    z_motor = _motor_z_ohm(network, motor)
    k = np.concatenate([factor[sync], np.ones(len(motor))])
    base = vn_kv**2
    v_rated = np.where(np.isfinite(g.v_rated_kv[rows]), g.v_rated_kv[rows], vn_kv)
    is_motor = np.arange(len(rows)) >= len(sync)
    isolated = is_motor | ~np.isfinite(g.x0_ohm[rows])
    pairs = np.maximum(g.pole_pairs[rows], 1)
    return Infeed(
        tuple(g.names[row] for row in rows),
        g.node[rows],
        k * np.concatenate([z_sync, z_motor]) / base,
        k * np.concatenate([z_peak, z_motor]) / base,
        _or_isolated(isolated, np.nan_to_num(g.r0_ohm[rows]) / base, g.x0_ohm[rows] / base),
        np.zeros(len(rows), dtype=np.bool_),
        is_motor,
        g.s_kva[rows] / (np.sqrt(3.0) * v_rated),
        np.abs(g.p_kw[rows]) / 1e3 / pairs,
    )


def _synchronous_z_ohm(network: Network, rows: Ints) -> tuple[Complex, Complex]:
    """R + jXd'', and R_Gf + jXd''; a unit without stator resistance takes R_Gf for both."""
    g = network.generators
    v_kv, s_mva = g.v_rated_kv[rows], g.s_kva[rows] / 1e3
    x = g.xdss_pu[rows] * v_kv**2 / s_mva
    r_peak = np.where(v_kv <= 1.0, 0.15, np.where(s_mva >= 100.0, 0.05, 0.07)) * x
    r = np.where(np.isfinite(g.r_sc_ohm[rows]), g.r_sc_ohm[rows], r_peak)
    return np.asarray(r + 1j * x), np.asarray(r_peak + 1j * x)


def _motor_z_ohm(network: Network, rows: Ints) -> Complex:
    """Z_M = Ur² / (I_LR/I_r · S_r); R/X by 6.10 where none is stated."""
    g = network.generators
    vn_kv = network.nodes.v_nominal_kv[g.node[rows]]
    v_kv = np.where(np.isfinite(g.v_rated_kv[rows]), g.v_rated_kv[rows], vn_kv)
    mw_per_pair = np.abs(g.p_kw[rows]) / 1e3 / np.maximum(g.pole_pairs[rows], 1)
    standard = np.where(v_kv <= 1.0, 0.42, np.where(mw_per_pair >= 1.0, 0.1, 0.15))
    rx = np.where(g.rx_sc[rows] >= 0, g.rx_sc[rows], standard)
    return _split(v_kv**2 / (g.lrc_pu[rows] * g.s_kva[rows] / 1e3), rx)


def _synchronous_factors(network: Network, settings: ShortCircuitSettings) -> tuple[Floats, Floats]:
    """K_G of each generating unit (K_S in a power station unit), and K_S by transformer; 6.6.1, 6.7.1, 6.7.2."""
    g, t, v_kv = network.generators, network.transformers, network.nodes.v_nominal_kv
    factor, of_transformer = np.ones(g.n), np.full(t.n, np.nan)
    c_max = settings.model_copy(update={"case": "max"}).voltage_factor(v_kv)
    for row in rows_of(network, "synchronous"):
        sin_phi = np.sqrt(max(1.0 - g.cos_phi[row] ** 2, 0.0))
        v_g, unit = g.v_rated_kv[row] * (1.0 + g.pg_percent[row] / 100.0), g.unit_transformer[row]
        if unit < 0:
            factor[row] = v_kv[g.node[row]] / v_g * c_max[g.node[row]] / (1.0 + g.xdss_pu[row] * sin_phi)
            continue
        ratio, v_q = t.v_to_kv[unit] / t.v_from_kv[unit], v_kv[t.node_from[unit]]
        if t.oltc[unit]:
            x_t = np.sqrt(t.vk_percent[unit] ** 2 - t.vkr_percent[unit] ** 2) / 100.0
            k = (v_q / g.v_rated_kv[row] * ratio) ** 2 / (1.0 + abs(g.xdss_pu[row] - x_t) * sin_phi)
        else:
            k = v_q / v_g * ratio * (1.0 + t.pt_percent[unit] / 100.0) / (1.0 + g.xdss_pu[row] * sin_phi)
        factor[row] = of_transformer[unit] = k * c_max[g.node[row]]
    return factor, of_transformer


def _converters(network: Network, settings: ShortCircuitSettings) -> Converters:
    """Left out of the minimum case (6.9)."""
    g = network.generators
    rows = rows_of(network, "converter") if settings.case == "max" else np.zeros(0, dtype=np.int32)
    return Converters(g.node[rows], g.i_sc_pu[rows] * g.s_kva[rows] / 1e3)


def _join(one: Infeed, other: Infeed) -> Infeed:
    columns = {
        name: np.concatenate([value, getattr(other, name)]) for name, value in vars(one).items() if name != "names"
    }
    return Infeed(names=one.names + other.names, **columns)
