"""Networks and measurements for the tests of state estimation."""

from __future__ import annotations

import estimation_dense as dense
import numpy as np

from twin.network.builder import NetworkBuilder
from twin.network.model import Bools, Floats, Network, SwitchKind
from twin.solvers import PowerFlowResult
from twin.solvers.state_estimation import MeasurementKind, Measurements

K = MeasurementKind


def line(b: NetworkBuilder, name: str, a: str, c: str, km: float = 1.0, c_nf_per_km: float = 200.0) -> None:
    b.line(name, a, c, length_km=km, r_ohm_per_km=0.3, x_ohm_per_km=0.35, c_nf_per_km=c_nf_per_km)


def random_network(rng: np.random.Generator, n: int, loops: int, c_nf_per_km: float = 200.0) -> Network:
    """A random tree of ``n`` nodes with some loops; about a third of the nodes are passive."""
    b = NetworkBuilder("random")
    for i in range(n):
        b.node(f"N{i}", v_kv=20.0)
    b.source("S", "N0")
    pairs = [(int(rng.integers(max(0, i - 3), i)), i) for i in range(1, n)]
    pairs += [(int(a), int(c)) for a, c in rng.integers(0, n, (loops, 2)) if a != c]
    for e, (a, c) in enumerate(pairs):
        line(b, f"L{e}", f"N{a}", f"N{c}", float(rng.uniform(0.2, 5)), c_nf_per_km)
    for i in range(1, n):
        if rng.random() < 0.65:
            b.consumer(f"C{i}", f"N{i}", p_kw=300.0)
    return b.build()


def passive_of(network: Network) -> Bools:
    passive = np.ones(network.nodes.n, dtype=bool)
    passive[network.consumers.node] = False
    passive[0] = False
    return passive


def true_state(network: Network, passive: Bools) -> Floats:
    """(V, angle) of a power flow by fixed point: 300 kW, 90 kvar at every consumer."""
    n = network.nodes.n
    y = np.array([dense.currents(network, column)[2] for column in np.eye(n, dtype=complex)]).T
    s = np.where(passive, 0, -(0.3 + 0.09j))
    v = np.ones(n, dtype=complex)
    for _ in range(50):
        i = np.conj(s / v)
        v[1:] = np.linalg.solve(y[1:, 1:], i[1:] - y[1:, 0] * v[0])
    return np.concatenate([np.abs(v), np.angle(v)])


def everything(network: Network) -> Measurements:
    """Every quantity of every place, without values."""
    nodes, ends = np.arange(network.nodes.n), np.arange(network.n_branches)
    at_nodes = [(K.V_PU, 0.003), (K.P_INJECTION_KW, 15.0), (K.Q_INJECTION_KVAR, 15.0)]
    at_ends = [(K.P_FLOW_KW, 10.0), (K.Q_FLOW_KVAR, 10.0), (K.I_FLOW_A, 1.0)]
    return Measurements.join(
        *(Measurements.of(kind, nodes, np.zeros(len(nodes)), sigma) for kind, sigma in at_nodes),
        *(Measurements.of(kind, ends, np.zeros(len(ends)), sigma, side) for kind, sigma in at_ends for side in (0, 1)),
    )


def some(m: Measurements, pick: Bools) -> Measurements:
    return Measurements(m.kind[pick], m.place[pick], m.side[pick], m.value[pick], m.sigma[pick])


def random_measurements(rng: np.random.Generator, network: Network, share: float) -> Measurements:
    """A random choice of everything measurable, with noise, around a state that keeps the zero injections."""
    every = everything(network)
    chosen = some(every, rng.random(every.n) < share)
    exact = dense.predict(network, chosen, true_state(network, passive_of(network)))
    return chosen.with_values(exact + rng.normal(0, chosen.sigma))


def exact_values(network: Network, result: PowerFlowResult, m: Measurements) -> Measurements:
    """The same measurements with the values of a power flow."""
    s_from, s_to = result.p_from_kw + 1j * result.q_from_kvar, result.p_to_kw + 1j * result.q_to_kvar
    injection = np.zeros(network.nodes.n, dtype=complex)
    np.add.at(injection, network.branch_from, s_from)
    np.add.at(injection, network.branch_to, s_to)
    node, branch = np.where(m.kind <= 2, m.place, 0), np.where(m.kind > 2, m.place, 0)
    flow = np.where(m.side == 0, s_from[branch], s_to[branch])
    current = np.where(m.side == 0, result.i_from_a[branch], result.i_to_a[branch])
    by_kind = [result.v_pu[node], injection[node].real, injection[node].imag, flow.real, flow.imag, current]
    return m.with_values(np.choose(m.kind, by_kind))


def feeder() -> Network:
    """``S -N0 -L1- N1 -L2- N2 =CB= N3 -L3- N4``; consumers at N2, N3 (one bus while CB is closed) and N4.

    N1 is passive. ``SW`` opens L3 at N3.
    """
    b = NetworkBuilder("feeder")
    for i in range(5):
        b.node(f"N{i}", v_kv=20.0)
    b.source("S", "N0")
    line(b, "L1", "N0", "N1")
    line(b, "L2", "N1", "N2")
    line(b, "L3", "N3", "N4")
    b.switch("CB", SwitchKind.BREAKER, "N2", other_node="N3")
    b.switch("SW", SwitchKind.LOAD_BREAK_SWITCH, "N3", branch="L3")
    for node, p_kw in (("N2", 400.0), ("N3", 200.0), ("N4", 300.0)):
        b.consumer(f"C_{node}", node, p_kw=p_kw, q_kvar=0.25 * p_kw)
    return b.build()
