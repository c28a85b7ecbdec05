"""Load allocation: meter zones, the arithmetic, meters that cannot be believed, and what must never be used."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from dms_telemetry import Plant
from dms_toy import ToyLine, build, row, two_feeders
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from twin.dms.load_flow import (
    AllocationDivergedError,
    Flows,
    LoadFlow,
    LoadFlowResult,
    MeterImage,
    Readings,
    allocate,
    meter_zones,
)
from twin.dms.load_model import Demand
from twin.dms.standing import Standing
from twin.network import load_network
from twin.network.model import Network
from twin.network.topology import Topology
from twin.points.model import DoublePosition, Quality
from twin.solvers import power_flow


def image(network: Network, *, closed: Any = None, demand: Any = None, **readings: tuple[float, float]) -> MeterImage:
    """``readings`` are (P, Q) by switch; everything else is not available."""
    s, c = network.switches, network.consumers
    closed = s.normally_closed if closed is None else closed
    p_kw, q_kvar = np.full(s.n, np.nan), np.full(s.n, np.nan)
    for name, (p, q) in readings.items():
        p_kw[row(network, name)], q_kvar[row(network, name)] = p, q
    return MeterImage(
        position=np.where(closed, int(DoublePosition.CLOSED), int(DoublePosition.OPEN)).astype(np.int32),
        position_quality=np.zeros(s.n, dtype=np.int32),
        p_kw=p_kw,
        q_kvar=q_kvar,
        i_a=np.full(s.n, np.nan),
        demand=Demand.certain(c.p_kw, c.q_kvar) if demand is None else Demand.certain(*demand),
        generation_kw=network.generators.p_kw,
        generation_kvar=network.generators.q_kvar,
        tap_position=network.transformers.tap_position,
    )


def run(network: Network, seen: MeterImage) -> LoadFlowResult:
    return LoadFlow(network, power_flow(network)).run(seen)


class TestArithmetic:
    """A network without losses: the flow of a channel is the sum of the elements behind it.

    Channel 0 is upstream of channels 1 and 2; elements 0, 1 belong to 0, elements 2, 3 to 1, element 4 to 2.
    """

    PARENT = np.array([-1, 0, 0], dtype=np.int32)
    CHANNEL = np.array([0, 0, 1, 1, 2, -1], dtype=np.int32)
    WEIGHT = np.array([1.0, 3.0, 1.0, 1.0, 5.0, 1.0])

    def solve(self, p_kw: Any, q_kvar: Any) -> Flows:
        def behind(x: Any) -> Any:
            return np.array([x[:5].sum(), x[2] + x[3], x[4]])

        p, q = behind(p_kw), behind(q_kvar)
        return Flows(p, q, np.hypot(p, q))

    def allocate(self, p: list[float], start: list[float], **more: Any) -> Any:
        readings = Readings(self.PARENT, np.array(p), np.zeros(3), np.full(3, np.nan))
        zero = np.zeros(6)
        return allocate(readings, self.CHANNEL, self.WEIGHT, (np.array(start), zero), self.solve, **more)

    def test_allocate__subtracts_what_downstream_meters_read(self) -> None:
        """100 - 30 - 50 = 20 remain for the zone of channel 0, shared 1 to 1 like the start; 30 go 1 to 2."""
        found = self.allocate([100.0, 30.0, 50.0], [7.0, 7.0, 1.0, 2.0, 9.0, 4.0])
        assert found.p_kw.tolist() == pytest.approx([10.0, 10.0, 10.0, 20.0, 50.0, 4.0])
        assert found.rounds == 1

    def test_allocate__shares_by_weight_where_the_start_is_zero(self) -> None:
        found = self.allocate([100.0, 30.0, 50.0], [0.0] * 6)
        assert found.p_kw.tolist() == pytest.approx([5.0, 15.0, 15.0, 15.0, 50.0, 0.0])

    def test_allocate__takes_a_current_at_the_calculated_power_factor(self) -> None:
        """Channel 1 reads 25 A (as kVA here) for elements of 4 + 3 j each: scaled from 10 kVA to 25 kVA."""
        nan = np.nan
        readings = Readings(
            self.PARENT, np.array([100.0, nan, 50.0]), np.array([15.0, nan, 0.0]), np.array([nan, 25.0, nan])
        )
        start = (np.array([5.0, 5.0, 4.0, 4.0, 9.0, 0.0]), np.array([0.0, 0.0, 3.0, 3.0, 0.0, 0.0]))
        found = allocate(readings, self.CHANNEL, self.WEIGHT, start, self.solve)
        assert found.p_kw[2:4].tolist() == pytest.approx([10.0, 10.0])
        assert found.q_kvar[2:4].tolist() == pytest.approx([7.5, 7.5])

    def test_allocate__says_so_when_it_does_not_converge(self) -> None:
        readings = Readings(self.PARENT, np.array([100.0, 30.0, 50.0]), np.zeros(3), np.full(3, np.nan))

        def stubborn(p_kw: Any, q_kvar: Any) -> Flows:
            return Flows(np.array([100.0, 30.0, 40.0]), np.zeros(3), np.ones(3))

        with pytest.raises(AllocationDivergedError, match=r"20\.00%") as refused:
            allocate(readings, self.CHANNEL, self.WEIGHT, (np.ones(6), np.zeros(6)), stubborn, max_rounds=4)
        assert (refused.value.channel, refused.value.rounds) == (2, 4)

    def test_allocate__without_meters_leaves_the_start(self) -> None:
        none = np.zeros(0)
        readings = Readings(none.astype(np.int32), none, none, none)
        start = np.array([1.0, 2.0])
        found = allocate(readings, np.array([-1, -1], dtype=np.int32), np.ones(2), (start, start), self.solve)
        assert found.p_kw.tolist() == [1.0, 2.0]

    @given(
        reading=st.tuples(*[st.floats(1.0, 500.0)] * 3),
        start=st.lists(st.floats(0.0, 1e4), min_size=6, max_size=6),
    )
    def test_allocate__meets_every_reading_from_any_start(self, reading: Any, start: list[float]) -> None:
        own, one, two = reading
        found = self.allocate([own + one + two, one, two], start)
        flows = self.solve(found.p_kw, found.q_kvar)
        assert flows.p_kw.tolist() == pytest.approx([own + one + two, one, two], rel=1e-3)
        assert (found.p_kw >= -1e-6).all()
        assert found.p_kw[5] == start[5]


class TestZones:
    def test_zones__follow_the_meters_downstream(self) -> None:
        network = two_feeders()
        topology = Topology(network)
        metered = np.zeros(network.switches.n, dtype=bool)
        metered[[row(network, name) for name in ("CB_1", "S_2-3")]] = True
        zones = meter_zones(topology, topology.state(network.switches.normally_closed), metered)
        names = {name: int(zones.node[row_]) for row_, name in enumerate(network.nodes.names)}
        assert zones.parent.tolist() == [-1, 0]
        assert [network.switches.names[s] for s in zones.switch] == ["CB_1", "S_2-3"]
        assert (names["N1"], names["N2"], names["N3"]) == (0, 0, 1)
        assert names["N0"] == -1

    def test_zones__ignore_meters_that_a_loop_leads_around(self) -> None:
        network = two_feeders()
        topology = Topology(network)
        closed = np.ones(network.switches.n, dtype=bool)
        zones = meter_zones(topology, topology.state(closed), np.ones(network.switches.n, dtype=bool))
        assert zones.n == 0

    def test_zones__ignore_open_switches(self) -> None:
        network = two_feeders()
        topology = Topology(network)
        closed = network.switches.normally_closed.copy()
        closed[row(network, "CB_1")] = False
        zones = meter_zones(topology, topology.state(closed), np.ones(network.switches.n, dtype=bool))
        assert row(network, "CB_1") not in zones.switch.tolist()


class TestMeters:
    """Two feeders of 3 and 2 consumers with 1,000 kW rated each."""

    def test_meter__that_leaves_a_negative_zone_is_dropped_for_the_one_before_it(self) -> None:
        """CB_1 reads 1,500 kW, S_2-3 behind it 6,000 kW: it cannot be, and N1 to N3 share the 1,500 kW."""
        network = two_feeders()
        found = run(network, image(network, **{"CB_1": (1500.0, 0.0), "S_2-3": (6000.0, 0.0), "CB_2": (2000.0, 0.0)}))
        assert [meter.name for meter in found.refused] == ["S_2-3"]
        assert "S_2-3 reads 6000 kW" in found.refused[0].why
        assert found.p_kw[:3].tolist() == pytest.approx([500.0] * 3, rel=0.01)

    def test_meter__upstream_is_dropped_where_that_explains_more(self) -> None:
        """CB_1 reads -9,000 kW; the meter behind it is fine and keeps its zone."""
        network = two_feeders()
        found = run(network, image(network, **{"CB_1": (-9000.0, 0.0), "S_2-3": (700.0, 0.0), "CB_2": (2000.0, 0.0)}))
        assert [meter.name for meter in found.refused] == ["CB_1"]
        assert found.p_kw[2] == pytest.approx(700.0, rel=0.01)
        assert found.consumer.tolist() == [1, 1, 0, 0, 0]

    def test_meter__that_is_missing_leaves_its_zone_to_the_one_before_it(self) -> None:
        network = two_feeders()
        found = run(network, image(network, CB_1=(1500.0, 0.0), CB_2=(2000.0, 0.0)))
        assert found.p_kw[:3].tolist() == pytest.approx([500.0] * 3, rel=0.01)
        assert found.unmetered == 0

    def test_losses__are_no_demand(self) -> None:
        """2 ohm carry 1,000 kW at 10 kV with I²R = 20 kW (hand calculation: 980.0 kW and 98.04 A at 9.996 kV)."""
        network = build([ToyLine(0, 1, head="CB_1", r_ohm=2.0)], {1: 500.0})
        found = run(network, image(network, CB_1=(1000.0, 0.0)))
        assert found.p_kw[0] == pytest.approx(980.0, abs=1.0)
        assert found.losses_kw == pytest.approx(20.0, abs=1.0)
        assert found.flow.p_from_kw[0] == pytest.approx(1000.0, abs=0.1)

    def test_dead_part__is_dead_and_counts_for_nothing(self) -> None:
        network = two_feeders()
        closed = network.switches.normally_closed.copy()
        closed[row(network, "CB_1")] = False
        found = run(network, image(network, closed=closed, CB_2=(2000.0, 0.0)))
        assert found.consumer[:3].tolist() == [Standing.DEAD] * 3
        assert found.flow.v_pu[1] == 0.0


class TestUnknownSwitch:
    def test_zones_beside_it__cannot_be_told(self) -> None:
        """TIE_1 between N3 and N4 unknown: both feeders may be shorter or longer than they look."""
        network = two_feeders()
        seen = image(network, CB_1=(1500.0, 0.0), CB_2=(2000.0, 0.0))
        position = seen.position.copy()
        position[row(network, "TIE_1")] = DoublePosition.INTERMEDIATE
        found = run(network, replace(seen, position=position))
        assert found.unknown_switches == ("TIE_1",)
        assert found.consumer.tolist() == [Standing.UNKNOWN] * 5

    @pytest.mark.parametrize("quality", [Quality.NOT_TOPICAL, Quality.INVALID, Quality.BLOCKED])
    def test_quality__makes_a_position_unknown(self, quality: Quality) -> None:
        network = two_feeders()
        seen = image(network, CB_1=(1500.0, 0.0), CB_2=(2000.0, 0.0))
        bad = seen.position_quality.copy()
        bad[row(network, "S_2-3")] = quality
        found = run(network, replace(seen, position_quality=bad))
        assert found.consumer.tolist()[2] == Standing.UNKNOWN
        assert found.consumer.tolist()[3:] == [Standing.MEASURED] * 2


@cache
def plant(name: str) -> tuple[Plant, LoadFlow]:
    network = load_network(name)
    return Plant.of(network), LoadFlow(network, power_flow(network))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.0, 1.0), currents=st.floats(0.0, 1.0))
@example(seed=749, share=1.0, currents=1.0)  # currents alone, and a start that the network cannot carry
@pytest.mark.parametrize("name", ["cigre_mv", "mv_oberrhein"])
def test_head_currents__are_recovered_from_wrong_starts(name: str, seed: int, share: float, currents: float) -> None:
    """Random true demand, random meters besides the heads, some of which read a current only, random wrong starts."""
    there, application = plant(name)
    network, rng = there.network, np.random.default_rng(seed)
    s, c, closed = network.switches, network.consumers, network.switches.normally_closed
    true_p, true_q = c.p_kw * rng.uniform(0.1, 1.2, c.n), c.q_kvar * rng.uniform(0.1, 1.2, c.n)
    flow = there.flow(closed, true_p, true_q)

    def at_switch(from_: Any, to: Any) -> Any:
        return np.where(s.branch >= 0, np.where(s.side == 0, from_[s.branch], to[s.branch]), np.nan)

    infeed = s.feeder_head | (s.branch >= network.lines.n)  # the voltage behind hangs on the power factor here
    metered = (rng.random(s.n) < share) | infeed
    only_current = (rng.random(s.n) < currents) & ~infeed
    p_kw = np.where(metered & ~only_current, at_switch(flow.p_from_kw, flow.p_to_kw), np.nan)
    q_kvar = np.where(metered & ~only_current, at_switch(flow.q_from_kvar, flow.q_to_kvar), np.nan)
    i_a = at_switch(flow.i_from_a, flow.i_to_a)
    behind = Topology(network).state(closed).feeder_head[c.node] >= 0
    start = np.where(behind, c.p_kw * rng.uniform(0.0, 5.0, c.n), true_p)
    start_q = np.where(behind, c.q_kvar * rng.uniform(0.0, 5.0, c.n), true_q)
    seen = replace(
        image(network, demand=(start, start_q)), p_kw=p_kw, q_kvar=q_kvar, i_a=np.where(metered, i_a, np.nan)
    )
    found = application.run(seen)
    calculated = at_switch(found.flow.i_from_a, found.flow.i_to_a)
    heads = s.feeder_head & closed
    assert calculated[heads] == pytest.approx(i_a[heads], rel=0.005)
    assert found.refused == ()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_result__does_not_depend_on_what_must_not_be_used(seed: int) -> None:
    """Readings that are not available are NaN; those of open or unknown switches change nothing, nor do runs before."""
    there, application = plant("cigre_mv")
    network, rng = there.network, np.random.default_rng(seed)
    s = network.switches
    flow = there.flow(s.normally_closed)
    p_kw = np.where(s.side == 0, flow.p_from_kw[s.branch], flow.p_to_kw[s.branch])
    q_kvar = np.where(s.side == 0, flow.q_from_kvar[s.branch], flow.q_to_kvar[s.branch])
    position_quality = np.where(rng.random(s.n) < 0.2, int(Quality.NOT_TOPICAL), 0).astype(np.int32)
    seen = replace(image(network), p_kw=p_kw, q_kvar=q_kvar, position_quality=position_quality)
    first = application.run(seen)
    useless = (position_quality > 0) | ~s.normally_closed
    noise = np.where(useless, rng.uniform(-1e5, 1e5, s.n), 0.0)
    application.run(replace(seen, demand=Demand.certain(0.3 * network.consumers.p_kw, network.consumers.q_kvar)))
    again = application.run(replace(seen, p_kw=p_kw + noise, q_kvar=q_kvar + noise))
    assert again.p_kw.tolist() == first.p_kw.tolist()
    assert again.flow.v_pu.tolist() == first.flow.v_pu.tolist()
    assert not set(first.meters.tolist()) & set(np.flatnonzero(useless).tolist())
