"""Fault currents from Thevenin impedances: the connection of the sequence networks at the fault.

Scalar functions of complex numbers, run as they are for one fault and compiled for many. Negative sequence as
positive. Currents flow out of the network at the fault; a zero sequence that is ``floating`` has no return path.
"""

from __future__ import annotations

import cmath
import math

THREE_PHASE, PHASE_TO_PHASE, PHASE_TO_PHASE_TO_EARTH, PHASE_TO_EARTH, DOUBLE_EARTH = range(5)

A = complex(-0.5, math.sqrt(3.0) / 2.0)
A2 = complex(-0.5, -math.sqrt(3.0) / 2.0)


def connect(
    kind: int, e: complex, z1: complex, z0: complex, r: float, floating: bool
) -> tuple[complex, complex, complex]:
    """Sequence currents (positive, negative, zero) of a fault of phase a, or of b and c.

    Three-phase: r a phase. Phase to phase: r between b and c. To earth: r between the fault and earth.
    """
    if kind == THREE_PHASE:
        return e / (z1 + r), 0j, 0j
    if kind == PHASE_TO_PHASE:
        i1 = e / (2.0 * z1 + r)
        return i1, -i1, 0j
    y0 = 0j if floating else 1.0 / (z0 + 3.0 * r)
    if kind == PHASE_TO_EARTH:
        i0 = e * y0 / (1.0 + 2.0 * z1 * y0)
        return i0, i0, i0
    i1 = e * (1.0 + z1 * y0) / (z1 * (2.0 + z1 * y0))
    share = i1 / (1.0 + z1 * y0)
    return i1, -share, -z1 * y0 * share


def connect_double(
    e: tuple[complex, complex],
    z1: tuple[complex, complex, complex],
    z0: tuple[complex, complex, complex],
    r: tuple[float, float],
    shift: float,
    floating: tuple[bool, bool],
    one_part: bool,
) -> tuple[complex, complex]:
    """Currents of phase b at the first place and of phase c at the second.

    ``z1``/``z0`` are own, mutual and own impedance; ``shift`` by how much the second place lags.
    ``one_part``: both are in the same part of the zero-sequence network. Where that floats, what
    goes into the earth at one place comes out at the other.
    """
    turn = cmath.exp(1j * shift)
    e_b, e_c = A2 * e[0], A * e[1] / turn
    z_bb = (2.0 * z1[0] + z0[0]) / 3.0 + r[0]
    z_cc = (2.0 * z1[2] + z0[2]) / 3.0 + r[1]
    z_bc = (z1[1] * (A * turn + A2 / turn) + z0[1]) / 3.0
    if floating[0] and floating[1] and one_part:
        i = (e_b - e_c) / (z_bb + z_cc - 2.0 * z_bc)
        return i, -i
    if floating[0] and floating[1]:
        return 0j, 0j
    if floating[0]:
        return 0j, e_c / z_cc
    if floating[1]:
        return e_b / z_bb, 0j
    determinant = z_bb * z_cc - z_bc * z_bc
    return (z_cc * e_b - z_bc * e_c) / determinant, (z_bb * e_c - z_bc * e_b) / determinant


def sequences_of_b(i: complex) -> tuple[complex, complex, complex]:
    """Positive, negative and zero sequence of a current in phase b alone."""
    return A * i / 3.0, A2 * i / 3.0, i / 3.0


def sequences_of_c(i: complex) -> tuple[complex, complex, complex]:
    """Positive, negative and zero sequence of a current in phase c alone."""
    return A2 * i / 3.0, A * i / 3.0, i / 3.0


def largest_phase(i1: complex, i2: complex, i0: complex) -> float:
    """The largest of the three phase currents."""
    return max(abs(i0 + i1 + i2), abs(i0 + A2 * i1 + A * i2), abs(i0 + A * i1 + A2 * i2))
