"""Demand per consumer from what the feeder heads measured."""

from __future__ import annotations

import numpy as np
import pytest
from dms_toy import ToyLine, build, row, two_feeders

from twin.dms.load_estimate import HeadMeasurements, estimate_demand, take_off_losses
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.network.topology import Topology
from twin.solvers import power_flow


def measured(network: Network, **values: tuple[float, float]) -> HeadMeasurements:
    n = network.switches.n
    p_kw, q_kvar, valid = np.zeros(n), np.zeros(n), np.zeros(n, np.bool_)
    for name, (p, q) in values.items():
        at = row(network, name)
        p_kw[at], q_kvar[at], valid[at] = p, q, True
    return HeadMeasurements(p_kw, q_kvar, valid)


def test_estimate__scales_each_feeder_to_its_head():
    """Feeder 1 has 3 x 1,000 kW rated and measures 1,500; feeder 2 has 2 x 1,000 and measures 2,400."""
    network = two_feeders()
    found = estimate_demand(
        Topology(network),
        network.switches.normally_closed,
        measured(network, CB_1=(1500.0, 0.0), CB_2=(2400.0, 0.0)),
    )
    assert found.p_kw.tolist() == pytest.approx([500.0, 500.0, 500.0, 1200.0, 1200.0])
    assert found.sentences == ()


def test_estimate__follows_the_switching_state():
    """With N3 on feeder 2 (S_2-3 open, TIE_1 closed), CB_1 measures N1 and N2 alone."""
    network = two_feeders()
    closed = network.switches.normally_closed.copy()
    closed[row(network, "S_2-3")], closed[row(network, "TIE_1")] = False, True
    values = measured(network, CB_1=(1000.0, 0.0), CB_2=(3000.0, 0.0))
    assert estimate_demand(Topology(network), closed, values).p_kw.tolist() == pytest.approx(
        [500, 500, 1000, 1000, 1000]
    )


def test_estimate__falls_back_to_rated_demand_and_says_so():
    network = two_feeders()
    values = measured(network, CB_2=(1000.0, 0.0))
    found = estimate_demand(Topology(network), network.switches.normally_closed, values)
    assert found.p_kw.tolist() == pytest.approx([1000, 1000, 1000, 500, 500])
    assert found.sentences == ("The feeder of CB_1 has no good measurement and keeps its rated demand.",)


@pytest.mark.parametrize("p_kw", [-200.0, 0.0, 20_000.0])
def test_estimate__does_not_believe_an_implausible_measurement(p_kw):
    network = two_feeders()
    values = measured(network, CB_1=(p_kw, 0.0), CB_2=(2000.0, 0.0))
    found = estimate_demand(Topology(network), network.switches.normally_closed, values)
    assert found.p_kw[0] == 1000.0
    assert found.sentences == (
        f"The feeder of CB_1 measured {p_kw:.0f} kW against 3000 kW rated: it keeps its rated demand.",
    )


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


def test_estimate__scales_reactive_demand_to_its_own_measurement():
    network = reactive()
    found = estimate_demand(Topology(network), network.switches.normally_closed, measured(network, CB_1=(300.0, 150.0)))
    assert (found.p_kw[1], found.q_kvar[1]) == (pytest.approx(300.0), pytest.approx(150.0))


def test_estimate__lets_implausible_reactive_demand_follow_the_active_one():
    """Charging of cables makes the head measure -80 kvar: the rated power factor stays."""
    network = reactive()
    found = estimate_demand(Topology(network), network.switches.normally_closed, measured(network, CB_1=(300.0, -80.0)))
    assert found.q_kvar[1] == pytest.approx(100.0)


def test_estimate__adds_generation_behind_the_head():
    """The head measures 150 kW while 300 kW are fed in behind it: the consumers take 450 kW."""
    network = reactive()
    found = estimate_demand(
        Topology(network),
        network.switches.normally_closed,
        measured(network, CB_1=(150.0, 100.0)),
        generation_kw=np.array([300.0]),
    )
    assert found.p_kw[1] == pytest.approx(450.0)


def test_estimate__leaves_consumers_at_the_busbar_alone():
    network = reactive()
    found = estimate_demand(Topology(network), network.switches.normally_closed, measured(network, CB_1=(300.0, 100.0)))
    assert found.p_kw[0] == 50.0
    assert found.sentences == ("1 consumers are behind no feeder head in operation and keep their rated demand.",)


def test_estimate__takes_a_second_head_off_the_first():
    """CB_1 measures 1,500 kW, of which CB_2 passes 900 kW on to N2: 600 kW remain for N1."""
    lines = [ToyLine(0, 1, head="CB_1"), ToyLine(1, 2, head="CB_2")]
    network = build(lines, {1: 1000.0, 2: 1000.0})
    found = estimate_demand(
        Topology(network),
        network.switches.normally_closed,
        measured(network, CB_1=(1500.0, 0.0), CB_2=(900.0, 0.0)),
    )
    assert found.p_kw.tolist() == pytest.approx([600.0, 900.0])


def test_take_off_losses__makes_the_calculated_head_flow_the_measured_one():
    """2 ohm carry 1,000 kW with about (1000/10)² x 2 / 1000 = 20 kW of losses, which are not demand."""
    network = build([ToyLine(0, 1, head="CB_1", r_ohm=2.0)], {1: 1000.0})
    topology, closed = Topology(network), network.switches.normally_closed
    values = measured(network, CB_1=(1000.0, 0.0))
    solver = power_flow(network)
    found = take_off_losses(topology, closed, values, estimate_demand(topology, closed, values), solver)
    assert found.p_kw[0] == pytest.approx(980.0, abs=1.0)
    solver.update(p_kw=found.p_kw, q_kvar=found.q_kvar)
    assert solver.solve().p_from_kw[0] == pytest.approx(1000.0, abs=0.1)
