"""Branches and shunts as admittances in per unit: the same models as the power flow backends.

A line is a pi section; a transformer a pi section on its low-voltage side behind an ideal transformer with tap
ratio and phase shift, its magnetising admittance split in half. An end whose switch is open is eliminated, so that
it draws exactly nothing. Not for zero sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.network.model import Bools, Ints, Network
from twin.solvers.grid_model_mapping import lift_impedance
from twin.solvers.transformer_taps import windings

Complexes = NDArray[np.complex128]

TwoPort = tuple[Complexes, Complexes, Complexes, Complexes]
"""Admittances ff, ft, tf, tt."""

BASE_KVA = 1000.0


@dataclass(frozen=True, slots=True)
class BranchAdmittances:
    """Two-port admittances of the branches, each of shape ``(n_branches,)``, in per unit of 1 MVA."""

    y_ff: Complexes
    y_ft: Complexes
    y_tf: Complexes
    y_tt: Complexes


def branch_admittances(network: Network, tap_position: Ints, from_on: Bools, to_on: Bools) -> BranchAdmittances:
    """The branches at these taps, with the ends that are off eliminated."""
    lines, transformers = _lines(network), _transformers(network, tap_position)
    y_ff, y_ft, y_tf, y_tt = (np.concatenate(pair) for pair in zip(lines, transformers, strict=True))
    both = from_on & to_on
    seen_from, seen_to = _eliminate(y_ff, y_ft * y_tf, y_tt), _eliminate(y_tt, y_ft * y_tf, y_ff)
    return BranchAdmittances(
        y_ff=np.where(both, y_ff, np.where(from_on, seen_from, 0)),
        y_ft=np.where(both, y_ft, 0),
        y_tf=np.where(both, y_tf, 0),
        y_tt=np.where(both, y_tt, np.where(to_on, seen_to, 0)),
    )


def _eliminate(own: Complexes, mutual: Complexes, other: Complexes) -> Complexes:
    """The admittance at one end while the other is open."""
    through = np.divide(mutual, other, out=np.zeros_like(mutual), where=other != 0)
    return own - through


def _lines(network: Network) -> TwoPort:
    lines = network.lines
    v_kv = network.nodes.v_nominal_kv[lines.node_from]
    base_s = 1e-3 * BASE_KVA / v_kv**2
    r_ohm, x_ohm = lift_impedance(lines.r_ohm, lines.x_ohm, v_kv)
    series = np.asarray(1 / (r_ohm + 1j * x_ohm) / base_s, dtype=np.complex128)
    omega = 2 * np.pi * network.frequency_hz
    half = (1e-6 * lines.g_us + 1j * omega * 1e-9 * lines.c_nf) / (2 * base_s)
    return series + half, -series, -series, series + half


def _transformers(network: Network, tap_position: Ints) -> TwoPort:
    t = network.transformers
    v_kv = network.nodes.v_nominal_kv
    v_low = v_kv[t.node_to]
    base_s = 1e-3 * BASE_KVA / v_low**2
    z_abs = t.vk_percent / 100 * t.v_to_kv**2 / (1e-3 * t.s_kva)
    r_ohm = t.vkr_percent / 100 * t.v_to_kv**2 / (1e-3 * t.s_kva)
    series = 1 / (r_ohm + 1j * np.sqrt(np.maximum(z_abs**2 - r_ohm**2, 0))) / base_s
    iron_s = 1e-3 * t.p_iron_kw / t.v_to_kv**2
    i0 = np.maximum(t.i0_percent / 100, t.p_iron_kw / t.s_kva)
    magnetising_s = i0 * 1e-3 * t.s_kva / t.v_to_kv**2
    half = (iron_s - 1j * np.sqrt(np.maximum(magnetising_s**2 - iron_s**2, 0))) / (2 * base_s)
    ratio = _ratio(network, tap_position)
    y_tt = series + half
    return y_tt / np.abs(ratio) ** 2, -series / np.conj(ratio), -series / ratio, y_tt


def _ratio(network: Network, tap_position: Ints) -> Complexes:
    """Off-nominal turns ratio in per unit of the nodes' nominal voltages, turned by the phase shift."""
    t = network.transformers
    v_kv = network.nodes.v_nominal_kv
    high, low, shift_rad = windings(t, tap_position)
    ratio: Complexes = (high / low) * (v_kv[t.node_to] / v_kv[t.node_from]) * np.exp(1j * shift_rad)
    return ratio


def node_shunts(network: Network) -> Complexes:
    """Shunt compensators summed by node, in per unit; consumed reactive power is a negative susceptance."""
    y = np.zeros(network.nodes.n, dtype=np.complex128)
    np.add.at(y, network.shunts.node, (network.shunts.p_kw - 1j * network.shunts.q_kvar) / BASE_KVA)
    return y
