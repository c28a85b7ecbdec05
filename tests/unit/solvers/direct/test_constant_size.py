"""Every solver keeps its size: 10,000 steps with changing demand, switches and faults leave nothing behind.

Counted are the blocks of Python's allocator (a kept array, result or dictionary is at least one) and the resident
memory of the process, in which a kept block of compiled or foreign code shows.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sweep_networks import random_network

from twin.network import load_network
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.network.three_phase_expand import expand
from twin.solvers import FaultKind, FaultPlace, FaultPoint, StateEstimator, power_flow, short_circuit
from twin.solvers.frequency import FrequencyEvent, FrequencyEventKind, FrequencyModel, Machines, SheddingStages
from twin.solvers.state_estimation import MeasurementKind, Measurements
from twin.solvers.three_phase import three_phase_power_flow

Step = Callable[[int], object]
STEPS, WARM_UP = 10_000, 600
MOST_BLOCKS = 2_000
"""One kept array every fifth step would be this many."""
MOST_RESIDENT = 6 * 2**20
"""600 bytes a step; the allocators keep some of what was freed."""


def balanced(backend: str, *, holding: bool = False) -> Step:
    network = random_network(3, 4, couplers=backend != "power-grid-model", holding=holding)
    solver, c = power_flow(network, backend=backend), network.consumers  # type: ignore[arg-type]
    normal = network.switches.normally_closed
    opened = normal.copy()
    opened[np.flatnonzero(normal)[-1]] = False

    def step(number: int) -> object:
        solver.update(p_kw=c.p_kw * (0.5 + 0.01 * (number % 50)))
        if number % 20 < 2:
            solver.update(closed=opened if number % 20 else normal)
        return solver.solve().loading

    return step


def chain() -> Network:
    """GRID ─ A ── L1 ── B ── L2 ─[S]─ C."""
    builder = NetworkBuilder("chain")
    for node in "ABC":
        builder.node(node, v_kv=20.0)
    builder.source("GRID", "A")
    for name, one, two in (("L1", "A", "B"), ("L2", "B", "C")):
        builder.line(name, one, two, length_km=2.0, r_ohm_per_km=0.3, x_ohm_per_km=0.3, c_nf_per_km=200.0)
        builder.consumer(f"LD_{two}", two, p_kw=800.0, q_kvar=200.0)
    builder.switch("S", SwitchKind.LOAD_BREAK_SWITCH, "C", branch="L2")
    return builder.build()


def three_phase() -> Step:
    network = expand(chain())
    solver = three_phase_power_flow(network)
    p_kw, closed = network.consumers.p_kw, network.switches.normally_closed
    opened = closed.copy()
    opened[-1] = False

    def step(number: int) -> object:
        solver.update(p_kw=p_kw * (0.5 + 0.01 * (number % 50)))
        if number % 50 < 2:
            solver.update(closed=opened if number % 50 else closed)
        return solver.solve().v_pu

    return step


def estimation() -> Step:
    network = chain()
    state = power_flow(network).solve()
    nodes, branches = np.arange(network.nodes.n), np.arange(network.n_branches)
    measured = Measurements.join(
        Measurements.of(MeasurementKind.V_PU, nodes, state.v_pu, sigma=0.003),
        Measurements.of(MeasurementKind.P_FLOW_KW, branches, state.p_from_kw, sigma=10.0, side=0),
        Measurements.of(MeasurementKind.Q_FLOW_KVAR, branches, state.q_from_kvar, sigma=10.0, side=0),
    )
    estimator = StateEstimator(network)
    return lambda number: estimator.estimate(measured.with_values(measured.value * (1 + 1e-4 * (number % 7))))


def frequency() -> Step:
    stages = SheddingStages.of(("R1", "R2"), level_hz=np.array([49.0, 48.8]), p_kw=np.array([900.0, 900.0]))
    model = FrequencyModel(Machines.of(("G1", "G2"), s_kva=5_000.0, p_kw=4_500.0), stages, n_islands=1)
    saved = model.snapshot()
    trip = [FrequencyEvent(30, FrequencyEventKind.TRIP, 0)]

    def step(number: int) -> object:
        if number % 100 == 0:
            model.restore(saved)
        return model.step(100, np.array([9_000.0]), trip if number % 100 == 50 else [])

    return step


def earthed() -> Network:
    network = load_network("cigre_mv")
    lines, t = network.lines, network.transformers
    zero = {"r0_ohm": 3 * lines.r_ohm, "x0_ohm": 3 * lines.x_ohm, "c0_nf": lines.c_nf}
    groups = replace(t, vector_group=("Dyn1",) * t.n, vk0_percent=t.vk_percent, vkr0_percent=t.vkr_percent)
    return replace(network, lines=replace(lines, **zero), transformers=groups)


def faults() -> Step:
    network = earthed()
    solver, closed = short_circuit(network), network.switches.normally_closed
    meshed = np.ones_like(closed)
    points = [
        FaultPoint(FaultKind.THREE_PHASE, node=5),
        FaultPoint(FaultKind.PHASE_TO_EARTH, line=3, position=0.4, resistance_ohm=5.0),
        FaultPoint(FaultKind.DOUBLE_EARTH, node=7, second=FaultPlace(node=4)),
    ]
    return lambda number: solver.solve(points[number % 3], meshed if number % 40 < 3 else closed).i_from_phase_a


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


SOLVERS: dict[str, Callable[[], Step]] = {
    "sweep that holds voltages": lambda: balanced("sweep", holding=True),
    "direct": lambda: balanced("direct"),
    "direct that holds voltages": lambda: balanced("direct", holding=True),
    "power-grid-model": lambda: balanced("power-grid-model"),
    "three-phase": three_phase,
    "state estimation": estimation,
    "frequency": frequency,
    "short circuit": faults,
}


@pytest.mark.parametrize("name", SOLVERS)
def test_solver__keeps_its_size_over_ten_thousand_steps(name: str) -> None:
    step = SOLVERS[name]()
    for number in range(WARM_UP):
        step(number)
    gc.collect()
    blocks, resident = sys.getallocatedblocks(), resident_bytes()
    for number in range(STEPS):
        step(number)
    gc.collect()
    assert sys.getallocatedblocks() - blocks < MOST_BLOCKS
    if sys.platform == "linux":
        assert resident_bytes() - resident < MOST_RESIDENT


def test_measure__sees_what_a_step_keeps() -> None:
    kept: list[object] = []
    gc.collect()
    blocks = sys.getallocatedblocks()
    for _ in range(STEPS):
        kept.append(np.zeros(3))
    assert sys.getallocatedblocks() - blocks > MOST_BLOCKS
