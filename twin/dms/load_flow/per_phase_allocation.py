"""The arithmetic of the allocation phase by phase: units of loads that draw from one phase, or from two.

Each round solves the network and shares out what is missing at the channels so that the units change as little as
possible, each in proportion to what it takes (least squares with weights, by zone). Units in star therefore keep
their proportions; units in delta, which cannot be scaled for one phase alone, move as the phases of their zone
together ask for it. Nothing goes below zero that began above it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from twin.dms.load_flow.allocation import (
    Allocated,
    AllocationDivergedError,
    Flows,
    Readings,
    own_parts,
    targets,
)
from twin.dms.load_flow.settings import LoadFlowSettings
from twin.network.model import Floats, Ints
from twin.network.three_phase import Complexes
from twin.solvers.model import PowerFlowDivergedError

_LEAST_WEIGHT = 1e-3
"""A unit that takes nothing weighs this part of its rating."""

_STALLED = 3
"""So many rounds without progress are enough."""

_MOST_HALVINGS = 20

Solve = Callable[[Floats, Floats], tuple[Flows, Complexes]]
"""From P and Q of the units to the flows at the channels and what each unit draws from its two phases."""


@dataclass(frozen=True)
class Units:
    """``zone`` is the meter that answers for each unit (-1: none); ``channel`` (n, 2) are the channels of its own phase
    and, in delta, of the next one (-1: none, or not read); ``rated_kva`` shares out what a start of zero cannot."""

    zone: Ints
    channel: Ints
    rated_kva: Floats


def allocate_units(
    readings: Readings,
    units: Units,
    start: tuple[Floats, Floats],
    solve: Solve,
    fed_in: tuple[Floats, Floats],
    settings: LoadFlowSettings,
) -> Allocated:
    """Change what the units take until the flows at the channels are the readings.

    ``fed_in`` is what generation adds in the own zone of each channel (P, Q).

    Raises:
        AllocationDivergedError: the flows do not come within the tolerance.
        PowerFlowDivergedError: from ``solve``.
    """
    floor = (np.minimum(start[0], 0.0), np.minimum(start[1], 0.0))
    s_kva = _first_guess(readings, units, start[0] + 1j * start[1], fed_in[0] + 1j * fed_in[1])
    worst, off = -1, np.zeros(len(readings.parent))
    history: list[float] = []
    for rounds in range(1, settings.max_rounds + 1):
        s_kva, (flows, draws) = _solved(solve, s_kva)
        if not len(off):
            return Allocated(s_kva.real, s_kva.imag, off, rounds)
        target_p, target_q = targets(readings, flows)
        miss = target_p - flows.p_kw + 1j * (target_q - flows.q_kvar)
        size = np.hypot(target_p, target_q)
        off = np.abs(miss) / np.maximum(size, 1e-3 * max(float(size.max()), 1e-6))
        off[~np.isin(np.arange(len(off)), units.channel)] = 0.0  # nobody there to answer for it
        worst = int(np.argmax(off))
        history.append(float(off[worst]))
        if off[worst] <= (settings.acceptable_off if _settled(history) else settings.tolerance):
            return Allocated(s_kva.real, s_kva.imag, off, rounds)
        missing = own_parts(readings.parent, miss.real) + 1j * own_parts(readings.parent, miss.imag)
        s_kva = _shared(s_kva, missing, units, draws, floor)
    raise AllocationDivergedError(worst, float(off[worst]), settings.max_rounds)


def _settled(history: list[float]) -> bool:
    """Whether the last rounds brought nothing: two phases are read where one unit draws from both."""
    return len(history) > _STALLED and history[-1] > 0.9 * min(history[:-_STALLED])


def _solved(solve: Solve, s_kva: Complexes) -> tuple[Complexes, tuple[Flows, Complexes]]:
    """The flows, with all units halved until there is a solution: a wrong start may be more than can be carried."""
    for _ in range(_MOST_HALVINGS):
        try:
            return s_kva, solve(s_kva.real, s_kva.imag)
        except PowerFlowDivergedError:
            s_kva = 0.5 * s_kva
    return s_kva, solve(s_kva.real, s_kva.imag)


def _first_guess(readings: Readings, units: Units, start: Complexes, fed_in: Complexes) -> Complexes:
    """Every zone scaled to what its phases read together, without losses; as it is where no power is read."""
    read = readings.p_kw + 1j * readings.q_kvar
    own = own_parts(readings.parent, read.real) + 1j * own_parts(readings.parent, read.imag) + fed_in
    s_kva = start.copy()
    for zone in np.unique(units.zone[units.zone >= 0]).tolist():
        here = np.flatnonzero(units.zone == zone)
        channels = np.unique(units.channel[here])
        wanted, taken = own[channels[channels >= 0]].sum(), start[here].sum()
        s_kva[here] = _scaled(start[here].real, wanted.real, taken.real) + 1j * _scaled(
            start[here].imag, wanted.imag, taken.imag
        )
    return s_kva


def _scaled(part: Floats, wanted: float, taken: float) -> Floats:
    factor = wanted / taken if abs(taken) > 1e-9 else np.nan
    return part * factor if np.isfinite(factor) and factor > 0 else part


def _shared(
    s_kva: Complexes, missing: Complexes, units: Units, draws: Complexes, floor: tuple[Floats, Floats]
) -> Complexes:
    """What is missing at the channels of each zone shared out among its units."""
    shared = s_kva.copy()
    for zone in np.unique(units.zone[units.zone >= 0]).tolist():
        here = np.flatnonzero(units.zone == zone)
        channels = np.unique(units.channel[here])
        channels = channels[channels >= 0]
        if channels.size:
            drawn = _matrix(units.channel[here], draws[here], channels)
            shared[here] += _least_change(drawn, s_kva[here], units.rated_kva[here], missing[channels])
    return np.maximum(shared.real, floor[0]) + 1j * np.maximum(shared.imag, floor[1])


def _matrix(channel: Ints, draws: Complexes, channels: Ints) -> Complexes:
    """What each unit (columns) draws from each channel (rows)."""
    matrix = np.zeros((len(channels), len(channel)), dtype=np.complex128)
    for end in (0, 1):
        there = np.flatnonzero(channel[:, end] >= 0)
        matrix[np.searchsorted(channels, channel[there, end]), there] += draws[there, end]
    return matrix


def _least_change(drawn: Complexes, s_kva: Complexes, rated_kva: Floats, missing: Complexes) -> Complexes:
    """The change of the units that gives what is missing, P and Q apart, each in proportion to what it is."""
    matrix = np.block([[drawn.real, -drawn.imag], [drawn.imag, drawn.real]])
    least = _LEAST_WEIGHT * np.maximum(rated_kva, 1e-6)
    weight = np.concatenate([np.maximum(np.abs(s_kva.real), least), np.maximum(np.abs(s_kva.imag), least)])
    wanted = np.concatenate([missing.real, missing.imag])
    weighted = matrix * weight
    share, *_ = np.linalg.lstsq(weighted @ matrix.T, wanted, rcond=1e-9)
    change = weighted.T @ share
    n = len(s_kva)
    return np.asarray(change[:n] + 1j * change[n:])
