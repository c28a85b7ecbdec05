"""A toy network, a state of it, and a scenario text shared by the tests of the scenario language.

::

    GRID ─ N1 ─CB_1─ L1-2 ─ N2 ─SW_2─ L2-3 ─ N3 ─ T3-4 ─ N4
           └──CB_2─ L1-3 ─TIE_1─┘(N3)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.scenario.namespace import PlantNamespace, PlantState

LINE = {"length_km": 1.0, "r_ohm_per_km": 0.3, "x_ohm_per_km": 0.3, "i_max_a": 200.0}


@pytest.fixture(scope="session")
def network() -> Network:
    b = NetworkBuilder("toy")
    for name in ("N1", "N2", "N3"):
        b.node(name, v_kv=20.0)
    b.node("N4", v_kv=0.4)
    b.source("GRID", "N1")
    b.line("L1-2", "N1", "N2", **LINE)
    b.line("L2-3", "N2", "N3", **LINE)
    b.line("L1-3", "N1", "N3", **LINE)
    b.transformer("T3-4", "N3", "N4", s_kva=400.0, v_from_kv=20.0, v_to_kv=0.4, vk_percent=4.0, vkr_percent=1.0)
    b.switch("CB_1", SwitchKind.BREAKER, "N1", branch="L1-2", feeder_head=True)
    b.switch("SW_2", SwitchKind.LOAD_BREAK_SWITCH, "N2", branch="L2-3")
    b.switch("CB_2", SwitchKind.BREAKER, "N1", branch="L1-3", feeder_head=True)
    b.switch("TIE_1", SwitchKind.LOAD_BREAK_SWITCH, "N3", branch="L1-3", closed=False)
    b.consumer("LD_2", "N2", p_kw=500.0, customers=140)
    b.consumer("LD_4", "N4", p_kw=200.0, customers=672)
    return b.build()


@pytest.fixture(scope="session")
def namespace(network: Network) -> PlantNamespace:
    return PlantNamespace(network)


@pytest.fixture(scope="session")
def state(network: Network) -> PlantState:
    """Normal operation."""
    return PlantState(
        t_ms=0,
        closed=np.array([True, True, True, False]),
        v_pu=np.array([1.0, 0.99, 0.98, 0.97]),
        energised=np.array([True, True, True, True]),
        switch_i_a=np.array([21.0, 6.0, 0.0, 0.0]),
        switch_p_kw=np.array([700.0, 200.0, 0.0, 0.0]),
        switch_q_kvar=np.array([70.0, 20.0, -5.0, 0.0]),
        branch_i_a=np.array([21.0, 6.0, 0.5, 6.0]),
        loading=np.array([0.105, 0.03, 0.0025, 0.52]),
        scada_position=np.array([2, 2, 2, 1], dtype=np.int8),
        customers_interrupted=0,
        loading_max=0.52,
        v_min_pu=0.97,
        v_max_pu=1.0,
        f_hz=np.array([50.0, 50.0, 50.0, 50.0]),
        frequency_min=50.0,
    )


@pytest.fixture(scope="session")
def state_with(state: PlantState) -> Callable[..., PlantState]:
    def change(**changes: Any) -> PlantState:
        return replace(state, **changes)

    return change


DESIGN_EXAMPLE = """\
scenario: 1
name: flisr-permanent-fault-on-feeder-1
network: cigre_mv                      # a shipped one, or a file (pandapower JSON, CIM, OpenDSS)
start: 2026-01-15T18:00:00Z
duration: 10 min
seed: 42
applications:
  flisr: {mode: automatic, max_loading: 100 %}
stations:
  default: {protocol: iec104, latency: 80 ms}
  RTU_12: {protocol: in_process, loss: 0.5 %}
events:
  - {at: 60 s, id: fault1, fault: {line: L3-8, kind: phase-to-phase, permanent: true}}
  - {at: 62 s, comms loss: {station: RTU_12, for: 20 s}}
  - {when: "CB_1.position == open", after: 90 s, call: {from: N8, text: no supply}}
expect:
  - {id: trip,      within: 1 s of fault1,  that: "CB_1.position == open"}
  - {id: restored,  within: 60 s of fault1, that: "customers_interrupted <= 140"}
  - {id: loading,   always: "loading_max <= 100 %", from: 120 s}
  - {id: on-fault,  never: "closed_onto_fault"}
report: {plot: [N8.v_pu, TIE_1.i_a]}
"""


@pytest.fixture(scope="session")
def design_example() -> str:
    """The example of the design page; the station that speaks DNP3 there is in-process here."""
    return DESIGN_EXAMPLE


@pytest.fixture(scope="session")
def scenario_text() -> Callable[..., str]:
    """A complete short scenario with more lines under it, from line 6 on."""

    def text(*lines: str) -> str:
        head = ("scenario: 1", "name: toy", "network: toy", "start: 2026-01-15T18:00:00Z", "duration: 10 min")
        return "\n".join((*head, *lines)) + "\n"

    return text
