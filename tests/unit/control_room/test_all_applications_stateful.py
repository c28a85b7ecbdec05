"""All applications at once on random networks under random events: whatever happens, their commands do no harm.

FLISR with return to normal, load shedding and Volt-VAR control run automatically in one control room. Feeders trip for
faults and for under-frequency, export, are overloaded; crews earth, operate by hand, hang tags; stations are lost. The
plant knows the truth and judges every command by it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from control_room_bench import CLOSED, OPEN
from control_room_plant import Plant, networks
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from twin.control_room.plans import PlanState
from twin.derive import DeriveOptions
from twin.network.model import Network
from twin.outstations.model import StationCommand
from twin.points.model import STEP_HIGHER, PointKind, Quality
from twin.scada.tags import TagKind

OPTIONS = DeriveOptions(under_frequency_stages_hz=(49.0, 48.8), inverters=True)
SHEDDING = {
    "mode": "automatic",
    "period_ms": 1_000,
    "delay_ms": 2_000,
    "rotate_ms": 20_000,
    "limits": {"shares": [0.3, 0.2], "hold_ms": 500, "least_off_ms": 2_000, "block_share": 0.5},
}
VOLT_VAR = {
    "mode": "automatic",
    "period_ms": 1_000,
    "delay_ms": 0,
    "pause_ms": 1_000,
    "limits": {"v_min_pu": 0.97, "v_max_pu": 1.03},
}


class Utility(Plant):
    """The plant with earths, net loads and devices that act on the voltage; ``share`` is each feeder's factor."""

    def __init__(self, grid: Network, *, close_loops: bool) -> None:
        super().__init__(grid, close_loops=close_loops, options=OPTIONS, load_shedding=SHEDDING, volt_var=VOLT_VAR)
        self.earthed: set[str] = set()
        self.voltage_pu = 1.0
        heads = np.flatnonzero(grid.switches.feeder_head)
        self.heads = {grid.switches.names[row]: row for row in heads.tolist()}
        self.share = dict.fromkeys(self.heads, 1.0)
        self.exporting_since: dict[str, int] = {}
        self.said: dict[str, float] = {}

    # what is so

    @property
    def busy(self) -> bool:
        """A command is on its way, or a plan is carried out."""
        courses = self.room.plans.snapshot()["courses"]
        return bool(self.moving) or any(row["state"] == PlanState.RUNNING.value for row in courses)

    def earthed_zones(self) -> list[int]:
        earthing = self.network.earthing
        branches = [int(earthing.branch[earthing.names.index(name)]) for name in sorted(self.earthed)]
        return [int(self.graph.branch_zone[branch]) for branch in branches]

    def net_kw(self, head: str) -> float:
        """What a feeder takes as it is switched; negative while it exports."""
        state, grid = self.topology.state(self.closed), self.network
        behind = state.feeder_head[grid.consumers.node] == self.heads[head]
        return float(grid.consumers.p_kw[behind].sum()) * self.share[head]

    def armed(self, head: str) -> list[int]:
        return [k for k in (1, 2) if self.said.get(f"{head}.ufls_armed_{k}") == 1.0]

    def tell(self, point: str, value: float, *, quality: Quality = Quality.GOOD, t_ms: int | None = None) -> None:
        self.said[point] = float(value)
        super().tell(point, value, quality=quality, t_ms=t_ms)

    # what happens

    def measure(self) -> None:
        """Powers and voltages as they are; only what changed is told."""
        values = {}
        for head in self.heads:
            p_kw = self.net_kw(head)
            values |= {f"{head}.p_kw": p_kw, f"{head}.q_kvar": 0.3 * abs(p_kw), f"{head}.i_a": abs(p_kw) / 30.0}
        live = self.topology.state(self.closed).energised
        for row, name in enumerate(self.network.nodes.names):
            nominal = float(self.network.nodes.v_nominal_kv[row])
            values[f"{name}.v_kv"] = nominal * self.voltage_pu * bool(live[row])
        for point, value in values.items():
            if point in self.point and self.said.get(point) != value:
                self.tell(point, value)

    def drive(self) -> None:
        others = [row for row in self.moving if self.point[row[1].point].quantity != "operate"]
        self.moving = [row for row in self.moving if row not in others]
        for at, command in others:
            if at <= self.now:
                self._regulate(command)
        left = [row for row in others if row[0] > self.now]
        closed = self.closed.copy()
        super().drive()
        self.moving += left
        if not np.array_equal(closed, self.closed):
            for head, row in self.heads.items():
                if self.closed[row] and self.said.get(f"{head}.ufls_trip"):
                    self.tell(f"{head}.ufls_trip", 0.0)
            self.measure()

    def _regulate(self, command: StationCommand) -> None:
        """A step, a set point or an arming takes effect."""
        output = self.point[command.point]
        assert output.equipment not in self.lost, f"{output.equipment} cannot be reached"
        assert output.equipment not in self.forbidden, f"{output.equipment} is tagged"
        value = command.value
        if output.kind is PointKind.STEP_COMMAND:
            value = self.said.get(output.feedback, 0.0) + (1 if command.value == STEP_HIGHER else -1)
        if output.quantity.startswith("arm_ufls") and command.value == 1.0:
            self._judge_shedding(output.equipment, f"armed {output.equipment}")
        self.tell(output.feedback, value)
        self.outstations[command.station].finished(command.ticket, True, self.now)

    def _judge(self, command: StationCommand) -> None:
        super()._judge(command)
        switch = self.point[command.point].equipment
        if command.value != CLOSED:
            if switch in self.heads and self._by("load_shedding", switch):
                self._judge_shedding(switch, f"shed {switch}")
            return
        if switch in self.jammed:
            return
        after = self.closed.copy()
        after[self.row(switch)] = True
        live, new = self.live(), self.live(after)
        assert not any(new[z] and not live[z] for z in self.earthed_zones()), f"{switch} closes onto an earth"

    def _judge_shedding(self, head: str, deed: str) -> None:
        """What began to export before the step was given must not be shed or armed."""
        begun = max(e.t_ms for e in self.lines("plan_step") if e.subject == head and e.data["state"] == "started")
        assert self.exporting_since.get(head, begun) >= begun - 200, f"{deed}, which exports"

    def _by(self, application: str, switch: str) -> bool:
        steps = [e for e in self.lines("plan_step") if e.subject == switch and e.data["state"] == "started"]
        return bool(steps) and steps[-1].data["plan_id"].startswith(application)

    def fall(self) -> list[str]:
        """The frequency falls: every armed feeder head that is closed opens by itself."""
        shed = [head for head, row in self.heads.items() if self.closed[row] and self.armed(head)]
        state = self.topology.state(self.closed)
        for head in shed:
            before = self.closed.copy()
            self.closed[self.heads[head]] = False
            self.tell(f"{head}.ufls_trip", 1.0)
            self.tell(f"{head}.position", OPEN)
            for switch in self.hold_off:
                if state.energised[self.network.switches.node[self.row(switch)]]:
                    self._hold(switch, state_closed=before)
        self.hertz(48.7)
        self.measure()
        return shed

    def hertz(self, f_hz: float) -> None:
        for head in self.heads:
            self.tell(f"{head}.f_hz", f_hz)


class Fuzz(RuleBasedStateMachine):
    """Random events; the plant judges."""

    @initialize(grid=networks(regulated=True), close_loops=st.booleans(), data=st.data())
    def begin(self, grid: Network, close_loops: bool, data: st.DataObject) -> None:
        self.plant = Utility(grid, close_loops=close_loops)
        self.plant.start()
        self.plant.hertz(50.0)
        self.plant.measure()
        self.plant.run(self.plant.now + 3_000)

    def _one(self, data: st.DataObject, names: Any) -> str:
        found = sorted(names)
        return data.draw(st.sampled_from(found)) if found else ""

    @rule(data=st.data(), wait=st.sampled_from([200, 1_500, 6_000]))
    def strike(self, data: st.DataObject, wait: int) -> None:
        plant = self.plant
        live = plant.live()
        line = self._one(data, [n for n in plant.network.lines.names if n not in plant.faults])
        if not line:
            return
        struck_live = live[plant.zone_of(line)]
        plant.faults[line] = plant.now if struck_live else 10**9  # on a dead line nobody knows of it
        plant.protect()
        plant.measure()
        plant.run(plant.now + wait)

    @rule(seconds=st.integers(1, 8))
    def wait(self, seconds: int) -> None:
        self.plant.run(self.plant.now + 1_000 * seconds)

    @precondition(lambda self: self.plant.faults)
    @rule(data=st.data())
    def repair(self, data: st.DataObject) -> None:
        line = self._one(data, self.plant.faults)
        del self.plant.faults[line]
        self.plant.room.operator({"repaired": line}, self.plant.now)
        self.plant.run(self.plant.now + 4_000)

    @rule(wait=st.sampled_from([500, 3_000]), recovers=st.booleans())
    def frequency(self, wait: int, recovers: bool) -> None:
        self.plant.fall()
        self.plant.run(self.plant.now + wait)
        if recovers:
            self.plant.hertz(49.95)
            self.plant.run(self.plant.now + 4_000)

    @rule()
    def recover(self) -> None:
        self.plant.hertz(50.0)
        self.plant.run(self.plant.now + 1_000)

    @rule(data=st.data(), share=st.sampled_from([-1.0, 0.5, 1.0, 40.0]))
    def demand(self, data: st.DataObject, share: float) -> None:
        """A feeder exports, takes little, or is overloaded."""
        head = self._one(data, self.plant.heads)
        self.plant.share[head] = share
        if share < 0.0:
            self.plant.exporting_since.setdefault(head, self.plant.now)
        else:
            self.plant.exporting_since.pop(head, None)
        self.plant.measure()
        self.plant.run(self.plant.now + 1_500)

    @rule(v_pu=st.sampled_from([0.93, 1.0, 1.06]))
    def voltage(self, v_pu: float) -> None:
        self.plant.voltage_pu = v_pu
        self.plant.measure()
        self.plant.run(self.plant.now + 2_000)

    @rule(data=st.data())
    def earth(self, data: st.DataObject) -> None:
        """A crew earths a dead cable end while nothing is on its way, or takes an earth away."""
        plant, earthing = self.plant, self.plant.network.earthing
        live = plant.live()
        zone = {n: int(plant.graph.branch_zone[earthing.branch[i]]) for i, n in enumerate(earthing.names)}
        name = self._one(data, [n for n in earthing.names if n in plant.earthed or not live[zone[n]]])
        if not name or plant.busy:
            return
        plant.earthed ^= {name}
        plant.tell(f"{name}.position", CLOSED if name in plant.earthed else OPEN)
        plant.run(plant.now + 200)

    @rule(data=st.data(), kind=st.sampled_from([TagKind.HOLD_OFF, TagKind.DO_NOT_OPERATE]))
    def hang_tag(self, data: st.DataObject, kind: TagKind) -> None:
        plant, network = self.plant, self.plant.network
        names = [*network.switches.names, *(network.transformers.names if kind is TagKind.DO_NOT_OPERATE else ())]
        name = self._one(data, names)
        if plant.moving:
            return
        plant.room.front_end.tags.place(name, kind, "anna", "works", plant.now)
        (plant.hold_off if kind is TagKind.HOLD_OFF else plant.forbidden).add(name)

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
        plant.lost |= {p.equipment for p in plant.points if p.station == station}
        plant.run(plant.now + 300)
        if by_hand and not plant.busy:
            self._operate_by_hand(switch)

    def _operate_by_hand(self, switch: str) -> None:
        plant = self.plant
        row, after = plant.row(switch), plant.closed.copy()
        after[row] = not after[row]
        a, b = plant.graph.sides[row]
        live = plant.live()
        harm = plant.live(after) & ~live
        unsafe = [*(plant.zone_of(line) for line in plant.faults), *plant.held, *plant.earthed_zones()]
        if (after[row] and live[a] and live[b]) or any(harm[zone] for zone in unsafe):
            return
        plant.closed = after
        plant.tell(f"{switch}.position", CLOSED if after[row] else OPEN)
        plant.measure()

    @precondition(lambda self: self.plant.lost)
    @rule(data=st.data())
    def regain_station(self, data: st.DataObject) -> None:
        plant = self.plant
        switch = self._one(data, [n for n in plant.network.switches.names if n in plant.lost])
        station = plant.point[f"{switch}.position"].station
        plant.reconnect(switch)
        plant.lost -= {p.equipment for p in plant.points if p.station == station}
        plant.run(plant.now + 1_000)

    @rule(data=st.data())
    def jam(self, data: st.DataObject) -> None:
        self.plant.jammed.add(self._one(data, self.plant.network.switches.names))

    def teardown(self) -> None:
        if not hasattr(self, "plant"):
            return
        self.plant.run(self.plant.now + 8_000)
        assert self.plant.loops() == 0, "the network is left in a loop"


Fuzz.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestAllApplicationsUnderRandomEvents = Fuzz.TestCase
