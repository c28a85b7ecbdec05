"""A slow second opinion: estimation with dense matrices and differences, for small networks of lines alone.

Nothing is shared with the solver: states are voltage magnitudes and angles of all nodes, the measurement functions
are Kirchhoff's laws on pi sections in per unit of 1 MVA, the Jacobian is taken by differences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin.network.model import Bools, Floats, Network
from twin.solvers.state_estimation import MeasurementKind, Measurements

BASE_KVA = 1000.0


@dataclass(frozen=True)
class DenseEstimate:
    v_pu: Floats
    angle_rad: Floats
    objective: float
    normalised_residual: Floats
    redundancy: Floats
    sigma_v_pu: Floats


def currents(network: Network, phasor: Floats) -> tuple[Floats, Floats, Floats]:
    """Branch currents at both ends and the current into the network at every node, per unit."""
    lines, v_kv = network.lines, network.nodes.v_nominal_kv[0]
    z = (lines.r_ohm + 1j * lines.x_ohm) / v_kv**2
    half = 0.5j * 2 * np.pi * network.frequency_hz * lines.c_nf * 1e-9 * v_kv**2
    a, b = phasor[lines.node_from], phasor[lines.node_to]
    i_from, i_to = (a - b) / z + half * a, (b - a) / z + half * b
    total = np.zeros(network.nodes.n, dtype=complex)
    np.add.at(total, lines.node_from, i_from)
    np.add.at(total, lines.node_to, i_to)
    return i_from, i_to, total


def predict(network: Network, m: Measurements, x: Floats) -> Floats:
    """The values that the measurements would have in state ``x`` = (V, angle)."""
    n = network.nodes.n
    phasor = x[:n] * np.exp(1j * x[n:])
    i_from, i_to, total = currents(network, phasor)
    node = np.where(m.kind <= 2, m.place, 0)
    branch = np.where(m.kind > 2, m.place, 0)
    s_node = (phasor * np.conj(total))[node]
    i_end = np.where(m.side == 0, i_from[branch], i_to[branch])
    at = np.where(m.side == 0, network.lines.node_from[branch], network.lines.node_to[branch])
    s_end = phasor[at] * np.conj(i_end)
    amperes = BASE_KVA / np.sqrt(3) / network.nodes.v_nominal_kv[0]
    kinds = [
        x[node],
        s_node.real * BASE_KVA,
        s_node.imag * BASE_KVA,
        s_end.real * BASE_KVA,
        s_end.imag * BASE_KVA,
        np.abs(i_end) * amperes,
    ]
    return np.choose(m.kind, kinds)


def jacobian(network: Network, m: Measurements, x: Floats) -> Floats:
    columns = []
    for i in range(len(x)):
        step = np.zeros(len(x))
        step[i] = 1e-6
        columns.append((predict(network, m, x + step) - predict(network, m, x - step)) / 2e-6)
    return np.array(columns).T


def zero_rows(passive: Bools) -> Measurements:
    nodes = np.flatnonzero(passive)
    parts = [
        Measurements.of(kind, nodes, np.zeros(len(nodes)), 1.0)
        for kind in (MeasurementKind.P_INJECTION_KW, MeasurementKind.Q_INJECTION_KVAR)
    ]
    return Measurements.join(*parts)


def rank_missing(network: Network, m: Measurements, passive: Bools) -> int:
    """By how much the measurements and constraints fall short of determining the state."""
    n = network.nodes.n
    x = np.concatenate([np.ones(n), np.zeros(n)])
    rows = np.vstack([jacobian(network, m, x), jacobian(network, zero_rows(passive), x)])
    rows = np.delete(rows, n, axis=1)
    rows = rows[np.abs(rows).max(axis=1) > 0]
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    return 2 * n - 1 - int(np.linalg.matrix_rank(rows, tol=1e-7))


def estimate(network: Network, m: Measurements, passive: Bools, start: Floats) -> DenseEstimate:
    """Gauss-Newton from ``start`` = (V, angle) with the angle of the first node held at 0."""
    n, x = network.nodes.n, start.copy()
    zero = zero_rows(passive)
    k = zero.n
    for _ in range(20):
        h = np.delete(jacobian(network, m, x), n, axis=1) / m.sigma[:, None]
        c = np.delete(jacobian(network, zero, x), n, axis=1)
        r = (m.value - predict(network, m, x)) / m.sigma
        matrix = np.block([[h.T @ h, c.T], [c, np.zeros((k, k))]])
        solution = np.linalg.solve(matrix, np.concatenate([h.T @ r, -predict(network, zero, x)]))
        x = x + np.insert(solution[: 2 * n - 1], n, 0.0)
    covariance = np.linalg.inv(matrix)[: 2 * n - 1, : 2 * n - 1]
    left = 1 - np.einsum("ij,jk,ik->i", h, covariance, h)
    with np.errstate(invalid="ignore", divide="ignore"):
        normalised = np.where(left > 1e-7, r / np.sqrt(left), 0.0)
    return DenseEstimate(x[:n], x[n:], float(r @ r), normalised, left, np.sqrt(np.diag(covariance)[:n]))
