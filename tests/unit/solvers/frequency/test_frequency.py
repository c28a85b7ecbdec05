"""The frequency model: closed form and order, events, relays, islands, snapshots."""

from __future__ import annotations

import json

import numpy as np
import pytest

from twin.solvers import InputShapeError
from twin.solvers.frequency import (
    FrequencyEvent,
    FrequencyEventError,
    FrequencyEventKind,
    FrequencyModel,
    FrequencyStateError,
    MachineDataError,
    Machines,
    SheddingStages,
)

S_KVA = 10_000.0
NONE = SheddingStages.of((), level_hz=np.zeros(0), p_kw=np.zeros(0))


def machines(n: int = 2, **other: object) -> Machines:
    """``n`` machines of 10 MVA together, loaded to 9 MW together."""
    return Machines.of(tuple(f"G{i}" for i in range(n)), **({"s_kva": S_KVA / n, "p_kw": 9_000.0 / n} | other))


def model(stages: SheddingStages = NONE, **other: object) -> FrequencyModel:
    return FrequencyModel(machines(), stages, damping_base_kw=np.array([S_KVA]), **other)


def closed_form_hz(t_s: np.ndarray, step_pu: float, nominal_hz: float = 50.0) -> np.ndarray:
    """Anderson and Mirheydar, equations 9 to 15, for H 4, D 1, R 0.05, Km 0.95, FH 0.3, TR 8."""
    h, d, r, km, fh, tr = 4.0, 1.0, 0.05, 0.95, 0.3, 8.0
    wn = np.sqrt((d * r + km) / (2 * h * r * tr))
    zeta = (2 * h * r + (d * r + km * fh) * tr) / (2 * (d * r + km)) * wn
    wr = wn * np.sqrt(1 - zeta**2)
    alpha = np.sqrt((1 - 2 * tr * zeta * wn + tr**2 * wn**2) / (1 - zeta**2))
    phi = np.arctan2(wr * tr, 1 - zeta * wn * tr) - np.arctan2(np.sqrt(1 - zeta**2), -zeta)
    course = 1 + alpha * np.exp(-zeta * wn * t_s) * np.sin(wr * t_s + phi)
    return nominal_hz * (1 + r * step_pu / (d * r + km) * course)


def test_response__equals_the_closed_form() -> None:
    result = model().step(60_000, np.array([9_500.0]))
    expected = closed_form_hz(result.trace_after_ms / 1000, -500 / S_KVA)
    np.testing.assert_allclose(result.trace_hz[:, 0], expected, atol=1e-8)


def test_integration__is_of_fourth_order() -> None:
    """Half the step, a sixteenth of the error; a fast turbine makes the error large enough to be seen."""
    ends = []
    for step_ms in (10, 5, 1):
        fast = machines(reheat_s=0.1, inertia_s=0.2, droop=0.2)
        ends.append(FrequencyModel(fast, inner_step_ms=step_ms).step(50, np.array([9_500.0])).f_hz[0])
    coarse, half = abs(ends[0] - ends[2]), abs(ends[1] - ends[2])
    assert coarse / half == pytest.approx(16, rel=0.25)


def test_balance__stays_at_nominal_frequency() -> None:
    result = model().step(10_000, np.array([9_000.0]))
    np.testing.assert_array_equal(result.trace_hz, 50.0)


def test_steps__do_not_depend_on_how_they_are_cut() -> None:
    whole, cut = model(), model()
    once = whole.step(1_000, np.array([9_800.0]))
    for _ in range(10):
        cut.step(100, np.array([9_800.0]))
    assert cut.f_hz[0] == once.f_hz[0]


def test_trip__loses_inertia_and_power_from_its_instant() -> None:
    """5 of 10 MVA go with 4.5 MW at 333 ms: df/dt = -4.5 MW / (2 * 4 s * 5 MVA) * 50 Hz = -5.625 Hz/s."""
    trip = FrequencyEvent(333, FrequencyEventKind.TRIP, 0)
    result = model().step(400, np.array([9_000.0]), [trip])
    at = result.trace_after_ms
    assert (result.trace_hz[at <= 333, 0] == 50.0).all()
    first = int(np.flatnonzero(at > 333)[0])
    slope = (result.trace_hz[first, 0] - 50.0) / (at[first] - 333) * 1000
    assert slope == pytest.approx(-5.625, rel=0.01)


def test_stage__sheds_after_its_delay_and_not_for_a_dip() -> None:
    stages = SheddingStages.of(("A", "B"), level_hz=np.array([49.8, 48.0]), p_kw=2_000.0, delay_ms=200.0)
    result = model(stages).step(5_000, np.array([11_000.0]))
    [operation] = [o for o in result.operations if o.name == "A"]
    below = result.trace_after_ms[result.trace_hz[:, 0] <= 49.8][0]
    assert operation.after_ms == pytest.approx(below + 200, abs=10)
    assert result.f_hz[0] > 49.8
    dip = model(stages).step(
        2_000, np.array([11_000.0]), [FrequencyEvent(int(below) + 100, FrequencyEventKind.DEMAND, 0, -6_000.0)]
    )
    assert dip.operations == ()


def test_stage__operates_on_slope_while_armed() -> None:
    """df/dt after losing 2 MW is -1.25 Hz/s: a relay at 1 Hz/s operates far above its level, one at 2 Hz/s does not."""
    for slope, operates in ((1.0, True), (2.0, False)):
        stages = SheddingStages.of(
            ("A",), level_hz=np.array([48.0]), p_kw=2_000.0, delay_ms=0.0, arm_hz=49.9, rocof_hz_per_s=slope
        )
        result = model(stages).step(600, np.array([11_000.0]))
        assert bool(result.operations) is operates


def test_shed_load__stays_off_until_handed_over_and_reconnects() -> None:
    stages = SheddingStages.of(("A",), level_hz=np.array([49.8]), p_kw=1_000.0, delay_ms=0.0)
    frequency = model(stages)
    frequency.step(5_000, np.array([10_000.0]))
    assert frequency.shed.tolist() == [True]
    settled = frequency.step(120_000, np.array([10_000.0])).f_hz[0]
    assert settled == pytest.approx(50.0, abs=1e-3)
    frequency.hand_over()
    assert frequency.step(60_000, np.array([9_000.0])).f_hz[0] == pytest.approx(50.0, abs=1e-3)
    frequency.step(100, np.array([9_000.0]), [FrequencyEvent(50, FrequencyEventKind.RECONNECT, 0)])
    assert frequency.shed.tolist() == [False]


def test_governor__gives_no_more_than_the_machine_has() -> None:
    """9 MW of 9.2 MW are given; the demand is 10 MW: damping alone holds it, f = 50 (1 - 0.8 / 10)."""
    limited = FrequencyModel(machines(p_max_kw=4_600.0), damping_base_kw=np.array([S_KVA]))
    result = limited.step(600_000, np.array([10_000.0]))
    assert result.f_hz[0] == pytest.approx(50 * (1 - 0.08), abs=1e-3)


def test_machines__trip_on_low_frequency_and_leave_a_dead_island() -> None:
    frequency = FrequencyModel(machines(low_hz=47.5, trip_delay_ms=300.0, gain=0.0))
    result = frequency.step(20_000, np.array([12_000.0]))
    assert [o.name for o in result.operations] == ["G0", "G1"]
    assert result.f_hz.tolist() == [0.0]
    assert not frequency.energised.any()
    assert frequency.step(1_000, np.array([12_000.0])).f_hz.tolist() == [0.0]


def test_dead_island__starts_at_nominal_frequency_with_a_machine() -> None:
    frequency = model()
    both = [FrequencyEvent(0, FrequencyEventKind.TRIP, 0), FrequencyEvent(0, FrequencyEventKind.TRIP, 1)]
    assert frequency.step(1_000, np.array([9_000.0]), both).f_hz.tolist() == [0.0]
    start = FrequencyEvent(500, FrequencyEventKind.START, 0, 2_000.0)
    result = frequency.step(1_000, np.array([2_000.0]), [start])
    assert (result.trace_hz[result.trace_after_ms <= 500] == 0.0).all()
    assert result.f_hz[0] == pytest.approx(50.0)


def test_islands__part_with_their_frequency_and_meet_at_the_mean_by_inertia() -> None:
    frequency = FrequencyModel(Machines.of(("A", "B"), s_kva=np.array([6_000.0, 2_000.0]), p_kw=0.0))
    before = frequency.step(500, np.array([400.0])).f_hz[0]
    frequency.regroup(np.array([0, 1]), np.zeros(0, dtype=np.int32), 2)
    np.testing.assert_allclose(frequency.f_hz, before)
    apart = frequency.step(300, np.array([0.0, 300.0])).f_hz
    assert apart[1] < apart[0]
    frequency.regroup(np.array([0, 0]), np.zeros(0, dtype=np.int32), 1)
    assert frequency.f_hz[0] == pytest.approx((3 * apart[0] + apart[1]) / 4)


def test_islands__do_not_touch_one_another() -> None:
    many = FrequencyModel(Machines.of(("A", "B"), s_kva=S_KVA, p_kw=9_000.0, island=np.array([0, 1])), n_islands=3)
    f_hz = many.step(2_000, np.array([9_000.0, 9_900.0, 100.0])).f_hz
    alone = FrequencyModel(machines(1)).step(2_000, np.array([9_900.0])).f_hz
    assert f_hz.tolist() == [50.0, alone[0], 0.0]


def test_snapshot__continues_bit_by_bit() -> None:
    stages = SheddingStages.of(("A", "B"), level_hz=np.array([49.7, 49.5]), p_kw=300.0, delay_ms=150.0)
    first = model(stages)
    first.step(250, np.array([11_000.0]))
    state = json.loads(json.dumps(first.snapshot()))
    second = model(stages)
    second.restore(state)
    a, b = (m.step(3_000, np.array([11_000.0])) for m in (first, second))
    np.testing.assert_array_equal(a.trace_hz, b.trace_hz)
    assert a.operations == b.operations
    assert a.operations


def test_wrong_inputs__are_refused() -> None:
    frequency = model()
    with pytest.raises(InputShapeError, match="demand_kw"):
        frequency.step(100, np.zeros(2))
    with pytest.raises(FrequencyEventError, match="outside its step"):
        frequency.step(100, np.zeros(1), [FrequencyEvent(200, FrequencyEventKind.TRIP, 0)])
    with pytest.raises(FrequencyEventError, match="names what is not there"):
        frequency.step(100, np.zeros(1), [FrequencyEvent(0, FrequencyEventKind.TRIP, 9)])
    with pytest.raises(FrequencyStateError, match="reheat"):
        frequency.restore(FrequencyModel(machines(3)).snapshot())
    with pytest.raises(MachineDataError, match="machine G1 has no positive inertia_s"):
        machines(inertia_s=np.array([4.0, 0.0]))
    with pytest.raises(ValueError, match="within 10 ms"):
        model(inner_step_ms=20)
