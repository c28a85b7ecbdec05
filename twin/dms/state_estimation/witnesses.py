"""Currents beside P and Q: they decide between points that only check each other, and can be wrong themselves.

P at both sides of a transformer with an unmetered load behind it have nearly the same normalised residual whichever of
them is wrong: noise decides which is the larger. The misfit of all that is measured, held back currents
included, is compared with either of them left out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import ndtri

from twin.dms.state_estimation.inputs import Inputs
from twin.network.model import Floats, Network
from twin.solvers.state_estimation import (
    BadDataSettings,
    BadMeasurement,
    CleanEstimate,
    EstimationDivergedError,
    Measurements,
    StateEstimate,
    StateEstimator,
)
from twin.solvers.state_estimation import MeasurementKind as K

_MOST_RIVALS = 4
"""Of one removed measurement: so many are tried in its place."""

_CLEAR = 6.6
"""A misfit larger by this is clearly worse: chi-square of one degree of freedom at 1 %."""

_CAP = 50.0
"""The most that one witness adds to a misfit: it may be the liar."""


def settle(estimator: StateEstimator, inputs: Inputs, clean: CleanEstimate, settings: BadDataSettings) -> CleanEstimate:
    """For each removed point, leave out the rival that explains everything better instead, if there is one.

    Raises:
        EstimationDivergedError: no state fits.
    """
    removed = list(clean.removed)
    moved = False
    for at, bad in enumerate(removed):
        rivals = [row for row in bad.rivals if row < inputs.telemetered and clean.estimate.used[row]]
        if bad.measurement >= inputs.telemetered or not rivals:
            continue
        others = [other.measurement for other in removed if other is not bad]
        removed[at] = _decide(estimator, inputs, bad, rivals[:_MOST_RIVALS], others)
        moved |= removed[at].measurement != bad.measurement
    if not moved:
        return replace(clean, removed=tuple(removed))
    left_out = inputs.without([bad.measurement for bad in removed])
    left = replace(settings, max_removals=max(settings.max_removals - len(removed), 0))
    again = estimator.identify_bad_data(left_out, left, skip_unobservable=True)
    return replace(again, removed=(*removed, *again.removed))


def _decide(
    estimator: StateEstimator, inputs: Inputs, bad: BadMeasurement, rivals: list[int], others: list[int]
) -> BadMeasurement:
    """Which of a removed measurement and its rivals is the wrong one, with those that could be it as well."""
    misfits: dict[int, float] = {}
    estimates: dict[int, StateEstimate] = {}
    islands = len(estimator.observability(inputs.without([bad.measurement, *others])))
    for row in (bad.measurement, *rivals):
        left_out = inputs.without([row, *others])
        if len(estimator.observability(left_out)) > islands:
            continue
        try:
            estimates[row] = estimator.estimate(left_out, skip_unobservable=True)
        except EstimationDivergedError:
            continue
        square = np.minimum(_normalised(estimator.network, inputs, estimates[row]) ** 2, _CAP)
        misfits[row] = estimates[row].objective + float(square.sum())
    if bad.measurement not in misfits:
        return bad
    best = min(misfits, key=lambda row: (misfits[row], row != bad.measurement))
    as_well = tuple(row for row in misfits if row != best and misfits[row] < misfits[best] + _CLEAR)
    if best == bad.measurement:
        return replace(bad, indistinguishable=as_well)
    error = float(inputs.whole.value[best] - shown(estimator.network, inputs.whole, estimates[best])[best])
    sigmas = float(np.copysign(abs(bad.normalised_residual), error))
    return BadMeasurement(best, sigmas, error, as_well, bad.rivals)


def wrong_witnesses(
    network: Network, inputs: Inputs, clean: CleanEstimate, settings: BadDataSettings
) -> tuple[BadMeasurement, ...]:
    """The held back currents that contradict the estimate, where P and Q of the same switch are in it."""
    used = clean.estimate.used[np.maximum(inputs.power_of, 0)].all(axis=1)
    sigmas = np.where(used, _normalised(network, inputs, clean.estimate), 0.0)
    tested = int(np.count_nonzero(sigmas))
    if not tested:
        return ()
    limit = max(settings.least_limit, -float(ndtri(settings.false_alarm / (2 * tested))))
    rows = np.flatnonzero(np.abs(sigmas) > limit).tolist()
    off = inputs.witnesses.value - shown(network, inputs.witnesses, clean.estimate)
    return tuple(BadMeasurement(row, float(sigmas[row]), float(off[row]), ()) for row in rows)


def shown(network: Network, m: Measurements, estimate: StateEstimate) -> Floats:
    """What the estimated state says each voltage, flow and current is, used or not, in its unit; NaN for the rest."""
    state, flow = estimate.state, m.kind >= int(K.P_FLOW_KW)
    node, branch = np.where(flow, 0, m.place), np.where(flow, m.place, 0)
    if not network.n_branches:
        return np.asarray(np.where(m.kind == int(K.V_PU), state.v_pu[node], np.nan))
    ends = (
        np.where(m.side == 0, one[branch], other[branch])
        for one, other in (
            (state.p_from_kw, state.p_to_kw),
            (state.q_from_kvar, state.q_to_kvar),
            (state.i_from_a, state.i_to_a),
        )
    )
    kinds = [m.kind == int(kind) for kind in (K.P_FLOW_KW, K.Q_FLOW_KVAR, K.I_FLOW_A, K.V_PU)]
    return np.select(kinds, [*ends, state.v_pu[node]], np.nan)


def _normalised(network: Network, inputs: Inputs, estimate: StateEstimate) -> Floats:
    """The residual of each witness in standard deviations, 0 where there is none or nothing can be said."""
    w = inputs.witnesses
    rows = np.flatnonzero(np.isfinite(w.value))
    sigmas = np.zeros(w.n)
    if not rows.size:
        return sigmas
    branch, state = w.place[rows], estimate.state
    at_from = w.side[rows] == 0
    node = np.where(at_from, network.branch_from[branch], network.branch_to[branch])
    i_a = np.where(at_from, state.i_from_a[branch], state.i_to_a[branch])
    p_kw = np.where(at_from, state.p_from_kw[branch], state.p_to_kw[branch])
    q_kvar = np.where(at_from, state.q_from_kvar[branch], state.q_to_kvar[branch])
    s_kva, power = np.maximum(np.hypot(p_kw, q_kvar), 1e-9), inputs.power_sigma[rows]
    spread_kva = np.hypot(p_kw * power[:, 0], q_kvar * power[:, 1]) / s_kva
    spread_a = spread_kva / (np.sqrt(3.0) * network.nodes.v_nominal_kv[node] * np.maximum(state.v_pu[node], 0.1))
    told = estimate.observable[node] & (i_a > 0)
    sigmas[rows] = np.where(told, (w.value[rows] - i_a) / np.hypot(w.sigma[rows], spread_a), 0.0)
    return sigmas
