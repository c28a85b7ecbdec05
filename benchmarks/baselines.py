"""What a run is held against: the least that its cycles could cost.

The bare power-flow solve of the same network, and a mosaik world of as many simulators with the same connections
in which nobody does anything.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from time import perf_counter
from typing import Any

import mosaik
from mosaik.starters import PythonStarter

from simulators.cycle import CycleSimulator, RunContext
from simulators.world import NEXT_CYCLE, SAME_CYCLE
from twin.network.model import Network
from twin.solvers import power_flow
from twin.timebase import SimTime, TimeBase

ROUNDS = 5


def _median_ms(work: Callable[[int], None], count: int) -> float:
    """Milliseconds of wall time a piece of work, the median of some rounds of ``count`` each."""
    rounds = []
    for _ in range(ROUNDS):
        started = perf_counter()
        work(count)
        rounds.append((perf_counter() - started) * 1000.0 / count)
    return median(rounds)


def solve_ms(network: Network, count: int) -> float:
    """Milliseconds of one power flow of ``network`` with a demand that is another one each time."""
    solver = power_flow(network)
    consumers, generators = network.consumers, network.generators
    demands = [(consumers.p_kw * factor, consumers.q_kvar * factor) for factor in (0.98, 1.0)]

    def solve(times: int) -> None:
        for n in range(times):
            p_kw, q_kvar = demands[n % 2]
            solver.update(
                p_kw=p_kw,
                q_kvar=q_kvar,
                generation_kw=generators.p_kw,
                generation_kvar=generators.q_kvar,
                closed=network.switches.normally_closed,
            )
            solver.solve()

    solve(2)
    return _median_ms(solve, count)


class IdleSimulator(CycleSimulator):
    """Takes and gives the same attributes as a simulator of the world, and does nothing."""

    def __init__(self, context: RunContext, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        self.INPUTS, self.OUTPUTS = inputs, outputs
        super().__init__(context)
        self._idle: dict[str, Any] = dict.fromkeys(outputs)

    def cycle(self, now: SimTime, received: dict[str, Any]) -> dict[str, Any]:
        """Name the next millisecond as that of the next cycle."""
        return {**self._idle, "next_ms": now + 1}


class _Handed:
    """Hands mosaik a simulator that is already made."""

    def __new__(cls, simulator: CycleSimulator) -> Any:
        return simulator


def idle_world_ms(cycles: int) -> float:
    """Milliseconds of one cycle of a world of idle simulators."""
    return _median_ms(run_idle_world, cycles)


def run_idle_world(cycles: int) -> None:
    """Run ``cycles`` cycles of idle simulators that are connected as those of a run."""
    connections = (*SAME_CYCLE, *NEXT_CYCLE)
    names = list(dict.fromkeys(["clock", *(name for source, target, _ in connections for name in (source, target))]))
    context = RunContext(TimeBase(datetime(2026, 1, 15, tzinfo=UTC)))
    world = mosaik.World({}, skip_greetings=True, configure_logging=False)
    try:
        entities = {}
        for name in names:
            inputs = tuple(attr for _, target, attrs in connections if target == name for attr in attrs)
            outputs = tuple(attr for source, _, attrs in connections if source == name for attr in attrs)
            simulator = IdleSimulator(context, inputs, outputs)
            entities[name] = world.start(PythonStarter(_Handed, kwargs={"simulator": simulator}), sim_id=name).World()
        for name in names[1:]:
            world.connect(entities["clock"], entities[name], "next_ms")
        for source, target, attrs in SAME_CYCLE:
            world.connect(entities[source], entities[target], *attrs)
        for source, target, attrs in NEXT_CYCLE:
            first = dict.fromkeys(attrs, 0)
            world.connect(entities[source], entities[target], *attrs, time_shifted=True, initial_data=first)
        world.run(until=cycles, print_progress=False, lazy_stepping=False, shutdown=False)
    finally:
        world.shutdown()
