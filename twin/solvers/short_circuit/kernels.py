"""Compiled loops over many faults: each is calculated by itself, so that it does not matter which thread does it.

The compiled code is kept on disk by the date of this file: who changes ``connection`` touches this file too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from twin.network.model import Bools, Floats
from twin.solvers.short_circuit import connection
from twin.solvers.short_circuit.connection import A2, DOUBLE_EARTH, PHASE_TO_EARTH, PHASE_TO_PHASE, A
from twin.solvers.short_circuit.machines import Complex

Rows = NDArray[np.int64]

NO_CURRENT = 1e-9

_connect = njit(cache=True, nogil=True)(connection.connect)
_connect_double = njit(cache=True, nogil=True)(connection.connect_double)
_of_b = njit(cache=True, nogil=True)(connection.sequences_of_b)
_of_c = njit(cache=True, nogil=True)(connection.sequences_of_c)
_largest_phase = njit(cache=True, nogil=True)(connection.largest_phase)


class Factors(NamedTuple):
    """One sequence: see :class:`twin.solvers.short_circuit.factor.Triangular`."""

    start: Rows
    below: Rows
    value: Complex
    diagonal: Complex
    parent: Rows


class Cases(NamedTuple):
    """Faults; site columns have the shape ``(k, 2)``, ``inner``/``mutual`` what lies between the ends of a line."""

    kind: Rows
    n_sites: Rows
    a: Rows
    b: Rows
    a0: Rows
    b0: Rows
    position: Floats
    line: Rows
    resistance: Floats
    voltage: Floats
    amperes: Floats
    inner1: Complex
    inner0: Complex
    mutual1: Complex
    mutual0: Complex
    floating: Bools
    one_part: Bools
    shift: Floats


class Sources(NamedTuple):
    """Full-size converters: rows of their buses and currents."""

    row: Rows
    current: Floats


class Monitor(NamedTuple):
    """Nodes and branches to report; rows of the buses in both factors, two-ports ``(3, n)``, branch numbers."""

    node1: Rows
    node0: Rows
    node_prior: Floats
    node_shift: Floats
    branch: Rows
    end1: Rows
    end0: Rows
    live: Bools
    y1: Complex
    y0: Complex
    end_amperes: Floats
    end_shift: Floats


class Study(NamedTuple):
    """Results, written in place."""

    i_fault: Floats
    i_earth: Floats
    v: Floats
    i: Floats
    residual: Floats
    into: Bools


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _forward(factors: Any, y: Any, path: Any, a: int, b: int, position: float) -> int:
    """L y = the site's unit current: visits the way of both ends to the root alone. Returns its length."""
    y[a] += 1.0 - position
    y[b] += position
    j, k, n = a, b, 0
    while j >= 0 or k >= 0:
        m = k if j < 0 else j if k < 0 else min(j, k)
        if j == m:
            j = factors.parent[m]
        if k == m:
            k = factors.parent[m]
        path[n] = m
        n += 1
        for p in range(factors.start[m], factors.start[m + 1]):
            y[factors.below[p]] -= factors.value[p] * y[m]
    return n


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _product(factors: Any, path: Any, n: int, one: Any, other: Any) -> complex:
    """one' D⁻¹ other."""
    total = 0j
    for i in range(n):
        m = path[i]
        total += one[m] * other[m] / factors.diagonal[m]
    return total


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _backward(factors: Any, x: Any) -> None:
    """L' x = x, in place."""
    for j in range(len(x) - 1, -1, -1):
        value = x[j]
        for p in range(factors.start[j], factors.start[j + 1]):
            value -= factors.value[p] * x[factors.below[p]]
        x[j] = value


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_sources(factors: Any, x: Any, sources: Any, current: Any) -> None:
    """Add D⁻¹ L⁻¹ of the currents of the converters to ``x``."""
    y = np.zeros(len(x), dtype=np.complex128)
    for s in range(len(sources.row)):
        y[sources.row[s]] += current[s]
    for j in range(len(y)):
        value = y[j]
        if value != 0:
            for p in range(factors.start[j], factors.start[j + 1]):
                y[factors.below[p]] -= factors.value[p] * value
            x[j] += value / factors.diagonal[j]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _clear(y: Any, path: Any, n: int) -> None:
    for i in range(n):
        y[path[i]] = 0.0


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _scatter(factors: Any, x: Any, y: Any, path: Any, n: int, current: complex) -> None:
    """Add what a current drawn at the site does to ``x`` = D⁻¹ L⁻¹ of the injections."""
    for i in range(n):
        m = path[i]
        x[m] -= current * y[m] / factors.diagonal[m]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _line_to_line(v1: complex, v2: complex) -> float:
    """The smallest line-to-line voltage from both sequences, pu."""
    least = np.inf
    for turn in (1.0 + 0j, A, A2):
        least = min(least, abs(v1 * (1.0 - A2) + turn * v2 * (1.0 - A)))
    return float(least / np.sqrt(3.0))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _report(f: int, cases: Any, monitor: Any, study: Any, x1: Any, x2: Any, x0: Any, i1: Any, i2: Any, i0: Any) -> None:
    """Voltages and currents at the monitored nodes and branches."""
    reference = cases.shift[f, 0]
    for n in range(len(monitor.node1)):
        turn = np.exp(-1j * (monitor.node_shift[n] - reference))
        row = monitor.node1[n]
        study.v[f, n] = _line_to_line((x1[row] + monitor.node_prior[n]) * turn, x2[row] / turn)
    total1 = i1[0] + i1[1]
    for n in range(len(monitor.branch)):
        if not monitor.live[n]:
            continue
        for side in range(2):
            own, far = (0, 1) if side == 0 else (1, 0)
            y_own1, y_own0 = monitor.y1[2 * side, n], monitor.y0[2 * side, n]
            one, other = monitor.end1[own, n], monitor.end1[far, n]
            p = y_own1 * x1[one] + monitor.y1[1, n] * x1[other]
            m = y_own1 * x2[one] + monitor.y1[1, n] * x2[other]
            z = y_own0 * x0[monitor.end0[own, n]] + monitor.y0[1, n] * x0[monitor.end0[far, n]]
            faulted = False
            for s in range(cases.n_sites[f]):
                if cases.line[f, s] == monitor.branch[n]:
                    share = cases.position[f, s] if side == 1 else 1.0 - cases.position[f, s]
                    p, m, z = p + share * i1[s], m + share * i2[s], z + share * i0[s]
                    faulted = cases.n_sites[f] == 1
            turn = np.exp(-1j * (monitor.end_shift[side, n] - reference))
            amperes = monitor.end_amperes[side, n]
            current = _largest_phase(p * turn, m / turn, z) * amperes
            if current >= NO_CURRENT * study.i_fault[f]:
                study.i[side, f, n] = current
                study.into[side, f, n] = faulted or (p * np.conj(total1)).real > 0
            residual = 3.0 * abs(z) * amperes
            if residual >= NO_CURRENT * study.i_fault[f]:
                study.residual[side, f, n] = residual


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def solve_range(first: int, last: int, cases: Any, f1: Any, f0: Any, sources: Any, monitor: Any, study: Any) -> None:
    """Solve the faults ``first`` to ``last`` - 1."""
    n1, n0 = len(f1.diagonal), len(f0.diagonal)
    y1, y0 = np.zeros((2, n1), dtype=np.complex128), np.zeros((2, n0), dtype=np.complex128)
    path1, path0 = np.zeros((2, n1), dtype=np.int64), np.zeros((2, n0), dtype=np.int64)
    length1, length0 = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64)
    reporting = len(monitor.node1) + len(monitor.branch) > 0
    n_x = n1 if reporting or len(sources.row) else 0
    x1, x2 = np.zeros(n_x, dtype=np.complex128), np.zeros(n_x, dtype=np.complex128)
    x0 = np.zeros(n0 if reporting else 0, dtype=np.complex128)
    i1, i2, i0 = (np.zeros(2, dtype=np.complex128), np.zeros(2, dtype=np.complex128), np.zeros(2, dtype=np.complex128))
    e = np.zeros(2, dtype=np.complex128)
    feed = np.zeros(len(sources.row), dtype=np.complex128)
    for f in range(first, last):
        n_sites, kind = cases.n_sites[f], cases.kind[f]
        if n_sites == 0:
            continue
        earth = kind > PHASE_TO_PHASE
        for s in range(n_sites):
            length1[s] = _forward(f1, y1[s], path1[s], cases.a[f, s], cases.b[f, s], cases.position[f, s])
            if earth:
                length0[s] = _forward(f0, y0[s], path0[s], cases.a0[f, s], cases.b0[f, s], cases.position[f, s])
            e[s] = cases.voltage[f, s]
        if len(sources.row):
            feed[:] = 0.0
            for s in range(n_sites):
                x1[:] = 0.0
                _scatter(f1, x1, y1[s], path1[s], length1[s], -1.0 + 0j)
                _backward(f1, x1)
                for c in range(len(sources.row)):
                    reach = x1[sources.row[c]]
                    if feed[c] == 0 and reach != 0:
                        feed[c] = sources.current[c] * np.conj(reach) / abs(reach)
                    e[s] += reach * feed[c]
        z1 = _product(f1, path1[0], length1[0], y1[0], y1[0]) + cases.inner1[f, 0]
        z0 = _product(f0, path0[0], length0[0], y0[0], y0[0]) + cases.inner0[f, 0] if earth else 0j
        i1[:], i2[:], i0[:] = 0.0, 0.0, 0.0
        if n_sites == 1:
            code = PHASE_TO_EARTH if kind == DOUBLE_EARTH else kind
            i1[0], i2[0], i0[0] = _connect(code, e[0], z1, z0, cases.resistance[f, 0], cases.floating[f, 0])
        else:
            z1m = _product(f1, path1[0], length1[0], y1[0], y1[1]) + cases.mutual1[f]
            z0m = _product(f0, path0[0], length0[0], y0[0], y0[1]) + cases.mutual0[f]
            z1b = _product(f1, path1[1], length1[1], y1[1], y1[1]) + cases.inner1[f, 1]
            z0b = _product(f0, path0[1], length0[1], y0[1], y0[1]) + cases.inner0[f, 1]
            shift = cases.shift[f, 1] - cases.shift[f, 0]
            i_b, i_c = _connect_double(
                (e[0], e[1]),
                (z1, z1m, z1b),
                (z0, z0m, z0b),
                (cases.resistance[f, 0], cases.resistance[f, 1]),
                shift,
                (cases.floating[f, 0], cases.floating[f, 1]),
                cases.one_part[f],
            )
            turn = np.exp(1j * shift)
            i1[0], i2[0], i0[0] = _of_b(i_b)
            p, n, z = _of_c(i_c)
            i1[1], i2[1], i0[1] = p * turn, n / turn, z
        for s in range(n_sites):
            largest = _largest_phase(i1[s], i2[s], i0[s]) * cases.amperes[f, s]
            study.i_fault[f] = max(study.i_fault[f], largest)
        study.i_earth[f] = 3.0 * abs(i0[0]) * cases.amperes[f, 0]
        if reporting:
            x1[:], x2[:], x0[:] = 0.0, 0.0, 0.0
            for s in range(n_sites):
                _scatter(f1, x1, y1[s], path1[s], length1[s], i1[s])
                _scatter(f1, x2, y1[s], path1[s], length1[s], i2[s])
                if earth:
                    _scatter(f0, x0, y0[s], path0[s], length0[s], i0[s])
            if len(sources.row):
                _add_sources(f1, x1, sources, feed)
            _backward(f1, x1)
            if kind > 0:
                _backward(f1, x2)
            if earth:
                _backward(f0, x0)
            _report(f, cases, monitor, study, x1, x2, x0, i1, i2, i0)
        for s in range(n_sites):
            _clear(y1[s], path1[s], length1[s])
            if earth:
                _clear(y0[s], path0[s], length0[s])
