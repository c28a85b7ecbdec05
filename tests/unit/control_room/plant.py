"""Random networks, and the bench with a plant behind it: it knows the truth and judges every command by it."""

from __future__ import annotations

from typing import Any

import numpy as np
from control_room_bench import CLOSED, Bench
from hypothesis import strategies as st

from twin.derive import DeriveOptions
from twin.dms.zonegraph import zone_graph
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.network.topology import Topology
from twin.outstations.model import StationCommand


@st.composite
def networks(draw: st.DrawFn, *, regulated: bool = False) -> Network:
    """Two or three feeders as random trees with one to three ties; a switch at each end of each line.

    ``regulated``: behind a transformer with taps, with a capacitor bank and an inverter, and an earthing switch at the
    far end of each line.
    """
    feeders = draw(st.integers(2, 3))
    size = draw(st.integers(feeders + 2, 8))
    edges = [(0, n, f"CB_{n}", "") for n in range(1, feeders + 1)]
    edges += [(draw(st.integers(1, n - 1)), n, "", "") for n in range(feeders + 1, size + 1)]
    for number in range(draw(st.integers(1, 3))):
        a, b = draw(st.integers(1, size)), draw(st.integers(1, size))
        if a != b and all({a, b} != {e[0], e[1]} for e in edges):
            edges.append((a, b, "", f"TIE_{number}"))
    builder = NetworkBuilder("random")
    for node in range(size + 1):
        builder.node(f"N{node}", v_kv=20.0)
    if regulated:
        _regulate(builder, size)
    else:
        builder.source("GRID", "N0", s_sc_mva=500.0, rx=0.1)
    for a, b, head, tie in edges:
        line = f"L{a}-{b}"
        builder.line(line, f"N{a}", f"N{b}", length_km=1, r_ohm_per_km=0.1, x_ohm_per_km=0.1, i_max_a=200)
        kind = SwitchKind.BREAKER if head else SwitchKind.LOAD_BREAK_SWITCH
        first = head or tie or f"S_{a}-{b}"
        builder.switch(first, kind, f"N{a}", branch=line, closed=not tie, feeder_head=bool(head))
        builder.switch(f"S_{b}-{a}", SwitchKind.LOAD_BREAK_SWITCH, f"N{b}", branch=line)
        if regulated:
            builder.earthing_switch(f"ES_{b}-{a}", f"N{b}", branch=line)
    for node in range(1, size + 1):
        builder.consumer(f"C{node}", f"N{node}", p_kw=100.0, customers=10)
    return builder.build()


def _regulate(builder: NetworkBuilder, size: int) -> None:
    builder.node("HV", v_kv=110.0)
    builder.source("GRID", "HV", s_sc_mva=500.0, rx=0.1)
    taps = {"tap_side": 0, "tap_min": -4, "tap_max": 4, "tap_neutral": 0, "tap_step_percent": 1.5, "tap_position": 0}
    ratings = {"s_kva": 10_000.0, "v_from_kv": 110.0, "v_to_kv": 20.0, "vk_percent": 10.0, "vkr_percent": 0.5}
    builder.transformer("T", "HV", "N0", **ratings, **taps)
    builder.shunt("BANK", f"N{size}", p_kw=0.0, q_kvar=-300.0, steps=3, initial_steps=0)
    builder.generator("PV", f"N{size - 1}", p_kw=0.0, q_kvar=0.0, s_kva=500.0, kind="pv")


class Plant(Bench):
    """The bench with a plant behind it: ``closed`` is the truth, ``known`` when each fault was last seen to trip."""

    def __init__(
        self, grid: Network, *, close_loops: bool, options: DeriveOptions | None = None, **others: Any
    ) -> None:
        flisr = {"mode": "automatic", "settle_ms": 1_000, "limits": {"close_loops": close_loops}}
        super().__init__(grid=grid, options=options, flisr=flisr, **others)
        self.close_loops = close_loops
        self.graph, self.topology = zone_graph(grid), Topology(grid)
        self.closed = grid.switches.normally_closed.copy()
        self.faults: dict[str, int] = {}
        self.held: set[int] = set()
        self.lost: set[str] = set()
        self.forbidden: set[str] = set()
        self.hold_off: set[str] = set()

    # what is so

    def row(self, switch: str) -> int:
        return self.network.switches.names.index(switch)

    def zone_of(self, line: str) -> int:
        return int(self.graph.branch_zone[self.network.lines.names.index(line)])

    def live(self, closed: np.ndarray | None = None) -> np.ndarray:
        return self.graph.energised(self.closed if closed is None else closed)

    def loops(self) -> int:
        return int(self.topology.state(self.closed).loop_edges.size)

    # what happens

    def drive(self) -> None:
        due = [command for at, command in self.moving if at <= self.now]
        for command in due:
            self._judge(command)
        super().drive()
        for command in due:
            switch = self.point[command.point].equipment
            if switch not in self.jammed:
                self.closed[self.row(switch)] = command.value == CLOSED
        self.protect()

    def _judge(self, command: StationCommand) -> None:
        switch = self.point[command.point].equipment
        closing = command.value == CLOSED
        assert switch not in self.forbidden, f"{switch} is tagged"
        assert switch not in self.lost, f"{switch} cannot be reached"
        if not closing or switch in self.jammed:
            return
        assert switch not in self.hold_off, f"{switch} has a hold-off tag"
        after = self.closed.copy()
        after[self.row(switch)] = True
        new = self.live(after) & ~self.live()
        begun = max(e.t_ms for e in self.lines("plan_step") if e.subject == switch and e.data["state"] == "started")
        for line, seen in self.faults.items():
            assert not (new[self.zone_of(line)] and seen < begun), f"{switch} energises the known fault on {line}"
        assert not any(new[zone] for zone in self.held), f"{switch} energises what a hold-off tag protects"
        a, b = self.graph.sides[self.row(switch)]
        makes_loop = self.live()[a] and self.live()[b]
        assert self.close_loops or not makes_loop, f"{switch} closes a loop"

    def protect(self) -> None:
        """Trip what feeds a fault, with the indications on the way."""
        for line in list(self.faults):
            while self.live()[self.zone_of(line)]:
                self._trip(line)

    def _trip(self, line: str) -> None:
        state = self.topology.state(self.closed)
        branch = self.network.lines.names.index(line)
        s, ends = self.network.switches, self.network.lines
        zone = self.zone_of(line)
        feeding = [k for k in np.flatnonzero(self.closed & (s.branch == branch)) if state.energised[s.node[k]]]
        start = int(s.node[feeding[0]])
        if len(feeding) > 1:  # fed from the end that is nearer to the source
            a, b = int(ends.node_from[branch]), int(ends.node_to[branch])
            start = a if state.parent_node[b] == a else b
        assert self.live()[zone]
        nodes, edges = self.topology.upstream(state, start)
        head, shown = -1, {}
        for edge, upper in [(branch, start), *zip(edges, nodes[1:], strict=True)]:
            for k in np.flatnonzero(s.branch == edge).tolist():
                if s.node[k] == upper:
                    shown[k] = "fault_forward"
                    head = k if s.feeder_head[k] and head < 0 else head
                elif edge != branch:
                    shown[k] = "fault_reverse"
        for point in self.point.values():
            if point.quantity in ("fault_forward", "fault_reverse"):
                row = self.row(point.equipment)
                on = shown.get(row) == point.quantity
                if on or state.energised[s.node[row]]:  # what is dead keeps what it shows
                    self.tell(f"{point.equipment}.{point.quantity}", float(on))
        self.closed[head] = False
        self.trip(s.names[head])
        self.faults[line] = self.now
        for switch in self.hold_off:
            if state.energised[s.node[self.row(switch)]]:
                self._hold(switch, state_closed=self._before(head))

    def _before(self, head: int) -> np.ndarray:
        before = self.closed.copy()
        before[head] = True
        return before

    def _hold(self, switch: str, state_closed: np.ndarray) -> None:
        """What ``switch`` fed and lost by the trip."""
        without = state_closed.copy()
        if not without[self.row(switch)]:
            return
        without[self.row(switch)] = False
        fed = self.live(state_closed) & ~self.live(without)
        self.held |= set(np.flatnonzero(fed & ~self.live()).tolist())
