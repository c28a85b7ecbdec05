"""Relays that do not reach the end of their feeder are named."""

from __future__ import annotations

import math

import pytest
from click.testing import CliRunner

from twin.derive import derive
from twin.derive.commands import derive as derive_command
from twin.network import load_network
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.solvers import FaultKind, FaultPoint, ShortCircuitSettings, short_circuit


def feeder(length_km: float, i_max_a: float = 400.0) -> Network:
    """GRID ─ A ─CB─ L1 ── B ── L2 ── C: 10 kV, 100 MVA, at least 50 MVA."""
    builder = NetworkBuilder("feeder")
    for node in "ABC":
        builder.node(node, v_kv=10.0)
    builder.source("GRID", "A", s_sc_mva=100.0, rx=0.1, s_sc_min_mva=50.0, rx_min=0.0)
    for name, one, two in (("L1", "A", "B"), ("L2", "B", "C")):
        builder.line(name, one, two, length_km=length_km, r_ohm_per_km=0.5, x_ohm_per_km=0.4, i_max_a=i_max_a)
    builder.switch("CB", SwitchKind.BREAKER, "A", branch="L1", feeder_head=True)
    return builder.build()


def test_short_feeder__is_seen_to_its_end() -> None:
    assert derive(feeder(1.0)).findings == ()


def test_long_feeder__is_named_with_relay_line_and_currents() -> None:
    # Pickup 1.2 · 400 = 480 A. At C: Z = 2 + 20 · (0.62 + j0.4) = 12.4 + j10 ohm; I = 10 kV / (2 · 15.93) = 313.9 A.
    (finding,) = derive(feeder(10.0)).findings
    assert (finding.relay, finding.line, finding.pickup_a) == ("CB", "L2", 480.0)
    assert finding.i_least_a == pytest.approx(10e3 / (2 * math.hypot(12.4, 10.0)), rel=1e-9)
    assert str(finding) == ("relay CB picks up at 480 A, but a two-phase fault at the end of line L2 draws 314 A only")


def test_least_current__is_that_of_the_short_circuit_solver() -> None:
    network = feeder(10.0)
    (finding,) = derive(network).findings
    solver = short_circuit(network, ShortCircuitSettings(case="min"))
    result = solver.solve(FaultPoint(FaultKind.PHASE_TO_PHASE, node=2), network.switches.normally_closed)
    assert finding.i_least_a == pytest.approx(result.i_fault_a, rel=1e-9)


def test_case33bw__is_weak_at_its_ends() -> None:
    findings = derive(load_network("pandapower:case33bw")).findings
    assert findings
    assert all(0 < finding.i_least_a < finding.pickup_a for finding in findings)


def test_command__prints_the_note(tmp_path: object) -> None:
    result = CliRunner().invoke(derive_command, ["pandapower:case33bw", "--out", str(tmp_path)])
    assert result.exit_code == 0
    assert "note: relay CB_1 picks up at" in result.output
