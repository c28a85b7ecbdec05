"""Toy networks, faults as the control room sees them, and an independent check of plans.

All toys are at 10 kV with unity power factor, so that 1,000 kW are 57.7 A. Lines have a switch at each end, named
after its node and the node beyond: ``S_2-3`` stands at N2 on L2-3. A feeder head is ``CB_1``, ``CB_2``, ...;
a normally open point is ``TIE_1``, ``TIE_2``, ... and replaces the switch at its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from twin.dms.flisr import FlisrSettings, Observation, healthy_observation
from twin.dms.plan import Plan, StepAction
from twin.network.builder import NetworkBuilder
from twin.network.model import Bools, Network, SwitchKind
from twin.network.topology import Topology, zones
from twin.points.model import DoublePosition, Quality
from twin.solvers import power_flow

WEAK = 1e-3
"""Ohm per km of lines without noticeable voltage drop."""


@dataclass(frozen=True)
class ToyLine:
    """``head`` and ``tie`` name the switch at the from end that is a feeder head, a normally open point."""

    a: int
    b: int
    i_max_a: float = 1000.0
    head: str = ""
    tie: str = ""
    r_ohm: float = WEAK
    km: float = 1.0

    @property
    def name(self) -> str:
        return f"L{self.a}-{self.b}"


def build(
    lines: Sequence[ToyLine],
    p_kw: dict[int, float],
    customers: dict[int, int] | None = None,
    load_class: dict[int, str] | None = None,
    units: dict[int, float] | None = None,
) -> Network:
    """Node 0 is the busbar with the source; each node in ``p_kw`` has a consumer (100 customers by default).

    ``units`` are generating units by node, kW.
    """
    builder = NetworkBuilder("toy")
    for node in sorted({n for line in lines for n in (line.a, line.b)}):
        builder.node(f"N{node}", v_kv=10.0)
    builder.source("GRID", "N0")
    for line in lines:
        builder.line(
            line.name,
            f"N{line.a}",
            f"N{line.b}",
            length_km=line.km,
            r_ohm_per_km=line.r_ohm,
            x_ohm_per_km=line.r_ohm,
            i_max_a=line.i_max_a,
        )
    for line in lines:
        kind = SwitchKind.BREAKER if line.head else SwitchKind.LOAD_BREAK_SWITCH
        first = line.head or line.tie or f"S_{line.a}-{line.b}"
        builder.switch(first, kind, f"N{line.a}", branch=line.name, closed=not line.tie, feeder_head=bool(line.head))
        builder.switch(f"S_{line.b}-{line.a}", SwitchKind.LOAD_BREAK_SWITCH, f"N{line.b}", branch=line.name)
    for node, demand in p_kw.items():
        kind = (load_class or {}).get(node, "residential")
        builder.consumer(
            f"C{node}", f"N{node}", p_kw=demand, customers=(customers or {}).get(node, 100), load_class=kind
        )
    for node, output in (units or {}).items():
        builder.generator(f"G{node}", f"N{node}", p_kw=output)
    return builder.build()


def two_feeders(*, i_max_a: float = 1000.0, tie_r_ohm: float = WEAK) -> Network:
    """Two feeders of one busbar and one tie; 1,000 kW and 100 customers at N1 .. N5; ``i_max_a`` is that of L0-4.

    N0 --CB_1-- L0-1 -- N1 -- L1-2 -- N2 -- L2-3 -- N3
     |                                              TIE_1 (open, at N3)
     |                                              L3-5
    CB_2 ------ L0-4 -- N4 -- L4-5 ---------------- N5
    """
    lines = [
        ToyLine(0, 1, head="CB_1"),
        ToyLine(1, 2),
        ToyLine(2, 3),
        ToyLine(0, 4, i_max_a, head="CB_2"),
        ToyLine(4, 5),
        ToyLine(3, 5, tie="TIE_1", r_ohm=tie_r_ohm),
    ]
    return build(lines, dict.fromkeys(range(1, 6), 1000.0))


def row(network: Network, switch: str) -> int:
    return network.switches.names.index(switch)


def mask(network: Network, switches: Iterable[str]) -> Bools:
    found = np.zeros(network.switches.n, np.bool_)
    found[[row(network, s) for s in switches]] = True
    return found


def observe_fault(network: Network, *, line: str = "", node: str = "") -> Observation:
    """A permanent fault in the normal state: the feeder head has tripped, every indicator on the way shows it."""
    seen = healthy_observation(network, t_ms=60_000)
    topology = Topology(network)
    state = topology.state(seen.closed_before)
    forward, reverse = seen.fault_forward.copy(), seen.fault_reverse.copy()
    here, faulted = _start(network, state.parent_node, state.energised, line, node)
    nodes, edges = topology.upstream(state, here)
    s = network.switches
    head = -1
    for branch, upper in [*([(faulted, here)] if faulted >= 0 else []), *zip(edges, nodes[1:], strict=True)]:
        for switch in np.flatnonzero(s.branch == branch):
            if s.node[switch] == upper:
                forward[switch] = True
                head = switch if s.feeder_head[switch] and head < 0 else head
            elif branch != faulted:
                reverse[switch] = True
    assert head >= 0, "the fault is behind no feeder head"
    position, tripped = seen.position.copy(), seen.tripped.copy()
    position[head], tripped[head] = DoublePosition.OPEN, True
    return replace(seen, position=position, tripped=tripped, fault_forward=forward, fault_reverse=reverse)


def _start(network: Network, parent: np.ndarray, energised: Bools, line: str, node: str) -> tuple[int, int]:
    """(node from which the fault is fed, faulted branch or -1)."""
    if node:
        return network.nodes.names.index(node), -1
    branch = network.lines.names.index(line)
    a, b = int(network.lines.node_from[branch]), int(network.lines.node_to[branch])
    if parent[b] == a:
        return a, branch
    if parent[a] == b:
        return b, branch
    s = network.switches  # open at one end: fed from the other
    ends = s.node[(s.branch == branch) & s.normally_closed]
    return int(ends[0]), branch


def without_indications(seen: Observation) -> Observation:
    nothing = np.zeros_like(seen.fault_forward)
    return replace(seen, fault_forward=nothing, fault_reverse=nothing.copy())


def silenced(network: Network, seen: Observation, *switches: str) -> Observation:
    quiet = ~mask(network, switches)
    return replace(seen, fault_forward=seen.fault_forward & quiet, fault_reverse=seen.fault_reverse & quiet)


def unknown(network: Network, seen: Observation, *switches: str) -> Observation:
    """The positions of these switches are not topical; their indicators still report."""
    quality = np.where(mask(network, switches), int(Quality.NOT_TOPICAL), seen.quality).astype(np.int32)
    return replace(seen, quality=quality)


def indicators_lost(network: Network, seen: Observation, *switches: str) -> Observation:
    return replace(seen, indication_valid=seen.indication_valid & ~mask(network, switches))


def commands(plan: Plan) -> list[str]:
    return [f"{step.action.value} {step.equipment}" for step in plan.steps]


def after(network: Network, seen: Observation, plan: Plan) -> Bools:
    """The switches known to be closed once the plan has been carried out."""
    closed = seen.closed.copy()
    for step in plan.steps:
        closed[row(network, step.equipment)] = step.action is StepAction.CLOSE
    return closed


def assert_sound(network: Network, seen: Observation, plan: Plan, settings: FlisrSettings | None = None) -> None:
    """Replay a plan step by step and check each state from scratch, without the code under test.

    No loop more than before even if unknown switches are closed, the isolated zones dead even then, only
    operable switches used, every limit kept except where it was exceeded before and is no worse.
    """
    settings = settings or FlisrSettings()
    topology, table = Topology(network), zones(network)
    isolated = np.isin(table.names, plan.isolated)
    lost = ~seen.position_known
    closed = seen.closed.copy()
    loops = topology.state(closed | lost).loop_edges.size
    allowed = seen.remote & ~seen.blocked & seen.position_known
    reference = _solved(network, seen, seen.closed_before)
    opened_last = -1
    for number, step in enumerate(plan.steps, start=1):
        switch = row(network, step.equipment)
        assert step.number == number
        assert allowed[switch], f"{step.equipment} must not be used"
        assert closed[switch] == (step.action is StepAction.OPEN), f"{step.equipment} is there already"
        if step.action is StepAction.OPEN:
            assert opened_last == number - 2, "all opening comes first"
            opened_last = number - 1
        closed[switch] = step.action is StepAction.CLOSE
        worst = topology.state(closed | lost)
        assert worst.loop_edges.size <= loops, f"{step.equipment} closes a loop"
        if step.action is StepAction.CLOSE or number == len(plan.steps):
            assert not worst.energised[isolated[table.node_zone]].any()
            assert not worst.branch_energised[isolated[table.branch_zone]].any()
        _assert_limits(network, _solved(network, seen, closed), reference, settings)
        state = topology.state(closed)
        assert step.check.customers_supplied == int(topology.node_customers[state.energised].sum())
        assert step.check.admissible


def _solved(network: Network, seen: Observation, closed: Bools):
    solver = power_flow(network)
    solver.update(p_kw=seen.p_kw, q_kvar=seen.q_kvar, closed=closed)
    none = np.zeros(network.generators.n)
    solver.update(generation_kw=none, generation_kvar=none)
    return solver.solve()


def _assert_limits(network: Network, result, reference, settings: FlisrSettings) -> None:
    tolerance = 1e-3
    limit = np.where(reference.loading > settings.max_loading, reference.loading + 0.005, settings.max_loading)
    assert (result.loading <= limit + tolerance).all(), "overload"
    live = result.energised
    low = np.where(
        reference.energised & (reference.v_pu < settings.v_min_pu), reference.v_pu - 0.005, settings.v_min_pu
    )
    assert (result.v_pu[live] >= low[live] - tolerance).all(), "undervoltage"
    assert (result.v_pu[live] <= settings.v_max_pu + tolerance).all(), "overvoltage"
