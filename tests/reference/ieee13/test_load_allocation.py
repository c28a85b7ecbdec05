"""Load allocation phase by phase on the IEEE 13-node feeder: head currents per phase from wrong starts.

Meters: all phases at the head of the feeder (line 650632) and of the branch to 633 and 634 (line 632633). A channel is
a phase of a meter, an element a unit of a load; a unit in delta is counted with the phase it begins at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twin.dms.load_flow import Flows, Readings, allocate
from twin.network.opendss_loader import load_opendss
from twin.solvers.three_phase import three_phase_power_flow

HERE = Path(__file__).parent
BEHIND_633 = ("633", "634")


def rows(names: tuple[str, ...], *wanted: str) -> list[int]:
    lower = [name.lower().removeprefix("line.") for name in names]
    return [lower.index(name) for name in wanted]


@pytest.mark.parametrize("seed", range(8))
def test_head_currents__are_recovered_per_phase_from_wrong_starts(seed: int) -> None:
    network = load_opendss(HERE / "fixed_taps.dss")
    solver, rng = three_phase_power_flow(network), np.random.default_rng(seed)
    head, branch = rows(network.branch_names, "650632", "632633")
    true_p, true_q = np.array(network.consumers.p_kw), np.array(network.consumers.q_kvar)
    there = np.isfinite(true_p)
    truth = solver.solve()

    def at_meters(array: Any) -> Any:
        return np.concatenate([array[head], array[branch]])

    nodes = np.array([network.nodes.names[n].lower() in BEHIND_633 for n in network.consumers.node])
    phase = np.broadcast_to(np.arange(3), true_p.shape)
    channel = (phase + np.where(nodes, 3, 0)[:, None])[there].astype(np.int32)

    def solve(p_kw: Any, q_kvar: Any) -> Flows:
        p, q = np.full(true_p.shape, np.nan), np.full(true_p.shape, np.nan)
        p[there], q[there] = p_kw, q_kvar
        solver.update(p_kw=p, q_kvar=q)
        solved.append(solver.solve())
        now = solved[-1]
        return Flows(at_meters(now.p_from_kw), at_meters(now.q_from_kvar), at_meters(now.i_from_a))

    solved: list[Any] = []
    parent = np.array([-1, -1, -1, 0, 1, 2], dtype=np.int32)
    readings = Readings(parent, at_meters(truth.p_from_kw), at_meters(truth.q_from_kvar), np.full(6, np.nan))
    start = tuple(value[there] * rng.uniform(0.2, 3.0, int(there.sum())) for value in (true_p, true_q))
    weight = np.hypot(true_p, true_q)[there]
    found = allocate(readings, channel, weight, start, solve, max_rounds=100)
    assert solved[-1].i_from_a[head] == pytest.approx(truth.i_from_a[head], rel=0.005)
    assert solved[-1].i_from_a[branch] == pytest.approx(truth.i_from_a[branch], rel=0.005)
    assert np.abs(found.p_kw - true_p[there]).max() > 5.0  # the start's proportions are wrong and stay wrong
