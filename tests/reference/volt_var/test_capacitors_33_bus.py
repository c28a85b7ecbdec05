"""The published setting of three capacitor banks on the 33-bus system is found, with its losses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pandapower.networks as pandapower_networks
import pytest

from twin.dms.volt_var import Control, ControlKind, Inputs, Objective, VoltVarObservation, VoltVarSettings, make_plan
from twin.network.model import Network
from twin.network.pandapower_loader import load_pandapower

REFERENCE: dict[str, Any] = json.loads((Path(__file__).parent / "loss_reference.json").read_text())
(CASE,) = (values for key, values in REFERENCE.items() if key.startswith("bw33"))
(BEST_KW,) = (values[0] for key, values in CASE.items() if "exhaustive" in key)
(SINGLE_KW, SINGLE_V_PU) = CASE["cap 30:1258"]
BANKS = (14, 24, 30)


def network_with(*buses: int) -> Network:
    net = pandapower_networks.case33bw()
    for bus in buses:
        pp.create_sgen(net, bus - 1, p_mw=0.0, q_mvar=0.0, sn_mva=2.0, name=f"bank {bus}")
    return load_pandapower(net, name="case33bw")


def observe(network: Network, levels: tuple[float, ...], **fixed: Any) -> VoltVarObservation:
    generators = network.generators
    controls = tuple(
        Control(name, ControlKind.INVERTER, row, levels, 0, **fixed) for row, name in enumerate(generators.names)
    )
    return VoltVarObservation(
        t_ms=0,
        p_kw=network.consumers.p_kw,
        q_kvar=network.consumers.q_kvar,
        generation_kw=generators.p_kw,
        generation_kvar=generators.q_kvar,
        closed=network.switches.normally_closed,
        controls=controls,
        inputs=Inputs(network.transformers.tap_position, network.shunts.initial_steps, generators.q_kvar),
    )


LOSSES = VoltVarSettings(objective=Objective.LOSSES, v_min_pu=0.9, v_max_pu=1.1, margin_pu=0.0, operation_price_kw=0.0)


def test_volt_var__finds_the_published_setting_of_three_banks():
    network = network_with(*BANKS)
    result = make_plan(network, observe(network, (0.0, 300.0, 600.0, 900.0, 1200.0)), LOSSES)
    assert result.optimal
    assert result.planned is not None
    assert result.planned.setting == (1, 2, 4)
    assert result.planned.losses_kw == pytest.approx(BEST_KW, rel=5e-4)
    assert {step.equipment: step.value for step in result.plan.steps} == dict(
        zip(network.generators.names, (300.0, 600.0, 1200.0), strict=True)
    )


def test_volt_var__local_search_finds_it_too():
    """With too few evaluations to look at all 125 settings."""
    network = network_with(*BANKS)
    settings = LOSSES.model_copy(update={"max_evaluations": 100})
    result = make_plan(network, observe(network, (0.0, 300.0, 600.0, 900.0, 1200.0)), settings)
    assert not result.optimal
    assert result.planned is not None
    assert result.planned.losses_kw == pytest.approx(BEST_KW, rel=5e-4)


def test_volt_var__single_bank_has_the_published_losses_and_voltage():
    network = network_with(30)
    result = make_plan(network, observe(network, (0.0, 1258.0)), LOSSES)
    assert result.planned is not None
    assert result.planned.losses_kw == pytest.approx(SINGLE_KW, rel=5e-4)
    assert result.planned.v_min_pu == pytest.approx(SINGLE_V_PU, abs=5e-5)


def test_volt_var__agrees_with_an_enumeration_by_pandapower():
    """Two banks of two steps, every setting solved by the foreign engine."""
    net = pandapower_networks.case33bw()
    rows = [pp.create_sgen(net, bus - 1, p_mw=0.0, q_mvar=0.0) for bus in (14, 30)]
    losses = {}
    for first in (0.0, 400.0, 800.0):
        for second in (0.0, 400.0, 800.0):
            net.sgen.loc[rows, "q_mvar"] = np.array([first, second]) / 1000.0
            pp.runpp(net, tolerance_mva=1e-8)
            losses[first, second] = float(net.res_line.pl_mw.sum()) * 1000.0
    network = network_with(14, 30)
    result = make_plan(network, observe(network, (0.0, 400.0, 800.0)), LOSSES)
    assert result.planned is not None
    best = min(losses, key=lambda key: losses[key])
    assert tuple(400.0 * level for level in result.planned.setting) == best
    assert result.planned.losses_kw == pytest.approx(losses[best], abs=1e-5)
