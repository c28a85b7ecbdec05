"""Baran and Wu's 69-bus system: losses with fixed capacitors and the best sizes of banks, against pandapower."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pytest

from twin.dms.volt_var import Control, ControlKind, Inputs, Objective, VoltVarObservation, VoltVarSettings, make_plan
from twin.network.builder import NetworkBuilder
from twin.network.model import Network

CASE: dict[str, Any] = json.loads((Path(__file__).parent / "case69.json").read_text("utf-8"))
LOSSES = VoltVarSettings(
    objective=Objective.LOSSES,
    v_min_pu=0.9,
    v_max_pu=1.1,
    margin_pu=0.0,
    operation_price_kw=0.0,
    max_evaluations=20_000,
)


def network_with(banks: tuple[int, ...]) -> Network:
    b = NetworkBuilder("case69")
    for bus in range(1, 70):
        b.node(str(bus), v_kv=CASE["v_kv"])
    b.source("grid", "1")
    for one, other, r_ohm, x_ohm in CASE["lines_ohm"]:
        b.line(f"L{other}", str(one), str(other), length_km=1.0, r_ohm_per_km=r_ohm, x_ohm_per_km=x_ohm)
    for bus, (p_kw, q_kvar) in CASE["loads_kw_kvar"].items():
        b.consumer(f"load {bus}", bus, p_kw=p_kw, q_kvar=q_kvar)
    for bus in banks:
        b.generator(f"bank {bus}", str(bus), p_kw=0.0, q_kvar=0.0, s_kva=2_000.0, kind="storage")
    return b.build()


def plan(banks: tuple[int, ...], levels: tuple[tuple[float, ...], ...], **fixed: Any) -> Any:
    """Banks of constant reactive power, each with its levels, all at the first one now."""
    network = network_with(banks)
    g = network.generators
    controls = tuple(
        Control(name, ControlKind.INVERTER, row, levels[row], 0, **fixed) for row, name in enumerate(g.names)
    )
    q_kvar = np.array([level[0] for level in levels])
    seen = VoltVarObservation(
        t_ms=0,
        p_kw=network.consumers.p_kw,
        q_kvar=network.consumers.q_kvar,
        generation_kw=g.p_kw,
        generation_kvar=q_kvar,
        closed=network.switches.normally_closed,
        controls=controls,
        inputs=Inputs(network.transformers.tap_position, network.shunts.initial_steps, q_kvar),
    )
    return make_plan(network, seen, LOSSES)


class Peer:
    """The same system in pandapower."""

    def __init__(self, banks: tuple[int, ...]) -> None:
        self.net = pp.create_empty_network()
        pp.create_buses(self.net, 69, vn_kv=CASE["v_kv"])
        pp.create_ext_grid(self.net, 0, vm_pu=1.0)
        for one, other, r_ohm, x_ohm in CASE["lines_ohm"]:
            pp.create_line_from_parameters(self.net, one - 1, other - 1, 1.0, r_ohm, x_ohm, 0.0, 1.0)
        for bus, (p_kw, q_kvar) in CASE["loads_kw_kvar"].items():
            pp.create_load(self.net, int(bus) - 1, p_kw / 1e3, q_kvar / 1e3)
        for bus in banks:
            pp.create_sgen(self.net, bus - 1, p_mw=0.0, q_mvar=0.0)

    def solve(self, *kvar: float) -> tuple[float, float, int]:
        """Losses in kW, the lowest voltage and its bus, counted from 1."""
        self.net.sgen["q_mvar"] = np.array(kvar) / 1e3
        pp.runpp(self.net, numba=False, tolerance_mva=1e-10)
        v_pu = self.net.res_bus.vm_pu
        return 1e3 * float(self.net.res_line.pl_mw.sum()), float(v_pu.min()), int(v_pu.idxmin()) + 1


@pytest.mark.parametrize(
    ("banks", "kvar"),
    [
        ((61,), (0.0,)),
        ((61,), (1_200.0,)),
        ((12, 61), (350.0, 1_200.0)),
        ((11, 18, 61), (400.0, 250.0, 1_250.0)),
        ((12, 21, 50, 54, 61), (150.0, 150.0, 450.0, 150.0, 1_200.0)),
    ],
)
def test_losses__with_fixed_capacitors_are_those_of_pandapower(banks: tuple[int, ...], kvar: tuple[float, ...]) -> None:
    present = plan(banks, tuple((q,) for q in kvar)).present
    losses_kw, v_min_pu, bus = Peer(banks).solve(*kvar)
    assert present.losses_kw == pytest.approx(losses_kw, rel=1e-5)
    assert present.v_min_pu == pytest.approx(v_min_pu, abs=1e-6)
    assert present.v_min_node == str(bus)


def test_volt_var__finds_the_size_that_pandapower_finds_by_enumeration() -> None:
    levels = tuple(float(q) for q in range(0, 1_801, 60))
    result, peer = plan((61,), (levels,)), Peer((61,))
    losses = {q: peer.solve(q)[0] for q in levels}
    best = min(losses, key=losses.__getitem__)
    assert result.optimal
    assert result.plan.steps[0].value == best
    assert result.planned.losses_kw == pytest.approx(losses[best], rel=1e-5)


def test_volt_var__two_banks_are_no_worse_than_any_neighbour_by_pandapower() -> None:
    """All 651 settings are looked at; the peer is asked about the chosen one and those beside it."""
    small, large = (tuple(float(q) for q in range(0, most + 1, 60)) for most in (1_200, 1_800))
    result, peer = plan((17, 61), (small, large)), Peer((17, 61))
    assert result.optimal
    one, two = (levels[n] for levels, n in zip((small, large), result.planned.setting, strict=True))
    chosen = peer.solve(one, two)[0]
    assert result.planned.losses_kw == pytest.approx(chosen, rel=1e-5)
    for step_one, step_two in product((-60.0, 0.0, 60.0), repeat=2):
        assert peer.solve(max(one + step_one, 0.0), two + step_two)[0] >= chosen - 1e-6
