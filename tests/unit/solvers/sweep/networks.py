"""Random distribution networks with everything the sweep claims to solve, and measures of what a result is worth."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.solvers import PowerFlowDivergedError, PowerFlowResult

V_KV = {"HV": 110.0, "MV": 20.0, "LV": 0.4}


def random_network(
    seed: int,
    n: int,
    *,
    loops: int = 3,
    couplers: bool = True,
    km: float = 3.0,
    dependent: bool = False,
    holding: bool = False,
) -> Network:
    """One or two 110 kV sources, a transformer each, feeders at 20 kV, secondary substations at 0.4 kV, ties.

    ::

        GRID ─ HV ─T─ MV ─ feeders of lines with switches ─T─ LV     (twice with an odd seed, joined by ties)
                       └─ bus couplers to MV nodes without a line of their own (if ``couplers``)

    Lines are up to ``km`` long. ``dependent`` loads have random shares of current and impedance; with ``holding`` every
    other generating unit holds a voltage, within limits that do not always suffice.
    """
    rng = np.random.default_rng(seed)
    builder = NetworkBuilder(f"random_{seed}_{n}")
    mv = [node for bay in range(1 + seed % 2) for node in _bay(builder, rng, bay, n, couplers, km)]
    for tie in range(loops):
        one, two = (mv[int(row)] for row in rng.choice(len(mv), 2, replace=False))
        _line(builder, rng, f"TIE{tie}", one, two, km)
        builder.switch(f"S_TIE{tie}", SwitchKind.LOAD_BREAK_SWITCH, one, branch=f"TIE{tie}", closed=False)
    network = builder.build()
    if dependent:
        network = _with_shares(network, rng)
    return _with_held_voltages(network, rng) if holding else network


def _with_shares(network: Network, rng: np.random.Generator) -> Network:
    c = network.consumers
    p, q = (rng.dirichlet((1.0, 1.0, 1.0), c.n).T for _ in range(2))
    p[:, rng.random(c.n) < 0.3] = 0.0
    shares = {"p_current_share": p[0], "p_impedance_share": p[1], "q_current_share": q[0], "q_impedance_share": q[1]}
    return replace(network, consumers=replace(c, **{name: share.copy() for name, share in shares.items()}))


def _with_held_voltages(network: Network, rng: np.random.Generator) -> Network:
    g = network.generators
    v_set_pu = np.where(np.arange(g.n) % 2 == 0, rng.uniform(0.99, 1.02, g.n), np.nan)
    room = rng.uniform(20.0, 3000.0, g.n)
    return replace(network, generators=replace(g, v_set_pu=v_set_pu, q_min_kvar=-room, q_max_kvar=0.7 * room))


def _bay(builder: NetworkBuilder, rng: np.random.Generator, bay: int, n: int, couplers: bool, km: float) -> list[str]:
    hv, bar = f"HV{bay}", f"MV{bay}"
    builder.node(hv, v_kv=V_KV["HV"])
    builder.node(bar, v_kv=V_KV["MV"])
    builder.source(f"GRID{bay}", hv, v_pu=float(rng.uniform(0.99, 1.03)), angle_rad=float(rng.uniform(-0.02, 0.02)))
    _transformer(builder, rng, f"T{bay}", hv, bar, ("HV", "MV"), 25_000.0, shift_deg=150.0)
    builder.shunt(f"CAP{bay}", bar, q_kvar=-300.0)
    mv = [bar]
    for k in range(n):
        node = f"{bar}_{k}"
        builder.node(node, v_kv=V_KV["MV"])
        above = mv[int(rng.integers(max(0, len(mv) - 6), len(mv)))]
        if couplers and rng.random() < 0.15:
            builder.switch(f"C_{node}", SwitchKind.DISCONNECTOR, above, other_node=node)
        else:
            one, two = (above, node) if rng.random() < 0.5 else (node, above)
            _line(builder, rng, f"L_{node}", one, two, km)
            for end in (one, two):
                if rng.random() < 0.5:
                    builder.switch(f"S_{node}_{end}", SwitchKind.LOAD_BREAK_SWITCH, end, branch=f"L_{node}")
        _customers(builder, rng, node, k)
        mv.append(node)
    return mv


def _customers(builder: NetworkBuilder, rng: np.random.Generator, node: str, k: int) -> None:
    at = node
    if k % 3 == 0:
        at = f"LV_{node}"
        builder.node(at, v_kv=V_KV["LV"])
        _transformer(builder, rng, f"T_{node}", node, at, ("MV", "LV"), 630.0, shift_deg=150.0)
    builder.consumer(f"C{at}", at, p_kw=float(rng.uniform(0, 250)), q_kvar=float(rng.uniform(-30, 90)))
    if k % 4 == 0:
        builder.generator(f"G{at}", at, p_kw=float(rng.uniform(0, 200)), q_kvar=float(rng.uniform(-20, 20)))


def _line(builder: NetworkBuilder, rng: np.random.Generator, name: str, one: str, two: str, km: float) -> None:
    builder.line(
        name,
        one,
        two,
        length_km=km * float(rng.uniform(0.05, 1.0)),
        r_ohm_per_km=float(rng.uniform(0.1, 0.5)),
        x_ohm_per_km=float(rng.uniform(0.08, 0.35)),
        c_nf_per_km=float(rng.choice([0.0, 10.0, 300.0])),
        g_us_per_km=float(rng.choice([0.0, 2.0])),
        i_max_a=250.0,
    )


def _transformer(
    builder: NetworkBuilder,
    rng: np.random.Generator,
    name: str,
    one: str,
    two: str,
    levels: tuple[str, str],
    s_kva: float,
    shift_deg: float,
) -> None:
    builder.transformer(
        name,
        one,
        two,
        s_kva=s_kva,
        v_from_kv=V_KV[levels[0]],
        v_to_kv=V_KV[levels[1]] * float(rng.choice([1.0, 1.05])),
        vk_percent=float(rng.uniform(4, 12)),
        vkr_percent=float(rng.uniform(0.4, 1.5)),
        p_iron_kw=s_kva * 1.5e-3,
        i0_percent=0.4,
        shift_deg=shift_deg,
        tap_side=int(rng.integers(2)),
        tap_min=-2,
        tap_max=2,
        tap_step_percent=float(rng.choice([-1.5, 1.5])),
        tap_position=int(rng.integers(-2, 3)),
    )


def outcome(solver: Any) -> PowerFlowResult | str:
    """The result, or the words of its error."""
    try:
        result: PowerFlowResult = solver.solve()
    except PowerFlowDivergedError as error:
        return str(error)
    return result


def same(one: PowerFlowResult | str, two: PowerFlowResult | str) -> bool:
    """Equal to the last bit."""
    if isinstance(one, str) or isinstance(two, str):
        return one == two
    return all(np.array_equal(getattr(one, field.name), getattr(two, field.name)) for field in fields(one))


def assert_agree(one: PowerFlowResult, two: PowerFlowResult, *, v_pu: float, kva: float) -> None:
    """Complex voltages within ``v_pu``, powers within ``kva`` and 1e-7 of the largest, currents and loading alike."""
    assert np.array_equal(one.energised, two.energised)
    turned = [result.v_pu * np.exp(1j * result.angle_rad) for result in (one, two)]
    assert np.abs(turned[0] - turned[1]).max() <= v_pu
    limits = dict.fromkeys(("p_from_kw", "q_from_kvar", "p_to_kw", "q_to_kvar"), kva)
    limits |= {"i_from_a": 0.1 * kva, "i_to_a": 10 * kva, "loading": 0.1 * kva}
    for name, limit in limits.items():
        largest = np.abs(getattr(two, name)).max(initial=0.0)
        assert np.abs(getattr(one, name) - getattr(two, name)).max(initial=0.0) <= limit + 1e-7 * largest, name


def imbalance_kva(network: Network, result: PowerFlowResult, closed: Any, **present: Any) -> float:
    """The largest apparent power that is missing at a set of nodes joined by closed bus couplers, without a source.

    ``present`` may replace demand and generation by the names of :meth:`PowerFlow.update`.
    """
    n = network.nodes.n
    c, g, shunts = network.consumers, network.generators, network.shunts
    missing = np.zeros(n, dtype=np.complex128)
    np.add.at(missing, network.branch_from, result.p_from_kw + 1j * result.q_from_kvar)
    np.add.at(missing, network.branch_to, result.p_to_kw + 1j * result.q_to_kvar)
    v_pu = result.v_pu
    p_i, p_z, q_i, q_z = c.zip_shares
    v = v_pu[c.node]
    p_kw = present.get("p_kw", c.p_kw) * (1 - p_i - p_z + p_i * v + p_z * v**2)
    q_kvar = present.get("q_kvar", c.q_kvar) * (1 - q_i - q_z + q_i * v + q_z * v**2)
    np.add.at(missing, c.node, p_kw + 1j * q_kvar)
    np.add.at(missing, g.node, -present.get("generation_kw", g.p_kw) - 1j * result.generation_kvar)
    steps = present.get("shunt_steps", shunts.initial_steps) / shunts.steps
    np.add.at(missing, shunts.node, steps * (shunts.p_kw + 1j * shunts.q_kvar) * v_pu[shunts.node] ** 2)
    group = _coupled(network, closed)
    total = np.zeros(n, dtype=np.complex128)
    np.add.at(total, group, missing)
    total[group[network.sources.node]] = 0.0
    total[group[~result.energised]] = 0.0
    return float(np.abs(total).max())


def _coupled(network: Network, closed: Any) -> Any:
    """The lowest node of each set of nodes that closed bus couplers join."""
    s = network.switches
    group = np.arange(network.nodes.n)
    for row in np.flatnonzero((s.branch < 0) & closed):
        one, two = group[s.node[row]], group[s.other_node[row]]
        group[group == max(one, two)] = min(one, two)
    return group
