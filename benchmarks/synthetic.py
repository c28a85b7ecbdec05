"""Synthetic radial networks for benchmarks: random trees of 10 kV cable with a load at every node."""

from __future__ import annotations

import numpy as np

from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind

REACH = 60
"""A node hangs below one of the so many nodes before it: the depth grows with the size, as feeders do."""

FEEDERS = 20


def radial(n: int, *, seed: int = 1, ties: int = 0, banks: int = 0) -> Network:
    """A busbar and ``n - 1`` nodes below it, about 5 % voltage drop; ``ties`` open lines between random nodes,
    ``banks`` capacitor banks of three steps, spread evenly.

    The head of every feeder and both ends of every fiftieth line have a switch.
    """
    rng = np.random.default_rng(seed)
    parent = parents(n, rng)
    depth = np.zeros(n, dtype=np.int64)
    for node in range(1, n):
        depth[node] = depth[parent[node]] + 1
    downstream = np.ones(n)
    for node in range(n - 1, 0, -1):
        downstream[parent[node]] += downstream[node]
    p_kw = rng.uniform(0.2, 1.8, n)
    drop = np.zeros(n)
    length = rng.uniform(0.5, 1.5, n)
    for node in range(1, n):
        drop[node] = drop[parent[node]] + length[node] * downstream[node]
    # u = P·R / V² per unit: lengths such that the worst node sees 5 % at 1 kW a node, 0.4 ohm a kilometre, 10 kV
    km = 0.05 * 100.0 / (0.4 * 1e-3 * drop.max())
    builder = NetworkBuilder(f"radial_{n}")
    for node in range(n):
        builder.node(f"N{node}", v_kv=10.0)
    builder.source("GRID", "N0", v_pu=1.02)
    for node in range(1, n):
        _line(builder, f"L{node}", parent[node], node, km * length[node])
        if parent[node] == 0:
            builder.switch(f"CB{node}", SwitchKind.BREAKER, "N0", branch=f"L{node}", feeder_head=True)
        elif node % 50 == 0:
            builder.switch(f"S{node}A", SwitchKind.LOAD_BREAK_SWITCH, f"N{parent[node]}", branch=f"L{node}")
            builder.switch(f"S{node}B", SwitchKind.LOAD_BREAK_SWITCH, f"N{node}", branch=f"L{node}")
        builder.consumer(f"C{node}", f"N{node}", p_kw=p_kw[node], q_kvar=0.3 * p_kw[node])
    for bank in range(banks):
        at = f"N{(bank + 1) * n // (banks + 1)}"
        builder.shunt(f"BANK{bank}", at, p_kw=0.0, q_kvar=-0.1 * n / banks, steps=3, initial_steps=0)
    for tie in range(ties):
        one, two = (int(node) for node in rng.choice(np.arange(1, n), 2, replace=False))
        _line(builder, f"T{tie}", one, two, km)
        builder.switch(f"TS{tie}", SwitchKind.LOAD_BREAK_SWITCH, f"N{one}", branch=f"T{tie}", closed=False)
    return builder.build()


def parents(n: int, rng: np.random.Generator) -> np.ndarray:
    """The node above each; the first few hang at the busbar."""
    parent = np.zeros(n, dtype=np.int64)
    for node in range(1, n):
        parent[node] = 0 if node <= FEEDERS else rng.integers(max(1, node - REACH), node)
    return parent


def _line(builder: NetworkBuilder, name: str, one: int, two: int, km: float) -> None:
    builder.line(
        name, f"N{one}", f"N{two}", length_km=km, r_ohm_per_km=0.4, x_ohm_per_km=0.12, c_nf_per_km=250.0, i_max_a=300.0
    )
