"""Demand per consumer from what the feeder heads measured. Tolerances of 1 % are for losses and charging."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dms_toy import ToyLine, build, row, two_feeders

from twin.dms.load_estimate import DemandEstimate, HeadMeasurements, demand_behind_heads
from twin.dms.load_flow import LoadFlow
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.solvers import power_flow


def estimate(network: Network, *, closed: Any = None, generation_kw: Any = None, **values: Any) -> DemandEstimate:
    """``values`` are (P, Q) of the heads by name."""
    n = network.switches.n
    p_kw, q_kvar, valid = np.zeros(n), np.zeros(n), np.zeros(n, np.bool_)
    for name, (p, q) in values.items():
        at = row(network, name)
        p_kw[at], q_kvar[at], valid[at] = p, q, True
    closed = network.switches.normally_closed if closed is None else closed
    measured = HeadMeasurements(p_kw, q_kvar, valid)
    return demand_behind_heads(LoadFlow(network, power_flow(network)), closed, measured, generation_kw=generation_kw)


def about(*values: float) -> Any:
    return pytest.approx(list(values), rel=0.01)


def test_estimate__scales_each_feeder_to_its_head() -> None:
    """Feeder 1 has 3 x 1,000 kW rated and measures 1,500; feeder 2 has 2 x 1,000 and measures 2,400."""
    found = estimate(two_feeders(), CB_1=(1500.0, 0.0), CB_2=(2400.0, 0.0))
    assert found.p_kw.tolist() == about(500.0, 500.0, 500.0, 1200.0, 1200.0)
    assert found.sentences == ()


def test_estimate__follows_the_switching_state() -> None:
    """With N3 on feeder 2 (S_2-3 open, TIE_1 closed), CB_1 measures N1 and N2 alone."""
    network = two_feeders()
    closed = network.switches.normally_closed.copy()
    closed[row(network, "S_2-3")], closed[row(network, "TIE_1")] = False, True
    found = estimate(network, closed=closed, CB_1=(1000.0, 0.0), CB_2=(3000.0, 0.0))
    assert found.p_kw.tolist() == about(500, 500, 1000, 1000, 1000)


def test_estimate__falls_back_to_rated_demand_and_says_so() -> None:
    found = estimate(two_feeders(), CB_2=(1000.0, 0.0))
    assert found.p_kw.tolist() == about(1000, 1000, 1000, 500, 500)
    assert found.sentences == ("3 consumers are behind no meter that can be used and keep their expected demand.",)


@pytest.mark.parametrize("p_kw", [-200.0, 20_000.0])
def test_estimate__does_not_believe_an_implausible_measurement(p_kw: float) -> None:
    found = estimate(two_feeders(), CB_1=(p_kw, 0.0), CB_2=(2000.0, 0.0))
    assert found.p_kw[0] == 1000.0
    assert f"CB_1 reads {p_kw:.0f} kW" in found.sentences[0]


def test_estimate__keeps_the_rated_demand_of_consumers_without_supply() -> None:
    network = two_feeders()
    closed = network.switches.normally_closed.copy()
    closed[row(network, "CB_1")] = False
    found = estimate(network, closed=closed, CB_1=(0.0, 0.0), CB_2=(1000.0, 0.0))
    assert found.p_kw.tolist() == about(1000, 1000, 1000, 500, 500)


def reactive() -> Network:
    """N0 --CB_1-- N1 (600 kW, 200 kvar; 300 kW of PV) and a consumer at the busbar itself."""
    builder = NetworkBuilder("reactive")
    builder.node("N0", v_kv=10.0)
    builder.node("N1", v_kv=10.0)
    builder.source("GRID", "N0")
    builder.line("L0-1", "N0", "N1", length_km=1.0, r_ohm_per_km=0.1, x_ohm_per_km=0.1)
    builder.switch("CB_1", SwitchKind.BREAKER, "N0", branch="L0-1", feeder_head=True)
    builder.consumer("C0", "N0", p_kw=50.0)
    builder.consumer("C1", "N1", p_kw=600.0, q_kvar=200.0)
    builder.generator("PV1", "N1", p_kw=300.0)
    return builder.build()


def test_estimate__adds_generation_behind_the_head() -> None:
    """The head measures 150 kW while 300 kW are fed in behind it: the consumer takes 450 kW, and 100 kvar."""
    found = estimate(reactive(), generation_kw=np.array([300.0]), CB_1=(150.0, 100.0))
    assert (found.p_kw[1], found.q_kvar[1]) == (pytest.approx(450.0, rel=0.01), pytest.approx(100.0, rel=0.01))


def test_estimate__scales_reactive_demand_to_its_own_measurement() -> None:
    found = estimate(reactive(), generation_kw=np.array([0.0]), CB_1=(300.0, 150.0))
    assert (found.p_kw[1], found.q_kvar[1]) == (pytest.approx(300.0, rel=0.01), pytest.approx(150.0, rel=0.01))


def test_estimate__leaves_consumers_at_the_busbar_alone() -> None:
    found = estimate(reactive(), CB_1=(300.0, 100.0))
    assert found.p_kw[0] == 50.0
    assert found.sentences == ("1 consumers are behind no meter that can be used and keep their expected demand.",)


def test_estimate__takes_a_second_head_off_the_first() -> None:
    """CB_1 measures 1,500 kW, of which CB_2 passes 900 kW on to N2: 600 kW remain for N1."""
    network = build([ToyLine(0, 1, head="CB_1"), ToyLine(1, 2, head="CB_2")], {1: 1000.0, 2: 1000.0})
    assert estimate(network, CB_1=(1500.0, 0.0), CB_2=(900.0, 0.0)).p_kw.tolist() == about(600.0, 900.0)


def test_estimate__takes_losses_off() -> None:
    """2 ohm carry 1,000 kW with about (1000/10)² x 2 / 1000 = 20 kW of losses, which are not demand."""
    network = build([ToyLine(0, 1, head="CB_1", r_ohm=2.0)], {1: 1000.0})
    found, solver = estimate(network, CB_1=(1000.0, 0.0)), power_flow(network)
    assert found.p_kw[0] == pytest.approx(980.0, abs=1.0)
    solver.update(p_kw=found.p_kw, q_kvar=found.q_kvar)
    assert solver.solve().p_from_kw[0] == pytest.approx(1000.0, abs=0.1)


def test_estimate__keeps_rated_demand_where_no_demand_gives_the_measurement() -> None:
    """2,000 kW cannot pass 20 ohm at 10 kV: the most is 10²/(4 x 20) = 1.25 MW at the far end."""
    network = build([ToyLine(0, 1, head="CB_1", r_ohm=20.0)], {1: 1000.0})
    found = estimate(network, CB_1=(4900.0, 0.0))
    assert found.p_kw.tolist() == [1000.0]
    assert found.sentences[0].startswith("No demand leads to what the feeder heads measured")
