"""Admittances of lines, transformers and shunts per phase, and the reduction of open ends. Volts, amperes, siemens.

Each branch is a 6x6 matrix from the voltages to earth of its ends (from A, B, C, to A, B, C) to the currents
into it. Open ends are eliminated exactly (Kron), so that charging, coupling and back-feed stay right.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from twin.network.model import Bools, Floats, Ints
from twin.network.three_phase import ABSENT, EARTH, STAR, Codes, Complexes, ThreePhaseNetwork

_RANK_TOLERANCE = 1e-12
_STAR_AT = 6
_EARTH_AT = 8


def line_admittances(network: ThreePhaseNetwork) -> Complexes:
    """Pi models of the lines, ``(n_lines, 6, 6)``, zero in absent phases."""
    lines = network.lines
    absent = ~lines.phases
    padded = lines.z_ohm.copy()
    row, phase = np.nonzero(absent)
    padded[row, phase, phase] = 1.0
    series = np.linalg.inv(padded) if lines.n else padded
    series[row, phase, phase] = 0.0
    matrix = np.zeros((lines.n, 6, 6), dtype=np.complex128)
    matrix[:, :3, :3] = matrix[:, 3:, 3:] = series + lines.y_s / 2
    matrix[:, :3, 3:] = matrix[:, 3:, :3] = -series
    return matrix


class TransformerAdmittances:
    """Transformers as banks of single-phase units, in per unit of their winding voltages.

    The leakage admittance of a unit acts between its tapped windings; half of the magnetising one lies at each.
    """

    def __init__(self, network: ThreePhaseNetwork) -> None:
        t = network.transformers
        self._t = t
        self._incidence = _incidence(t.from_plus, t.from_minus, t.to_plus, t.to_minus)
        self._has_star = np.flatnonzero((self._incidence[:, :, :, _STAR_AT : _STAR_AT + 2] != 0).any(axis=(1, 2, 3)))
        s_va = 1e3 * t.s_kva
        self._leakage = s_va / (t.r_pu + 1j * t.x_pu)
        self._magnetising = s_va * (t.g_pu + 1j * t.b_pu)
        self._to_earth = 1j * s_va * t.earth_b_pu
        volts = 1e3 * np.stack([t.v_from_kv, t.v_to_kv], axis=1)
        self._neutral = t.neutral_s * volts**2
        self.scale: Floats = np.repeat(1.0 / volts, 3, axis=1)
        """Siemens per volt-ampere: ``Y = matrix * scale[:, :, None] * scale[:, None, :]``."""

    def matrices(self, tap_position: Ints) -> Complexes:
        """The banks ``(n, 6, 6)`` in VA at rated winding voltage, for the tap positions ``(n,)``."""
        t = self._t
        factor = 1 + (tap_position - t.tap_neutral) * t.tap_step_percent / 100
        tap = np.where(np.arange(2) == t.tap_side[:, np.newaxis], factor[:, np.newaxis], 1.0)
        unit = np.empty((t.n, 2, 2), dtype=np.complex128)
        unit[:, 0, 0] = (self._leakage + self._magnetising / 2) / tap[:, 0] ** 2
        unit[:, 1, 1] = (self._leakage + self._magnetising / 2) / tap[:, 1] ** 2
        unit[:, 0, 1] = unit[:, 1, 0] = -self._leakage / (tap[:, 0] * tap[:, 1])
        # sum over the units u of C'u Y Cu, with the windings w, x and the bank's nodes i, j
        full = np.einsum("tuwi,twx,tuxj->tij", self._incidence, unit, self._incidence)
        ends = np.abs(self._incidence).sum(axis=(1, 2))
        diagonal = np.arange(_STAR_AT)
        full[:, diagonal, diagonal] += self._to_earth[:, np.newaxis] * ends[:, :_STAR_AT] / 2
        star = np.arange(_STAR_AT, _EARTH_AT)
        full[:, star, star] += self._neutral
        return self._without_star_points(full)

    def _without_star_points(self, full: Complexes) -> Complexes:
        banks = full[:, :_STAR_AT, :_STAR_AT].copy()
        at = self._has_star
        if len(at):
            banks[at] -= _eliminated(full[at], np.arange(_STAR_AT), np.arange(_STAR_AT, _EARTH_AT))
        return banks


def _incidence(from_plus: Codes, from_minus: Codes, to_plus: Codes, to_minus: Codes) -> Floats:
    """Winding voltages from node voltages: ``(n, unit, winding, node)``; nodes 6 and 7 are the star points."""
    n = len(from_plus)
    incidence = np.zeros((n, 3, 2, _EARTH_AT + 1))
    rows, units = np.indices((n, 3))
    for side, (plus, minus) in enumerate(((from_plus, from_minus), (to_plus, to_minus))):
        for codes, sign in ((plus, 1.0), (minus, -1.0)):
            at = np.where(codes < EARTH, 3 * side + codes, np.where(codes == STAR, _STAR_AT + side, _EARTH_AT))
            at = np.where(codes == ABSENT, _EARTH_AT, at).astype(np.int64)
            np.add.at(incidence, (rows, units, np.full_like(rows, side), at), sign)
    return np.ascontiguousarray(incidence[:, :, :, :_EARTH_AT])


def _eliminated(matrices: Complexes, keep: Any, drop: Any) -> Complexes:
    """What elimination of the nodes ``drop`` takes off the rows and columns ``keep``."""
    inner = np.linalg.pinv(matrices[:, drop[:, np.newaxis], drop], rcond=_RANK_TOLERANCE)
    right = matrices[:, drop[:, np.newaxis], keep]
    reduced: Complexes = matrices[:, keep[:, np.newaxis], drop] @ inner @ right
    return reduced


def without_open_ends(matrices: Complexes, present: Bools, active: Bools) -> Complexes:
    """The branches with their inactive ends open: rows and columns of these become zero. Arguments ``(n, 6[, 6])``."""
    result = matrices.copy()
    opened = present & ~active
    result[~active.any(axis=1)] = 0.0
    partly = np.flatnonzero(opened.any(axis=1) & active.any(axis=1))
    patterns, member = np.unique(np.concatenate([active, opened], axis=1)[partly], axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        rows = partly[member.ravel() == number]
        keep, drop = np.flatnonzero(pattern[:6]), np.flatnonzero(pattern[6:])
        block: Complexes = matrices[rows]
        remaining: Complexes = block[:, keep[:, np.newaxis], keep] - _eliminated(block, keep, drop)
        result[rows] = 0.0
        result[rows[:, np.newaxis, np.newaxis], keep[:, np.newaxis], keep] = remaining
    return result


class Branches:
    """The branches under open ends and taps; only those that a change concerns are worked out again.

    A row depends on its own ends and tap alone, so that the result is the same whatever was asked before.
    """

    def __init__(self, network: ThreePhaseNetwork, present: Bools) -> None:
        self._present = present
        self._n_lines = network.lines.n
        self._lines = line_admittances(network)
        self._transformers = TransformerAdmittances(network)
        self._active: Bools | None = None
        self._taps = network.transformers.tap_position
        self._last: Complexes = np.zeros((0, 6, 6), dtype=np.complex128)

    def under(self, active: Bools, tap_position: Ints) -> Complexes:
        """Matrices ``(n_branches, 6, 6)`` in siemens with the inactive ends open."""
        n = self._n_lines
        if self._active is None:
            changed = np.ones(len(self._present), dtype=np.bool_)
            result = np.empty((len(changed), 6, 6), dtype=np.complex128)
        else:
            changed = (active != self._active).any(axis=1)
            changed[n:] |= tap_position != self._taps
            result = self._last.copy()
        rows = np.flatnonzero(changed[:n])
        result[rows] = without_open_ends(self._lines[rows], self._present[rows], active[rows])
        if changed[n:].any():
            banks = without_open_ends(self._transformers.matrices(tap_position), self._present[n:], active[n:])
            scale = self._transformers.scale
            result[n:] = banks * scale[:, :, np.newaxis] * scale[:, np.newaxis, :]
        self._active, self._taps, self._last = active, tap_position, result
        return result


def shunt_unit_admittances(network: ThreePhaseNetwork) -> Complexes:
    """Admittance of each shunt unit ``(n, 3)``."""
    shunts = network.shunts
    volts = 1e3 * shunts.v_nominal_kv[:, np.newaxis]
    return np.asarray(1e3 * (shunts.p_kw - 1j * shunts.q_kvar) / volts**2, dtype=np.complex128)
