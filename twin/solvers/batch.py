"""Many power flows in one call: time series, and sets of load, switch, tap and shunt cases.

Cases are independent of each other: the values of one depend on its inputs alone, to the last bit, whatever the number
of workers and wherever a block begins, and the failure of one leaves the others alone. Memory is bounded by
the outputs that are asked for, or by a few blocks when they are streamed. Not for short circuits and not for
cases that follow from each other's results.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from twin.errors import TwinError
from twin.network.model import Bools, Floats, Ints, Network
from twin.solvers import grid_model_mapping as mapping
from twin.solvers.blocks import Work, run_blocks
from twin.solvers.inputs import check_powers, check_shape, check_steps, check_taps
from twin.solvers.model import InputShapeError, PowerFlowDivergedError

Reduction = Literal["all", "min", "max", "sum"]
Tables = Mapping[str, NDArray[Any]]

_AT_NODES = ("v_pu", "energised", "angle_rad")
_AT_BRANCHES = ("p_from_kw", "q_from_kvar", "i_from_a", "p_to_kw", "q_to_kvar", "i_to_a", "loading")
_POWERS = ("p_kw", "q_kvar", "generation_kw", "generation_kvar")
_STATES = ("closed", "tap_position", "shunt_steps")
_BLOCK_VALUES = 2_000_000
"""Floats that the results of a block may take: 16 MB."""

_MOST_CASES = 512


class UnknownOutputError(TwinError):
    """An output that a power flow does not have."""

    def __init__(self, output: str) -> None:
        self.output = output
        known = ", ".join((*_AT_NODES, *_AT_BRANCHES, "generation_kvar"))
        super().__init__(f"a power flow has no output {output}: it has {known}")


@dataclass(frozen=True)
class Output:
    """A quantity of :class:`twin.solvers.model.PowerFlowResult`, of all ``rows`` or those given, whole or reduced.

    ``of`` reduces over the rows of each case; nodes without voltage are left out of a minimum of ``v_pu``.
    """

    quantity: str
    of: Reduction = "all"
    rows: Ints | None = None

    @property
    def name(self) -> str:
        """Its name in the result: the quantity, ``min v_pu`` if reduced."""
        return self.quantity if self.of == "all" else f"{self.of} {self.quantity}"


class CaseSource(Protocol):
    """Where the inputs of the cases come from, block by block."""

    n: int

    def rows(self, start: int, stop: int) -> Tables:
        """Inputs by the names of ``PowerFlow.update``, a row a case or one for all; absent: rated, normal."""
        ...


@dataclass(frozen=True)
class Cases:
    """Cases as whole arrays of shape ``(n, rows of the table)``; one row holds for all, None is the rated state."""

    n: int
    p_kw: Floats | None = None
    q_kvar: Floats | None = None
    generation_kw: Floats | None = None
    generation_kvar: Floats | None = None
    closed: Bools | None = None
    tap_position: Ints | None = None
    shunt_steps: Ints | None = None

    def rows(self, start: int, stop: int) -> Tables:
        """See :class:`CaseSource`."""
        given = {name: getattr(self, name) for name in (*_POWERS, *_STATES)}
        return {
            name: values if len(values) == 1 else values[start:stop]
            for name, values in given.items()
            if values is not None
        }


@dataclass(frozen=True)
class Profiles:
    """Time steps as profiles: the demand of a consumer is its rated one times the profile of its column.

    ``demand`` is of shape ``(n, columns)``, ``of_consumer`` names the column of each consumer; the same for generating
    units (None: as rated). P and Q have the same profile. A year of 35,040 steps for 10,000 consumers takes 10 columns
    instead of 2.8 GB.
    """

    network: Network
    demand: Floats
    of_consumer: Ints
    generation: Floats | None = None
    of_generator: Ints | None = None

    @property
    def n(self) -> int:
        """How many steps."""
        return len(self.demand)

    def rows(self, start: int, stop: int) -> Tables:
        """See :class:`CaseSource`."""
        c, g = self.network.consumers, self.network.generators
        factor = self.demand[start:stop][:, self.of_consumer]
        tables = {"p_kw": factor * c.p_kw, "q_kvar": factor * c.q_kvar}
        if self.generation is not None and self.of_generator is not None:
            factor = self.generation[start:stop][:, self.of_generator]
            tables |= {"generation_kw": factor * g.p_kw, "generation_kvar": factor * g.q_kvar}
        return tables


@dataclass(frozen=True)
class Block:
    """Cases ``start`` to ``stop``: outputs by name, one row a case; rows of NaN (False) where a case failed."""

    start: int
    stop: int
    values: dict[str, NDArray[Any]]
    failed: dict[int, PowerFlowDivergedError] = field(default_factory=dict)


def stream_power_flow(
    network: Network,
    cases: CaseSource,
    outputs: Sequence[Output | str] = ("v_pu",),
    *,
    workers: int | None = None,
) -> Iterator[Block]:
    """All cases in order, a block at a time; a few blocks are in memory, however many cases there are.

    ``workers`` threads solve beside each other (default: one a core).

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
        UnknownOutputError: an output that a power flow does not have.
        InputShapeError, InputNotFiniteError, TapOutOfRangeError, ShuntStepOutOfRangeError: what a case cannot be.
    """
    mapping.check(network)
    wanted = tuple(Output(output) if isinstance(output, str) else output for output in outputs)
    for output in wanted:
        if output.quantity not in (*_AT_NODES, *_AT_BRANCHES, "generation_kvar"):
            raise UnknownOutputError(output.quantity)
    values = network.nodes.n + (0 if _nodes_alone(wanted) else network.nodes.n + 7 * network.n_branches)
    share = -(-cases.n // (4 * (os.cpu_count() or 1)))  # small enough that every core gets some
    size = max(1, min(_MOST_CASES, _BLOCK_VALUES // max(values, 1), share))

    def make_work() -> Work[Block]:
        from twin.solvers.batch_worker import BatchWorker  # imports numba, which takes half a second

        return BatchWorker(network, cases, wanted).block

    return run_blocks(cases.n, size, make_work, workers)


def solve_power_flows(
    network: Network,
    cases: CaseSource,
    outputs: Sequence[Output | str] = ("v_pu",),
    *,
    workers: int | None = None,
) -> Block:
    """All cases as one block; its memory is that of the outputs, so reduce them or :func:`stream_power_flow` a year.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
        UnknownOutputError: an output that a power flow does not have.
        InputShapeError, InputNotFiniteError, TapOutOfRangeError, ShuntStepOutOfRangeError: what a case cannot be.
    """
    values: dict[str, NDArray[Any]] = {}
    failed: dict[int, PowerFlowDivergedError] = {}
    for block in stream_power_flow(network, cases, outputs, workers=workers):
        for name, rows in block.values.items():
            if name not in values:
                values[name] = np.empty((cases.n, *rows.shape[1:]), dtype=rows.dtype)
            values[name][block.start : block.stop] = rows
        failed |= block.failed
    return Block(0, cases.n, values, failed)


def _nodes_alone(wanted: tuple[Output, ...]) -> bool:
    """Whether magnitudes suffice, so that branches are not worked out."""
    return all(output.quantity in ("v_pu", "energised") for output in wanted)


def checked(network: Network, tables: Tables, n: int) -> dict[str, NDArray[Any]]:
    """The inputs of ``n`` cases, completed by the rated and normal state; every one of 1 or ``n`` rows."""
    c, g, s = network.consumers, network.generators, network.switches
    rated = {"p_kw": c.p_kw, "q_kvar": c.q_kvar, "generation_kw": g.p_kw, "generation_kvar": g.q_kvar}
    states = {
        "closed": s.normally_closed,
        "tap_position": network.transformers.tap_position,
        "shunt_steps": network.shunts.initial_steps,
    }
    complete = {}
    for name, usual in (rated | states).items():
        given = tables.get(name)
        rows = usual[np.newaxis] if given is None else np.ascontiguousarray(given, dtype=usual.dtype)
        if rows.ndim != 2 or len(rows) not in (1, n):
            raise InputShapeError(name, (n, len(usual)), rows.shape)
        check_shape(name, rows, (len(rows), len(usual)))
        if name in rated and not np.isfinite(rows).all():
            row = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
            check_powers(c.names if name in ("p_kw", "q_kvar") else g.names, **{name: rows[row]})
        complete[name] = rows
    for taps in complete["tap_position"]:
        check_taps(network.transformers, taps)
    for steps in complete["shunt_steps"]:
        check_steps(network.shunts, steps)
    return complete


def reduced(output: Output, values: NDArray[Any], energised: Bools, failed: Sequence[int]) -> NDArray[Any]:
    """What an output keeps of a quantity of shape ``(cases, rows)``; failed cases become NaN (False)."""
    rows = slice(None) if output.rows is None else output.rows
    values = values[:, rows]
    if output.of == "all":
        kept = values.copy()
    elif output.of == "min":
        live = energised[:, rows] if output.quantity == "v_pu" else np.True_
        kept = values.min(axis=1, initial=np.inf, where=live)
    elif output.of == "max":
        kept = values.max(axis=1, initial=-np.inf)
    else:
        kept = values.sum(axis=1)
    kept[list(failed)] = False if kept.dtype == np.bool_ else np.nan
    return kept
