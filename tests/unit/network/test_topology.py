"""Topology on a toy network, and against brute force on random ones."""

from __future__ import annotations

import numpy as np
import pytest

from twin.network import load_network
from twin.network.builder import NetworkBuilder
from twin.network.model import Bools, Network, SwitchKind
from twin.network.topology import Topology, branch_connected, zones

LBS, CB = SwitchKind.LOAD_BREAK_SWITCH, SwitchKind.BREAKER


@pytest.fixture(scope="module")
def ring() -> Network:
    """Two feeders from one busbar, tied at C-D; a coupler to a second busbar section with its own source::

        G1 - S --CB_1-- A --a-- B --b-----c-- C
             |                                |
          COUPLER (open)                     TIE (open, at C)
             |                                |
        G2 - T --CB_2-- D ------------------- D

    L1: S-A, L2: A-B (switch a at A), L3: B-C (b at B, c at C), L4: T-D, L5: C-D (TIE at C).
    Customers: A 10, B 20, C 30, D 40.
    """
    b = NetworkBuilder("ring")
    for node in "SABCTD":
        b.node(node, v_kv=20.0)
    b.source("G1", "S")
    b.source("G2", "T")
    for name, ends in {"L1": "SA", "L2": "AB", "L3": "BC", "L4": "TD", "L5": "CD"}.items():
        b.line(name, ends[0], ends[1], length_km=1.0, r_ohm_per_km=0.1, x_ohm_per_km=0.1)
    b.switch("CB_1", CB, "S", branch="L1", feeder_head=True)
    b.switch("a", LBS, "A", branch="L2")
    b.switch("b", LBS, "B", branch="L3")
    b.switch("c", LBS, "C", branch="L3")
    b.switch("CB_2", CB, "T", branch="L4", feeder_head=True)
    b.switch("TIE", LBS, "C", branch="L5", closed=False)
    b.switch("COUPLER", CB, "S", other_node="T", closed=False)
    for node, customers in {"A": 10, "B": 20, "C": 30, "D": 40}.items():
        b.consumer(f"LD_{node}", node, p_kw=1.0, customers=customers)
    return b.build()


def positions(network: Network, **changes: bool) -> Bools:
    closed = network.switches.normally_closed.copy()
    for name, value in changes.items():
        closed[network.index[name].index] = value
    return closed


def nodes(network: Network, mask: Bools) -> str:
    return "".join(network.nodes.names[i] for i in np.flatnonzero(mask))


def branches(network: Network, mask: Bools) -> list[str]:
    return [network.branch_names[i] for i in np.flatnonzero(mask)]


def test_branch_connected__needs_every_switch_at_the_end(ring: Network) -> None:
    from_on, to_on = branch_connected(ring, positions(ring, c=False))
    assert branches(ring, ~from_on) == ["L5"]
    assert branches(ring, ~to_on) == ["L3"]


def test_branch_connected__is_open_if_one_of_two_switches_in_series_is() -> None:
    b = NetworkBuilder("series")
    b.node("A", v_kv=20)
    b.node("B", v_kv=20)
    b.line("L", "A", "B", length_km=1, r_ohm_per_km=1, x_ohm_per_km=1)
    b.switch("DS", SwitchKind.DISCONNECTOR, "A", branch="L")
    b.switch("CB", CB, "A", branch="L")
    network = b.build()
    results = {(x, y): branch_connected(network, np.array([x, y]))[0][0] for x in (True, False) for y in (True, False)}
    assert results == {(True, True): True, (True, False): False, (False, True): False, (False, False): False}


def test_state__of_normal_operation_is_radial_and_all_alive(ring: Network) -> None:
    topology = Topology(ring)
    state = topology.state(positions(ring))
    assert state.radial
    assert state.energised.all()
    assert state.branch_energised.all()
    assert state.node_island.tolist() == [0, 0, 0, 0, 1, 1]
    assert [ring.switches.names[i] if i >= 0 else "" for i in state.feeder_head] == [
        "", "CB_1", "CB_1", "CB_1", "", "CB_2",
    ]  # fmt: skip
    assert state.source.tolist() == [0, 0, 0, 0, 1, 1]
    assert topology.customers_interrupted(state.energised) == 0


def test_state__of_an_open_feeder_head_is_dead_behind_it(ring: Network) -> None:
    topology = Topology(ring)
    state = topology.state(positions(ring, CB_1=False))
    assert nodes(ring, ~state.energised) == "ABC"
    assert branches(ring, ~state.branch_energised) == ["L1", "L2", "L3"]
    assert topology.customers_interrupted(state.energised) == 60
    assert state.feeder_head[:4].tolist() == [-1, -1, -1, -1]
    assert state.source[1] == -1


def test_state__counts_a_line_open_at_one_end_as_energised(ring: Network) -> None:
    state = Topology(ring).state(positions(ring, b=False))
    assert nodes(ring, ~state.energised) == "C"
    assert branches(ring, ~state.branch_energised) == ["L3"]
    state = Topology(ring).state(positions(ring, c=False))
    assert branches(ring, ~state.branch_energised) == []


def test_state__follows_a_back_feed_to_the_other_head(ring: Network) -> None:
    topology = Topology(ring)
    state = topology.state(positions(ring, a=False, TIE=True))
    assert state.radial
    heads = [ring.switches.names[i] if i >= 0 else "" for i in state.feeder_head]
    assert dict(zip(ring.nodes.names, heads, strict=True)) == {
        "S": "", "A": "CB_1", "B": "CB_2", "C": "CB_2", "T": "", "D": "CB_2",
    }  # fmt: skip
    b, d = ring.nodes.names.index("B"), ring.nodes.names.index("D")
    path, edges = topology.upstream(state, b)
    assert [ring.nodes.names[i] for i in path] == ["B", "C", "D", "T"]
    assert [topology.edge_name(e) for e in edges] == ["L3", "L5", "L4"]
    assert nodes(ring, topology.downstream_of_node(state, d).nodes) == "BCD"


def test_state__does_not_take_a_head_passed_backwards_for_the_feeding_one(ring: Network) -> None:
    """S has lost its source side: fed from T through D, C, B, A and backwards through CB_1."""
    b = NetworkBuilder("back")
    for node in "TAS":
        b.node(node, v_kv=20)
    b.source("G", "T")
    b.line("L1", "T", "A", length_km=1, r_ohm_per_km=1, x_ohm_per_km=1)
    b.line("L2", "S", "A", length_km=1, r_ohm_per_km=1, x_ohm_per_km=1)
    b.switch("CB_1", CB, "S", branch="L2", feeder_head=True)
    b.switch("CB_2", CB, "T", branch="L1", feeder_head=True)
    network = b.build()
    state = Topology(network).state(network.switches.normally_closed)
    assert [network.switches.names[i] if i >= 0 else "" for i in state.feeder_head] == ["", "CB_2", "CB_2"]


def test_loops__names_the_closed_ring_once(ring: Network) -> None:
    topology = Topology(ring)
    state = topology.state(positions(ring, TIE=True, COUPLER=True))
    assert not state.radial
    loops = topology.loops(state)
    closing = [topology.edge_name(loop.closing_edge) for loop in loops]
    assert sorted(closing) == ["COUPLER", "L3"]
    paths = {topology.edge_name(loop.closing_edge): loop for loop in loops}
    # two stiff sources joined through the coupler: S and T in parallel
    assert sorted(ring.nodes.names[i] for i in paths["COUPLER"].nodes) == ["S", "T"]
    assert [topology.edge_name(e) for e in paths["L3"].edges] == ["L3", "L2", "L1", "L4", "L5"]
    assert [ring.nodes.names[i] for i in paths["L3"].nodes] == ["B", "A", "S", "T", "D", "C"]


def test_loops__finds_two_parallel_lines() -> None:
    b = NetworkBuilder("parallel")
    for node in "ABC":
        b.node(node, v_kv=20)
    b.source("G", "A")
    for name, ends in {"L1": "AB", "L2": "BC", "L3": "BC"}.items():
        b.line(name, ends[0], ends[1], length_km=1, r_ohm_per_km=1, x_ohm_per_km=1)
    network = b.build()
    topology = Topology(network)
    (loop,) = topology.loops(topology.state(np.zeros(0, dtype=bool)))
    assert [topology.edge_name(e) for e in loop.edges] == ["L3", "L2"]
    assert sorted(loop.nodes) == [1, 2]


def test_loops__ignores_dead_islands() -> None:
    b = NetworkBuilder("dead")
    for node in "SAB":
        b.node(node, v_kv=20)
    b.source("G", "S")
    b.line("L1", "A", "B", length_km=1, r_ohm_per_km=1, x_ohm_per_km=1)
    b.line("L2", "A", "B", length_km=1, r_ohm_per_km=1, x_ohm_per_km=1)
    network = b.build()
    state = Topology(network).state(np.zeros(0, dtype=bool))
    assert state.radial
    assert state.energised.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("switch", "opened", "fed", "lines"),
    [
        ("CB_1", {}, "ABC", ["L1", "L2", "L3"]),
        ("a", {}, "BC", ["L2", "L3"]),
        ("c", {}, "C", ["L3"]),
        ("TIE", {}, "", []),
        ("b", {"c": False}, "", ["L3"]),
        ("a", {"CB_1": False}, "", []),
    ],
)
def test_downstream_of_switch__is_what_it_feeds(ring: Network, switch, opened, fed, lines) -> None:
    topology = Topology(ring)
    trace = topology.downstream_of_switch(topology.state(positions(ring, **opened)), ring.index[switch].index)
    assert nodes(ring, trace.nodes) == fed
    assert branches(ring, trace.branches) == lines


def test_zones__are_separated_by_switches_whatever_their_state(ring: Network) -> None:
    found = zones(ring)
    #  S | L1 A | L2 B | L3 | C | L5 D L4 | T
    assert found.names == ("Z_S", "Z_A", "Z_B", "Z_C", "Z_T", "Z_D", "Z_L3")
    assert [found.names[z] for z in found.node_zone] == ["Z_S", "Z_A", "Z_B", "Z_C", "Z_T", "Z_D"]
    assert [found.names[z] for z in found.branch_zone] == ["Z_A", "Z_B", "Z_L3", "Z_D", "Z_D"]
    s = ring.switches
    border = {
        n: (found.names[found.switch_zone_a[i]], found.names[found.switch_zone_b[i]]) for i, n in enumerate(s.names)
    }
    assert border["TIE"] == ("Z_C", "Z_D")
    assert border["COUPLER"] == ("Z_S", "Z_T")
    assert border["b"] == ("Z_B", "Z_L3")
    assert [s.names[i] for i in found.switches_of(found.names.index("Z_D"))] == ["CB_2", "TIE"]


def test_zones__of_cigre_mv_are_named_after_lines_and_nodes() -> None:
    network = load_network("cigre_mv")
    found = zones(network)
    assert found.n == network.nodes.n + network.n_branches  # a switch at every end: every part is its own zone
    assert found.names[found.branch_zone[network.index["L3-8"].index]] == "Z_L3-8"
    assert found == zones(load_network("cigre_mv"))


def test_customers_interrupted__on_cigre_when_feeder_1_trips() -> None:
    network = load_network("cigre_mv")
    topology = Topology(network)
    closed = positions(network, CB_1=False)
    consumers = network.consumers
    behind = [consumers.customers[i] for i, n in enumerate(consumers.node) if 2 <= n <= 11]
    assert topology.customers_interrupted(topology.energised(closed)) == sum(behind)


# --- against brute force ---------------------------------------------------------------------------------------


def random_network(rng: np.random.Generator) -> Network:
    n = int(rng.integers(2, 12))
    b = NetworkBuilder("random")
    for i in range(n):
        b.node(f"N{i}", v_kv=20)
    for i in range(int(rng.integers(1, 3))):
        b.source(f"G{i}", f"N{rng.integers(n)}")
    for i in range(int(rng.integers(1, 18))):
        a, c = (int(x) for x in rng.choice(n, 2, replace=False))
        b.line(f"L{i}", f"N{a}", f"N{c}", length_km=1, r_ohm_per_km=1, x_ohm_per_km=1)
        for node in (a, c):
            for k in range(int(rng.integers(0, 3))):
                b.switch(f"s{i}_{node}_{k}", CB, f"N{node}", branch=f"L{i}", feeder_head=bool(rng.integers(2)))
    for i in range(int(rng.integers(0, 3))):
        a, c = (int(x) for x in rng.choice(n, 2, replace=False))
        b.switch(f"b{i}", CB, f"N{a}", other_node=f"N{c}")
    return b.build()


def brute_edges(network: Network, closed: Bools) -> list[tuple[int, int]]:
    s = network.switches
    edges = []
    for branch in range(network.n_branches):
        at_ends = [closed[i] for i in range(s.n) if s.branch[i] == branch]
        if all(at_ends):
            edges.append((int(network.branch_from[branch]), int(network.branch_to[branch])))
    return edges + [(int(s.node[i]), int(s.other_node[i])) for i in range(s.n) if s.branch[i] < 0 and closed[i]]


@pytest.mark.parametrize("seed", range(60))
def test_state__agrees_with_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    closed = rng.random(network.switches.n) < 0.8
    topology = Topology(network)
    state = topology.state(closed)
    edges = brute_edges(network, closed)
    alive = set(network.sources.node.tolist())
    island = list(range(network.nodes.n))
    for _ in range(network.nodes.n):
        for a, b in edges:
            island[a] = island[b] = min(island[a], island[b])
            if a in alive or b in alive:
                alive |= {a, b}
    assert set(np.flatnonzero(state.energised).tolist()) == alive
    assert [island.index(x) for x in island] == [state.node_island.tolist().index(x) for x in state.node_island]
    live_edges = sum(a in alive for a, _ in edges)
    roots = len(set(network.sources.node.tolist()))
    assert state.loop_edges.size == live_edges - (len(alive) - roots)
    for node in range(network.nodes.n):
        check_head(topology, state, node)
    for loop in topology.loops(state):
        assert loop.edges[0] == loop.closing_edge
        assert len(set(loop.edges)) == len(loop.edges)


def check_head(topology: Topology, state, node: int) -> None:
    """The feeding head is the first one met on the way up, at the upper end of its branch."""
    s = topology.network.switches
    path, edges = topology.upstream(state, node)
    expected = -1
    for above, edge in zip(path[1:], edges, strict=True):
        here = [i for i in range(s.n) if s.feeder_head[i] and s.branch[i] == edge and s.node[i] == above]
        if edge < topology.network.n_branches and here:
            expected = here[0]
            break
    assert state.feeder_head[node] == expected
