"""FLISR on random networks under random events: whatever happens, in whatever order, its commands do no harm.

The bench is given a plant: protection that trips what feeds a fault, crews that operate by hand while a station is not
reached, repairs that are none. The plant knows the truth and judges every command of a plan by it.
"""

from __future__ import annotations

import numpy as np
from control_room_bench import CLOSED, OPEN, Bench
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from twin.dms.zonegraph import zone_graph
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.network.topology import Topology
from twin.outstations.model import StationCommand
from twin.scada.tags import TagKind


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Two or three feeders as random trees with one to three ties; a switch at each end of each line."""
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
    builder.source("GRID", "N0", s_sc_mva=500.0, rx=0.1)
    for a, b, head, tie in edges:
        line = f"L{a}-{b}"
        builder.line(line, f"N{a}", f"N{b}", length_km=1, r_ohm_per_km=0.1, x_ohm_per_km=0.1, i_max_a=200)
        kind = SwitchKind.BREAKER if head else SwitchKind.LOAD_BREAK_SWITCH
        first = head or tie or f"S_{a}-{b}"
        builder.switch(first, kind, f"N{a}", branch=line, closed=not tie, feeder_head=bool(head))
        builder.switch(f"S_{b}-{a}", SwitchKind.LOAD_BREAK_SWITCH, f"N{b}", branch=line)
    for node in range(1, size + 1):
        builder.consumer(f"C{node}", f"N{node}", p_kw=100.0, customers=10)
    return builder.build()


class Plant(Bench):
    """The bench with a plant behind it: ``closed`` is the truth, ``known`` when each fault was last seen to trip."""

    def __init__(self, grid: Network, *, close_loops: bool) -> None:
        flisr = {"mode": "automatic", "settle_ms": 1_000, "limits": {"close_loops": close_loops}}
        super().__init__(grid=grid, flisr=flisr)
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


class Fuzz(RuleBasedStateMachine):
    """Random events; the plant judges."""

    @initialize(grid=networks(), close_loops=st.booleans(), live_line_work=st.booleans(), data=st.data())
    def begin(self, grid: Network, close_loops: bool, live_line_work: bool, data: st.DataObject) -> None:
        self.plant = Plant(grid, close_loops=close_loops).start()
        if live_line_work:
            self.tag(data, TagKind.HOLD_OFF)
        self.fault(data, 6_000)

    def _one(self, data: st.DataObject, names: list[str]) -> str:
        return data.draw(st.sampled_from(names)) if names else ""

    @rule(data=st.data(), wait=st.sampled_from([200, 1_500, 6_000]))
    def strike(self, data: st.DataObject, wait: int) -> None:
        self.fault(data, wait)

    def fault(self, data: st.DataObject, wait: int) -> None:
        plant = self.plant
        live = plant.live()
        lines = [n for n in plant.network.lines.names if n not in plant.faults and live[plant.zone_of(n)]]
        if line := self._one(data, lines):
            plant.faults[line] = plant.now
            plant.protect()
        plant.run(plant.now + wait)

    @rule(seconds=st.integers(1, 8))
    def wait(self, seconds: int) -> None:
        self.plant.run(self.plant.now + 1_000 * seconds)

    @precondition(lambda self: self.plant.faults)
    @rule(data=st.data(), really=st.sampled_from([True, True, False]))
    def repair(self, data: st.DataObject, really: bool) -> None:
        """The control room is told; the fault may be there all the same, and is unknown then."""
        plant = self.plant
        line = self._one(data, sorted(plant.faults))
        if really:
            del plant.faults[line]
        else:
            plant.faults[line] = 10**9
        plant.room.operator({"repaired": line}, plant.now)
        plant.run(plant.now + 4_000)

    @rule(data=st.data(), kind=st.sampled_from([TagKind.HOLD_OFF, TagKind.DO_NOT_OPERATE]))
    def hang_tag(self, data: st.DataObject, kind: TagKind) -> None:
        self.tag(data, kind)

    def tag(self, data: st.DataObject, kind: TagKind) -> None:
        plant = self.plant
        switch = self._one(data, [n for n in plant.network.switches.names if not plant.moving])
        if not switch:
            return
        plant.room.front_end.tags.place(switch, kind, "anna", "works", plant.now)
        (plant.hold_off if kind is TagKind.HOLD_OFF else plant.forbidden).add(switch)

    @rule(data=st.data(), by_hand=st.booleans())
    def lose_station(self, data: st.DataObject, by_hand: bool) -> None:
        """A station is lost, and a crew operates one of its switches where that does no harm."""
        plant = self.plant
        switch = self._one(data, [n for n in plant.network.switches.names if n not in plant.lost])
        if not switch or plant.moving:
            return
        station = plant.point[f"{switch}.position"].station
        if not plant.outstations[station].sessions:
            return
        plant.lose(switch)
        plant.lost |= {p.equipment for p in plant.points if p.station == station and p.quantity == "position"}
        plant.run(plant.now + 300)
        if by_hand:
            self._operate_by_hand(switch)

    def _operate_by_hand(self, switch: str) -> None:
        plant = self.plant
        row, after = plant.row(switch), plant.closed.copy()
        after[row] = not after[row]
        a, b = plant.graph.sides[row]
        live = plant.live()
        loops = after[row] and live[a] and live[b]
        harm = plant.live(after) & ~live
        if loops or any(harm[plant.zone_of(line)] for line in plant.faults) or any(harm[z] for z in plant.held):
            return
        plant.closed = after
        plant.tell(f"{switch}.position", CLOSED if after[row] else OPEN)

    @precondition(lambda self: self.plant.lost)
    @rule(data=st.data())
    def regain_station(self, data: st.DataObject) -> None:
        plant = self.plant
        switch = self._one(data, sorted(plant.lost))
        station = plant.point[f"{switch}.position"].station
        plant.reconnect(switch)
        plant.lost -= {p.equipment for p in plant.points if p.station == station and p.quantity == "position"}
        plant.run(plant.now + 1_000)

    @rule(data=st.data())
    def jam(self, data: st.DataObject) -> None:
        self.plant.jammed.add(self._one(data, list(self.plant.network.switches.names)))

    def teardown(self) -> None:
        if not hasattr(self, "plant"):
            return
        self.plant.run(self.plant.now + 8_000)
        assert self.plant.loops() == 0, "the network is left in a loop"


Fuzz.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestFlisrUnderRandomEvents = Fuzz.TestCase
