"""The system frequency response model against the closed form of Anderson and Mirheydar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twin.solvers.frequency import FrequencyModel, Machines

CASE: dict[str, Any] = json.loads((Path(__file__).parent / "ufls_sfr_reference.json").read_text("utf-8"))
SFR = CASE["anderson_mirheydar_SFR"]
S_KVA = 100_000.0


def _model(parts: int) -> FrequencyModel:
    """The system as ``parts`` equal machines: the response does not depend on how many there are."""
    p = SFR["params"]
    machines = Machines.of(
        tuple(f"G{i}" for i in range(parts)),
        s_kva=S_KVA / parts,
        p_kw=S_KVA / parts,
        inertia_s=p["H"],
        droop=p["R"],
        gain=p["Km"],
        high_pressure=p["FH"],
        reheat_s=p["TR"],
    )
    return FrequencyModel(machines, nominal_hz=p["f0"], damping=p["D"], damping_base_kw=np.array([S_KVA]))


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("step_pu", SFR["Pstep->[f_nadir,f_ss,initial_rocof_Hz_s]"])
def test_frequency__meets_nadir_steady_state_and_slope(step_pu: str, parts: int) -> None:
    nadir_hz, steady_hz, slope_hz_s = SFR["Pstep->[f_nadir,f_ss,initial_rocof_Hz_s]"][step_pu]
    result = _model(parts).step(120_000, np.array([S_KVA * (1 - float(step_pu))]))
    course = result.trace_hz[:, 0]
    at = int(np.argmin(course))
    assert course[at] == pytest.approx(nadir_hz, abs=1e-3)
    assert result.trace_after_ms[at] / 1000 == pytest.approx(SFR["derived"]["t_nadir_s"], abs=1e-2)
    assert course[-1] == pytest.approx(steady_hz, abs=1e-3)
    assert (course[0] - SFR["params"]["f0"]) / 0.01 == pytest.approx(slope_hz_s, rel=0.02)
