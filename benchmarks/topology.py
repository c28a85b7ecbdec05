"""Topology processing while switches operate, beside working it all out again: ``python -m benchmarks.topology``.

Radial feeders, half of the operations on switches of the radial part, half on ties between neighbouring feeders;
one in ten positions becomes unknown. Both ways take turns in one process; figures are medians of CPU time.
"""

from __future__ import annotations

import sys
import time
from statistics import median

import numpy as np

from twin.dms.topology import SwitchState, TopologyProcessor
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind

SIZES = (100, 1_000, 10_000)
OPERATIONS = 200


def feeders(n: int, *, length: int = 50) -> Network:
    """``n`` nodes in feeders of ``length`` from one busbar, a switch at every fifth line, a tie between neighbours."""
    b = NetworkBuilder(f"feeders-{n}")
    b.node("BB", v_kv=20)
    b.source("GRID", "BB")
    count = max(2, n // length)
    for feeder in range(count):
        for i in range(length):
            node, before = f"N{feeder}_{i}", f"N{feeder}_{i - 1}" if i else "BB"
            b.node(node, v_kv=20)
            b.line(f"L{feeder}_{i}", before, node, length_km=1, r_ohm_per_km=0.1, x_ohm_per_km=0.1)
            if i % 5 == 0:
                kind = SwitchKind.LOAD_BREAK_SWITCH if i else SwitchKind.BREAKER
                b.switch(f"S{feeder}_{i}", kind, before, branch=f"L{feeder}_{i}", feeder_head=not i)
    for feeder in range(count):
        other = (feeder + 1) % count
        b.line(
            f"LT{feeder}",
            f"N{feeder}_{length - 1}",
            f"N{other}_{length // 2}",
            length_km=1,
            r_ohm_per_km=0.1,
            x_ohm_per_km=0.1,
        )
        b.switch(
            f"T{feeder}",
            SwitchKind.LOAD_BREAK_SWITCH,
            f"N{other}_{length // 2}",
            branch=f"LT{feeder}",
            closed=False,
        )
    return b.build()


def compare(n: int) -> dict[str, float]:
    """Milliseconds an operation in the radial part, of a tie, and a full rebuild."""
    network, rng = feeders(n), np.random.default_rng(1)
    normal = np.where(network.switches.normally_closed, int(SwitchState.CLOSED), int(SwitchState.OPEN)).astype(np.int32)
    processor = TopologyProcessor(network, normal)
    rows = {"switch": np.flatnonzero(normal == SwitchState.CLOSED), "tie": np.flatnonzero(normal == SwitchState.OPEN)}
    times: dict[str, list[float]] = {"switch": [], "tie": [], "rebuild": []}
    for number in range(OPERATIONS):
        kind = ("switch", "tie")[number % 2]
        states = normal.copy()
        row = rng.choice(rows[kind])
        states[row] = int(SwitchState.UNKNOWN) if rng.random() < 0.1 else 1 - states[row]
        for now in (states, normal):
            start = time.process_time()
            processor.update(now)
            times[kind].append(1e3 * (time.process_time() - start))
        if number % 20 == 0:
            start = time.process_time()
            fresh = TopologyProcessor(network, states)
            times["rebuild"].append(1e3 * (time.process_time() - start))
            processor.update(states)
            if not np.array_equal(fresh.nodes().supply, processor.nodes().supply):
                raise AssertionError("the processor that followed differs from a fresh one")
            processor.update(normal)
    return {name: median(values) for name, values in times.items()}


def main(sizes: tuple[int, ...]) -> None:
    """Print one table."""
    print("ms of CPU time (part of a rebuild)")
    for n in sizes:
        row = compare(n)
        parts = "   ".join(f"{name} {ms:8.3f} ({ms / row['rebuild']:6.4f})" for name, ms in row.items())
        print(f"{n:7} nodes   {parts}")


if __name__ == "__main__":
    main(tuple(int(size) for size in sys.argv[1:]) or SIZES)
