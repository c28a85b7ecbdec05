"""Many cases in one call: equal to one at a time, whatever the workers and blocks, and one failure harms no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sweep_networks import random_network

from twin.network.model import Network
from twin.solvers import PowerFlowDivergedError, TapOutOfRangeError, batch, power_flow
from twin.solvers.batch import Cases, Output, Profiles, UnknownOutputError, solve_power_flows, stream_power_flow
from twin.solvers.blocks import run_blocks
from twin.solvers.model import InputNotFiniteError, InputShapeError

EVERY = ("v_pu", "energised", "angle_rad", "p_from_kw", "q_to_kvar", "i_from_a", "loading", "generation_kvar")


def random_cases(network: Network, n: int, seed: int, *names: str) -> Cases:
    """Cases that differ in what is named; one in ten demands what the network cannot carry."""
    rng = np.random.default_rng(seed)
    c, g, t, s = network.consumers, network.generators, network.transformers, network.shunts
    heavy = np.where(rng.random((n, 1)) < 0.1, 80.0, 1.0)
    every = {
        "p_kw": heavy * c.p_kw * rng.uniform(0, 1.2, (n, c.n)),
        "q_kvar": c.q_kvar * rng.uniform(0, 1.2, (n, c.n)),
        "generation_kw": g.p_kw * rng.uniform(0, 1.2, (n, g.n)),
        "closed": rng.random((n, network.switches.n)) > 0.1,
        "tap_position": rng.integers(-2, 3, (n, t.n)).astype(np.int32),
        "shunt_steps": rng.integers(0, s.steps + 1, (n, s.n)).astype(np.int32),
    }
    return Cases(n, **{name: every[name] for name in names})


def one_at_a_time(network: Network, cases: Cases) -> list[Any]:
    """Results or errors of a solver built afresh for each case."""
    outcomes: list[Any] = []
    for row in range(cases.n):
        solver = power_flow(network)
        solver.update(**{name: rows[0] for name, rows in cases.rows(row, row + 1).items()})
        try:
            outcomes.append(solver.solve())
        except PowerFlowDivergedError as error:
            outcomes.append(error)
    return outcomes


@pytest.mark.parametrize(
    "names",
    [("p_kw", "q_kvar"), ("closed",), ("p_kw", "generation_kw", "closed"), ("p_kw", "tap_position", "shunt_steps")],
)
@pytest.mark.parametrize("holding", [False, True])
def test_batch__equals_one_at_a_time_to_the_last_bit(names: tuple[str, ...], holding: bool) -> None:
    network = random_network(3, 12, dependent=True, holding=holding)
    cases = random_cases(network, 25, 7, *names)
    block = solve_power_flows(network, cases, EVERY, workers=2)
    singles = one_at_a_time(network, cases)
    assert {row for row, one in enumerate(singles) if isinstance(one, PowerFlowDivergedError)} == set(block.failed)
    for row, one in enumerate(singles):
        if isinstance(one, PowerFlowDivergedError):
            assert str(block.failed[row]) == str(one)
            assert np.isnan(block.values["v_pu"][row]).all()
            assert not block.values["energised"][row].any()
            continue
        for name in EVERY:
            assert np.array_equal(block.values[name][row], getattr(one, name)), name


def test_batch__does_not_depend_on_workers_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network(4, 20, dependent=True)
    cases = random_cases(network, 60, 1, "p_kw", "closed")
    expected = solve_power_flows(network, cases, EVERY, workers=1)
    monkeypatch.setattr(batch, "_MOST_CASES", 7)
    for workers in (1, 2, 5):
        again = solve_power_flows(network, cases, EVERY, workers=workers)
        assert again.failed.keys() == expected.failed.keys()
        for name in EVERY:
            assert np.array_equal(again.values[name], expected.values[name], equal_nan=name != "energised"), name


def test_outputs__are_reduced_over_the_rows_of_a_case() -> None:
    network = random_network(3, 12)
    cases = random_cases(network, 10, 3, "closed")
    some = np.array([1, 3], dtype=np.int32)
    outputs = ("v_pu", "loading", Output("v_pu", "min"), Output("loading", "max"), Output("p_from_kw", "sum", some))
    block = solve_power_flows(network, cases, (*outputs, "energised", "p_from_kw"))
    v, live = block.values["v_pu"], block.values["energised"]
    assert block.failed == {}
    assert block.values["min v_pu"].tolist() == [v[row][live[row]].min() for row in range(10)]
    assert np.array_equal(block.values["max loading"], block.values["loading"].max(axis=1))
    assert np.array_equal(block.values["sum p_from_kw"], block.values["p_from_kw"][:, some].sum(axis=1))


def test_profiles__scale_the_rated_demand() -> None:
    network = random_network(3, 12)
    c, g, rng = network.consumers, network.generators, np.random.default_rng(0)
    demand, sun = rng.uniform(0.2, 1, (9, 2)), rng.uniform(0, 1, (9, 1))
    of_consumer = (np.arange(c.n) % 2).astype(np.int32)
    profiles = Profiles(network, demand, of_consumer, sun, np.zeros(g.n, dtype=np.int32))
    factor = demand[:, of_consumer]
    cases = Cases(9, factor * c.p_kw, factor * c.q_kvar, sun * g.p_kw, sun * g.q_kvar)
    one, two = solve_power_flows(network, profiles), solve_power_flows(network, cases)
    assert np.array_equal(one.values["v_pu"], two.values["v_pu"])


def test_stream__gives_blocks_in_order_and_can_be_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_MOST_CASES", 4)
    network = random_network(3, 12)
    stream = stream_power_flow(network, random_cases(network, 30, 3, "q_kvar"), workers=2)
    first, second = next(stream), next(stream)
    assert (first.start, first.stop, second.start, second.stop) == (0, 4, 4, 8)
    stream.close()  # type: ignore[attr-defined]


def test_batch__refuses_what_a_case_cannot_be() -> None:
    network = random_network(3, 12)
    c, t = network.consumers, network.transformers
    with pytest.raises(UnknownOutputError, match="no output volts: it has v_pu"):
        solve_power_flows(network, Cases(1), ("volts",))
    with pytest.raises(InputShapeError, match="p_kw"):
        solve_power_flows(network, Cases(3, p_kw=np.zeros((3, c.n + 1))))
    with pytest.raises(InputShapeError, match="p_kw"):
        solve_power_flows(network, Cases(3, p_kw=np.zeros((2, c.n))))
    with pytest.raises(InputNotFiniteError, match=f"q_kvar of {c.names[2]} is nan"):
        solve_power_flows(network, Cases(2, q_kvar=np.where(np.arange(c.n) == 2, np.nan, np.zeros((2, c.n)))))
    for rows in (1, 2):
        with pytest.raises(TapOutOfRangeError):
            solve_power_flows(network, Cases(2, tap_position=np.full((rows, t.n), 9, dtype=np.int32)))


def test_run_blocks__raises_in_turn_and_makes_work_once_a_thread() -> None:
    made: list[int] = []

    def make_work() -> Any:
        made.append(1)

        def work(start: int, stop: int) -> int:
            if start == 6:
                raise InputShapeError("block", (start,), (stop,))
            return start

        return work

    blocks = run_blocks(20, 3, make_work, workers=2)
    assert [next(blocks), next(blocks)] == [0, 3]
    with pytest.raises(InputShapeError):
        next(blocks)
    assert 1 <= len(made) <= 2
    assert list(run_blocks(0, 3, make_work)) == []
