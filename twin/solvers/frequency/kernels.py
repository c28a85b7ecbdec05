"""The compiled loop of the frequency model: Runge-Kutta of fourth order, relays at every step.

Imports numba when it is imported itself: import this module late.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True)  # type: ignore[untyped-decorator]
def slopes(
    speed: Any,
    reheat: Any,
    island: Any,
    running: Any,
    set_kw: Any,
    gain_kw: Any,
    fraction: Any,
    reheat_s: Any,
    lowest_kw: Any,
    highest_kw: Any,
    inertia_kws: Any,
    demand_kw: Any,
    damping_kw: Any,
    d_speed: Any,
    d_reheat: Any,
) -> None:
    """Time derivatives of the island speeds (per unit deviation) and of the reheater powers (kW)."""
    for k in range(len(speed)):
        d_speed[k] = -demand_kw[k] - damping_kw[k] * speed[k]
    for m in range(len(reheat)):
        d_reheat[m] = 0.0
        k = island[m]
        if running[m] and k >= 0:
            valve = min(max(-gain_kw[m] * speed[k], lowest_kw[m] - set_kw[m]), highest_kw[m] - set_kw[m])
            d_speed[k] += set_kw[m] + fraction[m] * valve + reheat[m]
            d_reheat[m] = ((1.0 - fraction[m]) * valve - reheat[m]) / reheat_s[m]
    for k in range(len(speed)):
        d_speed[k] = d_speed[k] / (2.0 * inertia_kws[k]) if inertia_kws[k] > 0.0 else 0.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def totals(
    island: Any,
    running: Any,
    machine_inertia_kws: Any,
    stage_island: Any,
    stage_kw: Any,
    stage_state: Any,
    given_kw: Any,
    given_damping_kw: Any,
    inertia_kws: Any,
    demand_kw: Any,
    damping_kw: Any,
) -> None:
    """Inertia, demand and damping of each island with what runs and what is shed now."""
    inertia_kws[:] = 0.0
    for m in range(len(island)):
        if running[m] and island[m] >= 0:
            inertia_kws[island[m]] += machine_inertia_kws[m]
    demand_kw[:] = given_kw
    for s in range(len(stage_island)):
        if stage_state[s] == 1 and stage_island[s] >= 0:
            demand_kw[stage_island[s]] -= stage_kw[s]
    for k in range(len(demand_kw)):
        share = demand_kw[k] / given_kw[k] if given_kw[k] > 0.0 else 1.0
        damping_kw[k] = given_damping_kw[k] * min(max(share, 0.0), 1.0)


@njit(cache=True)  # type: ignore[untyped-decorator]
def advance(
    n: int,
    h_ms: float,
    nominal_hz: float,
    speed: Any,
    reheat: Any,
    island: Any,
    running: Any,
    set_kw: Any,
    gain_kw: Any,
    fraction: Any,
    reheat_s: Any,
    lowest_kw: Any,
    highest_kw: Any,
    machine_inertia_kws: Any,
    low_hz: Any,
    high_hz: Any,
    machine_delay_ms: Any,
    machine_timer_ms: Any,
    machine_trip_step: Any,
    stage_island: Any,
    stage_kw: Any,
    stage_hz: Any,
    stage_delay_ms: Any,
    stage_arm_hz: Any,
    stage_rocof: Any,
    stage_state: Any,
    stage_timer_ms: Any,
    stage_step: Any,
    given_kw: Any,
    given_damping_kw: Any,
    trace_hz: Any,
) -> None:
    """``n`` steps of ``h_ms``; writes the frequency after each into ``trace_hz`` (n, islands), 0 where dead.

    ``stage_state`` is 0 ready, 1 operated, 2 operated and no longer in the demand given. ``stage_step`` and
    ``machine_trip_step`` take the number of the step after which a relay tripped.
    """
    n_islands, n_machines, n_stages = len(speed), len(reheat), len(stage_island)
    inertia_kws, demand_kw, damping_kw = np.zeros(n_islands), np.zeros(n_islands), np.zeros(n_islands)
    k1, k2, k3, k4 = np.zeros(n_islands), np.zeros(n_islands), np.zeros(n_islands), np.zeros(n_islands)
    r1, r2, r3, r4 = np.zeros(n_machines), np.zeros(n_machines), np.zeros(n_machines), np.zeros(n_machines)
    mid_speed, mid_reheat = np.zeros(n_islands), np.zeros(n_machines)
    h = 1e-3 * h_ms
    stale = True
    for step in range(n):
        if stale:
            totals(
                island, running, machine_inertia_kws, stage_island, stage_kw, stage_state,
                given_kw, given_damping_kw, inertia_kws, demand_kw, damping_kw,
            )  # fmt: skip
            stale = False
        for stage in range(4):
            if stage == 0:
                d_speed, d_reheat, ks, rs, part = k1, r1, k1, r1, 0.0
            elif stage == 1:
                d_speed, d_reheat, ks, rs, part = k2, r2, k1, r1, 0.5 * h
            elif stage == 2:
                d_speed, d_reheat, ks, rs, part = k3, r3, k2, r2, 0.5 * h
            else:
                d_speed, d_reheat, ks, rs, part = k4, r4, k3, r3, h
            for k in range(n_islands):
                mid_speed[k] = speed[k] + (part * ks[k] if stage else 0.0)
            for m in range(n_machines):
                mid_reheat[m] = reheat[m] + (part * rs[m] if stage else 0.0)
            slopes(
                mid_speed, mid_reheat, island, running, set_kw, gain_kw, fraction, reheat_s, lowest_kw, highest_kw,
                inertia_kws, demand_kw, damping_kw, d_speed, d_reheat,
            )  # fmt: skip
        for k in range(n_islands):
            speed[k] += h / 6.0 * (k1[k] + 2.0 * k2[k] + 2.0 * k3[k] + k4[k])
            trace_hz[step, k] = nominal_hz * max(1.0 + speed[k], 0.0) if inertia_kws[k] > 0.0 else 0.0
        for m in range(n_machines):
            reheat[m] += h / 6.0 * (r1[m] + 2.0 * r2[m] + 2.0 * r3[m] + r4[m])
        for s in range(n_stages):
            k = stage_island[s]
            if stage_state[s] != 0 or k < 0 or inertia_kws[k] == 0.0:
                stage_timer_ms[s] = 0.0
                continue
            f = trace_hz[step, k]
            picked = f <= stage_hz[s] or (f <= stage_arm_hz[s] and nominal_hz * k4[k] <= -stage_rocof[s])
            stage_timer_ms[s] = stage_timer_ms[s] + h_ms if picked else 0.0
            if picked and stage_timer_ms[s] > stage_delay_ms[s]:
                stage_state[s], stage_step[s], stage_timer_ms[s] = 1, step, 0.0
                stale = True
        for m in range(n_machines):
            k = island[m]
            if not running[m] or k < 0:
                machine_timer_ms[m] = 0.0
                continue
            outside = trace_hz[step, k] <= low_hz[m] or trace_hz[step, k] >= high_hz[m]
            machine_timer_ms[m] = machine_timer_ms[m] + h_ms if outside else 0.0
            if outside and machine_timer_ms[m] > machine_delay_ms[m]:
                running[m], machine_trip_step[m], machine_timer_ms[m], reheat[m] = False, step, 0.0, 0.0
                stale = True
