"""Demand and generation to come: cold-load pickup that fades, and generating units that come back."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from dms_toy import WEAK, ToyLine, build, commands, observe_fault, row, two_feeders

from twin.dms.flisr import FlisrSettings, healthy_observation, make_plan, return_to_normal
from twin.dms.load_model import ColdLoad, ProfiledDemand, peak_factor
from twin.dms.plan import Verdict
from twin.network.load_profiles import PROFILES
from twin.points.model import DoublePosition


class TestGeneration:
    """Generating units behind the fault: alive in an island, and back after the restoration.

    N0 --CB_1-- L0-1 -- N1 -- L1-2 -- N2 -- L2-3 -- N3 --TIE_1 (open)-- L3-5 -- N5 -- L4-5 -- N4 -- L0-4 --CB_2-- N0
    """

    @staticmethod
    def with_unit(p_kw: float, *, i_max_a: float = 1000.0, r_ohm: float = WEAK):
        """A unit at N3 of ``p_kw``; the lines of the other feeder may carry ``i_max_a``."""
        lines = [
            ToyLine(0, 1, head="CB_1"),
            ToyLine(1, 2),
            ToyLine(2, 3),
            ToyLine(0, 4, i_max_a, head="CB_2", r_ohm=r_ohm),
            ToyLine(4, 5, r_ohm=r_ohm),
            ToyLine(3, 5, tie="TIE_1"),
        ]
        return build(lines, dict.fromkeys(range(1, 6), 400.0), units={3: p_kw})

    @staticmethod
    def seen_with(network, line="L1-2", **more):
        p_kw = network.generators.p_kw
        return replace(
            observe_fault(network, line=line), generation_kw=p_kw.copy(), generation_kvar=np.zeros(len(p_kw)), **more
        )

    def test_plan__bears_that_generation_comes_back_without_overload(self):
        """5,000 kW less 2 x 400 of N2, N3 and 2 x 400 of N4, N5 flow back over L0-4: 3,400 kW are 196 A, over 150 A."""
        network = self.with_unit(5000.0, i_max_a=150.0)
        seen = self.seen_with(network)
        plan = make_plan(network, seen)
        assert "close TIE_1" not in commands(plan)
        assert any("L0-4" in why and "once generating units are back" in why for why in plan.why)
        allowed = make_plan(network, seen, FlisrSettings(generation_returns=False))
        assert "close TIE_1" in commands(allowed)

    def test_plan__bears_that_generation_comes_back_without_voltage_rise(self):
        """3,400 kW over 2 x 2 ohm at 10 kV raise N5 by about 0.13 pu; the limit is 1.1 pu."""
        network = self.with_unit(5000.0, r_ohm=2.0)
        plan = make_plan(network, self.seen_with(network))
        assert "close TIE_1" not in commands(plan)
        assert any("raise" in why and "once generating units are back" in why for why in plan.why)

    def test_plan__takes_the_lowest_demand_to_come_when_generation_comes_back(self):
        """2,300 kW less 1,600 kW fit through 100 A (1,732 kW); less a fifth of the demand, 320 kW, they do not."""
        network = self.with_unit(2300.0, i_max_a=100.0)
        assert "close TIE_1" in commands(make_plan(network, self.seen_with(network)))
        night = self.seen_with(network, least_factor=np.full(5, 0.2))
        assert "close TIE_1" not in commands(make_plan(network, night))

    def test_plan__closes_nothing_onto_an_island_that_generation_keeps_alive(self):
        """N3 is an island with voltage: S_3-2 was open before the fault on L0-1."""
        network = self.with_unit(400.0)
        seen = self.seen_with(network, line="L1-2")
        opened = row(network, "S_3-2")
        position = seen.position.copy()
        position[opened] = DoublePosition.OPEN
        v_pu = np.full(network.nodes.n, np.nan)
        for node, value in (("N0", 1.0), ("N1", 0.0), ("N2", 0.0), ("N3", 0.97)):
            v_pu[network.nodes.names.index(node)] = value
        island = replace(seen, position=position, v_pu=v_pu)
        plan = make_plan(network, island)
        assert "close TIE_1" not in commands(plan)
        assert any("Generation keeps N3 alive" in why for why in plan.why)
        v_pu[network.nodes.names.index("N3")] = 0.0
        assert "close TIE_1" in commands(make_plan(network, island))


class TestColdLoad:
    def test_plan__takes_the_pickup_that_the_window_lets_expect(self):
        """L0-4 carries N4 and N5, and N2 and N3 f times: 2,000 kW + f x 2,000 kW are 289 A at 1.5 and 335 A at 1.9."""
        network = two_feeders(i_max_a=300.0)
        seen = observe_fault(network, line="L1-2")
        for factor, closes in ((1.5, True), (1.9, False)):
            plan = make_plan(network, replace(seen, pickup_factor=np.full(5, factor)))
            assert plan.customers_not_restored == (0 if closes else 100)

    @pytest.mark.parametrize(
        ("shape", "minutes", "factor"),
        [("step", 0, 2.0), ("step", 29, 2.0), ("step", 30, 1.0), ("exponential", 30, 1.0 + math.exp(-1.0))],
    )
    def test_cold_load__fades(self, shape: str, minutes: int, factor: float) -> None:
        cold = ColdLoad(2.0, shape, timedelta(minutes=30))
        assert cold.at(timedelta(minutes=minutes)) == pytest.approx(factor)

    def test_cold_load__and_the_evening_peak_do_not_multiply_when_they_do_not_meet(self) -> None:
        """At noon 2.0 for half an hour, at 18 o'clock the peak: the higher of both counts, not their product."""
        network = two_feeders()
        model = ProfiledDemand(network, PROFILES["winter-weekday"])
        noon = datetime(2026, 1, 15, 12, tzinfo=UTC)
        span = (model, noon, noon, timedelta(hours=8))
        short = peak_factor(*span, ColdLoad(2.0, "step", timedelta(minutes=30)))
        for_good = peak_factor(*span, ColdLoad(2.0, "step", timedelta(hours=10)))
        assert np.allclose(short, np.maximum(2.0, peak_factor(*span)))
        assert np.allclose(for_good, 2.0 * peak_factor(*span))

    def test_return__leaves_room_for_cold_load_pickup(self) -> None:
        """L0-1 carries N1 to N3 again: 3,000 kW are 173 A of 180 A; with N2, dead until now, at 1.5 times 202 A."""
        lines = [
            ToyLine(0, 1, 180.0, head="CB_1"),
            ToyLine(1, 2),
            ToyLine(2, 3),
            ToyLine(0, 4, head="CB_2"),
            ToyLine(4, 5),
            ToyLine(3, 5, tie="TIE_1"),
        ]
        network = build(lines, dict.fromkeys(range(1, 6), 1000.0))
        seen = healthy_observation(network)
        wanted = seen.closed.copy()
        for switch, position in (
            ("S_1-2", DoublePosition.OPEN),
            ("S_3-2", DoublePosition.OPEN),
            ("TIE_1", DoublePosition.CLOSED),
        ):
            seen.position[row(network, switch)] = position
        plain = return_to_normal(network, seen, wanted)
        assert plain.verdict is Verdict.NORMAL
        cold = return_to_normal(network, seen, wanted, FlisrSettings(cold_load_factor=1.5))
        assert cold.verdict is Verdict.NONE
        assert any("load L0-1 to 11" in why for why in cold.why)
