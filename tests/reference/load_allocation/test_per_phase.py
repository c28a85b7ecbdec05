"""Allocation phase by phase on published feeders from wrong starts, and beside AllocateLoads of OpenDSS."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twin.dms.load_flow import PhaseLoadFlow, PhaseMeterError, PhaseMeters
from twin.network.opendss_loader import load_opendss
from twin.network.three_phase import ThreePhaseNetwork
from twin.solvers.three_phase import ThreePhaseResult, three_phase_power_flow

REFERENCE = Path(__file__).parents[1]
HEADS = {"ieee13": "650632", "ieee34": "l1"}

SMALL = """Clear
New Circuit.small basekv=12.47 pu=1.02 phases=3 bus1=S MVAsc3=2000 MVAsc1=2000
New Linecode.c nphases=3 r1=0.19 x1=0.39 r0=0.5 x0=1.2 c1=0 c0=0 units=km
New Line.head bus1=S bus2=A linecode=c length=2 units=km
New Line.out bus1=A bus2=B linecode=c length=3 units=km
New Load.a1 bus1=A.1 phases=1 kv=7.2 kw=310 kvar=90 model=1
New Load.b1 bus1=A.2 phases=1 kv=7.2 kw=150 kvar=60 model=1
New Load.c1 bus1=A.3 phases=1 kv=7.2 kw=220 kvar=40 model=1
New Load.a2 bus1=B.1 phases=1 kv=7.2 kw=90 kvar=30 model=1
New Load.b2 bus1=B.2 phases=1 kv=7.2 kw=260 kvar=80 model=1
New Load.c2 bus1=B.3 phases=1 kv=7.2 kw=120 kvar=70 model=1
Set voltagebases=[12.47]
Calcvoltagebases
"""


class Feeder:
    """A feeder, its true flows, and the application in front of it."""

    def __init__(self, script: Path) -> None:
        self.script = script
        self.network: ThreePhaseNetwork = load_opendss(script)
        solver = three_phase_power_flow(self.network)
        self.truth: ThreePhaseResult = solver.solve()
        self.application = PhaseLoadFlow(self.network, solver)
        self.names = [name.lower().removeprefix("line.") for name in self.network.branch_names]

    def meters(self, *branches: str, powers: bool = True) -> PhaseMeters:
        rows = np.array([self.names.index(name) for name in branches], dtype=np.int32)
        p_kw, q_kvar = self.truth.p_from_kw[rows], self.truth.q_from_kvar[rows]
        blank = np.nan if not powers else 0.0
        i_a = self.truth.i_from_a[rows]
        return PhaseMeters(rows, np.zeros(len(rows), dtype=np.int32), p_kw + blank, q_kvar + blank, i_a)

    def start(self, rng: Any) -> tuple[Any, Any]:
        """Every unit wrong by a factor of its own."""
        c = self.network.consumers
        p_kw, q_kvar = (v * rng.uniform(0.1, 3.0, v.shape) for v in (c.p_kw, c.q_kvar))
        return p_kw, q_kvar


@cache
def feeder(name: str) -> Feeder:
    return Feeder(REFERENCE / name / "fixed_taps.dss")


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", HEADS)
def test_head_currents__are_recovered_per_phase_from_wrong_starts(name: str, seed: int) -> None:
    """Meters at the head and at some other lines: delta loads, regulators and single-phase laterals between them."""
    here, rng = feeder(name), np.random.default_rng(seed)
    others = [
        n for n, kind in zip(here.names, here.network.branch_names, strict=True) if kind.lower().startswith("line")
    ]
    some = [n for n in others if n != HEADS[name] and rng.random() < 0.25]
    meters = here.meters(HEADS[name], *some)
    found = here.application.run(meters, *here.start(rng))
    head = meters.branch[0]
    assert found.flow.i_from_a[head] == pytest.approx(here.truth.i_from_a[head], rel=0.005)
    assert np.nanmax(found.off[0]) < 0.005
    assert np.nanmax(found.off) <= here.application.settings.acceptable_off
    assert not found.unmetered.any()
    assert found.rounds <= 20


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", HEADS)
def test_head_currents__are_recovered_from_currents_alone(name: str, seed: int) -> None:
    here = feeder(name)
    meters = here.meters(HEADS[name], powers=False)
    found = here.application.run(meters, *here.start(np.random.default_rng(seed)))
    assert found.flow.i_from_a[meters.branch] == pytest.approx(here.truth.i_from_a[meters.branch], rel=0.005)


def test_true_demand__is_found_again() -> None:
    """Losses are told from demand: what the meters read above the demand goes to the lines."""
    here = feeder("ieee13")
    c = here.network.consumers
    found = here.application.run(here.meters("650632"), c.p_kw, c.q_kvar)
    assert np.nansum(found.p_kw) == pytest.approx(np.nansum(c.p_kw), rel=0.002)
    np.testing.assert_allclose(found.p_kw, c.p_kw, rtol=0.02)


def test_units__behind_no_meter_keep_their_start_and_are_told() -> None:
    """A meter at line L27 only: what lies before it is as it was."""
    here = feeder("ieee34")
    start = here.start(np.random.default_rng(1))
    found = here.application.run(here.meters("l27"), *start)
    assert found.unmetered.any()
    np.testing.assert_array_equal(found.p_kw[found.unmetered], start[0][found.unmetered])


def test_meter__that_says_nothing_is_refused_by_name() -> None:
    here = feeder("ieee13")
    meters = here.meters("650632")
    none = np.full((1, 3), np.nan)
    with pytest.raises(PhaseMeterError, match="650632 reads neither"):
        here.application.run(
            PhaseMeters(meters.branch, meters.side, none, none, none), *here.start(np.random.default_rng(1))
        )
    with pytest.raises(PhaseMeterError, match="has a meter already"):
        here.application.run(here.meters("650632", "650632"), *here.start(np.random.default_rng(1)))


def test_meter__in_a_loop_is_refused(tmp_path: Path) -> None:
    """Line OUT with a second way around it: what flows there says nothing about B alone."""
    script = tmp_path / "loop.dss"
    around = "New Line.w1 bus1=A bus2=C linecode=c length=2\nNew Line.w2 bus1=C bus2=B linecode=c length=2\nSet volt"
    script.write_text(SMALL.replace("Set volt", around), "utf-8")
    here = Feeder(script)
    with pytest.raises(PhaseMeterError, match="in a loop"):
        here.application.run(here.meters("out"), *here.start(np.random.default_rng(1)))


def opendss(here: Feeder, line: str, factor: Any) -> tuple[Any, Any]:
    """Currents of the line after AllocateLoads, A, and the allocated kW of each load."""
    dss = pytest.importorskip("dss").DSS
    dss.AllowForms = False
    network, c = here.network, here.network.consumers
    text, circuit = dss.Text, dss.ActiveCircuit
    text.Command = "Clear"
    text.Command = f'Compile "{here.script}"'
    kva = np.hypot(np.nansum(c.p_kw, axis=1), np.nansum(c.q_kvar, axis=1))
    pf = np.nansum(c.p_kw, axis=1) / kva
    for name, rating, cosine in zip(c.names, kva * factor, pf, strict=True):
        text.Command = f"Edit {name} xfkva={rating} pf={cosine} allocationfactor=0.5"
    peak = " ".join(str(value) for value in here.truth.i_from_a[here.names.index(line)])
    text.Command = f"New Energymeter.m element=Line.{line} terminal=1 peakcurrent=[{peak}]"
    text.Command = "Set mode=snap"
    for command in ("Solve", *["AllocateLoads"] * 20, "Solve"):
        text.Command = command
    circuit.SetActiveElement(f"Line.{line}")
    currents = np.array(circuit.ActiveCktElement.CurrentsMagAng[:6:2])
    kw = []
    for name in network.consumers.names:
        circuit.Loads.Name = name.split(".")[1]
        kw.append(circuit.Loads.kW)
    return currents, np.array(kw)


@pytest.mark.parametrize("name", ["small", *HEADS])
def test_allocation__beside_opendss(name: str, tmp_path: Path) -> None:
    if name == "small":
        script = tmp_path / "small.dss"
        script.write_text(SMALL, "utf-8")
    here, line = (Feeder(script), "head") if name == "small" else (feeder(name), HEADS[name])
    c = here.network.consumers
    factor = np.random.default_rng(3).uniform(0.4, 2.5, c.n)
    theirs_a, theirs_kw = opendss(here, line, factor)
    found = here.application.run(here.meters(line, powers=False), c.p_kw * factor[:, None], c.q_kvar * factor[:, None])
    ours_a, ours_kw = found.flow.i_from_a[here.names.index(line)], np.nansum(found.p_kw, axis=1)
    assert ours_a == pytest.approx(theirs_a, rel=0.005)
    assert ours_kw.sum() == pytest.approx(theirs_kw.sum(), rel=0.015)
    if name == "small":
        assert ours_kw == pytest.approx(theirs_kw, rel=0.005)
