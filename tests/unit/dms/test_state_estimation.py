"""State estimation as an application: statistics, wrong points, suspect switches, what cannot be told."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from dms_telemetry import Plant
from dms_toy import two_feeders
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from twin.dms.standing import Standing
from twin.dms.state_estimation import (
    Accuracy,
    EstimationResult,
    PhaseError,
    StateEstimation,
    StateEstimationSettings,
)
from twin.network import load_network
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.network.topology import Topology
from twin.points.model import DoublePosition, Quality
from twin.solvers import PowerFlowDivergedError


class Measured:
    """A plant with its true telemetry, and the application in front of it."""

    def __init__(self, network: Network, **chosen: Any) -> None:
        self.plant = Plant.of(network, **{"false_alarm": 0.001, **chosen})
        self.network = network
        self.closed = network.switches.normally_closed
        self.flow = self.plant.flow(self.closed)
        self.true = self.plant.values(self.flow)
        self.sigma = self.plant.sigma(self.true)
        self.application = StateEstimation(network, self.plant.points, self.plant.settings)

    def noisy(self, rng: Any) -> Any:
        return self.true + rng.normal(size=self.true.size) * self.sigma

    def expected(self, rng: Any) -> dict[str, Any]:
        """Demand and generation as far off as their sigmas say."""
        c, g, d = self.network.consumers, self.network.generators, self.plant.demand()
        return {
            "demand": self.plant.demand(
                c.p_kw + rng.normal(size=c.n) * d.sigma_p_kw, c.q_kvar + rng.normal(size=c.n) * d.sigma_q_kvar
            ),
            "generation_kw": g.p_kw + rng.normal(size=g.n) * g.s_kva,
            "generation_kvar": g.q_kvar + rng.normal(size=g.n) * g.s_kva,
        }

    def run(self, values: Any, closed: Any = None, **changes: Any) -> EstimationResult:
        return self.application.run(self.plant.image(self.closed if closed is None else closed, values, **changes))


@cache
def measured(name: str = "cigre_mv") -> Measured:
    return Measured(load_network(name))


def names(found: EstimationResult) -> list[str]:
    return [wrong.point for wrong in found.wrong_points]


# -- statistics -----------------------------------------------------------------------------------------------------


def random_feeder(seed: int, n: int = 60) -> Network:
    """A random tree of 20 kV cables with a switch at both ends of every line, loaded to about half its rating."""
    rng, b = np.random.default_rng(seed), NetworkBuilder(f"random_{seed}")
    b.node("N0", v_kv=20.0)
    b.source("GRID", "N0", v_pu=1.02)
    for k in range(1, n):
        parent = int(rng.integers(max(0, k - 8), k))
        b.node(f"N{k}", v_kv=20.0)
        b.line(
            f"L{k}", f"N{parent}", f"N{k}", length_km=float(rng.uniform(0.3, 1.5)), r_ohm_per_km=0.2,
            x_ohm_per_km=0.12, c_nf_per_km=250.0, i_max_a=300.0,
        )  # fmt: skip
        b.switch(f"S{k}A", SwitchKind.LOAD_BREAK_SWITCH, f"N{parent}", branch=f"L{k}", feeder_head=parent == 0)
        b.switch(f"S{k}B", SwitchKind.LOAD_BREAK_SWITCH, f"N{k}", branch=f"L{k}")
        if rng.random() < 0.7:
            b.consumer(f"C{k}", f"N{k}", p_kw=float(rng.uniform(20, 220)), q_kvar=float(rng.uniform(5, 60)))
    return b.build()


NETWORKS = {
    "cigre_mv": lambda: load_network("cigre_mv"),
    "mv_oberrhein": lambda: load_network("mv_oberrhein"),
    "case33bw": lambda: load_network("pandapower:case33bw"),
    "random 1": lambda: random_feeder(1),
}


@pytest.mark.parametrize(
    ("name", "runs"), [("cigre_mv", 500), ("mv_oberrhein", 60), ("case33bw", 200), ("random 1", 200)]
)
def test_objective__averages_to_the_degrees_of_freedom(name: str, runs: int) -> None:
    """Seeded sets of noise on telemetry and expected values; nothing is taken out."""
    here = Measured(NETWORKS[name](), max_removals=0, max_suspects=0)
    rng, objectives = np.random.default_rng(500), []
    for _ in range(runs):
        expected = here.expected(rng)
        found = here.run(here.noisy(rng), **expected)
        objectives.append(found.objective)
    # the set voltages of sources are taken without an error: one degree less each
    freedom = found.estimate.degrees_of_freedom - here.network.sources.v_pu.size
    assert np.mean(objectives) == pytest.approx(freedom, rel=0.05)


def _kept_variance(here: Measured, values: Any) -> Any:
    """Which part of the variance of each point its residual keeps: 0 without redundancy, near 1 with much."""
    estimate, n = here.run(values).estimate, here.plant.points.n
    tested = estimate.used[:n] & ~estimate.critical[:n]
    sigma = here.plant.points.measurements(values, tested).sigma
    normalised = np.where(tested, estimate.normalised_residual[:n], 1.0)
    return np.where(tested, (estimate.residual[:n] / sigma / normalised) ** 2, 0.0)


@pytest.mark.parametrize("name", ["cigre_mv", "random 1"])
def test_gross_errors__of_20_sigma_are_identified(name: str) -> None:
    """Any point that others check, P at both sides of a transformer with unmetered load behind it included."""
    here, rng, found = Measured(NETWORKS[name]()), np.random.default_rng(20), 0
    redundant = np.flatnonzero(_kept_variance(here, here.noisy(rng)) > 0.02)
    assert len(redundant) > 40
    for _ in range(200):
        values, wrong = here.noisy(rng), int(rng.choice(redundant))
        values[wrong] += 20 * here.sigma[wrong] * rng.choice([-1, 1])
        result = here.run(values)
        found += names(result) == [here.plant.points.names[wrong]] and not result.suspects
    assert found >= 198


@pytest.mark.parametrize("side", ["CB_TR_1_HV", "CB_TR_1_LV", "CB_TR_2_HV", "CB_TR_2_LV"])
def test_gross_error__at_a_transformer_is_decided_by_the_currents(side: str) -> None:
    """The two sides check each other alone; noise would decide which one is accused, were it not for the currents."""
    here, rng = measured(), np.random.default_rng(7)
    row = here.plant.row(f"{side}.p_kw")
    for _ in range(15):
        values = here.noisy(rng)
        values[row] += 20 * here.sigma[row] * rng.choice([-1, 1])
        found = here.run(values)
        assert names(found) == [f"{side}.p_kw"]
        assert found.wrong_points[0].could_be == ()


def test_gross_error__at_a_transformer_without_currents_names_both_sides() -> None:
    here = measured()
    good = np.array([not name.endswith(".i_a") for name in here.plant.points.names])
    rng, row, both = np.random.default_rng(9), here.plant.row("CB_TR_1_LV.p_kw"), 0
    for _ in range(20):
        values = here.noisy(rng)
        values[row] += 20 * here.sigma[row]
        wrong = here.run(values, good=good).wrong_points
        assert len(wrong) == 1
        assert "CB_TR_1_LV.p_kw" in {wrong[0].point, *wrong[0].could_be}
        both += len(wrong[0].could_be)
    assert both > 0


def test_current__beside_good_powers_is_checked_though_it_does_not_count() -> None:
    here = measured()
    values, row = here.true.copy(), here.plant.row("CB_1.i_a")
    values[row] += 20 * here.sigma[row]
    wrong = here.run(values).wrong_points
    assert [point.point for point in wrong] == ["CB_1.i_a"]
    assert wrong[0].estimate == pytest.approx(here.true[row], rel=0.01)


def test_honest_telemetry__is_not_accused() -> None:
    here, rng = measured(), np.random.default_rng(3)
    accused = sum(bool(here.run(here.noisy(rng)).wrong_points) for _ in range(100))
    assert accused <= 2


# -- wrong points ---------------------------------------------------------------------------------------------------


def test_wrong_point__is_named_with_the_value_it_should_have() -> None:
    here = measured()
    values, row = here.true.copy(), here.plant.row("CB_1.p_kw")
    values[row] += 1500.0
    found = here.run(values)
    assert names(found) == ["CB_1.p_kw"]
    assert found.wrong_points[0].estimate == pytest.approx(here.true[row], abs=here.sigma[row])
    assert found.wrong_points[0].why.startswith("CB_1.p_kw reads ")
    assert found.estimate.state.v_pu == pytest.approx(here.flow.v_pu, abs=0.002)
    assert set(found.node.tolist()) == {Standing.MEASURED}


def test_two_wrong_points__are_both_named() -> None:
    here = measured()
    values = here.true.copy()
    values[here.plant.row("CB_1.p_kw")] += 1500.0
    values[here.plant.row("N9.v_kv")] *= 1.1
    assert sorted(names(here.run(values))) == ["CB_1.p_kw", "N9.v_kv"]


def test_current__counts_where_power_is_missing() -> None:
    here = measured()
    good = np.ones(here.plant.points.n, dtype=bool)
    good[here.plant.row("CB_2.p_kw")] = False
    row = here.plant.row("CB_2.i_a")
    assert not here.run(here.true).estimate.used[row]
    assert here.run(here.true, good=good).estimate.used[row]


# -- suspect switches -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LBS_3-8", "LBS_4-5", "CB_2", "LBS_9-8"])
def test_switch__reported_open_though_it_is_closed_is_suspected(name: str) -> None:
    here, rng = measured(), np.random.default_rng(1)
    reported = here.closed.copy()
    reported[here.plant.switch(name)] = False
    found = here.run(here.noisy(rng), reported)
    assert [suspect.name for suspect in found.suspects] == [name]
    suspect = found.suspects[0]
    assert suspect.objective_other < 0.01 * suspect.objective
    assert suspect.wrong_points >= 2 > suspect.wrong_points_other
    assert f"{name} is reported open" in suspect.why
    assert names(found) == []
    assert Standing.DOUBTFUL in found.node.tolist()


def test_switch__reported_closed_though_it_is_open_is_suspected() -> None:
    """LBS_8-9 stands open: N9 to N11 are dead, and show it."""
    here = measured()
    reality = here.closed.copy()
    reality[here.plant.switch("LBS_8-9")] = False
    found = here.run(here.plant.values(here.plant.flow(reality)))
    suspects = {"LBS_8-9", "LBS_9-8"}  # both ends of one line: either explains it
    assert found.suspects[0].name in suspects
    assert "is reported closed" in found.suspects[0].why


def _turned(here: Measured, *names: str) -> Any:
    """Noisy telemetry of a plant in which some switches are not as reported."""
    reality = here.closed.copy()
    for name in names:
        reality[here.plant.switch(name)] ^= True
    true = here.plant.values(here.plant.flow(reality))
    return true + np.random.default_rng(1).normal(size=true.size) * here.plant.sigma(true)


@pytest.mark.parametrize("name", ["LBS_4-3", "LBS_2-1", "CB_2", "LBS_8-9"])
def test_switch__that_stands_open_unreported_is_found_by_the_dead_voltages_behind_it(name: str) -> None:
    """No supplied node has 0 kV: such voltages must not keep the estimate from being found."""
    here = measured()
    found = here.run(_turned(here, name))
    s = here.network.switches
    assert s.branch[found.suspects[0].switch] == s.branch[here.plant.switch(name)]  # either end explains it
    assert "is reported closed" in found.suspects[0].why
    assert len(found.suspects) == 1
    assert names(found) == []


def test_two_switches__reported_wrong_are_found_one_after_the_other() -> None:
    here = measured()
    found = here.run(_turned(here, "LBS_4-3", "LBS_9-8"))
    s = here.network.switches
    told = {int(s.branch[suspect.switch]) for suspect in found.suspects}
    assert told == {int(s.branch[here.plant.switch(name)]) for name in ("LBS_4-3", "LBS_9-8")}
    assert names(found) == []


def test_load_moved__between_feeders_without_a_report_is_one_closed_and_one_opened_switch() -> None:
    """N8 to N11 are fed over TIE_1 from feeder 2; reported are TIE_1 open and LBS_3-8 closed."""
    here = measured()
    found = here.run(_turned(here, "TIE_1", "LBS_3-8"))
    told = {suspect.name for suspect in found.suspects}
    assert "TIE_1" in told or "LBS_14-8" in told
    assert told & {"LBS_3-8", "LBS_8-3"}
    assert len(told) == 2
    assert "the other way round too" in found.suspects[0].why
    assert names(found) == []


def test_suspected_position__is_assumed_only_if_told_to() -> None:
    here = Measured(load_network("cigre_mv"), assume_suspected=True)
    reported = here.closed.copy()
    reported[here.plant.switch("LBS_3-8")] = False
    found = here.run(here.true, reported)
    assert found.suspects[0].name == "LBS_3-8"
    assert found.estimate.state.v_pu == pytest.approx(here.flow.v_pu, abs=0.002)
    assert Standing.DOUBTFUL not in found.node.tolist()
    assert measured().run(here.true, reported).estimate.state.v_pu[here.network.index["N8"].index] == 0.0


# -- what cannot be told ----------------------------------------------------------------------------------------------


def test_unknown_switch__is_not_guessed() -> None:
    """What CB_1 alone feeds cannot be told; feeder 2 is as good as ever."""
    here = measured()
    position = here.plant.image(here.closed, here.true).position.copy()
    position[here.plant.switch("CB_1")] = DoublePosition.INTERMEDIATE
    found = here.run(here.true, position=position)
    fed = here.network.index
    assert found.unknown_switches == ("CB_1",)
    assert {found.node[fed[f"N{n}"].index] for n in (2, 3, 8, 11)} == {Standing.UNKNOWN}
    assert {found.node[fed[f"N{n}"].index] for n in (12, 13, 14)} == {Standing.MEASURED}
    assert found.suspects == found.wrong_points == ()


def test_unknown_tie__leaves_both_sides_observable() -> None:
    here = measured()
    quality = np.zeros(here.network.switches.n, dtype=np.int32)
    quality[here.plant.switch("TIE_1")] = Quality.NOT_TOPICAL
    found = here.run(here.true, position_quality=quality)
    assert Standing.UNKNOWN not in found.node.tolist()
    assert found.estimate.state.v_pu == pytest.approx(here.flow.v_pu, abs=0.002)


def test_gap__is_named_and_bridged_by_expected_demand() -> None:
    """Without any telemetry of N14 and of the line to it, its load is expected, not measured."""
    here = measured()
    points = here.plant.points
    lost = ("N14.", "LBS_14-13.", "LBS_13-14.", "TIE_1.", "LBS_14-8.")
    good = np.array([not name.startswith(lost) for name in points.names])
    good &= np.array([not name.startswith(("N13.v", "LBS_13-12.p", "LBS_13-12.q", "CB_2.")) for name in points.names])
    found = here.run(here.true, good=good)
    assert found.gaps[0].bridged
    assert "N14" in found.gaps[0].nodes
    assert "expected demand is used there" in found.gaps[0].why
    assert found.node[here.network.index["N14"].index] == Standing.EXPECTED
    assert found.estimate.state.v_pu[here.network.index["N14"].index] > 0.9


def test_phase_measurement__is_refused_by_the_balanced_estimation() -> None:
    points = measured().plant.points
    phase = points.phase.copy()
    phase[0] = 1
    with pytest.raises(PhaseError, match="measures phase 1"):
        replace(points, phase=phase)


# -- invariants -------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_result__depends_on_the_image_alone_and_on_no_point_that_must_not_be_used(seed: int) -> None:
    here, rng = measured(), np.random.default_rng(seed)
    good = rng.random(here.plant.points.n) > 0.2
    quality = np.where(rng.random(here.network.switches.n) < 0.1, int(Quality.NOT_TOPICAL), 0).astype(np.int32)
    first = here.run(here.true, good=good, position_quality=quality)
    lies = np.where(good, here.true, rng.uniform(-1e6, 1e6, here.true.size))
    here.run(here.noisy(rng))
    position = here.plant.image(here.closed, here.true).position
    garbled = np.where(quality > 0, rng.integers(0, 4, position.size), position).astype(np.int32)
    again = here.run(lies, good=good, position=garbled, position_quality=quality)
    assert again.estimate.state.v_pu.tolist() == first.estimate.state.v_pu.tolist()
    assert again.node.tolist() == first.node.tolist()
    assert names(again) == names(first)
    assert not first.estimate.used[: here.plant.points.n][~good].any()
    assert set(first.unknown_switches) == {here.network.switches.names[row] for row in np.flatnonzero(quality)}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_unknown_switches__whichever_way_they_stand_are_no_reason_to_accuse_anybody(seed: int) -> None:
    """The truth has the unknown switches one way or the other; honest points stay unsuspected, known voltages right."""
    here, rng = measured(), np.random.default_rng(seed)
    unknown = rng.choice(here.network.switches.n, 2, replace=False)
    reality = here.closed.copy()
    reality[unknown] = rng.random(2) < 0.5
    try:
        flow = here.plant.flow(reality)
    except PowerFlowDivergedError:
        reject()  # the remaining feeder cannot carry it: no such plant
    values = here.plant.values(flow)
    quality = np.zeros(here.network.switches.n, dtype=np.int32)
    quality[unknown] = Quality.NOT_TOPICAL
    live = Topology(here.network).state(reality).energised
    demand = here.plant.demand(
        np.where(live[here.network.consumers.node], here.network.consumers.p_kw, 0.0),
        np.where(live[here.network.consumers.node], here.network.consumers.q_kvar, 0.0),
    )
    found = here.run(values, reality, position_quality=quality, demand=demand)
    assert (found.wrong_points, found.suspects) == ((), ())
    told = found.node == Standing.MEASURED
    assert found.estimate.state.v_pu[told] == pytest.approx(flow.v_pu[told], abs=0.004)


def test_settings__are_bounded() -> None:
    for wrong in ({"false_alarm": 0.0}, {"max_removals": -1}, {"voltage": {"of_range_percent": 0}}, {"unknown": 1}):
        with pytest.raises(ValueError):
            StateEstimationSettings(**wrong)
    assert Accuracy(of_range_percent=1.0).of_reading_percent == 0.0


def test_points__at_switches_between_two_nodes_are_listed_as_unused() -> None:
    assert Plant.of(two_feeders()).points.unused == ()
