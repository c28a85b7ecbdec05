"""Topology processing held against brute force over every possible world, on random networks and operations."""

from __future__ import annotations

import itertools
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from twin.dms.topology import (
    UNKNOWN_ROW,
    Known,
    NodeStates,
    SupplyState,
    SwitchState,
    TopologyProcessor,
    assess_network,
)
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.points.model import DoublePosition

OPEN, CLOSED, UNKNOWN = (int(state) for state in SwitchState)


def _ring() -> Network:
    """Two sources, a ring of three, a spur with an earthing switch.

    GRID -- S ==CB_1== L1 -- A --L2==T== B --L3==CB_2== S2 -- GRID2
                             |                 A ==LBS== L4 -- D (ES)
    """
    b = NetworkBuilder("ring")
    for name in ("S", "A", "B", "S2", "D"):
        b.node(name, v_kv=20)
    for source, node in (("GRID", "S"), ("GRID2", "S2")):
        b.source(source, node)
    for name, a, c in (("L1", "S", "A"), ("L2", "A", "B"), ("L3", "B", "S2"), ("L4", "A", "D")):
        b.line(name, a, c, length_km=1, r_ohm_per_km=0.1, x_ohm_per_km=0.1)
    b.switch("CB_1", SwitchKind.BREAKER, "S", branch="L1", feeder_head=True)
    b.switch("T", SwitchKind.LOAD_BREAK_SWITCH, "B", branch="L2", closed=False)
    b.switch("CB_2", SwitchKind.BREAKER, "S2", branch="L3", feeder_head=True)
    b.switch("LBS", SwitchKind.LOAD_BREAK_SWITCH, "A", branch="L4")
    b.consumer("C_D", "D", p_kw=10, customers=7)
    b.earthing_switch("ES", "D", branch="L4")
    return b.build()


def _processor(**states: int) -> TopologyProcessor:
    network = _ring()
    normal = dict(zip(network.switches.names, np.where(network.switches.normally_closed, CLOSED, OPEN), strict=True))
    switch = np.array([states.get(name, value) for name, value in normal.items()], dtype=np.int32)
    return TopologyProcessor(network, switch, np.array([states.get("ES", OPEN)], dtype=np.int32))


def _row(processor: TopologyProcessor, name: str) -> int:
    return processor.network.index[name].index


def test_normal_state__knows_the_feed_of_every_node() -> None:
    p = _processor()
    nodes = p.nodes()
    assert (nodes.supply == SupplyState.ENERGISED).all()
    heads = [p.network.switches.names[row] if row >= 0 else "" for row in nodes.feeder_head]
    assert heads == ["", "CB_1", "CB_2", "", "CB_1"]
    assert not nodes.in_parallel.any()
    assert not nodes.in_loop.any()


def test_closed_tie_between_two_sources__is_seen_as_parallel() -> None:
    nodes = _processor(T=CLOSED).nodes()
    assert (nodes.in_parallel == Known.YES).all()
    assert not nodes.in_loop.any(), "a way between two sources is no loop"


def test_unknown_tie__leaves_supply_known_and_parallel_unknown() -> None:
    nodes = _processor(T=UNKNOWN).nodes()
    assert (nodes.supply == SupplyState.ENERGISED).all()
    assert (nodes.in_parallel == Known.UNKNOWN).all()
    assert (nodes.feeder_head == UNKNOWN_ROW).all()


def test_unknown_switch__makes_what_hangs_on_it_unknown_and_nothing_else() -> None:
    p = _processor(LBS=UNKNOWN)
    nodes = p.nodes()
    assert nodes.supply[_row(p, "D")] == SupplyState.UNKNOWN
    assert (np.delete(nodes.supply, _row(p, "D")) == SupplyState.ENERGISED).all()
    assert nodes.feeder_head[_row(p, "A")] == _row(p, "CB_1")


def test_earthing_switch__earths_the_cut_off_line_and_not_beyond_the_open_switch() -> None:
    p = _processor(LBS=OPEN, ES=CLOSED)
    nodes = p.nodes()
    assert nodes.earthed[_row(p, "D")] == Known.YES
    assert nodes.earthed[_row(p, "A")] == Known.NO
    assert p.branches().earthed[_row(p, "L4")] == Known.YES


def test_what_if__warns_of_closing_onto_an_earth_and_changes_nothing() -> None:
    p = _processor(LBS=OPEN, ES=CLOSED)
    before = p.nodes()
    effect = p.what_if("LBS", closed=True)
    assert effect.onto_earth
    assert effect.energised == (_row(p, "D"),)
    assert effect.customers_energised == 7
    assert effect.why == "LBS closed: 1 node becomes energised, supply meets an earth."
    _same(before, p.nodes())
    assert not _processor(LBS=OPEN).what_if("LBS", closed=True).onto_earth
    assert _processor(LBS=OPEN, ES=UNKNOWN).what_if("LBS", closed=True).onto_earth


def test_what_if__tells_parallel_sources_and_lost_customers() -> None:
    assert _processor().what_if("T", closed=True).makes_parallel
    effect = _processor().what_if("CB_1", closed=False)
    assert len(effect.dead) == 2
    assert effect.customers_dead == 7


def test_traces__follow_the_tree() -> None:
    p = _processor()
    names = p.network.nodes.names
    assert [names[n] for n in p.upstream(_row(p, "D"))] == ["D", "A", "S"]
    assert [names[n] for n in p.downstream(_row(p, "A"))] == ["A", "D"]
    assert _processor(CB_1=OPEN).downstream(_row(p, "A")) == ()


def _same(a: NodeStates, b: NodeStates) -> None:
    for column in fields(NodeStates):
        assert np.array_equal(getattr(a, column.name), getattr(b, column.name)), column.name


# --- brute force -------------------------------------------------------------------------------------------------


def _random(seed: int) -> Network:
    rng = np.random.default_rng(seed)
    b = NetworkBuilder(f"random-{seed}")
    n = int(rng.integers(3, 9))
    for i in range(n):
        b.node(f"N{i}", v_kv=20)
    for i in range(int(rng.integers(1, 3))):
        b.source(f"G{i}", f"N{int(rng.integers(0, n))}")
    for i in range(int(rng.integers(n - 1, n + 3))):
        a = int(rng.integers(0, n))
        c = int((a + rng.integers(1, n)) % n)
        kind = rng.random()
        if kind < 0.2:
            b.switch(f"Q{i}", SwitchKind.DISCONNECTOR, f"N{a}", other_node=f"N{c}")
            continue
        if kind < 0.3:
            b.transformer(f"T{i}", f"N{a}", f"N{c}", s_kva=100, v_from_kv=20, v_to_kv=20, vk_percent=4, vkr_percent=1)
        else:
            b.line(f"L{i}", f"N{a}", f"N{c}", length_km=1, r_ohm_per_km=0.1, x_ohm_per_km=0.1)
        name = f"T{i}" if kind < 0.3 else f"L{i}"
        for at, side in ((a, 0), (c, 1)):
            for number in range(int(rng.choice([0, 1, 1, 2]))):
                head = bool(rng.random() < 0.3)
                switch = f"S{i}_{side}_{number}"
                b.switch(switch, SwitchKind.BREAKER, f"N{at}", branch=name, side=side, feeder_head=head)
        if rng.random() < 0.3:
            b.earthing_switch(f"E{i}", f"N{a}", branch=name if rng.random() < 0.5 else "")
    return b.build()


def _reached(links: list[tuple[int, int]], starts: set[int]) -> set[int]:
    found = set(starts)
    while True:
        more = {y for a, c in links for x, y in ((a, c), (c, a)) if x in found and y not in found}
        if not more:
            return found
        found |= more


def _brute(network: Network, closed: tuple[bool, ...], earthed: tuple[bool, ...]) -> dict[str, list[bool]]:
    """By node: supply, earth, two sources, loop, by trying; a branch is vertex n + row, joined to its ends."""
    n, s, m = network.nodes.n, network.switches, network.n_branches
    on = np.ones((2, m), dtype=bool)
    links: list[tuple[int, int]] = []
    for row in range(s.n):
        if s.branch[row] >= 0:
            on[s.side[row], s.branch[row]] &= closed[row]
        elif closed[row]:
            links.append((int(s.node[row]), int(s.other_node[row])))
    for side, ends in enumerate((network.branch_from, network.branch_to)):
        links += [(int(ends[b]), n + b) for b in range(m) if on[side, b]]
    sources = [int(node) for node in network.sources.node]
    galvanic = [link for link in links if max(link) < n + network.lines.n]
    e = network.earthing
    earths = {int(e.node[i] if e.branch[i] < 0 else n + e.branch[i]) for i in range(e.n) if earthed[i]}
    supplied, grounded = (
        _reached(links, set(sources)),
        _reached(galvanic, earths - set(range(n + network.lines.n, n + m))),
    )

    def loop(node: int) -> bool:
        """Some link at the node can be left out, and its far end still reaches the node: the link closes a loop."""
        for number, link in enumerate(links):
            if node in link:
                rest = links[:number] + links[number + 1 :]
                if set(link) <= _reached(rest, {node}):
                    return True
        return False

    return {
        "supply": [node in supplied for node in range(n)],
        "earthed": [node in grounded for node in range(n)],
        "in_parallel": [len(_reached(links, {node}) & set(sources)) > 1 for node in range(n)],
        "in_loop": [loop(node) for node in range(n)],
    }


class Following(RuleBasedStateMachine):
    """Operations in any order; the processor that follows them is held against a fresh one and against brute force."""

    @initialize(seed=st.integers(0, 5_000))
    def start(self, seed: int) -> None:
        self.network = _random(seed)
        self.switch = np.full(self.network.switches.n, CLOSED, dtype=np.int32)
        self.earthing = np.full(self.network.earthing.n, OPEN, dtype=np.int32)
        self.followed = TopologyProcessor(self.network, self.switch, self.earthing)

    @rule(data=st.data(), state=st.sampled_from([OPEN, CLOSED, CLOSED, UNKNOWN]))
    def operate(self, data: st.DataObject, state: int) -> None:
        if len(self.switch):
            self.switch[data.draw(st.integers(0, len(self.switch) - 1))] = state
            self.followed.update(self.switch)

    @rule(data=st.data(), state=st.sampled_from([OPEN, CLOSED, UNKNOWN]))
    def earth(self, data: st.DataObject, state: int) -> None:
        if len(self.earthing):
            self.earthing[data.draw(st.integers(0, len(self.earthing) - 1))] = state
            self.followed.update(self.switch, self.earthing)

    @rule(data=st.data(), closed=st.booleans())
    def ask(self, data: st.DataObject, closed: bool) -> None:
        if len(self.switch):
            name = self.network.switches.names[data.draw(st.integers(0, len(self.switch) - 1))]
            before = self.followed.nodes()
            self.followed.what_if(name, closed=closed)
            _same(self.followed.nodes(), before)

    @invariant()
    def equals_a_full_rebuild(self) -> None:
        if hasattr(self, "followed"):
            fresh = TopologyProcessor(self.network, self.switch, self.earthing)
            _same(self.followed.nodes(), fresh.nodes())
            _same(self.followed.branches(), fresh.branches())
            assert np.array_equal(self.followed.islands(), fresh.islands())

    @invariant()
    def equals_brute_force_over_all_worlds(self) -> None:
        if not hasattr(self, "followed"):
            return
        states = np.concatenate([self.switch, self.earthing])
        unknown = np.flatnonzero(states == UNKNOWN)
        if len(unknown) > 4:
            return
        seen: dict[str, list[set[bool]]] = {}
        feeds: list[set[tuple[int, int]]] = [set() for _ in range(self.network.nodes.n)]
        for choice in itertools.product((OPEN, CLOSED), repeat=len(unknown)):
            world = states.copy()
            world[unknown] = choice
            at, n = tuple((world == CLOSED).tolist()), self.network.switches.n
            for name, values in _brute(self.network, at[:n], at[n:]).items():
                columns = seen.setdefault(name, [set() for _ in values])
                for column, value in zip(columns, values, strict=True):
                    column.add(value)
            certain = TopologyProcessor(self.network, world[:n], world[n:]).nodes()
            for node, feed in enumerate(feeds):
                feed.add((int(certain.feeder_head[node]), int(certain.source[node])))
        got = self.followed.nodes()
        for name, columns in seen.items():
            expected = [int(Known.UNKNOWN) if len(values) > 1 else int(values.pop()) for values in columns]
            assert getattr(got, name).tolist() == expected, name
        for node, feed in enumerate(feeds):
            for column, told in enumerate((got.feeder_head[node], got.source[node])):
                assert told == UNKNOWN_ROW or {f[column] for f in feed} == {told}


TestFollowing = Following.TestCase
TestFollowing.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 5_000), data=st.data())
def test_processor__agrees_with_one_look_at_the_image(seed: int, data: st.DataObject) -> None:
    network = _random(seed)
    n = network.switches.n
    states = np.array(
        data.draw(st.lists(st.sampled_from([OPEN, CLOSED, UNKNOWN]), min_size=n, max_size=n)), dtype=np.int32
    )
    position = np.array([DoublePosition.OPEN, DoublePosition.CLOSED, DoublePosition.INTERMEDIATE])[states]
    expected = assess_network(network, position.astype(np.int32), np.zeros(n, dtype=np.int32))
    processor = TopologyProcessor(network, states)
    assert np.array_equal(processor.nodes().supply, expected.node)
    assert np.array_equal(processor.branches().supply, expected.branch)


def test_operation_in_a_radial_part__touches_only_what_hangs_on_it() -> None:
    b = NetworkBuilder("comb")
    b.node("S", v_kv=20)
    b.source("GRID", "S")
    for feeder in range(10):
        for i in range(20):
            name, before = f"F{feeder}_{i}", f"F{feeder}_{i - 1}" if i else "S"
            b.node(name, v_kv=20)
            b.line(f"L_{name}", before, name, length_km=1, r_ohm_per_km=0.1, x_ohm_per_km=0.1)
            b.switch(f"S_{name}", SwitchKind.LOAD_BREAK_SWITCH, before, branch=f"L_{name}")
    network = b.build()
    states = np.full(network.switches.n, CLOSED, dtype=np.int32)
    p = TopologyProcessor(network, states)
    opened = states.copy()
    opened[network.index["S_F3_15"].index] = OPEN
    p.update(opened)
    assert p.touched == 2 * 5, "five nodes and five lines"
    p.update(states)
    assert p.touched == 2 * 5


def test_what_if__of_no_switch_is_an_error() -> None:
    with pytest.raises(KeyError):
        _processor().what_if("nowhere", closed=True)


def test_feed__is_unknown_where_some_world_between_feeds_otherwise() -> None:
    """With both unknown switches open, or both closed, N is fed through HA; with U1 closed alone, through HB.

    S =HA= A -- L1 - M1 - L2 - M2 - L3 -- N      A ==U2== L6 -- N
    S =HB= B ==U1== L4 - M3 - L5 -- N
    """
    b = NetworkBuilder("between")
    for name in ("S", "A", "B", "M1", "M2", "M3", "N"):
        b.node(name, v_kv=20)
    b.source("GRID", "S")
    for name, a, c in (
        ("L1", "A", "M1"),
        ("L2", "M1", "M2"),
        ("L3", "M2", "N"),
        ("L4", "B", "M3"),
        ("L5", "M3", "N"),
        ("L6", "A", "N"),
    ):
        b.line(name, a, c, length_km=1, r_ohm_per_km=0.1, x_ohm_per_km=0.1)
    for name, node in (("HA", "A"), ("HB", "B")):
        b.switch(name, SwitchKind.BREAKER, "S", other_node=node, feeder_head=True)
    b.switch("U1", SwitchKind.LOAD_BREAK_SWITCH, "B", branch="L4")
    b.switch("U2", SwitchKind.LOAD_BREAK_SWITCH, "A", branch="L6")
    network = b.build()
    row, head = network.index["N"].index, network.index["HA"].index
    feeds = [
        int(TopologyProcessor(network, np.array([CLOSED, CLOSED, u1, u2], dtype=np.int32)).nodes().feeder_head[row])
        for u1, u2 in ((OPEN, OPEN), (CLOSED, CLOSED), (CLOSED, OPEN), (UNKNOWN, UNKNOWN))
    ]
    assert feeds == [head, head, network.index["HB"].index, UNKNOWN_ROW]
