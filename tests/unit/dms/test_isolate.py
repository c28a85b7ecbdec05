"""Isolation where switchgear is not as simple as one switch a line end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from dms_toy import assert_sound, commands

from twin.dms.flisr import Location, healthy_observation, make_plan
from twin.dms.zonegraph import zone_graph
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.points.model import DoublePosition


def feeder(*, far: SwitchKind, series: bool = False) -> Network:
    """N0 --CB_1-- L0-1 -- N1 --A-- L1-2 --B-- N2, with 100 customers at N1 and N2; B is of kind ``far``.

    With ``series``, a disconnector A2 stands behind A at the same line end.
    """
    builder = NetworkBuilder("feeder")
    for node in ("N0", "N1", "N2"):
        builder.node(node, v_kv=10.0)
    builder.source("GRID", "N0")
    for name, a, b in (("L0-1", "N0", "N1"), ("L1-2", "N1", "N2")):
        builder.line(name, a, b, length_km=1.0, r_ohm_per_km=0.01, x_ohm_per_km=0.01)
    builder.switch("CB_1", SwitchKind.BREAKER, "N0", branch="L0-1", feeder_head=True)
    builder.switch("A", SwitchKind.LOAD_BREAK_SWITCH, "N1", branch="L1-2")
    if series:
        builder.switch("A2", SwitchKind.DISCONNECTOR, "N1", branch="L1-2")
    builder.switch("B", far, "N2", branch="L1-2")
    builder.consumer("C1", "N1", p_kw=100.0, customers=100)
    builder.consumer("C2", "N2", p_kw=100.0, customers=100)
    return builder.build()


def fault_on(network: Network, zone: int):
    seen = healthy_observation(network)
    position, tripped = seen.position.copy(), seen.tripped.copy()
    position[0], tripped[0] = DoublePosition.OPEN, True
    return replace(seen, position=position, tripped=tripped), Location(0, (), (zone,), "Known.")


def test_isolate__opens_a_disconnector_while_it_is_dead():
    network = feeder(far=SwitchKind.DISCONNECTOR)
    seen, location = fault_on(network, zone_graph(network).branch_zone[1])
    plan = make_plan(network, seen, location=location)
    assert commands(plan) == ["open A", "open B", "close CB_1"]
    assert_sound(network, seen, plan)


def test_isolate__passes_over_a_fuse():
    """A fuse cannot be operated: N2 is isolated with the line."""
    network = feeder(far=SwitchKind.FUSE)
    seen, location = fault_on(network, zone_graph(network).branch_zone[1])
    plan = make_plan(network, seen, location=location)
    assert commands(plan) == ["open A", "close CB_1"]
    assert set(plan.isolated) == {"Z_L1-2", "Z_N2"}


def test_isolate__uses_the_second_switch_in_series_when_the_first_is_blocked():
    network = feeder(far=SwitchKind.LOAD_BREAK_SWITCH, series=True)
    names = network.switches.names
    seen, location = fault_on(network, zone_graph(network).branch_zone[1])
    near = make_plan(network, seen, location=location)
    assert commands(near) == ["open A2", "open B", "close CB_1"]
    blocked = make_plan(network, seen.with_blocked([names.index("A2")]), location=location)
    assert commands(blocked) == ["open A", "open B", "close CB_1"]


def test_zone_graph__switches_in_series_both_have_to_be_closed():
    network = feeder(far=SwitchKind.LOAD_BREAK_SWITCH, series=True)
    graph = zone_graph(network)
    for name in ("A", "A2"):
        closed = np.ones(network.switches.n, np.bool_)
        closed[network.switches.names.index(name)] = False
        assert not graph.energised(closed)[graph.branch_zone[1]]
    assert graph.energised(np.ones(network.switches.n, np.bool_)).all()
