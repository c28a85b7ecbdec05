"""FLISR on random networks under random events: whatever happens, in whatever order, its commands do no harm.

The bench is given a plant: protection that trips what feeds a fault, crews that operate by hand while a station is not
reached, repairs that are none. The plant knows the truth and judges every command of a plan by it.
"""

from __future__ import annotations

from control_room_bench import CLOSED, OPEN
from control_room_plant import Plant, networks
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from twin.network.model import Network
from twin.scada.tags import TagKind


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
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestFlisrUnderRandomEvents = Fuzz.TestCase
